// SPDX-License-Identifier: GPL-2.0

//! What a user needs, by where it is known from, and how an ancestor unifies users that could not
//! share otherwise.
//!
//! Two users whose classes of memory do not intersect conflict, unless a common ancestor declares
//! constraints that count for more than what is said of either: then the ancestor's stand in
//! place of what is said of both. Facts bind whatever is said.

use super::constraints::Constraints;

/// What is said of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// By its driver, by the administrator and by programs together.
    pub constraints: Constraints,
    /// Whether it is said of an ancestor, and nothing of the device itself.
    pub is_inherited: bool,
}

impl Said {
    /// Nothing.
    pub const NOTHING: Self = Self {
        constraints: Constraints::ANY,
        is_inherited: false,
    };
}

/// What one user needs: facts, what is said of it, and what counts for it now.
///
/// # Invariants
///
/// `effective` is the facts with what is said, or, where `is_unified`, with what an ancestor
/// declares in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    facts: Constraints,
    /// Whether the hardware keeps caches coherent for the device: then any memory is coherent.
    is_coherent: bool,
    said: Said,
    effective: Constraints,
    is_unified: bool,
    /// For [`release_ancestors`].
    goes_back: bool,
}

impl Needs {
    /// Nothing is needed.
    pub const NONE: Self = Self::new(Constraints::ANY, false, Said::NOTHING);

    /// What a device needs whose hardware needs `facts` and of which `said` is said.
    /// `is_coherent` where it needs no cache maintenance, whatever the memory.
    pub const fn new(facts: Constraints, is_coherent: bool, said: Said) -> Self {
        // INVARIANT: The facts with what is said.
        Self {
            facts,
            is_coherent,
            said,
            effective: combine(&facts, &said.constraints, is_coherent),
            is_unified: false,
            goes_back: false,
        }
    }

    /// The same with more that is said of the device itself. Not for needs that are unified.
    #[must_use]
    pub fn also(&self, said: &Constraints) -> Self {
        let said = Said {
            constraints: self.said.constraints.meet(said),
            is_inherited: self.said.is_inherited && *said == Constraints::ANY,
        };
        Self::new(self.facts, self.is_coherent, said)
    }

    /// What counts now.
    pub const fn effective(&self) -> &Constraints {
        &self.effective
    }

    /// What the user needs by itself: the facts, and what is said of it.
    pub const fn own(&self) -> Constraints {
        combine(&self.facts, &self.said.constraints, self.is_coherent)
    }

    /// Whether an ancestor's constraints stand in place of what is said of the user.
    pub const fn is_unified(&self) -> bool {
        self.is_unified
    }

    /// The same with an ancestor's constraints in place of what is said.
    #[must_use]
    pub const fn under(&self, ancestor: &Constraints) -> Self {
        // INVARIANT: The facts with what the ancestor declares.
        Self {
            effective: combine(&self.facts, ancestor, self.is_coherent),
            is_unified: true,
            ..*self
        }
    }

    /// Whether an ancestor's constraints may stand in place of what counts now: its priority is
    /// the higher one, or what counts is the ancestor's already.
    pub fn yields_to(&self, ancestor: &Constraints) -> bool {
        let has_it = (self.is_unified || self.said.is_inherited)
            && self.effective == self.under(ancestor).effective;
        ancestor.priority > self.effective.priority || has_it
    }

    /// Whether this user can only share with `newcomer` if both have the same ancestor's
    /// constraints: it can neither with what `newcomer` needs by itself, nor with what counts.
    pub fn has_to_join(&self, newcomer: &Self) -> bool {
        self.effective.is_disjoint(&newcomer.own())
            || self.effective.is_disjoint(&newcomer.effective)
    }

    /// What counts once [`release_ancestors`] has come true.
    pub const fn settled(&self) -> Constraints {
        if self.goes_back {
            self.own()
        } else {
            self.effective
        }
    }

    /// Makes it true what [`release_ancestors`] found.
    pub fn settle(&mut self) {
        if self.goes_back {
            // INVARIANT: The facts with what is said.
            self.effective = self.own();
            self.is_unified = false;
            self.goes_back = false;
        }
    }
}

impl AsRef<Self> for Needs {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl AsMut<Self> for Needs {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}

/// Facts with what is said.
const fn combine(facts: &Constraints, said: &Constraints, is_coherent: bool) -> Constraints {
    let mut both = facts.meet(said);
    if is_coherent {
        both.placement.coherent = false;
    }
    both
}

/// What `newcomer` needs where `ancestor` unifies it with `users`, all of them that have to join.
/// Nothing where it does not: somebody is not `is_below` the ancestor, or does not yield to it.
pub fn unify<'a, U: AsRef<Needs> + 'a>(
    newcomer: &Needs,
    ancestor: &Constraints,
    users: impl IntoIterator<Item = &'a U>,
    is_below: impl Fn(&U) -> bool,
) -> Option<Needs> {
    if !newcomer.yields_to(ancestor) {
        return None;
    }
    let unified = newcomer.under(ancestor);
    let joins = |user: &U| {
        let needs = user.as_ref();
        !needs.has_to_join(&unified) || is_below(user) && needs.yields_to(ancestor)
    };
    users.into_iter().all(joins).then_some(unified)
}

/// Finds those who have no partner left with whom they could not share otherwise, and so can go
/// back to their own needs: for [`Needs::settled`] and [`Needs::settle`]. The result is whether
/// there are any.
///
/// A partner is a user whose own classes of memory do not intersect, or one that stays with its
/// ancestor's, where those do not.
pub fn release_ancestors<U: AsRef<Needs> + AsMut<Needs>>(slots: &mut [Option<U>]) -> bool {
    let mut count = 0;
    for user in slots.iter_mut().flatten() {
        let needs = user.as_mut();
        needs.goes_back = needs.is_unified;
        count += usize::from(needs.goes_back);
    }
    // Whoever stays may keep others: until nobody more does.
    let mut before = 0;
    while count != before {
        before = count;
        for index in 0..slots.len() {
            let needs = match &slots[index] {
                Some(user) if user.as_ref().goes_back => *user.as_ref(),
                _ => continue,
            };
            let own = needs.own();
            let is_partner =
                |other: &Needs| own.is_disjoint(&other.own()) || own.is_disjoint(&other.settled());
            if slots.iter().flatten().any(|user| is_partner(user.as_ref())) {
                if let Some(user) = &mut slots[index] {
                    user.as_mut().goes_back = false;
                }
                count -= 1;
            }
        }
    }
    count > 0
}
