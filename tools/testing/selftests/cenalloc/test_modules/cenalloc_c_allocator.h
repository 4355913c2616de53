/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/cenalloc_c_allocator: adds allocators of a module in C to cenalloc, lets
 * them fail in every way, and tells what they were asked.
 *
 * Allocators belong to the module: they stay when the file is closed, and go with
 * the module. Fields that are called reserved must be zero (EINVAL).
 */

#ifndef _CENALLOC_C_ALLOCATOR_H
#define _CENALLOC_C_ALLOCATOR_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define C_ALLOCATOR_NAME_LEN	64

/* Where the memory comes from. */
#define C_ALLOCATOR_PLAIN	0	/* plain.c: one run; the least that there is */
#define C_ALLOCATOR_PIECES	1	/* pieces.c: pieces of 64 KiB; all operations */
#define C_ALLOCATOR_NO_OPS	2	/* no operations at all */

/* The operations, by number. */
#define C_ALLOCATOR_ALLOCATE		0
#define C_ALLOCATOR_FREE		1
#define C_ALLOCATOR_PHYS		2
#define C_ALLOCATOR_MAP_DMA		3
#define C_ALLOCATOR_UNMAP_DMA		4
#define C_ALLOCATOR_MAP_KERNEL		5
#define C_ALLOCATOR_UNMAP_KERNEL	6
#define C_ALLOCATOR_MAP_USER		7
#define C_ALLOCATOR_SYNC_FOR_DEVICE	8
#define C_ALLOCATOR_MATCH		9
#define C_ALLOCATOR_OPS			10

/**
 * struct c_allocator_add - for C_ALLOCATOR_ADD
 * @type: in: as in struct cenalloc_allocator, and so on
 * @flags: in: CENALLOC_ALLOCATOR_*, bit by bit as there
 * @max_len: in: as there
 * @min_address: in: as there
 * @priority: in: as there
 * @kind: in: C_ALLOCATOR_PLAIN and so on
 * @without: in: operations to leave out, one bit each
 * @no_name: in: 1 for no name at all
 * @name: in: the name; ends in NUL
 * @handle: out: the allocator
 * @reserved: zero
 */
struct c_allocator_add {
	__u64 type;
	__u64 flags;
	__u64 max_len;
	__u64 min_address;
	__u32 priority;
	__u32 kind;
	__u32 without;
	__u32 no_name;
	char name[C_ALLOCATOR_NAME_LEN];
	__u32 handle;
	__u32 reserved;
};

/* cenalloc_device_add_allocator(). On an error there is no such allocator. */
#define C_ALLOCATOR_ADD		_IOWR('A', 0x01, struct c_allocator_add)

/* cenalloc_device_remove_allocator(). The argument is the allocator. ENOENT. */
#define C_ALLOCATOR_REMOVE	_IO('A', 0x02)

/* What goes wrong; @code is that of struct c_allocator_fault. */
#define C_ALLOCATOR_GOOD		0	/* nothing */
#define C_ALLOCATOR_FAIL		1	/* allocate() returns @code */
#define C_ALLOCATOR_NO_TABLE		2	/* NULL for the table */
#define C_ALLOCATOR_ERROR_TABLE		3	/* ERR_PTR(@code) for the table */
#define C_ALLOCATOR_EMPTY_TABLE		4	/* a table without entries */
#define C_ALLOCATOR_SHORT_TABLE		5	/* one page less than asked for */
#define C_ALLOCATOR_LONG_TABLE		6	/* one page more */
#define C_ALLOCATOR_OFFSET_TABLE	7	/* 512 bytes into the first page */
#define C_ALLOCATOR_ODD_TABLE		8	/* 512 bytes less than asked for */
#define C_ALLOCATOR_BARE_TABLE		9	/* an entry that has no page */
#define C_ALLOCATOR_IGNORE		10	/* takes any memory, whatever is asked for */
#define C_ALLOCATOR_DIRTY		11	/* memory full of the byte @code */
#define C_ALLOCATOR_SLOW		12	/* allocate() takes @code milliseconds */
#define C_ALLOCATOR_BAD_PHYS		13	/* phys() returns @code */
#define C_ALLOCATOR_SHORT_PHYS		14	/* phys() tells one page less */
#define C_ALLOCATOR_BAD_USER		15	/* map_user() returns VM_FAULT_SIGBUS */
#define C_ALLOCATOR_FICKLE		16	/* match() says no while a buffer has memory */
#define C_ALLOCATOR_FAULTS		17

