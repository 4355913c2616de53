/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/cenalloc_c_exporter: an exporter of dma-bufs in C, on
 * linux/dma-buf-constraints.h.
 *
 * Fields that are called reserved must be zero (EINVAL).
 */

#ifndef _CENALLOC_C_EXPORTER_H
#define _CENALLOC_C_EXPORTER_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define EXPORTER_NAME_LEN	64
#define EXPORTER_REASON_LEN	192

/**
 * struct exporter_constraints - struct dma_buf_constraints, for userspace
 * @access_mask: as there, and so on; 0 in any field is "don't care"
 * @max_address: last address
 * @max_segment_size: bytes
 * @segment_boundary_mask: a power of two, minus one
 * @alignment: bytes, a power of two
 * @max_segments: 1 is one contiguous run
 * @priority: for second choices
 * @coherent: 1 where it must not need cache maintenance, else 0
 * @reserved: zero
 */
struct exporter_constraints {
	__u64 access_mask;
	__u64 max_address;
	__u64 max_segment_size;
	__u64 segment_boundary_mask;
	__u64 alignment;
	__u32 max_segments;
	__u16 priority;
	__u8 coherent;
	__u8 reserved;
};

/**
 * struct exporter_create - for EXPORTER_CREATE
 * @len: in: bytes, rounded up to whole pages
 * @base: in: what the buffer needs whoever uses it
 * @fd: out: the dma-buf
 * @reserved: zero
 */
struct exporter_create {
	__u64 len;
	struct exporter_constraints base;
	__s32 fd;
	__u32 reserved;
};

/*
 * Makes a buffer that has no memory yet; the first mapping gives it one
 * contiguous run that all who are attached by then can use. A device that
 * cannot share it with those before is refused with EINVAL when it attaches; one
 * that cannot use the memory that is there already, with EBUSY. The CPU cannot
 * map it.
 *
 * EINVAL where @base makes no sense, where @len is 0 or more than the page
 * allocator has in one run; EMFILE; ENOMEM.
 */
#define EXPORTER_CREATE		_IOWR('X', 0x01, struct exporter_create)

/**
 * struct exporter_state - for EXPORTER_STATE
 * @fd: in: a buffer of this exporter
 * @has_memory: out: 1 when it has memory, else 0
 * @address: out: physical address of the memory
 * @meet: out: what all users and the buffer itself need together
 * @refusal: out: why a device was refused last, ends in NUL; empty where none was
 */
struct exporter_state {
	__s32 fd;
	__u32 has_memory;
	__u64 address;
	struct exporter_constraints meet;
	char refusal[EXPORTER_REASON_LEN];
};

/* Tells about a buffer. EBADF; EINVAL for what is no buffer of this exporter. */
#define EXPORTER_STATE		_IOWR('X', 0x02, struct exporter_state)

/**
 * struct exporter_device - for EXPORTER_QUERY and EXPORTER_DECLARE
 * @name: in: of a platform device, ends in NUL
 * @constraints: out for EXPORTER_QUERY, in for EXPORTER_DECLARE
 */
struct exporter_device {
	char name[EXPORTER_NAME_LEN];
	struct exporter_constraints constraints;
};

/*
 * Tells what a platform device needs. EINVAL without a NUL in the name; ENODEV where there
 * is none, or no driver is bound to it.
 */
#define EXPORTER_QUERY		_IOWR('X', 0x03, struct exporter_device)

/*
 * Declares what a platform device needs, in place of its driver; that holds until
 * the driver is unbound, and keeps the module dma_buf_constraints loaded as
 * long. EINVAL; ENODEV where there is no such device, or no driver bound to it;
 * ENOMEM.
 */
#define EXPORTER_DECLARE	_IOW('X', 0x04, struct exporter_device)

#endif /* _CENALLOC_C_EXPORTER_H */
