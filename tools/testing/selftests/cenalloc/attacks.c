// SPDX-License-Identifier: GPL-2.0
/*
 * What an ordinary user may do to the machine by way of buffers, where the node has been
 * opened to it: no more than with its own memory. The attacks run as USER, in a memory
 * cgroup; what becomes of the machine is seen from outside.
 */

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "kernel_api.h"
#include "memory.h"
#include "removable.h"
#include "touch.h"

#define NODE		"/dev/cenalloc"
#define ROOT		"/tmp/cenalloc-cgroup"
#define USER		1000
#define MEMORY_MAX	(32 * MIB)	/* of the cgroup "small"; "large" has no limit */

/* What the page allocator gives at most: the last column of /proc/buddyinfo. */
#define BLOCK		(PAGE << 10)

/* What an attack tells; the processes share it. */
struct shared {
	bool ready;
	bool stop;
	int ret;
	__u64 held;
	double there;
	double time;
	unsigned long rounds;
};

static struct shared *shared;

/* What the attack that runs next is to do. */
static struct cenalloc_constraints needs;
static __u64 len, align;

/* --- The machine ---------------------------------------------------------- */

static __s64 number_in(const char *path, const char *name)
{
	static char text[64 * KIB];
	char line[128];

	if (!find_line(slurp(path, text, sizeof(text)), name, line, sizeof(line)))
		return -1;
	return strtoll(strstr(line, name) + strlen(name), NULL, 10);
}

/* The most that the administrator lets buffers have of what cannot be charged. */
static __u64 uncharged_bytes(void)
{
	struct cenalloc_allocator_info infos[16] = {};
	struct cenalloc_allocators list = {
		.allocators = (uintptr_t)infos,
		.count = ARRAY_SIZE(infos),
		.size = sizeof(infos[0]),
	};
	__u64 bytes = 0;
	char text[32];
	__u32 i;

	if (ask(CENALLOC_ALLOCATORS, &list))
		return 0;
	for (i = 0; i < list.count && i < ARRAY_SIZE(infos); i++)
		if (infos[i].access_mask & (CENALLOC_CLASS_CMA | CENALLOC_CLASS_CARVEOUT))
			bytes += infos[i].max_len;
	slurp("/sys/module/cenalloc/parameters/uncharged_mib", text, sizeof(text));
	return bytes + atoi(text) * MIB;
}

/* Free blocks of the largest order. */
static long count_blocks(void)
{
	static char text[16 * KIB];
	long blocks = 0;
	char *line;

	slurp("/proc/buddyinfo", text, sizeof(text));
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		char *end = line + strlen(line);

		while (end > line && end[-1] == ' ')
			*--end = '\0';
		blocks += atol(strrchr(line, ' '));
	}
	return blocks;
}

/* Takes the number behind some words from the line that has them. */
static bool has_number(const char *line, const char *words, long *number)
{
	const char *at = strstr(line, words);

	if (at)
		*number = atol(at + strlen(words));
	return at;
}

/* The zone with the fewest free pages, in percent of those that it should keep. */
static long scarcest_zone(char *name, size_t size)
{
	static char text[64 * KIB];
	long scarcest = LONG_MAX, free = 0, min = 0, managed;
	char *line, *zone = "";

	/* Brings the counters up to date. */
	write_file("/proc/sys/vm/stat_refresh", "1");
	slurp("/proc/zoneinfo", text, sizeof(text));
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		if (strstr(line, ", zone "))
			zone = strrchr(line, ' ') + 1;
		/* In this order; a zone may have no pages at all. */
		if (has_number(line, "pages free ", &free) || has_number(line, " min ", &min) ||
		    !has_number(line, " managed ", &managed) || !managed || !min)
			continue;
		if (free * 100 / min < scarcest) {
			scarcest = free * 100 / min;
			snprintf(name, size, "%s", zone);
		}
	}
	return scarcest;
}

/* --- The user ------------------------------------------------------------- */

static int write_cgroup(const char *group, const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), ROOT "/%s/%s", group, file);
	return write_file(path, text);
}

static __s64 cgroup_number(const char *group, const char *file, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), ROOT "/%s/%s", group, file);
	return number_in(path, name);
}

static bool become_user(const char *group)
{
	return !write_cgroup(group, "cgroup.procs", "0") &&
	       !setresgid(USER, USER, USER) && !setresuid(USER, USER, USER);
}

