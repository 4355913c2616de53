// SPDX-License-Identifier: GPL-2.0
/* CENALLOC_CREATE: lengths, alignment, flags, names. */

#include <sys/resource.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"

/* Above any length a file can have, or above it once rounded up to pages. */
static const __u64 too_long[] = {
	-1ULL, -4095ULL, -4096ULL, -4097ULL, 1ULL << 63, (1ULL << 63) - 1,
	(1ULL << 63) - 4095,
};

static __u64 most_memory(void)
{
	struct cenalloc_allocator_info list[ALLOCATORS];
	int i, count = list_allocators(list);
	__u64 most = 0;

	for (i = 0; i < count; i++)
		if (list[i].max_len > most)
			most = list[i].max_len;
	return most;
}

TEST(length_zero)
{
	EXPECT_EQ(-EINVAL, create(0));
}

TEST(length_is_rounded_up_to_pages)
{
	const __u64 lengths[][2] = {
		{ 1, PAGE }, { PAGE - 1, PAGE }, { PAGE, PAGE }, { PAGE + 1, 2 * PAGE },
		{ MIB, MIB }, { MIB + 1, MIB + PAGE }, { 1 * GIB - 1, GIB },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		int fd = create(lengths[i][0]);

		ASSERT_LE(0, fd);
		EXPECT_EQ(lengths[i][1], (__u64)lseek(fd, 0, SEEK_END));
		EXPECT_EQ(lengths[i][1], buffer_number(fd, "size"));
		close(fd);
	}
}

TEST(length_beyond_any_file)
{
	unsigned int before = count_buffers();
	size_t i;

	for (i = 0; i < ARRAY_SIZE(too_long); i++) {
		EXPECT_EQ(-EINVAL, create(too_long[i])) {
			TH_LOG("length %#llx", too_long[i]);
		}
	}
	EXPECT_EQ(before, settled_buffers(before));
}

TEST(length_beyond_every_allocator)
{
	__u64 most = most_memory();
	int fd;

	ASSERT_LT(0, most);
	fd = create(most);
	EXPECT_LE(0, fd);
	close(fd);
	EXPECT_EQ(-EINVAL, create(most + PAGE));
	/* Rounding up takes it over. */
	EXPECT_EQ(-EINVAL, create(most + 1));
}

/* Many times the memory of the machine, since none of it is taken. */
TEST(length_takes_no_memory)
{
	__u64 most = most_memory();
	int fds[16];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = create(most);
		ASSERT_LE(0, fds[i]);
		EXPECT_EQ(most, (__u64)lseek(fds[i], 0, SEEK_END));
		EXPECT_STREQ("empty", buffer_field(fds[i], "state"));
		EXPECT_STREQ("-", buffer_field(fds[i], "allocator"));
	}
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

TEST(new_buffer_has_no_needs)
{
	int fd = create(PAGE);
	char line[LINE];

	ASSERT_LE(0, fd);
	buffer_line(fd, line);
	EXPECT_MATCH(line,
		     "id=[0-9]* inode=[0-9]* name=\"test*\" size=4096 state=empty class=any below=any segments=any align=1 coherent=0 allocator=- users=0 maps=0 kernel_maps=0 holders=0 waiting=0 late=0 relocations=0 refusals=0 refusal=\"\"");
	close(fd);
}

TEST(identifiers_differ)
{
	int a = create(PAGE), b = create(PAGE);

	ASSERT_LE(0, a);
	ASSERT_LE(0, b);
	EXPECT_NE(buffer_number(a, "id"), buffer_number(b, "id"));
	EXPECT_NE(buffer_number(a, "inode"), buffer_number(b, "inode"));
	close(a);
	close(b);
}

TEST(identifier_is_told)
{
	struct cenalloc_create create = { .len = PAGE, .fd_flags = O_RDWR, .id = ~0ULL };
	__u64 last;

	ASSERT_LE(0, create_raw(&create));
	EXPECT_LT(0, create.id);
	EXPECT_EQ(create.id, buffer_number(create.fd, "id"));
	EXPECT_EQ(create.id, query_fields(create.fd).id);
	close(create.fd);
	last = create.id;
	ASSERT_LE(0, create_raw(&create));
	EXPECT_LT(last, create.id);
	close(create.fd);
}

