// SPDX-License-Identifier: GPL-2.0
/*
 * Second choices: devices that have no class of memory in common, and ancestors of
 * higher priority whose classes serve them, too; parts of a device with needs of
 * their own; coherence.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "policy.h"

#define BUFFER_LEN	(16 * PAGE)
#include "buffer_fixture.h"

#define SYSTEM		CENALLOC_CLASS_SYSTEM
#define CONTIG		CENALLOC_CLASS_SYSTEM_CONTIG

/* The parent's handle: the first device of each test. */
#define PARENT		0
#define PART(...)	DEVICE(.flags = IMPORTER_CHILD, .parent = PARENT, __VA_ARGS__)

#define OTHER		0x10000000000	/* a class that no allocator gives */

/* Whose second choice counts: a character for each user, in their order. */
static const char *second_choices(int fd)
{
	static char flags[USERS + 1];
	struct told told;
	__u32 i;

	if (query(fd, &told))
		return "cannot be asked";
	for (i = 0; i < told.query.user_count && i < USERS; i++)
		flags[i] = told.users[i].flags & CENALLOC_USER_SECOND ? 's' : '-';
	flags[i] = '\0';
	return flags;
}

static __u64 classes(int fd)
{
	return query_fields(fd).combined.access_mask;
}

/* --- No ancestor that counts for more -------------------------------------- */

TEST_F(buffer, strangers_have_no_second_choice)
{
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = SYSTEM)));
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.access_mask = CONTIG, .priority = 9), -EINVAL,
		      "* needs memory of class system-contig, * needs memory of class system");
	EXPECT_STREQ("-", second_choices(self->fd));
}

TEST_F(buffer, equal_priorities_are_incompatible)
{
	ASSERT_EQ(PARENT, add_device(self->importer, DEVICE(.access_mask = CONTIG, .priority = 7)));
	ASSERT_LE(0, join(self->importer, self->fd,
			  PART(.name = "one", .access_mask = SYSTEM, .priority = 7)));
	/* As high as the parent's, or higher, and lower. */
	check_refused(_metadata, self->importer, self->fd,
		      PART(.name = "two", .access_mask = OTHER, .priority = 7), -EINVAL,
		      "*two.* needs memory of class bit-40, *one.* needs memory of class system");
	check_refused(_metadata, self->importer, self->fd,
		      PART(.name = "two", .access_mask = OTHER, .priority = 65535), -EINVAL,
		      "*two.* needs memory of class bit-40, *one.* needs memory of class system");
	check_refused(_metadata, self->importer, self->fd,
		      PART(.name = "two", .access_mask = OTHER, .priority = 6), -EINVAL,
		      "*two.* needs memory of class bit-40, *one.* needs memory of class system");
	EXPECT_EQ(SYSTEM, classes(self->fd));
}

TEST_F(buffer, only_the_lower_one_has_a_second_choice)
{
	ASSERT_EQ(PARENT, add_device(self->importer, DEVICE(.access_mask = CONTIG, .priority = 7)));
	ASSERT_LE(0, join(self->importer, self->fd, PART(.access_mask = SYSTEM, .priority = 6)));
	/* What it takes itself it need not have as its second choice. */
	ASSERT_LE(0, join(self->importer, self->fd, PART(.access_mask = CONTIG, .priority = 7)));
	EXPECT_STREQ("s-", second_choices(self->fd));
	EXPECT_EQ(CONTIG, classes(self->fd));
}

TEST_F(buffer, whoever_takes_the_parents_class_shares)
{
	ASSERT_EQ(PARENT, add_device(self->importer, DEVICE(.access_mask = CONTIG, .priority = 7)));
	ASSERT_LE(0, join(self->importer, self->fd, PART(.access_mask = SYSTEM)));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = CONTIG)));
	EXPECT_LE(0, attach(self->importer, PARENT, self->fd));
	EXPECT_STREQ("s--", second_choices(self->fd));
	EXPECT_EQ(CONTIG, classes(self->fd));
}

/* Needs that no device has are below no ancestor. */
TEST_F(buffer, needs_without_a_device_have_no_second_choice)
{
	ASSERT_EQ(PARENT, add_device(self->importer, DEVICE(.access_mask = CONTIG, .priority = 7)));
	ASSERT_EQ(0, declare_needs(self->fd, "client", NEEDS(.access_mask = SYSTEM)));
	check_refused(_metadata, self->importer, self->fd,
		      PART(.name = "part", .access_mask = OTHER), -EINVAL,
		      "*part.* needs memory of class bit-40, *program client needs memory of class system");
	close(self->fd);
	self->fd = create(BUFFER_LEN);
	ASSERT_EQ(0, declare_needs(self->fd, "client", NEEDS(.access_mask = CONTIG)));
	EXPECT_LE(0, join(self->importer, self->fd, PART(.access_mask = OTHER)));
	EXPECT_STREQ("-s", second_choices(self->fd));
}

