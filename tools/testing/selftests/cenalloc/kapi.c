// SPDX-License-Identifier: GPL-2.0
/*
 * linux/cenalloc.h, as a driver in C uses it: the sequence as a whole, and each
 * call in each state of a buffer.
 */

#include <pthread.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "cenalloc_c_exporter.h"
#include "kernel_api.h"

#define LEN	(512 * KIB)

FIXTURE(driver) {
	int driver;
	int importer;
	unsigned int buffers;
};

FIXTURE_SETUP(driver)
{
	self->buffers = count_buffers();
	self->driver = open_driver();
	ASSERT_LE(0, self->driver);
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
}

FIXTURE_TEARDOWN(driver)
{
	/* Whatever the test opened. */
	close_range(3, ~0U, 0);
	EXPECT_EQ(self->buffers, settled_buffers(self->buffers));
}

/* --- The sequence --------------------------------------------------------- */

TEST_F(driver, sequence)
{
	const __u64 lens[] = { 1, PAGE, PAGE + 1, 64 * KIB, 3 * MIB + 5, 4 * MIB };
	const struct c_importer_seen *display, *codec;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		struct c_importer_run run = { .len = lens[i] };
		__u64 whole = (lens[i] + PAGE - 1) / PAGE * PAGE;

		ASSERT_EQ(0, call(self->driver, C_IMPORTER_RUN, &run));
		display = &run.seen[C_IMPORTER_DISPLAY];
		EXPECT_EQ(whole, display->len);
		EXPECT_EQ(1, display->segments);
		EXPECT_GE(BITS(32), display->last_address);
		codec = &run.seen[C_IMPORTER_CODEC];
		EXPECT_EQ(whole, codec->len);
		EXPECT_GE(64 * KIB, codec->largest);
		EXPECT_LE((whole + 64 * KIB - 1) / (64 * KIB), codec->segments);
		/* The same memory. */
		EXPECT_EQ(display->first_address, codec->first_address);
		EXPECT_EQ(display->last_address, codec->last_address);
	}
	EXPECT_EQ(self->buffers, settled_buffers(self->buffers));
}

TEST_F(driver, sequence_with_alignment)
{
	struct c_importer_run run = { .len = MIB, .align = MIB };

	ASSERT_EQ(0, call(self->driver, C_IMPORTER_RUN, &run));
	EXPECT_EQ(0, run.seen[C_IMPORTER_DISPLAY].first_address % MIB);
}

/* The display takes one segment, and no allocator has one so long. */
TEST_F(driver, sequence_that_ends_in_the_middle)
{
	struct c_importer_run run = { .len = 2 * GIB };

	EXPECT_EQ(-EINVAL, call(self->driver, C_IMPORTER_RUN, &run));
	EXPECT_EQ(self->buffers, settled_buffers(self->buffers));
}

TEST_F(driver, sequence_with_bad_input)
{
	struct c_importer_run none = {}, crooked = { .len = PAGE, .align = 3 };
	struct c_importer_run huge = { .len = -1ULL }, tall = { .len = PAGE, .align = 1ULL << 63 };

	EXPECT_EQ(-EINVAL, call(self->driver, C_IMPORTER_RUN, &none));
	EXPECT_EQ(-EINVAL, call(self->driver, C_IMPORTER_RUN, &crooked));
	EXPECT_EQ(-EINVAL, call(self->driver, C_IMPORTER_RUN, &huge));
	EXPECT_EQ(-EINVAL, call(self->driver, C_IMPORTER_RUN, &tall));
	EXPECT_EQ(-EFAULT, call(self->driver, C_IMPORTER_RUN, NULL));
}

/* --- Create and free ------------------------------------------------------ */

/* How many references there are to the dma-buf of a descriptor; -1 if that is not told. */
static int count_references(int fd)
{
	char path[64], text[LINE], line[LINE];
	int count;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (!find_line(slurp(path, text, sizeof(text)), "count:", line, LINE) ||
	    sscanf(line, "count: %d", &count) != 1)
		return -1;
	return count;
}

