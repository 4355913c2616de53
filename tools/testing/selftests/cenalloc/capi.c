// SPDX-License-Identifier: GPL-2.0
/*
 * linux/dma-buf-constraints.h, as an exporter in C uses it: declare, query,
 * admit, release, and a refusal in words.
 */

#include <dirent.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "cenalloc_c_exporter.h"

FIXTURE(exporter) {
	int exporter;
	int importer;
	int fd;
};

static int create_there(int exporter, __u64 len, struct exporter_constraints base)
{
	struct exporter_create create = { .len = len, .base = base };
	int ret = call(exporter, EXPORTER_CREATE, &create);

	return ret ? ret : create.fd;
}

#define NEEDS(...)	((struct exporter_constraints){ __VA_ARGS__ })

FIXTURE_SETUP(exporter)
{
	self->exporter = open_device("/dev/cenalloc_c_exporter");
	ASSERT_LE(0, self->exporter);
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
	self->fd = create_there(self->exporter, 64 * KIB, NEEDS());
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(exporter)
{
	close(self->fd);
	close(self->importer);
	close(self->exporter);
}

/* What all users of a buffer need; all ones in each field if that cannot be asked. */
static struct exporter_state state(int exporter, int fd)
{
	struct exporter_state state = { .fd = fd };

	if (call(exporter, EXPORTER_STATE, &state))
		memset(&state, 0xff, sizeof(state));
	return state;
}

#define EXPECT_SAME(a, b) do {							\
	struct exporter_constraints _a = (a), _b = (b);				\
										\
	EXPECT_EQ(_a.access_mask, _b.access_mask);				\
	EXPECT_EQ(_a.max_address, _b.max_address);				\
	EXPECT_EQ(_a.max_segment_size, _b.max_segment_size);			\
	EXPECT_EQ(_a.segment_boundary_mask, _b.segment_boundary_mask);		\
	EXPECT_EQ(_a.alignment, _b.alignment);					\
	EXPECT_EQ(_a.max_segments, _b.max_segments);				\
	EXPECT_EQ(_a.priority, _b.priority);					\
	EXPECT_EQ(_a.coherent, _b.coherent);					\
	EXPECT_EQ(0, _b.reserved);						\
} while (0)

/* The full name of the importer's newest device that was called @name. */
static bool device_name(const char *name, char *full)
{
	DIR *dir = opendir("/sys/bus/platform/devices");
	size_t len = strlen(name);
	struct dirent *entry;
	int newest = -1;

	while (dir && (entry = readdir(dir)))
		if (!strncmp(entry->d_name, name, len) && entry->d_name[len] == '.' &&
		    atoi(entry->d_name + len + 1) > newest) {
			newest = atoi(entry->d_name + len + 1);
			snprintf(full, EXPORTER_NAME_LEN, "%.60s", entry->d_name);
		}
	if (dir)
		closedir(dir);
	return newest >= 0;
}

static int query(int exporter, const char *name, struct exporter_constraints *needs)
{
	struct exporter_device device = {};
	int ret;

	snprintf(device.name, sizeof(device.name), "%s", name);
	ret = call(exporter, EXPORTER_QUERY, &device);
	*needs = device.constraints;
	return ret;
}

static int declare(int exporter, const char *name, struct exporter_constraints needs)
{
	struct exporter_device device = { .constraints = needs };

	snprintf(device.name, sizeof(device.name), "%s", name);
	return call(exporter, EXPORTER_DECLARE, &device);
}

/* --- Sets ----------------------------------------------------------------- */

TEST_F(exporter, new_set_needs_nothing)
{
	EXPECT_SAME(NEEDS(), state(self->exporter, self->fd).meet);
}

