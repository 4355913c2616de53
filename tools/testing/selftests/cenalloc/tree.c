// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that a device tree reserves for cenalloc. For the guest "tree", whose
 * machine has the nodes of tree.dtso.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "engine.h"
#include "modules.h"
#include "places.h"

#define LEN	(64 * KIB)

FIXTURE(node) {};

FIXTURE_VARIANT(node) {
	const char *name;
	__u64 start;		/* 0 where the kernel has chosen it */
	__u64 len;
	bool has_struct_pages;
};

FIXTURE_VARIANT_ADD(node, bank) {
	.name = "bank@44000000",
	.start = 0x44000000,
	.len = 16 * MIB,
};

FIXTURE_VARIANT_ADD(node, ram) {
	.name = "ram@45000000",
	.start = 0x45000000,
	.len = 8 * MIB,
	.has_struct_pages = true,
};

FIXTURE_VARIANT_ADD(node, anywhere) {
	.name = "anywhere",
	.len = 4 * MIB,
	.has_struct_pages = true,
};

FIXTURE_SETUP(node)
{
	ASSERT_EQ(0, settled_used(variant->name, 0));
}

FIXTURE_TEARDOWN(node)
{
	EXPECT_EQ(0, settled_used(variant->name, 0));
}

/* A buffer of this node's memory, the others being full. */
static int take_of(const char *name, int *others, int *count)
{
	int fd;

	for (*count = 0; *count < 64; ++*count) {
		fd = take(MIB, OF_CARVEOUT());
		if (fd < 0 || !strcmp(name, query_fields(fd).allocator))
			return fd;
		others[*count] = fd;
	}
	return -1;
}

TEST_F(node, gives_its_memory)
{
	int others[64], count, fd = take_of(variant->name, others, &count);
	char *memory = map_cpu(fd, MIB);
	__u64 at;

	EXPECT_EQ(variant->len, find_allocator(variant->name).max_len);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(0, address(fd) % (2 * MIB));
	if (variant->start)
		EXPECT_EQ(variant->start, address(fd));
	for (at = 0; at < MIB; at++)
		ASSERT_EQ(0, memory[at]);
	EXPECT_EQ(0, cross_the_bus(fd, memory));
	munmap(memory, MIB);
	close_all(others, count);
	close(fd);
}

/* It is given once, and all of it. */
TEST_F(node, gives_all_of_it)
{
	int fds[64], count = take_all(fds, 64, MIB, OF_CARVEOUT());

	EXPECT_EQ((16 + 8 + 4), count);
	EXPECT_EQ(variant->len, find_allocator(variant->name).used);
	close_all(fds, count);
}

/* The kernel's memory is the kernel's in its list of resources, too. */
TEST_F(node, is_in_the_list_of_resources)
{
	static char text[64 * KIB];
	char range[64];

	if (!variant->start)
		SKIP(return, "nobody knows where it is");
	snprintf(range, sizeof(range), "%08llx-%08llx : cenalloc\n", variant->start,
		 variant->start + variant->len - 1);
	slurp("/proc/iomem", text, sizeof(text));
	EXPECT_EQ(!variant->has_struct_pages, !!strstr(text, range));
	EXPECT_EQ(1, count_regions());
}

TEST(nodes_that_are_passed_by)
{
	EXPECT_EQ(0, find_allocator("off@46000000").max_len);
	EXPECT_EQ(0, find_allocator("foreign@46200000").max_len);
	EXPECT_LT(64 * MIB, find_allocator("system").max_len);
	ASSERT_EQ(0, settled_buffers(0));
	ASSERT_EQ(0, unload_patiently("cenalloc"));
	EXPECT_EQ(0, count_regions());
	clear_kernel_log();
	ASSERT_EQ(0, load("cenalloc"));
	EXPECT_NE(NULL, strstr(kernel_log(), "carveout: system is not used: an allocator has"));
	EXPECT_EQ(1, count_regions());
	EXPECT_EQ(16 * MIB, find_allocator("bank@44000000").max_len);
}

TEST_HARNESS_MAIN
