// SPDX-License-Identifier: GPL-2.0

//! The files of `/sys/kernel/debug/cenalloc/`.
//!
//! - `buffers`: a line for each buffer.
//! - `devices`: a line for each user.
//! - `refusal`: the last refusal, as a sentence.

use crate::{
    buffer::{
        Buffer,
        Life,
        State, //
    },
    c,
    describe,
    registry, //
};
use dma_buf_constraints::dma_buf::Guard;
use kernel::{
    bindings,
    fmt::{
        self,
        Write, //
    },
    prelude::*, //
};

/// The files, which exist as long as this does.
///
/// # Invariants
///
/// Holds what `cenalloc_debugfs_create` returned.
pub(crate) struct Files(*mut bindings::dentry);

// SAFETY: The only use of the directory is its removal, which any thread may do.
unsafe impl Send for Files {}
// SAFETY: No method takes a shared reference.
unsafe impl Sync for Files {}

impl Files {
    /// Creates the files. Without debugfs there are none.
    pub(crate) fn new() -> Self {
        // INVARIANT: Holds what the call returned.
        // SAFETY: No requirements.
        Self(unsafe { c::cenalloc_debugfs_create() })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants it is what `cenalloc_debugfs_create` returned.
        unsafe { c::cenalloc_debugfs_remove(self.0) };
    }
}

/// A file that is being read.
struct Reader<'a>(&'a mut bindings::seq_file);

impl Write for Reader<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: `self` borrows the file while it is being read, and the text has `len` bytes.
        // What does not fit is asked for again with more room.
        unsafe { bindings::seq_write(self.0, text.as_ptr().cast(), text.len()) };
        Ok(())
    }
}

/// Calls `show` for each buffer, with its lock held. Buffers that are created meanwhile are left
/// out.
fn for_each(mut show: impl FnMut(&Buffer, &Guard<'_, State>) -> fmt::Result) -> Result {
    for buffer in registry::all()? {
        let guard = buffer.lock_interruptible()?;
        if !matches!(guard.life, Life::Gone) {
            show(&buffer, &guard).map_err(|_| EIO)?;
        }
    }
    Ok(())
}

/// Converts a result for C.
fn status(result: Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// Defines a function for `debugfs.c` that shows a file.
macro_rules! show {
    ($name:ident, |$reader:ident| $show:expr) => {
        /// # Safety
        ///
        /// For `debugfs.c` alone: `file` is being read by this thread.
        #[no_mangle]
        unsafe extern "C" fn $name(file: *mut bindings::seq_file, _data: *mut c_void) -> c_int {
            // SAFETY: `seq_read`, which calls this, holds the lock of the file, so that only this
            // thread uses it.
            let mut $reader = Reader(unsafe { &mut *file });
            status($show)
        }
    };
}

show!(cenalloc_buffers_show, |reader| for_each(|buffer, state| {
    describe::write_buffer(&mut reader, buffer, state)
}));

show!(cenalloc_devices_show, |reader| for_each(|buffer, state| {
    describe::write_users(&mut reader, buffer, state)
}));

show!(cenalloc_refusal_show, |reader| {
    match registry::last_refusal() {
        Some((id, refusal)) => writeln!(reader, "buffer {id}: {refusal}").map_err(|_| EIO),
        None => Ok(()),
    }
});
