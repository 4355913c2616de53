// SPDX-License-Identifier: GPL-2.0

//! What is kept for a device for as long as a driver is bound to it.
//!
//! A notifier of the device's bus tells when that ends, after an unbind or a failed probe. Nothing
//! is attached to the device itself, which belongs to its driver and its bus, and an unbind waits
//! for no more than the search of a tree.

use crate::{
    c,
    device::as_raw,
    model::Constraints, //
};
use core::ops::Deref;
use kernel::{
    alloc::Flags,
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::to_result,
    new_mutex,
    new_spinlock,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        Arc,
        Mutex,
        SpinLock, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

/// The address of a device, and a number that tells entries of one device apart.
type Key = (usize, u64);

/// The number of what a device's own driver declared: one declaration.
const OF_ITS_DRIVER: u64 = 0;

/// An entry of a device.
enum Entry {
    /// What its driver declared.
    Declared(
        Constraints,
        #[expect(dead_code, reason = "its drop counts")] Watched,
    ),
    /// A [`Kept`] of another module.
    Kept(Arc<Place>),
}

/// A device that is kept.
struct Remembered {
    device: ARef<Device>,
    /// Dropped with the device: a bus that is unregistered has no device with a driver, and another
    /// may be registered at its address, without the notifier.
    _watched: Watched,
}

/// Where a device is kept until its driver unbinds.
type Place = SpinLock<Option<Remembered>>;

kernel::sync::global_lock! {
    /// All entries. Held only for a search.
    // SAFETY: `Watching::new` initialises it before anything can use the lock.
    unsafe(uninit) static ENTRIES: Mutex<Option<RBTree<Key, Entry>>> = None;
}

kernel::sync::global_lock! {
    /// The buses whose devices have been in the table.
    // SAFETY: `Watching::new` initialises it before anything can use the lock.
    unsafe(uninit) static WATCHES: Mutex<KVec<Arc<Watch>>> = KVec::new();
}

/// Whether the locks above are initialised: where the module is built in, drivers may probe
/// earlier.
static READY: Atomic<bool> = Atomic::new(false);

/// How many declarations of drivers there are: on most systems none, and then the tree is not
/// searched.
static DECLARATIONS: Atomic<usize> = Atomic::new(0);

/// How many devices were dropped because their drivers unbound.
static LET_GO: Atomic<usize> = Atomic::new(0);

/// The number of the newest entry.
static NEWEST: Atomic<u64> = Atomic::new(OF_ITS_DRIVER);

fn address(device: &Device) -> usize {
    as_raw(device) as usize
}

/// The notifier of a bus.
#[pin_data]
struct Watch {
    bus: *const bindings::bus_type,
    #[pin]
    block: Opaque<bindings::notifier_block>,
    /// Held while the notifier is registered: a thread waits only for notifiers of the same bus.
    #[pin]
    registering: Mutex<()>,
    /// How many entries there are of devices on the bus.
    entries: Atomic<usize>,
}

// SAFETY: `bus` is only compared, or used by a caller that has a device on it. The notifier is
// changed by any thread under `registering`, or by `Watching` after the last declaration.
unsafe impl Send for Watch {}
// SAFETY: `bus` is constant, the notifier is changed only under `registering` or by `Watching`
// after the last declaration, and the count is atomic.
unsafe impl Sync for Watch {}

impl Watch {
    /// Returns the watch of a bus, which is created if there is none yet. `ENOMEM`.
    fn of(bus: *const bindings::bus_type) -> Result<Arc<Self>> {
        let known = |watches: &[Arc<Self>]| watches.iter().find(|watch| watch.bus == bus).cloned();
        if let Some(watch) = known(&WATCHES.lock()) {
            return Ok(watch);
        }
        let block = bindings::notifier_block {
            notifier_call: Some(notified),
            ..Zeroable::zeroed()
        };
        let watch = Arc::pin_init(
            pin_init!(Self {
                bus,
                block: Opaque::new(block),
                registering <- new_mutex!(()),
                entries: Atomic::new(0),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        let mut watches = WATCHES.lock();
        if let Some(watch) = known(&watches) {
            return Ok(watch);
        }
        // There is one for each bus.
        watches.push(watch.clone(), GFP_KERNEL_ACCOUNT)?;
        Ok(watch)
    }

    /// Registers the notifier, which may be registered already, or no longer where the bus was
    /// unregistered and came again. `ENOMEM`.
    fn register(&self) -> Result {
        // SAFETY: The caller has a device on the bus, which keeps the bus. The notifier stays where
        // it is until `Watching` unregisters it. Unregistering one that is not registered does
        // nothing.
        unsafe {
            bindings::bus_unregister_notifier(self.bus, self.block.get());
            to_result(bindings::bus_register_notifier(self.bus, self.block.get()))
        }
    }
}

/// Counts an entry of a device on its bus.
struct Watched(Arc<Watch>);

impl Watched {
    /// Registers the notifier of the bus of `device`. `ENODEV` where it is on none; `ENOMEM`. May
    /// sleep.
    fn new(device: &Device) -> Result<Self> {
        // SAFETY: The reference keeps the device, whose bus never changes.
        let bus = unsafe { (*as_raw(device)).bus };
        if bus.is_null() {
            return Err(ENODEV);
        }
        let watch = Watch::of(bus)?;
        let _registering = watch.registering.lock();
        if watch.entries.load(Relaxed) == 0 {
            watch.register()?;
        }
        watch.entries.fetch_add(1, Relaxed);
        Ok(Self(watch.clone()))
    }
}

impl Drop for Watched {
    /// Takes no lock, since the notifier itself may drop this.
    fn drop(&mut self) {
        self.0.entries.fetch_sub(1, Relaxed);
    }
}

/// Owns the locks and notifiers above, as long as the module.
pub(crate) struct Watching(());

impl Watching {
    /// Initialises the locks. Called once, by the module's initialiser.
    pub(crate) fn new() -> Self {
        // SAFETY: The module's initialiser calls this exactly once, before anything else.
        unsafe { ENTRIES.init() };
        // SAFETY: The module's initialiser calls this exactly once, before anything else.
        unsafe { WATCHES.init() };
        *ENTRIES.lock() = Some(RBTree::new());
        READY.store(true, Release);
        Self(())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // Without the lock: unregistering waits for `notified`, which never takes it.
        let watches = core::mem::replace(&mut *WATCHES.lock(), KVec::new());
        for watch in &watches {
            // SAFETY: The call looks the bus up by its address, and does not dereference one that
            // is not registered.
            unsafe { bindings::bus_unregister_notifier(watch.bus, watch.block.get()) };
        }
        drop(ENTRIES.lock().take());
    }
}

/// Drops the entries of a device whose driver has unbound or failed to bind.
///
/// # Safety
///
/// Called by the notifiers of [`Watch`] only, with a device of the bus.
unsafe extern "C" fn notified(
    _block: *mut bindings::notifier_block,
    event: c_ulong,
    device: *mut c_void,
) -> c_int {
    let is_over = event == bindings::bus_notifier_event_BUS_NOTIFY_UNBOUND_DRIVER as c_ulong
        || event == bindings::bus_notifier_event_BUS_NOTIFY_DRIVER_NOT_BOUND as c_ulong;
    let mut is_waited_for = false;
    while let Some(entry) = is_over.then(|| first(device as usize)).flatten() {
        match entry {
            Entry::Declared(..) => {
                DECLARATIONS.fetch_sub(1, Relaxed);
            }
            Entry::Kept(place) => {
                let device = place.lock().take();
                // A thread that reads the new number finds the place empty.
                LET_GO.fetch_add(1, Release);
                is_waited_for = true;
                // Drops the reference without the spinlock.
                drop(device);
            }
        }
    }
    if is_waited_for {
        // Once for all entries: there may be as many of these as of those that wait.
        // SAFETY: No requirements.
        unsafe { c::dbc_wake_for_unbind() };
    }
    bindings::NOTIFY_DONE as c_int
}

/// Removes any entry of a device from the tree.
fn first(device: usize) -> Option<Entry> {
    let mut entries = ENTRIES.lock();
    let cursor = entries.as_mut()?.cursor_lower_bound_mut(&(device, 0))?;
    if cursor.current().0 .0 != device {
        return None;
    }
    let (_, node) = cursor.remove_current();
    Some(node.to_key_value().1)
}

/// Replaces what the driver of `device` declared by `constraints`, or by nothing. `ENODEV` where it
/// is on no bus; `EPROBE_DEFER` where the module has not started yet; `ENOMEM`.
pub(crate) fn declare(device: &Device<Bound>, constraints: Option<&Constraints>) -> Result {
    if !READY.load(Acquire) {
        return Err(EPROBE_DEFER);
    }
    let key = (address(device), OF_ITS_DRIVER);
    let Some(constraints) = constraints else {
        let old = ENTRIES.lock().as_mut().and_then(|all| all.remove(&key));
        DECLARATIONS.fetch_sub(old.is_some().into(), Relaxed);
        return Ok(());
    };
    let entry = Entry::Declared(*constraints, Watched::new(device)?);
    let node = RBTreeNode::new(key, entry, GFP_KERNEL_ACCOUNT)?;
    let old = ENTRIES.lock().as_mut().and_then(|all| all.insert(node));
    DECLARATIONS.fetch_add(old.is_none().into(), Relaxed);
    Ok(())
}

/// Returns whether any driver has declared anything.
pub(crate) fn any_declared() -> bool {
    DECLARATIONS.load(Relaxed) > 0
}

/// Returns what the driver of `device` declared last.
pub(crate) fn declared(device: &Device) -> Option<Constraints> {
    if !any_declared() {
        return None;
    }
    let entries = ENTRIES.lock();
    match entries.as_ref()?.get(&(address(device), OF_ITS_DRIVER))? {
        Entry::Declared(constraints, _) => Some(*constraints),
        Entry::Kept(_) => None,
    }
}

/// Returns how many devices were dropped because their drivers unbound. When that changes, a
/// [`Kept`] may be over.
pub fn let_go() -> usize {
    LET_GO.load(Acquire)
}

/// Returns the counter behind [`let_go`].
pub(crate) fn let_go_counter() -> *mut usize {
    LET_GO.as_ptr()
}

/// Memory for a [`Kept`], allocated before the device is locked.
pub struct Room {
    place: Arc<Place>,
    node: RBTreeNode<Key, Entry>,
    key: Key,
    watched: Watched,
}

impl Room {
    /// Allocates what it takes to keep `device`. May sleep.
    ///
    /// # Errors
    ///
    /// - `ENODEV` if the device is on no bus.
    /// - `ENOMEM` if there is no memory for the entry or the notifier.
    pub fn new(device: &Device, flags: Flags) -> Result<Self> {
        let place = Arc::pin_init(new_spinlock!(None), flags)?;
        let key = (address(device), NEWEST.fetch_add(1, Relaxed) + 1);
        Ok(Self {
            node: RBTreeNode::new(key, Entry::Kept(place.clone()), flags)?,
            watched: Watched::new(device)?,
            place,
            key,
        })
    }

    /// Keeps `device` until its driver unbinds.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the room was made for another device.
    pub fn keep(self, device: &Device<Bound>) -> Result<Kept> {
        if self.key.0 != address(device) {
            return Err(EINVAL);
        }
        *self.place.lock() = Some(Remembered {
            device: (&**device).into(),
            _watched: self.watched,
        });
        let same = ENTRIES.lock().as_mut().map(|all| all.insert(self.node));
        // Nothing was replaced: numbers are not used twice.
        drop(same);
        Ok(Kept {
            place: self.place,
            key: self.key,
        })
    }
}

/// A device of another driver, with a reference to it until that driver unbinds.
pub struct Kept {
    place: Arc<Place>,
    key: Key,
}

impl Kept {
    /// Returns the device, unless its driver has unbound.
    pub fn device(&self) -> Option<ARef<Device>> {
        let place = self.place.lock();
        Some(place.as_ref()?.device.clone())
    }

    /// Returns whether its driver has unbound.
    pub fn is_over(&self) -> bool {
        self.place.lock().is_none()
    }

    /// Returns whether it is `device`, and its driver has not unbound.
    pub fn is_of(&self, device: &Device) -> bool {
        self.key.0 == address(device) && !self.is_over()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let entry = ENTRIES
            .lock()
            .as_mut()
            .and_then(|all| all.remove_node(&self.key));
        // Drops the entry without the mutex.
        drop(entry);
    }
}

/// Keeps a device bound to its driver: the device's lock, which an unbind takes.
///
/// # Invariants
///
/// This thread holds the lock of the device, and a driver is bound to it.
pub struct BoundLock<'a>(&'a Device, NotThreadSafe);

impl<'a> BoundLock<'a> {
    /// Takes the lock of `device`. May sleep.
    ///
    /// # Errors
    ///
    /// - `ENODEV` if no driver is bound.
    /// - `ERESTARTSYS` if a signal comes first.
    pub fn new(device: &'a Device) -> Result<Self> {
        // SAFETY: The reference keeps the device.
        to_result(unsafe { c::dbc_device_lock_bound(as_raw(device)) })?;
        // INVARIANT: The call took the lock and found a driver. Where it fails there must be no
        // guard, not even for a moment: its drop unlocks.
        Ok(Self(device, NotThreadSafe))
    }
}

impl Deref for BoundLock<'_> {
    type Target = Device<Bound>;

    fn deref(&self) -> &Device<Bound> {
        // SAFETY: By the type's invariants a driver is bound, and an unbind waits for the lock.
        unsafe { self.0.as_bound() }
    }
}

impl Drop for BoundLock<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants this thread holds the lock.
        unsafe { c::dbc_device_unlock(as_raw(self.0)) };
    }
}
