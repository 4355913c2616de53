// SPDX-License-Identifier: GPL-2.0

//! Tables of real pages: how they are cut, and mapped for a device.

use super::device::TestDevice;
use crate::{
    c,
    device::as_raw,
    dma_buf::{
        DataDirection,
        MapError,
        Pages,
        Table,
        TableRef,
        Tables, //
    },
    model::{
        Constraints,
        Cut,
        Range,
        SegmentLimits, //
    }, //
};
use core::{
    mem,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*,
    scatterlist::SGTable, //
};

const PAGE: u64 = PAGE_SIZE as u64;

/// Pages that lie side by side, aligned as one.
struct Block {
    page: NonNull<bindings::page>,
    order: u32,
}

impl Block {
    fn new(order: u32) -> Result<Self> {
        // SAFETY: No requirements.
        let page = unsafe { bindings::alloc_pages(bindings::GFP_KERNEL, order) };
        let page = NonNull::new(page).ok_or(ENOMEM)?;
        Ok(Self { page, order })
    }

    /// The memory. `ENOMEM`.
    fn range(&self) -> Result<Range> {
        let mut page = self.page.as_ptr();
        // SAFETY: The page is ours. Its number is that of its mapping.
        let number = unsafe {
            let address = NonNull::new(c::dbc_vmap(&mut page, 1)).ok_or(ENOMEM)?;
            let number = bindings::vmalloc_to_pfn(address.as_ptr());
            c::dbc_vunmap(address.as_ptr());
            number
        };
        Ok(Range {
            start: number as u64 * PAGE,
            len: PAGE << self.order,
        })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: The block is ours, of this order.
        unsafe { bindings::__free_pages(self.page.as_ptr(), self.order) };
    }
}

/// The part of `range` from page `first` on, of `count` pages.
fn part(range: Range, first: u64, count: u64) -> Range {
    Range {
        start: range.start + first * PAGE,
        len: count * PAGE,
    }
}

/// Segments of at most `max_size` bytes that do not cross a multiple of `boundary`.
fn limits(max_size: u64, boundary: u64) -> SegmentLimits {
    SegmentLimits {
        max_size,
        boundary_mask: boundary.wrapping_sub(1),
    }
}

fn pages(ranges: &[Range]) -> Pages<'_> {
    Pages {
        ranges,
        has_struct_pages: true,
    }
}

/// A table of `ranges`, cut to `limits`.
fn table(ranges: &[Range], limits: &SegmentLimits) -> Result<Pin<KBox<Table>>> {
    let cut = Cut::new(limits, PAGE).map_err(|_| EINVAL)?;
    // SAFETY: The ranges are memory of blocks.
    unsafe { Table::new(pages(ranges), &cut) }
}

/// Maps `ranges` for the device of `tables`.
fn map(
    tables: &mut Tables<&'static str>,
    ranges: &[Range],
    constraints: &Constraints,
    direction: DataDirection,
) -> Result<TableRef, MapError> {
    // SAFETY: Each test has one set of ranges and constraints for its tables, which it drops before
    // its blocks and its device.
    unsafe { tables.map(pages(ranges), "memory", constraints, direction) }
}

/// No tables yet, for `device`, which is to be dropped after them.
fn tables_for(device: &TestDevice) -> Tables<&'static str> {
    Tables::new((&**device.bound()).into())
}

/// A region of a bus: what `struct bus_dma_region` is.
#[repr(C)]
#[derive(Clone, Copy)]
struct Region {
    memory: u64,
    bus: u64,
    size: u64,
}

/// Lets `device` reach memory through two regions of its bus alone, of which the one ends and the
/// other starts at the address `middle`: that one shifts addresses by `shift`, this one by
/// `other`.
fn set_regions(device: &TestDevice, middle: u64, shift: u64, other: u64) -> Result {
    let regions = [
        Region {
            memory: 0,
            bus: shift,
            size: middle,
        },
        Region {
            memory: middle,
            bus: middle + other,
            size: 1 << 40,
        },
        Region {
            memory: 0,
            bus: 0,
            size: 0,
        },
    ];
    let regions = KBox::into_raw(KBox::new(regions, GFP_KERNEL)?);
    // SAFETY: The device is ours, and nothing is mapped for it. It frees the regions, which end
    // with one of no size.
    unsafe { (*as_raw(device.bound())).dma_range_map = regions.cast() };
    Ok(())
}

