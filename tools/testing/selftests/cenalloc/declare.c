// SPDX-License-Identifier: GPL-2.0
/* Users that are declared before they attach: CENALLOC_DECLARE. */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "camera.h"
#include "modules.h"

#define LEN		(256 * KIB)
#define DECLARE_OF(size)	_IOC(_IOC_READ | _IOC_WRITE, CENALLOC_IOC_MAGIC, 3, size)
#define BUFFER_LEN	LEN
#include "buffer_fixture.h"

static struct mapping one;
static struct told told;

/* A device of the importer by its whole name, and its handle. */
static int named_device(int importer, struct importer_add add, char *name, size_t size)
{
	static unsigned int number;
	int device;

	snprintf(add.name, sizeof(add.name), "named%d-%u", getpid(), number++);
	device = add_device(importer, add);
	if (device >= 0 && !find_device("platform", add.name, name, size))
		return -ENOENT;
	return device;
}

/* --- Devices -------------------------------------------------------------- */

TEST_F(buffer, device_narrows_as_if_attached)
{
	char name[64];
	int device = named_device(self->importer,
				  DEVICE(.LIMIT = LOW(30), .max_segments = 4,
					 .max_segment_size = 128 * KIB, .alignment = 8192),
				  name, sizeof(name));
	struct cenalloc_user declared;
	int attachment;

	ASSERT_LE(0, device);
	ASSERT_EQ(0, declare_device(self->fd, "platform", name));
	ASSERT_EQ(0, query(self->fd, &told));
	ASSERT_EQ(1, told.query.user_count);
	declared = told.users[0];
	EXPECT_EQ(CENALLOC_USER_DECLARED, declared.flags);
	EXPECT_NE(NULL, strstr(declared.name, name));
	EXPECT_EQ(LOW(30), declared.constraints.max_address);
	EXPECT_EQ(4, declared.constraints.max_segments);
	EXPECT_EQ(128 * KIB, declared.constraints.max_segment_size);
	EXPECT_EQ(8192, declared.constraints.alignment);
	EXPECT_EQ(0, memcmp(&declared.constraints, &told.query.combined,
			    sizeof(told.query.combined)));
	EXPECT_EQ(CENALLOC_STATE_EMPTY, told.query.state);

	/* Its attachment changes nothing but that it is one. */
	attachment = attach(self->importer, device, self->fd);
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, query(self->fd, &told));
	ASSERT_EQ(1, told.query.user_count);
	EXPECT_EQ(CENALLOC_USER_DECLARED | CENALLOC_USER_ATTACHED, told.users[0].flags);
	EXPECT_EQ(0, memcmp(&declared.constraints, &told.users[0].constraints,
			    sizeof(declared.constraints)));
	EXPECT_EQ(0, memcmp(&declared.constraints, &told.query.combined,
			    sizeof(told.query.combined)));

	/* Nor does its going, and it may come back. */
	ASSERT_EQ(0, detach(self->importer, attachment));
	ASSERT_EQ(0, query(self->fd, &told));
	ASSERT_EQ(1, told.query.user_count);
	EXPECT_EQ(CENALLOC_USER_DECLARED, told.users[0].flags);
	EXPECT_EQ(LOW(30), told.query.combined.max_address);
	attachment = attach(self->importer, device, self->fd);
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(self->importer, attachment, &one));
	EXPECT_LE(last_address(&one), LOW(30));
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_EQ(1, told.query.user_count);
	EXPECT_EQ(CENALLOC_USER_DECLARED | CENALLOC_USER_ATTACHED | CENALLOC_USER_MAPPED |
		  CENALLOC_USER_PINNED, told.users[0].flags);
}

/* Memory came and is in use; who was declared attaches all the same. */
TEST_F(buffer, declared_device_is_never_too_late)
{
	char name[64];
	int device = named_device(self->importer,
				  DEVICE(.LIMIT = LOW(28), .max_segments = 1),
				  name, sizeof(name));
	int first = join(self->importer, self->fd, DEVICE()), late;

	ASSERT_LE(0, device);
	ASSERT_EQ(0, declare_device(self->fd, "platform", name));
	ASSERT_LE(0, first);
	ASSERT_EQ(0, map(self->importer, first, NULL));
	late = attach(self->importer, device, self->fd);
	ASSERT_LE(0, late);
	EXPECT_EQ(0, query_fields(self->fd).relocations);
	EXPECT_EQ(0, query_fields(self->fd).late_refusals);
	ASSERT_EQ(0, map(self->importer, late, &one));
	EXPECT_EQ(1, one.count);
	EXPECT_LE(last_address(&one), LOW(28));
}

