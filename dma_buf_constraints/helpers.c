// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions and macros of the kernel, for the Rust half of
 * dma_buf_constraints. Only what Rust cannot reach stands here.
 */

#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/io.h>
#include <linux/iommu-dma.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/swiotlb.h>
#include <linux/vmalloc.h>

#include "helpers.h"

/* What dma_get_max_seg_size() answers for a device that says nothing. */
#define UNSET_SEGMENT_SIZE	SZ_64K

/*
 * Whether an IOMMU translates addresses for the device. Other DMA operations
 * (Xen's) count as none: their bounces are then found after mapping.
 */
static bool translated(struct device *dev)
{
	return use_dma_iommu(dev);
}

/*
 * The last physical address that @dev reaches by bus addresses up to @limit;
 * false where it reaches none. Holes in what it reaches are not looked at.
 */
static bool last_reachable(struct device *dev, u64 limit, u64 *last)
{
	const struct bus_dma_region *map = dev->dma_range_map;
	bool found = false;

	if (!map) {
		*last = limit;
		return true;
	}
	*last = 0;
	for (; map->size; map++) {
		if (map->dma_start > limit)
			continue;
		*last = max(*last, map->cpu_start +
				   min(map->size - 1, limit - map->dma_start));
		found = true;
	}
	return found;
}

/* A boundary mask as the core means it: one less than a power of two. */
static u64 boundary_mask(unsigned long mask)
{
	u64 boundary = (u64)mask + 1;

	/* None, or one that says nothing of whole pages: not set. */
	if (!mask || !boundary || mask < PAGE_SIZE - 1)
		return U64_MAX;
	return (1ULL << ilog2(boundary)) - 1;
}

void dbc_device_facts(struct device *dev, struct dbc_device_facts *facts)
{
	const struct device_dma_parameters *parms = dev->dma_parms;

	facts->can_dma = dev->dma_mask && *dev->dma_mask;
	facts->access_mask = U64_MAX;
	facts->max_address = U64_MAX;
	facts->max_segment_size = U64_MAX;
	facts->segment_boundary_mask = U64_MAX;
	facts->alignment = 1;
	facts->coherent = dev_is_dma_coherent(dev);

	if (facts->can_dma && !translated(dev))
		facts->can_dma =
			last_reachable(dev, min_not_zero(*dev->dma_mask,
							 dev->bus_dma_limit),
				       &facts->max_address);
	if (!parms)
		return;
#ifdef DMA_BUF_HAS_ACCESS_CONSTRAINTS
	facts->access_mask = dma_get_access_constraints_mask(dev);
#endif
	/*
	 * 64 KiB is what buses set for devices that never said anything: a
	 * default, not a limit of the hardware.
	 */
	if (parms->max_segment_size >= PAGE_SIZE &&
	    parms->max_segment_size != UNSET_SEGMENT_SIZE &&
	    parms->max_segment_size != UINT_MAX)
		facts->max_segment_size = parms->max_segment_size;
	facts->segment_boundary_mask = boundary_mask(parms->segment_boundary_mask);
	/*
	 * Bits of an address that a bounce has to keep. A start aligned to them
	 * has none of them set.
	 */
	if (parms->min_align_mask && parms->min_align_mask < SZ_2G)
		facts->alignment = 1ULL << fls(parms->min_align_mask);
}

/* Whether no device of this architecture ever needs cache maintenance. */
bool dbc_always_coherent(void)
{
	return !IS_ENABLED(CONFIG_ARCH_HAS_SYNC_DMA_FOR_DEVICE) &&
	       !IS_ENABLED(CONFIG_ARCH_HAS_SYNC_DMA_FOR_CPU) &&
	       !IS_ENABLED(CONFIG_ARCH_HAS_SYNC_DMA_FOR_CPU_ALL);
}

/* The name of the driver of a device, or NULL. It may unbind at any time. */
const char *dbc_device_driver(struct device *dev)
{
	const struct device_driver *driver = READ_ONCE(dev->driver);

	return driver ? driver->name : NULL;
}

/* The name of the bus of a device, or NULL. */
const char *dbc_device_bus(struct device *dev)
{
	return dev->bus ? dev->bus->name : NULL;
}