/* A process of the user in a cgroup, which ends with what it did. */
static pid_t start(const char *group, void (*attack)(void))
{
	pid_t child;

	memset(shared, 0, sizeof(*shared));
	child = fork();
	if (child)
		return child;
	if (!become_user(group))
		_exit(KSFT_FAIL);
	attack();
	_exit(KSFT_PASS);
}

/* The attack has done what it can, and keeps what it got. */
static void keep_it(void)
{
	shared->ready = true;
	while (!shared->stop)
		usleep(1000);
}

static bool wait_ready(pid_t child)
{
	while (!shared->ready && waitpid(child, NULL, WNOHANG) != child)
		usleep(1000);
	return shared->ready;
}

static int end(pid_t child)
{
	int status = -1;

	shared->stop = true;
	waitpid(child, &status, 0);
	return status;
}

/* To the end of an attack. */
static int run(const char *group, void (*attack)(void))
{
	return end(start(group, attack));
}

FIXTURE(user) {
	unsigned int buffers;
	__s64 killed;
};

FIXTURE_SETUP(user)
{
	char text[32];

	self->buffers = count_buffers();
	self->killed = number_in("/proc/vmstat", "oom_kill ");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	ASSERT_NE(MAP_FAILED, shared);
	mkdir(ROOT, 0755);
	ASSERT_EQ(0, mount("none", ROOT, "cgroup2", 0, NULL));
	ASSERT_EQ(0, write_file(ROOT "/cgroup.subtree_control", "+memory"));
	ASSERT_EQ(0, mkdir(ROOT "/small", 0755));
	ASSERT_EQ(0, mkdir(ROOT "/large", 0755));
	snprintf(text, sizeof(text), "%llu", MEMORY_MAX);
	ASSERT_EQ(0, write_cgroup("small", "memory.max", text));
	/* As documented for a group of users. */
	ASSERT_EQ(0, chmod(NODE, 0666));
	needs = NEEDS();
	len = 0;
	align = 0;
}

FIXTURE_TEARDOWN(user)
{
	__s64 killed = number_in("/proc/vmstat", "oom_kill ") - self->killed;

	close_range(3, ~0U, 0);
	EXPECT_EQ(self->buffers, settled_buffers(self->buffers));
	/* Nobody dies for the user. */
	EXPECT_EQ(killed, cgroup_number("small", "memory.events", "oom_kill ") +
			  cgroup_number("large", "memory.events", "oom_kill "));
	EXPECT_EQ(0, chmod(NODE, 0600));
	EXPECT_EQ(0, rmdir(ROOT "/small"));
	EXPECT_EQ(0, rmdir(ROOT "/large"));
	EXPECT_EQ(0, umount2(ROOT, MNT_DETACH));
	munmap(shared, sizeof(*shared));
}

/* --- Memory --------------------------------------------------------------- */

/* As many buffers as there may be, up to @most, which stay. */
static unsigned int most;

static void take_all(void)
{
	unsigned int i;

	for (i = 0; i < most && !shared->ret; i++) {
		int fd = create_aligned(len, align);

		shared->ret = fd < 0 ? fd : declare_needs(fd, "hoarder", needs);
		if (!shared->ret)
			shared->ret = allocate(fd);
		if (!shared->ret)
			shared->held += len;
	}
}

static void hoard(void)
{
	take_all();
	keep_it();
}

/* Whatever is declared, it is the memory of the cgroup and what the administrator gives. */
TEST_F(user, holds_no_more_than_it_may)
{
	__u64 last = last_byte() - PAGE, may = MEMORY_MAX + uncharged_bytes();
	const struct cenalloc_constraints all[] = {
		NEEDS(),
		NEEDS(.max_segments = 1),
		NEEDS(.alignment = MIB),
		NEEDS(.max_address = last),
		NEEDS(.max_address = last, .max_segments = 1),
		NEEDS(.max_address = last, .alignment = 2 * MIB),
		NEEDS(.max_address = BITS(32) - PAGE),
		NEEDS(.max_address = BITS(31) - PAGE, .max_segments = 1),
		NEEDS(.access_mask = CENALLOC_CLASS_SYSTEM_CONTIG),
		NEEDS(.access_mask = CENALLOC_CLASS_DMA_COHERENT),
		NEEDS(.access_mask = CENALLOC_CLASS_DMA_COHERENT, .max_address = last),
		NEEDS(.flags = CENALLOC_NEEDS_COHERENT),
	};
	size_t i;

	len = 4 * MIB;
	most = 64;
	for (i = 0; i < ARRAY_SIZE(all); i++) {
		pid_t child;

		needs = all[i];
		child = start("small", hoard);
		ASSERT_TRUE(wait_ready(child));
		/* It asks for more than there may be. */
		EXPECT_EQ(-ENOMEM, shared->ret) {
			TH_LOG("needs %zu: %d", i, shared->ret);
		}
		EXPECT_GE(may, shared->held) {
			TH_LOG("needs %zu: %llu MiB, of %llu MiB", i, shared->held / MIB,
			       may / MIB);
		}
		EXPECT_EQ(0, end(child));
		EXPECT_EQ(self->buffers, settled_buffers(self->buffers));
	}
}

