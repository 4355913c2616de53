// SPDX-License-Identifier: GPL-2.0

//! Buffers and their users as lines of text, for debugfs and for queries.

use crate::buffer::{
    Buffer,
    Life,
    State, //
};
use dma_buf_constraints::model::{
    Conflict,
    Limit,
    Placement,
    SegmentLimits, //
};
use kernel::fmt::{
    self,
    Write, //
};

/// Writes one line, without its end, about a buffer whose lock is held. `conflict` is the last
/// refusal as the reader may see it.
pub(crate) fn write_buffer(
    f: &mut dyn Write,
    buffer: &Buffer,
    state: &State,
    conflict: Option<&Conflict>,
) -> fmt::Result {
    let (life, allocator) = match &state.life {
        Life::Empty => ("empty", "-"),
        Life::Backed(backing) => ("backed", backing.allocator().name().as_str()),
        Life::Gone => ("gone", "-"),
    };
    let maps = state.users.iter().filter(|user| user.data.is_mapped());
    write!(
        f,
        "id={} name=\"{}\" size={} state={} ",
        buffer.id,
        buffer.name(),
        buffer.len,
        life
    )?;
    write_placement(f, &state.users.combined().placement)?;
    write!(
        f,
        " allocator={} users={} maps={} early={} moves={} conflict=\"",
        allocator,
        state.users.len(),
        maps.count(),
        state.late_refusals,
        state.relocations
    )?;
    if let Some(conflict) = conflict {
        write!(f, "{conflict}")?;
    }
    f.write_str("\"")
}

/// Writes a line for each user of a buffer whose lock is held.
pub(crate) fn write_users(f: &mut dyn Write, buffer: &Buffer, state: &State) -> fmt::Result {
    for user in state.users.iter() {
        write!(f, "buffer={} device=\"{}\" ", buffer.id, user.name())?;
        let constraints = state.users.constraints_of(user);
        write_placement(f, &constraints.placement)?;
        write_limits(f, &constraints.segments)?;
        writeln!(
            f,
            " priority={} mapped={} declared={} second={} early={}",
            constraints.priority,
            u8::from(user.data.is_mapped()),
            u8::from(user.data.declared.is_some()),
            u8::from(state.users.has_second(user)),
            user.data.late_refusals
        )?;
    }
    Ok(())
}

fn write_placement(f: &mut dyn Write, placement: &Placement) -> fmt::Result {
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
    write!(
        f,
        " align={} coherent={}",
        placement.alignment,
        u8::from(placement.coherent)
    )
}

fn write_limits(f: &mut dyn Write, limits: &SegmentLimits) -> fmt::Result {
    match limits.max_size {
        u64::MAX => f.write_str(" segsize=any")?,
        size => write!(f, " segsize={size}")?,
    }
    match limits.boundary_mask {
        u64::MAX => f.write_str(" boundary=any"),
        mask => write!(f, " boundary={}", Limit(mask)),
    }
}
