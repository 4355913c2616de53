// SPDX-License-Identifier: GPL-2.0
/*
 * A platform driver that declares what its device needs of shared buffers.
 *
 * The device scans out a contiguous buffer that starts at a multiple of 64 KiB,
 * below 4 GiB.
 */

#include <linux/dma-buf-constraints.h>
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/sizes.h>

/* What struct device cannot tell. The DMA mask need not be declared. */
static const struct dma_buf_constraints needs = {
	.max_segments = 1,
	.alignment = SZ_64K,
};

static int scanout_probe(struct platform_device *pdev)
{
	int ret;

	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(32));
	if (ret)
		return ret;

	/* Gone by itself when the driver unbinds, or when this probe fails. */
	return dma_buf_constraints_declare(&pdev->dev, &needs);
}

static struct platform_driver scanout_driver = {
	.probe = scanout_probe,
	.driver = {
		.name = "scanout",
	},
};
module_platform_driver(scanout_driver);

MODULE_DESCRIPTION("Example of a driver that declares what its device needs");
MODULE_AUTHOR("The cenalloc developers");
MODULE_LICENSE("GPL");
