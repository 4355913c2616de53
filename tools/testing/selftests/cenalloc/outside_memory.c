// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of allocators of another module: the CPU's view of it, the devices' and
 * the kernel's, by the allocator's own operations and in the usual way; moves
 * from and to it; and all of that while allocators come and go.
 */

#include <pthread.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "kernel_api.h"

#define LEN	(256 * KIB)

FIXTURE(memory) {
	int outside;
	int importer;
	int driver;
	int handle;
	int fd;
};

FIXTURE_VARIANT(memory) {
	struct c_allocator_add add;
	bool has_ops;
	bool has_pages;
};

/* Everything in the usual way. */
FIXTURE_VARIANT_ADD(memory, plain) {
	.add = { .kind = C_ALLOCATOR_PLAIN },
	.has_pages = true,
};

/* Everything by operations of its own. */
FIXTURE_VARIANT_ADD(memory, pieces) {
	.add = { .kind = C_ALLOCATOR_PIECES },
	.has_ops = true,
	.has_pages = true,
};

/* Of several pieces, and in the usual way but for its table. */
FIXTURE_VARIANT_ADD(memory, pieces_without_operations) {
	.add = {
		.kind = C_ALLOCATOR_PIECES,
		.without = 1 << C_ALLOCATOR_PHYS | 1 << C_ALLOCATOR_MAP_KERNEL |
			   1 << C_ALLOCATOR_MAP_USER | 1 << C_ALLOCATOR_SYNC_FOR_DEVICE |
			   1 << C_ALLOCATOR_MATCH,
	},
	.has_pages = true,
};

/* One piece, of which cenalloc is told that it has no struct pages. */
FIXTURE_VARIANT_ADD(memory, no_pages) {
	.add = { .kind = C_ALLOCATOR_PIECES, .flags = 4 },
	.has_ops = true,
};

FIXTURE_VARIANT_ADD(memory, no_pages_without_operations) {
	.add = {
		.kind = C_ALLOCATOR_PIECES,
		.flags = 4,
		.without = 1 << C_ALLOCATOR_MAP_KERNEL | 1 << C_ALLOCATOR_MAP_USER |
			   1 << C_ALLOCATOR_SYNC_FOR_DEVICE | 1 << C_ALLOCATOR_MATCH,
	},
};

/* All of it has the class of the one allocator. */
FIXTURE_SETUP(memory)
{
	self->outside = open_outside();
	ASSERT_LE(0, self->outside);
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
	self->driver = open_driver();
	ASSERT_LE(0, self->driver);
	self->handle = add_outside(self->outside, variant->add);
	ASSERT_LE(0, self->handle);
	self->fd = create(LEN);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(memory)
{
	struct c_allocator_told told;

	close_range(self->outside + 1, ~0U, 0);
	EXPECT_EQ(0, settled_live(self->outside, self->handle, 0));
	told = tell(self->outside, self->handle);
	EXPECT_EQ(0, told.tables);
	EXPECT_EQ(0, told.addresses);
	EXPECT_EQ(0, remove_all_outside(self->outside));
	close(self->outside);
}

#define CALLS(op)	calls_of(self->outside, self->handle, C_ALLOCATOR_##op)

/* --- The CPU -------------------------------------------------------------- */

TEST_F(memory, of_userspace)
{
	char *memory = map_cpu(self->fd, LEN), *again = map_cpu(self->fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_NE(MAP_FAILED, again);
	EXPECT_EQ(0, CALLS(ALLOCATE));
	EXPECT_TRUE(is_filled(memory, 0, LEN));
	EXPECT_EQ(1, CALLS(ALLOCATE));
	EXPECT_STREQ("outside", buffer_field(self->fd, "allocator"));
	fill_bytes(memory, LEN, 3);
	EXPECT_EQ(0, wrong_bytes(again, LEN, 3));
	/* Two mappings, a fault a page. */
	EXPECT_EQ(variant->has_ops ? 2 * LEN / PAGE : 0, CALLS(MAP_USER));
	munmap(memory, LEN);
	munmap(again, LEN);
}

TEST_F(memory, of_userspace_behind_an_offset)
{
	char *memory = map_cpu(self->fd, LEN), *tail;

	ASSERT_NE(MAP_FAILED, memory);
	fill_bytes(memory, LEN, 5);
	tail = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, self->fd, LEN - PAGE);
	ASSERT_NE(MAP_FAILED, tail);
	EXPECT_EQ(0, memcmp(memory + LEN - PAGE, tail, PAGE));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, self->fd, LEN));
	munmap(tail, PAGE);
	munmap(memory, LEN);
}

