// SPDX-License-Identifier: GPL-2.0

//! What a dynamic importer does when it hears that memory moves.

use dma_buf_constraints::dma_buf::Follower;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

/// How often memory moved. A real importer stops its device here; it need not unmap yet.
pub(crate) struct Moves(Atomic<u32>);

impl Moves {
    /// None yet. `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(Self(Atomic::new(0)), GFP_KERNEL)?)
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

impl Follower for Moves {
    fn memory_moves(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}
