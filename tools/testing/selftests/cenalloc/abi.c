// SPDX-License-Identifier: GPL-2.0
/* The layout of the ioctls of /dev/cenalloc: sizes, unknown tails, bad pointers. */

#include <assert.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"

/* A call whose structure is said to have another size. */
static unsigned long sized(unsigned long request, size_t size)
{
	return (request & ~((unsigned long)_IOC_SIZEMASK << _IOC_SIZESHIFT)) |
	       size << _IOC_SIZESHIFT;
}

FIXTURE(abi) {
	int device;
	unsigned int fds;
	unsigned int buffers;
	char *pages;	/* a page to read and write, then one that is not there */
};

FIXTURE_SETUP(abi)
{
	self->device = open_device("/dev/cenalloc");
	ASSERT_LE(0, self->device);
	self->pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	ASSERT_NE(MAP_FAILED, self->pages);
	ASSERT_EQ(0, mprotect(self->pages + PAGE, PAGE, PROT_NONE));
	self->fds = count_files("/proc/self/fd");
	self->buffers = count_buffers();
}

/* Whatever was refused leaves no descriptor and no buffer behind. */
FIXTURE_TEARDOWN(abi)
{
	EXPECT_EQ(self->fds, count_files("/proc/self/fd"));
	EXPECT_EQ(self->buffers, settled_buffers(self->buffers));
	close(self->device);
}

static struct cenalloc_create *good_create(void *at)
{
	struct cenalloc_create create = { .len = 4096, .fd_flags = O_RDWR };

	return memcpy(at, &create, sizeof(create));
}

/* --- Layouts -------------------------------------------------------------- */

