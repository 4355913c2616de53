/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cenalloc for drivers: dma-bufs whose memory is chosen when all users are known,
 * and allocators that provide such memory.
 *
 * A driver that shares a buffer gets the device, creates a buffer, lets each
 * device attach, maps, uses and unmaps it, detaches, and frees the buffer. What a
 * device needs of the memory is declared by dma_buf_constraints_declare().
 *
 * A device without a DMA mask can attach and needs nothing, but to map is -ENODEV
 * for it. A buffer has at most 4096 users, attached and declared: more are -ENOMEM.
 *
 * A device handle or a dma-buf that is NULL or an ERR_PTR is -EINVAL, as is a NULL
 * allocator. Other pointers have to be valid, where nothing else is said.
 */

#ifndef _LINUX_CENALLOC_H
#define _LINUX_CENALLOC_H

#include <linux/bits.h>
#include <linux/dma-direction.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/mm_types.h>
#include <linux/types.h>
#include <uapi/linux/cenalloc.h>

struct cenalloc_allocator;
struct cenalloc_device;
struct device;
struct dma_buf;
struct dma_buf_constraints;
struct module;
struct sg_table;
struct vm_fault;

/**
 * cenalloc_get_device() - get the handle that the other calls take
 *
 * There is one. Who calls this uses a symbol of cenalloc, which therefore stays;
 * nothing has to be given back.
 *
 * Context: Any.
 * Return: the handle, or ERR_PTR(-EPROBE_DEFER) where cenalloc is built in and
 * has not started yet.
 */
struct cenalloc_device *cenalloc_get_device(void);

/**
 * cenalloc_buffer_create() - make a dma-buf that has no memory yet
 * @dev: from cenalloc_get_device()
 * @len: length in bytes, rounded up to whole pages; not 0
 * @align: alignment in bytes of the start of every range of its memory, a power of
 *	two; 0 is "don't care"
 * @flags: O_RDONLY, O_WRONLY or O_RDWR: what a file descriptor of it allows; O_CLOEXEC
 *	changes nothing, since dma_buf_fd() takes it
 * @name: the dma-buf's name, shown in debugfs and fdinfo: up to 31 printable ASCII
 *	characters without quotation marks; NULL for none
 *
 * Devices attach, and each narrows what the memory may be; the first mapping
 * chooses it. It is zeroed, and charged to the memory cgroup of the calling
 * process.
 *
 * Context: Process context, may sleep.
 * Return: the dma-buf, with a reference that the caller gives back by
 * cenalloc_buffer_free() or, if it went to userspace, by a close; or an ERR_PTR:
 * -EINVAL for a @len of 0 or one too large to be a file's size, an @align that is
 * no power of two, unknown @flags, a @name that is too long or holds what it may not, or
 * what no allocator could ever provide;
 * -ENFILE where the system has as many open files as it may; -ENOMEM.
 */
struct dma_buf *cenalloc_buffer_create(struct cenalloc_device *dev, size_t len,
				       size_t align, unsigned long flags,
				       const char *name);

/**
 * cenalloc_buffer_free() - give back a reference to a buffer
 * @dmabuf: from cenalloc_buffer_create(); NULL and error pointers are ignored
 *
 * The last reference frees the memory, by fput(): when the calling process returns
 * to userspace, or a moment later where it is a kernel thread. A dma-buf of another
 * exporter is left alone.
 *
 * Context: Process context, may sleep; the reservation lock is not held.
 */
void cenalloc_buffer_free(struct dma_buf *dmabuf);

/**
 * cenalloc_buffer_declare() - narrow a buffer as if a device had attached
 * @dmabuf: a buffer of cenalloc that the caller has a reference to
 * @dev: the device; its driver is bound or being bound, and stays so during the call
 * @constraints: what it needs in addition to what is known of it, or NULL
 * @refusal: filled in with why the call failed, as for &struct cenalloc_declare, with
 *	addresses, which are not for every program; may be NULL
 *
 * With all devices declared before the first of them maps, the memory suits all. The
 * declaration goes when the driver unbinds, or its probe fails.
 *
 * Context: Process context, may sleep; takes the reservation lock.
 * Return: 0; -EINVAL where @dmabuf is not of cenalloc, a field of @constraints makes no
 * sense, or no memory suits all users; -EBUSY where the device comes too late; -ENODEV
 * where it does no DMA or is on no bus; -ENOMEM; -EINTR or -ERESTARTSYS where a signal
 * comes first.
 */
