// SPDX-License-Identifier: GPL-2.0
/*
 * QEMU's edu device: a DMA engine of 28 bits, where the guest has not made it
 * another one, that reads and writes the memory that it was given. An IOMMU lets
 * it reach all memory, by addresses of its own. A transfer takes a tenth of a
 * second.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "engine.h"
#include "places.h"
#include "policy.h"

#define LEN	(64 * KIB)

FIXTURE(edu) {
	int edu;
	int fd;
};

FIXTURE_SETUP(edu)
{
	self->edu = open_device("/dev/cenalloc_edu");
	ASSERT_LE(0, self->edu);
	self->fd = create(LEN);
	ASSERT_LE(0, self->fd);
	ASSERT_NE(0, edu_mask());
}

FIXTURE_TEARDOWN(edu)
{
	close(self->edu);
	close(self->fd);
}

static void fill(unsigned char *at, size_t len, unsigned int seed)
{
	while (len--) {
		seed = seed * 1103515245 + 12345;
		*at++ = seed >> 16;
	}
}

TEST_F(edu, narrows_to_what_it_reaches)
{
	char lines[LINE];

	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	EXPECT_STREQ(below(edu_reach()), buffer_field(self->fd, "below"));
	EXPECT_STREQ("empty", buffer_field(self->fd, "state"));
	device_lines(self->fd, lines, sizeof(lines));
	EXPECT_MATCH(field(lines, "device"),
		     "*edu* 0000:*");
	EXPECT_EQ(0, call_number(self->edu, EDU_DETACH, 0));
	EXPECT_STREQ("any", buffer_field(self->fd, "below"));
}

TEST_F(edu, addresses_within_its_mask)
{
	static struct mapping mapping;

	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	ASSERT_EQ(0, edu_map(self->edu, &mapping));
	EXPECT_EQ(LEN, mapping_len(&mapping));
	EXPECT_LE(last_address(&mapping), edu_mask());
	EXPECT_STREQ("backed", buffer_field(self->fd, "state"));
	EXPECT_EQ(0, call_number(self->edu, EDU_UNMAP, 0));
	EXPECT_EQ(0, buffer_number(self->fd, "maps"));
}

/*
 * Segments that the administrator keeps short stay so, also behind an IOMMU, whose
 * driver makes one of neighbours: the device itself takes any length.
 */
TEST_F(edu, short_segments_stay_short)
{
	static struct mapping mapping;
	char lines[LINE], policy[64];
	__u32 i;

	if (!have_policies())
		SKIP(return, "there is no configfs");
	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	device_lines(self->fd, lines, sizeof(lines));
	snprintf(policy, sizeof(policy), "pci:%s", strstr(field(lines, "device"), "0000:"));
	policy[strcspn(policy, "\"")] = '\0';
	ASSERT_EQ(0, call_number(self->edu, EDU_DETACH, 0));
	ASSERT_EQ(0, make_policy(policy));
	EXPECT_EQ(0, say(policy, "max_segment_size", "16384"));
	EXPECT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	EXPECT_EQ(0, edu_map(self->edu, &mapping));
	EXPECT_LE(LEN / 16384, mapping.count);
	for (i = 0; i < mapping.count; i++)
		EXPECT_GE(16384, mapping.segments[i].len);
	EXPECT_EQ(LEN, mapping_len(&mapping));
	EXPECT_EQ(0, call_number(self->edu, EDU_UNMAP, 0));
	EXPECT_EQ(0, call_number(self->edu, EDU_DETACH, 0));
	EXPECT_EQ(0, remove_policy(policy));
}

