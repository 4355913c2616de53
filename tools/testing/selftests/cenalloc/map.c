// SPDX-License-Identifier: GPL-2.0
/* What a device is given when it maps: segments that keep each of its limits. */

#include <linux/dma-heap.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"

#define BUFFER_LEN	(1 * MIB)
#include "buffer_fixture.h"

static struct mapping one, two;

/* --- Each limit, alone and together --------------------------------------- */

FIXTURE(limits) {
	int fd;
	int importer;
};

FIXTURE_VARIANT(limits) {
	__u64 len;
	__u64 align;
	struct importer_add device;
	const char *allocator;
};

FIXTURE_VARIANT_ADD(limits, none) {
	.len = 1 * MIB,
	.allocator = "system",
};

FIXTURE_VARIANT_ADD(limits, one_page) {
	.len = 4 * KIB,
	.allocator = "system",
};

FIXTURE_VARIANT_ADD(limits, large) {
	.len = 12 * MIB + 4 * KIB,
	.allocator = "system",
};

FIXTURE_VARIANT_ADD(limits, dma_mask_32) {
	.len = 1 * MIB,
	.device.dma_mask = BITS(32),
	.allocator = "system",
};

FIXTURE_VARIANT_ADD(limits, dma_mask_28) {
	.len = 1 * MIB,
	.device.LIMIT = LOW(28),
	.allocator = "system",
};

FIXTURE_VARIANT_ADD(limits, dma_mask_24) {
	.len = 256 * KIB,
	.device.LIMIT = LOW(24),
	.allocator = "system",
};

FIXTURE_VARIANT_ADD(limits, address_declared) {
	.len = 2 * MIB,
	.device.max_address = 0x4fffffff,
	.allocator = "system",
};

FIXTURE_VARIANT_ADD(limits, contiguous) {
	.len = 1 * MIB,
	.device.max_segments = 1,
	.allocator = "system-contig",
};

FIXTURE_VARIANT_ADD(limits, contiguous_no_power_of_two) {
	.len = 700 * KIB,
	.device.max_segments = 1,
	.allocator = "system-contig",
};

FIXTURE_VARIANT_ADD(limits, contiguous_longest) {
	.len = 4 * MIB,
	.device.max_segments = 1,
	.allocator = "system-contig",
};

FIXTURE_VARIANT_ADD(limits, contiguous_28) {
	.len = 2 * MIB,
	.device.max_segments = 1,
	.device.LIMIT = LOW(28),
	.allocator = "system-contig",
};

FIXTURE_VARIANT_ADD(limits, contiguous_by_class) {
	.len = 64 * KIB,
	.device.access_mask = CENALLOC_CLASS_SYSTEM_CONTIG,
	.allocator = "system-contig",
};

FIXTURE_VARIANT_ADD(limits, segment_of_one_page) {
	.len = 1 * MIB + 4 * KIB,
	.device.max_segment_size = 4 * KIB,
	.allocator = "system",
};

FIXTURE_VARIANT_ADD(limits, segment_size) {
	.len = 1 * MIB,
	.device.max_segment_size = 64 * KIB,
	.allocator = "system",
};

FIXTURE_VARIANT_ADD(limits, segment_size_no_whole_pages) {
	.len = 1 * MIB,
	.device.max_segment_size = 64 * KIB - 1,
	.allocator = "system",
};

FIXTURE_VARIANT_ADD(limits, segment_size_fact) {
	.len = 1 * MIB,
	.device.parms_max_segment_size = 12 * KIB,
	.allocator = "system",
};

FIXTURE_VARIANT_ADD(limits, boundary) {
	.len = 1 * MIB + 12 * KIB,
	.device.segment_boundary_mask = BITS(16),
	.allocator = "system",
};

FIXTURE_VARIANT_ADD(limits, boundary_fact) {
	.len = 1 * MIB,
	.device.parms_segment_boundary_mask = BITS(15),
	.allocator = "system",
};

FIXTURE_VARIANT_ADD(limits, boundary_of_4_gib) {
	.len = 4 * MIB,
	.device.segment_boundary_mask = BITS(32),
	.allocator = "system",
};

