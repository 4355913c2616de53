// SPDX-License-Identifier: GPL-2.0

//! The ABI as bindgen reads it from `include/uapi/linux/cenalloc.h`: for those who call the kernel
//! themselves. The header tells what everything means.

#![allow(
    missing_docs,
    non_camel_case_types,
    clippy::pedantic,
    clippy::undocumented_unsafe_blocks
)]

include!(concat!(env!("OUT_DIR"), "/abi.rs"));

// Every field has a fixed width, and there is no padding: the sizes are part of the ABI.
const _: () = {
    assert!(size_of::<cenalloc_constraints>() == 48);
    assert!(size_of::<cenalloc_refusal>() == 264);
    assert!(size_of::<cenalloc_create>() == 72);
    assert!(size_of::<cenalloc_allocator_info>() == 88);
    assert!(size_of::<cenalloc_allocators>() == 16);
    assert!(size_of::<cenalloc_declare>() == 424);
    assert!(size_of::<cenalloc_allocate>() == 272);
    assert!(size_of::<cenalloc_test>() == 360);
    assert!(size_of::<cenalloc_user>() == 176);
    assert!(size_of::<cenalloc_query>() == 544);
};
