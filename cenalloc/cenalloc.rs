// SPDX-License-Identifier: GPL-2.0

//! cenalloc: buffers whose memory is chosen when all their users are known.
//!
//! - [`buffer`]: when a buffer has memory. [`admit`]: which users it accepts, and when its memory
//!   is relocated.
//! - [`client`]: one user of a buffer. [`held`]: who holds its memory. [`declare`]: users that are
//!   declared before they attach.
//! - [`backing`]: the memory of a buffer. [`account`]: the memory cgroup that is charged for it.
//! - [`allocator`]: what can provide it. [`provision`]: what an allocator gives.
//! - [`device`], [`heap`]: what userspace opens. [`ioctl`], [`uapi`]: how its structures are read.
//! - [`Handle`], [`c_api`]: buffers for drivers. [`expose`]: telling drivers where their memory
//!   lies. [`c_allocator`]: allocators in C.
//! - [`registry`]: all buffers. [`describe`], [`query`], [`debugfs`]: what is shown of them.
//! - [`trace`]: the tracepoints.

#![expect(
    clippy::large_enum_variant,
    clippy::result_large_err,
    reason = "a refusal is rare, and must not fail for want of memory"
)]

mod account;
mod admit;
mod allocator;
mod backing;
mod buffer;
mod c_allocator;
mod c_api;
mod client;
mod debugfs;
mod declare;
mod describe;
mod device;
mod exporter;
mod expose;
mod handle;
mod heap;
mod held;
mod ioctl;
mod provision;
mod query;
mod registry;
#[cfg(CONFIG_CENALLOC_KUNIT_TEST)]
mod tests;
mod trace;
mod uapi;

pub use crate::{
    allocator::{
        Allocator,
        Description,
        Devices,
        Need,
        Registration,
        Shortage, //
    },
    handle::Handle,
    provision::{
        Owner,
        Provision, //
    },
};

use kernel::{
    miscdevice::{
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Release, //
    }, //
};

module! {
    type: Cenalloc,
    name: "cenalloc",
    authors: ["The cenalloc developers"],
    description: "Constraint-enabled allocator of dma-bufs",
    license: "GPL",
    imports_ns: ["DMA_BUF"],
}

/// The module: what userspace sees of it. Buffers keep the module loaded by themselves.
#[pin_data]
struct Cenalloc {
    #[pin]
    device: MiscDeviceRegistration<device::Device>,
    #[pin]
    heap: MiscDeviceRegistration<heap::Heap>,
    debugfs: debugfs::Files,
    allocators: allocator::Builtin,
    memory: allocator::pages::Watch,
}

impl kernel::InPlaceModule for Cenalloc {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        registry::init();
        try_pin_init!(Self {
            memory: allocator::pages::Watch::new()?,
            allocators: allocator::Builtin::new()?,
            // A module whose initialiser fails is freed even while a file of it is open. So the
            // device, whose `open` always succeeds, comes behind all that can fail. The device core
            // makes a directory of what stands before the '!'.
            heap <- MiscDeviceRegistration::register(MiscDeviceOptions {
                name: c"dma_heap!cenalloc",
            }),
            device <- MiscDeviceRegistration::register(MiscDeviceOptions {
                name: c"cenalloc",
            }),
            debugfs: debugfs::Files::new(),
            _: {
                READY.store(true, Release);
            },
        })
    }
}

/// Whether the module has started: where it is built in, drivers may probe earlier.
static READY: Atomic<bool> = Atomic::new(false);

/// Returns whether the module has started, and so stays.
fn is_ready() -> bool {
    READY.load(Acquire)
}

/// Bindings to `helpers.c` and the C headers of this module.
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
    use dma_buf_constraints::c_api::dma_buf_constraints;
    use kernel::{
        bindings::*,
        ffi, //
    };

    include!(concat!(env!("CENALLOC_OBJ"), "/bindings_generated.rs"));
}
