// SPDX-License-Identifier: GPL-2.0

//! What is read by the tool's library: refusals of the kernel, the lines of debugfs, and what people
//! write.

#![no_main]

use arbitrary::Arbitrary;
use cenalloc::{
    abi::cenalloc_refusal,
    debugfs::{
        BufferLine,
        UserLine, //
    },
    Classes,
    Limit,
    Reason,
    Size, //
};
use libfuzzer_sys::fuzz_target;
use std::{
    ffi::c_char,
    fmt::{
        Debug,
        Display, //
    },
    str::FromStr, //
};

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Text(&'a str),
    Refusal {
        cause: u8,
        field: u8,
        holder: u8,
        numbers: [u64; 5],
        holders: u32,
        names: [&'a [u8]; 3],
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

/// Copies as much of a name as there is room for.
fn put(array: &mut [c_char], name: &[u8]) {
    for (to, from) in array.iter_mut().zip(name) {
        *to = *from as c_char;
    }
}

fuzz_target!(|input: Input<'_>| match input {
    Input::Text(text) => {
        there_and_back::<Size>(text);
        there_and_back::<Limit>(text);
        there_and_back::<Classes>(text);
        let _ = text.parse::<BufferLine>();
        let _ = text.parse::<UserLine>();
    }
    Input::Refusal {
        cause,
        field,
        holder,
        numbers: [wanted, found, len, max_address, classes],
        holders,
        names: [who, other, behind],
    } => {
        let mut raw = cenalloc_refusal {
            cause: cause.into(),
            field: field.into(),
            holder: holder.into(),
            wanted,
            found,
            len,
            max_address,
            classes,
            holders,
            ..Default::default()
        };
        put(&mut raw.who, who);
        put(&mut raw.other, other);
        put(&mut raw.behind, behind);
        let reason = Reason::from_raw(&raw);
        assert_eq!(reason.is_none(), cause == 0);
        // One line, whatever the names and the numbers are.
        let words = reason.map_or_else(|| " ".to_owned(), |reason| reason.to_string());
        assert!(
            !words.is_empty() && words.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{words}"
        );
    }
});
