// SPDX-License-Identifier: GPL-2.0
/*
 * For a guest with swiotlb=force: the DMA layer puts memory of its own between
 * every device and every buffer. Such a mapping is never handed out, nor even
 * tried: for a device that does not reach what it bounces with, the kernel would
 * warn.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "engine.h"

#define BUFFER_LEN	(256 * KIB)
#include "buffer_fixture.h"

/* The most of the memory to bounce with that was in use at once, in 2 KiB. */
static long slots_ever(void)
{
	char text[64];

	slurp("/sys/kernel/debug/swiotlb/io_tlb_used_hiwater", text, sizeof(text));
	return text[0] ? strtol(text, NULL, 10) : -1;
}

TEST(guest_bounces)
{
	char text[4096];

	slurp("/proc/cmdline", text, sizeof(text));
	ASSERT_NE(NULL, strstr(text, "swiotlb=force"));
	ASSERT_LE(0, slots_ever());
}

TEST_F(buffer, map_is_refused)
{
	static struct snapshot before, after;
	int attachment = join(self->importer, self->fd, DEVICE(.name = "bounced"));

	ASSERT_LE(0, attachment);
	EXPECT_EQ(-EIO, map(self->importer, attachment, NULL));
	EXPECT_EQ(0, buffer_number(self->fd, "maps"));
	EXPECT_REFUSAL(self->fd, "the DMA layer copies for *bounced.*");
	EXPECT_EQ(CENALLOC_CAUSE_BOUNCED, query_fields(self->fd).refusal.cause);
	EXPECT_MATCH(query_fields(self->fd).refusal.who, "*bounced.*");
	EXPECT_EQ(1, query_fields(self->fd).refusals);
	EXPECT_EQ(0, query_fields(self->fd).late_refusals);
	/* Again it is the same. */
	snapshot(self->fd, &before);
	EXPECT_EQ(-EIO, map(self->importer, attachment, NULL));
	EXPECT_STREQ(before.text, snapshot(self->fd, &after)->text);
	EXPECT_EQ(0, detach(self->importer, attachment));
	EXPECT_EQ(0, buffer_number(self->fd, "users"));
}

TEST_F(buffer, every_kind_of_memory_is_refused)
{
	const struct importer_add needs[] = {
		{ .max_segments = 1 }, { .dma_mask = BITS(32) }, { .max_address = LOW(28) },
		{ .max_segment_size = 4096 }, { .access_mask = 2 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(needs); i++) {
		int fd = create(64 * KIB);
		int attachment = join(self->importer, fd, needs[i]);

		ASSERT_LE(0, attachment);
		EXPECT_EQ(-EIO, map(self->importer, attachment, NULL)) {
			TH_LOG("needs %zu", i);
		}
		close(fd);
	}
}

TEST_F(buffer, cpu_still_has_its_memory)
{
	int attachment = join(self->importer, self->fd, DEVICE());
	char *memory = map_cpu(self->fd, 256 * KIB);
	__u64 at;

	ASSERT_LE(0, attachment);
	ASSERT_NE(MAP_FAILED, memory);
	memset(memory, 0x3c, 256 * KIB);
	EXPECT_EQ(-EIO, map(self->importer, attachment, NULL));
	for (at = 0; at < 256 * KIB; at++)
		ASSERT_EQ(0x3c, memory[at]);
	munmap(memory, 256 * KIB);
}

/* Up to most of what there is to bounce with, were it tried. */
TEST_F(buffer, nothing_is_bounced_by_trying)
{
	__u64 len;

	for (len = PAGE; len <= 48 * MIB; len = len < 32 * MIB ? len * 2 : len + 16 * MIB) {
		int fd = create(len);
		int attachment = join(self->importer, fd,
				      DEVICE(.parms_max_segment_size = 128 * KIB));
		long before = slots_ever();

		ASSERT_LE(0, attachment);
		ASSERT_EQ(-EIO, map(self->importer, attachment, NULL));
		/* Others use it, too. */
		EXPECT_GT(before + 1000, slots_ever()) {
			TH_LOG("%llu bytes", len);
		}
		EXPECT_EQ(CENALLOC_CAUSE_BOUNCED, query_fields(fd).refusal.cause);
		close(fd);
	}
}

/* On x86 its addresses have 28 bits, and the kernel bounces with memory above. */
TEST_F(buffer, device_that_reaches_no_bounce_is_refused)
{
	static struct mapping mapping;
	int edu = open_device("/dev/cenalloc_edu");

	ASSERT_LE(0, edu);
	ASSERT_EQ(0, call_number(edu, EDU_ATTACH, self->fd));
	EXPECT_EQ(-EIO, edu_map(edu, &mapping));
	EXPECT_REFUSAL(self->fd, "the DMA layer copies for *edu*");
	close(edu);
}

TEST_HARNESS_MAIN
