// SPDX-License-Identifier: GPL-2.0

//! How tables are cut.

use crate::{
    oracle,
    strategy::{
        config,
        huge_to_cut,
        to_cut, //
    },
};
use dma_buf_constraints_host::model::{
    Constraints,
    Placement,
    Range,
    Segments, //
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{
        TestCaseError,
        TestRunner, //
    },
};

/// The segments of `ranges`, those of each range by themselves; all must be used up.
fn by_range(segments: &[Range], ranges: &[Range]) -> Result<Vec<Vec<Range>>, TestCaseError> {
    let mut segments = segments.iter();
    let mut all = Vec::new();
    for range in ranges {
        let (mut at, end) = (
            u128::from(range.start),
            range.start as u128 + range.len as u128,
        );
        let mut own = Vec::new();
        while at < end {
            let Some(segment) = segments.next() else {
                return Err(TestCaseError::fail("bytes are left"));
            };
            prop_assert_eq!(u128::from(segment.start), at, "a gap, or back");
            prop_assert!(segment.len > 0, "empty");
            at += u128::from(segment.len);
            own.push(*segment);
        }
        prop_assert_eq!(at, end, "beyond the range");
        all.push(own);
    }
    prop_assert_eq!(segments.next(), None, "too many");
    Ok(all)
}

/// That `segment` is aligned and within limits.
fn check_limits(c: &Constraints, segment: &Range) -> Result<(), TestCaseError> {
    let (first, last) = (
        u128::from(segment.start),
        u128::from(segment.start) + u128::from(segment.len) - 1,
    );
    let boundary = u128::from(c.segments.boundary_mask) + 1;
    prop_assert_eq!(segment.start % c.placement.alignment, 0, "alignment");
    prop_assert!(segment.len <= oracle::longest(c), "size");
    prop_assert_eq!(first / boundary, last / boundary, "boundary");
    Ok(())
}

/// That each segment but the last ends as late as another can start: one granule more breaks a
/// limit.
fn check_greedy(c: &Constraints, page: u64, segments: &[Range]) -> Result<(), TestCaseError> {
    let granule = u128::from(oracle::granule(c, page));
    let boundary = u128::from(c.segments.boundary_mask) + 1;
    for pair in segments.windows(2) {
        let (start, len) = (u128::from(pair[0].start), u128::from(pair[0].len));
        // The next segment may end before that granule does.
        let more = len + granule.min(pair[1].len.into());
        let breaks = more > u128::from(oracle::longest(c))
            || (start + more - 1) / boundary != start / boundary;
        prop_assert!(breaks, "could be longer: {:x?}", pair[0]);
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(2048))]

    #[test]
    fn segments_are_the_ranges_cut_greedily((c, layout) in to_cut()) {
        let cut = c.cut(layout.page).unwrap();
        let segments: Vec<_> = cut.segments(&layout.ranges).collect();
        for (range, own) in layout.ranges.iter().zip(by_range(&segments, &layout.ranges)?) {
            for segment in &own {
                check_limits(&c, segment)?;
                prop_assert_eq!(segment.len % layout.page, 0);
            }
            check_greedy(&c, layout.page, &own)?;
            prop_assert_eq!(Some(own.len() as u64), oracle::fewest(&c, range, layout.page));
        }
        prop_assert_eq!(cut.count(&layout.ranges), segments.len() as u32);
    }

    /// What the device sees is cut as memory is that lies where the device sees it.
    #[test]
    fn boundaries_are_those_that_the_device_sees((c, layout) in to_cut(), by: u32) {
        let cut = c.cut(layout.page).unwrap();
        let granule = oracle::granule(&c, layout.page);
        // Each range at a distance of its own, and not beyond the last address.
        let offset = |range: &Range| {
            let room = (u64::MAX - range.last()) / granule;
            (u64::from(by) ^ (range.start / granule)).min(room) * granule
        };
        let seen: Vec<_> = layout
            .ranges
            .iter()
            .map(|range| Range { start: range.start + offset(range), ..*range })
            .collect();
        let lens = |segments: Segments<'_>| segments.map(|segment| segment.len).collect::<Vec<_>>();
        let segments: Vec<_> = cut.segments_at(&layout.ranges, &offset).collect();
        by_range(&segments, &layout.ranges)?;
        prop_assert_eq!(
            lens(cut.segments_at(&layout.ranges, &offset)),
            lens(cut.segments(&seen))
        );
    }

    #[test]
    fn huge_ranges_are_cut_without_overflow((c, range) in huge_to_cut()) {
        let cut = c.cut(4096).unwrap();
        let segments: Vec<_> = cut.segments(&[range]).collect();
        for segment in &by_range(&segments, &[range])?[0] {
            check_limits(&c, segment)?;
        }
        check_greedy(&c, 4096, &segments)?;
        prop_assert_eq!(cut.count(&[range]), segments.len() as u32);
        // As long as one segment can be, at the most.
        let c = Constraints {
            placement: Placement {
                max_segments: segments.len() as u32,
                ..c.placement
            },
            ..c
        };
        prop_assert_eq!(c.impossible(range.len, 4096), None);
    }
}