int cenalloc_buffer_declare(struct dma_buf *dmabuf, struct device *dev,
			    const struct dma_buf_constraints *constraints,
			    struct cenalloc_refusal *refusal);

/**
 * cenalloc_buffer_allocate() - give a buffer its memory now
 * @dmabuf: a buffer of cenalloc that the caller has a reference to
 * @refusal: filled in with why the call failed, as for &struct cenalloc_allocate; may be
 *	NULL
 *
 * Its first use then neither waits for memory nor fails for want of it. Nothing changes
 * where it has memory.
 *
 * Context: Process context, may sleep; takes the reservation lock.
 * Return: 0; -EINVAL where @dmabuf is not of cenalloc, or no allocator is left that
 * suits all users; -ENOMEM; -EINTR or -ERESTARTSYS where a signal comes first.
 */
int cenalloc_buffer_allocate(struct dma_buf *dmabuf, struct cenalloc_refusal *refusal);

/**
 * cenalloc_phys() - tell where a contiguous buffer lies
 * @dmabuf: a buffer of cenalloc that the caller has a reference to
 * @addr: out: the physical address of its first byte
 * @len: out: its length in bytes
 *
 * For hardware or firmware that takes a physical address. From now on the memory
 * stays where it is until the buffer is freed: a device that attaches later and
 * cannot use it there is refused with -EBUSY.
 *
 * Context: Process context, may sleep; takes the reservation lock.
 * Return: 0; -EINVAL where @dmabuf is not of cenalloc or its memory is not
 * contiguous; -ENODATA where it has no memory yet, since nobody has mapped it;
 * -EINTR where the process is being killed.
 * @addr and @len are only written on success.
 */
int cenalloc_phys(struct dma_buf *dmabuf, phys_addr_t *addr, size_t *len);

/**
 * cenalloc_sg_table() - tell which pages a buffer has
 * @dmabuf: a buffer of cenalloc that the caller has a reference to
 *
 * The table lists the memory itself, in the order of the buffer's bytes, and is
 * not mapped for any device: to give it to one, attach and map. It belongs to the
 * buffer, which has one for all callers, and may be read as long as the caller has
 * its reference. From now on the memory stays where it is, as for cenalloc_phys().
 *
 * Context: Process context, may sleep; takes the reservation lock.
 * Return: the table, or an ERR_PTR: -EINVAL where @dmabuf is not of cenalloc or
 * its memory has no struct pages; -ENODATA where it has no memory yet; -ENOMEM;
 * -EINTR where the process is being killed.
 */
struct sg_table *cenalloc_sg_table(struct dma_buf *dmabuf);

/**
 * struct cenalloc_buffer - a buffer as its allocator sees it
 * @allocator: the allocator
 * @size: length in bytes, whole pages
 * @align: alignment of the start of every range of the memory; a power of two, at
 *	least a page
 * @max_address: the last physical address that the users reach; all ones where
 *	they reach any
 * @max_segments: the most ranges that the memory may come in; all ones where it
 *	does not matter
 * @sg_table: what &cenalloc_allocator_ops.allocate makes of it: the memory, for
 *	an allocator without &cenalloc_allocator_ops.map_dma
 * @priv: the allocator's own
 *
 * Valid from a call of &cenalloc_allocator_ops.allocate that succeeded until
 * &cenalloc_allocator_ops.free returns.
 */
struct cenalloc_buffer {
	struct cenalloc_allocator *allocator;
	size_t size;
	size_t align;
	u64 max_address;
	u32 max_segments;
	struct sg_table *sg_table;
	void *priv;
};

