// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/cenalloc/`: what there is, for people.
//!
//! - `buffers`: one line a buffer.
//! - `devices`: one line an attached device.
//! - `conflict`: the last refusal, in words.

use crate::{
    buffer::{
        Buffer,
        Life, //
    },
    registry, //
};
use dma_buf_constraints::model::{
    Limit,
    Placement,
    SegmentLimits, //
};
use kernel::{
    debugfs::{
        Dir,
        File, //
    },
    fmt::{
        self,
        Formatter, //
    },
    prelude::*, //
};

/// The files, there as long as this is.
#[pin_data]
pub(crate) struct Files {
    #[pin]
    buffers: File<()>,
    #[pin]
    devices: File<()>,
    #[pin]
    conflict: File<()>,
    // Dropped last: it holds the files.
    dir: Dir,
}

impl Files {
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        let dir = Dir::new(c"cenalloc");
        let (buffers, devices, conflict) = (dir.clone(), dir.clone(), dir.clone());
        pin_init::pin_init_scope(move || {
            Ok(try_pin_init!(Self {
                buffers <- buffers.read_callback_file(c"buffers", (), &|(), f| {
                    for_each(|buffer| write_buffer(f, buffer))
                }),
                devices <- devices.read_callback_file(c"devices", (), &|(), f| {
                    for_each(|buffer| write_devices(f, buffer))
                }),
                conflict <- conflict.read_callback_file(c"conflict", (), &|(), f| {
                    write_last_conflict(f)
                }),
                dir,
            }? Error))
        })
    }
}

/// Calls `show` for each buffer. Buffers that are made or go meanwhile may be left out.
fn for_each(mut show: impl FnMut(&Buffer) -> fmt::Result) -> fmt::Result {
    let mut id = 0;
    while let Some(buffer) = registry::next_from(id) {
        show(&buffer)?;
        id = buffer.id + 1;
    }
    Ok(())
}

fn write_buffer(f: &mut Formatter<'_>, buffer: &Buffer) -> fmt::Result {
    let state = buffer.lock();
    let (life, allocator) = match &state.life {
        Life::Empty => ("empty", "-"),
        Life::Backed(backing) => ("backed", backing.allocator().name()),
        Life::Gone => return Ok(()),
    };
    let maps = state.users.iter().filter(|user| user.data.is_mapped());
    write!(
        f,
        "id={} name=\"{}\" size={} state={} ",
        buffer.id, buffer.name, buffer.len, life
    )?;
    write_placement(f, &state.users.meet().placement)?;
    write!(
        f,
        " allocator={} users={} maps={} early={} conflict=\"",
        allocator,
        state.users.len(),
        maps.count(),
        state.early
    )?;
    if let Some(conflict) = &state.conflict {
        write!(f, "{conflict}")?;
    }
    writeln!(f, "\"")
}

fn write_devices(f: &mut Formatter<'_>, buffer: &Buffer) -> fmt::Result {
    let state = buffer.lock();
    for user in state.users.iter() {
        write!(f, "buffer={} device=\"{}\" ", buffer.id, user.name())?;
        write_placement(f, &user.constraints().placement)?;
        write_limits(f, &user.constraints().segments)?;
        writeln!(f, " mapped={}", u8::from(user.data.is_mapped()))?;
    }
    Ok(())
}

fn write_last_conflict(f: &mut Formatter<'_>) -> fmt::Result {
    match registry::last_conflict() {
        Some((id, conflict)) => writeln!(f, "buffer {id}: {conflict}"),
        None => Ok(()),
    }
}

fn write_placement(f: &mut Formatter<'_>, placement: &Placement) -> fmt::Result {
    match placement.access_mask {
        u64::MAX => f.write_str("mask=any")?,
        mask => write!(f, "mask={mask:#x}")?,
    }
    match placement.max_address {
        u64::MAX => f.write_str(" below=any")?,
        last => write!(f, " below={}", Limit(last))?,
    }
    match placement.max_segments {
        u32::MAX => f.write_str(" segments=any")?,
        most => write!(f, " segments={most}")?,
    }
    write!(f, " align={}", placement.alignment)
}

fn write_limits(f: &mut Formatter<'_>, limits: &SegmentLimits) -> fmt::Result {
    match limits.max_size {
        u64::MAX => f.write_str(" segsize=any")?,
        size => write!(f, " segsize={size}")?,
    }
    match limits.boundary_mask {
        u64::MAX => f.write_str(" boundary=any"),
        mask => write!(f, " boundary={}", Limit(mask)),
    }
}
