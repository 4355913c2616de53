// SPDX-License-Identifier: GPL-2.0
/* Whatever userspace does wrong, the kernel log does not fill. */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "modules.h"

#define TIMES	1000

FIXTURE(log) {
	int kmsg;
	int device;
	int importer;
	int fd;
};

FIXTURE_SETUP(log)
{
	self->device = open_device("/dev/cenalloc");
	ASSERT_LE(0, self->device);
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
	self->fd = create(MIB);
	ASSERT_LE(0, self->fd);
	self->kmsg = open_log();
	ASSERT_LE(0, self->kmsg);
}

FIXTURE_TEARDOWN(log)
{
	close(self->kmsg);
	close(self->fd);
	close(self->importer);
	close(self->device);
}

static int new_lines(int kmsg)
{
	char line[8192];
	int lines = 0;

	while (next_line(kmsg, line, sizeof(line)))
		lines++;
	return lines;
}

TEST_F(log, notices_lines)
{
	int fd = open("/dev/kmsg", O_WRONLY);

	ASSERT_LE(0, fd);
	ASSERT_LT(0, write(fd, "cenalloc selftest\n", 18));
	close(fd);
	EXPECT_EQ(1, new_lines(self->kmsg));
}

TEST_F(log, refused_attaches_are_limited)
{
	int device = add_device(self->importer, DEVICE(.max_address = 0xffff));
	int i;

	ASSERT_LE(0, device);
	for (i = 0; i < TIMES; i++)
		ASSERT_EQ(-EINVAL, attach(self->importer, device, self->fd));
	EXPECT_GE(20, new_lines(self->kmsg));
}

TEST_F(log, refused_late_joiners_are_limited)
{
	int first = join(self->importer, self->fd, DEVICE());
	int device = add_device(self->importer, DEVICE(.dma_mask = BITS(32)));
	int i;

	ASSERT_LE(0, device);
	ASSERT_EQ(0, map(self->importer, first, NULL));
	for (i = 0; i < TIMES; i++)
		ASSERT_EQ(-EBUSY, attach(self->importer, device, self->fd));
	EXPECT_EQ(TIMES, buffer_number(self->fd, "late"));
	EXPECT_GE(20, new_lines(self->kmsg));
}

TEST_F(log, wrong_calls_say_nothing)
{
	static char memory[16384];
	int i;

	for (i = 0; i < TIMES; i++) {
		struct cenalloc_create create = { .len = i % 2 ? 0 : -1ULL, .align = i };

		EXPECT_NE(0, call(self->device, CENALLOC_CREATE, &create));
		EXPECT_NE(0, call(self->device,
				  _IOC(3, CENALLOC_IOC_MAGIC, 3 + i % 200, i % 500), memory));
		EXPECT_NE(0, call(self->device, CENALLOC_CREATE, (void *)(uintptr_t)i));
		EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, self->fd, 0));
	}
	EXPECT_EQ(0, new_lines(self->kmsg));
}

TEST_F(log, failed_maps_say_nothing)
{
	int cpu = join(self->importer, self->fd, DEVICE(.flags = IMPORTER_NO_DMA));
	int i;

	ASSERT_LE(0, cpu);
	for (i = 0; i < TIMES; i++)
		ASSERT_EQ(-ENODEV, map(self->importer, cpu, NULL));
	EXPECT_EQ(0, new_lines(self->kmsg));
}

/* To be out of memory is an answer, not a reason for a page of backtrace. */
TEST_F(log, want_of_memory_says_little)
{
	int fd = create(LOW_MEMORY);
	int low = join(self->importer, fd, DEVICE(.LIMIT = LOW(24)));
	int i;

	ASSERT_LE(0, low);
	for (i = 0; i < 20; i++)
		ASSERT_EQ(-ENOMEM, map(self->importer, low, NULL));
	close(fd);
	EXPECT_GE(20, new_lines(self->kmsg));
}

TEST_HARNESS_MAIN
