// SPDX-License-Identifier: GPL-2.0

//! The list of allocators: those of this module, and those that other modules register.
//!
//! A list is never changed but replaced: a reader needs no lock while it calls allocators, which
//! may take long. It skips an allocator that is removed.

use super::{
    builtin,
    Allocator,
    Devices,
    Need,
    Report,
    Shortage, //
};
use crate::{
    c,
    provision::Provision, //
};
use dma_buf_constraints::model::{
    Field,
    Misfit,
    Name, //
};
use kernel::{
    bindings,
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        srcu::{
            self,
            new_srcu,
            Srcu, //
        },
        Arc,
        SpinLock, //
    }, //
};

/// The constant properties of an allocator.
#[derive(Clone, Copy)]
pub struct Description {
    /// The name. No two allocators have the same.
    pub name: Name,
    /// The class of its memory: one bit of access masks.
    pub class: u64,
    /// The priority: of the allocators that fit, the one with the highest is asked first.
    pub priority: u32,
}

/// The module that an allocator's code is in; NULL where it is built in.
#[derive(Clone, Copy)]
pub(crate) struct Code(*mut bindings::module);

// SAFETY: The pointer is used only to count references to the module, which any thread may do.
unsafe impl Send for Code {}
// SAFETY: References to a module are counted atomically.
unsafe impl Sync for Code {}

impl Code {
    /// # Safety
    ///
    /// `module` is NULL, or a module that stays loaded as long as an allocator of it is registered.
    pub(crate) unsafe fn new(module: *mut bindings::module) -> Self {
        Self(module)
    }

    /// Takes a reference to the module, unless it is being unloaded or still initialises: where
    /// that fails, the kernel frees the module in spite of references.
    fn keep(self) -> Option<Kept> {
        // SAFETY: `self` is NULL, which is allowed, or a module that is loaded while its allocator
        // is registered, as the caller of `new` promised. A call of the allocator, under which this
        // runs, delays the end of the registration.
        let is_kept = unsafe { c::cenalloc_module_get(self.0) };
        // Created only with a reference, which its drop gives back.
        is_kept.then(|| Kept(self))
    }
}

/// A reference to the module of an allocator.
struct Kept(Code);

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: `Code::keep` took the reference, and a `Lease` drops it last: no code of the
        // module runs under it after this.
        unsafe { c::cenalloc_module_put(self.0 .0) };
    }
}

/// An allocator in the list.
#[pin_data]
pub(crate) struct Entry {
    description: Description,
    /// The allocator, if it is one of this module.
    builtin: Option<Arc<dyn Allocator>>,
    /// The allocator of another module, until it is removed: the last reference must not be that of
    /// a reader of an old list, since the code may be gone by then.
    #[pin]
    outside: SpinLock<Option<Arc<dyn Allocator>>>,
    /// The module of `outside`.
    code: Option<Code>,
    /// How many bytes buffers have from it.
    used: Atomic<u64>,
    /// How many buffers have memory from it or are allocating some; below 0 once it is removed.
    live: Atomic<isize>,
    /// Entered by each call of `outside`, which may take long.
    #[pin]
    calls: Srcu,
}

