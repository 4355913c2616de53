// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Refusals in words.

use super::refusal::{
    Cause,
    Field,
    Holder,
    Name,
    Refusal, //
};
use core::fmt::{
    self,
    Display,
    Formatter, //
};

impl Display for Refusal {
    /// Writes one line: what happened, and what can be done about it.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.sentence(), self.advice())
    }
}

impl Refusal {
    /// Returns what happened.
    pub fn sentence(&self) -> impl Display + '_ {
        Sentence(self)
    }

    /// Returns what can be done about it.
    pub fn advice(&self) -> impl Display + '_ {
        Advice(self)
    }

    /// Returns the area to reserve at boot for buffers like this one, if it can lie below the
    /// limit.
    fn area(&self) -> Option<Area> {
        let least = match self.field {
            Some(Field::Alignment) => self.len.max(self.wanted),
            _ => self.len,
        };
        let least = least.checked_next_power_of_two()?;
        // Room for a queue of frames.
        let mut len = least.checked_mul(8)?.max(64 << 20);
        let end = match self.max_address {
            u64::MAX => None,
            last => Some((last + 1) >> 20 << 20),
        };
        if let Some(end) = end {
            // The kernel itself lies there, too.
            len = len.min((end / 2).checked_ilog2().map_or(0, |log| 1 << log));
        }
        if len < least.max(4 << 20) {
            return None;
        }
        Some(Area { len, end })
    }
}

/// A party in words: its name, or what stands for one without.
struct Named<'a>(&'a Name, &'static str);

impl Display for Named<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.as_str() {
            "" => f.write_str(self.1),
            name => f.write_str(name),
        }
    }
}

/// Returns the user that was refused, in words.
fn refused(who: &Name) -> Named<'_> {
    Named(who, "the buffer")
}

/// Returns another user in words.
fn user(other: &Name) -> Named<'_> {
    Named(other, "another user")
}

struct Sentence<'a>(&'a Refusal);

impl Display for Sentence<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let r = self.0;
        let (who, bus) = (refused(&r.who), &r.other);
        match r.cause {
            Cause::User | Cause::Others | Cause::Itself | Cause::Allocator => self.never(f),
            Cause::Removed => write!(f, "{who} has no allocator left that suits all users"),
            Cause::Held => {
                self.unsuited(f)?;
                self.held(f)
            }
            Cause::Charge | Cause::Shortage => {
                if r.field.is_some() {
                    self.unsuited(f)?;
                    f.write_str(", and ")?;
                } else if !r.who.is_empty() {
                    write!(f, "{who} got no memory: ")?;
                }
                self.no_memory(f)
            }
            Cause::Addresses => {
                let len = Size(r.len);
                write!(
                    f,
                    "{who} has no {len} of its own addresses left in one range"
                )
            }
            Cause::Bookkeeping => write!(f, "there is no memory for a record of {who}"),
            Cause::Users => write!(f, "{who} is one user too many, a buffer has at most 4096"),
            Cause::Bounced => {
                write!(f, "the DMA layer copies for {who}")?;
                match r.found {
                    // The address was removed by `without_address`.
                    0 => Ok(()),
                    found => write!(f, ", the memory is at {found:#x}"),
                }
            }
            Cause::NoBus if bus.is_empty() => write!(f, "{who} is on no bus"),
            Cause::NoBus => write!(f, "the kernel finds no devices by name on bus {bus}"),
            Cause::NoDevice => {
                let who = Named(&r.who, "without a name");
                write!(f, "there is no device {who} on bus {bus}")
            }
            Cause::NoDriver => write!(f, "no driver is bound to {who}"),
            Cause::NoDma => write!(f, "{who} does no DMA"),
        }
    }
}

