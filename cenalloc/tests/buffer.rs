// SPDX-License-Identifier: GPL-2.0

//! Buffers that drivers in Rust create, and what is left of one.

use crate::{
    buffer::{
        Buffer,
        Life, //
    },
    handle::Handle,
    registry, //
};
use dma_buf_constraints::{
    attach::Refused,
    model::{
        Cause,
        Constraints,
        Name, //
    },
    waiters::Timeout, //
};
use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc, //
};

const LEN: usize = 2 * PAGE_SIZE;

/// Creates a buffer.
fn create() -> Result<(Handle, Arc<Buffer>)> {
    let handle = Handle::create(LEN, 0, c"of a test")?;
    let id = handle.dmabuf().exporter::<Buffer>().ok_or(EINVAL)?.id;
    let all = registry::all()?;
    let buffer = all.iter().find(|buffer| buffer.id == id).ok_or(EINVAL)?;
    Ok((handle, buffer.clone()))
}

/// Returns the constraints of memory of the classes `access_mask`.
fn classes(access_mask: u64) -> Constraints {
    let mut constraints = Constraints::ANY;
    constraints.placement.access_mask = access_mask;
    constraints
}

#[kunit_tests(cenalloc_buffer)]
mod cases {
    use super::*;

    #[test]
    fn reservation_knows_its_buffer_until_that_is_released() -> Result {
        let (handle, buffer) = create()?;
        let is_listed = || registry::all().map(|all| all.iter().any(|one| one.id == buffer.id));
        assert!(is_listed()?);
        assert_eq!(buffer.lock().name(), Name::new(b"of a test"));
        assert_ne!(buffer.lock().inode(), 0);
        assert_eq!(buffer.lock().kernel_mappings(), 0);
        handle.allocate()?;
        drop(handle);
        // The last reference to a file of a kernel thread is given up by another one.
        for _ in 0..1000 {
            if !is_listed()? {
                break;
            }
            // SAFETY: This thread may sleep.
            unsafe { bindings::schedule_timeout_uninterruptible(1) };
        }
        let guard = buffer.lock();
        assert_eq!((guard.inode(), guard.name()), (0, Name::EMPTY));
        assert!(matches!(guard.life, Life::Gone));
        assert_eq!(guard.kernel_mappings(), 0);
        drop(guard);
        assert!(!is_listed()?);
        let refused = buffer.allocate().err();
        assert!(matches!(refused, Some(Refused::Failed(ENODEV))));
        Ok(())
    }

    #[test]
    fn refusals_are_numbered_and_kept() -> Result {
        let (_handle, buffer) = create()?;
        let declare = |name: &[u8], mask| buffer.declare_needs(name, &classes(mask), Timeout::NONE);
        declare(b"one", 0b01)?;
        for sequence in 1..3 {
            let Err(Refused::Because(refusal)) = declare(b"two", 0b10) else {
                return Err(EINVAL);
            };
            assert_eq!((refusal.cause, refusal.sequence), (Cause::User, sequence));
            assert_eq!(refusal.who, Name::new(b"program two"));
            assert_eq!(refusal.other, Name::new(b"program one"));
            let guard = buffer.lock();
            assert_eq!(guard.refusals, sequence);
            assert_eq!(guard.late_refusals, 0);
            assert_eq!(guard.refusal.first(), Some(&refusal));
        }
        Ok(())
    }
}
