// SPDX-License-Identifier: GPL-2.0

//! The system calls, and the conversion of what they carry.

use crate::abi;
use core::ffi::{c_char, c_void};
use rustix::{
    fd::BorrowedFd,
    io::Errno,
    ioctl::{Ioctl, IoctlOutput, Opcode},
};

/// A structure that one call, and no other, reads and writes.
///
/// # Safety
///
/// `OPCODE` is the number of a call whose argument is a pointer to `Self`, and every value of
/// `Self` that the kernel may write is a valid one. Addresses inside of it are not covered by
/// this: see [`call`].
pub(crate) unsafe trait Argument {
    /// The number of the call.
    const OPCODE: Opcode;
    /// What the call is called.
    const NAME: &'static str;
}

macro_rules! arguments {
    ($($structure:ident => $opcode:ident, $name:literal;)*) => {$(
        // SAFETY: The header has both; the structures hold integers only.
        unsafe impl Argument for abi::$structure {
            const OPCODE: Opcode = abi::$opcode as Opcode;
            const NAME: &'static str = $name;
        }
    )*};
}

arguments! {
    cenalloc_create => CALL_CREATE, "CREATE";
    cenalloc_allocators => CALL_ALLOCATORS, "ALLOCATORS";
    cenalloc_declare => CALL_DECLARE, "DECLARE";
    cenalloc_allocate => CALL_ALLOCATE, "ALLOCATE";
    cenalloc_test => CALL_TEST, "TEST";
    cenalloc_query => CALL_QUERY, "QUERY";
    dma_buf_sync => CALL_SYNC, "DMA_BUF_IOCTL_SYNC";
}

struct Request<'a, T>(&'a mut T);

// SAFETY: `Argument` promises that the number fits the structure, of which there is the only
// reference.
unsafe impl<T: Argument> Ioctl for Request<'_, T> {
    type Output = ();

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        T::OPCODE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        core::ptr::from_mut(self.0).cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

/// Calls the kernel.
///
/// # Safety
///
/// Each address in `argument` is 0, or that of memory that the kernel may write to for as many
/// bytes as the fields beside it say.
pub(crate) unsafe fn call<T: Argument>(fd: BorrowedFd<'_>, argument: &mut T) -> Result<(), Errno> {
    // SAFETY: By `Argument` and by this function's own contract.
    unsafe { rustix::ioctl::ioctl(fd, Request(argument)) }
}

/// The text in an array of the ABI, up to its NUL.
pub(crate) fn text(array: &[c_char]) -> String {
    let bytes: Vec<u8> = array
        .iter()
        .map(|byte| *byte as u8)
        .take_while(|byte| *byte != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// As [`text`], without a text where there is none.
pub(crate) fn name(array: &[c_char]) -> Option<String> {
    Some(text(array)).filter(|text| !text.is_empty())
}

/// Puts `text` and a NUL into an array of the ABI. `None` where it does not fit or has a NUL.
pub(crate) fn put(array: &mut [c_char], text: &str) -> Option<()> {
    if text.len() >= array.len() || text.bytes().any(|byte| byte == 0) {
        return None;
    }
    array.fill(0);
    for (to, from) in array.iter_mut().zip(text.bytes()) {
        *to = from as c_char;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_carry_the_sizes_of_the_structures() {
        fn size(opcode: Opcode) -> usize {
            (opcode as usize >> 16) & 0x3fff
        }
        fn matches<T: Argument>() -> bool {
            size(T::OPCODE) == size_of::<T>()
        }
        assert!(matches::<abi::cenalloc_create>());
        assert!(matches::<abi::cenalloc_allocators>());
        assert!(matches::<abi::cenalloc_declare>());
        assert!(matches::<abi::cenalloc_allocate>());
        assert!(matches::<abi::cenalloc_test>());
        assert!(matches::<abi::cenalloc_query>());
        assert!(matches::<abi::dma_buf_sync>());
    }

    #[test]
    fn names_fit_with_their_nul() {
        let mut array = [1; 4];
        assert_eq!(put(&mut array, "abc"), Some(()));
        assert_eq!(text(&array), "abc");
        assert_eq!(put(&mut array, "x"), Some(()));
        assert_eq!(array, [b'x' as c_char, 0, 0, 0]);
        assert_eq!(put(&mut array, "abcd"), None);
        assert_eq!(put(&mut array, "a\0"), None);
        assert_eq!(name(&[0; 4]), None);
        assert_eq!(text(&[b'a' as c_char; 4]), "aaaa");
    }
}