/* --- One that does ---------------------------------------------------------- */

TEST_F(buffer, the_parents_class_serves_both)
{
	int one, two;
	struct mapping first, second;
	char lines[4 * LINE];
	struct told told;

	ASSERT_EQ(PARENT, add_device(self->importer,
				     DEVICE(.access_mask = CONTIG, .priority = 7,
					    .alignment = 4 * PAGE)));
	one = join(self->importer, self->fd,
		   PART(.name = "one", .access_mask = SYSTEM, .priority = 6, .max_segments = 9));
	ASSERT_LE(0, one);
	EXPECT_EQ(SYSTEM, classes(self->fd));
	EXPECT_STREQ("-", second_choices(self->fd));
	two = join(self->importer, self->fd,
		   PART(.name = "two", .access_mask = OTHER, .alignment = 8 * PAGE));
	ASSERT_LE(0, two);

	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_EQ(CONTIG, told.query.combined.access_mask);
	/* What else is said of the parts and of the parent counts, too. */
	EXPECT_EQ(9, told.query.combined.max_segments);
	EXPECT_EQ(8 * PAGE, told.query.combined.alignment);
	EXPECT_EQ(7, told.query.combined.priority);
	EXPECT_EQ(SYSTEM | CONTIG, told.users[0].constraints.access_mask);
	EXPECT_EQ(4 * PAGE, told.users[0].constraints.alignment);
	EXPECT_EQ(7, told.users[0].constraints.priority);
	EXPECT_EQ(OTHER | CONTIG, told.users[1].constraints.access_mask);
	EXPECT_STREQ("ss", second_choices(self->fd));
	EXPECT_STREQ("system-contig", buffer_field(self->fd, "class"));
	device_lines(self->fd, lines, sizeof(lines));
	EXPECT_STREQ("7", field(lines, "priority"));
	EXPECT_STREQ("1", field(lines, "second"));

	ASSERT_EQ(0, map(self->importer, one, &first));
	ASSERT_EQ(0, map(self->importer, two, &second));
	EXPECT_STREQ("system-contig", buffer_field(self->fd, "allocator"));
	EXPECT_TRUE(same_memory(&first, &second));
}

TEST_F(buffer, facts_bind_all_the_same)
{
	struct mapping mapping;
	int one;

	ASSERT_EQ(PARENT, add_device(self->importer, DEVICE(.access_mask = SYSTEM, .priority = 1)));
	one = join(self->importer, self->fd, PART(.access_mask = SYSTEM, .dma_mask = BITS(32),
						  .parms_max_segment_size = 2 * PAGE));
	ASSERT_LE(0, one);
	ASSERT_LE(0, join(self->importer, self->fd,
			  PART(.access_mask = CONTIG, .dma_mask = BITS(33))));
	EXPECT_EQ(BITS(32), query_fields(self->fd).combined.max_address);
	ASSERT_EQ(0, map(self->importer, one, &mapping));
	EXPECT_GE(BITS(32), last_address(&mapping));
	EXPECT_LE(8, mapping.count);
}

TEST_F(buffer, the_nearest_ancestor_counts)
{
	int parent;

	ASSERT_EQ(0, add_device(self->importer, DEVICE(.access_mask = SYSTEM, .priority = 9)));
	parent = add_device(self->importer, PART(.access_mask = CONTIG, .priority = 5));
	ASSERT_LE(0, parent);
	ASSERT_LE(0, join(self->importer, self->fd,
			  DEVICE(.flags = IMPORTER_CHILD, .parent = parent, .access_mask = SYSTEM,
				 .priority = 4)));
	ASSERT_LE(0, join(self->importer, self->fd,
			  DEVICE(.flags = IMPORTER_CHILD, .parent = parent, .access_mask = CONTIG,
				 .priority = 4)));
	EXPECT_EQ(CONTIG, classes(self->fd));
}

