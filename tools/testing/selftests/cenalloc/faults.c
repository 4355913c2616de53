// SPDX-License-Identifier: GPL-2.0
/*
 * Every call on a buffer, with each of its allocations failing once. For a kernel
 * with failslab and fail_page_alloc, and the guest "faults", which has memory of
 * every allocator.
 */

#include <linux/dma-heap.h>

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "engine.h"
#include "kernel_api.h"
#include "places.h"
#include "policy.h"
#include "faults.h"

/* --- /dev/cenalloc and its alias ------------------------------------------ */

static int call_open(struct world *world)
{
	return keep(&world->result, open_device("/dev/cenalloc"));
}

FIXTURE_VARIANT_ADD(no_memory, open) {
	.injected = {
		.call = call_open,
	},
};

static int call_create(struct world *world)
{
	struct cenalloc_create create = { .len = LEN, .fd_flags = O_RDWR };

	return call(world->other, CENALLOC_CREATE, &create) ?: keep(&world->fd, create.fd);
}

FIXTURE_VARIANT_ADD(no_memory, create) {
	.injected = {
		.before = have_cenalloc,
		.call = call_create,
	},
};

static int call_create_named(struct world *world)
{
	struct cenalloc_create create = {
		.len = LEN, .align = 64 * KIB, .fd_flags = O_RDWR, .name = "a name",
	};

	return call(world->other, CENALLOC_CREATE, &create) ?: keep(&world->fd, create.fd);
}

FIXTURE_VARIANT_ADD(no_memory, create_named) {
	.injected = {
		.before = have_cenalloc,
		.call = call_create_named,
	},
};

static int have_heap(struct world *world)
{
	return keep(&world->other, open_device("/dev/dma_heap/cenalloc"));
}

static int call_open_heap(struct world *world)
{
	return keep(&world->result, open_device("/dev/dma_heap/cenalloc"));
}

FIXTURE_VARIANT_ADD(no_memory, open_heap) {
	.injected = {
		.call = call_open_heap,
	},
};

static int call_heap(struct world *world)
{
	struct dma_heap_allocation_data data = { .len = LEN, .fd_flags = O_RDWR };

	return call(world->other, DMA_HEAP_IOCTL_ALLOC, &data) ?: keep(&world->fd, data.fd);
}

FIXTURE_VARIANT_ADD(no_memory, heap_alloc) {
	.injected = {
		.before = have_heap,
		.call = call_heap,
	},
};

/* The descriptor is open already: what is left is the call. */
static int a_buffer_and_cenalloc(struct world *world)
{
	return a_buffer(world) ?: have_cenalloc(world);
}

static int declare_there(struct world *world, const char *bus, const char *device,
			 struct cenalloc_constraints needs)
{
	struct cenalloc_declare declare = { .fd = world->fd, .constraints = needs };

	snprintf(declare.bus, sizeof(declare.bus), "%s", bus);
	snprintf(declare.device, sizeof(declare.device), "%s", device);
	return call(world->other, CENALLOC_DECLARE, &declare);
}

static int call_declare_needs(struct world *world)
{
	return declare_there(world, "", "somebody", NEEDS(.max_segments = 1));
}

FIXTURE_VARIANT_ADD(no_memory, declare_needs) {
	.injected = {
		.before = a_buffer_and_cenalloc,
		.call = call_declare_needs,
		.after = has_one_user,
	},
};

static int a_device_with_a_name(struct world *world)
{
	int ret = a_device_with(world, DEVICE(.name = "declared", .access_mask = ~0ULL >> 1,
					      .max_segments = 2));

	if (!ret && !find_device("platform", "declared.", world->name, sizeof(world->name)))
		ret = -ENODEV;
	return ret ?: have_cenalloc(world);
}

static int call_declare_device(struct world *world)
{
	return declare_there(world, "platform", world->name, NEEDS(.alignment = 64 * KIB));
}

FIXTURE_VARIANT_ADD(no_memory, declare_device) {
	.injected = {
		.before = a_device_with_a_name,
		.call = call_declare_device,
		.after = has_one_user,
	},
};

