// SPDX-License-Identifier: GPL-2.0

//! Why somebody was refused, as a value and in words.

use crate::{
    abi,
    constraints::Field,
    units::{number, wrong, Above, Address, Classes, Limit, ParseError, Size},
};
use std::{fmt, str::FromStr};

/// What stands against a user's need.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Party {
    /// Another user of the buffer, or its creator.
    User(String),
    /// All other users together, no two of which conflict.
    Others,
    /// Its own other needs, or the length of the buffer.
    Itself,
    /// What allocators can give: this one comes nearest.
    Allocator {
        /// The allocator.
        name: String,
        /// The user who needs what the allocator lacks, where that is not the refused one.
        behind: Option<String>,
    },
    /// The memory that the buffer already has.
    Memory {
        /// A user that has it mapped.
        mapped_by: Option<String>,
    },
    /// The DMA layer, which put other memory between the device and the buffer's.
    Bounce,
    /// One that this library does not know.
    Other(u32),
}

/// What the kernel calls the holder of memory that no user has mapped.
const TOLD: &str = "a driver that was told its address";

impl Party {
    /// Which kind it is, in one word: `user`, `others`, `itself`, `allocator`, `memory`, `bounce`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Others => "others",
            Self::Itself => "itself",
            Self::Allocator { .. } => "allocator",
            Self::Memory { .. } => "memory",
            Self::Bounce => "bounce",
            Self::Other(_) => "unknown",
        }
    }

    /// Its name, where it has one: of a user or of an allocator.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::User(name) | Self::Allocator { name, .. } => Some(name),
            Self::Memory { mapped_by } => mapped_by.as_deref(),
            Self::Others | Self::Itself | Self::Bounce | Self::Other(_) => None,
        }
    }

    /// As QUERY tells it; `None` where nobody was refused.
    pub(crate) fn from_raw(raw: u32, name: Option<String>) -> Option<Self> {
        Some(match raw {
            abi::CENALLOC_WITH_NONE => return None,
            abi::CENALLOC_WITH_USER => Self::User(name.unwrap_or_default()),
            abi::CENALLOC_WITH_OTHERS => Self::Others,
            abi::CENALLOC_WITH_ITSELF => Self::Itself,
            abi::CENALLOC_WITH_ALLOCATOR => Self::Allocator {
                name: name.unwrap_or_default(),
                behind: None,
            },
            abi::CENALLOC_WITH_MEMORY => Self::Memory { mapped_by: name },
            abi::CENALLOC_WITH_BOUNCE => Self::Bounce,
            other => Self::Other(other),
        })
    }
}

/// Why somebody was refused: who, in which field, and what stands against it.
///
/// [`Display`](fmt::Display) gives the words of the kernel's own log, and `parse` reads them.
///
/// ```
/// use cenalloc::{Conflict, Field};
///
/// let line = "edu 0000:00:05.0 needs addresses below 2^28, memory is at 0x1_4000_0000 and \
///             mapped by vivid.0";
/// let conflict: Conflict = line.parse()?;
/// assert_eq!(conflict.field, Field::MaxAddress);
/// assert_eq!(conflict.with.name(), Some("vivid.0"));
/// assert_eq!(conflict.to_string(), line);
/// # Ok::<(), cenalloc::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The refused user.
    pub who: String,
    /// Which need.
    pub field: Field,
    /// What the refused user needs in that field.
    pub wanted: u64,
    /// What stands against it: a value of the same field, or a class, an address, a number of
    /// segments or bytes.
    pub found: u64,
    /// Who stands against it.
    pub with: Party,
}

