// SPDX-License-Identifier: GPL-2.0
/* What was measured, kept in memory until the end: output would disturb. */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define SAMPLES	100000

static struct sample samples[SAMPLES];
static unsigned int sample_count;

void keep(const struct sample *of, const char *step, __u64 value)
{
	struct sample *sample = &samples[sample_count];

	if (of->round < 0)
		return;
	if (++sample_count == SAMPLES)
		die("there is no room for more samples");
	*sample = *of;
	sample->step = step;
	sample->value = value;
}

void print_samples(void)
{
	unsigned int i;

	printf("test\texporter\tsize\tstep\tround\tvalue\n");
	for (i = 0; i < sample_count; i++)
		printf("%s\t%s\t%llu\t%s\t%d\t%llu\n", samples[i].test, samples[i].exporter,
		       samples[i].size, samples[i].step, samples[i].round, samples[i].value);
	if (fflush(stdout))
		die_errno("standard output");
}

/* Two instructions @count times. */
void spin(unsigned long count)
{
	asm volatile("1: dec %0; jnz 1b" : "+r"(count));
}

/*
 * Ends the program where the clock does not count instructions. Interrupts, which
 * are part of any long measurement, may cost one part in a hundred.
 */
void check_clock(void)
{
	const unsigned long count = 5000000;
	__u64 start, found;

	start = now();
	spin(count);
	found = now() - start;
	if (found < 2 * count || found > 2 * count + count / 50)
		die("the clock says %llu for %lu instructions: not in QEMU with -icount?",
		    found, 2 * count);
}

/* What a reading costs that MEASURE() adds. */
void measure_clock(void)
{
	struct sample of = { .test = "clock", .exporter = "-" };

	for (of.round = 0; of.round < 101; of.round++)
		MEASURE(&of, "read", (void)0);
}

void die(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "bench: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	exit(1);
}

void die_errno(const char *what)
{
	die("%s: %s", what, strerror(errno));
}
