// SPDX-License-Identifier: GPL-2.0
/*
 * What the administrator says of devices, through configfs, and what a device
 * inherits from those above it.
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "policy.h"

FIXTURE(policy) {
	int importer;
	/* A device, and what a policy for it is called. */
	char device[64];
	char policy[128];
};

FIXTURE_SETUP(policy)
{
	ASSERT_TRUE(have_policies());
	self->importer = open_importer();
	ASSERT_LE(0, self->importer);
	ASSERT_LE(0, add_device(self->importer, DEVICE(.name = "plane")));
	ASSERT_TRUE(find_device("platform", "plane.", self->device, sizeof(self->device)));
	snprintf(self->policy, sizeof(self->policy), "platform:%s", self->device);
	ASSERT_EQ(0, make_policy(self->policy));
}

FIXTURE_TEARDOWN(policy)
{
	remove_policy(self->policy);
	close(self->importer);
}

TEST_F(policy, names)
{
	char longest[128];

	EXPECT_EQ(-EINVAL, make_policy("no-colon"));
	EXPECT_EQ(-EINVAL, make_policy(":device"));
	EXPECT_EQ(-EINVAL, make_policy("bus:"));
	EXPECT_EQ(-EEXIST, make_policy(self->policy));
	EXPECT_EQ(-EINVAL, make_policy("a-bus-whose-name-has-32-letters.:x"));
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "bus:", 4);
	longest[4 + 64] = '\0';
	EXPECT_EQ(-EINVAL, make_policy(longest));
	longest[4 + 63] = '\0';
	EXPECT_EQ(0, make_policy(longest));
	EXPECT_EQ(0, remove_policy(longest));
	/* Of a device that there is not, and of one whose name has colons. */
	EXPECT_EQ(0, make_policy("bus:device"));
	EXPECT_EQ(0, remove_policy("bus:device"));
	EXPECT_EQ(0, make_policy("pci:ffff:00:00.0"));
	EXPECT_EQ(0, remove_policy("pci:ffff:00:00.0"));
	EXPECT_EQ(-ENOENT, remove_policy("pci:ffff:00:00.0"));
}

TEST_F(policy, a_new_one_says_nothing)
{
	struct cenalloc_constraints needs = needs_of("platform", self->device);

	EXPECT_STREQ("0x0\n", said(self->policy, "access_mask"));
	EXPECT_STREQ("0x0\n", said(self->policy, "max_address"));
	EXPECT_STREQ("0\n", said(self->policy, "max_segments"));
	EXPECT_STREQ("0\n", said(self->policy, "max_segment_size"));
	EXPECT_STREQ("0x0\n", said(self->policy, "segment_boundary_mask"));
	EXPECT_STREQ("0\n", said(self->policy, "alignment"));
	EXPECT_STREQ("0\n", said(self->policy, "priority"));
	EXPECT_STREQ("0\n", said(self->policy, "coherent"));
	EXPECT_STREQ("0\n", said(self->policy, "prefers_contiguous"));
	EXPECT_STREQ("1\n", said(self->policy, "known_needs"));
	EXPECT_EQ(0, needs.access_mask);
	EXPECT_EQ(0, needs.max_segments);
}

TEST_F(policy, every_field_counts)
{
	struct cenalloc_constraints needs;

	EXPECT_EQ(0, say(self->policy, "access_mask", "0x3\n"));
	EXPECT_EQ(0, say(self->policy, "max_address", hex(LOW(28))));
	EXPECT_EQ(0, say(self->policy, "max_segments", "70"));
	EXPECT_EQ(0, say(self->policy, "max_segment_size", " 65536\t"));
	EXPECT_EQ(0, say(self->policy, "segment_boundary_mask", "0xfffff"));
	EXPECT_EQ(0, say(self->policy, "alignment", "8192"));
	EXPECT_EQ(0, say(self->policy, "priority", "65535"));
	EXPECT_EQ(0, say(self->policy, "coherent", "1"));
	needs = needs_of("platform", self->device);
	EXPECT_EQ(3, needs.access_mask);
	EXPECT_EQ(LOW(28), needs.max_address);
	EXPECT_EQ(70, needs.max_segments);
	EXPECT_EQ(65536, needs.max_segment_size);
	EXPECT_EQ(0xfffff, needs.segment_boundary_mask);
	EXPECT_EQ(8192, needs.alignment);
	EXPECT_EQ(65535, needs.priority);
	/* Its DMA is coherent by hardware: the device has what it needs. */
	EXPECT_EQ(0, needs.flags);

	EXPECT_STREQ("65535\n", said(self->policy, "priority"));
	EXPECT_STREQ("1\n", said(self->policy, "coherent"));
	EXPECT_STREQ(hex(LOW(28)), said(self->policy, "max_address"));
	EXPECT_STREQ("70\n", said(self->policy, "max_segments"));

	/* And no longer. */
	EXPECT_EQ(0, say(self->policy, "max_segments", "0"));
	EXPECT_EQ(0, needs_of("platform", self->device).max_segments);
	EXPECT_EQ(0, remove_policy(self->policy));
	needs = needs_of("platform", self->device);
	EXPECT_EQ(0, needs.access_mask);
	EXPECT_EQ(0, needs.alignment);
	EXPECT_NE(LOW(28), needs.max_address);
}