TEST_F(exporter, base_is_a_need)
{
	struct exporter_constraints base = NEEDS(.access_mask = 6, .max_address = BITS(30),
						 .max_segment_size = 65536,
						 .segment_boundary_mask = BITS(20),
						 .alignment = 8192, .max_segments = 3);
	int fd = create_there(self->exporter, 64 * KIB, base);

	ASSERT_LE(0, fd);
	EXPECT_SAME(base, state(self->exporter, fd).meet);
	close(fd);
}

TEST_F(exporter, base_that_makes_no_sense)
{
	EXPECT_EQ(-EINVAL, create_there(self->exporter, PAGE, NEEDS(.alignment = 3)));
	EXPECT_EQ(-EINVAL, create_there(self->exporter, PAGE,
					NEEDS(.segment_boundary_mask = 0x10000)));
	EXPECT_EQ(-EINVAL, create_there(self->exporter, PAGE,
					NEEDS(.segment_boundary_mask = 0xff)));
	EXPECT_EQ(-EINVAL, create_there(self->exporter, PAGE, NEEDS(.max_segment_size = 512)));
	EXPECT_EQ(-EINVAL, create_there(self->exporter, 0, NEEDS()));
}

TEST_F(exporter, admit_narrows_and_release_widens)
{
	int a = join(self->importer, self->fd, DEVICE(.dma_mask = BITS(32), .access_mask = 7));
	int b = join(self->importer, self->fd,
		     DEVICE(.max_address = BITS(30), .max_segments = 2, .alignment = 8192,
			    .access_mask = 14));
	int c = join(self->importer, self->fd,
		     DEVICE(.max_segment_size = 32768, .segment_boundary_mask = 0xffff));

	ASSERT_LE(0, a);
	ASSERT_LE(0, b);
	ASSERT_LE(0, c);
	EXPECT_SAME(NEEDS(.access_mask = 6, .max_address = BITS(30), .max_segments = 2,
			  .alignment = 8192, .max_segment_size = 32768,
			  .segment_boundary_mask = 0xffff),
		    state(self->exporter, self->fd).meet);
	ASSERT_EQ(0, detach(self->importer, b));
	EXPECT_SAME(NEEDS(.access_mask = 7, .max_address = BITS(32), .max_segment_size = 32768,
			  .segment_boundary_mask = 0xffff),
		    state(self->exporter, self->fd).meet);
	ASSERT_EQ(0, detach(self->importer, c));
	ASSERT_EQ(0, detach(self->importer, a));
	EXPECT_SAME(NEEDS(), state(self->exporter, self->fd).meet);
}

TEST_F(exporter, device_without_dma_is_admitted)
{
	EXPECT_LE(0, join(self->importer, self->fd,
			  DEVICE(.flags = IMPORTER_NO_DMA, .access_mask = 1)));
	EXPECT_SAME(NEEDS(), state(self->exporter, self->fd).meet);
}

TEST_F(exporter, refused_and_told_why)
{
	struct exporter_state before;

	ASSERT_LE(0, join(self->importer, self->fd,
			  DEVICE(.name = "first", .access_mask = 1, .dma_mask = BITS(40))));
	before = state(self->exporter, self->fd);
	EXPECT_STREQ("", before.refusal);
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd,
				DEVICE(.name = "second", .access_mask = 2, .dma_mask = BITS(32))));
	EXPECT_SAME(before.meet, state(self->exporter, self->fd).meet);
	EXPECT_MATCH(state(self->exporter, self->fd).refusal,
		     "*second.* needs memory of class system-contig, *first.* needs memory of class system");
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd,
				DEVICE(.name = "third", .max_address = 0x7fff)));
	EXPECT_MATCH(state(self->exporter, self->fd).refusal,
		     "*third.* needs addresses below 32 KiB, and the buffer has 64 KiB");
	EXPECT_SAME(before.meet, state(self->exporter, self->fd).meet);
}

