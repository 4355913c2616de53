// SPDX-License-Identifier: GPL-2.0
/* What the calls of /dev/cenalloc on a buffer cost that ask and tell. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/cenalloc.h>

#include "bench.h"

#define USERS	16

static int device;

static void query(int fd)
{
	static struct cenalloc_user users[USERS];
	struct cenalloc_query query = {
		.fd = fd,
		.users = (uintptr_t)users,
		.user_count = USERS,
		.user_size = sizeof(users[0]),
	};

	xioctl(device, CENALLOC_QUERY, &query, "QUERY");
}

static void declare_one(int fd, __u64 max_address, int error)
{
	struct cenalloc_declare declare = {
		.fd = fd,
		.device = "bench",
		.constraints.max_address = max_address,
	};

	if (ioctl(device, CENALLOC_DECLARE, &declare) == 0 ? error : errno != error)
		die("DECLARE: %s, expected %s", strerror(errno), strerror(error));
}

static void ask(struct sample *of, int importer)
{
	int fd = exporters[0].create(exporters[0].device, PAGE);
	__u32 attachment;

	of->size = 1;
	MEASURE(of, "declare", declare_one(fd, 0, 0));
	attachment = attach(importer, add_device(importer), fd);
	map(importer, attachment, PAGE);
	/* The memory that it has lies above 16 MiB, and is mapped. */
	MEASURE(of, "declare, refused", declare_one(fd, 16 * MIB - 1, EBUSY));
	of->size = 2;
	MEASURE(of, "query", query(fd));
	while (of->size < USERS) {
		declare_one(fd, 0, 0);
		of->size++;
	}
	MEASURE(of, "query", query(fd));
	xclose(fd);
}

void test_ask(int rounds)
{
	struct sample of = { .test = "ask", .exporter = exporters[0].name };
	int i;

	device = xopen("/dev/cenalloc");
	for (i = -2; i < rounds; i++) {
		/* Its devices go with it. */
		int importer = xopen("/dev/cenalloc_importer");

		of.round = i;
		settle(i);
		ask(&of, importer);
		xclose(importer);
	}
	xclose(device);
}
