// SPDX-License-Identifier: GPL-2.0
/*
 * The least that an allocator does: it gives one contiguous range, and takes it
 * back.
 *
 * cenalloc does the rest: it zeroes the memory, maps it for devices, for
 * userspace and for the kernel, and asks the next allocator where this one has
 * none, or none that suits all users.
 */

#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "plain.h"

static int plain_allocate(struct cenalloc_allocator *allocator,
			  struct cenalloc_buffer *buffer, unsigned long len,
			  unsigned long align, unsigned long flags)
{
	gfp_t gfp = GFP_KERNEL | __GFP_NOWARN;
	struct sg_table *table;
	void *memory;

	if (buffer->max_address < DMA_BIT_MASK(32))
		gfp |= GFP_DMA;
	else if (buffer->max_address < DMA_BIT_MASK(64))
		gfp |= GFP_DMA32;
	table = kzalloc_obj(*table);
	if (!table)
		return -ENOMEM;
	if (sg_alloc_table(table, 1, GFP_KERNEL))
		goto free_table;
	/*
	 * Aligned to its own length, which may be less than @align: cenalloc
	 * checks that.
	 */
	memory = alloc_pages_exact(len, gfp);
	if (!memory)
		goto free_entry;
	sg_set_buf(table->sgl, memory, len);
	buffer->sg_table = table;
	return 0;

free_entry:
	sg_free_table(table);
free_table:
	kfree(table);
	return -ENOMEM;
}

static void plain_free(struct cenalloc_buffer *buffer)
{
	struct sg_table *table = buffer->sg_table;

	free_pages_exact(sg_virt(table->sgl), buffer->size);
	sg_free_table(table);
	kfree(table);
}

const struct cenalloc_allocator_ops plain_ops = {
	.allocate = plain_allocate,
	.free = plain_free,
};
