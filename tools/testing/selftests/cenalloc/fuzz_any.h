/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Calls with any arguments, on what all threads use and close: nothing is known of
 * it but which errors are documented.
 *
 * To be included after fuzz.h.
 */

#ifndef _CENALLOC_FUZZ_ANY_H
#define _CENALLOC_FUZZ_ANY_H

#include <assert.h>
#include <poll.h>
#include <sys/wait.h>

#include <linux/dma-heap.h>
#include <linux/udmabuf.h>

#include "vgem.h"

/*
 * What is shared has descriptors of its own numbers, so that who uses one that
 * another thread has closed never meets anything else. Each kind has some.
 */
#define SHARED		600

enum kind { IMPORTER, ENGINE, DRIVER, DEVICE_FILE, HEAP, BUFFER, FOREIGN, KINDS };

static const struct {
	int first, count;
} kinds[KINDS] = {
	[IMPORTER] = { SHARED, 3 },
	[ENGINE] = { SHARED + 3, 2 },
	[DRIVER] = { SHARED + 5, 3 },
	[DEVICE_FILE] = { SHARED + 8, 1 },
	[HEAP] = { SHARED + 9, 1 },
	[BUFFER] = { SHARED + 10, 10 },
	/* Of udmabuf, which knows no limits: only for those who have none. */
	[FOREIGN] = { SHARED + 20, 2 },
};

#define SHARED_COUNT	20
#define FOREIGN_COUNT	2
#define ANY_MOST	(2 * MIB)
#define SCRATCH		(32 * KIB)

static int any_fd(void)
{
	return one_in(20) ? -1 : SHARED + (int)pick(SHARED_COUNT);
}

/* One of a kind, for the most part. */
static int any_of(enum kind kind)
{
	return one_in(24) ? any_fd() : kinds[kind].first + (int)pick(kinds[kind].count);
}

/* A buffer of anybody. */
static int any_buffer(void)
{
	return any_of(one_in(6) ? FOREIGN : BUFFER);
}

/* Takes a descriptor's place among those that are shared. */
static void share(enum kind kind, int fd)
{
	if (fd < 0)
		return;
	dup3(fd, kinds[kind].first + pick(kinds[kind].count), O_CLOEXEC);
	close(fd);
}

/* Room for arguments, before a page that cannot be touched and one that can be read only. */
static char *make_scratch(void)
{
	char *scratch = mmap(NULL, SCRATCH + 2 * PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (scratch == MAP_FAILED)
		return NULL;
	mprotect(scratch + SCRATCH, PAGE, PROT_NONE);
	mprotect(scratch + SCRATCH + PAGE, PAGE, PROT_READ);
	return scratch;
}

/* A place for an argument; now and then one that is none. */
static char *any_place(__u32 size)
{
	switch (pick(24)) {
	case 0:
		return NULL;
	case 1:
		return me->scratch + SCRATCH - pick(size + 1);
	case 2:
		return me->scratch + SCRATCH + PAGE;
	case 3:
		return (char *)~0UL - pick(size + 1);
	case 4:
		return me->scratch + 1;
	default:
		return me->scratch;
	}
}

static void fill_scratch(void)
{
	__u32 *words = (__u32 *)me->scratch;
	__u32 i;

	for (i = 0; i < 64; i++) {
		switch (pick(8)) {
		case 0:
			words[i] = any_of(BUFFER);
			break;
		case 1:
			words[i] = pick(9);
			break;
		case 2:
			words[i] = any_number();
			break;
		default:
			words[i] = 0;
		}
	}
	memset(words + 64, one_in(8), 4 * KIB);
}

/* Who declares waits for a millisecond at most, wherever the argument is. */
static void wait_little(void)
{
	__u32 *words = (__u32 *)me->scratch;

	static_assert(offsetof(struct cenalloc_declare, timeout) == 2 * sizeof(*words),
		      "the timeout is the third word");
	words[2] = pick(1000000);
	words[3] = 0;
	words[4] &= ~0xffU;
}

/* --- Every ioctl, with any bytes ------------------------------------------ */

static const unsigned long requests[] = {
	CENALLOC_CREATE, CENALLOC_ALLOCATORS, CENALLOC_DECLARE, CENALLOC_ALLOCATE,
	CENALLOC_TEST, CENALLOC_QUERY, DMA_HEAP_IOCTL_ALLOC,
	IMPORTER_ADD, IMPORTER_REMOVE, IMPORTER_ATTACH, IMPORTER_MAP, IMPORTER_UNMAP,
	IMPORTER_DETACH, IMPORTER_PIN, IMPORTER_UNPIN, IMPORTER_MOVES,
	EDU_ATTACH, EDU_MAP, EDU_TRANSFER, EDU_UNMAP, EDU_DETACH,
	C_IMPORTER_RUN, C_IMPORTER_CREATE, C_IMPORTER_TAKE, C_IMPORTER_ATTACH,
	C_IMPORTER_DETACH, C_IMPORTER_MAP, C_IMPORTER_UNMAP, C_IMPORTER_FILL,
	C_IMPORTER_PHYS, C_IMPORTER_PAGES, C_IMPORTER_FREE, C_IMPORTER_DECLARE,
	C_IMPORTER_ALLOCATE, C_IMPORTER_VMAP, C_IMPORTER_VUNMAP,
	DMA_BUF_IOCTL_SYNC, DMA_BUF_SET_NAME_A, DMA_BUF_SET_NAME_B,
};

#define ANY_ERRORS	ERRORS(ENOTTY, EFAULT, EINVAL, E2BIG, EBADF, EBUSY, ENODEV, ENODATA, \
			       ENOENT, ENOMEM, EEXIST, EIO, EMFILE, EACCES, EPERM, ENAMETOOLONG)