#define C_ALLOCATOR_SLOWEST		1000	/* milliseconds */

/**
 * struct c_allocator_fault - for C_ALLOCATOR_SET_FAULT
 * @handle: in: the allocator
 * @fault: in: what goes wrong from now on
 * @code: in: a number for it: not 0 where it is what an operation returns; -4095 to
 *	-1 in a pointer; 0 to 255 for a byte; 0 to C_ALLOCATOR_SLOWEST; otherwise it
 *	is not looked at
 * @reserved: zero
 * @refused: in: match() refuses devices whose name starts so; ends in NUL; empty
 *	for none
 */
struct c_allocator_fault {
	__u32 handle;
	__u32 fault;
	__s32 code;
	__u32 reserved;
	char refused[C_ALLOCATOR_NAME_LEN];
};

/* Lets an allocator fail. ENOENT; EINVAL where a field makes no sense. */
#define C_ALLOCATOR_SET_FAULT	_IOW('A', 0x03, struct c_allocator_fault)

/**
 * struct c_allocator_told - for C_ALLOCATOR_TELL
 * @handle: in: the allocator
 * @live: out: buffers that have memory of it
 * @tables: out: tables from map_dma() that unmap_dma() has not had
 * @addresses: out: likewise of map_kernel() and unmap_kernel()
 * @calls: out: how often each operation was called
 * @len: out: of the last allocate(), as what follows
 * @align: out: bytes
 * @flags: out: zero
 * @max_address: out: as in struct cenalloc_buffer
 * @max_segments: out: likewise
 * @direction: out: of the last sync_for_device()
 * @match_len: out: of the last match(), as what follows
 * @match_max_address: out: 0 for any
 * @match_max_segments: out: 0 for any
 * @without_device: out: how often match() was called without a device
 * @device: out: of the last match() with one, or of the last sync_for_device()
 */
struct c_allocator_told {
	__u32 handle;
	__s32 live;
	__s32 tables;
	__s32 addresses;
	__u32 calls[C_ALLOCATOR_OPS];
	__u64 len;
	__u64 align;
	__u64 flags;
	__u64 max_address;
	__u32 max_segments;
	__u32 direction;
	__u64 match_len;
	__u64 match_max_address;
	__u32 match_max_segments;
	__u32 without_device;
	char device[C_ALLOCATOR_NAME_LEN];
};

/* Tells what an allocator was asked. ENOENT. */
#define C_ALLOCATOR_TELL	_IOWR('A', 0x04, struct c_allocator_told)

/*
 * What nobody should do, by number, for tests. Returns what the call returned;
 * EINVAL for an unknown number. Where that needs an allocator, it is one of the
 * class below that has no memory.
 */
#define C_ALLOCATOR_MISUSE	_IO('A', 0x05)

#define C_ALLOCATOR_ADD_NULL		0	/* no allocator */
#define C_ALLOCATOR_ADD_NO_DEVICE	1	/* no device */
#define C_ALLOCATOR_REMOVE_NULL		2
#define C_ALLOCATOR_REMOVE_NO_DEVICE	3
#define C_ALLOCATOR_REMOVE_UNKNOWN	4	/* one that was never added */
#define C_ALLOCATOR_ADD_TWICE		5	/* the same one again */
#define C_ALLOCATOR_REMOVE_TWICE	6

#define C_ALLOCATOR_MISUSED_CLASS	0x10000000000ULL	/* bit 40 */

/* That of the allocator "early", which the module adds where its parameter coming= is not 0. */
#define C_ALLOCATOR_EARLY_CLASS		0x20000000000ULL	/* bit 41 */

#endif /* _CENALLOC_C_ALLOCATOR_H */
