// SPDX-License-Identifier: GPL-2.0
/* /dev/cenalloc: buffers, and who can provide their memory. A heap to compare with. */

#include <fcntl.h>
#include <linux/cenalloc.h>
#include <linux/dma-heap.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "demo.h"

#define MOST	16

static int cenalloc_open(void)
{
	int fd = open("/dev/cenalloc", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die_errno("/dev/cenalloc");
	return fd;
}

int buffer_create(const char *name, __u64 len)
{
	struct cenalloc_create create = {
		.len = len,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};
	int cenalloc = cenalloc_open();

	snprintf(create.name, sizeof(create.name), "%s", name);
	if (ioctl(cenalloc, CENALLOC_CREATE, &create))
		die_errno("CENALLOC_CREATE");
	close(cenalloc);
	return create.fd;
}

/* Tells of a platform device that will attach later. */
void buffer_declare(int fd, const char *device)
{
	struct cenalloc_declare declare = {
		.fd = fd,
		.bus = "platform",
	};
	int cenalloc = cenalloc_open();

	snprintf(declare.device, sizeof(declare.device), "%s", device);
	if (ioctl(cenalloc, CENALLOC_DECLARE, &declare))
		die_errno("CENALLOC_DECLARE");
	close(cenalloc);
}

static unsigned int list(struct cenalloc_allocator_info *entries)
{
	struct cenalloc_allocators list = {
		.allocators = (uintptr_t)entries,
		.count = MOST,
		.size = sizeof(*entries),
	};
	int cenalloc = cenalloc_open();

	if (ioctl(cenalloc, CENALLOC_ALLOCATORS, &list))
		die_errno("CENALLOC_ALLOCATORS");
	close(cenalloc);
	return list.count < MOST ? list.count : MOST;
}

/* All memory that buffers have now. */
__u64 bytes_given_out(void)
{
	struct cenalloc_allocator_info entries[MOST];
	unsigned int i, count = list(entries);
	__u64 used = 0;

	for (i = 0; i < count; i++)
		used += entries[i].used;
	return used;
}

/* Who was asked for the memory, in which order, and why it became this one. */
void explain_choice(const struct buffer *buffer, __u64 len)
{
	struct cenalloc_allocator_info entries[MOST];
	unsigned int i, count = list(entries);
	bool chosen = false;

	for (i = 0; i < count && !chosen; i++) {
		const struct cenalloc_allocator_info *entry = &entries[i];
		bool contiguous = entry->flags & CENALLOC_ALLOCATOR_CONTIGUOUS;
		const char *gives = contiguous ? "contiguous memory" :
						 "pages";
		const char *mark = dim, *verdict = "out of memory";

		chosen = !strcmp(entry->name, buffer->allocator);
		if (chosen) {
			mark = good;
			verdict = "chosen";
		} else if (len > entry->max_len) {
			verdict = "too small";
		}
		say("  %s%-14s %s, up to %llu bytes: %s%s", mark, entry->name,
		    gives, (unsigned long long)entry->max_len, verdict, plain);
	}
	if (!chosen)
		die("no allocator is called \"%s\"", buffer->allocator);
}

/* A buffer of the stock kernel's system heap. */
int heap_allocate(__u64 len)
{
	struct dma_heap_allocation_data data = {
		.len = len,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};
	int heap = open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC);

	if (heap < 0)
		die_errno("/dev/dma_heap/system");
	if (ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data))
		die_errno("DMA_HEAP_IOCTL_ALLOC");
	close(heap);
	return data.fd;
}
