// SPDX-License-Identifier: GPL-2.0
/* The layout of the ioctls of /dev/cenalloc: sizes, unknown tails, bad pointers. */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"

#define CREATE_OF(size)		_IOC(_IOC_READ | _IOC_WRITE, 'C', 0x01, size)
#define ALLOCATORS_OF(size)	_IOC(_IOC_READ | _IOC_WRITE, 'C', 0x02, size)

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

TEST(layout_of_create)
{
	EXPECT_EQ(64, sizeof(struct cenalloc_create));
	EXPECT_EQ(0, offsetof(struct cenalloc_create, len));
	EXPECT_EQ(8, offsetof(struct cenalloc_create, align));
	EXPECT_EQ(16, offsetof(struct cenalloc_create, fd_flags));
	EXPECT_EQ(20, offsetof(struct cenalloc_create, flags));
	EXPECT_EQ(24, offsetof(struct cenalloc_create, name));
	EXPECT_EQ(56, offsetof(struct cenalloc_create, fd));
	EXPECT_EQ(60, offsetof(struct cenalloc_create, reserved));
	EXPECT_EQ(0xc0404301, CENALLOC_CREATE);
}

TEST(layout_of_constraints)
{
	EXPECT_EQ(48, sizeof(struct cenalloc_constraints));
	EXPECT_EQ(0, offsetof(struct cenalloc_constraints, access_mask));
	EXPECT_EQ(8, offsetof(struct cenalloc_constraints, max_address));
	EXPECT_EQ(16, offsetof(struct cenalloc_constraints, max_segment_size));
	EXPECT_EQ(24, offsetof(struct cenalloc_constraints, segment_boundary_mask));
	EXPECT_EQ(32, offsetof(struct cenalloc_constraints, alignment));
	EXPECT_EQ(40, offsetof(struct cenalloc_constraints, max_segments));
	EXPECT_EQ(44, offsetof(struct cenalloc_constraints, priority));
	EXPECT_EQ(46, offsetof(struct cenalloc_constraints, flags));
}

TEST(layout_of_allocators)
{
	EXPECT_EQ(16, sizeof(struct cenalloc_allocators));
	EXPECT_EQ(0, offsetof(struct cenalloc_allocators, allocators));
	EXPECT_EQ(8, offsetof(struct cenalloc_allocators, count));
	EXPECT_EQ(12, offsetof(struct cenalloc_allocators, size));
	EXPECT_EQ(0xc0104302, CENALLOC_ALLOCATORS);

	EXPECT_EQ(64, sizeof(struct cenalloc_allocator_info));
	EXPECT_EQ(0, offsetof(struct cenalloc_allocator_info, name));
	EXPECT_EQ(32, offsetof(struct cenalloc_allocator_info, access_mask));
	EXPECT_EQ(40, offsetof(struct cenalloc_allocator_info, max_len));
	EXPECT_EQ(48, offsetof(struct cenalloc_allocator_info, used));
	EXPECT_EQ(56, offsetof(struct cenalloc_allocator_info, priority));
	EXPECT_EQ(60, offsetof(struct cenalloc_allocator_info, flags));
}

TEST_F(abi, shorter_than_first_version)
{
	struct cenalloc_allocators allocators = { .size = 64 };
	struct cenalloc_create create;
	size_t size;

	for (size = 0; size < sizeof(create); size++) {
		good_create(&create);
		EXPECT_EQ(-EINVAL, call(self->device, CREATE_OF(size), &create)) {
			TH_LOG("size %zu", size);
		}
	}
	for (size = 0; size < sizeof(allocators); size++) {
		EXPECT_EQ(-EINVAL, call(self->device, ALLOCATORS_OF(size), &allocators)) {
			TH_LOG("size %zu", size);
		}
	}
}

TEST_F(abi, longer_with_zero_tail)
{
	const size_t sizes[] = { 65, 72, 128, 1024, 4096, 16383 };
	static const char zero[16384];
	static char memory[16384];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct cenalloc_allocators *list = (void *)memory;
		struct cenalloc_create *create;

		memset(memory, 0, sizeof(memory));
		create = good_create(memory);
		EXPECT_EQ(0, call(self->device, CREATE_OF(sizes[i]), create));
		EXPECT_LT(0, create->fd);
		EXPECT_EQ(0, memcmp(create + 1, zero, sizes[i] - sizeof(*create)));
		close(create->fd);

		memset(memory, 0, sizeof(memory));
		list->size = sizeof(struct cenalloc_allocator_info);
		EXPECT_EQ(0, call(self->device, ALLOCATORS_OF(sizes[i]), list));
		EXPECT_LE(2, list->count);
	}
}

TEST_F(abi, longer_with_unknown_tail)
{
	static char memory[16384];
	struct cenalloc_allocators *list = (void *)memory;
	const size_t size = 128;
	size_t at;

	for (at = sizeof(struct cenalloc_create); at < size; at++) {
		memset(memory, 0, sizeof(memory));
		good_create(memory);
		memory[at] = 1;
		EXPECT_EQ(-E2BIG, call(self->device, CREATE_OF(size), memory)) {
			TH_LOG("byte %zu", at);
		}
	}
	memset(memory, 0, sizeof(memory));
	good_create(memory);
	memory[16382] = 1;
	EXPECT_EQ(-E2BIG, call(self->device, CREATE_OF(16383), memory));
	for (at = sizeof(*list); at < size; at++) {
		memset(memory, 0, sizeof(memory));
		list->size = sizeof(struct cenalloc_allocator_info);
		memory[at] = 1;
		EXPECT_EQ(-E2BIG, call(self->device, ALLOCATORS_OF(size), memory)) {
			TH_LOG("byte %zu", at);
		}
	}
}

TEST_F(abi, tail_that_cannot_be_read)
{
	void *at = self->pages + PAGE - sizeof(struct cenalloc_create);

	good_create(at);
	EXPECT_EQ(-EFAULT, call(self->device, CREATE_OF(128), at));
	EXPECT_EQ(-EFAULT, call(self->device, CREATE_OF(65), at));
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
		EXPECT_EQ(-ENOTTY, call(self->device, _IOC(3, 'C', nr, 64), memory)) {
			TH_LOG("number %u", nr);
		}
	}
	EXPECT_EQ(-ENOTTY, call(self->device, _IOC(3, 'H', 1, 64), memory));
	EXPECT_EQ(-ENOTTY, call(self->device, _IOC(3, 'c', 1, 64), memory));
	EXPECT_EQ(-ENOTTY, call(self->device, 0, memory));
	EXPECT_EQ(-ENOTTY, call(self->device, 0xdeadbeef, memory));
}

/* The direction is part of the number. */
TEST_F(abi, wrong_directions)
{
	struct cenalloc_create create;
	unsigned int direction;

	for (direction = 0; direction < 3; direction++) {
		good_create(&create);
		EXPECT_EQ(-ENOTTY, call(self->device, _IOC(direction, 'C', 1, 64), &create));
		EXPECT_EQ(-ENOTTY, call(self->device, _IOC(direction, 'C', 2, 16), &create));
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
