// SPDX-License-Identifier: GPL-2.0
/*
 * Allocators of another module: who is asked, when they are asked, and what
 * becomes of them when they fail, refuse or go.
 */

#include <pthread.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "kernel_api.h"

#define LEN	(16 * KIB)

FIXTURE(outside) {
	int outside;
	int importer;
	int fd;
};

FIXTURE_SETUP(outside)
{
	self->outside = open_outside();
	ASSERT_LE(0, self->outside);
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
	self->fd = create(LEN);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(outside)
{
	/* Whatever the test opened, but for the one that removes. */
	close_range(self->outside + 1, ~0U, 0);
	EXPECT_EQ(0, remove_all_outside(self->outside));
	close(self->outside);
}

/* A need that allocators outside alone can satisfy. */
#define ONLY_OUTSIDE(...)	DEVICE(.access_mask = OUTSIDE_CLASS, __VA_ARGS__)

/* What was allocated was freed, and what was mapped unmapped. */
static void check_balance(struct __test_metadata *_metadata, int outside, int handle)
{
	struct c_allocator_told told;

	EXPECT_EQ(0, settled_live(outside, handle, 0));
	told = tell(outside, handle);
	EXPECT_EQ(0, told.tables);
	EXPECT_EQ(0, told.addresses);
}

/* --- Adding --------------------------------------------------------------- */

TEST_F(outside, bad_input)
{
	int outside = self->outside;

	EXPECT_EQ(-EINVAL, add_outside_raw(outside, OUTSIDE(.type = OUTSIDE_CLASS)));
	EXPECT_EQ(-EINVAL, add_outside(outside, OUTSIDE(.no_name = 1)));
	EXPECT_EQ(-EINVAL, add_outside(outside,
				       OUTSIDE(.name = "of thirty-two characters, no less")));
	EXPECT_EQ(-EINVAL, add_outside(outside, OUTSIDE(.name = "two\nlines")));
	EXPECT_EQ(-EINVAL, add_outside(outside, OUTSIDE(.name = "a\"quote")));
	EXPECT_EQ(-EINVAL, add_outside(outside, OUTSIDE(.name = "\xc3\xa9")));
	EXPECT_EQ(-EINVAL, add_outside_raw(outside, OUTSIDE(.name = "outside")));
	EXPECT_EQ(-EINVAL, add_outside(outside, OUTSIDE(.type = 3ULL << 32)));
	EXPECT_EQ(-EINVAL, add_outside(outside, OUTSIDE(.type = ~0ULL)));
	EXPECT_EQ(-EINVAL, add_outside(outside, OUTSIDE(.flags = 8)));
	EXPECT_EQ(-EINVAL, add_outside(outside, OUTSIDE(.flags = ~0ULL)));
	EXPECT_EQ(-EINVAL, add_outside(outside, OUTSIDE(.kind = C_ALLOCATOR_NO_OPS)));
	EXPECT_EQ(-EINVAL, add_outside(outside, OUTSIDE(.without = 1 << C_ALLOCATOR_ALLOCATE)));
	EXPECT_EQ(-EINVAL, add_outside(outside, OUTSIDE(.without = 1 << C_ALLOCATOR_FREE)));
	/* Without struct pages, somebody has to tell where the memory is. */
	EXPECT_EQ(-EINVAL, add_outside(outside, OUTSIDE(.flags = 4)));
	EXPECT_EQ(-EINVAL, add_outside(outside, OUTSIDE(.flags = 4, .kind = C_ALLOCATOR_PIECES,
							.without = 1 << C_ALLOCATOR_PHYS)));
	EXPECT_EQ(-EEXIST, add_outside(outside, OUTSIDE(.name = "system")));
	/* None of them is there. */
	EXPECT_STREQ("", find_allocator("outside").name);
}

/* Who cannot be told the handle has no allocator. */
TEST_F(outside, bad_pointer)
{
	struct c_allocator_add *add = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, add);
	*add = OUTSIDE(.name = "outside", .type = OUTSIDE_CLASS);
	ASSERT_EQ(0, mprotect(add, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, call(self->outside, C_ALLOCATOR_ADD, add));
	EXPECT_STREQ("", find_allocator("outside").name);
	/* Nor is the handle taken: it is the lowest that is free. */
	EXPECT_EQ(0, add_outside(self->outside, OUTSIDE()));
	munmap(add, PAGE);
	EXPECT_EQ(-EFAULT, call(self->outside, C_ALLOCATOR_ADD, NULL));
}

TEST_F(outside, misuse)
{
	int outside = self->outside;

	EXPECT_EQ(-EINVAL, call_number(outside, C_ALLOCATOR_MISUSE, C_ALLOCATOR_ADD_NULL));
	EXPECT_EQ(-EINVAL, call_number(outside, C_ALLOCATOR_MISUSE, C_ALLOCATOR_ADD_NO_DEVICE));
	EXPECT_EQ(-EINVAL, call_number(outside, C_ALLOCATOR_MISUSE, C_ALLOCATOR_REMOVE_NULL));
	EXPECT_EQ(-EINVAL, call_number(outside, C_ALLOCATOR_MISUSE, C_ALLOCATOR_REMOVE_NO_DEVICE));
	EXPECT_EQ(-EINVAL, call_number(outside, C_ALLOCATOR_MISUSE, C_ALLOCATOR_REMOVE_UNKNOWN));
	EXPECT_EQ(-EEXIST, call_number(outside, C_ALLOCATOR_MISUSE, C_ALLOCATOR_ADD_TWICE));
	EXPECT_EQ(-EINVAL, call_number(outside, C_ALLOCATOR_MISUSE, C_ALLOCATOR_REMOVE_TWICE));
	EXPECT_STREQ("", find_allocator("misused").name);
}

TEST_F(outside, names)
{
	const char *longest = "of thirty-one characters, not 1";
	int handle = add_outside(self->outside, OUTSIDE());
	struct c_allocator_add add = OUTSIDE();

	ASSERT_EQ(CENALLOC_NAME_LEN - 1, strlen(longest));
	ASSERT_LE(0, handle);
	EXPECT_EQ(-EEXIST, add_outside(self->outside, OUTSIDE()));
	EXPECT_EQ(-EEXIST, add_outside(self->outside, OUTSIDE(.type = 1ULL << 40, .priority = 1)));
	strcpy(add.name, longest);
	EXPECT_LE(0, add_outside(self->outside, add));
	EXPECT_STREQ(longest, find_allocator(longest).name);
	/* A name is free again when its allocator is gone. */
	ASSERT_EQ(0, remove_outside(self->outside, handle));
	EXPECT_STREQ("", find_allocator("outside").name);
	EXPECT_LE(0, add_outside(self->outside, OUTSIDE()));
}

TEST_F(outside, is_in_the_list)
{
	struct cenalloc_allocator_info list[ALLOCATORS], found;
	int one, last, i, count = list_allocators(list);

	one = add_outside(self->outside, OUTSIDE(.max_len = 5 * MIB, .flags = 1));
	last = add_outside(self->outside, OUTSIDE(.name = "last", .priority = 1, .max_len = PAGE));
	ASSERT_LE(0, one);
	ASSERT_LE(0, last);
	found = find_allocator("outside");
	EXPECT_EQ(OUTSIDE_CLASS, found.access_mask);
	EXPECT_EQ(5 * MIB, found.max_len);
	EXPECT_EQ(FIRST, found.priority);
	EXPECT_EQ(CENALLOC_ALLOCATOR_CONTIGUOUS, found.flags);
	EXPECT_EQ(0, found.used);
	ASSERT_EQ(0, allocate(self->fd));
	EXPECT_EQ(LEN, find_allocator("outside").used);
	EXPECT_EQ(0, find_allocator("last").flags);
	ASSERT_EQ(count + 2, list_allocators(list));
	EXPECT_STREQ("outside", list[0].name);
	EXPECT_STREQ("last", list[count + 1].name);
	for (i = 0; i < count + 1; i++)
		EXPECT_GE(list[i].priority, list[i + 1].priority);
	close(self->fd);
	EXPECT_EQ(0, settled_live(self->outside, one, 0));
	EXPECT_EQ(0, find_allocator("outside").used);
}

/* One that knows no bound: what a file can have is still one. */
TEST_F(outside, length_beyond_any_file)
{
	const __u64 too_long[] = {
		(1ULL << 63) - PAGE + 1, (1ULL << 63) - 1, 1ULL << 63, (1ULL << 63) + PAGE,
		-2 * PAGE, -PAGE, -1ULL,
	};
	const __u64 longest = (1ULL << 63) - PAGE;
	size_t i;
	int fd;

	ASSERT_LE(0, add_outside(self->outside, OUTSIDE()));
	ASSERT_EQ(~0ULL, find_allocator("outside").max_len);
	fd = create(longest);
	ASSERT_LE(0, fd);
	EXPECT_EQ(longest, (__u64)lseek(fd, 0, SEEK_END));
	for (i = 0; i < ARRAY_SIZE(too_long); i++) {
		struct cenalloc_test test = { .len = too_long[i] };

		EXPECT_EQ(-EINVAL, create(too_long[i])) {
			TH_LOG("length %#llx", too_long[i]);
		}
		EXPECT_EQ(-EINVAL, ask(CENALLOC_TEST, &test));
	}
}

/* --- Who is asked --------------------------------------------------------- */

TEST_F(outside, the_highest_priority_is_asked_first)
{
	int high = add_outside(self->outside, OUTSIDE());
	struct c_allocator_told told;

	ASSERT_LE(0, high);
	ASSERT_LE(0, join(self->importer, self->fd,
			  DEVICE(.max_segments = 3, .max_address = BITS(40), .alignment = 8192)));
	EXPECT_EQ(0, calls_of(self->outside, high, C_ALLOCATOR_ALLOCATE));
	ASSERT_EQ(0, allocate(self->fd));
	EXPECT_STREQ("outside", buffer_field(self->fd, "allocator"));
	told = tell(self->outside, high);
	EXPECT_EQ(1, told.calls[C_ALLOCATOR_ALLOCATE]);
	EXPECT_EQ(1, told.live);
	EXPECT_EQ(LEN, told.len);
	EXPECT_EQ(8192, told.align);
	EXPECT_EQ(0, told.flags);
	EXPECT_EQ(BITS(40), told.max_address);
	EXPECT_EQ(3, told.max_segments);
	close(self->fd);
	close(self->importer);
	check_balance(_metadata, self->outside, high);
	EXPECT_EQ(1, calls_of(self->outside, high, C_ALLOCATOR_FREE));
}

/* What nobody cares about is told as what it is: no bound at all, and whole pages. */
TEST_F(outside, needs_of_nobody)
{
	int handle = add_outside(self->outside, OUTSIDE());
	struct c_allocator_told told;

	ASSERT_EQ(0, allocate(self->fd));
	told = tell(self->outside, handle);
	EXPECT_EQ(PAGE, told.align);
	EXPECT_EQ(-1ULL, told.max_address);
	EXPECT_EQ(-1U, told.max_segments);
}

TEST_F(outside, a_low_priority_is_not_asked)
{
	int low = add_outside(self->outside, OUTSIDE(.priority = 1));

	ASSERT_LE(0, low);
	ASSERT_EQ(0, allocate(self->fd));
	EXPECT_STREQ("system", buffer_field(self->fd, "allocator"));
	EXPECT_EQ(0, calls_of(self->outside, low, C_ALLOCATOR_ALLOCATE));
}

TEST_F(outside, the_next_is_asked_when_the_first_is_out)
{
	int first = add_outside(self->outside, OUTSIDE());
	int second = add_outside(self->outside, OUTSIDE(.name = "second", .priority = FIRST - 1));
	/* Added later, with the same priority, it is asked later. */
	int third = add_outside(self->outside, OUTSIDE(.name = "third", .priority = FIRST - 1));

	ASSERT_EQ(0, set_fault(self->outside, first, C_ALLOCATOR_FAIL, -ENOMEM));
	ASSERT_EQ(0, allocate(self->fd));
	EXPECT_STREQ("second", buffer_field(self->fd, "allocator"));
	EXPECT_EQ(1, calls_of(self->outside, second, C_ALLOCATOR_ALLOCATE));
	EXPECT_EQ(1, calls_of(self->outside, first, C_ALLOCATOR_ALLOCATE));
	EXPECT_EQ(0, calls_of(self->outside, first, C_ALLOCATOR_FREE));
	EXPECT_EQ(0, calls_of(self->outside, third, C_ALLOCATOR_ALLOCATE));
}

/* The one of low priority is asked when all others do not fit, or are out. */
TEST_F(outside, the_last_is_asked_when_all_are_out)
{
	int first = add_outside(self->outside, OUTSIDE());
	int last = add_outside(self->outside, OUTSIDE(.name = "last", .priority = 1));
	int attachment = join(self->importer, self->fd, ONLY_OUTSIDE());

	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, set_fault(self->outside, first, C_ALLOCATOR_FAIL, -ENOMEM));
	ASSERT_EQ(0, set_fault(self->outside, last, C_ALLOCATOR_FAIL, -ENOMEM));
	EXPECT_EQ(-ENOMEM, map(self->importer, attachment, NULL));
	EXPECT_STREQ("empty", buffer_field(self->fd, "state"));
	EXPECT_EQ(1, calls_of(self->outside, first, C_ALLOCATOR_ALLOCATE));
	EXPECT_EQ(1, calls_of(self->outside, last, C_ALLOCATOR_ALLOCATE));
	/* It is asked anew every time. */
	ASSERT_EQ(0, set_fault(self->outside, last, C_ALLOCATOR_GOOD, 0));
	EXPECT_EQ(0, map(self->importer, attachment, NULL));
	EXPECT_STREQ("last", buffer_field(self->fd, "allocator"));
}

