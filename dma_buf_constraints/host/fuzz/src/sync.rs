// SPDX-License-Identifier: GPL-2.0

//! Stands in for `kernel::sync`: there is one thread.

use crate::{
    alloc::{
        AllocError,
        Flags, //
    },
    prelude::allocate, //
};
use std::{
    marker::PhantomData,
    ops::{
        Deref,
        DerefMut, //
    },
    pin::Pin,
    rc::Rc, //
};

/// One of the references to something.
pub struct Arc<T>(Rc<T>);

impl<T> Arc<T> {
    pub fn ptr_eq(one: &Self, other: &Self) -> bool {
        Rc::ptr_eq(&one.0, &other.0)
    }
}

impl<T: Unpin> Arc<T> {
    pub fn into_unique_or_drop(this: Self) -> Option<Pin<UniqueArc<T>>> {
        (Rc::strong_count(&this.0) == 1).then(|| Pin::new(UniqueArc(this.0)))
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The only reference to something.
pub struct UniqueArc<T>(Rc<T>);

impl<T> UniqueArc<T> {
    pub fn new_uninit(_flags: Flags) -> Result<Room<T>, AllocError> {
        allocate()?;
        Ok(Room(PhantomData))
    }
}

/// Room for what is to be referred to.
pub struct Room<T>(PhantomData<T>);

impl<T> Room<T> {
    pub fn write(self, value: T) -> UniqueArc<T> {
        UniqueArc(Rc::new(value))
    }
}

impl<T> Deref for UniqueArc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for UniqueArc<T> {
    fn deref_mut(&mut self) -> &mut T {
        Rc::get_mut(&mut self.0).unwrap()
    }
}

impl<T: Unpin> From<UniqueArc<T>> for Pin<UniqueArc<T>> {
    fn from(unique: UniqueArc<T>) -> Self {
        Pin::new(unique)
    }
}

impl<T: Unpin> From<Pin<UniqueArc<T>>> for Arc<T> {
    fn from(unique: Pin<UniqueArc<T>>) -> Self {
        Self(Pin::into_inner(unique).0)
    }
}

pub mod atomic {
    //! Stands in for `kernel::sync::atomic`.

    use std::cell::Cell;

    /// An order of memory accesses.
    pub struct Relaxed;

    /// A number that is shared.
    pub struct Atomic<T>(Cell<T>);

    impl<T: Copy> Atomic<T> {
        pub const fn new(value: T) -> Self {
            Self(Cell::new(value))
        }

        pub fn load(&self, _order: Relaxed) -> T {
            self.0.get()
        }

        pub fn store(&self, value: T, _order: Relaxed) {
            self.0.set(value);
        }
    }
}
