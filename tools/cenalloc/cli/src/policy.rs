// SPDX-License-Identifier: GPL-2.0

//! What the administrator knows of devices' needs: from TOML into configfs, and back.
//!
//! In configfs each device has a directory `<bus>:<device>` with an attribute a field. In TOML it
//! has a table:
//!
//! ```toml
//! [platform."vivid.0"]
//! max_address = "2^32"
//! max_segments = 1
//!
//! [module.vivid]
//! known_needs = false
//! ```
//!
//! In place of a bus, `driver` and `module` stand for all devices of a driver or a module.

use crate::{
    args::{Args, Policy, PolicyCommand},
    emit,
    failure::{Failure, Result},
    recipes::{self, Recipe},
    show,
    table::{Align, Table},
    view::{PolicyChange, PolicyChanges, PolicyDevice, PolicyDevices, PolicyNeeds},
};
use cenalloc::{Classes, Constraints, Field, Limit, Size};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

/// Where the policy is.
pub(crate) const CONFIGFS: &str = "/sys/kernel/config/dma_buf_constraints";

/// A device by its bus and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeviceId {
    bus: String,
    name: String,
}

impl DeviceId {
    fn new(bus: &str, name: &str) -> Result<Self> {
        let is_good = |text: &str, most| {
            !text.is_empty() && text.len() <= most && !text.contains(['/', '\0', '\n'])
        };
        // As long as DECLARE takes them.
        if is_good(bus, 31) && !bus.contains(':') && is_good(name, 63) {
            Ok(Self {
                bus: bus.to_owned(),
                name: name.to_owned(),
            })
        } else {
            Err(Failure::new(format!("[{bus}.{name:?}] names no device")))
        }
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.bus, self.name)
    }
}

/// What is set for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    needs: Constraints,
    /// Beyond what it needs.
    prefers_contiguous: bool,
    /// Whether what the kernel knows of its driver counts.
    known_needs: bool,
}

impl Said {
    /// Nothing.
    const NOTHING: Self = Self {
        needs: Constraints::ANY,
        prefers_contiguous: false,
        known_needs: true,
    };
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.needs.fmt(f)?;
        if self.prefers_contiguous {
            f.write_str(", prefers contiguous")?;
        }
        if !self.known_needs {
            f.write_str(", nothing is known")?;
        }
        Ok(())
    }
}

impl From<&Said> for PolicyNeeds {
    fn from(said: &Said) -> Self {
        Self {
            needs: (&said.needs).into(),
            prefers_contiguous: said.prefers_contiguous,
            known_needs: said.known_needs,
        }
    }
}

/// What is set for devices.
pub(crate) type Needs = BTreeMap<DeviceId, Said>;

/// Where a policy holds.
pub(crate) trait Store {
    /// The devices that it is about.
    fn devices(&self) -> Result<Vec<DeviceId>>;
    /// What is set for a device.
    fn get(&self, device: &DeviceId) -> Result<Said>;
    /// Sets all fields of a device.
    fn set(&mut self, device: &DeviceId, said: &Said) -> Result<()>;
    /// Forgets a device.
    fn remove(&mut self, device: &DeviceId) -> Result<()>;

    /// All of it.
    fn all(&self) -> Result<Needs> {
        self.devices()?
            .into_iter()
            .map(|device| {
                let needs = self.get(&device)?;
                Ok((device, needs))
            })
            .collect()
    }

    /// Makes it `wanted`; with `prune`, without any other device. The result tells what was done,
    /// or, with `dry_run`, what would be.
    fn apply(&mut self, wanted: &Needs, prune: bool, dry_run: bool) -> Result<Vec<Change>> {
        let now = self.all()?;
        let mut done = Vec::new();
        for (device, needs) in wanted {
            let before = now.get(device).copied();
            if before != Some(*needs) {
                if !dry_run {
                    self.set(device, needs)?;
                }
                done.push(Change {
                    device: device.clone(),
                    before,
                    after: Some(*needs),
                });
            }
        }
        for (device, needs) in now {
            if prune && !wanted.contains_key(&device) {
                if !dry_run {
                    self.remove(&device)?;
                }
                done.push(Change {
                    device,
                    before: Some(needs),
                    after: None,
                });
            }
        }
        Ok(done)
    }
}

