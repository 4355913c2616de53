// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/cenalloc/`: all buffers of the system, and their users.
//!
//! The files have a line a buffer and a line a user, of `key=value` and `key="value"`. What a
//! later kernel adds is kept as it is.

use crate::{
    constraints::Constraints,
    error::{Error, Result},
    query::State,
    units::{number, wrong, Above, Classes, ParseError},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

/// The directory.
#[derive(Clone, Debug)]
pub struct Debugfs {
    path: PathBuf,
}

impl Debugfs {
    /// Where it is.
    pub const PATH: &'static str = "/sys/kernel/debug/cenalloc";

    /// Names the directory at `path`, [`PATH`](Self::PATH) or a copy of one.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Reads all buffers.
    pub fn buffers(&self) -> Result<Vec<BufferLine>> {
        lines(&self.path.join("buffers"))
    }

    /// Reads all users of all buffers.
    pub fn users(&self) -> Result<Vec<UserLine>> {
        lines(&self.path.join("devices"))
    }

    /// Reads the last refusal of all: the number of the buffer, and the reason in words. The
    /// buffer may be gone since.
    pub fn last_refusal(&self) -> Result<Option<(u64, String)>> {
        let path = self.path.join("refusal");
        let text = read(&path)?;
        let Some(line) = text.lines().next().filter(|line| !line.is_empty()) else {
            return Ok(None);
        };
        let parsed = line
            .strip_prefix("buffer ")
            .and_then(|rest| rest.split_once(": "))
            .and_then(|(id, reason)| Some((number(id).ok()?, reason.to_owned())));
        match parsed {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(Error::Line {
                path,
                error: ParseError(format!("\"{line}\" names no buffer")),
            }),
        }
    }
}

impl Default for Debugfs {
    fn default() -> Self {
        Self::new(Self::PATH)
    }
}

fn read(path: &Path) -> Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => Err(Error::from_file(path, &error)),
    }
}

fn lines<T: FromStr<Err = ParseError>>(path: &Path) -> Result<Vec<T>> {
    read(path)?
        .lines()
        .map(|line| {
            line.parse().map_err(|error| Error::Line {
                path: path.to_owned(),
                error,
            })
        })
        .collect()
}

/// A line of `buffers`.
///
/// ```
/// use cenalloc::debugfs::BufferLine;
///
/// let line: BufferLine = "id=3 inode=12 name=\"frame\" size=4096 state=empty class=any \
///                         below=2^32 segments=1 align=4096 coherent=0 allocator=- users=2 maps=0 \
///                         kernel_maps=0 holders=0 waiting=0 late=0 relocations=0 refusals=0 \
///                         refusal=\"\""
///     .parse()?;
/// assert_eq!(line.name.as_deref(), Some("frame"));
/// assert_eq!(line.combined.to_string(), "below 4 GiB, contiguous, aligned to 4 KiB");
/// # Ok::<(), cenalloc::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BufferLine {
    /// The buffer's number.
    pub id: u64,
    /// The number of its inode, as in `/proc/PID/fdinfo` and `/proc/PID/maps`.
    pub inode: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its length in bytes.
    pub size: u64,
    /// Whether it has memory.
    pub state: State,
    /// What all users need together of the memory.
    pub combined: Constraints,
    /// Who provided the memory, if it has any.
    pub allocator: Option<String>,
    /// How many users there are.
    pub users: u64,
    /// How many of them have it mapped.
    pub maps: u64,
    /// How many mappings of the kernel there are.
    pub kernel_maps: u64,
    /// How many hold the memory where it is.
    pub holders: u64,
    /// How many calls of DECLARE wait for it to be let go.
    pub waiting: u64,
    /// How often a user came too late.
    pub late_refusals: u64,
    /// How often the memory was relocated.
    pub relocations: u64,
    /// How many refusals there were.
    pub refusals: u64,
    /// The last one, in words.
    pub refusal: Option<String>,
    /// Other keys and their values.
    pub other: BTreeMap<String, String>,
}

