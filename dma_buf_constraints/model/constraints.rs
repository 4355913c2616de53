// SPDX-License-Identifier: GPL-2.0

//! What a device needs of memory, and how the needs of several are combined.

use super::refusal::Field;

/// What binds the memory itself: where it lies and how much of it lies together.
///
/// Each field has a value for "don't care", the one of [`Placement::ANY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The classes of memory the device can reach, one bit a class. Combined by AND; all ones is
    /// "don't care", zero can be satisfied by nothing.
    pub access_mask: u64,
    /// The last physical address, in bytes, that the device can reach. Combined by the smaller;
    /// [`u64::MAX`] is "don't care".
    pub max_address: u64,
    /// How many segments the device's table may have; 1 is one contiguous range. Combined by the
    /// smaller; [`u32::MAX`] is "don't care".
    pub max_segments: u32,
    /// The alignment in bytes of the start of every segment, a power of two. Combined by the
    /// larger; 1 is "don't care".
    pub alignment: u64,
    /// Whether the device must not need cache maintenance. Combined by OR; `false` is "don't
    /// care".
    pub coherent: bool,
}

impl Placement {
    /// Any memory.
    pub const ANY: Self = Self {
        access_mask: u64::MAX,
        max_address: u64::MAX,
        max_segments: u32::MAX,
        alignment: 1,
        coherent: false,
    };

    /// Returns the value of one field; 0 for one that does not bind the memory.
    pub const fn get(&self, field: Field) -> u64 {
        match field {
            Field::AccessMask => self.access_mask,
            Field::MaxAddress => self.max_address,
            Field::MaxSegments => self.max_segments as u64,
            Field::Alignment => self.alignment,
            Field::Coherent => self.coherent as u64,
            Field::MaxSegmentSize
            | Field::SegmentBoundary
            | Field::Length
            | Field::Contiguous
            | Field::Device => 0,
        }
    }

    /// Combines both: what satisfies the result satisfies both.
    #[must_use]
    pub const fn meet(&self, other: &Self) -> Self {
        Self {
            access_mask: self.access_mask & other.access_mask,
            max_address: min(self.max_address, other.max_address),
            max_segments: if self.max_segments < other.max_segments {
                self.max_segments
            } else {
                other.max_segments
            },
            alignment: if self.alignment > other.alignment {
                self.alignment
            } else {
                other.alignment
            },
            coherent: self.coherent || other.coherent,
        }
    }
}

/// What binds one device's table of segments: the same memory can be cut finer for one device
/// than for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentLimits {
    /// The most bytes in one segment. Combined by the smaller; [`u64::MAX`] is "don't care".
    pub max_size: u64,
    /// A segment must not cross a multiple of `boundary_mask + 1`, a power of two (the form of
    /// `dma_parms->segment_boundary_mask`). Combined by the smaller; [`u64::MAX`] is "don't
    /// care".
    pub boundary_mask: u64,
}

impl SegmentLimits {
    /// Segments of any size, anywhere.
    pub const ANY: Self = Self {
        max_size: u64::MAX,
        boundary_mask: u64::MAX,
    };

    /// Combines both: what satisfies the result satisfies both.
    #[must_use]
    pub const fn meet(&self, other: &Self) -> Self {
        Self {
            max_size: min(self.max_size, other.max_size),
            boundary_mask: min(self.boundary_mask, other.boundary_mask),
        }
    }
}

/// What one device needs, or several together.
///
/// [`meet`](Self::meet) is commutative, associative and idempotent, and [`ANY`](Self::ANY) is its
/// unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constraints {
    /// What binds the memory.
    pub placement: Placement,
    /// What binds the table.
    pub segments: SegmentLimits,
    /// The priority of a declaration: that of an ancestor is a second choice if its priority is
    /// higher ([`Needs`](super::Needs)). Combined by the larger; 0 is "don't care".
    pub priority: u16,
}

impl Constraints {
    /// Any memory, in any segments.
    pub const ANY: Self = Self {
        placement: Placement::ANY,
        segments: SegmentLimits::ANY,
        priority: 0,
    };

