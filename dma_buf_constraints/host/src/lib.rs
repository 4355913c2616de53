// SPDX-License-Identifier: GPL-2.0

//! The constraint model of the kernel module, built for the host.
//!
//! There is no code here: `no_std` shows that the model needs `core` only, and the tests in
//! `tests/` exercise the very files that go into the module.

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

// An inline module, since a `path` on `mod model` itself would move the directory where the
// model's own modules are looked for.
#[path = "../.."]
mod shared {
    pub mod model;
}

pub use shared::model;
