// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of the page allocator: the zones below an address, ranges inside a
 * zone, clearing and copying, and the memory cgroup that is charged.
 */

#include <linux/cpuset.h>
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/memcontrol.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mmzone.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/nodemask.h>
#include <linux/scatterlist.h>
#include <linux/sched/mm.h>
#include <linux/vmstat.h>

#include "helpers.h"

/* After how many pages a loop reschedules; a power of two. */
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

/*
 * Finds the first and the last address of all nodes' zones of one kind; false
 * without.
 */
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

struct cenalloc_zones cenalloc_zones_below(u64 max_address)
{
	struct cenalloc_zones zones = {};
	u64 first, last;
	size_t i;

	/* Any zone will do: that takes no flags. */
	if (max_address == U64_MAX)
		zones.has_sure = true;
	for (i = 0; i < ARRAY_SIZE(zones_upwards) && max_address != U64_MAX; i++) {
		if (!zone_span(zones_upwards[i].zone, &first, &last))
			continue;
		if (first > max_address)
			break;
		if (last <= max_address) {
			zones.has_sure = true;
			zones.sure = zones_upwards[i].gfp;
		} else {
			zones.has_maybe = true;
			zones.maybe = zones_upwards[i].gfp;
			zones.maybe_zone = zones_upwards[i].zone;
			break;
		}
	}
	return zones;
}

/* Returns the first address of memory that the page allocator manages. */
u64 cenalloc_lowest_address(void)
{
	u64 first, last;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(zones_upwards); i++)
		if (zone_span(zones_upwards[i].zone, &first, &last))
			return first;
	return 0;
}

/* Returns the size of all memory of the page allocator, in bytes. */
u64 cenalloc_total_memory(void)
{
	return PFN_PHYS((u64)totalram_pages());
}

/*
 * Returns how many pages of a zone can be had: free ones and those of files.
 */
static unsigned long available_pages(struct zone *zone)
{
	unsigned long kept = zone_page_state(zone, NR_FREE_CMA_PAGES) + min_wmark_pages(zone);
	unsigned long pages = zone_page_state(zone, NR_FREE_PAGES) +
			      zone_page_state(zone, NR_ZONE_INACTIVE_FILE) +
			      zone_page_state(zone, NR_ZONE_ACTIVE_FILE);

	return pages - min(pages, kept);
}

/* Estimates how many bytes can be had up to an address, by the kernel's counts. */
u64 cenalloc_available(u64 max_address)
{
	u64 pages = 0;
	int nid, type;

	for_each_online_node(nid) {
		for (type = 0; type < MAX_NR_ZONES; type++) {
			struct zone *zone = &NODE_DATA(nid)->node_zones[type];
			u64 start = PFN_PHYS((u64)zone->zone_start_pfn);

			if (managed_zone(zone) && start <= max_address)
				pages += min_t(u64, available_pages(zone),
					       ((max_address - start) >> PAGE_SHIFT) + 1);
		}
	}
	return pages << PAGE_SHIFT;
}

/*
 * Returns the most bytes that the memory cgroup of the current process, and its
 * ancestors, may have. How much is in use does not count: a part can be
 * reclaimed.
 */
u64 cenalloc_may_charge(void)
{
	u64 pages = U64_MAX >> PAGE_SHIFT;
#ifdef CONFIG_MEMCG
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(current->mm);
	struct page_counter *counter;

	for (counter = memcg ? &memcg->memory : NULL; counter; counter = counter->parent)
		pages = min_t(u64, pages, READ_ONCE(counter->max));
	mem_cgroup_put(memcg);
#endif
	return pages << PAGE_SHIFT;
}

/*
 * Returns flags for memory that the caller can do without: no warning, and no
 * OOM kill. Without @reclaim nothing is reclaimed or migrated for it either.
 * Charged to the active memory cgroup.
 */
gfp_t cenalloc_gfp(bool reclaim, bool compound)
{
	gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_NOWARN;

	if (compound)
		gfp |= __GFP_COMP;
	if (reclaim)
		return gfp | __GFP_RETRY_MAYFAIL;
	return (gfp | __GFP_NORETRY) & ~__GFP_RECLAIM;
}

/*
 * Tells whether the page allocator has a block that the memory cgroup could not
 * be charged for: the page allocator fails in the same way for both causes.
 */
bool cenalloc_is_there(unsigned int order, gfp_t zone)
{
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY | zone, order);

	if (page)
		__free_pages(page, order);
	return page;
}

/* Tells whether the cpuset of the process allows memory of the node of @address. */
bool cenalloc_may_use(u64 address)
{
	unsigned long pfn = PHYS_PFN(address);

	return !pfn_valid(pfn) || node_isset(pfn_to_nid(pfn), cpuset_current_mems_allowed);
}

u64 cenalloc_page_address(struct page *page)
{
	return page_to_phys(page);
}

struct page *cenalloc_address_page(u64 address)
{
	return pfn_to_page(PHYS_PFN(address));
}

