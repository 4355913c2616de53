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
 *
 * A node that is opened for reading only serves for all of them: what it makes
 * depends on the structures alone.
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
 * @name: in: shown in debugfs and fdinfo; printable ASCII without quotation
 *	marks, ends in NUL; empty for none
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
 * to the buffer is gone. Who attaches later and cannot use it gets EBUSY, unless
 * the memory can move because nobody holds it. The reason of the last refusal is
 * in debugfs, and CENALLOC_QUERY tells it.
 *
 * Errors: EINVAL where @len is 0 or too large to be a file's size, where @align
 * is no power of two, where @name has no end or holds what it may not, or where
 * a flag is unknown;
 * EINVAL, too, where no allocator could ever provide @len bytes aligned to
 * @align; EMFILE or ENFILE without a free descriptor; ENOMEM. No memory is taken
 * for the buffer, so that ENOMEM for its length comes with the first use: as
 * what the importer returns for a failed mapping, or as SIGBUS.
 */
#define CENALLOC_CREATE		_IOWR('C', 0x01, struct cenalloc_create)

/* struct cenalloc_allocator_info.flags */
#define CENALLOC_ALLOCATOR_CONTIGUOUS	(1U << 0)	/* always one range */

/**
 * struct cenalloc_allocator_info - one allocator
 * @name: ends in NUL
 * @access_mask: its class, one of CENALLOC_CLASS_*
 * @max_len: the most bytes it can give to one buffer
 * @used: bytes that buffers have from it now
 * @priority: among those that fit, the highest is tried first; among equals, the
 *	first in the list
 * @flags: CENALLOC_ALLOCATOR_*
 */
struct cenalloc_allocator_info {
	char name[CENALLOC_NAME_LEN];
	__u64 access_mask;
	__u64 max_len;
	__u64 used;
	__u32 priority;
	__u32 flags;
};

/**
 * struct cenalloc_allocators - for CENALLOC_ALLOCATORS
 * @allocators: in: address of an array of struct cenalloc_allocator_info, or 0
 * @count: in: entries the array has room for; out: allocators there are
 * @size: in: size of an entry, sizeof(struct cenalloc_allocator_info); the kernel
 *	fills as much of an entry as both know, and zeroes the rest; may be 0
 *	where @allocators is
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
 * Errors: EINVAL where @size is less than that of the first version, 64, no
 * multiple of 8, or above 4096; EFAULT.
 */
#define CENALLOC_ALLOCATORS	_IOWR('C', 0x02, struct cenalloc_allocators)

/* struct cenalloc_constraints.flags */
#define CENALLOC_NEEDS_COHERENT	(1U << 0)	/* must not need cache maintenance */

/**
 * struct cenalloc_constraints - what a user needs of a buffer's memory
 * @access_mask: classes of memory, CENALLOC_CLASS_*
 * @max_address: the last physical address, in bytes
 * @max_segment_size: the most bytes in one segment of its table
 * @segment_boundary_mask: no segment of its table crosses a multiple of this mask
 *	plus one, a power of two
 * @alignment: of the start of every segment, in bytes, a power of two
 * @max_segments: the most segments in its table, none of which is longer than
 *	2 GiB; 1 is one contiguous range
 * @priority: how special these needs are: where devices have no class of memory
 *	in common, the classes of an ancestor of higher priority serve, too
 * @flags: CENALLOC_NEEDS_*
 *
 * Zero in any field is "don't care".
 */
struct cenalloc_constraints {
	__u64 access_mask;
	__u64 max_address;
	__u64 max_segment_size;
	__u64 segment_boundary_mask;
	__u64 alignment;
	__u32 max_segments;
	__u16 priority;
	__u16 flags;
};

#define CENALLOC_BUS_LEN	32
#define CENALLOC_DEVICE_LEN	64

/**
 * struct cenalloc_declare - for CENALLOC_DECLARE
 * @fd: in: the dma-buf
 * @flags: in: must be zero
 * @bus: in: the name of a device's bus as in /sys/bus, "platform" or "pci", say;
 *	ends in NUL; empty for a user that is no device
 * @device: in: the name of the device as in /sys/bus/@bus/devices, or, without a
 *	bus, a name for the user, which may be empty; ends in NUL
 * @constraints: in: what the user needs; with a device, in addition to what the
 *	kernel knows of it
 */
struct cenalloc_declare {
	__s32 fd;
	__u32 flags;
	char bus[CENALLOC_BUS_LEN];
	char device[CENALLOC_DEVICE_LEN];
	struct cenalloc_constraints constraints;
};

