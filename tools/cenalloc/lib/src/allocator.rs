// SPDX-License-Identifier: GPL-2.0

//! Who can provide memory, and what TEST tells.

use crate::{
    abi,
    conflict::{Conflict, Party},
    constraints::Field,
    error::{Error, Result},
    sys,
};
use rustix::io::Errno;

/// One allocator.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allocator {
    /// Its name.
    pub name: String,
    /// Its class: one bit of access masks.
    pub access_mask: u64,
    /// Among those that fit, the highest is tried first.
    pub priority: u32,
    /// Whether what it gives is always one run.
    pub contiguous: bool,
    /// The most bytes it can give to one buffer.
    pub max_len: u64,
    /// Bytes that buffers have from it now.
    pub used: u64,
}

/// What TEST tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TestOutcome {
    /// Memory was there.
    Fits {
        /// The allocator that would be chosen.
        allocator: String,
    },
    /// Memory could be, but not now.
    NoMemory {
        /// The allocator that comes nearest.
        nearest: Option<String>,
    },
    /// There will never be such memory: what is lacking.
    Never(Conflict),
}

/// What TEST is asked for, in words.
const TESTED: &str = "such a user";

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
        if count <= room {
            return Ok(entries[..count].iter().map(from_raw).collect());
        }
        room = count + 4;
    }
    Err(Error::from_call("ALLOCATORS", Errno::AGAIN))
}

fn from_raw(raw: &abi::cenalloc_allocator_info) -> Allocator {
    Allocator {
        name: sys::text(&raw.name),
        access_mask: raw.access_mask,
        priority: raw.priority,
        contiguous: raw.flags & abi::CENALLOC_ALLOCATOR_CONTIGUOUS != 0,
        max_len: raw.max_len,
        used: raw.used,
    }
}

/// The answer in `raw`, after the call.
pub(crate) fn outcome(raw: &abi::cenalloc_test) -> Result<TestOutcome> {
    let allocator = sys::name(&raw.allocator);
    Ok(match raw.result {
        abi::CENALLOC_TEST_OK => TestOutcome::Fits {
            allocator: allocator.unwrap_or_default(),
        },
        abi::CENALLOC_TEST_NO_MEMORY => TestOutcome::NoMemory { nearest: allocator },
        abi::CENALLOC_TEST_NEVER => TestOutcome::Never(Conflict {
            who: TESTED.to_owned(),
            field: Field::from_raw(raw.field),
            wanted: raw.wanted,
            found: raw.found,
            with: match allocator {
                Some(name) => Party::Allocator { name, behind: None },
                None => Party::Itself,
            },
        }),
        _ => return Err(Error::from_call("TEST", Errno::OPNOTSUPP)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel with `count` allocators.
    fn kernel(count: u32) -> impl FnMut(&mut abi::cenalloc_allocators) -> Result<(), Errno> {
        move |raw| {
            assert_eq!(raw.size, 64);
            for n in 0..count.min(raw.count) {
                let mut entry = abi::cenalloc_allocator_info {
                    access_mask: 1 << (n % 64),
                    priority: count - n,
                    flags: n % 2,
                    ..Default::default()
                };
                sys::put(&mut entry.name, &format!("a{n}")).unwrap();
                // SAFETY: The caller has room for that many.
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
        for count in [0, 2, 16, 17, 100] {
            let all = allocators(kernel(count)).unwrap();
            assert_eq!(all.len(), count as usize);
            if let Some(second) = all.get(1) {
                assert_eq!((second.name.as_str(), second.access_mask), ("a1", 2));
                assert!(second.contiguous && !all[0].contiguous);
                assert_eq!(second.priority, count - 1);
            }
        }
    }

    #[test]
    fn outcomes() {
        let mut raw = abi::cenalloc_test {
            result: abi::CENALLOC_TEST_NEVER,
            field: abi::CENALLOC_FIELD_MAX_SEGMENTS,
            wanted: 1,
            found: 4,
            ..Default::default()
        };
        sys::put(&mut raw.allocator, "system").unwrap();
        let TestOutcome::Never(conflict) = outcome(&raw).unwrap() else {
            panic!("never is never");
        };
        assert_eq!(
            conflict.to_string(),
            "such a user needs one contiguous segment, system gives no fewer than 4"
        );
        raw.result = abi::CENALLOC_TEST_NO_MEMORY;
        let nearest = Some("system".to_owned());
        assert_eq!(outcome(&raw), Ok(TestOutcome::NoMemory { nearest }));
        raw.result = abi::CENALLOC_TEST_OK;
        let allocator = "system".to_owned();
        assert_eq!(outcome(&raw), Ok(TestOutcome::Fits { allocator }));
        raw.result = 77;
        assert!(outcome(&raw).is_err());
    }
}
