// SPDX-License-Identifier: GPL-2.0

//! Users that are declared before they attach.
//!
//! A declared device is remembered as a user of the buffer until its driver unbinds: a devres entry
//! on the device tells when.

use crate::{
    buffer::{
        Buffer,
        State, //
    },
    c,
    client::{
        Client,
        Declared, //
    },
    registry, //
};
use core::ptr::NonNull;
use dma_buf_constraints::{
    attach::{
        Slot,
        Users, //
    },
    device,
    dma_buf::DmaBuf,
    model::{
        Constraints,
        Name, //
    },
};
use kernel::{
    bindings,
    device::Device,
    prelude::*,
    str::CStrExt,
    sync::aref::ARef, //
};

impl Buffer {
    /// Narrows the buffer as if a user without a device had attached. As
    /// [`admit`](Self::admit).
    pub(crate) fn declare_needs(
        &self,
        dmabuf: &DmaBuf,
        name: &[u8],
        constraints: &Constraints,
    ) -> Result {
        let name = if name.is_empty() {
            Name::new(b"declared needs")
        } else {
            Name::new(name)
        };
        let client = Client::declared(Declared::Needs(KBox::new(name, GFP_KERNEL)?));
        self.admit(&mut self.lock(), dmabuf, constraints, client)?;
        Ok(())
    }

    /// Narrows the buffer as if `device` had attached, with `constraints` in addition to its own
    /// needs.
    ///
    /// As [`admit`](Self::admit), and `ENODEV` where the device does no DMA or no driver is bound
    /// to it.
    pub(crate) fn declare_device(
        &self,
        dmabuf: &DmaBuf,
        device: &Device,
        constraints: &Constraints,
    ) -> Result {
        // Until the end: what is known of a device is true while it is bound, and `unbound` comes
        // when everything is in its place.
        let bound = BoundLock::new(device).ok_or(ENODEV)?;
        let needs = device::needs(device);
        if !needs.can_dma {
            return Err(ENODEV);
        }
        let together = needs.constraints.meet(constraints);
        let resource = Resource::new(self.id)?;
        let client = Client::declared(Declared::Device(device::reference(device)));
        let mut guard = self.lock();
        if of_device(&guard.users, device, &together).is_some() {
            return Ok(());
        }
        self.admit(&mut guard, dmabuf, &together, client)?;
        resource.add(&bound);
        Ok(())
    }
}

/// Keeps a device bound to its driver: the device's lock, which an unbind takes.
///
/// # Invariants
///
/// The lock of the device is held by this thread, and a driver is bound.
struct BoundLock<'a>(&'a Device);

impl<'a> BoundLock<'a> {
    /// Nothing where no driver is bound.
    fn new(device: &'a Device) -> Option<Self> {
        // SAFETY: The reference proves that the device is alive.
        let is_bound = unsafe { c::cenalloc_device_lock(device::as_raw(device)) };
        if !is_bound {
            return None;
        }
        // INVARIANT: The call has taken the lock. Without it there must be no guard, not even for a
        // moment: its drop unlocks.
        Some(Self(device))
    }
}

impl Drop for BoundLock<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants.
        unsafe { c::cenalloc_device_unlock(device::as_raw(self.0)) };
    }
}

/// The declaration that `device`, which needs `constraints` now, can attach under.
pub(crate) fn of_device(
    users: &Users<Client>,
    device: &Device,
    constraints: &Constraints,
) -> Option<Slot> {
    users.position(|user| {
        let client = &user.data;
        let declared = client.declared.as_ref();
        client.attached.is_none()
            && declared.is_some_and(|declared| declared.is_of(device))
            // What it needs may have grown since it was declared.
            && user.constraints().meet(constraints) == *user.constraints()
    })
}

/// Takes back the declaration in `slot`; a device that attached under it stays a user.
fn release(state: &mut State, slot: Slot) {
    let Some(user) = state.users.get_mut(slot) else {
        return;
    };
    user.data.declared = None;
    if user.data.attached.is_none() {
        drop(state.users.release(slot));
    }
}

/// Forgets what was declared for the buffer `id`, whose users `users` were.
pub(crate) fn forget(id: u64, users: &Users<Client>) {
    for user in users.iter() {
        if let Some(Declared::Device(device)) = &user.data.declared {
            Resource::remove(device, id);
        }
    }
}

