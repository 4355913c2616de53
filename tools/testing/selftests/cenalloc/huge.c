// SPDX-License-Identifier: GPL-2.0
/*
 * For the guest "huge": buffers of 4 GiB and more, for devices that take short segments,
 * or long ones.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"

#define SHORT		(2 * MIB)	/* of segments, such that there are not too many */
#define LONGEST		(2 * GIB)	/* of any segment */

FIXTURE(huge) {
	int importer;
	int fd;
};

FIXTURE_VARIANT(huge) {
	__u64 more;	/* than 4 GiB */
};

FIXTURE_VARIANT_ADD(huge, less_a_page) {
	.more = -4096,
};

FIXTURE_VARIANT_ADD(huge, even) {
	.more = 0,
};

FIXTURE_VARIANT_ADD(huge, and_a_page) {
	.more = 4096,
};

FIXTURE_VARIANT_ADD(huge, and_a_gib) {
	.more = 1ULL << 30,
};

FIXTURE_SETUP(huge)
{
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
	self->fd = create(4 * GIB + variant->more);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(huge)
{
	close(self->importer);
	close(self->fd);
}

TEST_F_TIMEOUT(huge, is_mapped_whole, 120)
{
	__u64 len = 4 * GIB + variant->more, last = len - PAGE;
	static struct mapping mapping, again;
	int plain, long_ones;
	char *memory;
	__u32 i;

	plain = join(self->importer, self->fd,
		     DEVICE(.name = "plain", .parms_max_segment_size = SHORT));
	ASSERT_LE(0, plain);
	long_ones = join(self->importer, self->fd,
			 DEVICE(.name = "long", .max_segments = len / (4 * MIB) + 64,
				.parms_max_segment_size = LONGEST));
	ASSERT_LE(0, long_ones);
	ASSERT_EQ(0, map(self->importer, long_ones, &mapping));
	EXPECT_EQ(len, mapping_len(&mapping));
	EXPECT_GT(SEGMENTS, mapping.count);
	ASSERT_EQ(0, map(self->importer, plain, &again));
	EXPECT_LE(len / SHORT, again.count);
	EXPECT_EQ(len, mapping_len(&again));
	for (i = 0; i < again.count && again.segments[i].len <= SHORT; i++)
		;
	EXPECT_EQ(again.count, i);
	EXPECT_EQ(address_of(&mapping, 0), address_of(&again, 0));

	/* The CPU sees the end, which wrapped to nothing would be the start. */
	memory = map_cpu(self->fd, len);
	ASSERT_NE(MAP_FAILED, (void *)memory);
	memory[last] = 1;
	EXPECT_EQ(0, memory[0]);
	EXPECT_EQ(0, memory[last - PAGE]);
	EXPECT_EQ(1, memory[last]);
	munmap(memory, len);
	EXPECT_EQ(len, query_fields(self->fd).len);
	ASSERT_EQ(0, unmap(self->importer, plain));
	ASSERT_EQ(0, unmap(self->importer, long_ones));
	ASSERT_EQ(0, map(self->importer, plain, &mapping));
	EXPECT_EQ(again.count, mapping.count);
}

TEST_HARNESS_MAIN
