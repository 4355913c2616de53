// SPDX-License-Identifier: GPL-2.0

//! What a user needs of a buffer's memory.

use crate::{
    abi,
    model::{self, Field},
    units::{Classes, Limit, Size},
};
use std::fmt;

/// A field of [`Constraints`] whose value makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Which.
    pub field: Field,
    /// What it has.
    pub value: u64,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value } = self;
        match field {
            _ if *value == 0 => write!(f, "{field} is 0: leave it out for \"don't care\""),
            Field::Alignment => write!(f, "{field} is {value}, which is no power of two"),
            Field::SegmentBoundary => {
                write!(
                    f,
                    "{field} is {value:#x}, which is not one less than a power of two, of a page or more"
                )
            }
            _ => write!(f, "{field} is {value}"),
        }
    }
}

impl std::error::Error for Malformed {}

/// What a user needs of a buffer's memory. `None` in any field is "don't care".
///
/// ```
/// use cenalloc::{Constraints, Limit};
///
/// let display = Constraints::default()
///     .contiguous()
///     .max_address("2^32".parse::<Limit>()?.0);
/// assert_eq!(display.to_string(), "below 4 GiB, contiguous");
/// # Ok::<(), cenalloc::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Constraints {
    /// Classes of memory, as in [`Classes`].
    pub access_mask: Option<u64>,
    /// The last physical address, in bytes.
    pub max_address: Option<u64>,
    /// The most bytes in one segment of its table.
    pub max_segment_size: Option<u64>,
    /// No segment of its table crosses a multiple of this mask plus one, a power of two.
    pub segment_boundary_mask: Option<u64>,
    /// Of the start of every segment, in bytes, a power of two.
    pub alignment: Option<u64>,
    /// The most segments in its table; 1 is one contiguous range.
    pub max_segments: Option<u32>,
    /// It must not need cache maintenance.
    pub coherent: bool,
    /// How special these needs are, 0 to 65535: where devices have no class of memory in common,
    /// the classes of an ancestor of higher priority serve, too.
    pub priority: u16,
}

/// The flag in its field.
const COHERENT: u16 = abi::CENALLOC_NEEDS_COHERENT as u16;

/// The smallest page there is: no segment is smaller, and none ends within one.
const LEAST_PAGE: u64 = 4096;

impl Constraints {
    /// Any memory will do.
    pub const ANY: Self = Self {
        access_mask: None,
        max_address: None,
        max_segment_size: None,
        segment_boundary_mask: None,
        alignment: None,
        max_segments: None,
        coherent: false,
        priority: 0,
    };

    /// Only these classes of memory.
    #[must_use]
    pub fn classes(self, classes: Classes) -> Self {
        Self {
            access_mask: Some(classes.0),
            ..self
        }
    }

    /// No address above `last`.
    #[must_use]
    pub fn max_address(self, last: u64) -> Self {
        Self {
            max_address: Some(last),
            ..self
        }
    }

    /// Segments of at most `bytes`.
    #[must_use]
    pub fn max_segment_size(self, bytes: u64) -> Self {
        Self {
            max_segment_size: Some(bytes),
            ..self
        }
    }

    /// Segments that do not cross a multiple of `mask + 1`.
    #[must_use]
    pub fn segment_boundary_mask(self, mask: u64) -> Self {
        Self {
            segment_boundary_mask: Some(mask),
            ..self
        }
    }

    /// Segments that start at multiples of `bytes`.
    #[must_use]
    pub fn alignment(self, bytes: u64) -> Self {
        Self {
            alignment: Some(bytes),
            ..self
        }
    }

    /// At most `count` segments.
    #[must_use]
    pub fn max_segments(self, count: u32) -> Self {
        Self {
            max_segments: Some(count),
            ..self
        }
    }

    /// One contiguous range.
    #[must_use]
    pub fn contiguous(self) -> Self {
        self.max_segments(1)
    }

    /// Memory without cache maintenance.
    #[must_use]
    pub fn coherent(self) -> Self {
        Self {
            coherent: true,
            ..self
        }
    }

    /// As special as `priority`.
    #[must_use]
    pub fn priority(self, priority: u16) -> Self {
        Self { priority, ..self }
    }

    /// The value of one field, if it has one.
    pub fn get(&self, field: Field) -> Option<u64> {
        match field {
            Field::AccessMask => self.access_mask,
            Field::MaxAddress => self.max_address,
            Field::MaxSegments => self.max_segments.map(u64::from),
            Field::MaxSegmentSize => self.max_segment_size,
            Field::SegmentBoundary => self.segment_boundary_mask,
            Field::Alignment => self.alignment,
            Field::Coherent => self.coherent.then_some(1),
            Field::Length | Field::Contiguous | Field::Device => None,
        }
    }

    /// Whether all fields make sense: the same that the kernel asks for.
    pub fn check(&self) -> Result<(), Malformed> {
        for field in Field::OF_CONSTRAINTS {
            let Some(value) = self.get(field) else {
                continue;
            };
            let is_good = match field {
                Field::Alignment => value.is_power_of_two(),
                Field::SegmentBoundary => {
                    value >= LEAST_PAGE - 1 && value & value.wrapping_add(1) == 0
                }
                Field::MaxSegmentSize => value >= LEAST_PAGE,
                _ => value != 0,
            };
            if !is_good {
                return Err(Malformed { field, value });
            }
        }
        Ok(())
    }

