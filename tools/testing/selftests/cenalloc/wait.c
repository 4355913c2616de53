// SPDX-License-Identifier: GPL-2.0
/*
 * Users that come too late and wait: CENALLOC_DECLARE with a timeout. What ends a
 * wait, by another thread, and what does not keep anybody waiting.
 */

#include <limits.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "camera.h"
#include "kernel_api.h"
#include "removable.h"
#include "vgem.h"

#define LEN	(300 * KIB)
#include "holders.h"

#define MS	1000000LL		/* in nanoseconds, as timeouts are */
#define FOREVER	(-1LL)
#define NARROW	NEEDS(.max_address = BITS(32), .max_segments = 1)

/* Whoever is woken or may not wait at all is back after so many seconds. */
#define SOON	(1.0 * slower())

/* --- Those who wait ------------------------------------------------------- */

struct waiter {
	pthread_t thread;
	struct cenalloc_declare declare;
	int device;		/* /dev/cenalloc */
	int ret;
	double took;		/* seconds; less than 0 while it waits */
};

static void *declare_and_wait(void *data)
{
	struct waiter *me = data;
	double start = seconds(), took;

	me->ret = call(me->device, CENALLOC_DECLARE, &me->declare);
	took = seconds() - start;
	__atomic_store(&me->took, &took, __ATOMIC_RELEASE);
	return NULL;
}

static bool is_waiting(struct waiter *waiter)
{
	double took;

	__atomic_load(&waiter->took, &took, __ATOMIC_ACQUIRE);
	return took < 0;
}

static struct waiter waiter_for(int fd, struct cenalloc_constraints needs, __s64 timeout)
{
	return (struct waiter){
		.device = open_device("/dev/cenalloc"),
		.declare = {
			.fd = fd,
			.timeout = timeout,
			.device = "late",
			.constraints = needs,
		},
		.took = -1,
	};
}

static void start(struct __test_metadata *_metadata, struct waiter *waiter)
{
	ASSERT_LE(0, waiter->device);
	ASSERT_EQ(0, pthread_create(&waiter->thread, NULL, declare_and_wait, waiter));
}

/* Waits until as many wait for a buffer; how many do. */
static __u32 settled_waiting(int fd, __u32 expected)
{
	double end = seconds() + 20 * slower();

	while (query_fields(fd).waiting != expected && seconds() < end)
		usleep(5000);
	return query_fields(fd).waiting;
}

/* Waits for one to come back, which it does soon. */
static void join_waiter(struct __test_metadata *_metadata, struct waiter *waiter)
{
	double start = seconds();

	while (is_waiting(waiter) && seconds() < start + 20 * slower())
		usleep(1000);
	ASSERT_FALSE(is_waiting(waiter));
	EXPECT_GT(SOON, seconds() - start);
	pthread_join(waiter->thread, NULL);
	close(waiter->device);
}

/* A call that is made here and now. */
static void call_now(struct waiter *waiter)
{
	declare_and_wait(waiter);
	close(waiter->device);
}

/* --- What ends a wait ----------------------------------------------------- */

TEST_F(held, wait_ends_when_it_lets_go)
{
	int fd = self->holder.fd;
	struct waiter waiter = waiter_for(fd, NARROW, FOREVER);

	ASSERT_EQ(0, variant->hold(&self->holder));
	start(_metadata, &waiter);
	ASSERT_EQ(1, settled_waiting(fd, 1));
	EXPECT_EQ(1, buffer_number(fd, "waiting"));
	usleep(50000);
	/* Nobody is held up by who waits. */
	EXPECT_TRUE(is_waiting(&waiter));
	EXPECT_EQ(variant->how, query_fields(fd).holds);
	EXPECT_LE(0, join(self->holder.importer, fd, DEVICE()));
	EXPECT_TRUE(is_waiting(&waiter));
	ASSERT_EQ(0, variant->let_go(&self->holder));
	join_waiter(_metadata, &waiter);
	EXPECT_EQ(0, waiter.ret);
	EXPECT_EQ(0, waiter.declare.refusal.cause);
	EXPECT_EQ(0, query_fields(fd).waiting);
	EXPECT_EQ(1, query_fields(fd).relocations);
	EXPECT_EQ(0, query_fields(fd).refusals);
	EXPECT_EQ(0, query_fields(fd).late_refusals);
	EXPECT_EQ(0, wrong_bytes(self->memory, LEN, 1));
}

