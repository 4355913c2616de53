// SPDX-License-Identifier: GPL-2.0
/*
 * CMA areas: the list of them, where they lie, memory of them.
 */

#include <linux/cma.h>
#include <linux/device.h>
#include <linux/dma-map-ops.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/pageblock-flags.h>

#include "helpers.h"

/*
 * Finds the last address that @user reaches; false where it does no DMA. Its
 * driver may have unbound.
 */
bool cenalloc_dma_limit(struct device *user, u64 *limit)
{
	if (!user->dma_mask || !*user->dma_mask)
		return false;
	*limit = min_not_zero(*user->dma_mask, user->bus_dma_limit);
	return true;
}

/*
 * Returns the area of a number from 0 on that the kernel lets modules use, or
 * NULL.
 */
struct cma *cenalloc_cma_area(unsigned int index)
{
	return dma_contiguous_get_area_by_idx(index);
}

/*
 * Returns the area of a device, or that of the machine, also for NULL; NULL
 * without one.
 */
struct cma *cenalloc_cma_of(struct device *user)
{
	return dev_get_cma_area(user);
}

#ifdef CONFIG_DMA_CMA

const char *cenalloc_cma_name(struct cma *cma)
{
	return cma_get_name(cma);
}

/* Tells whether the pageblock that @pfn is in belongs to an area. */
static bool is_cma(unsigned long pfn, const struct zone *zone)
{
	struct page *page = pfn_to_online_page(pfn);
	unsigned long *bitmap, bit;

	if (!page || page_zone(page) != zone)
		return false;
#ifdef CONFIG_SPARSEMEM
	bitmap = section_to_usemap(__pfn_to_section(pfn));
	bit = pfn & (PAGES_PER_SECTION - 1);
#else
	bitmap = zone->pageblock_flags;
	bit = pfn - pageblock_start_pfn(zone->zone_start_pfn);
#endif
	bit = (bit >> pageblock_order) * NR_PAGEBLOCK_BITS;
	return ((READ_ONCE(bitmap[bit / BITS_PER_LONG]) >>
		 (bit % BITS_PER_LONG)) & PAGEBLOCK_MIGRATETYPE_MASK) ==
	       MIGRATE_CMA;
}

/* Adds the ranges of a zone to the @count of @ranges that are there. */
static unsigned int ranges_of_zone(struct zone *zone, struct cenalloc_extent *ranges,
				   unsigned int room, unsigned int count)
{
	unsigned long pfn = pageblock_start_pfn(zone->zone_start_pfn);
	bool inside = false;

	for (; pfn < zone_end_pfn(zone); pfn += pageblock_nr_pages) {
		if (is_cma(pfn, zone)) {
			if (!inside && count == room)
				break;
			if (!inside)
				ranges[count++].first = PFN_PHYS((u64)pfn);
			ranges[count - 1].last =
				PFN_PHYS((u64)pfn + pageblock_nr_pages) - 1;
			inside = true;
		} else {
			inside = false;
		}
		cond_resched();
	}
	return count;
}

/*
 * Finds where areas lie, which the kernel does not tell modules: the ranges of
 * pageblocks that it has marked as CMA, up to @room of them. Adjacent areas
 * look like one. Returns how many were written.
 */
unsigned int cenalloc_cma_extents(struct cenalloc_extent *ranges, unsigned int room)
{
	unsigned int count = 0;
	int nid, type;

	for_each_online_node(nid) {
		for (type = 0; type < MAX_NR_ZONES; type++) {
			struct zone *zone = &NODE_DATA(nid)->node_zones[type];

			if (zone_cma_pages(zone))
				count = ranges_of_zone(zone, ranges, room, count);
		}
	}
	return count;
}

/*
 * Returns the address of any page of an area; 0 where no page can be allocated
 * now.
 */
u64 cenalloc_cma_sample(struct cma *cma)
{
	struct page *page = cma_alloc(cma, 1, 0, true);
	u64 address;

	if (!page)
		return 0;
	address = page_to_phys(page);
	cma_release(cma, page, 1);
	return address;
}

/* Allocates @count zeroed pages from a multiple of 2^@order pages on, or NULL. */
struct page *cenalloc_cma_alloc(struct cma *cma, unsigned long count,
				unsigned int order)
{
	struct page *page = cma_alloc(cma, count, order, true);

	if (page)
		cenalloc_clear(page_to_phys(page), count);
	return page;
}

void cenalloc_cma_free(struct cma *cma, struct page *page, unsigned long count)
{
	cma_release(cma, page, count);
}

#else

const char *cenalloc_cma_name(struct cma *cma)
{
	return "";
}

unsigned int cenalloc_cma_extents(struct cenalloc_extent *ranges, unsigned int room)
{
	return 0;
}

u64 cenalloc_cma_sample(struct cma *cma)
{
	return 0;
}

struct page *cenalloc_cma_alloc(struct cma *cma, unsigned long count,
				unsigned int order)
{
	return NULL;
}

void cenalloc_cma_free(struct cma *cma, struct page *page, unsigned long count)
{
}

#endif
