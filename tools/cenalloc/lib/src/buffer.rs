// SPDX-License-Identifier: GPL-2.0

//! A buffer, who will use it, and its memory as the CPU sees it.

use crate::{
    abi,
    constraints::Constraints,
    device::{put_name, Device},
    error::{Error, Result},
    model::Cause,
    query::Query,
    sys,
    sysfs::UserDevice,
};
use rustix::{
    io::Errno,
    mm::{MapFlags, ProtFlags},
};
use std::{
    ffi::c_void,
    os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd},
    ptr::{self, NonNull},
    time::Duration,
};

/// Who will use a buffer later: for [`Buffer::declare`].
///
/// ```
/// use cenalloc::{Constraints, Declaration};
///
/// // A device by bus and name, as in /sys/bus.
/// let codec = Declaration::device("platform", "vivid.0");
/// // The same, with a need that the kernel does not know of.
/// let codec = codec.needs(Constraints::ANY.max_segment_size(1 << 16));
/// // The same again, waiting where it comes too late until the others let the memory go.
/// let codec = codec.timeout(std::time::Duration::from_secs(1));
/// // No device at all.
/// let other = Declaration::from(Constraints::ANY.contiguous()).name("scanout");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declaration {
    bus: String,
    device: String,
    constraints: Constraints,
    /// In nanoseconds; less than 0 is for ever.
    timeout: i64,
}

impl Declaration {
    /// The device `device` of the bus `bus`.
    pub fn device(bus: impl Into<String>, device: impl Into<String>) -> Self {
        Self {
            bus: bus.into(),
            device: device.into(),
            ..Self::default()
        }
    }

    /// It needs these; with a device, in addition to what the kernel knows of it.
    #[must_use]
    pub fn needs(self, constraints: Constraints) -> Self {
        Self {
            constraints,
            ..self
        }
    }

    /// How to call a user that is no device.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self {
            device: name.into(),
            ..self
        }
    }

    /// Where it comes too late, waits so long until those that hold the memory let it go. Without
    /// a timeout it does not wait.
    ///
    /// It can wait in vain: an importer may keep a buffer mapped for as long as it runs.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self {
            timeout: timeout.as_nanos().try_into().unwrap_or(i64::MAX),
            ..self
        }
    }

    /// As [`timeout`](Self::timeout), without an end but by a signal.
    #[must_use]
    pub fn wait(self) -> Self {
        Self {
            timeout: -1,
            ..self
        }
    }

    fn to_raw(&self, fd: RawFd) -> Result<abi::cenalloc_declare> {
        self.constraints.check()?;
        let mut raw = abi::cenalloc_declare {
            fd,
            timeout: self.timeout,
            constraints: self.constraints.to_raw(),
            ..Default::default()
        };
        for name in [&self.bus, &self.device] {
            if name.contains('/') {
                return Err(Error::BadName(name.clone()));
            }
        }
        put_name(&mut raw.bus, &self.bus)?;
        put_name(&mut raw.device, &self.device)?;
        Ok(raw)
    }
}

impl From<Constraints> for Declaration {
    fn from(constraints: Constraints) -> Self {
        Self::default().needs(constraints)
    }
}

impl From<&UserDevice> for Declaration {
    fn from(user: &UserDevice) -> Self {
        Self::device(&user.bus, &user.name)
    }
}

/// A buffer: the owner of its descriptor, which is that of a dma-buf.
///
/// Any importer takes the descriptor ([`AsFd`]). Memory is chosen at the first use, for all who
/// have attached or been declared by then:
///
/// ```no_run
/// use cenalloc::{Constraints, Device};
/// use std::fs::File;
///
/// let buffer = Device::open()?.create(8 << 20).name("frame").build()?;
/// buffer.declare_file(File::open("/dev/video0")?)?;
/// buffer.declare(Constraints::ANY.contiguous())?;
/// buffer.allocate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Buffer {
    device: Device,
    fd: OwnedFd,
    len: u64,
    id: u64,
}

