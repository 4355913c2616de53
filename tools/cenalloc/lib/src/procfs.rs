// SPDX-License-Identifier: GPL-2.0

//! Which processes have a dma-buf open or mapped: by the number of its inode, through `/proc`.
//!
//! [`BufferLine::inode`](crate::debugfs::BufferLine::inode) and
//! [`Query::inode`](crate::Query::inode) are those of buffers.

use crate::error::{Error, Result};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// The directory.
#[derive(Clone, Debug)]
pub struct Procfs {
    path: PathBuf,
}

/// A process that has a dma-buf open or mapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// The name of its program.
    pub name: String,
    /// Its descriptors of the dma-buf.
    pub fds: Vec<i32>,
    /// How many mappings it has of it.
    pub maps: usize,
}

/// The dma-bufs that processes have, whoever exported them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DmaBufs {
    /// Those who have each, by the number of its inode and in the order of their own numbers.
    pub processes: BTreeMap<u64, Vec<Process>>,
    /// How many processes could not be looked into: that takes the right to trace them.
    pub hidden: usize,
}

impl DmaBufs {
    /// Returns who has the dma-buf of that inode.
    pub fn of(&self, inode: u64) -> &[Process] {
        self.processes.get(&inode).map_or(&[], Vec::as_slice)
    }
}

/// What the names of dma-bufs begin with.
const DMABUF: &str = "/dmabuf:";

impl Procfs {
    /// Where it is.
    pub const PATH: &'static str = "/proc";

    /// Names the directory at `path`, [`PATH`](Self::PATH) or one that looks the same.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Reads which processes have dma-bufs open or mapped.
    ///
    /// A descriptor that is on its way through a socket is nobody's, and so is a buffer that only
    /// the kernel has.
    pub fn dma_bufs(&self) -> Result<DmaBufs> {
        let wrong = |error| Error::from_file(&self.path, &error);
        let mut found = DmaBufs::default();
        let mut pids = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(wrong)? {
            let name = entry.map_err(wrong)?.file_name();
            pids.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()));
        }
        pids.sort_unstable();
        for pid in pids {
            match of_process(&self.path.join(pid.to_string()), pid) {
                Ok(all) => {
                    for (inode, process) in all {
                        found.processes.entry(inode).or_default().push(process);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => found.hidden += 1,
                // It has ended meanwhile.
                Err(_) => {}
            }
        }
        Ok(found)
    }
}

impl Default for Procfs {
    fn default() -> Self {
        Self::new(Self::PATH)
    }
}

/// The dma-bufs of the process in `directory`, by their inodes.
fn of_process(directory: &Path, pid: i32) -> io::Result<BTreeMap<u64, Process>> {
    let mut found = BTreeMap::<u64, Process>::new();
    for entry in fs::read_dir(directory.join("fd"))? {
        let entry = entry?;
        // A descriptor may be closed meanwhile.
        let Ok(target) = fs::read_link(entry.path()) else {
            continue;
        };
        if !target
            .as_os_str()
            .as_encoded_bytes()
            .starts_with(DMABUF.as_bytes())
        {
            continue;
        }
        let name = entry.file_name();
        let info = read(&directory.join("fdinfo").join(&name)).unwrap_or_default();
        let inode = info.lines().find_map(|line| line.strip_prefix("ino:"));
        let inode = inode.and_then(|inode| inode.trim().parse().ok());
        let fd = name.to_str().and_then(|name| name.parse().ok());
        if let (Some(inode), Some(fd)) = (inode, fd) {
            found.entry(inode).or_default().fds.push(fd);
        }
    }
    for inode in read(&directory.join("maps"))?.lines().filter_map(mapped) {
        found.entry(inode).or_default().maps += 1;
    }
    if !found.is_empty() {
        let name = read(&directory.join("comm"))?;
        for process in found.values_mut() {
            process.pid = pid;
            process.name = name.trim_end().to_owned();
            process.fds.sort_unstable();
        }
    }
    Ok(found)
}

