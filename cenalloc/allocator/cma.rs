// SPDX-License-Identifier: GPL-2.0

//! The kernel's areas of contiguous memory (CMA): one allocator for each.

use super::{
    extent::Extent,
    pages,
    Allocator,
    Description,
    Devices,
    Need, //
};
use crate::{
    c,
    provision::{
        Owner,
        Provision, //
    }, //
};
use core::ptr::NonNull;
use dma_buf_constraints::model::{
    Misfit,
    Name,
    Run, //
};
use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*,
    str::CStrExt,
    sync::{
        Arc,
        SetOnce, //
    }, //
};

/// Adds the areas that the kernel lets modules use to `all`. `ENOMEM`.
pub(super) fn add(all: &mut KVec<(Description, Arc<dyn Allocator>)>) -> Result {
    for index in 0.. {
        // SAFETY: No requirements: the call takes any number.
        let Some(area) = NonNull::new(unsafe { c::cenalloc_cma_area(index) }) else {
            break;
        };
        // INVARIANT: Areas are never taken away.
        let area = Area(area);
        let description = Description {
            name: area.name(),
            class: c::CENALLOC_CLASS_CMA.into(),
            priority: 300,
        };
        if all.iter().any(|(other, _)| other.name == description.name) {
            pr_warn!(
                "a second area of the name {} is not used\n",
                area.name().as_str()
            );
            continue;
        }
        all.push(
            (description, Arc::new(Cma::new(area), GFP_KERNEL)?),
            GFP_KERNEL,
        )?;
    }
    Ok(())
}

/// A CMA area.
///
/// # Invariants
///
/// Points to an area of the kernel; areas are never taken away.
#[derive(Clone, Copy)]
struct Area(NonNull<bindings::cma>);

// SAFETY: An area has a lock of its own.
unsafe impl Send for Area {}
// SAFETY: As above.
unsafe impl Sync for Area {}

impl Area {
    fn name(&self) -> Name {
        // SAFETY: By the type's invariants; the name is a string that never changes.
        let name = unsafe { CStr::from_char_ptr(c::cenalloc_cma_name(self.0.as_ptr())) };
        Name::new(name.to_bytes())
    }

    /// Where the area lies; nothing as long as not a single page of it could be had to look from.
    fn extent(&self) -> Option<Extent> {
        let (mut first, mut last) = (0, 0);
        // SAFETY: By the type's invariants; both numbers are ours to write.
        if !unsafe { c::cenalloc_cma_extent(self.0.as_ptr(), &mut first, &mut last) } {
            return None;
        }
        Some(Extent { first, last })
    }
}

/// Gives one run of an area, zeroed.
struct Cma {
    area: Area,
    extent: SetOnce<Extent>,
}

impl Cma {
    fn new(area: Area) -> Self {
        let cma = Self {
            area,
            extent: SetOnce::new(),
        };
        cma.extent();
        cma
    }

    /// Where the area lies, if that is known by now.
    fn extent(&self) -> Option<&Extent> {
        if self.extent.as_ref().is_none() {
            // Who comes second found the same.
            self.extent.populate(self.area.extent()?);
        }
        self.extent.as_ref()
    }
}

// SAFETY: The memory is of the area, and given back with its owner.
unsafe impl Allocator for Cma {
    fn max_len(&self) -> u64 {
        self.extent().map_or_else(pages::total, Extent::len)
    }

    fn is_contiguous(&self) -> bool {
        true
    }

    fn could(&self, need: &Need) -> Result<(), Misfit> {
        match self.extent() {
            Some(extent) => extent.could(need),
            None => Ok(()),
        }
    }

    fn allocate(&self, need: &Need, _devices: &Devices<'_>) -> Result<Provision> {
        let count = (need.len / PAGE_SIZE as u64) as usize;
        let order = pages::order_of(need.placement.alignment);
        // SAFETY: By the invariants of `Area`.
        let page = unsafe { c::cenalloc_cma_alloc(self.area.0.as_ptr(), count, order) };
        let Some(page) = NonNull::new(page) else {
            return Err(pages::failure(need));
        };
        // INVARIANT: Just allocated.
        let memory = CmaMemory {
            area: self.area,
            page,
            count,
        };
        let run = Run {
            // SAFETY: Just allocated.
            start: unsafe { c::cenalloc_page_address(page.as_ptr()) },
            len: need.len,
        };
        Provision::new(KBox::new(memory, GFP_KERNEL)?, [run])
    }
}

/// Pages of an area.
///
/// # Invariants
///
/// The `count` pages from `page` on are ours, and are of `area`.
struct CmaMemory {
    area: Area,
    page: NonNull<bindings::page>,
    count: usize,
}

// SAFETY: Pages may be given back by any thread.
unsafe impl Send for CmaMemory {}
// SAFETY: There is nothing to do with a shared reference.
unsafe impl Sync for CmaMemory {}

// SAFETY: It has no kernel address of its own.
unsafe impl Owner for CmaMemory {}

impl Drop for CmaMemory {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants.
        unsafe { c::cenalloc_cma_free(self.area.0.as_ptr(), self.page.as_ptr(), self.count) };
    }
}