static void any_request(void)
{
	unsigned long request = requests[pick(ARRAY_SIZE(requests))];
	const enum kind kind = _IOC_TYPE(request) == CENALLOC_IOC_MAGIC ? DEVICE_FILE :
			       _IOC_TYPE(request) == 'H' ? HEAP :
			       _IOC_TYPE(request) == 'I' ? IMPORTER :
			       _IOC_TYPE(request) == 'E' ? ENGINE :
			       _IOC_TYPE(request) == 'K' ? DRIVER : BUFFER;
	__u32 size = _IOC_SIZE(request);
	char *place;
	int fd, ret;

	if (one_in(4))
		size = PICK(0, 1, size - 1, size + 1, size + 8, size / 2, 4 * KIB, ~0U) &
		       _IOC_SIZEMASK;
	request = _IOC(one_in(8) ? pick(4) : _IOC_DIR(request), _IOC_TYPE(request),
		       one_in(16) ? pick(256) : _IOC_NR(request), size);
	/* What makes a number of the argument does so for tests, or a new descriptor. */
	if (_IOC_TYPE(request) == 'K' && (_IOC_NR(request) == _IOC_NR(C_IMPORTER_MISUSE) ||
					  _IOC_NR(request) == _IOC_NR(C_IMPORTER_EXPORT) ||
					  _IOC_NR(request) == _IOC_NR(C_IMPORTER_FREE_FOREIGN)))
		return;
	fill_scratch();
	if (_IOC_TYPE(request) == CENALLOC_IOC_MAGIC &&
	    _IOC_NR(request) == _IOC_NR(CENALLOC_DECLARE))
		wait_little();
	place = size ? any_place(size) : (char *)(long)any_fd();
	fd = any_of(kind);
	ret = fuzz_ioctl("any", fd, request, place, ANY_ERRORS);
	if (ret < 0)
		return;
	/* A buffer may have been made, and its descriptor is ours. */
	if (fd == kinds[HEAP].first)
		share(BUFFER, ((struct dma_heap_allocation_data *)place)->fd);
	else if (_IOC_TYPE(request) == CENALLOC_IOC_MAGIC &&
		 _IOC_NR(request) == _IOC_NR(CENALLOC_CREATE))
		share(BUFFER, ((struct cenalloc_create *)place)->fd);
}

/* --- Descriptors ---------------------------------------------------------- */

static int any_create(void)
{
	struct cenalloc_create create = {
		.len = one_in(8) ? any_number() : PICK(1, PAGE, 64 * KIB, MIB, ANY_MOST),
		.align = one_in(8) ? any_number() : PICK(0, 0, 0, PAGE, MIB),
		.fd_flags = PICK(O_RDWR, O_RDWR | O_CLOEXEC, O_RDONLY, O_WRONLY),
		.name = "fuzz",
	};
	int ret, device = open_device("/dev/cenalloc");

	if (create.len > ANY_MOST && create.len < (1ULL << 36))
		create.len = ANY_MOST;
	ret = fuzz_ioctl("CREATE", device, CENALLOC_CREATE, &create, ERRORS(EINVAL, ENOMEM));
	close(device);
	return ret < 0 ? -1 : create.fd;
}