impl Buffer {
    pub(crate) fn new(device: Device, fd: OwnedFd, len: u64, id: u64) -> Self {
        Self {
            device,
            fd,
            len,
            id,
        }
    }

    /// Returns its number in messages and debugfs.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its length in bytes: whole pages.
    #[expect(clippy::len_without_is_empty, reason = "no buffer is empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Declares a user that will attach later, or explicit needs.
    ///
    /// [`Error::Refused`] where that user is refused; the buffer is then as it was.
    ///
    /// ```no_run
    /// # use cenalloc::{Cause, Constraints, Declaration, Device};
    /// # let buffer = Device::open()?.create(4096).build()?;
    /// match buffer.declare(Declaration::device("pci", "0000:00:05.0")) {
    ///     Err(error) if error.cause() == Some(Cause::Held) => eprintln!("too late: {error}"),
    ///     other => other?,
    /// }
    /// # Ok::<(), cenalloc::Error>(())
    /// ```
    pub fn declare(&self, user: impl Into<Declaration>) -> Result<()> {
        let mut raw = user.into().to_raw(self.fd.as_raw_fd())?;
        // SAFETY: There is no address in it.
        unsafe { self.device.call(&mut raw) }
            .map_err(|errno| Error::from_refusal("DECLARE", errno, &raw.refusal))
    }

    /// Declares the device behind an open device file: `/dev/video0`, `/dev/dri/card0`.
    ///
    /// That is the [nearest](UserDevice::all_from_fd) that the kernel takes. The result tells
    /// which; [`Error::NoUserDevice`] where there is none, else as for
    /// [`declare`](Self::declare).
    pub fn declare_file(&self, file: impl AsFd) -> Result<UserDevice> {
        let mut refused = Error::NoUserDevice;
        for user in UserDevice::all_from_fd(file)? {
            let Err(error) = self.declare(&user) else {
                return Ok(user);
            };
            match error.cause() {
                Some(Cause::NoBus | Cause::NoDevice | Cause::NoDriver | Cause::NoDma) => {
                    refused = error;
                }
                _ => return Err(error),
            }
        }
        Err(refused)
    }

    /// Gives the buffer its memory now, so that its first use neither waits nor fails. Nothing
    /// changes where it has memory.
    ///
    /// [`Error::Refused`] where there is none, and [`Error::Interrupted`] where a signal came
    /// first.
    pub fn allocate(&self) -> Result<()> {
        let mut raw = abi::cenalloc_allocate {
            fd: self.fd.as_raw_fd(),
            ..Default::default()
        };
        // SAFETY: There is no address in it.
        unsafe { self.device.call(&mut raw) }
            .map_err(|errno| Error::from_refusal("ALLOCATE", errno, &raw.refusal))
    }

    /// What there is to tell of the buffer.
    pub fn query(&self) -> Result<Query> {
        self.device.query(self.fd.as_fd())
    }

    /// Maps the buffer into memory, for reading and writing.
    ///
    /// Mapping takes no memory; the first touch does. Where there is none then, the process gets
    /// SIGBUS: [`allocate`](Self::allocate) first to see an error instead.
    ///
    /// ```no_run
    /// # let buffer = cenalloc::Device::open()?.create(4096).build()?;
    /// buffer.allocate()?;
    /// let mut memory = buffer.map()?;
    /// let mut access = memory.write()?;
    /// access.copy_from(0, b"hello");
    /// drop(access); // devices see it now
    /// let mut hello = [0; 5];
    /// memory.read()?.copy_to(0, &mut hello);
    /// # Ok::<(), cenalloc::Error>(())
    /// ```
    pub fn map(&self) -> Result<Mapping<'_>> {
        Mapping::new(
            self.fd.as_fd(),
            self.len,
            ProtFlags::READ | ProtFlags::WRITE,
        )
    }

    /// Maps the buffer into memory, for reading.
    pub fn map_read_only(&self) -> Result<Mapping<'_>> {
        Mapping::new(self.fd.as_fd(), self.len, ProtFlags::READ)
    }
}

