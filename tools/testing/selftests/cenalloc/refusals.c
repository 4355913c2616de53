// SPDX-License-Identifier: GPL-2.0
/*
 * Why somebody is refused: each cause there is, as the refused call tells it and as
 * QUERY does afterwards, and who holds memory where it is.
 */

#include <sys/resource.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "camera.h"
#include "kernel_api.h"
#include "removable.h"
#include "vgem.h"

#define LEN		(300 * KIB)
#include "holders.h"

#define BUFFER_LEN	LEN
#include "buffer_fixture.h"

static struct told told;

/*
 * The command, which $CENALLOC_TOOL may name, gets no more than numbers of the last
 * refusal, and says of it what the kernel says in debugfs.
 */
static void check_words(struct __test_metadata *_metadata, int fd)
{
	const char *tool = getenv("CENALLOC_TOOL");
	char command[128], said[2 * LINE], wanted[2 * LINE];
	bool is_said = false;
	FILE *pipe;

	if (!tool)
		return;
	snprintf(wanted, sizeof(wanted), "last refusal of %s, as it was then: %s\n",
		 buffer_field(fd, "refusals"), buffer_field(fd, "refusal"));
	snprintf(command, sizeof(command), "%s query --pid %d --fd %d", tool, getpid(), fd);
	pipe = popen(command, "r");
	ASSERT_NE(NULL, pipe);
	while (fgets(said, sizeof(said), pipe))
		is_said |= !!strstr(said, wanted);
	EXPECT_EQ(0, pclose(pipe));
	EXPECT_EQ(true, is_said) {
		TH_LOG("it does not say: %s", wanted);
	}
}

/*
 * The last refusal of a buffer, which some call has told: it is by @cause, it is the
 * next one, and QUERY tells the same.
 */
static void check_told(struct __test_metadata *_metadata, int fd, __u64 before, __u32 cause,
		       const struct cenalloc_refusal *refusal)
{
	struct cenalloc_query query = query_fields(fd);

	EXPECT_EQ(cause, refusal->cause);
	EXPECT_EQ(before + 1, refusal->sequence);
	EXPECT_EQ(before + 1, query.refusals);
	EXPECT_EQ(query.len, refusal->len);
	EXPECT_EQ(0, memcmp(refusal, &query.refusal, sizeof(query.refusal)));
	EXPECT_EQ(cause == CENALLOC_CAUSE_HELD, refusal->holders != 0);
	EXPECT_EQ(cause == CENALLOC_CAUSE_HELD, refusal->holder != 0);
	EXPECT_EQ(cause == CENALLOC_CAUSE_CHARGE || cause == CENALLOC_CAUSE_SHORTAGE,
		  refusal->classes != 0);
	check_words(_metadata, fd);
}

static struct cenalloc_refusal check_refusal(struct __test_metadata *_metadata, int fd,
					     const char *name, __u32 cause,
					     struct cenalloc_constraints needs)
{
	__u64 before = query_fields(fd).refusals;
	struct cenalloc_refusal refusal;

	EXPECT_EQ(error_of(cause), declare_until(fd, "", name, needs, 0, &refusal));
	check_told(_metadata, fd, before, cause, &refusal);
	EXPECT_EQ(0, strncmp("program ", refusal.who, 8));
	EXPECT_STREQ(name, refusal.who + 8);
	return refusal;
}

/* Needs that are declared by the program @name and refused by @cause. */
#define REFUSED(fd, name, cause, ...)						\
	check_refusal(_metadata, fd, name, cause, NEEDS(__VA_ARGS__))

#define EXPECT_ABOUT(refusal, _field, _wanted, _found, _other) do {		\
	struct cenalloc_refusal _told = (refusal);				\
										\
	EXPECT_EQ(_field, _told.field);						\
	EXPECT_EQ(_wanted, _told.wanted);					\
	EXPECT_EQ(_found, _told.found);						\
	EXPECT_MATCH(_told.other, _other);					\
} while (0)

