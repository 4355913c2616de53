// SPDX-License-Identifier: GPL-2.0
/*
 * Memory as the CPU maps it, and lists of its pages: inline functions and
 * macros of the kernel, for the Rust half of dma_buf_constraints.
 */

#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "helpers.h"

/*
 * Allocates memory for bookkeeping that the caller can do without: while a
 * buffer has taken nearly all memory, the list of its pages must not cost a
 * process its life.
 */
void *dbc_kvmalloc(size_t count, size_t size)
{
	return kvmalloc_array(count, size, GFP_KERNEL_ACCOUNT |
			      __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
}

bool dbc_killed(void)
{
	return fatal_signal_pending(current);
}

/* Drops the lock of a fault that waits; the fault has to be retried. */
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
	 * The dirty bit of memory without struct pages is not read; but where
	 * the hardware does not set it, the first write to each page would be
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

/* Returns the kernel's direct address of memory, or NULL where it has none. */
void *dbc_direct_address(u64 start)
{
	struct page *page = pfn_to_page(PHYS_PFN(start));

	return PageHighMem(page) ? NULL : page_address(page);
}

void dbc_pages_of_range(struct page **pages, u64 start, unsigned long count)
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

/* Copies the name, which userspace may change at any time. */
void dbc_get_name(struct dma_buf *dmabuf, char name[DMA_BUF_NAME_LEN])
{
	spin_lock(&dmabuf->name_lock);
	strscpy(name, dmabuf->name ?: "", DMA_BUF_NAME_LEN);
	spin_unlock(&dmabuf->name_lock);
}

/* Does what DMA_BUF_SET_NAME does, for a buffer that has no descriptor yet. */
int dbc_set_name(struct dma_buf *dmabuf, const char *name, size_t len)
{
	char *copy = kmemdup_nul(name, len, GFP_KERNEL_ACCOUNT);

	if (!copy)
		return -ENOMEM;
	spin_lock(&dmabuf->name_lock);
	swap(copy, *(char **)&dmabuf->name);
	spin_unlock(&dmabuf->name_lock);
	kfree(copy);
	return 0;
}
