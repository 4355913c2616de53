// SPDX-License-Identifier: GPL-2.0
/*
 * QEMU's edu device: a DMA engine of 28 bits that reads and writes the memory
 * that it was given. A transfer takes a tenth of a second.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "engine.h"
#include "policy.h"

#define LEN	(64 * KIB)

FIXTURE(edu) {
	int edu;
	int fd;
};

FIXTURE_SETUP(edu)
{
	self->edu = open_device("/dev/cenalloc_edu");
	ASSERT_LE(0, self->edu);
	self->fd = create(LEN);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(edu)
{
	close(self->edu);
	close(self->fd);
}

static void fill(unsigned char *at, size_t len, unsigned int seed)
{
	while (len--) {
		seed = seed * 1103515245 + 12345;
		*at++ = seed >> 16;
	}
}

TEST_F(edu, narrows_to_28_bits)
{
	char lines[LINE];

	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	EXPECT_STREQ("2^28", buffer_field(self->fd, "below"));
	EXPECT_STREQ("empty", buffer_field(self->fd, "state"));
	device_lines(self->fd, lines, sizeof(lines));
	EXPECT_MATCH(field(lines, "device"),
		     "*edu* 0000:*");
	EXPECT_EQ(0, call_number(self->edu, EDU_DETACH, 0));
	EXPECT_STREQ("any", buffer_field(self->fd, "below"));
}

TEST_F(edu, memory_below_28_bits)
{
	static struct mapping mapping;

	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	ASSERT_EQ(0, edu_map(self->edu, &mapping));
	EXPECT_EQ(LEN, mapping_len(&mapping));
	EXPECT_LE(last_address(&mapping), BITS(28));
	EXPECT_STREQ("backed", buffer_field(self->fd, "state"));
	EXPECT_EQ(0, call_number(self->edu, EDU_UNMAP, 0));
	EXPECT_EQ(0, buffer_number(self->fd, "maps"));
}

/*
 * Segments that the administrator keeps short stay so, also behind an IOMMU, whose
 * driver makes one of neighbours: the device itself takes any length.
 */
TEST_F(edu, short_segments_stay_short)
{
	static struct mapping mapping;
	char lines[LINE], policy[64];
	__u32 i;

	if (!have_policies())
		SKIP(return, "there is no configfs");
	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	device_lines(self->fd, lines, sizeof(lines));
	snprintf(policy, sizeof(policy), "pci:%s", strstr(field(lines, "device"), "0000:"));
	policy[strcspn(policy, "\"")] = '\0';
	ASSERT_EQ(0, call_number(self->edu, EDU_DETACH, 0));
	ASSERT_EQ(0, make_policy(policy));
	EXPECT_EQ(0, say(policy, "max_segment_size", "16384"));
	EXPECT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	EXPECT_EQ(0, edu_map(self->edu, &mapping));
	EXPECT_LE(LEN / 16384, mapping.count);
	for (i = 0; i < mapping.count; i++)
		EXPECT_GE(16384, mapping.segments[i].len);
	EXPECT_EQ(LEN, mapping_len(&mapping));
	EXPECT_EQ(0, call_number(self->edu, EDU_UNMAP, 0));
	EXPECT_EQ(0, call_number(self->edu, EDU_DETACH, 0));
	EXPECT_EQ(0, remove_policy(policy));
}

/* Bytes of the CPU cross the bus to the device and come back elsewhere. */
TEST_F(edu, bytes_cross_the_bus)
{
	unsigned char *memory = map_cpu(self->fd, LEN);
	unsigned char expected[EDU_MEMORY_SIZE];

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	/* The CPU's touch allocates what edu can reach. */
	fill(memory, LEN, 1);
	ASSERT_EQ(0, call_number(self->edu, EDU_MAP, (long)&(struct edu_map){}));
	fill(expected, sizeof(expected), 42);
	EXPECT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE));
	memcpy(memory, expected, sizeof(expected));
	EXPECT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE));
	ASSERT_EQ(0, transfer(self->edu, 0, 0, sizeof(expected), EDU_TO_DEVICE));
	ASSERT_EQ(0, transfer(self->edu, 40000, 0, sizeof(expected), EDU_FROM_DEVICE));
	EXPECT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ));
	EXPECT_EQ(0, memcmp(memory + 40000, expected, sizeof(expected)));
	EXPECT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ));
	munmap(memory, LEN);
}

TEST_F(edu, nothing_but_the_range_changes)
{
	unsigned char *memory = map_cpu(self->fd, LEN);
	static unsigned char expected[LEN];

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	fill(memory, LEN, 7);
	memcpy(expected, memory, LEN);
	ASSERT_EQ(0, call_number(self->edu, EDU_MAP, (long)&(struct edu_map){}));
	/* Across a page, at odd places, with odd lengths. */
	ASSERT_EQ(0, transfer(self->edu, 3001, 5, 2003, EDU_TO_DEVICE));
	ASSERT_EQ(0, transfer(self->edu, 20003, 5, 2003, EDU_FROM_DEVICE));
	memcpy(expected + 20003, expected + 3001, 2003);
	EXPECT_EQ(0, memcmp(memory, expected, LEN));
	munmap(memory, LEN);
}

