// SPDX-License-Identifier: GPL-2.0
/* /dev/dma_heap/cenalloc: what a client of dma-buf heaps sees. */

#include <linux/dma-heap.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"

#define ALLOC_OF(size)	_IOC(_IOC_READ | _IOC_WRITE, 'H', 0x0, size)

FIXTURE(heap) {
	int heap;
	unsigned int buffers;
};

FIXTURE_SETUP(heap)
{
	self->heap = open_device("/dev/dma_heap/cenalloc");
	ASSERT_LE(0, self->heap);
	self->buffers = count_buffers();
}

FIXTURE_TEARDOWN(heap)
{
	EXPECT_EQ(self->buffers, settled_buffers(self->buffers));
	close(self->heap);
}

static int alloc(int heap, __u64 len)
{
	struct dma_heap_allocation_data data = { .len = len, .fd_flags = O_RDWR | O_CLOEXEC };
	int ret = call(heap, DMA_HEAP_IOCTL_ALLOC, &data);

	return ret ? ret : (int)data.fd;
}

TEST_F(heap, lengths)
{
	const __u64 lengths[][2] = {
		{ 1, PAGE }, { PAGE, PAGE }, { PAGE + 1, 2 * PAGE }, { MIB, MIB }, { GIB, GIB },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		int fd = alloc(self->heap, lengths[i][0]);

		ASSERT_LE(0, fd);
		EXPECT_EQ(lengths[i][1], (__u64)lseek(fd, 0, SEEK_END));
		close(fd);
	}
}

TEST_F(heap, wrong_lengths)
{
	EXPECT_EQ(-EINVAL, alloc(self->heap, 0));
	EXPECT_EQ(-EINVAL, alloc(self->heap, -1ULL));
	EXPECT_EQ(-EINVAL, alloc(self->heap, -4095ULL));
	EXPECT_EQ(-EINVAL, alloc(self->heap, -4096ULL));
	EXPECT_EQ(-EINVAL, alloc(self->heap, 1ULL << 63));
	EXPECT_EQ(-EINVAL, alloc(self->heap, (1ULL << 63) - 1));
}

TEST_F(heap, memory_comes_with_the_first_touch)
{
	const __u64 len = 77 * PAGE;
	char text[64 * KIB], line[LINE], part[64];
	int fd = alloc(self->heap, len);
	char *memory;

	ASSERT_LE(0, fd);
	snprintf(part, sizeof(part), " size=%llu ", len);
	slurp(DEBUGFS "buffers", text, sizeof(text));
	ASSERT_TRUE(find_line(text, part, line, sizeof(line)));
	EXPECT_STREQ("empty", field(line, "state"));
	EXPECT_STREQ("", field(line, "name"));
	memory = map_cpu(fd, len);
	ASSERT_NE(MAP_FAILED, memory);
	memory[len - 1] = 1;
	slurp(DEBUGFS "buffers", text, sizeof(text));
	ASSERT_TRUE(find_line(text, part, line, sizeof(line)));
	EXPECT_STREQ("backed", field(line, "state"));
	munmap(memory, len);
	close(fd);
}

TEST_F(heap, devices_narrow_it)
{
	static struct mapping mapping;
	int fd = alloc(self->heap, MIB), importer = open_importer();
	int attachment = join(importer, fd, DEVICE(.LIMIT = LOW(28), .max_segments = 1));

	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(importer, attachment, &mapping));
	EXPECT_EQ(1, mapping.count);
	EXPECT_LE(last_address(&mapping), LOW(28));
	EXPECT_EQ(-EINVAL, join(importer, fd, DEVICE(.max_address = 0xffff)));
	close(importer);
	close(fd);
}

TEST_F(heap, descriptor_flags)
{
	const unsigned int modes[] = { O_RDONLY, O_WRONLY, O_RDWR };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		struct dma_heap_allocation_data data = { .len = PAGE, .fd_flags = modes[i] };

		ASSERT_EQ(0, call(self->heap, DMA_HEAP_IOCTL_ALLOC, &data));
		EXPECT_EQ(modes[i], fcntl(data.fd, F_GETFL) & O_ACCMODE);
		EXPECT_EQ(0, fcntl(data.fd, F_GETFD));
		close(data.fd);
		data.fd = 0;
		data.fd_flags |= O_CLOEXEC;
		ASSERT_EQ(0, call(self->heap, DMA_HEAP_IOCTL_ALLOC, &data));
		EXPECT_EQ(FD_CLOEXEC, fcntl(data.fd, F_GETFD));
		close(data.fd);
	}
}

