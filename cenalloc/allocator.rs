// SPDX-License-Identifier: GPL-2.0

//! Who can provide memory, and who is asked first.

mod system;
mod system_contig;

pub(crate) mod pages;

use crate::backing::{
    Backing,
    Collected, //
};
use dma_buf_constraints::model::{
    Field,
    Misfit,
    Placement, //
};
use kernel::{
    prelude::*,
    sync::atomic::Atomic, //
};

/// What a buffer's memory has to be.
#[derive(Clone, Copy)]
pub(crate) struct Need {
    /// Length in bytes, whole pages, not 0.
    pub(crate) len: u64,
    /// What binds the memory, for all users together.
    pub(crate) placement: Placement,
    /// Whether to give up where the process is being killed.
    pub(crate) killable: bool,
}

/// Provides memory.
pub(crate) trait Allocator: Sync {
    /// Its name, for people.
    fn name(&self) -> &'static str;

    /// Its class: one bit of access masks.
    fn class(&self) -> u64;

    /// The most bytes that it can give to one buffer.
    fn max_len(&self) -> u64;

    /// Whether what it gives is always one run.
    fn is_contiguous(&self) -> bool;

    /// Whether it could ever satisfy `need`: not that memory is free now.
    ///
    /// Without the class of memory, which [`could`] has looked at.
    fn could(&self, need: &Need) -> Result<(), Misfit>;

    /// Collects zeroed memory for `need`, which [`could`](Self::could) has accepted.
    ///
    /// `ENOMEM` where there is none now, `EINTR` where the caller is being killed. Called with
    /// the reservation lock of the buffer held; may sleep.
    fn allocate(&self, need: &Need) -> Result<Collected>;

    /// Bytes that buffers have from it.
    fn used(&self) -> &Atomic<u64>;
}

/// All allocators, in the order in which they are asked.
static ALLOCATORS: [&dyn Allocator; 2] = [&system::SYSTEM, &system_contig::SYSTEM_CONTIG];

/// All allocators, in the order in which they are asked: the first that fits provides the memory.
pub(crate) fn all() -> impl ExactSizeIterator<Item = &'static dyn Allocator> {
    ALLOCATORS.iter().copied()
}

/// How special an allocator is: among those that fit, the highest is asked first.
pub(crate) fn priority(index: usize) -> u32 {
    (ALLOCATORS.len() - index) as u32
}

/// Whether `allocator` could ever satisfy `need`.
fn could(allocator: &dyn Allocator, need: &Need) -> Result<(), Misfit> {
    if need.placement.access_mask & allocator.class() == 0 {
        return Err(Misfit {
            field: Field::AccessMask,
            wanted: need.placement.access_mask,
            found: allocator.class(),
        });
    }
    allocator.could(need)
}

/// Why no allocator could ever satisfy a need: the one that comes nearest, and what it lacks.
pub(crate) struct Unserved {
    pub(crate) allocator: &'static dyn Allocator,
    pub(crate) misfit: Misfit,
}

/// Whether any allocator could ever satisfy `need`.
pub(crate) fn any_could(need: &Need) -> Result<(), Unserved> {
    let mut nearest: Option<Unserved> = None;
    for allocator in all() {
        let misfit = match could(allocator, need) {
            Ok(()) => return Ok(()),
            Err(misfit) => misfit,
        };
        // One that the users can reach comes nearer than one that they cannot, and a later, more
        // special one nearer than an earlier.
        let is_nearer = match &nearest {
            None => true,
            Some(other) => {
                misfit.field != Field::AccessMask || other.misfit.field == Field::AccessMask
            }
        };
        if is_nearer {
            nearest = Some(Unserved { allocator, misfit });
        }
    }
    match nearest {
        None => Ok(()),
        Some(unserved) => Err(unserved),
    }
}

/// Memory for `need` that `fits`, from the first allocator that has it.
///
/// `fits` has the last word: what an allocator could give is decided before the memory is seen.
/// Fails with `ENOMEM` where all are out of it, with `EINTR` where the caller is being killed,
/// and with `EINVAL` where nobody could.
pub(crate) fn provide(need: &Need, fits: impl Fn(&Backing) -> bool) -> Result<Backing> {
    let mut failure = EINVAL;
    for allocator in all() {
        if could(allocator, need).is_err() {
            continue;
        }
        let result = allocator
            .allocate(need)
            .and_then(|collected| Backing::new(allocator, collected));
        match result {
            Ok(backing) if fits(&backing) => return Ok(backing),
            Ok(_) => failure = ENOMEM,
            Err(error) if error == EINTR => return Err(error),
            Err(_) => failure = ENOMEM,
        }
    }
    Err(failure)
}
