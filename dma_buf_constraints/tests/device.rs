// SPDX-License-Identifier: GPL-2.0

//! Devices that tests make.

use crate::{
    device::{
        as_raw,
        declare,
        BoundDevice, //
    },
    model::{
        Constraints,
        Placement, //
    },
};
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::to_result,
    faux,
    prelude::*, //
};

/// A device that is bound to a driver, and reaches all memory.
pub(super) struct TestDevice(faux::Registration);

impl TestDevice {
    /// Makes one. `EIO` where the kernel has no DMA; `ENODEV`.
    pub(super) fn new(name: &CStr, parent: Option<&Self>) -> Result<Self> {
        let parent = parent.map(|parent| &**parent.bound());
        let device = Self(faux::Registration::new(name, parent)?);
        let raw = as_raw(device.bound());
        // SAFETY: The device is ours, and nobody maps anything for it yet.
        to_result(unsafe {
            (*raw).dma_mask = &raw mut (*raw).coherent_dma_mask;
            bindings::dma_set_mask_and_coherent(raw, u64::MAX)
        })?;
        Ok(device)
    }

    /// The device.
    pub(super) fn bound(&self) -> &Device<Bound> {
        self.0.as_ref().as_ref()
    }

    /// The device as a user, which is to be dropped before `self`.
    pub(super) fn user(&self) -> BoundDevice {
        // SAFETY: The device stays bound until `self` is dropped; each test drops its users before.
        unsafe { BoundDevice::new(self.bound()) }
    }

    /// Declares which classes of memory it reaches, as important as `priority`.
    pub(super) fn declare_classes(&self, access_mask: u64, priority: u16) -> Result {
        let constraints = Constraints {
            placement: Placement {
                access_mask,
                ..Placement::ANY
            },
            priority,
            ..Constraints::ANY
        };
        declare(self.bound(), &constraints)
    }
}
