// SPDX-License-Identifier: GPL-2.0

//! Stands in for `kernel::sync`.

pub mod aref {
    //! Stands in for `kernel::sync::aref`.

    use std::{
        ops::Deref,
        rc::Rc, //
    };

    /// A counted reference.
    pub struct ARef<T>(pub Rc<T>);

    impl<T> Deref for ARef<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }
}