TEST_F(outside, limits_are_looked_at_first)
{
	int handle = add_outside(self->outside, OUTSIDE(.max_len = LEN - PAGE));
	struct cenalloc_query told;

	/* Another fits. */
	ASSERT_EQ(0, allocate(self->fd));
	EXPECT_STREQ("system", buffer_field(self->fd, "allocator"));
	/* No other has the class. */
	EXPECT_EQ(-EINVAL, join(self->importer, create(LEN), ONLY_OUTSIDE()));
	EXPECT_EQ(0, calls_of(self->outside, handle, C_ALLOCATOR_ALLOCATE));
	ASSERT_EQ(0, remove_outside(self->outside, handle));

	handle = add_outside(self->outside, OUTSIDE(.min_address = 1ULL << 32));
	close(self->fd);
	self->fd = create(LEN);
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd, ONLY_OUTSIDE(.dma_mask = BITS(32))));
	told = query_fields(self->fd);
	EXPECT_EQ(CENALLOC_CAUSE_ALLOCATOR, told.refusal.cause);
	EXPECT_EQ(CENALLOC_FIELD_MAX_ADDRESS, told.refusal.field);
	EXPECT_EQ(BITS(32), told.refusal.wanted);
	EXPECT_EQ(1ULL << 32, told.refusal.found);
	EXPECT_STREQ("outside", told.refusal.other);
	EXPECT_LE(0, join(self->importer, self->fd, ONLY_OUTSIDE(.dma_mask = BITS(33))));
	EXPECT_EQ(0, calls_of(self->outside, handle, C_ALLOCATOR_ALLOCATE));
}

