// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/cenalloc_c_importer: the sequence in single steps, so that one can stand
 * between any two. Its calls are documented in cenalloc_c_importer.h;
 * what a driver does is in sequence.c and devices.c.
 */

#include <linux/cenalloc.h>
#include <linux/dma-buf-constraints.h>
#include <linux/dma-buf.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/iosys-map.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "c_importer.h"

/**
 * struct share - what a device has of the buffer
 * @attachment: NULL where it is not attached
 * @table: NULL where it is not mapped
 */
struct share {
	struct dma_buf_attachment *attachment;
	struct sg_table *table;
};

/**
 * struct opened - an open file
 * @lock: for what follows
 * @dmabuf: the buffer, or NULL
 * @created: whether it was made here; otherwise it was taken
 * @address: where the kernel has it mapped, or none
 * @shares: one a device
 */
struct opened {
	struct mutex lock;	/* for what follows */
	struct dma_buf *dmabuf;
	bool created;
	struct iosys_map address;
	struct share shares[C_IMPORTER_DEVICES];
};

static void unmap(struct share *share)
{
	if (!share->table)
		return;
	dma_buf_unmap_attachment_unlocked(share->attachment, share->table,
					  DMA_BIDIRECTIONAL);
	share->table = NULL;
}

static void detach(struct opened *opened, struct share *share)
{
	unmap(share);
	if (!share->attachment)
		return;
	dma_buf_detach(opened->dmabuf, share->attachment);
	share->attachment = NULL;
}

static void detach_all(struct opened *opened)
{
	int i;

	for (i = 0; i < C_IMPORTER_DEVICES; i++)
		detach(opened, &opened->shares[i]);
}

/* --- The buffer ----------------------------------------------------------- */

static int run(struct c_importer_run __user *user)
{
	struct c_importer_run run;
	int ret;

	if (copy_from_user(&run, user, sizeof(run)))
		return -EFAULT;
	if (run.len > SIZE_MAX || run.align > SIZE_MAX)
		return -EINVAL;
	memset(run.seen, 0, sizeof(run.seen));
	ret = sequence_run(&run);
	if (ret)
		return ret;
	return copy_to_user(user, &run, sizeof(run)) ? -EFAULT : 0;
}

static int keep(struct opened *opened, struct dma_buf *dmabuf, bool created)
{
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	opened->dmabuf = dmabuf;
	opened->created = created;
	return 0;
}

static int create(struct opened *opened, struct c_importer_create __user *user)
{
	struct cenalloc_device *cenalloc = cenalloc_get_device();
	struct c_importer_create create;

	if (IS_ERR(cenalloc))
		return PTR_ERR(cenalloc);
	if (copy_from_user(&create, user, sizeof(create)))
		return -EFAULT;
	if (create.len > SIZE_MAX || create.align > SIZE_MAX ||
	    create.flags > ULONG_MAX ||
	    strnlen(create.name, sizeof(create.name)) == sizeof(create.name))
		return -EINVAL;
	return keep(opened, cenalloc_buffer_create(cenalloc, create.len,
						   create.align, create.flags,
						   create.name),
		    true);
}

static int export(struct opened *opened)
{
	int fd;

	/* The descriptor takes a reference of its own. */
	get_dma_buf(opened->dmabuf);
	fd = dma_buf_fd(opened->dmabuf, O_CLOEXEC);
	if (fd < 0)
		dma_buf_put(opened->dmabuf);
	return fd;
}

static int kernel_map(struct opened *opened)
{
	if (!iosys_map_is_null(&opened->address))
		return -EBUSY;
	return dma_buf_vmap_unlocked(opened->dmabuf, &opened->address);
}

static int kernel_unmap(struct opened *opened)
{
	if (iosys_map_is_null(&opened->address))
		return -EINVAL;
	dma_buf_vunmap_unlocked(opened->dmabuf, &opened->address);
	iosys_map_clear(&opened->address);
	return 0;
}

