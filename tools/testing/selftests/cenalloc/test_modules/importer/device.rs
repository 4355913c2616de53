// SPDX-License-Identifier: GPL-2.0

//! Platform devices to import with, in safe Rust over `device.c`.

use crate::c;
use core::{
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    }, //
};
use dma_buf_constraints::{
    c_api,
    device::declare,
    model::Constraints, //
};
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::Arc, //
};

/// The registration of the driver that the devices are bound to.
pub(crate) struct Driver(());

impl Driver {
    pub(crate) fn register() -> Result<Self> {
        // SAFETY: Called by the module's initialiser, once.
        to_result(unsafe { c::importer_driver_register() })?;
        Ok(Self(()))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // SAFETY: `register` registered it. No device is left: devices belong to open files, and
        // those keep the module.
        unsafe { c::importer_driver_unregister() };
    }
}

/// A device with the limits that userspace asked for; goes away when dropped.
///
/// # Invariants
///
/// The device was made by `importer_device_create`, and is bound to the driver in `device.c`.
pub(crate) struct ImporterDevice {
    raw: NonNull<bindings::device>,
    /// The device that it is a part of: a parent goes after its children.
    parent: Option<Arc<Self>>,
    /// How many devices there are from this one up to its first ancestor. A drop goes up all of
    /// them, one call within the other, and the stack is small.
    depth: u32,
}

// SAFETY: A device may be used and removed by any thread.
unsafe impl Send for ImporterDevice {}
// SAFETY: As above.
unsafe impl Sync for ImporterDevice {}

impl ImporterDevice {
    /// Makes a device, a part of `parent` where there is one, and declares its constraints, as a
    /// driver's probe would.
    ///
    /// `EINVAL` where the request makes no sense or the parent may have no parts, `EEXIST` where
    /// a device of another driver has the name, `ENOMEM`.
    pub(crate) fn new(add: &c::importer_add, parent: Option<Arc<Self>>) -> Result<Self> {
        let depth = parent.as_ref().map_or(1, |parent| parent.depth + 1);
        if depth > c::IMPORTER_MAX_DEPTH {
            return Err(EINVAL);
        }
        let raw_parent = parent
            .as_ref()
            .map_or(ptr::null_mut(), |parent| parent.raw.as_ptr());
        // SAFETY: `add` is valid for the call and copied by it. The parent, if any, is kept until
        // the device is removed.
        let raw = from_err_ptr(unsafe { c::importer_device_create(add, raw_parent) })?;
        // INVARIANT: Just made; the C function returns it bound.
        let device = Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            parent,
            depth,
        };
        if add.flags & c::IMPORTER_DECLARE != 0 {
            declare(&device, &declared(add))?;
        }
        Ok(device)
    }

    /// Whether it is a part of `parent`.
    pub(crate) fn is_child_of(&self, parent: &Arc<Self>) -> bool {
        let own = self.parent.as_ref();
        own.is_some_and(|own| Arc::ptr_eq(own, parent))
    }
}

/// The constraints that are to be declared: in the request, zero is "don't care".
fn declared(add: &c::importer_add) -> Constraints {
    let is_fact = add.flags & c::IMPORTER_PARMS_ACCESS != 0;
    Constraints::from(&c_api::dma_buf_constraints {
        access_mask: if is_fact { 0 } else { add.access_mask },
        max_address: add.max_address,
        max_segment_size: add.max_segment_size,
        segment_boundary_mask: add.segment_boundary_mask,
        alignment: add.alignment,
        max_segments: add.max_segments,
        priority: add.priority,
        coherent: add.flags & c::IMPORTER_COHERENT != 0,
    })
}

impl Deref for ImporterDevice {
    type Target = Device<Bound>;

    fn deref(&self) -> &Device<Bound> {
        // SAFETY: By the type's invariants. The device stays, and stays bound, until the drop:
        // its driver cannot be unbound through sysfs, and is unregistered after all devices.
        unsafe { Device::from_raw(self.raw.as_ptr()) }
    }
}

impl Drop for ImporterDevice {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants; nobody uses it any more. Attachments keep the whole
        // `ImporterDevice`.
        unsafe { c::importer_device_remove(self.raw.as_ptr()) };
    }
}
