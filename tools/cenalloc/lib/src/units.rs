// SPDX-License-Identifier: GPL-2.0

//! Numbers as people write them: sizes, limits and classes of memory.

use crate::{abi, model};
use std::{fmt, str::FromStr};

/// A text that is no number of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(pub(crate) String);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

pub(crate) fn wrong<T>(text: impl Into<String>) -> Result<T, ParseError> {
    Err(ParseError(text.into()))
}

/// Units by their power of 1024.
const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A number of bytes: `4096`, `0x1000`, `8M`, `64 KiB`, `2^20`.
///
/// Units are powers of 1024, whatever their case; the short form is the letter alone. `KB` and
/// the like are refused: some mean 1000.
///
/// ```
/// use cenalloc::Size;
///
/// assert_eq!("64 KiB".parse(), Ok(Size(65_536)));
/// assert_eq!("8M".parse(), Ok(Size(8 << 20)));
/// assert_eq!(Size(65_536).to_string(), "64 KiB");
/// assert_eq!(Size(1025).to_string(), "1025 B");
/// assert_eq!(Size(3_000_000_000).about().to_string(), "2.8 GiB");
/// assert!("64 KB".parse::<Size>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    /// Writes it exactly: in the largest unit of which there is a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let power = if self.0 == 0 {
            0
        } else {
            self.0.trailing_zeros() / 10
        };
        let unit = UNITS[power as usize];
        f.pad(&format!("{} {unit}", self.0 >> (10 * power)))
    }
}

impl Size {
    /// Returns it in few digits, as refusals have it: `2.8 GiB`.
    pub fn about(self) -> impl fmt::Display {
        model::Size(self.0)
    }
}

impl FromStr for Size {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        bytes(text, "size").map(Self)
    }
}

/// Reads a number of bytes, which is wanted as `what`.
fn bytes(text: &str, what: &str) -> Result<u64, ParseError> {
    let text = text.trim();
    if let Some(exponent) = power_of_two(text)? {
        return match 1u64.checked_shl(exponent) {
            Some(size) => Ok(size),
            None => wrong(format!("{text} is too large: the most is 2^63")),
        };
    }
    if text.starts_with("0x") || text.starts_with("0X") {
        return number(text);
    }
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    let Ok(count) = number(count) else {
        return wrong(format!("\"{text}\" is no {what} (4096, 64KiB, 8M, 2^20)"));
    };
    let power =
        unit_power(unit.trim_start()).map_err(|why| ParseError(format!("\"{text}\": {why}")))?;
    match 1u64
        .checked_shl(10 * power)
        .and_then(|unit| count.checked_mul(unit))
    {
        Some(size) => Ok(size),
        None => wrong(format!("{text} is more than 64 bits hold")),
    }
}

fn unit_power(unit: &str) -> Result<u32, String> {
    if unit.is_empty() {
        return Ok(0);
    }
    for (power, name) in UNITS.iter().enumerate() {
        let short = &name[..1];
        if unit.eq_ignore_ascii_case(name) || unit.eq_ignore_ascii_case(short) {
            return Ok(power as u32);
        }
        if power > 0 && unit.eq_ignore_ascii_case(&format!("{short}B")) {
            return Err(format!("some take {unit} for powers of 1000: write {name}"));
        }
    }
    Err(format!(
        "there is no unit \"{unit}\" (B, KiB, MiB, GiB, TiB, PiB, EiB)"
    ))
}

/// The exponent in `2^N`, if that is what `text` is.
fn power_of_two(text: &str) -> Result<Option<u32>, ParseError> {
    let Some(exponent) = text.strip_prefix("2^") else {
        return Ok(None);
    };
    match exponent.parse() {
        Ok(exponent) if exponent <= 64 && !exponent_has_sign(text) => Ok(Some(exponent)),
        _ => wrong(format!("{text} is no power of two up to 2^64")),
    }
}

fn exponent_has_sign(text: &str) -> bool {
    text.contains('+')
}

/// A plain number: decimal, or hexadecimal after `0x`, with `_` between digits.
pub(crate) fn number(text: &str) -> Result<u64, ParseError> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    let edges = digits.starts_with('_') || digits.ends_with('_');
    if edges || !digits.chars().all(|c| c.is_digit(radix) || c == '_') || digits.is_empty() {
        return wrong(format!("\"{text}\" is no number"));
    }
    match u64::from_str_radix(&digits.replace('_', ""), radix) {
        Ok(number) => Ok(number),
        Err(_) => wrong(format!("{text} is more than 64 bits hold")),
    }
}

