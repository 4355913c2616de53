// SPDX-License-Identifier: GPL-2.0

//! What QUERY tells of a buffer.

use crate::{
    abi,
    conflict::{Conflict, Party},
    constraints::{Constraints, Field},
    debugfs::BufferLine,
    error::{Error, Reason, Result},
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
    /// In one word: `empty` or `backed`.
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
    /// Memory may move while it is mapped.
    pub dynamic: bool,
    /// Its second choice counts, the classes of memory of an ancestor of higher priority: the users
    /// have none in common without.
    pub second_choice: bool,
    /// How many others it kept out by mapping before they attached.
    pub early: u32,
}

/// What QUERY tells of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Query {
    /// The buffer's number in messages and debugfs.
    pub id: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its length in bytes.
    pub len: u64,
    /// Whether it has memory.
    pub state: State,
    /// What all users need together.
    pub meet: Constraints,
    /// Who provided the memory, if it has any.
    pub allocator: Option<String>,
    /// Its users.
    pub users: Vec<User>,
    /// How often a user was refused that could have taken part before the buffer had memory.
    pub early: u32,
    /// How often the memory moved.
    pub relocations: u32,
    /// The last refusal.
    pub conflict: Option<Conflict>,
    /// All of it as one line, the one in debugfs.
    pub text: String,
}

impl Query {
    /// Why somebody was refused last, in the kernel's words where it gave some.
    pub fn reason(&self) -> Option<Reason> {
        let conflict = self.conflict.clone()?;
        let line = self.text.parse::<BufferLine>().ok();
        let text = line
            .and_then(|line| line.conflict)
            .unwrap_or_else(|| conflict.to_string());
        Some(Reason { text, conflict })
    }
}

/// Room for users and text in the first attempt: enough for most buffers.
const FIRST_USERS: usize = 16;
const FIRST_TEXT: usize = 512;
/// Users come and go: how often to try for a consistent answer.
const ATTEMPTS: usize = 16;

/// Queries the buffer `fd` by `call`.
pub(crate) fn query(
    fd: RawFd,
    mut call: impl FnMut(&mut abi::cenalloc_query) -> Result<(), Errno>,
) -> Result<Query> {
    let (mut user_room, mut text_room) = (FIRST_USERS, FIRST_TEXT);
    for _ in 0..ATTEMPTS {
        let mut users = vec![abi::cenalloc_user::default(); user_room];
        let mut text = vec![0u8; text_room];
        let mut raw = abi::cenalloc_query {
            fd,
            users: users.as_mut_ptr() as u64,
            user_count: user_room as u32,
            user_size: size_of::<abi::cenalloc_user>() as u32,
            text: text.as_mut_ptr() as u64,
            text_len: text_room as u32,
            ..Default::default()
        };
        call(&mut raw).map_err(|errno| Error::from_buffer_call("QUERY", errno))?;
        let (user_count, text_len) = (raw.user_count as usize, raw.text_len as usize);
        // The text's NUL takes room as well.
        if user_count > user_room || text_len >= text_room {
            user_room = user_room.max(user_count + 4);
            text_room = text_room.max(text_len + 128);
            continue;
        }
        users.truncate(user_count);
        text.truncate(text_len);
        return Ok(from_raw(&raw, &users, &String::from_utf8_lossy(&text)));
    }
    Err(Error::from_call("QUERY", Errno::AGAIN))
}