/* Large blocks go for what is paid: at least half of each. */
TEST_F(user, breaks_no_blocks_that_it_does_not_pay)
{
	const __u64 last = last_byte() - PAGE;
	const struct {
		__u64 len;
		__u64 align;
		struct cenalloc_constraints needs;
		int ret;
	} all[] = {
		{ PAGE, BLOCK, NEEDS(), -EINVAL },
		{ PAGE, 0, NEEDS(.alignment = BLOCK), -EINVAL },
		{ PAGE, BLOCK, NEEDS(.max_segments = 1), -EINVAL },
		{ PAGE, BLOCK, NEEDS(.max_address = last), -EINVAL },
		{ PAGE, 2 * PAGE, NEEDS(), -EINVAL },
		{ BLOCK / 2, BLOCK, NEEDS(), -EINVAL },
		{ BLOCK / 2 + PAGE, BLOCK, NEEDS(), -ENOMEM },
		{ BLOCK / 2 + PAGE, 0, NEEDS(), -ENOMEM },
		{ BLOCK / 2 + PAGE, 0, NEEDS(.max_segments = 1), -ENOMEM },
		{ BLOCK / 2, 0, NEEDS(.max_segments = 1), -ENOMEM },
		{ BLOCK, BLOCK, NEEDS(), -ENOMEM },
	};
	size_t i;

	most = 120;
	for (i = 0; i < ARRAY_SIZE(all); i++) {
		long before = count_blocks(), lost, paid;
		pid_t child;

		len = all[i].len;
		align = all[i].align;
		needs = all[i].needs;
		child = start("small", hoard);
		ASSERT_TRUE(wait_ready(child));
		EXPECT_EQ(all[i].ret, shared->ret) {
			TH_LOG("needs %zu: %d", i, shared->ret);
		}
		lost = before - count_blocks();
		paid = cgroup_number("small", "memory.current", "") / (BLOCK / 2);
		/* Some go for other things of the processes. */
		EXPECT_GE(paid + 2, lost) {
			TH_LOG("needs %zu: %llu buffers: %ld blocks of %ld", i,
			       shared->held / len, lost, before);
		}
		EXPECT_EQ(0, end(child));
		EXPECT_EQ(self->buffers, settled_buffers(self->buffers));
	}
}

static void test_all_memory(void)
{
	struct cenalloc_test test = { .len = len, .constraints = needs };
	double until = seconds() + 2;

	shared->ready = true;
	do {
		shared->ret = ask(CENALLOC_TEST, &test);
		if (!shared->ret && test.result != CENALLOC_TEST_OK)
			shared->ret = -ENOMEM;
		shared->rounds++;
	} while (!shared->ret && seconds() < until);
}

/* CENALLOC_TEST says what there is. */
TEST_F(user, takes_nothing_by_asking)
{
	const struct cenalloc_constraints all[] = {
		NEEDS(),
		NEEDS(.max_address = last_byte() - PAGE),
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(all); i++) {
		__u64 before = kib_of("MemFree:") * KIB, least = before, now;
		pid_t child;

		needs = all[i];
		len = before / 2 / PAGE * PAGE;
		child = start("large", test_all_memory);
		while (waitpid(child, NULL, WNOHANG) != child) {
			now = kib_of("MemFree:") * KIB;
			if (now < least)
				least = now;
			usleep(2000);
		}
		EXPECT_EQ(0, shared->ret);
		EXPECT_LT(0, shared->rounds);
		EXPECT_GT(64 * MIB, before - least) {
			TH_LOG("needs %zu: %llu MiB less in %lu calls", i, (before - least) / MIB,
			       shared->rounds);
		}
	}
}

