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

#define CENALLOC_IOC_MAGIC	0xBC

#define CENALLOC_NAME_LEN	32
#define CENALLOC_BUS_LEN	32
#define CENALLOC_DEVICE_LEN	64

/*
 * Classes of memory, the bits of access masks. Bits 32 to 63 are for allocators
 * outside the kernel tree.
 */
#define CENALLOC_CLASS_SYSTEM		(1ULL << 0)
#define CENALLOC_CLASS_SYSTEM_CONTIG	(1ULL << 1)
#define CENALLOC_CLASS_CMA		(1ULL << 2)
#define CENALLOC_CLASS_DMA_COHERENT	(1ULL << 3)
#define CENALLOC_CLASS_CARVEOUT		(1ULL << 4)

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

/*
 * What a refusal is about: a field of struct cenalloc_constraints; the length of the
 * buffer, all of it or in one range; or the device itself, which an allocator may
 * refuse for reasons of its own: then what is wanted and found is 0.
 */
#define CENALLOC_FIELD_ACCESS_MASK		1	/* classes */
#define CENALLOC_FIELD_MAX_ADDRESS		2	/* an address, in bytes */
#define CENALLOC_FIELD_MAX_SEGMENTS		3	/* a number */
#define CENALLOC_FIELD_MAX_SEGMENT_SIZE		4	/* bytes */
#define CENALLOC_FIELD_SEGMENT_BOUNDARY		5	/* a mask */
#define CENALLOC_FIELD_ALIGNMENT		6	/* bytes */
#define CENALLOC_FIELD_COHERENT			7	/* 0 or 1 */
#define CENALLOC_FIELD_LENGTH			8	/* bytes */
#define CENALLOC_FIELD_CONTIGUOUS		9	/* bytes in one range */
#define CENALLOC_FIELD_DEVICE			10

/* struct cenalloc_refusal.cause, and the error that comes with it */

/* EINVAL, never: no memory there is or could be suits all */
#define CENALLOC_CAUSE_USER		1	/* another user needs what rules it out */
#define CENALLOC_CAUSE_OTHERS		2	/* all others together do */
#define CENALLOC_CAUSE_ITSELF		3	/* its own other needs, or the length, do */
#define CENALLOC_CAUSE_ALLOCATOR	4	/* no allocator gives that */
#define CENALLOC_CAUSE_REMOVED		5	/* the allocator that did was removed */
/* EBUSY, too late: it could have joined before the buffer had its memory */
#define CENALLOC_CAUSE_HELD		6	/* somebody holds the memory where it is */
/* ENOMEM, not now */
#define CENALLOC_CAUSE_CHARGE		7	/* the memory cgroup is at its limit */
#define CENALLOC_CAUSE_SHORTAGE		8	/* the allocators that suit are out of it */
#define CENALLOC_CAUSE_ADDRESSES	9	/* the device is out of its own addresses */
#define CENALLOC_CAUSE_BOOKKEEPING	10	/* no memory to keep the user in mind */
#define CENALLOC_CAUSE_USERS		11	/* the buffer has as many users as it may */
/* EIO */
#define CENALLOC_CAUSE_BOUNCED		12	/* the DMA layer copies for the device */
/* ENODEV: there is nobody to be declared */
#define CENALLOC_CAUSE_NO_BUS		13	/* no such bus, or one that has no names */
#define CENALLOC_CAUSE_NO_DEVICE	14	/* no device of that name on the bus */
#define CENALLOC_CAUSE_NO_DRIVER	15	/* no driver is bound to it */
#define CENALLOC_CAUSE_NO_DMA		16	/* it does no DMA */

/* How memory is held where it is, as a bit */
#define CENALLOC_HOLDER_MAPPING	(1U << 0)	/* a device has it mapped */
#define CENALLOC_HOLDER_PIN	(1U << 1)	/* a device has it pinned */
#define CENALLOC_HOLDER_KERNEL	(1U << 2)	/* the kernel has it mapped for itself */
#define CENALLOC_HOLDER_FENCE	(1U << 3)	/* a device has not finished with it */
#define CENALLOC_HOLDER_ADDRESS	(1U << 4)	/* a driver was told where: for ever */