/// A change of what is set for a device; `None` is nothing at all.
#[derive(Debug, PartialEq)]
pub(crate) struct Change {
    device: DeviceId,
    before: Option<Said>,
    after: Option<Said>,
}

/// Whether an entry is of a device now.
#[derive(Debug, PartialEq)]
enum Match {
    /// Its bus is not there, and may never be.
    NoBus,
    NoDevice,
    NoDriver,
    Driver(String),
    /// So many, of a driver or a module.
    Devices(usize),
}

/// The devices that are bound to a driver now, whose directory in sysfs this is.
fn bound_devices(driver: &Path) -> usize {
    let Ok(entries) = fs::read_dir(driver) else {
        return 0;
    };
    let devices = entries.flatten().filter(|entry| {
        entry.file_name() != "module" && entry.file_type().is_ok_and(|kind| kind.is_symlink())
    });
    devices.count()
}

impl Match {
    fn of(sysfs: &Path, device: &DeviceId) -> Self {
        let paths = |directory: PathBuf| {
            let entries = fs::read_dir(directory).into_iter().flatten();
            entries.flatten().map(|entry| entry.path())
        };
        if device.bus == "driver" {
            let buses = paths(sysfs.join("bus"));
            let drivers = buses.map(|bus| bus.join("drivers").join(&device.name));
            return Self::Devices(drivers.map(|driver| bound_devices(&driver)).sum());
        }
        if device.bus == "module" {
            let drivers = paths(sysfs.join("module").join(&device.name).join("drivers"));
            return Self::Devices(drivers.map(|driver| bound_devices(&driver)).sum());
        }
        let bus = sysfs.join("bus").join(&device.bus);
        let path = bus.join("devices").join(&device.name);
        if !bus.exists() {
            return Self::NoBus;
        }
        if !path.exists() {
            return Self::NoDevice;
        }
        let driver = fs::canonicalize(path.join("driver"));
        match driver.as_deref().map(Path::file_name) {
            Ok(Some(driver)) => Self::Driver(driver.to_string_lossy().into_owned()),
            _ => Self::NoDriver,
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBus => f.write_str("no such bus"),
            Self::NoDevice => f.write_str("no device now"),
            Self::NoDriver => f.write_str("a device without a driver"),
            Self::Driver(driver) => write!(f, "driver {driver}"),
            Self::Devices(0) => f.write_str("no device now"),
            Self::Devices(1) => f.write_str("1 device"),
            Self::Devices(count) => write!(f, "{count} devices"),
        }
    }
}

/// The policy in configfs, or in a directory that looks the same.
#[derive(Debug)]
pub(crate) struct Configfs {
    path: PathBuf,
}

impl Configfs {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn directory(&self, device: &DeviceId) -> PathBuf {
        self.path.join(device.to_string())
    }
}

fn failure(path: &Path) -> impl Fn(std::io::Error) -> Failure + '_ {
    |error| {
        let failure = Failure::from_io(&path.display().to_string(), &error);
        match error.kind() {
            ErrorKind::NotFound => failure.hint(
                "Is the module loaded (modprobe dma_buf_constraints), and configfs mounted \
                 (mount -t configfs none /sys/kernel/config)?",
            ),
            ErrorKind::PermissionDenied => failure.hint("That takes root."),
            _ => failure,
        }
    }
}

