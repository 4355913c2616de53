// SPDX-License-Identifier: GPL-2.0
/*
 * Random calls of everything, by one thread and by several: none returns an error
 * that is not documented for it, what is known of a buffer stays true, and nothing
 * is left.
 *
 * In the environment: FUZZ_SEED is where the random numbers begin; one thread
 * alone does the same for the same seed. FUZZ_ROUNDS is how many steps each thread
 * does, or FUZZ_SECONDS for how long all do. FUZZ_FAULTS=1 lets allocations fail,
 * where the kernel can.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "kernel_api.h"
#include "policy.h"

#include "fuzz.h"
#include "fuzz_any.h"
#include "fuzz_own.h"

#define THREADS		4
#define ROUNDS		6000	/* of all threads together */

static unsigned long number_from(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoul(text, NULL, 0) : otherwise;
}

static void *fuzz(void *data)
{
	unsigned long round;

	me = data;
	me->fail_nth = me->has_faults ? open(NTH, O_RDWR | O_CLOEXEC) : -1;
	if (!sigsetjmp(me->out, 1)) {
		if (me->has_faults && me->fail_nth < 0)
			fail("no " NTH ": %d", errno);
		for (round = 0; me->rounds ? round < me->rounds : seconds() < me->end; round++) {
			/* What a step draws does not depend on what those before met. */
			me->random = me->seed ^ round * 0xff51afd7ed558ccdULL;
			if (one_in(2))
				own_step();
			else
				any_step();
		}
		close_own();
	}
	if (me->fail_nth >= 0)
		close(me->fail_nth);
	return NULL;
}

static void run(struct __test_metadata *_metadata, int threads)
{
	static struct own own[THREADS][OWN];
	static struct fuzzer fuzzers[THREADS];
	unsigned long seed = number_from("FUZZ_SEED", 1);
	double wanted = number_from("FUZZ_SECONDS", 0) / 2.0;
	unsigned long rounds = number_from("FUZZ_ROUNDS", ROUNDS) / threads;
	unsigned int descriptors = count_files("/proc/self/fd");
	bool has_faults = wants_faults(_metadata);
	int i, j;

	memset(fuzzers, 0, sizeof(fuzzers));
	catch_faults();
	for (i = 0; i < threads; i++) {
		fuzzers[i].number = i;
		fuzzers[i].seed = (seed * THREADS + i) * MIX;
		fuzzers[i].rounds = wanted ? 0 : rounds;
		fuzzers[i].end = seconds() + wanted;
		fuzzers[i].has_faults = has_faults;
		fuzzers[i].own = own[i];
		fuzzers[i].importer = open_importer();
		ASSERT_LE(0, fuzzers[i].importer);
		fuzzers[i].scratch = make_scratch();
		ASSERT_NE(NULL, fuzzers[i].scratch);
		for (j = 0; j < OWN; j++)
			own[i][j].fd = -1;
	}
	for (i = 1; i < threads; i++)
		ASSERT_EQ(0, pthread_create(&fuzzers[i].thread, NULL, fuzz, &fuzzers[i]));
	fuzz(&fuzzers[0]);
	for (i = 1; i < threads; i++)
		pthread_join(fuzzers[i].thread, NULL);
	for (i = 0; i < threads; i++) {
		me = &fuzzers[i];
		close_any();
		munmap(me->scratch, SCRATCH + 2 * PAGE);
		close(me->importer);
		ksft_print_msg("fuzz: seed %lu, thread %d: %lu calls, %lu without memory\n",
			       seed, i, me->calls, me->failed);
		EXPECT_STREQ("", me->failure) {
			show_log(_metadata, me);
			TH_LOG("again: FUZZ_SEED=%lu FUZZ_ROUNDS=%lu ./fuzz -r %s", seed,
			       number_from("FUZZ_ROUNDS", ROUNDS), _metadata->name);
		}
	}
	/* What a thread that failed has is still there. */
	for (i = 0; i < threads; i++)
		ASSERT_STREQ("", fuzzers[i].failure);
	EXPECT_EQ(descriptors, count_files("/proc/self/fd"));
}

/* Nothing is there before, and nothing is there after. */
FIXTURE(fuzz) {};

FIXTURE_SETUP(fuzz)
{
	ASSERT_EQ(0, settled_buffers(0));
	ASSERT_EQ(0, used_by_all());
	ASSERT_TRUE(have_policies());
	ASSERT_EQ(0, load("cenalloc_c_importer"));
}

FIXTURE_TEARDOWN(fuzz)
{
	static char text[64 * KIB];

	EXPECT_EQ(0, settled_buffers(0)) {
		TH_LOG("%s", slurp(DEBUGFS "buffers", text, sizeof(text)));
		TH_LOG("%s", slurp(DEBUGFS "devices", text, sizeof(text)));
	}
	EXPECT_EQ(0, used_by_all());
	EXPECT_EQ(0, unload_patiently("cenalloc_c_importer"));
	EXPECT_EQ(0, unload_patiently("cenalloc"));
	EXPECT_EQ(0, load("cenalloc"));
}

TEST_F(fuzz, alone)
{
	run(_metadata, 1);
}

TEST_F(fuzz, together)
{
	run(_metadata, THREADS);
}

TEST_HARNESS_MAIN
