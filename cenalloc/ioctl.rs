// SPDX-License-Identifier: GPL-2.0

//! Structures that userspace hands over, of whatever size it knows.

use kernel::{
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// A structure in userspace memory, of the size that its ioctl number tells.
pub(crate) struct Argument {
    address: usize,
    size: usize,
}

impl Argument {
    /// The structure of `size` bytes at `address`.
    pub(crate) fn new(address: usize, size: usize) -> Self {
        Self { address, size }
    }

    fn slice(&self, skip: usize) -> UserSlice {
        UserSlice::new(
            UserPtr::from_addr(self.address.wrapping_add(skip)),
            self.size - skip,
        )
    }

    /// Reads as much as the caller gave; the rest is zero.
    pub(crate) fn read<T: FromBytes + AsBytes + Zeroable>(&self) -> Result<T> {
        let mut value = T::zeroed();
        let known = self.size.min(size_of::<T>());
        let bytes = value.as_bytes_mut();
        self.slice(0).reader().read_slice(&mut bytes[..known])?;
        Ok(value)
    }

    /// Makes sure that the caller wants nothing that lies beyond `known` bytes. `E2BIG`.
    pub(crate) fn refuse_unknown(&self, known: usize) -> Result {
        if self.size <= known {
            return Ok(());
        }
        let mut reader = self.slice(known).reader();
        let mut bytes = [0; 64];
        while !reader.is_empty() {
            let count = reader.len().min(bytes.len());
            reader.read_slice(&mut bytes[..count])?;
            if bytes[..count].iter().any(|byte| *byte != 0) {
                return Err(E2BIG);
            }
        }
        Ok(())
    }

    /// Writes as much of `value` as the caller has room for.
    pub(crate) fn write<T: AsBytes>(&self, value: &T) -> Result {
        let known = self.size.min(size_of::<T>());
        self.slice(0)
            .writer()
            .write_slice(&value.as_bytes()[..known])
    }
}
