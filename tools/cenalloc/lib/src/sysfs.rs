// SPDX-License-Identifier: GPL-2.0

//! From an open device file to the device that will use buffers, through sysfs.

use crate::error::{Error, Result};
use rustix::fs::FileType;
use std::{
    fs,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

/// A device on a bus, with a driver bound: what DECLARE takes.
///
/// ```no_run
/// use cenalloc::UserDevice;
///
/// let camera = std::fs::File::open("/dev/video0")?;
/// let user = UserDevice::from_fd(&camera)?;
/// println!("{} {} ({})", user.bus, user.name, user.driver);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserDevice {
    /// The name of its bus, as in `/sys/bus`.
    pub bus: String,
    /// Its name, as in `/sys/bus/<bus>/devices`.
    pub name: String,
    /// Its driver.
    pub driver: String,
}

impl UserDevice {
    /// The device behind an open device file: `/dev/video0`, `/dev/dri/card0`.
    ///
    /// That is the nearest in sysfs that is on a bus and has a driver, which is the one that does
    /// DMA for most drivers. For a device behind a controller that does it (USB, virtio) see
    /// [`all_from_fd`](Self::all_from_fd), and
    /// [`Buffer::declare_file`](crate::Buffer::declare_file).
    ///
    /// [`Error::NoUserDevice`] where there is none.
    pub fn from_fd(fd: impl AsFd) -> Result<Self> {
        Self::all_from_fd(fd)?
            .into_iter()
            .next()
            .ok_or(Error::NoUserDevice)
    }

    /// All devices behind an open device file, the nearest first: a USB camera, say, then its
    /// host controller.
    pub fn all_from_fd(fd: impl AsFd) -> Result<Vec<Self>> {
        Self::all_from_fd_in(Path::new("/sys"), fd)
    }

    /// As [`all_from_fd`](Self::all_from_fd), with sysfs mounted at `sysfs`.
    pub fn all_from_fd_in(sysfs: &Path, fd: impl AsFd) -> Result<Vec<Self>> {
        let stat = rustix::fs::fstat(fd).map_err(|errno| Error::from_call("fstat", errno))?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice => "char",
            FileType::BlockDevice => "block",
            _ => return Err(Error::NoUserDevice),
        };
        let (major, minor) = (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        );
        let node = sysfs.join(format!("dev/{kind}/{major}:{minor}"));
        let node = resolve(&node)?.ok_or(Error::NoUserDevice)?;
        // A node of a class names its device; one that is on a bus is a device itself.
        let start = resolve(&node.join("device"))?.unwrap_or(node);
        let top = resolve(sysfs)?.ok_or(Error::NoUserDevice)?;
        let mut found = Vec::new();
        for directory in start.ancestors().take_while(|directory| *directory != top) {
            found.extend(Self::at(directory)?);
        }
        Ok(found)
    }

    /// The device whose directory this is, if it is on a bus and has a driver.
    fn at(directory: &Path) -> Result<Option<Self>> {
        let subsystem = resolve(&directory.join("subsystem"))?;
        let driver = resolve(&directory.join("driver"))?;
        let (Some(subsystem), Some(driver)) = (subsystem, driver) else {
            return Ok(None);
        };
        let is_bus = subsystem
            .parent()
            .is_some_and(|parent| parent.ends_with("bus"));
        Ok(is_bus.then(|| Self {
            bus: last(&subsystem),
            name: last(directory),
            driver: last(&driver),
        }))
    }
}

/// Where a path leads; `None` if there is nothing.
fn resolve(path: &Path) -> Result<Option<PathBuf>> {
    match fs::canonicalize(path) {
        Ok(path) => Ok(Some(path)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::from_file(path, &error)),
    }
}