/* Gives the buffer back, if there is one, in the way of where it came from. */
static void free_buffer(struct opened *opened)
{
	detach_all(opened);
	kernel_unmap(opened);
	if (opened->created)
		cenalloc_buffer_free(opened->dmabuf);
	else if (opened->dmabuf)
		dma_buf_put(opened->dmabuf);
	opened->dmabuf = NULL;
	opened->created = false;
}

/* --- Devices -------------------------------------------------------------- */

static int attach(struct opened *opened, unsigned int number)
{
	struct share *share = &opened->shares[number];
	struct dma_buf_attachment *attachment;

	if (share->attachment)
		return -EBUSY;
	attachment = dma_buf_attach(opened->dmabuf, device_of(number));
	if (IS_ERR(attachment))
		return PTR_ERR(attachment);
	share->attachment = attachment;
	return 0;
}

static int map(struct opened *opened, struct c_importer_map __user *user)
{
	struct c_importer_map map;
	struct sg_table *table;
	struct share *share;
	int ret;

	if (copy_from_user(&map, user, sizeof(map)))
		return -EFAULT;
	if (map.reserved || map.device >= C_IMPORTER_DEVICES)
		return -EINVAL;
	share = &opened->shares[map.device];
	if (!share->attachment)
		return -EINVAL;
	if (share->table)
		return -EBUSY;

	table = dma_buf_map_attachment_unlocked(share->attachment,
						DMA_BIDIRECTIONAL);
	if (IS_ERR(table))
		return PTR_ERR(table);
	share->table = table;
	ret = device_look(map.device, table, &map.seen);
	if (!ret && copy_to_user(user, &map, sizeof(map)))
		ret = -EFAULT;
	if (ret)
		unmap(share);
	return ret;
}

static int declare(struct opened *opened, struct c_importer_declare __user *user)
{
	struct c_importer_declare declare;
	struct dma_buf_constraints needs;
	int ret;

	if (copy_from_user(&declare, user, sizeof(declare)))
		return -EFAULT;
	if (declare.has_needs > 1 || declare.device >= C_IMPORTER_DEVICES)
		return -EINVAL;
	needs = (struct dma_buf_constraints) {
		.access_mask = declare.access_mask,
		.max_address = declare.max_address,
		.max_segments = declare.max_segments,
	};
	ret = cenalloc_buffer_declare(opened->dmabuf, device_of(declare.device),
				      declare.has_needs ? &needs : NULL, &declare.refusal);
	return copy_to_user(user, &declare, sizeof(declare)) ? -EFAULT : ret;
}

/* @user is NULL for a driver that does not ask why. */
static int allocate(struct opened *opened, struct cenalloc_refusal __user *user)
{
	struct cenalloc_refusal refusal;
	int ret;

	if (!user)
		return cenalloc_buffer_allocate(opened->dmabuf, NULL);
	ret = cenalloc_buffer_allocate(opened->dmabuf, &refusal);
	return copy_to_user(user, &refusal, sizeof(refusal)) ? -EFAULT : ret;
}

/* The calls that have the number of a device for an argument. */
static int of_device(struct opened *opened, unsigned int cmd, unsigned long number)
{
	struct share *share;

	if (number >= C_IMPORTER_DEVICES)
		return -EINVAL;
	share = &opened->shares[number];
	switch (cmd) {
	case C_IMPORTER_ATTACH:
		return attach(opened, number);
	case C_IMPORTER_DETACH:
		if (!share->attachment)
			return -EINVAL;
		detach(opened, share);
		return 0;
	default:
		if (!share->table)
			return -EINVAL;
		unmap(share);
		return 0;
	}
}

/* --- What cenalloc tells of the memory ------------------------------------ */

static int phys(struct opened *opened, struct c_importer_phys __user *user)
{
	struct c_importer_phys phys;
	phys_addr_t addr;
	size_t len;
	int ret;

	if (copy_from_user(&phys, user, sizeof(phys)))
		return -EFAULT;
	addr = phys.addr;
	len = phys.len;
	ret = cenalloc_phys(opened->dmabuf, &addr, &len);
	phys.addr = addr;
	phys.len = len;
	return copy_to_user(user, &phys, sizeof(phys)) ? -EFAULT : ret;
}