TEST_F(driver, create_with_bad_input)
{
	EXPECT_EQ(-EINVAL, driver_create(self->driver, 0, 0, O_RDWR));
	EXPECT_EQ(-EINVAL, driver_create(self->driver, -1ULL, 0, O_RDWR));
	EXPECT_EQ(-EINVAL, driver_create(self->driver, 1ULL << 63, 0, O_RDWR));
	EXPECT_EQ(-EINVAL, driver_create(self->driver, 1ULL << 50, 0, O_RDWR));
	EXPECT_EQ(-EINVAL, driver_create(self->driver, PAGE, 3, O_RDWR));
	EXPECT_EQ(-EINVAL, driver_create(self->driver, PAGE, -1ULL, O_RDWR));
	EXPECT_EQ(-EINVAL, driver_create(self->driver, PAGE, 1ULL << 63, O_RDWR));
	EXPECT_EQ(-EINVAL, driver_create(self->driver, PAGE, 0, O_ACCMODE));
	EXPECT_EQ(-EINVAL, driver_create(self->driver, PAGE, 0, O_ACCMODE | O_CLOEXEC));
	EXPECT_EQ(-EINVAL, driver_create(self->driver, PAGE, 0, O_RDWR | O_APPEND));
	EXPECT_EQ(-EINVAL, driver_create(self->driver, PAGE, 0, 1ULL << 32 | O_RDWR));
	EXPECT_EQ(-EINVAL, driver_create(self->driver, PAGE, 0, -1ULL));
	EXPECT_EQ(self->buffers, count_buffers());
	EXPECT_EQ(-ENODATA, driver_free(self->driver));
}

TEST_F(driver, wrong_pointers)
{
	EXPECT_EQ(0, driver_misuse(self->driver, C_IMPORTER_FREE_NULL));
	EXPECT_EQ(0, driver_misuse(self->driver, C_IMPORTER_FREE_ERROR));
	EXPECT_EQ(-EINVAL, driver_misuse(self->driver, C_IMPORTER_PHYS_NULL));
	EXPECT_EQ(-EINVAL, driver_misuse(self->driver, C_IMPORTER_PHYS_ERROR));
	EXPECT_EQ(-EINVAL, driver_misuse(self->driver, C_IMPORTER_SG_TABLE_NULL));
	EXPECT_EQ(-EINVAL, driver_misuse(self->driver, C_IMPORTER_SG_TABLE_ERROR));
	EXPECT_EQ(-EINVAL, driver_misuse(self->driver, C_IMPORTER_CREATE_NULL));
	EXPECT_EQ(-EINVAL, driver_misuse(self->driver, C_IMPORTER_CREATE_ERROR));
	EXPECT_EQ(-EINVAL, driver_misuse(self->driver, C_IMPORTER_DECLARE_NULL));
	EXPECT_EQ(-EINVAL, driver_misuse(self->driver, C_IMPORTER_DECLARE_ERROR));
	EXPECT_EQ(-EINVAL, driver_misuse(self->driver, C_IMPORTER_ALLOCATE_NULL));
	EXPECT_EQ(-EINVAL, driver_misuse(self->driver, C_IMPORTER_ALLOCATE_ERROR));
	EXPECT_EQ(self->buffers, count_buffers());
}

TEST_F(driver, length_is_whole_pages)
{
	int fd;

	ASSERT_EQ(0, driver_create(self->driver, PAGE + 1, 0, O_RDWR));
	fd = driver_export(self->driver);
	ASSERT_LE(0, fd);
	EXPECT_EQ((off_t)(2 * PAGE), lseek(fd, 0, SEEK_END));
	close(fd);
}

TEST_F(driver, flags_are_those_of_the_descriptor)
{
	const int flags[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_CLOEXEC };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		bool writes = flags[i] & O_RDWR;
		void *memory;
		int fd;

		ASSERT_EQ(0, driver_create(self->driver, PAGE, 0, flags[i]));
		fd = driver_export(self->driver);
		ASSERT_LE(0, fd);
		EXPECT_EQ(flags[i] & O_ACCMODE, fcntl(fd, F_GETFL) & O_ACCMODE);
		memory = map_cpu(fd, PAGE);
		EXPECT_EQ(writes, memory != MAP_FAILED);
		if (memory != MAP_FAILED)
			munmap(memory, PAGE);
		close(fd);
		ASSERT_EQ(0, driver_free(self->driver));
	}
}

