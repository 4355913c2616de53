// SPDX-License-Identifier: GPL-2.0

//! Buffers and their users as lines of text, for debugfs.

use crate::{
    buffer::{
        Buffer,
        Life,
        State, //
    },
    client,
    held::Held, //
};
use core::fmt::{
    self,
    Write, //
};
use dma_buf_constraints::{
    dma_buf::Guard,
    model::{
        Classes,
        Placement,
        SegmentLimits, //
    },
};

/// Writes a line about a buffer whose lock is held.
pub(crate) fn write_buffer(
    f: &mut dyn Write,
    buffer: &Buffer,
    guard: &Guard<'_, State>,
) -> fmt::Result {
    let (life, allocator) = match &guard.life {
        Life::Empty => ("empty", "-"),
        Life::Backed(backing) => ("backed", backing.allocator().name().as_str()),
        Life::Gone => ("gone", "-"),
    };
    let maps = guard.users.iter().filter(|user| user.data.is_mapped());
    write!(
        f,
        "id={} inode={} name=\"{}\" size={} state={life} ",
        buffer.id,
        guard.inode(),
        guard.name().as_str(),
        buffer.len,
    )?;
    write_placement(f, &guard.users.combined().placement)?;
    write!(
        f,
        " allocator={allocator} users={} maps={} kernel_maps={} holders={} waiting={} late={} \
         relocations={} refusals={} refusal=\"",
        guard.users.len(),
        maps.count(),
        guard.kernel_mappings(),
        Held::of(guard).count,
        guard.waiting(),
        guard.late_refusals,
        guard.relocations,
        guard.refusals,
    )?;
    if let Some(refusal) = guard.refusal.first() {
        write!(f, "{refusal}")?;
    }
    f.write_str("\"\n")
}

/// Writes a line for each user of a buffer whose lock is held.
pub(crate) fn write_users(f: &mut dyn Write, buffer: &Buffer, state: &State) -> fmt::Result {
    for user in state.users.iter() {
        write!(f, "buffer={} device=\"{}\" ", buffer.id, user.name())?;
        let constraints = state.users.constraints_of(user);
        write_placement(f, &constraints.placement)?;
        write_limits(f, &constraints.segments)?;
        let (prefers, origin) = client::preferred(user);
        writeln!(
            f,
            " priority={} mapped={} pinned={} declared={} second={} prefers={} unmet={} late={}",
            constraints.priority,
            u8::from(user.data.is_mapped()),
            u8::from(user.data.holder().is_some()),
            u8::from(user.data.declared.is_some()),
            u8::from(state.users.has_second(user)),
            origin.word,
            u8::from(state.does_not_meet(prefers)),
            user.data.late_refusals
        )?;
    }
    Ok(())
}

fn write_placement(f: &mut dyn Write, placement: &Placement) -> fmt::Result {
    match placement.access_mask {
        u64::MAX => f.write_str("class=any")?,
        mask => write!(f, "class={}", Classes(mask).listed())?,
    }
    match placement.max_address {
        u64::MAX => f.write_str(" below=any")?,
        last => write!(f, " below={}", Below(last))?,
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
        mask => write!(f, " boundary={}", Below(mask)),
    }
}

/// An inclusive limit as what lies just above it: `2^28`, or an address.
struct Below(u64);

impl fmt::Display for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.checked_add(1) {
            None => f.write_str("2^64"),
            Some(above) if above.is_power_of_two() => write!(f, "2^{}", above.trailing_zeros()),
            Some(above) => write!(f, "{above:#x}"),
        }
    }
}
