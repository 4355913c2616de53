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
    members::Members,
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
    }, //
};
use core::marker::PhantomData;
use kernel::{
    alloc::Flags,
    device::Device,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        UniqueArc, //
    }, //
};

pub use crate::members::Member;

/// Who a user is, as the exporter keeps it. Neither need be quick.
pub trait Identity {
    /// The name in messages.
    fn name(&self) -> Name;

    /// The device, if the user is one.
    fn device(&self) -> Option<ARef<Device>>;

    /// Whether the user is a device below `ancestor`.
    fn is_below(&self, ancestor: &Device) -> bool;
}

/// One user: what it needs, and what the exporter keeps for it.
pub struct User<T> {
    needs: Needs,
    /// What the exporter keeps for this user.
    pub data: T,
}

/// A user as whoever let it join knows it.
pub type UserRef<T> = Arc<Member<User<T>>>;

/// A user that is in no set yet: shared between threads where what is kept for it can be.
pub struct Newcomer<T>(Pin<UniqueArc<Member<User<T>>>>, PhantomData<T>);

impl<T> Newcomer<T> {
    /// A user that needs `needs`, and for which the exporter keeps `data`. Allocated by `flags`:
    /// users that a process asks for are charged to it. `ENOMEM`.
    pub fn new(needs: &Needs, data: T, flags: Flags) -> Result<Self> {
        let user = User {
            needs: *needs,
            data,
        };
        Ok(Self(Member::new(user, flags)?.into(), PhantomData))
    }

    /// The same with other needs.
    #[must_use]
    #[inline(always)]
    pub fn with(mut self, needs: &Needs) -> Self {
        self.0.get_mut().needs = *needs;
        self
    }

    /// The user.
    pub fn user(&self) -> &User<T> {
        Member::unique(&self.0)
    }

    /// The user.
    pub fn user_mut(&mut self) -> &mut User<T> {
        self.0.get_mut()
    }
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

impl<T> Places for Members<User<T>> {
    fn places(&self) -> usize {
        self.len()
    }

    fn needs(&self, place: usize) -> Option<&Needs> {
        Some(&self.at(place)?.needs)
    }

    fn needs_mut(&mut self, place: usize) -> Option<&mut Needs> {
        Some(&mut self.at_mut(place)?.needs)
    }
}

/// Why a newcomer cannot be proposed.
#[expect(
    clippy::large_enum_variant,
    reason = "a refusal is rare, and must not fail for want of memory"
)]
pub enum Refused {
    /// It cannot share the buffer.
    Conflict(Conflict),
    /// Anything else.
    Failed(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What the buffer and all users would need together with a newcomer: computed, and possible.
pub struct Outcome {
    /// The constraints of the ancestor that unifies the newcomer with users of the set. That is
    /// rare.
    ancestor: Option<KBox<Constraints>>,
    combined: Constraints,
}

impl Outcome {
    /// What everybody would need together.
    pub fn combined(&self) -> &Constraints {
        &self.combined
    }

    /// Whether the needs of users of the set change.
    pub fn is_unifying(&self) -> bool {
        self.ancestor.is_some()
    }

    /// What a newcomer with `needs` would need.
    fn newcomer(&self, needs: &Needs) -> Needs {
        match &self.ancestor {
            Some(ancestor) => needs.under(ancestor),
            None => *needs,
        }
    }

    /// What a user of the set would need beside a newcomer with `needs`, if that changes.
    fn changed<T>(&self, needs: &Needs, user: &User<T>) -> Option<Needs> {
        let ancestor = self.ancestor.as_deref()?;
        let newcomer = needs.under(ancestor);
        user.needs
            .has_to_join(&newcomer)
            .then(|| user.needs.under(ancestor))
    }

    /// What would count of the needs of a user of the set.
    fn constraints_of<T>(&self, needs: &Needs, user: &User<T>) -> Constraints {
        match self.changed(needs, user) {
            Some(needs) => *needs.effective(),
            None => *user.constraints(),
        }
    }
}

/// A newcomer that may join, and is not in the set yet. It has the set to itself: nothing joins or
/// leaves before it is committed or given up.
pub struct Proposal<'a, T> {
    users: &'a mut Users<T>,
    newcomer: Newcomer<T>,
    outcome: Outcome,
}

impl<T: Identity> Proposal<'_, T> {
    /// The users that there are.
    pub fn users(&self) -> &Users<T> {
        self.users
    }

    /// The newcomer.
    pub fn newcomer(&self) -> &User<T> {
        self.newcomer.user()
    }

    /// What becomes of the set.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// What the newcomer needs.
    pub fn constraints(&self) -> Constraints {
        *self
            .outcome
            .newcomer(&self.newcomer.user().needs)
            .effective()
    }

