// SPDX-License-Identifier: GPL-2.0

//! Buffers for drivers in Rust.

use crate::buffer::Buffer;
use dma_buf_constraints::{
    attach::Refused,
    dma_buf::DmaBuf,
    model::{
        Constraints,
        Range, //
    },
};
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    prelude::*,
    sync::aref::ARef, //
};

/// A buffer of cenalloc, with a reference to it.
///
/// All methods but [`new`](Self::new) and [`dmabuf`](Self::dmabuf) may sleep; all that act on an
/// existing buffer take its reservation lock.
pub struct Handle(ARef<DmaBuf>);

impl Handle {
    /// Creates a buffer of `len` bytes, rounded up to whole pages, that has no memory yet.
    ///
    /// `alignment` is that of the start of every segment in bytes, 0 or a power of two. `name`
    /// shows in debugfs; it may be empty. A file descriptor of the buffer allows reading and
    /// writing. The memory is charged to the memory cgroup of the calling process.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the length or the alignment makes no sense, if no allocator could ever provide
    ///   it, or if the name is longer than 31 bytes or not printable ASCII without quotation marks.
    /// - `EPROBE_DEFER` if cenalloc is built in and has not started.
    /// - `ENOMEM` if there is no memory for the buffer's bookkeeping.
    pub fn create(len: usize, alignment: usize, name: &CStr) -> Result<Self> {
        if !crate::is_ready() {
            return Err(EPROBE_DEFER);
        }
        let name = crate::uapi::read_name(name.to_bytes_with_nul())?;
        let flags = bindings::O_RDWR;
        Ok(Self(Buffer::create(
            len as u64,
            alignment as u64,
            flags,
            name,
        )?))
    }

    /// Wraps the buffer behind a dma-buf.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if cenalloc did not export it.
    pub fn new(dmabuf: ARef<DmaBuf>) -> Result<Self> {
        match dmabuf.exporter::<Buffer>() {
            Some(_) => Ok(Self(dmabuf)),
            None => Err(EINVAL),
        }
    }

    /// Returns the dma-buf, to attach devices to it or to give it to userspace.
    pub fn dmabuf(&self) -> &DmaBuf {
        &self.0
    }

    fn buffer(&self) -> Result<&Buffer> {
        self.0.exporter().ok_or(EINVAL)
    }

    /// Narrows the buffer as if `device` had attached, with `constraints` in addition to its own
    /// needs, until its driver unbinds.
    ///
    /// A driver may call this for its own device while that is probed; if the probe fails, the
    /// declaration ends.
    ///
    /// # Errors
    ///
    /// - [`Refused::Because`] if the device is refused, and why. It is `EINVAL` if the device can
    ///   never share the buffer with its other users, `EBUSY` if it could have before the buffer
    ///   had memory, `ENOMEM` if there is none now, and `ENODEV` if the device does no DMA or its
    ///   driver has unbound.
    /// - `EINTR` or `ERESTARTSYS` if a signal comes first.
    pub fn declare(
        &self,
        device: &Device<Bound>,
        constraints: &Constraints,
    ) -> Result<(), Refused> {
        self.buffer()?.declare_bound(device, constraints)
    }

    /// Gives the buffer its memory now.
    ///
    /// # Errors
    ///
    /// - [`Refused::Because`] if there is no memory, and why. It is `ENOMEM` if every allocator
    ///   that fits is out of it or the memory cgroup is at its limit, and `EINVAL` if no allocator
    ///   is left that suits all users, because one was removed.
    /// - `EINTR` or `ERESTARTSYS` if a signal comes first.
    pub fn allocate(&self) -> Result<(), Refused> {
        self.buffer()?.allocate()
    }

    /// Returns where the memory lies. From then on it is not relocated.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if it is not one range.
    /// - `ENODATA` if the buffer has no memory yet.
    /// - `EINTR` if the process is being killed.
    /// - Any other with which the owner of the memory fails.
    pub fn phys(&self) -> Result<Range> {
        self.buffer()?.phys()
    }

    /// Returns all ranges of the memory, in the order of the buffer's bytes. From then on it is not
    /// relocated.
    ///
    /// # Errors
    ///
    /// - `ENODATA` if the buffer has no memory yet.
    /// - `ENOMEM` if there is no memory for the list.
    /// - `EINTR` if the process is being killed.
    pub fn ranges(&self) -> Result<KVVec<Range>> {
        self.buffer()?.ranges()
    }
}