TEST_F(buffer, needs_come_on_top_of_the_device)
{
	char name[64];
	int device = named_device(self->importer, DEVICE(.dma_mask = BITS(32)), name, sizeof(name));

	ASSERT_LE(0, device);
	ASSERT_EQ(0, declare_device_with(self->fd, "platform", name,
					 NEEDS(.max_segments = 1, .max_address = BITS(40))));
	EXPECT_EQ(1, query_fields(self->fd).combined.max_segments);
	EXPECT_EQ(BITS(32), query_fields(self->fd).combined.max_address);
	/* They bind it when it attaches, too. */
	ASSERT_LE(0, attach(self->importer, device, self->fd));
	EXPECT_EQ(1, query_fields(self->fd).user_count);
	EXPECT_EQ(1, query_fields(self->fd).combined.max_segments);
}

/* Each declaration is one attachment's; what attaches beyond them is a user of its own. */
TEST_F(buffer, same_device_declared_twice)
{
	char name[64];
	int device = named_device(self->importer, DEVICE(.dma_mask = BITS(32)), name, sizeof(name));
	int i;

	ASSERT_LE(0, device);
	/* The second says nothing new. */
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, declare_device(self->fd, "platform", name));
		EXPECT_EQ(1, query_fields(self->fd).user_count);
	}
	for (i = 0; i < 3; i++) {
		ASSERT_LE(0, attach(self->importer, device, self->fd));
		EXPECT_EQ(1 + i, query_fields(self->fd).user_count);
	}
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, detach(self->importer, i));
	EXPECT_EQ(1, query_fields(self->fd).user_count);
	/* One with other needs does. */
	ASSERT_EQ(0, declare_device_with(self->fd, "platform", name, NEEDS(.alignment = 8192)));
	EXPECT_EQ(2, query_fields(self->fd).user_count);
	/* All of them go with the device. */
	ASSERT_EQ(0, call_number(self->importer, IMPORTER_REMOVE, device));
	EXPECT_EQ(0, query_fields(self->fd).user_count);
	EXPECT_EQ(0, query_fields(self->fd).combined.max_address);
}

TEST_F(buffer, two_buffers_one_device)
{
	char name[64];
	int device = named_device(self->importer, DEVICE(.dma_mask = BITS(32)), name, sizeof(name));
	int other = create(LEN);

	ASSERT_LE(0, device);
	ASSERT_LE(0, other);
	ASSERT_EQ(0, declare_device(self->fd, "platform", name));
	ASSERT_EQ(0, declare_device(other, "platform", name));
	close(other);
	/* The other's declaration went with it, this one's stays. */
	EXPECT_EQ(BITS(32), query_fields(self->fd).combined.max_address);
	ASSERT_EQ(0, call_number(self->importer, IMPORTER_REMOVE, device));
	EXPECT_EQ(0, query_fields(self->fd).user_count);
}

/* Nothing is left of a device for buffers that are gone, and no module is kept for it. */
TEST_F(buffer, closed_buffers_leave_nothing_of_a_device)
{
	int users = count_module_users("cenalloc");
	char name[64];
	int device = named_device(self->importer, DEVICE(), name, sizeof(name)), i, j;

	ASSERT_LE(0, device);
	for (i = 0; i < 30; i++) {
		int fd = create(PAGE);

		for (j = 0; j < 3; j++)
			ASSERT_EQ(0, declare_device(fd, "platform", name));
		close(fd);
	}
	EXPECT_EQ(users, settled_module_users("cenalloc", users));
	ASSERT_EQ(0, call_number(self->importer, IMPORTER_REMOVE, device));
	EXPECT_EQ(users, count_module_users("cenalloc"));
}

TEST_F(buffer, device_goes_and_comes_back)
{
	char name[64];
	int device = named_device(self->importer, DEVICE(.LIMIT = LOW(24)), name, sizeof(name));

	ASSERT_LE(0, device);
	ASSERT_EQ(0, declare_device(self->fd, "platform", name));
	EXPECT_EQ(LOW(24), query_fields(self->fd).combined.max_address);
	ASSERT_EQ(0, call_number(self->importer, IMPORTER_REMOVE, device));
	EXPECT_EQ(0, query_fields(self->fd).combined.max_address);
	EXPECT_EQ(0, query_fields(self->fd).user_count);
	EXPECT_EQ(-ENODEV, declare_device(self->fd, "platform", name));
	EXPECT_EQ(0, query_fields(self->fd).user_count);
}

