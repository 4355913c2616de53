/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory as a program sees it: what a touch brings, and what is in it.
 *
 * To be included after kselftest_harness.h.
 */

#ifndef _CENALLOC_TOUCH_H
#define _CENALLOC_TOUCH_H

#include <setjmp.h>
#include <signal.h>

static sigjmp_buf touch_failed;

static inline void touch_caught(int signal)
{
	siglongjmp(touch_failed, signal);
}

/* The signal that reading or writing a byte brings, 0 if none. */
static inline int touch(char *at, bool write)
{
	struct sigaction action = { .sa_handler = touch_caught };
	int signal;

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	signal = sigsetjmp(touch_failed, 1);
	if (!signal) {
		if (write)
			__atomic_store_n(at, 1, __ATOMIC_RELAXED);
		else
			__atomic_load_n(at, __ATOMIC_RELAXED);
	}
	action.sa_handler = SIG_DFL;
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	return signal;
}

static inline bool is_filled(const void *memory, int byte, size_t len)
{
	const unsigned char *at = memory;

	return !len || (at[0] == byte && !memcmp(at, at + 1, len - 1));
}

#endif /* _CENALLOC_TOUCH_H */
