/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a pool of pages needs of C: page_to_phys() is a macro. bindgen reads
 * this header.
 */

#ifndef _RUST_ALLOCATOR_PAGE_H
#define _RUST_ALLOCATOR_PAGE_H

#include <linux/types.h>

#include "../cenalloc_rust_allocator.h"

struct page;

u64 rust_allocator_address(struct page *page);

#endif /* _RUST_ALLOCATOR_PAGE_H */
