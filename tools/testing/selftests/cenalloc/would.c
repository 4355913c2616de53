// SPDX-License-Identifier: GPL-2.0
/* What a buffer would get: CENALLOC_TEST tells "not now" from "never". */

#include <sys/sysinfo.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"

#define TEST_OF(size)	_IOC(_IOC_READ | _IOC_WRITE, CENALLOC_IOC_MAGIC, 5, size)

static struct cenalloc_test would(__u64 len, struct cenalloc_constraints needs)
{
	struct cenalloc_test test = { .len = len, .constraints = needs };
	int ret = ask(CENALLOC_TEST, &test);

	if (ret)
		test.result = ret;
	return test;
}

/* Nothing is kept of what was tried, and there is no buffer of it. */
FIXTURE(would) {
	__u64 used;
	unsigned int buffers;
};

FIXTURE_SETUP(would)
{
	self->used = used_by_all();
	self->buffers = count_buffers();
}

FIXTURE_TEARDOWN(would)
{
	EXPECT_EQ(self->used, used_by_all());
	EXPECT_EQ(self->buffers, count_buffers());
}

static const struct cenalloc_refusal none;

#define EXPECT_GETS(name, len, ...) do {				\
	struct cenalloc_test _test = would(len, NEEDS(__VA_ARGS__));	\
									\
	EXPECT_EQ(CENALLOC_TEST_OK, _test.result);			\
	EXPECT_STREQ(name, _test.allocator);				\
	EXPECT_EQ(0, memcmp(&none, &_test.refusal, sizeof(none)));	\
} while (0)

TEST_F(would, be_the_first_that_fits)
{
	EXPECT_GETS("system", 4 * KIB);
	EXPECT_GETS("system", 1);
	EXPECT_GETS("system", 64 * MIB);
	EXPECT_GETS("system", 1 * MIB, .max_address = BITS(32));
	EXPECT_GETS("system", 1 * MIB, .max_address = LOW(28));
	EXPECT_GETS("system", 1 * MIB, .alignment = 64 * KIB);
	EXPECT_GETS("system", 1 * MIB, .max_segment_size = 4096);
	EXPECT_GETS("system", 1 * MIB, .segment_boundary_mask = 64 * KIB - 1);
	EXPECT_GETS("system", 1 * MIB, .access_mask = CENALLOC_CLASS_SYSTEM);
	EXPECT_GETS("system-contig", 1 * MIB, .access_mask = CENALLOC_CLASS_SYSTEM_CONTIG);
	EXPECT_GETS("system-contig", 1 * MIB, .max_segments = 1);
	EXPECT_GETS("system-contig", 4 * MIB, .max_segments = 1, .max_address = LOW(28),
		    .alignment = 4 * MIB);
}

/* What TEST tells is what a buffer with such users gets. */
TEST_F(would, be_what_a_buffer_gets)
{
	const struct cenalloc_constraints needs[] = {
		{ },
		{ .max_segments = 1 },
		{ .max_address = LOW(28) },
		{ .alignment = 64 * KIB, .max_segments = 8 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(needs); i++) {
		int fd = create(200 * KIB);

		ASSERT_EQ(0, declare_needs(fd, "needs", needs[i]));
		ASSERT_EQ(0, allocate(fd));
		EXPECT_STREQ(would(200 * KIB, needs[i]).allocator, query_fields(fd).allocator);
		close(fd);
	}
	settled_buffers(self->buffers);
}

/* There is such memory, but not so much of it is free. */
TEST_F(would, be_out_of_memory_now)
{
	/* All there is; the kernel and this process have some of it. */
	struct cenalloc_test test = would(find_allocator("system").max_len, NEEDS());

	EXPECT_EQ(CENALLOC_TEST_NO_MEMORY, test.result);
	EXPECT_STREQ("", test.allocator);
	EXPECT_EQ(CENALLOC_CAUSE_SHORTAGE, test.refusal.cause);
	EXPECT_EQ(0, test.refusal.field);
	EXPECT_EQ(test.len, test.refusal.len);
	EXPECT_EQ(~0ULL, test.refusal.max_address);
	EXPECT_NE(0, test.refusal.classes & CENALLOC_CLASS_SYSTEM);
	EXPECT_STREQ("system", test.refusal.other);
	EXPECT_EQ(0, test.refusal.sequence);
	/* A little of it is. */
	EXPECT_GETS("system", 4 * KIB, .max_address = LOW(24));
}

/* For its own other needs, or what @name, which comes nearest, gives. */
#define EXPECT_NEVER(name, lacks, wants, finds, _len, ...) do {		\
	struct cenalloc_test _test = would(_len, NEEDS(__VA_ARGS__));	\
	const char *_name = (name);					\
									\
	EXPECT_EQ(CENALLOC_TEST_NEVER, _test.result);			\
	EXPECT_STREQ("", _test.allocator);				\
	EXPECT_EQ(*_name ? CENALLOC_CAUSE_ALLOCATOR : CENALLOC_CAUSE_ITSELF,	\
		  _test.refusal.cause);					\
	EXPECT_MATCH(_test.refusal.other, _name);			\
	EXPECT_STREQ("", _test.refusal.who);				\
	EXPECT_STREQ("", _test.refusal.behind);				\
	EXPECT_EQ(lacks, _test.refusal.field);				\
	EXPECT_EQ(wants, _test.refusal.wanted);				\
	EXPECT_EQ(finds, _test.refusal.found);				\
	EXPECT_EQ(_test.len, _test.refusal.len);			\
	EXPECT_EQ(0, _test.refusal.sequence);				\
} while (0)

