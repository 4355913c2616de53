// SPDX-License-Identifier: GPL-2.0

//! The constraint model: what devices need of a buffer's memory, and whether memory gives it.
//!
//! Nothing here knows of the kernel. The model is plain arithmetic over addresses and lengths in
//! bytes and uses `core` only, so that the same files are compiled into the module and into the
//! host tests in `dma_buf_constraints/host`.
//!
//! - [`Constraints`] is what one device needs, or several together ([`Constraints::meet`]).
//! - [`Needs`] is what one user needs, by itself and as a second choice; [`Together`] is what all
//!   do.
//! - [`Preferences`] are what they would like beyond that, if it is to be had.
//! - [`Memory`] is what there is; [`Constraints::misfit`] compares the two.
//! - [`Segments`] cuts memory into the segments of one device's table.
//! - [`Refusal`] says who could not be served, and why.

mod constraints;
mod memory;
mod needs;
mod preferences;
mod refusal;
mod words;

pub use constraints::{
    replaced,
    Constraints,
    Placement,
    SegmentLimits, //
};
pub use memory::{
    Cut,
    Memory,
    Misfit,
    Range,
    Segments,
    LONGEST_SEGMENT, //
};
pub use needs::{
    Choice,
    Facts,
    Needs,
    Together, //
};
pub use preferences::{
    Preferences,
    Strength, //
};
pub use refusal::{
    Cause,
    Field,
    Holder,
    Name,
    Refusal, //
};
pub use words::{
    Classes,
    Limit,
    Size, //
};
