/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/cenalloc_rust_allocator: a sample in Rust that adds an allocator to
 * cenalloc, "rust-pool", and makes buffers.
 *
 * The allocator has a pool of single pages, of the class below. Its priority is
 * less than that of cenalloc's own: it is asked for users that reach its class
 * alone, or when the others have no memory.
 */

#ifndef _CENALLOC_RUST_ALLOCATOR_H
#define _CENALLOC_RUST_ALLOCATOR_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define RUST_ALLOCATOR_CLASS	0x200000000ULL	/* bit 33 */
#define RUST_ALLOCATOR_PAGES	256		/* in the pool */

/**
 * struct rust_allocator_buffer - for RUST_ALLOCATOR_CREATE
 * @len: in: length in bytes, rounded up to whole pages
 * @align: in: alignment in bytes, or 0
 * @start: out: the physical address of the first byte
 * @runs: out: how many ranges the memory has
 * @fd: out: the dma-buf
 */
struct rust_allocator_buffer {
	__u64 len;
	__u64 align;
	__u64 start;
	__u32 runs;
	__s32 fd;
};

/*
 * Makes a buffer that has its memory already, which is not relocated. EINVAL
 * for a length or an alignment that makes no sense; EMFILE; ENOMEM; EINTR.
 */
#define RUST_ALLOCATOR_CREATE	_IOWR('R', 0x01, struct rust_allocator_buffer)

#endif /* _CENALLOC_RUST_ALLOCATOR_H */
