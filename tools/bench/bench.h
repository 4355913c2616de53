/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the benchmark share. */

#ifndef _BENCH_H
#define _BENCH_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB	1024ULL
#define MIB	(1024 * KIB)
#define PAGE	(4 * KIB)

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

/* samples.c: the clock, and what was measured */

/* What a sample belongs to. */
struct sample {
	const char *test;
	const char *exporter;
	__u64 size;		/* bytes, or how many of something */
	const char *step;
	int round;		/* below 0: to warm up, not kept */
	__u64 value;
};

/*
 * Instructions since the start of the machine: with QEMU's -icount shift=0 the
 * processor's time stamp is their number.
 */
static inline __u64 now(void)
{
	__u32 low, high;

	asm volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (__u64)high << 32 | low;
}

/* Keeps as @name of @of what the statement costs, in instructions. */
#define MEASURE(of, name, statement) do {			\
	__u64 _start = now();					\
								\
	statement;						\
	keep(of, name, now() - _start);				\
} while (0)

void keep(const struct sample *of, const char *step, __u64 value);
void print_samples(void);
void check_clock(void);
void measure_clock(void);
void spin(unsigned long count);
__printf(1, 2) __noreturn void die(const char *format, ...);
__noreturn void die_errno(const char *what);

/* calls.c: calls that end the program where they fail */
int xopen(const char *path);
void xioctl(int fd, unsigned long request, void *argument, const char *what);
void xclose(int fd);
void *xmmap(int fd, __u64 len);
void xmunmap(void *memory, __u64 len);
__u32 add_device(int importer);
__u32 attach(int importer, __u32 device, int fd);
__u32 map(int importer, __u32 attachment, __u64 len);
void unmap(int importer, __u32 attachment);
void detach(int importer, __u32 attachment);

/* exporters.c: where buffers come from */
struct exporter {
	const char *name;
	int (*create)(int device, __u64 len);	/* the dma-buf's descriptor */
	int device;
};

extern struct exporter exporters[];	/* those that there are, cenalloc first */
extern int exporter_count;

void open_exporters(void);

/* The exporter that has its turn as number @i of a round. */
struct exporter *turn(int round, int i);

/* main.c: the sizes of buffers, and how often each is measured */
#define SIZES	5

struct size {
	__u64 len;
	int rounds;
};

extern const struct size sizes[SIZES];

/* Unmeasured rounds before the first that counts. */
#define WARM_UP	2

/* Rounds for a size, @most at most. */
static inline int rounds(int size, int most)
{
	return sizes[size].rounds < most ? sizes[size].rounds : most;
}

void settle(int round);

/* tests, each in a file of its own; @most is the most rounds, @count of sizes or buffers */
void test_zeroing(int count, int most);
void test_life(int count, int most);
void test_users(int rounds);
void test_ask(int rounds);
void test_live(int count, int rounds);
void test_contiguous(__u64 most);

#endif /* _BENCH_H */
