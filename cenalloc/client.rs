// SPDX-License-Identifier: GPL-2.0

//! One user of a buffer, as the buffer keeps it: an attached device, a declared one, or both.

use crate::{
    allocator::DeviceSet,
    backing::Backing,
    c, //
};
use dma_buf_constraints::{
    attach::{
        Identity,
        Member,
        User,
        Users, //
    },
    bound::Kept,
    device::{
        self,
        Known,
        Seen, //
    },
    dma_buf::Tables,
    model::{
        Holder,
        Name,
        Preferences, //
    },
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

/// The attachment of a device.
pub(crate) struct Attached {
    pub(crate) tables: Tables<Arc<Backing>>,
    /// Whether the device has a DMA mask: without one it cannot map.
    pub(crate) can_dma: bool,
    /// Whether the importer is dynamic, and pins by itself rather than by its map.
    pub(crate) is_dynamic: bool,
    /// Whether memory may be relocated while the importer has it mapped.
    pub(crate) follows_moves: bool,
    /// How many times the importer has the memory pinned.
    pub(crate) pins: u32,
    /// The only mapping that there was, for the notice of those that leave at once.
    pub(crate) visit: Visit,
}

/// What an importer did so far.
#[derive(Clone, Copy)]
pub(crate) enum Visit {
    /// It never mapped.
    None,
    /// It mapped once: when, in the lower bits of jiffies, and how many segments there were.
    Once(u32, u32),
    /// It mapped more often.
    Often,
}

/// How soon an importer leaves that cannot use what it mapped, in milliseconds.
const AT_ONCE: u32 = 50;

/// Returns the lower bits of the time in jiffies.
fn now() -> u32 {
    // SAFETY: The kernel's clock may be read at any time.
    unsafe { (&raw const kernel::bindings::jiffies).read_volatile() as u32 }
}

impl Visit {
    /// Records a mapping.
    pub(crate) fn map(&mut self, segments: impl FnOnce() -> u32) {
        *self = match self {
            Self::None => Self::Once(now(), segments()),
            Self::Once(..) | Self::Often => Self::Often,
        };
    }

    /// Returns into how many segments the memory was mapped for an importer that detaches now, if
    /// it mapped several of them once, and just before.
    pub(crate) fn left_at_once(&self) -> Option<u32> {
        match *self {
            Self::Once(when, segments) if segments > 1 => {
                let passed = now().wrapping_sub(when) as usize;
                (passed <= kernel::time::msecs_to_jiffies(AT_ONCE)).then_some(segments)
            }
            _ => None,
        }
    }
}

/// The declaration of a user before it attaches.
pub(crate) enum Declared {
    /// A device, kept until its driver unbinds.
    Device(Kept),
    /// Needs without a device, with a name.
    Needs(KBox<Name>),
}

impl Declared {
    /// Returns whether it is the declaration of `device`.
    pub(crate) fn is_of(&self, device: &Device) -> bool {
        match self {
            Self::Device(kept) => kept.is_of(device),
            Self::Needs(_) => false,
        }
    }

    /// Returns whether it has ended, since the driver of the device has unbound.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Device(kept) => kept.is_over(),
            Self::Needs(_) => false,
        }
    }
}

/// What the buffer keeps for a user.
pub(crate) struct Client {
    pub(crate) attached: Option<Attached>,
    pub(crate) declared: Option<Declared>,
    /// How many late refusals there were while this user held the memory.
    pub(crate) late_refusals: u32,
    /// What was found out about the device.
    pub(crate) seen: Seen,
}

impl Client {
    /// Creates the client of nobody.
    pub(crate) const fn none() -> Self {
        Self {
            attached: None,
            declared: None,
            late_refusals: 0,
            seen: Seen::nothing(),
        }
    }

    /// Creates the client of a device that attaches.
    pub(crate) fn attached(attached: Attached) -> Self {
        Self {
            attached: Some(attached),
            ..Self::none()
        }
    }

    /// Creates the client of a user that is declared.
    pub(crate) fn declared(declared: Declared) -> Self {
        Self {
            declared: Some(declared),
            ..Self::none()
        }
    }

    /// Returns the device, if the user is one.
    pub(crate) fn device(&self) -> Option<ARef<Device>> {
        match (&self.attached, &self.declared) {
            (Some(attached), _) => Some(attached.tables.device().into()),
            (None, Some(Declared::Device(kept))) => kept.device(),
            (None, Some(Declared::Needs(_)) | None) => None,
        }
    }

    /// Returns whether the user has the buffer mapped.
    pub(crate) fn is_mapped(&self) -> bool {
        self.attached
            .as_ref()
            .is_some_and(|attached| attached.tables.is_mapped())
    }

    /// Returns how the user holds the memory where it is, if it does: a static importer by its
    /// mapping, a dynamic one by a pin.
    pub(crate) fn holder(&self) -> Option<Holder> {
        let attached = self.attached.as_ref()?;
        if attached.is_dynamic && attached.pins > 0 {
            return Some(Holder::Pin);
        }
        let is_held = attached.pins > 0 || attached.tables.is_mapped() && !attached.follows_moves;
        is_held.then_some(Holder::Mapping)
    }
}

/// Returns whether more can be known of what `user` prefers than what was declared.
fn may_prefer(user: &User<Client>) -> bool {
    let needs = user.needs();
    needs.preferring(Preferences::STRONG).preferences() != needs.preferences()
}

/// Tells from what it is known, without a word of anybody, that `user` prefers one range.
fn known(user: &User<Client>) -> Option<Known> {
    if !may_prefer(user) {
        return None;
    }
    user.data.seen.known(&*user.data.device()?)
}

/// From what it is known that a user prefers something, and of which module.
pub(crate) struct Origin {
    /// A source of the ABI.
    pub(crate) source: u32,
    /// Its name in debugfs.
    pub(crate) word: &'static str,
    pub(crate) module: Name,
}

/// Returns what `user` prefers, with what is known of it.
pub(crate) fn preferences_of(user: &User<Client>) -> Preferences {
    let said = user.needs().preferences();
    known(user).map_or(said, |_| Preferences::STRONG)
}

/// Returns what `user` prefers, with what is known of it, and from what that is known.
pub(crate) fn preferred(user: &User<Client>) -> (Preferences, Origin) {
    let said = user.needs().preferences();
    let known = known(user);
    let (source, word) = match known {
        Some(Known::Objects) => (c::CENALLOC_SOURCE_OBJECTS, "objects"),
        Some(Known::Table) => (c::CENALLOC_SOURCE_TABLE, "table"),
        None if said.is_some() => (c::CENALLOC_SOURCE_POLICY, "policy"),
        None => (c::CENALLOC_SOURCE_UNKNOWN, "-"),
    };
    let module = match (known, user.data.device()) {
        (Some(_), Some(device)) => device::module(&device),
        _ => Name::EMPTY,
    };
    let origin = Origin {
        source,
        word,
        module,
    };
    (known.map_or(said, |_| Preferences::STRONG), origin)
}

/// Returns what `users` prefer together, with what is known of them. It is slow.
pub(crate) fn preferences(users: &Users<Client>) -> Preferences {
    users
        .iter()
        .map(preferences_of)
        .fold(Preferences::NONE, Preferences::meet)
}

impl Identity for Client {
    fn name(&self) -> Name {
        match (self.device(), &self.declared) {
            (Some(device), _) => device::name(&device),
            (None, Some(Declared::Needs(name))) => **name,
            // The driver of a declared device has unbound meanwhile.
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
