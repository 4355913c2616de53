// SPDX-License-Identifier: GPL-2.0

//! The constraint model: what devices need of a buffer's memory, and whether memory gives it.
//!
//! Nothing here knows of the kernel. The model is plain arithmetic over addresses and lengths in
//! bytes and uses `core` only, so that the same files are compiled into the module and into the
//! host tests in `dma_buf_constraints/host`.
//!
//! - [`Constraints`] is what one device needs, or several together ([`Constraints::meet`]).
//! - [`Needs`] is what a user needs, by where it is known from; [`unify`] tells whether an ancestor
//!   lets users share that could not otherwise.
//! - [`Memory`] is what there is; [`Constraints::misfit`] compares the two.
//! - [`Segments`] cuts memory into the segments of one device's table.
//! - [`Conflict`] says who could not be served, and why.

mod conflict;
mod constraints;
mod memory;
mod needs;

pub use conflict::{
    Conflict,
    Limit,
    Name,
    Party, //
};
pub use constraints::{
    Constraints,
    Field,
    Placement,
    SegmentLimits,
    ZeroIsAny, //
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
    release_ancestors,
    unify,
    Facts,
    Needs,
    Places,
    Said, //
};
