// SPDX-License-Identifier: GPL-2.0

//! The users of one buffer, and what they need together.
//!
//! The set does not choose memory: it tells which users conflict before there is any
//! ([`Users::consider`]), and which one given memory does not suit ([`Users::misfit`]). It has no
//! lock of its own, but belongs under the buffer's reservation lock.
//!
//! Where users have no class of memory in common, their second choices count ([`model::Needs`]).
//!
//! [`model::Needs`]: crate::model::Needs

use crate::{
    members::Members,
    model::{
        Cause,
        Choice,
        Constraints,
        Field,
        Memory,
        Misfit,
        Name,
        Needs,
        Refusal,
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

/// The identity of a user, as the exporter keeps it.
pub trait Identity {
    /// Returns the name for messages. It may be slow.
    fn name(&self) -> Name;
}

/// One user: what it needs, and what the exporter keeps for it.
pub struct User<T> {
    needs: Needs,
    /// What the exporter keeps for this user.
    pub data: T,
}

/// A reference to a user that has joined.
pub type UserRef<T> = Arc<Member<User<T>>>;

/// A user that is in no set yet. It can be shared between threads if what is kept for it can be.
pub struct Newcomer<T>(Pin<UniqueArc<Member<User<T>>>>, PhantomData<T>);

impl<T> Newcomer<T> {
    /// Creates a user that needs `needs`, and for which the exporter keeps `data`. It is allocated
    /// by `flags`, since users that a process asks for are charged to it.
    ///
    /// # Errors
    ///
    /// - `ENOMEM` if there is no memory for it.
    pub fn new(needs: &Needs, data: T, flags: Flags) -> Result<Self> {
        let user = User {
            needs: *needs,
            data,
        };
        Ok(Self(Member::new(user, flags)?.into(), PhantomData))
    }

    /// Replaces the needs.
    #[must_use]
    #[inline(always)]
    pub fn with(mut self, needs: &Needs) -> Self {
        self.0.get_mut().needs = *needs;
        self
    }

    /// Returns the user.
    pub fn user(&self) -> &User<T> {
        Member::unique(&self.0)
    }

    /// Returns the user.
    pub fn user_mut(&mut self) -> &mut User<T> {
        self.0.get_mut()
    }
}

impl<T: Identity> User<T> {
    /// Returns the name for messages.
    pub fn name(&self) -> Name {
        self.data.name()
    }
}

impl<T> User<T> {
    /// Returns what this user needs.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }
}

/// The cause for which a newcomer cannot be proposed.
pub enum Refused {
    /// What a refusal tells.
    Because(Refusal),
    /// Any other error: of the caller, or a signal.
    Failed(Error),
}

impl Refused {
    /// Returns the error that comes with it.
    pub fn error(&self) -> Error {
        match self {
            Self::Because(refusal) => Error::from_errno(-refusal.cause.errno()),
            Self::Failed(error) => *error,
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        refused.error()
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The combined constraints with a newcomer, which are possible.
pub struct Outcome {
    together: Together,
    choice: Choice,
}

impl Outcome {
    /// Returns what the buffer, all users and the newcomer would need together.
    pub fn combined(&self) -> &Constraints {
        self.together.by(self.choice)
    }
}

/// A newcomer that may join, and is not in the set yet. It borrows the set, so that no user joins
/// or leaves before it is committed or given up.
pub struct Proposal<'a, T> {
    users: &'a mut Users<T>,
    newcomer: Newcomer<T>,
    outcome: Outcome,
}

impl<T: Identity> Proposal<'_, T> {
    /// Returns the users in the set.
    pub fn users(&self) -> &Users<T> {
        self.users
    }

    /// Returns the newcomer.
    pub fn newcomer(&self) -> &User<T> {
        self.newcomer.user()
    }

    /// Returns what the set would need.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Returns what would count of the newcomer's needs of the memory.
    pub fn constraints(&self) -> Constraints {
        self.newcomer.user().needs.of_memory(self.outcome.choice)
    }

    /// Returns which choice would count.
    pub fn choice(&self) -> Choice {
        self.outcome.choice
    }

    /// Lets second choices count, if the caller finds that memory for the first ones cannot be had.
    /// Returns whether they did not count before, and differ and are possible.
    pub fn take_second(&mut self) -> bool {
        let Outcome {
            together, choice, ..
        } = &mut self.outcome;
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

    /// Returns whether another choice would count for the users in the set.
    pub fn changes_others(&self) -> bool {
        self.outcome.choice != self.users.choice
    }

    /// Returns the first need that `memory` does not satisfy: of the newcomer and, where another
    /// choice would count, of all users.
    pub fn misfit(&self, memory: &Memory<'_>) -> Option<Misfit> {
        if self.changes_others() {
            return self.misfit_of_all(memory);
        }
        self.constraints().misfit(memory, PAGE_SIZE as u64)
    }

    /// Returns the first need that `memory` does not satisfy, of the newcomer and all users.
    pub fn misfit_of_all(&self, memory: &Memory<'_>) -> Option<Misfit> {
        let page = PAGE_SIZE as u64;
        // Memory that suits a table for all suits each.
        self.outcome.combined().misfit(memory, page)?;
        let others = self
            .users
            .iter()
            .map(|user| user.needs.of_memory(self.outcome.choice));
        let first = [self.constraints(), self.users.base];
        Iterator::chain(first.into_iter(), others)
            .find_map(|constraints| constraints.misfit(memory, page))
    }

    /// Adds the newcomer to the set.
    #[inline(always)]
    pub fn commit(self) -> UserRef<T> {
        let users = self.users;
        users.together = self.outcome.together;
        users.choice = self.outcome.choice;
        users.members.push(self.newcomer.0)
    }

    /// Gives the newcomer back, which may be proposed again.
    pub fn give_up(self) -> Newcomer<T> {
        self.newcomer
    }
}

/// Who made a buffer, as a party of a refusal.
const CREATOR: &[u8] = b"the creator of the buffer";

/// The most users of one buffer, so that a search through all of them stays short.
pub const MAX_USERS: usize = 4096;

/// The users of one buffer.
pub struct Users<T> {
    /// What the buffer needs in addition to its users.
    base: Constraints,
    /// The buffer's length in bytes.
    len: u64,
    members: Members<User<T>>,
    /// What `base` and all users need together.
    together: Together,
    /// The choice that counts, for all users.
    choice: Choice,
    /// A user that was released: an importer that attaches and detaches for each frame reuses it.
    spare: Option<Newcomer<T>>,
}

impl<T: Identity> Users<T> {
    /// Creates the set of a buffer of `len` bytes that itself needs `base`, without users.
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

    /// Returns the combined constraints of all users.
    ///
    /// Each user needs only its own of [`segments`](Constraints::segments). What binds only the
    /// mapping of a device behind an IOMMU is left out.
    pub fn combined(&self) -> &Constraints {
        self.together.by(self.choice)
    }

    /// Returns what counts of the needs of a user of this set. It changes only where the second
    /// choice of the user begins or ceases to count.
    pub fn constraints_of<'a>(&self, user: &'a User<T>) -> &'a Constraints {
        user.needs.by(self.choice)
    }

    /// Returns whether the second choice of a user of this set counts.
    pub fn has_second(&self, user: &User<T>) -> bool {
        self.choice == Choice::Second && user.needs.has_second()
    }

    /// Returns how many users there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns whether there is no user.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the users, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &User<T>> {
        self.members.iter()
    }

    /// Returns the users, in no particular order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut User<T>> {
        self.members.iter_mut()
    }

    /// Returns the first user for which `is_it` holds.
    pub fn find(&self, mut is_it: impl FnMut(&User<T>) -> bool) -> Option<UserRef<T>> {
        let mut users = Iterator::zip(self.members.members(), self.iter());
        let (found, _) = users.find(|(_, user)| is_it(user))?;
        Some(found.clone())
    }

    /// Returns a user, if it is in this set.
    pub fn get(&self, user: &Member<User<T>>) -> Option<&User<T>> {
        self.members.get(user)
    }

    /// Returns a user, if it is in this set.
    pub fn get_mut(&mut self, user: &Member<User<T>>) -> Option<&mut User<T>> {
        self.members.get_mut(user)
    }

    /// Returns what counts of a user's needs, and what the exporter keeps for it, if it is in this
    /// set.
    pub fn parts(&mut self, user: &Member<User<T>>) -> Option<(&Constraints, &mut T)> {
        let user = self.members.get_mut(user)?;
        Some((user.needs.by(self.choice), &mut user.data))
    }

    /// Proposes that `newcomer` joins.
    ///
    /// # Errors
    ///
    /// - As [`consider`](Self::consider).
    /// - [`Cause::Users`] if there are [`MAX_USERS`], [`Cause::Bookkeeping`] if there is no memory
    ///   for the user.
    #[inline(always)]
    pub fn propose(&mut self, mut newcomer: Newcomer<T>) -> Result<Proposal<'_, T>, Refused> {
        let outcome = self.consider(&mut newcomer)?;
        let cause = match self.members.reserve() {
            _ if self.len() >= MAX_USERS => Some(Cause::Users),
            Ok(()) => None,
            Err(_) => Some(Cause::Bookkeeping),
        };
        if let Some(cause) = cause {
            return Err(Refused::Because(Refusal {
                who: newcomer.user().name(),
                len: self.len,
                max_address: outcome.combined().placement.max_address,
                ..Refusal::new(cause)
            }));
        }
        Ok(Proposal {
            users: self,
            newcomer,
            outcome,
        })
    }

    /// Checks whether a newcomer could join. Nothing changes in the set.
    ///
    /// # Errors
    ///
    /// - [`Refused::Because`] if no memory of the buffer's length could ever satisfy its own needs,
    ///   or the combined constraints by either choice. The refusal names the user that stands
    ///   against it, if it is one.
    #[inline(always)]
    pub fn consider(&self, newcomer: &mut Newcomer<T>) -> Result<Outcome, Refused> {
        let page = PAGE_SIZE as u64;
        newcomer.user_mut().needs.suit(self.len, page);
        let user = newcomer.user();
        let refused = |misfit: Misfit, cause, other| {
            Refused::Because(Refusal {
                who: user.name(),
                field: Some(misfit.field),
                wanted: misfit.wanted,
                found: misfit.found,
                other,
                len: self.len,
                max_address: self
                    .together
                    .with(user.needs())
                    .by(self.choice)
                    .placement
                    .max_address,
                ..Refusal::new(cause)
            })
        };
        let needs = user.needs();
        if *needs == Needs::NONE {
            // The combined constraints stay as they are, which is possible.
            return Ok(Outcome {
                together: self.together,
                choice: self.choice,
            });
        }
        if let Some(misfit) = needs.own().impossible(self.len, page) {
            return Err(refused(misfit, Cause::Itself, Name::EMPTY));
        }
        let together = self.together.with(needs);
        match together.choose(self.choice, self.len, page) {
            Ok(choice) => Ok(Outcome { together, choice }),
            Err(misfit) => {
                let (misfit, cause, other) = self.opponent(needs, misfit.field);
                Err(refused(misfit, cause, other))
            }
        }
    }

    /// Returns the user with which a newcomer conflicts in `field`, preferably one with which
    /// second choices do not help.
    fn opponent(&self, needs: &Needs, field: Field) -> (Misfit, Cause, Name) {
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
                return (against(user.needs().own()), Cause::User, user.name());
            }
        }
        let creator = Together::new(&self.base).with(needs);
        if creator.impossible(Choice::First, self.len, page).is_some() {
            return (against(&self.base), Cause::User, Name::new(CREATOR));
        }
        (against(self.combined()), Cause::Others, Name::EMPTY)
    }

    /// Removes a user, if it is in this set, and combines the needs of the others as
    /// [`reconsider`](Self::reconsider).
    pub fn release(
        &mut self,
        user: &Member<User<T>>,
        could: impl FnOnce(&Self, &Constraints) -> bool,
    ) {
        // A user without needs narrowed nothing.
        let is_bound = |user: &User<T>| *user.needs() != Needs::NONE;
        let is_bound = self.get(user).is_some_and(is_bound);
        self.members.remove(user);
        if is_bound {
            self.reconsider(could);
        }
    }

    /// Removes all users for which `goes` holds, and combines the needs of the others as
    /// [`reconsider`](Self::reconsider).
    pub fn release_all(
        &mut self,
        mut goes: impl FnMut(&mut User<T>) -> bool,
        could: impl FnOnce(&Self, &Constraints) -> bool,
    ) {
        let before = self.len();
        // Backwards, since the user that takes the place of a removed one has been checked.
        for place in (0..before).rev() {
            if self.members.at_mut(place).is_some_and(&mut goes) {
                self.members.remove_at(place);
            }
        }
        if self.len() != before {
            self.reconsider(could);
        }
    }

    /// Combines the needs of all users anew.
    ///
    /// First choices count again where they are possible and `could` says that memory for them can
    /// be had. It cannot where there is memory, which was chosen for the second choices.
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

    /// Keeps a user that was released, for [`take_spare`](Self::take_spare), unless there are other
    /// references to it. The exporter has removed from it what is not to be kept.
    pub fn keep_spare(&mut self, user: UserRef<T>) {
        self.spare = Arc::into_unique_or_drop(user).map(|user| Newcomer(user, PhantomData));
    }

    /// Takes the newcomer that need not be allocated, if there is one.
    #[inline(always)]
    pub fn take_spare(&mut self) -> Option<Newcomer<T>> {
        self.spare.take()
    }

    /// Returns the first need of a user of this set that `memory` does not satisfy.
    pub fn misfit_of(&self, user: &User<T>, memory: &Memory<'_>) -> Option<Misfit> {
        let needs = user.needs.of_memory(self.choice);
        needs.misfit(memory, PAGE_SIZE as u64)
    }

    /// Returns the first user that `memory` does not suit, and its misfit, also for the buffer's
    /// own needs.
    pub fn misfit(&self, memory: &Memory<'_>) -> Option<(Name, Misfit)> {
        let page = PAGE_SIZE as u64;
        // Memory that suits a table for all suits each.
        self.combined().misfit(memory, page)?;
        if let Some(misfit) = self.base.misfit(memory, page) {
            return Some((Name::new(CREATOR), misfit));
        }
        self.iter().find_map(|user| {
            let misfit = self.misfit_of(user, memory)?;
            Some((user.name(), misfit))
        })
    }

    /// Returns who needs of `field` what all need together: a user, or the buffer's creator.
    pub fn binding(&self, field: Field) -> Name {
        let bound = self.combined().placement.get(field);
        let is_bound =
            |user: &&User<T>| user.needs.of_memory(self.choice).placement.get(field) == bound;
        match self.iter().find(is_bound) {
            Some(user) => user.name(),
            None => Name::new(CREATOR),
        }
    }
}