/* --- Faults --------------------------------------------------------------- */

struct fault {
	int fault;
	int code;
};

static const struct fault faults[] = {
	{ C_ALLOCATOR_FAIL, -ENOMEM }, { C_ALLOCATOR_FAIL, -EIO }, { C_ALLOCATOR_FAIL, -EINVAL },
	{ C_ALLOCATOR_FAIL, -EINTR }, { C_ALLOCATOR_FAIL, -512 }, { C_ALLOCATOR_FAIL, 1 },
	{ C_ALLOCATOR_FAIL, 0x7fffffff }, { C_ALLOCATOR_FAIL, -4096 },
	{ C_ALLOCATOR_FAIL, -0x7fffffff - 1 },
	{ C_ALLOCATOR_NO_TABLE, 0 }, { C_ALLOCATOR_ERROR_TABLE, -ENOMEM },
	{ C_ALLOCATOR_ERROR_TABLE, -EIO }, { C_ALLOCATOR_ERROR_TABLE, -EINTR },
	{ C_ALLOCATOR_ERROR_TABLE, -4095 }, { C_ALLOCATOR_EMPTY_TABLE, 0 },
	{ C_ALLOCATOR_SHORT_TABLE, 0 }, { C_ALLOCATOR_LONG_TABLE, 0 },
	{ C_ALLOCATOR_OFFSET_TABLE, 0 }, { C_ALLOCATOR_ODD_TABLE, 0 },
	{ C_ALLOCATOR_BARE_TABLE, 0 },
};

