// SPDX-License-Identifier: GPL-2.0

//! What `--json` prints. The keys are documented, and stay; a later version may add some.

use cenalloc::{
    debugfs::{BufferLine, UserLine},
    procfs, Allocator, Constraints, Field, Holder, Preferences, Query, Reason, Source, User,
    UserDevice,
};
use serde::Serialize;
use std::collections::BTreeMap;

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

/// A refusal: in words, and, where it did not come from debugfs, in parts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Refusal {
    pub(crate) text: String,
    pub(crate) sentence: Option<String>,
    pub(crate) advice: Option<String>,
    pub(crate) cause: Option<&'static str>,
    pub(crate) field: Option<&'static str>,
    pub(crate) wanted: Option<u64>,
    pub(crate) found: Option<u64>,
    pub(crate) who: Option<String>,
    pub(crate) other: Option<String>,
    pub(crate) behind: Option<String>,
    pub(crate) holder: Option<&'static str>,
    pub(crate) holders: Option<u32>,
    pub(crate) sequence: Option<u64>,
    pub(crate) when: Option<u64>,
    pub(crate) len: Option<u64>,
    pub(crate) max_address: Option<u64>,
    pub(crate) classes: Option<u64>,
}

impl Refusal {
    /// From words alone.
    pub(crate) fn words(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ..Self::default()
        }
    }
}

impl From<&Reason> for Refusal {
    fn from(reason: &Reason) -> Self {
        let text = reason.to_string();
        let Some(refusal) = reason.refusal() else {
            return Self::words(&text);
        };
        let full = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            text,
            sentence: full(refusal.sentence().to_string()),
            advice: full(refusal.advice().to_string()),
            cause: Some(refusal.cause.name()),
            field: refusal.field.map(Field::name),
            wanted: Some(refusal.wanted),
            found: Some(refusal.found),
            who: full(refusal.who.to_string()),
            other: full(refusal.other.to_string()),
            behind: full(refusal.behind.to_string()),
            holder: refusal.holder.map(Holder::name),
            holders: Some(refusal.holders),
            sequence: Some(refusal.sequence),
            when: Some(refusal.when).filter(|when| *when != 0),
            len: Some(refusal.len),
            max_address: Some(refusal.max_address).filter(|last| *last != u64::MAX),
            classes: Some(refusal.classes),
        }
    }
}

/// A user of a buffer; null is what debugfs does not tell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct BufferUser {
    pub(crate) name: String,
    pub(crate) needs: Needs,
    pub(crate) declared: bool,
    pub(crate) attached: Option<bool>,
    pub(crate) mapped: bool,
    pub(crate) pinned: bool,
    pub(crate) dynamic: Option<bool>,
    pub(crate) second_choice: bool,
    pub(crate) late_refusals: u64,
    pub(crate) preferences: Option<Vec<&'static str>>,
    pub(crate) unmet: Option<Vec<&'static str>>,
    pub(crate) sources: Option<BTreeMap<&'static str, &'static str>>,
    pub(crate) origin: Option<String>,
    #[serde(skip)]
    pub(crate) constraints: Constraints,
}

impl From<&UserLine> for BufferUser {
    fn from(line: &UserLine) -> Self {
        Self {
            name: line.name.clone(),
            needs: (&line.constraints).into(),
            declared: line.declared,
            attached: None,
            mapped: line.mapped,
            pinned: line.pinned,
            dynamic: None,
            second_choice: line.second_choice,
            late_refusals: line.late_refusals,
            preferences: None,
            unmet: None,
            sources: None,
            origin: None,
            constraints: line.constraints,
        }
    }
}

/// The names of preferences.
fn preferences(all: Preferences) -> Vec<&'static str> {
    let contiguous = all.contains(Preferences::CONTIGUOUS);
    contiguous.then_some("contiguous").into_iter().collect()
}

impl From<&User> for BufferUser {
    fn from(user: &User) -> Self {
        let sources = Field::ALL
            .iter()
            .map(|field| (field.name(), user.source(*field)))
            .filter(|(_, source)| *source != Source::Unknown)
            .map(|(field, source)| (field, source.name()));
        Self {
            name: user.name.clone(),
            needs: (&user.constraints).into(),
            declared: user.declared,
            attached: Some(user.attached),
            mapped: user.mapped,
            pinned: user.pinned,
            dynamic: Some(user.dynamic),
            second_choice: user.second_choice,
            late_refusals: user.late_refusals.into(),
            preferences: Some(preferences(user.preferences)),
            unmet: Some(preferences(user.unmet)),
            sources: Some(sources.collect()),
            origin: user.origin.clone(),
            constraints: user.constraints,
        }
    }
}

/// A process that has a buffer open or mapped.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) name: String,
    pub(crate) fds: Vec<i32>,
    pub(crate) maps: usize,
}

impl From<&procfs::Process> for Process {
    fn from(process: &procfs::Process) -> Self {
        Self {
            pid: process.pid,
            name: process.name.clone(),
            fds: process.fds.clone(),
            maps: process.maps,
        }
    }
}

/// A device that left at once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Left {
    pub(crate) device: String,
    pub(crate) segments: u32,
}