/* A buffer that has to move for the one that is declared. */
static int a_filled_buffer(struct world *world)
{
	return a_buffer_and_cenalloc(world) ?: fill(world);
}

static int call_declare_that_moves(struct world *world)
{
	return declare_there(world, "", "somebody",
			     NEEDS(.access_mask = CENALLOC_CLASS_SYSTEM_CONTIG));
}

FIXTURE_VARIANT_ADD(no_memory, declare_that_moves) {
	.injected = {
		.before = a_filled_buffer,
		.call = call_declare_that_moves,
		.after = has_moved,
		.errors = { -EBUSY },
	},
};

/* How often somebody else than the first gave the memory. */
static unsigned int fallen_through;

static int is_backed_by_any(struct world *world)
{
	fallen_through += !!strcmp("system", query_fields(world->fd).allocator);
	return is_backed(world);
}

/* Who fails is not the last that is asked. */
TEST(allocate_from_the_next)
{
	static const struct injected injected = {
		.before = a_buffer_and_cenalloc, .call = call_allocate, .after = is_backed_by_any,
		.in_a_row = true, .falls_through = true,
	};

	check_faults(_metadata, &injected);
	EXPECT_LT(0, fallen_through);
}

static int call_test_contiguous(struct world *world)
{
	struct cenalloc_test test = {
		.len = LEN, .constraints.access_mask = CENALLOC_CLASS_SYSTEM_CONTIG,
	};
	int ret = call(world->other, CENALLOC_TEST, &test);

	return ret ?: test.result == CENALLOC_TEST_NO_MEMORY ? -ENOMEM :
		      test.result == CENALLOC_TEST_OK ? 0 : -EINVAL;
}

FIXTURE_VARIANT_ADD(no_memory, test_contiguous) {
	.injected = {
		.before = have_cenalloc,
		.call = call_test_contiguous,
		/* It takes no memory. */
		.never_fails = true,
	},
};

static struct told told_here;

static int a_user_and_cenalloc(struct world *world)
{
	return an_attachment_with(world, DEVICE(.max_segments = 3)) ?: have_cenalloc(world);
}

static int call_query(struct world *world)
{
	struct cenalloc_query *query = &told_here.query;

	memset(&told_here, 0, sizeof(told_here));
	query->fd = world->fd;
	query->users = (uintptr_t)told_here.users;
	query->user_count = USERS;
	query->user_size = sizeof(told_here.users[0]);
	return call(world->other, CENALLOC_QUERY, query);
}

FIXTURE_VARIANT_ADD(no_memory, query) {
	.injected = {
		.before = a_user_and_cenalloc,
		.call = call_query,
		/* For so few users it takes no memory. */
		.never_fails = true,
	},
};

static int users_and_cenalloc(struct world *world)
{
	int ret = a_user_and_cenalloc(world), i;

	for (i = 0; i < 3 && !ret; i++)
		ret = declare_needs(world->fd, "one of many", NEEDS());
	return ret;
}

/* Where the kernel has no piece for the answer, it makes one of pages. */
FIXTURE_VARIANT_ADD(no_memory, query_many) {
	.injected = {
		.before = users_and_cenalloc,
		.call = call_query,
		.falls_through = true,
	},
};

static struct cenalloc_allocator_info listed[ALLOCATORS];

static int call_allocators(struct world *world)
{
	struct cenalloc_allocators allocators = {
		.allocators = (uintptr_t)listed, .count = ALLOCATORS, .size = sizeof(listed[0]),
	};

	return call(world->other, CENALLOC_ALLOCATORS, &allocators);
}

FIXTURE_VARIANT_ADD(no_memory, allocators) {
	.injected = {
		.before = have_cenalloc,
		.call = call_allocators,
		.never_fails = true,
	},
};

static int call_read_buffers(struct world *world)
{
	static char text[64 * KIB];

	return pread(world->other, text, sizeof(text), 0) < 0 ? -errno : 0;
}

static int have_buffers_file(struct world *world)
{
	return an_attachment(world) ?: keep(&world->other, open_device(DEBUGFS "buffers"));
}

