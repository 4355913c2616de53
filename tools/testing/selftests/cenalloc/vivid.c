// SPDX-License-Identifier: GPL-2.0
/*
 * vivid, an unmodified importer. The first of its devices takes a buffer by DMA
 * and needs it in one run below 4 GiB (allocators=1), the second by the kernel's
 * address of it (allocators=0). Frames of one colour tell that all bytes came.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "cenalloc_c_exporter.h"
#include "calls.h"
#include "policy.h"
#include "camera.h"

#define FRAMES	2

#define KNOWN_NEEDS	"/sys/module/dma_buf_constraints/parameters/known_needs"

FIXTURE(vivid) {
	int dma;	/* the camera that needs one run below 4 GiB */
	int cpu;	/* the camera that uses the kernel's address */
	int len;
	int importer;
	int fds[FRAMES];
};

FIXTURE_SETUP(vivid)
{
	int i;

	self->dma = open_camera(0);
	ASSERT_LE(0, self->dma);
	self->cpu = open_camera(1);
	ASSERT_LE(0, self->cpu);
	self->len = set_up(self->dma, RED);
	ASSERT_EQ(3 * WIDTH * HEIGHT, self->len);
	ASSERT_EQ(self->len, set_up(self->cpu, BLUE));
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
	for (i = 0; i < FRAMES; i++) {
		self->fds[i] = create(self->len);
		ASSERT_LE(0, self->fds[i]);
	}
}

FIXTURE_TEARDOWN(vivid)
{
	int i;

	close(self->dma);
	close(self->cpu);
	close(self->importer);
	for (i = 0; i < FRAMES; i++)
		close(self->fds[i]);
}

/* Captures a frame into each buffer and looks at all of it. */
static void check_frames(struct __test_metadata *_metadata, int camera, const int *fds, int len,
			 int channel)
{
	bool seen[FRAMES] = {};
	int i, index;

	for (i = 0; i < FRAMES; i++)
		ASSERT_EQ(0, queue(camera, i, fds[i]));
	ASSERT_EQ(0, stream(camera, true));
	for (i = 0; i < FRAMES; i++) {
		unsigned char *frame;

		index = dequeue(camera);
		ASSERT_LE(0, index);
		ASSERT_GT(FRAMES, index);
		seen[index] = true;
		frame = map_cpu(fds[index], len);
		ASSERT_NE(MAP_FAILED, frame);
		EXPECT_EQ(0, sync_cpu(fds[index], DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ));
		EXPECT_EQ(WIDTH * HEIGHT, count_pixels(frame, channel)) {
			TH_LOG("first pixel %u %u %u", frame[0], frame[1], frame[2]);
		}
		EXPECT_EQ(0, sync_cpu(fds[index], DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ));
		munmap(frame, len);
	}
	EXPECT_EQ(0, stream(camera, false));
	EXPECT_TRUE(seen[0] && seen[1]);
}

/* vivid does not tell that it needs one run: somebody who does attaches before. */
static void ask_for_one_run(struct __test_metadata *_metadata, int importer, const int *fds)
{
	int i;

	for (i = 0; i < FRAMES; i++)
		ASSERT_LE(0, join(importer, fds[i], DEVICE(.name = "linear", .max_segments = 1)));
}

TEST_F(vivid, dma_captures_into_it)
{
	static struct mapping mapping;
	char lines[LINE];
	int attachment;

	ask_for_one_run(_metadata, self->importer, self->fds);
	ASSERT_EQ(0, request(self->dma, FRAMES));
	check_frames(_metadata, self->dma, self->fds, self->len, 0);
	EXPECT_STREQ("system-contig", buffer_field(self->fds[0], "allocator"));
	EXPECT_STREQ("2^32", buffer_field(self->fds[0], "below"));
	EXPECT_EQ(1, buffer_number(self->fds[0], "maps"));
	device_lines(self->fds[0], lines, sizeof(lines));
	EXPECT_NE(NULL, strstr(lines, "device=\"vivid.0\""));
	/* What a second device is told of the same memory. */
	attachment = join(self->importer, self->fds[0], DEVICE());
	ASSERT_EQ(0, map(self->importer, attachment, &mapping));
	EXPECT_EQ(1, mapping.count);
	EXPECT_LE(last_address(&mapping), BITS(32));
	/* Its users go when it gives the buffers up. */
	ASSERT_EQ(0, detach(self->importer, attachment));
	ASSERT_EQ(0, request(self->dma, 0));
	EXPECT_EQ(1, buffer_number(self->fds[0], "users"));
	EXPECT_EQ(0, buffer_number(self->fds[0], "maps"));
	EXPECT_STREQ("any", buffer_field(self->fds[0], "below"));
}

