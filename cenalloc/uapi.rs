// SPDX-License-Identifier: GPL-2.0

//! The structures of `/dev/cenalloc`, and their conversion to and from those of the model.
//!
//! They are generated from
//! [`include/uapi/linux/cenalloc.h`](srctree/include/uapi/linux/cenalloc.h), which documents them.

use crate::c;
use dma_buf_constraints::{
    device,
    model::{
        Constraints,
        Party, //
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
static_assert!(size_of::<c::cenalloc_create>() == 64);
static_assert!(size_of::<c::cenalloc_allocator_info>() == 64);
static_assert!(size_of::<c::cenalloc_allocators>() == 16);
static_assert!(size_of::<c::cenalloc_constraints>() == 48);
static_assert!(size_of::<c::cenalloc_declare>() == 152);
static_assert!(size_of::<c::cenalloc_allocate>() == 8);
static_assert!(size_of::<c::cenalloc_test>() == 120);
static_assert!(size_of::<c::cenalloc_user>() == 120);
static_assert!(size_of::<c::cenalloc_query>() == 296);

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
    cenalloc_create,
    cenalloc_allocator_info,
    cenalloc_allocators,
    cenalloc_declare,
    cenalloc_allocate,
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

/// Writes constraints for userspace.
pub(crate) fn constraints(constraints: &Constraints) -> c::cenalloc_constraints {
    constraints.into()
}

/// Writes `text` for userspace, cut to what fits with a NUL behind it.
pub(crate) fn name<const N: usize>(text: &str) -> [u8; N] {
    let mut name = [0; N];
    for (to, from) in name[..N - 1].iter_mut().zip(text.bytes()) {
        *to = from;
    }
    name
}

/// Reads a name of userspace: the bytes before its NUL. `EINVAL` where there is no NUL, or a byte
/// is not printable or is a quotation mark, which messages put around names.
pub(crate) fn read_name(name: &[u8]) -> Result<&[u8]> {
    let len = name.iter().position(|byte| *byte == 0).ok_or(EINVAL)?;
    let name = &name[..len];
    let is_allowed = |byte: &u8| (byte.is_ascii_graphic() || *byte == b' ') && *byte != b'"';
    if !name.iter().all(is_allowed) {
        return Err(EINVAL);
    }
    Ok(name)
}

/// Returns what a refused user conflicts with, as a `CENALLOC_WITH_*`, and its name, which may be
/// empty.
pub(crate) fn party(with: &Party) -> (u32, &str) {
    let (with, name) = match with {
        Party::Device(name) => (c::CENALLOC_WITH_USER, Some(name)),
        Party::Others => (c::CENALLOC_WITH_OTHERS, None),
        Party::Itself => (c::CENALLOC_WITH_ITSELF, None),
        Party::Allocator(name, _) => (c::CENALLOC_WITH_ALLOCATOR, Some(name)),
        Party::Memory(name) => (c::CENALLOC_WITH_MEMORY, name.as_ref()),
        Party::Bounce => (c::CENALLOC_WITH_BOUNCE, None),
    };
    (with, name.map_or("", |name| name.as_str()))
}
