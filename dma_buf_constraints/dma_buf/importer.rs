// SPDX-License-Identifier: GPL-2.0

//! The side of an importer: attach, map, unmap, detach, each undone by a drop.

use super::{
    buffer::DmaBuf,
    does_dma,
    exporter::Shared, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    dma::DataDirection,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

/// A device's attachment to a buffer: static, so that memory is pinned while it is mapped, or
/// dynamic, with a [`Follower`]. Detaches when dropped.
///
/// # Invariants
///
/// - `raw` is an attachment of `dmabuf`, dynamic if there is a `follower`, to which its private
///   data then points.
/// - It is pinned `pins` times, by a dynamic importer alone.
pub struct Attachment {
    dmabuf: ARef<DmaBuf>,
    raw: NonNull<bindings::dma_buf_attachment>,
    follower: Option<KBox<Arc<dyn Follower>>>,
    pins: usize,
}

// SAFETY: An attachment may be used and dropped by any thread.
unsafe impl Send for Attachment {}
// SAFETY: Through a shared reference an attachment gives out constants alone.
unsafe impl Sync for Attachment {}

impl Attachment {
    /// Attaches `device`.
    ///
    /// # Errors
    ///
    /// Returns what the exporter refuses with. That of cenalloc has:
    ///
    /// - `EINVAL` if the device can never share this buffer.
    /// - `EBUSY` if it could have before the buffer had memory.
    /// - `ENOMEM` if there is no memory for the attachment.
    ///
    /// # Safety
    ///
    /// The device stays bound to its driver until the attachment is dropped.
    pub unsafe fn new(dmabuf: ARef<DmaBuf>, device: &Device<Bound>) -> Result<Self> {
        let device = crate::device::as_raw(device);
        // SAFETY: The attachment keeps the dma-buf by a reference. The caller keeps the device
        // bound, and so alive.
        let raw = from_err_ptr(unsafe { bindings::dma_buf_attach(dmabuf.as_raw(), device) })?;
        Ok(Self {
            dmabuf,
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            follower: None,
            pins: 0,
        })
    }

    /// Attaches `device` dynamically: `follower` is told of relocations.
    ///
    /// There is no safe way to use such an attachment, since memory can be relocated as soon as
    /// [`map`](Self::map) has returned.
    ///
    /// # Errors
    ///
    /// Fails as [`new`](Self::new).
    ///
    /// # Safety
    ///
    /// - The device stays bound to its driver until the attachment is dropped.
    /// - Its driver lets the device work on a mapping only while the attachment is pinned, or by
    ///   fences: with the reservation lock held it makes sure that memory has not been relocated
    ///   since it was mapped, waits for the fences of others, and adds one that signals when the
    ///   device has ended.
    /// - What is mapped is unmapped within bounded time after a relocation: exporters wait for it.
    pub unsafe fn new_dynamic(
        dmabuf: ARef<DmaBuf>,
        device: &Device<Bound>,
        follower: Arc<dyn Follower>,
    ) -> Result<Self> {
        let follower = KBox::new(follower, GFP_KERNEL_ACCOUNT)?;
        let private: *const Arc<dyn Follower> = &*follower;
        // SAFETY: The attachment keeps the dma-buf by a reference, and the caller keeps the device
        // bound. The operations are static, and the follower is boxed until the attachment is gone.
        let raw = from_err_ptr(unsafe {
            bindings::dma_buf_dynamic_attach(
                dmabuf.as_raw(),
                crate::device::as_raw(device),
                &*DYNAMIC,
                private.cast_mut().cast(),
            )
        })?;
        Ok(Self {
            dmabuf,
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            follower: Some(follower),
            pins: 0,
        })
    }

    /// Pins the memory until as many [`unpin`](Self::unpin)s, for a dynamic importer. Takes the
    /// reservation lock.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the importer is static, whose mappings pin the memory.
    /// - Any other with which the exporter fails.
    pub fn pin(&mut self) -> Result {
        if self.follower.is_none() {
            return Err(EINVAL);
        }
        let _lock = self.dmabuf.lock();
        // SAFETY: The attachment is dynamic, as checked above, and `_lock` holds the lock.
        to_result(unsafe { bindings::dma_buf_pin(self.raw.as_ptr()) })?;
        self.pins += 1;
        Ok(())
    }

    /// Takes one [`pin`](Self::pin) back. Takes the reservation lock.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if there is no pin.
    pub fn unpin(&mut self) -> Result {
        self.pins = self.pins.checked_sub(1).ok_or(EINVAL)?;
        let _lock = self.dmabuf.lock();
        // SAFETY: By the type's invariants the attachment had one pin more; `_lock` holds the lock.
        unsafe { bindings::dma_buf_unpin(self.raw.as_ptr()) };
        Ok(())
    }

    /// Returns the buffer.
    pub fn buffer(&self) -> &DmaBuf {
        &self.dmabuf
    }

    /// Maps the buffer for the device; takes the reservation lock, may sleep, may allocate.
    ///
    /// # Errors
    ///
    /// The attachment comes back beside the error.
    ///
    /// - `EINVAL` if there is no direction.
    /// - `ENODEV` if the device has no DMA mask: the DMA API forbids to map for it, and not every
    ///   exporter checks.
    /// - Any other with which the exporter fails.
    pub fn map(self, direction: DataDirection) -> Result<Mapping, (Error, Self)> {
        if matches!(direction, DataDirection::None) {
            return Err((EINVAL, self));
        }
        // SAFETY: The caller of `new` keeps the device bound until the attachment is dropped.
        if !does_dma(unsafe { Device::from_raw((*self.raw.as_ptr()).dev) }) {
            return Err((ENODEV, self));
        }
        // SAFETY: By the type's invariants it is attached. Its device does DMA, the caller of `new`
        // keeps it bound, and the one of `new_dynamic` follows relocations.
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
        while self.unpin().is_ok() {}
        // SAFETY: By the type's invariants it is attached. A `Mapping` would own it, so that
        // nothing is mapped.
        unsafe { bindings::dma_buf_detach(self.dmabuf.as_raw(), self.raw.as_ptr()) };
    }
}

/// A dynamic importer, which need not unmap before memory is relocated.
pub trait Follower: Send + Sync {
    /// Learns that the memory is relocated. What is mapped shows the old memory, and has to be
    /// unmapped, as [`Attachment::new_dynamic`] requires; a new mapping shows the new memory.
    ///
    /// Called with the reservation lock of the buffer held, which dropping a [`Mapping`] takes.
    fn memory_moves(&self);
}

/// The operations of every dynamic attachment.
static DYNAMIC: Shared<bindings::dma_buf_attach_ops> = Shared(bindings::dma_buf_attach_ops {
    allow_peer2peer: false,
    invalidate_mappings: Some(invalidate_mappings),
});

/// # Safety
///
/// Called through `DYNAMIC` only: by the dma-buf core with an attachment of
/// [`Attachment::new_dynamic`], and the reservation lock held.
unsafe extern "C" fn invalidate_mappings(attachment: *mut bindings::dma_buf_attachment) {
    // SAFETY: `new_dynamic` made the attachment, and set its private data to a follower that lives
    // until it is detached.
    let follower = unsafe { &*(*attachment).importer_priv.cast::<Arc<dyn Follower>>() };
    follower.memory_moves();
}

/// A segment of a mapped buffer as the device sees it.
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
    /// Returns the buffer.
    pub fn buffer(&self) -> &DmaBuf {
        self.attachment.buffer()
    }

    /// Returns the segments, in the order of the buffer's bytes.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + '_ {
        // SAFETY: The table is mapped as long as `self` lives.
        let table = unsafe { kernel::scatterlist::SGTable::from_raw(self.table.raw.as_ptr()) };
        table.iter().map(|entry| Segment {
            address: entry.dma_address(),
            len: entry.dma_len(),
        })
    }

    /// Unmaps the buffer; the device stays attached.
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
        // SAFETY: By the type's invariants it is mapped in this direction, for an attachment that
        // still exists.
        unsafe {
            bindings::dma_buf_unmap_attachment_unlocked(
                self.attachment.as_ptr(),
                self.raw.as_ptr(),
                self.direction.into(),
            )
        };
    }
}
