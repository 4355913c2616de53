// SPDX-License-Identifier: GPL-2.0

//! The trait of an exporter, and the table of operations that calls it.

use super::{
    buffer::DmaBuf,
    direction,
    fault::Fault,
    reservation::{
        Guard,
        Reservation, //
    },
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
    /// Returns the importing device. A driver should be bound to it until it detaches, which not
    /// all importers ensure.
    pub fn device(&self) -> &Device {
        // SAFETY: The core keeps the attachment, and the importer its device, for as long as this
        // importer is lent to the exporter.
        unsafe { Device::from_raw((*self.raw.as_ptr()).dev) }
    }

    /// Returns the device, for as long as it attaches.
    fn bound(&self) -> &Device<Bound> {
        // SAFETY: The importer keeps a driver bound to the device while it attaches it, as the DMA
        // API requires.
        unsafe { self.device().as_bound() }
    }

    /// Returns what the device needs, as [`device::needs`].
    pub fn needs(&self) -> Option<Needs> {
        device::needs(self.bound())
    }

    /// Returns the buffer.
    pub fn buffer(&self) -> &DmaBuf {
        // SAFETY: The importer holds a reference to the buffer as long as it is attached.
        unsafe { &*(*self.raw.as_ptr()).dmabuf.cast::<DmaBuf>() }
    }

    /// Returns whether the importer is dynamic: it pins by itself, where a static one is pinned by
    /// the core when it maps.
    pub fn is_dynamic(&self) -> bool {
        // SAFETY: The core keeps the attachment for as long as this importer is lent to the
        // exporter.
        unsafe { !(*self.raw.as_ptr()).importer_ops.is_null() }
    }

    /// Returns whether the importer is dynamic and follows relocations: it need not unmap before.
    pub fn follows_moves(&self) -> bool {
        // SAFETY: The core keeps the attachment for as long as this importer is lent to the
        // exporter; the operations are constant.
        unsafe {
            let ops = (*self.raw.as_ptr()).importer_ops;
            !ops.is_null() && (*ops).invalidate_mappings.is_some()
        }
    }
}