TEST_F(held, timeout_tells_who_holds_it)
{
	int fd = self->holder.fd, i;
	const __s64 timeouts[] = { 0, 1, 100 * MS };

	ASSERT_EQ(0, variant->hold(&self->holder));
	for (i = 0; i < 3; i++) {
		struct waiter waiter = waiter_for(fd, NARROW, timeouts[i]);

		call_now(&waiter);
		EXPECT_EQ(-EBUSY, waiter.ret);
		EXPECT_LE(timeouts[i] / 1e9, waiter.took);
		EXPECT_GT(timeouts[i] / 1e9 + SOON, waiter.took);
		EXPECT_EQ(CENALLOC_CAUSE_HELD, waiter.declare.refusal.cause);
		EXPECT_EQ(variant->how, waiter.declare.refusal.holder);
		EXPECT_STREQ("program late", waiter.declare.refusal.who);
		/* One refusal for each call, however often it looked. */
		EXPECT_EQ(i + 1, query_fields(fd).refusals);
		EXPECT_EQ(i + 1, query_fields(fd).late_refusals);
		EXPECT_EQ(i + 1, waiter.declare.refusal.sequence);
	}
	EXPECT_EQ(0, query_fields(fd).waiting);
	EXPECT_EQ(0, query_fields(fd).relocations);
}

static void no_more_than_a_signal(int number)
{
	(void)number;
}

TEST_F(held, signals)
{
	struct sigaction action = { .sa_handler = no_more_than_a_signal };
	int fd = self->holder.fd, i;

	ASSERT_EQ(0, variant->hold(&self->holder));
	for (i = 0; i < 2; i++) {
		struct waiter waiter = waiter_for(fd, NARROW, FOREVER);

		/* Whose handler restarts the call, waits anew. */
		action.sa_flags = i ? SA_RESTART : 0;
		ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
		start(_metadata, &waiter);
		ASSERT_EQ(1, settled_waiting(fd, 1));
		ASSERT_EQ(0, pthread_kill(waiter.thread, SIGUSR1));
		if (i) {
			usleep(50000 * slower());
			EXPECT_TRUE(is_waiting(&waiter));
			EXPECT_EQ(1, settled_waiting(fd, 1));
			ASSERT_EQ(0, variant->let_go(&self->holder));
		}
		join_waiter(_metadata, &waiter);
		EXPECT_EQ(i ? 0 : -EINTR, waiter.ret);
		EXPECT_EQ(0, waiter.declare.refusal.cause);
		EXPECT_EQ(0, query_fields(fd).waiting);
	}
	EXPECT_EQ(0, query_fields(fd).refusals);
}

TEST_F(held, a_kill)
{
	int fd = self->holder.fd, status;
	double start;
	pid_t child;

	ASSERT_EQ(0, variant->hold(&self->holder));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		declare_until(fd, "", "killed", NARROW, FOREVER, NULL);
		_exit(1);
	}
	ASSERT_EQ(1, settled_waiting(fd, 1));
	start = seconds();
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_GT(SOON, seconds() - start);
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(0, query_fields(fd).waiting);
	/* Nothing is left of it. */
	ASSERT_EQ(0, variant->let_go(&self->holder));
	EXPECT_EQ(0, query_fields(fd).relocations);
	EXPECT_EQ(0, declare_needs(fd, "next", NARROW));
}

/* --- A buffer that one importer holds ------------------------------------- */

FIXTURE(mapped) {
	struct holder holder;
	char *memory;
	int fd;
};

FIXTURE_SETUP(mapped)
{
	self->fd = create(LEN);
	ASSERT_LE(0, self->fd);
	self->holder.fd = self->fd;
	self->holder.importer = open_importer();
	ASSERT_LE(0, self->holder.importer);
	self->memory = back_high(_metadata, self->holder.importer, self->fd);
	ASSERT_EQ(0, hold_static(&self->holder));
}

FIXTURE_TEARDOWN(mapped)
{
	munmap(self->memory, LEN);
	close(self->holder.importer);
	if (self->fd >= 0)
		close(self->fd);
}

