// SPDX-License-Identifier: GPL-2.0

//! Constraints that the administrator writes for devices, whose drivers do not declare them.
//!
//! A directory `/sys/kernel/config/dma_buf_constraints/<bus>:<device>/` with a file for each field.
//! It counts for the device of that name from its creation on, even if the device appears later.
//! `driver:<name>` counts for the devices that are bound to the driver of that name on any bus,
//! `module:<name>` for those of all drivers of a module. Buffers to which a device is attached
//! already keep the former constraints.

use crate::{
    c_api::dma_buf_constraints,
    device::invalid,
    model::{
        Constraints,
        Preferences, //
    }, //
};
use core::{
    convert::identity,
    iter,
    mem, //
};
use kernel::{
    configfs::{
        AttributeOperations,
        Group,
        GroupOperations,
        Subsystem, //
    },
    configfs_attrs,
    fmt::Write,
    page::PAGE_SIZE,
    prelude::*,
    str::Formatter,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// The longest names of a bus and of a device in policies and in the ABI of cenalloc, in bytes.
const LONGEST_BUS: usize = 31;
const LONGEST_DEVICE: usize = 63;

/// What stands in place of a bus in the policy of a driver, and of a module.
pub(crate) const DRIVER: &[u8] = b"driver";
pub(crate) const MODULE: &[u8] = b"module";

/// What the administrator has written in one directory.
#[derive(Clone, Copy)]
pub(crate) struct Written {
    values: dma_buf_constraints,
    /// What is preferred beyond that.
    prefers_contiguous: bool,
    /// Whether what is known of the driver counts, without a word of it.
    pub(crate) known_needs: bool,
}

impl Written {
    /// Nothing.
    fn nothing() -> Self {
        Self {
            values: dma_buf_constraints::default(),
            prefers_contiguous: false,
            known_needs: true,
        }
    }

    /// Returns the constraints; [`None`] without a value, which hides no ancestor.
    pub(crate) fn constraints(&self) -> Option<Constraints> {
        (self.values != dma_buf_constraints::default()).then(|| Constraints::from(&self.values))
    }

    /// Returns what is preferred beyond them.
    pub(crate) fn preferences(&self) -> Preferences {
        match self.prefers_contiguous {
            true => Preferences::STRONG,
            false => Preferences::NONE,
        }
    }
}

/// One directory.
struct Entry {
    /// `<bus>:<device>`.
    name: KVec<u8>,
    written: Written,
}

kernel::sync::global_lock! {
    /// All entries, which are few and searched one by one.
    // SAFETY: `init` runs in the module's initialiser, before anything can use the lock.
    unsafe(uninit) static ENTRIES: Mutex<KVec<Entry>> = KVec::new();
}

/// How many entries there are: on most systems none, and then the list is not searched.
static COUNT: Atomic<usize> = Atomic::new(0);

/// Initialises the lock. Called once, by the module's initialiser.
pub(crate) fn init() {
    // SAFETY: The module's initialiser calls this exactly once, before the directory exists and
    // before the module's symbols can be used.
    unsafe { ENTRIES.init() };
}

/// Returns whether there are no policies.
pub(crate) fn is_empty() -> bool {
    COUNT.load(Relaxed) == 0
}

/// Returns what is written for the device `device` on `bus`, or for what stands in their place.
pub(crate) fn of(bus: &[u8], device: &[u8]) -> Option<Written> {
    let entries = ENTRIES.lock();
    let mut entries = entries.iter();
    let entry = entries.find(|entry| {
        let rest = entry.name.strip_prefix(bus);
        rest.and_then(|rest| rest.strip_prefix(b":")) == Some(device)
    })?;
    Some(entry.written)
}

/// Creates the directory of all policies, which exists as long as this does.
pub(crate) fn directory() -> impl PinInit<Subsystem<Directory>, Error> {
    let item_type = configfs_attrs! {
        container: Subsystem<Directory>,
        data: Directory,
        child: Policy,
        attributes: [],
    };
    Subsystem::new(
        c"dma_buf_constraints",
        item_type,
        try_pin_init!(Directory {}),
    )
}

/// `/sys/kernel/config/dma_buf_constraints/`.
#[pin_data]
pub(crate) struct Directory {}

#[vtable]
impl GroupOperations for Directory {
    type Child = Policy;

    /// Creates a policy. `EINVAL` where the name has not the form `<bus>:<device>`, or is longer
    /// than that of any device.
    fn make_group(&self, name: &CStr) -> Result<impl PinInit<Group<Policy>, Error>> {
        let item_type = configfs_attrs! {
            container: Group<Policy>,
            data: Policy,
            attributes: [
                access_mask: 0,
                max_address: 1,
                max_segments: 2,
                max_segment_size: 3,
                segment_boundary_mask: 4,
                alignment: 5,
                priority: 6,
                coherent: 7,
                prefers_contiguous: 8,
                known_needs: 9,
            ],
        };
        let bytes = name.to_bytes();
        match bytes.iter().position(|byte| *byte == b':') {
            Some(colon)
                if (1..=LONGEST_BUS).contains(&colon)
                    && (1..=LONGEST_DEVICE).contains(&(bytes.len() - colon - 1)) => {}
            _ => return Err(EINVAL),
        }
        // Before the group, which does not undo itself where its contents fail.
        let policy = Policy::new(bytes)?;
        Ok(Group::new(name.try_into()?, item_type, Ok(policy)))
    }
}

/// One policy: its entry is removed when it is dropped.
pub(crate) struct Policy {
    name: KVec<u8>,
}

impl Policy {
    fn new(name: &[u8]) -> Result<Self> {
        let copy = || -> Result<KVec<u8>> {
            let mut copy = KVec::with_capacity(name.len(), GFP_KERNEL_ACCOUNT)?;
            copy.extend_from_slice(name, GFP_KERNEL_ACCOUNT)?;
            Ok(copy)
        };
        // configfs makes no two directories of one name.
        let entry = Entry {
            name: copy()?,
            written: Written::nothing(),
        };
        let policy = Self { name: copy()? };
        // Allocates without the lock, for which attaching devices wait. No other entry is added
        // meanwhile: configfs locks the directory.
        let mut larger = KVec::with_capacity(ENTRIES.lock().len() + 1, GFP_KERNEL_ACCOUNT)?;
        let mut entries = ENTRIES.lock();
        let old = mem::replace(&mut *entries, KVec::new());
        for entry in Iterator::chain(old.into_iter(), iter::once(entry)) {
            larger.push_within_capacity(entry).map_err(|_| ENOMEM)?;
        }
        *entries = larger;
        COUNT.fetch_add(1, Relaxed);
        Ok(policy)
    }

    /// Calls `act` with the entry of this policy.
    fn with<R>(&self, act: impl FnOnce(&mut Entry) -> R) -> Result<R> {
        let mut entries = ENTRIES.lock();
        let entry = entries
            .iter_mut()
            .find(|entry| *entry.name == *self.name)
            .ok_or(ENOENT)?;
        Ok(act(entry))
    }

    /// Changes the values if the result makes sense; otherwise `EINVAL`.
    fn change(&self, change: impl FnOnce(&mut dma_buf_constraints)) -> Result {
        self.with(|entry| {
            let mut changed = entry.written.values;
            change(&mut changed);
            if invalid(&Constraints::from(&changed)).is_some() {
                return Err(EINVAL);
            }
            entry.written.values = changed;
            Ok(())
        })?
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        let mut entries = ENTRIES.lock();
        let index = entries.iter().position(|entry| *entry.name == *self.name);
        if let Some(index) = index {
            drop(entries.remove(index));
            if entries.is_empty() {
                // A static is never dropped, so that it must not hold memory when the module is
                // unloaded.
                *entries = KVec::new();
            }
            COUNT.fetch_sub(1, Relaxed);
        }
    }
}

/// Parses a number of a file: decimal, or hexadecimal behind `0x`.
fn parse(page: &[u8]) -> Result<u64> {
    let text = core::str::from_utf8(page).map_err(|_| EINVAL)?.trim();
    match text.strip_prefix("0x") {
        // `from_str_radix` would take a sign.
        Some(digits) if digits.starts_with('+') => Err(EINVAL),
        Some(digits) => u64::from_str_radix(digits, 16).map_err(|_| EINVAL),
        None if text.starts_with('+') => Err(EINVAL),
        None => text.parse().map_err(|_| EINVAL),
    }
}

/// Reads a flag of a file: 0 or 1.
fn flag(value: u64) -> Result<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(EINVAL),
    }
}

