// SPDX-License-Identifier: GPL-2.0

//! An importer's side: attach, map, unmap, detach, each undone by a drop.

use super::buffer::DmaBuf;
use core::ptr::NonNull;
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    dma::DataDirection,
    error::from_err_ptr,
    prelude::*,
    sync::aref::ARef, //
};

/// A device's attachment to a buffer, static: its mappings stay where they are. Detaches when
/// dropped.
///
/// # Invariants
///
/// `raw` is an attachment of `dmabuf`.
pub struct Attachment {
    dmabuf: ARef<DmaBuf>,
    raw: NonNull<bindings::dma_buf_attachment>,
}

// SAFETY: An attachment may be used and dropped by any thread.
unsafe impl Send for Attachment {}
// SAFETY: Through a shared reference an attachment gives out constants alone.
unsafe impl Sync for Attachment {}

impl Attachment {
    /// Attaches `device`.
    ///
    /// Fails with what the exporter refuses with: `EINVAL` where the device cannot share this
    /// buffer, `EBUSY` where it could have, before the buffer got its memory; `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The device stays bound to its driver until the attachment is dropped.
    pub unsafe fn new(dmabuf: ARef<DmaBuf>, device: &Device<Bound>) -> Result<Self> {
        let device = crate::device::as_raw(device);
        // SAFETY: The attachment keeps the dma-buf by a reference. The caller promises that the
        // device stays bound, and so alive.
        let raw = from_err_ptr(unsafe { bindings::dma_buf_attach(dmabuf.as_raw(), device) })?;
        Ok(Self {
            dmabuf,
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
        })
    }

    /// The buffer.
    pub fn buffer(&self) -> &DmaBuf {
        &self.dmabuf
    }

    /// Maps the buffer for the device; takes the reservation lock, may sleep, may allocate.
    ///
    /// On an error the attachment comes back beside it. `EINVAL` for no direction.
    pub fn map(self, direction: DataDirection) -> Result<Mapping, (Error, Self)> {
        if matches!(direction, DataDirection::None) {
            return Err((EINVAL, self));
        }
        // SAFETY: By the type's invariants.
        let table = from_err_ptr(unsafe {
            bindings::dma_buf_map_attachment_unlocked(self.raw.as_ptr(), direction.into())
        });
        match table.and_then(|table| NonNull::new(table).ok_or(ENOMEM)) {
            Ok(table) => Ok(Mapping {
                table: MappedTable {
                    attachment: self.raw,
                    raw: table,
                    direction,
                },
                attachment: self,
            }),
            Err(error) => Err((error, self)),
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants; a `Mapping` that used it has owned it.
        unsafe { bindings::dma_buf_detach(self.dmabuf.as_raw(), self.raw.as_ptr()) };
    }
}

/// A piece of a mapped buffer as the device sees it.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// The DMA address of the first byte.
    pub address: u64,
    /// Length in bytes.
    pub len: u64,
}

/// A buffer mapped for a device. Unmaps, and detaches, when dropped.
///
/// # Invariants
///
/// `table` is a mapping of `attachment`, and is dropped before it.
pub struct Mapping {
    table: MappedTable,
    attachment: Attachment,
}

impl Mapping {
    /// The buffer.
    pub fn buffer(&self) -> &DmaBuf {
        self.attachment.buffer()
    }

    /// The segments, in the order of the buffer's bytes.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + '_ {
        // SAFETY: The table is mapped as long as `self` lives.
        let table = unsafe { kernel::scatterlist::SGTable::from_raw(self.table.raw.as_ptr()) };
        table.iter().map(|entry| Segment {
            address: entry.dma_address(),
            len: entry.dma_len(),
        })
    }

    /// Unmaps; the device stays attached.
    pub fn unmap(self) -> Attachment {
        let Self { table, attachment } = self;
        drop(table);
        attachment
    }
}

/// The table of a [`Mapping`]. Unmaps when dropped.
///
/// # Invariants
///
/// `raw` is a mapping of `attachment` in `direction`; the attachment outlives it.
struct MappedTable {
    attachment: NonNull<bindings::dma_buf_attachment>,
    raw: NonNull<bindings::sg_table>,
    direction: DataDirection,
}

// SAFETY: A mapping may be used and dropped by any thread.
unsafe impl Send for MappedTable {}
// SAFETY: Through a shared reference the table is only read.
unsafe impl Sync for MappedTable {}

impl Drop for MappedTable {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants.
        unsafe {
            bindings::dma_buf_unmap_attachment_unlocked(
                self.attachment.as_ptr(),
                self.raw.as_ptr(),
                self.direction.into(),
            )
        };
    }
}
