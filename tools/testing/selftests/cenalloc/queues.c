// SPDX-License-Identifier: GPL-2.0
/*
 * A V4L2 driver on videobuf2-dma-contig, which imports contiguous memory alone, of which
 * nobody says so. Its module is in no table, and its objects do not show it: that the
 * module uses the library is all there is to know. One of its devices is on the PCI bus,
 * where an IOMMU may translate for it.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "camera.h"
#include "modules.h"

#define QUEUES	"cenalloc_queues"

#define BLOCK	(4 * MIB)	/* the largest of the page allocator */
#define LARGE	(16 * MIB)

FIXTURE(queues) {
	char name[64];		/* of the device, and of its node */
	int node;
	bool is_translated;	/* by an IOMMU */
};

FIXTURE_VARIANT(queues) {
	const char *bus;
};

FIXTURE_VARIANT_ADD(queues, platform) {
	.bus = "platform",
};

FIXTURE_VARIANT_ADD(queues, pci) {
	.bus = "pci",
};

FIXTURE_SETUP(queues)
{
	char path[128], text[16];

	ASSERT_EQ(0, load(QUEUES));
	snprintf(path, sizeof(path), "/sys/bus/%s/drivers/" QUEUES, variant->bus);
	ASSERT_TRUE(find_name(path, "0000:", self->name, sizeof(self->name)) ||
		    find_name(path, QUEUES, self->name, sizeof(self->name)));
	strcat(strcat(strcat(path, "/"), self->name), "/iommu_group/type");
	self->is_translated = !strncmp(slurp(path, text, sizeof(text)), "DMA", 3);
	self->node = open_video(self->name);
	ASSERT_LE(0, self->node);
}

FIXTURE_TEARDOWN(queues)
{
	close(self->node);
}

TEST_F(queues, all_queue)
{
	const __u64 lens[] = { 172800, 921600, 2457600, 3686400 };
	int count = slower() > 1 ? 2 : 10;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		EXPECT_EQ(count, queue_many(self->node, 1, count, lens[i], false));
		EXPECT_EQ(count, queue_many(self->node, 1, count, lens[i], true));
	}
}

/* A buffer that has memory already, within reach. */
static int create_low(__u64 len)
{
	int fd = create(len);
	int ret = declare_needs(fd, "low", NEEDS(.max_address = BITS(32)));

	ret = ret ? ret : allocate(fd);
	return ret ? ret : fd;
}

/*
 * Nobody is refused for what only seems to be needed. Behind an IOMMU scattered memory is
 * one range; elsewhere the driver finds out by mapping that it cannot use it.
 */
TEST_F(queues, scattered_memory)
{
	int blocks[2 * LARGE / BLOCK], fd;
	struct told told;
	size_t i;

	/* Every second one is free again, and is taken first. */
	for (i = 0; i < ARRAY_SIZE(blocks); i++)
		blocks[i] = create_low(BLOCK);
	for (i = 0; i < ARRAY_SIZE(blocks); i += 2)
		close(blocks[i]);
	fd = create_low(LARGE);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, query(fd, &told));
	ASSERT_LT(1, told.query.ranges);
	ASSERT_EQ(0, request(self->node, 1));
	EXPECT_EQ(self->is_translated ? 0 : -EFAULT, queue(self->node, 0, fd));
	ASSERT_EQ(0, query(fd, &told));
	EXPECT_EQ(0, told.query.refusals);
	EXPECT_EQ(0, told.query.relocations);
	EXPECT_LT(1, told.query.ranges);
	EXPECT_EQ(0, request(self->node, 0));
	close(fd);
	for (i = 1; i < ARRAY_SIZE(blocks); i += 2)
		close(blocks[i]);
}

TEST_HARNESS_MAIN
