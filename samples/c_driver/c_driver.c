// SPDX-License-Identifier: GPL-2.0
/*
 * A driver whose device reads a frame from memory that it may share with others:
 *
 *	dma_buf_constraints_declare()		in probe, before anything attaches
 *	cenalloc_get_device()			once
 *	cenalloc_buffer_create()		no memory yet
 *	dma_buf_attach()			of each device, before the first map
 *	dma_buf_map_attachment_unlocked()	the first chooses the memory
 *	...					use
 *	dma_buf_unmap_attachment_unlocked()
 *	dma_buf_detach()
 *	cenalloc_buffer_free()
 *
 * A device that attaches after the first map may find memory that does not suit
 * it: it is refused with -EBUSY, unless the memory can be relocated.
 *
 * There is no hardware: the module adds the device as well.
 */

#include <linux/cenalloc.h>
#include <linux/dma-buf.h>
#include <linux/dma-buf-constraints.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/fcntl.h>
#include <linux/iosys-map.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#define NAME		"cenalloc_c_driver"
#define FRAME_SIZE	(640 * 480 * 4)

/**
 * struct display - what exists while the driver is bound
 * @frame: the buffer
 * @attachment: of the device to it
 * @table: where the device sees it
 */
struct display {
	struct dma_buf *frame;
	struct dma_buf_attachment *attachment;
	struct sg_table *table;
};

/* What struct device cannot tell: the frame is read from one address on. */
static const struct dma_buf_constraints needs = {
	.max_segments = 1,
};

/**
 * fill() - write a byte all over a buffer
 * @dmabuf: the buffer
 * @value: the byte
 *
 * Works with the memory of every allocator. Where no device has mapped the
 * buffer, this chooses its memory.
 *
 * Return: 0, or what the exporter fails with.
 */
static int fill(struct dma_buf *dmabuf, u8 value)
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

/* Makes a frame, and maps it for the device. */
static int display_start(struct display *display, struct device *dev)
{
	struct cenalloc_device *cenalloc;
	int ret;

	cenalloc = cenalloc_get_device();
	if (IS_ERR(cenalloc))
		return PTR_ERR(cenalloc);
	display->frame = cenalloc_buffer_create(cenalloc, FRAME_SIZE, 0, O_RDWR,
						"frame");
	if (IS_ERR(display->frame))
		return PTR_ERR(display->frame);

	/* Each device narrows what the memory may be, or is refused. */
	display->attachment = dma_buf_attach(display->frame, dev);
	if (IS_ERR(display->attachment)) {
		ret = PTR_ERR(display->attachment);
		goto free;
	}
	/* dma_buf_fd() would give the frame to userspace, for others to attach. */
	display->table = dma_buf_map_attachment_unlocked(display->attachment,
							 DMA_TO_DEVICE);
	if (IS_ERR(display->table)) {
		ret = PTR_ERR(display->table);
		goto detach;
	}
	ret = fill(display->frame, 0x5a);
	if (ret)
		goto unmap;
	return 0;

unmap:
	dma_buf_unmap_attachment_unlocked(display->attachment, display->table,
					  DMA_TO_DEVICE);
detach:
	dma_buf_detach(display->frame, display->attachment);
free:
	cenalloc_buffer_free(display->frame);
	return ret;
}

static int display_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct display *display;
	int ret;

	ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(32));
	if (ret)
		return ret;
	/* Unless a driver says so, the DMA API takes 64 KiB for the most. */
	dma_set_max_seg_size(dev, UINT_MAX);
	/* Gone when the driver unbinds. */
	ret = dma_buf_constraints_declare(dev, &needs);
	if (ret)
		return ret;

	display = devm_kzalloc(dev, sizeof(*display), GFP_KERNEL);
	if (!display)
		return -ENOMEM;
	/* May be -EPROBE_DEFER. */
	ret = display_start(display, dev);
	if (ret)
		return ret;
	platform_set_drvdata(pdev, display);
	/* Here the hardware would be told the only segment's address. */
	dev_dbg(dev, "the frame is at %pad\n", &sg_dma_address(display->table->sgl));
	return 0;
}

/*
 * By now the hardware does not use the frame. Nothing may stay attached for the
 * driver.
 */
static void display_remove(struct platform_device *pdev)
{
	struct display *display = platform_get_drvdata(pdev);

	dma_buf_unmap_attachment_unlocked(display->attachment, display->table,
					  DMA_TO_DEVICE);
	dma_buf_detach(display->frame, display->attachment);
	cenalloc_buffer_free(display->frame);
}

static struct platform_driver driver = {
	.driver = {
		.name = NAME,
		.probe_type = PROBE_FORCE_SYNCHRONOUS,
	},
	.probe = display_probe,
	.remove = display_remove,
};

static struct platform_device *device;

static int __init c_driver_init(void)
{
	int ret = platform_driver_register(&driver);

	if (ret)
		return ret;
	device = platform_device_register_simple(NAME, PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(device))
		platform_driver_unregister(&driver);
	return PTR_ERR_OR_ZERO(device);
}
module_init(c_driver_init);

static void __exit c_driver_exit(void)
{
	platform_device_unregister(device);
	platform_driver_unregister(&driver);
}
module_exit(c_driver_exit);

MODULE_DESCRIPTION("Sample driver in C that shares a buffer of cenalloc");
MODULE_AUTHOR("The cenalloc developers");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
