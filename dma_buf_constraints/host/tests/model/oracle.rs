// SPDX-License-Identifier: GPL-2.0

//! A second opinion on whether memory fits, by trial of every way to cut it.
//!
//! Slow and simple on purpose: it walks the pages of each range, does all arithmetic in `u128`,
//! where nothing overflows, and shares no code with the model.

use dma_buf_constraints_host::model::{
    Constraints,
    Field,
    Memory,
    Range, //
};

/// The end of the address space.
pub const TOP: u128 = 1 << 64;

/// The most bytes in one segment, whatever the device.
pub const LONGEST: u64 = 2 << 30;

/// Memory to try, which [`Memory`] borrows.
#[derive(Clone, Debug)]
pub struct Layout {
    pub page: u64,
    pub class: u64,
    pub coherent: bool,
    pub ranges: Vec<Range>,
}

impl Layout {
    pub fn memory(&self) -> Memory<'_> {
        Memory {
            class: self.class,
            coherent: self.coherent,
            ranges: &self.ranges,
        }
    }

    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.len).sum()
    }
}

/// The address of each page of `range`.
fn pages(range: &Range, page: u64) -> Vec<u128> {
    let (start, len) = (u128::from(range.start), u128::from(range.len));
    assert!(len > 0 && start + len <= TOP, "not a range: {range:x?}");
    assert_eq!(
        (start | len) % u128::from(page),
        0,
        "not in pages: {range:x?}"
    );
    (start..start + len).step_by(page as usize).collect()
}

/// The most bytes in one segment of this device.
pub fn longest(c: &Constraints) -> u64 {
    c.segments.max_size.min(LONGEST)
}

/// Whether a segment from the first of `pages` through the last breaks a limit on its size, or
/// crosses a boundary.
fn breaks_limits(c: &Constraints, pages: &[u128], page: u64) -> bool {
    let bytes = pages.len() as u128 * u128::from(page);
    let boundary = u128::from(c.segments.boundary_mask) + 1;
    // A page may not hold a boundary anywhere but at its start, and only the first may hold one
    // there.
    let crosses = pages.iter().enumerate().any(|(i, at)| {
        let inside = if i == 0 { at + 1 } else { *at };
        let next = inside.div_ceil(boundary) * boundary;
        next < at + u128::from(page)
    });
    bytes > u128::from(longest(c)) || crosses
}

/// The fewest segments that `range` can be cut into, each aligned and within limits, whole pages
/// all.
///
/// `None` if no cut will do.
pub fn fewest(c: &Constraints, range: &Range, page: u64) -> Option<u64> {
    let pages = pages(range, page);
    let alignment = u128::from(c.placement.alignment);
    // best[i]: the fewest segments for the pages before i.
    let mut best = vec![None; pages.len() + 1];
    best[0] = Some(0);
    for from in 0..pages.len() {
        let Some(before) = best[from] else { continue };
        if pages[from] % alignment != 0 {
            continue;
        }
        for to in from + 1..=pages.len() {
            if breaks_limits(c, &pages[from..to], page) {
                break;
            }
            if best[to].is_none_or(|count| before + 1 < count) {
                best[to] = Some(before + 1);
            }
        }
    }
    best[pages.len()]
}

/// The bytes that must fit into one segment: segments start on multiples of this.
pub fn granule(c: &Constraints, page: u64) -> u64 {
    if c.placement.alignment > page {
        c.placement.alignment
    } else {
        page
    }
}

/// What `found` must be where `field` does not fit, or `None` if it fits.
///
/// The segments are counted only where each range can be cut at all.
pub fn found(c: &Constraints, field: Field, layout: &Layout) -> Option<u64> {
    let Layout {
        page,
        class,
        coherent,
        ref ranges,
    } = *layout;
    let granule = granule(c, page);
    match field {
        Field::AccessMask => (0..64)
            .all(|bit| (c.placement.access_mask >> bit) % 2 == 0 || (class >> bit) % 2 == 0)
            .then_some(class),
        Field::MaxAddress => ranges
            .iter()
            .find(|range| {
                let last_page = *pages(range, page).last().unwrap();
                last_page + u128::from(page) > u128::from(c.placement.max_address) + 1
            })
            .map(|range| range.start),
        Field::Alignment => ranges
            .iter()
            .find(|range| range.start % c.placement.alignment != 0)
            .map(|range| range.start),
        Field::Coherent => (c.placement.coherent && !coherent).then_some(0),
        // The model's rule: limits that do not hold one granule are refused, whatever the memory.
        Field::MaxSegmentSize => (c.segments.max_size < granule).then_some(granule),
        Field::SegmentBoundary => {
            (u128::from(c.segments.boundary_mask) + 1 < granule.into()).then_some(granule)
        }
        Field::MaxSegments => {
            let count = ranges
                .iter()
                .map(|range| fewest(c, range, page))
                .sum::<Option<u64>>()?;
            (count > c.placement.max_segments.into()).then_some(count)
        }
        // Memory has the length that was asked for, and refuses nobody.
        Field::Length | Field::Contiguous | Field::Device => None,
    }
}

/// What the device wants of `field`.
pub fn wanted(c: &Constraints, field: Field) -> u64 {
    match field {
        Field::AccessMask => c.placement.access_mask,
        Field::MaxAddress => c.placement.max_address,
        Field::MaxSegments => c.placement.max_segments.into(),
        Field::MaxSegmentSize => c.segments.max_size,
        Field::SegmentBoundary => c.segments.boundary_mask,
        Field::Alignment => c.placement.alignment,
        Field::Coherent => c.placement.coherent.into(),
        Field::Length | Field::Contiguous | Field::Device => 0,
    }
}

/// Every field that a device can have a need in.
pub const FIELDS: [Field; 7] = [
    Field::AccessMask,
    Field::MaxAddress,
    Field::MaxSegments,
    Field::MaxSegmentSize,
    Field::SegmentBoundary,
    Field::Alignment,
    Field::Coherent,
];
