// SPDX-License-Identifier: GPL-2.0
/*
 * Reserved ranges of memory: those of the module's parameter and of the device
 * tree, and the free pages of each.
 */

#include <linux/bitmap.h>
#include <linux/genalloc.h>
#include <linux/ioport.h>
#include <linux/moduleparam.h>
#include <linux/of.h>
#include <linux/of_reserved_mem.h>

#include "helpers.h"

static char *carveout = "";
module_param(carveout, charp, 0444);
MODULE_PARM_DESC(carveout,
		 "Reserved memory to use, separated by commas: NAME=SIZE@START, or the NAME of a reserve_mem=");

const char *cenalloc_carveout_parameter(void)
{
	return carveout;
}

#ifdef CONFIG_OF_RESERVED_MEM

/*
 * Tells whether a range has struct pages and an address in the kernel: it is a
 * part of the memory that the kernel has, and not taken out of that by no-map.
 */
static bool is_memory(const struct reserved_mem *memory)
{
	return memory && region_intersects(memory->base, memory->size,
					   IORESOURCE_SYSTEM_RAM,
					   IORES_DESC_NONE) == REGION_INTERSECTS;
}

/*
 * Finds the range of a number from 0 on that the device tree reserves for this
 * module; its length is 0 where the kernel could not reserve it. Returns false
 * where there are no more.
 */
bool cenalloc_carveout_node(unsigned int index, struct cenalloc_carveout *found)
{
	struct device_node *parent = of_find_node_by_path("/reserved-memory");
	struct device_node *node;
	bool is_there = false;

	for_each_available_child_of_node(parent, node) {
		struct reserved_mem *memory;

		if (!of_device_is_compatible(node, "cenalloc,carveout") || index--)
			continue;
		memory = of_reserved_mem_lookup(node);
		*found = (struct cenalloc_carveout){
			.start = memory ? memory->base : 0,
			.len = memory ? memory->size : 0,
			.has_struct_pages = is_memory(memory),
		};
		strscpy(found->name, kbasename(node->full_name));
		is_there = true;
		of_node_put(node);
		break;
	}
	of_node_put(parent);
	return is_there;
}

#else

bool cenalloc_carveout_node(unsigned int index, struct cenalloc_carveout *found)
{
	return false;
}

#endif

/*
 * Creates a pool of @count free pages from the frame @pfn on: less than 2^32
 * pages, not from frame 0 on. NULL without memory. It has frame numbers and not
 * addresses, which may have 64 bits where a long has 32.
 */
struct gen_pool *cenalloc_pool_create(unsigned long pfn, unsigned long count)
{
	struct gen_pool *pool = gen_pool_create(0, NUMA_NO_NODE);

	if (pool && gen_pool_add(pool, pfn, count, NUMA_NO_NODE)) {
		gen_pool_destroy(pool);
		return NULL;
	}
	return pool;
}

/* Destroys a pool of which nothing is taken. */
void cenalloc_pool_destroy(struct gen_pool *pool)
{
	gen_pool_destroy(pool);
}

struct fit {
	unsigned long align_mask;	/* of frame numbers */
	unsigned long end;		/* the first frame that is too high */
};

/* A genpool_algo_t: the lowest free pages that fit; @size where there are none. */
static unsigned long first_fit(unsigned long *map, unsigned long size,
			       unsigned long start, unsigned int nr, void *data,
			       struct gen_pool *pool, unsigned long start_addr)
{
	const struct fit *fit = data;
	unsigned long end, index;

	if (fit->end <= start_addr)
		return size;
	end = min(size, fit->end - start_addr);
	index = bitmap_find_next_zero_area_off(map, end, start, nr,
					       fit->align_mask,
					       start_addr & fit->align_mask);
	return index < end ? index : size;
}

/*
 * Takes @count pages below the frame @end, from a multiple of @align frames on, a
 * power of two; returns the first frame, or 0.
 */
unsigned long cenalloc_pool_alloc(struct gen_pool *pool, unsigned long count,
				  unsigned long align, unsigned long end)
{
	struct fit fit = { .align_mask = align - 1, .end = end };

	return gen_pool_alloc_algo(pool, count, first_fit, &fit);
}

/* Returns how many pages are free. */
unsigned long cenalloc_pool_free_pages(struct gen_pool *pool)
{
	return gen_pool_avail(pool);
}

/* Gives back what was taken. */
void cenalloc_pool_free(struct gen_pool *pool, unsigned long pfn,
			unsigned long count)
{
	gen_pool_free(pool, pfn, count);
}
