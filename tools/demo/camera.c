// SPDX-License-Identifier: GPL-2.0
/* vivid, the stock kernel's test camera, capturing into a dma-buf. */

#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "demo.h"

#define TYPE	V4L2_BUF_TYPE_VIDEO_CAPTURE

static int find(unsigned int number)
{
	struct v4l2_capability capability;
	char path[32], bus[32];
	int fd, node;

	snprintf(bus, sizeof(bus), "platform:vivid-%03u", number);
	for (node = 0; node < 8; node++) {
		snprintf(path, sizeof(path), "/dev/video%d", node);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!ioctl(fd, VIDIOC_QUERYCAP, &capability) &&
		    !strcmp((char *)capability.bus_info, bus) &&
		    capability.device_caps & V4L2_CAP_VIDEO_CAPTURE)
			return fd;
		close(fd);
	}
	die("there is no camera %s", bus);
}

/* A camera, set to frames of RGB of that size, @len bytes without gaps. */
int camera_open(unsigned int number, __u32 width, __u32 height, __u32 len)
{
	struct v4l2_format format = {
		.type = TYPE,
		.fmt.pix = {
			.width = width,
			.height = height,
			.pixelformat = V4L2_PIX_FMT_RGB24,
			.field = V4L2_FIELD_NONE,
		},
	};
	struct v4l2_requestbuffers request = {
		.count = 1,
		.type = TYPE,
		.memory = V4L2_MEMORY_DMABUF,
	};
	int fd = find(number);

	if (ioctl(fd, VIDIOC_S_FMT, &format))
		die_errno("vivid: VIDIOC_S_FMT");
	if (format.fmt.pix.width != width || format.fmt.pix.height != height ||
	    format.fmt.pix.pixelformat != V4L2_PIX_FMT_RGB24 ||
	    format.fmt.pix.sizeimage != len)
		die("vivid does not give %ux%u pixels in %u bytes", width, height, len);
	if (ioctl(fd, VIDIOC_REQBUFS, &request))
		die_errno("vivid: VIDIOC_REQBUFS");
	return fd;
}

static struct v4l2_buffer slot(int fd)
{
	return (struct v4l2_buffer){
		.type = TYPE,
		.memory = V4L2_MEMORY_DMABUF,
		.m.fd = fd,
	};
}

/*
 * Queues the buffer: videobuf2 attaches vivid to it, and maps it. Returns 0 or the
 * errno.
 */
int camera_queue(int camera, int fd, __u32 len)
{
	struct v4l2_buffer buffer = slot(fd);

	buffer.length = len;
	return ioctl(camera, VIDIOC_QBUF, &buffer) ? errno : 0;
}

/* Captures one frame into the buffer that is queued; returns its bytes. */
__u32 camera_wait(int camera, int fd)
{
	struct pollfd ready = { .fd = camera, .events = POLLIN };
	struct v4l2_buffer buffer = slot(fd);
	int type = TYPE;

	if (ioctl(camera, VIDIOC_STREAMON, &type))
		die_errno("vivid: VIDIOC_STREAMON");
	if (poll(&ready, 1, 30000) != 1)
		die("vivid does not deliver a frame");
	if (ioctl(camera, VIDIOC_DQBUF, &buffer))
		die_errno("vivid: VIDIOC_DQBUF");
	if (buffer.flags & V4L2_BUF_FLAG_ERROR)
		die("vivid says that the frame is broken");
	return buffer.bytesused;
}

/* Lets go of the buffer. */
void camera_stop(int camera)
{
	struct v4l2_requestbuffers request = {
		.type = TYPE,
		.memory = V4L2_MEMORY_DMABUF,
	};
	int type = TYPE;

	if (ioctl(camera, VIDIOC_STREAMOFF, &type))
		die_errno("vivid: VIDIOC_STREAMOFF");
	if (ioctl(camera, VIDIOC_REQBUFS, &request))
		die_errno("vivid: VIDIOC_REQBUFS");
}
