// SPDX-License-Identifier: GPL-2.0

//! One user of a buffer, as the buffer keeps it: a device that is attached, one that was declared,
//! or both.

use crate::{
    allocator::DeviceSet,
    backing::Backing, //
};
use dma_buf_constraints::{
    attach::{
        Identity,
        Member,
        User,
        Users, //
    },
    bound::Kept,
    device,
    dma_buf::Tables,
    model::Name, //
};
use kernel::{
    device::Device,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

/// What `attachment->priv` points to.
pub(crate) type Attachment = Member<User<Client>>;

/// A device that is attached.
pub(crate) struct Attached {
    pub(crate) tables: Tables<Arc<Backing>>,
    /// A device without a DMA mask cannot map.
    pub(crate) can_dma: bool,
    /// Whether it pins by itself, rather than by its map.
    pub(crate) is_dynamic: bool,
    /// Whether memory may move while it is mapped.
    pub(crate) follows_moves: bool,
    /// How often the importer has it pinned.
    pub(crate) pins: u32,
}

/// A user that was declared, and will attach later.
pub(crate) enum Declared {
    /// A device, remembered until its driver unbinds.
    Device(Kept),
    /// Needs without a device, with a name.
    Needs(KBox<Name>),
}

impl Declared {
    /// Whether it is the declaration of `device`.
    pub(crate) fn is_of(&self, device: &Device) -> bool {
        match self {
            Self::Device(kept) => kept.is_of(device),
            Self::Needs(_) => false,
        }
    }

    /// Whether it counts no longer: the driver of the device has unbound.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Device(kept) => kept.is_over(),
            Self::Needs(_) => false,
        }
    }
}

/// What is kept for a user.
pub(crate) struct Client {
    pub(crate) attached: Option<Attached>,
    pub(crate) declared: Option<Declared>,
    /// How many others were kept out because this one held the memory when they came.
    pub(crate) late_refusals: u32,
}

impl Client {
    /// A device that attaches.
    pub(crate) fn attached(attached: Attached) -> Self {
        Self {
            attached: Some(attached),
            declared: None,
            late_refusals: 0,
        }
    }

    /// A user that is declared.
    pub(crate) fn declared(declared: Declared) -> Self {
        Self {
            attached: None,
            declared: Some(declared),
            late_refusals: 0,
        }
    }

    /// The device, if the user is one.
    pub(crate) fn device(&self) -> Option<ARef<Device>> {
        match (&self.attached, &self.declared) {
            (Some(attached), _) => Some(attached.tables.device().into()),
            (None, Some(Declared::Device(kept))) => kept.device(),
            (None, Some(Declared::Needs(_)) | None) => None,
        }
    }

    /// Whether the user has the buffer mapped.
    pub(crate) fn is_mapped(&self) -> bool {
        self.attached
            .as_ref()
            .is_some_and(|attached| attached.tables.is_mapped())
    }

    /// Whether memory may not move now for this user: it is pinned, as it is while a static
    /// importer has it mapped.
    pub(crate) fn holds_memory(&self) -> bool {
        self.attached.as_ref().is_some_and(|attached| {
            attached.pins > 0 || attached.tables.is_mapped() && !attached.follows_moves
        })
    }
}

impl Identity for Client {
    fn name(&self) -> Name {
        match (self.device(), &self.declared) {
            (Some(device), _) => device::name(&device),
            (None, Some(Declared::Needs(name))) => **name,
            // The driver of a declared device has unbound just now.
            (None, _) => Name::new(b"a device without a driver"),
        }
    }
}

impl DeviceSet for Users<Client> {
    fn all(&self, is_so: &mut dyn FnMut(&Device) -> bool) -> bool {
        let mut devices = self.iter().filter_map(|user| user.data.device());
        devices.all(|device| is_so(&device))
    }
}
