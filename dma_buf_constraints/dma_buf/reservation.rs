// SPDX-License-Identifier: GPL-2.0

//! The reservation lock of a buffer, and the data under it.
//!
//! C header: [`include/linux/dma-resv.h`](srctree/include/linux/dma-resv.h).

use super::{
    buffer::DmaBuf,
    exporter::Exporter, //
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
    sync::Arc,
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

/// A `dma_resv`, and the exporter that uses it. What `dma_buf.priv` points to.
///
/// # Invariants
///
/// - `resv` is an initialised `dma_resv`, from construction to drop.
/// - `exporter` is written under the lock before the buffer is published, and again in the
///   buffer's release, when nobody else has the buffer. In between it is `Some`, only read, and
///   needs no lock.
#[pin_data(PinnedDrop)]
pub(super) struct Head {
    #[pin]
    resv: Opaque<bindings::dma_resv>,
    pub(super) exporter: UnsafeCell<Option<Arc<dyn Exporter>>>,
}

impl Head {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `dma_resv_init` initialises the whole `dma_resv`.
            // INVARIANT: The lock is initialised here.
            resv <- Opaque::ffi_init(|slot| unsafe { bindings::dma_resv_init(slot) }),
            exporter: UnsafeCell::new(None),
        })
    }

    /// The C object.
    pub(super) fn as_raw(&self) -> *mut bindings::dma_resv {
        self.resv.get()
    }

    pub(super) fn lock(&self) -> HeadGuard<'_> {
        // SAFETY: `resv` is initialised by the type's invariants. Without an acquire context the
        // call sleeps until it has the lock and cannot fail.
        unsafe { bindings::dma_resv_lock(self.as_raw(), ptr::null_mut()) };
        self.locked()
    }

    /// `EINTR` where a signal comes first.
    fn lock_interruptible(&self) -> Result<HeadGuard<'_>> {
        // SAFETY: As in `lock`; what can fail is the wait.
        let result = unsafe {
            bindings::ww_mutex_lock_interruptible(&raw mut (*self.as_raw()).lock, ptr::null_mut())
        };
        if result != 0 {
            return Err(EINTR);
        }
        Ok(self.locked())
    }

    /// The guard of a lock that was just taken.
    fn locked(&self) -> HeadGuard<'_> {
        HeadGuard {
            held: Held {
                head: self,
                _not_send: NotThreadSafe,
            },
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Head {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: `resv` is initialised by the type's invariants and, being dropped, unused.
        unsafe { bindings::dma_resv_fini(self.as_raw()) };
    }
}

/// Proof that the reservation lock of one buffer is held, by this code or by the C core that
/// called it.
///
/// # Invariants
///
/// The lock of `head` is held by this thread for `'a`, and only one `Held` of it is in use at a
/// time: while [`Guard::invalidate_mappings`] lets importers call back, the guard's own is not.
pub struct Held<'a> {
    head: &'a Head,
    _not_send: NotThreadSafe,
}

impl<'a> Held<'a> {
    /// # Safety
    ///
    /// This thread holds the lock of `head` for `'a`, and no other `Held` of it is in use.
    pub(super) unsafe fn new(head: &'a Head) -> Self {
        // INVARIANT: The caller's promise.
        Self {
            head,
            _not_send: NotThreadSafe,
        }
    }
}

/// Holds the lock of a [`Head`] that it took itself.
pub(super) struct HeadGuard<'a> {
    /// The proof that it is held.
    pub(super) held: Held<'a>,
}

impl Drop for HeadGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: `Head::lock` took the lock.
        unsafe { bindings::dma_resv_unlock(self.held.head.as_raw()) };
    }
}

/// The reservation lock of one buffer and the exporter's state under it.
///
/// The one lock of a buffer: the C core takes it around map, unmap, vmap and vunmap, importers
/// take it for their fences, and the exporter for everything else. It belongs after `mmap_lock`
/// and before reclaim: memory may be allocated under it, user memory must not be touched.
///
/// Embedded by the type that implements [`Exporter`].
#[pin_data]
pub struct Reservation<T> {
    #[pin]
    head: Head,
    state: UnsafeCell<T>,
}

