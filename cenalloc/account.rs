// SPDX-License-Identifier: GPL-2.0

//! The memory cgroup that a buffer's memory is charged to: that of its creator, not of the process
//! that touches it first.

use crate::c;
use kernel::bindings;

/// The memory cgroup of the process that created a buffer, or its parent after it was removed: a
/// buffer keeps no cgroup alive.
///
/// # Invariants
///
/// Holds a reference to the `obj_cgroup` that stands for the cgroup, or is NULL where there is
/// none.
pub(crate) struct Payer(*mut bindings::obj_cgroup);

// SAFETY: The kernel counts references to an `obj_cgroup` atomically, so that any thread may drop
// one.
unsafe impl Send for Payer {}
// SAFETY: The only method that takes a shared reference is `charge`, which reads the pointer.
unsafe impl Sync for Payer {}

impl Payer {
    /// Returns the cgroup of the current process.
    pub(crate) fn current() -> Self {
        // INVARIANT: `cenalloc_payer_get` returns a reference of its own, or NULL.
        // SAFETY: `cenalloc_payer_get` takes no arguments and reads the cgroup of the current
        // process.
        Self(unsafe { c::cenalloc_payer_get() })
    }

    /// Runs `allocate`, charging what it allocates to this cgroup.
    pub(crate) fn charge<R>(&self, allocate: impl FnOnce() -> R) -> R {
        // SAFETY: By the type's invariants `self` holds a reference to the `obj_cgroup`, or it is
        // NULL, which the call accepts.
        let before = unsafe { c::cenalloc_payer_enter(self.0) };
        let result = allocate();
        // SAFETY: `before` is what `cenalloc_payer_enter` returned in this thread, and is given
        // back once.
        unsafe { c::cenalloc_payer_leave(before) };
        result
    }
}

impl Drop for Payer {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants `self` holds a reference, or NULL, and being dropped it
        // does not use it any more.
        unsafe { c::cenalloc_payer_put(self.0) };
    }
}