TEST_F(buffer, the_nearest_that_is_high_enough)
{
	int parent;

	ASSERT_EQ(0, add_device(self->importer, DEVICE(.access_mask = SYSTEM, .priority = 9)));
	parent = add_device(self->importer, PART(.access_mask = CONTIG, .priority = 5));
	ASSERT_LE(0, parent);
	ASSERT_LE(0, join(self->importer, self->fd,
			  DEVICE(.flags = IMPORTER_CHILD, .parent = parent, .access_mask = SYSTEM,
				 .priority = 8)));
	ASSERT_LE(0, join(self->importer, self->fd,
			  DEVICE(.flags = IMPORTER_CHILD, .parent = parent, .access_mask = CONTIG,
				 .priority = 5)));
	EXPECT_EQ(SYSTEM, classes(self->fd));
	EXPECT_STREQ("-s", second_choices(self->fd));
	/* An aunt of both has the same grandparent. */
	ASSERT_LE(0, join(self->importer, self->fd, PART(.access_mask = CONTIG)));
	EXPECT_STREQ("-ss", second_choices(self->fd));
	/* A stranger does not. */
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd, DEVICE(.access_mask = CONTIG)));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = SYSTEM | CONTIG)));
	EXPECT_STREQ("-ss-", second_choices(self->fd));
}

/* The third could share with either by itself, but not with what they have now. */
TEST_F(buffer, three_users)
{
	ASSERT_EQ(PARENT, add_device(self->importer,
				     DEVICE(.access_mask = CONTIG, .priority = 3)));
	ASSERT_LE(0, join(self->importer, self->fd, PART(.access_mask = SYSTEM)));
	ASSERT_LE(0, join(self->importer, self->fd, PART(.access_mask = OTHER)));
	EXPECT_STREQ("ss", second_choices(self->fd));
	ASSERT_LE(0, join(self->importer, self->fd, PART(.access_mask = SYSTEM | OTHER)));
	EXPECT_STREQ("sss", second_choices(self->fd));
	EXPECT_EQ(CONTIG, classes(self->fd));
	/* Refused by whom second choices do not help to share with it. */
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.name = "stranger", .access_mask = SYSTEM), -EINVAL,
		      "*stranger.* needs memory of class system, * needs memory of class bit-40");
	check_refused(_metadata, self->importer, self->fd,
		      PART(.name = "high", .access_mask = SYSTEM, .priority = 3), -EINVAL,
		      "*high.* needs memory of class system, * needs memory of class bit-40");
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = CONTIG)));
	EXPECT_STREQ("sss-", second_choices(self->fd));
}

/* A stranger who could share with the one cannot with the parent's needs. */
TEST_F(buffer, who_would_be_left_out_stands_against_it)
{
	ASSERT_EQ(PARENT, add_device(self->importer,
				     DEVICE(.access_mask = CONTIG, .priority = 3)));
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = SYSTEM | OTHER)));
	ASSERT_LE(0, join(self->importer, self->fd, PART(.name = "one", .access_mask = SYSTEM)));
	check_refused(_metadata, self->importer, self->fd,
		      PART(.name = "two", .access_mask = OTHER), -EINVAL,
		      "*two.* needs memory of class bit-40, *one.* needs memory of class system");
	EXPECT_STREQ("--", second_choices(self->fd));
}

/* What results depends on who is there. */
TEST_F(buffer, in_any_order)
{
	static const int orders[][3] = {
		{ 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
	};
	const struct importer_add users[] = {
		PART(.access_mask = SYSTEM, .max_segments = 9), PART(.access_mask = OTHER),
		DEVICE(.access_mask = CONTIG, .alignment = 2 * PAGE),
	};
	struct cenalloc_constraints all, now;
	int devices[3], attachments[3];
	unsigned int i, j;

	ASSERT_EQ(PARENT, add_device(self->importer,
				     DEVICE(.access_mask = CONTIG, .priority = 7,
					    .alignment = 4 * PAGE)));
	for (i = 0; i < 3; i++) {
		devices[i] = add_device(self->importer, users[i]);
		ASSERT_LE(0, devices[i]);
	}
	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		int fd = create(BUFFER_LEN);

		for (j = 0; j < 3; j++) {
			int one = orders[i][j];

			attachments[one] = attach(self->importer, devices[one], fd);
			ASSERT_LE(0, attachments[one]);
			/* A class that nobody gives is not chosen, even by one alone. */
			if (j == 0 && one == 1)
				EXPECT_EQ(OTHER | CONTIG, classes(fd));
		}
		now = query_fields(fd).combined;
		EXPECT_EQ(CONTIG, now.access_mask);
		EXPECT_EQ(9, now.max_segments);
		EXPECT_EQ(4 * PAGE, now.alignment);
		if (i == 0)
			all = now;
		EXPECT_EQ(0, memcmp(&all, &now, sizeof(all)));
		for (j = 0; j < 2; j++)
			ASSERT_EQ(0, detach(self->importer, attachments[orders[i][j]]));
		/* The last one has its own needs again, or what can be had. */
		EXPECT_EQ(orders[i][2] == 0 ? SYSTEM : orders[i][2] == 1 ? OTHER | CONTIG : CONTIG,
			  classes(fd));
		ASSERT_EQ(0, detach(self->importer, attachments[orders[i][2]]));
		close(fd);
	}
}

