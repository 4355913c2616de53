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
    trace, //
};
use core::{
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    }, //
};
use dma_buf_constraints::{
    attach::{
        Slot,
        Users, //
    },
    device::{
        self,
        BoundDevice, //
    },
    dma_buf::DmaBuf,
    model::{
        Constraints,
        Name,
        Needs, //
    },
};
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    prelude::*,
    str::CStrExt,
    sync::{
        aref::ARef,
        Arc, //
    }, //
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
        let client = Client::declared(Declared::Needs(KBox::new(name, GFP_KERNEL_ACCOUNT)?));
        let needs = device::needs_without_device(constraints);
        let mut guard = self.lock();
        let slot = self.admit(&mut guard, dmabuf, &needs, client)?;
        trace::declare(self.id, &guard.users, slot);
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
        let needs = device::needs(&bound).ok_or(ENODEV)?.also(constraints);
        let resource = Resource::new(self.counted())?;
        // SAFETY: When the driver unbinds, `unbound` drops it, by the entry that is added before
        // the device's lock is released; before that, `forget` does, when the buffer goes.
        let user = unsafe { BoundDevice::new(&bound) };
        let client = Client::declared(Declared::Device(user));
        let mut guard = self.lock();
        if of_device(&guard.users, device, &needs).is_some() {
            return Ok(());
        }
        let slot = self.admit(&mut guard, dmabuf, &needs, client)?;
        trace::declare(self.id, &guard.users, slot);
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

impl Deref for BoundLock<'_> {
    type Target = Device<Bound>;

    fn deref(&self) -> &Device<Bound> {
        // SAFETY: By the type's invariants: an unbind waits for the lock.
        unsafe { self.0.as_bound() }
    }
}

impl Drop for BoundLock<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants.
        unsafe { c::cenalloc_device_unlock(device::as_raw(self.0)) };
    }
}

/// The declaration that `device`, which has `needs` now, can attach under.
pub(crate) fn of_device(users: &Users<Client>, device: &Device, needs: &Needs) -> Option<Slot> {
    users.position(|user| {
        let client = &user.data;
        let declared = client.declared.as_ref();
        client.attached.is_none()
            && declared.is_some_and(|declared| declared.is_of(device))
            // What it needs may have grown since it was declared.
            && user.needs().own().meet(&needs.own()) == user.needs().own()
    })
}

/// Takes back the declaration in `slot`; a device that attached under it stays a user.
fn release(buffer: &Buffer, state: &mut State, slot: Slot) {
    let Some(user) = state.users.get_mut(slot) else {
        return;
    };
    user.data.declared = None;
    if user.data.attached.is_none() {
        buffer.dismiss(state, slot);
    }
}

/// Forgets what was declared for `buffer`, whose users `users` are.
pub(crate) fn forget(buffer: &Buffer, users: &mut Users<Client>) {
    for user in users.iter_mut() {
        if let Some(Declared::Device(device)) = user.data.declared.take() {
            Resource::remove(&device, buffer);
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

/// A devres entry that is not yet on its device. It holds a buffer.
///
/// # Invariants
///
/// Points to a devres entry on no device, with room for an [`Entry`], which is there.
struct Resource(NonNull<c_void>);

/// What an entry holds. A buffer that is gone takes it back, so that it does not stay for long.
type Entry = Arc<Buffer>;

impl Resource {
    fn new(buffer: Entry) -> Result<Self> {
        // SAFETY: `unbound` is a valid release function.
        let entry = unsafe {
            bindings::__devres_alloc_node(
                Some(unbound),
                size_of::<Entry>(),
                bindings::GFP_KERNEL_ACCOUNT,
                bindings::NUMA_NO_NODE,
                c"cenalloc".as_char_ptr(),
            )
        };
        let entry = NonNull::new(entry).ok_or(ENOMEM)?;
        // SAFETY: The entry has room for the buffer, aligned for anything.
        unsafe { entry.cast::<Entry>().write(buffer) };
        // INVARIANT: Allocated and filled above.
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

    /// Takes one entry with `buffer` from `device`, if it is still there.
    fn remove(device: &Device, buffer: &Buffer) {
        // SAFETY: The device is alive, and `buffer` outlives the call.
        let entry = unsafe {
            bindings::devres_remove(
                device::as_raw(device),
                Some(unbound),
                Some(is_of),
                ptr::from_ref(buffer).cast_mut().cast(),
            )
        };
        if let Some(entry) = NonNull::new(entry) {
            // INVARIANT: It was taken from its device, and `new` had filled it.
            drop(Self(entry));
            // SAFETY: `add` took this reference.
            unsafe { bindings::module_put(this_module()) };
        }
    }
}

impl Drop for Resource {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants; nobody uses the entry any more.
        unsafe {
            self.0.cast::<Entry>().drop_in_place();
            bindings::devres_free(self.0.as_ptr());
        }
    }
}

/// Whether an entry has the buffer that `buffer` points to.
///
/// # Safety
///
/// For `devres_remove` alone, as [`Resource::remove`] calls it.
unsafe extern "C" fn is_of(
    _device: *mut bindings::device,
    entry: *mut c_void,
    buffer: *mut c_void,
) -> c_int {
    // SAFETY: `Resource::new` put a buffer into the entry.
    ptr::eq(unsafe { &**entry.cast::<Entry>() }, buffer.cast()).into()
}

/// Called by devres when the driver of `device` unbinds: takes back what was declared for it.
///
/// # Safety
///
/// `device` carries `entry`, which [`Resource::add`] put there.
unsafe extern "C" fn unbound(device: *mut bindings::device, entry: *mut c_void) {
    // SAFETY: `Resource::new` put a buffer there, which nobody else takes; the device is alive as
    // long as this runs.
    let (buffer, device) = unsafe { (entry.cast::<Entry>().read(), Device::from_raw(device)) };
    let mut guard = buffer.lock();
    let slot = guard.users.position(|user| {
        let declared = user.data.declared.as_ref();
        declared.is_some_and(|declared| declared.is_of(device))
    });
    if let Some(slot) = slot {
        release(&buffer, &mut guard, slot);
    }
    drop(guard);
    drop(buffer);
    // Nothing of this module but the return from here runs after it.
    // SAFETY: `Resource::add` took this reference.
    unsafe { bindings::module_put(this_module()) };
}

fn this_module() -> *mut bindings::module {
    kernel::module::this_module::<crate::LocalModule>().as_ptr()
}