TEST_F(mapped, the_longest_timeouts)
{
	const __s64 timeouts[] = { LLONG_MAX, LLONG_MAX - 1, LLONG_MAX / 2, LLONG_MIN, -2 };
	struct waiter waiters[ARRAY_SIZE(timeouts)];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(timeouts); i++) {
		waiters[i] = waiter_for(self->fd, NARROW, timeouts[i]);
		start(_metadata, &waiters[i]);
	}
	ASSERT_EQ(ARRAY_SIZE(timeouts), settled_waiting(self->fd, ARRAY_SIZE(timeouts)));
	usleep(100000);
	EXPECT_EQ(ARRAY_SIZE(timeouts), query_fields(self->fd).waiting);
	ASSERT_EQ(0, unmap(self->holder.importer, self->holder.attachment));
	for (i = 0; i < ARRAY_SIZE(timeouts); i++) {
		join_waiter(_metadata, &waiters[i]);
		EXPECT_EQ(0, waiters[i].ret);
	}
	EXPECT_EQ(1, query_fields(self->fd).relocations);
}

/* Each of them gone is not enough. */
TEST_F(mapped, the_last_of_several)
{
	struct waiter waiter = waiter_for(self->fd, NARROW, FOREVER);
	int other = join(self->holder.importer, self->fd, DEVICE());
	int pinned = join_dynamic(self->holder.importer, self->fd, DEVICE());
	int camera = open_camera(1);

	ASSERT_EQ(0, map(self->holder.importer, other, NULL));
	ASSERT_EQ(0, pin(self->holder.importer, pinned));
	ASSERT_LT(0, set_up(camera, RED));
	ASSERT_EQ(0, request(camera, 2));
	ASSERT_EQ(0, queue(camera, 0, self->fd));
	EXPECT_EQ(4, query_fields(self->fd).holders);
	start(_metadata, &waiter);
	ASSERT_EQ(1, settled_waiting(self->fd, 1));
	ASSERT_EQ(0, let_go_mapped(&self->holder));
	ASSERT_EQ(0, request(camera, 0));
	ASSERT_EQ(0, unpin(self->holder.importer, pinned));
	usleep(50000);
	EXPECT_TRUE(is_waiting(&waiter));
	EXPECT_EQ(1, query_fields(self->fd).holders);
	ASSERT_EQ(0, unmap(self->holder.importer, other));
	join_waiter(_metadata, &waiter);
	EXPECT_EQ(0, waiter.ret);
	close(camera);
}

/* Two that have it mapped in turns, so that it is always held and often let go. */
struct turns {
	pthread_t thread;
	int importer;
	int attachments[2];	/* the first has it mapped */
	bool stop;
	int ret;
};

static void *take_turns(void *data)
{
	struct turns *me = data;
	int i;

	for (i = 0; !me->ret && !__atomic_load_n(&me->stop, __ATOMIC_ACQUIRE); i = !i) {
		me->ret = map(me->importer, me->attachments[!i], NULL);
		if (!me->ret)
			me->ret = unmap(me->importer, me->attachments[i]);
	}
	return NULL;
}

/* Who is woken all the time has no more time than it asked for. */
TEST_F(mapped, timeout_among_others_who_take_turns)
{
	struct waiter waiter = waiter_for(self->fd, NARROW, 1000 * MS);
	struct turns turns = { .importer = self->holder.importer };

	turns.attachments[0] = self->holder.attachment;
	turns.attachments[1] = join(self->holder.importer, self->fd, DEVICE());
	ASSERT_LE(0, turns.attachments[1]);
	ASSERT_EQ(0, pthread_create(&turns.thread, NULL, take_turns, &turns));
	call_now(&waiter);
	EXPECT_EQ(-EBUSY, waiter.ret);
	EXPECT_LE(1.0, waiter.took);
	EXPECT_GT(3.0, waiter.took);
	__atomic_store_n(&turns.stop, true, __ATOMIC_RELEASE);
	pthread_join(turns.thread, NULL);
	EXPECT_EQ(0, turns.ret);
}