fn from_raw(raw: &abi::cenalloc_query, users: &[abi::cenalloc_user], text: &str) -> Query {
    let with = Party::from_raw(raw.conflict_with, sys::name(&raw.conflict_other));
    let line = text.parse::<BufferLine>().ok();
    Query {
        id: raw.id,
        name: line.and_then(|line| line.name),
        len: raw.len,
        state: State::from_raw(raw.state),
        meet: Constraints::from_raw(&raw.meet),
        allocator: sys::name(&raw.allocator),
        users: users
            .iter()
            .map(|user| User {
                name: sys::text(&user.name),
                constraints: Constraints::from_raw(&user.constraints),
                declared: user.flags & abi::CENALLOC_USER_DECLARED != 0,
                attached: user.flags & abi::CENALLOC_USER_ATTACHED != 0,
                mapped: user.flags & abi::CENALLOC_USER_MAPPED != 0,
                dynamic: user.flags & abi::CENALLOC_USER_DYNAMIC != 0,
                second_choice: user.flags & abi::CENALLOC_USER_SECOND != 0,
                early: user.early,
            })
            .collect(),
        early: raw.early,
        relocations: raw.relocations,
        conflict: with.map(|with| Conflict {
            who: sys::text(&raw.conflict_who),
            field: Field::from_raw(raw.conflict_field),
            wanted: raw.conflict_wanted,
            found: raw.conflict_found,
            with,
        }),
        text: text.trim_end().to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const TEXT: &str = "id=7 name=\"frame\" size=8388608 state=backed mask=any below=2^32 \
                        segments=1 align=4096 allocator=system-contig users=40 maps=1 early=2 \
                        moves=3 conflict=\"encoder needs addresses below 2^28, memory is at 0x1000_0000 \
                        and mapped by vivid.0\"";

    /// A kernel whose buffer has `count` users and `line` as its text.
    fn kernel(
        count: u32,
        line: &str,
    ) -> impl FnMut(&mut abi::cenalloc_query) -> Result<(), Errno> + '_ {
        move |raw| {
            for n in 0..count.min(raw.user_count) {
                let mut user = abi::cenalloc_user {
                    flags: abi::CENALLOC_USER_ATTACHED | abi::CENALLOC_USER_MAPPED,
                    early: n,
                    ..Default::default()
                };
                user.constraints.max_segments = 1;
                sys::put(&mut user.name, &format!("user{n}")).unwrap();
                // SAFETY: The caller has room for that many.
                unsafe { *(raw.users as *mut abi::cenalloc_user).add(n as usize) = user };
            }
            raw.user_count = count;
            for (n, byte) in line.bytes().take(raw.text_len as usize - 1).enumerate() {
                // SAFETY: The caller has room for that many.
                unsafe { *(raw.text as *mut u8).add(n) = byte };
            }
            raw.text_len = line.len() as u32;
            raw.id = 7;
            raw.len = 8 << 20;
            raw.state = abi::CENALLOC_STATE_BACKED;
            raw.meet.max_address = u64::from(u32::MAX);
            sys::put(&mut raw.allocator, "system-contig").unwrap();
            raw.early = 2;
            raw.relocations = 3;
            raw.conflict_with = abi::CENALLOC_WITH_MEMORY;
            raw.conflict_field = abi::CENALLOC_FIELD_MAX_ADDRESS;
            raw.conflict_wanted = (1 << 28) - 1;
            raw.conflict_found = 1 << 28;
            sys::put(&mut raw.conflict_who, "encoder").unwrap();
            sys::put(&mut raw.conflict_other, "vivid.0").unwrap();
            Ok(())
        }
    }

    #[test]
    fn everything_is_told() {
        let query = query(5, kernel(1, TEXT)).unwrap();
        assert_eq!((query.id, query.len, query.early), (7, 8 << 20, 2));
        assert_eq!(query.relocations, 3);
        assert_eq!(query.name.as_deref(), Some("frame"));
        assert_eq!(query.state, State::Backed);
        assert_eq!(
            query.meet,
            Constraints::ANY.max_address(u64::from(u32::MAX))
        );
        assert_eq!(query.allocator.as_deref(), Some("system-contig"));
        let user = &query.users[0];
        assert_eq!((user.name.as_str(), user.early), ("user0", 0));
        assert!(user.mapped && user.attached && !user.declared && !user.dynamic);
        assert_eq!(user.constraints, Constraints::ANY.contiguous());
        let reason = query.reason().unwrap();
        assert_eq!(reason.text.parse().as_ref(), Ok(&reason.conflict));
        assert_eq!(reason.text, reason.conflict.to_string());
        assert_eq!(query.text, TEXT);
    }

    #[test]
    fn room_grows() {
        let long = format!("{TEXT}{:2000}", "");
        let query = query(5, kernel(40, &long)).unwrap();
        assert_eq!(query.users.len(), 40);
        assert_eq!(query.users[39].name, "user39");
        assert_eq!(query.text, TEXT);
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
    fn words_without_a_line() {
        let query = query(5, kernel(0, "")).unwrap();
        assert_eq!(query.name, None);
        assert_eq!(
            query.reason().unwrap().text,
            "encoder needs addresses below 2^28, memory is at 0x1000_0000 and mapped by vivid.0"
        );
    }

    #[test]
    fn no_refusal_no_reason() {
        let query = query(5, |raw| {
            raw.user_count = 0;
            raw.text_len = 0;
            raw.state = 9;
            Ok(())
        })
        .unwrap();
        assert_eq!(query.reason(), None);
        assert_eq!(query.conflict, None);
        assert_eq!(query.state, State::Other(9));
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
