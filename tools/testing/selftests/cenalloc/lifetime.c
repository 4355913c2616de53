// SPDX-License-Identifier: GPL-2.0
/* How long a buffer lives: dup, passing it on, exit, being killed. */

#include <signal.h>
#include <sys/socket.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"

#define LEN	(128 * KIB)

FIXTURE(lifetime) {
	unsigned int before;
	__u64 used;
};

FIXTURE_SETUP(lifetime)
{
	self->before = count_buffers();
	self->used = used_by_all();
}

/* Each test ends with no more buffers and no more memory than there were. */
FIXTURE_TEARDOWN(lifetime)
{
	EXPECT_EQ(self->before, settled_buffers(self->before));
	EXPECT_EQ(self->used, used_by_all());
}

static int send_fd(int socket, int fd)
{
	char byte = 'x', control[CMSG_SPACE(sizeof(int))] = {};
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	return sendmsg(socket, &message, 0) == 1 ? 0 : -errno;
}

static int receive_fd(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))] = {};
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	int fd;

	if (recvmsg(socket, &message, 0) != 1 || !CMSG_FIRSTHDR(&message))
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

TEST_F(lifetime, closed_unused)
{
	int fd = create(LEN);

	ASSERT_LE(0, fd);
	EXPECT_EQ(self->before + 1, count_buffers());
	EXPECT_EQ(0, close(fd));
	EXPECT_EQ(-1, close(fd));
}

TEST_F(lifetime, duplicates_are_one_buffer)
{
	int fd = create(LEN), copy;
	char *a, *b;

	ASSERT_LE(0, fd);
	copy = dup(fd);
	ASSERT_LE(0, copy);
	EXPECT_EQ(self->before + 1, count_buffers());
	a = map_cpu(fd, LEN);
	ASSERT_NE(MAP_FAILED, a);
	a[5] = 5;
	close(fd);
	EXPECT_STREQ("backed", buffer_field(copy, "state"));
	b = map_cpu(copy, LEN);
	ASSERT_NE(MAP_FAILED, b);
	EXPECT_EQ(5, b[5]);
	munmap(a, LEN);
	munmap(b, LEN);
	close(copy);
}

TEST_F(lifetime, passed_over_a_socket)
{
	int sockets[2], status, fd;
	char *memory;
	pid_t child;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		fd = receive_fd(sockets[1]);
		memory = fd < 0 ? MAP_FAILED : map_cpu(fd, LEN);
		if (memory == MAP_FAILED || memory[0] != 'a')
			_exit(1);
		memory[1] = 'b';
		/* Back to where it came from: by then the only reference. */
		_exit(send_fd(sockets[1], fd) ? 2 : 0);
	}
	fd = create(LEN);
	ASSERT_LE(0, fd);
	memory = map_cpu(fd, LEN);
	ASSERT_NE(MAP_FAILED, memory);
	memory[0] = 'a';
	munmap(memory, LEN);
	ASSERT_EQ(0, send_fd(sockets[0], fd));
	close(fd);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(self->before + 1, count_buffers());
	fd = receive_fd(sockets[0]);
	ASSERT_LE(0, fd);
	memory = map_cpu(fd, LEN);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ('a', memory[0]);
	EXPECT_EQ('b', memory[1]);
	munmap(memory, LEN);
	close(fd);
	close(sockets[0]);
	close(sockets[1]);
}

TEST_F(lifetime, dropped_in_flight)
{
	int sockets[2], fd = create(LEN);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	ASSERT_EQ(0, send_fd(sockets[0], fd));
	close(fd);
	EXPECT_EQ(self->before + 1, count_buffers());
	close(sockets[0]);
	close(sockets[1]);
}