/*
 * Declares a user that will attach later, or explicit needs: the buffer is
 * narrowed as if that user had attached now. Most importers map in the moment
 * they attach: with all users declared first, the first of them finds memory
 * that suits all.
 *
 * A declared device is remembered: its own attachment later changes nothing and
 * is not refused for what was declared. Where it has come to need more since, it
 * is a user beside the declaration. The declaration goes when the device's driver
 * unbinds; explicit needs stay as long as the buffer. What the kernel keeps for a
 * user is charged to the memory cgroup of the process that declares it.
 *
 * Errors: as an attachment of the user: EINVAL where it can never share this
 * buffer with those before, EBUSY where it could have, before the buffer got
 * its memory and somebody began to use it. EBADF and EINVAL for an @fd that is
 * no descriptor or no buffer of cenalloc. EINVAL where a field of @constraints
 * makes no sense, or a name has no end or holds a slash, a quotation mark or what
 * is not printable. ENODEV where there is no such bus or device, where no driver
 * is bound to the device, or where it does no DMA. ENOMEM, also for more than
 * 4096 users of a buffer. EINTR where a signal comes while the call waits for the
 * device or for fences, whose handler does not restart it.
 *
 * The buses are those whose devices the kernel can find by name: platform, pci,
 * amba, cdx, fsl-mc, host1x-context, i2c, mipi-dsi, rapidio, soundwire, spi
 * and tee.
 */
#define CENALLOC_DECLARE	_IOW('C', 0x03, struct cenalloc_declare)

/**
 * struct cenalloc_allocate - for CENALLOC_ALLOCATE
 * @fd: in: the dma-buf
 * @flags: in: must be zero
 */
struct cenalloc_allocate {
	__s32 fd;
	__u32 flags;
};

/*
 * Gives a buffer its memory now, so that its first use neither waits for it nor
 * fails for want of it. Nothing changes where it has memory.
 *
 * Errors: ENOMEM where every allocator that suits all users is out of memory;
 * EINVAL where none is left that does, because one was removed; EINTR where a
 * signal came first, whose handler does not restart the call; EBADF, EINVAL as for
 * CENALLOC_DECLARE.
 */
#define CENALLOC_ALLOCATE	_IOW('C', 0x04, struct cenalloc_allocate)

/* struct cenalloc_test.result */
#define CENALLOC_TEST_OK		0	/* memory seems to be there */
#define CENALLOC_TEST_NO_MEMORY		1	/* could be, but not now */
#define CENALLOC_TEST_NEVER		2	/* will never be */

/**
 * struct cenalloc_test - for CENALLOC_TEST
 * @len: in: length in bytes, rounded up to whole pages
 * @constraints: in: what all users need together
 * @flags: in: must be zero
 * @result: out: CENALLOC_TEST_*
 * @allocator: out: the allocator that would be chosen; with CENALLOC_TEST_NEVER,
 *	the one that comes nearest, or none where the needs contradict each
 *	other; none with CENALLOC_TEST_NO_MEMORY
 * @field: out: with CENALLOC_TEST_NEVER, what it lacks: a CENALLOC_FIELD_*
 * @reserved: out: zero
 * @wanted: out: with CENALLOC_TEST_NEVER, what is needed in that field
 * @found: out: with CENALLOC_TEST_NEVER, what there is
 */
struct cenalloc_test {
	__u64 len;
	struct cenalloc_constraints constraints;
	__u32 flags;
	__u32 result;
	char allocator[CENALLOC_NAME_LEN];
	__u32 field;
	__u32 reserved;
	__u64 wanted;
	__u64 found;
};

/*
 * Tells which allocator would provide memory, without taking any: "out of memory
 * now", as far as the kernel's counts and the memory cgroup's limit tell, is told
 * apart from "will never work".
 *
 * Errors: EINVAL for a length of 0 or one too large to be a file's size, or for
 * constraints that make no sense.
 */
#define CENALLOC_TEST		_IOWR('C', 0x05, struct cenalloc_test)

/*
 * Fields of struct cenalloc_constraints, as reasons name them, the length of the
 * buffer in bytes, and the device itself, which an allocator may refuse for reasons
 * of its own: then what is wanted and found is 0.
 */
#define CENALLOC_FIELD_ACCESS_MASK		1
#define CENALLOC_FIELD_MAX_ADDRESS		2
#define CENALLOC_FIELD_MAX_SEGMENTS		3
#define CENALLOC_FIELD_MAX_SEGMENT_SIZE		4
#define CENALLOC_FIELD_SEGMENT_BOUNDARY		5
#define CENALLOC_FIELD_ALIGNMENT		6
#define CENALLOC_FIELD_COHERENT			7
#define CENALLOC_FIELD_LENGTH			8
#define CENALLOC_FIELD_DEVICE			9

