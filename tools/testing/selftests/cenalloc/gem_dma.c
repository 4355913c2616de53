// SPDX-License-Identifier: GPL-2.0
/*
 * A driver on the GEM DMA helpers, which imports contiguous memory alone, of which nobody
 * says so. Its module is in no table.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "modules.h"
#include "vgem.h"
#include "gem_dma.h"

FIXTURE(gem_dma) {
	int card;
};

FIXTURE_SETUP(gem_dma)
{
	self->card = open_gem_dma();
	if (self->card == -ENODEV)
		SKIP(return, NO_GEM_DMA);
	ASSERT_LE(0, self->card);
}

FIXTURE_TEARDOWN(gem_dma)
{
	close(self->card);
}

/* The functions with which it imports show it. */
TEST_F(gem_dma, is_known)
{
	int fd = create(921600);
	struct cenalloc_user *user;
	struct told told;
	__u32 handle;

	ASSERT_EQ(0, import(self->card, fd, &handle));
	ASSERT_EQ(0, query(fd, &told));
	user = told_user(&told, GEM_DMA);
	ASSERT_NE(NULL, user);
	EXPECT_EQ(0, user->constraints.max_segments);
	EXPECT_EQ(CENALLOC_PREFERS_CONTIGUOUS, user->preferences);
	EXPECT_EQ(0, user->unmet);
	EXPECT_EQ(CENALLOC_SOURCE_OBJECTS, user->sources[CENALLOC_FIELD_CONTIGUOUS]);
	EXPECT_STREQ(GEM_DMA, user->origin);
	EXPECT_EQ(1, told.query.ranges);
	EXPECT_EQ(0, close_handle(self->card, handle));
	close(fd);
}

TEST_F(gem_dma, all_are_imported)
{
	const __u64 lens[] = { 172800, 921600, 2457600, 3686400 };
	int rounds = slower() > 1 ? 1 : 10;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		EXPECT_EQ(rounds * 10, import_many(self->card, rounds, 10, lens[i], false));
		EXPECT_EQ(rounds * 10, import_many(self->card, rounds, 10, lens[i], true));
	}
}

/* What was written before is there after, wherever the memory is then. */
TEST_F(gem_dma, bytes_are_kept)
{
	const __u64 len = 3686400;
	int fd = create(len);
	char *memory = map_cpu(fd, len);
	__u32 handle;

	ASSERT_NE(MAP_FAILED, memory);
	fill_bytes(memory, len, 1);
	EXPECT_EQ(0, import(self->card, fd, &handle));
	EXPECT_EQ(0, wrong_bytes(memory, len, 1));
	EXPECT_EQ(0, close_handle(self->card, handle));
	munmap(memory, len);
	close(fd);
}

TEST_HARNESS_MAIN
