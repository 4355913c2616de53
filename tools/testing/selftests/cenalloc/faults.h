/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Calls whose allocations fail one by one, and all that may not change by it.
 *
 * To be included after calls.h.
 */

#ifndef _CENALLOC_FAULTS_H
#define _CENALLOC_FAULTS_H

#include <setjmp.h>
#include <signal.h>

#include "inject.h"
#include "memory.h"

/* No call of the tests has as many allocations. */
#define MOST_ALLOCATIONS	4000

/* Of a buffer, in bytes: several runs for the page allocator. */
#define LEN	(MIB - 3 * PAGE)

/* In KiB: what a kernel takes for itself meanwhile is less, a buffer's memory more. */
#define TOLERANCE	((long)(LEN / 2 / KIB))

#define CANNOT_INJECT	"the kernel has no failslab, fail_page_alloc and fail-nth\n"

/* --- What a call works with ----------------------------------------------- */

/* Made anew for every time the call is made. */
struct world {
	int importer;
	int fd;			/* a buffer, or -1 */
	int device;		/* a device that has not attached */
	int attachment;		/* of another */
	int other;		/* whatever else a call needs */
	int result;		/* a descriptor or a handle that the call made */
	char *memory;		/* the buffer in userspace, or NULL */
	bool is_filled;		/* with what a failed call must not touch */
	char name[64];		/* of a device */
};

#define SEED	4711

/* A buffer that the CPU has filled. */
static inline int fill(struct world *world)
{
	world->memory = map_cpu(world->fd, LEN);
	if (world->memory == MAP_FAILED)
		return -errno;
	fill_bytes(world->memory, LEN, SEED);
	world->is_filled = true;
	return 0;
}

/* A call, and what belongs to it. Each function returns 0 or a negative errno. */
struct injected {
	/* Makes what the call needs; NULL for nothing but the importer. */
	int (*before)(struct world *world);
	int (*call)(struct world *world);
	/* Whether the call has done what it should; NULL where its result tells. */
	int (*after)(struct world *world);
	/* What it may fail with but ENOMEM. */
	int errors[2];
	/* All pages fail behind the allocation that does: who has another way has none. */
	bool in_a_row;
	/* Something else does instead: it may do without whatever it lacks. */
	bool falls_through;
	/* It gives something back, or takes nothing: it cannot fail. */
	bool never_fails;
	/*
	 * It maps memory for the kernel, which gives back the page tables of that, and
	 * KASAN's shadow, when there is much of them: pages that are lost do not show.
	 */
	bool maps_in_kernel;
	/* It may find what it needs: a direct address, a page table that is there. */
	bool may_need_none;
	/*
	 * How many of its last allocations come behind the first use of the buffer, which
	 * then has memory: the importer's for its answer, the core's with DMABUF_DEBUG.
	 */
	int behind;
};

/* --- What may not change -------------------------------------------------- */

struct state {
	char text[256 * 1024];
	char refusal[LINE];
	struct told told;
};

/* Takes out the numbers of buffers: each has its own. */
static inline void forget_numbers(char *text, const char *key)
{
	char *at = text, *end;

	while ((at = strstr(at, key))) {
		at += strlen(key);
		end = at + strspn(at, "0123456789");
		memmove(at, end, strlen(end) + 1);
	}
}

/*
 * All that the driver tells: debugfs, bytes in use, QUERY of the buffer; files that
 * are open, and devices that there are.
 */
