// SPDX-License-Identifier: GPL-2.0

//! The tracepoints: what happens to buffers, for those who listen.
//!
//! An event that nobody listens to costs a call that tests a static key. Names and words are put
//! together where somebody does.

use crate::{
    backing::Backing,
    c,
    client::Client,
    uapi, //
};
use dma_buf_constraints::{
    attach::User,
    dma_buf::{
        DataDirection,
        TableRef, //
    },
    model::Conflict, //
};
use kernel::{
    fmt::Write,
    prelude::*,
    str::NullTerminatedFormatter,
    sync::Arc, //
};

/// The most bytes of a refusal in words: three names, and what stands between them.
const LONGEST_REASON: usize = 384;

/// Whether an event has listeners: a static key, tested in place.
macro_rules! enabled {
    ($event:ident) => {{
        // SAFETY: The tracepoint is a static of this module, whose key only the kernel patches.
        unsafe {
            kernel::jump_label::static_branch_unlikely!(
                c::$event,
                kernel::bindings::tracepoint,
                key
            )
        }
    }};
}

/// A text for C, good as long as it is.
fn text(text: &str) -> c::cenalloc_text {
    c::cenalloc_text {
        start: text.as_ptr().cast(),
        len: text.len(),
    }
}

/// The errno of a result; 0 for none.
fn status<T>(result: &Result<T>) -> c_int {
    result.as_ref().err().map_or(0, |error| error.to_errno())
}

/// A buffer was made, with pieces aligned to `alignment` bytes.
pub(crate) fn create(id: u64, name: &str, len: u64, alignment: u64) {
    if enabled!(__tracepoint_cenalloc_create) {
        let name = text(name);
        // SAFETY: The text is the caller's, and outlives the call.
        unsafe { c::rust_do_trace_cenalloc_create(id, len, alignment, &name) };
    }
}

/// `user` has attached.
pub(crate) fn attach(id: u64, user: Option<&User<Client>>) {
    if enabled!(__tracepoint_cenalloc_attach) {
        with_user(user, |user, name| {
            let needs = uapi::constraints(user.constraints());
            let declared = user.data.declared.is_some();
            // SAFETY: Name and needs outlive the call.
            unsafe { c::rust_do_trace_cenalloc_attach(id, name, &needs, declared) };
        });
    }
}

/// `user` was declared.
pub(crate) fn declare(id: u64, user: Option<&User<Client>>) {
    if enabled!(__tracepoint_cenalloc_declare) {
        with_user(user, |user, name| {
            let needs = uapi::constraints(user.constraints());
            // SAFETY: Name and needs outlive the call.
            unsafe { c::rust_do_trace_cenalloc_declare(id, name, &needs, true) };
        });
    }
}

/// `user` is about to detach.
pub(crate) fn detach(id: u64, user: Option<&User<Client>>) {
    if enabled!(__tracepoint_cenalloc_detach) {
        with_user(user, |_, name| {
            // SAFETY: The name outlives the call.
            unsafe { c::rust_do_trace_cenalloc_detach(id, name) };
        });
    }
}

/// Somebody was refused with `error`.
pub(crate) fn refuse(id: u64, conflict: &Conflict, error: Error) {
    if enabled!(__tracepoint_cenalloc_refuse) {
        let mut reason = [0; LONGEST_REASON];
        if let Some(mut writer) = NullTerminatedFormatter::new(&mut reason) {
            // There is room for the longest.
            let _ = write!(writer, "{conflict}");
        }
        let reason = CStr::from_bytes_until_nul(&reason).ok();
        let (with, other) = uapi::party(&conflict.with);
        let refusal = c::cenalloc_refusal {
            id,
            who: text(conflict.who.as_str()),
            field: conflict.misfit.field as u32,
            with,
            wanted: conflict.misfit.wanted,
            found: conflict.misfit.found,
            other: text(other),
            error: error.to_errno(),
            reason: text(reason.and_then(|reason| reason.to_str().ok()).unwrap_or("")),
        };
        // SAFETY: The texts are the conflict's and this function's, and outlive the call.
        unsafe { c::rust_do_trace_cenalloc_refuse(&refusal) };
    }
}

/// `user` held the memory where it is when somebody came whom it does not fit; counted already.
pub(crate) fn early(id: u64, user: &User<Client>) {
    if enabled!(__tracepoint_cenalloc_early) {
        let name = user.name();
        // SAFETY: The name outlives the call.
        unsafe { c::rust_do_trace_cenalloc_early(id, &text(name.as_str()), user.data.early) };
    }
}

/// An allocator provided memory for `buffer`, or none had any.
pub(crate) fn allocate(id: u64, len: u64, provided: &Result<Arc<Backing>>) {
    if enabled!(__tracepoint_cenalloc_allocate) {
        let (allocator, runs) = match provided {
            Ok(backing) => (backing.allocator().name().as_str(), backing.runs().len()),
            Err(_) => ("", 0),
        };
        let error = status(provided);
        // SAFETY: The name is the allocator's, and outlives the call.
        unsafe { c::rust_do_trace_cenalloc_allocate(id, &text(allocator), len, runs, error) };
    }
}

/// The memory of `buffer` moved.
pub(crate) fn relocate(id: u64, len: u64, from: &Backing, to: &Backing) {
    if enabled!(__tracepoint_cenalloc_relocate) {
        let from = text(from.allocator().name().as_str());
        let to = text(to.allocator().name().as_str());
        // SAFETY: The names are the allocators', and outlive the call.
        unsafe { c::rust_do_trace_cenalloc_relocate(id, &from, &to, len) };
    }
}

/// `user` mapped the buffer, or could not; in no direction where it did not get so far.
pub(crate) fn map(
    id: u64,
    user: Option<&User<Client>>,
    direction: DataDirection,
    mapped: Result<TableRef>,
) {
    if enabled!(__tracepoint_cenalloc_map) {
        with_user(user, |user, name| {
            let tables = user.data.attached.as_ref().map(|attached| &attached.tables);
            let segments = match (tables, mapped) {
                (Some(tables), Ok(table)) => tables.segments(table),
                _ => 0,
            };
            let direction = direction.into();
            // SAFETY: The name outlives the call.
            unsafe {
                c::rust_do_trace_cenalloc_map(id, name, direction, segments, status(&mapped))
            };
        });
    }
}

/// `user` unmapped the buffer.
pub(crate) fn unmap(id: u64, user: Option<&User<Client>>) {
    if enabled!(__tracepoint_cenalloc_unmap) {
        with_user(user, |_, name| {
            // SAFETY: The name outlives the call.
            unsafe { c::rust_do_trace_cenalloc_unmap(id, name) };
        });
    }
}

/// The last reference to `buffer` is gone.
pub(crate) fn release(id: u64, len: u64) {
    if enabled!(__tracepoint_cenalloc_release) {
        // SAFETY: No requirements.
        unsafe { c::rust_do_trace_cenalloc_release(id, len) };
    }
}

/// Calls `trace` with a user and its name.
fn with_user(user: Option<&User<Client>>, trace: impl FnOnce(&User<Client>, &c::cenalloc_text)) {
    if let Some(user) = user {
        trace(user, &text(user.name().as_str()));
    }
}
