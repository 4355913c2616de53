// SPDX-License-Identifier: GPL-2.0
/*
 * Allocators of another module come, fail and go while buffers are given memory,
 * touched and moved. What was written stays, whatever was called returns, and at
 * the end nothing is left of them.
 */

#include <pthread.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "kernel_api.h"

#define LEN		(64 * KIB)
#define ALLOCATORS_EACH	3
#define SECONDS		3
#define FAR		60	/* seconds in which a slow machine gets there */

static int outside;
static int stop;

struct worker {
	pthread_t thread;
	unsigned int seed;
	int number;
	unsigned int done;	/* what the test is about */
	unsigned int other;	/* what came before it */
	const char *failure;
	int error;
};

static unsigned int pick(struct worker *me, unsigned int count)
{
	return rand_r(&me->seed) / 7 % count;
}

static bool fail(struct worker *me, const char *what, int error)
{
	me->failure = what;
	me->error = error;
	return false;
}

/* --- Allocators ----------------------------------------------------------- */

/* Adds one, lets it do for a while, and insists on its removal. */
static bool come_and_go(struct worker *me)
{
	struct c_allocator_add add = {
		.type = OUTSIDE_CLASS << pick(me, 2),
		.priority = pick(me, 2) ? FIRST : 1,
		.kind = pick(me, 2),
	};
	int handle, ret;

	snprintf(add.name, sizeof(add.name), "race%d.%u", me->number, pick(me, ALLOCATORS_EACH));
	handle = add_outside_raw(outside, add);
	if (handle < 0)
		return fail(me, "add", handle);
	if (!pick(me, 4))
		set_fault(outside, handle, pick(me, C_ALLOCATOR_BARE_TABLE + 1), -ENOMEM);
	usleep(pick(me, 2000));
	do {
		ret = remove_outside(outside, handle);
		if (ret == -EBUSY) {
			/* It gives no more, so that it will be free some day. */
			me->other++;
			set_fault(outside, handle, C_ALLOCATOR_FAIL, -ENOMEM);
			usleep(100);
		}
	} while (ret == -EBUSY);
	return ret ? fail(me, "remove", ret) : true;
}

/* --- Buffers -------------------------------------------------------------- */

static bool use_buffer(struct worker *me, int importer, int fd)
{
	unsigned int seed = me->seed;
	int device, attachment, ret;
	char *memory;
	bool good;

	memory = map_cpu(fd, LEN);
	if (memory == MAP_FAILED)
		return fail(me, "mmap", -errno);
	fill_bytes(memory, LEN, seed);
	/* The memory may have to move for it. */
	device = add_device(importer, DEVICE(.dma_mask = pick(me, 2) ? BITS(32) : 0));
	attachment = attach(importer, device, fd);
	if (attachment >= 0) {
		ret = map(importer, attachment, NULL);
		if (ret)
			fail(me, "map", ret);
		detach(importer, attachment);
	} else if (attachment != -EBUSY) {
		fail(me, "attach", attachment);
	}
	call_number(importer, IMPORTER_REMOVE, device);
	good = !wrong_bytes(memory, LEN, seed);
	munmap(memory, LEN);
	return good ? !me->failure : fail(me, "bytes", 0);
}

static bool make_and_use(struct worker *me, int importer)
{
	int fd = create(LEN), ret;
	bool good;

	if (fd < 0)
		return fail(me, "create", fd);
	ret = allocate(fd);
	if (ret) {
		close(fd);
		return fail(me, "allocate", ret);
	}
	me->other += !strncmp(query_fields(fd).allocator, "race", 4);
	good = use_buffer(me, importer, fd);
	close(fd);
	return good;
}

static void *allocators(void *argument)
{
	struct worker *me = argument;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED) && come_and_go(me))
		me->done++;
	return NULL;
}

static void *buffers(void *argument)
{
	struct worker *me = argument;
	int importer = open_importer();

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED) && make_and_use(me, importer))
		me->done++;
	close(importer);
	return NULL;
}

/* Looks at what is being changed. */
static void *lists(void *argument)
{
	struct cenalloc_allocator_info list[ALLOCATORS];
	struct worker *me = argument;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		int i, count = list_allocators(list);

		if (count < 0)
			fail(me, "list", count);
		for (i = 1; i < count; i++)
			if (list[i - 1].priority < list[i].priority)
				fail(me, "order", i);
		me->done++;
	}
	return NULL;
}

