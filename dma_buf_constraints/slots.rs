// SPDX-License-Identifier: GPL-2.0

//! Things that keep their place among others, by a number.

use core::mem::MaybeUninit;
use kernel::{
    alloc::Flags,
    prelude::*, //
};

/// How many places there are before more are allocated.
const IN_PLACE: usize = 4;

/// Things by the number of their place. Each is allocated for itself, so that none is ever copied.
pub(crate) struct Slots<T> {
    few: [Option<KBox<T>>; IN_PLACE],
    more: KVVec<Option<KBox<T>>>,
    /// How many places are taken.
    count: usize,
    /// No place below this one is free.
    lowest_free: usize,
    /// What the last that went left.
    spare: Option<Room<T>>,
}

/// Room for one more thing.
pub(crate) struct Room<T>(KBox<MaybeUninit<T>>);

impl<T> Slots<T> {
    /// Nothing yet.
    pub(crate) const fn new() -> Self {
        Self {
            few: [const { None }; IN_PLACE],
            more: KVVec::new(),
            count: 0,
            lowest_free: 0,
            spare: None,
        }
    }

    /// How many things there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many places there are.
    pub(crate) fn places(&self) -> usize {
        IN_PLACE + self.more.len()
    }

    /// The things, by their places.
    pub(crate) fn iter(&self) -> Iter<'_, T> {
        Iter {
            slots: self,
            place: 0,
            left: self.count,
        }
    }

    /// The things, by their places.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let all = Iterator::chain(self.few.iter_mut(), self.more.iter_mut());
        all.flatten().map(|thing| &mut **thing)
    }

    /// The place of the first thing for which `is_it` holds.
    pub(crate) fn position(&self, mut is_it: impl FnMut(&T) -> bool) -> Option<usize> {
        let mut things = self.iter();
        things.find(|thing| is_it(thing))?;
        Some(things.place - 1)
    }

    /// The thing in a place.
    pub(crate) fn get(&self, place: usize) -> Option<&T> {
        let slot = match place.checked_sub(IN_PLACE) {
            None => self.few.get(place),
            Some(place) => self.more.get(place),
        };
        slot?.as_deref()
    }

    fn slot(&mut self, place: usize) -> Option<&mut Option<KBox<T>>> {
        match place.checked_sub(IN_PLACE) {
            None => self.few.get_mut(place),
            Some(place) => self.more.get_mut(place),
        }
    }

    /// The thing in a place.
    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.slot(place)?.as_deref_mut()
    }

    /// Makes room for one more thing, allocated by `flags` where there is none. `ENOMEM`.
    pub(crate) fn reserve(&mut self, flags: Flags) -> Result<Room<T>> {
        if self.count == self.places() {
            self.more.push(None, flags)?;
        }
        match self.spare.take() {
            Some(room) => Ok(room),
            None => Ok(Room(KBox::new_uninit(flags)?)),
        }
    }

    /// Puts a thing into the lowest place that is free. `room` is from this set, since when
    /// nothing else was put in.
    pub(crate) fn insert(&mut self, room: Room<T>, thing: impl Init<T>) -> usize {
        let Ok(thing) = room.0.write_init(thing);
        let is_free = |place: &usize| self.get(*place).is_none();
        // There is a place: that is what the room is for.
        let place = (self.lowest_free..self.places()).find(is_free).unwrap_or(0);
        if let Some(slot) = self.slot(place) {
            *slot = Some(thing);
        }
        self.count += 1;
        self.lowest_free = place + 1;
        place
    }

    /// Drops the thing in a place. Its room is kept for the next: who attaches and detaches for
    /// each frame need not allocate.
    pub(crate) fn remove(&mut self, place: usize) {
        let Some(thing) = self.slot(place).and_then(Option::take) else {
            return;
        };
        self.count -= 1;
        self.lowest_free = self.lowest_free.min(place);
        self.spare = Some(Room(KBox::drop_contents(thing)));
    }
}

/// Iterates over things by their places.
pub(crate) struct Iter<'a, T> {
    slots: &'a Slots<T>,
    /// The next place to look at.
    place: usize,
    /// How many things are left.
    left: usize,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        while self.left > 0 {
            let thing = self.slots.get(self.place);
            self.place += 1;
            if thing.is_some() {
                self.left -= 1;
                return thing;
            }
        }
        None
    }
}