impl Entry {
    fn new(
        description: Description,
        allocator: Arc<dyn Allocator>,
        code: Option<Code>,
    ) -> Result<Arc<Self>> {
        let (builtin, outside) = match code {
            None => (Some(allocator), None),
            Some(_) => (None, Some(allocator)),
        };
        Arc::pin_init(
            try_pin_init!(Self {
                description,
                builtin,
                outside <- new_spinlock!(outside),
                code,
                used: Atomic::new(0),
                live: Atomic::new(0),
                calls <- new_srcu!(),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Returns the name.
    pub(crate) fn name(&self) -> &Name {
        &self.description.name
    }

    /// Returns the class of its memory: one bit of access masks.
    pub(crate) fn class(&self) -> u64 {
        self.description.class
    }

    /// Returns the priority.
    pub(crate) fn priority(&self) -> u32 {
        self.description.priority
    }

    /// Returns whether it is the allocator of scattered memory of this module.
    pub(crate) fn is_scattered(&self) -> bool {
        self.builtin.is_some() && self.class() == c::CENALLOC_CLASS_SYSTEM.into()
    }

    /// Returns how many bytes buffers have from it.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Returns the most bytes that it can give to one buffer, whether always in one range, and what
    /// it tells of itself; [`None`] once it is removed.
    pub(crate) fn promises(&self) -> Option<(u64, bool, Report)> {
        let call = self.enter()?;
        Some((call.max_len(), call.is_contiguous(), call.report()))
    }

    /// Returns what it lacks to ever satisfy `need` for `devices`, if anything.
    pub(crate) fn misfit(&self, need: &Need, devices: &Devices<'_>) -> Option<Misfit> {
        let placement = &need.placement;
        if placement.access_mask & self.class() == 0 {
            return Some(Misfit {
                field: Field::AccessMask,
                wanted: placement.access_mask,
                found: self.class(),
            });
        }
        // All allocators give memory that the CPU caches.
        if placement.coherent {
            return Some(Misfit {
                field: Field::Coherent,
                wanted: 1,
                found: 0,
            });
        }
        let Some(call) = self.enter() else {
            return Some(Misfit::UNSERVED);
        };
        let max_len = call.max_len();
        if need.len > max_len {
            // The cause is that one range was asked for, since others may give the length in
            // several.
            return Some(Misfit {
                field: if call.is_contiguous() && placement.max_segments == 1 {
                    Field::Contiguous
                } else {
                    Field::Length
                },
                wanted: need.len,
                found: max_len,
            });
        }
        if let Err(misfit) = call.could(need) {
            return Some(misfit);
        }
        if call.matches(need, devices) {
            None
        } else {
            Some(Misfit::UNSERVED)
        }
    }

    /// Allocates memory for `need`, which has no [`misfit`](Self::misfit).
    pub(crate) fn allocate(
        entry: &Arc<Self>,
        need: &Need,
        devices: &Devices<'_>,
    ) -> Result<(Provision, Lease), Shortage> {
        let call = entry.enter().ok_or(Shortage::Memory)?;
        let lease = Lease::new(entry, &call).ok_or(Shortage::Memory)?;
        Ok((call.allocate(need, devices)?, lease))
    }

    /// Estimates whether it has memory now for `need`, which has no [`misfit`](Self::misfit).
    pub(crate) fn has_room(&self, need: &Need) -> Result<(), Shortage> {
        self.enter().ok_or(Shortage::Memory)?.has_room(need)
    }

    /// Returns whether it was removed.
    fn is_removed(&self) -> bool {
        self.live.load(Relaxed) < 0
    }

    /// Begins a call of the allocator; [`None`] once it is removed.
    fn enter(&self) -> Option<Call<'_>> {
        if let Some(allocator) = &self.builtin {
            // An allocator of this module stays as long as the module.
            return Some(Call::Builtin(allocator));
        }
        let call = self.calls.read_lock();
        // `close` takes the allocator away before it waits for calls.
        let allocator = self.outside.lock().clone()?;
        Some(Call::Outside(allocator, call))
    }

    /// Ends calls of the allocator, waits for those that run, and drops it. The memory that buffers
    /// have from it keeps what it needs.
    fn close(&self) {
        let allocator = self.outside.lock().take();
        self.calls.synchronize();
        if allocator.is_some_and(|allocator| allocator.is_selective()) {
            SELECTIVE.fetch_sub(1, Relaxed);
        }
    }
}

/// Added to `live` of an allocator that is removed.
const REMOVED: isize = isize::MIN / 2;

/// A call of a listed allocator.
enum Call<'a> {
    Builtin(&'a Arc<dyn Allocator>),
    /// The allocator is dropped before the call ends.
    Outside(
        Arc<dyn Allocator>,
        #[expect(dead_code, reason = "ends the call")] srcu::Guard<'a>,
    ),
}

impl Call<'_> {
    fn allocator(&self) -> &Arc<dyn Allocator> {
        match self {
            Self::Builtin(allocator) => allocator,
            Self::Outside(allocator, _) => allocator,
        }
    }
}

impl core::ops::Deref for Call<'_> {
    type Target = dyn Allocator;

    fn deref(&self) -> &Self::Target {
        &**self.allocator()
    }
}

/// Keeps the allocator of a buffer's memory, and with it the code that frees the memory.
///
/// # Invariants
///
/// Counts in `entry.live`, and holds a reference to the module, if there is one.
pub(crate) struct Lease {
    entry: Arc<Entry>,
    allocator: Option<Arc<dyn Allocator>>,
    len: u64,
    /// Dropped last, after the allocator.
    _kept: Option<Kept>,
}

impl Lease {
    fn new(entry: &Arc<Entry>, call: &Call<'_>) -> Option<Self> {
        let kept = match entry.code {
            Some(code) => Some(code.keep()?),
            None => None,
        };
        let was_removed = entry.live.fetch_add(1, Full) < 0;
        // INVARIANT: `live` was incremented and the module referenced above.
        let lease = Self {
            entry: entry.clone(),
            allocator: Some(call.allocator().clone()),
            len: 0,
            _kept: kept,
        };
        if was_removed {
            // The drop of `lease` decrements `live` again.
            return None;
        }
        Some(lease)
    }

