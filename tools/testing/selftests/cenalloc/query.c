// SPDX-License-Identifier: GPL-2.0
/* What a buffer tells of itself: CENALLOC_QUERY. */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"

#define LEN		(200 * KIB)
#define QUERY_OF(size)	_IOC(_IOC_READ | _IOC_WRITE, CENALLOC_IOC_MAGIC, 6, size)
#define BUFFER_LEN	LEN
#include "buffer_fixture.h"

static struct told told;

/* What QUERY told is what debugfs tells. */
static void check_debugfs(struct __test_metadata *_metadata, int fd)
{
	const struct cenalloc_query *query = &told.query;
	char line[LINE];

	buffer_line(fd, line);
	EXPECT_EQ(query->id, strtoull(field(line, "id"), NULL, 10));
	EXPECT_EQ(query->inode, strtoull(field(line, "inode"), NULL, 10));
	EXPECT_STREQ(query->name, field(line, "name"));
	EXPECT_EQ(query->len, strtoull(field(line, "size"), NULL, 10));
	EXPECT_STREQ(query->state ? "backed" : "empty", field(line, "state"));
	EXPECT_STREQ(below(query->combined.max_address), field(line, "below"));
	EXPECT_STREQ(query->allocator[0] ? query->allocator : "-", field(line, "allocator"));
	EXPECT_EQ(query->user_count, strtoul(field(line, "users"), NULL, 10));
	EXPECT_EQ(query->kernel_maps, strtoul(field(line, "kernel_maps"), NULL, 10));
	EXPECT_EQ(query->holders, strtoul(field(line, "holders"), NULL, 10));
	EXPECT_EQ(query->waiting, strtoul(field(line, "waiting"), NULL, 10));
	EXPECT_EQ(query->late_refusals, strtoul(field(line, "late"), NULL, 10));
	EXPECT_EQ(query->relocations, strtoul(field(line, "relocations"), NULL, 10));
	EXPECT_EQ(query->refusals, strtoull(field(line, "refusals"), NULL, 10));
	EXPECT_EQ(!query->refusal.cause, !*field(line, "refusal"));
}

TEST_F(buffer, new_buffer)
{
	const struct cenalloc_constraints any = {};

	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_EQ(self->fd, told.query.fd);
	EXPECT_EQ(CENALLOC_STATE_EMPTY, told.query.state);
	EXPECT_EQ(buffer_number(self->fd, "id"), told.query.id);
	EXPECT_EQ(LEN, told.query.len);
	EXPECT_EQ(0, told.query.user_count);
	EXPECT_EQ(sizeof(struct cenalloc_user), told.query.user_size);
	/* A page is what everybody needs. */
	told.query.combined.alignment = 0;
	EXPECT_EQ(0, memcmp(&any, &told.query.combined, sizeof(any)));
	EXPECT_STREQ("", told.query.allocator);
	EXPECT_EQ(0, told.query.late_refusals);
	EXPECT_EQ(0, told.query.relocations);
	EXPECT_EQ(0, told.query.refusal.cause);
	EXPECT_EQ(0, told.query.refusal.field);
	EXPECT_EQ(0, told.query.refusal.wanted);
	EXPECT_EQ(0, told.query.refusal.found);
	EXPECT_STREQ("", told.query.refusal.who);
	EXPECT_STREQ("", told.query.refusal.other);
	EXPECT_EQ(0, told.query.refusals | told.query.refusal.sequence);
	EXPECT_EQ(CENALLOC_CACHING_NONE, told.query.caching);
	EXPECT_EQ(0, told.query.ranges | told.query.holds | told.query.holders);
	EXPECT_EQ(0, told.query.kernel_maps | told.query.waiting | told.query.left_segments);
	EXPECT_EQ(0, told.query.recycled);
	EXPECT_STREQ("", told.query.left);
	check_debugfs(_metadata, self->fd);
}

TEST(length_in_whole_pages)
{
	int fd = create(1), other = create(PAGE);

	EXPECT_EQ(PAGE, query_fields(fd).len);
	EXPECT_LT(query_fields(fd).id, query_fields(other).id);
	close(fd);
	close(other);
}

