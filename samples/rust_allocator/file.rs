// SPDX-License-Identifier: GPL-2.0

//! An open `/dev/cenalloc_rust_allocator`: makes buffers.

use crate::c;
use cenalloc::Handle;
use core::mem::size_of;
use dma_buf_constraints::dma_buf::DmaBuf;
use kernel::{
    bindings,
    fs::{
        file::FileDescriptorReservation,
        File, //
    },
    ioctl::_IOWR,
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

const RUST_ALLOCATOR_CREATE: u32 = _IOWR::<c::rust_allocator_buffer>('R' as u32, 0x01);

// SAFETY: The structure consists of integers, and has no padding.
unsafe impl FromBytes for c::rust_allocator_buffer {}
// SAFETY: The structure consists of integers, and has no padding.
unsafe impl AsBytes for c::rust_allocator_buffer {}

/// An open file: nothing belongs to it.
pub(crate) struct AllocatorFile;

#[vtable]
impl MiscDevice for AllocatorFile {
    type Ptr = KBox<Self>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<Self::Ptr> {
        Ok(KBox::new(Self, GFP_KERNEL)?)
    }

    fn ioctl(_me: &Self, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        match cmd {
            RUST_ALLOCATOR_CREATE => create(arg)?,
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }
}

fn create(arg: usize) -> Result {
    let user = UserSlice::new(
        UserPtr::from_addr(arg),
        size_of::<c::rust_allocator_buffer>(),
    );
    let (mut reader, mut writer) = user.reader_writer();
    let mut request: c::rust_allocator_buffer = reader.read()?;
    let (len, align) = (request.len.try_into()?, request.align.try_into()?);

    let handle = Handle::create(len, align, c"rust")?;
    // Devices would attach here. Without any, all memory suits.
    handle.allocate()?;
    let ranges = handle.ranges()?;
    request.start = ranges.first().map_or(0, |range| range.start);
    request.runs = ranges.len().try_into()?;

    let fd = FileDescriptorReservation::get_unused_fd_flags(bindings::O_CLOEXEC)?;
    request.fd = fd.reserved_fd() as i32;
    writer.write(&request)?;
    // The descriptor has a reference of its own; the handle's goes.
    DmaBuf::install(handle.dmabuf().into(), fd);
    Ok(())
}
