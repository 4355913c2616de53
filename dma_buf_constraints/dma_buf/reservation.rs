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
// SAFETY: The state is only reached by who holds the lock, one thread at a time; the rest has a
// lock of its own.
unsafe impl<T: Send> Sync for Reservation<T> {}

impl<T> Reservation<T> {
    /// An unlocked reservation with `state` under it.
    pub fn new(state: T) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `dma_resv_init` initialises the whole `dma_resv`.
            // INVARIANT: The lock is initialised here.
            resv <- Opaque::ffi_init(|slot| unsafe { bindings::dma_resv_init(slot) }),
            state: UnsafeCell::new(state),
        })
    }

    /// The C object.
    pub(super) fn as_raw(&self) -> *mut bindings::dma_resv {
        self.resv.get()
    }

    /// The state.
    ///
    /// # Safety
    ///
    /// This thread holds the lock, or nobody else has the buffer, and nothing else borrows the
    /// state for `'a`.
    pub(super) unsafe fn state<'a>(&self) -> &'a mut T {
        // SAFETY: What the caller promises is all that is needed.
        unsafe { &mut *self.state.get() }
    }

    /// The guard of a lock that was just taken.
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

    /// Takes the lock if nobody has it.
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        try_lock(self.as_raw()).then(|| self.locked())
    }

    /// Takes the lock unless the process is being killed: `EINTR`.
    pub fn lock_killable(&self) -> Result<Guard<'_, T>> {
        lock_killable(self.as_raw())?;
        Ok(self.locked())
    }

    /// Takes the lock unless a signal comes first: `ERESTARTSYS`.
    pub fn lock_interruptible(&self) -> Result<Guard<'_, T>> {
        lock_interruptible(self.as_raw())?;
        Ok(self.locked())
    }

    /// Waits until no device works on the buffer in a way that is at odds with CPU access in
    /// `direction`, without the lock. `ERESTARTSYS` where a signal comes first.
    pub fn wait_for_devices(&self, direction: DataDirection) -> Result {
        let usage = match direction {
            DataDirection::Bidirectional | DataDirection::ToDevice => {
                bindings::dma_resv_usage_DMA_RESV_USAGE_READ
            }
            _ => bindings::dma_resv_usage_DMA_RESV_USAGE_WRITE,
        };
        // SAFETY: The object is initialised, and lives as long as `self`.
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
        // SAFETY: `resv` is initialised by the type's invariants and, being dropped, unused.
        unsafe { bindings::dma_resv_fini(self.as_raw()) };
    }
}

// Not generic: what they call need not be known to the module of an exporter. Each takes the lock
// of a `dma_resv` that is initialised, by the invariants of `Reservation`, without a context: no
// other one is held with it.

#[inline(never)]
fn lock(resv: *mut bindings::dma_resv) {
    // SAFETY: See above. Without a context this cannot fail.
    unsafe { bindings::dma_resv_lock(resv, ptr::null_mut()) };
}

#[inline(never)]
fn try_lock(resv: *mut bindings::dma_resv) -> bool {
    // SAFETY: See above.
    unsafe { bindings::ww_mutex_trylock(&raw mut (*resv).lock, ptr::null_mut()) != 0 }
}

#[inline(never)]
fn lock_interruptible(resv: *mut bindings::dma_resv) -> Result {
    // SAFETY: See above.
    let result =
        unsafe { bindings::ww_mutex_lock_interruptible(&raw mut (*resv).lock, ptr::null_mut()) };
    if result != 0 {
        return Err(ERESTARTSYS);
    }
    Ok(())
}

#[inline(never)]
fn lock_killable(resv: *mut bindings::dma_resv) -> Result {
    // There is no killable wait for such a lock: where a signal comes that does not kill, what is
    // left is to look again and again.
    while lock_interruptible(resv).is_err() {
        // SAFETY: May sleep, as the caller may.
        unsafe { bindings::schedule_timeout_killable(1) };
        // SAFETY: Looks at the current process.
        if unsafe { c::dbc_killed() } {
            return Err(EINTR);
        }
    }
    Ok(())
}

#[inline(never)]
fn unlock(resv: *mut bindings::dma_resv) {
    // SAFETY: Called by who holds the lock.
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

    /// Whether no device works on the buffer any more, by the fences that it was told of.
    pub fn is_idle(&self) -> bool {
        // SAFETY: The guard holds the lock of this valid object.
        unsafe {
            bindings::dma_resv_test_signaled(
                self.resv(),
                bindings::dma_resv_usage_DMA_RESV_USAGE_BOOKKEEP,
            )
        }
    }

    /// Waits until no device works on the buffer any more. `ERESTARTSYS` where a signal comes
    /// first.
    pub fn wait_idle(&self) -> Result {
        // SAFETY: The guard holds the lock of this valid object.
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

    /// Takes all pages of `buffer` out of the address spaces of userspace. What touches them next
    /// faults, and waits for the lock.
    pub fn zap_user_mappings(&mut self, buffer: &DmaBuf) {
        assert!(ptr::eq(buffer.reservation(), self.resv()));
        // SAFETY: The file and its mapping live as long as the buffer. The call is allowed under
        // the reservation lock.
        unsafe {
            let mapping = (*(*buffer.as_raw()).file).f_mapping;
            bindings::unmap_mapping_range(mapping, 0, 0, 1);
        }
    }

    /// Tells the core which classes of memory all users of `buffer` can access, where it keeps
    /// that. When a device attaches or detaches, it asks by itself.
    pub fn tell_access_mask(&mut self, buffer: &DmaBuf, _mask: u64) {
        assert!(ptr::eq(buffer.reservation(), self.resv()));
        #[cfg(dma_buf_has_access_constraints)]
        // SAFETY: The reference keeps the buffer, and the guard holds the lock of its mask.
        unsafe {
            (*buffer.as_raw()).access_constraints_mask = _mask
        };
    }

    /// Tells dynamic importers of `buffer` that its memory moves. They may unmap at once, which
    /// calls the exporter: no borrow of the state lasts across this.
    pub fn invalidate_mappings(&mut self, buffer: &DmaBuf) {
        assert!(ptr::eq(buffer.reservation(), self.resv()));
        // SAFETY: The guard holds the lock of this buffer, and nobody borrows the state, since
        // the guard is borrowed mutably here.
        unsafe { bindings::dma_buf_invalidate_mappings(buffer.as_raw()) };
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type's invariants; while the guard is borrowed, nobody has an exclusive
        // reference.
        unsafe { &*self.reservation.state.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: By the type's invariants; the guard is borrowed exclusively.
        unsafe { self.reservation.state() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        unlock(self.resv());
    }
}