impl Sentence<'_> {
    /// Writes which needs exclude each other.
    fn never(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let r = self.0;
        let (who, found) = (refused(&r.who), r.found);
        let field = match (r.cause, r.field) {
            (_, None) => return write!(f, "{who} can never share the buffer"),
            (Cause::Itself, Some(Field::AccessMask)) => {
                return write!(f, "{who} can use no class of memory");
            }
            (_, Some(field)) => field,
        };
        if !r.behind.is_empty() {
            write!(f, "{who} joins {}, which needs ", r.behind)?;
        } else if field == Field::Length && !r.who.is_empty() {
            write!(f, "{who} joins a buffer of ")?;
        } else {
            write!(f, "{who} needs ")?;
        }
        write!(f, "{}, ", Need(field, r.wanted))?;
        let nearest = Named(&r.other, "the nearest allocator");
        match (r.cause, field) {
            (Cause::User, _) => {
                write!(f, "and {} needs {}", user(&r.other), Need(field, found))
            }
            (Cause::Others, _) => write!(f, "and all others together need {}", Need(field, found)),
            (Cause::Itself, Field::MaxAddress) => write!(f, "and the buffer has {}", Size(found)),
            (Cause::Itself, Field::MaxSegments) => {
                write!(f, "and the length takes at least {found} segments")
            }
            (Cause::Itself, Field::MaxSegmentSize | Field::SegmentBoundary) => {
                write!(f, "and they start every {}", Size(found))
            }
            (Cause::Itself, _) => f.write_str("which its other needs rule out"),
            (_, Field::AccessMask) => f.write_str("which no allocator gives"),
            (_, Field::MaxAddress) if found > r.wanted => {
                write!(f, "and {nearest} gives from {found:#x} on")
            }
            // It does not suffice there, or the address was removed by `without_address`.
            (_, Field::MaxAddress) => write!(f, "and {nearest} has no {} there", Size(r.len)),
            (_, Field::MaxSegments) => {
                write!(f, "and {nearest} gives no fewer than {found} segments")
            }
            (_, Field::Coherent) => write!(f, "and {nearest} gives cached memory"),
            (_, Field::Device) => write!(f, "and {nearest} does not"),
            // Both would look the same.
            (_, _) if about(found) == about(r.wanted) => {
                write!(f, "and {nearest} gives a bit less")
            }
            (_, _) => write!(f, "and {nearest} gives at most {}", Size(found)),
        }
    }

    /// Writes in which way the present memory does not suit.
    fn unsuited(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (who, found) = (refused(&self.0.who), self.0.found);
        let Some(field) = self.0.field else {
            return write!(f, "{who} needs other memory, the present does not suit it");
        };
        write!(f, "{who} needs {}, the memory ", Need(field, self.0.wanted))?;
        match field {
            Field::AccessMask => write!(f, "is of {}", Classes(found)),
            Field::MaxAddress if found > self.0.wanted => write!(f, "is at {found:#x}"),
            // It starts below, or the address was removed by `without_address`.
            Field::MaxAddress => f.write_str("reaches above that"),
            Field::Alignment if found != 0 => write!(f, "is at {found:#x}"),
            Field::Alignment => f.write_str("has less"),
            Field::MaxSegments => write!(f, "has {found} segments"),
            Field::Coherent => f.write_str("is cached"),
            Field::Device => f.write_str("has another"),
            _ => write!(f, "has {}", Size(found)),
        }
    }

    /// Writes what holds the memory.
    fn held(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let other = user(&self.0.other);
        match self.0.holder {
            None | Some(Holder::Mapping) => write!(f, " and is mapped by {other}"),
            Some(Holder::Pin) => write!(f, " and is pinned by {other}"),
            Some(Holder::Kernel) => f.write_str(" and is mapped by the kernel for itself"),
            Some(Holder::Fence) => f.write_str(" and is in use by a device that has not finished"),
            Some(Holder::Address) => f.write_str(" and stays where a driver was told it is"),
        }?;
        match self.0.holders {
            0 | 1 => Ok(()),
            2 => f.write_str(", and one more holds it"),
            more => write!(f, ", and {} more hold it", more - 1),
        }
    }

    /// Writes which memory cannot be had.
    fn no_memory(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (len, below) = (Size(self.0.len), Below(self.0.max_address));
        if self.0.cause == Cause::Charge {
            return write!(f, "the memory cgroup has no room for {len} more");
        }
        write!(f, "{len}{below} cannot be had now")?;
        match self.0.classes {
            0 => Ok(()),
            classes => write!(f, " from {}", Names(classes, " or ")),
        }
    }
}

struct Advice<'a>(&'a Refusal);

