// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions and macros of the kernel, for the Rust half of
 * dma_buf_constraints. Only what Rust cannot reach stands here.
 */

#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/iommu-dma.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "helpers.h"

/* What dma_get_max_seg_size() answers for a device that says nothing. */
#define UNSET_SEGMENT_SIZE	SZ_64K

/* Whether something between the device and memory translates addresses. */
static bool translated(struct device *dev)
{
	return use_dma_iommu(dev) || get_dma_ops(dev);
}

/* The last physical address that @dev reaches by bus addresses up to @limit. */
static u64 last_reachable(struct device *dev, u64 limit)
{
	const struct bus_dma_region *map = dev->dma_range_map;
	u64 last = 0;

	if (!map)
		return limit;
	for (; map->size; map++) {
		if (map->dma_start > limit)
			continue;
		last = max(last, map->cpu_start +
				 min(map->size - 1, limit - map->dma_start));
	}
	return last;
}

void dbc_device_facts(struct device *dev, struct dbc_device_facts *facts)
{
	const struct device_dma_parameters *parms = dev->dma_parms;

	facts->can_dma = dev->dma_mask && *dev->dma_mask;
	facts->max_address = U64_MAX;
	facts->max_segment_size = U64_MAX;
	facts->segment_boundary_mask = U64_MAX;
	facts->alignment = 1;

	if (facts->can_dma && !translated(dev))
		facts->max_address =
			last_reachable(dev, min_not_zero(*dev->dma_mask,
							 dev->bus_dma_limit));
	if (!parms)
		return;
	/*
	 * 64 KiB is what buses set for devices that never said anything: a
	 * default, not a limit of the hardware.
	 */
	if (parms->max_segment_size &&
	    parms->max_segment_size != UNSET_SEGMENT_SIZE &&
	    parms->max_segment_size != UINT_MAX)
		facts->max_segment_size = parms->max_segment_size;
	if (parms->segment_boundary_mask &&
	    parms->segment_boundary_mask != ULONG_MAX)
		facts->segment_boundary_mask = parms->segment_boundary_mask;
	if (parms->min_align_mask)
		facts->alignment = roundup_pow_of_two((u64)parms->min_align_mask + 1);
}

bool dbc_device_has_driver(struct device *dev)
{
	return dev->driver;
}

const char *dbc_device_driver(struct device *dev)
{
	return dev->driver ? dev->driver->name : NULL;
}

struct scatterlist *dbc_sg_set_run(struct scatterlist *sg, u64 start, u32 len)
{
	sg_set_page(sg, pfn_to_page(PHYS_PFN(start)), len, 0);
	return sg_next(sg);
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

void dbc_sync_for_cpu(struct device *dev, struct sg_table *table,
		      enum dma_data_direction dir)
{
	dma_sync_sgtable_for_cpu(dev, table, dir);
}

void dbc_sync_for_device(struct device *dev, struct sg_table *table,
			 enum dma_data_direction dir)
{
	dma_sync_sgtable_for_device(dev, table, dir);
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
	unsigned long address;	/* of the first page */
	unsigned long pfn;	/* its frame */
};

static int fill_pte(pte_t *pte, unsigned long address, void *data)
{
	const struct fill *fill = data;
	unsigned long pfn = fill->pfn + ((address - fill->address) >> PAGE_SHIFT);

	/* Another thread's fault may have been here first. */
	if (pte_none(ptep_get(pte)))
		set_pte_at(fill->mm, address, pte,
			   pte_mkspecial(pfn_pte(pfn, fill->prot)));
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
	struct page *page = pfn_to_page(PHYS_PFN(start));
	unsigned long i;

	for (i = 0; i < count; i++)
		pages[i] = page + i;
}

void *dbc_vmap(struct page **pages, unsigned int count)
{
	return vmap(pages, count, VM_MAP, PAGE_KERNEL);
}

void dbc_vunmap(void *address)
{
	vunmap(address);
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
