// SPDX-License-Identifier: GPL-2.0

//! Who pays for a buffer's memory: whoever created it, not whoever touches it first.

use crate::c;
use kernel::bindings;

/// The memory cgroup of the process that made a buffer, or its parent where it was removed: a
/// buffer keeps no cgroup.
///
/// # Invariants
///
/// Holds a reference to what the kernel charges in its place, or is NULL where there are none.
pub(crate) struct Payer(*mut bindings::obj_cgroup);

// SAFETY: The kernel counts these references atomically, whichever thread has one.
unsafe impl Send for Payer {}
// SAFETY: The only use of a shared reference is `charge`, which reads the pointer.
unsafe impl Sync for Payer {}

impl Payer {
    /// Whoever pays for the current process.
    pub(crate) fn current() -> Self {
        // INVARIANT: The call returns a reference, or NULL.
        // SAFETY: The call only looks at the current process, whose cgroup it takes a reference to.
        Self(unsafe { c::cenalloc_payer_get() })
    }

    /// Runs `allocate` with what it allocates charged to this cgroup.
    pub(crate) fn charge<R>(&self, allocate: impl FnOnce() -> R) -> R {
        // SAFETY: By the type's invariants there is a reference, or NULL.
        let before = unsafe { c::cenalloc_payer_enter(self.0) };
        let result = allocate();
        // SAFETY: `before` was active in this thread, and is for as long as it was before.
        unsafe { c::cenalloc_payer_leave(before) };
        result
    }
}

impl Drop for Payer {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants there is a reference, or NULL; nobody uses it any more.
        unsafe { c::cenalloc_payer_put(self.0) };
    }
}
