// SPDX-License-Identifier: GPL-2.0

//! Stands in for `kernel::device` and for the module's own `device`: devices of which one is below
//! another, and what is said of them.

use crate::{
    model::Constraints,
    sync::aref::ARef, //
};
use std::{
    iter,
    rc::{
        Rc,
        Weak, //
    }, //
};

/// A device.
pub struct Device {
    parent: Option<Rc<Device>>,
    said: Option<Constraints>,
    this: Weak<Device>,
}

impl Device {
    /// A device below `parent`, of which `said` is said, if anything is.
    pub fn new(parent: Option<Rc<Device>>, said: Option<Constraints>) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            parent,
            said,
            this: this.clone(),
        })
    }
}

pub(crate) fn all_ancestors(device: &Device) -> impl Iterator<Item = &Device> {
    iter::successors(device.parent.as_deref(), |device| device.parent.as_deref())
}

pub(crate) fn ancestors(device: &Device) -> impl Iterator<Item = (&Device, Constraints)> {
    all_ancestors(device).filter_map(|device| Some((device, device.said?)))
}

pub(crate) fn reference(device: &Device) -> ARef<Device> {
    // Whoever has a device has it from an `Rc`.
    ARef(device.this.upgrade().unwrap())
}