/* What came in between rules it out, which it is told when it looks again. */
TEST_F(mapped, refused_in_the_end)
{
	struct waiter waiter = waiter_for(self->fd,
					  NEEDS(.access_mask = CENALLOC_CLASS_SYSTEM_CONTIG),
					  FOREVER);

	/* Of no class, so that contiguous memory can be had. */
	close(self->fd);
	self->fd = -1;
	close(self->holder.importer);
	self->holder.importer = open_importer();
	self->fd = create(LEN);
	ASSERT_EQ(0, declare_needs(self->fd, "wide", NEEDS()));
	ASSERT_EQ(0, allocate(self->fd));
	ASSERT_STREQ("system", query_fields(self->fd).allocator);
	self->holder.fd = self->fd;
	waiter.declare.fd = self->fd;
	ASSERT_EQ(0, hold_static(&self->holder));
	start(_metadata, &waiter);
	ASSERT_EQ(1, settled_waiting(self->fd, 1));
	ASSERT_EQ(0, declare_needs(self->fd, "rival",
				   NEEDS(.access_mask = CENALLOC_CLASS_SYSTEM)));
	ASSERT_EQ(0, let_go_mapped(&self->holder));
	join_waiter(_metadata, &waiter);
	EXPECT_EQ(-EINVAL, waiter.ret);
	EXPECT_EQ(CENALLOC_CAUSE_USER, waiter.declare.refusal.cause);
	EXPECT_STREQ("program rival", waiter.declare.refusal.other);
	EXPECT_EQ(1, query_fields(self->fd).refusals);
	EXPECT_EQ(0, query_fields(self->fd).relocations);
}

/* The descriptor goes while somebody waits; and with it the buffer, when that is over. */
TEST_F(mapped, closed_meanwhile)
{
	struct waiter waiter = waiter_for(self->fd, NARROW, FOREVER);
	unsigned int buffers = count_buffers();

	start(_metadata, &waiter);
	ASSERT_EQ(1, settled_waiting(self->fd, 1));
	close(self->fd);
	self->fd = -1;
	usleep(50000);
	EXPECT_TRUE(is_waiting(&waiter));
	EXPECT_EQ(buffers, count_buffers());
	ASSERT_EQ(0, let_go_detached(&self->holder));
	join_waiter(_metadata, &waiter);
	EXPECT_EQ(0, waiter.ret);
	EXPECT_EQ(0, wrong_bytes(self->memory, LEN, 1));
	munmap(self->memory, LEN);
	EXPECT_EQ(buffers - 1, settled_buffers(buffers - 1));
}

/* One thread waits when its process becomes another program. */
TEST_F(mapped, exec_meanwhile)
{
	struct waiter waiter = waiter_for(self->fd, NARROW, FOREVER);
	int status;
	pid_t child;

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		start(_metadata, &waiter);
		settled_waiting(self->fd, 1);
		execlp("true", "true", NULL);
		_exit(KSFT_FAIL);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, query_fields(self->fd).waiting);
	EXPECT_EQ(0, query_fields(self->fd).refusals);
	close(waiter.device);
}

/* --- Devices that go ------------------------------------------------------ */

static void name_removable(struct waiter *waiter)
{
	snprintf(waiter->declare.bus, sizeof(waiter->declare.bus), "platform");
	snprintf(waiter->declare.device, sizeof(waiter->declare.device), REMOVABLE_NAME);
}

TEST_F(mapped, device_whose_driver_unbinds)
{
	struct waiter waiter = waiter_for(self->fd, NEEDS(), FOREVER);
	double began;

	if (load(REMOVABLE_NAME))
		SKIP(return, "no " REMOVABLE_NAME);
	name_removable(&waiter);
	start(_metadata, &waiter);
	ASSERT_EQ(1, settled_waiting(self->fd, 1));
	began = seconds();
	EXPECT_EQ(0, bind_removable("unbind"));
	/* Who waits has nothing of the device locked. */
	EXPECT_GT(SOON, seconds() - began);
	join_waiter(_metadata, &waiter);
	EXPECT_EQ(-ENODEV, waiter.ret);
	EXPECT_EQ(CENALLOC_CAUSE_NO_DRIVER, waiter.declare.refusal.cause);
	EXPECT_EQ(0, query_fields(self->fd).waiting);
	EXPECT_EQ(0, bind_removable("bind"));
	EXPECT_EQ(0, unload_patiently(REMOVABLE_NAME));
}