static void look_at_pages(struct sg_table *table, struct c_importer_seen *seen)
{
	struct scatterlist *sg;
	int i;

	*seen = (struct c_importer_seen) {
		.first_address = sg_phys(table->sgl),
	};
	for_each_sgtable_sg(table, sg, i) {
		seen->len += sg->length;
		seen->largest = max_t(u64, seen->largest, sg->length);
		seen->last_address = max_t(u64, seen->last_address,
					   sg_phys(sg) + sg->length - 1);
		seen->segments++;
	}
}

/* Reads through the pages; returns how many bytes there were, or an error. */
static ssize_t read_pages(struct sg_table *table, const struct c_importer_pages *pages)
{
	size_t len = min_t(u64, pages->len, PAGE_SIZE);
	void *bytes = kmalloc(len ?: 1, GFP_KERNEL);
	ssize_t ret;

	if (!bytes)
		return -ENOMEM;
	ret = sg_pcopy_to_buffer(table->sgl, table->orig_nents, bytes, len,
				 pages->offset);
	if (copy_to_user(u64_to_user_ptr(pages->bytes), bytes, ret))
		ret = -EFAULT;
	kfree(bytes);
	return ret;
}

static int pages(struct opened *opened, struct c_importer_pages __user *user)
{
	struct c_importer_pages pages;
	struct sg_table *table;
	ssize_t got = 0;

	if (copy_from_user(&pages, user, sizeof(pages)))
		return -EFAULT;
	if (pages.offset > LONG_MAX)
		return -EINVAL;
	table = cenalloc_sg_table(opened->dmabuf);
	if (IS_ERR(table))
		return PTR_ERR(table);
	if (pages.bytes)
		got = read_pages(table, &pages);
	if (got < 0)
		return got;
	pages.len = got;
	look_at_pages(table, &pages.seen);
	return copy_to_user(user, &pages, sizeof(pages)) ? -EFAULT : 0;
}

/* --- What nobody should do ------------------------------------------------ */

/* What a call that returns a buffer says to a device that is none. */
static int create_with(struct cenalloc_device *cenalloc)
{
	struct dma_buf *dmabuf = cenalloc_buffer_create(cenalloc, PAGE_SIZE, 0, O_RDWR, NULL);

	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	cenalloc_buffer_free(dmabuf);
	return 0;
}

static int free_foreign(struct opened *opened)
{
	/* Of this one it would give back the reference, which the file needs. */
	if (!strcmp(opened->dmabuf->exp_name, "cenalloc"))
		return -EINVAL;
	cenalloc_buffer_free(opened->dmabuf);
	return 0;
}

static int misuse(unsigned long what)
{
	struct dma_buf *error = ERR_PTR(-ENOMEM);
	phys_addr_t addr;
	size_t len;

	switch (what) {
	case C_IMPORTER_FREE_NULL:
		cenalloc_buffer_free(NULL);
		return 0;
	case C_IMPORTER_FREE_ERROR:
		cenalloc_buffer_free(error);
		return 0;
	case C_IMPORTER_PHYS_NULL:
		return cenalloc_phys(NULL, &addr, &len);
	case C_IMPORTER_PHYS_ERROR:
		return cenalloc_phys(error, &addr, &len);
	case C_IMPORTER_SG_TABLE_NULL:
		return PTR_ERR_OR_ZERO(cenalloc_sg_table(NULL));
	case C_IMPORTER_SG_TABLE_ERROR:
		return PTR_ERR_OR_ZERO(cenalloc_sg_table(error));
	case C_IMPORTER_CREATE_NULL:
		return create_with(NULL);
	case C_IMPORTER_CREATE_ERROR:
		return create_with(ERR_PTR(-EPROBE_DEFER));
	case C_IMPORTER_DECLARE_NULL:
		return cenalloc_buffer_declare(NULL, device_of(C_IMPORTER_CODEC), NULL, NULL);
	case C_IMPORTER_DECLARE_ERROR:
		return cenalloc_buffer_declare(error, device_of(C_IMPORTER_CODEC), NULL, NULL);
	case C_IMPORTER_ALLOCATE_NULL:
		return cenalloc_buffer_allocate(NULL, NULL);
	case C_IMPORTER_ALLOCATE_ERROR:
		return cenalloc_buffer_allocate(error, NULL);
	default:
		return -EINVAL;
	}
}

