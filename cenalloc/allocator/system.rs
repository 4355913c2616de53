// SPDX-License-Identifier: GPL-2.0

//! Scattered pages of the page allocator, in the largest chunks there are.

use super::{
    pages::{
        self,
        Chunk,
        Effort,
        Source, //
    },
    Allocator,
    Description,
    Devices,
    Need,
    Report,
    Shortage, //
};
use crate::{
    c,
    provision::Provision, //
};
use dma_buf_constraints::model::{
    Field,
    Misfit,
    Name,
    Strength, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc, //
};

/// Adds the allocator to `all`. `ENOMEM`.
pub(super) fn add(all: &mut KVec<(Description, Arc<dyn Allocator>)>) -> Result {
    let description = Description {
        name: Name::new(b"system"),
        class: c::CENALLOC_CLASS_SYSTEM.into(),
        priority: 500,
    };
    Ok(all.push(
        (description, Arc::new(System, GFP_KERNEL_ACCOUNT)?),
        GFP_KERNEL_ACCOUNT,
    )?)
}

/// An allocator of scattered memory, in few segments where users want few, below any address where
/// there is memory. What has to be one range is left to the allocators of contiguous memory.
struct System;

// SAFETY: The page allocator gives zeroed pages that belong to nothing else until the provision is
// dropped. The code is in this module.
unsafe impl Allocator for System {
    fn max_len(&self) -> u64 {
        pages::total()
    }

    fn is_contiguous(&self) -> bool {
        false
    }

    fn could(&self, need: &Need) -> Result<(), Misfit> {
        let fewest = need.len.div_ceil(pages::MAX_CHUNK);
        // One range that is only preferred is not worth another class of memory.
        let fewest = match need.preference {
            Strength::None => fewest.max(2),
            Strength::Weak | Strength::Strong => fewest,
        };
        if need.len > PAGE_SIZE as u64 && u64::from(need.placement.max_segments) < fewest {
            return Err(Misfit {
                field: Field::MaxSegments,
                wanted: need.placement.max_segments.into(),
                found: fewest,
            });
        }
        pages::within_memory(need)
    }

    fn has_room(&self, need: &Need) -> Result<(), Shortage> {
        pages::has_room(need)
    }

    fn report(&self) -> Report {
        pages::report()
    }

    fn allocate(&self, need: &Need, _devices: &Devices<'_>) -> Result<Provision, Shortage> {
        let mut source = Source::new(need);
        let mut provision = Provision::chunks();
        let mut rest = need.len;
        // Larger orders than one that failed are not tried again.
        let mut largest = pages::MAX_ORDER;
        while rest > 0 {
            if need.is_over() {
                return Err(Shortage::Killed);
            }
            let left = (need.placement.max_segments as usize).saturating_sub(provision.ranges());
            let smallest = smallest_order(rest, left as u64, need.placement.alignment)?;
            let chunk = chunk(&mut source, need, rest, smallest, &mut largest)?;
            rest -= chunk.range().len;
            provision.push(chunk)?;
        }
        Ok(provision)
    }
}

/// Takes the largest chunk for `rest` bytes that can be had, of an order from `smallest` to
/// `largest`.
fn chunk(
    source: &mut Source<'_>,
    need: &Need,
    rest: u64,
    smallest: u32,
    largest: &mut u32,
) -> Result<Chunk, Shortage> {
    let pages = rest / PAGE_SIZE as u64;
    let wanted = pages.ilog2().min(*largest).max(smallest);
    let mut order = wanted;
    loop {
        // Only for the smallest order is other memory reclaimed, and only for the largest is there
        // a search, unless nothing else is left.
        let effort = Effort {
            reclaim: order == smallest && need.reclaims(),
            search: order == wanted || order == smallest,
        };
        match source.chunk(order, pages as usize, effort) {
            Err(Shortage::Memory) if order > smallest => order -= 1,
            result => {
                *largest = order;
                return result;
            }
        }
    }
}

/// Returns the smallest order of the next chunk so that `rest` bytes come in `left` aligned
/// segments.
fn smallest_order(rest: u64, left: u64, alignment: u64) -> Result<u32, Shortage> {
    let each = rest.checked_div(left).ok_or(Shortage::Memory)?;
    let each = if each * left < rest { each + 1 } else { each };
    let order = pages::order_of(each).max(pages::order_of(alignment));
    if order > pages::MAX_ORDER {
        return Err(Shortage::Memory);
    }
    Ok(order)
}
