// SPDX-License-Identifier: GPL-2.0

//! The interface of allocators, and the choice among them.
//!
//! - [`Allocator`] is the trait of an allocator; [`Registration`] adds one to the list.
//! - [`Need`] and [`Devices`] are what an allocator is asked for, [`Provision`](crate::Provision)
//!   is what it gives.

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
use dma_buf_constraints::{
    attach::Refused,
    model::{
        Cause,
        Field,
        Misfit,
        Name,
        Placement,
        Range,
        Refusal,
        Strength, //
    },
};
use kernel::{
    alloc::AllocError,
    device::Device,
    page::PAGE_SIZE,
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

/// The requirements on a buffer's memory.
#[derive(Clone, Copy)]
pub struct Need {
    /// Length in bytes, whole pages, not 0.
    pub len: u64,
    /// The combined constraints of all users on the memory.
    pub placement: Placement,
    /// Whether to give up when the process is being killed.
    pub killable: bool,
    /// [`Strength::None`] for what is needed. For what is only preferred, how much it is worth: the
    /// placement asks for it, and memory without it is taken where it is not to be had.
    pub preference: Strength,
}

impl Need {
    /// Returns whether to give up now, since the process is being killed.
    pub(crate) fn is_over(&self) -> bool {
        // SAFETY: The call takes no arguments and reads the signals of the current process.
        self.killable && unsafe { c::cenalloc_killed() }
    }

    /// Returns whether other memory is to be reclaimed for it.
    pub(crate) fn reclaims(&self) -> bool {
        self.preference != Strength::Weak
    }

    /// Returns the need of one range, if that is more than is needed: a block of the page
    /// allocator, in the class of scattered memory, or where that is too long for a block, of an
    /// area. First what a weak preference is worth, if anything, then what a strong one is.
    pub(crate) fn in_one_range(&self) -> Option<(Option<Self>, Self)> {
        let is_short = self.len <= pages::MAX_CHUNK;
        let class = match is_short {
            true => c::CENALLOC_CLASS_SYSTEM,
            false => c::CENALLOC_CLASS_CMA,
        };
        let Placement {
            access_mask,
            max_segments,
            ..
        } = self.placement;
        if max_segments == 1 || self.len <= PAGE_SIZE as u64 {
            return None;
        }
        let worth = |preference| Self {
            placement: Placement {
                access_mask: access_mask & u64::from(class),
                max_segments: 1,
                ..self.placement
            },
            preference,
            ..*self
        };
        let free = is_short.then(|| worth(Strength::Weak));
        Some((free, worth(Strength::Strong)))
    }

    /// Returns the cause of a failed attempt, which also ends when the process is being killed.
    pub(crate) fn shortage(&self) -> Shortage {
        if self.is_over() {
            Shortage::Killed
        } else {
            Shortage::Memory
        }
    }
}

/// The cause for which an allocator gives no memory now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// The memory cgroup that is charged is at its limit. No other allocator is asked: memory that
    /// is not charged must not be a way around a limit.
    Charge,
    /// The allocator has no memory that suits. The next allocator is asked.
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

/// The cause for which no allocator gave memory.
pub(crate) struct NoMemory {
    shortage: Shortage,
    /// The classes of the allocators that were asked.
    classes: u64,
    /// The first of them; [`None`] where none could have given any.
    first: Option<Arc<Entry>>,
}

impl NoMemory {
    /// Returns the error.
    pub(crate) fn error(&self) -> Error {
        match (self.shortage, &self.first) {
            (Shortage::Killed, _) => EINTR,
            (_, None) => EINVAL,
            (_, Some(_)) => ENOMEM,
        }
    }

    /// Returns the refusal for `need`, which names no user.
    #[cold]
    pub(crate) fn refusal(&self, need: &Need) -> Refused {
        let cause = match (self.shortage, &self.first) {
            (Shortage::Killed, _) => return Refused::Failed(EINTR),
            (_, None) => Cause::Removed,
            (Shortage::Charge, _) => Cause::Charge,
            (Shortage::Memory, _) => Cause::Shortage,
        };
        Refused::Because(Refusal {
            other: self
                .first
                .as_ref()
                .map_or(Name::EMPTY, |first| *first.name()),
            len: need.len,
            max_address: need.placement.max_address,
            classes: self.classes,
            ..Refusal::new(cause)
        })
    }
}

/// What an allocator tells of itself, as far as it knows.
#[derive(Clone, Copy, Default)]
pub struct Report {
    /// Where its memory lies, if that is one range.
    pub area: Option<Range>,
    /// How many bytes are free now, also those that others use and can give up.
    pub free: Option<u64>,
}

/// The devices among the users that are to share the memory.
#[derive(Clone, Copy)]
pub struct Devices<'a> {
    users: Option<&'a dyn DeviceSet>,
    newcomer: Option<&'a Device>,
}

