// SPDX-License-Identifier: GPL-2.0
/*
 * How an exporter of dma-bufs that is written in C learns what the users of a
 * buffer need, and refuses who cannot take part: linux/dma-buf-constraints.h.
 *
 * Each buffer is one range of pages that is allocated when it is first mapped. By
 * then all users should be attached, so that the range can suit them all:
 *
 *	attach		dma_buf_constraints_admit(), or a refusal in words;
 *			with memory, dma_buf_constraints_consider() before
 *	first map	dma_buf_constraints_meet(), to choose the memory
 *	each map	dma_buf_constraints_map()
 *	CPU access	dma_buf_constraints_sync()
 *	unmap		dma_buf_constraints_unmap()
 *	detach		dma_buf_constraints_release()
 *
 * The reservation lock of the dma-buf protects all of a buffer. The CPU cannot
 * map it, to keep to the point. /dev/cenalloc_c_exporter makes buffers; its
 * calls are documented in cenalloc_c_exporter.h.
 */

#include <linux/dma-buf.h>
#include <linux/dma-buf-constraints.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/file.h>
#include <linux/gfp.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "../cenalloc_c_exporter.h"

/**
 * struct buffer - a buffer
 * @users: who is attached, and what they need together
 * @len: bytes, whole pages
 * @pages: the memory, or NULL as long as nobody has mapped it
 * @order: of @pages
 * @refusal: why a device was refused last
 */
struct buffer {
	struct dma_buf_constraints_set *users;
	u64 len;
	struct page *pages;
	unsigned int order;
	char refusal[EXPORTER_REASON_LEN];
};

/* Whether a range of memory is what @needs asks for. */
static bool suits(const struct buffer *buffer, struct page *pages,
		  const struct dma_buf_constraints *needs)
{
	phys_addr_t start = page_to_phys(pages);

	/* The page allocator's memory is cached. */
	if (needs->coherent)
		return false;
	if (needs->max_address && start + buffer->len - 1 > needs->max_address)
		return false;
	return !needs->alignment || IS_ALIGNED(start, needs->alignment);
}

/* Gives the buffer memory that suits everybody who is attached. */
static int allocate(struct buffer *buffer)
{
	gfp_t gfp = GFP_KERNEL | __GFP_ZERO | __GFP_COMP | __GFP_NOWARN;
	struct dma_buf_constraints needs;
	unsigned int order;
	struct page *pages;

	dma_buf_constraints_meet(buffer->users, &needs);
	/* Zones are coarse; whether the pages are low enough is seen below. */
	if (needs.max_address && needs.max_address < DMA_BIT_MASK(32))
		gfp |= GFP_DMA;
	else if (needs.max_address)
		gfp |= GFP_DMA32;
	/* A range of the page allocator is aligned to its own length. */
	order = get_order(max(buffer->len, needs.alignment));
	if (order > MAX_PAGE_ORDER)
		return -ENOMEM;

	pages = alloc_pages(gfp, order);
	if (!pages)
		return -ENOMEM;
	if (!suits(buffer, pages, &needs)) {
		__free_pages(pages, order);
		return -ENOMEM;
	}
	buffer->pages = pages;
	buffer->order = order;
	return 0;
}

static int buffer_attach(struct dma_buf *dmabuf,
			 struct dma_buf_attachment *attachment)
{
	struct buffer *buffer = dmabuf->priv;
	struct dma_buf_constraints needs;
	struct dma_buf_conflict conflict;
	struct dma_buf_constraints_user *user;
	int ret;

	dma_resv_lock(dmabuf->resv, NULL);
	ret = dma_buf_constraints_consider(buffer->users, attachment->dev,
					   &needs, &conflict);
	if (!ret && buffer->pages && !suits(buffer, buffer->pages, &needs)) {
		/* It came late: the memory has been chosen without it. */
		snprintf(buffer->refusal, sizeof(buffer->refusal),
			 "%s cannot use the memory that is there already",
			 dev_name(attachment->dev));
		ret = -EBUSY;
	}
	if (!ret) {
		user = dma_buf_constraints_admit(buffer->users, attachment->dev,
						 &conflict);
		ret = PTR_ERR_OR_ZERO(user);
	}
	if (ret == -EINVAL)
		dma_buf_conflict_format(&conflict, buffer->refusal,
					sizeof(buffer->refusal));
	if (!ret)
		attachment->priv = user;
	dma_resv_unlock(dmabuf->resv);

