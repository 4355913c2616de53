// SPDX-License-Identifier: GPL-2.0

//! Waiting for a buffer or an unbind: how long, and that no change is missed.

use super::device::TestDevice;
use crate::{
    dma_buf::Reservation,
    model::Name,
    waiters::{
        was_in_time,
        Timeout,
        Waiters, //
    }, //
};
use kernel::{
    dma::DataDirection,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Completion, //
    },
    time::{
        Instant,
        Monotonic, //
    },
    workqueue, //
};

/// How many have waited for all of their time.
static NOT_WOKEN: Atomic<u32> = Atomic::new(0);

/// Longer than any test waits that does not fail.
fn long() -> Timeout {
    Timeout::of_nanoseconds(30_000_000_000)
}

#[kunit_tests(dma_buf_constraints_waiters)]
mod cases {
    use super::*;

    #[test]
    fn timeout_is_in_nanoseconds() {
        assert_eq!(Timeout::of_nanoseconds(0), Timeout::NONE);
        assert!(Timeout::NONE.is_over());
        // The shortest ends with the next jiffy.
        assert_eq!(Timeout::of_nanoseconds(1).jiffies(), 1);
        let second = Timeout::of_nanoseconds(1_000_000_000).jiffies();
        assert_eq!(
            Timeout::of_nanoseconds(60_000_000_000).jiffies() - 1,
            (second - 1) * 60
        );
        for for_ever in [-1, i64::MIN] {
            assert_eq!(Timeout::of_nanoseconds(for_ever).jiffies(), c_long::MAX);
        }
        let longest = Timeout::of_nanoseconds(i64::MAX);
        assert!(!longest.is_over() && longest.jiffies() > second);
    }

    #[test]
    fn jiffies_that_are_left_tell_how_a_wait_ended() {
        assert_eq!(was_in_time(0), Ok(false));
        assert_eq!(was_in_time(7), Ok(true));
        assert_eq!(was_in_time(-512), Err(ERESTARTSYS));
    }

    #[test]
    fn time_passes_without_a_wait() {
        let deadline = Timeout::of_nanoseconds(1).begin();
        // SAFETY: The test may sleep.
        unsafe { kernel::bindings::msleep(20) };
        assert!(deadline.left().is_over());
        assert!(Timeout::NONE.begin().left().is_over());
        let left = long().begin().left();
        assert!(!left.is_over() && left.jiffies() <= long().jiffies());
        // It does not end early, by whatever is left of a jiffy.
        let begun = Instant::<Monotonic>::now();
        let deadline = Timeout::of_nanoseconds(10_000_000).begin();
        while !deadline.left().is_over() {}
        assert!(begun.elapsed().as_nanos() >= 10_000_000);
        let for_ever = Timeout::of_nanoseconds(-1);
        assert_eq!(for_ever.begin().left(), for_ever);
    }

    #[test]
    fn wait_ends_with_the_time() -> Result {
        let waiters = Waiters::new(GFP_KERNEL)?;
        assert!(!Waiters::seen(&waiters).wait(Timeout::NONE)?);
        let short = Timeout::of_nanoseconds(1);
        assert!(!Waiters::seen(&waiters).wait(short)?);
        Ok(())
    }

    #[test]
    fn change_before_the_wait_is_not_missed() -> Result {
        let waiters = Waiters::new(GFP_KERNEL)?;
        let seen = Waiters::seen(&waiters);
        waiters.wake();
        assert!(seen.wait(long())?);
        // Who looks afterwards has seen it.
        let seen = Waiters::seen(&waiters);
        assert!(!seen.wait(Timeout::of_nanoseconds(1))?);
        Ok(())
    }

    #[test]
    fn those_who_wait_are_counted() -> Result {
        let waiters = Waiters::new(GFP_KERNEL)?;
        let (one, other) = (Waiters::seen(&waiters), Waiters::seen(&waiters));
        assert_eq!(waiters.count(), 2);
        one.wait(Timeout::NONE)?;
        assert_eq!(waiters.count(), 1);
        drop(other);
        assert_eq!(waiters.count(), 0);
        Ok(())
    }

    #[test]
    fn all_that_wait_are_woken() -> Result {
        let waiters = Waiters::new(GFP_KERNEL)?;
        let mut all = KVec::new();
        for _ in 0..4 {
            let seen = Waiters::seen(&waiters);
            let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
            all.push(done.clone(), GFP_KERNEL)?;
            workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
                // One that is not woken is found below.
                let is_woken = seen.wait(long()).unwrap_or(false);
                NOT_WOKEN.fetch_add((!is_woken).into(), Relaxed);
                done.complete_all();
            })?;
        }
        // Some of them sleep by the second time.
        assert!(!Waiters::seen(&waiters).wait(Timeout::of_nanoseconds(50_000_000))?);
        waiters.wake();
        for done in &all {
            done.wait_for_completion();
        }
        assert_eq!(NOT_WOKEN.load(Relaxed), 0);
        assert_eq!(waiters.count(), 0);
        Ok(())
    }

    #[test]
    fn unbind_wakes_waiters_of_any_buffer() -> Result {
        let waiters = Waiters::new(GFP_KERNEL)?;
        let device = TestDevice::new(c"dbc_test_waited_for", None)?;
        let kept = device.keep()?;
        let seen = Waiters::seen(&waiters);
        drop(device);
        assert!(kept.is_over());
        assert!(seen.wait(long())?);
        Ok(())
    }

    #[test]
    fn reservation_without_a_buffer_is_idle() -> Result {
        let reservation = KBox::pin_init(Reservation::new(5), GFP_KERNEL)?;
        let mut guard = reservation.lock();
        assert_eq!((guard.inode(), guard.name()), (0, Name::EMPTY));
        assert_eq!(guard.kernel_mappings(), 0);
        assert!(guard.is_idle());
        guard.wait_idle()?;
        // There is nobody to be told.
        guard.invalidate_mappings();
        // SAFETY: It was not exported.
        unsafe { guard.zap_user_mappings() };
        guard.tell_access_mask(1);
        assert!(reservation.try_lock().is_none());
        *guard += 1;
        drop(guard);
        assert!(reservation.wait_idle(long())?);
        reservation.wait_for_devices(DataDirection::Bidirectional)?;
        assert_eq!(*reservation.lock_interruptible()?, 6);
        assert_eq!(*reservation.lock_killable()?, 6);
        Ok(())
    }
}
