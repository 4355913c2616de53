// SPDX-License-Identifier: GPL-2.0

//! What one device needs of shared buffers: the facts of `struct device`, what its driver declared,
//! what the administrator says of it, and what it inherits.

use crate::{
    bound::{
        self,
        BoundLock, //
    },
    c,
    model::{
        Constraints,
        Facts,
        Field,
        Name,
        Needs,
        SegmentLimits, //
    },
    policy, //
};
use core::iter;
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    page::PAGE_SIZE,
    prelude::*,
    str::CStrExt, //
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
    let facts = facts(device)?;
    if !bound::any_declared() && policy::is_empty() {
        // On most systems nothing is said of any device.
        return Some(Needs::of(facts));
    }
    Some(said(device, &Constraints::ANY, &facts))
}

/// What `device` needs if `more` is said of it. As [`needs`].
pub fn needs_with(device: &Device<Bound>, more: &Constraints) -> Option<Needs> {
    Some(said(device, more, &facts(device)?))
}

/// What the hardware needs. Nothing where the device does no DMA.
fn facts(device: &Device<Bound>) -> Option<Facts> {
    let mut facts = c::dbc_device_facts {
        access_mask: 0,
        max_address: 0,
        max_segment_size: 0,
        segment_boundary_mask: 0,
        alignment: 0,
        can_dma: false,
        coherent: false,
        translated: false,
    };
    // SAFETY: The reference proves that the device is alive; `facts` is ours to write.
    unsafe { c::dbc_device_facts(as_raw(device), &mut facts) };
    if !facts.can_dma {
        return None;
    }
    Some(Facts {
        access_mask: facts.access_mask,
        max_address: facts.max_address,
        alignment: facts.alignment,
        segments: SegmentLimits {
            max_size: facts.max_segment_size,
            boundary_mask: facts.segment_boundary_mask,
        },
        is_coherent: facts.coherent,
        is_translated: facts.translated,
    })
}

/// What a user that is no device needs, of which `constraints` are said.
///
/// Where no device of the machine ever needs cache maintenance, all memory is coherent.
pub fn needs_without_device(constraints: &Constraints) -> Needs {
    // SAFETY: No requirements.
    let is_coherent = unsafe { c::dbc_always_coherent() };
    let facts = Facts {
        is_coherent,
        ..Facts::NONE
    };
    Needs::new(&facts, constraints, None)
}

/// What `device` needs with what is said of it, or else of the nearest ancestor of which anything
/// is said, and with `more`: the parts of a device are its children. Beyond that, the nearest
/// ancestor of higher priority counts.
fn said(device: &Device<Bound>, more: &Constraints, facts: &Facts) -> Needs {
    let parent = |device: &Device| {
        // SAFETY: The first device is bound, and not removed meanwhile, nor is any of its ancestors
        // before it: each keeps its parent.
        unsafe {
            let parent = (*as_raw(device)).parent;
            (!parent.is_null()).then(|| Device::from_raw(parent))
        }
    };
    // Some importers attach when their driver has unbound: such a device may be removed.
    // SAFETY: The reference proves that the device is alive.
    let is_bound = unsafe { c::dbc_device_is_bound(as_raw(device)) };
    let start: &Device = device;
    let line = iter::successors(Some(start), |device| parent(device));
    let line = line.take(if is_bound { usize::MAX } else { 1 });
    let mut said = line.filter_map(said_of);
    let own = said.next().map_or(*more, |said| said.meet(more));
    let ancestor = said.find(|said| said.priority > own.priority);
    Needs::new(facts, &own, ancestor.as_ref())
}

/// What is said of `device` itself, by its driver and by the administrator together.
fn said_of(device: &Device) -> Option<Constraints> {
    match (bound::declared(device), policy_of(device)) {
        (Some(declared), Some(policy)) => Some(declared.meet(&policy)),
        (one, other) => one.or(other),
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
    let Some(bound) = BoundLock::try_new(device) else {
        return Name::new(device_name);
    };
    // SAFETY: The reference proves that the device is alive.
    let driver = unsafe { c::dbc_device_driver(as_raw(&bound)) };
    // SAFETY: A driver's name is a string that lives as long as the driver, which stays bound as
    // long as the device is locked.
    let driver = unsafe { CStr::from_char_ptr(driver) }.to_bytes();
    if device_name.starts_with(driver) {
        return Name::new(device_name);
    }
    Name::of(&[driver, b" ", device_name])
}
