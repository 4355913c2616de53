// SPDX-License-Identifier: GPL-2.0
/*
 * Tables of segments, mapped for a device: inline functions and macros of the
 * kernel, for the Rust half of dma_buf_constraints.
 */

#include <linux/cc_platform.h>
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/iommu-dma.h>
#include <linux/limits.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/swiotlb.h>

#include "helpers.h"

/*
 * Tells whether the device accesses memory where it lies: no IOMMU translates
 * for it, and it has no DMA operations of its own (Xen's), of which nothing is
 * known here.
 */
static bool is_direct(struct device *dev)
{
	return !use_dma_iommu(dev) && !get_dma_ops(dev);
}

/*
 * Tells whether all that is mapped for the device is bounced: with
 * swiotlb=force, and in guests with encrypted memory, which no device sees
 * (force_dma_unencrypted(), which modules cannot call).
 */
bool dbc_bounces_all(struct device *dev)
{
	return is_direct(dev) && (is_swiotlb_force_bounce(dev) ||
				  cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT));
}

/*
 * Returns how many bytes, up to @len, lie in one region of the bus from @start
 * on.
 */
static u64 len_in_region(const struct device *dev, u64 start, u64 len)
{
	const struct bus_dma_region *map = dev->dma_range_map;

	if (!map)
		return len;
	for (; map->size; map++)
		if (start >= map->cpu_start &&
		    start - map->cpu_start < map->size)
			return min(len, map->size - (start - map->cpu_start));
	return 0;
}

/*
 * Returns the DMA address of memory for a device with a DMA mask, or
 * DMA_MAPPING_ERROR where the DMA layer would bounce some of it or could not
 * map it: where the device does not reach all of it by contiguous addresses.
 * Returns the physical address where only mapping tells the DMA address.
 */
dma_addr_t dbc_dma_address(struct device *dev, u64 start, u64 len)
{
	dma_addr_t first = phys_to_dma(dev, start);
	u64 done, here;

	if (!is_direct(dev))
		return start;
	if (dbc_bounces_all(dev))
		return DMA_MAPPING_ERROR;
	for (done = 0; done < len; done += here) {
		here = len_in_region(dev, start + done, len - done);
		if (!here || phys_to_dma(dev, start + done) != first + done)
			return DMA_MAPPING_ERROR;
	}
	if (first + (len - 1) > min_not_zero(*dev->dma_mask, dev->bus_dma_limit))
		return DMA_MAPPING_ERROR;
	return first;
}

/* Returns the limits of a table that is mapped as a whole. */
struct dbc_dma_limits dbc_dma_limits(struct device *dev)
{
	u64 boundary = (u64)dma_get_seg_boundary(dev) + 1;

	return (struct dbc_dma_limits) {
		.max_segment_size = dma_get_max_seg_size(dev),
		.segment_boundary_mask =
			boundary ? (1ULL << ilog2(boundary)) - 1 : U64_MAX,
		.merges = !is_direct(dev),
		.has_offsets = is_direct(dev) && dev->dma_range_map,
	};
}

/* Sets up a table whose only entry is not allocated by itself. */
void dbc_sg_table_of_one(struct sg_table *table, struct scatterlist *one)
{
	sg_init_marker(one, 1);
	table->sgl = one;
	table->nents = 1;
	table->orig_nents = 1;
}

struct scatterlist *dbc_sg_set_range(struct scatterlist *sg, u64 start, u32 len,
				     bool has_pages)
{
	struct page *page = has_pages ? pfn_to_page(PHYS_PFN(start)) : NULL;

	sg_set_page(sg, page, len, offset_in_page(start));
	return sg_next(sg);
}

/*
 * Memory without struct pages has no address by which the DMA layer could flush
 * caches or copy: devices for which it would have to do so cannot map it.
 */
static unsigned long entry_attrs(struct scatterlist *sg)
{
	return sg_page(sg) ? 0 : DMA_ATTR_REQUIRE_COHERENT;
}

/* Unmaps the first @count entries, which were mapped one by one. */
static void unmap_entries(struct device *dev, struct sg_table *table,
			  unsigned int count, enum dma_data_direction dir)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sg(table->sgl, sg, count, i)
		dma_unmap_phys(dev, sg_dma_address(sg), sg_dma_len(sg), dir,
			       entry_attrs(sg));
}

/*
 * Maps a table, as a whole or entry by entry. Without struct pages, for which
 * dma_map_sgtable() would look, it is one range from @start on.
 */