fn last(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, os::unix::fs::symlink};
    use tempfile::TempDir;

    /// A sysfs in which `/dev/null` (1:3) is the device file of `node`.
    struct Sysfs(TempDir);

    impl Sysfs {
        fn new(node: &str) -> Self {
            let sysfs = Self(TempDir::new().unwrap());
            sysfs.directory("dev/char");
            sysfs.directory(node);
            sysfs.link("dev/char/1:3", node);
            sysfs
        }

        fn directory(&self, path: &str) {
            fs::create_dir_all(self.0.path().join(path)).unwrap();
        }

        fn link(&self, from: &str, to: &str) {
            let from = self.0.path().join(from);
            let up = "../".repeat(
                from.strip_prefix(self.0.path())
                    .unwrap()
                    .components()
                    .count()
                    - 1,
            );
            symlink(format!("{up}{to}"), from).unwrap();
        }

        /// Puts a device on a bus (or into a class: "class/drm").
        fn device(&self, path: &str, subsystem: &str, driver: Option<&str>) {
            self.directory(path);
            self.directory(subsystem);
            self.link(&format!("{path}/subsystem"), subsystem);
            if let Some(driver) = driver {
                let driver = format!("{subsystem}/drivers/{driver}");
                self.directory(&driver);
                self.link(&format!("{path}/driver"), &driver);
            }
        }

        fn all(&self) -> Result<Vec<UserDevice>> {
            UserDevice::all_from_fd_in(self.0.path(), File::open("/dev/null").unwrap())
        }
    }

    fn user(bus: &str, name: &str, driver: &str) -> UserDevice {
        UserDevice {
            bus: bus.to_owned(),
            name: name.to_owned(),
            driver: driver.to_owned(),
        }
    }

    #[test]
    fn a_camera_on_the_platform_bus() {
        let vivid = "devices/platform/vivid.0";
        let video = format!("{vivid}/video4linux/video0");
        let sysfs = Sysfs::new(&video);
        sysfs.device(vivid, "bus/platform", Some("vivid"));
        sysfs.device(&video, "class/video4linux", None);
        sysfs.link(&format!("{video}/device"), vivid);
        assert_eq!(sysfs.all(), Ok(vec![user("platform", "vivid.0", "vivid")]));
    }

    #[test]
    fn a_node_without_a_device_link() {
        let card = "devices/pci0000:00/0000:00:02.0/drm/card0";
        let sysfs = Sysfs::new(card);
        sysfs.device("devices/pci0000:00/0000:00:02.0", "bus/pci", Some("i915"));
        sysfs.device(card, "class/drm", None);
        assert_eq!(sysfs.all(), Ok(vec![user("pci", "0000:00:02.0", "i915")]));
    }

    #[test]
    fn devices_without_a_driver_are_passed_over() {
        let pci = "devices/pci0000:00/0000:00:14.0";
        let (hub, usb) = (format!("{pci}/usb1"), format!("{pci}/usb1/1-1"));
        let interface = format!("{usb}/1-1:1.0");
        let video = format!("{interface}/video4linux/video0");
        let sysfs = Sysfs::new(&video);
        sysfs.device(pci, "bus/pci", Some("xhci_hcd"));
        sysfs.device(&hub, "bus/usb", Some("usb"));
        sysfs.device(&usb, "bus/usb", None);
        sysfs.device(&interface, "bus/usb", Some("uvcvideo"));
        sysfs.device(&video, "class/video4linux", None);
        sysfs.link(&format!("{video}/device"), &interface);
        let users = [
            user("usb", "1-1:1.0", "uvcvideo"),
            user("usb", "usb1", "usb"),
            user("pci", "0000:00:14.0", "xhci_hcd"),
        ];
        assert_eq!(sysfs.all(), Ok(users.to_vec()));
    }

    #[test]
    fn a_class_with_a_driver_link_is_no_bus() {
        let node = "devices/virtual/odd/odd0";
        let sysfs = Sysfs::new(node);
        sysfs.device(node, "class/odd", Some("odd"));
        assert_eq!(sysfs.all(), Ok(vec![]));
    }

    #[test]
    fn files_that_are_no_devices() {
        let sysfs = Sysfs::new("devices/x");
        let file = tempfile::tempfile().unwrap();
        let all = UserDevice::all_from_fd_in(sysfs.0.path(), file);
        assert_eq!(all, Err(Error::NoUserDevice));
        // Not in this sysfs.
        let zero = File::open("/dev/zero").unwrap();
        let all = UserDevice::all_from_fd_in(sysfs.0.path(), zero);
        assert_eq!(all, Err(Error::NoUserDevice));
    }

    #[test]
    fn nothing_is_behind_dev_null() {
        let null = File::open("/dev/null").unwrap();
        assert_eq!(UserDevice::from_fd(null), Err(Error::NoUserDevice));
    }
}
