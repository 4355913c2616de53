// SPDX-License-Identifier: GPL-2.0

//! The interface for C: declarations of drivers, and the set of users for exporters in C.
//!
//! Documented in [`include/linux/dma-buf-constraints.h`].
//!
//! [`include/linux/dma-buf-constraints.h`]: srctree/include/linux/dma-buf-constraints.h

use crate::{
    attach::{
        Identity,
        Member,
        Newcomer,
        Refused,
        User,
        Users, //
    },
    c, device,
    dma_buf::{
        self,
        Pages,
        TableRef,
        Tables, //
    },
    few::Few,
    model::{
        Cause,
        Constraints,
        Field,
        Memory,
        Name,
        Needs,
        Range,
        Refusal, //
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
    error::{
        from_err_ptr,
        from_result, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

pub use c::dma_buf_constraints;

/// What the set keeps for a user: its device, with the tables that are mapped for it.
struct Attached(Tables<()>);

impl Identity for Attached {
    fn name(&self) -> Name {
        device::name(self.0.device())
    }
}

/// `struct dma_buf_constraints_set`.
type Set = Users<Attached>;

/// `struct dma_buf_constraints_user`.
type Handle = Member<User<Attached>>;

crate::zero_is_any!(dma_buf_constraints, coherent);

/// Reads constraints behind a pointer that may be NULL.
///
/// # Safety
///
/// `raw` is NULL or points to valid constraints.
unsafe fn read(raw: *const c::dma_buf_constraints) -> Constraints {
    // SAFETY: The caller passes NULL or valid constraints.
    match unsafe { raw.as_ref() } {
        Some(raw) => raw.into(),
        None => Constraints::ANY,
    }
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
    // SAFETY: The header asks for a device.
    if !unsafe { c::dbc_device_is_bound(dev) } {
        return ENODEV.to_errno();
    }
    // SAFETY: A driver is bound to the device, which the caller keeps so, as the header asks, as it
    // does for valid constraints.
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
    // SAFETY: The header asks for a device that a driver is bound to.
    let needs = device::needs(unsafe { bound(dev) }).unwrap_or(Needs::NONE);
    // SAFETY: The header asks for room for the constraints.
    unsafe { constraints.write(needs.own().into()) };
}

/// # Safety
///
/// As in the header: `base` is NULL or valid.
#[no_mangle]
unsafe extern "C" fn dma_buf_constraints_set_alloc(
    base: *const c::dma_buf_constraints,
    len: u64,
) -> *mut c::dma_buf_constraints_set {
    // SAFETY: The header requires NULL or valid constraints of the driver.
    let base = unsafe { read(base) };
    if len == 0 || device::invalid(&base).is_some() {
        return EINVAL.to_ptr();
    }
    let base = device::needs_without_device(&base);
    match KBox::new(Set::new(*base.own(), len), GFP_KERNEL_ACCOUNT) {
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

/// Returns the device of a C caller.
///
/// # Safety
///
/// `dev` is a device to which a driver is bound for `'a`.
unsafe fn bound<'a>(dev: *mut bindings::device) -> &'a Device<Bound> {
    // SAFETY: The caller passes a device with a driver, which keeps it for `'a`.
    let device: &Device = unsafe { Device::from_raw(dev) };
    // SAFETY: The caller passes a device to which a driver is bound for `'a`.
    unsafe { device.as_bound() }
}

/// Creates a newcomer for the device of a C caller. `ENOMEM`.
fn newcomer(device: &Device<Bound>) -> Result<Newcomer<Attached>> {
    let needs = device::needs(device).unwrap_or(Needs::NONE);
    let tables = Tables::new((&**device).into());
    Newcomer::new(&needs, Attached(tables), GFP_KERNEL_ACCOUNT)
}

/// Converts a refusal for a C caller, and fills in its conflict.
///
/// # Safety
///
/// `conflict` is NULL or to be filled in.
unsafe fn tell(conflict: *mut c::dma_buf_conflict, refused: Refused) -> Error {
    if let (Refused::Because(refusal), false) = (&refused, conflict.is_null()) {
        // SAFETY: The caller passes NULL, which was excluded, or a conflict that may be written.
        unsafe { conflict.write(refusal.into()) };
    }
    refused.into()
}

/// # Safety
///
/// As in the header: `set` is a set that no other thread uses now, `dev` a device that is being
/// attached, `conflict` NULL or to be filled in.
#[no_mangle]
unsafe extern "C" fn dma_buf_constraints_admit(
    set: *mut c::dma_buf_constraints_set,
    dev: *mut bindings::device,
    conflict: *mut c::dma_buf_conflict,
) -> *mut c::dma_buf_constraints_user {
    // SAFETY: The header asks for a set that the caller has to itself, and a device that is being
    // attached.
    let (set, device) = unsafe { (&mut *set.cast::<Set>(), bound(dev)) };
    let mut admit = || {
        let proposal = set.propose(newcomer(device)?);
        // SAFETY: The header asks for NULL or room for the reason.
        let proposal = proposal.map_err(|refused| unsafe { tell(conflict, refused) })?;
        // The set keeps a reference to it.
        Ok(Arc::as_ptr(&proposal.commit()))
    };
    admit().map_or_else(|error: Error| error.to_ptr(), |user| user.cast_mut().cast())
}

/// # Safety
///
/// As in the header: `set` is a set that nothing changes now, `dev` a device that is being
/// attached, `meet` to be filled in, `conflict` NULL or to be filled in.
#[no_mangle]
unsafe extern "C" fn dma_buf_constraints_consider(
    set: *const c::dma_buf_constraints_set,
    dev: *mut bindings::device,
    meet: *mut c::dma_buf_constraints,
    conflict: *mut c::dma_buf_conflict,
) -> c_int {
    // SAFETY: The header requires of the driver a set that nothing changes now, and a device that
    // is being attached.
    let (set, device) = unsafe { (&*set.cast::<Set>(), bound(dev)) };
    from_result(|| {
        let outcome = set.consider(&mut newcomer(device)?);
        // SAFETY: The header asks for NULL or room for the reason.
        let outcome = outcome.map_err(|refused| unsafe { tell(conflict, refused) })?;
        // SAFETY: The header asks for room for the constraints.
        unsafe { meet.write(outcome.combined().into()) };
        Ok(0)
    })
}

/// # Safety
///
/// As in the header: `set` is a set that no other thread uses now, `user` NULL, an error pointer,
/// or a user of it, which is not used any more.
#[no_mangle]
unsafe extern "C" fn dma_buf_constraints_release(
    set: *mut c::dma_buf_constraints_set,
    user: *mut c::dma_buf_constraints_user,
    has_memory: bool,
) {
    if let Ok(user) = from_err_ptr(user.cast::<Handle>()) {
        if !user.is_null() {
            // SAFETY: The header asks for a set that the caller has to itself, and a user of it,
            // which the set keeps in an `Arc`.
            let (set, user) = unsafe { (&mut *set.cast::<Set>(), ArcBorrow::from_raw(user)) };
            // Alive until it has been taken out.
            set.release(&Arc::from(user), |_, _| !has_memory);
        }
    }
}

/// # Safety
///
/// As in the header: `set` is a set that nothing changes now, `meet` is to be filled in.
#[no_mangle]
unsafe extern "C" fn dma_buf_constraints_meet(
    set: *const c::dma_buf_constraints_set,
    meet: *mut c::dma_buf_constraints,
) {
    // SAFETY: The header requires of the driver a set that nothing changes now, and room for the
    // constraints.
    unsafe { meet.write((*set.cast::<Set>()).combined().into()) };
}

/// # Safety
///
/// As in the header: `set` is a set that no other thread uses now, `user` a user of it, whose
/// device is bound to its driver until it has no mapping left. `ranges` has `count` entries, of
/// memory with struct pages that stays until then.
#[no_mangle]
unsafe extern "C" fn dma_buf_constraints_map(
    set: *mut c::dma_buf_constraints_set,
    user: *const c::dma_buf_constraints_user,
    ranges: *const bindings::phys_vec,
    count: usize,
    dir: bindings::dma_data_direction,
) -> *mut bindings::sg_table {
    if count == 0 {
        return EINVAL.to_ptr();
    }
    // SAFETY: The header requires of the exporter a set that it has to itself, a user that lives,
    // and `count` ranges.
    let (set, user, ranges) = unsafe {
        let ranges = core::slice::from_raw_parts(ranges, count);
        (&mut *set.cast::<Set>(), &*user.cast::<Handle>(), ranges)
    };
    let mut map = || -> Result<TableRef> {
        let mut memory = Few::new();
        for range in ranges {
            #[allow(
                clippy::useless_conversion,
                reason = "physical addresses have 32 bits on some architectures"
            )]
            let (start, len) = (u64::from(range.paddr), range.len as u64);
            if len == 0 || (start | len) % PAGE_SIZE as u64 != 0 {
                return Err(EINVAL);
            }
            memory.append(Range { start, len })?;
        }
        let ranges = memory.as_slice();
        // The exporter alone knows of its class, and of caches.
        let memory = Memory {
            class: u64::MAX,
            coherent: true,
            ranges,
        };
        let misfit = set.misfit_of(set.get(user).ok_or(EINVAL)?, &memory);
        if misfit.is_some() {
            return Err(EINVAL);
        }
        let (constraints, Attached(tables)) = set.parts(user).ok_or(EINVAL)?;
        let pages = Pages {
            ranges,
            has_struct_pages: true,
        };
        // A mapping that failed may have left a table of other memory.
        tables.forget();
        // SAFETY: The header requires memory with struct pages that stays while it is mapped, and a
        // device that is bound until then. No table is left of earlier calls.
        let table = unsafe { tables.map(pages, (), constraints, dma_buf::direction(dir)) };
        Ok(table?)
    };
    map().map_or_else(|error| error.to_ptr(), TableRef::as_raw)
}

/// # Safety
///
/// As in the header: `set` is a set that no other thread uses now, `user` a user of it.
#[no_mangle]
unsafe extern "C" fn dma_buf_constraints_unmap(
    set: *mut c::dma_buf_constraints_set,
    user: *const c::dma_buf_constraints_user,
    table: *mut bindings::sg_table,
) {
    // SAFETY: The header requires of the exporter a set that it has to itself, and a user that
    // lives.
    let (set, user) = unsafe { (&mut *set.cast::<Set>(), &*user.cast::<Handle>()) };
    if let (Some(user), Some(table)) = (set.get_mut(user), TableRef::from_raw(table)) {
        user.data.0.unmap(table, |()| false);
    }
}

/// # Safety
///
/// As in the header: `set` is a set that nothing changes now.
#[no_mangle]
unsafe extern "C" fn dma_buf_constraints_sync(
    set: *const c::dma_buf_constraints_set,
    to_device: bool,
) {
    // SAFETY: The header requires of the exporter a set that nothing changes now.
    for user in unsafe { &*set.cast::<Set>() }.iter() {
        user.data.0.sync(to_device);
    }
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
    // SAFETY: The header requires of the driver a valid conflict, and room for `size` bytes, which
    // are zeroed before they are used as a slice.
    let (conflict, buf) = unsafe {
        buf.write_bytes(0, size);
        (&*conflict, core::slice::from_raw_parts_mut(buf, size))
    };
    let mut line = Line { buf, len: 0 };
    let result = match Refusal::try_from(conflict) {
        Ok(refusal) => write!(line, "{}", refusal.sentence()),
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

/// A refusal of a set for a C caller.
impl From<&Refusal> for c::dma_buf_conflict {
    fn from(refusal: &Refusal) -> Self {
        Self {
            field: refusal.field.map_or(0, |field| field as u32),
            with: refusal.cause as u32,
            wanted: refusal.wanted,
            found: refusal.found,
            who: text(&refusal.who),
            other: text(&refusal.other),
        }
    }
}

/// A refusal that a C caller kept: only those of a set, which come from devices.
impl TryFrom<&c::dma_buf_conflict> for Refusal {
    type Error = Error;

    fn try_from(raw: &c::dma_buf_conflict) -> Result<Self> {
        let cause = Cause::from_number(raw.with).ok_or(EINVAL)?;
        if !matches!(cause, Cause::User | Cause::Others | Cause::Itself) {
            return Err(EINVAL);
        }
        Ok(Self {
            who: Name::new(&raw.who),
            other: Name::new(&raw.other),
            field: Some(Field::from_number(raw.field).ok_or(EINVAL)?),
            wanted: raw.wanted,
            found: raw.found,
            ..Self::new(cause)
        })
    }
}

/// Returns a name for C. It ends in NUL, since [`Name::CAPACITY`] leaves room for one.
fn text(name: &Name) -> [c_char; c::DMA_BUF_CONSTRAINTS_NAME_LEN as usize] {
    let mut text = [0; c::DMA_BUF_CONSTRAINTS_NAME_LEN as usize];
    for (to, from) in text.iter_mut().zip(name.as_str().bytes()) {
        *to = from;
    }
    text
}
