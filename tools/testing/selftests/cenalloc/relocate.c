// SPDX-License-Identifier: GPL-2.0
/*
 * When memory may move for a newcomer, and when it may not: each condition holds
 * it where it is until it ends. What userspace and dynamic importers see of a
 * move, and what remains after one that failed.
 */

#include <pthread.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "camera.h"
#include "vgem.h"

#define LEN	(300 * KIB)
#include "holders.h"

static struct mapping two;
static struct told told;

FIXTURE(high) {
	int fd;
	int importer;
	char *memory;
};

FIXTURE_SETUP(high)
{
	self->fd = create(LEN);
	ASSERT_LE(0, self->fd);
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
	self->memory = back_high(_metadata, self->importer, self->fd);
}

FIXTURE_TEARDOWN(high)
{
	munmap(self->memory, LEN);
	close(self->importer);
	close(self->fd);
}

/* --- Conditions ----------------------------------------------------------- */

FIXTURE(fenced) {
	struct holder holder;
};

FIXTURE_SETUP(fenced)
{
	self->holder.fd = create(LEN);
	ASSERT_LE(0, self->holder.fd);
}

FIXTURE_TEARDOWN(fenced)
{
	close(self->holder.fd);
}

TEST_F(held, memory_stays)
{
	int fd = self->holder.fd, importer = self->holder.importer, late;

	ASSERT_EQ(0, variant->hold(&self->holder));
	check_refused(_metadata, importer, fd, LATE, -EBUSY,
		      "*late.* needs addresses below 4 GiB, the memory is at *");
	EXPECT_EQ(-EBUSY, declare_needs(fd, "late", NEEDS(.max_address = LOW(28))));
	EXPECT_EQ(0, query_fields(fd).relocations);
	EXPECT_EQ(2, query_fields(fd).late_refusals);
	EXPECT_STREQ("system", query_fields(fd).allocator);
	EXPECT_EQ(0, wrong_bytes(self->memory, LEN, 1));
	/* Who can take memory as it is may join all the same. */
	late = join(importer, fd, DEVICE(.max_segment_size = 4096));
	ASSERT_LE(0, late);
	ASSERT_EQ(0, map(importer, late, &two));
	EXPECT_TRUE(same_memory(&one, &two));
	ASSERT_EQ(0, detach(importer, late));

	ASSERT_EQ(0, variant->let_go(&self->holder));
	late = join(importer, fd, LATE);
	ASSERT_LE(0, late);
	EXPECT_EQ(1, query_fields(fd).relocations);
	EXPECT_EQ(2, query_fields(fd).late_refusals);
	EXPECT_STREQ("system-contig", query_fields(fd).allocator);
	EXPECT_EQ(0, wrong_bytes(self->memory, LEN, 1));
	ASSERT_EQ(0, map(importer, late, &one));
	EXPECT_EQ(1, one.count);
	EXPECT_GE(BITS(32), last_address(&one));
}

static void no_more_than_a_signal(int number)
{
	(void)number;
}

static int fd_to_sync;

static void *sync_for_write(void *ret)
{
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE };

	*(int *)ret = call(fd_to_sync, DMA_BUF_IOCTL_SYNC, &sync);
	return NULL;
}

/* Who waits for a device goes on waiting behind a signal, unless the handler wants an end. */
TEST_F(fenced, signals_restart_what_waits)
{
	struct sigaction action = { .sa_handler = no_more_than_a_signal };
	pthread_t thread;
	int ret, i;

	fd_to_sync = self->holder.fd;
	for (i = 0; i < 2; i++) {
		action.sa_flags = i ? 0 : SA_RESTART;
		ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
		ASSERT_EQ(0, hold_writer(&self->holder));
		ret = 1;
		ASSERT_EQ(0, pthread_create(&thread, NULL, sync_for_write, &ret));
		usleep(50000 * slower());
		ASSERT_EQ(0, pthread_kill(thread, SIGUSR1));
		usleep(50000 * slower());
		EXPECT_EQ(i ? -EINTR : 1, ret);
		ASSERT_EQ(0, let_go_fence(&self->holder));
		pthread_join(thread, NULL);
		EXPECT_EQ(i ? -EINTR : 0, ret);
		close(self->holder.device);
	}
}

