// SPDX-License-Identifier: GPL-2.0

//! What the dma-buf core asks of a buffer: made, attached, given memory at its first use, mapped,
//! touched, released.

use crate::{
    account::Payer,
    allocator::{
        self,
        Devices,
        Need, //
    },
    backing::{
        self,
        Backing,
        KernelAddress, //
    },
    buffer::{
        whole_pages,
        Buffer,
        Exposed,
        Life,
        State,
        NEWEST, //
    },
    client::{
        Attached,
        Client, //
    },
    declare,
    registry,
    trace, //
};
use core::{
    any::Any,
    ptr::NonNull, //
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
    dma_buf::{
        DataDirection,
        DmaBuf,
        Exporter,
        Fault,
        HeadRef,
        Held,
        Importer,
        MapError,
        Reservation,
        TableRef,
        Tables, //
    },
    model::{
        Conflict,
        Constraints,
        Field,
        Misfit,
        Name,
        Needs,
        Party,
        Placement, //
    },
};
use kernel::{
    list::{
        ListArc,
        ListLinks, //
    },
    module::this_module,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        atomic::Relaxed,
        Arc, //
    }, //
};

impl Buffer {
    /// Makes a buffer of `len` bytes, rounded up to whole pages, without memory.
    ///
    /// `alignment` is that of every piece of its memory, 0 or a power of two. `flags` are open
    /// flags, of which the access mode counts. A name that is not empty shows in fdinfo.
    ///
    /// `EINVAL` for a length or an alignment that makes no sense or that no allocator could ever
    /// provide; `ENOMEM`.
    pub(crate) fn create(
        len: u64,
        alignment: u64,
        flags: u32,
        name: &[u8],
    ) -> Result<ARef<DmaBuf>> {
        let size = whole_pages(len)?;
        let len = size as u64;
        if !alignment.max(1).is_power_of_two() {
            return Err(EINVAL);
        }
        let base = Constraints {
            placement: Placement {
                alignment: alignment.max(1),
                ..Placement::ANY
            },
            ..Constraints::ANY
        };
        let need = Need {
            len,
            placement: base.placement,
            killable: true,
        };
        allocator::any_could(&need, &Devices::NONE).map_err(|_| EINVAL)?;

        let kept_name = match name {
            [] => None,
            name => Some(KBox::new(Name::new(name), GFP_KERNEL)?),
        };
        let listed = ListArc::pin_init(
            try_pin_init!(Self {
                id: NEWEST.fetch_add(1, Relaxed) + 1,
                name: kept_name,
                len,
                payer: Payer::current(),
                links <- ListLinks::new(),
                reservation <- Reservation::new(State {
                    users: Users::new(base, need.len),
                    life: Life::Empty,
                    kernel_mapping: None,
                    exposed: Exposed::default(),
                    cpu_sections: 0,
                    early: 0,
                    relocations: 0,
                    conflict: None,
                }),
            }),
            GFP_KERNEL,
        )?;
        let dmabuf = DmaBuf::export(listed.clone_arc(), size, flags, c"cenalloc")?;
        trace::create(
            listed.id,
            listed.name(),
            listed.len,
            base.placement.alignment,
        );
        registry::add(listed);
        if !name.is_empty() {
            let name = CString::try_from_fmt(fmt!("{}", core::str::from_utf8(name)?))?;
            dmabuf.set_name(&name)?;
        }
        Ok(dmabuf)
    }

    /// Gives the buffer its memory now, for userspace. `EINTR` where a signal comes first,
    /// otherwise as [`back`](Self::back).
    pub(crate) fn allocate(&self) -> Result {
        self.back(&mut *self.reservation.lock_interruptible()?, true)?;
        Ok(())
    }

