// SPDX-License-Identifier: GPL-2.0

//! The users of one buffer: who joins, who is refused, and what is left when one leaves.
//!
//! That a proposal has the set to itself needs no test: a second one, or a user that leaves before
//! it is committed, does not compile.

use super::device::TestDevice;
use crate::{
    attach::{
        Identity,
        Newcomer,
        Refused,
        UserRef,
        Users,
        MAX_USERS, //
    },
    bound::Kept,
    device,
    model::{
        Cause,
        Constraints,
        Facts,
        Field,
        Name,
        Needs,
        Refusal, //
    }, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    str::CString,
    sync::Arc, //
};

/// The length of the buffer.
const LEN: u64 = 16 * PAGE_SIZE as u64;

/// A user that is no device.
struct Somebody(Name);

impl Identity for Somebody {
    fn name(&self) -> Name {
        self.0
    }
}

/// A user that is a device.
struct Something(Kept);

impl Identity for Something {
    fn name(&self) -> Name {
        let device = self.0.device();
        device.map_or_else(|| Name::new(b"gone"), |device| device::name(&device))
    }
}

/// What a user needs of which this is said.
fn needs(change: impl FnOnce(&mut Constraints)) -> Needs {
    let mut constraints = Constraints::ANY;
    change(&mut constraints);
    Needs::new(&Facts::NONE, &constraints, None)
}

fn below(max_address: u64) -> Needs {
    needs(|constraints| constraints.placement.max_address = max_address)
}

fn classes(access_mask: u64) -> Needs {
    needs(|constraints| constraints.placement.access_mask = access_mask)
}

/// Whatever is needed can be had.
fn always<T>(_: &Users<T>, _: &Constraints) -> bool {
    true
}

/// Somebody who needs `needs`.
fn newcomer(needs: &Needs, name: &str) -> Result<Newcomer<Somebody>> {
    Newcomer::new(needs, Somebody(Name::new(name.as_bytes())), GFP_KERNEL)
}

/// Lets somebody join.
#[expect(clippy::result_large_err, reason = "as large as a refusal")]
fn join(
    users: &mut Users<Somebody>,
    needs: &Needs,
    name: &str,
) -> Result<UserRef<Somebody>, Refused> {
    Ok(users.propose(newcomer(needs, name)?)?.commit())
}

/// Lets `device` join, with what it needs now.
#[expect(clippy::result_large_err, reason = "as large as a refusal")]
fn attach(
    users: &mut Users<Something>,
    device: &TestDevice,
) -> Result<UserRef<Something>, Refused> {
    let needs = device::needs(device.bound()).ok_or(EIO)?;
    let user = Something(device.keep()?);
    let newcomer = Newcomer::new(&needs, user, GFP_KERNEL)?;
    Ok(users.propose(newcomer)?.commit())
}

/// Returns why somebody was refused, for whom nothing else went wrong.
fn refusal<T>(joined: Result<T, Refused>) -> Result<Refusal> {
    match joined {
        Ok(_) => Err(EEXIST),
        Err(Refused::Because(refusal)) => Ok(refusal),
        Err(Refused::Failed(error)) => Err(error),
    }
}

/// What all need together, and what each needs.
fn needed<T: Identity>(users: &Users<T>) -> Result<KVec<Constraints>> {
    let mut all = KVec::new();
    all.push(*users.combined(), GFP_KERNEL)?;
    for user in users.iter() {
        all.push(*users.constraints_of(user), GFP_KERNEL)?;
    }
    Ok(all)
}

#[kunit_tests(dma_buf_constraints_attach)]
mod cases {
    use super::*;

    #[test]
    fn users_narrow_and_those_who_leave_widen() -> Result {
        let mut users = Users::new(Constraints::ANY, LEN);
        assert_eq!(*users.combined(), Constraints::ANY);
        let wide = join(&mut users, &below(u64::from(u32::MAX)), "wide")?;
        let narrow = join(&mut users, &below((1 << 28) - 1), "narrow")?;
        let free = join(&mut users, &Needs::NONE, "free")?;
        assert_eq!(users.len(), 3);
        assert_eq!(users.combined().placement.max_address, (1 << 28) - 1);
        assert_eq!(users.binding(Field::MaxAddress), Name::new(b"narrow"));

        users.release(&narrow, always);
        assert!(users.get(&narrow).is_none());
        assert_eq!(users.combined().placement.max_address, u64::from(u32::MAX));
        users.release(&free, always);
        assert_eq!(users.combined().placement.max_address, u64::from(u32::MAX));
        users.release(&wide, always);
        assert!(users.is_empty());
        assert_eq!(*users.combined(), Constraints::ANY);
        Ok(())
    }

