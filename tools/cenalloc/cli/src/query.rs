// SPDX-License-Identifier: GPL-2.0

//! What `/dev/cenalloc` and sysfs tell.

use crate::{
    args::{Args, Devices, Test, Which},
    buffers,
    failure::{Failure, Result},
    plain, show,
    table::{Align, Table},
    view::{self, AllocatorEntry, Allocators, Buffer, FileDevice, FileDevices, Refusal},
    why,
};
use cenalloc::{
    debugfs::{BufferLine, Debugfs},
    procfs::{DmaBufs, Procfs},
    Classes, Device, Query, Size, TestOutcome, UserDevice,
};
use rustix::process::{pidfd_getfd, pidfd_open, Pid, PidfdFlags, PidfdGetfdFlags};
use std::{
    fs::OpenOptions,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
};

/// Exit status of `test`: there will never be such memory.
const NEVER: u8 = 3;
/// Exit status of `test`: there is no such memory now.
const NO_MEMORY: u8 = 4;

fn open(args: &Args) -> Result<Device> {
    Ok(Device::open_at(&args.device)?)
}

/// A descriptor of a buffer.
struct ByDescriptor {
    /// Its number.
    fd: i32,
    /// The process whose it is; without it, this one.
    pid: Option<i32>,
}

/// Takes a descriptor of another process, or one that this program was given.
fn take(which: &ByDescriptor) -> Result<OwnedFd> {
    let own = rustix::process::getpid();
    let pid = which.pid.and_then(Pid::from_raw).unwrap_or(own);
    let failure = |what: String| {
        move |errno: cenalloc::Errno| Failure {
            errno: Some(errno.raw_os_error()),
            ..Failure::new(format!("{what}: {errno}"))
        }
    };
    let number = pid.as_raw_nonzero();
    let process =
        pidfd_open(pid, PidfdFlags::empty()).map_err(failure(format!("process {number}")))?;
    pidfd_getfd(&process, which.fd, PidfdGetfdFlags::empty()).map_err(|errno| {
        let what = format!("descriptor {} of process {number}", which.fd);
        let failure = failure(what)(errno);
        if errno == cenalloc::Errno::PERM {
            failure.hint("That takes root, or the right to trace the process.")
        } else {
            failure
        }
    })
}

/// Queries a buffer by a descriptor.
fn by_descriptor(args: &Args, which: &ByDescriptor) -> Result<Query> {
    let fd = take(which)?;
    Ok(open(args)?.query(fd.as_fd())?)
}

/// Finds a buffer by its number; `None` if it is not there.
///
/// Debugfs has less of it than QUERY, which takes a descriptor: one of a process that has it
/// open, if there is one and this process may have it.
pub(crate) fn by_number(args: &Args, id: u64) -> Result<Option<Buffer>> {
    let debugfs = Debugfs::new(&args.debugfs);
    let lines = debugfs.buffers()?;
    let Some(line) = lines.iter().find(|line| line.id == id) else {
        return Ok(None);
    };
    let found = Procfs::new(&args.procfs).dma_bufs().unwrap_or_default();
    if let Some(query) = through_process(args, line, &found) {
        return Ok(Some((&query).into()));
    }
    Ok(Some(Buffer::new(line, &debugfs.users()?)))
}

/// Queries a buffer by a descriptor of a process that has it open.
fn through_process(args: &Args, line: &BufferLine, found: &DmaBufs) -> Option<Query> {
    let mut descriptors = found.of(line.inode).iter().flat_map(|process| {
        let pid = Some(process.pid);
        process
            .fds
            .iter()
            .map(move |fd| ByDescriptor { fd: *fd, pid })
    });
    // The process may have ended, and its number may be another one's.
    descriptors.find_map(|which| {
        let query = by_descriptor(args, &which).ok();
        query.filter(|query| query.id == line.id)
    })
}

/// The newest buffer that a device left at once, if QUERY tells of one.
pub(crate) fn left(args: &Args) -> Result<Option<u64>> {
    let mut lines = Debugfs::new(&args.debugfs).buffers()?;
    lines.sort_by_key(|line| std::cmp::Reverse(line.id));
    let found = Procfs::new(&args.procfs).dma_bufs().unwrap_or_default();
    let line = lines
        .iter()
        .find(|line| through_process(args, line, &found).is_some_and(|query| query.left.is_some()));
    Ok(line.map(|line| line.id))
}

/// Finds a buffer by its number, or by a descriptor.
pub(crate) fn buffer(args: &Args, which: &Which) -> Result<Buffer> {
    if let Some(fd) = which.fd {
        let pid = which.pid;
        return Ok((&by_descriptor(args, &ByDescriptor { fd, pid })?).into());
    }
    let id = which.buffer.unwrap_or(0);
    by_number(args, id)?.ok_or_else(|| Failure::new(format!("there is no buffer {id}")))
}

