/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Calls on buffers that a thread has for itself, and of which it knows all: who
 * uses them, what all need together, and every byte.
 *
 * To be included after fuzz.h.
 */

#ifndef _CENALLOC_FUZZ_OWN_H
#define _CENALLOC_FUZZ_OWN_H

#define OWN		5
#define OWN_USERS	4
#define OWN_MOST	(256 * KIB)

/* Its descriptors start here: no call with any arguments meets one of them. */
#define OWN_FDS		700

/* What a user needs, where zero is no number: all ones are any. */
struct limits {
	__u64 access_mask;
	__u64 max_address;
	__u64 max_segment_size;
	__u64 segment_boundary_mask;
	__u64 alignment;
	__u32 max_segments;
};

#define NO_LIMITS	((struct limits){ ~0ULL, ~0ULL, ~0ULL, ~0ULL, 1, ~0U })

struct own {
	int fd;		/* -1 where there is none */
	__u64 len;
	char *memory;	/* NULL where it is not mapped */
	__u64 seed;	/* of its bytes, which are zero where this is */
	__u32 backed;
	bool is_told;	/* a driver has seen where it is */
	__u32 declared;
	/* Of the creator and of all who were declared. */
	struct limits base;
	struct own_user {
		int device;	/* -1 where there is none */
		int attachment;
		bool is_dynamic;
		bool is_mapped;
		int pins;
		struct limits limits;
	} users[OWN_USERS];
};

static struct mapping *own_table(void)
{
	static __thread struct mapping table;

	return &table;
}

static struct own *any_own(void)
{
	struct own *own = &me->own[pick(OWN)];

	return own->fd < 0 ? NULL : own;
}

/* --- What is known -------------------------------------------------------- */

static __u64 smaller(__u64 a, __u64 b)
{
	return a < b ? a : b;
}

static void narrow(struct limits *limits, const struct limits *by)
{
	limits->access_mask &= by->access_mask;
	limits->max_address = smaller(limits->max_address, by->max_address);
	limits->max_segment_size = smaller(limits->max_segment_size, by->max_segment_size);
	limits->segment_boundary_mask = smaller(limits->segment_boundary_mask,
						by->segment_boundary_mask);
	limits->max_segments = smaller(limits->max_segments, by->max_segments);
	if (by->alignment > limits->alignment)
		limits->alignment = by->alignment;
}

static struct limits together(const struct own *own)
{
	struct limits limits = own->base;
	int i;

	for (i = 0; i < OWN_USERS; i++)
		if (own->users[i].device >= 0)
			narrow(&limits, &own->users[i].limits);
	return limits;
}

static __u32 count_users(const struct own *own)
{
	__u32 i, count = own->declared;

	for (i = 0; i < OWN_USERS; i++)
		count += own->users[i].device >= 0;
	return count;
}

/* Who holds the memory: what the thread maps and pins. */
static void own_holders(const struct own *own, const struct cenalloc_query *query)
{
	__u32 holds = 0, holders = 0;
	int i;

	for (i = 0; i < OWN_USERS; i++) {
		const struct own_user *user = &own->users[i];

		if (user->device < 0)
			continue;
		if (user->pins)
			holds |= CENALLOC_HOLDER_PIN;
		else if (user->is_mapped && !user->is_dynamic)
			holds |= CENALLOC_HOLDER_MAPPING;
		holders += user->pins || (user->is_mapped && !user->is_dynamic);
	}
	if (own->is_told) {
		holds |= CENALLOC_HOLDER_ADDRESS;
		holders++;
	}
	if (query->holds != holds || query->holders != holders)
		fail("%u hold it, by %#x, not %u by %#x", query->holders, query->holds, holders,
		     holds);
}

