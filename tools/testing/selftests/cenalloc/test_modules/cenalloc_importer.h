/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/cenalloc_importer: an importer of dma-bufs. It makes any number of
 * platform devices, each with the constraints it is told, and attaches, maps,
 * unmaps and detaches them one call at a time.
 *
 * Everything belongs to the open file and goes with it: attachments first, then
 * devices. Handles are numbers from 0; the lowest that is free is taken.
 *
 * Threads may share an open file. A call on an attachment that another call is
 * working on fails with EBUSY. A call that fails has changed nothing, with EFAULT
 * no less than with other errors. Reserved fields that are not zero and unknown
 * flags are refused with EINVAL.
 */

#ifndef _CENALLOC_IMPORTER_H
#define _CENALLOC_IMPORTER_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define IMPORTER_NAME_LEN	32
#define IMPORTER_MAX_DEPTH	8	/* devices from a child up to its first ancestor */

/* struct importer_add.flags */
#define IMPORTER_NO_DMA		0x1		/* a device without a DMA mask */
#define IMPORTER_DECLARE	0x2		/* declare the constraints below */
#define IMPORTER_COHERENT	0x8		/* declared: no cache maintenance */
#define IMPORTER_CHILD		0x10		/* it is a part of @parent */
#define IMPORTER_PARMS_ACCESS	0x20		/* @access_mask is not declared, see there */
#define IMPORTER_NONCOHERENT	0x40		/* its DMA needs cache maintenance */

/**
 * struct importer_add - for IMPORTER_ADD
 * @dma_mask: the device's DMA mask; 0 is 64 bits
 * @parms_max_segment_size: for dma_set_max_seg_size(); 0 is no limit
 * @parms_segment_boundary_mask: for dma_set_seg_boundary(); 0 leaves it alone
 * @access_mask: declared, as in struct dma_buf_constraints, as is what follows;
 *	with IMPORTER_PARMS_ACCESS for dma_set_access_constraints_mask() instead,
 *	which every exporter heeds: EOPNOTSUPP where this kernel does not have it
 * @max_address: declared
 * @max_segment_size: declared
 * @segment_boundary_mask: declared
 * @alignment: declared
 * @max_segments: declared
 * @flags: IMPORTER_*; with IMPORTER_NONCOHERENT EOPNOTSUPP where all DMA is
 *	coherent with the caches
 * @name: of the device; letters, digits and "-_.", not empty, ends in NUL. It
 *	gets a number behind it, as platform devices do ("name.3"): the lowest
 *	that no device of any open file has
 * @device: out: handle
 * @parent: with IMPORTER_CHILD, the handle of another device, whose child it
 *	becomes; otherwise zero
 * @priority: declared
 * @reserved: zero
 */
struct importer_add {
	__u64 dma_mask;
	__u64 parms_max_segment_size;
	__u64 parms_segment_boundary_mask;
	__u64 access_mask;
	__u64 max_address;
	__u64 max_segment_size;
	__u64 segment_boundary_mask;
	__u64 alignment;
	__u32 max_segments;
	__u32 flags;
	char name[IMPORTER_NAME_LEN];
	__u32 device;
	__u32 parent;
	__u16 priority;
	__u16 reserved[3];
};

/*
 * Makes a device, bound to a driver. EINVAL where a field makes no sense, where
 * the machine knows no such DMA mask (on x86, one below 24 bits), or where there
 * would be more than IMPORTER_MAX_DEPTH devices one below the other; EEXIST where
 * a device of another driver has the name; ENOENT without such a parent; ENOMEM.
 */
#define IMPORTER_ADD		_IOWR('I', 0x01, struct importer_add)

/*
 * Removes a device. EBUSY while it is attached or has children; ENOENT. The
 * argument is the handle.
 */
#define IMPORTER_REMOVE		_IO('I', 0x02)

/* struct importer_attach.flags */
#define IMPORTER_DYNAMIC	0x4		/* memory may move while it is mapped */

/**
 * struct importer_attach - for IMPORTER_ATTACH
 * @device: in: handle
 * @fd: in: the dma-buf
 * @attachment: out: handle
 * @flags: IMPORTER_DYNAMIC or 0
 */
struct importer_attach {
	__u32 device;
	__s32 fd;
	__u32 attachment;
	__u32 flags;
};

/*
 * Attaches a device to a dma-buf. What the exporter returns; ENOENT without such
 * a device; EBADF; EINVAL for what is no dma-buf.
 */
#define IMPORTER_ATTACH		_IOWR('I', 0x03, struct importer_attach)

/**
 * struct importer_segment - a piece of a mapped buffer
 * @address: DMA address
 * @len: bytes
 */
struct importer_segment {
	__u64 address;
	__u64 len;
};

/**
 * struct importer_map - for IMPORTER_MAP
 * @segments: in: address of an array of struct importer_segment, or 0
 * @attachment: in: handle
 * @direction: in: 0 bidirectional, 1 to the device, 2 from the device
 * @count: in: entries of @segments; out: segments of the mapping
 * @reserved: zero
 */
struct importer_map {
	__u64 segments;
	__u32 attachment;
	__u32 direction;
	__u32 count;
	__u32 reserved;
};

/* Maps an attachment. What the exporter returns; EBUSY where it is mapped; ENOENT. */
#define IMPORTER_MAP		_IOWR('I', 0x04, struct importer_map)

/* Unmaps. The argument is the attachment. ENOENT; EINVAL where it is not mapped. */
#define IMPORTER_UNMAP		_IO('I', 0x05)

/*
 * Detaches, and unmaps and unpins before where it is mapped or pinned. The
 * argument is the attachment. ENOENT.
 */
#define IMPORTER_DETACH		_IO('I', 0x06)

/*
 * Pins the memory of a dynamic attachment: it stays where it is until as many
 * IMPORTER_UNPIN. The argument is the attachment. What the exporter returns;
 * EINVAL for an attachment that is not dynamic; EBUSY where it is mapped; ENOENT.
 */
#define IMPORTER_PIN		_IO('I', 0x07)

/*
 * Takes one IMPORTER_PIN back. The argument is the attachment. EINVAL where there
 * is none; EBUSY where it is mapped; ENOENT.
 */
#define IMPORTER_UNPIN		_IO('I', 0x08)

/**
 * struct importer_moves - for IMPORTER_MOVES
 * @attachment: in: handle
 * @moves: out: how often the exporter told that memory moves
 */
struct importer_moves {
	__u32 attachment;
	__u32 moves;
};

/*
 * Tells how often a dynamic attachment was told that memory moves. Nothing else
 * comes of being told: what is mapped stays mapped until IMPORTER_UNMAP, and shows
 * the old memory. ENOENT.
 */
#define IMPORTER_MOVES		_IOWR('I', 0x09, struct importer_moves)

#endif /* _CENALLOC_IMPORTER_H */