/* Bytes of the CPU cross the bus to the device and come back elsewhere. */
TEST_F(edu, bytes_cross_the_bus)
{
	unsigned char *memory = map_cpu(self->fd, LEN);
	unsigned char expected[EDU_MEMORY_SIZE];

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	/* The CPU's touch allocates what edu can reach. */
	fill(memory, LEN, 1);
	ASSERT_EQ(0, call_number(self->edu, EDU_MAP, (long)&(struct edu_map){}));
	fill(expected, sizeof(expected), 42);
	EXPECT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE));
	memcpy(memory, expected, sizeof(expected));
	EXPECT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE));
	ASSERT_EQ(0, transfer(self->edu, 0, 0, sizeof(expected), EDU_TO_DEVICE));
	ASSERT_EQ(0, transfer(self->edu, 40000, 0, sizeof(expected), EDU_FROM_DEVICE));
	EXPECT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ));
	EXPECT_EQ(0, memcmp(memory + 40000, expected, sizeof(expected)));
	EXPECT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ));
	munmap(memory, LEN);
}

TEST_F(edu, nothing_but_the_range_changes)
{
	unsigned char *memory = map_cpu(self->fd, LEN);
	static unsigned char expected[LEN];

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	fill(memory, LEN, 7);
	memcpy(expected, memory, LEN);
	ASSERT_EQ(0, call_number(self->edu, EDU_MAP, (long)&(struct edu_map){}));
	/* Across a page, at odd places, with odd lengths. */
	ASSERT_EQ(0, transfer(self->edu, 3001, 5, 2003, EDU_TO_DEVICE));
	ASSERT_EQ(0, transfer(self->edu, 20003, 5, 2003, EDU_FROM_DEVICE));
	memcpy(expected + 20003, expected + 3001, 2003);
	EXPECT_EQ(0, memcmp(memory, expected, LEN));
	munmap(memory, LEN);
}

TEST_F(edu, from_one_buffer_to_another)
{
	unsigned char *from = map_cpu(self->fd, LEN), *to;
	int other = create(LEN);

	ASSERT_NE(MAP_FAILED, from);
	ASSERT_LE(0, other);
	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	fill(from, LEN, 3);
	ASSERT_EQ(0, call_number(self->edu, EDU_MAP, (long)&(struct edu_map){}));
	ASSERT_EQ(0, transfer(self->edu, 8192, 0, 4096, EDU_TO_DEVICE));
	ASSERT_EQ(0, call_number(self->edu, EDU_DETACH, 0));
	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, other));
	ASSERT_EQ(0, call_number(self->edu, EDU_MAP, (long)&(struct edu_map){}));
	/* Memory that the device writes before the CPU has ever seen it. */
	ASSERT_EQ(0, transfer(self->edu, 12288, 0, 4096, EDU_FROM_DEVICE));
	to = map_cpu(other, LEN);
	ASSERT_NE(MAP_FAILED, to);
	EXPECT_EQ(0, memcmp(to + 12288, from + 8192, 4096));
	EXPECT_EQ(0, to[12287]);
	EXPECT_EQ(0, to[16384]);
	munmap(from, LEN);
	munmap(to, LEN);
	close(other);
}

TEST_F(edu, shares_with_a_device_of_other_cuts)
{
	static struct mapping mine, its;
	int importer = open_importer();
	int attachment = join(importer, self->fd,
			      DEVICE(.max_segment_size = 4096, .access_mask = 0x1));

	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	ASSERT_EQ(0, map(importer, attachment, &mine));
	ASSERT_EQ(0, edu_map(self->edu, &its));
	EXPECT_EQ(LEN / 4096, mine.count);
	/* An IOMMU puts together what it is given, at an address of edu's own. */
	EXPECT_NE(edu_translated(), same_memory(&mine, &its));
	EXPECT_EQ(LEN, mapping_len(&its));
	if (edu_translated())
		EXPECT_EQ(1, its.count);
	EXPECT_EQ(2, buffer_number(self->fd, "maps"));
	close(importer);
}