/* --- The file ------------------------------------------------------------- */

/* The calls that need a buffer. */
static long with_buffer(struct opened *opened, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;

	if (!opened->dmabuf)
		return -ENODATA;
	switch (cmd) {
	case C_IMPORTER_EXPORT:
		return export(opened);
	case C_IMPORTER_ATTACH:
	case C_IMPORTER_DETACH:
	case C_IMPORTER_UNMAP:
		return of_device(opened, cmd, arg);
	case C_IMPORTER_MAP:
		return map(opened, user);
	case C_IMPORTER_FILL:
		return arg > U8_MAX ? -EINVAL : sequence_fill(opened->dmabuf, arg);
	case C_IMPORTER_PHYS:
		return phys(opened, user);
	case C_IMPORTER_PAGES:
		return pages(opened, user);
	case C_IMPORTER_DECLARE:
		return declare(opened, user);
	case C_IMPORTER_ALLOCATE:
		return allocate(opened, user);
	case C_IMPORTER_VMAP:
		return kernel_map(opened);
	case C_IMPORTER_VUNMAP:
		return kernel_unmap(opened);
	case C_IMPORTER_FREE:
		free_buffer(opened);
		return 0;
	case C_IMPORTER_FREE_FOREIGN:
		return free_foreign(opened);
	default:
		return -ENOTTY;
	}
}

static long locked_ioctl(struct opened *opened, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case C_IMPORTER_CREATE:
		if (opened->dmabuf)
			return -EBUSY;
		return create(opened, (void __user *)arg);
	case C_IMPORTER_TAKE:
		if (opened->dmabuf)
			return -EBUSY;
		return arg > INT_MAX ? -EBADF : keep(opened, dma_buf_get(arg), false);
	default:
		return with_buffer(opened, cmd, arg);
	}
}

static long importer_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct opened *opened = file->private_data;
	long ret;

	switch (cmd) {
	case C_IMPORTER_RUN:
		return run((void __user *)arg);
	case C_IMPORTER_MISUSE:
		return misuse(arg);
	}
	ret = mutex_lock_interruptible(&opened->lock);
	if (ret)
		return ret;
	ret = locked_ioctl(opened, cmd, arg);
	mutex_unlock(&opened->lock);
	return ret;
}

static int importer_open(struct inode *inode, struct file *file)
{
	struct opened *opened = kzalloc_obj(*opened);

	if (!opened)
		return -ENOMEM;
	mutex_init(&opened->lock);
	file->private_data = opened;
	return 0;
}

static int importer_release(struct inode *inode, struct file *file)
{
	struct opened *opened = file->private_data;

	free_buffer(opened);
	mutex_destroy(&opened->lock);
	kfree(opened);
	return 0;
}

static const struct file_operations importer_fops = {
	.owner = THIS_MODULE,
	.open = importer_open,
	.release = importer_release,
	.unlocked_ioctl = importer_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice importer = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "cenalloc_c_importer",
	.fops = &importer_fops,
};

static int __init importer_init(void)
{
	int ret;

	ret = devices_register();
	if (ret)
		return ret;
	ret = misc_register(&importer);
	if (ret)
		devices_unregister();
	return ret;
}
module_init(importer_init);

static void __exit importer_exit(void)
{
	misc_deregister(&importer);
	devices_unregister();
}
module_exit(importer_exit);

MODULE_DESCRIPTION("Test importer of cenalloc's buffers in C");
MODULE_AUTHOR("The cenalloc developers");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