int dbc_map_table(struct device *dev, struct sg_table *table, bool one_by_one,
		  u64 start, enum dma_data_direction dir)
{
	struct scatterlist *sg;
	unsigned int i;

	if (!one_by_one)
		return dma_map_sgtable(dev, table, dir, 0);
	for_each_sgtable_sg(table, sg, i) {
		u64 phys = sg_page(sg) ? sg_phys(sg) : start;
		dma_addr_t addr = dma_map_phys(dev, phys, sg->length, dir,
					       entry_attrs(sg));

		if (dma_mapping_error(dev, addr)) {
			unmap_entries(dev, table, i, dir);
			return -EIO;
		}
		sg_dma_address(sg) = addr;
		sg_dma_len(sg) = sg->length;
		start += sg->length;
	}
	table->nents = table->orig_nents;
	return 0;
}

void dbc_unmap_table(struct device *dev, struct sg_table *table, bool one_by_one,
		     enum dma_data_direction dir)
{
	if (one_by_one)
		unmap_entries(dev, table, table->nents, dir);
	else
		dma_unmap_sgtable(dev, table, dir, 0);
}

void dbc_sync_table(struct device *dev, struct sg_table *table, bool one_by_one,
		    enum dma_data_direction dir, bool to_device)
{
	struct scatterlist *sg;
	int i;

	if (!one_by_one && to_device) {
		dma_sync_sgtable_for_device(dev, table, dir);
	} else if (!one_by_one) {
		dma_sync_sgtable_for_cpu(dev, table, dir);
	} else {
		for_each_sgtable_dma_sg(table, sg, i) {
			dma_addr_t addr = sg_dma_address(sg);

			if (to_device)
				dma_sync_single_for_device(dev, addr,
							   sg_dma_len(sg), dir);
			else
				dma_sync_single_for_cpu(dev, addr,
							sg_dma_len(sg), dir);
		}
	}
}

/*
 * Allocates @size bytes of DMA addresses behind an IOMMU, from a multiple of
 * the next power of two on. What is linked to them is contiguous there.
 */
bool dbc_iova_alloc(struct device *dev, struct dma_iova_state *state, u64 size)
{
	/* An alignment that was declared can be anything; of too much the DMA layer warns. */
	if (size > S64_MAX || size - 1 > dma_get_mask(dev))
		return false;
	return dma_iova_try_alloc(dev, state, 0, size);
}

int dbc_iova_link(struct device *dev, struct dma_iova_state *state, u64 start, u64 offset,
		  u64 len, bool has_pages, enum dma_data_direction dir)
{
	return dma_iova_link(dev, state, start, offset, len, dir,
			     has_pages ? 0 : DMA_ATTR_REQUIRE_COHERENT);
}

/* Lets the device see what was linked, and sets the addresses in the table. */
int dbc_iova_finish(struct device *dev, struct dma_iova_state *state, struct sg_table *table,
		    u64 len)
{
	dma_addr_t addr = state->addr;
	struct scatterlist *sg;
	unsigned int i;
	int ret;

	ret = dma_iova_sync(dev, state, 0, len);
	if (ret)
		return ret;
	for_each_sgtable_sg(table, sg, i) {
		sg_dma_address(sg) = addr;
		sg_dma_len(sg) = sg->length;
		addr += sg->length;
	}
	table->nents = table->orig_nents;
	return 0;
}

/* Unlinks the first @len bytes, and frees the addresses. */
void dbc_iova_free(struct device *dev, struct dma_iova_state *state, u64 len,
		   enum dma_data_direction dir)
{
	/* Not dma_iova_destroy(), which frees only what was linked. */
	if (len)
		dma_iova_unlink(dev, state, 0, len, dir, 0);
	dma_iova_free(dev, state);
}

/* A page at a time: the DMA layer looks for one physical range only. */
void dbc_iova_sync(struct device *dev, const struct dma_iova_state *state, u64 len,
		   enum dma_data_direction dir, bool to_device)
{
	u64 done;

	if (dev_is_dma_coherent(dev))
		return;
	for (done = 0; done < len; done += PAGE_SIZE) {
		if (to_device)
			dma_sync_single_for_device(dev, state->addr + done, PAGE_SIZE, dir);
		else
			dma_sync_single_for_cpu(dev, state->addr + done, PAGE_SIZE, dir);
		cond_resched();
	}
}
