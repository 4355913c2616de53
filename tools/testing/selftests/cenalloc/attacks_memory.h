/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What an ordinary user may try against the machine's memory: to hold more than its
 * memory cgroup allows, whatever it declares; to leave no large block whole.
 *
 * To be included after calls.h.
 */

#ifndef _CENALLOC_ATTACKS_MEMORY_H
#define _CENALLOC_ATTACKS_MEMORY_H

#include <sys/stat.h>
#include <sys/wait.h>

#define PARAMETERS	"/sys/module/cenalloc/parameters/"

/*
 * The address of the last byte of memory but one page: a zone's limit that leaves out
 * next to nothing.
 */
static inline __u64 nearly_all_memory(void)
{
	static char text[64 * KIB];
	unsigned long long start, last, top = 0;
	const char *line = slurp("/proc/iomem", text, sizeof(text));

	for (; line && *line; line = strchr(line, '\n'), line += !!line)
		if (sscanf(line, "%llx-%llx : System RAM", &start, &last) == 2 &&
		    strstr(line, ": System RAM\n") < strchr(line, '\n') && last > top)
			top = last;
	return top - PAGE;
}

/**
 * struct holding - buffers that an ordinary user fills one after the other
 * @len: in: bytes of each
 * @needs: in: what is declared for each
 * @align: in: for CREATE
 * @most: in: how many at most
 * @count: out: how many have memory
 * @error: out: why the next has none, or 0
 */
struct holding {
	__u64 len;
	struct cenalloc_constraints needs;
	__u64 align;
	int most;
	int count;
	int error;
};

static inline void hold(struct holding *holding)
{
	for (holding->count = 0; holding->count < holding->most; holding->count++) {
		int fd = create_aligned(holding->len, holding->align);

		holding->error = fd < 0 ? fd : declare_needs(fd, "needs", holding->needs);
		if (!holding->error)
			holding->error = allocate(fd);
		if (holding->error)
			return;
	}
}

/* Wait for @process, which holds memory, and let it go. */
static inline void end_holding(pid_t process)
{
	kill(process, SIGKILL);
	waitpid(process, NULL, 0);
}

/*
 * Lets a process of an ordinary user, in the memory cgroup of the caller, hold what
 * @holding says, which is in shared memory. It goes on holding it until
 * end_holding().
 */
static inline pid_t begin_holding(struct holding *holding)
{
	int done[2];
	char byte;
	pid_t child;

	if (pipe(done) || chmod("/dev/cenalloc", 0666))
		return -1;
	child = fork();
	if (!child) {
		close(done[0]);
		if (setgid(1000) || setuid(1000))
			_exit(1);
		hold(holding);
		close(done[1]);
		for (;;)
			pause();
	}
	close(done[1]);
	if (read(done[0], &byte, 1))
		child = -1;
	close(done[0]);
	chmod("/dev/cenalloc", 0600);
	return child;
}

/* Memory for a struct holding. */
static inline struct holding *new_holding(void)
{
	return mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

#endif /* _CENALLOC_ATTACKS_MEMORY_H */
