// SPDX-License-Identifier: GPL-2.0

//! The structures of `/dev/cenalloc`, and their conversion to and from those of the model.
//!
//! They are generated from
//! [`include/uapi/linux/cenalloc.h`](srctree/include/uapi/linux/cenalloc.h), which documents them.

use crate::c;
use core::mem::offset_of;
use dma_buf_constraints::{
    device,
    model::{
        Constraints,
        Refusal, //
    }, //
};
use kernel::{
    build_assert::static_assert,
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    }, //
};

// The layout is fixed for ever, and the same for 32-bit and 64-bit callers.
static_assert!(size_of::<c::cenalloc_constraints>() == 48);
static_assert!(size_of::<c::cenalloc_refusal>() == 264);
static_assert!(size_of::<c::cenalloc_create>() == 72);
static_assert!(size_of::<c::cenalloc_allocator_info>() == 88);
static_assert!(size_of::<c::cenalloc_allocators>() == 16);
static_assert!(size_of::<c::cenalloc_declare>() == 424);
static_assert!(size_of::<c::cenalloc_allocate>() == 272);
static_assert!(size_of::<c::cenalloc_test>() == 360);
static_assert!(size_of::<c::cenalloc_user>() == 176);
static_assert!(size_of::<c::cenalloc_query>() == 544);

static_assert!(size_of::<c::cenalloc_declare_head>() == offset_of!(c::cenalloc_declare, refusal));
static_assert!(size_of::<c::cenalloc_allocate_head>() == offset_of!(c::cenalloc_allocate, refusal));

macro_rules! plain {
    ($($name:ident),* $(,)?) => { $(
        // SAFETY: The structure is of integers and arrays of integers, for which any bits are
        // valid.
        unsafe impl FromBytes for c::$name {}
        // SAFETY: The sizes that are asserted above are the sums of those of the fields, so that
        // there is no padding.
        unsafe impl AsBytes for c::$name {}
        // SAFETY: The structure is of integers and arrays of integers, for which zero is valid.
        unsafe impl Zeroable for c::$name {}
    )* };
}

plain!(
    cenalloc_refusal,
    cenalloc_create,
    cenalloc_allocator_info,
    cenalloc_allocators,
    cenalloc_declare_head,
    cenalloc_allocate_head,
    cenalloc_test,
    cenalloc_user,
    cenalloc_query,
);

dma_buf_constraints::zero_is_any!(c::cenalloc_constraints, flags);

/// Reads constraints of userspace. `EINVAL` where a field makes no sense.
pub(crate) fn read_constraints(raw: &c::cenalloc_constraints) -> Result<Constraints> {
    let constraints = raw.into();
    let has_unknown = u32::from(raw.flags) & !c::CENALLOC_NEEDS_COHERENT != 0;
    if has_unknown || device::invalid(&constraints).is_some() {
        return Err(EINVAL);
    }
    Ok(constraints)
}

/// Returns the flags that are set.
pub(crate) fn flags(all: &[(bool, u32)]) -> u32 {
    let set = all.iter().filter(|(is_set, _)| *is_set);
    set.fold(0, |flags, (_, flag)| flags | flag)
}

/// Reads a name of userspace: the bytes before its NUL. `EINVAL` where there is no NUL, or a byte
/// is not printable or is a quotation mark, which messages put around names.
pub(crate) fn read_name(name: &[u8]) -> Result<&[u8]> {
    let len = name.iter().position(|byte| *byte == 0).ok_or(EINVAL)?;
    let name = &name[..len];
    let is_allowed = |byte: &u8| matches!(*byte, b' '..=b'~') && !matches!(*byte, b'"' | b'\'');
    if !name.iter().all(is_allowed) {
        return Err(EINVAL);
    }
    Ok(name)
}

/// Writes a refusal for userspace to `raw`, without addresses where the caller may not learn them.
pub(crate) fn tell(refusal: &Refusal, raw: &mut c::cenalloc_refusal) {
    tell_all(refusal, raw);
    if refusal.has_address() && !may_see_addresses() {
        raw.found = 0;
    }
}

/// Writes a refusal as it is to `raw`.
pub(crate) fn tell_all(refusal: &Refusal, raw: &mut c::cenalloc_refusal) {
    raw.cause = refusal.cause as u32;
    raw.field = refusal.field.map_or(0, |field| field as u32);
    raw.wanted = refusal.wanted;
    raw.found = refusal.found;
    raw.who = refusal.who.padded();
    raw.other = refusal.other.padded();
    raw.behind = refusal.behind.padded();
    raw.holder = refusal.holder.map_or(0, |holder| holder as u32);
    raw.holders = refusal.holders;
    raw.sequence = refusal.sequence;
    raw.when = refusal.when;
    raw.len = refusal.len;
    raw.max_address = refusal.max_address;
    raw.classes = refusal.classes;
}

/// Returns whether the caller may learn where memory lies, as from the page map of a process.
pub(crate) fn may_see_addresses() -> bool {
    // SAFETY: No requirements.
    unsafe { kernel::bindings::capable_noaudit(kernel::bindings::CAP_SYS_ADMIN as i32) }
}
