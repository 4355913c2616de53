// SPDX-License-Identifier: GPL-2.0

//! The kernel's own address of a buffer's memory.

use crate::{
    c,
    model::Run, //
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
/// `address` is the kernel's direct address of the memory or, with `mapped`, from `vmap`.
pub struct KernelMapping {
    address: NonNull<c_void>,
    mapped: bool,
}

// SAFETY: Kernel addresses are the same for every thread, and may be unmapped by any.
unsafe impl Send for KernelMapping {}

impl KernelMapping {
    /// Maps `runs`, one behind the other. `ENOMEM`.
    ///
    /// One run that has a direct address needs no mapping. May sleep.
    ///
    /// # Safety
    ///
    /// `runs` are whole pages with struct pages, and stay allocated until the mapping is dropped.
    pub unsafe fn new(runs: &[Run]) -> Result<Self> {
        if let [run] = runs {
            // SAFETY: The memory has struct pages, as the caller promises.
            let direct = unsafe { c::dbc_direct_address(run.start) };
            if let Some(address) = NonNull::new(direct) {
                // INVARIANT: A direct address.
                return Ok(Self {
                    address,
                    mapped: false,
                });
            }
        }
        let page = PAGE_SIZE as u64;
        let count = runs.iter().map(|run| run.len / page).sum::<u64>();
        let count = u32::try_from(count).map_err(|_| ENOMEM)?;
        let mut pages =
            KVVec::<*mut bindings::page>::from_elem(ptr::null_mut(), count as usize, GFP_KERNEL)?;
        let mut rest = pages.as_mut_slice();
        for run in runs {
            let (here, behind) = rest.split_at_mut((run.len / page) as usize);
            // SAFETY: `here` has room for as many pages as the run has. They have struct pages, as
            // the caller promises.
            unsafe { c::dbc_pages_of_run(here.as_mut_ptr(), run.start, here.len()) };
            rest = behind;
        }
        // SAFETY: All `count` pages are set.
        let address = unsafe { c::dbc_vmap(pages.as_mut_ptr(), count) };
        // INVARIANT: From `vmap`.
        Ok(Self {
            address: NonNull::new(address).ok_or(ENOMEM)?,
            mapped: true,
        })
    }

    /// The address of the buffer's first byte.
    pub fn address(&self) -> NonNull<c_void> {
        self.address
    }
}

impl Drop for KernelMapping {
    fn drop(&mut self) {
        if self.mapped {
            // SAFETY: By the type's invariants the address is from `vmap`.
            unsafe { c::dbc_vunmap(self.address.as_ptr()) };
        }
    }
}