TEST_F(driver, names)
{
	const struct {
		const char *name;
		int ret;
	} cases[] = {
		{ "", 0 }, { "a frame", 0 }, { "1234567890123456789012345678901", 0 },
		{ "12345678901234567890123456789012", -EINVAL }, { "a\nb", -EINVAL },
		{ "a\"b", -EINVAL }, { "\xff", -EINVAL },
	};
	size_t i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct c_importer_create create = { .len = PAGE, .flags = O_RDWR };

		snprintf(create.name, sizeof(create.name), "%s", cases[i].name);
		ASSERT_EQ(cases[i].ret, call(self->driver, C_IMPORTER_CREATE, &create)) {
			TH_LOG("name '%s'", cases[i].name);
		}
		if (cases[i].ret)
			continue;
		fd = driver_export(self->driver);
		EXPECT_STREQ(cases[i].name, query_fields(fd).name);
		EXPECT_STREQ(cases[i].name, buffer_field(fd, "name"));
		close(fd);
		ASSERT_EQ(0, driver_free(self->driver));
	}
	EXPECT_EQ(self->buffers, settled_buffers(self->buffers));
}

/* --- Declare and allocate ------------------------------------------------- */

/* As CENALLOC_DECLARE: what the kernel knows of a device, and what else it needs. */
TEST_F(driver, declares_its_devices)
{
	struct cenalloc_constraints needs = NEEDS(.max_address = BITS(31));
	struct cenalloc_refusal refusal;
	static struct told told;
	int fd;

	ASSERT_EQ(0, driver_create(self->driver, LEN, 0, O_RDWR));
	fd = driver_export(self->driver);
	ASSERT_EQ(0, driver_declare(self->driver, C_IMPORTER_DISPLAY, NULL, &refusal));
	EXPECT_EQ(0, refusal.cause);
	ASSERT_EQ(0, query(fd, &told));
	ASSERT_EQ(1, told.query.user_count);
	EXPECT_NE(NULL, strstr(told.users[0].name, "cenalloc-display"));
	EXPECT_EQ(CENALLOC_USER_DECLARED, told.users[0].flags);
	EXPECT_EQ(1, told.query.combined.max_segments);
	EXPECT_EQ(BITS(32), told.query.combined.max_address);
	ASSERT_EQ(0, driver_declare(self->driver, C_IMPORTER_CODEC, &needs, &refusal));
	EXPECT_EQ(BITS(31), query_fields(fd).combined.max_address);
	/* Both attach as those that were declared. */
	ASSERT_EQ(0, driver_attach(self->driver, C_IMPORTER_DISPLAY));
	ASSERT_EQ(0, driver_attach(self->driver, C_IMPORTER_CODEC));
	EXPECT_EQ(2, query_fields(fd).user_count);
	close(fd);
}

TEST_F(driver, is_told_why_it_is_refused)
{
	struct cenalloc_constraints none = NEEDS(.access_mask = 1ULL << 50);
	struct cenalloc_refusal refusal, last;
	int fd;

	ASSERT_EQ(0, driver_create(self->driver, LEN, 0, O_RDWR));
	fd = driver_export(self->driver);
	EXPECT_EQ(-EINVAL, driver_declare(self->driver, C_IMPORTER_CODEC, &none, &refusal));
	EXPECT_EQ(CENALLOC_CAUSE_ALLOCATOR, refusal.cause);
	EXPECT_EQ(CENALLOC_FIELD_ACCESS_MASK, refusal.field);
	EXPECT_NE(NULL, strstr(refusal.who, "cenalloc-codec"));
	last = query_fields(fd).refusal;
	EXPECT_EQ(0, memcmp(&refusal, &last, sizeof(last)));
	/* One that comes too late: the memory is high, and mapped. */
	ASSERT_EQ(0, driver_attach(self->driver, C_IMPORTER_CODEC));
	ASSERT_EQ(0, driver_map(self->driver, C_IMPORTER_CODEC, NULL));
	EXPECT_EQ(-EBUSY, driver_declare(self->driver, C_IMPORTER_DISPLAY, NULL, &refusal));
	EXPECT_EQ(CENALLOC_CAUSE_HELD, refusal.cause);
	EXPECT_EQ(CENALLOC_HOLDER_MAPPING, refusal.holder);
	EXPECT_NE(NULL, strstr(refusal.other, "cenalloc-codec"));
	/* A driver may know where memory lies. */
	EXPECT_NE(0, refusal.found);
	close(fd);
}

