// SPDX-License-Identifier: GPL-2.0
/*
 * Measures cenalloc and the exporters of the stock kernel, in instructions. For a
 * guest that runs in QEMU with -icount; scripts/bench starts it.
 *
 * usage: bench all ROUNDS	each test, in at most so many rounds
 *	  bench smoke		a little of each, whatever the clock counts
 *	  bench contiguous	how much is had in one piece, see contiguous.c
 *
 * Prints each sample as a line of fields with tabs between.
 */

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "bench.h"

/* Nanoseconds; with HZ=250, and more than with a higher HZ. */
#define TICK	4000000

const struct size sizes[SIZES] = {
	{ 4 * KIB, 101 },
	{ 64 * KIB, 101 },
	{ 1 * MIB, 31 },
	{ 8 * MIB, 11 },
	{ 32 * MIB, 5 },
};

/*
 * Lets others run: what the last measurement left to the kernel's threads is done
 * before the next. While the guest waits its clock jumps. How long, differs from
 * round to round, so that the next tick of the clock comes sooner or later.
 */
void settle(int round)
{
	struct timespec a_while = { .tv_nsec = 10000000 + (round + 1000) * 618034 % TICK };

	nanosleep(&a_while, NULL);
	/* What waking up has put off is done within this. */
	spin(100000);
}

/* Nobody else runs while this program wants to, and its own memory is all there. */
static void take_the_processor(void)
{
	const struct sched_param first = { .sched_priority = 1 };

	if (sched_setscheduler(0, SCHED_FIFO, &first))
		die_errno("SCHED_FIFO");
	if (mlockall(MCL_CURRENT))
		die_errno("mlockall");
}

static void measure(int most, int size_count, int live)
{
	open_exporters();
	test_zeroing(size_count, most);
	test_life(size_count, most);
	test_users(most < 21 ? most : 21);
	test_ask(most < 21 ? most : 21);
	test_live(live, most < 21 ? most : 21);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int most = argc > 2 ? atoi(argv[2]) : 0;

	if (!strcmp(what, "all") && most > 0) {
		take_the_processor();
		check_clock();
		measure_clock();
		measure(most, SIZES, 10000);
	} else if (!strcmp(what, "smoke")) {
		measure_clock();
		measure(1, 3, 100);
		test_contiguous(16 * MIB);
	} else if (!strcmp(what, "contiguous")) {
		test_contiguous(~0ULL);
	} else {
		die("usage: bench all ROUNDS | smoke | contiguous");
	}
	print_samples();
	return 0;
}
