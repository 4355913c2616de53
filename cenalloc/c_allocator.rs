// SPDX-License-Identifier: GPL-2.0

//! Allocators in C: adapts `struct cenalloc_allocator_ops` to [`Allocator`].
//!
//! What such an allocator returns is checked before it is used.

use crate::{
    allocator::{
        Allocator,
        Code,
        Description,
        Devices,
        Need,
        Shortage, //
    },
    c,
    provision::{
        Owner,
        Provision, //
    },
    uapi, //
};
use core::ptr::{
    self,
    NonNull, //
};
use dma_buf_constraints::{
    c_api, device,
    dma_buf::{
        DataDirection,
        Fault,
        Touched, //
    },
    model::{
        Constraints,
        Field,
        Misfit,
        Name,
        Range, //
    },
};
use kernel::{
    bindings,
    device::Device,
    error::from_err_ptr,
    page::PAGE_SIZE,
    prelude::*,
    str::CStrExt,
    sync::Arc,
    types::Opaque, //
};

/// All flags that are defined.
const FLAGS: c_ulong = (c::CENALLOC_ALLOCATOR_ONE_RANGE
    | c::CENALLOC_ALLOCATOR_ZEROED
    | c::CENALLOC_ALLOCATOR_NO_PAGES) as c_ulong;

/// An allocator in C.
///
/// # Invariants
///
/// `raw` points to a `struct cenalloc_allocator` that stays, and whose operations may be called, as
/// long as it is registered or a buffer has memory from it. `ops` has all required operations.
#[derive(Clone, Copy)]
pub(crate) struct CAllocator {
    raw: NonNull<c::cenalloc_allocator>,
    name: Name,
    ops: c::cenalloc_allocator_ops,
    flags: c_ulong,
    max_len: u64,
    min_address: u64,
}

// SAFETY: `include/linux/cenalloc.h` requires of the driver that any thread may call its
// operations.
unsafe impl Send for CAllocator {}
// SAFETY: `include/linux/cenalloc.h` requires of the driver that threads may call its operations at
// once.
unsafe impl Sync for CAllocator {}

impl CAllocator {
    /// Returns what is needed to register `raw`. `EINVAL` where a field makes no sense; `ENOMEM`.
    ///
    /// # Safety
    ///
    /// `raw` is NULL, or is filled in and stays unchanged until it is removed.
    pub(crate) unsafe fn describe(
        raw: *mut c::cenalloc_allocator,
    ) -> Result<(Description, Code, Arc<dyn Allocator>)> {
        let raw = NonNull::new(raw).ok_or(EINVAL)?;
        // SAFETY: The caller passes an allocator that is filled in and stays, so that `ops` is NULL
        // or valid as well.
        let (allocator, ops) = unsafe { (raw.as_ref(), raw.as_ref().ops.as_ref()) };
        let ops = ops.ok_or(EINVAL)?;
        let has_pages = allocator.flags & c::CENALLOC_ALLOCATOR_NO_PAGES as c_ulong == 0;
        let is_complete =
            ops.allocate.is_some() && ops.free.is_some() && (has_pages || ops.phys.is_some());
        if !is_complete || allocator.flags & !FLAGS != 0 || allocator.name.is_null() {
            return Err(EINVAL);
        }
        // SAFETY: The name is not NULL, and the driver sets it to a string, as
        // `include/linux/cenalloc.h` requires.
        let name = unsafe { CStr::from_char_ptr(allocator.name) }.to_bytes_with_nul();
        if name.len() > c::CENALLOC_NAME_LEN as usize {
            return Err(EINVAL);
        }
        let description = Description {
            name: Name::new(uapi::read_name(name)?),
            class: allocator.type_,
            priority: allocator.priority,
        };
        // SAFETY: The driver sets `owner` to the module with the operations, and removes the
        // allocator before that module is unloaded, as `include/linux/cenalloc.h` requires.
        let code = unsafe { Code::new(allocator.owner) };
        // INVARIANT: The required operations were checked above. The caller keeps the allocator
        // until it is removed, and each buffer with memory from it holds a reference to its module.
        let adapter = Self {
            raw,
            name: description.name,
            ops: *ops,
            flags: allocator.flags,
            max_len: allocator.max_len as u64,
            min_address: allocator.min_address,
        };
        Ok((description, code, Arc::new(adapter, GFP_KERNEL_ACCOUNT)?))
    }

    fn has(&self, flag: u32) -> bool {
        self.flags & flag as c_ulong != 0
    }

    /// Logs a fault of the allocator, which then counts as having no memory.
    fn faulty(&self, fault: &str) -> Error {
        // SAFETY: The call takes no arguments; its rate limit is a static with a lock of its own.
        if unsafe { c::cenalloc_may_log() } {
            pr_warn!("allocator {}: {}\n", self.name.as_str(), fault);
        }
        ENOMEM
    }
}

// SAFETY: The driver gives memory that belongs to nothing else until it is freed, as
// `include/linux/cenalloc.h` requires; `provide` zeroes it.
unsafe impl Allocator for CAllocator {
    fn max_len(&self) -> u64 {
        match self.max_len {
            0 => u64::MAX,
            max_len => max_len,
        }
    }

