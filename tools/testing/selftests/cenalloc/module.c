// SPDX-License-Identifier: GPL-2.0
/* Unloading: impossible while anything lives, safe and complete otherwise. */

#include <sys/stat.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "modules.h"

FIXTURE(module) {};

FIXTURE_SETUP(module)
{
	ASSERT_EQ(0, settled_buffers(0));
}

/* Whatever happened, the module is there for the next test. */
FIXTURE_TEARDOWN(module)
{
	if (!is_loaded("cenalloc"))
		EXPECT_EQ(0, load("cenalloc"));
}

#define EXPECT_BUSY() do {					\
	EXPECT_EQ(-EWOULDBLOCK, unload("cenalloc"));		\
	EXPECT_TRUE(is_loaded("cenalloc"));			\
} while (0)

TEST_F(module, kept_by_an_open_device)
{
	int fd = open_device("/dev/cenalloc");

	ASSERT_LE(0, fd);
	EXPECT_BUSY();
	close(fd);
	fd = open_device("/dev/dma_heap/cenalloc");
	ASSERT_LE(0, fd);
	EXPECT_BUSY();
	close(fd);
	EXPECT_EQ(0, unload_patiently("cenalloc"));
}

TEST_F(module, kept_by_an_empty_buffer)
{
	int fd = create(PAGE);

	ASSERT_LE(0, fd);
	EXPECT_BUSY();
	close(fd);
	EXPECT_EQ(0, unload_patiently("cenalloc"));
}

TEST_F(module, kept_by_a_mapping_of_the_cpu)
{
	int fd = create(MIB);
	char *memory = map_cpu(fd, MIB);

	ASSERT_NE(MAP_FAILED, memory);
	close(fd);
	EXPECT_BUSY();
	/* It is all there for the first touch. */
	memory[MIB - 1] = 1;
	EXPECT_BUSY();
	munmap(memory, MIB);
	EXPECT_EQ(0, unload_patiently("cenalloc"));
}

TEST_F(module, kept_by_an_attachment)
{
	int fd = create(MIB), importer = open_importer();
	int attachment = join(importer, fd, DEVICE());

	ASSERT_LE(0, attachment);
	close(fd);
	EXPECT_BUSY();
	EXPECT_EQ(0, map(importer, attachment, NULL));
	EXPECT_BUSY();
	EXPECT_EQ(0, detach(importer, attachment));
	EXPECT_EQ(0, unload_patiently("cenalloc"));
	close(importer);
}

TEST_F(module, constraints_kept_by_its_users)
{
	EXPECT_EQ(-EWOULDBLOCK, unload("dma_buf_constraints"));
	EXPECT_TRUE(is_loaded("dma_buf_constraints"));
}

TEST_F(module, nothing_is_left_behind)
{
	ASSERT_EQ(0, unload_patiently("cenalloc"));
	EXPECT_FALSE(is_loaded("cenalloc"));
	EXPECT_NE(0, access("/dev/cenalloc", F_OK));
	EXPECT_NE(0, access("/dev/dma_heap/cenalloc", F_OK));
	EXPECT_NE(0, access("/sys/kernel/debug/cenalloc", F_OK));
	ASSERT_EQ(0, load("cenalloc"));
	EXPECT_EQ(0, access("/dev/cenalloc", F_OK));
	EXPECT_EQ(0, access("/dev/dma_heap/cenalloc", F_OK));
	EXPECT_EQ(0, access("/sys/kernel/debug/cenalloc/buffers", F_OK));
}

TEST_F(module, loaded_again_and_again)
{
	int i;

	for (i = 0; i < 5; i++) {
		int fd, importer = open_importer();
		char *memory;

		ASSERT_EQ(0, unload_patiently("cenalloc"));
		ASSERT_EQ(0, load("cenalloc"));
		fd = create(MIB);
		ASSERT_LE(0, fd);
		memory = map_cpu(fd, MIB);
		ASSERT_NE(MAP_FAILED, memory);
		memory[0] = 1;
		EXPECT_EQ(0, map(importer, join(importer, fd, DEVICE()), NULL));
		EXPECT_EQ(-EBUSY, join(importer, fd, DEVICE(.dma_mask = BITS(32))));
		munmap(memory, MIB);
		close(importer);
		close(fd);
	}
}

TEST_F(module, all_of_them_loaded_again)
{
	/* vivid, too: what was declared for it keeps dma_buf_constraints. */
	const char *const modules[] = {
		"vivid", "cenalloc_c_exporter", "cenalloc_edu", "cenalloc_importer", "cenalloc",
		"dma_buf_constraints",
	};
	int i, fd, importer;

	for (i = 0; i < (int)ARRAY_SIZE(modules); i++) {
		EXPECT_EQ(0, unload_patiently(modules[i])) {
			TH_LOG("%s", modules[i]);
		}
	}
	for (i = ARRAY_SIZE(modules) - 1; i > 0; i--) {
		EXPECT_EQ(0, load(modules[i])) {
			TH_LOG("%s", modules[i]);
		}
	}
	EXPECT_EQ(0, load("vivid n_devs=2 allocators=1,0"));
	fd = create(PAGE);
	importer = open_importer();
	EXPECT_EQ(0, map(importer, join(importer, fd, DEVICE(.max_segments = 1)), NULL));
	close(importer);
	close(fd);
	fd = open_device("/dev/cenalloc_edu");
	EXPECT_LE(0, fd);
	close(fd);
	fd = open_device("/dev/cenalloc_c_exporter");
	EXPECT_LE(0, fd);
	close(fd);
}

/* A reader of debugfs is in the middle of what goes. */
TEST_F(module, open_debugfs_file)
{
	char text[4096];
	int fd = open(DEBUGFS "buffers", O_RDONLY), buffer = create(PAGE);
	ssize_t got;

	ASSERT_LE(0, fd);
	ASSERT_LE(0, buffer);
	ASSERT_LT(0, read(fd, text, 8));
	close(buffer);
	/* It may keep the module, or lose its file. */
	if (!unload_patiently("cenalloc")) {
		got = read(fd, text, sizeof(text));
		EXPECT_GE(0, got);
		close(fd);
		return;
	}
	EXPECT_TRUE(is_loaded("cenalloc"));
	close(fd);
	EXPECT_EQ(0, unload_patiently("cenalloc"));
}

/* A declaration would outlive the table it is in. */
TEST_F(module, constraints_kept_by_a_declaration)
{
	int importer = open_importer();

	ASSERT_LE(0, add_device(importer, DEVICE(.max_segments = 1)));
	EXPECT_EQ(-EWOULDBLOCK, unload("cenalloc_importer"));
	EXPECT_EQ(-EWOULDBLOCK, unload("dma_buf_constraints"));
	close(importer);
}

TEST_HARNESS_MAIN