macro_rules! attribute {
    ($id:literal, $field:ident, $format:literal) => {
        attribute!($id, $field, $format, identity, TryInto::try_into);
    };
    ($id:literal, $field:ident, $format:literal, $to_number:expr, $from_number:expr) => {
        #[vtable]
        impl AttributeOperations<$id> for Policy {
            type Data = Policy;

            fn show(policy: &Policy, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
                let value = policy.with(|entry| $to_number(entry.written.values.$field))?;
                let mut writer = Formatter::new(page);
                writeln!(writer, $format, value).map_err(|_| EIO)?;
                Ok(writer.bytes_written())
            }

            fn store(policy: &Policy, page: &[u8]) -> Result {
                let value = $from_number(parse(page)?).map_err(|_| EINVAL)?;
                policy.change(|values| values.$field = value)
            }
        }
    };
}

attribute!(0, access_mask, "{:#x}");
attribute!(1, max_address, "{:#x}");
attribute!(2, max_segments, "{}");
attribute!(3, max_segment_size, "{}");
attribute!(4, segment_boundary_mask, "{:#x}");
attribute!(5, alignment, "{}");
attribute!(6, priority, "{}");
attribute!(7, coherent, "{}", u8::from, flag);

macro_rules! switch {
    ($id:literal, $field:ident) => {
        #[vtable]
        impl AttributeOperations<$id> for Policy {
            type Data = Policy;

            fn show(policy: &Policy, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
                let value = policy.with(|entry| u8::from(entry.written.$field))?;
                let mut writer = Formatter::new(page);
                writeln!(writer, "{value}").map_err(|_| EIO)?;
                Ok(writer.bytes_written())
            }

            fn store(policy: &Policy, page: &[u8]) -> Result {
                let value = flag(parse(page)?)?;
                policy.with(|entry| entry.written.$field = value)
            }
        }
    };
}

switch!(8, prefers_contiguous);
switch!(9, known_needs);
