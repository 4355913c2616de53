// SPDX-License-Identifier: GPL-2.0

//! `/dev/cenalloc`.

use crate::{
    abi,
    allocator::{self, Allocator, TestOutcome},
    buffer::Buffer,
    constraints::Constraints,
    error::{Error, Result},
    query::{self, Query},
    sys,
};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use std::{
    ffi::c_char,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    path::Path,
    sync::Arc,
};

/// `/dev/cenalloc`, open. Clones share it.
///
/// ```no_run
/// use cenalloc::{Device, Limit};
///
/// let device = Device::open()?;
/// let buffer = device
///     .create(8 << 20)
///     .align(1 << 16)
///     .name("frame")
///     .build()?;
/// println!("buffer {}", buffer.id());
/// # Ok::<(), cenalloc::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Device {
    fd: Arc<OwnedFd>,
}

impl Device {
    /// Where the device is.
    pub const PATH: &'static str = "/dev/cenalloc";

    /// Opens `/dev/cenalloc`.
    pub fn open() -> Result<Self> {
        Self::open_at(Self::PATH)
    }

    /// Opens the device under another path.
    pub fn open_at(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        match rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => Ok(Self { fd: Arc::new(fd) }),
            Err(errno) => Err(Error::File {
                path: path.to_owned(),
                errno,
            }),
        }
    }

    /// Begins a buffer of `len` bytes, which is rounded up to whole pages.
    pub fn create(&self, len: u64) -> Create<'_> {
        Create {
            device: self,
            len,
            align: 0,
            flags: OFlags::RDWR | OFlags::CLOEXEC,
            name: String::new(),
        }
    }

    /// Takes a buffer that came from elsewhere, over a socket, say.
    ///
    /// [`Error::NotABuffer`] where `fd` is something else.
    pub fn buffer(&self, fd: OwnedFd) -> Result<Buffer> {
        let query = self.query(fd.as_fd())?;
        Ok(Buffer::new(self.clone(), fd, query.len, query.id))
    }

    /// What there is to tell of a buffer. See also [`Buffer::query`].
    pub fn query(&self, buffer: BorrowedFd<'_>) -> Result<Query> {
        query::query(buffer.as_raw_fd(), |raw| {
            // SAFETY: `query` hands over room as large as it says.
            unsafe { self.call(raw) }
        })
    }

    /// The allocators, in the order in which they are tried.
    pub fn allocators(&self) -> Result<Vec<Allocator>> {
        allocator::allocators(|raw| {
            // SAFETY: `allocators` hands over room as large as it says.
            unsafe { self.call(raw) }
        })
    }

    /// Which allocator would provide `len` bytes for users who together need `constraints`, or
    /// why none.
    ///
    /// No memory is taken.
    ///
    /// ```no_run
    /// use cenalloc::{Constraints, Device, TestOutcome};
    ///
    /// match Device::open()?.test(8 << 20, &Constraints::ANY.contiguous())? {
    ///     TestOutcome::Fits { allocator } => println!("{allocator} has it"),
    ///     TestOutcome::NoMemory(why) => println!("not now: {why}"),
    ///     TestOutcome::Never(why) => println!("never: {why}"),
    ///     _ => unreachable!(),
    /// }
    /// # Ok::<(), cenalloc::Error>(())
    /// ```
    pub fn test(&self, len: u64, constraints: &Constraints) -> Result<TestOutcome> {
        constraints.check()?;
        let mut raw = abi::cenalloc_test {
            len,
            constraints: constraints.to_raw(),
            ..Default::default()
        };
        // SAFETY: There is no address in it.
        unsafe { self.call(&mut raw) }.map_err(|errno| Error::from_call("TEST", errno))?;
        allocator::outcome(&raw)
    }

    /// Calls the kernel.
    ///
    /// # Safety
    ///
    /// As for [`sys::call`].
    pub(crate) unsafe fn call<T: sys::Argument>(&self, argument: &mut T) -> Result<(), Errno> {
        // SAFETY: By this function's own contract.
        unsafe { sys::call(self.fd.as_fd(), argument) }
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A buffer to be: [`Device::create`].
#[derive(Clone, Debug)]
#[must_use = "there is no buffer before build()"]
pub struct Create<'a> {
    device: &'a Device,
    len: u64,
    align: u64,
    flags: OFlags,
    name: String,
}

