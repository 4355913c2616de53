// SPDX-License-Identifier: GPL-2.0

//! What users prefer of memory beyond what they need. It is tried first, and refuses nobody.

use super::memory::Range;

/// How much a preference is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// Nothing: it is not preferred.
    None,
    /// Memory that is free.
    Weak,
    /// What a need is worth: other memory is reclaimed, and areas of contiguous memory are used.
    Strong,
}

/// What one user prefers, or several together.
///
/// [`meet`](Self::meet) is commutative, associative and idempotent, and [`NONE`](Self::NONE) is its
/// unit. Preferences are no part of what is [`impossible`](super::Constraints::impossible) or a
/// [`misfit`](super::Constraints::misfit).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Preferences {
    /// One contiguous range. Combined by the stronger.
    pub contiguous: Strength,
}

impl Preferences {
    /// No preferences.
    pub const NONE: Self = Self {
        contiguous: Strength::None,
    };

    /// The strongest.
    pub const STRONG: Self = Self {
        contiguous: Strength::Strong,
    };

    /// Combines both: what meets the result meets both.
    #[must_use]
    pub const fn meet(self, other: Self) -> Self {
        if self.contiguous as u8 > other.contiguous as u8 {
            self
        } else {
            other
        }
    }

    /// Returns whether there is any.
    pub const fn is_some(self) -> bool {
        self.contiguous as u8 != Strength::None as u8
    }

    /// Returns whether memory of these ranges does not meet them.
    pub const fn unmet(self, ranges: &[Range]) -> bool {
        self.is_some() && ranges.len() > 1
    }
}
