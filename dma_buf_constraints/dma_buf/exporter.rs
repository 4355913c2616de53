// SPDX-License-Identifier: GPL-2.0

//! What an exporter implements, and the table of operations that calls it.

use super::{
    buffer::DmaBuf,
    direction,
    fault::Fault,
    reservation::Reservation,
    table::TableRef, //
};
use crate::{
    c,
    device,
    model::Needs, //
};
use core::{
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
    prelude::*,
    sync::Arc, //
};

/// An importer that attaches: the device behind a `struct dma_buf_attachment`.
pub struct Importer<'a> {
    raw: NonNull<bindings::dma_buf_attachment>,
    _lifetime: PhantomData<&'a Device>,
}

impl Importer<'_> {
    /// The importing device. A driver is to be bound to it until it detaches; not all importers
    /// keep that.
    pub fn device(&self) -> &Device {
        // SAFETY: The core keeps the attachment, and the importer its device, for as long as this
        // importer is lent to the exporter.
        unsafe { Device::from_raw((*self.raw.as_ptr()).dev) }
    }

    /// The device, for as long as it attaches.
    fn bound(&self) -> &Device<Bound> {
        // SAFETY: The core hands over a device that is being attached. Its importer answers for a
        // driver that is bound to it meanwhile.
        unsafe { self.device().as_bound() }
    }

    /// What the device needs, as [`device::needs`] tells.
    pub fn needs(&self) -> Option<Needs> {
        device::needs(self.bound())
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

/// What became of a page that userspace touched.
pub enum Touched {
    /// It is mapped now.
    Mapped,
    /// The buffer has no memory yet: [`Exporter::populate`] is to give it some.
    Unpopulated,
    /// There was no memory for a page table.
    LacksTable,
}

/// The exporter of one buffer.
///
/// Operations that the core calls with the reservation lock held get the state that it protects;
/// the others may take the lock.
///
/// # Safety
///
/// - [`reservation`](Self::reservation) returns a part of `self`, always the same.
/// - [`module`](Self::module) is the module that holds the code of this implementation.
/// - It is exported once.
/// - What [`map`](Self::map) returns is from the [`Tables`](super::Tables) of that attachment, and
///   stays mapped until [`unmap`](Self::unmap) or [`detach`](Self::detach).
/// - What [`vmap`](Self::vmap) returns is the address of as many bytes as the buffer has, until
///   [`vunmap`](Self::vunmap).
pub unsafe trait Exporter: Send + Sync + Sized + 'static {
    /// What the reservation lock protects.
    type State: Send;

    /// What the exporter keeps for an attachment.
    type Attachment: Send + Sync;

    /// The operations, in a static of the exporter's.
    fn ops() -> &'static Ops<Self>;

    /// The module that stays loaded while the buffer lives.
    fn module() -> &'static ThisModule;

    /// The lock of this buffer.
    fn reservation(&self) -> &Reservation<Self::State>;

    /// A device wants to attach. Without the lock.
    ///
    /// On an error nothing may have changed.
    fn attach(&self, importer: &Importer<'_>) -> Result<Arc<Self::Attachment>>;

    /// A device has detached. Without the lock.
    fn detach(&self, attachment: Arc<Self::Attachment>);

    /// The classes of memory that all users can access, for the core to show. Kernels without the
    /// core series do not ask.
    fn access_mask(&self, state: &Self::State) -> u64;

    /// Memory has to stay where it is until [`unpin`](Self::unpin): for as long as a static
    /// importer has it mapped, or a dynamic one wants it so.
    fn pin(&self, state: &mut Self::State, attachment: &Self::Attachment) -> Result;

    /// One [`pin`](Self::pin) less.
    fn unpin(&self, state: &mut Self::State, attachment: &Self::Attachment);

    /// Memory mapped for an attached device, from its [`Tables`](super::Tables).
    fn map(
        &self,
        state: &mut Self::State,
        attachment: &Self::Attachment,
        direction: DataDirection,
    ) -> Result<TableRef>;

    /// The device no longer uses a mapping.
    fn unmap(&self, state: &mut Self::State, attachment: &Self::Attachment, table: TableRef);

    /// The CPU is about to use the buffer. Without the lock.
    fn begin_cpu_access(&self, direction: DataDirection) -> Result;

    /// The CPU has used the buffer. Without the lock.
    fn end_cpu_access(&self, direction: DataDirection) -> Result;

    /// Userspace touched a page that is not mapped. An error becomes `SIGBUS`.
    ///
    /// Other threads cannot change their address space meanwhile: takes no memory for the buffer.
    fn fault(&self, state: &mut Self::State, fault: &Fault<'_>) -> Result<Touched>;

    /// Gives the buffer memory, because userspace touched it. The touch is then tried again.
    fn populate(&self, state: &mut Self::State) -> Result;

    /// Whether [`populate`](Self::populate) failed when it was last called.
    fn has_failed(&self, state: &Self::State) -> bool;

    /// The kernel's address of the whole buffer. Called for the first user only: the core
    /// counts them. The core warns, once, of an error.
    fn vmap(&self, state: &mut Self::State) -> Result<NonNull<c_void>>;

    /// The last kernel user of the address is gone.
    fn vunmap(&self, state: &mut Self::State);

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

/// The operations of every buffer of an exporter.
///
/// In a static: the address of its operations tells the exporter of a buffer.
pub struct Ops<E> {
    buffer: Shared<bindings::dma_buf_ops>,
    vma: Shared<bindings::vm_operations_struct>,
    _exporter: PhantomData<fn() -> E>,
}

impl<E: Exporter> Default for Ops<E> {
    fn default() -> Self {
        Self::new()
    }
}

/// Tells the core which classes of memory all users of a buffer can access.
///
/// # Safety
///
/// `dmabuf` is an exporter `E`'s, and alive; its lock is held, and nothing borrows its state.
#[cfg(dma_buf_has_access_constraints)]
unsafe fn set_access_mask<E: Exporter>(exporter: &E, dmabuf: *mut bindings::dma_buf) {
    // SAFETY: The lock, which is held, protects the state and the mask.
    unsafe {
        (*dmabuf).access_constraints_mask = exporter.access_mask(exporter.reservation().state())
    };
}

/// The operations. The dma-buf core, and that of memory management, call them with what belongs to
/// a buffer that [`DmaBuf::export`] made of an `E`, which they keep alive meanwhile: that is the
/// safety requirement of all of them.
#[expect(clippy::missing_safety_doc, reason = "it is the same for all")]
impl<E: Exporter> Ops<E> {
    /// The operations.
    pub const fn new() -> Self {
        Self {
            buffer: Shared(bindings::dma_buf_ops {
                attach: Some(Self::attach),
                detach: Some(Self::detach),
                #[cfg(dma_buf_has_access_constraints)]
                calc_access_constraints: Some(Self::calc_access_constraints),
                pin: Some(Self::pin),
                unpin: Some(Self::unpin),
                map_dma_buf: Some(Self::map),
                unmap_dma_buf: Some(Self::unmap),
                release: Some(Self::release),
                begin_cpu_access: Some(Self::begin_cpu_access),
                end_cpu_access: Some(Self::end_cpu_access),
                mmap: Some(Self::mmap),
                vmap: Some(Self::vmap),
                vunmap: Some(Self::vunmap),
            }),
            vma: Shared(bindings::vm_operations_struct {
                fault: Some(Self::fault),
                ..pin_init::zeroed()
            }),
            _exporter: PhantomData,
        }
    }

    /// The C object.
    pub(super) fn as_raw(&'static self) -> *const bindings::dma_buf_ops {
        &*self.buffer
    }

    /// The exporter of a buffer.
    ///
    /// # Safety
    ///
    /// As above, and not after the end of `release`.
    unsafe fn exporter<'a>(dmabuf: *mut bindings::dma_buf) -> &'a E {
        // SAFETY: `export` set `priv` to a reference that `release` gives up.
        unsafe { &*(*dmabuf).priv_.cast::<E>() }
    }

    /// The exporter of an attachment, the state of the buffer, and what it keeps for the
    /// attachment.
    ///
    /// # Safety
    ///
    /// As above: the core calls an operation on an attachment with the reservation lock held.
    unsafe fn attached<'a>(
        attachment: *mut bindings::dma_buf_attachment,
    ) -> (&'a E, &'a mut E::State, &'a E::Attachment) {
        // SAFETY: An attachment's dma-buf is alive. The lock is held, and an operation is the only
        // one to borrow the state. `attach` set `priv`, which stays until `detach`.
        unsafe {
            let exporter = Self::exporter((*attachment).dmabuf);
            let attached = &*(*attachment).priv_.cast::<E::Attachment>();
            (exporter, exporter.reservation().state(), attached)
        }
    }

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
            // SAFETY: The core's promise, see above.
            let attached = unsafe { Self::exporter(dmabuf) }.attach(&importer)?;
            // SAFETY: The attachment is being made; its `priv` is the exporter's.
            unsafe { (*attachment).priv_ = Arc::into_raw(attached).cast_mut().cast() };
            Ok(0)
        })
    }

    unsafe extern "C" fn detach(
        dmabuf: *mut bindings::dma_buf,
        attachment: *mut bindings::dma_buf_attachment,
    ) {
        // SAFETY: The core's promise, see above; `attach` put the reference there.
        let (exporter, attached) = unsafe {
            let attached = Arc::from_raw((*attachment).priv_.cast::<E::Attachment>());
            (Self::exporter(dmabuf), attached)
        };
        exporter.detach(attached);
        #[cfg(dma_buf_has_access_constraints)]
        {
            let _guard = exporter.reservation().lock();
            // SAFETY: The guard, which is not used, holds the lock.
            unsafe { set_access_mask(exporter, dmabuf) };
        }
    }

    /// Who can attach was decided in `attach`, and who leaves is still a user until `detach`: here
    /// the core only learns what is so.
    #[cfg(dma_buf_has_access_constraints)]
    unsafe extern "C" fn calc_access_constraints(
        dmabuf: *mut bindings::dma_buf,
        _attachment: *mut bindings::dma_buf_attachment,
    ) -> c_int {
        // SAFETY: The core's promise, see above: it took the lock for this call.
        unsafe { set_access_mask(Self::exporter(dmabuf), dmabuf) };
        0
    }

    unsafe extern "C" fn pin(attachment: *mut bindings::dma_buf_attachment) -> c_int {
        // SAFETY: The core's promise, see above.
        let (exporter, state, attached) = unsafe { Self::attached(attachment) };
        from_result(|| exporter.pin(state, attached).map(|()| 0))
    }

    unsafe extern "C" fn unpin(attachment: *mut bindings::dma_buf_attachment) {
        // SAFETY: The core's promise, see above.
        let (exporter, state, attached) = unsafe { Self::attached(attachment) };
        exporter.unpin(state, attached);
    }

    unsafe extern "C" fn map(
        attachment: *mut bindings::dma_buf_attachment,
        raw: bindings::dma_data_direction,
    ) -> *mut bindings::sg_table {
        // SAFETY: The core's promise, see above.
        let (exporter, state, attached) = unsafe { Self::attached(attachment) };
        match exporter.map(state, attached, direction(raw)) {
            Ok(table) => table.as_raw(),
            Err(error) => error.to_ptr(),
        }
    }

    unsafe extern "C" fn unmap(
        attachment: *mut bindings::dma_buf_attachment,
        table: *mut bindings::sg_table,
        _direction: bindings::dma_data_direction,
    ) {
        // SAFETY: The core's promise, see above.
        let (exporter, state, attached) = unsafe { Self::attached(attachment) };
        if let Some(table) = TableRef::from_raw(table) {
            exporter.unmap(state, attached, table);
        }
    }

    unsafe extern "C" fn release(dmabuf: *mut bindings::dma_buf) {
        // SAFETY: Nobody else has the buffer any more: the reference that `export` put there is
        // given up here.
        let exporter = unsafe { Arc::from_raw((*dmabuf).priv_.cast::<E>()) };
        exporter.release();
    }

    unsafe extern "C" fn begin_cpu_access(
        dmabuf: *mut bindings::dma_buf,
        raw: bindings::dma_data_direction,
    ) -> c_int {
        // SAFETY: The core's promise, see above.
        let exporter = unsafe { Self::exporter(dmabuf) };
        from_result(|| exporter.begin_cpu_access(direction(raw)).map(|()| 0))
    }

    unsafe extern "C" fn end_cpu_access(
        dmabuf: *mut bindings::dma_buf,
        raw: bindings::dma_data_direction,
    ) -> c_int {
        // SAFETY: The core's promise, see above.
        let exporter = unsafe { Self::exporter(dmabuf) };
        from_result(|| exporter.end_cpu_access(direction(raw)).map(|()| 0))
    }

    unsafe extern "C" fn mmap(
        dmabuf: *mut bindings::dma_buf,
        vma: *mut bindings::vm_area_struct,
    ) -> c_int {
        // SAFETY: `vma` is being set up by the caller; the operations are static, and the file of
        // the dma-buf, to which the vma refers, keeps the dma-buf.
        unsafe { prepare_vma(vma, &E::ops().vma, dmabuf) }
    }

    /// Handles a fault in a vma that `mmap` set up, with `mmap_lock` held. Without `map_pages` it
    /// does not come under the lock of the vma alone (`vmf_can_call_fault`), on which filling page
    /// tables relies.
    ///
    /// While others wait for `mmap_lock`, nothing here waits for memory or for who has the buffer's
    /// lock: the fault lets go of it, waits, and is tried again. Faults that cannot be are rare.
    unsafe extern "C" fn fault(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: The core of memory management hands over a valid fault and its vma, whose private
        // data `mmap` set to the dma-buf. The vma keeps the dma-buf.
        let (raw, flags, exporter, dmabuf, fault) = unsafe {
            let raw = NonNull::new_unchecked(vmf);
            let inner = &(*vmf).__bindgen_anon_1;
            let dmabuf = (*inner.vma).vm_private_data.cast::<bindings::dma_buf>();
            let vma = VmaRef::from_raw(inner.vma);
            let fault = Fault::new(raw, vma, inner.address, inner.pgoff as u64);
            (raw, (*vmf).flags, Self::exporter(dmabuf), dmabuf, fault)
        };
        let no_wait = flags & bindings::fault_flag_FAULT_FLAG_RETRY_NOWAIT != 0;
        let is_second = flags & bindings::fault_flag_FAULT_FLAG_TRIED != 0;
        // Once: who is tried again has waited, and would be overtaken for ever otherwise.
        let can_retry =
            flags & bindings::fault_flag_FAULT_FLAG_ALLOW_RETRY != 0 && (no_wait || !is_second);
        let guard = match exporter.reservation().try_lock() {
            Some(guard) => Some(guard),
            None if can_retry => None,
            None => match exporter.reservation().lock_killable() {
                Ok(guard) => Some(guard),
                Err(_) => return bindings::vm_fault_reason_VM_FAULT_SIGBUS,
            },
        };
        if let Some(mut guard) = guard {
            let mut touched = exporter.fault(&mut guard, &fault);
            if let Ok(Touched::Unpopulated) = touched {
                if is_second && exporter.has_failed(&guard) {
                    touched = Err(ENOMEM);
                } else if !can_retry {
                    touched = exporter
                        .populate(&mut guard)
                        .and_then(|()| exporter.fault(&mut guard, &fault));
                }
            }
            match touched {
                Ok(Touched::Mapped) => return bindings::vm_fault_reason_VM_FAULT_NOPAGE,
                // No page table: reclaim may help, and who is out of memory is known.
                Ok(Touched::LacksTable) => return bindings::vm_fault_reason_VM_FAULT_OOM,
                Ok(Touched::Unpopulated) if can_retry => {}
                // Not VM_FAULT_OOM where the buffer's own memory is lacking: it would be retried
                // for ever. Nor VM_FAULT_NOPAGE where the process is being killed: the kernel,
                // which may be the one that touched it, would touch it again.
                Ok(Touched::Unpopulated) | Err(_) => {
                    return bindings::vm_fault_reason_VM_FAULT_SIGBUS
                }
            }
        }
        if no_wait {
            return bindings::vm_fault_reason_VM_FAULT_RETRY;
        }
        // SAFETY: The vma keeps the dma-buf until the lock that keeps the vma is let go of, below.
        let buffer = unsafe { DmaBuf::from_raw(dmabuf) }.counted();
        unlock_fault(raw);
        // The vma may be gone. Where a signal comes, the touch is tried again behind it.
        if let Ok(mut guard) = exporter.reservation().lock_interruptible() {
            // That it failed is found out when the touch is tried again.
            let _ = exporter.populate(&mut guard);
        }
        drop(buffer);
        bindings::vm_fault_reason_VM_FAULT_RETRY
    }

    unsafe extern "C" fn vmap(
        dmabuf: *mut bindings::dma_buf,
        map: *mut bindings::iosys_map,
    ) -> c_int {
        // SAFETY: The core's promise, see above: it holds the lock.
        let (exporter, state) = unsafe {
            let exporter = Self::exporter(dmabuf);
            (exporter, exporter.reservation().state())
        };
        from_result(|| {
            let address = exporter.vmap(state)?;
            // SAFETY: `map` is the core's, to be filled in.
            unsafe {
                (*map).__bindgen_anon_1.vaddr = address.as_ptr();
                (*map).is_iomem = false;
            }
            Ok(0)
        })
    }

    unsafe extern "C" fn vunmap(dmabuf: *mut bindings::dma_buf, _map: *mut bindings::iosys_map) {
        // SAFETY: The core's promise, see above: it holds the lock.
        let (exporter, state) = unsafe {
            let exporter = Self::exporter(dmabuf);
            (exporter, exporter.reservation().state())
        };
        exporter.vunmap(state);
    }
}

/// Sets a vma up. Not generic: what it calls is this module's alone.
///
/// # Safety
///
/// `vma` is being set up for the file of `dmabuf`, whose exporter `ops` are for.
#[inline(never)]
unsafe fn prepare_vma(
    vma: *mut bindings::vm_area_struct,
    ops: &'static bindings::vm_operations_struct,
    dmabuf: *mut bindings::dma_buf,
) -> c_int {
    // SAFETY: As the caller promises.
    unsafe { c::dbc_vma_prepare(vma, ops, dmabuf.cast()) }
}

/// Lets go of the lock under which a fault is handled. Not generic, either.
#[inline(never)]
fn unlock_fault(fault: NonNull<bindings::vm_fault>) {
    // SAFETY: The fault is being handled, and returns `VM_FAULT_RETRY`.
    unsafe { c::dbc_fault_unlock(fault.as_ptr()) };
}