TEST_F(memory, of_userspace_that_is_refused)
{
	char *memory = map_cpu(self->fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, set_fault(self->outside, self->handle, C_ALLOCATOR_BAD_USER, 0));
	EXPECT_EQ(variant->has_ops ? SIGBUS : 0, touch(memory, true));
	ASSERT_EQ(0, set_fault(self->outside, self->handle, C_ALLOCATOR_GOOD, 0));
	EXPECT_EQ(0, touch(memory, true));
	munmap(memory, LEN);
}

/* A fault may be tried twice; the memory for it is not. */
TEST_F(memory, of_userspace_that_is_not_there)
{
	unsigned int before = calls_of(self->outside, self->handle, C_ALLOCATOR_ALLOCATE);
	char *memory = map_cpu(self->fd, LEN);
	int i;

	ASSERT_NE(MAP_FAILED, memory);
	/* No other allocator stands in for it. */
	ASSERT_EQ(0, declare_needs(self->fd, "outside", NEEDS(.access_mask = OUTSIDE_CLASS)));
	ASSERT_EQ(0, set_fault(self->outside, self->handle, C_ALLOCATOR_FAIL, -ENOMEM));
	for (i = 1; i <= 3; i++) {
		EXPECT_EQ(SIGBUS, touch(memory, true));
		EXPECT_EQ(before + i,
			  calls_of(self->outside, self->handle, C_ALLOCATOR_ALLOCATE));
	}
	ASSERT_EQ(0, set_fault(self->outside, self->handle, C_ALLOCATOR_GOOD, 0));
	EXPECT_EQ(0, touch(memory, true));
	EXPECT_EQ(before + i, calls_of(self->outside, self->handle, C_ALLOCATOR_ALLOCATE));
	munmap(memory, LEN);
}

TEST_F(memory, of_the_kernel)
{
	char *memory = map_cpu(self->fd, LEN);

	ASSERT_EQ(0, driver_take(self->driver, self->fd));
	ASSERT_EQ(0, driver_fill(self->driver, 0x5c));
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_TRUE(is_filled(memory, 0x5c, LEN));
	EXPECT_EQ(variant->has_ops, CALLS(MAP_KERNEL));
	EXPECT_EQ(variant->has_ops, CALLS(UNMAP_KERNEL));
	munmap(memory, LEN);
}

/* --- Devices -------------------------------------------------------------- */

TEST_F(memory, of_devices)
{
	static struct mapping fine, bounded, coarse;
	int a = join(self->importer, self->fd, DEVICE(.max_segment_size = 8 * KIB));
	int b = join(self->importer, self->fd, DEVICE(.segment_boundary_mask = 16 * KIB - 1));
	int c = join(self->importer, self->fd, DEVICE());
	__u32 i;

	ASSERT_EQ(0, map(self->importer, a, &fine));
	ASSERT_EQ(0, map(self->importer, b, &bounded));
	ASSERT_EQ(0, map(self->importer, c, &coarse));
	ASSERT_STREQ("outside", buffer_field(self->fd, "allocator"));
	EXPECT_EQ(LEN / (8 * KIB), fine.count);
	EXPECT_EQ(LEN / (16 * KIB), bounded.count);
	EXPECT_GE(LEN / (64 * KIB), coarse.count);
	EXPECT_EQ(LEN, mapping_len(&coarse));
	EXPECT_TRUE(same_memory(&fine, &coarse));
	EXPECT_TRUE(same_memory(&bounded, &coarse));
	for (i = 0; i < bounded.count; i++)
		EXPECT_EQ(0, bounded.segments[i].address % (16 * KIB));
}

