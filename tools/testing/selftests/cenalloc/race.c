// SPDX-License-Identifier: GPL-2.0
/* Several threads at once, on one buffer and on many. */

#include <pthread.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"

#define THREADS	4
#define ROUNDS	5	/* of each thread at least */
#define FAR	60	/* seconds in which a slow machine gets there */

struct worker {
	pthread_t thread;
	const struct worker *all;
	int number;
	int fd;
	int importer;
	double end;
	unsigned long rounds;
	const char *failure;	/* what went wrong first, NULL if nothing did */
};

static void run(struct __test_metadata *_metadata, void *(*function)(void *), int fd,
		double duration)
{
	struct worker workers[THREADS] = {};
	double end = seconds() + duration;
	int i;

	for (i = 0; i < THREADS; i++) {
		workers[i].all = workers;
		workers[i].number = i;
		workers[i].fd = fd;
		workers[i].importer = open_importer();
		workers[i].end = end;
		ASSERT_LE(0, workers[i].importer);
	}
	for (i = 0; i < THREADS; i++)
		ASSERT_EQ(0, pthread_create(&workers[i].thread, NULL, function, &workers[i]));
	for (i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		EXPECT_NULL(workers[i].failure) {
			TH_LOG("thread %d, round %lu: %s", i, workers[i].rounds,
			       workers[i].failure);
		}
		EXPECT_LE(ROUNDS, workers[i].rounds);
		close(workers[i].importer);
	}
}

/* Until the time is over and all have had their rounds, or one has failed. */
static bool goes_on(const struct worker *me)
{
	double now = seconds();
	bool is_done = true;
	int i;

	if (now < me->end)
		return true;
	for (i = 0; i < THREADS; i++) {
		if (__atomic_load_n(&me->all[i].failure, __ATOMIC_RELAXED))
			return false;
		is_done &= __atomic_load_n(&me->all[i].rounds, __ATOMIC_RELAXED) >= ROUNDS;
	}
	return !is_done && now < me->end + FAR * slower();
}

/* Ends the thread if something is wrong. */
static void check(struct worker *me, bool good, const char *what)
{
	if (good)
		return;
	me->failure = what;
	pthread_exit(NULL);
}

#define CHECK(worker, condition)	check(worker, condition, #condition)

/* Each thread has buffers of its own: nobody else's bytes get into them. */
static void *own_buffers(void *data)
{
	const __u64 lens[] = { 4 * KIB, 72 * KIB, 512 * KIB, 12 * KIB };
	struct worker *me = data;
	struct mapping *mapping = malloc(sizeof(*mapping));

	for (; goes_on(me); me->rounds++) {
		__u64 len = lens[me->rounds % ARRAY_SIZE(lens)], at;
		__u64 mark = (me->rounds << 8 | me->number) << 24;
		int attachment, fd = create(len);
		struct importer_add needs = {};
		char *memory;

		if (me->rounds % 3 == 1)
			needs.dma_mask = BITS(32);
		if (me->rounds % 5 == 2)
			needs.max_segments = 1;
		CHECK(me, fd >= 0);
		attachment = join(me->importer, fd, needs);
		CHECK(me, attachment >= 0);
		if (me->rounds % 2)
			CHECK(me, !map(me->importer, attachment, mapping));
		memory = map_cpu(fd, len);
		CHECK(me, memory != MAP_FAILED);
		for (at = 0; at < len; at += 512)
			CHECK(me, !*(__u64 *)(memory + at));
		for (at = 0; at < len; at += 512)
			*(__u64 *)(memory + at) = mark + at;
		if (me->rounds % 4 == 1)
			CHECK(me, !unmap(me->importer, attachment));
		for (at = 0; at < len; at += 512)
			CHECK(me, *(__u64 *)(memory + at) == mark + at);
		munmap(memory, len);
		if (me->rounds % 2)
			close(fd);
		CHECK(me, !detach(me->importer, attachment));
		if (!(me->rounds % 2))
			close(fd);
	}
	free(mapping);
	return NULL;
}

