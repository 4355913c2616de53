/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The modules that use linux/cenalloc.h: a driver that makes buffers, and allocators
 * outside of cenalloc. Calls return a negative errno.
 *
 * To be included after cenalloc_test.h.
 */

#ifndef _CENALLOC_KERNEL_API_H
#define _CENALLOC_KERNEL_API_H

#include "cenalloc_c_allocator.h"
#include "cenalloc_c_importer.h"
#include "modules.h"
#include "touch.h"

/* --- The driver that makes buffers ---------------------------------------- */

static inline int open_driver(void)
{
	return open_device("/dev/cenalloc_c_importer");
}

static inline int driver_create(int driver, __u64 len, __u64 align, __u64 flags)
{
	struct c_importer_create create = { .len = len, .align = align, .flags = flags };

	return call(driver, C_IMPORTER_CREATE, &create);
}

/* Any buffer becomes that of the driver. */
static inline int driver_take(int driver, int fd)
{
	return call_number(driver, C_IMPORTER_TAKE, fd);
}

static inline int driver_export(int driver)
{
	int fd = ioctl(driver, C_IMPORTER_EXPORT, 0);

	return fd < 0 ? -errno : fd;
}

static inline int driver_attach(int driver, int device)
{
	return call_number(driver, C_IMPORTER_ATTACH, device);
}

static inline int driver_detach(int driver, int device)
{
	return call_number(driver, C_IMPORTER_DETACH, device);
}

/* @seen may be NULL. */
static inline int driver_map(int driver, int device, struct c_importer_seen *seen)
{
	struct c_importer_map map = { .device = device };
	int ret = call(driver, C_IMPORTER_MAP, &map);

	if (!ret && seen)
		*seen = map.seen;
	return ret;
}

static inline int driver_unmap(int driver, int device)
{
	return call_number(driver, C_IMPORTER_UNMAP, device);
}

static inline int driver_fill(int driver, int byte)
{
	return call_number(driver, C_IMPORTER_FILL, byte);
}

static inline int driver_phys(int driver, struct c_importer_phys *phys)
{
	return call(driver, C_IMPORTER_PHYS, phys);
}

/* What the table says; @bytes, which may be NULL, gets a page from @offset on. */
static inline int driver_pages(int driver, __u64 offset, void *bytes,
			       struct c_importer_pages *pages)
{
	*pages = (struct c_importer_pages) {
		.bytes = (uintptr_t)bytes,
		.offset = offset,
		.len = bytes ? PAGE : 0,
	};
	return call(driver, C_IMPORTER_PAGES, pages);
}

/* Without @needs, those that the kernel knows of alone. */
static inline int driver_declare(int driver, int device, const struct cenalloc_constraints *needs,
				 struct cenalloc_refusal *refusal)
{
	struct c_importer_declare declare = { .device = device, .has_needs = !!needs };
	int ret;

	if (needs) {
		declare.access_mask = needs->access_mask;
		declare.max_address = needs->max_address;
		declare.max_segments = needs->max_segments;
	}
	ret = call(driver, C_IMPORTER_DECLARE, &declare);
	*refusal = declare.refusal;
	return ret;
}

/* @refusal may be NULL. */
static inline int driver_allocate(int driver, struct cenalloc_refusal *refusal)
{
	return call(driver, C_IMPORTER_ALLOCATE, refusal);
}

static inline int driver_vmap(int driver)
{
	return call_number(driver, C_IMPORTER_VMAP, 0);
}

static inline int driver_vunmap(int driver)
{
	return call_number(driver, C_IMPORTER_VUNMAP, 0);
}

static inline int driver_free(int driver)
{
	return call_number(driver, C_IMPORTER_FREE, 0);
}

static inline int driver_misuse(int driver, int what)
{
	return call_number(driver, C_IMPORTER_MISUSE, what);
}

/* --- Allocators outside of cenalloc --------------------------------------- */

/* The class of those that the tests add, and a priority above all of cenalloc's. */
#define OUTSIDE_CLASS	0x100000000ULL
#define FIRST		10000

static inline int open_outside(void)
{
	return open_device("/dev/cenalloc_c_allocator");
}

#define OUTSIDE(...)	((struct c_allocator_add){ __VA_ARGS__ })

/* As it is given; returns the handle. */
static inline int add_outside_raw(int outside, struct c_allocator_add add)
{
	int ret = call(outside, C_ALLOCATOR_ADD, &add);

	return ret ? ret : (int)add.handle;
}

/* With a name, a class and a priority where there is none. */
static inline int add_outside(int outside, struct c_allocator_add add)
{
	if (!add.name[0])
		snprintf(add.name, sizeof(add.name), "outside");
	if (!add.type)
		add.type = OUTSIDE_CLASS;
	if (!add.priority)
		add.priority = FIRST;
	return add_outside_raw(outside, add);
}

static inline int remove_outside(int outside, int handle)
{
	return call_number(outside, C_ALLOCATOR_REMOVE, handle);
}

static inline int set_fault(int outside, int handle, int fault, int code)
{
	struct c_allocator_fault what = { .handle = handle, .fault = fault, .code = code };

	return call(outside, C_ALLOCATOR_SET_FAULT, &what);
}

/* match() refuses devices whose name starts so. */
static inline int set_refused(int outside, int handle, const char *name)
{
	struct c_allocator_fault what = { .handle = handle };

	snprintf(what.refused, sizeof(what.refused), "%s", name);
	return call(outside, C_ALLOCATOR_SET_FAULT, &what);
}

/* What an allocator was asked; all ones where that cannot be told. */
static inline struct c_allocator_told tell(int outside, int handle)
{
	struct c_allocator_told told = { .handle = handle };

	if (call(outside, C_ALLOCATOR_TELL, &told))
		memset(&told, 0xff, sizeof(told));
	return told;
}

static inline unsigned int calls_of(int outside, int handle, int op)
{
	return tell(outside, handle).calls[op];
}

/* Waits for memory that is freed a little after its last user is gone. */
static inline int settled_live(int outside, int handle, int expected)
{
	int i;

	for (i = 0; i < 200 && tell(outside, handle).live != expected; i++)
		usleep(5000);
	return tell(outside, handle).live;
}

/* Removes all allocators; what is left, or an error other than that of no allocator. */
static inline int remove_all_outside(int outside)
{
	int handle, i, ret, worst = 0;

	for (handle = 0; handle < 64; handle++) {
		ret = remove_outside(outside, handle);
		for (i = 0; i < 200 && ret == -EBUSY; i++) {
			usleep(5000);
			ret = remove_outside(outside, handle);
		}
		if (ret && ret != -ENOENT)
			worst = ret;
	}
	return worst;
}

/* --- Modules -------------------------------------------------------------- */

/* Those that use symbols of cenalloc, and so keep it: other programs unload that. */
static const char *const kernel_api_modules[] = {
	"cenalloc_c_importer", "cenalloc_c_allocator", "cenalloc_rust_allocator",
};

static void unload_modules(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kernel_api_modules); i++)
		if (unload_patiently(kernel_api_modules[i]))
			_exit(KSFT_FAIL);
}

/* Runs the tests with the modules loaded, and no longer. */
static inline int run_with_modules(int argc, char **argv)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kernel_api_modules); i++)
		if (load(kernel_api_modules[i]))
			ksft_exit_fail_msg("no %s\n", kernel_api_modules[i]);
	/* The harness does not return. */
	atexit(unload_modules);
	return test_harness_run(argc, argv);
}

#endif /* _CENALLOC_KERNEL_API_H */