TEST_F(buffer, second_choices_of_declared_devices)
{
	char one[64], two[64];
	int first;

	ASSERT_EQ(PARENT, add_device(self->importer,
				     DEVICE(.access_mask = CONTIG, .priority = 3)));
	first = add_device(self->importer, PART(.name = "one", .access_mask = SYSTEM));
	ASSERT_LE(0, first);
	ASSERT_LE(0, add_device(self->importer, PART(.name = "two", .access_mask = OTHER)));
	ASSERT_TRUE(find_device("platform", "one.", one, sizeof(one)));
	ASSERT_TRUE(find_device("platform", "two.", two, sizeof(two)));
	ASSERT_EQ(0, declare_device(self->fd, "platform", one));
	ASSERT_EQ(0, declare_device(self->fd, "platform", two));
	EXPECT_STREQ("ss", second_choices(self->fd));
	/* It takes the place that was kept for it. */
	ASSERT_LE(0, attach(self->importer, first, self->fd));
	EXPECT_STREQ("ss", second_choices(self->fd));
	/* What a program says of a device, with a priority, counts as the driver's. */
	close(self->fd);
	self->fd = create(BUFFER_LEN);
	ASSERT_EQ(0, declare_device(self->fd, "platform", one));
	EXPECT_EQ(-EINVAL, declare_device_with(self->fd, "platform", two, NEEDS(.priority = 3)));
	EXPECT_EQ(0, declare_device_with(self->fd, "platform", two, NEEDS(.priority = 2)));
	EXPECT_EQ(CONTIG, classes(self->fd));
}

/* Of a part of which nothing is said, the parent's needs count already. */
TEST_F(buffer, who_inherits_shares_with_the_others)
{
	char device[64];

	ASSERT_EQ(PARENT, add_device(self->importer,
				     DEVICE(.access_mask = CONTIG, .priority = 3)));
	ASSERT_LE(0, join(self->importer, self->fd, PART(.name = "silent")));
	EXPECT_EQ(CONTIG, classes(self->fd));
	EXPECT_STREQ("-", second_choices(self->fd));
	ASSERT_LE(0, join(self->importer, self->fd, PART(.access_mask = SYSTEM)));
	EXPECT_EQ(CONTIG, classes(self->fd));
	/* What a program adds is said of the part itself, with what it inherits. */
	close(self->fd);
	self->fd = create(BUFFER_LEN);
	ASSERT_TRUE(find_device("platform", "silent.", device, sizeof(device)));
	ASSERT_EQ(0, declare_device_with(self->fd, "platform", device, NEEDS(.max_segments = 1)));
	EXPECT_EQ(1, query_fields(self->fd).combined.max_segments);
	EXPECT_LE(0, join(self->importer, self->fd, PART(.access_mask = SYSTEM)));
	EXPECT_EQ(CONTIG, classes(self->fd));
}

/* --- The administrator speaks for the parent --------------------------------- */

TEST_F(buffer, a_policy_is_a_second_choice)
{
	struct mapping first, second;
	char parent[64], policy[128];
	int one, two;

	ASSERT_TRUE(have_policies());
	ASSERT_EQ(PARENT, add_device(self->importer, DEVICE(.name = "policed")));
	ASSERT_TRUE(find_device("platform", "policed.", parent, sizeof(parent)));
	snprintf(policy, sizeof(policy), "platform:%s", parent);
	one = join(self->importer, self->fd, PART(.access_mask = SYSTEM, .priority = 1));
	ASSERT_LE(0, one);
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd, PART(.access_mask = CONTIG)));

	ASSERT_EQ(0, make_policy(policy));
	EXPECT_EQ(0, say(policy, "access_mask", "2"));
	EXPECT_EQ(0, say(policy, "priority", "1"));
	ASSERT_EQ(0, detach(self->importer, one));
	one = join(self->importer, self->fd, PART(.access_mask = SYSTEM, .priority = 1));
	ASSERT_LE(0, one);
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd, PART(.access_mask = CONTIG)));
	/* Who is there keeps what was valid when it came. */
	EXPECT_EQ(0, say(policy, "priority", "2"));
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd, PART(.access_mask = CONTIG)));
	ASSERT_EQ(0, detach(self->importer, one));
	one = join(self->importer, self->fd, PART(.access_mask = SYSTEM, .priority = 1));
	ASSERT_LE(0, one);
	two = join(self->importer, self->fd, PART(.access_mask = CONTIG));
	EXPECT_LE(0, two);
	EXPECT_EQ(CONTIG, classes(self->fd));

	/* Gone, it is nobody's any more; those who have it keep it. */
	EXPECT_EQ(0, remove_policy(policy));
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd, PART(.access_mask = SYSTEM)));
	EXPECT_STREQ("s-", second_choices(self->fd));
	ASSERT_EQ(0, map(self->importer, one, &first));
	ASSERT_EQ(0, map(self->importer, two, &second));
	EXPECT_TRUE(same_memory(&first, &second));
	EXPECT_STREQ("system-contig", buffer_field(self->fd, "allocator"));
	ASSERT_EQ(0, detach(self->importer, one));
	ASSERT_EQ(0, unmap(self->importer, two));
	ASSERT_EQ(0, map(self->importer, two, &first));
	EXPECT_TRUE(same_memory(&first, &second));
}