/**
 * struct cenalloc_allocator_ops - what an allocator does
 *
 * @allocate and @free are required. What is left out is done in the usual way.
 *
 * All may be called from many threads at once. Unless they say otherwise, the
 * reservation lock of the buffer is held and they may sleep. None may attach to,
 * map or free a buffer of cenalloc, or add or remove an allocator.
 */
struct cenalloc_allocator_ops {
	/**
	 * @allocate:
	 *
	 * Provides memory for @buffer: @len bytes in whole pages, each range of
	 * which starts at a multiple of @align, within what @buffer says. Tells
	 * which by &cenalloc_buffer.sg_table, @map_dma or, without struct pages,
	 * @phys. @flags is 0. The buffer is told of memory that does not suit
	 * its users by a @free that follows at once.
	 *
	 * Returns 0, -ENOMEM where there is none now, or another error, which
	 * counts as that: the next allocator is asked.
	 */
	int (*allocate)(struct cenalloc_allocator *allocator,
			struct cenalloc_buffer *buffer, unsigned long len,
			unsigned long align, unsigned long flags);
	/**
	 * @free:
	 *
	 * Takes the memory back: no device, no page table and no kernel address
	 * refers to it any more. The reservation lock may be held or not.
	 */
	void (*free)(struct cenalloc_buffer *buffer);
	/**
	 * @phys:
	 *
	 * Tells where contiguous memory lies. Required where
	 * %CENALLOC_ALLOCATOR_NO_PAGES is set; otherwise it is what
	 * cenalloc_phys() answers, in place of the table's only range.
	 */
	int (*phys)(struct cenalloc_allocator *allocator,
		    struct cenalloc_buffer *buffer, phys_addr_t *addr,
		    size_t *len);
	/**
	 * @map_dma:
	 *
	 * The table that lists the memory by its pages, in the order of the
	 * buffer's bytes, mapped for no device. Called once, after @allocate.
	 * An ERR_PTR is a failure to allocate. Without it, @allocate sets
	 * &cenalloc_buffer.sg_table.
	 */
	struct sg_table *(*map_dma)(struct cenalloc_allocator *allocator,
				    struct cenalloc_buffer *buffer);
	/**
	 * @unmap_dma:
	 *
	 * The table of @map_dma is not used any more; @free follows. Without
	 * either, freeing the table is up to @free: cenalloc frees none.
	 */
	void (*unmap_dma)(struct cenalloc_allocator *allocator,
			  struct cenalloc_buffer *buffer);
	/**
	 * @map_kernel:
	 *
	 * A kernel address of all the memory, or an ERR_PTR. Without it, the
	 * kernel's direct address or vmap().
	 */
	void *(*map_kernel)(struct cenalloc_allocator *allocator,
			    struct cenalloc_buffer *buffer);
	/** @unmap_kernel: The address is not used any more. */
	void (*unmap_kernel)(struct cenalloc_allocator *allocator,
			     struct cenalloc_buffer *buffer);
	/**
	 * @map_user:
	 *
	 * Handles a page fault in a mapping of the buffer by page frames, as by
	 * vmf_insert_pfn(), &vm_fault.pgoff pages behind the buffer's start. It
	 * may be called again for the same page. Returns %VM_FAULT_NOPAGE,
	 * %VM_FAULT_OOM without a page table, or %VM_FAULT_SIGBUS; it neither
	 * drops the lock of the address space nor returns a page. Without it,
	 * the memory is mapped with the usual page protection.
	 */
	vm_fault_t (*map_user)(struct cenalloc_allocator *allocator,
			       struct cenalloc_buffer *buffer,
			       struct vm_fault *vmf);
	/**
	 * @sync_for_device:
	 *
	 * @dev is about to use the memory: it was mapped for it just now, or the
	 * CPU has finished with it while it was mapped. For what the DMA API does
	 * not do, such as a cache that it does not know of.
	 */
	void (*sync_for_device)(struct cenalloc_allocator *allocator,
				struct cenalloc_buffer *buffer,
				struct device *dev,
				enum dma_data_direction dir);
	/**
	 * @match:
	 *
	 * Whether the allocator serves @dev, in a buffer of @len bytes whose
	 * users need @meet together (0 in a field is "don't care"). Asked for
	 * each device whenever one wants to join, and with a NULL @dev where no
	 * user is a device yet. The driver of a @dev that joined before may be
	 * unbinding now. Without it, every device is
	 * served whose constraints fit.
	 */
	bool (*match)(struct cenalloc_allocator *allocator, struct device *dev,
		      size_t len, const struct dma_buf_constraints *meet);
};

