// SPDX-License-Identifier: GPL-2.0
/*
 * An allocator that does by itself all that can be done: its memory comes in
 * pieces, as few and as large as the users of the buffer need.
 */

#include <asm/barrier.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/platform_device.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "c_allocator.h"

/**
 * struct pieces - the memory of a buffer
 * @table: lists it
 * @address: the kernel's, while it is mapped
 * @order: of each piece; of the last, not all is used
 * @count: how many pieces there are
 * @pages: the first page of each
 */
struct pieces {
	struct sg_table table;
	void *address;
	unsigned int order;
	unsigned int count;
	struct page *pages[] __counted_by(count);
};

static size_t piece_len(const struct pieces *pieces)
{
	return PAGE_SIZE << pieces->order;
}

static void free_pieces(struct pieces *pieces)
{
	unsigned int i;

	for (i = 0; i < pieces->count && pieces->pages[i]; i++)
		__free_pages(pieces->pages[i], pieces->order);
	kvfree(pieces);
}

/* How long the pieces have to be. */
static unsigned int choose_order(const struct cenalloc_allocator *allocator,
				 const struct cenalloc_buffer *buffer)
{
	unsigned int most = buffer->max_segments;
	size_t least;

	/* What was promised when the allocator was added. */
	if (allocator->flags & (CENALLOC_ALLOCATOR_ONE_RANGE |
				CENALLOC_ALLOCATOR_NO_PAGES))
		most = 1;
	least = DIV_ROUND_UP(buffer->size, most);
	/* A piece of the page allocator is aligned to its own length. */
	least = max3(least, buffer->align, min_t(size_t, buffer->size, SZ_64K));
	return get_order(least);
}

static int pieces_allocate(struct cenalloc_allocator *allocator,
			   struct cenalloc_buffer *buffer, unsigned long len,
			   unsigned long align, unsigned long flags)
{
	gfp_t gfp = GFP_KERNEL | __GFP_NOWARN | __GFP_COMP;
	unsigned int order = choose_order(allocator, buffer);
	struct pieces *pieces;
	unsigned int i, count;

	if (order > MAX_PAGE_ORDER)
		return -ENOMEM;
	if (buffer->max_address < DMA_BIT_MASK(32))
		gfp |= GFP_DMA;
	else if (buffer->max_address < DMA_BIT_MASK(64))
		gfp |= GFP_DMA32;
	count = DIV_ROUND_UP(len, PAGE_SIZE << order);
	pieces = kvzalloc_flex(*pieces, pages, count);
	if (!pieces)
		return -ENOMEM;
	pieces->count = count;
	pieces->order = order;
	for (i = 0; i < count; i++) {
		pieces->pages[i] = alloc_pages(gfp, order);
		if (!pieces->pages[i]) {
			free_pieces(pieces);
			return -ENOMEM;
		}
	}
	buffer->priv = pieces;
	return 0;
}

static void pieces_free(struct cenalloc_buffer *buffer)
{
	free_pieces(buffer->priv);
}

static int pieces_phys(struct cenalloc_allocator *allocator,
		       struct cenalloc_buffer *buffer, phys_addr_t *addr,
		       size_t *len)
{
	struct pieces *pieces = buffer->priv;

	if (pieces->count != 1)
		return -EINVAL;
	*addr = page_to_phys(pieces->pages[0]);
	*len = buffer->size;
	return 0;
}

static struct sg_table *pieces_map_dma(struct cenalloc_allocator *allocator,
				       struct cenalloc_buffer *buffer)
{
	struct pieces *pieces = buffer->priv;
	size_t left = buffer->size;
	struct scatterlist *sg;
	int i, ret;

	ret = sg_alloc_table(&pieces->table, pieces->count, GFP_KERNEL);
	if (ret)
		return ERR_PTR(ret);
	for_each_sgtable_sg(&pieces->table, sg, i) {
		size_t len = min(left, piece_len(pieces));

		sg_set_page(sg, pieces->pages[i], len, 0);
		left -= len;
	}
	return &pieces->table;
}

static void pieces_unmap_dma(struct cenalloc_allocator *allocator,
			     struct cenalloc_buffer *buffer)
{
	struct pieces *pieces = buffer->priv;

	sg_free_table(&pieces->table);
}

/* The page of the buffer with this number. */
static struct page *nth_page_of(const struct pieces *pieces, unsigned long number)
{
	struct page *first = pieces->pages[number >> pieces->order];

	return first + (number & (BIT(pieces->order) - 1));
}

static void *pieces_map_kernel(struct cenalloc_allocator *allocator,
			       struct cenalloc_buffer *buffer)
{
	unsigned long i, count = buffer->size >> PAGE_SHIFT;
	struct pieces *pieces = buffer->priv;
	struct page **pages;

	pages = kvmalloc_objs(*pages, count);
	if (!pages)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < count; i++)
		pages[i] = nth_page_of(pieces, i);
	pieces->address = vmap(pages, count, VM_MAP, PAGE_KERNEL);
	kvfree(pages);
	return pieces->address ?: ERR_PTR(-ENOMEM);
}

static void pieces_unmap_kernel(struct cenalloc_allocator *allocator,
				struct cenalloc_buffer *buffer)
{
	struct pieces *pieces = buffer->priv;

	vunmap(pieces->address);
	pieces->address = NULL;
}

static vm_fault_t pieces_map_user(struct cenalloc_allocator *allocator,
				  struct cenalloc_buffer *buffer,
				  struct vm_fault *vmf)
{
	struct page *page;

	if (vmf->pgoff >= buffer->size >> PAGE_SHIFT)
		return VM_FAULT_SIGBUS;
	page = nth_page_of(buffer->priv, vmf->pgoff);
	return vmf_insert_pfn(vmf->vma, vmf->address, page_to_pfn(page));
}

static void pieces_sync_for_device(struct cenalloc_allocator *allocator,
				   struct cenalloc_buffer *buffer,
				   struct device *dev,
				   enum dma_data_direction dir)
{
	/* Memory behind a bridge that posts writes would be read back here. */
	mb();
}

/* Memory that only the bus of the chip itself reaches. */
static bool pieces_match(struct cenalloc_allocator *allocator,
			 struct device *dev, size_t len,
			 const struct dma_buf_constraints *meet)
{
	return !dev || dev_is_platform(dev);
}

const struct cenalloc_allocator_ops pieces_ops = {
	.allocate = pieces_allocate,
	.free = pieces_free,
	.phys = pieces_phys,
	.map_dma = pieces_map_dma,
	.unmap_dma = pieces_unmap_dma,
	.map_kernel = pieces_map_kernel,
	.unmap_kernel = pieces_unmap_kernel,
	.map_user = pieces_map_user,
	.sync_for_device = pieces_sync_for_device,
	.match = pieces_match,
};
