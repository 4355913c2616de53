// SPDX-License-Identifier: GPL-2.0
/* Reserved ranges of memory, with struct pages and without. For the guest "areas". */

#include <sys/utsname.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "engine.h"
#include "modules.h"
#include "places.h"

#define BUFFERS	64

FIXTURE(carveout) {};

FIXTURE_SETUP(carveout)
{
	ASSERT_EQ(0, settled_used("ram", 0));
	ASSERT_EQ(0, settled_used("bank", 0));
}

FIXTURE_TEARDOWN(carveout)
{
	EXPECT_EQ(0, settled_used("ram", 0));
	EXPECT_EQ(0, settled_used("bank", 0));
}

#define OF_BANK(...)		OF_CARVEOUT(.max_address = BANK_START + BANK_LEN - 1, ##__VA_ARGS__)

TEST_F(carveout, both_are_listed)
{
	EXPECT_EQ(RAM_LEN, find_allocator("ram").max_len);
	EXPECT_EQ(BANK_LEN, find_allocator("bank").max_len);
}

/* The one after the other; then there is no more. */
TEST_F(carveout, one_too_many)
{
	const int in_ram = RAM_LEN / MIB, in_all = (RAM_LEN + BANK_LEN) / MIB;
	int fds[BUFFERS], round, i;

	for (round = 0; round < 2; round++) {
		ASSERT_EQ(in_all, take_all(fds, BUFFERS, MIB, OF_CARVEOUT()));
		for (i = 0; i < in_all; i++)
			EXPECT_STREQ(i < in_ram ? "ram" : "bank", query_fields(fds[i]).allocator);
		EXPECT_EQ(RAM_LEN, find_allocator("ram").used);
		EXPECT_EQ(BANK_LEN, find_allocator("bank").used);
		EXPECT_EQ(CENALLOC_TEST_NO_MEMORY, would_be(PAGE, OF_CARVEOUT()));
		/* A hole, and what fits there. */
		close(fds[in_ram + 3]);
		ASSERT_EQ(BANK_LEN - MIB, settled_used("bank", BANK_LEN - MIB));
		EXPECT_EQ(-ENOMEM, take(MIB + PAGE, OF_CARVEOUT()));
		fds[in_ram + 3] = take(MIB, OF_CARVEOUT());
		ASSERT_LE(0, fds[in_ram + 3]);
		EXPECT_EQ(BANK_START + 3 * MIB, address(fds[in_ram + 3]));
		close_all(fds, in_all);
		ASSERT_EQ(0, settled_used("ram", 0));
		ASSERT_EQ(0, settled_used("bank", 0));
	}
}

/* Whoever reaches the low part alone is served there, as long as there is any. */
TEST_F(carveout, addresses_that_it_has_in_part)
{
	const __u64 limit = BANK_START + 4 * MIB + PAGE / 2;
	int fds[BUFFERS], high, i;

	ASSERT_EQ(4, take_all(fds, BUFFERS, MIB, OF_CARVEOUT(.max_address = limit)));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(BANK_START + i * MIB, address(fds[i]));
	high = take(MIB, OF_BANK());
	ASSERT_LE(0, high);
	EXPECT_EQ(BANK_START + 4 * MIB, address(high));
	close(fds[1]);
	settled_used("bank", 4 * MIB);
	fds[1] = take(MIB, OF_CARVEOUT(.max_address = limit));
	ASSERT_LE(0, fds[1]);
	EXPECT_EQ(BANK_START + 1 * MIB, address(fds[1]));
	close_all(fds, 4);
	close(high);
	EXPECT_EQ(CENALLOC_TEST_NEVER, would_be(4 * MIB + PAGE, OF_CARVEOUT(.max_address = limit)));
	EXPECT_EQ(CENALLOC_TEST_NEVER, would_be(PAGE, OF_CARVEOUT(.max_address = BANK_START)));
	EXPECT_EQ(CENALLOC_TEST_OK,
		  would_be(PAGE, OF_CARVEOUT(.max_address = BANK_START + PAGE - 1)));
}

