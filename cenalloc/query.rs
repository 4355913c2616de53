// SPDX-License-Identifier: GPL-2.0

//! What userspace is told of a buffer, and what would provide memory for one that does not exist
//! yet.

use crate::{
    allocator::{
        self,
        Devices,
        Need, //
    },
    buffer::{
        Buffer,
        Life,
        State, //
    },
    c,
    client::Client,
    describe,
    uapi, //
};
use dma_buf_constraints::{
    attach::{
        User,
        Users, //
    },
    device,
    few::make_room,
    model::{
        Conflict,
        Constraints,
        Field, //
    },
};
use kernel::{
    fmt::{
        self,
        Write, //
    },
    page::PAGE_SIZE,
    prelude::*, //
};

/// The result of a query: copied while the lock was held, to be written to userspace without it.
pub(crate) struct Found {
    /// The fixed part, in which the fields of the caller are still missing.
    pub(crate) query: c::cenalloc_query,
    pub(crate) users: KVVec<c::cenalloc_user>,
    pub(crate) text: KVVec<u8>,
}

impl Buffer {
    /// Describes this buffer, at most `most_users` of its users and, if `with_text`, the line of
    /// text, which takes time to format. `ENOMEM`.
    ///
    /// Addresses of the memory are for callers with `CAP_SYS_ADMIN` only, as in the page map of a
    /// process.
    pub(crate) fn query(&self, most_users: u32, with_text: bool) -> Result<Found> {
        let state = self.lock_interruptible()?;
        let mut users = KVVec::new();
        make_room(&mut users, state.users.len().min(most_users as usize))?;
        for user in state.users.iter().take(most_users as usize) {
            users.push(describe_user(&state.users, user), GFP_KERNEL_ACCOUNT)?;
        }
        let conflict = state.conflict.as_deref().map(|conflict| {
            if may_see_addresses() {
                *conflict
            } else {
                conflict.without_address()
            }
        });
        let mut text = Text(KVVec::new());
        if with_text {
            describe::write_buffer(&mut text, self, &state, conflict.as_ref())
                .map_err(|_| ENOMEM)?;
        }
        Ok(Found {
            query: self.describe(&state, conflict.as_ref()),
            users,
            text: text.0,
        })
    }

    fn describe(&self, state: &State, conflict: Option<&Conflict>) -> c::cenalloc_query {
        let mut query = c::cenalloc_query {
            user_count: state.users.len() as u32,
            id: self.id,
            len: self.len,
            meet: uapi::constraints(state.users.combined()),
            early: state.late_refusals,
            relocations: state.relocations,
            ..Zeroable::zeroed()
        };
        if let Life::Backed(backing) = &state.life {
            query.state = c::CENALLOC_STATE_BACKED;
            query.allocator = uapi::name(backing.allocator().name().as_str());
        }
        if let Some(conflict) = conflict {
            describe_conflict(&mut query, conflict);
        }
        query
    }
}

fn describe_user(users: &Users<Client>, user: &User<Client>) -> c::cenalloc_user {
    let client = &user.data;
    let dynamic = client
        .attached
        .as_ref()
        .is_some_and(|attached| attached.follows_moves);
    let flags = [
        (client.declared.is_some(), c::CENALLOC_USER_DECLARED),
        (client.attached.is_some(), c::CENALLOC_USER_ATTACHED),
        (client.is_mapped(), c::CENALLOC_USER_MAPPED),
        (dynamic, c::CENALLOC_USER_DYNAMIC),
        (users.has_second(user), c::CENALLOC_USER_SECOND),
    ];
    c::cenalloc_user {
        name: uapi::name(user.name().as_str()),
        constraints: uapi::constraints(users.constraints_of(user)),
        flags: flags
            .iter()
            .filter(|(is_set, _)| *is_set)
            .fold(0, |flags, (_, flag)| flags | flag),
        early: client.late_refusals,
    }
}

fn describe_conflict(query: &mut c::cenalloc_query, conflict: &Conflict) {
    let (with, other) = uapi::party(&conflict.with);
    query.conflict_with = with;
    query.conflict_field = conflict.misfit.field as u32;
    query.conflict_wanted = conflict.misfit.wanted;
    query.conflict_found = conflict.misfit.found;
    query.conflict_who = uapi::name(conflict.who.as_str());
    query.conflict_other = uapi::name(other);
}

/// Text that grows, and whose writes fail without memory.
struct Text(KVVec<u8>);

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        make_room(&mut self.0, text.len()).map_err(|_| fmt::Error)?;
        self.0
            .extend_from_slice(text.as_bytes(), GFP_KERNEL_ACCOUNT)
            .map_err(|_| fmt::Error)
    }
}

/// Returns whether the caller may learn where memory lies, as from the page map of a process.
fn may_see_addresses() -> bool {
    // SAFETY: No requirements.
    unsafe { kernel::bindings::capable_noaudit(kernel::bindings::CAP_SYS_ADMIN as i32) }
}

/// Fills in what would provide `len` bytes for users that need `constraints` together. Takes no
/// memory: what is free now may be gone, or not suit, when a buffer asks for it.
pub(crate) fn test(test: &mut c::cenalloc_test, len: u64, constraints: &Constraints) -> Result {
    let page = PAGE_SIZE as u64;
    let needs = device::needs_without_device(constraints);
    let constraints = needs.own();
    let need = Need {
        len,
        placement: constraints.placement,
        killable: true,
    };
    test.result = c::CENALLOC_TEST_OK;
    test.allocator = uapi::name("");
    (test.field, test.reserved) = (0, 0);
    (test.wanted, test.found) = (0, 0);
    let never = match constraints.impossible(len, page) {
        Some(misfit) => Some((None, misfit)),
        None => allocator::any_could(&need, &Devices::NONE)
            .err()
            .map(|unserved| (Some(unserved.allocator), unserved.misfit)),
    };
    if let Some((name, misfit)) = never {
        test.result = c::CENALLOC_TEST_NEVER;
        test.allocator = uapi::name(name.as_ref().map_or("", |name| name.as_str()));
        test.field = misfit.field as u32;
        test.wanted = misfit.wanted;
        let is_address = name.is_some() && misfit.field == Field::MaxAddress;
        if !is_address || may_see_addresses() {
            test.found = misfit.found;
        }
        return Ok(());
    }
    match allocator::would_provide(&need) {
        Ok(name) => test.allocator = uapi::name(name.as_str()),
        Err(_) => test.result = c::CENALLOC_TEST_NO_MEMORY,
    }
    Ok(())
}