impl<'a> Devices<'a> {
    /// No devices.
    pub(crate) const NONE: Devices<'static> = Devices {
        users: None,
        newcomer: None,
    };

    /// Returns the devices among `users`.
    pub(crate) fn of(users: &'a dyn DeviceSet) -> Self {
        Self {
            users: Some(users),
            newcomer: None,
        }
    }

    /// Adds the device of a newcomer, if it has one.
    pub(crate) fn with(self, newcomer: Option<&'a Device>) -> Self {
        Self { newcomer, ..self }
    }

    /// Returns whether `is_so` holds for all devices, in no particular order.
    ///
    /// Each device is alive; its driver may have unbound.
    pub fn all(&self, is_so: &mut dyn FnMut(&Device) -> bool) -> bool {
        self.users.is_none_or(|users| users.all(is_so)) && self.newcomer.is_none_or(is_so)
    }
}

/// A set of users, of which some are devices.
pub(crate) trait DeviceSet {
    /// Returns whether `is_so` holds for all users that are devices.
    fn all(&self, is_so: &mut dyn FnMut(&Device) -> bool) -> bool;
}

/// An allocator: provides memory for buffers.
///
/// Every method can be called by several threads at once, with the reservation lock of a buffer
/// held, and may sleep. It must not attach to, map or free buffers of cenalloc.
///
/// # Safety
///
/// - The memory that [`allocate`](Self::allocate) returns belongs to nothing else until the
///   provision is dropped. It is zeroed, and has struct pages unless the provision says otherwise.
/// - The code of the implementation is in the module that [`Registration::new`] is given, and a
///   registration is dropped before that module is unloaded.
pub unsafe trait Allocator: Send + Sync {
    /// Returns the most bytes that it can give to one buffer.
    fn max_len(&self) -> u64;

    /// Returns whether what it gives is always one range.
    fn is_contiguous(&self) -> bool;

    /// Tells whether it could ever satisfy `need`, whether or not memory is free now.
    ///
    /// The class of memory and the length are checked before this is called.
    ///
    /// # Errors
    ///
    /// Returns the field that it could never satisfy.
    fn could(&self, need: &Need) -> Result<(), Misfit>;

    /// Returns whether [`matches`](Self::matches) can return `false`, so that it has to be called
    /// for every device that attaches.
    fn is_selective(&self) -> bool {
        false
    }

    /// Returns whether it serves all `devices` together.
    fn matches(&self, _need: &Need, _devices: &Devices<'_>) -> bool {
        true
    }

    /// Estimates whether it has memory now for `need`, which [`could`](Self::could) has accepted.
    /// Takes none.
    ///
    /// # Errors
    ///
    /// Returns the cause for which [`allocate`](Self::allocate) would fail now.
    fn has_room(&self, _need: &Need) -> Result<(), Shortage> {
        Ok(())
    }

