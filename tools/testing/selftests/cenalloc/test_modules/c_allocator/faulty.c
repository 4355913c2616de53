// SPDX-License-Identifier: GPL-2.0
/*
 * Allocators that count their calls, and fail when they are told to. For tests:
 * what an allocator does is in plain.c and pieces.c.
 *
 * Each operation looks at the fault that was asked for, and otherwise hands on to
 * the one that does the work. That sees a buffer of its own, so that it finds
 * what it left there, whatever cenalloc was told.
 */

#include <linux/delay.h>
#include <linux/device.h>
#include <linux/dma-buf-constraints.h>
#include <linux/err.h>
#include <linux/limits.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "c_allocator.h"
#include "faulty.h"

/**
 * struct memory - what a buffer has of an allocator here
 * @buffer: what the operations that do the work see
 * @entry: the table that is told of instead of theirs
 */
struct memory {
	struct cenalloc_buffer buffer;
	struct sg_table entry;
};

static struct faulty *faulty_of(struct cenalloc_allocator *allocator)
{
	return container_of(allocator, struct faulty, allocator);
}

static struct cenalloc_buffer *real_buffer(struct cenalloc_buffer *buffer)
{
	struct memory *memory = buffer->priv;

	return &memory->buffer;
}

static struct c_allocator_fault count(struct faulty *faulty, unsigned int op)
{
	struct c_allocator_fault fault;

	atomic_inc(&faulty->calls[op]);
	spin_lock(&faulty->lock);
	fault = faulty->fault;
	spin_unlock(&faulty->lock);
	return fault;
}

/* A table of one entry: the start of @table's memory, as @fault has it. */
static struct sg_table *broken_table(struct memory *memory, struct sg_table *table,
				     const struct c_allocator_fault *fault)
{
	unsigned int offset = 0, len = memory->buffer.size;
	struct sg_table *entry = &memory->entry;
	struct page *page = sg_page(table->sgl);

	switch (fault->fault) {
	case C_ALLOCATOR_NO_TABLE:
		return NULL;
	case C_ALLOCATOR_ERROR_TABLE:
		return ERR_PTR(fault->code);
	case C_ALLOCATOR_EMPTY_TABLE:
		return entry;
	case C_ALLOCATOR_SHORT_TABLE:
		len -= PAGE_SIZE;
		break;
	case C_ALLOCATOR_LONG_TABLE:
		len += PAGE_SIZE;
		break;
	case C_ALLOCATOR_OFFSET_TABLE:
		offset = 512;
		break;
	case C_ALLOCATOR_ODD_TABLE:
		len -= 512;
		break;
	case C_ALLOCATOR_BARE_TABLE:
		page = NULL;
		break;
	default:
		return table;
	}
	if (sg_alloc_table(entry, 1, GFP_KERNEL))
		return ERR_PTR(-ENOMEM);
	sg_set_page(entry->sgl, page, len, offset);
	return entry;
}

static void soil(struct faulty *faulty, struct cenalloc_buffer *buffer, u8 byte)
{
	struct sg_table *table = buffer->sg_table;
	struct scatterlist *sg;
	int i;

	/* plain.c alone has its table by now. */
	if (!table)
		return;
	for_each_sgtable_sg(table, sg, i)
		memset(sg_virt(sg), byte, sg->length);
}

static int faulty_allocate(struct cenalloc_allocator *allocator,
			   struct cenalloc_buffer *buffer, unsigned long len,
			   unsigned long align, unsigned long flags)
{
	struct faulty *faulty = faulty_of(allocator);
	struct c_allocator_fault fault = count(faulty, C_ALLOCATOR_ALLOCATE);
	struct memory *memory;
	int ret;

	spin_lock(&faulty->lock);
	faulty->told.len = len;
	faulty->told.align = align;
	faulty->told.flags = flags;
	faulty->told.max_address = buffer->max_address;
	faulty->told.max_segments = buffer->max_segments;
	spin_unlock(&faulty->lock);

	if (fault.fault == C_ALLOCATOR_FAIL)
		return fault.code;
	if (fault.fault == C_ALLOCATOR_SLOW)
		msleep(fault.code);
	memory = kzalloc_obj(*memory);
	if (!memory)
		return -ENOMEM;
	memory->buffer = *buffer;
	if (fault.fault == C_ALLOCATOR_IGNORE) {
		memory->buffer.max_address = U64_MAX;
		memory->buffer.max_segments = U32_MAX;
		memory->buffer.align = PAGE_SIZE;
	}
	ret = faulty->real->allocate(allocator, &memory->buffer, len,
				     memory->buffer.align, flags);
	if (ret) {
		kfree(memory);
		return ret;
	}
	if (fault.fault == C_ALLOCATOR_DIRTY)
		soil(faulty, &memory->buffer, fault.code);
	buffer->priv = memory;
	if (memory->buffer.sg_table)
		buffer->sg_table = broken_table(memory, memory->buffer.sg_table, &fault);
	atomic_inc(&faulty->live);
	return 0;
}

