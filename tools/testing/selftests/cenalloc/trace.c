// SPDX-License-Identifier: GPL-2.0
/*
 * The events that are traced: each tells what the calls returned and what QUERY
 * tells, in the order in which it happened; and nothing where nobody listens.
 */

#include <linux/perf_event.h>
#include <sys/stat.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "modules.h"

#define LEN		(300 * KIB)
#define TRACEFS		"/sys/kernel/tracing/"
#define EVENTS		TRACEFS "events/cenalloc/"

static struct mapping one;
static struct told told;

/* All events, in the order of a buffer's life. */
static const char *const events[] = {
	"create", "declare", "attach", "allocate", "map", "late", "relocate", "refuse", "unmap",
	"detach", "release",
};

/* --- A trace of its own --------------------------------------------------- */

FIXTURE(trace) {
	char instance[64];
	int importer;
};

/* Writes to a file of the instance. */
static int tell(const char *instance, const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", instance, file);
	return write_file(path, text);
}

FIXTURE_SETUP(trace)
{
	snprintf(self->instance, sizeof(self->instance), TRACEFS "instances/cenalloc%d", getpid());
	ASSERT_EQ(0, mkdir(self->instance, 0700));
	ASSERT_EQ(0, tell(self->instance, "events/cenalloc/enable", "1"));
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
}

FIXTURE_TEARDOWN(trace)
{
	close(self->importer);
	EXPECT_EQ(0, rmdir(self->instance));
	if (!is_loaded("cenalloc"))
		EXPECT_EQ(0, load("cenalloc"));
}

/* All that was traced. */
static const char *traced(const char *instance)
{
	static char text[1 << 20];
	char path[128];

	snprintf(path, sizeof(path), "%s/trace", instance);
	return slurp(path, text, sizeof(text));
}

/* The @number-th event of a buffer from its name on, empty if there is none. */
static const char *nth_event(const char *instance, const char *event, __u64 id, int number)
{
	static char line[2 * LINE];
	const char *at = traced(instance);
	char part[64];

	snprintf(part, sizeof(part), ": cenalloc_%s: buffer=%llu ", event, id);
	for (at = strstr(at, part); at && number--; at = strstr(at + 1, part))
		;
	line[0] = '\0';
	if (at)
		snprintf(line, sizeof(line), "%.*s", (int)strcspn(at + 2, "\n"), at + 2);
	return line;
}

static const char *event(const char *instance, const char *name, __u64 id)
{
	return nth_event(instance, name, id, 0);
}

/* The names of a buffer's events, one after the other. */
static const char *story(const char *instance, __u64 id)
{
	static char names[LINE];
	const char *at = traced(instance), *line;
	size_t len = 0;
	char part[64];

	snprintf(part, sizeof(part), ": buffer=%llu ", id);
	names[0] = '\0';
	for (at = strstr(at, part); at && len < sizeof(names) - 32; at = strstr(at + 1, part)) {
		for (line = at; line[-1] != '_'; line--)
			;
		len += snprintf(names + len, sizeof(names) - len, "%s%.*s", len ? " " : "",
				(int)(at - line), line);
	}
	return names;
}

static unsigned int count_traced(const char *instance)
{
	const char *at = traced(instance);
	unsigned int count = 0;

	while ((at = strstr(at, ": cenalloc_"))) {
		at++;
		count++;
	}
	return count;
}

/* Whether an event comes within a second: the last close() of a file is done a little later. */
static bool comes(const char *instance, const char *name, __u64 id)
{
	int i;

	for (i = 0; i < 200 && !*event(instance, name, id); i++)
		usleep(5000);
	return *event(instance, name, id);
}

static __u64 number(const char *line, const char *key)
{
	const char *value = field(line, key);
	char *end;
	__u64 number = strtoull(value, &end, 0);

	return *value && !*end ? number : ~0ULL;
}

/* --- What is told --------------------------------------------------------- */