impl Display for Advice<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let r = self.0;
        let (who, other) = (refused(&r.who), &r.other);
        match r.cause {
            Cause::User | Cause::Others => {
                f.write_str("widen one of these needs, or copy between two buffers")
            }
            Cause::Itself => match r.field {
                Some(Field::MaxAddress) => self.or_iommu(f, "use a shorter buffer"),
                Some(Field::MaxSegments) => {
                    write!(f, "use a shorter buffer, or see what is declared for {who}")
                }
                _ => write!(f, "see what is declared for {who}"),
            },
            Cause::Allocator => self.on_allocators(f),
            Cause::Removed => f.write_str("load the module of the allocator again"),
            Cause::Held => match r.holder {
                Some(Holder::Address) => {
                    write!(f, "attach or declare {who} before the address is asked for")
                }
                Some(Holder::Fence) => write!(f, "declare {who} with a timeout, or try again"),
                Some(Holder::Kernel) => {
                    write!(
                        f,
                        "declare {who} before the kernel maps the buffer, or with a timeout"
                    )
                }
                _ => write!(
                    f,
                    "declare {who} before {} maps the buffer, or with a timeout and let that one \
                     unmap it",
                    user(other)
                ),
            },
            Cause::Charge => f.write_str(
                "raise memory.max of the cgroup that pays or of its parents, or free memory there",
            ),
            Cause::Shortage => {
                write!(f, "free memory{}", Below(r.max_address))?;
                match r.area() {
                    _ if r.classes & CLASS_SYSTEM != 0 => Ok(()),
                    _ if r.classes & CLASSES_OF_AREAS != 0 => {
                        f.write_str(", or boot with a larger area (cma=)")
                    }
                    Some(area) if r.classes & CLASS_SYSTEM_CONTIG != 0 => write!(f, ", or {area}"),
                    _ => Ok(()),
                }
            }
            Cause::Addresses => write!(f, "unmap other buffers of {who}"),
            Cause::Bookkeeping => {
                f.write_str("raise memory.max of the process's cgroup, or free memory")
            }
            Cause::Users => f.write_str("let other users detach"),
            Cause::Bounced => write!(
                f,
                "declare what {who} reaches, by its driver or a policy, unless all its DMA is \
                 bounced (swiotlb=force, an encrypted guest)"
            ),
            Cause::NoBus => f.write_str("see /sys/bus, or declare the needs without a device"),
            Cause::NoDevice => write!(f, "see /sys/bus/{other}/devices"),
            Cause::NoDriver => f.write_str("load its driver first"),
            Cause::NoDma => f.write_str("declare the device that does the DMA for it"),
        }
    }
}

impl Advice<'_> {
    fn on_allocators(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let r = self.0;
        let nearest = r.other.as_str();
        let is_of_pages = PAGE_ALLOCATORS.contains(&nearest);
        let instead = match r.field {
            Some(Field::AccessMask) => {
                return f.write_str("allow another class, or load an allocator of this one");
            }
            Some(Field::Coherent) => return f.write_str("let the driver maintain caches"),
            Some(Field::MaxAddress) => "allow higher addresses",
            Some(Field::Alignment) if is_of_pages && r.wanted <= BLOCK => {
                write!(f, "use a buffer of at least {}", Size(r.wanted))?;
                return self.or_iommu(f, "");
            }
            Some(Field::Alignment) => "allow less alignment",
            Some(Field::MaxSegments | Field::Contiguous) => "use a shorter buffer",
            Some(Field::Length) => {
                f.write_str("use a shorter buffer")?;
                return match r.area() {
                    Some(area) if nearest != NAMES[0] => write!(f, ", or {area}"),
                    _ => Ok(()),
                };
            }
            _ => return f.write_str("allow memory of another class"),
        };
        match r.area() {
            // The machine has no memory there.
            _ if r.field == Some(Field::MaxAddress) && is_of_pages => self.or_iommu(f, instead),
            Some(area) => {
                area.fmt(f)?;
                self.or_iommu(f, "")
            }
            None => self.or_iommu(f, instead),
        }
    }

    /// Writes `advice`, and how the user gets around needs of addresses and segments, if it is a
    /// device.
    fn or_iommu(&self, f: &mut Formatter<'_>, advice: &str) -> fmt::Result {
        f.write_str(advice)?;
        let owner = match self.0.behind.as_str() {
            "" => self.0.who.as_str(),
            behind => behind,
        };
        let is_none = ["", "the creator of the buffer", "a program"].contains(&owner);
        if is_none || owner.starts_with("program ") {
            return Ok(());
        }
        write!(f, ", or put {owner} behind an IOMMU")
    }
}

/// A need in words.
struct Need(Field, u64);

impl Display for Need {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(field, value) = *self;
        match field {
            Field::AccessMask => write!(f, "memory of {}", Classes(value)),
            Field::MaxAddress => write!(f, "addresses{}", Below(value)),
            Field::MaxSegments if value == 1 => f.write_str("one contiguous range"),
            Field::MaxSegments => write!(f, "at most {value} segments"),
            Field::MaxSegmentSize => write!(f, "segments of at most {}", Size(value)),
            Field::SegmentBoundary => {
                write!(f, "segments that cross no multiple of {}", Limit(value))
            }
            Field::Alignment => write!(f, "an alignment of {}", Size(value)),
            Field::Coherent => f.write_str("memory without cache maintenance"),
            Field::Length => write!(f, "{}", Size(value)),
            Field::Contiguous => write!(f, "{} of contiguous memory", Size(value)),
            Field::Device => f.write_str("an allocator that serves it"),
        }
    }
}

