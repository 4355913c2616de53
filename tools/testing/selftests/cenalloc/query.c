// SPDX-License-Identifier: GPL-2.0
/* What a buffer tells of itself: CENALLOC_QUERY. */

#include <linux/capability.h>
#include <sys/syscall.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"

#define LEN		(200 * KIB)
#define BUFFER_LEN	LEN
#include "buffer_fixture.h"

static struct told told;

/* What QUERY and debugfs tell of a buffer is the same line. */
static void check_text(struct __test_metadata *_metadata, int fd)
{
	char line[LINE];

	EXPECT_STREQ(buffer_line(fd, line), told.text);
	EXPECT_EQ(strlen(line), told.query.text_len);
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
	told.query.meet.alignment = 0;
	EXPECT_EQ(0, memcmp(&any, &told.query.meet, sizeof(any)));
	EXPECT_STREQ("", told.query.allocator);
	EXPECT_EQ(0, told.query.early);
	EXPECT_EQ(0, told.query.relocations);
	EXPECT_EQ(CENALLOC_WITH_NONE, told.query.conflict_with);
	EXPECT_EQ(0, told.query.conflict_field);
	EXPECT_EQ(0, told.query.conflict_wanted);
	EXPECT_EQ(0, told.query.conflict_found);
	EXPECT_STREQ("", told.query.conflict_who);
	EXPECT_STREQ("", told.query.conflict_other);
	check_text(_metadata, self->fd);
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
	check_text(_metadata, self->fd);
	ASSERT_EQ(0, detach(self->importer, attachment));
	EXPECT_STREQ("system", query_fields(self->fd).allocator);
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.max_segments = 1)));
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_STREQ("system-contig", told.query.allocator);
	EXPECT_EQ(1, told.query.relocations);
	check_text(_metadata, self->fd);
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
	EXPECT_EQ(0, memcmp(&together, &told.query.meet, sizeof(together)));
	user = told_user(&told, "attached");
	ASSERT_NE(NULL, user);
	EXPECT_EQ(0, memcmp(&first, &user->constraints, sizeof(first)));
	EXPECT_EQ(CENALLOC_USER_ATTACHED, user->flags);
	EXPECT_EQ(0, user->early);
	user = told_user(&told, "declared");
	ASSERT_NE(NULL, user);
	EXPECT_STREQ("program declared", user->name);
	EXPECT_EQ(0, memcmp(&second, &user->constraints, sizeof(second)));
	EXPECT_EQ(CENALLOC_USER_DECLARED, user->flags);
	ASSERT_EQ(0, detach(self->importer, attachment));
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_EQ(1, told.query.user_count);
	EXPECT_EQ(0, memcmp(&second, &told.query.meet, sizeof(second)));
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
	EXPECT_EQ(CENALLOC_USER_ATTACHED | CENALLOC_USER_MAPPED, told_user(&told, "fixed")->flags);
	EXPECT_EQ(CENALLOC_USER_ATTACHED | CENALLOC_USER_MAPPED | CENALLOC_USER_DYNAMIC,
		  told_user(&told, "moving")->flags);
	ASSERT_EQ(0, unmap(self->importer, fixed));
	ASSERT_EQ(0, unmap(self->importer, moving));
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_EQ(CENALLOC_USER_ATTACHED, told_user(&told, "fixed")->flags);
}

/* --- Refusals ------------------------------------------------------------- */

#define EXPECT_CONFLICT(fd, with, field, wanted, found, who, other) do {	\
	struct cenalloc_query _query = query_fields(fd);			\
										\
	EXPECT_EQ(with, _query.conflict_with);					\
	EXPECT_EQ(field, _query.conflict_field);				\
	EXPECT_EQ(wanted, _query.conflict_wanted);				\
	EXPECT_EQ(found, _query.conflict_found);				\
	EXPECT_MATCH(_query.conflict_who, who);					\
	EXPECT_MATCH(_query.conflict_other, other);				\
} while (0)

TEST_F(buffer, conflict_with_a_user)
{
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.name = "first", .access_mask = 1)));
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd,
				DEVICE(.name = "second", .access_mask = 6)));
	EXPECT_CONFLICT(self->fd, CENALLOC_WITH_USER, CENALLOC_FIELD_ACCESS_MASK, 6, 1,
			"*second.*", "*first.*");
	EXPECT_EQ(0, query_fields(self->fd).early);
}

TEST_F(buffer, conflict_with_the_creator)
{
	int fd = create_aligned(LEN, 64 * KIB);

	EXPECT_EQ(-EINVAL, declare_needs(fd, "many", NEEDS(.segment_boundary_mask = 4095,
							   .alignment = 64 * KIB)));
	EXPECT_CONFLICT(fd, CENALLOC_WITH_ITSELF, CENALLOC_FIELD_SEGMENT_BOUNDARY, 4095, 64 * KIB,
			"program many", "");
	close(fd);
}

