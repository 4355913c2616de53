// SPDX-License-Identifier: GPL-2.0
/*
 * A driver for QEMU's edu device that goes with a buffer still mapped for it. It
 * is a PCI device since DMA-API looks at those of some buses alone, when their
 * drivers go.
 */

#include <linux/cenalloc.h>
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/pci.h>
#include <linux/sizes.h>

int cenalloc_bugs_missing_unmap(void);

static bool is_mapped;

static int probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct dma_buf_attachment *attachment;
	struct sg_table *table;
	struct dma_buf *dmabuf;
	int ret;

	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(28));
	if (ret)
		return ret;
	dma_set_max_seg_size(&pdev->dev, UINT_MAX);

	dmabuf = cenalloc_buffer_create(cenalloc_get_device(), SZ_64K, 0, 0, "bug");
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	attachment = dma_buf_attach(dmabuf, &pdev->dev);
	if (IS_ERR(attachment)) {
		cenalloc_buffer_free(dmabuf);
		return PTR_ERR(attachment);
	}
	table = dma_buf_map_attachment_unlocked(attachment, DMA_BIDIRECTIONAL);
	if (IS_ERR(table)) {
		dma_buf_detach(dmabuf, attachment);
		cenalloc_buffer_free(dmabuf);
		return PTR_ERR(table);
	}
	/* The bug: there is no remove() that unmaps and detaches. */
	is_mapped = true;
	return 0;
}

/* The vendor that QEMU calls itself, and edu. */
static const struct pci_device_id ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{ }
};

static struct pci_driver driver = {
	.name = "cenalloc_bugs",
	.id_table = ids,
	.probe = probe,
};

int cenalloc_bugs_missing_unmap(void)
{
	int ret = pci_register_driver(&driver);

	if (ret)
		return ret;
	pci_unregister_driver(&driver);
	return is_mapped ? 0 : -ENODEV;
}