/* It may unbind at any moment of the call. */
TEST_F(mapped, device_whose_driver_unbinds_at_once)
{
	int i;

	if (load(REMOVABLE_NAME))
		SKIP(return, "no " REMOVABLE_NAME);
	for (i = 0; i < 60; i++) {
		struct waiter waiter = waiter_for(self->fd, NEEDS(), FOREVER);

		name_removable(&waiter);
		start(_metadata, &waiter);
		usleep(i * 5);
		ASSERT_EQ(0, bind_removable("unbind"));
		join_waiter(_metadata, &waiter);
		ASSERT_EQ(-ENODEV, waiter.ret);
		ASSERT_EQ(0, bind_removable("bind"));
	}
	EXPECT_EQ(0, unload_patiently(REMOVABLE_NAME));
}

/* How long the driver of the removable device takes to unbind, with so much declared of it. */
static double unbind_time(struct __test_metadata *_metadata, unsigned int declared)
{
	int fd = create(PAGE);
	unsigned int i;
	double began;

	/* Each is narrower: what is covered would be none of its own. */
	for (i = 0; i < declared; i++)
		ASSERT_EQ(0, declare_device_with(fd, "platform", REMOVABLE_NAME,
						 NEEDS(.max_address = BITS(32) - PAGE * i)));
	began = seconds();
	EXPECT_EQ(0, bind_removable("unbind"));
	began = seconds() - began;
	EXPECT_EQ(0, query_fields(fd).user_count);
	EXPECT_EQ(0, bind_removable("bind"));
	close(fd);
	return began;
}

#define CROWD	400	/* that wait */

/* Those who wait are woken once for a driver that unbinds, whatever was declared of its device. */
TEST_F(mapped, unbind_wakes_a_crowd_once)
{
	static struct waiter waiters[CROWD];
	unsigned int declared = 3000 / slower(), crowd = CROWD / slower(), i;
	double alone, few, many, most;

	if (load(REMOVABLE_NAME))
		SKIP(return, "no " REMOVABLE_NAME);
	alone = unbind_time(_metadata, declared);
	for (i = 0; i < crowd; i++) {
		waiters[i] = waiter_for(self->fd, NARROW, FOREVER);
		start(_metadata, &waiters[i]);
	}
	ASSERT_EQ(crowd, settled_waiting(self->fd, crowd));
	few = unbind_time(_metadata, 1);
	most = 5 * (alone + few) + 0.01;
	/* A processor of the machine may be taken away meanwhile, but not each time. */
	i = 0;
	do {
		many = unbind_time(_metadata, declared);
	} while (many >= most && ++i < 5);
	EXPECT_GT(most, many) {
		TH_LOG("%.4f s for %u that wait, %.4f s for %u declarations, %.4f s for both", few,
		       crowd, alone, declared, many);
	}
	ASSERT_EQ(0, let_go_mapped(&self->holder));
	for (i = 0; i < crowd; i++) {
		join_waiter(_metadata, &waiters[i]);
		EXPECT_EQ(0, waiters[i].ret);
	}
	EXPECT_EQ(0, unload_patiently(REMOVABLE_NAME));
}

TEST_F(mapped, device_that_is_removed)
{
	struct waiter waiter = waiter_for(self->fd, NEEDS(), FOREVER);
	int importer = open_importer();
	int device = add_device(importer, DEVICE(.name = "going", .dma_mask = BITS(32)));

	ASSERT_LE(0, device);
	snprintf(waiter.declare.bus, sizeof(waiter.declare.bus), "platform");
	ASSERT_TRUE(find_device("platform", "going.", waiter.declare.device,
				sizeof(waiter.declare.device)));
	start(_metadata, &waiter);
	ASSERT_EQ(1, settled_waiting(self->fd, 1));
	ASSERT_EQ(0, call_number(importer, IMPORTER_REMOVE, device));
	join_waiter(_metadata, &waiter);
	EXPECT_EQ(-ENODEV, waiter.ret);
	EXPECT_EQ(-ENODEV, error_of(waiter.declare.refusal.cause));
	EXPECT_EQ(0, query_fields(self->fd).waiting);
	close(importer);
}

