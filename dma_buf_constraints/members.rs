// SPDX-License-Identifier: GPL-2.0

//! Things that belong to a set, each at an address of its own, by which the set knows it again.

use crate::few::Few;
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ptr, //
};
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        UniqueArc, //
    }, //
};

/// A thing that can be in a set.
///
/// # Invariants
///
/// It is in at most one [`Members`]: only one that nobody else refers to is put into one.
pub struct Member<T> {
    /// Where it is in its set, if it is in one.
    place: Atomic<usize>,
    thing: UnsafeCell<T>,
}

// SAFETY: A shared reference to the member gives no access to the thing: that takes the set that it
// is in, or a reference that nobody else has, and both are shared only where the thing can be.
unsafe impl<T: Send> Sync for Member<T> {}

/// The thing is not pinned with the member.
impl<T> Unpin for Member<T> {}

impl<T> Member<T> {
    /// Makes a thing that is in no set yet. `ENOMEM`.
    pub(crate) fn new(thing: T, flags: Flags) -> Result<UniqueArc<Self>> {
        // Made where it stays: it can be large.
        Ok(UniqueArc::new_uninit(flags)?.write(Self {
            place: Atomic::new(0),
            thing: UnsafeCell::new(thing),
        }))
    }

    /// The thing of a member that nobody else has. Whoever calls this is shared only where the
    /// thing can be.
    pub(crate) fn unique(member: &Pin<UniqueArc<Self>>) -> &T {
        // SAFETY: It is in no set, and only this reference leads to it.
        unsafe { &*member.thing.get() }
    }

    /// The thing of a member that nobody else has.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.thing.get_mut()
    }
}

/// A set of things: shared between threads where they can be.
pub(crate) struct Members<T>(Few<Arc<Member<T>>>, PhantomData<T>);

impl<T> Members<T> {
    /// Nothing yet.
    pub(crate) const fn new() -> Self {
        Self(Few::new(), PhantomData)
    }

    /// How many things there are.
    pub(crate) fn len(&self) -> usize {
        self.0.as_slice().len()
    }

    /// Makes room for one more thing. `ENOMEM`.
    pub(crate) fn reserve(&mut self) -> Result {
        self.0.reserve()
    }

    /// Puts in a thing, for which there is room.
    pub(crate) fn push(&mut self, member: Pin<UniqueArc<Member<T>>>) -> Arc<Member<T>> {
        // INVARIANT: It is unique, and so in no other set.
        let member = Arc::from(member);
        member.place.store(self.len(), Relaxed);
        let pushed = self.0.push(member.clone());
        debug_assert!(pushed.is_ok());
        member
    }

    /// Takes out a thing, if it is in this set; the last one takes its place.
    pub(crate) fn remove(&mut self, member: &Member<T>) {
        if let Some(place) = self.place(member) {
            self.remove_at(place);
        }
    }

    /// Takes out the thing in a place; the last one takes its place.
    pub(crate) fn remove_at(&mut self, place: usize) {
        drop(self.0.swap_remove(place));
        if let Some(moved) = self.0.as_slice().get(place) {
            moved.place.store(place, Relaxed);
        }
    }

    /// The thing in a place below [`len`](Self::len).
    pub(crate) fn at(&self, place: usize) -> Option<&T> {
        let member = self.0.as_slice().get(place)?;
        // SAFETY: It is in this set, and, by the invariants of `Member`, in no other. This one is
        // borrowed, so that nobody has an exclusive reference to the thing.
        Some(unsafe { &*member.thing.get() })
    }

    /// The thing in a place below [`len`](Self::len).
    pub(crate) fn at_mut(&mut self, place: usize) -> Option<&mut T> {
        let member = self.0.as_slice().get(place)?;
        // SAFETY: As in `at`; this set is borrowed exclusively, and with it all that is in it.
        Some(unsafe { &mut *member.thing.get() })
    }

    /// The place of a member, if it is in this set.
    fn place(&self, member: &Member<T>) -> Option<usize> {
        let place = member.place.load(Relaxed);
        let found = self.0.as_slice().get(place)?;
        ptr::eq(&**found, member).then_some(place)
    }

    /// The thing, if it is in this set.
    pub(crate) fn get(&self, member: &Member<T>) -> Option<&T> {
        self.at(self.place(member)?)
    }

    /// The thing, if it is in this set.
    pub(crate) fn get_mut(&mut self, member: &Member<T>) -> Option<&mut T> {
        self.at_mut(self.place(member)?)
    }

    /// The members, in no order.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Arc<Member<T>>> {
        self.0.as_slice().iter()
    }

    /// The things, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.len()).filter_map(|place| self.at(place))
    }

    /// The things, in no order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let members = self.0.as_slice().iter();
        // SAFETY: As in `at_mut`; each thing is in the set once.
        members.map(|member| unsafe { &mut *member.thing.get() })
    }
}
