// SPDX-License-Identifier: GPL-2.0

//! Contiguous chunks of the page allocator, below a given address.

use super::{
    Need,
    Report,
    Shortage, //
};
use crate::c;
use core::ptr::NonNull;
use dma_buf_constraints::model::{
    Field,
    Misfit,
    Range, //
};
use kernel::{
    bindings,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*, //
};

/// The largest order of the page allocator.
pub(crate) const MAX_ORDER: u32 = bindings::MAX_PAGE_ORDER;

/// The most bytes in one chunk.
pub(crate) const MAX_CHUNK: u64 = (PAGE_SIZE as u64) << MAX_ORDER;

/// Returns the smallest order of at least `bytes`.
pub(crate) fn order_of(bytes: u64) -> u32 {
    let pages = bytes.div_ceil(PAGE_SIZE as u64).max(1);
    u64::BITS - (pages - 1).leading_zeros()
}

/// How the pages of a chunk were allocated.
#[derive(Clone, Copy)]
enum Origin {
    /// As one block of this order of the page allocator, with one reference.
    Block(u32),
    /// As the first pages of a block, with a reference each.
    Split,
    /// As a range inside a zone, without references; they count against the limit of
    /// `uncharged_mib`.
    Range,
}

/// Zeroed contiguous pages, freed when dropped.
///
/// # Invariants
///
/// The `pages` pages from `address` on were allocated as `origin` says, and are freed by the drop
/// alone.
pub(crate) struct Chunk {
    address: u64,
    pages: usize,
    origin: Origin,
}

impl Chunk {
    /// Returns the memory.
    pub(crate) fn range(&self) -> Range {
        Range {
            start: self.address,
            len: (self.pages * PAGE_SIZE) as u64,
        }
    }

    /// Zeroes a chunk that was just allocated, unless the kernel has done so.
    fn cleared(self) -> Self {
        // SAFETY: By the type's invariants the pages were allocated, and nothing else uses them.
        unsafe {
            if !c::cenalloc_zeroes() {
                c::cenalloc_clear(self.address, self.pages);
            }
        }
        self
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let (address, pages) = (self.address, self.pages);
        // SAFETY: By the type's invariants the pages were allocated as `origin` says, and are freed
        // here only.
        unsafe {
            match self.origin {
                Origin::Block(order) => {
                    bindings::__free_pages(c::cenalloc_address_page(address), order)
                }
                Origin::Split => c::cenalloc_pages_free(address, pages),
                Origin::Range => c::cenalloc_range_free(address, pages),
            }
        }
    }
}

/// Refuses memory hot-unplug of pages that buffers have from inside a zone, as long as it lives.
pub(crate) struct Watch(());

impl Watch {
    /// Registers the notifier. `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The notifier is a static, and the drop unregisters it before the module is
        // unloaded.
        to_result(unsafe { c::cenalloc_watch_memory() })?;
        Ok(Self(()))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: `new` registered it.
        unsafe { c::cenalloc_unwatch_memory() };
    }
}

/// How hard a [`Source`] tries to get a chunk.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Reclaim and migrate other memory, and wait for it. A failure is then final: see
    /// [`Shortage`].
    pub(crate) reclaim: bool,
    /// Where the limit divides a zone, search the zone from its low end, migrating what is in the
    /// way. That is slow, but the page allocator itself hands out high addresses first.
    pub(crate) search: bool,
}

/// A source of memory for a need.
pub(crate) struct Source<'a> {
    need: &'a Need,
    zones: c::cenalloc_zones,
    /// The address from which the next search starts.
    cursor: u64,
}

impl<'a> Source<'a> {
    /// Creates the source for `need`.
    pub(crate) fn new(need: &'a Need) -> Self {
        // SAFETY: The call takes any address and reads the spans of the kernel's zones.
        let zones = unsafe { c::cenalloc_zones_below(need.placement.max_address) };
        Self {
            need,
            zones,
            cursor: 0,
        }
    }

    /// Takes a chunk of `pages` pages, 2^`order` or less, that starts at a multiple of 2^`order`
    /// pages or, if a search found it, of the alignment of the need.
    ///
    /// Where the limit divides a zone, the zones below come last: they are small, and for devices
    /// that reach nothing else.
    pub(crate) fn chunk(
        &mut self,
        order: u32,
        pages: usize,
        effort: Effort,
    ) -> Result<Chunk, Shortage> {
        let pages = pages.min(1 << order);
        if self.zones.has_maybe {
            match self.low(order, pages, effort) {
                Err(Shortage::Memory) if self.zones.has_sure => {}
                decided => return decided,
            }
        }
        if !self.zones.has_sure {
            return Err(Shortage::Memory);
        }
        let chunk = self.take(order, pages, effort.reclaim, self.zones.sure)?;
        Ok(chunk.cleared())
    }

    /// Takes a chunk from the zone that the limit divides.
    ///
    /// The pages of a search are not charged, so that an attempt to charge as many comes first.
    fn low(&mut self, order: u32, pages: usize, effort: Effort) -> Result<Chunk, Shortage> {
        // Most pages may be too high, and not worth zeroing.
        let zone = self.zones.maybe;
        match self.take(order, pages, effort.reclaim, zone) {
            Ok(chunk) if chunk.range().last() <= self.need.placement.max_address => {
                return Ok(chunk.cleared());
            }
            Err(Shortage::Memory) if effort.reclaim => {}
            Err(shortage) => return Err(shortage),
            Ok(_) => {}
        }
        if !effort.search {
            return Err(Shortage::Memory);
        }
        let mut page = self.search(pages);
        if page.is_none() && self.cursor != 0 {
            // The search for larger chunks skipped ranges that were too small.
            self.cursor = 0;
            page = self.search(pages);
        }
        let page = page.ok_or_else(|| self.need.shortage())?;
        // INVARIANT: `search` allocated these pages as a range inside the zone.
        Ok(Chunk {
            // SAFETY: `page` is the first page of an allocation.
            address: unsafe { c::cenalloc_page_address(page.as_ptr()) },
            pages,
            origin: Origin::Range,
        })
    }