TEST_F(edu, late_joiner)
{
	int importer = open_importer();
	int attachment = join(importer, self->fd, DEVICE(.name = "wide"));

	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(importer, attachment, NULL));
	if (edu_translated()) {
		EXPECT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
		EXPECT_EQ(2, buffer_number(self->fd, "users"));
		EXPECT_STREQ("", buffer_field(self->fd, "refusal"));
	} else {
		EXPECT_EQ(-EBUSY, call_number(self->edu, EDU_ATTACH, self->fd));
		EXPECT_EQ(1, buffer_number(self->fd, "users"));
		EXPECT_EQ(edu_mask(), query_fields(self->fd).refusal.wanted);
		EXPECT_REFUSAL(self->fd,
			       "*edu* 0000:* needs addresses below *, the memory is at 0x* *mapped by *wide.*");
	}
	EXPECT_EQ(0, buffer_number(self->fd, "relocations"));
	close(importer);
}

/* --- What an IOMMU lays out ------------------------------------------------ */

#define UNTRANSLATED	"nothing translates for edu"

/* A buffer for edu with needs in addition to its own, which are those of the mapping. */
static int create_for_edu(int edu, __u64 len, struct cenalloc_constraints needs)
{
	int fd = create(len), ret;

	ret = declare_device_with(fd, "pci", edu_name(), needs);
	if (!ret)
		ret = call_number(edu, EDU_ATTACH, fd);
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

static void let_go(int edu, int fd)
{
	call_number(edu, EDU_DETACH, 0);
	close(fd);
}

/* Each segment starts where it is to, also where that is beyond the buffer's length. */
TEST_F(edu, an_iommu_aligns)
{
	const __u64 lens[] = { PAGE, 3 * PAGE, 64 * KIB, MIB + PAGE, 5 * MIB };
	static struct mapping mapping;
	__u64 alignment;
	__u32 i, j;
	int fd;

	if (!edu_translated())
		SKIP(return, UNTRANSLATED);
	for (alignment = PAGE; alignment <= 16 * MIB; alignment *= 2) {
		for (i = 0; i < ARRAY_SIZE(lens); i++) {
			fd = create_for_edu(self->edu, lens[i], NEEDS(.alignment = alignment));
			ASSERT_LE(0, fd);
			ASSERT_EQ(0, edu_map(self->edu, &mapping));
			EXPECT_EQ(lens[i], mapping_len(&mapping));
			for (j = 0; j < mapping.count && j < SEGMENTS; j++)
				EXPECT_EQ(0, mapping.segments[j].address % alignment) {
					TH_LOG("%llu bytes, aligned to %llu: segment %u at 0x%llx",
					       lens[i], alignment, j, mapping.segments[j].address);
				}
			let_go(self->edu, fd);
		}
	}
}

/* What the device has no such addresses for, or cannot have by its own boundary of 4 GiB. */
TEST_F(edu, an_iommu_cannot_align)
{
	static struct mapping mapping;
	__u64 alignment;
	int fd;

	if (!edu_translated())
		SKIP(return, UNTRANSLATED);
	for (alignment = 1ULL << 20; alignment; alignment *= 2) {
		fd = create_for_edu(self->edu, PAGE, NEEDS(.alignment = alignment));
		if (alignment > 1ULL << 32) {
			EXPECT_EQ(-EINVAL, fd);
			continue;
		}
		ASSERT_LE(0, fd);
		/* All addresses that there are may be one too many: others have some. */
		if (alignment - 1 != edu_mask())
			EXPECT_EQ(alignment - 1 > edu_mask() ? -ENOMEM : 0,
				  edu_map(self->edu, &mapping));
		let_go(self->edu, fd);
	}
	/* It goes on as before. */
	fd = create_for_edu(self->edu, PAGE, NEEDS(.alignment = MIB));
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, edu_map(self->edu, &mapping));
	let_go(self->edu, fd);
}

