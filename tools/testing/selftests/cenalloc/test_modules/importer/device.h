/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Platform devices with the DMA limits that userspace asks for. bindgen reads
 * this header.
 */

#ifndef _CENALLOC_IMPORTER_DEVICE_H
#define _CENALLOC_IMPORTER_DEVICE_H

#include "../cenalloc_importer.h"

struct device;

int importer_driver_register(void);
void importer_driver_unregister(void);

struct device *importer_device_create(const struct importer_add *add,
				      struct device *parent);
void importer_device_remove(struct device *dev);

#endif /* _CENALLOC_IMPORTER_DEVICE_H */