TEST_F(vivid, dma_with_its_needs_declared)
{
	struct exporter_device device = { .name = "vivid.0", .constraints.max_segments = 1 };
	int exporter = open_device("/dev/cenalloc_c_exporter");

	ASSERT_LE(0, exporter);
	ASSERT_EQ(0, call(exporter, EXPORTER_DECLARE, &device));
	ASSERT_EQ(0, request(self->dma, FRAMES));
	check_frames(_metadata, self->dma, self->fds, self->len, 0);
	EXPECT_STREQ("1", buffer_field(self->fds[0], "segments"));
	device.constraints.max_segments = 0;
	EXPECT_EQ(0, call(exporter, EXPORTER_DECLARE, &device));
	close(exporter);
}

TEST_F(vivid, kernel_address_captures_into_it)
{
	ASSERT_EQ(0, request(self->cpu, FRAMES));
	check_frames(_metadata, self->cpu, self->fds, self->len, 2);
	EXPECT_STREQ("system", buffer_field(self->fds[0], "allocator"));
	EXPECT_STREQ("any", buffer_field(self->fds[0], "below"));
}

/* Nobody said so: its queue does, unless the administrator says that nothing is known. */
TEST_F(vivid, dma_is_known)
{
	const char * const unknown[] = { NULL, "", "module:vivid", "platform:vivid.0" };
	struct cenalloc_user *user;
	struct told told;
	unsigned int i;

	ASSERT_TRUE(have_policies());
	for (i = 0; i < ARRAY_SIZE(unknown); i++) {
		ASSERT_EQ(0, write_file(KNOWN_NEEDS, i == 1 ? "N" : "Y"));
		if (i > 1) {
			ASSERT_EQ(0, make_policy(unknown[i]));
			ASSERT_EQ(0, say(unknown[i], "known_needs", "0"));
		}
		ASSERT_EQ(0, request(self->dma, FRAMES));
		ASSERT_EQ(0, queue(self->dma, 0, self->fds[0]));
		ASSERT_EQ(0, query(self->fds[0], &told));
		user = told_user(&told, "vivid.0");
		ASSERT_NE(NULL, user);
		EXPECT_EQ(0, user->constraints.max_segments);
		EXPECT_EQ(i ? 0 : CENALLOC_PREFERS_CONTIGUOUS, user->preferences);
		EXPECT_EQ(0, user->unmet);
		EXPECT_EQ(i ? CENALLOC_SOURCE_UNKNOWN : CENALLOC_SOURCE_OBJECTS,
			  user->sources[CENALLOC_FIELD_CONTIGUOUS]);
		EXPECT_STREQ(i ? "" : "vivid", user->origin);
		EXPECT_EQ(0, request(self->dma, 0));
		if (i > 1)
			EXPECT_EQ(0, remove_policy(unknown[i]));
	}
	EXPECT_EQ(0, write_file(KNOWN_NEEDS, "Y"));
}

