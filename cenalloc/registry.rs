// SPDX-License-Identifier: GPL-2.0

//! All buffers that exist, for those who look from outside.
//!
//! The list's mutex and a buffer's reservation lock are never held together, but for the short
//! note of a conflict, which takes a lock of its own under the reservation lock.

use crate::buffer::Buffer;
use dma_buf_constraints::{
    few::make_room,
    model::Conflict, //
};
use kernel::{
    list::{
        List,
        ListArc, //
    },
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

kernel::sync::global_lock! {
    /// Buffers, the oldest first. Nothing is ever in it that is not in this list.
    // SAFETY: `init` runs in the module's initialiser, before anything can use the lock.
    unsafe(uninit) static BUFFERS: Mutex<List<Buffer>> = List::new();
}

kernel::sync::global_lock! {
    /// The last refusal, and the number of its buffer.
    // SAFETY: `init` runs in the module's initialiser, before anything can use the lock.
    unsafe(uninit) static LAST_CONFLICT: SpinLock<Option<(u64, Conflict)>> = None;
}

/// Makes the registry usable. For the module's initialiser.
pub(crate) fn init() {
    // SAFETY: The module's initialiser calls this exactly once, before there are buffers.
    unsafe { BUFFERS.init() };
    // SAFETY: As above.
    unsafe { LAST_CONFLICT.init() };
}

/// Lists a buffer. [`remove`] takes it off.
pub(crate) fn add(buffer: ListArc<Buffer>) {
    BUFFERS.lock().push_back(buffer);
}

/// Takes a buffer off the list, if it is on it.
pub(crate) fn remove(buffer: &Buffer) {
    // SAFETY: There is no other list of buffers.
    let listed = unsafe { BUFFERS.lock().remove(buffer) };
    // Freed without the lock.
    drop(listed);
}

/// All buffers, the oldest first. `ENOMEM`.
pub(crate) fn all() -> Result<KVVec<Arc<Buffer>>> {
    let mut all = KVVec::new();
    loop {
        // Room is made without the lock, for which all wait who make or release a buffer.
        let count = BUFFERS.lock().iter().count();
        make_room(&mut all, count)?;
        let mut add = |buffer: ArcBorrow<'_, Buffer>| all.push_within_capacity(buffer.into());
        if BUFFERS.lock().iter().all(|buffer| add(buffer).is_ok()) {
            return Ok(all);
        }
        all.clear();
    }
}

/// Notes the last refusal of any buffer.
pub(crate) fn set_last_conflict(id: u64, conflict: Conflict) {
    *LAST_CONFLICT.lock() = Some((id, conflict));
}

/// The last refusal of any buffer, and its number.
pub(crate) fn last_conflict() -> Option<(u64, Conflict)> {
    *LAST_CONFLICT.lock()
}