/* --- Leaving ------------------------------------------------------------------ */

TEST_F(buffer, without_a_partner_own_needs_count_again)
{
	struct snapshot alone, again;
	int two, three;

	ASSERT_EQ(PARENT, add_device(self->importer,
				     DEVICE(.access_mask = CONTIG, .priority = 3)));
	ASSERT_LE(0, join(self->importer, self->fd,
			  PART(.access_mask = SYSTEM, .max_segments = 9, .alignment = 2 * PAGE)));
	snapshot(self->fd, &alone);
	two = join(self->importer, self->fd, PART(.access_mask = OTHER));
	ASSERT_LE(0, two);
	three = join(self->importer, self->fd, PART(.access_mask = SYSTEM));
	ASSERT_LE(0, three);
	EXPECT_STREQ("sss", second_choices(self->fd));
	/* One of two partners. */
	ASSERT_EQ(0, detach(self->importer, three));
	EXPECT_STREQ("ss", second_choices(self->fd));
	ASSERT_EQ(0, detach(self->importer, two));
	EXPECT_STREQ(alone.text, snapshot(self->fd, &again)->text);
	EXPECT_STREQ("-", second_choices(self->fd));
	EXPECT_EQ(SYSTEM, classes(self->fd));
	EXPECT_LE(0, join(self->importer, self->fd, PART(.access_mask = CONTIG)));
	EXPECT_EQ(CONTIG, classes(self->fd));
}

/* What no allocator gives is not gone back to. */
TEST_F(buffer, own_needs_that_cannot_be_had_stay_away)
{
	int one;

	ASSERT_EQ(PARENT, add_device(self->importer,
				     DEVICE(.access_mask = CONTIG, .priority = 3)));
	one = join(self->importer, self->fd, PART(.access_mask = SYSTEM));
	ASSERT_LE(0, one);
	ASSERT_LE(0, join(self->importer, self->fd, PART(.access_mask = OTHER)));
	ASSERT_EQ(0, detach(self->importer, one));
	EXPECT_STREQ("s", second_choices(self->fd));
	EXPECT_EQ(0, allocate(self->fd));
	EXPECT_STREQ("system-contig", buffer_field(self->fd, "allocator"));
}

TEST_F(buffer, a_declaration_that_goes_is_a_partner_that_leaves)
{
	int one, two;
	char device[64];

	ASSERT_EQ(PARENT, add_device(self->importer,
				     DEVICE(.access_mask = CONTIG, .priority = 3)));
	one = join(self->importer, self->fd, PART(.access_mask = SYSTEM));
	ASSERT_LE(0, one);
	two = add_device(self->importer, PART(.name = "goes", .access_mask = CONTIG));
	ASSERT_LE(0, two);
	ASSERT_TRUE(find_device("platform", "goes.", device, sizeof(device)));
	ASSERT_EQ(0, declare_device(self->fd, "platform", device));
	EXPECT_STREQ("s-", second_choices(self->fd));
	ASSERT_EQ(0, call_number(self->importer, IMPORTER_REMOVE, two));
	EXPECT_STREQ("-", second_choices(self->fd));
	EXPECT_EQ(SYSTEM, classes(self->fd));
}