FIXTURE_VARIANT_ADD(no_memory, debugfs) {
	.injected = {
		.before = have_buffers_file,
		.call = call_read_buffers,
	},
};

/* --- Devices and attachments ---------------------------------------------- */

static int call_add_device(struct world *world)
{
	return keep(&world->device, add_device(world->importer, DEVICE(.max_segments = 3)));
}

/*
 * The driver core tells nobody that it had no memory to bind the device (EAGAIN), and
 * adds one without a name where it had none for that (EINVAL).
 */
FIXTURE_VARIANT_ADD(no_memory, add_device) {
	.injected = {
		.call = call_add_device,
		.errors = { -EAGAIN, -EINVAL },
	},
};

FIXTURE_VARIANT_ADD(no_memory, attach) {
	.injected = {
		.before = a_device,
		.call = call_attach,
		.after = has_one_user,
	},
};

/* Another child of the same parent, which alone knows what memory suits both. */
static int an_unlike_child(struct world *world)
{
	struct importer_add add = {
		.name = "child", .flags = IMPORTER_CHILD, .priority = 1,
		.access_mask = CENALLOC_CLASS_SYSTEM_CONTIG,
	};
	int parent = add_device(world->importer,
				DEVICE(.name = "parent", .priority = 2,
				       .access_mask = CENALLOC_CLASS_SYSTEM));

	if (parent < 0)
		return parent;
	add.parent = parent;
	if (a_buffer(world) || join(world->importer, world->fd, add) < 0)
		return -EINVAL;
	add.access_mask = CENALLOC_CLASS_CARVEOUT;
	return keep(&world->device, add_device(world->importer, add));
}

static int has_two_second_choices(struct world *world)
{
	struct told told;
	int ret = query(world->fd, &told);

	return ret ?: told.query.user_count == 2 &&
		      told.users[0].flags & told.users[1].flags & CENALLOC_USER_SECOND ? 0 :
		      -EUSERS;
}

FIXTURE_VARIANT_ADD(no_memory, attach_with_second_choices) {
	.injected = {
		.before = an_unlike_child,
		.call = call_attach,
		.after = has_two_second_choices,
	},
};

static int a_declared_device(struct world *world)
{
	return a_device_with_a_name(world) ?: call_declare_device(world);
}

FIXTURE_VARIANT_ADD(no_memory, attach_of_a_declared) {
	.injected = {
		.before = a_declared_device,
		.call = call_attach,
		.after = has_one_user,
	},
};

static int call_attach_dynamic(struct world *world)
{
	return keep(&world->attachment,
		    attach_dynamic(world->importer, world->device, world->fd));
}

FIXTURE_VARIANT_ADD(no_memory, attach_dynamic) {
	.injected = {
		.before = a_device,
		.call = call_attach_dynamic,
		.after = has_one_user,
	},
};

/* Whoever is refused is refused, with or without memory to say why. */
static int a_stranger(struct world *world)
{
	return an_attachment_with(world, DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM)) ?:
	       keep(&world->device,
		    add_device(world->importer, DEVICE(.access_mask = CENALLOC_CLASS_CARVEOUT)));
}

static int call_attach_a_stranger(struct world *world)
{
	int ret = attach(world->importer, world->device, world->fd);

	return ret == -EINVAL ? 0 : ret < 0 ? ret : -EBADE;
}

FIXTURE_VARIANT_ADD(no_memory, attach_that_is_refused) {
	.injected = {
		.before = a_stranger,
		.call = call_attach_a_stranger,
		.after = has_one_user,
	},
};

/* Memory that no other device needs: it moves for the newcomer. */
static int a_filled_buffer_and_a_device(struct world *world)
{
	return a_device_with(world, DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM_CONTIG)) ?:
	       fill(world);
}

FIXTURE_VARIANT_ADD(no_memory, attach_that_moves) {
	.injected = {
		.before = a_filled_buffer_and_a_device,
		.call = call_attach,
		.after = has_moved,
		.errors = { -EBUSY },
	},
};

