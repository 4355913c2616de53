// SPDX-License-Identifier: GPL-2.0

//! The mapped tables of one attachment, on the exporter's side.

use super::does_dma;
use crate::{
    c,
    device::as_raw,
    few::Few,
    model::{
        Constraints,
        Cut,
        Range,
        SegmentLimits,
        Segments, //
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

/// The cause for which memory could not be mapped.
pub enum MapError {
    /// The DMA layer put other memory between the device and the buffer's.
    Bounced,
    /// The device has no addresses of its own left for it, or there is no memory for their
    /// translation.
    Addresses,
    /// Any other error.
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
            MapError::Addresses => ENOMEM,
            MapError::Failed(error) => error,
        }
    }
}

/// Identifies one of an attachment's mappings: what the importer holds and gives back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TableRef(NonNull<bindings::sg_table>);

impl TableRef {
    pub(crate) fn from_raw(raw: *mut bindings::sg_table) -> Option<Self> {
        NonNull::new(raw).map(Self)
    }

    pub(crate) fn as_raw(self) -> *mut bindings::sg_table {
        self.0.as_ptr()
    }
}

/// Memory as the DMA layer and the kernel's page tables take it.
#[derive(Clone, Copy)]
pub struct Pages<'a> {
    /// The memory: whole pages. One range where there are no struct pages.
    pub ranges: &'a [Range],
    /// Whether the memory has struct pages, and so an address in the kernel.
    pub has_struct_pages: bool,
}

/// A table of segments.
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
    how: How,
    /// Where entries without struct pages start.
    bare_start: u64,
    /// The DMA addresses of a table that is [laid out](How::LaidOut), while it is mapped.
    iova: Opaque<bindings::dma_iova_state>,
}

/// How a table is mapped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// As a whole, by `dma_map_sgtable`.
    Whole,
    /// Each entry by itself.
    OneByOne,
    /// In one range of DMA addresses behind an IOMMU: what the entries say of memory is of no
    /// importance.
    LaidOut {
        /// The bytes that are mapped.
        len: u64,
        /// The bytes of addresses, by which they are aligned.
        room: u64,
    },
}

// SAFETY: The table is plain memory without ties to a thread.
unsafe impl Send for Table {}

impl Table {
    /// Makes a table of `pages`, in segments as `cut` says.
    ///
    /// # Errors
    ///
    /// - `ENOMEM` if there is no memory for the table.
    ///
    /// # Safety
    ///
    /// The memory has struct pages if `pages` says so, and is one range otherwise.
    pub unsafe fn new(pages: Pages<'_>, cut: &Cut) -> Result<Pin<KBox<Self>>> {
        let segments = cut.segments(pages.ranges);
        // SAFETY: The caller passes memory that is as `pages` says; `cut` makes segments of it.
        unsafe { Self::filled(pages, segments, cut.count(pages.ranges), How::Whole) }
    }

    /// Makes a table of `segments`, of which there are `count`.
    ///
    /// # Safety
    ///
    /// The memory has struct pages if `pages` says so, and is one range otherwise; `segments` are
    /// those of `pages`.
    unsafe fn filled(
        pages: Pages<'_>,
        segments: Segments<'_>,
        count: u32,
        how: How,
    ) -> Result<Pin<KBox<Self>>> {
        let table = KBox::into_pin(KBox::init(
            init!(Self {
                raw: Opaque::zeroed(),
                one: Opaque::zeroed(),
                is_allocated: count != 1,
                how,
                bare_start: pages.ranges.first().map_or(0, |range| range.start),
                iova: Opaque::zeroed(),
            }),
            GFP_KERNEL_ACCOUNT,
        )?);
        let raw = table.as_raw();
        // SAFETY: The table is zeroed and pinned, and stays zeroed on failure. It then has as many
        // entries as there are segments, which have struct pages if the caller says so.
        unsafe {
            if table.is_allocated {
                to_result(bindings::sg_alloc_table(
                    raw,
                    count,
                    bindings::GFP_KERNEL_ACCOUNT,
                ))?;
            } else {
                c::dbc_sg_table_of_one(raw, table.one.get());
            }
            let mut entry = (*raw).sgl;
            for Range { start, len } in segments {
                entry = c::dbc_sg_set_range(entry, start, len as u32, pages.has_struct_pages);
            }
        }
        Ok(table)
    }

