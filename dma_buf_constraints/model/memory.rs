// SPDX-License-Identifier: GPL-2.0

//! Memory as devices see it: ranges of addresses, the segments cut from them, and whether they fit.

use super::{
    constraints::{
        min,
        Constraints,
        SegmentLimits, //
    },
    refusal::Field, //
};
use core::iter;

/// Physically contiguous bytes. Never empty, and never past the end of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first physical address.
    pub start: u64,
    /// Length in bytes, at least 1.
    pub len: u64,
}

impl Range {
    /// Returns the last physical address.
    pub const fn last(&self) -> u64 {
        self.start + (self.len - 1)
    }
}

/// The memory behind a buffer, in the order of its bytes.
///
/// Adjacent ranges are merged: `ranges[i].last() + 1 != ranges[i + 1].start`.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a> {
    /// The class bit of the allocator that provided it.
    pub class: u64,
    /// Whether no device needs cache maintenance for it.
    pub coherent: bool,
    /// The ranges. Starts and lengths are multiples of the page size.
    pub ranges: &'a [Range],
}

/// A field of a device's constraints that memory does not satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The field.
    pub field: Field,
    /// What the device needs, in the unit of the field.
    pub wanted: u64,
    /// What the memory has: 0 or 1 for a flag, a class, the address of the range that is out of
    /// reach or of the segment that is misaligned, or a number of segments or bytes.
    pub found: u64,
}

impl Misfit {
    /// The device itself, which an allocator does not serve.
    pub const UNSERVED: Self = Self {
        field: Field::Device,
        wanted: 0,
        found: 0,
    };
}

/// The most bytes in one segment of any table: the length of a scatterlist's entry has 32 bits.
pub const LONGEST_SEGMENT: u64 = 1 << 31;

/// How one device's table is cut: [`SegmentLimits`], with every cut at a whole granule, and no
/// segment above [`LONGEST_SEGMENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The most bytes in a segment.
    max_size: u64,
    /// The most bytes in a segment that is not the last of its range: the next starts where it
    /// ends, on a multiple of the granule if that is not above [`LONGEST_SEGMENT`].
    max_inner: u64,
    /// As [`SegmentLimits::boundary_mask`]; the boundary is a multiple of the granule.
    boundary_mask: u64,
    /// How far behind its physical address the device sees a byte, modulo 2^64: the boundary is
    /// one of the addresses that it sees.
    offset: u64,
}

impl Cut {
    /// Makes the cut for a device whose segments start on multiples of `granule` bytes, a power of
    /// two.
    ///
    /// # Errors
    ///
    /// Returns the limit that a single granule exceeds, also for memory that consists of smaller
    /// ranges.
    pub const fn new(limits: &SegmentLimits, granule: u64) -> Result<Self, Misfit> {
        let max_inner = limits.max_size & !(granule - 1);
        if max_inner == 0 {
            return Err(Misfit {
                field: Field::MaxSegmentSize,
                wanted: limits.max_size,
                found: granule,
            });
        }
        if limits.boundary_mask < granule - 1 {
            return Err(Misfit {
                field: Field::SegmentBoundary,
                wanted: limits.boundary_mask,
                found: granule,
            });
        }
        Ok(Self {
            max_size: min(limits.max_size, LONGEST_SEGMENT),
            max_inner: min(max_inner, LONGEST_SEGMENT),
            boundary_mask: limits.boundary_mask,
            offset: 0,
        })
    }

    /// Returns the length of the first segment of `range`.
    const fn first_len(&self, range: &Range) -> u64 {
        // Bytes up to the next boundary, less one: this cannot overflow where the mask is all
        // ones.
        let seen = range.start.wrapping_add(self.offset);
        let to_boundary = self.boundary_mask - (seen & self.boundary_mask);
        let mut len = range.len;
        if len > self.max_size {
            len = self.max_inner;
        }
        if len > to_boundary {
            len = to_boundary + 1;
        }
        len
    }

    /// Returns the most bytes that one segment can have, not all of them whole pages.
    const fn longest(&self) -> u64 {
        if self.max_size > self.boundary_mask {
            self.boundary_mask + 1
        } else {
            self.max_size
        }
    }

    /// Returns the segments of `ranges`, in order.
    pub const fn segments<'a>(&self, ranges: &'a [Range]) -> Segments<'a> {
        Segments {
            cut: *self,
            rest: None,
            ranges,
            offset: None,
        }
    }

    /// Returns the segments as [`segments`](Self::segments), for a device that sees each range as
    /// far behind its physical address as `offset` tells, a multiple of the granule.
    pub const fn segments_at<'a>(
        &self,
        ranges: &'a [Range],
        offset: &'a dyn Fn(&Range) -> u64,
    ) -> Segments<'a> {
        Segments {
            offset: Some(offset),
            ..self.segments(ranges)
        }
    }

    /// Returns how many segments `ranges` are cut into, saturating.
    pub fn count(&self, ranges: &[Range]) -> u32 {
        let counts = ranges.iter().map(|range| self.count_of(range));
        let count = counts.fold(0, u64::saturating_add);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Returns how many segments a range is cut into. The time does not depend on that number.
    fn count_of(&self, range: &Range) -> u64 {
        let seen = range.start.wrapping_add(self.offset);
        let to_boundary = self.boundary_mask - (seen & self.boundary_mask);
        if range.len.saturating_sub(1) <= to_boundary {
            return self.count_to(range.len, range.len);
        }
        let mut count = self.count_to(to_boundary + 1, range.len);
        let mut rest = range.len - (to_boundary + 1);
        // Without a boundary nothing is left.
        let window = self.boundary_mask.saturating_add(1);
        while rest > self.max_size {
            let windows = (rest - self.max_size) / window;
            if windows > 0 {
                count += windows * window.div_ceil(self.max_inner);
                rest -= windows * window;
            } else {
                let len = window.min(rest);
                count += self.count_to(len, rest);
                rest -= len;
            }
        }
        count + rest.div_ceil(window)
    }

    /// Returns how many segments the first `len` of the last `rest` bytes of a range are cut into,
    /// where there is no boundary between.
    fn count_to(&self, len: u64, rest: u64) -> u64 {
        let until_last = rest.saturating_sub(self.max_size).div_ceil(self.max_inner);
        len.div_ceil(self.max_inner).min(until_last + 1)
    }
}

