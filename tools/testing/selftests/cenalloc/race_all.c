// SPDX-License-Identifier: GPL-2.0
/*
 * Everything at once on the same buffers, from several threads of several
 * processes: attach, map, pin, move, touch, declare, allocate, query, close.
 * Whatever happens, written words stay, and nothing is left at the end.
 */

#include <pthread.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "modules.h"
#include "removable.h"

#define LEN		(64 * KIB)
#define BUFFERS		3
#define PROCESSES	2
#define THREADS		5
#define SECONDS		4

/* What all processes share. */
struct shared {
	int stop;
	__u64 rounds[PROCESSES][THREADS];
};

static struct shared *shared;
static int fds[BUFFERS];	/* of the parent, inherited */
static int process;		/* number of this one */

struct worker {
	pthread_t thread;
	int number;
	int importer;
	unsigned int seed;
	struct mapping *mapping;
	const char *failure;
	int error;
};

static unsigned int pick(struct worker *me, unsigned int count)
{
	return rand_r(&me->seed) / 7 % count;
}

static void check(struct worker *me, bool good, const char *what, int error)
{
	if (good)
		return;
	me->failure = what;
	me->error = error;
	pthread_exit(NULL);
}

/* A call may fail with what a race can make of it, and with nothing else. */
#define MAY_FAIL(me, result, ...) ({						\
	const int _allowed[] = { __VA_ARGS__ };					\
	int _result = (result);							\
	bool _good = _result >= 0;						\
	size_t _i;								\
										\
	for (_i = 0; _i < ARRAY_SIZE(_allowed); _i++)				\
		_good |= _result == _allowed[_i];				\
	check(me, _good, #result, _result);					\
	_result;								\
})

#define MUST(me, condition)	check(me, condition, #condition, 0)

/* Needs that never conflict, and that no memory satisfies all at once by chance. */
static struct importer_add some_needs(struct worker *me)
{
	switch (pick(me, 6)) {
	case 0:
		return DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM_CONTIG);
	case 1:
		return DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM);
	case 2:
		return DEVICE(.dma_mask = BITS(32), .max_segments = 1);
	case 3:
		return DEVICE(.max_segment_size = 8192);
	case 4:
		return DEVICE(.alignment = 16 * KIB);
	default:
		return DEVICE();
	}
}

/* --- What workers do ------------------------------------------------------ */

/*
 * Words that are this thread's own: nobody else writes them, so that they are
 * what it wrote last, in whichever memory the buffer is.
 */
static void write_words(struct worker *me, char *memory, __u64 round)
{
	__u64 at, mine = (process * THREADS + me->number) * 16;

	for (at = mine; at < LEN; at += PAGE)
		*(__u64 *)(memory + at) = round * MIX + at;
}

static bool has_words(struct worker *me, const char *memory, __u64 round)
{
	__u64 at, mine = (process * THREADS + me->number) * 16;

	for (at = mine; at < LEN; at += PAGE)
		if (*(__u64 *)(memory + at) != round * MIX + at)
			return false;
	return true;
}

static void touch(struct worker *me, int fd, int buffer, __u64 *rounds)
{
	char *memory = map_cpu(fd, LEN), *again;

	MUST(me, memory != MAP_FAILED);
	MUST(me, has_words(me, memory, rounds[buffer]) || !rounds[buffer]);
	write_words(me, memory, ++rounds[buffer]);
	again = map_cpu(fd, LEN);
	MUST(me, again != MAP_FAILED);
	MUST(me, has_words(me, again, rounds[buffer]));
	munmap(again, LEN);
	MUST(me, has_words(me, memory, rounds[buffer]));
	munmap(memory, LEN);
}

static void use_device(struct worker *me, int fd)
{
	struct importer_add needs = some_needs(me);
	int device = add_device(me->importer, needs), attachment;
	bool dynamic = pick(me, 2);

	MUST(me, device >= 0);
	attachment = MAY_FAIL(me, dynamic ? attach_dynamic(me->importer, device, fd) :
			      attach(me->importer, device, fd), -EBUSY, -EINVAL);
	if (attachment < 0) {
		MUST(me, !call_number(me->importer, IMPORTER_REMOVE, device));
		return;
	}
	if (dynamic && !pick(me, 3)) {
		MUST(me, !pin(me->importer, attachment));
		if (pick(me, 2))
			MUST(me, !unpin(me->importer, attachment));
	}
	if (pick(me, 3)) {
		MUST(me, !map_for(me->importer, attachment, pick(me, 3), me->mapping));
		MUST(me, mapping_len(me->mapping) == LEN);
		/* The needs of who is in are kept, whatever else goes on. */
		if (needs.max_segments == 1)
			MUST(me, me->mapping->count == 1);
		if (needs.dma_mask)
			MUST(me, last_address(me->mapping) <= needs.dma_mask);
		if (pick(me, 2))
			MUST(me, !unmap(me->importer, attachment));
	}
	MUST(me, !detach(me->importer, attachment));
	MUST(me, !call_number(me->importer, IMPORTER_REMOVE, device));
}