    /// Makes a table of `pages` for `device`, which needs `constraints`. `ENODEV` where it does no
    /// DMA.
    ///
    /// A table that is mapped as a whole obeys the DMA API, too: no entry is longer than
    /// `dma_get_max_seg_size()`, which is 64 KiB for a device that never said anything. Several
    /// entries then show one range, with DMA addresses that follow each other.
    ///
    /// Behind an IOMMU, where the device has needs beyond that, the memory is laid out in one range
    /// of DMA addresses, which is cut: it takes as few segments as the device wants, wherever the
    /// memory lies, and starts where the device wants it.
    ///
    /// Elsewhere each segment is mapped by itself, and the DMA API sets no limit to its length:
    /// where the device takes fewer segments than that makes, and so takes longer ones; where
    /// another DMA layer would make longer ones than the device takes; and for memory without
    /// struct pages.
    ///
    /// # Safety
    ///
    /// The memory has struct pages if `pages` says so, and is one range otherwise; the device is
    /// bound to its driver.
    unsafe fn for_device(
        device: &Device,
        pages: Pages<'_>,
        constraints: &Constraints,
    ) -> Result<Pin<KBox<Self>>, MapError> {
        if !does_dma(device) {
            return Err(MapError::Failed(ENODEV));
        }
        let (device, ranges) = (as_raw(device), pages.ranges);
        // SAFETY: The caller keeps the device bound, and it does DMA, as checked above; its bus
        // sets by then what it reaches.
        let address = |range: &Range| unsafe { c::dbc_dma_address(device, range.start, range.len) };
        // DMA_MAPPING_ERROR is all ones.
        if ranges.iter().any(|range| address(range) == u64::MAX) {
            return Err(MapError::Bounced);
        }
        // SAFETY: The caller keeps the device bound, so that its DMA parameters stay.
        let api = unsafe { c::dbc_dma_limits(device) };
        let of_api = SegmentLimits {
            max_size: api.max_segment_size,
            boundary_mask: api.segment_boundary_mask,
        };
        let of_both = constraints.segments.meet(&of_api);
        let offset = |range: &Range| address(range).wrapping_sub(range.start);
        let segments = |cut: &Cut| {
            if api.has_offsets {
                cut.segments_at(ranges, &offset)
            } else {
                cut.segments(ranges)
            }
        };
        let count = |cut: &Cut| match api.has_offsets {
            true => segments(cut).count().try_into().unwrap_or(u32::MAX),
            false => cut.count(ranges),
        };
        let most = constraints.placement.max_segments;
        let is_few = |cut: &Cut| most == u32::MAX || count(cut) <= most;

        let own = constraints.cut(PAGE_SIZE as u64).map_err(|_| EINVAL)?;
        let alignment = constraints.placement.alignment;
        let is_plain = most == u32::MAX
            && alignment <= PAGE_SIZE as u64
            && of_both == of_api
            && pages.has_struct_pages;
        // SAFETY: The caller keeps the device bound, so that its IOMMU domain stays.
        if !is_plain && unsafe { c::dbc_lays_out(device) } {
            let len = ranges.iter().map(|range| range.len).sum();
            let how = How::LaidOut {
                len,
                room: len.max(alignment),
            };
            // The addresses start at a multiple of their length's power of two: the boundaries
            // in them are those of a range from 0 on.
            let layout = [Range { start: 0, len }];
            let bare = Pages {
                ranges: &layout,
                has_struct_pages: false,
            };
            // SAFETY: The entries have no struct pages, and show one range.
            let table =
                unsafe { Self::filled(bare, own.segments(&layout), own.count(&layout), how)? };
            return Ok(table);
        }
        let whole = Constraints {
            segments: of_both,
            ..*constraints
        };
        let is_merged = api.merges && of_both != of_api;
        let (cut, how) = match whole.cut(PAGE_SIZE as u64) {
            Ok(whole)
                if pages.has_struct_pages && !is_merged && (is_few(&whole) || !is_few(&own)) =>
            {
                (whole, How::Whole)
            }
            // Limits of the DMA API below a page cannot be obeyed, nor do they mean anything.
            _ => (own, How::OneByOne),
        };
        // SAFETY: The caller passes memory that is as `pages` says, of which these are the
        // segments.
        Ok(unsafe { Self::filled(pages, segments(&cut), count(&cut), how)? })
    }