TEST_F(driver, allocates)
{
	struct cenalloc_refusal refusal;
	int fd = create(LOW_MEMORY);

	ASSERT_EQ(0, driver_create(self->driver, LEN, 0, O_RDWR));
	ASSERT_EQ(0, driver_allocate(self->driver, &refusal));
	EXPECT_EQ(0, refusal.cause);
	ASSERT_EQ(0, driver_free(self->driver));

	ASSERT_EQ(0, declare_needs(fd, "low", NEEDS(.max_address = LOW(24))));
	ASSERT_EQ(0, driver_take(self->driver, fd));
	EXPECT_EQ(-ENOMEM, driver_allocate(self->driver, &refusal));
	EXPECT_EQ(CENALLOC_CAUSE_SHORTAGE, refusal.cause);
	EXPECT_EQ(1, refusal.sequence);
	/* Who does not ask for it is told nothing. */
	EXPECT_EQ(-ENOMEM, driver_allocate(self->driver, NULL));
	EXPECT_EQ(2, query_fields(fd).refusals);
	close(fd);
}

/* Buffers of other exporters are not of cenalloc. */
TEST_F(driver, declares_no_other_buffers)
{
	struct cenalloc_refusal refusal;
	int exporter = open_device("/dev/cenalloc_c_exporter");
	struct exporter_create create = { .len = PAGE };

	ASSERT_EQ(0, call(exporter, EXPORTER_CREATE, &create));
	ASSERT_EQ(0, driver_take(self->driver, create.fd));
	EXPECT_EQ(-EINVAL, driver_declare(self->driver, C_IMPORTER_CODEC, NULL, &refusal));
	EXPECT_EQ(0, refusal.cause);
	EXPECT_EQ(-EINVAL, driver_allocate(self->driver, &refusal));
	EXPECT_EQ(0, refusal.cause);
	close(create.fd);
	close(exporter);
}

/* --- References ----------------------------------------------------------- */

TEST_F(driver, a_descriptor_keeps_the_buffer)
{
	char *memory;
	int fd;

	ASSERT_EQ(0, driver_create(self->driver, LEN, 0, O_RDWR));
	ASSERT_EQ(0, driver_fill(self->driver, 0x3c));
	fd = driver_export(self->driver);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, driver_free(self->driver));
	EXPECT_EQ(self->buffers + 1, count_buffers());
	memory = map_cpu(fd, LEN);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_TRUE(is_filled(memory, 0x3c, LEN));
	munmap(memory, LEN);
	close(fd);
	EXPECT_EQ(self->buffers, settled_buffers(self->buffers));
}

TEST_F(driver, the_driver_keeps_the_buffer)
{
	int fd;

	ASSERT_EQ(0, driver_create(self->driver, LEN, 0, O_RDWR));
	fd = driver_export(self->driver);
	ASSERT_LE(0, fd);
	close(fd);
	EXPECT_EQ(self->buffers + 1, settled_buffers(self->buffers + 1));
	ASSERT_EQ(0, driver_free(self->driver));
	EXPECT_EQ(self->buffers, settled_buffers(self->buffers));
}

/* Whoever made the buffer; the call looks at no argument. */
TEST_F(driver, free_gives_one_reference_back)
{
	int fd, arg;

	for (arg = 0; arg < 2; arg++) {
		ASSERT_EQ(0, driver_create(self->driver, PAGE, 0, O_RDWR));
		fd = driver_export(self->driver);
		ASSERT_LE(0, fd);
		EXPECT_EQ(2, count_references(fd));
		ASSERT_EQ(0, call_number(self->driver, C_IMPORTER_FREE, arg));
		EXPECT_EQ(1, count_references(fd));
		ASSERT_EQ(0, driver_take(self->driver, fd));
		EXPECT_EQ(2, count_references(fd));
		ASSERT_EQ(0, call_number(self->driver, C_IMPORTER_FREE, arg));
		EXPECT_EQ(1, count_references(fd));
		close(fd);
	}
}