/// What a mapping shows the device.
fn seen(mapping: TableRef) -> KVec<Range> {
    // SAFETY: It is mapped, as each test sees to.
    let table = unsafe { SGTable::from_raw(mapping.as_raw()) };
    let mut seen = KVec::new();
    for entry in table.iter() {
        let range = Range {
            start: entry.dma_address(),
            len: entry.dma_len(),
        };
        if seen.push(range, GFP_KERNEL).is_err() {
            break;
        }
    }
    seen
}

/// Whether all memory is bounced here, as with swiotlb=force.
fn bounces(device: &TestDevice) -> bool {
    // SAFETY: The device is bound.
    unsafe { c::dbc_bounces_all(as_raw(device.bound())) }
}

/// The entries of a table, as the DMA layer finds them.
fn entries(table: *const bindings::sg_table) -> impl Iterator<Item = bindings::scatterlist> {
    // SAFETY: The table outlives the test, and has entries.
    let mut next = unsafe { (*table).sgl };
    core::iter::from_fn(move || {
        if next.is_null() {
            return None;
        }
        // SAFETY: An entry of the table.
        unsafe {
            let entry = *next;
            next = bindings::sg_next(next);
            Some(entry)
        }
    })
}

/// Whether the entries of `table` show `ranges`, page by page in their order, within `limits`; and
/// how many there are.
fn shows(table: &Table, ranges: &[Range], limits: &SegmentLimits) -> Option<usize> {
    let mut pages = ranges
        .iter()
        .flat_map(|range| (0..range.len / PAGE).map(|page| range.start + page * PAGE));
    let mut count = 0;
    for entry in entries(table.as_raw()) {
        let len = u64::from(entry.length);
        let start = pages.next()?;
        let last = start + (len - 1);
        let is_within =
            len <= limits.max_size && start | limits.boundary_mask == last | limits.boundary_mask;
        let mut page = ptr::null_mut();
        // SAFETY: The address is that of a page of a block.
        unsafe { c::dbc_pages_of_range(&mut page, start, 1) };
        // The lowest bits mark the last entry.
        let is_there = entry.page_link & !0b11 == page as c_ulong && entry.offset == 0;
        let goes_on = (1..len / PAGE).all(|page| pages.next() == Some(start + page * PAGE));
        if !is_within || !is_there || !goes_on {
            return None;
        }
        count += 1;
    }
    pages.next().is_none().then_some(count)
}

#[kunit_tests(dma_buf_constraints_table)]
mod cases {
    use super::*;

    #[test]
    fn one_entry_is_in_place() -> Result {
        let block = Block::new(2)?;
        let ranges = [block.range()?];
        let table = table(&ranges, &SegmentLimits::ANY)?;
        assert_eq!(shows(&table, &ranges, &SegmentLimits::ANY), Some(1));

        let place = ptr::from_ref(&*table) as usize;
        // SAFETY: The table is there.
        let entry = unsafe { (*table.as_raw()).sgl } as usize;
        assert!((place..place + size_of::<Table>()).contains(&entry));
        Ok(())
    }

    #[test]
    fn cut_at_segment_size() -> Result {
        let block = Block::new(3)?;
        let ranges = [block.range()?];
        for (max_size, count) in [
            (3 * PAGE, 3),
            (3 * PAGE + 1, 3),
            (8 * PAGE - 1, 2),
            (PAGE, 8),
        ] {
            let limits = limits(max_size, 0);
            assert_eq!(
                shows(&*table(&ranges, &limits)?, &ranges, &limits),
                Some(count)
            );
        }
        Ok(())
    }

    #[test]
    fn cut_at_boundary() -> Result {
        let block = Block::new(3)?;
        let range = block.range()?;
        // The block is aligned: there are boundaries before its pages 0, 4 and 8.
        let limits = limits(u64::MAX, 4 * PAGE);
        for (first, pages, count) in [(0, 4, 1), (1, 3, 1), (1, 6, 2), (3, 2, 2), (0, 8, 2)] {
            let ranges = [part(range, first, pages)];
            assert_eq!(
                shows(&*table(&ranges, &limits)?, &ranges, &limits),
                Some(count)
            );
        }
        Ok(())
    }

    #[test]
    fn cut_at_size_and_boundary() -> Result {
        let block = Block::new(3)?;
        let ranges = [part(block.range()?, 1, 7)];
        let limits = limits(2 * PAGE, 4 * PAGE);
        // Pages 1 and 2, 3, 4 and 5, 6 and 7.
        assert_eq!(shows(&*table(&ranges, &limits)?, &ranges, &limits), Some(4));
        Ok(())
    }

