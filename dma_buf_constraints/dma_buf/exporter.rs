// SPDX-License-Identifier: GPL-2.0

//! What an exporter implements, and the one table of operations that calls it.

use super::{
    buffer::DmaBuf,
    direction,
    fault::{
        self,
        Fault, //
    },
    reservation::{
        Head,
        HeadRef,
        Held, //
    },
    table::TableRef, //
};
use crate::{
    attach::Slot,
    c, //
};
use core::{
    any::Any,
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    dma::DataDirection,
    error::from_result,
    mm::virt::VmaRef,
    prelude::*, //
};

/// An importer that attaches: the device behind a `struct dma_buf_attachment`.
pub struct Importer<'a> {
    raw: NonNull<bindings::dma_buf_attachment>,
    _lifetime: PhantomData<&'a Device>,
}

impl Importer<'_> {
    /// The importing device.
    pub fn device(&self) -> &Device<Bound> {
        // SAFETY: The core keeps the attachment, and the importer its device, for as long as this
        // importer is lent to the exporter.
        let device: &Device = unsafe { Device::from_raw((*self.raw.as_ptr()).dev) };
        // SAFETY: Who attaches a device keeps it bound until it has detached it, as the DMA API
        // wants it of a device for which memory is mapped.
        unsafe { device.as_bound() }
    }

    /// The buffer.
    pub fn buffer(&self) -> &DmaBuf {
        // SAFETY: The importer holds a reference to the buffer as long as it is attached.
        unsafe { &*(*self.raw.as_ptr()).dmabuf.cast::<DmaBuf>() }
    }

    /// Whether the importer is dynamic: it pins by itself, where a static one is pinned by the core
    /// when it maps.
    pub fn is_dynamic(&self) -> bool {
        // SAFETY: As in `device`.
        unsafe { !(*self.raw.as_ptr()).importer_ops.is_null() }
    }

    /// Whether the importer is dynamic and can be told that memory moves: it need not unmap
    /// before.
    pub fn follows_moves(&self) -> bool {
        // SAFETY: As in `device`; the operations are constant.
        unsafe {
            let ops = (*self.raw.as_ptr()).importer_ops;
            !ops.is_null() && (*ops).invalidate_mappings.is_some()
        }
    }
}

/// The exporter of one buffer.
///
/// Operations that the core calls with the reservation lock held get a [`Held`]; the others may
/// take the lock.
///
/// # Safety
///
/// - [`reservation`](Self::reservation) returns the head of a reservation that is part of `self`,
///   always the same.
/// - [`module`](Self::module) is the module that holds the code of this implementation.
/// - What [`map`](Self::map) returns is from the [`Tables`](super::Tables) of that slot, and stays
///   mapped until [`unmap`](Self::unmap) or [`detach`](Self::detach).
/// - What [`vmap`](Self::vmap) returns is the address of as many bytes as the buffer has, until
///   [`vunmap`](Self::vunmap).
pub unsafe trait Exporter: Send + Sync {
    /// The module that stays loaded while the buffer lives.
    fn module(&self) -> &'static ThisModule;

    /// The lock of this buffer.
    fn reservation(&self) -> HeadRef<'_>;

    /// `self`, for [`DmaBuf::exporter`].
    fn as_any(&self) -> &dyn Any;