static inline struct state *read_state(struct world *world, struct state *state)
{
	static struct cenalloc_allocator_info list[ALLOCATORS];
	char *at = state->text, *end = at + sizeof(state->text);
	int i, count;

	at += strlen(slurp(DEBUGFS "buffers", at, end - at));
	at += strlen(slurp(DEBUGFS "devices", at, end - at));
	slurp(DEBUGFS "refusal", state->refusal, sizeof(state->refusal));
	forget_numbers(state->text, "id=");
	forget_numbers(state->text, "inode=");
	forget_numbers(state->text, "buffer=");
	forget_numbers(state->refusal, "buffer ");
	at = state->text + strlen(state->text);
	count = list_allocators(list);
	for (i = 0; i < count; i++)
		at += snprintf(at, end - at, "%s has given %llu\n", list[i].name,
			       (unsigned long long)list[i].used);
	snprintf(at, end - at, "%d allocators, %u files, %u devices\n", count,
		 count_files("/proc/self/fd"), count_files("/sys/bus/platform/devices"));
	memset(&state->told, 0, sizeof(state->told));
	if (world->fd >= 0) {
		query(world->fd, &state->told);
		state->told.query.id = 0;
		state->told.query.inode = 0;
		state->told.query.users = 0;
	}
	return state;
}

/* Refusals are remembered: they stand last in every line. */
static inline void forget_refusals(struct state *state)
{
	char *late = state->text, *end;

	while ((late = strstr(late, " late="))) {
		end = late + strcspn(late, "\n");
		memmove(late, end, strlen(end) + 1);
	}
	memset(state->refusal, 0, sizeof(state->refusal));
	state->told.query.late_refusals = 0;
	state->told.query.refusals = 0;
	memset(&state->told.query.refusal, 0, sizeof(state->told.query.refusal));
}

static inline bool is_same(const struct state *a, const struct state *b)
{
	return !strcmp(a->text, b->text) && !strcmp(a->refusal, b->refusal) &&
	       !memcmp(&a->told, &b->told, sizeof(a->told));
}

/*
 * Whether all is as it was but for what is remembered of a refusal, waiting for what is
 * given back a little later: the last close() of a file is.
 */
static inline bool settles(struct world *world, struct state *before, struct state *now)
{
	int i;

	forget_refusals(before);
	for (i = 0; i < 200; i++) {
		read_state(world, now);
		forget_refusals(now);
		if (is_same(before, now))
			return true;
		usleep(5000);
	}
	return false;
}

/* --- One call ------------------------------------------------------------- */

/* A call with what it needs, and all that may not change by it. */
struct round {
	struct world world;
	int first;		/* descriptors from here on are the world's */
	struct state empty;	/* before there was anything */
	struct state before;	/* the call */
	struct state now;
};

static inline void start_round(struct __test_metadata *_metadata,
			       const struct injected *injected, struct round *round)
{
	struct world *world = &round->world;

	*world = (struct world) { .fd = -1 };
	read_state(world, &round->empty);
	round->first = dup(0);
	ASSERT_LE(0, round->first);
	close(round->first);
	*world = (struct world) {
		.importer = open_importer(),
		.fd = -1, .device = -1, .attachment = -1, .other = -1, .result = -1,
	};
	ASSERT_LE(0, world->importer);
	if (injected->before)
		ASSERT_EQ(0, injected->before(world));
	read_state(world, &round->before);
}

static inline void check_bytes(struct __test_metadata *_metadata, struct world *world)
{
	if (world->is_filled)
		ASSERT_EQ(0, wrong_bytes(world->memory, LEN, SEED));
}

/* The call has failed with @error: for want of memory, and nothing has changed. */
static inline void check_failure(struct __test_metadata *_metadata,
				 const struct injected *injected, struct round *round, int error,
				 int *behind)
{
	bool is_expected = error == -ENOMEM || error == injected->errors[0] ||
			   error == injected->errors[1];

	EXPECT_TRUE(is_expected) {
		TH_LOG("it failed with %d", error);
	}
	if (*behind && query_fields(round->world.fd).state == CENALLOC_STATE_BACKED &&
	    round->before.told.query.state == CENALLOC_STATE_EMPTY) {
		EXPECT_EQ(0, buffer_number(round->world.fd, "maps"));
		(*behind)--;
		return;
	}
	ASSERT_TRUE(settles(&round->world, &round->before, &round->now)) {
		TH_LOG("there is:\n%sthere was:\n%s", round->now.text, round->before.text);
	}
	check_bytes(_metadata, &round->world);
}

