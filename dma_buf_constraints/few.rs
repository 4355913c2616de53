// SPDX-License-Identifier: GPL-2.0

//! Lists that are nearly always short.

use crate::{
    c,
    model::Range, //
};
use core::ptr::NonNull;
use kernel::prelude::*;

/// Makes room for `count` more elements, without invoking the OOM killer: a list of pages that
/// grows while a buffer has taken nearly all memory must not cost a process its life.
///
/// # Errors
///
/// - `ENOMEM` if there is no memory for the larger list.
pub fn make_room<T>(vec: &mut KVVec<T>, count: usize) -> Result {
    if vec.capacity() - vec.len() >= count {
        return Ok(());
    }
    let wanted = vec.len().checked_add(count).ok_or(ENOMEM)?;
    let capacity = wanted.max(vec.capacity().saturating_mul(2));
    let room = room(capacity, size_of::<T>()).ok_or(ENOMEM)?;
    const { assert!(align_of::<T>() <= align_of::<u64>() && size_of::<T>() > 0) };
    // SAFETY: `room` allocates as a `KVVec` does, for `capacity` elements of which none is
    // initialised, aligned for integers and pointers, which is enough for a `T`, as asserted above.
    let mut larger = unsafe { KVVec::from_raw_parts(room.as_ptr().cast::<T>(), 0, capacity) };
    for element in core::mem::replace(vec, KVVec::new()) {
        larger.push(element, GFP_KERNEL_ACCOUNT)?;
    }
    *vec = larger;
    Ok(())
}

/// Allocates room for `count` elements of `size` bytes. Not generic: what it calls is exported to
/// this module alone.
#[inline(never)]
fn room(count: usize, size: usize) -> Option<NonNull<c_void>> {
    // SAFETY: The call takes any numbers, and fails where their product overflows.
    NonNull::new(unsafe { c::dbc_kvmalloc(count, size) })
}

/// A list that needs no memory of its own for its first element.
pub struct Few<T>(Elements<T>);

enum Elements<T> {
    One(Option<T>),
    Many(KVVec<T>),
}

impl<T> Few<T> {
    /// Creates an empty list.
    pub const fn new() -> Self {
        Self(Elements::One(None))
    }

    /// Returns the elements.
    pub fn as_slice(&self) -> &[T] {
        match &self.0 {
            Elements::One(one) => one.as_slice(),
            Elements::Many(many) => many,
        }
    }

    /// Returns the last element.
    pub fn last_mut(&mut self) -> Option<&mut T> {
        match &mut self.0 {
            Elements::One(one) => one.as_mut(),
            Elements::Many(many) => many.last_mut(),
        }
    }

    /// Makes room for one more element, so that the next [`push`](Self::push) does not fail.
    ///
    /// # Errors
    ///
    /// - `ENOMEM` if there is no memory for it. The list is then as before.
    pub fn reserve(&mut self) -> Result {
        match &mut self.0 {
            Elements::One(None) => Ok(()),
            Elements::One(one) => {
                let mut many = KVVec::new();
                make_room(&mut many, 4)?;
                if let Some(first) = one.take() {
                    many.push(first, GFP_KERNEL_ACCOUNT)?;
                }
                self.0 = Elements::Many(many);
                Ok(())
            }
            Elements::Many(many) => make_room(many, 1),
        }
    }

    /// Adds an element.
    ///
    /// # Errors
    ///
    /// - `ENOMEM` if there is no memory for it. The element is then dropped.
    pub fn push(&mut self, element: T) -> Result {
        self.reserve()?;
        match &mut self.0 {
            Elements::One(one) => *one = Some(element),
            Elements::Many(many) => many.push(element, GFP_KERNEL_ACCOUNT)?,
        }
        Ok(())
    }

    /// Removes the element at `index`, and puts the last one in its place.
    pub fn swap_remove(&mut self, index: usize) -> Option<T> {
        match &mut self.0 {
            Elements::One(one) => one.take_if(|_| index == 0),
            Elements::Many(many) => {
                let last = many.len().checked_sub(1)?;
                if index > last {
                    return None;
                }
                many.swap(index, last);
                many.pop()
            }
        }
    }

    /// Removes the first element for which `is_it` holds; the last may take its place.
    pub fn take(&mut self, is_it: impl Fn(&T) -> bool) -> Option<T> {
        let index = self.as_slice().iter().position(is_it)?;
        self.swap_remove(index)
    }
}

impl Few<Range> {
    /// Adds a range of memory behind the others; adjacent ranges are merged.
    ///
    /// # Errors
    ///
    /// - `ENOMEM` if there is no memory for it.
    pub fn append(&mut self, range: Range) -> Result {
        match self.last_mut() {
            // Some architectures have memory at the very end of their addresses.
            Some(last) if last.start.checked_add(last.len) == Some(range.start) => {
                last.len += range.len;
                Ok(())
            }
            _ => self.push(range),
        }
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.as_slice().iter()
    }
}