    fn search(&mut self, pages: usize) -> Option<NonNull<bindings::page>> {
        let placement = &self.need.placement;
        let want = c::cenalloc_range {
            zone: self.zones.maybe_zone,
            gfp: self.zones.maybe,
            end: placement.max_address.saturating_add(1) / PAGE_SIZE as u64,
            count: pages,
            align: 1 << order_of(placement.alignment),
        };
        // SAFETY: Both arguments are variables of ours; `cenalloc_zones_below` returned the zone.
        NonNull::new(unsafe { c::cenalloc_range_alloc(&want, &mut self.cursor) })
    }

    /// Takes the first `pages` pages of a block of the page allocator, and gives the others back.
    /// They are not zeroed, unless the kernel does so.
    fn take(
        &self,
        order: u32,
        pages: usize,
        reclaim: bool,
        zone: bindings::gfp_t,
    ) -> Result<Chunk, Shortage> {
        let whole = pages == 1 << order;
        // SAFETY: The order is at most `MAX_ORDER`, and `zone` has the flags of a zone from
        // `cenalloc_zones_below`.
        let page = NonNull::new(unsafe {
            let gfp = c::cenalloc_gfp(reclaim, whole && order > 0) | zone;
            bindings::alloc_pages(gfp, order)
        });
        let Some(page) = page else {
            // SAFETY: The order is at most `MAX_ORDER`, and `zone` has the flags of a zone from
            // `cenalloc_zones_below`.
            let is_there = || unsafe { c::cenalloc_is_there(order, zone) };
            return Err(match self.need.shortage() {
                Shortage::Memory if reclaim && is_there() => Shortage::Charge,
                shortage => shortage,
            });
        };
        if !whole {
            // SAFETY: `alloc_pages` returned the block, which is not compound where it is to be
            // split.
            unsafe { c::cenalloc_trim(page.as_ptr(), order, pages) };
        }
        // INVARIANT: The pages are a whole block of `order` or, after `cenalloc_trim`, its first
        // pages with a reference each.
        Ok(Chunk {
            // SAFETY: `page` is the first page of an allocation.
            address: unsafe { c::cenalloc_page_address(page.as_ptr()) },
            pages,
            origin: if whole {
                Origin::Block(order)
            } else {
                Origin::Split
            },
        })
    }
}

/// Returns how many bytes of memory the page allocator has.
pub(crate) fn total() -> u64 {
    // SAFETY: No requirements.
    unsafe { c::cenalloc_total_memory() }
}

/// Returns the lowest address of memory that the page allocator has.
fn lowest() -> u64 {
    // SAFETY: No requirements.
    unsafe { c::cenalloc_lowest_address() }
}

/// Checks whether the page allocator has memory in the range, of the length and of the alignment of
/// `need`.
///
/// A block that is split for a shorter buffer cannot merge again while that buffer lives. So none
/// is aligned more than its length asks for, which would cost a large block.
pub(super) fn within_memory(need: &Need) -> Result<(), Misfit> {
    let max_address = need.placement.max_address;
    let is_within = max_address == u64::MAX || lowest().saturating_add(need.len - 1) <= max_address;
    if !is_within {
        return Err(Misfit {
            field: Field::MaxAddress,
            wanted: max_address,
            found: lowest(),
        });
    }
    let block = (PAGE_SIZE as u64) << order_of(need.len).min(MAX_ORDER);
    if need.placement.alignment > block {
        return Err(Misfit {
            field: Field::Alignment,
            wanted: need.placement.alignment,
            found: block,
        });
    }
    Ok(())
}

/// Estimates whether the page allocator has memory for `need` now, and the current process may be
/// charged for it.
pub(super) fn has_room(need: &Need) -> Result<(), Shortage> {
    // SAFETY: No requirements.
    if need.len > unsafe { c::cenalloc_may_charge() } {
        return Err(Shortage::Charge);
    }
    // SAFETY: No requirements: it takes any address.
    if need.len > unsafe { c::cenalloc_available(need.placement.max_address) } {
        return Err(Shortage::Memory);
    }
    Ok(())
}

/// Tells how much memory the page allocator has free, wherever it lies.
pub(super) fn report() -> Report {
    Report {
        // SAFETY: No requirements: it takes any address.
        free: Some(unsafe { c::cenalloc_available(u64::MAX) }),
        area: None,
    }
}

/// Zeroes memory.
///
/// # Safety
///
/// The memory has struct pages, and nothing else uses it.
pub(crate) unsafe fn clear(range: &Range) {
    // SAFETY: The caller passes memory with struct pages that nothing else uses.
    unsafe { c::cenalloc_clear(range.start, (range.len / PAGE_SIZE as u64) as usize) };
}

/// Copies `len` bytes, whole pages, from one physical address to another.
///
/// # Safety
///
/// Both are memory with struct pages, and nothing else uses that which is written.
pub(crate) unsafe fn copy(to: u64, from: u64, len: u64) {
    // SAFETY: The caller passes memory with struct pages, of which nothing else uses that which is
    // written.
    unsafe { c::cenalloc_copy(to, from, len) }
}
