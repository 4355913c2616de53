/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Allocations that fail.
 *
 * The kernel counts the allocations of a task, of objects (failslab) and of pages
 * (fail_page_alloc), down from the number in its file fail-nth, and fails the one
 * where that ends. Those that must not fail (__GFP_NOFAIL) do not count. Behind that one,
 * pages fail for a task that asks for this in its file make-it-fail.
 *
 * To be included after calls.h.
 */

#ifndef _CENALLOC_INJECT_H
#define _CENALLOC_INJECT_H

#define NTH		"/proc/thread-self/fail-nth"
#define MAKE_IT_FAIL	"/proc/thread-self/make-it-fail"
#define FAULTS		"/sys/kernel/debug/"

/* Lets every allocation of a task that asks for it fail, in silence; false where none can. */
static inline bool can_inject(void)
{
	return !access(NTH, W_OK) &&
	       !write_file(FAULTS "failslab/ignore-gfp-wait", "N") &&
	       !write_file(FAULTS "failslab/verbose", "0") &&
	       !write_file(FAULTS "fail_page_alloc/ignore-gfp-wait", "N") &&
	       !write_file(FAULTS "fail_page_alloc/ignore-gfp-highmem", "N") &&
	       !write_file(FAULTS "fail_page_alloc/min-order", "0") &&
	       !write_file(FAULTS "fail_page_alloc/verbose", "0") &&
	       !write_file(FAULTS "fail_page_alloc/task-filter", "Y") &&
	       !write_file(FAULTS "fail_page_alloc/probability", "100");
}

/* The @nth allocation from here on fails; 0 for none. A negative errno. */
static inline int fail_nth(int file, int nth)
{
	char number[16];
	int len = snprintf(number, sizeof(number), "%d", nth);

	return pwrite(file, number, len, 0) == len ? 0 : -errno;
}

/*
 * Begins or ends that pages fail behind the allocation of fail_nth(): at most 1000,
 * since the kernel makes a page fault again until it has the page tables that it needs. A
 * search for memory in several ways, made twice, has to fail with fewer. A negative errno.
 */
static inline int fail_behind(int file, bool fails)
{
	return pwrite(file, fails ? "1" : "0", 1, 0) == 1 ? 0 : -errno;
}

static inline int refill_failures(void)
{
	return write_file(FAULTS "fail_page_alloc/times", "1000");
}

/* Ends fail_nth(). Whether an allocation has failed; a negative errno. */
static inline int has_failed(int file)
{
	char number[16] = "";
	int ret = pread(file, number, sizeof(number) - 1, 0) < 0 ? -errno : !atoi(number);
	int end = fail_nth(file, 0);

	return end ? end : ret;
}

#endif /* _CENALLOC_INJECT_H */
