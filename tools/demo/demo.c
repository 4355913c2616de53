// SPDX-License-Identifier: GPL-2.0
/*
 * The demo: buffers that a camera, a display, a graphics driver and a DMA engine share,
 * first from a heap, then from cenalloc. Every number comes from the running kernel;
 * anything that does not go as told ends the demo with a failure.
 *
 * usage: demo [--colour] DIRECTORY
 *
 * The frame as the display reads it goes there, as guessed.ppm and cenalloc.ppm.
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

#include "cenalloc_edu.h"
#include "demo.h"

#define WIDTH	640
#define HEIGHT	480
#define ROW	(WIDTH * 3)
#define FRAME	(ROW * HEIGHT)
#define PIXELS	(WIDTH * HEIGHT)

#define NAME	"frame"

/* How many buffers are tried, of the system heap and of cenalloc. */
#define BUFFERS	8

/* What edu carries: so many blocks of the size of its memory, from a row with text on. */
#define BLOCKS	8
#define CARRIED	(BLOCKS * EDU_MEMORY_SIZE)
#define FROM	(16 * ROW)

/* The vivid devices: vivid.0 takes contiguous memory only, vivid.1 any. */
#define CONTIGUOUS	0
#define SCATTERED	1

/* Has no hardware behind it: what it reads is what is at its DMA addresses. */
static const struct wish display_wish = {
	.name = "display",
	.dma_mask = 0xffffffff,
};

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
	return !strcmp(a->classes, b->classes) &&
	       !strcmp(a->below, b->below) && !strcmp(a->segments, b->segments);
}

