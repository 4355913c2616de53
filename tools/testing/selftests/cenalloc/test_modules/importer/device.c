// SPDX-License-Identifier: GPL-2.0
/*
 * Platform devices with the DMA limits that userspace asks for, and the driver
 * they are bound to. It is C because platform devices are made in C, and their
 * DMA limits are set by inline functions.
 */

#include <linux/ctype.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/idr.h>
#include <linux/limits.h>
#include <linux/log2.h>
#include <linux/platform_device.h>
#include <linux/string.h>

#include "device.h"

/*
 * A driver that does nothing: a device has to be bound before it may be mapped
 * for, or declare what it needs. It cannot be unbound through sysfs, so that a
 * device is bound from importer_device_create() to importer_device_remove().
 */
static struct platform_driver importer_driver = {
	.driver = {
		.name = "cenalloc_importer",
		.suppress_bind_attrs = true,
		.probe_type = PROBE_FORCE_SYNCHRONOUS,
	},
};

/* The numbers behind the names. */
static DEFINE_IDA(numbers);

int importer_driver_register(void)
{
	return platform_driver_register(&importer_driver);
}

void importer_driver_unregister(void)
{
	platform_driver_unregister(&importer_driver);
}

/* A name that is sound in sysfs and in messages. */
static int check_name(const char *name, size_t size)
{
	size_t len = strnlen(name, size);

	if (!len || len == size || *name == '.')
		return -EINVAL;
	while (len--)
		if (!isalnum(name[len]) && !strchr("-_.", name[len]))
			return -EINVAL;
	return 0;
}

/* Some other driver's device can have the name; sysfs would warn of that. */
static int check_unused(const struct platform_device *pdev)
{
	char name[IMPORTER_NAME_LEN + 16];
	struct device *other;

	snprintf(name, sizeof(name), "%s.%d", pdev->name, pdev->id);
	other = bus_find_device_by_name(&platform_bus_type, NULL, name);
	put_device(other);
	return other ? -EEXIST : 0;
}

static int set_limits(struct device *dev, const struct importer_add *add)
{
	u64 boundary_mask = add->parms_segment_boundary_mask;
	u64 mask = add->dma_mask ?: DMA_BIT_MASK(64);

	if (add->parms_max_segment_size > UINT_MAX)
		return -EINVAL;
	if (boundary_mask > ULONG_MAX || boundary_mask & (boundary_mask + 1))
		return -EINVAL;

	/* There is no hardware behind it that would not see the caches. */
	dev_assign_dma_coherent(dev, !(add->flags & IMPORTER_NONCOHERENT));
	if (add->flags & IMPORTER_NONCOHERENT && dev_is_dma_coherent(dev))
		return -EOPNOTSUPP;
	if (add->flags & IMPORTER_NO_DMA) {
		dev->dma_mask = NULL;
		dev->coherent_dma_mask = 0;
	} else if (dma_set_mask_and_coherent(dev, mask)) {
		return -EINVAL;
	}
	if (add->flags & IMPORTER_PARMS_ACCESS) {
#ifdef DMA_BUF_HAS_ACCESS_CONSTRAINTS
		dma_set_access_constraints_mask(dev, add->access_mask);
#else
		return -EOPNOTSUPP;
#endif
	}
	/* A device that does not say how long segments may be has 64 KiB. */
	dma_set_max_seg_size(dev, add->parms_max_segment_size ?: UINT_MAX);
	if (boundary_mask)
		dma_set_seg_boundary(dev, boundary_mask);
	return 0;
}

/*
 * Makes a device that is bound when this returns, or returns an ERR_PTR. @parent
 * may be NULL; it stays until the device is removed.
 */
struct device *importer_device_create(const struct importer_add *add,
				      struct device *parent)
{
	struct platform_device *pdev;
	int number, ret;

	ret = check_name(add->name, sizeof(add->name));
	if (ret)
		return ERR_PTR(ret);
	number = ida_alloc(&numbers, GFP_KERNEL);
	if (number < 0)
		return ERR_PTR(number);

	ret = -ENOMEM;
	pdev = platform_device_alloc(add->name, number);
	if (!pdev)
		goto free_number;
	pdev->dev.parent = parent;
	ret = check_unused(pdev);
	if (ret)
		goto put_device;
	ret = set_limits(&pdev->dev, add);
	if (ret)
		goto put_device;
	/* Whatever its name, no other driver may take it. */
	ret = device_set_driver_override(&pdev->dev, importer_driver.driver.name);
	if (ret)
		goto put_device;
	ret = platform_device_add(pdev);
	if (ret)
		goto put_device;
	/* The system does not probe anything while it goes to sleep. */
	ret = -EAGAIN;
	if (!device_is_bound(&pdev->dev))
		goto del_device;
	return &pdev->dev;

del_device:
	platform_device_del(pdev);
put_device:
	platform_device_put(pdev);
free_number:
	ida_free(&numbers, number);
	return ERR_PTR(ret);
}

void importer_device_remove(struct device *dev)
{
	struct platform_device *pdev = to_platform_device(dev);
	int number = pdev->id;

	platform_device_unregister(pdev);
	ida_free(&numbers, number);
}
