// SPDX-License-Identifier: GPL-2.0

//! How constraints combine, and which are malformed.

use crate::strategy::{
    config,
    constraints,
    nonsense,
    two_devices, //
};
use dma_buf_constraints_host::model::{
    Constraints,
    Field,
    Placement,
    SegmentLimits, //
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn meet_is_commutative(a in nonsense(), b in nonsense()) {
        prop_assert_eq!(a.meet(&b), b.meet(&a));
        prop_assert_eq!(a.placement.meet(&b.placement), b.placement.meet(&a.placement));
        prop_assert_eq!(a.segments.meet(&b.segments), b.segments.meet(&a.segments));
    }

    #[test]
    fn meet_is_associative(a in nonsense(), b in nonsense(), c in nonsense()) {
        prop_assert_eq!(a.meet(&b).meet(&c), a.meet(&b.meet(&c)));
        let [x, y, z] = [a.placement, b.placement, c.placement];
        prop_assert_eq!(x.meet(&y).meet(&z), x.meet(&y.meet(&z)));
        let [x, y, z] = [a.segments, b.segments, c.segments];
        prop_assert_eq!(x.meet(&y).meet(&z), x.meet(&y.meet(&z)));
    }

    #[test]
    fn meet_is_idempotent(a in nonsense()) {
        prop_assert_eq!(a.meet(&a), a);
        prop_assert_eq!(a.placement.meet(&a.placement), a.placement);
        prop_assert_eq!(a.segments.meet(&a.segments), a.segments);
    }

    /// An alignment of zero is malformed, and the only value that `ANY` changes.
    #[test]
    fn any_is_the_unit(mut a in nonsense()) {
        a.placement.alignment = a.placement.alignment.max(1);
        prop_assert_eq!(a.meet(&Constraints::ANY), a);
        prop_assert_eq!(Constraints::ANY.meet(&a), a);
        prop_assert_eq!(a.placement.meet(&Placement::ANY), a.placement);
        prop_assert_eq!(a.segments.meet(&SegmentLimits::ANY), a.segments);
    }

    /// Each field of the meet is at least as strict as that field of either.
    #[test]
    fn meet_is_field_by_field(a in nonsense(), b in nonsense()) {
        let meet = a.meet(&b);
        prop_assert_eq!(meet.placement, a.placement.meet(&b.placement));
        prop_assert_eq!(meet.segments, a.segments.meet(&b.segments));
        let (p, q, m) = (a.placement, b.placement, meet.placement);
        prop_assert_eq!(m.access_mask, p.access_mask & q.access_mask);
        prop_assert_eq!(m.max_address, p.max_address.min(q.max_address));
        prop_assert_eq!(m.max_segments, p.max_segments.min(q.max_segments));
        prop_assert_eq!(m.alignment, p.alignment.max(q.alignment));
        prop_assert_eq!(m.coherent, p.coherent || q.coherent);
        prop_assert_eq!(meet.priority, a.priority.max(b.priority));
        let (p, q, m) = (a.segments, b.segments, meet.segments);
        prop_assert_eq!(m.max_size, p.max_size.min(q.max_size));
        prop_assert_eq!(m.boundary_mask, p.boundary_mask.min(q.boundary_mask));
    }

    /// What is well-formed stays so, but for classes that do not intersect.
    #[test]
    fn meet_of_well_formed_is_well_formed(a in constraints(), b in constraints()) {
        let disjoint = a.placement.access_mask & b.placement.access_mask == 0;
        prop_assert_eq!(
            a.meet(&b).malformed(),
            disjoint.then_some(Field::AccessMask)
        );
    }

    #[test]
    fn malformed_is_exact(c in nonsense()) {
        let powers = || (0..64).map(|bits| 1_u64 << bits);
        let bad = [
            (Field::AccessMask, c.placement.access_mask == 0),
            (Field::MaxSegments, c.placement.max_segments == 0),
            (Field::Alignment, powers().all(|power| c.placement.alignment != power)),
            (Field::MaxSegmentSize, c.segments.max_size == 0),
            (
                Field::SegmentBoundary,
                c.segments.boundary_mask != u64::MAX
                    && powers().skip(1).all(|power| c.segments.boundary_mask != power - 1),
            ),
        ];
        let first = bad.iter().find(|(_, bad)| *bad).map(|(field, _)| *field);
        prop_assert_eq!(c.malformed(), first);
    }
}

