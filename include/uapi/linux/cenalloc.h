/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/cenalloc: buffers whose memory is chosen when all users are known.
 *
 * Every structure is as long as the size in its ioctl number says and may grow
 * at its end. A kernel takes a shorter structure than its own as one whose tail
 * is zero; a longer one is refused with E2BIG unless the tail that the kernel
 * does not know is zero. Fields that are called reserved must be zero (EINVAL).
 * All fields have a fixed width and there is no padding: 32-bit and 64-bit
 * callers use the same structures.
 *
 * Errors that every call can return: ENOTTY for a number that is not listed
 * here, EFAULT for memory that cannot be read or written, EINVAL for a
 * structure that is shorter than its first version, E2BIG as above.
 */

#ifndef _UAPI_LINUX_CENALLOC_H
#define _UAPI_LINUX_CENALLOC_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define CENALLOC_NAME_LEN	32

/*
 * Classes of memory, the bits of access masks. Bits 32 to 63 are for allocators
 * outside the kernel tree.
 */
#define CENALLOC_CLASS_SYSTEM		(1ULL << 0)
#define CENALLOC_CLASS_SYSTEM_CONTIG	(1ULL << 1)
#define CENALLOC_CLASS_CMA		(1ULL << 2)
#define CENALLOC_CLASS_DMA_COHERENT	(1ULL << 3)
#define CENALLOC_CLASS_CARVEOUT		(1ULL << 4)

/**
 * struct cenalloc_create - for CENALLOC_CREATE
 * @len: in: length in bytes, rounded up to whole pages; not 0
 * @align: in: alignment in bytes of the start of every piece of the memory, a
 *	power of two; 0 is "don't care", as is anything up to the page size
 * @fd_flags: in: O_CLOEXEC and one of O_RDONLY, O_WRONLY and O_RDWR; mapping the
 *	buffer for writing takes O_RDWR
 * @flags: in: must be zero
 * @name: in: shown in debugfs and fdinfo; ends in NUL; empty for none
 * @fd: out: the dma-buf's file descriptor
 * @reserved: must be zero
 */
struct cenalloc_create {
	__u64 len;
	__u64 align;
	__u32 fd_flags;
	__u32 flags;
	char name[CENALLOC_NAME_LEN];
	__s32 fd;
	__u32 reserved;
};

/*
 * Makes a dma-buf that has no memory yet.
 *
 * Devices attach, and each narrows what the memory may be; a device that cannot
 * share it with those before is refused with EINVAL. The first mapping by a
 * device, the first touch by the CPU through mmap(), or the first use by the
 * kernel chooses the memory. It is zeroed, and stays until the last reference
 * to the buffer is gone. Who attaches later and cannot use it gets EBUSY. The
 * reason of each refusal is in debugfs.
 *
 * Errors: EINVAL where @len is 0 or too large to be a file's size, where @align
 * is no power of two, where @name has no end, or where a flag is unknown;
 * EINVAL, too, where no allocator could ever provide @len bytes aligned to
 * @align; EMFILE or ENFILE without a free descriptor; ENOMEM. No memory is taken
 * for the buffer, so that ENOMEM for its length comes with the first use: as
 * what the importer returns for a failed mapping, or as SIGBUS.
 */
#define CENALLOC_CREATE		_IOWR('C', 0x01, struct cenalloc_create)

/* struct cenalloc_allocator.flags */
#define CENALLOC_ALLOCATOR_CONTIGUOUS	(1U << 0)	/* always one run */

/**
 * struct cenalloc_allocator - one allocator
 * @name: ends in NUL
 * @access_mask: its class, one of CENALLOC_CLASS_*
 * @max_len: the most bytes it can give to one buffer
 * @used: bytes that buffers have from it now
 * @priority: among those that fit, the highest is tried first
 * @flags: CENALLOC_ALLOCATOR_*
 */
struct cenalloc_allocator {
	char name[CENALLOC_NAME_LEN];
	__u64 access_mask;
	__u64 max_len;
	__u64 used;
	__u32 priority;
	__u32 flags;
};

/**
 * struct cenalloc_allocators - for CENALLOC_ALLOCATORS
 * @allocators: in: address of an array of struct cenalloc_allocator, or 0
 * @count: in: entries the array has room for; out: allocators there are
 * @size: in: size of an entry, sizeof(struct cenalloc_allocator); the kernel
 *	fills as much of an entry as both know, and zeroes the rest
 *
 * With room for fewer than there are, the first are written.
 */
struct cenalloc_allocators {
	__u64 allocators;
	__u32 count;
	__u32 size;
};

/*
 * Lists the allocators in the order in which they are tried.
 *
 * Errors: EINVAL where @size is 0, no multiple of 8, or above 4096; EFAULT.
 */
#define CENALLOC_ALLOCATORS	_IOWR('C', 0x02, struct cenalloc_allocators)

#endif /* _UAPI_LINUX_CENALLOC_H */