/* --- Never ---------------------------------------------------------------- */

TEST_F(buffer, another_user)
{
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.name = "first", .access_mask = 1)));
	EXPECT_ABOUT(REFUSED(self->fd, "second", CENALLOC_CAUSE_USER, .access_mask = 6),
		     CENALLOC_FIELD_ACCESS_MASK, 6, 1, "*first.*");
	EXPECT_EQ(0, query_fields(self->fd).late_refusals);
}

TEST(the_creator)
{
	int fd = create_aligned(LEN, 64 * KIB);

	EXPECT_ABOUT(REFUSED(fd, "many", CENALLOC_CAUSE_ITSELF, .segment_boundary_mask = 4095,
			     .alignment = 64 * KIB),
		     CENALLOC_FIELD_SEGMENT_BOUNDARY, 4095, 64 * KIB, "");
	close(fd);
}

/* No two of them exclude each other. */
TEST_F(buffer, all_others)
{
	ASSERT_EQ(0, declare_needs(self->fd, "a", NEEDS(.access_mask = 0x3)));
	ASSERT_EQ(0, declare_needs(self->fd, "b", NEEDS(.access_mask = 0x6)));
	EXPECT_ABOUT(REFUSED(self->fd, "c", CENALLOC_CAUSE_OTHERS, .access_mask = 0x5),
		     CENALLOC_FIELD_ACCESS_MASK, 5, 2, "");
}

TEST_F(buffer, itself)
{
	EXPECT_ABOUT(REFUSED(self->fd, "narrow", CENALLOC_CAUSE_ITSELF, .max_address = LEN - 2),
		     CENALLOC_FIELD_MAX_ADDRESS, LEN - 2, LEN, "");
	EXPECT_ABOUT(REFUSED(self->fd, "few", CENALLOC_CAUSE_ITSELF, .max_segment_size = 4096,
			     .max_segments = 2),
		     CENALLOC_FIELD_MAX_SEGMENTS, 2, LEN / PAGE, "");
	EXPECT_ABOUT(REFUSED(self->fd, "odd", CENALLOC_CAUSE_ITSELF, .max_segment_size = 4096,
			     .alignment = 8192),
		     CENALLOC_FIELD_MAX_SEGMENT_SIZE, 4096, 8192, "");
}

/* What comes nearest is one of those there are, and does not suffice. */
TEST_F(buffer, no_allocator)
{
	struct cenalloc_refusal refusal;

	refusal = REFUSED(self->fd, "exotic", CENALLOC_CAUSE_ALLOCATOR, .access_mask = 1ULL << 45);
	EXPECT_ABOUT(refusal, CENALLOC_FIELD_ACCESS_MASK, 1ULL << 45,
		     find_allocator(refusal.other).access_mask, "?*");
	refusal = REFUSED(self->fd, "coarse", CENALLOC_CAUSE_ALLOCATOR, .alignment = 1ULL << 40);
	EXPECT_EQ(CENALLOC_FIELD_ALIGNMENT, refusal.field);
	EXPECT_EQ(1ULL << 40, refusal.wanted);
	EXPECT_GT(refusal.wanted, refusal.found);
	EXPECT_STREQ(refusal.other, find_allocator(refusal.other).name);
	EXPECT_STREQ("", refusal.behind);
}

/* The nearest in value: the most that there is of what was asked for. */
TEST(no_allocator_for_so_much)
{
	static struct cenalloc_allocator_info list[ALLOCATORS];
	int i, count = list_allocators(list), fd;
	struct cenalloc_refusal refusal;
	__u64 most = 0;

	for (i = 0; i < count; i++)
		if (list[i].flags & CENALLOC_ALLOCATOR_CONTIGUOUS && list[i].max_len > most)
			most = list[i].max_len;
	fd = create(2 * most);
	ASSERT_LE(0, fd);
	refusal = REFUSED(fd, "linear", CENALLOC_CAUSE_ALLOCATOR, .max_segments = 1);
	EXPECT_ABOUT(refusal, CENALLOC_FIELD_CONTIGUOUS, 2 * most, most, "?*");
	EXPECT_EQ(most, find_allocator(refusal.other).max_len);
	close(fd);
}

