// SPDX-License-Identifier: GPL-2.0

//! The memory of a buffer.

use crate::{
    allocator::{
        any_could,
        first_of,
        pages,
        Devices,
        Entry,
        Lease,
        Need,
        NoMemory,
        Shortage, //
    },
    c,
    provision::{
        Keep,
        Provision, //
    }, //
};
use core::{
    mem::MaybeUninit,
    ptr::NonNull, //
};
use dma_buf_constraints::{
    dma_buf::{
        DataDirection,
        Fault,
        KernelMapping,
        Pages,
        Touched, //
    },
    few::{
        make_room,
        Few, //
    },
    model::{
        Memory,
        Range, //
    },
};
use kernel::{
    device::Device,
    prelude::*,
    sync::{
        Arc,
        UniqueArc, //
    }, //
};

/// Above this many ranges an index of offsets is kept; fewer are searched one by one.
const INDEX_ABOVE: usize = 16;

/// A buffer's memory, zeroed when it was provided. Freed when dropped.
pub(crate) struct Backing {
    /// Frees the memory.
    keep: Keep,
    /// The memory in the order of the buffer's bytes; adjacent ranges are merged.
    ranges: Few<Range>,
    /// The offset of each range in the buffer; empty where there are few.
    offsets: KVVec<u64>,
    len: u64,
    has_struct_pages: bool,
    /// Dropped after `keep`, whose code is the allocator's.
    lease: Lease,
}

impl Backing {
    /// Keeps what the allocator of `lease` provided for a buffer of `len` bytes, in `room`, which
    /// was allocated before: after that, too little memory may be left. `EINVAL` where it has
    /// another length; `ENOMEM`.
    fn new(
        room: UniqueArc<MaybeUninit<Self>>,
        provision: Provision,
        len: u64,
        mut lease: Lease,
    ) -> Result<Arc<Self>> {
        let Provision {
            keep,
            ranges,
            has_struct_pages,
        } = provision;
        let mut offsets = KVVec::new();
        let mut offset = 0u64;
        let count = ranges.as_slice().len();
        if count > INDEX_ABOVE {
            make_room(&mut offsets, count)?;
        }
        for range in &ranges {
            if count > INDEX_ABOVE {
                offsets.push(offset, GFP_KERNEL_ACCOUNT)?;
            }
            offset = offset.checked_add(range.len).ok_or(EINVAL)?;
        }
        if offset != len {
            return Err(EINVAL);
        }
        lease.count(len);
        // Initialised in place, since it is large.
        let Ok(backing) = room.init_with(init!(Self {
            keep,
            ranges,
            offsets,
            len,
            has_struct_pages,
            lease,
        }));
        Ok(backing.into())
    }

    /// Returns the allocator that provided it.
    pub(crate) fn allocator(&self) -> &Entry {
        self.lease.entry()
    }

    /// Returns whether the allocator serves all `devices` together.
    pub(crate) fn serves(&self, need: &Need, devices: &Devices<'_>) -> bool {
        self.lease.serves(need, devices)
    }

    /// Returns the ranges, in the order of the buffer's bytes.
    pub(crate) fn ranges(&self) -> &[Range] {
        self.ranges.as_slice()
    }