/// The last of what can be reached: an address, or a mask of address bits.
///
/// Written as the power of two (`2^32`) or the size (`4 GiB`) that lies just *above* it, or as
/// the last itself, a plain number (`0xffffffff`). `2^64` and the plain number of 64 ones are no
/// limit at all.
///
/// ```
/// use cenalloc::Limit;
///
/// assert_eq!("2^32".parse(), Ok(Limit(0xffff_ffff)));
/// assert_eq!("4GiB".parse(), Ok(Limit(0xffff_ffff)));
/// assert_eq!("0xffffffff".parse(), Ok(Limit(0xffff_ffff)));
/// assert_eq!(Limit(0xffff_ffff).to_string(), "2^32");
/// assert_eq!(Limit(0x1_3fff_ffff).to_string(), "0x13fffffff");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limit(pub u64);

impl Limit {
    /// Returns what lies just above it, as refusals have it: `4 GiB`.
    pub fn above(self) -> impl fmt::Display {
        model::Limit(self.0)
    }

    /// The exponent of the power of two just above, if there is one.
    fn exponent(self) -> Option<u32> {
        match self.0.checked_add(1) {
            None => Some(64),
            Some(above) if above.is_power_of_two() => Some(above.trailing_zeros()),
            Some(_) => None,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exponent() {
            Some(exponent) => f.pad(&format!("2^{exponent}")),
            None => f.pad(&format!("{:#x}", self.0)),
        }
    }
}

impl FromStr for Limit {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let text = text.trim();
        match power_of_two(text)? {
            Some(64) => return Ok(Self(u64::MAX)),
            Some(exponent) => return Ok(Self((1 << exponent) - 1)),
            None => {}
        }
        if let Ok(last) = number(text) {
            return Ok(Self(last));
        }
        match bytes(text, "limit")? {
            0 => wrong(format!("nothing lies below {text}")),
            above => Ok(Self(above - 1)),
        }
    }
}

/// A limit as the kernel writes it in debugfs: what lies just above.
pub(crate) struct Above(pub(crate) u64);

impl FromStr for Above {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.starts_with("2^") {
            return Ok(Self(text.parse::<Limit>()?.0));
        }
        match number(text)? {
            0 => wrong("nothing lies below 0"),
            above => Ok(Self(above - 1)),
        }
    }
}

/// Classes of memory, the bits of an access mask.
///
/// Written as names, bits and numbers between commas: `system,cma`, `cma,bit-32`, `0x5`. Bits 32
/// to 63 are for allocators outside the kernel tree, and have no names. Many are a number.
///
/// ```
/// use cenalloc::Classes;
///
/// assert_eq!("system,cma".parse(), Ok(Classes(0b101)));
/// assert_eq!(Classes(0b101).to_string(), "system,cma");
/// assert_eq!(Classes(1 << 32).to_string(), "bit-32");
/// assert_eq!((Classes::SYSTEM | Classes::CMA).0, 0b101);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classes(pub u64);

impl Classes {
    /// Scattered pages.
    pub const SYSTEM: Self = Self(abi::CENALLOC_CLASS_SYSTEM as u64);
    /// Contiguous ranges from the page allocator.
    pub const SYSTEM_CONTIG: Self = Self(abi::CENALLOC_CLASS_SYSTEM_CONTIG as u64);
    /// Contiguous ranges from areas of contiguous memory (CMA).
    pub const CMA: Self = Self(abi::CENALLOC_CLASS_CMA as u64);
    /// Contiguous ranges from the DMA API, as it has them for the most constrained user.
    pub const DMA_COHERENT: Self = Self(abi::CENALLOC_CLASS_DMA_COHERENT as u64);
    /// Contiguous ranges from reserved memory.
    pub const CARVEOUT: Self = Self(abi::CENALLOC_CLASS_CARVEOUT as u64);

    const NAMED: [(&'static str, Self); 5] = [
        ("system", Self::SYSTEM),
        ("system-contig", Self::SYSTEM_CONTIG),
        ("cma", Self::CMA),
        ("dma-coherent", Self::DMA_COHERENT),
        ("carveout", Self::CARVEOUT),
    ];

    /// Returns the names of the classes that have one.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::NAMED.iter().map(|(name, _)| *name)
    }
}

/// What stands before the number of a class without a name.
const BIT: &str = "bit-";

/// The class in `bit-N`, if that is what `word` is.
fn bit(word: &str) -> Option<u64> {
    let digits = word.strip_prefix(BIT)?;
    if digits.starts_with('+') {
        return None;
    }
    1u64.checked_shl(digits.parse().ok()?)
}

impl std::ops::BitOr for Classes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.pad("0x0"),
            mask => f.pad(&model::Classes(mask).listed().to_string()),
        }
    }
}

impl FromStr for Classes {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut mask = 0;
        for word in text.split(',').map(str::trim) {
            let named = Self::NAMED.iter().find(|(name, _)| *name == word);
            let named = named.map(|(_, class)| class.0);
            mask |= match named.or_else(|| bit(word)).or_else(|| number(word).ok()) {
                Some(bits) => bits,
                None => {
                    let names: Vec<_> = Self::names().collect();
                    return wrong(format!(
                        "\"{word}\" is no class of memory ({}, {BIT}0 to {BIT}63, or a number)",
                        names.join(", ")
                    ));
                }
            };
        }
        Ok(Self(mask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Numbers of every length, round ones among them.
    fn numbers() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            (any::<u64>(), 0..64u32).prop_map(|(n, shift)| n >> shift),
            (any::<u64>(), 0..64u32).prop_map(|(n, shift)| n << shift),
            (0..64u32).prop_map(|shift| 1 << shift),
            (0..64u32).prop_map(|shift| (1 << shift) - 1),
            Just(u64::MAX),
        ]
    }

