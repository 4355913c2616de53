// SPDX-License-Identifier: GPL-2.0
/* What a buffer costs where there are many, in instructions and in memory. */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench.h"

/* The sum of the numbers behind @name, which are of pages, in bytes. */
static __u64 sum(const char *path, const char *name)
{
	static char text[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool found = false;
	const char *at = text;
	__u64 pages = 0;
	ssize_t len;

	if (fd < 0)
		die_errno(path);
	len = read(fd, text, sizeof(text) - 1);
	if (len <= 0)
		die_errno(path);
	xclose(fd);
	text[len] = '\0';
	while ((at = strstr(at, name))) {
		at += strlen(name);
		pages += strtoull(at, NULL, 10);
		found = true;
	}
	if (!found)
		die("%s has no%s", path, name);
	return pages * PAGE;
}

/* Has the kernel do what a file of /proc stands for. */
static void write_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "1", 1) != 1)
		die_errno(path);
	xclose(fd);
}

/* Bytes of memory that are free. */
static __u64 read_free(void)
{
	/* Processors count for themselves; this sums up. */
	write_file("/proc/sys/vm/stat_refresh");
	/* They also keep pages for themselves, which are not counted as free. */
	return sum("/proc/vmstat", "nr_free_pages ") + sum("/proc/zoneinfo", " count: ");
}

/* Waits until nothing changes any more: the kernel frees some things a little later. */
static __u64 memory_free(void)
{
	__u64 last = read_free();
	int same = 0, i;

	for (i = 0; i < 1000 && same < 20; i++) {
		__u64 free;

		settle(i);
		free = read_free();
		same = free == last ? same + 1 : 0;
		last = free;
	}
	return last;
}

/* Descriptors for as many buffers, and no table of descriptors that grows meanwhile. */
static void make_room(int count)
{
	const struct rlimit limit = { count + 100, count + 100 };
	int fd;

	if (setrlimit(RLIMIT_NOFILE, &limit))
		die_errno("RLIMIT_NOFILE");
	fd = dup2(STDERR_FILENO, count + 99);
	if (fd < 0)
		die_errno("dup2");
	xclose(fd);
}

/* One more buffer beside those that live. */
static void one_more(struct sample *of, const struct exporter *exporter, int importer,
		     __u32 device, int rounds)
{
	for (of->round = -WARM_UP; of->round < rounds; of->round++) {
		__u32 attachment;
		int fd;

		settle(of->round);
		MEASURE(of, "create", fd = exporter->create(exporter->device, PAGE));
		MEASURE(of, "first attach", attachment = attach(importer, device, fd));
		MEASURE(of, "first detach", detach(importer, attachment));
		MEASURE(of, "close", xclose(fd));
	}
}

static void live_of(const struct exporter *exporter, int importer, __u32 device, int count,
		    int rounds)
{
	struct sample of = { .test = "live", .exporter = exporter->name, .size = 1 };
	struct sample memory = { .test = "memory", .exporter = exporter->name };
	__u64 before, new;
	int *fds = calloc(count, sizeof(*fds));
	int i;

	if (!fds)
		die_errno("calloc");
	/* The first of all is there for both. */
	fds[0] = exporter->create(exporter->device, PAGE);
	one_more(&of, exporter, importer, device, rounds);

	before = memory_free();
	for (i = 1; i < count; i++)
		fds[i] = exporter->create(exporter->device, PAGE);
	new = memory_free();
	for (i = 1; i < count; i++) {
		__u32 attachment = attach(importer, device, fds[i]);

		map(importer, attachment, PAGE);
		detach(importer, attachment);
	}
	memory.size = count - 1;
	keep(&memory, "new", before - new);
	keep(&memory, "used", before - memory_free());

	of.size = count;
	one_more(&of, exporter, importer, device, rounds);
	for (i = 0; i < count; i++)
		xclose(fds[i]);
	free(fds);
}

void test_live(int count, int rounds)
{
	int importer = xopen("/dev/cenalloc_importer");
	__u32 device = add_device(importer);
	int i;

	make_room(count);
	for (i = 0; i < exporter_count; i++)
		live_of(&exporters[i], importer, device, count, rounds);
	xclose(importer);
}