/**
 * struct cenalloc_refusal - why somebody was refused, or a buffer got no memory
 * @cause: CENALLOC_CAUSE_*; 0 where nobody was refused. A call that fails with 0 here
 *	failed by the caller's own mistake, or for a signal
 * @field: the need that is not met, CENALLOC_FIELD_*; 0 where the cause is about
 *	none
 * @wanted: what is needed in that field, in its unit
 * @found: what stands against it: a value of the same field; for an address, a
 *	segment or an alignment, where the memory or that of the allocator lies. That is
 *	0 for a caller without CAP_SYS_ADMIN, who could still find it out by trying
 * @who: the user that was refused; empty where it is the CPU or the caller
 * @other: the other party, where it has a name: a user; with
 *	%CENALLOC_CAUSE_ALLOCATOR the allocator that comes nearest; with
 *	%CENALLOC_CAUSE_HELD the first user that holds the memory; with
 *	%CENALLOC_CAUSE_CHARGE and %CENALLOC_CAUSE_SHORTAGE the allocator that was asked
 *	first; with %CENALLOC_CAUSE_NO_BUS and %CENALLOC_CAUSE_NO_DEVICE the bus
 * @behind: with %CENALLOC_CAUSE_ALLOCATOR, the user whose need it is, where that is
 *	not @who
 * @holder: with %CENALLOC_CAUSE_HELD, how the first of those that hold the memory
 *	does so: a CENALLOC_HOLDER_*
 * @holders: with %CENALLOC_CAUSE_HELD, how many there are; CENALLOC_QUERY lists them
 * @sequence: the number of the refusal among those of the buffer, from 1; 0 where it
 *	is not one of a buffer's: with CENALLOC_TEST, and where there is no device to be
 *	declared or no memory to begin with it
 * @when: the time of that, in nanoseconds of CLOCK_BOOTTIME; 0 with a @sequence of 0
 * @len: the length of the buffer in bytes; 0 where the buffer was not looked at
 * @max_address: the last physical address that all users reach, the refused one
 *	included; all ones where they reach any
 * @classes: with %CENALLOC_CAUSE_CHARGE and %CENALLOC_CAUSE_SHORTAGE, the classes of
 *	the allocators that were asked. @field is 0 then for a buffer without memory;
 *	where it has some, it would have to be relocated, for what @field says
 */
struct cenalloc_refusal {
	__u32 cause;
	__u32 field;
	__u64 wanted;
	__u64 found;
	char who[CENALLOC_DEVICE_LEN];
	char other[CENALLOC_DEVICE_LEN];
	char behind[CENALLOC_DEVICE_LEN];
	__u32 holder;
	__u32 holders;
	__u64 sequence;
	__u64 when;
	__u64 len;
	__u64 max_address;
	__u64 classes;
};

/**
 * struct cenalloc_create - for CENALLOC_CREATE
 * @len: in: length in bytes, rounded up to whole pages; not 0
 * @align: in: alignment in bytes of the start of every range of the memory, a
 *	power of two; 0 is "don't care", as is anything up to the page size
 * @fd_flags: in: O_CLOEXEC and one of O_RDONLY, O_WRONLY and O_RDWR; mapping the
 *	buffer for writing takes O_RDWR
 * @flags: in: must be zero
 * @name: in: the dma-buf's name, which DMA_BUF_SET_NAME changes; printable ASCII
 *	without quotation marks, ends in NUL; empty for none
 * @fd: out: the dma-buf's file descriptor
 * @reserved: must be zero
 * @id: out: the buffer's number in messages
 */
struct cenalloc_create {
	__u64 len;
	__u64 align;
	__u32 fd_flags;
	__u32 flags;
	char name[CENALLOC_NAME_LEN];
	__s32 fd;
	__u32 reserved;
	__u64 id;
};

