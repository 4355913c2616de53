// SPDX-License-Identifier: GPL-2.0
/*
 * Tables of segments, mapped for a device: inline functions and macros of the
 * kernel, for the Rust half of dma_buf_constraints.
 */

#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/iommu-dma.h>
#include <linux/minmax.h>
#include <linux/scatterlist.h>
#include <linux/swiotlb.h>

#include "helpers.h"

/*
 * Whether an IOMMU translates addresses for the device. Other DMA operations
 * (Xen's) count as none: their bounces are then found after mapping.
 */
static bool translated(struct device *dev)
{
	return use_dma_iommu(dev);
}

/* A table whose only entry is not allocated by itself. */
void dbc_sg_table_of_one(struct sg_table *table, struct scatterlist *one)
{
	sg_init_marker(one, 1);
	table->sgl = one;
	table->nents = 1;
	table->orig_nents = 1;
}

struct scatterlist *dbc_sg_set_run(struct scatterlist *sg, u64 start, u32 len,
				   bool has_pages)
{
	struct page *page = has_pages ? pfn_to_page(PHYS_PFN(start)) : NULL;

	sg_set_page(sg, page, len, offset_in_page(start));
	return sg_next(sg);
}

/*
 * Whether the DMA layer would copy memory for the device, which it must not
 * even try with memory without struct pages: it has no address to copy from.
 * Likewise where the device reaches not all of it.
 */
bool dbc_phys_would_bounce(struct device *dev, u64 start, u64 len)
{
	dma_addr_t first, last;

	/* Guests with encrypted memory, which no device sees, force it, too. */
	if (translated(dev))
		return false;
	if (is_swiotlb_force_bounce(dev))
		return true;
	first = phys_to_dma(dev, start);
	last = phys_to_dma(dev, start + (len - 1));
	return first == DMA_MAPPING_ERROR || last == DMA_MAPPING_ERROR ||
	       last - first != len - 1 ||
	       last > min_not_zero(*dev->dma_mask, dev->bus_dma_limit);
}

/*
 * Whether segments have to be mapped one by one: an IOMMU's driver makes one of
 * neighbours, by what the DMA parameters say and not by what was declared.
 */
bool dbc_would_merge(struct device *dev, u64 max_size, u64 boundary_mask)
{
	return translated(dev) && (max_size < dma_get_max_seg_size(dev) ||
				   boundary_mask < dma_get_seg_boundary(dev));
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
 * Maps a table entry by entry. Without struct pages, for which dma_map_sgtable()
 * would look, it is one run from @start on.
 */
int dbc_map_entries(struct device *dev, struct sg_table *table, u64 start,
		    enum dma_data_direction dir)
{
	struct scatterlist *sg;
	unsigned int i;

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

void dbc_unmap_entries(struct device *dev, struct sg_table *table,
		       enum dma_data_direction dir)
{
	unmap_entries(dev, table, table->nents, dir);
	table->nents = 0;
}

/*
 * Whether the DMA layer put other memory in place of the table's. Where nothing
 * translates, it maps entry by entry, so a different address is a bounce; an
 * IOMMU maps whole pages in place.
 */
bool dbc_sg_table_bounced(struct device *dev, struct sg_table *table)
{
	struct scatterlist *sg;
	int i;

	if (translated(dev))
		return false;
	for_each_sgtable_dma_sg(table, sg, i)
		if (sg_dma_address(sg) != phys_to_dma(dev, sg_phys(sg)))
			return true;
	return false;
}

void dbc_sync_for_cpu(struct device *dev, struct sg_table *table, bool has_pages,
		      enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	if (has_pages) {
		dma_sync_sgtable_for_cpu(dev, table, dir);
		return;
	}
	for_each_sgtable_dma_sg(table, sg, i)
		dma_sync_single_for_cpu(dev, sg_dma_address(sg), sg_dma_len(sg),
					dir);
}

void dbc_sync_for_device(struct device *dev, struct sg_table *table,
			 bool has_pages, enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	if (has_pages) {
		dma_sync_sgtable_for_device(dev, table, dir);
		return;
	}
	for_each_sgtable_dma_sg(table, sg, i)
		dma_sync_single_for_device(dev, sg_dma_address(sg),
					   sg_dma_len(sg), dir);
}