FIXTURE_VARIANT_ADD(limits, alignment) {
	.len = 1 * MIB,
	.device.alignment = 64 * KIB,
	.allocator = "system",
};

FIXTURE_VARIANT_ADD(limits, alignment_and_a_rest) {
	.len = 1 * MIB + 4 * KIB,
	.device.alignment = 64 * KIB,
	.allocator = "system",
};

FIXTURE_VARIANT_ADD(limits, alignment_of_creator) {
	.len = 1 * MIB,
	.align = 256 * KIB,
	.allocator = "system",
};

FIXTURE_VARIANT_ADD(limits, alignment_longer_than_buffer) {
	.len = 36 * KIB,
	.device.alignment = 64 * KIB,
	.allocator = "system",
};

FIXTURE_VARIANT_ADD(limits, contiguous_aligned) {
	.len = 516 * KIB,
	.align = 1 * MIB,
	.device.max_segments = 1,
	.allocator = "system-contig",
};

FIXTURE_VARIANT_ADD(limits, few_segments) {
	.len = 256 * KIB,
	.device.max_segments = 3,
};

FIXTURE_VARIANT_ADD(limits, exactly_as_many_segments) {
	.len = 256 * KIB,
	.device.max_segments = 4,
	.device.max_segment_size = 64 * KIB,
};

FIXTURE_VARIANT_ADD(limits, all_together) {
	.len = 512 * KIB,
	.device.dma_mask = BITS(32),
	.device.max_address = LOW(30),
	.device.max_segment_size = 128 * KIB,
	.device.parms_max_segment_size = 96 * KIB,
	.device.segment_boundary_mask = BITS(17),
	.device.alignment = 32 * KIB,
	.device.max_segments = 12,
	.device.access_mask = 0x3,
};

FIXTURE_SETUP(limits)
{
	self->fd = create_aligned(variant->len, variant->align);
	ASSERT_LE(0, self->fd);
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
}

FIXTURE_TEARDOWN(limits)
{
	close(self->importer);
	close(self->fd);
}

/* The limit in a field where zero is none. */
static __u64 limit(__u64 value)
{
	return value ? value : ~0ULL;
}

static void check_limits(struct __test_metadata *_metadata, const struct mapping *mapping,
			 const struct importer_add *device, __u64 align, __u64 len)
{
	__u64 boundary = limit(device->segment_boundary_mask);
	__u32 i;

	if (device->alignment > align)
		align = device->alignment;
	if (align < PAGE)
		align = PAGE;
	if (device->parms_segment_boundary_mask)
		boundary = device->parms_segment_boundary_mask;

	ASSERT_LE(1, mapping->count);
	EXPECT_LE(mapping->count, limit(device->max_segments));
	EXPECT_EQ(len, mapping_len(mapping));
	EXPECT_LE(last_address(mapping), limit(device->dma_mask));
	EXPECT_LE(last_address(mapping), limit(device->max_address));
	for (i = 0; i < mapping->count; i++) {
		const struct importer_segment *segment = &mapping->segments[i];
		__u64 last = segment->address + segment->len - 1;

		EXPECT_NE(0, segment->len);
		EXPECT_EQ(0, segment->len % PAGE);
		EXPECT_EQ(0, segment->address & (align - 1));
		EXPECT_LE(segment->len, limit(device->max_segment_size));
		EXPECT_LE(segment->len, limit(device->parms_max_segment_size));
		EXPECT_EQ(segment->address & ~boundary, last & ~boundary) {
			TH_LOG("segment %u: %#llx, %#llx bytes", i, segment->address, segment->len);
		}
	}
}

TEST_F(limits, kept)
{
	int attachment = join(self->importer, self->fd, variant->device);

	ASSERT_LE(0, attachment);
	EXPECT_STREQ("empty", buffer_field(self->fd, "state"));
	ASSERT_EQ(0, map(self->importer, attachment, &one));
	check_limits(_metadata, &one, &variant->device, variant->align, variant->len);
	EXPECT_STREQ("backed", buffer_field(self->fd, "state"));
	EXPECT_EQ(1, buffer_number(self->fd, "maps"));
	if (variant->allocator)
		EXPECT_STREQ(variant->allocator, buffer_field(self->fd, "allocator"));
}

