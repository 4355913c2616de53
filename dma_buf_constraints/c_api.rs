// SPDX-License-Identifier: GPL-2.0

//! The interface for C: declarations of drivers, and the set of users for exporters in C.
//!
//! Documented in [`include/linux/dma-buf-constraints.h`].
//!
//! [`include/linux/dma-buf-constraints.h`]: srctree/include/linux/dma-buf-constraints.h

use crate::{
    attach::{
        Proposal,
        Slot,
        Users, //
    },
    c,
    device::{
        self,
        BoundDevice, //
    },
    model::{
        Conflict,
        Constraints,
        Field,
        Misfit,
        Name,
        Needs,
        Party,
        ZeroIsAny, //
    },
};
use core::fmt::{
    self,
    Write, //
};
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::from_result,
    prelude::*, //
};

pub use c::dma_buf_constraints;

/// `struct dma_buf_constraints_set`: each user keeps its device.
type Set = Users<BoundDevice>;

/// Reads constraints that a C caller wrote.
impl From<&c::dma_buf_constraints> for Constraints {
    fn from(raw: &c::dma_buf_constraints) -> Self {
        ZeroIsAny {
            access_mask: raw.access_mask,
            max_address: raw.max_address,
            max_segment_size: raw.max_segment_size,
            segment_boundary_mask: raw.segment_boundary_mask,
            alignment: raw.alignment,
            max_segments: raw.max_segments,
            priority: raw.priority,
            coherent: raw.coherent,
        }
        .into()
    }
}

/// Writes constraints for a C caller.
impl From<&Constraints> for c::dma_buf_constraints {
    fn from(constraints: &Constraints) -> Self {
        let raw = ZeroIsAny::from(constraints);
        Self {
            access_mask: raw.access_mask,
            max_address: raw.max_address,
            max_segment_size: raw.max_segment_size,
            segment_boundary_mask: raw.segment_boundary_mask,
            alignment: raw.alignment,
            max_segments: raw.max_segments,
            priority: raw.priority,
            coherent: raw.coherent,
        }
    }
}

/// The constraints behind a pointer that may be NULL.
///
/// # Safety
///
/// `raw` is NULL or points to valid constraints.
unsafe fn read(raw: *const c::dma_buf_constraints) -> Constraints {
    // SAFETY: The caller's promise.
    match unsafe { raw.as_ref() } {
        Some(raw) => raw.into(),
        None => Constraints::ANY,
    }
}

/// A device of a C caller.
///
/// # Safety
///
/// `dev` is a device whose driver is bound, and does not unbind for `'a`.
unsafe fn bound<'a>(dev: *mut bindings::device) -> &'a Device<Bound> {
    // SAFETY: The caller's promise.
    let device: &Device = unsafe { Device::from_raw(dev) };
    // SAFETY: The caller's promise.
    unsafe { device.as_bound() }
}

/// # Safety
///
/// As in the header: `dev` is a device whose driver is bound and does not unbind meanwhile,
/// `constraints` is NULL or valid.
#[no_mangle]
unsafe extern "C" fn dma_buf_constraints_declare(
    dev: *mut bindings::device,
    constraints: *const c::dma_buf_constraints,
) -> c_int {
    // SAFETY: The caller's promise.
    let (device, constraints) = unsafe { (bound(dev), read(constraints)) };
    from_result(|| device::declare(device, &constraints).map(|()| 0))
}

/// # Safety
///
/// As in the header: `dev` is a device whose driver is bound and does not unbind meanwhile,
/// `constraints` is to be filled in.
#[no_mangle]
unsafe extern "C" fn dma_buf_constraints_query(
    dev: *mut bindings::device,
    constraints: *mut c::dma_buf_constraints,
) {
    // SAFETY: The caller's promise.
    let needs = device::needs(unsafe { bound(dev) }).unwrap_or(Needs::NONE);
    // SAFETY: The caller's promise.
    unsafe { constraints.write(needs.effective().into()) };
}

/// # Safety
///
/// As in the header: `base` is NULL or valid.
#[no_mangle]
unsafe extern "C" fn dma_buf_constraints_set_alloc(
    base: *const c::dma_buf_constraints,
    len: u64,
) -> *mut c::dma_buf_constraints_set {
    // SAFETY: The caller's promise.
    let base = unsafe { read(base) };
    if len == 0 || device::invalid(&base).is_some() {
        return EINVAL.to_ptr();
    }
    let base = device::needs_without_device(&base);
    match KBox::new(Set::new(*base.effective(), len), GFP_KERNEL) {
        Ok(set) => KBox::into_raw(set).cast(),
        Err(_) => ENOMEM.to_ptr(),
    }
}