/* struct cenalloc_allocator.flags */
enum {
	CENALLOC_ALLOCATOR_ONE_RANGE = BIT(0),	/* always one range */
	CENALLOC_ALLOCATOR_ZEROED = BIT(1),	/* nobody need zero it */
	CENALLOC_ALLOCATOR_NO_PAGES = BIT(2),	/* no struct pages; one range */
};

/**
 * struct cenalloc_allocator - an allocator of memory for buffers
 * @name: for people, 1 to 31 characters of printable ASCII, of which spaces are some
 *	and quotation marks are not; no two allocators have the same
 * @owner: the module that adds it, which stays loaded while a buffer has memory of
 *	the allocator; filled in by cenalloc_device_add_allocator()
 * @ops: what it does
 * @type: its class, one bit of access masks: %CENALLOC_CLASS_SYSTEM and so on
 *	where its memory is of that kind, otherwise one of bits 32 to 63. Several
 *	allocators may have the same; bits 5 to 31 are reserved, but not refused
 * @priority: among the allocators that fit, the highest is tried first; those of
 *	cenalloc have 100 to 500
 * @flags: CENALLOC_ALLOCATOR_*
 * @max_len: the most bytes that it can give to one buffer; 0 if there is no bound
 * @min_address: no memory of it lies below this physical address
 * @priv: the allocator's own
 *
 * Filled in by who adds it, and not changed until it is removed.
 */
struct cenalloc_allocator {
	const char *name;
	struct module *owner;
	const struct cenalloc_allocator_ops *ops;
	u64 type;
	u32 priority;
	unsigned long flags;
	size_t max_len;
	u64 min_address;
	void *priv;

	/* private: cenalloc's own */
	void *registration;
};

int __cenalloc_device_add_allocator(struct cenalloc_device *dev,
				    struct cenalloc_allocator *allocator);

/**
 * cenalloc_device_add_allocator() - add an allocator
 * @dev: from cenalloc_get_device()
 * @allocator: the allocator; it stays where it is until it is removed
 *
 * In a module's initialiser, add it last: buffers have no memory of it before the
 * initialiser has returned.
 *
 * Context: Process context, may sleep.
 * Return: 0; -EINVAL where an operation is missing, the name is not as described,
 * @allocator->type is not one bit, or a flag is unknown; -EEXIST where an allocator
 * has that name; -ENOMEM.
 */
static inline int
cenalloc_device_add_allocator(struct cenalloc_device *dev,
			      struct cenalloc_allocator *allocator)
{
	if (allocator)
		allocator->owner = THIS_MODULE;
	return __cenalloc_device_add_allocator(dev, allocator);
}

/**
 * cenalloc_device_remove_allocator() - remove an allocator
 * @dev: from cenalloc_get_device()
 * @allocator: one that was added
 *
 * Has to be called, and to succeed, before @allocator or the code of its operations
 * goes. Waits for calls of the allocator that have not returned. Afterwards nothing of
 * it is used any more. In a module's exit function it cannot fail: while a buffer
 * has memory of the allocator, its @owner stays loaded. Elsewhere, as when a
 * device goes, it can: @allocator, and what its operations need, have to stay then
 * until it succeeds.
 *
 * Context: Process context, may sleep.
 * Return: 0; -EBUSY where a buffer has memory of it: nothing has changed then;
 * -EINVAL where it was not added.
 */
int cenalloc_device_remove_allocator(struct cenalloc_device *dev,
				     struct cenalloc_allocator *allocator);

#endif /* _LINUX_CENALLOC_H */
