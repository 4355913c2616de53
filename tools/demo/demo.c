// SPDX-License-Identifier: GPL-2.0
/*
 * The demo: the life of one buffer that a camera, a graphics device and a DMA
 * engine share. Every number comes from the running kernel; whatever does not go as told
 * ends the demo with a failure.
 *
 * usage: demo [--colour] FILE
 *
 * FILE is where the captured frame goes, as a PPM.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <linux/cenalloc.h>

#include "cenalloc_edu.h"
#include "demo.h"

#define WIDTH	640
#define HEIGHT	480
#define ROW	(WIDTH * 3)
#define FRAME	(ROW * HEIGHT)

#define NAME	"frame"

/* How many buffers of the system heap are tried. */
#define BUFFERS	8

/* What edu carries: so many pieces of the size of its memory, from a row with text on. */
#define PIECES	8
#define CARRIED	(PIECES * EDU_MEMORY_SIZE)
#define FROM	(16 * ROW)

static __u32 crc32(const __u8 *data, size_t len)
{
	__u32 crc = ~0;
	int bit;

	while (len--) {
		crc ^= *data++;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static void cpu_access(int fd, __u64 flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	if (ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync))
		die_errno("DMA_BUF_IOCTL_SYNC");
}

static void say_user(void)
{
	struct buffer buffer = watch_buffer(NAME);
	struct user user = watch_newest_user(buffer.id);

	say("%-27s %-21s %s", user.name, words(&user.needs),
	    words(&buffer.needs));
}

static void say_head(void)
{
	say("%s%-27s %-21s %s%s", dim, "device", "needs", "all together need",
	    plain);
}

static bool same_needs(const struct needs *a, const struct needs *b)
{
	return !strcmp(a->access_mask, b->access_mask) &&
	       !strcmp(a->below, b->below) && !strcmp(a->segments, b->segments);
}

/* Attaches a device that has to be refused, and with what error. */
static void check_refusal(int importer, __u32 device, int fd, int expected)
{
	struct buffer before = watch_buffer(NAME), after;
	char reason[256];
	__u32 attachment;
	int error;

	error = importer_attach(importer, device, fd, &attachment);
	if (error != expected)
		die("the device should get \"%s\", and gets \"%s\"",
		    strerror(expected), strerror(error));
	watch_conflict(reason, sizeof(reason));
	after = watch_buffer(NAME);
	if (!same_needs(&before.needs, &after.needs) ||
	    before.users != after.users || strcmp(before.state, after.state))
		die("the refused device left a trace in the buffer");
	say("%srefused%s, %s (%s):", bad, plain,
	    error == EBUSY ? "EBUSY" : "EINVAL", strerror(error));
	quote(reason);
	say("The buffer is as it was: %u users, %s.", after.users,
	    words(&after.needs));
}

/* Where a device of its own, with that DMA mask, finds the start of a buffer. */
static __u64 seen_by(int fd, __u64 dma_mask)
{
	const struct wish wish = { .name = "probe", .dma_mask = dma_mask };
	int importer = importer_open();
	__u32 attachment;
	__u64 address;

	if (importer_attach(importer, importer_add(importer, &wish), fd,
			    &attachment))
		die("a buffer of the system heap refuses a device");
	address = importer_look(importer, attachment).address;
	close(importer);
	return address;
}

/* What a program gets that guesses a heap. */
static void system_heap(void)
{
	int i, camera, error, taken = 0, copied = 0, last = 0;
	__u64 memory = 0, copy = 0;
	int fds[BUFFERS];

	chapter("Without cenalloc a program has to guess a heap: the system heap, say.");
	for (i = 0; i < BUFFERS; i++) {
		__u64 wide, narrow;

		fds[i] = heap_allocate(FRAME);
		wide = seen_by(fds[i], 0);
		narrow = seen_by(fds[i], 0xffffffff);
		if (wide != narrow) {
			copied++;
			memory = wide;
			copy = narrow;
		}
		camera = camera_open(WIDTH, HEIGHT, FRAME);
		error = camera_queue(camera, fds[i], FRAME);
		if (error)
			last = error;
		else
			taken++;
		close(camera);
	}
	for (i = 0; i < BUFFERS; i++)
		close(fds[i]);
	say("%d buffers of %u bytes, from /dev/dma_heap/system.", BUFFERS, FRAME);
	say("A device that reaches 32 bits is given a %scopy%s of %d of them, and not told.",
	    bad, plain, copied);
	if (copied)
		say("  The memory is at 0x%llx, the device is given 0x%llx.",
		    (unsigned long long)memory, (unsigned long long)copy);
	say("vivid needs one piece. It %srefuses%s %d of them.", bad, plain,
	    BUFFERS - taken);
	if (last)
		say("  \"%s\" is all that the program is told.", strerror(last));
}

static void create(int *fd)
{
	struct buffer buffer;

	chapter("Somebody asks for memory for one frame. Who will use it is not known yet.");
	if (bytes_given_out() || watch_count())
		die("there are buffers already");
	*fd = buffer_create(NAME, FRAME);
	buffer = watch_buffer(NAME);
	if (strcmp(buffer.state, "empty") || bytes_given_out())
		die("a new buffer should have no memory");
	say("buffer %lu: %u bytes (%u x %u pixels), %s; bytes of memory taken: %llu",
	    buffer.id, FRAME, WIDTH, HEIGHT, buffer.state,
	    (unsigned long long)bytes_given_out());
}

static void narrow(int fd, int edu, int vgem)
{
	chapter("Devices attach, or are declared. Each narrows what the memory may be.");
	say_head();
	vgem_import(vgem, fd);
	say_user();
	edu_attach(edu, fd);
	say_user();
	buffer_declare(fd, "vivid.0", 1);
	say_user();
	if (strcmp(watch_buffer(NAME).state, "empty"))
		die("attaching should take no memory");
	say("bytes of memory taken: %llu", (unsigned long long)bytes_given_out());
	say("\"below\" is the DMA mask. vivid attaches only when memory is due, and its driver");
	say("does not tell that it needs one piece: the program declares it.");
}

static void refuse_class(int fd, int importer)
{
	static const struct wish secure = {
		.name = "bank",
		.access_mask = CENALLOC_CLASS_CARVEOUT,
	};

	chapter("A device that reaches only a reserved bank of memory wants to join.");
	check_refusal(importer, importer_add(importer, &secure), fd, EINVAL);
}

static void capture(int fd, int camera)
{
	struct buffer buffer;
	int error;

	chapter("vivid queues the buffer: it attaches and maps at once. Memory is due.");
	error = camera_queue(camera, fd, FRAME);
	if (error)
		die("vivid: VIDIOC_QBUF: %s", strerror(error));
	buffer = watch_buffer(NAME);
	if (strcmp(buffer.state, "backed") || bytes_given_out() != FRAME)
		die("the first mapping should take the memory of the frame");
	say("buffer %lu: %s by %s%s%s; bytes of memory taken: %llu", buffer.id,
	    buffer.state, bold, buffer.allocator, plain,
	    (unsigned long long)bytes_given_out());
	say("The allocators, in the order in which they are asked (%s):",
	    words(&buffer.needs));
	explain_choice(&buffer, FRAME);
}

static void map(int edu)
{
	struct segment segment;
	unsigned int count;

	chapter("edu maps the same memory. Its 28 address lines have to reach it.");
	segment = edu_map(edu, &count);
	say("pieces: %u; from 0x%llx to 0x%llx; 2^28 is 0x%llx", count,
	    (unsigned long long)segment.address,
	    (unsigned long long)(segment.address + segment.len - 1), 1ULL << 28);
	if (count != 1 || segment.len != FRAME ||
	    segment.address + segment.len > 1ULL << 28)
		die("this is not what was asked for");
}

/* Looks at the frame: a real one has many colours and no black end. */
static void look(int fd, int camera, const __u8 *pixels)
{
	static __u8 seen[1 << 21];
	unsigned int colours = 0;
	__u32 bytes;
	size_t i;

	chapter("vivid captures a frame into it.");
	for (i = 0; i < FRAME; i++)
		if (pixels[i])
			die("new memory should be zero");
	bytes = camera_wait(camera, fd);
	cpu_access(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ);
	for (i = 0; i < FRAME; i += 3) {
		__u32 colour = pixels[i] << 16 | pixels[i + 1] << 8 | pixels[i + 2];

		if (!(seen[colour / 8] & 1 << colour % 8))
			colours++;
		seen[colour / 8] |= 1 << colour % 8;
	}
	say("vivid delivered %u bytes; the CPU reads %u colours, CRC-32 %08x", bytes,
	    colours, crc32(pixels, FRAME));
	cpu_access(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ);
	if (bytes != FRAME || colours < 4)
		die("this is no picture");
}

static void carry(int fd, int edu, __u8 *pixels)
{
	__u8 *part = pixels + FROM;
	__u32 before, between, after;
	int i;

	chapter("edu's DMA engine carries a part of it over the bus, and back.");
	cpu_access(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
	before = crc32(part, CARRIED);
	between = before;
	for (i = 0; i < PIECES; i++) {
		__u64 offset = i * EDU_MEMORY_SIZE;

		cpu_access(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
		edu_carry(edu, FROM + offset, EDU_MEMORY_SIZE, true);
		cpu_access(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
		memset(part + offset, 0, EDU_MEMORY_SIZE);
		if (i == PIECES / 2)
			between = crc32(part, CARRIED);
		cpu_access(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
		edu_carry(edu, FROM + offset, EDU_MEMORY_SIZE, false);
		cpu_access(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
	}
	after = crc32(part, CARRIED);
	cpu_access(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
	say("%d bytes, in %d transfers of %d, each wiped from the buffer while edu had it",
	    CARRIED, 2 * PIECES, EDU_MEMORY_SIZE);
	say("CRC-32 before %08x, with a piece wiped %08x, after %s%08x%s", before,
	    between, after == before ? good : bad, after, plain);
	if (after != before || between == before)
		die("the bytes did not come back");
}

static __u32 refuse_late(int fd, int importer)
{
	static const struct wish old = {
		.name = "isa",
		.dma_mask = 0xffffff,
	};
	__u32 device = importer_add(importer, &old);

	chapter("A device with 24 address lines comes late. Mapped memory is not taken away.");
	check_refusal(importer, device, fd, EBUSY);
	return device;
}

/* The late device again, when nobody has the memory mapped. */
static void move(int fd, int edu, int camera, int importer, __u32 device, const __u8 *pixels)
{
	__u32 before, after, attachment;
	struct buffer buffer;
	__u64 address;
	int error;

	chapter("edu and vivid are done and unmap. The late device tries again.");
	edu_unmap(edu);
	camera_stop(camera);
	before = crc32(pixels, FRAME);
	error = importer_attach(importer, device, fd, &attachment);
	if (error)
		die("isa: %s", strerror(error));
	buffer = watch_buffer(NAME);
	address = importer_look(importer, attachment).address;
	after = crc32(pixels, FRAME);
	say_head();
	say_user();
	say("The memory moved once, to 0x%llx; 2^24 is 0x%llx.",
	    (unsigned long long)address, 1ULL << 24);
	say("The CPU's mapping is still valid: CRC-32 before %08x, after %s%08x%s", before,
	    after == before ? good : bad, after, plain);
	if (buffer.moves != 1 || address + FRAME > 1ULL << 24 || after != before)
		die("this is not what was asked for");
}

static void save(int fd, const __u8 *pixels, const char *path)
{
	/* The mapping has no struct pages that a file system could write from. */
	static __u8 copy[FRAME];
	FILE *file = fopen(path, "w");

	if (!file)
		die_errno(path);
	cpu_access(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ);
	memcpy(copy, pixels, FRAME);
	cpu_access(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ);
	if (fprintf(file, "P6\n%d %d\n255\n", WIDTH, HEIGHT) < 0 ||
	    fwrite(copy, ROW, HEIGHT, file) != HEIGHT || fclose(file))
		die_errno(path);
}

int main(int argc, char **argv)
{
	int fd, edu, vgem, importer, camera;
	struct utsname kernel;
	__u8 *pixels;
	__u32 late;

	if (argc == 3 && !strcmp(argv[1], "--colour")) {
		use_colour();
		argv++;
		argc--;
	}
	if (argc != 2)
		die("usage: demo [--colour] FILE");

	uname(&kernel);
	printf("%sOne buffer for a camera (vivid), graphics (vgem) and a DMA engine (edu)%s\n",
	       bold, plain);
	printf("Kernel %s, %s\n", kernel.release, kernel.version);

	edu = edu_open();
	vgem = vgem_open();
	importer = importer_open();

	system_heap();
	camera = camera_open(WIDTH, HEIGHT, FRAME);
	create(&fd);
	narrow(fd, edu, vgem);
	refuse_class(fd, importer);
	capture(fd, camera);
	map(edu);

	pixels = mmap(NULL, FRAME, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (pixels == MAP_FAILED)
		die_errno("mmap of the buffer");
	look(fd, camera, pixels);
	carry(fd, edu, pixels);
	late = refuse_late(fd, importer);
	move(fd, edu, camera, importer, late, pixels);
	save(fd, pixels, argv[1]);

	chapter("All let go.");
	munmap(pixels, FRAME);
	close(camera);
	close(importer);
	close(vgem);
	close(edu);
	close(fd);
	say("buffers: %u; bytes of memory taken: %llu", watch_count(),
	    (unsigned long long)bytes_given_out());
	if (watch_count() || bytes_given_out())
		die("something was left behind");
	return 0;
}
