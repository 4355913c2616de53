// SPDX-License-Identifier: GPL-2.0

//! What devices need of the memory of a shared buffer, and dma-buf in safe Rust.
//!
//! - [`model`]: constraints, how they combine, whether memory satisfies them. No kernel types.
//! - [`device`]: what one device needs. [`policy`]: what the administrator writes for it.
//!   [`bound`]: what is kept for it until its driver unbinds.
//! - [`attach`]: the users of one buffer, and what they need together.
//! - [`dma_buf`]: exporters and importers over the C dma-buf core. [`few`]: lists for them.
//! - [`waiters`]: who waits until a buffer changes.
//!
//! C headers: [`include/linux/dma-buf-constraints.h`](srctree/include/linux/dma-buf-constraints.h).

#![expect(
    clippy::large_enum_variant,
    clippy::result_large_err,
    reason = "a refusal is rare, and must not fail for want of memory"
)]

use kernel::prelude::*;

pub mod attach;
pub mod bound;
pub mod c_api;
pub mod device;
pub mod dma_buf;
pub mod few;
mod members;
pub mod model;
mod policy;
#[cfg(CONFIG_DMA_BUF_CONSTRAINTS_KUNIT_TEST)]
mod tests;
pub mod waiters;

module! {
    type: DmaBufConstraints,
    name: "dma_buf_constraints",
    authors: ["The cenalloc developers"],
    description: "Constraints of the users of a dma-buf on its memory",
    license: "GPL",
    imports_ns: ["DMA_BUF"],
}

/// The module. Declarations and buffers keep it loaded by themselves.
#[pin_data]
struct DmaBufConstraints {
    #[pin]
    policies: kernel::configfs::Subsystem<policy::Directory>,
    watching: bound::Watching,
    modules: device::Watch,
}

impl kernel::InPlaceModule for DmaBufConstraints {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        policy::init();
        try_pin_init!(Self {
            watching: bound::Watching::new(),
            modules: device::Watch::new()?,
            policies <- policy::directory(),
        })
    }
}

/// Kernel messages have a formatting trait of their own.
impl kernel::fmt::Display for model::Refusal {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

/// Bindings to `helpers.h` and the C headers of this module.
#[allow(
    clippy::all,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
mod c {
    use kernel::{
        bindings::*,
        ffi, //
    };

    include!(concat!(
        env!("DMA_BUF_CONSTRAINTS_OBJ"),
        "/bindings_generated.rs"
    ));
}