TEST_F(buffer, life_of_a_buffer)
{
	int attachment = join(self->importer, self->fd,
			      DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM));

	ASSERT_LE(0, attachment);
	EXPECT_EQ(CENALLOC_STATE_EMPTY, query_fields(self->fd).state);
	ASSERT_EQ(0, map(self->importer, attachment, NULL));
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_EQ(CENALLOC_STATE_BACKED, told.query.state);
	EXPECT_STREQ("system", told.query.allocator);
	EXPECT_NE(CENALLOC_CACHING_NONE, told.query.caching);
	EXPECT_LE(1, told.query.ranges);
	EXPECT_EQ(CENALLOC_HOLDER_MAPPING, told.query.holds);
	EXPECT_EQ(1, told.query.holders);
	check_debugfs(_metadata, self->fd);
	ASSERT_EQ(0, detach(self->importer, attachment));
	EXPECT_STREQ("system", query_fields(self->fd).allocator);
	ASSERT_LE(0, join(self->importer, self->fd,
			  DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM_CONTIG)));
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_STREQ("system-contig", told.query.allocator);
	EXPECT_EQ(1, told.query.relocations);
	EXPECT_EQ(1, told.query.ranges);
	EXPECT_EQ(0, told.query.holds | told.query.holders);
	check_debugfs(_metadata, self->fd);
}

/* Each with its own needs, and all of them together. */
TEST_F(buffer, users_and_what_they_need)
{
	const struct cenalloc_constraints first = {
		.access_mask = 0xff,
		.max_address = BITS(40),
		.max_segment_size = 128 * KIB,
		.segment_boundary_mask = BITS(30),
		.alignment = 8192,
		.max_segments = 50,
	}, second = {
		.access_mask = 0x0f,
		.max_address = BITS(32),
		.max_segment_size = 64 * KIB,
		.segment_boundary_mask = BITS(24),
		.alignment = 4096,
		.max_segments = 60,
	}, together = {
		.access_mask = 0x0f,
		.max_address = BITS(32),
		.max_segment_size = 64 * KIB,
		.segment_boundary_mask = BITS(24),
		.alignment = 8192,
		.max_segments = 50,
	};
	struct cenalloc_user *user;
	int attachment;

	attachment = join(self->importer, self->fd,
			  DEVICE(.name = "attached", .access_mask = first.access_mask,
				 .max_address = first.max_address,
				 .max_segment_size = first.max_segment_size,
				 .segment_boundary_mask = first.segment_boundary_mask,
				 .alignment = first.alignment,
				 .max_segments = first.max_segments));
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, declare_needs(self->fd, "declared", second));
	ASSERT_EQ(0, query(self->fd, &told));
	ASSERT_EQ(2, told.query.user_count);
	EXPECT_EQ(0, memcmp(&together, &told.query.combined, sizeof(together)));
	user = told_user(&told, "attached");
	ASSERT_NE(NULL, user);
	EXPECT_EQ(0, memcmp(&first, &user->constraints, sizeof(first)));
	EXPECT_EQ(CENALLOC_USER_ATTACHED, user->flags);
	EXPECT_EQ(0, user->late_refusals);
	user = told_user(&told, "declared");
	ASSERT_NE(NULL, user);
	EXPECT_STREQ("program declared", user->name);
	EXPECT_EQ(0, memcmp(&second, &user->constraints, sizeof(second)));
	EXPECT_EQ(CENALLOC_USER_DECLARED, user->flags);
	ASSERT_EQ(0, detach(self->importer, attachment));
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_EQ(1, told.query.user_count);
	EXPECT_EQ(0, memcmp(&second, &told.query.combined, sizeof(second)));
}

