// SPDX-License-Identifier: GPL-2.0
/* The life of one buffer, with a device and with the CPU. */

#include <stdlib.h>
#include <string.h>

#include "bench.h"

static int importer;
static __u32 device;

/* Created, mapped for a device, and gone. */
static void life_with_device(const struct sample *of, const struct exporter *exporter)
{
	__u32 attachment;
	int fd;

	MEASURE(of, "create", fd = exporter->create(exporter->device, of->size));
	MEASURE(of, "attach", attachment = attach(importer, device, fd));
	MEASURE(of, "map", map(importer, attachment, of->size));
	MEASURE(of, "unmap", unmap(importer, attachment));
	MEASURE(of, "detach", detach(importer, attachment));
	MEASURE(of, "close", xclose(fd));
}

/* One byte a page. */
static void touch(void *memory, __u64 len)
{
	__u64 at;

	for (at = 0; at < len; at += PAGE)
		__atomic_store_n((char *)memory + at, 1, __ATOMIC_RELAXED);
}

/* All but what touch() wrote must be zero. Leaves the memory dirty for whoever is next. */
static void check_zero(void *memory, __u64 len)
{
	const __u64 *words = memory;
	__u64 i, wrong = 0;

	for (i = 0; i < len / sizeof(*words); i++)
		wrong |= words[i] ^ !(i % (PAGE / sizeof(*words)));
	if (wrong)
		die("new memory is not zero");
	memset(memory, 0xff, len);
}

/* Created, touched by the CPU, and gone. */
static void life_with_cpu(const struct sample *of, const struct exporter *exporter)
{
	void *memory;
	int fd;

	MEASURE(of, "create", fd = exporter->create(exporter->device, of->size));
	MEASURE(of, "mmap", memory = xmmap(fd, of->size));
	MEASURE(of, "touch", touch(memory, of->size));
	check_zero(memory, of->size);
	MEASURE(of, "munmap", xmunmap(memory, of->size));
	MEASURE(of, "close", xclose(fd));
}

/*
 * Attached and detached, by itself and when somebody has had the buffer mapped.
 * Mapped again, for a device and by the CPU.
 */
static void join(const struct sample *of, const struct exporter *exporter)
{
	int fd = exporter->create(exporter->device, of->size);
	__u32 attachment;
	void *memory;

	MEASURE(of, "first attach", attachment = attach(importer, device, fd));
	MEASURE(of, "first detach", detach(importer, attachment));
	attachment = attach(importer, device, fd);
	map(importer, attachment, of->size);
	unmap(importer, attachment);
	MEASURE(of, "map again", map(importer, attachment, of->size));
	MEASURE(of, "unmap again", unmap(importer, attachment));
	detach(importer, attachment);
	MEASURE(of, "attach", attachment = attach(importer, device, fd));
	MEASURE(of, "detach", detach(importer, attachment));
	MEASURE(of, "mmap", memory = xmmap(fd, of->size));
	MEASURE(of, "touch", touch(memory, of->size));
	xmunmap(memory, of->size);
	xclose(fd);
}

static const struct {
	const char *test;
	void (*run)(const struct sample *of, const struct exporter *exporter);
} tests[] = {
	{ "device", life_with_device },
	{ "cpu", life_with_cpu },
	{ "join", join },
};

/* All tests with the first @count sizes; @most rounds. */
void test_life(int count, int most)
{
	size_t i;
	int j, k;

	importer = xopen("/dev/cenalloc_importer");
	device = add_device(importer);
	for (i = 0; i < ARRAY_SIZE(tests); i++)
		for (j = 0; j < count; j++) {
			struct sample of = { .test = tests[i].test, .size = sizes[j].len };

			for (of.round = -WARM_UP; of.round < rounds(j, most); of.round++)
				for (k = 0; k < exporter_count; k++) {
					const struct exporter *exporter = turn(of.round, k);

					of.exporter = exporter->name;
					settle(of.round);
					tests[i].run(&of, exporter);
				}
		}
	xclose(importer);
}