/* --- Drivers that unbind -------------------------------------------------- */

TEST_F(buffer, declaration_goes_when_edu_unbinds)
{
	const char *edu = edu_name();
	int importer;

	ASSERT_STRNE("", edu);
	ASSERT_EQ(0, declare_device(self->fd, "pci", edu));
	EXPECT_EQ(edu_reach(), query_fields(self->fd).combined.max_address);
	ASSERT_EQ(0, rebind("pci", "cenalloc_edu", edu, "unbind"));
	EXPECT_EQ(0, query_fields(self->fd).user_count);
	EXPECT_EQ(0, query_fields(self->fd).combined.max_address);

	/* Without a driver nobody knows what it needs, and nothing happens for it. */
	EXPECT_EQ(-ENODEV, declare_device(self->fd, "pci", edu));
	EXPECT_EQ(0, query_fields(self->fd).user_count);
	importer = open_importer();
	ASSERT_LE(0, join(importer, self->fd, DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM)));
	ASSERT_EQ(0, allocate(self->fd));
	EXPECT_EQ(-ENODEV, declare_device(self->fd, "pci", edu));
	EXPECT_EQ(0, query_fields(self->fd).relocations);
	EXPECT_EQ(0, query_fields(self->fd).late_refusals);
	EXPECT_EQ(0, query_fields(self->fd).refusal.cause);
	close(importer);

	ASSERT_EQ(0, rebind("pci", "cenalloc_edu", edu, "bind"));
	EXPECT_EQ(0, query_fields(self->fd).user_count);
	EXPECT_EQ(0, declare_device(self->fd, "pci", edu));
	EXPECT_EQ(edu_reach(), query_fields(self->fd).combined.max_address);
}

TEST_F(buffer, declaration_goes_when_vivid_unbinds)
{
	ASSERT_EQ(0, declare_device_with(self->fd, "platform", "vivid.0",
					 NEEDS(.max_segments = 1)));
	EXPECT_EQ(1, query_fields(self->fd).combined.max_segments);
	EXPECT_EQ(BITS(32), query_fields(self->fd).combined.max_address);
	ASSERT_EQ(0, rebind("platform", "vivid", "vivid.0", "unbind"));
	EXPECT_EQ(0, query_fields(self->fd).user_count);
	EXPECT_EQ(0, query_fields(self->fd).combined.max_segments);
	EXPECT_EQ(-ENODEV, declare_device(self->fd, "platform", "vivid.0"));
	ASSERT_EQ(0, rebind("platform", "vivid", "vivid.0", "bind"));
	EXPECT_EQ(0, declare_device(self->fd, "platform", "vivid.0"));
}

/* The driver lets go of the buffer first, and then the declaration goes. */
TEST_F(buffer, unbinds_while_attached_and_mapped)
{
	struct edu_map edu_map = {};
	const char *edu = edu_name();
	int device = open_device("/dev/cenalloc_edu");

	ASSERT_LE(0, device);
	ASSERT_EQ(0, declare_device(self->fd, "pci", edu));
	ASSERT_EQ(0, call_number(device, EDU_ATTACH, self->fd));
	ASSERT_EQ(0, call(device, EDU_MAP, &edu_map));
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_EQ(1, told.query.user_count);
	EXPECT_EQ(CENALLOC_USER_DECLARED | CENALLOC_USER_ATTACHED | CENALLOC_USER_MAPPED |
		  CENALLOC_USER_PINNED, told.users[0].flags);
	ASSERT_EQ(0, rebind("pci", "cenalloc_edu", edu, "unbind"));
	EXPECT_EQ(0, query_fields(self->fd).user_count);
	EXPECT_EQ(CENALLOC_STATE_BACKED, query_fields(self->fd).state);
	close(device);
	ASSERT_EQ(0, rebind("pci", "cenalloc_edu", edu, "bind"));
}

/* --- The kernel's story: all users first, and nobody is refused ------------ */