/// A device by the names of its bus and its own. `ENODEV`.
pub(crate) fn find_device(bus: &CStr, name: &CStr) -> Result<ARef<Device>> {
    // SAFETY: Both end in NUL.
    let raw = unsafe { c::cenalloc_find_device(bus.as_char_ptr(), name.as_char_ptr()) };
    let raw = NonNull::new(raw).ok_or(ENODEV)?;
    // SAFETY: The call returned a reference of its own. `Device` is a transparent wrapper.
    Ok(unsafe { ARef::from_raw(raw.cast()) })
}

/// A devres entry that is not yet on its device. It holds the number of a buffer.
struct Resource(NonNull<c_void>);

impl Resource {
    fn new(id: u64) -> Result<Self> {
        // SAFETY: `unbound` is a valid release function.
        let entry = unsafe {
            bindings::__devres_alloc_node(
                Some(unbound),
                size_of::<u64>(),
                bindings::GFP_KERNEL,
                bindings::NUMA_NO_NODE,
                c"cenalloc".as_char_ptr(),
            )
        };
        let entry = NonNull::new(entry).ok_or(ENOMEM)?;
        // SAFETY: The entry has room for the number, aligned for anything.
        unsafe { entry.cast::<u64>().write(id) };
        Ok(Self(entry))
    }

    /// Puts the entry on a device. While it is there, this module stays.
    fn add(self, device: &BoundLock<'_>) {
        // SAFETY: An open file of this module, or its caller, keeps it loaded now.
        unsafe { bindings::__module_get(this_module()) };
        // SAFETY: The device is alive and bound; the entry is from `__devres_alloc_node`, and
        // forgotten here, so that devres alone owns it.
        unsafe { bindings::devres_add(device::as_raw(device.0), self.0.as_ptr()) };
        core::mem::forget(self);
    }

    /// Takes one entry with the number `id` from `device`, if it is still there.
    fn remove(device: &Device, id: u64) {
        let mut id = id;
        // SAFETY: The device is alive, and `id` outlives the call.
        let entry = unsafe {
            bindings::devres_remove(
                device::as_raw(device),
                Some(unbound),
                Some(is_of),
                (&raw mut id).cast(),
            )
        };
        if let Some(entry) = NonNull::new(entry) {
            drop(Self(entry));
            // SAFETY: `add` took this reference.
            unsafe { bindings::module_put(this_module()) };
        }
    }
}

impl Drop for Resource {
    fn drop(&mut self) {
        // SAFETY: The entry is from `__devres_alloc_node` and on no device.
        unsafe { bindings::devres_free(self.0.as_ptr()) };
    }
}

/// Whether an entry has the number that `id` points to.
///
/// # Safety
///
/// For `devres_remove` alone, as [`Resource::remove`] calls it.
unsafe extern "C" fn is_of(
    _device: *mut bindings::device,
    entry: *mut c_void,
    id: *mut c_void,
) -> c_int {
    // SAFETY: `Resource::new` put a number into the entry, and `id` points to one.
    unsafe { (*entry.cast::<u64>() == *id.cast::<u64>()).into() }
}

/// Called by devres when the driver of `device` unbinds: takes back what was declared for it.
///
/// # Safety
///
/// `device` carries `entry`, which [`Resource::add`] put there.
unsafe extern "C" fn unbound(device: *mut bindings::device, entry: *mut c_void) {
    // SAFETY: `Resource::new` put a number there; the device is alive as long as this runs.
    let (id, device) = unsafe { (*entry.cast::<u64>(), Device::from_raw(device)) };
    if let Some(buffer) = registry::get(id) {
        let mut guard = buffer.lock();
        let slot = guard.users.position(|user| {
            let declared = user.data.declared.as_ref();
            declared.is_some_and(|declared| declared.is_of(device))
        });
        if let Some(slot) = slot {
            release(&mut guard, slot);
        }
    }
    // Nothing of this module but the return from here runs after it.
    // SAFETY: `Resource::add` took this reference.
    unsafe { bindings::module_put(this_module()) };
}

fn this_module() -> *mut bindings::module {
    kernel::module::this_module::<crate::LocalModule>().as_ptr()
}
