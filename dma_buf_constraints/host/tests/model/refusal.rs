// SPDX-License-Identifier: GPL-2.0

//! Refusals as values, and in words.

use crate::{
    oracle::FIELDS,
    strategy::config, //
};
use dma_buf_constraints_host::model::{
    Cause,
    Classes,
    Field,
    Holder,
    Limit,
    Name,
    Refusal,
    Size, //
};
use proptest::prelude::*;
use std::collections::BTreeMap;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The classes of memory, by their bits.
const SYSTEM: u64 = 1;
const SYSTEM_CONTIG: u64 = 2;
const CMA: u64 = 4;
const CARVEOUT: u64 = 16;

const EDU: &str = "edu 0000:00:05.0";

fn name(text: &str) -> Name {
    Name::new(text.as_bytes())
}

/// Returns the refusal of a device in a buffer of 8 MiB.
fn refusal(cause: Cause) -> Refusal {
    Refusal {
        who: name(EDU),
        len: 8 * MIB,
        ..Refusal::new(cause)
    }
}

/// Returns the refusal of a device that needs `wanted`, where there is `found`.
fn need(cause: Cause, other: &str, field: Field, wanted: u64, found: u64) -> Refusal {
    Refusal {
        field: Some(field),
        wanted,
        found,
        other: name(other),
        ..refusal(cause)
    }
}

/// Returns a refusal by the allocators, of users that reach addresses up to `max_address`.
fn unserved(other: &str, field: Field, wanted: u64, found: u64, max_address: u64) -> Refusal {
    Refusal {
        max_address,
        ..need(Cause::Allocator, other, field, wanted, found)
    }
}

fn held(holder: Holder, other: &str, holders: u32) -> Refusal {
    Refusal {
        holder: Some(holder),
        holders,
        ..need(
            Cause::Held,
            other,
            Field::MaxAddress,
            (1 << 28) - 1,
            0x1_4000_0000,
        )
    }
}

fn shortage(classes: u64, max_address: u64) -> Refusal {
    Refusal {
        classes,
        max_address,
        ..refusal(Cause::Shortage)
    }
}

/// Returns what the last area in `text` is: its length and its end, in bytes.
fn area(text: &str) -> Option<(u64, Option<u64>)> {
    let parameter = text.split("boot with cma=").nth(1)?.split(' ').next()?;
    let bytes = |text: &str| {
        let (number, unit) = text.split_at(text.len() - 1);
        let unit = if unit == "G" { GIB } else { MIB };
        assert!(["G", "M"].contains(&&text[text.len() - 1..]), "{text}");
        number.parse::<u64>().unwrap() * unit
    };
    Some(match parameter.split_once("@0-") {
        Some((len, end)) => (bytes(len), Some(bytes(end))),
        None => (bytes(parameter), None),
    })
}

fn causes() -> impl Strategy<Value = Cause> {
    proptest::sample::select(Cause::ALL)
}

fn fields() -> impl Strategy<Value = Option<Field>> {
    proptest::option::weighted(0.9, proptest::sample::select(Field::ALL))
}

fn holders() -> impl Strategy<Value = Option<Holder>> {
    proptest::option::weighted(0.9, proptest::sample::select(Holder::ALL))
}

/// Values that are often round, or nearly.
fn values() -> impl Strategy<Value = u64> {
    let near = (0..64u32, 0..3u64).prop_map(|(log, off)| (1u64 << log).wrapping_add(off) - 1);
    prop_oneof![Just(0), Just(1), Just(u64::MAX), near, any::<u64>()]
}

/// Names as devices and programs have them, or none.
fn names() -> impl Strategy<Value = Name> {
    let of = |text: &str| Just(name(text)).boxed();
    prop_oneof![
        of(""),
        of(EDU),
        of("vivid.0"),
        of("a program"),
        of("program player"),
        of("the creator of the buffer"),
        of("system"),
        of("system-contig"),
        of("dma-coherent"),
        of("linux,cma"),
        "[!-~]([ ]?[!-~]){0,30}"
            .prop_map(|text| name(&text))
            .boxed(),
    ]
}

prop_compose! {
    fn refusals()(
        (cause, field, holder) in (causes(), fields(), holders()),
        (wanted, found, len, max_address, classes) in
            (values(), values(), values(), values(), values()),
        (who, other, behind) in (names(), names(), names()),
        (holders, sequence) in (0..5u32, any::<u64>()),
    ) -> Refusal {
        Refusal {
            cause,
            field,
            wanted,
            found,
            who,
            other,
            behind,
            holder,
            holders,
            sequence,
            when: 0,
            len,
            max_address,
            classes,
        }
    }
}

