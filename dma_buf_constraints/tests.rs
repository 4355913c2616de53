// SPDX-License-Identifier: GPL-2.0

//! KUnit suites: what only the kernel can test of this module.
//!
//! What the [`model`](crate::model) computes is tested on the host, by properties. Here it meets
//! the kernel's page size, checks of overflow and messages; and what stands on it, kernel memory
//! and devices.

mod attach;
mod device;
mod lists;
mod model;
mod table;
mod waiters;
