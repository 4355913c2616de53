// SPDX-License-Identifier: GPL-2.0

//! Memory that an allocator gives to a buffer, and its owner.

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
/// A method that is not implemented has a default: mapping for devices by the DMA API, for
/// userspace by page faults, for the kernel by its direct address or `vmap`.
///
/// # Safety
///
/// The address from [`map_kernel`](Self::map_kernel) is that of as many bytes as the memory has,
/// until [`unmap_kernel`](Self::unmap_kernel) or the drop.
pub unsafe trait Owner: Send + Sync {
    /// Returns where the memory lies, if it is one range; [`None`] for the range of the provision.
    ///
    /// # Errors
    ///
    /// Returns the error with which the query of a driver is to fail.
    fn phys(&self) -> Option<Result<Range>> {
        None
    }

    /// Maps all the memory for the kernel, and returns the address; [`None`] for the default.
    ///
    /// # Errors
    ///
    /// Returns the error with which the kernel's mapping is to fail.
    fn map_kernel(&self) -> Option<Result<NonNull<c_void>>> {
        None
    }

    /// Takes the address back, which is not used any more.
    fn unmap_kernel(&self) {}

    /// Makes what the CPU wrote visible to `device`, beyond what the DMA API has done.
    fn sync_for_device(&self, _device: &Device, _direction: DataDirection) {}

    /// Maps the page that userspace touched; [`None`] for the default.
    ///
    /// # Errors
    ///
    /// Returns any error, on which userspace gets `SIGBUS`.
    fn fault(&self, _fault: &Fault<'_>) -> Option<Result<Touched>> {
        None
    }
}

/// The owner of a buffer's memory.
pub(crate) enum Keep {
    /// Chunks of the page allocator.
    Chunks(Few<Chunk>),
    /// Anything else.
    Owner(KBox<dyn Owner>),
}

/// Returns the last address at which the machine can have memory. Not generic: what it calls is
/// exported to this module alone.
#[inline(never)]
fn last_address() -> u64 {
    let iomem = &raw const kernel::bindings::iomem_resource;
    // SAFETY: `iomem_resource` is a static of the kernel, which sets its end at boot.
    unsafe { (*iomem).end }
}

/// Memory that an allocator gives to a buffer.
pub struct Provision {
    pub(crate) keep: Keep,
    /// In the order of the buffer's bytes; adjacent ranges are merged.
    pub(crate) ranges: Few<Range>,
    pub(crate) has_struct_pages: bool,
}

impl Provision {
    /// Takes memory with struct pages, in the order of the buffer's bytes, that `owner` keeps.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if a range is empty, not of whole pages, or beyond the machine's addresses.
    /// - `ENOMEM` if there is no memory for the list of ranges.
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
            // Page tables cannot hold higher addresses.
            let last = range
                .len
                .checked_sub(1)
                .and_then(|len| range.start.checked_add(len));
            if !is_whole || last.is_none_or(|last| last > last_address) {
                return Err(EINVAL);
            }
            provision.ranges.append(range)?;
        }
        Ok(provision)
    }

    /// Takes one range without struct pages that `owner` keeps.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the range is empty, not of whole pages, or beyond the machine's addresses.
    pub fn without_struct_pages(owner: KBox<dyn Owner>, memory: Range) -> Result<Self> {
        Ok(Self {
            has_struct_pages: false,
            ..Self::new(owner, [memory])?
        })
    }

    /// Creates a provision of the page allocator, which has no memory yet.
    pub(crate) fn chunks() -> Self {
        Self {
            keep: Keep::Chunks(Few::new()),
            ranges: Few::new(),
            has_struct_pages: true,
        }
    }

    /// Adds a chunk behind the others. `ENOMEM`; the chunk is then freed.
    pub(crate) fn push(&mut self, chunk: Chunk) -> Result {
        let range = chunk.range();
        if let Keep::Chunks(chunks) = &mut self.keep {
            chunks.push(chunk)?;
        }
        self.ranges.append(range)
    }

    /// Returns the length in bytes, unless it overflows.
    pub(crate) fn len(&self) -> Option<u64> {
        let mut lens = self.ranges.as_slice().iter().map(|range| range.len);
        lens.try_fold(0u64, u64::checked_add)
    }

    /// Zeroes the memory. `ENOMEM`.
    pub(crate) fn clear(&self) -> Result {
        if self.has_struct_pages {
            for range in &self.ranges {
                // SAFETY: `has_struct_pages` was checked, and the memory belongs to nothing else,
                // as the safety requirements of `Allocator` say.
                unsafe { pages::clear(range) };
            }
            return Ok(());
        }
        let pages = Pages {
            ranges: self.ranges.as_slice(),
            has_struct_pages: false,
        };
        // SAFETY: `without_struct_pages` takes exactly one range, and `self` keeps it.
        let mapping = unsafe { KernelMapping::new(pages)? };
        let len = self.len().ok_or(EINVAL)? as usize;
        // SAFETY: The mapping shows all `len` bytes, and the memory belongs to nothing else, as the
        // safety requirements of `Allocator` say.
        unsafe { c::cenalloc_clear_mapped(mapping.address().as_ptr(), len) };
        Ok(())
    }

    /// Returns how many ranges there are.
    pub(crate) fn ranges(&self) -> usize {
        self.ranges.as_slice().len()
    }
}