/* Others are told of it, and have to follow. */
static int a_dynamic_mapping_and_a_device(struct world *world)
{
	return a_dynamic_attachment(world) ?:
	       map(world->importer, world->attachment, NULL) ?:
	       fill(world) ?:
	       keep(&world->device,
		    add_device(world->importer,
			       DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM_CONTIG)));
}

static int call_attach_second(struct world *world)
{
	return keep(&world->other, attach(world->importer, world->device, world->fd));
}

static int has_moved_and_told(struct world *world)
{
	return has_moved(world) ?:
	       count_moves(world->importer, world->attachment) == 1 ? 0 : -ENODATA;
}

FIXTURE_VARIANT_ADD(no_memory, attach_that_moves_mapped_memory) {
	.injected = {
		.before = a_dynamic_mapping_and_a_device,
		.call = call_attach_second,
		.after = has_moved_and_told,
		.errors = { -EBUSY },
	},
};

/* To memory without struct pages and from it: the bytes go through kernel mappings. */
static int a_filled_buffer_and_a_bank(struct world *world)
{
	return a_device_with(world, DEVICE(.access_mask = CENALLOC_CLASS_CARVEOUT,
					   .max_address = BANK_START + BANK_LEN - 1)) ?:
	       fill(world);
}

FIXTURE_VARIANT_ADD(no_memory, attach_that_moves_to_a_bank) {
	.injected = {
		.before = a_filled_buffer_and_a_bank,
		.call = call_attach,
		.after = has_moved,
		.errors = { -EBUSY },
		.maps_in_kernel = true,
	},
};

static int call_detach(struct world *world)
{
	return detach(world->importer, world->attachment);
}

FIXTURE_VARIANT_ADD(no_memory, detach) {
	.injected = {
		.before = an_attachment,
		.call = call_detach,
		.never_fails = true,
	},
};

FIXTURE_VARIANT_ADD(no_memory, detach_of_a_mapping) {
	.injected = {
		.before = a_mapping,
		.call = call_detach,
		.never_fails = true,
	},
};

/* --- Mappings ------------------------------------------------------------- */

static int call_unmap(struct world *world)
{
	return unmap(world->importer, world->attachment);
}

FIXTURE_VARIANT_ADD(no_memory, map_of_memory) {
	.injected = {
		.before = a_filled_attachment,
		.call = call_map,
		.after = call_unmap,
	},
};

/* One whose table has a segment for every page. */
static int a_fine_attachment(struct world *world)
{
	return an_attachment_with(world, DEVICE(.max_segment_size = PAGE)) ?: fill(world);
}

FIXTURE_VARIANT_ADD(no_memory, map_of_many_segments) {
	.injected = {
		.before = a_fine_attachment,
		.call = call_map,
		.after = call_unmap,
	},
};

static int a_filled_dynamic_attachment(struct world *world)
{
	return a_dynamic_attachment(world) ?: fill(world);
}

FIXTURE_VARIANT_ADD(no_memory, map_dynamic) {
	.injected = {
		.before = a_filled_dynamic_attachment,
		.call = call_map,
		.after = call_unmap,
	},
};

static int a_filled_mapping(struct world *world)
{
	return a_filled_attachment(world) ?: call_map(world);
}

FIXTURE_VARIANT_ADD(no_memory, unmap) {
	.injected = {
		.before = a_filled_mapping,
		.call = call_unmap,
		.never_fails = true,
	},
};

static int call_unpin(struct world *world)
{
	return unpin(world->importer, world->attachment);
}

static int a_pin(struct world *world)
{
	return a_filled_dynamic_attachment(world) ?: call_pin(world);
}

FIXTURE_VARIANT_ADD(no_memory, unpin) {
	.injected = {
		.before = a_pin,
		.call = call_unpin,
		.never_fails = true,
	},
};

static int an_engine(struct world *world)
{
	return a_buffer(world) ?: keep(&world->other, open_device("/dev/cenalloc_edu"));
}

static int call_edu_attach(struct world *world)
{
	return call_number(world->other, EDU_ATTACH, world->fd);
}