    /// The first need that `memory` would not satisfy: the newcomer's, and, where those change,
    /// those of all others.
    pub fn misfit(&self, memory: &Memory<'_>) -> Option<Misfit> {
        let page = PAGE_SIZE as u64;
        let own = self.constraints().misfit(memory, page);
        if !self.outcome.is_unifying() {
            return own;
        }
        own.or_else(|| self.misfit_of_all(memory))
    }

    /// The first need that `memory` would not satisfy: the newcomer's, or anybody's.
    pub fn misfit_of_all(&self, memory: &Memory<'_>) -> Option<Misfit> {
        let page = PAGE_SIZE as u64;
        let Self {
            users,
            newcomer,
            outcome,
        } = self;
        let needs = &newcomer.user().needs;
        let misfit = |constraints: &Constraints| constraints.misfit(memory, page);
        misfit(outcome.newcomer(needs).effective())
            .or_else(|| misfit(&users.base))
            .or_else(|| {
                let mut all = users.iter();
                all.find_map(|user| misfit(&outcome.constraints_of(needs, user)))
            })
    }

    /// Lets the newcomer join.
    #[inline(always)]
    pub fn commit(self) -> UserRef<T> {
        let Self {
            users,
            mut newcomer,
            outcome,
        } = self;
        if outcome.is_unifying() {
            let needs = *newcomer.user().needs();
            users.is_unified = true;
            for user in users.iter_mut() {
                if let Some(changed) = outcome.changed(&needs, user) {
                    user.needs = changed;
                }
            }
            newcomer.user_mut().needs = outcome.newcomer(&needs);
        }
        users.combined = outcome.combined;
        users.members.push(newcomer.0)
    }

    /// Gives the newcomer up; it may be proposed again.
    pub fn give_up(self) -> Newcomer<T> {
        self.newcomer
    }
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
    members: Members<User<T>>,
    /// Whether an ancestor may have unified some.
    is_unified: bool,
    /// What `base` and all users need together.
    combined: Constraints,
    /// What a user left that went: who attaches and detaches for each frame need not allocate.
    spare: Option<Newcomer<T>>,
}

impl<T: Identity> Users<T> {
    /// No users yet, of a buffer of `len` bytes that itself needs `base`.
    pub fn new(base: Constraints, len: u64) -> Self {
        Self {
            base,
            len,
            members: Members::new(),
            is_unified: false,
            combined: base,
            spare: None,
        }
    }

    /// What everybody needs together.
    ///
    /// Of [`segments`](Constraints::segments), each user needs only its own.
    pub fn combined(&self) -> &Constraints {
        &self.combined
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The users, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &User<T>> {
        self.members.iter()
    }

    /// The users, in no order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut User<T>> {
        self.members.iter_mut()
    }

    /// The first user for which `is_it` holds.
    pub fn find(&self, mut is_it: impl FnMut(&User<T>) -> bool) -> Option<UserRef<T>> {
        let mut users = Iterator::zip(self.members.members(), self.iter());
        let (found, _) = users.find(|(_, user)| is_it(user))?;
        Some(found.clone())
    }

    /// A user, if it is in this set.
    pub fn get(&self, user: &Member<User<T>>) -> Option<&User<T>> {
        self.members.get(user)
    }

    /// A user, if it is in this set.
    pub fn get_mut(&mut self, user: &Member<User<T>>) -> Option<&mut User<T>> {
        self.members.get_mut(user)
    }

