// SPDX-License-Identifier: GPL-2.0

//! An allocator for cenalloc: a pool of single pages.

use crate::c;
use cenalloc::{
    Allocator,
    Devices,
    Need,
    Owner,
    Provision,
    Shortage, //
};
use dma_buf_constraints::model::{
    Field,
    Misfit,
    Range, //
};
use kernel::{
    new_mutex,
    page::{
        Page,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

/// Returns the physical address of a page.
fn address(page: &Page) -> u64 {
    // SAFETY: A `Page` owns an allocated page.
    unsafe { c::rust_allocator_address(page.as_ptr()) }
}

/// Pages that are set aside when the module is loaded.
#[pin_data]
pub(crate) struct Pool {
    /// Those that no buffer has. There is room for all.
    #[pin]
    free: Mutex<KVec<Page>>,
    /// The last address of all.
    last: u64,
}

impl Pool {
    /// Allocates a pool of `count` pages. `ENOMEM`.
    pub(crate) fn new(count: usize) -> Result<Arc<Self>> {
        let mut pages = KVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            pages.push(Page::alloc_page(GFP_KERNEL)?, GFP_KERNEL)?;
        }
        let last = pages.iter().map(address).max().ok_or(EINVAL)? + (PAGE_SIZE as u64 - 1);
        Arc::pin_init(
            pin_init!(Self {
                free <- new_mutex!(pages),
                last,
            }),
            GFP_KERNEL,
        )
    }
}

/// The allocator.
pub(crate) struct PoolAllocator(pub(crate) Arc<Pool>);

// SAFETY: A page is in the pool or in one `Taken`, which is dropped with the provision; `allocate`
// zeroes it. The module owns the registration, so that it is dropped before the module is unloaded.
unsafe impl Allocator for PoolAllocator {
    fn max_len(&self) -> u64 {
        (c::RUST_ALLOCATOR_PAGES as usize * PAGE_SIZE) as u64
    }

    fn is_contiguous(&self) -> bool {
        false
    }

    fn could(&self, need: &Need) -> Result<(), Misfit> {
        let page = PAGE_SIZE as u64;
        let placement = &need.placement;
        let pages = need.len / page;
        let misfit = |field, wanted, found| {
            Err(Misfit {
                field,
                wanted,
                found,
            })
        };
        if u64::from(placement.max_segments) < pages {
            misfit(Field::MaxSegments, placement.max_segments.into(), pages)
        } else if placement.alignment > page {
            misfit(Field::Alignment, placement.alignment, page)
        } else if placement.max_address < self.0.last {
            misfit(Field::MaxAddress, placement.max_address, self.0.last)
        } else {
            Ok(())
        }
    }

    fn allocate(&self, need: &Need, _devices: &Devices<'_>) -> Result<Provision, Shortage> {
        let count = (need.len / PAGE_SIZE as u64) as usize;
        let taken = Taken::new(&self.0, count)?;
        let mut ranges = KVec::with_capacity(count, GFP_KERNEL)?;
        for page in &taken.pages {
            // SAFETY: `taken` owns the page, which nothing else uses yet, and the page has
            // `PAGE_SIZE` bytes.
            unsafe { page.fill_zero_raw(0, PAGE_SIZE)? };
            let range = Range {
                start: address(page),
                len: PAGE_SIZE as u64,
            };
            ranges.push(range, GFP_KERNEL)?;
        }
        Ok(Provision::new(KBox::new(taken, GFP_KERNEL)?, ranges)?)
    }
}

/// The pages that a buffer has.
struct Taken {
    pool: Arc<Pool>,
    pages: KVec<Page>,
}

impl Taken {
    /// Takes `count` pages. `ENOMEM` where there are fewer.
    fn new(pool: &Arc<Pool>, count: usize) -> Result<Self> {
        let mut taken = Self {
            pool: pool.clone(),
            pages: KVec::with_capacity(count, GFP_KERNEL)?,
        };
        let mut free = pool.free.lock();
        for _ in 0..count {
            let Some(page) = free.pop() else {
                // The lock first: the drop of what was taken wants it.
                drop(free);
                return Err(ENOMEM);
            };
            taken.pages.push(page, GFP_KERNEL)?;
        }
        drop(free);
        Ok(taken)
    }
}

// SAFETY: `map_kernel` is the default one, which gives no address.
unsafe impl Owner for Taken {}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock();
        while let Some(page) = self.pages.pop() {
            // There is room: it was in there before.
            let _ = free.push(page, GFP_ATOMIC);
        }
    }
}