/* Scattered memory is one segment, and bytes cross the bus to its end. */
TEST_F(edu, an_iommu_makes_one_segment)
{
	static struct mapping mapping;
	__u64 len = 16 * MIB;
	char *memory;
	int fd;

	if (!edu_translated())
		SKIP(return, UNTRANSLATED);
	fd = create_for_edu(self->edu, len, NEEDS(.max_segments = 1));
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, query_fields(fd).combined.max_segments);
	memory = map_cpu(fd, len);
	ASSERT_NE(MAP_FAILED, (void *)memory);
	fill_bytes(memory + len - 4 * PAGE, 4 * PAGE, 5);
	ASSERT_EQ(0, edu_map(self->edu, &mapping));
	EXPECT_EQ(1, mapping.count);
	EXPECT_EQ(len, mapping_len(&mapping));
	EXPECT_STREQ("system", buffer_field(fd, "allocator"));
	ASSERT_EQ(0, transfer(self->edu, len - 4096, 0, 4096, EDU_TO_DEVICE));
	ASSERT_EQ(0, transfer(self->edu, len - 3 * 4096, 0, 4096, EDU_FROM_DEVICE));
	EXPECT_EQ(0, memcmp(memory + len - 4096, memory + len - 3 * 4096, 4096));
	munmap(memory, len);
	let_go(self->edu, fd);
}

/* As few and as long as the device wants, within its boundaries. */
TEST_F(edu, an_iommus_range_is_cut)
{
	static struct mapping mapping;
	__u32 i;
	int fd;

	if (!edu_translated())
		SKIP(return, UNTRANSLATED);
	fd = create_for_edu(self->edu, 3 * MIB, NEEDS(.max_segments = 6,
						      .max_segment_size = MIB,
						      .segment_boundary_mask = 512 * KIB - 1));
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, edu_map(self->edu, &mapping));
	EXPECT_EQ(6, mapping.count);
	for (i = 0; i < mapping.count && i < SEGMENTS; i++)
		EXPECT_EQ(0, mapping.segments[i].address % (512 * KIB));
	let_go(self->edu, fd);
	/* What its own limits forbid is refused, whoever lays it out. */
	EXPECT_EQ(-EINVAL, create_for_edu(self->edu, 3 * MIB, NEEDS(.max_segments = 2,
								    .max_segment_size = MIB)));
}

/* Other devices need not have what the IOMMU sees to. */
TEST_F(edu, an_iommus_work_is_nobody_elses)
{
	int importer = open_importer(), attachment, fd;
	static struct mapping mapping;

	if (!edu_translated())
		SKIP(return, UNTRANSLATED);
	fd = create_for_edu(self->edu, LEN, NEEDS(.max_segments = 1, .alignment = MIB));
	ASSERT_LE(0, fd);
	attachment = join(importer, fd, DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM,
					       .max_segment_size = PAGE));
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(importer, attachment, &mapping));
	EXPECT_EQ(LEN / PAGE, mapping.count);
	ASSERT_EQ(0, edu_map(self->edu, &mapping));
	EXPECT_EQ(1, mapping.count);
	EXPECT_EQ(0, mapping.segments[0].address % MIB);
	/* Mapped again, it is laid out again. */
	ASSERT_EQ(0, call_number(self->edu, EDU_DETACH, 0));
	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, fd));
	ASSERT_EQ(0, edu_map(self->edu, &mapping));
	EXPECT_EQ(LEN, mapping_len(&mapping));
	close(importer);
	let_go(self->edu, fd);
}

/* Where the device's addresses run out, it is told so, and goes on as before. */
TEST_F(edu, addresses_run_out)
{
	int edus[8], fds[8], count, ret = 0;
	static struct mapping mapping;

	if (!edu_translated())
		SKIP(return, UNTRANSLATED);
	if (edu_mask() > BITS(28))
		SKIP(return, "edu has more addresses");
	for (count = 0; count < 8; count++) {
		edus[count] = open_device("/dev/cenalloc_edu");
		fds[count] = create_for_edu(edus[count], 40 * MIB, NEEDS(.max_segments = 1));
		ASSERT_LE(0, fds[count]);
		ret = edu_map(edus[count], &mapping);
		if (ret)
			break;
		EXPECT_EQ(1, mapping.count);
	}
	EXPECT_EQ(-ENOMEM, ret);
	EXPECT_LE(2, count);
	EXPECT_GT(8, count);
	/* It is addresses that are out, not memory. */
	EXPECT_EQ(CENALLOC_CAUSE_ADDRESSES, query_fields(fds[count]).refusal.cause);
	EXPECT_MATCH(query_fields(fds[count]).refusal.who, "*edu*");
	EXPECT_EQ(40 * MIB, query_fields(fds[count]).refusal.len);
	EXPECT_EQ(1, query_fields(fds[count]).refusals);
	EXPECT_EQ(0, query_fields(fds[count]).late_refusals);
	EXPECT_REFUSAL(fds[count], "*edu* has no 40 MiB of its own addresses left in one range");
	/* One that gives its addresses back lets the last one in. */
	close(edus[0]);
	EXPECT_EQ(0, edu_map(edus[count], &mapping));
	for (; count >= 0; count--) {
		if (count)
			close(edus[count]);
		close(fds[count]);
	}
}