TEST_F(carveout, alignment_skips_what_it_must)
{
	const __u64 most = BANK_START & -BANK_START;
	int one = take(PAGE, OF_BANK()), two, three;

	two = take(3 * PAGE, OF_BANK(.alignment = 2 * MIB));
	three = take(PAGE, OF_BANK());
	ASSERT_LE(0, three);
	EXPECT_EQ(BANK_START, address(one));
	EXPECT_EQ(BANK_START + 2 * MIB, address(two));
	EXPECT_EQ(BANK_START + PAGE, address(three));
	close(one);
	close(two);
	close(three);
	EXPECT_EQ(CENALLOC_TEST_OK, would_be(BANK_LEN, OF_BANK(.alignment = most)));
	EXPECT_EQ(CENALLOC_TEST_NEVER, would_be(PAGE, OF_BANK(.alignment = 2 * most)));
}

TEST_F(carveout, engine_reads_and_writes_it)
{
	int fd = take(64 * KIB, OF_BANK());
	char *memory = map_cpu(fd, 64 * KIB);

	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_STREQ("bank", query_fields(fd).allocator);
	EXPECT_EQ(0, cross_the_bus(fd, memory));
	munmap(memory, 64 * KIB);
	close(fd);
}

/* Its pages are nobody's: nothing may take a reference to one. */
TEST_F(carveout, is_no_memory_to_pin)
{
	int fd = take(PAGE, OF_BANK()), pipe_fds[2];
	char *memory = map_cpu(fd, PAGE);
	struct iovec vector = { .iov_base = memory, .iov_len = PAGE };

	ASSERT_NE(MAP_FAILED, memory);
	memory[0] = 1;
	ASSERT_EQ(0, pipe(pipe_fds));
	EXPECT_EQ(-1, vmsplice(pipe_fds[1], &vector, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	munmap(memory, PAGE);
	close(fd);
}

/* --- The parameter -------------------------------------------------------- */

/* As load(), which does not tell why it failed. */
static int load_with(const char *parameters)
{
	struct utsname name;
	char path[256];
	int fd, ret;

	uname(&name);
	snprintf(path, sizeof(path), "/lib/modules/%s/cenalloc.ko", name.release);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = syscall(SYS_finit_module, fd, parameters, 0) ? -errno : 0;
	close(fd);
	return ret;
}

FIXTURE(parameter) {};

FIXTURE_SETUP(parameter)
{
	EXPECT_EQ(1, count_regions());
	ASSERT_EQ(0, settled_buffers(0));
	ASSERT_EQ(0, unload_patiently("cenalloc"));
	ASSERT_EQ(0, count_regions());
}

/* As it was, with what the kernel's command line says. */
FIXTURE_TEARDOWN(parameter)
{
	if (!is_loaded("cenalloc"))
		EXPECT_EQ(0, load("cenalloc"));
	EXPECT_EQ(1, count_regions());
	EXPECT_EQ(BANK_LEN, find_allocator("bank").max_len);
}

TEST_F(parameter, what_is_wrong_with_it)
{
	static const struct {
		const char *text;
		int error;
		const char *entry;	/* in the log */
		const char *why;
	} wrong[] = {
		{ "=16M@128M", -EINVAL, "=16M@128M", "has no name" },
		{ ",", -EINVAL, "", "has no name" },
		{ "bank=16M@" BANK_MIB ",", -EINVAL, "", "has no name" },
		{ "a*b=16M@128M", -EINVAL, "a*b=16M@128M", "has no name" },
		{ "abcdefghijklmnopqrstuvwxyz789012=1M@128M", -EINVAL,
		  "abcdefghijklmnopqrstuvwxyz789012=1M@128M", "too long" },
		{ "bank=16M", -EINVAL, "bank=16M", "is not NAME=SIZE@START" },
		{ "bank=", -EINVAL, "bank=", "is not NAME=SIZE@START" },
		{ "bank=@128M", -EINVAL, "bank=@128M", "number that is none" },
		{ "bank=16M@", -EINVAL, "bank=16M@", "number that is none" },
		{ "bank=16M@0x", -EINVAL, "bank=16M@0x", "number that is none" },
		{ "bank=M@128M", -EINVAL, "bank=M@128M", "number that is none" },
		{ "bank=+16M@128M", -EINVAL, "bank=+16M@128M", "number that is none" },
		{ "bank=-16M@128M", -EINVAL, "bank=-16M@128M", "number that is none" },
		{ "bank=16MB@128M", -EINVAL, "bank=16MB@128M", "number that is none" },
		{ "bank=16M@128M@1", -EINVAL, "bank=16M@128M@1", "number that is none" },
		{ "bank=0@128M", -EINVAL, "bank=0@128M", "is empty" },
		{ "bank=4095@128M", -EINVAL, "bank=4095@128M", "not of whole pages" },
		{ "bank=4096@" BANK("000001"), -EINVAL, "bank=4096@" BANK("000001"),
		  "not of whole pages" },
		{ "bank=4096@0", -EINVAL, "bank=4096@0", "starts at address 0" },
		{ "bank=16777216T@128M", -ERANGE, "bank=16777216T@128M",
		  "number that is too large" },
		{ "bank=99999999999999999999@0", -ERANGE, "bank=99999999999999999999@0",
		  "number that is too large" },
		{ "bank=0x1000@0xfffffffffffff000", -ERANGE, "bank=0x1000@0xfffffffffffff000",
		  "beyond what the machine can address" },
		{ "bank=0xfffffffffffff000@0x2000", -ERANGE, "bank=0xfffffffffffff000@0x2000",
		  "beyond what the machine can address" },
		{ "missing", -ENOENT, "missing", "no reserve_mem= of that name" },
		/* The kernel's own memory, and where that begins or ends. */
		{ "bank=1M@" KERNEL_MIB, -EBUSY, "bank=1M@" KERNEL_MIB, "memory of the kernel" },
		{ "bank=8K@" BEFORE_BANK, -EBUSY, "bank=8K@" BEFORE_BANK, "memory of the kernel" },
		{ "bank=17M@" BANK_MIB, -EBUSY, "bank=17M@" BANK_MIB, "memory of the kernel" },
		/* A part of it is a driver's: the interrupt controller's. */
		{ "bank=4K@" DRIVER, -EBUSY, "bank=4K@" DRIVER, "is in use" },
		{ "ram,ram", -EBUSY, "ram", "an allocator has that name" },
		{ "ram,ram=1M@" BANK_MIB, -EBUSY, "ram=1M@" BANK_MIB,
		  "an allocator has that name" },
		{ "system=1M@" BANK_MIB, -EBUSY, "system=1M@" BANK_MIB,
		  "an allocator has that name" },
		{ "a=8M@" BANK_MIB ",b=8M@" BANK("7ff000"), -EBUSY,
		  "b=8M@" BANK("7ff000"), "is in use" },
		{ "a=8M@" BANK_MIB ",b=1M@" BANK_MIB, -EBUSY, "b=1M@" BANK_MIB, "is in use" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		char parameters[256], line[256];

		snprintf(parameters, sizeof(parameters), "carveout=%s", wrong[i].text);
		clear_kernel_log();
		EXPECT_EQ(wrong[i].error, load_with(parameters)) {
			TH_LOG("%s", wrong[i].text);
		}
		EXPECT_FALSE(is_loaded("cenalloc"));
		EXPECT_EQ(0, count_regions());
		snprintf(line, sizeof(line), "cenalloc: carveout: %s: ", wrong[i].entry);
		EXPECT_NE(NULL, strstr(kernel_log(), line)) {
			TH_LOG("'%s' is not in '%s'", line, kernel_log());
		}
		EXPECT_NE(NULL, strstr(kernel_log(), wrong[i].why)) {
			TH_LOG("'%s' is not in '%s'", wrong[i].why, kernel_log());
		}
	}
}

TEST_F(parameter, what_it_can_be)
{
	ASSERT_EQ(0, load_with(""));
	EXPECT_EQ(0, count_regions());
	EXPECT_EQ(0, find_allocator("bank").max_len);
	ASSERT_EQ(0, unload_patiently("cenalloc"));
	ASSERT_EQ(0, load_with("carveout=a=0x100k@" BANK_MIB ",b=4096@" BANK("100000")
			       ",A-b_c.d@e=1m@" BANK("800000") ",ram"));
	EXPECT_EQ(3, count_regions());
	EXPECT_EQ(256 * KIB, find_allocator("a").max_len);
	EXPECT_EQ(4096, find_allocator("b").max_len);
	EXPECT_EQ(MIB, find_allocator("A-b_c.d@e").max_len);
	EXPECT_EQ(RAM_LEN, find_allocator("ram").max_len);
	/* All of one page. */
	EXPECT_EQ(CENALLOC_TEST_OK, would_be(4096, OF_BANK()));
	ASSERT_EQ(0, unload_patiently("cenalloc"));
}

TEST_HARNESS_MAIN