/* Asks the driver, and compares with what is known. */
static void own_query(struct own *own)
{
	struct cenalloc_query query = { .fd = own->fd };
	struct limits limits = together(own);
	const struct cenalloc_constraints *meet = &query.combined;
	int ret;

	begin("QUERY", own->fd, 0, 0);
	ret = ask(CENALLOC_QUERY, &query);
	finish(ret, ERRORS(ENOENT));
	if (query.len != own->len)
		fail("the buffer has %llu bytes, not %llu", query.len, own->len);
	if (query.user_count != count_users(own))
		fail("the buffer has %u users, not %u", query.user_count, count_users(own));
	if (query.state != own->backed)
		fail("the buffer is in state %u, not %u", query.state, own->backed);
	if (!!query.allocator[0] != own->backed)
		fail("state %u with allocator '%s'", query.state, query.allocator);
	if (!!query.ranges != own->backed || !!query.caching != own->backed)
		fail("state %u with %u ranges, caching %u", query.state, query.ranges,
		     query.caching);
	own_holders(own, &query);
	if (query.refusal.sequence != query.refusals || !query.refusals != !query.refusal.cause ||
	    query.late_refusals > query.refusals)
		fail("refusal %llu of %llu, %u late, is by cause %u", query.refusal.sequence,
		     query.refusals, query.late_refusals, query.refusal.cause);
	if ((meet->access_mask ? meet->access_mask : ~0ULL) != limits.access_mask)
		fail("all need classes %#llx, not %#llx", meet->access_mask, limits.access_mask);
	if ((meet->max_address ? meet->max_address : ~0ULL) != limits.max_address)
		fail("all reach %#llx, not %#llx", meet->max_address, limits.max_address);
	if ((meet->max_segments ? meet->max_segments : ~0U) != limits.max_segments)
		fail("all take %u segments, not %u", meet->max_segments, limits.max_segments);
	if ((meet->alignment ? meet->alignment : 1) != limits.alignment)
		fail("all need alignment %llu, not %llu", meet->alignment, limits.alignment);
}

/* Looks whether there is memory now, where that is not known. */
static void look(struct own *own)
{
	struct cenalloc_query query = query_fields(own->fd);

	if (query.state > CENALLOC_STATE_BACKED)
		fail("a buffer cannot be asked");
	if (own->backed && !query.state)
		fail("the memory is gone");
	own->backed = query.state;
}

/* Every byte is as it was left. */
static void own_bytes(struct own *own)
{
	__u64 at, *words = (__u64 *)own->memory;

	if (own->seed) {
		if (wrong_bytes(own->memory, own->len, own->seed))
			fail("%llu words are not as they were left",
			     wrong_bytes(own->memory, own->len, own->seed));
		return;
	}
	for (at = 0; at < own->len / sizeof(*words); at++)
		if (words[at])
			fail("word %llu of new memory is %#llx", at, words[at]);
}

/* --- Calls ---------------------------------------------------------------- */

static void own_create(void)
{
	struct own *own = &me->own[pick(OWN)];
	struct cenalloc_create create = {
		.len = PICK(1, PAGE, 3 * PAGE, 64 * KIB, 65 * KIB, OWN_MOST),
		.align = one_in(3) ? PICK(1, PAGE, 2 * PAGE, 64 * KIB) : 0,
		.fd_flags = O_RDWR | O_CLOEXEC,
		.name = "fuzz own",
	};
	int ret, device, i;

	if (own->fd >= 0)
		return;
	/* No memory is aligned more than its length. */
	if (create.align > create.len)
		create.align = 0;
	device = open_device("/dev/cenalloc");
	ret = fuzz_ioctl("CREATE", device, CENALLOC_CREATE, &create, ERRORS(ENOMEM));
	close(device);
	if (ret < 0)
		return;
	*own = (struct own){
		.fd = fcntl(create.fd, F_DUPFD_CLOEXEC, OWN_FDS),
		.len = (create.len + PAGE - 1) / PAGE * PAGE,
		.base = NO_LIMITS,
	};
	close(create.fd);
	if (own->fd < 0)
		fail("no descriptor: %d", errno);
	if (create.align)
		own->base.alignment = create.align;
	for (i = 0; i < OWN_USERS; i++)
		own->users[i].device = -1;
	own_query(own);
}

static void own_leave(struct own *own, struct own_user *user)
{
	sure_ioctl("DETACH", me->importer, IMPORTER_DETACH, user->attachment, ERRORS(0));
	sure_ioctl("REMOVE", me->importer, IMPORTER_REMOVE, user->device, ERRORS(0));
	user->device = -1;
	own_query(own);
}

static void own_unmap(struct own *own)
{
	if (!own->memory)
		return;
	/* Otherwise the first touch is to come, and may find no memory. */
	if (own->backed)
		own_bytes(own);
	munmap(own->memory, own->len);
}

