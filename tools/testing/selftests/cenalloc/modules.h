/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Loading and unloading of modules, and what the kernel's log says of it. Calls
 * return a negative errno, load() the status of modprobe.
 *
 * To be included after cenalloc_test.h.
 */

#ifndef _CENALLOC_MODULES_H
#define _CENALLOC_MODULES_H

#include <sys/syscall.h>

static inline int unload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) < 0 ? -errno : 0;
}

/* With parameters behind the name. */
static inline int load(const char *name)
{
	char command[128];

	snprintf(command, sizeof(command), "modprobe %s", name);
	return system(command);
}

static inline bool is_loaded(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/%s", name);
	return !access(path, F_OK);
}

/* Tries for some time: a reference may be given up a little later than its owner. */
static inline int unload_patiently(const char *name)
{
	int i, ret = unload(name);

	for (i = 0; i < 100 && ret == -EWOULDBLOCK; i++) {
		usleep(10000);
		ret = unload(name);
	}
	return ret;
}

/* How many keep a module: others that use it, files, buffers; -1 without an answer. */
static inline int count_module_users(const char *name)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), "/sys/module/%s/refcnt", name);
	return *slurp(path, text, sizeof(text)) ? atoi(text) : -1;
}

/* Waits for those that go a little later than what they belong to. */
static inline int settled_module_users(const char *name, int expected)
{
	int i;

	for (i = 0; i < 200 && count_module_users(name) != expected; i++)
		usleep(5000);
	return count_module_users(name);
}

static inline void clear_kernel_log(void)
{
	syscall(SYS_syslog, 5, NULL, 0);
}

/* The end of the kernel's log. */
static inline const char *kernel_log(void)
{
	static char log[4 * KIB];
	int len = syscall(SYS_syslog, 3, log, sizeof(log) - 1);

	log[len > 0 ? len : 0] = '\0';
	return log;
}

/* What the kernel's log will have from here on. */
static inline int open_log(void)
{
	int kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (kmsg >= 0)
		lseek(kmsg, 0, SEEK_END);
	return kmsg < 0 ? -errno : kmsg;
}

/* The next line of that; false if there is none. */
static inline bool next_line(int kmsg, char *line, size_t size)
{
	ssize_t len;

	do {
		len = read(kmsg, line, size - 1);
	} while (len < 0 && (errno == EPIPE || errno == EINTR));
	line[len > 0 ? len : 0] = '\0';
	return len > 0;
}

/* Whether one matches a shell pattern. */
static inline bool is_logged(int kmsg, const char *pattern)
{
	char line[8192];

	while (next_line(kmsg, line, sizeof(line)))
		if (!fnmatch(pattern, line, 0))
			return true;
	return false;
}

#endif /* _CENALLOC_MODULES_H */