/* What is not told to everybody: where memory lies, which a need that is too low finds out. */
static void ask_for_the_lowest(void)
{
	struct cenalloc_test test = { .len = PAGE, .constraints = needs };
	int fd = create(PAGE);

	shared->ret = ask(CENALLOC_TEST, &test);
	if (!shared->ret && (test.result != CENALLOC_TEST_NEVER ||
			     test.refusal.field != CENALLOC_FIELD_MAX_ADDRESS))
		shared->ret = -EBADMSG;
	shared->held = test.refusal.found;
	if (!shared->ret && declare_needs(fd, "low", needs) != -EINVAL)
		shared->ret = -EBADMSG;
	shared->held |= query_fields(fd).refusal.found;
	close(fd);
}

TEST_F(user, is_not_told_where_memory_lies)
{
	needs = NEEDS(.max_address = PAGE - 1);
	ASSERT_EQ(0, run("small", ask_for_the_lowest));
	EXPECT_EQ(0, shared->ret);
	EXPECT_EQ(0, shared->held);
	/* Root is. */
	ask_for_the_lowest();
	EXPECT_EQ(0, shared->ret);
	EXPECT_NE(0, shared->held);
}

/* Empty buffers, each with a name, a few declarations and a refusal. */
static void keep_much(void)
{
	struct rlimit limit = { 4096, 4096 };
	unsigned int i, j;

	shared->ret = setrlimit(RLIMIT_NOFILE, &limit) ? -errno : 0;
	for (i = 0; i < most && !shared->ret; i++) {
		int fd = create_aligned(PAGE, PAGE);

		shared->ret = fd < 0 ? fd : ioctl(fd, DMA_BUF_SET_NAME_B, "kept");
		for (j = 0; j < 4 && !shared->ret; j++)
			shared->ret = declare_needs(fd, "kept", NEEDS());
		if (shared->ret)
			break;
		shared->ret = declare_needs(fd, "refused", needs);
		shared->ret = shared->ret == -EINVAL ? 0 : -EBADMSG;
	}
	keep_it();
}

/*
 * All that is kept for a buffer is charged, but for what the core of dma-buf has for
 * that of any exporter: its struct, and a copy of the name.
 */
TEST_F(user, pays_for_what_is_kept_for_it)
{
	__s64 before, all, paid, each;
	pid_t child;

	most = 3000;
	needs = NEEDS(.alignment = BITS(40) + 1);
	before = number_in("/proc/meminfo", "SUnreclaim:");
	child = start("large", keep_much);
	ASSERT_TRUE(wait_ready(child));
	EXPECT_EQ(0, shared->ret);
	all = (number_in("/proc/meminfo", "SUnreclaim:") - before) * KIB;
	paid = cgroup_number("large", "memory.stat", "slab_unreclaimable ");
	ASSERT_EQ(0, end(child));
	each = (all - paid) / most;
	/* Checkers keep more for each object than that has, which nobody pays for. */
	EXPECT_GT(slower() > 1 ? 16 * KIB : 704, each) {
		TH_LOG("%lld bytes for each buffer, of %lld", each, all / most);
	}
}

/* Users of many kinds, and one that takes few segments, so that each has to be looked at. */
static void crowd(void)
{
	int fds[] = { create(len), create(len) };
	double time;
	unsigned int i;

	shared->ret = declare_needs(fds[1], "few", NEEDS(.max_segments = len / (16 * PAGE)));
	for (i = 0; i < most && !shared->ret; i++)
		shared->ret = declare_needs(fds[1], "many",
					    NEEDS(.max_segment_size = PAGE * (1 + i % 7),
						  .max_segments = len / PAGE + i));
	for (i = 0; i < 2 && !shared->ret; i++) {
		time = seconds();
		shared->ret = allocate(fds[i]);
		time = seconds() - time;
		if (i)
			shared->time = time;
		else
			shared->there = time;
	}
}

/* What looks at all users takes no longer for those whose tables are long. */
TEST_F_TIMEOUT(user, users_do_not_hold_up_memory, 120)
{
	len = (slower() > 1 ? 32 : 256) * MIB;
	most = 4000;
	ASSERT_EQ(0, run("large", crowd));
	EXPECT_EQ(0, shared->ret);
	EXPECT_GT(2 * shared->there + 0.1 * slower(), shared->time) {
		TH_LOG("%.3f s, %.3f s with %u users", shared->there, shared->time, most);
	}
}

