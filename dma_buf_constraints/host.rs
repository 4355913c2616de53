// SPDX-License-Identifier: GPL-2.0

//! The constraint model of the kernel module, built for the host.
//!
//! There is no code here: `no_std` shows that the model needs `core` only, and the tests in
//! `host/tests/` exercise the very files that go into the module.

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod model;
