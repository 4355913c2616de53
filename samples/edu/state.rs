// SPDX-License-Identifier: GPL-2.0

//! What open files and the bound device share, and how it ends.

use crate::engine::Engine;
use dma_buf_constraints::dma_buf::{
    Attachment,
    Mapping, //
};
use kernel::{
    device::{
        Bound,
        Device, //
    },
    new_mutex,
    pci,
    prelude::*,
    rbtree::RBTree,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    }, //
};

kernel::sync::global_lock! {
    /// The device behind `/dev/cenalloc_edu`, while there is one.
    // SAFETY: The module's initialiser initialises it before the driver is registered.
    pub(crate) unsafe(uninit) static ONLINE: Mutex<Option<Arc<Edu>>> = None;
}

/// How far an open file has come with a buffer.
pub(crate) enum Step {
    Attached(Attachment),
    Mapped(Mapping),
}

/// A device as open files know it. It outlives the binding of the driver; what needs the binding
/// does not.
#[pin_data]
pub(crate) struct Edu {
    /// [`None`] when the driver is not bound to the device any more.
    #[pin]
    bound: Mutex<Option<State>>,
}

/// All that needs the device to be bound: its engine, and the attachments of all open files.
///
/// The lock around it is the device's only one. It is held for as long as a transfer takes, so that
/// both a file and an unbind wait for the engine before they end an attachment.
///
/// Dropped from top to bottom: the engine leaves the bus before buffers are unmapped.
pub(crate) struct State {
    pdev: ARef<pci::Device>,
    engine: Engine,
    /// By the number of the file.
    files: RBTree<u64, Option<Step>>,
    next_file: u64,
}

impl Edu {
    pub(crate) fn new(pdev: ARef<pci::Device>, engine: Engine) -> Result<Arc<Self>> {
        let state = State {
            pdev,
            engine,
            files: RBTree::new(),
            next_file: 0,
        };
        Arc::pin_init(
            pin_init!(Self {
                bound <- new_mutex!(Some(state), "cenalloc_edu"),
            }),
            GFP_KERNEL,
        )
    }

    /// Does something with the bound device. `ENODEV` where it is gone.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut bound = self.bound.lock();
        work((*bound).as_mut().ok_or(ENODEV)?)
    }
}

impl State {
    /// Adds a file that has just been opened, and returns its number.
    pub(crate) fn add_file(&mut self) -> Result<u64> {
        let number = self.next_file;
        self.files.try_create_and_insert(number, None, GFP_KERNEL)?;
        self.next_file += 1;
        Ok(number)
    }

    /// Removes a file; unmaps and detaches what it has left.
    pub(crate) fn remove_file(&mut self, number: u64) {
        self.files.remove(&number);
    }

    /// Returns what a call on a file works with.
    pub(crate) fn session(&mut self, number: u64) -> Result<Session<'_>> {
        let device: &Device = (*self.pdev).as_ref();
        Ok(Session {
            // SAFETY: The driver's unbind takes the state out of `Edu` under the lock, so that it
            // waits as long as there is a reference to the state.
            device: unsafe { device.as_bound() },
            engine: &mut self.engine,
            step: self.files.get_mut(&number).ok_or(ENODEV)?,
        })
    }
}

/// What a call on a file works with.
pub(crate) struct Session<'a> {
    pub(crate) device: &'a Device<Bound>,
    pub(crate) engine: &'a mut Engine,
    /// [`None`] where no buffer is attached.
    pub(crate) step: &'a mut Option<Step>,
}

/// A device that files can be opened for, until [`end`](Self::end) or the drop.
pub(crate) struct Online(Arc<Edu>);

impl Online {
    /// Puts the device online. `EBUSY` where another one is: there is one name in `/dev`.
    pub(crate) fn new(edu: Arc<Edu>) -> Result<Self> {
        let mut online = ONLINE.lock();
        if online.is_some() {
            return Err(EBUSY);
        }
        *online = Some(edu.clone());
        Ok(Self(edu))
    }

    /// Waits for the transfer that runs, unmaps and detaches what files have left, and lets
    /// their later calls fail with `ENODEV`.
    pub(crate) fn end(&self) {
        let mut bound = self.0.bound.lock();
        // Dropped with the lock held, so that no call returns before all is undone.
        *bound = None;
    }
}

impl Drop for Online {
    fn drop(&mut self) {
        self.end();
        *ONLINE.lock() = None;
    }
}