/* A length is nobody's need: no user is blamed for it. */
TEST(length)
{
	__u64 most = find_allocator("system-contig").max_len;
	int fd = create(2 * most);

	ASSERT_LE(0, fd);
	EXPECT_EQ(0, declare_needs(fd, "innocent", NEEDS()));
	EXPECT_ABOUT(REFUSED(fd, "narrow", CENALLOC_CAUSE_ALLOCATOR,
			     .access_mask = CENALLOC_CLASS_SYSTEM_CONTIG),
		     CENALLOC_FIELD_LENGTH, 2 * most, most, "system-contig");
	EXPECT_REFUSAL(fd, "* 8 MiB, *system-contig gives at most 4 MiB");
	close(fd);
}

/* The need of another, which the newcomer leaves no allocator for. */
TEST_F(buffer, need_of_another)
{
	struct cenalloc_refusal refusal;

	ASSERT_EQ(0, declare_needs(self->fd, "linear", NEEDS(.max_segments = 1)));
	refusal = REFUSED(self->fd, "scattered", CENALLOC_CAUSE_ALLOCATOR,
			  .access_mask = CENALLOC_CLASS_SYSTEM);
	EXPECT_STREQ("program linear", refusal.behind);
	EXPECT_STREQ("system", refusal.other);
}

/* The one that suited is gone; whoever uses the buffer next is told. */
TEST(removed)
{
	int outside = open_outside(), fd = create(LEN), handle = add_outside(outside, OUTSIDE());
	struct cenalloc_allocate allocate = { .fd = fd };
	int importer = open_importer(), attachment;

	ASSERT_LE(0, handle);
	ASSERT_EQ(0, declare_needs(fd, "a", NEEDS(.access_mask = OUTSIDE_CLASS)));
	attachment = join(importer, fd, DEVICE(.name = "mapper"));
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, remove_outside(outside, handle));
	EXPECT_EQ(-EINVAL, ask(CENALLOC_ALLOCATE, &allocate));
	check_told(_metadata, fd, 0, CENALLOC_CAUSE_REMOVED, &allocate.refusal);
	EXPECT_STREQ("", allocate.refusal.who);
	EXPECT_EQ(-EINVAL, map(importer, attachment, NULL));
	ASSERT_EQ(0, query(fd, &told));
	EXPECT_EQ(CENALLOC_CAUSE_REMOVED, told.query.refusal.cause);
	EXPECT_MATCH(told.query.refusal.who, "*mapper.*");
	EXPECT_EQ(2, told.query.refusals);
	close(importer);
	close(fd);
	close(outside);
}

/* --- Too late ------------------------------------------------------------- */

TEST_F(buffer, memory_that_is_mapped)
{
	int first = join(self->importer, self->fd,
			 DEVICE(.name = "first", .access_mask = CENALLOC_CLASS_SYSTEM,
				.max_segment_size = 8192));
	struct cenalloc_refusal refusal;
	int i;

	ASSERT_LE(0, first);
	ASSERT_EQ(0, map(self->importer, first, &one));
	ASSERT_LE(0, join(self->importer, self->fd, DEVICE(.name = "idle")));
	for (i = 1; i <= 3; i++) {
		refusal = REFUSED(self->fd, "late", CENALLOC_CAUSE_HELD, .max_address = LOW(28));
		EXPECT_ABOUT(refusal, CENALLOC_FIELD_MAX_ADDRESS, LOW(28), address_of(&one, 0),
			     "*first.*");
		EXPECT_EQ(CENALLOC_HOLDER_MAPPING, refusal.holder);
		EXPECT_EQ(1, refusal.holders);
		EXPECT_EQ(LOW(28), refusal.max_address);
		ASSERT_EQ(0, query(self->fd, &told));
		EXPECT_EQ(i, told.query.late_refusals);
		EXPECT_EQ(i, told_user(&told, "first")->late_refusals);
		EXPECT_EQ(0, told_user(&told, "idle")->late_refusals);
	}
}

