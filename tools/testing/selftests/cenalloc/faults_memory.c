// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of every allocator, taken, mapped and moved by users and by drivers, with
 * each allocation failing once: of this module, and of those that use its symbols.
 * For a kernel with failslab and fail_page_alloc, and the guest "faults".
 */

#include "kselftest_harness.h"
#include "cenalloc_test.h"
#include "calls.h"
#include "kernel_api.h"
#include "places.h"
#include "cenalloc_c_exporter.h"
#include "cenalloc_rust_allocator.h"
#include "faults.h"

/* --- Memory of every allocator -------------------------------------------- */

FIXTURE(memory) {
	int outside;		/* where allocators of another module are made, or -1 */
};

FIXTURE_VARIANT(memory) {
	struct importer_add needs;
	const char *allocator;
	bool has_next;		/* another way leads to memory of its class */
	bool maps_in_kernel;	/* it is zeroed through a mapping of the kernel */
	bool is_outside;	/* one of another module, which is added for the test */
	__u32 kind;		/* of that */
};

FIXTURE_VARIANT_ADD(memory, system) {
	.needs = { .access_mask = CENALLOC_CLASS_SYSTEM },
	.allocator = "system",
};

/*
 * In the middle of a zone: what lies too high is given back. Where there is no page, a
 * search of the zone has one, which asks the page allocator for none.
 */
FIXTURE_VARIANT_ADD(memory, system_below_2_30) {
	.needs = { .access_mask = CENALLOC_CLASS_SYSTEM, .max_address = BITS(30) },
	.allocator = "system",
	.has_next = true,
};

FIXTURE_VARIANT_ADD(memory, system_contig) {
	.needs = { .access_mask = CENALLOC_CLASS_SYSTEM_CONTIG },
	.allocator = "system-contig",
};

FIXTURE_VARIANT_ADD(memory, cma) {
	.needs = { .access_mask = CENALLOC_CLASS_CMA },
	.allocator = CMA,
};

FIXTURE_VARIANT_ADD(memory, dma_coherent) {
	.needs = { .access_mask = CENALLOC_CLASS_DMA_COHERENT },
	.allocator = "dma-coherent",
};

FIXTURE_VARIANT_ADD(memory, carveout_with_struct_pages) {
	.needs = { .access_mask = CENALLOC_CLASS_CARVEOUT },
	.allocator = "ram",
	.has_next = true,
	.maps_in_kernel = true,
};

FIXTURE_VARIANT_ADD(memory, carveout_without) {
	.needs = {
		.access_mask = CENALLOC_CLASS_CARVEOUT,
		.max_address = BANK_START + BANK_LEN - 1,
	},
	.allocator = "bank",
	.maps_in_kernel = true,
};

FIXTURE_VARIANT_ADD(memory, in_rust) {
	.needs = { .access_mask = RUST_ALLOCATOR_CLASS },
	.allocator = "rust-pool",
};

/* Those of a module in C: the least that there is, and all that can be done. */
FIXTURE_VARIANT_ADD(memory, plain_in_c) {
	.needs = { .access_mask = OUTSIDE_CLASS }, .allocator = "outside",
	.is_outside = true, .kind = C_ALLOCATOR_PLAIN,
};

FIXTURE_VARIANT_ADD(memory, pieces_in_c) {
	.needs = { .access_mask = OUTSIDE_CLASS }, .allocator = "outside",
	.is_outside = true, .kind = C_ALLOCATOR_PIECES,
};

/* What the functions below are told by the variant. */
static struct importer_add needed;

FIXTURE_SETUP(memory)
{
	needed = variant->needs;
	self->outside = -1;
	if (variant->is_outside) {
		self->outside = open_outside();
		ASSERT_LE(0, self->outside);
		ASSERT_LE(0, add_outside(self->outside, OUTSIDE(.kind = variant->kind)));
	}
	if (!find_allocator(variant->allocator).max_len)
		SKIP(return, "no allocator %s", variant->allocator);
}

FIXTURE_TEARDOWN(memory)
{
	if (variant->is_outside)
		EXPECT_EQ(0, remove_all_outside(self->outside));
}

static int an_attachment_there(struct world *world)
{
	return an_attachment_with(world, needed) ?: have_cenalloc(world);
}

TEST_F(memory, allocate)
{
	check_faults(_metadata, &(struct injected) {
		.before = an_attachment_there,
		.call = call_allocate,
		.after = is_backed,
		.falls_through = variant->has_next,
		.maps_in_kernel = variant->maps_in_kernel,
	});
}