/* Codes that would do harm, or nothing. */
TEST_F(outside, faults_that_make_no_sense)
{
	static const struct fault bad[] = {
		{ C_ALLOCATOR_FAIL, 0 }, { C_ALLOCATOR_BAD_PHYS, 0 },
		{ C_ALLOCATOR_ERROR_TABLE, 0 }, { C_ALLOCATOR_ERROR_TABLE, 1 },
		{ C_ALLOCATOR_ERROR_TABLE, -4096 }, { C_ALLOCATOR_ERROR_TABLE, 0x7fffffff },
		{ C_ALLOCATOR_ERROR_TABLE, -0x7fffffff - 1 },
		{ C_ALLOCATOR_DIRTY, -1 }, { C_ALLOCATOR_DIRTY, 256 },
		{ C_ALLOCATOR_SLOW, -1 }, { C_ALLOCATOR_SLOW, C_ALLOCATOR_SLOWEST + 1 },
		{ C_ALLOCATOR_FAULTS, 0 }, { -1, 0 },
	};
	static const struct fault good[] = {
		{ C_ALLOCATOR_ERROR_TABLE, -1 }, { C_ALLOCATOR_ERROR_TABLE, -4095 },
		{ C_ALLOCATOR_DIRTY, 0 }, { C_ALLOCATOR_DIRTY, 255 },
		{ C_ALLOCATOR_SLOW, 0 }, { C_ALLOCATOR_SLOW, C_ALLOCATOR_SLOWEST },
		{ C_ALLOCATOR_GOOD, 0 },
	};
	int handle = add_outside(self->outside, OUTSIDE());
	const struct fault *fault;

	ASSERT_LE(0, handle);
	for (fault = good; fault < good + ARRAY_SIZE(good); fault++)
		EXPECT_EQ(0, set_fault(self->outside, handle, fault->fault, fault->code));
	for (fault = bad; fault < bad + ARRAY_SIZE(bad); fault++) {
		EXPECT_EQ(-EINVAL, set_fault(self->outside, handle, fault->fault, fault->code)) {
			TH_LOG("fault %d, code %d", fault->fault, fault->code);
		}
	}
	/* It still does what it was last told. */
	ASSERT_EQ(0, allocate(self->fd));
	EXPECT_STREQ("outside", buffer_field(self->fd, "allocator"));
}

