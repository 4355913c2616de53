// SPDX-License-Identifier: GPL-2.0

//! What the fuzz targets share: values drawn from bytes, a second opinion on them, and the set of
//! a buffer's users, built for the host.
//!
//! The set is made of the very files that go into the module. Of the kernel crate it uses very
//! little, which [`prelude`], [`alloc`], [`page`] and [`sync`] stand in for, under the
//! crate's name; [`few`] stands in for the module's own.

#![deny(unsafe_code)]
// As the modules allow it: a refusal is large, and rare.
#![allow(clippy::large_enum_variant, clippy::result_large_err)]

extern crate self as kernel;

pub mod alloc;
pub mod draw;
pub mod few;
pub mod page;
pub mod prelude;
pub mod sync;

#[path = "../../tests/model/oracle.rs"]
pub mod oracle;

// An inline module, since a `path` on the modules themselves would make `members` unreachable by
// the name that `attach` has for it.
#[path = "../../.."]
mod shared {
    pub mod attach;
    #[allow(unsafe_code, reason = "what it is for")]
    pub(crate) mod members;
}

pub use dma_buf_constraints_host::model;
pub use shared::attach;
pub(crate) use shared::members;