/* All three add up, for devices that are bound to the driver. */
TEST_F(policy, of_a_driver_and_of_a_module)
{
	struct cenalloc_constraints needs;

	ASSERT_EQ(0, make_policy("driver:cenalloc_importer"));
	ASSERT_EQ(0, make_policy("module:cenalloc_importer"));
	ASSERT_EQ(0, make_policy("driver:cenalloc-importer"));
	EXPECT_EQ(0, say("driver:cenalloc_importer", "max_segments", "70"));
	EXPECT_EQ(0, say("module:cenalloc_importer", "alignment", "8192"));
	EXPECT_EQ(0, say("driver:cenalloc-importer", "segment_boundary_mask", "0xfffff"));
	EXPECT_EQ(0, say(self->policy, "max_segment_size", "65536"));
	EXPECT_EQ(0, say(self->policy, "max_segments", "71"));
	needs = needs_of("platform", self->device);
	EXPECT_EQ(70, needs.max_segments);
	EXPECT_EQ(8192, needs.alignment);
	EXPECT_EQ(65536, needs.max_segment_size);
	EXPECT_NE(0xfffff, needs.segment_boundary_mask);
	EXPECT_EQ(0, remove_policy("module:cenalloc_importer"));
	EXPECT_EQ(0, remove_policy("driver:cenalloc-importer"));
	EXPECT_NE(8192, needs_of("platform", self->device).alignment);
	EXPECT_EQ(0, remove_policy("driver:cenalloc_importer"));
	EXPECT_EQ(71, needs_of("platform", self->device).max_segments);
}

/* After a boot the largest blocks may happen to lie side by side. */
static __u32 unmet(const struct told *told)
{
	return told->query.ranges > 1 ? CENALLOC_PREFERS_CONTIGUOUS : 0;
}

/* What is longer than any block, of which no area has as much. */
TEST_F(policy, preference_refuses_nobody)
{
	int fd = create(64 * MIB);
	struct told told;
	char lines[4 * KIB];

	EXPECT_EQ(-EINVAL, say(self->policy, "prefers_contiguous", "2"));
	EXPECT_EQ(0, say(self->policy, "prefers_contiguous", "1"));
	EXPECT_STREQ("1\n", said(self->policy, "prefers_contiguous"));
	ASSERT_EQ(0, declare_device(fd, "platform", self->device));
	ASSERT_EQ(0, query(fd, &told));
	EXPECT_EQ(0, told.query.combined.max_segments);
	EXPECT_EQ(0, told.users[0].constraints.max_segments);
	EXPECT_EQ(CENALLOC_PREFERS_CONTIGUOUS, told.users[0].preferences);
	EXPECT_EQ(0, told.users[0].unmet);
	ASSERT_EQ(0, allocate(fd));
	ASSERT_EQ(0, query(fd, &told));
	EXPECT_STREQ("system", told.query.allocator);
	EXPECT_EQ(unmet(&told), told.users[0].unmet);
	/* Nor does it where memory is there, which stays. */
	close(fd);
	fd = create(64 * MIB);
	ASSERT_EQ(0, allocate(fd));
	EXPECT_EQ(0, declare_device(fd, "platform", self->device));
	ASSERT_EQ(0, query(fd, &told));
	EXPECT_EQ(0, told.query.relocations);
	EXPECT_EQ(0, told.query.refusals);
	EXPECT_EQ(unmet(&told), told.users[0].unmet);
	EXPECT_MATCH(device_lines(fd, lines, sizeof(lines)),
		     unmet(&told) ? "* prefers=policy unmet=1 *" : "* prefers=policy unmet=0 *");
	close(fd);
	/* A need of the same is kept. */
	EXPECT_EQ(0, say(self->policy, "max_segments", "1"));
	fd = create(4 * MIB);
	ASSERT_EQ(0, declare_device(fd, "platform", self->device));
	ASSERT_EQ(0, allocate(fd));
	EXPECT_STREQ("system-contig", query_fields(fd).allocator);
	close(fd);
}

