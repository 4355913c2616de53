// SPDX-License-Identifier: GPL-2.0

//! Ranges of addresses from which an allocator gives one range at a time.

use super::Need;
use crate::c;
use dma_buf_constraints::model::{
    Field,
    Misfit,
    Range, //
};

/// The first and the last address of a range.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Extent {
    /// Returns the range.
    pub(super) fn range(&self) -> Range {
        Range {
            start: self.first,
            len: self.len(),
        }
    }

    /// Returns the length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.last - self.first + 1
    }

    /// Returns whether the process may have memory from where the range starts.
    pub(super) fn is_allowed(&self) -> bool {
        // SAFETY: The call takes any address and reads the cpuset of the current process.
        unsafe { c::cenalloc_may_use(self.first) }
    }

    /// Returns whether the range contains `address`.
    pub(super) fn contains(&self, address: u64) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// Checks whether one range for `need` has a place in this one, if all of it is free.
    pub(super) fn could(&self, need: &Need) -> Result<(), Misfit> {
        if self.has_place(need.len, 1, need.placement.max_address) {
            if self.has_place(
                need.len,
                need.placement.alignment,
                need.placement.max_address,
            ) {
                return Ok(());
            }
            let mut possible = need.placement.alignment;
            while !self.has_place(need.len, possible, need.placement.max_address) {
                possible /= 2;
            }
            return Err(Misfit {
                field: Field::Alignment,
                wanted: need.placement.alignment,
                found: possible,
            });
        }
        Err(Misfit {
            field: Field::MaxAddress,
            wanted: need.placement.max_address,
            found: self.first,
        })
    }

    fn has_place(&self, len: u64, alignment: u64, max_address: u64) -> bool {
        self.first
            .checked_next_multiple_of(alignment)
            .and_then(|start| start.checked_add(len - 1))
            .is_some_and(|last| last <= self.last.min(max_address))
    }
}

/// Returns the most bytes in one of `extents`; 0 where there are none.
pub(super) fn longest(extents: &[Extent]) -> u64 {
    extents.iter().map(Extent::len).max().unwrap_or(0)
}

/// Checks whether one range for `need`, no longer than the [`longest`], has a place in one of
/// `extents`.
pub(super) fn any_could(extents: &[Extent], need: &Need) -> Result<(), Misfit> {
    any_yes(extents.iter().map(|extent| extent.could(need)))
}

/// Returns [`Ok`] if any of `answers` is, or there are none; otherwise the first error.
pub(super) fn any_yes<E>(mut answers: impl Iterator<Item = Result<(), E>>) -> Result<(), E> {
    match answers.next() {
        Some(Err(no)) if !answers.any(|answer| answer.is_ok()) => Err(no),
        _ => Ok(()),
    }
}
