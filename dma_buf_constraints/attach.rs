// SPDX-License-Identifier: GPL-2.0

//! The users of one buffer, and what they need together.
//!
//! The set decides nothing about memory: it tells who conflicts with whom before there is any
//! ([`Users::consider`]), and whom given memory does not fit ([`Users::misfit`]). It has no lock
//! of its own; it lives under the buffer's reservation lock.

use crate::model::{
    Conflict,
    Constraints,
    Field,
    Memory,
    Misfit,
    Name,
    Party,
    Placement, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
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

/// What an exporter keeps for a user, which has a name in messages.
pub trait Named {
    /// The name. It need not be quick: it is asked for when somebody is refused or looks.
    fn name(&self) -> Name;
}

/// One user: what it needs, and what the exporter keeps for it.
pub struct User<T> {
    constraints: Constraints,
    /// What the exporter keeps for this user.
    pub data: T,
}

impl<T: Named> User<T> {
    /// The name in messages.
    pub fn name(&self) -> Name {
        self.data.name()
    }
}

impl<T> User<T> {
    /// What this user needs. It does not change while the user is in the set.
    pub fn constraints(&self) -> &Constraints {
        &self.constraints
    }
}

/// What a newcomer needs, and what the buffer and all users would need together with it: computed,
/// checked, and not yet true. Only [`Users::commit`] makes it so.
pub struct Proposal {
    constraints: Constraints,
    meet: Constraints,
}

impl Proposal {
    /// What everybody would need together.
    pub fn meet(&self) -> &Constraints {
        &self.meet
    }

    /// What the newcomer needs.
    pub fn constraints(&self) -> &Constraints {
        &self.constraints
    }
}

/// The most users of one buffer: what looks through all of them stays short.
pub const MAX_USERS: usize = 4096;

/// The users of one buffer.
pub struct Users<T> {
    /// What the buffer needs whoever uses it.
    base: Constraints,
    /// The buffer's length in bytes.
    len: u64,
    /// By slot.
    slots: KVVec<Option<User<T>>>,
    /// How many slots are taken.
    count: usize,
    /// The meet of `base` and of all users.
    meet: Constraints,
}

impl<T: Named> Users<T> {
    /// No users yet, of a buffer of `len` bytes that itself needs `base`.
    pub fn new(base: Constraints, len: u64) -> Self {
        Self {
            base,
            len,
            slots: KVVec::new(),
            count: 0,
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
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The users, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &User<T>> {
        self.slots.iter().flatten()
    }

    /// The users, in no order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut User<T>> {
        self.slots.iter_mut().flatten()
    }

    /// The first user for whom `is_it` holds.
    pub fn position(&self, mut is_it: impl FnMut(&User<T>) -> bool) -> Option<Slot> {
        let index = self
            .slots
            .iter()
            .position(|slot| slot.as_ref().is_some_and(&mut is_it))?;
        Some(Slot(index as u32))
    }

    /// The user in `slot`.
    pub fn get(&self, slot: Slot) -> Option<&User<T>> {
        self.slots.get(slot.0 as usize)?.as_ref()
    }

    /// The user in `slot`.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut User<T>> {
        self.slots.get_mut(slot.0 as usize)?.as_mut()
    }

    /// Whether a user that needs `constraints` could join. Nothing changes.
    ///
    /// It cannot where no memory of the buffer's length could ever satisfy its own needs, or
    /// those of all together. The reason names the user that stands against it, where it is one;
    /// `name` tells the newcomer's.
    #[expect(
        clippy::result_large_err,
        reason = "a refusal is rare, and must not fail for want of memory"
    )]
    pub fn consider(
        &self,
        constraints: &Constraints,
        name: impl FnOnce() -> Name,
    ) -> Result<Proposal, Conflict> {
        let page = PAGE_SIZE as u64;
        if let Some(misfit) = constraints.impossible(self.len, page) {
            return Err(Conflict {
                who: name(),
                misfit,
                with: Party::Itself,
            });
        }
        // Each user has a table of its own, cut to its own limits: only what binds the memory
        // has to be possible for all together.
        let together = self.meet.placement.meet(&constraints.placement);
        let common = Constraints {
            placement: together,
            ..Constraints::ANY
        };
        if let Some(misfit) = common.impossible(self.len, page) {
            let (misfit, with) = self.opponent(&constraints.placement, misfit);
            return Err(Conflict {
                who: name(),
                misfit,
                with,
            });
        }
        Ok(Proposal {
            constraints: *constraints,
            meet: self.meet.meet(constraints),
        })
    }

    /// Which one user makes `misfit` together with a newcomer's `placement`.
    fn opponent(&self, placement: &Placement, misfit: Misfit) -> (Misfit, Party) {
        let wanted = placement.get(misfit.field);
        let stands_against = |other: &Placement| {
            let both = Constraints {
                placement: placement.meet(other),
                ..Constraints::ANY
            };
            both.impossible(self.len, PAGE_SIZE as u64).is_some()
        };
        let against = |other: &Placement| Misfit {
            field: misfit.field,
            wanted,
            found: other.get(misfit.field),
        };
        for user in self.iter() {
            let other = &user.constraints.placement;
            if stands_against(other) {
                return (against(other), Party::Device(user.name()));
            }
        }
        if stands_against(&self.base.placement) {
            let creator = Party::Device(Name::new(b"the buffer's creator"));
            return (against(&self.base.placement), creator);
        }
        (against(&self.meet.placement), Party::Others)
    }

    /// Makes room for one more user, so that the next [`commit`](Self::commit) does not fail.
    /// `ENOMEM`, also where there are as many as there may be.
    pub fn reserve(&mut self) -> Result {
        if self.count >= MAX_USERS {
            return Err(ENOMEM);
        }
        if self.count == self.slots.len() {
            self.slots.reserve(1, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Lets a considered user join, for whom the exporter keeps `data`.
    ///
    /// Fails with `ENOMEM` alone; the set is then as before and `data` is dropped. Nothing may
    /// have joined or left since [`consider`](Self::consider): both belong under one hold of the
    /// lock.
    pub fn commit(&mut self, proposal: Proposal, data: T) -> Result<Slot> {
        self.reserve()?;
        let user = User {
            constraints: proposal.constraints,
            data,
        };
        let index = match self.slots.iter().position(Option::is_none) {
            Some(index) => {
                self.slots[index] = Some(user);
                index
            }
            None => {
                self.slots.push(Some(user), GFP_KERNEL)?;
                self.slots.len() - 1
            }
        };
        self.count += 1;
        self.meet = proposal.meet;
        Ok(Slot(index as u32))
    }

    /// Takes a user out and computes anew what the others need.
    pub fn release(&mut self, slot: Slot) -> Option<User<T>> {
        let user = self.slots.get_mut(slot.0 as usize)?.take()?;
        self.count -= 1;
        self.meet = self
            .iter()
            .fold(self.base, |meet, user| meet.meet(&user.constraints));
        Some(user)
    }

    /// The first user whom `memory` does not fit, and why not; likewise for the buffer's own
    /// needs.
    pub fn misfit(&self, memory: &Memory<'_>) -> Option<(Name, Misfit)> {
        let page = PAGE_SIZE as u64;
        if let Some(misfit) = self.base.misfit(memory, page) {
            return Some((Name::new(b"the buffer's creator"), misfit));
        }
        self.iter().find_map(|user| {
            let misfit = user.constraints.misfit(memory, page)?;
            Some((user.name(), misfit))
        })
    }

    /// The user whose need of `field` is the one that binds all, if it is a user's.
    pub fn binding(&self, field: Field) -> Option<&User<T>> {
        let bound = self.meet.placement.get(field);
        self.iter()
            .find(|user| user.constraints.placement.get(field) == bound)
    }
}