impl Conflict {
    /// What can be done about it: a sentence on when it happened, and one on the field.
    pub fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        advice.extend(self.advice_on_party());
        advice.extend(self.advice_on_field());
        advice
    }

    fn advice_on_party(&self) -> Option<String> {
        let who = &self.who;
        Some(match &self.with {
            Party::User(_) | Party::Others => {
                "No memory could ever suit both sides: relax one of the needs, or use a buffer for \
                 each and copy."
                    .to_owned()
            }
            Party::Itself => format!(
                "Nobody else has a part in this: {who} asks for what cannot be, or the buffer is \
                 too long for it. Look at what its driver or the policy declares."
            ),
            Party::Allocator { name, .. } if self.field == Field::Device => format!(
                "{name} has memory that would do, but not for {who} together with those who use \
                 the buffer. No other allocator has any that suits them."
            ),
            Party::Allocator { behind: None, .. } => {
                "No allocator of this system could ever give that, whoever else uses the buffer."
                    .to_owned()
            }
            Party::Allocator {
                behind: Some(user), ..
            } => format!(
                "Each alone could be served, but no allocator of this system gives what {who} and \
                 {user} need together."
            ),
            Party::Memory { mapped_by: None } => format!(
                "The buffer had its memory before {who} came. Attach it, or declare it \
                 (CENALLOC_DECLARE), before the first use of the buffer."
            ),
            Party::Memory {
                mapped_by: Some(holder),
            } if holder == TOLD => format!(
                "The buffer had its memory before {who} came, and a driver has been told where: it \
                 stays there as long as the buffer. Attach {who}, or declare it \
                 (CENALLOC_DECLARE), before the first use of the buffer."
            ),
            Party::Memory {
                mapped_by: Some(user),
            } => format!(
                "The buffer had its memory before {who} came, and {user} keeps it in place. Attach \
                 {who}, or declare it (CENALLOC_DECLARE), before {user} maps; or have {user} unmap: \
                 an idle buffer can move."
            ),
            Party::Bounce => format!(
                "The kernel put a copy between {who} and the buffer, which cenalloc never hands \
                 out. The kernel does not know all limits of {who}: declare them, by its driver or \
                 by the policy."
            ),
            Party::Other(_) => return None,
        })
    }

    fn advice_on_field(&self) -> Option<String> {
        let who = &self.who;
        Some(match self.field {
            Field::AccessMask => format!(
                "Classes: {who} reaches {}. `cenalloc allocators` lists what there is. Widen \
                 the access_mask that was declared, if the device reaches more.",
                Classes(self.wanted)
            ),
            Field::MaxAddress => format!(
                "Addresses: {who} reaches memory {} only. Behind an IOMMU it reaches all (boot \
                 with intel_iommu=on, or what the machine's IOMMU takes); without one, declare it \
                 before the first use, so that memory is taken from there.",
                Limit(self.wanted).in_words()
            ),
            Field::MaxSegments => format!(
                "Segments: {who} takes {}. Use a shorter buffer, or put {who} behind an \
                 IOMMU.",
                match self.wanted {
                    1 => "one contiguous run".to_owned(),
                    most => format!("at most {most}"),
                }
            ),
            Field::MaxSegmentSize => format!(
                "Segment size: {who} takes {} at most, and memory comes in pages. If that limit \
                 is too strict, raise max_segment_size in the policy or in its driver \
                 (dma_set_max_seg_size()).",
                Size(self.wanted)
            ),
            Field::SegmentBoundary => format!(
                "Boundary: a segment of {who} must not cross a multiple of {}. If that limit is \
                 too strict, widen segment_boundary_mask in the policy or in its driver \
                 (dma_set_seg_boundary()).",
                Limit(self.wanted)
            ),
            Field::Alignment => format!(
                "Alignment: {who} wants segments to start at multiples of {}. Create the buffer \
                 with that alignment, or declare {who} before the first use.",
                Size(self.wanted)
            ),
            Field::Coherent => format!(
                "Caches: {who} must not need cache maintenance, and its DMA is not coherent by \
                 hardware. No allocator gives memory that the CPU does not cache."
            ),
            Field::Length => format!(
                "Length: no allocator of the classes that {who} and all others may use gives so \
                 much to one buffer. Use a shorter one, or let them use other classes; `cenalloc \
                 allocators` lists the most that each gives."
            ),
            Field::Device => format!(
                "Device: no constraint stands against {who}. The allocator looked at the device \
                 itself and refused it, for reasons of its own: ask who wrote it, or let all users \
                 have memory of another class."
            ),
            Field::Other(_) => return None,
        })
    }
}

