// SPDX-License-Identifier: GPL-2.0

//! Structures of userspace, in whatever version the caller has.

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

/// A structure in userspace memory, of the size in its ioctl number.
pub(crate) struct Argument {
    address: usize,
    size: usize,
}

impl Argument {
    /// Takes the structure of `size` bytes at `address`.
    pub(crate) fn new(address: usize, size: usize) -> Self {
        Self { address, size }
    }

    fn slice(&self, skip: usize) -> UserSlice {
        UserSlice::new(
            UserPtr::from_addr(self.address.wrapping_add(skip)),
            self.size - skip,
        )
    }

    /// Reads a structure that may grow: what an older caller does not have is zero. `EINVAL` where
    /// it is shorter than the first version, which is `T` as long as nothing was added; `E2BIG`
    /// where it is longer than `T` and not zero beyond.
    pub(crate) fn read_versioned<T: FromBytes + AsBytes + Zeroable>(&self) -> Result<T> {
        self.read_head::<T, T>()
    }

    /// Reads the beginning of such a structure, of which the rest is for the kernel to fill in.
    pub(crate) fn read_head<T, H: FromBytes + AsBytes + Zeroable>(&self) -> Result<H> {
        self.check::<T>()?;
        self.read()
    }

    /// Checks that the structure is no shorter than `T`, and zero beyond.
    fn check<T>(&self) -> Result {
        if self.size < size_of::<T>() {
            return Err(EINVAL);
        }
        self.refuse_unknown(size_of::<T>())
    }

    /// Reads the first `len` bytes of such a structure into `value`, which is zero.
    pub(crate) fn read_into<T: FromBytes + AsBytes>(&self, value: &mut T, len: usize) -> Result {
        self.check::<T>()?;
        let bytes = value.as_bytes_mut();
        self.slice(0).reader().read_slice(&mut bytes[..len])
    }

    /// Reads as much as the caller has; the rest is zero.
    pub(crate) fn read<T: FromBytes + AsBytes + Zeroable>(&self) -> Result<T> {
        let mut value = T::zeroed();
        let known = self.size.min(size_of::<T>());
        let bytes = value.as_bytes_mut();
        self.slice(0).reader().read_slice(&mut bytes[..known])?;
        Ok(value)
    }

    /// Checks that the structure is zero beyond `known` bytes. `E2BIG`.
    fn refuse_unknown(&self, known: usize) -> Result {
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

    /// Writes a part of the structure, which starts at `offset`. `EINVAL` where the caller has no
    /// room for it.
    pub(crate) fn write_at<T: AsBytes>(&self, offset: usize, value: &T) -> Result {
        if self.size < offset + size_of::<T>() {
            return Err(EINVAL);
        }
        self.slice(offset).writer().write_slice(value.as_bytes())
    }

    /// Writes as much of `value` as the caller has room for.
    pub(crate) fn write<T: AsBytes>(&self, value: &T) -> Result {
        let known = self.size.min(size_of::<T>());
        self.slice(0)
            .writer()
            .write_slice(&value.as_bytes()[..known])
    }
}

/// An array in userspace memory, of entries whose size the caller tells.
pub(crate) struct Array {
    address: usize,
    /// How many more entries there is room for.
    room: u32,
    entry_size: usize,
}

/// The largest entry, in bytes, that a caller may have.
const MAX_ENTRY: usize = 4096;

static ZEROES: [u8; MAX_ENTRY] = [0; MAX_ENTRY];

impl Array {
    /// Takes room for `count` entries of `entry_size` bytes at `address`, or for none where that is
    /// 0.
    ///
    /// `EINVAL` where an entry is smaller than the first version, no multiple of 8 or too large.
    pub(crate) fn new<T>(address: u64, count: u32, entry_size: u32) -> Result<Self> {
        let entry_size = entry_size as usize;
        if address == 0 && entry_size == 0 {
            return Ok(Self {
                address: 0,
                room: 0,
                entry_size,
            });
        }
        if entry_size < size_of::<T>() || entry_size % 8 != 0 || entry_size > MAX_ENTRY {
            return Err(EINVAL);
        }
        Ok(Self {
            address: usize::try_from(address).map_err(|_| EFAULT)?,
            room: if address == 0 { 0 } else { count },
            entry_size,
        })
    }

    /// Returns how many more entries there is room for.
    pub(crate) fn room(&self) -> u32 {
        self.room
    }

    /// Writes the next entries as far as there is room.
    pub(crate) fn write<T: AsBytes>(&mut self, entries: &[T]) -> Result {
        let room = (self.room as usize).min(entries.len());
        if self.entry_size == size_of::<T>() {
            let len = room * self.entry_size;
            let bytes = entries[..room].as_bytes();
            UserSlice::new(UserPtr::from_addr(self.address), len)
                .writer()
                .write_slice(bytes)?;
            // No more entries follow.
            self.room = 0;
            return Ok(());
        }
        entries[..room]
            .iter()
            .try_for_each(|entry| self.push(entry))
    }

    /// Writes the next entry if there is room, with zeroes behind what the kernel has of it.
    pub(crate) fn push<T: AsBytes>(&mut self, entry: &T) -> Result {
        if self.room == 0 {
            return Ok(());
        }
        let bytes = entry.as_bytes();
        let mut writer = UserSlice::new(UserPtr::from_addr(self.address), self.entry_size).writer();
        writer.write_slice(bytes)?;
        if self.entry_size > bytes.len() {
            writer.write_slice(&ZEROES[..self.entry_size - bytes.len()])?;
        }
        self.address = self.address.checked_add(self.entry_size).ok_or(EFAULT)?;
        self.room -= 1;
        Ok(())
    }
}
