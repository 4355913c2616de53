// SPDX-License-Identifier: GPL-2.0
/* The CPU's view of a buffer: mmap, the first touch, fork, DMA_BUF_IOCTL_SYNC. */

#include <sys/resource.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "touch.h"

#define LEN		(256 * KIB)
#define BUFFER_LEN	LEN
#include "buffer_fixture.h"

/* Page faults of this process so far. */
static long count_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

TEST_F(buffer, mmap_does_not_allocate)
{
	char *memory = map_cpu(self->fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_STREQ("empty", buffer_field(self->fd, "state"));
	munmap(memory, LEN);
	memory = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, self->fd, 0);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_STREQ("empty", buffer_field(self->fd, "state"));
	munmap(memory, LEN);
}

TEST_F(buffer, first_touch_allocates)
{
	char *memory = map_cpu(self->fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(0, touch(memory + LEN - 1, false));
	EXPECT_STREQ("backed", buffer_field(self->fd, "state"));
	EXPECT_STREQ("system", buffer_field(self->fd, "allocator"));
	EXPECT_EQ(0, buffer_number(self->fd, "maps"));
	munmap(memory, LEN);
	EXPECT_STREQ("backed", buffer_field(self->fd, "state"));
}

TEST_F(buffer, first_touch_respects_who_attached)
{
	static struct mapping mapping;
	char *memory = map_cpu(self->fd, LEN);
	int low = join(self->importer, self->fd, DEVICE(.LIMIT = LOW(28), .max_segments = 1));

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_LE(0, low);
	EXPECT_EQ(0, touch(memory, true));
	EXPECT_STREQ("system-contig", buffer_field(self->fd, "allocator"));
	ASSERT_EQ(0, map(self->importer, low, &mapping));
	EXPECT_EQ(1, mapping.count);
	EXPECT_LE(last_address(&mapping), LOW(28));
	munmap(memory, LEN);
}

/* Not a fault a page: a fault fills as much as it can. */
TEST_F(buffer, faults_are_few)
{
	const __u64 len = 16 * MIB;
	int fd = create(len);
	char *memory = map_cpu(fd, len);
	long before;
	__u64 at;

	ASSERT_NE(MAP_FAILED, memory);
	before = count_faults();
	for (at = 0; at < len; at += PAGE)
		__atomic_store_n(memory + at, 1, __ATOMIC_RELAXED);
	/* 4096 pages. */
	EXPECT_GT(64, count_faults() - before);
	munmap(memory, len);
	close(fd);
}

TEST_F(buffer, zero_at_first)
{
	unsigned char *memory = map_cpu(self->fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_TRUE(is_filled(memory, 0, LEN));
	munmap(memory, LEN);
}

TEST_F(buffer, two_mappings_show_one_memory)
{
	char *a = map_cpu(self->fd, LEN), *b;
	__u64 at;

	ASSERT_NE(MAP_FAILED, a);
	for (at = 0; at < LEN; at += 512)
		*(__u64 *)(a + at) = at + 1;
	b = map_cpu(self->fd, LEN);
	ASSERT_NE(MAP_FAILED, b);
	EXPECT_NE(a, b);
	EXPECT_EQ(0, memcmp(a, b, LEN));
	b[LEN - 1] = 0x77;
	EXPECT_EQ(0x77, a[LEN - 1]);
	munmap(a, LEN);
	EXPECT_EQ(0x77, b[LEN - 1]);
	munmap(b, LEN);
}

TEST_F(buffer, content_outlives_its_mappings)
{
	char *memory = map_cpu(self->fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	memset(memory, 0x5a, LEN);
	munmap(memory, LEN);
	memory = map_cpu(self->fd, LEN);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_TRUE(is_filled(memory, 0x5a, LEN));
	munmap(memory, LEN);
}

TEST_F(buffer, part_at_an_offset)
{
	char *all = map_cpu(self->fd, LEN), *part;
	__u64 offset;

	ASSERT_NE(MAP_FAILED, all);
	for (offset = 0; offset < LEN; offset += PAGE)
		*(__u64 *)(all + offset) = offset;
	for (offset = 0; offset < LEN; offset += 5 * PAGE) {
		part = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, offset);
		ASSERT_NE(MAP_FAILED, part);
		EXPECT_EQ(offset, *(__u64 *)part);
		*(__u64 *)part = ~offset;
		munmap(part, PAGE);
		EXPECT_EQ(~offset, *(__u64 *)(all + offset));
	}
	munmap(all, LEN);
}

/* The buffer's own memory is found where the mapping starts in the middle of a piece. */
TEST_F(buffer, first_touch_through_a_part)
{
	char *part, *all;

	part = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, LEN - 5 * PAGE);
	ASSERT_NE(MAP_FAILED, part);
	memset(part, 0x11, PAGE);
	memset(part + PAGE, 0x22, PAGE);
	memset(part + 2 * PAGE, 0x33, PAGE);
	all = map_cpu(self->fd, LEN);
	ASSERT_NE(MAP_FAILED, all);
	EXPECT_TRUE(is_filled(all, 0, LEN - 5 * PAGE));
	EXPECT_TRUE(is_filled(all + LEN - 5 * PAGE, 0x11, PAGE));
	EXPECT_TRUE(is_filled(all + LEN - 4 * PAGE, 0x22, PAGE));
	EXPECT_TRUE(is_filled(all + LEN - 3 * PAGE, 0x33, PAGE));
	EXPECT_TRUE(is_filled(all + LEN - 2 * PAGE, 0, 2 * PAGE));
	munmap(all, LEN);
	munmap(part, 3 * PAGE);
}

TEST_F(buffer, beyond_the_end)
{
	EXPECT_EQ(MAP_FAILED, map_cpu(self->fd, LEN + PAGE));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, self->fd, LEN));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, self->fd, LEN - PAGE));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, self->fd, 1ULL << 62));
	EXPECT_STREQ("empty", buffer_field(self->fd, "state"));
}

