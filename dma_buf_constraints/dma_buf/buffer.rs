// SPDX-License-Identifier: GPL-2.0

//! A dma-buf of any exporter.

use super::exporter::Exporter;
use crate::c;
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    fs::file::FileDescriptorReservation,
    prelude::*,
    str::CStrExt,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        Arc, //
    },
    types::Opaque,
};

/// A `struct dma_buf`. References are counted by its file.
#[repr(transparent)]
pub struct DmaBuf(Opaque<bindings::dma_buf>);

// SAFETY: A dma-buf may be used and released by any thread.
unsafe impl Send for DmaBuf {}
// SAFETY: The fields of a dma-buf are constant or have locks of their own.
unsafe impl Sync for DmaBuf {}

// SAFETY: A dma-buf lives as long as its file, whose references these are.
unsafe impl AlwaysRefCounted for DmaBuf {
    fn inc_ref(&self) {
        // SAFETY: The file is valid for as long as the dma-buf, and `file` never changes.
        unsafe { bindings::get_file((*self.as_raw()).file) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference, as `AlwaysRefCounted` requires.
        unsafe { bindings::dma_buf_put(obj.as_ptr().cast()) };
    }
}

impl DmaBuf {
    /// Returns the dma-buf behind a pointer of C.
    ///
    /// # Safety
    ///
    /// `raw` is a dma-buf to which there is a reference for `'a`.
    pub unsafe fn from_raw<'a>(raw: *mut bindings::dma_buf) -> &'a Self {
        // SAFETY: The caller passes a dma-buf that is referenced for `'a`; the type is a
        // transparent wrapper.
        unsafe { &*raw.cast() }
    }

    /// Returns the C object.
    pub(super) fn as_raw(&self) -> *mut bindings::dma_buf {
        self.0.get()
    }

    /// Takes another reference.
    pub(super) fn counted(&self) -> ARef<Self> {
        self.into()
    }

    /// Returns the buffer behind a file descriptor of the current process.
    ///
    /// # Errors
    ///
    /// - `EBADF` if there is no such descriptor.
    /// - `EINVAL` if it is not one of a dma-buf.
    pub fn get(fd: i32) -> Result<ARef<Self>> {
        // SAFETY: `dma_buf_get` takes any number.
        let raw = from_err_ptr(unsafe { bindings::dma_buf_get(fd) })?;
        let raw = NonNull::new(raw).ok_or(EINVAL)?;
        // SAFETY: A successful `dma_buf_get` returns a reference of its own.
        Ok(unsafe { ARef::from_raw(raw.cast()) })
    }

    /// Exports a buffer of `len` bytes, a multiple of the page size.
    ///
    /// `flags` are open flags, of which the core keeps the access mode. `exporter_name` shows in
    /// debugfs and fdinfo. The exporter's [`module`](Exporter::module) stays loaded while the
    /// buffer lives, and its [`release`](Exporter::release) runs when the last reference is gone.
    ///
    /// # Errors
    ///
    /// - `ENOENT` if the module is being unloaded.
    /// - `ENOMEM`, and any other with which the creation of a file fails.
    ///
    /// No method of the exporter but [`reservation`](Exporter::reservation) was called then.
    pub fn export<E: Exporter>(
        exporter: Arc<E>,
        len: usize,
        flags: u32,
        exporter_name: &'static CStr,
    ) -> Result<ARef<Self>> {
        let resv = exporter.reservation().as_raw();
        let exporter = Arc::into_raw(exporter);
        let info = bindings::dma_buf_export_info {
            exp_name: exporter_name.as_char_ptr(),
            owner: E::module().as_ptr(),
            ops: E::ops().as_raw(),
            size: len,
            flags: flags as c_int,
            resv,
            priv_: exporter.cast_mut().cast(),
        };
        // SAFETY: `info` is complete. `priv_` is a reference to an `E`, as the operations of `E`
        // expect, whose `release` gives it up; the reservation is a part of it.
        match from_err_ptr(unsafe { bindings::dma_buf_export(&info) }) {
            Ok(raw) => {
                let buffer = NonNull::new(raw).ok_or(ENOMEM)?;
                // SAFETY: `priv_` keeps the exporter, and the first reference the file and its
                // inode. The buffer is not in use yet: the caller publishes it. `Ops::release` sets
                // NULL.
                unsafe {
                    let inode = (*(*(*raw).file).f_inode).i_ino;
                    (*exporter).reservation().set_exported(raw, inode);
                }
                // SAFETY: A successful `dma_buf_export` returns the first reference.
                Ok(unsafe { ARef::from_raw(buffer.cast()) })
            }
            Err(error) => {
                // SAFETY: The export failed before the pointer was published, so that the reference
                // of `Arc::into_raw` is still ours.
                drop(unsafe { Arc::from_raw(exporter) });
                Err(error)
            }
        }
    }

    /// Names the buffer, as `DMA_BUF_SET_NAME` does.
    ///
    /// # Errors
    ///
    /// - `ENOMEM` if there is no memory for the name.
    pub fn set_name(&self, name: &[u8]) -> Result {
        // SAFETY: The reference keeps the dma-buf; the name has `len` bytes, and is copied.
        to_result(unsafe { c::dbc_set_name(self.as_raw(), name.as_ptr().cast(), name.len()) })
    }

    /// Gives the buffer to userspace under a reserved descriptor. The buffer may be gone when
    /// this returns: another thread can close the descriptor at once.
    pub fn install(me: ARef<Self>, fd: FileDescriptorReservation) {
        let raw = ARef::into_raw(me);
        let number = fd.reserved_fd();
        // The descriptor is used up below.
        core::mem::forget(fd);
        // SAFETY: The reference goes to the descriptor, which was reserved by this thread.
        unsafe { bindings::dma_buf_fd_install(raw.as_ptr().cast(), number as c_int) };
    }

    /// Returns the exporter, if it is an `E` that [`export`](Self::export) was given.
    pub fn exporter<E: Exporter>(&self) -> Option<&E> {
        // SAFETY: `ops` never changes. It is `E`'s only where `export` put an `E` into `priv`,
        // which stays as long as there is a reference, such as `self`.
        unsafe {
            let raw = self.as_raw();
            ptr::eq((*raw).ops, E::ops().as_raw()).then(|| &*(*raw).priv_.cast::<E>())
        }
    }

    /// Takes the reservation lock, as an importer.
    pub(super) fn lock(&self) -> ImporterLock<'_> {
        // SAFETY: The object lives as long as the buffer. Without an acquire context the call
        // sleeps until it has the lock and cannot fail.
        unsafe { bindings::dma_resv_lock(self.reservation(), ptr::null_mut()) };
        ImporterLock(self)
    }

    /// Returns the reservation object.
    pub(super) fn reservation(&self) -> *mut bindings::dma_resv {
        // SAFETY: `resv` never changes.
        unsafe { (*self.as_raw()).resv }
    }

    /// Returns the length in bytes.
    pub fn size(&self) -> usize {
        // SAFETY: `size` never changes.
        unsafe { (*self.as_raw()).size }
    }
}

/// Holds the reservation lock of a buffer of any exporter.
pub(super) struct ImporterLock<'a>(&'a DmaBuf);

impl Drop for ImporterLock<'_> {
    fn drop(&mut self) {
        // SAFETY: `DmaBuf::lock`, which made this, took the lock.
        unsafe { bindings::dma_resv_unlock(self.0.reservation()) };
    }
}
