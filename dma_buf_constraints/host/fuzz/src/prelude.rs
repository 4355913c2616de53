// SPDX-License-Identifier: GPL-2.0

//! Stands in for `kernel::prelude`: allocations can fail.

use crate::alloc::{
    AllocError,
    Flags, //
};
use std::cell::Cell;

pub use std::pin::Pin;

/// An errno, less than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(i32);

impl Error {
    pub fn from_errno(errno: i32) -> Self {
        Self(errno)
    }
}

impl From<AllocError> for Error {
    fn from(_: AllocError) -> Self {
        Self(-12)
    }
}

pub type Result<T = (), E = Error> = core::result::Result<T, E>;

pub const GFP_KERNEL: Flags = Flags;

thread_local! {
    /// How many more allocations succeed before one fails.
    static UNTIL_FAILURE: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Lets the allocation after the next `count` fail, or none.
pub fn fail_after(count: Option<u32>) {
    UNTIL_FAILURE.set(count);
}

pub(crate) fn allocate() -> Result<(), AllocError> {
    match UNTIL_FAILURE.get() {
        Some(0) => {
            UNTIL_FAILURE.set(None);
            Err(AllocError)
        }
        left => {
            UNTIL_FAILURE.set(left.map(|count| count - 1));
            Ok(())
        }
    }
}