/*
 * Makes a dma-buf that has no memory yet.
 *
 * Devices attach, and each narrows what the memory may be; a device that cannot
 * share it with those before is refused with EINVAL. The first mapping by a
 * device, the first touch by the CPU through mmap(), or the first use by the
 * kernel chooses the memory. It is zeroed, and stays until the last reference
 * to the buffer is gone. Who attaches later and cannot use it gets EBUSY, unless
 * the memory can be relocated because nobody holds it. CENALLOC_QUERY tells why
 * somebody was refused last.
 *
 * Errors: EINVAL where @len is 0 or too large to be a file's size, where @align
 * is no power of two, where @name has no end or holds what it may not, or where
 * a flag is unknown;
 * EINVAL, too, where no allocator could ever provide @len bytes aligned to
 * @align; EMFILE or ENFILE without a free descriptor; ENOMEM. No memory is taken
 * for the buffer, so that ENOMEM for its length comes with the first use: as
 * what the importer returns for a failed mapping, or as SIGBUS.
 */
#define CENALLOC_CREATE		_IOWR(CENALLOC_IOC_MAGIC, 0x01, struct cenalloc_create)

/* struct cenalloc_allocator_info.flags */
#define CENALLOC_ALLOCATOR_CONTIGUOUS	(1U << 0)	/* always one range */
#define CENALLOC_ALLOCATOR_KNOWS_FREE	(1U << 1)	/* @free is known */

/**
 * struct cenalloc_allocator_info - one allocator
 * @name: ends in NUL
 * @access_mask: its class, one of CENALLOC_CLASS_*
 * @max_len: the most bytes it can give to one buffer
 * @used: bytes that buffers have from it now
 * @free: bytes it has free now, not all of them in one range; memory that others use
 *	and can give up counts, as does, of a CMA area, all that buffers do not use
 * @start: the first physical address of an area; 0 for what is no area, and for a
 *	caller without CAP_SYS_ADMIN
 * @area_len: the length of the area in bytes; 0 as for @start
 * @priority: among those that fit, the highest is tried first; among equals, the
 *	first in the list
 * @flags: CENALLOC_ALLOCATOR_*
 */
