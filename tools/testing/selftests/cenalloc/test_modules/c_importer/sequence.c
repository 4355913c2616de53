// SPDX-License-Identifier: GPL-2.0
/*
 * What a driver does with a buffer whose memory is chosen when all users are
 * known:
 *
 *	cenalloc_get_device()			once
 *	cenalloc_buffer_create()		no memory yet
 *	dma_buf_attach()			of each device, before the first map
 *	dma_buf_map_attachment_unlocked()	the first chooses the memory
 *	...					use
 *	dma_buf_unmap_attachment_unlocked()
 *	dma_buf_detach()
 *	cenalloc_buffer_free()
 *
 * A device that attaches after the first map may find memory that it cannot use:
 * it is refused with -EBUSY, unless the memory can move.
 */

#include <linux/cenalloc.h>
#include <linux/dma-buf.h>
#include <linux/err.h>
#include <linux/fcntl.h>
#include <linux/iosys-map.h>

#include "c_importer.h"

/**
 * sequence_fill() - write a byte all over a buffer
 * @dmabuf: the buffer
 * @value: the byte
 *
 * Works with the memory of every allocator. Where no device has mapped the
 * buffer, this chooses its memory.
 *
 * Return: 0, or what the exporter fails with.
 */
int sequence_fill(struct dma_buf *dmabuf, u8 value)
{
	struct iosys_map map;
	int ret, end;

	ret = dma_buf_begin_cpu_access(dmabuf, DMA_TO_DEVICE);
	if (ret)
		return ret;
	ret = dma_buf_vmap_unlocked(dmabuf, &map);
	if (!ret) {
		iosys_map_memset(&map, 0, value, dmabuf->size);
		dma_buf_vunmap_unlocked(dmabuf, &map);
	}
	/* Devices that have the buffer mapped see what was written from here on. */
	end = dma_buf_end_cpu_access(dmabuf, DMA_TO_DEVICE);
	return ret ?: end;
}

/* Maps a buffer for all devices that are attached, and uses it. */
static int use(struct dma_buf *dmabuf, struct dma_buf_attachment **attachments,
	       struct c_importer_seen *seen)
{
	struct sg_table *tables[C_IMPORTER_DEVICES];
	int i, mapped, ret;

	for (mapped = 0; mapped < C_IMPORTER_DEVICES; mapped++) {
		tables[mapped] =
			dma_buf_map_attachment_unlocked(attachments[mapped],
							DMA_TO_DEVICE);
		if (IS_ERR(tables[mapped])) {
			ret = PTR_ERR(tables[mapped]);
			goto unmap;
		}
	}
	ret = sequence_fill(dmabuf, 0x5a);
	if (ret)
		goto unmap;
	for (i = 0; i < C_IMPORTER_DEVICES && !ret; i++)
		ret = device_look(i, tables[i], &seen[i]);

unmap:
	while (mapped--)
		dma_buf_unmap_attachment_unlocked(attachments[mapped],
						  tables[mapped],
						  DMA_TO_DEVICE);
	return ret;
}

/**
 * sequence_run() - make a buffer, use it with all devices, and free it
 * @run: what to make; filled in with what the devices saw
 *
 * Return: 0, or what the step that failed returned; then all is undone.
 */
int sequence_run(struct c_importer_run *run)
{
	struct dma_buf_attachment *attachments[C_IMPORTER_DEVICES];
	struct cenalloc_device *cenalloc;
	struct dma_buf *dmabuf;
	int attached, ret;

	/* A driver asks in its probe, and passes -EPROBE_DEFER on. */
	cenalloc = cenalloc_get_device();
	if (IS_ERR(cenalloc))
		return PTR_ERR(cenalloc);
	dmabuf = cenalloc_buffer_create(cenalloc, run->len, run->align, O_RDWR, NULL);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	/* Each narrows what the memory may be, or is told that it cannot take part. */
	for (attached = 0; attached < C_IMPORTER_DEVICES; attached++) {
		attachments[attached] = dma_buf_attach(dmabuf,
						       device_of(attached));
		if (IS_ERR(attachments[attached])) {
			ret = PTR_ERR(attachments[attached]);
			goto detach;
		}
	}
	ret = use(dmabuf, attachments, run->seen);

detach:
	while (attached--)
		dma_buf_detach(dmabuf, attachments[attached]);
	cenalloc_buffer_free(dmabuf);
	return ret;
}