    #[test]
    fn refusal_names_the_opponent_and_changes_nothing() -> Result {
        let mut users = Users::new(Constraints::ANY, LEN);
        join(&mut users, &below(u64::from(u32::MAX)), "free")?;
        join(&mut users, &classes(0b01), "one")?;
        let before = needed(&users)?;

        let expected = Refusal {
            field: Some(Field::AccessMask),
            wanted: 0b10,
            found: 0b01,
            who: Name::new(b"two"),
            other: Name::new(b"one"),
            len: LEN,
            max_address: u64::from(u32::MAX),
            ..Refusal::new(Cause::User)
        };
        let refused = refusal(join(&mut users, &classes(0b10), "two"))?;
        assert_eq!(refused, expected);
        assert_eq!(needed(&users)?[..], before[..]);
        Ok(())
    }

    #[test]
    fn proposal_given_up_changes_nothing() -> Result {
        let mut users = Users::new(Constraints::ANY, LEN);
        join(&mut users, &classes(0b11), "one")?;
        let before = needed(&users)?;

        let proposal = users.propose(newcomer(&classes(0b10), "two")?)?;
        assert_eq!(proposal.outcome().combined().placement.access_mask, 0b10);
        assert_eq!(proposal.users().len(), 1);
        let two = proposal.give_up();
        assert_eq!(needed(&users)?[..], before[..]);

        // It may come again, when others have come meanwhile.
        let three = join(&mut users, &classes(0b01), "three")?;
        let proposed = users.propose(two).map(|_| ());
        assert_eq!(refusal(proposed)?.other, Name::new(b"three"));
        users.release(&three, always);
        let two = join(&mut users, &classes(0b10), "two")?;
        let found = users.get(&two).ok_or(EINVAL)?;
        assert_eq!(found.name(), Name::new(b"two"));
        assert_eq!(users.combined().placement.access_mask, 0b10);
        Ok(())
    }

    #[test]
    fn user_is_in_its_own_set_alone() -> Result {
        let mut ours = Users::new(Constraints::ANY, LEN);
        let mut theirs = Users::new(Constraints::ANY, LEN);
        join(&mut ours, &classes(0b01), "our first")?;
        let our = join(&mut ours, &classes(0b11), "ours")?;
        join(&mut theirs, &classes(0b10), "their first")?;
        let their = join(&mut theirs, &classes(0b10), "theirs")?;

        // Each has the same place in its set.
        let before = needed(&ours)?;
        assert!(ours.get(&their).is_none());
        assert!(ours.get_mut(&their).is_none());
        ours.release(&their, always);
        assert_eq!(needed(&ours)?[..], before[..]);
        assert!(ours
            .find(|user| user.name() == Name::new(b"theirs"))
            .is_none());
        assert!(theirs.get(&their).is_some());

        let found = ours.find(|user| user.name() == Name::new(b"ours"));
        assert!(found.is_some_and(|found| Arc::ptr_eq(&found, &our)));

        // What a set leaves behind is in none, and its users outlive it.
        drop(ours);
        assert!(theirs.get(&our).is_none());
        theirs.release(&our, always);
        assert_eq!(theirs.len(), 2);
        Ok(())
    }

    #[test]
    fn creator_is_a_party() -> Result {
        let mut base = Constraints::ANY;
        base.placement.access_mask = 0b01;
        base.placement.alignment = 2 * PAGE_SIZE as u64;
        let mut users = Users::new(base, LEN);
        let creator = Name::new(b"the creator of the buffer");
        join(&mut users, &Needs::NONE, "one")?;
        assert_eq!(users.binding(Field::Alignment), creator);
        let refused = refusal(join(&mut users, &classes(0b10), "two"))?;
        assert_eq!((refused.cause, refused.other), (Cause::User, creator));
        Ok(())
    }

    #[test]
    fn all_others_are_a_party() -> Result {
        let mut users = Users::new(Constraints::ANY, LEN);
        join(&mut users, &classes(0b011), "one")?;
        join(&mut users, &classes(0b110), "two")?;
        let refused = refusal(join(&mut users, &classes(0b101), "three"))?;
        let expected = Refusal {
            field: Some(Field::AccessMask),
            wanted: 0b101,
            found: 0b010,
            who: Name::new(b"three"),
            len: LEN,
            ..Refusal::new(Cause::Others)
        };
        assert_eq!(refused, expected);
        Ok(())
    }

