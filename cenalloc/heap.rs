// SPDX-License-Identifier: GPL-2.0

//! `/dev/dma_heap/cenalloc`: buffers for clients of dma-buf heaps.
//!
//! Answers `DMA_HEAP_IOCTL_ALLOC` as a heap does, but the buffer has no memory until its first
//! use. A misc device rather than a heap: a heap cannot be removed, so that a module that adds
//! one could never be unloaded.
//!
//! C header: [`include/uapi/linux/dma-heap.h`](srctree/include/uapi/linux/dma-heap.h).

use crate::{
    buffer::Buffer,
    c,
    device::reserve,
    ioctl::Argument, //
};
use core::mem::offset_of;
use dma_buf_constraints::dma_buf::DmaBuf;
use kernel::{
    fs::File,
    ioctl::{
        _IOC_NR,
        _IOC_SIZE, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    }, //
};

// SAFETY: Numbers without padding, any bits of which are valid.
unsafe impl FromBytes for c::dma_heap_allocation_data {}
// SAFETY: As above.
unsafe impl AsBytes for c::dma_heap_allocation_data {}
// SAFETY: As above.
unsafe impl Zeroable for c::dma_heap_allocation_data {}

/// The number of `DMA_HEAP_IOCTL_ALLOC`.
const NR_ALLOC: u32 = 0;

/// The least bytes of a structure that can tell the descriptor. A shorter one would leave a buffer
/// that nobody knows how to close.
const LEAST: usize = offset_of!(c::dma_heap_allocation_data, fd) + size_of::<u32>();

/// An open `/dev/dma_heap/cenalloc`. It has no state of its own.
pub(crate) struct Heap;

#[vtable]
impl MiscDevice for Heap {
    type Ptr = ();

    /// `ENODEV` while the module starts: that can still fail, after this device was registered.
    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result {
        if !crate::is_ready() {
            return Err(ENODEV);
        }
        Ok(())
    }

    /// As in the kernel's heaps, the number alone decides, an older structure is one whose tail
    /// is zero, and what a newer one has beyond ours is not looked at. Unlike there, one without
    /// room for the descriptor is refused with `EINVAL`.
    fn ioctl(_heap: (), _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        if _IOC_NR(cmd) != NR_ALLOC {
            return Err(EINVAL);
        }
        if _IOC_SIZE(cmd) < LEAST {
            return Err(EINVAL);
        }
        let argument = Argument::new(arg, _IOC_SIZE(cmd));
        let mut data: c::dma_heap_allocation_data = argument.read()?;
        if data.fd != 0 || data.heap_flags != 0 {
            return Err(EINVAL);
        }
        let fd = reserve(data.fd_flags)?;
        let dmabuf = Buffer::create(data.len, 0, data.fd_flags, b"")?;
        data.fd = fd.reserved_fd();
        argument.write(&data)?;
        DmaBuf::install(dmabuf, fd);
        Ok(0)
    }
}