/* More bytes than edu has addresses, whatever translates them. */
TEST_F(edu, buffer_of_too_many_bytes)
{
	int fd = create(512 * MIB);

	ASSERT_LE(0, fd);
	if (edu_mask() > 512 * MIB) {
		EXPECT_EQ(0, call_number(self->edu, EDU_ATTACH, fd));
	} else if (edu_translated()) {
		EXPECT_EQ(0, call_number(self->edu, EDU_ATTACH, fd));
		EXPECT_EQ(-ENOMEM, edu_map(self->edu, &(struct mapping){}));
		EXPECT_EQ(0, buffer_number(fd, "maps"));
		EXPECT_EQ(CENALLOC_CAUSE_ADDRESSES, query_fields(fd).refusal.cause);
	} else {
		EXPECT_EQ(-EINVAL, call_number(self->edu, EDU_ATTACH, fd));
		EXPECT_REFUSAL(fd,
			       "*edu* needs addresses below 256 MiB, and the buffer has 512 MiB");
	}
	close(fd);
}

/* The largest piece of the page allocator, and a buffer of some that are no neighbours. */
#define CHUNK		(4 * MIB)
#define CHUNKS		8

/* A buffer, in memory for @needs, of chunks from which the neighbours were taken first. */
static int create_scattered(struct cenalloc_constraints needs)
{
	int fds[4 * CHUNKS], fd, i;

	for (i = 0; i < 4 * CHUNKS; i++) {
		fds[i] = take(CHUNK, needs);
		if (fds[i] < 0)
			return fds[i];
	}
	for (i = 0; i < 4 * CHUNKS; i += 2)
		close(fds[i]);
	settled_buffers(2 * CHUNKS + 1);
	fd = take(CHUNKS * CHUNK, needs);
	for (i = 1; i < 4 * CHUNKS; i += 2)
		close(fds[i]);
	return fd;
}

/* Where the chunk @number is: its first address. */
static __u64 chunk_at(const struct mapping *mapping, int number)
{
	return address_of(mapping, number * CHUNK);
}

TEST_F(edu, scattered_high_memory)
{
	static struct mapping memory, its;
	int importer = open_importer(), fd, i, scattered = 0;
	unsigned char *bytes;

	if (!edu_translated() && edu_mask() <= BITS(28))
		SKIP(return, "edu reaches low memory alone");
	fd = create_scattered(NEEDS(.max_address = edu_reach()));
	ASSERT_LE(0, fd);
	/* What the importer maps nobody translates. */
	ASSERT_EQ(0, map(importer, join(importer, fd, DEVICE()), &memory));
	for (i = 0; i < CHUNKS; i++)
		EXPECT_LT(BITS(28), chunk_at(&memory, i));
	for (i = 1; i < CHUNKS; i++)
		scattered += chunk_at(&memory, i) != chunk_at(&memory, i - 1) + CHUNK;
	/* How often depends on what others have freed. */
	EXPECT_LT(0, scattered);

	bytes = map_cpu(fd, CHUNKS * CHUNK);
	ASSERT_NE(MAP_FAILED, bytes);
	fill_bytes(bytes, CHUNKS * CHUNK, 1);
	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, fd));
	ASSERT_EQ(0, edu_map(self->edu, &its));
	EXPECT_EQ(CHUNKS * CHUNK, mapping_len(&its));
	EXPECT_LE(last_address(&its), edu_mask());
	EXPECT_NE(edu_translated(), same_memory(&memory, &its));
	if (edu_translated())
		EXPECT_EQ(1, its.count);
	/* From the end of each chunk and the start of the next to the middle of the latter. */
	for (i = 1; i < CHUNKS; i++) {
		__u64 from = i * CHUNK - 1000, to = i * CHUNK + CHUNK / 2 + 8 * i;

		ASSERT_EQ(0, transfer(self->edu, from, 0, 2000, EDU_TO_DEVICE));
		ASSERT_EQ(0, transfer(self->edu, to, 0, 2000, EDU_FROM_DEVICE));
		EXPECT_EQ(0, memcmp(bytes + from, bytes + to, 2000));
		/* As it was before, to see that nothing else is changed. */
		fill_bytes(bytes + to, 2000, to / sizeof(__u64) + 1);
	}
	EXPECT_EQ(0, wrong_bytes(bytes, CHUNKS * CHUNK, 1));
	munmap(bytes, CHUNKS * CHUNK);
	close(importer);
	close(fd);
}

