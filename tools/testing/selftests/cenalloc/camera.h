/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Capturing frames of one colour with vivid.
 *
 * To be included after cenalloc_test.h.
 */

#ifndef _CENALLOC_CAMERA_H
#define _CENALLOC_CAMERA_H

#include <poll.h>

#include <linux/videodev2.h>

#define WIDTH	320
#define HEIGHT	180

/* Entries of the menu "Test Pattern". */
#define RED	7
#define GREEN	8
#define BLUE	9

/* The capture node of vivid's device @number. */
static inline int open_camera(int number)
{
	char path[64], name[64], expected[64];
	int i, fd;

	snprintf(expected, sizeof(expected), "vivid-%03d-vid-cap\n", number);
	for (i = 0; i < 64; i++) {
		struct v4l2_capability capability = {};

		snprintf(path, sizeof(path), "/sys/class/video4linux/video%d/name", i);
		if (strcmp(slurp(path, name, sizeof(name)), expected))
			continue;
		snprintf(path, sizeof(path), "/dev/video%d", i);
		fd = open_device(path);
		if (fd >= 0 && !ioctl(fd, VIDIOC_QUERYCAP, &capability) &&
		    !strcmp((char *)capability.driver, "vivid"))
			return fd;
		close(fd);
	}
	return -ENODEV;
}

static inline int set_control(int camera, const char *name, int value)
{
	struct v4l2_queryctrl query = { .id = V4L2_CTRL_FLAG_NEXT_CTRL };

	while (!ioctl(camera, VIDIOC_QUERYCTRL, &query)) {
		struct v4l2_control control = { .id = query.id, .value = value };

		if (!strcmp((char *)query.name, name))
			return call(camera, VIDIOC_S_CTRL, &control);
		query.id |= V4L2_CTRL_FLAG_NEXT_CTRL;
	}
	return -ENOENT;
}

/* Frames of one colour without text; returns the length of one. */
static inline int set_up(int camera, int pattern)
{
	struct v4l2_format format = {
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.fmt.pix = {
			.width = WIDTH,
			.height = HEIGHT,
			.pixelformat = V4L2_PIX_FMT_RGB24,
			.field = V4L2_FIELD_NONE,
		},
	};
	int input = 0, ret;

	ret = call(camera, VIDIOC_S_INPUT, &input);
	if (!ret)
		ret = call(camera, VIDIOC_S_FMT, &format);
	if (!ret && (format.fmt.pix.width != WIDTH || format.fmt.pix.height != HEIGHT ||
		     format.fmt.pix.pixelformat != V4L2_PIX_FMT_RGB24 ||
		     format.fmt.pix.bytesperline != 3 * WIDTH))
		ret = -ERANGE;
	if (!ret)
		ret = set_control(camera, "Test Pattern", pattern);
	if (!ret)
		ret = set_control(camera, "OSD Text Mode", 2);
	return ret ? ret : (int)format.fmt.pix.sizeimage;
}

static inline int request(int camera, unsigned int count)
{
	struct v4l2_requestbuffers request = {
		.count = count,
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.memory = V4L2_MEMORY_DMABUF,
	};

	return call(camera, VIDIOC_REQBUFS, &request);
}

static inline int queue(int camera, unsigned int index, int fd)
{
	struct v4l2_buffer buffer = {
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.memory = V4L2_MEMORY_DMABUF,
		.index = index,
		.m.fd = fd,
	};

	return call(camera, VIDIOC_QBUF, &buffer);
}

/* Waits for the next frame; returns its index. */
static inline int dequeue(int camera)
{
	struct v4l2_buffer buffer = {
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
		.memory = V4L2_MEMORY_DMABUF,
	};
	struct pollfd poll_camera = { .fd = camera, .events = POLLIN };
	int ret;

	if (poll(&poll_camera, 1, 10000) != 1)
		return -ETIMEDOUT;
	ret = call(camera, VIDIOC_DQBUF, &buffer);
	if (ret)
		return ret;
	if (buffer.flags & V4L2_BUF_FLAG_ERROR || buffer.bytesused != 3 * WIDTH * HEIGHT)
		return -EIO;
	return buffer.index;
}

static inline int stream(int camera, bool on)
{
	int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;

	return call(camera, on ? VIDIOC_STREAMON : VIDIOC_STREAMOFF, &type);
}

#endif /* _CENALLOC_CAMERA_H */