    /// Makes sure that the buffer has memory.
    ///
    /// `ENOMEM` where every allocator that fits is out of it; if `killable`, `EINTR` where the
    /// process is being killed.
    fn back<'a>(&self, state: &'a mut State, killable: bool) -> Result<&'a Arc<Backing>> {
        if state.is_empty() {
            let need = Need {
                len: self.len,
                placement: state.users.meet().placement,
                killable,
            };
            let users = &state.users;
            let fits = |backing: &Backing| users.misfit(&backing.memory()).is_none();
            let devices = Devices::of(users);
            let backing = self
                .payer
                .charge(|| backing::provide(&need, &devices, fits));
            trace::allocate(self.id, self.len, &backing);
            state.life = Life::Backed(backing?);
        }
        match &state.life {
            Life::Backed(backing) => Ok(backing),
            Life::Empty | Life::Gone => Err(ENODEV),
        }
    }

    /// As [`back`](Self::back), for the attached user in `slot`. `ENODEV` where it does no DMA.
    fn back_for(&self, state: &mut State, slot: Slot) -> Result {
        let backed = if attached(&mut state.users, slot)?.can_dma {
            self.back(state, true).map(|_| ())
        } else {
            Err(ENODEV)
        };
        // No map follows a pin that fails.
        backed.inspect_err(|error| {
            trace::map(
                self.id,
                &state.users,
                slot,
                DataDirection::None,
                Err(*error),
            );
        })
    }

    /// Maps the memory that there is for the attached user in `slot`.
    fn map_backed(
        &self,
        state: &mut State,
        slot: Slot,
        direction: DataDirection,
    ) -> Result<TableRef> {
        let State { users, life, .. } = state;
        let (Life::Backed(backing), Some(user)) = (life, users.get_mut(slot)) else {
            return Err(ENODEV);
        };
        let (constraints, client) = user.parts();
        let tables = &mut client.attached.as_mut().ok_or(EINVAL)?.tables;
        // SAFETY: The backing tells the truth of its memory, and is kept by the clone. Tables are
        // told to forget it where it changes, in `relocate` and `take_back`, and where what a user
        // needs does, in `admit`.
        let result =
            unsafe { tables.map(backing.pages(), backing.clone(), constraints, direction) };
        if result.is_ok() {
            backing.sync_for_device(tables.device(), direction);
        }
        if let Err(MapError::Bounced) = result {
            let conflict = Conflict {
                who: device::name(tables.device()),
                misfit: Misfit {
                    field: Field::MaxAddress,
                    wanted: constraints.placement.max_address,
                    found: backing.runs().first().map_or(0, |run| run.start),
                },
                with: Party::Bounce,
            };
            self.refuse(state, conflict, EIO);
        }
        let mapped = result.map_err(Error::from);
        trace::map(self.id, &state.users, slot, direction, mapped);
        mapped
    }
}

/// The attached user in `slot`. The core calls with attached users alone.
fn attached(users: &mut Users<Client>, slot: Slot) -> Result<&mut Attached> {
    users
        .get_mut(slot)
        .and_then(|user| user.data.attached.as_mut())
        .ok_or(EINVAL)
}