TEST_F(buffer, with_memory_they_stay)
{
	int one, two;

	ASSERT_EQ(PARENT, add_device(self->importer,
				     DEVICE(.access_mask = CONTIG, .priority = 3)));
	one = join(self->importer, self->fd, PART(.access_mask = SYSTEM));
	ASSERT_LE(0, one);
	two = join(self->importer, self->fd, PART(.access_mask = CONTIG));
	ASSERT_LE(0, two);
	ASSERT_EQ(0, allocate(self->fd));
	ASSERT_EQ(0, detach(self->importer, two));
	EXPECT_STREQ("s", second_choices(self->fd));
	EXPECT_EQ(SYSTEM | CONTIG, classes(self->fd));
	EXPECT_EQ(0, map(self->importer, one, NULL));
	/* And come back. */
	EXPECT_LE(0, join(self->importer, self->fd, PART(.access_mask = CONTIG)));
}

/* --- A buffer that has memory --------------------------------------------------- */

TEST_F(buffer, memory_that_suits_the_parent_stays)
{
	struct mapping first, second;
	int one, two;

	ASSERT_EQ(PARENT, add_device(self->importer,
				     DEVICE(.access_mask = SYSTEM | CONTIG, .priority = 3)));
	one = join(self->importer, self->fd, PART(.access_mask = SYSTEM));
	ASSERT_LE(0, one);
	ASSERT_EQ(0, map(self->importer, one, &first));
	two = join(self->importer, self->fd, PART(.access_mask = CONTIG));
	ASSERT_LE(0, two);
	EXPECT_STREQ("ss", second_choices(self->fd));
	ASSERT_EQ(0, map(self->importer, two, &second));
	EXPECT_TRUE(same_memory(&first, &second));
	EXPECT_EQ(0, buffer_number(self->fd, "relocations"));
}

/* A table that was cut for the device's own needs is not used again. */
TEST_F(buffer, tables_are_cut_anew)
{
	static struct mapping own, parents;
	int one;

	ASSERT_EQ(PARENT, add_device(self->importer,
				     DEVICE(.access_mask = SYSTEM | CONTIG, .priority = 3,
					    .max_segment_size = PAGE)));
	one = join(self->importer, self->fd,
		   PART(.access_mask = CONTIG, .max_segment_size = 4 * PAGE));
	ASSERT_LE(0, one);
	ASSERT_EQ(0, map(self->importer, one, &own));
	ASSERT_EQ(0, unmap(self->importer, one));
	EXPECT_EQ(4, own.count);
	ASSERT_LE(0, join(self->importer, self->fd, PART(.access_mask = SYSTEM)));
	ASSERT_EQ(0, map(self->importer, one, &parents));
	EXPECT_EQ(16, parents.count);
	EXPECT_TRUE(same_memory(&own, &parents));
}

TEST_F(buffer, idle_memory_moves_to_what_suits_the_parent)
{
	struct mapping first, second;
	unsigned char *bytes;
	int one, two;

	ASSERT_EQ(PARENT, add_device(self->importer,
				     DEVICE(.access_mask = CONTIG, .priority = 3)));
	bytes = map_cpu(self->fd, BUFFER_LEN);
	ASSERT_NE(MAP_FAILED, bytes);
	one = join(self->importer, self->fd, PART(.access_mask = SYSTEM));
	ASSERT_LE(0, one);
	ASSERT_EQ(0, map(self->importer, one, NULL));
	ASSERT_EQ(0, unmap(self->importer, one));
	EXPECT_STREQ("system", buffer_field(self->fd, "allocator"));
	bytes[5] = 55;
	two = join(self->importer, self->fd, PART(.access_mask = OTHER));
	ASSERT_LE(0, two);
	EXPECT_EQ(1, buffer_number(self->fd, "relocations"));
	EXPECT_STREQ("system-contig", buffer_field(self->fd, "allocator"));
	EXPECT_EQ(55, bytes[5]);
	ASSERT_EQ(0, map(self->importer, one, &first));
	ASSERT_EQ(0, map(self->importer, two, &second));
	EXPECT_TRUE(same_memory(&first, &second));
	munmap(bytes, BUFFER_LEN);
}

TEST_F(buffer, memory_that_is_held_stays_and_so_do_needs)
{
	int one;

	ASSERT_EQ(PARENT, add_device(self->importer,
				     DEVICE(.access_mask = CONTIG, .priority = 3)));
	one = join(self->importer, self->fd, PART(.name = "one", .access_mask = SYSTEM));
	ASSERT_LE(0, one);
	ASSERT_EQ(0, map(self->importer, one, NULL));
	check_refused(_metadata, self->importer, self->fd,
		      PART(.name = "two", .access_mask = CONTIG), -EBUSY,
		      "*two.* needs memory of class system-contig, the memory is *class system *mapped by *one.*");
	EXPECT_STREQ("-", second_choices(self->fd));
	ASSERT_EQ(0, unmap(self->importer, one));
	EXPECT_LE(0, join(self->importer, self->fd, PART(.access_mask = CONTIG)));
	EXPECT_STREQ("s-", second_choices(self->fd));
}

