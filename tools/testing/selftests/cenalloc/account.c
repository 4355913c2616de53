// SPDX-License-Identifier: GPL-2.0
/*
 * Who pays for memory: the memory cgroup of whoever created the buffer, whoever
 * uses it first. What that cgroup may not have, nobody gets, and nobody is killed.
 * Who declares users pays for what is kept for them.
 */

#include <sys/mount.h>
#include <sys/stat.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "memory.h"
#include "policy.h"
#include "touch.h"

#define ROOT	"/tmp/cenalloc-cgroup"
#define LEN	(16 * MIB)
#define SLACK	(2 * MIB)	/* what else may come and go in a cgroup */

#define UNCHARGED	"/sys/module/cenalloc/parameters/uncharged_mib"

static int write_cgroup(const char *group, const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), ROOT "/%s/%s", group, file);
	return write_file(path, text);
}

static char *read_cgroup(const char *group, const char *file, char *text, size_t size)
{
	char path[128];

	snprintf(path, sizeof(path), ROOT "/%s/%s", group, file);
	return slurp(path, text, size);
}

/* This process, and those that it makes, belong to @group from now on. */
static int enter(const char *group)
{
	return write_cgroup(group, "cgroup.procs", "0");
}

static __s64 current_bytes(const char *group)
{
	char text[64];

	return strtoll(read_cgroup(group, "memory.current", text, sizeof(text)), NULL, 10);
}

/* A counter of memory.events or memory.stat; -1 if there is none. */
static long count_of(const char *group, const char *file, const char *event)
{
	char text[8 * KIB], part[32], line[64];

	read_cgroup(group, file, text, sizeof(text));
	snprintf(part, sizeof(part), "%s ", event);
	if (!find_line(text, part, line, sizeof(line)))
		return -1;
	return strtol(line + strlen(part), NULL, 10);
}

static long count_events(const char *group, const char *event)
{
	return count_of(group, "memory.events", event);
}

/* Whether a cgroup has @bytes, more or less, or gets to within a second. */
static bool settles_at(const char *group, __s64 bytes)
{
	int i;

	for (i = 0; i < 200; i++) {
		if (llabs(current_bytes(group) - bytes) < (__s64)SLACK)
			return true;
		usleep(5000);
	}
	return false;
}

/* Buffers are created in "payer" and used in "user". */
FIXTURE(account) {
	int importer;
	int fd;
	__s64 payer;
	__s64 user;
};

FIXTURE_SETUP(account)
{
	mkdir(ROOT, 0755);
	ASSERT_EQ(0, mount("none", ROOT, "cgroup2", 0, NULL));
	ASSERT_EQ(0, write_file(ROOT "/cgroup.subtree_control", "+memory"));
	ASSERT_EQ(0, mkdir(ROOT "/payer", 0755));
	ASSERT_EQ(0, mkdir(ROOT "/user", 0755));
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
	ASSERT_EQ(0, enter("payer"));
	self->fd = create(LEN);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, enter("user"));
	self->payer = current_bytes("payer");
	self->user = current_bytes("user");
	EXPECT_GT((__s64)SLACK, self->payer);
}

FIXTURE_TEARDOWN(account)
{
	close(self->importer);
	close(self->fd);
	/* Nobody was killed for want of memory. */
	EXPECT_EQ(0, count_events("payer", "oom_kill"));
	EXPECT_EQ(0, count_events("user", "oom_kill"));
	/* What was charged is given back. */
	EXPECT_TRUE(settles_at("payer", 0)) {
		TH_LOG("%lld bytes stay", (long long)current_bytes("payer"));
	}
	EXPECT_EQ(0, write_file(ROOT "/cgroup.procs", "0"));
	EXPECT_EQ(0, rmdir(ROOT "/payer"));
	EXPECT_EQ(0, rmdir(ROOT "/user"));
	EXPECT_EQ(0, umount2(ROOT, MNT_DETACH));
}

