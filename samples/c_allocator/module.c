// SPDX-License-Identifier: GPL-2.0
/*
 * Adds an allocator to cenalloc as long as the module is loaded. Its operations
 * are in plain.c.
 */

#include <linux/err.h>
#include <linux/module.h>
#include <linux/sizes.h>

#include "plain.h"

static struct cenalloc_allocator plain = {
	.name = "plain",
	.owner = THIS_MODULE,
	.ops = &plain_ops,
	.type = 1ULL << 32,
	.priority = 50,
	.flags = CENALLOC_ALLOCATOR_ONE_RANGE,
	.max_len = SZ_4M,
};

static struct cenalloc_device *cenalloc;

/*
 * Adds the allocator, which may be called from here on, but gives memory only
 * after this has returned.
 */
static int __init plain_init(void)
{
	cenalloc = cenalloc_get_device();
	if (IS_ERR(cenalloc))
		return PTR_ERR(cenalloc);
	return cenalloc_device_add_allocator(cenalloc, &plain);
}
module_init(plain_init);

/*
 * Removes the allocator. Buffers that have memory from it keep the module
 * loaded, so that there are none now.
 */
static void __exit plain_exit(void)
{
	cenalloc_device_remove_allocator(cenalloc, &plain);
}
module_exit(plain_exit);

MODULE_DESCRIPTION("Sample allocator for cenalloc in C");
MODULE_AUTHOR("The cenalloc developers");
MODULE_LICENSE("GPL");
