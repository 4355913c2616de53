// SPDX-License-Identifier: GPL-2.0
/*
 * Late joiners that the memory does not fit: it moves if nobody holds it where
 * it is. Its bytes stay, and so do the mappings of userspace.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "camera.h"

#define LEN		(700 * KIB)
#define BUFFER_LEN	LEN
#include "buffer_fixture.h"

static struct mapping one, two;

static void fill(char *memory, __u64 seed)
{
	__u64 at;

	for (at = 0; at < LEN; at += sizeof(at))
		*(__u64 *)(memory + at) = (at + seed) * 0x9e3779b97f4a7c15;
}

/* Bytes that are not as fill() left them. */
static __u64 count_wrong(const char *memory, __u64 seed)
{
	__u64 at, wrong = 0;

	for (at = 0; at < LEN; at += sizeof(at))
		wrong += *(__u64 *)(memory + at) != (at + seed) * 0x9e3779b97f4a7c15;
	return wrong;
}

#define LATE	DEVICE(.name = "late", .dma_mask = BITS(32), .max_segments = 1)

/* Memory above 4 GiB with bytes in it; returns a mapping of the CPU. */
static char *back_high(struct __test_metadata *_metadata, int importer, int fd)
{
	int attachment = join(importer, fd, DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM));
	char *memory = map_cpu(fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(importer, attachment, &one));
	ASSERT_LE(1ULL << 32, one.segments[0].address);
	fill(memory, 1);
	ASSERT_EQ(0, detach(importer, attachment));
	return memory;
}

TEST_F(buffer, idle_memory_moves)
{
	char *memory = back_high(_metadata, self->importer, self->fd);
	int late = join(self->importer, self->fd, LATE);

	ASSERT_LE(0, late);
	EXPECT_EQ(1, buffer_number(self->fd, "relocations"));
	EXPECT_EQ(0, buffer_number(self->fd, "late"));
	EXPECT_STREQ("system-contig", buffer_field(self->fd, "allocator"));
	ASSERT_EQ(0, map(self->importer, late, &two));
	EXPECT_EQ(1, two.count);
	EXPECT_LE(last_address(&two), BITS(32));
	EXPECT_EQ(LEN, mapping_len(&two));
	munmap(memory, LEN);
}

TEST_F(buffer, bytes_and_mappings_stay)
{
	char *memory = back_high(_metadata, self->importer, self->fd), *other;

	ASSERT_LE(0, join(self->importer, self->fd, LATE));
	EXPECT_EQ(0, count_wrong(memory, 1));
	fill(memory, 2);
	other = map_cpu(self->fd, LEN);
	ASSERT_NE(MAP_FAILED, other);
	EXPECT_EQ(0, count_wrong(other, 2));
	fill(other, 3);
	EXPECT_EQ(0, count_wrong(memory, 3));
	munmap(memory, LEN);
	munmap(other, LEN);
}

TEST_F(buffer, old_memory_is_given_back)
{
	__u64 system = find_allocator("system").used;
	__u64 contig = find_allocator("system-contig").used;
	char *memory = back_high(_metadata, self->importer, self->fd);

	EXPECT_EQ(system + LEN, find_allocator("system").used);
	ASSERT_LE(0, join(self->importer, self->fd, LATE));
	EXPECT_EQ(system, find_allocator("system").used);
	EXPECT_EQ(contig + LEN, find_allocator("system-contig").used);
	munmap(memory, LEN);
}

TEST_F(buffer, who_fits_moves_nothing)
{
	char *memory = back_high(_metadata, self->importer, self->fd);
	int late = join(self->importer, self->fd, DEVICE(.max_segment_size = 8192));

	ASSERT_LE(0, late);
	EXPECT_EQ(0, buffer_number(self->fd, "relocations"));
	ASSERT_EQ(0, map(self->importer, late, &two));
	EXPECT_TRUE(same_memory(&one, &two));
	munmap(memory, LEN);
}

TEST_F(buffer, who_attached_before_is_told_new_addresses)
{
	char *memory = back_high(_metadata, self->importer, self->fd);
	int before = join(self->importer, self->fd, DEVICE()), late;

	ASSERT_EQ(0, map(self->importer, before, &one));
	ASSERT_EQ(0, unmap(self->importer, before));
	late = join(self->importer, self->fd, LATE);
	ASSERT_LE(0, late);
	ASSERT_EQ(0, map(self->importer, before, &one));
	ASSERT_EQ(0, map(self->importer, late, &two));
	EXPECT_TRUE(same_memory(&one, &two));
	EXPECT_LE(last_address(&one), BITS(32));
	munmap(memory, LEN);
}

