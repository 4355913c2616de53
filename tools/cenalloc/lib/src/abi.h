/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads: the ABI as it stands in the tree, and the numbers of its
 * calls as constants, which macros of C are not for others.
 */

#include "cenalloc.h"
#include <linux/dma-buf.h>

enum {
	CALL_CREATE = CENALLOC_CREATE,
	CALL_ALLOCATORS = CENALLOC_ALLOCATORS,
	CALL_DECLARE = CENALLOC_DECLARE,
	CALL_ALLOCATE = CENALLOC_ALLOCATE,
	CALL_TEST = CENALLOC_TEST,
	CALL_QUERY = CENALLOC_QUERY,
	CALL_SYNC = DMA_BUF_IOCTL_SYNC,
};