TEST_F(exporter, refused_for_the_base)
{
	int fd = create_there(self->exporter, PAGE, NEEDS(.access_mask = 4));

	ASSERT_LE(0, fd);
	EXPECT_EQ(-EINVAL, join(self->importer, fd, DEVICE(.name = "late", .access_mask = 3)));
	EXPECT_MATCH(state(self->exporter, fd).refusal,
		     "*late.* needs memory of class system or system-contig, *the creator of the buffer needs memory of class cma");
	close(fd);
}

TEST_F(exporter, refused_by_all_others_together)
{
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = 3)));
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = 6)));
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd, DEVICE(.access_mask = 5)));
	EXPECT_NE(NULL, strstr(state(self->exporter, self->fd).refusal,
			       "all others together need memory of class system-contig")) {
		TH_LOG("%s", state(self->exporter, self->fd).refusal);
	}
}

TEST_F(exporter, handles_are_used_again)
{
	int attachments[40], i, round;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < 40; i++) {
			attachments[i] = join(self->importer, self->fd,
					      DEVICE(.max_segments = 50 - i));
			ASSERT_LE(0, attachments[i]);
		}
		EXPECT_EQ(11, state(self->exporter, self->fd).meet.max_segments);
		ASSERT_EQ(0, detach(self->importer, attachments[39]));
		EXPECT_EQ(12, state(self->exporter, self->fd).meet.max_segments);
		for (i = 0; i < 39; i++)
			ASSERT_EQ(0, detach(self->importer, attachments[i]));
		EXPECT_EQ(0, state(self->exporter, self->fd).meet.max_segments);
	}
}

TEST_F(exporter, maps_what_all_can_use)
{
	static struct mapping one, two;
	int fine = join(self->importer, self->fd, DEVICE(.max_segment_size = 8192));
	int low = join(self->importer, self->fd, DEVICE(.dma_mask = BITS(32), .max_segments = 1));

	ASSERT_EQ(0, map(self->importer, fine, &one));
	ASSERT_EQ(0, map(self->importer, low, &two));
	EXPECT_EQ(8, one.count);
	EXPECT_EQ(1, two.count);
	EXPECT_LE(last_address(&two), BITS(32));
	EXPECT_TRUE(same_memory(&one, &two));
	EXPECT_EQ(1, state(self->exporter, self->fd).has_memory);
	EXPECT_EQ(two.segments[0].address, state(self->exporter, self->fd).address);
}

/* Not what the device needs, but what the DMA API lets it map as a whole. */
TEST_F(exporter, tables_obey_the_dma_api)
{
	static struct mapping mapping;
	int limited = join(self->importer, self->fd,
			   DEVICE(.parms_max_segment_size = 16384,
				  .parms_segment_boundary_mask = BITS(13)));
	int whole = join(self->importer, self->fd,
			 DEVICE(.parms_max_segment_size = 64 * KIB, .max_segments = 1));

	ASSERT_EQ(0, map(self->importer, limited, &mapping));
	EXPECT_EQ(8, mapping.count);
	EXPECT_EQ(64 * KIB, mapping_len(&mapping));
	ASSERT_EQ(0, map(self->importer, whole, &mapping));
	EXPECT_EQ(1, mapping.count);
	EXPECT_EQ(64 * KIB, mapping_len(&mapping));
}

TEST_F(exporter, maps_and_unmaps_many_times)
{
	static struct mapping first, again;
	int attachment = join(self->importer, self->fd, DEVICE(.max_segment_size = 16384));
	int other = join(self->importer, self->fd, DEVICE());
	int i;

	ASSERT_EQ(0, map(self->importer, attachment, &first));
	ASSERT_EQ(0, map(self->importer, other, NULL));
	for (i = 0; i < 100; i++) {
		ASSERT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
		ASSERT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
		ASSERT_EQ(0, unmap(self->importer, attachment));
		ASSERT_EQ(0, map(self->importer, attachment, &again));
	}
	EXPECT_EQ(4, again.count);
	EXPECT_TRUE(same_memory(&first, &again));
	/* What the importer leaves mapped is unmapped with it. */
	close(self->importer);
	self->importer = open_importer();
	ASSERT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
}

