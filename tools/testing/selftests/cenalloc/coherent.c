// SPDX-License-Identifier: GPL-2.0
/*
 * Memory as the DMA API gives it to the most constrained user. For the guest
 * "areas", whose node has an area of its own.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "engine.h"
#include "places.h"

#define NODE_AREA	"/sys/kernel/mm/cma/numa0/"

static struct mapping mapping;

FIXTURE(coherent) {
	__u64 used;
	int importer;
};

FIXTURE_SETUP(coherent)
{
	self->used = find_allocator("dma-coherent").used;
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
}

FIXTURE_TEARDOWN(coherent)
{
	close(self->importer);
	EXPECT_EQ(self->used, settled_used("dma-coherent", self->used));
}

#define COHERENT(...)	NEEDS(.access_mask = CENALLOC_CLASS_DMA_COHERENT, ##__VA_ARGS__)

/* Within the area, below it, and limits that are no DMA masks. */
TEST_F(coherent, addresses_of_the_most_constrained)
{
	static const struct {
		__u64 limit;
		__u64 len;
	} needs[] = {
		{ 4 * GIB + 123, 4 * KIB },
		{ 4 * GIB + 123, 4 * MIB },
		{ BITS(32), 4 * KIB },
		{ BITS(32), 4 * MIB },
		{ LOW(28), 4 * MIB },
		{ CMA_START + 9 * MIB - 1, 4 * MIB },
		{ CMA_START + 9 * MIB + 123, 4 * MIB },
		{ LOW(26), 64 * KIB },
		{ 48 * MIB + 123, 64 * KIB },
		{ LOW(24), 64 * KIB },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(needs); i++) {
		int fd = take(needs[i].len, COHERENT(.max_address = needs[i].limit));

		if (needs[i].limit < LEAST_MASK) {
			EXPECT_EQ(-EINVAL, fd);
			continue;
		}
		ASSERT_LE(0, fd) {
			TH_LOG("limit %#llx", needs[i].limit);
		}
		EXPECT_GE(needs[i].limit, address(fd) + needs[i].len - 1);
		close(fd);
	}
}

TEST_F(coherent, area_of_the_machine)
{
	int attachment, fd = create(8 * MIB);

	ASSERT_LE(0, fd);
	attachment = join(self->importer, fd,
			  DEVICE(.access_mask = CENALLOC_CLASS_DMA_COHERENT, .dma_mask = BITS(32)));
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(self->importer, attachment, &mapping));
	EXPECT_LE(CMA_START, address_of(&mapping, 0));
	EXPECT_GT(CMA_START + CMA_LEN, last_address(&mapping));
	/* That is what the area's own allocator has less. */
	EXPECT_EQ(CENALLOC_TEST_NO_MEMORY,
		  would_be(CMA_LEN, NEEDS(.access_mask = CENALLOC_CLASS_CMA)));
	close(fd);
}

TEST_F(coherent, engine_reads_and_writes_it)
{
	int fd = take(64 * KIB, COHERENT(.max_address = edu_reach()));
	char *memory = map_cpu(fd, 64 * KIB);

	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(0, cross_the_bus(fd, memory));
	munmap(memory, 64 * KIB);
	close(fd);
}

static long number_of(const char *path)
{
	char text[64];

	return strtol(slurp(path, text, sizeof(text)), NULL, 10);
}

/* A PCI device that reaches all addresses; of those that every guest has. */
static bool find_wide_device(char *name, size_t size)
{
	char path[128], text[64], *parent;

	if (!find_device("virtio", "virtio", text, sizeof(text)))
		return false;
	snprintf(path, sizeof(path), "/sys/bus/virtio/devices/%.32s/..", text);
	parent = realpath(path, NULL);
	if (!parent)
		return false;
	snprintf(name, size, "%s", strrchr(parent, '/') + 1);
	free(parent);
	return true;
}

/* An area that no module can name: the DMA API takes it for devices of its node. */
TEST_F(coherent, area_of_the_node)
{
	char name[64], path[128];
	long had, given;
	int fd;

	ASSERT_TRUE(find_wide_device(name, sizeof(name)));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/numa_node", name);
	had = number_of(NODE_AREA "alloc_pages_success");
	given = number_of(NODE_AREA "release_pages_success");
	EXPECT_EQ(16 * MIB / PAGE, number_of(NODE_AREA "total_pages"));

	/* A device of no node: from the area of the machine. */
	ASSERT_EQ(0, write_file(path, "-1"));
	fd = create(2 * MIB);
	ASSERT_EQ(0, declare_device_with(fd, "pci", name, COHERENT()));
	ASSERT_EQ(0, allocate(fd));
	EXPECT_EQ(had, number_of(NODE_AREA "alloc_pages_success"));
	close(fd);

	ASSERT_EQ(0, write_file(path, "0"));
	fd = create(2 * MIB);
	ASSERT_EQ(0, declare_device_with(fd, "pci", name, COHERENT()));
	ASSERT_EQ(0, allocate(fd));
	EXPECT_EQ(had + 2 * MIB / PAGE, number_of(NODE_AREA "alloc_pages_success"));
	EXPECT_LE(4 * GIB, address(fd));
	/* Back to where it came from, whatever became of the device. */
	ASSERT_EQ(0, write_file(path, "-1"));
	close(fd);
	settled_used("dma-coherent", self->used);
	EXPECT_EQ(given + 2 * MIB / PAGE, number_of(NODE_AREA "release_pages_success"));
}

/* The device for which memory was had goes first. */
TEST_F(coherent, outlives_its_device)
{
	int fd = create(MIB), device, attachment;
	char *memory = map_cpu(fd, MIB);

	ASSERT_NE(MAP_FAILED, memory);
	device = add_device(self->importer, DEVICE(.access_mask = CENALLOC_CLASS_DMA_COHERENT,
						   .dma_mask = BITS(32)));
	attachment = attach(self->importer, device, fd);
	ASSERT_EQ(0, map(self->importer, attachment, NULL));
	fill_bytes(memory, MIB, 9);
	ASSERT_EQ(0, detach(self->importer, attachment));
	ASSERT_EQ(0, call_number(self->importer, IMPORTER_REMOVE, device));
	EXPECT_EQ(0, wrong_bytes(memory, MIB, 9));
	EXPECT_STREQ("dma-coherent", query_fields(fd).allocator);
	munmap(memory, MIB);
	close(fd);
}

/* What limits no DMA mask can be. */
TEST_F(coherent, addresses_that_it_has_not)
{
	const __u64 last_of_area = CMA_START + CMA_LEN - 1;
	int fd = create(PAGE);

	EXPECT_EQ(-EINVAL, declare_needs(fd, "isa", COHERENT(.max_address = LEAST_MASK - 1)));
	EXPECT_EQ(CENALLOC_FIELD_MAX_ADDRESS, query_fields(fd).conflict_field);
	EXPECT_EQ(LEAST_MASK + 1, query_fields(fd).conflict_found);
	EXPECT_EQ(0, declare_needs(fd, "isa", COHERENT(.max_address = LEAST_MASK)));
	close(fd);
	/* No area lies so low. */
	EXPECT_EQ(CENALLOC_TEST_NEVER, would_be(8 * MIB, COHERENT(.max_address = CMA_START)));
	EXPECT_EQ(last_of_area < LEAST_MASK ? CENALLOC_TEST_NEVER : CENALLOC_TEST_OK,
		  would_be(8 * MIB, COHERENT(.max_address = last_of_area)));
	EXPECT_EQ(CENALLOC_TEST_OK, would_be(8 * MIB, COHERENT(.max_address = BITS(32))));
}

TEST_HARNESS_MAIN
