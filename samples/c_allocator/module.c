// SPDX-License-Identifier: GPL-2.0
/*
 * Adds an allocator to cenalloc, as long as the module is loaded. What it does is in
 * plain.c.
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
	.flags = CENALLOC_ALLOCATOR_ONE_RUN,
	.max_len = SZ_4M,
};

static struct cenalloc_device *cenalloc;

/* It may be asked from here on, but gives nothing before this has returned. */
static int __init plain_init(void)
{
	cenalloc = cenalloc_get_device();
	if (IS_ERR(cenalloc))
		return PTR_ERR(cenalloc);
	return cenalloc_device_add_allocator(cenalloc, &plain);
}
module_init(plain_init);

/* Buffers that have memory of it keep the module: now there are none. */
static void __exit plain_exit(void)
{
	cenalloc_device_remove_allocator(cenalloc, &plain);
}
module_exit(plain_exit);

MODULE_DESCRIPTION("Sample allocator for cenalloc in C");
MODULE_AUTHOR("The cenalloc developers");
MODULE_LICENSE("GPL");