    #[test]
    fn refusal_comes_with_the_error_of_its_cause() {
        for (cause, error) in [
            (Cause::User, EINVAL),
            (Cause::Held, EBUSY),
            (Cause::Shortage, ENOMEM),
            (Cause::Bounced, EIO),
            (Cause::NoDma, ENODEV),
        ] {
            let refused = Refused::Because(Refusal::new(cause));
            assert_eq!(refused.error(), error);
            assert_eq!(Error::from(refused), error);
        }
        assert_eq!(Refused::from(EINTR).error(), EINTR);
        assert!(matches!(Refused::from(EINTR), Refused::Failed(EINTR)));
    }

    #[test]
    fn need_that_no_memory_satisfies_is_its_own_fault() -> Result {
        let mut users = Users::new(Constraints::ANY, LEN);
        let expected = Refusal {
            field: Some(Field::MaxAddress),
            wanted: LEN - 2,
            found: LEN,
            who: Name::new(b"small"),
            len: LEN,
            max_address: LEN - 2,
            ..Refusal::new(Cause::Itself)
        };
        let refused = refusal(join(&mut users, &below(LEN - 2), "small"))?;
        assert_eq!(refused, expected);
        assert!(users.is_empty());
        join(&mut users, &below(LEN - 1), "just enough")?;
        Ok(())
    }

    #[test]
    fn there_are_only_so_many_users() -> Result {
        let mut users = Users::new(Constraints::ANY, LEN);
        for _ in 0..MAX_USERS {
            join(&mut users, &Needs::NONE, "one of many")?;
        }
        let refused = refusal(join(&mut users, &Needs::NONE, "one too many"))?;
        let expected = Refusal {
            who: Name::new(b"one too many"),
            len: LEN,
            ..Refusal::new(Cause::Users)
        };
        assert_eq!(refused, expected);
        // The words are made for programs, too, which do not know this number.
        let text = CString::try_from_fmt(fmt!("{refused}"))?;
        let most = CString::try_from_fmt(fmt!("at most {MAX_USERS};"))?;
        assert!(text.to_str()?.contains(most.to_str()?));
        assert_eq!(users.len(), MAX_USERS);

        let one = users.find(|_| true).ok_or(EINVAL)?;
        users.release(&one, always);
        join(&mut users, &Needs::NONE, "in its place")?;
        assert_eq!(users.len(), MAX_USERS);
        Ok(())
    }

    #[test]
    fn second_choices_count_until_they_need_not() -> Result {
        let parent = TestDevice::new(c"dbc_test_parent", None)?;
        let left = TestDevice::new(c"dbc_test_left", Some(&parent))?;
        let right = TestDevice::new(c"dbc_test_right", Some(&parent))?;
        let stranger = TestDevice::new(c"dbc_test_stranger", None)?;
        parent.declare_classes(0b100, 2)?;
        left.declare_classes(0b001, 1)?;
        right.declare_classes(0b010, 1)?;
        stranger.declare_classes(0b100, 0)?;

        let mut users = Users::new(Constraints::ANY, LEN);
        attach(&mut users, &left)?;
        assert_eq!(users.combined().placement.access_mask, 0b001);
        let second = attach(&mut users, &right)?;
        assert_eq!(users.combined().placement.access_mask, 0b100);
        assert!(users.iter().all(|user| users.has_second(user)));
        let third = attach(&mut users, &stranger)?;
        assert_eq!(users.combined().placement.access_mask, 0b100);
        users.release(&third, always);

        users.release(&second, |_, meet| {
            assert_eq!(meet.placement.access_mask, 0b001);
            false
        });
        assert_eq!(users.combined().placement.access_mask, 0b101);
        users.reconsider(always);
        assert_eq!(users.combined().placement.access_mask, 0b001);
        assert!(!users.iter().any(|user| users.has_second(user)));
        Ok(())
    }

    #[test]
    fn ancestor_of_no_higher_priority_is_no_second_choice() -> Result {
        let parent = TestDevice::new(c"dbc_test_equal_parent", None)?;
        let left = TestDevice::new(c"dbc_test_equal_left", Some(&parent))?;
        let right = TestDevice::new(c"dbc_test_equal_right", Some(&parent))?;
        parent.declare_classes(0b100, 1)?;
        left.declare_classes(0b001, 1)?;
        right.declare_classes(0b010, 1)?;

        let mut users = Users::new(Constraints::ANY, LEN);
        attach(&mut users, &left)?;
        let before = needed(&users)?;
        let refused = refusal(attach(&mut users, &right))?;
        assert_eq!(refused.cause, Cause::User);
        assert_eq!(refused.other, device::name(left.bound()));
        assert_eq!(needed(&users)?[..], before[..]);
        Ok(())
    }
}