TEST_F(policy, wrong_values_change_nothing)
{
	static const struct {
		char attribute[24], value[24];
	} wrong[] = {
		{ "alignment", "3" }, { "alignment", "-1" }, { "alignment", "\n" },
		{ "alignment", "4096x" }, { "alignment", "+4096" }, { "alignment", "0x" },
		{ "alignment", "18446744073709551616" },
		{ "max_segments", "4294967296" }, { "max_segments", "0x+1" },
		{ "max_segment_size", "4095" }, { "segment_boundary_mask", "0x1000" },
		{ "segment_boundary_mask", "0x7ff" }, { "max_address", "all" },
		{ "access_mask", "\xff\xfe" },
		{ "priority", "65536" }, { "priority", "-1" }, { "priority", "high" },
		{ "coherent", "2" }, { "coherent", "-1" }, { "coherent", "yes" },
	};
	size_t i;

	EXPECT_EQ(0, say(self->policy, "alignment", "8192"));
	for (i = 0; i < ARRAY_SIZE(wrong); i++)
		EXPECT_EQ(-EINVAL, say(self->policy, wrong[i].attribute, wrong[i].value)) {
			TH_LOG("%s: '%s'", wrong[i].attribute, wrong[i].value);
		}
	EXPECT_STREQ("8192\n", said(self->policy, "alignment"));
	EXPECT_EQ(8192, needs_of("platform", self->device).alignment);
	EXPECT_EQ(0, needs_of("platform", self->device).max_segments);
}

/* A display without IOMMU that sees the lowest GiB, and no driver says so. */
TEST_F(policy, memory_is_chosen_by_it)
{
	int fd = create(MIB), attachment;
	struct mapping mapping;

	ASSERT_EQ(0, say(self->policy, "max_address", hex(LOW(30))));
	ASSERT_EQ(0, say(self->policy, "max_segments", "1"));
	attachment = attach(self->importer, 0, fd);
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(self->importer, attachment, &mapping));
	EXPECT_EQ(1, mapping.count);
	EXPECT_GE(LOW(30), last_address(&mapping));
	EXPECT_STREQ("system-contig", buffer_field(fd, "allocator"));
	close(fd);
}

/* What is attached keeps what was valid then. */
TEST_F(policy, changes_count_for_the_next_attach)
{
	int early = create(MIB), late = create(MIB);

	ASSERT_LE(0, attach(self->importer, 0, early));
	EXPECT_EQ(0, say(self->policy, "max_segments", "1"));
	ASSERT_LE(0, attach(self->importer, 0, late));
	EXPECT_STREQ("any", buffer_field(early, "segments"));
	EXPECT_STREQ("1", buffer_field(late, "segments"));
	close(early);
	close(late);
}

/*
 * An entry that is made, changed and removed while the device has a buffer mapped
 * changes nothing for it. Who attaches meanwhile is bound.
 */
