// SPDX-License-Identifier: GPL-2.0
/*
 * What the memory of every allocator has to be like. For the guest "areas", which
 * has all of them.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "camera.h"
#include "places.h"

#define LEN	(MIB + 3 * PAGE)

static struct mapping one, two;

FIXTURE(memory) {
	__u64 used;
	int importer;
};

FIXTURE_VARIANT(memory) {
	const char *name;
	__u64 class;
	__u64 max_address;	/* 0 for any; tells the banks of one class apart */
	__u64 most;		/* as much as can be had in one buffer of this guest */
	__u64 area;		/* bytes of the area, 0 where it is none */
	__u64 start;		/* where that is, 0 where that is not known */
	bool scattered;
};

FIXTURE_VARIANT_ADD(memory, system) {
	.name = "system",
	.class = CENALLOC_CLASS_SYSTEM,
	.most = 64 * MIB,
	.scattered = true,
};

FIXTURE_VARIANT_ADD(memory, system_contig) {
	.name = "system-contig",
	.class = CENALLOC_CLASS_SYSTEM_CONTIG,
	.most = 4 * MIB,
};

FIXTURE_VARIANT_ADD(memory, cma) {
	.name = CMA,
	.class = CENALLOC_CLASS_CMA,
	.most = CMA_MOST,
	.area = CMA_LEN,
	.start = CMA_START,
};

FIXTURE_VARIANT_ADD(memory, dma_coherent) {
	.name = "dma-coherent",
	.class = CENALLOC_CLASS_DMA_COHERENT,
	.most = CMA_MOST,
};

FIXTURE_VARIANT_ADD(memory, carveout_with_struct_pages) {
	.name = "ram",
	.class = CENALLOC_CLASS_CARVEOUT,
	.most = RAM_LEN,
	.area = RAM_LEN,
};

FIXTURE_VARIANT_ADD(memory, carveout_without) {
	.name = "bank",
	.class = CENALLOC_CLASS_CARVEOUT,
	.max_address = BANK_START + BANK_LEN - 1,
	.most = BANK_LEN,
	.area = BANK_LEN,
	.start = BANK_START,
};

FIXTURE_SETUP(memory)
{
	self->used = find_allocator(variant->name).used;
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
}

FIXTURE_TEARDOWN(memory)
{
	close(self->importer);
	EXPECT_EQ(self->used, settled_used(variant->name, self->used));
}

#define PLACE(...)	NEEDS(.access_mask = variant->class,			\
			      .max_address = variant->max_address, ##__VA_ARGS__)

static int wrong_words(const void *memory, __u64 len, __u64 value)
{
	const __u64 *words = memory;
	int wrong = 0;
	__u64 i;

	for (i = 0; i < len / sizeof(*words); i++)
		wrong += words[i] != value;
	return wrong;
}

static bool is_one_run(const struct mapping *mapping)
{
	__u32 i;

	for (i = 1; i < mapping->count; i++)
		if (mapping->segments[i].address !=
		    mapping->segments[i - 1].address + mapping->segments[i - 1].len)
			return false;
	return true;
}

TEST_F(memory, is_in_the_list)
{
	struct cenalloc_allocator_info allocator = find_allocator(variant->name);

	EXPECT_EQ(variant->class, allocator.access_mask);
	EXPECT_LE(variant->most, allocator.max_len);
	EXPECT_EQ(variant->scattered, !(allocator.flags & CENALLOC_ALLOCATOR_CONTIGUOUS));
	/* Only an area lies somewhere. */
	EXPECT_EQ(variant->area, allocator.area_len);
	EXPECT_EQ(!variant->area, !allocator.start);
	if (variant->start)
		EXPECT_EQ(variant->start, allocator.start);
}

