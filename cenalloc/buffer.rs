// SPDX-License-Identifier: GPL-2.0

//! The life of a buffer: created without memory, narrowed by each user, given memory at its first
//! use, freed with its last reference.
//!
//! Which users may join, and when its memory is relocated for them, is in [`admit`](crate::admit).

use crate::{
    account::Payer,
    allocator::{
        self,
        Devices,
        Need, //
    },
    backing::{
        Backing,
        KernelAddress, //
    },
    client::{
        Attachment,
        Client, //
    },
};
use dma_buf_constraints::{
    attach::{
        User,
        Users, //
    },
    bound,
    dma_buf::{
        Guard,
        Reservation,
        Table, //
    },
    model::{
        Constraints,
        Name,
        Preferences,
        Refusal,
        Strength, //
    },
    waiters::Waiters,
};
use kernel::{
    list::{
        impl_list_arc_safe,
        impl_list_item,
        ListLinks, //
    },
    page::page_align,
    prelude::*,
    sync::{
        atomic::Atomic,
        Arc, //
    }, //
};

/// Whether a buffer has memory.
pub(crate) enum Life {
    /// Not yet: each user narrows what it may be.
    Empty,
    /// It has.
    Backed(Arc<Backing>),
    /// Not any more, since the last reference is gone.
    Gone,
}

/// What drivers know of a buffer's memory.
#[derive(Default)]
pub(crate) struct Exposed {
    /// Whether a driver knows where the memory lies: it stays there from then on.
    pub(crate) told: bool,
    /// The table that lists it.
    pub(crate) table: Option<Pin<KBox<Table>>>,
}

/// What the reservation lock protects.
pub(crate) struct State {
    pub(crate) users: Users<Client>,
    pub(crate) life: Life,
    /// The kernel's own address, while it is in use.
    pub(crate) kernel_mapping: Option<KernelAddress>,
    /// What drivers know of where the memory lies.
    pub(crate) exposed: Exposed,
    /// Whether the last fault that needed memory found none.
    pub(crate) touch_failed: bool,
    /// Whether one range was sought in vain, since users prefer it, instead of the present memory,
    /// or no allocator could ever give it.
    pub(crate) sought: bool,
    /// [`bound::let_go`] when declarations were last checked.
    let_go: usize,
    /// How many users were refused that could have joined before the buffer had memory.
    pub(crate) late_refusals: u32,
    /// How often the memory was relocated.
    pub(crate) relocations: u32,
    /// How many refusals there were.
    pub(crate) refusals: u64,
    /// The last refusal, which is rare and large; empty without.
    pub(crate) refusal: KVVec<Refusal>,
    /// The last importer that left at once, and how many segments it had mapped.
    pub(crate) left: Option<(Name, u32)>,
    /// Who waits until those let go that hold the memory; [`None`] where nobody ever did.
    pub(crate) waiters: Option<Arc<Waiters>>,
}

impl State {
    /// Creates the state of a buffer of `len` bytes with the constraints `base`: without memory and
    /// users.
    pub(crate) fn new(base: Constraints, len: u64) -> Self {
        Self {
            users: Users::new(base, len),
            life: Life::Empty,
            kernel_mapping: None,
            exposed: Exposed::default(),
            touch_failed: false,
            sought: false,
            let_go: bound::let_go(),
            late_refusals: 0,
            relocations: 0,
            refusals: 0,
            refusal: KVVec::new(),
            left: None,
            waiters: None,
        }
    }

    /// Records that a driver knows where the memory lies: to wait for it to move is in vain.
    pub(crate) fn expose(&mut self) {
        self.exposed.told = true;
        self.wake();
    }