/// The names of classes, by their bits; others have a number.
const NAMES: [&str; 5] = ["system", "system-contig", "cma", "dma-coherent", "carveout"];

const CLASS_SYSTEM: u64 = 0b1;
const CLASS_SYSTEM_CONTIG: u64 = 0b10;

/// The classes that have memory of areas: cma and dma-coherent.
const CLASSES_OF_AREAS: u64 = 0b1100;

/// The allocators of pages. They have the names of their classes.
const PAGE_ALLOCATORS: [&str; 3] = [NAMES[0], NAMES[1], NAMES[3]];

/// What any page allocator has in one block, in bytes.
const BLOCK: u64 = 4 << 20;

/// The most classes that are listed by name.
const LISTED: u32 = 8;

/// Memory of classes, in words.
pub struct Classes(pub u64);

impl Display for Classes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("no class"),
            u64::MAX => f.write_str("any class"),
            mask => write!(f, "class {}", Names(mask, " or ")),
        }
    }
}

impl Classes {
    /// Returns the names between commas, as programs read them.
    pub fn listed(&self) -> impl Display {
        Names(self.0, ",")
    }
}

/// The names of classes with something between, or the mask where they are many.
struct Names(u64, &'static str);

impl Display for Names {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.count_ones() > LISTED {
            return write!(f, "{:#x}", self.0);
        }
        let bits = (0..u64::BITS).filter(|bit| self.0 & (1 << bit) != 0);
        for (index, bit) in bits.enumerate() {
            if index > 0 {
                f.write_str(self.1)?;
            }
            match NAMES.get(bit as usize) {
                Some(name) => f.write_str(name)?,
                None => write!(f, "bit-{bit}")?,
            }
        }
        Ok(())
    }
}

/// Units of bytes, as powers of two.
const UNITS: [(u32, &str); 7] = [
    (60, "EiB"),
    (50, "PiB"),
    (40, "TiB"),
    (30, "GiB"),
    (20, "MiB"),
    (10, "KiB"),
    (0, "bytes"),
];

/// A number of bytes: `2.8 GiB`, or in a smaller unit where that would look exact and is not.
pub struct Size(pub u64);

impl Display for Size {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (whole, tenths, unit) = about(self.0);
        match tenths {
            _ if self.0 == 1 => f.write_str("1 byte"),
            0 => write!(f, "{whole} {unit}"),
            _ => write!(f, "{whole}.{tenths} {unit}"),
        }
    }
}

/// Returns so many bytes as a number of a unit, with tenths, none where that is exact.
fn about(bytes: u64) -> (u64, u64, &'static str) {
    for (shift, unit) in UNITS {
        let whole = bytes >> shift;
        let rest = bytes - (whole << shift);
        let tenths = (rest * 10 + (1 << shift) / 2) >> shift;
        if whole > 0 && (rest == 0 || (1..10).contains(&tenths)) {
            return (whole, tenths, unit);
        }
    }
    (bytes, 0, "bytes")
}

/// An inclusive limit as what lies just above it: a size where that is whole, or an address.
pub struct Limit(pub u64);

impl Display for Limit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(above) = self.0.checked_add(1) else {
            return f.write_str("2^64");
        };
        // A size would not show bits that are this low beside others.
        if above.trailing_zeros() < 20 && !above.is_power_of_two() {
            return write!(f, "{above:#x}");
        }
        let is_whole = |(shift, _): &&(u32, &str)| above >> shift << shift == above;
        match UNITS.iter().find(is_whole) {
            Some((0, _)) | None => Size(above).fmt(f),
            Some((shift, unit)) => write!(f, "{} {unit}", above >> shift),
        }
    }
}

/// The place below an inclusive limit; nothing where that is any.
struct Below(u64);

impl Display for Below {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            u64::MAX => Ok(()),
            last => write!(f, " below {}", Limit(last)),
        }
    }
}

/// The advice to reserve an area of `len` bytes at boot, below `end`.
struct Area {
    len: u64,
    end: Option<u64>,
}

impl Display for Area {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "boot with cma={}", Mebibytes(self.len))?;
        if let Some(end) = self.end {
            write!(f, "@0-{}", Mebibytes(end))?;
        }
        f.write_str(" if class cma is allowed")
    }
}

/// A number of bytes as the kernel's command line takes it.
struct Mebibytes(u64);

impl Display for Mebibytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 >> 20 {
            mib if mib % 1024 == 0 => write!(f, "{}G", mib / 1024),
            mib => write!(f, "{mib}M"),
        }
    }
}
