// SPDX-License-Identifier: GPL-2.0
/*
 * A driver on the GEM DMA helpers of DRM, which import a buffer that is one range of DMA
 * addresses and no other. Its device reaches memory below 4 GiB. It tells nobody so, and
 * has no screen: programs import buffers by PRIME.
 */

#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/platform_device.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_gem_dma_helper.h>
#include <drm/drm_ioctl.h>

struct card {
	struct drm_device drm;
};

DEFINE_DRM_GEM_DMA_FOPS(fops);

static const struct drm_driver drm_driver = {
	.driver_features = DRIVER_GEM,
	.name = KBUILD_MODNAME,
	.desc = "Test importer on the GEM DMA helpers",
	.major = 1,
	.fops = &fops,
	DRM_GEM_DMA_DRIVER_OPS,
};

static int probe(struct platform_device *pdev)
{
	struct card *card;
	int ret;

	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(32));
	if (ret)
		return ret;
	dma_set_max_seg_size(&pdev->dev, UINT_MAX);
	card = devm_drm_dev_alloc(&pdev->dev, &drm_driver, struct card, drm);
	if (IS_ERR(card))
		return PTR_ERR(card);
	platform_set_drvdata(pdev, card);
	return drm_dev_register(&card->drm, 0);
}

static void remove(struct platform_device *pdev)
{
	struct card *card = platform_get_drvdata(pdev);

	drm_dev_unplug(&card->drm);
}

static struct platform_driver driver = {
	.driver.name = KBUILD_MODNAME,
	.remove = remove,
};

static struct platform_device *device;

static int __init gem_dma_init(void)
{
	device = platform_create_bundle(&driver, probe, NULL, 0, NULL, 0);
	return PTR_ERR_OR_ZERO(device);
}
module_init(gem_dma_init);

static void __exit gem_dma_exit(void)
{
	platform_device_unregister(device);
	platform_driver_unregister(&driver);
}
module_exit(gem_dma_exit);

MODULE_DESCRIPTION("Test importer on the GEM DMA helpers");
MODULE_AUTHOR("The cenalloc developers");
MODULE_LICENSE("GPL");
