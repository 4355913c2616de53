// SPDX-License-Identifier: GPL-2.0

//! Random constraints and random memory, drawn so that they often nearly fit.

use crate::oracle::{
    Layout,
    TOP, //
};
use dma_buf_constraints_host::model::{
    Constraints,
    Placement,
    Range,
    SegmentLimits, //
};
use proptest::{
    collection,
    prelude::*, //
};

/// How often to try. No file of past failures is kept: what fails becomes a test.
pub fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// The page sizes of Linux, and tiny ones, where a page is a byte or a few.
fn page() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => Just(4096),
        1 => Just(16 << 10),
        1 => Just(64 << 10),
        1 => Just(1),
        1 => Just(4),
    ]
}

/// Page counts to build addresses around: most limits lie near these.
fn anchor(page: u64) -> impl Strategy<Value = u64> {
    let near = |address: u128| ((address / u128::from(page)).saturating_sub(24)) as u64;
    prop_oneof![
        4 => Just(0),
        2 => Just(near(1 << 28)),
        2 => Just(near(1 << 32)),
        1 => Just(near(1 << 63)),
        2 => Just(near(TOP) - 24),
    ]
}

/// A few ranges of up to `max_pages` pages each, in any order, no two of which overlap. Those that
/// follow each other and touch are joined.
fn ranges(page: u64, max_pages: u64) -> impl Strategy<Value = Vec<Range>> {
    // Even starts are common, such that alignments are met.
    let offset = prop_oneof![
        2 => (0_u64..6).prop_map(|n| n * 8),
        1 => 0_u64..48,
    ];
    let range = (any::<bool>(), offset, 1..=max_pages);
    (
        anchor(page),
        anchor(page),
        collection::vec(range, 1..=7),
        any::<bool>(),
    )
        .prop_map(move |(one, two, parts, ends_at_top)| {
            let mut ranges = Vec::<Range>::new();
            for (which, offset, pages) in parts {
                let base = if which { one } else { two };
                let start = u128::from(base + offset) * u128::from(page);
                let end = TOP.min(start + u128::from(pages * page));
                let touches_top = ends_at_top && end + u128::from(8 * page) > TOP;
                let end = if touches_top { TOP } else { end };
                let overlaps = |range: &Range| {
                    let range_start = u128::from(range.start);
                    start < range_start + u128::from(range.len) && range_start < end
                };
                if ranges.iter().any(overlaps) {
                    continue;
                }
                let range = Range {
                    start: start as u64,
                    len: (end - start) as u64,
                };
                match ranges.last_mut() {
                    Some(before) if u128::from(before.start) + u128::from(before.len) == start => {
                        before.len += range.len;
                    }
                    _ => ranges.push(range),
                }
            }
            ranges
        })
}

/// Memory of pages of size `page`.
fn layout_of(page: u64) -> impl Strategy<Value = Layout> {
    (0..4_u32, any::<bool>(), ranges(page, 16)).prop_map(move |(class, coherent, ranges)| Layout {
        page,
        class: 1 << class,
        coherent,
        ranges,
    })
}

/// Don't care, or `limit`, about as often.
fn unless<T: Clone + std::fmt::Debug + 'static>(
    any: T,
    limit: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = T> {
    prop_oneof![Just(any), limit]
}

fn placement_of(page: u64) -> impl Strategy<Value = Placement> {
    let max_address = prop_oneof![
        1 => (0..64_u32).prop_map(|bits| (1 << bits) - 1),
        1 => Just((1 << 28) - 1),
        2 => Just(u64::from(u32::MAX)),
        // Near a page boundary, to each side.
        2 => (anchor(page), 1..48_u64, 0..3_u64)
            .prop_map(move |(at, pages, over)| ((at + pages) * page).saturating_sub(2) + over),
        1 => (anchor(page), 1..48_u64)
            .prop_map(move |(at, pages)| (at + pages) * page - 1),
    ];
    let alignment = prop_oneof![
        4 => (0..4_u32).prop_map(move |shift| page << shift),
        1 => (0..12_u32).prop_map(|shift| 1 << shift),
        1 => Just(1 << 63),
    ];
    (
        // A mask or an address that does not fit hides all else: more don't care.
        unless(u64::MAX, unless(u64::MAX, 0..16_u64)),
        unless(u64::MAX, max_address),
        unless(u32::MAX, 1..24_u32),
        unless(1, alignment),
        proptest::bool::weighted(0.1),
    )
        .prop_map(
            |(access_mask, max_address, max_segments, alignment, coherent)| Placement {
                access_mask,
                max_address,
                max_segments,
                alignment,
                coherent,
            },
        )
}

fn segments_of(page: u64) -> impl Strategy<Value = SegmentLimits> {
    let max_size = prop_oneof![
        4 => (2..16_u64).prop_map(move |pages| pages * page),
        2 => (1..16_u64).prop_map(move |pages| pages * page + page / 2),
        2 => (1..16_u64).prop_map(move |pages| pages * page - 1),
        1 => Just(page),
        1 => 1..=page,
        1 => Just(u64::from(u32::MAX)),
        1 => Just(u64::MAX - page),
    ];
    let boundary_mask = prop_oneof![
        5 => (0..6_u32).prop_map(move |shift| (page << shift) - 1),
        1 => (1..12_u32).prop_map(|shift| (1 << shift) - 1),
        1 => Just(u64::from(u32::MAX)),
        1 => Just(u64::MAX >> 1),
    ];
    (
        unless(u64::MAX, max_size.prop_map(|size| size.max(1))),
        unless(u64::MAX, boundary_mask.prop_map(|mask| mask.max(1))),
    )
        .prop_map(|(max_size, boundary_mask)| SegmentLimits {
            max_size,
            boundary_mask,
        })
}