TEST(threads_on_own_buffers)
{
	unsigned int before = count_buffers();

	run(_metadata, own_buffers, -1, 1);
	EXPECT_EQ(before, settled_buffers(before));
}

/* All threads on one buffer; each has a slot of every page. */
#define SHARED	(256 * KIB)

static void *one_buffer(void *data)
{
	struct worker *me = data;
	struct mapping *mapping = malloc(sizeof(*mapping));
	__u64 at;

	for (; goes_on(me); me->rounds++) {
		__u64 mark = me->rounds << 8 | me->number;
		int attachment = join(me->importer, me->fd,
				      me->number % 2 ? DEVICE(.max_segment_size = 8192) : DEVICE());
		char *memory = map_cpu(me->fd, SHARED);

		CHECK(me, attachment >= 0);
		CHECK(me, memory != MAP_FAILED);
		CHECK(me, !map(me->importer, attachment, mapping));
		CHECK(me, mapping_len(mapping) == SHARED);
		CHECK(me, !sync_cpu(me->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
		for (at = me->number * 64; at < SHARED; at += PAGE)
			*(__u64 *)(memory + at) = mark;
		CHECK(me, !sync_cpu(me->fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
		munmap(memory, SHARED);
		/* Never lets a device in that the memory is out of reach for. */
		CHECK(me, join(me->importer, me->fd, DEVICE(.max_address = LOW(20))) == -EBUSY);
		memory = map_cpu(me->fd, SHARED);
		CHECK(me, memory != MAP_FAILED);
		for (at = me->number * 64; at < SHARED; at += PAGE)
			CHECK(me, *(__u64 *)(memory + at) == mark);
		munmap(memory, SHARED);
		CHECK(me, !detach(me->importer, attachment));
	}
	free(mapping);
	return NULL;
}

TEST(threads_on_one_buffer)
{
	int fd = create(SHARED);

	ASSERT_LE(0, fd);
	run(_metadata, one_buffer, fd, 0.7);
	EXPECT_EQ(0, buffer_number(fd, "users"));
	EXPECT_EQ(0, buffer_number(fd, "maps"));
	close(fd);
}

/* The first use, by all at once: one memory comes of it. */
static pthread_barrier_t barrier;
static int first_fd;
static char *first_memory;
static struct mapping first_mappings[THREADS];

static void *first_use(void *data)
{
	struct worker *me = data;

	while (me->rounds < 60) {
		int attachment = -1;

		if (!me->number) {
			first_fd = create(64 * KIB);
			first_memory = map_cpu(first_fd, 64 * KIB);
		}
		pthread_barrier_wait(&barrier);
		if (me->number % 2) {
			first_memory[me->number * PAGE] = me->number;
		} else {
			attachment = join(me->importer, first_fd, DEVICE());
			if (attachment >= 0 &&
			    map(me->importer, attachment, &first_mappings[me->number]))
				attachment = -1;
		}
		pthread_barrier_wait(&barrier);
		if (!me->number &&
		    (!same_memory(&first_mappings[0], &first_mappings[2]) ||
		     first_memory[PAGE] != 1 || first_memory[3 * PAGE] != 3))
			me->failure = "one memory";
		if (!(me->number % 2) && (attachment < 0 || detach(me->importer, attachment)))
			me->failure = "attached and mapped";
		pthread_barrier_wait(&barrier);
		if (!me->number) {
			munmap(first_memory, 64 * KIB);
			close(first_fd);
		}
		me->rounds++;
	}
	return NULL;
}

TEST(threads_at_the_first_use)
{
	ASSERT_EQ(0, pthread_barrier_init(&barrier, NULL, THREADS));
	run(_metadata, first_use, -1, 0);
	pthread_barrier_destroy(&barrier);
}

/*
 * The first touches, by two threads at once, while a third has the memory moved; in every
 * other round the fourth takes the mapping and the descriptor away meanwhile. A system call
 * touches, which says that it could not.
 */
#define LATE_LEN	(60 * KIB)	/* comes as blocks of 32, 16, 8 and 4 KiB */

static int late_fd;
static unsigned int late_moves;

static void *touch_while_others_change(void *data)
{
	struct worker *me = data;
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC), ret = 0;

	while (me->rounds < 120) {
		bool goes_away = me->rounds % 2;
		char *at;

		if (!me->number) {
			first_fd = create(LATE_LEN);
			late_fd = dup(first_fd);
			first_memory = map_cpu(first_fd, LATE_LEN);
		}
		pthread_barrier_wait(&barrier);
		at = first_memory + me->number * PAGE;
		switch (me->number) {
		case 0:
			if (!goes_away)
				break;
			close(first_fd);
			/* In its place, so that nothing else comes there. */
			at = mmap(first_memory, LATE_LEN, PROT_NONE,
				  MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			if (at != first_memory)
				me->failure = "nothing in place of the buffer";
			break;
		case 3:
			/* What has been touched already is of another class, and moves. */
			ret = declare_needs(late_fd, "late",
					    NEEDS(.access_mask = CENALLOC_CLASS_SYSTEM_CONTIG));
			if (ret)
				me->failure = "declared";
			late_moves += query_fields(late_fd).relocations;
			close(late_fd);
			break;
		default:
			ret = read(zero, at, 1) == 1 ? 0 : -errno;
			if (ret && (!goes_away || ret != -EFAULT))
				me->failure = "touched";
			if (!goes_away)
				*at = me->number;
		}
		pthread_barrier_wait(&barrier);
		if (!me->number) {
			if (!goes_away && (first_memory[PAGE] != 1 || first_memory[2 * PAGE] != 2))
				me->failure = "the bytes that were written";
			munmap(first_memory, LATE_LEN);
			if (!goes_away)
				close(first_fd);
		}
		me->rounds++;
	}
	close(zero);
	return NULL;
}

TEST(threads_that_touch_what_moves_and_goes)
{
	unsigned int before = count_buffers();

	ASSERT_EQ(0, pthread_barrier_init(&barrier, NULL, THREADS));
	late_moves = 0;
	run(_metadata, touch_while_others_change, -1, 0);
	pthread_barrier_destroy(&barrier);
	EXPECT_LT(0, late_moves);
	EXPECT_EQ(before, settled_buffers(before));
}

/* Readers of debugfs, while what they read comes and goes. */
static void *readers_and_writers(void *data)
{
	struct worker *me = data;
	static char text[THREADS][256 * KIB];

	for (; goes_on(me); me->rounds++) {
		if (me->number % 2) {
			int fd = create(8 * KIB);
			int attachment = join(me->importer, fd, DEVICE(.access_mask = 1));

			CHECK(me, attachment >= 0);
			CHECK(me, join(me->importer, fd, DEVICE(.access_mask = 2)) == -EINVAL);
			CHECK(me, !map(me->importer, attachment, NULL));
			close(fd);
			CHECK(me, !detach(me->importer, attachment));
		} else {
			slurp(DEBUGFS "devices", text[me->number], sizeof(text[0]));
			slurp(DEBUGFS "refusal", text[me->number], sizeof(text[0]));
			slurp(DEBUGFS "buffers", text[me->number], sizeof(text[0]));
			CHECK(me, !*text[me->number] || !strncmp(text[me->number], "id=", 3));
		}
	}
	return NULL;
}

TEST(threads_that_read_debugfs)
{
	unsigned int before = count_buffers();

	run(_metadata, readers_and_writers, -1, 0.7);
	EXPECT_EQ(before, settled_buffers(before));
}

TEST_HARNESS_MAIN
