// SPDX-License-Identifier: GPL-2.0

//! One run of the page allocator.

use super::{
    pages::{
        self,
        Effort,
        Source, //
    },
    Allocator,
    Collected,
    Need, //
};
use crate::c;
use dma_buf_constraints::model::{
    Field,
    Misfit, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::atomic::Atomic, //
};

/// The one of its kind.
pub(super) static SYSTEM_CONTIG: SystemContig = SystemContig {
    used: Atomic::new(0),
};

/// Gives one run, of up to the page allocator's largest order.
pub(super) struct SystemContig {
    used: Atomic<u64>,
}

impl Allocator for SystemContig {
    fn name(&self) -> &'static str {
        "system-contig"
    }

    fn class(&self) -> u64 {
        u64::from(c::CENALLOC_CLASS_SYSTEM_CONTIG)
    }

    fn max_len(&self) -> u64 {
        pages::MAX_CHUNK
    }

    fn is_contiguous(&self) -> bool {
        true
    }

    fn could(&self, need: &Need) -> Result<(), Misfit> {
        if need.len > pages::MAX_CHUNK {
            return Err(Misfit {
                field: Field::MaxSegments,
                wanted: need.placement.max_segments.into(),
                found: need.len.div_ceil(pages::MAX_CHUNK),
            });
        }
        pages::within_memory(need)
    }

    fn allocate(&self, need: &Need) -> Result<Collected> {
        let order = pages::order_of(need.len.max(need.placement.alignment));
        let pages = (need.len / PAGE_SIZE as u64) as usize;
        let effort = Effort {
            reclaim: true,
            search: true,
        };
        let chunk = Source::below(need.placement.max_address)
            .chunk(order, pages, effort)
            .ok_or_else(|| pages::failure(need))?;
        let mut collected = Collected::new();
        collected.push(chunk)?;
        Ok(collected)
    }

    fn used(&self) -> &Atomic<u64> {
        &self.used
    }
}