static unsigned int uncharged_mib = 64;
module_param(uncharged_mib, uint, 0644);
MODULE_PARM_DESC(uncharged_mib,
		 "Most MiB that all buffers have from inside a zone, which no memory cgroup pays for (default: 64)");

#ifdef CONFIG_CONTIG_ALLOC

/* Pages that buffers have from inside a zone, or that are being taken for them. */
static atomic_long_t range_pages;

/*
 * Held while pages are taken: the kernel takes the isolation of pageblocks back that
 * it could not isolate, also where another thread has isolated them.
 */
static DEFINE_MUTEX(range_lock);

/* Counts @count pages more, if that is within the limit. */
static bool count_in(unsigned long count)
{
	u64 most = (u64)READ_ONCE(uncharged_mib) << (20 - PAGE_SHIFT);

	if ((u64)atomic_long_add_return(count, &range_pages) <= most)
		return true;
	atomic_long_sub(count, &range_pages);
	return false;
}

/*
 * Tells whether a zone has @count pages to spare, by a count that is a little
 * old.
 */
static bool has_room(struct zone *zone, unsigned long count)
{
	unsigned long free = zone_page_state(zone, NR_FREE_PAGES);
	unsigned long kept = zone_page_state(zone, NR_FREE_CMA_PAGES) + low_wmark_pages(zone);

	return free >= kept + count;
}

/*
 * Makes room by the page allocator, which reclaims other memory: as many pages
 * as are wanted, and what it may go below the low watermark, are allocated and
 * freed. One thread at a time, since they are not charged.
 */
static void make_room(struct zone *zone, gfp_t flags, unsigned long count)
{
	gfp_t gfp = GFP_KERNEL | __GFP_THISNODE | __GFP_NOWARN | __GFP_RETRY_MAYFAIL | flags;
	static DEFINE_MUTEX(lock);
	struct page *page, *next;
	LIST_HEAD(pages);

	if (mutex_lock_killable(&lock))
		return;
	if (!has_room(zone, count))
		count += low_wmark_pages(zone) - min_wmark_pages(zone);
	else
		count = 0;
	while (count-- && !cenalloc_killed()) {
		page = alloc_pages_node(zone_to_nid(zone), gfp, 0);
		if (!page)
			break;
		list_add(&page->lru, &pages);
	}
	list_for_each_entry_safe(page, next, &pages, lru) {
		__free_page(page);
		cond_resched();
	}
	mutex_unlock(&lock);
}

/* What page->private says of pages that buffers have from inside a zone. */
#define RANGE_PAGE	((unsigned long)&range_pages)

/*
 * Returns the first page of a range that cannot be migrated, without locks;
 * @end if there is none. A page in use that is neither on an LRU list nor
 * mapped is a driver's.
 */
static unsigned long first_obstacle(struct zone *zone, unsigned long pfn, unsigned long end)
{
	for (; pfn < end; pfn++) {
		struct page *page = pfn_to_online_page(pfn);

		if (!page || page_zone(page) != zone || PageReserved(page) ||
		    PageSlab(page) || PageHuge(page))
			break;
		if (!page_ref_count(page) && page_private(page) == RANGE_PAGE)
			break;
		if (page_ref_count(page) && !PageLRU(page) && !page->mapping &&
		    !page_has_movable_ops(page))
			break;
	}
	return pfn;
}

static void set_private(unsigned long pfn, unsigned long count, unsigned long private)
{
	while (count--)
		set_page_private(pfn_to_page(pfn++), private);
}

/*
 * Takes one range, if that leaves the zone its reserves. The pages are frozen: they
 * have no reference. Ranges can share a block of pages then, whereas the kernel takes
 * none of a block with pages that are in use and stay.
 */
static int take_range(struct zone *zone, unsigned long pfn, unsigned long count)
{
	const gfp_t gfp = GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN;
	int ret;

	ret = mutex_lock_killable(&range_lock);
	if (ret)
		return ret;
	if (has_room(zone, count))
		ret = alloc_contig_frozen_range(pfn, pfn + count, ACR_FLAGS_NONE, gfp);
	else
		ret = -ENOMEM;
	if (!ret)
		set_private(pfn, count, RANGE_PAGE);
	mutex_unlock(&range_lock);
	return ret;
}

/*
 * Takes the lowest range of @want from @cursor on; 0 where there is none. What
 * cannot be migrated is skipped, with the rest of its pageblock where only the
 * kernel found it. The kernel isolates no pageblock that lies in the zone in
 * part.
 */
static unsigned long search_zone(struct zone *zone, const struct cenalloc_range *want,
				 unsigned long cursor)
{
	unsigned long first = pageblock_align(zone->zone_start_pfn);
	unsigned long pfn = ALIGN(max(first, cursor), want->align);
	unsigned long end = min_t(u64, pageblock_start_pfn(zone_end_pfn(zone)), want->end);
	unsigned long obstacle;
	int ret;

	while (pfn + want->count <= end && !cenalloc_killed()) {
		cond_resched();
		obstacle = first_obstacle(zone, pfn, pfn + want->count);
		if (obstacle < pfn + want->count) {
			pfn = ALIGN(obstacle + 1, want->align);
			continue;
		}
		ret = take_range(zone, pfn, want->count);
		if (!ret)
			return pfn;
		if (ret != -EBUSY)
			break;
		pfn = ALIGN(pageblock_end_pfn(pfn), want->align);
	}
	return 0;
}

