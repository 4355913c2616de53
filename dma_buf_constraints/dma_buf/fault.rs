// SPDX-License-Identifier: GPL-2.0

//! Faults of userspace in a mapped buffer.

use super::exporter::Touched;
use crate::{
    c,
    model::Range, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::to_result,
    mm::virt::VmaRef,
    page::PAGE_SIZE,
    prelude::*, //
};

/// How far beyond the range that was touched a fault maps memory, in bytes: what one lowest page
/// table maps on most architectures. It bounds the faults of scattered memory.
const AROUND: u64 = 2 << 20;

/// The most that one fault maps, in bytes: it bounds the time of the first touch.
const MOST: u64 = 64 << 20;

/// A page of a mapped buffer that was touched and is not present.
pub struct Fault<'a> {
    raw: NonNull<bindings::vm_fault>,
    vma: &'a VmaRef,
    address: usize,
    /// In the buffer, in pages.
    page: u64,
}

impl<'a> Fault<'a> {
    pub(super) fn new(
        raw: NonNull<bindings::vm_fault>,
        vma: &'a VmaRef,
        address: usize,
        page: u64,
    ) -> Self {
        Self {
            raw,
            vma,
            address,
            page,
        }
    }

    /// Returns the C object, for an exporter that maps the page itself.
    pub fn as_raw(&self) -> *mut bindings::vm_fault {
        self.raw.as_ptr()
    }

    /// Returns the offset in the buffer of the page that was touched, in bytes. It can lie beyond
    /// the buffer's end.
    pub fn offset(&self) -> u64 {
        self.page.saturating_mul(PAGE_SIZE as u64)
    }

    /// Maps the range that was touched, `ranges[0]`, as far as the vma reaches, and what follows it
    /// in the buffer up to some bound.
    ///
    /// `offset` is where `ranges[0]` starts in the buffer; that range holds
    /// [`offset`](Self::offset).
    ///
    /// # Errors
    ///
    /// - `EFAULT` if `ranges[0]` does not hold it.
    ///
    /// # Safety
    ///
    /// `ranges` are memory of the buffer, whole pages, which stays allocated until its pages are
    /// taken out of userspace again ([`Guard::zap_user_mappings`](super::Guard)) or the buffer is
    /// released.
    pub unsafe fn fill(&self, ranges: &[Range], offset: u64) -> Result<Touched> {
        let here = self.offset();
        let Some(touched) = ranges.first() else {
            return Err(EFAULT);
        };
        if here < offset || here - offset >= touched.len {
            return Err(EFAULT);
        }
        let address = (self.address & !(PAGE_SIZE - 1)) as u64;
        // What of the buffer the vma shows, and of that, what to map now.
        let vma_offset = here - (address - self.vma.start() as u64);
        let vma_end = vma_offset + (self.vma.end() - self.vma.start()) as u64;
        let wanted_end = (offset + touched.len).max(here.saturating_add(AROUND));
        let from = offset.max(vma_offset).max(here.saturating_sub(MOST / 2));
        let end = vma_end.min(wanted_end).min(from + MOST);

        // Only the range that was touched has to be mapped.
        let stop = (offset + touched.len).min(end);
        let map = |range: &Range, range_offset: u64, start: u64, stop: u64| {
            // SAFETY: The fault handler holds the lock that keeps the vma. The range lies in the
            // vma by the bounds above, and `prepare_vma` set the vma up for page frames. The caller
            // keeps the memory until its pages are zapped.
            to_result(unsafe {
                c::dbc_vma_fill(
                    self.vma.as_ptr(),
                    (self.vma.start() as u64 + (start - vma_offset)) as usize,
                    range.start + (start - range_offset),
                    (stop - start) as usize,
                )
            })
        };
        if map(touched, offset, here, stop).is_err() {
            return Ok(Touched::LacksTable);
        }
        if from < here && map(touched, offset, from, here).is_err() {
            return Ok(Touched::Mapped);
        }
        let mut range_offset = offset + touched.len;
        for range in &ranges[1..] {
            let stop = (range_offset + range.len).min(end);
            if range_offset >= end || map(range, range_offset, range_offset, stop).is_err() {
                break;
            }
            range_offset += range.len;
        }
        Ok(Touched::Mapped)
    }
}
