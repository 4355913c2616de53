// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/cenalloc/`: all buffers of the system, and their users.
//!
//! The files have a line a buffer and a line a user, of `key=value` and `key="value"`. What a
//! later kernel adds is kept as it is.

use crate::{
    constraints::Constraints,
    error::{Error, Result},
    query::State,
    units::{number, wrong, Above, ParseError},
};
use std::{
    collections::BTreeMap,
    fmt, fs,
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

    /// The directory at `path`, [`PATH`](Self::PATH) or a copy of one.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// All buffers.
    pub fn buffers(&self) -> Result<Vec<BufferLine>> {
        lines(&self.path.join("buffers"))
    }

    /// All users of all buffers.
    pub fn users(&self) -> Result<Vec<UserLine>> {
        lines(&self.path.join("devices"))
    }

    /// The last refusal of all: the number of the buffer, and the reason in words.
    pub fn last_conflict(&self) -> Result<Option<(u64, String)>> {
        let path = self.path.join("conflict");
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

/// A line of `buffers`; also what QUERY gives as text.
///
/// ```
/// use cenalloc::debugfs::BufferLine;
///
/// let line: BufferLine = "id=3 name=\"frame\" size=4096 state=empty mask=any below=2^32 \
///                         segments=1 align=4096 allocator=- users=2 maps=0 early=0 conflict=\"\""
///     .parse()?;
/// assert_eq!(line.name.as_deref(), Some("frame"));
/// assert_eq!(line.meet.to_string(), "below 2^32, contiguous, aligned to 4 KiB");
/// # Ok::<(), cenalloc::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BufferLine {
    /// The buffer's number.
    pub id: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its length in bytes.
    pub size: u64,
    /// Whether it has memory.
    pub state: State,
    /// What all users need together of the memory.
    pub meet: Constraints,
    /// Who provided the memory, if it has any.
    pub allocator: Option<String>,
    /// How many users there are.
    pub users: u64,
    /// How many of them have it mapped.
    pub maps: u64,
    /// How often a user was refused that could have taken part before the buffer had memory.
    pub early: u64,
    /// How often the memory moved, where the kernel tells.
    pub relocations: Option<u64>,
    /// The last refusal, in words.
    pub conflict: Option<String>,
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
    /// Whether it was declared, where the kernel tells.
    pub declared: Option<bool>,
    /// Whether its second choice counts, where the kernel tells.
    pub second_choice: Option<bool>,
    /// Whether it is attached, where the kernel tells.
    pub attached: Option<bool>,
    /// Whether memory may move while it is mapped, where the kernel tells.
    pub dynamic: Option<bool>,
    /// How many others it kept out, where the kernel tells.
    pub early: Option<u64>,
    /// Other keys and their values.
    pub other: BTreeMap<String, String>,
}

/// The keys and values of a line.
#[derive(Debug, Default)]
struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Reads a line that has each of `required` once.
    ///
    /// A value in quotes may hold quotes itself: names are the users' own. It ends at the first
    /// quote after which the rest of the line still has all keys that have to be there.
    fn parse(line: &str, required: &[&str]) -> Result<Self, ParseError> {
        let mut fields = Self::default();
        let mut steps = 0;
        if fields.parse_rest(line, required, &mut steps) {
            Ok(fields)
        } else {
            wrong(format!("\"{line}\" is not as expected"))
        }
    }

    fn parse_rest(&mut self, rest: &str, required: &[&str], steps: &mut u32) -> bool {
        // Lines that are made to be hard to read end here.
        *steps += 1;
        if *steps > 10_000 {
            return false;
        }
        if rest.is_empty() {
            return required.iter().all(|key| self.0.contains_key(*key));
        }
        let Some((key, value)) = rest.split_once('=') else {
            return false;
        };
        let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if !is_key || self.0.contains_key(key) {
            return false;
        }
        let ends: Vec<_> = match value.strip_prefix('"') {
            None => {
                // The kernel writes no empty value but in quotation marks: this one was cut off.
                match value.find(' ').unwrap_or(value.len()) {
                    0 => vec![],
                    end => vec![(&value[..end], &value[end..])],
                }
            }
            Some(quoted) => quoted
                .match_indices('"')
                .map(|(end, _)| (&quoted[..end], &quoted[end + 1..]))
                .filter(|(_, after)| after.is_empty() || after.starts_with(' '))
                .collect(),
        };
        for (value, after) in ends {
            self.0.insert(key.to_owned(), value.to_owned());
            if self.parse_rest(after.strip_prefix(' ').unwrap_or(after), required, steps) {
                return true;
            }
            self.0.remove(key);
        }
        false
    }

    fn text(&mut self, key: &str) -> Result<String, ParseError> {
        match self.0.remove(key) {
            Some(value) => Ok(value),
            None => wrong(format!("there is no {key}")),
        }
    }

    fn number(&mut self, key: &str) -> Result<u64, ParseError> {
        number(&self.text(key)?)
    }

    fn number_if_there(&mut self, key: &str) -> Result<Option<u64>, ParseError> {
        self.0.remove(key).map(|value| number(&value)).transpose()
    }

    fn flag_if_there(&mut self, key: &str) -> Result<Option<bool>, ParseError> {
        match self.0.remove(key).as_deref() {
            None => Ok(None),
            Some("0") => Ok(Some(false)),
            Some("1") => Ok(Some(true)),
            Some(other) => wrong(format!("{key} is \"{other}\", neither 0 nor 1")),
        }
    }

    fn priority_if_there(&mut self) -> Result<u16, ParseError> {
        let priority = self.number_if_there("priority")?.unwrap_or(0);
        match u16::try_from(priority) {
            Ok(priority) => Ok(priority),
            Err(_) => wrong("priority is more than 16 bits hold"),
        }
    }

    /// A value that may be `any`.
    fn bound(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<u64, ParseError>,
    ) -> Result<Option<u64>, ParseError> {
        match self.text(key)?.as_str() {
            "any" => Ok(None),
            value => parse(value).map(Some),
        }
    }

    fn above(&mut self, key: &str) -> Result<Option<u64>, ParseError> {
        self.bound(key, |value| value.parse::<Above>().map(|above| above.0))
    }

    fn placement(&mut self) -> Result<Constraints, ParseError> {
        let segments = self.bound("segments", number)?;
        let Ok(max_segments) = segments.map(u32::try_from).transpose() else {
            return wrong("segments is more than 32 bits hold");
        };
        Ok(Constraints {
            access_mask: self.bound("mask", number)?,
            max_address: self.above("below")?,
            max_segments,
            alignment: Some(self.number("align")?).filter(|align| *align > 1),
            // Not all kernels tell.
            coherent: self.flag_if_there("coherent")? == Some(true),
            ..Constraints::ANY
        })
    }
}

