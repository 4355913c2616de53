// SPDX-License-Identifier: GPL-2.0

//! What ends the program.

use serde::Serialize;
use std::process::ExitCode;

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// What went wrong, and what can be done.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) errno: Option<i32>,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            errno: None,
            hint: None,
        }
    }

    pub(crate) fn from_io(what: &str, error: &std::io::Error) -> Self {
        Self {
            errno: error.raw_os_error(),
            ..Self::new(format!("{what}: {error}"))
        }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Says so, and gives the status to exit with.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if json {
            eprintln!("{}", serde_json::json!({ "error": self }));
        } else {
            eprintln!("cenalloc: {}", crate::plain(&self.message));
            if let Some(hint) = &self.hint {
                eprintln!("{hint}");
            }
        }
        ExitCode::FAILURE
    }
}

impl From<cenalloc::Error> for Failure {
    fn from(error: cenalloc::Error) -> Self {
        let hint = hint(&error);
        Self {
            message: error.to_string(),
            errno: error.errno(),
            hint,
        }
    }
}

fn hint(error: &cenalloc::Error) -> Option<String> {
    use cenalloc::{Errno, Error};

    Some(match error {
        Error::File { errno, .. } if *errno == Errno::NOENT => {
            "Is the module loaded (modprobe cenalloc)? Files in debugfs need it mounted as well:\n\
             mount -t debugfs none /sys/kernel/debug"
                .to_owned()
        }
        Error::File { errno, .. } if *errno == Errno::ACCESS || *errno == Errno::PERM => {
            "That takes root, or a right to the file.".to_owned()
        }
        Error::Unsupported { .. } => {
            "The module is older than this program, or the file is another device.".to_owned()
        }
        Error::Line { .. } => "The module and this program are not of the same age.".to_owned(),
        _ => return None,
    })
}
