// SPDX-License-Identifier: GPL-2.0

//! Telling drivers where a buffer's memory lies. From then on it is not relocated.

use crate::{
    backing::Backing,
    buffer::{
        Buffer,
        Life,
        State, //
    }, //
};
use dma_buf_constraints::{
    dma_buf::Table,
    model::{
        Cut,
        Range,
        SegmentLimits, //
    },
};
use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*, //
};

/// Returns the memory of a buffer. `ENODATA` where it has none yet.
fn backing(state: &State) -> Result<&Backing> {
    match &state.life {
        Life::Backed(backing) => Ok(backing),
        Life::Empty | Life::Gone => Err(ENODATA),
    }
}

impl Buffer {
    /// Returns where the memory lies, if it is one range. `EINVAL` where it is not; `ENODATA`
    /// without memory; what the owner of the memory fails with.
    pub(crate) fn phys(&self) -> Result<Range> {
        let mut guard = self.lock_killable()?;
        let range = backing(&guard)?.phys()?;
        guard.expose();
        Ok(range)
    }

    /// Returns all ranges of the memory, in the order of the buffer's bytes. `ENODATA` without
    /// memory; `ENOMEM`.
    pub(crate) fn ranges(&self) -> Result<KVVec<Range>> {
        let mut guard = self.lock_killable()?;
        let mut ranges = KVVec::new();
        ranges.extend_from_slice(backing(&guard)?.ranges(), GFP_KERNEL_ACCOUNT)?;
        guard.expose();
        Ok(ranges)
    }

    /// Returns a table that lists the memory by its pages, and exists as long as the buffer.
    ///
    /// `EINVAL` where the memory has no struct pages; `ENODATA` without memory; `ENOMEM`.
    pub(crate) fn table(&self) -> Result<*mut bindings::sg_table> {
        let mut guard = self.lock_killable()?;
        let state = &mut *guard;
        let pages = backing(state)?.pages();
        if !pages.has_struct_pages {
            return Err(EINVAL);
        }
        if let Some(table) = &state.exposed.table {
            return Ok(table.as_raw());
        }
        let cut = Cut::new(&SegmentLimits::ANY, PAGE_SIZE as u64).map_err(|_| EINVAL)?;
        // SAFETY: `has_struct_pages` was checked above, and is what the allocator of the backing
        // promised.
        let table = unsafe { Table::new(pages, &cut)? };
        let raw = table.as_raw();
        state.exposed.table = Some(table);
        state.expose();
        Ok(raw)
    }
}
