// SPDX-License-Identifier: GPL-2.0

//! The life of a buffer: created without memory, narrowed by each user, given memory at its first
//! use, freed with its last reference.
//!
//! Who may join it, and when its memory moves for them, is in [`admit`](crate::admit).

use crate::{
    account::Payer,
    backing::{
        Backing,
        KernelAddress, //
    },
    client::Client, //
};
use dma_buf_constraints::{
    attach::Users,
    dma_buf::{
        Guard,
        Reservation,
        Table, //
    },
    model::{
        Conflict,
        Name, //
    },
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
        Arc,
        ArcBorrow, //
    }, //
};

/// Whether a buffer has memory.
pub(crate) enum Life {
    /// Not yet: users narrow what it may be.
    Empty,
    /// It has.
    Backed(Arc<Backing>),
    /// Not any more: the last reference is gone.
    Gone,
}

/// What drivers were told of a buffer's memory.
#[derive(Default)]
pub(crate) struct Exposed {
    /// Whether anything: it does not move any more.
    pub(crate) told: bool,
    /// The table that lists it.
    pub(crate) table: Option<KBox<Table>>,
}

impl Exposed {
    /// Whether anything was told.
    pub(crate) fn is_told(&self) -> bool {
        self.told
    }
}

/// What the reservation lock protects.
pub(crate) struct State {
    pub(crate) users: Users<Client>,
    pub(crate) life: Life,
    /// The kernel's own address, while somebody has it.
    pub(crate) kernel_mapping: Option<KernelAddress>,
    /// What drivers were told of where the memory lies.
    pub(crate) exposed: Exposed,
    /// Sections of CPU access that are open.
    pub(crate) cpu_sections: u32,
    /// How often a user was refused that could have taken part before the buffer had memory.
    pub(crate) early: u32,
    /// How often the memory moved.
    pub(crate) relocations: u32,
    /// The last refusal, which is rare and large.
    pub(crate) conflict: Option<KBox<Conflict>>,
}

impl State {
    /// Whether there is no memory yet.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.life, Life::Empty)
    }

    /// Frees the memory that was taken for a use that then failed: it changes nothing.
    pub(crate) fn take_back(&mut self) {
        self.forget_tables();
        self.life = Life::Empty;
    }

    /// Lets tables be made anew: memory or needs have changed.
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
    pub(crate) name: Option<KBox<Name>>,
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

/// A length that a buffer can have: whole pages, not 0, and no more than a file's size can tell.
/// `EINVAL`.
pub(crate) fn whole_pages(len: u64) -> Result<usize> {
    let len = usize::try_from(len).map_err(|_| EINVAL)?;
    match page_align(len) {
        Some(len) if len != 0 && i64::try_from(len).is_ok() => Ok(len),
        _ => Err(EINVAL),
    }
}

impl Buffer {
    /// The name that its creator gave it, or none.
    pub(crate) fn name(&self) -> &str {
        self.name.as_ref().map_or("", |name| name.as_str())
    }

    /// A counted reference to the buffer.
    pub(crate) fn counted(&self) -> Arc<Self> {
        // SAFETY: Every buffer is in an `Arc`: `create` makes them.
        unsafe { ArcBorrow::from_raw(self) }.into()
    }

    /// Takes the buffer's lock.
    pub(crate) fn lock(&self) -> Guard<'_, State> {
        self.reservation.lock()
    }
}