/* --- User mappings -------------------------------------------------------- */

/* Touched before and after, in this process and another, for reading and writing. */
TEST_F(high, mappings_see_the_new_memory)
{
	struct edu_transfer transfer = { .len = 64, .offset = 100, .direction = EDU_TO_DEVICE };
	const char *reader = mmap(NULL, LEN, PROT_READ, MAP_SHARED, self->fd, 0);
	char *part = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 8 * PAGE);
	int edu = open_device("/dev/cenalloc_edu"), status, there[2], back[2];
	struct edu_map edu_map = {};
	char byte = 0, *fresh;
	pid_t child;

	ASSERT_NE(MAP_FAILED, (void *)reader);
	ASSERT_NE(MAP_FAILED, part);
	EXPECT_EQ(0, wrong_bytes(reader, LEN, 1));
	EXPECT_EQ(0, memcmp(part, reader + 8 * PAGE, PAGE));
	ASSERT_EQ(0, pipe(there));
	ASSERT_EQ(0, pipe(back));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		/* It does not wait for a parent that has failed. */
		close(there[1]);
		if (wrong_bytes(self->memory, LEN, 1))
			_exit(1);
		if (write(back[1], &byte, 1) != 1 || read(there[0], &byte, 1) != 1)
			_exit(2);
		/* The parent has moved it, and written. */
		if (wrong_bytes(self->memory, LEN, 2))
			_exit(3);
		fill_bytes(self->memory, LEN, 3);
		_exit(0);
	}
	ASSERT_EQ(1, read(back[0], &byte, 1));
	ASSERT_EQ(0, call_number(edu, EDU_ATTACH, self->fd));
	/* Through an IOMMU edu reaches it where it is. */
	if (edu_translated())
		ASSERT_LE(0, join(self->importer, self->fd, LATE));
	ASSERT_EQ(1, query_fields(self->fd).relocations);
	EXPECT_EQ(0, wrong_bytes(reader, LEN, 1));
	fill_bytes(self->memory, LEN, 2);
	EXPECT_EQ(0, wrong_bytes(reader, LEN, 2));
	ASSERT_EQ(1, write(there[1], &byte, 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status) {
		TH_LOG("child %d", WEXITSTATUS(status));
	}
	EXPECT_EQ(0, wrong_bytes(reader, LEN, 3));
	EXPECT_EQ(0, memcmp(part, reader + 8 * PAGE, PAGE));
	fresh = map_cpu(self->fd, LEN);
	ASSERT_NE(MAP_FAILED, fresh);
	EXPECT_EQ(0, wrong_bytes(fresh, LEN, 3));
	/* The device sees what is written through the oldest of them, and the other way. */
	memset(self->memory + 100, 0x77, 64);
	ASSERT_EQ(0, call(edu, EDU_MAP, &edu_map));
	ASSERT_EQ(0, call(edu, EDU_TRANSFER, &transfer));
	transfer.direction = EDU_FROM_DEVICE;
	transfer.offset = 8 * PAGE;
	ASSERT_EQ(0, call(edu, EDU_TRANSFER, &transfer));
	EXPECT_EQ(0, memcmp(self->memory + 100, part, 64));
	EXPECT_EQ(0x77, part[63]);
	munmap((void *)reader, LEN);
	munmap(fresh, LEN);
	munmap(part, PAGE);
	close(edu);
}