/* Userspace has the same buffer: it can declare, allocate and query. */
TEST_F(driver, userspace_sees_the_same_buffer)
{
	static struct told told;
	int fd;

	ASSERT_EQ(0, driver_create(self->driver, LEN, 0, O_RDWR));
	fd = driver_export(self->driver);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, driver_attach(self->driver, C_IMPORTER_DISPLAY));
	ASSERT_EQ(0, driver_attach(self->driver, C_IMPORTER_CODEC));
	ASSERT_EQ(0, query(fd, &told));
	EXPECT_EQ(CENALLOC_STATE_EMPTY, told.query.state);
	EXPECT_EQ(LEN, told.query.len);
	EXPECT_EQ(1, told.query.combined.max_segments);
	EXPECT_EQ(BITS(32), told.query.combined.max_address);
	EXPECT_EQ(2, told.query.user_count);
	EXPECT_NE(NULL, told_user(&told, "cenalloc-display"));
	ASSERT_NE(NULL, told_user(&told, "cenalloc-codec"));
	EXPECT_EQ(64 * KIB, told_user(&told, "cenalloc-codec")->constraints.max_segment_size);
	ASSERT_EQ(0, allocate(fd));
	EXPECT_EQ(CENALLOC_STATE_BACKED, query_fields(fd).state);
	close(fd);
}

/* --- Late joiners --------------------------------------------------------- */

TEST_F(driver, the_display_comes_late)
{
	struct c_importer_seen codec, display;

	ASSERT_EQ(0, driver_create(self->driver, LEN, 0, O_RDWR));
	ASSERT_EQ(0, driver_attach(self->driver, C_IMPORTER_CODEC));
	ASSERT_EQ(0, driver_map(self->driver, C_IMPORTER_CODEC, &codec));
	ASSERT_LE(1ULL << 32, codec.last_address);
	EXPECT_EQ(-EBUSY, driver_attach(self->driver, C_IMPORTER_DISPLAY));
	ASSERT_EQ(0, driver_unmap(self->driver, C_IMPORTER_CODEC));
	ASSERT_EQ(0, driver_attach(self->driver, C_IMPORTER_DISPLAY));
	ASSERT_EQ(0, driver_map(self->driver, C_IMPORTER_DISPLAY, &display));
	EXPECT_GE(BITS(32), display.last_address);
}

/* --- Where the memory lies ------------------------------------------------ */

TEST_F(driver, empty_buffer_lies_nowhere)
{
	struct c_importer_phys phys = { .addr = 0x1234, .len = 0x5678 };
	struct c_importer_pages pages;

	ASSERT_EQ(0, driver_create(self->driver, LEN, 0, O_RDWR));
	EXPECT_EQ(-ENODATA, driver_phys(self->driver, &phys));
	EXPECT_EQ(0x1234, phys.addr);
	EXPECT_EQ(0x5678, phys.len);
	EXPECT_EQ(-ENODATA, driver_pages(self->driver, 0, NULL, &pages));
	/* Attached devices are no memory. */
	ASSERT_EQ(0, driver_attach(self->driver, C_IMPORTER_DISPLAY));
	EXPECT_EQ(-ENODATA, driver_phys(self->driver, &phys));
	EXPECT_EQ(-ENODATA, driver_pages(self->driver, 0, NULL, &pages));
	/* Nor has anybody been told. */
	EXPECT_EQ(0, driver_map(self->driver, C_IMPORTER_DISPLAY, NULL));
}

TEST_F(driver, contiguous_buffer)
{
	struct c_importer_phys phys = {};
	struct c_importer_pages pages;
	struct c_importer_seen seen;

	ASSERT_EQ(0, driver_create(self->driver, LEN - 1, 0, O_RDWR));
	ASSERT_EQ(0, driver_attach(self->driver, C_IMPORTER_DISPLAY));
	ASSERT_EQ(0, driver_map(self->driver, C_IMPORTER_DISPLAY, &seen));
	ASSERT_EQ(0, driver_phys(self->driver, &phys));
	EXPECT_EQ(seen.first_address, phys.addr);
	EXPECT_EQ(LEN, phys.len);
	ASSERT_EQ(0, driver_pages(self->driver, 0, NULL, &pages));
	EXPECT_EQ(1, pages.seen.segments);
	EXPECT_EQ(phys.addr, pages.seen.first_address);
	EXPECT_EQ(LEN, pages.seen.len);
}

/* Longer than the largest block: almost always in several ranges. Many are tried. */
#define SCATTERED	(4 * MIB + 3 * PAGE)

static int create_scattered(int *driver)
{
	struct c_importer_pages pages;
	int tries, fd;

	for (tries = 0; tries < 8; tries++) {
		fd = create(SCATTERED);
		*driver = open_driver();
		if (fd < 0 || *driver < 0 || allocate(fd) || driver_take(*driver, fd) ||
		    driver_pages(*driver, 0, NULL, &pages))
			return -1;
		if (pages.seen.segments > 1)
			return fd;
		/* It stays, so that the next one finds other pages. */
	}
	return -1;
}

