// SPDX-License-Identifier: GPL-2.0

//! The lists that keep users and mappings.

use crate::{
    few::Few,
    members::{
        Member,
        Members, //
    },
};
use core::cell::Cell;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Puts in a thing.
fn put(members: &mut Members<u32>, thing: u32) -> Result<Arc<Member<u32>>> {
    members.reserve()?;
    Ok(members.push(Member::new(thing, GFP_KERNEL)?.into()))
}

/// The things in the order of their places.
fn things(members: &Members<u32>) -> Result<KVec<u32>> {
    let mut things = KVec::new();
    for place in 0..members.len() {
        things.push(*members.at(place).ok_or(EINVAL)?, GFP_KERNEL)?;
    }
    Ok(things)
}

#[kunit_tests(dma_buf_constraints_lists)]
mod cases {
    use super::*;

    /// Places change where one goes; addresses do not, and each is found by its own.
    #[test]
    fn members_are_found_by_address() -> Result {
        let mut set = Members::new();
        let mut all = KVec::new();
        // More than have a place without an allocation.
        for thing in 0..20 {
            all.push(put(&mut set, thing)?, GFP_KERNEL)?;
        }
        for gone in [3, 19, 11, 0] {
            set.remove(&all[gone]);
        }
        // The last takes the place of one that went.
        assert_eq!(
            things(&set)?[..],
            [16, 1, 2, 18, 4, 5, 6, 7, 8, 9, 10, 17, 12, 13, 14, 15]
        );
        for (thing, member) in (0..).zip(&all) {
            let is_there = ![3, 19, 11, 0].contains(&thing);
            assert_eq!(set.get(member).copied(), is_there.then_some(thing));
        }
        for thing in set.iter_mut() {
            *thing += 100;
        }
        *set.get_mut(&all[7]).ok_or(EINVAL)? += 100;
        assert_eq!(set.get(&all[7]), Some(&207));
        assert_eq!(set.get(&all[18]), Some(&118));
        Ok(())
    }

    #[test]
    fn one_that_went_or_is_elsewhere_is_not_there() -> Result {
        let (mut ours, mut theirs) = (Members::new(), Members::new());
        let our = [put(&mut ours, 1)?, put(&mut ours, 2)?];
        let their = [put(&mut theirs, 3)?, put(&mut theirs, 4)?];
        for member in &their {
            assert_eq!(ours.get(member), None);
            assert_eq!(ours.get_mut(member), None);
            ours.remove(member);
        }
        assert_eq!(things(&ours)?[..], [1, 2]);

        ours.remove(&our[0]);
        assert_eq!(ours.get(&our[0]), None);
        // Its place has been taken; it does not go twice, nor does what is there now.
        ours.remove(&our[0]);
        assert_eq!(things(&ours)?[..], [2]);
        ours.remove(&our[1]);
        assert_eq!(ours.len(), 0);
        assert_eq!(ours.at(0), None);
        assert_eq!(things(&theirs)?[..], [3, 4]);
        Ok(())
    }

    /// A thing lives as long as the set or anybody else has it.
    #[test]
    fn members_outlive_their_set() -> Result {
        struct Living<'a>(&'a Cell<bool>);

        impl Drop for Living<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }

        let (left, kept) = (Cell::new(true), Cell::new(true));
        let mut set = Members::new();
        for is_living in [&left, &kept] {
            set.reserve()?;
            set.push(Member::new(Living(is_living), GFP_KERNEL)?.into());
        }
        let member = set.members().last().cloned().ok_or(EINVAL)?;
        drop(set);
        assert!(!left.get() && kept.get());
        drop(member);
        assert!(!kept.get());
        Ok(())
    }

    #[test]
    fn room_alone_is_no_thing() -> Result {
        let mut set = Members::<u32>::new();
        for _ in 0..3 {
            set.reserve()?;
        }
        assert_eq!(set.len(), 0);
        let member = put(&mut set, 7)?;
        assert_eq!(set.get(&member), Some(&7));
        Ok(())
    }

    #[test]
    fn few_grows_and_shrinks() -> Result {
        let mut few = Few::new();
        for element in 0..100 {
            few.push(element)?;
            assert_eq!(few.last_mut().copied(), Some(element));
        }
        for element in (0..100).step_by(2) {
            assert_eq!(few.take(|other| *other == element), Some(element));
        }
        assert_eq!(few.take(|other| *other == 50), None);
        assert_eq!(few.as_slice().len(), 50);
        assert_eq!(few.as_slice().iter().sum::<u32>(), 50 * 50);
        Ok(())
    }
}