    #[test]
    fn pages_keep_their_order() -> Result {
        let (one, other) = (Block::new(2)?, Block::new(2)?);
        let (one, other) = (one.range()?, other.range()?);
        let limits = limits(2 * PAGE, 0);
        for ranges in [[one, other], [other, one]] {
            let ranges = [part(ranges[0], 1, 3), part(ranges[1], 0, 2)];
            assert_eq!(shows(&*table(&ranges, &limits)?, &ranges, &limits), Some(3));
        }
        Ok(())
    }

    #[test]
    fn long_table_is_chained() -> Result {
        let block = Block::new(9)?;
        let ranges = [block.range()?];
        let limits = limits(PAGE, 0);
        assert_eq!(
            shows(&*table(&ranges, &limits)?, &ranges, &limits),
            Some(512)
        );
        Ok(())
    }

    #[test]
    fn mapped_as_it_is_cut() -> Result {
        let device = TestDevice::new(c"dbc_test_mapped", None)?;
        let block = Block::new(3)?;
        let ranges = [part(block.range()?, 0, 6), part(block.range()?, 7, 1)];
        let mut constraints = Constraints::ANY;
        constraints.segments = limits(4 * PAGE, 0);
        let mut tables = tables_for(&device);
        let first = map(&mut tables, &ranges, &constraints, DataDirection::ToDevice);
        if bounces(&device) {
            assert!(matches!(first, Err(MapError::Bounced)));
            assert!(!tables.is_mapped());
            return Ok(());
        }
        let first = first?;
        let second = map(
            &mut tables,
            &ranges,
            &constraints,
            DataDirection::Bidirectional,
        )?;
        assert!(first != second);
        // Nothing translates for the device.
        let segments = [part(ranges[0], 0, 4), part(ranges[0], 4, 2), ranges[1]];
        for mapping in [first, second] {
            assert_eq!(tables.segments(mapping), 3);
            assert_eq!(&seen(mapping)[..], &segments[..]);
        }

        assert_eq!(tables.unmap(first, |_| true), Some("memory"));
        assert_eq!(tables.unmap(first, |_| true), None);
        assert_eq!(tables.segments(first), 0);
        assert!(tables.is_mapped());
        let again = map(
            &mut tables,
            &ranges,
            &constraints,
            DataDirection::FromDevice,
        )?;
        assert!(again == first);
        Ok(())
    }

    #[test]
    fn failed_mapping_leaves_none() -> Result {
        let device = TestDevice::new(c"dbc_test_failed", None)?;
        let block = Block::new(0)?;
        let ranges = [block.range()?];
        let mut too_small = Constraints::ANY;
        too_small.segments.max_size = PAGE - 1;
        let mut tables = tables_for(&device);
        let result = map(&mut tables, &ranges, &too_small, DataDirection::ToDevice);
        assert!(matches!(result, Err(MapError::Failed(EINVAL))));
        let result = map(&mut tables, &ranges, &Constraints::ANY, DataDirection::None);
        assert!(matches!(result, Err(MapError::Failed(EINVAL))));
        assert!(!tables.is_mapped());
        Ok(())
    }

    const KIB_64: u64 = 65536;

    #[test]
    fn no_entry_is_longer_than_the_api_says() -> Result {
        // It has never said anything: 64 KiB.
        let device = TestDevice::new(c"dbc_test_default", None)?;
        if bounces(&device) {
            return Ok(());
        }
        let block = Block::new((4 * KIB_64 / PAGE).ilog2())?;
        let range = block.range()?;
        let mut tables = tables_for(&device);
        let mapping = map(
            &mut tables,
            &[range],
            &Constraints::ANY,
            DataDirection::ToDevice,
        )?;
        assert!(entries(mapping.as_raw()).all(|entry| u64::from(entry.length) == KIB_64));
        // One range all the same.
        let parts = [0, 1, 2, 3].map(|part| Range {
            start: range.start + part * KIB_64,
            len: KIB_64,
        });
        assert_eq!(&seen(mapping)[..], &parts[..]);
        Ok(())
    }

