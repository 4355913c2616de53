/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What each thread of the fuzzer has: random numbers, a log of what it did last,
 * calls of which only documented errors are right, and failing allocations.
 *
 * To be included after kernel_api.h.
 */

#ifndef _CENALLOC_FUZZ_H
#define _CENALLOC_FUZZ_H

#include <pthread.h>
#include <stdarg.h>

#include "inject.h"

#define LOGGED	48	/* calls of a thread that are shown when it fails */
#define REGIONS	8

struct own;

struct fuzzer {
	pthread_t thread;
	int number;
	__u64 seed;
	__u64 random;
	unsigned long rounds;	/* to do; 0 where the time counts */
	double end;
	unsigned long calls;
	struct logged {
		const char *name;
		long arguments[3];
		int ret;
	} log[LOGGED];
	char failure[512];	/* empty where nothing went wrong */
	sigjmp_buf out;
	/* For the calls on what others use as well. */
	struct region {
		char *memory;
		__u64 len;
	} regions[REGIONS];
	char *scratch;		/* see make_scratch() */
	/* For the calls on buffers of its own. */
	struct own *own;
	int importer;
	/* Failing allocations: the file that arms them, -1 without. */
	bool has_faults;
	int fail_nth;
	bool is_failing;
	unsigned long failed;	/* calls in which one has */
};

static __thread struct fuzzer *me;

/* --- Random numbers ------------------------------------------------------- */

static __u64 next_random(void)
{
	__u64 z = me->random += MIX;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

/* A number below @count. */
static __u32 pick(__u32 count)
{
	return (next_random() >> 32) % count;
}

static bool one_in(__u32 count)
{
	return !pick(count);
}

#define PICK(...) ({							\
	const __u64 _values[] = { __VA_ARGS__ };			\
									\
	_values[pick(ARRAY_SIZE(_values))];				\
})

/* Any number, of those that matter more often than others. */
static __u64 any_number(void)
{
	switch (pick(6)) {
	case 0:
		return 0;
	case 1:
		return pick(9);
	case 2:
		return 1ULL << pick(64);
	case 3:
		return (1ULL << pick(64)) - 1;
	case 4:
		return ~0ULL - pick(9);
	default:
		return next_random();
	}
}

/* --- The log, and the end ------------------------------------------------- */

static __noreturn __printf(1, 2) void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(me->failure, sizeof(me->failure), format, arguments);
	va_end(arguments);
	siglongjmp(me->out, 1);
}

static void show_log(struct __test_metadata *_metadata, const struct fuzzer *thread)
{
	unsigned long i = thread->calls > LOGGED ? thread->calls - LOGGED : 0;

	for (; i < thread->calls; i++) {
		const struct logged *call = &thread->log[i % LOGGED];

		TH_LOG("thread %d, call %lu: %s(%#lx, %#lx, %#lx) = %d", thread->number, i,
		       call->name, call->arguments[0], call->arguments[1], call->arguments[2],
		       call->ret);
	}
}

/* --- Allocations that fail ------------------------------------------------ */

/* Whether that is wanted, and the kernel is one that was built for it. */
static bool wants_faults(struct __test_metadata *_metadata)
{
	const char *wanted = getenv("FUZZ_FAULTS");

	if (!wanted || !atoi(wanted))
		return false;
	if (access(NTH, F_OK)) {
		ksft_print_msg("fuzz: the kernel cannot let allocations fail\n");
		return false;
	}
	ASSERT_TRUE(can_inject());
	return true;
}

static void fail_later(void)
{
	int ret;

	me->is_failing = me->fail_nth >= 0 && one_in(4);
	if (!me->is_failing)
		return;
	ret = fail_nth(me->fail_nth, 1 + pick(12));
	if (ret)
		fail("no allocation can fail: %d", ret);
}

/* From here on is_failing tells whether one has. */
static void fail_no_more(void)
{
	int failed;

	if (!me->is_failing)
		return;
	failed = has_failed(me->fail_nth);
	if (failed < 0)
		fail("allocations fail for ever: %d", failed);
	me->is_failing = failed;
	me->failed += failed;
}

/* --- Calls ---------------------------------------------------------------- */

static void begin(const char *name, long a, long b, long c)
{
	struct logged *call = &me->log[me->calls++ % LOGGED];

	*call = (struct logged){ .name = name, .arguments = { a, b, c }, .ret = -1000 };
}

/* The result of a call that has ended; one that is in no document is a failure. */
static int finish(int ret, const int *errors)
{
	struct logged *call = &me->log[(me->calls - 1) % LOGGED];

	call->ret = ret;
	if (ret >= 0)
		return ret;
	for (; *errors; errors++)
		if (ret == -*errors)
			return ret;
	fail("%s(%#lx, %#lx, %#lx) returned %d (%s)%s", call->name, call->arguments[0],
	     call->arguments[1], call->arguments[2], ret, strerror(-ret),
	     me->is_failing ? ", an allocation failed" : "");
}

#define ERRORS(...)	((const int[]){ __VA_ARGS__, 0 })

static int finish_ioctl(int ret, const int *errors)
{
	ret = ret < 0 ? -errno : ret;
	fail_no_more();
	/* What fails is to allocate, and to copy. */
	if (me->is_failing && (ret == -ENOMEM || ret == -EFAULT))
		return finish(ret, ERRORS(ENOMEM, EFAULT));
	return finish(ret, errors);
}

/* An ioctl that may need memory, in which an allocation fails now and then. */
static int fuzz_ioctl(const char *name, int fd, unsigned long request, void *argument,
		      const int *errors)
{
	begin(name, fd, request, (long)argument);
	fail_later();
	return finish_ioctl(ioctl(fd, request, argument), errors);
}

/* One that needs none, and cannot fail for want of it. */
static int sure_ioctl(const char *name, int fd, unsigned long request, long argument,
		      const int *errors)
{
	int ret;

	begin(name, fd, request, argument);
	fail_later();
	ret = ioctl(fd, request, argument);
	ret = ret < 0 ? -errno : ret;
	fail_no_more();
	return finish(ret, errors);
}

/* --- The CPU -------------------------------------------------------------- */

static __thread sigjmp_buf fault;
static __thread bool may_fault;

static void on_fault(int signal, siginfo_t *info, void *context __maybe_unused)
{
	if (!__atomic_load_n(&may_fault, __ATOMIC_RELAXED)) {
		dprintf(STDOUT_FILENO, "# fuzz: thread %d, call %lu: signal %d at %p\n",
			me->number, me->calls, signal, info->si_addr);
		_exit(128 + signal);
	}
	siglongjmp(fault, signal);
}

static void catch_faults(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
}

/* Reads or writes a byte; the signal that this brings, 0 if none. */
static int try_touch(char *at, bool is_write)
{
	int signal = sigsetjmp(fault, 1);

	if (!signal) {
		__atomic_store_n(&may_fault, true, __ATOMIC_SEQ_CST);
		if (is_write)
			__atomic_store_n(at, 1, __ATOMIC_SEQ_CST);
		else
			__atomic_load_n(at, __ATOMIC_SEQ_CST);
	}
	__atomic_store_n(&may_fault, false, __ATOMIC_SEQ_CST);
	return signal;
}

#endif /* _CENALLOC_FUZZ_H */