/// # Safety
///
/// As in the header: `set` is NULL, or a set that is not used any more.
#[no_mangle]
unsafe extern "C" fn dma_buf_constraints_set_free(set: *mut c::dma_buf_constraints_set) {
    if !set.is_null() {
        // SAFETY: A set is the box that `dma_buf_constraints_set_alloc` gave away.
        drop(unsafe { KBox::from_raw(set.cast::<Set>()) });
    }
}

/// # Safety
///
/// As in the header: `set` is a set that nobody else uses now, `dev` a device whose driver is bound
/// and does not unbind as long as it is in the set, `conflict` NULL or to be filled in.
#[no_mangle]
unsafe extern "C" fn dma_buf_constraints_admit(
    set: *mut c::dma_buf_constraints_set,
    dev: *mut bindings::device,
    conflict: *mut c::dma_buf_conflict,
) -> c_int {
    // SAFETY: The caller's promise.
    let (set, device) = unsafe { (&mut *set.cast::<Set>(), BoundDevice::new(bound(dev))) };
    let needs = device::needs(&device).unwrap_or(Needs::NONE);
    from_result(|| {
        // SAFETY: The caller's promise.
        let proposal = unsafe { consider(set, &device, &needs, conflict)? };
        let place = set.reserve(&needs, &device, GFP_KERNEL)?;
        let slot = set.commit(place, &proposal, device);
        Ok(slot.index() as c_int)
    })
}

/// # Safety
///
/// As in the header: `set` is a set that nobody changes now, `dev` a device whose driver is bound
/// and does not unbind meanwhile, `meet` to be filled in, `conflict` NULL or to be filled in.
#[no_mangle]
unsafe extern "C" fn dma_buf_constraints_consider(
    set: *const c::dma_buf_constraints_set,
    dev: *mut bindings::device,
    meet: *mut c::dma_buf_constraints,
    conflict: *mut c::dma_buf_conflict,
) -> c_int {
    // SAFETY: The caller's promise.
    let (set, device) = unsafe { (&*set.cast::<Set>(), BoundDevice::new(bound(dev))) };
    let needs = device::needs(&device).unwrap_or(Needs::NONE);
    from_result(|| {
        // SAFETY: The caller's promise.
        let proposal = unsafe { consider(set, &device, &needs, conflict)? };
        // SAFETY: The caller's promise.
        unsafe { meet.write(proposal.meet().into()) };
        Ok(0)
    })
}

/// What becomes of `set` with `device` in it, which has `needs`. `EINVAL`, with the reason in
/// `conflict`.
///
/// # Safety
///
/// `conflict` is NULL or to be filled in.
unsafe fn consider<'a>(
    set: &Set,
    device: &BoundDevice,
    needs: &'a Needs,
    conflict: *mut c::dma_buf_conflict,
) -> Result<Proposal<'a>> {
    set.consider(needs, device).map_err(|reason| {
        if !conflict.is_null() {
            // SAFETY: The caller's promise.
            unsafe { conflict.write((&reason).into()) };
        }
        EINVAL
    })
}

/// # Safety
///
/// As in the header: `set` is a set that nobody else uses now.
#[no_mangle]
unsafe extern "C" fn dma_buf_constraints_release(
    set: *mut c::dma_buf_constraints_set,
    handle: c_int,
) {
    // SAFETY: The caller's promise.
    let set = unsafe { &mut *set.cast::<Set>() };
    if let Ok(index) = u32::try_from(handle) {
        set.release(Slot::from_index(index));
    }
}

/// # Safety
///
/// As in the header: `set` is a set that nobody else uses now.
#[no_mangle]
unsafe extern "C" fn dma_buf_constraints_restore(set: *mut c::dma_buf_constraints_set) {
    // SAFETY: The caller's promise.
    let set = unsafe { &mut *set.cast::<Set>() };
    set.restore(|_, _| true);
}

/// # Safety
///
/// As in the header: `set` is a set that nobody changes now, `constraints` is to be filled in.
#[no_mangle]
unsafe extern "C" fn dma_buf_constraints_of(
    set: *const c::dma_buf_constraints_set,
    handle: c_int,
    constraints: *mut c::dma_buf_constraints,
) -> c_int {
    // SAFETY: The caller's promise.
    let set = unsafe { &*set.cast::<Set>() };
    let user = u32::try_from(handle).ok().map(Slot::from_index);
    let Some(user) = user.and_then(|slot| set.get(slot)) else {
        return EINVAL.to_errno();
    };
    // SAFETY: The caller's promise.
    unsafe { constraints.write(user.constraints().into()) };
    0
}