/* Nobody else can get hold of a page through a mapping, and keep it across a move. */
TEST_F(high, no_page_can_be_taken)
{
	struct iovec iovec = { .iov_base = self->memory, .iov_len = PAGE };
	char copy[64];
	struct iovec local = { .iov_base = copy, .iov_len = sizeof(copy) };
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(-1, vmsplice(pipes[1], &iovec, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, process_vm_readv(getpid(), &local, 1, &iovec, 1, 0));
	/* Copies are allowed. */
	EXPECT_EQ(PAGE, write(pipes[1], self->memory, PAGE));
}

/* --- Dynamic importers ---------------------------------------------------- */

TEST_F(high, dynamic_importer_keeps_the_old_memory)
{
	int moving = join_dynamic(self->importer, self->fd, DEVICE(.name = "moving")), late;
	int idle = join_dynamic(self->importer, self->fd, DEVICE(.name = "idle"));
	int fixed = join(self->importer, self->fd, DEVICE(.name = "fixed"));
	__u64 used = find_allocator("system").used;

	ASSERT_LE(0, moving);
	ASSERT_LE(0, idle);
	ASSERT_LE(0, fixed);
	ASSERT_EQ(0, map(self->importer, moving, &one));
	EXPECT_EQ(0, count_moves(self->importer, moving));
	late = join(self->importer, self->fd, LATE);
	ASSERT_LE(0, late);
	EXPECT_EQ(1, count_moves(self->importer, moving));
	EXPECT_EQ(1, count_moves(self->importer, idle));
	EXPECT_EQ(0, count_moves(self->importer, fixed));
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_EQ(CENALLOC_USER_ATTACHED | CENALLOC_USER_MAPPED | CENALLOC_USER_DYNAMIC,
		  told_user(&told, "moving")->flags);
	EXPECT_STREQ("system-contig", told.query.allocator);
	/* The old memory is no one else's until it is unmapped. */
	EXPECT_EQ(used, find_allocator("system").used);
	EXPECT_EQ(0, wrong_bytes(self->memory, LEN, 1));
	ASSERT_EQ(0, map(self->importer, late, &two));
	EXPECT_FALSE(same_memory(&one, &two));
	ASSERT_EQ(0, unmap(self->importer, moving));
	EXPECT_EQ(used - LEN, find_allocator("system").used);
	/* A new mapping shows the new memory, and that is held by the static one. */
	ASSERT_EQ(0, map(self->importer, moving, &one));
	EXPECT_TRUE(same_memory(&one, &two));
	EXPECT_EQ(-EBUSY, declare_needs(self->fd, "aligned", NEEDS(.max_address = LOW(20))));
	EXPECT_EQ(1, count_moves(self->importer, moving));
}

/* Memory of several moves is kept, each by those that have it mapped. */
TEST_F(high, dynamic_importers_of_several_moves)
{
	__u64 system = find_allocator("system").used;
	__u64 contig = find_allocator("system-contig").used;
	int devices[4], i, late;

	for (i = 0; i < 4; i++) {
		devices[i] = join_dynamic(self->importer, self->fd, DEVICE());
		ASSERT_LE(0, devices[i]);
		ASSERT_EQ(0, map(self->importer, devices[i], i ? &two : &one));
		late = join(self->importer, self->fd,
			    i % 2 ? DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM) :
			    DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM_CONTIG));
		ASSERT_LE(0, late);
		ASSERT_EQ(0, detach(self->importer, late));
	}
	for (i = 0; i < 4; i++)
		EXPECT_EQ(4 - i, count_moves(self->importer, devices[i]));
	EXPECT_EQ(4, query_fields(self->fd).relocations);
	EXPECT_EQ(system + 2 * LEN, find_allocator("system").used);
	EXPECT_EQ(contig + 2 * LEN, find_allocator("system-contig").used);
	EXPECT_EQ(0, wrong_bytes(self->memory, LEN, 1));
	ASSERT_EQ(0, unmap(self->importer, devices[2]));
	EXPECT_EQ(system + LEN, find_allocator("system").used);
	ASSERT_EQ(0, detach(self->importer, devices[0]));
	EXPECT_EQ(system, find_allocator("system").used);
	close(self->importer);
	EXPECT_EQ(contig, find_allocator("system-contig").used);
	EXPECT_EQ(0, query_fields(self->fd).user_count);
	self->importer = open_importer();
}

/* The buffer goes while old memory is still mapped. */
TEST(dynamic_importer_outlives_the_descriptor)
{
	__u64 system = find_allocator("system").used;
	__u64 contig = find_allocator("system-contig").used;
	int importer = open_importer(), fd = create(LEN), moving;
	unsigned int buffers = count_buffers();

	moving = join_dynamic(importer, fd, DEVICE(.access_mask = 3));
	ASSERT_LE(0, moving);
	ASSERT_EQ(0, map(importer, moving, &one));
	ASSERT_LE(0, join(importer, fd, DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM_CONTIG)));
	close(fd);
	EXPECT_EQ(buffers, count_buffers());
	EXPECT_EQ(system + LEN, find_allocator("system").used);
	EXPECT_EQ(contig + LEN, find_allocator("system-contig").used);
	close(importer);
	EXPECT_EQ(buffers - 1, settled_buffers(buffers - 1));
	EXPECT_EQ(system, find_allocator("system").used);
	EXPECT_EQ(contig, find_allocator("system-contig").used);
}

