// SPDX-License-Identifier: GPL-2.0
/*
 * How many buffers in one piece there are to be had in memory that is fragmented,
 * from each allocator that promises one piece.
 *
 * Memory is fragmented the same way in each run. A memfd takes all memory but
 * SPARE, page by page. One page of it in each PIN_EVERY is pinned for DMA, by
 * udmabuf: it cannot be moved. Of the others every second is given back. So half
 * of the memory is free, in single pages, and the kernel can make larger pieces by
 * moving the pages between, but not those that are pinned.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/cenalloc.h>
#include <linux/falloc.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "bench.h"

#define SPARE		(12 * MIB)
#define PIN_EVERY	(2 * MIB)
#define TRIES		10

static const __u64 lens[] = { 64 * KIB, 1 * MIB, 4 * MIB, 8 * MIB };

#define ALLOCATORS	32

static struct cenalloc_allocator_info allocators[ALLOCATORS];
static int device;

static int list_allocators(void)
{
	struct cenalloc_allocators list = {
		.allocators = (uintptr_t)allocators,
		.count = ALLOCATORS,
		.size = sizeof(allocators[0]),
	};

	xioctl(device, CENALLOC_ALLOCATORS, &list, "CENALLOC_ALLOCATORS");
	if (list.count > ALLOCATORS)
		die("there are %u allocators", list.count);
	return list.count;
}

/* --- Memory in pieces ----------------------------------------------------- */

/* Pins a page of the memfd in each PIN_EVERY; returns what pins them. */
static int pin_some(int memfd, __u64 len)
{
	int udmabuf = xopen("/dev/udmabuf");
	__u32 i, count = len / PIN_EVERY;
	struct udmabuf_create_list *list = calloc(1, sizeof(*list) + count * sizeof(list->list[0]));
	int fd;

	if (!list)
		die_errno("calloc");
	list->flags = UDMABUF_FLAGS_CLOEXEC;
	list->count = count;
	for (i = 0; i < count; i++) {
		list->list[i].memfd = memfd;
		list->list[i].offset = i * PIN_EVERY;
		list->list[i].size = PAGE;
	}
	fd = ioctl(udmabuf, UDMABUF_CREATE_LIST, list);
	if (fd < 0)
		die_errno("UDMABUF_CREATE_LIST");
	free(list);
	xclose(udmabuf);
	return fd;
}

/* At most @most bytes. It stays so for as long as the program runs. */
static void fragment_memory(__u64 most)
{
	static const char page[PAGE] = { 1 };
	int memfd = memfd_create("fragments", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct sysinfo info;
	__u64 len, at;

	if (memfd < 0 || sysinfo(&info))
		die_errno("memfd");
	len = (__u64)info.freeram * info.mem_unit - SPARE;
	len = (len < most ? len : most) & ~(PIN_EVERY - 1);
	for (at = 0; at < len; at += PAGE)
		if (pwrite(memfd, page, PAGE, at) != (ssize_t)PAGE)
			die_errno("pwrite");
	if (fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		die_errno("F_ADD_SEALS");
	pin_some(memfd, len);
	for (at = PAGE; at < len; at += 2 * PAGE)
		if (fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, PAGE))
			die_errno("fallocate");
}

/* --- Buffers in one piece ------------------------------------------------- */

/* Makes a buffer in one piece with memory of @mask; -1 where there is none. */
static int one_piece(__u64 len, __u64 mask, int importer, __u32 importing)
{
	struct cenalloc_create create = { .len = len, .fd_flags = O_RDWR | O_CLOEXEC };
	struct cenalloc_declare declare = {
		.constraints.access_mask = mask,
		.constraints.max_segments = 1,
	};
	struct cenalloc_allocate allocate = {};
	__u32 attachment, segments;

	xioctl(device, CENALLOC_CREATE, &create, "CENALLOC_CREATE");
	declare.fd = create.fd;
	allocate.fd = create.fd;
	if (ioctl(device, CENALLOC_DECLARE, &declare)) {
		if (errno != EINVAL)
			die_errno("CENALLOC_DECLARE");
		goto none;
	}
	if (ioctl(device, CENALLOC_ALLOCATE, &allocate)) {
		if (errno != ENOMEM)
			die_errno("CENALLOC_ALLOCATE");
		goto none;
	}
	attachment = attach(importer, importing, create.fd);
	segments = map(importer, attachment, len);
	if (segments != 1)
		die("one piece is %u", segments);
	detach(importer, attachment);
	return create.fd;

none:
	xclose(create.fd);
	return -1;
}

/* Takes TRIES buffers, one after the other and all together, and gives them back. */
static void try_all(const char *step, const char *name, __u64 mask)
{
	struct sample of = { .test = "contiguous", .exporter = name };
	int importer = xopen("/dev/cenalloc_importer");
	__u32 importing = add_device(importer);
	int fds[TRIES];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		of.size = lens[i];
		for (of.round = 0; of.round < TRIES; of.round++) {
			fds[of.round] = one_piece(of.size, mask, importer, importing);
			keep(&of, step, fds[of.round] >= 0);
		}
		while (of.round--)
			if (fds[of.round] >= 0)
				xclose(fds[of.round]);
	}
	xclose(importer);
}

static void try_allocators(const char *step)
{
	int i, count = list_allocators();

	for (i = 0; i < count; i++) {
		const struct cenalloc_allocator_info *allocator = &allocators[i];
		const struct sample of = { .test = "longest", .exporter = allocator->name };

		if (!(allocator->flags & CENALLOC_ALLOCATOR_CONTIGUOUS))
			continue;
		keep(&of, step, allocator->max_len);
		try_all(step, allocator->name, allocator->access_mask);
	}
	try_all(step, "whichever", 0);
}

void test_contiguous(__u64 most)
{
	device = xopen("/dev/cenalloc");
	try_allocators("before");
	fragment_memory(most);
	try_allocators("after");
}