/* The same for a table of memory that another device brought about. */
TEST_F(limits, kept_by_a_second_device)
{
	int first = join(self->importer, self->fd, DEVICE());
	int second = join(self->importer, self->fd, variant->device);

	ASSERT_LE(0, first);
	ASSERT_LE(0, second);
	ASSERT_EQ(0, map(self->importer, first, &one));
	ASSERT_EQ(0, map(self->importer, second, &two));
	check_limits(_metadata, &two, &variant->device, variant->align, variant->len);
	EXPECT_TRUE(same_memory(&one, &two));
}

/* --- Maps of one buffer --------------------------------------------------- */

TEST_F(buffer, first_map_allocates)
{
	int attachment = join(self->importer, self->fd, DEVICE());

	ASSERT_LE(0, attachment);
	EXPECT_STREQ("empty", buffer_field(self->fd, "state"));
	EXPECT_STREQ("-", buffer_field(self->fd, "allocator"));
	ASSERT_EQ(0, map(self->importer, attachment, NULL));
	EXPECT_STREQ("backed", buffer_field(self->fd, "state"));
	EXPECT_EQ(1, buffer_number(self->fd, "maps"));
	ASSERT_EQ(0, unmap(self->importer, attachment));
	EXPECT_STREQ("backed", buffer_field(self->fd, "state"));
	EXPECT_EQ(0, buffer_number(self->fd, "maps"));
}

/* Nobody asks for one range, and memory is there for it: lengths of frames, held at once. */
TEST(one_range_unless_it_is_dear)
{
	const __u64 lens[] = { 3 * PAGE, 172800, 921600, 2457600, 3686400, 4 * MIB };
	const struct importer_add any = DEVICE(), low = DEVICE(.dma_mask = BITS(32));
	int importer = open_importer(), fds[16];
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		int single = 0;

		for (j = 0; j < ARRAY_SIZE(fds); j++) {
			int attachment;

			fds[j] = create(lens[i]);
			attachment = join(importer, fds[j], j % 2 ? any : low);
			ASSERT_EQ(0, map(importer, attachment, &one));
			single += one.count == 1;
			EXPECT_STREQ("system", buffer_field(fds[j], "allocator"));
			ASSERT_EQ(0, detach(importer, attachment));
		}
		EXPECT_EQ(ARRAY_SIZE(fds), single) {
			TH_LOG("%llu bytes", lens[i]);
		}
		for (j = 0; j < ARRAY_SIZE(fds); j++)
			close(fds[j]);
	}
	close(importer);
}

TEST_F(buffer, mapped_in_debugfs)
{
	int attachment = join(self->importer, self->fd, DEVICE());
	char lines[LINE];

	ASSERT_LE(0, attachment);
	EXPECT_STREQ("0", field(device_lines(self->fd, lines, sizeof(lines)), "mapped"));
	ASSERT_EQ(0, map(self->importer, attachment, NULL));
	EXPECT_STREQ("1", field(device_lines(self->fd, lines, sizeof(lines)), "mapped"));
	ASSERT_EQ(0, unmap(self->importer, attachment));
	EXPECT_STREQ("0", field(device_lines(self->fd, lines, sizeof(lines)), "mapped"));
}

TEST_F(buffer, memory_fits_all_who_attached_before)
{
	int wide = join(self->importer, self->fd, DEVICE());
	int low = join(self->importer, self->fd, DEVICE(.LIMIT = LOW(28)));
	int linear = join(self->importer, self->fd, DEVICE(.max_segments = 1));

	/* The one without needs maps first. */
	ASSERT_EQ(0, map(self->importer, wide, &one));
	EXPECT_EQ(1, one.count);
	EXPECT_LE(last_address(&one), LOW(28));
	EXPECT_EQ(0, map(self->importer, low, &two));
	EXPECT_TRUE(same_memory(&one, &two));
	EXPECT_EQ(0, map(self->importer, linear, &two));
	EXPECT_TRUE(same_memory(&one, &two));
	EXPECT_EQ(3, buffer_number(self->fd, "maps"));
}

