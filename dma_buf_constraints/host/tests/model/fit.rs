// SPDX-License-Identifier: GPL-2.0

//! Whether memory fits, and whether any could.

use crate::{
    oracle,
    strategy::{
        config,
        nonsense,
        one_device,
        to_cut,
        two_devices, //
    },
};
use dma_buf_constraints_host::model::{
    Constraints,
    Field,
    Memory,
    Misfit,
    Placement,
    Range,
    SegmentLimits, //
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::TestRunner, //
};

const PAGE: u64 = 4096;

proptest! {
    #![proptest_config(config(1024))]

    #[test]
    fn misfit_agrees_with_trial((c, layout) in one_device()) {
        let found = |field| oracle::found(&c, field, &layout);
        let bad = oracle::FIELDS.map(|field| (field, found(field)));
        match c.misfit(&layout.memory(), layout.page) {
            None => prop_assert!(
                bad.iter().all(|(_, found)| found.is_none()),
                "admitted against {:x?}", bad
            ),
            Some(misfit) => {
                prop_assert_eq!(misfit.wanted, oracle::wanted(&c, misfit.field));
                prop_assert_eq!(found(misfit.field), Some(misfit.found), "{:?}", misfit.field);
            }
        }
    }

    /// Where no memory fits by `impossible`, none that was tried does.
    #[test]
    fn impossible_is_no_lie((c, layout) in one_device()) {
        if let Some(impossible) = c.impossible(layout.bytes(), layout.page) {
            let fits = oracle::FIELDS.iter().all(|field| {
                oracle::found(&c, *field, &layout).is_none()
            });
            prop_assert!(!fits, "fits, against {:x?}", impossible);
            prop_assert!(c.misfit(&layout.memory(), layout.page).is_some());
            prop_assert_eq!(impossible.wanted, oracle::wanted(&c, impossible.field));
        }
    }

    /// As above, where it is the count of segments that decides.
    #[test]
    fn impossible_counts_no_segment_too_many((c, layout) in to_cut()) {
        let fewest = layout
            .ranges
            .iter()
            .map(|range| oracle::fewest(&c, range, layout.page))
            .sum::<Option<u64>>();
        prop_assert!(fewest.is_some());
        let mut c = c;
        c.placement.max_segments = fewest.unwrap() as u32;
        prop_assert_eq!(c.impossible(layout.bytes(), layout.page), None);
        prop_assert_eq!(c.misfit(&layout.memory(), layout.page), None);
        c.placement.max_segments -= 1;
        prop_assert_eq!(
            c.misfit(&layout.memory(), layout.page),
            Some(Misfit {
                field: Field::MaxSegments,
                wanted: fewest.unwrap() - 1,
                found: fewest.unwrap(),
            })
        );
    }

    /// Where some memory could fit by `impossible`, and may lie anywhere, there is some: as many
    /// ranges as there may be segments, each as long as a segment may be.
    #[test]
    fn impossible_is_exact_for_free_addresses((mut c, layout) in one_device()) {
        const STRIDE: u64 = 1 << 40;
        let page = layout.page;
        c.placement.max_address = u64::MAX;
        // Such that there are addresses enough.
        c.placement.alignment = c.placement.alignment.min(STRIDE);
        let len = layout.bytes();
        if c.impossible(len, page).is_none() {
            let most = c.segments.max_size.min(c.segments.boundary_mask.saturating_add(1));
            let (mut left, mut ranges) = (len, Vec::new());
            while left > 0 {
                let len = left.min(most - most % page);
                ranges.push(Range { start: (ranges.len() as u64 + 1) * STRIDE, len });
                left -= len;
            }
            let memory = Memory { class: u64::MAX, coherent: true, ranges: &ranges };
            prop_assert_eq!(c.misfit(&memory, page), None);
        }
    }

    /// Values that `malformed` should have kept out give a wrong answer at worst.
    #[test]
    fn nonsense_does_not_panic(c in nonsense(), (_, layout) in one_device()) {
        let _ = c.misfit(&layout.memory(), layout.page);
        let _ = c.impossible(layout.bytes(), layout.page);
        let _ = c.impossible(u64::MAX, layout.page);
        let _ = c.impossible(0, layout.page);
    }
}

