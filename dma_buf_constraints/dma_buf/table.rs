// SPDX-License-Identifier: GPL-2.0

//! The mapped tables of one attachment, on the exporter's side.

use crate::{
    c,
    device::as_raw,
    few::Few,
    model::{
        Constraints,
        Cut,
        Run,
        SegmentLimits, //
    },
};
use core::ptr::NonNull;
use kernel::{
    alloc::AllocError,
    bindings,
    device::Device,
    dma::DataDirection,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    sync::aref::ARef,
    types::Opaque, //
};

/// Why memory could not be mapped.
pub enum MapError {
    /// The DMA layer put other memory between the device and the buffer's.
    Bounced,
    /// Anything else.
    Failed(Error),
}

impl From<AllocError> for MapError {
    fn from(error: AllocError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Error> for MapError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<MapError> for Error {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Bounced => EIO,
            MapError::Failed(error) => error,
        }
    }
}

/// Which of an attachment's mappings: what the importer holds and gives back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TableRef(NonNull<bindings::sg_table>);

impl TableRef {
    pub(super) fn from_raw(raw: *mut bindings::sg_table) -> Option<Self> {
        NonNull::new(raw).map(Self)
    }

    pub(crate) fn as_raw(self) -> *mut bindings::sg_table {
        self.0.as_ptr()
    }
}

/// Memory as the DMA layer and the kernel's page tables have to be told of it.
#[derive(Clone, Copy)]
pub struct Pages<'a> {
    /// The memory: whole pages. One run where there are no struct pages.
    pub runs: &'a [Run],
    /// Whether the memory has struct pages, and so an address in the kernel.
    pub has_struct_pages: bool,
}

/// A table of segments, not mapped.
///
/// # Invariants
///
/// Holds an `sg_table` that is zeroed, or whose entries are all set: allocated, or the only one in
/// place. The table then points to that one, and is pinned.
pub struct Table {
    raw: Opaque<bindings::sg_table>,
    /// The entry of a table that has one.
    one: Opaque<bindings::scatterlist>,
    /// Whether the entries are allocated.
    is_allocated: bool,
    /// The memory, where it has no struct pages: there is one run of it.
    bare: Option<Run>,
    /// Whether entries are mapped one by one: without struct pages, or where an IOMMU's driver
    /// would make larger ones of them than the device takes.
    one_by_one: bool,
}

// SAFETY: The table is plain memory without ties to a thread.
unsafe impl Send for Table {}

impl Table {
    /// A table of `pages`, in segments as `cut` says. `ENOMEM`.
    ///
    /// # Safety
    ///
    /// `pages` tells the truth: with struct pages the memory has some, and without it is one run.
    pub unsafe fn new(pages: Pages<'_>, cut: &Cut) -> Result<Pin<KBox<Self>>> {
        let Pages {
            runs,
            has_struct_pages,
        } = pages;
        let bare = match runs.first() {
            Some(run) if !has_struct_pages => Some(*run),
            _ => None,
        };
        let count = cut.count(runs);
        let table = KBox::into_pin(KBox::init(
            init!(Self {
                raw: Opaque::zeroed(),
                one: Opaque::zeroed(),
                is_allocated: count != 1,
                one_by_one: bare.is_some(),
                bare,
            }),
            GFP_KERNEL,
        )?);
        let raw = table.as_raw();
        // SAFETY: The table is ours, pinned and zeroed. On failure it stays so.
        unsafe {
            if table.is_allocated {
                to_result(bindings::sg_alloc_table(raw, count, bindings::GFP_KERNEL))?;
            } else {
                c::dbc_sg_table_of_one(raw, table.one.get());
            }
        }
        // SAFETY: It has entries now.
        let mut entry = unsafe { (*raw).sgl };
        for segment in cut.segments(runs) {
            // SAFETY: There are as many entries as segments, and the memory has struct pages
            // where the caller says so.
            entry = unsafe {
                c::dbc_sg_set_run(entry, segment.start, segment.len as u32, has_struct_pages)
            };
        }
        Ok(table)
    }

    /// As [`new`](Self::new), for `device`, which needs `constraints`.
    ///
    /// # Safety
    ///
    /// As for [`new`](Self::new), and the device is bound to its driver.
    unsafe fn for_device(
        device: &Device,
        pages: Pages<'_>,
        constraints: &Constraints,
    ) -> Result<Pin<KBox<Self>>> {
        let cut = constraints.cut(PAGE_SIZE as u64).map_err(|_| EINVAL)?;
        let SegmentLimits {
            max_size,
            boundary_mask,
        } = constraints.segments;
        // SAFETY: The caller's promise.
        let mut table = unsafe { Self::new(pages, &cut)? };
        // SAFETY: The caller's promise.
        let merges = unsafe { c::dbc_would_merge(as_raw(device), max_size, boundary_mask) };
        // SAFETY: Nothing is moved.
        unsafe { table.as_mut().get_unchecked_mut() }.one_by_one |= merges;
        Ok(table)
    }