impl AsFd for Buffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Buffer {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl From<Buffer> for OwnedFd {
    fn from(buffer: Buffer) -> Self {
        buffer.fd
    }
}

impl IntoRawFd for Buffer {
    fn into_raw_fd(self) -> RawFd {
        self.fd.into_raw_fd()
    }
}

/// A buffer in the memory of this process. Unmapped when dropped.
///
/// Devices and other processes may write to the same memory at any time, which is why there are
/// no references to it but by `unsafe`: bytes are copied in and out.
#[derive(Debug)]
pub struct Mapping<'a> {
    fd: BorrowedFd<'a>,
    address: NonNull<u8>,
    len: usize,
    is_writable: bool,
}

// SAFETY: The mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping<'_> {}
// SAFETY: Through a shared reference there is only reading, byte by byte, of memory that others
// may write to anyway.
unsafe impl Sync for Mapping<'_> {}

impl<'a> Mapping<'a> {
    fn new(fd: BorrowedFd<'a>, len: u64, protection: ProtFlags) -> Result<Self> {
        let len = usize::try_from(len).map_err(|_| Error::NoMemory { call: "mmap" })?;
        let flags = MapFlags::SHARED;
        // SAFETY: The address is the kernel's choice: nothing else is mapped there.
        let address = unsafe { rustix::mm::mmap(ptr::null_mut(), len, protection, flags, fd, 0) }
            .map_err(|errno| Error::from_call("mmap", errno))?;
        let address = NonNull::new(address.cast()).ok_or(Error::NoMemory { call: "mmap" })?;
        Ok(Self {
            fd,
            address,
            len,
            is_writable: protection.contains(ProtFlags::WRITE),
        })
    }

    /// Its length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "no buffer is empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Its first byte.
    pub fn as_ptr(&self) -> *mut u8 {
        self.address.as_ptr()
    }

    /// Begins reading: what devices have written is seen until the result is dropped.
    pub fn read(&self) -> Result<ReadAccess<'_>> {
        Ok(ReadAccess {
            section: Section::begin(self, abi::DMA_BUF_SYNC_READ)?,
        })
    }

    /// Begins reading and writing: what is written is seen by devices when the result is dropped.
    ///
    /// [`Error::System`] with EACCES for a mapping for reading.
    pub fn write(&mut self) -> Result<WriteAccess<'_>> {
        if !self.is_writable {
            return Err(Error::from_call("write", Errno::ACCESS));
        }
        let section = Section::begin(self, abi::DMA_BUF_SYNC_READ | abi::DMA_BUF_SYNC_WRITE)?;
        Ok(WriteAccess {
            read: ReadAccess { section },
        })
    }
}

impl Drop for Mapping<'_> {
    fn drop(&mut self) {
        // SAFETY: The mapping is this value's own, and nothing borrows from it any more.
        let _ = unsafe { rustix::mm::munmap(self.address.as_ptr().cast::<c_void>(), self.len) };
    }
}

/// A CPU-access section of the dma-buf: caches are right between its begin and its end.
#[derive(Debug)]
struct Section<'a> {
    mapping: &'a Mapping<'a>,
    direction: u32,
}

impl<'a> Section<'a> {
    fn begin(mapping: &'a Mapping<'a>, direction: u32) -> Result<Self> {
        sync(mapping.fd, abi::DMA_BUF_SYNC_START | direction)
            .map_err(|errno| Error::from_call("DMA_BUF_IOCTL_SYNC", errno))?;
        Ok(Self { mapping, direction })
    }

    /// The address of `len` bytes from `offset` on.
    ///
    /// # Panics
    ///
    /// Where they are not all in the buffer.
    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        let end = offset.checked_add(len);
        assert!(
            end.is_some_and(|end| end <= self.mapping.len),
            "{len} bytes from {offset} on are not in a buffer of {}",
            self.mapping.len
        );
        // SAFETY: That is inside of the mapping, or its end.
        unsafe { self.mapping.as_ptr().add(offset) }
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let _ = sync(self.mapping.fd, abi::DMA_BUF_SYNC_END | self.direction);
    }
}

