// SPDX-License-Identifier: GPL-2.0

//! The interface for drivers in C.
//!
//! Documented in [`include/linux/cenalloc.h`](srctree/include/linux/cenalloc.h).

use crate::{
    allocator::Registration,
    buffer::Buffer,
    c,
    c_allocator::CAllocator,
    uapi, //
};
use core::ptr;
use dma_buf_constraints::{
    attach::Refused,
    c_api,
    device,
    dma_buf::DmaBuf,
    model::Constraints, //
};
use kernel::{
    bindings,
    device::Device,
    error::from_result,
    prelude::*,
    str::CStrExt,
    sync::aref::ARef, //
};

/// What `struct cenalloc_device *` points to: there is one device, without contents.
static DEVICE: u8 = 0;

fn handle() -> *mut c::cenalloc_device {
    (&raw const DEVICE).cast_mut().cast()
}

/// # Safety
///
/// None: the header allows any arguments.
#[no_mangle]
unsafe extern "C" fn cenalloc_get_device() -> *mut c::cenalloc_device {
    if crate::is_ready() {
        handle()
    } else {
        EPROBE_DEFER.to_ptr()
    }
}

/// # Safety
///
/// As in the header: `name` is NULL or a string.
#[no_mangle]
unsafe extern "C" fn cenalloc_buffer_create(
    dev: *mut c::cenalloc_device,
    len: usize,
    align: usize,
    flags: c_ulong,
    name: *const c_char,
) -> *mut bindings::dma_buf {
    let create = || {
        // A file descriptor of it has flags of its own.
        let flags = u32::try_from(flags).map_err(|_| EINVAL)? & !bindings::O_CLOEXEC;
        if dev != handle() || flags >= bindings::O_ACCMODE {
            return Err(EINVAL);
        }
        let name = match name.is_null() {
            true => c"",
            // SAFETY: The header requires of the driver a string.
            false => unsafe { CStr::from_char_ptr(name) },
        };
        let name = uapi::read_name(name.to_bytes_with_nul())?;
        Buffer::create(len as u64, align as u64, flags, name)
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

/// Converts a result for a C caller, and fills in its refusal; the cause is 0 without one.
///
/// # Safety
///
/// `refusal` is NULL or to be filled in.
unsafe fn told(refusal: *mut c::cenalloc_refusal, result: Result<(), Refused>) -> c_int {
    if !refusal.is_null() {
        let mut why = c::cenalloc_refusal::zeroed();
        if let Err(Refused::Because(refusal)) = &result {
            uapi::tell_all(refusal, &mut why);
        }
        // SAFETY: The caller passes NULL, which was excluded, or a refusal that may be written.
        unsafe { refusal.write(why) };
    }
    result.map_or_else(|refused| refused.error().to_errno(), |()| 0)
}

/// # Safety
///
/// As in the header: the caller has a reference to `dmabuf`, and a driver is bound to `dev` and
/// stays so; `constraints` is NULL or valid, `refusal` is NULL or to be filled in.
#[no_mangle]
unsafe extern "C" fn cenalloc_buffer_declare(
    dmabuf: *mut bindings::dma_buf,
    dev: *mut bindings::device,
    constraints: *const c_api::dma_buf_constraints,
    refusal: *mut c::cenalloc_refusal,
) -> c_int {
    let declare = || -> Result<(), Refused> {
        // SAFETY: The header requires of the driver a reference, and NULL or valid constraints.
        let (buffer, constraints) = unsafe { (buffer(dmabuf)?, constraints.as_ref()) };
        let constraints = constraints.map_or(Constraints::ANY, Constraints::from);
        if dev.is_null() || device::invalid(&constraints).is_some() {
            return Err(EINVAL.into());
        }
        // SAFETY: The header requires of the driver a device.
        let device: &Device = unsafe { Device::from_raw(dev) };
        // SAFETY: The header requires of the driver that a driver is bound to the device, and stays
        // so during the call.
        let device = unsafe { device.as_bound() };
        buffer.declare_bound(device, &constraints)
    };
    // SAFETY: The header allows NULL, or asks for room for the refusal.
    unsafe { told(refusal, declare()) }
}

/// # Safety
///
/// As in the header: the caller has a reference to `dmabuf`; `refusal` is NULL or to be filled in.
#[no_mangle]
unsafe extern "C" fn cenalloc_buffer_allocate(
    dmabuf: *mut bindings::dma_buf,
    refusal: *mut c::cenalloc_refusal,
) -> c_int {
    // SAFETY: The header requires of the driver that it has a reference to `dmabuf`, and allows
    // NULL or asks for room for the refusal.
    unsafe {
        let buffer = buffer(dmabuf).map_err(Refused::from);
        told(refusal, buffer.and_then(Buffer::allocate))
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
        if dev != handle() || allocator.is_null() {
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
        if dev != handle() || allocator.is_null() {
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