    /// A device wants to attach. Without the lock.
    ///
    /// Returns where the exporter keeps the attachment. On an error nothing may have changed.
    fn attach(&self, importer: &Importer<'_>) -> Result<Slot>;

    /// A device has detached. Without the lock.
    fn detach(&self, slot: Slot);

    /// The classes of memory that all users can reach, for the core to show. Kernels without the
    /// core series do not ask.
    fn access_mask(&self, held: &mut Held<'_>) -> u64;

    /// Memory has to stay where it is until [`unpin`](Self::unpin): for as long as a static
    /// importer has it mapped, or a dynamic one wants it so.
    fn pin(&self, held: &mut Held<'_>, slot: Slot) -> Result;

    /// One [`pin`](Self::pin) less.
    fn unpin(&self, held: &mut Held<'_>, slot: Slot);

    /// Memory mapped for an attached device, from its [`Tables`](super::Tables).
    fn map(&self, held: &mut Held<'_>, slot: Slot, direction: DataDirection) -> Result<TableRef>;

    /// The device no longer uses a mapping.
    fn unmap(&self, held: &mut Held<'_>, slot: Slot, table: TableRef);

    /// The CPU is about to use the buffer. Without the lock.
    fn begin_cpu_access(&self, direction: DataDirection) -> Result;

    /// The CPU has used the buffer. Without the lock.
    fn end_cpu_access(&self, direction: DataDirection) -> Result;

    /// Userspace touched a page that is not mapped. An error becomes `SIGBUS`.
    fn fault(&self, held: &mut Held<'_>, fault: &Fault<'_>) -> Result;

    /// The kernel's address of the whole buffer. Called for the first user only: the core
    /// counts them. The core warns, once, of an error.
    fn vmap(&self, held: &mut Held<'_>) -> Result<NonNull<c_void>>;

    /// The last kernel user of the address is gone.
    fn vunmap(&self, held: &mut Held<'_>);

    /// Nobody has the buffer any more. The exporter itself may live on.
    fn release(&self);
}

/// Lets a table of constant pointers be static.
pub(super) struct Shared<T>(pub(super) T);

// SAFETY: What it wraps is never written.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The operations of every buffer that [`DmaBuf::export`](super::DmaBuf::export) makes.
pub(super) static OPS: Shared<bindings::dma_buf_ops> = Shared(bindings::dma_buf_ops {
    attach: Some(attach),
    detach: Some(detach),
    #[cfg(dma_buf_has_access_constraints)]
    calc_access_constraints: Some(calc_access_constraints),
    pin: Some(pin),
    unpin: Some(unpin),
    map_dma_buf: Some(map),
    unmap_dma_buf: Some(unmap),
    release: Some(release),
    begin_cpu_access: Some(begin_cpu_access),
    end_cpu_access: Some(end_cpu_access),
    mmap: Some(mmap),
    vmap: Some(vmap),
    vunmap: Some(vunmap),
});

/// The head behind a buffer of ours.
///
/// # Safety
///
/// `dmabuf` is alive for `'a` and was made by [`DmaBuf::export`](super::DmaBuf::export).
unsafe fn head<'a>(dmabuf: *mut bindings::dma_buf) -> &'a Head {
    // SAFETY: `export` set `priv` to a head that lives until `release`.
    unsafe { &*(*dmabuf).priv_.cast::<Head>() }
}

/// The exporter behind a buffer of ours.
///
/// # Safety
///
/// As for [`head`], and not after the start of `release`.
unsafe fn exporter<'a>(head: &'a Head) -> &'a dyn Exporter {
    // SAFETY: Constant while the buffer is published, by the invariants of `Head`.
    match unsafe { &*head.exporter.get() } {
        Some(exporter) => &**exporter,
        // `export` fills it before the buffer exists.
        None => unreachable!(),
    }
}

/// The exporter of an attachment, the proof that its lock is held, and its slot.
///
/// # Safety
///
/// The core called an operation on `attachment` with the reservation lock held, which lasts
/// for `'a`.
unsafe fn attached<'a>(
    attachment: *mut bindings::dma_buf_attachment,
) -> (&'a dyn Exporter, Held<'a>, Slot) {
    // SAFETY: An attachment's dma-buf is alive, and ours, since the operation is.
    let head = unsafe { head((*attachment).dmabuf) };
    // SAFETY: Attachments are gone before `release`.
    let exporter = unsafe { exporter(head) };
    // SAFETY: The lock is held, as the caller promises; each operation makes one proof.
    let held = unsafe { Held::new(head) };
    // SAFETY: `attach` put the slot there.
    let slot = Slot::from_index(unsafe { (*attachment).priv_ } as usize as u32);
    (exporter, held, slot)
}

/// # Safety
///
/// For [`OPS`] alone: the dma-buf core calls it, with a buffer of ours that is alive.
unsafe extern "C" fn attach(
    dmabuf: *mut bindings::dma_buf,
    attachment: *mut bindings::dma_buf_attachment,
) -> c_int {
    let Some(raw) = NonNull::new(attachment) else {
        return EINVAL.to_errno();
    };
    let importer = Importer {
        raw,
        _lifetime: PhantomData,
    };
    from_result(|| {
        // SAFETY: The core holds a reference to the dma-buf, which is ours.
        let slot = unsafe { exporter(head(dmabuf)) }.attach(&importer)?;
        // SAFETY: The attachment is being made; its `priv` is the exporter's.
        unsafe { (*attachment).priv_ = slot.index() as usize as *mut c_void };
        Ok(0)
    })
}

/// # Safety
///
/// For [`OPS`] alone: the dma-buf core calls it, with a buffer of ours that is alive.
unsafe extern "C" fn detach(
    dmabuf: *mut bindings::dma_buf,
    attachment: *mut bindings::dma_buf_attachment,
) {
    // SAFETY: `attach` put the slot there.
    let slot = Slot::from_index(unsafe { (*attachment).priv_ } as usize as u32);
    // SAFETY: The importer holds a reference to the dma-buf, which is ours.
    let head = unsafe { head(dmabuf) };
    // SAFETY: As above.
    unsafe { exporter(head) }.detach(slot);
    #[cfg(dma_buf_has_access_constraints)]
    {
        let mut guard = head.lock();
        // SAFETY: As above; the guard holds the lock.
        unsafe { set_access_mask(dmabuf, &mut guard.held) };
    }
}

/// Tells the core what all users of a buffer can reach.
///
/// # Safety
///
/// `dmabuf` is of ours, alive and not being released, and `held` proves its lock.
#[cfg(dma_buf_has_access_constraints)]
pub(super) unsafe fn set_access_mask(dmabuf: *mut bindings::dma_buf, held: &mut Held<'_>) {
    // SAFETY: The buffer is ours and alive; its lock protects the mask.
    unsafe { (*dmabuf).access_constraints_mask = exporter(head(dmabuf)).access_mask(held) };
}

/// Who can attach was decided in [`attach`], and who leaves is still a user until [`detach`]: here
/// the core only learns what is so.
///
/// # Safety
///
/// For [`OPS`] alone: the dma-buf core calls it, with a buffer of ours that is alive and the lock
/// held.
#[cfg(dma_buf_has_access_constraints)]
unsafe extern "C" fn calc_access_constraints(
    dmabuf: *mut bindings::dma_buf,
    _attachment: *mut bindings::dma_buf_attachment,
) -> c_int {
    // SAFETY: The core took the lock of this buffer of ours for this call, so that this thread has
    // no other `Held` of it.
    unsafe { set_access_mask(dmabuf, &mut Held::new(head(dmabuf))) };
    0
}

/// # Safety
///
/// For [`OPS`] alone: the dma-buf core calls it, with an attachment to a buffer of ours and the
/// lock held.
unsafe extern "C" fn pin(attachment: *mut bindings::dma_buf_attachment) -> c_int {
    // SAFETY: The core calls this with the lock held.
    let (exporter, mut held, slot) = unsafe { attached(attachment) };
    from_result(|| exporter.pin(&mut held, slot).map(|()| 0))
}

/// # Safety
///
/// For [`OPS`] alone: the dma-buf core calls it, with an attachment to a buffer of ours and the
/// lock held.
unsafe extern "C" fn unpin(attachment: *mut bindings::dma_buf_attachment) {
    // SAFETY: The core calls this with the lock held.
    let (exporter, mut held, slot) = unsafe { attached(attachment) };
    exporter.unpin(&mut held, slot);
}

/// # Safety
///
/// For [`OPS`] alone: the dma-buf core calls it, with an attachment to a buffer of ours and the
/// lock held.
unsafe extern "C" fn map(
    attachment: *mut bindings::dma_buf_attachment,
    raw: bindings::dma_data_direction,
) -> *mut bindings::sg_table {
    // SAFETY: The core calls this with the lock held.
    let (exporter, mut held, slot) = unsafe { attached(attachment) };
    match exporter.map(&mut held, slot, direction(raw)) {
        Ok(table) => table.as_raw(),
        Err(error) => error.to_ptr(),
    }
}

/// # Safety
///
/// For [`OPS`] alone: the dma-buf core calls it, with an attachment to a buffer of ours and the
/// lock held.
unsafe extern "C" fn unmap(
    attachment: *mut bindings::dma_buf_attachment,
    table: *mut bindings::sg_table,
    _direction: bindings::dma_data_direction,
) {
    // SAFETY: The core calls this with the lock held.
    let (exporter, mut held, slot) = unsafe { attached(attachment) };
    if let Some(table) = TableRef::from_raw(table) {
        exporter.unmap(&mut held, slot, table);
    }
}

/// # Safety
///
/// For [`OPS`] alone: the dma-buf core calls it, with a buffer of ours that is alive.
unsafe extern "C" fn release(dmabuf: *mut bindings::dma_buf) {
    // SAFETY: The dma-buf is ours, and its head is there until the exporter is dropped below.
    let head = unsafe { head(dmabuf) };
    let guard = head.lock();
    // SAFETY: The lock is held, and nobody else has the buffer any more.
    let exporter = unsafe { (*head.exporter.get()).take() };
    drop(guard);
    // It holds the head: it may go only now.
    if let Some(exporter) = exporter {
        exporter.release();
    }
}

/// # Safety
///
/// For [`OPS`] alone: the dma-buf core calls it, with a buffer of ours that is alive.
unsafe extern "C" fn begin_cpu_access(
    dmabuf: *mut bindings::dma_buf,
    raw: bindings::dma_data_direction,
) -> c_int {
    // SAFETY: The caller holds a reference to the dma-buf, which is ours.
    let exporter = unsafe { exporter(head(dmabuf)) };
    from_result(|| exporter.begin_cpu_access(direction(raw)).map(|()| 0))
}

/// # Safety
///
/// For [`OPS`] alone: the dma-buf core calls it, with a buffer of ours that is alive.
unsafe extern "C" fn end_cpu_access(
    dmabuf: *mut bindings::dma_buf,
    raw: bindings::dma_data_direction,
) -> c_int {
    // SAFETY: The caller holds a reference to the dma-buf, which is ours.
    let exporter = unsafe { exporter(head(dmabuf)) };
    from_result(|| exporter.end_cpu_access(direction(raw)).map(|()| 0))
}

/// # Safety
///
/// For [`OPS`] alone: the dma-buf core calls it, with a buffer of ours that is alive.
unsafe extern "C" fn mmap(
    dmabuf: *mut bindings::dma_buf,
    vma: *mut bindings::vm_area_struct,
) -> c_int {
    // SAFETY: `vma` is being set up by the caller; the operations are static, and the file of
    // the dma-buf, to which the vma refers, keeps the dma-buf.
    unsafe { c::dbc_vma_prepare(vma, &*fault::VM_OPS, dmabuf.cast()) }
}

/// Handles a fault in a vma that [`mmap`] set up.
///
/// # Safety
///
/// For `VM_OPS` alone: the core of memory management calls it, with `mmap_lock` held. Without
/// `map_pages` it does not come under the lock of the vma alone (`vmf_can_call_fault`), on which
/// filling page tables relies.
pub(super) unsafe extern "C" fn vm_fault(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
    // SAFETY: The core of memory management hands over a valid fault and its vma, whose private
    // data `mmap` set to the dma-buf. The vma keeps the dma-buf.
    let (raw, vma, head, page) = unsafe {
        let vma = (*vmf).__bindgen_anon_1.vma;
        (
            NonNull::new_unchecked(vmf),
            VmaRef::from_raw(vma),
            head((*vma).vm_private_data.cast()),
            (*vmf).__bindgen_anon_1.pgoff,
        )
    };
    // SAFETY: As above.
    let exporter = unsafe { exporter(head) };
    // SAFETY: As above; `address` is in the vma.
    let address = unsafe { (*vmf).__bindgen_anon_1.address };
    let fault = Fault::new(raw, vma, address, page as u64);
    let mut guard = head.lock();
    match exporter.fault(&mut guard.held, &fault) {
        Ok(()) => bindings::vm_fault_reason_VM_FAULT_NOPAGE,
        // No page table: reclaim may help, and who is out of memory is known.
        Err(_) if fault.lacks_table() => bindings::vm_fault_reason_VM_FAULT_OOM,
        // Not VM_FAULT_OOM where the buffer's own memory is lacking: it would be retried for
        // ever. Nor VM_FAULT_NOPAGE where the process is being killed: the kernel, which may be
        // the one that touched it, would touch it again.
        Err(_) => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
    }
}

/// # Safety
///
/// For [`OPS`] alone: the dma-buf core calls it, with a buffer of ours that is alive.
unsafe extern "C" fn vmap(dmabuf: *mut bindings::dma_buf, map: *mut bindings::iosys_map) -> c_int {
    // SAFETY: The caller holds a reference to the dma-buf, which is ours.
    let head = unsafe { head(dmabuf) };
    // SAFETY: As above.
    let exporter = unsafe { exporter(head) };
    // SAFETY: The core calls this with the lock held.
    let mut held = unsafe { Held::new(head) };
    from_result(|| {
        let address = exporter.vmap(&mut held)?;
        // SAFETY: `map` is the core's, to be filled in.
        unsafe {
            (*map).__bindgen_anon_1.vaddr = address.as_ptr();
            (*map).is_iomem = false;
        }
        Ok(0)
    })
}

/// # Safety
///
/// For [`OPS`] alone: the dma-buf core calls it, with a buffer of ours that is alive.
unsafe extern "C" fn vunmap(dmabuf: *mut bindings::dma_buf, _map: *mut bindings::iosys_map) {
    // SAFETY: The caller holds a reference to the dma-buf, which is ours.
    let head = unsafe { head(dmabuf) };
    // SAFETY: As above.
    let exporter = unsafe { exporter(head) };
    // SAFETY: The core calls this with the lock held.
    let mut held = unsafe { Held::new(head) };
    exporter.vunmap(&mut held);
}
