// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of the page allocator: which zones lie below an address, ranges inside a
 * zone, its bytes, and who pays for it.
 */

#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/memcontrol.h>
#include <linux/memory_hotplug.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/scatterlist.h>
#include <linux/sched/mm.h>

#include "helpers.h"

/* After how many pages a loop lets others run; a power of two. */
#define RESCHED_PAGES	256

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
			zones->maybe_zone = zones_upwards[i].zone;
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
 * Memory that the caller can do without: no warning, and no other process dies
 * for it. Without @reclaim nothing is reclaimed or moved for it either. Charged
 * to the active memory cgroup.
 */
gfp_t cenalloc_gfp(bool reclaim, bool zero, bool compound)
{
	gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_NOWARN;

	if (zero)
		gfp |= __GFP_ZERO;
	if (compound)
		gfp |= __GFP_COMP;
	if (reclaim)
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

#ifdef CONFIG_CONTIG_ALLOC
/* Whether nothing in a range is beyond moving, as far as a glance tells. */
static bool may_be_had(struct zone *zone, unsigned long pfn, unsigned long count)
{
	for (; count--; pfn++) {
		struct page *page;

		page = pfn_to_online_page(pfn);
		if (!page || page_zone(page) != zone || PageReserved(page) ||
		    PageSlab(page) || PageHuge(page))
			return false;
	}
	return true;
}
#endif

/*
 * @count contiguous zeroed pages of a zone up to @max_address, from a multiple of
 * 2^@order pages on, the lowest there are from @cursor on: movable pages in the
 * way are moved. Each page has a reference of its own. The kernel does not charge
 * such pages.
 */
struct page *cenalloc_alloc_range(unsigned int type, u64 max_address,
				  unsigned long count, unsigned int order,
				  u64 *cursor)
{
#ifdef CONFIG_CONTIG_ALLOC
	const gfp_t gfp = GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN;
	unsigned long step = 1UL << order;
	int nid;

	for_each_online_node(nid) {
		struct zone *zone = &NODE_DATA(nid)->node_zones[type];
		unsigned long pfn, end;

		if (!managed_zone(zone))
			continue;
		pfn = ALIGN(max_t(unsigned long, zone->zone_start_pfn,
				  PHYS_PFN(*cursor)), step);
		end = min_t(u64, zone_end_pfn(zone),
			    (max_address >> PAGE_SHIFT) +
			    ((max_address & ~PAGE_MASK) == ~PAGE_MASK));
		for (; pfn + count <= end; pfn += step) {
			cond_resched();
			if (cenalloc_killed())
				return NULL;
			if (!may_be_had(zone, pfn, count))
				continue;
			if (alloc_contig_range(pfn, pfn + count, ACR_FLAGS_NONE,
					       gfp))
				continue;
			*cursor = PFN_PHYS((u64)pfn + count);
			return pfn_to_page(pfn);
		}
	}
#endif
	return NULL;
}

/* Zeroes pages that nobody else has. */
void cenalloc_clear(u64 address, unsigned long count)
{
	unsigned long pfn = PHYS_PFN(address);

	while (count--) {
		clear_highpage(pfn_to_page(pfn++));
		if (!(count % RESCHED_PAGES))
			cond_resched();
	}
}

/* Frees pages with a reference each. */
void cenalloc_free_split(u64 address, unsigned long count)
{
	unsigned long pfn = PHYS_PFN(address);

	while (count--) {
		__free_page(pfn_to_page(pfn++));
		if (!(count % RESCHED_PAGES))
			cond_resched();
	}
}

/* Splits 2^@order pages and keeps the first @count. */
void cenalloc_trim(struct page *page, unsigned int order, unsigned long count)
{
	unsigned long total = 1UL << order;

	split_page(page, order);
	for (; count < total; count++)
		__free_page(page + count);
}

/* How much memory at a time a loop touches before it lets others run. */
#define RESCHED_BYTES	((size_t)RESCHED_PAGES << PAGE_SHIFT)

void cenalloc_clear_mapped(void *memory, size_t len)
{
	while (len) {
		size_t count = min(len, RESCHED_BYTES);

		memset(memory, 0, count);
		memory += count;
		len -= count;
		cond_resched();
	}
}

void cenalloc_copy_mapped(void *to, const void *from, size_t len)
{
	while (len) {
		size_t count = min(len, RESCHED_BYTES);

		memcpy(to, from, count);
		to += count;
		from += count;
		len -= count;
		cond_resched();
	}
}

/* The memory of an entry, of which there is none without pages, and the next. */
struct scatterlist *cenalloc_sg_run(struct scatterlist *sg, u64 *start, u64 *len)
{
	*start = sg_page(sg) ? sg_phys(sg) : 0;
	*len = sg_page(sg) ? sg->length : 0;
	return sg_next(sg);
}

void cenalloc_copy(u64 to, u64 from, u64 len)
{
	unsigned long source = PHYS_PFN(from), target = PHYS_PFN(to);
	u64 pages = len >> PAGE_SHIFT;

	while (pages--) {
		copy_highpage(pfn_to_page(target++), pfn_to_page(source++));
		if (!(pages % RESCHED_PAGES))
			cond_resched();
	}
}

/*
 * Who pays for what the current process allocates, with a reference that keeps no
 * memory cgroup: when one is removed, its parent pays. NULL where there are none.
 */
struct obj_cgroup *cenalloc_payer_get(void)
{
	struct obj_cgroup *payer = NULL;
#ifdef CONFIG_MEMCG
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(current->mm), *each;

	rcu_read_lock();
	for (each = memcg; each && !payer; each = parent_mem_cgroup(each)) {
		payer = rcu_dereference(each->nodeinfo[numa_node_id()]->objcg);
		if (payer && !obj_cgroup_tryget(payer))
			payer = NULL;
	}
	rcu_read_unlock();
	mem_cgroup_put(memcg);
#endif
	return payer;
}

void cenalloc_payer_put(struct obj_cgroup *payer)
{
	obj_cgroup_put(payer);
}

struct mem_cgroup *cenalloc_payer_enter(struct obj_cgroup *payer)
{
	return set_active_memcg(payer ? get_mem_cgroup_from_objcg(payer) : NULL);
}

void cenalloc_payer_leave(struct mem_cgroup *before)
{
	mem_cgroup_put(set_active_memcg(before));
}