// SAFETY: The reservation is a field of the buffer.
unsafe impl Exporter for Buffer {
    fn reservation(&self) -> HeadRef<'_> {
        self.reservation.head()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn module(&self) -> &'static ThisModule {
        this_module::<crate::LocalModule>()
    }

    fn attach(&self, importer: &Importer<'_>) -> Result<Slot> {
        let device = importer.device();
        let needs = device::needs(device);
        // SAFETY: Until it detaches, the importer keeps its device bound. The tables go with that.
        let bound = unsafe { BoundDevice::new(device) };
        let attached = Attached {
            tables: Tables::new(bound),
            can_dma: needs.is_some(),
            is_dynamic: importer.is_dynamic(),
            follows_moves: importer.follows_moves(),
            pins: 0,
        };
        let needs = needs.as_ref().unwrap_or(&Needs::NONE);
        let mut guard = self.lock();
        if let Some(slot) = declare::of_device(&guard.users, device, needs) {
            if let Some(user) = guard.users.get_mut(slot) {
                user.data.attached = Some(attached);
                trace::attach(self.id, &guard.users, slot);
                return Ok(slot);
            }
        }
        let client = Client::attached(attached);
        let slot = self.admit(&mut guard, importer.buffer(), needs, client)?;
        trace::attach(self.id, &guard.users, slot);
        Ok(slot)
    }

    fn detach(&self, slot: Slot) {
        let mut guard = self.lock();
        trace::detach(self.id, &guard.users, slot);
        match guard.users.get_mut(slot) {
            Some(user) if user.data.declared.is_some() => user.data.attached = None,
            _ => self.dismiss(&mut guard, slot),
        }
    }

    fn access_mask(&self, held: &mut Held<'_>) -> u64 {
        let users = &self.reservation.state(held).users;
        users.meet().placement.access_mask
    }

    fn pin(&self, held: &mut Held<'_>, slot: Slot) -> Result {
        let state = self.reservation.state(held);
        let user = attached(&mut state.users, slot)?;
        let pins = user.pins.checked_add(1).ok_or(ENOMEM)?;
        // For a static importer the core pins before it maps: the map is what takes memory.
        if user.is_dynamic {
            self.back_for(state, slot)?;
        }
        attached(&mut state.users, slot)?.pins = pins;
        Ok(())
    }

    fn unpin(&self, held: &mut Held<'_>, slot: Slot) {
        if let Ok(attached) = attached(&mut self.reservation.state(held).users, slot) {
            attached.pins = attached.pins.saturating_sub(1);
        }
    }

    fn map(&self, held: &mut Held<'_>, slot: Slot, direction: DataDirection) -> Result<TableRef> {
        let state = self.reservation.state(held);
        let was_empty = state.is_empty();
        self.back_for(state, slot)?;
        let mapped = self.map_backed(state, slot, direction);
        if was_empty && mapped.is_err() {
            state.take_back();
        }
        mapped
    }

    fn unmap(&self, held: &mut Held<'_>, slot: Slot, table: TableRef) {
        let State { users, life, .. } = self.reservation.state(held);
        let Ok(attached) = attached(users, slot) else {
            return;
        };
        let is_current = |memory: &Arc<Backing>| match life {
            Life::Backed(backing) => Arc::ptr_eq(backing, memory),
            Life::Empty | Life::Gone => false,
        };
        drop(attached.tables.unmap(table, is_current));
        trace::unmap(self.id, users, slot);
    }

    fn begin_cpu_access(&self, direction: DataDirection) -> Result {
        // The core waits, too, but only after this: for a section that it then fails to open, there
        // would be no end.
        self.reservation.wait_for_devices(direction)?;
        let mut guard = self.lock();
        guard.cpu_sections = guard.cpu_sections.saturating_add(1);
        for user in guard.users.iter() {
            if let Some(attached) = &user.data.attached {
                attached.tables.sync_for_cpu();
            }
        }
        Ok(())
    }

    fn end_cpu_access(&self, _direction: DataDirection) -> Result {
        let mut guard = self.lock();
        guard.cpu_sections = guard.cpu_sections.saturating_sub(1);
        for user in guard.users.iter() {
            if let Some(attached) = &user.data.attached {
                attached
                    .tables
                    .sync_for_device(|memory, device, direction| {
                        memory.sync_for_device(device, direction);
                    });
            }
        }
        Ok(())
    }

    fn fault(&self, held: &mut Held<'_>, fault: &Fault<'_>) -> Result {
        let backing = self.back(self.reservation.state(held), true)?;
        // SAFETY: The backing is this buffer's. It is freed when the buffer is released, or when
        // `relocate` has zapped what userspace sees of it.
        unsafe { backing.fault(fault) }
    }

    fn vmap(&self, held: &mut Held<'_>) -> Result<NonNull<c_void>> {
        let state = self.reservation.state(held);
        // The core warns of an error: here a process that is being killed goes on, as far as the
        // page allocator lets it.
        let was_empty = state.is_empty();
        let mapping = match KernelAddress::new(self.back(state, false)?.clone()) {
            Ok(mapping) => mapping,
            Err(error) => {
                if was_empty {
                    state.take_back();
                }
                return Err(error);
            }
        };
        let address = mapping.get();
        // While it is there, the memory does not move.
        state.kernel_mapping = Some(mapping);
        Ok(address)
    }

    fn vunmap(&self, held: &mut Held<'_>) {
        self.reservation.state(held).kernel_mapping = None;
    }

    fn release(&self) {
        registry::remove(self);
        trace::release(self.id, self.len);
        let mut guard = self.lock();
        let life = core::mem::replace(&mut guard.life, Life::Gone);
        // Nobody is attached any more, and nobody can declare: what else there is goes with the
        // last reference, which can be an entry's of a device.
        declare::forget(self, &mut guard.users);
        drop(guard);
        // Memory is freed without the lock.
        drop(life);
    }
}
