// SPDX-License-Identifier: GPL-2.0

//! The reservation lock of a buffer, and the data under it.
//!
//! C header: [`include/linux/dma-resv.h`](srctree/include/linux/dma-resv.h).

use super::buffer::DmaBuf;
use crate::c;
use core::{
    cell::UnsafeCell,
    ops::{
        Deref,
        DerefMut, //
    },
    ptr, //
};
use kernel::{
    bindings,
    dma::DataDirection,
    prelude::*,
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

/// The reservation lock of one buffer and the exporter's state under it.
///
/// The one lock of a buffer: the C core takes it around map, unmap, vmap and vunmap, importers
/// take it for their fences, and the exporter for everything else. It belongs after `mmap_lock`
/// and before reclaim: memory may be allocated under it, user memory must not be touched.
///
/// Embedded by the type that implements [`Exporter`](super::Exporter).
///
/// # Invariants
///
/// `resv` is an initialised `dma_resv`, from construction to drop.
#[pin_data(PinnedDrop)]
pub struct Reservation<T> {
    #[pin]
    resv: Opaque<bindings::dma_resv>,
    state: UnsafeCell<T>,
}

// SAFETY: The state moves between threads with the lock.
unsafe impl<T: Send> Send for Reservation<T> {}
// SAFETY: The state is only reached by the thread that holds the lock; `resv` has a lock of its
// own.
unsafe impl<T: Send> Sync for Reservation<T> {}

impl<T> Reservation<T> {
    /// Creates an unlocked reservation with `state` under it.
    pub fn new(state: T) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `dma_resv_init` initialises the whole `dma_resv`.
            // INVARIANT: The lock is initialised here.
            resv <- Opaque::ffi_init(|slot| unsafe { bindings::dma_resv_init(slot) }),
            state: UnsafeCell::new(state),
        })
    }

    /// Returns the C object.
    pub(super) fn as_raw(&self) -> *mut bindings::dma_resv {
        self.resv.get()
    }

    /// Returns the state.
    ///
    /// # Safety
    ///
    /// This thread holds the lock, or there is no reference to the buffer any more, and nothing
    /// else borrows the state for `'a`.
    pub(super) unsafe fn state<'a>(&self) -> &'a mut T {
        // SAFETY: The caller holds the lock, and nothing else borrows the state for `'a`.
        unsafe { &mut *self.state.get() }
    }

    /// Returns the guard of the lock, which this thread has taken.
    fn locked(&self) -> Guard<'_, T> {
        Guard {
            reservation: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Takes the lock; may sleep.
    pub fn lock(&self) -> Guard<'_, T> {
        lock(self.as_raw());
        self.locked()
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        try_lock(self.as_raw()).then(|| self.locked())
    }

    /// Takes the lock; may sleep.
    ///
    /// # Errors
    ///
    /// - `EINTR` if the process is being killed.
    pub fn lock_killable(&self) -> Result<Guard<'_, T>> {
        lock_killable(self.as_raw())?;
        Ok(self.locked())
    }

    /// Takes the lock; may sleep.
    ///
    /// # Errors
    ///
    /// - `ERESTARTSYS` if a signal comes first.
    pub fn lock_interruptible(&self) -> Result<Guard<'_, T>> {
        lock_interruptible(self.as_raw())?;
        Ok(self.locked())
    }

    /// Waits, without the lock, until no device works on the buffer in a way that conflicts with
    /// CPU access in `direction`.
    ///
    /// # Errors
    ///
    /// - `ERESTARTSYS` if a signal comes first.
    pub fn wait_for_devices(&self, direction: DataDirection) -> Result {
        let usage = match direction {
            DataDirection::Bidirectional | DataDirection::ToDevice => {
                bindings::dma_resv_usage_DMA_RESV_USAGE_READ
            }
            _ => bindings::dma_resv_usage_DMA_RESV_USAGE_WRITE,
        };
        // SAFETY: By the type's invariants the object is initialised as long as `self` lives.
        let left = unsafe {
            bindings::dma_resv_wait_timeout(self.as_raw(), usage, true, isize::MAX as usize)
        };
        if left < 0 {
            return Err(ERESTARTSYS);
        }
        Ok(())
    }
}

#[pinned_drop]
impl<T> PinnedDrop for Reservation<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type's invariants `resv` is initialised. It is being dropped, so that
        // nothing uses it any more.
        unsafe { bindings::dma_resv_fini(self.as_raw()) };
    }
}

// Not generic: what they call need not be exported to the module of an exporter. Each is called for
// the `dma_resv` of a `Reservation`, which is initialised by the invariants of that, and takes it
// without a context: no other one is held with it.

#[inline(never)]
fn lock(resv: *mut bindings::dma_resv) {
    // SAFETY: The callers pass the `dma_resv` of a `Reservation`, which is initialised. Without a
    // context this cannot fail.
    unsafe { bindings::dma_resv_lock(resv, ptr::null_mut()) };
}

