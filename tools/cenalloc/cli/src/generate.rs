// SPDX-License-Identifier: GPL-2.0

//! What follows from the command line's definition: completion and manual pages.

use crate::{
    args::Args,
    emit,
    failure::{Failure, Result},
};
use clap::CommandFactory;
use std::path::Path;

/// `cenalloc completion`.
pub(crate) fn completion(shell: clap_complete::Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "cenalloc", &mut script);
    emit(&String::from_utf8_lossy(&script))
}

/// `cenalloc man`.
pub(crate) fn man(directory: &Path) -> Result<()> {
    clap_mangen::generate_to(Args::command(), directory)
        .map_err(|error| Failure::from_io(&directory.display().to_string(), &error))
}
