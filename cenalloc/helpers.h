/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the Rust half of cenalloc needs of C: inline functions and macros that
 * kernel::bindings cannot hold. bindgen reads this header.
 */

#ifndef _CENALLOC_HELPERS_H
#define _CENALLOC_HELPERS_H

#include <uapi/linux/cenalloc.h>
#include <uapi/linux/dma-heap.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/types.h>

/**
 * struct cenalloc_zones - where memory up to some address can be had
 * @sure: GFP flags of the zones that lie below the address entirely
 * @maybe: GFP flags of the zones of which some memory lies below it
 * @has_sure: there are zones for @sure
 * @has_maybe: there are more zones than those of @sure
 */
struct cenalloc_zones {
	gfp_t sure;
	gfp_t maybe;
	bool has_sure;
	bool has_maybe;
};

void cenalloc_zones_below(u64 max_address, struct cenalloc_zones *zones);
u64 cenalloc_lowest_address(void);
u64 cenalloc_total_memory(void);

gfp_t cenalloc_gfp(bool try_hard);
u64 cenalloc_page_address(struct page *page);
struct page *cenalloc_address_page(u64 address);
struct page *cenalloc_alloc_lowest(unsigned long count, gfp_t gfp);
void cenalloc_free_split(u64 address, unsigned long count);
void cenalloc_trim(struct page *page, unsigned int order, unsigned long count);

bool cenalloc_killed(void);
bool cenalloc_may_log(void);

#endif /* _CENALLOC_HELPERS_H */
