// SPDX-License-Identifier: GPL-2.0

//! What one device needs of shared buffers: the facts of `struct device`, what its driver declared,
//! what the administrator says of it, and what it inherits.

use crate::{
    bound,
    c,
    model::{
        Constraints,
        Facts,
        Field,
        Name,
        Needs,
        Said,
        SegmentLimits, //
    },
    policy, //
};
use core::{
    iter,
    ptr, //
};
use kernel::{
    alloc::Flags,
    bindings,
    device::{
        Bound,
        Device, //
    },
    page::PAGE_SIZE,
    prelude::*,
    str::CStrExt,
    sync::aref::ARef, //
};

/// What `device` needs of shared buffers now.
///
/// Nothing where the device does no DMA: one that has no DMA mask can attach, to be told of the
/// buffer's life or to use it by CPU, but not map.
///
/// What is looked at stays true while the device is bound to a driver.
///
/// Source: `dma_mask`, `bus_dma_limit`, `dma_range_map` where nothing translates, `dma_parms`,
/// `dma_coherent`.
pub fn needs(device: &Device<Bound>) -> Option<Needs> {
    let mut facts = c::dbc_device_facts {
        access_mask: 0,
        max_address: 0,
        max_segment_size: 0,
        segment_boundary_mask: 0,
        alignment: 0,
        can_dma: false,
        coherent: false,
    };
    // SAFETY: The reference proves that the device is alive; `facts` is ours to write.
    unsafe { c::dbc_device_facts(as_raw(device), &mut facts) };
    if !facts.can_dma {
        return None;
    }
    let facts = Facts {
        access_mask: facts.access_mask,
        max_address: facts.max_address,
        alignment: facts.alignment,
        segments: SegmentLimits {
            max_size: facts.max_segment_size,
            boundary_mask: facts.segment_boundary_mask,
        },
        is_coherent: facts.coherent,
    };
    if is_silent() {
        return Some(Needs::of(facts));
    }
    Some(Needs::new(facts, said(device)))
}

/// What a user that is no device needs, of which `constraints` are said.
///
/// Where no device of the machine ever needs cache maintenance, all memory is coherent.
pub fn needs_without_device(constraints: &Constraints) -> Needs {
    // SAFETY: No requirements.
    let is_coherent = unsafe { c::dbc_always_coherent() };
    let said = Said {
        constraints: *constraints,
        is_inherited: false,
    };
    let facts = Facts {
        is_coherent,
        ..Facts::NONE
    };
    Needs::new(facts, said)
}

/// Whether nothing is said of any device: on most systems, and then nobody need look.
fn is_silent() -> bool {
    !bound::any_declared() && policy::is_empty()
}

/// What is said of `device`, or else of the nearest ancestor of which anything is said: the parts
/// of a device are its children.
fn said(device: &Device<Bound>) -> Said {
    let own = said_of(device).map(|constraints| Said {
        constraints,
        is_inherited: false,
    });
    let inherited = || {
        let constraints = Settled::bound(device).ancestors().find_map(said_of)?;
        Some(Said {
            constraints,
            is_inherited: true,
        })
    };
    own.or_else(inherited).unwrap_or(Said::NOTHING)
}

/// What is said of `device` itself, by its driver and by the administrator together.
fn said_of(device: &Device) -> Option<Constraints> {
    match (bound::declared(device), policy_of(device)) {
        (Some(declared), Some(policy)) => Some(declared.meet(&policy)),
        (one, other) => one.or(other),
    }
}

/// What `find` makes of the nearest ancestor of `device` of which anything is said and of which it
/// makes anything. Nothing where the device is being bound, unbound or looked at by somebody else.
pub(crate) fn find_ancestor<R>(
    device: &Device,
    mut find: impl FnMut(&Device, Constraints) -> Option<R>,
) -> Option<R> {
    let settled = Settled::try_lock(device)?;
    let mut ancestors = settled.ancestors();
    ancestors.find_map(|ancestor| find(ancestor, said_of(ancestor)?))
}

/// A device that is not removed for a moment, and keeps its ancestors: its removal would first
/// unbind the driver.
struct Settled<'a> {
    device: &'a Device,
    is_locked: bool,
}

impl<'a> Settled<'a> {
    /// One that is bound.
    fn bound(device: &'a Device<Bound>) -> Self {
        Self {
            device,
            is_locked: false,
        }
    }

    /// One whose lock is free now. Nothing for others, nor for one without a driver, which may be
    /// removed at any time.
    ///
    /// Importers attach under locks that they also take in their remove, which runs under the
    /// device's lock: that one is only tried.
    fn try_lock(device: &'a Device) -> Option<Self> {
        // SAFETY: The reference proves that the device is alive.
        if !unsafe { c::dbc_device_trylock(as_raw(device)) } {
            return None;
        }
        let settled = Self {
            device,
            is_locked: true,
        };
        // SAFETY: The device is alive, and its lock, which is held, protects the driver.
        let is_bound = unsafe { !(*as_raw(device)).driver.is_null() };
        if !is_bound {
            return None;
        }
        Some(settled)
    }

