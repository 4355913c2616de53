// SPDX-License-Identifier: GPL-2.0

//! What `--json` prints. The keys are documented, and stay; a later version may add some.

use cenalloc::{
    debugfs::{BufferLine, UserLine},
    Allocator, Conflict, Constraints, Query, Reason, User, UserDevice,
};
use serde::Serialize;

pub(crate) fn pretty<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).expect("there are no maps without text keys")
}

/// Needs; null is "don't care".
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Needs {
    pub(crate) access_mask: Option<u64>,
    pub(crate) max_address: Option<u64>,
    pub(crate) max_segments: Option<u32>,
    pub(crate) max_segment_size: Option<u64>,
    pub(crate) segment_boundary_mask: Option<u64>,
    pub(crate) alignment: Option<u64>,
    pub(crate) coherent: bool,
    pub(crate) priority: u16,
}

impl From<&Constraints> for Needs {
    fn from(needs: &Constraints) -> Self {
        Self {
            access_mask: needs.access_mask,
            max_address: needs.max_address,
            max_segments: needs.max_segments,
            max_segment_size: needs.max_segment_size,
            segment_boundary_mask: needs.segment_boundary_mask,
            alignment: needs.alignment,
            coherent: needs.coherent,
            priority: needs.priority,
        }
    }
}

/// A refusal: in words, and, where this program understands them, in parts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Refusal {
    pub(crate) text: String,
    pub(crate) who: Option<String>,
    pub(crate) field: Option<&'static str>,
    pub(crate) wanted: Option<u64>,
    pub(crate) found: Option<u64>,
    pub(crate) with: Option<&'static str>,
    pub(crate) other: Option<String>,
    pub(crate) advice: Vec<String>,
}

impl Refusal {
    /// From words.
    pub(crate) fn read(text: &str) -> Self {
        match text.parse() {
            Ok(conflict) => Self::new(text.to_owned(), &conflict),
            Err(_) => Self {
                text: text.to_owned(),
                who: None,
                field: None,
                wanted: None,
                found: None,
                with: None,
                other: None,
                advice: Vec::new(),
            },
        }
    }

    pub(crate) fn new(text: String, conflict: &Conflict) -> Self {
        Self {
            text,
            who: Some(conflict.who.clone()),
            field: Some(conflict.field.name()),
            wanted: Some(conflict.wanted),
            found: Some(conflict.found),
            with: Some(conflict.with.kind()),
            other: conflict.with.name().map(str::to_owned),
            advice: conflict.advice(),
        }
    }
}

impl From<&Reason> for Refusal {
    fn from(reason: &Reason) -> Self {
        Self::new(reason.text.clone(), &reason.conflict)
    }
}

/// A user of a buffer; null is what the kernel does not tell there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct BufferUser {
    pub(crate) name: String,
    pub(crate) needs: Needs,
    pub(crate) declared: Option<bool>,
    pub(crate) attached: Option<bool>,
    pub(crate) mapped: bool,
    pub(crate) dynamic: Option<bool>,
    pub(crate) second_choice: Option<bool>,
    pub(crate) early: Option<u64>,
    #[serde(skip)]
    pub(crate) constraints: Constraints,
}

impl From<&UserLine> for BufferUser {
    fn from(line: &UserLine) -> Self {
        Self {
            name: line.name.clone(),
            needs: (&line.constraints).into(),
            declared: line.declared,
            attached: line.attached,
            mapped: line.mapped,
            dynamic: line.dynamic,
            second_choice: line.second_choice,
            early: line.early,
            constraints: line.constraints,
        }
    }
}

impl From<&User> for BufferUser {
    fn from(user: &User) -> Self {
        Self {
            name: user.name.clone(),
            needs: (&user.constraints).into(),
            declared: Some(user.declared),
            attached: Some(user.attached),
            mapped: user.mapped,
            dynamic: Some(user.dynamic),
            second_choice: Some(user.second_choice),
            early: Some(user.early.into()),
            constraints: user.constraints,
        }
    }
}