#[inline(never)]
fn try_lock(resv: *mut bindings::dma_resv) -> bool {
    // SAFETY: The callers pass the `dma_resv` of a `Reservation`, which is initialised.
    unsafe { bindings::ww_mutex_trylock(&raw mut (*resv).lock, ptr::null_mut()) != 0 }
}

#[inline(never)]
fn lock_interruptible(resv: *mut bindings::dma_resv) -> Result {
    // SAFETY: The callers pass the `dma_resv` of a `Reservation`, which is initialised.
    let result =
        unsafe { bindings::ww_mutex_lock_interruptible(&raw mut (*resv).lock, ptr::null_mut()) };
    if result != 0 {
        return Err(ERESTARTSYS);
    }
    Ok(())
}

#[inline(never)]
fn lock_killable(resv: *mut bindings::dma_resv) -> Result {
    // There is no killable wait for such a lock: after a signal that does not kill, it is polled.
    while lock_interruptible(resv).is_err() {
        // SAFETY: The caller may sleep, since it waits for a lock that sleeps.
        unsafe { bindings::schedule_timeout_killable(1) };
        // SAFETY: The call takes no arguments and reads the signals of the current process.
        if unsafe { c::dbc_killed() } {
            return Err(EINTR);
        }
    }
    Ok(())
}

#[inline(never)]
fn unlock(resv: *mut bindings::dma_resv) {
    // SAFETY: `Guard`, the only caller, holds the lock by its invariants.
    unsafe { bindings::dma_resv_unlock(resv) };
}

/// The state of a buffer with its lock held; unlocks when dropped.
///
/// # Invariants
///
/// This thread holds the lock of `reservation`, and nothing else borrows its state: the C core
/// calls with the lock held only where it took that itself, or from [`Self::invalidate_mappings`],
/// for which the guard is borrowed exclusively.
pub struct Guard<'a, T> {
    reservation: &'a Reservation<T>,
    _not_send: NotThreadSafe,
}

impl<T> Guard<'_, T> {
    fn resv(&self) -> *mut bindings::dma_resv {
        self.reservation.as_raw()
    }

    /// Returns whether no device works on the buffer any more, by the fences in the reservation.
    pub fn is_idle(&self) -> bool {
        // SAFETY: By the invariants of `Guard` and `Reservation` this thread holds the lock, and
        // the object is initialised.
        unsafe {
            bindings::dma_resv_test_signaled(
                self.resv(),
                bindings::dma_resv_usage_DMA_RESV_USAGE_BOOKKEEP,
            )
        }
    }

    /// Waits until no device works on the buffer any more.
    ///
    /// # Errors
    ///
    /// - `ERESTARTSYS` if a signal comes first.
    pub fn wait_idle(&self) -> Result {
        // SAFETY: By the invariants of `Guard` and `Reservation` this thread holds the lock, and
        // the object is initialised.
        let left = unsafe {
            bindings::dma_resv_wait_timeout(
                self.resv(),
                bindings::dma_resv_usage_DMA_RESV_USAGE_BOOKKEEP,
                true,
                isize::MAX as usize,
            )
        };
        if left < 0 {
            return Err(ERESTARTSYS);
        }
        Ok(())
    }

    /// Zaps all pages of `buffer` in the address spaces of userspace. An access then faults, and
    /// waits for the lock.
    pub fn zap_user_mappings(&mut self, buffer: &DmaBuf) {
        assert!(ptr::eq(buffer.reservation(), self.resv()));
        // SAFETY: The reference keeps the buffer, and so its file and the mapping of that. The call
        // is allowed under the reservation lock.
        unsafe {
            let mapping = (*(*buffer.as_raw()).file).f_mapping;
            bindings::unmap_mapping_range(mapping, 0, 0, 1);
        }
    }

    /// Tells the core which classes of memory all users of `buffer` can access, where it keeps
    /// that. When a device attaches or detaches, the core asks by itself.
    pub fn tell_access_mask(&mut self, buffer: &DmaBuf, _mask: u64) {
        assert!(ptr::eq(buffer.reservation(), self.resv()));
        #[cfg(dma_buf_has_access_constraints)]
        // SAFETY: The reference keeps the buffer, and the guard holds the lock of its mask.
        unsafe {
            (*buffer.as_raw()).access_constraints_mask = _mask
        };
    }

    /// Tells dynamic importers of `buffer` that its memory is relocated. They may unmap at once,
    /// which calls the exporter: no borrow of the state lasts across this.
    pub fn invalidate_mappings(&mut self, buffer: &DmaBuf) {
        assert!(ptr::eq(buffer.reservation(), self.resv()));
        // SAFETY: The guard holds the lock of this buffer, as asserted above, and is borrowed
        // exclusively, so that nothing borrows the state.
        unsafe { bindings::dma_buf_invalidate_mappings(buffer.as_raw()) };
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type's invariants this thread holds the lock. The shared borrow of the
        // guard excludes an exclusive one of the state.
        unsafe { &*self.reservation.state.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: By the type's invariants this thread holds the lock. The exclusive borrow of the
        // guard excludes any other of the state.
        unsafe { self.reservation.state() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        unlock(self.resv());
    }
}
