// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/cenalloc_c_allocator: adds allocators and removes them. Its calls are
 * documented in cenalloc_c_allocator.h; what an allocator does is in
 * plain.c and pieces.c.
 */

#include <linux/cenalloc.h>
#include <linux/cleanup.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/time64.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "faulty.h"

static struct cenalloc_device *cenalloc;

static unsigned int coming;
module_param(coming, uint, 0444);
MODULE_PARM_DESC(coming, "Milliseconds that the module still initializes with an allocator added");

static unsigned int going;
module_param(going, uint, 0444);
MODULE_PARM_DESC(going, "Milliseconds that the module exits with its allocators still there");

/* All allocators that were added, by handle. */
static DEFINE_XARRAY_ALLOC(allocators);

/* Taken by who uses the table, and whatever is in it. */
static DEFINE_MUTEX(lock);

static bool ends_in_nul(const char *text, size_t size)
{
	return strnlen(text, size) < size;
}

/* Adds an allocator to the table and to cenalloc, and tells @user its handle. */
static int add_new(struct c_allocator_add *add, struct c_allocator_add __user *user)
{
	struct faulty *faulty = kzalloc_obj(*faulty);
	int ret;

	if (!faulty)
		return -ENOMEM;
	faulty_init(faulty, add);
	ret = xa_alloc(&allocators, &add->handle, faulty, xa_limit_31b, GFP_KERNEL);
	if (ret)
		goto free;
	/* First, since an allocator that gave memory meanwhile could not be removed. */
	ret = -EFAULT;
	if (copy_to_user(user, add, sizeof(*add)))
		goto forget;
	ret = cenalloc_device_add_allocator(cenalloc, &faulty->allocator);
	if (ret)
		goto forget;
	return 0;

forget:
	xa_erase(&allocators, add->handle);
free:
	kfree(faulty);
	return ret;
}

static int remove(struct faulty *faulty, u32 handle)
{
	int ret = cenalloc_device_remove_allocator(cenalloc, &faulty->allocator);

	if (ret)
		return ret;
	/* Nothing of it is used any more. */
	xa_erase(&allocators, handle);
	kfree(faulty);
	return 0;
}

static int allocator_add(struct c_allocator_add __user *user)
{
	struct c_allocator_add add;

	if (copy_from_user(&add, user, sizeof(add)))
		return -EFAULT;
	if (add.reserved || add.kind > C_ALLOCATOR_NO_OPS || add.no_name > 1 ||
	    add.without >= BIT(C_ALLOCATOR_OPS) ||
	    add.flags > ULONG_MAX || add.max_len > SIZE_MAX ||
	    !ends_in_nul(add.name, sizeof(add.name)))
		return -EINVAL;
	return add_new(&add, user);
}

static int allocator_remove(unsigned long handle)
{
	struct faulty *faulty = xa_load(&allocators, handle);

	return faulty ? remove(faulty, handle) : -ENOENT;
}

static int allocator_set_fault(const struct c_allocator_fault __user *user)
{
	struct c_allocator_fault fault;
	struct faulty *faulty;

	if (copy_from_user(&fault, user, sizeof(fault)))
		return -EFAULT;
	if (fault.reserved || !faulty_check(&fault) ||
	    !ends_in_nul(fault.refused, sizeof(fault.refused)))
		return -EINVAL;
	faulty = xa_load(&allocators, fault.handle);
	if (!faulty)
		return -ENOENT;
	spin_lock(&faulty->lock);
	faulty->fault = fault;
	spin_unlock(&faulty->lock);
	return 0;
}

static int allocator_tell(struct c_allocator_told __user *user)
{
	struct c_allocator_told told = {};
	struct faulty *faulty;

	if (get_user(told.handle, &user->handle))
		return -EFAULT;
	faulty = xa_load(&allocators, told.handle);
	if (!faulty)
		return -ENOENT;
	faulty_tell(faulty, &told);
	return copy_to_user(user, &told, sizeof(told)) ? -EFAULT : 0;
}

/* Removes an allocator that has no memory: somebody may be asking it for some. */
static int remove_patiently(struct cenalloc_allocator *allocator)
{
	int ret;

	do {
		ret = cenalloc_device_remove_allocator(cenalloc, allocator);
		if (ret == -EBUSY)
			fsleep(USEC_PER_MSEC);
	} while (ret == -EBUSY);
	return ret;
}

