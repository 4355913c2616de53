// SPDX-License-Identifier: GPL-2.0

//! Why the kernel refused a user, or gave a buffer no memory: from the ABI to the model's value.

use crate::{
    abi,
    model::{Cause, Field, Holder, Name, Refusal},
    sys,
};
use std::{ffi::c_char, fmt};

/// Why the kernel refused a user, or gave a buffer no memory.
///
/// As text it is one line: what happened, and what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// A refusal in the kernel's own terms, which has its words.
    Known(Box<Refusal>),
    /// A refusal by a newer kernel, which has numbers that this library does not know.
    Unknown {
        /// Its cause, a number of the ABI.
        cause: u32,
        /// What it is about, a number of the ABI; 0 if it is about no field.
        field: u32,
        /// How the memory is held, a number of the ABI; 0 if the cause is another one.
        holder: u32,
        /// The user that was refused; empty for the CPU and the caller.
        who: Name,
    },
}

impl Reason {
    /// Reads what a call of the kernel left in `raw`. `None` if it refused nobody.
    pub fn from_raw(raw: &abi::cenalloc_refusal) -> Option<Self> {
        if raw.cause == 0 {
            return None;
        }
        let who = name(&raw.who);
        let unknown = Self::Unknown {
            cause: raw.cause,
            field: raw.field,
            holder: raw.holder,
            who,
        };
        let Some(cause) = Cause::from_number(raw.cause) else {
            return Some(unknown);
        };
        let (field, holder) = (
            Field::from_number(raw.field),
            Holder::from_number(raw.holder),
        );
        // 0 is none; any other number without a name would make the words untrue.
        if (field.is_none() && raw.field != 0) || (holder.is_none() && raw.holder != 0) {
            return Some(unknown);
        }
        Some(Self::Known(Box::new(Refusal {
            cause,
            field,
            wanted: raw.wanted,
            found: raw.found,
            who,
            other: name(&raw.other),
            behind: name(&raw.behind),
            holder,
            holders: raw.holders,
            sequence: raw.sequence,
            when: raw.when,
            len: raw.len,
            max_address: raw.max_address,
            classes: raw.classes,
        })))
    }

    /// Returns the refusal, if this library knows what it is about.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Known(refusal) => Some(refusal),
            Self::Unknown { .. } => None,
        }
    }

    /// Returns the cause, if this library knows it.
    pub fn cause(&self) -> Option<Cause> {
        self.refusal().map(|refusal| refusal.cause)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(refusal) => refusal.fmt(f),
            Self::Unknown {
                cause, field, who, ..
            } => {
                let who = if who.is_empty() {
                    "the buffer"
                } else {
                    who.as_str()
                };
                write!(
                    f,
                    "{who} was refused for a cause of a newer kernel (cause {cause}, field {field})"
                )
            }
        }
    }
}

fn name(array: &[c_char]) -> Name {
    Name::new(sys::text(array).as_bytes())
}

impl Cause {
    /// Returns its name in the ABI, in small letters: `no_bus`.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Others => "others",
            Self::Itself => "itself",
            Self::Allocator => "allocator",
            Self::Removed => "removed",
            Self::Held => "held",
            Self::Charge => "charge",
            Self::Shortage => "shortage",
            Self::Addresses => "addresses",
            Self::Bookkeeping => "bookkeeping",
            Self::Users => "users",
            Self::Bounced => "bounced",
            Self::NoBus => "no_bus",
            Self::NoDevice => "no_device",
            Self::NoDriver => "no_driver",
            Self::NoDma => "no_dma",
        }
    }
}

impl Holder {
    /// Returns its name in the ABI, in small letters: `mapping`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mapping => "mapping",
            Self::Pin => "pin",
            Self::Kernel => "kernel",
            Self::Fence => "fence",
            Self::Address => "address",
        }
    }
}

impl Field {
    /// The fields of [`Constraints`](crate::Constraints) that a refusal names: all but the
    /// priority.
    pub const OF_CONSTRAINTS: [Self; 7] = [
        Self::AccessMask,
        Self::MaxAddress,
        Self::MaxSegments,
        Self::MaxSegmentSize,
        Self::SegmentBoundary,
        Self::Alignment,
        Self::Coherent,
    ];