    /// Maps the table for `device`.
    ///
    /// # Safety
    ///
    /// It is not mapped, and was made for this device, which is bound to its driver, and of
    /// `pages`.
    unsafe fn map(&self, device: &Device, pages: Pages<'_>, direction: DataDirection) -> Result {
        if matches!(direction, DataDirection::None) {
            return Err(EINVAL);
        }
        let is_one_by_one = match self.how {
            // SAFETY: The caller passes a table that is not mapped, for this device, which is
            // bound, and its memory.
            How::LaidOut { len, room } => unsafe {
                return self.lay_out(device, pages, len, room, direction);
            },
            How::OneByOne => true,
            How::Whole => false,
        };
        // SAFETY: By the type's invariants the table is filled. The caller keeps the device bound,
        // and it does DMA, which `for_device` checked.
        to_result(unsafe {
            c::dbc_map_table(
                as_raw(device),
                self.as_raw(),
                is_one_by_one,
                self.bare_start,
                direction.into(),
            )
        })
    }

    /// Lays out `len` bytes of `pages` for `device`, in `room` bytes of addresses. `ENOMEM`, also
    /// where the device has no such addresses left.
    ///
    /// # Safety
    ///
    /// The table is not mapped, and was made for this device, which is bound to its driver and
    /// behind an IOMMU, and of `pages`.
    unsafe fn lay_out(
        &self,
        device: &Device,
        pages: Pages<'_>,
        len: u64,
        room: u64,
        direction: DataDirection,
    ) -> Result {
        let (device, state) = (as_raw(device), self.iova.get());
        let mut done = 0;
        // SAFETY: The caller keeps the device bound, and `for_device` lays out only for a device
        // behind an IOMMU. The state is that of this table, which is not mapped.
        unsafe {
            if !c::dbc_iova_alloc(device, state, room) {
                return Err(ENOMEM);
            }
            let link = |range: &Range| {
                to_result(c::dbc_iova_link(
                    device,
                    state,
                    range.start,
                    done,
                    range.len,
                    pages.has_struct_pages,
                    direction.into(),
                ))?;
                done += range.len;
                Ok(())
            };
            let linked = pages.ranges.iter().try_for_each(link);
            let result = linked
                .and_then(|()| to_result(c::dbc_iova_finish(device, state, self.as_raw(), len)));
            if result.is_err() {
                c::dbc_iova_free(device, state, done, direction.into());
            }
            result
        }
    }

    /// Unmaps the table.
    ///
    /// # Safety
    ///
    /// It is mapped for `device`, which is bound to its driver, in `direction`.
    unsafe fn unmap(&self, device: &Device, direction: DataDirection) {
        let (device, direction) = (as_raw(device), direction.into());
        // SAFETY: The caller passes the device and the direction for which it is mapped, in the way
        // that `how` says.
        unsafe {
            match self.how {
                How::LaidOut { len, .. } => {
                    c::dbc_iova_free(device, self.iova.get(), len, direction)
                }
                how => {
                    let is_one_by_one = how == How::OneByOne;
                    c::dbc_unmap_table(device, self.as_raw(), is_one_by_one, direction)
                }
            }
        };
    }

    /// Makes what one side wrote visible to the other: to the device, or else to the CPU.
    ///
    /// # Safety
    ///
    /// The table is mapped for `device`, which is bound to its driver, in `direction`.
    unsafe fn sync(&self, device: &Device, direction: DataDirection, to_device: bool) {
        let (device, direction) = (as_raw(device), direction.into());
        // SAFETY: The caller passes the device and the direction for which it is mapped, in the way
        // that `how` says.
        unsafe {
            match self.how {
                How::LaidOut { len, .. } => {
                    c::dbc_iova_sync(device, self.iova.get(), len, direction, to_device)
                }
                how => c::dbc_sync_table(
                    device,
                    self.as_raw(),
                    how == How::OneByOne,
                    direction,
                    to_device,
                ),
            }
        };
    }

    /// Returns what the importer holds while the table is mapped.
    fn reference(&self) -> TableRef {
        TableRef(NonNull::from(&self.raw).cast())
    }

