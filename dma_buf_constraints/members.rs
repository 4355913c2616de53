// SPDX-License-Identifier: GPL-2.0

//! Things that belong to a set, each at an address of its own, by which the set recognises it.

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
/// It is in at most one [`Members`], whose `push` takes the only reference to it.
pub struct Member<T> {
    /// Where it is in its set, if it is in one.
    place: Atomic<usize>,
    thing: UnsafeCell<T>,
}

// SAFETY: A shared reference to the member gives no access to the thing: that takes the set that it
// is in, or the only reference to it, and both are shared only where the thing can be.
unsafe impl<T: Send> Sync for Member<T> {}

/// The thing is not pinned with the member.
impl<T> Unpin for Member<T> {}

impl<T> Member<T> {
    /// Creates a member that is in no set yet. `ENOMEM`.
    pub(crate) fn new(thing: T, flags: Flags) -> Result<UniqueArc<Self>> {
        // Initialised in place, since it can be large.
        Ok(UniqueArc::new_uninit(flags)?.write(Self {
            place: Atomic::new(0),
            thing: UnsafeCell::new(thing),
        }))
    }

    /// Returns the thing of a member to which there is no other reference. The caller's type is
    /// shared only where the thing can be.
    pub(crate) fn unique(member: &Pin<UniqueArc<Self>>) -> &T {
        // SAFETY: A `UniqueArc` is the only reference, so that the member is in no set.
        unsafe { &*member.thing.get() }
    }

    /// Returns the thing of a member to which there is no other reference.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.thing.get_mut()
    }
}

/// A set of things: shared between threads where they can be.
pub(crate) struct Members<T>(Few<Arc<Member<T>>>, PhantomData<T>);

impl<T> Members<T> {
    /// Creates an empty set.
    pub(crate) const fn new() -> Self {
        Self(Few::new(), PhantomData)
    }

    /// Returns how many things there are.
    pub(crate) fn len(&self) -> usize {
        self.0.as_slice().len()
    }

    /// Makes room for one more thing. `ENOMEM`.
    pub(crate) fn reserve(&mut self) -> Result {
        self.0.reserve()
    }

    /// Adds a thing, for which there is room.
    pub(crate) fn push(&mut self, member: Pin<UniqueArc<Member<T>>>) -> Arc<Member<T>> {
        // INVARIANT: A `UniqueArc` is the only reference, so that it is in no other set.
        let member = Arc::from(member);
        member.place.store(self.len(), Relaxed);
        let pushed = self.0.push(member.clone());
        debug_assert!(pushed.is_ok());
        member
    }

    /// Removes a thing, if it is in this set; the last one takes its place.
    pub(crate) fn remove(&mut self, member: &Member<T>) {
        if let Some(place) = self.place(member) {
            self.remove_at(place);
        }
    }

    /// Removes the thing in a place; the last one takes its place.
    pub(crate) fn remove_at(&mut self, place: usize) {
        drop(self.0.swap_remove(place));
        if let Some(moved) = self.0.as_slice().get(place) {
            moved.place.store(place, Relaxed);
        }
    }

    /// Returns the thing in a place below [`len`](Self::len).
    pub(crate) fn at(&self, place: usize) -> Option<&T> {
        let member = self.0.as_slice().get(place)?;
        // SAFETY: By the invariants of `Member` it is in this set only, of which a shared borrow
        // excludes an exclusive reference to the thing.
        Some(unsafe { &*member.thing.get() })
    }

    /// Returns the thing in a place below [`len`](Self::len).
    pub(crate) fn at_mut(&mut self, place: usize) -> Option<&mut T> {
        let member = self.0.as_slice().get(place)?;
        // SAFETY: By the invariants of `Member` it is in this set only, whose exclusive borrow
        // excludes any other reference to the thing.
        Some(unsafe { &mut *member.thing.get() })
    }

    /// Returns the place of a member, if it is in this set.
    fn place(&self, member: &Member<T>) -> Option<usize> {
        let place = member.place.load(Relaxed);
        let found = self.0.as_slice().get(place)?;
        ptr::eq(&**found, member).then_some(place)
    }

    /// Returns the thing, if it is in this set.
    pub(crate) fn get(&self, member: &Member<T>) -> Option<&T> {
        self.at(self.place(member)?)
    }

    /// Returns the thing, if it is in this set.
    pub(crate) fn get_mut(&mut self, member: &Member<T>) -> Option<&mut T> {
        self.at_mut(self.place(member)?)
    }

    /// Returns the members, in no particular order.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Arc<Member<T>>> {
        self.0.as_slice().iter()
    }

    /// Returns the things, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.len()).filter_map(|place| self.at(place))
    }

    /// Returns the things, in no particular order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let members = self.0.as_slice().iter();
        // SAFETY: By the invariants of `Member` each is in this set only, and once, so that the
        // exclusive borrow of the set excludes any other reference to the thing.
        members.map(|member| unsafe { &mut *member.thing.get() })
    }
}
