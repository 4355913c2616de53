// SPDX-License-Identifier: GPL-2.0

//! All allocators: those of this module, and those that others registered.
//!
//! The list is never changed: whoever adds an allocator makes a new one, so that a reader needs no
//! lock while it asks allocators, which may take long. One that is removed is passed by.

use super::{
    builtin,
    Allocator,
    Devices,
    Need,
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

/// What is known of an allocator for as long as it is registered.
#[derive(Clone, Copy)]
pub struct Description {
    /// Its name, for people. No two have the same.
    pub name: Name,
    /// Its class: one bit of access masks.
    pub class: u64,
    /// How special it is: among those that fit, the highest is asked first.
    pub priority: u32,
}

/// The module that an allocator's code is in; there is none where it is built in.
#[derive(Clone, Copy)]
pub(crate) struct Code(*mut bindings::module);

// SAFETY: A module has its own lock.
unsafe impl Send for Code {}
// SAFETY: As above.
unsafe impl Sync for Code {}

impl Code {
    /// # Safety
    ///
    /// `module` is NULL, or a module that stays as long as an allocator of it is registered.
    pub(crate) unsafe fn new(module: *mut bindings::module) -> Self {
        Self(module)
    }

    /// Keeps the module, unless it is going, or has not come yet: one whose initialiser fails goes
    /// whoever has a reference.
    fn keep(self) -> Option<Kept> {
        // SAFETY: The allocator is registered, so that its module has not gone; NULL is allowed.
        let is_kept = unsafe { c::cenalloc_module_get(self.0) };
        // Made only where there is a reference to give back: its drop does that.
        is_kept.then(|| Kept(self))
    }
}

/// A reference to the module of an allocator.
struct Kept(Code);

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: `Code::keep` took the reference. Nothing of the module runs after this.
        unsafe { c::cenalloc_module_put(self.0 .0) };
    }
}

/// An allocator in the list.
#[pin_data]
pub(crate) struct Entry {
    description: Description,
    /// An allocator of this module.
    builtin: Option<Arc<dyn Allocator>>,
    /// One of another module, until it is removed: a reader of an old list must not be the one that
    /// drops it, since its code may be gone by then.
    #[pin]
    outside: SpinLock<Option<Arc<dyn Allocator>>>,
    /// Where the code of the latter is.
    code: Option<Code>,
    /// Bytes that buffers have from it.
    used: Atomic<u64>,
    /// Buffers that have memory from it, or are asking for some; below 0 once it is removed: then
    /// nobody may call it any more.
    live: Atomic<isize>,
    /// Who calls it, which may take long.
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

    /// Its name, for people.
    pub(crate) fn name(&self) -> &Name {
        &self.description.name
    }

    /// Its class: one bit of access masks.
    pub(crate) fn class(&self) -> u64 {
        self.description.class
    }

    /// How special it is.
    pub(crate) fn priority(&self) -> u32 {
        self.description.priority
    }

    /// Bytes that buffers have from it.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// The most bytes that it can give to one buffer, and whether always in one range; nothing
    /// once it is removed.
    pub(crate) fn promises(&self) -> Option<(u64, bool)> {
        let call = self.enter()?;
        Some((call.max_len(), call.is_contiguous()))
    }