/* Locks a device to which a driver is bound; -ENODEV, -EINTR, and not locked. */
int dbc_device_lock_bound(struct device *dev)
{
	int ret = device_lock_interruptible(dev);

	if (ret)
		return -EINTR;
	if (dev->driver)
		return 0;
	device_unlock(dev);
	return -ENODEV;
}

bool dbc_device_trylock(struct device *dev)
{
	return device_trylock(dev);
}

void dbc_device_unlock(struct device *dev)
{
	device_unlock(dev);
}

/*
 * Room for bookkeeping that the caller can do without: while a buffer has taken
 * nearly all memory, no other process may die for the list of its pages.
 */
void *dbc_kvmalloc(size_t count, size_t size)
{
	return kvmalloc_array(count, size, GFP_KERNEL_ACCOUNT |
			      __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
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

bool dbc_killed(void)
{
	return fatal_signal_pending(current);
}

/* Lets others change the address space while a fault waits; it has to be retried. */
void dbc_fault_unlock(struct vm_fault *vmf)
{
	release_fault_lock(vmf);
}

int dbc_vma_prepare(struct vm_area_struct *vma,
		    const struct vm_operations_struct *ops, void *private)
{
	/* A private mapping would show pages that no device ever sees. */
	if (!(vma->vm_flags & (VM_SHARED | VM_MAYSHARE)))
		return -EINVAL;
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = ops;
	vma->vm_private_data = private;
	return 0;
}

struct fill {
	struct mm_struct *mm;
	pgprot_t prot;
	bool is_writable;
	unsigned long address;	/* of the first page */
	unsigned long pfn;	/* its frame */
};

static int fill_pte(pte_t *pte, unsigned long address, void *data)
{
	const struct fill *fill = data;
	unsigned long pfn = fill->pfn + ((address - fill->address) >> PAGE_SHIFT);
	pte_t entry = pte_mkspecial(pfn_pte(pfn, fill->prot));

	/*
	 * Nobody asks whether memory without pages is dirty; but where the
	 * hardware does not mark it so, the first write to each page would be
	 * another fault.
	 */
	if (fill->is_writable)
		entry = pte_mkdirty(entry);
	/* Another thread's fault may have been here first. */
	if (pte_none(ptep_get(pte)))
		set_pte_at(fill->mm, address, pte, entry);
	return 0;
}

/*
 * Maps @len bytes of memory that start at the physical address @start. Many
 * pages cost one walk of the page tables, unlike vmf_insert_pfn(); unlike
 * remap_pfn_range() it is allowed in a fault handler.
 */
int dbc_vma_fill(struct vm_area_struct *vma, unsigned long address,
		 u64 start, unsigned long len)
{
	struct fill fill = {
		.mm = vma->vm_mm,
		.prot = vma->vm_page_prot,
		.is_writable = vma->vm_flags & VM_WRITE,
		.address = address,
		.pfn = PHYS_PFN(start),
	};

	return apply_to_page_range(vma->vm_mm, address, len, fill_pte, &fill);
}

/* The kernel's own address of memory, or NULL where it has none. */
void *dbc_direct_address(u64 start)
{
	struct page *page = pfn_to_page(PHYS_PFN(start));

	return PageHighMem(page) ? NULL : page_address(page);
}

void dbc_pages_of_run(struct page **pages, u64 start, unsigned long count)
{
	unsigned long pfn = PHYS_PFN(start);

	while (count--)
		*pages++ = pfn_to_page(pfn++);
}

void *dbc_vmap(struct page **pages, unsigned int count)
{
	return vmap(pages, count, VM_MAP, PAGE_KERNEL);
}

void dbc_vunmap(void *address)
{
	vunmap(address);
}

/* A kernel address of memory without struct pages. */
void *dbc_map_memory(u64 start, u64 len)
{
	return memremap(start, len, MEMREMAP_WB);
}

void dbc_unmap_memory(void *address)
{
	memunmap(address);
}

/* What DMA_BUF_SET_NAME does, for a buffer that has no descriptor yet. */
int dbc_set_name(struct dma_buf *dmabuf, const char *name)
{
	char *copy = kstrdup(name, GFP_KERNEL);

	if (!copy)
		return -ENOMEM;
	spin_lock(&dmabuf->name_lock);
	swap(copy, *(char **)&dmabuf->name);
	spin_unlock(&dmabuf->name_lock);
	kfree(copy);
	return 0;
}