TEST_F(edu, from_one_buffer_to_another)
{
	unsigned char *from = map_cpu(self->fd, LEN), *to;
	int other = create(LEN);

	ASSERT_NE(MAP_FAILED, from);
	ASSERT_LE(0, other);
	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	fill(from, LEN, 3);
	ASSERT_EQ(0, call_number(self->edu, EDU_MAP, (long)&(struct edu_map){}));
	ASSERT_EQ(0, transfer(self->edu, 8192, 0, 4096, EDU_TO_DEVICE));
	ASSERT_EQ(0, call_number(self->edu, EDU_DETACH, 0));
	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, other));
	ASSERT_EQ(0, call_number(self->edu, EDU_MAP, (long)&(struct edu_map){}));
	/* Memory that the device writes before the CPU has ever seen it. */
	ASSERT_EQ(0, transfer(self->edu, 12288, 0, 4096, EDU_FROM_DEVICE));
	to = map_cpu(other, LEN);
	ASSERT_NE(MAP_FAILED, to);
	EXPECT_EQ(0, memcmp(to + 12288, from + 8192, 4096));
	EXPECT_EQ(0, to[12287]);
	EXPECT_EQ(0, to[16384]);
	munmap(from, LEN);
	munmap(to, LEN);
	close(other);
}

TEST_F(edu, shares_with_a_device_of_other_cuts)
{
	static struct mapping mine, its;
	int importer = open_importer();
	int attachment = join(importer, self->fd,
			      DEVICE(.max_segment_size = 4096, .access_mask = 0x1));

	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	ASSERT_EQ(0, map(importer, attachment, &mine));
	ASSERT_EQ(0, edu_map(self->edu, &its));
	EXPECT_EQ(LEN / 4096, mine.count);
	EXPECT_TRUE(same_memory(&mine, &its));
	EXPECT_EQ(2, buffer_number(self->fd, "maps"));
	close(importer);
}

TEST_F(edu, late_joiner_out_of_reach)
{
	int importer = open_importer();
	int attachment = join(importer, self->fd, DEVICE(.name = "wide"));

	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(importer, attachment, NULL));
	EXPECT_EQ(-EBUSY, call_number(self->edu, EDU_ATTACH, self->fd));
	EXPECT_EQ(1, buffer_number(self->fd, "users"));
	EXPECT_MATCH(buffer_field(self->fd, "conflict"),
		     "*edu* 0000:* needs addresses below 2^28, memory is at 0x*_*_* and mapped by *wide.*");
	close(importer);
}

TEST_F(edu, buffer_that_it_cannot_reach_at_all)
{
	int fd = create(512 * MIB);

	ASSERT_LE(0, fd);
	EXPECT_EQ(-EINVAL, call_number(self->edu, EDU_ATTACH, fd));
	EXPECT_MATCH(buffer_field(fd, "conflict"),
		     "*edu* needs addresses below 2^28, the buffer has 536870912 bytes");
	close(fd);
}

TEST_F(edu, wrong_calls)
{
	EXPECT_EQ(-EBADF, call_number(self->edu, EDU_ATTACH, -1));
	EXPECT_EQ(-EINVAL, call_number(self->edu, EDU_ATTACH, self->edu));
	EXPECT_EQ(-EINVAL, call_number(self->edu, EDU_MAP, (long)&(struct edu_map){}));
	EXPECT_EQ(-EINVAL, call_number(self->edu, EDU_UNMAP, 0));
	EXPECT_EQ(-EINVAL, call_number(self->edu, EDU_DETACH, 0));
	EXPECT_EQ(-EINVAL, transfer(self->edu, 0, 0, 16, EDU_TO_DEVICE));
	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	EXPECT_EQ(-EBUSY, call_number(self->edu, EDU_ATTACH, self->fd));
	EXPECT_EQ(-EINVAL, transfer(self->edu, 0, 0, 16, EDU_TO_DEVICE));
	ASSERT_EQ(0, call_number(self->edu, EDU_MAP, (long)&(struct edu_map){}));
	EXPECT_EQ(-EBUSY, call_number(self->edu, EDU_MAP, (long)&(struct edu_map){}));
	EXPECT_EQ(-EINVAL, transfer(self->edu, LEN, 0, 1, EDU_TO_DEVICE));
	EXPECT_EQ(-EINVAL, transfer(self->edu, LEN - 1, 0, 2, EDU_TO_DEVICE));
	EXPECT_EQ(-EINVAL, transfer(self->edu, -1ULL, 0, 2, EDU_TO_DEVICE));
	EXPECT_EQ(-EINVAL, transfer(self->edu, 0, 4096, 1, EDU_TO_DEVICE));
	EXPECT_EQ(-EINVAL, transfer(self->edu, 0, 1, 4096, EDU_TO_DEVICE));
	EXPECT_EQ(-EINVAL, transfer(self->edu, 0, -1U, 2, EDU_TO_DEVICE));
	EXPECT_EQ(-EINVAL, transfer(self->edu, 0, 0, -1U, EDU_TO_DEVICE));
	EXPECT_EQ(-EINVAL, transfer(self->edu, 0, 0, 16, 2));
}

TEST_F(edu, closed_while_mapped)
{
	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	ASSERT_EQ(0, call_number(self->edu, EDU_MAP, (long)&(struct edu_map){}));
	EXPECT_EQ(1, buffer_number(self->fd, "maps"));
	close(self->edu);
	EXPECT_EQ(0, buffer_number(self->fd, "maps"));
	EXPECT_EQ(0, buffer_number(self->fd, "users"));
	self->edu = open_device("/dev/cenalloc_edu");
	EXPECT_LE(0, self->edu);
}

TEST_HARNESS_MAIN