proptest! {
    #![proptest_config(config(1024))]

    /// Memory that serves two serves each.
    #[test]
    fn meet_is_monotone((a, b, layout) in two_devices()) {
        let fits = |c: &Constraints| c.misfit(&layout.memory(), layout.page).is_none();
        let both = fits(&a.meet(&b));
        prop_assert!(!both || fits(&a) && fits(&b));
        // With a table each, it is the placement only that they share.
        let placed = Constraints {
            placement: a.placement.meet(&b.placement),
            segments: a.segments,
            ..Constraints::ANY
        };
        prop_assert!(!fits(&placed) || fits(&a));
        prop_assert!(!both || fits(&placed));
    }

    /// What is impossible for one is impossible for two.
    #[test]
    fn meet_keeps_the_impossible((a, b, layout) in two_devices()) {
        let impossible = |c: &Constraints| c.impossible(layout.bytes(), layout.page).is_some();
        prop_assert!(!impossible(&a) || impossible(&a.meet(&b)));
    }
}

#[test]
fn any_is_well_formed() {
    assert_eq!(Constraints::ANY.malformed(), None);
    assert_eq!(Constraints::ANY.placement, Placement::ANY);
    assert_eq!(Constraints::ANY.segments, SegmentLimits::ANY);
    assert_eq!(Constraints::ANY.priority, 0);
}

#[test]
fn malformed_names_the_field() {
    let malformed = |change: fn(&mut Constraints)| {
        let mut c = Constraints::ANY;
        change(&mut c);
        c.malformed()
    };
    let mask = |mask| {
        let mut c = Constraints::ANY;
        c.segments.boundary_mask = mask;
        c.malformed()
    };
    let alignment = |alignment| {
        let mut c = Constraints::ANY;
        c.placement.alignment = alignment;
        c.malformed()
    };
    assert_eq!(
        malformed(|c| c.placement.access_mask = 0),
        Some(Field::AccessMask)
    );
    assert_eq!(
        malformed(|c| c.placement.max_segments = 0),
        Some(Field::MaxSegments)
    );
    assert_eq!(malformed(|c| c.placement.max_segments = 1), None);
    assert_eq!(malformed(|c| c.placement.max_address = 0), None);
    assert_eq!(
        malformed(|c| c.segments.max_size = 0),
        Some(Field::MaxSegmentSize)
    );
    assert_eq!(malformed(|c| c.segments.max_size = 1), None);
    for bad in [0, 3, 4097, (1 << 63) + 1, u64::MAX] {
        assert_eq!(alignment(bad), Some(Field::Alignment), "{bad:#x}");
    }
    for good in [1, 2, 4096, 1 << 63] {
        assert_eq!(alignment(good), None, "{good:#x}");
    }
    for bad in [0, 2, 4096, 0xffe, 1 << 63, u64::MAX - 1] {
        assert_eq!(mask(bad), Some(Field::SegmentBoundary), "{bad:#x}");
    }
    for good in [1, 3, 0xfff, 0xffff_ffff, u64::MAX >> 1, u64::MAX] {
        assert_eq!(mask(good), None, "{good:#x}");
    }
}

/// The numbers are part of the interface to userspace.
#[test]
fn fields_have_numbers() {
    assert_eq!(
        crate::oracle::FIELDS.map(|field| field as u32),
        [1, 2, 3, 4, 5, 6, 7]
    );
}