/// That there is much to cut, and that what ends a segment is now the one limit, now the other.
#[test]
fn every_cut_is_drawn() {
    const DRAWS: usize = 1000;
    let mut runner = TestRunner::deterministic();
    let (mut whole, mut by_size, mut by_boundary, mut odd, mut huge) = (0, 0, 0, 0, 0);
    for _ in 0..DRAWS {
        let (c, layout) = to_cut().new_tree(&mut runner).unwrap().current();
        let cut = c.cut(layout.page).unwrap();
        let segments: Vec<_> = cut.segments(&layout.ranges).collect();
        let ends_at_boundary = |segment: &&Range| {
            c.segments.boundary_mask != u64::MAX
                && segment.last() & c.segments.boundary_mask == c.segments.boundary_mask
        };
        whole += usize::from(segments.len() == layout.ranges.len());
        if segments.len() > layout.ranges.len() {
            let at_boundary = segments.iter().filter(ends_at_boundary).count();
            by_boundary += usize::from(at_boundary > 0);
            by_size += usize::from(at_boundary < segments.len() - layout.ranges.len());
        }
        // Longer than whole granules within the limit allow.
        let granule = c.placement.alignment;
        odd += usize::from(
            segments
                .iter()
                .any(|segment| segment.len > c.segments.max_size / granule * granule),
        );
        let (c, range) = huge_to_cut().new_tree(&mut runner).unwrap().current();
        huge += usize::from(c.cut(4096).unwrap().count(&[range]) > 1);
    }
    let drawn = format!(
        "whole {whole}, by size {by_size}, by boundary {by_boundary}, odd {odd}, huge {huge}"
    );
    println!("{drawn}");
    for (count, least) in [
        (whole, 10),
        (by_size, 15),
        (by_boundary, 15),
        (odd, 3),
        (huge, 20),
    ] {
        assert!(count * 100 >= least * DRAWS, "{drawn}");
    }
}

#[test]
fn segments_of_nothing_are_none() {
    let cut = Constraints::ANY.cut(4096).unwrap();
    assert_eq!(cut.segments(&[]).next(), None);
    assert_eq!(cut.count(&[]), 0);
}

/// The end stays the end, and a clone goes on from where it was made.
#[test]
fn segments_can_be_cloned_and_end_once() {
    let mut c = Constraints::ANY;
    c.segments.max_size = 4096;
    let ranges = [Range {
        start: 0,
        len: 3 * 4096,
    }];
    let cut = c.cut(4096).unwrap();
    let mut segments = cut.segments(&ranges);
    assert_eq!(
        segments.next(),
        Some(Range {
            start: 0,
            len: 4096
        })
    );
    assert_eq!(segments.clone().count(), 2);
    assert_eq!(segments.by_ref().count(), 2);
    assert_eq!(segments.next(), None);
    assert_eq!(segments.next(), None);
}

/// An entry of a scatterlist has 32 bits for its length. That a segment has no more is known to
/// all who count segments.
#[test]
fn no_segment_is_longer_than_an_entry() {
    const LONGEST: u64 = oracle::LONGEST;
    let lens = |c: &Constraints, len| -> Vec<u64> {
        let ranges = [Range { start: 0, len }];
        let cut = c.cut(4096).unwrap();
        let lens: Vec<_> = cut.segments(&ranges).map(|segment| segment.len).collect();
        assert_eq!(cut.count(&ranges), lens.len() as u32);
        lens
    };
    let mut c = Constraints::ANY;
    assert_eq!(lens(&c, LONGEST), [LONGEST]);
    assert_eq!(lens(&c, LONGEST + 4096), [LONGEST, 4096]);
    c.placement.alignment = LONGEST;
    assert_eq!(lens(&c, 3 * LONGEST), [LONGEST; 3]);
    c.segments.max_size = LONGEST + 4096;
    assert_eq!(lens(&c, LONGEST + 4096), [LONGEST, 4096]);
    c.placement.alignment = 1;
    c.segments.max_size = LONGEST - 1;
    assert_eq!(lens(&c, LONGEST), [LONGEST - 4096, 4096]);
    c.segments.boundary_mask = LONGEST / 2 - 1;
    assert_eq!(lens(&c, LONGEST), [LONGEST / 2; 2]);
}