/*
 * Refuses hot-unplug of memory that buffers have from inside a zone: the kernel
 * would take pages without a reference for ones that are being freed, and wait.
 * Pageblocks that go are isolated by now, so that no more pages of them are
 * taken.
 */
static int memory_going_offline(struct notifier_block *block, unsigned long action, void *data)
{
	struct memory_notify *memory = data;
	unsigned long pfn = memory->start_pfn;
	unsigned long end = pfn + memory->nr_pages;
	bool is_used = false;

	if (action != MEM_GOING_OFFLINE || !atomic_long_read(&range_pages))
		return NOTIFY_OK;
	if (!mutex_trylock(&range_lock))
		return NOTIFY_BAD;
	for (; pfn < end && !is_used; pfn++) {
		struct page *page = pfn_to_online_page(pfn);

		is_used = page && !page_ref_count(page) && page_private(page) == RANGE_PAGE;
	}
	mutex_unlock(&range_lock);
	return is_used ? NOTIFY_BAD : NOTIFY_OK;
}

static struct notifier_block memory_notifier = { .notifier_call = memory_going_offline };

int cenalloc_watch_memory(void)
{
	return register_memory_notifier(&memory_notifier);
}

void cenalloc_unwatch_memory(void)
{
	unregister_memory_notifier(&memory_notifier);
}

#else

int cenalloc_watch_memory(void)
{
	return 0;
}

void cenalloc_unwatch_memory(void)
{
}

#endif /* CONFIG_CONTIG_ALLOC */

/*
 * Allocates contiguous zeroed pages of a kind of zone that the process may use,
 * the lowest there are from @cursor on: movable pages in the way are migrated.
 * The kernel does not charge such pages, so that their number is limited. NULL
 * where there are none, the limit is reached, or the zone would have fewer free
 * pages than its low watermark.
 */
struct page *cenalloc_range_alloc(const struct cenalloc_range *want, u64 *cursor)
{
#ifdef CONFIG_CONTIG_ALLOC
	unsigned long pfn;
	int nid;

	if (!count_in(want->count))
		return NULL;
	for_each_online_node(nid) {
		struct zone *zone = &NODE_DATA(nid)->node_zones[want->zone];

		if (!managed_zone(zone) || !node_isset(nid, cpuset_current_mems_allowed))
			continue;
		if (!has_room(zone, want->count))
			make_room(zone, want->gfp, want->count);
		pfn = search_zone(zone, want, PHYS_PFN(*cursor));
		if (!pfn)
			continue;
		*cursor = PFN_PHYS((u64)pfn + want->count);
		return pfn_to_page(pfn);
	}
	atomic_long_sub(want->count, &range_pages);
#endif
	return NULL;
}

/* Frees pages of cenalloc_range_alloc(). */
void cenalloc_range_free(u64 address, unsigned long count)
{
#ifdef CONFIG_CONTIG_ALLOC
	unsigned long pfn = PHYS_PFN(address);

	set_private(pfn, count, 0);
	free_contig_frozen_range(pfn, count);
	atomic_long_sub(count, &range_pages);
#endif
}

/* Tells whether the kernel zeroes all pages that it allocates (init_on_alloc, init_on_free). */
bool cenalloc_zeroes(void)
{
	return want_init_on_alloc(0) || want_init_on_free();
}

/* Zeroes pages that nothing else uses. */
void cenalloc_clear(u64 address, unsigned long count)
{
	unsigned long pfn = PHYS_PFN(address);

	while (count--) {
		clear_highpage(pfn_to_page(pfn++));
		if (!(count % RESCHED_PAGES))
			cond_resched();
	}
}

/*
 * Frees pages with a reference each, no more than a block of the largest order has: as
 * few large blocks, where the kernel can.
 */
void cenalloc_pages_free(u64 address, unsigned long count)
{
	unsigned long pfn = PHYS_PFN(address);

#ifdef CONFIG_CONTIG_ALLOC
	free_contig_range(pfn, count);
#else
	while (count--)
		__free_page(pfn_to_page(pfn++));
#endif
}

/* Splits 2^@order pages and keeps the first @count. */
void cenalloc_trim(struct page *page, unsigned int order, unsigned long count)
{
	split_page(page, order);
	cenalloc_pages_free(page_to_phys(page + count), (1UL << order) - count);
}

/* How many bytes a loop touches before it reschedules. */
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

/* Returns the next entry, and the memory of this one: none without struct pages. */
struct scatterlist *cenalloc_sg_range(struct scatterlist *sg, u64 *start, u64 *len)
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
 * Returns the cgroup of the current process, with a reference that keeps no
 * memory cgroup alive: when one is removed, its parent is charged. NULL where
 * there are none.
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