/* Declares and attaches a device, or goes before it has attached. */
static void declare_one(struct worker *me, int fd)
{
	struct importer_add add = some_needs(me);
	char name[64];
	int device;

	snprintf(add.name, sizeof(add.name), "race%d-%d", getpid(), me->number);
	device = add_device(me->importer, add);
	MUST(me, device >= 0);
	MUST(me, find_device("platform", add.name, name, sizeof(name)));
	/* Some wait for a millisecond. */
	if (!MAY_FAIL(me, declare_until(fd, "platform", name, NEEDS(), pick(me, 2) * 1000000, NULL),
		      -EBUSY, -EINVAL) && pick(me, 2)) {
		int attachment = attach(me->importer, device, fd);

		/* Never refused for what was declared. */
		check(me, attachment >= 0, "declared device attaches", attachment);
		MUST(me, !map(me->importer, attachment, NULL));
		MUST(me, !detach(me->importer, attachment));
	}
	MUST(me, !call_number(me->importer, IMPORTER_REMOVE, device));
}

static void ask_about(struct worker *me, int fd)
{
	struct cenalloc_test test = { .len = LEN, .constraints.max_segments = pick(me, 3) };
	char text[LINE];
	struct told told;

	MUST(me, !query(fd, &told));
	MUST(me, told.query.len == LEN);
	MUST(me, told.query.refusal.sequence == told.query.refusals);
	MUST(me, told.query.state == CENALLOC_STATE_BACKED || !told.query.allocator[0]);
	MUST(me, !ask(CENALLOC_TEST, &test));
	MUST(me, test.result == CENALLOC_TEST_OK);
	slurp(DEBUGFS "refusal", text, sizeof(text));
}

/* A buffer of its own, through its life, while devices and allocators are busy. */
static void one_life(struct worker *me)
{
	int fd = create(LEN), attachment;
	char *memory;

	MUST(me, fd >= 0);
	declare_needs(fd, "race", NEEDS(.max_segments = pick(me, 2)));
	if (pick(me, 2))
		MUST(me, !allocate(fd));
	memory = map_cpu(fd, LEN);
	MUST(me, memory != MAP_FAILED);
	MUST(me, !memory[LEN - 1]);
	fill_bytes(memory, LEN, me->number);
	attachment = join_dynamic(me->importer, fd, DEVICE());
	MUST(me, attachment >= 0);
	if (pick(me, 2))
		MUST(me, !map(me->importer, attachment, NULL));
	MUST(me, !declare_needs(fd, "late", NEEDS(.max_segments = 1, .max_address = BITS(32))));
	if (pick(me, 2))
		close(fd);
	else
		fd = -1 - fd;
	MUST(me, !wrong_bytes(memory, LEN, me->number));
	MUST(me, !detach(me->importer, attachment));
	munmap(memory, LEN);
	if (fd < 0)
		close(-1 - fd);
}

