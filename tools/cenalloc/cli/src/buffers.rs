// SPDX-License-Identifier: GPL-2.0

//! All buffers of the system, from debugfs.

use crate::{
    args::{Args, List},
    failure::{Failure, Result},
    show,
    table::{about, Align, Table},
    view::{Buffer, BufferUser, Buffers},
};
use cenalloc::{debugfs::Debugfs, Size};
use std::fmt::Write;

/// `cenalloc list`.
pub(crate) fn list(args: &Args, list: &List) -> Result<()> {
    let buffers = read(args, list)?;
    for id in &list.buffers {
        if !buffers.buffers.iter().any(|buffer| buffer.id == *id) {
            return Err(Failure::new(format!("there is no buffer {id}")));
        }
    }
    show(args, &buffers, || text(&buffers.buffers))
}

/// The buffers that are asked for, as far as they are there.
pub(crate) fn read(args: &Args, list: &List) -> Result<Buffers> {
    let debugfs = Debugfs::new(&args.debugfs);
    let (lines, users) = (debugfs.buffers()?, debugfs.users()?);
    let is_wanted = |id| list.buffers.is_empty() || list.buffers.contains(&id);
    Ok(Buffers {
        buffers: lines
            .iter()
            .filter(|line| is_wanted(line.id))
            .map(|line| Buffer::new(line, &users))
            .collect(),
    })
}

/// A table of buffers, each with its users below it.
pub(crate) fn text(buffers: &[Buffer]) -> String {
    if buffers.is_empty() {
        return "no buffers\n".to_owned();
    }
    let mut table = Table::new(&[
        ("ID", Align::Right),
        ("NAME", Align::Left),
        ("SIZE", Align::Right),
        ("STATE", Align::Left),
        ("ALLOCATOR", Align::Left),
        ("USERS", Align::Right),
        ("MAPS", Align::Right),
        ("EARLY", Align::Right),
        ("MOVES", Align::Right),
        ("NEEDS", Align::Left),
    ]);
    for buffer in buffers {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        table.row([
            buffer.id.to_string(),
            or_dash(&buffer.name),
            about(Size(buffer.size)),
            buffer.state.to_owned(),
            or_dash(&buffer.allocator),
            buffer.user_count.to_string(),
            buffer.map_count.to_string(),
            buffer.early.to_string(),
            or_dash(&buffer.relocations.map(|count| count.to_string())),
            buffer.meet.to_string(),
        ]);
        for user in &buffer.users {
            table.line(&format!("    {}", user_text(user)));
        }
        if let Some(conflict) = &buffer.conflict {
            table.line(&format!("    refused: {}", conflict.text));
        }
    }
    table.to_string()
}

/// One user in a line.
fn user_text(user: &BufferUser) -> String {
    let name = if user.name.is_empty() {
        "(no name)"
    } else {
        &user.name
    };
    let mut text = format!("{name}: {}", user.constraints);
    let flags = [
        (user.declared == Some(true), "declared"),
        (user.attached == Some(true) && !user.mapped, "attached"),
        (user.mapped, "mapped"),
        (user.dynamic == Some(true), "dynamic"),
        (user.second_choice == Some(true), "second choice"),
    ];
    for (is_set, flag) in flags {
        if is_set {
            let _ = write!(text, ", {flag}");
        }
    }
    if let Some(early @ 1..) = user.early {
        let _ = write!(text, ", kept out {early}");
    }
    text
}
