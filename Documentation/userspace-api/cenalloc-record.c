// SPDX-License-Identifier: GPL-2.0
/*
 * Preview, then record: one frame that a camera writes and a display shows, and
 * that an encoder reads from the moment somebody presses the button.
 *
 * usage: cenalloc-record CAMERA DISPLAY ENCODER
 *
 * Each is BUS:DEVICE, as in /sys/bus: "platform:vivid.0", "pci:0000:00:02.0".
 */

#include <fcntl.h>
#include <linux/cenalloc.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* One frame of 1280 x 720 pixels, NV12. */
#define LEN	(1280 * 720 * 3 / 2)

static int cenalloc;

/* Where the buffer stands, and who uses it. */
static void tell(int fd, const char *when)
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
		return;
	}
	printf("%s: %s; combined: up to 0x%llx, segments %u (0: any)\n", when,
	       query.state == CENALLOC_STATE_BACKED ? query.allocator : "no memory",
	       (unsigned long long)query.combined.max_address, query.combined.max_segments);
	for (i = 0; i < query.user_count && i < 8; i++)
		printf("  %-28s up to 0x%llx, segments %u\n", users[i].name,
		       (unsigned long long)users[i].constraints.max_address,
		       users[i].constraints.max_segments);
	if (query.relocations)
		printf("  the memory was relocated %u times\n", query.relocations);
}

/* Why a call failed. The tool cenalloc(1) has words for it. */
static void tell_refusal(const struct cenalloc_refusal *refusal)
{
	printf("  refused: %s, cause %u, field %u: wanted 0x%llx, found 0x%llx; %s\n",
	       refusal->who, refusal->cause, refusal->field,
	       (unsigned long long)refusal->wanted, (unsigned long long)refusal->found,
	       refusal->other);
}

/*
 * Declares a user by "BUS:DEVICE", with what its driver does not tell. Where others
 * hold the memory, waits up to @seconds for them to let it go.
 */
static int declare(int fd, const char *user, unsigned int max_segments, int seconds)
{
	struct cenalloc_declare declare = {
		.fd = fd,
		.timeout = seconds * 1000000000LL,
		.constraints.max_segments = max_segments,
	};
	const char *colon = strchr(user, ':');

	if (!colon)
		return -1;
	snprintf(declare.bus, sizeof(declare.bus), "%.*s", (int)(colon - user), user);
	snprintf(declare.device, sizeof(declare.device), "%s", colon + 1);
	if (ioctl(cenalloc, CENALLOC_DECLARE, &declare)) {
		perror(user);
		tell_refusal(&declare.refusal);
		return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct cenalloc_create create = {
		.len = LEN,
		.fd_flags = O_RDWR | O_CLOEXEC,
		.name = "frame",
	};
	struct cenalloc_allocate allocate = {};

	if (argc != 4) {
		fprintf(stderr, "usage: cenalloc-record CAMERA DISPLAY ENCODER\n");
		return 1;
	}
	cenalloc = open("/dev/cenalloc", O_RDWR | O_CLOEXEC);
	if (cenalloc < 0 || ioctl(cenalloc, CENALLOC_CREATE, &create)) {
		perror("/dev/cenalloc");
		return 1;
	}
	tell(create.fd, "created");

	/* Preview: the camera writes contiguous memory, whatever its driver says. */
	if (declare(create.fd, argv[1], 1, 0) || declare(create.fd, argv[2], 0, 0))
		return 1;
	allocate.fd = create.fd;
	if (ioctl(cenalloc, CENALLOC_ALLOCATE, &allocate)) {
		perror("CENALLOC_ALLOCATE");
		tell_refusal(&allocate.refusal);
		return 1;
	}
	tell(create.fd, "preview");

	/*
	 * Frames go round: VIDIOC_QBUF, an atomic commit... The encoder joins as
	 * soon as the camera and the display have let the buffer go, for a moment,
	 * so that its memory can be relocated where the encoder needs that.
	 */
	if (declare(create.fd, argv[3], 0, 1)) {
		tell(create.fd, "cannot record");
		return 1;
	}
	tell(create.fd, "recording");
	close(create.fd);
	return 0;
}
