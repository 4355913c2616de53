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
use core::mem::offset_of;
use dma_buf_constraints::{
    attach::Refused,
    dma_buf::DmaBuf,
    waiters::Timeout, //
};
use kernel::{
    bindings,
    fs::{
        file::FileDescriptorReservation,
        File, //
    },
    ioctl::{
        _IOC_SIZE,
        _IOWR, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    prelude::*, //
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
const DECLARE: u32 = without_size(_IOWR::<c::cenalloc_declare>(KIND, 3));
const ALLOCATE: u32 = without_size(_IOWR::<c::cenalloc_allocate>(KIND, 4));
const TEST: u32 = without_size(_IOWR::<c::cenalloc_test>(KIND, 5));
const QUERY: u32 = without_size(_IOWR::<c::cenalloc_query>(KIND, 6));

const KIND: u32 = c::CENALLOC_IOC_MAGIC;

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
    create.id = dmabuf.exporter::<Buffer>().map_or(0, |buffer| buffer.id);
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
    let may_see = uapi::may_see_addresses();
    for entry in allocator::snapshot().iter() {
        // One that is being removed is left out.
        let Some((max_len, is_contiguous, report)) = entry.promises() else {
            continue;
        };
        let flags = [
            (is_contiguous, c::CENALLOC_ALLOCATOR_CONTIGUOUS),
            (report.free.is_some(), c::CENALLOC_ALLOCATOR_KNOWS_FREE),
        ];
        let area = report.area.filter(|_| may_see);
        array.push(&c::cenalloc_allocator_info {
            name: entry.name().padded(),
            access_mask: entry.class(),
            max_len,
            used: entry.used(),
            free: report.free.unwrap_or(0),
            start: area.map_or(0, |area| area.start),
            area_len: area.map_or(0, |area| area.len),
            priority: entry.priority(),
            flags: uapi::flags(&flags),
        })?;
        list.count += 1;
    }
    argument.write(&list)
}

/// Calls `act` with the buffer of cenalloc behind `fd`.
fn with_buffer<R, E: From<Error>>(
    fd: i32,
    act: impl FnOnce(&Buffer) -> Result<R, E>,
) -> Result<R, E> {
    let dmabuf = DmaBuf::get(fd)?;
    act(dmabuf.exporter::<Buffer>().ok_or(EINVAL)?)
}

/// Makes a call, and tells why it failed in the refusal at `offset` of its structure.
fn telling(
    argument: &Argument,
    offset: usize,
    call: impl FnOnce() -> Result<(), Refused>,
) -> Result {
    const NO_CAUSE: u32 = 0;
    // Before the call, which changes nothing where its structure cannot be written.
    argument.write_at(offset, &NO_CAUSE)?;
    call().map_err(|refused| {
        if let Refused::Because(refusal) = &refused {
            let mut raw = c::cenalloc_refusal::zeroed();
            uapi::tell(refusal, &mut raw);
            // The first error counts.
            let _ = argument.write_at(offset, &raw);
        }
        refused.error()
    })
}

/// Handles `CENALLOC_DECLARE`.
fn declare(argument: &Argument) -> Result {
    let offset = offset_of!(c::cenalloc_declare, refusal);
    telling(argument, offset, || {
        let declare: c::cenalloc_declare_head = argument.read_head::<c::cenalloc_declare, _>()?;
        if declare.flags != 0 {
            return Err(EINVAL.into());
        }
        let constraints = uapi::read_constraints(&declare.constraints)?;
        let bus = uapi::read_name(&declare.bus)?;
        let device = uapi::read_name(&declare.device)?;
        if bus.contains(&b'/') || device.contains(&b'/') {
            return Err(EINVAL.into());
        }
        let timeout = Timeout::of_nanoseconds(declare.timeout);
        with_buffer(declare.fd, |buffer| {
            if bus.is_empty() {
                return buffer.declare_needs(device, &constraints, timeout);
            }
            let bus = CStr::from_bytes_until_nul(&declare.bus).map_err(|_| EINVAL)?;
            let name = CStr::from_bytes_until_nul(&declare.device).map_err(|_| EINVAL)?;
            buffer.declare_device(&*find_device(bus, name)?, &constraints, timeout)
        })
    })
}

/// Handles `CENALLOC_ALLOCATE`.
fn allocate(argument: &Argument) -> Result {
    let offset = offset_of!(c::cenalloc_allocate, refusal);
    telling(argument, offset, || {
        let allocate: c::cenalloc_allocate_head =
            argument.read_head::<c::cenalloc_allocate, _>()?;
        if allocate.flags != 0 {
            return Err(EINVAL.into());
        }
        with_buffer(allocate.fd, Buffer::allocate)
    })
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
    // Filled in where it is: it is large.
    let mut query = c::cenalloc_query::zeroed();
    argument.read_into(&mut query, offset_of!(c::cenalloc_query, id))?;
    if query.flags != 0 {
        return Err(EINVAL);
    }
    let mut array = Array::new::<c::cenalloc_user>(query.users, query.user_count, query.user_size)?;
    with_buffer(query.fd, |buffer| buffer.query(&mut query, &mut array))?;
    argument.write(&query)
}
