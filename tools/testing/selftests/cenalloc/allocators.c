// SPDX-License-Identifier: GPL-2.0
/* CENALLOC_ALLOCATORS: the list, short arrays, other sizes of an entry. */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "touch.h"

/* The size of an entry in the first version. */
#define ENTRY	88

static int list_into(void *array, __u32 count, __u32 size, __u32 *found)
{
	struct cenalloc_allocators list = {
		.allocators = (uintptr_t)array,
		.count = count,
		.size = size,
	};
	int device = open_device("/dev/cenalloc");
	int ret;

	if (device < 0)
		return device;
	ret = call(device, CENALLOC_ALLOCATORS, &list);
	close(device);
	*found = list.count;
	return ret;
}

TEST(count_alone)
{
	struct cenalloc_allocator_info list[ALLOCATORS];
	__u32 found = 0;

	ASSERT_EQ(0, list_into(NULL, 0, sizeof(list[0]), &found));
	EXPECT_LE(2, found);
	EXPECT_EQ((int)found, list_allocators(list));
	/* An array that is not there has room for nothing, whatever the count says. */
	found = 0;
	EXPECT_EQ(0, list_into(NULL, 1000, sizeof(list[0]), &found));
	EXPECT_EQ(list_allocators(list), (int)found);
}

TEST(system_and_system_contig)
{
	struct cenalloc_allocator_info system = find_allocator("system");
	struct cenalloc_allocator_info contig = find_allocator("system-contig");

	EXPECT_EQ(CENALLOC_CLASS_SYSTEM, system.access_mask);
	EXPECT_EQ(CENALLOC_ALLOCATOR_KNOWS_FREE, system.flags);
	/* The memory of the machine. */
	EXPECT_LE(1 * GIB, system.max_len);
	EXPECT_GE(1024 * GIB, system.max_len);
	EXPECT_EQ(CENALLOC_CLASS_SYSTEM_CONTIG, contig.access_mask);
	EXPECT_NE(0, contig.flags & CENALLOC_ALLOCATOR_CONTIGUOUS);
	EXPECT_EQ(4 * MIB, contig.max_len);
}

TEST(entries_are_well_formed)
{
	struct cenalloc_allocator_info list[ALLOCATORS];
	int i, j, count;

	memset(list, 0xff, sizeof(list));
	count = list_allocators(list);
	ASSERT_LE(2, count);
	for (i = 0; i < count; i++) {
		size_t len = strnlen(list[i].name, sizeof(list[i].name));

		EXPECT_LT(0, len);
		ASSERT_GT(sizeof(list[i].name), len);
		/* Nothing of the kernel's stack behind the name. */
		EXPECT_TRUE(is_filled(list[i].name + len, 0, sizeof(list[i].name) - len));
		EXPECT_NE(0, list[i].access_mask);
		EXPECT_NE(0, list[i].max_len);
		EXPECT_EQ(0, list[i].flags & ~(CENALLOC_ALLOCATOR_CONTIGUOUS |
					       CENALLOC_ALLOCATOR_KNOWS_FREE));
		for (j = 0; j < i; j++) {
			EXPECT_STRNE(list[j].name, list[i].name);
			EXPECT_GE(list[j].priority, list[i].priority);
		}
	}
	EXPECT_TRUE(is_filled(list + count, 0xff, (ALLOCATORS - count) * sizeof(list[0])));
}

TEST(short_array)
{
	struct cenalloc_allocator_info all[ALLOCATORS], one[2];
	__u32 found = 0;
	int count;

	count = list_allocators(all);
	memset(one, 0xff, sizeof(one));
	EXPECT_EQ(0, list_into(one, 1, sizeof(one[0]), &found));
	EXPECT_EQ(count, (int)found);
	EXPECT_STREQ(all[0].name, one[0].name);
	EXPECT_TRUE(is_filled(one + 1, 0xff, sizeof(one[1])));
}

TEST(array_of_no_entries)
{
	char byte = 0x55;
	__u32 found = 0;

	EXPECT_EQ(0, list_into(&byte, 0, ENTRY, &found));
	EXPECT_LE(2, found);
	EXPECT_EQ(0x55, byte);
}

TEST(entries_of_no_size)
{
	__u32 found = 0;

	/* Where none are written, their size does not matter. */
	EXPECT_EQ(0, list_into(NULL, 0, 0, &found));
	EXPECT_LE(2, found);
}

TEST(longer_entries)
{
	const __u32 sizes[] = { ENTRY + 8, 128, 4096 };
	struct cenalloc_allocator_info all[ALLOCATORS];
	static unsigned char memory[ALLOCATORS * 4096];
	__u32 found;
	int i, count;
	size_t s;

	count = list_allocators(all);
	ASSERT_LE(2, count);
	ASSERT_GT(ALLOCATORS, count);
	for (s = 0; s < ARRAY_SIZE(sizes); s++) {
		memset(memory, 0xff, sizeof(memory));
		EXPECT_EQ(0, list_into(memory, ALLOCATORS - 1, sizes[s], &found));
		for (i = 0; i < count; i++) {
			unsigned char *entry = memory + i * sizes[s];

			/* That changes all the time. */
			memcpy(&all[i].free, entry + offsetof(struct cenalloc_allocator_info, free),
			       sizeof(all[i].free));
			EXPECT_EQ(0, memcmp(entry, all + i, sizeof(all[0])));
			EXPECT_TRUE(is_filled(entry + sizeof(all[0]), 0,
					      sizes[s] - sizeof(all[0]))) {
				TH_LOG("size %u", sizes[s]);
			}
		}
		EXPECT_TRUE(is_filled(memory + count * sizes[s], 0xff, 64));
	}
}

