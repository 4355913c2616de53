// SPDX-License-Identifier: GPL-2.0

//! `/dev/cenalloc`.
//!
//! The interface is documented in
//! [`include/uapi/linux/cenalloc.h`](srctree/include/uapi/linux/cenalloc.h).

use crate::{
    allocator,
    buffer::Buffer,
    c,
    ioctl::Argument, //
};
use dma_buf_constraints::dma_buf::DmaBuf;
use kernel::{
    bindings,
    build_assert::static_assert,
    fs::{
        file::FileDescriptorReservation,
        File, //
    },
    ioctl::{
        _IOC_DIR,
        _IOC_NR,
        _IOC_SIZE,
        _IOC_TYPE, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    prelude::*,
    sync::atomic::Relaxed,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

// The layout is fixed for ever, and the same for 32-bit and 64-bit callers.
static_assert!(size_of::<c::cenalloc_create>() == 64);
static_assert!(size_of::<c::cenalloc_allocator>() == 64);
static_assert!(size_of::<c::cenalloc_allocators>() == 16);

/// A structure of the interface.
///
/// # Safety
///
/// Every bit pattern is valid, and there is no padding.
macro_rules! plain {
    ($($name:ident),*) => { $(
        // SAFETY: Numbers and arrays of numbers, without padding: the sizes above are the sums of
        // their fields'.
        unsafe impl FromBytes for c::$name {}
        // SAFETY: As above.
        unsafe impl AsBytes for c::$name {}
        // SAFETY: As above.
        unsafe impl Zeroable for c::$name {}
    )* };
}

plain!(cenalloc_create, cenalloc_allocator, cenalloc_allocators);

/// An open `/dev/cenalloc`. It has no state of its own.
pub(crate) struct Device;

#[vtable]
impl MiscDevice for Device {
    type Ptr = ();

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result {
        Ok(())
    }

    fn ioctl(_device: (), _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        if _IOC_TYPE(cmd) != u32::from(b'C') {
            return Err(ENOTTY);
        }
        let both_ways = kernel::uapi::_IOC_READ | kernel::uapi::_IOC_WRITE;
        if _IOC_DIR(cmd) != both_ways {
            return Err(ENOTTY);
        }
        let argument = Argument::new(arg, _IOC_SIZE(cmd));
        match _IOC_NR(cmd) {
            NR_CREATE => create(&argument, _IOC_SIZE(cmd)),
            NR_ALLOCATORS => allocators(&argument, _IOC_SIZE(cmd)),
            _ => Err(ENOTTY),
        }
    }
}

/// The numbers of `CENALLOC_CREATE` and `CENALLOC_ALLOCATORS`.
const NR_CREATE: u32 = 1;
const NR_ALLOCATORS: u32 = 2;

/// `CENALLOC_CREATE`.
fn create(argument: &Argument, size: usize) -> Result<isize> {
    if size < size_of::<c::cenalloc_create>() {
        return Err(EINVAL);
    }
    argument.refuse_unknown(size_of::<c::cenalloc_create>())?;
    let mut create: c::cenalloc_create = argument.read()?;
    if create.flags != 0 || create.reserved != 0 {
        return Err(EINVAL);
    }
    let name_len = create.name.iter().position(|byte| *byte == 0);
    let name = &create.name[..name_len.ok_or(EINVAL)?];
    if !name
        .iter()
        .all(|byte| byte.is_ascii_graphic() || *byte == b' ')
    {
        return Err(EINVAL);
    }
    let fd = reserve(create.fd_flags)?;
    let dmabuf = Buffer::create(create.len, create.align, create.fd_flags, name)?;
    create.fd = fd.reserved_fd() as i32;
    argument.write(&create)?;
    DmaBuf::install(dmabuf, fd);
    Ok(0)
}

/// A descriptor for a new buffer, if `flags` are ones that a buffer can have.
pub(crate) fn reserve(flags: u32) -> Result<FileDescriptorReservation> {
    if flags & !(bindings::O_CLOEXEC | bindings::O_ACCMODE) != 0 {
        return Err(EINVAL);
    }
    FileDescriptorReservation::get_unused_fd_flags(flags & bindings::O_CLOEXEC)
}

/// `CENALLOC_ALLOCATORS`.
fn allocators(argument: &Argument, size: usize) -> Result<isize> {
    if size < size_of::<c::cenalloc_allocators>() {
        return Err(EINVAL);
    }
    argument.refuse_unknown(size_of::<c::cenalloc_allocators>())?;
    let mut list: c::cenalloc_allocators = argument.read()?;
    let entry_size = list.size as usize;
    if entry_size == 0 || entry_size % 8 != 0 || entry_size > 4096 {
        return Err(EINVAL);
    }
    let known = entry_size.min(size_of::<c::cenalloc_allocator>());
    if list.allocators != 0 {
        let start = usize::try_from(list.allocators).map_err(|_| EFAULT)?;
        for (index, allocator) in allocator::all().enumerate().take(list.count as usize) {
            let entry = describe(index, allocator);
            let address = start.checked_add(index * entry_size).ok_or(EFAULT)?;
            let mut writer = UserSlice::new(UserPtr::from_addr(address), entry_size).writer();
            writer.write_slice(&entry.as_bytes()[..known])?;
            while !writer.is_empty() {
                let count = writer.len().min(ZEROES.len());
                writer.write_slice(&ZEROES[..count])?;
            }
        }
    }
    list.count = allocator::all().len() as u32;
    argument.write(&list)?;
    Ok(0)
}

static ZEROES: [u8; 64] = [0; 64];

/// What userspace learns of an allocator.
fn describe(index: usize, allocator: &dyn allocator::Allocator) -> c::cenalloc_allocator {
    let mut name = [0; c::CENALLOC_NAME_LEN as usize];
    // The last byte stays NUL.
    for (to, from) in name[..c::CENALLOC_NAME_LEN as usize - 1]
        .iter_mut()
        .zip(allocator.name().bytes())
    {
        *to = from;
    }
    c::cenalloc_allocator {
        name,
        access_mask: allocator.class(),
        max_len: allocator.max_len(),
        used: allocator.used().load(Relaxed),
        priority: allocator::priority(index),
        flags: if allocator.is_contiguous() {
            c::CENALLOC_ALLOCATOR_CONTIGUOUS
        } else {
            0
        },
    }
}