TEST_F(policy, a_live_buffer_keeps_what_was_valid)
{
	static struct snapshot first, now;
	struct mapping before, after;
	int fd = create(MIB);
	int attachment, late;

	ASSERT_EQ(0, remove_policy(self->policy));
	attachment = attach(self->importer, 0, fd);
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(self->importer, attachment, &before));
	ASSERT_LT(LOW(24), last_address(&before));
	snapshot(fd, &first);

	ASSERT_EQ(0, make_policy(self->policy));
	EXPECT_STREQ(first.text, snapshot(fd, &now)->text);
	ASSERT_EQ(0, say(self->policy, "max_address", hex(LOW(24))));
	ASSERT_EQ(0, say(self->policy, "max_segments", "1"));
	EXPECT_STREQ(first.text, snapshot(fd, &now)->text);
	ASSERT_EQ(0, unmap(self->importer, attachment));
	ASSERT_EQ(0, map(self->importer, attachment, &after));
	EXPECT_TRUE(same_memory(&before, &after));
	ASSERT_EQ(0, remove_policy(self->policy));
	EXPECT_STREQ(first.text, snapshot(fd, &now)->text);

	/* The device once more: with the memory held, and when it can move. */
	ASSERT_EQ(0, make_policy(self->policy));
	ASSERT_EQ(0, say(self->policy, "max_address", hex(LOW(24))));
	EXPECT_EQ(-EBUSY, attach(self->importer, 0, fd));
	EXPECT_STREQ(first.text, snapshot(fd, &now)->text);
	ASSERT_EQ(0, unmap(self->importer, attachment));
	late = attach(self->importer, 0, fd);
	ASSERT_LE(0, late);
	EXPECT_EQ(1, buffer_number(fd, "relocations"));

	/* What it attached with stays when the entry goes, until it detaches. */
	ASSERT_EQ(0, remove_policy(self->policy));
	EXPECT_STREQ(below(LOW(24)), buffer_field(fd, "below"));
	ASSERT_EQ(0, map(self->importer, late, &after));
	EXPECT_GE(LOW(24), last_address(&after));
	ASSERT_EQ(0, unmap(self->importer, late));
	ASSERT_EQ(0, detach(self->importer, late));
	EXPECT_STREQ("any", buffer_field(fd, "below"));
	close(fd);
}

/* A declaration covers what the device needed then, and less. */
TEST_F(policy, changed_between_declaration_and_attach)
{
	int fd = create(MIB), attachment;

	ASSERT_EQ(0, say(self->policy, "alignment", "8192"));
	ASSERT_EQ(0, declare_device(fd, "platform", self->device));
	EXPECT_STREQ("8192", buffer_field(fd, "align"));
	ASSERT_EQ(0, say(self->policy, "alignment", "4096"));
	attachment = attach(self->importer, 0, fd);
	ASSERT_LE(0, attachment);
	EXPECT_STREQ("8192", buffer_field(fd, "align"));
	EXPECT_STREQ("1", buffer_field(fd, "users"));
	ASSERT_EQ(0, detach(self->importer, attachment));

	ASSERT_EQ(0, say(self->policy, "alignment", "16384"));
	EXPECT_STREQ("8192", buffer_field(fd, "align"));
	ASSERT_LE(0, attach(self->importer, 0, fd));
	EXPECT_STREQ("16384", buffer_field(fd, "align"));
	EXPECT_STREQ("2", buffer_field(fd, "users"));
	close(fd);
}

/* A 2D engine that takes 32 bits of address, and whose driver sets a mask of 40. */
TEST_F(policy, a_limit_below_the_mask)
{
	struct mapping mapping;
	char device[64], policy[128];
	int handle, fd, attachment;

	handle = add_device(self->importer, DEVICE(.name = "engine", .dma_mask = BITS(40)));
	ASSERT_LE(0, handle);
	ASSERT_TRUE(find_device("platform", "engine.", device, sizeof(device)));
	snprintf(policy, sizeof(policy), "platform:%s", device);
	fd = create(MIB);
	attachment = attach(self->importer, handle, fd);
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(self->importer, attachment, &mapping));
	EXPECT_LT(BITS(32), last_address(&mapping));
	close(fd);

	ASSERT_EQ(0, make_policy(policy));
	ASSERT_EQ(0, say(policy, "max_address", "0xffffffff"));
	fd = create(MIB);
	attachment = attach(self->importer, handle, fd);
	EXPECT_EQ(0, remove_policy(policy));
	ASSERT_LE(0, attachment);
	ASSERT_EQ(0, map(self->importer, attachment, &mapping));
	EXPECT_GE(BITS(32), last_address(&mapping));
	EXPECT_STREQ("system", buffer_field(fd, "allocator"));
	close(fd);
}

TEST_F(policy, it_adds_to_what_the_driver_declares)
{
	struct cenalloc_constraints needs;
	char device[64], policy[128];

	ASSERT_LE(0, add_device(self->importer,
				DEVICE(.name = "declared", .flags = IMPORTER_DECLARE,
				       .alignment = 8192, .max_segments = 4)));
	ASSERT_TRUE(find_device("platform", "declared.", device, sizeof(device)));
	snprintf(policy, sizeof(policy), "platform:%s", device);
	ASSERT_EQ(0, make_policy(policy));
	EXPECT_EQ(0, say(policy, "max_segments", "2"));
	EXPECT_EQ(0, say(policy, "alignment", "4096"));
	needs = needs_of("platform", device);
	EXPECT_EQ(2, needs.max_segments);
	EXPECT_EQ(8192, needs.alignment);
	EXPECT_EQ(0, remove_policy(policy));
	EXPECT_EQ(4, needs_of("platform", device).max_segments);
}