TEST_F(memory, tells_what_is_free)
{
	struct cenalloc_allocator_info before = find_allocator(variant->name), now;
	int fd = take(variant->most, PLACE());

	ASSERT_LE(0, fd);
	now = find_allocator(variant->name);
	EXPECT_EQ(variant->class == CENALLOC_CLASS_DMA_COHERENT,
		  !(now.flags & CENALLOC_ALLOCATOR_KNOWS_FREE));
	if (now.flags & CENALLOC_ALLOCATOR_KNOWS_FREE) {
		/* Others take and give back some, too. */
		EXPECT_GE(before.free - variant->most / 2, now.free);
		EXPECT_LE(variant->most, before.free);
	} else {
		EXPECT_EQ(0, before.free | now.free);
	}
	close(fd);
}

/* What the last who had it left in it is gone. */
TEST_F(memory, is_zeroed)
{
	int round;

	for (round = 0; round < 3; round++) {
		int fd = take(LEN, PLACE());
		char *memory = map_cpu(fd, LEN);

		ASSERT_LE(0, fd);
		ASSERT_NE(MAP_FAILED, memory);
		EXPECT_EQ(0, wrong_words(memory, LEN, 0));
		memset(memory, 0xa5, LEN);
		EXPECT_EQ(0, wrong_words(memory, LEN, 0xa5a5a5a5a5a5a5a5));
		munmap(memory, LEN);
		close(fd);
		ASSERT_EQ(self->used, settled_used(variant->name, self->used));
	}
}

TEST_F(memory, has_its_length)
{
	const __u64 lens[] = { PAGE, 3 * PAGE, 100 * KIB, LEN };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		int fd = take(lens[i], PLACE());
		int attachment = join(self->importer, fd, DEVICE());

		ASSERT_LE(0, fd);
		EXPECT_STREQ(variant->name, query_fields(fd).allocator);
		EXPECT_EQ(self->used + lens[i], find_allocator(variant->name).used);
		ASSERT_EQ(0, map(self->importer, attachment, &one));
		EXPECT_EQ(lens[i], mapping_len(&one));
		if (!variant->scattered)
			EXPECT_TRUE(is_one_run(&one));
		if (variant->max_address)
			EXPECT_GE(variant->max_address, last_address(&one));
		ASSERT_EQ(0, detach(self->importer, attachment));
		close(fd);
		ASSERT_EQ(self->used, settled_used(variant->name, self->used));
	}
}

TEST_F(memory, is_aligned)
{
	const __u64 alignments[] = { 2 * PAGE, 64 * KIB, MIB };
	int fds[2 * ARRAY_SIZE(alignments)];
	size_t i;

	/* Something odd before each, so that alignment does not come by itself. */
	for (i = 0; i < ARRAY_SIZE(alignments); i++) {
		fds[2 * i] = take(PAGE, PLACE());
		fds[2 * i + 1] = take(alignments[i], PLACE(.alignment = alignments[i]));
		ASSERT_LE(0, fds[2 * i + 1]);
		EXPECT_EQ(0, address(fds[2 * i + 1]) % alignments[i]);
	}
	close_all(fds, ARRAY_SIZE(fds));
}

TEST_F(memory, is_the_same_in_every_mapping)
{
	int fd = take(LEN, PLACE());
	char *first = map_cpu(fd, LEN), *second = map_cpu(fd, LEN);
	char *tail = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, MIB);

	ASSERT_LE(0, fd);
	ASSERT_NE(MAP_FAILED, first);
	ASSERT_NE(MAP_FAILED, second);
	ASSERT_NE(MAP_FAILED, tail);
	EXPECT_EQ(0, sync_cpu(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE));
	fill_bytes(first, LEN, 3);
	EXPECT_EQ(0, sync_cpu(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE));
	munmap(first, LEN);
	EXPECT_EQ(0, sync_cpu(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ));
	EXPECT_EQ(0, wrong_bytes(second, LEN, 3));
	EXPECT_EQ(0, memcmp(second + MIB, tail, PAGE));
	EXPECT_EQ(0, sync_cpu(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ));
	munmap(second, LEN);
	munmap(tail, PAGE);
	close(fd);
}