impl fmt::Display for Conflict {
    /// One line, in the kernel's words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            who,
            field,
            wanted,
            found,
            with,
        } = self;
        let (field, found) = (*field, *found);
        match with {
            Party::Allocator {
                behind: Some(user), ..
            } => write!(f, "{who} joins {user}, which needs ")?,
            _ => write!(f, "{who} needs ")?,
        }
        write!(f, "{}, ", Need(field, *wanted))?;
        match with {
            Party::User(name) => write!(f, "{name} needs {}", Need(field, found)),
            Party::Others => write!(f, "all others together need {}", Need(field, found)),
            Party::Itself => match field {
                Field::AccessMask => f.write_str("which is none"),
                Field::MaxAddress => write!(f, "the buffer has {found} bytes"),
                Field::MaxSegments => write!(f, "its own limits take at least {found}"),
                Field::Coherent => f.write_str("its other needs do not allow that"),
                _ => write!(f, "its segments start every {found} bytes"),
            },
            Party::Allocator { name, .. } => match field {
                Field::AccessMask => write!(f, "{name} gives class {found:#x}"),
                Field::MaxAddress if found == 0 => write!(f, "{name} gives none there"),
                Field::MaxAddress => write!(f, "{name} gives from {} on", Address(found)),
                Field::MaxSegments => write!(f, "{name} gives no fewer than {found}"),
                Field::Coherent => write!(f, "{name} gives cached memory"),
                Field::Device => write!(f, "{name} does not"),
                _ => write!(f, "{name} gives at most {found}"),
            },
            Party::Memory { mapped_by } => {
                write!(f, "memory is {}", Gift(field, found))?;
                match mapped_by {
                    Some(user) => write!(f, " and mapped by {user}"),
                    None => Ok(()),
                }
            }
            Party::Bounce => write!(f, "the DMA layer bounced memory at {}", Address(found)),
            Party::Other(kind) => write!(f, "refused for a reason of kind {kind}"),
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
            Field::MaxAddress => write!(f, "addresses below {}", Above(value)),
            Field::MaxSegments if value == 1 => f.write_str("one contiguous segment"),
            Field::MaxSegments => write!(f, "at most {value} segments"),
            Field::MaxSegmentSize => write!(f, "segments of at most {value} bytes"),
            Field::SegmentBoundary => write!(f, "segments that do not cross {}", Above(value)),
            Field::Alignment => write!(f, "an alignment of {value} bytes"),
            Field::Coherent => f.write_str("memory without cache maintenance"),
            Field::Length => write!(f, "{value} bytes"),
            Field::Device => f.write_str("an allocator that serves it"),
            Field::Other(number) => write!(f, "{value} in field {number}"),
        }
    }
}

/// What memory is like, in words.
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
            Field::Other(_) => write!(f, "{value}"),
        }
    }
}

/// What stands between `before` and `after`, if `text` begins and ends so.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.strip_suffix(after)
}

/// Where `words` stand in `text`, also where the end of one is the start of another.
fn places<'a>(text: &'a str, words: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.char_indices()
        .map(|(at, _)| at)
        .filter(move |at| text[*at..].starts_with(words))
}

/// A number between `before` and `after`.
fn number_between(text: &str, before: &str, after: &str) -> Option<u64> {
    number(between(text, before, after)?).ok()
}

impl Need {
    fn parse(text: &str) -> Option<Self> {
        let above = |before| Some(between(text, before, "")?.parse::<Above>().ok()?.0);
        let number = |before, after| number_between(text, before, after);
        if text == "one contiguous segment" {
            return Some(Self(Field::MaxSegments, 1));
        }
        if text == "memory without cache maintenance" {
            return Some(Self(Field::Coherent, 1));
        }
        if text == "an allocator that serves it" {
            return Some(Self(Field::Device, 0));
        }
        let (field, value) = None
            .or_else(|| Some((Field::AccessMask, number("memory of class ", "")?)))
            .or_else(|| Some((Field::MaxAddress, above("addresses below ")?)))
            .or_else(|| Some((Field::MaxSegments, number("at most ", " segments")?)))
            .or_else(|| {
                Some((
                    Field::MaxSegmentSize,
                    number("segments of at most ", " bytes")?,
                ))
            })
            .or_else(|| {
                Some((
                    Field::SegmentBoundary,
                    above("segments that do not cross ")?,
                ))
            })
            .or_else(|| Some((Field::Alignment, number("an alignment of ", " bytes")?)))
            .or_else(|| Some((Field::Length, number("", " bytes")?)))?;
        Some(Self(field, value))
    }
}

impl Gift {
    fn parse(field: Field, text: &str) -> Option<u64> {
        match field {
            Field::AccessMask => number_between(text, "of class ", ""),
            Field::MaxAddress | Field::Alignment => number_between(text, "at ", ""),
            Field::MaxSegments => number_between(text, "in ", " segments"),
            Field::MaxSegmentSize | Field::SegmentBoundary => {
                number_between(text, "in pieces of ", " bytes")
            }
            Field::Coherent => (text == "cached").then_some(0),
            Field::Length => number_between(text, "of ", " bytes"),
            Field::Device => (text == "not for it").then_some(0),
            Field::Other(_) => None,
        }
    }
}

