/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/cenalloc_c_importer: a driver in C that makes buffers by
 * linux/cenalloc.h and imports them with two devices.
 *
 * C_IMPORTER_RUN does all that such a driver does with a buffer, at once. The
 * other calls do it in single steps. An open file has one buffer at a time, and
 * whatever it has of it goes with the file.
 *
 * All calls but C_IMPORTER_RUN and C_IMPORTER_CREATE fail with ENODATA where the
 * file has no buffer. Fields that are called reserved must be zero (EINVAL).
 */

#ifndef _CENALLOC_C_IMPORTER_H
#define _CENALLOC_C_IMPORTER_H

#include <linux/cenalloc.h>
#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * The devices, by number; on the platform bus their names are those here. The
 * display takes one segment below 4 GiB. The codec takes segments of at most
 * 64 KiB that do not cross a multiple of 4 MiB.
 */
#define C_IMPORTER_DISPLAY	0	/* cenalloc-display */
#define C_IMPORTER_CODEC	1	/* cenalloc-codec */
#define C_IMPORTER_DEVICES	2

/**
 * struct c_importer_seen - what a device sees of a buffer
 * @len: bytes in all its segments
 * @largest: the longest segment, in bytes
 * @first_address: where the first segment starts
 * @last_address: the last byte of all
 * @segments: how many there are
 * @reserved: zero
 */
struct c_importer_seen {
	__u64 len;
	__u64 largest;
	__u64 first_address;
	__u64 last_address;
	__u32 segments;
	__u32 reserved;
};

/**
 * struct c_importer_run - for C_IMPORTER_RUN
 * @len: in: length of the buffer in bytes
 * @align: in: its alignment in bytes, or 0
 * @seen: out: what each device saw
 */
struct c_importer_run {
	__u64 len;
	__u64 align;
	struct c_importer_seen seen[C_IMPORTER_DEVICES];
};

/*
 * Makes a buffer, uses it with both devices and frees it. Fails with what the
 * step that fails does; EIO where a device cannot take its segments.
 */
#define C_IMPORTER_RUN		_IOWR('K', 0x01, struct c_importer_run)

/**
 * struct c_importer_create - for C_IMPORTER_CREATE
 * @len: in: length in bytes
 * @align: in: alignment in bytes, or 0
 * @flags: in: O_RDONLY, O_WRONLY or O_RDWR
 * @name: in: its name; ends in NUL
 */
struct c_importer_create {
	__u64 len;
	__u64 align;
	__u64 flags;
	char name[CENALLOC_DEVICE_LEN];
};

/* cenalloc_buffer_create(). Fails as that does; EBUSY where the file has a buffer. */
#define C_IMPORTER_CREATE	_IOW('K', 0x02, struct c_importer_create)

/*
 * Takes the dma-buf whose descriptor is the argument, whoever exported it, as the
 * file's buffer. EBADF; EINVAL for what is no dma-buf; EBUSY where the file has a
 * buffer.
 */
#define C_IMPORTER_TAKE		_IO('K', 0x03)

/* Returns a new descriptor of the buffer. EMFILE. */
#define C_IMPORTER_EXPORT	_IO('K', 0x04)

/* dma_buf_attach() of the device that is the argument. EBUSY where it is; EINVAL. */
#define C_IMPORTER_ATTACH	_IO('K', 0x05)

/* dma_buf_detach(), after an unmap where it is mapped. EINVAL where it is not attached. */
#define C_IMPORTER_DETACH	_IO('K', 0x06)

/**
 * struct c_importer_map - for C_IMPORTER_MAP
 * @seen: out: what the device sees
 * @device: in: C_IMPORTER_DISPLAY or C_IMPORTER_CODEC
 * @reserved: zero
 */
struct c_importer_map {
	struct c_importer_seen seen;
	__u32 device;
	__u32 reserved;
};

/*
 * dma_buf_map_attachment_unlocked(). EINVAL where the device is not attached;
 * EBUSY where it is mapped; EIO where the device cannot take its segments.
 */
#define C_IMPORTER_MAP		_IOWR('K', 0x07, struct c_importer_map)

/* dma_buf_unmap_attachment_unlocked(). EINVAL where the device is not mapped. */
#define C_IMPORTER_UNMAP	_IO('K', 0x08)