    /// Counts `len` bytes as used.
    pub(crate) fn count(&mut self, len: u64) {
        self.entry.used.fetch_add(len, Relaxed);
        self.len += len;
    }

    /// Returns whether the allocator serves all `devices` together with its memory.
    pub(crate) fn serves(&self, need: &Need, devices: &Devices<'_>) -> bool {
        // Its code stays as long as this memory, even while it is being removed.
        self.allocator
            .as_ref()
            .is_none_or(|allocator| allocator.matches(need, devices))
    }

    /// Returns the allocator.
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Before it is counted off, after which a module that removes the allocator may be
        // unloaded.
        self.allocator = None;
        self.entry.used.fetch_sub(self.len, Relaxed);
        self.entry.live.fetch_sub(1, Full);
    }
}

/// All allocators, by priority.
type List = KVec<Arc<Entry>>;

kernel::sync::global_lock! {
    // SAFETY: `Builtin::new` initialises it in the module's initialiser, before anything can use
    // the lock.
    unsafe(uninit) static LIST: SpinLock<Option<Arc<List>>> = None;
}

kernel::sync::global_lock! {
    /// Held while the list is replaced.
    // SAFETY: `Builtin::new` initialises it in the module's initialiser, before anything can use
    // the lock.
    unsafe(uninit) static CHANGE: Mutex<()> = ();
}

/// How many allocators may refuse devices for reasons of their own.
static SELECTIVE: Atomic<usize> = Atomic::new(0);

/// Returns how many allocators may refuse devices for reasons of their own.
pub(super) fn selective() -> usize {
    SELECTIVE.load(Relaxed)
}

/// All allocators, in the order in which they are asked.
pub(crate) struct Snapshot(Option<Arc<List>>);

impl Snapshot {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        let entries = self.0.iter().flat_map(|list| list.iter());
        entries.filter(|entry| !entry.is_removed())
    }
}

/// Returns all allocators, in the order in which they are asked: the first that fits provides the
/// memory.
pub(crate) fn snapshot() -> Snapshot {
    Snapshot(LIST.lock().clone())
}

/// Replaces the list by one that `change` makes of it, without those that were removed meanwhile.
/// `ENOMEM`; what `change` fails with.
fn replace(change: impl FnOnce(&mut List) -> Result) -> Result {
    let _change = CHANGE.lock();
    let mut list = List::new();
    for entry in snapshot().iter() {
        list.push(entry.clone(), GFP_KERNEL_ACCOUNT)?;
    }
    change(&mut list)?;
    let list = Arc::new(list, GFP_KERNEL_ACCOUNT)?;
    let old = LIST.lock().replace(list);
    // Drops the list without the spinlock.
    drop(old);
    Ok(())
}

