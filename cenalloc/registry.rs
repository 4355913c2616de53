// SPDX-License-Identifier: GPL-2.0

//! All buffers that exist, for those who look from outside.
//!
//! The list's mutex and a buffer's reservation lock are never held together, but for the short
//! note of a conflict, which takes a lock of its own under the reservation lock.

use crate::buffer::Buffer;
use dma_buf_constraints::model::Conflict;
use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::Arc, //
};

kernel::sync::global_lock! {
    /// Buffers by their number.
    // SAFETY: `init` runs in the module's initialiser, before anything can use the lock.
    unsafe(uninit) static BUFFERS: Mutex<Option<RBTree<u64, Arc<Buffer>>>> = None;
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
    *BUFFERS.lock() = Some(RBTree::new());
}

/// A place in the list for a buffer that is not listed yet.
pub(crate) struct Entry(RBTreeNode<u64, Arc<Buffer>>);

impl Entry {
    /// `ENOMEM`.
    pub(crate) fn new(buffer: Arc<Buffer>) -> Result<Self> {
        Ok(Self(RBTreeNode::new(buffer.id, buffer, GFP_KERNEL)?))
    }

    /// Lists the buffer. [`remove`] takes it off.
    pub(crate) fn list(self) {
        if let Some(buffers) = BUFFERS.lock().as_mut() {
            buffers.insert(self.0);
        }
    }
}

/// Takes a buffer off the list.
pub(crate) fn remove(id: u64) {
    let node = BUFFERS
        .lock()
        .as_mut()
        .and_then(|buffers| buffers.remove_node(&id));
    // Freed without the lock.
    drop(node);
}

/// The buffer with the number `id`.
pub(crate) fn get(id: u64) -> Option<Arc<Buffer>> {
    BUFFERS.lock().as_ref()?.get(&id).cloned()
}

/// The buffer with the lowest number from `id` on.
pub(crate) fn next_from(id: u64) -> Option<Arc<Buffer>> {
    let buffers = BUFFERS.lock();
    let cursor = buffers.as_ref()?.cursor_lower_bound(&id)?;
    Some(cursor.current().1.clone())
}

/// Notes the last refusal of any buffer.
pub(crate) fn set_last_conflict(id: u64, conflict: Conflict) {
    *LAST_CONFLICT.lock() = Some((id, conflict));
}

/// The last refusal of any buffer, and its number.
pub(crate) fn last_conflict() -> Option<(u64, Conflict)> {
    *LAST_CONFLICT.lock()
}
