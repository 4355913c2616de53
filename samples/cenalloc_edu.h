/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/cenalloc_edu: a sample importer of dma-bufs on QEMU's edu device, a PCI
 * device with a DMA engine that reaches 28 bits of address, or what the module's
 * parameter dma_bits says, and has 4096 bytes of memory of its own. Data really
 * crosses the bus at the addresses that the exporter handed out.
 *
 * An open file attaches one buffer at a time. Closing it unmaps and detaches.
 * When the driver is unbound from the device, all files lose their buffers in
 * the same way, and every later call on them fails with ENODEV. Only one device
 * is driven at a time. Reserved fields that are not zero are refused with
 * EINVAL.
 */

#ifndef _CENALLOC_EDU_H
#define _CENALLOC_EDU_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define EDU_MEMORY_SIZE	4096

/*
 * Attaches the dma-buf whose descriptor is the argument. What the exporter
 * returns; EBUSY where a buffer is attached; EBADF; EINVAL for what is no
 * dma-buf.
 */
#define EDU_ATTACH	_IO('E', 0x01)

/**
 * struct edu_segment - a segment of the mapped buffer
 * @address: DMA address
 * @len: bytes
 */
struct edu_segment {
	__u64 address;
	__u64 len;
};

/**
 * struct edu_map - for EDU_MAP
 * @segments: in: address of an array of struct edu_segment, or 0
 * @count: in: entries of @segments; out: segments of the mapping
 * @reserved: zero
 */
struct edu_map {
	__u64 segments;
	__u32 count;
	__u32 reserved;
};

/*
 * Maps the attached buffer, bidirectional. What the exporter returns; EBUSY
 * where it is mapped; EINVAL where none is attached; EFAULT, and then it is not
 * mapped.
 */
#define EDU_MAP		_IOWR('E', 0x02, struct edu_map)

/* struct edu_transfer.direction */
#define EDU_TO_DEVICE	0
#define EDU_FROM_DEVICE	1

/**
 * struct edu_transfer - for EDU_TRANSFER
 * @offset: in the buffer, in bytes
 * @device_offset: in the device's memory, in bytes
 * @len: bytes; may cross segments of the buffer; 0 does nothing
 * @direction: EDU_TO_DEVICE or EDU_FROM_DEVICE
 * @reserved: zero
 */
struct edu_transfer {
	__u64 offset;
	__u32 device_offset;
	__u32 len;
	__u32 direction;
	__u32 reserved;
};

/*
 * Moves bytes between the mapped buffer and the device's memory by its DMA
 * engine, and waits: 100 ms for each segment that is touched. EINVAL for a range
 * that does not fit or a buffer that is not mapped; EINTR for a signal, between
 * segments; ETIMEDOUT where the engine hangs, and EIO from then on, since it is
 * cut off from the bus. A part may have been moved when it fails.
 */
#define EDU_TRANSFER	_IOW('E', 0x03, struct edu_transfer)

/* Unmaps. EINVAL where nothing is mapped. */
#define EDU_UNMAP	_IO('E', 0x04)

/* Detaches, and unmaps before. EINVAL where nothing is attached. */
#define EDU_DETACH	_IO('E', 0x05)

#endif /* _CENALLOC_EDU_H */