TEST(camera_and_edu_declared_before_the_cpu)
{
	unsigned char pixel[4] = {}, *frames[2];
	struct edu_transfer transfer = { .len = sizeof(pixel), .direction = EDU_FROM_DEVICE };
	struct edu_map edu_map = { .segments = (uintptr_t)one.segments, .count = SEGMENTS };
	int camera = open_camera(0), edu = open_device("/dev/cenalloc_edu"), fds[2], i, len;

	ASSERT_LE(0, edu);
	len = set_up(camera, RED);
	ASSERT_EQ(3 * WIDTH * HEIGHT, len);
	for (i = 0; i < 2; i++) {
		fds[i] = create(len);
		ASSERT_LE(0, fds[i]);
		ASSERT_EQ(0, declare_device_with(fds[i], "platform", "vivid.0",
						 NEEDS(.max_segments = 1)));
		ASSERT_EQ(0, declare_device(fds[i], "pci", edu_name()));
		frames[i] = map_cpu(fds[i], len);
		ASSERT_NE(MAP_FAILED, frames[i]);
		/* The CPU comes first, and takes what suits all. */
		memset(frames[i], 0x55, len);
	}
	ASSERT_EQ(0, request(camera, 2));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, queue(camera, i, fds[i]));
	ASSERT_EQ(0, stream(camera, true));
	for (i = 0; i < 2; i++)
		ASSERT_LE(0, dequeue(camera));
	ASSERT_EQ(0, call_number(edu, EDU_ATTACH, fds[1]));
	ASSERT_EQ(0, call(edu, EDU_MAP, &edu_map));
	one.count = edu_map.count;
	EXPECT_EQ(1, one.count);
	EXPECT_LE(last_address(&one), LOW(28));
	/* A pixel that the camera took crosses the bus to edu and back to another. */
	EXPECT_LE(230, frames[1][0]);
	EXPECT_GE(25, frames[1][1]);
	transfer.direction = EDU_TO_DEVICE;
	transfer.offset = 3;
	transfer.len = 3;
	memcpy(pixel, frames[1] + 3, 3);
	ASSERT_EQ(0, call(edu, EDU_TRANSFER, &transfer));
	transfer.direction = EDU_FROM_DEVICE;
	transfer.offset = 3 * WIDTH;
	memset(frames[1] + 3 * WIDTH, 0, 3);
	ASSERT_EQ(0, call(edu, EDU_TRANSFER, &transfer));
	EXPECT_EQ(0, memcmp(pixel, frames[1] + 3 * WIDTH, 3));
	for (i = 0; i < 2; i++) {
		struct cenalloc_query query = query_fields(fds[i]);

		EXPECT_STREQ("system-contig", query.allocator);
		EXPECT_EQ(2, query.user_count);
		EXPECT_EQ(0, query.late_refusals);
		EXPECT_EQ(0, query.relocations);
		EXPECT_EQ(0, query.refusal.cause);
	}
	EXPECT_EQ(0, stream(camera, false));
	close(edu);
	close(camera);
	for (i = 0; i < 2; i++) {
		munmap(frames[i], len);
		close(fds[i]);
	}
}

/* --- Needs without a device ----------------------------------------------- */

TEST_F(buffer, needs_without_a_device)
{
	const struct cenalloc_constraints needs = {
		.access_mask = 3,
		.max_address = LOW(30),
		.max_segment_size = 64 * KIB,
		.segment_boundary_mask = BITS(20),
		.alignment = 16 * KIB,
		.max_segments = 20,
	};

	ASSERT_EQ(0, declare_needs(self->fd, "an encoder", needs));
	ASSERT_EQ(0, query(self->fd, &told));
	ASSERT_EQ(1, told.query.user_count);
	/* What a program says is told as such. */
	EXPECT_STREQ("program an encoder", told.users[0].name);
	EXPECT_EQ(0, memcmp(&needs, &told.users[0].constraints, sizeof(needs)));
	EXPECT_EQ(CENALLOC_USER_DECLARED, told.users[0].flags);
	EXPECT_EQ(0, memcmp(&needs, &told.query.combined, sizeof(needs)));
	/* They stay as long as the buffer, under a name of no importance. */
	ASSERT_EQ(0, declare_needs(self->fd, "", NEEDS()));
	ASSERT_EQ(0, declare_needs(self->fd, "an encoder", NEEDS(.max_segments = 8)));
	EXPECT_EQ(3, query_fields(self->fd).user_count);
	EXPECT_EQ(8, query_fields(self->fd).combined.max_segments);
}

/* --- Refusals ------------------------------------------------------------- */