#define DEAD	40	/* cgroups that go */

/* Buffers outlive the cgroup that pays for them, and do not keep it. */
TEST_F(user, keeps_no_dead_cgroups)
{
	__s64 before = number_in(ROOT "/cgroup.stat", "nr_dying_descendants "), after;
	char path[64], group[16];
	int i;

	for (i = 0; i < DEAD; i++) {
		pid_t child;
		int status;

		snprintf(group, sizeof(group), "dead%d", i);
		snprintf(path, sizeof(path), ROOT "/%s", group);
		ASSERT_EQ(0, mkdir(path, 0755));
		/* Its buffer stays open here. */
		child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
		if (!child) {
			int fd = become_user(group) ? create(4 * PAGE) : -1;

			_exit(fd < 0 || allocate(fd));
		}
		ASSERT_LT(0, child);
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_EQ(0, status);
		ASSERT_EQ(0, rmdir(path));
	}
	EXPECT_EQ(self->buffers + DEAD, count_buffers());
	for (i = 0; i < 50; i++) {
		after = number_in(ROOT "/cgroup.stat", "nr_dying_descendants ");
		if (after <= before)
			break;
		usleep(100000);
	}
	EXPECT_GE(before, after) {
		TH_LOG("%lld of %d stay", after - before, DEAD);
	}
}

/* --- Time ----------------------------------------------------------------- */

/* A buffer high in memory, which moves for the device that is declared for it. */
static void declare_large_buffers(void)
{
	while (!shared->stop) {
		int fd = create(256 * MIB);

		shared->ret = fd < 0 ? fd : allocate(fd);
		if (shared->ret)
			break;
		/* It may be away, or go while the buffer moves for it. */
		shared->ret = declare_device(fd, "platform", REMOVABLE_NAME);
		shared->rounds += query_fields(fd).relocations == 1;
		close(fd);
	}
}

/*
 * The longest that root waits for its device to go, within some seconds: twice, since a
 * machine has moments in which it does other things.
 */
static double longest_unbind(double duration)
{
	double until = seconds() + duration, longest = 0, second = 0, time;

	do {
		time = seconds();
		if (bind_removable("unbind"))
			return 1e9;
		time = seconds() - time;
		if (time > longest) {
			second = longest;
			longest = time;
		} else if (time > second) {
			second = time;
		}
		if (bind_removable("bind"))
			return 1e9;
		usleep(50000);
	} while (seconds() < until);
	return second;
}

TEST_F(user, holds_up_no_unbind)
{
	double alone = longest_unbind(1), longest;
	pid_t child;

	ASSERT_GT(1e9, alone);
	child = start("large", declare_large_buffers);
	longest = longest_unbind(5 * slower());
	EXPECT_EQ(0, end(child));
	EXPECT_LT(0, shared->rounds);
	EXPECT_GT(2 * alone + (slower() > 1 ? 3 : 0.1), longest) {
		TH_LOG("unbind takes %.3f s, with %lu declarations %.3f s", alone,
		       shared->rounds, longest);
	}
}

/* Users of a buffer: fewer with checkers, which look at each lock. */
#define DECLARED_EACH	(slower() > 1 ? 200U : 1000U)

/* How long a close takes for each declaration. */
static void declare_much(void)
{
	static int fds[16];
	unsigned int i, j;
	double time;

	for (i = 0; i < most; i++) {
		fds[i] = create(PAGE);
		for (j = 0; j < DECLARED_EACH && !shared->ret; j++) {
			needs.max_address = BITS(32) - PAGE * j;
			shared->ret = declare_device_with(fds[i], "platform", REMOVABLE_NAME,
							  needs);
		}
	}
	time = seconds();
	for (i = 0; i < most; i++)
		close(fds[i]);
	shared->time = (seconds() - time) / most / DECLARED_EACH;
}

TEST_F_TIMEOUT(user, closes_at_the_same_cost, 120)
{
	const unsigned int buffers[] = { 4, 12 };
	double cost[] = { 1e9, 1e9 };
	int i;

	/* A machine has moments in which it does other things. With checkers, once has to do. */
	for (i = 0; i < (slower() > 1 ? 2 : 6); i++) {
		most = buffers[i % 2];
		ASSERT_EQ(0, run("large", declare_much));
		EXPECT_EQ(0, shared->ret);
		if (shared->time < cost[i % 2])
			cost[i % 2] = shared->time;
	}
	EXPECT_GT(2 * cost[0], cost[1]) {
		TH_LOG("%.1f us for each declaration, %.1f us where there are three times as many",
		       cost[0] * 1e6, cost[1] * 1e6);
	}
}