struct cenalloc_allocator_info {
	char name[CENALLOC_NAME_LEN];
	__u64 access_mask;
	__u64 max_len;
	__u64 used;
	__u64 free;
	__u64 start;
	__u64 area_len;
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
 * Errors: EINVAL where @size is less than that of the first version, 88, no
 * multiple of 8, or above 4096; EFAULT.
 */
#define CENALLOC_ALLOCATORS	_IOWR(CENALLOC_IOC_MAGIC, 0x02, struct cenalloc_allocators)

/**
 * struct cenalloc_declare - for CENALLOC_DECLARE
 * @fd: in: the dma-buf
 * @flags: in: must be zero
 * @timeout: in: where somebody holds the memory, how long to wait in nanoseconds
 *	until it can be relocated; 0 is not at all, less than 0 is for ever
 * @bus: in: the name of a device's bus as in /sys/bus, "platform" or "pci", say;
 *	ends in NUL; empty for a user that is no device
 * @device: in: the name of the device as in /sys/bus/@bus/devices, or, without a
 *	bus, a name for the user, which may be empty; ends in NUL
 * @constraints: in: what the user needs; with a device, in addition to what the
 *	kernel knows of it
 * @refusal: out: why the call failed; its cause is 0 where it did not
 */
struct cenalloc_declare {
	__s32 fd;
	__u32 flags;
	__s64 timeout;
	char bus[CENALLOC_BUS_LEN];
	char device[CENALLOC_DEVICE_LEN];
	struct cenalloc_constraints constraints;
	struct cenalloc_refusal refusal;
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
 * With a @timeout, a user that comes too late waits until those that hold the memory
 * let it go. It can wait in vain: an importer may keep a buffer mapped for as long as
 * it runs, or map it anew before the waiter gets to it. Where a driver was told an
 * address, which is for ever, it does not wait.
 *
 * Errors: those of CENALLOC_CAUSE_*, with @refusal filled in. EBUSY comes with the
 * last refusal before the time was over. And with a cause of 0: EBADF and EINVAL for
 * an @fd that is no descriptor or no buffer of cenalloc; EINVAL where a field of
 * @constraints makes no sense, or a name has no end or holds a slash, a quotation
 * mark or what is not printable; EINTR where a signal comes while the call waits,
 * whose handler does not restart it. A call that is restarted waits anew.
 *
 * The buses are those whose devices the kernel can find by name: platform, pci,
 * amba, cdx, fsl-mc, host1x-context, i2c, mipi-dsi, rapidio, soundwire, spi
 * and tee.
 */
#define CENALLOC_DECLARE	_IOWR(CENALLOC_IOC_MAGIC, 0x03, struct cenalloc_declare)

/**
 * struct cenalloc_allocate - for CENALLOC_ALLOCATE
 * @fd: in: the dma-buf
 * @flags: in: must be zero
 * @refusal: out: why the call failed; its cause is 0 where it did not
 */
struct cenalloc_allocate {
	__s32 fd;
	__u32 flags;
	struct cenalloc_refusal refusal;
};

/*
 * Gives a buffer its memory now, so that its first use neither waits for it nor
 * fails for want of it. Nothing changes where it has memory.
 *
 * Errors: ENOMEM and EINVAL with @refusal filled in; with a cause of 0, EINTR where a
 * signal came first, whose handler does not restart the call, and EBADF, EINVAL as for
 * CENALLOC_DECLARE.
 */
#define CENALLOC_ALLOCATE	_IOWR(CENALLOC_IOC_MAGIC, 0x04, struct cenalloc_allocate)

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
 * @allocator: out: the allocator that would be chosen; empty where none would
 * @refusal: out: why none would; its cause is 0 with %CENALLOC_TEST_OK
 */
struct cenalloc_test {
	__u64 len;
	struct cenalloc_constraints constraints;
	__u32 flags;
	__u32 result;
	char allocator[CENALLOC_NAME_LEN];
	struct cenalloc_refusal refusal;
};

/*
 * Tells which allocator would provide memory, without taking any: "out of memory
 * now", as far as the kernel's counts and the memory cgroup's limit tell, is told
 * apart from "will never work".
 *
 * Errors: EINVAL for a length of 0 or one too large to be a file's size, or for
 * constraints that make no sense. That there is no memory is no error.
 */
#define CENALLOC_TEST		_IOWR(CENALLOC_IOC_MAGIC, 0x05, struct cenalloc_test)

/* struct cenalloc_user.flags */
#define CENALLOC_USER_DECLARED	(1U << 0)	/* by CENALLOC_DECLARE */
#define CENALLOC_USER_ATTACHED	(1U << 1)
#define CENALLOC_USER_MAPPED	(1U << 2)
#define CENALLOC_USER_PINNED	(1U << 3)	/* holds the memory where it is */
#define CENALLOC_USER_DYNAMIC	(1U << 4)	/* follows a relocation while it is mapped */
#define CENALLOC_USER_SECOND	(1U << 5)	/* its second choice counts */

/* Where it is known from that a user needs or prefers something */
#define CENALLOC_SOURCE_UNKNOWN		0	/* needs nothing, or it is not known */
#define CENALLOC_SOURCE_DEVICE		1	/* the kernel's struct device */
#define CENALLOC_SOURCE_DECLARED	2	/* its driver or a program declared it */
#define CENALLOC_SOURCE_POLICY		3	/* the administrator's policy */
#define CENALLOC_SOURCE_ANCESTOR	4	/* inherited from a device above it */
#define CENALLOC_SOURCE_ATTACHMENT	5	/* the importer told when it attached */
#define CENALLOC_SOURCE_OBJECTS		6	/* the objects of its driver show it */
#define CENALLOC_SOURCE_TABLE		7	/* known of its driver's module */
#define CENALLOC_SOURCE_LIBRARY		8	/* its driver uses a library that needs it */
#define CENALLOC_SOURCE_SEEN		9	/* seen by what it did */

/* What is given where it is to be had, and refuses nobody */
#define CENALLOC_PREFERS_CONTIGUOUS	(1U << 0)	/* one range */

#define CENALLOC_SOURCES	16

/**
 * struct cenalloc_user - one user of a buffer
 * @name: ends in NUL
 * @constraints: what it contributed
 * @flags: CENALLOC_USER_*
 * @late_refusals: how many others came too late because it held the memory
 * @preferences: what it prefers, CENALLOC_PREFERS_*
 * @unmet: which of its preferences the memory does not meet
 * @sources: where each need is known from, a CENALLOC_SOURCE_*, indexed by
 *	CENALLOC_FIELD_*; what it prefers of the length in one range is at
 *	%CENALLOC_FIELD_CONTIGUOUS
 * @origin: more on a source, such as the name of a module; ends in NUL
 */
struct cenalloc_user {
	char name[CENALLOC_DEVICE_LEN];
	struct cenalloc_constraints constraints;
	__u32 flags;
	__u32 late_refusals;
	__u32 preferences;
	__u32 unmet;
	__u8 sources[CENALLOC_SOURCES];
	char origin[CENALLOC_NAME_LEN];
};

/* struct cenalloc_query.state */
#define CENALLOC_STATE_EMPTY	0	/* no memory yet */
#define CENALLOC_STATE_BACKED	1

/* struct cenalloc_query.caching */
#define CENALLOC_CACHING_NONE		0	/* no memory yet */
#define CENALLOC_CACHING_CACHED		1	/* the CPU caches it */
#define CENALLOC_CACHING_COHERENT	2	/* nobody need maintain caches for it */

/**
 * struct cenalloc_query - for CENALLOC_QUERY
 * @fd: in: the dma-buf
 * @flags: in: must be zero
 * @users: in: address of an array of struct cenalloc_user, or 0
 * @user_count: in: entries the array has room for; out: users there are
 * @user_size: in: size of an entry, sizeof(struct cenalloc_user); the kernel fills
 *	as much of an entry as both know, and zeroes the rest; may be 0 where
 *	@users is
 * @id: out: the buffer's number in messages
 * @inode: out: the number of its inode, as in /proc/PID/fdinfo and /proc/PID/maps
 * @len: out: length in bytes
 * @name: out: the dma-buf's name; empty without
 * @combined: out: what all users need together; segment size and boundary, which
 *	bind each user's own table, are those of a table that would serve all
 * @state: out: CENALLOC_STATE_*
 * @caching: out: CENALLOC_CACHING_*
 * @allocator: out: who provided the memory; empty without
 * @ranges: out: how many physical ranges the memory is; 1 is contiguous, 0 is none
 * @relocations: out: how often the memory was relocated
 * @recycled: out: bytes of the memory that were taken from a pool
 * @holds: out: how the memory is held where it is, CENALLOC_HOLDER_*; 0 where it can
 *	be relocated. The users that do so have %CENALLOC_USER_PINNED
 * @holders: out: how many hold it
 * @kernel_maps: out: how many kernel mappings there are
 * @waiting: out: how many calls of CENALLOC_DECLARE wait
 * @late_refusals: out: how often a user came too late
 * @left_segments: out: into how many segments the table of @left was cut
 * @left: out: the last device that mapped the memory in several segments, unmapped it
 *	and left at once, as those do that need contiguous memory and do not say so;
 *	empty where there was none
 * @refusals: out: how many refusals there were
 * @refusal: out: the last one; its cause is 0 where there was none
 */
struct cenalloc_query {
	__s32 fd;
	__u32 flags;
	__u64 users;
	__u32 user_count;
	__u32 user_size;
	__u64 id;
	__u64 inode;
	__u64 len;
	char name[CENALLOC_NAME_LEN];
	struct cenalloc_constraints combined;
	__u32 state;
	__u32 caching;
	char allocator[CENALLOC_NAME_LEN];
	__u32 ranges;
	__u32 relocations;
	__u64 recycled;
	__u32 holds;
	__u32 holders;
	__u32 kernel_maps;
	__u32 waiting;
	__u32 late_refusals;
	__u32 left_segments;
	char left[CENALLOC_DEVICE_LEN];
	__u64 refusals;
	struct cenalloc_refusal refusal;
};

/*
 * Tells the state of a buffer, who uses it and what each contributed, who holds its
 * memory, and why somebody was refused last.
 *
 * Errors: EBADF, EINVAL as for CENALLOC_DECLARE; EINVAL for a @user_size as for
 * CENALLOC_ALLOCATORS, of which the first version is 176; ENOMEM; EFAULT; EINTR where
 * a signal comes while the call waits, whose handler does not restart it.
 */
#define CENALLOC_QUERY		_IOWR(CENALLOC_IOC_MAGIC, 0x06, struct cenalloc_query)

#endif /* _UAPI_LINUX_CENALLOC_H */