/* Whatever an allocator does wrong, the next one is asked, and nothing is lost. */
static void check_faults(struct __test_metadata *_metadata, int outside, int kind)
{
	int handle = add_outside(outside, OUTSIDE(.kind = kind));
	int importer = open_importer(), first = create(LEN), fd;
	int attachment = join(importer, first, ONLY_OUTSIDE());
	const struct fault *fault;

	ASSERT_LE(0, handle);
	ASSERT_LE(0, attachment);
	for (fault = faults; fault < faults + ARRAY_SIZE(faults); fault++) {
		ASSERT_EQ(0, set_fault(outside, handle, fault->fault, fault->code));
		fd = create(LEN);
		EXPECT_EQ(0, allocate(fd)) {
			TH_LOG("fault %d, code %d", fault->fault, fault->code);
		}
		EXPECT_STREQ("system", buffer_field(fd, "allocator"));
		close(fd);
		/* There is no next. */
		EXPECT_EQ(-ENOMEM, map(importer, attachment, NULL)) {
			TH_LOG("fault %d, code %d", fault->fault, fault->code);
		}
		EXPECT_STREQ("empty", buffer_field(first, "state"));
		check_balance(_metadata, outside, handle);
		EXPECT_EQ(0, find_allocator("outside").used);
	}
	/* Nor has it been forgotten for its faults. */
	ASSERT_EQ(0, set_fault(outside, handle, C_ALLOCATOR_GOOD, 0));
	EXPECT_EQ(0, map(importer, attachment, NULL));
	EXPECT_STREQ("outside", buffer_field(first, "allocator"));
	/* And may go, now that it is used no more. */
	close(first);
	close(importer);
	check_balance(_metadata, outside, handle);
	EXPECT_EQ(0, remove_outside(outside, handle));
}

TEST_F(outside, faults_of_the_plain_one)
{
	check_faults(_metadata, self->outside, C_ALLOCATOR_PLAIN);
}

TEST_F(outside, faults_of_the_full_one)
{
	check_faults(_metadata, self->outside, C_ALLOCATOR_PIECES);
}

/* Memory that does not suit is given back at once. */
TEST_F(outside, memory_out_of_reach)
{
	int handle = add_outside(self->outside, OUTSIDE());
	int low = join(self->importer, self->fd, DEVICE(.dma_mask = BITS(32)));

	ASSERT_EQ(0, set_fault(self->outside, handle, C_ALLOCATOR_IGNORE, 0));
	ASSERT_EQ(0, map(self->importer, low, NULL));
	EXPECT_STREQ("system", buffer_field(self->fd, "allocator"));
	EXPECT_EQ(1, calls_of(self->outside, handle, C_ALLOCATOR_ALLOCATE));
	EXPECT_EQ(1, calls_of(self->outside, handle, C_ALLOCATOR_FREE));
	check_balance(_metadata, self->outside, handle);
}

TEST_F(outside, memory_that_is_not_aligned)
{
	int handle = add_outside(self->outside, OUTSIDE());
	int fd, i;

	/* alloc_pages_exact() does not know of it; now and then, it is by chance. */
	for (i = 0; i < 16; i++) {
		fd = create_aligned(PAGE, 4 * MIB);
		ASSERT_LE(0, fd);
		if (allocate(fd))
			break;
	}
	/* Nobody else keeps a large block for a page. */
	EXPECT_EQ(-ENOMEM, allocate(fd));
	EXPECT_GT(16, i);
	EXPECT_EQ(i + 2, calls_of(self->outside, handle, C_ALLOCATOR_ALLOCATE));
	EXPECT_EQ(2, calls_of(self->outside, handle, C_ALLOCATOR_FREE));
}

TEST_F(outside, is_zeroed_unless_it_says_so)
{
	int handle = add_outside(self->outside, OUTSIDE());
	void *memory = map_cpu(self->fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, set_fault(self->outside, handle, C_ALLOCATOR_DIRTY, 0xa5));
	ASSERT_EQ(0, allocate(self->fd));
	EXPECT_STREQ("outside", buffer_field(self->fd, "allocator"));
	EXPECT_TRUE(is_filled(memory, 0, LEN));
	munmap(memory, LEN);
	close(self->fd);
	ASSERT_EQ(0, settled_live(self->outside, handle, 0));
	ASSERT_EQ(0, remove_outside(self->outside, handle));

	handle = add_outside(self->outside, OUTSIDE(.flags = 2));
	ASSERT_EQ(0, set_fault(self->outside, handle, C_ALLOCATOR_DIRTY, 0xa5));
	self->fd = create(LEN);
	memory = map_cpu(self->fd, LEN);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_TRUE(is_filled(memory, 0xa5, LEN));
	munmap(memory, LEN);
}

/* --- Match ---------------------------------------------------------------- */

static int add_matching(int outside)
{
	int handle = add_outside(outside, OUTSIDE(.kind = C_ALLOCATOR_PIECES));

	return handle < 0 ? handle : set_refused(outside, handle, "unwanted") ?: handle;
}