/* Fills the buffer with the byte that is the argument, through dma_buf_vmap_unlocked(). */
#define C_IMPORTER_FILL		_IO('K', 0x09)

/**
 * struct c_importer_phys - for C_IMPORTER_PHYS
 * @addr: in: what it is before the call; out: the address
 * @len: in: what it is before the call; out: the length in bytes
 */
struct c_importer_phys {
	__u64 addr;
	__u64 len;
};

/* cenalloc_phys(). The structure is written whether that fails or not. */
#define C_IMPORTER_PHYS		_IOWR('K', 0x0a, struct c_importer_phys)

/**
 * struct c_importer_pages - for C_IMPORTER_PAGES
 * @bytes: in: address of @len bytes, or 0
 * @offset: in: where in the buffer they start
 * @len: in: how many; out: how many were read
 * @seen: out: the table, by physical addresses
 */
struct c_importer_pages {
	__u64 bytes;
	__u64 offset;
	__u64 len;
	struct c_importer_seen seen;
};

/* cenalloc_sg_table(), and reads the buffer through the pages in the table. */
#define C_IMPORTER_PAGES	_IOWR('K', 0x0b, struct c_importer_pages)

/*
 * Gives the file's reference back, after both devices have been detached: by
 * cenalloc_buffer_free() after C_IMPORTER_CREATE, by dma_buf_put() after
 * C_IMPORTER_TAKE.
 */
#define C_IMPORTER_FREE		_IO('K', 0x0c)

/*
 * What nobody should do, by number, for tests: pointers that are no buffers and no
 * devices. Returns what the call returned, 0 for one that returns nothing. EINVAL
 * for an unknown number.
 */
#define C_IMPORTER_MISUSE	_IO('K', 0x0d)

#define C_IMPORTER_FREE_NULL		0
#define C_IMPORTER_FREE_ERROR		1
#define C_IMPORTER_PHYS_NULL		2
#define C_IMPORTER_PHYS_ERROR		3
#define C_IMPORTER_SG_TABLE_NULL	4
#define C_IMPORTER_SG_TABLE_ERROR	5
#define C_IMPORTER_CREATE_NULL		6
#define C_IMPORTER_CREATE_ERROR		7
#define C_IMPORTER_DECLARE_NULL		8
#define C_IMPORTER_DECLARE_ERROR	9
#define C_IMPORTER_ALLOCATE_NULL	10
#define C_IMPORTER_ALLOCATE_ERROR	11

/*
 * cenalloc_buffer_free() of a buffer of another exporter, for tests: that leaves it
 * alone, and the file still has it. EINVAL where cenalloc exported it.
 */
#define C_IMPORTER_FREE_FOREIGN	_IO('K', 0x0e)

/**
 * struct c_importer_declare - for C_IMPORTER_DECLARE
 * @device: in: C_IMPORTER_DISPLAY or C_IMPORTER_CODEC
 * @has_needs: in: 1 for needs beyond what the kernel knows of it, otherwise 0
 * @access_mask: in: as in struct dma_buf_constraints, as is what follows
 * @max_address: in: as there
 * @max_segments: in: as there
 * @reserved: not looked at
 * @refusal: out: what cenalloc tells
 */
struct c_importer_declare {
	__u32 device;
	__u32 has_needs;
	__u64 access_mask;
	__u64 max_address;
	__u32 max_segments;
	__u32 reserved;
	struct cenalloc_refusal refusal;
};

/* cenalloc_buffer_declare(). The structure is written whether that fails or not. */
#define C_IMPORTER_DECLARE	_IOWR('K', 0x0f, struct c_importer_declare)

/*
 * cenalloc_buffer_allocate(). The refusal is written whether that fails or not; with no
 * place for it, the argument 0, nobody asks for it.
 */
#define C_IMPORTER_ALLOCATE	_IOR('K', 0x10, struct cenalloc_refusal)

/* dma_buf_vmap_unlocked(). EBUSY where the file has it mapped already. */
#define C_IMPORTER_VMAP		_IO('K', 0x11)

/* dma_buf_vunmap_unlocked(). EINVAL where the file has not mapped it. */
#define C_IMPORTER_VUNMAP	_IO('K', 0x12)

#endif /* _CENALLOC_C_IMPORTER_H */
