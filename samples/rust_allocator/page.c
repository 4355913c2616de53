// SPDX-License-Identifier: GPL-2.0
/* The physical address of a page. */

#include <linux/io.h>
#include <linux/mm.h>

#include "page.h"

u64 rust_allocator_address(struct page *page)
{
	return page_to_phys(page);
}
