// SPDX-License-Identifier: GPL-2.0

//! The cause of a refusal, as a value.

use super::{
    constraints::Field,
    memory::Misfit, //
};
use core::fmt;

/// The name of a device or an allocator, cut to [`Name::CAPACITY`] bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; Name::CAPACITY],
    len: u8,
}

impl Name {
    /// The most bytes of a name that are kept.
    pub const CAPACITY: usize = 63;

    /// Makes a name of `bytes`, up to the first NUL or [`CAPACITY`](Self::CAPACITY).
    pub fn new(bytes: &[u8]) -> Self {
        Self::of(&[bytes])
    }

    /// Makes a name of several parts, one behind the other.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut name = Self {
            bytes: [0; Self::CAPACITY],
            len: 0,
        };
        for (to, from) in name.bytes.iter_mut().zip(parts.iter().copied().flatten()) {
            if *from == 0 {
                break;
            }
            // A name may come from userspace and goes to the kernel log: one line, no controls.
            *to = if from.is_ascii_graphic() || *from == b' ' {
                *from
            } else {
                b'?'
            };
            name.len += 1;
        }
        name
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len.into()).unwrap_or(&[]);
        core::str::from_utf8(bytes).unwrap_or("?")
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the need of a device conflicts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// Another user of the buffer, or the buffer's creator.
    Device(Name),
    /// All other users together, no two of which conflict.
    Others,
    /// Its own other needs, and the length of the buffer.
    Itself,
    /// What allocators can give, of which this one comes nearest. If there is a user, that user
    /// needs what the allocator lacks, and the newcomer rules out the others.
    Allocator(Name, Option<Name>),
    /// The present memory of the buffer, and a user that has it pinned.
    Memory(Option<Name>),
    /// The DMA layer, which put other memory between the device and the buffer's.
    Bounce,
}

/// A refusal: the device, the field with both values, and what the device conflicts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The device that was refused.
    pub who: Name,
    /// Which field, what was wanted, what was found.
    pub misfit: Misfit,
    /// What the device conflicts with.
    pub with: Party,
}

impl Conflict {
    /// Returns the conflict without an address of memory, for a reader that may not learn it: it is
    /// 0, as in what the kernel hides elsewhere.
    #[must_use]
    pub fn without_address(&self) -> Self {
        let is_address = match self.with {
            Party::Memory(_) | Party::Bounce => {
                matches!(self.misfit.field, Field::MaxAddress | Field::Alignment)
            }
            Party::Allocator(..) => self.misfit.field == Field::MaxAddress,
            Party::Device(_) | Party::Others | Party::Itself => false,
        };
        let mut conflict = *self;
        if is_address {
            conflict.misfit.found = 0;
        }
        conflict
    }
}

impl fmt::Display for Conflict {
    /// Writes one line, for the kernel log and debugfs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Misfit {
            field,
            wanted,
            found,
        } = self.misfit;
        match self.with {
            Party::Allocator(_, Some(user)) => {
                write!(f, "{} joins {}, which needs ", self.who, user)?;
            }
            _ => write!(f, "{} needs ", self.who)?,
        }
        write!(f, "{}, ", Need(field, wanted))?;
        match self.with {
            Party::Device(name) => write!(f, "{} needs {}", name, Need(field, found)),
            Party::Others => write!(f, "all others together need {}", Need(field, found)),
            Party::Itself => match field {
                Field::AccessMask => f.write_str("which is none"),
                Field::MaxAddress => write!(f, "the buffer has {found} bytes"),
                Field::MaxSegments => write!(f, "its own limits take at least {found}"),
                Field::Coherent => f.write_str("its other needs do not allow that"),
                _ => write!(f, "its segments start every {found} bytes"),
            },
            Party::Allocator(name, _) => match field {
                Field::AccessMask => write!(f, "{name} gives class {found:#x}"),
                // The address was removed by `without_address`.
                Field::MaxAddress if found == 0 => write!(f, "{name} gives none there"),
                Field::MaxAddress => write!(f, "{name} gives from {} on", Address(found)),
                Field::MaxSegments => write!(f, "{name} gives no fewer than {found}"),
                Field::Coherent => write!(f, "{name} gives cached memory"),
                Field::Device => write!(f, "{name} does not"),
                _ => write!(f, "{name} gives at most {found}"),
            },
            Party::Memory(user) => {
                write!(f, "memory is {}", Gift(field, found))?;
                match user {
                    Some(user) => write!(f, " and mapped by {user}"),
                    None => Ok(()),
                }
            }
            Party::Bounce => write!(f, "the DMA layer bounced memory at {}", Address(found)),
        }
    }
}

/// A need in words.
struct Need(Field, u64);

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(field, value) = *self;
        match field {
            Field::AccessMask => write!(f, "memory of class {value:#x}"),
            Field::MaxAddress => write!(f, "addresses below {}", Limit(value)),
            Field::MaxSegments if value == 1 => f.write_str("one contiguous segment"),
            Field::MaxSegments => write!(f, "at most {value} segments"),
            Field::MaxSegmentSize => write!(f, "segments of at most {value} bytes"),
            Field::SegmentBoundary => write!(f, "segments that do not cross {}", Limit(value)),
            Field::Alignment => write!(f, "an alignment of {value} bytes"),
            Field::Coherent => f.write_str("memory without cache maintenance"),
            Field::Length => write!(f, "{value} bytes"),
            Field::Device => f.write_str("an allocator that serves it"),
        }
    }
}

/// What allocators or memory offer, in words.
struct Gift(Field, u64);

impl fmt::Display for Gift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(field, value) = *self;
        match field {
            Field::AccessMask => write!(f, "of class {value:#x}"),
            Field::MaxAddress | Field::Alignment => write!(f, "at {}", Address(value)),
            Field::MaxSegments => write!(f, "in {value} segments"),
            Field::MaxSegmentSize | Field::SegmentBoundary => {
                write!(f, "in pieces of {value} bytes")
            }
            Field::Coherent => f.write_str("cached"),
            Field::Length => write!(f, "of {value} bytes"),
            Field::Device => f.write_str("not for it"),
        }
    }
}

/// An inclusive limit as what lies just above it: `2^28`, or an address.
pub struct Limit(pub u64);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.checked_add(1) {
            None => f.write_str("2^64"),
            Some(above) if above.is_power_of_two() => write!(f, "2^{}", above.trailing_zeros()),
            Some(above) => Address(above).fmt(f),
        }
    }
}

/// A physical address in groups of four digits: `0x1_4000_0000`.
struct Address(u64);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = (u64::BITS - self.0.leading_zeros()).div_ceil(16).max(1);
        for group in (0..groups).rev() {
            let digits = (self.0 >> (group * 16)) & 0xffff;
            if group == groups - 1 {
                write!(f, "{digits:#x}")?;
            } else {
                write!(f, "_{digits:04x}")?;
            }
        }
        Ok(())
    }
}