TEST_F(outside, match_is_asked_for_each_device)
{
	int handle = add_matching(self->outside);
	struct c_allocator_told told;

	ASSERT_LE(0, handle);
	ASSERT_LE(0, join(self->importer, self->fd,
			  DEVICE(.name = "one", .dma_mask = BITS(36), .max_segments = 9)));
	told = tell(self->outside, handle);
	EXPECT_LE(1, told.calls[C_ALLOCATOR_MATCH]);
	EXPECT_EQ(0, strncmp(told.device, "one.", 4));
	EXPECT_EQ(LEN, told.match_len);
	EXPECT_EQ(BITS(36), told.match_max_address);
	EXPECT_EQ(9, told.match_max_segments);
	/* A device that changes nothing is asked for, too. */
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.name = "two")));
	EXPECT_EQ(0, strncmp(tell(self->outside, handle).device, "two.", 4));
}

TEST_F(outside, match_without_a_device)
{
	int handle = add_matching(self->outside);
	struct c_allocator_told told;

	ASSERT_LE(0, handle);
	ASSERT_EQ(0, declare_needs(self->fd, "later", NEEDS(.max_segments = 7)));
	told = tell(self->outside, handle);
	EXPECT_LE(1, told.without_device);
	EXPECT_EQ(7, told.match_max_segments);
	EXPECT_EQ(0, told.match_max_address);
}

TEST_F(outside, refused_by_match)
{
	int handle = add_matching(self->outside);
	struct cenalloc_query told;

	ASSERT_LE(0, handle);
	/* Another allocator serves it. */
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.name = "unwanted")));
	ASSERT_EQ(0, allocate(self->fd));
	EXPECT_STREQ("system", buffer_field(self->fd, "allocator"));
	EXPECT_EQ(0, calls_of(self->outside, handle, C_ALLOCATOR_ALLOCATE));
	/* None does. */
	close(self->fd);
	self->fd = create(LEN);
	ASSERT_LE(0, join(self->importer, self->fd, ONLY_OUTSIDE(.name = "wanted")));
	check_refused(_metadata, self->importer, self->fd, DEVICE(.name = "unwanted"), -EINVAL,
		      "* unwanted.* needs an allocator that serves it, and outside does not");
	told = query_fields(self->fd);
	EXPECT_EQ(CENALLOC_CAUSE_ALLOCATOR, told.refusal.cause);
	EXPECT_EQ(CENALLOC_FIELD_DEVICE, told.refusal.field);
	EXPECT_NE(NULL, strstr(told.refusal.who, " unwanted."));
	EXPECT_STREQ("outside", told.refusal.other);
	/* Who was refused does not count for those who come later. */
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.name = "also")));
	ASSERT_EQ(0, allocate(self->fd));
	EXPECT_STREQ("outside", buffer_field(self->fd, "allocator"));
}

/* One that gives memory, and does not serve then for whom it did. */
TEST_F(outside, match_changes_its_mind)
{
	struct cenalloc_refusal refusal;
	int handle;

	ASSERT_EQ(0, allocate(self->fd));
	ASSERT_STREQ("system", query_fields(self->fd).allocator);
	handle = add_outside(self->outside, OUTSIDE(.kind = C_ALLOCATOR_PIECES));
	ASSERT_EQ(0, set_fault(self->outside, handle, C_ALLOCATOR_FICKLE, 0));
	EXPECT_EQ(-ENOMEM, declare_until(self->fd, "", "late", NEEDS(.max_address = BITS(32)), 0,
					 &refusal));
	EXPECT_EQ(CENALLOC_CAUSE_SHORTAGE, refusal.cause);
	EXPECT_EQ(CENALLOC_FIELD_MAX_ADDRESS, refusal.field);
	EXPECT_EQ(OUTSIDE_CLASS, refusal.classes);
	EXPECT_STREQ("outside", refusal.other);
	EXPECT_REFUSAL(self->fd, "program late needs addresses below 4 GiB, * from bit-32");
	EXPECT_EQ(1, query_fields(self->fd).late_refusals);
	EXPECT_STREQ("outside", query_fields(self->fd).allocator);
	/* It does not bind the next one, or the same once more. */
	EXPECT_EQ(0, declare_needs(self->fd, "late", NEEDS(.max_address = BITS(32))));
	EXPECT_STREQ("system", query_fields(self->fd).allocator);
	EXPECT_EQ(0, settled_live(self->outside, handle, 0));
}

/* The kernel log says the same, once its limit of lines lets it. */
TEST_F(outside, refusal_is_logged)
{
	int kmsg = open_log(), device, tries;
	bool found = false;

	ASSERT_LE(0, kmsg);
	ASSERT_LE(0, add_matching(self->outside));
	ASSERT_LE(0, join(self->importer, self->fd, ONLY_OUTSIDE(.name = "wanted")));
	device = add_device(self->importer, DEVICE(.name = "unwanted"));
	for (tries = 0; tries < 70 && !found; tries++) {
		ASSERT_EQ(-EINVAL, attach(self->importer, device, self->fd));
		found = is_logged(kmsg, "*cenalloc: buffer *: * unwanted.* needs an allocator*");
		if (!found)
			usleep(100000);
	}
	EXPECT_TRUE(found);
}