/// The inode in a line of `maps` that is of a dma-buf.
fn mapped(line: &str) -> Option<u64> {
    // Address, access, offset, device, inode.
    let mut rest = line;
    let mut word = "";
    for _ in 0..5 {
        (word, rest) = rest.trim_start().split_once(' ')?;
    }
    let is_dma_buf = rest.trim_start().starts_with(DMABUF);
    is_dma_buf.then(|| word.parse().ok()).flatten()
}

fn read(path: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// A process in a directory that looks like `/proc`.
    fn process(proc: &TempDir, pid: i32, fds: &[(i32, &str, u64)], maps: &str) {
        let directory = proc.path().join(pid.to_string());
        fs::create_dir_all(directory.join("fd")).unwrap();
        fs::create_dir_all(directory.join("fdinfo")).unwrap();
        for (fd, target, inode) in fds {
            symlink(target, directory.join(format!("fd/{fd}"))).unwrap();
            let info = format!("pos:\t0\nflags:\t02000002\nmnt_id:\t16\nino:\t{inode}\nsize:\t4\n");
            fs::write(directory.join(format!("fdinfo/{fd}")), info).unwrap();
        }
        fs::write(directory.join("maps"), maps).unwrap();
        fs::write(directory.join("comm"), format!("program{pid}\n")).unwrap();
    }

    const MAPS: &str = "\
55d0c0a00000-55d0c0a02000 r--p 00000000 fe:01 77                         /usr/bin/cat
7f1200000000-7f1200800000 rw-s 00000000 00:0e 4711                       /dmabuf:a b
7f1300000000-7f1300800000 r--s 00800000 00:0e 4711                       /dmabuf:a b (deleted)
7f1400000000-7f1400800000 rw-s 00000000 00:0e 4712                       /dmabuf:
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
";

    #[test]
    fn who_has_what() {
        let proc = TempDir::new().unwrap();
        let files = [
            (10, "/dmabuf:a b", 4711),
            (3, "/dmabuf:a b", 4711),
            (4, "/dmabuf:", 4712),
            (5, "/tmp/dmabuf:x", 9),
            (6, "socket:[8]", 8),
        ];
        process(&proc, 20, &files, "");
        process(&proc, 100, &[(0, "/dev/null", 5)], MAPS);
        process(&proc, 7, &[], "");
        fs::create_dir(proc.path().join("bus")).unwrap();
        // A process that has ended.
        fs::create_dir(proc.path().join("8")).unwrap();

        let found = Procfs::new(proc.path()).dma_bufs().unwrap();
        assert_eq!(found.hidden, 0);
        assert_eq!(found.processes.len(), 2);
        let [first, second] = found.of(4711) else {
            panic!("{found:?}");
        };
        assert_eq!((first.pid, first.name.as_str()), (20, "program20"));
        assert_eq!((first.fds.as_slice(), first.maps), ([3, 10].as_slice(), 0));
        assert_eq!((second.pid, second.fds.len(), second.maps), (100, 0, 2));
        assert_eq!(found.of(4712).len(), 2);
        assert_eq!(found.of(9), []);
    }

    #[test]
    fn lines_of_maps() {
        assert_eq!(MAPS.lines().filter_map(mapped).count(), 3);
        for line in [
            "",
            "a b c d e",
            "a b c d x /dmabuf:",
            "a b c d 1 /tmp/dmabuf:",
        ] {
            assert_eq!(mapped(line), None, "{line}");
        }
        assert_eq!(mapped("a b c d 1 /dmabuf:"), Some(1));
    }

    #[test]
    fn this_process_has_none() {
        let found = Procfs::default().dma_bufs().unwrap();
        let own = std::process::id() as i32;
        let mut all = found.processes.values().flatten();
        assert!(all.all(|process| process.pid != own));
        assert!(Procfs::new("/dev/null").dma_bufs().is_err());
    }
}