static void faulty_free(struct cenalloc_buffer *buffer)
{
	struct faulty *faulty = faulty_of(buffer->allocator);
	struct memory *memory = buffer->priv;

	count(faulty, C_ALLOCATOR_FREE);
	faulty->real->free(&memory->buffer);
	sg_free_table(&memory->entry);
	kfree(memory);
	atomic_dec(&faulty->live);
}

static int faulty_phys(struct cenalloc_allocator *allocator,
		       struct cenalloc_buffer *buffer, phys_addr_t *addr,
		       size_t *len)
{
	struct faulty *faulty = faulty_of(allocator);
	struct c_allocator_fault fault = count(faulty, C_ALLOCATOR_PHYS);
	int ret;

	if (fault.fault == C_ALLOCATOR_BAD_PHYS)
		return fault.code;
	ret = faulty->real->phys(allocator, real_buffer(buffer), addr, len);
	if (!ret && fault.fault == C_ALLOCATOR_SHORT_PHYS)
		*len -= PAGE_SIZE;
	return ret;
}

static struct sg_table *faulty_map_dma(struct cenalloc_allocator *allocator,
				       struct cenalloc_buffer *buffer)
{
	struct faulty *faulty = faulty_of(allocator);
	struct c_allocator_fault fault = count(faulty, C_ALLOCATOR_MAP_DMA);
	struct cenalloc_buffer *inner = real_buffer(buffer);
	struct sg_table *table, *told;

	table = faulty->real->map_dma(allocator, inner);
	if (IS_ERR(table))
		return table;
	told = broken_table(buffer->priv, table, &fault);
	/* Where it did not succeed, nothing is to be undone. */
	if (IS_ERR_OR_NULL(told))
		faulty->real->unmap_dma(allocator, inner);
	else
		atomic_inc(&faulty->tables);
	return told;
}

static void faulty_unmap_dma(struct cenalloc_allocator *allocator,
			     struct cenalloc_buffer *buffer)
{
	struct faulty *faulty = faulty_of(allocator);

	count(faulty, C_ALLOCATOR_UNMAP_DMA);
	faulty->real->unmap_dma(allocator, real_buffer(buffer));
	atomic_dec(&faulty->tables);
}

static void *faulty_map_kernel(struct cenalloc_allocator *allocator,
			       struct cenalloc_buffer *buffer)
{
	struct faulty *faulty = faulty_of(allocator);
	void *address;

	count(faulty, C_ALLOCATOR_MAP_KERNEL);
	address = faulty->real->map_kernel(allocator, real_buffer(buffer));
	if (!IS_ERR(address))
		atomic_inc(&faulty->addresses);
	return address;
}

static void faulty_unmap_kernel(struct cenalloc_allocator *allocator,
				struct cenalloc_buffer *buffer)
{
	struct faulty *faulty = faulty_of(allocator);

	count(faulty, C_ALLOCATOR_UNMAP_KERNEL);
	faulty->real->unmap_kernel(allocator, real_buffer(buffer));
	atomic_dec(&faulty->addresses);
}

static vm_fault_t faulty_map_user(struct cenalloc_allocator *allocator,
				  struct cenalloc_buffer *buffer,
				  struct vm_fault *vmf)
{
	struct faulty *faulty = faulty_of(allocator);
	struct c_allocator_fault fault = count(faulty, C_ALLOCATOR_MAP_USER);

	if (fault.fault == C_ALLOCATOR_BAD_USER)
		return VM_FAULT_SIGBUS;
	return faulty->real->map_user(allocator, real_buffer(buffer), vmf);
}

static void faulty_sync_for_device(struct cenalloc_allocator *allocator,
				   struct cenalloc_buffer *buffer,
				   struct device *dev,
				   enum dma_data_direction dir)
{
	struct faulty *faulty = faulty_of(allocator);

	count(faulty, C_ALLOCATOR_SYNC_FOR_DEVICE);
	spin_lock(&faulty->lock);
	faulty->told.direction = dir;
	strscpy(faulty->told.device, dev_name(dev));
	spin_unlock(&faulty->lock);
	faulty->real->sync_for_device(allocator, real_buffer(buffer), dev, dir);
}

