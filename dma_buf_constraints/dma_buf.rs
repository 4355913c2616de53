// SPDX-License-Identifier: GPL-2.0

//! dma-buf in safe Rust: exporters, importers, and the lock that both share.
//!
//! - [`DmaBuf`] is a buffer of any exporter.
//! - [`Exporter`] is the trait of an exporter; [`Reservation`] is its lock and its state.
//! - [`Tables`] are the mapped tables of one attachment, on the exporter's side.
//! - [`Attachment`] and [`Mapping`] are an importer's.
//!
//! The interface to the C core is here; an exporter promises, with the `unsafe` of its
//! implementation, that the memory it hands out is its own. C header:
//! [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h).

mod buffer;
mod exporter;
mod fault;
mod importer;
mod reservation;
mod table;
mod vmap;

pub use buffer::DmaBuf;
pub use exporter::{
    Exporter,
    Importer,
    Ops,
    Touched, //
};
pub use fault::Fault;
pub use importer::{
    Attachment,
    Follower,
    Mapping,
    Segment, //
};
pub use kernel::dma::DataDirection;
pub use reservation::{
    Guard,
    Reservation, //
};
pub use table::{
    MapError,
    Pages,
    Table,
    TableRef,
    Tables, //
};
pub use vmap::KernelMapping;

use crate::device::as_raw;
use kernel::{
    bindings,
    device::Device, //
};

/// Returns whether memory may be mapped for `device`, which then has a DMA mask.
fn does_dma(device: &Device) -> bool {
    // SAFETY: The reference keeps the device, and its bus set the pointer to the mask before a
    // driver could bind.
    unsafe {
        let mask = (*as_raw(device)).dma_mask;
        !mask.is_null() && mask.read_volatile() != 0
    }
}

/// Converts a direction of the C core.
pub(crate) fn direction(raw: bindings::dma_data_direction) -> DataDirection {
    match raw {
        bindings::dma_data_direction::DMA_TO_DEVICE => DataDirection::ToDevice,
        bindings::dma_data_direction::DMA_FROM_DEVICE => DataDirection::FromDevice,
        bindings::dma_data_direction::DMA_NONE => DataDirection::None,
        _ => DataDirection::Bidirectional,
    }
}
