// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Why somebody was refused, or a buffer got no memory, as a value.
//!
//! This file and `words.rs` are compiled into the kernel modules and into the library for programs
//! alike, so that both say the same of the same refusal. They use `core` only.

use core::fmt;

/// The name of a device, an allocator or a program, cut to [`Name::CAPACITY`] bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; Name::CAPACITY],
    len: u8,
}

/// What a name has for each byte. It may come from userspace and goes to the kernel log, between
/// quotation marks in places: one line, no controls.
const PLAIN: [u8; 256] = {
    let mut plain = [b'?'; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        plain[byte as usize] = byte;
        byte += 1;
    }
    plain[b'"' as usize] = b'?';
    // The end.
    plain[0] = 0;
    plain
};

impl Name {
    /// The most bytes of a name that are kept.
    pub const CAPACITY: usize = 63;

    /// No name.
    pub const EMPTY: Self = Self {
        bytes: [0; Self::CAPACITY],
        len: 0,
    };

    /// Makes a name of `bytes`, up to the first NUL or [`CAPACITY`](Self::CAPACITY).
    pub fn new(bytes: &[u8]) -> Self {
        Self::of(&[bytes])
    }

    /// Makes a name of several parts, one behind the other, up to the first NUL.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut name = Self::EMPTY;
        let mut len = 0;
        'parts: for part in parts {
            let start = len;
            for (to, byte) in name.bytes[start..].iter_mut().zip(*part) {
                *to = PLAIN[usize::from(*byte)];
                if *to == 0 {
                    break 'parts;
                }
                len += 1;
            }
        }
        name.len = len as u8;
        name
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len.into()).unwrap_or(&[]);
        core::str::from_utf8(bytes).unwrap_or("?")
    }

    /// Returns the name as C keeps it: cut to `N - 1` bytes, with NULs behind it.
    pub fn padded<const N: usize>(&self) -> [u8; N] {
        let mut padded = [0; N];
        let len = Self::CAPACITY.min(N - 1);
        padded[..len].copy_from_slice(&self.bytes[..len]);
        padded
    }

    /// Returns whether there is no name.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Defines an enum whose numbers are those of the ABI, and the conversion of a number to it.
