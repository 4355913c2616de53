// SPDX-License-Identifier: GPL-2.0

//! Contiguous chunks of the page allocator, below a given address.

use super::{
    Need,
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

/// The most bytes of one chunk.
pub(crate) const MAX_CHUNK: u64 = (PAGE_SIZE as u64) << MAX_ORDER;

/// The smallest order of at least `bytes`.
pub(crate) fn order_of(bytes: u64) -> u32 {
    let pages = bytes.div_ceil(PAGE_SIZE as u64).max(1);
    u64::BITS - (pages - 1).leading_zeros()
}

/// As what pages were allocated.
#[derive(Clone, Copy)]
enum Origin {
    /// As the page allocator's block of this order, with one reference.
    Block(u32),
    /// As the first pages of a block, with a reference each.
    Split,
    /// As a range inside a zone, without references; they count against the limit.
    Range,
}

/// Zeroed contiguous pages, freed when dropped.
///
/// # Invariants
///
/// The `pages` pages from `address` on are ours, and were allocated as `origin` says.
pub(crate) struct Chunk {
    address: u64,
    pages: usize,
    origin: Origin,
}

impl Chunk {
    /// The memory.
    pub(crate) fn range(&self) -> Range {
        Range {
            start: self.address,
            len: (self.pages * PAGE_SIZE) as u64,
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let (address, pages) = (self.address, self.pages);
        // SAFETY: By the type's invariants the pages are ours, and were allocated so.
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

/// While it is there, who takes memory out of the machine hears of pages that buffers have from
/// inside a zone, and fails. For the module.
pub(crate) struct Watch(());

impl Watch {
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The notifier is static, and taken off before the module goes.
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

/// What a [`Source`] may do for a chunk.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Reclaim and move other memory, and wait for it. What fails then decides: see [`Shortage`].
    pub(crate) reclaim: bool,
    /// Where the limit divides a zone, search the zone from its low end, moving what is in the
    /// way: dear, but the page allocator itself hands out high addresses first.
    pub(crate) search: bool,
}

/// Where memory for a need comes from.
pub(crate) struct Source<'a> {
    need: &'a Need,
    zones: c::cenalloc_zones,
    /// Where the next search starts.
    cursor: u64,
}

impl<'a> Source<'a> {
    /// Memory that `need` can be satisfied with.
    pub(crate) fn new(need: &'a Need) -> Self {
        // SAFETY: The call looks at the kernel's zones alone.
        let zones = unsafe { c::cenalloc_zones_below(need.placement.max_address) };
        Self {
            need,
            zones,
            cursor: 0,
        }
    }

    /// A chunk of `pages` pages, 2^`order` or less, that starts at a multiple of 2^`order` pages,
    /// or, found by a search, as it needs to be aligned.
    ///
    /// Where the limit divides a zone, the zones below come last: they are small and belong to
    /// devices that reach nothing else.
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
        self.take(order, pages, effort.reclaim, true, self.zones.sure)
    }

    /// From the zone that the limit divides.
    ///
    /// What a search finds is charged to nobody, so that it needs to be possible to charge as much.
    fn low(&mut self, order: u32, pages: usize, effort: Effort) -> Result<Chunk, Shortage> {
        // Most of what comes back can be too high, and is not worth zeroing.
        let zone = self.zones.maybe;
        match self.take(order, pages, effort.reclaim, false, zone) {
            Ok(chunk) if chunk.range().last() <= self.need.placement.max_address => {
                // SAFETY: The chunk is ours.
                unsafe { c::cenalloc_clear(chunk.address, chunk.pages) };
                return Ok(chunk);
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
            // What was too small for larger chunks was passed by.
            self.cursor = 0;
            page = self.search(pages);
        }
        let page = page.ok_or_else(|| self.need.shortage())?;
        // INVARIANT: Pages that are ours, as a range.
        Ok(Chunk {
            // SAFETY: Just allocated.
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
        // SAFETY: Both are ours; the kind of zone is one that there is.
        NonNull::new(unsafe { c::cenalloc_range_alloc(&want, &mut self.cursor) })
    }

    /// The first `pages` pages of a block of the page allocator; what is left of it is given back.
    fn take(
        &self,
        order: u32,
        pages: usize,
        reclaim: bool,
        zero: bool,
        zone: bindings::gfp_t,
    ) -> Result<Chunk, Shortage> {
        let whole = pages == 1 << order;
        // SAFETY: No requirements on the arguments; the order is one of the page allocator's.
        let page = NonNull::new(unsafe {
            let gfp = c::cenalloc_gfp(reclaim, zero, whole && order > 0) | zone;
            bindings::alloc_pages(gfp, order)
        });
        let Some(page) = page else {
            // SAFETY: The order is one of the page allocator's, and the flags are a zone's.
            let is_there = || unsafe { c::cenalloc_is_there(order, zone) };
            return Err(match self.need.shortage() {
                Shortage::Memory if reclaim && is_there() => Shortage::Charge,
                shortage => shortage,
            });
        };
        if !whole {
            // SAFETY: The block was just allocated, not compound.
            unsafe { c::cenalloc_trim(page.as_ptr(), order, pages) };
        }
        // INVARIANT: A block of `order` that is ours, or its first pages, with a reference each.
        Ok(Chunk {
            // SAFETY: Just allocated.
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

/// How many bytes of memory the page allocator has.
pub(crate) fn total() -> u64 {
    // SAFETY: No requirements.
    unsafe { c::cenalloc_total_memory() }
}

/// The first address of memory that the page allocator has.
fn lowest() -> u64 {
    // SAFETY: No requirements.
    unsafe { c::cenalloc_lowest_address() }
}

/// Whether the page allocator has memory in the range, of the length and the alignment that is
/// needed.
///
/// A block is split for a shorter buffer, and cannot grow together again as long as that stays. So
/// none is aligned more than its length asks for: it would cost others a large block.
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

/// Whether the page allocator seems to have memory for `need` now, and the current process may have
/// as much.
pub(super) fn has_room(need: &Need) -> Result<(), Shortage> {
    // SAFETY: No requirements: it adds up what the kernel counts.
    if need.len > unsafe { c::cenalloc_may_charge() } {
        return Err(Shortage::Charge);
    }
    // SAFETY: As above.
    if need.len > unsafe { c::cenalloc_available(need.placement.max_address) } {
        return Err(Shortage::Memory);
    }
    Ok(())
}

/// Zeroes memory.
///
/// # Safety
///
/// The memory has struct pages, and nobody else has it.
pub(crate) unsafe fn clear(range: &Range) {
    // SAFETY: The caller's promise.
    unsafe { c::cenalloc_clear(range.start, (range.len / PAGE_SIZE as u64) as usize) };
}

/// Copies `len` bytes, whole pages, from one physical address to another.
///
/// # Safety
///
/// Both are memory with struct pages, of which nobody else has the one that is written.
pub(crate) unsafe fn copy(to: u64, from: u64, len: u64) {
    // SAFETY: The caller's promise.
    unsafe { c::cenalloc_copy(to, from, len) }
}
