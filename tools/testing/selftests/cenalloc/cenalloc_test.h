/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests share: calls that return a negative errno instead of setting
 * it, and readers of what the driver tells in debugfs.
 *
 * To be included after kselftest_harness.h.
 */

#ifndef _CENALLOC_TEST_H
#define _CENALLOC_TEST_H

#include <fcntl.h>
#include <fnmatch.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <linux/cenalloc.h>
#include <linux/dma-buf.h>

#include "cenalloc_edu.h"
#include "cenalloc_importer.h"

#define DEBUGFS		"/sys/kernel/debug/cenalloc/"

#define KIB		1024ULL
#define MIB		(1024 * KIB)
#define GIB		(1024 * MIB)
#define PAGE		((__u64)getpagesize())

/* The mask of @bits address bits, and the most that such a device can reach. */
#define BITS(bits)	(~0ULL >> (64 - (bits)))

/*
 * The last of the lowest 2^@bits bytes where memory can be. It starts at 1 GiB on
 * QEMU's machine for arm64, whose kernel takes no DMA mask below LEAST_MASK, which
 * leaves out some of the lowest 4 GiB: there it is the driver that declares such a
 * LIMIT. DMA is not ALWAYS_COHERENT with the caches there.
 */
#ifdef __aarch64__
#define LOW(bits)	(GIB + BITS(bits))
#define LIMIT		max_address
#define LEAST_MASK	BITS(32)
#define ALWAYS_COHERENT	false
#else
#define LOW(bits)	BITS(bits)
#define LIMIT		dma_mask
#define LEAST_MASK	BITS(24)
#define ALWAYS_COHERENT	true
#endif

/*
 * Bytes below LOW(24), which are never free: there are the holes that every PC has,
 * or the kernel.
 */
#define LOW_MEMORY	(16 * MIB - 64 * KIB)

/* Enough for a kernel with checkers; run.sh has a limit for each program. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	300

/* How many times longer than on a stock kernel things take, by the environment. */
static inline int slower(void)
{
	const char *times = getenv("SLOWER");

	return times && atoi(times) > 1 ? atoi(times) : 1;
}

/* --- Calls ---------------------------------------------------------------- */

static inline int call(int fd, unsigned long request, void *argument)
{
	return ioctl(fd, request, argument) < 0 ? -errno : 0;
}

static inline int call_number(int fd, unsigned long request, long argument)
{
	return ioctl(fd, request, argument) < 0 ? -errno : 0;
}

