// SPDX-License-Identifier: GPL-2.0

//! Bugs, one of each class, for the checkers of a kernel to find. Test only: whether a run without
//! reports means anything, this tells.
//!
//! `modprobe cenalloc_bugs bug=N` commits one; which, [`Bug`] says. All are mistakes that the other
//! modules could make with what they use: the reservation lock and the users of a buffer, memory
//! that Rust allocates, a spinlock, a mapping.

use core::{
    hint::black_box,
    mem, //
};
use dma_buf_constraints::{
    dma_buf::Reservation,
    few::Few, //
};
use kernel::{
    error::to_result,
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        Mutex,
        SpinLock, //
    }, //
};

module! {
    type: Bugs,
    name: "cenalloc_bugs",
    authors: ["The cenalloc developers"],
    description: "Bugs for checkers to find",
    license: "GPL",
    imports_ns: ["DMA_BUF"],
    params: {
        bug: u8 {
            default: 0,
            description: "The bug to commit; 0 for none",
        },
    },
}

/// What goes wrong, by its number.
enum Bug {
    /// Nothing.
    None,
    /// Two locks are taken in either order, one of them a reservation lock.
    LockInversion,
    /// Freed memory is read.
    UseAfterFree,
    /// Memory is lost.
    Leak,
    /// What may sleep is done with a spinlock held.
    SleepInAtomic,
    /// A driver goes that still has a buffer mapped.
    MissingUnmap,
}

impl Bug {
    fn numbered(number: u8) -> Result<Self> {
        Ok(match number {
            0 => Self::None,
            1 => Self::LockInversion,
            2 => Self::UseAfterFree,
            3 => Self::Leak,
            4 => Self::SleepInAtomic,
            5 => Self::MissingUnmap,
            _ => return Err(EINVAL),
        })
    }

    fn commit(&self) -> Result {
        match self {
            Self::None => Ok(()),
            Self::UseAfterFree => use_after_free(),
            Self::Leak => leak(),
            Self::SleepInAtomic => sleep_in_atomic(),
            // SAFETY: None: that is the bug. Nothing but this machine is lost by it.
            Self::MissingUnmap => to_result(unsafe { cenalloc_bugs_missing_unmap() }),
            Self::LockInversion => lock_inversion(),
        }
    }
}

unsafe extern "C" {
    /// In `unmap.c`.
    fn cenalloc_bugs_missing_unmap() -> c_int;
}

fn use_after_free() -> Result {
    let memory = KBox::new([1u64; 8], GFP_KERNEL)?;
    let stale: *const u64 = memory.as_ptr();
    drop(memory);
    // SAFETY: It is not: the memory was freed.
    black_box(unsafe { stale.read_volatile() });
    Ok(())
}

fn leak() -> Result {
    // Many: addresses of the last ones stay on stacks, and in the slab allocator's lists for each
    // processor, where kmemleak takes them for references.
    for _ in 0..512 {
        // Longer than what a list keeps in place.
        let mut list = Few::new();
        for number in 0..64u64 {
            list.push(number)?;
        }
        mem::forget(list);
    }
    Ok(())
}

fn sleep_in_atomic() -> Result {
    let lock = KBox::pin_init(new_spinlock!(()), GFP_KERNEL)?;
    let lock: &SpinLock<()> = &lock;
    let _guard = lock.lock();
    drop(black_box(KBox::new(0u64, GFP_KERNEL)?));
    Ok(())
}

fn lock_inversion() -> Result {
    let buffer = KBox::pin_init(Reservation::new(()), GFP_KERNEL)?;
    let other = KBox::pin_init(new_mutex!(()), GFP_KERNEL)?;
    let other: &Mutex<()> = &other;
    {
        let _first = buffer.lock();
        let _second = other.lock();
    }
    let _first = other.lock();
    let _second = buffer.lock();
    Ok(())
}

struct Bugs;

impl kernel::Module for Bugs {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let number = module_parameters::bug.value();
        let bug = Bug::numbered(number)?;
        if number != 0 {
            // Who reads the log knows by this line that reports are wanted.
            pr_info!("planted bug {number}\n");
        }
        bug.commit()?;
        Ok(Self)
    }
}