TEST(alignment_up_to_a_page)
{
	__u64 align;

	for (align = 1; align <= PAGE; align *= 2) {
		int fd = create_aligned(PAGE, align);

		ASSERT_LE(0, fd);
		EXPECT_EQ(align, buffer_number(fd, "align"));
		close(fd);
	}
}

TEST(alignment_above_a_page)
{
	__u64 align;

	for (align = 2 * PAGE; align <= 2 * MIB; align *= 2) {
		int fd = create_aligned(4 * MIB, align);

		ASSERT_LE(0, fd);
		EXPECT_EQ(align, buffer_number(fd, "align"));
		close(fd);
	}
}

TEST(alignment_no_power_of_two)
{
	const __u64 wrong[] = { 3, 4095, 4097, 12288, -1ULL, (1ULL << 63) + 1, 3ULL << 62 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		EXPECT_EQ(-EINVAL, create_aligned(PAGE, wrong[i])) {
			TH_LOG("alignment %#llx", wrong[i]);
		}
	}
}

/* A block of the page allocator is not split for a buffer that keeps it from being whole. */
TEST(alignment_above_the_length)
{
	__u64 len;
	int fd;

	for (len = PAGE; len <= 2 * MIB; len *= 2) {
		EXPECT_EQ(-EINVAL, create_aligned(len, 2 * len));
		fd = create_aligned(len + PAGE, 2 * len);
		EXPECT_LE(0, fd) {
			TH_LOG("length %#llx", len + PAGE);
		}
		close(fd);
	}
}

TEST(alignment_beyond_every_allocator)
{
	EXPECT_EQ(-EINVAL, create_aligned(PAGE, 1ULL << 63));
	EXPECT_EQ(-EINVAL, create_aligned(PAGE, 1ULL << 40));
	EXPECT_EQ(-EINVAL, create_aligned(64 * MIB, 64 * MIB));
}

TEST(unknown_flags)
{
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		struct cenalloc_create create = {
			.len = PAGE,
			.fd_flags = O_RDWR,
			.flags = 1U << bit,
		};

		EXPECT_EQ(-EINVAL, create_raw(&create)) {
			TH_LOG("bit %u", bit);
		}
	}
}

TEST(unknown_fd_flags)
{
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		struct cenalloc_create create = {
			.len = PAGE,
			.fd_flags = O_RDWR | 1U << bit,
		};

		if ((1U << bit) & (O_ACCMODE | O_CLOEXEC))
			continue;
		EXPECT_EQ(-EINVAL, create_raw(&create)) {
			TH_LOG("bit %u", bit);
		}
	}
}

TEST(no_such_access_mode)
{
	struct cenalloc_create create = { .len = PAGE, .fd_flags = O_ACCMODE };

	EXPECT_EQ(-EINVAL, create_raw(&create));
}

TEST(access_mode_of_descriptor)
{
	const int modes[] = { O_RDONLY, O_WRONLY, O_RDWR };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		struct cenalloc_create create = { .len = PAGE, .fd_flags = modes[i] };
		int fd = create_raw(&create);

		ASSERT_LE(0, fd);
		EXPECT_EQ(modes[i], fcntl(fd, F_GETFL) & O_ACCMODE);
		close(fd);
	}
}

TEST(close_on_exec)
{
	struct cenalloc_create with = { .len = PAGE, .fd_flags = O_RDWR | O_CLOEXEC };
	struct cenalloc_create without = { .len = PAGE, .fd_flags = O_RDWR };
	int fd;

	fd = create_raw(&with);
	ASSERT_LE(0, fd);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	close(fd);
	fd = create_raw(&without);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, fcntl(fd, F_GETFD));
	close(fd);
}