static void own_close(struct own *own)
{
	int i;

	if (one_in(2)) {
		for (i = 0; i < OWN_USERS; i++)
			if (own->users[i].device >= 0)
				own_leave(own, &own->users[i]);
		own_unmap(own);
		close(own->fd);
	} else {
		/* The descriptor first: who uses it keeps it alive. */
		close(own->fd);
		for (i = 0; i < OWN_USERS; i++) {
			struct own_user *user = &own->users[i];

			if (user->device < 0)
				continue;
			sure_ioctl("DETACH", me->importer, IMPORTER_DETACH, user->attachment,
				   ERRORS(0));
			sure_ioctl("REMOVE", me->importer, IMPORTER_REMOVE, user->device,
				   ERRORS(0));
		}
		own_unmap(own);
	}
	own->fd = -1;
}

/* What may be needed; often the same few values, so that users can share. */
static struct limits any_limits(void)
{
	struct limits limits = NO_LIMITS;

	if (one_in(4))
		limits.access_mask = PICK(1, 2, 3, 7, 8, 0x17, 1ULL << 40);
	if (one_in(4))
		limits.max_address = PICK(LOW(24), LOW(28), BITS(32), BITS(40), LOW(27));
	if (one_in(4))
		limits.max_segment_size = PICK(PAGE, 2 * PAGE, 64 * KIB, 5 * PAGE);
	if (one_in(5))
		limits.segment_boundary_mask = PICK(PAGE - 1, 64 * KIB - 1, MIB - 1);
	if (one_in(5))
		limits.alignment = PICK(PAGE, 4 * PAGE, 64 * KIB);
	if (one_in(4))
		limits.max_segments = PICK(1, 2, 16, 64);
	return limits;
}

/* As userspace writes it: 0 is any. */
static struct cenalloc_constraints needs_for(const struct limits *limits)
{
	return NEEDS(.access_mask = limits->access_mask + 1 ? limits->access_mask : 0,
		     .max_address = limits->max_address + 1 ? limits->max_address : 0,
		     .max_segment_size =
			     limits->max_segment_size + 1 ? limits->max_segment_size : 0,
		     .segment_boundary_mask =
			     limits->segment_boundary_mask + 1 ? limits->segment_boundary_mask : 0,
		     .alignment = limits->alignment > 1 ? limits->alignment : 0,
		     .max_segments = limits->max_segments + 1 ? limits->max_segments : 0);
}

/* The newcomer with these limits was let in or refused, rightly or not. */
static void own_verdict(struct own *own, const struct limits *limits, int ret)
{
	struct limits all = together(own);

	if (!ret && !(all.access_mask & limits->access_mask))
		fail("classes %#llx and %#llx are together", all.access_mask,
		     limits->access_mask);
	if ((ret == -EBUSY || ret == -ENOMEM) && !own->backed && !me->is_failing)
		fail("%d, and no memory", ret);
}

/* What a call that failed tells is why; one that did not tells nothing. */
static void own_refusal(const struct cenalloc_refusal *refusal, int ret)
{
	if (!me->is_failing && error_of(refusal->cause) != ret)
		fail("cause %u with %d", refusal->cause, ret);
}

static void own_declare(struct own *own)
{
	struct limits limits = any_limits();
	struct cenalloc_declare declare = {
		.fd = own->fd,
		/* Nobody will let go: this thread waits itself. */
		.timeout = one_in(8) ? pick(1000000) : 0,
		.constraints = needs_for(&limits),
	};
	int device = open_device("/dev/cenalloc");
	int ret = fuzz_ioctl("DECLARE", device, CENALLOC_DECLARE, &declare,
			     ERRORS(EINVAL, EBUSY, ENOMEM));

	close(device);
	own_verdict(own, &limits, ret);
	own_refusal(&declare.refusal, ret);
	if (!ret) {
		narrow(&own->base, &limits);
		own->declared++;
	}
	own_query(own);
}