static bool faulty_match(struct cenalloc_allocator *allocator,
			 struct device *dev, size_t len,
			 const struct dma_buf_constraints *meet)
{
	struct faulty *faulty = faulty_of(allocator);
	struct c_allocator_fault fault = count(faulty, C_ALLOCATOR_MATCH);

	spin_lock(&faulty->lock);
	faulty->told.match_len = len;
	faulty->told.match_max_address = meet->max_address;
	faulty->told.match_max_segments = meet->max_segments;
	if (dev)
		strscpy(faulty->told.device, dev_name(dev));
	else
		faulty->told.without_device++;
	spin_unlock(&faulty->lock);
	if (fault.fault == C_ALLOCATOR_FICKLE && atomic_read(&faulty->live))
		return false;
	if (dev && fault.refused[0] && strstarts(dev_name(dev), fault.refused))
		return false;
	return faulty->real->match(allocator, dev, len, meet);
}

/* Whether an operation that is there, or not, is to be offered. */
static bool offered(bool is_there, unsigned int without, unsigned int op)
{
	return is_there && !(without & BIT(op));
}

/* The operations that @real has, without those that are to be left out. */
static void choose_ops(struct faulty *faulty, unsigned int without)
{
	const struct cenalloc_allocator_ops *real = faulty->real;
	struct cenalloc_allocator_ops *ops = &faulty->ops;

	if (offered(real->allocate, without, C_ALLOCATOR_ALLOCATE))
		ops->allocate = faulty_allocate;
	if (offered(real->free, without, C_ALLOCATOR_FREE))
		ops->free = faulty_free;
	if (offered(real->phys, without, C_ALLOCATOR_PHYS))
		ops->phys = faulty_phys;
	if (offered(real->map_dma, without, C_ALLOCATOR_MAP_DMA))
		ops->map_dma = faulty_map_dma;
	if (offered(real->unmap_dma, without, C_ALLOCATOR_UNMAP_DMA))
		ops->unmap_dma = faulty_unmap_dma;
	if (offered(real->map_kernel, without, C_ALLOCATOR_MAP_KERNEL))
		ops->map_kernel = faulty_map_kernel;
	if (offered(real->unmap_kernel, without, C_ALLOCATOR_UNMAP_KERNEL))
		ops->unmap_kernel = faulty_unmap_kernel;
	if (offered(real->map_user, without, C_ALLOCATOR_MAP_USER))
		ops->map_user = faulty_map_user;
	if (offered(real->sync_for_device, without, C_ALLOCATOR_SYNC_FOR_DEVICE))
		ops->sync_for_device = faulty_sync_for_device;
	if (offered(real->match, without, C_ALLOCATOR_MATCH))
		ops->match = faulty_match;
}

/**
 * faulty_init() - make an allocator that can be added
 * @faulty: zeroed
 * @add: what it is to be
 */
void faulty_init(struct faulty *faulty, const struct c_allocator_add *add)
{
	spin_lock_init(&faulty->lock);
	strscpy(faulty->name, add->name);
	faulty->real = add->kind == C_ALLOCATOR_PIECES ? &pieces_ops : &plain_ops;
	choose_ops(faulty, add->without);
	faulty->allocator = (struct cenalloc_allocator) {
		.name = add->no_name ? NULL : faulty->name,
		.owner = THIS_MODULE,
		.ops = add->kind == C_ALLOCATOR_NO_OPS ? NULL : &faulty->ops,
		.type = add->type,
		.priority = add->priority,
		.flags = add->flags,
		.max_len = add->max_len,
		.min_address = add->min_address,
	};
}

/**
 * faulty_check() - tell whether a fault can be had
 * @fault: what is asked for
 *
 * Return: false where the operations here cannot use it, or would do worse than to
 * fail.
 */
bool faulty_check(const struct c_allocator_fault *fault)
{
	switch (fault->fault) {
	case C_ALLOCATOR_FAIL:
	case C_ALLOCATOR_BAD_PHYS:
		/* No error of the kernel, too, is for cenalloc to see. */
		return fault->code;
	case C_ALLOCATOR_ERROR_TABLE:
		return IS_ERR_VALUE((long)fault->code);
	case C_ALLOCATOR_DIRTY:
		return fault->code >= 0 && fault->code <= U8_MAX;
	case C_ALLOCATOR_SLOW:
		return fault->code >= 0 && fault->code <= C_ALLOCATOR_SLOWEST;
	default:
		return fault->fault < C_ALLOCATOR_FAULTS;
	}
}

/**
 * faulty_tell() - tell what an allocator was asked
 * @faulty: the allocator
 * @told: filled in but for the handle
 */
void faulty_tell(struct faulty *faulty, struct c_allocator_told *told)
{
	u32 handle = told->handle;
	int i;

	spin_lock(&faulty->lock);
	*told = faulty->told;
	spin_unlock(&faulty->lock);
	told->handle = handle;
	told->live = atomic_read(&faulty->live);
	told->tables = atomic_read(&faulty->tables);
	told->addresses = atomic_read(&faulty->addresses);
	for (i = 0; i < C_ALLOCATOR_OPS; i++)
		told->calls[i] = atomic_read(&faulty->calls[i]);
}
