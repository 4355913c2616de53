// SPDX-License-Identifier: GPL-2.0

//! The kernel's areas of contiguous memory (CMA), with an allocator for each.

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
    Report,
    Shortage, //
};
use crate::{
    c,
    provision::{
        Owner,
        Provision, //
    }, //
};
use core::ptr::{
    self,
    NonNull, //
};
use dma_buf_constraints::{
    device::as_raw,
    model::{
        Misfit,
        Name,
        Range, //
    }, //
};
use kernel::{
    bindings,
    device::Device,
    page::PAGE_SIZE,
    prelude::*,
    str::CStrExt,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SetOnce, //
    }, //
};

/// Adds the areas that the kernel lets modules use to `all`, and returns them. `ENOMEM`.
pub(super) fn add(all: &mut KVec<(Description, Arc<dyn Allocator>)>) -> Result<KVec<Arc<Area>>> {
    let mut areas = KVec::new();
    for index in 0.. {
        // SAFETY: No requirements: the call takes any number.
        let Some(raw) = NonNull::new(unsafe { c::cenalloc_cma_area(index) }) else {
            break;
        };
        // INVARIANT: The kernel returned the area, and never removes one.
        let area = Arc::new(Area::new(raw)?, GFP_KERNEL_ACCOUNT)?;
        areas.push(area.clone(), GFP_KERNEL_ACCOUNT)?;
        let description = Description {
            name: area.name(),
            class: c::CENALLOC_CLASS_CMA.into(),
            priority: 300,
        };
        if all.iter().any(|(other, _)| other.name == description.name) {
            pr_warn!(
                "a second area of the name {} is not used\n",
                description.name.as_str()
            );
            continue;
        }
        all.push(
            (description, Arc::new(Cma(area), GFP_KERNEL_ACCOUNT)?),
            GFP_KERNEL_ACCOUNT,
        )?;
    }
    Ok(areas)
}

/// A CMA area.
///
/// # Invariants
///
/// `raw` points to an area of the kernel, which never removes one.
pub(super) struct Area {
    raw: NonNull<c::cma>,
    /// The ranges of all areas, of which one is this area's.
    ranges: KVec<Extent>,
    extent: SetOnce<Extent>,
    /// How many bytes buffers have from it.
    taken: Atomic<u64>,
}

// SAFETY: An area of the kernel may be used by any thread.
unsafe impl Send for Area {}
// SAFETY: An area of the kernel has a lock of its own.
unsafe impl Sync for Area {}

impl Area {
    /// Creates the description of an area. `ENOMEM`.
    fn new(raw: NonNull<c::cma>) -> Result<Self> {
        let area = Self {
            raw,
            ranges: ranges()?,
            extent: SetOnce::new(),
            taken: Atomic::new(0),
        };
        // SAFETY: By the type's invariants `raw` is an area of the kernel.
        area.lies_at(unsafe { c::cenalloc_cma_sample(raw.as_ptr()) });
        Ok(area)
    }

    /// Returns whether it is the area that the DMA API takes for `device`: the device's own, or
    /// that of the machine.
    pub(super) fn is_of(&self, device: Option<&Device>) -> bool {
        let device = device.map_or(ptr::null_mut(), as_raw);
        // SAFETY: The device is NULL, which stands for any device, or kept by the reference.
        self.raw.as_ptr() == unsafe { c::cenalloc_cma_of(device) }
    }

    fn name(&self) -> Name {
        // SAFETY: By the type's invariants `raw` is an area of the kernel, whose name is a string
        // that never changes.
        let name = unsafe { CStr::from_char_ptr(c::cenalloc_cma_name(self.raw.as_ptr())) };
        Name::new(name.to_bytes())
    }

    /// Records where it lies, by an address in it, or 0 for none.
    fn lies_at(&self, address: u64) {
        if let Some(extent) = self.ranges.iter().find(|range| range.contains(address)) {
            // A thread that comes second found the same range.
            self.extent.populate(*extent);
        }
    }

    /// Returns where the area lies, or may lie as long as no page of it could be allocated.
    fn places(&self) -> &[Extent] {
        match self.extent.as_ref() {
            Some(extent) => core::slice::from_ref(extent),
            None => &self.ranges,
        }
    }

    /// Returns the most bytes in one range.
    pub(super) fn max_len(&self) -> u64 {
        extent::longest(self.places())
    }

    /// Checks whether one range for `need` has a place in the area, if all of it is free.
    pub(super) fn could(&self, need: &Need) -> Result<(), Misfit> {
        extent::any_could(self.places(), need)
    }

    /// Tells where the area lies, as soon as that is known, and how much buffers have left of it.
    pub(super) fn report(&self) -> Report {
        let free = self.max_len().saturating_sub(self.taken.load(Relaxed));
        Report {
            area: self.extent.as_ref().map(Extent::range),
            free: Some(free),
        }
    }

