// SPDX-License-Identifier: GPL-2.0
/*
 * What is known of a device without a word of its driver: whether it imports contiguous
 * memory alone. Private structs of subsystems are read here and nowhere else.
 */

#include <linux/array_size.h>
#include <linux/bsearch.h>
#include <linux/device.h>
#include <linux/hash.h>
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <drm/drm_device.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <media/v4l2-dev.h>
#include <media/videobuf2-dma-contig.h>

#include "helpers.h"

static bool known_needs = true;
module_param(known_needs, bool, 0644);
MODULE_PARM_DESC(known_needs,
		 "Prefer contiguous memory for devices that are known to import nothing else (default: Y)");

static const char * const modules[] = {
#include "known_modules.h"
};

/*
 * Some drivers unregister nodes without the lock of the device: on the exit of a module, or
 * where a component of the device goes. What such a node shows may be freed while it is
 * looked at. So it is read without faults, and counts if the node is registered after that.
 */

static bool queues_contiguous(struct device *node)
{
	struct video_device *video = to_video_device(node);
	const struct vb2_queue *queue = READ_ONCE(video->queue);
	const struct vb2_mem_ops *contiguous, *memops;

	if (!queue)
		return false;
	/* NULL where the library is not loaded. */
	contiguous = symbol_get(vb2_dma_contig_memops);
	if (!contiguous)
		return false;
	symbol_put(vb2_dma_contig_memops);
	if (get_kernel_nofault(memops, &queue->mem_ops))
		return false;
	smp_rmb(); /* Registered after the read. */
	return memops == contiguous && video_is_registered(video);
}

/*
 * The functions of the library are known by their names, which begin alike: symbol_get()
 * finds only one of them, and writes to the log each time that it is asked for the other.
 */
static bool imports_contiguous(struct device *node)
{
	const struct drm_minor *minor = READ_ONCE(node->driver_data);
	const struct drm_driver *driver;
	struct drm_device *dev;

	typeof_member(struct drm_driver, gem_prime_import_sg_table) import_table;
	typeof_member(struct drm_driver, gem_prime_import) import;
	char name[64];

	if (!minor ||
	    get_kernel_nofault(dev, &minor->dev) ||
	    get_kernel_nofault(driver, &dev->driver) ||
	    get_kernel_nofault(import, &driver->gem_prime_import) ||
	    get_kernel_nofault(import_table, &driver->gem_prime_import_sg_table))
		return false;
	smp_rmb(); /* Registered after the reads: else the node has lost its minor. */
	if (READ_ONCE(node->driver_data) != minor || import || !import_table)
		return false;
	snprintf(name, sizeof(name), "%ps", import_table);
	return str_has_prefix(name, "drm_gem_dma_prime_import_sg_table");
}

/* Tells whether a V4L2 node or a DRM minor of a device shows it. */
static int look_at_node(struct device *node, void *data)
{
	if (!node->class)
		return 0;
	if (!strcmp(node->class->name, "video4linux"))
		return queues_contiguous(node);
	if (!strcmp(node->class->name, "drm") && node->type &&
	    !strcmp(node->type->name, "drm_minor"))
		return imports_contiguous(node);
	return 0;
}

static int compare_names(const void *key, const void *entry)
{
	return strcmp(key, *(const char * const *)entry);
}

/* The bits of an address of a driver that are free. */
#define KNOWN_MASK	(__alignof__(struct device_driver) - 1)

static_assert(DBC_KNOWN_TABLE <= KNOWN_MASK);

/* Tells what is known of a driver by its module. */
static enum dbc_known look_at_module(const struct device_driver *driver)
{
	const struct module *module = driver->owner;
	const char *name = module ? module->name : driver->mod_name;

	if (name && bsearch(name, modules, ARRAY_SIZE(modules), sizeof(modules[0]), compare_names))
		return DBC_KNOWN_TABLE;
	return DBC_KNOWN_NOTHING;
}

/* What was found of drivers, by a hash of their address: that, and the result in its free bits. */
static unsigned long drivers[64];

/*
 * Forgets all drivers when a module goes, at whose address there may be another soon. Its exit
 * has unbound its drivers by then, so that none of them is found any more.
 */
static int forget_drivers(struct notifier_block *block, unsigned long event, void *module)
{
	size_t i;

	for (i = 0; event == MODULE_STATE_GOING && i < ARRAY_SIZE(drivers); i++)
		WRITE_ONCE(drivers[i], 0);
	return NOTIFY_DONE;
}

static struct notifier_block modules_go = {
	.notifier_call = forget_drivers,
};

/* Follows modules that are unloaded. */
int dbc_watch_modules(void)
{
	return register_module_notifier(&modules_go);
}

void dbc_unwatch_modules(void)
{
	unregister_module_notifier(&modules_go);
}

/* Tells what is known by its module of the driver of a device that is locked. */
static enum dbc_known known_of_module(const struct device_driver *driver)
{
	unsigned long *place = &drivers[hash_ptr(driver, ilog2(ARRAY_SIZE(drivers)))];
	unsigned long found = READ_ONCE(*place);

	if ((found & ~KNOWN_MASK) != (unsigned long)driver) {
		found = (unsigned long)driver | look_at_module(driver);
		WRITE_ONCE(*place, found);
	}
	return found & KNOWN_MASK;
}

/*
 * Tells what is known of a device. @seen is where it was found out before: the address of the
 * driver, with the result in its free bits. What the nodes show comes first, and is looked for
 * again until it is found, since they may be registered late. Nothing is known while another
 * thread has the device locked: the caller may hold locks that drivers take in their remove,
 * which runs under the lock of the device.
 */
enum dbc_known dbc_known(struct device *dev, unsigned long *seen)
{
	const struct device_driver *driver = READ_ONCE(dev->driver);
	unsigned long before = READ_ONCE(*seen);
	enum dbc_known known;

	if (!READ_ONCE(known_needs) || !driver)
		return DBC_KNOWN_NOTHING;
	if ((before & ~KNOWN_MASK) != (unsigned long)driver)
		before = 0;
	known = before & KNOWN_MASK;
	if (known == DBC_KNOWN_OBJECTS || !dbc_device_trylock_bound(dev))
		return known;
	driver = dev->driver;
	if (device_for_each_child(dev, NULL, look_at_node))
		known = DBC_KNOWN_OBJECTS;
	else
		known = known_of_module(driver);
	dbc_device_unlock(dev);
	WRITE_ONCE(*seen, (unsigned long)driver | known);
	return known;
}
