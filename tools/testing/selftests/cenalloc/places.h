/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Buffers of one allocator: of its class, and up to an address.
 *
 * To be included after calls.h.
 */

#ifndef _CENALLOC_PLACES_H
#define _CENALLOC_PLACES_H

/*
 * Where the guest "areas" has what others have not: see the file guests. In texts,
 * BANK() is an address of the bank, by its last six digits.
 */
#ifdef __aarch64__
#define CMA_START	(GIB + 80 * MIB)
#define BANK_START	(GIB + 64 * MIB)
#define BANK(digits)	"0x44" digits
#define BANK_MIB	"1088M"
#define BEFORE_BANK	"0x43fff000"
/* Of the kernel, and of the interrupt controller. */
#define KERNEL_MIB	"1056M"
#define DRIVER		"0x8000000"
#else
#define CMA_START	(160 * MIB)
#define BANK_START	(128 * MIB)
#define BANK(digits)	"0x8" digits
#define BANK_MIB	"128M"
#define BEFORE_BANK	"0x7fff000"
#define KERNEL_MIB	"32M"
#define DRIVER		"0xfec00000"
#endif
#define CMA_LEN		(32 * MIB)
#define BANK_LEN	(16 * MIB)
#define RAM_LEN		(8 * MIB)

/* What of the area is free in one piece: drivers have a little of it, at its start. */
#define CMA_MOST	(24 * MIB)

/* The name that the kernel gives to the area of the machine. */
#define CMA	"reserved"

#define OF_CARVEOUT(...)	NEEDS(.access_mask = CENALLOC_CLASS_CARVEOUT, ##__VA_ARGS__)

/* How many ranges of addresses the kernel has as cenalloc's. */
static inline int count_regions(void)
{
	static char text[64 * KIB];
	const char *at = slurp("/proc/iomem", text, sizeof(text));
	int count = 0;

	while ((at = strstr(at, " : cenalloc\n"))) {
		at++;
		count++;
	}
	return count;
}

/* A buffer that has memory; a negative errno without. */
static inline int take(__u64 len, struct cenalloc_constraints needs)
{
	int fd = create(len), ret;

	if (fd < 0)
		return fd;
	ret = declare_needs(fd, "place", needs);
	if (!ret)
		ret = allocate(fd);
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

/* Takes buffers until there is no more; returns how many, or an error but ENOMEM. */
static inline int take_all(int *fds, int room, __u64 len, struct cenalloc_constraints needs)
{
	int count;

	for (count = 0; count < room; count++) {
		fds[count] = take(len, needs);
		if (fds[count] < 0)
			return fds[count] == -ENOMEM ? count : fds[count];
	}
	return count;
}

static inline void close_all(const int *fds, int count)
{
	while (count-- > 0)
		close(fds[count]);
}

/* What buffers have of an allocator, once those that are being released are gone. */
static inline __u64 settled_used(const char *name, __u64 expected)
{
	int i;

	for (i = 0; i < 200 && find_allocator(name).used != expected; i++)
		usleep(5000);
	return find_allocator(name).used;
}

static inline __u32 would_be(__u64 len, struct cenalloc_constraints needs)
{
	struct cenalloc_test test = { .len = len, .constraints = needs };
	int ret = ask(CENALLOC_TEST, &test);

	return ret ? (__u32)ret : test.result;
}

/* The address of a buffer's first byte, for a device that any memory suits; all ones without. */
static inline __u64 address(int fd)
{
	static struct mapping mapping;
	int importer = open_importer();
	int attachment = join(importer, fd, DEVICE());
	__u64 first = ~0ULL;

	if (!map(importer, attachment, &mapping))
		first = address_of(&mapping, 0);
	close(importer);
	return first;
}

#endif /* _CENALLOC_PLACES_H */