TEST_F(buffer, flags_of_users)
{
	int fixed = join(self->importer, self->fd, DEVICE(.name = "fixed"));
	int moving = join_dynamic(self->importer, self->fd, DEVICE(.name = "moving"));

	ASSERT_LE(0, fixed);
	ASSERT_LE(0, moving);
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_EQ(CENALLOC_USER_ATTACHED, told_user(&told, "fixed")->flags);
	EXPECT_EQ(CENALLOC_USER_ATTACHED | CENALLOC_USER_DYNAMIC,
		  told_user(&told, "moving")->flags);
	ASSERT_EQ(0, map(self->importer, fixed, NULL));
	ASSERT_EQ(0, map(self->importer, moving, NULL));
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_EQ(CENALLOC_USER_ATTACHED | CENALLOC_USER_MAPPED | CENALLOC_USER_PINNED,
		  told_user(&told, "fixed")->flags);
	EXPECT_EQ(CENALLOC_USER_ATTACHED | CENALLOC_USER_MAPPED | CENALLOC_USER_DYNAMIC,
		  told_user(&told, "moving")->flags);
	ASSERT_EQ(0, unmap(self->importer, fixed));
	ASSERT_EQ(0, unmap(self->importer, moving));
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_EQ(CENALLOC_USER_ATTACHED, told_user(&told, "fixed")->flags);
}

/* --- Names ---------------------------------------------------------------- */

/* Names are as long as the driver keeps them, and end. */
TEST_F(buffer, long_names)
{
	const char *name = "123456789012345678901234567890123456789012345678901234567890123";

	ASSERT_EQ(0, declare_needs(self->fd, name, NEEDS(.access_mask = 1)));
	EXPECT_EQ(-EINVAL, declare_needs(self->fd, name, NEEDS(.access_mask = 2)));
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_LE(32, strnlen(told.users[0].name, CENALLOC_DEVICE_LEN));
	EXPECT_GT(CENALLOC_DEVICE_LEN, strnlen(told.users[0].name, CENALLOC_DEVICE_LEN));
	EXPECT_EQ(0, strncmp("program ", told.users[0].name, strlen("program ")));
	EXPECT_EQ(0, strncmp(name, told.users[0].name + strlen("program "),
			     strlen(told.users[0].name) - strlen("program ")));
	EXPECT_STREQ(told.users[0].name, told.query.refusal.who);
	EXPECT_STREQ(told.users[0].name, told.query.refusal.other);
}

/* What a program calls its dma-buf later counts, and leads to who has it open. */
TEST_F(buffer, name_and_inode)
{
	unsigned int lines = count_buffers();
	struct stat stat;
	char text[LINE];

	ASSERT_EQ(0, fstat(self->fd, &stat));
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_EQ(stat.st_ino, told.query.inode);
	EXPECT_MATCH(told.query.name, "test*");
	check_debugfs(_metadata, self->fd);
	ASSERT_EQ(0, call(self->fd, DMA_BUF_SET_NAME_B, "frame 7"));
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_STREQ("frame 7", told.query.name);
	check_debugfs(_metadata, self->fd);
	/* This call lets anything be a name, which forges no line. */
	ASSERT_EQ(0, call(self->fd, DMA_BUF_SET_NAME_B, "a\"b\nid=1\xff\x1b"));
	EXPECT_EQ(lines, count_buffers());
	EXPECT_STREQ("empty", buffer_field(self->fd, "state"));
	EXPECT_EQ(told.query.id, buffer_number(self->fd, "id"));
	EXPECT_NULL(strpbrk(buffer_line(self->fd, text), "\x1b\xff"));
	EXPECT_NE(0, query_fields(self->fd).len);
}

/* Who has its path alone keeps a buffer whose file is gone. */
TEST_F(buffer, path_without_a_file)
{
	char path[64], before[LINE], after[LINE];
	int fd, i;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->fd);
	fd = open(path, O_PATH);
	ASSERT_LE(0, fd);
	buffer_line(fd, before);
	EXPECT_MATCH(before, "id=* name=\"test*");
	ASSERT_EQ(0, close(self->fd));
	self->fd = -1;
	/* Others get what was the file's. */
	for (i = 0; i < 100; i++) {
		close(create(LEN));
		usleep(1000);
	}
	EXPECT_STREQ(before, buffer_line(fd, after));
	close(fd);
}

