// SPDX-License-Identifier: GPL-2.0

//! What a user needs, by where it is known from, and how an ancestor unifies users that could not
//! share otherwise.
//!
//! Two users whose classes of memory do not intersect conflict, unless a common ancestor declares
//! constraints that count for more than what is said of either: then the ancestor's stand in
//! place of what is said of both. Facts bind whatever is said.

use super::constraints::{
    Constraints,
    Placement,
    SegmentLimits, //
};

/// What the hardware of a device needs, whatever is said: those fields that the kernel can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// [`Placement::access_mask`].
    pub access_mask: u64,
    /// [`Placement::max_address`].
    pub max_address: u64,
    /// [`Placement::alignment`].
    pub alignment: u64,
    /// [`Constraints::segments`].
    pub segments: SegmentLimits,
    /// Whether the hardware keeps caches coherent for the device: then any memory is coherent.
    pub is_coherent: bool,
}

impl Facts {
    /// Nothing is needed.
    pub const NONE: Self = Self {
        access_mask: u64::MAX,
        max_address: u64::MAX,
        alignment: 1,
        segments: SegmentLimits::ANY,
        is_coherent: false,
    };

    /// As constraints.
    const fn constraints(&self) -> Constraints {
        Constraints {
            placement: Placement {
                access_mask: self.access_mask,
                max_address: self.max_address,
                alignment: self.alignment,
                ..Placement::ANY
            },
            segments: self.segments,
            ..Constraints::ANY
        }
    }

    /// With what is said.
    const fn meet(&self, said: &Constraints) -> Constraints {
        let mut both = self.constraints().meet(said);
        if self.is_coherent {
            both.placement.coherent = false;
        }
        both
    }
}

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
    facts: Facts,
    said: Constraints,
    effective: Constraints,
    /// Whether what is said is said of an ancestor.
    is_inherited: bool,
    is_unified: bool,
    /// For [`release_ancestors`].
    goes_back: bool,
}

impl Needs {
    /// Nothing is needed.
    pub const NONE: Self = Self::new(Facts::NONE, Said::NOTHING);

    /// What a device needs whose hardware needs `facts` and of which `said` is said.
    pub const fn new(facts: Facts, said: Said) -> Self {
        // INVARIANT: The facts with what is said.
        Self {
            effective: facts.meet(&said.constraints),
            facts,
            said: said.constraints,
            is_inherited: said.is_inherited,
            is_unified: false,
            goes_back: false,
        }
    }

    /// What a device needs of which nothing is said, as of most.
    #[inline]
    pub const fn of(facts: Facts) -> Self {
        // INVARIANT: The facts alone.
        Self {
            effective: facts.constraints(),
            facts,
            said: Constraints::ANY,
            is_inherited: false,
            is_unified: false,
            goes_back: false,
        }
    }

    /// The same with more that is said of the device itself. Not for needs that are unified.
    #[must_use]
    pub fn also(&self, said: &Constraints) -> Self {
        let said = Said {
            constraints: self.said.meet(said),
            is_inherited: self.is_inherited && *said == Constraints::ANY,
        };
        Self::new(self.facts, said)
    }

    /// What counts now.
    pub const fn effective(&self) -> &Constraints {
        &self.effective
    }

    /// What the user needs by itself: the facts, and what is said of it.
    pub const fn own(&self) -> Constraints {
        self.facts.meet(&self.said)
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
            effective: self.facts.meet(ancestor),
            is_unified: true,
            ..*self
        }
    }

    /// Whether an ancestor's constraints may stand in place of what counts now: its priority is
    /// the higher one, or what counts is the ancestor's already.
    pub fn yields_to(&self, ancestor: &Constraints) -> bool {
        let has_it = (self.is_unified || self.is_inherited)
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

/// The needs of users, by their places in a set, of which some are free.
pub trait Places {
    /// How many places there are.
    fn places(&self) -> usize;

    /// The needs of the user in a place.
    fn needs(&self, place: usize) -> Option<&Needs>;

    /// The needs of the user in a place.
    fn needs_mut(&mut self, place: usize) -> Option<&mut Needs>;
}

/// Finds those who have no partner left with whom they could not share otherwise, and so can go
/// back to their own needs: for [`Needs::settled`] and [`Needs::settle`]. The result is whether
/// there are any.
///
/// A partner is a user whose own classes of memory do not intersect, or one that stays with its
/// ancestor's, where those do not.
pub fn release_ancestors(users: &mut (impl Places + ?Sized)) -> bool {
    let mut count = 0;
    for place in 0..users.places() {
        if let Some(needs) = users.needs_mut(place) {
            needs.goes_back = needs.is_unified;
            count += usize::from(needs.goes_back);
        }
    }
    // Whoever stays may keep others: until nobody more does.
    let mut before = 0;
    while count != before {
        before = count;
        for place in 0..users.places() {
            let own = match users.needs(place) {
                Some(needs) if needs.goes_back => needs.own(),
                _ => continue,
            };
            let is_partner =
                |other: &Needs| own.is_disjoint(&other.own()) || own.is_disjoint(&other.settled());
            let mut others = (0..users.places()).filter_map(|place| users.needs(place));
            if others.any(is_partner) {
                if let Some(needs) = users.needs_mut(place) {
                    needs.goes_back = false;
                }
                count -= 1;
            }
        }
    }
    count > 0
}
