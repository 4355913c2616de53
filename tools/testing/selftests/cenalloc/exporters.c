// SPDX-License-Identifier: GPL-2.0
/*
 * Kernels with the core series: the buffers of every exporter heed the masks in
 * the DMA parameters of who attaches, and bufinfo shows them.
 */

#include <sys/stat.h>
#include <sys/syscall.h>

#include <linux/dma-heap.h>
#include <linux/udmabuf.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "vgem.h"

#define LEN	(16 * PAGE)

/* A device with this mask of classes in its DMA parameters. */
#define ACCESS(mask)	DEVICE(.flags = IMPORTER_PARMS_ACCESS, .access_mask = (mask))

#define EVERYTHING	~0ULL

static int create_in_heap(void)
{
	struct dma_heap_allocation_data data = { .len = LEN, .fd_flags = O_RDWR | O_CLOEXEC };
	int heap = open_device("/dev/dma_heap/system");
	int ret;

	if (heap < 0)
		return heap;
	ret = call(heap, DMA_HEAP_IOCTL_ALLOC, &data);
	close(heap);
	return ret ? ret : (int)data.fd;
}

static int create_in_udmabuf(void)
{
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = LEN };
	int device = open_device("/dev/udmabuf");
	int fd = -EBADF;

	if (device < 0)
		return device;
	create.memfd = syscall(SYS_memfd_create, "exporters", MFD_ALLOW_SEALING);
	if (!ftruncate(create.memfd, LEN) && !fcntl(create.memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		fd = ioctl(device, UDMABUF_CREATE, &create);
	if (fd < 0)
		fd = -errno;
	close(create.memfd);
	close(device);
	return fd;
}

static int create_in_card(void)
{
	int vgem = open_vgem();
	int fd;

	if (vgem < 0)
		return vgem;
	fd = create_in_vgem(vgem, LEN);
	close(vgem);
	return fd;
}

static int create_here(void)
{
	return create(LEN);
}

FIXTURE(exporter) {
	int fd;
	int importer;
};

FIXTURE_VARIANT(exporter) {
	int (*create)(void);
};

FIXTURE_VARIANT_ADD(exporter, system_heap) {
	.create = create_in_heap,
};

FIXTURE_VARIANT_ADD(exporter, udmabuf) {
	.create = create_in_udmabuf,
};

FIXTURE_VARIANT_ADD(exporter, vgem) {
	.create = create_in_card,
};

FIXTURE_VARIANT_ADD(exporter, cenalloc) {
	.create = create_here,
};

FIXTURE_SETUP(exporter)
{
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
	self->fd = variant->create();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(exporter)
{
	close(self->importer);
	close(self->fd);
}

/* What bufinfo tells of one buffer. */
struct info {
	__u64 mask;
	unsigned int count;
	__u64 masks[8];		/* of its attachments */
};

static bool read_bufinfo(int fd, struct info *info)
{
	static char text[256 * 1024];
	unsigned long long inode, mask;
	char *line, *rest = NULL;
	bool found = false;
	struct stat stat;

	memset(info, 0, sizeof(*info));
	if (fstat(fd, &stat))
		return false;
	slurp("/sys/kernel/debug/dma_buf/bufinfo", text, sizeof(text));
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (!found && sscanf(line, "%*u %*x %*x %*d %*s %llu %llx", &inode, &mask) == 2 &&
		    inode == stat.st_ino) {
			info->mask = mask;
			found = true;
		} else if (found && *line == '\t' && strchr(line + 1, '\t') && info->count < 8) {
			mask = strtoull(strchr(line + 1, '\t'), NULL, 16);
			info->masks[info->count++] = mask;
		} else if (found && !strncmp(line, "Total ", 6)) {
			return true;
		}
	}
	return false;
}

#define EXPECT_INFO(wanted, attached) do {				\
	struct info _info;						\
									\
	EXPECT_TRUE(read_bufinfo(self->fd, &_info));				\
	EXPECT_EQ((wanted), _info.mask);				\
	EXPECT_EQ((attached), _info.count);				\
} while (0)

TEST_F(exporter, nothing_said_is_everything)
{
	EXPECT_INFO(EVERYTHING, 0);
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE()));
	EXPECT_INFO(EVERYTHING, 1);
	ASSERT_LE(0, join(self->importer, self->fd, ACCESS(0)));
	EXPECT_INFO(EVERYTHING, 2);
}

TEST_F(exporter, what_is_common_is_admitted)
{
	ASSERT_LE(0, join(self->importer, self->fd, ACCESS(0x7)));
	ASSERT_LE(0, join(self->importer, self->fd, ACCESS(0x5)));
	EXPECT_INFO(0x5, 2);
	/* Each pair has a class in common; all three have one, too. */
	ASSERT_LE(0, join(self->importer, self->fd, ACCESS(0x3)));
	EXPECT_INFO(0x1, 3);
}