/// A buffer, whether from debugfs or from QUERY.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Buffer {
    pub(crate) id: u64,
    pub(crate) name: Option<String>,
    pub(crate) size: u64,
    pub(crate) state: &'static str,
    pub(crate) needs: Needs,
    pub(crate) allocator: Option<String>,
    pub(crate) user_count: u64,
    pub(crate) map_count: u64,
    pub(crate) early: u64,
    pub(crate) relocations: Option<u64>,
    pub(crate) conflict: Option<Refusal>,
    pub(crate) users: Vec<BufferUser>,
    #[serde(skip)]
    pub(crate) meet: Constraints,
}

impl Buffer {
    pub(crate) fn new(line: &BufferLine, users: &[UserLine]) -> Self {
        Self {
            id: line.id,
            name: line.name.clone(),
            size: line.size,
            state: line.state.name(),
            needs: (&line.meet).into(),
            allocator: line.allocator.clone(),
            user_count: line.users,
            map_count: line.maps,
            early: line.early,
            relocations: line.relocations,
            conflict: line.conflict.as_deref().map(Refusal::read),
            users: users
                .iter()
                .filter(|user| user.buffer == line.id)
                .map(Into::into)
                .collect(),
            meet: line.meet,
        }
    }
}

impl From<&Query> for Buffer {
    fn from(query: &Query) -> Self {
        Self {
            id: query.id,
            name: query.name.clone(),
            size: query.len,
            state: query.state.name(),
            needs: (&query.meet).into(),
            allocator: query.allocator.clone(),
            user_count: query.users.len() as u64,
            map_count: query.users.iter().filter(|user| user.mapped).count() as u64,
            early: query.early.into(),
            relocations: Some(query.relocations.into()),
            conflict: query.reason().as_ref().map(Into::into),
            users: query.users.iter().map(Into::into).collect(),
            meet: query.meet,
        }
    }
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Buffers {
    pub(crate) buffers: Vec<Buffer>,
}

/// Why somebody was refused.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Why {
    /// The number of the buffer; null where nobody was ever refused.
    pub(crate) buffer: Option<u64>,
    /// Null where nobody was refused.
    pub(crate) conflict: Option<Refusal>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Test {
    /// `ok`, `no-memory` or `never`.
    pub(crate) result: &'static str,
    pub(crate) allocator: Option<String>,
    pub(crate) conflict: Option<Refusal>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct AllocatorEntry {
    pub(crate) name: String,
    pub(crate) access_mask: u64,
    pub(crate) priority: u32,
    pub(crate) contiguous: bool,
    pub(crate) max_len: u64,
    pub(crate) used: u64,
}

impl From<&Allocator> for AllocatorEntry {
    fn from(allocator: &Allocator) -> Self {
        Self {
            name: allocator.name.clone(),
            access_mask: allocator.access_mask,
            priority: allocator.priority,
            contiguous: allocator.contiguous,
            max_len: allocator.max_len,
            used: allocator.used,
        }
    }
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Allocators {
    pub(crate) allocators: Vec<AllocatorEntry>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct FileDevice {
    pub(crate) file: String,
    pub(crate) bus: String,
    pub(crate) device: String,
    pub(crate) driver: String,
}

impl FileDevice {
    pub(crate) fn new(file: &std::path::Path, user: UserDevice) -> Self {
        Self {
            file: file.to_string_lossy().into_owned(),
            bus: user.bus,
            device: user.name,
            driver: user.driver,
        }
    }
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct FileDevices {
    pub(crate) devices: Vec<FileDevice>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct PolicyDevice {
    pub(crate) bus: String,
    pub(crate) device: String,
    pub(crate) needs: Needs,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct PolicyDevices {
    pub(crate) devices: Vec<PolicyDevice>,
}
