// SPDX-License-Identifier: GPL-2.0

//! An importer of dma-bufs that userspace drives one step at a time.
//!
//! Real importers do their steps back to back: a capture driver attaches and maps when a buffer
//! is queued. This one makes platform devices with any limits, and attaches, maps, unmaps and
//! detaches them by separate calls on `/dev/cenalloc_importer`, so that tests can stand between
//! any two. The calls are documented in `cenalloc_importer.h`.
//!
//! For authors of drivers it shows three things:
//!
//! - `device.rs`: how a driver declares what its device needs beyond what `struct device` tells.
//! - `file.rs`: how the types of an importer follow its steps. An [`Attachment`] that is mapped
//!   becomes a [`Mapping`], which unmapped becomes an [`Attachment`]; a drop of either undoes
//!   what is left to undo.
//! - `moves.rs`: what a dynamic importer does when memory moves.
//!
//! [`Attachment`]: dma_buf_constraints::dma_buf::Attachment
//! [`Mapping`]: dma_buf_constraints::dma_buf::Mapping

use kernel::{
    miscdevice::{
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    prelude::*, //
};

mod device;
mod file;
mod moves;
mod table;

module! {
    type: Module,
    name: "cenalloc_importer",
    authors: ["The cenalloc developers"],
    description: "Test importer of dma-bufs, driven by userspace",
    license: "GPL",
    imports_ns: ["DMA_BUF"],
}

/// The module. Devices and attachments belong to open files.
#[pin_data]
struct Module {
    #[pin]
    _misc: MiscDeviceRegistration<file::ImporterFile>,
    // Below `_misc`: dropped when no file can be opened any more.
    _driver: device::Driver,
}

impl kernel::InPlaceModule for Module {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _driver: device::Driver::register()?,
            _misc <- MiscDeviceRegistration::register(MiscDeviceOptions {
                name: c"cenalloc_importer",
            }),
        })
    }
}

/// Bindings to `device.h` and `cenalloc_importer.h`.
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
        env!("CENALLOC_IMPORTER_OBJ"),
        "/bindings_generated.rs"
    ));
}