/* Longer than a block, so that there is one way alone: chunks that are shorter each time. */
static int a_long_buffer_below(struct world *world, __u64 max_address)
{
	return keep(&world->fd, create(4 * MIB + 3 * PAGE)) ?:
	       declare_needs(world->fd, "scattered", NEEDS(.access_mask = CENALLOC_CLASS_SYSTEM,
							   .max_address = max_address)) ?:
	       have_cenalloc(world);
}

static int a_long_buffer(struct world *world)
{
	return a_long_buffer_below(world, 0);
}

FIXTURE_VARIANT_ADD(no_memory, allocate_in_chunks) {
	.injected = {
		.before = a_long_buffer,
		.call = call_allocate,
		.after = is_backed,
	},
};

static int a_long_low_buffer(struct world *world)
{
	return a_long_buffer_below(world, BITS(30));
}

FIXTURE_VARIANT_ADD(no_memory, allocate_in_low_chunks) {
	.injected = {
		.before = a_long_low_buffer,
		.call = call_allocate,
		.after = is_backed,
	},
};

/* The first map: it takes the memory. */
TEST_F(memory, map)
{
	check_faults(_metadata, &(struct injected) {
		.before = an_attachment_there,
		.call = call_map,
		.after = is_backed,
		.falls_through = variant->has_next,
		.behind = 8,
		.maps_in_kernel = variant->maps_in_kernel,
	});
}

static int a_dynamic_attachment_there(struct world *world)
{
	return a_buffer(world) ?:
	       keep(&world->attachment, join_dynamic(world->importer, world->fd, needed));
}

TEST_F(memory, map_dynamic)
{
	check_faults(_metadata, &(struct injected) {
		.before = a_dynamic_attachment_there,
		.call = call_map,
		.after = is_backed,
		.falls_through = variant->has_next,
		.behind = 8,
		.maps_in_kernel = variant->maps_in_kernel,
	});
}

TEST_F(memory, pin)
{
	check_faults(_metadata, &(struct injected) {
		.before = a_dynamic_attachment_there,
		.call = call_pin,
		.after = is_backed,
		.falls_through = variant->has_next,
		.maps_in_kernel = variant->maps_in_kernel,
	});
}

static int an_empty_buffer_seen(struct world *world)
{
	return an_attachment_there(world) ?: call_mmap(world);
}

/* Where a page table is lacking, the kernel tries again. */
static int call_touch(struct world *world)
{
	return touch(world->memory, true) ? -ENOMEM : 0;
}

TEST_F(memory, touch)
{
	check_faults(_metadata, &(struct injected) {
		.before = an_empty_buffer_seen,
		.call = call_touch,
		.after = is_backed,
		.falls_through = variant->has_next,
		.maps_in_kernel = variant->maps_in_kernel,
	});
}

static int a_filled_buffer_seen_anew_there(struct world *world)
{
	int ret = an_attachment_there(world) ?: fill(world);

	if (ret)
		return ret;
	munmap(world->memory, LEN);
	return call_mmap(world);
}

/* What touch() wrote is no matter of the test. */
static int write_back(struct world *world)
{
	fill_bytes(world->memory, sizeof(__u64), SEED);
	return 0;
}

/* Memory is there; page tables are not, for which the kernel tries again. */
TEST_F(memory, touch_again)
{
	check_faults(_metadata, &(struct injected) {
		.before = a_filled_buffer_seen_anew_there,
		.call = call_touch,
		.after = write_back,
		.falls_through = true,
		.may_need_none = true,
		.maps_in_kernel = variant->maps_in_kernel,
	});
}

/* --- A driver that makes buffers ------------------------------------------ */

/* The kernel's own address of the memory: the driver writes to it. */
static int a_driver_there(struct world *world)
{
	return an_attachment_there(world) ?: keep(&world->result, open_driver()) ?:
	       driver_take(world->result, world->fd);
}

static int call_fill(struct world *world)
{
	return driver_fill(world->result, 7);
}

TEST_F(memory, vmap)
{
	check_faults(_metadata, &(struct injected) {
		.before = a_driver_there,
		.call = call_fill,
		.after = is_backed,
		.falls_through = variant->has_next,
		.maps_in_kernel = true,
	});
}

static int a_filled_driver_there(struct world *world)
{
	return a_driver_there(world) ?: fill(world);
}

/* What is there is kept where it cannot be mapped. */
static int is_filled_with_seven(struct world *world)
{
	bool is_right = is_filled(world->memory, 7, LEN);

	fill_bytes(world->memory, LEN, SEED);
	return is_right ? 0 : -EBADMSG;
}

TEST_F(memory, vmap_again)
{
	check_faults(_metadata, &(struct injected) {
		.before = a_filled_driver_there,
		.call = call_fill,
		.after = is_filled_with_seven,
		.falls_through = true,
		.maps_in_kernel = true,
		.may_need_none = true,
	});
}

