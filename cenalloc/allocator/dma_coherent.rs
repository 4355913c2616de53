// SPDX-License-Identifier: GPL-2.0

//! Contiguous memory for the most constrained device: from the area that the DMA API takes for it,
//! or from the page allocator. The CPU caches it.

use super::{
    cma::Area,
    extent::any_yes,
    pages,
    system_contig,
    Allocator,
    Description,
    Devices,
    Need,
    Shortage, //
};
use crate::{
    c,
    provision::Provision, //
};
use dma_buf_constraints::{
    device::as_raw,
    model::{
        Misfit,
        Name, //
    },
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc, //
};

/// Adds the allocator to `all`, for a machine with these areas. `ENOMEM`.
pub(super) fn add(
    all: &mut KVec<(Description, Arc<dyn Allocator>)>,
    areas: KVec<Arc<Area>>,
) -> Result {
    let description = Description {
        name: Name::new(b"dma-coherent"),
        class: c::CENALLOC_CLASS_DMA_COHERENT.into(),
        priority: 200,
    };
    let allocator = Arc::new(DmaCoherent { areas }, GFP_KERNEL_ACCOUNT)?;
    Ok(all.push((description, allocator), GFP_KERNEL_ACCOUNT)?)
}

/// An allocator of one range of an area, or of up to the page allocator's largest order, zeroed.
struct DmaCoherent {
    /// All areas; which of them is a device's is known only when there are devices.
    areas: KVec<Arc<Area>>,
}

impl DmaCoherent {
    /// Returns the area for the most constrained of `devices`: that which reaches the fewest
    /// addresses, and of several, one with an area of its own.
    fn area(&self, devices: &Devices<'_>) -> Option<&Arc<Area>> {
        let of_machine = self.areas.iter().find(|area| area.is_of(None));
        let mut found = (u64::MAX, of_machine);
        devices.all(&mut |device| {
            let mut limit = 0;
            // SAFETY: `Devices` lends only devices that are alive; the number is a local variable.
            if unsafe { c::cenalloc_dma_limit(as_raw(device), &mut limit) } {
                let own = self.areas.iter().find(|area| area.is_of(Some(device)));
                let is_special = !own.is_some_and(|area| area.is_of(None));
                if limit < found.0 || (limit == found.0 && is_special) {
                    found = (limit, own);
                }
            }
            true
        });
        found.1
    }
}

// SAFETY: The area or the page allocator gives zeroed pages that belong to nothing else until the
// provision is dropped. The code is in this module.
unsafe impl Allocator for DmaCoherent {
    fn max_len(&self) -> u64 {
        let of_areas = self.areas.iter().map(|area| area.max_len()).max();
        of_areas.unwrap_or(0).max(pages::MAX_CHUNK)
    }

    fn is_contiguous(&self) -> bool {
        true
    }

    fn could(&self, need: &Need) -> Result<(), Misfit> {
        let of_pages = is_block(need).then(|| pages::within_memory(need));
        let of_areas = self.areas.iter().map(|area| area.could(need));
        any_yes(Iterator::chain(of_pages.into_iter(), of_areas))
    }

    fn has_room(&self, need: &Need) -> Result<(), Shortage> {
        let of_areas = self.areas.iter().map(|area| area.has_room(need));
        let of_pages = is_block(need).then(|| pages::has_room(need));
        any_yes(Iterator::chain(of_pages.into_iter(), of_areas))
    }

    fn allocate(&self, need: &Need, devices: &Devices<'_>) -> Result<Provision, Shortage> {
        let is_of_pages = is_block(need) && pages::within_memory(need).is_ok();
        // The DMA API takes no single pages from an area, either.
        let is_of_area = need.len > PAGE_SIZE as u64 || !is_of_pages;
        if let Some(area) = self.area(devices).filter(|_| is_of_area) {
            match Area::take(area, need) {
                Ok((range, owner)) if range.last() <= need.placement.max_address => {
                    return Ok(Provision::new(owner, [range])?);
                }
                Err(Shortage::Killed) => return Err(Shortage::Killed),
                Ok(_) | Err(_) => {}
            }
        }
        if is_of_pages {
            system_contig::provide(need)
        } else {
            Err(Shortage::Memory)
        }
    }
}

/// Returns whether the page allocator has blocks of this length.
fn is_block(need: &Need) -> bool {
    need.len <= pages::MAX_CHUNK
}