TEST_F(buffer, cannot_grow)
{
	char *memory = map_cpu(self->fd, LEN / 2);

	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(MAP_FAILED, mremap(memory, LEN / 2, LEN, MREMAP_MAYMOVE));
	EXPECT_EQ(0, touch(memory, true));
	EXPECT_EQ(MAP_FAILED, mremap(memory, LEN / 2, 2 * LEN, MREMAP_MAYMOVE));
	munmap(memory, LEN / 2);
}

TEST_F(buffer, can_move)
{
	char *memory = map_cpu(self->fd, LEN);
	char *place = mmap(NULL, LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_NE(MAP_FAILED, place);
	memory[0] = 1;
	memory[LEN - 1] = 2;
	ASSERT_EQ(place, mremap(memory, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, place));
	EXPECT_EQ(1, place[0]);
	EXPECT_EQ(2, place[LEN - 1]);
	EXPECT_EQ(SIGSEGV, touch(memory, false));
	munmap(place, LEN);
}

TEST_F(buffer, private_is_refused)
{
	EXPECT_EQ(MAP_FAILED, mmap(NULL, LEN, PROT_READ, MAP_PRIVATE, self->fd, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd, 0));
	EXPECT_EQ(EINVAL, errno);
}

TEST_F(buffer, mapping_keeps_the_buffer)
{
	unsigned int buffers = count_buffers();
	char *memory = map_cpu(self->fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	memory[0] = 42;
	close(self->fd);
	EXPECT_EQ(buffers, settled_buffers(buffers));
	EXPECT_EQ(42, memory[0]);
	memory[LEN - 1] = 43;
	EXPECT_EQ(43, memory[LEN - 1]);
	munmap(memory, LEN);
	EXPECT_EQ(buffers - 1, settled_buffers(buffers - 1));
	self->fd = create(PAGE);
}

TEST_F(buffer, hole_in_a_mapping)
{
	char *memory = map_cpu(self->fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, munmap(memory + 4 * PAGE, PAGE));
	memset(memory, 1, 4 * PAGE);
	memset(memory + 5 * PAGE, 2, PAGE);
	EXPECT_EQ(SIGSEGV, touch(memory + 4 * PAGE, false));
	EXPECT_EQ(1, memory[4 * PAGE - 1]);
	EXPECT_EQ(2, memory[5 * PAGE]);
	munmap(memory, LEN);
}

TEST(write_through_a_read_only_descriptor)
{
	struct cenalloc_create create = { .len = LEN, .fd_flags = O_RDONLY };
	int fd = create_raw(&create);
	char *memory;

	ASSERT_LE(0, fd);
	EXPECT_EQ(MAP_FAILED, map_cpu(fd, LEN));
	EXPECT_EQ(EACCES, errno);
	memory = mmap(NULL, LEN, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(0, touch(memory, false));
	EXPECT_EQ(-1, mprotect(memory, LEN, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(SIGSEGV, touch(memory, true));
	munmap(memory, LEN);
	close(fd);
}

TEST(read_through_a_write_only_descriptor)
{
	struct cenalloc_create create = { .len = LEN, .fd_flags = O_WRONLY };
	int fd = create_raw(&create);

	ASSERT_LE(0, fd);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, LEN, PROT_READ, MAP_SHARED, fd, 0));
	EXPECT_EQ(EACCES, errno);
	close(fd);
}

TEST_F(buffer, protection_is_kept)
{
	char *memory = mmap(NULL, LEN, PROT_READ, MAP_SHARED, self->fd, 0);

	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(SIGSEGV, touch(memory, true));
	EXPECT_EQ(0, touch(memory, false));
	EXPECT_EQ(SIGSEGV, touch(memory, true));
	ASSERT_EQ(0, mprotect(memory, LEN, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, touch(memory, true));
	EXPECT_EQ(0, touch(memory + LEN - 1, true));
	ASSERT_EQ(0, mprotect(memory, LEN, PROT_NONE));
	EXPECT_EQ(SIGSEGV, touch(memory, false));
	ASSERT_EQ(0, mprotect(memory, LEN, PROT_READ));
	EXPECT_EQ(1, memory[0]);
	EXPECT_EQ(SIGSEGV, touch(memory + PAGE, true));
	munmap(memory, LEN);
}

TEST_F(buffer, fork_shares)
{
	char *memory = map_cpu(self->fd, LEN);
	int status, go[2], back[2];
	char byte;
	pid_t child;

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, pipe(back));
	memory[0] = 1;
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		bool seen = memory[0] == 1;

		memory[1] = 2;
		/* A page that only the child has touched so far. */
		memory[LEN - 1] = 3;
		if (write(back[1], "x", 1) != 1 || read(go[0], &byte, 1) != 1)
			_exit(2);
		_exit(!seen || memory[2] != 4);
	}
	ASSERT_EQ(1, read(back[0], &byte, 1));
	EXPECT_EQ(2, memory[1]);
	EXPECT_EQ(3, memory[LEN - 1]);
	memory[2] = 4;
	ASSERT_EQ(1, write(go[1], "x", 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	munmap(memory, LEN);
}

TEST_F(buffer, first_touch_by_a_child)
{
	char *memory = map_cpu(self->fd, LEN);
	int status;
	pid_t child;

	ASSERT_NE(MAP_FAILED, memory);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		memset(memory, 7, LEN);
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(is_filled(memory, 7, LEN));
	munmap(memory, LEN);
}

/* The kernel touches the mapping for the process. */
TEST_F(buffer, system_calls_read_and_write_it)
{
	char *memory = map_cpu(self->fd, LEN);
	char text[16] = "";
	int pipes[2];

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(6, write(pipes[1], "hello", 6));
	EXPECT_EQ(6, read(pipes[0], memory + PAGE - 3, 6));
	EXPECT_STREQ("hello", memory + PAGE - 3);
	EXPECT_EQ(6, write(pipes[1], memory + PAGE - 3, 6));
	EXPECT_EQ(6, read(pipes[0], text, 6));
	EXPECT_STREQ("hello", text);
	munmap(memory, LEN);
}

/* --- Nothing of the last user is seen by the next ------------------------- */

static void check_zeroed(struct __test_metadata *_metadata, int importer, __u64 len,
			 struct importer_add needs)
{
	int round;

	for (round = 0; round < 4; round++) {
		int fds[4];
		size_t i;

		for (i = 0; i < ARRAY_SIZE(fds); i++) {
			unsigned char *memory;

			fds[i] = create(len);
			ASSERT_LE(0, fds[i]);
			ASSERT_LE(0, join(importer, fds[i], needs));
			memory = map_cpu(fds[i], len);
			ASSERT_NE(MAP_FAILED, memory);
			EXPECT_TRUE(is_filled(memory, 0, len));
			memset(memory, 0xff, len);
			munmap(memory, len);
		}
		close(importer);
		for (i = 0; i < ARRAY_SIZE(fds); i++)
			close(fds[i]);
		importer = open_importer();
		ASSERT_LE(0, importer);
	}
	close(importer);
}

TEST(dirty_pages_come_back_zeroed)
{
	check_zeroed(_metadata, open_importer(), 2 * MIB + 20 * KIB, DEVICE());
}

TEST(dirty_single_pages_come_back_zeroed)
{
	check_zeroed(_metadata, open_importer(), 4 * KIB, DEVICE());
}

TEST(dirty_contiguous_memory_comes_back_zeroed)
{
	check_zeroed(_metadata, open_importer(), 512 * KIB, DEVICE(.max_segments = 1));
}

TEST(dirty_low_memory_comes_back_zeroed)
{
	check_zeroed(_metadata, open_importer(), 1 * MIB, DEVICE(.LIMIT = LOW(28)));
}

TEST(dirty_aligned_memory_comes_back_zeroed)
{
	check_zeroed(_metadata, open_importer(), 1 * MIB, DEVICE(.alignment = 256 * KIB));
}

/* --- No memory ------------------------------------------------------------ */

static int create_beyond_memory(int importer)
{
	int fd = create(LOW_MEMORY);

	return join(importer, fd, DEVICE(.LIMIT = LOW(24))) < 0 ? -1 : fd;
}

/* A touch brings SIGBUS: no OOM killer, no touch that is tried again for ever. */
TEST_F(buffer, touch_without_memory_is_sigbus)
{
	int fd = create_beyond_memory(self->importer);
	char *memory;

	ASSERT_LE(0, fd);
	memory = map_cpu(fd, LOW_MEMORY);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(SIGBUS, touch(memory, false));
	EXPECT_EQ(SIGBUS, touch(memory + LOW_MEMORY - 1, true));
	EXPECT_STREQ("empty", buffer_field(fd, "state"));
	munmap(memory, LOW_MEMORY);
	close(fd);
}

TEST_F(buffer, system_call_without_memory_is_efault)
{
	int fd = create_beyond_memory(self->importer);
	int pipes[2];
	char *memory;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, pipe(pipes));
	memory = map_cpu(fd, PAGE);
	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(1, write(pipes[1], "x", 1));
	EXPECT_EQ(-1, read(pipes[0], memory, 1));
	EXPECT_EQ(EFAULT, errno);
	munmap(memory, PAGE);
	close(fd);
}

/* With the device in need gone there is plenty, and the mapping works. */
TEST_F(buffer, touch_works_when_there_is_memory_again)
{
	int fd = create_beyond_memory(self->importer);
	char *memory;

	ASSERT_LE(0, fd);
	memory = map_cpu(fd, LOW_MEMORY);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(SIGBUS, touch(memory, true));
	close(self->importer);
	self->importer = open_importer();
	EXPECT_EQ(0, touch(memory, true));
	munmap(memory, LOW_MEMORY);
	close(fd);
}

/* --- DMA_BUF_IOCTL_SYNC --------------------------------------------------- */

TEST_F(buffer, sync_of_an_empty_buffer)
{
	EXPECT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
	EXPECT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
	EXPECT_STREQ("empty", buffer_field(self->fd, "state"));
}

TEST_F(buffer, sync_in_every_direction)
{
	const __u64 directions[] = { DMA_BUF_SYNC_READ, DMA_BUF_SYNC_WRITE, DMA_BUF_SYNC_RW };
	int attachments[3];
	char *memory = map_cpu(self->fd, LEN);
	size_t i, j;

	ASSERT_NE(MAP_FAILED, memory);
	for (i = 0; i < ARRAY_SIZE(attachments); i++) {
		attachments[i] = join(self->importer, self->fd, DEVICE());
		ASSERT_EQ(0, map_for(self->importer, attachments[i], i, NULL));
		for (j = 0; j < ARRAY_SIZE(directions); j++) {
			EXPECT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_START | directions[j]));
			memory[j] = 10 * i + j;
			EXPECT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_END | directions[j]));
			EXPECT_EQ((int)(10 * i + j), memory[j]);
		}
	}
	munmap(memory, LEN);
}

TEST_F(buffer, sync_that_does_not_pair)
{
	EXPECT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
	EXPECT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ));
	EXPECT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ));
	/* Closed in the middle of a section. */
}

TEST_F(buffer, sync_with_wrong_arguments)
{
	EXPECT_EQ(-EINVAL, sync_cpu(self->fd, DMA_BUF_SYNC_START));
	EXPECT_EQ(-EINVAL, sync_cpu(self->fd, DMA_BUF_SYNC_RW | 8));
	EXPECT_EQ(-EINVAL, sync_cpu(self->fd, -1ULL));
	EXPECT_EQ(-EFAULT, call(self->fd, DMA_BUF_IOCTL_SYNC, (void *)4096));
	EXPECT_EQ(-ENOTTY, call(self->fd, CENALLOC_CREATE, NULL));
}

TEST_HARNESS_MAIN
