// SPDX-License-Identifier: GPL-2.0

//! Users that are declared before they attach.
//!
//! A declared device is a user of the buffer until its driver unbinds.

use crate::{
    admit::Outcome,
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
        Refused,
        User,
        Users, //
    },
    bound::{
        BoundLock,
        Kept,
        Room, //
    },
    device,
    model::{
        Cause,
        Constraints,
        Holder,
        Name,
        Needs,
        Refusal, //
    },
    waiters::{
        Seen,
        Timeout,
        Waiters, //
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
    /// Narrows the buffer as if a user without a device had attached, waiting as
    /// [`declare`](Self::declare).
    pub(crate) fn declare_needs(
        &self,
        name: &[u8],
        constraints: &Constraints,
        timeout: Timeout,
    ) -> Result<(), Refused> {
        // No device has such a name, so that a program cannot pose as one.
        let name = match name {
            [] => Name::new(b"a program"),
            name => Name::of(&[b"program ", name]),
        };
        let needs = device::needs_without_device(constraints);
        let kept = KBox::new(name, GFP_KERNEL_ACCOUNT).map_err(Error::from);
        let newcomer = kept.and_then(|name| newcomer(&needs, Declared::Needs(name)));
        let newcomer = newcomer.map_err(|error| remembering(name, error))?;
        self.declare(newcomer, timeout, |_| None)
    }

    /// Narrows the buffer as if `device` had attached, with `constraints` in addition to its own
    /// needs, waiting as [`declare`](Self::declare).
    pub(crate) fn declare_device(
        &self,
        device: &Device,
        constraints: &Constraints,
        timeout: Timeout,
    ) -> Result<(), Refused> {
        let room = Room::new(device, GFP_KERNEL_ACCOUNT)
            .map_err(|error| remembering(device::name(device), error))?;
        // The device's lock is held only while the device is read, so that an unbind does not wait
        // for memory.
        let bound = BoundLock::new(device).map_err(|error| match error {
            ENODEV => absent(Cause::NoDriver, device),
            error => Refused::Failed(error),
        })?;
        let declaration = Declaration::new(room, &bound, constraints)?;
        drop(bound);
        self.declare_kept(declaration, timeout)
    }

    /// As [`declare_device`](Self::declare_device), for a driver that knows that the device is
    /// bound: also for its own device while that is probed, whose lock the core holds then.
    pub(crate) fn declare_bound(
        &self,
        device: &Device<Bound>,
        constraints: &Constraints,
    ) -> Result<(), Refused> {
        let room = Room::new(device, GFP_KERNEL_ACCOUNT)
            .map_err(|error| remembering(device::name(device), error))?;
        let declaration = Declaration::new(room, device, constraints)?;
        self.declare_kept(declaration, Timeout::NONE)
    }

    fn declare_kept(&self, declaration: Declaration, timeout: Timeout) -> Result<(), Refused> {
        let Declaration {
            device,
            needs,
            kept,
        } = declaration;
        let newcomer = newcomer(&needs, Declared::Device(kept))
            .map_err(|error| remembering(device::name(&device), error))?;
        self.declare(newcomer, timeout, |users| of_device(users, &device, &needs))
            .map_err(|refused| match refused {
                Refused::Failed(ENODEV) => absent(Cause::NoDriver, &device),
                refused => refused,
            })
    }

    /// Lets `newcomer` join, unless `known` finds that it has. Where others hold the memory, waits
    /// for `timeout` until the buffer can be relocated.
    ///
    /// `ENODEV` where it is a device whose driver has unbound; `ERESTARTSYS` where a signal comes
    /// first. A refusal is recorded.
    fn declare(
        &self,
        mut newcomer: Newcomer<Client>,
        timeout: Timeout,
        known: impl Fn(&Users<Client>) -> Option<Arc<Attachment>>,
    ) -> Result<(), Refused> {
        let deadline = timeout.begin();
        loop {
            let mut guard = self.reservation.lock_interruptible()?;
            // Who is woken again and again spends its time on the way to the lock.
            let left = deadline.left();
            // Before anything is looked at: a driver unbinds without the lock.
            let seen = match left.is_over() {
                true => None,
                false => {
                    let seen = self.seen(&mut guard);
                    Some(seen.map_err(|error| remembering(newcomer.user().name(), error))?)
                }
            };
            self.tidy(&mut guard);
            if known(&guard.users).is_some() {
                return Ok(());
            }
            // The driver may have unbound since the device was read, also before this buffer last
            // checked its declarations.
            let is_over =
                |user: &User<Client>| user.data.declared.as_ref().is_none_or(Declared::is_over);
            if is_over(newcomer.user()) {
                return Err(Refused::Failed(ENODEV));
            }
            let (back, refusal) = match self.settle(&mut guard, newcomer) {
                Ok(Outcome::Joined(user)) => {
                    if guard.users.get(&user).is_none_or(is_over) {
                        self.dismiss(&mut guard, &user);
                        return Err(Refused::Failed(ENODEV));
                    }
                    trace::declare(self.id, guard.users.get(&user));
                    return Ok(());
                }
                Ok(Outcome::TooLate(back, refusal)) => (back, refusal),
                Err(refused) => return Err(self.refuse(&mut guard, refused)),
            };
            match (seen, refusal.holder) {
                (None, _) | (_, Some(Holder::Address)) => {
                    return Err(self.refuse(&mut guard, Refused::Because(refusal)));
                }
                // Fences come last among holders: there is nobody else.
                (_, Some(Holder::Fence)) => {
                    drop(guard);
                    self.reservation.wait_idle(left)?;
                }
                (Some(seen), _) => {
                    drop(guard);
                    seen.wait(left)?;
                }
            }
            newcomer = back;
        }
    }

    /// Returns what a waiter for this buffer has seen so far. `ENOMEM`.
    fn seen(&self, state: &mut State) -> Result<Seen> {
        let waiters = match &state.waiters {
            Some(waiters) => waiters,
            None => state.waiters.insert(Waiters::new(GFP_KERNEL_ACCOUNT)?),
        };
        Ok(Waiters::seen(waiters))
    }
}

