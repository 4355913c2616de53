// SPDX-License-Identifier: GPL-2.0
/* What attaching costs where a buffer has many users. */

#include "bench.h"

#define USERS	64

static bool is_power_of_2(int n)
{
	return !(n & (n - 1));
}

/*
 * Attaches one device after the other, and detaches them backwards. What is kept
 * is that of the last of @size users.
 */
static void all_users(struct sample *of, int importer, const __u32 *devices, int fd,
		      const char *attach_step, const char *detach_step)
{
	__u32 attachments[USERS];
	int n;

	for (n = 1; n <= USERS; n++) {
		of->size = n;
		if (is_power_of_2(n))
			MEASURE(of, attach_step, attachments[n - 1] =
				attach(importer, devices[n - 1], fd));
		else
			attachments[n - 1] = attach(importer, devices[n - 1], fd);
	}
	for (n = USERS; n >= 1; n--) {
		of->size = n;
		if (is_power_of_2(n))
			MEASURE(of, detach_step, detach(importer, attachments[n - 1]));
		else
			detach(importer, attachments[n - 1]);
	}
}

static void users_of(struct sample *of, int importer, const __u32 *devices,
		     const struct exporter *exporter)
{
	int fd = exporter->create(exporter->device, PAGE);
	__u32 attachment;

	all_users(of, importer, devices, fd, "first attach", "first detach");
	attachment = attach(importer, devices[0], fd);
	map(importer, attachment, PAGE);
	detach(importer, attachment);
	all_users(of, importer, devices, fd, "attach", "detach");
	xclose(fd);
}

void test_users(int rounds)
{
	struct sample of = { .test = "users" };
	int importer = xopen("/dev/cenalloc_importer");
	__u32 devices[USERS];
	int i;

	for (i = 0; i < USERS; i++)
		devices[i] = add_device(importer);
	for (of.round = -WARM_UP; of.round < rounds; of.round++)
		for (i = 0; i < exporter_count; i++) {
			const struct exporter *exporter = turn(of.round, i);

			of.exporter = exporter->name;
			settle(of.round);
			users_of(&of, importer, devices, exporter);
		}
	xclose(importer);
}