#define EXPECT_PAID_BY_CREATOR(before) do {					\
	typeof(before) _before = (before);					\
	__s64 _payer = current_bytes("payer") - _before->payer;			\
	__s64 _user = current_bytes("user") - _before->user;			\
										\
	EXPECT_GT((__s64)SLACK, llabs(_payer - (__s64)LEN));			\
	EXPECT_GT((__s64)SLACK, _user);						\
} while (0)

TEST_F(account, mapped_by_a_device)
{
	int attachment = join(self->importer, self->fd, DEVICE());

	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(self->importer, attachment, NULL));
	EXPECT_PAID_BY_CREATOR(self);
}

TEST_F(account, touched_by_the_cpu)
{
	char *memory = map_cpu(self->fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	memory[0] = 1;
	EXPECT_PAID_BY_CREATOR(self);
	munmap(memory, LEN);
}

TEST_F(account, allocated_early)
{
	ASSERT_EQ(0, allocate(self->fd));
	EXPECT_PAID_BY_CREATOR(self);
}

TEST_F(account, pinned)
{
	int attachment = join_dynamic(self->importer, self->fd, DEVICE());

	ASSERT_EQ(0, pin(self->importer, attachment));
	EXPECT_PAID_BY_CREATOR(self);
}

/* The new memory is paid for by the same, and the old is given back. */
TEST_F(account, moved_for_a_newcomer)
{
	ASSERT_EQ(0, declare_needs(self->fd, "first",
				   NEEDS(.access_mask = CENALLOC_CLASS_SYSTEM)));
	ASSERT_EQ(0, allocate(self->fd));
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.dma_mask = BITS(32))));
	EXPECT_EQ(1, query_fields(self->fd).relocations);
	EXPECT_TRUE(settles_at("payer", self->payer + LEN));
	EXPECT_PAID_BY_CREATOR(self);
}

/* One run below 4 GiB is charged as any other memory. */
TEST_F(account, contiguous)
{
	int fds[4], i;

	ASSERT_EQ(0, enter("payer"));
	for (i = 0; i < 4; i++) {
		fds[i] = create(LEN / 4);
		ASSERT_EQ(0, declare_needs(fds[i], "needs",
					   NEEDS(.max_segments = 1, .max_address = BITS(32))));
	}
	ASSERT_EQ(0, enter("user"));
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, allocate(fds[i]));
	EXPECT_STREQ("system-contig", query_fields(fds[0]).allocator);
	EXPECT_PAID_BY_CREATOR(self);
	for (i = 0; i < 4; i++)
		close(fds[i]);
}

/* TEST takes no memory, and tells of the limit of who asks. */
TEST_F(account, tried)
{
	struct cenalloc_test test = { .len = 32 * LEN };
	char text[64];

	ASSERT_EQ(0, ask(CENALLOC_TEST, &test));
	EXPECT_EQ(CENALLOC_TEST_OK, test.result);
	EXPECT_GT(self->user + (__s64)LEN,
		  strtoll(read_cgroup("user", "memory.peak", text, sizeof(text)), NULL, 10));
	test.len = LEN;
	ASSERT_EQ(0, write_cgroup("user", "memory.max", "8M"));
	ASSERT_EQ(0, ask(CENALLOC_TEST, &test));
	EXPECT_EQ(CENALLOC_TEST_NO_MEMORY, test.result);
}

/*
 * Users are paid for by who declares them, whoever created the buffer. At a limit, the
 * kernel would kill somebody of that cgroup, and say so at length.
 */
TEST_F(account, declared)
{
	const int users = 1024;
	int fds[16], i, n;
	__s64 paid;

	ASSERT_EQ(0, enter("payer"));
	for (i = 0; i < (int)ARRAY_SIZE(fds); i++) {
		fds[i] = create(PAGE);
		ASSERT_LE(0, fds[i]);
	}
	ASSERT_EQ(0, enter("user"));
	for (i = 0; i < (int)ARRAY_SIZE(fds); i++)
		for (n = 0; n < users; n++)
			ASSERT_EQ(0, declare_needs(fds[i], "user", NEEDS()));
	paid = current_bytes("user") - self->user;
	EXPECT_LT(256LL * users * (int)ARRAY_SIZE(fds), paid) {
		TH_LOG("%lld bytes", (long long)paid);
	}
	EXPECT_TRUE(settles_at("payer", self->payer));
	for (i = 0; i < (int)ARRAY_SIZE(fds); i++)
		close(fds[i]);
	EXPECT_TRUE(settles_at("user", self->user));
}

