// SPDX-License-Identifier: GPL-2.0

//! What one device needs of shared buffers: the facts of `struct device`, what its driver declared,
//! what the administrator wrote, and what it inherits.

use crate::{
    bound,
    c,
    model::{
        Constraints,
        Facts,
        Field,
        Name,
        Needs,
        Preferences,
        SegmentLimits, //
    },
    policy::{
        self,
        Written, //
    }, //
};
use core::{
    iter,
    ptr, //
};
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    str::CStrExt,
    sync::atomic::Atomic, //
};

/// Returns what `device` needs of shared buffers now.
///
/// [`None`] where the device does no DMA: a device without a DMA mask can attach, to follow the
/// buffer's life or to use it by CPU, but not map.
///
/// What is read stays true while the device is bound to a driver.
///
/// Source: `dma_mask`, `bus_dma_limit`, `dma_range_map` where nothing translates, `dma_parms`,
/// `dma_coherent`.
pub fn needs(device: &Device<Bound>) -> Option<Needs> {
    let facts = facts(device)?;
    if !bound::any_declared() && policy::is_empty() {
        // On most systems there are no declarations and policies.
        return Some(Needs::of(facts));
    }
    Some(said(device, &Constraints::ANY, &facts))
}

/// Returns what `device` needs with `more` in addition, as [`needs`].
pub fn needs_with(device: &Device<Bound>, more: &Constraints) -> Option<Needs> {
    Some(said(device, more, &facts(device)?))
}

/// Returns what the hardware needs; [`None`] where the device does no DMA.
fn facts(device: &Device<Bound>) -> Option<Facts> {
    let mut facts = c::dbc_device_facts::default();
    // SAFETY: The reference keeps the device; `facts` is a local variable.
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

/// Returns what a user that is no device needs, which has `constraints`.
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

/// Returns what `device` needs with `more` and with what was declared or written for it, or else
/// for the nearest ancestor that has anything: the parts of a device are its children. Beyond that,
/// the nearest ancestor of higher priority counts.
fn said(device: &Device<Bound>, more: &Constraints, facts: &Facts) -> Needs {
    let parent = |device: &Device| {
        // SAFETY: The first device is bound, so that it is not removed meanwhile, and each device
        // keeps a reference to its parent.
        unsafe {
            let parent = (*as_raw(device)).parent;
            (!parent.is_null()).then(|| Device::from_raw(parent))
        }
    };
    // Some importers attach after their driver has unbound: such a device may be removed.
    // SAFETY: The reference keeps the device.
    let is_bound = unsafe { c::dbc_device_is_bound(as_raw(device)) };
    let start: &Device = device;
    let line = iter::successors(Some(start), |device| parent(device));
    let line = line.take(if is_bound { usize::MAX } else { 1 });
    let names = (is_bound && !policy::is_empty()).then(|| driver_names(start));
    let written = |one: &Device| {
        let names = names.as_ref().filter(|_| ptr::eq(one, start));
        written_for(one, names).into_iter().flatten()
    };
    let preferences = line.clone().flat_map(written).map(|one| one.preferences());
    let preferences = preferences.fold(Preferences::NONE, Preferences::meet);
    let mut said = line.filter_map(|one| {
        let written = written(one).filter_map(|written| written.constraints());
        let said = bound::declared(one).into_iter();
        Iterator::chain(said, written).reduce(|one, other| one.meet(&other))
    });
    let own = said.next().map_or(*more, |said| said.meet(more));
    let ancestor = said.find(|said| said.priority > own.priority);
    Needs::new(facts, &own, ancestor.as_ref()).preferring(preferences)
}

/// Returns the names of the driver of `device` and of its module, which are empty where there is
/// none. It may unbind meanwhile.
fn driver_names(device: &Device) -> c::dbc_driver_names {
    let mut names = c::dbc_driver_names {
        driver: [0; 64],
        module: [0; 64],
    };
    // SAFETY: The reference keeps the device; `names` is a local variable, and zero.
    unsafe { c::dbc_driver_names(as_raw(device), &mut names) };
    names
}

/// Returns the bytes before the first NUL of an array of C.
fn text(array: &[u8]) -> &[u8] {
    CStr::from_bytes_until_nul(array).map_or(&[], CStr::to_bytes)
}

/// Returns what the administrator has written for `device`, and for its driver and the module of
/// that, if they have `names`.
fn written_for(device: &Device, names: Option<&c::dbc_driver_names>) -> [Option<Written>; 3] {
    let mut places = [const { None }; 3];
    if !policy::is_empty() {
        // SAFETY: The reference keeps the device.
        let bus = unsafe { c::dbc_device_bus(as_raw(device)) };
        // SAFETY: The name of a bus is a string that lives as long as the bus, which outlives its
        // devices.
        let bus = (!bus.is_null()).then(|| unsafe { CStr::from_char_ptr(bus) }.to_bytes());
        places[0] = bus.map(|bus| (bus, device.name().to_bytes()));
        places[1] = names.map(|names| (policy::DRIVER, text(&names.driver)));
        places[2] = names.map(|names| (policy::MODULE, text(&names.module)));
    }
    places.map(|place| place.and_then(|(bus, name)| policy::of(bus, name)))
}

/// From what it is known that a device imports contiguous memory alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The V4L2 nodes or DRM minors that its driver has registered.
    Objects,
    /// The module of its driver.
    Table,
}

