// SPDX-License-Identifier: GPL-2.0

//! Stands in for `kernel::page`.

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;