/* --- Limits --------------------------------------------------------------- */

TEST_F(account, limit_of_the_creator)
{
	int attachment = join(self->importer, self->fd, DEVICE()), i;

	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, write_cgroup("payer", "memory.max", "8M"));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(-ENOMEM, map(self->importer, attachment, NULL));
		EXPECT_EQ(-ENOMEM, allocate(self->fd));
	}
	EXPECT_EQ(CENALLOC_STATE_EMPTY, query_fields(self->fd).state);
	EXPECT_TRUE(settles_at("payer", self->payer));
	EXPECT_LT(0, count_events("payer", "max"));
	/* With more, it works. */
	ASSERT_EQ(0, write_cgroup("payer", "memory.max", "32M"));
	EXPECT_EQ(0, map(self->importer, attachment, NULL));
	EXPECT_PAID_BY_CREATOR(self);
}

#define FRAME	(600 * PAGE)	/* one range of it is cut from a block of 4 MiB */

/* Room for a block that is cut is not needed, and its rest is not paid for. */
TEST_F(account, room_for_the_length_alone)
{
	static const char * const limits[] = { "max", "3M" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		__s64 paid;
		int fd;

		ASSERT_EQ(0, write_cgroup("payer", "memory.max", limits[i]));
		ASSERT_EQ(0, enter("payer"));
		fd = create(FRAME);
		ASSERT_EQ(0, enter("user"));
		ASSERT_EQ(0, allocate(fd));
		paid = current_bytes("payer") - self->payer;
		EXPECT_GT((__s64)MIB, llabs(paid - (__s64)FRAME)) {
			TH_LOG("%lld bytes", paid);
		}
		close(fd);
		EXPECT_TRUE(settles_at("payer", self->payer));
	}
	/* The attempt is one that failed; nothing was reclaimed for it. */
	EXPECT_EQ(1, count_events("payer", "max"));
	EXPECT_EQ(0, count_of("payer", "memory.stat", "pgscan"));
}

/* A range that is preferred is none that a limit refuses. It is sought again, once it may be. */
TEST_F(account, preference_at_the_limit)
{
	char device[64], policy[128];
	struct told told;
	int fd, i, late;

	ASSERT_TRUE(add_preferring(self->importer, device, policy, sizeof(policy)));
	ASSERT_EQ(0, write_cgroup("payer", "memory.max", "3M"));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, enter("payer"));
		fd = create(FRAME);
		ASSERT_EQ(0, enter("user"));
		if (i)
			ASSERT_EQ(0, declare_device(fd, "platform", device));
		ASSERT_EQ(0, allocate(fd));
		EXPECT_LT(1, query_fields(fd).ranges);
		ASSERT_EQ(0, write_cgroup("payer", "memory.max", "max"));
		ASSERT_EQ(0, declare_device(fd, "platform", device));
		late = join(self->importer, fd, DEVICE());
		ASSERT_LE(0, late);
		ASSERT_EQ(0, query(fd, &told));
		/* What was sought in vain is not sought for each that comes. */
		EXPECT_EQ(i ? 0 : 1, told.query.relocations);
		EXPECT_EQ(i ? CENALLOC_PREFERS_CONTIGUOUS : 0, told_user(&told, device)->unmet);
		EXPECT_EQ(0, told.query.refusals);
		EXPECT_STREQ("system", told.query.allocator);
		ASSERT_EQ(0, detach(self->importer, late));
		close(fd);
		EXPECT_TRUE(settles_at("payer", self->payer));
		ASSERT_EQ(0, write_cgroup("payer", "memory.max", "3M"));
	}
	ASSERT_EQ(0, write_cgroup("payer", "memory.max", "max"));
	EXPECT_EQ(0, remove_policy(policy));
}

