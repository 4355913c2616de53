// SPDX-License-Identifier: GPL-2.0

//! Stands in for `kernel::device` and for the module's own `device`: devices of which one is below
//! another, and what is said of them.

use crate::model::Constraints;
use std::{
    iter,
    ptr,
    rc::Rc, //
};

/// A device.
pub struct Device {
    parent: Option<Rc<Device>>,
    said: Option<Constraints>,
}

impl Device {
    /// A device below `parent`, of which `said` is said, if anything is.
    pub fn new(parent: Option<Rc<Device>>, said: Option<Constraints>) -> Rc<Self> {
        Rc::new(Self { parent, said })
    }

    fn ancestors(&self) -> impl Iterator<Item = &Device> {
        iter::successors(self.parent.as_deref(), |device| device.parent.as_deref())
    }

    /// Whether it is below `ancestor`.
    pub fn is_below(&self, ancestor: &Device) -> bool {
        self.ancestors().any(|device| ptr::eq(device, ancestor))
    }
}

pub(crate) fn find_ancestor<R>(
    device: &Device,
    mut find: impl FnMut(&Device, Constraints) -> Option<R>,
) -> Option<R> {
    let mut ancestors = device.ancestors();
    ancestors.find_map(|ancestor| find(ancestor, ancestor.said?))
}