/* CPU sections while devices have it mapped, which then are told of them. */
TEST_F(memory, is_synced_for_who_has_it_mapped)
{
	int fd = take(LEN, PLACE());
	int attachment = join(self->importer, fd, DEVICE());
	char *memory = map_cpu(fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, map(self->importer, attachment, NULL));
	EXPECT_EQ(0, sync_cpu(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
	fill_bytes(memory, LEN, 4);
	EXPECT_EQ(0, sync_cpu(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
	ASSERT_EQ(0, unmap(self->importer, attachment));
	EXPECT_EQ(0, wrong_bytes(memory, LEN, 4));
	munmap(memory, LEN);
	close(fd);
}

/* A camera writes a frame by the kernel's address of it. */
TEST_F(memory, has_an_address_in_the_kernel)
{
	int camera = open_camera(1), len = set_up(camera, BLUE), fds[2], i;
	unsigned char *frame;

	ASSERT_EQ(3 * WIDTH * HEIGHT, len);
	ASSERT_EQ(0, request(camera, 2));
	for (i = 0; i < 2; i++) {
		fds[i] = take(len, PLACE());
		ASSERT_LE(0, fds[i]);
		ASSERT_EQ(0, queue(camera, i, fds[i]));
	}
	ASSERT_EQ(0, stream(camera, true));
	i = dequeue(camera);
	ASSERT_LE(0, i);
	frame = map_cpu(fds[i], len);
	ASSERT_NE(MAP_FAILED, frame);
	EXPECT_EQ(WIDTH * HEIGHT, count_pixels(frame, 2));
	munmap(frame, len);
	close(camera);
	close_all(fds, 2);
}

TEST_F(memory, is_cut_for_each_device)
{
	int fd = take(LEN, PLACE());
	int fine = join(self->importer, fd, DEVICE(.max_segment_size = PAGE));
	int coarse = join(self->importer, fd, DEVICE(.parms_max_segment_size = 256 * KIB,
						     .segment_boundary_mask = 512 * KIB - 1));
	__u32 i;

	ASSERT_EQ(0, map(self->importer, fine, &one));
	ASSERT_EQ(0, map(self->importer, coarse, &two));
	EXPECT_EQ(LEN / PAGE, one.count);
	EXPECT_GT(one.count, two.count);
	for (i = 0; i < two.count; i++) {
		__u64 first = two.segments[i].address, last = first + two.segments[i].len - 1;

		EXPECT_GE(256 * KIB, two.segments[i].len);
		EXPECT_EQ(first / (512 * KIB), last / (512 * KIB));
	}
	EXPECT_TRUE(same_memory(&one, &two));
	close(fd);
}

/* Away for a newcomer that takes another class, and back for one that does not. */
TEST_F(memory, moves)
{
	const __u64 other = variant->scattered ? CENALLOC_CLASS_SYSTEM_CONTIG :
						 CENALLOC_CLASS_SYSTEM;
	const char *its_name = variant->scattered ? "system-contig" : "system";
	const struct importer_add here = DEVICE(.access_mask = variant->class,
						.max_address = variant->max_address);
	const struct importer_add there = DEVICE(.access_mask = other);
	int fd = create(LEN), i, attachment;
	char *memory = map_cpu(fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	for (i = 0; i < 4; i++) {
		attachment = join(self->importer, fd, i % 2 ? here : there);
		ASSERT_LE(0, attachment);
		EXPECT_EQ(i, query_fields(fd).relocations);
		ASSERT_EQ(0, map(self->importer, attachment, NULL));
		EXPECT_STREQ(i % 2 ? variant->name : its_name, query_fields(fd).allocator);
		if (i)
			EXPECT_EQ(0, wrong_bytes(memory, LEN, i - 1));
		fill_bytes(memory, LEN, i);
		ASSERT_EQ(0, detach(self->importer, attachment));
	}
	munmap(memory, LEN);
	close(fd);
}

TEST_F(memory, is_given_back)
{
	int round;

	for (round = 0; round < 3; round++) {
		int fd = take(variant->most, PLACE());

		ASSERT_LE(0, fd) {
			TH_LOG("round %d", round);
		}
		EXPECT_EQ(self->used + variant->most, find_allocator(variant->name).used);
		close(fd);
		ASSERT_EQ(self->used, settled_used(variant->name, self->used));
	}
}

/* Whom the class is refused by: the last of its allocators, which is the most special. */
static struct cenalloc_allocator_info refuser(__u64 class)
{
	static struct cenalloc_allocator_info list[ALLOCATORS];
	int i = list_allocators(list);

	while (i > 0 && list[i - 1].access_mask != class)
		i--;
	return i > 0 ? list[i - 1] : (struct cenalloc_allocator_info){};
}

#define EXPECT_REFUSED(fd, lacks, finds, ...) do {				\
	struct cenalloc_query _query;						\
	int _fd = (fd);								\
										\
	EXPECT_EQ(-EINVAL, declare_needs(_fd, "asks",				\
					 NEEDS(.access_mask = variant->class,	\
					       ##__VA_ARGS__)));		\
	_query = query_fields(_fd);						\
	EXPECT_EQ(CENALLOC_CAUSE_ALLOCATOR, _query.refusal.cause);		\
	EXPECT_EQ(lacks, _query.refusal.field);					\
	EXPECT_EQ(finds, _query.refusal.found);					\
	EXPECT_STREQ(refuser(variant->class).name, _query.refusal.other);	\
} while (0)

TEST_F(memory, is_not_longer_than_it_can_be)
{
	__u64 most = refuser(variant->class).max_len;
	int fd = create(most + PAGE);

	if (variant->scattered) {
		/* So much nobody has. */
		EXPECT_EQ(-EINVAL, fd);
		return;
	}
	ASSERT_LE(0, fd);
	EXPECT_REFUSED(fd, CENALLOC_FIELD_LENGTH, most);
	EXPECT_REFUSED(fd, CENALLOC_FIELD_CONTIGUOUS, most, .max_segments = 1);
	EXPECT_EQ(CENALLOC_STATE_EMPTY, query_fields(fd).state);
	close(fd);
}

TEST_F(memory, is_not_more_aligned_than_it_can_be)
{
	int fd = create(LEN);

	ASSERT_LE(0, fd);
	EXPECT_EQ(-EINVAL, declare_needs(fd, "asks", PLACE(.alignment = 1ULL << 40)));
	EXPECT_EQ(CENALLOC_FIELD_ALIGNMENT, query_fields(fd).refusal.field);
	EXPECT_EQ(CENALLOC_CAUSE_ALLOCATOR, query_fields(fd).refusal.cause);
	EXPECT_LT(0, query_fields(fd).refusal.found);
	EXPECT_GT(1ULL << 40, query_fields(fd).refusal.found);
	close(fd);
}

TEST_F(memory, is_not_absurd)
{
	const __u64 absurd[] = {
		1ULL << 40, 1ULL << 44, (1ULL << 44) + PAGE, 1ULL << 52, 1ULL << 62,
		(1ULL << 63) - PAGE,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(absurd); i++) {
		EXPECT_EQ(CENALLOC_TEST_NEVER, would_be(absurd[i], PLACE())) {
			TH_LOG("length %#llx", absurd[i]);
		}
		EXPECT_EQ(CENALLOC_TEST_NEVER,
			  would_be(absurd[i], PLACE(.alignment = 1ULL << 63)));
	}
	for (i = 13; i < 64; i++) {
		EXPECT_GE(CENALLOC_TEST_NEVER, would_be(PAGE, PLACE(.alignment = 1ULL << i))) {
			TH_LOG("alignment 2^%zu", i);
		}
	}
	EXPECT_EQ(CENALLOC_TEST_NEVER,
		  would_be(2 * PAGE, NEEDS(.access_mask = variant->class, .max_address = PAGE)));
}

TEST_HARNESS_MAIN