/// A line of `devices`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserLine {
    /// The number of the buffer.
    pub buffer: u64,
    /// The user's name.
    pub name: String,
    /// What it contributed.
    pub constraints: Constraints,
    /// Whether it has the buffer mapped.
    pub mapped: bool,
    /// Whether it holds the memory where it is.
    pub pinned: bool,
    /// Whether it was declared.
    pub declared: bool,
    /// Whether its second choice counts.
    pub second_choice: bool,
    /// How many others came too late because it held the memory.
    pub late_refusals: u64,
    /// Other keys and their values.
    pub other: BTreeMap<String, String>,
}

/// The keys and values of a line.
#[derive(Debug)]
struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Reads a line. The kernel writes no quotation mark inside of quotation marks.
    fn parse(line: &str) -> Result<Self, ParseError> {
        let mut fields = BTreeMap::new();
        let mut rest = line.trim_end();
        while !rest.is_empty() {
            let Some((key, value, after)) = Self::first(rest) else {
                return wrong(format!("\"{line}\" is not as expected"));
            };
            if fields.insert(key.to_owned(), value.to_owned()).is_some() {
                return wrong(format!("\"{line}\" has {key} twice"));
            }
            rest = after;
        }
        Ok(Self(fields))
    }

    /// Returns the first key of `text`, its value, and what comes after.
    fn first(text: &str) -> Option<(&str, &str, &str)> {
        let (key, value) = text.split_once('=')?;
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            // An empty value is written in quotation marks: this one was cut off.
            None => match value.find(' ').unwrap_or(value.len()) {
                0 => return None,
                end => value.split_at(end),
            },
        };
        let after = match after.strip_prefix(' ') {
            Some(after) => after,
            None if after.is_empty() => after,
            None => return None,
        };
        let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        is_key.then_some((key, value, after))
    }

    fn text(&mut self, key: &str) -> Result<String, ParseError> {
        match self.0.remove(key) {
            Some(value) => Ok(value),
            None => wrong(format!("there is no {key}")),
        }
    }

    /// A text that may be empty.
    fn name(&mut self, key: &str) -> Result<Option<String>, ParseError> {
        Ok(Some(self.text(key)?).filter(|text| !text.is_empty()))
    }

    fn number(&mut self, key: &str) -> Result<u64, ParseError> {
        number(&self.text(key)?).map_err(|why| ParseError(format!("{key}: {why}")))
    }

    fn flag(&mut self, key: &str) -> Result<bool, ParseError> {
        match self.text(key)?.as_str() {
            "0" => Ok(false),
            "1" => Ok(true),
            other => wrong(format!("{key} is \"{other}\", neither 0 nor 1")),
        }
    }

    /// A value that may be `any`.
    fn bound<T: FromStr<Err = ParseError>>(&mut self, key: &str) -> Result<Option<T>, ParseError> {
        match self.text(key)?.as_str() {
            "any" => Ok(None),
            value => value
                .parse()
                .map(Some)
                .map_err(|why| ParseError(format!("{key}: {why}"))),
        }
    }

    fn above(&mut self, key: &str) -> Result<Option<u64>, ParseError> {
        Ok(self.bound(key)?.map(|Above(last)| last))
    }

    fn placement(&mut self) -> Result<Constraints, ParseError> {
        let segments = self.bound("segments")?.map(|Number(most)| most);
        let Ok(max_segments) = segments.map(u32::try_from).transpose() else {
            return wrong("segments is more than 32 bits hold");
        };
        Ok(Constraints {
            access_mask: self.bound("class")?.map(|Classes(mask)| mask),
            max_address: self.above("below")?,
            max_segments,
            alignment: Some(self.number("align")?).filter(|align| *align > 1),
            coherent: self.flag("coherent")?,
            ..Constraints::ANY
        })
    }
}

/// A plain number.
struct Number(u64);