impl Create<'_> {
    /// Every range of the memory starts at a multiple of `bytes`, a power of two.
    pub fn align(mut self, bytes: u64) -> Self {
        self.align = bytes;
        self
    }

    /// The dma-buf's name, for debugfs and fdinfo: at most 31 bytes of printable ASCII without
    /// quotation marks.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The descriptor is for reading only: the buffer cannot be mapped for writing by it.
    pub fn read_only(mut self) -> Self {
        self.flags.remove(OFlags::RDWR);
        self
    }

    /// The descriptor stays open across exec.
    pub fn inheritable(mut self) -> Self {
        self.flags.remove(OFlags::CLOEXEC);
        self
    }

    /// Makes the buffer. It has no memory yet.
    ///
    /// [`Error::Mistake`] where the kernel finds no sense in length and alignment, or where no
    /// allocator could ever provide that many bytes with that alignment; [`Device::test`] tells
    /// more.
    pub fn build(self) -> Result<Buffer> {
        let mut raw = abi::cenalloc_create {
            len: self.len,
            align: self.align,
            fd_flags: self.flags.bits(),
            ..Default::default()
        };
        put_name(&mut raw.name, &self.name)?;
        // SAFETY: There is no address in it.
        unsafe { self.device.call(&mut raw) }.map_err(|errno| Error::from_call("CREATE", errno))?;
        // SAFETY: The call has made the descriptor, and nobody else knows of it.
        let fd = unsafe { OwnedFd::from_raw_fd(raw.fd) };
        // The kernel rounds the length up to its pages.
        let len = rustix::fs::seek(&fd, rustix::fs::SeekFrom::End(0))
            .map_err(|errno| Error::from_call("lseek", errno))?;
        Ok(Buffer::new(self.device.clone(), fd, len, raw.id))
    }
}

/// Puts a name into an array of the ABI.
pub(crate) fn put_name(array: &mut [c_char], name: &str) -> Result<()> {
    let is_plain = |byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\'');
    if !name.bytes().all(is_plain) {
        return Err(Error::BadName(name.to_owned()));
    }
    sys::put(array, name).ok_or_else(|| Error::BadName(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_devices_do_not_know_the_calls() {
        let device = Device::open_at("/dev/null").unwrap();
        let errno = Errno::NOTTY;
        let unsupported = |call| Error::Unsupported { call, errno };
        let created = device.create(4096).name("x").build();
        assert_eq!(created.unwrap_err(), unsupported("CREATE"));
        assert_eq!(device.allocators(), Err(unsupported("ALLOCATORS")));
        let test = device.test(4096, &Constraints::ANY);
        assert_eq!(test, Err(unsupported("TEST")));
        let fd = rustix::io::dup(&device).unwrap();
        assert_eq!(device.buffer(fd).unwrap_err(), unsupported("QUERY"));
    }

    #[test]
    fn nonsense_does_not_reach_the_kernel() {
        let device = Device::open_at("/dev/null").unwrap();
        let test = device.test(4096, &Constraints::ANY.alignment(3));
        assert!(matches!(test, Err(Error::Malformed(_))));
        for name in [
            "a\0b",
            "a \"b\"",
            "a 'b'",
            "a\nb",
            "caf\u{e9}",
            "a name of thirty-two bytes, no NUL",
        ] {
            let created = device.create(4096).name(name).build();
            assert_eq!(created.unwrap_err(), Error::BadName(name.to_owned()));
        }
    }

    #[test]
    fn a_device_that_is_not_there() {
        let error = Device::open_at("/dev/null/cenalloc").unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOTDIR.raw_os_error()));
        assert!(error.to_string().starts_with("/dev/null/cenalloc: "));
    }

    #[test]
    fn descriptors_are_as_wished() {
        let device = Device::open_at("/dev/null").unwrap();
        let flags = |create: Create<'_>| create.flags;
        assert_eq!(flags(device.create(1)), OFlags::RDWR | OFlags::CLOEXEC);
        assert_eq!(flags(device.create(1).read_only()), OFlags::CLOEXEC);
        assert_eq!(flags(device.create(1).inheritable()), OFlags::RDWR);
    }
}
