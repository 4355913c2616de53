// SPDX-License-Identifier: GPL-2.0

//! Refusals and their words: the files of the kernel modules, so that both say the same.

// They are linted where the modules are built.
#[allow(clippy::all)]
mod refusal;
#[allow(clippy::all)]
mod words;

pub use refusal::{Cause, Field, Holder, Name, Refusal};
pub(crate) use words::{Classes, Limit, Size};