/* struct cenalloc_user.flags */
#define CENALLOC_USER_DECLARED	(1U << 0)	/* by CENALLOC_DECLARE */
#define CENALLOC_USER_ATTACHED	(1U << 1)
#define CENALLOC_USER_MAPPED	(1U << 2)
#define CENALLOC_USER_DYNAMIC	(1U << 3)	/* memory may move while it is mapped */
#define CENALLOC_USER_SECOND	(1U << 4)	/* its second choice counts */

/**
 * struct cenalloc_user - one user of a buffer
 * @name: ends in NUL
 * @constraints: what it contributed
 * @flags: CENALLOC_USER_*
 * @early: how many others it kept out by having the buffer mapped when they came
 */
struct cenalloc_user {
	char name[CENALLOC_DEVICE_LEN];
	struct cenalloc_constraints constraints;
	__u32 flags;
	__u32 early;
};

/* struct cenalloc_query.state */
#define CENALLOC_STATE_EMPTY	0	/* no memory yet */
#define CENALLOC_STATE_BACKED	1

/* struct cenalloc_query.conflict_with */
#define CENALLOC_WITH_NONE	0	/* nobody was refused */
#define CENALLOC_WITH_USER	1	/* another user */
#define CENALLOC_WITH_OTHERS	2	/* all other users together */
#define CENALLOC_WITH_ITSELF	3	/* its own other needs, or the length */
#define CENALLOC_WITH_ALLOCATOR	4	/* what allocators can give */
#define CENALLOC_WITH_MEMORY	5	/* the memory that there is */
#define CENALLOC_WITH_BOUNCE	6	/* the DMA layer, which bounced it */

/**
 * struct cenalloc_query - for CENALLOC_QUERY
 * @fd: in: the dma-buf
 * @flags: in: must be zero
 * @users: in: address of an array of struct cenalloc_user, or 0
 * @user_count: in: entries the array has room for; out: users there are
 * @user_size: in: size of an entry, sizeof(struct cenalloc_user); the kernel fills
 *	as much of an entry as both know, and zeroes the rest; may be 0 where
 *	@users is
 * @text: in: address of room for one line of text, or 0
 * @text_len: in: bytes of that room; out: length of the line, without the NUL
 *	that ends what fits; 0 without room
 * @state: out: CENALLOC_STATE_*
 * @id: out: the buffer's number in messages
 * @len: out: length in bytes
 * @meet: out: what all users need together; segment size and boundary, which
 *	bind each user's own table, are those of a table that would serve all
 * @allocator: out: who provided the memory; empty without
 * @early: out: how often a user was refused that could have taken part before
 *	the buffer had memory
 * @relocations: out: how often the memory moved
 * @conflict_with: out: what the last refusal was about: CENALLOC_WITH_*
 * @conflict_field: out: CENALLOC_FIELD_*
 * @conflict_wanted: out: what the refused user needs in that field
 * @conflict_found: out: what stands against it; 0 in place of the physical address
 *	of the buffer's memory for a caller without CAP_SYS_ADMIN
 * @conflict_who: out: the refused user
 * @conflict_other: out: the other party, where it has a name
 */
struct cenalloc_query {
	__s32 fd;
	__u32 flags;
	__u64 users;
	__u32 user_count;
	__u32 user_size;
	__u64 text;
	__u32 text_len;
	__u32 state;
	__u64 id;
	__u64 len;
	struct cenalloc_constraints meet;
	char allocator[CENALLOC_NAME_LEN];
	__u32 early;
	__u32 relocations;
	__u32 conflict_with;
	__u32 conflict_field;
	__u64 conflict_wanted;
	__u64 conflict_found;
	char conflict_who[CENALLOC_DEVICE_LEN];
	char conflict_other[CENALLOC_DEVICE_LEN];
};

/*
 * Tells the state of a buffer, who uses it and what each contributed, and why
 * somebody was refused last. The line of text is the one in debugfs, with 0x0 for
 * an address that @conflict_found does not tell.
 *
 * Errors: EBADF, EINVAL as for CENALLOC_DECLARE; EINVAL for a @user_size as for
 * CENALLOC_ALLOCATORS; ENOMEM; EFAULT; EINTR where a signal comes while
 * the call waits, whose handler does not restart it.
 */
#define CENALLOC_QUERY		_IOWR('C', 0x06, struct cenalloc_query)

#endif /* _UAPI_LINUX_CENALLOC_H */
