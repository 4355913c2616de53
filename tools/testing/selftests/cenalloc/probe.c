// SPDX-License-Identifier: GPL-2.0
/*
 * A driver that declares its own device while that is probed. Whatever waits for the
 * device's lock there waits for ever: all that binds has a time limit.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "modules.h"

#define DRIVER	"/sys/bus/platform/drivers/cenalloc_probe/"

/* The lines of debugfs that match an extended regular expression. */
static int count_matches(const char *file, const char *pattern)
{
	char command[256], text[16];
	FILE *lines;
	int count = -1;

	snprintf(command, sizeof(command), "grep -cE '%s' /sys/kernel/debug/cenalloc/%s",
		 pattern, file);
	lines = popen(command, "r");
	if (lines && fgets(text, sizeof(text), lines))
		count = atoi(text);
	if (lines)
		pclose(lines);
	return count;
}

/* Buffers of the driver; the last reference to one may go a little later. */
static int settled_probed(int expected)
{
	int i;

	for (i = 0; i < 200 && count_matches("buffers", "name=\"cenalloc_probe\"") != expected; i++)
		usleep(5000);
	return count_matches("buffers", "name=\"cenalloc_probe\"");
}

static int count_declared(void)
{
	return count_matches("devices",
			     "device=\"[^\"]*cenalloc_probe\".* segments=1 .*declared=1");
}

/* The exit status of a shell's command, 124 if it takes longer than 20 seconds. */
static int timed(const char *command)
{
	char line[256];
	int status;

	snprintf(line, sizeof(line), "timeout -s INT 20 %s", command);
	status = system(line);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

FIXTURE(probe) {
};

FIXTURE_SETUP(probe)
{
	unload("cenalloc_probe");
	ASSERT_EQ(0, timed("modprobe cenalloc_probe device=1"));
}

FIXTURE_TEARDOWN(probe)
{
	EXPECT_EQ(0, unload_patiently("cenalloc_probe"));
	EXPECT_EQ(0, settled_probed(0));
}

TEST_F_TIMEOUT(probe, declares_its_own_device, 100)
{
	EXPECT_EQ(0, access(DRIVER "cenalloc_probe", F_OK));
	EXPECT_EQ(1, settled_probed(1));
	EXPECT_EQ(1, count_declared());
}

TEST_F_TIMEOUT(probe, declares_again_when_it_is_bound_again, 100)
{
	EXPECT_EQ(0, timed("sh -c 'echo cenalloc_probe >" DRIVER "unbind'"));
	EXPECT_EQ(0, settled_probed(0));
	EXPECT_EQ(0, count_declared());
	EXPECT_EQ(0, timed("sh -c 'echo cenalloc_probe >" DRIVER "bind'"));
	EXPECT_EQ(1, settled_probed(1));
	EXPECT_EQ(1, count_declared());
}

TEST_HARNESS_MAIN