	return ret;
}

static void buffer_detach(struct dma_buf *dmabuf,
			  struct dma_buf_attachment *attachment)
{
	struct buffer *buffer = dmabuf->priv;

	dma_resv_lock(dmabuf->resv, NULL);
	dma_buf_constraints_release(buffer->users, attachment->priv, buffer->pages);
	dma_resv_unlock(dmabuf->resv);
}

/* The core holds the reservation lock here and in buffer_unmap(). */
static struct sg_table *buffer_map(struct dma_buf_attachment *attachment,
				   enum dma_data_direction direction)
{
	struct buffer *buffer = attachment->dmabuf->priv;
	struct phys_vec memory = { .len = buffer->len };
	int ret = buffer->pages ? 0 : allocate(buffer);

	if (ret)
		return ERR_PTR(ret);
	memory.paddr = page_to_phys(buffer->pages);
	return dma_buf_constraints_map(buffer->users, attachment->priv, &memory, 1,
				       direction);
}

static void buffer_unmap(struct dma_buf_attachment *attachment,
			 struct sg_table *table,
			 enum dma_data_direction direction)
{
	struct buffer *buffer = attachment->dmabuf->priv;

	dma_buf_constraints_unmap(buffer->users, attachment->priv, table);
}

static int buffer_sync(struct dma_buf *dmabuf, bool to_device)
{
	struct buffer *buffer = dmabuf->priv;

	dma_resv_lock(dmabuf->resv, NULL);
	dma_buf_constraints_sync(buffer->users, to_device);
	dma_resv_unlock(dmabuf->resv);
	return 0;
}

static int buffer_begin_cpu_access(struct dma_buf *dmabuf,
				   enum dma_data_direction direction)
{
	return buffer_sync(dmabuf, false);
}

static int buffer_end_cpu_access(struct dma_buf *dmabuf,
				 enum dma_data_direction direction)
{
	return buffer_sync(dmabuf, true);
}

static void buffer_free(struct buffer *buffer)
{
	dma_buf_constraints_set_free(buffer->users);
	if (buffer->pages)
		__free_pages(buffer->pages, buffer->order);
	kfree(buffer);
}

static void buffer_release(struct dma_buf *dmabuf)
{
	buffer_free(dmabuf->priv);
}

static const struct dma_buf_ops buffer_ops = {
	.attach = buffer_attach,
	.detach = buffer_detach,
	.map_dma_buf = buffer_map,
	.unmap_dma_buf = buffer_unmap,
	.begin_cpu_access = buffer_begin_cpu_access,
	.end_cpu_access = buffer_end_cpu_access,
	.release = buffer_release,
};

static struct dma_buf *
buffer_create(u64 len, const struct dma_buf_constraints *base)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct buffer *buffer;
	struct dma_buf *dmabuf;

	if (!len || len > PAGE_SIZE << MAX_PAGE_ORDER)
		return ERR_PTR(-EINVAL);
	buffer = kzalloc_obj(*buffer);
	if (!buffer)
		return ERR_PTR(-ENOMEM);
	buffer->len = PAGE_ALIGN(len);
	buffer->users = dma_buf_constraints_set_alloc(base, buffer->len);
	if (IS_ERR(buffer->users)) {
		dmabuf = ERR_CAST(buffer->users);
		kfree(buffer);
		return dmabuf;
	}

	info.ops = &buffer_ops;
	info.size = buffer->len;
	info.flags = O_RDWR;
	info.priv = buffer;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf))
		buffer_free(buffer);
	return dmabuf;
}

static int from_user(struct dma_buf_constraints *to,
		     const struct exporter_constraints *from)
{
	*to = (struct dma_buf_constraints) {
		.access_mask = from->access_mask,
		.max_address = from->max_address,
		.max_segment_size = from->max_segment_size,
		.segment_boundary_mask = from->segment_boundary_mask,
		.alignment = from->alignment,
		.max_segments = from->max_segments,
		.priority = from->priority,
		.coherent = from->coherent,
	};
	return from->coherent > 1 || from->reserved ? -EINVAL : 0;
}

static void to_user(struct exporter_constraints *to,
		    const struct dma_buf_constraints *from)
{
	*to = (struct exporter_constraints) {
		.access_mask = from->access_mask,
		.max_address = from->max_address,
		.max_segment_size = from->max_segment_size,
		.segment_boundary_mask = from->segment_boundary_mask,
		.alignment = from->alignment,
		.max_segments = from->max_segments,
		.priority = from->priority,
		.coherent = from->coherent,
	};
}