    /// Returns whether there is no memory yet.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.life, Life::Empty)
    }

    /// Frees the memory that was allocated for a use that then failed, so that the failure changes
    /// nothing.
    pub(crate) fn take_back(&mut self) {
        self.forget_tables();
        self.life = Life::Empty;
    }

    /// Returns whether there is memory that does not meet `preferences`.
    pub(crate) fn does_not_meet(&self, preferences: Preferences) -> bool {
        match &self.life {
            Life::Backed(backing) => preferences.unmet(backing.ranges()),
            Life::Empty | Life::Gone => false,
        }
    }

    /// Returns how many wait for who held the memory.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiters.as_ref().map_or(0, |waiters| waiters.count())
    }

    /// Wakes those that wait for who held the memory.
    pub(crate) fn wake(&self) {
        if let Some(waiters) = &self.waiters {
            waiters.wake();
        }
    }

    /// Drops idle tables, since memory or needs have changed.
    pub(crate) fn forget_tables(&mut self) {
        for user in self.users.iter_mut() {
            if let Some(attached) = &mut user.data.attached {
                attached.tables.forget();
            }
        }
    }
}

/// One buffer.
#[pin_data]
pub(crate) struct Buffer {
    pub(crate) id: u64,
    /// In bytes, whole pages.
    pub(crate) len: u64,
    pub(crate) payer: Payer,
    #[pin]
    pub(crate) links: ListLinks,
    #[pin]
    pub(crate) reservation: Reservation<State>,
}

impl_list_arc_safe! {
    impl ListArcSafe<0> for Buffer { untracked; }
}

impl_list_item! {
    impl ListItem<0> for Buffer { using ListLinks { self.links }; }
}

/// The number of the newest buffer.
pub(crate) static NEWEST: Atomic<u64> = Atomic::new(0);

/// Rounds `len` up to a length that a buffer can have: whole pages, not 0, and within the size of a
/// file. `EINVAL`.
pub(crate) fn whole_pages(len: u64) -> Result<usize> {
    let len = usize::try_from(len).map_err(|_| EINVAL)?;
    match page_align(len) {
        Some(len) if len != 0 && i64::try_from(len).is_ok() => Ok(len),
        _ => Err(EINVAL),
    }
}

impl Buffer {
    /// Takes the buffer's lock.
    pub(crate) fn lock(&self) -> Guard<'_, State> {
        self.tidied(self.reservation.lock())
    }

    /// Takes the buffer's lock for a call of a driver. `EINTR` where the process is being killed.
    pub(crate) fn lock_killable(&self) -> Result<Guard<'_, State>> {
        Ok(self.tidied(self.reservation.lock_killable()?))
    }

    /// Takes the buffer's lock for a call of userspace, which can be restarted. `ERESTARTSYS` where
    /// a signal comes first.
    pub(crate) fn lock_interruptible(&self) -> Result<Guard<'_, State>> {
        Ok(self.tidied(self.reservation.lock_interruptible()?))
    }

    fn tidied<'a>(&self, mut guard: Guard<'a, State>) -> Guard<'a, State> {
        self.tidy(&mut guard);
        guard
    }

    /// Removes the declarations of devices whose drivers have unbound since: an unbind does not
    /// wait for the buffer's lock.
    pub(crate) fn tidy(&self, state: &mut State) {
        let let_go = bound::let_go();
        if state.let_go != let_go {
            state.let_go = let_go;
            let is_empty = state.is_empty();
            let goes = |user: &mut User<Client>| {
                let declared = &mut user.data.declared;
                let is_over = declared.take_if(|declared| declared.is_over()).is_some();
                // A device that attached under its declaration stays a user.
                is_over && user.data.attached.is_none()
            };
            let could = |users: &_, meet: &_| is_empty && self.could(users, meet);
            state.users.release_all(goes, could);
        }
    }

    /// Removes `user`.
    pub(crate) fn dismiss(&self, state: &mut State, user: &Attachment) {
        let is_empty = state.is_empty();
        let could = |users: &_, meet: &_| is_empty && self.could(users, meet);
        state.users.release(user, could);
    }

    /// Returns whether an allocator could satisfy all users if they need `meet` together.
    fn could(&self, users: &Users<Client>, meet: &Constraints) -> bool {
        allocator::any_could(&self.need(meet), &Devices::of(users)).is_ok()
    }

    /// Returns the need of the buffer if all users need `meet` together.
    pub(crate) fn need(&self, meet: &Constraints) -> Need {
        Need {
            len: self.len,
            placement: meet.placement,
            killable: true,
            preference: Strength::None,
        }
    }
}
