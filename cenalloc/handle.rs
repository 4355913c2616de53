// SPDX-License-Identifier: GPL-2.0

//! Buffers for drivers in Rust.

use crate::buffer::Buffer;
use dma_buf_constraints::{
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
/// All calls may sleep and take the reservation lock of the buffer.
pub struct Handle(ARef<DmaBuf>);

impl Handle {
    /// Makes a buffer of `len` bytes, rounded up to whole pages, that has no memory yet.
    ///
    /// `alignment` is that of the start of every piece of its memory in bytes, 0 or a power of
    /// two. `name` shows in debugfs; it may be empty. A file descriptor of the buffer allows
    /// reading and writing. The memory is charged to the memory cgroup of the calling process.
    ///
    /// `EINVAL` for a length or an alignment that makes no sense or that no allocator could ever
    /// provide, or a name that is not printable ASCII; `EPROBE_DEFER` where cenalloc is built in
    /// and has not started; `ENOMEM`.
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

    /// The buffer behind a dma-buf. `EINVAL` where cenalloc did not export it.
    pub fn new(dmabuf: ARef<DmaBuf>) -> Result<Self> {
        match dmabuf.exporter::<Buffer>() {
            Some(_) => Ok(Self(dmabuf)),
            None => Err(EINVAL),
        }
    }

    /// The dma-buf, to attach devices to it or to give it to userspace.
    pub fn dmabuf(&self) -> &DmaBuf {
        &self.0
    }

    fn buffer(&self) -> Result<&Buffer> {
        self.0.exporter().ok_or(EINVAL)
    }

    /// Narrows the buffer as if `device` had attached, with `constraints` in addition to its own
    /// needs, until its driver unbinds.
    ///
    /// Takes the device's lock: not for a device whose driver is probing or removing in this
    /// thread. `EINVAL` where it can never share the buffer, `EBUSY` where it could have, before
    /// the buffer had memory; `ENODEV` where it does no DMA; `ENOMEM`; `EINTR` and
    /// `ERESTARTSYS` where a signal comes first.
    pub fn declare(&self, device: &Device<Bound>, constraints: &Constraints) -> Result {
        self.buffer()?.declare_device(&self.0, device, constraints)
    }

    /// Gives the buffer its memory now. `ENOMEM`; `EINTR` and `ERESTARTSYS` where a signal comes
    /// first.
    pub fn allocate(&self) -> Result {
        self.buffer()?.allocate()
    }

    /// Where the memory lies. From now on it stays there.
    ///
    /// `EINVAL` where it is not one range; `ENODATA` where there is none yet; `EINTR` where the
    /// process is being killed.
    pub fn phys(&self) -> Result<Range> {
        self.buffer()?.phys()
    }

    /// All ranges of the memory, in the order of the buffer's bytes. From now on it stays there.
    ///
    /// `ENODATA` where there is none yet; `ENOMEM`; `EINTR` where the process is being killed.
    pub fn ranges(&self) -> Result<KVVec<Range>> {
        self.buffer()?.ranges()
    }
}