proptest! {
    #![proptest_config(config(2048))]

    /// Whatever the kernel says, and whatever names are: one line that can be logged, and split.
    #[test]
    fn every_refusal_is_one_line(refusal in refusals()) {
        let (sentence, advice) = (refusal.sentence().to_string(), refusal.advice().to_string());
        let text = refusal.to_string();
        prop_assert_eq!(&text, &format!("{sentence}; {advice}"));
        prop_assert!(text.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{}", text);
        prop_assert!(!text.contains('"'));
        // It is given only for a bus, which has a name.
        if !(refusal.cause == Cause::NoDevice && refusal.other.is_empty()) {
            prop_assert!(!text.contains("  "), "{}", text);
            for part in [sentence, advice] {
                prop_assert!(part.len() >= 11, "{}", part);
                prop_assert_eq!(part.trim(), &part);
            }
        }
    }

    #[test]
    fn names_of_any_bytes_keep_it_one_line(
        cause in causes(),
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let any = Name::new(&bytes);
        let text = Refusal { who: any, other: any, behind: any, ..refusal(cause) }.to_string();
        prop_assert!(text.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{}", text);
        prop_assert!(!text.contains('"'));
    }

    /// Advice follows from the cause and the need, and not from what is far from them.
    #[test]
    fn advice_fits_the_refusal(refusal in refusals()) {
        let advice = refusal.advice().to_string();
        let Refusal { cause, field, who, behind, max_address, len, wanted, .. } = refusal;
        // What can never be is not too late; what comes too late could have been.
        let names_time = ["before", "timeout"].iter().any(|word| {
            // A name may hold the word.
            let names = [who, refusal.other, behind].map(|name| name.as_str().contains(word));
            advice.contains(word) && names == [false; 3]
        });
        prop_assert_eq!(names_time, cause == Cause::Held, "{}", &advice);

        let owner = if behind.is_empty() { who } else { behind };
        let is_device = !["", "a program", "program player", "the creator of the buffer"]
            .contains(&owner.as_str());
        // An IOMMU is for needs of addresses, which it translates.
        let is_of_addresses = match cause {
            Cause::Itself => field == Some(Field::MaxAddress),
            Cause::Allocator => matches!(
                field,
                Some(
                    Field::MaxAddress | Field::MaxSegments | Field::Alignment | Field::Contiguous
                )
            ),
            _ => false,
        };
        let behind_iommu = format!("or put {owner} behind an IOMMU");
        prop_assert_eq!(
            advice.ends_with(&behind_iommu),
            is_device && is_of_addresses,
            "{}", &advice
        );

        if let Some((area_len, end)) = area(&advice) {
            prop_assert!(advice.contains("if class cma is allowed"));
            prop_assert!(matches!(cause, Cause::Allocator | Cause::Shortage));
            prop_assert!(area_len.is_power_of_two() && area_len >= 4 * MIB);
            prop_assert!(area_len >= len);
            if field == Some(Field::Alignment) {
                prop_assert!(area_len >= wanted);
            }
            match end {
                None => prop_assert_eq!(max_address, u64::MAX),
                Some(end) => {
                    let limit = u128::from(max_address) + 1;
                    prop_assert_eq!(u128::from(end), limit / u128::from(MIB) * u128::from(MIB));
                    // What fills all of it is asked for at address 0, which is not free.
                    prop_assert!(area_len <= end / 2);
                }
            }
            // As much as a queue of frames takes, unless the limit leaves less.
            let is_most = end.is_some_and(|end| area_len * 2 > end / 2);
            let queue = if field == Some(Field::Alignment) { len.max(wanted) } else { len };
            prop_assert!(is_most || area_len >= 64 * MIB);
            prop_assert!(is_most || area_len / 8 >= queue);
            // Not much more.
            prop_assert!(area_len <= 64 * MIB || area_len / 16 < queue);
        }
    }

    /// Where scattered memory was not to be had, an area takes even more away.
    #[test]
    fn shortage_of_pages_asks_for_no_area(refusal in refusals(), classes in any::<u64>()) {
        let cause = Cause::Shortage;
        let refusal = Refusal { cause, classes: classes | SYSTEM, ..refusal };
        prop_assert!(!refusal.advice().to_string().contains("cma="));
    }

    #[test]
    fn name_is_what_was_given(text in "[ !#-~]{0,60}") {
        let text = &text[..text.len().min(Name::CAPACITY)];
        let name = name(text);
        prop_assert_eq!(name.as_str(), text);
        prop_assert_eq!(name.to_string(), text);
        prop_assert_eq!(format!("{name:?}"), format!("{text:?}"));
        prop_assert_eq!(name.is_empty(), text.is_empty());
    }

    #[test]
    fn name_of_any_bytes_is_one_line(
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
        at in 0..100usize,
    ) {
        let kept = bytes.iter().take_while(|byte| **byte != 0).take(Name::CAPACITY);
        let expected: String = kept
            .map(|byte| match byte {
                b'"' => '?',
                0x20..=0x7e => char::from(*byte),
                _ => '?',
            })
            .collect();
        let name = Name::new(&bytes);
        prop_assert_eq!(name.as_str(), expected);
        let (front, back) = bytes.split_at(at.min(bytes.len()));
        prop_assert_eq!(Name::of(&[front, back]), name);
    }

    /// No size looks exact that is not, and none is far off.
    #[test]
    fn size_is_near(bytes in values()) {
        let text = Size(bytes).to_string();
        let (number, unit) = text.split_once(' ').unwrap();
        let shift = ["byte", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
            .iter()
            .position(|name| *name == unit.trim_end_matches('s'))
            .unwrap() * 10;
        let Some((whole, tenths)) = number.split_once('.') else {
            prop_assert_eq!(u128::from(bytes), number.parse::<u128>().unwrap() << shift);
            return Ok(());
        };
        prop_assert!(tenths.len() == 1 && tenths != "0");
        let tenths: u128 = format!("{whole}{tenths}").parse().unwrap();
        let off = (u128::from(bytes) * 10).abs_diff(tenths << shift);
        prop_assert!(off <= (1 << shift) / 2, "{}", text);
    }

    /// A limit is exact.
    #[test]
    fn limit_is_exact(last in values()) {
        let text = Limit(last).to_string();
        let above = match text.split_once(' ') {
            Some((number, unit)) => {
                let units = ["byte", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
                let unit = unit.trim_end_matches('s');
                let shift = units.iter().position(|name| *name == unit).unwrap() * 10;
                number.parse::<u128>().unwrap() << shift
            }
            None if text == "2^64" => 1 << 64,
            None => u128::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap(),
        };
        prop_assert_eq!(above, u128::from(last) + 1, "{}", text);
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
    assert_eq!(Name::new(b"a\nb\tc\x1b[31m\x7f").as_str(), "a?b?c?[31m?");
    assert_eq!(Name::new("gr\u{fc}n".as_bytes()).as_str(), "gr??n");
    assert_eq!(Name::new(b"say \"'yes'\"").as_str(), "say ?'yes'?");
    assert_eq!(
        Name::of(&[b"program ", b"x\0y", b"z"]).as_str(),
        "program x"
    );
    assert_eq!(Name::of(&[]), Name::EMPTY);
    assert_eq!(Name::new(b"").as_str(), "");
    assert_eq!(format!("{:>4}|{:<3}|", name("ab"), name("c")), "  ab|c  |");
}

/// Returns the numbers and names of the constants of the ABI's header that begin so.
fn constants(prefix: &str) -> BTreeMap<u64, String> {
    // Elsewhere if these files were copied.
    let place = std::env::var("CENALLOC_UAPI");
    let place = place.unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../include/uapi").into());
    let header = std::fs::read_to_string(format!("{place}/linux/cenalloc.h")).unwrap();
    // A number, or a bit as `(1U << 2)`.
    let number = |text: &str| match text.split_once("<< ") {
        None => text.parse().unwrap(),
        Some((_, shift)) => 1u64 << shift.trim_end_matches(')').parse::<u32>().unwrap(),
    };
    let defined = header.lines().filter_map(|line| {
        let (name, value) = line
            .strip_prefix("#define ")?
            .strip_prefix(prefix)?
            .split_once('\t')?;
        let value = value.split("/*").next()?.trim();
        Some((number(value), name.to_string()))
    });
    defined.collect()
}

/// `NoDma` as the header writes it: `NO_DMA`.
fn in_capitals(name: &impl std::fmt::Debug) -> String {
    let mut text = String::new();
    for (index, c) in format!("{name:?}").chars().enumerate() {
        if c.is_uppercase() && index > 0 {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
    }
    text
}

#[test]
fn numbers_are_those_of_the_abi() {
    let causes = Cause::ALL
        .iter()
        .map(|cause| (*cause as u64, in_capitals(cause)));
    assert_eq!(
        causes.collect::<BTreeMap<_, _>>(),
        constants("CENALLOC_CAUSE_")
    );
    let fields = Field::ALL
        .iter()
        .map(|field| (*field as u64, in_capitals(field)));
    assert_eq!(
        fields.collect::<BTreeMap<_, _>>(),
        constants("CENALLOC_FIELD_")
    );
    let holders = Holder::ALL
        .iter()
        .map(|holder| (*holder as u64, in_capitals(holder)));
    assert_eq!(
        holders.collect::<BTreeMap<_, _>>(),
        constants("CENALLOC_HOLDER_")
    );
    for number in 0..300 {
        let is = |all: &[u32]| all.contains(&number);
        let numbers: Vec<_> = Cause::ALL.iter().map(|cause| *cause as u32).collect();
        let cause = Cause::from_number(number);
        assert_eq!(
            cause.map(|cause| cause as u32),
            is(&numbers).then_some(number)
        );
        let numbers: Vec<_> = Field::ALL.iter().map(|field| *field as u32).collect();
        let field = Field::from_number(number);
        assert_eq!(
            field.map(|field| field as u32),
            is(&numbers).then_some(number)
        );
        let numbers: Vec<_> = Holder::ALL.iter().map(|holder| *holder as u32).collect();
        let holder = Holder::from_number(number);
        assert_eq!(
            holder.map(|holder| holder as u32),
            is(&numbers).then_some(number)
        );
    }
}

#[test]
fn classes_have_the_names_of_the_abi() {
    for (class, name) in constants("CENALLOC_CLASS_") {
        let name = name.to_lowercase().replace('_', "-");
        assert_eq!(Classes(class).to_string(), format!("class {name}"));
        assert_eq!(Classes(class).listed().to_string(), name);
    }
    let some = Classes(SYSTEM | CMA | (1 << 5) | (1 << 63));
    assert_eq!(some.to_string(), "class system or cma or bit-5 or bit-63");
    assert_eq!(some.listed().to_string(), "system,cma,bit-5,bit-63");
    assert_eq!(Classes(0).to_string(), "no class");
    assert_eq!(Classes(u64::MAX).to_string(), "any class");
    assert_eq!(
        Classes(0xff).listed().to_string(),
        "system,system-contig,cma,dma-coherent,carveout,bit-5,bit-6,bit-7"
    );
    assert_eq!(Classes(0x1ff).to_string(), "class 0x1ff");
}

#[test]
fn causes_have_their_errors() {
    let errors = Cause::ALL.iter().map(|cause| cause.errno());
    let (einval, ebusy, enomem, eio, enodev) = (22, 16, 12, 5, 19);
    let expected = [(einval, 5), (ebusy, 1), (enomem, 5), (eio, 1), (enodev, 4)];
    let expected = expected
        .iter()
        .flat_map(|(error, times)| std::iter::repeat_n(*error, *times));
    assert!(errors.eq(expected));
}

#[test]
fn sizes_read_as_intended() {
    for (bytes, text) in [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (4096, "4 KiB"),
        (5 << 19, "2.5 MiB"),
        (4 * MIB + 4096, "4100 KiB"),
        (3_000_000_000, "2.8 GiB"),
        // To the next tenth it would be 3 GiB.
        (3 * GIB - MIB, "3071 MiB"),
        (4 * GIB, "4 GiB"),
        (4 * GIB + 1, "4294967297 bytes"),
        (1 << 40, "1 TiB"),
        (1 << 50, "1 PiB"),
        (1 << 63, "8 EiB"),
        (u64::MAX, "18446744073709551615 bytes"),
    ] {
        assert_eq!(Size(bytes).to_string(), text);
    }
    for (last, text) in [
        (0, "1 byte"),
        (0xffff, "64 KiB"),
        ((1 << 28) - 1, "256 MiB"),
        (0xffff_ffff, "4 GiB"),
        (0xdfff_ffff, "3584 MiB"),
        (0x48f_ffff, "73 MiB"),
        (0x48f_efff, "0x48ff000"),
        (u64::MAX - 1, "0xffffffffffffffff"),
        (u64::MAX, "2^64"),
    ] {
        assert_eq!(Limit(last).to_string(), text);
    }
}

/// A cause or a field that is left out of a match would say the same as another.
#[test]
fn every_refusal_differs() {
    let mut lines = Vec::new();
    for cause in Cause::ALL {
        let holders: &[_] = match cause {
            Cause::Held => Holder::ALL,
            _ => &[Holder::Mapping],
        };
        let fields: &[_] = match cause {
            Cause::User
            | Cause::Others
            | Cause::Itself
            | Cause::Allocator
            | Cause::Held
            | Cause::Charge
            | Cause::Shortage => &FIELDS,
            _ => &[Field::MaxAddress],
        };
        for (holder, field) in holders
            .iter()
            .flat_map(|h| fields.iter().map(move |f| (h, f)))
        {
            let refusal = need(*cause, "vivid.0", *field, 0xfff, 0x2000);
            let holder = Some(*holder);
            lines.push(Refusal { holder, ..refusal }.sentence().to_string());
        }
    }
    lines.sort();
    for pair in lines.windows(2) {
        assert_ne!(pair[0], pair[1]);
    }
}

/// Nothing else is lost: what others need is no address of memory, nor how an allocator aligns it.
#[test]
fn address_of_memory_can_be_hidden() {
    for (cause, field) in Cause::ALL.iter().flat_map(|cause| {
        let fields = Field::ALL.iter().copied().map(Some).chain([None]);
        fields.map(move |field| (*cause, field))
    }) {
        let whole = Refusal {
            field,
            wanted: 0x1000,
            found: 0x1_4000_0000,
            other: name("vivid.0"),
            behind: name("vivid.1"),
            holder: Some(Holder::Pin),
            holders: 2,
            sequence: 3,
            when: 0,
            max_address: 0xffff_ffff,
            classes: CMA,
            ..refusal(cause)
        };
        let is_hidden = match cause {
            Cause::User | Cause::Others | Cause::Itself => false,
            Cause::Allocator => field == Some(Field::MaxAddress),
            Cause::Bounced => true,
            _ => [Some(Field::MaxAddress), Some(Field::Alignment)].contains(&field),
        };
        let found = if is_hidden { 0 } else { whole.found };
        assert_eq!(whole.without_address(), Refusal { found, ..whole });
        let shows = whole.to_string().contains("0x140000000");
        assert!(!whole.without_address().to_string().contains("0x14") || !is_hidden);
        // There is nothing else that shows one.
        assert!(is_hidden || !shows, "{whole}");
    }
}

/// Checks what is said of each of `refusals`: what happened, and what can be done.
fn check<const N: usize>(refusals: [(Refusal, &str, &str); N]) {
    for (refusal, sentence, advice) in refusals {
        assert_eq!(refusal.sentence().to_string(), sentence);
        assert_eq!(refusal.advice().to_string(), advice, "{sentence}");
    }
}

/// Returns `refusal` as that of another user than a device.
fn of(who: &str, refusal: Refusal) -> Refusal {
    let who = name(who);
    Refusal { who, ..refusal }
}

fn behind(user: &str, refusal: Refusal) -> Refusal {
    let behind = name(user);
    Refusal { behind, ..refusal }
}

#[test]
fn conflicts_read_as_intended() {
    let widen = "widen one of these needs, or copy between two buffers";
    let see = "see what is declared for edu 0000:00:05.0";
    let user = |field, wanted, found| need(Cause::User, "vivid.0", field, wanted, found);
    let others = |field, wanted, found| need(Cause::Others, "", field, wanted, found);
    let itself = |field, wanted, found| need(Cause::Itself, "", field, wanted, found);
    check([
        (
            user(Field::AccessMask, CMA, SYSTEM | SYSTEM_CONTIG),
            "edu 0000:00:05.0 needs memory of class cma, and vivid.0 needs memory of class system \
             or system-contig",
            widen,
        ),
        (
            user(Field::MaxAddress, 0xffff, 0xffff_ffff),
            "edu 0000:00:05.0 needs addresses below 64 KiB, and vivid.0 needs addresses below 4 GiB",
            widen,
        ),
        (
            of(
                "program player",
                need(Cause::User, "the creator of the buffer", Field::Alignment, 4096, 2 * MIB),
            ),
            "program player needs an alignment of 4 KiB, and the creator of the buffer needs an \
             alignment of 2 MiB",
            widen,
        ),
        (
            others(Field::AccessMask, 1 << 40, CMA),
            "edu 0000:00:05.0 needs memory of class bit-40, and all others together need memory \
             of class cma",
            widen,
        ),
        (
            others(Field::SegmentBoundary, 0xfff, 0xffff),
            "edu 0000:00:05.0 needs segments that cross no multiple of 4 KiB, and all others \
             together need segments that cross no multiple of 64 KiB",
            widen,
        ),
        (
            itself(Field::AccessMask, 0, 0),
            "edu 0000:00:05.0 can use no class of memory",
            see,
        ),
        (
            itself(Field::MaxAddress, MIB - 1, 8 * MIB),
            "edu 0000:00:05.0 needs addresses below 1 MiB, and the buffer has 8 MiB",
            "use a shorter buffer, or put edu 0000:00:05.0 behind an IOMMU",
        ),
        (
            itself(Field::MaxSegments, 4, 17),
            "edu 0000:00:05.0 needs at most 4 segments, and the length takes at least 17 segments",
            "use a shorter buffer, or see what is declared for edu 0000:00:05.0",
        ),
        (
            of("", itself(Field::MaxSegments, 1, 2)),
            "the buffer needs one contiguous range, and the length takes at least 2 segments",
            "use a shorter buffer, or see what is declared for the buffer",
        ),
        (
            itself(Field::MaxSegmentSize, 2048, 4096),
            "edu 0000:00:05.0 needs segments of at most 2 KiB, and they start every 4 KiB",
            see,
        ),
        (
            itself(Field::Coherent, 1, 0),
            "edu 0000:00:05.0 needs memory without cache maintenance, which its other needs rule \
             out",
            see,
        ),
        (
            Refusal {
                field: None,
                ..user(Field::AccessMask, 0, 0)
            },
            "edu 0000:00:05.0 can never share the buffer",
            widen,
        ),
    ]);
}

/// The frames of a camera are too long for the page allocator; no area is there, or it lies too
/// high.
#[test]
fn lack_of_contiguous_memory_reads_as_intended() {
    let (any, low) = (u64::MAX, 0xffff_ffff);
    let too_long = |max_address| {
        unserved(
            "system-contig",
            Field::Contiguous,
            8 * MIB,
            4 * MIB,
            max_address,
        )
    };
    let of_len = |len, refusal| Refusal { len, ..refusal };
    let sentence = "edu 0000:00:05.0 needs 8 MiB of contiguous memory, and system-contig gives at \
                    most 4 MiB";
    check([
        (
            too_long(any),
            sentence,
            "boot with cma=64M if class cma is allowed, or put edu 0000:00:05.0 behind an IOMMU",
        ),
        (
            too_long(low),
            sentence,
            "boot with cma=64M@0-4G if class cma is allowed, or put edu 0000:00:05.0 behind an \
             IOMMU",
        ),
        (
            // The limit of a Raspberry Pi's peripherals, in half a mebibyte more.
            too_long(0x3c08_0000 - 1),
            sentence,
            "boot with cma=64M@0-960M if class cma is allowed, or put edu 0000:00:05.0 behind an \
             IOMMU",
        ),
        (
            // All that lies there is not free.
            too_long((64 << 20) - 1),
            sentence,
            "boot with cma=32M@0-64M if class cma is allowed, or put edu 0000:00:05.0 behind an \
             IOMMU",
        ),
        (
            too_long((16 << 20) - 1),
            sentence,
            "boot with cma=8M@0-16M if class cma is allowed, or put edu 0000:00:05.0 behind an \
             IOMMU",
        ),
        (
            too_long((8 << 20) - 1),
            sentence,
            "use a shorter buffer, or put edu 0000:00:05.0 behind an IOMMU",
        ),
        (
            too_long(4095),
            sentence,
            "use a shorter buffer, or put edu 0000:00:05.0 behind an IOMMU",
        ),
        (
            of_len(MIB, too_long(any)),
            sentence,
            "boot with cma=64M if class cma is allowed, or put edu 0000:00:05.0 behind an IOMMU",
        ),
        (
            of_len(33 * MIB, too_long(any)),
            sentence,
            "boot with cma=512M if class cma is allowed, or put edu 0000:00:05.0 behind an IOMMU",
        ),
        (
            of_len(1 << 61, too_long(any)),
            sentence,
            "use a shorter buffer, or put edu 0000:00:05.0 behind an IOMMU",
        ),
        (
            of("program player", too_long(low)),
            "program player needs 8 MiB of contiguous memory, and system-contig gives at most 4 \
             MiB",
            "boot with cma=64M@0-4G if class cma is allowed",
        ),
        (
            of("", too_long(low)),
            "the buffer needs 8 MiB of contiguous memory, and system-contig gives at most 4 MiB",
            "boot with cma=64M@0-4G if class cma is allowed",
        ),
        (
            behind("vivid.0", too_long(low)),
            "edu 0000:00:05.0 joins vivid.0, which needs 8 MiB of contiguous memory, and \
             system-contig gives at most 4 MiB",
            "boot with cma=64M@0-4G if class cma is allowed, or put vivid.0 behind an IOMMU",
        ),
        (
            behind("the creator of the buffer", unserved("carveout", Field::Alignment, 1 << 27, 4096, low)),
            "edu 0000:00:05.0 joins the creator of the buffer, which needs an alignment of 128 MiB, and \
             carveout gives at most 4 KiB",
            "boot with cma=1G@0-4G if class cma is allowed",
        ),
        (
            unserved("linux,cma", Field::MaxAddress, low, 0x1_4000_0000, low),
            "edu 0000:00:05.0 needs addresses below 4 GiB, and linux,cma gives from 0x140000000 on",
            "boot with cma=64M@0-4G if class cma is allowed, or put edu 0000:00:05.0 behind an \
             IOMMU",
        ),
        (
            unserved("linux,cma", Field::MaxAddress, low, 0x1_4000_0000, low).without_address(),
            "edu 0000:00:05.0 needs addresses below 4 GiB, and linux,cma has no 8 MiB there",
            "boot with cma=64M@0-4G if class cma is allowed, or put edu 0000:00:05.0 behind an \
             IOMMU",
        ),
        (
            // The memory of the machine starts there.
            unserved("system", Field::MaxAddress, 0x3fff_ffff, 0x4000_0000, 0x3fff_ffff),
            "edu 0000:00:05.0 needs addresses below 1 GiB, and system gives from 0x40000000 on",
            "allow higher addresses, or put edu 0000:00:05.0 behind an IOMMU",
        ),
        (
            unserved("system", Field::MaxSegments, 2, 3, any),
            "edu 0000:00:05.0 needs at most 2 segments, and system gives no fewer than 3 segments",
            "boot with cma=64M if class cma is allowed, or put edu 0000:00:05.0 behind an IOMMU",
        ),
        (
            unserved("carveout", Field::MaxAddress, 4095, 4096, 4095),
            "edu 0000:00:05.0 needs addresses below 4 KiB, and carveout gives from 0x1000 on",
            "allow higher addresses, or put edu 0000:00:05.0 behind an IOMMU",
        ),
    ]);
}

#[test]
fn what_no_allocator_gives_reads_as_intended() {
    let any = |other, field, wanted, found| unserved(other, field, wanted, found, u64::MAX);
    check([
        (
            any("carveout", Field::AccessMask, CMA | (1 << 40), CARVEOUT),
            "edu 0000:00:05.0 needs memory of class cma or bit-40, which no allocator gives",
            "allow another class, or load an allocator of this one",
        ),
        (
            any("system", Field::Coherent, 1, 0),
            "edu 0000:00:05.0 needs memory without cache maintenance, and system gives cached \
             memory",
            "let the driver maintain caches",
        ),
        (
            any("secure", Field::Device, 0, 0),
            "edu 0000:00:05.0 needs an allocator that serves it, and secure does not",
            "allow memory of another class",
        ),
        (
            of("", any("system", Field::Length, 3 * GIB, 3_000_000_000)),
            "the buffer needs 3 GiB, and system gives at most 2.8 GiB",
            "use a shorter buffer",
        ),
        (
            Refusal {
                len: 100 * MIB,
                ..any("linux,cma", Field::Length, 100 * MIB, 64 * MIB)
            },
            "edu 0000:00:05.0 joins a buffer of 100 MiB, and linux,cma gives at most 64 MiB",
            "use a shorter buffer, or boot with cma=1G if class cma is allowed",
        ),
        (
            // What differs does not look the same.
            of(
                "",
                any("system", Field::Length, 3_020_000_000, 3_000_000_000),
            ),
            "the buffer needs 2.8 GiB, and system gives a bit less",
            "use a shorter buffer",
        ),
        (
            any("system-contig", Field::Alignment, 64 << 10, 4096),
            "edu 0000:00:05.0 needs an alignment of 64 KiB, and system-contig gives at most 4 KiB",
            "use a buffer of at least 64 KiB, or put edu 0000:00:05.0 behind an IOMMU",
        ),
        (
            any("system", Field::Alignment, 4 * MIB, 4096),
            "edu 0000:00:05.0 needs an alignment of 4 MiB, and system gives at most 4 KiB",
            "use a buffer of at least 4 MiB, or put edu 0000:00:05.0 behind an IOMMU",
        ),
        (
            any("system", Field::Alignment, 16 * MIB, 4 * MIB),
            "edu 0000:00:05.0 needs an alignment of 16 MiB, and system gives at most 4 MiB",
            "boot with cma=128M if class cma is allowed, or put edu 0000:00:05.0 behind an IOMMU",
        ),
        (
            any("linux,cma", Field::Alignment, 1 << 62, 4 * MIB),
            "edu 0000:00:05.0 needs an alignment of 4 EiB, and linux,cma gives at most 4 MiB",
            "allow less alignment, or put edu 0000:00:05.0 behind an IOMMU",
        ),
        (
            of("", refusal(Cause::Removed)),
            "the buffer has no allocator left that suits all users",
            "load the module of the allocator again",
        ),
    ]);
}

#[test]
fn late_refusals_read_as_intended() {
    let held_by = |field, wanted, found| Refusal {
        field: Some(field),
        wanted,
        found,
        ..held(Holder::Mapping, "vivid.0", 1)
    };
    let unmap = "declare edu 0000:00:05.0 before vivid.0 maps the buffer, or with a timeout and \
                 let that one unmap it";
    let at = "edu 0000:00:05.0 needs addresses below 256 MiB, the memory is at 0x140000000";
    let by = |holder, other, holders, text| (held(holder, other, holders), format!("{at} {text}"));
    for ((refusal, sentence), advice) in [
        (
            by(Holder::Mapping, "vivid.0", 1, "and is mapped by vivid.0"),
            unmap,
        ),
        (
            by(
                Holder::Pin,
                "vivid.0",
                2,
                "and is pinned by vivid.0, and one more holds it",
            ),
            unmap,
        ),
        (
            by(
                Holder::Mapping,
                "",
                5,
                "and is mapped by another user, and 4 more hold it",
            ),
            "declare edu 0000:00:05.0 before another user maps the buffer, or with a timeout and \
             let that one unmap it",
        ),
        (
            by(
                Holder::Kernel,
                "",
                1,
                "and is mapped by the kernel for itself",
            ),
            "declare edu 0000:00:05.0 before the kernel maps the buffer, or with a timeout",
        ),
        (
            by(
                Holder::Fence,
                "",
                1,
                "and is in use by a device that has not finished",
            ),
            "declare edu 0000:00:05.0 with a timeout, or try again",
        ),
        (
            by(
                Holder::Address,
                "vivid.0",
                2,
                "and stays where a driver was told it is, and one more holds it",
            ),
            "attach or declare edu 0000:00:05.0 before the address is asked for",
        ),
    ] {
        check([(refusal, &sentence, advice)]);
    }
    let mapped = |text| format!("edu 0000:00:05.0 needs {text} and is mapped by vivid.0");
    for (field, wanted, found, text) in [
        (
            Field::AccessMask,
            CMA,
            SYSTEM,
            "memory of class cma, the memory is of class system",
        ),
        (
            Field::MaxAddress,
            (1 << 28) - 1,
            0,
            "addresses below 256 MiB, the memory reaches above that",
        ),
        (
            Field::MaxAddress,
            0xffff_ffff,
            0xff00_0000,
            "addresses below 4 GiB, the memory reaches above that",
        ),
        (
            Field::MaxAddress,
            0xffff_ffff,
            0x1_0000_0000,
            "addresses below 4 GiB, the memory is at 0x100000000",
        ),
        (
            Field::Alignment,
            2 * MIB,
            0x1000,
            "an alignment of 2 MiB, the memory is at 0x1000",
        ),
        (
            Field::Alignment,
            2 * MIB,
            0,
            "an alignment of 2 MiB, the memory has less",
        ),
        (
            Field::MaxSegments,
            1,
            17,
            "one contiguous range, the memory has 17 segments",
        ),
        (
            Field::MaxSegmentSize,
            2048,
            4096,
            "segments of at most 2 KiB, the memory has 4 KiB",
        ),
        (
            Field::Coherent,
            1,
            0,
            "memory without cache maintenance, the memory is cached",
        ),
        (
            Field::Device,
            0,
            0,
            "an allocator that serves it, the memory has another",
        ),
    ] {
        check([(held_by(field, wanted, found), &mapped(text), unmap)]);
    }
    let no_field = Refusal {
        field: None,
        ..held(Holder::Mapping, "vivid.0", 1)
    };
    let sentence = "other memory, the present does not suit it";
    check([(no_field, &mapped(sentence), unmap)]);
}

#[test]
fn lack_of_memory_reads_as_intended() {
    let (any, low) = (u64::MAX, (1 << 28) - 1);
    let charge = "raise memory.max of the cgroup that pays or of its parents, or free memory there";
    let relocated = |cause, classes| Refusal {
        classes,
        max_address: low,
        ..need(cause, "system", Field::MaxAddress, low, 0x1_4000_0000)
    };
    check([
        (
            shortage(SYSTEM | SYSTEM_CONTIG | CMA, low),
            "edu 0000:00:05.0 got no memory: 8 MiB below 256 MiB cannot be had now from system or \
             system-contig or cma",
            "free memory below 256 MiB",
        ),
        (
            of("", shortage(SYSTEM, any)),
            "8 MiB cannot be had now from system",
            "free memory",
        ),
        (
            shortage(SYSTEM_CONTIG, low),
            "edu 0000:00:05.0 got no memory: 8 MiB below 256 MiB cannot be had now from \
             system-contig",
            "free memory below 256 MiB, or boot with cma=64M@0-256M if class cma is allowed",
        ),
        (
            shortage(SYSTEM_CONTIG, 0xffff),
            "edu 0000:00:05.0 got no memory: 8 MiB below 64 KiB cannot be had now from \
             system-contig",
            "free memory below 64 KiB",
        ),
        (
            shortage(CMA | SYSTEM_CONTIG, any),
            "edu 0000:00:05.0 got no memory: 8 MiB cannot be had now from system-contig or cma",
            "free memory, or boot with a larger area (cma=)",
        ),
        (
            shortage(1 << 3, any),
            "edu 0000:00:05.0 got no memory: 8 MiB cannot be had now from dma-coherent",
            "free memory, or boot with a larger area (cma=)",
        ),
        (
            shortage(CARVEOUT, any),
            "edu 0000:00:05.0 got no memory: 8 MiB cannot be had now from carveout",
            "free memory",
        ),
        (
            shortage(0, any),
            "edu 0000:00:05.0 got no memory: 8 MiB cannot be had now",
            "free memory",
        ),
        (
            relocated(Cause::Shortage, SYSTEM),
            "edu 0000:00:05.0 needs addresses below 256 MiB, the memory is at 0x140000000, and 8 \
             MiB below 256 MiB cannot be had now from system",
            "free memory below 256 MiB",
        ),
        (
            relocated(Cause::Charge, SYSTEM),
            "edu 0000:00:05.0 needs addresses below 256 MiB, the memory is at 0x140000000, and the \
             memory cgroup has no room for 8 MiB more",
            charge,
        ),
        (
            refusal(Cause::Charge),
            "edu 0000:00:05.0 got no memory: the memory cgroup has no room for 8 MiB more",
            charge,
        ),
        (
            of("", refusal(Cause::Charge)),
            "the memory cgroup has no room for 8 MiB more",
            charge,
        ),
        (
            refusal(Cause::Addresses),
            "edu 0000:00:05.0 has no 8 MiB of its own addresses left in one range",
            "unmap other buffers of edu 0000:00:05.0",
        ),
        (
            refusal(Cause::Bookkeeping),
            "there is no memory for a record of edu 0000:00:05.0",
            "raise memory.max of the process's cgroup, or free memory",
        ),
        (
            refusal(Cause::Users),
            "edu 0000:00:05.0 is one user too many, a buffer has at most 4096",
            "let other users detach",
        ),
    ]);
}

#[test]
fn devices_that_cannot_take_part_read_as_intended() {
    let bounced = need(
        Cause::Bounced,
        "",
        Field::MaxAddress,
        0xffff_ffff,
        0x1_4000_0000,
    );
    let declare = "declare what edu 0000:00:05.0 reaches, by its driver or a policy, unless all \
                   its DMA is bounced (swiotlb=force, an encrypted guest)";
    let on = |bus, cause| Refusal {
        other: name(bus),
        ..refusal(cause)
    };
    check([
        (
            bounced,
            "the DMA layer copies for edu 0000:00:05.0, the memory is at 0x140000000",
            declare,
        ),
        (
            bounced.without_address(),
            "the DMA layer copies for edu 0000:00:05.0",
            declare,
        ),
        (
            on("faux", Cause::NoBus),
            "the kernel finds no devices by name on bus faux",
            "see /sys/bus, or declare the needs without a device",
        ),
        (
            of("reg-dummy", on("", Cause::NoBus)),
            "reg-dummy is on no bus",
            "see /sys/bus, or declare the needs without a device",
        ),
        (
            of("0000:00:05.1", on("pci", Cause::NoDevice)),
            "there is no device 0000:00:05.1 on bus pci",
            "see /sys/bus/pci/devices",
        ),
        (
            of("", on("pci", Cause::NoDevice)),
            "there is no device without a name on bus pci",
            "see /sys/bus/pci/devices",
        ),
        (
            refusal(Cause::NoDriver),
            "no driver is bound to edu 0000:00:05.0",
            "load its driver first",
        ),
        (
            refusal(Cause::NoDma),
            "edu 0000:00:05.0 does no DMA",
            "declare the device that does the DMA for it",
        ),
    ]);
}
