// SPDX-License-Identifier: GPL-2.0

//! What a user needs by itself and as a second choice, and what users need together.
//!
//! A user has two choices: what it needs by itself, and that with the classes of memory in addition
//! that an ancestor of higher priority accepts. If the users' own classes of memory intersect, the
//! first choices count; otherwise the second ones do, for all users. So the result depends on the
//! set of users, and not on their order.

use super::{
    constraints::{
        Constraints,
        Placement,
        SegmentLimits, //
    },
    memory::Misfit,
    preferences::Preferences, //
};

/// What the hardware of a device needs, in the fields that the kernel can know.
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
    /// Whether an IOMMU translates for the device: it reaches memory wherever that lies, and what
    /// it needs of addresses, segments and their alignment binds how that is mapped.
    pub is_translated: bool,
}

impl Facts {
    /// No needs.
    pub const NONE: Self = Self {
        access_mask: u64::MAX,
        max_address: u64::MAX,
        alignment: 1,
        segments: SegmentLimits::ANY,
        is_coherent: false,
        is_translated: false,
    };

    /// Returns the facts as constraints.
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

    /// Combines the facts with what is declared.
    const fn meet(&self, said: &Constraints) -> Constraints {
        let mut both = self.constraints().meet(said);
        if self.is_coherent {
            both.placement.coherent = false;
        }
        if self.is_translated {
            both.placement.max_address = u64::MAX;
        }
        both
    }
}

/// Which needs of users count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// What each needs by itself.
    First,
    /// Second choices, of those that have one.
    Second,
}

/// What one user needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    own: Constraints,
    /// What counts if second choices do; equal to `own` for a user that has none.
    either: Constraints,
    /// What it prefers beyond that.
    preferences: Preferences,
    /// [`Facts::is_translated`].
    is_translated: bool,
}

impl Needs {
    /// No needs.
    pub const NONE: Self = Self::of(Facts::NONE);

    /// Returns the needs of a device without declarations, as most are.
    #[inline]
    pub const fn of(facts: Facts) -> Self {
        let own = facts.constraints();
        Self {
            own,
            either: own,
            preferences: Preferences::NONE,
            is_translated: facts.is_translated,
        }
    }

    /// Returns the needs of a device with the hardware `facts`, for which `said` was declared, and
    /// `ancestor` for the nearest of its ancestors that has a declaration of higher priority.
    ///
    /// The second choice is the ancestor's classes of memory, as far as the hardware reaches them.
    /// Such memory has to satisfy all else that was declared for both.
    pub const fn new(facts: &Facts, said: &Constraints, ancestor: Option<&Constraints>) -> Self {
        let own = facts.meet(said);
        let alone = Self {
            own,
            either: own,
            preferences: Preferences::NONE,
            is_translated: facts.is_translated,
        };
        let Some(ancestor) = ancestor else {
            return alone;
        };
        let second = facts.meet(ancestor);
        let access_mask = own.placement.access_mask | second.placement.access_mask;
        if access_mask == own.placement.access_mask {
            // The ancestor adds no class.
            return alone;
        }
        let mut either = own.meet(&second);
        either.placement.access_mask = access_mask;
        Self { either, ..alone }
    }

    /// Adds `preferences`, unless an IOMMU translates: any memory is mapped as they ask then.
    #[must_use]
    pub const fn preferring(self, preferences: Preferences) -> Self {
        if self.is_translated {
            return self;
        }
        Self {
            preferences: self.preferences.meet(preferences),
            ..self
        }
    }

    /// Returns what the user prefers beyond what it needs.
    pub const fn preferences(&self) -> Preferences {
        self.preferences
    }

    /// Returns what the user needs by itself: the facts, and what was declared for it.
    pub const fn own(&self) -> &Constraints {
        &self.own
    }

    /// Returns what counts of this user's needs.
    pub const fn by(&self, choice: Choice) -> &Constraints {
        match choice {
            Choice::First => &self.own,
            Choice::Second => &self.either,
        }
    }

    /// Returns what counts of this user's needs of the memory.
    #[inline]
    pub const fn of_memory(&self, choice: Choice) -> Constraints {
        let all = self.by(choice);
        if self.is_translated {
            all.of_memory()
        } else {
            *all
        }
    }

    /// Returns whether the user has a second choice.
    pub const fn has_second(&self) -> bool {
        self.own.placement.access_mask != self.either.placement.access_mask
    }

    /// Drops a second choice that no memory of `len` bytes could satisfy.
    #[inline(always)]
    pub fn suit(&mut self, len: u64, page_size: u64) {
        if self.has_second() && self.either.impossible(len, page_size).is_some() {
            self.either = self.own;
        }
    }

    /// Returns whether what satisfies this user satisfies `other`, by either choice.
    pub fn covers(&self, other: &Self) -> bool {
        self.is_translated == other.is_translated
            && self.own.meet(&other.own) == self.own
            && self.either.meet(&other.either) == self.either
    }
}

/// What users need of the memory together, by each choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Together {
    own: Constraints,
    either: Constraints,
}

impl Together {
    /// Creates the needs of a buffer without users.
    pub const fn new(base: &Constraints) -> Self {
        Self {
            own: *base,
            either: *base,
        }
    }

    /// Adds the needs of a user.
    #[must_use]
    #[inline]
    pub const fn with(&self, needs: &Needs) -> Self {
        Self {
            own: self.own.meet(&needs.of_memory(Choice::First)),
            either: self.either.meet(&needs.of_memory(Choice::Second)),
        }
    }

    /// Returns the combined constraints by a choice.
    pub const fn by(&self, choice: Choice) -> &Constraints {
        match choice {
            Choice::First => &self.own,
            Choice::Second => &self.either,
        }
    }

    /// Returns the first field that no memory of `len` bytes could satisfy for all users, by a
    /// choice.
    ///
    /// Each user has a table of its own, cut to its own limits: only what binds the memory has to
    /// be possible for all.
    pub fn impossible(&self, choice: Choice, len: u64, page_size: u64) -> Option<Misfit> {
        let common = Constraints {
            placement: self.by(choice).placement,
            ..Constraints::ANY
        };
        common.impossible(len, page_size)
    }

    /// Chooses what counts: the preferred choice if it is possible, and otherwise the other.
    ///
    /// For memory that was chosen by the second choices, those are `preferred`.
    ///
    /// # Errors
    ///
    /// Returns what makes the preferred choice impossible, if both are.
    pub fn choose(&self, preferred: Choice, len: u64, page_size: u64) -> Result<Choice, Misfit> {
        let other = match preferred {
            Choice::First => Choice::Second,
            Choice::Second => Choice::First,
        };
        let Some(misfit) = self.impossible(preferred, len, page_size) else {
            return Ok(preferred);
        };
        match self.impossible(other, len, page_size) {
            Some(_) => Err(misfit),
            None => Ok(other),
        }
    }
}
