// SPDX-License-Identifier: GPL-2.0

//! The device's registers and its DMA engine.

use kernel::{
    bindings,
    current,
    device::{
        Bound,
        Device, //
    },
    io::{
        poll::read_poll_timeout,
        Io, //
    },
    pci,
    prelude::*,
    sync::aref::ARef,
    time::Delta, //
};

/// How much of the registers' BAR is used.
pub(crate) const BAR_SIZE: usize = 0x100;

/// Reads 0x010000ed: the low byte tells an edu, the high ones its version.
pub(crate) const IDENTIFICATION: usize = 0x00;

/// Registers of the DMA engine, 64 bits wide; a write of 32 bits zeroes the upper half.
const SOURCE: usize = 0x80;
const DESTINATION: usize = 0x88;
const COUNT: usize = 0x90;
const COMMAND: usize = 0x98;

/// Bits of the command. The engine clears [`START`] when it is done.
const START: u32 = 1 << 0;
const TO_RAM: u32 = 1 << 1;

/// Where the engine sees the device's memory.
const MEMORY: u64 = 0x40000;

/// A transfer takes 100 ms by the specification.
const TIME_LIMIT: Delta = Delta::from_secs(5);
const POLL_INTERVAL: Delta = Delta::from_millis(5);

/// Bytes that are contiguous both in RAM and in the device.
pub(crate) struct Piece {
    /// Where the device sees them in RAM.
    pub(crate) address: u64,
    /// In the device's memory.
    pub(crate) device_offset: u32,
    pub(crate) len: u32,
    /// To RAM, not from it.
    pub(crate) to_ram: bool,
}

/// The DMA engine. It is idle, or cut off from the bus, whenever it is not borrowed.
pub(crate) struct Engine {
    pdev: ARef<pci::Device>,
    bar: pci::DevresBar<BAR_SIZE>,
    /// It did not end a transfer in time, and was cut off.
    is_lost: bool,
}

impl Engine {
    pub(crate) fn new(pdev: ARef<pci::Device>, bar: pci::DevresBar<BAR_SIZE>) -> Self {
        Self {
            pdev,
            bar,
            is_lost: false,
        }
    }

    /// Transfers one piece, and waits for its end.
    ///
    /// A signal is checked before the piece, never within it: a transfer that runs cannot be
    /// stopped, and until it ends the memory must stay mapped. `EINTR` for a signal; `ETIMEDOUT`
    /// where the engine did not end in time; `EIO` after that.
    pub(crate) fn range(&mut self, device: &Device<Bound>, piece: &Piece) -> Result {
        if self.is_lost {
            return Err(EIO);
        }
        if current!().signal_pending() {
            return Err(EINTR);
        }
        let memory = MEMORY + u64::from(piece.device_offset);
        let (source, destination, command) = if piece.to_ram {
            (memory, piece.address, START | TO_RAM)
        } else {
            (piece.address, memory, START)
        };
        let bar = self.bar.access(device)?;
        bar.try_write64(source, SOURCE)?;
        bar.try_write64(destination, DESTINATION)?;
        bar.write32(piece.len, COUNT);
        bar.write32(command, COMMAND);
        let end = read_poll_timeout(
            || Ok(bar.read32(COMMAND)),
            |command| command & START == 0,
            POLL_INTERVAL,
            TIME_LIMIT,
        );
        if end.is_err() {
            self.is_lost = true;
            self.cut_off();
        }
        end.map(|_| ())
    }

    /// Keeps the device from the bus: it might still be about to touch memory.
    fn cut_off(&self) {
        let pdev = core::ptr::from_ref(&*self.pdev).cast_mut().cast();
        // SAFETY: `pci::Device` is a transparent wrapper of `struct pci_dev`, and referenced.
        unsafe { bindings::pci_clear_master(pdev) };
    }
}

impl Drop for Engine {
    /// Keeps the device from the bus after its driver has unbound.
    fn drop(&mut self) {
        self.cut_off();
    }
}
