// SPDX-License-Identifier: GPL-2.0

//! The mapped tables of one attachment, on the exporter's side.

use crate::{
    c,
    device::{
        as_raw,
        reference, //
    },
    model::{
        Cut,
        Run, //
    },
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    device::Device,
    dma::DataDirection,
    error::to_result,
    prelude::*,
    sync::aref::ARef,
    types::Opaque, //
};

/// Which of an attachment's mappings: what the importer holds and gives back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TableRef(NonNull<bindings::sg_table>);

impl TableRef {
    pub(super) fn from_raw(raw: *mut bindings::sg_table) -> Option<Self> {
        NonNull::new(raw).map(Self)
    }

    pub(super) fn as_raw(self) -> *mut bindings::sg_table {
        self.0.as_ptr()
    }
}

/// The most bytes in one entry: its length has 32 bits.
const LONGEST_ENTRY: u64 = 1 << 31;

/// A table of segments, not mapped.
///
/// # Invariants
///
/// Holds an `sg_table` that is zeroed, or allocated with all entries set.
struct Table(Opaque<bindings::sg_table>);

// SAFETY: The table is plain memory without ties to a thread.
unsafe impl Send for Table {}

impl Table {
    fn new(runs: &[Run], cut: &Cut) -> Result<KBox<Self>> {
        let cut = cut.at_most(LONGEST_ENTRY);
        let table = KBox::new(Self(Opaque::zeroed()), GFP_KERNEL)?;
        let raw = table.as_raw();
        // SAFETY: The table is ours and zeroed. On failure it stays so.
        to_result(unsafe { bindings::sg_alloc_table(raw, cut.count(runs), bindings::GFP_KERNEL) })?;
        // SAFETY: Just allocated.
        let mut entry = unsafe { (*raw).sgl };
        for segment in cut.segments(runs) {
            // SAFETY: There are as many entries as segments, and the memory has struct pages:
            // every allocator takes it from the page allocator.
            entry = unsafe { c::dbc_sg_set_run(entry, segment.start, segment.len as u32) };
        }
        Ok(table)
    }

    fn as_raw(&self) -> *mut bindings::sg_table {
        self.0.get()
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants; a zeroed table has nothing to free.
        unsafe { bindings::sg_free_table(self.as_raw()) };
    }
}

/// A table that is mapped for a device.
struct Mapped {
    table: KBox<Table>,
    direction: DataDirection,
}

/// The tables of one attachment: those that the importer has mapped, and one to use again.
///
/// Belongs under the reservation lock, with the memory that it shows.
///
/// # Invariants
///
/// - The tables in `mapped` are mapped for `device` in their direction; `idle` is not mapped.
/// - `idle` was made from the memory that is there now: [`forget`](Self::forget) is called when
///   memory changes.
pub struct Tables {
    device: ARef<Device>,
    mapped: KVec<Mapped>,
    idle: Option<KBox<Table>>,
}

impl Tables {
    /// No tables yet, for `device`. It stays bound while it is attached, as the DMA API wants:
    /// that is the importer's duty.
    pub fn new(device: &Device) -> Self {
        Self {
            device: reference(device),
            mapped: KVec::new(),
            idle: None,
        }
    }

    /// The device they are mapped for.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the importer has a mapping.
    pub fn is_mapped(&self) -> bool {
        !self.mapped.is_empty()
    }

    /// Maps memory for the device, in segments as `cut` says.
    ///
    /// `runs` and `cut` are those of earlier calls, unless [`forget`](Self::forget) came between.
    /// Fails with what `dma_map_sgtable` fails with, with `ENOMEM`, and with `EIO` where the DMA
    /// layer would bounce the memory: the device and the CPU would not see the same bytes.
    pub fn map(&mut self, runs: &[Run], cut: &Cut, direction: DataDirection) -> Result<TableRef> {
        self.mapped.reserve(1, GFP_KERNEL)?;
        let table = match self.idle.take() {
            Some(table) => table,
            None => Table::new(runs, cut)?,
        };
        let raw = table.as_raw();
        let device = as_raw(&self.device);
        // SAFETY: The table is filled and not mapped, the device is alive and bound.
        let status = unsafe { bindings::dma_map_sgtable(device, raw, direction.into(), 0) };
        if let Err(error) = to_result(status) {
            self.idle = Some(table);
            return Err(error);
        }
        let mapped = Mapped { table, direction };
        // SAFETY: Mapped above.
        if unsafe { c::dbc_sg_table_bounced(device, raw) } {
            self.unmap_table(mapped);
            return Err(EIO);
        }
        let reference = TableRef::from_raw(raw).ok_or(ENOMEM)?;
        // There is room: it was reserved above.
        self.mapped.push(mapped, GFP_KERNEL)?;
        Ok(reference)
    }

    /// Unmaps what [`map`](Self::map) returned. A table that is not mapped is ignored.
    pub fn unmap(&mut self, table: TableRef) {
        let is_it = |mapped: &Mapped| mapped.table.as_raw() == table.as_raw();
        let Some(index) = self.mapped.iter().position(is_it) else {
            return;
        };
        if let Ok(mapped) = self.mapped.remove(index) {
            self.unmap_table(mapped);
        }
    }

    fn unmap_table(&mut self, mapped: Mapped) {
        let Mapped { table, direction } = mapped;
        // SAFETY: By the type's invariants the table is mapped in this direction.
        unsafe {
            bindings::dma_unmap_sgtable(as_raw(&self.device), table.as_raw(), direction.into(), 0)
        };
        self.idle = Some(table);
    }

    /// Drops the table that would be used again: the memory it shows is going away.
    pub fn forget(&mut self) {
        self.idle = None;
    }

    /// Makes what the device wrote visible to the CPU.
    pub fn sync_for_cpu(&self) {
        for Mapped { table, direction } in &self.mapped {
            // SAFETY: By the type's invariants the table is mapped in this direction.
            unsafe {
                c::dbc_sync_for_cpu(as_raw(&self.device), table.as_raw(), (*direction).into())
            };
        }
    }

    /// Makes what the CPU wrote visible to the device.
    pub fn sync_for_device(&self) {
        for Mapped { table, direction } in &self.mapped {
            // SAFETY: By the type's invariants the table is mapped in this direction.
            unsafe {
                c::dbc_sync_for_device(as_raw(&self.device), table.as_raw(), (*direction).into())
            };
        }
    }
}

impl Drop for Tables {
    /// An importer that detaches with a mapping has a bug; its mapping ends here.
    fn drop(&mut self) {
        while let Some(mapped) = self.mapped.pop() {
            self.unmap_table(mapped);
        }
    }
}