/* Pins are those of an attachment, and no one else's. */
TEST_F(high, pins)
{
	int a = join_dynamic(self->importer, self->fd, DEVICE());
	int b = join_dynamic(self->importer, self->fd, DEVICE());
	int fixed = join(self->importer, self->fd, DEVICE());

	EXPECT_EQ(-EINVAL, unpin(self->importer, a));
	ASSERT_EQ(0, pin(self->importer, a));
	EXPECT_EQ(-EINVAL, unpin(self->importer, b));
	ASSERT_EQ(0, pin(self->importer, b));
	ASSERT_EQ(0, unpin(self->importer, a));
	EXPECT_EQ(-EBUSY, join(self->importer, self->fd, LATE));
	ASSERT_EQ(0, unpin(self->importer, b));
	EXPECT_EQ(-EINVAL, unpin(self->importer, b));
	EXPECT_EQ(-EINVAL, pin(self->importer, fixed));
	EXPECT_LE(0, join(self->importer, self->fd, LATE));
	EXPECT_EQ(1, count_moves(self->importer, a));
	EXPECT_EQ(0, wrong_bytes(self->memory, LEN, 1));
}

/* What the importer refuses. */
TEST_F(high, wrong_calls_of_a_dynamic_importer)
{
	int device = add_device(self->importer, DEVICE());
	int a = attach_dynamic(self->importer, device, self->fd);
	struct importer_attach request = { .device = device, .fd = self->fd };
	unsigned int bit;

	ASSERT_LE(0, a);
	for (bit = 0; bit < 32; bit++) {
		request.flags = 1U << bit | IMPORTER_DYNAMIC;
		if (request.flags != IMPORTER_DYNAMIC)
			EXPECT_EQ(-EINVAL, call(self->importer, IMPORTER_ATTACH, &request));
	}
	EXPECT_EQ(-ENOENT, pin(self->importer, 1000));
	EXPECT_EQ(-ENOENT, unpin(self->importer, 1000));
	EXPECT_EQ(-ENOENT, count_moves(self->importer, 1000));
	EXPECT_EQ(-EFAULT, call(self->importer, IMPORTER_MOVES, NULL));
	ASSERT_EQ(0, map(self->importer, a, NULL));
	EXPECT_EQ(-EBUSY, pin(self->importer, a));
	EXPECT_EQ(-EBUSY, unpin(self->importer, a));
	EXPECT_EQ(1, query_fields(self->fd).user_count);
}

/* A pin gives a buffer its memory, and needs a device that does DMA. */
TEST(pin_is_a_first_use)
{
	int importer = open_importer(), fd = create(LEN);
	int a = join_dynamic(importer, fd, DEVICE(.name = "first"));
	int cpu = join_dynamic(importer, fd, DEVICE(.flags = IMPORTER_NO_DMA));

	ASSERT_LE(0, a);
	ASSERT_LE(0, cpu);
	EXPECT_EQ(-ENODEV, pin(importer, cpu));
	EXPECT_EQ(CENALLOC_STATE_EMPTY, query_fields(fd).state);
	EXPECT_EQ(0, pin(importer, a));
	EXPECT_EQ(CENALLOC_STATE_BACKED, query_fields(fd).state);
	close(importer);
	close(fd);
}

/* --- Moves that fail ------------------------------------------------------ */

/* Nobody hears of a move that does not come, and nothing is another than before. */
static void check_stays(struct __test_metadata *_metadata, int importer, int fd,
			struct importer_add needs, int error)
{
	int moving = join_dynamic(importer, fd, DEVICE()), again;
	__u32 late = query_fields(fd).late_refusals;

