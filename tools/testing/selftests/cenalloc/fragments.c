// SPDX-License-Identifier: GPL-2.0
/*
 * For the guest "fragments", of little memory: what is left of it in large blocks goes to
 * whom it helps, and nobody is refused where there is no more of them.
 */

#include <linux/falloc.h>
#include <linux/udmabuf.h>
#include <sys/sysinfo.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"

#define BLOCK		(4 * MIB)	/* the largest of the page allocator */
#define BUFFERS		40
/* What stays free in whole blocks, and some of it in others. */
#define SPARE		(44 * MIB)
/* Of the rest one page in so many bytes is pinned, so that none becomes whole. */
#define PIN_EVERY	(2 * MIB)

/* How many blocks of the largest order are free: the last number of each zone. */
static unsigned int free_blocks(void)
{
	static char text[8 * KIB];
	char *line, *word, *lines = NULL;
	unsigned int count = 0;

	slurp("/proc/buddyinfo", text, sizeof(text));
	for (line = strtok_r(text, "\n", &lines); line; line = strtok_r(NULL, "\n", &lines)) {
		char *words = NULL, *last = "0";

		for (word = strtok_r(line, " ", &words); word; word = strtok_r(NULL, " ", &words))
			last = word;
		count += atoi(last);
	}
	return count;
}

/*
 * Takes memory page by page, which breaks up the smallest blocks first, until SPARE is
 * left; pins a page here and there, and gives the others back. Returns what pins them.
 */
static int fragment(struct __test_metadata *_metadata)
{
	int memfd = memfd_create("fragments", MFD_CLOEXEC | MFD_ALLOW_SEALING), udmabuf, pins;
	struct udmabuf_create_list *list;
	static const char page[64 * KIB] = { 1 };
	struct sysinfo info;
	__u64 len, at, from;

	ASSERT_LE(0, memfd);
	ASSERT_EQ(0, sysinfo(&info));
	len = ((__u64)info.freeram * info.mem_unit - SPARE) & ~(PIN_EVERY - 1);
	list = calloc(1, sizeof(*list) + len / PIN_EVERY * sizeof(list->list[0]));
	ASSERT_NE(NULL, list);
	for (at = 0; at < len; at += PAGE)
		ASSERT_EQ(PAGE, pwrite(memfd, page, PAGE, at));
	ASSERT_EQ(0, fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK));
	for (at = 0; at < len; at += PIN_EVERY)
		list->list[list->count++] = (struct udmabuf_create_item){
			.memfd = memfd, .offset = at, .size = PAGE,
		};
	udmabuf = open_device("/dev/udmabuf");
	ASSERT_LE(0, udmabuf);
	pins = call(udmabuf, UDMABUF_CREATE_LIST, list);
	ASSERT_LE(0, pins);
	close(udmabuf);
	free(list);
	for (from = PAGE; from < len; from += PIN_EVERY)
		ASSERT_EQ(0, fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from,
				       PIN_EVERY - PAGE));
	close(memfd);
	return pins;
}

TEST(large_blocks_are_used_whole)
{
	int importer = open_importer(), pins = fragment(_metadata), fds[BUFFERS];
	unsigned int blocks = free_blocks(), i, whole = 0;
	static struct mapping mapping;

	/* Neither none nor more than enough. */
	ASSERT_LT(4, blocks);
	ASSERT_GT(3 * BUFFERS / 4, blocks);
	for (i = 0; i < BUFFERS; i++) {
		int attachment;

		fds[i] = create(BLOCK);
		attachment = join(importer, fds[i], DEVICE());
		ASSERT_LE(0, attachment);
		ASSERT_EQ(0, map(importer, attachment, &mapping));
		whole += mapping.count == 1;
		ASSERT_EQ(0, unmap(importer, attachment));
	}
	TH_LOG("%u of %u free blocks used whole, %u of %u buffers have memory", whole, blocks, i,
	       BUFFERS);
	EXPECT_LE(blocks - 2, whole);
	for (i = 0; i < BUFFERS; i++)
		close(fds[i]);
	close(importer);
	close(pins);
}

TEST_HARNESS_MAIN
