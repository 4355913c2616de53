// SPDX-License-Identifier: GPL-2.0
/*
 * Who may share a buffer: how needs narrow it and widen it again, and who is
 * refused, with which error and which reason.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "modules.h"

#define BUFFER_LEN	(64 * KIB)
#include "buffer_fixture.h"

#define EXPECT_NEEDS(fd, classes, below, segments, align) do {	\
	int _fd = (fd);						\
								\
	EXPECT_STREQ(classes, buffer_field(_fd, "class"));	\
	EXPECT_STREQ(below, buffer_field(_fd, "below"));	\
	EXPECT_STREQ(segments, buffer_field(_fd, "segments"));	\
	EXPECT_STREQ(align, buffer_field(_fd, "align"));	\
} while (0)

/* --- An empty buffer: narrowed by each user ------------------------------- */

TEST_F(buffer, unrestricted_device_adds_nothing)
{
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE()));
	EXPECT_NEEDS(self->fd, "any", "any", "any", "1");
	EXPECT_EQ(1, buffer_number(self->fd, "users"));
	EXPECT_STREQ("empty", buffer_field(self->fd, "state"));
}

TEST_F(buffer, dma_mask_narrows)
{
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.dma_mask = BITS(40))));
	EXPECT_STREQ("2^40", buffer_field(self->fd, "below"));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.dma_mask = BITS(32))));
	EXPECT_STREQ("2^32", buffer_field(self->fd, "below"));
	/* A wider one changes nothing. */
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.dma_mask = BITS(36))));
	EXPECT_NEEDS(self->fd, "any", "2^32", "any", "1");
	EXPECT_EQ(3, buffer_number(self->fd, "users"));
}

TEST_F(buffer, declared_address_meets_dma_mask)
{
	EXPECT_LE(0, join(self->importer, self->fd,
			  DEVICE(.dma_mask = BITS(32), .max_address = LOW(28))));
	EXPECT_STREQ(below(LOW(28)), buffer_field(self->fd, "below"));
}

TEST_F(buffer, address_no_power_of_two)
{
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.max_address = 0x13fffffff)));
	EXPECT_STREQ("0x140000000", buffer_field(self->fd, "below"));
}

TEST_F(buffer, access_masks_are_anded)
{
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = 0xf)));
	EXPECT_STREQ("system,system-contig,cma,dma-coherent", buffer_field(self->fd, "class"));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = 0x1b)));
	EXPECT_STREQ("system,system-contig,dma-coherent", buffer_field(self->fd, "class"));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = 0x1)));
	EXPECT_STREQ("system", buffer_field(self->fd, "class"));
}

TEST_F(buffer, fewest_segments_win)
{
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.max_segments = 16)));
	EXPECT_STREQ("16", buffer_field(self->fd, "segments"));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.max_segments = 1)));
	EXPECT_STREQ("1", buffer_field(self->fd, "segments"));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.max_segments = 2)));
	EXPECT_STREQ("1", buffer_field(self->fd, "segments"));
}

TEST_F(buffer, largest_alignment_wins)
{
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.alignment = 8192)));
	EXPECT_STREQ("8192", buffer_field(self->fd, "align"));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.alignment = 65536)));
	EXPECT_STREQ("65536", buffer_field(self->fd, "align"));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.alignment = 4096)));
	EXPECT_STREQ("65536", buffer_field(self->fd, "align"));
}

TEST_F(buffer, fields_are_independent)
{
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.dma_mask = BITS(32))));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.max_segments = 1)));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = 0x3)));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.alignment = 16384)));
	EXPECT_NEEDS(self->fd, "system,system-contig", "2^32", "1", "16384");
}

TEST_F(buffer, limits_of_tables_do_not_bind_the_memory)
{
	EXPECT_LE(0, join(self->importer, self->fd,
			  DEVICE(.max_segment_size = 4096, .segment_boundary_mask = 0xffff)));
	EXPECT_NEEDS(self->fd, "any", "any", "any", "1");
	/* Nor does the table of one limit another's. */
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.max_segments = 1)));
	EXPECT_EQ(2, buffer_number(self->fd, "users"));
}