/* A process that uses a buffer in every way, and then waits. */
static pid_t start_user(int ready)
{
	pid_t child = fork();

	if (!child) {
		int fd = create(LEN), importer = open_importer();
		int attachment = join(importer, fd, DEVICE(.max_segments = 1));
		char *memory = map_cpu(fd, LEN);

		if (memory == MAP_FAILED || map(importer, attachment, NULL))
			_exit(1);
		memset(memory, 1, LEN);
		if (sync_cpu(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW) ||
		    write(ready, "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	return child;
}

TEST_F(lifetime, killed_with_all_in_use)
{
	int pipes[2], status, i;
	pid_t children[4];
	char byte;

	ASSERT_EQ(0, pipe(pipes));
	for (i = 0; i < 4; i++) {
		children[i] = start_user(pipes[1]);
		ASSERT_LE(0, children[i]);
		ASSERT_EQ(1, read(pipes[0], &byte, 1));
	}
	EXPECT_EQ(self->before + 4, count_buffers());
	EXPECT_EQ(self->used + 4 * LEN, used_by_all());
	for (i = 0; i < 4; i++) {
		kill(children[i], SIGKILL);
		ASSERT_EQ(children[i], waitpid(children[i], &status, 0));
		EXPECT_EQ(SIGKILL, WTERMSIG(status));
	}
}

TEST_F(lifetime, exit_with_all_in_use)
{
	int status;
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (!child) {
		int fd = create(LEN), importer = open_importer();
		char *memory = map_cpu(fd, LEN);

		memory[0] = 1;
		if (map(importer, join(importer, fd, DEVICE()), NULL))
			_exit(1);
		/* The buffer goes first, then the importer that has it mapped, then the memory. */
		close(fd);
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(lifetime, child_keeps_what_it_inherited)
{
	int fd = create(LEN), pipes[2], status;
	char byte;
	pid_t child;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, pipe(pipes));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		char *memory;

		if (read(pipes[0], &byte, 1) != 1)
			_exit(1);
		memory = map_cpu(fd, LEN);
		if (memory == MAP_FAILED)
			_exit(2);
		memory[LEN - 1] = 1;
		_exit(0);
	}
	close(fd);
	EXPECT_EQ(self->before + 1, settled_buffers(self->before + 1));
	ASSERT_EQ(1, write(pipes[1], "x", 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(lifetime, kept_by_an_attachment)
{
	int fd = create(LEN), importer = open_importer();
	int attachment = join(importer, fd, DEVICE());

	ASSERT_LE(0, attachment);
	close(fd);
	EXPECT_EQ(0, map(importer, attachment, NULL));
	EXPECT_EQ(self->before + 1, count_buffers());
	EXPECT_EQ(self->used + LEN, used_by_all());
	EXPECT_EQ(0, unmap(importer, attachment));
	EXPECT_EQ(self->used + LEN, used_by_all());
	close(importer);
}

TEST_F(lifetime, kept_by_a_mapping_of_the_cpu)
{
	int fd = create(LEN);
	char *memory = map_cpu(fd, LEN);

	ASSERT_NE(MAP_FAILED, memory);
	memory[0] = 1;
	close(fd);
	EXPECT_EQ(self->used + LEN, used_by_all());
	munmap(memory + PAGE, LEN - PAGE);
	EXPECT_EQ(self->used + LEN, used_by_all());
	munmap(memory, PAGE);
}

/* Descriptors that are no dma-buf any more, or another one. */
TEST_F(lifetime, number_used_again)
{
	int fd = create(LEN), importer = open_importer(), other;
	int device = add_device(importer, DEVICE());

	ASSERT_LE(0, device);
	close(fd);
	EXPECT_EQ(-EBADF, attach(importer, device, fd));
	EXPECT_EQ(MAP_FAILED, map_cpu(fd, LEN));
	EXPECT_EQ(EBADF, errno);
	other = create(PAGE);
	ASSERT_LE(0, other);
	ASSERT_EQ(fd, dup2(other, fd));
	EXPECT_LE(0, attach(importer, device, fd));
	EXPECT_EQ(1, buffer_number(other, "users"));
	EXPECT_EQ(MAP_FAILED, map_cpu(fd, LEN));
	EXPECT_EQ(EINVAL, errno);
	close(importer);
	close(other);
	close(fd);
}

TEST_HARNESS_MAIN
