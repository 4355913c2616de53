// SPDX-License-Identifier: GPL-2.0
/* An area of contiguous memory (CMA). For the guest "areas". */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "camera.h"
#include "engine.h"
#include "places.h"
#include "policy.h"

#define BUFFERS	64

FIXTURE(cma) {
	__u64 used;
};

FIXTURE_SETUP(cma)
{
	self->used = find_allocator(CMA).used;
}

FIXTURE_TEARDOWN(cma)
{
	EXPECT_EQ(self->used, settled_used(CMA, self->used));
}

#define OF_CMA(...)	NEEDS(.access_mask = CENALLOC_CLASS_CMA, ##__VA_ARGS__)

TEST_F(cma, is_where_it_was_put)
{
	int fd;

	EXPECT_EQ(CMA_LEN, find_allocator(CMA).max_len);
	fd = take(CMA_MOST, OF_CMA());
	ASSERT_LE(0, fd);
	EXPECT_LE(CMA_START, address(fd));
	EXPECT_GE(CMA_START + CMA_LEN - CMA_MOST, address(fd));
	close(fd);
}

TEST_F(cma, one_too_many)
{
	int fds[BUFFERS], round, count, counts[2], other;

	for (round = 0; round < 2; round++) {
		count = take_all(fds, BUFFERS, 2 * MIB, OF_CMA());
		counts[round] = count;
		EXPECT_LE((int)(CMA_MOST / (2 * MIB)), count);
		EXPECT_GE((int)(CMA_LEN / (2 * MIB)), count);
		EXPECT_EQ(self->used + count * 2 * MIB, find_allocator(CMA).used);
		EXPECT_EQ(CENALLOC_TEST_NO_MEMORY,
			  would_be(CMA_LEN - count * 2 * MIB + PAGE, OF_CMA()));
		/* The next who has any. */
		other = take(2 * MIB, NEEDS(.access_mask = CENALLOC_CLASS_CMA |
							   CENALLOC_CLASS_CARVEOUT));
		ASSERT_LE(0, other);
		EXPECT_STREQ("ram", query_fields(other).allocator);
		close(other);
		/* What comes free is there again, wherever it is. */
		close(fds[count / 2]);
		settled_used(CMA, self->used + (count - 1) * 2 * MIB);
		fds[count / 2] = take(2 * MIB, OF_CMA());
		EXPECT_LE(0, fds[count / 2]);
		close_all(fds, count);
		ASSERT_EQ(self->used, settled_used(CMA, self->used));
	}
	EXPECT_EQ(counts[0], counts[1]);
}

TEST_F(cma, addresses_that_it_has_in_part)
{
	int fd = take(4 * MIB, OF_CMA(.max_address = CMA_START + 12 * MIB - 1));

	ASSERT_LE(0, fd);
	EXPECT_LE(CMA_START, address(fd));
	EXPECT_GE(CMA_START + 8 * MIB, address(fd));
	close(fd);
	EXPECT_EQ(CENALLOC_TEST_NEVER,
		  would_be(8 * MIB + PAGE, OF_CMA(.max_address = CMA_START + 8 * MIB - 1)));
	EXPECT_EQ(CENALLOC_TEST_NEVER, would_be(PAGE, OF_CMA(.max_address = CMA_START - 1)));
}

/* Whom no area serves is told which one would: it lies below what was asked for. */
TEST_F(cma, tells_which_area_would_do)
{
	struct cenalloc_refusal refusal;
	__u64 limit = CMA_START - 1;
	int fd = create(8 * MIB);

	EXPECT_EQ(-EINVAL, declare_until(fd, "", "scanout", OF_CMA(.max_address = limit), 0,
					 &refusal));
	EXPECT_EQ(CENALLOC_CAUSE_ALLOCATOR, refusal.cause);
	EXPECT_EQ(limit, refusal.max_address);
	EXPECT_EQ(8 * MIB, refusal.len);
	EXPECT_MATCH(buffer_field(fd, "refusal"),
		     "program scanout needs addresses below *; boot with cma=64M@0-*");
	close(fd);
}