TEST_F(trace, life_of_a_buffer)
{
	struct cenalloc_create raw = {
		.len = LEN - 1,
		.align = 2 * PAGE,
		.fd_flags = O_RDWR | O_CLOEXEC,
		.name = "a name",
	};
	int fd = create_raw(&raw), attachment;
	const char *line;
	__u64 id;

	ASSERT_LE(0, fd);
	id = query_fields(fd).id;
	line = event(self->instance, "create", id);
	EXPECT_EQ(LEN, number(line, "len"));
	EXPECT_EQ(2 * PAGE, number(line, "align"));
	EXPECT_STREQ("a name", field(line, "name"));

	attachment = join(self->importer, fd,
			  DEVICE(.name = "traced", .dma_mask = BITS(40), .access_mask = 0x7,
				 .max_segments = 500, .alignment = 4 * PAGE,
				 .max_segment_size = MIB, .segment_boundary_mask = 0xffffff));
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, query(fd, &told));
	line = event(self->instance, "attach", id);
	EXPECT_STREQ(told.users[0].name, field(line, "device"));
	EXPECT_EQ(0x7, number(line, "class"));
	EXPECT_EQ(BITS(40), number(line, "last"));
	EXPECT_EQ(500, number(line, "segments"));
	EXPECT_EQ(4 * PAGE, number(line, "align"));
	EXPECT_EQ(MIB, number(line, "segsize"));
	EXPECT_EQ(0xffffff, number(line, "boundary"));
	EXPECT_EQ(0, number(line, "declared"));

	ASSERT_EQ(0, map(self->importer, attachment, &one));
	ASSERT_EQ(0, query(fd, &told));
	line = event(self->instance, "allocate", id);
	EXPECT_STREQ(told.query.allocator, field(line, "allocator"));
	EXPECT_EQ(LEN, number(line, "len"));
	EXPECT_LE(1, number(line, "ranges"));
	EXPECT_GE(one.count, number(line, "ranges"));
	EXPECT_EQ(0, number(line, "error"));
	line = event(self->instance, "map", id);
	EXPECT_STREQ(told.users[0].name, field(line, "device"));
	EXPECT_STREQ("BIDIRECTIONAL", field(line, "direction"));
	EXPECT_EQ(one.count, number(line, "segments"));
	EXPECT_EQ(0, number(line, "error"));

	ASSERT_EQ(0, unmap(self->importer, attachment));
	EXPECT_STREQ(told.users[0].name, field(event(self->instance, "unmap", id), "device"));
	ASSERT_EQ(0, detach(self->importer, attachment));
	EXPECT_STREQ(told.users[0].name, field(event(self->instance, "detach", id), "device"));
	EXPECT_STREQ("", event(self->instance, "release", id));
	close(fd);
	ASSERT_TRUE(comes(self->instance, "release", id));
	EXPECT_EQ(LEN, number(event(self->instance, "release", id), "len"));
	EXPECT_STREQ("create attach allocate map unmap detach release",
		     story(self->instance, id));
}

/* What a device does not care about is 0. */
TEST_F(trace, needs_of_nothing)
{
	int fd = create(PAGE), device;
	const char *line;
	__u64 id = query_fields(fd).id;

	device = add_device(self->importer, DEVICE(.flags = IMPORTER_NO_DMA));
	ASSERT_LE(0, attach(self->importer, device, fd));
	line = event(self->instance, "attach", id);
	EXPECT_EQ(0, number(line, "class"));
	EXPECT_EQ(0, number(line, "last"));
	EXPECT_EQ(0, number(line, "segments"));
	EXPECT_EQ(0, number(line, "align"));
	EXPECT_EQ(0, number(line, "segsize"));
	EXPECT_EQ(0, number(line, "boundary"));
	close(fd);
}

/* As many segments as the device sees, and the direction. */
TEST_F(trace, mappings)
{
	const char *const names[] = { "BIDIRECTIONAL", "TO_DEVICE", "FROM_DEVICE" };
	int fd = create(LEN), attachment, direction;
	__u64 id = query_fields(fd).id;

	attachment = join(self->importer, fd,
			  DEVICE(.max_segment_size = PAGE,
				 .access_mask = CENALLOC_CLASS_SYSTEM_CONTIG));
	ASSERT_LE(0, attachment);
	for (direction = 0; direction < 3; direction++) {
		const char *line;

		ASSERT_EQ(0, map_for(self->importer, attachment, direction, &one));
		ASSERT_EQ(LEN / PAGE, one.count);
		line = nth_event(self->instance, "map", id, direction);
		EXPECT_STREQ(names[direction], field(line, "direction"));
		EXPECT_EQ(LEN / PAGE, number(line, "segments"));
		ASSERT_EQ(0, unmap(self->importer, attachment));
	}
	EXPECT_EQ(1, number(event(self->instance, "allocate", id), "ranges"));
	EXPECT_STREQ("system-contig", field(event(self->instance, "allocate", id), "allocator"));
	close(fd);
}

