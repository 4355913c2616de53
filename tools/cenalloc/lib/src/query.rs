// SPDX-License-Identifier: GPL-2.0

//! What QUERY tells of a buffer.

use crate::{
    abi,
    constraints::Constraints,
    error::{Error, Result},
    model::{Field, Holder, Refusal},
    reason::Reason,
    sys,
};
use rustix::io::Errno;
use std::{fmt, os::fd::RawFd};

/// Whether a buffer has memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Not yet: users narrow what it may be.
    Empty,
    /// It has.
    Backed,
    /// One that this library does not know.
    Other(u32),
}

impl State {
    /// Returns it in one word: `empty` or `backed`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Backed => "backed",
            Self::Other(_) => "unknown",
        }
    }

    fn from_raw(raw: u32) -> Self {
        match raw {
            abi::CENALLOC_STATE_EMPTY => Self::Empty,
            abi::CENALLOC_STATE_BACKED => Self::Backed,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How the CPU caches a buffer's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Caching {
    /// There is no memory yet.
    None,
    /// The CPU caches it.
    Cached,
    /// No cache need be maintained for it.
    Coherent,
    /// In a way that this library does not know.
    Other(u32),
}

impl Caching {
    /// Returns it in one word: `none`, `cached` or `coherent`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Cached => "cached",
            Self::Coherent => "coherent",
            Self::Other(_) => "unknown",
        }
    }

    fn from_raw(raw: u32) -> Self {
        match raw {
            abi::CENALLOC_CACHING_NONE => Self::None,
            abi::CENALLOC_CACHING_CACHED => Self::Cached,
            abi::CENALLOC_CACHING_COHERENT => Self::Coherent,
            other => Self::Other(other),
        }
    }
}

/// How memory is held where it is, as bits of [`Holder`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds(pub u32);

impl Holds {
    /// Returns whether nobody holds the memory: it can be relocated.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns whether it is held so.
    pub fn contains(self, holder: Holder) -> bool {
        self.0 & holder as u32 != 0
    }

    /// Returns the ways that this library knows.
    pub fn iter(self) -> impl Iterator<Item = Holder> {
        Holder::ALL
            .iter()
            .copied()
            .filter(move |holder| self.contains(*holder))
    }
}

/// What users prefer: it is given where it is to be had, and refuses nobody. Bits of
/// `CENALLOC_PREFERS_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preferences(pub u32);

impl Preferences {
    /// One contiguous range.
    pub const CONTIGUOUS: Self = Self(abi::CENALLOC_PREFERS_CONTIGUOUS);

    /// Returns whether all of `other` are among them.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Where it is known from that a user needs or prefers something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// It needs nothing, or it is not known from where.
    Unknown,
    /// The kernel's `struct device`.
    Device,
    /// A driver or a program declared it.
    Declared,
    /// The administrator's policy.
    Policy,
    /// Inherited from a device above it.
    Ancestor,
    /// The importer told when it attached.
    Attachment,
    /// The objects of its driver show it.
    Objects,
    /// Known of its driver's module.
    Table,
    /// Its driver uses a library that needs it.
    Library,
    /// Seen by what it did.
    Seen,
    /// One that this library does not know.
    Other(u8),
}

impl Source {
    /// Returns its name in the ABI, in small letters: `declared`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown | Self::Other(_) => "unknown",
            Self::Device => "device",
            Self::Declared => "declared",
            Self::Policy => "policy",
            Self::Ancestor => "ancestor",
            Self::Attachment => "attachment",
            Self::Objects => "objects",
            Self::Table => "table",
            Self::Library => "library",
            Self::Seen => "seen",
        }
    }

    fn from_raw(raw: u8) -> Self {
        match raw.into() {
            abi::CENALLOC_SOURCE_UNKNOWN => Self::Unknown,
            abi::CENALLOC_SOURCE_DEVICE => Self::Device,
            abi::CENALLOC_SOURCE_DECLARED => Self::Declared,
            abi::CENALLOC_SOURCE_POLICY => Self::Policy,
            abi::CENALLOC_SOURCE_ANCESTOR => Self::Ancestor,
            abi::CENALLOC_SOURCE_ATTACHMENT => Self::Attachment,
            abi::CENALLOC_SOURCE_OBJECTS => Self::Objects,
            abi::CENALLOC_SOURCE_TABLE => Self::Table,
            abi::CENALLOC_SOURCE_LIBRARY => Self::Library,
            abi::CENALLOC_SOURCE_SEEN => Self::Seen,
            _ => Self::Other(raw),
        }
    }
}

