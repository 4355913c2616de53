// SPDX-License-Identifier: GPL-2.0

//! The kernel's own address of a buffer's memory.

use super::table::Pages;
use crate::{
    c,
    few::make_room,
    model::Range, //
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*, //
};

/// A contiguous kernel address of a whole buffer.
///
/// # Invariants
///
/// `address` was made as `kind` says, and only the drop undoes that.
pub struct KernelMapping {
    address: NonNull<c_void>,
    kind: Kind,
}

enum Kind {
    /// The kernel's direct address of the memory.
    Direct,
    /// From `vmap`.
    Pages,
    /// From `memremap`.
    Memory,
}

// SAFETY: Kernel addresses are the same for every thread, and any thread may undo a mapping.
unsafe impl Send for KernelMapping {}

impl KernelMapping {
    /// Maps `pages`, one range behind the other.
    ///
    /// One range that has a direct address needs no mapping. May sleep.
    ///
    /// # Errors
    ///
    /// - `ENOMEM` if there is no memory or no address space for it.
    ///
    /// # Safety
    ///
    /// The memory has struct pages if `pages` says so, and is one range otherwise. It stays
    /// allocated until the mapping is dropped.
    pub unsafe fn new(pages: Pages<'_>) -> Result<Self> {
        let Pages {
            ranges,
            has_struct_pages,
        } = pages;
        if let [Range { start, len }] = *ranges {
            // SAFETY: The caller passes memory that has struct pages if `has_struct_pages`, and
            // otherwise is its own, and keeps it.
            let (address, kind) = unsafe {
                if has_struct_pages {
                    (c::dbc_direct_address(start), Kind::Direct)
                } else {
                    let cached = bindings::MEMREMAP_WB as c_ulong;
                    let address = bindings::memremap(start, len as usize, cached);
                    (address, Kind::Memory)
                }
            };
            if let Some(address) = NonNull::new(address) {
                // INVARIANT: `address` is the direct one for `Direct`, and from `memremap` for
                // `Memory`.
                return Ok(Self { address, kind });
            }
        }
        if !has_struct_pages {
            return Err(ENOMEM);
        }
        let page = PAGE_SIZE as u64;
        let count = ranges.iter().map(|range| range.len / page).sum::<u64>();
        let count = u32::try_from(count).map_err(|_| ENOMEM)?;
        let mut pages = KVVec::<*mut bindings::page>::new();
        make_room(&mut pages, count as usize)?;
        pages.resize(count as usize, ptr::null_mut(), GFP_KERNEL_ACCOUNT)?;
        let mut rest = pages.as_mut_slice();
        for range in ranges {
            let (here, behind) = rest.split_at_mut((range.len / page) as usize);
            // SAFETY: `here` has room for the pages of the range, which the caller says have struct
            // pages.
            unsafe { c::dbc_pages_of_range(here.as_mut_ptr(), range.start, here.len()) };
            rest = behind;
        }
        // SAFETY: The loop has set all `count` pages, to those of the caller's ranges.
        let address = unsafe { c::dbc_vmap(pages.as_mut_ptr(), count) };
        // INVARIANT: The address is from `vmap`.
        Ok(Self {
            address: NonNull::new(address).ok_or(ENOMEM)?,
            kind: Kind::Pages,
        })
    }

    /// Returns the address of the buffer's first byte.
    pub fn address(&self) -> NonNull<c_void> {
        self.address
    }
}

impl Drop for KernelMapping {
    fn drop(&mut self) {
        let address = self.address.as_ptr();
        // SAFETY: By the type's invariants the address was made as `kind` says, and is undone here
        // only.
        unsafe {
            match self.kind {
                Kind::Direct => {}
                Kind::Pages => c::dbc_vunmap(address),
                Kind::Memory => bindings::memunmap(address),
            }
        }
    }
}