    /// Combines both: what satisfies the result satisfies both.
    ///
    /// The result is for one table that serves two devices. Devices with a table each need the meet
    /// of their [`placement`](Self::placement) only, and each its own [`segments`](Self::segments).
    #[must_use]
    pub const fn meet(&self, other: &Self) -> Self {
        Self {
            placement: self.placement.meet(&other.placement),
            segments: self.segments.meet(&other.segments),
            priority: if self.priority > other.priority {
                self.priority
            } else {
                other.priority
            },
        }
    }

    /// Returns what binds the memory of a device behind an IOMMU, which lays out any memory as the
    /// rest requires.
    #[must_use]
    pub const fn of_memory(&self) -> Self {
        Self {
            placement: Placement {
                access_mask: self.placement.access_mask,
                coherent: self.placement.coherent,
                ..Placement::ANY
            },
            priority: self.priority,
            ..Self::ANY
        }
    }

    /// Returns the first field that makes no sense: not a power of two where it must be one, or an
    /// empty limit.
    pub const fn malformed(&self) -> Option<Field> {
        if self.placement.access_mask == 0 {
            return Some(Field::AccessMask);
        }
        if self.placement.max_segments == 0 {
            return Some(Field::MaxSegments);
        }
        if !self.placement.alignment.is_power_of_two() {
            return Some(Field::Alignment);
        }
        if self.segments.max_size == 0 {
            return Some(Field::MaxSegmentSize);
        }
        let boundary_mask = self.segments.boundary_mask;
        if boundary_mask == 0 || boundary_mask & boundary_mask.wrapping_add(1) != 0 {
            return Some(Field::SegmentBoundary);
        }
        None
    }
}

/// Implements the conversions between [`Constraints`] and a C structure of the same fields, in
/// which zero is "don't care". Its field `$coherent` is a `bool` or a number.
#[macro_export]
macro_rules! zero_is_any {
    ($raw:ty, $coherent:ident) => {
        impl From<&$raw> for $crate::model::Constraints {
            fn from(raw: &$raw) -> Self {
                use $crate::model::{replaced, Placement, SegmentLimits};
                Self {
                    placement: Placement {
                        access_mask: replaced(raw.access_mask, 0, u64::MAX),
                        max_address: replaced(raw.max_address, 0, u64::MAX),
                        max_segments: replaced(raw.max_segments, 0, u32::MAX),
                        alignment: replaced(raw.alignment, 0, 1),
                        coherent: raw.$coherent != Default::default(),
                    },
                    segments: SegmentLimits {
                        max_size: replaced(raw.max_segment_size, 0, u64::MAX),
                        boundary_mask: replaced(raw.segment_boundary_mask, 0, u64::MAX),
                    },
                    priority: raw.priority,
                }
            }
        }

        impl From<&$crate::model::Constraints> for $raw {
            fn from(constraints: &$crate::model::Constraints) -> Self {
                use $crate::model::replaced;
                let (placement, segments) = (&constraints.placement, &constraints.segments);
                Self {
                    access_mask: replaced(placement.access_mask, u64::MAX, 0),
                    max_address: replaced(placement.max_address, u64::MAX, 0),
                    max_segment_size: replaced(segments.max_size, u64::MAX, 0),
                    segment_boundary_mask: replaced(segments.boundary_mask, u64::MAX, 0),
                    alignment: replaced(placement.alignment, 1, 0),
                    max_segments: replaced(placement.max_segments, u32::MAX, 0),
                    priority: constraints.priority,
                    $coherent: placement.coherent.into(),
                }
            }
        }
    };
}

/// Returns `value`, or `by` if it is `old`.
pub fn replaced<T: PartialEq>(value: T, old: T, by: T) -> T {
    if value == old {
        by
    } else {
        value
    }
}

pub(super) const fn min(a: u64, b: u64) -> u64 {
    if a < b {
        a
    } else {
        b
    }
}
