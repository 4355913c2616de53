// SPDX-License-Identifier: GPL-2.0
/*
 * The last: nothing is left of all tests before, and nothing stays behind when
 * each path is taken many times.
 */

#include <sched.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "memory.h"

/*
 * A page less per cycle is 8 MiB less in the end, and noticed from a quarter of
 * that on; an object of kmalloc() in every second cycle is noticed, too. A slower
 * kernel goes through fewer cycles, and less is noticed: such a one has kmemleak.
 */
#define CYCLES			2048
#define WARM_UP			256
#define TOLERANCE		(CYCLES * 4 / 4)
#define SLAB_TOLERANCE		(CYCLES * 128 / 1024)
#define OBJECT_TOLERANCE	(CYCLES / 2)

/* Objects of kmalloc() that are in use. */
static long count_objects(void)
{
	static char text[256 * 1024];
	long objects = 0, count;
	char *line, *rest = NULL;

	slurp("/proc/slabinfo", text, sizeof(text));
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (sscanf(line, "kmalloc-%*s %ld", &count) == 1)
			objects += count;
	return objects;
}

/* KASAN, with which a kernel is slower, keeps what was freed until it is asked. */
static void empty_quarantine(void)
{
	DIR *caches = slower() == 1 ? NULL : opendir("/sys/kernel/slab");
	struct dirent *cache;
	char path[300];

	if (!caches)
		return;
	while ((cache = readdir(caches))) {
		if (*cache->d_name == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", cache->d_name);
		write_file(path, "1");
	}
	closedir(caches);
}

/* Lets go of what goes by itself a little later, and brings the counters up to date. */
static void settle(void)
{
	write_file("/proc/sys/vm/drop_caches", "3");
	settled_buffers(0);
	usleep(100000);
	empty_quarantine();
	write_file("/proc/sys/vm/stat_refresh", "1");
}

/* Devices that are made once, to be attached in each cycle. */
enum { PLAIN, FINE, LINEAR, TINY, ODD, SCATTERED, CONTIG, NEAR, DEVICES };

static const struct importer_add needs[DEVICES] = {
	[FINE] = { .max_segment_size = 4096 },
	[LINEAR] = { .max_segments = 1, .dma_mask = BITS(32) },
	[TINY] = { .max_address = 0xfff },
	[ODD] = { .max_segment_size = 4096, .max_segments = 1 },
	[SCATTERED] = { .access_mask = CENALLOC_CLASS_SYSTEM },
	[CONTIG] = { .access_mask = CENALLOC_CLASS_SYSTEM_CONTIG },
	[NEAR] = { .max_address = LOW(20) },
};

static int importer, devices[DEVICES];

static int join_as(int device, int fd)
{
	return attach(importer, devices[device], fd);
}

struct usage {
	long free;	/* KiB, as the next two */
	long slab;
	long vmalloc;
	long objects;
};

static struct usage measure(void)
{
	struct usage usage;

	settle();
	usage.free = free_kib();
	usage.slab = kib_of("SUnreclaim:");
	usage.vmalloc = kib_of("VmallocUsed:");
	usage.objects = count_objects();
	return usage;
}

static void check_cycles(struct __test_metadata *_metadata, void (*cycle)(int i))
{
	int i, cycles = CYCLES / slower();
	struct usage before, after;

	importer = open_importer();
	for (i = 0; i < DEVICES; i++) {
		devices[i] = add_device(importer, needs[i]);
		ASSERT_LE(0, devices[i]);
	}
	for (i = 0; i < WARM_UP / slower(); i++)
		cycle(i);
	before = measure();
	ASSERT_LT(0, before.free);
	ASSERT_LT(0, before.slab);
	ASSERT_LT(0, before.vmalloc);
	ASSERT_LT(0, before.objects);
	for (i = 0; i < cycles; i++)
		cycle(i);
	after = measure();
	TH_LOG("%d cycles: %ld KiB less free, more: %ld KiB slab, %ld KiB vmalloc, %ld objects",
	       cycles, before.free - after.free, after.slab - before.slab,
	       after.vmalloc - before.vmalloc, after.objects - before.objects);
	EXPECT_GT(TOLERANCE, before.free - after.free);
	EXPECT_GT(SLAB_TOLERANCE, after.slab - before.slab);
	EXPECT_GT(TOLERANCE, after.vmalloc - before.vmalloc);
	EXPECT_GT(OBJECT_TOLERANCE, after.objects - before.objects);
	EXPECT_EQ(0, settled_buffers(0));
	close(importer);
}

static void must(bool good)
{
	if (!good)
		abort();
}

TEST(no_buffer_is_left)
{
	EXPECT_EQ(0, settled_buffers(0));
	EXPECT_EQ(0, count_lines(DEBUGFS "devices"));
}

TEST(no_byte_is_left)
{
	struct cenalloc_allocator_info list[ALLOCATORS];
	int i, count = list_allocators(list);

	ASSERT_LE(2, count);
	for (i = 0; i < count; i++) {
		EXPECT_EQ(0, list[i].used) {
			TH_LOG("%s", list[i].name);
		}
	}
}

static void create_and_close(int i)
{
	int fd = create(i % 2 ? PAGE : MIB);

	must(fd >= 0);
	close(fd);
}

TEST(cycles_of_create_and_close)
{
	check_cycles(_metadata, create_and_close);
}

static void map_and_close(int i)
{
	int fd = create((1 + i % 48) * PAGE), attachment;

	attachment = join_as(i % 2 ? PLAIN : FINE, fd);
	must(attachment >= 0 && !map(importer, attachment, NULL));
	must(!unmap(importer, attachment) && !map_for(importer, attachment, i % 3, NULL));
	must(!detach(importer, attachment));
	close(fd);
}

TEST(cycles_of_map_and_close)
{
	check_cycles(_metadata, map_and_close);
}

static void contiguous(int i)
{
	int fd = create((1 + i % 40) * PAGE);
	int attachment = join_as(LINEAR, fd);

	must(attachment >= 0 && !map(importer, attachment, NULL) && !detach(importer, attachment));
	close(fd);
}

TEST(cycles_of_contiguous)
{
	check_cycles(_metadata, contiguous);
}

static void touch_and_close(int i)
{
	__u64 len = (1 + i % 9) * PAGE;
	int fd = create(len);
	char *memory = map_cpu(fd, len);

	must(memory != MAP_FAILED);
	memory[0] = 1;
	memory[len - 1] = 1;
	if (i % 2)
		close(fd);
	munmap(memory, len);
	if (!(i % 2))
		close(fd);
}

TEST(cycles_of_touch_and_close)
{
	check_cycles(_metadata, touch_and_close);
}

/* Every way to fail that got hold of something before. */
static void refused(int i)
{
	int fd = create(16 * PAGE), attachment;

	(void)i;
	must(join_as(TINY, fd) == -EINVAL);
	must(join_as(ODD, fd) == -EINVAL);
	attachment = join_as(SCATTERED, fd);
	must(attachment >= 0);
	must(join_as(CONTIG, fd) == -EINVAL);
	must(!map(importer, attachment, NULL));
	must(join_as(NEAR, fd) == -EBUSY);
	must(!detach(importer, attachment));
	close(fd);
}

TEST(cycles_of_refused)
{
	check_cycles(_metadata, refused);
}

/* Devices that declare their needs, come, and go while they are attached. */
static void come_and_go(int i)
{
	int other, fd;

	/* It takes long: fewer, with several devices each. */
	if (i % 8)
		return;
	other = open_importer();
	fd = create(PAGE);
	for (i = 0; i < 4; i++)
		must(join(other, fd, needs[i]) >= 0 || i == TINY);
	close(other);
	close(fd);
}

TEST(cycles_of_come_and_go)
{
	check_cycles(_metadata, come_and_go);
}

static void wrong_calls(int i)
{
	struct cenalloc_create create = { .len = PAGE, .fd_flags = O_RDWR };
	static void *read_only;
	int device = open_device("/dev/cenalloc");

	(void)i;
	if (!read_only) {
		read_only = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				 -1, 0);
		memcpy(read_only, &create, sizeof(create));
		mprotect(read_only, PAGE, PROT_READ);
	}
	must(call(device, CENALLOC_CREATE, read_only) == -EFAULT);
	create.flags = 1;
	must(call(device, CENALLOC_CREATE, &create) == -EINVAL);
	close(device);
}

TEST(cycles_of_wrong_calls)
{
	check_cycles(_metadata, wrong_calls);
}

/* The measure itself: that much is noticed. */
TEST(a_page_a_cycle_would_be_noticed)
{
	struct usage before, after;
	char *memory;
	int i;

	before = measure();
	memory = mmap(NULL, CYCLES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	ASSERT_NE(MAP_FAILED, memory);
	madvise(memory, CYCLES * PAGE, MADV_NOHUGEPAGE);
	for (i = 0; i < CYCLES; i++)
		memory[i * PAGE] = 1;
	after = measure();
	EXPECT_LE(2 * TOLERANCE, before.free - after.free);
	munmap(memory, CYCLES * PAGE);
}

TEST_HARNESS_MAIN