/* By whom and how, where that is one alone. */
TEST_F(held, how)
{
	struct cenalloc_refusal refusal;
	int fd = self->holder.fd;

	EXPECT_EQ(0, query_fields(fd).holds);
	ASSERT_EQ(0, variant->hold(&self->holder));
	refusal = REFUSED(fd, "late", CENALLOC_CAUSE_HELD, .max_address = LOW(28));
	EXPECT_ABOUT(refusal, CENALLOC_FIELD_MAX_ADDRESS, LOW(28), address_of(&one, 0), "*");
	EXPECT_EQ(variant->how, refusal.holder);
	EXPECT_EQ(1, refusal.holders);
	/* What is no attachment's has no name. */
	EXPECT_EQ(variant->how & (CENALLOC_HOLDER_MAPPING | CENALLOC_HOLDER_PIN),
		  *refusal.other ? variant->how : 0);
	EXPECT_EQ(variant->how, query_fields(fd).holds);
	EXPECT_EQ(1, query_fields(fd).holders);
	ASSERT_EQ(0, variant->let_go(&self->holder));
	EXPECT_EQ(0, query_fields(fd).holds | query_fields(fd).holders);
	EXPECT_EQ(0, declare_needs(fd, "late", NEEDS(.max_address = LOW(28))));
}

/* Where memory lies is for those who may read that of their own pages. */
TEST_F(buffer, address_that_is_not_told)
{
	int first = join(self->importer, self->fd, DEVICE(.name = "first"));

	ASSERT_LE(0, first);
	ASSERT_EQ(0, map(self->importer, first, NULL));
	EXPECT_LT(0, REFUSED(self->fd, "late", CENALLOC_CAUSE_HELD, .max_address = LOW(28)).found);
	EXPECT_REFUSAL(self->fd, "*the memory is at 0x[1-9a-f]*");

	ASSERT_EQ(0, drop_admin());
	EXPECT_EQ(0, query_fields(self->fd).refusal.found);
	EXPECT_ABOUT(REFUSED(self->fd, "late", CENALLOC_CAUSE_HELD, .max_address = LOW(28)),
		     CENALLOC_FIELD_MAX_ADDRESS, LOW(28), 0, "*first.*");
	/* What is no address stays. */
	EXPECT_EQ(LEN, REFUSED(self->fd, "narrow", CENALLOC_CAUSE_ITSELF,
			       .max_address = LEN - 2).found);
}

