/* SPDX-License-Identifier: GPL-2.0 */
/* Allocators that count their calls, and fail when they are told to. */

#ifndef _C_ALLOCATOR_FAULTY_H
#define _C_ALLOCATOR_FAULTY_H

#include <linux/atomic.h>
#include <linux/cenalloc.h>
#include <linux/spinlock.h>

#include "../cenalloc_c_allocator.h"

/**
 * struct faulty - an allocator
 * @allocator: as cenalloc knows it
 * @ops: its operations: those of @real, with a look at @fault before
 * @real: what does the work
 * @name: of @allocator
 * @lock: for @fault and @told
 * @fault: what goes wrong
 * @told: what was asked
 * @live: buffers that have memory of it
 * @tables: tables that @real has made for them
 * @addresses: addresses that @real has made for them
 * @calls: how often each operation was called
 */
struct faulty {
	struct cenalloc_allocator allocator;
	struct cenalloc_allocator_ops ops;
	const struct cenalloc_allocator_ops *real;
	char name[C_ALLOCATOR_NAME_LEN];
	spinlock_t lock;	/* for fault and told */
	struct c_allocator_fault fault;
	struct c_allocator_told told;
	atomic_t live;
	atomic_t tables;
	atomic_t addresses;
	atomic_t calls[C_ALLOCATOR_OPS];
};

void faulty_init(struct faulty *faulty, const struct c_allocator_add *add);
bool faulty_check(const struct c_allocator_fault *fault);
void faulty_tell(struct faulty *faulty, struct c_allocator_told *told);

#endif /* _C_ALLOCATOR_FAULTY_H */
