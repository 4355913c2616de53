// SPDX-License-Identifier: GPL-2.0

//! What follows from the command line's definition: completion and manual pages.

use crate::{
    args::Args,
    emit,
    failure::{Failure, Result},
};
use clap::{Command, CommandFactory};
use clap_complete::{
    env::{CompleteEnv, Shells},
    Shell,
};
use clap_mangen::Man;
use std::{
    io::{self, Write},
    path::Path,
};

/// The variable by which a shell's script asks this program for what it offers.
const ASKED: &str = "CENALLOC_COMPLETE";

/// Answers a shell that asks what to offer, and ends then.
pub(crate) fn answer() {
    CompleteEnv::with_factory(Args::command)
        .var(ASKED)
        .complete();
}

/// `cenalloc completion`.
pub(crate) fn completion(shell: Shell) -> Result<()> {
    let name = shell.to_string();
    let shells = Shells::builtins();
    let mut script = Vec::new();
    if let Some(shell) = shells.completer(&name) {
        let program = "cenalloc";
        shell
            .write_registration(ASKED, program, program, program, &mut script)
            .map_err(|error| Failure::from_io(&name, &error))?;
    }
    emit(&String::from_utf8_lossy(&script))
}

/// `cenalloc man`.
pub(crate) fn man(directory: &Path) -> Result<()> {
    let mut command = Args::command().disable_help_subcommand(true);
    command.build();
    pages(&command, directory)
        .map_err(|error| Failure::from_io(&directory.display().to_string(), &error))
}

/// Writes the page of a command, and those of the commands below it.
fn pages(command: &Command, directory: &Path) -> io::Result<()> {
    let below = command.get_subcommands();
    for command in below.filter(|command| !command.is_hide_set()) {
        pages(command, directory)?;
    }
    let more = command
        .get_after_long_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    sections(&more, &mut page)?;
    std::fs::write(directory.join(man.get_filename()), page)
}

/// Writes sections as [`manual`](crate::manual) has them.
fn sections(text: &str, page: &mut Vec<u8>) -> io::Result<()> {
    let mut is_literal = false;
    let mut is_first = true;
    for line in text.lines() {
        let literal = line.strip_prefix("  ");
        if literal.is_some() != is_literal {
            is_literal = literal.is_some();
            page.write_all(if is_literal {
                b".RS 4\n.nf\n"
            } else {
                b".fi\n.RE\n"
            })?;
        }
        if let Some(literal) = literal {
            writeln!(page, "{}", plain(literal))?;
        } else if let (Some(title), true) = (line.strip_suffix(':'), is_first) {
            writeln!(page, ".SH {}", title.to_uppercase())?;
        } else if !line.is_empty() {
            writeln!(page, ".PP\n{}", plain(line))?;
        }
        is_first = line.is_empty();
    }
    if is_literal {
        page.write_all(b".fi\n.RE\n")?;
    }
    Ok(())
}

/// A line as roff takes it literally.
fn plain(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    let is_request = line.starts_with(['.', '\'']);
    if is_request {
        format!("\\&{line}")
    } else {
        line
    }
}
