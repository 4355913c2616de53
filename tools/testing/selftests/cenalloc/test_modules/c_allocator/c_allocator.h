/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of the module know of each other. */

#ifndef _C_ALLOCATOR_H
#define _C_ALLOCATOR_H

#include <linux/cenalloc.h>

/* The least that an allocator does. */
extern const struct cenalloc_allocator_ops plain_ops;

/* All that an allocator can do. */
extern const struct cenalloc_allocator_ops pieces_ops;

#endif /* _C_ALLOCATOR_H */
