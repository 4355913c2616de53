// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of the DMA API, from where it would come for a given device.
 *
 * dma_alloc_coherent() for that device itself would not do. Its memory need not
 * have struct pages, and can have a second, uncached address: what
 * dma_get_sgtable() tells of it is nothing that other devices can map. And it is
 * gone, or complained of, when the device's driver unbinds, which a buffer may
 * outlive. So the pages are those that dma_alloc_pages() gives to a device that
 * is ours, made to look like the other one for as long as the call takes.
 */

#include <linux/cc_platform.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>

#include "helpers.h"

/*
 * Makes memory be had for a device without hardware. Returns the fewest address
 * bits of a device for which the DMA API would give any.
 */
unsigned int cenalloc_dma_prepare(struct device *dev)
{
	unsigned int bits;

	dev->dma_mask = &dev->coherent_dma_mask;
	for (bits = PAGE_SHIFT; bits < 64; bits++)
		if (!dma_set_coherent_mask(dev, DMA_BIT_MASK(bits)))
			break;
	dev->coherent_dma_mask = DMA_BIT_MASK(64);
	return bits;
}

/*
 * Whether the DMA API changes how memory is encrypted, for some devices: then the
 * page tables of those who share it would have to know.
 */
bool cenalloc_dma_is_encrypted(void)
{
	return cc_platform_has(CC_ATTR_MEM_ENCRYPT);
}

/* The largest alignment in bytes that the DMA API asks of an area. */
u64 cenalloc_area_alignment(void)
{
#ifdef CONFIG_DMA_CMA
	return min(PAGE_SIZE << CONFIG_CMA_ALIGNMENT,
		   PAGE_SIZE << MAX_PAGE_ORDER);
#else
	return PAGE_SIZE << MAX_PAGE_ORDER;
#endif
}

/* @user may be NULL. Areas are never taken away. */
struct cenalloc_dma_source cenalloc_dma_source(struct device *user)
{
	struct cenalloc_dma_source source = {
		.node = user ? dev_to_node(user) : NUMA_NO_NODE,
		.max_address = U64_MAX,
	};

#ifdef CONFIG_DMA_CMA
	if (user)
		source.area = user->cma_area;
#endif
	return source;
}

/*
 * Where the addresses end that @user reaches; false where it does no DMA. Its
 * driver may have gone.
 */
bool cenalloc_dma_limit(struct device *user, u64 *limit)
{
	if (!user->dma_mask || !*user->dma_mask)
		return false;
	*limit = min_not_zero(*user->dma_mask, user->bus_dma_limit);
	return true;
}

static void pretend(struct device *dev, const struct cenalloc_dma_source *source)
{
	/* Unlike a mask, it may be any address. */
	dev->bus_dma_limit = source->max_address;
	set_dev_node(dev, source->node);
#ifdef CONFIG_DMA_CMA
	dev->cma_area = source->area;
#endif
}

/*
 * Zeroed memory of at least @len bytes, or NULL. Nobody else uses @dev meanwhile.
 */
struct page *cenalloc_dma_alloc(struct device *dev,
				const struct cenalloc_dma_source *source,
				size_t len, dma_addr_t *handle)
{
	pretend(dev, source);
	/*
	 * The device itself never writes: in this direction DMA-API debugging
	 * does not mind that others map the memory, too.
	 */
	return dma_alloc_pages(dev, len, handle, DMA_TO_DEVICE,
			       cenalloc_gfp(true, false, false));
}

/* Gives it back. Nobody else uses @dev meanwhile. */
void cenalloc_dma_free(struct device *dev,
		       const struct cenalloc_dma_source *source, size_t len,
		       struct page *page, dma_addr_t handle)
{
	pretend(dev, source);
	dma_free_pages(dev, len, page, handle, DMA_TO_DEVICE);
}
