// SPDX-License-Identifier: GPL-2.0

//! Contiguous chunks of the page allocator, below a given address.

use super::Need;
use crate::c;
use core::ptr::NonNull;
use dma_buf_constraints::model::{
    Field,
    Misfit,
    Run, //
};
use kernel::{
    bindings,
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

/// Zeroed contiguous pages, freed when dropped.
///
/// # Invariants
///
/// The `pages` pages from `address` on are ours: with an `order`, as the page allocator's block
/// of that order; without, each with a reference of its own.
pub(crate) struct Chunk {
    address: u64,
    pages: usize,
    order: Option<u32>,
}

impl Chunk {
    /// The memory.
    pub(crate) fn run(&self) -> Run {
        Run {
            start: self.address,
            len: (self.pages * PAGE_SIZE) as u64,
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        match self.order {
            // SAFETY: By the type's invariants the block is ours and has one reference.
            Some(order) => unsafe {
                bindings::__free_pages(c::cenalloc_address_page(self.address), order)
            },
            // SAFETY: By the type's invariants the pages are ours, with a reference each.
            None => unsafe { c::cenalloc_free_split(self.address, self.pages) },
        }
    }
}

/// What a [`Source`] may do for a chunk.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Reclaim and move other memory, and wait for it.
    pub(crate) reclaim: bool,
    /// Where the limit divides a zone, search the zone from its low end, moving what is in the
    /// way: dear, but the page allocator itself hands out high addresses first.
    pub(crate) search: bool,
}

/// Where memory up to an address comes from.
pub(crate) struct Source {
    max_address: u64,
    zones: c::cenalloc_zones,
    /// Where the next search starts.
    cursor: u64,
}

impl Source {
    /// Memory up to `max_address`.
    pub(crate) fn below(max_address: u64) -> Self {
        let mut zones = c::cenalloc_zones {
            sure: 0,
            maybe: 0,
            maybe_zone: 0,
            has_sure: false,
            has_maybe: false,
        };
        if max_address == u64::MAX {
            // Any zone will do: that takes no flags.
            zones.has_sure = true;
        } else {
            // SAFETY: `zones` is ours to write.
            unsafe { c::cenalloc_zones_below(max_address, &mut zones) };
        }
        Self {
            max_address,
            zones,
            cursor: 0,
        }
    }

    /// A chunk of `pages` pages, 2^`order` or less, that starts at a multiple of 2^`order` pages.
    ///
    /// Where the limit divides a zone, the zones below come last: they are small and belong to
    /// devices that reach nothing else.
    pub(crate) fn chunk(&mut self, order: u32, pages: usize, effort: Effort) -> Option<Chunk> {
        let pages = pages.min(1 << order);
        if self.zones.has_maybe {
            let low = self.low(order, pages, effort);
            if low.is_some() {
                return low;
            }
        }
        if !self.zones.has_sure {
            return None;
        }
        take(order, pages, effort.reclaim, true, self.zones.sure)
    }

    /// From the zone that the limit divides.
    fn low(&mut self, order: u32, pages: usize, effort: Effort) -> Option<Chunk> {
        // Most of what comes back can be too high, and is not worth zeroing.
        if let Some(chunk) = take(order, pages, false, false, self.zones.maybe) {
            if chunk.run().last() <= self.max_address {
                // SAFETY: The chunk is ours.
                unsafe { c::cenalloc_clear(chunk.address, chunk.pages) };
                return Some(chunk);
            }
        }
        if !effort.search {
            return None;
        }
        let mut page = self.search(order, pages);
        if page.is_none() && self.cursor != 0 {
            // What was too small for larger chunks was passed by.
            self.cursor = 0;
            page = self.search(order, pages);
        }
        let page = page?;
        // INVARIANT: Pages that are ours, with a reference each.
        Some(Chunk {
            // SAFETY: Just allocated.
            address: unsafe { c::cenalloc_page_address(page.as_ptr()) },
            pages,
            order: None,
        })
    }

    fn search(&mut self, order: u32, pages: usize) -> Option<NonNull<bindings::page>> {
        // SAFETY: The cursor is ours to write; no requirements on the rest.
        NonNull::new(unsafe {
            c::cenalloc_alloc_range(
                self.zones.maybe_zone,
                self.max_address,
                pages,
                order,
                &mut self.cursor,
            )
        })
    }
}

/// The first `pages` pages of a block of the page allocator; what is left of it is given back.
fn take(
    order: u32,
    pages: usize,
    reclaim: bool,
    zero: bool,
    zone: bindings::gfp_t,
) -> Option<Chunk> {
    let whole = pages == 1 << order;
    // SAFETY: No requirements on the arguments; the order is one of the page allocator's.
    let page = NonNull::new(unsafe {
        let gfp = c::cenalloc_gfp(reclaim, zero, whole && order > 0) | zone;
        bindings::alloc_pages(gfp, order)
    })?;
    if !whole {
        // SAFETY: The block was just allocated, not compound.
        unsafe { c::cenalloc_trim(page.as_ptr(), order, pages) };
    }
    // INVARIANT: A block of `order` that is ours, or its first pages, with a reference each.
    Some(Chunk {
        // SAFETY: Just allocated.
        address: unsafe { c::cenalloc_page_address(page.as_ptr()) },
        pages,
        order: whole.then_some(order),
    })
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
    if need.placement.alignment > MAX_CHUNK {
        return Err(Misfit {
            field: Field::Alignment,
            wanted: need.placement.alignment,
            found: MAX_CHUNK,
        });
    }
    Ok(())
}

/// Zeroes memory.
///
/// # Safety
///
/// The memory has struct pages, and nobody else has it.
pub(crate) unsafe fn clear(run: &Run) {
    // SAFETY: The caller's promise.
    unsafe { c::cenalloc_clear(run.start, (run.len / PAGE_SIZE as u64) as usize) };
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

/// Whether the current process is being killed, and should not go on collecting memory.
pub(crate) fn killed() -> bool {
    // SAFETY: No requirements.
    unsafe { c::cenalloc_killed() }
}

/// Why there was no memory for `need`: a search also ends where the process is being killed.
pub(crate) fn failure(need: &Need) -> Error {
    if need.killable && killed() {
        EINTR
    } else {
        ENOMEM
    }
}