/*
 * The memory suits the newcomer under the parent, but not who is there: pieces of
 * three pages that start at every second page are two pages long.
 */
TEST_F(buffer, memory_has_to_suit_those_who_are_there)
{
	int one;

	ASSERT_EQ(PARENT, add_device(self->importer,
				     DEVICE(.access_mask = SYSTEM | CONTIG, .priority = 3,
					    .max_segments = 6, .alignment = 2 * PAGE)));
	one = join(self->importer, self->fd, PART(.name = "one", .access_mask = SYSTEM,
						  .parms_max_segment_size = 3 * PAGE));
	ASSERT_LE(0, one);
	ASSERT_EQ(0, map(self->importer, one, NULL));
	check_refused(_metadata, self->importer, self->fd,
		      PART(.name = "two", .access_mask = CONTIG), -EBUSY,
		      "*two.* needs at most 6 segments, the memory has 8 segments *mapped by *one.*");
	EXPECT_STREQ("-", second_choices(self->fd));
}

/* In four segments of a page each, it can never have all of it. */
TEST_F(buffer, a_second_choice_has_to_be_possible)
{
	ASSERT_EQ(PARENT, add_device(self->importer,
				     DEVICE(.access_mask = SYSTEM, .priority = 3,
					    .max_segments = 4)));
	ASSERT_LE(0, join(self->importer, self->fd, PART(.name = "one", .access_mask = SYSTEM)));
	check_refused(_metadata, self->importer, self->fd,
		      PART(.name = "two", .access_mask = CONTIG, .parms_max_segment_size = PAGE),
		      -EINVAL,
		      "*two.* needs memory of class system-contig, *one.* needs memory of class system");
	EXPECT_STREQ("-", second_choices(self->fd));
	EXPECT_LE(0, join(self->importer, self->fd, PART(.access_mask = CONTIG)));
	EXPECT_STREQ("-s", second_choices(self->fd));
}

/* --- Parts of a device ------------------------------------------------------------ */

/*
 * A display with two planes: one takes a single piece below 4 GiB, the other many
 * small ones from anywhere. A third of which nothing is said takes what the display needs.
 */
TEST_F(buffer, planes_of_a_display)
{
	int plane, overlay, cursor, fd;
	static struct mapping mapping;
	struct told told;

	ASSERT_EQ(PARENT, add_device(self->importer, DEVICE(.name = "display",
							    .alignment = 2 * PAGE)));
	plane = add_device(self->importer, PART(.name = "plane", .max_segments = 1,
						.max_address = BITS(32)));
	overlay = add_device(self->importer, PART(.name = "overlay", .max_segment_size = 64 * KIB));
	cursor = add_device(self->importer, PART(.name = "cursor"));
	ASSERT_LE(0, plane);
	ASSERT_LE(0, overlay);
	ASSERT_LE(0, cursor);

	/* Each by itself. */
	fd = create(8 * MIB);
	ASSERT_LE(0, attach(self->importer, overlay, fd));
	ASSERT_EQ(0, map(self->importer, 0, &mapping));
	EXPECT_STREQ("system", buffer_field(fd, "allocator"));
	EXPECT_LE(128, mapping.count);
	EXPECT_LT(BITS(32), last_address(&mapping));
	/* It is longer than any single piece. */
	EXPECT_EQ(-EINVAL, attach(self->importer, plane, fd));
	ASSERT_EQ(0, detach(self->importer, 0));
	close(fd);

	/* All of one buffer. */
	ASSERT_EQ(0, attach(self->importer, overlay, self->fd));
	ASSERT_EQ(1, attach(self->importer, plane, self->fd));
	ASSERT_EQ(2, attach(self->importer, cursor, self->fd));
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_EQ(64 * KIB, told.users[0].constraints.max_segment_size);
	EXPECT_EQ(0, told.users[0].constraints.alignment);
	EXPECT_EQ(1, told.users[1].constraints.max_segments);
	EXPECT_EQ(BITS(32), told.users[1].constraints.max_address);
	EXPECT_EQ(0, told.users[1].constraints.alignment);
	EXPECT_EQ(0, told.users[2].constraints.max_segments);
	EXPECT_EQ(2 * PAGE, told.users[2].constraints.alignment);
	ASSERT_EQ(0, map(self->importer, 0, &mapping));
	EXPECT_EQ(1, mapping.count);
	EXPECT_GE(BITS(32), last_address(&mapping));
	EXPECT_STREQ("---", second_choices(self->fd));
}