    pub(crate) fn to_raw(self) -> abi::cenalloc_constraints {
        abi::cenalloc_constraints {
            access_mask: self.access_mask.unwrap_or(0),
            max_address: self.max_address.unwrap_or(0),
            max_segment_size: self.max_segment_size.unwrap_or(0),
            segment_boundary_mask: self.segment_boundary_mask.unwrap_or(0),
            alignment: self.alignment.unwrap_or(0),
            max_segments: self.max_segments.unwrap_or(0),
            priority: self.priority,
            flags: if self.coherent { COHERENT } else { 0 },
        }
    }

    /// From what the kernel tells. Values that bind nothing are "don't care".
    pub(crate) fn from_raw(raw: &abi::cenalloc_constraints) -> Self {
        fn bound(value: u64) -> Option<u64> {
            Some(value).filter(|value| *value != 0 && *value != u64::MAX)
        }
        Self {
            access_mask: bound(raw.access_mask),
            max_address: bound(raw.max_address),
            max_segment_size: bound(raw.max_segment_size),
            segment_boundary_mask: bound(raw.segment_boundary_mask),
            alignment: Some(raw.alignment).filter(|alignment| *alignment > 1),
            max_segments: Some(raw.max_segments).filter(|most| *most != 0 && *most != u32::MAX),
            coherent: raw.flags & COHERENT != 0,
            priority: raw.priority,
        }
    }
}

impl fmt::Display for Constraints {
    /// Writes it in words: `below 4 GiB, contiguous`; `any memory` without a need.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if let Some(mask) = self.access_mask {
            words.push(model::Classes(mask).to_string());
        }
        if let Some(last) = self.max_address {
            words.push(format!("below {}", Limit(last).above()));
        }
        match self.max_segments {
            None => {}
            Some(1) => words.push("contiguous".to_owned()),
            Some(most) => words.push(format!("at most {most} segments")),
        }
        if let Some(bytes) = self.max_segment_size {
            words.push(format!("segments of at most {}", Size(bytes).about()));
        }
        if let Some(mask) = self.segment_boundary_mask {
            words.push(format!("not across {}", Limit(mask).above()));
        }
        if let Some(bytes) = self.alignment {
            words.push(format!("aligned to {}", Size(bytes).about()));
        }
        if self.coherent {
            words.push("without cache maintenance".to_owned());
        }
        if self.priority != 0 {
            words.push(format!("priority {}", self.priority));
        }
        if words.is_empty() {
            words.push("any memory".to_owned());
        }
        f.pad(&words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Constraints that make sense, in all shapes.
    fn constraints() -> impl Strategy<Value = Constraints> {
        use proptest::option::of;

        (
            of(1..u64::MAX),
            of(1..u64::MAX),
            of(LEAST_PAGE..u64::MAX),
            of(12..64u32),
            of(1..64u32),
            of(1..u32::MAX),
            any::<bool>(),
            any::<u16>(),
        )
            .prop_map(
                |(mask, last, size, boundary, align, segments, coherent, priority)| Constraints {
                    access_mask: mask,
                    max_address: last,
                    max_segment_size: size,
                    segment_boundary_mask: boundary.map(|bits| (1 << bits) - 1),
                    alignment: align.map(|bits| 1 << bits),
                    max_segments: segments,
                    coherent,
                    priority,
                },
            )
    }

    proptest! {
        #[test]
        fn raw_and_back(constraints in constraints()) {
            prop_assert_eq!(constraints.check(), Ok(()));
            prop_assert_eq!(Constraints::from_raw(&constraints.to_raw()), constraints);
        }
    }

    #[test]
    fn the_kernel_may_say_dont_care_in_two_ways() {
        let raw = abi::cenalloc_constraints {
            access_mask: u64::MAX,
            max_address: u64::MAX,
            max_segment_size: u64::MAX,
            segment_boundary_mask: u64::MAX,
            alignment: 1,
            max_segments: u32::MAX,
            priority: 0,
            flags: 0,
        };
        assert_eq!(Constraints::from_raw(&raw), Constraints::ANY);
        assert_eq!(
            Constraints::from_raw(&abi::cenalloc_constraints::default()),
            Constraints::ANY
        );
    }

    #[test]
    fn nonsense_is_found() {
        let any = Constraints::ANY;
        for (constraints, field) in [
            (any.classes(Classes(0)), Field::AccessMask),
            (any.max_address(0), Field::MaxAddress),
            (any.max_segments(0), Field::MaxSegments),
            (any.max_segment_size(0), Field::MaxSegmentSize),
            (any.segment_boundary_mask(0x1000), Field::SegmentBoundary),
            (any.alignment(3), Field::Alignment),
        ] {
            let malformed = constraints.check().unwrap_err();
            assert_eq!(malformed.field, field);
            assert!(malformed.to_string().starts_with(field.name()));
        }
        assert_eq!(any.segment_boundary_mask(u64::MAX).check(), Ok(()));
    }

    #[test]
    fn needs_in_words() {
        let all = Constraints::ANY
            .classes(Classes::CMA)
            .max_address(u64::from(u32::MAX))
            .max_segments(4)
            .max_segment_size(1 << 16)
            .segment_boundary_mask((1 << 22) - 1)
            .alignment(1 << 20)
            .coherent()
            .priority(7);
        assert_eq!(
            all.to_string(),
            "class cma, below 4 GiB, at most 4 segments, segments of at most 64 KiB, not across 4 MiB, \
             aligned to 1 MiB, without cache maintenance, priority 7"
        );
        assert_eq!(Constraints::ANY.to_string(), "any memory");
    }
}