/* A frame of 1920x1080 for a device that prefers one range, and is not said to need one. */
TEST_F(cma, for_what_is_preferred)
{
	const __u64 frame = 1920 * 1080 * 4 / PAGE * PAGE;
	int importer = open_importer(), attachment, fd;
	char device[64], policy[128];
	struct told told;
	char *memory;

	ASSERT_TRUE(add_preferring(importer, device, policy, sizeof(policy)));
	fd = create(frame);
	ASSERT_EQ(0, declare_device(fd, "platform", device));
	ASSERT_EQ(0, allocate(fd));
	EXPECT_STREQ(CMA, query_fields(fd).allocator);
	EXPECT_EQ(1, query_fields(fd).ranges);
	close(fd);
	/* Touched first, it moves there, with its bytes. */
	fd = create(frame);
	memory = map_cpu(fd, frame);
	fill_bytes(memory, frame, 5);
	EXPECT_STREQ("system", query_fields(fd).allocator);
	ASSERT_EQ(0, declare_device(fd, "platform", device));
	ASSERT_EQ(0, query(fd, &told));
	EXPECT_STREQ(CMA, told.query.allocator);
	EXPECT_EQ(1, told.query.relocations);
	EXPECT_EQ(0, told.users[0].unmet);
	EXPECT_EQ(0, wrong_bytes(memory, frame, 5));
	munmap(memory, frame);
	close(fd);
	/* Where it is in use it stays, and nobody is refused. */
	fd = create(frame);
	attachment = join(importer, fd, DEVICE());
	ASSERT_EQ(0, map(importer, attachment, NULL));
	ASSERT_EQ(0, declare_device(fd, "platform", device));
	ASSERT_EQ(0, query(fd, &told));
	EXPECT_STREQ("system", told.query.allocator);
	EXPECT_EQ(0, told.query.refusals + told.query.relocations);
	EXPECT_EQ(CENALLOC_PREFERS_CONTIGUOUS, told_user(&told, device)->unmet);
	/* The next who comes when it is idle has it moved. */
	ASSERT_EQ(0, detach(importer, attachment));
	ASSERT_LE(0, join(importer, fd, DEVICE()));
	EXPECT_EQ(1, query_fields(fd).relocations);
	close(fd);
	/* More than the area has. */
	fd = create(CMA_LEN + frame);
	ASSERT_EQ(0, declare_device(fd, "platform", device));
	ASSERT_EQ(0, allocate(fd));
	EXPECT_STREQ("system", query_fields(fd).allocator);
	close(fd);
	EXPECT_EQ(0, remove_policy(policy));
	close(importer);
}

/* Frames of 1920x1080, for a camera of which nobody says what it needs. */
TEST_F(cma, for_what_is_known)
{
	const __u64 frame = 1920 * 1080 * 4;
	int camera = open_camera(0), rounds, i, fds[3], queued = 0, placed = 0;

	ASSERT_LE(0, camera);
	for (rounds = 0; rounds < 20; rounds++) {
		ASSERT_EQ(0, request(camera, ARRAY_SIZE(fds)));
		for (i = 0; i < (int)ARRAY_SIZE(fds); i++) {
			fds[i] = create(frame);
			if (rounds % 2) {
				char *memory = map_cpu(fds[i], frame);

				memory[0] = 1;
				munmap(memory, frame);
			}
			queued += !queue(camera, i, fds[i]);
			placed += !strcmp(query_fields(fds[i]).allocator, CMA);
		}
		ASSERT_EQ(0, request(camera, 0));
		for (i = 0; i < (int)ARRAY_SIZE(fds); i++)
			close(fds[i]);
		settled_used(CMA, self->used);
	}
	EXPECT_EQ(20 * ARRAY_SIZE(fds), queued);
	EXPECT_EQ(20 * ARRAY_SIZE(fds), placed);
	close(camera);
}

TEST_F(cma, engine_reads_and_writes_it)
{
	int fd = take(64 * KIB, OF_CMA());
	char *memory = map_cpu(fd, 64 * KIB);

	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(0, cross_the_bus(fd, memory));
	munmap(memory, 64 * KIB);
	close(fd);
}

/* A device that needs one long piece is served, where without CMA it is not. */
TEST_F(cma, serves_who_needs_much_in_one_piece)
{
	int edu = open_device("/dev/cenalloc_edu"), fd = create(CMA_MOST);
	static struct mapping mapping;

	ASSERT_LE(0, edu);
	ASSERT_EQ(0, declare_needs(fd, "linear", NEEDS(.max_segments = 1)));
	ASSERT_EQ(0, call_number(edu, EDU_ATTACH, fd));
	ASSERT_EQ(0, edu_map(edu, &mapping));
	EXPECT_STREQ(CMA, query_fields(fd).allocator);
	EXPECT_EQ(1, mapping.count);
	EXPECT_GE(edu_mask(), last_address(&mapping));
	/* An IOMMU may translate what edu is told. */
	EXPECT_LE(CMA_START, address(fd));
	EXPECT_GE(CMA_START + CMA_LEN - CMA_MOST, address(fd));
	if (!edu_translated())
		EXPECT_EQ(address(fd), address_of(&mapping, 0));
	close(edu);
	close(fd);
}

TEST_HARNESS_MAIN
