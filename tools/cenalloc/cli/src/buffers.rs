// SPDX-License-Identifier: GPL-2.0

//! All buffers of the system, from debugfs.

use crate::{
    args::{Args, Column, List},
    failure::{Failure, Result},
    show,
    table::{Align, Table},
    view::{Buffer, BufferUser, Buffers, Process},
};
use cenalloc::{debugfs::Debugfs, procfs::Procfs, Size};
use std::{cmp::Ordering, fmt::Write};

/// `cenalloc list`.
pub(crate) fn list(args: &Args, list: &List) -> Result<()> {
    let buffers = read(args, list)?;
    for id in &list.buffers {
        if !buffers.buffers.iter().any(|buffer| buffer.id == *id) {
            return Err(Failure::new(format!("there is no buffer {id}")));
        }
    }
    show(args, &buffers, || text(&buffers, list))
}

/// Reads the buffers that are asked for, as far as they are there, in their order.
pub(crate) fn read(args: &Args, list: &List) -> Result<Buffers> {
    let debugfs = Debugfs::new(&args.debugfs);
    let (lines, users) = (debugfs.buffers()?, debugfs.users()?);
    let is_wanted = |id| list.buffers.is_empty() || list.buffers.contains(&id);
    let mut buffers: Vec<_> = lines
        .iter()
        .filter(|line| is_wanted(line.id))
        .map(|line| Buffer::new(line, &users))
        .collect();
    buffers.sort_by(|a, b| list.sort.compare(a, b).then(b.id.cmp(&a.id)));
    if list.reverse {
        buffers.reverse();
    }
    let mut hidden_processes = None;
    if list.wants_processes() {
        let found = Procfs::new(&args.procfs).dma_bufs()?;
        for buffer in &mut buffers {
            let processes = found.of(buffer.inode);
            buffer.processes = Some(processes.iter().map(Into::into).collect());
        }
        hidden_processes = Some(found.hidden);
    }
    Ok(Buffers {
        buffers,
        hidden_processes,
    })
}

/// Returns a table of buffers, each with its users below it unless columns were chosen.
pub(crate) fn text(all: &Buffers, list: &List) -> String {
    let columns = match list.columns.as_slice() {
        [] => Column::DEFAULT.as_slice(),
        chosen => chosen,
    };
    let mut text = match all.buffers.as_slice() {
        [] => "no buffers\n".to_owned(),
        buffers => table(buffers, columns, list.columns.is_empty()),
    };
    if let Some(hidden @ 1..) = all.hidden_processes {
        let _ = writeln!(
            text,
            "{} could not be looked into: that takes root",
            plural(hidden, "process", "processes")
        );
    }
    text
}

/// Returns a table of buffers with a line for their sum.
fn table(buffers: &[Buffer], columns: &[Column], has_details: bool) -> String {
    let titles: Vec<_> = columns
        .iter()
        .map(|column| (column.title(), column.align()))
        .collect();
    let mut table = Table::new(&titles);
    for buffer in buffers {
        table.row(columns.iter().map(|column| column.cell(buffer)).collect());
        if !has_details {
            continue;
        }
        for user in &buffer.users {
            table.line(&format!("    {}", user_text(user)));
        }
        if let Some(refusal) = &buffer.refusal {
            table.line(&format!("    refused: {}", refusal.text));
        }
        if let Some(processes) = &buffer.processes {
            table.line(&format!("    {}", processes_text(processes)));
        }
    }
    let sum = |buffers: &mut dyn Iterator<Item = &Buffer>| {
        Size(buffers.fold(0, |sum: u64, buffer| sum.saturating_add(buffer.size)))
    };
    table.line(&format!(
        "{}: {}, {} of it with memory",
        plural(buffers.len(), "buffer", "buffers"),
        sum(&mut buffers.iter()).about(),
        sum(&mut buffers.iter().filter(|buffer| buffer.is_backed())).about(),
    ));
    table.to_string()
}

/// Returns a count and what it counts.
pub(crate) fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

