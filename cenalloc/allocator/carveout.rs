// SPDX-License-Identifier: GPL-2.0

//! Reserved ranges of memory: one allocator for each.

mod reserved;

use self::reserved::{
    Refusal,
    Reserved, //
};
use super::{
    Allocator,
    Description,
    Devices,
    Need,
    Shortage, //
};
use crate::{
    c,
    provision::{
        Owner,
        Provision, //
    }, //
};
use core::ptr::NonNull;
use dma_buf_constraints::model::{
    Misfit,
    Range, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc, //
};

type Builtin = (Description, Arc<dyn Allocator>);

/// Adds the ranges that the module's parameter and the device tree name to `all`.
///
/// Fails where an entry of the parameter is wrong, and says which, and why. A wrong node of the
/// device tree is passed by: whoever loads the module cannot mend it.
pub(super) fn add(all: &mut KVec<Builtin>) -> Result {
    for entry in reserved::parameter()? {
        Reserved::of_entry(entry)
            .and_then(|reserved| add_one(all, reserved))
            .map_err(|refusal| {
                pr_err!("carveout: {entry}: {}\n", refusal.why);
                refusal.error
            })?;
    }
    for node in reserved::nodes() {
        if let Err(refusal) = Reserved::of_node(&node).and_then(|range| add_one(all, range)) {
            pr_err!(
                "carveout: {} is not used: {}\n",
                reserved::node_name(&node).as_str(),
                refusal.why
            );
        }
    }
    Ok(())
}

fn add_one(all: &mut KVec<Builtin>, reserved: Reserved) -> Result<(), Refusal> {
    let name = reserved.name;
    if all.iter().any(|(other, _)| other.name == name) {
        // Not EEXIST: to who loads modules, that says that this one is loaded.
        return Err(Refusal::new(EBUSY, "an allocator has that name"));
    }
    let description = Description {
        name,
        class: c::CENALLOC_CLASS_CARVEOUT.into(),
        priority: 100,
    };
    let pool = Arc::new(Pool::new(reserved)?, GFP_KERNEL_ACCOUNT)?;
    all.push(
        (description, Arc::new(Carveout(pool), GFP_KERNEL_ACCOUNT)?),
        GFP_KERNEL_ACCOUNT,
    )?;
    Ok(())
}

/// A reserved range, and which of its pages are free.
///
/// # Invariants
///
/// `frames` is for the pages of `reserved`.
struct Pool {
    reserved: Reserved,
    frames: NonNull<c::gen_pool>,
}

// SAFETY: A pool has locks of its own.
unsafe impl Send for Pool {}
// SAFETY: As above.
unsafe impl Sync for Pool {}

impl Pool {
    /// `ENOMEM`.
    fn new(reserved: Reserved) -> Result<Self> {
        let extent = reserved.extent;
        // SAFETY: A reserved range starts above address 0 and has less than 2^32 pages.
        let pool =
            unsafe { c::cenalloc_pool_create(frame_of(extent.first), frame_of(extent.len())) };
        // INVARIANT: Just created for them.
        Ok(Self {
            frames: NonNull::new(pool).ok_or(ENOMEM)?,
            reserved,
        })
    }

    /// The lowest memory of the range that is free and suits `need`, not zeroed. `ENOMEM`.
    fn take(pool: &Arc<Self>, need: &Need) -> Result<Piece> {
        let last = need.placement.max_address.min(pool.reserved.extent.last);
        // SAFETY: By the type's invariants.
        let frame = unsafe {
            c::cenalloc_pool_alloc(
                pool.frames.as_ptr(),
                frame_of(need.len),
                frame_of(need.placement.alignment).max(1),
                frame_of(last + 1),
            )
        };
        if frame == 0 {
            return Err(ENOMEM);
        }
        // INVARIANT: Just taken.
        Ok(Piece {
            pool: pool.clone(),
            range: Range {
                start: frame as u64 * PAGE_SIZE as u64,
                len: need.len,
            },
        })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants. Each piece that is taken keeps the range.
        unsafe { c::cenalloc_pool_destroy(self.frames.as_ptr()) };
    }
}

/// How many whole pages `bytes` are, or which page frame starts at that address.
fn frame_of(bytes: u64) -> usize {
    (bytes / PAGE_SIZE as u64) as usize
}

/// Gives contiguous memory of a reserved range, zeroed.
struct Carveout(Arc<Pool>);

// SAFETY: The memory is nobody else's, as it is reserved, and given back with its owner.
unsafe impl Allocator for Carveout {
    fn max_len(&self) -> u64 {
        self.0.reserved.extent.len()
    }

    fn is_contiguous(&self) -> bool {
        true
    }

    fn could(&self, need: &Need) -> Result<(), Misfit> {
        self.0.reserved.extent.could(need)
    }

    fn has_room(&self, need: &Need) -> Result<(), Shortage> {
        if !self.0.reserved.extent.is_allowed() {
            return Err(Shortage::Memory);
        }
        // SAFETY: By the invariants of `Pool`.
        let free = unsafe { c::cenalloc_pool_free_pages(self.0.frames.as_ptr()) };
        if frame_of(need.len) <= free {
            Ok(())
        } else {
            Err(Shortage::Memory)
        }
    }

    fn allocate(&self, need: &Need, _devices: &Devices<'_>) -> Result<Provision, Shortage> {
        if !self.0.reserved.extent.is_allowed() {
            return Err(Shortage::Memory);
        }
        let piece = KBox::new(Pool::take(&self.0, need)?, GFP_KERNEL_ACCOUNT)?;
        let range = piece.range;
        let provision = if self.0.reserved.has_struct_pages {
            Provision::new(piece, [range])?
        } else {
            Provision::without_struct_pages(piece, range)?
        };
        provision.clear()?;
        Ok(provision)
    }
}

/// Memory of a range.
///
/// # Invariants
///
/// The pages of `range` were taken from `pool`, and are ours.
struct Piece {
    pool: Arc<Pool>,
    range: Range,
}

// SAFETY: It has no kernel address of its own.
unsafe impl Owner for Piece {}

impl Drop for Piece {
    fn drop(&mut self) {
        let frame = frame_of(self.range.start);
        // SAFETY: By the type's invariants.
        unsafe {
            c::cenalloc_pool_free(self.pool.frames.as_ptr(), frame, frame_of(self.range.len));
        }
    }
}