    /// Returns the C object.
    pub fn as_raw(&self) -> *mut bindings::sg_table {
        self.raw.get()
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if self.is_allocated {
            // SAFETY: By the type's invariants the table is zeroed, with nothing to free, or its
            // entries are allocated.
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
/// holds one, so that memory that was relocated stays until it is unmapped.
///
/// # Invariants
///
/// - The tables in `mapped` are mapped for `device` in their direction, and while there are any it
///   is bound to its driver; `idle` is not mapped. All were made for it.
/// - `idle` was made from the present memory: [`forget`](Self::forget) is called when memory
///   changes.
pub struct Tables<M> {
    device: ARef<Device>,
    mapped: Few<Mapped<M>>,
    idle: Option<Pin<KBox<Table>>>,
}

impl<M> Tables<M> {
    /// Creates the tables for `device`, of which there are none yet.
    pub fn new(device: ARef<Device>) -> Self {
        Self {
            device,
            mapped: Few::new(),
            idle: None,
        }
    }

    /// Returns the device that they are mapped for.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Returns whether the importer has a mapping.
    pub fn is_mapped(&self) -> bool {
        !self.mapped.as_slice().is_empty()
    }

    /// Returns how many segments the device sees of one mapping; 0 for a table that is not mapped.
    pub fn segments(&self, table: TableRef) -> u32 {
        let is_it = |mapped: &&Mapped<M>| mapped.table.reference() == table;
        let mapped = self.mapped.as_slice().iter().find(is_it);
        mapped.map_or(0, |mapped| {
            // SAFETY: By the type's invariants the table is mapped. Mapping and unmapping take an
            // exclusive reference to these tables.
            unsafe { (*mapped.table.as_raw()).nents }
        })
    }

    /// Maps `pages` for the device, in segments as `constraints` say. `memory` keeps them.
    ///
    /// # Errors
    ///
    /// - [`MapError::Bounced`], without trying, if the DMA layer would bounce the memory, so that
    ///   the device and the CPU would not see the same bytes.
    /// - `ENODEV` if the device has no DMA mask.
    /// - `EINVAL` if there is no direction.
    /// - [`MapError::Addresses`] if the device has none left.
    /// - `ENOMEM` if there is no memory for the table.
    /// - Any other with which `dma_map_sgtable` fails.
    ///
    /// # Safety
    ///
    /// - The memory has struct pages if `pages` says so, and is one range otherwise. `memory` keeps
    ///   it allocated.
    /// - It and `constraints` are those of earlier calls, unless [`forget`](Self::forget) came
    ///   between.
    /// - The device stays bound to its driver until it has no mapping left. An exporter relies on
    ///   the importer that asks for a mapping: the core maps for attached devices only, and the DMA
    ///   API requires that they are bound.
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
            // SAFETY: The caller passes memory that is as `pages` says, and keeps the device bound.
            None => unsafe { Table::for_device(&self.device, pages, constraints)? },
        };
        // SAFETY: By the type's invariants an idle table is not mapped, nor is a new one, and both
        // were made for this device, which the caller keeps bound.
        if let Err(error) = unsafe { table.map(&self.device, pages, direction) } {
            self.idle = Some(table);
            // Where nothing translates, the DMA layer knows no such error.
            return Err(match error {
                ENOMEM => MapError::Addresses,
                error => error.into(),
            });
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
    /// With `reuse`, the table may serve the next mapping: it shows the present memory.
    pub fn unmap(&mut self, table: TableRef, reuse: impl FnOnce(&M) -> bool) -> Option<M> {
        let is_it = |mapped: &Mapped<M>| mapped.table.reference() == table;
        let Mapped {
            table,
            direction,
            memory,
        } = self.mapped.take(is_it)?;
        // SAFETY: By the type's invariants it was mapped for this device, which is bound, in this
        // direction.
        unsafe { table.unmap(&self.device, direction) };
        if reuse(&memory) {
            self.idle = Some(table);
        }
        Some(memory)
    }

    /// Drops the idle table, whose memory is going away.
    pub fn forget(&mut self) {
        self.idle = None;
    }

    /// Makes what the device wrote visible to the CPU.
    pub fn sync_for_cpu(&self) {
        self.sync(false);
    }

    /// Makes what the CPU wrote visible to the device, then calls `and_then` for each mapping.
    pub fn sync_for_device(&self, and_then: impl Fn(&M, &Device, DataDirection)) {
        self.sync(true);
        for mapped in &self.mapped {
            and_then(&mapped.memory, &self.device, mapped.direction);
        }
    }

    /// Makes what one side wrote visible to the other.
    pub(crate) fn sync(&self, to_device: bool) {
        for mapped in &self.mapped {
            // SAFETY: By the type's invariants it is mapped for this device, which is bound, in
            // this direction.
            unsafe { mapped.table.sync(&self.device, mapped.direction, to_device) };
        }
    }
}

impl<M> Drop for Tables<M> {
    /// Unmaps what an importer left mapped when it detached, which is a bug of the importer.
    fn drop(&mut self) {
        while let Some(mapped) = self.mapped.last_mut() {
            let table = mapped.table.reference();
            self.unmap(table, |_| false);
        }
    }
}
