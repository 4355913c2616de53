/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory that a late user cannot use where it is, and all that holds it there.
 *
 * To be included after calls.h, camera.h and vgem.h, with LEN defined: the length of
 * a buffer.
 */

#ifndef _CENALLOC_HOLDERS_H
#define _CENALLOC_HOLDERS_H

#include <drm/vgem_drm.h>

static struct mapping one;

/* What memory above 4 GiB is not: below 4 GiB and contiguous. */
#define LATE	DEVICE(.name = "late", .dma_mask = BITS(32), .max_segments = 1)

/* Memory above 4 GiB with bytes in it, seen by the CPU; all who attached are gone. */
static inline char *back_high(struct __test_metadata *_metadata, int importer, int fd)
{
	int attachment = join(importer, fd, DEVICE(.access_mask = CENALLOC_CLASS_SYSTEM));
	char *memory = map_cpu(fd, LEN);

	ASSERT_LE(0, attachment);
	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, map(importer, attachment, &one));
	ASSERT_LE(1ULL << 32, address_of(&one, 0));
	fill_bytes(memory, LEN, 1);
	ASSERT_EQ(0, detach(importer, attachment));
	return memory;
}

/* Somebody for whose sake memory stays. */
struct holder {
	int fd;
	int importer;
	int attachment;
	int device;	/* a camera or a card */
	__u32 handle;
	__u32 fence;
};

/* Returns 0, or a negative errno. */
typedef int (*action_t)(struct holder *me);

static inline int hold_static(struct holder *me)
{
	me->attachment = join(me->importer, me->fd, DEVICE(.name = "static"));
	return me->attachment < 0 ? me->attachment : map(me->importer, me->attachment, NULL);
}

static inline int let_go_mapped(struct holder *me)
{
	return unmap(me->importer, me->attachment);
}

static inline int hold_pinned(struct holder *me)
{
	me->attachment = join_dynamic(me->importer, me->fd, DEVICE(.name = "dynamic"));
	return me->attachment < 0 ? me->attachment : pin(me->importer, me->attachment);
}

static inline int let_go_pinned(struct holder *me)
{
	return unpin(me->importer, me->attachment);
}

/* Pinned twice and mapped: one pin is enough to hold it. */
static inline int hold_pinned_mapped(struct holder *me)
{
	int ret = hold_pinned(me);

	if (!ret)
		ret = pin(me->importer, me->attachment);
	if (!ret)
		ret = map(me->importer, me->attachment, NULL);
	if (!ret)
		ret = unmap(me->importer, me->attachment);
	return ret ? ret : unpin(me->importer, me->attachment);
}

/* Gone without a word. */
static inline int let_go_detached(struct holder *me)
{
	return detach(me->importer, me->attachment);
}

static inline int hold_kernel_address(struct holder *me)
{
	int ret;

	me->device = open_camera(1);
	ret = set_up(me->device, RED);
	if (ret > 0)
		ret = request(me->device, 2);
	return ret ? ret : queue(me->device, 0, me->fd);
}

static inline int let_go_kernel_address(struct holder *me)
{
	int ret = request(me->device, 0);

	close(me->device);
	return ret;
}

static inline int attach_fence(struct holder *me, __u32 flags)
{
	struct drm_prime_handle prime = { .fd = me->fd };
	struct drm_vgem_fence_attach fence = { .flags = flags };
	int ret;

	me->device = open_vgem();
	ret = call(me->device, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime);
	me->handle = prime.handle;
	fence.handle = prime.handle;
	if (!ret)
		ret = call(me->device, DRM_IOCTL_VGEM_FENCE_ATTACH, &fence);
	me->fence = fence.out_fence;
	return ret;
}

static inline int hold_reader(struct holder *me)
{
	return attach_fence(me, 0);
}

static inline int hold_writer(struct holder *me)
{
	return attach_fence(me, VGEM_FENCE_WRITE);
}

static inline int let_go_fence(struct holder *me)
{
	struct drm_vgem_fence_signal signal = { .fence = me->fence };
	int ret = call(me->device, DRM_IOCTL_VGEM_FENCE_SIGNAL, &signal);

	/* The importer that is attached is none that holds memory. */
	return ret;
}

/* Memory that is held in each of these ways, once the test lets it. */
FIXTURE(held) {
	struct holder holder;
	char *memory;
};

FIXTURE_VARIANT(held) {
	action_t hold;
	action_t let_go;
	__u32 how;
};

FIXTURE_VARIANT_ADD(held, static_mapping) {
	.hold = hold_static,
	.let_go = let_go_mapped,
	.how = CENALLOC_HOLDER_MAPPING,
};

FIXTURE_VARIANT_ADD(held, static_mapping_of_one_that_goes) {
	.hold = hold_static,
	.let_go = let_go_detached,
	.how = CENALLOC_HOLDER_MAPPING,
};

FIXTURE_VARIANT_ADD(held, pin) {
	.hold = hold_pinned,
	.let_go = let_go_pinned,
	.how = CENALLOC_HOLDER_PIN,
};

FIXTURE_VARIANT_ADD(held, pin_after_a_mapping) {
	.hold = hold_pinned_mapped,
	.let_go = let_go_pinned,
	.how = CENALLOC_HOLDER_PIN,
};

FIXTURE_VARIANT_ADD(held, pin_of_one_that_goes) {
	.hold = hold_pinned,
	.let_go = let_go_detached,
	.how = CENALLOC_HOLDER_PIN,
};

FIXTURE_VARIANT_ADD(held, kernel_address) {
	.hold = hold_kernel_address,
	.let_go = let_go_kernel_address,
	.how = CENALLOC_HOLDER_KERNEL,
};

FIXTURE_VARIANT_ADD(held, fence_of_a_reader) {
	.hold = hold_reader,
	.let_go = let_go_fence,
	.how = CENALLOC_HOLDER_FENCE,
};

FIXTURE_VARIANT_ADD(held, fence_of_a_writer) {
	.hold = hold_writer,
	.let_go = let_go_fence,
	.how = CENALLOC_HOLDER_FENCE,
};

FIXTURE_SETUP(held)
{
	self->holder.fd = create(LEN);
	ASSERT_LE(0, self->holder.fd);
	self->holder.importer = open_importer();
	ASSERT_LE(0, self->holder.importer);
	self->memory = back_high(_metadata, self->holder.importer, self->holder.fd);
}

FIXTURE_TEARDOWN(held)
{
	munmap(self->memory, LEN);
	close(self->holder.importer);
	close(self->holder.fd);
}

#endif /* _CENALLOC_HOLDERS_H */