    /// Returns whether the process may have memory of it.
    fn is_allowed(&self) -> bool {
        self.extent.as_ref().is_none_or(Extent::is_allowed)
    }

    /// Estimates whether buffers have left as much of the area as `need` takes, and the process may
    /// have it. The kernel migrates other users of the area, or fails to.
    pub(super) fn has_room(&self, need: &Need) -> Result<(), Shortage> {
        if !self.is_allowed() {
            return Err(Shortage::Memory);
        }
        let taken = self.taken.load(Relaxed);
        if need.len <= self.max_len().saturating_sub(taken) {
            Ok(())
        } else {
            Err(Shortage::Memory)
        }
    }

    /// Takes one range for `need`, zeroed, which may end above the limit of `need`.
    pub(super) fn take(
        area: &Arc<Self>,
        need: &Need,
    ) -> Result<(Range, KBox<dyn Owner>), Shortage> {
        if !area.is_allowed() {
            return Err(Shortage::Memory);
        }
        let count = (need.len / PAGE_SIZE as u64) as usize;
        let order = pages::order_of(need.placement.alignment);
        // SAFETY: By the type's invariants `raw` is an area of the kernel.
        let page = NonNull::new(unsafe { c::cenalloc_cma_alloc(area.raw.as_ptr(), count, order) });
        let page = page.ok_or_else(|| need.shortage())?;
        area.taken.fetch_add(need.len, Relaxed);
        // INVARIANT: The area returned `count` pages from `page` on, which `taken` counts by now.
        let memory = CmaMemory {
            area: area.clone(),
            page,
            count,
        };
        let range = Range {
            // SAFETY: `page` is a page that the area returned.
            start: unsafe { c::cenalloc_page_address(page.as_ptr()) },
            len: need.len,
        };
        area.lies_at(range.start);
        Ok((range, KBox::new(memory, GFP_KERNEL_ACCOUNT)?))
    }
}

/// How many ranges are searched for: as many areas as a kernel is likely to have.
const MAX_RANGES: usize = 32;

/// Returns where areas lie, including those that modules may not use. Adjacent ones look like one.
/// `ENOMEM`.
fn ranges() -> Result<KVec<Extent>> {
    let mut ranges = [const { c::cenalloc_extent { first: 0, last: 0 } }; MAX_RANGES];
    // SAFETY: The array is a local variable with room for `MAX_RANGES` entries.
    let count = unsafe { c::cenalloc_cma_extents(ranges.as_mut_ptr(), MAX_RANGES as u32) };
    let mut extents = KVec::new();
    for range in ranges.iter().take(count as usize) {
        extents.push(
            Extent {
                first: range.first,
                last: range.last,
            },
            GFP_KERNEL_ACCOUNT,
        )?;
    }
    Ok(extents)
}

/// An allocator of one range of an area, zeroed.
struct Cma(Arc<Area>);

// SAFETY: The area gives pages that belong to nothing else until `CmaMemory` is dropped, and
// `cenalloc_cma_alloc` zeroes them. The code is in this module.
unsafe impl Allocator for Cma {
    fn max_len(&self) -> u64 {
        self.0.max_len()
    }

    fn is_contiguous(&self) -> bool {
        true
    }

    fn could(&self, need: &Need) -> Result<(), Misfit> {
        self.0.could(need)
    }

    fn has_room(&self, need: &Need) -> Result<(), Shortage> {
        self.0.has_room(need)
    }

    fn report(&self) -> Report {
        self.0.report()
    }

    fn allocate(&self, need: &Need, _devices: &Devices<'_>) -> Result<Provision, Shortage> {
        let (range, owner) = Area::take(&self.0, need)?;
        Ok(Provision::new(owner, [range])?)
    }
}

/// Pages of an area.
///
/// # Invariants
///
/// The `count` pages from `page` on were allocated from `area`, count in its `taken`, and are freed
/// by the drop alone.
struct CmaMemory {
    area: Arc<Area>,
    page: NonNull<bindings::page>,
    count: usize,
}

// SAFETY: Any thread may free pages of an area.
unsafe impl Send for CmaMemory {}
// SAFETY: No method takes a shared reference.
unsafe impl Sync for CmaMemory {}

// SAFETY: `map_kernel` is the default one, which gives no address.
unsafe impl Owner for CmaMemory {}

impl Drop for CmaMemory {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants the pages were allocated from the area, and are freed
        // here only.
        unsafe { c::cenalloc_cma_free(self.area.raw.as_ptr(), self.page.as_ptr(), self.count) };
        let len = (self.count * PAGE_SIZE) as u64;
        self.area.taken.fetch_sub(len, Relaxed);
    }
}