fn sync(fd: BorrowedFd<'_>, flags: u32) -> Result<(), Errno> {
    let mut raw = abi::dma_buf_sync {
        flags: flags.into(),
    };
    // Interrupted before anything happened: the same again is what callers want here.
    // SAFETY: There is no address in it.
    rustix::io::retry_on_intr(|| unsafe { sys::call(fd, &mut raw) })
}

/// Reading a [`Mapping`]: [`Mapping::read`].
#[derive(Debug)]
pub struct ReadAccess<'a> {
    section: Section<'a>,
}

impl ReadAccess<'_> {
    /// Copies from the buffer, from `offset` on.
    ///
    /// # Panics
    ///
    /// Where the bytes are not all in the buffer.
    pub fn copy_to(&self, offset: usize, bytes: &mut [u8]) {
        let from = self.section.at(offset, bytes.len());
        // SAFETY: Both are that long; `bytes` is nobody else's.
        unsafe { copy(from, bytes.as_mut_ptr(), bytes.len()) };
    }

    /// All of the memory.
    ///
    /// # Safety
    ///
    /// Nobody writes to it meanwhile: no device, no other process, no other mapping.
    pub unsafe fn as_slice(&self) -> &[u8] {
        let mapping = self.section.mapping;
        // SAFETY: It is mapped for that long, and by the caller's word nobody writes.
        unsafe { std::slice::from_raw_parts(mapping.as_ptr(), mapping.len) }
    }
}

/// Reading and writing a [`Mapping`]: [`Mapping::write`].
#[derive(Debug)]
pub struct WriteAccess<'a> {
    read: ReadAccess<'a>,
}

impl WriteAccess<'_> {
    /// Copies into the buffer, from `offset` on.
    ///
    /// # Panics
    ///
    /// Where the bytes do not all fit into the buffer.
    pub fn copy_from(&mut self, offset: usize, bytes: &[u8]) {
        let to = self.read.section.at(offset, bytes.len());
        // SAFETY: Both are that long.
        unsafe { copy(bytes.as_ptr(), to, bytes.len()) };
    }

    /// All of the memory.
    ///
    /// # Safety
    ///
    /// Nobody else reads or writes it meanwhile: no device, no other process, no other mapping.
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        let mapping = self.read.section.mapping;
        // SAFETY: It is mapped for that long, and by the caller's word it is nobody else's.
        unsafe { std::slice::from_raw_parts_mut(mapping.as_ptr(), mapping.len) }
    }
}

impl<'a> std::ops::Deref for WriteAccess<'a> {
    type Target = ReadAccess<'a>;

    fn deref(&self) -> &ReadAccess<'a> {
        &self.read
    }
}

