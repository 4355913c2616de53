// SPDX-License-Identifier: GPL-2.0
/*
 * Recipes: policies for boards, which the command has and $CENALLOC_TOOL names. Their
 * devices are not here. An importer with the limits that the driver of such a device has
 * stands for it, by its own name in place of that driver's.
 */

#include <stdio.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "policy.h"

#define FRAMES		4
#define FULL_HD		(1920 * 1080 * 3 / 2)
#define ULTRA_HD	(3840 * 2160 * 3 / 2)	/* above the largest block */

struct trial {
	const char *board;
	const char *name;	/* of its driver or module; NULL: nothing has to be told */
	__u64 dma_mask;		/* as its driver sets it */
	__u64 len;
	bool is_contiguous;	/* whether a table of more than one segment is refused */
	__u64 reach;		/* the last byte that the hardware reaches */
};

static const struct trial trials[] = {
	{ "raspberry-pi-4", "vc_sm_cma", BITS(32), ULTRA_HD, true, BITS(32) },
	{ "raspberry-pi-4", "bcm2835_codec", BITS(32), ULTRA_HD, true, BITS(32) },
	{ "rk3588", NULL, BITS(32), FULL_HD, false, BITS(32) },
	{ "imx8m", "galcore", BITS(40), FULL_HD, false, BITS(32) },
	{ "allwinner", "sun8i_mixer", BITS(32), ULTRA_HD, true, BITS(32) },
};

static const char *tool;

/* How many of some buffers the importer can use. */
static int usable(const struct trial *trial)
{
	static struct mapping mapping;
	int importer = open_importer(), fds[FRAMES], attachment, i, count = 0;

	for (i = 0; i < FRAMES; i++) {
		fds[i] = create(trial->len);
		attachment = join(importer, fds[i], DEVICE(.dma_mask = trial->dma_mask));
		if (attachment < 0 || map(importer, attachment, &mapping))
			continue;
		count += (!trial->is_contiguous || mapping.count == 1) &&
			 last_address(&mapping) <= trial->reach;
	}
	close(importer);
	for (i = 0; i < FRAMES; i++)
		close(fds[i]);
	return count;
}

#define LOAD	" policy load --prune >/dev/null"

/* Loads a recipe, with the entry of that driver or module for those of the importer. */
static int load_for_importer(const struct trial *trial)
{
	char command[512];

	snprintf(command, sizeof(command),
		 "%s policy recipes %s | sed 's/\\.%s\\]$/.cenalloc_importer]/' | %s" LOAD,
		 tool, trial->board, trial->name ?: "", tool);
	return system(command);
}

static int remove_all(void)
{
	char command[128];

	snprintf(command, sizeof(command), "%s" LOAD " </dev/null", tool);
	return system(command);
}

/* Whether there is a trial of a board, and of such a line of its recipe. */
static bool is_tried(const char *board, const char *line)
{
	char pattern[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(trials); i++) {
		snprintf(pattern, sizeof(pattern), "\\[*.%s\\]", trials[i].name ?: "");
		if (!strcmp(trials[i].board, board) && (!line || !fnmatch(pattern, line, 0)))
			return true;
	}
	return false;
}

/* Reads what a command prints, line by line, without the ends of the lines. */
static bool next_of(FILE *pipe, char *line, int size)
{
	if (!fgets(line, size, pipe))
		return false;
	line[strcspn(line, "\n")] = '\0';
	return true;
}

TEST(recipes_are_tried)
{
	char command[256], line[256], board[256];
	FILE *boards, *recipe;
	int count = 0;

	snprintf(command, sizeof(command), "%s policy recipes", tool);
	boards = popen(command, "r");
	ASSERT_NE(NULL, boards);
	/* The names of columns come first. */
	ASSERT_TRUE(next_of(boards, line, sizeof(line)));
	while (next_of(boards, line, sizeof(line))) {
		line[strcspn(line, " ")] = '\0';
		strcpy(board, line);
		EXPECT_TRUE(is_tried(board, NULL)) {
			TH_LOG("no trial of %s", board);
		}
		snprintf(command, sizeof(command), "%.64s policy recipes %.64s", tool, board);
		recipe = popen(command, "r");
		ASSERT_NE(NULL, recipe);
		while (next_of(recipe, line, sizeof(line))) {
			if (*line != '[')
				continue;
			count++;
			EXPECT_TRUE(is_tried(board, line)) {
				TH_LOG("no trial of %s of %s", line, board);
			}
		}
		EXPECT_EQ(0, pclose(recipe));
	}
	EXPECT_EQ(0, pclose(boards));
	EXPECT_LT(0, count);
}

/* Some buffers are as the importer needs them by chance. */
TEST(importers_use_buffers_by_a_recipe)
{
	const struct trial *trial;

	ASSERT_TRUE(have_policies());
	for (trial = trials; trial < trials + ARRAY_SIZE(trials); trial++) {
		int without = usable(trial), with;

		ASSERT_EQ(0, load_for_importer(trial));
		EXPECT_EQ(!!trial->name, !access(POLICIES "module:cenalloc_importer", F_OK));
		with = usable(trial);
		EXPECT_EQ(0, remove_all());
		EXPECT_EQ(FRAMES, with) {
			TH_LOG("%s, %s: %d of %d", trial->board, trial->name, with, FRAMES);
		}
		EXPECT_EQ(!trial->name, without == FRAMES) {
			TH_LOG("%s, %s: %d of %d without it", trial->board, trial->name, without,
			       FRAMES);
		}
	}
}

int main(int argc, char **argv)
{
	tool = getenv("CENALLOC_TOOL");
	if (!tool)
		ksft_exit_skip("no command cenalloc to ask\n");
	return test_harness_run(argc, argv);
}
