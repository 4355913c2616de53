// SPDX-License-Identifier: GPL-2.0
/*
 * For the guest "frames", which has an area of contiguous memory (CMA): frames above the
 * largest block, for a driver on the GEM DMA helpers, which nobody says imports contiguous
 * memory alone.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "modules.h"
#include "vgem.h"
#include "gem_dma.h"

#define FULL_HD	(1920 * 1080 * 4)
#define AT_ONCE	4

TEST(all_are_imported)
{
	int card = open_gem_dma();

	ASSERT_LE(0, card);
	EXPECT_EQ(100, import_many(card, 25, AT_ONCE, FULL_HD, false));
	close(card);
}

/* Scattered memory that they have already is relocated. */
TEST(all_that_were_touched)
{
	int card = open_gem_dma();

	ASSERT_LE(0, card);
	EXPECT_EQ(20, import_many(card, 5, AT_ONCE, FULL_HD, true));
	close(card);
}

TEST_HARNESS_MAIN
