// SPDX-License-Identifier: GPL-2.0

//! Whether memory fits, how it is cut, and whether any could fit.

#![no_main]

use arbitrary::{
    Arbitrary,
    Result,
    Unstructured, //
};
use dma_buf_constraints_fuzz::{
    draw,
    model::{
        Constraints,
        Range, //
    },
    oracle::{
        self,
        Layout, //
    }, //
};
use libfuzzer_sys::fuzz_target;

#[derive(Debug)]
struct Input {
    c: Constraints,
    layout: Layout,
    nonsense: Constraints,
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let page = draw::page(u)?;
        Ok(Self {
            layout: draw::layout(u, page)?,
            c: draw::constraints(u, page)?,
            nonsense: draw::nonsense(u)?,
        })
    }
}

/// The segments of a table are the ranges, one after the other, and each is within the limits.
fn check_segments(c: &Constraints, layout: &Layout, segments: &[Range]) {
    let mut segments = segments.iter();
    for range in &layout.ranges {
        let (mut at, end) = (
            u128::from(range.start),
            u128::from(range.start) + u128::from(range.len),
        );
        while at < end {
            let segment = segments.next().unwrap();
            let (start, len) = (u128::from(segment.start), u128::from(segment.len));
            assert_eq!(start, at);
            assert!(len > 0 && start + len <= end);
            assert_eq!(len % u128::from(layout.page), 0);
            assert_eq!(start % u128::from(c.placement.alignment), 0);
            assert!(len <= u128::from(c.segments.max_size));
            let boundary = u128::from(c.segments.boundary_mask) + 1;
            assert_eq!(start / boundary, (start + len - 1) / boundary);
            at += len;
        }
    }
    assert_eq!(segments.next(), None);
}

fuzz_target!(|input: Input| {
    let Input {
        c,
        layout,
        nonsense,
    } = input;
    let (memory, page) = (layout.memory(), layout.page);
    let bad = oracle::FIELDS.map(|field| (field, oracle::found(&c, field, &layout)));
    match c.misfit(&memory, page) {
        None => {
            assert!(bad.iter().all(|(_, found)| found.is_none()), "{bad:x?}");
            let cut = c.cut(page).unwrap();
            let segments: Vec<_> = cut.segments(memory.ranges).collect();
            check_segments(&c, &layout, &segments);
            let fewest: u64 = (layout.ranges.iter())
                .map(|range| oracle::fewest(&c, range, page).unwrap())
                .sum();
            assert_eq!(segments.len() as u64, fewest);
            assert_eq!(u64::from(cut.count(memory.ranges)), fewest);
            // What fits cannot be impossible.
            assert_eq!(c.impossible(layout.bytes(), page), None);
        }
        Some(misfit) => {
            let (_, found) = bad
                .iter()
                .find(|(field, _)| *field == misfit.field)
                .unwrap();
            assert_eq!(*found, Some(misfit.found), "{:?}", misfit.field);
            assert_eq!(misfit.wanted, oracle::wanted(&c, misfit.field));
        }
    }
    // Values that should have been kept out give a wrong answer at worst.
    let _ = nonsense.misfit(&memory, page);
    let _ = nonsense.impossible(layout.bytes(), page);
});