static inline int open_device(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* CREATE as it is given; returns the descriptor. */
static inline int create_raw(struct cenalloc_create *create)
{
	int device = open_device("/dev/cenalloc");
	int ret;

	if (device < 0)
		return device;
	ret = call(device, CENALLOC_CREATE, create);
	close(device);
	return ret ? ret : create->fd;
}

/* A buffer with a name of its own, for who looks at what a failed test left. */
static inline int create_aligned(__u64 len, __u64 align)
{
	static unsigned int number;
	struct cenalloc_create create = {
		.len = len,
		.align = align,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};

	snprintf(create.name, sizeof(create.name), "test%d.%u", getpid(), number++);
	return create_raw(&create);
}

static inline int create(__u64 len)
{
	return create_aligned(len, 0);
}

static inline void *map_cpu(int fd, __u64 len)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static inline int sync_cpu(int fd, __u64 flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	return call(fd, DMA_BUF_IOCTL_SYNC, &sync);
}

/* A buffer that has memory already, which may be out of reach of who comes later. */
static inline int create_touched(__u64 len)
{
	int fd = create(len);
	char *memory = map_cpu(fd, len);

	if (memory != MAP_FAILED) {
		memory[len - 1] = 1;
		munmap(memory, len);
	}
	return fd;
}

/* --- The importer --------------------------------------------------------- */

static inline int open_importer(void)
{
	return open_device("/dev/cenalloc_importer");
}

#define DEVICE(...)	((struct importer_add){ __VA_ARGS__ })

/* A device with the needs given by DEVICE(); returns its handle. */
static inline int add_device(int importer, struct importer_add add)
{
	int ret;

	add.flags |= IMPORTER_DECLARE;
	if (!add.name[0])
		snprintf(add.name, sizeof(add.name), "device");
	ret = call(importer, IMPORTER_ADD, &add);
	return ret ? ret : (int)add.device;
}

static inline int attach(int importer, int device, int fd)
{
	struct importer_attach attach = { .device = device, .fd = fd };
	int ret = call(importer, IMPORTER_ATTACH, &attach);

	return ret ? ret : (int)attach.attachment;
}

/* A new device, attached; returns the attachment. */
static inline int join(int importer, int fd, struct importer_add add)
{
	int device = add_device(importer, add);

	return device < 0 ? device : attach(importer, device, fd);
}

static inline int detach(int importer, int attachment)
{
	return call_number(importer, IMPORTER_DETACH, attachment);
}

static inline int unmap(int importer, int attachment)
{
	return call_number(importer, IMPORTER_UNMAP, attachment);
}

#define SEGMENTS	4096

struct mapping {
	__u32 count;
	struct importer_segment segments[SEGMENTS];
};

static inline int map_for(int importer, int attachment, int direction, struct mapping *mapping)
{
	struct importer_map map = {
		.attachment = attachment,
		.direction = direction,
	};
	int ret;

	if (mapping) {
		map.segments = (uintptr_t)mapping->segments;
		map.count = SEGMENTS;
	}
	ret = call(importer, IMPORTER_MAP, &map);
	if (!ret && mapping) {
		mapping->count = map.count;
		if (map.count > SEGMENTS)
			return -E2BIG;
	}
	return ret;
}

/* Maps for both directions; @mapping may be NULL. */
static inline int map(int importer, int attachment, struct mapping *mapping)
{
	return map_for(importer, attachment, 0, mapping);
}

static inline __u64 mapping_len(const struct mapping *mapping)
{
	__u64 len = 0;
	__u32 i;

	for (i = 0; i < mapping->count; i++)
		len += mapping->segments[i].len;
	return len;
}

/* The address of a byte of the buffer, all ones beyond its end. */
static inline __u64 address_of(const struct mapping *mapping, __u64 offset)
{
	__u32 i;

	for (i = 0; i < mapping->count; i++) {
		if (offset < mapping->segments[i].len)
			return mapping->segments[i].address + offset;
		offset -= mapping->segments[i].len;
	}
	return ~0ULL;
}

/* Whether two tables show the same memory, however it is cut. */
static inline bool same_memory(const struct mapping *a, const struct mapping *b)
{
	__u64 len = mapping_len(a);
	__u64 offset;

	if (mapping_len(b) != len)
		return false;
	for (offset = 0; offset < len; offset += PAGE)
		if (address_of(a, offset) != address_of(b, offset))
			return false;
	return true;
}

static inline __u64 last_address(const struct mapping *mapping)
{
	__u64 last = 0;
	__u32 i;

	for (i = 0; i < mapping->count; i++) {
		__u64 end = mapping->segments[i].address + mapping->segments[i].len - 1;

		if (end > last)
			last = end;
	}
	return last;
}

/* --- What the driver tells ------------------------------------------------ */

/* Reads a file into a string; an empty one if there is none. */
static inline char *slurp(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t got;

	while (fd >= 0 && len < size - 1) {
		got = read(fd, text + len, size - 1 - len);
		if (got <= 0)
			break;
		len += got;
	}
	text[len] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

/* The first line of @text with @part in it; false if there is none. */
static inline bool find_line(const char *text, const char *part, char *line, size_t size)
{
	const char *found = strstr(text, part);
	const char *start = found;
	size_t len;

	line[0] = '\0';
	if (!found)
		return false;
	while (start > text && start[-1] != '\n')
		start--;
	len = strcspn(start, "\n");
	if (len >= size)
		len = size - 1;
	memcpy(line, start, len);
	line[len] = '\0';
	return true;
}

static inline unsigned int count_lines(const char *path)
{
	static char text[256 * 1024];
	unsigned int lines = 0;
	const char *at;

	slurp(path, text, sizeof(text));
	for (at = text; *at; at++)
		lines += *at == '\n';
	return lines;
}

/* Buffers there are, whoever made them. */
static inline unsigned int count_buffers(void)
{
	return count_lines(DEBUGFS "buffers");
}

/* Waits for those that are being released: the last close() of a file is done a little later. */
static inline unsigned int settled_buffers(unsigned int expected)
{
	int i;

	for (i = 0; i < 200 && count_buffers() != expected; i++)
		usleep(5000);
	return count_buffers();
}

#define LINE	1024

/* The line of a buffer in debugfs, found by its inode; empty if there is none. */
static inline char *buffer_line(int fd, char *line)
{
	static char text[256 * 1024];
	struct stat stat;
	char part[64];

	line[0] = '\0';
	if (fstat(fd, &stat))
		return line;
	snprintf(part, sizeof(part), " inode=%llu ", (unsigned long long)stat.st_ino);
	slurp(DEBUGFS "buffers", text, sizeof(text));
	find_line(text, part, line, LINE);
	return line;
}

/* The value of `key=value` in a line, without quotes. Good until eight more are asked for. */
static inline const char *field(const char *line, const char *key)
{
	static char values[8][LINE];
	static unsigned int next;
	char *value = values[next++ % 8];
	char part[64];
	const char *at;

	snprintf(part, sizeof(part), "%s=", key);
	for (at = strstr(line, part); at; at = strstr(at + 1, part))
		if (at == line || at[-1] == ' ')
			break;
	if (!at)
		return "(none)";
	at += strlen(part);
	if (*at == '"')
		snprintf(value, LINE, "%.*s", (int)strcspn(at + 1, "\""), at + 1);
	else if (*at == '\'')
		snprintf(value, LINE, "%.*s", (int)strcspn(at + 1, "'"), at + 1);
	else
		snprintf(value, LINE, "%.*s", (int)strcspn(at, "\n "), at);
	return value;
}

static inline const char *buffer_field(int fd, const char *key)
{
	char line[LINE];

	return field(buffer_line(fd, line), key);
}

/* How a field tells of addresses up to @last; of all, with 0. */
static inline const char *below(__u64 last)
{
	static char texts[4][32];
	static unsigned int next;
	char *text = texts[next++ % ARRAY_SIZE(texts)];
	__u64 end = last + 1;

	if (!last || !end)
		snprintf(text, sizeof(texts[0]), "any");
	else if (!(end & last))
		snprintf(text, sizeof(texts[0]), "2^%d", __builtin_ctzll(end));
	else
		snprintf(text, sizeof(texts[0]), "0x%llx", end);
	return text;
}

static inline unsigned long buffer_number(int fd, const char *key)
{
	const char *value = buffer_field(fd, key);
	char *end;
	unsigned long number = strtoul(value, &end, 0);

	return *value && !*end ? number : -1UL;
}

/* All lines of a buffer's devices, one after the other. */
static inline char *device_lines(int fd, char *lines, size_t size)
{
	static char text[256 * 1024];
	char part[64];
	char *line, *rest = NULL;
	size_t len = 0;

	snprintf(part, sizeof(part), "buffer=%s ", buffer_field(fd, "id"));
	slurp(DEBUGFS "devices", text, sizeof(text));
	lines[0] = '\0';
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (!strncmp(line, part, strlen(part)) && len < size)
			len += snprintf(lines + len, size - len, "%s\n", line);
	return lines;
}

/*
 * All that debugfs tells of a buffer but of refusals, and of the relocations that stand
 * among them.
 */
struct snapshot {
	char text[64 * 1024];
};

static inline struct snapshot *snapshot(int fd, struct snapshot *snapshot)
{
	char *text = snapshot->text, *refusals, *end;

	buffer_line(fd, text);
	strcat(text, "\n");
	device_lines(fd, text + strlen(text), sizeof(snapshot->text) - strlen(text));
	/* They stand last in every line. */
	while ((refusals = strstr(text, " late="))) {
		end = refusals + strcspn(refusals, "\n");
		memmove(refusals, end, strlen(end) + 1);
	}
	return snapshot;
}

/* --- The list of allocators ----------------------------------------------- */

#define ALLOCATORS	64

static inline int list_allocators(struct cenalloc_allocator_info *list)
{
	struct cenalloc_allocators allocators = {
		.allocators = (uintptr_t)list,
		.count = ALLOCATORS,
		.size = sizeof(*list),
	};
	int device = open_device("/dev/cenalloc");
	int ret;

	if (device < 0)
		return device;
	ret = call(device, CENALLOC_ALLOCATORS, &allocators);
	close(device);
	return ret ? ret : (int)allocators.count;
}

/* One allocator by its name; all zero if there is none. */
static inline struct cenalloc_allocator_info find_allocator(const char *name)
{
	static struct cenalloc_allocator_info list[ALLOCATORS];
	int i, count = list_allocators(list);

	for (i = 0; i < count && i < ALLOCATORS; i++)
		if (!strcmp(list[i].name, name))
			return list[i];
	return (struct cenalloc_allocator_info){};
}

/* Bytes that all of them have given. */
static inline __u64 used_by_all(void)
{
	static struct cenalloc_allocator_info list[ALLOCATORS];
	int i, count = list_allocators(list);
	__u64 used = 0;

	for (i = 0; i < count && i < ALLOCATORS; i++)
		used += list[i].used;
	return used;
}

/* --- Checks --------------------------------------------------------------- */

/* A text is what a shell pattern tells. */
#define EXPECT_MATCH(text, pattern) do {				\
	const char *_text = (text), *_pattern = (pattern);		\
									\
	EXPECT_EQ(0, fnmatch(_pattern, _text, 0)) {			\
		TH_LOG("'%s' is not '%s'", _text, _pattern);		\
	}								\
} while (0)

/* The last refusal of a buffer, and how many there were; all bits set where that fails. */
static inline struct cenalloc_query query_fields(int fd)
{
	struct cenalloc_query query = { .fd = fd };
	int device = open_device("/dev/cenalloc");

	if (device < 0 || call(device, CENALLOC_QUERY, &query))
		memset(&query, 0xff, sizeof(query));
	if (device >= 0)
		close(device);
	return query;
}

/* What happened, as debugfs tells it: a sentence, which advice may follow. */
#define EXPECT_REFUSAL(fd, sentence) do {				\
	char _with_advice[LINE];					\
									\
	snprintf(_with_advice, sizeof(_with_advice), "%s; *", sentence);\
	EXPECT_MATCH(buffer_field(fd, "refusal"), _with_advice);	\
} while (0)

