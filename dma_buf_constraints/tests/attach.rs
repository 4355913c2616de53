// SPDX-License-Identifier: GPL-2.0

//! The users of one buffer: who joins, who is refused, and what is left when one leaves.

use super::device::TestDevice;
use crate::{
    attach::{
        Identity,
        Slot,
        Users,
        MAX_USERS, //
    },
    device::{
        self,
        BoundDevice, //
    },
    model::{
        Conflict,
        Constraints,
        Facts,
        Field,
        Name,
        Needs,
        Party,
        Said, //
    }, //
};
use kernel::{
    device::Device,
    page::PAGE_SIZE,
    prelude::*, //
};

/// The length of the buffer.
const LEN: u64 = 16 * PAGE_SIZE as u64;

/// A user that is no device.
struct Somebody(&'static str);

impl Identity for Somebody {
    fn name(&self) -> Name {
        Name::new(self.0.as_bytes())
    }

    fn device(&self) -> Option<&Device> {
        None
    }
}

/// What a user needs of which this is said.
fn needs(change: impl FnOnce(&mut Constraints)) -> Needs {
    let mut constraints = Constraints::ANY;
    change(&mut constraints);
    Needs::new(
        Facts::NONE,
        Said {
            constraints,
            is_inherited: false,
        },
    )
}

fn below(max_address: u64) -> Needs {
    needs(|constraints| constraints.placement.max_address = max_address)
}

fn classes(access_mask: u64) -> Needs {
    needs(|constraints| constraints.placement.access_mask = access_mask)
}

/// Why somebody could not join.
struct Refusal {
    error: Error,
    conflict: Option<Conflict>,
}

impl From<Conflict> for Refusal {
    fn from(conflict: Conflict) -> Self {
        Self {
            error: EINVAL,
            conflict: Some(conflict),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self {
            error,
            conflict: None,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

/// Lets `who` join, which has `needs`.
#[expect(clippy::result_large_err, reason = "as large as a conflict")]
fn join<T: Identity>(users: &mut Users<T>, needs: &Needs, who: T) -> Result<Slot, Refusal> {
    let proposal = users.consider(needs, &who)?;
    let place = users.reserve(needs, &who, GFP_KERNEL)?;
    Ok(users.commit(place, &proposal, who))
}

/// Lets `device` join, with what it needs now.
#[expect(clippy::result_large_err, reason = "as large as a conflict")]
fn attach(users: &mut Users<BoundDevice>, device: &TestDevice) -> Result<Slot, Refusal> {
    let needs = device::needs(device.bound()).ok_or(EIO)?;
    join(users, &needs, device.user())
}

/// What all need together, and what each needs.
fn needed<T: Identity>(users: &Users<T>) -> Result<KVec<Constraints>> {
    let mut all = KVec::new();
    all.push(*users.meet(), GFP_KERNEL)?;
    for user in users.iter() {
        all.push(*user.constraints(), GFP_KERNEL)?;
    }
    Ok(all)
}

#[kunit_tests(dma_buf_constraints_attach)]
mod cases {
    use super::*;

    #[test]
    fn users_narrow_and_those_who_leave_widen() -> Result {
        let mut users = Users::new(Constraints::ANY, LEN);
        assert_eq!(*users.meet(), Constraints::ANY);
        let wide = join(&mut users, &below(u64::from(u32::MAX)), Somebody("wide"))?;
        let narrow = join(&mut users, &below((1 << 28) - 1), Somebody("narrow"))?;
        let free = join(&mut users, &Needs::NONE, Somebody("free"))?;
        assert_eq!(users.len(), 3);
        assert_eq!(users.meet().placement.max_address, (1 << 28) - 1);
        let binding = users.binding(Field::MaxAddress).ok_or(EINVAL)?;
        assert_eq!(binding.name(), Name::new(b"narrow"));

        users.release(narrow);
        assert!(users.get(narrow).is_none());
        assert_eq!(users.meet().placement.max_address, u64::from(u32::MAX));
        users.release(free);
        assert_eq!(users.meet().placement.max_address, u64::from(u32::MAX));
        users.release(wide);
        assert!(users.is_empty());
        assert_eq!(*users.meet(), Constraints::ANY);
        Ok(())
    }

    #[test]
    fn refusal_names_the_opponent_and_changes_nothing() -> Result {
        let mut users = Users::new(Constraints::ANY, LEN);
        join(&mut users, &below(u64::from(u32::MAX)), Somebody("free"))?;
        join(&mut users, &classes(0b01), Somebody("one"))?;
        let before = needed(&users)?;

        let refusal = join(&mut users, &classes(0b10), Somebody("two"));
        let conflict = refusal.err().and_then(|refusal| refusal.conflict);
        let conflict = conflict.ok_or(EINVAL)?;
        assert_eq!(conflict.who, Name::new(b"two"));
        assert_eq!(conflict.with, Party::Device(Name::new(b"one")));
        assert_eq!(conflict.misfit.field, Field::AccessMask);
        assert_eq!(conflict.misfit.wanted, 0b10);
        assert_eq!(conflict.misfit.found, 0b01);
        assert_eq!(needed(&users)?[..], before[..]);
        Ok(())
    }

    #[test]
    fn room_that_is_not_used_changes_nothing() -> Result {
        let mut users = Users::new(Constraints::ANY, LEN);
        join(&mut users, &classes(0b11), Somebody("one"))?;
        let before = needed(&users)?;

        let newcomer = classes(0b10);
        let two = Somebody("two");
        let proposal = users.consider(&newcomer, &two).map_err(|_| EINVAL)?;
        assert_eq!(proposal.meet().placement.access_mask, 0b10);
        drop(users.reserve(&newcomer, &two, GFP_KERNEL)?);
        assert_eq!(needed(&users)?[..], before[..]);
        Ok(())
    }

    #[test]
    fn need_that_no_memory_satisfies_is_its_own_fault() -> Result {
        let mut users = Users::new(Constraints::ANY, LEN);
        let refusal = join(&mut users, &below(LEN - 2), Somebody("small"));
        let conflict = refusal.err().and_then(|refusal| refusal.conflict);
        let conflict = conflict.ok_or(EINVAL)?;
        assert_eq!(conflict.with, Party::Itself);
        assert_eq!(conflict.misfit.field, Field::MaxAddress);
        assert!(users.is_empty());
        join(&mut users, &below(LEN - 1), Somebody("just enough"))?;
        Ok(())
    }

    #[test]
    fn there_are_only_so_many_users() -> Result {
        let mut users = Users::new(Constraints::ANY, LEN);
        for _ in 0..MAX_USERS {
            join(&mut users, &Needs::NONE, Somebody("one of many"))?;
        }
        let refusal = join(&mut users, &Needs::NONE, Somebody("one too many"));
        assert_eq!(refusal.err().map(|refusal| refusal.error), Some(ENOMEM));
        assert_eq!(users.len(), MAX_USERS);

        users.release(Slot::from_index(5));
        let slot = join(&mut users, &Needs::NONE, Somebody("in its place"))?;
        assert_eq!(slot.index(), 5);
        Ok(())
    }

    #[test]
    fn ancestor_unifies_its_children_until_one_leaves() -> Result {
        let parent = TestDevice::new(c"dbc_test_parent", None)?;
        let left = TestDevice::new(c"dbc_test_left", Some(&parent))?;
        let right = TestDevice::new(c"dbc_test_right", Some(&parent))?;
        parent.declare_classes(0b100, 2)?;
        left.declare_classes(0b001, 1)?;
        right.declare_classes(0b010, 1)?;

        let mut users = Users::new(Constraints::ANY, LEN);
        attach(&mut users, &left)?;
        assert_eq!(users.meet().placement.access_mask, 0b001);
        let second = attach(&mut users, &right)?;
        assert_eq!(users.meet().placement.access_mask, 0b100);
        assert!(users.iter().all(|user| user.needs().is_unified()));

        users.release(second);
        users.restore(|_, _| false);
        assert_eq!(users.meet().placement.access_mask, 0b100);
        users.restore(|_, _| true);
        assert_eq!(users.meet().placement.access_mask, 0b001);
        assert!(!users.iter().any(|user| user.needs().is_unified()));
        Ok(())
    }

    #[test]
    fn ancestor_of_no_higher_priority_unifies_nobody() -> Result {
        let parent = TestDevice::new(c"dbc_test_equal_parent", None)?;
        let left = TestDevice::new(c"dbc_test_equal_left", Some(&parent))?;
        let right = TestDevice::new(c"dbc_test_equal_right", Some(&parent))?;
        let stranger = TestDevice::new(c"dbc_test_stranger", None)?;
        parent.declare_classes(0b100, 1)?;
        left.declare_classes(0b001, 1)?;
        right.declare_classes(0b010, 1)?;
        stranger.declare_classes(0b010, 0)?;

        let mut users = Users::new(Constraints::ANY, LEN);
        attach(&mut users, &left)?;
        let before = needed(&users)?;
        for device in [&right, &stranger] {
            let refusal = attach(&mut users, device);
            let conflict = refusal.err().and_then(|refusal| refusal.conflict);
            let conflict = conflict.ok_or(EINVAL)?;
            let opponent = device::name(left.bound());
            assert_eq!(conflict.with, Party::Device(opponent));
            assert_eq!(needed(&users)?[..], before[..]);
        }
        Ok(())
    }
    /// A device that was removed still points to its parent, and no longer keeps it.
    #[test]
    fn removed_device_has_no_ancestors() -> Result {
        let parent = TestDevice::new(c"dbc_test_kept_parent", None)?;
        let child = TestDevice::new(c"dbc_test_removed", Some(&parent))?;
        let kept = device::reference(child.bound());
        let nearest = |device: &Device| device::all_ancestors(device).next().map(device::as_raw);
        assert_eq!(nearest(&kept), Some(device::as_raw(parent.bound())));
        drop(child);
        assert_eq!(nearest(&kept), None);
        Ok(())
    }
}
