// SPDX-License-Identifier: GPL-2.0

//! One range of the page allocator.

use super::{
    pages::{
        self,
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
    Misfit,
    Name, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc, //
};

/// Adds the allocator to `all`. `ENOMEM`.
pub(super) fn add(all: &mut KVec<(Description, Arc<dyn Allocator>)>) -> Result {
    let description = Description {
        name: Name::new(b"system-contig"),
        class: c::CENALLOC_CLASS_SYSTEM_CONTIG.into(),
        priority: 400,
    };
    Ok(all.push(
        (description, Arc::new(SystemContig, GFP_KERNEL_ACCOUNT)?),
        GFP_KERNEL_ACCOUNT,
    )?)
}

/// An allocator of one range, of up to the page allocator's largest order.
struct SystemContig;

// SAFETY: The page allocator gives zeroed pages that belong to nothing else until the provision is
// dropped. The code is in this module.
unsafe impl Allocator for SystemContig {
    fn max_len(&self) -> u64 {
        pages::MAX_CHUNK
    }

    fn is_contiguous(&self) -> bool {
        true
    }

    fn could(&self, need: &Need) -> Result<(), Misfit> {
        pages::within_memory(need)
    }

    fn has_room(&self, need: &Need) -> Result<(), Shortage> {
        pages::has_room(need)
    }

    fn report(&self) -> Report {
        pages::report()
    }

    fn allocate(&self, need: &Need, _devices: &Devices<'_>) -> Result<Provision, Shortage> {
        provide(need)
    }
}

/// Allocates one range of the page allocator.
pub(super) fn provide(need: &Need) -> Result<Provision, Shortage> {
    let pages = (need.len / PAGE_SIZE as u64) as usize;
    let effort = Effort {
        reclaim: true,
        search: true,
    };
    let mut provision = Provision::chunks();
    provision.push(Source::new(need).chunk(pages::order_of(need.len), pages, effort)?)?;
    Ok(provision)
}
