// SPDX-License-Identifier: GPL-2.0

//! The crate `cenalloc` from another module: an allocator, and buffers.
//!
//! - `pool.rs`: an allocator. What it gives is kept by an [`Owner`](cenalloc::Owner), whose drop
//!   takes it back.
//! - `file.rs`: a buffer by [`Handle`](cenalloc::Handle).
//!
//! [`Registration`] keeps the allocator in cenalloc's list: the module owns it.

use cenalloc::{
    Description,
    Registration, //
};
use dma_buf_constraints::model::Name;
use kernel::{
    miscdevice::{
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    prelude::*,
    sync::Arc, //
};

mod file;
mod pool;

module! {
    type: Module,
    name: "cenalloc_rust_allocator",
    authors: ["The cenalloc developers"],
    description: "Sample allocator for cenalloc in Rust",
    license: "GPL",
    imports_ns: ["DMA_BUF"],
}

/// The module. While a buffer has memory of the pool, it cannot be unloaded.
#[pin_data]
struct Module {
    #[pin]
    _misc: MiscDeviceRegistration<file::AllocatorFile>,
    _registration: Registration,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let register = move || {
            let pool = pool::Pool::new(c::RUST_ALLOCATOR_PAGES as usize)?;
            let description = Description {
                name: Name::new(b"rust-pool"),
                class: c::RUST_ALLOCATOR_CLASS,
                priority: 50,
            };
            let allocator = Arc::new(pool::PoolAllocator(pool), GFP_KERNEL)?;
            Registration::new(module, description, allocator)
        };
        try_pin_init!(Self {
            _registration: register()?,
            _misc <- MiscDeviceRegistration::register(MiscDeviceOptions {
                name: c"cenalloc_rust_allocator",
            }),
        })
    }
}

/// Bindings to `page.h` and `samples/cenalloc_rust_allocator.h`.
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
    use kernel::bindings::*;

    include!(concat!(
        env!("CENALLOC_RUST_ALLOCATOR_OBJ"),
        "/bindings_generated.rs"
    ));
}
