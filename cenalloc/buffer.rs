// SPDX-License-Identifier: GPL-2.0

//! The life of a buffer: created without memory, narrowed by each device that attaches, given
//! memory at its first use, freed with its last reference.

use crate::{
    allocator::{
        self,
        Need, //
    },
    backing::Backing,
    c,
    registry, //
};
use core::ptr::NonNull;
use dma_buf_constraints::{
    attach::{
        Proposal,
        Slot,
        User,
        Users, //
    },
    device,
    dma_buf::{
        DataDirection,
        DmaBuf,
        Exporter,
        Fault,
        Guard,
        HeadRef,
        Held,
        Importer,
        KernelMapping,
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
        Party,
        Placement, //
    },
};
use kernel::{
    module::this_module,
    page::{
        page_align,
        PAGE_SIZE, //
    },
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

/// Whether a buffer has memory.
pub(crate) enum Life {
    /// Not yet: users narrow what it may be.
    Empty,
    /// It has; users have to take it as it is.
    Backed(Backing),
    /// Not any more: the last reference is gone.
    Gone,
}

/// What is kept for an attached device.
pub(crate) struct Attached {
    tables: Tables,
    /// A device without a DMA mask cannot map.
    can_dma: bool,
}

impl Attached {
    /// Whether the device has the buffer mapped.
    pub(crate) fn is_mapped(&self) -> bool {
        self.tables.is_mapped()
    }
}

/// What the reservation lock protects.
pub(crate) struct State {
    pub(crate) users: Users<Attached>,
    pub(crate) life: Life,
    /// The kernel's own address, while somebody has it.
    kernel_mapping: Option<KernelMapping>,
    /// How often a device was refused that could have taken part before the buffer had memory.
    pub(crate) early: u32,
    /// The last refusal.
    pub(crate) conflict: Option<Conflict>,
}

/// One buffer.
#[pin_data]
pub(crate) struct Buffer {
    pub(crate) id: u64,
    pub(crate) name: Name,
    /// In bytes, whole pages.
    pub(crate) len: u64,
    #[pin]
    reservation: Reservation<State>,
}

/// The number of the newest buffer.
static NEWEST: Atomic<u64> = Atomic::new(0);

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
        let size = usize::try_from(len).map_err(|_| EINVAL)?;
        let size = page_align(size).ok_or(EINVAL)?;
        let len = size as u64;
        if len == 0 || !alignment.max(1).is_power_of_two() {
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
        };
        allocator::any_could(&need).map_err(|_| EINVAL)?;

        let buffer = Arc::pin_init(
            pin_init!(Self {
                id: NEWEST.fetch_add(1, Relaxed) + 1,
                name: Name::new(name),
                len,
                reservation <- Reservation::new(State {
                    users: Users::new(base, need.len),
                    life: Life::Empty,
                    kernel_mapping: None,
                    early: 0,
                    conflict: None,
                }),
            }),
            GFP_KERNEL,
        )?;
        let entry = registry::Entry::new(buffer.clone())?;
        let dmabuf = DmaBuf::export(
            buffer,
            size,
            flags,
            c"cenalloc",
            this_module::<crate::LocalModule>(),
        )?;
        entry.list();
        if !name.is_empty() {
            let name = CString::try_from_fmt(fmt!("{}", core::str::from_utf8(name)?))?;
            dmabuf.set_name(&name)?;
        }
        Ok(dmabuf)
    }

    /// Takes the buffer's lock.
    pub(crate) fn lock(&self) -> Guard<'_, State> {
        self.reservation.lock()
    }

    /// Whether `user` can join, by the needs of all and by what allocators or memory give.
    ///
    /// `EINVAL` where it never could; `EBUSY` where it could have before the buffer had memory.
    #[expect(
        clippy::result_large_err,
        reason = "a refusal is rare, and must not fail for want of memory"
    )]
    fn admit(
        &self,
        state: &State,
        user: User<Attached>,
    ) -> Result<Proposal<Attached>, (Error, Conflict)> {
        if let Life::Backed(backing) = &state.life {
            if let Some(misfit) = user
                .constraints()
                .misfit(&backing.memory(), PAGE_SIZE as u64)
            {
                let conflict = Conflict {
                    who: *user.name(),
                    misfit,
                    with: Party::Memory(mapped_by(state)),
                };
                return Err((EBUSY, conflict));
            }
        }
        let proposal = state
            .users
            .consider(user)
            .map_err(|reason| (EINVAL, reason))?;
        if let Life::Empty = &state.life {
            let need = Need {
                len: self.len,
                placement: proposal.meet().placement,
            };
            if let Err(unserved) = allocator::any_could(&need) {
                return Err((EINVAL, unserved_conflict(state, &proposal, unserved)));
            }
        }
        Ok(proposal)
    }

    /// Remembers and tells why somebody was refused.
    fn refuse(&self, state: &mut State, conflict: Conflict) {
        registry::set_last_conflict(self.id, conflict);
        state.conflict = Some(conflict);
        // SAFETY: No requirements.
        if unsafe { c::cenalloc_may_log() } {
            pr_info!("buffer {}: {}\n", self.id, conflict);
        }
    }

    /// Makes sure that the buffer has memory.
    ///
    /// `ENOMEM` where every allocator that fits is out of it; `EINTR` where the process is being
    /// killed.
    fn back<'a>(&self, state: &'a mut State) -> Result<&'a Backing> {
        if let Life::Empty = state.life {
            let need = Need {
                len: self.len,
                placement: state.users.meet().placement,
            };
            let users = &state.users;
            let fits = |backing: &Backing| users.misfit(&backing.memory()).is_none();
            state.life = Life::Backed(allocator::provide(&need, fits)?);
        }
        match &state.life {
            Life::Backed(backing) => Ok(backing),
            Life::Empty | Life::Gone => Err(ENODEV),
        }
    }
}