    proptest! {
        #[test]
        fn sizes_come_back(n in numbers()) {
            prop_assert_eq!(Size(n).to_string().parse(), Ok(Size(n)));
            prop_assert_eq!(n.to_string().parse(), Ok(Size(n)));
            prop_assert_eq!(format!("{n:#x}").parse(), Ok(Size(n)));
        }

        #[test]
        fn limits_come_back(n in numbers()) {
            prop_assert_eq!(Limit(n).to_string().parse(), Ok(Limit(n)));
            prop_assert_eq!(n.to_string().parse(), Ok(Limit(n)));
        }

        #[test]
        fn classes_come_back(n in numbers()) {
            prop_assert_eq!(Classes(n).to_string().parse(), Ok(Classes(n)));
        }

        #[test]
        fn nothing_panics(text in "[0-9a-fxKMGTPEiB^_+ ,2-]{0,24}") {
            let size = text.parse::<Size>();
            let limit = text.parse::<Limit>();
            // A limit is a plain number, or what lies just below a size.
            if let (Ok(size), Ok(limit)) = (size, limit) {
                prop_assert!(limit.0 == size.0 || limit.0 + 1 == size.0);
            }
        }
    }

    #[test]
    fn sizes_are_read_as_written() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            (" 8M ", 8 << 20),
            ("8 mib", 8 << 20),
            ("1k", 1024),
            ("16E", 0),
            ("15 EiB", 15 << 60),
            ("2^63", 1 << 63),
            ("1_000", 1000),
            ("0xb", 11),
        ] {
            match (text, text.parse::<Size>()) {
                ("16E", result) => assert!(result.is_err()),
                (_, result) => assert_eq!(result, Ok(Size(bytes)), "{text}"),
            }
        }
        for text in [
            "", "M", "-1", "+1", "1.5G", "8MB", "8 X", "2^64", "2^+3", "2^", "_1", "1_", "0x",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        assert!("64KB"
            .parse::<Size>()
            .unwrap_err()
            .to_string()
            .contains("KiB"));
    }

    #[test]
    fn limits_are_read_as_written() {
        for (text, last) in [
            ("2^0", 0),
            ("2^28", (1 << 28) - 1),
            ("2^64", u64::MAX),
            ("4G", u64::from(u32::MAX)),
            ("0x1_0000_0000", 1 << 32),
            ("4294967295", u64::from(u32::MAX)),
        ] {
            assert_eq!(text.parse(), Ok(Limit(last)), "{text}");
        }
        for text in ["", "2^65", "0 B", "below", "2^-1"] {
            assert!(text.parse::<Limit>().is_err(), "{text}");
        }
        assert_eq!(Limit(0xffff_ffff).above().to_string(), "4 GiB");
        assert_eq!(Limit(0x1_3fff_efff).above().to_string(), "0x13ffff000");
        for (text, last) in [("2^28", 0xfff_ffff), ("0x140000000", 0x1_3fff_ffff)] {
            assert_eq!(text.parse::<Above>().map(|above| above.0), Ok(last));
        }
        assert!("0".parse::<Above>().is_err());
    }

    #[test]
    fn errors_quote_what_was_wrong() {
        for (text, what) in [("foo", "\"foo\" is no "), ("", "\"\" is no ")] {
            for (error, kind) in [
                (text.parse::<Size>().unwrap_err(), "size"),
                (text.parse::<Limit>().unwrap_err(), "limit"),
            ] {
                let error = error.to_string();
                assert!(error.starts_with(&format!("{what}{kind}")), "{error}");
            }
        }
        let error = "8MB".parse::<Size>().unwrap_err().to_string();
        assert!(error.starts_with("\"8MB\": some take MB"), "{error}");
    }

    #[test]
    fn classes_are_read_as_written() {
        assert_eq!(
            "system, 0x10".parse(),
            Ok(Classes::SYSTEM | Classes::CARVEOUT)
        );
        assert_eq!("bit-0,bit-63".parse(), Ok(Classes((1 << 63) | 1)));
        assert_eq!(Classes(0).to_string(), "0x0");
        assert_eq!(Classes((1 << 40) | 4).to_string(), "cma,bit-40");
        assert_eq!(Classes(0x1f_f000_0001).to_string(), "0x1ff0000001");
        for text in [
            "", "system,", "vram", "-1", "bit-", "bit-64", "bit-+1", "bit-x",
        ] {
            assert!(text.parse::<Classes>().is_err(), "{text}");
        }
    }
}
