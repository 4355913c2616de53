// SPDX-License-Identifier: GPL-2.0

//! The users of one buffer, and what they need together.
//!
//! The set decides nothing about memory: it tells who conflicts with whom before there is any
//! ([`Users::consider`]), and whom given memory does not fit ([`Users::misfit`]). It has no lock
//! of its own; it lives under the buffer's reservation lock.
//!
//! Where users have no class of memory in common, their second choices count ([`model::Needs`]).
//!
//! [`model::Needs`]: crate::model::Needs

use crate::{
    members::Members,
    model::{
        Choice,
        Conflict,
        Constraints,
        Field,
        Memory,
        Misfit,
        Name,
        Needs,
        Party,
        Together, //
    }, //
};
use core::marker::PhantomData;
use kernel::{
    alloc::Flags,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        Arc,
        UniqueArc, //
    }, //
};

pub use crate::members::Member;

/// Who a user is, as the exporter keeps it.
pub trait Identity {
    /// The name in messages. Need not be quick.
    fn name(&self) -> Name;
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
    /// What this user needs.
    pub fn needs(&self) -> &Needs {
        &self.needs
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
    together: Together,
    choice: Choice,
}

impl Outcome {
    /// What everybody would need together.
    pub fn combined(&self) -> &Constraints {
        self.together.by(self.choice)
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

    /// What would count of the newcomer's needs of the memory.
    pub fn constraints(&self) -> Constraints {
        self.newcomer.user().needs.of_memory(self.outcome.choice)
    }

    /// Which needs would count.
    pub fn choice(&self) -> Choice {
        self.outcome.choice
    }

    /// Lets second choices count, for whoever finds that memory for the first ones cannot be had.
    /// Returns whether they did not count before, and differ and are possible.
    pub fn take_second(&mut self) -> bool {
        let Outcome { together, choice } = &mut self.outcome;
        let is_better = *choice == Choice::First
            && together.by(Choice::First) != together.by(Choice::Second)
            && together
                .impossible(Choice::Second, self.users.len, PAGE_SIZE as u64)
                .is_none();
        if is_better {
            *choice = Choice::Second;
        }
        is_better
    }

    /// Whether other needs would count of the users that there are.
    pub fn changes_others(&self) -> bool {
        self.outcome.choice != self.users.choice
    }

    /// The first need that `memory` would not satisfy: the newcomer's, and, where those change,
    /// those of all others.
    pub fn misfit(&self, memory: &Memory<'_>) -> Option<Misfit> {
        if self.changes_others() {
            return self.misfit_of_all(memory);
        }
        self.constraints().misfit(memory, PAGE_SIZE as u64)
    }

    /// The first need that `memory` would not satisfy: the newcomer's, or anybody's.
    pub fn misfit_of_all(&self, memory: &Memory<'_>) -> Option<Misfit> {
        let page = PAGE_SIZE as u64;
        // Suits it a table that would serve all, it suits each.
        self.outcome.combined().misfit(memory, page)?;
        let others = self
            .users
            .iter()
            .map(|user| user.needs.of_memory(self.outcome.choice));
        let first = [self.constraints(), self.users.base];
        Iterator::chain(first.into_iter(), others)
            .find_map(|constraints| constraints.misfit(memory, page))
    }

    /// Lets the newcomer join.
    #[inline(always)]
    pub fn commit(self) -> UserRef<T> {
        let users = self.users;
        users.together = self.outcome.together;
        users.choice = self.outcome.choice;
        users.members.push(self.newcomer.0)
    }

    /// Gives the newcomer up; it may be proposed again.
    pub fn give_up(self) -> Newcomer<T> {
        self.newcomer
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
    members: Members<User<T>>,
    /// What `base` and all users need together.
    together: Together,
    /// What counts of it, and of each.
    choice: Choice,
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
            together: Together::new(&base),
            choice: Choice::First,
            spare: None,
        }
    }

    /// What everybody needs together.
    ///
    /// Of [`segments`](Constraints::segments), each user needs only its own; what binds the mapping
    /// of a device behind an IOMMU is left out.
    pub fn combined(&self) -> &Constraints {
        self.together.by(self.choice)
    }