/// A buffer, whether from debugfs or from QUERY; null is what debugfs does not tell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Buffer {
    pub(crate) id: u64,
    pub(crate) inode: u64,
    pub(crate) name: Option<String>,
    pub(crate) size: u64,
    pub(crate) state: &'static str,
    pub(crate) caching: Option<&'static str>,
    pub(crate) needs: Needs,
    pub(crate) allocator: Option<String>,
    pub(crate) ranges: Option<u32>,
    pub(crate) recycled: Option<u64>,
    pub(crate) user_count: u64,
    pub(crate) map_count: u64,
    pub(crate) kernel_maps: u64,
    pub(crate) holds: Option<Vec<&'static str>>,
    pub(crate) holders: u64,
    pub(crate) waiting: u64,
    pub(crate) late_refusals: u64,
    pub(crate) relocations: u64,
    pub(crate) left: Option<Left>,
    pub(crate) refusals: u64,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) users: Vec<BufferUser>,
    /// Null where it was not asked for.
    pub(crate) processes: Option<Vec<Process>>,
    #[serde(skip)]
    pub(crate) combined: Constraints,
}

impl Buffer {
    pub(crate) fn new(line: &BufferLine, users: &[UserLine]) -> Self {
        Self {
            id: line.id,
            inode: line.inode,
            name: line.name.clone(),
            size: line.size,
            state: line.state.name(),
            caching: None,
            needs: (&line.combined).into(),
            allocator: line.allocator.clone(),
            ranges: None,
            recycled: None,
            user_count: line.users,
            map_count: line.maps,
            kernel_maps: line.kernel_maps,
            holds: None,
            holders: line.holders,
            waiting: line.waiting,
            late_refusals: line.late_refusals,
            relocations: line.relocations,
            left: None,
            refusals: line.refusals,
            refusal: line.refusal.as_deref().map(Refusal::words),
            users: users
                .iter()
                .filter(|user| user.buffer == line.id)
                .map(Into::into)
                .collect(),
            processes: None,
            combined: line.combined,
        }
    }

    pub(crate) fn is_backed(&self) -> bool {
        self.state == cenalloc::State::Backed.name()
    }
}

impl From<&Query> for Buffer {
    fn from(query: &Query) -> Self {
        Self {
            id: query.id,
            inode: query.inode,
            name: query.name.clone(),
            size: query.len,
            state: query.state.name(),
            caching: Some(query.caching.name()),
            needs: (&query.combined).into(),
            allocator: query.allocator.clone(),
            ranges: Some(query.ranges),
            recycled: Some(query.recycled),
            user_count: query.users.len() as u64,
            map_count: query.users.iter().filter(|user| user.mapped).count() as u64,
            kernel_maps: query.kernel_maps.into(),
            holds: Some(query.holds.iter().map(Holder::name).collect()),
            holders: query.holders.into(),
            waiting: query.waiting.into(),
            late_refusals: query.late_refusals.into(),
            relocations: query.relocations.into(),
            left: query.left.as_ref().map(|left| Left {
                device: left.device.clone(),
                segments: left.segments,
            }),
            refusals: query.refusals,
            refusal: query.reason.as_ref().map(Into::into),
            users: query.users.iter().map(Into::into).collect(),
            processes: None,
            combined: query.combined,
        }
    }
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Buffers {
    pub(crate) buffers: Vec<Buffer>,
    /// How many processes could not be looked into; null where it was not asked for.
    pub(crate) hidden_processes: Option<usize>,
}

/// Why somebody was refused.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Why {
    /// The number of the buffer; null where nobody was ever refused.
    pub(crate) buffer: Option<u64>,
    /// Whether the buffer is gone.
    pub(crate) gone: bool,
    /// Null where nobody was refused.
    pub(crate) refusal: Option<Refusal>,
    /// The buffer as it is now; null if it is gone.
    pub(crate) now: Option<Buffer>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Test {
    /// `ok`, `no-memory` or `never`.
    pub(crate) result: &'static str,
    pub(crate) allocator: Option<String>,
    pub(crate) refusal: Option<Refusal>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct AllocatorEntry {
    pub(crate) name: String,
    pub(crate) access_mask: u64,
    pub(crate) priority: u32,
    pub(crate) contiguous: bool,
    pub(crate) max_len: u64,
    pub(crate) used: u64,
    pub(crate) free: Option<u64>,
    pub(crate) start: Option<u64>,
    pub(crate) area_len: Option<u64>,
}

impl From<&Allocator> for AllocatorEntry {
    fn from(allocator: &Allocator) -> Self {
        Self {
            name: allocator.name.clone(),
            access_mask: allocator.class.0,
            priority: allocator.priority,
            contiguous: allocator.contiguous,
            max_len: allocator.max_len,
            used: allocator.used,
            free: allocator.free,
            start: allocator.area.map(|area| area.start),
            area_len: allocator.area.map(|area| area.len),
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

/// What a policy says of a device: what it needs, and what it prefers beyond that.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct PolicyNeeds {
    #[serde(flatten)]
    pub(crate) needs: Needs,
    pub(crate) prefers_contiguous: bool,
    pub(crate) known_needs: bool,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct PolicyDevice {
    pub(crate) bus: String,
    pub(crate) device: String,
    pub(crate) needs: PolicyNeeds,
    /// Whether there is such a device now.
    pub(crate) present: bool,
    /// Its driver, if it has one.
    pub(crate) driver: Option<String>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct PolicyChange {
    pub(crate) bus: String,
    pub(crate) device: String,
    pub(crate) before: Option<PolicyNeeds>,
    pub(crate) after: Option<PolicyNeeds>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct PolicyChanges {
    pub(crate) changes: Vec<PolicyChange>,
    pub(crate) warnings: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct PolicyDevices {
    pub(crate) devices: Vec<PolicyDevice>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    /// What the device tree of such a board is compatible with.
    pub(crate) compatible: &'static [&'static str],
    pub(crate) entries: usize,
    /// Whether this machine is one.
    pub(crate) here: bool,
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Recipes {
    pub(crate) recipes: Vec<Recipe>,
}
