// SPDX-License-Identifier: GPL-2.0

//! The memory of a buffer.

use crate::{
    allocator::{
        pages,
        snapshot,
        Devices,
        Entry,
        Lease,
        Need,
        Shortage, //
    },
    c,
    provision::{
        Keep,
        Provision, //
    }, //
};
use core::ptr::NonNull;
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

/// How many ranges are looked through one by one before an index of offsets pays.
const INDEX_ABOVE: usize = 16;

/// A buffer's memory, zeroed when it was provided. Freed when dropped.
pub(crate) struct Backing {
    /// Frees the memory.
    keep: Keep,
    /// The memory in the order of the buffer's bytes; neighbours that touch are one range.
    ranges: Few<Range>,
    /// Where each range starts in the buffer; empty where there are few.
    offsets: KVVec<u64>,
    len: u64,
    has_struct_pages: bool,
    /// Dropped behind `keep`: the code that frees the memory is the allocator's.
    lease: Lease,
}

impl Backing {
    /// The memory that the allocator of `lease` provided for a buffer of `len` bytes. `EINVAL`
    /// where it has another length; `ENOMEM`.
    pub(crate) fn new(provision: Provision, len: u64, mut lease: Lease) -> Result<Arc<Self>> {
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
        // Before `keep` moves: where there is no memory, it has to be dropped before the lease.
        let room = UniqueArc::new_uninit(GFP_KERNEL_ACCOUNT)?;
        lease.count(len);
        // Made where it stays: it is large.
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

    /// Who provided it.
    pub(crate) fn allocator(&self) -> &Entry {
        self.lease.entry()
    }

    /// Whether the allocator serves all these devices together.
    pub(crate) fn serves(&self, need: &Need, devices: &Devices<'_>) -> bool {
        self.lease.serves(need, devices)
    }

    /// The ranges, in the order of the buffer's bytes.
    pub(crate) fn ranges(&self) -> &[Range] {
        self.ranges.as_slice()
    }

    /// As the DMA layer and page tables have to be told of it.
    pub(crate) fn pages(&self) -> Pages<'_> {
        Pages {
            ranges: self.ranges(),
            has_struct_pages: self.has_struct_pages,
        }
    }

    /// Fills this memory with what `other`, of the same length, holds. `ENOMEM`.
    pub(crate) fn copy_from(&self, other: &Self) -> Result {
        if !self.has_struct_pages || !other.has_struct_pages {
            // SAFETY: Both exist as long as their mappings, and tell the truth of themselves.
            let (to, from) = unsafe {
                (
                    KernelMapping::new(self.pages())?,
                    KernelMapping::new(other.pages())?,
                )
            };
            // SAFETY: Both have `len` bytes, and are not the same memory.
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
                // SAFETY: Both have struct pages, and are this buffer's, which nobody uses while
                // it moves.
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

    /// As the model sees it.
    pub(crate) fn memory(&self) -> Memory<'_> {
        Memory {
            class: self.allocator().class(),
            coherent: false,
            ranges: self.ranges(),
        }
    }

    /// Where the memory lies, if it is one range. `EINVAL`, also where its owner says otherwise;
    /// what its owner fails with.
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

    /// A device is about to use what the CPU wrote; the DMA API has done its part.
    pub(crate) fn sync_for_device(&self, device: &Device, direction: DataDirection) {
        if let Keep::Owner(owner) = &self.keep {
            owner.sync_for_device(device, direction);
        }
    }

    /// Maps what userspace touched, and more.
    ///
    /// # Safety
    ///
    /// The memory is that of the buffer that was touched, and stays until it is zapped or the
    /// buffer is released.
    pub(crate) unsafe fn fault(&self, fault: &Fault<'_>) -> Result<Touched> {
        if let Keep::Owner(owner) = &self.keep {
            if let Some(result) = owner.fault(fault) {
                return result;
            }
        }
        let (ranges, offset) = self.ranges_from(fault.offset()).ok_or(EFAULT)?;
        // SAFETY: The caller's promise.
        unsafe { fault.fill(ranges, offset) }
    }

    /// The range that holds the buffer's byte `offset`, with those behind it, and where it starts
    /// in the buffer.
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

/// Memory for `need` that `fits`, from the first allocator that has it.
///
/// `fits` has the last word: what an allocator could give is decided before the memory is seen.
/// Fails with `ENOMEM` where all are out of it, or whoever pays is at its limit; with `EINTR` where
/// the caller is being killed, and with `EINVAL` where nobody could.
pub(crate) fn provide(
    need: &Need,
    devices: &Devices<'_>,
    fits: impl Fn(&Backing) -> bool,
) -> Result<Arc<Backing>> {
    let mut failure = EINVAL;
    for entry in snapshot().iter() {
        if entry.misfit(need, devices).is_some() {
            continue;
        }
        failure = ENOMEM;
        let (given, lease) = match Entry::allocate(entry, need, devices) {
            Ok(given) => given,
            Err(Shortage::Memory) => continue,
            Err(shortage) => return Err(shortage.into()),
        };
        match Backing::new(given, need.len, lease) {
            Ok(backing) if fits(&backing) => return Ok(backing),
            // The same is short for the next.
            Err(ENOMEM) => break,
            Ok(_) | Err(_) => {}
        }
    }
    Err(failure)
}

/// The kernel's address of a buffer's memory, which it keeps.
pub(crate) struct KernelAddress {
    address: NonNull<c_void>,
    /// The usual mapping; nothing where the owner of the memory made one.
    mapping: Option<KernelMapping>,
    /// Dropped behind the mapping.
    backing: Arc<Backing>,
}

// SAFETY: Kernel addresses are the same for every thread, and may be given back by any.
unsafe impl Send for KernelAddress {}

impl KernelAddress {
    /// `ENOMEM`, and what the owner of the memory fails with.
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
        // SAFETY: The memory tells the truth of itself, and is kept as long as the mapping.
        let mapping = unsafe { KernelMapping::new(backing.pages())? };
        Ok(Self {
            address: mapping.address(),
            mapping: Some(mapping),
            backing,
        })
    }

    /// The address of the buffer's first byte.
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