impl Column {
    /// Those of a list without `--columns`.
    const DEFAULT: [Self; 11] = [
        Self::Id,
        Self::Name,
        Self::Size,
        Self::State,
        Self::Allocator,
        Self::Users,
        Self::Maps,
        Self::Holders,
        Self::Late,
        Self::Refusals,
        Self::Needs,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Id => "ID",
            Self::Inode => "INODE",
            Self::Name => "NAME",
            Self::Size => "SIZE",
            Self::State => "STATE",
            Self::Allocator => "ALLOCATOR",
            Self::Users => "USERS",
            Self::Maps => "MAPS",
            Self::KernelMaps => "KMAPS",
            Self::Holders => "HOLDERS",
            Self::Waiting => "WAITING",
            Self::Late => "LATE",
            Self::Relocations => "RELOCATIONS",
            Self::Refusals => "REFUSALS",
            Self::Needs => "NEEDS",
            Self::Pids => "PIDS",
        }
    }

    fn align(self) -> Align {
        match self {
            Self::Name | Self::State | Self::Allocator | Self::Needs | Self::Pids => Align::Left,
            _ => Align::Right,
        }
    }

    /// The number in it, if it has one.
    fn number(self, buffer: &Buffer) -> Option<u64> {
        match self {
            Self::Id => Some(buffer.id),
            Self::Inode => Some(buffer.inode),
            Self::Size => Some(buffer.size),
            Self::Users => Some(buffer.user_count),
            Self::Maps => Some(buffer.map_count),
            Self::KernelMaps => Some(buffer.kernel_maps),
            Self::Holders => Some(buffer.holders),
            Self::Waiting => Some(buffer.waiting),
            Self::Late => Some(buffer.late_refusals),
            Self::Relocations => Some(buffer.relocations),
            Self::Refusals => Some(buffer.refusals),
            Self::Name | Self::State | Self::Allocator | Self::Needs | Self::Pids => None,
        }
    }

    fn cell(self, buffer: &Buffer) -> String {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        match self {
            Self::Name => or_dash(&buffer.name),
            Self::Size => Size(buffer.size).about().to_string(),
            Self::State => buffer.state.to_owned(),
            Self::Allocator => or_dash(&buffer.allocator),
            Self::Needs => buffer.combined.to_string(),
            Self::Pids => {
                let processes = buffer.processes.iter().flatten();
                let pids: Vec<_> = processes.map(|process| process.pid.to_string()).collect();
                or_dash(&Some(pids.join(",")).filter(|pids| !pids.is_empty()))
            }
            _ => self.number(buffer).unwrap_or(0).to_string(),
        }
    }

    /// The largest number, or the first text of the alphabet, comes first.
    fn compare(self, a: &Buffer, b: &Buffer) -> Ordering {
        match (self.number(a), self.number(b)) {
            (Some(a), Some(b)) => b.cmp(&a),
            _ => self.cell(a).cmp(&self.cell(b)),
        }
    }
}

/// Returns one user in a line.
pub(crate) fn user_text(user: &BufferUser) -> String {
    let name = if user.name.is_empty() {
        "(no name)"
    } else {
        &user.name
    };
    let mut text = format!("{name}: {}", user.constraints);
    let flags = [
        (user.declared, "declared"),
        (user.attached == Some(true) && !user.mapped, "attached"),
        (user.mapped, "mapped"),
        (user.pinned && !user.mapped, "pinned"),
        (user.dynamic == Some(true), "dynamic"),
        (user.second_choice, "second choice"),
    ];
    for (is_set, flag) in flags {
        if is_set {
            let _ = write!(text, ", {flag}");
        }
    }
    for preference in user.preferences.iter().flatten() {
        let is_unmet = user.unmet.iter().flatten().any(|unmet| unmet == preference);
        let but = if is_unmet { " (does not have it)" } else { "" };
        let _ = write!(text, ", prefers {preference}{but}");
    }
    if user.late_refusals > 0 {
        let _ = write!(text, ", kept out {}", user.late_refusals);
    }
    let sources = user.sources.iter().flatten();
    let sources: Vec<_> = sources
        .map(|(field, source)| format!("{field} by {source}"))
        .collect();
    if !sources.is_empty() {
        let _ = write!(text, " [{}]", sources.join(", "));
    }
    if let Some(origin) = &user.origin {
        let _ = write!(text, " ({origin})");
    }
    text
}

/// Returns who has a buffer, in a line.
pub(crate) fn processes_text(processes: &[Process]) -> String {
    if processes.is_empty() {
        return "no process has it open or mapped: the kernel keeps it".to_owned();
    }
    let all: Vec<_> = processes
        .iter()
        .map(|process| {
            let fds: Vec<_> = process.fds.iter().map(i32::to_string).collect();
            let mut has = Vec::new();
            if !fds.is_empty() {
                has.push(format!("fd {}", fds.join(" ")));
            }
            if process.maps > 0 {
                has.push(plural(process.maps, "mapping", "mappings"));
            }
            format!("{} {} ({})", process.pid, process.name, has.join(", "))
        })
        .collect();
    format!("processes: {}", all.join(", "))
}