static int any_heap(void)
{
	struct dma_heap_allocation_data data = {
		.len = PICK(0, 1, PAGE, MIB),
		.fd_flags = O_RDWR | O_CLOEXEC,
	};
	int ret, heap = open_device("/dev/dma_heap/cenalloc");

	ret = fuzz_ioctl("heap", heap, DMA_HEAP_IOCTL_ALLOC, &data, ERRORS(EINVAL, ENOMEM));
	close(heap);
	return ret < 0 ? -1 : (int)data.fd;
}

/*
 * A buffer of another exporter. udmabuf maps it for the direction of the first SYNC and
 * takes no lock for that, so this one is for both directions, and before anyone else has
 * the buffer.
 */
static int any_udmabuf(void)
{
	struct udmabuf_create create = { .size = 4 * PAGE };
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW };
	int ret, device = open_device("/dev/udmabuf");

	if (device < 0)
		return -1;
	create.memfd = memfd_create("fuzz", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	if (ftruncate(create.memfd, create.size) ||
	    fcntl(create.memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		fail("no memory for udmabuf: %d", errno);
	begin("udmabuf", create.memfd, 0, 0);
	ret = ioctl(device, UDMABUF_CREATE, &create);
	finish(ret < 0 ? -errno : ret, ERRORS(ENOMEM));
	close(create.memfd);
	close(device);
	if (ret < 0 || fuzz_ioctl("udmabuf SYNC", ret, DMA_BUF_IOCTL_SYNC, &sync,
				  ERRORS(ENOMEM)) == 0)
		return ret;
	close(ret);
	return -1;
}

static void any_new(void)
{
	switch (pick(10)) {
	case 0:
		share(IMPORTER, open_importer());
		break;
	case 1:
		share(ENGINE, open_device("/dev/cenalloc_edu"));
		break;
	case 2:
		share(DRIVER, open_driver());
		break;
	case 3:
		share(DEVICE_FILE, open_device("/dev/cenalloc"));
		break;
	case 4:
		share(HEAP, open_device("/dev/dma_heap/cenalloc"));
		break;
	case 5:
		share(FOREIGN, any_udmabuf());
		break;
	case 6:
		share(BUFFER, any_heap());
		break;
	default:
		share(BUFFER, any_create());
	}
}

static void any_close(void)
{
	int fd = one_in(8) ? any_of(FOREIGN) : any_fd();

	begin("close", fd, 0, 0);
	finish(close(fd) ? -errno : 0, ERRORS(EBADF));
}

static void any_dup(void)
{
	share(BUFFER, fcntl(any_of(BUFFER), F_DUPFD_CLOEXEC, 0));
}

/* --- Importers ------------------------------------------------------------ */

static void any_importer(void)
{
	struct importer_add add = {
		.flags = PICK(0, IMPORTER_DECLARE, IMPORTER_DECLARE, IMPORTER_NO_DMA,
			      IMPORTER_DECLARE | IMPORTER_CHILD,
			      IMPORTER_DECLARE | IMPORTER_COHERENT),
		.name = "any",
		.dma_mask = PICK(0, 0, BITS(32), BITS(28)),
		.access_mask = PICK(0, 0, 1, 2, 3),
		.max_segments = PICK(0, 0, 1, 4),
		.max_segment_size = PICK(0, 0, PAGE, 1),
		.priority = pick(3),
	};
	struct importer_attach attach = {
		.device = pick(4),
		.fd = any_of(BUFFER),
		.flags = PICK(0, IMPORTER_DYNAMIC),
	};
	struct importer_map map = { .attachment = pick(4), .direction = pick(3) };
	struct importer_moves moves = { .attachment = pick(4) };
	int importer = any_of(IMPORTER);

	if (add.flags & IMPORTER_CHILD)
		add.parent = pick(4);
	switch (pick(10)) {
	case 0:
		fuzz_ioctl("any ADD", importer, IMPORTER_ADD, &add, ANY_ERRORS);
		break;
	case 1:
		fuzz_ioctl("any REMOVE", importer, IMPORTER_REMOVE, (void *)(long)pick(4),
			   ANY_ERRORS);
		break;
	case 2 ... 4:
		fuzz_ioctl("any ATTACH", importer, IMPORTER_ATTACH, &attach, ANY_ERRORS);
		break;
	case 5:
		fuzz_ioctl("any DETACH", importer, IMPORTER_DETACH, (void *)(long)pick(4),
			   ANY_ERRORS);
		break;
	case 6:
		fuzz_ioctl("any UNMAP", importer, IMPORTER_UNMAP, (void *)(long)pick(4),
			   ANY_ERRORS);
		break;
	case 7:
		fuzz_ioctl("any PIN", importer, one_in(2) ? IMPORTER_PIN : IMPORTER_UNPIN,
			   (void *)(long)pick(4), ANY_ERRORS);
		break;
	case 8:
		fuzz_ioctl("any MOVES", importer, IMPORTER_MOVES, &moves, ANY_ERRORS);
		break;
	default:
		fuzz_ioctl("any MAP", importer, IMPORTER_MAP, &map, ANY_ERRORS);
	}
}

static void any_engine(void)
{
	struct edu_map map = {};
	struct edu_transfer transfer = {
		.offset = PICK(0, PAGE, 512, any_number()),
		.len = PICK(0, 8, 512, PAGE, any_number()),
		.direction = pick(2),
	};
	int engine = any_of(ENGINE);

	switch (pick(5)) {
	case 0:
		fuzz_ioctl("edu MAP", engine, EDU_MAP, &map, ANY_ERRORS);
		break;
	case 1:
		fuzz_ioctl("edu TRANSFER", engine, EDU_TRANSFER, &transfer, ANY_ERRORS);
		break;
	case 2:
		fuzz_ioctl("edu UNMAP", engine, EDU_UNMAP, NULL, ANY_ERRORS);
		break;
	case 3:
		fuzz_ioctl("edu DETACH", engine, EDU_DETACH, NULL, ANY_ERRORS);
		break;
	default:
		fuzz_ioctl("edu ATTACH", engine, EDU_ATTACH, (void *)(long)any_of(BUFFER),
			   ANY_ERRORS);
	}
}

static void any_driver(void)
{
	struct c_importer_map map = { .device = pick(C_IMPORTER_DEVICES) };
	struct c_importer_create create = {
		.len = PICK(0, 1, PAGE, MIB),
		.align = PICK(0, PAGE, 3),
		.flags = O_RDWR,
	};
	struct c_importer_pages pages = {};
	struct c_importer_phys phys = {};
	int driver = any_of(DRIVER), ret;

	switch (pick(8)) {
	case 0:
		fuzz_ioctl("driver CREATE", driver, C_IMPORTER_CREATE, &create, ANY_ERRORS);
		break;
	case 1:
		fuzz_ioctl("driver TAKE", driver, C_IMPORTER_TAKE, (void *)(long)any_buffer(),
			   ANY_ERRORS);
		break;
	case 2:
		ret = fuzz_ioctl("driver EXPORT", driver, C_IMPORTER_EXPORT, NULL, ANY_ERRORS);
		share(BUFFER, ret);
		break;
	case 3:
		fuzz_ioctl("driver ATTACH", driver, C_IMPORTER_ATTACH,
			   (void *)(long)map.device, ANY_ERRORS);
		break;
	case 4:
		fuzz_ioctl("driver MAP", driver, C_IMPORTER_MAP, &map, ANY_ERRORS);
		break;
	case 5:
		fuzz_ioctl("driver FREE", driver, one_in(2) ? C_IMPORTER_FREE : C_IMPORTER_UNMAP,
			   (void *)(long)map.device, ANY_ERRORS);
		break;
	case 6:
		fuzz_ioctl("driver FILL", driver, C_IMPORTER_FILL, (void *)0x55L, ANY_ERRORS);
		break;
	default:
		if (one_in(2))
			fuzz_ioctl("driver PHYS", driver, C_IMPORTER_PHYS, &phys, ANY_ERRORS);
		else
			fuzz_ioctl("driver PAGES", driver, C_IMPORTER_PAGES, &pages, ANY_ERRORS);
	}
}

/* PRIME import attaches; the handle goes with the file. */
static void any_vgem(void)
{
	struct drm_prime_handle prime = { .fd = any_buffer() };
	int vgem = open_vgem();

	if (vgem < 0)
		return;
	fuzz_ioctl("PRIME", vgem, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime,
		   ERRORS(EBADF, EINVAL, EBUSY, ENOMEM, EOPNOTSUPP, ENOTTY, ENODEV));
	close(vgem);
}

/* --- The CPU -------------------------------------------------------------- */

static void any_region(void)
{
	struct region *region = &me->regions[pick(REGIONS)];
	__u64 at;
	int fd = any_buffer();

	if (!region->memory) {
		region->len = PICK(PAGE, 64 * KIB, MIB, ANY_MOST);
		begin("mmap", fd, region->len, 0);
		region->memory = mmap(NULL, region->len,
				      one_in(3) ? PROT_READ : PROT_READ | PROT_WRITE,
				      one_in(12) ? MAP_PRIVATE : MAP_SHARED, fd,
				      one_in(4) ? pick(64) * PAGE : 0);
		if (region->memory == MAP_FAILED) {
			region->memory = NULL;
			finish(-errno, ERRORS(EBADF, EINVAL, EACCES, ENODEV, ENOMEM, EPERM));
			return;
		}
		finish(0, ERRORS(0));
	}
	at = pick(region->len / PAGE) * PAGE;
	switch (pick(8)) {
	case 0:
		begin("munmap", (long)region->memory, region->len, 0);
		finish(munmap(region->memory, region->len) ? -errno : 0, ERRORS(0));
		region->memory = NULL;
		break;
	case 1: {
		char *moved;

		begin("mremap", (long)region->memory, region->len, region->len / 2);
		if (region->len == PAGE)
			break;
		moved = mremap(region->memory, region->len, region->len / 2, MREMAP_MAYMOVE);
		if (finish(moved == MAP_FAILED ? -errno : 0, ERRORS(EFAULT, EINVAL, ENOMEM)))
			break;
		region->memory = moved;
		region->len /= 2;
		break;
	}
	case 2:
		begin("madvise", (long)region->memory, region->len, 0);
		finish(madvise(region->memory, region->len,
			       PICK(MADV_DONTNEED, MADV_DONTFORK, MADV_DOFORK, MADV_WILLNEED,
				    MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ)) ? -errno : 0,
		       ERRORS(EINVAL, EBADF, EFAULT, ENOMEM, EHWPOISON));
		break;
	case 3:
		begin("mprotect", (long)region->memory, region->len, 0);
		finish(mprotect(region->memory, region->len,
				PICK(PROT_READ, PROT_READ | PROT_WRITE, PROT_NONE)) ? -errno : 0,
		       ERRORS(EACCES, ENOMEM));
		break;
	default:
		begin("touch", (long)region->memory + at, 0, 0);
		finish(try_touch(region->memory + at, one_in(2)), ERRORS(0));
	}
}

static void any_file(void)
{
	struct pollfd poll_fd = { .fd = any_buffer(), .events = POLLIN | POLLOUT };
	struct dma_buf_sync sync = {
		.flags = (one_in(2) ? DMA_BUF_SYNC_START : DMA_BUF_SYNC_END) | PICK(1, 2, 3),
	};
	char text[512], path[64];
	int fd = any_buffer();

	switch (pick(5)) {
	case 0:
		begin("poll", poll_fd.fd, 0, 0);
		finish(poll(&poll_fd, 1, 0) < 0 ? -errno : 0, ERRORS(ENOMEM));
		break;
	case 1:
		begin("lseek", fd, 0, 0);
		finish(lseek(fd, PICK(0, 1), PICK(SEEK_SET, SEEK_END, SEEK_CUR)) < 0 ? -errno : 0,
		       ERRORS(EBADF, EINVAL, ESPIPE));
		break;
	case 2:
		begin("read", fd, 0, 0);
		finish(read(fd, text, sizeof(text)) < 0 ? -errno : 0, ERRORS(EBADF, EINVAL));
		break;
	case 3:
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
		begin("fdinfo", fd, 0, 0);
		slurp(path, text, sizeof(text));
		finish(0, ERRORS(0));
		break;
	default:
		fuzz_ioctl("any SYNC", fd, DMA_BUF_IOCTL_SYNC, &sync, ANY_ERRORS);
	}
}

/* --- What is asked, and what the administrator does ----------------------- */

static void any_question(void)
{
	static __thread struct told told;
	struct cenalloc_test test = {
		.len = PICK(1, PAGE, MIB, any_number()),
		.constraints = NEEDS(.access_mask = PICK(0, 1, 2, 3), .max_segments = pick(3)),
	};
	struct cenalloc_declare declare = {
		.fd = any_buffer(),
		.timeout = one_in(4) ? pick(1000000) : 0,
		.constraints = test.constraints,
	};
	struct cenalloc_allocate allocate = { .fd = any_buffer() };
	int device = open_device("/dev/cenalloc");

	if (test.len > ANY_MOST && test.len < (1ULL << 36))
		test.len = ANY_MOST;
	told.query = (struct cenalloc_query){
		.fd = any_buffer(),
		.users = (uintptr_t)told.users,
		.user_count = USERS,
		.user_size = sizeof(told.users[0]),
	};
	switch (pick(4)) {
	case 0:
		fuzz_ioctl("any TEST", device, CENALLOC_TEST, &test, ERRORS(EINVAL));
		break;
	case 1:
		fuzz_ioctl("any DECLARE", device, CENALLOC_DECLARE, &declare,
			   ERRORS(EBADF, EINVAL, EBUSY, ENOMEM));
		break;
	case 2:
		fuzz_ioctl("any ALLOCATE", device, CENALLOC_ALLOCATE, &allocate,
			   ERRORS(EBADF, EINVAL, ENOMEM));
		break;
	default:
		if (fuzz_ioctl("any QUERY", device, CENALLOC_QUERY, &told.query,
			       ERRORS(EBADF, EINVAL, ENOMEM)))
			break;
		if (!told.query.len || told.query.len % PAGE ||
		    told.query.state > CENALLOC_STATE_BACKED ||
		    !!told.query.allocator[0] != told.query.state)
			fail("QUERY tells length %llu, state %u, allocator '%s'", told.query.len,
			     told.query.state, told.query.allocator);
	}
	close(device);
}

static void any_reading(void)
{
	static __thread char text[64 * KIB];
	const char *const files[] = {
		DEBUGFS "buffers", DEBUGFS "devices", DEBUGFS "refusal",
		"/sys/kernel/debug/dma_buf/bufinfo", "/sys/module/cenalloc/refcnt",
	};
	const char *path = files[pick(ARRAY_SIZE(files))];

	begin(path, 0, 0, 0);
	slurp(path, text, sizeof(text));
	finish(0, ERRORS(0));
}

static void any_policy(void)
{
	static const char *const attributes[] = {
		"access_mask", "max_address", "max_segments", "max_segment_size",
		"segment_boundary_mask", "alignment", "priority", "coherent",
	};
	char policy[64], value[32];

	/* Those of shared importers; and what is above all of them. */
	snprintf(policy, sizeof(policy), "platform:any.%u", pick(6));
	switch (pick(4)) {
	case 0:
		begin("policy mkdir", 0, 0, 0);
		finish(make_policy(policy), ERRORS(EEXIST, ENOMEM));
		break;
	case 1:
		begin("policy rmdir", 0, 0, 0);
		finish(remove_policy(policy), ERRORS(ENOENT, EBUSY));
		break;
	default:
		snprintf(value, sizeof(value), one_in(2) ? "%llu" : "%#llx",
			 one_in(2) ? any_number() : 1ULL << pick(33));
		begin("policy write", 0, 0, 0);
		finish(say(policy, attributes[pick(ARRAY_SIZE(attributes))], value),
		       ERRORS(ENOENT, EINVAL, ERANGE));
	}
}

static void any_fork(void)
{
	int i, status = 0;
	pid_t child;

	begin("fork", 0, 0, 0);
	child = fork();
	if (!child) {
		for (i = 0; i < 4; i++) {
			any_close();
			any_region();
		}
		_exit(0);
	}
	finish(child < 0 ? -errno : 0, ERRORS(ENOMEM, EAGAIN));
	waitpid(child, &status, 0);
	if (status)
		fail("a child ended with %#x", status);
}

static void any_step(void)
{
	switch (pick(32)) {
	case 0 ... 5:
		any_request();
		break;
	case 6 ... 9:
		any_new();
		break;
	case 10 ... 11:
		any_close();
		break;
	case 12:
		any_dup();
		break;
	case 13 ... 17:
		any_importer();
		break;
	case 18 ... 19:
		any_engine();
		break;
	case 20 ... 21:
		any_driver();
		break;
	case 22 ... 24:
		any_region();
		break;
	case 25:
		any_file();
		break;
	case 26 ... 27:
		any_question();
		break;
	case 28:
		any_reading();
		break;
	case 29:
		any_policy();
		break;
	case 30:
		any_vgem();
		break;
	default:
		if (one_in(8))
			any_fork();
	}
}

static void close_any(void)
{
	char policy[64];
	int i;

	for (i = 0; i < REGIONS; i++) {
		if (me->regions[i].memory)
			munmap(me->regions[i].memory, me->regions[i].len);
		me->regions[i].memory = NULL;
	}
	for (i = 0; i < SHARED_COUNT + FOREIGN_COUNT; i++)
		close(SHARED + i);
	for (i = 0; i < 6; i++) {
		snprintf(policy, sizeof(policy), "platform:any.%d", i);
		remove_policy(policy);
	}
}

#endif /* _CENALLOC_FUZZ_ANY_H */