	ASSERT_LE(0, moving);
	ASSERT_EQ(0, map(importer, moving, &one));
	EXPECT_EQ(error, join(importer, fd, needs));
	EXPECT_EQ(0, count_moves(importer, moving));
	EXPECT_EQ(0, query_fields(fd).relocations);
	late += error == -EBUSY || error == -ENOMEM;
	EXPECT_EQ(late, query_fields(fd).late_refusals);
	again = join(importer, fd, DEVICE());
	ASSERT_LE(0, again);
	ASSERT_EQ(0, map(importer, again, &two));
	EXPECT_TRUE(same_memory(&one, &two));
	ASSERT_EQ(0, detach(importer, again));
	ASSERT_EQ(0, detach(importer, moving));
}

TEST_F(high, never_possible)
{
	check_stays(_metadata, self->importer, self->fd, DEVICE(.alignment = GIB), -EINVAL);
	check_stays(_metadata, self->importer, self->fd, DEVICE(.access_mask = 1ULL << 50),
		    -EINVAL);
	check_stays(_metadata, self->importer, self->fd, DEVICE(.max_address = LEN - 1), -EINVAL);
	EXPECT_EQ(0, wrong_bytes(self->memory, LEN, 1));
}

TEST_F(high, held_by_another)
{
	int fixed = join(self->importer, self->fd, DEVICE());

	ASSERT_EQ(0, map(self->importer, fixed, NULL));
	check_stays(_metadata, self->importer, self->fd, LATE, -EBUSY);
	EXPECT_EQ(0, wrong_bytes(self->memory, LEN, 1));
}

TEST(no_memory_to_move_to)
{
	__u64 used = find_allocator("system").used;
	int importer = open_importer(), fd = create(LOW_MEMORY);
	char *memory = map_cpu(fd, LOW_MEMORY);

	ASSERT_NE(MAP_FAILED, memory);
	fill_bytes(memory, LEN, 5);
	fill_bytes(memory + LOW_MEMORY - LEN, LEN, 6);
	check_stays(_metadata, importer, fd, DEVICE(.LIMIT = LOW(24)), -ENOMEM);
	EXPECT_EQ(used + LOW_MEMORY, find_allocator("system").used);
	EXPECT_EQ(0, wrong_bytes(memory, LEN, 5));
	EXPECT_EQ(0, wrong_bytes(memory + LOW_MEMORY - LEN, LEN, 6));
	munmap(memory, LOW_MEMORY);
	close(importer);
	close(fd);
}

/*
 * The new memory suits those who were there before, too: what they need of its
 * place, and what becomes of it when it is cut for them. Scattered memory of this
 * length comes in pieces of 256, 16 and 4 KiB, which are four segments for who
 * takes three of at most 128 KiB.
 */
TEST(move_that_suits_all)
{
	const __u64 len = (256 + 16 + 4) * KIB;
	int importer = open_importer(), fds[6], i, first, late;
	char *memory;

	for (i = 0; i < 6; i++) {
		fds[i] = create(len);
		ASSERT_LE(0, fds[i]);
		first = join(importer, fds[i],
			     i % 2 ? DEVICE(.alignment = 512 * KIB) :
			     DEVICE(.max_segments = 3, .max_segment_size = 128 * KIB));
		ASSERT_LE(0, first);
		ASSERT_EQ(0, map(importer, first, &one));
		ASSERT_LE(1ULL << 32, one.segments[0].address);
		ASSERT_EQ(0, unmap(importer, first));
		memory = map_cpu(fds[i], len);
		ASSERT_NE(MAP_FAILED, memory);
		fill_bytes(memory, len, i);
		late = join(importer, fds[i], DEVICE(.dma_mask = BITS(32)));
		ASSERT_LE(0, late);
		EXPECT_EQ(1, query_fields(fds[i]).relocations);
		ASSERT_EQ(0, map(importer, first, &one));
		EXPECT_GE(BITS(32), last_address(&one));
		if (i % 2) {
			EXPECT_EQ(0, one.segments[0].address % (512 * KIB));
		} else {
			EXPECT_GE(3, one.count);
			EXPECT_GE(128 * KIB, one.segments[0].len);
		}
		EXPECT_EQ(0, wrong_bytes(memory, len, i));
		munmap(memory, len);
	}
	close(importer);
	for (i = 0; i < 6; i++)
		close(fds[i]);
}

/* --- The story of 2011 ---------------------------------------------------- */

