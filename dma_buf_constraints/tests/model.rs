// SPDX-License-Identifier: GPL-2.0

//! The model with the kernel's page size, at the ends of what its numbers hold.

use crate::{
    device,
    model::{
        Cause,
        Constraints,
        Cut,
        Field,
        Holder,
        Memory,
        Misfit,
        Name,
        Range,
        Refusal,
        SegmentLimits,
        LONGEST_SEGMENT, //
    }, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    str::CString, //
};

const PAGE: u64 = PAGE_SIZE as u64;

/// The last page of all addresses.
const LAST_PAGE: Range = Range {
    start: u64::MAX - (PAGE - 1),
    len: PAGE,
};

fn memory(ranges: &[Range]) -> Memory<'_> {
    Memory {
        class: 1,
        coherent: false,
        ranges,
    }
}

#[kunit_tests(dma_buf_constraints_model)]
mod cases {
    use super::*;

    #[test]
    fn memory_fits_up_to_the_last_address() {
        let ranges = [LAST_PAGE];
        let mut one_range = Constraints::ANY;
        one_range.placement.max_segments = 1;
        one_range.placement.alignment = PAGE;
        assert_eq!(one_range.misfit(&memory(&ranges), PAGE), None);

        let mut all_but_one = Constraints::ANY;
        all_but_one.placement.max_address = u64::MAX - 1;
        let misfit = Misfit {
            field: Field::MaxAddress,
            wanted: u64::MAX - 1,
            found: LAST_PAGE.start,
        };
        let both = one_range.meet(&all_but_one);
        assert_eq!(both.misfit(&memory(&ranges), PAGE), Some(misfit));
    }

    #[test]
    fn last_addresses_are_cut_without_overflow() -> Result {
        let len = 4 * LONGEST_SEGMENT - PAGE;
        let ranges = [Range {
            start: u64::MAX - (len - 1),
            len,
        }];
        let limits = SegmentLimits {
            max_size: u64::MAX,
            boundary_mask: (1 << 30) - 1,
        };
        let cut = Cut::new(&limits, PAGE).map_err(|_| EINVAL)?;
        assert_eq!(cut.count(&ranges), 8);
        let mut next = ranges[0].start;
        for segment in cut.segments(&ranges) {
            assert_eq!(segment.start, next);
            assert_eq!(segment.start >> 30, segment.last() >> 30);
            // Behind the last one there is no address.
            next = segment.last().wrapping_add(1);
        }
        assert_eq!(next, 0);
        Ok(())
    }

    #[test]
    fn longest_buffer_is_judged_without_overflow() {
        let most = u64::from(u32::MAX) * LONGEST_SEGMENT;
        assert_eq!(Constraints::ANY.impossible(most, PAGE), None);
        assert!(Constraints::ANY.impossible(u64::MAX, PAGE).is_some());

        let mut constraints = Constraints::ANY;
        constraints.placement.max_segments = 16;
        constraints.segments.max_size = PAGE;
        let misfit = Misfit {
            field: Field::MaxSegments,
            wanted: 16,
            found: 1 << (u64::BITS - PAGE.ilog2()),
        };
        assert_eq!(constraints.impossible(u64::MAX, PAGE), Some(misfit));
    }

    #[test]
    fn segment_of_less_than_a_page_is_invalid() {
        let mut constraints = Constraints::ANY;
        constraints.segments.max_size = PAGE;
        constraints.segments.boundary_mask = PAGE - 1;
        assert_eq!(device::invalid(&constraints), None);

        constraints.segments.boundary_mask = PAGE / 2 - 1;
        assert_eq!(device::invalid(&constraints), Some(Field::SegmentBoundary));
        constraints.segments.max_size = PAGE - 1;
        assert_eq!(device::invalid(&constraints), Some(Field::MaxSegmentSize));
    }

    #[test]
    fn refusal_is_a_kernel_message() -> Result {
        let refusal = Refusal {
            field: Some(Field::MaxAddress),
            wanted: (1 << 28) - 1,
            found: 0x1_4000_0000,
            who: Name::new(b"camera\n"),
            other: Name::new(b"display"),
            holder: Some(Holder::Pin),
            holders: 1,
            ..Refusal::new(Cause::Held)
        };
        let text = CString::try_from_fmt(fmt!("{refusal}"))?;
        let expected = c"camera? needs addresses below 256 MiB, the memory is at 0x140000000 and \
            is pinned by display; declare camera? before display maps the buffer, or with a \
            timeout and let that one unmap it";
        assert_eq!(&*text, expected);
        Ok(())
    }
}