impl FromStr for BufferLine {
    type Err = ParseError;

    fn from_str(line: &str) -> Result<Self, ParseError> {
        const KEYS: [&str; 13] = [
            "id",
            "name",
            "size",
            "state",
            "mask",
            "below",
            "segments",
            "align",
            "allocator",
            "users",
            "maps",
            "early",
            "conflict",
        ];
        let mut fields = Fields::parse(line.trim_end(), &KEYS)?;
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(Self {
            id: fields.number("id")?,
            name: text(fields.text("name")?),
            size: fields.number("size")?,
            state: match fields.text("state")?.as_str() {
                "empty" => State::Empty,
                "backed" => State::Backed,
                other => return wrong(format!("there is no state \"{other}\"")),
            },
            meet: fields.placement()?,
            allocator: text(fields.text("allocator")?).filter(|name| name != "-"),
            users: fields.number("users")?,
            maps: fields.number("maps")?,
            early: fields.number("early")?,
            relocations: fields.number_if_there("moves")?,
            conflict: text(fields.text("conflict")?),
            other: fields.0,
        })
    }
}

impl FromStr for UserLine {
    type Err = ParseError;

    fn from_str(line: &str) -> Result<Self, ParseError> {
        const KEYS: [&str; 9] = [
            "buffer", "device", "mask", "below", "segments", "align", "segsize", "boundary",
            "mapped",
        ];
        let mut fields = Fields::parse(line.trim_end(), &KEYS)?;
        Ok(Self {
            buffer: fields.number("buffer")?,
            name: fields.text("device")?,
            constraints: Constraints {
                max_segment_size: fields.bound("segsize", number)?,
                segment_boundary_mask: fields.above("boundary")?,
                priority: fields.priority_if_there()?,
                ..fields.placement()?
            },
            mapped: fields.flag_if_there("mapped")? == Some(true),
            declared: fields.flag_if_there("declared")?,
            second_choice: fields.flag_if_there("second")?,
            attached: fields.flag_if_there("attached")?,
            dynamic: fields.flag_if_there("dynamic")?,
            early: fields.number_if_there("early")?,
            other: fields.0,
        })
    }
}

/// Writes what [`Fields::placement`] reads.
fn write_placement(f: &mut fmt::Formatter<'_>, needs: &Constraints) -> fmt::Result {
    match needs.access_mask {
        None => f.write_str("mask=any")?,
        Some(mask) => write!(f, "mask={mask:#x}")?,
    }
    match needs.max_address {
        None => f.write_str(" below=any")?,
        Some(last) => write!(f, " below={}", Above(last))?,
    }
    match needs.max_segments {
        None => f.write_str(" segments=any")?,
        Some(most) => write!(f, " segments={most}")?,
    }
    write!(
        f,
        " align={} coherent={}",
        needs.alignment.unwrap_or(1),
        u8::from(needs.coherent)
    )
}

