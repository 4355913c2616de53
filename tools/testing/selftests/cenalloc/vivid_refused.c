// SPDX-License-Identifier: GPL-2.0
/*
 * vivid, refused. A program of its own, to be run last: the videobuf2 of some
 * kernels keeps a reference to a buffer that its device was refused for
 * (__prepare_dmabuf() does not put what attach_dmabuf failed with), so that the
 * buffer stays until the machine goes down.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "camera.h"

TEST(late_joiner_that_does_not_fit)
{
	int dma = open_camera(0), cpu = open_camera(1), importer = open_importer();
	int len = set_up(dma, RED);
	int fd = create(len), attachment;

	ASSERT_EQ(3 * WIDTH * HEIGHT, len);
	ASSERT_EQ(len, set_up(cpu, BLUE));
	ASSERT_LE(0, fd);
	attachment = join(importer, fd, DEVICE(.name = "early"));
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(importer, attachment, NULL));
	ASSERT_EQ(0, request(dma, 2));
	EXPECT_EQ(-EBUSY, queue(dma, 0, fd));
	EXPECT_REFUSAL(fd,
		       "vivid.0 needs addresses below 4 GiB, the memory is at 0x* *mapped by *early.*");
	EXPECT_EQ(1, buffer_number(fd, "users"));
	EXPECT_EQ(1, buffer_number(fd, "late"));
	/* The camera that needs no address is fine with it. */
	ASSERT_EQ(0, request(cpu, 2));
	EXPECT_EQ(0, queue(cpu, 0, fd));
	close(dma);
	close(cpu);
	close(importer);
	close(fd);
}

TEST_HARNESS_MAIN