/// Returns the refusal of a user for an error that comes before the buffer is looked at.
fn remembering(who: Name, error: Error) -> Refused {
    match error {
        ENOMEM => Refused::Because(Refusal {
            who,
            ..Refusal::new(Cause::Bookkeeping)
        }),
        // It is on no bus.
        ENODEV => Refused::Because(Refusal {
            who,
            ..Refusal::new(Cause::NoBus)
        }),
        error => Refused::Failed(error),
    }
}

/// Returns the refusal of a device that cannot be declared.
fn absent(cause: Cause, device: &Device) -> Refused {
    Refused::Because(Refusal {
        who: device::name(device),
        ..Refusal::new(cause)
    })
}

/// A device that is declared, and what was read of it.
struct Declaration {
    device: ARef<Device>,
    needs: Needs,
    kept: Kept,
}

impl Declaration {
    /// Reads `device`, for which `room` was made.
    fn new(room: Room, device: &Device<Bound>, constraints: &Constraints) -> Result<Self, Refused> {
        let needs = device::needs_with(device, constraints);
        Ok(Self {
            device: (&**device).into(),
            needs: needs.ok_or_else(|| absent(Cause::NoDma, device))?,
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

/// Returns the device of this name on the bus `bus`.
///
/// # Errors
///
/// - [`Cause::NoBus`] if the kernel finds no devices by name on such a bus.
/// - [`Cause::NoDevice`] if there is no such device.
pub(crate) fn find_device(bus: &CStr, name: &CStr) -> Result<ARef<Device>, Refused> {
    let mut has_bus = false;
    // SAFETY: A `CStr` ends in NUL; the flag is a local variable.
    let raw =
        unsafe { c::cenalloc_find_device(bus.as_char_ptr(), name.as_char_ptr(), &mut has_bus) };
    let raw = NonNull::new(raw).ok_or_else(|| {
        let cause = match has_bus {
            true => Cause::NoDevice,
            false => Cause::NoBus,
        };
        Refused::Because(Refusal {
            who: Name::new(name.to_bytes()),
            other: Name::new(bus.to_bytes()),
            ..Refusal::new(cause)
        })
    })?;
    // SAFETY: `cenalloc_find_device` returned a reference of its own. `Device` is a transparent
    // wrapper of `struct device`.
    Ok(unsafe { ARef::from_raw(raw.cast()) })
}