TEST_F(trace, failures)
{
	int fd = create(LOW_MEMORY), cpu, low;
	__u64 id = query_fields(fd).id;
	const char *line;

	/* A pin that fails is a map that does not come. */
	cpu = join_dynamic(self->importer, fd, DEVICE(.flags = IMPORTER_NO_DMA));
	ASSERT_EQ(-ENODEV, pin(self->importer, cpu));
	line = event(self->instance, "map", id);
	EXPECT_EQ((__u64)-ENODEV, number(line, "error"));
	EXPECT_EQ(0, number(line, "segments"));
	EXPECT_STREQ("NONE", field(line, "direction"));
	EXPECT_STREQ("", event(self->instance, "allocate", id));
	low = join(self->importer, fd, DEVICE(.LIMIT = LOW(24)));
	ASSERT_EQ(-ENOMEM, map(self->importer, low, NULL));
	line = event(self->instance, "allocate", id);
	EXPECT_EQ((__u64)-ENOMEM, number(line, "error"));
	EXPECT_STREQ("", field(line, "allocator"));
	EXPECT_EQ(0, number(line, "ranges"));
	EXPECT_EQ(LOW_MEMORY, number(line, "len"));
	EXPECT_EQ((__u64)-ENOMEM, number(nth_event(self->instance, "map", id, 1), "error"));
	close(fd);
}

TEST_F(trace, declared)
{
	int fd = create(LEN), device;
	__u64 id = query_fields(fd).id;
	const char *line;
	char name[64];

	ASSERT_EQ(0, declare_needs(fd, "scanout", NEEDS(.max_segments = 1, .alignment = PAGE)));
	line = event(self->instance, "declare", id);
	EXPECT_STREQ("program scanout", field(line, "device"));
	EXPECT_EQ(1, number(line, "segments"));
	EXPECT_EQ(PAGE, number(line, "align"));
	EXPECT_EQ(0, number(line, "last"));
	EXPECT_EQ(1, number(line, "declared"));

	device = add_device(self->importer, DEVICE(.name = "traced", .LIMIT = LOW(30)));
	ASSERT_LE(0, device);
	ASSERT_TRUE(find_device("platform", "traced.", name, sizeof(name)));
	ASSERT_EQ(0, declare_device(fd, "platform", name));
	line = nth_event(self->instance, "declare", id, 1);
	EXPECT_NE(NULL, strstr(field(line, "device"), name));
	EXPECT_EQ(LOW(30), number(line, "last"));
	ASSERT_LE(0, attach(self->importer, device, fd));
	line = event(self->instance, "attach", id);
	EXPECT_NE(NULL, strstr(field(line, "device"), name));
	EXPECT_EQ(LOW(30), number(line, "last"));
	EXPECT_EQ(1, number(line, "declared"));
	close(fd);
}

/* --- Who is refused, and who is in the way -------------------------------- */

/* The names of causes and fields, by their numbers. */
static const char *const causes[] = {
	"", "user", "others", "itself", "allocator", "removed", "held", "charge", "shortage",
	"addresses", "bookkeeping", "users", "bounced",
};

static const char *const fields[] = {
	"none", "class", "last", "segments", "segsize", "boundary", "align", "coherent", "len",
	"contiguous", "device",
};