    /// What counts of the needs of a user of this set. It changes while the user is in the set only
    /// where its second choice begins or ceases to count.
    pub fn constraints_of<'a>(&self, user: &'a User<T>) -> &'a Constraints {
        user.needs.by(self.choice)
    }

    /// Whether the second choice of a user of this set counts.
    pub fn has_second(&self, user: &User<T>) -> bool {
        self.choice == Choice::Second && user.needs.has_second()
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

    /// What counts of a user's needs, and what the exporter keeps for it, if it is in this set.
    pub fn parts(&mut self, user: &Member<User<T>>) -> Option<(&Constraints, &mut T)> {
        let user = self.members.get_mut(user)?;
        Some((user.needs.by(self.choice), &mut user.data))
    }

    /// Proposes that `newcomer` joins: as [`consider`](Self::consider), and `ENOMEM`, also where
    /// there are as many users as there may be.
    #[expect(
        clippy::result_large_err,
        reason = "a refusal is rare, and must not fail for want of memory"
    )]
    #[inline(always)]
    pub fn propose(&mut self, mut newcomer: Newcomer<T>) -> Result<Proposal<'_, T>, Refused> {
        let outcome = self.consider(&mut newcomer)?;
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

    /// Whether a newcomer could join. Nothing changes in the set.
    ///
    /// It cannot where no memory of the buffer's length could ever satisfy its own needs, or
    /// those of all together, by either choice. The reason names the user that stands against it,
    /// where it is one.
    #[expect(
        clippy::result_large_err,
        reason = "a refusal is rare, and must not fail for want of memory"
    )]
    #[inline(always)]
    pub fn consider(&self, newcomer: &mut Newcomer<T>) -> Result<Outcome, Refused> {
        let page = PAGE_SIZE as u64;
        newcomer.user_mut().needs.suit(self.len, page);
        let user = newcomer.user();
        let refused = |misfit, with| {
            Refused::Conflict(Conflict {
                who: user.name(),
                misfit,
                with,
            })
        };
        let needs = user.needs();
        if *needs == Needs::NONE {
            // What all need stays as it is, and that is possible.
            return Ok(Outcome {
                together: self.together,
                choice: self.choice,
            });
        }
        if let Some(misfit) = needs.own().impossible(self.len, page) {
            return Err(refused(misfit, Party::Itself));
        }
        let together = self.together.with(needs);
        match together.choose(self.choice, self.len, page) {
            Ok(choice) => Ok(Outcome { together, choice }),
            Err(misfit) => {
                let (misfit, with) = self.opponent(needs, misfit.field);
                Err(refused(misfit, with))
            }
        }
    }

    /// Which one user makes it impossible, in `field`, to share with a newcomer. One with whom
    /// second choices do not help, if there is any.
    fn opponent(&self, needs: &Needs, field: Field) -> (Misfit, Party) {
        let page = PAGE_SIZE as u64;
        let against = |other: &Constraints| Misfit {
            field,
            wanted: needs.own().placement.get(field),
            found: other.placement.get(field),
        };
        let base = Together::new(&Constraints::ANY).with(needs);
        for choice in [Choice::Second, Choice::First] {
            let stands_against = |user: &&User<T>| {
                let both = base.with(user.needs());
                both.impossible(choice, self.len, page).is_some()
            };
            if let Some(user) = self.iter().find(stands_against) {
                return (against(user.needs().own()), Party::Device(user.name()));
            }
        }
        let creator = Together::new(&self.base).with(needs);
        if creator.impossible(Choice::First, self.len, page).is_some() {
            let creator = Party::Device(Name::new(b"the buffer's creator"));
            return (against(&self.base), creator);
        }
        (against(self.combined()), Party::Others)
    }

    /// Takes a user out, if it is in this set, and computes anew what the others need. As
    /// [`reconsider`](Self::reconsider).
    pub fn release(
        &mut self,
        user: &Member<User<T>>,
        could: impl FnOnce(&Self, &Constraints) -> bool,
    ) {
        // Who needed nothing narrowed nothing.
        let is_bound = |user: &User<T>| *user.needs() != Needs::NONE;
        let is_bound = self.get(user).is_some_and(is_bound);
        self.members.remove(user);
        if is_bound {
            self.reconsider(could);
        }
    }

    /// Takes out all users that `goes` says of that they go, and computes anew what the others
    /// need. As [`reconsider`](Self::reconsider).
    pub fn release_all(
        &mut self,
        mut goes: impl FnMut(&mut User<T>) -> bool,
        could: impl FnOnce(&Self, &Constraints) -> bool,
    ) {
        let before = self.len();
        // Backwards: what takes the place of one that goes has been looked at.
        for place in (0..before).rev() {
            if self.members.at_mut(place).is_some_and(&mut goes) {
                self.members.remove_at(place);
            }
        }
        if self.len() != before {
            self.reconsider(could);
        }
    }

    /// Computes anew what all need together.
    ///
    /// Second choices that counted count no longer where they need not, if `could` says that what
    /// all would then need can be had: it cannot where there is memory, which was chosen for the
    /// second choices.
    pub fn reconsider(&mut self, could: impl FnOnce(&Self, &Constraints) -> bool) {
        let base = Together::new(&self.base);
        let together = self.iter().fold(base, |all, user| all.with(user.needs()));
        self.together = together;
        if self.choice == Choice::Second {
            let page = PAGE_SIZE as u64;
            let is_possible = together.impossible(Choice::First, self.len, page).is_none();
            if is_possible && could(self, together.by(Choice::First)) {
                self.choice = Choice::First;
            }
        }
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

    /// The first user whom `memory` does not fit, and why not; likewise for the buffer's own
    /// needs.
    pub fn misfit(&self, memory: &Memory<'_>) -> Option<(Name, Misfit)> {
        let page = PAGE_SIZE as u64;
        // Suits it a table that would serve all, it suits each.
        self.combined().misfit(memory, page)?;
        if let Some(misfit) = self.base.misfit(memory, page) {
            return Some((Name::new(b"the buffer's creator"), misfit));
        }
        self.iter().find_map(|user| {
            let misfit = user.needs.of_memory(self.choice).misfit(memory, page)?;
            Some((user.name(), misfit))
        })
    }

    /// The user whose need of `field` is the one that binds all, if it is a user's.
    pub fn binding(&self, field: Field) -> Option<&User<T>> {
        let bound = self.combined().placement.get(field);
        self.iter()
            .find(|user| user.needs.of_memory(self.choice).placement.get(field) == bound)
    }
}