    /// Proposes that `newcomer` joins: as [`consider`](Self::consider), and `ENOMEM`, also where
    /// there are as many users as there may be.
    #[expect(
        clippy::result_large_err,
        reason = "a refusal is rare, and must not fail for want of memory"
    )]
    #[inline(always)]
    pub fn propose(&mut self, newcomer: Newcomer<T>) -> Result<Proposal<'_, T>, Refused> {
        let outcome = self.consider(newcomer.user())?;
        if self.len() >= MAX_USERS {
            return Err(ENOMEM.into());
        }
        self.members.reserve()?;
        Ok(Proposal {
            users: self,
            newcomer,
            outcome,
        })
    }

    /// Whether a newcomer could join. Nothing changes.
    ///
    /// It cannot where no memory of the buffer's length could ever satisfy its own needs, or
    /// those of all together, and no ancestor unifies it with the others. The reason names the
    /// user that stands against it, where it is one.
    #[expect(
        clippy::result_large_err,
        reason = "a refusal is rare, and must not fail for want of memory"
    )]
    #[inline(always)]
    pub fn consider(&self, newcomer: &User<T>) -> Result<Outcome, Refused> {
        let page = PAGE_SIZE as u64;
        let needs = newcomer.needs();
        let constraints = needs.effective();
        let plain = |combined| Outcome {
            ancestor: None,
            combined,
        };
        if *constraints == Constraints::ANY {
            // What all need stays as it is, and that is possible.
            return Ok(plain(self.combined));
        }
        let refused = |misfit, with| {
            Refused::Conflict(Conflict {
                who: newcomer.name(),
                misfit,
                with,
            })
        };
        if let Some(misfit) = constraints.impossible(self.len, page) {
            return Err(refused(misfit, Party::Itself));
        }
        let meet = self.combined.meet(constraints);
        let stranger = self.unified_stranger(needs);
        let Some(misfit) = stranger.or_else(|| self.impossible(&meet.placement)) else {
            return Ok(plain(meet));
        };
        self.unified(newcomer)?.ok_or_else(|| {
            let (misfit, with) = self.opponent(&constraints.placement, misfit);
            refused(misfit, with)
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

    /// How a newcomer could join although it has no class of memory in common with some user: by
    /// the nearest common ancestor of them all whose constraints count for more. `ENOMEM`.
    fn unified(&self, newcomer: &User<T>) -> Result<Option<Outcome>> {
        let page = PAGE_SIZE as u64;
        let needs = newcomer.needs();
        let is_apart = |user: &User<T>| {
            let own = needs.effective();
            own.is_disjoint(user.constraints()) || own.is_disjoint(&user.needs.own())
        };
        if !self.iter().any(is_apart) {
            return Ok(None);
        }
        let Some(device) = newcomer.data.device() else {
            return Ok(None);
        };
        let found = device::find_ancestor(&device, |ancestor, declared| {
            let is_below = |user: &User<T>| user.data.is_below(ancestor);
            let unified = unify(needs, &declared, self.iter(), is_below)?;
            Some((unified, declared))
        });
        let Some((unified, ancestor)) = found else {
            return Ok(None);
        };
        let unified = unified.effective();
        let mut outcome = Outcome {
            ancestor: Some(KBox::new(ancestor, GFP_KERNEL)?),
            combined: self.base.meet(unified),
        };
        let mut possible = unified.impossible(self.len, page).is_none();
        for user in self.iter() {
            let constraints = outcome.constraints_of(needs, user);
            possible &= constraints.impossible(self.len, page).is_none();
            outcome.combined = outcome.combined.meet(&constraints);
        }
        possible &= self.impossible(&outcome.combined.placement).is_none();
        Ok(possible.then_some(outcome))
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
        (against(&self.combined.placement), Party::Others)
    }

    /// Takes a user out, if it is in this set, and computes anew what the others need. Those whom
    /// an ancestor unified with it stay so: see [`restore`](Self::restore).
    pub fn release(&mut self, user: &Member<User<T>>) {
        // Who needed nothing narrowed nothing.
        let is_bound = |user: &User<T>| *user.constraints() != Constraints::ANY;
        let is_bound = self.get(user).is_some_and(is_bound);
        self.members.remove(user);
        if is_bound {
            self.combine();
        }
    }

    /// Takes out all users that `goes` says of that they go, and computes anew what the others
    /// need. As [`release`](Self::release). Returns whether there were any.
    pub fn release_all(&mut self, mut goes: impl FnMut(&mut User<T>) -> bool) -> bool {
        let before = self.len();
        // Backwards: what takes the place of one that goes has been looked at.
        for place in (0..before).rev() {
            if self.members.at_mut(place).is_some_and(&mut goes) {
                self.members.remove_at(place);
            }
        }
        if self.len() == before {
            return false;
        }
        self.combine();
        true
    }

    /// Computes anew what all need together.
    fn combine(&mut self) {
        self.combined = self
            .iter()
            .fold(self.base, |meet, user| meet.meet(user.constraints()));
    }

    /// Keeps a user that was released, for [`take_spare`](Self::take_spare), unless somebody else
    /// has it. The exporter has taken out of it what is not to be kept.
    pub fn keep_spare(&mut self, user: UserRef<T>) {
        self.spare = Arc::into_unique_or_drop(user).map(|user| Newcomer(user, PhantomData));
    }

    /// A newcomer that need not be allocated, if there is one.
    #[inline(always)]
    pub fn take_spare(&mut self) -> Option<Newcomer<T>> {
        self.spare.take()
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
        if !release_ancestors(&mut self.members) {
            let is_unified = self.iter().any(|user| user.needs.is_unified());
            self.is_unified = is_unified;
            return;
        }
        let settled = |meet: Constraints, user: &User<T>| meet.meet(&user.needs.settled());
        let meet = self.iter().fold(self.base, settled);
        if self.impossible(&meet.placement).is_none() && could(self, &meet) {
            self.combined = meet;
            for user in self.iter_mut() {
                user.needs.settle();
            }
        }
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
        let bound = self.combined.placement.get(field);
        self.iter()
            .find(|user| user.constraints().placement.get(field) == bound)
    }
}