TEST(wrong_entry_sizes)
{
	const __u32 wrong[] = {
		1, 4, 7, 8, 9, 64, ENTRY - 8, ENTRY - 1, ENTRY + 1, ENTRY + 4, 4095, 4097, 4104,
		0x80000000, 0xfffffff8,
	};
	static char memory[ALLOCATORS * 4096];
	__u32 found;
	size_t i;

	EXPECT_EQ(-EINVAL, list_into(memory, ALLOCATORS, 0, &found));
	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		EXPECT_EQ(-EINVAL, list_into(memory, ALLOCATORS, wrong[i], &found)) {
			TH_LOG("size %u", wrong[i]);
		}
		EXPECT_EQ(-EINVAL, list_into(NULL, 0, wrong[i], &found)) {
			TH_LOG("size %u", wrong[i]);
		}
	}
}

TEST(array_that_cannot_be_written)
{
	const uintptr_t wrong[] = {
		1, 4095, 0x0000800000000000, 0xffff888000000000, -4096UL, -64UL, -1UL,
	};
	void *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	__u32 found;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		EXPECT_EQ(-EFAULT, list_into((void *)wrong[i], ALLOCATORS, ENTRY, &found)) {
			TH_LOG("pointer %#lx", wrong[i]);
		}
	}
	ASSERT_NE(MAP_FAILED, page);
	EXPECT_EQ(-EFAULT, list_into(page, ALLOCATORS, ENTRY, &found));
	munmap(page, PAGE);
}

TEST(array_across_the_end_of_memory)
{
	char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	__u32 found;

	ASSERT_NE(MAP_FAILED, pages);
	ASSERT_EQ(0, mprotect(pages + PAGE, PAGE, PROT_NONE));
	EXPECT_EQ(0, list_into(pages + PAGE - ENTRY, 1, ENTRY, &found));
	EXPECT_EQ(-EFAULT, list_into(pages + PAGE - ENTRY, 2, ENTRY, &found));
	EXPECT_EQ(-EFAULT, list_into(pages + PAGE - ENTRY + 1, 1, ENTRY, &found));
	munmap(pages, 2 * PAGE);
}

TEST(huge_count)
{
	struct cenalloc_allocator_info list[ALLOCATORS];
	__u32 found = 0;

	EXPECT_EQ(0, list_into(list, -1U, sizeof(list[0]), &found));
	EXPECT_EQ(list_allocators(list), (int)found);
}

TEST(used_follows_the_buffers)
{
	__u64 system = find_allocator("system").used;
	__u64 contig = find_allocator("system-contig").used;
	int importer = open_importer();
	int a = create(3 * PAGE), b = create(MIB);
	int attachment;

	ASSERT_LE(0, importer);
	ASSERT_LE(0, a);
	ASSERT_LE(0, b);
	EXPECT_EQ(system, find_allocator("system").used);
	attachment = join(importer, a, DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM));
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(importer, attachment, NULL));
	EXPECT_EQ(system + 3 * PAGE, find_allocator("system").used);
	EXPECT_EQ(contig, find_allocator("system-contig").used);

	attachment = join(importer, b, DEVICE(.max_segments = 1));
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(importer, attachment, NULL));
	EXPECT_EQ(system + 3 * PAGE, find_allocator("system").used);
	EXPECT_EQ(contig + MIB, find_allocator("system-contig").used);

	close(importer);
	close(a);
	close(b);
	usleep(50000);
	EXPECT_EQ(system, find_allocator("system").used);
	EXPECT_EQ(contig, find_allocator("system-contig").used);
}

/* What is free changes all the time, but not by much, and is part of the whole. */
TEST(free_memory)
{
	struct cenalloc_allocator_info list[ALLOCATORS], before, now;
	int i, count = list_allocators(list), fd;

	for (i = 0; i < count; i++) {
		EXPECT_GE(GIB * 1024, list[i].free);
		if (!(list[i].flags & CENALLOC_ALLOCATOR_KNOWS_FREE))
			EXPECT_EQ(0, list[i].free);
	}
	before = find_allocator("system");
	EXPECT_LT(64 * MIB, before.free);
	EXPECT_GE(before.max_len, before.free);
	fd = create(512 * MIB);
	ASSERT_EQ(0, declare_needs(fd, "much", NEEDS(.access_mask = CENALLOC_CLASS_SYSTEM)));
	ASSERT_EQ(0, allocate(fd));
	now = find_allocator("system");
	EXPECT_GT(before.free - 256 * MIB, now.free);
	close(fd);
}

/* An area lies somewhere; what is no area lies nowhere. Without the right to know, none does. */
TEST(places_of_areas)
{
	struct cenalloc_allocator_info list[ALLOCATORS];
	int i, count = list_allocators(list);

	ASSERT_LE(2, count);
	for (i = 0; i < count; i++) {
		EXPECT_EQ(!list[i].start, !list[i].area_len);
		EXPECT_EQ(0, list[i].start % PAGE);
		EXPECT_EQ(0, list[i].area_len % PAGE);
		if (list[i].area_len) {
			EXPECT_GE(list[i].area_len, list[i].max_len);
			EXPECT_GE(list[i].area_len, list[i].used);
		}
	}
	EXPECT_EQ(0, find_allocator("system").area_len);
	EXPECT_EQ(0, find_allocator("system-contig").area_len);

	ASSERT_EQ(0, drop_admin());
	count = list_allocators(list);
	ASSERT_LE(2, count);
	for (i = 0; i < count; i++)
		EXPECT_EQ(0, list[i].start | list[i].area_len);
	EXPECT_LT(64 * MIB, find_allocator("system").free);
}

TEST_HARNESS_MAIN
