// SPDX-License-Identifier: GPL-2.0

//! What can go wrong.

use crate::{conflict::Conflict, constraints::Malformed, units::ParseError};
use rustix::io::Errno;
use std::{fmt, path::PathBuf};

/// The result of this library's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a user was refused, from QUERY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// In the kernel's words.
    pub text: String,
    /// As a value.
    pub conflict: Conflict,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What can go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be opened or read: `/dev/cenalloc`, a file in debugfs or sysfs.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// The kernel does not know the call, or not all of what was asked for: it is older than this
    /// library, or the file is not `/dev/cenalloc`. ENOTTY or E2BIG.
    Unsupported {
        /// Which call.
        call: &'static str,
        /// Why.
        errno: Errno,
    },
    /// The descriptor is none, or no buffer of cenalloc. EBADF or EINVAL.
    NotABuffer {
        /// Why.
        errno: Errno,
    },
    /// Constraints make no sense; the kernel was not asked.
    Malformed(Malformed),
    /// A name is too long, has a slash or a NUL; the kernel was not asked.
    BadName(String),
    /// The user can never share this buffer with those before. EINVAL.
    Never {
        /// Why, where the kernel has told.
        reason: Option<Box<Reason>>,
    },
    /// The user could have taken part before the buffer got its memory. EBUSY.
    TooLate {
        /// Why, where the kernel has told.
        reason: Option<Box<Reason>>,
    },
    /// There is no such device, it has no driver, or it does no DMA. ENODEV.
    NoDevice {
        /// Its bus.
        bus: String,
        /// Its name.
        device: String,
    },
    /// A descriptor is of no device file, or of one without a device on a bus behind it.
    NoUserDevice,
    /// Out of memory: here, or in every allocator that suits all users. ENOMEM.
    NoMemory {
        /// Which call.
        call: &'static str,
    },
    /// A signal came first; the call can be made again. EINTR.
    Interrupted {
        /// Which call.
        call: &'static str,
    },
    /// Any other error of the system.
    System {
        /// Which call.
        call: &'static str,
        /// Why.
        errno: Errno,
    },
    /// A file of the kernel has a line that this library cannot read.
    Line {
        /// Which file.
        path: PathBuf,
        /// What was found.
        error: ParseError,
    },
}

impl Error {
    /// The number of the system's error, as in `errno.h`, where there is one.
    pub fn errno(&self) -> Option<i32> {
        let errno = match self {
            Self::File { errno, .. }
            | Self::Unsupported { errno, .. }
            | Self::NotABuffer { errno }
            | Self::System { errno, .. } => *errno,
            Self::Malformed(_) | Self::BadName(_) | Self::Never { .. } => Errno::INVAL,
            Self::TooLate { .. } => Errno::BUSY,
            Self::NoDevice { .. } | Self::NoUserDevice => Errno::NODEV,
            Self::NoMemory { .. } => Errno::NOMEM,
            Self::Interrupted { .. } => Errno::INTR,
            Self::Line { .. } => return None,
        };
        Some(errno.raw_os_error())
    }

    /// Why a user was refused, where the kernel has told.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Never { reason } | Self::TooLate { reason } => reason.as_deref(),
            _ => None,
        }
    }

    /// For errors that mean the same in every call.
    pub(crate) fn from_call(call: &'static str, errno: Errno) -> Self {
        match errno {
            Errno::NOTTY | Errno::TOOBIG => Self::Unsupported { call, errno },
            Errno::NOMEM => Self::NoMemory { call },
            Errno::INTR => Self::Interrupted { call },
            errno => Self::System { call, errno },
        }
    }

    /// As [`from_call`](Self::from_call), for a call in which EINVAL and EBADF are about the
    /// buffer.
    pub(crate) fn from_buffer_call(call: &'static str, errno: Errno) -> Self {
        match errno {
            Errno::BADF | Errno::INVAL => Self::NotABuffer { errno },
            errno => Self::from_call(call, errno),
        }
    }

    pub(crate) fn from_file(path: impl Into<PathBuf>, error: &std::io::Error) -> Self {
        Self::File {
            path: path.into(),
            errno: Errno::from_io_error(error).unwrap_or(Errno::IO),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let because = |f: &mut fmt::Formatter<'_>, reason: &Option<Box<Reason>>| match reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        };
        match self {
            Self::File { path, errno } => write!(f, "{}: {errno}", path.display()),
            Self::Unsupported { call, errno } => {
                write!(
                    f,
                    "the kernel's cenalloc does not know {call} as asked: {errno}"
                )
            }
            Self::NotABuffer { errno } => {
                write!(f, "the descriptor is no buffer of cenalloc: {errno}")
            }
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::BadName(name) => write!(f, "{name:?} is no name that the kernel takes"),
            Self::Never { reason } => {
                f.write_str("the user can never share this buffer")?;
                because(f, reason)
            }
            Self::TooLate { reason } => {
                f.write_str("the user comes too late for this buffer")?;
                because(f, reason)
            }
            Self::NoDevice { bus, device } => write!(
                f,
                "{bus} device {device} is not there, has no driver, or does no DMA"
            ),
            Self::NoUserDevice => f.write_str("there is no device on a bus behind the descriptor"),
            Self::NoMemory { call } => write!(f, "{call}: out of memory"),
            Self::Interrupted { call } => write!(f, "{call}: interrupted"),
            Self::System { call, errno } => write!(f, "{call}: {errno}"),
            Self::Line { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for Error {}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.errno() {
            Some(errno) => std::io::Error::from_raw_os_error(errno).kind(),
            None => std::io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_number() {
        let call = "ALLOCATE";
        for errno in [
            Errno::NOTTY,
            Errno::TOOBIG,
            Errno::NOMEM,
            Errno::INTR,
            Errno::MFILE,
            Errno::BADF,
            Errno::INVAL,
        ] {
            let raw = Some(errno.raw_os_error());
            assert_eq!(Error::from_call(call, errno).errno(), raw);
            assert_eq!(Error::from_buffer_call(call, errno).errno(), raw);
        }
        assert_eq!(
            Error::NoUserDevice.errno(),
            Some(Errno::NODEV.raw_os_error())
        );
        let error = std::io::Error::from(Error::NoMemory { call });
        assert_eq!(error.kind(), std::io::ErrorKind::OutOfMemory);
    }
}
