// SPDX-License-Identifier: GPL-2.0

//! `/dev/cenalloc`.
//!
//! The interface is documented in
//! [`include/uapi/linux/cenalloc.h`](srctree/include/uapi/linux/cenalloc.h).

use crate::{
    allocator,
    buffer::{
        whole_pages,
        Buffer, //
    },
    c,
    declare::find_device,
    ioctl::{
        Argument,
        Array, //
    },
    query,
    uapi, //
};
use dma_buf_constraints::dma_buf::DmaBuf;
use kernel::{
    bindings,
    fs::{
        file::FileDescriptorReservation,
        File, //
    },
    ioctl::{
        _IOC_SIZE,
        _IOW,
        _IOWR, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// An open `/dev/cenalloc`. It has no state of its own.
pub(crate) struct Device;

#[vtable]
impl MiscDevice for Device {
    type Ptr = ();

    /// Always succeeds: this device is registered last, when nothing can fail any more.
    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result {
        Ok(())
    }

    fn ioctl(_device: (), _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        let argument = Argument::new(arg, _IOC_SIZE(cmd));
        // The size tells which version of the structure the caller has.
        match without_size(cmd) {
            CREATE => create(&argument),
            ALLOCATORS => allocators(&argument),
            DECLARE => declare(&argument),
            ALLOCATE => allocate(&argument),
            TEST => test(&argument),
            QUERY => query(&argument),
            _ => Err(ENOTTY),
        }?;
        Ok(0)
    }
}

// The numbers of the calls, without the sizes.
const CREATE: u32 = without_size(_IOWR::<c::cenalloc_create>(KIND, 1));
const ALLOCATORS: u32 = without_size(_IOWR::<c::cenalloc_allocators>(KIND, 2));
const DECLARE: u32 = without_size(_IOW::<c::cenalloc_declare>(KIND, 3));
const ALLOCATE: u32 = without_size(_IOW::<c::cenalloc_allocate>(KIND, 4));
const TEST: u32 = without_size(_IOWR::<c::cenalloc_test>(KIND, 5));
const QUERY: u32 = without_size(_IOWR::<c::cenalloc_query>(KIND, 6));

const KIND: u32 = b'C' as u32;

/// Returns an ioctl number with 0 as the size of its structure.
const fn without_size(cmd: u32) -> u32 {
    cmd & !(kernel::uapi::_IOC_SIZEMASK << kernel::uapi::_IOC_SIZESHIFT)
}

/// Handles `CENALLOC_CREATE`.
fn create(argument: &Argument) -> Result {
    let mut create: c::cenalloc_create = argument.read_versioned()?;
    if create.flags != 0 || create.reserved != 0 {
        return Err(EINVAL);
    }
    let name = uapi::read_name(&create.name)?;
    let fd = reserve(create.fd_flags)?;
    let dmabuf = Buffer::create(create.len, create.align, create.fd_flags, name)?;
    create.fd = fd.reserved_fd() as i32;
    argument.write(&create)?;
    DmaBuf::install(dmabuf, fd);
    Ok(())
}

/// Reserves a descriptor for a new buffer. `EINVAL` where `flags` are not those of a buffer.
pub(crate) fn reserve(flags: u32) -> Result<FileDescriptorReservation> {
    if flags & !(bindings::O_CLOEXEC | bindings::O_ACCMODE) != 0
        || flags & bindings::O_ACCMODE == bindings::O_ACCMODE
    {
        return Err(EINVAL);
    }
    FileDescriptorReservation::get_unused_fd_flags(flags & bindings::O_CLOEXEC)
}

/// Handles `CENALLOC_ALLOCATORS`.
fn allocators(argument: &Argument) -> Result {
    let mut list: c::cenalloc_allocators = argument.read_versioned()?;
    let mut array =
        Array::new::<c::cenalloc_allocator_info>(list.allocators, list.count, list.size)?;
    list.count = 0;
    for entry in allocator::snapshot().iter() {
        // One that is being removed is left out.
        let Some((max_len, is_contiguous)) = entry.promises() else {
            continue;
        };
        array.push(&c::cenalloc_allocator_info {
            name: uapi::name(entry.name().as_str()),
            access_mask: entry.class(),
            max_len,
            used: entry.used(),
            priority: entry.priority(),
            flags: if is_contiguous {
                c::CENALLOC_ALLOCATOR_CONTIGUOUS
            } else {
                0
            },
        })?;
        list.count += 1;
    }
    argument.write(&list)
}

/// Calls `act` with the buffer of cenalloc behind `fd`.
fn with_buffer<R>(fd: i32, act: impl FnOnce(&DmaBuf, &Buffer) -> Result<R>) -> Result<R> {
    let dmabuf = DmaBuf::get(fd)?;
    let buffer = dmabuf.exporter::<Buffer>().ok_or(EINVAL)?;
    act(&dmabuf, buffer)
}

/// Handles `CENALLOC_DECLARE`.
fn declare(argument: &Argument) -> Result {
    let declare: c::cenalloc_declare = argument.read_versioned()?;
    if declare.flags != 0 {
        return Err(EINVAL);
    }
    let constraints = uapi::read_constraints(&declare.constraints)?;
    let bus = uapi::read_name(&declare.bus)?;
    let device = uapi::read_name(&declare.device)?;
    if bus.contains(&b'/') || device.contains(&b'/') {
        return Err(EINVAL);
    }
    with_buffer(declare.fd, |dmabuf, buffer| {
        if bus.is_empty() {
            return buffer.declare_needs(dmabuf, device, &constraints);
        }
        let bus = CStr::from_bytes_until_nul(&declare.bus).map_err(|_| EINVAL)?;
        let name = CStr::from_bytes_until_nul(&declare.device).map_err(|_| EINVAL)?;
        let device = find_device(bus, name)?;
        buffer.declare_device(dmabuf, &device, &constraints)
    })
}

/// Handles `CENALLOC_ALLOCATE`.
fn allocate(argument: &Argument) -> Result {
    let allocate: c::cenalloc_allocate = argument.read_versioned()?;
    if allocate.flags != 0 {
        return Err(EINVAL);
    }
    with_buffer(allocate.fd, |_, buffer| buffer.allocate())
}

/// Handles `CENALLOC_TEST`.
fn test(argument: &Argument) -> Result {
    let mut test: c::cenalloc_test = argument.read_versioned()?;
    if test.flags != 0 {
        return Err(EINVAL);
    }
    let constraints = uapi::read_constraints(&test.constraints)?;
    let len = whole_pages(test.len)? as u64;
    query::test(&mut test, len, &constraints)?;
    argument.write(&test)
}

/// Handles `CENALLOC_QUERY`.
fn query(argument: &Argument) -> Result {
    let asked: c::cenalloc_query = argument.read_versioned()?;
    if asked.flags != 0 {
        return Err(EINVAL);
    }
    let mut array = Array::new::<c::cenalloc_user>(asked.users, asked.user_count, asked.user_size)?;
    let with_text = asked.text != 0 && asked.text_len != 0;
    let found = with_buffer(asked.fd, |_, buffer| buffer.query(array.room(), with_text))?;
    for user in &found.users {
        array.push(user)?;
    }
    if with_text {
        let address = usize::try_from(asked.text).map_err(|_| EFAULT)?;
        let room = asked.text_len as usize;
        let fits = found.text.len().min(room - 1);
        let mut writer = UserSlice::new(UserPtr::from_addr(address), fits + 1).writer();
        writer.write_slice(&found.text[..fits])?;
        writer.write_slice(&[0])?;
    }
    argument.write(&c::cenalloc_query {
        fd: asked.fd,
        users: asked.users,
        user_size: asked.user_size,
        text: asked.text,
        text_len: found.text.len() as u32,
        ..found.query
    })
}