TEST(name_in_fdinfo_and_debugfs)
{
	struct cenalloc_create create = {
		.len = PAGE,
		.fd_flags = O_RDWR,
		.name = "test of a name of thirty-one ch",
	};
	char path[64], text[LINE], line[LINE];
	int fd;

	ASSERT_EQ(CENALLOC_NAME_LEN - 1, strlen(create.name));
	fd = create_raw(&create);
	ASSERT_LE(0, fd);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	EXPECT_TRUE(find_line(slurp(path, text, sizeof(text)), "name:\ttest of", line, LINE));
	EXPECT_STREQ("name:\ttest of a name of thirty-one ch", line);
	EXPECT_STREQ(create.name, buffer_field(fd, "name"));
	close(fd);
}

TEST(name_without_end)
{
	struct cenalloc_create create = { .len = PAGE, .fd_flags = O_RDWR };

	memset(create.name, 'x', sizeof(create.name));
	EXPECT_EQ(-EINVAL, create_raw(&create));
}

TEST(name_empty)
{
	struct cenalloc_create create = { .len = PAGE, .fd_flags = O_RDWR };
	unsigned int before = count_buffers();
	int fd = create_raw(&create);

	ASSERT_LE(0, fd);
	EXPECT_EQ(before + 1, count_buffers());
	close(fd);
}

/* Names stand in lines of text, in quotes. */
TEST(name_that_would_forge_lines)
{
	const char *const names[] = {
		"a\nid=1", "a\tb", "a\x1b[31m", "a\x7f", "\xff", "\xc3\xa4", "a\" state=\"b",
	};
	unsigned int before = count_buffers();
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		struct cenalloc_create create = { .len = PAGE, .fd_flags = O_RDWR };

		snprintf(create.name, sizeof(create.name), "%s", names[i]);
		EXPECT_EQ(-EINVAL, create_raw(&create)) {
			TH_LOG("name %zu", i);
		}
	}
	EXPECT_EQ(before, settled_buffers(before));
}

TEST(no_free_descriptor)
{
	unsigned int before = count_buffers();
	int device = open_device("/dev/cenalloc");
	struct cenalloc_create create = { .len = PAGE, .fd_flags = O_RDWR };
	struct rlimit limit = { .rlim_cur = device + 1, .rlim_max = device + 1 };
	struct rlimit old;

	ASSERT_LE(0, device);
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &old));
	limit.rlim_max = old.rlim_max;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_EQ(-EMFILE, call(device, CENALLOC_CREATE, &create));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
	EXPECT_EQ(before, settled_buffers(before));
	close(device);
}

TEST(only_size_can_be_sought)
{
	int fd = create(2 * PAGE);

	ASSERT_LE(0, fd);
	EXPECT_EQ(2 * PAGE, lseek(fd, 0, SEEK_END));
	EXPECT_EQ(0, lseek(fd, 0, SEEK_SET));
	EXPECT_EQ(-1, lseek(fd, 1, SEEK_SET));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, lseek(fd, 0, SEEK_CUR));
	EXPECT_EQ(EINVAL, errno);
	close(fd);
}

TEST(buffer_outlives_the_device_file)
{
	int device = open_device("/dev/cenalloc");
	struct cenalloc_create create = { .len = PAGE, .fd_flags = O_RDWR };
	char *memory;

	ASSERT_LE(0, device);
	ASSERT_EQ(0, call(device, CENALLOC_CREATE, &create));
	close(device);
	memory = map_cpu(create.fd, PAGE);
	ASSERT_NE(MAP_FAILED, memory);
	memory[0] = 1;
	EXPECT_EQ(1, memory[0]);
	munmap(memory, PAGE);
	close(create.fd);
}

TEST(many_buffers)
{
	unsigned int before = count_buffers();
	int fds[256];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = create(GIB);
		ASSERT_LE(0, fds[i]);
	}
	EXPECT_EQ(before + ARRAY_SIZE(fds), count_buffers());
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	EXPECT_EQ(before, settled_buffers(before));
}

TEST_HARNESS_MAIN
