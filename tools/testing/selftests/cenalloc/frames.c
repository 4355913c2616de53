// SPDX-License-Identifier: GPL-2.0
/*
 * For the guest "frames", which has an area of contiguous memory (CMA): frames above the
 * largest block, for a camera that imports contiguous memory alone, of which nobody says
 * so.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "camera.h"

#define AT_ONCE	4

FIXTURE(frames) {
	int camera;
};

FIXTURE_VARIANT(frames) {
	__u64 len;
};

FIXTURE_VARIANT_ADD(frames, full_hd) {
	.len = 1920 * 1080 * 4,
};

FIXTURE_VARIANT_ADD(frames, ultra_hd) {
	.len = 3840 * 2160 * 4,
};

FIXTURE_SETUP(frames)
{
	self->camera = open_camera(0);
	ASSERT_LE(0, self->camera);
	ASSERT_LT(0, set_up(self->camera, RED));
}

FIXTURE_TEARDOWN(frames)
{
	close(self->camera);
}

TEST_F(frames, all_queue)
{
	EXPECT_EQ(100, queue_many(self->camera, 25, AT_ONCE, variant->len, false));
}

/* Scattered memory that they have already is relocated. */
TEST_F(frames, all_that_were_touched_queue)
{
	EXPECT_EQ(20, queue_many(self->camera, 5, AT_ONCE, variant->len, true));
}

TEST_HARNESS_MAIN