TEST_F(exporter, device_without_dma_cannot_map)
{
	int attachment = join(self->importer, self->fd, DEVICE(.flags = IMPORTER_NO_DMA));

	ASSERT_LE(0, attachment);
	EXPECT_EQ(-ENODEV, map(self->importer, attachment, NULL));
}

/* Behind an IOMMU its memory is laid out in one range of DMA addresses. */
TEST_F(exporter, data_crosses_the_bus)
{
	struct edu_segment segments[16];
	struct edu_map map = { .segments = (uintptr_t)segments, .count = 16 };
	struct edu_transfer transfer = { .len = PAGE };
	int edu = open_device("/dev/cenalloc_edu");

	ASSERT_LE(0, edu);
	ASSERT_EQ(0, call_number(edu, EDU_ATTACH, self->fd));
	ASSERT_EQ(0, call(edu, EDU_MAP, &map));
	ASSERT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
	ASSERT_EQ(0, sync_cpu(self->fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
	EXPECT_EQ(0, call(edu, EDU_TRANSFER, &transfer));
	transfer.offset = 15 * PAGE;
	transfer.direction = EDU_FROM_DEVICE;
	EXPECT_EQ(0, call(edu, EDU_TRANSFER, &transfer));
	EXPECT_EQ(0, call_number(edu, EDU_UNMAP, 0));
	close(edu);
}

TEST_F(exporter, late_joiner_out_of_reach)
{
	int first = join(self->importer, self->fd, DEVICE());

	ASSERT_EQ(0, map(self->importer, first, NULL));
	ASSERT_LE(1ULL << 32, state(self->exporter, self->fd).address);
	EXPECT_EQ(-EBUSY, join(self->importer, self->fd, DEVICE(.dma_mask = BITS(32))));
	EXPECT_SAME(NEEDS(), state(self->exporter, self->fd).meet);
	EXPECT_LE(0, join(self->importer, self->fd, DEVICE()));
}

#define PARENT		0
#define PART(...)	DEVICE(.flags = IMPORTER_CHILD, .parent = PARENT, __VA_ARGS__)

TEST_F(exporter, second_choices)
{
	int one, two;

	ASSERT_EQ(PARENT, add_device(self->importer,
				     DEVICE(.access_mask = 4, .priority = 2, .alignment = 8192)));
	one = join(self->importer, self->fd,
		   PART(.name = "one", .access_mask = 1, .priority = 1, .max_segments = 9));
	ASSERT_LE(0, one);
	two = join(self->importer, self->fd, PART(.access_mask = 2));
	ASSERT_LE(0, two);
	EXPECT_SAME(NEEDS(.access_mask = 4, .priority = 2, .alignment = 8192, .max_segments = 9),
		    state(self->exporter, self->fd).meet);
	/* As high as the parent's priority. */
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd,
				PART(.name = "three", .access_mask = 1, .priority = 2)));
	EXPECT_MATCH(state(self->exporter, self->fd).refusal,
		     "*three.* needs memory of class system, * needs memory of class system-contig");
	/* Its own needs count again where they can, as long as there is no memory. */
	ASSERT_EQ(0, detach(self->importer, two));
	EXPECT_SAME(NEEDS(.access_mask = 1, .priority = 1, .max_segments = 9),
		    state(self->exporter, self->fd).meet);
	two = join(self->importer, self->fd, PART(.access_mask = 2));
	ASSERT_LE(0, two);
	ASSERT_EQ(0, map(self->importer, one, NULL));
	ASSERT_EQ(0, detach(self->importer, two));
	EXPECT_EQ(5, state(self->exporter, self->fd).meet.access_mask);
}

