// SPDX-License-Identifier: GPL-2.0

//! The lists that keep users and mappings.

use crate::{
    few::Few,
    slots::Slots, //
};
use kernel::prelude::*;

/// Puts `thing` into the lowest place that is free.
fn put(slots: &mut Slots<u32>, thing: u32) -> Result<usize> {
    let room = slots.reserve(GFP_KERNEL)?;
    Ok(slots.insert(room, thing))
}

#[kunit_tests(dma_buf_constraints_lists)]
mod cases {
    use super::*;

    #[test]
    fn things_keep_their_places() -> Result {
        let mut slots = Slots::new();
        assert!(slots.is_empty());
        // More than have a place without an allocation.
        for thing in 0..20 {
            assert_eq!(put(&mut slots, thing)?, thing as usize);
        }
        slots.remove(3);
        slots.remove(11);
        assert_eq!(slots.len(), 18);
        assert_eq!(slots.get(3), None);
        for (place, thing) in [(0, 0), (4, 4), (10, 10), (12, 12), (19, 19)] {
            assert_eq!(slots.get(place), Some(&thing));
        }
        assert_eq!(slots.position(|thing| *thing > 10), Some(12));
        assert_eq!(slots.iter().sum::<u32>(), (0..20).sum::<u32>() - 3 - 11);
        Ok(())
    }

    #[test]
    fn lowest_free_place_is_taken() -> Result {
        let mut slots = Slots::new();
        for thing in 0..6 {
            put(&mut slots, thing)?;
        }
        for place in [5, 1, 2] {
            slots.remove(place);
        }
        // What is not there does not go twice.
        slots.remove(2);
        slots.remove(100);
        assert_eq!(slots.len(), 3);
        for (thing, place) in [(10, 1), (11, 2), (12, 5), (13, 6)] {
            assert_eq!(put(&mut slots, thing)?, place);
            assert_eq!(slots.get(place), Some(&thing));
        }
        Ok(())
    }

    #[test]
    fn room_alone_is_no_thing() -> Result {
        let mut slots = Slots::<u32>::new();
        for _ in 0..3 {
            drop(slots.reserve(GFP_KERNEL)?);
        }
        assert!(slots.is_empty());
        assert_eq!(put(&mut slots, 7)?, 0);
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
