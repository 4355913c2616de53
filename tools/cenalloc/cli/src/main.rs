// SPDX-License-Identifier: GPL-2.0

//! `cenalloc`: shows buffers whose memory is chosen when all users are known, and says in words
//! why somebody was refused.
//!
//! `Documentation/admin-guide/cenalloc-tool.rst` tells the rest, the keys of `--json` among it.

mod args;
mod buffers;
mod complete;
mod failure;
mod generate;
mod manual;
mod policy;
mod query;
mod recipes;
mod table;
mod view;
mod watch;
mod why;

use args::{Args, Command};
use clap::Parser;
use failure::{Failure, Result};
use serde::Serialize;
use std::{io::Write, process::ExitCode};

fn main() -> ExitCode {
    generate::answer();
    let args = Args::parse();
    match run(&args) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(args.json),
    }
}

/// Runs the command. The result is the status to exit with.
fn run(args: &Args) -> Result<u8> {
    match &args.command {
        Command::List(list) => buffers::list(args, list)?,
        Command::Watch(watch) => watch::watch(args, watch)?,
        Command::Why(which) => why::why(args, which)?,
        Command::Query(which) => query::query(args, which)?,
        Command::Test(test) => return query::test(args, test),
        Command::Allocators => query::allocators(args)?,
        Command::Device(devices) => query::devices(args, devices)?,
        Command::Policy(policy) => policy::policy(args, policy)?,
        Command::Completion { shell } => generate::completion(*shell)?,
        Command::Man { directory } => generate::man(directory)?,
    }
    Ok(0)
}

/// Writes to standard output. That nobody reads any more is no error.
fn emit(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::from_io("standard output", &error))
        }
        _ => Ok(()),
    }
}

/// Writes `value` as JSON, or `text`.
fn show<T: Serialize>(args: &Args, value: &T, text: impl FnOnce() -> String) -> Result<()> {
    if args.json {
        emit(&(view::pretty(value) + "\n"))
    } else {
        emit(&text())
    }
}

/// A text in one line without control characters, whoever chose it.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}
