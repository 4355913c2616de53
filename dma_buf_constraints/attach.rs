// SPDX-License-Identifier: GPL-2.0

//! The users of one buffer, and what they need together.
//!
//! The set decides nothing about memory: it tells who conflicts with whom before there is any
//! ([`Users::consider`]), and whom given memory does not fit ([`Users::misfit`]). It has no lock
//! of its own; it lives under the buffer's reservation lock.
//!
//! Users that could not share may be unified by a common ancestor ([`model::unify`]). That is
//! looked for only where a newcomer has no class of memory in common with the others.
//!
//! [`model::unify`]: crate::model::unify

use crate::{
    device,
    model::{
        release_ancestors,
        unify,
        Conflict,
        Constraints,
        Field,
        Memory,
        Misfit,
        Name,
        Needs,
        Party,
        Placement,
        Places, //
    },
    slots::{
        Room,
        Slots, //
    }, //
};
use core::ptr;
use kernel::{
    alloc::Flags,
    device::Device,
    page::PAGE_SIZE,
    prelude::*,
    sync::aref::ARef, //
};

/// A user's place in the set, for as long as the user is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u32);

impl Slot {
    /// The slot as a number below [`MAX_USERS`].
    pub fn index(self) -> u32 {
        self.0
    }

    /// The slot of a number from [`index`](Self::index).
    pub fn from_index(index: u32) -> Self {
        Self(index)
    }
}

/// What an exporter keeps for a user: it tells who that is. Neither need be quick.
pub trait Identity {
    /// The name in messages.
    fn name(&self) -> Name;

    /// The device, if the user is one. It is bound to its driver as long as the user is in a set.
    fn device(&self) -> Option<&Device>;
}

/// One user: what it needs, and what the exporter keeps for it.
pub struct User<T> {
    needs: Needs,
    /// Those of a device that does not reach all classes of memory: with their constraints it may
    /// have to share. The device itself keeps none of them once it is gone from its bus.
    ancestors: Option<KBox<Ancestors>>,
    /// What the exporter keeps for this user.
    pub data: T,
}

impl<T: Identity> User<T> {
    /// The name in messages.
    pub fn name(&self) -> Name {
        self.data.name()
    }
}

impl<T> User<T> {
    /// What counts of this user's needs. It changes while the user is in the set only where an
    /// ancestor begins or ceases to unify it with others.
    pub fn constraints(&self) -> &Constraints {
        self.needs.effective()
    }

    /// What counts of this user's needs, and what the exporter keeps for it.
    pub fn parts(&mut self) -> (&Constraints, &mut T) {
        (self.needs.effective(), &mut self.data)
    }

    /// What this user needs, by where it is known from.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }
}

impl<T> AsRef<Needs> for User<T> {
    fn as_ref(&self) -> &Needs {
        &self.needs
    }
}

impl<T> Places for Slots<User<T>> {
    fn places(&self) -> usize {
        self.places()
    }

    fn needs(&self, place: usize) -> Option<&Needs> {
        Some(&self.get(place)?.needs)
    }

    fn needs_mut(&mut self, place: usize) -> Option<&mut Needs> {
        Some(&mut self.get_mut(place)?.needs)
    }
}

/// What a newcomer needs, and what the buffer and all users would need together with it: computed,
/// checked, and not yet true. Only [`Users::commit`] makes it so.
pub struct Proposal<'a> {
    /// The newcomer's by itself.
    needs: &'a Needs,
    /// The constraints of the ancestor that unifies the newcomer with users of the set.
    ancestor: Option<Constraints>,
    meet: Constraints,
}

impl Proposal<'_> {
    /// What everybody would need together.
    pub fn meet(&self) -> &Constraints {
        &self.meet
    }

    /// What the newcomer needs.
    pub fn constraints(&self) -> Constraints {
        match &self.ancestor {
            Some(ancestor) => *self.needs.under(ancestor).effective(),
            None => *self.needs.effective(),
        }
    }

    /// Whether the needs of users of the set change.
    pub fn is_unifying(&self) -> bool {
        self.ancestor.is_some()
    }

    /// What a user of the set would need, if that changes.
    fn needs_of<T>(&self, user: &User<T>) -> Option<Needs> {
        let ancestor = self.ancestor.as_ref()?;
        let newcomer = self.needs.under(ancestor);
        user.needs
            .has_to_join(&newcomer)
            .then(|| user.needs.under(ancestor))
    }

    /// What would count of the needs of a user of the set.
    fn constraints_of<T>(&self, user: &User<T>) -> Constraints {
        match self.needs_of(user) {
            Some(needs) => *needs.effective(),
            None => *user.constraints(),
        }
    }
}