/// Copies between memory that others may write to and memory that is ours: each byte is read once
/// and written once, and nothing is assumed of its staying the same.
///
/// # Safety
///
/// `from` can be read and `to` written for `len` bytes, which do not overlap.
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    const WORD: usize = size_of::<usize>();
    let mut done = 0;
    // Whole words where both sides can be aligned at once.
    if from as usize % WORD == to as usize % WORD {
        while done < len && (from as usize + done) % WORD != 0 {
            // SAFETY: `done` is below `len`.
            unsafe { to.add(done).write_volatile(from.add(done).read_volatile()) };
            done += 1;
        }
        while len - done >= WORD {
            // SAFETY: A whole word is left, and both are aligned.
            unsafe {
                let word = from.add(done).cast::<usize>().read_volatile();
                to.add(done).cast::<usize>().write_volatile(word);
            }
            done += WORD;
        }
    }
    while done < len {
        // SAFETY: `done` is below `len`.
        unsafe { to.add(done).write_volatile(from.add(done).read_volatile()) };
        done += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    proptest! {
        #[test]
        fn copies_are_exact(
            from in proptest::collection::vec(any::<u8>(), 0..200),
            skip in 0..9usize,
            shift in 0..9usize,
        ) {
            let from = from.get(skip..).unwrap_or(&[]);
            let mut to = vec![0xa5u8; from.len() + shift + 8];
            // SAFETY: There is room for all of it.
            unsafe { copy(from.as_ptr(), to.as_mut_ptr().add(shift), from.len()) };
            prop_assert_eq!(&to[shift..shift + from.len()], from);
            prop_assert!(to[..shift].iter().all(|byte| *byte == 0xa5));
            prop_assert!(to[shift + from.len()..].iter().all(|byte| *byte == 0xa5));
        }
    }

    #[test]
    fn declarations_are_checked_first() {
        let user = Declaration::device("platform", "vivid.0");
        let raw = user.to_raw(7).unwrap();
        assert_eq!(raw.fd, 7);
        assert_eq!(sys::text(&raw.bus), "platform");
        assert_eq!(sys::text(&raw.device), "vivid.0");
        let long = "x".repeat(64);
        for (bus, device) in [
            ("a/b", "c"),
            ("a", "b/c"),
            ("a\0", "b"),
            ("a", &long),
            (&long, "b"),
        ] {
            let result = Declaration::device(bus, device).to_raw(7);
            assert!(matches!(result, Err(Error::BadName(_))), "{bus} {device}");
        }
        let odd = user.needs(Constraints::ANY.max_segments(0)).to_raw(7);
        assert!(matches!(odd, Err(Error::Malformed(_))));
    }

    #[test]
    fn timeouts_are_nanoseconds() {
        let timeout = |user: Declaration| user.to_raw(7).unwrap().timeout;
        let user = Declaration::device("platform", "vivid.0");
        assert_eq!(timeout(user.clone()), 0);
        assert_eq!(timeout(user.clone().timeout(Duration::ZERO)), 0);
        assert_eq!(
            timeout(user.clone().timeout(Duration::from_micros(3))),
            3000
        );
        assert_eq!(timeout(user.clone().timeout(Duration::MAX)), i64::MAX);
        assert_eq!(timeout(user.wait()), -1);
    }

    /// An ordinary file in place of a buffer: it can be mapped, and is no dma-buf.
    fn file(len: usize) -> Buffer {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; len]).unwrap();
        let device = Device::open_at("/dev/null").unwrap();
        Buffer::new(device, file.into(), len as u64, 7)
    }

    #[test]
    fn mappings_end_with_their_value() {
        let buffer = file(8192);
        let mapping = buffer.map().unwrap();
        assert_eq!(mapping.len(), 8192);
        let address = mapping.as_ptr() as usize;
        let is_mapped = || {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            maps.contains(&format!("{address:08x}-"))
        };
        assert!(is_mapped());
        drop(mapping);
        assert!(!is_mapped());
    }

    #[test]
    fn only_buffers_can_be_synchronized() {
        let buffer = file(4096);
        let mut mapping = buffer.map().unwrap();
        let call = "DMA_BUF_IOCTL_SYNC";
        let errno = Errno::NOTTY;
        let error = Error::Unsupported { call, errno };
        assert_eq!(mapping.read().unwrap_err(), error);
        assert_eq!(mapping.write().unwrap_err(), error);
        let mut mapping = buffer.map_read_only().unwrap();
        let error = mapping.write().unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ACCESS.raw_os_error()));
    }

    #[test]
    #[should_panic(expected = "are not in a buffer of 4096")]
    fn nothing_is_read_beyond_the_end() {
        let buffer = file(4096);
        let mapping = buffer.map().unwrap();
        let section = std::mem::ManuallyDrop::new(Section {
            mapping: &mapping,
            direction: 0,
        });
        assert_eq!(section.at(4096, 0), mapping.as_ptr().wrapping_add(4096));
        section.at(usize::MAX, 2);
    }

    #[test]
    fn calls_on_what_is_no_buffer() {
        let buffer = file(4096);
        let errno = Errno::NOTTY;
        let call = "DECLARE";
        let declared = buffer.declare(Constraints::ANY);
        assert_eq!(declared, Err(Error::Unsupported { call, errno }));
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(buffer.declare_file(null), Err(Error::NoUserDevice));
        let call = "ALLOCATE";
        assert_eq!(buffer.allocate(), Err(Error::Unsupported { call, errno }));
    }
}
