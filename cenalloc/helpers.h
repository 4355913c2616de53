/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the Rust half of cenalloc needs of C: inline functions and macros that
 * kernel::bindings cannot hold. bindgen reads this header.
 */

#ifndef _CENALLOC_HELPERS_H
#define _CENALLOC_HELPERS_H

#include <linux/cenalloc.h>
#include <linux/cma.h>
#include <linux/device.h>
#include <linux/dma-direction.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/seq_file.h>
#include <linux/types.h>
#include <uapi/linux/cenalloc.h>
#include <uapi/linux/dma-heap.h>

struct gen_pool;

/**
 * struct cenalloc_zones - the zones with memory up to some address
 * @sure: GFP flags of the zones that lie below the address entirely
 * @maybe: GFP flags of the zones of which some memory lies below it
 * @maybe_zone: the zone of @maybe that is not one of @sure
 * @has_sure: there are zones for @sure
 * @has_maybe: there are more zones than those of @sure
 */
struct cenalloc_zones {
	gfp_t sure;
	gfp_t maybe;
	unsigned int maybe_zone;
	bool has_sure;
	bool has_maybe;
};

/**
 * struct cenalloc_range - contiguous pages from inside a zone
 * @zone: the kind of zone
 * @gfp: its GFP flags
 * @end: the first page frame that is too high
 * @count: how many pages
 * @align: they start at a multiple of so many, a power of two
 */
struct cenalloc_range {
	unsigned int zone;
	gfp_t gfp;
	u64 end;
	unsigned long count;
	unsigned long align;
};

/**
 * struct cenalloc_extent - a range of addresses
 * @first: first address
 * @last: last address
 */
struct cenalloc_extent {
	u64 first;
	u64 last;
};

/**
 * struct cenalloc_carveout - a range of memory that the device tree reserves
 * @start: first address
 * @len: bytes
 * @has_struct_pages: it is in the kernel's direct map
 * @name: that of its node
 */
struct cenalloc_carveout {
	u64 start;
	u64 len;
	bool has_struct_pages;
	char name[CENALLOC_NAME_LEN];
};

struct cenalloc_zones cenalloc_zones_below(u64 max_address);
u64 cenalloc_lowest_address(void);
u64 cenalloc_total_memory(void);
u64 cenalloc_available(u64 max_address);
u64 cenalloc_may_charge(void);

gfp_t cenalloc_gfp(bool reclaim, bool compound);
bool cenalloc_zeroes(void);
bool cenalloc_may_use(u64 address);
u64 cenalloc_page_address(struct page *page);
struct page *cenalloc_address_page(u64 address);
bool cenalloc_is_there(unsigned int order, gfp_t zone);
int cenalloc_watch_memory(void);
void cenalloc_unwatch_memory(void);
struct page *cenalloc_range_alloc(const struct cenalloc_range *want, u64 *cursor);
void cenalloc_range_free(u64 address, unsigned long count);
void cenalloc_clear(u64 address, unsigned long count);
void cenalloc_pages_free(u64 address, unsigned long count);
void cenalloc_trim(struct page *page, unsigned int order, unsigned long count);

bool cenalloc_dma_limit(struct device *user, u64 *limit);
struct cma *cenalloc_cma_area(unsigned int index);
struct cma *cenalloc_cma_of(struct device *user);
const char *cenalloc_cma_name(struct cma *cma);
unsigned int cenalloc_cma_extents(struct cenalloc_extent *ranges, unsigned int room);
u64 cenalloc_cma_sample(struct cma *cma);
struct page *cenalloc_cma_alloc(struct cma *cma, unsigned long count,
				unsigned int order);
void cenalloc_cma_free(struct cma *cma, struct page *page, unsigned long count);

void cenalloc_clear_mapped(void *memory, size_t len);
void cenalloc_copy_mapped(void *to, const void *from, size_t len);
struct scatterlist *cenalloc_sg_range(struct scatterlist *sg, u64 *start, u64 *len);

const char *cenalloc_carveout_parameter(void);
bool cenalloc_carveout_node(unsigned int index, struct cenalloc_carveout *found);
struct gen_pool *cenalloc_pool_create(unsigned long pfn, unsigned long count);
void cenalloc_pool_destroy(struct gen_pool *pool);
unsigned long cenalloc_pool_alloc(struct gen_pool *pool, unsigned long count,
				  unsigned long align, unsigned long end);
unsigned long cenalloc_pool_free_pages(struct gen_pool *pool);
void cenalloc_pool_free(struct gen_pool *pool, unsigned long pfn,
			unsigned long count);

void cenalloc_copy(u64 to, u64 from, u64 len);

struct obj_cgroup *cenalloc_payer_get(void);
void cenalloc_payer_put(struct obj_cgroup *payer);
struct mem_cgroup *cenalloc_payer_enter(struct obj_cgroup *payer);
void cenalloc_payer_leave(struct mem_cgroup *before);

struct device *cenalloc_find_device(const char *bus, const char *name, bool *has_bus);

struct dentry *cenalloc_debugfs_create(void);
void cenalloc_debugfs_remove(struct dentry *dir);
int cenalloc_buffers_show(struct seq_file *file, void *data);
int cenalloc_devices_show(struct seq_file *file, void *data);
int cenalloc_refusal_show(struct seq_file *file, void *data);

/**
 * struct cenalloc_text - a text without a NUL behind it
 * @start: its first byte
 * @len: how many bytes it has
 */
struct cenalloc_text {
	const char *start;
	size_t len;
};

/* The beginnings of structures that the kernel fills in at their ends. */
struct cenalloc_declare_head {
	__s32 fd;
	__u32 flags;
	__s64 timeout;
	char bus[CENALLOC_BUS_LEN];
	char device[CENALLOC_DEVICE_LEN];
	struct cenalloc_constraints constraints;
};

struct cenalloc_allocate_head {
	__s32 fd;
	__u32 flags;
};

bool cenalloc_module_get(struct module *module);
void cenalloc_module_put(struct module *module);
bool cenalloc_killed(void);
bool cenalloc_may_log(void);

#endif /* _CENALLOC_HELPERS_H */