    /// Returns its name: that of a field of [`Constraints`](crate::Constraints) in the ABI and in
    /// configfs, `max_address`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessMask => "access_mask",
            Self::MaxAddress => "max_address",
            Self::MaxSegments => "max_segments",
            Self::MaxSegmentSize => "max_segment_size",
            Self::SegmentBoundary => "segment_boundary_mask",
            Self::Alignment => "alignment",
            Self::Coherent => "coherent",
            Self::Length => "length",
            Self::Contiguous => "contiguous",
            Self::Device => "device",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::{collection::vec, option::of, prelude::*, sample::select};

    /// What the kernel writes for a refusal.
    pub(crate) fn to_raw(refusal: &Refusal) -> abi::cenalloc_refusal {
        let mut raw = abi::cenalloc_refusal {
            cause: refusal.cause as u32,
            field: refusal.field.map_or(0, |field| field as u32),
            wanted: refusal.wanted,
            found: refusal.found,
            holder: refusal.holder.map_or(0, |holder| holder as u32),
            holders: refusal.holders,
            sequence: refusal.sequence,
            when: refusal.when,
            len: refusal.len,
            max_address: refusal.max_address,
            classes: refusal.classes,
            ..Default::default()
        };
        sys::put(&mut raw.who, refusal.who.as_str()).unwrap();
        sys::put(&mut raw.other, refusal.other.as_str()).unwrap();
        sys::put(&mut raw.behind, refusal.behind.as_str()).unwrap();
        raw
    }

    fn names() -> impl Strategy<Value = Name> {
        vec(any::<u8>(), 0..80).prop_map(|bytes| Name::new(&bytes))
    }

    fn refusals() -> impl Strategy<Value = Refusal> {
        (
            (
                select(Cause::ALL),
                of(select(Field::ALL)),
                of(select(Holder::ALL)),
            ),
            (names(), names(), names()),
            (any::<u64>(), any::<u64>(), any::<u32>(), any::<u64>()),
            (
                any::<u64>(),
                prop_oneof![Just(u64::MAX), any::<u64>()],
                any::<u64>(),
            ),
        )
            .prop_map(|(kinds, names, values, limits)| Refusal {
                cause: kinds.0,
                field: kinds.1,
                holder: kinds.2,
                who: names.0,
                other: names.1,
                behind: names.2,
                wanted: values.0,
                found: values.1,
                holders: values.2,
                sequence: values.3,
                when: values.3,
                len: limits.0,
                max_address: limits.1,
                classes: limits.2,
            })
    }