/// The strategies are worth something only if they draw what matters: each outcome, and each often.
#[test]
fn every_outcome_is_drawn() {
    const DRAWS: usize = 1000;
    let mut runner = TestRunner::deterministic();
    let mut misfits = [0; oracle::FIELDS.len()];
    let mut impossible = [0; oracle::FIELDS.len()];
    let (mut fits, mut fits_limited, mut fits_cut, mut fits_two) = (0, 0, 0, 0);
    let (mut at_top, mut many_ranges) = (0, 0);
    for _ in 0..DRAWS {
        let (c, layout) = one_device().new_tree(&mut runner).unwrap().current();
        let index = |misfit: Misfit| {
            oracle::FIELDS
                .iter()
                .position(|f| *f == misfit.field)
                .unwrap()
        };
        let cut = c.cut(layout.page);
        match c.misfit(&layout.memory(), layout.page) {
            Some(misfit) => misfits[index(misfit)] += 1,
            None => {
                let count = cut.unwrap().segments(&layout.ranges).count();
                fits += 1;
                fits_cut += usize::from(count > layout.ranges.len());
                fits_limited += usize::from(c.placement.max_segments != u32::MAX);
            }
        }
        if let Some(misfit) = c.impossible(layout.bytes(), layout.page) {
            impossible[index(misfit)] += 1;
        }
        at_top += usize::from(layout.ranges.iter().any(|range| range.last() == u64::MAX));
        many_ranges += usize::from(layout.ranges.len() > 1);
        let (a, b, layout) = two_devices().new_tree(&mut runner).unwrap().current();
        let both = a.meet(&b).misfit(&layout.memory(), layout.page);
        fits_two += usize::from(both.is_none());
    }
    let drawn = format!(
        "fits {fits}, limited {fits_limited}, cut {fits_cut}, two {fits_two}, at top {at_top}, \
         many ranges {many_ranges}, misfits {misfits:?}, impossible {impossible:?}"
    );
    println!("{drawn}");
    let percent = |count: usize, least: usize| assert!(count * 100 >= least * DRAWS, "{drawn}");
    percent(fits, 15);
    percent(DRAWS - fits, 15);
    percent(fits_limited, 3);
    percent(fits_cut, 3);
    percent(fits_two, 5);
    percent(at_top, 3);
    percent(many_ranges, 50);
    for count in misfits {
        percent(count, 1);
    }
    for (field, count) in oracle::FIELDS.iter().zip(impossible) {
        match field {
            // Neither is ever impossible of itself.
            Field::Alignment | Field::Coherent => assert_eq!(count, 0),
            _ => percent(count, 1),
        }
    }
}