/* Mappings of one buffer that a thread touches, one after the other. */
struct toucher {
	char *memory[32];
	unsigned int count;
	double least;		/* seconds that it goes on for, if there are enough mappings */
	double time;
	bool is_done;
};

static void *touch_all(void *argument)
{
	struct toucher *toucher = argument;
	double start = seconds();
	unsigned int i;
	__u64 at;

	for (i = 0; i < toucher->count && (!i || seconds() - start < toucher->least); i++)
		for (at = 0; at < len; at += PAGE)
			__atomic_store_n(toucher->memory[i] + at, 1, __ATOMIC_RELAXED);
	toucher->time = seconds() - start;
	__atomic_store_n(&toucher->is_done, true, __ATOMIC_RELEASE);
	return NULL;
}

/*
 * The longest that an mmap() and its end take while another thread touches a buffer: for
 * the first time, or one that has its memory, for at least as long.
 */
static double longest_mmap(struct toucher *toucher, bool is_there)
{
	int fd = create(len);
	double longest = 0;
	pthread_t thread;
	unsigned int i;

	if (is_there)
		shared->ret |= allocate(fd);
	toucher->is_done = false;
	toucher->least = toucher->time;
	toucher->count = is_there ? ARRAY_SIZE(toucher->memory) : 1;
	for (i = 0; i < toucher->count; i++)
		toucher->memory[i] = map_cpu(fd, len);
	if (pthread_create(&thread, NULL, touch_all, toucher))
		return 1e9;
	while (!__atomic_load_n(&toucher->is_done, __ATOMIC_ACQUIRE)) {
		double time = seconds();
		void *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		munmap(page, PAGE);
		time = seconds() - time;
		if (time > longest)
			longest = time;
	}
	pthread_join(thread, NULL);
	for (i = 0; i < toucher->count; i++)
		munmap(toucher->memory[i], len);
	close(fd);
	return longest;
}

/* How long a first touch may hold up others that are held up so long by a later one. */
static double longest_allowed(double there)
{
	return 2 * there + 0.005 * slower();
}

/* What holds others up does so each time; the machine does other things now and then. */
static void touch_while_mapping(void)
{
	struct toucher toucher = {};
	double time, sum = 0;
	int i;

	shared->time = 1e9;
	for (i = 1; i <= 5; i++) {
		time = longest_mmap(&toucher, false);
		if (time < shared->time)
			shared->time = time;
		sum += longest_mmap(&toucher, true);
		shared->there = sum / i;
		if (i >= 2 && shared->time <= longest_allowed(shared->there))
			return;
	}
}

/* A first touch, which takes all the memory, holds up other threads no more than later ones. */
TEST_F_TIMEOUT(user, first_touch_holds_up_no_thread, 120)
{
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "one processor");
	len = (slower() > 1 ? 64 : 512) * MIB;
	ASSERT_EQ(0, run("large", touch_while_mapping));
	EXPECT_EQ(0, shared->ret);
	EXPECT_GE(longest_allowed(shared->there), shared->time) {
		TH_LOG("mmap() takes up to %.4f s, during a first touch %.4f s", shared->there,
		       shared->time);
	}
}

/* --- Locks ---------------------------------------------------------------- */

/* A buffer in pieces, some of whose processes die in a section of access. */
static void die_in_a_section(void)
{
	int fd = create(700 * KIB), i, status;
	char *memory = map_cpu(fd, 700 * KIB);

	memset(memory, 1, 700 * KIB);
	for (i = 0; i < 3; i++) {
		pid_t child = fork();

		if (!child) {
			sync_cpu(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ);
			raise(SIGKILL);
		}
		waitpid(child, &status, 0);
	}
	shared->ret = declare_needs(fd, "late", NEEDS(.max_segments = 1, .max_address = BITS(32)));
	shared->rounds = query_fields(fd).relocations;
	if (!is_filled(memory, 1, 700 * KIB))
		shared->ret = -EBADMSG;
}

TEST_F(user, may_die_in_a_section)
{
	ASSERT_EQ(0, run("small", die_in_a_section));
	EXPECT_EQ(0, shared->ret);
	EXPECT_EQ(1, shared->rounds);
}