/// Iterates over the segments of one device's table.
#[derive(Clone)]
pub struct Segments<'a> {
    cut: Cut,
    /// What is left of the range before `ranges`.
    rest: Option<Range>,
    ranges: &'a [Range],
    /// [`Cut::offset`] of a range.
    offset: Option<&'a dyn Fn(&Range) -> u64>,
}

impl Iterator for Segments<'_> {
    type Item = Range;

    fn next(&mut self) -> Option<Range> {
        let range = match self.rest.take() {
            Some(rest) => rest,
            None => {
                let (first, others) = self.ranges.split_first()?;
                self.ranges = others;
                if let Some(offset) = self.offset {
                    self.cut.offset = offset(first);
                }
                *first
            }
        };
        let len = self.cut.first_len(&range);
        if len < range.len {
            self.rest = Some(Range {
                start: range.start + len,
                len: range.len - len,
            });
        }
        Some(Range {
            start: range.start,
            len,
        })
    }
}

impl Constraints {
    /// Returns the cut of this device's table. Segments start on multiples of the alignment and of
    /// `page_size`, both powers of two, where the memory has no [`misfit`](Self::misfit).
    ///
    /// # Errors
    ///
    /// Returns the limit that a single granule exceeds.
    pub fn cut(&self, page_size: u64) -> Result<Cut, Misfit> {
        Cut::new(&self.segments, self.placement.alignment.max(page_size))
    }

    /// Returns the first field that `memory` does not satisfy.
    ///
    /// With none, a table cut by [`cut`](Self::cut) satisfies every field.
    pub fn misfit(&self, memory: &Memory<'_>, page_size: u64) -> Option<Misfit> {
        if *self == Self::ANY {
            return None;
        }
        let placement = &self.placement;
        if placement.access_mask & memory.class == 0 {
            return Some(Misfit {
                field: Field::AccessMask,
                wanted: placement.access_mask,
                found: memory.class,
            });
        }
        if placement.coherent && !memory.coherent {
            return Some(Misfit {
                field: Field::Coherent,
                wanted: 1,
                found: 0,
            });
        }
        for range in memory.ranges {
            if range.last() > placement.max_address {
                return Some(Misfit {
                    field: Field::MaxAddress,
                    wanted: placement.max_address,
                    found: range.start,
                });
            }
            // Where the second segment starts, if the alignment is above the longest there can be.
            let second = (range.len > LONGEST_SEGMENT).then(|| range.start + LONGEST_SEGMENT);
            let is_misaligned = |at: &u64| *at & placement.alignment.wrapping_sub(1) != 0;
            if let Some(start) = iter::once(range.start).chain(second).find(is_misaligned) {
                return Some(Misfit {
                    field: Field::Alignment,
                    wanted: placement.alignment,
                    found: start,
                });
            }
        }
        let cut = match self.cut(page_size) {
            Ok(cut) => cut,
            Err(misfit) => return Some(misfit),
        };
        if placement.max_segments != u32::MAX {
            let count = cut.count(memory.ranges);
            if count > placement.max_segments {
                return Some(Misfit {
                    field: Field::MaxSegments,
                    wanted: placement.max_segments.into(),
                    found: count.into(),
                });
            }
        }
        None
    }

    /// Returns the first field that no memory of `len` bytes, wherever it lies, could satisfy.
    pub fn impossible(&self, len: u64, page_size: u64) -> Option<Misfit> {
        let placement = &self.placement;
        if placement.access_mask == 0 {
            return Some(Misfit {
                field: Field::AccessMask,
                wanted: 0,
                found: 0,
            });
        }
        if len.saturating_sub(1) > placement.max_address {
            return Some(Misfit {
                field: Field::MaxAddress,
                wanted: placement.max_address,
                found: len,
            });
        }
        let cut = match self.cut(page_size) {
            Ok(cut) => cut,
            Err(misfit) => return Some(misfit),
        };
        let longest = (cut.longest() & !(page_size - 1)).max(page_size);
        let fewest = len.div_ceil(longest);
        if fewest > placement.max_segments.into() {
            return Some(Misfit {
                field: Field::MaxSegments,
                wanted: placement.max_segments.into(),
                found: fewest,
            });
        }
        None
    }
}