/// Every small case: one range in an address space of a few bytes, with pages of one byte.
#[test]
fn every_tiny_range() {
    let mut cases = 0;
    for (alignment, max_size, boundary_mask) in (0..3)
        .flat_map(|shift| (1..=10).map(move |size| (1 << shift, size)))
        .flat_map(|(a, m)| [1, 3, 7, u64::MAX].map(|b| (a, m, b)))
    {
        let mut c = Constraints::ANY;
        c.placement.alignment = alignment;
        c.segments.max_size = max_size;
        c.segments.boundary_mask = boundary_mask;
        for (start, len) in (0..8).flat_map(|start| (1..=10).map(move |len| (start, len))) {
            let ranges = [Range { start, len }];
            let memory = Memory {
                class: 1,
                coherent: false,
                ranges: &ranges,
            };
            let fewest = oracle::fewest(&c, &ranges[0], 1);
            for max_segments in 1..=10 {
                c.placement.max_segments = max_segments;
                let holds = max_size >= alignment && boundary_mask >= alignment - 1;
                let fits = holds && fewest.is_some_and(|count| count <= max_segments.into());
                let misfit = c.misfit(&memory, 1);
                assert_eq!(misfit.is_none(), fits, "{c:?} {ranges:?} {misfit:?}");
                if fits {
                    assert_eq!(c.impossible(len, 1), None, "{c:?} {ranges:?}");
                }
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 3 * 10 * 4 * 8 * 10 * 10);
}

/// What `c` finds wrong with `ranges`, given as start and length.
fn misfit(c: &Constraints, ranges: &[(u64, u64)]) -> Option<Misfit> {
    let ranges: Vec<_> = ranges
        .iter()
        .map(|(start, len)| Range {
            start: *start,
            len: *len,
        })
        .collect();
    c.misfit(
        &Memory {
            class: 1,
            coherent: false,
            ranges: &ranges,
        },
        PAGE,
    )
}

fn refused(field: Field, wanted: u64, found: u64) -> Option<Misfit> {
    Some(Misfit {
        field,
        wanted,
        found,
    })
}

#[test]
fn last_address_is_inclusive() {
    let mut c = Constraints::ANY;
    c.placement.max_address = (1 << 28) - 1;
    let end = 1 << 28;
    assert_eq!(misfit(&c, &[(end - PAGE, PAGE)]), None);
    assert_eq!(
        misfit(&c, &[(0, PAGE), (end, PAGE)]),
        refused(Field::MaxAddress, end - 1, end)
    );
    c.placement.max_address -= 1;
    assert_eq!(
        misfit(&c, &[(end - PAGE, PAGE)]),
        refused(Field::MaxAddress, end - 2, end - PAGE)
    );
}

#[test]
fn top_of_the_address_space_fits() {
    let top = 0_u64.wrapping_sub(PAGE);
    assert_eq!(misfit(&Constraints::ANY, &[(top, PAGE), (0, top)]), None);
    let mut c = Constraints::ANY;
    c.placement.max_segments = 2;
    assert_eq!(misfit(&c, &[(top, PAGE), (0, 2 << 30)]), None);
    c.placement.max_address = u64::MAX - 1;
    assert_eq!(
        misfit(&c, &[(top, PAGE)]),
        refused(Field::MaxAddress, u64::MAX - 1, top)
    );
}

/// The last segment of a range need not be whole granules: no other starts behind it.
#[test]
fn last_segment_may_end_between_granules() {
    let c = Constraints {
        placement: Placement {
            max_segments: 1,
            alignment: 4 * PAGE,
            ..Placement::ANY
        },
        segments: SegmentLimits {
            max_size: 5 * PAGE,
            ..SegmentLimits::ANY
        },
        ..Constraints::ANY
    };
    assert_eq!(misfit(&c, &[(8 * PAGE, 5 * PAGE)]), None);
    assert_eq!(c.impossible(5 * PAGE, PAGE), None);
    // But another can start at the next granule only: 4 + 2 pages.
    assert_eq!(
        misfit(&c, &[(8 * PAGE, 6 * PAGE)]),
        refused(Field::MaxSegments, 1, 2)
    );
    assert_eq!(
        misfit(&c, &[(8 * PAGE, 10 * PAGE)]),
        refused(Field::MaxSegments, 1, 3)
    );
}

/// Limits below one granule are refused, even for memory that would happen to fit.
#[test]
fn limits_below_a_granule_are_refused() {
    let mut c = Constraints::ANY;
    c.segments.max_size = PAGE - 1;
    let no = refused(Field::MaxSegmentSize, PAGE - 1, PAGE);
    assert_eq!(misfit(&c, &[(0, PAGE)]), no);
    assert_eq!(c.impossible(PAGE, PAGE), no);
    c.segments.max_size = PAGE;
    assert_eq!(misfit(&c, &[(0, PAGE)]), None);
    c.placement.alignment = 2 * PAGE;
    let no = refused(Field::MaxSegmentSize, PAGE, 2 * PAGE);
    assert_eq!(misfit(&c, &[(0, PAGE)]), no);
    assert_eq!(c.impossible(PAGE, PAGE), no);
    c.segments = SegmentLimits {
        boundary_mask: PAGE - 1,
        ..SegmentLimits::ANY
    };
    let no = refused(Field::SegmentBoundary, PAGE - 1, 2 * PAGE);
    assert_eq!(misfit(&c, &[(0, PAGE)]), no);
    assert_eq!(c.impossible(PAGE, PAGE), no);
    c.placement.alignment = PAGE;
    assert_eq!(misfit(&c, &[(0, PAGE)]), None);
}

/// Whatever the limits, a segment has at most 2 GiB.
#[test]
fn longest_segment_counts() {
    const LONGEST: u64 = oracle::LONGEST;
    let mut c = Constraints::ANY;
    c.placement.max_segments = 1;
    assert_eq!(misfit(&c, &[(0, LONGEST)]), None);
    assert_eq!(c.impossible(LONGEST, PAGE), None);
    let no = refused(Field::MaxSegments, 1, 2);
    assert_eq!(misfit(&c, &[(0, LONGEST + PAGE)]), no);
    assert_eq!(c.impossible(LONGEST + PAGE, PAGE), no);
    c.segments.max_size = LONGEST + PAGE;
    assert_eq!(misfit(&c, &[(0, LONGEST + PAGE)]), no);
    assert_eq!(c.impossible(LONGEST + PAGE, PAGE), no);
}

/// With an alignment above that, a second segment of the same range cannot start where it has to.
#[test]
fn longest_segment_ends_a_run_of_a_larger_alignment() {
    const LONGEST: u64 = oracle::LONGEST;
    let mut c = Constraints::ANY;
    c.placement.alignment = LONGEST;
    assert_eq!(misfit(&c, &[(LONGEST, 3 * LONGEST)]), None);
    c.placement.alignment = 2 * LONGEST;
    assert_eq!(misfit(&c, &[(2 * LONGEST, LONGEST)]), None);
    assert_eq!(
        misfit(&c, &[(2 * LONGEST, LONGEST + PAGE)]),
        refused(Field::Alignment, 2 * LONGEST, 3 * LONGEST)
    );
    // So much of it has to come in as many ranges.
    assert_eq!(c.impossible(2 * LONGEST, PAGE), None);
    assert_eq!(misfit(&c, &[(4 * LONGEST, LONGEST), (0, LONGEST)]), None);
}

#[test]
fn impossible_says_why() {
    let mut c = Constraints::ANY;
    assert_eq!(c.impossible(0, PAGE), None);
    // A table has less than 2^32 segments.
    let most = u64::from(u32::MAX) * oracle::LONGEST;
    assert_eq!(c.impossible(most, PAGE), None);
    assert_eq!(
        c.impossible(most + PAGE, PAGE),
        refused(Field::MaxSegments, u32::MAX.into(), 1 << 32)
    );
    c.placement.max_address = 4 * PAGE - 1;
    assert_eq!(c.impossible(4 * PAGE, PAGE), None);
    assert_eq!(
        c.impossible(5 * PAGE, PAGE),
        refused(Field::MaxAddress, 4 * PAGE - 1, 5 * PAGE)
    );
    c = Constraints::ANY;
    c.placement.max_segments = 3;
    c.segments.max_size = 2 * PAGE + PAGE / 2;
    assert_eq!(c.impossible(6 * PAGE, PAGE), None);
    assert_eq!(
        c.impossible(7 * PAGE, PAGE),
        refused(Field::MaxSegments, 3, 4)
    );
    c.segments.boundary_mask = PAGE - 1;
    assert_eq!(
        c.impossible(6 * PAGE, PAGE),
        refused(Field::MaxSegments, 3, 6)
    );
    c = Constraints::ANY;
    c.placement.access_mask = 0;
    assert_eq!(c.impossible(PAGE, PAGE), refused(Field::AccessMask, 0, 0));
}

#[test]
fn coherent_memory_is_not_cached() {
    let mut c = Constraints::ANY;
    let ranges = [Range {
        start: 0,
        len: PAGE,
    }];
    let memory = |coherent| Memory {
        class: 1,
        coherent,
        ranges: &ranges,
    };
    assert_eq!(c.misfit(&memory(false), PAGE), None);
    c.placement.coherent = true;
    assert_eq!(
        c.misfit(&memory(false), PAGE),
        refused(Field::Coherent, 1, 0)
    );
    assert_eq!(c.misfit(&memory(true), PAGE), None);
}
