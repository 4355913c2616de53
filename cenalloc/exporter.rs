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
    c,
    client::{
        self,
        Attached,
        Attachment,
        Client,
        Visit, //
    },
    declare,
    registry,
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
    dma_buf::{
        DataDirection,
        DmaBuf,
        Exporter,
        Fault,
        Guard,
        Importer,
        MapError,
        Ops,
        Reservation,
        TableRef,
        Tables,
        Touched, //
    },
    model::{
        Cause,
        Constraints,
        Field,
        Name,
        Needs,
        Placement,
        Preferences,
        Refusal,
        Strength, //
    },
};
use kernel::{
    list::{
        ListArc,
        ListLinks, //
    },
    module::this_module,
    prelude::*,
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
    /// flags, of which the access mode counts. A name that is not empty becomes that of the
    /// dma-buf.
    ///
    /// `EINVAL` for a length or an alignment that makes no sense or that no allocator could ever
    /// provide, or for a name that is too long; `ENOMEM`.
    pub(crate) fn create(
        len: u64,
        alignment: u64,
        flags: u32,
        name: &[u8],
    ) -> Result<ARef<DmaBuf>> {
        let size = whole_pages(len)?;
        let len = size as u64;
        let is_named = name.len() < c::CENALLOC_NAME_LEN as usize;
        if !is_named || !alignment.max(1).is_power_of_two() {
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
            preference: Strength::None,
        };
        allocator::any_could(&need, &Devices::NONE).map_err(|_| EINVAL)?;

        let listed = ListArc::pin_init(
            try_pin_init!(Self {
                id: NEWEST.fetch_add(1, Relaxed) + 1,
                len,
                payer: Payer::current(),
                links <- ListLinks::new(),
                reservation <- Reservation::new(State::new(base, need.len)),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        let dmabuf = DmaBuf::export(listed.clone_arc(), size, flags, c"cenalloc")?;
        let shown = core::str::from_utf8(name)?;
        trace::create(listed.id, shown, listed.len, base.placement.alignment);
        registry::add(listed);
        if !name.is_empty() {
            dmabuf.set_name(name)?;
        }
        Ok(dmabuf)
    }

    /// Gives the buffer its memory now, for userspace. `ERESTARTSYS` where a signal comes first;
    /// otherwise fails as [`fill`](Self::fill).
    pub(crate) fn allocate(&self) -> Result<(), Refused> {
        self.fill(&mut *self.lock_interruptible()?, None, true)
    }

    /// Gives the buffer memory unless it has some. A refusal is recorded, as that of `user` if
    /// there is one.
    ///
    /// `EINTR` where the process is being killed, if `killable`; `ENODEV` for a buffer that was
    /// released.
    fn fill(
        &self,
        state: &mut State,
        user: Option<&Attachment>,
        killable: bool,
    ) -> Result<(), Refused> {
        match state.life {
            Life::Backed(_) => return Ok(()),
            Life::Gone => return Err(Refused::Failed(ENODEV)),
            Life::Empty => {}
        }
        self.tidy(state);
        let need = Need {
            killable,
            ..self.need(state.users.combined())
        };
        let users = &state.users;
        let is_preferred = || client::preferences(users) == Preferences::STRONG;
        let fits = |backing: &Backing| users.misfit(&backing.memory()).is_none();
        let devices = Devices::of(users);
        let mut sought = false;
        let backing = self
            .payer
            .charge(|| backing::provide(&need, is_preferred, &mut sought, &devices, fits));
        trace::allocate(self.id, self.len, &backing);
        match backing {
            Ok(backing) => {
                state.life = Life::Backed(backing);
                state.sought = sought;
                Ok(())
            }
            Err(none) => {
                let mut refused = none.refusal(&need);
                let user = user.and_then(|user| state.users.get(user));
                if let (Refused::Because(refusal), Some(user)) = (&mut refused, user) {
                    refusal.who = user.name();
                }
                Err(self.refuse(state, refused))
            }
        }
    }

    /// Gives the buffer memory for an attached user. Fails as [`fill`](Self::fill), and with
    /// `ENODEV` where the device does no DMA.
    fn back_for(&self, state: &mut State, user: &Attachment) -> Result {
        let can_dma = attached(&mut state.users, user)?.can_dma;
        if can_dma && !state.is_empty() {
            return Ok(());
        }
        let backed = match can_dma {
            true => self.fill(state, Some(user), true).map_err(Error::from),
            false => Err(ENODEV),
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
        let Attached { tables, visit, .. } = client.attached.as_mut().ok_or(EINVAL)?;
        // SAFETY: A backing has one range where it has no struct pages, and the clone keeps its
        // memory. Idle tables are dropped where the memory changes, in `relocate` and `take_back`,
        // and where the needs of a user do, in `judge`. The importer that asks for a mapping keeps
        // its device bound.
        let result =
            unsafe { tables.map(backing.pages(), backing.clone(), constraints, direction) };
        let cause = match &result {
            Ok(table) => {
                backing.sync_for_device(tables.device(), direction);
                // Memory that is one range was cut by the device's own limits.
                visit.map(|| match backing.ranges() {
                    [_] => 1,
                    _ => tables.segments(*table),
                });
                None
            }
            Err(MapError::Bounced) => Some(Cause::Bounced),
            Err(MapError::Addresses) => Some(Cause::Addresses),
            Err(MapError::Failed(_)) => None,
        };
        if let Some(cause) = cause {
            self.refuse_mapping(state, user, cause);
        }
        let mapped = result.map_err(Error::from);
        trace::map(self.id, state.users.get(user), direction, mapped);
        mapped
    }

    /// Records that the present memory could not be mapped for an attached user.
    #[cold]
    fn refuse_mapping(&self, state: &mut State, user: &Attachment, cause: Cause) {
        let (Life::Backed(backing), Some(user)) = (&state.life, state.users.get(user)) else {
            return;
        };
        let mut refusal = Refusal {
            who: user.name(),
            len: self.len,
            max_address: state.users.combined().placement.max_address,
            ..Refusal::new(cause)
        };
        if cause == Cause::Bounced {
            refusal.field = Some(Field::MaxAddress);
            refusal.wanted = state.users.constraints_of(user).placement.max_address;
            refusal.found = backing.ranges().first().map_or(0, |range| range.start);
        }
        self.refuse(state, Refused::Because(refusal));
    }
}

/// Returns the name of a user that detaches, and how many segments it had mapped, if it leaves at
/// once.
fn left_at_once(user: &User<Client>) -> Option<(Name, u32)> {
    let segments = user.data.attached.as_ref()?.visit.left_at_once()?;
    Some((user.name(), segments))
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
            visit: Visit::None,
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
                self.admit(&mut guard, newcomer)?
            }
        };
        trace::attach(self.id, guard.users.get(&user));
        Ok(user)
    }

    fn detach(&self, user: Arc<Attachment>) {
        let mut guard = self.lock();
        trace::detach(self.id, guard.users.get(&user));
        if let Some(left) = guard.users.get(&user).and_then(left_at_once) {
            guard.left = Some(left);
        }
        match guard.users.get_mut(&user) {
            Some(found) if found.data.declared.is_some() => found.data.attached = None,
            found => {
                if let Some(found) = found {
                    // The next is another user, and may be another device.
                    found.data = Client::none();
                }
                self.dismiss(&mut guard, &user);
                guard.users.keep_spare(user);
            }
        }
        guard.wake();
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
        state.wake();
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
        state.wake();
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
        let filled = self.fill(state, None, true);
        state.touch_failed = filled.is_err();
        Ok(filled?)
    }

    fn has_failed(&self, state: &State) -> bool {
        state.touch_failed
    }

    fn vmap(&self, state: &mut State) -> Result<NonNull<c_void>> {
        // The core warns of an error, so that this goes on in a process that is being killed, as
        // far as the page allocator lets it.
        let was_empty = state.is_empty();
        self.fill(state, None, false)?;
        let Life::Backed(backing) = &state.life else {
            return Err(ENODEV);
        };
        let mapping = match KernelAddress::new(backing.clone()) {
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
        state.wake();
    }

    fn release(&self, mut guard: Guard<'_, State>) {
        trace::release(self.id, self.len);
        let life = core::mem::replace(&mut guard.life, Life::Gone);
        // No device is attached and none can be declared any more; a reader of the list of buffers
        // may keep this one for longer.
        for user in guard.users.iter_mut() {
            user.data.declared = None;
        }
        drop(guard);
        registry::remove(self);
        // Frees the memory without the lock.
        drop(life);
    }
}