    /// Tells where its memory lies, and how much is free.
    fn report(&self) -> Report {
        Report::default()
    }

    /// Allocates zeroed memory for `need`, which [`could`](Self::could) and
    /// [`matches`](Self::matches) have accepted.
    ///
    /// # Errors
    ///
    /// Returns the cause. An [`Error`] converts to [`Shortage::Killed`] if it is `EINTR`, and to
    /// [`Shortage::Memory`] otherwise.
    fn allocate(&self, need: &Need, devices: &Devices<'_>) -> Result<Provision, Shortage>;
}

/// The allocator that comes nearest to a need that none could ever satisfy, and what it lacks.
pub(crate) struct Unserved {
    pub(crate) allocator: Name,
    pub(crate) misfit: Misfit,
}

impl Unserved {
    /// Returns the refusal that names no user.
    pub(crate) fn refusal(&self, need: &Need) -> Refusal {
        Refusal {
            field: Some(self.misfit.field),
            wanted: self.misfit.wanted,
            found: self.misfit.found,
            other: self.allocator,
            len: need.len,
            max_address: need.placement.max_address,
            ..Refusal::new(Cause::Allocator)
        }
    }

    /// Returns whether the allocator comes nearer than `other`, which is asked before, or lacks
    /// another field and comes as near.
    ///
    /// From far to near: an allocator whose class the users cannot access, one that does not serve
    /// their devices, one with too little memory, any other. Of two that lack the same field, the
    /// nearer is the one that lacks less of it.
    fn is_nearer_than(&self, other: &Self) -> bool {
        let rank = |field| match field {
            Field::AccessMask => 0,
            Field::Device => 1,
            Field::Length => 2,
            _ => 3,
        };
        let (one, other) = (&self.misfit, &other.misfit);
        if one.field == other.field && one.field != Field::AccessMask {
            return one.found.abs_diff(one.wanted) < other.found.abs_diff(other.wanted);
        }
        rank(one.field) >= rank(other.field)
    }
}

/// Checks whether any allocator could ever satisfy `need` for `devices`.
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

/// Returns what `give` makes of the first allocator that fits `need` and `devices` and has memory.
///
/// `give` returns [`None`] for what turns out not to suit.
#[inline(always)]
pub(crate) fn first_of<R>(
    need: &Need,
    devices: &Devices<'_>,
    mut give: impl FnMut(&Arc<Entry>) -> Result<Option<R>, Shortage>,
) -> Result<R, NoMemory> {
    let mut failure = NoMemory {
        shortage: Shortage::Memory,
        classes: 0,
        first: None,
    };
    for entry in snapshot().iter() {
        if entry.misfit(need, devices).is_some() {
            continue;
        }
        failure.shortage = match give(entry) {
            Ok(Some(given)) => return Ok(given),
            Ok(None) => Shortage::Memory,
            Err(shortage) => shortage,
        };
        failure.classes |= entry.class();
        failure.first.get_or_insert_with(|| entry.clone());
        if failure.shortage != Shortage::Memory {
            break;
        }
    }
    Err(failure)
}

/// Returns the allocator that would probably provide memory for `need` now, for no known device.
pub(crate) fn would_provide(need: &Need) -> Result<Name, NoMemory> {
    first_of(need, &Devices::NONE, |entry| {
        entry.has_room(need).map(|()| Some(*entry.name()))
    })
}

/// Returns whether any allocator may refuse a device for reasons of its own.
pub(crate) fn any_selective() -> bool {
    list::selective() > 0
}

/// Returns the allocators of this module, in no particular order.
fn builtin() -> Result<KVec<(Description, Arc<dyn Allocator>)>> {
    let mut all = KVec::new();
    system::add(&mut all)?;
    system_contig::add(&mut all)?;
    let areas = cma::add(&mut all)?;
    dma_coherent::add(&mut all, areas)?;
    carveout::add(&mut all)?;
    Ok(all)
}