/* The error that comes with the cause of a refusal. */
static inline int error_of(__u32 cause)
{
	switch (cause) {
	case CENALLOC_CAUSE_USER ... CENALLOC_CAUSE_REMOVED:
		return -EINVAL;
	case CENALLOC_CAUSE_HELD:
		return -EBUSY;
	case CENALLOC_CAUSE_CHARGE ... CENALLOC_CAUSE_USERS:
		return -ENOMEM;
	case CENALLOC_CAUSE_BOUNCED:
		return -EIO;
	case CENALLOC_CAUSE_NO_BUS ... CENALLOC_CAUSE_NO_DMA:
		return -ENODEV;
	}
	return 0;
}

/*
 * A device with these needs is refused with @error and a sentence that matches the
 * shell pattern @reason, QUERY tells the same as debugfs, and nothing else of the
 * buffer changes.
 */
static inline void __maybe_unused
check_refused(struct __test_metadata *_metadata, int importer, int fd, struct importer_add add,
	      int error, const char *reason)
{
	static struct snapshot before, after;
	unsigned long late = buffer_number(fd, "late");
	struct cenalloc_query was = query_fields(fd), now;
	char text[LINE], line[2 * LINE];
	int device = add_device(importer, add);

	ASSERT_LE(0, device);
	snapshot(fd, &before);
	EXPECT_EQ(error, attach(importer, device, fd)) {
		TH_LOG("expected: %s", reason);
	}
	EXPECT_STREQ(before.text, snapshot(fd, &after)->text);
	late += error == -EBUSY || error == -ENOMEM;
	EXPECT_EQ(late, buffer_number(fd, "late"));
	EXPECT_REFUSAL(fd, reason);
	snprintf(line, sizeof(line), "buffer %s: %s\n", buffer_field(fd, "id"),
		 buffer_field(fd, "refusal"));
	EXPECT_STREQ(line, slurp(DEBUGFS "refusal", text, sizeof(text)));
	now = query_fields(fd);
	EXPECT_EQ(error, error_of(now.refusal.cause));
	EXPECT_EQ(late, now.late_refusals);
	EXPECT_EQ(was.refusals + 1, now.refusals);
	EXPECT_EQ(now.refusals, now.refusal.sequence);
	EXPECT_EQ(now.refusals, buffer_number(fd, "refusals"));
	EXPECT_EQ(0, call_number(importer, IMPORTER_REMOVE, device));
}

#endif /* _CENALLOC_TEST_H */
