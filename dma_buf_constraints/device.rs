// SPDX-License-Identifier: GPL-2.0

//! What one device needs of shared buffers: the facts of `struct device`, and what its driver
//! declared.

use crate::{
    c,
    model::{
        Constraints,
        Field,
        Name,
        Placement,
        SegmentLimits, //
    },
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    device::Device,
    page::PAGE_SIZE,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
    },
};

kernel::sync::global_lock! {
    /// What drivers declared, by the address of the device.
    ///
    /// A device's entry is made by [`declare`] and taken by [`undeclare`], which devres calls
    /// when the driver unbinds: an address in here belongs to a device that is alive.
    // SAFETY: `init` runs in the module's initialiser, before anything can use the lock.
    unsafe(uninit) static DECLARED: Mutex<Option<RBTree<usize, Constraints>>> = None;
}

/// How many devices are declared: most systems have none, and then an attach need not lock.
static DECLARED_COUNT: Atomic<usize> = Atomic::new(0);

/// Makes the table of declarations usable. For the module's initialiser.
pub(crate) fn init() {
    // SAFETY: The module's initialiser calls this exactly once, before the module's symbols can
    // be used.
    unsafe { DECLARED.init() };
    *DECLARED.lock() = Some(RBTree::new());
}

/// What a device needs, and whether it does DMA at all.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// The facts and the declaration, together. [`Constraints::ANY`] without DMA.
    pub constraints: Constraints,
    /// Whether the device has a DMA mask. One that has none can attach, to be told of the
    /// buffer's life or to use it by CPU, but not map.
    pub can_dma: bool,
}

/// What `device` needs of shared buffers now.
///
/// Takes a mutex where any device has declared constraints; may sleep.
pub fn needs(device: &Device) -> Needs {
    let (facts, can_dma) = facts(device);
    if !can_dma {
        return Needs {
            constraints: Constraints::ANY,
            can_dma,
        };
    }
    Needs {
        constraints: match declared(device) {
            Some(declared) => facts.meet(&declared),
            None => facts,
        },
        can_dma,
    }
}

/// What `struct device` tells, and whether the device has a DMA mask.
///
/// Source: `dma_mask`, `bus_dma_limit`, `dma_range_map` where nothing translates, `dma_parms`.
fn facts(device: &Device) -> (Constraints, bool) {
    let mut facts = c::dbc_device_facts {
        max_address: 0,
        max_segment_size: 0,
        segment_boundary_mask: 0,
        alignment: 0,
        can_dma: false,
    };
    // SAFETY: The reference proves that the device is alive; `facts` is ours to write.
    unsafe { c::dbc_device_facts(as_raw(device), &mut facts) };
    let constraints = Constraints {
        placement: Placement {
            max_address: facts.max_address,
            alignment: facts.alignment,
            ..Placement::ANY
        },
        segments: SegmentLimits {
            max_size: facts.max_segment_size,
            boundary_mask: facts.segment_boundary_mask,
        },
    };
    (constraints, facts.can_dma)
}

/// What the driver of `device` declared.
fn declared(device: &Device) -> Option<Constraints> {
    if DECLARED_COUNT.load(Relaxed) == 0 {
        return None;
    }
    DECLARED.lock().as_ref()?.get(&key(device)).copied()
}

/// Declares what `device` needs beyond what `struct device` tells; replaces an earlier
/// declaration and is gone when the device's driver unbinds.
///
/// May sleep. Fails with `EINVAL` where a field makes no sense, with `ENODEV` where no driver is
/// bound (devres of such a device would be lost), with `ENOMEM`.
pub fn declare(device: &Device, constraints: &Constraints) -> Result {
    if invalid(constraints).is_some() {
        return Err(EINVAL);
    }
    // SAFETY: The reference proves that the device is alive.
    if !unsafe { c::dbc_device_has_driver(as_raw(device)) } {
        return Err(ENODEV);
    }
    let node = RBTreeNode::new(key(device), *constraints, GFP_KERNEL)?;
    let resource = Resource::new()?;
    let mut declared = DECLARED.lock();
    if declared.as_mut().ok_or(ENODEV)?.insert(node).is_none() {
        DECLARED_COUNT.fetch_add(1, Relaxed);
        resource.add(device);
    }
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

/// A devres entry that is not yet on its device.
struct Resource(NonNull<c_void>);

impl Resource {
    fn new() -> Result<Self> {
        // SAFETY: `undeclare` is a valid release function; the entry carries no data.
        let entry = unsafe {
            bindings::__devres_alloc_node(
                Some(undeclare),
                0,
                bindings::GFP_KERNEL,
                bindings::NUMA_NO_NODE,
                c"dma_buf_constraints".as_char_ptr(),
            )
        };
        Ok(Self(NonNull::new(entry).ok_or(ENOMEM)?))
    }

    /// Puts the entry on `device`. While it is there, this module stays: its release function
    /// is called from the device's unbind.
    fn add(self, device: &Device) {
        // SAFETY: The caller runs code of this module, so that a reference to it can be taken.
        unsafe { bindings::__module_get(this_module()) };
        // SAFETY: The device is alive; the entry is from `__devres_alloc_node`, and forgotten
        // here, so that devres alone owns it.
        unsafe { bindings::devres_add(as_raw(device), self.0.as_ptr()) };
        core::mem::forget(self);
    }
}

impl Drop for Resource {
    fn drop(&mut self) {
        // SAFETY: The entry is from `__devres_alloc_node` and was never added to a device.
        unsafe { bindings::devres_free(self.0.as_ptr()) };
    }
}

/// Called by devres when the driver of `device` unbinds.
///
/// # Safety
///
/// `device` carries an entry that [`Resource::add`] put there.
unsafe extern "C" fn undeclare(device: *mut bindings::device, _entry: *mut c_void) {
    if let Some(declared) = DECLARED.lock().as_mut() {
        if declared.remove(&(device as usize)).is_some() {
            DECLARED_COUNT.fetch_sub(1, Relaxed);
        }
    }
    // SAFETY: `Resource::add` took this reference.
    unsafe { bindings::module_put(this_module()) };
}

fn this_module() -> *mut bindings::module {
    kernel::module::this_module::<crate::LocalModule>().as_ptr()
}

/// The key of `device` among the declarations.
fn key(device: &Device) -> usize {
    as_raw(device) as usize
}

/// The C device. [`Device`] is a transparent wrapper of it.
pub(crate) fn as_raw(device: &Device) -> *mut bindings::device {
    core::ptr::from_ref(device).cast_mut().cast()
}

/// A device as messages name it: `vivid.0`, or with its driver in front where the device's own
/// name does not tell what it is, `edu 0000:00:05.0`.
pub fn name(device: &Device) -> Name {
    let device_name = device.name().to_bytes();
    // SAFETY: The reference proves that the device is alive. A driver outlives the attachments
    // that it makes for its device.
    let driver = unsafe { c::dbc_device_driver(as_raw(device)) };
    if driver.is_null() {
        return Name::new(device_name);
    }
    // SAFETY: A driver's name is a string that lives as long as the driver.
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

/// A counted reference to `device`.
pub fn reference(device: &Device) -> ARef<Device> {
    device.into()
}