TEST_F(driver, scattered_buffer)
{
	struct c_importer_phys phys = { .addr = 0x1234, .len = 0x5678 };
	const __u64 start = SCATTERED - 4 * PAGE;
	static char bytes[16384], read[16384];
	struct c_importer_pages pages;
	char *memory;
	int driver, fd = create_scattered(&driver);
	__u64 offset;

	ASSERT_LE(0, fd);
	EXPECT_EQ(-EINVAL, driver_phys(driver, &phys));
	EXPECT_EQ(0x1234, phys.addr);
	EXPECT_EQ(0x5678, phys.len);
	/* The pages come in the order of the bytes. */
	memory = map_cpu(fd, SCATTERED);
	ASSERT_NE(MAP_FAILED, memory);
	fill_bytes(memory + start, 4 * PAGE, 7);
	for (offset = 0; offset < 4 * PAGE; offset += PAGE) {
		ASSERT_EQ(0, driver_pages(driver, start + offset, read, &pages));
		EXPECT_EQ(PAGE, pages.len);
		memcpy(bytes + offset, read, PAGE);
	}
	EXPECT_EQ(0, wrong_bytes(bytes, 4 * PAGE, 7));
	EXPECT_EQ(SCATTERED, pages.seen.len);
	ASSERT_EQ(0, driver_pages(driver, SCATTERED, read, &pages));
	EXPECT_EQ(0, pages.len);
	munmap(memory, SCATTERED);
}

TEST_F(driver, another_exporters_buffer)
{
	struct c_importer_phys phys = { .addr = 0x1234, .len = 0x5678 };
	struct exporter_create create = { .len = PAGE };
	struct exporter_state state = {};
	struct c_importer_pages pages;
	int exporter = open_device("/dev/cenalloc_c_exporter");

	ASSERT_LE(0, exporter);
	ASSERT_EQ(0, call(exporter, EXPORTER_CREATE, &create));
	ASSERT_EQ(0, driver_take(self->driver, create.fd));
	EXPECT_EQ(-EINVAL, driver_phys(self->driver, &phys));
	EXPECT_EQ(0x1234, phys.addr);
	EXPECT_EQ(0x5678, phys.len);
	EXPECT_EQ(-EINVAL, driver_pages(self->driver, 0, NULL, &pages));
	ASSERT_EQ(0, driver_attach(self->driver, C_IMPORTER_DISPLAY));
	ASSERT_EQ(0, driver_map(self->driver, C_IMPORTER_DISPLAY, NULL));
	EXPECT_EQ(-EINVAL, driver_phys(self->driver, &phys));
	EXPECT_EQ(-EINVAL, driver_pages(self->driver, 0, NULL, &pages));
	/* It is left alone: the descriptor and the driver still have their references. */
	EXPECT_EQ(2, count_references(create.fd));
	ASSERT_EQ(0, call_number(self->driver, C_IMPORTER_FREE_FOREIGN, 0));
	EXPECT_EQ(2, count_references(create.fd));
	ASSERT_EQ(0, driver_free(self->driver));
	EXPECT_EQ(1, count_references(create.fd));
	state.fd = create.fd;
	EXPECT_EQ(0, call(exporter, EXPORTER_STATE, &state));
	EXPECT_EQ((off_t)PAGE, lseek(create.fd, 0, SEEK_END));
	close(create.fd);
	close(exporter);
}

/* --- Memory that somebody knows stays where it is -------------------------- */

/* A buffer of @driver above 4 GiB that nobody uses; returns its descriptor. */
static int create_high(int driver)
{
	int fd = create(LEN);

	if (fd < 0 || allocate(fd) || driver_take(driver, fd))
		return -1;
	return fd;
}

#define NARROW	DEVICE(.name = "low", .dma_mask = BITS(32))

TEST_F(driver, moves_while_nobody_was_told)
{
	int fd = create_high(self->driver);

	ASSERT_LE(0, fd);
	EXPECT_LE(0, join(self->importer, fd, NARROW));
	EXPECT_EQ(1, query_fields(fd).relocations);
}