/* Memory that its allocator does not serve a newcomer with is not the newcomer's. */
TEST_F(outside, match_and_memory_that_is_there)
{
	int handle = add_matching(self->outside), first;

	ASSERT_LE(0, handle);
	first = join(self->importer, self->fd, DEVICE(.name = "wanted"));
	ASSERT_LE(0, first);
	ASSERT_EQ(0, map(self->importer, first, NULL));
	ASSERT_STREQ("outside", buffer_field(self->fd, "allocator"));
	/* It is in use: it came too late. */
	EXPECT_EQ(-EBUSY, join(self->importer, self->fd, DEVICE(.name = "unwanted")));
	EXPECT_EQ(1, buffer_number(self->fd, "late"));
	/* It is not: there is memory that serves both. */
	ASSERT_EQ(0, unmap(self->importer, first));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.name = "unwanted")));
	EXPECT_STREQ("system", buffer_field(self->fd, "allocator"));
	check_balance(_metadata, self->outside, handle);
}

/* --- Removal -------------------------------------------------------------- */

TEST_F(outside, stays_while_a_buffer_has_its_memory)
{
	int handle = add_outside(self->outside, OUTSIDE());
	int fd = create(LEN);

	ASSERT_EQ(0, allocate(self->fd));
	EXPECT_EQ(-EBUSY, remove_outside(self->outside, handle));
	/* Nothing has changed. */
	EXPECT_STREQ("outside", find_allocator("outside").name);
	ASSERT_EQ(0, allocate(fd));
	EXPECT_STREQ("outside", buffer_field(fd, "allocator"));
	close(fd);
	EXPECT_EQ(1, settled_live(self->outside, handle, 1));
	EXPECT_EQ(-EBUSY, remove_outside(self->outside, handle));
	close(self->fd);
	EXPECT_EQ(0, settled_live(self->outside, handle, 0));
	EXPECT_EQ(0, remove_outside(self->outside, handle));
	EXPECT_STREQ("", find_allocator("outside").name);
}

/* Who relied on it finds that nobody serves the buffer any more. */
TEST_F(outside, removed_before_the_first_use)
{
	int handle = add_outside(self->outside, OUTSIDE());
	int attachment = join(self->importer, self->fd, ONLY_OUTSIDE());

	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, remove_outside(self->outside, handle));
	EXPECT_EQ(-EINVAL, allocate(self->fd));
	EXPECT_EQ(-EINVAL, map(self->importer, attachment, NULL));
	EXPECT_EQ(-EINVAL, join(self->importer, create(LEN), ONLY_OUTSIDE()));
	EXPECT_LE(0, add_outside(self->outside, OUTSIDE()));
	EXPECT_EQ(0, map(self->importer, attachment, NULL));
}

static void *allocate_there(void *fd)
{
	return (void *)(long)allocate(*(int *)fd);
}

/* A thread in the middle of what will be the buffer's memory, for @ms milliseconds. */
static void allocate_slowly(struct __test_metadata *_metadata, int outside, int handle, int ms,
			    pthread_t *thread, int *fd)
{
	unsigned int before = calls_of(outside, handle, C_ALLOCATOR_ALLOCATE), calls = before;
	int i;

	ASSERT_EQ(0, set_fault(outside, handle, C_ALLOCATOR_SLOW, ms));
	ASSERT_EQ(0, pthread_create(thread, NULL, allocate_there, fd));
	for (i = 0; i < 1000 && calls == before; i++) {
		usleep(1000);
		calls = calls_of(outside, handle, C_ALLOCATOR_ALLOCATE);
	}
}

TEST_F(outside, stays_while_it_allocates)
{
	int handle = add_outside(self->outside, OUTSIDE());
	pthread_t thread;
	void *ret;

	allocate_slowly(_metadata, self->outside, handle, 300, &thread, &self->fd);
	EXPECT_EQ(-EBUSY, remove_outside(self->outside, handle));
	ASSERT_EQ(0, pthread_join(thread, &ret));
	EXPECT_EQ(NULL, ret);
	EXPECT_STREQ("outside", buffer_field(self->fd, "allocator"));
}

static void no_action(int signal)
{
	(void)signal;
}

/*
 * A signal ends the wait for a buffer that somebody else is busy with, where its handler
 * does not restart calls.
 */