TEST_F(exporter, a_second_choice_that_memory_does_not_suit)
{
	struct exporter_state before;
	static struct mapping mapping;
	int one;

	ASSERT_EQ(PARENT, add_device(self->importer, DEVICE(.access_mask = 4, .priority = 2,
							    .max_address = LOW(30))));
	one = join(self->importer, self->fd, PART(.access_mask = 1, .max_segment_size = 8192));
	ASSERT_LE(0, one);
	ASSERT_EQ(0, map(self->importer, one, &mapping));
	ASSERT_EQ(0, unmap(self->importer, one));
	EXPECT_EQ(8, mapping.count);
	before = state(self->exporter, self->fd);
	ASSERT_LT(LOW(30), before.address);
	EXPECT_EQ(-EBUSY, join(self->importer, self->fd, PART(.access_mask = 2)));
	EXPECT_SAME(before.meet, state(self->exporter, self->fd).meet);
}

/* What else the ancestor needs cuts the table. */
TEST_F(exporter, an_ancestor_cuts_the_table)
{
	static struct mapping mapping;
	int one;

	ASSERT_EQ(PARENT, add_device(self->importer, DEVICE(.access_mask = 4, .priority = 2,
							    .max_segment_size = 8192)));
	one = join(self->importer, self->fd, PART(.access_mask = 1, .max_segment_size = 16384));
	ASSERT_LE(0, one);
	ASSERT_EQ(0, map(self->importer, one, &mapping));
	EXPECT_EQ(4, mapping.count);
	ASSERT_EQ(0, unmap(self->importer, one));
	ASSERT_LE(0, join(self->importer, self->fd, PART(.access_mask = 2)));
	ASSERT_EQ(0, map(self->importer, one, &mapping));
	EXPECT_EQ(8, mapping.count);
}

TEST_F(exporter, goes_with_users_in_the_set)
{
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.max_segments = 1)));
	close(self->fd);
	close(self->importer);
	self->importer = open_importer();
	self->fd = create_there(self->exporter, PAGE, NEEDS());
	ASSERT_LE(0, self->fd);
}

/* --- Devices -------------------------------------------------------------- */

TEST_F(exporter, query_combines_facts_and_declaration)
{
	char name[EXPORTER_NAME_LEN];
	struct exporter_constraints needs;

	ASSERT_LE(0, add_device(self->importer,
				DEVICE(.name = "query", .dma_mask = BITS(32),
				       .max_address = BITS(40), .max_segments = 5,
				       .parms_max_segment_size = 16384, .max_segment_size = 32768,
				       .parms_segment_boundary_mask = BITS(24),
				       .segment_boundary_mask = BITS(20), .alignment = 65536,
				       .access_mask = 9)));
	ASSERT_TRUE(device_name("query", name));
	ASSERT_EQ(0, query(self->exporter, name, &needs));
	EXPECT_SAME(NEEDS(.access_mask = 9, .max_address = BITS(32), .max_segment_size = 16384,
			  .segment_boundary_mask = BITS(20), .alignment = 65536,
			  .max_segments = 5), needs);
}

TEST_F(exporter, query_of_who_does_not_care)
{
	char name[EXPORTER_NAME_LEN];
	struct exporter_constraints needs;

	ASSERT_LE(0, add_device(self->importer, DEVICE(.name = "easy")));
	ASSERT_TRUE(device_name("easy", name));
	ASSERT_EQ(0, query(self->exporter, name, &needs));
	EXPECT_SAME(NEEDS(), needs);
}