    /// Maps the table for `device`.
    ///
    /// # Safety
    ///
    /// It is not mapped, and the device is bound to its driver.
    unsafe fn map(&self, device: &Device, direction: DataDirection) -> Result<(), MapError> {
        if matches!(direction, DataDirection::None) {
            return Err(MapError::Failed(EINVAL));
        }
        let (device, raw) = (as_raw(device), self.as_raw());
        if self.one_by_one {
            // SAFETY: The caller's promise.
            return unsafe { self.map_one_by_one(device, direction) };
        }
        // SAFETY: By the type's invariants the table is filled; the rest is the caller's promise.
        to_result(unsafe { bindings::dma_map_sgtable(device, raw, direction.into(), 0) })?;
        // SAFETY: Mapped above.
        if !unsafe { c::dbc_sg_table_bounced(device, raw) } {
            return Ok(());
        }
        // Nothing is copied back: no device has written, but a CPU may have.
        let attributes = bindings::DMA_ATTR_SKIP_CPU_SYNC as c_ulong;
        // SAFETY: Mapped above in this direction.
        unsafe { bindings::dma_unmap_sgtable(device, raw, direction.into(), attributes) };
        Err(MapError::Bounced)
    }

    /// As [`map`](Self::map), entry by entry.
    ///
    /// # Safety
    ///
    /// As for [`map`](Self::map).
    unsafe fn map_one_by_one(
        &self,
        device: *mut bindings::device,
        direction: DataDirection,
    ) -> Result<(), MapError> {
        let mut start = 0;
        if let Some(run) = self.bare {
            start = run.start;
            // SAFETY: The device is bound, as the caller promises.
            if unsafe { c::dbc_phys_would_bounce(device, run.start, run.len) } {
                return Err(MapError::Bounced);
            }
        }
        // SAFETY: By the type's invariants the table is filled; the rest is the caller's promise.
        to_result(unsafe { c::dbc_map_entries(device, self.as_raw(), start, direction.into()) })?;
        Ok(())
    }

    /// Unmaps the table.
    ///
    /// # Safety
    ///
    /// It is mapped for `device` in `direction`.
    unsafe fn unmap(&self, device: &Device, direction: DataDirection) {
        let (device, raw) = (as_raw(device), self.as_raw());
        // SAFETY: The caller's promise.
        unsafe {
            if self.one_by_one {
                c::dbc_unmap_entries(device, raw, direction.into());
            } else {
                bindings::dma_unmap_sgtable(device, raw, direction.into(), 0);
            }
        }
    }

    /// Makes what the device wrote visible to the CPU.
    ///
    /// # Safety
    ///
    /// The table is mapped for `device` in `direction`.
    unsafe fn sync_for_cpu(&self, device: &Device, direction: DataDirection) {
        // SAFETY: The caller's promise.
        unsafe {
            c::dbc_sync_for_cpu(
                as_raw(device),
                self.as_raw(),
                self.bare.is_none(),
                direction.into(),
            )
        };
    }

    /// Makes what the CPU wrote visible to the device.
    ///
    /// # Safety
    ///
    /// The table is mapped for `device` in `direction`.
    unsafe fn sync_for_device(&self, device: &Device, direction: DataDirection) {
        // SAFETY: The caller's promise.
        unsafe {
            c::dbc_sync_for_device(
                as_raw(device),
                self.as_raw(),
                self.bare.is_none(),
                direction.into(),
            )
        };
    }

    /// What the importer holds while the table is mapped.
    fn reference(&self) -> TableRef {
        TableRef(NonNull::from(&self.raw).cast())
    }

    /// The C object.
    pub fn as_raw(&self) -> *mut bindings::sg_table {
        self.raw.get()
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if self.is_allocated {
            // SAFETY: By the type's invariants; a zeroed table has nothing to free.
            unsafe { bindings::sg_free_table(self.as_raw()) };
        }
    }
}

/// A table that is mapped for a device.
struct Mapped<M> {
    table: Pin<KBox<Table>>,
    direction: DataDirection,
    /// Keeps the memory that it shows.
    memory: M,
}

/// The tables of one attachment: those that the importer has mapped, and one to use again.
///
/// Belongs under the reservation lock, with the memory that it shows. `M` keeps memory: a mapping
/// holds one, so that memory that moved stays until nobody has it mapped.
///
/// # Invariants
///
/// - The tables in `mapped` are mapped for `device` in their direction, and while there are any it
///   is bound to its driver; `idle` is not mapped. All were made for it.
/// - `idle` was made from the memory that is there now: [`forget`](Self::forget) is called when
///   memory changes.
pub struct Tables<M> {
    device: ARef<Device>,
    mapped: Few<Mapped<M>>,
    idle: Option<Pin<KBox<Table>>>,
}