/// `cenalloc query`.
pub(crate) fn query(args: &Args, which: &Which) -> Result<()> {
    let mut buffer = buffer(args, which)?;
    let found = Procfs::new(&args.procfs).dma_bufs().unwrap_or_default();
    let processes = found.of(buffer.inode);
    buffer.processes = Some(processes.iter().map(Into::into).collect());
    show(args, &buffer, || buffer_text(&buffer))
}

/// Returns all of a buffer in lines.
fn buffer_text(buffer: &Buffer) -> String {
    let mut lines = vec![
        why::title(buffer),
        format!("  inode {}", buffer.inode),
        format!("  needs together: {}", buffer.combined),
    ];
    if let Some(caching) = buffer.caching.filter(|_| buffer.is_backed()) {
        lines.push(format!("  caching: {caching}"));
    }
    if let Some(recycled @ 1..) = buffer.recycled {
        lines.push(format!("  from a pool: {}", Size(recycled).about()));
    }
    if buffer.kernel_maps > 0 {
        lines.push(format!("  mappings of the kernel: {}", buffer.kernel_maps));
    }
    let users = buffer.users.iter().map(buffers::user_text);
    lines.extend(users.map(|user| format!("  user {user}")));
    let processes = buffer.processes.as_deref().unwrap_or_default();
    lines.push(format!("  {}", buffers::processes_text(processes)));
    if let Some(refusal) = &buffer.refusal {
        lines.push(format!(
            "  last refusal of {}, as it was then: {}",
            buffer.refusals, refusal.text
        ));
    }
    lines.extend(
        why::facts(buffer)
            .into_iter()
            .map(|fact| format!("  {fact}")),
    );
    lines.iter().map(|line| plain(line) + "\n").collect()
}

/// `cenalloc test`. The result is the exit status.
pub(crate) fn test(args: &Args, test: &Test) -> Result<u8> {
    if test.len.0 == 0 {
        return Err(Failure::new("--len is 0: a buffer has at least one byte"));
    }
    let outcome = open(args)?.test(test.len.0, &test.needs.constraints())?;
    let (view, text, status) = tell(outcome)?;
    show(args, &view, || text)?;
    Ok(status)
}

/// What a test found: for programs, for people, and as exit status.
fn tell(outcome: TestOutcome) -> Result<(view::Test, String, u8)> {
    let (result, refusal, status) = match outcome {
        TestOutcome::Fits { allocator } => {
            let text = format!("{} would provide it\n", plain(&allocator));
            let view = view::Test {
                result: "ok",
                allocator: Some(allocator),
                refusal: None,
            };
            return Ok((view, text, 0));
        }
        TestOutcome::NoMemory(reason) => ("no-memory", Refusal::from(&reason), NO_MEMORY),
        TestOutcome::Never(reason) => ("never", Refusal::from(&reason), NEVER),
        _ => {
            return Err(Failure::new(
                "the kernel's answer is unknown to this program",
            ))
        }
    };
    let when = if status == NEVER { "never" } else { "not now" };
    let text = format!("{when}: {}\n", plain(&refusal.text));
    let view = view::Test {
        result,
        allocator: None,
        refusal: Some(refusal),
    };
    Ok((view, text, status))
}

/// `cenalloc allocators`.
pub(crate) fn allocators(args: &Args) -> Result<()> {
    let view = Allocators {
        allocators: open(args)?.allocators()?.iter().map(Into::into).collect(),
    };
    show(args, &view, || allocators_text(&view.allocators))
}

fn allocators_text(allocators: &[AllocatorEntry]) -> String {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("CLASS", Align::Left),
        ("PRIORITY", Align::Right),
        ("CONTIGUOUS", Align::Left),
        ("LONGEST", Align::Right),
        ("USED", Align::Right),
        ("FREE", Align::Right),
        ("AREA", Align::Left),
    ]);
    let about = |bytes| Size(bytes).about().to_string();
    for allocator in allocators {
        let area = match (allocator.start, allocator.area_len) {
            (Some(start), Some(len)) => {
                format!(
                    "{start:#x}-{:#x}",
                    start.saturating_add(len).saturating_sub(1)
                )
            }
            _ => "-".to_owned(),
        };
        table.row(vec![
            allocator.name.clone(),
            Classes(allocator.access_mask).to_string(),
            allocator.priority.to_string(),
            if allocator.contiguous { "yes" } else { "no" }.to_owned(),
            about(allocator.max_len),
            about(allocator.used),
            allocator.free.map_or_else(|| "-".to_owned(), about),
            area,
        ]);
    }
    table.to_string()
}