/* The call has succeeded; all is given back. */
static inline void finish_round(struct __test_metadata *_metadata,
				const struct injected *injected, struct round *round)
{
	struct world *world = &round->world;

	if (injected->after)
		ASSERT_EQ(0, injected->after(world));
	check_bytes(_metadata, world);
	if (world->memory)
		munmap(world->memory, LEN);
	close_range(round->first, ~0U, 0);
	world->fd = -1;
	ASSERT_TRUE(settles(world, &round->empty, &round->now)) {
		TH_LOG("there is:\n%sthere was:\n%s", round->now.text, round->empty.text);
	}
}

/* --- As often as it has allocations --------------------------------------- */

/* The least of some: without what is given back a little later. */
static inline long settled_kib(void)
{
	long kib, least = unnamed_kib();
	int i;

	for (i = 0; i < 5; i++) {
		usleep(5000);
		kib = unnamed_kib();
		if (kib < least)
			least = kib;
	}
	return least;
}

/* What came of the allocations that failed. */
struct tally {
	int failures;		/* so many times the call failed, too */
	int endured;		/* and so many times it did not */
	long lost;		/* in KiB */
};

static inline struct tally fail_each(struct __test_metadata *_metadata,
				     const struct injected *injected)
{
	int file = open(NTH, O_RDWR | O_CLOEXEC), row = open(MAKE_IT_FAIL, O_WRONLY | O_CLOEXEC);
	int nth, ret, failed = 0, behind = injected->behind;
	static struct round round;
	struct tally tally = {};
	long before = 0;

	ASSERT_LE(0, file);
	ASSERT_LE(0, row);
	/* What only the first calls allocate is no matter of the call. */
	for (nth = -1; nth < 2 || failed; nth++) {
		ASSERT_GT(MOST_ALLOCATIONS, nth);
		start_round(_metadata, injected, &round);
		ASSERT_EQ(0, refill_failures());
		ASSERT_EQ(0, fail_nth(file, nth > 0 ? nth : 0));
		ASSERT_EQ(0, fail_behind(row, injected->in_a_row && nth > 0));
		ret = injected->call(&round.world);
		ASSERT_EQ(0, fail_behind(row, false));
		failed = has_failed(file);
		ASSERT_LE(0, failed);
		failed &= nth > 0;
		if (!failed || injected->never_fails) {
			ASSERT_EQ(0, ret) {
				TH_LOG("it failed, allocation %d %s", nth,
				       failed ? "too" : "did not");
			}
		}
		tally.failures += !!ret;
		tally.endured += failed && !ret;
		if (ret) {
			check_failure(_metadata, injected, &round, ret, &behind);
			ASSERT_EQ(0, injected->call(&round.world));
		}
		finish_round(_metadata, injected, &round);
		if (!nth)
			before = settled_kib();
	}
	tally.lost = settled_kib() - before;
	close(row);
	close(file);
	return tally;
}

/*
 * Makes the call with its first allocation failing, then with its second, until
 * there is none left to fail. A call that fails has changed nothing and does its
 * work when it is made again; afterwards all is given back. Returns how often it failed.
 */
static inline int check_each(struct __test_metadata *_metadata, const struct injected *injected)
{
	struct tally tally = fail_each(_metadata, injected);
	int tries;

	/* What a failure loses it loses again; the kernel takes memory for itself but rarely. */
	for (tries = 0; tries < 2 && tally.lost > TOLERANCE && !injected->maps_in_kernel; tries++)
		tally = fail_each(_metadata, injected);
	if (!injected->maps_in_kernel)
		EXPECT_GE(TOLERANCE, tally.lost);
	TH_LOG("%d allocations failed one by one%s, the call with %d of them; %ld KiB lost",
	       tally.failures + tally.endured, injected->in_a_row ? " and pages behind" : "",
	       tally.failures, tally.lost);
	return tally.failures + (injected->falls_through ? tally.endured : 0);
}

