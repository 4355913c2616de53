// SPDX-License-Identifier: GPL-2.0
/*
 * Two devices that cannot use the same memory everywhere, and their driver: how
 * a driver says what its device needs of shared buffers.
 *
 * There is no hardware behind them. device_look() stands for what hardware does
 * with the segments that it is given.
 */

#include <linux/align.h>
#include <linux/dma-buf-constraints.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/minmax.h>
#include <linux/platform_device.h>
#include <linux/sizes.h>

#include "c_importer.h"

/**
 * struct kind - a kind of device
 * @dma_mask: the addresses that it has wires for
 * @needs: what struct device cannot tell
 */
struct kind {
	u64 dma_mask;
	struct dma_buf_constraints needs;
};

/* Reads a frame from one address on. */
static const struct kind display = {
	.dma_mask = DMA_BIT_MASK(32),
	.needs = {
		.max_segments = 1,
	},
};

/* Has descriptors of 16 bits, and a counter of 22 bits for the address. */
static const struct kind codec = {
	.dma_mask = DMA_BIT_MASK(64),
	.needs = {
		.max_segment_size = SZ_64K,
		.segment_boundary_mask = SZ_4M - 1,
	},
};

static const struct kind *const kinds[C_IMPORTER_DEVICES] = {
	[C_IMPORTER_DISPLAY] = &display,
	[C_IMPORTER_CODEC] = &codec,
};

static const struct platform_device_id ids[] = {
	{ "cenalloc-display", C_IMPORTER_DISPLAY },
	{ "cenalloc-codec", C_IMPORTER_CODEC },
	{ }
};

static int probe(struct platform_device *pdev)
{
	const struct kind *kind = kinds[platform_get_device_id(pdev)->driver_data];
	int ret;

	ret = dma_set_mask_and_coherent(&pdev->dev, kind->dma_mask);
	if (ret)
		return ret;
	/* Unless a driver says so, the DMA API takes 64 KiB for the most. */
	dma_set_max_seg_size(&pdev->dev, kind->needs.max_segment_size ?: UINT_MAX);
	/* Gone when the driver unbinds. */
	return dma_buf_constraints_declare(&pdev->dev, &kind->needs);
}

/*
 * A driver that can be unbound while files are open has to detach in remove().
 * This one cannot: its devices go with the module.
 */
static struct platform_driver driver = {
	.driver = {
		.name = "cenalloc_c_importer",
		.suppress_bind_attrs = true,
		.probe_type = PROBE_FORCE_SYNCHRONOUS,
	},
	.probe = probe,
	.id_table = ids,
};

static struct platform_device *devices[C_IMPORTER_DEVICES];

int devices_register(void)
{
	struct platform_device *pdev;
	int i, ret;

	ret = platform_driver_register(&driver);
	if (ret)
		return ret;
	for (i = 0; i < C_IMPORTER_DEVICES; i++) {
		pdev = platform_device_register_simple(ids[i].name,
						       PLATFORM_DEVID_NONE,
						       NULL, 0);
		if (IS_ERR(pdev)) {
			ret = PTR_ERR(pdev);
			goto unregister;
		}
		devices[i] = pdev;
		if (!device_is_bound(&pdev->dev)) {
			ret = -ENODEV;
			i++;
			goto unregister;
		}
	}
	return 0;

unregister:
	while (i--)
		platform_device_unregister(devices[i]);
	platform_driver_unregister(&driver);
	return ret;
}

void devices_unregister(void)
{
	int i;

	for (i = C_IMPORTER_DEVICES - 1; i >= 0; i--)
		platform_device_unregister(devices[i]);
	platform_driver_unregister(&driver);
}

struct device *device_of(unsigned int number)
{
	return &devices[number]->dev;
}

/* Whether a device can take a segment. */
static bool can_take(const struct kind *kind, dma_addr_t start, unsigned int len)
{
	const struct dma_buf_constraints *needs = &kind->needs;
	u64 last = (u64)start + len - 1;
	u64 mask = needs->segment_boundary_mask;

	if (last > kind->dma_mask)
		return false;
	if (needs->max_segment_size && len > needs->max_segment_size)
		return false;
	return !mask || (start & ~mask) == (last & ~mask);
}

/**
 * device_look() - give a device the segments of a buffer
 * @number: which device
 * @table: what was mapped for it
 * @seen: filled in
 *
 * Return: 0; -EIO where the device cannot take the segments.
 */
int device_look(unsigned int number, struct sg_table *table,
		struct c_importer_seen *seen)
{
	const struct kind *kind = kinds[number];
	struct scatterlist *sg;
	bool good = true;
	int i;

	*seen = (struct c_importer_seen) {
		.first_address = sg_dma_address(table->sgl),
	};
	/* Of the table an importer uses the DMA addresses alone, never the pages. */
	for_each_sgtable_dma_sg(table, sg, i) {
		dma_addr_t start = sg_dma_address(sg);
		unsigned int len = sg_dma_len(sg);

		good = good && can_take(kind, start, len);
		seen->len += len;
		seen->largest = max_t(u64, seen->largest, len);
		seen->last_address = max_t(u64, seen->last_address, start + len - 1);
		seen->segments++;
	}
	if (kind->needs.max_segments && seen->segments > kind->needs.max_segments)
		good = false;
	return good ? 0 : -EIO;
}
