// SPDX-License-Identifier: GPL-2.0

//! What can go wrong.

use crate::{
    abi,
    constraints::Malformed,
    model::{Cause, Refusal},
    reason::Reason,
    units::ParseError,
};
use rustix::io::Errno;
use std::{fmt, path::PathBuf};

/// The result of this library's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be opened or read: `/dev/cenalloc`, a file in debugfs, sysfs or procfs.
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
    /// A name is too long, or has characters that the kernel does not take; it was not asked.
    BadName(String),
    /// The kernel finds no sense in what a call was asked for. EINVAL.
    Mistake {
        /// Which call.
        call: &'static str,
    },
    /// The kernel refused a user, or gave the buffer no memory.
    Refused {
        /// Which call.
        call: &'static str,
        /// The error: EINVAL for never, EBUSY for too late, ENOMEM for not now, EIO for a device
        /// that the DMA layer copies for, ENODEV for a device that cannot be declared.
        errno: Errno,
        /// Why: of this very call.
        reason: Reason,
    },
    /// A descriptor is of no device file, or of one without a device on a bus behind it.
    NoUserDevice,
    /// There is no memory for the call itself. ENOMEM.
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
    /// Returns the number of the system's error, as in `errno.h`, where there is one.
    pub fn errno(&self) -> Option<i32> {
        let errno = match self {
            Self::File { errno, .. }
            | Self::Unsupported { errno, .. }
            | Self::NotABuffer { errno }
            | Self::Refused { errno, .. }
            | Self::System { errno, .. } => *errno,
            Self::Malformed(_) | Self::BadName(_) | Self::Mistake { .. } => Errno::INVAL,
            Self::NoUserDevice => Errno::NODEV,
            Self::NoMemory { .. } => Errno::NOMEM,
            Self::Interrupted { .. } => Errno::INTR,
            Self::Line { .. } => return None,
        };
        Some(errno.raw_os_error())
    }

    /// Returns why the kernel refused, if it did.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Refused { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// Returns why the kernel refused, if it did and this library knows what it is about.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.reason()?.refusal()
    }

    /// Returns the cause of [`refusal`](Self::refusal).
    pub fn cause(&self) -> Option<Cause> {
        self.reason()?.cause()
    }

    /// For errors that mean the same in every call.
    pub(crate) fn from_call(call: &'static str, errno: Errno) -> Self {
        match errno {
            Errno::NOTTY | Errno::TOOBIG => Self::Unsupported { call, errno },
            Errno::INVAL => Self::Mistake { call },
            Errno::NOMEM => Self::NoMemory { call },
            Errno::INTR => Self::Interrupted { call },
            errno => Self::System { call, errno },
        }
    }

    /// As [`from_call`](Self::from_call), for a call that tells why it failed.
    pub(crate) fn from_refusal(
        call: &'static str,
        errno: Errno,
        refusal: &abi::cenalloc_refusal,
    ) -> Self {
        match Reason::from_raw(refusal) {
            Some(reason) => Self::Refused {
                call,
                errno,
                reason,
            },
            None => Self::from_call(call, errno),
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
            Self::Mistake { call } => {
                write!(f, "the kernel finds no sense in what {call} asks for")
            }
            Self::Refused { reason, .. } => reason.fmt(f),
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
            Some(errno) => Self::from_raw_os_error(errno).kind(),
            None => std::io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::tests::to_raw;

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
        }
        assert_eq!(
            Error::NoUserDevice.errno(),
            Some(Errno::NODEV.raw_os_error())
        );
        let error = std::io::Error::from(Error::NoMemory { call });
        assert_eq!(error.kind(), std::io::ErrorKind::OutOfMemory);
    }

    #[test]
    fn a_refusal_is_that_of_the_call() {
        let call = "DECLARE";
        for cause in Cause::ALL {
            let refusal = Refusal::new(*cause);
            let error = Error::from_refusal(call, Errno::BUSY, &to_raw(&refusal));
            assert_eq!(error.errno(), Some(Errno::BUSY.raw_os_error()));
            assert_eq!(error.refusal(), Some(&refusal));
            assert_eq!(error.cause(), Some(*cause));
            assert_eq!(error.to_string(), refusal.to_string());
        }
        let own = Error::from_refusal(call, Errno::INVAL, &abi::cenalloc_refusal::default());
        assert_eq!(own, Error::Mistake { call });
        assert_eq!(own.reason(), None);
    }
}
