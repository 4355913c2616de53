// SPDX-License-Identifier: GPL-2.0

//! Reserved ranges of memory, with an allocator for each.

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
    Report,
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
/// Logs a wrong entry of the parameter, and fails. A wrong node of the device tree is logged and
/// skipped, since the user who loads the module cannot correct it.
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
        // Not EEXIST, which tells modprobe that this module is loaded already.
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
/// `frames` is a `gen_pool` of the page frames of `reserved`, which lives as long as this.
struct Pool {
    reserved: Reserved,
    frames: NonNull<c::gen_pool>,
}

// SAFETY: A `gen_pool` may be destroyed by any thread.
unsafe impl Send for Pool {}
// SAFETY: A `gen_pool` has locks of its own for allocating and freeing.
unsafe impl Sync for Pool {}

impl Pool {
    /// Creates the pool, in which all pages are free. `ENOMEM`.
    fn new(reserved: Reserved) -> Result<Self> {
        let extent = reserved.extent;
        // SAFETY: The constructor of `Reserved` accepts only ranges that start above address 0 and
        // have less than 2^32 pages.
        let pool =
            unsafe { c::cenalloc_pool_create(frame_of(extent.first), frame_of(extent.len())) };
        // INVARIANT: The pool was created for the frames of `extent`, which is that of `reserved`.
        Ok(Self {
            frames: NonNull::new(pool).ok_or(ENOMEM)?,
            reserved,
        })
    }

    /// Returns how many bytes are free.
    fn free(&self) -> u64 {
        // SAFETY: By the type's invariants `frames` is a valid pool.
        let frames = unsafe { c::cenalloc_pool_free_pages(self.frames.as_ptr()) };
        (frames * PAGE_SIZE) as u64
    }

    /// Takes the lowest free memory of the range that suits `need`, not zeroed. `ENOMEM`.
    fn take(pool: &Arc<Self>, need: &Need) -> Result<Piece> {
        let last = need.placement.max_address.min(pool.reserved.extent.last);
        // SAFETY: By the type's invariants `frames` is a valid pool. The alignment is a power of
        // two by the model's rules.
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
        // INVARIANT: The call took these frames from the pool.
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
        // SAFETY: By the type's invariants `frames` is a valid pool. Nothing is taken from it any
        // more: each `Piece` has a reference to the pool.
        unsafe { c::cenalloc_pool_destroy(self.frames.as_ptr()) };
    }
}

/// Returns how many whole pages `bytes` are, or which page frame starts at that address.
fn frame_of(bytes: u64) -> usize {
    (bytes / PAGE_SIZE as u64) as usize
}

/// An allocator of one contiguous range of a reserved one, zeroed.
struct Carveout(Arc<Pool>);

// SAFETY: The range is reserved for this module, a page of it is taken once until its `Piece` is
// dropped, and `allocate` zeroes it. The code is in this module.
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
        if self.0.reserved.extent.is_allowed() && need.len <= self.0.free() {
            Ok(())
        } else {
            Err(Shortage::Memory)
        }
    }

    fn report(&self) -> Report {
        Report {
            area: Some(self.0.reserved.extent.range()),
            free: Some(self.0.free()),
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

/// Memory of a reserved range.
///
/// # Invariants
///
/// The pages of `range` were taken from `pool`, and are given back by the drop alone.
struct Piece {
    pool: Arc<Pool>,
    range: Range,
}

// SAFETY: `map_kernel` is the default one, which gives no address.
unsafe impl Owner for Piece {}

impl Drop for Piece {
    fn drop(&mut self) {
        let frame = frame_of(self.range.start);
        // SAFETY: By the type's invariants the frames were taken from this pool, and are given back
        // here only.
        unsafe {
            c::cenalloc_pool_free(self.pool.frames.as_ptr(), frame, frame_of(self.range.len));
        }
    }
}