/* --- Who does not wait ---------------------------------------------------- */

/* Nothing to wait for: memory that suits, or none; what can never be; no memory to be had. */
TEST_F(mapped, nothing_to_wait_for)
{
	const struct {
		struct cenalloc_constraints needs;
		int ret;
	} cases[] = {
		{ NEEDS(.max_segment_size = 4096), 0 },
		{ NEEDS(.access_mask = 1ULL << 50), -EINVAL },
		{ NEEDS(.max_address = LEN - 2), -EINVAL },
		{ NEEDS(.alignment = 3), -EINVAL },
	};
	int empty = create(LEN), i;

	for (i = 0; i < (int)ARRAY_SIZE(cases); i++) {
		struct waiter waiter = waiter_for(self->fd, cases[i].needs, FOREVER);

		call_now(&waiter);
		EXPECT_EQ(cases[i].ret, waiter.ret);
		EXPECT_GT(SOON, waiter.took);
	}
	EXPECT_EQ(0, declare_until(empty, "", "first", NARROW, FOREVER, NULL));
	EXPECT_EQ(-ENODEV, declare_until(self->fd, "platform", "no.such", NEEDS(), FOREVER, NULL));
	EXPECT_EQ(-EBADF, declare_until(-1, "", "", NARROW, FOREVER, NULL));
	close(empty);
	empty = create(LOW_MEMORY);
	ASSERT_EQ(0, allocate(empty));
	EXPECT_EQ(-ENOMEM, declare_until(empty, "", "low", NEEDS(.max_address = LOW(24)), FOREVER,
					 NULL));
	EXPECT_EQ(1, query_fields(empty).late_refusals);
	close(empty);
}

/* An address that was told is told for ever. */
TEST(told_address_is_not_waited_for)
{
	struct c_importer_pages pages;
	int fd = create(LEN), driver = open_driver();
	struct waiter waiter = waiter_for(fd, NARROW, FOREVER);

	ASSERT_EQ(0, allocate(fd));
	ASSERT_EQ(0, driver_take(driver, fd));
	ASSERT_EQ(0, driver_pages(driver, 0, NULL, &pages));
	ASSERT_LE(1ULL << 32, pages.seen.last_address);
	call_now(&waiter);
	EXPECT_EQ(-EBUSY, waiter.ret);
	EXPECT_GT(SOON, waiter.took);
	EXPECT_EQ(CENALLOC_HOLDER_ADDRESS, waiter.declare.refusal.holder);
	EXPECT_EQ(0, query_fields(fd).waiting);
	close(driver);
	close(fd);
}

/* Nor is one that is told while somebody waits. */
TEST_F(mapped, address_told_meanwhile)
{
	struct waiter waiter = waiter_for(self->fd, NARROW, FOREVER);
	struct c_importer_pages pages;
	int driver = open_driver();

	ASSERT_EQ(0, driver_take(driver, self->fd));
	start(_metadata, &waiter);
	ASSERT_EQ(1, settled_waiting(self->fd, 1));
	ASSERT_EQ(0, driver_pages(driver, 0, NULL, &pages));
	join_waiter(_metadata, &waiter);
	EXPECT_EQ(-EBUSY, waiter.ret);
	EXPECT_EQ(CENALLOC_CAUSE_HELD, waiter.declare.refusal.cause);
	close(driver);
}

/* --- Many ----------------------------------------------------------------- */

/* As many as a buffer has users. */
#define MANY	4096

