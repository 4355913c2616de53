// SPDX-License-Identifier: GPL-2.0

//! The interface for drivers in C.
//!
//! Documented in [`include/linux/cenalloc.h`](srctree/include/linux/cenalloc.h).

use crate::{
    allocator::Registration,
    buffer::Buffer,
    c,
    c_allocator::CAllocator, //
};
use core::ptr;
use dma_buf_constraints::dma_buf::DmaBuf;
use kernel::{
    bindings,
    error::from_result,
    prelude::*,
    sync::aref::ARef, //
};

/// What `struct cenalloc_device *` points to: there is one device, without contents.
static DEVICE: u8 = 0;

fn device() -> *mut c::cenalloc_device {
    (&raw const DEVICE).cast_mut().cast()
}

/// # Safety
///
/// None: the header allows any arguments.
#[no_mangle]
unsafe extern "C" fn cenalloc_get_device() -> *mut c::cenalloc_device {
    if crate::is_ready() {
        device()
    } else {
        EPROBE_DEFER.to_ptr()
    }
}

/// # Safety
///
/// None: the header allows any arguments.
#[no_mangle]
unsafe extern "C" fn cenalloc_buffer_create(
    dev: *mut c::cenalloc_device,
    len: usize,
    align: usize,
    flags: c_ulong,
) -> *mut bindings::dma_buf {
    let create = || {
        let flags = u32::try_from(flags).map_err(|_| EINVAL)? & !bindings::O_CLOEXEC;
        if dev != device() || flags >= bindings::O_ACCMODE {
            return Err(EINVAL);
        }
        Buffer::create(len as u64, align as u64, flags, b"")
    };
    match create() {
        Ok(dmabuf) => ARef::into_raw(dmabuf).as_ptr().cast(),
        Err(error) => error.to_ptr(),
    }
}

/// Returns the buffer of cenalloc behind `dmabuf`. `EINVAL` where it is not one.
///
/// # Safety
///
/// `dmabuf` is NULL, an error pointer, or a dma-buf that the caller has a reference to for `'a`.
unsafe fn buffer<'a>(dmabuf: *mut bindings::dma_buf) -> Result<&'a Buffer> {
    let dmabuf = kernel::error::from_err_ptr(dmabuf).map_err(|_| EINVAL)?;
    if dmabuf.is_null() {
        return Err(EINVAL);
    }
    // SAFETY: It is neither NULL nor an error pointer, so that it is a dma-buf to which the caller
    // has a reference for `'a`.
    unsafe { DmaBuf::from_raw(dmabuf) }.exporter().ok_or(EINVAL)
}

/// # Safety
///
/// As in the header: a reference to `dmabuf` is given up, if it is one of cenalloc's.
#[no_mangle]
unsafe extern "C" fn cenalloc_buffer_free(dmabuf: *mut bindings::dma_buf) {
    // SAFETY: The header requires of the driver that it has a reference to `dmabuf`.
    if unsafe { buffer(dmabuf) }.is_ok() {
        // SAFETY: `buffer` found a dma-buf, and the header says that the driver gives its reference
        // up.
        unsafe { bindings::dma_buf_put(dmabuf) };
    }
}

/// # Safety
///
/// As in the header: the caller has a reference to `dmabuf`; `addr` and `len` are to be written.
#[no_mangle]
unsafe extern "C" fn cenalloc_phys(
    dmabuf: *mut bindings::dma_buf,
    addr: *mut bindings::phys_addr_t,
    len: *mut usize,
) -> c_int {
    from_result(|| {
        // SAFETY: The header requires of the driver that it has a reference to `dmabuf`.
        let range = unsafe { buffer(dmabuf) }?.phys()?;
        // SAFETY: The header requires of the driver that both point to variables of its own.
        unsafe {
            addr.write(range.start as bindings::phys_addr_t);
            len.write(range.len as usize);
        }
        Ok(0)
    })
}

/// # Safety
///
/// As in the header: the caller has a reference to `dmabuf`.
#[no_mangle]
unsafe extern "C" fn cenalloc_sg_table(dmabuf: *mut bindings::dma_buf) -> *mut bindings::sg_table {
    // SAFETY: The header requires of the driver that it has a reference to `dmabuf`.
    match unsafe { buffer(dmabuf) }.and_then(Buffer::table) {
        Ok(table) => table,
        Err(error) => error.to_ptr(),
    }
}

/// # Safety
///
/// As in the header: `allocator` is filled in, and stays as it is until it is removed.
#[no_mangle]
unsafe extern "C" fn __cenalloc_device_add_allocator(
    dev: *mut c::cenalloc_device,
    allocator: *mut c::cenalloc_allocator,
) -> c_int {
    from_result(|| {
        if dev != device() || allocator.is_null() {
            return Err(EINVAL);
        }
        // SAFETY: The header requires of the driver that `allocator` is filled in and stays until
        // it is removed.
        let (description, code, adapter) = unsafe { CAllocator::describe(allocator)? };
        // Nothing may fail once buffers can have memory of it.
        let room = KBox::<Registration>::new_uninit(GFP_KERNEL_ACCOUNT)?;
        let registration = room.write(Registration::with_code(code, description, adapter)?);
        // SAFETY: The header reserves the field for this module, and the driver keeps `allocator`.
        unsafe { (*allocator).registration = KBox::into_raw(registration).cast() };
        Ok(0)
    })
}

/// # Safety
///
/// As in the header: `allocator` was added, and no other thread removes it now.
#[no_mangle]
unsafe extern "C" fn cenalloc_device_remove_allocator(
    dev: *mut c::cenalloc_device,
    allocator: *mut c::cenalloc_allocator,
) -> c_int {
    from_result(|| {
        if dev != device() || allocator.is_null() {
            return Err(EINVAL);
        }
        // SAFETY: The header reserves the field for this module, and the driver keeps `allocator`.
        let registration = unsafe { (*allocator).registration };
        if registration.is_null() {
            return Err(EINVAL);
        }
        // SAFETY: The field holds the box that `cenalloc_device_add_allocator` put there.
        unsafe { (*registration.cast::<Registration>()).try_remove()? };
        // SAFETY: The field holds that box, of which there is no other reference: `try_remove` has
        // returned, and the header forbids a second removal at the same time.
        unsafe {
            (*allocator).registration = ptr::null_mut();
            drop(KBox::from_raw(registration.cast::<Registration>()));
        }
        Ok(0)
    })
}