TEST_F(edu, wrong_calls)
{
	EXPECT_EQ(-EBADF, call_number(self->edu, EDU_ATTACH, -1));
	EXPECT_EQ(-EINVAL, call_number(self->edu, EDU_ATTACH, self->edu));
	EXPECT_EQ(-EINVAL, call_number(self->edu, EDU_MAP, (long)&(struct edu_map){}));
	EXPECT_EQ(-EINVAL, call_number(self->edu, EDU_UNMAP, 0));
	EXPECT_EQ(-EINVAL, call_number(self->edu, EDU_DETACH, 0));
	EXPECT_EQ(-EINVAL, transfer(self->edu, 0, 0, 16, EDU_TO_DEVICE));
	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	EXPECT_EQ(-EBUSY, call_number(self->edu, EDU_ATTACH, self->fd));
	EXPECT_EQ(-EINVAL, transfer(self->edu, 0, 0, 16, EDU_TO_DEVICE));
	ASSERT_EQ(0, call_number(self->edu, EDU_MAP, (long)&(struct edu_map){}));
	EXPECT_EQ(-EBUSY, call_number(self->edu, EDU_MAP, (long)&(struct edu_map){}));
	EXPECT_EQ(-EINVAL, transfer(self->edu, LEN, 0, 1, EDU_TO_DEVICE));
	EXPECT_EQ(-EINVAL, transfer(self->edu, LEN - 1, 0, 2, EDU_TO_DEVICE));
	EXPECT_EQ(-EINVAL, transfer(self->edu, -1ULL, 0, 2, EDU_TO_DEVICE));
	EXPECT_EQ(-EINVAL, transfer(self->edu, 0, 4096, 1, EDU_TO_DEVICE));
	EXPECT_EQ(-EINVAL, transfer(self->edu, 0, 1, 4096, EDU_TO_DEVICE));
	EXPECT_EQ(-EINVAL, transfer(self->edu, 0, -1U, 2, EDU_TO_DEVICE));
	EXPECT_EQ(-EINVAL, transfer(self->edu, 0, 0, -1U, EDU_TO_DEVICE));
	EXPECT_EQ(-EINVAL, transfer(self->edu, 0, 0, 16, 2));
}

TEST_F(edu, closed_while_mapped)
{
	ASSERT_EQ(0, call_number(self->edu, EDU_ATTACH, self->fd));
	ASSERT_EQ(0, call_number(self->edu, EDU_MAP, (long)&(struct edu_map){}));
	EXPECT_EQ(1, buffer_number(self->fd, "maps"));
	close(self->edu);
	EXPECT_EQ(0, buffer_number(self->fd, "maps"));
	EXPECT_EQ(0, buffer_number(self->fd, "users"));
	self->edu = open_device("/dev/cenalloc_edu");
	EXPECT_LE(0, self->edu);
}

TEST_HARNESS_MAIN
