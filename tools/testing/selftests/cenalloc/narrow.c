// SPDX-License-Identifier: GPL-2.0
/*
 * For the guest "narrow": all memory lies above what edu and its like reach, and no
 * IOMMU translates. They cannot take part, and are told why.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "modules.h"

#define BUFFER_LEN	(64 * KIB)
#include "buffer_fixture.h"

/* DMA is nothing for edu, which its driver sees when it comes. */
TEST(edu_is_refused_by_its_driver)
{
	ASSERT_STRNE("", edu_name());
	EXPECT_EQ(-ENOENT, open_device("/dev/cenalloc_edu"));
	clear_kernel_log();
	EXPECT_EQ(-EIO, rebind("pci", "cenalloc_edu", edu_name(), "bind"));
	EXPECT_NE(NULL, strstr(kernel_log(), "no memory up to 0xfffffff, all that it reaches"));
}

TEST_F(buffer, no_driver_no_needs)
{
	EXPECT_EQ(-ENODEV, declare_device(self->fd, "pci", edu_name()));
	EXPECT_EQ(0, query_fields(self->fd).user_count);
}

/* A driver that limits the addresses itself is told when it attaches. */
TEST_F(buffer, device_of_28_bits_is_told_why)
{
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.name = "narrow", .max_address = BITS(28)), -EINVAL,
		      "*narrow.* needs addresses below 256 MiB, and * gives from 0x40000000 on");
	EXPECT_EQ(0, buffer_number(self->fd, "users"));
	EXPECT_EQ(-EINVAL, declare_needs(self->fd, "narrow", NEEDS(.max_address = BITS(28))));
	EXPECT_EQ(0, buffer_number(self->fd, "users"));
}

/* One that reaches some memory is served. */
TEST_F(buffer, device_of_31_bits_takes_part)
{
	static struct mapping mapping;
	int attachment = join(self->importer, self->fd, DEVICE(.max_address = BITS(31)));

	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(self->importer, attachment, &mapping));
	EXPECT_LE(last_address(&mapping), BITS(31));
}

TEST_HARNESS_MAIN