static void section(struct worker *me, int fd)
{
	MUST(me, !sync_cpu(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
	MUST(me, !sync_cpu(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
}

static void *work(void *data)
{
	__u64 rounds[BUFFERS] = {};
	struct worker *me = data;

	me->mapping = malloc(sizeof(*me->mapping));
	while (!__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE)) {
		int buffer = pick(me, BUFFERS), fd = fds[buffer];

		switch (pick(me, 8)) {
		case 0:
		case 1:
			touch(me, fd, buffer, rounds);
			break;
		case 2:
		case 3:
			use_device(me, fd);
			break;
		case 4:
			declare_one(me, fd);
			break;
		case 5:
			MAY_FAIL(me, allocate(fd), -EINTR);
			break;
		case 6:
			if (pick(me, 2))
				ask_about(me, fd);
			else
				section(me, fd);
			break;
		default:
			one_life(me);
		}
		__atomic_fetch_add(&shared->rounds[process][me->number], 1, __ATOMIC_RELAXED);
	}
	free(me->mapping);
	return NULL;
}

static int work_in_process(void)
{
	struct worker workers[THREADS] = {};
	int i, failures = 0;

	for (i = 0; i < THREADS; i++) {
		workers[i].number = i;
		workers[i].seed = process * THREADS + i + 1;
		workers[i].importer = open_importer();
		if (workers[i].importer < 0 ||
		    pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			return 1;
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		if (!workers[i].failure)
			continue;
		failures++;
		printf("# process %d, thread %d: %s: %d\n", process, i, workers[i].failure,
		       workers[i].error);
	}
	return failures != 0;
}

TEST(all_at_once)
{
	unsigned int buffers = count_buffers(), before;
	__u64 used = find_allocator("system").used + find_allocator("system-contig").used;
	unsigned long moves = 0;
	pid_t children[PROCESSES];
	int i, j, status;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)shared);
	for (i = 0; i < BUFFERS; i++) {
		fds[i] = create(LEN);
		ASSERT_LE(0, fds[i]);
	}
	before = count_buffers();
	EXPECT_EQ(buffers + BUFFERS, before);
	fflush(stdout);
	for (process = 0; process < PROCESSES; process++) {
		children[process] = fork();
		ASSERT_LE(0, children[process]);
		if (!children[process]) {
			status = work_in_process();
			fflush(stdout);
			_exit(status);
		}
	}
	for (i = 0; i < SECONDS * 10 * slower(); i++)
		usleep(100000);
	__atomic_store_n(&shared->stop, 1, __ATOMIC_RELEASE);
	for (i = 0; i < PROCESSES; i++) {
		ASSERT_EQ(children[i], waitpid(children[i], &status, 0));
		EXPECT_EQ(0, status);
		for (j = 0; j < THREADS; j++)
			EXPECT_LT(5, shared->rounds[i][j]);
	}
	/* Nobody uses them any more; as much memory is used as they have. */
	for (i = 0; i < BUFFERS; i++) {
		struct cenalloc_query query = query_fields(fds[i]);

		EXPECT_EQ(0, query.user_count);
		EXPECT_EQ(CENALLOC_STATE_BACKED, query.state);
		moves += query.relocations;
	}
	EXPECT_LT(10, moves);
	EXPECT_EQ(before, settled_buffers(before));
	EXPECT_EQ(used + BUFFERS * LEN, find_allocator("system").used +
		  find_allocator("system-contig").used);
	for (i = 0; i < BUFFERS; i++)
		close(fds[i]);
	EXPECT_EQ(buffers, settled_buffers(buffers));
	EXPECT_EQ(used, find_allocator("system").used + find_allocator("system-contig").used);
	munmap(shared, sizeof(*shared));
}

/* --- A driver that comes and goes ------------------------------------------ */

static char edu[64];

static void *declare_edu(void *data)
{
	struct worker *me = data;

	while (!__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE)) {
		int fd = create(LEN), i;

		MUST(me, fd >= 0);
		for (i = pick(me, 4); i >= 0; i--)
			MAY_FAIL(me, declare_device(fd, "pci", edu), -ENODEV);
		MUST(me, query_fields(fd).user_count <= 4);
		if (pick(me, 2))
			MUST(me, !allocate(fd));
		close(fd);
		shared->rounds[0][me->number]++;
	}
	return NULL;
}

TEST(declarations_while_the_driver_comes_and_goes)
{
	int i, failures = 0, rounds, users = count_module_users("cenalloc");
	struct worker workers[THREADS] = {};
	double end;

	snprintf(edu, sizeof(edu), "%s", edu_name());
	ASSERT_STRNE("", edu);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)shared);
	for (i = 0; i < 3; i++) {
		workers[i].number = i;
		workers[i].seed = i;
		ASSERT_EQ(0, pthread_create(&workers[i].thread, NULL, declare_edu, &workers[i]));
	}
	end = seconds() + slower();
	for (rounds = 0; seconds() < end; rounds++) {
		failures += !!rebind("pci", "cenalloc_edu", edu, "unbind");
		usleep(1000);
		failures += !!rebind("pci", "cenalloc_edu", edu, "bind");
		usleep(1000);
	}
	__atomic_store_n(&shared->stop, 1, __ATOMIC_RELEASE);
	EXPECT_EQ(0, failures);
	EXPECT_LT(3, rounds);
	for (i = 0; i < 3; i++) {
		pthread_join(workers[i].thread, NULL);
		EXPECT_NULL(workers[i].failure) {
			TH_LOG("%s: %d", workers[i].failure, workers[i].error);
		}
		EXPECT_LT(3, shared->rounds[0][i]);
	}
	/* No declaration keeps the module. */
	EXPECT_EQ(users, settled_module_users("cenalloc", users));
}