TEST_F(memory, within_what_devices_reach)
{
	static struct mapping low, one;
	int a = join(self->importer, self->fd, DEVICE(.dma_mask = BITS(32)));
	int b = join(self->importer, self->fd, DEVICE(.max_segments = 1));

	ASSERT_EQ(0, map(self->importer, a, &low));
	ASSERT_EQ(0, map(self->importer, b, &one));
	ASSERT_STREQ("outside", buffer_field(self->fd, "allocator"));
	EXPECT_GE(BITS(32), last_address(&low));
	EXPECT_EQ(1, one.count);
}

/* A device is told of by the allocator when it gets the memory, and after the CPU. */
TEST_F(memory, sync_for_device)
{
	int a = join(self->importer, self->fd, DEVICE(.name = "a"));
	int b = join(self->importer, self->fd, DEVICE(.name = "b"));
	struct c_allocator_told told;
	bool ops = variant->has_ops;

	ASSERT_EQ(0, map_for(self->importer, a, 1, NULL));
	told = tell(self->outside, self->handle);
	EXPECT_EQ(ops, told.calls[C_ALLOCATOR_SYNC_FOR_DEVICE]);
	EXPECT_EQ(ops ? 1 : 0, told.direction);
	ASSERT_EQ(0, map_for(self->importer, b, 2, NULL));
	told = tell(self->outside, self->handle);
	EXPECT_EQ(2 * ops, told.calls[C_ALLOCATOR_SYNC_FOR_DEVICE]);
	EXPECT_EQ(ops ? 2 : 0, told.direction);
	ASSERT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
	EXPECT_EQ(2 * ops, CALLS(SYNC_FOR_DEVICE));
	ASSERT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
	EXPECT_EQ(4 * ops, CALLS(SYNC_FOR_DEVICE));
	/* Who has it no more is not told of. */
	ASSERT_EQ(0, unmap(self->importer, b));
	ASSERT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
	ASSERT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
	told = tell(self->outside, self->handle);
	EXPECT_EQ(5 * ops, told.calls[C_ALLOCATOR_SYNC_FOR_DEVICE]);
	EXPECT_EQ(ops, !strncmp(told.device, "a.", 2));
}

/* --- Where it lies -------------------------------------------------------- */

TEST_F(memory, phys_and_table)
{
	int attachment = join(self->importer, self->fd, DEVICE(.max_segments = 1));
	struct c_importer_pages pages;
	struct c_importer_phys phys;
	struct mapping mapping;

	ASSERT_EQ(0, map(self->importer, attachment, &mapping));
	ASSERT_EQ(0, driver_take(self->driver, self->fd));
	ASSERT_EQ(0, driver_phys(self->driver, &phys));
	EXPECT_EQ(mapping.segments[0].address, phys.addr);
	EXPECT_EQ(LEN, phys.len);
	EXPECT_EQ(variant->has_pages ? 0 : -EINVAL, driver_pages(self->driver, 0, NULL, &pages));
}

/* What the allocator answers, where it answers: at first where it has no struct pages. */
TEST_F(memory, phys_that_fails)
{
	struct c_importer_phys phys = { .addr = 0x1234, .len = 0x5678 };
	bool asked = variant->add.kind == C_ALLOCATOR_PIECES &&
		     !(variant->add.without & 1 << C_ALLOCATOR_PHYS);
	const int codes[] = { -EIO, 1 };
	size_t i;

	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.max_segments = 1)));
	if (!variant->has_pages) {
		ASSERT_EQ(0, set_fault(self->outside, self->handle, C_ALLOCATOR_BAD_PHYS, -EIO));
		ASSERT_EQ(0, allocate(self->fd));
		EXPECT_STRNE("outside", buffer_field(self->fd, "allocator"));
		close(self->fd);
		self->fd = create(LEN);
		ASSERT_EQ(0, set_fault(self->outside, self->handle, C_ALLOCATOR_SHORT_PHYS, 0));
		ASSERT_EQ(0, allocate(self->fd));
		EXPECT_STRNE("outside", buffer_field(self->fd, "allocator"));
		EXPECT_EQ(2, CALLS(FREE));
		return;
	}
	ASSERT_EQ(0, allocate(self->fd));
	ASSERT_EQ(0, driver_take(self->driver, self->fd));
	for (i = 0; i < ARRAY_SIZE(codes) && asked; i++) {
		ASSERT_EQ(0, set_fault(self->outside, self->handle, C_ALLOCATOR_BAD_PHYS,
				       codes[i]));
		EXPECT_GT(0, driver_phys(self->driver, &phys));
		EXPECT_EQ(0x1234, phys.addr);
		EXPECT_EQ(0x5678, phys.len);
	}
	ASSERT_EQ(0, set_fault(self->outside, self->handle, C_ALLOCATOR_GOOD, 0));
	EXPECT_EQ(0, driver_phys(self->driver, &phys));
}