/* What nobody should do with an allocator, for tests. */
static int misuse_of(struct faulty *faulty, unsigned long what)
{
	struct cenalloc_allocator *allocator = &faulty->allocator;
	int ret, again;

	switch (what) {
	case C_ALLOCATOR_ADD_NO_DEVICE:
		return cenalloc_device_add_allocator(NULL, allocator);
	case C_ALLOCATOR_REMOVE_NO_DEVICE:
		return cenalloc_device_remove_allocator(NULL, allocator);
	case C_ALLOCATOR_REMOVE_UNKNOWN:
		return cenalloc_device_remove_allocator(cenalloc, allocator);
	case C_ALLOCATOR_ADD_TWICE:
	case C_ALLOCATOR_REMOVE_TWICE:
		ret = cenalloc_device_add_allocator(cenalloc, allocator);
		if (ret)
			return ret;
		again = cenalloc_device_add_allocator(cenalloc, allocator);
		ret = remove_patiently(allocator);
		if (ret || what == C_ALLOCATOR_ADD_TWICE)
			return ret ?: again;
		return cenalloc_device_remove_allocator(cenalloc, allocator);
	default:
		return -EINVAL;
	}
}

static int misuse(unsigned long what)
{
	static const struct c_allocator_add add = {
		.name = "misused",
		.type = C_ALLOCATOR_MISUSED_CLASS,
	};
	struct faulty *faulty;
	int ret;

	switch (what) {
	case C_ALLOCATOR_ADD_NULL:
		return cenalloc_device_add_allocator(cenalloc, NULL);
	case C_ALLOCATOR_REMOVE_NULL:
		return cenalloc_device_remove_allocator(cenalloc, NULL);
	}
	faulty = kzalloc_obj(*faulty);
	if (!faulty)
		return -ENOMEM;
	faulty_init(faulty, &add);
	/* It will be freed here: nobody may have memory of it. */
	faulty->fault.fault = C_ALLOCATOR_FAIL;
	faulty->fault.code = -ENOMEM;
	ret = misuse_of(faulty, what);
	kfree(faulty);
	return ret;
}

static long allocator_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;

	guard(mutex)(&lock);
	switch (cmd) {
	case C_ALLOCATOR_ADD:
		return allocator_add(user);
	case C_ALLOCATOR_REMOVE:
		return allocator_remove(arg);
	case C_ALLOCATOR_SET_FAULT:
		return allocator_set_fault(user);
	case C_ALLOCATOR_TELL:
		return allocator_tell(user);
	case C_ALLOCATOR_MISUSE:
		return misuse(arg);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations allocator_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = allocator_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "cenalloc_c_allocator",
	.fops = &allocator_fops,
};

/* Adds an allocator that stays as long as the module, before anybody can use it. */
static int __init add_early(void)
{
	static const struct c_allocator_add add = {
		.name = "early",
		.type = C_ALLOCATOR_EARLY_CLASS,
	};
	struct faulty *faulty = kzalloc_obj(*faulty);
	int ret;

	if (!faulty)
		return -ENOMEM;
	faulty_init(faulty, &add);
	ret = xa_insert(&allocators, 0, faulty, GFP_KERNEL);
	if (!ret)
		ret = cenalloc_device_add_allocator(cenalloc, &faulty->allocator);
	if (ret) {
		xa_erase(&allocators, 0);
		kfree(faulty);
		return ret;
	}
	msleep(coming);
	return 0;
}

static int __init allocator_init(void)
{
	int ret;

	cenalloc = cenalloc_get_device();
	if (IS_ERR(cenalloc))
		return PTR_ERR(cenalloc);
	ret = misc_register(&device);
	if (ret || !coming)
		return ret;
	ret = add_early();
	if (ret)
		misc_deregister(&device);
	return ret;
}
module_init(allocator_init);

static void __exit allocator_exit(void)
{
	struct faulty *faulty;
	unsigned long handle;

	misc_deregister(&device);
	msleep(going);
	/* No buffer has memory of them, or this module would have to stay. */
	xa_for_each(&allocators, handle, faulty)
		WARN_ON(remove(faulty, handle));
	xa_destroy(&allocators);
}
module_exit(allocator_exit);

MODULE_DESCRIPTION("Test allocators for cenalloc in C");
MODULE_AUTHOR("The cenalloc developers");
MODULE_LICENSE("GPL");
