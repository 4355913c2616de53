// SPDX-License-Identifier: GPL-2.0
/*
 * Calls that end the program where they fail: a figure of something that did not
 * work is none.
 */

#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "cenalloc_importer.h"

int xopen(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die_errno(path);
	return fd;
}

void xioctl(int fd, unsigned long request, void *argument, const char *what)
{
	if (ioctl(fd, request, argument) < 0)
		die_errno(what);
}

void xclose(int fd)
{
	if (close(fd))
		die_errno("close");
}

void *xmmap(int fd, __u64 len)
{
	void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED)
		die_errno("mmap");
	return memory;
}

void xmunmap(void *memory, __u64 len)
{
	if (munmap(memory, len))
		die_errno("munmap");
}

/* A device that can use any memory; returns its handle. */
__u32 add_device(int importer)
{
	struct importer_add add = { .name = "bench" };

	xioctl(importer, IMPORTER_ADD, &add, "IMPORTER_ADD");
	return add.device;
}

__u32 attach(int importer, __u32 device, int fd)
{
	struct importer_attach attach = {
		.device = device,
		.fd = fd,
	};

	xioctl(importer, IMPORTER_ATTACH, &attach, "IMPORTER_ATTACH");
	return attach.attachment;
}

/* Maps, checks that there is something, and returns the number of segments. */
__u32 map(int importer, __u32 attachment, __u64 len)
{
	struct importer_map map = { .attachment = attachment };

	xioctl(importer, IMPORTER_MAP, &map, "IMPORTER_MAP");
	if (!map.count || map.count > len / PAGE)
		die("%u segments for %llu bytes", map.count, len);
	return map.count;
}

void unmap(int importer, __u32 attachment)
{
	xioctl(importer, IMPORTER_UNMAP, (void *)(uintptr_t)attachment, "IMPORTER_UNMAP");
}

void detach(int importer, __u32 attachment)
{
	xioctl(importer, IMPORTER_DETACH, (void *)(uintptr_t)attachment, "IMPORTER_DETACH");
}
