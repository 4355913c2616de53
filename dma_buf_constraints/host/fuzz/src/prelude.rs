// SPDX-License-Identifier: GPL-2.0

//! Stands in for `kernel::prelude`: boxes and vectors whose allocations can fail.

use crate::alloc::Flags;
use std::{
    cell::Cell,
    convert::Infallible,
    mem::MaybeUninit,
    ops::{
        Deref,
        DerefMut, //
    }, //
};

/// An errno.
#[derive(Debug, PartialEq, Eq)]
pub struct Error(());

/// The only one that the set of users returns.
pub const ENOMEM: Error = Error(());

pub type Result<T = (), E = Error> = core::result::Result<T, E>;

pub const GFP_KERNEL: Flags = Flags;

thread_local! {
    /// How many more allocations succeed before one fails.
    static UNTIL_FAILURE: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Lets the allocation after the next `count` fail, or none.
pub fn fail_after(count: Option<u32>) {
    UNTIL_FAILURE.set(count);
}

fn allocate() -> Result {
    match UNTIL_FAILURE.get() {
        Some(0) => {
            UNTIL_FAILURE.set(None);
            Err(ENOMEM)
        }
        left => {
            UNTIL_FAILURE.set(left.map(|count| count - 1));
            Ok(())
        }
    }
}

/// Makes a `T` in its place.
pub trait Init<T> {
    fn init(self) -> T;
}

impl<T, F: FnOnce() -> T> Init<T> for F {
    fn init(self) -> T {
        self()
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __init {
    ($type:ident { $($fields:tt)* }) => {
        move || $type { $($fields)* }
    };
}

pub use crate::__init as init;

/// A box.
pub struct KBox<T>(Box<T>);

impl<T> KBox<T> {
    pub fn new(value: T, _flags: Flags) -> Result<Self> {
        allocate()?;
        Ok(Self(Box::new(value)))
    }

    pub fn new_uninit(_flags: Flags) -> Result<KBox<MaybeUninit<T>>> {
        allocate()?;
        Ok(KBox(Box::new(MaybeUninit::uninit())))
    }

    pub fn drop_contents(this: Self) -> KBox<MaybeUninit<T>> {
        drop(this);
        KBox(Box::new(MaybeUninit::uninit()))
    }
}

impl<T> KBox<MaybeUninit<T>> {
    /// Never fails: the room is there. (Without unsafe code it is another one.)
    pub fn write_init(self, init: impl Init<T>) -> Result<KBox<T>, Infallible> {
        Ok(KBox(Box::new(init.init())))
    }
}

impl<T> Deref for KBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for KBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// A vector.
pub struct KVec<T>(Vec<T>);

pub type KVVec<T> = KVec<T>;

impl<T> KVec<T> {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Where it fails the vector is as before.
    pub fn push(&mut self, value: T, _flags: Flags) -> Result {
        allocate()?;
        self.0.push(value);
        Ok(())
    }
}

impl<T> Default for KVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for KVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for KVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}