TEST_F(buffer, refusal_tells_both)
{
	static struct snapshot before, after;
	struct cenalloc_query query;

	ASSERT_EQ(0, declare_needs(self->fd, "first", NEEDS(.access_mask = 1)));
	snapshot(self->fd, &before);
	EXPECT_EQ(-EINVAL, declare_needs(self->fd, "second", NEEDS(.access_mask = 2)));
	EXPECT_STREQ(before.text, snapshot(self->fd, &after)->text);
	query = query_fields(self->fd);
	EXPECT_EQ(CENALLOC_CAUSE_USER, query.refusal.cause);
	EXPECT_EQ(CENALLOC_FIELD_ACCESS_MASK, query.refusal.field);
	EXPECT_EQ(2, query.refusal.wanted);
	EXPECT_EQ(1, query.refusal.found);
	EXPECT_STREQ("program second", query.refusal.who);
	EXPECT_STREQ("program first", query.refusal.other);
	EXPECT_REFUSAL(self->fd,
		       "program second needs memory of class system-contig, *program first needs memory of class system");
	/* Nobody came too late. */
	EXPECT_EQ(0, query.late_refusals);
	/* A device is refused for what was declared. */
	check_refused(_metadata, self->importer, self->fd,
		      DEVICE(.name = "third", .access_mask = 2), -EINVAL,
		      "*third* needs memory of class system-contig, *program first needs memory of class system");
}

TEST_F(buffer, never_fits_what_allocators_give)
{
	EXPECT_EQ(-EINVAL, declare_needs(self->fd, "exotic", NEEDS(.access_mask = 1ULL << 50)));
	EXPECT_EQ(CENALLOC_CAUSE_ALLOCATOR, query_fields(self->fd).refusal.cause);
	EXPECT_EQ(-EINVAL, declare_needs(self->fd, "small", NEEDS(.max_address = 8191)));
	EXPECT_EQ(CENALLOC_CAUSE_ITSELF, query_fields(self->fd).refusal.cause);
	EXPECT_EQ(0, query_fields(self->fd).user_count);
}

/* As an attachment: memory moves for it if nobody holds it, and stays otherwise. */
TEST_F(buffer, declared_late)
{
	int first = join(self->importer, self->fd, DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM));
	char *memory = map_cpu(self->fd, LEN), low[64];

	ASSERT_LE(0, first);
	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_LE(0, named_device(self->importer, DEVICE(.LIMIT = LOW(28)), low, sizeof(low)));
	ASSERT_EQ(0, map(self->importer, first, NULL));
	fill_bytes(memory, LEN, 1);
	EXPECT_EQ(-EINVAL, declare_needs(self->fd, "late", NEEDS(.access_mask = 2)));
	EXPECT_EQ(0, query_fields(self->fd).late_refusals);
	EXPECT_EQ(-EBUSY, declare_needs(self->fd, "late", NEEDS(.max_address = LOW(28))));
	EXPECT_EQ(-EBUSY, declare_device(self->fd, "platform", low));
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_EQ(2, told.query.late_refusals);
	EXPECT_EQ(2, told_user(&told, "device")->late_refusals);
	EXPECT_EQ(1, told.query.user_count);
	EXPECT_EQ(CENALLOC_CAUSE_HELD, told.query.refusal.cause);
	ASSERT_EQ(0, unmap(self->importer, first));
	ASSERT_EQ(0, declare_device(self->fd, "platform", low));
	EXPECT_EQ(1, query_fields(self->fd).relocations);
	EXPECT_EQ(0, wrong_bytes(memory, LEN, 1));
	ASSERT_EQ(0, map(self->importer, first, &one));
	EXPECT_LE(last_address(&one), LOW(28));
	munmap(memory, LEN);
}

