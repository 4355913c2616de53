// SPDX-License-Identifier: GPL-2.0
/*
 * A device that may go at any time. Its importer attaches under a lock that its
 * remove() takes, which the kernel calls with the lock of the device held: so attaching,
 * mapping and detaching may not wait for that. lockdep does not look at the locks of
 * devices; this does, with a clock.
 */

#include <pthread.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "modules.h"
#include "removable.h"

#define HELD		2000	/* milliseconds for which the device's lock is held */

#define WAITED		(HELD / 2 / 1000.0)	/* seconds after which something waited for it */

FIXTURE(removable) {
	int driver;
	int fd;
	unsigned int buffers;
};

FIXTURE_SETUP(removable)
{
	self->buffers = count_buffers();
	self->driver = open_device("/dev/" REMOVABLE_NAME);
	ASSERT_LE(0, self->driver);
	self->fd = create(64 * KIB);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(removable)
{
	EXPECT_EQ(0, set_removable("take_device_lock", false));
	EXPECT_EQ(0, set_removable("fail_probe", false));
	close(self->fd);
	close(self->driver);
	EXPECT_EQ(self->buffers, settled_buffers(self->buffers));
}

static void *hold(void *driver)
{
	return (void *)(long)call_number(*(int *)driver, REMOVABLE_HOLD, HELD);
}

/* How long a use of the buffer takes while the device's lock is held; -1 if it failed. */
static double share_while_held(int driver, int fd, int *ret)
{
	pthread_t holder;
	double start;
	void *held;

	if (pthread_create(&holder, NULL, hold, &driver))
		return -1;
	usleep(200000);
	start = seconds();
	*ret = call_number(driver, REMOVABLE_SHARE, fd);
	start = seconds() - start;
	pthread_join(holder, &held);
	return held ? -1 : start;
}

#define EXPECT_NO_WAIT(driver, fd) do {						\
	int _ret = -1;								\
	double _time = share_while_held(driver, fd, &_ret);			\
										\
	EXPECT_EQ(0, _ret);							\
	EXPECT_LE(0, _time);							\
	EXPECT_GT(WAITED, _time) {						\
		TH_LOG("it waited %.2f s for the lock of the device", _time);	\
	}									\
} while (0)

TEST_F(removable, is_shared)
{
	EXPECT_EQ(0, call_number(self->driver, REMOVABLE_SHARE, self->fd));
}

TEST_F(removable, shares_while_its_lock_is_held)
{
	EXPECT_NO_WAIT(self->driver, self->fd);
	/* With memory. */
	EXPECT_NO_WAIT(self->driver, self->fd);
}

TEST_F(removable, shares_what_it_was_declared_for)
{
	ASSERT_EQ(0, declare_device(self->fd, "platform", REMOVABLE_NAME));
	EXPECT_NO_WAIT(self->driver, self->fd);
}

/* The clock sees it: the driver waits on purpose. */
TEST_F(removable, planted_inversion_is_seen)
{
	int ret;

	ASSERT_EQ(0, set_removable("take_device_lock", true));
	EXPECT_LT(WAITED, share_while_held(self->driver, self->fd, &ret));
	EXPECT_EQ(0, ret);
}

TEST_F(removable, goes_and_comes)
{
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, declare_device(self->fd, "platform", REMOVABLE_NAME));
		EXPECT_EQ(1, query_fields(self->fd).user_count);
		ASSERT_EQ(0, bind_removable("unbind"));
		EXPECT_EQ(0, query_fields(self->fd).user_count);
		EXPECT_EQ(-ENODEV, call_number(self->driver, REMOVABLE_SHARE, self->fd));
		EXPECT_EQ(-ENODEV, declare_device(self->fd, "platform", REMOVABLE_NAME));
		ASSERT_EQ(0, bind_removable("bind"));
		EXPECT_EQ(0, call_number(self->driver, REMOVABLE_SHARE, self->fd));
	}
}

/* What its probe declared is gone when that fails. */
TEST_F(removable, fails_to_come)
{
	ASSERT_EQ(0, bind_removable("unbind"));
	ASSERT_EQ(0, set_removable("fail_probe", true));
	EXPECT_EQ(-ENODEV, bind_removable("bind"));
	EXPECT_EQ(-ENODEV, declare_device(self->fd, "platform", REMOVABLE_NAME));
	ASSERT_EQ(0, set_removable("fail_probe", false));
	ASSERT_EQ(0, bind_removable("bind"));
	EXPECT_EQ(0, declare_device(self->fd, "platform", REMOVABLE_NAME));
	EXPECT_EQ(0, call_number(self->driver, REMOVABLE_SHARE, self->fd));
}

int main(int argc, char **argv)
{
	return run_with_removable(argc, argv);
}