static int a_driver(struct world *world)
{
	return keep(&world->other, open_driver());
}

static int call_driver_create(struct world *world)
{
	return driver_create(world->other, LEN, 0, O_RDWR);
}

FIXTURE_VARIANT_ADD(no_memory, buffer_create) {
	.injected = {
		.before = a_driver,
		.call = call_driver_create,
	},
};

static int a_driver_with_a_buffer(struct world *world)
{
	return a_driver(world) ?: call_driver_create(world);
}

static int call_driver_export(struct world *world)
{
	return keep(&world->result, driver_export(world->other));
}

FIXTURE_VARIANT_ADD(no_memory, dma_buf_fd) {
	.injected = {
		.before = a_driver_with_a_buffer,
		.call = call_driver_export,
		.never_fails = true,
	},
};

static int call_driver_free(struct world *world)
{
	return driver_free(world->other);
}

FIXTURE_VARIANT_ADD(no_memory, buffer_free) {
	.injected = {
		.before = a_driver_with_a_buffer,
		.call = call_driver_free,
		.never_fails = true,
	},
};

/* A driver that has taken a buffer in which there is something. */
static int a_driver_of_a_filled_buffer(struct world *world)
{
	return a_buffer(world) ?: fill(world) ?: a_driver(world) ?:
	       driver_take(world->other, world->fd);
}

static int call_driver_attach(struct world *world)
{
	return driver_attach(world->other, C_IMPORTER_CODEC);
}

FIXTURE_VARIANT_ADD(no_memory, driver_attach) {
	.injected = {
		.before = a_driver_of_a_filled_buffer,
		.call = call_driver_attach,
		.after = has_one_user,
	},
};

static int an_attached_driver(struct world *world)
{
	return a_driver_of_a_filled_buffer(world) ?: call_driver_attach(world);
}

static int call_driver_map(struct world *world)
{
	return driver_map(world->other, C_IMPORTER_CODEC, NULL);
}

FIXTURE_VARIANT_ADD(no_memory, driver_map) {
	.injected = {
		.before = an_attached_driver,
		.call = call_driver_map,
	},
};

static int call_driver_pages(struct world *world)
{
	struct c_importer_pages pages;

	return driver_pages(world->other, 0, NULL, &pages);
}

FIXTURE_VARIANT_ADD(no_memory, sg_table) {
	.injected = {
		.before = a_driver_of_a_filled_buffer,
		.call = call_driver_pages,
	},
};

static int a_driver_of_one_run(struct world *world)
{
	return a_buffer(world) ?: declare_needs(world->fd, "linear", NEEDS(.max_segments = 1)) ?:
	       fill(world) ?: a_driver(world) ?: driver_take(world->other, world->fd);
}

static int call_driver_phys(struct world *world)
{
	struct c_importer_phys phys = {};

	return driver_phys(world->other, &phys);
}

FIXTURE_VARIANT_ADD(no_memory, phys) {
	.injected = {
		.before = a_driver_of_one_run,
		.call = call_driver_phys,
		.never_fails = true,
	},
};

static int call_run(struct world *world)
{
	static struct c_importer_run run;

	run = (struct c_importer_run) { .len = LEN };
	return call(world->other, C_IMPORTER_RUN, &run);
}

FIXTURE_VARIANT_ADD(no_memory, run) {
	.injected = {
		.before = a_driver,
		.call = call_run,
	},
};

static int a_rust_driver(struct world *world)
{
	return keep(&world->other, open_device("/dev/cenalloc_rust_allocator"));
}

static int call_rust_create(struct world *world)
{
	struct rust_allocator_buffer buffer = { .len = LEN };

	return call(world->other, RUST_ALLOCATOR_CREATE, &buffer) ?:
	       keep(&world->fd, buffer.fd);
}

FIXTURE_VARIANT_ADD(no_memory, handle) {
	.injected = {
		.before = a_rust_driver,
		.call = call_rust_create,
		.after = is_backed,
	},
};

/* --- Allocators of other modules, and another exporter --------------------- */

static int have_outside(struct world *world)
{
	return keep(&world->other, open_outside());
}

static int call_add_allocator(struct world *world)
{
	return keep(&world->device, add_outside(world->other, OUTSIDE(.kind = C_ALLOCATOR_PLAIN)));
}

static int call_remove_allocator(struct world *world)
{
	return remove_outside(world->other, world->device);
}

FIXTURE_VARIANT_ADD(no_memory, add_allocator) {
	.injected = {
		.before = have_outside,
		.call = call_add_allocator,
		.after = call_remove_allocator,
	},
};

static int an_allocator(struct world *world)
{
	return have_outside(world) ?: call_add_allocator(world);
}