    fn is_contiguous(&self) -> bool {
        self.has(c::CENALLOC_ALLOCATOR_ONE_RANGE) || self.has(c::CENALLOC_ALLOCATOR_NO_PAGES)
    }

    fn could(&self, need: &Need) -> Result<(), Misfit> {
        let last = self.min_address.checked_add(need.len - 1);
        if last.is_some_and(|last| last <= need.placement.max_address) {
            return Ok(());
        }
        Err(Misfit {
            field: Field::MaxAddress,
            wanted: need.placement.max_address,
            found: self.min_address,
        })
    }

    fn is_selective(&self) -> bool {
        self.ops.match_.is_some()
    }

    fn matches(&self, need: &Need, devices: &Devices<'_>) -> bool {
        let Some(matches) = self.ops.match_ else {
            return true;
        };
        let meet: c_api::dma_buf_constraints = (&Constraints {
            placement: need.placement,
            ..Constraints::ANY
        })
            .into();
        let serves = |device: *mut bindings::device| {
            // SAFETY: The device is NULL, or alive, since `devices` borrows it from a user or
            // newcomer with a reference to it; the header says that its driver may have unbound.
            // `meet` outlives the call.
            unsafe { matches(self.raw.as_ptr(), device, need.len as usize, &meet) }
        };
        let mut nobody = true;
        let all = devices.all(&mut |device| {
            nobody = false;
            serves(device::as_raw(device))
        });
        all && (!nobody || serves(ptr::null_mut()))
    }

    fn allocate(&self, need: &Need, _devices: &Devices<'_>) -> Result<Provision, Shortage> {
        // Any error counts as short memory: with another one, no other allocator would be asked.
        self.provide(need).map_err(|_| Shortage::Memory)
    }
}

impl CAllocator {
    /// Allocates memory for `need`, and checks it.
    fn provide(&self, need: &Need) -> Result<Provision> {
        let placement = &need.placement;
        let len = usize::try_from(need.len).map_err(|_| ENOMEM)?;
        let align = usize::try_from(placement.alignment).map_err(|_| ENOMEM)?;
        let mut memory = CMemory::new(*self, len, align.max(PAGE_SIZE), need)?;
        memory.allocate()?;
        let provision = if self.has(c::CENALLOC_ALLOCATOR_NO_PAGES) {
            let range = memory.ask_phys()?;
            Provision::without_struct_pages(memory, range)
        } else {
            let entries = memory.entries()?;
            Provision::new(memory, entries)
        };
        let provision = provision.map_err(|error| match error {
            EINVAL => self.faulty("its memory is not in whole pages"),
            error => error,
        })?;
        if provision.len() != Some(need.len) {
            return Err(self.faulty("its memory has another length than asked for"));
        }
        if !self.has(c::CENALLOC_ALLOCATOR_ZEROED) {
            provision.clear()?;
        }
        Ok(provision)
    }
}

/// Memory of an allocator in C.
struct CMemory {
    allocator: CAllocator,
    buffer: Opaque<c::cenalloc_buffer>,
    /// Whether `allocate` succeeded, and so `free` is due.
    is_allocated: bool,
    /// Whether `map_dma` succeeded, and so `unmap_dma` is due.
    has_table: bool,
}

// SAFETY: Any thread may call the allocator's operations, as `include/linux/cenalloc.h` requires of
// the driver.
unsafe impl Send for CMemory {}
// SAFETY: Threads may call them at once, as `include/linux/cenalloc.h` requires of the driver.
unsafe impl Sync for CMemory {}

impl CMemory {
    fn new(allocator: CAllocator, size: usize, align: usize, need: &Need) -> Result<KBox<Self>> {
        let buffer = Opaque::new(c::cenalloc_buffer {
            allocator: allocator.raw.as_ptr(),
            size,
            align,
            max_address: need.placement.max_address,
            max_segments: need.placement.max_segments,
            sg_table: ptr::null_mut(),
            priv_: ptr::null_mut(),
        });
        let memory = Self {
            allocator,
            buffer,
            is_allocated: false,
            has_table: false,
        };
        Ok(KBox::new(memory, GFP_KERNEL_ACCOUNT)?)
    }

    fn raw(&self) -> *mut c::cenalloc_allocator {
        self.allocator.raw.as_ptr()
    }

    /// Calls `allocate`. `ENOMEM`, `EINTR`.
    fn allocate(&mut self) -> Result {
        let allocate = self.allocator.ops.allocate.ok_or(ENOMEM)?;
        let buffer = self.buffer.get();
        // SAFETY: The allocator may be called by the invariants of `CAllocator`. The buffer is
        // boxed, so that it stays where it is until `free`.
        let status = unsafe {
            allocate(
                self.raw(),
                buffer,
                (*buffer).size as c_ulong,
                (*buffer).align as c_ulong,
                0,
            )
        };
        if status > 0 {
            return Err(self
                .allocator
                .faulty("allocate() returned a positive number"));
        }
        kernel::error::to_result(status)?;
        self.is_allocated = true;
        Ok(())
    }