/* Attaches a device that has to be refused, and with what error. */
static void check_refusal(int importer, __u32 device, int fd, int expected)
{
	struct buffer before = watch_buffer(NAME), after;
	char reason[512];
	__u32 attachment;
	int error;

	error = importer_attach(importer, device, fd, &attachment);
	if (error != expected)
		die("the device should get \"%s\", and gets \"%s\"",
		    strerror(expected), strerror(error));
	watch_refusal(reason, sizeof(reason));
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

static __u8 *map_frame(int fd)
{
	void *pixels = mmap(NULL, FRAME, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (pixels == MAP_FAILED)
		die_errno("mmap of the buffer");
	return pixels;
}

static __u32 join(int importer, const struct wish *wish, int fd)
{
	__u32 attachment;
	int error;

	error = importer_attach(importer, importer_add(importer, wish), fd, &attachment);
	if (error)
		die("%s: attach: %s", wish->name, strerror(error));
	return attachment;
}

/* How many pixels differ. */
static unsigned int wrong_pixels(const __u8 *seen, const __u8 *pixels)
{
	unsigned int i, wrong = 0;

	for (i = 0; i < FRAME; i += 3)
		wrong += !!memcmp(seen + i, pixels + i, 3);
	return wrong;
}

static void save(const __u8 *pixels, const char *directory, const char *name)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	if (!file)
		die_errno(path);
	if (fprintf(file, "P6\n%d %d\n255\n", WIDTH, HEIGHT) < 0 ||
	    fwrite(pixels, ROW, HEIGHT, file) != HEIGHT || fclose(file))
		die_errno(path);
}

static int make_heap_buffer(void)
{
	return heap_allocate(FRAME);
}

static int make_cenalloc_buffer(void)
{
	int fd = buffer_create("trial", FRAME);

	buffer_declare(fd, "vivid.0");
	return fd;
}

/* What the display and the camera get of some buffers. */
struct trial {
	unsigned int copied, refused, spoilt;
	/* Of one that was copied: where it is, and what the display was given. */
	__u64 memory, copy;
	/* Of one that was refused. */
	int error;
};

static struct trial try_buffers(int (*make)(void))
{
	const struct wish anything = { .name = "anything" };
	struct trial trial = { .copied = 0 };
	int fds[BUFFERS];
	int i;

	for (i = 0; i < BUFFERS; i++) {
		int importer = importer_open(), camera, error;
		struct segment given, memory;

		fds[i] = make();
		given = importer_map(importer, join(importer, &display_wish, fds[i]), NULL);
		memory = importer_map(importer, join(importer, &anything, fds[i]), NULL);
		if (given.address != memory.address) {
			trial.copied++;
			trial.memory = memory.address;
			trial.copy = given.address;
		}
		camera = camera_open(CONTIGUOUS, WIDTH, HEIGHT, FRAME);
		error = camera_queue(camera, fds[i], FRAME);
		if (error) {
			trial.refused++;
			trial.error = error;
		}
		trial.spoilt += given.address != memory.address || error;
		close(camera);
		close(importer);
	}
	for (i = 0; i < BUFFERS; i++)
		close(fds[i]);
	return trial;
}

/* Captures into a buffer that the display has a copy of; returns the pixels that it misses. */
static unsigned int read_copy(const char *directory)
{
	static __u8 seen[FRAME], frame[FRAME];
	struct segment segments[MOST_SEGMENTS];
	int camera, error, fd = heap_allocate(FRAME), importer = importer_open();
	__u8 *pixels = map_frame(fd);
	unsigned int wrong;

	importer_map(importer, join(importer, &display_wish, fd), segments);
	camera = camera_open(SCATTERED, WIDTH, HEIGHT, FRAME);
	error = camera_queue(camera, fd, FRAME);
	if (error)
		die("vivid.1: VIDIOC_QBUF: %s", strerror(error));
	camera_wait(camera, fd);
	look_at(segments, seen, FRAME);
	save(seen, directory, "guessed.ppm");
	memcpy(frame, pixels, FRAME);
	wrong = wrong_pixels(seen, frame);
	say("A camera that takes scattered pages (vivid.1) captures a frame into such a buffer.");
	say("  The display reads its copy: %s%u of %u pixels are wrong%s.", wrong ? bad : good,
	    wrong, PIXELS, plain);
	cpu_access(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ);
	say("  The CPU reads the buffer (DMA_BUF_IOCTL_SYNC), and the copy is written back:");
	say("  %u pixels of the frame itself are lost.", wrong_pixels(frame, pixels));
	cpu_access(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ);
	munmap(pixels, FRAME);
	close(camera);
	close(importer);
	close(fd);
	return wrong;
}

/* What a program gets that guesses a heap. */
static struct trial system_heap(const char *directory, unsigned int *wrong)
{
	struct trial trial;

	chapter("Without cenalloc the program has to guess a heap: the system heap, say.");
	trial = try_buffers(make_heap_buffer);
	say("%d buffers of %u bytes, each for the display and for the camera:", BUFFERS, FRAME);
	say("%u of %d lie above 4 GiB. The kernel gives the display a %scopy%s in low memory (a",
	    trial.copied, BUFFERS, bad, plain);
	say("\"bounce buffer\", SWIOTLB), and tells neither the display's driver nor the program.");
	if (trial.copied)
		say("  The memory is at 0x%llx, the display is given 0x%llx.",
		    (unsigned long long)trial.memory, (unsigned long long)trial.copy);
	say("%u of %d are scattered pages. The camera %srefuses%s them.", trial.refused, BUFFERS,
	    bad, plain);
	if (trial.error)
		say("  \"%s\" is all that the program is told.", strerror(trial.error));
	*wrong = read_copy(directory);
	return trial;
}

static void create(int *fd)
{
	struct buffer buffer;

	chapter("With cenalloc a new buffer has no memory.");
	if (bytes_given_out() || watch_count())
		die("there are buffers already");
	*fd = buffer_create(NAME, FRAME);
	buffer = watch_buffer(NAME);
	if (strcmp(buffer.state, "empty") || bytes_given_out())
		die("a new buffer should have no memory");
	say("buffer %lu: %u bytes (%u x %u pixels), %s; memory taken: %llu bytes", buffer.id,
	    FRAME, WIDTH, HEIGHT, buffer.state, (unsigned long long)bytes_given_out());
}

static __u32 narrow(int fd, int edu, int vgem, int importer)
{
	struct user user;
	__u32 display;

	chapter("Each device that attaches, or is declared, narrows what the memory may be.");
	say_head();
	vgem_import(vgem, fd);
	say_user();
	display = join(importer, &display_wish, fd);
	say_user();
	edu_attach(edu, fd);
	say_user();
	buffer_declare(fd, "vivid.0");
	say_user();
	user = watch_newest_user(watch_buffer(NAME).id);
	if (strcmp(user.prefers, "objects"))
		die("the camera should be known to import contiguous memory alone");
	if (strcmp(watch_buffer(NAME).state, "empty"))
		die("attaching should take no memory");
	say("memory taken: %llu bytes", (unsigned long long)bytes_given_out());
	say("Addresses come from each device's DMA mask. Of the camera the program has said");
	say("no more than that it will come. That it imports contiguous memory alone nobody");
	say("says: cenalloc sees it in what its driver has registered (\"%s\").", user.prefers);
	return display;
}

static void first_use(int fd, int camera)
{
	struct buffer buffer;
	int error;

	chapter("The first use takes the memory: the program gives the buffer to the camera.");
	error = camera_queue(camera, fd, FRAME);
	if (error)
		die("vivid: VIDIOC_QBUF: %s", strerror(error));
	buffer = watch_buffer(NAME);
	if (strcmp(buffer.state, "backed") || bytes_given_out() != FRAME)
		die("the first mapping should take the memory of the frame");
	say("buffer %lu: %s by %s%s%s; memory taken: %llu bytes", buffer.id, buffer.state, bold,
	    buffer.allocator, plain, (unsigned long long)bytes_given_out());
	say("The allocators, in the order in which they are asked (%s):", words(&buffer.needs));
	explain_choice(&buffer, FRAME);
}

/* Looks at the frame: a real one has many colours. */
static void capture(int fd, int camera, const __u8 *pixels, int importer, __u32 display,
		    const char *directory)
{
	static __u8 seen[FRAME], colours[1 << 24];
	struct segment segments[MOST_SEGMENTS];
	unsigned int i, wrong, different = 0;

	chapter("The camera captures a frame. The display reads it, in place.");
	importer_map(importer, display, segments);
	camera_wait(camera, fd);
	look_at(segments, seen, FRAME);
	cpu_access(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ);
	wrong = wrong_pixels(seen, pixels);
	cpu_access(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ);
	for (i = 0; i < FRAME; i += 3) {
		__u8 *colour = &colours[seen[i] << 16 | seen[i + 1] << 8 | seen[i + 2]];

		different += !*colour;
		*colour = 1;
	}
	say("The display is given 0x%llx, and sees %u colours: %s%u of %u pixels are wrong%s.",
	    (unsigned long long)segments[0].address, different, wrong ? bad : good, wrong,
	    PIXELS, plain);
	if (wrong || different < 4)
		die("this is not the frame of a camera");
	save(seen, directory, "cenalloc.ppm");
}

static void map(int edu)
{
	struct segment segment;
	unsigned int count;

	segment = edu_map(edu, &count);
	say("edu is given %u range, from 0x%llx to 0x%llx; 2^28 is 0x%llx.", count,
	    (unsigned long long)segment.address,
	    (unsigned long long)(segment.address + segment.len - 1), 1ULL << 28);
	if (count != 1 || segment.len != FRAME ||
	    segment.address + segment.len > 1ULL << 28)
		die("this is not what was asked for");
}

static void carry(int fd, int edu, __u8 *pixels)
{
	__u8 *part = pixels + FROM;
	__u32 before, between, after;
	int i;

	chapter("The DMA engine (edu) carries a part of the frame over the bus, and back.");
	map(edu);
	cpu_access(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
	before = crc32(part, CARRIED);
	between = before;
	for (i = 0; i < BLOCKS; i++) {
		__u64 offset = i * EDU_MEMORY_SIZE;

		cpu_access(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
		edu_carry(edu, FROM + offset, EDU_MEMORY_SIZE, true);
		cpu_access(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
		memset(part + offset, 0, EDU_MEMORY_SIZE);
		if (i == BLOCKS / 2)
			between = crc32(part, CARRIED);
		cpu_access(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
		edu_carry(edu, FROM + offset, EDU_MEMORY_SIZE, false);
		cpu_access(fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
	}
	after = crc32(part, CARRIED);
	cpu_access(fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
	say("%d bytes, in %d transfers of %d, each wiped from the buffer while edu had it:",
	    CARRIED, 2 * BLOCKS, EDU_MEMORY_SIZE);
	say("CRC-32 before %08x, with a block wiped %08x, after %s%08x%s", before,
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

	chapter("A device with 24 address lines comes late. Memory in use is not taken away.");
	check_refusal(importer, device, fd, EBUSY);
	return device;
}

/* The late device again, when no device has the memory mapped. */
static void move(int fd, int importer, __u32 device, const __u8 *pixels)
{
	__u32 before, after, attachment;
	struct buffer buffer;
	__u64 address;
	int error;

	chapter("The other devices are done and unmap. The late device tries again.");
	before = crc32(pixels, FRAME);
	error = importer_attach(importer, device, fd, &attachment);
	if (error)
		die("isa: %s", strerror(error));
	buffer = watch_buffer(NAME);
	address = importer_map(importer, attachment, NULL).address;
	after = crc32(pixels, FRAME);
	say_head();
	say_user();
	say("The memory moved once, to 0x%llx; 2^24 is 0x%llx.",
	    (unsigned long long)address, 1ULL << 24);
	say("The CPU's mapping is still valid: CRC-32 before %08x, after %s%08x%s", before,
	    after == before ? good : bad, after, plain);
	if (buffer.relocations != 1 || address + FRAME > 1ULL << 24 || after != before)
		die("this is not what was asked for");
}

static struct trial cenalloc_trial(void)
{
	struct trial trial;

	chapter("The test of step 1, with buffers of cenalloc.");
	trial = try_buffers(make_cenalloc_buffer);
	say("%d buffers of %u bytes, each for the display and for the camera:", BUFFERS, FRAME);
	say("%s%u copied, %u refused%s.", trial.spoilt ? bad : good, trial.copied, trial.refused,
	    plain);
	return trial;
}

int main(int argc, char **argv)
{
	int fd, edu, vgem, importer, camera;
	struct trial without, with;
	struct utsname kernel;
	unsigned int wrong;
	__u32 display, late;
	__u8 *pixels;

	if (argc == 3 && !strcmp(argv[1], "--colour")) {
		use_colour();
		argv++;
		argc--;
	}
	if (argc != 2)
		die("usage: demo [--colour] DIRECTORY");

	uname(&kernel);
	printf("%sOne buffer for a camera, a display, a graphics driver and a DMA engine%s\n",
	       bold, plain);
	printf("Kernel %s, %s\n\n", kernel.release, kernel.version);
	say("camera    vivid of the stock kernel: contiguous memory below 4 GiB (2^32)");
	say("display   a test device, which sees what is at its DMA addresses: memory below 4 GiB");
	say("graphics  vgem of the stock kernel: any memory");
	say("engine    edu of QEMU: memory below 256 MiB (2^28)");

	edu = edu_open();
	vgem = vgem_open();
	importer = importer_open();

	without = system_heap(argv[1], &wrong);
	camera = camera_open(CONTIGUOUS, WIDTH, HEIGHT, FRAME);
	create(&fd);
	display = narrow(fd, edu, vgem, importer);
	first_use(fd, camera);
	pixels = map_frame(fd);
	capture(fd, camera, pixels, importer, display, argv[1]);
	carry(fd, edu, pixels);
	late = refuse_late(fd, importer);
	edu_unmap(edu);
	importer_unmap(importer, display);
	camera_stop(camera);
	move(fd, importer, late, pixels);

	munmap(pixels, FRAME);
	close(camera);
	close(importer);
	close(vgem);
	close(edu);
	close(fd);
	with = cenalloc_trial();
	if (watch_count() || bytes_given_out())
		die("something was left behind");

	printf("\n%sVerdict%s\n", bold, plain);
	say("without cenalloc: %s%u of %d%s buffers copied or refused; %u of %u pixels wrong",
	    without.spoilt ? bad : good, without.spoilt, BUFFERS, plain, wrong, PIXELS);
	say("with cenalloc:    %s%u of %d%s buffers copied or refused; 0 of %u pixels wrong",
	    with.spoilt ? bad : good, with.spoilt, BUFFERS, plain, PIXELS);
	say("left behind:      %u buffers, %llu bytes", watch_count(),
	    (unsigned long long)bytes_given_out());
	return !!with.spoilt;
}
