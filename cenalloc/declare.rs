// SPDX-License-Identifier: GPL-2.0

//! Users that are declared before they attach.
//!
//! A declared device is a user of the buffer until its driver unbinds.

use crate::{
    buffer::{
        Buffer,
        State, //
    },
    c,
    client::{
        Attachment,
        Client,
        Declared, //
    },
    trace, //
};
use core::ptr::NonNull;
use dma_buf_constraints::{
    attach::{
        Newcomer,
        User,
        Users, //
    },
    bound::{
        BoundLock,
        Kept,
        Room, //
    },
    device,
    dma_buf::{
        DmaBuf,
        Guard, //
    },
    model::{
        Constraints,
        Name,
        Needs, //
    },
};
use kernel::{
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
    /// Narrows the buffer as if a user without a device had attached. Fails as
    /// [`admit`](Self::admit).
    pub(crate) fn declare_needs(
        &self,
        dmabuf: &DmaBuf,
        name: &[u8],
        constraints: &Constraints,
    ) -> Result {
        // No device has such a name, so that a program cannot pose as one.
        let name = match name {
            [] => Name::new(b"a program"),
            name => Name::of(&[b"program ", name]),
        };
        let needs = device::needs_without_device(constraints);
        let name = KBox::new(name, GFP_KERNEL_ACCOUNT)?;
        let newcomer = newcomer(&needs, Declared::Needs(name))?;
        self.declare(&mut self.lock_interruptible()?, dmabuf, newcomer)?;
        Ok(())
    }

    /// Narrows the buffer as if `device` had attached, with `constraints` in addition to its own
    /// needs.
    ///
    /// Fails as [`admit`](Self::admit), and with `ENODEV` where the device does no DMA or no driver
    /// is bound to it.
    pub(crate) fn declare_device(
        &self,
        dmabuf: &DmaBuf,
        device: &Device,
        constraints: &Constraints,
    ) -> Result {
        let room = Room::new(device, GFP_KERNEL_ACCOUNT)?;
        // The device's lock is held only while the device is read, so that an unbind does not wait
        // for memory.
        let bound = BoundLock::new(device)?;
        let declaration = Declaration::new(room, &bound, constraints)?;
        drop(bound);
        self.declare_kept(dmabuf, declaration)
    }

    /// As [`declare_device`](Self::declare_device), for a driver that knows that the device is
    /// bound: also for its own device while that is probed, whose lock the core holds then.
    pub(crate) fn declare_bound(
        &self,
        dmabuf: &DmaBuf,
        device: &Device<Bound>,
        constraints: &Constraints,
    ) -> Result {
        let room = Room::new(device, GFP_KERNEL_ACCOUNT)?;
        self.declare_kept(dmabuf, Declaration::new(room, device, constraints)?)
    }

    fn declare_kept(&self, dmabuf: &DmaBuf, declaration: Declaration) -> Result {
        let Declaration {
            device,
            needs,
            kept,
        } = declaration;
        let newcomer = newcomer(&needs, Declared::Device(kept))?;
        let mut guard = self.lock_interruptible()?;
        if of_device(&guard.users, &device, &needs).is_some() {
            return Ok(());
        }
        let user = self.declare(&mut guard, dmabuf, newcomer)?;
        // The driver may have unbound since the device was read, also before this buffer last
        // checked its declarations.
        let is_over =
            |user: &User<Client>| user.data.declared.as_ref().is_none_or(Declared::is_over);
        if guard.users.get(&user).is_none_or(is_over) {
            self.dismiss(&mut guard, &user);
            return Err(ENODEV);
        }
        Ok(())
    }

    fn declare(
        &self,
        guard: &mut Guard<'_, State>,
        dmabuf: &DmaBuf,
        newcomer: Newcomer<Client>,
    ) -> Result<Arc<Attachment>> {
        let user = self.admit(guard, dmabuf, newcomer)?;
        trace::declare(self.id, guard.users.get(&user));
        Ok(user)
    }
}

/// A device that is declared, and what was read of it.
struct Declaration {
    device: ARef<Device>,
    needs: Needs,
    kept: Kept,
}

impl Declaration {
    /// Reads `device`, for which `room` was made. `ENODEV` if it does no DMA.
    fn new(room: Room, device: &Device<Bound>, constraints: &Constraints) -> Result<Self> {
        Ok(Self {
            device: (&**device).into(),
            needs: device::needs_with(device, constraints).ok_or(ENODEV)?,
            kept: room.keep(device)?,
        })
    }
}

/// Creates a user that is declared. A process may declare any number: they are charged to its
/// memory cgroup.
fn newcomer(needs: &Needs, declared: Declared) -> Result<Newcomer<Client>> {
    Newcomer::new(needs, Client::declared(declared), GFP_KERNEL_ACCOUNT)
}

/// Returns the declaration that `device`, which has `needs` now, can attach under.
pub(crate) fn of_device(
    users: &Users<Client>,
    device: &Device,
    needs: &Needs,
) -> Option<Arc<Attachment>> {
    users.find(|user| {
        let client = &user.data;
        let declared = client.declared.as_ref();
        client.attached.is_none()
            && declared.is_some_and(|declared| declared.is_of(device))
            // Its needs may have grown since it was declared.
            && user.needs().covers(needs)
    })
}

/// Returns the device of this name on the bus `bus`. `ENODEV`.
pub(crate) fn find_device(bus: &CStr, name: &CStr) -> Result<ARef<Device>> {
    // SAFETY: A `CStr` ends in NUL.
    let raw = unsafe { c::cenalloc_find_device(bus.as_char_ptr(), name.as_char_ptr()) };
    let raw = NonNull::new(raw).ok_or(ENODEV)?;
    // SAFETY: `cenalloc_find_device` returned a reference of its own. `Device` is a transparent
    // wrapper of `struct device`.
    Ok(unsafe { ARef::from_raw(raw.cast()) })
}
