// SPDX-License-Identifier: GPL-2.0

//! The dma-buf operations of a buffer: created, attached, given memory at its first use, mapped,
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
        Life,
        State,
        NEWEST, //
    },
    client::{
        Attached,
        Attachment,
        Client, //
    },
    declare,
    registry,
    trace, //
};
use core::ptr::NonNull;
use dma_buf_constraints::{
    attach::{
        Newcomer,
        Users, //
    },
    device,
    dma_buf::{
        DataDirection,
        DmaBuf,
        Exporter,
        Fault,
        Importer,
        MapError,
        Ops,
        Reservation,
        TableRef,
        Tables,
        Touched, //
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

/// The operations of every buffer.
static OPS: Ops<Buffer> = Ops::new();

impl Buffer {
    /// Creates a buffer of `len` bytes, rounded up to whole pages, without memory.
    ///
    /// `alignment` is that of the start of every segment, 0 or a power of two. `flags` are open
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
            name => Some(KBox::new(Name::new(name), GFP_KERNEL_ACCOUNT)?),
        };
        let listed = ListArc::pin_init(
            try_pin_init!(Self {
                id: NEWEST.fetch_add(1, Relaxed) + 1,
                name: kept_name,
                len,
                payer: Payer::current(),
                links <- ListLinks::new(),
                reservation <- Reservation::new(State::new(base, need.len)),
            }),
            GFP_KERNEL_ACCOUNT,
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

    /// Gives the buffer its memory now, for userspace. `ERESTARTSYS` where a signal comes first;
    /// otherwise fails as [`back`](Self::back).
    pub(crate) fn allocate(&self) -> Result {
        self.back(&mut *self.lock_interruptible()?, true)?;
        Ok(())
    }

    /// Gives the buffer memory unless it has some.
    ///
    /// `ENOMEM` where every allocator that fits is out of memory; `EINTR` where the process is
    /// being killed, if `killable`.
    fn back<'a>(&self, state: &'a mut State, killable: bool) -> Result<&'a Arc<Backing>> {
        if state.is_empty() {
            self.tidy(state);
            let need = Need {
                len: self.len,
                placement: state.users.combined().placement,
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

    /// Gives the buffer memory for an attached user. Fails as [`back`](Self::back), and with
    /// `ENODEV` where the device does no DMA.
    fn back_for(&self, state: &mut State, user: &Attachment) -> Result {
        let backed = if attached(&mut state.users, user)?.can_dma {
            self.back(state, true).map(|_| ())
        } else {
            Err(ENODEV)
        };
        // No map follows a pin that fails, so that this is traced here.
        backed.inspect_err(|error| {
            let user = state.users.get(user);
            trace::map(self.id, user, DataDirection::None, Err(*error));
        })
    }

    /// Maps the present memory for an attached user.
    fn map_backed(
        &self,
        state: &mut State,
        user: &Attachment,
        direction: DataDirection,
    ) -> Result<TableRef> {
        let State { users, life, .. } = state;
        let (Life::Backed(backing), Some((constraints, client))) = (life, users.parts(user)) else {
            return Err(ENODEV);
        };
        let tables = &mut client.attached.as_mut().ok_or(EINVAL)?.tables;
        // SAFETY: A backing has one range where it has no struct pages, and the clone keeps its
        // memory. Idle tables are dropped where the memory changes, in `relocate` and `take_back`,
        // and where the needs of a user do, in `judge`. The importer that asks for a mapping keeps
        // its device bound.
        let result =
            unsafe { tables.map(backing.pages(), backing.clone(), constraints, direction) };
        if result.is_ok() {
            backing.sync_for_device(tables.device(), direction);
        }
        if let Err(MapError::Bounced) = result {
            // SAFETY: The importer that asks for a mapping keeps its device bound until it
            // detaches.
            let bound = unsafe { tables.device().as_bound() };
            let conflict = Conflict {
                who: device::name(bound),
                misfit: Misfit {
                    field: Field::MaxAddress,
                    wanted: constraints.placement.max_address,
                    found: backing.ranges().first().map_or(0, |range| range.start),
                },
                with: Party::Bounce,
            };
            self.refuse(state, conflict, EIO);
        }
        let mapped = result.map_err(Error::from);
        trace::map(self.id, state.users.get(user), direction, mapped);
        mapped
    }
}

/// Returns what is kept for an attached user. The core passes only attached users.
fn attached<'a>(users: &'a mut Users<Client>, user: &Attachment) -> Result<&'a mut Attached> {
    users
        .get_mut(user)
        .and_then(|user| user.data.attached.as_mut())
        .ok_or(EINVAL)
}

// SAFETY: `reservation` returns a field of the buffer, and `create` exports a buffer once. `OPS` is
// of this module, which `module` returns. `map` returns tables of `Tables::map`, and `vmap` the
// address of a mapping that `State` keeps until `vunmap`.
unsafe impl Exporter for Buffer {
    type State = State;
    type Attachment = Attachment;

    fn ops() -> &'static Ops<Self> {
        &OPS
    }

    fn module() -> &'static ThisModule {
        this_module::<crate::LocalModule>()
    }

    fn reservation(&self) -> &Reservation<State> {
        &self.reservation
    }

    fn attach(&self, importer: &Importer<'_>) -> Result<Arc<Attachment>> {
        let device = importer.device();
        let needs = importer.needs();
        let can_dma = needs.is_some();
        let needs = needs.as_ref().unwrap_or(&Needs::NONE);
        let attached = Attached {
            tables: Tables::new(device.into()),
            can_dma,
            is_dynamic: importer.is_dynamic(),
            follows_moves: importer.follows_moves(),
            pins: 0,
        };
        let mut guard = self.lock_interruptible()?;
        let user = match declare::of_device(&guard.users, device, needs) {
            Some(user) => {
                if let Some(declared) = guard.users.get_mut(&user) {
                    declared.data.attached = Some(attached);
                }
                user
            }
            None => {
                let newcomer = match guard.users.take_spare() {
                    Some(spare) => {
                        let mut newcomer = spare.with(needs);
                        newcomer.user_mut().data.attached = Some(attached);
                        newcomer
                    }
                    None => Newcomer::new(needs, Client::attached(attached), GFP_KERNEL_ACCOUNT)?,
                };
                self.admit(&mut guard, importer.buffer(), newcomer)?
            }
        };
        trace::attach(self.id, guard.users.get(&user));
        Ok(user)
    }

    fn detach(&self, user: Arc<Attachment>) {
        let mut guard = self.lock();
        trace::detach(self.id, guard.users.get(&user));
        match guard.users.get_mut(&user) {
            Some(found) if found.data.declared.is_some() => found.data.attached = None,
            found => {
                if let Some(found) = found {
                    (found.data.attached, found.data.late_refusals) = (None, 0);
                }
                self.dismiss(&mut guard, &user);
                guard.users.keep_spare(user);
            }
        }
    }

    fn access_mask(&self, state: &State) -> u64 {
        state.users.combined().placement.access_mask
    }

    fn pin(&self, state: &mut State, user: &Attachment) -> Result {
        let found = attached(&mut state.users, user)?;
        let pins = found.pins.checked_add(1).ok_or(ENOMEM)?;
        // The core pins for a static importer before it maps; the map then gives the buffer memory.
        if found.is_dynamic {
            self.back_for(state, user)?;
        }
        attached(&mut state.users, user)?.pins = pins;
        Ok(())
    }

    fn unpin(&self, state: &mut State, user: &Attachment) {
        if let Ok(attached) = attached(&mut state.users, user) {
            attached.pins = attached.pins.saturating_sub(1);
        }
    }

    fn map(
        &self,
        state: &mut State,
        user: &Attachment,
        direction: DataDirection,
    ) -> Result<TableRef> {
        let was_empty = state.is_empty();
        self.back_for(state, user)?;
        let mapped = self.map_backed(state, user, direction);
        if was_empty && mapped.is_err() {
            state.take_back();
        }
        mapped
    }

    fn unmap(&self, state: &mut State, user: &Attachment, table: TableRef) {
        let State { users, life, .. } = state;
        let Ok(attached) = attached(users, user) else {
            return;
        };
        let is_current = |memory: &Arc<Backing>| match life {
            Life::Backed(backing) => Arc::ptr_eq(backing, memory),
            Life::Empty | Life::Gone => false,
        };
        drop(attached.tables.unmap(table, is_current));
        trace::unmap(self.id, users.get(user));
    }

    fn begin_cpu_access(&self, direction: DataDirection) -> Result {
        // The core waits as well, but only after this.
        self.reservation.wait_for_devices(direction)?;
        let guard = self.lock_interruptible()?;
        for user in guard.users.iter() {
            if let Some(attached) = &user.data.attached {
                attached.tables.sync_for_cpu();
            }
        }
        Ok(())
    }

    fn end_cpu_access(&self, _direction: DataDirection) -> Result {
        let guard = self.lock_interruptible()?;
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

    fn fault(&self, state: &mut State, fault: &Fault<'_>) -> Result<Touched> {
        match &state.life {
            Life::Empty => Ok(Touched::Unpopulated),
            // SAFETY: The backing is this buffer's. It is freed when the buffer is released, or by
            // `relocate`, which zaps the pages before.
            Life::Backed(backing) => unsafe { backing.fault(fault) },
            Life::Gone => Err(ENODEV),
        }
    }

    fn populate(&self, state: &mut State) -> Result {
        let backed = self.back(state, true).map(|_| ());
        state.touch_failed = backed.is_err();
        backed
    }

    fn has_failed(&self, state: &State) -> bool {
        state.touch_failed
    }

    fn vmap(&self, state: &mut State) -> Result<NonNull<c_void>> {
        // The core warns of an error, so that this goes on in a process that is being killed, as
        // far as the page allocator lets it.
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
        // Keeps the memory from being relocated.
        state.kernel_mapping = Some(mapping);
        Ok(address)
    }

    fn vunmap(&self, state: &mut State) {
        state.kernel_mapping = None;
    }

    fn release(&self) {
        registry::remove(self);
        trace::release(self.id, self.len);
        let mut guard = self.lock();
        let life = core::mem::replace(&mut guard.life, Life::Gone);
        // No device is attached and none can be declared any more; a reader of the list of buffers
        // may keep this one for longer.
        for user in guard.users.iter_mut() {
            user.data.declared = None;
        }
        drop(guard);
        // Frees the memory without the lock.
        drop(life);
    }
}
