// SPDX-License-Identifier: GPL-2.0
/*
 * Makes a buffer of 640 x 480 pixels for a platform device that needs contiguous
 * memory, fills it by the CPU, and prints where its memory comes from.
 *
 * usage: cenalloc-example DEVICE
 *
 * DEVICE is a name in /sys/bus/platform/devices, "vivid.0", say.
 */

#include <fcntl.h>
#include <linux/cenalloc.h>
#include <linux/dma-buf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define LEN	(640 * 480 * 4)

/* Returns a dma-buf that has no memory yet, or -1. */
static int create(int cenalloc)
{
	struct cenalloc_create create = {
		.len = LEN,
		.fd_flags = O_RDWR | O_CLOEXEC,
		.name = "example",
	};

	if (ioctl(cenalloc, CENALLOC_CREATE, &create)) {
		perror("CENALLOC_CREATE");
		return -1;
	}
	return create.fd;
}

/* Narrows the buffer before the device's driver attaches. */
static int declare(int cenalloc, int fd, const char *device)
{
	struct cenalloc_declare declare = {
		.fd = fd,
		.bus = "platform",
		.constraints.max_segments = 1,
	};

	snprintf(declare.device, sizeof(declare.device), "%s", device);
	if (ioctl(cenalloc, CENALLOC_DECLARE, &declare)) {
		perror("CENALLOC_DECLARE");
		return 1;
	}
	return 0;
}

/* The CPU's turn begins, or ends. */
static int cpu_access(int fd, __u64 flags)
{
	struct dma_buf_sync sync = { .flags = flags | DMA_BUF_SYNC_WRITE };

	return ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync);
}

static int fill(int fd)
{
	void *pixels;

	pixels = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (pixels == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	/* The first touch takes memory, if no device has mapped it before. */
	cpu_access(fd, DMA_BUF_SYNC_START);
	memset(pixels, 0x80, LEN);
	cpu_access(fd, DMA_BUF_SYNC_END);
	munmap(pixels, LEN);
	return 0;
}

static int tell(int cenalloc, int fd)
{
	struct cenalloc_user users[8] = {};
	struct cenalloc_query query = {
		.fd = fd,
		.users = (uintptr_t)users,
		.user_count = 8,
		.user_size = sizeof(users[0]),
	};
	unsigned int i;

	if (ioctl(cenalloc, CENALLOC_QUERY, &query)) {
		perror("CENALLOC_QUERY");
		return 1;
	}
	printf("buffer %llu: memory from %s, at most %u segments, up to 0x%llx\n",
	       (unsigned long long)query.id, query.allocator,
	       query.combined.max_segments,
	       (unsigned long long)query.combined.max_address);
	for (i = 0; i < query.user_count && i < 8; i++)
		printf("used by %s\n", users[i].name);
	return 0;
}

int main(int argc, char **argv)
{
	int cenalloc = open("/dev/cenalloc", O_RDWR | O_CLOEXEC);
	int fd, failed;

	if (argc != 2) {
		fprintf(stderr, "usage: cenalloc-example DEVICE\n");
		return 1;
	}
	if (cenalloc < 0) {
		perror("/dev/cenalloc");
		return 1;
	}
	fd = create(cenalloc);
	if (fd < 0 || declare(cenalloc, fd, argv[1]))
		return 1;

	/*
	 * Here fd goes to the drivers, in any order: VIDIOC_QBUF,
	 * DRM_IOCTL_PRIME_FD_TO_HANDLE...
	 */

	failed = fill(fd) || tell(cenalloc, fd);
	close(fd);
	return failed;
}