/* Who asks is told that it is the limit, not the machine's memory. */
TEST_F(account, limit_is_told)
{
	struct cenalloc_allocate allocate = { .fd = self->fd };
	struct cenalloc_test test = { .len = LEN };
	struct cenalloc_refusal *told = &allocate.refusal;

	ASSERT_EQ(0, write_cgroup("payer", "memory.max", "8M"));
	EXPECT_EQ(-ENOMEM, ask(CENALLOC_ALLOCATE, &allocate));
	EXPECT_EQ(CENALLOC_CAUSE_CHARGE, told->cause);
	EXPECT_EQ(0, told->field);
	EXPECT_EQ(LEN, told->len);
	EXPECT_NE(0, told->classes & CENALLOC_CLASS_SYSTEM);
	EXPECT_STREQ("", told->who);
	EXPECT_EQ(1, told->sequence);
	EXPECT_EQ(0, memcmp(told, &(struct cenalloc_refusal[]){ query_fields(self->fd).refusal },
			    sizeof(*told)));
	EXPECT_REFUSAL(self->fd, "*the memory cgroup *16 MiB*");
	/* TEST asks for who calls it. */
	ASSERT_EQ(0, enter("payer"));
	EXPECT_EQ(0, ask(CENALLOC_TEST, &test));
	EXPECT_EQ(CENALLOC_TEST_NO_MEMORY, test.result);
	EXPECT_EQ(CENALLOC_CAUSE_CHARGE, test.refusal.cause);
	ASSERT_EQ(0, enter("user"));
	EXPECT_EQ(0, ask(CENALLOC_TEST, &test));
	EXPECT_EQ(CENALLOC_TEST_OK, test.result);
	ASSERT_EQ(0, write_cgroup("payer", "memory.max", "max"));
}

TEST_F(account, limit_of_the_creator_at_a_touch)
{
	char *memory = map_cpu(self->fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, write_cgroup("payer", "memory.max", "8M"));
	EXPECT_EQ(SIGBUS, touch(memory, true));
	EXPECT_EQ(CENALLOC_STATE_EMPTY, query_fields(self->fd).state);
	ASSERT_EQ(0, write_cgroup("payer", "memory.max", "max"));
	__atomic_store_n(memory, 1, __ATOMIC_RELAXED);
	EXPECT_PAID_BY_CREATOR(self);
	munmap(memory, LEN);
}

/* Whose limit is low may use what others pay for. */
TEST_F(account, limit_of_the_user)
{
	char *memory = map_cpu(self->fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, write_cgroup("user", "memory.max", "8M"));
	memset(memory, 1, LEN);
	EXPECT_PAID_BY_CREATOR(self);
	munmap(memory, LEN);
}

/* A move needs both for a moment; where that is too much, memory stays. */
TEST_F(account, limit_at_a_move)
{
	char *memory = map_cpu(self->fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, declare_needs(self->fd, "first",
				   NEEDS(.access_mask = CENALLOC_CLASS_SYSTEM)));
	fill_bytes(memory, MIB, 1);
	ASSERT_EQ(0, write_cgroup("payer", "memory.max", "24M"));
	EXPECT_EQ(-ENOMEM, join(self->importer, self->fd, DEVICE(.dma_mask = BITS(32))));
	EXPECT_EQ(0, query_fields(self->fd).relocations);
	EXPECT_EQ(1, query_fields(self->fd).late_refusals);
	EXPECT_EQ(CENALLOC_CAUSE_CHARGE, query_fields(self->fd).refusal.cause);
	EXPECT_EQ(CENALLOC_FIELD_MAX_ADDRESS, query_fields(self->fd).refusal.field);
	EXPECT_EQ(0, wrong_bytes(memory, MIB, 1));
	EXPECT_TRUE(settles_at("payer", self->payer + LEN));
	ASSERT_EQ(0, write_cgroup("payer", "memory.max", "max"));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.dma_mask = BITS(32))));
	EXPECT_EQ(0, wrong_bytes(memory, MIB, 1));
	munmap(memory, LEN);
}

