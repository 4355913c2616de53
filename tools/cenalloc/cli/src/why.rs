// SPDX-License-Identifier: GPL-2.0

//! Why somebody was refused.

use crate::{
    args::{Args, Which},
    buffers::plural,
    failure::Result,
    plain, query, show,
    view::{Buffer, Refusal, Why},
};
use cenalloc::{debugfs::Debugfs, Size};
use std::fmt::Write;

/// `cenalloc why`.
pub(crate) fn why(args: &Args, which: &Which) -> Result<()> {
    let why = find(args, which)?;
    show(args, &why, || text(&why))
}

fn find(args: &Args, which: &Which) -> Result<Why> {
    if which.buffer.is_some() || which.fd.is_some() {
        return Ok(now(query::buffer(args, which)?));
    }
    let debugfs = Debugfs::new(&args.debugfs);
    let last = debugfs.last_refusal()?;
    let id = match &last {
        Some((id, _)) => Some(*id),
        // One that left at once was not refused, and has as good a reason to be told.
        None => query::left(args)?,
    };
    let Some(id) = id else {
        return Ok(Why {
            buffer: None,
            gone: false,
            refusal: None,
            now: None,
        });
    };
    if let Some(buffer) = query::by_number(args, id)? {
        return Ok(now(buffer));
    }
    Ok(Why {
        buffer: Some(id),
        gone: true,
        refusal: last.map(|(_, text)| Refusal::words(&text)),
        now: None,
    })
}

/// Why a buffer that is there refused somebody.
fn now(buffer: Buffer) -> Why {
    Why {
        buffer: Some(buffer.id),
        gone: false,
        refusal: buffer.refusal.clone(),
        now: Some(buffer),
    }
}

fn text(why: &Why) -> String {
    let (id, refusal) = match (why.buffer, &why.refusal) {
        (None, _) => return "nobody was refused\n".to_owned(),
        (Some(id), refusal) => (id, refusal.as_ref().map(|refusal| plain(&refusal.text))),
    };
    let Some(buffer) = &why.now else {
        let refusal = refusal.unwrap_or_default();
        return format!("buffer {id} is gone; while it was there:\n  {refusal}\n");
    };
    let mut text = format!("{}\n", title(buffer));
    match refusal {
        None => text += "  nobody was refused\n",
        Some(refusal) => {
            let _ = writeln!(
                text,
                "  last refusal, {} of {}, {}as it was then: {refusal}",
                order(buffer),
                buffer.refusals,
                buffer.refusal.as_ref().and_then(ago).unwrap_or_default()
            );
        }
    }
    for line in facts(buffer) {
        let _ = writeln!(text, "  {}", plain(&line));
    }
    text
}

/// How long ago it was, with a comma behind it; `None` where that is not known.
fn ago(refusal: &Refusal) -> Option<String> {
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let now: f64 = uptime.split(' ').next()?.parse().ok()?;
    let seconds = (now - refusal.when? as f64 / 1e9).max(0.0) as u64;
    Some(match seconds {
        0..120 => format!("{seconds} s ago, "),
        120..7200 => format!("{} min ago, ", seconds / 60),
        _ => format!("{} h ago, ", seconds / 3600),
    })
}

/// The number of the last refusal.
fn order(buffer: &Buffer) -> u64 {
    let sequence = buffer.refusal.as_ref().and_then(|refusal| refusal.sequence);
    sequence.unwrap_or(buffer.refusals)
}

/// Returns which buffer it is, and what it is now, in a line.
pub(crate) fn title(buffer: &Buffer) -> String {
    let name = match &buffer.name {
        Some(name) => format!(" \"{}\"", plain(name)),
        None => String::new(),
    };
    let memory = match (&buffer.allocator, buffer.ranges) {
        (None, _) => "no memory yet".to_owned(),
        (Some(allocator), Some(1)) => format!("one range of memory from {}", plain(allocator)),
        (Some(allocator), Some(ranges)) => {
            format!("{ranges} ranges of memory from {}", plain(allocator))
        }
        (Some(allocator), None) => format!("memory from {}", plain(allocator)),
    };
    format!(
        "buffer {}{name}: {}, {memory}",
        buffer.id,
        Size(buffer.size).about()
    )
}

/// Returns what else there is to know of who comes too late, in lines.
pub(crate) fn facts(buffer: &Buffer) -> Vec<String> {
    let mut lines = Vec::new();
    if buffer.late_refusals > 0 {
        lines.push(format!("{} came too late so far", buffer.late_refusals));
    }
    match buffer.relocations {
        0 => {}
        1 => lines.push("the memory was relocated once".to_owned()),
        times => lines.push(format!("the memory was relocated {times} times")),
    }
    if let Some(left) = &buffer.left {
        lines.push(format!(
            "{} mapped it in {} segments, unmapped it and left at once, as devices do that need \
             contiguous memory and do not say so; if it does, declare it with max_segments = 1, \
             or let a policy say so",
            left.device, left.segments
        ));
    }
    if buffer.is_backed() {
        let held = match buffer.holders {
            0 => "now nobody holds the memory: it can be relocated".to_owned(),
            1 => "now 1 holds the memory where it is".to_owned(),
            many => format!("now {many} hold the memory where it is"),
        };
        let ways: Vec<_> = buffer
            .holds
            .iter()
            .flatten()
            .map(|holder| way(holder))
            .collect();
        lines.push(if ways.is_empty() {
            held
        } else {
            format!("{held}: {}", ways.join(", "))
        });
        let holders = buffer.users.iter().filter(|user| user.pinned);
        lines.extend(holders.map(|user| format!("  {}", crate::buffers::user_text(user))));
    }
    if buffer.waiting > 0 {
        let calls = plural(
            buffer.waiting as usize,
            "declaration waits",
            "declarations wait",
        );
        lines.push(format!("now {calls} for it to be let go"));
    }
    lines
}

/// How memory is held, in words.
fn way(holder: &str) -> &'static str {
    match holder {
        "mapping" => "devices that have it mapped",
        "pin" => "devices that have it pinned",
        "kernel" => "the kernel, which has it mapped for itself",
        "fence" => "devices that have not finished with it",
        _ => "a driver that was told its address, for ever",
    }
}
