// SPDX-License-Identifier: GPL-2.0

//! What one device needs of shared buffers: the facts of `struct device`, what its driver declared,
//! what the administrator says of it, and what it inherits.

use crate::{
    attach::Identity,
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
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    page::PAGE_SIZE,
    prelude::*,
    str::CStrExt,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
    }, //
};

/// What `device` needs of shared buffers now.
///
/// Nothing where the device does no DMA: one that has no DMA mask can attach, to be told of the
/// buffer's life or to use it by CPU, but not map.
///
/// What is looked at is true while the device is bound to its driver.
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
    // SAFETY: The device is alive and bound, so that its DMA parameters stay; `facts` is ours to
    // write.
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
    if DECLARATIONS.load(Relaxed) == 0 && policy::is_empty() {
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

/// What is said of `device`, or else of the nearest ancestor of which anything is said: the parts
/// of a device are its children.
fn said(device: &Device) -> Said {
    let own = said_of(device).map(|constraints| Said {
        constraints,
        is_inherited: false,
    });
    let inherited = || {
        let (_, constraints) = ancestors(device).next()?;
        Some(Said {
            constraints,
            is_inherited: true,
        })
    };
    own.or_else(inherited).unwrap_or(Said::NOTHING)
}

/// What is said of `device` itself, by its driver and by the administrator together.
fn said_of(device: &Device) -> Option<Constraints> {
    match (declared(device), policy_of(device)) {
        (Some(declared), Some(policy)) => Some(declared.meet(&policy)),
        (one, other) => one.or(other),
    }
}

/// The ancestors of `device`, the nearest first. None of a device that was removed, which keeps no
/// parent; it is not removed meanwhile.
pub(crate) fn all_ancestors(device: &Device) -> impl Iterator<Item = &Device> {
    iter::successors(parent(device), |device| parent(device))
}

/// Those of which anything is said, and what.
pub(crate) fn ancestors(device: &Device) -> impl Iterator<Item = (&Device, Constraints)> {
    all_ancestors(device).filter_map(|device| Some((device, said_of(device)?)))
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

/// The parent of `device`, as long as `device` is registered.
fn parent(device: &Device) -> Option<&Device> {
    // SAFETY: The reference proves that the device is alive.
    let parent = unsafe { c::dbc_device_parent(as_raw(device)) };
    if parent.is_null() {
        return None;
    }
    // SAFETY: A device keeps its parent as long as it is registered, which was looked at above.
    // Nobody removes it meanwhile, nor any ancestor: it is bound, or a user of a buffer, which its
    // importer keeps bound until it detaches.
    Some(unsafe { Device::from_raw(parent) })
}

/// How many declarations there are: on most systems none, and then an attach need not look.
static DECLARATIONS: Atomic<usize> = Atomic::new(0);

/// What the driver of `device` declared last.
fn declared(device: &Device) -> Option<Constraints> {
    if DECLARATIONS.load(Relaxed) == 0 {
        return None;
    }
    let mut declared = None;
    // SAFETY: The device is alive, and `declared` outlives the call. devres calls `copy_declared`
    // under its lock, so that the entry does not go meanwhile.
    unsafe {
        bindings::devres_find(
            as_raw(device),
            Some(undeclare),
            Some(copy_declared),
            (&raw mut declared).cast(),
        )
    };
    declared
}

/// Declares what `device` needs beyond what `struct device` tells; replaces an earlier
/// declaration and is gone when the device's driver unbinds. [`Constraints::ANY`] takes an earlier
/// declaration back.
///
/// May sleep. Fails with `EINVAL` where a field makes no sense, with `ENOMEM`.
pub fn declare(device: &Device<Bound>, constraints: &Constraints) -> Result {
    if invalid(constraints).is_some() {
        return Err(EINVAL);
    }
    if *constraints == Constraints::ANY {
        Resource::remove_others(device, ptr::null_mut());
        return Ok(());
    }
    let resource = Resource::new(constraints)?;
    let newest = resource.0.as_ptr();
    resource.add(device);
    // devres finds the newest entry first; older ones would only take up memory.
    Resource::remove_others(device, newest);
    Ok(())
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

/// A devres entry that is not yet on its device. It holds what was declared.
struct Resource(NonNull<c_void>);

impl Resource {
    fn new(constraints: &Constraints) -> Result<Self> {
        // SAFETY: `undeclare` is a valid release function.
        let entry = unsafe {
            bindings::__devres_alloc_node(
                Some(undeclare),
                size_of::<Constraints>(),
                bindings::GFP_KERNEL,
                bindings::NUMA_NO_NODE,
                c"dma_buf_constraints".as_char_ptr(),
            )
        };
        let entry = NonNull::new(entry).ok_or(ENOMEM)?;
        // SAFETY: The entry has room for them, aligned for anything.
        unsafe { entry.cast::<Constraints>().write(*constraints) };
        Ok(Self(entry))
    }

    /// Puts the entry on `device`. While it is there, this module stays: its release function
    /// is called from the device's unbind.
    fn add(self, device: &Device<Bound>) {
        DECLARATIONS.fetch_add(1, Relaxed);
        // SAFETY: The caller's module uses a symbol of this one, which therefore is loaded.
        unsafe { c::dbc_module_get(this_module()) };
        // SAFETY: The device is alive; the entry is from `__devres_alloc_node`, and forgotten
        // here, so that devres alone owns it.
        unsafe { bindings::devres_add(as_raw(device), self.0.as_ptr()) };
        core::mem::forget(self);
    }

    /// Takes all entries but `newest` from `device`.
    fn remove_others(device: &Device<Bound>, newest: *mut c_void) {
        loop {
            // SAFETY: The device is alive; `newest` is only compared.
            let entry = unsafe {
                bindings::devres_remove(as_raw(device), Some(undeclare), Some(is_other), newest)
            };
            let Some(entry) = NonNull::new(entry) else {
                return;
            };
            drop(Self(entry));
            DECLARATIONS.fetch_sub(1, Relaxed);
            // SAFETY: `add` took this reference.
            unsafe { c::dbc_module_put(this_module()) };
        }
    }
}

impl Drop for Resource {
    fn drop(&mut self) {
        // SAFETY: The entry is from `__devres_alloc_node` and on no device.
        unsafe { bindings::devres_free(self.0.as_ptr()) };
    }
}

/// Copies what `entry` holds to where `declared` points, and says that it was the one.
///
/// # Safety
///
/// For `devres_find` alone, as [`declared`] calls it.
unsafe extern "C" fn copy_declared(
    _device: *mut bindings::device,
    entry: *mut c_void,
    declared: *mut c_void,
) -> c_int {
    // SAFETY: `Resource::new` put constraints into the entry, and `declared` points to room for
    // them.
    unsafe { *declared.cast::<Option<Constraints>>() = Some(*entry.cast::<Constraints>()) };
    1
}

/// Whether `entry` is not `newest`.
///
/// # Safety
///
/// For `devres_remove` alone, as [`Resource::remove_others`] calls it.
unsafe extern "C" fn is_other(
    _device: *mut bindings::device,
    entry: *mut c_void,
    newest: *mut c_void,
) -> c_int {
    (entry != newest).into()
}

/// Called by devres when the driver of a device unbinds: the entry goes, and the module may.
///
/// # Safety
///
/// The device carries an entry that [`Resource::add`] put there.
unsafe extern "C" fn undeclare(_device: *mut bindings::device, _entry: *mut c_void) {
    DECLARATIONS.fetch_sub(1, Relaxed);
    // SAFETY: `Resource::add` took this reference.
    unsafe { c::dbc_module_put(this_module()) };
}

fn this_module() -> *mut bindings::module {
    kernel::module::this_module::<crate::LocalModule>().as_ptr()
}

/// The C device. [`Device`] is a transparent wrapper of it.
pub fn as_raw(device: &Device) -> *mut bindings::device {
    core::ptr::from_ref(device).cast_mut().cast()
}

/// A device as messages name it: `vivid.0`, or with its driver in front where the device's own
/// name does not tell what it is, `edu 0000:00:05.0`.
pub fn name(device: &Device<Bound>) -> Name {
    let device_name = device.name().to_bytes();
    // SAFETY: The reference proves that the device is alive.
    let driver = unsafe { c::dbc_device_driver(as_raw(device)) };
    if driver.is_null() {
        return Name::new(device_name);
    }
    // SAFETY: A driver's name is a string that lives as long as the driver, which stays as long as
    // the device is bound to it.
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

/// A device that is a user of buffers, with a reference.
///
/// # Invariants
///
/// The device is bound to its driver as long as this is there.
pub struct BoundDevice(ARef<Device>);

impl BoundDevice {
    /// Keeps `device`.
    ///
    /// # Safety
    ///
    /// The device stays bound to its driver until this is dropped.
    pub unsafe fn new(device: &Device<Bound>) -> Self {
        // INVARIANT: The caller's promise.
        Self(device.into())
    }
}

impl Deref for BoundDevice {
    type Target = Device<Bound>;

    fn deref(&self) -> &Device<Bound> {
        // SAFETY: By the type's invariants.
        unsafe { self.0.as_bound() }
    }
}

impl Identity for BoundDevice {
    fn name(&self) -> Name {
        name(self)
    }

    fn device(&self) -> Option<&Device> {
        Some(self)
    }
}

/// A counted reference to `device`.
pub(crate) fn reference(device: &Device) -> ARef<Device> {
    device.into()
}