/* All that hold it count, whoever is named. */
TEST_F(buffer, everything_that_holds)
{
	const __u32 all = CENALLOC_HOLDER_MAPPING | CENALLOC_HOLDER_PIN |
			  CENALLOC_HOLDER_KERNEL | CENALLOC_HOLDER_FENCE | CENALLOC_HOLDER_ADDRESS;
	int mapped = join(self->importer, self->fd, DEVICE(.name = "mapped"));
	int pinned = join_dynamic(self->importer, self->fd, DEVICE(.name = "pinned"));
	struct holder fence = { .fd = self->fd };
	struct cenalloc_refusal refusal;
	int driver = open_driver(), i;
	struct c_importer_pages pages;

	ASSERT_EQ(0, map(self->importer, mapped, NULL));
	ASSERT_EQ(0, pin(self->importer, pinned));
	ASSERT_EQ(0, driver_take(driver, self->fd));
	ASSERT_EQ(0, driver_vmap(driver));
	ASSERT_EQ(0, hold_writer(&fence));
	EXPECT_EQ(CENALLOC_HOLDER_MAPPING,
		  REFUSED(self->fd, "late", CENALLOC_CAUSE_HELD, .max_address = LOW(28)).holder);
	/* Who never lets go comes first, and then those that have names. */
	ASSERT_EQ(0, driver_pages(driver, 0, NULL, &pages));
	refusal = REFUSED(self->fd, "late", CENALLOC_CAUSE_HELD, .max_address = LOW(28));
	EXPECT_EQ(5, refusal.holders);
	EXPECT_EQ(CENALLOC_HOLDER_ADDRESS, refusal.holder);
	EXPECT_MATCH(refusal.other, "*mapped.*");
	ASSERT_EQ(0, query(self->fd, &told));
	EXPECT_EQ(all, told.query.holds);
	EXPECT_EQ(5, told.query.holders);
	EXPECT_EQ(1, told.query.kernel_maps);
	EXPECT_NE(0, told_user(&told, "mapped.")->flags & CENALLOC_USER_PINNED);
	EXPECT_NE(0, told_user(&told, "pinned.")->flags & CENALLOC_USER_PINNED);
	EXPECT_EQ(0, told_user(&told, "pinned.")->flags & CENALLOC_USER_MAPPED);

	/* One after the other goes. */
	for (i = 0; i < 4; i++) {
		static const char *const who[] = { "*pinned.*", "", "", "" };
		static const __u32 left[] = {
			CENALLOC_HOLDER_PIN | CENALLOC_HOLDER_KERNEL | CENALLOC_HOLDER_FENCE,
			CENALLOC_HOLDER_KERNEL | CENALLOC_HOLDER_FENCE,
			CENALLOC_HOLDER_FENCE, 0,
		};

		switch (i) {
		case 0:
			ASSERT_EQ(0, unmap(self->importer, mapped));
			break;
		case 1:
			ASSERT_EQ(0, unpin(self->importer, pinned));
			break;
		case 2:
			ASSERT_EQ(0, driver_vunmap(driver));
			break;
		default:
			ASSERT_EQ(0, let_go_fence(&fence));
		}
		refusal = REFUSED(self->fd, "late", CENALLOC_CAUSE_HELD, .max_address = LOW(28));
		EXPECT_EQ(4 - i, refusal.holders);
		EXPECT_EQ(left[i] | CENALLOC_HOLDER_ADDRESS, query_fields(self->fd).holds);
		EXPECT_MATCH(refusal.other, who[i]);
	}
	close(driver);
	close(fence.device);
}

/* An importer that maps for the kernel alone attaches as any other, or not at all. */
TEST_F(buffer, kernel_mappings)
{
	int drivers[3], i;

	ASSERT_EQ(0, allocate(self->fd));
	for (i = 0; i < 3; i++) {
		drivers[i] = open_driver();
		ASSERT_EQ(0, driver_take(drivers[i], self->fd));
		ASSERT_EQ(0, driver_vmap(drivers[i]));
		EXPECT_EQ(i + 1, query_fields(self->fd).kernel_maps);
		EXPECT_EQ(i + 1, buffer_number(self->fd, "kernel_maps"));
	}
	EXPECT_EQ(CENALLOC_HOLDER_KERNEL,
		  REFUSED(self->fd, "late", CENALLOC_CAUSE_HELD, .max_address = LOW(28)).holder);
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, driver_vunmap(drivers[i]));
	EXPECT_EQ(0, query_fields(self->fd).kernel_maps);
	EXPECT_EQ(0, query_fields(self->fd).holds);
	EXPECT_EQ(0, declare_needs(self->fd, "late", NEEDS(.max_address = LOW(28))));
}

/* --- No memory ------------------------------------------------------------ */