static int exporter_create(struct exporter_create __user *user)
{
	struct dma_buf_constraints base;
	struct exporter_create create;
	struct dma_buf *dmabuf;
	int ret;

	if (copy_from_user(&create, user, sizeof(create)))
		return -EFAULT;
	ret = from_user(&base, &create.base);
	if (ret || create.reserved)
		return -EINVAL;

	dmabuf = buffer_create(create.len, &base);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	ret = get_unused_fd_flags(O_CLOEXEC);
	if (ret < 0)
		goto put_buffer;
	create.fd = ret;
	ret = -EFAULT;
	if (copy_to_user(user, &create, sizeof(create)))
		goto put_fd;
	/* Another thread may close it from now on. */
	dma_buf_fd_install(dmabuf, create.fd);
	return 0;

put_fd:
	put_unused_fd(create.fd);
put_buffer:
	dma_buf_put(dmabuf);
	return ret;
}

static int exporter_state(struct exporter_state __user *user)
{
	struct exporter_state state = {};
	struct dma_buf_constraints meet;
	struct dma_buf *dmabuf;
	struct buffer *buffer;

	if (get_user(state.fd, &user->fd))
		return -EFAULT;
	dmabuf = dma_buf_get(state.fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	if (dmabuf->ops != &buffer_ops) {
		dma_buf_put(dmabuf);
		return -EINVAL;
	}
	buffer = dmabuf->priv;

	dma_resv_lock(dmabuf->resv, NULL);
	dma_buf_constraints_meet(buffer->users, &meet);
	to_user(&state.meet, &meet);
	if (buffer->pages) {
		state.has_memory = 1;
		state.address = page_to_phys(buffer->pages);
	}
	strscpy(state.refusal, buffer->refusal);
	dma_resv_unlock(dmabuf->resv);

	dma_buf_put(dmabuf);
	return copy_to_user(user, &state, sizeof(state)) ? -EFAULT : 0;
}

/* Reads a request on a device, and finds that. */
static struct device *find(struct exporter_device *request,
			   const struct exporter_device __user *user)
{
	struct device *dev;

	if (copy_from_user(request, user, sizeof(*request)))
		return ERR_PTR(-EFAULT);
	if (strnlen(request->name, sizeof(request->name)) ==
	    sizeof(request->name))
		return ERR_PTR(-EINVAL);
	dev = bus_find_device_by_name(&platform_bus_type, NULL, request->name);
	return dev ?: ERR_PTR(-ENODEV);
}

static int exporter_query(struct exporter_device __user *user)
{
	struct dma_buf_constraints constraints;
	struct exporter_device request;
	struct device *dev;
	bool is_bound;

	dev = find(&request, user);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	/* A driver asks while it is bound. */
	device_lock(dev);
	is_bound = dev->driver;
	if (is_bound)
		dma_buf_constraints_query(dev, &constraints);
	device_unlock(dev);
	put_device(dev);
	if (!is_bound)
		return -ENODEV;
	to_user(&request.constraints, &constraints);
	return copy_to_user(user, &request, sizeof(request)) ? -EFAULT : 0;
}

static int exporter_declare(const struct exporter_device __user *user)
{
	struct dma_buf_constraints constraints;
	struct exporter_device request;
	struct device *dev;
	int ret;

	dev = find(&request, user);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	ret = from_user(&constraints, &request.constraints);
	if (!ret) {
		/* A driver does this in its probe, where the lock is held. */
		device_lock(dev);
		ret = dma_buf_constraints_declare(dev, &constraints);
		device_unlock(dev);
	}
	put_device(dev);
	return ret;
}

static long exporter_ioctl(struct file *file, unsigned int cmd,
			   unsigned long arg)
{
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case EXPORTER_CREATE:
		return exporter_create(user);
	case EXPORTER_STATE:
		return exporter_state(user);
	case EXPORTER_QUERY:
		return exporter_query(user);
	case EXPORTER_DECLARE:
		return exporter_declare(user);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations exporter_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = exporter_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice exporter = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "cenalloc_c_exporter",
	.fops = &exporter_fops,
};
module_misc_device(exporter);

MODULE_DESCRIPTION("Test exporter of dma-bufs in C, with constraints");
MODULE_AUTHOR("The cenalloc developers");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