FIXTURE_VARIANT_ADD(no_memory, remove_allocator) {
	.injected = {
		.before = an_allocator,
		.call = call_remove_allocator,
		.never_fails = true,
	},
};

static int an_exporter(struct world *world)
{
	return keep(&world->other, open_device("/dev/cenalloc_c_exporter")) ?:
	       keep(&world->device, add_device(world->importer, DEVICE(.max_segments = 1)));
}

static int call_export(struct world *world)
{
	struct exporter_create create = { .len = LEN };

	return call(world->other, EXPORTER_CREATE, &create) ?: keep(&world->result, create.fd);
}

FIXTURE_VARIANT_ADD(no_memory, exporter_create) {
	.injected = {
		.before = an_exporter,
		.call = call_export,
	},
};

static int an_exported_buffer(struct world *world)
{
	return an_exporter(world) ?: call_export(world);
}

static int call_attach_there(struct world *world)
{
	return keep(&world->attachment,
		    attach(world->importer, world->device, world->result));
}

FIXTURE_VARIANT_ADD(no_memory, exporter_attach) {
	.injected = {
		.before = an_exported_buffer,
		.call = call_attach_there,
	},
};

static int an_attachment_to_that(struct world *world)
{
	return an_exported_buffer(world) ?: call_attach_there(world);
}

FIXTURE_VARIANT_ADD(no_memory, exporter_map) {
	.injected = {
		.before = an_attachment_to_that,
		.call = call_map,
	},
};

/* --- An area that is full -------------------------------------------------- */

/*
 * The kernel lets no single allocation of an area fail on demand: here all of it is
 * taken.
 */
FIXTURE(full_area) {
	int fds[CMA_LEN / MIB + 1];
	int count;
};

FIXTURE_SETUP(full_area)
{
	const struct cenalloc_constraints needs = NEEDS(.access_mask = CENALLOC_CLASS_CMA);

	needed = DEVICE(.access_mask = CENALLOC_CLASS_CMA);
	if (!find_allocator(CMA).max_len)
		SKIP(return, "no allocator %s", CMA);
	self->count = take_all(self->fds, ARRAY_SIZE(self->fds), LEN, needs);
	ASSERT_LT(0, self->count);
	ASSERT_GT((int)ARRAY_SIZE(self->fds), self->count);
}

FIXTURE_TEARDOWN(full_area)
{
	close_all(self->fds, self->count);
}

/* The call fails as long as @last has the last piece of the area, and not any longer. */
static void check_full(struct __test_metadata *_metadata, int last,
		       const struct injected *injected)
{
	static struct round round;
	int behind = 0;

	start_round(_metadata, injected, &round);
	check_failure(_metadata, injected, &round, injected->call(&round.world), &behind);
	close(last);
	ASSERT_EQ(0, injected->call(&round.world));
	EXPECT_EQ(0, injected->after(&round.world));
}

TEST_F(full_area, allocate)
{
	check_full(_metadata, self->fds[--self->count], &(struct injected) {
		.before = an_attachment_there,
		.call = call_allocate,
		.after = is_backed,
	});
}

TEST_F(full_area, map)
{
	check_full(_metadata, self->fds[--self->count], &(struct injected) {
		.before = an_attachment_there,
		.call = call_map,
		.after = is_backed,
	});
}

TEST_F(full_area, map_dynamic)
{
	check_full(_metadata, self->fds[--self->count], &(struct injected) {
		.before = a_dynamic_attachment_there,
		.call = call_map,
		.after = is_backed,
	});
}

TEST_F(full_area, pin)
{
	check_full(_metadata, self->fds[--self->count], &(struct injected) {
		.before = a_dynamic_attachment_there,
		.call = call_pin,
		.after = is_backed,
	});
}

TEST_F(full_area, touch)
{
	check_full(_metadata, self->fds[--self->count], &(struct injected) {
		.before = an_empty_buffer_seen,
		.call = call_touch,
		.after = is_backed,
	});
}

TEST_F(full_area, vmap)
{
	check_full(_metadata, self->fds[--self->count], &(struct injected) {
		.before = a_driver_there,
		.call = call_fill,
		.after = is_backed,
	});
}

static int a_filled_buffer_and_a_newcomer(struct world *world)
{
	return a_device_with(world, needed) ?: fill(world);
}

TEST_F(full_area, attach_that_moves)
{
	check_full(_metadata, self->fds[--self->count], &(struct injected) {
		.before = a_filled_buffer_and_a_newcomer,
		.call = call_attach,
		.after = has_moved,
		.errors = { -EBUSY },
	});
}

int main(int argc, char **argv)
{
	if (!can_inject())
		ksft_exit_skip(CANNOT_INJECT);
	return run_with_modules(argc, argv);
}