TEST_F(mapped, many_wait)
{
	static struct waiter waiters[MANY];
	struct rlimit limit;
	pthread_attr_t attr;
	int i, device = open_device("/dev/cenalloc");
	__u32 many = slower() > 1 ? MANY / 8 : MANY, waiting;
	double began;

	ASSERT_EQ(0, getrlimit(RLIMIT_NPROC, &limit));
	if (limit.rlim_cur < many + 64)
		many = limit.rlim_cur - 64;
	ASSERT_EQ(0, pthread_attr_init(&attr));
	ASSERT_EQ(0, pthread_attr_setstacksize(&attr, 128 * KIB));
	for (i = 0; i < (int)many; i++) {
		waiters[i] = (struct waiter){
			.device = device,
			.declare = {
				.fd = self->fd,
				/* Some give up before. */
				.timeout = i % 16 ? FOREVER : 1000 * MS,
				.device = "one of many",
				.constraints = NARROW,
			},
			.took = -1,
		};
		ASSERT_EQ(0, pthread_create(&waiters[i].thread, &attr, declare_and_wait,
					    &waiters[i]));
	}
	waiting = settled_waiting(self->fd, many - many / 16);
	EXPECT_EQ(many - many / 16, waiting);
	began = seconds();
	ASSERT_EQ(0, let_go_detached(&self->holder));
	for (i = 0; i < (int)many; i++) {
		pthread_join(waiters[i].thread, NULL);
		ASSERT_EQ(i % 16 ? 0 : -EBUSY, waiters[i].ret) {
			TH_LOG("waiter %d", i);
		}
	}
	TH_LOG("%u came home in %.1f s", waiting, seconds() - began);
	EXPECT_GT(60 * slower(), seconds() - began);
	EXPECT_EQ(0, query_fields(self->fd).waiting);
	EXPECT_EQ(many - many / 16, query_fields(self->fd).user_count);
	EXPECT_EQ(many / 16, query_fields(self->fd).late_refusals);
	EXPECT_EQ(1, query_fields(self->fd).relocations);
	EXPECT_EQ(0, wrong_bytes(self->memory, LEN, 1));
	close(device);
}

/* --- The late encoder ----------------------------------------------------- */

#define FRAMES	3

struct preview {
	pthread_t thread;
	int importer;
	int device;
	int fds[FRAMES];
	bool stop;
	int rounds;
	int ret;
	__u64 last;	/* the last address of the last round */
};

/* Shows one frame after the other: each descriptor is let go for the next. */
static void *show_frames(void *data)
{
	static struct mapping mapping;
	struct preview *me = data;
	int attachment, i;

	for (; !me->ret && !__atomic_load_n(&me->stop, __ATOMIC_ACQUIRE); me->rounds++) {
		__u64 last = 0;

		for (i = 0; i < FRAMES && !me->ret; i++) {
			attachment = attach(me->importer, me->device, me->fds[i]);
			me->ret = attachment < 0 ? attachment :
				  map(me->importer, attachment, &mapping);
			if (me->ret)
				break;
			usleep(2000);
			if (last_address(&mapping) > last)
				last = last_address(&mapping);
			me->ret = unmap(me->importer, attachment);
			if (!me->ret)
				me->ret = detach(me->importer, attachment);
		}
		me->last = last;
	}
	return NULL;
}

/* An encoder of narrower needs joins while the preview goes on, by one call for each frame. */
TEST(encoder_joins_a_running_preview)
{
	struct preview preview = { .importer = open_importer() };
	struct cenalloc_refusal refusal;
	int i;

	preview.device = add_device(preview.importer, DEVICE(.name = "display"));
	ASSERT_LE(0, preview.device);
	for (i = 0; i < FRAMES; i++) {
		preview.fds[i] = create(LEN);
		ASSERT_EQ(0, allocate(preview.fds[i]));
	}
	ASSERT_EQ(0, pthread_create(&preview.thread, NULL, show_frames, &preview));
	usleep(50000);
	for (i = 0; i < FRAMES; i++) {
		EXPECT_EQ(0, declare_until(preview.fds[i], "", "encoder", NARROW,
					   10000 * MS * slower(), &refusal)) {
			TH_LOG("cause %u, held by %s", refusal.cause, refusal.other);
		}
		EXPECT_EQ(1, query_fields(preview.fds[i]).relocations);
		EXPECT_EQ(0, query_fields(preview.fds[i]).refusals);
	}
	usleep(100000 * slower());
	__atomic_store_n(&preview.stop, true, __ATOMIC_RELEASE);
	pthread_join(preview.thread, NULL);
	EXPECT_EQ(0, preview.ret);
	EXPECT_LT(3, preview.rounds);
	EXPECT_GE(BITS(32), preview.last);
	for (i = 0; i < FRAMES; i++)
		close(preview.fds[i]);
	close(preview.importer);
}

int main(int argc, char **argv)
{
	return run_with_modules(argc, argv);
}
