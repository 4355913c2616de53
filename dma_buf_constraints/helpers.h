/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the Rust half of dma_buf_constraints needs of C: inline functions and
 * macros that kernel::bindings cannot hold. bindgen reads this header.
 */

#ifndef _DMA_BUF_CONSTRAINTS_HELPERS_H
#define _DMA_BUF_CONSTRAINTS_HELPERS_H

#include <linux/dma-buf.h>
#include <linux/dma-buf-constraints.h>
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <uapi/linux/dma-buf.h>

/**
 * struct dbc_device_facts - what struct device tells of a device's DMA
 * @access_mask: classes of memory that it can access; all ones when not set, or
 *	where this kernel has no such mask
 * @max_address: last physical address it reaches; all ones where the DMA
 *	addresses are translated for it
 * @max_segment_size: bytes; all ones when not set
 * @segment_boundary_mask: all ones when not set
 * @alignment: bytes; 1 when not set
 * @can_dma: it has a DMA mask
 * @coherent: it needs no cache maintenance, whatever the memory
 * @translated: an IOMMU translates for it, page by page
 */
struct dbc_device_facts {
	u64 access_mask;
	u64 max_address;
	u64 max_segment_size;
	u64 segment_boundary_mask;
	u64 alignment;
	bool can_dma;
	bool coherent;
	bool translated;
};

void dbc_device_facts(struct device *dev, struct dbc_device_facts *facts);
bool dbc_always_coherent(void);

/**
 * enum dbc_known - from what it is known that a device imports contiguous memory alone
 * @DBC_KNOWN_NOTHING: it is not known
 * @DBC_KNOWN_OBJECTS: what its driver has registered for it
 * @DBC_KNOWN_TABLE: the module of its driver
 */
enum dbc_known {
	DBC_KNOWN_NOTHING,
	DBC_KNOWN_OBJECTS,
	DBC_KNOWN_TABLE,
};

enum dbc_known dbc_known(struct device *dev, unsigned long *seen);
int dbc_watch_modules(void);
void dbc_unwatch_modules(void);

/**
 * struct dbc_driver_names - what the driver of a device is called
 * @driver: its own name
 * @module: that of its module, also of one that is built in; empty where it has none
 */
struct dbc_driver_names {
	char driver[64];
	char module[64];
};

void dbc_driver_names(struct device *dev, struct dbc_driver_names *names);

bool dbc_lays_out(struct device *dev);
const char *dbc_device_bus(struct device *dev);
bool dbc_device_is_bound(struct device *dev);
int dbc_device_lock_bound(struct device *dev);
bool dbc_device_trylock_bound(struct device *dev);
void dbc_device_unlock(struct device *dev);

void *dbc_kvmalloc(size_t count, size_t size);

/**
 * struct dbc_dma_limits - what the DMA API wants of a table for a device
 * @max_segment_size: bytes; a default where the device's driver never said
 * @segment_boundary_mask: one less than a power of two
 * @merges: mapping may make one segment of several, up to these limits
 * @has_offsets: DMA addresses are not the physical ones
 */
struct dbc_dma_limits {
	u64 max_segment_size;
	u64 segment_boundary_mask;
	bool merges;
	bool has_offsets;
};

bool dbc_bounces_all(struct device *dev);
dma_addr_t dbc_dma_address(struct device *dev, u64 start, u64 len);
struct dbc_dma_limits dbc_dma_limits(struct device *dev);

void dbc_sg_table_of_one(struct sg_table *table, struct scatterlist *one);
struct scatterlist *dbc_sg_set_range(struct scatterlist *sg, u64 start, u32 len,
				     bool has_pages);
int dbc_map_table(struct device *dev, struct sg_table *table, bool one_by_one,
		  u64 start, enum dma_data_direction dir);
bool dbc_iova_alloc(struct device *dev, struct dma_iova_state *state, u64 size);
int dbc_iova_link(struct device *dev, struct dma_iova_state *state, u64 start, u64 offset,
		  u64 len, bool has_pages, enum dma_data_direction dir);
int dbc_iova_finish(struct device *dev, struct dma_iova_state *state, struct sg_table *table,
		    u64 len);
void dbc_iova_free(struct device *dev, struct dma_iova_state *state, u64 len,
		   enum dma_data_direction dir);
void dbc_iova_sync(struct device *dev, const struct dma_iova_state *state, u64 len,
		   enum dma_data_direction dir, bool to_device);
void dbc_unmap_table(struct device *dev, struct sg_table *table, bool one_by_one,
		     enum dma_data_direction dir);
void dbc_sync_table(struct device *dev, struct sg_table *table, bool one_by_one,
		    enum dma_data_direction dir, bool to_device);

void dbc_wait_init(struct wait_queue_head *queue);
void dbc_wake(struct wait_queue_head *queue);
void dbc_wake_for_unbind(void);
long dbc_wait(struct wait_queue_head *queue, const size_t *events, size_t seen,
	      const size_t *unbound, size_t seen_unbound, long timeout);

bool dbc_killed(void);
void dbc_fault_unlock(struct vm_fault *vmf);
int dbc_vma_prepare(struct vm_area_struct *vma,
		    const struct vm_operations_struct *ops, void *private);
int dbc_vma_fill(struct vm_area_struct *vma, unsigned long address,
		 u64 start, unsigned long len);

void *dbc_direct_address(u64 start);
void dbc_pages_of_range(struct page **pages, u64 start, unsigned long count);
void *dbc_vmap(struct page **pages, unsigned int count);
void dbc_vunmap(void *address);

int dbc_set_name(struct dma_buf *dmabuf, const char *name, size_t len);
void dbc_get_name(struct dma_buf *dmabuf, char name[DMA_BUF_NAME_LEN]);

#endif /* _DMA_BUF_CONSTRAINTS_HELPERS_H */
