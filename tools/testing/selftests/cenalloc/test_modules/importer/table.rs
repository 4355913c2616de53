// SPDX-License-Identifier: GPL-2.0

//! Things that userspace knows by small numbers.

use kernel::prelude::*;

/// A table from handles, numbers from 0, to things.
pub(crate) struct Table<T>(KVec<Option<T>>);

impl<T> Table<T> {
    pub(crate) const fn new() -> Self {
        Self(KVec::new())
    }

    /// Puts `value` in under the lowest free handle. `ENOMEM`.
    pub(crate) fn insert(&mut self, value: T) -> Result<u32> {
        let index = match self.0.iter().position(Option::is_none) {
            Some(index) => index,
            None => {
                self.0.push(None, GFP_KERNEL)?;
                self.0.len() - 1
            }
        };
        let handle = u32::try_from(index)?;
        self.0[index] = Some(value);
        Ok(handle)
    }

    /// What `handle` stands for. `ENOENT`.
    pub(crate) fn get_mut(&mut self, handle: u32) -> Result<&mut T> {
        let entry = self.0.get_mut(handle as usize);
        entry.and_then(Option::as_mut).ok_or(ENOENT)
    }

    /// Takes out what `handle` stands for; the handle is free again.
    pub(crate) fn remove(&mut self, handle: u32) -> Option<T> {
        self.0.get_mut(handle as usize)?.take()
    }

    /// All that is in the table.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }
}
