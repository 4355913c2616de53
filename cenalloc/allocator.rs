// SPDX-License-Identifier: GPL-2.0

//! Who can provide memory, and who is asked first.
//!
//! - [`Allocator`] is what one implements; [`Registration`] makes it known.
//! - [`Need`] and [`Devices`] are what it is told, [`Provision`](crate::Provision) is what it
//!   gives.

mod carveout;
mod cma;
mod dma_coherent;
mod extent;
mod list;
mod system;
mod system_contig;

pub(crate) mod pages;

use crate::{
    c,
    provision::Provision, //
};
use dma_buf_constraints::model::{
    Field,
    Misfit,
    Name,
    Placement, //
};
use kernel::{
    alloc::AllocError,
    device::Device,
    prelude::*,
    sync::Arc, //
};

pub use list::{
    Description,
    Registration, //
};

pub(crate) use list::{
    snapshot,
    Builtin,
    Code,
    Entry,
    Lease, //
};

/// What a buffer's memory has to be.
#[derive(Clone, Copy)]
pub struct Need {
    /// Length in bytes, whole pages, not 0.
    pub len: u64,
    /// What binds the memory, for all users together.
    pub placement: Placement,
    /// Whether to give up where the process is being killed.
    pub killable: bool,
}

impl Need {
    /// Whether to give up now: the process is being killed.
    pub(crate) fn is_over(&self) -> bool {
        // SAFETY: The call looks at the current process alone.
        self.killable && unsafe { c::cenalloc_killed() }
    }

    /// Why there was no memory: an attempt also ends where the process is being killed.
    pub(crate) fn shortage(&self) -> Shortage {
        if self.is_over() {
            Shortage::Killed
        } else {
            Shortage::Memory
        }
    }
}

/// Why an allocator gives no memory now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// The memory cgroup that pays is at its limit. Nobody else is asked: memory that is not
    /// charged is no way around a limit.
    Charge,
    /// It has none that suits. The next allocator is asked.
    Memory,
    /// The process is being killed.
    Killed,
}

impl From<Error> for Shortage {
    fn from(error: Error) -> Self {
        if error == EINTR {
            Self::Killed
        } else {
            Self::Memory
        }
    }
}

impl From<AllocError> for Shortage {
    fn from(_: AllocError) -> Self {
        Self::Memory
    }
}

impl From<Shortage> for Error {
    fn from(shortage: Shortage) -> Self {
        match shortage {
            Shortage::Charge | Shortage::Memory => ENOMEM,
            Shortage::Killed => EINTR,
        }
    }
}

/// The devices that are to share the memory, as far as users are devices.
#[derive(Clone, Copy)]
pub struct Devices<'a> {
    users: Option<&'a dyn DeviceSet>,
    newcomer: Option<&'a Device>,
}

impl<'a> Devices<'a> {
    /// No device is known.
    pub(crate) const NONE: Devices<'static> = Devices {
        users: None,
        newcomer: None,
    };

    /// Those of `users`.
    pub(crate) fn of(users: &'a dyn DeviceSet) -> Self {
        Self {
            users: Some(users),
            newcomer: None,
        }
    }

    /// These and one that wants to join.
    pub(crate) fn with(self, newcomer: Option<&'a Device>) -> Self {
        Self { newcomer, ..self }
    }

    /// Whether `is_so` holds for all devices, which are asked in no order. They are alive; the
    /// driver of one may have let it go.
    pub fn all(&self, is_so: &mut dyn FnMut(&Device) -> bool) -> bool {
        self.users.is_none_or(|users| users.all(is_so)) && self.newcomer.is_none_or(is_so)
    }
}

/// Users, of which some are devices.
pub(crate) trait DeviceSet {
    /// Whether `is_so` holds for all of them that are devices.
    fn all(&self, is_so: &mut dyn FnMut(&Device) -> bool) -> bool;
}

/// Provides memory.
///
/// All calls may come at once from many threads, with the reservation lock of a buffer held, and
/// may sleep. They must not attach to, map or free buffers of cenalloc.
///
/// # Safety
///
/// - The memory of what [`allocate`](Self::allocate) returns is nobody else's, until the provision
///   is dropped. It is zeroed, and has struct pages unless the provision says otherwise.
/// - The code of the implementation is in the module that [`Registration::new`] is given, and a
///   registration is dropped before that module goes.
pub unsafe trait Allocator: Send + Sync {
    /// The most bytes that it can give to one buffer.
    fn max_len(&self) -> u64;

