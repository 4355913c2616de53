/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The machine's memory: where it ends, how much of it is free, and of how much nobody
 * knows who has it; in KiB.
 *
 * To be included after calls.h.
 */

#ifndef _CENALLOC_MEMORY_H
#define _CENALLOC_MEMORY_H

/* The last byte of memory. */
static inline __u64 last_byte(void)
{
	static char text[64 * KIB];
	__u64 start, end, last = 0;
	char *line;

	slurp("/proc/iomem", text, sizeof(text));
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if (strstr(line, "System RAM") && sscanf(line, "%llx-%llx", &start, &end) == 2)
			last = end;
	return last;
}

/* A line of /proc/meminfo, -1 if there is none. */
static inline long kib_of(const char *name)
{
	char text[8192], line[256];

	slurp("/proc/meminfo", text, sizeof(text));
	if (!find_line(text, name, line, sizeof(line)))
		return -1;
	return strtol(line + strlen(name), NULL, 10);
}

/* Free memory, with what waits for its next user in the list of a CPU. */
static inline long free_kib(void)
{
	static char text[256 * 1024];
	long pages = 0;
	char *at;

	slurp("/proc/zoneinfo", text, sizeof(text));
	for (at = strstr(text, " count: "); at; at = strstr(at + 1, " count: "))
		pages += strtol(at + 8, NULL, 10);
	return kib_of("MemFree:") + pages * (long)(PAGE / 1024);
}

/*
 * What the kernel took by alloc_pages(): all that is neither free nor counted as
 * something else, which comes and goes with whatever runs.
 */
static inline long unnamed_kib(void)
{
	static const char *const named[] = {
		"Buffers:", "Cached:", "AnonPages:", "Slab:", "KernelStack:", "PageTables:",
		"VmallocUsed:", "Percpu:",
	};
	long kib;
	size_t i;

	/* Brings the counters up to date. */
	write_file("/proc/sys/vm/stat_refresh", "1");
	kib = kib_of("MemTotal:") - free_kib();
	for (i = 0; i < ARRAY_SIZE(named); i++)
		kib -= kib_of(named[i]);
	return kib;
}

#endif /* _CENALLOC_MEMORY_H */
