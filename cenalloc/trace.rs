// SPDX-License-Identifier: GPL-2.0

//! The tracepoints of buffers.
//!
//! A disabled event costs a call that tests a static key. Names and texts are put together only for
//! an enabled one.

use crate::{
    allocator::NoMemory,
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
    model::Refusal, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::Arc, //
};

/// Tests in place whether an event is enabled, by its static key.
#[cfg(CONFIG_TRACEPOINTS)]
macro_rules! has_listeners {
    ($event:ident) => {
        // SAFETY: The tracepoint is a static of this module, whose key only the kernel patches.
        kernel::macros::paste!(unsafe {
            kernel::jump_label::static_branch_unlikely!(
                c::[<__tracepoint_cenalloc_ $event>],
                kernel::bindings::tracepoint,
                key
            )
        })
    };
}

/// No event is enabled in a kernel without tracepoints.
#[cfg(not(CONFIG_TRACEPOINTS))]
macro_rules! has_listeners {
    ($event:ident) => {
        false
    };
}

/// Records an event, if it is enabled.
macro_rules! event {
    ($event:ident($($value:expr),* $(,)?)) => {
        event!($event => { event!(now $event($($value),*)) })
    };
    ($event:ident => $tell:block) => {
        if has_listeners!($event) $tell
    };
    (now $event:ident($($value:expr),* $(,)?)) => {{
        #[cfg(CONFIG_TRACEPOINTS)]
        // SAFETY: The arguments are numbers, and references to local variables that outlive the
        // call.
        kernel::macros::paste!(unsafe { c::[<rust_do_trace_cenalloc_ $event>]($($value),*) });
        #[cfg(not(CONFIG_TRACEPOINTS))]
        let _ = ($(&$value,)*);
    }};
}

/// Returns a text for C, which is valid as long as `text`.
fn text(text: &str) -> c::cenalloc_text {
    c::cenalloc_text {
        start: text.as_ptr().cast(),
        len: text.len(),
    }
}

/// Returns the errno of a result; 0 for none.
fn status<T>(result: &Result<T>) -> c_int {
    result.as_ref().err().map_or(0, |error| error.to_errno())
}

/// Traces that a buffer was created, with segments aligned to `alignment` bytes.
pub(crate) fn create(id: u64, name: &str, len: u64, alignment: u64) {
    event!(create(id, len, alignment, &text(name)));
}

/// Traces that `user` has attached.
pub(crate) fn attach(id: u64, user: Option<&User<Client>>) {
    event!(attach => {
        with_user(user, |user, name| {
            let needs: c::cenalloc_constraints = user.needs().own().into();
            event!(now attach(id, name, &needs, user.data.declared.is_some()));
        });
    });
}

/// Traces that `user` was declared.
pub(crate) fn declare(id: u64, user: Option<&User<Client>>) {
    event!(declare => {
        with_user(user, |user, name| {
            let needs: c::cenalloc_constraints = user.needs().own().into();
            event!(now declare(id, name, &needs, true));
        });
    });
}

/// Traces that `user` is about to detach.
pub(crate) fn detach(id: u64, user: Option<&User<Client>>) {
    event!(detach => { with_user(user, |_, name| event!(now detach(id, name))) });
}

/// Traces a refusal.
pub(crate) fn refuse(id: u64, refusal: &Refusal) {
    event!(refuse => {
        let error = -refusal.cause.errno();
        let mut raw = c::cenalloc_refusal::zeroed();
        uapi::tell_all(refusal, &mut raw);
        event!(now refuse(id, &raw, error));
    });
}

/// Traces that a late refusal was counted for `user`, which had the memory pinned.
pub(crate) fn late_refusal(id: u64, user: &User<Client>) {
    event!(late(
        id,
        &text(user.name().as_str()),
        user.data.late_refusals
    ));
}

/// Traces that an allocator provided memory for a buffer, or none could.
pub(crate) fn allocate(id: u64, len: u64, provided: &Result<Arc<Backing>, NoMemory>) {
    event!(allocate => {
        let (allocator, ranges, error) = match provided {
            Ok(backing) => (backing.allocator().name().as_str(), backing.ranges().len(), 0),
            Err(none) => ("", 0, none.error().to_errno()),
        };
        event!(now allocate(id, &text(allocator), len, ranges, error));
    });
}

/// Traces that the memory of a buffer was relocated.
pub(crate) fn relocate(id: u64, len: u64, from: &Backing, to: &Backing) {
    event!(relocate(
        id,
        &text(from.allocator().name().as_str()),
        &text(to.allocator().name().as_str()),
        len,
    ));
}

/// Traces that `user` mapped the buffer, or failed to. The direction is none where it failed before
/// it mapped.
pub(crate) fn map(
    id: u64,
    user: Option<&User<Client>>,
    direction: DataDirection,
    mapped: Result<TableRef>,
) {
    event!(map => {
        with_user(user, |user, name| {
            let tables = user.data.attached.as_ref().map(|attached| &attached.tables);
            let segments = match (tables, mapped) {
                (Some(tables), Ok(table)) => tables.segments(table),
                _ => 0,
            };
            let direction: bindings::dma_data_direction = direction.into();
            event!(now map(id, name, direction, segments, status(&mapped)));
        });
    });
}

/// Traces that `user` unmapped the buffer.
pub(crate) fn unmap(id: u64, user: Option<&User<Client>>) {
    event!(unmap => { with_user(user, |_, name| event!(now unmap(id, name))) });
}

/// Traces that the last reference to a buffer is gone.
pub(crate) fn release(id: u64, len: u64) {
    event!(release(id, len));
}

/// Calls `trace` with a user and its name.
fn with_user(user: Option<&User<Client>>, trace: impl FnOnce(&User<Client>, &c::cenalloc_text)) {
    if let Some(user) = user {
        trace(user, &text(user.name().as_str()));
    }
}