/*
 * As check_each(). Where memory is sought in several ways, each failure may be endured:
 * then the call fails where no way is left.
 */
static inline void __maybe_unused
check_faults(struct __test_metadata *_metadata, const struct injected *injected)
{
	struct injected in_a_row = *injected;
	int failures = check_each(_metadata, injected);

	if (injected->never_fails || injected->may_need_none)
		return;
	if (!failures && !injected->in_a_row) {
		in_a_row.in_a_row = true;
		failures = check_each(_metadata, &in_a_row);
	}
	EXPECT_LT(0, failures);
}

/* --- Tests, and what many of them begin with ------------------------------ */

/* A call that is made while each of its allocations fails: the variants are the calls. */
FIXTURE(no_memory) {};

FIXTURE_VARIANT(no_memory) {
	struct injected injected;
};

FIXTURE_SETUP(no_memory) {}
FIXTURE_TEARDOWN(no_memory) {}

TEST_F(no_memory, for_each_allocation)
{
	check_faults(_metadata, &variant->injected);
}

/* What a call returns: an errno, or something of use. */
static inline int keep(int *place, int result)
{
	if (result < 0)
		return result;
	*place = result;
	return 0;
}

/* --- What calls begin with ------------------------------------------------ */

static inline int a_buffer(struct world *world)
{
	return keep(&world->fd, create(LEN));
}

/* A buffer, and a device that may attach. */
static inline int a_device_with(struct world *world, struct importer_add add)
{
	return a_buffer(world) ?: keep(&world->device, add_device(world->importer, add));
}

static inline int a_device(struct world *world)
{
	return a_device_with(world, DEVICE());
}

static inline int an_attachment_with(struct world *world, struct importer_add add)
{
	return a_buffer(world) ?: keep(&world->attachment, join(world->importer, world->fd, add));
}

static inline int an_attachment(struct world *world)
{
	return an_attachment_with(world, DEVICE());
}

static inline int a_mapping(struct world *world)
{
	return an_attachment(world) ?: map(world->importer, world->attachment, NULL);
}

static inline int a_dynamic_attachment(struct world *world)
{
	return a_buffer(world) ?:
	       keep(&world->attachment, join_dynamic(world->importer, world->fd, DEVICE()));
}

/* A buffer with bytes in it, and a device that is attached. */
static inline int a_filled_attachment(struct world *world)
{
	return an_attachment(world) ?: fill(world);
}

static inline int is_backed(struct world *world)
{
	return query_fields(world->fd).state == CENALLOC_STATE_BACKED ? 0 : -ENODATA;
}

static inline int has_one_user(struct world *world)
{
	struct told told;
	int ret = query(world->fd, &told);

	return ret ?: told.query.user_count == 1 ? 0 : -EUSERS;
}

static inline int have_cenalloc(struct world *world)
{
	return keep(&world->other, open_device("/dev/cenalloc"));
}

static inline int call_map(struct world *world)
{
	return map(world->importer, world->attachment, NULL);
}

static inline int call_mmap(struct world *world)
{
	char *memory = map_cpu(world->fd, LEN);

	if (memory == MAP_FAILED)
		return -errno;
	world->memory = memory;
	return 0;
}

static inline int call_pin(struct world *world)
{
	return pin(world->importer, world->attachment);
}

static inline int call_allocate(struct world *world)
{
	struct cenalloc_allocate allocate = { .fd = world->fd };

	return call(world->other, CENALLOC_ALLOCATE, &allocate);
}

static inline int call_attach(struct world *world)
{
	return keep(&world->attachment, attach(world->importer, world->device, world->fd));
}

static inline int has_moved(struct world *world)
{
	return query_fields(world->fd).relocations == 1 ? 0 : -ENODATA;
}

#endif /* _CENALLOC_FAULTS_H */