/// Few, such that they are often the same.
fn priority() -> impl Strategy<Value = u16> {
    prop_oneof![8 => 0..4_u16, 1 => Just(u16::MAX)]
}

/// Constraints that are not malformed, but for an access mask that may be zero as after a meet.
fn constraints_of(page: u64) -> impl Strategy<Value = Constraints> {
    (placement_of(page), segments_of(page), priority()).prop_map(
        |(placement, segments, priority)| Constraints {
            placement,
            segments,
            priority,
        },
    )
}

/// What one device needs. Boxed, since several fill a stack.
pub fn constraints() -> impl Strategy<Value = Constraints> {
    page().prop_flat_map(constraints_of).boxed()
}

/// Memory, and what one device needs of it.
pub fn one_device() -> impl Strategy<Value = (Constraints, Layout)> {
    page().prop_flat_map(|page| (constraints_of(page), layout_of(page)))
}

/// Memory, and what two devices need of it.
pub fn two_devices() -> impl Strategy<Value = (Constraints, Constraints, Layout)> {
    page().prop_flat_map(|page| (constraints_of(page), constraints_of(page), layout_of(page)))
}

/// Aligned memory, and limits that hold a granule: all there is to do is to cut it.
pub fn to_cut() -> impl Strategy<Value = (Constraints, Layout)> {
    let shifts = (0..4_u32, 0..4_u32);
    (page(), shifts).prop_flat_map(|(page, (alignment, boundary))| {
        let granule = page << alignment;
        let max_size = prop_oneof![
            4 => (1..12_u64, 0..granule).prop_map(move |(n, odd)| n * granule + odd),
            4 => (1..12_u64, 0..1_u64 << alignment)
                .prop_map(move |(n, pages)| n * granule + pages * page),
            1 => Just(u64::MAX),
        ];
        let boundary_mask = prop_oneof![Just((granule << boundary) - 1), Just(u64::MAX)];
        (max_size, boundary_mask, layout_of(page)).prop_map(
            move |(max_size, boundary_mask, mut layout)| {
                // Ranges may come to touch or to overlap: each is cut by itself.
                for range in &mut layout.ranges {
                    range.start -= range.start % granule;
                }
                (cut_only(granule, max_size, boundary_mask), layout)
            },
        )
    })
}

/// What matters to a cut, and nothing else.
fn cut_only(alignment: u64, max_size: u64, boundary_mask: u64) -> Constraints {
    Constraints {
        placement: Placement {
            alignment,
            ..Placement::ANY
        },
        segments: SegmentLimits {
            max_size,
            boundary_mask,
        },
        ..Constraints::ANY
    }
}

/// As [`to_cut`], with ranges of up to many times the longest segment there can be, anywhere, and
/// limits above that.
pub fn huge_to_cut() -> impl Strategy<Value = (Constraints, Range)> {
    let len = (20..=37_u32, any::<u64>()).prop_map(|(bits, len)| (len >> (64 - bits)).max(4096));
    (12..=31_u32, any::<u64>(), len, any::<bool>()).prop_flat_map(|(shift, start, len, to_top)| {
        let granule = 1_u64 << shift;
        let len = len & !4095;
        let last_start = (TOP - u128::from(len)) as u64 & !(granule - 1);
        let (start, len) = match to_top {
            true => (last_start, (TOP - u128::from(last_start)) as u64),
            false => ((start & !(granule - 1)).min(last_start), len),
        };
        let range = Range { start, len };
        // About a hundred segments at most.
        let least = granule.max((1 << len.ilog2()) >> 6);
        let max_size = prop_oneof![
            least..=least.saturating_mul(8),
            least..=u64::MAX,
            Just(u64::MAX),
            Just(u64::MAX - 1),
        ];
        let boundary_mask = (least.ilog2()..=64).prop_map(|bits| match bits {
            64 => u64::MAX,
            bits => (1 << bits) - 1,
        });
        (max_size, boundary_mask).prop_map(move |(max_size, boundary_mask)| {
            (cut_only(granule, max_size, boundary_mask), range)
        })
    })
}

/// Any values at all, in most cases nonsense.
pub fn nonsense() -> impl Strategy<Value = Constraints> {
    let value = || prop_oneof![Just(0), Just(1), Just(u64::MAX), 0..9_u64, any::<u64>()];
    let short = prop_oneof![Just(0), Just(1), Just(u32::MAX), any::<u32>()];
    let placement = (value(), value(), short, value(), any::<bool>()).prop_map(
        |(access_mask, max_address, max_segments, alignment, coherent)| Placement {
            access_mask,
            max_address,
            max_segments,
            alignment,
            coherent,
        },
    );
    let segments = (value(), value()).prop_map(|(max_size, boundary_mask)| SegmentLimits {
        max_size,
        boundary_mask,
    });
    (placement, segments, any::<u16>()).prop_map(|(placement, segments, priority)| Constraints {
        placement,
        segments,
        priority,
    })
}
