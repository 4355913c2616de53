// SPDX-License-Identifier: GPL-2.0

//! A buffer that a driver makes for two devices.

use cenalloc::Handle;
use dma_buf_constraints::model::Constraints;
use kernel::{
    device::{
        Bound,
        Device, //
    },
    prelude::*, //
};

/// Makes a buffer that `display` and `codec` can both use, and takes memory for it.
pub fn frame(len: usize, display: &Device<Bound>, codec: &Device<Bound>) -> Result<Handle> {
    let handle = Handle::create(len, 0, c"frame")?;
    // What the kernel and the drivers say of the two devices is enough here.
    handle.declare(display, &Constraints::ANY)?;
    handle.declare(codec, &Constraints::ANY)?;
    handle.allocate()?;
    Ok(handle)
}

module! {
    type: Example,
    name: "frame",
    authors: ["The cenalloc developers"],
    description: "Example of a buffer that a driver makes",
    license: "GPL",
}

struct Example;

impl kernel::Module for Example {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}