/*
 * A camera shows its preview on a display. The preview stops, an encoder of
 * narrower needs joins, the camera goes on: with the same descriptors, whose
 * bytes are still there.
 */
TEST(preview_then_record)
{
	int camera = open_camera(0), importer = open_importer();
	int edu = open_device("/dev/cenalloc_edu"), fds[2], display[2], len, i;
	struct edu_transfer transfer = { .len = 3, .offset = 3 * 100 };
	struct edu_map edu_map = {};
	unsigned char *frames[2];
	struct importer_add encoder = { .name = "encoder", .max_address = LOW(28) };
	int attachments[2], device, others[32];

	len = set_up(camera, RED);
	ASSERT_EQ(3 * WIDTH * HEIGHT, len);
	/* Below the preview there will be room for the encoder: these are taken first. */
	for (i = 0; i < (int)ARRAY_SIZE(others); i++) {
		others[i] = create(len);
		ASSERT_LE(0, others[i]);
		ASSERT_EQ(0, declare_device_with(others[i], "platform", "vivid.0",
						 NEEDS(.max_segments = 1)));
		ASSERT_EQ(0, allocate(others[i]));
	}
	for (i = 0; i < 2; i++) {
		fds[i] = create(len);
		ASSERT_LE(0, fds[i]);
		ASSERT_EQ(0, declare_device_with(fds[i], "platform", "vivid.0",
						 NEEDS(.max_segments = 1)));
		display[i] = join(importer, fds[i], DEVICE(.name = "display"));
		ASSERT_LE(0, display[i]);
		frames[i] = map_cpu(fds[i], len);
		ASSERT_NE(MAP_FAILED, frames[i]);
	}
	ASSERT_EQ(0, request(camera, 2));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, queue(camera, i, fds[i]));
	ASSERT_EQ(0, stream(camera, true));
	for (i = 0; i < 2; i++)
		ASSERT_LE(0, dequeue(camera));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, map(importer, display[i], &one));
		if (last_address(&one) <= encoder.max_address)
			encoder.max_address = last_address(&one) - 1;
	}
	for (i = 0; i < (int)ARRAY_SIZE(others); i++)
		close(others[i]);
	/* Wherever the preview is, the encoder does not reach it. */
	device = add_device(importer, encoder);
	ASSERT_LE(0, device);

	/* Not while it plays, nor while somebody still has it mapped. */
	EXPECT_EQ(-EBUSY, attach(importer, device, fds[0]));
	ASSERT_EQ(0, stream(camera, false));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, unmap(importer, display[i]));
	EXPECT_EQ(-EBUSY, attach(importer, device, fds[0]));
	ASSERT_EQ(0, request(camera, 0));
	for (i = 0; i < 2; i++) {
		EXPECT_LE(230, frames[i][0]);
		fill_bytes(frames[i] + 4096, len - 4096, i);
		attachments[i] = attach(importer, device, fds[i]);
		ASSERT_LE(0, attachments[i]);
		EXPECT_EQ(1, query_fields(fds[i]).relocations);
		EXPECT_LE(230, frames[i][0]);
		EXPECT_EQ(0, wrong_bytes(frames[i] + 4096, len - 4096, i));
		ASSERT_EQ(0, map(importer, display[i], &one));
		ASSERT_EQ(0, map(importer, attachments[i], &two));
		EXPECT_EQ(1, one.count);
		EXPECT_GE(encoder.max_address, last_address(&one));
		EXPECT_TRUE(same_memory(&one, &two));
	}

	/* All at work, and one more that reaches 28 bits. */
	ASSERT_EQ(0, set_control(camera, "Test Pattern", GREEN));
	ASSERT_EQ(0, request(camera, 2));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, queue(camera, i, fds[i]));
	ASSERT_EQ(0, stream(camera, true));
	for (i = 0; i < 2; i++)
		ASSERT_LE(0, dequeue(camera));
	ASSERT_EQ(0, call_number(edu, EDU_ATTACH, fds[0]));
	ASSERT_EQ(0, call(edu, EDU_MAP, &edu_map));
	transfer.direction = EDU_TO_DEVICE;
	ASSERT_EQ(0, call(edu, EDU_TRANSFER, &transfer));
	transfer.offset = 3 * 200;
	memset(frames[0] + transfer.offset, 0, 3);
	transfer.direction = EDU_FROM_DEVICE;
	ASSERT_EQ(0, call(edu, EDU_TRANSFER, &transfer));
	EXPECT_GE(25, frames[0][3 * 200]);
	EXPECT_LE(230, frames[0][3 * 200 + 1]);
	EXPECT_GE(25, frames[0][3 * 200 + 2]);
	EXPECT_EQ(4, query_fields(fds[0]).user_count);
	EXPECT_EQ(1, query_fields(fds[0]).relocations);
	ASSERT_EQ(0, stream(camera, false));
	close(edu);
	close(camera);
	close(importer);
	for (i = 0; i < 2; i++) {
		munmap(frames[i], len);
		close(fds[i]);
	}
}