TEST_F(exporter, without_anything_in_common_it_is_refused)
{
	int one = join(self->importer, self->fd, ACCESS(0x1));
	struct mapping mapping;

	ASSERT_LE(0, one);
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd, ACCESS(0x2)));
	/* It left no trace, and who was there goes on. */
	EXPECT_INFO(0x1, 1);
	ASSERT_EQ(0, map(self->importer, one, &mapping));
	EXPECT_EQ(LEN, mapping_len(&mapping));
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd, ACCESS(EVERYTHING - 1)));
	EXPECT_EQ(0, unmap(self->importer, one));
	EXPECT_INFO(0x1, 1);
}

TEST_F(exporter, each_two_are_not_all_three)
{
	ASSERT_LE(0, join(self->importer, self->fd, ACCESS(0x3)));
	ASSERT_LE(0, join(self->importer, self->fd, ACCESS(0x6)));
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd, ACCESS(0x5)));
	EXPECT_INFO(0x2, 2);
}

TEST_F(exporter, what_a_user_took_away_comes_back)
{
	int wide, narrow;

	wide = join(self->importer, self->fd, ACCESS(0x3));
	ASSERT_LE(0, wide);
	narrow = join(self->importer, self->fd, ACCESS(0x1));
	ASSERT_LE(0, narrow);
	EXPECT_INFO(0x1, 2);
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd, ACCESS(0x2)));
	ASSERT_EQ(0, detach(self->importer, narrow));
	EXPECT_INFO(0x3, 1);
	ASSERT_LE(0, join(self->importer, self->fd, ACCESS(0x2)));
	EXPECT_INFO(0x2, 2);
	ASSERT_EQ(0, detach(self->importer, wide));
	EXPECT_INFO(0x2, 1);
}

TEST_F(exporter, highest_class)
{
	ASSERT_LE(0, join(self->importer, self->fd, ACCESS(1ULL << 63 | 0x1)));
	ASSERT_LE(0, join(self->importer, self->fd, ACCESS(0x1)));
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd, ACCESS(1ULL << 63)));
}

TEST_F(exporter, attachments_show_their_masks)
{
	struct info info;

	ASSERT_LE(0, join(self->importer, self->fd, ACCESS(0x7)));
	ASSERT_LE(0, join(self->importer, self->fd, ACCESS(0xd)));
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE()));
	ASSERT_TRUE(read_bufinfo(self->fd, &info));
	ASSERT_EQ(3, info.count);
	/* The last one first. */
	EXPECT_EQ(EVERYTHING, info.masks[0]);
	EXPECT_EQ(0xd, info.masks[1]);
	EXPECT_EQ(0x7, info.masks[2]);
}

/* cenalloc's own buffers choose their memory by it. */

FIXTURE(own) {
	int fd;
	int importer;
};

FIXTURE_SETUP(own)
{
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
	self->fd = create(LEN);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(own)
{
	close(self->importer);
	close(self->fd);
}

TEST_F(own, memory_is_of_a_class_that_all_can_access)
{
	int attachment = join(self->importer, self->fd, ACCESS(CENALLOC_CLASS_SYSTEM_CONTIG));

	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(self->importer, attachment, NULL));
	EXPECT_STREQ("system-contig", buffer_field(self->fd, "allocator"));
	EXPECT_EQ(0, unmap(self->importer, attachment));
}

/* What is declared counts together with what the DMA parameters say. */
TEST_F(own, declared_masks_narrow_further)
{
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM)));
	EXPECT_INFO(CENALLOC_CLASS_SYSTEM, 1);
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd, ACCESS(CENALLOC_CLASS_SYSTEM_CONTIG)));
	EXPECT_REFUSAL(self->fd,
		       "* needs memory of class system-contig, * needs memory of class system");
	EXPECT_INFO(CENALLOC_CLASS_SYSTEM, 1);
}

/* Whoever is declared narrows the buffer, too. */
TEST_F(own, bufinfo_tells_what_was_declared)
{
	ASSERT_EQ(0, declare_needs(self->fd, "declared",
				   NEEDS(.access_mask = CENALLOC_CLASS_SYSTEM)));
	EXPECT_INFO(CENALLOC_CLASS_SYSTEM, 0);
	EXPECT_EQ(-EINVAL, join(self->importer, self->fd, ACCESS(CENALLOC_CLASS_SYSTEM_CONTIG)));
	EXPECT_INFO(CENALLOC_CLASS_SYSTEM, 0);
}

/* Without the core series no device can have such a mask. */
static bool have_series(void)
{
	int importer = open_importer();
	int device = add_device(importer, ACCESS(1));

	close(importer);
	return device != -EOPNOTSUPP;
}

int main(int argc, char **argv)
{
	if (!have_series())
		ksft_exit_skip("this kernel does not have the core series\n");
	return test_harness_run(argc, argv);
}