TEST_F(outside, signal_ends_the_wait)
{
	struct sigaction action = { .sa_handler = no_action };
	int handle = add_outside(self->outside, OUTSIDE()), round;
	bool is_interrupted = false;
	pthread_t works, waits;
	void *ret;

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	/* On a machine that is busy, the other may be done before one has begun to wait. */
	for (round = 0; round < 10 && !is_interrupted; round++) {
		int fd = create(LEN);

		allocate_slowly(_metadata, self->outside, handle, C_ALLOCATOR_SLOWEST, &works, &fd);
		ASSERT_EQ(0, pthread_create(&waits, NULL, allocate_there, &fd));
		/* Before it waits, a signal does nothing. */
		while (pthread_tryjoin_np(waits, &ret)) {
			usleep(1000);
			pthread_kill(waits, SIGUSR1);
		}
		is_interrupted = ret == (void *)-EINTR;
		EXPECT_TRUE(is_interrupted || !ret) {
			TH_LOG("%ld", (long)ret);
		}
		ASSERT_EQ(0, pthread_join(works, &ret));
		EXPECT_EQ(NULL, ret);
		EXPECT_STREQ("outside", buffer_field(fd, "allocator"));
		close(fd);
	}
	EXPECT_TRUE(is_interrupted);
}

/* --- The module ----------------------------------------------------------- */

TEST_F(outside, module_stays_while_a_buffer_has_its_memory)
{
	ASSERT_LE(0, add_outside(self->outside, OUTSIDE()));
	ASSERT_LE(0, add_outside(self->outside, OUTSIDE(.name = "idle")));
	ASSERT_EQ(0, allocate(self->fd));
	close(self->outside);
	/* The buffer alone. */
	EXPECT_EQ(1, settled_module_users("cenalloc_c_allocator", 1));
	EXPECT_EQ(-EWOULDBLOCK, unload("cenalloc_c_allocator"));
	EXPECT_EQ(-EWOULDBLOCK, unload("cenalloc"));
	close(self->fd);
	/* With allocators that nobody uses, it may go, and they with it. */
	EXPECT_EQ(0, unload_patiently("cenalloc_c_allocator"));
	EXPECT_STREQ("", find_allocator("outside").name);
	EXPECT_STREQ("", find_allocator("idle").name);
	self->fd = create(LEN);
	EXPECT_EQ(0, allocate(self->fd));
	EXPECT_STREQ("system", buffer_field(self->fd, "allocator"));
	ASSERT_EQ(0, load("cenalloc_c_allocator"));
	self->outside = open_outside();
	ASSERT_LE(0, self->outside);
}

/* A process that loads or unloads the module of the allocators, which takes a while. */
static pid_t begin(const char *command)
{
	pid_t child = fork();

	if (!child)
		_exit(system(command));
	return child;
}

static int end(pid_t child)
{
	int status;

	return waitpid(child, &status, 0) == child ? status : -1;
}

/*
 * An allocator is asked while its module starts, and while it goes: it gives nothing,
 * and the module has as many references as before.
 */
TEST_F(outside, module_that_comes_and_goes)
{
	int fds[2], i, kmsg;
	pid_t child;

	close(self->outside);
	ASSERT_EQ(0, unload_patiently("cenalloc_c_allocator"));
	for (i = 0; i < 2; i++)
		fds[i] = create(LEN);
	kmsg = open_log();

	child = begin("modprobe cenalloc_c_allocator coming=2000 going=2000");
	for (i = 0; i < 200 * slower() && !*find_allocator("early").name; i++)
		usleep(5000);
	ASSERT_STREQ("early", find_allocator("early").name);
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, declare_needs(fds[i], "early",
					   NEEDS(.access_mask = C_ALLOCATOR_EARLY_CLASS)));
	/* Its initializer's own reference is one. */
	EXPECT_EQ(1, count_module_users("cenalloc_c_allocator"));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(-ENOMEM, allocate(fds[0]));
	EXPECT_EQ(1, count_module_users("cenalloc_c_allocator"));
	EXPECT_EQ(0, end(child));
	EXPECT_EQ(0, settled_module_users("cenalloc_c_allocator", 0));

	/* There, it gives memory, and an open file alone keeps it. */
	EXPECT_EQ(0, allocate(fds[0]));
	self->outside = open_outside();
	EXPECT_EQ(2, count_module_users("cenalloc_c_allocator"));
	close(fds[0]);
	EXPECT_EQ(1, settled_module_users("cenalloc_c_allocator", 1));
	EXPECT_EQ(-EWOULDBLOCK, unload("cenalloc_c_allocator"));
	close(self->outside);
	EXPECT_EQ(0, settled_module_users("cenalloc_c_allocator", 0));

	child = begin("rmmod cenalloc_c_allocator");
	for (i = 0; i < 200 * slower() && !access("/dev/cenalloc_c_allocator", F_OK); i++)
		usleep(5000);
	for (i = 0; i < 3; i++)
		EXPECT_EQ(-ENOMEM, allocate(fds[1]));
	EXPECT_EQ(0, end(child));
	EXPECT_FALSE(is_loaded("cenalloc_c_allocator"));
	EXPECT_FALSE(is_logged(kmsg, "*cut here*"));
	close(fds[1]);
	close(kmsg);

	ASSERT_EQ(0, load("cenalloc_c_allocator"));
	self->outside = open_outside();
	ASSERT_LE(0, self->outside);
}

int main(int argc, char **argv)
{
	return run_with_modules(argc, argv);
}