TEST_F(buffer, creators_alignment_is_a_need)
{
	int fd = create_aligned(64 * KIB, 32 * KIB);

	ASSERT_LE(0, fd);
	EXPECT_LE(0, join(self->importer, fd, DEVICE(.alignment = 8192)));
	EXPECT_STREQ("32768", buffer_field(fd, "align"));
	close(fd);
}

TEST_F(buffer, device_without_dma_adds_nothing)
{
	EXPECT_LE(0, join(self->importer, self->fd,
			  DEVICE(.flags = IMPORTER_NO_DMA, .access_mask = 0x8, .max_segments = 1)));
	EXPECT_NEEDS(self->fd, "any", "any", "any", "1");
	EXPECT_EQ(1, buffer_number(self->fd, "users"));
}

TEST_F(buffer, one_device_twice)
{
	int device = add_device(self->importer, DEVICE(.dma_mask = BITS(32)));
	int a = attach(self->importer, device, self->fd);
	int b = attach(self->importer, device, self->fd);

	EXPECT_LE(0, a);
	EXPECT_LE(0, b);
	EXPECT_NE(a, b);
	EXPECT_EQ(2, buffer_number(self->fd, "users"));
	EXPECT_EQ(0, detach(self->importer, a));
	EXPECT_STREQ("2^32", buffer_field(self->fd, "below"));
	EXPECT_EQ(0, detach(self->importer, b));
	EXPECT_STREQ("any", buffer_field(self->fd, "below"));
}

TEST_F(buffer, one_device_on_two_buffers)
{
	int device = add_device(self->importer, DEVICE(.dma_mask = BITS(32)));
	int other = create(PAGE);

	ASSERT_LE(0, other);
	EXPECT_LE(0, attach(self->importer, device, self->fd));
	EXPECT_LE(0, attach(self->importer, device, other));
	EXPECT_LE(0, join(self->importer, other, DEVICE(.max_segments = 1)));
	EXPECT_NEEDS(self->fd, "any", "2^32", "any", "1");
	EXPECT_NEEDS(other, "any", "2^32", "1", "1");
	close(other);
}

TEST_F(buffer, devices_in_debugfs)
{
	char lines[4 * KIB], expected[LINE];

	EXPECT_LE(0, join(self->importer, self->fd,
			  DEVICE(.name = "codec", .LIMIT = LOW(28), .access_mask = 0x3,
				 .max_segments = 4, .alignment = 8192, .max_segment_size = 65536,
				 .segment_boundary_mask = 0xfffff)));
	snprintf(expected, sizeof(expected),
		 "buffer=%s device=\"*codec.*\" class=system,system-contig below=%s segments=4 align=8192 coherent=0 segsize=65536 boundary=2^20 priority=0 mapped=0 pinned=0 declared=0 second=0 prefers=- unmet=0 late=0\n",
		 buffer_field(self->fd, "id"), below(LOW(28)));
	device_lines(self->fd, lines, sizeof(lines));
	EXPECT_MATCH(lines, expected);
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.name = "screen")));
	device_lines(self->fd, lines, sizeof(lines));
	EXPECT_NE(NULL, strstr(lines, "codec."));
	EXPECT_NE(NULL, strstr(lines, "screen."));
}

TEST_F(buffer, dma_parms_are_facts)
{
	char lines[4 * KIB];

	EXPECT_LE(0, join(self->importer, self->fd,
			  DEVICE(.parms_max_segment_size = 32768,
				 .parms_segment_boundary_mask = 0xffff)));
	device_lines(self->fd, lines, sizeof(lines));
	EXPECT_STREQ("32768", field(lines, "segsize"));
	EXPECT_STRNE("any", field(lines, "boundary"));
}

TEST_F(buffer, default_segment_size_is_no_fact)
{
	char lines[4 * KIB];

	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.parms_max_segment_size = 65536)));
	device_lines(self->fd, lines, sizeof(lines));
	EXPECT_STREQ("any", field(lines, "segsize"));
}

/* --- Detach: what remains is computed from who remains -------------------- */