    /// Why it could never satisfy `need` for `devices`.
    pub(crate) fn misfit(&self, need: &Need, devices: &Devices<'_>) -> Option<Misfit> {
        let placement = &need.placement;
        if placement.access_mask & self.class() == 0 {
            return Some(Misfit {
                field: Field::AccessMask,
                wanted: placement.access_mask,
                found: self.class(),
            });
        }
        // All of them give memory that the CPU caches.
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
            // One range that is too long is the wish for one range's fault.
            let field = if call.is_contiguous() && placement.max_segments == 1 {
                Field::MaxSegments
            } else {
                Field::Length
            };
            return Some(match field {
                Field::MaxSegments => Misfit {
                    field,
                    wanted: 1,
                    found: need.len.div_ceil(max_len.max(1)),
                },
                _ => Misfit {
                    field,
                    wanted: need.len,
                    found: max_len,
                },
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

    /// Memory for `need`, which has no [`misfit`](Self::misfit).
    pub(crate) fn allocate(
        entry: &Arc<Self>,
        need: &Need,
        devices: &Devices<'_>,
    ) -> Result<(Provision, Lease), Shortage> {
        let call = entry.enter().ok_or(Shortage::Memory)?;
        let lease = Lease::new(entry, &call).ok_or(Shortage::Memory)?;
        Ok((call.allocate(need, devices)?, lease))
    }

    /// Whether it seems to have memory now for `need`, which has no [`misfit`](Self::misfit).
    pub(crate) fn has_room(&self, need: &Need) -> Result<(), Shortage> {
        self.enter().ok_or(Shortage::Memory)?.has_room(need)
    }

    /// Whether it was removed.
    fn is_removed(&self) -> bool {
        self.live.load(Relaxed) < 0
    }

    /// The right to call the allocator; nothing once it is removed.
    fn enter(&self) -> Option<Call<'_>> {
        if let Some(allocator) = &self.builtin {
            // The allocators of this module stay as long as it does.
            return Some(Call::Builtin(allocator));
        }
        let call = self.calls.read_lock();
        // Taken away when it is removed, before those who call it are waited for.
        let allocator = self.outside.lock().clone()?;
        Some(Call::Outside(allocator, call))
    }

    /// Keeps everybody from calling the allocator, waits for those who do, and lets it go. The
    /// memory that buffers have of it keeps what it needs by itself.
    fn close(&self) {
        let allocator = self.outside.lock().take();
        self.calls.synchronize();
        if allocator.is_some_and(|allocator| allocator.is_selective()) {
            SELECTIVE.fetch_sub(1, Relaxed);
        }
    }
}

/// What is added to `live` of an allocator that is removed.
const REMOVED: isize = isize::MIN / 2;

/// A call of an allocator that is listed.
enum Call<'a> {
    Builtin(&'a Arc<dyn Allocator>),
    /// The allocator is let go before the call is over.
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

/// What a buffer's memory keeps of its allocator: the code that frees it.
///
/// # Invariants
///
/// Counts in `live`, and has a reference to the module, where there is one.
pub(crate) struct Lease {
    entry: Arc<Entry>,
    allocator: Option<Arc<dyn Allocator>>,
    len: u64,
    /// Dropped last, behind the allocator.
    _kept: Option<Kept>,
}

impl Lease {
    fn new(entry: &Arc<Entry>, call: &Call<'_>) -> Option<Self> {
        let kept = match entry.code {
            Some(code) => Some(code.keep()?),
            None => None,
        };
        let was_removed = entry.live.fetch_add(1, Full) < 0;
        // INVARIANT: Counted and kept above.
        let lease = Self {
            entry: entry.clone(),
            allocator: Some(call.allocator().clone()),
            len: 0,
            _kept: kept,
        };
        if was_removed {
            // Dropped, it is not counted any more.
            return None;
        }
        Some(lease)
    }

    /// Counts `len` bytes as used.
    pub(crate) fn count(&mut self, len: u64) {
        self.entry.used.fetch_add(len, Relaxed);
        self.len += len;
    }

    /// Whether the allocator serves all these devices together with its memory.
    pub(crate) fn serves(&self, need: &Need, devices: &Devices<'_>) -> bool {
        // Its code stays as long as its memory, whether it is being removed or not.
        self.allocator
            .as_ref()
            .is_none_or(|allocator| allocator.matches(need, devices))
    }

    /// The allocator.
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Before it counts as gone: whoever removes the allocator may take its code away then.
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
    /// Taken by who changes the list.
    // SAFETY: `Builtin::new` initialises it in the module's initialiser, before anything can use
    // the lock.
    unsafe(uninit) static CHANGE: Mutex<()> = ();
}

/// How many allocators may refuse devices for reasons of their own.
static SELECTIVE: Atomic<usize> = Atomic::new(0);

/// How many allocators may refuse devices for reasons of their own.
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

/// All allocators, in the order in which they are asked: the first that fits provides the memory.
pub(crate) fn snapshot() -> Snapshot {
    Snapshot(LIST.lock().clone())
}

/// Replaces the list by one that `change` made of it, without those that were removed meanwhile.
/// `ENOMEM`, and what `change` fails with.
fn replace(change: impl FnOnce(&mut List) -> Result) -> Result {
    let _change = CHANGE.lock();
    let mut list = List::new();
    for entry in snapshot().iter() {
        list.push(entry.clone(), GFP_KERNEL_ACCOUNT)?;
    }
    change(&mut list)?;
    let list = Arc::new(list, GFP_KERNEL_ACCOUNT)?;
    let old = LIST.lock().replace(list);
    // Freed without the spinlock.
    drop(old);
    Ok(())
}

/// Adds an allocator behind those of its priority. `EEXIST` where there is one of its name.
fn insert(list: &mut List, entry: Arc<Entry>) -> Result {
    if list.iter().any(|other| other.name() == entry.name()) {
        return Err(EEXIST);
    }
    let place = list.partition_point(|other| other.priority() >= entry.priority());
    list.push(entry, GFP_KERNEL_ACCOUNT)?;
    list[place..].rotate_right(1);
    Ok(())
}

/// The allocators of this module, listed as long as this is there.
pub(crate) struct Builtin(());

impl Builtin {
    /// Makes the list. For the module's initialiser. `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The module's initialiser calls this exactly once, before there are buffers.
        unsafe { LIST.init() };
        // SAFETY: As above.
        unsafe { CHANGE.init() };
        replace(|list| {
            for (description, allocator) in builtin()? {
                match insert(list, Entry::new(description, allocator, None)?) {
                    // Areas have the names that a device tree gives them.
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
        // A static is never dropped: it must not hold memory when the module goes.
        let list = LIST.lock().take();
        drop(list);
    }
}

/// An allocator of another module, listed until this is dropped.
///
/// Dropped while buffers have memory from it, it gives no more; those keep it and its module.
pub struct Registration(Arc<Entry>);

impl Registration {
    /// Registers `allocator`, whose code is in `module`.
    ///
    /// `EINVAL` where the class is not one bit, or the name is empty or too long; `EEXIST` where an
    /// allocator has the name; `EPROBE_DEFER` where cenalloc is built in and has not started;
    /// `ENOMEM`. May sleep.
    pub fn new(
        module: &'static ThisModule,
        description: Description,
        allocator: Arc<dyn Allocator>,
    ) -> Result<Self> {
        // SAFETY: The implementation of the allocator promises that its code is there as long as
        // this module is, and the caller has not left it.
        let code = unsafe { Code::new(module.as_ptr()) };
        Self::with_code(code, description, allocator)
    }

    /// As [`new`](Self::new).
    pub(crate) fn with_code(
        code: Code,
        description: Description,
        allocator: Arc<dyn Allocator>,
    ) -> Result<Self> {
        let name = description.name.as_str();
        if !crate::is_ready() {
            return Err(EPROBE_DEFER);
        }
        // Userspace is told of so many characters, and they have to tell allocators apart.
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

    /// Removes the allocator, unless a buffer has memory from it: `EBUSY`; nothing has changed
    /// then. Waits for those who ask the allocator now.
    pub fn remove(self) -> Result<(), (Error, Self)> {
        match self.try_remove() {
            Ok(()) => Ok(()),
            Err(error) => Err((error, self)),
        }
    }

    /// As [`remove`](Self::remove); after it, there is nothing left for a drop to do.
    ///
    /// Needs no memory: what stays in the list is passed by, and goes with the next change.
    pub(crate) fn try_remove(&self) -> Result {
        // From the moment in which nobody has memory of it on, nobody gets any.
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