/* No two of them conflict. */
TEST_F(buffer, conflict_with_all_others)
{
	ASSERT_EQ(0, declare_needs(self->fd, "a", NEEDS(.access_mask = 0x3)));
	ASSERT_EQ(0, declare_needs(self->fd, "b", NEEDS(.access_mask = 0x6)));
	EXPECT_EQ(-EINVAL, declare_needs(self->fd, "c", NEEDS(.access_mask = 0x5)));
	EXPECT_CONFLICT(self->fd, CENALLOC_WITH_OTHERS, CENALLOC_FIELD_ACCESS_MASK, 5, 2,
			"program c", "");
}

TEST_F(buffer, conflict_with_itself)
{
	EXPECT_EQ(-EINVAL, declare_needs(self->fd, "narrow", NEEDS(.max_address = LEN - 2)));
	EXPECT_CONFLICT(self->fd, CENALLOC_WITH_ITSELF, CENALLOC_FIELD_MAX_ADDRESS, LEN - 2, LEN,
			"program narrow", "");
	EXPECT_EQ(-EINVAL, declare_needs(self->fd, "few", NEEDS(.max_segment_size = 4096,
								.max_segments = 2)));
	EXPECT_CONFLICT(self->fd, CENALLOC_WITH_ITSELF, CENALLOC_FIELD_MAX_SEGMENTS, 2, LEN / PAGE,
			"program few", "");
	EXPECT_EQ(-EINVAL, declare_needs(self->fd, "odd", NEEDS(.max_segment_size = 4096,
								.alignment = 8192)));
	EXPECT_CONFLICT(self->fd, CENALLOC_WITH_ITSELF, CENALLOC_FIELD_MAX_SEGMENT_SIZE, 4096, 8192,
			"program odd", "");
}

TEST_F(buffer, conflict_with_an_allocator)
{
	EXPECT_EQ(-EINVAL, declare_needs(self->fd, "exotic", NEEDS(.access_mask = 1ULL << 45)));
	EXPECT_CONFLICT(self->fd, CENALLOC_WITH_ALLOCATOR, CENALLOC_FIELD_ACCESS_MASK, 1ULL << 45,
			CENALLOC_CLASS_DMA_COHERENT, "program exotic", "dma-coherent");
	EXPECT_EQ(-EINVAL, declare_needs(self->fd, "coarse", NEEDS(.alignment = 1ULL << 40)));
	EXPECT_CONFLICT(self->fd, CENALLOC_WITH_ALLOCATOR, CENALLOC_FIELD_ALIGNMENT, 1ULL << 40,
			256 * KIB, "program coarse", "dma-coherent");
}

/* Takes CAP_SYS_ADMIN from this process, which stays root otherwise. */
static int drop_admin(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data))
		return -errno;
	data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective &= ~CAP_TO_MASK(CAP_SYS_ADMIN);
	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

/* Where memory lies is for those who may read that of their own pages. */
TEST_F(buffer, conflict_without_an_address)
{
	int first = join(self->importer, self->fd, DEVICE(.name = "first"));

	ASSERT_LE(0, first);
	ASSERT_EQ(0, map(self->importer, first, NULL));
	EXPECT_EQ(-EBUSY, declare_needs(self->fd, "late", NEEDS(.max_address = LOW(28))));
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_LT(0, told.query.conflict_found);
	EXPECT_MATCH(told.text, "*memory is at 0x[1-9a-f]*");
	check_text(_metadata, self->fd);

	ASSERT_EQ(0, drop_admin());
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_EQ(CENALLOC_WITH_MEMORY, told.query.conflict_with);
	EXPECT_EQ(CENALLOC_FIELD_MAX_ADDRESS, told.query.conflict_field);
	EXPECT_EQ(LOW(28), told.query.conflict_wanted);
	EXPECT_EQ(0, told.query.conflict_found);
	EXPECT_MATCH(told.text, "*late needs * memory is at 0x0 and mapped by *first.*");
	EXPECT_EQ(strlen(told.text), told.query.text_len);

	/* What is no address stays. */
	EXPECT_EQ(-EINVAL, declare_needs(self->fd, "narrow", NEEDS(.max_address = LEN - 2)));
	EXPECT_EQ(LEN, query_fields(self->fd).conflict_found);
}

/* A length is nobody's need: no user is blamed for it. */
TEST_F(buffer, conflict_of_a_length)
{
	int fd = create(8 * MIB);

	ASSERT_LE(0, fd);
	EXPECT_EQ(0, declare_needs(fd, "innocent", NEEDS()));
	EXPECT_EQ(-EINVAL, declare_needs(fd, "narrow",
					 NEEDS(.access_mask = CENALLOC_CLASS_SYSTEM_CONTIG)));
	EXPECT_CONFLICT(fd, CENALLOC_WITH_ALLOCATOR, CENALLOC_FIELD_LENGTH, 8 * MIB, 4 * MIB,
			"program narrow", "system-contig");
	ASSERT_EQ(0, query(fd, &told));
	EXPECT_MATCH(told.text,
		     "*\"program narrow needs 8388608 bytes, system-contig gives at most 4194304\"*");
	close(fd);
}