TEST_F(buffer, mapped_memory_stays)
{
	char *memory = back_high(_metadata, self->importer, self->fd);
	int first = join(self->importer, self->fd, DEVICE(.name = "first"));

	ASSERT_EQ(0, map(self->importer, first, &one));
	check_refused(_metadata, self->importer, self->fd, LATE, -EBUSY,
		      "*late.* needs *, the memory * *mapped by *first.*");
	EXPECT_EQ(0, count_wrong(memory, 1));
	ASSERT_EQ(0, unmap(self->importer, first));
	EXPECT_LE(0, join(self->importer, self->fd, LATE));
	EXPECT_EQ(1, buffer_number(self->fd, "relocations"));
	EXPECT_EQ(0, count_wrong(memory, 1));
	munmap(memory, LEN);
}

/* Also where the process that opened the section died in it. */
TEST_F(buffer, memory_in_use_by_the_cpu_moves)
{
	char *memory = back_high(_metadata, self->importer, self->fd);
	pid_t child;

	ASSERT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
	child = fork();
	if (!child) {
		sync_cpu(self->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
		raise(SIGKILL);
	}
	ASSERT_EQ(child, waitpid(child, NULL, 0));
	EXPECT_LE(0, join(self->importer, self->fd, LATE));
	EXPECT_EQ(1, buffer_number(self->fd, "relocations"));
	EXPECT_EQ(0, count_wrong(memory, 1));
	ASSERT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
	munmap(memory, LEN);
}

TEST_F(buffer, memory_with_a_kernel_address_stays)
{
	char *memory = back_high(_metadata, self->importer, self->fd);
	int camera = open_camera(1);

	ASSERT_LT(0, set_up(camera, RED));
	ASSERT_EQ(0, request(camera, 2));
	ASSERT_EQ(0, queue(camera, 0, self->fd));
	check_refused(_metadata, self->importer, self->fd, LATE, -EBUSY, "*late.* needs *");
	ASSERT_EQ(0, request(camera, 0));
	EXPECT_LE(0, join(self->importer, self->fd, LATE));
	EXPECT_EQ(0, count_wrong(memory, 1));
	close(camera);
	munmap(memory, LEN);
}

TEST_F(buffer, no_other_memory)
{
	int fd = create(LOW_MEMORY);
	char *memory = map_cpu(fd, LOW_MEMORY);

	ASSERT_NE(MAP_FAILED, memory);
	fill(memory, 5);
	check_refused(_metadata, self->importer, fd,
		      DEVICE(.name = "late", .LIMIT = LOW(24)), -ENOMEM,
		      "*late.* needs addresses below *, the memory *, and * from *");
	EXPECT_EQ(0, buffer_number(fd, "relocations"));
	EXPECT_EQ(0, count_wrong(memory, 5));
	munmap(memory, LOW_MEMORY);
	close(fd);
}

TEST_F(buffer, moves_many_times)
{
	char *memory = back_high(_metadata, self->importer, self->fd);
	int i;

	for (i = 0; i < 20; i++) {
		int late = join(self->importer, self->fd,
				i % 2 ? DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM) :
				DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM_CONTIG));

		ASSERT_LE(0, late);
		ASSERT_EQ(0, detach(self->importer, late));
	}
	EXPECT_EQ(20, buffer_number(self->fd, "relocations"));
	EXPECT_EQ(0, count_wrong(memory, 1));
	munmap(memory, LEN);
}

/* Another process reads and writes all the time: no byte is lost on the way. */
TEST_F(buffer, moves_under_the_hands_of_a_writer)
{
	char *memory = back_high(_metadata, self->importer, self->fd);
	__u64 *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int i, status;
	pid_t child;

	ASSERT_NE(MAP_FAILED, (void *)shared);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		__u64 round, at;

		for (round = 1; !__atomic_load_n(shared, __ATOMIC_ACQUIRE); round++) {
			for (at = 0; at < LEN; at += PAGE)
				*(__u64 *)(memory + at) = round + at;
			for (at = 0; at < LEN; at += PAGE)
				if (*(__u64 *)(memory + at) != round + at)
					_exit(1);
		}
		_exit(round < 3 ? 2 : 0);
	}
	for (i = 0; i < 60; i++) {
		int late = join(self->importer, self->fd,
				i % 2 ? DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM) :
				DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM_CONTIG));

		ASSERT_LE(0, late);
		ASSERT_EQ(0, detach(self->importer, late));
	}
	__atomic_store_n(shared, 1, __ATOMIC_RELEASE);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(60, buffer_number(self->fd, "relocations"));
	munmap(memory, LEN);
}

TEST_HARNESS_MAIN
