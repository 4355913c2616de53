// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions and macros of the kernel, for the Rust half of cenalloc. Only
 * what Rust cannot reach stands here.
 */

#include <linux/io.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/ratelimit.h>
#include <linux/sched/signal.h>

#include "helpers.h"

/* From the zone with the lowest addresses to that with the highest. */
static const struct {
	enum zone_type zone;
	gfp_t gfp;
} zones_upwards[] = {
#ifdef CONFIG_ZONE_DMA
	{ ZONE_DMA, GFP_DMA },
#endif
#ifdef CONFIG_ZONE_DMA32
	{ ZONE_DMA32, GFP_DMA32 },
#endif
	{ ZONE_NORMAL, 0 },
#ifdef CONFIG_HIGHMEM
	{ ZONE_HIGHMEM, __GFP_HIGHMEM },
#endif
};

/* The first and the last address of all nodes' zones of one kind; false without. */
static bool zone_span(enum zone_type type, u64 *first, u64 *last)
{
	bool found = false;
	int nid;

	for_each_online_node(nid) {
		struct zone *zone = &NODE_DATA(nid)->node_zones[type];
		u64 start, end;

		if (!managed_zone(zone))
			continue;
		start = PFN_PHYS(zone->zone_start_pfn);
		end = PFN_PHYS((u64)zone_end_pfn(zone)) - 1;
		*first = found ? min(*first, start) : start;
		*last = found ? max(*last, end) : end;
		found = true;
	}
	return found;
}

void cenalloc_zones_below(u64 max_address, struct cenalloc_zones *zones)
{
	u64 first, last;
	size_t i;

	memset(zones, 0, sizeof(*zones));
	for (i = 0; i < ARRAY_SIZE(zones_upwards); i++) {
		if (!zone_span(zones_upwards[i].zone, &first, &last))
			continue;
		if (first > max_address)
			break;
		if (last <= max_address) {
			zones->has_sure = true;
			zones->sure = zones_upwards[i].gfp;
		} else {
			zones->has_maybe = true;
			zones->maybe = zones_upwards[i].gfp;
			break;
		}
	}
}

/* The first address of memory that the page allocator manages. */
u64 cenalloc_lowest_address(void)
{
	u64 first, last;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(zones_upwards); i++)
		if (zone_span(zones_upwards[i].zone, &first, &last))
			return first;
	return 0;
}

/* All memory of the page allocator, in bytes. */
u64 cenalloc_total_memory(void)
{
	return PFN_PHYS((u64)totalram_pages());
}

/*
 * Zeroed memory that the caller can do without: no warning, and no other process
 * dies for it. Without @try_hard nothing is reclaimed or moved for it either.
 */
gfp_t cenalloc_gfp(bool try_hard)
{
	gfp_t gfp = GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN;

	if (try_hard)
		return gfp | __GFP_RETRY_MAYFAIL;
	return (gfp | __GFP_NORETRY) & ~__GFP_RECLAIM;
}

u64 cenalloc_page_address(struct page *page)
{
	return page_to_phys(page);
}

struct page *cenalloc_address_page(u64 address)
{
	return pfn_to_page(PHYS_PFN(address));
}

/*
 * Contiguous pages as low as they can be had in the zones of @gfp: movable pages
 * in the way are moved. Each page has a reference of its own.
 */
struct page *cenalloc_alloc_lowest(unsigned long count, gfp_t gfp)
{
#ifdef CONFIG_CONTIG_ALLOC
	return alloc_contig_pages(count, gfp, numa_node_id(), NULL);
#else
	return NULL;
#endif
}

/* Frees pages with a reference each. */
void cenalloc_free_split(u64 address, unsigned long count)
{
	struct page *page = pfn_to_page(PHYS_PFN(address));

	while (count--)
		__free_page(page++);
}

/* Splits 2^@order pages and keeps the first @count. */
void cenalloc_trim(struct page *page, unsigned int order, unsigned long count)
{
	unsigned long total = 1UL << order;

	split_page(page, order);
	for (; count < total; count++)
		__free_page(page + count);
}

bool cenalloc_killed(void)
{
	return fatal_signal_pending(current);
}

/* Whether a message about somebody's bad input may go to the log now. */
bool cenalloc_may_log(void)
{
	static DEFINE_RATELIMIT_STATE(limit, DEFAULT_RATELIMIT_INTERVAL,
				      DEFAULT_RATELIMIT_BURST);

	/* The number of suppressed messages is no news: debugfs has the last. */
	ratelimit_set_flags(&limit, RATELIMIT_MSG_ON_RELEASE);
	return __ratelimit(&limit);
}
