// SPDX-License-Identifier: GPL-2.0
/*
 * The facts of struct device: inline functions and macros of the kernel, for
 * the Rust half of dma_buf_constraints.
 */

#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/iommu.h>
#include <linux/iommu-dma.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/string.h>

#include "helpers.h"

/* What dma_get_max_seg_size() returns for a device whose driver sets nothing. */
#define UNSET_SEGMENT_SIZE	SZ_64K

/*
 * Tells whether an IOMMU maps any pages for the device as it needs them. Other
 * DMA operations (Xen's) do not count, nor does an IOMMU of larger pages.
 */
bool dbc_lays_out(struct device *dev)
{
	struct iommu_domain *domain;

	if (!use_dma_iommu(dev))
		return false;
	domain = iommu_get_domain_for_dev(dev);
	return domain && domain->pgsize_bitmap &&
	       1UL << __ffs(domain->pgsize_bitmap) <= PAGE_SIZE;
}

/*
 * Finds the last physical address that @dev reaches by bus addresses up to
 * @limit; false where it reaches none. Holes below it are ignored.
 */
static bool last_reachable(struct device *dev, u64 limit, u64 *last)
{
	const struct bus_dma_region *map = dev->dma_range_map;
	bool found = false;

	if (!map) {
		*last = limit;
		return true;
	}
	*last = 0;
	for (; map->size; map++) {
		if (map->dma_start > limit)
			continue;
		*last = max(*last, map->cpu_start +
				   min(map->size - 1, limit - map->dma_start));
		found = true;
	}
	return found;
}

/* Returns a boundary mask as the core means it: one less than a power of two. */
static u64 boundary_mask(unsigned long mask)
{
	u64 boundary = (u64)mask + 1;

	/* None, or one below a page: not set. */
	if (!mask || !boundary || mask < PAGE_SIZE - 1)
		return U64_MAX;
	return (1ULL << ilog2(boundary)) - 1;
}

void dbc_device_facts(struct device *dev, struct dbc_device_facts *facts)
{
	const struct device_dma_parameters *parms = dev->dma_parms;

	facts->can_dma = dev->dma_mask && *dev->dma_mask;
	facts->access_mask = U64_MAX;
	facts->max_address = U64_MAX;
	facts->max_segment_size = U64_MAX;
	facts->segment_boundary_mask = U64_MAX;
	facts->alignment = 1;
	facts->coherent = dev_is_dma_coherent(dev);

	facts->translated = facts->can_dma && dbc_lays_out(dev);
	if (facts->can_dma && !use_dma_iommu(dev))
		facts->can_dma =
			last_reachable(dev, min_not_zero(*dev->dma_mask,
							 dev->bus_dma_limit),
				       &facts->max_address);
	if (!parms)
		return;
#ifdef DMA_BUF_HAS_ACCESS_CONSTRAINTS
	facts->access_mask = dma_get_access_constraints_mask(dev);
#endif
	/*
	 * 64 KiB is what buses set for devices whose driver sets nothing: a
	 * default, not a limit of the hardware.
	 */
	if (parms->max_segment_size >= PAGE_SIZE &&
	    parms->max_segment_size != UNSET_SEGMENT_SIZE &&
	    parms->max_segment_size != UINT_MAX)
		facts->max_segment_size = parms->max_segment_size;
	facts->segment_boundary_mask = boundary_mask(parms->segment_boundary_mask);
	/*
	 * Bits of an address that a bounce has to keep. A start aligned to them
	 * has none of them set.
	 */
	if (parms->min_align_mask && parms->min_align_mask < SZ_2G)
		facts->alignment = 1ULL << fls(parms->min_align_mask);
}

/* Tells whether no device of this architecture ever needs cache maintenance. */
bool dbc_always_coherent(void)
{
	return !IS_ENABLED(CONFIG_ARCH_HAS_SYNC_DMA_FOR_DEVICE) &&
	       !IS_ENABLED(CONFIG_ARCH_HAS_SYNC_DMA_FOR_CPU) &&
	       !IS_ENABLED(CONFIG_ARCH_HAS_SYNC_DMA_FOR_CPU_ALL);
}

/*
 * Copies the names of the driver that is bound to a device, and of its module, into @names,
 * which is zero. The driver may unbind meanwhile: drivers are static in their modules, and
 * a module is freed a grace period after none of its drivers is bound any more.
 */
void dbc_driver_names(struct device *dev, struct dbc_driver_names *names)
{
	const struct device_driver *driver;
	const char *module;

	guard(rcu)();
	driver = READ_ONCE(dev->driver);
	if (!driver)
		return;
	module = driver->owner ? driver->owner->name : driver->mod_name;
	strscpy(names->driver, driver->name);
	strscpy(names->module, module ?: "");
}

/* Returns the name of the bus of a device, or NULL. */
const char *dbc_device_bus(struct device *dev)
{
	return dev->bus ? dev->bus->name : NULL;
}

/* Tells whether a driver is bound, without the device's lock. */
bool dbc_device_is_bound(struct device *dev)
{
	return READ_ONCE(dev->driver);
}

/* Locks a device to which a driver is bound; otherwise -ENODEV or -ERESTARTSYS. */
int dbc_device_lock_bound(struct device *dev)
{
	if (device_lock_interruptible(dev))
		return -ERESTARTSYS;
	if (dev->driver)
		return 0;
	device_unlock(dev);
	return -ENODEV;
}

/* Locks such a device if the lock is free; returns whether it is locked. */
bool dbc_device_trylock_bound(struct device *dev)
{
	if (!device_trylock(dev))
		return false;
	if (dev->driver)
		return true;
	device_unlock(dev);
	return false;
}

void dbc_device_unlock(struct device *dev)
{
	device_unlock(dev);
}
