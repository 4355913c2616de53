// SPDX-License-Identifier: GPL-2.0

//! Memory that an allocator gives to a buffer, and what keeps it.

use crate::{
    allocator::pages::{
        self,
        Chunk, //
    },
    c, //
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
    few::Few,
    model::Range, //
};
use kernel::{
    device::Device,
    page::PAGE_SIZE,
    prelude::*, //
};

/// Keeps memory for a buffer, and frees it when dropped.
///
/// What it does not say otherwise is done for it: mapping for devices by the DMA API, mapping for
/// userspace by page faults, for the kernel by its direct addresses or `vmap`.
///
/// # Safety
///
/// The address from [`map_kernel`](Self::map_kernel) is that of as many bytes as the memory has,
/// until [`unmap_kernel`](Self::unmap_kernel) or the drop.
pub unsafe trait Owner: Send + Sync {
    /// Where the memory lies, if it is one range, or nothing where its only range tells.
    fn phys(&self) -> Option<Result<Range>> {
        None
    }

    /// The kernel's address of all the memory, or nothing for the usual way.
    fn map_kernel(&self) -> Option<Result<NonNull<c_void>>> {
        None
    }

    /// The address is not used any more.
    fn unmap_kernel(&self) {}

    /// A device is about to use what the CPU wrote; the DMA API has done its part.
    fn sync_for_device(&self, _device: &Device, _direction: DataDirection) {}

    /// Maps the page of userspace that was touched, or nothing for the usual way.
    fn fault(&self, _fault: &Fault<'_>) -> Option<Result<Touched>> {
        None
    }
}

/// What keeps the memory of a buffer.
pub(crate) enum Keep {
    /// Chunks of the page allocator.
    Chunks(Few<Chunk>),
    /// Anything else.
    Owner(KBox<dyn Owner>),
}

/// The last address that the machine knows memory by. Not generic: what it calls is this module's
/// alone.
#[inline(never)]
fn last_address() -> u64 {
    let iomem = &raw const kernel::bindings::iomem_resource;
    // SAFETY: A static of the kernel, whose end does not change any more.
    unsafe { (*iomem).end }
}

/// Memory that an allocator gives to a buffer.
pub struct Provision {
    pub(crate) keep: Keep,
    /// In the order of the buffer's bytes; neighbours that touch are one range.
    pub(crate) ranges: Few<Range>,
    pub(crate) has_struct_pages: bool,
}

impl Provision {
    /// Memory with struct pages, in the order of the buffer's bytes, that `owner` keeps.
    ///
    /// `EINVAL` where a range is empty, not of whole pages, or beyond the machine's addresses;
    /// `ENOMEM`.
    pub fn new(owner: KBox<dyn Owner>, memory: impl IntoIterator<Item = Range>) -> Result<Self> {
        let mut provision = Self {
            keep: Keep::Owner(owner),
            ranges: Few::new(),
            has_struct_pages: true,
        };
        let last_address = last_address();
        for range in memory {
            let page = PAGE_SIZE as u64;
            let is_whole = range.start % page == 0 && range.len % page == 0;
            // Page tables cannot hold more.
            let last = range
                .len
                .checked_sub(1)
                .and_then(|len| range.start.checked_add(len));
            if !is_whole || last.is_none_or(|last| last > last_address) {
                return Err(EINVAL);
            }
            provision.add(range)?;
        }
        Ok(provision)
    }

    /// Memory without struct pages that `owner` keeps. `EINVAL` as for [`new`](Self::new).
    pub fn without_struct_pages(owner: KBox<dyn Owner>, memory: Range) -> Result<Self> {
        Ok(Self {
            has_struct_pages: false,
            ..Self::new(owner, [memory])?
        })
    }

    /// No memory yet, of the page allocator.
    pub(crate) fn chunks() -> Self {
        Self {
            keep: Keep::Chunks(Few::new()),
            ranges: Few::new(),
            has_struct_pages: true,
        }
    }

    /// Adds a chunk behind the others. On `ENOMEM` the chunk is freed.
    pub(crate) fn push(&mut self, chunk: Chunk) -> Result {
        let range = chunk.range();
        if let Keep::Chunks(chunks) = &mut self.keep {
            chunks.push(chunk)?;
        }
        self.add(range)
    }

    /// Adds a range behind the others.
    fn add(&mut self, range: Range) -> Result {
        match self.ranges.last_mut() {
            // An architecture may have memory at the very end of its addresses.
            Some(last) if last.start.checked_add(last.len) == Some(range.start) => {
                last.len += range.len;
            }
            _ => self.ranges.push(range)?,
        }
        Ok(())
    }

    /// Length in bytes, if that is a number.
    pub(crate) fn len(&self) -> Option<u64> {
        let mut lens = self.ranges.as_slice().iter().map(|range| range.len);
        lens.try_fold(0u64, u64::checked_add)
    }

    /// Zeroes the memory. `ENOMEM`.
    pub(crate) fn clear(&self) -> Result {
        if self.has_struct_pages {
            for range in &self.ranges {
                // SAFETY: The memory has struct pages, and nobody else has it: that is what an
                // allocator promises of what it gives.
                unsafe { pages::clear(range) };
            }
            return Ok(());
        }
        let pages = Pages {
            ranges: self.ranges.as_slice(),
            has_struct_pages: false,
        };
        // SAFETY: There is one range, as the constructor saw to, and `self` keeps it.
        let mapping = unsafe { KernelMapping::new(pages)? };
        let len = self.len().ok_or(EINVAL)? as usize;
        // SAFETY: The mapping has as many bytes, and nobody else has the memory: that is what an
        // allocator promises of what it gives.
        unsafe { c::cenalloc_clear_mapped(mapping.address().as_ptr(), len) };
        Ok(())
    }

    /// How many ranges there are.
    pub(crate) fn ranges(&self) -> usize {
        self.ranges.as_slice().len()
    }
}
