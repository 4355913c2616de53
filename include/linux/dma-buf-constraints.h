/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What devices need of the memory of a shared buffer, and whether several of
 * them can share one.
 *
 * Device drivers declare what their device needs beyond what struct device
 * tells. Exporters of dma-bufs keep a set of users for each buffer: a device that
 * cannot share it is refused when it attaches, with a reason.
 *
 * Pointers have to be valid: no function takes NULL or an ERR_PTR, unless its
 * description says so.
 */

#ifndef _LINUX_DMA_BUF_CONSTRAINTS_H
#define _LINUX_DMA_BUF_CONSTRAINTS_H

#include <linux/dma-direction.h>
#include <linux/types.h>

struct device;
struct sg_table;

/**
 * struct dma_buf_constraints - what a device needs of a buffer's memory
 * @access_mask: classes of memory it can reach, one bit a class
 * @max_address: last physical address it can reach, in bytes
 * @max_segment_size: most bytes in one segment of its table, at least a page
 * @segment_boundary_mask: no segment of its table crosses a multiple of this
 *	mask plus one, a power of two of at least a page; the form of
 *	&device_dma_parameters.segment_boundary_mask
 * @alignment: of the start of every segment, in bytes, a power of two
 * @max_segments: most segments in its table, none of which is longer than 2 GiB;
 *	1 is one contiguous range
 * @priority: how special these needs are, see below
 * @coherent: it must not need cache maintenance; any memory is good for a device
 *	whose DMA the hardware keeps coherent with the caches
 *
 * A device has a second choice where constraints of higher @priority are declared
 * of an ancestor, the nearest such one: the ancestor's classes of memory, within
 * what else both need. Second choices count, of all devices that have one, as long
 * as the devices of a buffer have no class of memory in common without.
 *
 * Zero in any field is "don't care".
 */
struct dma_buf_constraints {
	u64 access_mask;
	u64 max_address;
	u64 max_segment_size;
	u64 segment_boundary_mask;
	u64 alignment;
	u32 max_segments;
	u16 priority;
	bool coherent;
};

/**
 * enum dma_buf_constraints_field - a field of struct dma_buf_constraints
 * @DMA_BUF_CONSTRAINTS_ACCESS_MASK: @access_mask
 * @DMA_BUF_CONSTRAINTS_MAX_ADDRESS: @max_address
 * @DMA_BUF_CONSTRAINTS_MAX_SEGMENTS: @max_segments
 * @DMA_BUF_CONSTRAINTS_MAX_SEGMENT_SIZE: @max_segment_size
 * @DMA_BUF_CONSTRAINTS_SEGMENT_BOUNDARY: @segment_boundary_mask
 * @DMA_BUF_CONSTRAINTS_ALIGNMENT: @alignment
 * @DMA_BUF_CONSTRAINTS_COHERENT: @coherent
 */
enum dma_buf_constraints_field {
	DMA_BUF_CONSTRAINTS_ACCESS_MASK = 1,
	DMA_BUF_CONSTRAINTS_MAX_ADDRESS,
	DMA_BUF_CONSTRAINTS_MAX_SEGMENTS,
	DMA_BUF_CONSTRAINTS_MAX_SEGMENT_SIZE,
	DMA_BUF_CONSTRAINTS_SEGMENT_BOUNDARY,
	DMA_BUF_CONSTRAINTS_ALIGNMENT,
	DMA_BUF_CONSTRAINTS_COHERENT,
};

#define DMA_BUF_CONSTRAINTS_NAME_LEN	64

/**
 * enum dma_buf_conflict_with - with what a device's needs conflict
 * @DMA_BUF_CONFLICT_WITH_USER: another user, or what the buffer itself needs
 * @DMA_BUF_CONFLICT_WITH_OTHERS: all other users together, no two of which
 *	conflict
 * @DMA_BUF_CONFLICT_WITH_ITSELF: its own other needs, and the buffer's length
 */
enum dma_buf_conflict_with {
	DMA_BUF_CONFLICT_WITH_USER = 1,
	DMA_BUF_CONFLICT_WITH_OTHERS,
	DMA_BUF_CONFLICT_WITH_ITSELF,
};

/**
 * struct dma_buf_conflict - why a device cannot share a buffer
 * @field: an &enum dma_buf_constraints_field
 * @with: an &enum dma_buf_conflict_with
 * @wanted: what the refused device needs in that field
 * @found: what stands against it: what the other user needs, or the least that
 *	its own other needs leave
 * @who: the refused device
 * @other: the other user with %DMA_BUF_CONFLICT_WITH_USER, otherwise empty
 */
