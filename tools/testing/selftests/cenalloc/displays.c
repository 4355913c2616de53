// SPDX-License-Identifier: GPL-2.0
/*
 * Drivers of displays that copy by the CPU, unmodified: they attach to what they import
 * and never map it. Whatever their devices reach, the memory stays where it is.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "modules.h"
#include "vgem.h"

#define LEN	(1 * MIB)

FIXTURE(displays) {
	int importer;
	int card;
};

FIXTURE_VARIANT(displays) {
	const char *module;
	const char *driver;
};

FIXTURE_VARIANT_ADD(displays, vkms) {
	.module = "vkms",
	.driver = "vkms",
};

FIXTURE_SETUP(displays)
{
	if (load(variant->module))
		SKIP(return, "the kernel has no module %s", variant->module);
	self->card = open_card(variant->driver);
	ASSERT_LE(0, self->card);
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
}

FIXTURE_TEARDOWN(displays)
{
	close(self->importer);
	close(self->card);
}

TEST_F(displays, import_moves_nothing)
{
	static struct mapping before, after;
	int fd = create(LEN), attachment;
	struct told told;
	__u32 handle;

	attachment = join(self->importer, fd, DEVICE());
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(self->importer, attachment, &before));
	ASSERT_EQ(0, unmap(self->importer, attachment));
	/* Where all devices without an IOMMU could reach it, it would tell nothing. */
	ASSERT_LT(BITS(32), before.segments[0].address);
	EXPECT_EQ(0, import(self->card, fd, &handle));
	ASSERT_EQ(0, query(fd, &told));
	EXPECT_EQ(2, told.query.user_count);
	EXPECT_EQ(0, told.query.relocations);
	ASSERT_EQ(0, map(self->importer, attachment, &after));
	EXPECT_TRUE(same_memory(&before, &after));
	EXPECT_EQ(0, close_handle(self->card, handle));
	close(fd);
}

/* Neither is it refused where the memory is held. */
TEST_F(displays, import_beside_a_mapping)
{
	int fd = create(LEN), attachment;
	__u32 handle;

	attachment = join(self->importer, fd, DEVICE());
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(self->importer, attachment, NULL));
	EXPECT_EQ(0, import(self->card, fd, &handle));
	EXPECT_EQ(0, query_fields(fd).refusals);
	EXPECT_EQ(0, close_handle(self->card, handle));
	close(fd);
}

TEST_HARNESS_MAIN