FIXTURE_VARIANT_ADD(no_memory, edu_attach) {
	.injected = {
		.before = an_engine,
		.call = call_edu_attach,
		.after = has_one_user,
	},
};

static int an_attached_engine(struct world *world)
{
	return an_engine(world) ?: call_edu_attach(world);
}

static int call_edu_map(struct world *world)
{
	struct edu_map map = {};

	return call(world->other, EDU_MAP, &map);
}

FIXTURE_VARIANT_ADD(no_memory, edu_map) {
	.injected = {
		.before = an_attached_engine,
		.call = call_edu_map,
		.after = is_backed,
		.falls_through = true,
		.behind = 8,
	},
};

static int a_mapped_engine(struct world *world)
{
	return an_attached_engine(world) ?: call_edu_map(world);
}

static int call_edu_transfer(struct world *world)
{
	return transfer(world->other, 0, 0, 4 * KIB, EDU_TO_DEVICE);
}

FIXTURE_VARIANT_ADD(no_memory, edu_transfer) {
	.injected = {
		.before = a_mapped_engine,
		.call = call_edu_transfer,
		.never_fails = true,
	},
};

/* --- The CPU -------------------------------------------------------------- */

FIXTURE_VARIANT_ADD(no_memory, mmap) {
	.injected = {
		.before = a_buffer,
		.call = call_mmap,
	},
};

static int call_begin(struct world *world)
{
	return sync_cpu(world->fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
}

static int call_end(struct world *world)
{
	return sync_cpu(world->fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
}

FIXTURE_VARIANT_ADD(no_memory, begin_cpu_access) {
	.injected = {
		.before = a_filled_mapping,
		.call = call_begin,
		.after = call_end,
		.never_fails = true,
	},
};

static int a_section(struct world *world)
{
	return a_filled_mapping(world) ?: call_begin(world);
}

FIXTURE_VARIANT_ADD(no_memory, end_cpu_access) {
	.injected = {
		.before = a_section,
		.call = call_end,
		.never_fails = true,
	},
};

static int a_buffer_to_close(struct world *world)
{
	return a_buffer(world) ?: allocate(world->fd);
}

static int call_close(struct world *world)
{
	return close(world->fd) ? -errno : 0;
}

FIXTURE_VARIANT_ADD(no_memory, close) {
	.injected = {
		.before = a_buffer_to_close,
		.call = call_close,
		.never_fails = true,
	},
};

/* --- Policies ------------------------------------------------------------- */

#define POLICY	"platform:faults"

static int call_make_policy(struct world *world)
{
	(void)world;
	return make_policy(POLICY);
}

static int call_remove_policy(struct world *world)
{
	(void)world;
	return remove_policy(POLICY);
}

FIXTURE_VARIANT_ADD(no_memory, policy_mkdir) {
	.injected = {
		.call = call_make_policy,
		.after = call_remove_policy,
	},
};

static int a_policy(struct world *world)
{
	char path[256];

	make_path(path, sizeof(path), POLICY, "max_segments");
	return make_policy(POLICY) ?: keep(&world->other, open_device(path));
}

static int call_say(struct world *world)
{
	return pwrite(world->other, "7", 1, 0) == 1 ? 0 : -errno;
}

static int is_said(struct world *world)
{
	bool is_said = !strcmp("7\n", said(POLICY, "max_segments"));

	close(world->other);
	return remove_policy(POLICY) ?: is_said ? 0 : -ENODATA;
}

FIXTURE_VARIANT_ADD(no_memory, policy_write) {
	.injected = {
		.before = a_policy,
		.call = call_say,
		.after = is_said,
	},
};

static int a_policy_to_remove(struct world *world)
{
	(void)world;
	return make_policy(POLICY);
}

/* The path of a call is allocated, too. */
FIXTURE_VARIANT_ADD(no_memory, policy_rmdir) {
	.injected = {
		.before = a_policy_to_remove,
		.call = call_remove_policy,
	},
};

int main(int argc, char **argv)
{
	if (!can_inject())
		ksft_exit_skip(CANNOT_INJECT);
	have_policies();
	return test_harness_run(argc, argv);
}