// SAFETY: The state moves between threads with the lock.
unsafe impl<T: Send> Send for Reservation<T> {}
// SAFETY: The state is only reached through `Held`, which only one thread has at a time; the rest
// is `Sync` by the invariants of `Head`.
unsafe impl<T: Send> Sync for Reservation<T> {}

impl<T> Reservation<T> {
    /// An unlocked reservation with `state` under it.
    pub fn new(state: T) -> impl PinInit<Self> {
        pin_init!(Self {
            head <- Head::new(),
            state: UnsafeCell::new(state),
        })
    }

    /// Takes the lock; may sleep.
    pub fn lock(&self) -> Guard<'_, T> {
        Guard {
            head: self.head.lock(),
            state: &self.state,
        }
    }

    /// Takes the lock unless a signal comes first: `EINTR`.
    pub fn lock_interruptible(&self) -> Result<Guard<'_, T>> {
        Ok(Guard {
            head: self.head.lock_interruptible()?,
            state: &self.state,
        })
    }

    /// Waits until no device works on the buffer in a way that is at odds with CPU access in
    /// `direction`, without the lock. `EINTR` where a signal comes first.
    pub fn wait_for_devices(&self, direction: DataDirection) -> Result {
        let usage = match direction {
            DataDirection::Bidirectional | DataDirection::ToDevice => {
                bindings::dma_resv_usage_DMA_RESV_USAGE_READ
            }
            _ => bindings::dma_resv_usage_DMA_RESV_USAGE_WRITE,
        };
        // SAFETY: The object is initialised, and lives as long as `self`.
        let left = unsafe {
            bindings::dma_resv_wait_timeout(self.head.as_raw(), usage, true, isize::MAX as usize)
        };
        if left < 0 {
            return Err(EINTR);
        }
        Ok(())
    }

    /// The state, under a lock that is already held.
    ///
    /// # Panics
    ///
    /// Where `held` is of another buffer: a bug that would be a data race.
    pub fn state<'a>(&'a self, held: &'a mut Held<'_>) -> &'a mut T {
        assert!(ptr::eq(&self.head, held.head));
        // SAFETY: By the invariants of `Held` this thread holds the lock of this head and has the
        // only proof of it, which is borrowed as long as the state is.
        unsafe { &mut *self.state.get() }
    }
}

/// The head of an exporter's reservation, for the operations' thunks.
#[doc(hidden)]
pub struct HeadRef<'a>(pub(super) &'a Head);

impl<T> Reservation<T> {
    /// What [`Exporter::reservation`] returns.
    pub fn head(&self) -> HeadRef<'_> {
        HeadRef(&self.head)
    }
}

/// The state of a buffer with its lock held; unlocks when dropped.
pub struct Guard<'a, T> {
    head: HeadGuard<'a>,
    state: &'a UnsafeCell<T>,
}

impl<T> Guard<'_, T> {
    fn resv(&self) -> *mut bindings::dma_resv {
        self.head.held.head.as_raw()
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

    /// Waits until no device works on the buffer any more. `EINTR` where a signal comes first.
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
            return Err(EINTR);
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

    /// Tells the core what all users of `buffer` can reach, where it keeps that. When somebody
    /// attaches or detaches, it asks by itself.
    pub fn tell_access_mask(&mut self, buffer: &DmaBuf) {
        assert!(ptr::eq(buffer.reservation(), self.resv()));
        #[cfg(dma_buf_has_access_constraints)]
        // SAFETY: The buffer is ours, since the reservation is, and its reference keeps it. The
        // guard holds the lock, and nobody borrows the state, since the guard is borrowed mutably.
        unsafe {
            super::exporter::set_access_mask(buffer.as_raw(), &mut self.head.held)
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
        // SAFETY: `head` holds the lock, so nobody else reaches the state.
        unsafe { &*self.state.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: As in `deref`; the guard is borrowed mutably.
        unsafe { &mut *self.state.get() }
    }
}