/// What stands against a need in `field`, from the words after the comma.
fn parse_against(field: Field, behind: Option<&str>, text: &str) -> Option<(Party, u64)> {
    if behind.is_none() {
        let itself = match field {
            Field::AccessMask => (text == "which is none").then_some(0),
            Field::MaxAddress => number_between(text, "the buffer has ", " bytes"),
            Field::MaxSegments => number_between(text, "its own limits take at least ", ""),
            Field::Coherent => (text == "its other needs do not allow that").then_some(0),
            _ => number_between(text, "its segments start every ", " bytes"),
        };
        if let Some(found) = itself {
            return Some((Party::Itself, found));
        }
        if let Some(found) = number_between(text, "the DMA layer bounced memory at ", "") {
            return Some((Party::Bounce, found));
        }
        if let Some(gift) = text.strip_prefix("memory is ") {
            if let Some(found) = Gift::parse(field, gift) {
                return Some((Party::Memory { mapped_by: None }, found));
            }
            if let Some((gift, user)) = gift.split_once(" and mapped by ") {
                let mapped_by = Some(user.to_owned());
                return Some((Party::Memory { mapped_by }, Gift::parse(field, gift)?));
            }
        }
        let same = |need: &str| Need::parse(need).filter(|need| need.0 == field);
        if let Some(Need(_, found)) = text
            .strip_prefix("all others together need ")
            .and_then(same)
        {
            return Some((Party::Others, found));
        }
        for at in places(text, " needs ") {
            if let Some(Need(_, found)) = same(&text[at + " needs ".len()..]) {
                return Some((Party::User(text[..at].to_owned()), found));
            }
        }
    }
    let with_number = |before, after| {
        let at = text.rfind(before)?;
        Some((&text[..at], number_between(&text[at..], before, after)?))
    };
    let without = |words| Some((text.strip_suffix(words)?, 0));
    let (name, found) = match field {
        Field::AccessMask => with_number(" gives class ", ""),
        Field::MaxAddress => {
            with_number(" gives from ", " on").or_else(|| without(" gives none there"))
        }
        Field::MaxSegments => with_number(" gives no fewer than ", ""),
        Field::Coherent => without(" gives cached memory"),
        Field::Device => without(" does not"),
        _ => with_number(" gives at most ", ""),
    }?;
    let allocator = Party::Allocator {
        name: name.to_owned(),
        behind: behind.map(str::to_owned),
    };
    Some((allocator, found))
}