/* The @nth refusal of a buffer is its last: it tells what QUERY tells. */
static void check_traced(struct __test_metadata *_metadata, const char *instance, int fd, __u64 nth,
			 __u32 cause, __u32 about)
{
	const char *line;

	ASSERT_EQ(0, query(fd, &told));
	line = nth_event(instance, "refuse", told.query.id, nth);
	EXPECT_EQ((__u64)error_of(cause), number(line, "error"));
	EXPECT_EQ(cause, told.query.refusal.cause);
	EXPECT_STREQ(causes[cause], field(line, "cause"));
	EXPECT_EQ(about, told.query.refusal.field);
	EXPECT_STREQ(fields[about], field(line, "field"));
	EXPECT_EQ(told.query.refusal.wanted, number(line, "wanted"));
	EXPECT_EQ(told.query.refusal.found, number(line, "found"));
	EXPECT_STREQ(told.query.refusal.who, field(line, "who"));
	EXPECT_STREQ(told.query.refusal.other, field(line, "other"));
	EXPECT_EQ(told.query.refusal.holder, number(line, "holder"));
	EXPECT_EQ(told.query.refusal.holders, number(line, "holders"));
	EXPECT_EQ(nth + 1, told.query.refusals);
}

#define EXPECT_REFUSED(fd, nth, cause, field)					\
	check_traced(_metadata, self->instance, fd, nth, cause, field)

TEST_F(trace, refused_by_another)
{
	int fd = create(LEN);
	__u64 id = query_fields(fd).id;

	ASSERT_LE(0, join(self->importer, fd, DEVICE(.name = "first", .access_mask = 0x1)));
	ASSERT_EQ(-EINVAL, join(self->importer, fd,
				DEVICE(.name = "second", .access_mask = 0x2)));
	EXPECT_REFUSED(fd, 0, CENALLOC_CAUSE_USER, CENALLOC_FIELD_ACCESS_MASK);
	EXPECT_EQ(0x2, number(event(self->instance, "refuse", id), "wanted"));
	EXPECT_EQ(0x1, number(event(self->instance, "refuse", id), "found"));
	EXPECT_EQ(-EINVAL, declare_needs(fd, "needs", NEEDS(.max_address = 0xffff)));
	EXPECT_REFUSED(fd, 1, CENALLOC_CAUSE_ITSELF, CENALLOC_FIELD_MAX_ADDRESS);
	/* Who was refused has not attached, and nobody came too late. */
	EXPECT_STREQ("create attach refuse refuse",
		     story(self->instance, id));
	close(fd);
}

TEST_F(trace, refused_by_the_allocators)
{
	int fd = create(8 * MIB);

	ASSERT_EQ(-EINVAL, join(self->importer, fd, DEVICE(.max_segments = 1)));
	EXPECT_REFUSED(fd, 0, CENALLOC_CAUSE_ALLOCATOR, CENALLOC_FIELD_CONTIGUOUS);
	close(fd);
}

/* The longest names there are: the sentence is whole. */
TEST_F(trace, long_names)
{
	char longest[sizeof(((struct cenalloc_declare *)0)->device)];
	int fd = create(LEN);

	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	ASSERT_EQ(0, declare_needs(fd, longest, NEEDS(.max_segments = 1)));
	longest[0] = 'y';
	ASSERT_EQ(-EINVAL, declare_needs(fd, longest,
					 NEEDS(.access_mask = CENALLOC_CLASS_SYSTEM)));
	ASSERT_EQ(0, query(fd, &told));
	EXPECT_REFUSED(fd, 0, CENALLOC_CAUSE_ALLOCATOR, told.query.refusal.field);
	EXPECT_LE(2 * sizeof(longest), strlen(buffer_field(fd, "refusal")));
	close(fd);
}

/* Memory that a device of 32 bits does not reach, held by another; one who is there as well. */
TEST_F(trace, late_refusals)
{
	int fd = create(LEN), first, other, i;
	__u64 id = query_fields(fd).id;
	char lines[4 * KIB], line[LINE];

	first = join(self->importer, fd,
		     DEVICE(.name = "first", .access_mask = CENALLOC_CLASS_SYSTEM));
	other = join(self->importer, fd, DEVICE(.name = "other"));
	ASSERT_LE(0, first);
	ASSERT_LE(0, other);
	ASSERT_EQ(0, map(self->importer, first, &one));
	ASSERT_LE(1ULL << 32, address_of(&one, 0));
	for (i = 0; i < 3; i++) {
		const char *late;

		ASSERT_EQ(-EBUSY, join(self->importer, fd,
				       DEVICE(.name = "late", .dma_mask = BITS(32))));
		EXPECT_REFUSED(fd, i, CENALLOC_CAUSE_HELD, CENALLOC_FIELD_MAX_ADDRESS);
		late = nth_event(self->instance, "late", id, i);
		EXPECT_STREQ(told_user(&told, "first")->name, field(late, "device"));
		EXPECT_EQ(i + 1, number(late, "late"));
		EXPECT_EQ(i + 1, buffer_number(fd, "late"));
		device_lines(fd, lines, sizeof(lines));
		ASSERT_TRUE(find_line(lines, "first.", line, sizeof(line)));
		EXPECT_EQ(i + 1, number(line, "late"));
		ASSERT_TRUE(find_line(lines, "other.", line, sizeof(line)));
		EXPECT_EQ(0, number(line, "late"));
	}
	EXPECT_STREQ("", nth_event(self->instance, "late", id, 3));
	EXPECT_STREQ("", event(self->instance, "relocate", id));
	close(fd);
}

