// SPDX-License-Identifier: GPL-2.0
/* Where buffers come from: cenalloc, and what the stock kernel has. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/cenalloc.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define HEAPS	"/dev/dma_heap/"

static int create_cenalloc(int device, __u64 len)
{
	struct cenalloc_create create = {
		.len = len,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};

	xioctl(device, CENALLOC_CREATE, &create, "CENALLOC_CREATE");
	return create.fd;
}

static int create_heap(int device, __u64 len)
{
	struct dma_heap_allocation_data data = {
		.len = len,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};

	xioctl(device, DMA_HEAP_IOCTL_ALLOC, &data, "DMA_HEAP_IOCTL_ALLOC");
	return data.fd;
}

/* The memory is that of a memfd, which belongs to nobody else. */
static int create_udmabuf(int device, __u64 len)
{
	struct udmabuf_create create = {
		.memfd = memfd_create("bench", MFD_CLOEXEC | MFD_ALLOW_SEALING),
		.flags = UDMABUF_FLAGS_CLOEXEC,
		.size = len,
	};
	int fd;

	if ((int)create.memfd < 0)
		die_errno("memfd_create");
	if (ftruncate(create.memfd, len))
		die_errno("ftruncate");
	if (fcntl(create.memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		die_errno("F_ADD_SEALS");
	fd = ioctl(device, UDMABUF_CREATE, &create);
	if (fd < 0)
		die_errno("UDMABUF_CREATE");
	xclose(create.memfd);
	return fd;
}

/* What there may be. A CMA heap has its area's name, which differs between kernels. */
static const struct {
	const char *name;
	int (*create)(int device, __u64 len);
	const char *paths[3];
} known[] = {
	{ "cenalloc", create_cenalloc, { "/dev/cenalloc" } },
	{ "system heap", create_heap, { HEAPS "system" } },
	{ "CMA heap", create_heap, { HEAPS "default_cma_region", HEAPS "reserved" } },
	{ "udmabuf", create_udmabuf, { "/dev/udmabuf" } },
};

struct exporter exporters[ARRAY_SIZE(known)];
int exporter_count;

/* Opens what there is, and says what there is not. */
void open_exporters(void)
{
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(known); i++) {
		struct exporter *exporter = &exporters[exporter_count];

		exporter->name = known[i].name;
		exporter->create = known[i].create;
		exporter->device = -1;
		for (j = 0; exporter->device < 0 && known[i].paths[j]; j++)
			exporter->device = open(known[i].paths[j], O_RDWR | O_CLOEXEC);
		if (exporter->device >= 0)
			exporter_count++;
		else if (errno == ENOENT)
			printf("# absent: %s\n", exporter->name);
		else
			die_errno(exporter->name);
	}
	if (exporter_count < 2 || exporters[0].create != create_cenalloc)
		die("there is no cenalloc, or nothing to compare it with");
}

/*
 * Every other round goes the other way, and each begins with another exporter: what
 * one leaves in the page allocator is met by each of the others.
 */
struct exporter *turn(int round, int i)
{
	unsigned int n = exporter_count;
	unsigned int first = (round + 1000) / 2;

	return &exporters[(first + (round & 1 ? n - 1 - i : (unsigned int)i)) % n];
}