    /// The ancestors, the nearest first.
    fn ancestors(&self) -> impl Iterator<Item = &Device> {
        let parent = |device: &Device| {
            // SAFETY: The device is not removed, nor is any of its ancestors before it: each keeps
            // its parent, and `self` is borrowed meanwhile.
            unsafe {
                let parent = (*as_raw(device)).parent;
                (!parent.is_null()).then(|| Device::from_raw(parent))
            }
        };
        iter::successors(parent(self.device), move |device| parent(device))
    }
}

impl Drop for Settled<'_> {
    fn drop(&mut self) {
        if self.is_locked {
            // SAFETY: `try_lock` has taken the lock.
            unsafe { c::dbc_device_unlock(as_raw(self.device)) };
        }
    }
}

/// The nearest ancestors of a device, each with a reference.
pub struct Ancestors(KVec<ARef<Device>>);

impl Ancestors {
    /// How many are kept: what is farther away stands for nobody.
    const MOST: usize = 32;

    /// Room for the ancestors of any device. `ENOMEM`.
    pub fn room(flags: Flags) -> Result<Self> {
        Ok(Self(KVec::with_capacity(Self::MOST, flags)?))
    }

    /// Those of `device`, which has `needs`: it may have to be unified with others only where it
    /// does not reach all classes of memory, and has none otherwise. `ENOMEM`.
    pub fn of(device: &Device<Bound>, needs: &Needs) -> Result<Self> {
        if needs.effective().placement.access_mask == u64::MAX {
            return Ok(Self(KVec::new()));
        }
        let mut ancestors = Self::room(GFP_KERNEL)?;
        ancestors.find(device);
        Ok(ancestors)
    }

    /// Finds those of `device`, as many as there is room for. Does not allocate.
    pub fn find(&mut self, device: &Device<Bound>) {
        for ancestor in Settled::bound(device).ancestors() {
            if self.0.push_within_capacity(ancestor.into()).is_err() {
                break;
            }
        }
    }

    /// Whether `device` is one of them.
    pub fn contains(&self, device: &Device) -> bool {
        self.0.iter().any(|one| ptr::eq(&**one, device))
    }
}

/// What the administrator says of `device`.
fn policy_of(device: &Device) -> Option<Constraints> {
    if policy::is_empty() {
        return None;
    }
    // SAFETY: The reference proves that the device is alive.
    let bus = unsafe { c::dbc_device_bus(as_raw(device)) };
    if bus.is_null() {
        return None;
    }
    // SAFETY: A bus's name is a string that lives as long as the bus, which outlives its devices.
    let bus = unsafe { CStr::from_char_ptr(bus) };
    policy::of(bus.to_bytes(), device.name().to_bytes())
}

/// Declares what `device` needs beyond what `struct device` tells; replaces an earlier
/// declaration and is gone when the device's driver unbinds. [`Constraints::ANY`] takes an earlier
/// declaration back.
///
/// May sleep. Fails with `EINVAL` where a field makes no sense, with `ENODEV` where the device is
/// on no bus, with `EPROBE_DEFER` where the module is built in and has not started yet, with
/// `ENOMEM`.
pub fn declare(device: &Device<Bound>, constraints: &Constraints) -> Result {
    if invalid(constraints).is_some() {
        return Err(EINVAL);
    }
    let is_any = *constraints == Constraints::ANY;
    bound::declare(device, (!is_any).then_some(constraints))
}

/// The first field that no device can mean: the model's rules, and no segment below a page, since
/// dma-buf knows no smaller ones.
pub fn invalid(constraints: &Constraints) -> Option<Field> {
    if constraints.segments.max_size < PAGE_SIZE as u64 {
        return Some(Field::MaxSegmentSize);
    }
    if constraints.segments.boundary_mask < PAGE_SIZE as u64 - 1 {
        return Some(Field::SegmentBoundary);
    }
    constraints.malformed()
}

/// The C device. [`Device`] is a transparent wrapper of it.
pub fn as_raw(device: &Device) -> *mut bindings::device {
    core::ptr::from_ref(device).cast_mut().cast()
}

/// A device as messages name it: `vivid.0`, or with its driver in front where the device's own
/// name does not tell what it is, `edu 0000:00:05.0`.
///
/// Without the driver where that may be going now: the device is in use by whoever binds drivers.
pub fn name(device: &Device) -> Name {
    let device_name = device.name().to_bytes();
    let Some(_settled) = Settled::try_lock(device) else {
        return Name::new(device_name);
    };
    // SAFETY: The reference proves that the device is alive.
    let driver = unsafe { c::dbc_device_driver(as_raw(device)) };
    if driver.is_null() {
        return Name::new(device_name);
    }
    // SAFETY: A driver's name is a string that lives as long as the driver, which stays bound as
    // long as the device is locked.
    let driver = unsafe { CStr::from_char_ptr(driver) }.to_bytes();
    if device_name.starts_with(driver) {
        return Name::new(device_name);
    }
    let mut both = [0; Name::CAPACITY];
    let mut room = both.iter_mut();
    for part in [driver, b" ", device_name] {
        for (from, to) in part.iter().zip(&mut room) {
            *to = *from;
        }
    }
    Name::new(&both)
}