/// A user that has the buffer mapped.
fn mapped_by(state: &State) -> Option<Name> {
    state
        .users
        .iter()
        .find(|user| user.data.is_mapped())
        .map(|user| *user.name())
}

/// The conflict of a newcomer with what allocators can give, when nobody else is against it.
fn unserved_conflict(
    state: &State,
    proposal: &Proposal<Attached>,
    unserved: allocator::Unserved,
) -> Conflict {
    let allocator = Name::new(unserved.allocator.name().as_bytes());
    let Misfit { field, .. } = unserved.misfit;
    // The newcomer may have brought the class alone, and somebody else the need that this class
    // of memory cannot satisfy.
    let newcomer = proposal.constraints().placement;
    let brought_it = newcomer.meet(&state.users.meet().placement) == newcomer
        || !matches!(field, Field::AccessMask) && binds(&newcomer, unserved.misfit);
    let behind = if brought_it {
        None
    } else {
        state.users.binding(field).map(|user| *user.name())
    };
    Conflict {
        who: *proposal.name(),
        misfit: unserved.misfit,
        with: Party::Allocator(allocator, behind),
    }
}

/// Whether it is `placement` that wants what `misfit` tells.
fn binds(placement: &Placement, misfit: Misfit) -> bool {
    match misfit.field {
        Field::AccessMask => placement.access_mask == misfit.wanted,
        Field::MaxAddress => placement.max_address == misfit.wanted,
        Field::MaxSegments => u64::from(placement.max_segments) == misfit.wanted,
        Field::Alignment => placement.alignment == misfit.wanted,
        Field::MaxSegmentSize | Field::SegmentBoundary => false,
    }
}

// SAFETY: The reservation is a field of the buffer.
unsafe impl Exporter for Buffer {
    fn reservation(&self) -> HeadRef<'_> {
        self.reservation.head()
    }

    fn attach(&self, importer: &Importer<'_>) -> Result<Slot> {
        let device = importer.device();
        let needs = device::needs(device);
        let attached = Attached {
            tables: Tables::new(device),
            can_dma: needs.can_dma,
        };
        let user = User::new(device::name(device), needs.constraints, attached);
        let mut state = self.lock();
        match self.admit(&state, user) {
            Ok(proposal) => state.users.commit(proposal),
            Err((error, conflict)) => {
                if error == EBUSY {
                    state.early = state.early.saturating_add(1);
                }
                self.refuse(&mut state, conflict);
                Err(error)
            }
        }
    }

    fn detach(&self, slot: Slot) {
        let user = self.lock().users.release(slot);
        // Its tables are freed without the lock.
        drop(user);
    }

    fn map(&self, held: &mut Held<'_>, slot: Slot, direction: DataDirection) -> Result<TableRef> {
        let state = self.reservation.state(held);
        let user = state.users.get_mut(slot).ok_or(EINVAL)?;
        if !user.data.can_dma {
            return Err(ENODEV);
        }
        self.back(state)?;
        let (Life::Backed(backing), Some(user)) = (&state.life, state.users.get_mut(slot)) else {
            return Err(ENODEV);
        };
        let cut = user
            .constraints()
            .cut(PAGE_SIZE as u64)
            .map_err(|_| EINVAL)?;
        let name = *user.name();
        let result = user.data.tables.map(backing.runs(), &cut, direction);
        if let Err(error) = &result {
            if *error == EIO {
                let conflict = Conflict {
                    who: name,
                    misfit: Misfit {
                        field: Field::MaxAddress,
                        wanted: user.constraints().placement.max_address,
                        found: backing.runs().first().map_or(0, |run| run.start),
                    },
                    with: Party::Bounce,
                };
                self.refuse(state, conflict);
            }
        }
        result
    }

    fn unmap(&self, held: &mut Held<'_>, slot: Slot, table: TableRef) {
        if let Some(user) = self.reservation.state(held).users.get_mut(slot) {
            user.data.tables.unmap(table);
        }
    }

    fn begin_cpu_access(&self, _direction: DataDirection) -> Result {
        for user in self.lock().users.iter() {
            user.data.tables.sync_for_cpu();
        }
        Ok(())
    }

    fn end_cpu_access(&self, _direction: DataDirection) -> Result {
        for user in self.lock().users.iter() {
            user.data.tables.sync_for_device();
        }
        Ok(())
    }

    fn fault(&self, held: &mut Held<'_>, fault: &Fault<'_>) -> Result {
        let backing = self.back(self.reservation.state(held))?;
        let (runs, offset) = backing.runs_from(fault.offset()).ok_or(EFAULT)?;
        fault.fill(runs, offset)
    }

    fn vmap(&self, held: &mut Held<'_>) -> Result<NonNull<c_void>> {
        let state = self.reservation.state(held);
        let mapping = KernelMapping::new(self.back(state)?.runs())?;
        let address = mapping.address();
        state.kernel_mapping = Some(mapping);
        Ok(address)
    }

    fn vunmap(&self, held: &mut Held<'_>) {
        self.reservation.state(held).kernel_mapping = None;
    }

    fn release(&self) {
        registry::remove(self.id);
        let life = core::mem::replace(&mut self.lock().life, Life::Gone);
        // Memory is freed without the lock.
        drop(life);
    }
}
