// SPDX-License-Identifier: GPL-2.0

//! Contiguous chunks of the page allocator, below a given address.

use crate::c;
use core::ptr::NonNull;
use dma_buf_constraints::model::Run;
use kernel::{
    bindings,
    page::PAGE_SIZE, //
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

/// Where memory up to an address comes from.
pub(crate) struct Source {
    max_address: u64,
    zones: c::cenalloc_zones,
}

impl Source {
    /// Memory up to `max_address`.
    pub(crate) fn below(max_address: u64) -> Self {
        let mut zones = c::cenalloc_zones {
            sure: 0,
            maybe: 0,
            has_sure: false,
            has_maybe: false,
        };
        // SAFETY: `zones` is ours to write.
        unsafe { c::cenalloc_zones_below(max_address, &mut zones) };
        Self { max_address, zones }
    }

    /// A block of 2^`order` pages, aligned to its size. With `try_hard`, memory is reclaimed and
    /// moved for it.
    ///
    /// Where the limit is no zone's end, the zone that it divides is searched from its low end:
    /// the zones below are small and belong to devices that reach nothing else.
    pub(crate) fn block(&self, order: u32, try_hard: bool) -> Option<Chunk> {
        // SAFETY: No requirements.
        let gfp = unsafe { c::cenalloc_gfp(try_hard) };
        if !self.zones.has_maybe {
            return self
                .zones
                .has_sure
                .then(|| Self::take(order, gfp | self.zones.sure))?;
        }
        let low = Self::take(order, gfp | self.zones.maybe).filter(|chunk| self.holds(chunk));
        if low.is_some() {
            return low;
        }
        let lowest = self.lowest(order).filter(|chunk| self.holds(chunk));
        if lowest.is_some() || !self.zones.has_sure {
            return lowest;
        }
        Self::take(order, gfp | self.zones.sure)
    }

    /// Like [`block`](Self::block), of `pages` pages: 2^`order` or less. What is left of the
    /// block is given back.
    pub(crate) fn part(&self, order: u32, pages: usize, try_hard: bool) -> Option<Chunk> {
        let mut chunk = self.block(order, try_hard)?;
        if pages >= chunk.pages {
            return Some(chunk);
        }
        match chunk.order {
            // SAFETY: By the type's invariants the block is ours and not compound.
            Some(order) => unsafe {
                c::cenalloc_trim(c::cenalloc_address_page(chunk.address), order, pages)
            },
            // SAFETY: By the type's invariants these pages are ours, with a reference each.
            None => unsafe {
                let rest = chunk.address + (pages * PAGE_SIZE) as u64;
                c::cenalloc_free_split(rest, chunk.pages - pages)
            },
        }
        // INVARIANT: The first `pages` pages are left, with a reference each.
        chunk.order = None;
        chunk.pages = pages;
        Some(chunk)
    }

    fn holds(&self, chunk: &Chunk) -> bool {
        chunk.run().last() <= self.max_address
    }

    fn take(order: u32, gfp: bindings::gfp_t) -> Option<Chunk> {
        // SAFETY: No requirements on the arguments; the order is one of the page allocator's.
        let page = NonNull::new(unsafe { bindings::alloc_pages(gfp, order) })?;
        // INVARIANT: A block of `order` that is ours.
        Some(Chunk {
            // SAFETY: Just allocated.
            address: unsafe { c::cenalloc_page_address(page.as_ptr()) },
            pages: 1 << order,
            order: Some(order),
        })
    }

    fn lowest(&self, order: u32) -> Option<Chunk> {
        let pages = 1 << order;
        // SAFETY: No requirements on the arguments; the call moves memory, which takes flags that
        // try hard.
        let page = unsafe {
            let gfp = c::cenalloc_gfp(true) | self.zones.maybe;
            NonNull::new(c::cenalloc_alloc_lowest(pages, gfp))?
        };
        // INVARIANT: Pages that are ours, with a reference each.
        Some(Chunk {
            // SAFETY: Just allocated.
            address: unsafe { c::cenalloc_page_address(page.as_ptr()) },
            pages,
            order: None,
        })
    }
}

/// The first address of memory that the page allocator has, and how many bytes it has in all.
pub(crate) fn extent() -> (u64, u64) {
    // SAFETY: No requirements.
    unsafe { (c::cenalloc_lowest_address(), c::cenalloc_total_memory()) }
}

/// Whether the current process is being killed, and should not go on collecting memory.
pub(crate) fn killed() -> bool {
    // SAFETY: No requirements.
    unsafe { c::cenalloc_killed() }
}
