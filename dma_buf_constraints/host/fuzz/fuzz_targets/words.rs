// SPDX-License-Identifier: GPL-2.0

//! What is read by the tool's library: the kernel's reasons, the lines of debugfs, and what people
//! write.

#![no_main]

use arbitrary::Arbitrary;
use cenalloc::{
    debugfs::{
        BufferLine,
        UserLine, //
    },
    Classes,
    Conflict,
    Limit,
    Size, //
};
use dma_buf_constraints_fuzz::model::{
    self,
    Field,
    Misfit,
    Name,
    Party, //
};
use libfuzzer_sys::fuzz_target;
use std::{
    fmt::{
        Debug,
        Display, //
    },
    str::FromStr, //
};

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Text(&'a str),
    Reason {
        who: &'a [u8],
        field: u8,
        wanted: u64,
        found: u64,
        party: u8,
        other: &'a [u8],
        has_other: bool,
    },
}

/// What reads is written such that it reads as the same.
fn there_and_back<T: FromStr + Display + PartialEq + Debug>(text: &str)
where
    T::Err: Debug,
{
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        assert_eq!(written.parse::<T>().unwrap(), value, "{written}");
    }
}

const FIELDS: [Field; 9] = [
    Field::AccessMask,
    Field::MaxAddress,
    Field::MaxSegments,
    Field::MaxSegmentSize,
    Field::SegmentBoundary,
    Field::Alignment,
    Field::Coherent,
    Field::Length,
    Field::Device,
];

fuzz_target!(|input: Input<'_>| match input {
    Input::Text(text) => {
        there_and_back::<Size>(text);
        there_and_back::<Limit>(text);
        there_and_back::<Classes>(text);
        there_and_back::<Conflict>(text);
        there_and_back::<BufferLine>(text);
        there_and_back::<UserLine>(text);
    }
    Input::Reason {
        who,
        field,
        wanted,
        found,
        party,
        other,
        has_other,
    } => {
        let field = FIELDS[usize::from(field) % FIELDS.len()];
        let name = Name::new(other);
        let with = match party % 6 {
            0 => Party::Device(name),
            1 => Party::Others,
            2 => Party::Itself,
            3 => Party::Allocator(name, has_other.then_some(name)),
            4 => Party::Memory(has_other.then_some(name)),
            _ => Party::Bounce,
        };
        let who = Name::new(who);
        let reason = model::Conflict {
            who,
            misfit: Misfit {
                field,
                wanted,
                found,
            },
            with,
        }
        .to_string();
        // One line, whatever the names are.
        assert!(
            reason.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{reason}"
        );
        // A name may hold anything, the words of a reason too: but it reads, and as the same
        // words.
        let read: Conflict = reason.parse().unwrap();
        assert_eq!(read.to_string(), reason);
        assert!(!read.advice().is_empty());
        // A name that holds none of them is read as it is.
        if !(who.as_str().contains(' ') || name.as_str().contains(' ')) {
            assert_eq!(read.who, who.as_str());
        }
    }
});
