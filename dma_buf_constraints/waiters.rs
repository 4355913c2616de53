// SPDX-License-Identifier: GPL-2.0

//! Who waits until a buffer changes, or until a driver unbinds.

use crate::{
    bound,
    c, //
};
use kernel::{
    alloc::Flags,
    bindings,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        Arc, //
    },
    time::{
        Instant,
        Monotonic, //
    },
    types::Opaque, //
};

/// The longest [`Timeout`], which does not end.
const FOR_EVER: i64 = i64::MAX;

/// How long to wait, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout(i64);

impl Timeout {
    /// Not at all.
    pub const NONE: Self = Self(0);

    /// Creates the timeout of so many nanoseconds: 0 is not at all, less is for ever.
    pub fn of_nanoseconds(nanoseconds: i64) -> Self {
        if nanoseconds < 0 {
            return Self(FOR_EVER);
        }
        Self(nanoseconds)
    }

    /// Begins, now.
    pub fn begin(self) -> Deadline {
        let has_end = self.0 != FOR_EVER && !self.is_over();
        Deadline {
            timeout: self,
            begun: has_end.then(Instant::now),
        }
    }

    /// Returns whether there is no time left.
    pub fn is_over(&self) -> bool {
        self.0 == 0
    }

    /// Returns the jiffies for a call that takes them.
    pub(crate) fn jiffies(&self) -> c_long {
        if self.0 == FOR_EVER {
            return c_long::MAX;
        }
        if self.is_over() {
            return 0;
        }
        // SAFETY: The call takes any number.
        let jiffies = unsafe { bindings::nsecs_to_jiffies64(self.0 as u64) };
        // The present jiffy is partly over.
        c_long::try_from(jiffies).map_or(c_long::MAX, |jiffies| jiffies.saturating_add(1))
    }
}

/// Takes what a call returned that waited, and returns whether there were jiffies left.
///
/// # Errors
///
/// - `ERESTARTSYS` if that tells of a signal.
pub(crate) fn was_in_time(jiffies: c_long) -> Result<bool> {
    if jiffies < 0 {
        return Err(ERESTARTSYS);
    }
    Ok(jiffies > 0)
}

/// When a [`Timeout`] ends that has begun: all time counts, not only that of waits.
pub struct Deadline {
    timeout: Timeout,
    /// None where time makes no difference.
    begun: Option<Instant<Monotonic>>,
}

impl Deadline {
    /// Returns how much time is left.
    pub fn left(&self) -> Timeout {
        let passed = self.begun.map_or(0, |begun| begun.elapsed().as_nanos());
        Timeout(self.timeout.0.saturating_sub(passed).max(0))
    }
}

/// Who waits for one buffer.
#[pin_data]
pub struct Waiters {
    #[pin]
    queue: Opaque<bindings::wait_queue_head>,
    /// How often the buffer has changed since there are waiters.
    events: Atomic<usize>,
    waiting: Atomic<u32>,
}

// SAFETY: A wait queue has a lock of its own, and may be dropped by any thread that has it to
// itself.
unsafe impl Send for Waiters {}
// SAFETY: A wait queue has a lock of its own; the counters are atomic.
unsafe impl Sync for Waiters {}

/// What had happened when a waiter looked at a buffer. Taken with the buffer's lock held, so that
/// no change is missed.
pub struct Seen {
    waiters: Arc<Waiters>,
    events: usize,
    unbound: usize,
}

impl Waiters {
    /// Creates the waiters of a buffer, none.
    ///
    /// # Errors
    ///
    /// - `ENOMEM` if there is no memory for them.
    pub fn new(flags: Flags) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                // SAFETY: The call initialises the whole queue.
                queue <- Opaque::ffi_init(|queue| unsafe { c::dbc_wait_init(queue) }),
                events: Atomic::new(0),
                waiting: Atomic::new(0),
            }),
            flags,
        )
    }

    /// Returns how many wait.
    pub fn count(&self) -> u32 {
        self.waiting.load(Relaxed)
    }

    /// Wakes all that wait, since the buffer has changed.
    pub fn wake(&self) {
        self.events.fetch_add(1, Release);
        // SAFETY: The queue was initialised by `new`.
        unsafe { c::dbc_wake(self.queue.get()) };
    }

    /// Returns what has happened so far. To be called with the buffer's lock held, before the state
    /// is looked at whose change is waited for.
    pub fn seen(me: &Arc<Self>) -> Seen {
        me.waiting.fetch_add(1, Relaxed);
        Seen {
            waiters: me.clone(),
            events: me.events.load(Acquire),
            unbound: bound::let_go(),
        }
    }
}

impl Seen {
    /// Waits, without the buffer's lock, until the buffer changes, a driver unbinds or the time is
    /// over. Returns whether something has happened.
    ///
    /// # Errors
    ///
    /// - `ERESTARTSYS` if a signal comes first.
    pub fn wait(self, timeout: Timeout) -> Result<bool> {
        let waiters = &*self.waiters;
        // SAFETY: The queue was initialised by `Waiters::new`, and `self` keeps it and the counter
        // of its events; the other counter is a static. An atomic has the layout of its value.
        was_in_time(unsafe {
            c::dbc_wait(
                waiters.queue.get(),
                waiters.events.as_ptr(),
                self.events,
                bound::let_go_counter(),
                self.unbound,
                timeout.jiffies(),
            )
        })
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.waiters.waiting.fetch_sub(1, Relaxed);
    }
}