    /// Calls `phys`, and returns the range that it gives.
    fn ask_phys(&self) -> Result<Range> {
        let phys = self.allocator.ops.phys.ok_or(ENOMEM)?;
        let (mut start, mut len) = (0, 0);
        // SAFETY: `allocate` succeeded, so that the buffer has memory; both numbers are local
        // variables.
        let status = unsafe { phys(self.raw(), self.buffer.get(), &mut start, &mut len) };
        if status > 0 {
            return Err(self.allocator.faulty("phys() returned a positive number"));
        }
        kernel::error::to_result(status)?;
        #[allow(
            clippy::useless_conversion,
            reason = "physical addresses have 32 bits on some architectures"
        )]
        Ok(Range {
            start: start.into(),
            len: len as u64,
        })
    }

    /// Returns the entries of the table that lists the memory.
    fn entries(&mut self) -> Result<Entries> {
        let buffer = self.buffer.get();
        let table = match self.allocator.ops.map_dma {
            Some(map_dma) => {
                // SAFETY: `allocate` succeeded, so that the buffer has memory.
                let table = from_err_ptr(unsafe { map_dma(self.raw(), buffer) })?;
                self.has_table = !table.is_null();
                table
            }
            // SAFETY: `&mut self` gives exclusive access to the buffer between calls of the driver.
            None => from_err_ptr(unsafe { (*buffer).sg_table })?,
        };
        // SAFETY: The driver gives NULL, an error or a table that stays until `free`; errors were
        // returned above.
        let table = unsafe { table.as_ref() }
            .ok_or_else(|| self.allocator.faulty("it gives no table of its memory"))?;
        Ok(Entries {
            next: table.sgl,
            left: table.orig_nents,
        })
    }
}

// SAFETY: The driver's `map_kernel` maps all of the memory, as `include/linux/cenalloc.h` requires.
unsafe impl Owner for CMemory {
    fn phys(&self) -> Option<Result<Range>> {
        self.allocator.ops.phys?;
        Some(self.ask_phys())
    }

    fn map_kernel(&self) -> Option<Result<NonNull<c_void>>> {
        let map_kernel = self.allocator.ops.map_kernel?;
        // SAFETY: `provide` allocated the memory before it became an owner's.
        let address = from_err_ptr(unsafe { map_kernel(self.raw(), self.buffer.get()) });
        Some(address.and_then(|address| NonNull::new(address).ok_or(ENOMEM)))
    }

    fn unmap_kernel(&self) {
        if let Some(unmap_kernel) = self.allocator.ops.unmap_kernel {
            // SAFETY: The owner's `unmap_kernel` is called after `map_kernel` succeeded, by
            // `KernelAddress`.
            unsafe { unmap_kernel(self.raw(), self.buffer.get()) };
        }
    }

    fn sync_for_device(&self, device: &Device, direction: DataDirection) {
        if let Some(sync) = self.allocator.ops.sync_for_device {
            let device = device::as_raw(device);
            // SAFETY: `provide` allocated the memory before it became an owner's, and the reference
            // keeps the device.
            unsafe { sync(self.raw(), self.buffer.get(), device, direction.into()) };
        }
    }

    fn fault(&self, fault: &Fault<'_>) -> Option<Result<Touched>> {
        let map_user = self.allocator.ops.map_user?;
        // SAFETY: `provide` allocated the memory before it became an owner's. `Fault` exists only
        // while the fault is being handled.
        let code = unsafe { map_user(self.raw(), self.buffer.get(), fault.as_raw()) };
        Some(if code & bindings::vm_fault_reason_VM_FAULT_OOM != 0 {
            Ok(Touched::LacksTable)
        } else if code & bindings::vm_fault_reason_VM_FAULT_NOPAGE != 0 {
            Ok(Touched::Mapped)
        } else {
            Err(EFAULT)
        })
    }
}

impl Drop for CMemory {
    fn drop(&mut self) {
        let ops = self.allocator.ops;
        if let (true, Some(unmap_dma)) = (self.has_table, ops.unmap_dma) {
            // SAFETY: `has_table` says that `map_dma` made the table. Being dropped, the memory is
            // not used any more.
            unsafe { unmap_dma(self.raw(), self.buffer.get()) };
        }
        if let (true, Some(free)) = (self.is_allocated, ops.free) {
            // SAFETY: `is_allocated` says that `allocate` succeeded. Being dropped, the memory is
            // not used any more.
            unsafe { free(self.buffer.get()) };
        }
    }
}

/// Iterates over the memory that a table lists.
struct Entries {
    next: *mut bindings::scatterlist,
    left: u32,
}

impl Iterator for Entries {
    type Item = Range;

    fn next(&mut self) -> Option<Range> {
        if self.left == 0 || self.next.is_null() {
            return None;
        }
        let mut range = Range { start: 0, len: 0 };
        // SAFETY: The driver's table has `orig_nents` entries, and stays while the memory is
        // allocated.
        self.next = unsafe { c::cenalloc_sg_range(self.next, &mut range.start, &mut range.len) };
        self.left -= 1;
        Some(range)
    }
}
