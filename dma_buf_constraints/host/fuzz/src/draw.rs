// SPDX-License-Identifier: GPL-2.0

//! Constraints and memory, drawn from bytes so that they often nearly fit.

use crate::{
    model::{
        Constraints,
        Placement,
        Range,
        SegmentLimits, //
    },
    oracle::{
        Layout,
        TOP, //
    }, //
};
use arbitrary::{
    Arbitrary,
    Result,
    Unstructured, //
};

/// Any values at all, in most cases nonsense.
pub fn nonsense(u: &mut Unstructured<'_>) -> Result<Constraints> {
    let mut value = || {
        Ok(match u.arbitrary::<u8>()? {
            0 => u64::MAX,
            small @ 1..128 => u64::from(small) - 1,
            _ => u.arbitrary()?,
        })
    };
    Ok(Constraints {
        placement: Placement {
            access_mask: value()?,
            max_address: value()?,
            max_segments: value()? as u32,
            alignment: value()?,
            coherent: value()? % 2 == 1,
        },
        segments: SegmentLimits {
            max_size: value()?,
            boundary_mask: value()?,
        },
        priority: value()? as u16,
    })
}

/// Constraints that are not malformed, in units of `page` bytes for the most part, for memory as
/// [`layout`] draws it.
pub fn constraints(u: &mut Unstructured<'_>, page: u64) -> Result<Constraints> {
    let mut c = Constraints::ANY;
    let has: u8 = u.arbitrary()?;
    let has = |bit: u8| (has >> bit) & 1 == 1;
    if has(0) {
        c.placement.access_mask = u.int_in_range(1..=15)?;
    }
    if has(1) {
        let end = base(u, page)? + u.int_in_range(0..=40)? * u128::from(page);
        let around: u128 = u.int_in_range(0..=2)?;
        c.placement.max_address = (end + around).saturating_sub(2).min(TOP - 1) as u64;
    }
    if has(2) {
        c.placement.max_segments = u.int_in_range(1..=20)?;
    }
    if has(3) {
        c.placement.alignment = 1 << u.int_in_range(0..=page.ilog2() + 4)?;
    }
    c.placement.coherent = has(4) && has(7);
    if has(5) {
        let bytes = u.int_in_range(0..=12)? * page;
        c.segments.max_size = (bytes + u.int_in_range(0..=page)?).max(1);
    }
    if has(6) {
        c.segments.boundary_mask = (1 << u.int_in_range(1..=page.ilog2() + 5)?) - 1;
    }
    c.priority = u.int_in_range(0..=3)?;
    Ok(c)
}

/// Where interesting addresses are.
fn base(u: &mut Unstructured<'_>, page: u64) -> Result<u128> {
    let below = u.int_in_range(0..=32)? * u128::from(page);
    let near = *u.choose(&[0, 1 << 28, 1 << 32, TOP])?;
    Ok(u128::saturating_sub(near, below))
}

/// The size of a page.
pub fn page(u: &mut Unstructured<'_>) -> Result<u64> {
    Ok(*u.choose(&[4096, 4, 1, 65536])?)
}

/// Memory of a few ranges, of pages of `page` bytes, no two of which overlap.
pub fn layout(u: &mut Unstructured<'_>, page: u64) -> Result<Layout> {
    let mut ranges = Vec::<Range>::new();
    for _ in 0..u.int_in_range(1..=5)? {
        let start = base(u, page)?;
        let len = (u.int_in_range(1..=16)? * u128::from(page)).min(TOP - start);
        let end_of = |range: &Range| u128::from(range.start) + u128::from(range.len);
        let overlaps =
            |range: &Range| u128::from(range.start) < start + len && start < end_of(range);
        let touches = |range: &Range| end_of(range) == start;
        if len > 0 && !ranges.iter().any(overlaps) && !ranges.last().is_some_and(touches) {
            ranges.push(Range {
                start: start as u64,
                len: len as u64,
            });
        }
    }
    Ok(Layout {
        page,
        class: 1 << u.int_in_range(0..=3)?,
        coherent: bool::arbitrary(u)?,
        ranges,
    })
}
