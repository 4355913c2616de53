// SPDX-License-Identifier: GPL-2.0

//! Constraints as they are written elsewhere, and field by field.

use dma_buf_constraints_host::{
    model::{
        Constraints,
        Field,
        Placement,
        SegmentLimits, //
    },
    zero_is_any, //
};

/// As C writes them.
#[derive(Debug, Default, PartialEq)]
struct Written {
    access_mask: u64,
    max_address: u64,
    max_segment_size: u64,
    segment_boundary_mask: u64,
    alignment: u64,
    max_segments: u32,
    priority: u16,
    coherent: bool,
}

zero_is_any!(Written, coherent);

/// A value of its own in each field.
const EACH: Constraints = Constraints {
    placement: Placement {
        access_mask: 6,
        max_address: 0xffff,
        max_segments: 7,
        alignment: 4096,
        coherent: true,
    },
    segments: SegmentLimits {
        max_size: 65536,
        boundary_mask: 0xfffff,
    },
    priority: 3,
};

const WRITTEN: Written = Written {
    access_mask: 6,
    max_address: 0xffff,
    max_segment_size: 65536,
    segment_boundary_mask: 0xfffff,
    alignment: 4096,
    max_segments: 7,
    priority: 3,
    coherent: true,
};

#[test]
fn each_field_is_written_in_its_place() {
    assert_eq!(Written::from(&EACH), WRITTEN);
    assert_eq!(Constraints::from(&WRITTEN), EACH);
}

#[test]
fn zero_is_anything() {
    assert_eq!(Written::from(&Constraints::ANY), Written::default());
    assert_eq!(Constraints::from(&Written::default()), Constraints::ANY);
}

#[test]
fn a_field_is_got_by_its_name() {
    let values = [
        (Field::AccessMask, 6),
        (Field::MaxAddress, 0xffff),
        (Field::MaxSegments, 7),
        (Field::Alignment, 4096),
        (Field::Coherent, 1),
        // These do not bind the memory.
        (Field::MaxSegmentSize, 0),
        (Field::SegmentBoundary, 0),
        (Field::Length, 0),
        (Field::Contiguous, 0),
        (Field::Device, 0),
    ];
    for (field, value) in values {
        assert_eq!(EACH.placement.get(field), value, "{field:?}");
    }
    assert_eq!(Placement::ANY.get(Field::Coherent), 0);
}
