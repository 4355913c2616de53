// SPDX-License-Identifier: GPL-2.0

//! What is said of a conflict.

use crate::{
    oracle::FIELDS,
    strategy::config, //
};
use dma_buf_constraints_host::model::{
    Conflict,
    Field,
    Misfit,
    Name,
    Party, //
};
use proptest::prelude::*;

fn name(text: &str) -> Name {
    Name::new(text.as_bytes())
}

fn parties() -> [Party; 8] {
    [
        Party::Device(name("vivid.0")),
        Party::Others,
        Party::Itself,
        Party::Allocator(name("system"), None),
        Party::Allocator(name("system"), Some(name("vivid.0"))),
        Party::Memory(None),
        Party::Memory(Some(name("vivid.0"))),
        Party::Bounce,
    ]
}

fn line(field: Field, wanted: u64, found: u64, with: Party) -> String {
    Conflict {
        who: name("edu 0000:00:05.0"),
        misfit: Misfit {
            field,
            wanted,
            found,
        },
        with,
    }
    .to_string()
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn every_conflict_is_one_line(
        wanted in any::<u64>(),
        found in any::<u64>(),
        who in proptest::collection::vec(any::<u8>(), 1..80),
    ) {
        let who = Name::new(&who);
        for (field, with) in FIELDS.iter().flat_map(|f| parties().map(|p| (*f, p))) {
            let text = Conflict { who, misfit: Misfit { field, wanted, found }, with }.to_string();
            let start = match with {
                Party::Allocator(_, Some(user)) => format!("{who} joins {user}, which needs "),
                _ => format!("{who} needs "),
            };
            prop_assert!(text.starts_with(&start), "{}", text);
            prop_assert!(text.len() > start.len() + 8, "{}", text);
            prop_assert!(text.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{}", text);
            prop_assert!(!text.ends_with(' ') && !text[who.as_str().len()..].contains("  "));
        }
    }

    #[test]
    fn name_is_what_was_given(text in "[ -~]{0,60}") {
        let text = &text[..text.len().min(Name::CAPACITY)];
        let name = name(text);
        prop_assert_eq!(name.as_str(), text);
        prop_assert_eq!(name.to_string(), text);
        prop_assert_eq!(format!("{name:?}"), format!("{text:?}"));
    }

    #[test]
    fn name_of_any_bytes_is_one_line(
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let name = Name::new(&bytes);
        let kept = bytes.iter().take_while(|byte| **byte != 0).take(Name::CAPACITY);
        let expected: String = kept
            .map(|byte| match byte {
                0x20..=0x7e => char::from(*byte),
                _ => '?',
            })
            .collect();
        prop_assert_eq!(name.as_str(), expected);
    }
}

#[test]
fn name_is_cut() {
    let long = "x".repeat(100);
    assert_eq!(name(&long).as_str(), "x".repeat(Name::CAPACITY));
    let most = Name::CAPACITY;
    assert_eq!(name(&long[..most + 1]), name(&long[..most]));
    assert_ne!(name(&long[..most]), name(&long[..most - 1]));
    assert_eq!(Name::new(b"abc\0def").as_str(), "abc");
    assert_eq!(Name::new(b"\0").as_str(), "");
    assert_eq!(Name::new(b"").as_str(), "");
    assert_eq!(Name::new(b"a\nb\tc\x1b[31m\x7f").as_str(), "a?b?c?[31m?");
    assert_eq!(Name::new("gr\u{fc}n".as_bytes()).as_str(), "gr??n");
    assert_eq!(Name::new(b"\xff\xfe").as_str(), "??");
}

/// A party that is left out of a match would say nothing, or the same as another.
#[test]
fn every_conflict_differs() {
    let mut lines: Vec<_> = FIELDS
        .iter()
        .flat_map(|field| parties().map(|with| line(*field, 0xfff, 0x2000, with)))
        .collect();
    lines.sort();
    for pair in lines.windows(2) {
        assert_ne!(pair[0], pair[1]);
    }
}

#[test]
fn conflicts_read_as_intended() {
    let user = || Party::Memory(Some(name("vivid.0")));
    let device = || Party::Device(name("vivid.0"));
    let allocator = || Party::Allocator(name("system"), None);
    let edu = |text| format!("edu 0000:00:05.0 needs {text}");
    for (field, wanted, found, with, text) in [
        (
            Field::MaxAddress,
            (1 << 28) - 1,
            0x1_4000_0000,
            user(),
            "addresses below 2^28, memory is at 0x1_4000_0000 and mapped by vivid.0",
        ),
        (
            Field::MaxAddress,
            0xdfff_ffff,
            0x123_0000_4567_0000,
            Party::Memory(None),
            "addresses below 0xe000_0000, memory is at 0x123_0000_4567_0000",
        ),
        (
            Field::MaxAddress,
            u64::MAX,
            0xffff_ffff_ffff_f000,
            Party::Memory(None),
            "addresses below 2^64, memory is at 0xffff_ffff_ffff_f000",
        ),
        (
            Field::MaxAddress,
            0xffff,
            0x2_0000,
            Party::Itself,
            "addresses below 2^16, the buffer has 131072 bytes",
        ),
        (
            Field::AccessMask,
            0x2,
            0x1,
            user(),
            "memory of class 0x2, memory is of class 0x1 and mapped by vivid.0",
        ),
        (
            Field::AccessMask,
            0x2,
            0x5,
            device(),
            "memory of class 0x2, vivid.0 needs memory of class 0x5",
        ),
        (
            Field::AccessMask,
            0,
            0,
            Party::Itself,
            "memory of class 0x0, which is none",
        ),
        (
            Field::AccessMask,
            0x2,
            0x1,
            allocator(),
            "memory of class 0x2, system gives class 0x1",
        ),
        (
            Field::MaxSegments,
            1,
            17,
            Party::Memory(None),
            "one contiguous segment, memory is in 17 segments",
        ),
        (
            Field::MaxSegments,
            4,
            17,
            Party::Itself,
            "at most 4 segments, its own limits take at least 17",
        ),
        (
            Field::MaxSegments,
            4,
            17,
            allocator(),
            "at most 4 segments, system gives no fewer than 17",
        ),
        (
            Field::MaxAddress,
            u32::MAX.into(),
            0x1_0000_0000,
            allocator(),
            "addresses below 2^32, system gives from 0x1_0000_0000 on",
        ),
        (
            Field::Alignment,
            1 << 21,
            1 << 12,
            allocator(),
            "an alignment of 2097152 bytes, system gives at most 4096",
        ),
        (
            Field::MaxAddress,
            u32::MAX.into(),
            0x1_4000_0000,
            Party::Bounce,
            "addresses below 2^32, the DMA layer bounced memory at 0x1_4000_0000",
        ),
        (
            Field::MaxSegmentSize,
            2048,
            4096,
            Party::Itself,
            "segments of at most 2048 bytes, its segments start every 4096 bytes",
        ),
        (
            Field::SegmentBoundary,
            0xfff,
            0x4000,
            Party::Others,
            "segments that do not cross 2^12, all others together need segments that do not \
             cross 0x4001",
        ),
        (
            Field::SegmentBoundary,
            0xfff,
            0x4000,
            Party::Memory(None),
            "segments that do not cross 2^12, memory is in pieces of 16384 bytes",
        ),
        (
            Field::Alignment,
            1 << 21,
            0x1000,
            user(),
            "an alignment of 2097152 bytes, memory is at 0x1000 and mapped by vivid.0",
        ),
        (
            Field::Alignment,
            1 << 21,
            0,
            Party::Memory(None),
            "an alignment of 2097152 bytes, memory is at 0x0",
        ),
        (
            Field::Coherent,
            1,
            0,
            allocator(),
            "memory without cache maintenance, system gives cached memory",
        ),
        (
            Field::Coherent,
            1,
            0,
            user(),
            "memory without cache maintenance, memory is cached and mapped by vivid.0",
        ),
    ] {
        assert_eq!(line(field, wanted, found, with), edu(text));
    }
    let joins = Party::Allocator(name("system"), Some(name("vivid.0")));
    assert_eq!(
        line(Field::MaxSegments, 1, 2, joins),
        "edu 0000:00:05.0 joins vivid.0, which needs one contiguous segment, \
         system gives no fewer than 2"
    );
}

/// Nothing else is lost: what others need is no address of memory, nor how an allocator aligns it.
#[test]
fn address_of_memory_can_be_hidden() {
    for (field, with) in FIELDS.iter().flat_map(|f| parties().map(|p| (*f, p))) {
        let conflict = Conflict {
            who: name("edu 0000:00:05.0"),
            misfit: Misfit {
                field,
                wanted: 0x1000,
                found: 0x1_4000_0000,
            },
            with,
        };
        let is_hidden = match with {
            Party::Memory(_) | Party::Bounce => {
                [Field::MaxAddress, Field::Alignment].contains(&field)
            }
            Party::Allocator(..) => field == Field::MaxAddress,
            _ => false,
        };
        let found = if is_hidden { 0 } else { 0x1_4000_0000 };
        let misfit = Misfit {
            found,
            ..conflict.misfit
        };
        assert_eq!(conflict.without_address(), Conflict { misfit, ..conflict });
        if is_hidden {
            assert!(!conflict.without_address().to_string().contains("4000"));
        }
    }
}
