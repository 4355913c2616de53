// SPDX-License-Identifier: GPL-2.0

//! Stands in for `kernel::alloc`.

/// How to allocate.
#[derive(Clone, Copy)]
pub struct Flags;

/// There was no memory.
#[derive(Debug)]
pub struct AllocError;
