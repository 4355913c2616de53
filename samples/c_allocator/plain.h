/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of the sample share. */

#ifndef _PLAIN_H
#define _PLAIN_H

#include <linux/cenalloc.h>

/* The least that an allocator does. */
extern const struct cenalloc_allocator_ops plain_ops;

#endif /* _PLAIN_H */
