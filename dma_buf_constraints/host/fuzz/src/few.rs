// SPDX-License-Identifier: GPL-2.0

//! Stands in for the module's own `few`: a list whose growing can fail.

use crate::prelude::{
    allocate,
    Result, //
};

/// A list that needs no memory of its own for its first element.
pub struct Few<T> {
    elements: Vec<T>,
    room: usize,
}

impl<T> Few<T> {
    pub const fn new() -> Self {
        Self {
            elements: Vec::new(),
            room: 1,
        }
    }

    pub fn as_slice(&self) -> &[T] {
        &self.elements
    }

    /// Where it fails the list is as before.
    pub fn reserve(&mut self) -> Result {
        if self.elements.len() == self.room {
            allocate()?;
            self.room *= 2;
        }
        Ok(())
    }

    pub fn push(&mut self, element: T) -> Result {
        self.reserve()?;
        self.elements.push(element);
        Ok(())
    }

    pub fn swap_remove(&mut self, index: usize) -> Option<T> {
        (index < self.elements.len()).then(|| self.elements.swap_remove(index))
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self::new()
    }
}