/* Whoever asks for it: the call, a device, the CPU; and a user for whom it is relocated. */
TEST(shortage)
{
	struct cenalloc_allocate allocate = { .fd = create(LOW_MEMORY) };
	int fd = allocate.fd, importer = open_importer(), attachment;
	struct cenalloc_refusal refusal;
	__u32 asked;

	attachment = join(importer, fd, DEVICE(.name = "low", .LIMIT = LOW(24)));
	ASSERT_LE(0, attachment);
	EXPECT_EQ(-ENOMEM, ask(CENALLOC_ALLOCATE, &allocate));
	refusal = allocate.refusal;
	check_told(_metadata, fd, 0, CENALLOC_CAUSE_SHORTAGE, &refusal);
	EXPECT_ABOUT(refusal, 0, 0, 0, "system");
	EXPECT_STREQ("", refusal.who);
	EXPECT_EQ(LOW(24), refusal.max_address);
	asked = refusal.classes;
	EXPECT_NE(0, asked & CENALLOC_CLASS_SYSTEM);
	EXPECT_EQ(-ENOMEM, map(importer, attachment, NULL));
	refusal = query_fields(fd).refusal;
	EXPECT_EQ(CENALLOC_CAUSE_SHORTAGE, refusal.cause);
	EXPECT_MATCH(refusal.who, "*low.*");
	EXPECT_EQ(asked, refusal.classes);
	EXPECT_EQ(2, query_fields(fd).refusals);
	EXPECT_EQ(0, query_fields(fd).late_refusals);
	close(importer);
	close(fd);

	fd = create(LOW_MEMORY);
	ASSERT_EQ(0, declare_needs(fd, "first", NEEDS()));
	allocate.fd = fd;
	ASSERT_EQ(0, ask(CENALLOC_ALLOCATE, &allocate));
	EXPECT_EQ(0, allocate.refusal.cause);
	refusal = REFUSED(fd, "low", CENALLOC_CAUSE_SHORTAGE, .max_address = LOW(24));
	EXPECT_EQ(CENALLOC_FIELD_MAX_ADDRESS, refusal.field);
	EXPECT_EQ(LOW(24), refusal.wanted);
	EXPECT_LT(LOW(24), refusal.found);
	EXPECT_EQ(1, query_fields(fd).late_refusals);
	EXPECT_REFUSAL(fd, "program low needs addresses below *, the memory *, and * from *");
	/* That there is none is not to be told of by an address, either. */
	ASSERT_EQ(0, drop_admin());
	EXPECT_EQ(0, REFUSED(fd, "low", CENALLOC_CAUSE_SHORTAGE, .max_address = LOW(24)).found);
	close(fd);
}

/* As many users as a buffer may have. */
TEST_F(buffer, users)
{
	int device = open_device("/dev/cenalloc"), i;
	struct cenalloc_declare declare = { .fd = self->fd, .device = "one of many" };

	for (i = 0; i < 4096; i++)
		ASSERT_EQ(0, call(device, CENALLOC_DECLARE, &declare));
	EXPECT_ABOUT(REFUSED(self->fd, "one too many", CENALLOC_CAUSE_USERS), 0, 0, 0, "");
	EXPECT_EQ(-ENOMEM, join(self->importer, self->fd, DEVICE(.name = "attached")));
	EXPECT_EQ(CENALLOC_CAUSE_USERS, query_fields(self->fd).refusal.cause);
	EXPECT_MATCH(query_fields(self->fd).refusal.who, "*attached.*");
	EXPECT_EQ(2, query_fields(self->fd).refusals);
	EXPECT_EQ(4096, query_fields(self->fd).user_count);
	close(device);
}

/* --- No device ------------------------------------------------------------ */

/* There is nobody whom the buffer could refuse: it does not count. */
static void check_nobody(struct __test_metadata *_metadata, int fd, const char *bus,
			 const char *device, __u32 cause)
{
	struct cenalloc_query before = query_fields(fd), after;
	struct cenalloc_refusal refusal;

	EXPECT_EQ(-ENODEV, declare_until(fd, bus, device, NEEDS(), 0, &refusal));
	EXPECT_EQ(cause, refusal.cause) {
		TH_LOG("%s:%s", bus, device);
	}
	EXPECT_EQ(0, refusal.sequence | refusal.field | refusal.holders | refusal.classes);
	if (cause == CENALLOC_CAUSE_NO_BUS || cause == CENALLOC_CAUSE_NO_DEVICE)
		EXPECT_STREQ(bus, refusal.other);
	EXPECT_NE(NULL, strstr(refusal.who, device)) {
		TH_LOG("'%s' is not '%s'", refusal.who, device);
	}
	after = query_fields(fd);
	EXPECT_EQ(0, memcmp(&before, &after, sizeof(after)));
}