/// One user of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// Its name.
    pub name: String,
    /// What it contributed.
    pub constraints: Constraints,
    /// It was declared.
    pub declared: bool,
    /// It is attached.
    pub attached: bool,
    /// It has the buffer mapped.
    pub mapped: bool,
    /// It holds the memory where it is.
    pub pinned: bool,
    /// It follows a relocation while it is mapped.
    pub dynamic: bool,
    /// Its second choice counts, the classes of memory of an ancestor of higher priority: the users
    /// have none in common without.
    pub second_choice: bool,
    /// How many others came too late because it held the memory.
    pub late_refusals: u32,
    /// What it prefers.
    pub preferences: Preferences,
    /// Which of its preferences the memory does not meet.
    pub unmet: Preferences,
    /// More on a source, such as the name of a module.
    pub origin: Option<String>,
    sources: [u8; abi::CENALLOC_SOURCES as usize],
}

impl User {
    /// Returns where it is known from what it needs or prefers in a field.
    pub fn source(&self, field: Field) -> Source {
        self.sources
            .get(field as usize)
            .map_or(Source::Unknown, |source| Source::from_raw(*source))
    }

    fn from_raw(raw: &abi::cenalloc_user) -> Self {
        let has = |flag| raw.flags & flag != 0;
        Self {
            name: sys::text(&raw.name),
            constraints: Constraints::from_raw(&raw.constraints),
            declared: has(abi::CENALLOC_USER_DECLARED),
            attached: has(abi::CENALLOC_USER_ATTACHED),
            mapped: has(abi::CENALLOC_USER_MAPPED),
            pinned: has(abi::CENALLOC_USER_PINNED),
            dynamic: has(abi::CENALLOC_USER_DYNAMIC),
            second_choice: has(abi::CENALLOC_USER_SECOND),
            late_refusals: raw.late_refusals,
            preferences: Preferences(raw.preferences),
            unmet: Preferences(raw.unmet),
            origin: sys::name(&raw.origin),
            sources: raw.sources,
        }
    }
}

/// A device that mapped the memory in several segments, unmapped it and left at once, as those do
/// that need contiguous memory and do not say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its name.
    pub device: String,
    /// Into how many segments its table was cut.
    pub segments: u32,
}

/// What QUERY tells of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Query {
    /// The buffer's number in messages and debugfs.
    pub id: u64,
    /// The number of its inode, as in `/proc/PID/fdinfo` and `/proc/PID/maps`.
    pub inode: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its length in bytes.
    pub len: u64,
    /// Whether it has memory.
    pub state: State,
    /// How the CPU caches its memory.
    pub caching: Caching,
    /// What all users need together. Segment size and boundary are those of a table that would
    /// serve all.
    pub combined: Constraints,
    /// Who provided the memory, if it has any.
    pub allocator: Option<String>,
    /// How many physical ranges the memory is: 1 is contiguous, 0 is no memory.
    pub ranges: u32,
    /// Bytes of the memory that were taken from a pool.
    pub recycled: u64,
    /// Its users.
    pub users: Vec<User>,
    /// How the memory is held where it is.
    pub holds: Holds,
    /// How many hold it.
    pub holders: u32,
    /// How many mappings of the kernel there are.
    pub kernel_maps: u32,
    /// How many calls of DECLARE wait for it to be let go.
    pub waiting: u32,
    /// How often the memory was relocated.
    pub relocations: u32,
    /// How often a user came too late.
    pub late_refusals: u32,
    /// The last device that seems to need contiguous memory and does not say so.
    pub left: Option<Left>,
    /// How many refusals there were.
    pub refusals: u64,
    /// The last one.
    pub reason: Option<Reason>,
}