TEST_F(buffer, bad_parts_are_refused)
{
	struct importer_add add = DEVICE(.name = "part");
	int child;

	ASSERT_EQ(PARENT, add_device(self->importer, DEVICE()));
	add.parent = 1;
	EXPECT_EQ(-EINVAL, call(self->importer, IMPORTER_ADD, &add));
	add.flags = IMPORTER_CHILD;
	EXPECT_EQ(-ENOENT, call(self->importer, IMPORTER_ADD, &add));
	add.parent = PARENT;
	add.reserved[2] = 1;
	EXPECT_EQ(-EINVAL, call(self->importer, IMPORTER_ADD, &add));
	add.reserved[2] = 0;
	EXPECT_EQ(0, call(self->importer, IMPORTER_ADD, &add));
	child = add.device;
	EXPECT_EQ(-EBUSY, call_number(self->importer, IMPORTER_REMOVE, PARENT));
	EXPECT_EQ(0, call_number(self->importer, IMPORTER_REMOVE, child));
	EXPECT_EQ(0, call_number(self->importer, IMPORTER_REMOVE, PARENT));
}

TEST_F(buffer, parts_of_parts_have_an_end)
{
	int device, deepest, depth;

	deepest = add_device(self->importer, DEVICE());
	ASSERT_LE(0, deepest);
	for (depth = 2; depth <= IMPORTER_MAX_DEPTH; depth++) {
		deepest = add_device(self->importer,
				     DEVICE(.flags = IMPORTER_CHILD, .parent = deepest));
		ASSERT_LE(0, deepest);
	}
	EXPECT_EQ(-EINVAL, add_device(self->importer,
				      DEVICE(.flags = IMPORTER_CHILD, .parent = deepest)));
	/* Nothing is left of it, and there may be more beside. */
	EXPECT_EQ(0, call_number(self->importer, IMPORTER_REMOVE, deepest));
	for (depth = 0; depth < 2; depth++) {
		device = add_device(self->importer,
				    DEVICE(.flags = IMPORTER_CHILD, .parent = deepest - 1));
		EXPECT_LE(deepest, device);
	}
	EXPECT_LE(0, join(self->importer, self->fd,
			  DEVICE(.flags = IMPORTER_CHILD, .parent = deepest - 1)));
}

/* --- Coherence ---------------------------------------------------------------------- */

/* Where the hardware keeps a device's DMA coherent with the caches, any memory will do. */
TEST_F(buffer, coherence_costs_nothing_where_it_is_given)
{
	int attachment = join(self->importer, self->fd, DEVICE(.flags = IMPORTER_COHERENT));

	ASSERT_LE(0, attachment);
	EXPECT_EQ(0, query_fields(self->fd).combined.flags);
	EXPECT_STREQ("0", buffer_field(self->fd, "coherent"));
	EXPECT_EQ(0, map(self->importer, attachment, NULL));
}

/* Of who is no device it is known where all devices have it, as on x86. */
TEST_F(buffer, coherence_without_a_device)
{
	struct cenalloc_constraints needs = NEEDS(.flags = CENALLOC_NEEDS_COHERENT);
	struct cenalloc_test test = { .len = PAGE, .constraints = needs };

	EXPECT_EQ(ALWAYS_COHERENT ? 0 : -EINVAL, declare_needs(self->fd, "coherent", needs));
	EXPECT_EQ(0, query_fields(self->fd).combined.flags);
	EXPECT_EQ(0, ask(CENALLOC_TEST, &test));
	EXPECT_EQ(ALWAYS_COHERENT ? CENALLOC_TEST_OK : CENALLOC_TEST_NEVER, test.result);
}

TEST_F(buffer, device_that_needs_cache_maintenance)
{
	int attachment;

	if (ALWAYS_COHERENT)
		SKIP(return, "here is no such device");
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.name = "uncached", .flags = IMPORTER_NONCOHERENT | IMPORTER_COHERENT),
		      -EINVAL,
		      "*uncached.* needs memory without cache maintenance, and * gives cached memory");
	/* If it may have that, it can share. */
	attachment = join(self->importer, self->fd, DEVICE(.flags = IMPORTER_NONCOHERENT));
	ASSERT_LE(0, attachment);
	EXPECT_EQ(0, map(self->importer, attachment, NULL));
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.flags = IMPORTER_COHERENT)));
}

TEST_HARNESS_MAIN
