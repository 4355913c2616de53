// SPDX-License-Identifier: GPL-2.0
/*
 * An importer whose device goes and comes. Its calls, and what its lock is for, are
 * documented in cenalloc_removable.h.
 */

#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-buf-constraints.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>

#include "../cenalloc_removable.h"

static bool fail_probe;
module_param(fail_probe, bool, 0644);
MODULE_PARM_DESC(fail_probe, "Fail to probe the device, after it has declared its needs");

static bool take_device_lock;
module_param(take_device_lock, bool, 0644);
MODULE_PARM_DESC(take_device_lock, "Wait for the device's lock where nothing may");

/* L: for is_bound, and for all that is done with a buffer. */
static DEFINE_MUTEX(lock);
static bool is_bound;

static struct platform_device *device;

static const struct dma_buf_constraints needs = {
	.max_address = DMA_BIT_MASK(32),
};

static int probe(struct platform_device *pdev)
{
	int ret;

	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(32));
	if (ret)
		return ret;
	dma_set_max_seg_size(&pdev->dev, UINT_MAX);
	ret = dma_buf_constraints_declare(&pdev->dev, &needs);
	if (ret)
		return ret;
	if (fail_probe)
		return -ENODEV;
	guard(mutex)(&lock);
	is_bound = true;
	return 0;
}

static void remove(struct platform_device *pdev)
{
	guard(mutex)(&lock);
	is_bound = false;
}

static struct platform_driver driver = {
	.driver = {
		.name = REMOVABLE_NAME,
		.probe_type = PROBE_FORCE_SYNCHRONOUS,
	},
	.probe = probe,
	.remove = remove,
};

/* With L held. */
static int share(struct dma_buf *dmabuf)
{
	struct dma_buf_attachment *attachment;
	struct sg_table *table;

	if (!is_bound)
		return -ENODEV;
	if (take_device_lock) {
		device_lock(&device->dev);
		device_unlock(&device->dev);
	}
	attachment = dma_buf_attach(dmabuf, &device->dev);
	if (IS_ERR(attachment))
		return PTR_ERR(attachment);
	table = dma_buf_map_attachment_unlocked(attachment, DMA_BIDIRECTIONAL);
	if (!IS_ERR(table))
		dma_buf_unmap_attachment_unlocked(attachment, table, DMA_BIDIRECTIONAL);
	dma_buf_detach(dmabuf, attachment);
	return PTR_ERR_OR_ZERO(table);
}

static long removable_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct dma_buf *dmabuf;
	int ret;

	switch (cmd) {
	case REMOVABLE_SHARE:
		dmabuf = dma_buf_get(arg);
		if (IS_ERR(dmabuf))
			return PTR_ERR(dmabuf);
		scoped_guard(mutex, &lock)
			ret = share(dmabuf);
		dma_buf_put(dmabuf);
		return ret;
	case REMOVABLE_HOLD:
		if (arg > REMOVABLE_LONGEST)
			return -EINVAL;
		device_lock(&device->dev);
		msleep(arg);
		device_unlock(&device->dev);
		return 0;
	default:
		return -ENOTTY;
	}
}

static const struct file_operations fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = removable_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = REMOVABLE_NAME,
	.fops = &fops,
};

static int __init removable_init(void)
{
	int ret;

	ret = platform_driver_register(&driver);
	if (ret)
		return ret;
	device = platform_device_register_simple(REMOVABLE_NAME, PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(device)) {
		ret = PTR_ERR(device);
		goto unregister_driver;
	}
	ret = misc_register(&misc);
	if (ret)
		goto unregister_device;
	return 0;

unregister_device:
	platform_device_unregister(device);
unregister_driver:
	platform_driver_unregister(&driver);
	return ret;
}
module_init(removable_init);

static void __exit removable_exit(void)
{
	misc_deregister(&misc);
	platform_device_unregister(device);
	platform_driver_unregister(&driver);
}
module_exit(removable_exit);

MODULE_DESCRIPTION("Test importer whose device may be unbound");
MODULE_AUTHOR("The cenalloc developers");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
