// SPDX-License-Identifier: GPL-2.0

//! The kernel's areas of contiguous memory (CMA): one allocator for each.

use super::{
    extent::{
        self,
        Extent, //
    },
    pages,
    Allocator,
    Description,
    Devices,
    Need,
    Shortage, //
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
            (description, Arc::new(Cma::new(area)?, GFP_KERNEL)?),
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
struct Area(NonNull<c::cma>);

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

    /// Which of `runs` the area lies in; nothing as long as not a single page of it could be had to
    /// look from.
    fn extent(&self, runs: &[Extent]) -> Option<Extent> {
        // SAFETY: By the type's invariants.
        let sample = unsafe { c::cenalloc_cma_sample(self.0.as_ptr()) };
        runs.iter().copied().find(|run| run.contains(sample))
    }
}

/// How many runs are looked for: as many areas as a kernel is likely to have.
const MAX_RUNS: usize = 32;

/// Where areas lie, whoever may use them; those that touch look like one. `ENOMEM`.
pub(super) fn runs() -> Result<KVec<Extent>> {
    let mut runs = [const { c::cenalloc_run { first: 0, last: 0 } }; MAX_RUNS];
    // SAFETY: The array is ours to write.
    let count = unsafe { c::cenalloc_cma_runs(runs.as_mut_ptr(), MAX_RUNS as u32) };
    let mut extents = KVec::new();
    for run in runs.iter().take(count as usize) {
        extents.push(
            Extent {
                first: run.first,
                last: run.last,
            },
            GFP_KERNEL,
        )?;
    }
    Ok(extents)
}

/// Gives one run of an area, zeroed.
struct Cma {
    area: Area,
    /// Where areas lie, of which it is one.
    runs: KVec<Extent>,
    extent: SetOnce<Extent>,
}

impl Cma {
    /// `ENOMEM`.
    fn new(area: Area) -> Result<Self> {
        let cma = Self {
            area,
            runs: runs()?,
            extent: SetOnce::new(),
        };
        cma.places();
        Ok(cma)
    }

    /// Where the area lies, or may lie.
    fn places(&self) -> &[Extent] {
        if self.extent.as_ref().is_none() {
            if let Some(extent) = self.area.extent(&self.runs) {
                // Who comes second found the same.
                self.extent.populate(extent);
            }
        }
        match self.extent.as_ref() {
            Some(extent) => core::slice::from_ref(extent),
            None => &self.runs,
        }
    }
}

// SAFETY: The memory is of the area, and given back with its owner.
unsafe impl Allocator for Cma {
    fn max_len(&self) -> u64 {
        extent::longest(self.places())
    }

    fn is_contiguous(&self) -> bool {
        true
    }

    fn could(&self, need: &Need) -> Result<(), Misfit> {
        extent::any_could(self.places(), need)
    }

    fn allocate(&self, need: &Need, _devices: &Devices<'_>) -> Result<Provision, Shortage> {
        let count = (need.len / PAGE_SIZE as u64) as usize;
        let order = pages::order_of(need.placement.alignment);
        // SAFETY: By the invariants of `Area`.
        let page = unsafe { c::cenalloc_cma_alloc(self.area.0.as_ptr(), count, order) };
        let Some(page) = NonNull::new(page) else {
            return Err(need.shortage());
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
        Ok(Provision::new(KBox::new(memory, GFP_KERNEL)?, [run])?)
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
