// SPDX-License-Identifier: GPL-2.0
/* vgem, an unmodified importer: PRIME import attaches and does not map. */

#include <sys/stat.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "vgem.h"

#define LEN	(1 * MIB)

FIXTURE(vgem) {
	int vgem;
	int fd;
};

FIXTURE_SETUP(vgem)
{
	self->vgem = open_vgem();
	ASSERT_LE(0, self->vgem);
	self->fd = create(LEN);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(vgem)
{
	close(self->vgem);
	close(self->fd);
}

TEST_F(vgem, import_attaches)
{
	char lines[LINE];
	__u32 handle;

	ASSERT_EQ(0, import(self->vgem, self->fd, &handle));
	EXPECT_EQ(1, buffer_number(self->fd, "users"));
	EXPECT_EQ(0, buffer_number(self->fd, "maps"));
	EXPECT_STREQ("empty", buffer_field(self->fd, "state"));
	device_lines(self->fd, lines, sizeof(lines));
	EXPECT_NE(NULL, strstr(field(lines, "device"), "vgem"));
	EXPECT_EQ(0, close_handle(self->vgem, handle));
	EXPECT_EQ(0, buffer_number(self->fd, "users"));
}

TEST_F(vgem, import_narrows_nothing)
{
	__u32 handle;

	ASSERT_EQ(0, import(self->vgem, self->fd, &handle));
	EXPECT_STREQ("any", buffer_field(self->fd, "below"));
	EXPECT_STREQ("any", buffer_field(self->fd, "segments"));
	EXPECT_STREQ("any", buffer_field(self->fd, "class"));
}

TEST_F(vgem, same_buffer_same_handle)
{
	__u32 a, b;

	ASSERT_EQ(0, import(self->vgem, self->fd, &a));
	ASSERT_EQ(0, import(self->vgem, self->fd, &b));
	EXPECT_EQ(a, b);
	EXPECT_EQ(1, buffer_number(self->fd, "users"));
}

TEST_F(vgem, exported_again_it_is_the_same_buffer)
{
	struct stat before, after;
	__u32 handle;
	char *memory;
	int fd;

	ASSERT_EQ(0, import(self->vgem, self->fd, &handle));
	fd = export(self->vgem, handle);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fstat(self->fd, &before));
	ASSERT_EQ(0, fstat(fd, &after));
	EXPECT_EQ(before.st_ino, after.st_ino);
	memory = map_cpu(self->fd, LEN);
	ASSERT_NE(MAP_FAILED, memory);
	memcpy(memory + LEN / 2, "through vgem", 13);
	munmap(memory, LEN);
	memory = map_cpu(fd, LEN);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_STREQ("through vgem", memory + LEN / 2);
	munmap(memory, LEN);
	close(fd);
}

TEST_F(vgem, import_keeps_the_buffer)
{
	unsigned int buffers = count_buffers();
	char *memory = map_cpu(self->fd, LEN);
	__u32 handle;

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, import(self->vgem, self->fd, &handle));
	memory[7] = 7;
	munmap(memory, LEN);
	close(self->fd);
	EXPECT_EQ(buffers, settled_buffers(buffers));
	self->fd = export(self->vgem, handle);
	ASSERT_LE(0, self->fd);
	memory = map_cpu(self->fd, LEN);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(7, memory[7]);
	munmap(memory, LEN);
	EXPECT_EQ(0, close_handle(self->vgem, handle));
}

TEST_F(vgem, closing_the_card_detaches)
{
	__u32 handle;

	ASSERT_EQ(0, import(self->vgem, self->fd, &handle));
	EXPECT_EQ(1, buffer_number(self->fd, "users"));
	close(self->vgem);
	EXPECT_EQ(0, buffer_number(self->fd, "users"));
	self->vgem = open_vgem();
}

TEST_F(vgem, two_cards_files_two_users)
{
	int other = open_vgem();
	__u32 a, b;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, import(self->vgem, self->fd, &a));
	ASSERT_EQ(0, import(other, self->fd, &b));
	EXPECT_EQ(2, buffer_number(self->fd, "users"));
	close(other);
	EXPECT_EQ(1, buffer_number(self->fd, "users"));
}

TEST_F(vgem, late_import_fits)
{
	int importer = open_importer();
	int attachment = join(importer, self->fd, DEVICE(.LIMIT = LOW(28), .max_segments = 1));
	__u32 handle;

	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(importer, attachment, NULL));
	EXPECT_EQ(0, import(self->vgem, self->fd, &handle));
	EXPECT_EQ(2, buffer_number(self->fd, "users"));
	close(importer);
}

TEST_HARNESS_MAIN
