// SPDX-License-Identifier: GPL-2.0

//! `/dev/dma_heap/cenalloc`: buffers for clients of dma-buf heaps.
//!
//! Answers `DMA_HEAP_IOCTL_ALLOC` as a heap does, but the buffer has no memory until its first use.
//! It is a misc device and not a heap, since a heap cannot be removed: a module that adds one could
//! never be unloaded.
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

// SAFETY: The structure is of integers, for which any bits are valid.
unsafe impl FromBytes for c::dma_heap_allocation_data {}
// SAFETY: The structure is of integers without padding between or behind them.
unsafe impl AsBytes for c::dma_heap_allocation_data {}
// SAFETY: The structure is of integers, for which zero is valid.
unsafe impl Zeroable for c::dma_heap_allocation_data {}

/// The number of `DMA_HEAP_IOCTL_ALLOC`.
const NR_ALLOC: u32 = 0;

/// The least size in bytes of a structure that can return the descriptor. A shorter one would leave
/// the caller without a way to close the buffer.
const LEAST: usize = offset_of!(c::dma_heap_allocation_data, fd) + size_of::<u32>();

/// An open `/dev/dma_heap/cenalloc`. It has no state of its own.
pub(crate) struct Heap;

#[vtable]
impl MiscDevice for Heap {
    type Ptr = ();

    /// Fails with `ENODEV` until the module has started, which can still fail after this device was
    /// registered.
    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result {
        if !crate::is_ready() {
            return Err(ENODEV);
        }
        Ok(())
    }

    /// Handles `DMA_HEAP_IOCTL_ALLOC`.
    ///
    /// As in the kernel's heaps, only the number of the call counts, the missing tail of an older
    /// structure is zero, and the tail of a newer one is ignored. Unlike there, a structure without
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
