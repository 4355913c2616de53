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
    client::{
        self,
        Client, //
    },
    held::Held,
    ioctl::Array,
    uapi, //
};
use dma_buf_constraints::{
    attach::{
        Refused,
        User, //
    },
    device,
    dma_buf::Guard,
    few::make_room,
    model::{
        Cause,
        Constraints,
        Name,
        Refusal,
        Strength, //
    },
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

/// How many users are described without memory for that: nearly all buffers have so many.
const FEW: usize = 2;

const EMPTY: c::cenalloc_user = pin_init::zeroed();

impl Buffer {
    /// Describes this buffer in `query`, which is zero, and its users in `array`, as many as that
    /// has room for. `ENOMEM`; `EFAULT`; `ERESTARTSYS` where a signal comes first.
    pub(crate) fn query(&self, query: &mut c::cenalloc_query, array: &mut Array) -> Result {
        let mut few = [const { EMPTY }; FEW];
        let mut many = KVVec::new();
        let guard = self.lock_interruptible()?;
        self.describe(&guard, query);
        let count = guard.users.len().min(array.room() as usize);
        let users = if count <= FEW {
            &mut few[..count]
        } else {
            make_room(&mut many, count)?;
            many.extend_with(count, EMPTY, GFP_KERNEL_ACCOUNT)?;
            &mut many[..]
        };
        for (entry, user) in users.iter_mut().zip(guard.users.iter()) {
            describe_user(&guard, user, entry);
        }
        // Pages of userspace cannot be waited for with the lock held.
        drop(guard);
        array.write(users)
    }

    fn describe(&self, guard: &Guard<'_, State>, query: &mut c::cenalloc_query) {
        let held = Held::of(guard);
        query.user_count = guard.users.len() as u32;
        query.id = self.id;
        query.len = self.len;
        query.combined = guard.users.combined().into();
        query.relocations = guard.relocations;
        query.late_refusals = guard.late_refusals;
        query.holds = held.kinds;
        query.holders = held.count;
        query.kernel_maps = guard.kernel_mappings();
        query.waiting = guard.waiting();
        query.refusals = guard.refusals;
        query.inode = guard.inode();
        query.name = guard.name().padded();
        if let Life::Backed(backing) = &guard.life {
            query.state = c::CENALLOC_STATE_BACKED;
            query.caching = c::CENALLOC_CACHING_CACHED;
            query.allocator = backing.allocator().name().padded();
            query.ranges = backing.ranges().len() as u32;
        }
        if let Some(left) = &guard.left {
            query.left = left.0.padded();
            query.left_segments = left.1;
        }
        if let Some(refusal) = guard.refusal.first() {
            uapi::tell(refusal, &mut query.refusal);
        }
    }
}

/// Describes a user in `entry`, which is zero.
fn describe_user(state: &State, user: &User<Client>, entry: &mut c::cenalloc_user) {
    let users = &state.users;
    let client = &user.data;
    let (prefers, origin) = client::preferred(user);
    let unmet = state.does_not_meet(prefers);
    let contiguous = c::CENALLOC_PREFERS_CONTIGUOUS;
    let dynamic = client
        .attached
        .as_ref()
        .is_some_and(|attached| attached.follows_moves);
    let flags = [
        (client.declared.is_some(), c::CENALLOC_USER_DECLARED),
        (client.attached.is_some(), c::CENALLOC_USER_ATTACHED),
        (client.is_mapped(), c::CENALLOC_USER_MAPPED),
        (client.holder().is_some(), c::CENALLOC_USER_PINNED),
        (dynamic, c::CENALLOC_USER_DYNAMIC),
        (users.has_second(user), c::CENALLOC_USER_SECOND),
    ];
    entry.name = user.name().padded();
    entry.constraints = users.constraints_of(user).into();
    entry.flags = uapi::flags(&flags);
    entry.late_refusals = client.late_refusals;
    entry.preferences = uapi::flags(&[(prefers.is_some(), contiguous)]);
    entry.unmet = uapi::flags(&[(unmet, contiguous)]);
    entry.sources[c::CENALLOC_FIELD_CONTIGUOUS as usize] = origin.source as u8;
    entry.origin = origin.module.padded();
}

/// Fills in what would provide `len` bytes for users that need `constraints` together. Takes no
/// memory: what is free now may be gone, or not suit, when a buffer asks for it.
pub(crate) fn test(test: &mut c::cenalloc_test, len: u64, constraints: &Constraints) -> Result {
    let needs = device::needs_without_device(constraints);
    let constraints = needs.own();
    let need = Need {
        len,
        placement: constraints.placement,
        killable: true,
        preference: Strength::None,
    };
    let never = match constraints.impossible(len, PAGE_SIZE as u64) {
        Some(misfit) => Some(Refusal {
            field: Some(misfit.field),
            wanted: misfit.wanted,
            found: misfit.found,
            len,
            max_address: need.placement.max_address,
            ..Refusal::new(Cause::Itself)
        }),
        None => allocator::any_could(&need, &Devices::NONE)
            .err()
            .map(|unserved| unserved.refusal(&need)),
    };
    let (result, name, refusal) = match never {
        Some(refusal) => (c::CENALLOC_TEST_NEVER, None, Some(refusal)),
        None => match allocator::would_provide(&need) {
            Ok(name) => (c::CENALLOC_TEST_OK, Some(name), None),
            Err(none) => match none.refusal(&need) {
                Refused::Because(refusal) => (c::CENALLOC_TEST_NO_MEMORY, None, Some(refusal)),
                Refused::Failed(error) => return Err(error),
            },
        },
    };
    test.result = result;
    test.allocator = name.unwrap_or(Name::EMPTY).padded();
    test.refusal = Zeroable::zeroed();
    if let Some(refusal) = &refusal {
        uapi::tell(refusal, &mut test.refusal);
    }
    Ok(())
}