macro_rules! numbered {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal,)* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum $name {
            $($(#[$variant_doc])* $variant = $number,)*
        }

        impl $name {
            /// All of them, by their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the one with a number of the ABI.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

numbered! {
    /// What a refusal is about: `CENALLOC_FIELD_*`.
    Field {
        /// The classes of memory.
        AccessMask = 1,
        /// The last address, in bytes.
        MaxAddress = 2,
        /// The number of segments.
        MaxSegments = 3,
        /// The most bytes in a segment.
        MaxSegmentSize = 4,
        /// The boundary that no segment crosses, as a mask.
        SegmentBoundary = 5,
        /// The alignment of segments, in bytes.
        Alignment = 6,
        /// Whether no cache maintenance may be needed, 0 or 1.
        Coherent = 7,
        /// The length of the buffer in bytes, which limits not a device but what an allocator can
        /// give.
        Length = 8,
        /// The length in one range, in bytes.
        Contiguous = 9,
        /// The device itself: an allocator may refuse one for reasons of its own.
        Device = 10,
    }
}

numbered! {
    /// The cause of a refusal: `CENALLOC_CAUSE_*`.
    Cause {
        /// Another user of the buffer, or its creator, needs what rules it out.
        User = 1,
        /// All others together do, no two of which conflict.
        Others = 2,
        /// Its own other needs do, or the length of the buffer.
        Itself = 3,
        /// No allocator gives that.
        Allocator = 4,
        /// The allocator that did was removed.
        Removed = 5,
        /// Somebody holds the memory where it is.
        Held = 6,
        /// The memory cgroup that pays is at its limit.
        Charge = 7,
        /// The allocators that suit are out of memory.
        Shortage = 8,
        /// The device is out of addresses of its own.
        Addresses = 9,
        /// There is no memory for what is kept of a user.
        Bookkeeping = 10,
        /// The buffer has as many users as it may.
        Users = 11,
        /// The DMA layer copies for the device.
        Bounced = 12,
        /// There is no such bus, or its devices cannot be found by name.
        NoBus = 13,
        /// There is no such device.
        NoDevice = 14,
        /// No driver is bound to the device.
        NoDriver = 15,
        /// The device does no DMA.
        NoDma = 16,
    }
}

numbered! {
    /// How memory is held where it is: `CENALLOC_HOLDER_*`.
    Holder {
        /// A device has it mapped.
        Mapping = 1,
        /// A device has it pinned.
        Pin = 2,
        /// The kernel has it mapped for itself.
        Kernel = 4,
        /// A device has not finished with it.
        Fence = 8,
        /// A driver was told where it lies, which is for ever.
        Address = 16,
    }
}

impl Cause {
    /// Returns the number of the error that comes with it, as in `errno`.
    pub const fn errno(self) -> i32 {
        const EIO: i32 = 5;
        const ENOMEM: i32 = 12;
        const EBUSY: i32 = 16;
        const ENODEV: i32 = 19;
        const EINVAL: i32 = 22;
        match self {
            Self::User | Self::Others | Self::Itself | Self::Allocator | Self::Removed => EINVAL,
            Self::Held => EBUSY,
            Self::Charge | Self::Shortage | Self::Addresses | Self::Bookkeeping | Self::Users => {
                ENOMEM
            }
            Self::Bounced => EIO,
            Self::NoBus | Self::NoDevice | Self::NoDriver | Self::NoDma => ENODEV,
        }
    }
}

/// Why somebody was refused, or a buffer got no memory. `struct cenalloc_refusal` has the same
/// fields, and documents them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The cause.
    pub cause: Cause,
    /// The need that is not met, if the cause is about one.
    pub field: Option<Field>,
    /// What is needed in that field.
    pub wanted: u64,
    /// What stands against it.
    pub found: u64,
    /// The user that was refused; empty for the CPU, and for a caller without a device.
    pub who: Name,
    /// The other party, if it has a name.
    pub other: Name,
    /// The user whose need an allocator does not meet, if that is not `who`.
    pub behind: Name,
    /// How the first of those that hold the memory does so.
    pub holder: Option<Holder>,
    /// How many hold the memory.
    pub holders: u32,
    /// The number of the refusal among those of the buffer, from 1; 0 for one of no buffer.
    pub sequence: u64,
    /// The time of that, in nanoseconds of the clock since the boot; 0 for one of no buffer.
    pub when: u64,
    /// The length of the buffer in bytes.
    pub len: u64,
    /// The last address that all users reach, with the refused one; [`u64::MAX`] for any.
    pub max_address: u64,
    /// The classes of the allocators that were asked for memory.
    pub classes: u64,
}

impl Refusal {
    /// Creates a refusal that names nobody.
    pub const fn new(cause: Cause) -> Self {
        Self {
            cause,
            field: None,
            wanted: 0,
            found: 0,
            who: Name::EMPTY,
            other: Name::EMPTY,
            behind: Name::EMPTY,
            holder: None,
            holders: 0,
            sequence: 0,
            when: 0,
            len: 0,
            max_address: u64::MAX,
            classes: 0,
        }
    }

    /// Returns whether what was found is an address of memory, or of what an allocator has.
    pub fn has_address(&self) -> bool {
        match self.cause {
            // What others need, or how an allocator aligns its memory, is no address of memory.
            Cause::User | Cause::Others | Cause::Itself => false,
            Cause::Allocator => self.field == Some(Field::MaxAddress),
            Cause::Bounced => true,
            _ => matches!(self.field, Some(Field::MaxAddress | Field::Alignment)),
        }
    }

    /// Returns the refusal without an address, for a reader that may not learn it: it is 0, as in
    /// what the kernel hides elsewhere.
    #[must_use]
    pub fn without_address(&self) -> Self {
        let mut refusal = *self;
        if self.has_address() {
            refusal.found = 0;
        }
        refusal
    }
}