impl<M> Tables<M> {
    /// No tables yet, for `device`.
    pub fn new(device: ARef<Device>) -> Self {
        Self {
            device,
            mapped: Few::new(),
            idle: None,
        }
    }

    /// The device they are mapped for.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the importer has a mapping.
    pub fn is_mapped(&self) -> bool {
        !self.mapped.as_slice().is_empty()
    }

    /// How many segments the device sees of one mapping; 0 for a table that is not mapped.
    pub fn segments(&self, table: TableRef) -> u32 {
        let is_it = |mapped: &&Mapped<M>| mapped.table.reference() == table;
        let mapped = self.mapped.as_slice().iter().find(is_it);
        mapped.map_or(0, |mapped| {
            // SAFETY: By the type's invariants the table is allocated. Whoever maps and unmaps it
            // has an exclusive reference to these tables.
            unsafe { (*mapped.table.as_raw()).nents }
        })
    }

    /// Maps `pages` for the device, in segments as `constraints` say. `memory` keeps them.
    ///
    /// Fails with what `dma_map_sgtable` fails with, with `ENOMEM`, with `EINVAL` for no direction,
    /// and where the DMA layer would bounce the memory: the device and the CPU would not see the
    /// same bytes.
    ///
    /// # Safety
    ///
    /// - `pages` tells the truth: with struct pages the memory has some, and without it is one
    ///   run. `memory` keeps it allocated.
    /// - It and `constraints` are those of earlier calls, unless [`forget`](Self::forget) came
    ///   between.
    /// - The device stays bound to its driver until it has no mapping left. For an exporter that is
    ///   what the importer owes that asks for a mapping: the core maps for attached devices alone,
    ///   and the DMA API wants them bound.
    pub unsafe fn map(
        &mut self,
        pages: Pages<'_>,
        memory: M,
        constraints: &Constraints,
        direction: DataDirection,
    ) -> Result<TableRef, MapError> {
        self.mapped.reserve()?;
        let table = match self.idle.take() {
            Some(table) => table,
            None => {
                // SAFETY: The caller's promise.
                unsafe { Table::for_device(&self.device, pages, constraints)? }
            }
        };
        // SAFETY: By the type's invariants an idle table is not mapped, nor is a new one. The
        // caller keeps the device bound.
        if let Err(error) = unsafe { table.map(&self.device, direction) } {
            self.idle = Some(table);
            return Err(error);
        }
        let reference = table.reference();
        // There is room: it was reserved above.
        self.mapped.push(Mapped {
            table,
            direction,
            memory,
        })?;
        Ok(reference)
    }

    /// Unmaps what [`map`](Self::map) returned, and returns what kept its memory. A table that is
    /// not mapped is ignored.
    ///
    /// With `reuse`, the table may serve the next mapping: it shows the memory that is there now.
    pub fn unmap(&mut self, table: TableRef, reuse: impl FnOnce(&M) -> bool) -> Option<M> {
        let is_it = |mapped: &Mapped<M>| mapped.table.reference() == table;
        let Mapped {
            table,
            direction,
            memory,
        } = self.mapped.take(is_it)?;
        // SAFETY: By the type's invariants.
        unsafe { table.unmap(&self.device, direction) };
        if reuse(&memory) {
            self.idle = Some(table);
        }
        Some(memory)
    }

    /// Drops the table that would be used again: the memory it shows is going away.
    pub fn forget(&mut self) {
        self.idle = None;
    }

    /// Makes what the device wrote visible to the CPU.
    pub fn sync_for_cpu(&self) {
        for mapped in &self.mapped {
            // SAFETY: By the type's invariants.
            unsafe { mapped.table.sync_for_cpu(&self.device, mapped.direction) };
        }
    }

    /// Makes what the CPU wrote visible to the device, then calls `and_then` for each mapping.
    pub fn sync_for_device(&self, and_then: impl Fn(&M, &Device, DataDirection)) {
        for mapped in &self.mapped {
            // SAFETY: By the type's invariants.
            unsafe { mapped.table.sync_for_device(&self.device, mapped.direction) };
            and_then(&mapped.memory, &self.device, mapped.direction);
        }
    }
}

impl<M> Drop for Tables<M> {
    /// An importer that detaches with a mapping has a bug; its mapping ends here.
    fn drop(&mut self) {
        while let Some(mapped) = self.mapped.take(|_| true) {
            // SAFETY: By the type's invariants.
            unsafe { mapped.table.unmap(&self.device, mapped.direction) };
        }
    }
}
