/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The importer whose device may be unbound. Calls return a negative errno.
 *
 * To be included after calls.h and modules.h.
 */

#ifndef _CENALLOC_TEST_REMOVABLE_H
#define _CENALLOC_TEST_REMOVABLE_H

#include "cenalloc_removable.h"

/* @what is "bind" or "unbind". */
static inline int bind_removable(const char *what)
{
	return rebind("platform", REMOVABLE_NAME, REMOVABLE_NAME, what);
}

static inline int set_removable(const char *parameter, bool value)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/" REMOVABLE_NAME "/parameters/%s", parameter);
	return write_file(path, value ? "1" : "0");
}

static inline void unload_removable(void)
{
	if (unload_patiently(REMOVABLE_NAME))
		_exit(KSFT_FAIL);
}

/* Runs the tests with the module loaded, and no longer: it keeps dma_buf_constraints. */
static inline int run_with_removable(int argc, char **argv)
{
	if (load(REMOVABLE_NAME))
		ksft_exit_fail_msg("no %s\n", REMOVABLE_NAME);
	/* The harness does not return. */
	atexit(unload_removable);
	return test_harness_run(argc, argv);
}

#endif /* _CENALLOC_TEST_REMOVABLE_H */