impl Store for Configfs {
    fn devices(&self) -> Result<Vec<DeviceId>> {
        let mut devices = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failure(&self.path))? {
            let entry = entry.map_err(failure(&self.path))?;
            if !entry.file_type().map_err(failure(&entry.path()))?.is_dir() {
                continue;
            }
            let name = entry.file_name();
            // A device's name may have colons; that of a bus has none.
            let parts = name.to_str().and_then(|name| name.split_once(':'));
            let (bus, name) = parts.ok_or_else(|| {
                let path = entry.path();
                Failure::new(format!("{}: that is not <bus>:<device>", path.display()))
            })?;
            devices.push(DeviceId::new(bus, name)?);
        }
        devices.sort();
        Ok(devices)
    }

    fn get(&self, device: &DeviceId) -> Result<Said> {
        let directory = self.directory(device);
        let mut said = Said::NOTHING;
        let mut read = |name: &str, set: &dyn Fn(&mut Said, Option<u64>) -> _| {
            let path = directory.join(name);
            match fs::read_to_string(&path) {
                Ok(text) => attribute(text.trim())
                    .and_then(|value| set(&mut said, value))
                    .map_err(|why: String| Failure::new(format!("{}: {why}", path.display()))),
                // A kernel that does not know the field.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(failure(&path)(error)),
            }
        };
        for field in Field::OF_CONSTRAINTS {
            read(field.name(), &|said, value| {
                set(&mut said.needs, field, value)
            })?;
        }
        read(PRIORITY, &|said, value| {
            set_priority(&mut said.needs, value)
        })?;
        read(PREFERS_CONTIGUOUS, &|said, value| {
            flag(value).map(|prefers| said.prefers_contiguous = prefers)
        })?;
        read(KNOWN_NEEDS, &|said, value| {
            flag(value).map(|counts| said.known_needs = counts)
        })?;
        Ok(said)
    }

    fn set(&mut self, device: &DeviceId, said: &Said) -> Result<()> {
        let needs = &said.needs;
        let directory = self.directory(device);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(failure(&directory)(error));
            }
            _ => {}
        }
        let write = |name: &str, value: Option<u64>, text: &dyn Fn(u64) -> String| {
            let path = directory.join(name);
            // A field that the kernel does not know need not be taken back.
            if value.is_none() && !path.exists() {
                return Ok(());
            }
            fs::write(&path, text(value.unwrap_or(0))).map_err(failure(&path))
        };
        for field in Field::OF_CONSTRAINTS {
            write(field.name(), needs.get(field), &|value| match field {
                Field::AccessMask | Field::MaxAddress | Field::SegmentBoundary => {
                    format!("{value:#x}\n")
                }
                _ => format!("{value}\n"),
            })?;
        }
        let priority = Some(needs.priority.into()).filter(|priority| *priority != 0);
        write(PRIORITY, priority, &|value| format!("{value}\n"))?;
        let prefers = said.prefers_contiguous.then_some(1);
        write(PREFERS_CONTIGUOUS, prefers, &|value| format!("{value}\n"))?;
        let path = directory.join(KNOWN_NEEDS);
        // A kernel without it knows nothing.
        if said.known_needs && !path.exists() {
            return Ok(());
        }
        let counts = u8::from(said.known_needs);
        fs::write(&path, format!("{counts}\n")).map_err(failure(&path))
    }

    fn remove(&mut self, device: &DeviceId) -> Result<()> {
        let directory = self.directory(device);
        fs::remove_dir(&directory).map_err(failure(&directory))
    }
}

/// The value of an attribute: a number, where 0, and `any`, is "don't care".
fn attribute(text: &str) -> Result<Option<u64>, String> {
    if text == "any" {
        return Ok(None);
    }
    // Of a limit's forms only plain numbers are ever read here.
    let Limit(value) = text.parse().map_err(|why| format!("{why}"))?;
    Ok(Some(value).filter(|value| *value != 0 && *value != u64::MAX))
}

/// Sets one field.
fn set(needs: &mut Constraints, field: Field, value: Option<u64>) -> Result<(), String> {
    match field {
        Field::AccessMask => needs.access_mask = value,
        Field::MaxAddress => needs.max_address = value,
        Field::MaxSegmentSize => needs.max_segment_size = value,
        Field::SegmentBoundary => needs.segment_boundary_mask = value,
        Field::Alignment => needs.alignment = value,
        Field::Coherent => needs.coherent = flag(value)?,
        _ => {
            let value = value.map(u32::try_from).transpose();
            needs.max_segments = value.map_err(|_| "that is more than 32 bits hold")?;
        }
    }
    Ok(())
}

/// Reads a flag.
fn flag(value: Option<u64>) -> Result<bool, String> {
    match value {
        None | Some(0) => Ok(false),
        Some(1) => Ok(true),
        Some(_) => Err("that is neither 0 nor 1".to_owned()),
    }
}

/// The attribute of what is preferred, which is no [`Field`] either.
const PREFERS_CONTIGUOUS: &str = "prefers_contiguous";

