// SPDX-License-Identifier: GPL-2.0
/* Memory before the first use: CENALLOC_ALLOCATE. */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"

#define LEN		(300 * KIB)
#define BUFFER_LEN	LEN
#include "buffer_fixture.h"

static struct mapping one, two;

TEST_F(buffer, gives_memory)
{
	__u64 used = find_allocator("system").used;

	EXPECT_EQ(CENALLOC_STATE_EMPTY, query_fields(self->fd).state);
	ASSERT_EQ(0, allocate(self->fd));
	EXPECT_EQ(CENALLOC_STATE_BACKED, query_fields(self->fd).state);
	EXPECT_STREQ("system", query_fields(self->fd).allocator);
	EXPECT_EQ(used + LEN, find_allocator("system").used);
}

TEST_F(buffer, gives_memory_that_all_can_use)
{
	int attachment = join(self->importer, self->fd,
			      DEVICE(.dma_mask = BITS(32), .max_segments = 1));

	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, allocate(self->fd));
	EXPECT_STREQ("system-contig", query_fields(self->fd).allocator);
	ASSERT_EQ(0, map(self->importer, attachment, &one));
	EXPECT_EQ(1, one.count);
	EXPECT_LE(last_address(&one), BITS(32));
}

/* A second call changes nothing; map and touch find that memory. */
TEST_F(buffer, first_use_finds_it)
{
	int attachment = join(self->importer, self->fd, DEVICE()), i;
	__u64 used;
	char *memory;

	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, allocate(self->fd));
	used = find_allocator("system").used;
	ASSERT_EQ(0, map(self->importer, attachment, &one));
	ASSERT_EQ(0, unmap(self->importer, attachment));
	memory = map_cpu(self->fd, LEN);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(0, memory[LEN - 1]);
	fill_bytes(memory, LEN, 1);
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, allocate(self->fd));
	EXPECT_EQ(used, find_allocator("system").used);
	ASSERT_EQ(0, map(self->importer, attachment, &two));
	EXPECT_TRUE(same_memory(&one, &two));
	EXPECT_EQ(0, wrong_bytes(memory, LEN, 1));
	EXPECT_EQ(0, query_fields(self->fd).relocations);
	munmap(memory, LEN);
}

/* Nobody mapped first: no user is blamed for those who come too late. */
TEST_F(buffer, memory_that_came_by_it_can_move)
{
	ASSERT_EQ(0, allocate(self->fd));
	EXPECT_LE(0, join(self->importer, self->fd,
			  DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM_CONTIG)));
	EXPECT_EQ(1, query_fields(self->fd).relocations);
	EXPECT_EQ(0, query_fields(self->fd).late_refusals);
}

TEST(out_of_memory)
{
	__u64 used = find_allocator("system").used;
	int importer = open_importer(), fd = create(LOW_MEMORY), i;

	ASSERT_LE(0, fd);
	ASSERT_LE(0, join(importer, fd, DEVICE(.LIMIT = LOW(24))));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(-ENOMEM, allocate(fd));
	EXPECT_EQ(CENALLOC_STATE_EMPTY, query_fields(fd).state);
	EXPECT_EQ(used, find_allocator("system").used);
	close(importer);
	/* What was refused is no reason for ever. */
	EXPECT_EQ(0, query_fields(fd).user_count);
	close(fd);
}

/* --- Wrong calls ---------------------------------------------------------- */

TEST_F(buffer, wrong_descriptors)
{
	int pipes[2], file = open("/", O_RDONLY), device = open_device("/dev/cenalloc");

	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(-EBADF, allocate(-1));
	EXPECT_EQ(-EBADF, allocate(1000));
	EXPECT_EQ(-EINVAL, allocate(pipes[0]));
	EXPECT_EQ(-EINVAL, allocate(file));
	EXPECT_EQ(-EINVAL, allocate(device));
	EXPECT_EQ(-EINVAL, allocate(self->importer));
	EXPECT_EQ(CENALLOC_STATE_EMPTY, query_fields(self->fd).state);
	close(pipes[0]);
	close(pipes[1]);
	close(file);
	close(device);
}

TEST_F(buffer, unknown_flags)
{
	struct cenalloc_allocate allocate = { .fd = self->fd };
	int bit;

	for (bit = 0; bit < 32; bit++) {
		allocate.flags = 1U << bit;
		EXPECT_EQ(-EINVAL, ask(CENALLOC_ALLOCATE, &allocate));
	}
	EXPECT_EQ(CENALLOC_STATE_EMPTY, query_fields(self->fd).state);
}

/* A buffer that may only be read gets memory all the same. */
TEST(read_only_descriptor)
{
	struct cenalloc_create create = { .len = 4096, .fd_flags = O_RDONLY | O_CLOEXEC };
	int fd = create_raw(&create);

	ASSERT_LE(0, fd);
	EXPECT_EQ(0, allocate(fd));
	EXPECT_EQ(CENALLOC_STATE_BACKED, query_fields(fd).state);
	close(fd);
}

TEST_HARNESS_MAIN