struct dma_buf_conflict {
	u32 field;
	u32 with;
	u64 wanted;
	u64 found;
	char who[DMA_BUF_CONSTRAINTS_NAME_LEN];
	char other[DMA_BUF_CONSTRAINTS_NAME_LEN];
};

struct dma_buf_constraints_set;
struct dma_buf_constraints_user;

/**
 * dma_buf_constraints_declare() - say what a device needs of shared buffers
 * @dev: the device; its driver is bound or being bound
 * @constraints: what it needs beyond what struct device tells, or NULL for
 *	nothing; copied
 *
 * For the driver of @dev, from its probe until its remove returns. The declaration
 * replaces an earlier one and is gone when the driver has unbound, or its probe has
 * failed. Buffers that the device has already attached to keep what was valid
 * then.
 *
 * Context: Process context, may sleep.
 * Return: 0; -EINVAL where a field makes no sense (an alignment or a boundary
 * that is no power of two, a segment size or a boundary below a page); -ENODEV for a
 * device that no driver is bound to or that is on no bus; -EPROBE_DEFER where the
 * module is built in and has not started yet; -ENOMEM.
 */
int dma_buf_constraints_declare(struct device *dev,
				const struct dma_buf_constraints *constraints);

/**
 * dma_buf_constraints_query() - tell what a device needs of shared buffers
 * @dev: the device
 * @constraints: filled in; 0 in a field where the device does not care
 *
 * Combines the facts of struct device (DMA mask, bus limit, IOMMU, DMA
 * parameters) with what was declared and what the administrator says of it, or
 * else what it inherits from its nearest ancestor of which anything is said.
 *
 * Context: Process context, may sleep. The device's driver is bound and does not
 * unbind meanwhile.
 */
void dma_buf_constraints_query(struct device *dev,
			       struct dma_buf_constraints *constraints);

/**
 * dma_buf_constraints_set_alloc() - make the set of users of one buffer
 * @base: what the buffer needs whoever uses it, or NULL for nothing
 * @len: the buffer's length in bytes
 *
 * For an exporter, one set a buffer. No function locks a set: the exporter
 * serialises all calls for it, normally by the buffer's reservation lock.
 *
 * Context: Process context, may sleep.
 * Return: the set, or an ERR_PTR: -EINVAL where a field of @base makes no sense
 * or @len is 0, -ENOMEM.
 */
struct dma_buf_constraints_set *
dma_buf_constraints_set_alloc(const struct dma_buf_constraints *base, u64 len);

/**
 * dma_buf_constraints_set_free() - free a set
 * @set: from dma_buf_constraints_set_alloc(); devices may still be in it; NULL
 *	is allowed
 *
 * Context: Process context, may sleep.
 */
void dma_buf_constraints_set_free(struct dma_buf_constraints_set *set);

/**
 * dma_buf_constraints_admit() - add a device to the users of a buffer
 * @set: the buffer's users
 * @dev: the device; the set takes a reference
 * @conflict: filled in when -EINVAL is returned; may be NULL
 *
 * To be called from &dma_buf_ops.attach. A refused device leaves the set exactly
 * as it was. A device without a DMA mask is admitted and adds nothing; it cannot map.
 *
 * Context: Process context, may sleep; the exporter holds the lock of the set.
 * A driver is bound to the device during the call, as to any that is being attached.
 * What struct device tells is taken as it is then.
 * Return: the user, for dma_buf_attachment.priv, valid until it is released or the
 * set is freed; or an ERR_PTR: -EINVAL where nothing satisfies all users; -ENOMEM,
 * also for more than 4096 users.
 */
struct dma_buf_constraints_user *
dma_buf_constraints_admit(struct dma_buf_constraints_set *set,
			  struct device *dev,
			  struct dma_buf_conflict *conflict);

/**
 * dma_buf_constraints_consider() - tell what all would need with one more device
 * @set: the buffer's users
 * @dev: the device
 * @meet: filled in when 0 is returned, as by dma_buf_constraints_meet()
 * @conflict: filled in when -EINVAL is returned; may be NULL
 *
 * For an exporter that has the memory already, before it admits @dev: the memory
 * has to suit @meet, since with @dev second choices may begin to count, also those
 * of devices that are in the set. Nothing changes by this call.
 *
 * Context: As dma_buf_constraints_admit().
 * Return: 0; -EINVAL as dma_buf_constraints_admit(); -ENOMEM.
 */
int dma_buf_constraints_consider(const struct dma_buf_constraints_set *set,
				 struct device *dev,
				 struct dma_buf_constraints *meet,
				 struct dma_buf_conflict *conflict);

