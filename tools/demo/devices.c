// SPDX-License-Identifier: GPL-2.0
/*
 * The importers: vgem of the stock kernel, edu's sample driver, and the
 * importer of the tests. What they return is the kernel's answer to a dma-buf.
 */

#include <drm/drm.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cenalloc_edu.h"
#include "cenalloc_importer.h"
#include "demo.h"

/* The DRM node that vgem is behind. */
int vgem_open(void)
{
	char driver[16], path[32];
	int card, fd;

	for (card = 0; card < 8; card++) {
		struct drm_version version = {
			.name = driver,
			.name_len = sizeof(driver) - 1,
		};

		snprintf(path, sizeof(path), "/dev/dri/card%d", card);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		memset(driver, 0, sizeof(driver));
		if (!ioctl(fd, DRM_IOCTL_VERSION, &version) &&
		    !strcmp(driver, "vgem"))
			return fd;
		close(fd);
	}
	die("there is no vgem device");
}

void vgem_import(int vgem, int fd)
{
	struct drm_prime_handle handle = { .fd = fd };

	if (ioctl(vgem, DRM_IOCTL_PRIME_FD_TO_HANDLE, &handle))
		die_errno("vgem: DRM_IOCTL_PRIME_FD_TO_HANDLE");
}

int edu_open(void)
{
	int fd = open("/dev/cenalloc_edu", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die_errno("/dev/cenalloc_edu");
	return fd;
}

void edu_attach(int edu, int fd)
{
	if (ioctl(edu, EDU_ATTACH, fd))
		die_errno("edu: attach");
}

/* Returns the first segment of the mapping. */
struct segment edu_map(int edu, unsigned int *count)
{
	struct edu_segment first = { .len = 0 };
	struct edu_map map = {
		.segments = (uintptr_t)&first,
		.count = 1,
	};

	if (ioctl(edu, EDU_MAP, &map))
		die_errno("edu: map");
	*count = map.count;
	return (struct segment){ .address = first.address, .len = first.len };
}

void edu_unmap(int edu)
{
	if (ioctl(edu, EDU_UNMAP))
		die_errno("edu: unmap");
}

/* Moves @len bytes between the buffer and the start of the device's memory. */
void edu_carry(int edu, __u64 offset, __u32 len, bool to_device)
{
	struct edu_transfer transfer = {
		.offset = offset,
		.len = len,
		.direction = to_device ? EDU_TO_DEVICE : EDU_FROM_DEVICE,
	};

	if (ioctl(edu, EDU_TRANSFER, &transfer))
		die_errno("edu: transfer");
}

int importer_open(void)
{
	int fd = open("/dev/cenalloc_importer", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die_errno("/dev/cenalloc_importer");
	return fd;
}

/* Makes a device that needs what @wish says; returns its handle. */
__u32 importer_add(int importer, const struct wish *wish)
{
	struct importer_add add = {
		.dma_mask = wish->dma_mask,
		.access_mask = wish->access_mask,
		.max_segments = wish->max_segments,
		.flags = IMPORTER_DECLARE,
	};

	snprintf(add.name, sizeof(add.name), "%s", wish->name);
	if (ioctl(importer, IMPORTER_ADD, &add))
		die_errno("cenalloc_importer: add");
	return add.device;
}

/* Returns 0, or the errno with which the device was refused. */
int importer_attach(int importer, __u32 device, int fd, __u32 *attachment)
{
	struct importer_attach attach = {
		.device = device,
		.fd = fd,
	};

	if (ioctl(importer, IMPORTER_ATTACH, &attach))
		return errno;
	*attachment = attach.attachment;
	return 0;
}

/* Maps, and returns the first segment; @segments, if any, has room for MOST_SEGMENTS. */
struct segment importer_map(int importer, __u32 attachment, struct segment *segments)
{
	struct importer_segment found[MOST_SEGMENTS];
	struct importer_map map = {
		.segments = (uintptr_t)found,
		.attachment = attachment,
		.count = MOST_SEGMENTS,
	};
	unsigned int i;

	if (ioctl(importer, IMPORTER_MAP, &map))
		die_errno("cenalloc_importer: map");
	if (map.count > MOST_SEGMENTS)
		die("a mapping of %u segments", map.count);
	for (i = 0; segments && i < map.count; i++)
		segments[i] = (struct segment){ found[i].address, found[i].len };
	return (struct segment){ found[0].address, found[0].len };
}

void importer_unmap(int importer, __u32 attachment)
{
	if (ioctl(importer, IMPORTER_UNMAP, attachment))
		die_errno("cenalloc_importer: unmap");
}
