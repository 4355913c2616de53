// SPDX-License-Identifier: GPL-2.0

//! KUnit suites: what only the kernel can test of this module.

mod allocator;
mod buffer;