/* Where a field lies. None can move any more. */
#define AT(offset, type, field)							\
	static_assert(offsetof(struct cenalloc_##type, field) == (offset), "it has moved")

AT(0, create, len);
AT(8, create, align);
AT(16, create, fd_flags);
AT(20, create, flags);
AT(24, create, name);
AT(56, create, fd);
AT(60, create, reserved);
AT(64, create, id);

AT(0, constraints, access_mask);
AT(8, constraints, max_address);
AT(16, constraints, max_segment_size);
AT(24, constraints, segment_boundary_mask);
AT(32, constraints, alignment);
AT(40, constraints, max_segments);
AT(44, constraints, priority);
AT(46, constraints, flags);

AT(0, allocators, allocators);
AT(8, allocators, count);
AT(12, allocators, size);

AT(0, allocator_info, name);
AT(32, allocator_info, access_mask);
AT(40, allocator_info, max_len);
AT(48, allocator_info, used);
AT(56, allocator_info, free);
AT(64, allocator_info, start);
AT(72, allocator_info, area_len);
AT(80, allocator_info, priority);
AT(84, allocator_info, flags);

AT(0, refusal, cause);
AT(4, refusal, field);
AT(8, refusal, wanted);
AT(16, refusal, found);
AT(24, refusal, who);
AT(88, refusal, other);
AT(152, refusal, behind);
AT(216, refusal, holder);
AT(220, refusal, holders);
AT(224, refusal, sequence);
AT(232, refusal, when);
AT(240, refusal, len);
AT(248, refusal, max_address);
AT(256, refusal, classes);

AT(0, declare, fd);
AT(4, declare, flags);
AT(8, declare, timeout);
AT(16, declare, bus);
AT(48, declare, device);
AT(112, declare, constraints);
AT(160, declare, refusal);

AT(0, allocate, fd);
AT(4, allocate, flags);
AT(8, allocate, refusal);

AT(0, test, len);
AT(8, test, constraints);
AT(56, test, flags);
AT(60, test, result);
AT(64, test, allocator);
AT(96, test, refusal);

AT(0, user, name);
AT(64, user, constraints);
AT(112, user, flags);
AT(116, user, late_refusals);
AT(120, user, preferences);
AT(124, user, unmet);
AT(128, user, sources);
AT(144, user, origin);

AT(0, query, fd);
AT(4, query, flags);
AT(8, query, users);
AT(16, query, user_count);
AT(20, query, user_size);
AT(24, query, id);
AT(32, query, inode);
AT(40, query, len);
AT(48, query, name);
AT(80, query, combined);
AT(128, query, state);
AT(132, query, caching);
AT(136, query, allocator);
AT(168, query, ranges);
AT(172, query, relocations);
AT(176, query, recycled);
AT(184, query, holds);
AT(188, query, holders);
AT(192, query, kernel_maps);
AT(196, query, waiting);
AT(200, query, late_refusals);
AT(204, query, left_segments);
AT(208, query, left);
AT(272, query, refusals);
AT(280, query, refusal);

TEST(sizes_and_numbers)
{
	EXPECT_EQ(48, sizeof(struct cenalloc_constraints));
	EXPECT_EQ(88, sizeof(struct cenalloc_allocator_info));
	EXPECT_EQ(264, sizeof(struct cenalloc_refusal));
	EXPECT_EQ(176, sizeof(struct cenalloc_user));
	/* The size of the structure is part of the number. */
	EXPECT_EQ(0xc048bc01, CENALLOC_CREATE);
	EXPECT_EQ(0xc010bc02, CENALLOC_ALLOCATORS);
	EXPECT_EQ(0xc1a8bc03, CENALLOC_DECLARE);
	EXPECT_EQ(0xc110bc04, CENALLOC_ALLOCATE);
	EXPECT_EQ(0xc168bc05, CENALLOC_TEST);
	EXPECT_EQ(0xc220bc06, CENALLOC_QUERY);
}

/* --- Sizes of every call -------------------------------------------------- */

#define LONGEST	16383	/* bytes that a number can tell of */

/* A call that is right, with a buffer to ask about. */
struct sized {
	unsigned long request;
	union {
		struct cenalloc_create create;
		struct cenalloc_allocators allocators;
		struct cenalloc_declare declare;
		struct cenalloc_allocate allocate;
		struct cenalloc_test test;
		struct cenalloc_query query;
	};
};

/* Fills @calls; returns how many there are. */
static size_t all_calls(int fd, struct sized *calls)
{
	const struct sized all[] = {
		{ CENALLOC_CREATE, .create = { .len = 4096, .fd_flags = O_RDWR } },
		{ CENALLOC_ALLOCATORS, .allocators = {} },
		{ CENALLOC_DECLARE, .declare = { .fd = fd } },
		{ CENALLOC_ALLOCATE, .allocate = { .fd = fd } },
		{ CENALLOC_TEST, .test = { .len = 4096 } },
		{ CENALLOC_QUERY, .query = { .fd = fd } },
	};

	memcpy(calls, all, sizeof(all));
	return ARRAY_SIZE(all);
}

#define CALLS	6

/* @call with a structure of @size bytes, all zero behind what is known; closes what it makes. */
static int call_sized(int device, const struct sized *call_of, size_t size, char *memory)
{
	size_t known = _IOC_SIZE(call_of->request);
	int ret;

	memcpy(memory, &call_of->create, known < size ? known : size);
	ret = call(device, sized(call_of->request, size), memory);
	if (!ret && call_of->request == CENALLOC_CREATE)
		close(((struct cenalloc_create *)memory)->fd);
	return ret;
}

TEST_F(abi, shorter_than_first_version)
{
	static char memory[LONGEST];
	struct sized calls[CALLS];
	int fd = create(PAGE);
	size_t i, size;

	ASSERT_EQ(CALLS, all_calls(fd, calls));
	for (i = 0; i < CALLS; i++) {
		for (size = 0; size < _IOC_SIZE(calls[i].request); size++) {
			memset(memory, 0, sizeof(memory));
			ASSERT_EQ(-EINVAL, call_sized(self->device, &calls[i], size, memory)) {
				TH_LOG("call %zu, size %zu", i + 1, size);
			}
			/* Nothing of a longer one is written. */
			ASSERT_EQ(0, memcmp(memory, &calls[i].create, size));
		}
	}
	EXPECT_EQ(0, query_fields(fd).user_count);
	close(fd);
}

TEST_F(abi, longer_with_zero_tail)
{
	static const char zero[LONGEST];
	static char memory[LONGEST];
	struct sized calls[CALLS];
	int fd = create(PAGE);
	size_t i, s;

	all_calls(fd, calls);
	for (i = 0; i < CALLS; i++) {
		const size_t known = _IOC_SIZE(calls[i].request);
		const size_t sizes[] = { known + 1, known + 8, 1024, 4096, LONGEST };

		for (s = 0; s < ARRAY_SIZE(sizes); s++) {
			memset(memory, 0, sizeof(memory));
			EXPECT_EQ(0, call_sized(self->device, &calls[i], sizes[s], memory)) {
				TH_LOG("call %zu, size %zu", i + 1, sizes[s]);
			}
			EXPECT_EQ(0, memcmp(memory + known, zero, sizes[s] - known));
		}
	}
	close(fd);
}

TEST_F(abi, longer_with_unknown_tail)
{
	static char memory[LONGEST];
	struct sized calls[CALLS];
	int fd = create(PAGE);
	size_t i, at;

	all_calls(fd, calls);
	for (i = 0; i < CALLS; i++) {
		const size_t known = _IOC_SIZE(calls[i].request), size = known + 64;

		for (at = known; at < size; at++) {
			memset(memory, 0, sizeof(memory));
			memory[at] = 1;
			ASSERT_EQ(-E2BIG, call_sized(self->device, &calls[i], size, memory)) {
				TH_LOG("call %zu, byte %zu", i + 1, at);
			}
		}
		memset(memory, 0, sizeof(memory));
		memory[LONGEST - 1] = 1;
		EXPECT_EQ(-E2BIG, call_sized(self->device, &calls[i], LONGEST, memory));
	}
	EXPECT_EQ(0, query_fields(fd).user_count);
	close(fd);
}

/* What is only told may hold anything before; it is written whether the call fails or not. */
TEST_F(abi, what_is_told_is_not_read)
{
	struct cenalloc_allocate allocate;
	struct cenalloc_declare declare;
	struct cenalloc_query query;
	struct cenalloc_test test;
	int fd = create(PAGE);

	memset(&declare, 0xa5, sizeof(declare));
	memset(&declare, 0, offsetof(struct cenalloc_declare, refusal));
	declare.fd = fd;
	EXPECT_EQ(0, call(self->device, CENALLOC_DECLARE, &declare));
	EXPECT_EQ(0, declare.refusal.cause);
	memset(&declare.refusal, 0xa5, sizeof(declare.refusal));
	declare.constraints.max_address = 2;
	EXPECT_EQ(-EINVAL, call(self->device, CENALLOC_DECLARE, &declare));
	EXPECT_EQ(CENALLOC_CAUSE_ITSELF, declare.refusal.cause);
	memset(&declare.refusal, 0xa5, sizeof(declare.refusal));
	declare.constraints.alignment = 3;
	EXPECT_EQ(-EINVAL, call(self->device, CENALLOC_DECLARE, &declare));
	EXPECT_EQ(0, declare.refusal.cause);

	memset(&allocate, 0xa5, sizeof(allocate));
	allocate.fd = fd;
	allocate.flags = 0;
	EXPECT_EQ(0, call(self->device, CENALLOC_ALLOCATE, &allocate));
	EXPECT_EQ(0, allocate.refusal.cause);

	memset(&test, 0xa5, sizeof(test));
	memset(&test, 0, offsetof(struct cenalloc_test, result));
	test.len = PAGE;
	EXPECT_EQ(0, call(self->device, CENALLOC_TEST, &test));
	EXPECT_EQ(CENALLOC_TEST_OK, test.result);
	EXPECT_EQ(0, test.refusal.cause);

	memset(&query, 0xa5, sizeof(query));
	memset(&query, 0, offsetof(struct cenalloc_query, id));
	query.fd = fd;
	EXPECT_EQ(0, call(self->device, CENALLOC_QUERY, &query));
	EXPECT_EQ(PAGE, query.len);
	EXPECT_STREQ("", query.left);
	EXPECT_EQ(CENALLOC_CAUSE_ITSELF, query.refusal.cause);
	close(fd);
}

/* A bit that means nothing is refused in every field of bits, in every call. */
TEST_F(abi, unknown_flags)
{
	struct sized calls[CALLS];
	int fd = create(PAGE), bit;
	static char memory[LONGEST];
	size_t i;

	all_calls(fd, calls);
	for (bit = 0; bit < 32; bit++) {
		all_calls(fd, calls);
		calls[0].create.flags = 1U << bit;
		calls[1].allocators.size = 1;
		calls[2].declare.flags = 1U << bit;
		calls[3].allocate.flags = 1U << bit;
		calls[4].test.flags = 1U << bit;
		calls[5].query.flags = 1U << bit;
		for (i = 0; i < CALLS; i++) {
			memset(memory, 0, sizeof(memory));
			ASSERT_EQ(-EINVAL, call_sized(self->device, &calls[i],
						      _IOC_SIZE(calls[i].request), memory)) {
				TH_LOG("call %zu, bit %d", i + 1, bit);
			}
		}
	}
	EXPECT_EQ(0, query_fields(fd).user_count);
	EXPECT_EQ(0, query_fields(fd).refusals);
	close(fd);
}

TEST_F(abi, tail_that_cannot_be_read)
{
	void *at = self->pages + PAGE - sizeof(struct cenalloc_create);

	good_create(at);
	EXPECT_EQ(-EFAULT, call(self->device, sized(CENALLOC_CREATE, 128), at));
	EXPECT_EQ(-EFAULT, call(self->device,
				sized(CENALLOC_CREATE, sizeof(struct cenalloc_create) + 1), at));
}

TEST_F(abi, reserved_must_be_zero)
{
	struct cenalloc_create create;

	good_create(&create)->reserved = 1;
	EXPECT_EQ(-EINVAL, call(self->device, CENALLOC_CREATE, &create));
	good_create(&create)->reserved = 0x80000000;
	EXPECT_EQ(-EINVAL, call(self->device, CENALLOC_CREATE, &create));
}

TEST_F(abi, unknown_numbers)
{
	static char memory[16384];
	unsigned int nr;

	good_create(memory);
	for (nr = 0; nr < 256; nr++) {
		if (nr >= 1 && nr <= 6)
			continue;
		EXPECT_EQ(-ENOTTY,
			  call(self->device, _IOC(3, CENALLOC_IOC_MAGIC, nr, 72), memory)) {
			TH_LOG("number %u", nr);
		}
	}
	EXPECT_EQ(-ENOTTY, call(self->device, _IOC(3, 'H', 1, 72), memory));
	EXPECT_EQ(-ENOTTY, call(self->device, _IOC(3, 'C', 1, 72), memory));
	EXPECT_EQ(-ENOTTY, call(self->device, 0, memory));
	EXPECT_EQ(-ENOTTY, call(self->device, 0xdeadbeef, memory));
}

/* The direction is part of the number. */
TEST_F(abi, wrong_directions)
{
	struct cenalloc_create create;
	unsigned int direction, nr;

	for (direction = 0; direction < 3; direction++) {
		good_create(&create);
		for (nr = 1; nr <= 6; nr++)
			EXPECT_EQ(-ENOTTY, call(self->device, _IOC(direction, CENALLOC_IOC_MAGIC,
								   nr, sizeof(create)), &create));
	}
}

TEST_F(abi, misaligned_structures)
{
	char memory[128];
	size_t offset;

	for (offset = 1; offset < 8; offset++) {
		struct cenalloc_allocators list = {
			.size = sizeof(struct cenalloc_allocator_info),
		};
		struct cenalloc_create create;

		good_create(memory + offset);
		EXPECT_EQ(0, call(self->device, CENALLOC_CREATE, memory + offset));
		memcpy(&create, memory + offset, sizeof(create));
		EXPECT_LT(0, create.fd);
		close(create.fd);

		memcpy(memory + offset, &list, sizeof(list));
		EXPECT_EQ(0, call(self->device, CENALLOC_ALLOCATORS, memory + offset));
		memcpy(&list, memory + offset, sizeof(list));
		EXPECT_LE(2, list.count);
	}
}

TEST_F(abi, structure_at_the_end_of_a_page)
{
	struct cenalloc_create *create;

	create = good_create(self->pages + PAGE - sizeof(*create));
	EXPECT_EQ(0, call(self->device, CENALLOC_CREATE, create));
	EXPECT_LT(0, create->fd);
	close(create->fd);
}

TEST_F(abi, structure_across_the_end_of_memory)
{
	size_t missing;

	for (missing = 1; missing <= sizeof(struct cenalloc_create); missing++) {
		char *at = self->pages + PAGE - sizeof(struct cenalloc_create) + missing;

		EXPECT_EQ(-EFAULT, call(self->device, CENALLOC_CREATE, at));
		if (missing <= sizeof(struct cenalloc_allocators)) {
			EXPECT_EQ(-EFAULT, call(self->device, CENALLOC_ALLOCATORS,
						self->pages + PAGE - 16 + missing));
		}
	}
}

TEST_F(abi, pointers_to_nowhere)
{
	const uintptr_t wrong[] = {
		0, 1, 4095, (uintptr_t)self->pages + PAGE,
		0x00007ffffffff000, 0x0000800000000000, 0x8000000000000000,
		0xffff888000000000, 0xffffffff81000000, -4096UL, -64UL, -1UL,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		EXPECT_EQ(-EFAULT, call(self->device, CENALLOC_CREATE, (void *)wrong[i])) {
			TH_LOG("pointer %#lx", wrong[i]);
		}
		EXPECT_EQ(-EFAULT, call(self->device, CENALLOC_ALLOCATORS, (void *)wrong[i])) {
			TH_LOG("pointer %#lx", wrong[i]);
		}
	}
}

TEST_F(abi, answer_cannot_be_written)
{
	int i;

	for (i = 0; i < 8; i++) {
		good_create(self->pages);
		ASSERT_EQ(0, mprotect(self->pages, PAGE, PROT_READ));
		EXPECT_EQ(-EFAULT, call(self->device, CENALLOC_CREATE, self->pages));
		ASSERT_EQ(0, mprotect(self->pages, PAGE, PROT_READ | PROT_WRITE));
	}
}

/* A call whose answer cannot be written has done nothing. */
TEST_F(abi, refusal_cannot_be_written)
{
	int fd = create(PAGE);
	const struct cenalloc_declare declares[] = {
		{ .fd = fd },
		{ .fd = fd, .constraints.max_address = 2 },
	};
	const struct cenalloc_allocate allocate = { .fd = fd };
	struct cenalloc_query query;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(declares); i++) {
		memcpy(self->pages, &declares[i], sizeof(declares[i]));
		ASSERT_EQ(0, mprotect(self->pages, PAGE, PROT_READ));
		EXPECT_EQ(-EFAULT, call(self->device, CENALLOC_DECLARE, self->pages));
		ASSERT_EQ(0, mprotect(self->pages, PAGE, PROT_READ | PROT_WRITE));
	}
	memcpy(self->pages, &allocate, sizeof(allocate));
	ASSERT_EQ(0, mprotect(self->pages, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, call(self->device, CENALLOC_ALLOCATE, self->pages));
	query = query_fields(fd);
	EXPECT_EQ(0, query.user_count | query.refusals);
	EXPECT_EQ(CENALLOC_STATE_EMPTY, query.state);
	close(fd);
}

#if defined(__x86_64__)
/* The 32-bit way into the kernel, with the same structure. */
TEST_F(abi, callers_with_32_bits)
{
	struct cenalloc_create *create;
	long ret;

	create = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)create);
	good_create(create);
	asm volatile("int $0x80" : "=a" (ret)
		     : "a" (54), "b" ((long)self->device), "c" (CENALLOC_CREATE), "d" (create)
		     : "memory", "r8", "r9", "r10", "r11");
	EXPECT_EQ(0, (int)ret);
	EXPECT_LT(0, create->fd);
	EXPECT_EQ(4096, lseek(create->fd, 0, SEEK_END));
	close(create->fd);
}
#endif

TEST_F(abi, device_files_cannot_be_read_or_mapped)
{
	char byte = 0;

	EXPECT_EQ(-1, read(self->device, &byte, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, write(self->device, &byte, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, self->device, 0));
	EXPECT_EQ(ENODEV, errno);
}

TEST_HARNESS_MAIN