impl FromStr for Number {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        number(text).map(Self)
    }
}

impl FromStr for BufferLine {
    type Err = ParseError;

    fn from_str(line: &str) -> Result<Self, ParseError> {
        let mut fields = Fields::parse(line)?;
        Ok(Self {
            id: fields.number("id")?,
            inode: fields.number("inode")?,
            name: fields.name("name")?,
            size: fields.number("size")?,
            state: match fields.text("state")?.as_str() {
                "empty" => State::Empty,
                "backed" => State::Backed,
                other => return wrong(format!("there is no state \"{other}\"")),
            },
            combined: fields.placement()?,
            allocator: fields.name("allocator")?.filter(|name| name != "-"),
            users: fields.number("users")?,
            maps: fields.number("maps")?,
            kernel_maps: fields.number("kernel_maps")?,
            holders: fields.number("holders")?,
            waiting: fields.number("waiting")?,
            late_refusals: fields.number("late")?,
            relocations: fields.number("relocations")?,
            refusals: fields.number("refusals")?,
            refusal: fields.name("refusal")?,
            other: fields.0,
        })
    }
}

impl FromStr for UserLine {
    type Err = ParseError;

    fn from_str(line: &str) -> Result<Self, ParseError> {
        let mut fields = Fields::parse(line)?;
        let Ok(priority) = u16::try_from(fields.number("priority")?) else {
            return wrong("priority is more than 16 bits hold");
        };
        Ok(Self {
            buffer: fields.number("buffer")?,
            name: fields.text("device")?,
            constraints: Constraints {
                max_segment_size: fields.bound("segsize")?.map(|Number(most)| most),
                segment_boundary_mask: fields.above("boundary")?,
                priority,
                ..fields.placement()?
            },
            mapped: fields.flag("mapped")?,
            pinned: fields.flag("pinned")?,
            declared: fields.flag("declared")?,
            second_choice: fields.flag("second")?,
            late_refusals: fields.number("late")?,
            other: fields.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &str = "id=17 inode=4711 name=\"a b=c\" size=8388608 state=backed \
                        class=system,cma below=0x140000000 segments=any align=65536 coherent=1 \
                        allocator=system users=2 maps=1 kernel_maps=3 holders=4 waiting=5 late=6 \
                        relocations=7 refusals=8 refusal=\"edu 0000:00:05.0 needs addresses below \
                        256 MiB, the memory is at 0x140000000; free some\"\n";

    const USER: &str = "buffer=17 device=\"edu 0000:00:05.0\" class=any below=2^28 segments=any \
                        align=1 coherent=0 segsize=any boundary=2^32 priority=65535 mapped=1 \
                        pinned=1 declared=0 second=1 late=3";

    #[test]
    fn a_line_of_the_kernel() {
        let line: BufferLine = LINE.parse().unwrap();
        assert_eq!((line.id, line.inode, line.size), (17, 4711, 8 << 20));
        assert_eq!(line.name.as_deref(), Some("a b=c"));
        let combined = Constraints {
            access_mask: Some(5),
            max_address: Some(0x1_3fff_ffff),
            alignment: Some(65_536),
            coherent: true,
            ..Constraints::ANY
        };
        assert_eq!((line.state, line.combined), (State::Backed, combined));
        assert_eq!(line.allocator.as_deref(), Some("system"));
        assert_eq!((line.users, line.maps, line.kernel_maps), (2, 1, 3));
        assert_eq!((line.holders, line.waiting), (4, 5));
        assert_eq!((line.late_refusals, line.relocations), (6, 7));
        assert_eq!(line.refusals, 8);
        assert!(line.refusal.unwrap().ends_with("0x140000000; free some"));
        assert!(line.other.is_empty());
    }

    #[test]
    fn a_line_with_little_in_it() {
        let line: BufferLine =
            "id=1 inode=2 name=\"\" size=4096 state=empty class=any below=any segments=1 align=1 \
             coherent=0 allocator=- users=0 maps=0 kernel_maps=0 holders=0 waiting=0 late=0 \
             relocations=0 refusals=0 refusal=\"\""
                .parse()
                .unwrap();
        assert_eq!(
            (line.name, line.allocator, line.refusal),
            (None, None, None)
        );
        assert_eq!(line.state, State::Empty);
        assert_eq!(line.combined, Constraints::ANY.contiguous());
    }

    #[test]
    fn a_user_of_the_kernel() {
        let line: UserLine = USER.parse().unwrap();
        assert_eq!((line.buffer, line.name.as_str()), (17, "edu 0000:00:05.0"));
        let constraints = Constraints::ANY
            .max_address(0xfff_ffff)
            .segment_boundary_mask(0xffff_ffff)
            .priority(65_535);
        assert_eq!(line.constraints, constraints);
        assert!(line.mapped && line.pinned && !line.declared && line.second_choice);
        assert_eq!(line.late_refusals, 3);
    }

    #[test]
    fn keys_of_a_newer_kernel_are_kept() {
        let line: BufferLine = LINE
            .replace("late=6", "late=6 x=1 y=\"a b\"")
            .parse()
            .unwrap();
        let other = [("x", "1"), ("y", "a b")].map(|(key, value)| (key.into(), value.into()));
        assert_eq!(line.other, BTreeMap::from(other));
        let line: UserLine = (USER.to_owned() + " z=2").parse().unwrap();
        assert_eq!(line.other.len(), 1);
    }

    #[test]
    fn lines_that_are_wrong() {
        for (from, to) in [
            ("id=17 ", ""),
            ("id=17", "id=x"),
            ("state=backed", "state=odd"),
            ("users=2", "users=2 users=2"),
            ("segments=any", "segments=4294967296"),
            ("below=0x140000000", "below=0"),
            ("class=system,cma", "class=vram"),
            ("late=6", "late"),
            ("late=6", "late="),
            ("coherent=1", "coherent=yes"),
            ("name=\"a b=c\"", "name=\"a b=c\"x"),
            ("some\"\n", "some\n"),
        ] {
            assert!(LINE.contains(from));
            let line = LINE.replace(from, to);
            assert!(line.parse::<BufferLine>().is_err(), "{line}");
        }
        for (from, to) in [("65535", "65536"), ("mapped=1", "mapped=2"), ("17", "-")] {
            let line = USER.replacen(from, to, 1);
            assert!(line.parse::<UserLine>().is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn cut_lines_are_no_lines(cut in 0..LINE.len() - 1) {
            prop_assert!(LINE[..cut].parse::<BufferLine>().is_err());
        }

        #[test]
        fn nothing_panics(text in "([a-z_]{1,3}=(\"[ -~]{0,4}\"|[!-~]{0,3})[ =\"]?){0,9}") {
            let _ = text.parse::<BufferLine>();
            let _ = text.parse::<UserLine>();
        }
    }

    #[test]
    fn the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let debugfs = Debugfs::new(directory.path());
        let missing = debugfs.buffers().unwrap_err();
        assert_eq!(
            missing.errno(),
            Some(rustix::io::Errno::NOENT.raw_os_error())
        );
        let write = |file: &str, text: &str| fs::write(directory.path().join(file), text).unwrap();
        write("buffers", LINE);
        write("devices", "");
        write("refusal", "");
        assert_eq!(debugfs.buffers().unwrap().len(), 1);
        assert_eq!(debugfs.users(), Ok(vec![]));
        assert_eq!(debugfs.last_refusal(), Ok(None));
        write("refusal", "buffer 17: x needs love; give some\n");
        let last = Some((17, "x needs love; give some".to_owned()));
        assert_eq!(debugfs.last_refusal(), Ok(last));
        write("refusal", "odd\n");
        assert!(matches!(debugfs.last_refusal(), Err(Error::Line { .. })));
    }
}