/**
 * dma_buf_constraints_release() - take a device from the users of a buffer
 * @set: the buffer's users
 * @user: from dma_buf_constraints_admit(); NULL and an ERR_PTR are ignored
 * @has_memory: whether the buffer has memory
 *
 * What all need is computed anew from who remains, but for second choices: those
 * that counted when the memory was chosen count as long as there is memory.
 *
 * Context: Process context; the exporter holds the lock of the set.
 */
void dma_buf_constraints_release(struct dma_buf_constraints_set *set,
				 struct dma_buf_constraints_user *user,
				 bool has_memory);

/**
 * dma_buf_constraints_map() - map a buffer's memory for a device in its set
 * @set: the buffer's users
 * @user: from dma_buf_constraints_admit()
 * @ranges: the memory, in the order of the buffer's bytes: whole pages that have
 *	struct pages. Ranges that are adjacent count as one
 * @count: how many @ranges there are
 * @dir: the direction of the DMA
 *
 * What &dma_buf_ops.map_dma_buf returns. The table is cut by what the device needs,
 * with its second choice where that counts, and by what the DMA API allows: no
 * segment is longer than dma_get_max_seg_size(), unless the device takes fewer
 * segments than that makes. Behind an IOMMU the memory is one range of DMA addresses,
 * wherever it lies, which is aligned and cut as the device needs it.
 *
 * Each call makes a table, which belongs to the set: dma_buf_constraints_unmap() frees
 * it, or else what takes the user from the set. The exporter reads its DMA addresses
 * and lengths only (for_each_sgtable_dma_sg()), since its entries may have no pages,
 * and makes no calls of the DMA API for it: see dma_buf_constraints_sync(). The memory
 * stays until then.
 *
 * Context: Process context, may sleep; the exporter holds the lock of the set. The
 * device's driver is bound until all is unmapped, as importers have to see to.
 * Return: the table, or an ERR_PTR: -EINVAL for a user of another set, where
 * @count is 0, a range is empty or not of whole pages, @dir is %DMA_NONE, or the
 * memory is not what the device needs (its class and caching are not known here);
 * -ENODEV for a device without a DMA mask; -EIO where the DMA layer would bounce the
 * memory, and other errors of dma_map_sgtable(); -ENOMEM, also where the device is
 * out of DMA addresses.
 */
struct sg_table *dma_buf_constraints_map(struct dma_buf_constraints_set *set,
					 const struct dma_buf_constraints_user *user,
					 const struct phys_vec *ranges, size_t count,
					 enum dma_data_direction dir);

/**
 * dma_buf_constraints_unmap() - unmap a table, and free it
 * @set: the buffer's users
 * @user: the user that it was mapped for
 * @table: from dma_buf_constraints_map(); anything else is ignored
 *
 * What &dma_buf_ops.unmap_dma_buf does.
 *
 * Context: Process context; the exporter holds the lock of the set.
 */
void dma_buf_constraints_unmap(struct dma_buf_constraints_set *set,
			       const struct dma_buf_constraints_user *user,
			       struct sg_table *table);

/**
 * dma_buf_constraints_sync() - make writes visible where a buffer is mapped
 * @set: the buffer's users
 * @to_device: the devices are to see what the CPU wrote; otherwise the CPU is to
 *	see what they wrote
 *
 * For &dma_buf_ops.begin_cpu_access, with @to_device false, and
 * &dma_buf_ops.end_cpu_access, with true. Goes through all that is mapped.
 *
 * Context: Process context, may sleep; the exporter holds the lock of the set.
 */
void dma_buf_constraints_sync(const struct dma_buf_constraints_set *set,
			      bool to_device);

/**
 * dma_buf_constraints_meet() - tell what all users of a buffer need together
 * @set: the buffer's users
 * @meet: filled in; 0 in a field where nobody cares
 *
 * Segment size and boundary bind each device's own table; here they are those
 * of a table that would serve all. Of a device behind an IOMMU only @access_mask
 * and @coherent bind the memory, and are here: what else it needs binds how the
 * exporter maps it.
 *
 * Context: The exporter holds the lock of the set.
 */
void dma_buf_constraints_meet(const struct dma_buf_constraints_set *set,
			      struct dma_buf_constraints *meet);

/**
 * dma_buf_conflict_format() - put a conflict into words
 * @conflict: from dma_buf_constraints_admit()
 * @buf: filled with one line, without a newline, that ends in NUL
 * @size: of @buf in bytes
 *
 * Context: Any.
 * Return: the length of the line in @buf, without the NUL.
 */
size_t dma_buf_conflict_format(const struct dma_buf_conflict *conflict,
			       char *buf, size_t size);

#endif /* _LINUX_DMA_BUF_CONSTRAINTS_H */