TEST_F(buffer, conflict_with_memory)
{
	static struct mapping mapping;
	int first = join(self->importer, self->fd,
			 DEVICE(.name = "first", .access_mask = CENALLOC_CLASS_SYSTEM,
				.max_segment_size = 8192));
	int i;

	ASSERT_LE(0, first);
	ASSERT_EQ(0, map(self->importer, first, &mapping));
	for (i = 1; i <= 3; i++) {
		EXPECT_EQ(-EBUSY, declare_needs(self->fd, "late", NEEDS(.max_address = LOW(28))));
		ASSERT_EQ(0, query(self->fd, &told));
		EXPECT_EQ(i, told.query.early);
		EXPECT_EQ(i, told_user(&told, "first")->early);
		check_text(_metadata, self->fd);
	}
	EXPECT_CONFLICT(self->fd, CENALLOC_WITH_MEMORY, CENALLOC_FIELD_MAX_ADDRESS, LOW(28),
			address_of(&mapping, 0), "program late", "*first.*");
	EXPECT_EQ(-EBUSY, declare_needs(self->fd, "later", NEEDS(.max_address = LOW(28))));
	EXPECT_MATCH(query_fields(self->fd).conflict_who, "program later");
}

/* What came right later does not undo that somebody was refused. */
TEST_F(buffer, last_conflict_stays)
{
	EXPECT_EQ(-EINVAL, declare_needs(self->fd, "a", NEEDS(.max_address = 8191)));
	ASSERT_EQ(0, declare_needs(self->fd, "b", NEEDS()));
	ASSERT_EQ(0, allocate(self->fd));
	EXPECT_STREQ("program a", query_fields(self->fd).conflict_who);
}

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
	EXPECT_STREQ(told.users[0].name, told.query.conflict_who);
	EXPECT_STREQ(told.users[0].name, told.query.conflict_other);
}

/* --- Arrays and text ------------------------------------------------------ */

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

TEST_F(buffer, text_is_cut)
{
	char text[LINE], whole[LINE];
	struct cenalloc_query query = { .fd = self->fd, .text = (uintptr_t)whole,
					.text_len = sizeof(whole) };
	__u32 len, room;

	ASSERT_EQ(0, ask(CENALLOC_QUERY, &query));
	len = query.text_len;
	ASSERT_EQ(len, strlen(whole));
	EXPECT_MATCH(whole, "id=* size=204800 state=empty *");
	for (room = 0; room <= len + 2; room++) {
		memset(text, MARK, sizeof(text));
		query.text = (uintptr_t)text;
		query.text_len = room;
		ASSERT_EQ(0, ask(CENALLOC_QUERY, &query));
		ASSERT_EQ(room ? len : 0, query.text_len);
		if (room) {
			__u32 fits = room - 1 < len ? room - 1 : len;

			ASSERT_EQ(0, memcmp(text, whole, fits));
			ASSERT_EQ('\0', text[fits]);
			ASSERT_EQ(MARK, (__u8)text[fits + 1]);
		} else {
			ASSERT_EQ(MARK, (__u8)text[0]);
		}
	}
	query.text = 0;
	query.text_len = 100;
	ASSERT_EQ(0, ask(CENALLOC_QUERY, &query));
	EXPECT_EQ(0, query.text_len);
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
	query.text = 8;
	query.text_len = 10;
	EXPECT_EQ(-EFAULT, ask(CENALLOC_QUERY, &query));
	query.text = ~0ULL;
	query.text_len = ~0U;
	EXPECT_EQ(-EFAULT, ask(CENALLOC_QUERY, &query));
	query.text = 0;
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
	EXPECT_EQ(-EINVAL, call(device, _IOC(_IOC_READ | _IOC_WRITE, 'C', 6, size - 8), queries));
	EXPECT_EQ(0, call(device, _IOC(_IOC_READ | _IOC_WRITE, 'C', 6, 2 * size), queries));
	queries[1].fd = 1;
	EXPECT_EQ(-E2BIG, call(device, _IOC(_IOC_READ | _IOC_WRITE, 'C', 6, 2 * size), queries));
	queries[0].fd = -1;
	EXPECT_EQ(-EBADF, call(device, CENALLOC_QUERY, queries));
	queries[0].fd = device;
	EXPECT_EQ(-EINVAL, call(device, CENALLOC_QUERY, queries));
	queries[0].fd = self->importer;
	EXPECT_EQ(-EINVAL, call(device, CENALLOC_QUERY, queries));
	close(device);
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
