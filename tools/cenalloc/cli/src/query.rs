// SPDX-License-Identifier: GPL-2.0

//! What `/dev/cenalloc` and sysfs tell.

use crate::{
    args::{Args, ByDescriptor, Devices, Test},
    buffers,
    failure::{Failure, Result},
    plain, show,
    table::{about, Align, Table},
    view::{self, AllocatorEntry, Allocators, FileDevice, FileDevices, Refusal},
    why,
};
use cenalloc::{Classes, Device, Query, Size, TestOutcome, UserDevice};
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

/// A descriptor of another process, or one that this program was given.
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

pub(crate) fn by_descriptor(args: &Args, which: &ByDescriptor) -> Result<Query> {
    let fd = take(which)?;
    Ok(open(args)?.query(fd.as_fd())?)
}

/// `cenalloc query`.
pub(crate) fn query(args: &Args, which: &ByDescriptor) -> Result<()> {
    let buffer = view::Buffer::from(&by_descriptor(args, which)?);
    show(args, &buffer, || {
        buffers::text(std::slice::from_ref(&buffer))
    })
}

/// `cenalloc test`. The result is the exit status.
pub(crate) fn test(args: &Args, test: &Test) -> Result<u8> {
    if test.len.0 == 0 {
        return Err(Failure::new("a buffer has at least one byte"));
    }
    let outcome = open(args)?.test(test.len.0, &test.needs.constraints())?;
    let (view, text, status) = tell(outcome)?;
    show(args, &view, || text)?;
    Ok(status)
}

/// What a test found: for programs, for people, and as exit status.
fn tell(outcome: TestOutcome) -> Result<(view::Test, String, u8)> {
    Ok(match outcome {
        TestOutcome::Fits { allocator } => {
            let text = format!("{} would provide it\n", plain(&allocator));
            let view = view::Test {
                result: "ok",
                allocator: Some(allocator),
                conflict: None,
            };
            (view, text, 0)
        }
        TestOutcome::NoMemory { nearest } => {
            let text = match &nearest {
                Some(name) => format!("out of memory now; {} could provide it\n", plain(name)),
                None => "out of memory now\n".to_owned(),
            };
            let view = view::Test {
                result: "no-memory",
                allocator: nearest,
                conflict: None,
            };
            (view, text, NO_MEMORY)
        }
        TestOutcome::Never(conflict) => {
            let refusal = Refusal::new(conflict.to_string(), &conflict);
            let text = format!("never: {}", why::refusal_text(&refusal));
            let view = view::Test {
                result: "never",
                allocator: conflict.with.name().map(str::to_owned),
                conflict: Some(refusal),
            };
            (view, text, NEVER)
        }
        _ => {
            return Err(Failure::new(
                "the kernel's answer is unknown to this program",
            ))
        }
    })
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
    ]);
    for allocator in allocators {
        table.row([
            allocator.name.clone(),
            Classes(allocator.access_mask).to_string(),
            allocator.priority.to_string(),
            if allocator.contiguous { "yes" } else { "no" }.to_owned(),
            about(Size(allocator.max_len)),
            about(Size(allocator.used)),
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
            table
                .row([&device.file, &device.bus, &device.device, &device.driver].map(Clone::clone));
        }
        table.to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cenalloc::{Conflict, Field, Party};

    #[test]
    fn answers_of_test() {
        let allocator = "cma".to_owned();
        let (view, text, status) = tell(TestOutcome::Fits { allocator }).unwrap();
        assert_eq!((view.result, status), ("ok", 0));
        assert_eq!(text, "cma would provide it\n");

        let nearest = Some("cma".to_owned());
        let (view, text, status) = tell(TestOutcome::NoMemory { nearest }).unwrap();
        assert_eq!((view.result, status), ("no-memory", NO_MEMORY));
        assert_eq!(view.allocator.as_deref(), Some("cma"));
        assert_eq!(text, "out of memory now; cma could provide it\n");

        let conflict = Conflict {
            who: "such a user".to_owned(),
            field: Field::MaxSegments,
            wanted: 1,
            found: 9,
            with: Party::Allocator {
                name: "system".to_owned(),
                behind: None,
            },
        };
        let (view, text, status) = tell(TestOutcome::Never(conflict)).unwrap();
        assert_eq!((view.result, status), ("never", NEVER));
        assert_eq!(view.allocator.as_deref(), Some("system"));
        assert!(text.starts_with("never: such a user needs one contiguous segment, system "));
        assert!(text.contains("behind an IOMMU"));
        assert_eq!(view.conflict.unwrap().field, Some("max_segments"));
    }

    #[test]
    fn a_table_of_allocators() {
        // As on a machine with every kind, two areas and a module that adds one.
        let machine = [
            ("system", 1, 500, 2925 << 20, 12_288),
            ("system-contig", 2, 400, 4 << 20, 0),
            ("reserved", 4, 300, 32 << 20, 8 << 20),
            ("isp@90000000", 4, 300, 16 << 20, 0),
            ("dma-coherent", 8, 200, 32 << 20, 0),
            ("ram", 16, 100, 8 << 20, 0),
            ("bank", 16, 100, 16 << 20, 0),
            ("plain", 1 << 32, 50, 4 << 20, 0),
        ];
        let entries = machine.map(
            |(name, access_mask, priority, max_len, used)| AllocatorEntry {
                name: name.to_owned(),
                access_mask,
                priority,
                contiguous: access_mask != 1,
                max_len,
                used,
            },
        );
        assert_eq!(
            allocators_text(&entries),
            "\
NAME           CLASS          PRIORITY  CONTIGUOUS   LONGEST    USED
system         system              500  no          2925 MiB  12 KiB
system-contig  system-contig       400  yes            4 MiB     0 B
reserved       cma                 300  yes           32 MiB   8 MiB
isp@90000000   cma                 300  yes           16 MiB     0 B
dma-coherent   dma-coherent        200  yes           32 MiB     0 B
ram            carveout            100  yes            8 MiB     0 B
bank           carveout            100  yes           16 MiB     0 B
plain          bit-32               50  yes            4 MiB     0 B
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
