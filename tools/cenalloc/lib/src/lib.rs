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
//!         eprintln!("{error}"); // what happened, and what can be done about it
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
//! - [`Constraints`] are what a user needs, and a [`Reason`] with its [`Refusal`] is why it was
//!   refused: of the very call that failed in [`Error::reason`], the last one in [`Query`].
//! - [`debugfs`] reads the files on all buffers of the system, and [`procfs`] finds the processes
//!   that have them.
//! - [`abi`] is the ABI itself, as bindgen reads it from the header.

#![warn(missing_docs)]

pub mod abi;
pub mod debugfs;
pub mod procfs;

mod allocator;
mod buffer;
mod constraints;
mod device;
mod error;
mod model;
mod query;
mod reason;
mod sys;
mod sysfs;
mod units;

pub use allocator::{Allocator, Area, TestOutcome};
pub use buffer::{Buffer, Declaration, Mapping, ReadAccess, WriteAccess};
pub use constraints::{Constraints, Malformed};
pub use device::{Create, Device};
pub use error::{Error, Result};
pub use model::{Cause, Field, Holder, Name, Refusal};
pub use query::{Caching, Holds, Left, Preferences, Query, Source, State, User};
pub use reason::Reason;
pub use rustix::io::Errno;
pub use sysfs::UserDevice;
pub use units::{Classes, Limit, ParseError, Size};