    /// Returns the memory as the DMA layer and page tables take it.
    pub(crate) fn pages(&self) -> Pages<'_> {
        Pages {
            ranges: self.ranges(),
            has_struct_pages: self.has_struct_pages,
        }
    }

    /// Copies the bytes of `other`, which has the same length. `ENOMEM`.
    pub(crate) fn copy_from(&self, other: &Self) -> Result {
        if !self.has_struct_pages || !other.has_struct_pages {
            // SAFETY: Both backings outlive their mappings, and were made of a provision, whose
            // constructor gives memory without struct pages one range.
            let (to, from) = unsafe {
                (
                    KernelMapping::new(self.pages())?,
                    KernelMapping::new(other.pages())?,
                )
            };
            // SAFETY: Each mapping shows the `len` bytes of its backing. The two do not overlap:
            // each allocator gives memory that belongs to nothing else.
            unsafe {
                c::cenalloc_copy_mapped(
                    to.address().as_ptr(),
                    from.address().as_ptr(),
                    self.len as usize,
                )
            };
            return Ok(());
        }
        let mut pieces = other.ranges().iter().copied();
        let mut piece = pieces.next();
        for range in self.ranges() {
            let mut to = *range;
            while let Some(from) = piece.as_mut() {
                let len = from.len.min(to.len);
                // SAFETY: Both have struct pages, as checked above. The one that is written is new,
                // and not used by anything before the relocation ends.
                unsafe { pages::copy(to.start, from.start, len) };
                from.start += len;
                from.len -= len;
                if from.len == 0 {
                    piece = pieces.next();
                }
                to.start += len;
                to.len -= len;
                if to.len == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Returns the memory as the model takes it.
    pub(crate) fn memory(&self) -> Memory<'_> {
        Memory {
            class: self.allocator().class(),
            coherent: false,
            ranges: self.ranges(),
        }
    }

    /// Returns where the memory lies, if it is one range. `EINVAL` where it is not, or where its
    /// owner gives another one; what its owner fails with.
    pub(crate) fn phys(&self) -> Result<Range> {
        let [range] = self.ranges() else {
            return Err(EINVAL);
        };
        if let Keep::Owner(owner) = &self.keep {
            if let Some(told) = owner.phys() {
                return if told? == *range {
                    Ok(*range)
                } else {
                    Err(EINVAL)
                };
            }
        }
        Ok(*range)
    }

    /// Tells the owner that a device is about to use what the CPU wrote, behind the DMA API.
    pub(crate) fn sync_for_device(&self, device: &Device, direction: DataDirection) {
        if let Keep::Owner(owner) = &self.keep {
            owner.sync_for_device(device, direction);
        }
    }

    /// Maps what userspace touched, and memory around it.
    ///
    /// # Safety
    ///
    /// The memory belongs to the buffer that was touched, and stays until its pages are zapped or
    /// the buffer is released.
    pub(crate) unsafe fn fault(&self, fault: &Fault<'_>) -> Result<Touched> {
        if let Keep::Owner(owner) = &self.keep {
            if let Some(result) = owner.fault(fault) {
                return result;
            }
        }
        let (ranges, offset) = self.ranges_from(fault.offset()).ok_or(EFAULT)?;
        // SAFETY: The caller keeps this memory, which is the touched buffer's, until its pages are
        // zapped or the buffer is released.
        unsafe { fault.fill(ranges, offset) }
    }

    /// Returns the range that holds the buffer's byte `offset`, with those behind it, and the
    /// offset at which it starts.
    fn ranges_from(&self, offset: u64) -> Option<(&[Range], u64)> {
        if offset >= self.len {
            return None;
        }
        let ranges = self.ranges();
        if !self.offsets.is_empty() {
            let index = self.offsets.partition_point(|start| *start <= offset) - 1;
            return Some((&ranges[index..], self.offsets[index]));
        }
        let mut start = 0;
        for (index, range) in ranges.iter().enumerate() {
            if offset - start < range.len {
                return Some((&ranges[index..], start));
            }
            start += range.len;
        }
        None
    }
}

/// Returns memory for `need` that `fits`, from the first allocator that has it.
///
/// Before that of scattered memory, one range is sought: where it is free and, if `is_preferred`,
/// by reclaiming other memory or from an area. `sought` becomes whether that was in vain, or always
/// is.
pub(crate) fn provide(
    need: &Need,
    is_preferred: impl Fn() -> bool,
    sought: &mut bool,
    devices: &Devices<'_>,
    fits: impl Fn(&Backing) -> bool,
) -> Result<Arc<Backing>, NoMemory> {
    let one_range = need.in_one_range();
    first_of(need, devices, |entry| {
        if let (Some((free, preferred)), true) = (&one_range, entry.is_scattered()) {
            if let Some(free) = free {
                if let Ok(Some(backing)) = take(entry, free, devices, &fits) {
                    return Ok(Some(backing));
                }
            }
            let could = any_could(preferred, devices).is_ok();
            *sought = !could || is_preferred();
            if could && *sought {
                if let Ok(backing) = seek(preferred, devices, &fits) {
                    return Ok(Some(backing));
                }
            }
        }
        take(entry, need, devices, &fits)
    })
}

/// Returns memory for `need` that `fits`, from the first allocator that has it.
pub(crate) fn seek(
    need: &Need,
    devices: &Devices<'_>,
    fits: impl Fn(&Backing) -> bool,
) -> Result<Arc<Backing>, NoMemory> {
    first_of(need, devices, |entry| take(entry, need, devices, &fits))
}

/// Takes memory of an allocator, and frees it again where it does not fit, or has another length.
///
/// `fits` decides last: what an allocator could give was judged before there was memory to look at.
fn take(
    entry: &Arc<Entry>,
    need: &Need,
    devices: &Devices<'_>,
    fits: &impl Fn(&Backing) -> bool,
) -> Result<Option<Arc<Backing>>, Shortage> {
    let room = UniqueArc::new_uninit(GFP_KERNEL_ACCOUNT).map_err(|_| Shortage::Charge)?;
    let (given, lease) = Entry::allocate(entry, need, devices)?;
    match Backing::new(room, given, need.len, lease) {
        Ok(backing) => Ok(fits(&backing).then_some(backing)),
        // So little memory is refused by the limit of the memory cgroup alone.
        Err(ENOMEM) => Err(Shortage::Charge),
        Err(_) => Ok(None),
    }
}

/// The kernel's address of a buffer's memory, which this keeps.
pub(crate) struct KernelAddress {
    address: NonNull<c_void>,
    /// [`None`] where the owner of the memory made the mapping.
    mapping: Option<KernelMapping>,
    /// Dropped after the mapping.
    backing: Arc<Backing>,
}

// SAFETY: Kernel addresses are the same for every thread, and any thread may undo a mapping.
unsafe impl Send for KernelAddress {}

impl KernelAddress {
    /// Maps the memory of `backing`. `ENOMEM`; what the owner of the memory fails with.
    pub(crate) fn new(backing: Arc<Backing>) -> Result<Self> {
        if let Keep::Owner(owner) = &backing.keep {
            if let Some(address) = owner.map_kernel() {
                return Ok(Self {
                    address: address?,
                    mapping: None,
                    backing,
                });
            }
        }
        // SAFETY: A backing has one range where it has no struct pages, as the constructor of its
        // provision ensures, and is kept as long as the mapping.
        let mapping = unsafe { KernelMapping::new(backing.pages())? };
        Ok(Self {
            address: mapping.address(),
            mapping: Some(mapping),
            backing,
        })
    }

    /// Returns the address of the buffer's first byte.
    pub(crate) fn get(&self) -> NonNull<c_void> {
        self.address
    }
}

impl Drop for KernelAddress {
    fn drop(&mut self) {
        if let (None, Keep::Owner(owner)) = (&self.mapping, &self.backing.keep) {
            owner.unmap_kernel();
        }
    }
}