/* Lengths of frames, of which none is a power of two. */
TEST_F(vivid, dma_with_nothing_declared)
{
	const __u64 lens[] = { 172800, 921600, 2457600, 3686400 };
	size_t i;
	int j;

	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		EXPECT_EQ(100, queue_many(self->dma, 10, 10, lens[i], false));
		EXPECT_EQ(100, queue_many(self->dma, 10, 10, lens[i], true));
		for (j = 0; j < FRAMES; j++) {
			close(self->fds[j]);
			self->fds[j] = create(lens[i]);
		}
		ASSERT_EQ(0, request(self->dma, FRAMES));
		check_frames(_metadata, self->dma, self->fds, self->len, 0);
		EXPECT_EQ(0, request(self->dma, 0));
	}
}

/* Scattered memory is one range of the kernel's addresses. */
TEST_F(vivid, kernel_address_of_scattered_memory)
{
	static struct mapping mapping;
	int attachment, i, runs = 0;

	for (i = 0; i < FRAMES; i++) {
		/* Longer than the largest block. */
		close(self->fds[i]);
		self->fds[i] = create(4 * MIB + self->len);
		ASSERT_LE(0, self->fds[i]);
		attachment = join(self->importer, self->fds[i], DEVICE(.access_mask = 0x1));
		ASSERT_LE(0, attachment);
		ASSERT_EQ(0, map(self->importer, attachment, &mapping));
		runs += mapping.count;
	}
	EXPECT_LT(FRAMES, runs);
	ASSERT_EQ(0, set_control(self->cpu, "Test Pattern", GREEN));
	ASSERT_EQ(0, request(self->cpu, FRAMES));
	check_frames(_metadata, self->cpu, self->fds, self->len, 1);
}

TEST_F(vivid, both_cameras_one_after_the_other)
{
	ask_for_one_run(_metadata, self->importer, self->fds);
	ASSERT_EQ(0, request(self->dma, FRAMES));
	ASSERT_EQ(0, request(self->cpu, FRAMES));
	check_frames(_metadata, self->dma, self->fds, self->len, 0);
	check_frames(_metadata, self->cpu, self->fds, self->len, 2);
	check_frames(_metadata, self->dma, self->fds, self->len, 0);
}

TEST_F(vivid, late_joiner_that_fits)
{
	static struct mapping mapping, again;
	int attachment, i;

	for (i = 0; i < FRAMES; i++) {
		attachment = join(self->importer, self->fds[i],
				  DEVICE(.LIMIT = LOW(28), .max_segments = 1));
		ASSERT_LE(0, attachment);
		ASSERT_EQ(0, map(self->importer, attachment, i ? &again : &mapping));
	}
	ASSERT_EQ(0, request(self->dma, FRAMES));
	check_frames(_metadata, self->dma, self->fds, self->len, 0);
	EXPECT_EQ(2, buffer_number(self->fds[0], "users"));
	EXPECT_EQ(0, buffer_number(self->fds[0], "late"));
}

TEST_F(vivid, too_short_a_buffer)
{
	int fd = create(self->len / 2);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, request(self->dma, FRAMES));
	EXPECT_EQ(-EINVAL, queue(self->dma, 0, fd));
	EXPECT_EQ(0, buffer_number(fd, "users"));
	EXPECT_STREQ("empty", buffer_field(fd, "state"));
	close(fd);
}

TEST_F(vivid, closed_while_it_streams)
{
	unsigned int buffers = count_buffers();
	int i;

	ask_for_one_run(_metadata, self->importer, self->fds);
	ASSERT_EQ(0, request(self->dma, FRAMES));
	for (i = 0; i < FRAMES; i++)
		ASSERT_EQ(0, queue(self->dma, i, self->fds[i]));
	ASSERT_EQ(0, stream(self->dma, true));
	close(self->importer);
	for (i = 0; i < FRAMES; i++)
		close(self->fds[i]);
	ASSERT_LE(0, dequeue(self->dma));
	EXPECT_EQ(buffers, count_buffers());
	close(self->dma);
	EXPECT_EQ(buffers - FRAMES, settled_buffers(buffers - FRAMES));
	self->dma = open_camera(0);
	self->importer = open_importer();
	for (i = 0; i < FRAMES; i++)
		self->fds[i] = create(PAGE);
}

TEST_HARNESS_MAIN
