/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/cenalloc_removable: an importer whose only device may be unbound at any time,
 * by root through sysfs, and whose driver has a lock L: remove(), which the kernel
 * calls with the device's lock held, takes L, and a buffer is attached with L held.
 * So nothing that attaching does may wait for the device's lock. lockdep, which does
 * not look at the locks of devices, cannot tell.
 *
 * The device is "cenalloc_removable" on the platform bus and takes memory below 4 GiB.
 * With the module's parameter fail_probe it does not let itself be bound, after it has
 * declared that; with take_device_lock the driver waits for the device's lock where
 * nothing may, for tests to see that they see it.
 */

#ifndef _CENALLOC_REMOVABLE_H
#define _CENALLOC_REMOVABLE_H

#include <linux/ioctl.h>

#define REMOVABLE_NAME	"cenalloc_removable"

/*
 * Attaches the dma-buf whose descriptor is the argument, maps it, unmaps and detaches
 * it, with L held. What the exporter returns; ENODEV where the device is not bound;
 * EBADF; EINVAL for what is no dma-buf.
 */
#define REMOVABLE_SHARE		_IO('R', 0x01)

/*
 * Holds the device's lock for as many milliseconds as the argument says, as a
 * remove() does that waits for L. EINVAL above REMOVABLE_LONGEST.
 */
#define REMOVABLE_HOLD		_IO('R', 0x02)

#define REMOVABLE_LONGEST	5000	/* milliseconds */

#endif /* _CENALLOC_REMOVABLE_H */