/// Follows modules that are unloaded: what is remembered of their drivers is forgotten.
pub(crate) struct Watch(());

impl Watch {
    /// Registers the notifier. `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The notifier is a static, and the drop unregisters it before the module is
        // unloaded.
        to_result(unsafe { c::dbc_watch_modules() })?;
        Ok(Self(()))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: `new` registered it.
        unsafe { c::dbc_unwatch_modules() };
    }
}

/// What was found out about one device. It counts while the driver is bound of which that was.
pub struct Seen(Atomic<usize>);

impl Seen {
    /// Nothing was.
    pub const fn nothing() -> Self {
        Self(Atomic::new(0))
    }

    /// Tells whether `device`, the same at each call, is known to import contiguous memory alone,
    /// without a word of its driver, and from what.
    ///
    /// Nothing is found out while another thread has the device locked: the caller may hold locks
    /// that drivers take in their remove, which runs under the device's lock.
    pub fn known(&self, device: &Device) -> Option<Known> {
        if !policy::is_empty() {
            let names = driver_names(device);
            let written = written_for(device, Some(&names));
            if written.iter().flatten().any(|written| !written.known_needs) {
                return None;
            }
        }
        // SAFETY: The reference keeps the device. The word is an atomic one, which C reads and
        // writes as such.
        match unsafe { c::dbc_known(as_raw(device), self.0.as_ptr()) } {
            c::DBC_KNOWN_OBJECTS => Some(Known::Objects),
            c::DBC_KNOWN_TABLE => Some(Known::Table),
            _ => None,
        }
    }
}

/// Returns the name of the module of the driver of `device`, which is empty where it has none.
pub fn module(device: &Device) -> Name {
    Name::new(text(&driver_names(device).module))
}

/// Declares what `device` needs beyond what `struct device` tells, until its driver unbinds.
/// Replaces an earlier declaration; [`Constraints::ANY`] takes it back.
///
/// May sleep.
///
/// # Errors
///
/// - `EINVAL` if a field makes no sense.
/// - `ENODEV` if the device is on no bus.
/// - `EPROBE_DEFER` if the module is built in and has not started yet.
/// - `ENOMEM` if there is no memory for the declaration.
pub fn declare(device: &Device<Bound>, constraints: &Constraints) -> Result {
    if invalid(constraints).is_some() {
        return Err(EINVAL);
    }
    let is_any = *constraints == Constraints::ANY;
    bound::declare(device, (!is_any).then_some(constraints))
}

/// Returns the first field that makes no sense: by the model's rules, or for a segment below a
/// page, since dma-buf has no smaller ones.
pub fn invalid(constraints: &Constraints) -> Option<Field> {
    if constraints.segments.max_size < PAGE_SIZE as u64 {
        return Some(Field::MaxSegmentSize);
    }
    if constraints.segments.boundary_mask < PAGE_SIZE as u64 - 1 {
        return Some(Field::SegmentBoundary);
    }
    constraints.malformed()
}

/// Returns the C device. [`Device`] is a transparent wrapper of it.
pub fn as_raw(device: &Device) -> *mut bindings::device {
    core::ptr::from_ref(device).cast_mut().cast()
}

/// Returns the name of a device for messages: `vivid.0`, or with its driver in front where the
/// device's own name does not tell what it is, `edu 0000:00:05.0`.
pub fn name(device: &Device) -> Name {
    let device_name = device.name().to_bytes();
    let names = driver_names(device);
    let driver = text(&names.driver);
    if device_name.starts_with(driver) {
        return Name::new(device_name);
    }
    Name::of(&[driver, b" ", device_name])
}