/* --- Moves ---------------------------------------------------------------- */

TEST_F(memory, moves_away)
{
	static struct mapping mapping;
	char *memory = map_cpu(self->fd, LEN);
	int low;

	ASSERT_NE(MAP_FAILED, memory);
	fill_bytes(memory, LEN, 11);
	ASSERT_EQ(0, set_fault(self->outside, self->handle, C_ALLOCATOR_FAIL, -ENOMEM));
	low = join(self->importer, self->fd, DEVICE(.dma_mask = BITS(32)));
	ASSERT_LE(0, low);
	EXPECT_STREQ("system", buffer_field(self->fd, "allocator"));
	/* It has its memory back while the buffer lives. */
	EXPECT_EQ(0, tell(self->outside, self->handle).live);
	EXPECT_EQ(1, CALLS(FREE));
	EXPECT_EQ(0, remove_outside(self->outside, self->handle));
	EXPECT_EQ(0, wrong_bytes(memory, LEN, 11));
	EXPECT_EQ(0, map(self->importer, low, &mapping));
	EXPECT_GE(BITS(32), last_address(&mapping));
	munmap(memory, LEN);
	self->handle = add_outside(self->outside, variant->add);
}

TEST_F(memory, moves_in)
{
	int other, fd;
	char *memory;

	ASSERT_EQ(0, remove_outside(self->outside, self->handle));
	fd = create(LEN);
	memory = map_cpu(fd, LEN);
	ASSERT_NE(MAP_FAILED, memory);
	fill_bytes(memory, LEN, 13);
	ASSERT_STREQ("system", buffer_field(fd, "allocator"));
	self->handle = add_outside(self->outside, variant->add);
	ASSERT_LE(0, self->handle);
	other = join(self->importer, fd, DEVICE(.access_mask = OUTSIDE_CLASS));
	ASSERT_LE(0, other);
	EXPECT_STREQ("outside", buffer_field(fd, "allocator"));
	EXPECT_EQ(1, buffer_number(fd, "relocations"));
	EXPECT_EQ(0, wrong_bytes(memory, LEN, 13));
	munmap(memory, LEN);
}

/* Within the same allocator. */
TEST_F(memory, moves_lower)
{
	char *memory = map_cpu(self->fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	fill_bytes(memory, LEN, 17);
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.dma_mask = BITS(32))));
	EXPECT_STREQ("outside", buffer_field(self->fd, "allocator"));
	EXPECT_EQ(2, CALLS(ALLOCATE));
	EXPECT_EQ(1, CALLS(FREE));
	EXPECT_EQ(0, wrong_bytes(memory, LEN, 17));
	munmap(memory, LEN);
}

/* A device has it: whoever comes has to take it, and it stays with its bytes. */
TEST_F(memory, does_not_move_while_it_is_mapped)
{
	int first = join(self->importer, self->fd, DEVICE());
	char *memory = map_cpu(self->fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	fill_bytes(memory, LEN, 19);
	ASSERT_EQ(0, map(self->importer, first, NULL));
	check_refused(_metadata, self->importer, self->fd, DEVICE(.dma_mask = BITS(32)), -EBUSY,
		      "*needs addresses below 4 GiB, the memory is at *");
	EXPECT_EQ(0, wrong_bytes(memory, LEN, 19));
	EXPECT_EQ(1, CALLS(ALLOCATE));
	munmap(memory, LEN);
}

int main(int argc, char **argv)
{
	return run_with_modules(argc, argv);
}