TEST_F(trace, relocation)
{
	int fd = create(LEN), first, late;
	__u64 id = query_fields(fd).id;
	const char *line;

	first = join(self->importer, fd, DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM));
	ASSERT_EQ(0, map(self->importer, first, &one));
	ASSERT_LE(1ULL << 32, address_of(&one, 0));
	ASSERT_EQ(0, detach(self->importer, first));
	late = join(self->importer, fd, DEVICE(.dma_mask = BITS(32), .max_segments = 1));
	ASSERT_LE(0, late);
	ASSERT_EQ(1, query_fields(fd).relocations);
	line = event(self->instance, "relocate", id);
	EXPECT_STREQ("system", field(line, "from"));
	EXPECT_STREQ("system-contig", field(line, "to"));
	EXPECT_EQ(LEN, number(line, "len"));
	EXPECT_STREQ("system-contig", field(nth_event(self->instance, "allocate", id, 1),
					    "allocator"));
	EXPECT_STREQ("create attach allocate map unmap detach allocate relocate attach",
		     story(self->instance, id));
	close(fd);
}

/* --- Whether it is told --------------------------------------------------- */

/* Lets every event happen; returns the number of the buffer. */
static __u64 let_all_happen(struct __test_metadata *_metadata, int importer)
{
	int fd = create(LEN), first, late;
	__u64 id = query_fields(fd).id;
	unsigned int buffers = count_buffers();

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, declare_needs(fd, "declared", NEEDS()));
	first = join(importer, fd, DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM));
	ASSERT_EQ(0, map(importer, first, &one));
	ASSERT_LE(1ULL << 32, address_of(&one, 0));
	ASSERT_EQ(-EBUSY, join(importer, fd, DEVICE(.dma_mask = BITS(32))));
	ASSERT_EQ(0, unmap(importer, first));
	ASSERT_EQ(0, detach(importer, first));
	late = join(importer, fd, DEVICE(.dma_mask = BITS(32)));
	ASSERT_LE(0, late);
	ASSERT_EQ(0, detach(importer, late));
	close(fd);
	ASSERT_EQ(buffers - 1, settled_buffers(buffers - 1));
	return id;
}

TEST_F(trace, nothing_when_disabled)
{
	char path[64];
	__u64 id;
	size_t i, j, others = 0;

	ASSERT_EQ(0, tell(self->instance, "events/cenalloc/enable", "0"));
	let_all_happen(_metadata, self->importer);
	EXPECT_EQ(0, count_traced(self->instance));
	/* One by one. */
	for (i = 0; i < ARRAY_SIZE(events); i++) {
		ASSERT_EQ(0, tell(self->instance, "events/cenalloc/enable", "0"));
		snprintf(path, sizeof(path), "events/cenalloc/cenalloc_%s/enable", events[i]);
		ASSERT_EQ(0, tell(self->instance, path, "1"));
		id = let_all_happen(_metadata, self->importer);
		EXPECT_TRUE(comes(self->instance, events[i], id)) {
			TH_LOG("%s", path);
		}
		for (j = 0; j < ARRAY_SIZE(events); j++)
			others += j != i && *event(self->instance, events[j], id);
		EXPECT_EQ(0, others) {
			TH_LOG("%s", path);
		}
	}
}

