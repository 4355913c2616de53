// SPDX-License-Identifier: GPL-2.0

//! Who can provide memory, and what TEST tells.

use crate::{
    abi,
    error::{Error, Result},
    reason::Reason,
    sys,
    units::Classes,
};
use rustix::io::Errno;

/// A range of physical addresses from which an allocator gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Its first address.
    pub start: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// One allocator.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allocator {
    /// Its name.
    pub name: String,
    /// Its class of memory.
    pub class: Classes,
    /// Among those that fit, the highest is tried first.
    pub priority: u32,
    /// Whether what it gives is always one contiguous range.
    pub contiguous: bool,
    /// The most bytes it can give to one buffer.
    pub max_len: u64,
    /// Bytes that buffers have from it now.
    pub used: u64,
    /// Bytes it has free now, not all of them in one range, if that is known. Memory that others
    /// use and can give up counts.
    pub free: Option<u64>,
    /// Where it lies. `None` for what is no area, and without CAP_SYS_ADMIN.
    pub area: Option<Area>,
}

/// What TEST tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TestOutcome {
    /// Memory seems to be there.
    Fits {
        /// The allocator that would be chosen.
        allocator: String,
    },
    /// Memory could be, but not now: why.
    NoMemory(Reason),
    /// There will never be such memory: why.
    Never(Reason),
}

const FIRST_ROOM: usize = 16;
const ATTEMPTS: usize = 16;

/// Lists the allocators by `call`.
pub(crate) fn allocators(
    mut call: impl FnMut(&mut abi::cenalloc_allocators) -> Result<(), Errno>,
) -> Result<Vec<Allocator>> {
    let mut room = FIRST_ROOM;
    for _ in 0..ATTEMPTS {
        let mut entries = vec![abi::cenalloc_allocator_info::default(); room];
        let mut raw = abi::cenalloc_allocators {
            allocators: entries.as_mut_ptr() as u64,
            count: room as u32,
            size: size_of::<abi::cenalloc_allocator_info>() as u32,
        };
        call(&mut raw).map_err(|errno| Error::from_call("ALLOCATORS", errno))?;
        let count = raw.count as usize;
        if let Some(entries) = entries.get(..count) {
            return Ok(entries.iter().map(from_raw).collect());
        }
        room = count + 4;
    }
    Err(Error::from_call("ALLOCATORS", Errno::AGAIN))
}

fn from_raw(raw: &abi::cenalloc_allocator_info) -> Allocator {
    let has = |flag| raw.flags & flag != 0;
    Allocator {
        name: sys::text(&raw.name),
        class: Classes(raw.access_mask),
        priority: raw.priority,
        contiguous: has(abi::CENALLOC_ALLOCATOR_CONTIGUOUS),
        max_len: raw.max_len,
        used: raw.used,
        free: has(abi::CENALLOC_ALLOCATOR_KNOWS_FREE).then_some(raw.free),
        area: (raw.area_len != 0).then_some(Area {
            start: raw.start,
            len: raw.area_len,
        }),
    }
}

/// The answer in `raw`, after the call.
pub(crate) fn outcome(raw: &abi::cenalloc_test) -> Result<TestOutcome> {
    let call = "TEST";
    let reason = Reason::from_raw(&raw.refusal).ok_or(Error::from_call(call, Errno::PROTO));
    Ok(match raw.result {
        abi::CENALLOC_TEST_OK => TestOutcome::Fits {
            allocator: sys::text(&raw.allocator),
        },
        abi::CENALLOC_TEST_NO_MEMORY => TestOutcome::NoMemory(reason?),
        abi::CENALLOC_TEST_NEVER => TestOutcome::Never(reason?),
        _ => return Err(Error::from_call(call, Errno::OPNOTSUPP)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Cause, Refusal},
        reason::tests::to_raw,
    };

    /// A kernel with `count` allocators.
    fn kernel(count: u32) -> impl FnMut(&mut abi::cenalloc_allocators) -> Result<(), Errno> {
        move |raw| {
            assert_eq!(raw.size, 88);
            for n in 0..count.min(raw.count) {
                let mut entry = abi::cenalloc_allocator_info {
                    access_mask: 1 << (n % 64),
                    priority: count - n,
                    flags: n % 4,
                    free: 4096,
                    start: 0x490_0000,
                    area_len: u64::from(n) << 20,
                    ..Default::default()
                };
                sys::put(&mut entry.name, &format!("a{n}")).unwrap();
                // SAFETY: `allocators` made room for that many.
                unsafe {
                    *(raw.allocators as *mut abi::cenalloc_allocator_info).add(n as usize) = entry
                };
            }
            raw.count = count;
            Ok(())
        }
    }

    #[test]
    fn all_are_listed() {
        for count in [0, 3, 16, 17, 100] {
            let all = allocators(kernel(count)).unwrap();
            assert_eq!(all.len(), count as usize);
            let [first, second, third, ..] = all.as_slice() else {
                continue;
            };
            assert_eq!((second.name.as_str(), second.class), ("a1", Classes(2)));
            assert!(second.contiguous && !first.contiguous);
            assert_eq!(second.priority, count - 1);
            assert_eq!((second.free, third.free), (None, Some(4096)));
            assert_eq!(first.area, None);
            let (start, len) = (0x490_0000, 2 << 20);
            assert_eq!(third.area, Some(Area { start, len }));
        }
    }

    #[test]
    fn outcomes() {
        let never = Refusal::new(Cause::Itself);
        let mut raw = abi::cenalloc_test {
            result: abi::CENALLOC_TEST_NEVER,
            refusal: to_raw(&never),
            ..Default::default()
        };
        let reason = Reason::Known(Box::new(never));
        assert_eq!(outcome(&raw), Ok(TestOutcome::Never(reason.clone())));
        raw.result = abi::CENALLOC_TEST_NO_MEMORY;
        assert_eq!(outcome(&raw), Ok(TestOutcome::NoMemory(reason)));
        raw.refusal.cause = 0;
        assert!(outcome(&raw).is_err());
        raw.result = abi::CENALLOC_TEST_OK;
        sys::put(&mut raw.allocator, "system").unwrap();
        let allocator = "system".to_owned();
        assert_eq!(outcome(&raw), Ok(TestOutcome::Fits { allocator }));
        raw.result = 77;
        assert!(outcome(&raw).is_err());
    }
}
