// SPDX-License-Identifier: GPL-2.0
/*
 * Contiguous memory for the most constrained user. For the guest "areas", whose
 * machine has one.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "engine.h"
#include "places.h"

static struct mapping mapping;

FIXTURE(coherent) {
	__u64 used;
	int importer;
};

FIXTURE_SETUP(coherent)
{
	self->used = find_allocator("dma-coherent").used;
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
}

FIXTURE_TEARDOWN(coherent)
{
	close(self->importer);
	EXPECT_EQ(self->used, settled_used("dma-coherent", self->used));
}

#define COHERENT(...)	NEEDS(.access_mask = CENALLOC_CLASS_DMA_COHERENT, ##__VA_ARGS__)

/* Within the area, below it, and limits that are no DMA masks. */
TEST_F(coherent, addresses_of_the_most_constrained)
{
	static const struct {
		__u64 limit;
		__u64 len;
	} needs[] = {
		{ 4 * GIB + 123, 4 * KIB },
		{ 4 * GIB + 123, 4 * MIB },
		{ BITS(32), 4 * KIB },
		{ BITS(32), 4 * MIB },
		{ LOW(28), 4 * MIB },
		{ CMA_START + 9 * MIB - 1, 4 * MIB },
		{ CMA_START + 9 * MIB + 123, 4 * MIB },
		{ LOW(26), 64 * KIB },
		{ LOW(26) - 16 * MIB + 123, 64 * KIB },
		{ LOW(24), 64 * KIB },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(needs); i++) {
		int fd = take(needs[i].len, COHERENT(.max_address = needs[i].limit));

		ASSERT_LE(0, fd) {
			TH_LOG("limit %#llx", needs[i].limit);
		}
		EXPECT_GE(needs[i].limit, address(fd) + needs[i].len - 1);
		close(fd);
	}
}

TEST_F(coherent, area_of_the_machine)
{
	int attachment, fd = create(8 * MIB);

	ASSERT_LE(0, fd);
	attachment = join(self->importer, fd,
			  DEVICE(.access_mask = CENALLOC_CLASS_DMA_COHERENT, .dma_mask = BITS(32)));
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(self->importer, attachment, &mapping));
	EXPECT_LE(CMA_START, address_of(&mapping, 0));
	EXPECT_GT(CMA_START + CMA_LEN, last_address(&mapping));
	/* That is what the area's own allocator has less. */
	EXPECT_EQ(CENALLOC_TEST_NO_MEMORY,
		  would_be(CMA_LEN, NEEDS(.access_mask = CENALLOC_CLASS_CMA)));
	close(fd);
}

TEST_F(coherent, engine_reads_and_writes_it)
{
	int fd = take(64 * KIB, COHERENT(.max_address = edu_reach()));
	char *memory = map_cpu(fd, 64 * KIB);

	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(0, cross_the_bus(fd, memory));
	munmap(memory, 64 * KIB);
	close(fd);
}

/* The device for which memory was had goes first. */
TEST_F(coherent, outlives_its_device)
{
	int fd = create(MIB), device, attachment;
	char *memory = map_cpu(fd, MIB);

	ASSERT_NE(MAP_FAILED, memory);
	device = add_device(self->importer, DEVICE(.access_mask = CENALLOC_CLASS_DMA_COHERENT,
						   .dma_mask = BITS(32)));
	attachment = attach(self->importer, device, fd);
	ASSERT_EQ(0, map(self->importer, attachment, NULL));
	fill_bytes(memory, MIB, 9);
	ASSERT_EQ(0, detach(self->importer, attachment));
	ASSERT_EQ(0, call_number(self->importer, IMPORTER_REMOVE, device));
	EXPECT_EQ(0, wrong_bytes(memory, MIB, 9));
	EXPECT_STREQ("dma-coherent", query_fields(fd).allocator);
	munmap(memory, MIB);
	close(fd);
}

/* Long buffers come from areas alone, and none lies so low. */
TEST_F(coherent, addresses_that_it_has_not)
{
	EXPECT_EQ(CENALLOC_TEST_NEVER, would_be(8 * MIB, COHERENT(.max_address = CMA_START)));
	EXPECT_EQ(CENALLOC_TEST_OK,
		  would_be(8 * MIB, COHERENT(.max_address = CMA_START + CMA_LEN - 1)));
	EXPECT_EQ(CENALLOC_TEST_OK, would_be(8 * MIB, COHERENT(.max_address = BITS(32))));
}

/* A short buffer has a large alignment from the area, which has it anyway. */
TEST_F(coherent, alignment_of_the_area)
{
	int fds[2], i;

	for (i = 0; i < 2; i++) {
		fds[i] = take((i + 1) * PAGE, COHERENT(.alignment = 2 * MIB));
		ASSERT_LE(0, fds[i]);
		EXPECT_EQ(0, address(fds[i]) % (2 * MIB));
		EXPECT_LE(CMA_START, address(fds[i]));
		EXPECT_GT(CMA_START + CMA_LEN, address(fds[i]));
	}
	close_all(fds, 2);
}

TEST_HARNESS_MAIN