    #[test]
    fn few_segments_are_longer_than_the_default() -> Result {
        let device = TestDevice::new(c"dbc_test_few", None)?;
        if bounces(&device) {
            return Ok(());
        }
        let block = Block::new((4 * KIB_64 / PAGE).ilog2())?;
        let range = block.range()?;
        for (most, count) in [(1, 1), (3, 1), (4, 4)] {
            let mut constraints = Constraints::ANY;
            constraints.placement.max_segments = most;
            let mut tables = tables_for(&device);
            let mapping = map(&mut tables, &[range], &constraints, DataDirection::ToDevice)?;
            assert_eq!(tables.segments(mapping), count);
            tables.sync_for_cpu();
            tables.sync_for_device(|_, _, _| {});
        }
        Ok(())
    }

    #[test]
    fn range_over_two_regions_is_judged_as_a_whole() -> Result {
        const GIB: u64 = 1 << 30;
        let device = TestDevice::new(c"dbc_test_regions", None)?;
        let block = Block::new(3)?;
        let range = block.range()?;
        let (front, back) = (part(range, 0, 4), part(range, 4, 4));
        set_regions(&device, back.start, 0, GIB)?;
        let to_device = DataDirection::ToDevice;
        let mut tables = tables_for(&device);
        let result = map(&mut tables, &[range], &Constraints::ANY, to_device);
        assert!(matches!(result, Err(MapError::Bounced)));
        assert!(!tables.is_mapped());
        if bounces(&device) {
            return Ok(());
        }
        // Each half is reached.
        let both = [front, back];
        let mapping = map(&mut tables, &both, &Constraints::ANY, to_device)?;
        let shifted = Range {
            start: back.start + GIB,
            ..back
        };
        assert_eq!(&seen(mapping)[..], &[front, shifted][..]);
        Ok(())
    }

    #[test]
    fn regions_that_go_on_are_one() -> Result {
        let device = TestDevice::new(c"dbc_test_seamless", None)?;
        if bounces(&device) {
            return Ok(());
        }
        let block = Block::new(3)?;
        let range = block.range()?;
        set_regions(&device, range.start + 4 * PAGE, 0, 0)?;
        let mut tables = tables_for(&device);
        let mapping = map(
            &mut tables,
            &[range],
            &Constraints::ANY,
            DataDirection::ToDevice,
        )?;
        assert_eq!(&seen(mapping)[..], &[range][..]);
        Ok(())
    }

    #[test]
    fn memory_beyond_the_mask_is_not_tried() -> Result {
        let device = TestDevice::new(c"dbc_test_mask", None)?;
        let block = Block::new(1)?;
        let range = block.range()?;
        // SAFETY: The device is ours, and nothing is mapped for it.
        unsafe { (*as_raw(device.bound())).coherent_dma_mask = range.last() - 1 };
        let mut tables = tables_for(&device);
        let result = map(
            &mut tables,
            &[range],
            &Constraints::ANY,
            DataDirection::ToDevice,
        );
        assert!(matches!(result, Err(MapError::Bounced)));
        Ok(())
    }

    #[test]
    fn boundary_is_one_of_dma_addresses() -> Result {
        let device = TestDevice::new(c"dbc_test_boundary", None)?;
        if bounces(&device) {
            return Ok(());
        }
        let block = Block::new(3)?;
        let range = block.range()?;
        // A page further on the bus: boundaries before the pages 3 and 7.
        set_regions(&device, range.start, PAGE, PAGE)?;
        let mut constraints = Constraints::ANY;
        constraints.segments = limits(u64::MAX, 4 * PAGE);
        let mut tables = tables_for(&device);
        let mapping = map(&mut tables, &[range], &constraints, DataDirection::ToDevice)?;
        let parts = [(1, 3), (4, 4), (8, 1)].map(|(first, count)| part(range, first, count));
        assert_eq!(&seen(mapping)[..], &parts[..]);
        Ok(())
    }

    #[test]
    fn device_without_dma_cannot_map() -> Result {
        let device = TestDevice::new(c"dbc_test_no_dma", None)?;
        // SAFETY: The device is ours, and nothing is mapped for it.
        let mask =
            unsafe { mem::replace(&mut (*as_raw(device.bound())).dma_mask, ptr::null_mut()) };
        let block = Block::new(0)?;
        let ranges = [block.range()?];
        let mut tables = tables_for(&device);
        let result = map(
            &mut tables,
            &ranges,
            &Constraints::ANY,
            DataDirection::ToDevice,
        );
        assert!(matches!(result, Err(MapError::Failed(ENODEV))));
        // SAFETY: As above.
        unsafe { (*as_raw(device.bound())).dma_mask = mask };
        Ok(())
    }
}