impl Query {
    /// Returns the last refusal, if there was one and this library knows what it is about.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.reason.as_ref()?.refusal()
    }

    fn from_raw(raw: &abi::cenalloc_query, users: &[abi::cenalloc_user]) -> Self {
        Self {
            id: raw.id,
            inode: raw.inode,
            name: sys::name(&raw.name),
            len: raw.len,
            state: State::from_raw(raw.state),
            caching: Caching::from_raw(raw.caching),
            combined: Constraints::from_raw(&raw.combined),
            allocator: sys::name(&raw.allocator),
            ranges: raw.ranges,
            recycled: raw.recycled,
            users: users.iter().map(User::from_raw).collect(),
            holds: Holds(raw.holds),
            holders: raw.holders,
            kernel_maps: raw.kernel_maps,
            waiting: raw.waiting,
            relocations: raw.relocations,
            late_refusals: raw.late_refusals,
            left: sys::name(&raw.left).map(|device| Left {
                device,
                segments: raw.left_segments,
            }),
            refusals: raw.refusals,
            reason: Reason::from_raw(&raw.refusal),
        }
    }
}

/// Room for users in the first attempt: enough for most buffers.
const FIRST_USERS: usize = 16;
/// Users come and go: how often to try for a consistent answer.
const ATTEMPTS: usize = 16;