    proptest! {
        #[test]
        fn what_the_kernel_writes_is_read_as_it_was(refusal in refusals()) {
            let reason = Reason::from_raw(&to_raw(&refusal)).unwrap();
            prop_assert_eq!(reason.refusal(), Some(&refusal));
            let words = reason.to_string();
            prop_assert_eq!(&words, &refusal.to_string());
            prop_assert!(words.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", words);
        }

        #[test]
        fn no_numbers_make_it_panic(
            numbers in (0..40u32, any::<u32>(), 0..40u32, any::<u32>()),
            who in vec(any::<i8>(), 64),
            values in (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()),
        ) {
            let mut raw = abi::cenalloc_refusal {
                cause: numbers.0,
                field: numbers.1 % 20,
                holder: numbers.2,
                holders: numbers.3,
                wanted: values.0,
                found: values.1,
                len: values.2,
                max_address: values.3,
                ..Default::default()
            };
            for (to, from) in raw.who.iter_mut().zip(who) {
                *to = from as c_char;
            }
            let reason = Reason::from_raw(&raw);
            prop_assert_eq!(reason.is_none(), raw.cause == 0);
            if let Some(reason) = reason {
                prop_assert!(!reason.to_string().is_empty());
            }
        }
    }

    /// All numbers of the header, by their names there.
    const CAUSES: [(u32, Cause); 16] = [
        (abi::CENALLOC_CAUSE_USER, Cause::User),
        (abi::CENALLOC_CAUSE_OTHERS, Cause::Others),
        (abi::CENALLOC_CAUSE_ITSELF, Cause::Itself),
        (abi::CENALLOC_CAUSE_ALLOCATOR, Cause::Allocator),
        (abi::CENALLOC_CAUSE_REMOVED, Cause::Removed),
        (abi::CENALLOC_CAUSE_HELD, Cause::Held),
        (abi::CENALLOC_CAUSE_CHARGE, Cause::Charge),
        (abi::CENALLOC_CAUSE_SHORTAGE, Cause::Shortage),
        (abi::CENALLOC_CAUSE_ADDRESSES, Cause::Addresses),
        (abi::CENALLOC_CAUSE_BOOKKEEPING, Cause::Bookkeeping),
        (abi::CENALLOC_CAUSE_USERS, Cause::Users),
        (abi::CENALLOC_CAUSE_BOUNCED, Cause::Bounced),
        (abi::CENALLOC_CAUSE_NO_BUS, Cause::NoBus),
        (abi::CENALLOC_CAUSE_NO_DEVICE, Cause::NoDevice),
        (abi::CENALLOC_CAUSE_NO_DRIVER, Cause::NoDriver),
        (abi::CENALLOC_CAUSE_NO_DMA, Cause::NoDma),
    ];
    const FIELDS: [(u32, Field); 10] = [
        (abi::CENALLOC_FIELD_ACCESS_MASK, Field::AccessMask),
        (abi::CENALLOC_FIELD_MAX_ADDRESS, Field::MaxAddress),
        (abi::CENALLOC_FIELD_MAX_SEGMENTS, Field::MaxSegments),
        (abi::CENALLOC_FIELD_MAX_SEGMENT_SIZE, Field::MaxSegmentSize),
        (abi::CENALLOC_FIELD_SEGMENT_BOUNDARY, Field::SegmentBoundary),
        (abi::CENALLOC_FIELD_ALIGNMENT, Field::Alignment),
        (abi::CENALLOC_FIELD_COHERENT, Field::Coherent),
        (abi::CENALLOC_FIELD_LENGTH, Field::Length),
        (abi::CENALLOC_FIELD_CONTIGUOUS, Field::Contiguous),
        (abi::CENALLOC_FIELD_DEVICE, Field::Device),
    ];
    const HOLDERS: [(u32, Holder); 5] = [
        (abi::CENALLOC_HOLDER_MAPPING, Holder::Mapping),
        (abi::CENALLOC_HOLDER_PIN, Holder::Pin),
        (abi::CENALLOC_HOLDER_KERNEL, Holder::Kernel),
        (abi::CENALLOC_HOLDER_FENCE, Holder::Fence),
        (abi::CENALLOC_HOLDER_ADDRESS, Holder::Address),
    ];

    #[test]
    fn numbers_are_those_of_the_header() {
        assert_eq!(CAUSES.map(|(_, cause)| cause), Cause::ALL);
        assert_eq!(FIELDS.map(|(_, field)| field), Field::ALL);
        assert_eq!(HOLDERS.map(|(_, holder)| holder), Holder::ALL);
        for (number, cause) in CAUSES {
            assert_eq!(Cause::from_number(number), Some(cause));
        }
        for (number, field) in FIELDS {
            assert_eq!(Field::from_number(number), Some(field));
        }
        for (number, holder) in HOLDERS {
            assert_eq!(Holder::from_number(number), Some(holder));
        }
    }

    #[test]
    fn all_causes_have_the_words_of_the_model() {
        for cause in Cause::ALL {
            for field in std::iter::once(None).chain(Field::ALL.iter().copied().map(Some)) {
                let refusal = Refusal {
                    field,
                    wanted: 0xfff_ffff,
                    found: 0x490_0000,
                    who: Name::new(b"edu 0000:00:05.0"),
                    other: Name::new(b"vivid vivid.0"),
                    holder: (*cause == Cause::Held).then_some(Holder::Mapping),
                    holders: 1,
                    len: 8 << 20,
                    classes: 1,
                    ..Refusal::new(*cause)
                };
                let reason = Reason::from_raw(&to_raw(&refusal)).unwrap();
                assert_eq!(reason.to_string(), refusal.to_string());
                assert_eq!(reason.cause(), Some(*cause));
            }
            assert!(!cause.name().is_empty());
        }
    }

    #[test]
    fn numbers_of_a_newer_kernel_have_no_words() {
        let held = Refusal {
            holder: Some(Holder::Pin),
            who: Name::new(b"gpu"),
            ..Refusal::new(Cause::Held)
        };
        let raw = to_raw(&held);
        for raw in [
            abi::cenalloc_refusal { cause: 17, ..raw },
            abi::cenalloc_refusal { field: 11, ..raw },
            abi::cenalloc_refusal { holder: 32, ..raw },
        ] {
            let reason = Reason::from_raw(&raw).unwrap();
            assert_eq!((reason.refusal(), reason.cause()), (None, None));
            let words = reason.to_string();
            assert!(words.starts_with("gpu was refused for a cause of a newer kernel"));
        }
        assert_eq!(Reason::from_raw(&abi::cenalloc_refusal::default()), None);
    }
}