/*
 * A limit inside a zone, above nearly all of it or not, is no way around that of the
 * cgroup. What is charged to nobody has a limit of its own.
 */
TEST_F(account, limit_whatever_is_declared)
{
	static const struct {
		bool low;
		__u32 max_segments;
		const char *uncharged;
	} attacks[] = {
		{ false, 0, "64" }, { false, 1, "64" },
		{ true, 0, "64" }, { true, 1, "64" }, { true, 0, "6" }, { true, 1, "0" },
	};
	const __u64 nearly_all = last_byte() - PAGE;
	int fds[128], count, ret;
	size_t i;

	ASSERT_EQ(0, write_cgroup("payer", "memory.max", "32M"));
	for (i = 0; i < ARRAY_SIZE(attacks); i++) {
		__s64 held, uncharged = atoi(attacks[i].uncharged) * (__s64)MIB;
		const struct cenalloc_constraints needs = {
			.max_address = attacks[i].low ? LOW(28) : nearly_all,
			.max_segments = attacks[i].max_segments,
		};

		ASSERT_EQ(0, write_file(UNCHARGED, attacks[i].uncharged));
		ASSERT_EQ(0, enter("payer"));
		for (count = 0; count < (int)ARRAY_SIZE(fds); count++) {
			fds[count] = create(2 * MIB);
			ASSERT_LE(0, fds[count]);
		}
		/* Where a cgroup is full, the next file that is read costs a process its life. */
		ASSERT_EQ(0, enter("user"));
		for (count = 0, ret = 0; !ret && count < (int)ARRAY_SIZE(fds); count += !ret) {
			ASSERT_EQ(0, declare_needs(fds[count], "needs", needs));
			ret = allocate(fds[count]);
		}
		ASSERT_EQ(-ENOMEM, ret);
		held = count * 2 * (__s64)MIB;
		/* The buffers' own data are in the cgroup, too. */
		EXPECT_GE(held, 8 * (__s64)MIB);
		EXPECT_LE(held, 32 * (__s64)MIB + (attacks[i].low ? uncharged : 0)) {
			TH_LOG("%zu: %lld MiB", i, (long long)(held / MIB));
		}
		EXPECT_LE(held - current_bytes("payer"), uncharged);
		for (count = 0; count < (int)ARRAY_SIZE(fds); count++)
			close(fds[count]);
		EXPECT_TRUE(settles_at("payer", self->payer));
	}
	EXPECT_EQ(0, write_file(UNCHARGED, "64"));
}

static int count_dying(void)
{
	char text[1024], line[64];

	slurp(ROOT "/cgroup.stat", text, sizeof(text));
	if (!find_line(text, "nr_dying_subsys_memory ", line, sizeof(line)))
		return -1;
	return atoi(line + strlen("nr_dying_subsys_memory "));
}

/*
 * The creator is gone with its cgroup: the next above pays. No buffer, with memory or
 * without, keeps the cgroup.
 */
TEST_F(account, cgroup_that_was_removed)
{
	int i, fd;

	ASSERT_EQ(0, enter("payer"));
	fd = create(LEN);
	ASSERT_EQ(0, allocate(fd));
	ASSERT_EQ(0, enter("user"));
	ASSERT_EQ(0, rmdir(ROOT "/payer"));
	for (i = 0; i < 200 && count_dying(); i++)
		usleep(10000);
	EXPECT_EQ(0, count_dying());
	ASSERT_EQ(0, allocate(self->fd));
	EXPECT_GT((__s64)SLACK, current_bytes("user") - self->user);
	close(fd);
	close(self->fd);
	self->fd = -1;
	ASSERT_EQ(0, mkdir(ROOT "/payer", 0755));
}

TEST_HARNESS_MAIN