/// Adds an allocator behind those of its priority. `EEXIST` where one has its name.
fn insert(list: &mut List, entry: Arc<Entry>) -> Result {
    if list.iter().any(|other| other.name() == entry.name()) {
        return Err(EEXIST);
    }
    let place = list.partition_point(|other| other.priority() >= entry.priority());
    list.push(entry, GFP_KERNEL_ACCOUNT)?;
    list[place..].rotate_right(1);
    Ok(())
}

/// The allocators of this module, which are listed as long as this lives.
pub(crate) struct Builtin(());

impl Builtin {
    /// Creates the list. Called once, by the module's initialiser. `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The module's initialiser calls this exactly once, before there are buffers.
        unsafe { LIST.init() };
        // SAFETY: The module's initialiser calls this exactly once, before there are buffers.
        unsafe { CHANGE.init() };
        replace(|list| {
            for (description, allocator) in builtin()? {
                match insert(list, Entry::new(description, allocator, None)?) {
                    // CMA areas have the names that a device tree gives them, which may clash.
                    Err(EEXIST) => pr_warn!("two allocators of one name: one is not used\n"),
                    inserted => inserted?,
                }
            }
            Ok(())
        })?;
        Ok(Self(()))
    }
}

impl Drop for Builtin {
    fn drop(&mut self) {
        // A static is never dropped, so that it must not hold memory when the module is unloaded.
        let list = LIST.lock().take();
        drop(list);
    }
}

/// An allocator of another module, listed until this is dropped.
///
/// If it is dropped while buffers have memory from the allocator, the allocator gives no more; the
/// buffers keep it and its module.
pub struct Registration(Arc<Entry>);

impl Registration {
    /// Registers `allocator`, whose code is in `module`.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the class is not one bit, or the name is empty or too long.
    /// - `EEXIST` if an allocator has the name.
    /// - `EPROBE_DEFER` if cenalloc is built in and has not started.
    /// - `ENOMEM` if there is no memory for the new list.
    pub fn new(
        module: &'static ThisModule,
        description: Description,
        allocator: Arc<dyn Allocator>,
    ) -> Result<Self> {
        // SAFETY: The implementer of `Allocator` promises that a registration is dropped before the
        // module with its code is unloaded.
        let code = unsafe { Code::new(module.as_ptr()) };
        Self::with_code(code, description, allocator)
    }

    /// Registers `allocator`, whose code is in `code`. Fails as [`new`](Self::new).
    pub(crate) fn with_code(
        code: Code,
        description: Description,
        allocator: Arc<dyn Allocator>,
    ) -> Result<Self> {
        let name = description.name.as_str();
        if !crate::is_ready() {
            return Err(EPROBE_DEFER);
        }
        // Userspace gets this many characters, by which it tells allocators apart.
        let is_named = (1..c::CENALLOC_NAME_LEN as usize).contains(&name.len());
        if !description.class.is_power_of_two() || !is_named {
            return Err(EINVAL);
        }
        let is_selective = allocator.is_selective();
        let entry = Entry::new(description, allocator, Some(code))?;
        replace(|list| insert(list, entry.clone()))?;
        if is_selective {
            SELECTIVE.fetch_add(1, Relaxed);
        }
        Ok(Self(entry))
    }

    /// Removes the allocator, and waits for its calls, unless a buffer has memory from it.
    ///
    /// # Errors
    ///
    /// - `EBUSY` if a buffer has memory from it, or is allocating some. Nothing has changed then,
    ///   and the registration comes back beside the error.
    pub fn remove(self) -> Result<(), (Error, Self)> {
        match self.try_remove() {
            Ok(()) => Ok(()),
            Err(error) => Err((error, self)),
        }
    }

    /// Removes the allocator as [`remove`](Self::remove), after which the drop does nothing.
    ///
    /// Needs no memory: the entry stays in the list, where it is skipped, until the next change.
    pub(crate) fn try_remove(&self) -> Result {
        // Checks and removes at once, so that no buffer gets memory from it in between.
        self.0.live.cmpxchg(0, REMOVED, Full).map_err(|_| EBUSY)?;
        self.0.close();
        Ok(())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !self.0.is_removed() {
            self.0.live.fetch_add(REMOVED, Full);
            self.0.close();
        }
    }
}