impl FromStr for Conflict {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        // A name may hold anything: the first place where the rest reads as a sentence counts.
        for at in places(text, " needs ") {
            let (who, rest) = (&text[..at], &text[at + " needs ".len()..]);
            let joined = who
                .strip_suffix(", which")
                .and_then(|who| who.split_once(" joins "));
            let (who, behind) = match joined {
                Some((who, user)) => (who, Some(user)),
                None => (who, None),
            };
            for (comma, _) in rest.match_indices(", ") {
                let Some(Need(field, wanted)) = Need::parse(&rest[..comma]) else {
                    continue;
                };
                if let Some((with, found)) = parse_against(field, behind, &rest[comma + 2..]) {
                    return Ok(Self {
                        who: who.to_owned(),
                        field,
                        wanted,
                        found,
                        with,
                    });
                }
            }
        }
        wrong(format!("\"{text}\" is no reason that this program knows"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names() -> impl Strategy<Value = String> {
        "[a-z][a-z0-9:._-]{0,12}( [0-9a-f]{4}:[0-9a-f]{2}[.]0)?"
    }

    /// Every reason that the kernel has words for.
    pub(crate) fn conflicts() -> impl Strategy<Value = Conflict> {
        let party = (0..6, names(), proptest::option::of(names())).prop_map(
            |(kind, name, more)| match kind {
                0 => Party::User(name),
                1 => Party::Others,
                2 => Party::Itself,
                3 => Party::Allocator { name, behind: more },
                4 => Party::Memory { mapped_by: more },
                _ => Party::Bounce,
            },
        );
        let field = proptest::sample::select(Field::ALL.as_slice());
        (names(), field, any::<u64>(), any::<u64>(), party).prop_map(
            |(who, field, wanted, found, with)| Conflict {
                who,
                field,
                // What is none in its own mask is not told, nor numbers of what is or is not.
                found: match (&with, field) {
                    (Party::Itself, Field::AccessMask | Field::Coherent) => 0,
                    (Party::Bounce | Party::Itself, _) => found,
                    (Party::User(_) | Party::Others, Field::Coherent) => 1,
                    (_, Field::Coherent | Field::Device) => 0,
                    _ => found,
                },
                wanted: match field {
                    Field::Coherent => 1,
                    Field::Device => 0,
                    _ => wanted,
                },
                with,
            },
        )
    }

    proptest! {
        #[test]
        fn words_come_back(conflict in conflicts()) {
            prop_assert_eq!(conflict.to_string().parse(), Ok(conflict));
        }

        #[test]
        fn advice_names_the_refused(conflict in conflicts()) {
            let advice = conflict.advice();
            prop_assert_eq!(advice.len(), 2);
            prop_assert!(advice[1].contains(&conflict.who));
        }

        #[test]
        fn no_text_panics(text in "([a-z, ]{0,12}| needs |at most |9| joins |, which| gives ){0,12}") {
            if let Ok(conflict) = text.parse::<Conflict>() {
                prop_assert_eq!(conflict.to_string(), text);
            }
        }
    }

    #[test]
    fn words_of_the_kernel() {
        let conflict: Conflict =
            "cam joins codec, which needs one contiguous segment, system gives \
                                  no fewer than 512"
                .parse()
                .unwrap();
        assert_eq!(conflict.who, "cam");
        assert_eq!(
            (conflict.field, conflict.wanted, conflict.found),
            (Field::MaxSegments, 1, 512)
        );
        assert_eq!(
            conflict.with,
            Party::Allocator {
                name: "system".to_owned(),
                behind: Some("codec".to_owned())
            }
        );
        for text in [
            "",
            "gpu",
            "gpu needs love",
            "gpu needs one contiguous segment",
        ] {
            assert!(text.parse::<Conflict>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_end_like_a_sentence_starts() {
        let conflict = Conflict {
            who: "he needs".to_owned(),
            field: Field::MaxAddress,
            wanted: 0xfff,
            found: 0x1ff,
            with: Party::User("she needs".to_owned()),
        };
        assert_eq!(conflict.to_string().parse(), Ok(conflict));
    }

    #[test]
    fn each_field_has_its_own_advice() {
        let advice: std::collections::HashSet<_> = Field::ALL
            .into_iter()
            .map(|field| {
                let conflict = Conflict {
                    who: "cam".to_owned(),
                    field,
                    wanted: 4096,
                    found: 1,
                    with: Party::Itself,
                };
                conflict.advice().pop().unwrap()
            })
            .collect();
        assert_eq!(advice.len(), Field::ALL.len());
    }

    #[test]
    fn a_buffer_that_is_too_long() {
        let text = "cam needs 8388608 bytes, system-contig gives at most 4194304";
        let conflict: Conflict = text.parse().unwrap();
        assert_eq!(
            (conflict.field, conflict.wanted, conflict.found),
            (Field::Length, 8 << 20, 4 << 20)
        );
        let advice = conflict.advice();
        assert!(advice[0].starts_with("No allocator "), "{advice:?}");
        assert!(advice[1].starts_with("Length: "), "{advice:?}");
    }

    #[test]
    fn a_device_that_an_allocator_refuses() {
        let text = "cam needs an allocator that serves it, secure bank does not";
        let conflict: Conflict = text.parse().unwrap();
        assert_eq!(
            (conflict.field, conflict.wanted, conflict.found),
            (Field::Device, 0, 0)
        );
        assert_eq!(conflict.with.name(), Some("secure bank"));
        let advice = conflict.advice();
        assert!(advice[0].starts_with("secure bank has "), "{advice:?}");
        assert!(advice[1].starts_with("Device: "), "{advice:?}");
    }

    #[test]
    fn memory_that_a_driver_knows_does_not_move() {
        let text =
            "cam needs addresses below 2^24, memory is at 0x490_0000 and mapped by a driver \
                    that was told its address";
        let advice = text.parse::<Conflict>().unwrap().advice();
        assert!(advice[0].contains("as long as the buffer"), "{advice:?}");
        assert!(!advice[0].contains("unmap"), "{advice:?}");
    }

    #[test]
    fn unknown_kinds_are_kept() {
        assert_eq!(Party::from_raw(0, None), None);
        assert_eq!(Party::from_raw(99, None), Some(Party::Other(99)));
        let conflict = Conflict {
            who: "cam".to_owned(),
            field: Field::Other(77),
            wanted: 1,
            found: 2,
            with: Party::Other(99),
        };
        assert_eq!(conflict.advice(), Vec::<String>::new());
        assert!(conflict.to_string().starts_with("cam needs "));
    }
}