/// The ancestors of a device, each with a reference.
type Ancestors = KVec<ARef<Device>>;

/// A place for one more user.
pub struct Place<T> {
    room: Room<User<T>>,
    ancestors: Option<KBox<Ancestors>>,
}

/// The most users of one buffer: what looks through all of them stays short.
pub const MAX_USERS: usize = 4096;

/// Of more users than this, those whom an ancestor unified stay so when others leave.
const MOST_TO_RESTORE: usize = 128;

/// The users of one buffer.
pub struct Users<T> {
    /// What the buffer needs whoever uses it.
    base: Constraints,
    /// The buffer's length in bytes.
    len: u64,
    slots: Slots<User<T>>,
    /// Whether an ancestor may have unified some.
    is_unified: bool,
    /// The meet of `base` and of all users.
    meet: Constraints,
}

impl<T: Identity> Users<T> {
    /// No users yet, of a buffer of `len` bytes that itself needs `base`.
    pub fn new(base: Constraints, len: u64) -> Self {
        Self {
            base,
            len,
            slots: Slots::new(),
            is_unified: false,
            meet: base,
        }
    }

    /// What everybody needs together.
    ///
    /// Of [`segments`](Constraints::segments), each user needs only its own.
    pub fn meet(&self) -> &Constraints {
        &self.meet
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The users, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &User<T>> {
        self.slots.iter()
    }

    /// The users, in no order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut User<T>> {
        self.slots.iter_mut()
    }

    /// The first user for whom `is_it` holds.
    pub fn position(&self, is_it: impl FnMut(&User<T>) -> bool) -> Option<Slot> {
        let place = self.slots.position(is_it)?;
        Some(Slot(place as u32))
    }

    /// The user in `slot`.
    pub fn get(&self, slot: Slot) -> Option<&User<T>> {
        self.slots.get(slot.0 as usize)
    }