/// The attribute that says whether what is known of the driver counts.
const KNOWN_NEEDS: &str = "known_needs";

/// The attribute of the priority. It is no [`Field`]: no reason ever names it.
const PRIORITY: &str = "priority";

/// Sets the priority.
fn set_priority(needs: &mut Constraints, value: Option<u64>) -> Result<(), String> {
    needs.priority = u16::try_from(value.unwrap_or(0))
        .map_err(|_| "that is more than 16 bits hold".to_owned())?;
    Ok(())
}

/// A number in TOML: 64 bits do not all fit into an integer there.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Number {
    Integer(u64),
    Text(String),
}

impl Number {
    fn text(&self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// A device in TOML.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    access_mask: Option<Number>,
    max_address: Option<Number>,
    max_segments: Option<Number>,
    max_segment_size: Option<Number>,
    segment_boundary_mask: Option<Number>,
    alignment: Option<Number>,
    coherent: Option<bool>,
    priority: Option<u16>,
    prefers_contiguous: Option<bool>,
    known_needs: Option<bool>,
}

impl Entry {
    fn get(&self, field: Field) -> Option<&Number> {
        match field {
            Field::AccessMask => self.access_mask.as_ref(),
            Field::MaxAddress => self.max_address.as_ref(),
            Field::MaxSegments => self.max_segments.as_ref(),
            Field::MaxSegmentSize => self.max_segment_size.as_ref(),
            Field::SegmentBoundary => self.segment_boundary_mask.as_ref(),
            Field::Alignment => self.alignment.as_ref(),
            _ => None,
        }
    }