TEST_F(buffer, detach_recomputes)
{
	int address, segments, mask, align;

	address = join(self->importer, self->fd, DEVICE(.LIMIT = LOW(28)));
	segments = join(self->importer, self->fd, DEVICE(.max_segments = 1, .dma_mask = BITS(32)));
	mask = join(self->importer, self->fd, DEVICE(.access_mask = 0x2));
	align = join(self->importer, self->fd, DEVICE(.alignment = 16384));
	EXPECT_NEEDS(self->fd, "system-contig", below(LOW(28)), "1", "16384");
	EXPECT_EQ(0, detach(self->importer, address));
	EXPECT_NEEDS(self->fd, "system-contig", "2^32", "1", "16384");
	EXPECT_EQ(0, detach(self->importer, align));
	EXPECT_NEEDS(self->fd, "system-contig", "2^32", "1", "1");
	EXPECT_EQ(0, detach(self->importer, mask));
	EXPECT_NEEDS(self->fd, "any", "2^32", "1", "1");
	EXPECT_EQ(0, detach(self->importer, segments));
	EXPECT_NEEDS(self->fd, "any", "any", "any", "1");
	EXPECT_EQ(0, buffer_number(self->fd, "users"));
}

TEST_F(buffer, detach_of_one_of_two_alike)
{
	int a = join(self->importer, self->fd, DEVICE(.LIMIT = LOW(28)));
	int b = join(self->importer, self->fd, DEVICE(.LIMIT = LOW(28)));

	EXPECT_EQ(0, detach(self->importer, a));
	EXPECT_STREQ(below(LOW(28)), buffer_field(self->fd, "below"));
	EXPECT_EQ(0, detach(self->importer, b));
	EXPECT_STREQ("any", buffer_field(self->fd, "below"));
}

TEST_F(buffer, detach_lets_the_refused_in)
{
	int first = join(self->importer, self->fd, DEVICE(.access_mask = 0x1));

	ASSERT_LE(0, first);
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd, DEVICE(.access_mask = 0x2)));
	EXPECT_EQ(0, detach(self->importer, first));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = 0x2)));
	EXPECT_STREQ("system-contig", buffer_field(self->fd, "class"));
}

TEST_F(buffer, closing_the_importer_detaches)
{
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.LIMIT = LOW(28))));
	close(self->importer);
	EXPECT_EQ(0, buffer_number(self->fd, "users"));
	EXPECT_NEEDS(self->fd, "any", "any", "any", "1");
	self->importer = open_importer();
}

TEST_F(buffer, sixty_four_users)
{
	int attachments[64];
	int i;

	for (i = 0; i < 64; i++) {
		attachments[i] = join(self->importer, self->fd,
				      DEVICE(.max_segments = 100 - i,
					     .max_address = (1ULL << 40) - 1 - i * PAGE));
		ASSERT_LE(0, attachments[i]);
	}
	EXPECT_EQ(64, buffer_number(self->fd, "users"));
	EXPECT_STREQ("37", buffer_field(self->fd, "segments"));
	/* Odd ones, from the first; what remains is that of the last even one. */
	for (i = 1; i < 64; i += 2)
		EXPECT_EQ(0, detach(self->importer, attachments[i]));
	EXPECT_EQ(32, buffer_number(self->fd, "users"));
	EXPECT_STREQ("38", buffer_field(self->fd, "segments"));
	/* Room that became free is used again. */
	for (i = 1; i < 64; i += 2) {
		attachments[i] = join(self->importer, self->fd, DEVICE(.max_segments = 20 + i));
		ASSERT_LE(0, attachments[i]);
	}
	EXPECT_EQ(64, buffer_number(self->fd, "users"));
	EXPECT_STREQ("21", buffer_field(self->fd, "segments"));
	for (i = 0; i < 64; i++)
		EXPECT_EQ(0, detach(self->importer, attachments[i]));
	EXPECT_NEEDS(self->fd, "any", "any", "any", "1");
}

/* --- Refused on an empty buffer ------------------------------------------- */

TEST_F(buffer, refused_disjoint_masks)
{
	ASSERT_LE(0, join(self->importer, self->fd,
			  DEVICE(.name = "first", .access_mask = 0x1)));
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.name = "second", .access_mask = 0x2), -EINVAL,
		      "*second.* needs memory of class system-contig, *first.* needs memory of class system");
	EXPECT_STREQ("system", buffer_field(self->fd, "class"));
}

