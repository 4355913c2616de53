/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of the module know of each other. */

#ifndef _C_IMPORTER_H
#define _C_IMPORTER_H

#include <linux/dma-buf.h>
#include <linux/device.h>
#include <linux/scatterlist.h>

#include "../cenalloc_c_importer.h"

/* devices.c */
int devices_register(void);
void devices_unregister(void);
struct device *device_of(unsigned int number);
int device_look(unsigned int number, struct sg_table *table,
		struct c_importer_seen *seen);

/* sequence.c */
int sequence_run(struct c_importer_run *run);
int sequence_fill(struct dma_buf *dmabuf, u8 value);

#endif /* _C_IMPORTER_H */