TEST_F(driver, stays_after_sg_table)
{
	struct c_importer_pages before, after;
	int fd = create_high(self->driver);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, driver_pages(self->driver, 0, NULL, &before));
	ASSERT_LE(1ULL << 32, before.seen.last_address);
	check_refused(_metadata, self->importer, fd, NARROW, -EBUSY,
		      "*low.* needs addresses below 4 GiB, the memory is at *");
	ASSERT_EQ(0, driver_pages(self->driver, 0, NULL, &after));
	EXPECT_EQ(0, memcmp(&before, &after, sizeof(before)));
	EXPECT_EQ(0, query_fields(fd).relocations);
	/* Whom it suits may still come. */
	EXPECT_LE(0, join(self->importer, fd, DEVICE()));
}

TEST_F(driver, stays_after_phys)
{
	struct c_importer_phys before = {}, after = {};
	int attachment, fd = create(LEN);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, driver_take(self->driver, fd));
	attachment = join(self->importer, fd, DEVICE(.max_segments = 1));
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, allocate(fd));
	ASSERT_EQ(0, detach(self->importer, attachment));
	ASSERT_EQ(0, driver_phys(self->driver, &before));
	ASSERT_LE(1ULL << 32, before.addr);
	check_refused(_metadata, self->importer, fd, NARROW, -EBUSY,
		      "*low.* needs addresses below 4 GiB, the memory is at *");
	ASSERT_EQ(0, driver_phys(self->driver, &after));
	EXPECT_EQ(before.addr, after.addr);
	/* Until it is freed: that the driver gave up its reference changes nothing. */
	ASSERT_EQ(0, driver_free(self->driver));
	EXPECT_EQ(-EBUSY, join(self->importer, fd, NARROW));
}

/* Who was told nothing has nothing to rely on. */
TEST_F(driver, failed_phys_does_not_hold)
{
	struct c_importer_phys phys = {};
	int i, driver, fd;

	/* As above, but the table would hold it. */
	for (i = 0; i < 8; i++) {
		fd = create(SCATTERED);
		driver = open_driver();
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, allocate(fd));
		ASSERT_EQ(0, driver_take(driver, fd));
		if (driver_phys(driver, &phys) == -EINVAL)
			break;
	}
	ASSERT_GT(8, i);
	EXPECT_LE(0, join(self->importer, fd, NARROW));
	EXPECT_EQ(1, query_fields(fd).relocations);
}

/* --- Everything at once --------------------------------------------------- */

struct race {
	int driver;
	int importer;
	int device;
	int fd;
	unsigned int late;	/* microseconds by which the one who asks starts later */
	bool stop;
	__u64 told;
	unsigned int moves;
	unsigned int wrong;
};

/* Asks where the buffer is. What was once told stays true. */
static void *ask_phys(void *argument)
{
	struct race *race = argument;
	struct c_importer_phys phys;

	usleep(race->late);
	while (!__atomic_load_n(&race->stop, __ATOMIC_RELAXED)) {
		if (driver_phys(race->driver, &phys))
			continue;
		if (!race->told)
			race->told = phys.addr;
		race->wrong += phys.addr != race->told;
	}
	return NULL;
}

/* Wants it elsewhere. */
static void *want_low(void *argument)
{
	struct race *race = argument;
	int attachment;

	while (!__atomic_load_n(&race->stop, __ATOMIC_RELAXED)) {
		attachment = attach(race->importer, race->device, race->fd);
		if (attachment < 0)
			continue;
		race->moves++;
		detach(race->importer, attachment);
	}
	return NULL;
}

TEST_F(driver, told_once_and_for_all)
{
	unsigned int told = 0, moves = 0;
	pthread_t ask, want;
	int round;

	for (round = 0; round < 40; round++) {
		struct race race = {
			.driver = open_driver(),
			.importer = open_importer(),
			.fd = create(PAGE),
			.late = round % 2 ? 5000 * slower() : 0,
		};

		race.device = add_device(race.importer, NARROW);
		ASSERT_LE(0, race.device);
		ASSERT_EQ(0, allocate(race.fd));
		ASSERT_EQ(0, driver_take(race.driver, race.fd));
		ASSERT_EQ(0, pthread_create(&ask, NULL, ask_phys, &race));
		ASSERT_EQ(0, pthread_create(&want, NULL, want_low, &race));
		usleep(10000 * slower());
		__atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
		pthread_join(ask, NULL);
		pthread_join(want, NULL);
		EXPECT_EQ(0, race.wrong);
		told += race.told != 0;
		moves += race.moves;
		close(race.fd);
		close(race.driver);
		close(race.importer);
	}
	/* Both came first now and then. */
	EXPECT_NE(0, told);
	EXPECT_NE(0, moves);
}