/* --- Arrays ----------------------------------------------------------------- */

#define MARK	0xa5

/* Three users, room for fewer or more. */
TEST_F(buffer, short_arrays)
{
	struct cenalloc_user users[5], untouched;
	__u32 room, i;

	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, declare_needs(self->fd, i ? i == 1 ? "b" : "c" : "a", NEEDS()));
	for (room = 0; room <= 5; room++) {
		struct cenalloc_query query = {
			.fd = self->fd,
			.users = (uintptr_t)users,
			.user_count = room,
			.user_size = sizeof(users[0]),
		};

		memset(users, MARK, sizeof(users));
		memset(&untouched, MARK, sizeof(untouched));
		ASSERT_EQ(0, ask(CENALLOC_QUERY, &query));
		EXPECT_EQ(3, query.user_count);
		for (i = 0; i < 3 && i < room; i++)
			EXPECT_EQ('a' + (int)i, users[i].name[strlen("program ")]);
		for (; i < 5; i++)
			EXPECT_EQ(0, memcmp(&users[i], &untouched, sizeof(untouched)));
	}
}

TEST_F(buffer, sizes_of_an_entry)
{
	struct entry {
		struct cenalloc_user user;
		__u8 unknown[40];
	} entries[3];
	struct cenalloc_query query = {
		.fd = self->fd,
		.users = (uintptr_t)entries,
		.user_count = 3,
		.user_size = sizeof(entries[0]),
	};
	const __u32 bad[] = { 1, 8, sizeof(struct cenalloc_user) - 8,
			      sizeof(struct cenalloc_user) + 4, 4104, 1U << 31, ~0U };
	size_t i, j;

	ASSERT_EQ(0, declare_needs(self->fd, "a", NEEDS()));
	ASSERT_EQ(0, declare_needs(self->fd, "b", NEEDS()));
	/* Longer than the kernel's: what it does not know is zero. */
	memset(entries, MARK, sizeof(entries));
	ASSERT_EQ(0, ask(CENALLOC_QUERY, &query));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ("ab"[i], entries[i].user.name[strlen("program ")]);
		for (j = 0; j < sizeof(entries[i].unknown); j++)
			EXPECT_EQ(0, entries[i].unknown[j]);
	}
	EXPECT_EQ(MARK, (__u8)entries[2].user.name[0]);
	EXPECT_EQ(sizeof(entries[0]), query.user_size);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		query.user_size = bad[i];
		EXPECT_EQ(-EINVAL, ask(CENALLOC_QUERY, &query)) {
			TH_LOG("size %u", bad[i]);
		}
		/* No room, and yet no size of an entry. */
		query.users = 0;
		EXPECT_EQ(-EINVAL, ask(CENALLOC_QUERY, &query));
		query.users = (uintptr_t)entries;
	}
	query.user_size = 0;
	EXPECT_EQ(-EINVAL, ask(CENALLOC_QUERY, &query));
	query.users = 0;
	query.user_count = ~0U;
	EXPECT_EQ(0, ask(CENALLOC_QUERY, &query));
	EXPECT_EQ(2, query.user_count);
}

/* --- Wrong calls ---------------------------------------------------------- */