/// `cenalloc device`.
pub(crate) fn devices(args: &Args, devices: &Devices) -> Result<()> {
    let mut view = FileDevices {
        devices: Vec::new(),
    };
    for path in &devices.files {
        let what = path.display().to_string();
        // Nothing is to happen by opening it, and no terminal to become ours.
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits() as i32)
            .open(path)
            .map_err(|error| Failure::from_io(&what, &error))?;
        let mut users = UserDevice::all_from_fd(&file)?;
        if users.is_empty() {
            return Err(Failure::new(format!(
                "{what}: there is no device on a bus behind it"
            )));
        }
        if !devices.all {
            users.truncate(1);
        }
        let users = users.into_iter().map(|user| FileDevice::new(path, user));
        view.devices.extend(users);
    }
    show(args, &view, || {
        let mut table = Table::new(&[
            ("FILE", Align::Left),
            ("BUS", Align::Left),
            ("DEVICE", Align::Left),
            ("DRIVER", Align::Left),
        ]);
        for device in &view.devices {
            let cells = [&device.file, &device.bus, &device.device, &device.driver];
            table.row(cells.map(Clone::clone).to_vec());
        }
        table.to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cenalloc::{Cause, Field, Name, Reason};

    #[test]
    fn answers_of_test() {
        let allocator = "cma".to_owned();
        let (view, text, status) = tell(TestOutcome::Fits { allocator }).unwrap();
        assert_eq!((view.result, status), ("ok", 0));
        assert_eq!(text, "cma would provide it\n");

        let shortage = Reason::Known(Box::new(cenalloc::Refusal {
            len: 8 << 20,
            classes: Classes::CMA.0,
            ..cenalloc::Refusal::new(Cause::Shortage)
        }));
        let (view, text, status) = tell(TestOutcome::NoMemory(shortage)).unwrap();
        assert_eq!((view.result, status), ("no-memory", NO_MEMORY));
        assert!(text.starts_with("not now: 8 MiB "), "{text}");
        assert_eq!(view.refusal.unwrap().cause, Some("shortage"));

        let never = Reason::Known(Box::new(cenalloc::Refusal {
            field: Some(Field::MaxSegments),
            wanted: 1,
            found: 9,
            other: Name::new(b"system"),
            len: 8 << 20,
            ..cenalloc::Refusal::new(Cause::Allocator)
        }));
        let (view, text, status) = tell(TestOutcome::Never(never)).unwrap();
        assert_eq!((view.result, status), ("never", NEVER));
        assert_eq!(
            text,
            "never: the buffer needs one contiguous range, and system gives no fewer than 9 \
             segments; boot with cma=64M if class cma is allowed\n"
        );
        let refusal = view.refusal.unwrap();
        assert_eq!(refusal.field, Some("max_segments"));
        assert_eq!(
            refusal.advice.as_deref(),
            Some("boot with cma=64M if class cma is allowed")
        );
        assert_eq!((refusal.who, refusal.max_address), (None, None));
    }

    #[test]
    fn a_table_of_allocators() {
        let area = (0x490_0000, 32 << 20);
        // As on a machine with every kind and a module that adds one.
        let machine = [
            (
                "system",
                1,
                500,
                2925 << 20,
                12_288,
                Some(2_000_000_000),
                None,
            ),
            ("system-contig", 2, 400, 4 << 20, 0, None, None),
            (
                "reserved",
                4,
                300,
                32 << 20,
                8 << 20,
                Some(24 << 20),
                Some(area),
            ),
            ("dma-coherent", 8, 200, 32 << 20, 0, None, None),
            ("plain", 1 << 32, 50, 4 << 20, 0, Some(0), None),
        ];
        let entries = machine.map(|(name, access_mask, priority, max_len, used, free, area)| {
            AllocatorEntry {
                name: name.to_owned(),
                access_mask,
                priority,
                contiguous: access_mask != 1,
                max_len,
                used,
                free,
                start: area.map(|(start, _)| start),
                area_len: area.map(|(_, len)| len),
            }
        });
        assert_eq!(
            allocators_text(&entries),
            "\
NAME           CLASS          PRIORITY  CONTIGUOUS  LONGEST     USED     FREE  AREA
system         system              500  no          2.9 GiB   12 KiB  1.9 GiB  -
system-contig  system-contig       400  yes           4 MiB  0 bytes        -  -
reserved       cma                 300  yes          32 MiB    8 MiB   24 MiB  0x4900000-0x68fffff
dma-coherent   dma-coherent        200  yes          32 MiB  0 bytes        -  -
plain          bit-32               50  yes           4 MiB  0 bytes  0 bytes  -
"
        );
    }

    #[test]
    fn descriptors_of_processes() {
        use std::os::fd::AsRawFd;

        let file = tempfile::tempfile().unwrap();
        let which = ByDescriptor {
            fd: file.as_raw_fd(),
            pid: None,
        };
        let taken = take(&which).unwrap();
        let inode = |fd: &dyn AsRawFd| {
            let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
            std::fs::read_link(link).unwrap()
        };
        assert_eq!(inode(&taken), inode(&file));
        let which = ByDescriptor {
            fd: 1_000_000,
            ..which
        };
        let failure = take(&which).unwrap_err();
        assert_eq!(failure.errno, Some(cenalloc::Errno::BADF.raw_os_error()));
        let pid = Some(i32::MAX);
        let failure = take(&ByDescriptor { pid, ..which }).unwrap_err();
        assert!(failure.message.starts_with("process 2147483647: "));
    }
}