TEST_F(buffer, nobody_of_that_name)
{
	char name[64];

	check_nobody(_metadata, self->fd, "nothing", "vivid.0", CENALLOC_CAUSE_NO_BUS);
	/* A bus whose devices the kernel does not find by name. */
	check_nobody(_metadata, self->fd, "usb", "1-1", CENALLOC_CAUSE_NO_BUS);
	check_nobody(_metadata, self->fd, "faux", "vgem", CENALLOC_CAUSE_NO_BUS);
	check_nobody(_metadata, self->fd, "platform", "vivid", CENALLOC_CAUSE_NO_DEVICE);
	check_nobody(_metadata, self->fd, "pci", "vivid.0", CENALLOC_CAUSE_NO_DEVICE);
	ASSERT_LE(0, add_device(self->importer, DEVICE(.name = "cpu", .flags = IMPORTER_NO_DMA)));
	ASSERT_TRUE(find_device("platform", "cpu.", name, sizeof(name)));
	check_nobody(_metadata, self->fd, "platform", name, CENALLOC_CAUSE_NO_DMA);
	ASSERT_EQ(0, load(REMOVABLE_NAME));
	EXPECT_EQ(0, bind_removable("unbind"));
	check_nobody(_metadata, self->fd, "platform", REMOVABLE_NAME, CENALLOC_CAUSE_NO_DRIVER);
	EXPECT_EQ(0, bind_removable("bind"));
	EXPECT_EQ(0, unload_patiently(REMOVABLE_NAME));
}

/* --- Whose fault it is not ------------------------------------------------ */

/* A mistake of the caller's own has no cause, and does not hide whom the buffer refused. */
TEST_F(buffer, own_mistakes)
{
	const struct cenalloc_declare wrong[] = {
		{ .fd = -1 },
		{ .fd = self->importer },
		{ .fd = self->fd, .flags = 1 },
		{ .fd = self->fd, .flags = 1U << 31 },
		{ .fd = self->fd, .constraints.alignment = 3 },
		{ .fd = self->fd, .constraints.flags = 2 },
		{ .fd = self->fd, .constraints.segment_boundary_mask = 4096 },
		{ .fd = self->fd, .constraints.max_segment_size = 1 },
		{ .fd = self->fd, .bus = "platform", .device = "a/b" },
		{ .fd = self->fd, .bus = "a\"b", .device = "vivid.0" },
		{ .fd = self->fd, .device = "a\nb" },
		{ .fd = self->fd, .timeout = -1, .flags = 2 },
	};
	struct cenalloc_allocate allocate = { .fd = self->fd, .flags = 1, .refusal.cause = 6 };
	struct cenalloc_query before, after;
	size_t i;

	REFUSED(self->fd, "narrow", CENALLOC_CAUSE_ITSELF, .max_address = LEN - 2);
	before = query_fields(self->fd);
	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct cenalloc_declare declare = wrong[i];

		memset(&declare.refusal, 0xa5, sizeof(declare.refusal));
		EXPECT_GT(0, ask(CENALLOC_DECLARE, &declare));
		EXPECT_EQ(0, declare.refusal.cause) {
			TH_LOG("call %zu", i);
		}
	}
	EXPECT_EQ(-EINVAL, ask(CENALLOC_ALLOCATE, &allocate));
	EXPECT_EQ(0, allocate.refusal.cause);
	allocate = (struct cenalloc_allocate){ .fd = -1, .refusal = before.refusal };
	EXPECT_EQ(-EBADF, ask(CENALLOC_ALLOCATE, &allocate));
	EXPECT_EQ(0, allocate.refusal.cause);
	after = query_fields(self->fd);
	EXPECT_EQ(0, memcmp(&before, &after, sizeof(after)));
}