    /// Whether what it gives is always one range.
    fn is_contiguous(&self) -> bool;

    /// Whether it could ever satisfy `need`: not that memory is free now.
    ///
    /// Without the class of memory and the length, which are looked at before.
    fn could(&self, need: &Need) -> Result<(), Misfit>;

    /// Whether [`matches`](Self::matches) ever says no, so that it has to be asked for every
    /// device that attaches.
    fn is_selective(&self) -> bool {
        false
    }

    /// Whether it serves all these devices together.
    fn matches(&self, _need: &Need, _devices: &Devices<'_>) -> bool {
        true
    }

    /// Whether it seems to have memory for `need`, which [`could`](Self::could) has accepted, now.
    /// Takes none.
    fn has_room(&self, _need: &Need) -> Result<(), Shortage> {
        Ok(())
    }

    /// Zeroed memory for `need`, which [`could`](Self::could) and [`matches`](Self::matches) have
    /// accepted. Any error but `EINTR` is [`Shortage::Memory`].
    fn allocate(&self, need: &Need, devices: &Devices<'_>) -> Result<Provision, Shortage>;
}

/// Why no allocator could ever satisfy a need: the one that comes nearest, and what it lacks.
pub(crate) struct Unserved {
    pub(crate) allocator: Name,
    pub(crate) misfit: Misfit,
}

impl Unserved {
    /// Whether the allocator comes nearer than `other`, or as near and is more special.
    ///
    /// One that the users can reach is nearer than one that they cannot, one that serves them
    /// nearer than one that does not, and one with memory enough nearer than one without. Of those
    /// that lack the same, the one that lacks least.
    fn is_nearer_than(&self, other: &Self) -> bool {
        let rank = |field| match field {
            Field::AccessMask => 0,
            Field::Device => 1,
            Field::Length => 2,
            _ => 3,
        };
        let (one, other) = (&self.misfit, &other.misfit);
        if one.field == other.field && one.field != Field::AccessMask {
            return one.found.abs_diff(one.wanted) <= other.found.abs_diff(other.wanted);
        }
        rank(one.field) >= rank(other.field)
    }
}

/// Whether any allocator could ever satisfy `need` for `devices`.
pub(crate) fn any_could(need: &Need, devices: &Devices<'_>) -> Result<(), Unserved> {
    let mut nearest: Option<Unserved> = None;
    for entry in snapshot().iter() {
        let Some(misfit) = entry.misfit(need, devices) else {
            return Ok(());
        };
        let unserved = Unserved {
            allocator: *entry.name(),
            misfit,
        };
        if nearest
            .as_ref()
            .is_none_or(|nearest| unserved.is_nearer_than(nearest))
        {
            nearest = Some(unserved);
        }
    }
    match nearest {
        None => Ok(()),
        Some(unserved) => Err(unserved),
    }
}

/// Which allocator would seem to provide memory for `need` now, if no device is known.
pub(crate) fn would_provide(need: &Need) -> Result<Name, Shortage> {
    for entry in snapshot().iter() {
        if entry.misfit(need, &Devices::NONE).is_some() {
            continue;
        }
        match entry.has_room(need) {
            Ok(()) => return Ok(*entry.name()),
            Err(Shortage::Memory) => {}
            Err(shortage) => return Err(shortage),
        }
    }
    Err(Shortage::Memory)
}

/// Whether there is an allocator that may refuse a device for reasons of its own.
pub(crate) fn any_selective() -> bool {
    list::selective() > 0
}

/// The allocators of this module, in no order.
fn builtin() -> Result<KVec<(Description, Arc<dyn Allocator>)>> {
    let mut all = KVec::new();
    system::add(&mut all)?;
    system_contig::add(&mut all)?;
    let areas = cma::add(&mut all)?;
    dma_coherent::add(&mut all, areas)?;
    carveout::add(&mut all)?;
    Ok(all)
}