/* A life with a device that is there, or not, or its module is not. */
static void *use_removable(void *data)
{
	struct worker *me = data;

	while (!__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE)) {
		int driver = open_device("/dev/" REMOVABLE_NAME), fd = create(LEN);

		MUST(me, fd >= 0);
		/* Some have memory before, in some number of pieces. */
		if (pick(me, 2))
			MUST(me, !allocate(fd));
		if (pick(me, 4))
			MAY_FAIL(me, declare_device(fd, "platform", REMOVABLE_NAME), -ENODEV);
		if (driver >= 0 && pick(me, 4))
			MAY_FAIL(me, call_number(driver, REMOVABLE_SHARE, fd), -ENODEV);
		MUST(me, query_fields(fd).user_count <= 1);
		if (pick(me, 2))
			MUST(me, !declare_needs(fd, "more", NEEDS(.max_segments = 1)));
		close(fd);
		if (driver >= 0)
			close(driver);
		shared->rounds[0][me->number]++;
	}
	return NULL;
}

/* One coming and going of the device: as it should, with a failed probe, with its module. */
static int come_and_go(int round)
{
	int ret = bind_removable("unbind");

	if (!ret && round % 3 == 1) {
		ret = set_removable("fail_probe", true);
		if (!ret)
			ret = bind_removable("bind") == -ENODEV ? 0 : -EEXIST;
		if (!ret)
			ret = set_removable("fail_probe", false);
	}
	if (!ret && round % 3 == 2) {
		do {
			ret = unload(REMOVABLE_NAME);
		} while (ret == -EWOULDBLOCK);
		return ret ?: load(REMOVABLE_NAME);
	}
	return ret ?: bind_removable("bind");
}

TEST(uses_while_a_device_comes_and_goes)
{
	int i, rounds, users, ret = 0;
	unsigned int buffers = count_buffers();
	struct worker workers[THREADS] = {};
	double end;

	ASSERT_EQ(0, load(REMOVABLE_NAME));
	users = count_module_users("cenalloc");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)shared);
	for (i = 0; i < 3; i++) {
		workers[i].number = i;
		workers[i].seed = i;
		ASSERT_EQ(0, pthread_create(&workers[i].thread, NULL, use_removable, &workers[i]));
	}
	end = seconds() + 3 * slower();
	for (rounds = 0; !ret && (rounds < 6 || seconds() < end); rounds++) {
		ret = come_and_go(rounds);
		usleep(1000 * (rounds % 4));
	}
	__atomic_store_n(&shared->stop, 1, __ATOMIC_RELEASE);
	EXPECT_EQ(0, ret);
	for (i = 0; i < 3; i++) {
		pthread_join(workers[i].thread, NULL);
		EXPECT_NULL(workers[i].failure) {
			TH_LOG("%s: %d", workers[i].failure, workers[i].error);
		}
		EXPECT_LT(3, shared->rounds[0][i]);
	}
	EXPECT_EQ(0, unload_patiently(REMOVABLE_NAME));
	EXPECT_EQ(users, settled_module_users("cenalloc", users));
	EXPECT_EQ(buffers, settled_buffers(buffers));
}

/* So many users that whoever asks for them holds the lock for a while. */
#define CROWD	400

static int crowded_fd;

static void *declare_and_ask(void *data)
{
	struct worker *me = data;

	while (!__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE)) {
		if (me->number)
			MAY_FAIL(me, declare_device(crowded_fd, "platform", REMOVABLE_NAME),
				 -ENODEV);
		else
			MUST(me, query_fields(crowded_fd).user_count >= CROWD);
		shared->rounds[0][me->number]++;
	}
	return NULL;
}

/* The driver goes while declarations of its device wait for the buffer: none of them stays. */
TEST(declarations_that_wait_while_a_device_goes)
{
	struct worker workers[3] = {};
	int i, round;

	ASSERT_EQ(0, load(REMOVABLE_NAME));
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)shared);
	crowded_fd = create(LEN);
	for (i = 0; i < CROWD; i++)
		ASSERT_EQ(0, declare_needs(crowded_fd, "one of many", NEEDS(.max_segments = 9)));
	for (round = 0; round < 30; round++) {
		__atomic_store_n(&shared->stop, 0, __ATOMIC_RELEASE);
		for (i = 0; i < 3; i++) {
			workers[i].number = i;
			ASSERT_EQ(0, pthread_create(&workers[i].thread, NULL, declare_and_ask,
						    &workers[i]));
		}
		usleep(2000);
		EXPECT_EQ(0, bind_removable("unbind"));
		__atomic_store_n(&shared->stop, 1, __ATOMIC_RELEASE);
		for (i = 0; i < 3; i++) {
			pthread_join(workers[i].thread, NULL);
			EXPECT_NULL(workers[i].failure);
		}
		EXPECT_EQ(CROWD, query_fields(crowded_fd).user_count);
		EXPECT_EQ(0, bind_removable("bind"));
	}
	for (i = 0; i < 3; i++)
		EXPECT_LT(3, shared->rounds[0][i]);
	close(crowded_fd);
	EXPECT_EQ(0, unload_patiently(REMOVABLE_NAME));
}

TEST_HARNESS_MAIN
