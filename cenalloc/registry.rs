// SPDX-License-Identifier: GPL-2.0

//! All buffers that exist, for debugfs.
//!
//! The list's mutex and a buffer's reservation lock are never held together. The spinlock of the
//! last refusal is taken under the reservation lock.

use crate::buffer::Buffer;
use dma_buf_constraints::{
    few::make_room,
    model::Refusal, //
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
    /// Buffers, the oldest first. A buffer is in no other list.
    // SAFETY: `init` runs in the module's initialiser, before anything can use the lock.
    unsafe(uninit) static BUFFERS: Mutex<List<Buffer>> = List::new();
}

kernel::sync::global_lock! {
    /// The last refusal, and the number of its buffer.
    // SAFETY: `init` runs in the module's initialiser, before anything can use the lock.
    unsafe(uninit) static LAST_REFUSAL: SpinLock<Option<(u64, Refusal)>> = None;
}

/// Initialises the locks. Called once, by the module's initialiser.
pub(crate) fn init() {
    // SAFETY: The module's initialiser calls this exactly once, before there are buffers.
    unsafe { BUFFERS.init() };
    // SAFETY: The module's initialiser calls this exactly once, before there are buffers.
    unsafe { LAST_REFUSAL.init() };
}

/// Lists a buffer, until [`remove`].
pub(crate) fn add(buffer: ListArc<Buffer>) {
    BUFFERS.lock().push_back(buffer);
}

/// Removes a buffer from the list, if it is on it.
pub(crate) fn remove(buffer: &Buffer) {
    // SAFETY: A buffer is in no list but `BUFFERS`: `add` is the only use of its `ListArc`.
    let listed = unsafe { BUFFERS.lock().remove(buffer) };
    // Drops the reference without the lock.
    drop(listed);
}

/// Returns all buffers, the oldest first. `ENOMEM`.
pub(crate) fn all() -> Result<KVVec<Arc<Buffer>>> {
    let mut all = KVVec::new();
    loop {
        // Allocates without the lock, for which processes wait that create or release a buffer.
        let count = BUFFERS.lock().iter().count();
        make_room(&mut all, count)?;
        let mut add = |buffer: ArcBorrow<'_, Buffer>| all.push_within_capacity(buffer.into());
        if BUFFERS.lock().iter().all(|buffer| add(buffer).is_ok()) {
            return Ok(all);
        }
        all.clear();
    }
}

/// Records the last refusal of any buffer.
pub(crate) fn set_last_refusal(id: u64, refusal: Refusal) {
    *LAST_REFUSAL.lock() = Some((id, refusal));
}

/// Returns the last refusal of any buffer, and the number of that buffer.
pub(crate) fn last_refusal() -> Option<(u64, Refusal)> {
    *LAST_REFUSAL.lock()
}
