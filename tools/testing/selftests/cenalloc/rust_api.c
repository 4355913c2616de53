// SPDX-License-Identifier: GPL-2.0
/* The crate cenalloc, as another module in Rust uses it. */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "kernel_api.h"
#include "cenalloc_rust_allocator.h"

#define POOL	(RUST_ALLOCATOR_PAGES * PAGE)

FIXTURE(pool) {
	int device;
	int importer;
};

FIXTURE_SETUP(pool)
{
	self->device = open_device("/dev/cenalloc_rust_allocator");
	ASSERT_LE(0, self->device);
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
}

FIXTURE_TEARDOWN(pool)
{
	close_range(self->device, ~0U, 0);
	EXPECT_EQ(0, settled_buffers(0));
	EXPECT_EQ(0, find_allocator("rust-pool").used);
}

#define ONLY_POOL(...)	DEVICE(.access_mask = RUST_ALLOCATOR_CLASS, __VA_ARGS__)

TEST_F(pool, is_in_the_list)
{
	struct cenalloc_allocator_info found = find_allocator("rust-pool");

	EXPECT_EQ(RUST_ALLOCATOR_CLASS, found.access_mask);
	EXPECT_EQ(POOL, found.max_len);
	EXPECT_EQ(50, found.priority);
	EXPECT_EQ(0, found.flags);
	EXPECT_EQ(0, found.used);
}

TEST_F(pool, gives_memory)
{
	static struct mapping mapping;
	int fd = create(64 * KIB), attachment = join(self->importer, fd, ONLY_POOL());
	char *memory = map_cpu(fd, 64 * KIB);

	ASSERT_LE(0, attachment);
	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, map(self->importer, attachment, &mapping));
	EXPECT_STREQ("rust-pool", buffer_field(fd, "allocator"));
	EXPECT_EQ(64 * KIB, find_allocator("rust-pool").used);
	EXPECT_EQ(64 * KIB, mapping_len(&mapping));
	EXPECT_TRUE(is_filled(memory, 0, 64 * KIB));
	fill_bytes(memory, 64 * KIB, 23);
	EXPECT_EQ(0, wrong_bytes(memory, 64 * KIB, 23));
	munmap(memory, 64 * KIB);
}

/* All pages come back, and are zeroed for the next. */
TEST_F(pool, takes_memory_back)
{
	int round;

	for (round = 0; round < 8; round++) {
		int importer = open_importer(), fd = create(POOL), other = create(PAGE);
		int attachment = join(importer, fd, ONLY_POOL());
		int too_many = join(importer, other, ONLY_POOL());
		char *memory = map_cpu(fd, POOL);

		ASSERT_EQ(0, map(importer, attachment, NULL));
		EXPECT_EQ(-ENOMEM, map(importer, too_many, NULL));
		ASSERT_NE(MAP_FAILED, memory);
		EXPECT_TRUE(is_filled(memory, 0, POOL));
		memset(memory, 0x77, POOL);
		munmap(memory, POOL);
		close(importer);
		close(other);
		close(fd);
		ASSERT_EQ(0, settled_buffers(0));
	}
}

TEST_F(pool, says_what_it_cannot)
{
	struct cenalloc_query told;
	int fd = create(2 * PAGE);

	EXPECT_EQ(-EINVAL, join(self->importer, create(POOL + PAGE), ONLY_POOL()));
	EXPECT_EQ(-EINVAL, join(self->importer, fd, ONLY_POOL(.alignment = 2 * PAGE)));
	told = query_fields(fd);
	EXPECT_EQ(CENALLOC_FIELD_ALIGNMENT, told.refusal.field);
	EXPECT_EQ(PAGE, told.refusal.found);
	EXPECT_EQ(-EINVAL, join(self->importer, fd, ONLY_POOL(.max_segments = 1)));
	told = query_fields(fd);
	EXPECT_EQ(CENALLOC_FIELD_MAX_SEGMENTS, told.refusal.field);
	EXPECT_EQ(2, told.refusal.found);
	EXPECT_EQ(-EINVAL, join(self->importer, fd, ONLY_POOL(.max_address = BITS(24))));
	told = query_fields(fd);
	EXPECT_EQ(CENALLOC_FIELD_MAX_ADDRESS, told.refusal.field);
	EXPECT_STREQ("rust-pool", told.refusal.other);
	EXPECT_LE(0, join(self->importer, fd, ONLY_POOL(.max_segments = 2)));
}

TEST_F(pool, handle)
{
	struct rust_allocator_buffer buffer = { .len = 64 * KIB + 1, .align = 64 * KIB };
	char *memory;

	ASSERT_EQ(0, call(self->device, RUST_ALLOCATOR_CREATE, &buffer));
	EXPECT_EQ((off_t)(64 * KIB + PAGE), lseek(buffer.fd, 0, SEEK_END));
	EXPECT_EQ(0, buffer.start % (64 * KIB));
	EXPECT_NE(0, buffer.runs);
	EXPECT_EQ(CENALLOC_STATE_BACKED, query_fields(buffer.fd).state);
	memory = map_cpu(buffer.fd, 64 * KIB);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(0, touch(memory, true));
	munmap(memory, 64 * KIB);
	/* Its runs were told: it stays. */
	ASSERT_LE(1ULL << 32, buffer.start);
	EXPECT_EQ(-EBUSY, join(self->importer, buffer.fd, DEVICE(.dma_mask = BITS(32))));
}

TEST_F(pool, bad_input)
{
	struct rust_allocator_buffer none = {}, crooked = { .len = PAGE, .align = 3 };
	struct rust_allocator_buffer huge = { .len = -1ULL };

	EXPECT_EQ(-EINVAL, call(self->device, RUST_ALLOCATOR_CREATE, &none));
	EXPECT_EQ(-EINVAL, call(self->device, RUST_ALLOCATOR_CREATE, &crooked));
	EXPECT_EQ(-EINVAL, call(self->device, RUST_ALLOCATOR_CREATE, &huge));
	EXPECT_EQ(-EFAULT, call(self->device, RUST_ALLOCATOR_CREATE, NULL));
	EXPECT_EQ(-ENOTTY, call_number(self->device, _IO('R', 2), 0));
}

TEST_F(pool, module_stays_while_a_buffer_has_its_memory)
{
	int fd = create(PAGE);

	ASSERT_LE(0, join(self->importer, fd, ONLY_POOL()));
	ASSERT_EQ(0, allocate(fd));
	close(self->device);
	/* The buffer alone. */
	EXPECT_EQ(1, settled_module_users("cenalloc_rust_allocator", 1));
	EXPECT_EQ(-EWOULDBLOCK, unload("cenalloc_rust_allocator"));
	close(self->importer);
	close(fd);
	EXPECT_EQ(0, unload_patiently("cenalloc_rust_allocator"));
	EXPECT_STREQ("", find_allocator("rust-pool").name);
	ASSERT_EQ(0, load("cenalloc_rust_allocator"));
	self->device = open_device("/dev/cenalloc_rust_allocator");
	ASSERT_LE(0, self->device);
}

int main(int argc, char **argv)
{
	return run_with_modules(argc, argv);
}