    fn said(&self) -> Result<Said, String> {
        let mut needs = Constraints {
            coherent: self.coherent.unwrap_or(false),
            priority: self.priority.unwrap_or(0),
            ..Constraints::ANY
        };
        for field in Field::OF_CONSTRAINTS {
            let Some(number) = self.get(field) else {
                continue;
            };
            let text = number.text();
            let value = match field {
                Field::AccessMask => text.parse().map(|Classes(mask)| mask),
                Field::MaxAddress | Field::SegmentBoundary => text.parse().map(|Limit(last)| last),
                _ => text.parse().map(|Size(size)| size),
            };
            value
                .map_err(|why| why.to_string())
                .and_then(|value| set(&mut needs, field, Some(value)))
                .map_err(|why| format!("{field}: {why}"))?;
        }
        needs.check().map_err(|why| why.to_string())?;
        Ok(Said {
            needs,
            prefers_contiguous: self.prefers_contiguous.unwrap_or(false),
            known_needs: self.known_needs.unwrap_or(true),
        })
    }
}

impl From<&Said> for Entry {
    fn from(said: &Said) -> Self {
        let needs = &said.needs;
        fn text(value: impl fmt::Display) -> Number {
            Number::Text(value.to_string())
        }
        Self {
            access_mask: needs.access_mask.map(|mask| text(Classes(mask))),
            max_address: needs.max_address.map(|last| text(Limit(last))),
            max_segments: needs.max_segments.map(|most| Number::Integer(most.into())),
            max_segment_size: needs.max_segment_size.map(|size| text(Size(size))),
            segment_boundary_mask: needs.segment_boundary_mask.map(|mask| text(Limit(mask))),
            alignment: needs.alignment.map(|size| text(Size(size))),
            coherent: needs.coherent.then_some(true),
            priority: Some(needs.priority).filter(|priority| *priority != 0),
            prefers_contiguous: said.prefers_contiguous.then_some(true),
            known_needs: (!said.known_needs).then_some(false),
        }
    }
}

type Document = BTreeMap<String, BTreeMap<String, Entry>>;

/// Reads TOML.
pub(crate) fn from_toml(text: &str) -> Result<Needs> {
    let document: Document = toml::from_str(text).map_err(|e| {
        let start = e.span().map_or(0, |span| span.start);
        let number = text[..start].matches('\n').count();
        let line = text.lines().nth(number).unwrap_or_default();
        Failure::new(format!(
            "line {}, \"{}\": {}",
            number + 1,
            line.trim(),
            e.message()
        ))
    })?;
    let mut needs = Needs::new();
    for (bus, devices) in &document {
        for (name, entry) in devices {
            let wrong = |why| Failure::new(format!("[{bus}.{name:?}] {why}"));
            let said = entry.said().map_err(wrong)?;
            needs.insert(DeviceId::new(bus, name)?, said);
        }
    }
    Ok(needs)
}

/// Writes TOML.
fn to_toml(needs: &Needs) -> Result<String> {
    let mut document = Document::new();
    for (device, said) in needs {
        let devices = document.entry(device.bus.clone()).or_default();
        devices.insert(device.name.clone(), said.into());
    }
    toml::to_string(&document).map_err(|error| Failure::new(error.to_string()))
}

/// `cenalloc policy`.
pub(crate) fn policy(args: &Args, policy: &Policy) -> Result<()> {
    let mut store = Configfs::new(&policy.configfs);
    match &policy.command {
        PolicyCommand::Show => {
            let needs = store.all()?;
            show(args, &view(&policy.sysfs, &needs), || {
                text(&policy.sysfs, &needs)
            })
        }
        PolicyCommand::Save { file } => {
            let needs = store.all()?;
            if args.json {
                return Err(Failure::new("save writes TOML: `policy show` prints JSON"));
            }
            let toml = to_toml(&needs)?;
            match file {
                None => emit(&toml),
                Some(path) => fs::write(path, toml)
                    .map_err(|error| Failure::from_io(&path.display().to_string(), &error)),
            }
        }
        PolicyCommand::Recipes { board: Some(board) } => {
            if args.json {
                return Err(Failure::new(
                    "a recipe is TOML: `policy recipes` prints JSON",
                ));
            }
            emit(Recipe::of(Some(board), &args.procfs)?.toml)
        }
        PolicyCommand::Recipes { board: None } => {
            let view = recipes::view(&args.procfs)?;
            show(args, &view, || recipes::text(&view))
        }
        PolicyCommand::Load {
            file,
            board,
            prune,
            dry_run,
        } => {
            let (name, text) = match board {
                None => source(file.as_deref())?,
                Some(board) => {
                    let recipe = Recipe::of(board.as_deref(), &args.procfs)?;
                    (recipe.name.to_owned(), recipe.toml.to_owned())
                }
            };
            let needs = from_toml(&text).map_err(|failure| Failure {
                message: format!("{name}: {}", failure.message),
                ..failure
            })?;
            let warnings = warnings(&policy.sysfs, &needs);
            if !args.json {
                for warning in &warnings {
                    eprintln!("cenalloc: warning: {}", crate::plain(warning));
                }
            }
            let done = store.apply(&needs, *prune, *dry_run)?;
            let view = PolicyChanges {
                changes: done.iter().map(Into::into).collect(),
                warnings,
            };
            show(args, &view, || changes(&policy.sysfs, &done))
        }
    }
}

/// Reads a file, or standard input. The result has its name, too.
fn source(file: Option<&Path>) -> Result<(String, String)> {
    let mut text = String::new();
    let (name, read) = match file {
        None => ("standard input".to_owned(), {
            std::io::stdin().read_to_string(&mut text).map(|_| ())
        }),
        Some(path) => (path.display().to_string(), {
            fs::read_to_string(path).map(|all| text = all)
        }),
    };
    read.map_err(|error| Failure::from_io(&name, &error))?;
    Ok((name, text))
}

/// What may be a slip of the pen: a bus can also come with a module that is loaded later.
fn warnings(sysfs: &Path, needs: &Needs) -> Vec<String> {
    needs
        .keys()
        .filter(|device| Match::of(sysfs, device) == Match::NoBus)
        .map(|device| format!("{device}: there is no bus \"{}\" in /sys/bus", device.bus))
        .collect()
}

/// Returns changes as lines: what held before with a minus, what holds then with a plus.
fn changes(sysfs: &Path, done: &[Change]) -> String {
    let mut lines = Vec::new();
    for change in done {
        let device = &change.device;
        if let Some(before) = &change.before {
            lines.push(format!("- {device}: {before}"));
        }
        if let Some(after) = &change.after {
            let now = Match::of(sysfs, device);
            lines.push(format!("+ {device}: {after} ({now})"));
        }
    }
    lines.iter().map(|line| crate::plain(line) + "\n").collect()
}

impl From<&Change> for PolicyChange {
    fn from(change: &Change) -> Self {
        Self {
            bus: change.device.bus.clone(),
            device: change.device.name.clone(),
            before: change.before.as_ref().map(Into::into),
            after: change.after.as_ref().map(Into::into),
        }
    }
}

fn view(sysfs: &Path, needs: &Needs) -> PolicyDevices {
    let devices = needs.iter().map(|(device, needs)| {
        let now = Match::of(sysfs, device);
        PolicyDevice {
            bus: device.bus.clone(),
            device: device.name.clone(),
            needs: needs.into(),
            present: matches!(
                now,
                Match::NoDriver | Match::Driver(_) | Match::Devices(1..)
            ),
            driver: match now {
                Match::Driver(driver) => Some(driver),
                _ => None,
            },
        }
    });
    PolicyDevices {
        devices: devices.collect(),
    }
}

fn text(sysfs: &Path, needs: &Needs) -> String {
    if needs.is_empty() {
        return "no policy\n".to_owned();
    }
    let mut table = Table::new(&[
        ("BUS", Align::Left),
        ("DEVICE", Align::Left),
        ("NOW", Align::Left),
        ("NEEDS", Align::Left),
    ]);
    for (device, needs) in needs {
        table.row(vec![
            device.bus.clone(),
            device.name.clone(),
            Match::of(sysfs, device).to_string(),
            needs.to_string(),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{option::of, prelude::*};
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn constraints() -> impl Strategy<Value = Constraints> {
        (
            of(1..u64::MAX),
            of(1..u64::MAX),
            of(4096..u64::MAX),
            of(12..64u32),
            of(0..64u32),
            of(1..=u32::MAX),
            any::<bool>(),
            any::<u16>(),
        )
            .prop_map(
                |(mask, last, size, boundary, align, segments, coherent, priority)| Constraints {
                    access_mask: mask,
                    max_address: last,
                    max_segment_size: size,
                    segment_boundary_mask: boundary.map(|bits| (1 << bits) - 1),
                    alignment: align.map(|bits| 1 << bits),
                    max_segments: segments,
                    coherent,
                    priority,
                },
            )
    }

    fn policies() -> impl Strategy<Value = Needs> {
        let id = ("[a-z][a-z0-9_-]{0,8}", "[ -.0-~]{1,20}")
            .prop_map(|(bus, name)| DeviceId::new(&bus, &name).unwrap());
        let said = (constraints(), any::<bool>(), any::<bool>());
        let said = said.prop_map(|(needs, prefers_contiguous, known_needs)| Said {
            needs,
            prefers_contiguous,
            known_needs,
        });
        proptest::collection::btree_map(id, said, 0..5)
    }

    /// What is set where nothing is preferred.
    fn needing(needs: Constraints) -> Said {
        Said {
            needs,
            ..Said::NOTHING
        }
    }

    proptest! {
        #[test]
        fn toml_and_back(needs in policies()) {
            let toml = to_toml(&needs).unwrap();
            prop_assert_eq!(from_toml(&toml), Ok(needs));
        }

        #[test]
        fn configfs_and_back(first in policies(), second in policies()) {
            let directory = TempDir::new().unwrap();
            let mut store = Configfs::new(directory.path());
            store.apply(&first, false, false).unwrap();
            prop_assert_eq!(&store.all().unwrap(), &first);
            store.apply(&second, false, false).unwrap();
            let mut both = first;
            both.extend(second);
            prop_assert_eq!(&store.all().unwrap(), &both);
            // Nothing is left to do.
            prop_assert_eq!(store.apply(&both, true, false), Ok(vec![]));
        }

        #[test]
        fn pruning_leaves_the_file(first in policies(), second in policies()) {
            let mut store = Memory(first.clone());
            store.apply(&second, true, true).unwrap();
            prop_assert_eq!(&store.0, &first);
            store.apply(&second, true, false).unwrap();
            prop_assert_eq!(store.0, second);
        }
    }

    /// A policy that holds nowhere.
    struct Memory(Needs);

    impl Store for Memory {
        fn devices(&self) -> Result<Vec<DeviceId>> {
            Ok(self.0.keys().cloned().collect())
        }

        fn get(&self, device: &DeviceId) -> Result<Said> {
            Ok(self.0[device])
        }

        fn set(&mut self, device: &DeviceId, said: &Said) -> Result<()> {
            self.0.insert(device.clone(), *said);
            Ok(())
        }

        fn remove(&mut self, device: &DeviceId) -> Result<()> {
            self.0.remove(device);
            Ok(())
        }
    }

    #[test]
    fn toml_as_people_write_it() {
        let needs = from_toml(
            "[platform.\"vivid.0\"]\nmax_address = \"2^32\"\nmax_segments = 1\n\
             [pci.\"0000:00:05.0\"]\nmax_segment_size = \"64 KiB\"\naccess_mask = \"system,cma\"\n\
             segment_boundary_mask = 0x3fffff\nalignment = 4096\ncoherent = true\n\
             priority = 7\n[faux.vgem]\ncoherent = false\npriority = 0\n\
             [usb.1-1]\nprefers_contiguous = true\n",
        )
        .unwrap();
        let id = |bus, name| DeviceId::new(bus, name).unwrap();
        assert_eq!(needs.len(), 4);
        assert_eq!(
            needs[&id("platform", "vivid.0")],
            needing(Constraints::ANY.contiguous().max_address(0xffff_ffff))
        );
        let edu = Constraints::ANY
            .max_segment_size(1 << 16)
            .classes(Classes::SYSTEM | Classes::CMA)
            .segment_boundary_mask(0x3f_ffff)
            .alignment(4096)
            .coherent()
            .priority(7);
        assert_eq!(needs[&id("pci", "0000:00:05.0")], needing(edu));
        assert_eq!(needs[&id("faux", "vgem")], Said::NOTHING);
        let preferring = needs[&id("usb", "1-1")];
        assert_eq!(preferring.needs, Constraints::ANY);
        assert!(preferring.prefers_contiguous);
        assert_eq!(preferring.to_string(), "any memory, prefers contiguous");
        assert_eq!(
            to_toml(&needs).unwrap(),
            "[faux.vgem]\n\n[pci.\"0000:00:05.0\"]\naccess_mask = \"system,cma\"\n\
             max_segment_size = \"64 KiB\"\nsegment_boundary_mask = \"2^22\"\n\
             alignment = \"4 KiB\"\ncoherent = true\npriority = 7\n\n[platform.\"vivid.0\"]\nmax_address = \"2^32\"\n\
             max_segments = 1\n\n[usb.1-1]\nprefers_contiguous = true\n"
        );
    }

    #[test]
    fn toml_that_makes_no_sense() {
        for (toml, word) in [
            ("x = 1", "x"),
            ("[platform.x]\nmax_adress = 1", "max_adress"),
            ("[platform.x]\nmax_address = 0", "max_address is 0"),
            ("[platform.x]\nmax_address = -1", "max_address"),
            ("[platform.x]\nmax_address = \"8MB\"", "MiB"),
            ("[platform.x]\nalignment = 3", "power of two"),
            ("[platform.x]\nmax_segment_size = 100", "max_segment_size"),
            (
                "\n[platform.x]\nmax_adress = 1",
                "line 3, \"max_adress = 1\"",
            ),
            (
                "[platform.x]\nsegment_boundary_mask = 4096",
                "segment_boundary_mask",
            ),
            ("[platform.x]\nmax_segments = 4294967296", "32 bits"),
            ("[platform.x]\npriority = 65536", "priority = 65536"),
            ("[platform.x]\npriority = -1", "priority = -1"),
            ("[platform.x]\ncoherent = 1", "coherent = 1"),
            (
                "[platform.x]\nprefers_contiguous = 1",
                "prefers_contiguous = 1",
            ),
            ("[platform.\"a/b\"]", "names no device"),
            ("[platform.\"\"]", "names no device"),
            ("[\"a:b\".c]", "names no device"),
        ] {
            let failure = from_toml(toml).unwrap_err();
            assert!(
                failure.message.contains(word),
                "{toml}: {}",
                failure.message
            );
        }
    }

    #[test]
    fn attributes_are_plain_numbers() {
        let directory = TempDir::new().unwrap();
        let mut store = Configfs::new(directory.path());
        let device = DeviceId::new("pci", "0000:00:05.0").unwrap();
        let needs = Constraints::ANY
            .max_address(0xffff_ffff)
            .contiguous()
            .coherent()
            .priority(65_535);
        let said = Said {
            needs,
            prefers_contiguous: true,
            known_needs: false,
        };
        store.set(&device, &said).unwrap();
        let path = directory.path().join("pci:0000:00:05.0");
        let read = |field: &str| fs::read_to_string(path.join(field)).unwrap();
        assert_eq!(read("max_address"), "0xffffffff\n");
        assert_eq!(read("max_segments"), "1\n");
        assert_eq!(read("coherent"), "1\n");
        assert_eq!(read("priority"), "65535\n");
        assert_eq!(read("prefers_contiguous"), "1\n");
        assert_eq!(read("known_needs"), "0\n");
        assert_eq!(store.get(&device), Ok(said));
        // Taken back by 0.
        store.set(&device, &Said::NOTHING).unwrap();
        assert_eq!(read("max_segments"), "0\n");
        assert_eq!(read("prefers_contiguous"), "0\n");
        assert_eq!(read("known_needs"), "1\n");
        assert_eq!(store.get(&device), Ok(Said::NOTHING));
        fs::write(path.join("alignment"), "any\n").unwrap();
        assert_eq!(store.get(&device), Ok(Said::NOTHING));
        for (field, value) in [
            ("coherent", "2\n"),
            ("priority", "65536\n"),
            ("prefers_contiguous", "2\n"),
            ("known_needs", "2\n"),
        ] {
            fs::write(path.join(field), value).unwrap();
            assert!(store.get(&device).unwrap_err().message.contains(field));
            fs::write(path.join(field), "0\n").unwrap();
        }
        assert!(!store.get(&device).unwrap().known_needs);
        fs::write(path.join("alignment"), "odd\n").unwrap();
        assert!(store
            .get(&device)
            .unwrap_err()
            .message
            .contains("alignment"));
        fs::create_dir(directory.path().join("nocolon")).unwrap();
        assert!(store.devices().unwrap_err().message.contains("nocolon"));
    }

    #[test]
    fn a_directory_that_is_not_there() {
        let directory = TempDir::new().unwrap();
        let store = Configfs::new(directory.path().join("none"));
        assert!(store.all().unwrap_err().hint.unwrap().contains("modprobe"));
    }

    #[test]
    fn a_device_that_cannot_be_removed() {
        let directory = TempDir::new().unwrap();
        let mut store = Configfs::new(directory.path());
        let device = DeviceId::new("pci", "x").unwrap();
        store.set(&device, &Said::NOTHING).unwrap();
        store.remove(&device).unwrap();
        assert_eq!(store.devices(), Ok(vec![]));
        assert!(store.remove(&device).is_err());
    }

    #[test]
    fn drivers_and_modules_have_devices() {
        let sysfs = TempDir::new().unwrap();
        let matched = |bus, name| {
            let id = DeviceId::new(bus, name).unwrap();
            Match::of(sysfs.path(), &id).to_string()
        };
        let driver = sysfs.path().join("bus/platform/drivers/cam");
        fs::create_dir_all(&driver).unwrap();
        fs::create_dir_all(sysfs.path().join("module/camera/drivers")).unwrap();
        fs::write(driver.join("bind"), "").unwrap();
        symlink(
            &driver,
            sysfs.path().join("module/camera/drivers/platform:cam"),
        )
        .unwrap();
        symlink("/", driver.join("module")).unwrap();
        assert_eq!(matched("driver", "cam"), "no device now");
        symlink("/", driver.join("cam.0")).unwrap();
        assert_eq!(matched("driver", "cam"), "1 device");
        symlink("/", driver.join("cam.1")).unwrap();
        assert_eq!(matched("driver", "cam"), "2 devices");
        assert_eq!(matched("module", "camera"), "2 devices");
        assert_eq!(matched("module", "cam"), "no device now");
        assert_eq!(matched("platform", "cam"), "no device now");
        assert_eq!(matched("driver", "camera"), "no device now");
    }
}