fn write_other(f: &mut fmt::Formatter<'_>, other: &BTreeMap<String, String>) -> fmt::Result {
    for (key, value) in other {
        write!(f, " {key}=\"{value}\"")?;
    }
    Ok(())
}

impl fmt::Display for BufferLine {
    /// The line, as the kernel writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "id={} name=\"{}\" size={} state={} ",
            self.id,
            self.name.as_deref().unwrap_or(""),
            self.size,
            self.state
        )?;
        write_placement(f, &self.meet)?;
        write!(
            f,
            " allocator={} users={} maps={} early={}",
            self.allocator.as_deref().unwrap_or("-"),
            self.users,
            self.maps,
            self.early
        )?;
        if let Some(relocations) = self.relocations {
            write!(f, " moves={relocations}")?;
        }
        write!(
            f,
            " conflict=\"{}\"",
            self.conflict.as_deref().unwrap_or("")
        )?;
        write_other(f, &self.other)
    }
}

impl fmt::Display for UserLine {
    /// The line, as the kernel writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "buffer={} device=\"{}\" ", self.buffer, self.name)?;
        write_placement(f, &self.constraints)?;
        match self.constraints.max_segment_size {
            None => f.write_str(" segsize=any")?,
            Some(size) => write!(f, " segsize={size}")?,
        }
        match self.constraints.segment_boundary_mask {
            None => f.write_str(" boundary=any")?,
            Some(mask) => write!(f, " boundary={}", Above(mask))?,
        }
        write!(
            f,
            " priority={} mapped={}",
            self.constraints.priority,
            u8::from(self.mapped)
        )?;
        for (key, flag) in [
            ("declared", self.declared),
            ("second", self.second_choice),
            ("attached", self.attached),
            ("dynamic", self.dynamic),
        ] {
            if let Some(flag) = flag {
                write!(f, " {key}={}", u8::from(flag))?;
            }
        }
        if let Some(early) = self.early {
            write!(f, " early={early}")?;
        }
        write_other(f, &self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{conflict::tests::conflicts, constraints::tests::constraints};
    use proptest::{option::of, prelude::*};

    /// Names as the kernel shows them, without quotes.
    fn names() -> impl Strategy<Value = String> {
        "[!#-~][ !#-~]{0,30}"
    }

    fn others() -> impl Strategy<Value = BTreeMap<String, String>> {
        proptest::collection::btree_map("x_[a-z]{1,6}", "[a-z =]{0,6}", 0..3)
    }

    fn buffer_lines() -> impl Strategy<Value = BufferLine> {
        (
            (any::<u64>(), of(names()), any::<u64>(), any::<bool>()),
            constraints(),
            of("[a-z][a-z0-9-]{0,15}"),
            (any::<u64>(), any::<u64>(), any::<u64>(), of(any::<u64>())),
            of(conflicts()),
            others(),
        )
            .prop_map(
                |(ids, meet, allocator, counts, conflict, other)| BufferLine {
                    id: ids.0,
                    name: ids.1,
                    size: ids.2,
                    state: if ids.3 { State::Empty } else { State::Backed },
                    meet: Constraints {
                        max_segment_size: None,
                        segment_boundary_mask: None,
                        priority: 0,
                        ..meet
                    },
                    allocator,
                    users: counts.0,
                    maps: counts.1,
                    early: counts.2,
                    relocations: counts.3,
                    conflict: conflict.map(|conflict| conflict.to_string()),
                    other,
                },
            )
    }

    fn user_lines() -> impl Strategy<Value = UserLine> {
        let flag = || of(any::<bool>());
        (
            (any::<u64>(), names(), constraints()),
            (
                any::<bool>(),
                flag(),
                flag(),
                flag(),
                flag(),
                of(any::<u64>()),
            ),
            others(),
        )
            .prop_map(|((buffer, name, constraints), flags, other)| UserLine {
                buffer,
                name,
                constraints,
                mapped: flags.0,
                declared: flags.1,
                second_choice: flags.2,
                attached: flags.3,
                dynamic: flags.4,
                early: flags.5,
                other,
            })
    }

    proptest! {
        #[test]
        fn buffer_lines_come_back(line in buffer_lines()) {
            prop_assert_eq!(line.to_string().parse(), Ok(line));
        }

        #[test]
        fn user_lines_come_back(line in user_lines()) {
            prop_assert_eq!(line.to_string().parse(), Ok(line));
        }

        // Whatever a buffer is called, the rest of its line is not changed by it.
        #[test]
        fn names_forge_nothing(
            line in buffer_lines(),
            name in "([!-~]|\" | |=|\"| size=1| id=9| conflict=\"){0,31}",
        ) {
            let mut line = BufferLine { other: BTreeMap::new(), ..line };
            line.name = Some(name.chars().take(31).collect());
            let read: BufferLine = line.to_string().parse().unwrap();
            let same = BufferLine { name: line.name.clone(), other: BTreeMap::new(), ..read };
            let name = line.name.as_deref().unwrap_or("");
            let line = BufferLine { name: Some(name.to_owned()), ..line };
            prop_assert_eq!(same, line);
        }

        #[test]
        fn cut_lines_are_no_lines(line in buffer_lines(), cut in 0..1000usize) {
            let line = BufferLine { other: BTreeMap::new(), ..line }.to_string();
            if cut < line.len() {
                prop_assert!(line[..cut].parse::<BufferLine>().is_err());
            }
        }
    }

    const LINE: &str = "id=17 name=\"a \"b\" c\" size=8388608 state=backed mask=0x3 \
                        below=0x1_4000_0000 segments=any align=65536 coherent=1 allocator=system users=2 \
                        maps=1 early=3 moves=2 conflict=\"edu 0000:00:05.0 needs one contiguous segment, \
                        memory is in 9 segments\"\n";

    #[test]
    fn a_line_of_the_kernel() {
        let line: BufferLine = LINE.parse().unwrap();
        assert_eq!(line.name.as_deref(), Some("a \"b\" c"));
        let meet = Constraints {
            access_mask: Some(3),
            max_address: Some(0x1_3fff_ffff),
            alignment: Some(65_536),
            coherent: true,
            ..Constraints::ANY
        };
        assert_eq!(line.meet, meet);
        assert_eq!(line.relocations, Some(2));
        assert_eq!(line.to_string(), LINE.trim_end());
        assert!(line.conflict.unwrap().ends_with("9 segments"));
    }

    #[test]
    fn a_user_of_the_kernel() {
        let text =
            "buffer=17 device=\"edu 0000:00:05.0\" mask=any below=2^28 segments=any align=1 \
                    coherent=0 segsize=any boundary=2^32 priority=65535 mapped=1 declared=0 \
                    second=1 early=3";
        let line: UserLine = text.parse().unwrap();
        assert_eq!((line.declared, line.early), (Some(false), Some(3)));
        assert_eq!(
            (line.second_choice, line.constraints.priority),
            (Some(true), 65_535)
        );
        let high = text.replace("65535", "65536");
        assert!(high.parse::<UserLine>().is_err());
        assert!(line.other.is_empty());
        assert_eq!(line.to_string(), text);
    }

    #[test]
    fn lines_that_are_wrong() {
        for (from, to) in [
            ("id=17 ", ""),
            ("id=17", "id=x"),
            ("state=backed", "state=odd"),
            ("users=2", "users=2 users=2"),
            ("segments=any", "segments=4294967296"),
            ("below=0x1_4000_0000", "below=0"),
            ("early=3", "early"),
            ("coherent=1", "coherent=yes"),
            ("segments\"\n", "segments\n"),
        ] {
            assert!(LINE.contains(from));
            let line = LINE.replace(from, to);
            assert!(line.parse::<BufferLine>().is_err(), "{line}");
        }
        let user = "buffer=1 device=\"x\" mask=any below=any segments=any align=1 segsize=any \
                    boundary=2^22 mapped=1";
        let line: UserLine = user.parse().unwrap();
        assert!(line.mapped);
        assert_eq!((line.declared, line.early), (None, None));
        assert!(user
            .replace("mapped=1", "mapped=2")
            .parse::<UserLine>()
            .is_err());
    }

    #[test]
    fn hard_lines_take_no_time() {
        let line = "a=\"".to_owned() + &"\" b=\"\" c=\"".repeat(200);
        assert!(line.parse::<BufferLine>().is_err());
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
        write("conflict", "");
        assert_eq!(debugfs.buffers().unwrap().len(), 1);
        assert_eq!(debugfs.users(), Ok(vec![]));
        assert_eq!(debugfs.last_conflict(), Ok(None));
        write("conflict", "buffer 17: x needs love\n");
        let last = Some((17, "x needs love".to_owned()));
        assert_eq!(debugfs.last_conflict(), Ok(last));
        write("conflict", "odd\n");
        assert!(matches!(debugfs.last_conflict(), Err(Error::Line { .. })));
    }
}