/// The outcome for a page that userspace touched.
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
/// Methods that the core calls with the reservation lock held get the state under it; the others
/// may take the lock.
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

    /// Returns the operations, in a static of the exporter's.
    fn ops() -> &'static Ops<Self>;

    /// Returns the module that stays loaded while the buffer lives.
    fn module() -> &'static ThisModule;

    /// Returns the lock of this buffer.
    fn reservation(&self) -> &Reservation<Self::State>;

    /// Attaches a device, or refuses it. Called without the lock.
    ///
    /// # Errors
    ///
    /// Returns any error, with which the importer's attach fails; nothing may have changed then.
    fn attach(&self, importer: &Importer<'_>) -> Result<Arc<Self::Attachment>>;

    /// Ends the attachment of a device. Called without the lock.
    fn detach(&self, attachment: Arc<Self::Attachment>);

    /// Returns the classes of memory that all users can access, for the core to show. Kernels
    /// without the core series do not call it.
    fn access_mask(&self, state: &Self::State) -> u64;

    /// Pins the memory until [`unpin`](Self::unpin): for as long as a static importer has it
    /// mapped, or a dynamic one wants.
    ///
    /// # Errors
    ///
    /// Returns any error, with which the importer's pin or map fails.
    fn pin(&self, state: &mut Self::State, attachment: &Self::Attachment) -> Result;

    /// Takes one [`pin`](Self::pin) back.
    fn unpin(&self, state: &mut Self::State, attachment: &Self::Attachment);

    /// Maps memory for an attached device, by its [`Tables`](super::Tables).
    ///
    /// # Errors
    ///
    /// Returns any error, with which the importer's map fails.
    fn map(
        &self,
        state: &mut Self::State,
        attachment: &Self::Attachment,
        direction: DataDirection,
    ) -> Result<TableRef>;

    /// Unmaps what [`map`](Self::map) returned.
    fn unmap(&self, state: &mut Self::State, attachment: &Self::Attachment, table: TableRef);

    /// Prepares the buffer for access by the CPU. Called without the lock.
    ///
    /// # Errors
    ///
    /// Returns any error, with which the call of the importer or of userspace fails.
    fn begin_cpu_access(&self, direction: DataDirection) -> Result;

    /// Ends access by the CPU. Called without the lock.
    ///
    /// # Errors
    ///
    /// Returns any error, with which the call of the importer or of userspace fails.
    fn end_cpu_access(&self, direction: DataDirection) -> Result;

    /// Maps a page that userspace touched.
    ///
    /// Must not allocate memory for the buffer, since other threads cannot change their address
    /// space meanwhile.
    ///
    /// # Errors
    ///
    /// Returns any error, on which userspace gets `SIGBUS`.
    fn fault(&self, state: &mut Self::State, fault: &Fault<'_>) -> Result<Touched>;

    /// Gives the buffer memory, because userspace touched it. The access is then tried again.
    ///
    /// # Errors
    ///
    /// Returns any error, on which userspace gets `SIGBUS`.
    fn populate(&self, state: &mut Self::State) -> Result;

    /// Returns whether [`populate`](Self::populate) failed when it was last called.
    fn has_failed(&self, state: &Self::State) -> bool;

    /// Maps the whole buffer for the kernel, and returns the address. Called for the first user
    /// only: the core counts them.
    ///
    /// # Errors
    ///
    /// Returns any error, with which the importer's vmap fails, and of which the core warns once.
    fn vmap(&self, state: &mut Self::State) -> Result<NonNull<c_void>>;

    /// Unmaps what [`vmap`](Self::vmap) returned, after its last user.
    fn vunmap(&self, state: &mut Self::State);

    /// Ends the buffer, to which there is no reference any more. The exporter itself may live on.
    /// Called with the lock held, which the exporter gives back.
    fn release(&self, guard: Guard<'_, Self::State>);
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
/// It is a static: the address of the operations identifies the exporter of a buffer.
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

/// The operations. Their common safety requirement: the dma-buf core, and that of memory
/// management, call them with what belongs to a buffer that [`DmaBuf::export`] made of an `E`, and
/// keep it alive meanwhile.
#[expect(clippy::missing_safety_doc, reason = "it is the same for all")]
impl<E: Exporter> Ops<E> {
    /// Creates the operations.
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

    /// Returns the C object.
    pub(super) fn as_raw(&'static self) -> *const bindings::dma_buf_ops {
        &*self.buffer
    }

    /// Returns the exporter of a buffer.
    ///
    /// # Safety
    ///
    /// `dmabuf` is a buffer that [`DmaBuf::export`] made of an `E`, and `release` has not ended.
    unsafe fn exporter<'a>(dmabuf: *mut bindings::dma_buf) -> &'a E {
        // SAFETY: `export` set `priv` to a reference to an `E`, which only the end of `release`
        // gives up.
        unsafe { &*(*dmabuf).priv_.cast::<E>() }
    }

    /// Returns the exporter of an attachment, the state of the buffer, and what it keeps for the
    /// attachment.
    ///
    /// # Safety
    ///
    /// `attachment` is one of a buffer that [`DmaBuf::export`] made of an `E`, for which the core
    /// calls an operation with the reservation lock held.
    unsafe fn attached<'a>(
        attachment: *mut bindings::dma_buf_attachment,
    ) -> (&'a E, &'a mut E::State, &'a E::Attachment) {
        // SAFETY: The attachment keeps its dma-buf. The core holds the lock, and an operation is
        // the only one to borrow the state under it. `attach` set `priv`, which stays until
        // `detach`.
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
            // SAFETY: The core passes a buffer of `E`, which it keeps during the call.
            let attached = unsafe { Self::exporter(dmabuf) }.attach(&importer)?;
            // SAFETY: The core passes an attachment that only it and this call use yet; `priv` is
            // the exporter's.
            unsafe { (*attachment).priv_ = Arc::into_raw(attached).cast_mut().cast() };
            Ok(0)
        })
    }

    unsafe extern "C" fn detach(
        dmabuf: *mut bindings::dma_buf,
        attachment: *mut bindings::dma_buf_attachment,
    ) {
        // SAFETY: The core passes a buffer of `E`, and an attachment to it for the last time;
        // `attach` put the reference into `priv`.
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

    /// Returns 0, since `attach` decided who may attach, and a device that leaves is a user until
    /// `detach`. The core only learns the present mask.
    #[cfg(dma_buf_has_access_constraints)]
    unsafe extern "C" fn calc_access_constraints(
        dmabuf: *mut bindings::dma_buf,
        _attachment: *mut bindings::dma_buf_attachment,
    ) -> c_int {
        // SAFETY: The core passes a buffer of `E`, whose lock it holds and whose state nothing else
        // borrows.
        unsafe { set_access_mask(Self::exporter(dmabuf), dmabuf) };
        0
    }

    unsafe extern "C" fn pin(attachment: *mut bindings::dma_buf_attachment) -> c_int {
        // SAFETY: The core passes an attachment to a buffer of `E`, whose lock it holds.
        let (exporter, state, attached) = unsafe { Self::attached(attachment) };
        from_result(|| exporter.pin(state, attached).map(|()| 0))
    }

    unsafe extern "C" fn unpin(attachment: *mut bindings::dma_buf_attachment) {
        // SAFETY: The core passes an attachment to a buffer of `E`, whose lock it holds.
        let (exporter, state, attached) = unsafe { Self::attached(attachment) };
        exporter.unpin(state, attached);
    }

    unsafe extern "C" fn map(
        attachment: *mut bindings::dma_buf_attachment,
        raw: bindings::dma_data_direction,
    ) -> *mut bindings::sg_table {
        // SAFETY: The core passes an attachment to a buffer of `E`, whose lock it holds.
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
        // SAFETY: The core passes an attachment to a buffer of `E`, whose lock it holds.
        let (exporter, state, attached) = unsafe { Self::attached(attachment) };
        if let Some(table) = TableRef::from_raw(table) {
            exporter.unmap(state, attached, table);
        }
    }

    unsafe extern "C" fn release(dmabuf: *mut bindings::dma_buf) {
        // SAFETY: The core calls this once, after the last reference to the buffer: `priv` is the
        // reference that `export` put there, and is given up here.
        let exporter = unsafe { Arc::from_raw((*dmabuf).priv_.cast::<E>()) };
        let guard = exporter.reservation().lock();
        // SAFETY: The guard holds the lock.
        unsafe {
            exporter
                .reservation()
                .set_exported(core::ptr::null_mut(), 0)
        };
        exporter.release(guard);
    }

    unsafe extern "C" fn begin_cpu_access(
        dmabuf: *mut bindings::dma_buf,
        raw: bindings::dma_data_direction,
    ) -> c_int {
        // SAFETY: The core passes a buffer of `E`, which it keeps during the call.
        let exporter = unsafe { Self::exporter(dmabuf) };
        from_result(|| exporter.begin_cpu_access(direction(raw)).map(|()| 0))
    }

    unsafe extern "C" fn end_cpu_access(
        dmabuf: *mut bindings::dma_buf,
        raw: bindings::dma_data_direction,
    ) -> c_int {
        // SAFETY: The core passes a buffer of `E`, which it keeps during the call.
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
    /// Nothing waits here for memory or for the buffer's lock while other threads wait for
    /// `mmap_lock`: the fault drops that lock, waits, and is retried. Faults that cannot be retried
    /// are rare.
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
        // Once: a fault that is retried has waited, and could be overtaken for ever.
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
                // Without a page table reclaim may help, and the OOM killer picks the right
                // process.
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
        // SAFETY: The vma keeps the dma-buf until its lock is dropped below.
        let buffer = unsafe { DmaBuf::from_raw(dmabuf) }.counted();
        unlock_fault(raw);
        // The vma may be gone. After a signal the access is tried again.
        if let Ok(mut guard) = exporter.reservation().lock_interruptible() {
            // A failure is found when the access is tried again.
            let _ = exporter.populate(&mut guard);
        }
        drop(buffer);
        bindings::vm_fault_reason_VM_FAULT_RETRY
    }

    unsafe extern "C" fn vmap(
        dmabuf: *mut bindings::dma_buf,
        map: *mut bindings::iosys_map,
    ) -> c_int {
        // SAFETY: The core passes a buffer of `E`, whose lock it holds and whose state nothing else
        // borrows.
        let (exporter, state) = unsafe {
            let exporter = Self::exporter(dmabuf);
            (exporter, exporter.reservation().state())
        };
        from_result(|| {
            let address = exporter.vmap(state)?;
            // SAFETY: The core passes a `map` for this call to fill in.
            unsafe {
                (*map).__bindgen_anon_1.vaddr = address.as_ptr();
                (*map).is_iomem = false;
            }
            Ok(0)
        })
    }

    unsafe extern "C" fn vunmap(dmabuf: *mut bindings::dma_buf, _map: *mut bindings::iosys_map) {
        // SAFETY: The core passes a buffer of `E`, whose lock it holds and whose state nothing else
        // borrows.
        let (exporter, state) = unsafe {
            let exporter = Self::exporter(dmabuf);
            (exporter, exporter.reservation().state())
        };
        exporter.vunmap(state);
    }
}

/// Sets a vma up. Not generic: what it calls is exported to this module alone.
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
    // SAFETY: The caller passes a vma that is being set up for the file of `dmabuf`, and the
    // operations of its exporter.
    unsafe { c::dbc_vma_prepare(vma, ops, dmabuf.cast()) }
}

/// Drops the lock under which a fault is handled. Not generic: what it calls is exported to this
/// module alone.
#[inline(never)]
fn unlock_fault(fault: NonNull<bindings::vm_fault>) {
    // SAFETY: The only caller is `Ops::fault`, which handles this fault and then returns
    // `VM_FAULT_RETRY`.
    unsafe { c::dbc_fault_unlock(fault.as_ptr()) };
}