TEST_F(policy, a_device_that_appears_later)
{
	char device[64];
	int handle;

	handle = add_device(self->importer, DEVICE(.name = "later"));
	ASSERT_LE(0, handle);
	ASSERT_TRUE(find_device("platform", "later.", device, sizeof(device)));
	ASSERT_EQ(0, call_number(self->importer, IMPORTER_REMOVE, handle));
	remove_policy(self->policy);
	snprintf(self->policy, sizeof(self->policy), "platform:%s", device);
	ASSERT_EQ(0, make_policy(self->policy));
	ASSERT_EQ(0, say(self->policy, "alignment", "16384"));
	ASSERT_LE(0, add_device(self->importer, DEVICE(.name = "later")));
	EXPECT_EQ(16384, needs_of("platform", device).alignment);
}

TEST_F(policy, a_driver_that_binds_later)
{
	const char *edu = edu_name();
	char policy[128];

	snprintf(policy, sizeof(policy), "pci:%s", edu);
	ASSERT_EQ(0, rebind("pci", "cenalloc_edu", edu, "unbind"));
	EXPECT_EQ(0, make_policy(policy));
	EXPECT_EQ(0, say(policy, "max_segments", "1"));
	EXPECT_EQ(0, rebind("pci", "cenalloc_edu", edu, "bind"));
	EXPECT_EQ(1, needs_of("pci", edu).max_segments);
	EXPECT_EQ(edu_reach(), needs_of("pci", edu).max_address);
	/* It is about the device, whoever drives it. */
	EXPECT_EQ(0, rebind("pci", "cenalloc_edu", edu, "unbind"));
	EXPECT_STREQ("1\n", said(policy, "max_segments"));
	EXPECT_EQ(0, rebind("pci", "cenalloc_edu", edu, "bind"));
	EXPECT_EQ(1, needs_of("pci", edu).max_segments);
	EXPECT_EQ(0, remove_policy(policy));
	EXPECT_EQ(0, needs_of("pci", edu).max_segments);
}

/*
 * A device of which nothing is said takes what is said of its nearest ancestor:
 * a random number generator below a PCI Express port, which the guest has.
 */
TEST_F(policy, inherited_from_the_nearest_ancestor)
{
	char port[64] = "", child[64] = "", path[256], target[512], policy[128], own[128];
	struct dirent *entry;
	DIR *dir = opendir("/sys/bus/pci/devices");
	char *last;

	while (dir && (entry = readdir(dir))) {
		ssize_t len;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.64s", entry->d_name);
		len = readlink(path, target, sizeof(target) - 1);
		ASSERT_LT(0, len);
		target[len] = '\0';
		last = strrchr(target, '/');
		*last = '\0';
		if (strstr(strrchr(target, '/'), "/pci"))
			continue;
		snprintf(port, sizeof(port), "%.63s", strrchr(target, '/') + 1);
		snprintf(child, sizeof(child), "%.63s", entry->d_name);
	}
	closedir(dir);
	ASSERT_STRNE("", child);
	snprintf(policy, sizeof(policy), "pci:%s", port);
	snprintf(own, sizeof(own), "pci:%s", child);

	EXPECT_EQ(0, needs_of("pci", child).alignment);
	ASSERT_EQ(0, make_policy(policy));
	EXPECT_EQ(0, say(policy, "alignment", "32768"));
	EXPECT_EQ(0, say(policy, "max_segments", "9"));
	EXPECT_EQ(32768, needs_of("pci", child).alignment);
	EXPECT_EQ(9, needs_of("pci", child).max_segments);
	/* Its own stands instead, not beside it. */
	ASSERT_EQ(0, make_policy(own));
	EXPECT_EQ(32768, needs_of("pci", child).alignment);
	EXPECT_EQ(0, say(own, "alignment", "8192"));
	EXPECT_EQ(8192, needs_of("pci", child).alignment);
	EXPECT_EQ(0, needs_of("pci", child).max_segments);
	EXPECT_EQ(0, remove_policy(own));
	EXPECT_EQ(32768, needs_of("pci", child).alignment);
	EXPECT_EQ(0, remove_policy(policy));
	EXPECT_EQ(0, needs_of("pci", child).alignment);
}

TEST_HARNESS_MAIN