static void own_join(struct own *own)
{
	struct own_user *user = &own->users[pick(OWN_USERS)];
	struct limits limits = any_limits();
	struct cenalloc_constraints needs = needs_for(&limits);
	struct importer_attach attach = { .fd = own->fd };
	struct importer_add add = {
		.flags = IMPORTER_DECLARE,
		.name = "fuzz",
		.access_mask = needs.access_mask,
		.max_segment_size = needs.max_segment_size,
		.segment_boundary_mask = needs.segment_boundary_mask,
		.alignment = needs.alignment,
		.max_segments = needs.max_segments,
	};
	int ret;

	if (user->device >= 0)
		return;
	/* The hardware reaches so far, or its driver says so. */
	if (limits.max_address == ~0ULL)
		;
	else if (one_in(2) && limits.max_address >= LEAST_MASK &&
		 !((limits.max_address + 1) & limits.max_address))
		add.dma_mask = limits.max_address;
	else
		add.max_address = limits.max_address;
	/* The driver core may lose its own ENOMEM: a device is not bound, or has no name. */
	if (fuzz_ioctl("ADD", me->importer, IMPORTER_ADD, &add,
		       me->fail_nth < 0 ? ERRORS(ENOMEM) : ERRORS(ENOMEM, EAGAIN, EINVAL)) < 0)
		return;
	attach.device = add.device;
	attach.flags = one_in(3) ? IMPORTER_DYNAMIC : 0;
	ret = fuzz_ioctl("ATTACH", me->importer, IMPORTER_ATTACH, &attach,
			 ERRORS(EINVAL, EBUSY, ENOMEM));
	own_verdict(own, &limits, ret);
	if (ret) {
		sure_ioctl("REMOVE", me->importer, IMPORTER_REMOVE, add.device, ERRORS(0));
	} else {
		*user = (struct own_user){
			.device = add.device,
			.attachment = attach.attachment,
			.is_dynamic = attach.flags,
			.limits = limits,
		};
	}
	own_query(own);
}

/* A table shows all of the memory, in segments that suit the device. */
static void own_segments(const struct own *own, const struct limits *limits, __u32 count)
{
	struct mapping *table = own_table();
	__u32 i;

	table->count = count;
	if (count > limits->max_segments)
		fail("%u segments for a device that takes %u", count, limits->max_segments);
	if (mapping_len(table) != own->len)
		fail("the segments have %llu bytes, not %llu", mapping_len(table), own->len);
	for (i = 0; i < count; i++) {
		const struct importer_segment *segment = &table->segments[i];
		__u64 last = segment->address + segment->len - 1;
		__u64 mask = limits->segment_boundary_mask;

		if (last > limits->max_address || segment->len > limits->max_segment_size ||
		    segment->address % limits->alignment ||
		    (segment->address & ~mask) != (last & ~mask))
			fail("segment %u at %#llx of %#llx bytes does not suit the device", i,
			     segment->address, segment->len);
	}
}

static void own_map(struct own *own, struct own_user *user)
{
	struct importer_map map = {
		.segments = (uintptr_t)own_table()->segments,
		.attachment = user->attachment,
		.direction = pick(3),
		.count = SEGMENTS,
	};
	int ret = fuzz_ioctl("MAP", me->importer, IMPORTER_MAP, &map, ERRORS(EBUSY, ENOMEM));

	if ((ret == -EBUSY) != user->is_mapped && ret != -ENOMEM && ret != -EFAULT)
		fail("MAP returned %d, mapped: %d", ret, user->is_mapped);
	if (!ret) {
		user->is_mapped = true;
		own->backed = 1;
		own_segments(own, &user->limits, map.count);
	}
	look(own);
}

static void own_user(struct own *own)
{
	struct own_user *user = &own->users[pick(OWN_USERS)];
	int ret;

	if (user->device < 0)
		return;
	switch (pick(6)) {
	case 0:
	case 1:
		own_map(own, user);
		break;
	case 2:
		ret = sure_ioctl("UNMAP", me->importer, IMPORTER_UNMAP, user->attachment,
				 ERRORS(EINVAL));
		if (!ret != user->is_mapped)
			fail("UNMAP returned %d, mapped: %d", ret, user->is_mapped);
		user->is_mapped = false;
		break;
	case 3:
		ret = fuzz_ioctl("PIN", me->importer, IMPORTER_PIN,
				 (void *)(long)user->attachment, ERRORS(EINVAL, EBUSY, ENOMEM));
		if (!ret && (!user->is_dynamic || user->is_mapped))
			fail("PIN, dynamic: %d, mapped: %d", user->is_dynamic, user->is_mapped);
		user->pins += !ret;
		look(own);
		break;
	case 4:
		ret = sure_ioctl("UNPIN", me->importer, IMPORTER_UNPIN, user->attachment,
				 ERRORS(EINVAL, EBUSY));
		if (!ret != (user->pins > 0 && !user->is_mapped))
			fail("UNPIN returned %d, pins: %d", ret, user->pins);
		user->pins -= !ret;
		break;
	default:
		own_leave(own, user);
	}
}