TEST_F(buffer, refused_masks_disjoint_with_all_others_together)
{
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = 0x3)));
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = 0x6)));
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.name = "third", .access_mask = 0x5), -EINVAL,
		      "*third.* needs memory of class system or cma, *all others together need memory of class system-contig");
}

TEST_F(buffer, refused_mask_of_no_allocator)
{
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.name = "alien", .access_mask = 1ULL << 63), -EINVAL,
		      "*alien.* needs memory of class bit-63, *");
}

TEST_F(buffer, refused_longer_than_what_it_reaches)
{
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.name = "tiny", .max_address = 0x7fff), -EINVAL,
		      "*tiny.* needs addresses below 32 KiB, and the buffer has 64 KiB");
}

TEST_F(buffer, refused_own_needs_contradict)
{
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.name = "odd", .max_segments = 15, .max_segment_size = 4096), -EINVAL,
		      "*odd.* needs at most 15 segments, * at least 16 segments");
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.name = "odd", .max_segments = 1, .segment_boundary_mask = 0x7fff),
		      -EINVAL,
		      "*odd.* needs one contiguous range, * at least 2 segments");
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.name = "odd", .alignment = 65536, .max_segment_size = 4096), -EINVAL,
		      "*odd.* needs segments of at most 4 KiB, *start every 64 KiB");
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.name = "odd", .alignment = 65536, .segment_boundary_mask = 0xfff),
		      -EINVAL,
		      "*odd.* needs segments that *cross *4 KiB, *start every 64 KiB");
}

TEST_F(buffer, refused_more_contiguous_than_there_is)
{
	__u64 most = find_allocator("system-contig").max_len;
	int fd = create(most);

	ASSERT_LE(0, fd);
	EXPECT_LE(0, join(self->importer, fd, DEVICE(.max_segments = 1)));
	close(fd);
	fd = create(most + PAGE);
	ASSERT_LE(0, fd);
	check_refused(_metadata, self->importer, fd,
		      DEVICE(.name = "linear", .max_segments = 1), -EINVAL,
		      "*linear.* needs *");
	close(fd);
}

TEST_F(buffer, refused_alignment_of_no_allocator)
{
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.name = "coarse", .alignment = 1ULL << 40), -EINVAL,
		      "*coarse.* needs an alignment of 1 TiB, *");
}

/* Each can be served, both together cannot. */
TEST_F(buffer, refused_together_by_every_allocator)
{
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = 0x1)));
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.name = "linear", .max_segments = 1), -EINVAL,
		      "*linear.* needs one contiguous range, *system gives *");
	/* The other way round it is the mask that is in the way. */
	close(self->importer);
	self->importer = open_importer();
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.max_segments = 1)));
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.name = "scattered", .access_mask = 0x1), -EINVAL,
		      "*scattered.* joins *device.*, which needs one contiguous range, *system gives *");
}

TEST_F(buffer, refused_then_another_is_not)
{
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = 0x1)));
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd, DEVICE(.access_mask = 0x2)));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = 0x5)));
	EXPECT_EQ(2, buffer_number(self->fd, "users"));
	EXPECT_STREQ("system", buffer_field(self->fd, "class"));
}

TEST_F(buffer, refusal_is_in_the_kernel_log)
{
	int kmsg = open_log(), i;
	char expected[2 * LINE];
	bool found = false;

	ASSERT_LE(0, kmsg);
	/* The log is limited to some lines in some time, and others were refused before. */
	for (i = 0; i < 70 && !found; i++) {
		ASSERT_EQ(-EINVAL, join(self->importer, self->fd,
					DEVICE(.name = "logged", .max_address = 0x7fff)));
		snprintf(expected, sizeof(expected), "*;cenalloc: buffer %s: %s\n*",
			 buffer_field(self->fd, "id"), buffer_field(self->fd, "refusal"));
		EXPECT_NE(NULL, strstr(expected, "logged."));
		found = is_logged(kmsg, expected);
		if (!found)
			usleep(100000);
	}
	EXPECT_TRUE(found);
	close(kmsg);
}

/* --- Late: the memory is there -------------------------------------------- */

