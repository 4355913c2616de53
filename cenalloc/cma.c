// SPDX-License-Identifier: GPL-2.0
/*
 * CMA areas: which there are, where they lie, memory of them.
 */

#include <linux/cma.h>
#include <linux/dma-map-ops.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/pageblock-flags.h>

#include "helpers.h"

#ifdef CONFIG_DMA_CMA

/* The area of a number from 0 on that the kernel lets modules use, or NULL. */
struct cma *cenalloc_cma_area(unsigned int index)
{
	return dma_contiguous_get_area_by_idx(index);
}

const char *cenalloc_cma_name(struct cma *cma)
{
	return cma_get_name(cma);
}

/* Whether the block of pages that @pfn is in belongs to an area. */
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

/*
 * The first and the last address of an area, which the kernel does not tell
 * modules: looked for from one of its pages on, as far as the kernel's note goes
 * that blocks of pages belong to an area. Two areas that touch look like one.
 * False where not a page of it is to be had now.
 */
bool cenalloc_cma_extent(struct cma *cma, u64 *first, u64 *last)
{
	struct page *page = cma_alloc(cma, 1, 0, true);
	unsigned long from, to;
	struct zone *zone;

	if (!page)
		return false;
	zone = page_zone(page);
	from = pageblock_start_pfn(page_to_pfn(page));
	to = from + pageblock_nr_pages;
	cma_release(cma, page, 1);
	while (from >= pageblock_nr_pages &&
	       is_cma(from - pageblock_nr_pages, zone))
		from -= pageblock_nr_pages;
	while (is_cma(to, zone))
		to += pageblock_nr_pages;
	*first = PFN_PHYS((u64)from);
	*last = PFN_PHYS((u64)to) - 1;
	return true;
}

/* @count zeroed pages from a multiple of 2^@order pages on, or NULL. */
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

struct cma *cenalloc_cma_area(unsigned int index)
{
	return NULL;
}

const char *cenalloc_cma_name(struct cma *cma)
{
	return "";
}

bool cenalloc_cma_extent(struct cma *cma, u64 *first, u64 *last)
{
	return false;
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