/// # Safety
///
/// As in the header: `set` is a set that nobody changes now, `meet` is to be filled in.
#[no_mangle]
unsafe extern "C" fn dma_buf_constraints_meet(
    set: *const c::dma_buf_constraints_set,
    meet: *mut c::dma_buf_constraints,
) {
    // SAFETY: The caller's promise.
    unsafe { meet.write((*set.cast::<Set>()).meet().into()) };
}

/// # Safety
///
/// As in the header: `conflict` is valid, `buf` has room for `size` bytes.
#[no_mangle]
unsafe extern "C" fn dma_buf_conflict_format(
    conflict: *const c::dma_buf_conflict,
    buf: *mut c_char,
    size: usize,
) -> usize {
    if size == 0 {
        return 0;
    }
    // SAFETY: The caller's promise; the room is zeroed before it is used as bytes.
    let (conflict, buf) = unsafe {
        buf.write_bytes(0, size);
        (&*conflict, core::slice::from_raw_parts_mut(buf, size))
    };
    let mut line = Line { buf, len: 0 };
    let result = match Conflict::try_from(conflict) {
        Ok(conflict) => write!(line, "{conflict}"),
        Err(_) => line.write_str("no conflict"),
    };
    // `Line` never fails: it cuts.
    debug_assert!(result.is_ok());
    line.finish()
}

/// A buffer that takes text as far as it fits, with room for a NUL.
struct Line<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl Line<'_> {
    fn finish(self) -> usize {
        if let Some(end) = self.buf.get_mut(self.len) {
            *end = 0;
        }
        self.len
    }
}

impl Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.buf.len() - 1 - self.len;
        let text = text.as_bytes();
        let text = &text[..text.len().min(room)];
        self.buf[self.len..][..text.len()].copy_from_slice(text);
        self.len += text.len();
        Ok(())
    }
}

/// A conflict of a set for a C caller.
impl From<&Conflict> for c::dma_buf_conflict {
    fn from(conflict: &Conflict) -> Self {
        let (with, other) = match &conflict.with {
            Party::Others => (c::DMA_BUF_CONFLICT_WITH_OTHERS, None),
            Party::Device(name) => (c::DMA_BUF_CONFLICT_WITH_USER, Some(name)),
            // A set knows of no allocators and no memory.
            _ => (c::DMA_BUF_CONFLICT_WITH_ITSELF, None),
        };
        Self {
            field: conflict.misfit.field as u32,
            with,
            wanted: conflict.misfit.wanted,
            found: conflict.misfit.found,
            who: text(Some(&conflict.who)),
            other: text(other),
        }
    }
}

/// A conflict that a C caller kept: only those of a set, which come from devices.
impl TryFrom<&c::dma_buf_conflict> for Conflict {
    type Error = Error;

    fn try_from(raw: &c::dma_buf_conflict) -> Result<Self> {
        let field = match raw.field {
            c::DMA_BUF_CONSTRAINTS_ACCESS_MASK => Field::AccessMask,
            c::DMA_BUF_CONSTRAINTS_MAX_ADDRESS => Field::MaxAddress,
            c::DMA_BUF_CONSTRAINTS_MAX_SEGMENTS => Field::MaxSegments,
            c::DMA_BUF_CONSTRAINTS_MAX_SEGMENT_SIZE => Field::MaxSegmentSize,
            c::DMA_BUF_CONSTRAINTS_SEGMENT_BOUNDARY => Field::SegmentBoundary,
            c::DMA_BUF_CONSTRAINTS_ALIGNMENT => Field::Alignment,
            c::DMA_BUF_CONSTRAINTS_COHERENT => Field::Coherent,
            _ => return Err(EINVAL),
        };
        Ok(Self {
            who: Name::new(&raw.who),
            misfit: Misfit {
                field,
                wanted: raw.wanted,
                found: raw.found,
            },
            with: match raw.with {
                c::DMA_BUF_CONFLICT_WITH_USER => Party::Device(Name::new(&raw.other)),
                c::DMA_BUF_CONFLICT_WITH_OTHERS => Party::Others,
                c::DMA_BUF_CONFLICT_WITH_ITSELF => Party::Itself,
                _ => return Err(EINVAL),
            },
        })
    }
}

/// A name as C keeps it: it ends in NUL, since [`Name::CAPACITY`] leaves room for one.
fn text(name: Option<&Name>) -> [c_char; c::DMA_BUF_CONSTRAINTS_NAME_LEN as usize] {
    let mut text = [0; c::DMA_BUF_CONSTRAINTS_NAME_LEN as usize];
    if let Some(name) = name {
        for (to, from) in text.iter_mut().zip(name.as_str().bytes()) {
            *to = from;
        }
    }
    text
}