/* --- Writers and moves ---------------------------------------------------- */

#define WRITERS	3

struct writer {
	pthread_t thread;
	int number;
	int fd;
	const int *stop;
	__u64 rounds;
	__u64 lost;
};

/*
 * Writes its words of every page, over and over, through a mapping of its own.
 * Each word is known again: a byte that did not come along shows.
 */
static void *write_words(void *data)
{
	struct writer *me = data;
	char *memory = map_cpu(me->fd, LEN);
	__u64 at, *word;

	while (!__atomic_load_n(me->stop, __ATOMIC_ACQUIRE)) {
		me->rounds++;
		for (at = me->number * 8; at < LEN; at += PAGE / 8) {
			word = (__u64 *)(memory + at);
			__atomic_store_n(word, me->rounds * MIX + at, __ATOMIC_RELAXED);
		}
		for (at = me->number * 8; at < LEN; at += PAGE / 8) {
			word = (__u64 *)(memory + at);
			me->lost += __atomic_load_n(word, __ATOMIC_RELAXED) !=
				    me->rounds * MIX + at;
		}
	}
	munmap(memory, LEN);
	return NULL;
}

TEST_F(high, moves_under_the_hands_of_writers)
{
	struct writer writers[WRITERS] = {};
	const struct importer_add needs[] = {
		{ .access_mask = CENALLOC_CLASS_SYSTEM_CONTIG },
		{ .access_mask = CENALLOC_CLASS_SYSTEM, .alignment = 16 * KIB },
		{ .dma_mask = BITS(32), .max_segments = 1 },
		{ .access_mask = CENALLOC_CLASS_SYSTEM },
	};
	int moving = join_dynamic(self->importer, self->fd, DEVICE());
	int i, stop = 0, rounds = 0, told = 0;
	/* Long enough for some rounds, however little time the machine has for it. */
	double end = seconds() + 1.5, last = end + 30;
	__u64 at;

	ASSERT_LE(0, moving);
	for (i = 0; i < WRITERS; i++) {
		writers[i].number = i;
		writers[i].fd = self->fd;
		writers[i].stop = &stop;
		ASSERT_EQ(0, pthread_create(&writers[i].thread, NULL, write_words, &writers[i]));
	}
	for (; seconds() < end || (rounds < 30 && seconds() < last); rounds++) {
		int late = join(self->importer, self->fd, needs[rounds % ARRAY_SIZE(needs)]);

		ASSERT_LE(0, late);
		ASSERT_EQ(0, detach(self->importer, late));
		/* A device looks on from time to time. */
		if (rounds % 5 == 2)
			ASSERT_EQ(0, map(self->importer, moving, &one));
		if (rounds % 5 == 4)
			ASSERT_EQ(0, unmap(self->importer, moving));
		usleep(500);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	for (i = 0; i < WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
		EXPECT_EQ(0, writers[i].lost);
		EXPECT_LT(3, writers[i].rounds);
		for (at = i * 8; at < LEN; at += PAGE / 8)
			writers[i].lost += *(__u64 *)(self->memory + at) !=
					   writers[i].rounds * MIX + at;
		EXPECT_EQ(0, writers[i].lost);
	}
	told = count_moves(self->importer, moving);
	EXPECT_EQ(told, (int)query_fields(self->fd).relocations);
	EXPECT_LT(20, told) {
		TH_LOG("%d moves in %d rounds", told, rounds);
	}
}

TEST_HARNESS_MAIN