TEST_F(heap, unknown_descriptor_flags)
{
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		struct dma_heap_allocation_data data = { .len = PAGE, .fd_flags = 1U << bit };

		if (data.fd_flags & (O_ACCMODE | O_CLOEXEC))
			continue;
		EXPECT_EQ(-EINVAL, call(self->heap, DMA_HEAP_IOCTL_ALLOC, &data)) {
			TH_LOG("bit %u", bit);
		}
	}
}

TEST_F(heap, unknown_heap_flags)
{
	unsigned int bit;

	for (bit = 0; bit < 64; bit++) {
		struct dma_heap_allocation_data data = {
			.len = PAGE,
			.fd_flags = O_RDWR,
			.heap_flags = 1ULL << bit,
		};

		EXPECT_EQ(-EINVAL, call(self->heap, DMA_HEAP_IOCTL_ALLOC, &data)) {
			TH_LOG("bit %u", bit);
		}
	}
}

TEST_F(heap, descriptor_in_the_request)
{
	struct dma_heap_allocation_data data = { .len = PAGE, .fd_flags = O_RDWR, .fd = 1 };

	EXPECT_EQ(-EINVAL, call(self->heap, DMA_HEAP_IOCTL_ALLOC, &data));
}

/* Without the flags at its end. */
TEST_F(heap, older_structure)
{
	struct dma_heap_allocation_data data = {
		.len = PAGE,
		.fd_flags = O_RDWR | O_CLOEXEC,
		.heap_flags = -1ULL,
	};

	EXPECT_EQ(0, call(self->heap, ALLOC_OF(16), &data));
	EXPECT_LT(0, data.fd);
	EXPECT_EQ(-1ULL, data.heap_flags);
	close(data.fd);
}

/* Nobody would know how to close the buffer. */
TEST_F(heap, no_room_for_the_descriptor)
{
	struct dma_heap_allocation_data data = { .len = PAGE };
	unsigned int before = count_buffers(), size;

	for (size = 0; size < offsetof(struct dma_heap_allocation_data, fd_flags); size++) {
		EXPECT_EQ(-EINVAL, call(self->heap, ALLOC_OF(size), &data)) {
			TH_LOG("size %u", size);
		}
	}
	EXPECT_EQ(before, count_buffers());
	EXPECT_EQ(0, call(self->heap, ALLOC_OF(size), &data));
	EXPECT_LT(0, data.fd);
	close(data.fd);
}

/* A heap does not look at what it does not know. */
TEST_F(heap, newer_structure)
{
	struct {
		struct dma_heap_allocation_data data;
		__u64 more[13];
	} newer = { .data = { .len = PAGE, .fd_flags = O_RDWR } };

	memset(newer.more, 0xff, sizeof(newer.more));
	EXPECT_EQ(0, call(self->heap, ALLOC_OF(sizeof(newer)), &newer));
	EXPECT_LT(0, newer.data.fd);
	close(newer.data.fd);
}

TEST_F(heap, unknown_numbers)
{
	struct dma_heap_allocation_data data = { .len = PAGE, .fd_flags = O_RDWR };
	unsigned int nr;

	for (nr = 1; nr < 256; nr++) {
		EXPECT_NE(0, call(self->heap, _IOC(3, 'H', nr, sizeof(data)), &data)) {
			TH_LOG("number %u", nr);
		}
	}
}

TEST_F(heap, bad_pointers)
{
	const uintptr_t wrong[] = {
		0, 1, 0x0000800000000000, 0xffff888000000000, -24UL, -1UL,
	};
	struct dma_heap_allocation_data data = { .len = PAGE, .fd_flags = O_RDWR };
	char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int next, i;

	for (i = 0; i < (int)ARRAY_SIZE(wrong); i++) {
		EXPECT_EQ(-EFAULT, call(self->heap, DMA_HEAP_IOCTL_ALLOC, (void *)wrong[i])) {
			TH_LOG("pointer %#lx", wrong[i]);
		}
	}
	/* The answer cannot be written: no descriptor stays. */
	ASSERT_NE(MAP_FAILED, page);
	memcpy(page, &data, sizeof(data));
	ASSERT_EQ(0, mprotect(page, PAGE, PROT_READ));
	next = dup(self->heap);
	close(next);
	for (i = 0; i < 8; i++)
		EXPECT_EQ(-EFAULT, call(self->heap, DMA_HEAP_IOCTL_ALLOC, page));
	EXPECT_EQ(next, dup(self->heap));
	close(next);
	munmap(page, PAGE);
}

TEST_HARNESS_MAIN