TEST_F(buffer, bad_addresses)
{
	char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	struct cenalloc_query query = {
		.fd = self->fd,
		.users = 8,
		.user_count = 1,
		.user_size = sizeof(struct cenalloc_user),
	};
	struct cenalloc_query *at;

	ASSERT_NE(MAP_FAILED, pages);
	ASSERT_EQ(0, mprotect(pages + PAGE, PAGE, PROT_NONE));
	ASSERT_EQ(0, declare_needs(self->fd, "a", NEEDS()));
	EXPECT_EQ(-EFAULT, ask(CENALLOC_QUERY, NULL));
	EXPECT_EQ(-EFAULT, ask(CENALLOC_QUERY, &query));
	query.users = ~0ULL - 8;
	EXPECT_EQ(-EFAULT, ask(CENALLOC_QUERY, &query));
	query.users = 0;
	/* The last byte of the structure is not there. */
	at = (void *)(pages + PAGE - sizeof(query) + 1);
	memcpy(at, &query, sizeof(query) - 1);
	EXPECT_EQ(-EFAULT, ask(CENALLOC_QUERY, at));
	at = (void *)(pages + PAGE - sizeof(query));
	memcpy(at, &query, sizeof(query));
	EXPECT_EQ(0, ask(CENALLOC_QUERY, at));
	/* Can be read and not written. */
	memset(pages, 0, PAGE);
	memcpy(pages, &query, sizeof(query));
	ASSERT_EQ(0, mprotect(pages, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, ask(CENALLOC_QUERY, pages));
	munmap(pages, 2 * PAGE);
}

TEST_F(buffer, wrong_calls)
{
	struct cenalloc_query queries[2] = { { .fd = self->fd } };
	const size_t size = sizeof(queries[0]);
	int device = open_device("/dev/cenalloc"), bit;

	ASSERT_LE(0, device);
	for (bit = 0; bit < 32; bit++) {
		queries[0].flags = 1U << bit;
		EXPECT_EQ(-EINVAL, call(device, CENALLOC_QUERY, queries));
	}
	queries[0].flags = 0;
	EXPECT_EQ(-EINVAL, call(device, QUERY_OF(size - 8), queries));
	EXPECT_EQ(0, call(device, QUERY_OF(2 * size), queries));
	queries[1].fd = 1;
	EXPECT_EQ(-E2BIG, call(device, QUERY_OF(2 * size), queries));
	queries[0].fd = -1;
	EXPECT_EQ(-EBADF, call(device, CENALLOC_QUERY, queries));
	queries[0].fd = device;
	EXPECT_EQ(-EINVAL, call(device, CENALLOC_QUERY, queries));
	queries[0].fd = self->importer;
	EXPECT_EQ(-EINVAL, call(device, CENALLOC_QUERY, queries));
	close(device);
}

/* Users that are written where the question is: the answer comes last. */
TEST_F(buffer, array_over_the_question)
{
	struct cenalloc_query query = {
		.fd = self->fd,
		.users = (uintptr_t)&query,
		.user_count = 3,
		.user_size = sizeof(struct cenalloc_user),
	}, apart;
	int i;

	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, declare_needs(self->fd, "over", NEEDS()));
	ASSERT_EQ(0, ask(CENALLOC_QUERY, &query));
	EXPECT_EQ((uintptr_t)&query, query.users);
	apart = query_fields(self->fd);
	EXPECT_EQ(0, memcmp(&apart.id, &query.id,
			    sizeof(query) - offsetof(struct cenalloc_query, id)));
}

/* What is told can be asked with again. */
TEST_F(buffer, answer_is_a_question)
{
	struct cenalloc_query query = { .fd = self->fd }, again;

	ASSERT_EQ(-EINVAL, declare_needs(self->fd, "a", NEEDS(.max_address = 8191)));
	ASSERT_EQ(0, ask(CENALLOC_QUERY, &query));
	again = query;
	ASSERT_EQ(0, ask(CENALLOC_QUERY, &again));
	EXPECT_EQ(0, memcmp(&query, &again, sizeof(query)));
}

/* Users that come and go, and many of them. */
TEST_F(buffer, many_users)
{
	static struct cenalloc_user users[600];
	struct cenalloc_query query = {
		.fd = self->fd,
		.users = (uintptr_t)users,
		.user_count = ARRAY_SIZE(users),
		.user_size = sizeof(users[0]),
	};
	unsigned int i;

	for (i = 0; i < 500; i++)
		ASSERT_EQ(0, declare_needs(self->fd, "one of many", NEEDS()));
	ASSERT_EQ(0, ask(CENALLOC_QUERY, &query));
	EXPECT_EQ(500, query.user_count);
	for (i = 0; i < 500; i++)
		ASSERT_STREQ("program one of many", users[i].name);
	EXPECT_STREQ("", users[500].name);
}

TEST_HARNESS_MAIN
