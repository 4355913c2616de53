// SPDX-License-Identifier: GPL-2.0

//! Buffers shared by devices, whose memory is chosen when all users are known: a safe wrapper of
//! `/dev/cenalloc`.
//!
//! A buffer begins without memory. Devices attach to it, or are declared, and each narrows what
//! the memory may be. The first use takes memory that suits all of them, from the best allocator
//! that has it. Who cannot take part is refused, and told why.
//!
//! ```no_run
//! use cenalloc::{Constraints, Device, Limit};
//! use std::fs::File;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let device = Device::open()?;
//!     let buffer = device.create(8 << 20).name("frame").build()?;
//!
//!     // A camera maps in the moment it attaches: tell of all users before.
//!     let camera = File::open("/dev/video0")?;
//!     println!("{} will use it", buffer.declare_file(&camera)?.name);
//!     let display = Constraints::ANY
//!         .contiguous()
//!         .max_address("2^32".parse::<Limit>()?.0);
//!     if let Err(error) = buffer.declare(display) {
//!         eprintln!("{error}");
//!         for advice in error.reason().iter().flat_map(|reason| reason.conflict.advice()) {
//!             eprintln!("  {advice}");
//!         }
//!     }
//!
//!     // No cost and no ENOMEM at the first use.
//!     buffer.allocate()?;
//!     let mut memory = buffer.map()?;
//!     memory.write()?.copy_from(0, b"first line");
//!     println!("{} has it", buffer.query()?.allocator.unwrap_or_default());
//!     Ok(())
//! }
//! ```
//!
//! - [`Device`] makes [`Buffer`]s, lists [allocators](Device::allocators) and
//!   [tests](Device::test) whether there is memory for what users need.
//! - [`Buffer`] owns the descriptor of a dma-buf, which every importer takes.
//! - [`UserDevice`] turns an open device file into what [`Buffer::declare`] wants.
//! - [`Constraints`] are what a user needs, and [`Conflict`] is why it was refused, with
//!   [advice](Conflict::advice).
//! - [`debugfs`] reads the files on all buffers of the system.
//! - [`abi`] is the ABI itself, as bindgen reads it from the header.

#![warn(missing_docs)]

pub mod abi;
pub mod debugfs;

mod allocator;
mod buffer;
mod conflict;
mod constraints;
mod device;
mod error;
mod query;
mod sys;
mod sysfs;
mod units;

pub use allocator::{Allocator, TestOutcome};
pub use buffer::{Buffer, Declaration, Mapping, ReadAccess, WriteAccess};
pub use conflict::{Conflict, Party};
pub use constraints::{Constraints, Field, Malformed};
pub use device::{Create, Device};
pub use error::{Error, Reason, Result};
pub use query::{Query, State, User};
pub use rustix::io::Errno;
pub use sysfs::UserDevice;
pub use units::{Classes, Limit, ParseError, Size};
