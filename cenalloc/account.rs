// SPDX-License-Identifier: GPL-2.0

//! Who pays for a buffer's memory: whoever created it, not whoever touches it first.

use crate::c;
use kernel::bindings;

/// The memory cgroup of the process that made a buffer.
///
/// # Invariants
///
/// Holds a reference to the cgroup, or is NULL where there are none.
pub(crate) struct Payer(*mut bindings::mem_cgroup);

// SAFETY: A cgroup may be charged and released by any thread.
unsafe impl Send for Payer {}
// SAFETY: As above.
unsafe impl Sync for Payer {}

impl Payer {
    /// The cgroup of the current process.
    pub(crate) fn current() -> Self {
        // SAFETY: No requirements.
        // INVARIANT: The call returns a reference, or NULL.
        Self(unsafe { c::cenalloc_payer_get() })
    }

    /// Runs `allocate` with what it allocates charged to this cgroup.
    pub(crate) fn charge<R>(&self, allocate: impl FnOnce() -> R) -> R {
        // SAFETY: By the type's invariants the cgroup lives as long as `self`.
        let before = unsafe { c::cenalloc_payer_enter(self.0) };
        let result = allocate();
        // SAFETY: Gives back what was active before, in the same thread.
        unsafe { c::cenalloc_payer_leave(before) };
        result
    }
}

impl Drop for Payer {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants; NULL is allowed.
        unsafe { c::cenalloc_payer_put(self.0) };
    }
}
