// SPDX-License-Identifier: GPL-2.0
/*
 * For a guest with little memory: buffers that take all of it, and more. Who
 * asks is told; nobody is killed for it.
 */

#include <sys/mman.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "touch.h"

/* Of a machine with 320 MiB. */
#ifdef __aarch64__
#define MAIN_ZONE	"  DMA"
#define INSIDE_ZONE	(GIB + 256 * MIB - 1)
#else
#define MAIN_ZONE	"DMA32"
#define INSIDE_ZONE	BITS(28)
#endif

#define BUFFER_LEN	(find_allocator("system").max_len)
#include "buffer_fixture.h"

static long counter(const char *name)
{
	static char text[32 * KIB];
	char line[128];

	slurp("/proc/vmstat", text, sizeof(text));
	if (!find_line(text, name, line, sizeof(line)))
		return -1;
	return strtol(line + strlen(name), NULL, 10);
}

TEST(guest_is_small)
{
	ASSERT_GE(1 * GIB, find_allocator("system").max_len);
	ASSERT_EQ(0, counter("oom_kill "));
}

/* All the memory there is, of which the kernel has some: no half of a buffer stays. */
TEST_F(buffer, map_of_all_memory)
{
	int attachment = join(self->importer, self->fd, DEVICE());
	__u64 used = used_by_all();

	ASSERT_LE(0, attachment);
	EXPECT_EQ(-ENOMEM, map(self->importer, attachment, NULL));
	EXPECT_STREQ("empty", buffer_field(self->fd, "state"));
	EXPECT_STREQ("-", buffer_field(self->fd, "allocator"));
	EXPECT_EQ(0, buffer_number(self->fd, "maps"));
	EXPECT_EQ(used, used_by_all());
	EXPECT_EQ(0, counter("oom_kill "));
}

TEST_F(buffer, touch_of_all_memory)
{
	__u64 len = find_allocator("system").max_len;
	char *memory = map_cpu(self->fd, len);

	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(SIGBUS, touch(memory + len / 2, true));
	EXPECT_STREQ("empty", buffer_field(self->fd, "state"));
	EXPECT_EQ(0, counter("oom_kill "));
	munmap(memory, len);
}

/* Buffer after buffer until there is no more, three times over. */
TEST_F(buffer, one_buffer_too_many)
{
	__u64 used = used_by_all();
	int round, i, ret, fds[256], counts[3];

	for (round = 0; round < 3; round++) {
		for (i = 0; i < (int)ARRAY_SIZE(fds); i++) {
			fds[i] = create(4 * MIB);
			ASSERT_LE(0, fds[i]);
			ret = join(self->importer, fds[i],
				   i % 2 ? DEVICE(.max_segments = 1) : DEVICE());
			ASSERT_LE(0, ret);
			ret = map(self->importer, ret, NULL);
			if (ret)
				break;
		}
		ASSERT_EQ(-ENOMEM, ret);
		EXPECT_EQ(used + i * 4 * MIB, used_by_all());
		EXPECT_STREQ("empty", buffer_field(fds[i], "state"));
		EXPECT_STREQ("backed", buffer_field(fds[i - 1], "state"));
		counts[round] = i;
		close(self->importer);
		self->importer = open_importer();
		ASSERT_LE(0, self->importer);
		for (; i >= 0; i--)
			close(fds[i]);
		usleep(50000);
		EXPECT_EQ(used, used_by_all());
	}
	/* What was given back was there again. */
	EXPECT_LE(counts[0] * 9 / 10, counts[2]);
	EXPECT_LT(16, counts[0]);
	EXPECT_EQ(0, counter("oom_kill "));
}

/* A number of the zone that most memory is in, in pages. */
static long zone_number(const char *name)
{
	static char text[64 * KIB];
	const char *at = strstr(slurp("/proc/zoneinfo", text, sizeof(text)),
				"zone    " MAIN_ZONE "\n");

	at = at ? strstr(at, name) : NULL;
	return at ? strtol(at + strlen(name), NULL, 10) : -1;
}

#define GIVEN_BACK	16	/* buffers, before anything else is done */

/* What is taken from inside a zone is not taken from its reserves. */
TEST(reserves_of_a_zone)
{
	const struct cenalloc_constraints low = {
		.max_address = INSIDE_ZONE,
		.max_segments = 1,
	};
	long least = zone_number("\n        min ");
	int fds[512], i, count = 0;

	ASSERT_LT(0, least);
	/* Whoever needs a page while there is none may be killed, or another process for it. */
	ASSERT_EQ(0, mlockall(MCL_CURRENT));
	ASSERT_EQ(0, write_file("/sys/module/cenalloc/parameters/uncharged_mib", "1024"));
	for (i = 0; i < (int)ARRAY_SIZE(fds); i++, count++) {
		fds[i] = create(MIB);
		ASSERT_EQ(0, declare_needs(fds[i], "low", low));
		if (allocate(fds[i]))
			break;
	}
	ASSERT_LT(2 * GIVEN_BACK, count);
	EXPECT_GT((int)ARRAY_SIZE(fds), count);
	/* To look takes memory, too. The kernel itself may go a little lower than the least. */
	for (i = 0; i < GIVEN_BACK; i++)
		close(fds[i]);
	EXPECT_LE(least * 3 / 4,
		  zone_number("\n  pages free ") - (long)(GIVEN_BACK * MIB / PAGE));
	EXPECT_EQ(0, counter("oom_kill "));
	for (; i <= count && i < (int)ARRAY_SIZE(fds); i++)
		close(fds[i]);
	ASSERT_EQ(0, write_file("/sys/module/cenalloc/parameters/uncharged_mib", "64"));
}

/* A process that is killed while it waits for much memory goes. */
TEST_F(buffer, killed_while_it_allocates)
{
	int status, *maps = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				 -1, 0);
	pid_t child;

	ASSERT_NE(MAP_FAILED, (void *)maps);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int importer = open_importer();
		int attachment = join(importer, self->fd, DEVICE());

		while (map(importer, attachment, NULL) == -ENOMEM)
			__atomic_add_fetch(maps, 1, __ATOMIC_RELAXED);
		_exit(0);
	}
	/* It does nothing else any more. */
	while (!__atomic_load_n(maps, __ATOMIC_RELAXED) && !waitpid(child, &status, WNOHANG))
		usleep(1000);
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_STREQ("empty", buffer_field(self->fd, "state"));
	EXPECT_EQ(0, buffer_number(self->fd, "users"));
}

TEST_HARNESS_MAIN