TEST_F(buffer, who_detached_before_the_map_does_not_count)
{
	int low = join(self->importer, self->fd, DEVICE(.LIMIT = LOW(28), .max_segments = 1));
	int wide = join(self->importer, self->fd, DEVICE());

	ASSERT_EQ(0, detach(self->importer, low));
	ASSERT_EQ(0, map(self->importer, wide, &one));
	EXPECT_LE(1ULL << 32, last_address(&one));
	EXPECT_STREQ("system", buffer_field(self->fd, "allocator"));
}

TEST_F(buffer, two_cuts_of_one_memory)
{
	int fine = join(self->importer, self->fd, DEVICE(.max_segment_size = 4096));
	int odd = join(self->importer, self->fd,
		       DEVICE(.max_segment_size = 20480, .segment_boundary_mask = 0xffff));

	ASSERT_EQ(0, map(self->importer, fine, &one));
	ASSERT_EQ(0, map(self->importer, odd, &two));
	EXPECT_EQ(256, one.count);
	EXPECT_LE(52, two.count);
	EXPECT_GT(256, two.count);
	EXPECT_TRUE(same_memory(&one, &two));
}

TEST_F(buffer, mapped_again)
{
	int attachment = join(self->importer, self->fd, DEVICE());
	int i;

	ASSERT_EQ(0, map(self->importer, attachment, &one));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, unmap(self->importer, attachment));
		ASSERT_EQ(0, map_for(self->importer, attachment, i, &two));
		EXPECT_TRUE(same_memory(&one, &two));
		EXPECT_EQ(1, buffer_number(self->fd, "maps"));
	}
}

TEST_F(buffer, attached_again)
{
	int attachment = join(self->importer, self->fd, DEVICE());

	ASSERT_EQ(0, map(self->importer, attachment, &one));
	/* Detaching unmaps. */
	ASSERT_EQ(0, detach(self->importer, attachment));
	EXPECT_EQ(0, buffer_number(self->fd, "maps"));
	EXPECT_STREQ("backed", buffer_field(self->fd, "state"));
	attachment = join(self->importer, self->fd, DEVICE(.max_segment_size = 8192));
	ASSERT_EQ(0, map(self->importer, attachment, &two));
	EXPECT_TRUE(same_memory(&one, &two));
}

TEST_F(buffer, two_buffers_share_no_memory)
{
	int other = create(1 * MIB);
	__u32 i, j;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, map(self->importer, join(self->importer, self->fd, DEVICE()), &one));
	ASSERT_EQ(0, map(self->importer, join(self->importer, other, DEVICE()), &two));
	for (i = 0; i < one.count; i++)
		for (j = 0; j < two.count; j++) {
			EXPECT_TRUE(one.segments[i].address >=
				    two.segments[j].address + two.segments[j].len ||
				    two.segments[j].address >=
				    one.segments[i].address + one.segments[i].len);
		}
	close(other);
}

TEST_F(buffer, device_without_dma_cannot_map)
{
	int cpu = join(self->importer, self->fd, DEVICE(.flags = IMPORTER_NO_DMA));
	int device;

	ASSERT_LE(0, cpu);
	EXPECT_EQ(-ENODEV, map(self->importer, cpu, NULL));
	EXPECT_STREQ("empty", buffer_field(self->fd, "state"));
	EXPECT_EQ(0, buffer_number(self->fd, "maps"));
	/* Nor is it in the way of others. */
	device = join(self->importer, self->fd, DEVICE());
	EXPECT_EQ(0, map(self->importer, device, NULL));
	EXPECT_EQ(-ENODEV, map(self->importer, cpu, NULL));
	EXPECT_EQ(1, buffer_number(self->fd, "maps"));
}