    /// The user in `slot`.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut User<T>> {
        self.slots.get_mut(slot.0 as usize)
    }

    /// Whether `who`, which has `needs`, could join. Nothing changes.
    ///
    /// It cannot where no memory of the buffer's length could ever satisfy its own needs, or
    /// those of all together, and no ancestor unifies it with the others. The reason names the
    /// user that stands against it, where it is one.
    #[expect(
        clippy::result_large_err,
        reason = "a refusal is rare, and must not fail for want of memory"
    )]
    pub fn consider<'a>(
        &self,
        needs: &'a Needs,
        who: &impl Identity,
    ) -> Result<Proposal<'a>, Conflict> {
        let page = PAGE_SIZE as u64;
        let constraints = needs.effective();
        if *constraints == Constraints::ANY {
            // What all need stays as it is, and that is possible.
            return Ok(Proposal {
                needs,
                ancestor: None,
                meet: self.meet,
            });
        }
        if let Some(misfit) = constraints.impossible(self.len, page) {
            return Err(Conflict {
                who: who.name(),
                misfit,
                with: Party::Itself,
            });
        }
        let meet = self.meet.meet(constraints);
        let stranger = self.unified_stranger(needs);
        if let Some(misfit) = stranger.or_else(|| self.impossible(&meet.placement)) {
            if let Some(proposal) = self.unified(needs, who) {
                return Ok(proposal);
            }
            let (misfit, with) = self.opponent(&constraints.placement, misfit);
            return Err(Conflict {
                who: who.name(),
                misfit,
                with,
            });
        }
        Ok(Proposal {
            needs,
            ancestor: None,
            meet,
        })
    }

    /// What a newcomer with `needs` has against a user that only an ancestor unified with others:
    /// what that ancestor says stands for nobody else.
    fn unified_stranger(&self, needs: &Needs) -> Option<Misfit> {
        if !self.is_unified {
            return None;
        }
        let wanted = needs.effective();
        let mut strangers = self.iter().filter(|user| user.needs.is_unified());
        let stranger = strangers.find(|user| wanted.is_disjoint(&user.needs.own()))?;
        Some(Misfit {
            field: Field::AccessMask,
            wanted: wanted.placement.access_mask,
            found: stranger.needs.own().placement.access_mask,
        })
    }

    /// What no memory of the buffer's length could satisfy for all together.
    ///
    /// Each user has a table of its own, cut to its own limits: only what binds the memory has to
    /// be possible for all.
    fn impossible(&self, placement: &Placement) -> Option<Misfit> {
        let common = Constraints {
            placement: *placement,
            ..Constraints::ANY
        };
        common.impossible(self.len, PAGE_SIZE as u64)
    }

    /// How the newcomer `who` could join although it has no class of memory in common with some
    /// user: by the nearest common ancestor of them all whose constraints count for more.
    fn unified<'a>(&self, needs: &'a Needs, who: &impl Identity) -> Option<Proposal<'a>> {
        let page = PAGE_SIZE as u64;
        let is_apart = |user: &User<T>| {
            let own = needs.effective();
            own.is_disjoint(user.constraints()) || own.is_disjoint(&user.needs.own())
        };
        if !self.iter().any(is_apart) {
            return None;
        }
        let mut ancestors = device::ancestors(who.device()?);
        let (unified, ancestor) = ancestors.find_map(|(ancestor, declared)| {
            let is_below = |user: &User<T>| {
                let mut ancestors = user.ancestors.iter().flat_map(|all| all.iter());
                ancestors.any(|one| ptr::eq(&**one, ancestor))
            };
            let unified = unify(needs, &declared, self.iter(), is_below)?;
            Some((unified, declared))
        })?;
        let newcomer = unified.effective();
        let mut proposal = Proposal {
            needs,
            ancestor: Some(ancestor),
            meet: self.base.meet(newcomer),
        };
        let mut possible = newcomer.impossible(self.len, page).is_none();
        for user in self.iter() {
            let constraints = proposal.constraints_of(user);
            possible &= constraints.impossible(self.len, page).is_none();
            proposal.meet = proposal.meet.meet(&constraints);
        }
        possible &= self.impossible(&proposal.meet.placement).is_none();
        possible.then_some(proposal)
    }

    /// Which one user makes `misfit` together with a newcomer's `placement`.
    fn opponent(&self, placement: &Placement, misfit: Misfit) -> (Misfit, Party) {
        let wanted = placement.get(misfit.field);
        let stands_against = |other: &Placement| self.impossible(&placement.meet(other)).is_some();
        let against = |other: &Placement| Misfit {
            field: misfit.field,
            wanted,
            found: other.get(misfit.field),
        };
        for user in self.iter() {
            // By itself, where an ancestor stands for it that does not stand for the newcomer.
            for other in [user.constraints().placement, user.needs.own().placement] {
                if stands_against(&other) {
                    return (against(&other), Party::Device(user.name()));
                }
            }
        }
        if stands_against(&self.base.placement) {
            let creator = Party::Device(Name::new(b"the buffer's creator"));
            return (against(&self.base.placement), creator);
        }
        (against(&self.meet.placement), Party::Others)
    }

    /// Makes a place for `who`, which has `needs`, allocated by `flags`: as many users as userspace
    /// asks for are charged to it. `ENOMEM`, also where there are as many users as there may be.
    pub fn reserve(
        &mut self,
        needs: &Needs,
        who: &impl Identity,
        flags: Flags,
    ) -> Result<Place<T>> {
        if self.len() >= MAX_USERS {
            return Err(ENOMEM);
        }
        let mut ancestors = None;
        if needs.effective().placement.access_mask != u64::MAX {
            if let Some(device) = who.device() {
                let mut all = KBox::new(Ancestors::new(), flags)?;
                for ancestor in device::all_ancestors(device) {
                    all.push(device::reference(ancestor), flags)?;
                }
                ancestors = Some(all);
            }
        }
        Ok(Place {
            room: self.slots.reserve(flags)?,
            ancestors,
        })
    }

    /// Lets a considered user join, for whom the exporter keeps `data`.
    ///
    /// Nothing may have joined or left since [`consider`](Self::consider) and
    /// [`reserve`](Self::reserve): all belong under one hold of the lock.
    pub fn commit(&mut self, place: Place<T>, proposal: &Proposal<'_>, data: T) -> Slot {
        if proposal.is_unifying() {
            self.is_unified = true;
            for user in self.iter_mut() {
                if let Some(needs) = proposal.needs_of(user) {
                    user.needs = needs;
                }
            }
        }
        self.meet = proposal.meet;
        let Place { room, ancestors } = place;
        let index = match &proposal.ancestor {
            Some(ancestor) => {
                let needs = proposal.needs.under(ancestor);
                let user = init!(User {
                    needs,
                    ancestors,
                    data
                });
                self.slots.insert(room, user)
            }
            None => {
                // Copied once, from where they were made.
                let needs = proposal.needs;
                let user = init!(User {
                    needs: *needs,
                    ancestors,
                    data
                });
                self.slots.insert(room, user)
            }
        };
        Slot(index as u32)
    }

    /// Takes a user out and computes anew what the others need. Those whom an ancestor unified
    /// with it stay so: see [`restore`](Self::restore).
    pub fn release(&mut self, slot: Slot) {
        let place = slot.0 as usize;
        let Some(user) = self.slots.get(place) else {
            return;
        };
        let is_bound = *user.constraints() != Constraints::ANY;
        self.slots.remove(place);
        // Who needed nothing narrowed nothing.
        if is_bound {
            self.meet = self
                .iter()
                .fold(self.base, |meet, user| meet.meet(user.constraints()));
        }
    }

    /// Lets users go back from an ancestor's needs to their own, where none with whom they could
    /// not share otherwise is left. For a buffer without memory: what there is was chosen for the
    /// ancestor's.
    ///
    /// Nothing changes where what all would then need together is impossible, or `could` says
    /// that it cannot be had.
    pub fn restore(&mut self, could: impl FnOnce(&Self, &Constraints) -> bool) {
        // Each is compared with each.
        if !self.is_unified || self.len() > MOST_TO_RESTORE {
            return;
        }
        if !release_ancestors(&mut self.slots) {
            let is_unified = self.iter().any(|user| user.needs.is_unified());
            self.is_unified = is_unified;
            return;
        }
        let settled = |meet: Constraints, user: &User<T>| meet.meet(&user.needs.settled());
        let meet = self.iter().fold(self.base, settled);
        if self.impossible(&meet.placement).is_none() && could(self, &meet) {
            self.meet = meet;
            for user in self.iter_mut() {
                user.needs.settle();
            }
        }
    }

    /// The first need that `memory` would not satisfy if `proposal` came true: the newcomer's, and
    /// those of all others.
    pub fn misfit_with(&self, proposal: &Proposal<'_>, memory: &Memory<'_>) -> Option<Misfit> {
        let page = PAGE_SIZE as u64;
        let misfit = |constraints: &Constraints| constraints.misfit(memory, page);
        misfit(&proposal.constraints())
            .or_else(|| misfit(&self.base))
            .or_else(|| {
                self.iter()
                    .find_map(|user| misfit(&proposal.constraints_of(user)))
            })
    }

    /// The first user whom `memory` does not fit, and why not; likewise for the buffer's own
    /// needs.
    pub fn misfit(&self, memory: &Memory<'_>) -> Option<(Name, Misfit)> {
        let page = PAGE_SIZE as u64;
        if let Some(misfit) = self.base.misfit(memory, page) {
            return Some((Name::new(b"the buffer's creator"), misfit));
        }
        self.iter().find_map(|user| {
            let misfit = user.constraints().misfit(memory, page)?;
            Some((user.name(), misfit))
        })
    }

    /// The user whose need of `field` is the one that binds all, if it is a user's.
    pub fn binding(&self, field: Field) -> Option<&User<T>> {
        let bound = self.meet.placement.get(field);
        self.iter()
            .find(|user| user.constraints().placement.get(field) == bound)
    }
}