/* What came right later does not undo that somebody was refused. */
TEST_F(buffer, last_refusal_stays)
{
	struct cenalloc_refusal refusal, now;

	refusal = REFUSED(self->fd, "a", CENALLOC_CAUSE_ITSELF, .max_address = 8191);
	ASSERT_EQ(0, declare_until(self->fd, "", "b", NEEDS(), 0, &now));
	EXPECT_EQ(0, now.cause);
	ASSERT_EQ(0, allocate(self->fd));
	now = query_fields(self->fd).refusal;
	EXPECT_EQ(0, memcmp(&refusal, &now, sizeof(now)));
}

/* They are numbered, whatever their cause, and whether a call or an attachment was refused. */
TEST_F(buffer, sequence)
{
	int other = create(LEN), i;

	for (i = 0; i < 50; i++) {
		if (i % 2) {
			ASSERT_EQ(-EINVAL, join(self->importer, self->fd,
						DEVICE(.access_mask = 1ULL << 50)));
		} else {
			REFUSED(self->fd, "a", CENALLOC_CAUSE_ITSELF, .max_address = 8191);
		}
		ASSERT_EQ(i + 1, query_fields(self->fd).refusal.sequence);
		ASSERT_EQ(i + 1, query_fields(self->fd).refusals);
	}
	/* Each buffer's own. */
	EXPECT_EQ(1, REFUSED(other, "b", CENALLOC_CAUSE_ITSELF, .max_address = 8191).sequence);
	close(other);
}

/* --- Who left ------------------------------------------------------------- */

/* Attaches, maps, stays for some time, and goes; how many segments it saw. */
static int come_and_leave(int importer, int fd, struct importer_add add, double stay)
{
	int attachment = join(importer, fd, add), ret;

	if (attachment < 0)
		return attachment;
	ret = map(importer, attachment, &one);
	if (ret)
		return ret;
	usleep(stay * 1e6);
	ret = unmap(importer, attachment);
	if (!ret)
		ret = detach(importer, attachment);
	return ret ? ret : (int)one.count;
}

/* One that needs contiguous memory and does not say so maps it, looks, and leaves. */
TEST_F(buffer, left_at_once)
{
	int fds[64], fd, count, tries = 0;

	/* Contiguous is what it was, however it was cut. */
	EXPECT_EQ(1, come_and_leave(self->importer, self->fd,
				    DEVICE(.name = "content",
					   .access_mask = CENALLOC_CLASS_SYSTEM_CONTIG), 0));
	EXPECT_STREQ("", query_fields(self->fd).left);
	EXPECT_LT(1, come_and_leave(self->importer, self->fd,
				    DEVICE(.name = "quick", .max_segment_size = PAGE), 0));
	EXPECT_STREQ("", query_fields(self->fd).left);
	/* None can be asked for several ranges; what is longer than a block mostly has them. */
	do {
		fd = create(4 * MIB + 3 * PAGE);
		ASSERT_LE(0, fd);
		fds[tries++] = fd;
		ASSERT_EQ(0, allocate(fd));
	} while (query_fields(fd).ranges == 1 && tries < 64);
	/* For long nobody stays with what is of no use. */
	count = come_and_leave(self->importer, fd, DEVICE(.name = "patient"), 2);
	EXPECT_LT(1, count);
	EXPECT_STREQ("", query_fields(fd).left);
	EXPECT_EQ(0, query_fields(fd).left_segments);

	count = come_and_leave(self->importer, fd,
			       DEVICE(.name = "hasty", .max_segment_size = 2 * MIB), 0);
	EXPECT_LT(2, count);
	EXPECT_MATCH(query_fields(fd).left, "*hasty.*");
	EXPECT_EQ(count, query_fields(fd).left_segments);
	/* Nobody was refused for all that. */
	EXPECT_EQ(0, query_fields(fd).refusals);
	while (tries)
		close(fds[--tries]);
}

int main(int argc, char **argv)
{
	return run_with_modules(argc, argv);
}
