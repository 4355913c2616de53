// SPDX-License-Identifier: GPL-2.0

//! How constraints combine, whatever their values.

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
        Field, //
    }, //
};
use libfuzzer_sys::fuzz_target;

#[derive(Debug)]
struct Input([Constraints; 3]);

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self([
            draw::nonsense(u)?,
            draw::nonsense(u)?,
            draw::nonsense(u)?,
        ]))
    }
}

/// Each field as a number of which the smaller is the stricter one, and the mask bit by bit.
fn strictness(c: &Constraints) -> ([u64; 7], [bool; 64]) {
    let (placement, segments) = (&c.placement, &c.segments);
    let numbers = [
        placement.max_address,
        placement.max_segments.into(),
        u64::MAX - placement.alignment,
        (!placement.coherent).into(),
        segments.max_size,
        segments.boundary_mask,
        u64::MAX - u64::from(c.priority),
    ];
    let mut classes = [false; 64];
    for (bit, class) in classes.iter_mut().enumerate() {
        *class = (placement.access_mask >> bit) & 1 == 1;
    }
    (numbers, classes)
}

/// What the meet of all has to be, field by field.
fn strictest(all: &[Constraints]) -> ([u64; 7], [bool; 64]) {
    let mut strictest = strictness(&all[0]);
    for one in all {
        let (numbers, classes) = strictness(one);
        for (a, b) in strictest.0.iter_mut().zip(numbers) {
            *a = b.min(*a);
        }
        for (a, b) in strictest.1.iter_mut().zip(classes) {
            *a &= b;
        }
    }
    strictest
}

/// The first field that makes no sense, by the words of the interface.
fn nonsense(c: &Constraints) -> Option<Field> {
    let is_power = |value: u128| value.count_ones() == 1;
    let boundary = u128::from(c.segments.boundary_mask) + 1;
    let bad = [
        (Field::AccessMask, c.placement.access_mask == 0),
        (Field::MaxSegments, c.placement.max_segments == 0),
        (Field::Alignment, !is_power(c.placement.alignment.into())),
        (Field::MaxSegmentSize, c.segments.max_size == 0),
        (Field::SegmentBoundary, boundary < 2 || !is_power(boundary)),
    ];
    bad.iter().find(|(_, bad)| *bad).map(|(field, _)| *field)
}

fuzz_target!(|input: Input| {
    let Input([a, b, c]) = input;
    let (ab, abc) = (a.meet(&b), a.meet(&b).meet(&c));
    assert_eq!(strictness(&ab), strictest(&[a, b]));
    assert_eq!(strictness(&abc), strictest(&[a, b, c]));
    assert_eq!(ab, b.meet(&a));
    assert_eq!(abc, a.meet(&b.meet(&c)));
    assert_eq!(a.meet(&a), a);
    assert_eq!(ab.meet(&b), ab);
    assert_eq!(a.malformed(), nonsense(&a));
    if a.placement.alignment > 0 {
        assert_eq!(a.meet(&Constraints::ANY), a);
        assert_eq!(Constraints::ANY.meet(&a), a);
    }
});