static bool has_failed(const struct worker *worker)
{
	return __atomic_load_n(&worker->failure, __ATOMIC_RELAXED);
}

static unsigned int count_of(const unsigned int *count)
{
	return __atomic_load_n(count, __ATOMIC_RELAXED);
}

static void *(*const works[])(void *) = { allocators, allocators, buffers, buffers, lists };

/*
 * Whether all have done something and both kinds have met: removals found memory in
 * use, and buffers had some of theirs. Or whether one has failed.
 */
static bool have_met(const struct worker *workers)
{
	bool is_done = true;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(works); i++) {
		if (has_failed(&workers[i]))
			return true;
		is_done &= count_of(&workers[i].done) > 0;
	}
	return is_done && count_of(&workers[0].other) + count_of(&workers[1].other) &&
	       count_of(&workers[2].other) + count_of(&workers[3].other);
}

TEST(allocators_come_and_go)
{
	struct worker workers[ARRAY_SIZE(works)] = {};
	unsigned int before = count_buffers(), i;
	double end;

	outside = open_outside();
	ASSERT_LE(0, outside);
	for (i = 0; i < ARRAY_SIZE(works); i++) {
		workers[i].seed = i + 1;
		workers[i].number = i;
		ASSERT_EQ(0, pthread_create(&workers[i].thread, NULL, works[i], &workers[i]));
	}
	end = seconds() + SECONDS;
	while (seconds() < end ||
	       (!have_met(workers) && seconds() < end + FAR * slower()))
		usleep(10000);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (i = 0; i < ARRAY_SIZE(works); i++) {
		ASSERT_EQ(0, pthread_join(workers[i].thread, NULL));
		EXPECT_EQ(NULL, workers[i].failure) {
			TH_LOG("worker %u: %s: %d", i, workers[i].failure, workers[i].error);
		}
		TH_LOG("worker %u: %u rounds, %u", i, workers[i].done, workers[i].other);
		EXPECT_NE(0, workers[i].done);
	}
	EXPECT_NE(0, workers[0].other + workers[1].other);
	EXPECT_NE(0, workers[2].other + workers[3].other);
	EXPECT_EQ(0, remove_all_outside(outside));
	EXPECT_EQ(before, settled_buffers(before));
	close(outside);
}

/* Wants memory of the class of the allocator that is misused, and never gets any. */
static void *want_misused(void *argument)
{
	struct importer_add add = DEVICE(.access_mask = C_ALLOCATOR_MISUSED_CLASS);
	struct worker *me = argument;
	int importer = open_importer();
	int fd = create(LEN);
	int ret, attachment = join(importer, fd, add);

	if (attachment < 0)
		fail(me, "join", attachment);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED) && !me->failure) {
		ret = map(importer, attachment, NULL);
		if (ret != -ENOMEM)
			fail(me, "map", ret);
		me->done++;
	}
	close(fd);
	close(importer);
	return NULL;
}

TEST(misuse_while_others_want_memory)
{
	struct c_allocator_add add = { .name = "empty", .type = C_ALLOCATOR_MISUSED_CLASS };
	struct worker worker = {};
	int handle, ret;
	double end;

	outside = open_outside();
	ASSERT_LE(0, outside);
	/* The class is there all the time, so that one can wait for memory of it. */
	handle = add_outside_raw(outside, add);
	ASSERT_LE(0, handle);
	ASSERT_EQ(0, set_fault(outside, handle, C_ALLOCATOR_FAIL, -ENOMEM));
	__atomic_store_n(&stop, 0, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_create(&worker.thread, NULL, want_misused, &worker));
	end = seconds() + SECONDS;
	do {
		ret = call_number(outside, C_ALLOCATOR_MISUSE, C_ALLOCATOR_ADD_TWICE);
	} while (ret == -EEXIST && !has_failed(&worker) &&
		 (seconds() < end ||
		  (!count_of(&worker.done) && seconds() < end + FAR * slower())));
	EXPECT_EQ(-EEXIST, ret);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(worker.thread, NULL));
	EXPECT_EQ(NULL, worker.failure) {
		TH_LOG("%s: %d", worker.failure, worker.error);
	}
	TH_LOG("%u times", worker.done);
	EXPECT_NE(0, worker.done);
	EXPECT_EQ(0, remove_all_outside(outside));
	close(outside);
}

int main(int argc, char **argv)
{
	return run_with_modules(argc, argv);
}
