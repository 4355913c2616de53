// SPDX-License-Identifier: GPL-2.0

//! Memory as the DMA API gives it to the most constrained user: from that device's own area, its
//! node's, the system's, or the page allocator.

use super::{
    cma,
    extent::{
        self,
        Extent, //
    },
    pages,
    Allocator,
    Description,
    Devices,
    Need,
    Shortage, //
};
use crate::{
    c,
    provision::{
        Owner,
        Provision, //
    }, //
};
use core::ptr::{
    self,
    NonNull, //
};
use dma_buf_constraints::{
    device::as_raw,
    model::{
        Field,
        Misfit,
        Name,
        Run, //
    },
};
use kernel::{
    bindings,
    device::Device,
    faux,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// Adds it to `all`. `ENOMEM`, and what a device without hardware cannot be made with.
///
/// There is none where the DMA API changes how memory is encrypted: page tables would not know.
pub(super) fn add(all: &mut KVec<(Description, Arc<dyn Allocator>)>) -> Result {
    // SAFETY: No requirements.
    if unsafe { c::cenalloc_dma_is_encrypted() } {
        return Ok(());
    }
    let description = Description {
        name: Name::new(b"dma-coherent"),
        class: c::CENALLOC_CLASS_DMA_COHERENT.into(),
        priority: 200,
    };
    let device = faux::Registration::new(c"cenalloc", None)?;
    // SAFETY: The device is ours, and nobody has used it yet.
    let bits = unsafe { c::cenalloc_dma_prepare(raw(&device)) };
    let allocator = DmaCoherent {
        device: Arc::pin_init(new_mutex!(device), GFP_KERNEL)?,
        lowest_limit: u64::MAX >> (u64::BITS - bits),
        areas: cma::runs()?,
    };
    all.push((description, Arc::new(allocator, GFP_KERNEL)?), GFP_KERNEL)?;
    Ok(())
}

/// The C device.
fn raw(device: &faux::Registration) -> *mut bindings::device {
    let device: &Device<kernel::device::Bound> = device.as_ref().as_ref();
    as_raw(device)
}

/// Gives one run of up to the page allocator's largest order, or of an area, zeroed.
struct DmaCoherent {
    /// For which memory is had: the lock is held while it is made to look like a user.
    device: Arc<Mutex<faux::Registration>>,
    /// The last address that the least of devices reaches for which the DMA API gives memory.
    lowest_limit: u64,
    /// Where there are areas; which of them serves which device is not known.
    areas: KVec<Extent>,
}

// SAFETY: The memory is the DMA API's, and given back with its owner.
unsafe impl Allocator for DmaCoherent {
    fn max_len(&self) -> u64 {
        extent::longest(&self.areas).max(pages::MAX_CHUNK)
    }

    fn is_contiguous(&self) -> bool {
        true
    }

    fn could(&self, need: &Need) -> Result<(), Misfit> {
        let max_address = need.placement.max_address;
        if max_address < self.lowest_limit {
            // Where there is no memory so low, that is the better reason.
            pages::within_memory(need)?;
            return Err(Misfit {
                field: Field::MaxAddress,
                wanted: max_address,
                found: self.lowest_limit.saturating_add(1),
            });
        }
        let largest = if self.areas.is_empty() {
            pages::MAX_CHUNK
        } else {
            // SAFETY: No requirements.
            unsafe { c::cenalloc_area_alignment() }
        };
        if need.placement.alignment > largest {
            return Err(Misfit {
                field: Field::Alignment,
                wanted: need.placement.alignment,
                found: largest,
            });
        }
        if need.len <= pages::MAX_CHUNK {
            pages::within_memory(need)
        } else {
            extent::any_could(&self.areas, need)
        }
    }

    fn allocate(&self, need: &Need, devices: &Devices<'_>) -> Result<Provision, Shortage> {
        // Memory starts at a multiple of the power of two that its length reaches.
        let len = need.len.max(need.placement.alignment);
        let source = c::cenalloc_dma_source {
            max_address: need.placement.max_address,
            ..source(devices)
        };
        let len = usize::try_from(len).map_err(|_| Shortage::Memory)?;
        let memory =
            DmaMemory::new(self.device.clone(), source, len).ok_or_else(|| need.shortage())?;
        let run = Run {
            // SAFETY: Just allocated.
            start: unsafe { c::cenalloc_page_address(memory.page.as_ptr()) },
            len: need.len,
        };
        Ok(Provision::new(KBox::new(memory, GFP_KERNEL)?, [run])?)
    }
}

/// From where the DMA API takes memory for the most constrained of `devices`: who reaches the
/// fewest addresses, and of several, one with an area of its own.
fn source(devices: &Devices<'_>) -> c::cenalloc_dma_source {
    // SAFETY: It may be none.
    let mut found = unsafe { c::cenalloc_dma_source(ptr::null_mut()) };
    let mut lowest = u64::MAX;
    let mut is_first = true;
    devices.all(&mut |device| {
        let mut limit = 0;
        // SAFETY: The device is alive; the number is ours to write.
        if !unsafe { c::cenalloc_dma_limit(as_raw(device), &mut limit) } {
            return true;
        }
        // SAFETY: The device is alive.
        let source = unsafe { c::cenalloc_dma_source(as_raw(device)) };
        let is_better = found.area.is_null() && !source.area.is_null();
        if is_first || limit < lowest || (limit == lowest && is_better) {
            lowest = limit;
            found = source;
        }
        is_first = false;
        true
    });
    found
}

/// Memory of the DMA API.
///
/// # Invariants
///
/// `page` is the first of at least `len` bytes that are ours: they were allocated for `device`,
/// with this `source` and as `handle`.
struct DmaMemory {
    device: Arc<Mutex<faux::Registration>>,
    source: c::cenalloc_dma_source,
    len: usize,
    page: NonNull<bindings::page>,
    handle: bindings::dma_addr_t,
}

// SAFETY: Memory may be given back by any thread.
unsafe impl Send for DmaMemory {}
// SAFETY: There is nothing to do with a shared reference.
unsafe impl Sync for DmaMemory {}

impl DmaMemory {
    fn new(
        device: Arc<Mutex<faux::Registration>>,
        source: c::cenalloc_dma_source,
        len: usize,
    ) -> Option<Self> {
        let mut handle = 0;
        let page = {
            let device = device.lock();
            // SAFETY: The device is ours alone as long as the lock is held; the rest is ours to
            // read and write.
            unsafe { c::cenalloc_dma_alloc(raw(&device), &source, len, &mut handle) }
        };
        // INVARIANT: Just allocated so.
        Some(Self {
            page: NonNull::new(page)?,
            device,
            source,
            len,
            handle,
        })
    }
}

// SAFETY: It has no kernel address of its own.
unsafe impl Owner for DmaMemory {}

impl Drop for DmaMemory {
    fn drop(&mut self) {
        let device = self.device.lock();
        // SAFETY: By the type's invariants; the device is ours alone as long as the lock is held.
        unsafe {
            c::cenalloc_dma_free(
                raw(&device),
                &self.source,
                self.len,
                self.page.as_ptr(),
                self.handle,
            )
        };
    }
}