TEST_F(would, never_be_for_any_allocator)
{
	EXPECT_NEVER("", CENALLOC_FIELD_MAX_ADDRESS, BITS(20), 2 * MIB, 2 * MIB,
		     .max_address = BITS(20));
	EXPECT_NEVER("", CENALLOC_FIELD_MAX_SEGMENTS, 4, 256, 1 * MIB,
		     .max_segments = 4, .max_segment_size = 4096);
	EXPECT_NEVER("", CENALLOC_FIELD_MAX_SEGMENTS, 4, 16, 1 * MIB,
		     .max_segments = 4, .segment_boundary_mask = 64 * KIB - 1);
	EXPECT_NEVER("", CENALLOC_FIELD_MAX_SEGMENT_SIZE, 4096, 64 * KIB, 1 * MIB,
		     .max_segment_size = 4096, .alignment = 64 * KIB);
	EXPECT_NEVER("", CENALLOC_FIELD_SEGMENT_BOUNDARY, 4095, 64 * KIB, 1 * MIB,
		     .segment_boundary_mask = 4095, .alignment = 64 * KIB);
}

TEST_F(would, never_be_for_lack_of_an_allocator)
{
	EXPECT_NEVER("dma-coherent", CENALLOC_FIELD_ACCESS_MASK, 1ULL << 40,
		     CENALLOC_CLASS_DMA_COHERENT, 1 * MIB, .access_mask = 1ULL << 40);
	EXPECT_NEVER("system-contig", CENALLOC_FIELD_CONTIGUOUS, 8 * MIB, 4 * MIB, 8 * MIB,
		     .max_segments = 1);
	EXPECT_NEVER("system", CENALLOC_FIELD_MAX_SEGMENTS, 1, 2, 1 * MIB,
		     .access_mask = CENALLOC_CLASS_SYSTEM, .max_segments = 1);
	EXPECT_NEVER("system", CENALLOC_FIELD_ALIGNMENT, 1 * GIB, 1 * MIB, 1 * MIB,
		     .alignment = 1 * GIB);
}

TEST_F(would, never_be_more_than_the_machine_has)
{
	struct sysinfo info;

	ASSERT_EQ(0, sysinfo(&info));
	EXPECT_EQ(CENALLOC_TEST_NEVER, would(1ULL << 44, NEEDS()).result);
	EXPECT_EQ(CENALLOC_TEST_NEVER,
		  would((__u64)info.totalram * info.mem_unit + GIB, NEEDS()).result);
	EXPECT_EQ(CENALLOC_TEST_NEVER, would(1ULL << 62, NEEDS()).result);
}

TEST_F(would, never_be_told_of_nonsense)
{
	const struct cenalloc_constraints nonsense[] = {
		{ .flags = 2 },
		{ .flags = 1U << 15 },
		{ .alignment = 3 },
		{ .alignment = 4095 },
		{ .segment_boundary_mask = 4096 },
		{ .segment_boundary_mask = 511 },
		{ .max_segment_size = 1 },
		{ .max_segment_size = 4095 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(nonsense); i++) {
		EXPECT_EQ(-EINVAL, (int)would(4096, nonsense[i]).result) {
			TH_LOG("needs %zu", i);
		}
	}
	EXPECT_EQ(-EINVAL, (int)would(0, NEEDS()).result);
	EXPECT_EQ(-EINVAL, (int)would(~0ULL, NEEDS()).result);
	EXPECT_EQ(-EINVAL, (int)would(~0ULL - 4094, NEEDS()).result);
}

TEST_F(would, never_be_called_wrongly)
{
	struct cenalloc_test tests[2] = { { .len = 4096, .flags = 1 } };
	int device = open_device("/dev/cenalloc");

	ASSERT_LE(0, device);
	EXPECT_EQ(-EINVAL, call(device, CENALLOC_TEST, &tests[0]));
	tests[0].flags = 0x80000000;
	EXPECT_EQ(-EINVAL, call(device, CENALLOC_TEST, &tests[0]));
	tests[0].flags = 0;
	EXPECT_EQ(-EFAULT, call(device, CENALLOC_TEST, NULL));
	EXPECT_EQ(-EINVAL, call(device, TEST_OF(sizeof(tests[0]) - 8), &tests[0]));
	EXPECT_EQ(0, call(device, TEST_OF(sizeof(tests)), tests));
	EXPECT_STREQ("system", tests[0].allocator);
	tests[1].len = 1;
	EXPECT_EQ(-E2BIG, call(device, TEST_OF(sizeof(tests)),
			       tests));
	/* What it tells back is no obstacle to asking again. */
	tests[0] = would(2 * MIB, NEEDS(.max_address = BITS(20)));
	tests[0].constraints.max_address = 0;
	EXPECT_EQ(0, call(device, CENALLOC_TEST, &tests[0]));
	EXPECT_EQ(CENALLOC_TEST_OK, tests[0].result);
	EXPECT_EQ(0, memcmp(&none, &tests[0].refusal, sizeof(none)));
	close(device);
}

TEST_HARNESS_MAIN
