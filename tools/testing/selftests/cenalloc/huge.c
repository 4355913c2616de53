// SPDX-License-Identifier: GPL-2.0
/*
 * For the guest "huge": buffers of 4 GiB and more, for devices that take short segments,
 * or long ones, and for one that really moves bytes to and from any address.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "engine.h"

#define DEFAULT		(64 * KIB)	/* of segments, where the driver never said */
#define LONGEST		(2 * GIB)	/* of any segment */

static struct importer_segment shorts[6 * GIB / DEFAULT];

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

/* The device writes the bytes of one place to each of the others, and nowhere else. */
static void is_moved_by_a_device(struct __test_metadata *_metadata, int fd,
				 unsigned char *memory, __u64 len)
{
	/* In 4 GiB and a page, one of them crosses 4 GiB. */
	const __u64 to[] = { 5 * PAGE, 2 * GIB - 2048, len - PAGE - 3, len - 2048 };
	unsigned char expected[2048];
	int edu = open_device("/dev/cenalloc_edu");
	size_t i;

	ASSERT_LE(0, edu);
	ASSERT_EQ(BITS(64), edu_mask());
	ASSERT_EQ(0, call_number(edu, EDU_ATTACH, fd));
	ASSERT_EQ(0, call(edu, EDU_MAP, &(struct edu_map){}));
	fill_bytes(expected, sizeof(expected), 42);
	memcpy(memory, expected, sizeof(expected));
	ASSERT_EQ(0, transfer(edu, 0, 0, sizeof(expected), EDU_TO_DEVICE));
	for (i = 0; i < ARRAY_SIZE(to); i++)
		ASSERT_EQ(0, transfer(edu, to[i], 0, sizeof(expected), EDU_FROM_DEVICE));
	for (i = 0; i < ARRAY_SIZE(to); i++) {
		EXPECT_EQ(0, memcmp(memory + to[i], expected, sizeof(expected))) {
			TH_LOG("at %llu", to[i]);
		}
		EXPECT_EQ(0, memory[to[i] - 1]);
	}
	/* And back from beyond. */
	memset(memory, 0, sizeof(expected));
	ASSERT_EQ(0, transfer(edu, len - 2048, 0, sizeof(expected), EDU_TO_DEVICE));
	ASSERT_EQ(0, transfer(edu, 0, 0, sizeof(expected), EDU_FROM_DEVICE));
	EXPECT_EQ(0, memcmp(memory, expected, sizeof(expected)));
	EXPECT_EQ(0, memory[sizeof(expected)]);
	close(edu);
}

TEST_F_TIMEOUT(huge, is_mapped_whole, 120)
{
	__u64 len = 4 * GIB + variant->more, last = len - PAGE, total = 0;
	struct importer_map defaults = {
		.segments = (uintptr_t)shorts,
		.count = ARRAY_SIZE(shorts),
	}, pages = {};
	static struct mapping mapping;
	int plain, long_ones;
	unsigned char *memory;
	__u32 i;

	plain = join(self->importer, self->fd,
		     DEVICE(.name = "plain", .parms_max_segment_size = DEFAULT));
	ASSERT_LE(0, plain);
	long_ones = join(self->importer, self->fd,
			 DEVICE(.name = "long", .max_segments = len / (4 * MIB) + 64,
				.parms_max_segment_size = LONGEST));
	ASSERT_LE(0, long_ones);
	ASSERT_EQ(0, map(self->importer, long_ones, &mapping));
	EXPECT_EQ(len, mapping_len(&mapping));
	EXPECT_GT(SEGMENTS, mapping.count);
	defaults.attachment = plain;
	ASSERT_EQ(0, call(self->importer, IMPORTER_MAP, &defaults));
	ASSERT_GE(ARRAY_SIZE(shorts), defaults.count);
	for (i = 0; i < defaults.count; i++) {
		ASSERT_GE(DEFAULT, shorts[i].len);
		total += shorts[i].len;
	}
	EXPECT_EQ(len, total);
	EXPECT_EQ(address_of(&mapping, 0), shorts[0].address);
	/* A million segments: one for each page. */
	pages.attachment = join(self->importer, self->fd, DEVICE(.parms_max_segment_size = PAGE));
	ASSERT_LE(0, (int)pages.attachment);
	ASSERT_EQ(0, call(self->importer, IMPORTER_MAP, &pages));
	EXPECT_EQ(len / PAGE, pages.count);
	ASSERT_EQ(0, unmap(self->importer, pages.attachment));

	/* The CPU sees the end, which wrapped to nothing would be the start. */
	memory = map_cpu(self->fd, len);
	ASSERT_NE(MAP_FAILED, (void *)memory);
	memory[last] = 1;
	EXPECT_EQ(0, memory[0]);
	EXPECT_EQ(0, memory[last - PAGE]);
	EXPECT_EQ(1, memory[last]);
	memory[last] = 0;
	is_moved_by_a_device(_metadata, self->fd, memory, len);
	munmap(memory, len);
	EXPECT_EQ(len, query_fields(self->fd).len);
	ASSERT_EQ(0, unmap(self->importer, plain));
	ASSERT_EQ(0, unmap(self->importer, long_ones));
	ASSERT_EQ(0, map(self->importer, plain, NULL));
}

TEST_HARNESS_MAIN
