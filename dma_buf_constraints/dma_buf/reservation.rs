// SPDX-License-Identifier: GPL-2.0

//! The reservation lock of a buffer, and the data under it.
//!
//! C header: [`include/linux/dma-resv.h`](srctree/include/linux/dma-resv.h).

use crate::{
    c,
    model::Name,
    waiters::{
        was_in_time,
        Timeout, //
    }, //
};
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
/// - `resv` is an initialised `dma_resv`, from construction to drop.
/// - The dma-buf in `exported` is NULL, or is freed only after this was set to NULL.
#[pin_data(PinnedDrop)]
pub struct Reservation<T> {
    #[pin]
    resv: Opaque<bindings::dma_resv>,
    /// The dma-buf and the number of its inode, which goes before it, from its export to its
    /// release, which need the lock; otherwise NULL and 0.
    exported: UnsafeCell<(*mut bindings::dma_buf, u64)>,
    state: UnsafeCell<T>,
}

// SAFETY: The state moves between threads with the lock, and so does the dma-buf, which may be used
// by any thread.
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
            exported: UnsafeCell::new((ptr::null_mut(), 0)),
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

    /// Sets the dma-buf that this is the lock of, with the number of its inode.
    ///
    /// # Safety
    ///
    /// This thread holds the lock, or no other can reach it. The dma-buf is not freed before
    /// another call has set NULL.
    pub(super) unsafe fn set_exported(&self, dmabuf: *mut bindings::dma_buf, inode: u64) {
        // INVARIANT: The caller sets NULL before the dma-buf is freed.
        // SAFETY: The caller holds the lock, or is the only one that can reach this.
        unsafe { self.exported.get().write((dmabuf, inode)) };
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

    /// Waits, without the lock, until no device works on the buffer any more, or the time is over.
    /// Returns whether none does.
    ///
    /// # Errors
    ///
    /// - `ERESTARTSYS` if a signal comes first.
    pub fn wait_idle(&self, timeout: Timeout) -> Result<bool> {
        was_in_time(wait(
            self.as_raw(),
            bindings::dma_resv_usage_DMA_RESV_USAGE_BOOKKEEP,
            timeout.jiffies(),
        ))
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
        was_in_time(wait(self.as_raw(), usage, c_long::MAX))?;
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

/// Waits for the fences of a `usage`. Returns the jiffies that are left, or less than 0 for a
/// signal.
#[inline(never)]
fn wait(resv: *mut bindings::dma_resv, usage: bindings::dma_resv_usage, jiffies: c_long) -> c_long {
    // SAFETY: The callers pass the `dma_resv` of a `Reservation`, which is initialised.
    unsafe { bindings::dma_resv_wait_timeout(resv, usage, true, jiffies as usize) as c_long }
}

/// Copies the name of a buffer that is not released.
#[inline(never)]
fn get_name(dmabuf: *mut bindings::dma_buf, name: &mut [c_char; c::DMA_BUF_NAME_LEN as usize]) {
    // SAFETY: `Guard`, the only caller, passes a dma-buf that is not released meanwhile, and which
    // keeps its name for as long. The name has at most as many bytes as the array.
    unsafe { c::dbc_get_name(dmabuf, name.as_mut_ptr()) };
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
        let usage = bindings::dma_resv_usage_DMA_RESV_USAGE_BOOKKEEP;
        was_in_time(wait(self.resv(), usage, c_long::MAX))?;
        Ok(())
    }

    /// Returns the number of the buffer's inode; 0 once the buffer was released.
    pub fn inode(&self) -> u64 {
        self.exported().1
    }

    /// Returns the buffer's name, which `DMA_BUF_SET_NAME` can change at any time; empty without,
    /// and once the buffer was released.
    pub fn name(&self) -> Name {
        let mut name = [0; c::DMA_BUF_NAME_LEN as usize];
        if !self.raw_dmabuf().is_null() {
            get_name(self.raw_dmabuf(), &mut name);
        }
        Name::new(&name)
    }

    /// Returns how many mappings of the buffer the kernel has for itself.
    pub fn kernel_mappings(&self) -> u32 {
        let dmabuf = self.raw_dmabuf();
        if dmabuf.is_null() {
            return 0;
        }
        // SAFETY: The dma-buf is not released, and the guard holds the lock of the counter.
        unsafe { (*dmabuf).vmapping_counter }
    }

    fn exported(&self) -> (*mut bindings::dma_buf, u64) {
        // SAFETY: The guard holds the lock, with which alone this changes.
        unsafe { *self.reservation.exported.get() }
    }

    /// Returns the dma-buf, which is not released while it is not NULL. There may be no reference
    /// to it any more, and no file.
    fn raw_dmabuf(&self) -> *mut bindings::dma_buf {
        self.exported().0
    }

    /// Zaps all pages of the buffer in the address spaces of userspace. An access then faults, and
    /// waits for the lock.
    ///
    /// # Safety
    ///
    /// There is a reference to the buffer, if it was exported.
    pub unsafe fn zap_user_mappings(&mut self) {
        let dmabuf = self.raw_dmabuf();
        if !dmabuf.is_null() {
            // SAFETY: The caller has a reference to the buffer, which keeps its file and the
            // mapping of that. The call is allowed under the reservation lock.
            unsafe {
                let mapping = (*(*dmabuf).file).f_mapping;
                bindings::unmap_mapping_range(mapping, 0, 0, 1);
            }
        }
    }

    /// Tells the core which classes of memory all users of the buffer can access, where it keeps
    /// that. When a device attaches or detaches, the core asks by itself.
    pub fn tell_access_mask(&mut self, _mask: u64) {
        #[cfg(dma_buf_has_access_constraints)]
        if !self.raw_dmabuf().is_null() {
            // SAFETY: The buffer is not released, and the guard holds the lock of its mask.
            unsafe { (*self.raw_dmabuf()).access_constraints_mask = _mask };
        }
    }

    /// Tells dynamic importers of the buffer that its memory is relocated. They may unmap at once,
    /// which calls the exporter: no borrow of the state lasts across this.
    pub fn invalidate_mappings(&mut self) {
        let dmabuf = self.raw_dmabuf();
        if !dmabuf.is_null() {
            // SAFETY: The dma-buf is not released. The guard holds its lock and is borrowed
            // exclusively, so that nothing borrows the state.
            unsafe { bindings::dma_buf_invalidate_mappings(dmabuf) };
        }
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