TEST_F(exporter, declaration_replaces_the_one_before)
{
	char name[EXPORTER_NAME_LEN];
	struct exporter_constraints needs;

	ASSERT_LE(0, add_device(self->importer, DEVICE(.name = "declared", .max_segments = 5)));
	ASSERT_TRUE(device_name("declared", name));
	ASSERT_EQ(0, declare(self->exporter, name, NEEDS(.alignment = 16384)));
	ASSERT_EQ(0, query(self->exporter, name, &needs));
	EXPECT_SAME(NEEDS(.alignment = 16384), needs);
	/* Coherent DMA needs no other memory for that. */
	ASSERT_EQ(0, declare(self->exporter, name, NEEDS(.priority = 65535, .coherent = 1)));
	ASSERT_EQ(0, query(self->exporter, name, &needs));
	EXPECT_SAME(NEEDS(.priority = 65535), needs);
	ASSERT_EQ(0, declare(self->exporter, name, NEEDS()));
	ASSERT_EQ(0, query(self->exporter, name, &needs));
	EXPECT_SAME(NEEDS(), needs);
}

TEST_F(exporter, declaration_leaves_attached_buffers_alone)
{
	char name[EXPORTER_NAME_LEN];
	int device = add_device(self->importer, DEVICE(.name = "attached", .max_segments = 5));

	ASSERT_LE(0, device);
	ASSERT_LE(0, attach(self->importer, device, self->fd));
	ASSERT_TRUE(device_name("attached", name));
	ASSERT_EQ(0, declare(self->exporter, name, NEEDS(.max_segments = 2)));
	EXPECT_EQ(5, state(self->exporter, self->fd).meet.max_segments);
	ASSERT_LE(0, attach(self->importer, device, self->fd));
	EXPECT_EQ(2, state(self->exporter, self->fd).meet.max_segments);
}

TEST_F(exporter, declaration_that_makes_no_sense)
{
	char name[EXPORTER_NAME_LEN];
	struct exporter_constraints needs;

	ASSERT_LE(0, add_device(self->importer, DEVICE(.name = "wrong", .max_segments = 5)));
	ASSERT_TRUE(device_name("wrong", name));
	EXPECT_EQ(-EINVAL, declare(self->exporter, name, NEEDS(.alignment = 12288)));
	EXPECT_EQ(-EINVAL, declare(self->exporter, name, NEEDS(.segment_boundary_mask = 0x1234)));
	EXPECT_EQ(-EINVAL, declare(self->exporter, name, NEEDS(.segment_boundary_mask = 0x7ff)));
	EXPECT_EQ(-EINVAL, declare(self->exporter, name, NEEDS(.max_segment_size = 4095)));
	/* The one before stays. */
	ASSERT_EQ(0, query(self->exporter, name, &needs));
	EXPECT_SAME(NEEDS(.max_segments = 5), needs);
}

TEST_F(exporter, no_declaration_without_a_driver)
{
	/* The one platform device that every machine has and no driver takes. */
	EXPECT_EQ(-ENODEV, declare(self->exporter, "no-such-device", NEEDS(.max_segments = 1)));
	EXPECT_EQ(-ENODEV, declare(self->exporter, "pcspkr", NEEDS(.max_segments = 1)));
}

TEST_F(exporter, declaration_goes_with_the_driver)
{
	char name[EXPORTER_NAME_LEN], path[256];
	struct exporter_constraints needs;
	int fd, device = add_device(self->importer, DEVICE(.name = "unbound", .max_segments = 5));

	ASSERT_LE(0, device);
	ASSERT_TRUE(device_name("unbound", name));
	snprintf(path, sizeof(path), "/sys/bus/platform/devices/%s/driver/unbind", name);
	fd = open(path, O_WRONLY);
	if (fd >= 0) {
		ASSERT_LT(0, write(fd, name, strlen(name)));
		close(fd);
		EXPECT_EQ(-ENODEV, query(self->exporter, name, &needs));
		EXPECT_EQ(-ENODEV, declare(self->exporter, name, NEEDS(.max_segments = 1)));
	}
	/* Where the driver cannot be unbound by hand, it goes with the device. */
	ASSERT_EQ(0, call_number(self->importer, IMPORTER_REMOVE, device));
	EXPECT_EQ(-ENODEV, query(self->exporter, name, &needs));
}

TEST_HARNESS_MAIN