TEST_F(buffer, late_joiner_that_fits)
{
	int first = join(self->importer, self->fd, DEVICE(.LIMIT = LOW(28), .max_segments = 1));

	ASSERT_LE(0, first);
	ASSERT_EQ(0, map(self->importer, first, NULL));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE()));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.dma_mask = BITS(32))));
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = 0x2)));
	EXPECT_LE(0, join(self->importer, self->fd,
			  DEVICE(.max_segments = 16, .max_segment_size = 4096)));
	EXPECT_EQ(5, buffer_number(self->fd, "users"));
	EXPECT_EQ(0, buffer_number(self->fd, "late"));
}

/* Memory above 4 GiB, where the kernel takes it from if nobody minds. */
static int back_high(struct __test_metadata *_metadata, int importer, int fd)
{
	static struct mapping mapping;
	int attachment = join(importer, fd, DEVICE(.name = "early", .access_mask = 0x1));

	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(importer, attachment, &mapping));
	ASSERT_LE(1ULL << 32, mapping.segments[0].address);
	return attachment;
}

TEST_F(buffer, late_joiner_out_of_reach)
{
	back_high(_metadata, self->importer, self->fd);
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.name = "late", .dma_mask = BITS(32)), -EBUSY,
		      "*late.* needs addresses below 4 GiB, the memory is at 0x* *mapped by *early.*");
}

TEST_F(buffer, late_joiner_of_another_class)
{
	int first = join(self->importer, self->fd, DEVICE(.name = "early", .access_mask = 0x3));

	ASSERT_LE(0, first);
	ASSERT_EQ(0, map(self->importer, first, NULL));
	ASSERT_STREQ("system", buffer_field(self->fd, "allocator"));
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.name = "late", .access_mask = 0x2), -EBUSY,
		      "*late.* needs memory of class system-contig, the memory is *class system *mapped by *early.*");
}

TEST_F(buffer, late_joiner_that_nothing_could_serve)
{
	back_high(_metadata, self->importer, self->fd);
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.name = "late", .max_segments = 2, .max_segment_size = 4096),
		      -EINVAL, "*late.* needs at most 2 segments, * at least 16 segments");
}

TEST_F(buffer, late_joiner_with_too_few_segments)
{
	static struct mapping mapping;
	int fd, first, tries;

	/* Longer than the largest block, and the rest takes many sizes: almost never two ranges. */
	for (tries = 0; tries < 8; tries++) {
		fd = create(4 * MIB + 700 * KIB);
		ASSERT_LE(0, fd);
		first = join(self->importer, fd, DEVICE(.name = "early", .access_mask = 0x1));
		ASSERT_LE(0, first);
		ASSERT_EQ(0, map(self->importer, first, &mapping));
		if (mapping.count > 2)
			break;
		ASSERT_EQ(0, detach(self->importer, first));
		close(fd);
	}
	ASSERT_LT(2, mapping.count);
	check_refused(_metadata, self->importer, fd,
		      DEVICE(.name = "late", .max_segments = mapping.count - 1), -EBUSY,
		      "*late.* needs *segment*, the memory has * segments *mapped by *early.*");
	EXPECT_LE(0, join(self->importer, fd, DEVICE(.max_segments = mapping.count)));
	close(fd);
}

TEST_F(buffer, late_joiner_with_larger_alignment)
{
	/* They come as blocks of 4 MiB, 256, 16 and 4 KiB, and of 4 MiB, 256 and 16 KiB. */
	int fd = create(4 * MIB + 276 * KIB), even = create(4 * MIB + 272 * KIB);
	int first = join(self->importer, fd,
			 DEVICE(.name = "early", .access_mask = CENALLOC_CLASS_SYSTEM));

	ASSERT_LE(0, first);
	ASSERT_EQ(0, map(self->importer, first, NULL));
	check_refused(_metadata, self->importer, fd,
		      DEVICE(.name = "late", .alignment = 512 * KIB), -EBUSY,
		      "*late.* needs an alignment of 512 KiB, the memory is at 0x* *mapped by *early.*");
	close(fd);
	first = join(self->importer, even, DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM));
	ASSERT_LE(0, first);
	ASSERT_EQ(0, map(self->importer, first, NULL));
	EXPECT_LE(0, join(self->importer, even, DEVICE(.alignment = 16 * KIB)));
	EXPECT_EQ(0, buffer_number(even, "relocations"));
	close(even);
}