TEST_F(buffer, devices_that_there_are_not)
{
	const struct {
		const char *bus, *device;
	} names[] = {
		{ "platform", "vivid" },
		{ "platform", "vivid.00" },
		{ "platform", "vivid.0 " },
		{ "platform", " vivid.0" },
		{ "platform", "VIVID.0" },
		{ "platform", "" },
		{ "platform", "*" },
		{ "platform ", "vivid.0" },
		{ "Platform", "vivid.0" },
		{ "pci", "vivid.0" },
		{ "pci", "0000:ff:1f.7" },
		{ "usb", "1-1" },
		{ "nothing", "vivid.0" },
		{ "cenalloc", "cenalloc" },
		/* Buses whose modules are not loaded. */
		{ "amba", "x" },
		{ "hid", "x" },
		{ "i2c", "i2c-0" },
		{ "tee", "x" },
		{ ".", "vivid.0" },
		{ "..", "vivid.0" },
		{ "1234567890123456789012345678901",
		  "123456789012345678901234567890123456789012345678901234567890123" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		EXPECT_EQ(-ENODEV, declare_device(self->fd, names[i].bus, names[i].device)) {
			TH_LOG("'%s' '%s'", names[i].bus, names[i].device);
		}
	}
	EXPECT_EQ(0, query_fields(self->fd).user_count);
}

TEST_F(buffer, device_without_dma)
{
	char name[64];
	int device;

	device = named_device(self->importer, DEVICE(.flags = IMPORTER_NO_DMA), name, sizeof(name));
	ASSERT_LE(0, device);
	EXPECT_EQ(-ENODEV, declare_device(self->fd, "platform", name));
	EXPECT_EQ(0, query_fields(self->fd).user_count);
}

TEST_F(buffer, names_that_make_no_sense)
{
	const char *const bad[] = {
		"a/b", "/", "../vivid.0", "a\"b", "a\nb", "a\tb", "\177", "\377",
	};
	struct cenalloc_declare declare;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, declare_device(self->fd, bad[i], "vivid.0"));
		EXPECT_EQ(-EINVAL, declare_device(self->fd, "platform", bad[i]));
		EXPECT_EQ(-EINVAL, declare_needs(self->fd, bad[i], NEEDS()));
	}
	declare = (struct cenalloc_declare){ .fd = self->fd, .device = "vivid.0" };
	memset(declare.bus, 'a', sizeof(declare.bus));
	EXPECT_EQ(-EINVAL, ask(CENALLOC_DECLARE, &declare));
	declare = (struct cenalloc_declare){ .fd = self->fd, .bus = "platform" };
	memset(declare.device, 'a', sizeof(declare.device));
	EXPECT_EQ(-EINVAL, ask(CENALLOC_DECLARE, &declare));
	/* What follows the end of a name is not looked at. */
	declare = (struct cenalloc_declare){ .fd = self->fd, .bus = "platform\0/\n",
					     .device = "vivid.0\0/\"" };
	EXPECT_EQ(0, ask(CENALLOC_DECLARE, &declare));
	EXPECT_EQ(1, query_fields(self->fd).user_count);
}

TEST_F(buffer, needs_that_make_no_sense)
{
	const struct cenalloc_constraints bad[] = {
		{ .flags = 2 },
		{ .flags = CENALLOC_NEEDS_COHERENT | 1U << 15 },
		{ .alignment = 3 },
		{ .alignment = 4095 },
		{ .segment_boundary_mask = 4096 },
		{ .segment_boundary_mask = 1023 },
		{ .max_segment_size = 4095 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, declare_needs(self->fd, "bad", bad[i]));
		EXPECT_EQ(-EINVAL, declare_device_with(self->fd, "platform", "vivid.0", bad[i]));
	}
	EXPECT_EQ(0, query_fields(self->fd).user_count);
	/* The caller's nonsense is no refusal. */
	EXPECT_EQ(0, query_fields(self->fd).refusal.cause);
}

TEST_F(buffer, wrong_descriptors)
{
	int pipes[2], device = open_device("/dev/cenalloc");

	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(-EBADF, declare_device(-1, "platform", "vivid.0"));
	EXPECT_EQ(-EBADF, declare_needs(1000, "needs", NEEDS()));
	EXPECT_EQ(-EINVAL, declare_device(pipes[1], "platform", "vivid.0"));
	EXPECT_EQ(-EINVAL, declare_needs(device, "needs", NEEDS()));
	EXPECT_EQ(-EINVAL, declare_needs(self->importer, "needs", NEEDS()));
	close(pipes[0]);
	close(pipes[1]);
	close(device);
}

TEST_F(buffer, unknown_flags_and_sizes)
{
	struct cenalloc_declare declares[2] = { { .fd = self->fd } };
	const size_t size = sizeof(declares[0]);
	int device = open_device("/dev/cenalloc"), bit;

	ASSERT_LE(0, device);
	for (bit = 0; bit < 32; bit++) {
		declares[0].flags = 1U << bit;
		EXPECT_EQ(-EINVAL, call(device, CENALLOC_DECLARE, declares));
	}
	declares[0].flags = 0;
	EXPECT_EQ(-EINVAL, call(device, DECLARE_OF(size - 8), declares));
	EXPECT_EQ(0, call(device, DECLARE_OF(2 * size), declares));
	declares[1].constraints.max_segments = 1;
	EXPECT_EQ(-E2BIG, call(device, DECLARE_OF(2 * size), declares));
	EXPECT_EQ(-EFAULT, call(device, CENALLOC_DECLARE, NULL));
	EXPECT_EQ(1, query_fields(self->fd).user_count);
	close(device);
}

TEST_HARNESS_MAIN
