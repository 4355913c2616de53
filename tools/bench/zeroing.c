// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to zero memory, with the instruction with which the kernel does
 * it on a processor with ERMS. Interrupts that come meanwhile are counted here as
 * they are in the tests.
 */

#include <sys/mman.h>

#include "bench.h"

static void zero(void *memory, __u64 len)
{
	asm volatile("rep stosb" : "+D"(memory), "+c"(len) : "a"(0) : "memory");
}

void test_zeroing(int count, int most)
{
	struct sample of = { .test = "zeroing", .exporter = "-" };
	int i;

	for (i = 0; i < count; i++) {
		void *memory = mmap(NULL, sizes[i].len, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		if (memory == MAP_FAILED)
			die_errno("mmap");
		of.size = sizes[i].len;
		for (of.round = -WARM_UP; of.round < rounds(i, most); of.round++) {
			settle(of.round);
			MEASURE(&of, "zero", zero(memory, of.size));
		}
		xmunmap(memory, of.size);
	}
}