/* --- Modules -------------------------------------------------------------- */

TEST_F(driver, keeps_cenalloc_loaded)
{
	EXPECT_EQ(-EWOULDBLOCK, unload("cenalloc"));
	EXPECT_EQ(-EWOULDBLOCK, unload("dma_buf_constraints"));
	/* An open file keeps the driver. */
	EXPECT_EQ(-EWOULDBLOCK, unload("cenalloc_c_importer"));
}

TEST_F(driver, may_go_before_its_buffers)
{
	char *memory;
	int fd;

	ASSERT_EQ(0, driver_create(self->driver, LEN, 0, O_RDWR));
	fd = driver_export(self->driver);
	ASSERT_LE(0, fd);
	close(self->driver);
	ASSERT_EQ(0, unload_patiently("cenalloc_c_importer"));
	memory = map_cpu(fd, LEN);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_EQ(0, touch(memory, true));
	munmap(memory, LEN);
	close(fd);
	ASSERT_EQ(0, load("cenalloc_c_importer"));
	self->driver = open_driver();
	ASSERT_LE(0, self->driver);
}

/* --- The driver itself ---------------------------------------------------- */

TEST_F(driver, steps_out_of_order)
{
	struct c_importer_map map = { .device = C_IMPORTER_DEVICES };

	EXPECT_EQ(-ENODATA, driver_export(self->driver));
	EXPECT_EQ(-ENODATA, driver_attach(self->driver, 0));
	ASSERT_EQ(0, driver_create(self->driver, PAGE, 0, O_RDWR));
	EXPECT_EQ(-EBUSY, driver_create(self->driver, PAGE, 0, O_RDWR));
	EXPECT_EQ(-EBUSY, driver_take(self->driver, 0));
	EXPECT_EQ(-EINVAL, driver_attach(self->driver, C_IMPORTER_DEVICES));
	EXPECT_EQ(-EINVAL, driver_map(self->driver, 0, NULL));
	EXPECT_EQ(-EINVAL, call(self->driver, C_IMPORTER_MAP, &map));
	EXPECT_EQ(-EINVAL, driver_unmap(self->driver, 0));
	EXPECT_EQ(-EINVAL, driver_detach(self->driver, 0));
	EXPECT_EQ(-EINVAL, call_number(self->driver, C_IMPORTER_FREE_FOREIGN, 0));
	ASSERT_EQ(0, driver_attach(self->driver, 0));
	EXPECT_EQ(-EBUSY, driver_attach(self->driver, 0));
	EXPECT_EQ(-EINVAL, driver_unmap(self->driver, 0));
	ASSERT_EQ(0, driver_map(self->driver, 0, NULL));
	EXPECT_EQ(-EBUSY, driver_map(self->driver, 0, NULL));
	EXPECT_EQ(-ENOTTY, call_number(self->driver, _IO('K', 0x7f), 0));
	/* The file goes with the device mapped. */
}

/* --- The samples in C ----------------------------------------------------- */

TEST_F(driver, sample_driver)
{
	ASSERT_EQ(0, load("cenalloc_c_driver"));
	EXPECT_EQ(0, access("/sys/bus/platform/drivers/cenalloc_c_driver/cenalloc_c_driver", F_OK));
	EXPECT_EQ(self->buffers + 1, count_buffers());
	EXPECT_EQ(0, unload("cenalloc_c_driver"));
}

TEST_F(driver, sample_allocator)
{
	char *memory;
	int fd;

	ASSERT_EQ(0, load("cenalloc_plain"));
	fd = create(MIB);
	ASSERT_EQ(0, declare_needs(fd, "needs",
				   NEEDS(.access_mask = find_allocator("plain").access_mask)));
	memory = map_cpu(fd, MIB);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_TRUE(is_filled(memory, 0, MIB));
	EXPECT_STREQ("plain", query_fields(fd).allocator);
	munmap(memory, MIB);
	close(fd);
	EXPECT_EQ(0, unload_patiently("cenalloc_plain"));
}

int main(int argc, char **argv)
{
	return run_with_modules(argc, argv);
}
