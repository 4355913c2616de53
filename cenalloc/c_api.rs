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

/// What C callers have a pointer to: there is one, and nothing in it.
static DEVICE: u8 = 0;

fn device() -> *mut c::cenalloc_device {
    (&raw const DEVICE).cast_mut().cast()
}

/// # Safety
///
/// As in the header: none.
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
/// As in the header: none.
#[no_mangle]
unsafe extern "C" fn cenalloc_buffer_create(
    dev: *mut c::cenalloc_device,
    len: usize,
    align: usize,
    flags: c_ulong,
) -> *mut bindings::dma_buf {
    let create = || {
        let flags = u32::try_from(flags).map_err(|_| EINVAL)?;
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

/// The buffer of cenalloc that a C caller names. `EINVAL`.
///
/// # Safety
///
/// `dmabuf` is NULL, an error pointer, or a dma-buf that the caller has a reference to for `'a`.
unsafe fn buffer<'a>(dmabuf: *mut bindings::dma_buf) -> Result<&'a Buffer> {
    let dmabuf = kernel::error::from_err_ptr(dmabuf).map_err(|_| EINVAL)?;
    if dmabuf.is_null() {
        return Err(EINVAL);
    }
    // SAFETY: The caller's promise.
    unsafe { DmaBuf::from_raw(dmabuf) }.exporter().ok_or(EINVAL)
}

/// # Safety
///
/// As in the header: a reference to `dmabuf` is given up, if it is one of cenalloc's.
#[no_mangle]
unsafe extern "C" fn cenalloc_buffer_free(dmabuf: *mut bindings::dma_buf) {
    // SAFETY: The caller's promise.
    if unsafe { buffer(dmabuf) }.is_ok() {
        // SAFETY: The caller gives up a reference.
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
        // SAFETY: The caller's promise.
        let range = unsafe { buffer(dmabuf) }?.phys()?;
        // SAFETY: The caller's promise.
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
    // SAFETY: The caller's promise.
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
        // SAFETY: The caller's promise.
        let (description, code, adapter) = unsafe { CAllocator::describe(allocator)? };
        // Nothing may fail once buffers can have memory of it.
        let room = KBox::<Registration>::new_uninit(GFP_KERNEL_ACCOUNT)?;
        let registration = room.write(Registration::with_code(code, description, adapter)?);
        // SAFETY: The field is this module's; the caller does not look at it.
        unsafe { (*allocator).registration = KBox::into_raw(registration).cast() };
        Ok(0)
    })
}

/// # Safety
///
/// As in the header: `allocator` was added, and nobody else removes it now.
#[no_mangle]
unsafe extern "C" fn cenalloc_device_remove_allocator(
    dev: *mut c::cenalloc_device,
    allocator: *mut c::cenalloc_allocator,
) -> c_int {
    from_result(|| {
        if dev != device() || allocator.is_null() {
            return Err(EINVAL);
        }
        // SAFETY: The field is this module's.
        let registration = unsafe { (*allocator).registration };
        if registration.is_null() {
            return Err(EINVAL);
        }
        // SAFETY: The field holds the box that `cenalloc_device_add_allocator` put there.
        unsafe { (*registration.cast::<Registration>()).try_remove()? };
        // SAFETY: As above, and nobody uses it any more.
        unsafe {
            (*allocator).registration = ptr::null_mut();
            drop(KBox::from_raw(registration.cast::<Registration>()));
        }
        Ok(0)
    })
}