/* Fields can be used in filters. */
TEST_F(trace, filtered)
{
	int fd = create(LEN), importer = self->importer;
	__u64 id = query_fields(fd).id;

	ASSERT_EQ(0, tell(self->instance, "events/cenalloc/cenalloc_map/filter", "error != 0"));
	ASSERT_EQ(0, map(importer, join(importer, fd, DEVICE()), NULL));
	ASSERT_EQ(-ENODEV, pin(importer, join_dynamic(importer, fd,
						      DEVICE(.flags = IMPORTER_NO_DMA))));
	EXPECT_EQ((__u64)-ENODEV, number(event(self->instance, "map", id), "error"));
	EXPECT_STREQ("", nth_event(self->instance, "map", id, 1));
	close(fd);
}

/* --- Formats -------------------------------------------------------------- */

/* These events and no others; each tells the buffer first, and none an address of the kernel. */
TEST(formats)
{
	static const char start[] = "print fmt: \"buffer=%llu ";
	char path[128], text[16 * KIB];
	struct dirent *entry;
	const char *print;
	size_t i, found = 0;
	DIR *dir;

	for (i = 0; i < ARRAY_SIZE(events); i++) {
		snprintf(path, sizeof(path), EVENTS "cenalloc_%s/format", events[i]);
		print = strstr(slurp(path, text, sizeof(text)), start);
		ASSERT_NE(NULL, print) {
			TH_LOG("%s: %s", path, text);
		}
		EXPECT_EQ(NULL, strstr(print, "%p"));
		/* The parser of perf and trace-cmd takes the next quotation mark for the end. */
		EXPECT_EQ(',', strchr(print + sizeof(start), '"')[1]);
		EXPECT_EQ(NULL, strstr(text, "*"));
	}
	dir = opendir(EVENTS);
	ASSERT_NE(NULL, dir);
	while ((entry = readdir(dir)))
		found += !strncmp(entry->d_name, "cenalloc_", 9);
	closedir(dir);
	EXPECT_EQ(ARRAY_SIZE(events), found);
}

/* --- Unloading ------------------------------------------------------------ */

/* A listener that is perf keeps the module, and only as long as it listens. */
TEST_F(trace, perf_keeps_the_module)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.sample_period = 1,
	};
	__u64 count = 0;
	char text[32];
	int perf, fd;

	if (access("/proc/sys/kernel/perf_event_paranoid", F_OK))
		SKIP(return, "the kernel has no performance events");
	attr.config = strtoul(slurp(EVENTS "cenalloc_create/id", text, sizeof(text)), NULL, 10);
	ASSERT_LT(0, attr.config);
	ASSERT_EQ(0, settled_buffers(0));
	perf = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	ASSERT_LE(0, perf);
	fd = create(PAGE);
	EXPECT_EQ(sizeof(count), read(perf, &count, sizeof(count)));
	EXPECT_EQ(1, count);
	close(fd);
	ASSERT_EQ(0, settled_buffers(0));
	/* It alone. */
	EXPECT_EQ(1, settled_module_users("cenalloc", 1));
	EXPECT_EQ(-EWOULDBLOCK, unload("cenalloc"));
	EXPECT_TRUE(is_loaded("cenalloc"));
	close(perf);
	EXPECT_EQ(0, unload_patiently("cenalloc"));
}

/* A listener that is an instance of tracefs keeps nothing, and hears no more. */
TEST_F(trace, unloaded_while_enabled)
{
	char path[128];
	__u64 id;

	let_all_happen(_metadata, self->importer);
	EXPECT_NE(0, count_traced(self->instance));
	ASSERT_EQ(0, settled_buffers(0));
	ASSERT_EQ(0, unload_patiently("cenalloc"));
	snprintf(path, sizeof(path), "%s/events/cenalloc", self->instance);
	EXPECT_NE(0, access(path, F_OK));
	EXPECT_NE(0, access(EVENTS, F_OK));
	/* What had been traced went with the module, which alone can print it. */
	EXPECT_EQ(0, count_traced(self->instance));
	ASSERT_EQ(0, load("cenalloc"));
	id = let_all_happen(_metadata, self->importer);
	EXPECT_EQ(0, count_traced(self->instance));
	ASSERT_EQ(0, tell(self->instance, "events/cenalloc/enable", "1"));
	id = let_all_happen(_metadata, self->importer);
	EXPECT_TRUE(comes(self->instance, "release", id));
}

TEST_HARNESS_MAIN