/* The buffer that one is working on, and others wait for. */
static int busy;

static void work(void)
{
	shared->ret = allocate(busy);
}

static void wait_to_query(void)
{
	query_fields(busy);
}

static void wait_to_declare(void)
{
	declare_needs(busy, "waiter", NEEDS());
}

static void wait_to_allocate(void)
{
	allocate(busy);
}

static void wait_to_start(void)
{
	sync_cpu(busy, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
}

static void wait_to_end(void)
{
	sync_cpu(busy, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
}

static void wait_to_touch(void)
{
	char *memory = map_cpu(busy, PAGE);

	touch(memory, true);
}

/* Who waits for a buffer can be killed. An allocator of the test takes its time. */
TEST_F(user, may_be_killed_while_it_waits)
{
	const struct {
		const char *name;
		void (*wait)(void);
	} all[] = {
		{ "QUERY", wait_to_query },
		{ "DECLARE", wait_to_declare },
		{ "ALLOCATE", wait_to_allocate },
		{ "SYNC_START", wait_to_start },
		{ "SYNC_END", wait_to_end },
		{ "touch", wait_to_touch },
	};
	int outside, handle;
	size_t i;

	ASSERT_EQ(0, load("cenalloc_c_allocator"));
	outside = open_outside();
	ASSERT_LE(0, outside);
	handle = add_outside(outside, OUTSIDE());
	ASSERT_LE(0, handle);
	ASSERT_EQ(0, set_fault(outside, handle, C_ALLOCATOR_SLOW, C_ALLOCATOR_SLOWEST));
	for (i = 0; i < ARRAY_SIZE(all); i++) {
		pid_t worker, waiter;
		double time;
		int status;

		busy = create(PAGE);
		ASSERT_LE(0, busy);
		ASSERT_EQ(0, declare_needs(busy, "outside", NEEDS(.access_mask = OUTSIDE_CLASS)));
		worker = start("small", work);
		usleep(200000);
		waiter = start("small", all[i].wait);
		usleep(200000);
		time = seconds();
		kill(waiter, SIGKILL);
		waitpid(waiter, &status, 0);
		time = seconds() - time;
		EXPECT_TRUE(WIFSIGNALED(status)) {
			TH_LOG("%s: it did not wait", all[i].name);
		}
		EXPECT_GT(0.3, time) {
			TH_LOG("%s: it dies %.2f s after the signal", all[i].name, time);
		}
		EXPECT_EQ(0, end(worker));
		EXPECT_EQ(0, shared->ret);
		close(busy);
	}
	EXPECT_EQ(0, settled_live(outside, handle, 0));
	EXPECT_EQ(0, remove_all_outside(outside));
	close(outside);
	EXPECT_EQ(0, unload_patiently("cenalloc_c_allocator"));
}

/* --- Last, since it takes longest where it fails -------------------------- */

/* What is large first, then what is left: by pages in the zone that is small. */
static void drain(void)
{
	__u64 least = needs.max_address < BITS(24) ? PAGE : 4 * MIB;

	for (; len >= least; len /= 16) {
		shared->ret = 0;
		take_all();
	}
	keep_it();
}

/* What buffers take is not what the kernel keeps for itself. */
TEST_F(user, leaves_each_zone_what_it_keeps)
{
	const struct cenalloc_constraints all[] = {
		NEEDS(.max_address = BITS(24) - PAGE),
		NEEDS(.max_address = BITS(32) - PAGE),
	};
	char zone[32] = "";
	size_t i;

	ASSERT_LE(100, scarcest_zone(zone, sizeof(zone)));
	for (i = 0; i < ARRAY_SIZE(all); i++) {
		pid_t child;
		long kept;

		needs = all[i];
		len = i ? 64 * MIB : 64 * KIB;
		most = 256;
		child = start("large", drain);
		ASSERT_TRUE(wait_ready(child));
		EXPECT_EQ(-ENOMEM, shared->ret);
		kept = scarcest_zone(zone, sizeof(zone));
		/* The kernel itself may go a little lower. */
		EXPECT_LE(75, kept) {
			TH_LOG("needs %zu, %llu KiB held: zone %s has %ld %% of min", i,
			       shared->held / KIB, zone, kept);
		}
		EXPECT_EQ(0, end(child));
		EXPECT_EQ(self->buffers, settled_buffers(self->buffers));
	}
}

int main(int argc, char **argv)
{
	return run_with_removable(argc, argv);
}