TEST_F(buffer, late_refusal_is_counted)
{
	char lines[4 * KIB], line[LINE];

	back_high(_metadata, self->importer, self->fd);
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE(.name = "other")));
	EXPECT_EQ(0, buffer_number(self->fd, "late"));
	EXPECT_EQ(-EBUSY, join(self->importer, self->fd, DEVICE(.dma_mask = BITS(32))));
	EXPECT_EQ(1, buffer_number(self->fd, "late"));
	/* It is the one who holds the memory, not the one who is there as well. */
	device_lines(self->fd, lines, sizeof(lines));
	ASSERT_TRUE(find_line(lines, "early.", line, sizeof(line)));
	EXPECT_STREQ("1", field(line, "late"));
	ASSERT_TRUE(find_line(lines, "other.", line, sizeof(line)));
	EXPECT_STREQ("0", field(line, "late"));
}

/* --- What is no dma-buf of ours, or no dma-buf ---------------------------- */

TEST_F(buffer, wrong_descriptors)
{
	int device = add_device(self->importer, DEVICE());
	int pipes[2], null = open("/dev/null", O_RDWR);
	int cenalloc = open_device("/dev/cenalloc");

	ASSERT_LE(0, device);
	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(-EBADF, attach(self->importer, device, -1));
	EXPECT_EQ(-EBADF, attach(self->importer, device, 1000));
	EXPECT_EQ(-EBADF, attach(self->importer, device, INT32_MIN));
	EXPECT_EQ(-EBADF, attach(self->importer, device, INT32_MAX));
	EXPECT_EQ(-EINVAL, attach(self->importer, device, null));
	EXPECT_EQ(-EINVAL, attach(self->importer, device, pipes[0]));
	EXPECT_EQ(-EINVAL, attach(self->importer, device, cenalloc));
	EXPECT_EQ(-EINVAL, attach(self->importer, device, self->importer));
	close(null);
	EXPECT_EQ(-EBADF, attach(self->importer, device, null));
	EXPECT_EQ(-ENOENT, attach(self->importer, device + 1, self->fd));
	EXPECT_EQ(-ENOENT, detach(self->importer, 77));
	EXPECT_EQ(0, buffer_number(self->fd, "users"));
}

TEST_F(buffer, closed_after_attach)
{
	unsigned int buffers = count_buffers();
	int fd = create(PAGE);
	int attachment = join(self->importer, fd, DEVICE());

	ASSERT_LE(0, attachment);
	close(fd);
	/* The attachment keeps the buffer. */
	EXPECT_EQ(buffers + 1, settled_buffers(buffers + 1));
	EXPECT_EQ(0, map(self->importer, attachment, NULL));
	EXPECT_EQ(0, detach(self->importer, attachment));
	EXPECT_EQ(buffers, settled_buffers(buffers));
}

TEST_F(buffer, device_cannot_go_while_attached)
{
	int device = add_device(self->importer, DEVICE());
	int attachment = attach(self->importer, device, self->fd);

	ASSERT_LE(0, attachment);
	EXPECT_EQ(-EBUSY, call_number(self->importer, IMPORTER_REMOVE, device));
	EXPECT_EQ(0, detach(self->importer, attachment));
	EXPECT_EQ(0, call_number(self->importer, IMPORTER_REMOVE, device));
	EXPECT_EQ(-ENOENT, attach(self->importer, device, self->fd));
}

/* A declaration goes with the driver's hold on the device: none is left for the next. */
TEST_F(buffer, declaration_goes_with_the_device)
{
	int i;

	for (i = 0; i < 32; i++) {
		int device = add_device(self->importer, DEVICE(.max_segments = 1));

		ASSERT_LE(0, device);
		ASSERT_EQ(0, call_number(self->importer, IMPORTER_REMOVE, device));
		device = add_device(self->importer, DEVICE());
		ASSERT_LE(0, attach(self->importer, device, self->fd));
	}
	EXPECT_STREQ("any", buffer_field(self->fd, "segments"));
}

TEST_HARNESS_MAIN