/// Queries the buffer `fd` by `call`.
pub(crate) fn query(
    fd: RawFd,
    mut call: impl FnMut(&mut abi::cenalloc_query) -> Result<(), Errno>,
) -> Result<Query> {
    let mut room = FIRST_USERS;
    for _ in 0..ATTEMPTS {
        let mut users = vec![abi::cenalloc_user::default(); room];
        let mut raw = abi::cenalloc_query {
            fd,
            users: users.as_mut_ptr() as u64,
            user_count: room as u32,
            user_size: size_of::<abi::cenalloc_user>() as u32,
            ..Default::default()
        };
        call(&mut raw).map_err(|errno| match errno {
            Errno::BADF | Errno::INVAL => Error::NotABuffer { errno },
            errno => Error::from_call("QUERY", errno),
        })?;
        let count = raw.user_count as usize;
        if let Some(users) = users.get(..count) {
            return Ok(Query::from_raw(&raw, users));
        }
        room = count + 4;
    }
    Err(Error::from_call("QUERY", Errno::AGAIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Cause, Name},
        reason::tests::to_raw,
    };

    /// A kernel whose buffer has `count` users.
    fn kernel(count: u32) -> impl FnMut(&mut abi::cenalloc_query) -> Result<(), Errno> {
        move |raw| {
            assert_eq!(raw.user_size, 176);
            for n in 0..count.min(raw.user_count) {
                let mut user = abi::cenalloc_user {
                    flags: abi::CENALLOC_USER_ATTACHED | abi::CENALLOC_USER_PINNED,
                    late_refusals: n,
                    preferences: abi::CENALLOC_PREFERS_CONTIGUOUS,
                    ..Default::default()
                };
                user.constraints.max_segments = 1;
                user.sources[abi::CENALLOC_FIELD_MAX_SEGMENTS as usize] =
                    abi::CENALLOC_SOURCE_POLICY as u8;
                user.sources[abi::CENALLOC_FIELD_CONTIGUOUS as usize] = 200;
                sys::put(&mut user.name, &format!("user{n}")).unwrap();
                sys::put(&mut user.origin, "vivid").unwrap();
                // SAFETY: `query` made room for that many.
                unsafe { *(raw.users as *mut abi::cenalloc_user).add(n as usize) = user };
            }
            raw.user_count = count;
            (raw.id, raw.inode, raw.len) = (7, 4711, 8 << 20);
            (raw.state, raw.caching) = (abi::CENALLOC_STATE_BACKED, abi::CENALLOC_CACHING_CACHED);
            (raw.ranges, raw.recycled) = (1, 4096);
            raw.combined.max_address = u64::from(u32::MAX);
            sys::put(&mut raw.name, "frame").unwrap();
            sys::put(&mut raw.allocator, "system-contig").unwrap();
            raw.holds = abi::CENALLOC_HOLDER_PIN | abi::CENALLOC_HOLDER_KERNEL | (1 << 20);
            (raw.holders, raw.kernel_maps, raw.waiting) = (3, 2, 1);
            (raw.late_refusals, raw.relocations) = (2, 3);
            raw.left_segments = 4;
            sys::put(&mut raw.left, "bochs-drm 0000:00:02.0").unwrap();
            raw.refusals = 5;
            raw.refusal = to_raw(&Refusal {
                who: Name::new(b"encoder"),
                ..Refusal::new(Cause::NoDriver)
            });
            Ok(())
        }
    }

    #[test]
    fn everything_is_told() {
        let query = query(5, kernel(1)).unwrap();
        assert_eq!((query.id, query.inode, query.len), (7, 4711, 8 << 20));
        assert_eq!(query.name.as_deref(), Some("frame"));
        assert_eq!(
            (query.state, query.caching),
            (State::Backed, Caching::Cached)
        );
        assert_eq!((query.ranges, query.recycled), (1, 4096));
        assert_eq!(
            query.combined,
            Constraints::ANY.max_address(u64::from(u32::MAX))
        );
        assert_eq!(query.allocator.as_deref(), Some("system-contig"));
        let holds: Vec<_> = query.holds.iter().collect();
        assert_eq!(holds, [Holder::Pin, Holder::Kernel]);
        assert!(!query.holds.is_empty() && Holds::default().is_empty());
        assert_eq!((query.holders, query.kernel_maps, query.waiting), (3, 2, 1));
        assert_eq!((query.late_refusals, query.relocations), (2, 3));
        let left = query.left.as_ref().unwrap();
        assert_eq!(
            (left.device.as_str(), left.segments),
            ("bochs-drm 0000:00:02.0", 4)
        );
        assert_eq!(query.refusals, 5);
        assert_eq!(query.refusal().unwrap().cause, Cause::NoDriver);

        let user = &query.users[0];
        assert_eq!((user.name.as_str(), user.late_refusals), ("user0", 0));
        assert!(user.attached && user.pinned && !user.mapped && !user.declared);
        assert_eq!(user.constraints, Constraints::ANY.contiguous());
        assert!(user.preferences.contains(Preferences::CONTIGUOUS));
        assert!(!user.unmet.contains(Preferences::CONTIGUOUS));
        assert_eq!(user.source(Field::MaxSegments), Source::Policy);
        assert_eq!(user.source(Field::Contiguous), Source::Other(200));
        assert_eq!(user.source(Field::Alignment), Source::Unknown);
        assert_eq!(user.origin.as_deref(), Some("vivid"));
    }

    #[test]
    fn room_grows() {
        let query = query(5, kernel(40)).unwrap();
        assert_eq!(query.users.len(), 40);
        assert_eq!(query.users[39].name, "user39");
    }

    #[test]
    fn room_that_is_never_enough_ends() {
        let mut calls = 0;
        let result = query(5, |raw| {
            calls += 1;
            raw.user_count += 1;
            Ok(())
        });
        assert_eq!(result, Err(Error::from_call("QUERY", Errno::AGAIN)));
        assert_eq!(calls, ATTEMPTS);
    }

    #[test]
    fn no_refusal_no_reason() {
        let query = query(5, |raw| {
            raw.user_count = 0;
            (raw.state, raw.caching) = (9, 9);
            Ok(())
        })
        .unwrap();
        assert_eq!((query.reason.as_ref(), query.refusal()), (None, None));
        assert_eq!((query.name, query.left), (None, None));
        assert_eq!(query.state, State::Other(9));
        assert_eq!(query.caching, Caching::Other(9));
    }

    #[test]
    fn a_refusal_of_a_newer_kernel_is_one() {
        let query = query(5, |raw| {
            raw.user_count = 0;
            raw.refusal.cause = 99;
            Ok(())
        })
        .unwrap();
        assert!(query.reason.is_some());
        assert_eq!(query.refusal(), None);
    }

    #[test]
    fn sources_have_the_numbers_of_the_header() {
        let names: Vec<_> = (0..11).map(|raw| Source::from_raw(raw).name()).collect();
        assert_eq!(
            names,
            [
                "unknown",
                "device",
                "declared",
                "policy",
                "ancestor",
                "attachment",
                "objects",
                "table",
                "library",
                "seen",
                "unknown",
            ]
        );
    }

    #[test]
    fn other_files_are_no_buffers() {
        for errno in [Errno::BADF, Errno::INVAL] {
            assert_eq!(query(5, |_| Err(errno)), Err(Error::NotABuffer { errno }));
        }
        let errno = Errno::NOTTY;
        let call = "QUERY";
        assert_eq!(
            query(5, |_| Err(errno)),
            Err(Error::Unsupported { call, errno })
        );
    }
}