/* Nor does the importer let it map what others export: the DMA API forbids it. */
TEST_F(buffer, device_without_dma_cannot_map_from_a_heap)
{
	struct dma_heap_allocation_data data = { .len = PAGE, .fd_flags = O_RDWR | O_CLOEXEC };
	int heap = open_device("/dev/dma_heap/system");
	int attachment;

	if (heap < 0)
		SKIP(return, "there is no system heap");
	ASSERT_EQ(0, call(heap, DMA_HEAP_IOCTL_ALLOC, &data));
	attachment = join(self->importer, data.fd, DEVICE(.flags = IMPORTER_NO_DMA));
	ASSERT_LE(0, attachment);
	EXPECT_EQ(-ENODEV, map(self->importer, attachment, NULL));
	EXPECT_EQ(0, detach(self->importer, attachment));
	attachment = join(self->importer, data.fd, DEVICE());
	ASSERT_LE(0, attachment);
	EXPECT_EQ(0, map(self->importer, attachment, NULL));
	EXPECT_EQ(0, detach(self->importer, attachment));
	close(data.fd);
	close(heap);
}

/* --- 64 KiB, the segment size of a device that never said anything --------- */

#define UNSAID	.parms_max_segment_size = 64 * KIB

/* As far as the DMA addresses follow each other, as videobuf2 and DRM look at it. */
static __u64 contiguous_len(const struct mapping *mapping)
{
	__u64 next = mapping->segments[0].address;
	__u32 i;

	for (i = 0; i < mapping->count && mapping->segments[i].address == next; i++)
		next += mapping->segments[i].len;
	return next - mapping->segments[0].address;
}

/* The DMA API is given no longer ones, and the memory is still one range. */
TEST_F(buffer, default_segment_size_cuts_the_table)
{
	int linear = join(self->importer, self->fd, DEVICE(.max_segments = 1));
	int unsaid = join(self->importer, self->fd, DEVICE(UNSAID));
	__u32 i;

	ASSERT_EQ(0, map(self->importer, linear, &one));
	ASSERT_EQ(1, one.count);
	ASSERT_EQ(0, map(self->importer, unsaid, &two));
	EXPECT_EQ(BUFFER_LEN / (64 * KIB), two.count);
	for (i = 0; i < two.count; i++)
		EXPECT_GE(64 * KIB, two.segments[i].len);
	EXPECT_EQ(BUFFER_LEN, contiguous_len(&two));
	EXPECT_TRUE(same_memory(&one, &two));
}

/* Who takes few segments has said that they may be longer. */
TEST_F(buffer, few_segments_are_longer_than_the_default)
{
	int two_of_them = join(self->importer, self->fd, DEVICE(UNSAID, .max_segments = 2));
	int linear = join(self->importer, self->fd, DEVICE(UNSAID, .max_segments = 1));

	ASSERT_EQ(0, map(self->importer, linear, &one));
	EXPECT_EQ(1, one.count);
	EXPECT_EQ(BUFFER_LEN, mapping_len(&one));
	ASSERT_EQ(0, map(self->importer, two_of_them, &two));
	EXPECT_GE(2, two.count);
	EXPECT_TRUE(same_memory(&one, &two));
}

TEST_F(buffer, without_memory_in_reach)
{
	int fd = create(LOW_MEMORY);
	int low, wide;

	ASSERT_LE(0, fd);
	low = join(self->importer, fd, DEVICE(.LIMIT = LOW(24)));
	ASSERT_LE(0, low);
	EXPECT_EQ(-ENOMEM, map(self->importer, low, NULL));
	EXPECT_STREQ("empty", buffer_field(fd, "state"));
	/* Without the device in need there is plenty. */
	ASSERT_EQ(0, detach(self->importer, low));
	wide = join(self->importer, fd, DEVICE());
	ASSERT_LE(0, wide);
	EXPECT_EQ(0, map(self->importer, wide, NULL));
	close(fd);
}

TEST_F(buffer, memory_that_was_given_back_is_there_again)
{
	int i;

	/* In all more than there is in reach of the device. */
	for (i = 0; i < 32; i++) {
		int fd = create(10 * MIB);
		int attachment = join(self->importer, fd, DEVICE(.LIMIT = LOW(28)));

		ASSERT_LE(0, attachment);
		ASSERT_EQ(0, map(self->importer, attachment, NULL));
		ASSERT_EQ(0, detach(self->importer, attachment));
		close(fd);
	}
}

TEST_HARNESS_MAIN
