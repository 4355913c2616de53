// SPDX-License-Identifier: GPL-2.0

//! A platform driver that declares what its device needs of shared buffers, and imports one.
//!
//! The device scans out a contiguous buffer that starts at a multiple of 64 KiB, below 4 GiB.

use dma_buf_constraints::{
    device,
    dma_buf::{
        Attachment,
        DataDirection,
        DmaBuf,
        Mapping, //
    },
    model::{
        Constraints,
        Placement, //
    },
};
use kernel::{
    device::{
        Bound,
        Core,
        Device, //
    },
    dma::{
        Device as _,
        DmaMask, //
    },
    platform,
    prelude::*, //
};

/// What `struct device` cannot tell. The DMA mask need not be declared.
const NEEDS: Constraints = Constraints {
    placement: Placement {
        max_segments: 1,
        alignment: 64 << 10,
        ..Placement::ANY
    },
    ..Constraints::ANY
};

struct Scanout;

impl platform::Driver for Scanout {
    type IdInfo = ();
    type Data<'bound> = Self;

    fn probe<'bound>(
        pdev: &'bound platform::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self, Error> + 'bound {
        // SAFETY: This runs in probe, before the driver maps anything for the device.
        unsafe { pdev.dma_set_mask_and_coherent(DmaMask::new::<32>())? };
        // Gone by itself when the driver unbinds, or when this probe fails.
        device::declare(pdev.as_ref(), &NEEDS)?;
        Ok(Self)
    }
}

/// Attaches the device to the buffer behind a file descriptor, and maps it.
///
/// # Safety
///
/// The caller drops the mapping before the driver unbinds from `dev`.
#[expect(dead_code, reason = "the rest of a driver would call it")]
unsafe fn import(dev: &Device<Bound>, fd: i32) -> Result<Mapping> {
    // SAFETY: The caller keeps the device bound for longer than the mapping lives.
    let attachment = unsafe { Attachment::new(DmaBuf::get(fd)?, dev)? };
    let mapping = attachment
        .map(DataDirection::FromDevice)
        .map_err(|(error, _attachment)| error)?;
    for segment in mapping.segments() {
        dev_info!(dev, "{:#x}, {} bytes\n", segment.address, segment.len);
    }
    Ok(mapping)
}

kernel::module_platform_driver! {
    type: Scanout,
    name: "scanout",
    authors: ["The cenalloc developers"],
    description: "Example of a driver that declares what its device needs",
    license: "GPL",
    imports_ns: ["DMA_BUF"],
}