static void own_allocate(struct own *own)
{
	struct cenalloc_allocate allocate = { .fd = own->fd };
	int device = open_device("/dev/cenalloc");
	int ret = fuzz_ioctl("ALLOCATE", device, CENALLOC_ALLOCATE, &allocate, ERRORS(ENOMEM));

	close(device);
	own_refusal(&allocate.refusal, ret);
	if (own->backed && ret)
		fail("ALLOCATE returned %d, and there is memory", ret);
	if (!ret)
		own->backed = 1;
	own_query(own);
}

/* Looks at the bytes, and leaves others. */
static void own_cpu(struct own *own)
{
	begin("CPU", own->fd, own->backed, 0);
	if (!own->memory) {
		own->memory = map_cpu(own->fd, own->len);
		if (own->memory == MAP_FAILED)
			fail("mmap failed: %d", errno);
	}
	if (try_touch(own->memory, false)) {
		look(own);
		if (own->backed)
			fail("a fault where there is memory");
		return;
	}
	own->backed = 1;
	own_bytes(own);
	if (one_in(2)) {
		own->seed = next_random() | 1;
		fill_bytes(own->memory, own->len, own->seed);
	}
	if (one_in(3)) {
		munmap(own->memory, own->len);
		own->memory = NULL;
	}
	finish(0, ERRORS(0));
}

/* What a driver sees through the pages is what the CPU has written. */
static void own_driver(struct own *own)
{
	static __thread __u64 bytes[1024];
	struct c_importer_pages pages = {
		.bytes = (uintptr_t)bytes,
		.offset = (__u64)pick(own->len / PAGE) * PAGE,
		.len = PAGE,
	};
	int ret, driver = open_driver();
	__u64 at;

	if (driver < 0)
		return;
	sure_ioctl("TAKE", driver, C_IMPORTER_TAKE, own->fd, ERRORS(0));
	ret = fuzz_ioctl("PAGES", driver, C_IMPORTER_PAGES, &pages, ERRORS(ENOMEM, ENODATA));
	close(driver);
	own->is_told |= !ret;
	if (own->backed == (ret == -ENODATA))
		fail("a driver is told %d, state %u", ret, own->backed);
	for (at = 0; !ret && at < PAGE / sizeof(*bytes); at++) {
		__u64 word = pages.offset / sizeof(*bytes) + at;
		__u64 expected = own->seed ? (word + own->seed) * MIX : 0;

		if (bytes[at] != expected)
			fail("a driver reads %#llx as word %llu, not %#llx", bytes[at], word,
			     expected);
	}
}

/* Another descriptor takes the place of the first. */
static void own_duplicate(struct own *own)
{
	int fd = fcntl(own->fd, F_DUPFD_CLOEXEC, OWN_FDS);

	if (fd < 0)
		fail("no other descriptor: %d", errno);
	close(own->fd);
	own->fd = fd;
}

/* The CPU in an access section: memory does not move meanwhile. */
static void own_sync(struct own *own)
{
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW };

	if (fuzz_ioctl("SYNC", own->fd, DMA_BUF_IOCTL_SYNC, &sync, ERRORS(ENOMEM)))
		return;
	if (one_in(2))
		own_cpu(own);
	sync.flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW;
	if (fuzz_ioctl("SYNC", own->fd, DMA_BUF_IOCTL_SYNC, &sync, ERRORS(ENOMEM)) < 0)
		/* It was an allocation that failed: the section is to be closed. */
		call(own->fd, DMA_BUF_IOCTL_SYNC, &sync);
	look(own);
}

static void own_step(void)
{
	struct own *own = any_own();

	if (!own) {
		own_create();
		return;
	}
	switch (pick(16)) {
	case 0:
		own_close(own);
		break;
	case 1:
	case 2:
		own_declare(own);
		break;
	case 3 ... 5:
		own_join(own);
		break;
	case 6 ... 10:
		own_user(own);
		break;
	case 11:
		own_allocate(own);
		break;
	case 12:
	case 13:
		own_cpu(own);
		break;
	case 14:
		own_sync(own);
		break;
	default:
		if (one_in(2))
			own_driver(own);
		else
			own_duplicate(own);
	}
}

static void close_own(void)
{
	int i;

	for (i = 0; i < OWN; i++)
		if (me->own[i].fd >= 0)
			own_close(&me->own[i]);
}

#endif /* _CENALLOC_FUZZ_OWN_H */
