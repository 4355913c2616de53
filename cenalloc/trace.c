// SPDX-License-Identifier: GPL-2.0
/*
 * The tracepoints of cenalloc, for its Rust half: whether one is enabled, a test of
 * a static key, and the event.
 */

#include "helpers.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

#define CENALLOC_TRACE_ENABLED(event)					\
	bool cenalloc_trace_##event##_enabled(void)			\
	{								\
		return trace_cenalloc_##event##_enabled();		\
	}

CENALLOC_TRACE_ENABLED(create)
CENALLOC_TRACE_ENABLED(attach)
CENALLOC_TRACE_ENABLED(declare)
CENALLOC_TRACE_ENABLED(detach)
CENALLOC_TRACE_ENABLED(refuse)
CENALLOC_TRACE_ENABLED(early)
CENALLOC_TRACE_ENABLED(allocate)
CENALLOC_TRACE_ENABLED(relocate)
CENALLOC_TRACE_ENABLED(map)
CENALLOC_TRACE_ENABLED(unmap)
CENALLOC_TRACE_ENABLED(release)

/* What follows is called where the event is enabled, and does not test it again. */

void cenalloc_trace_create(u64 id, u64 len, u64 align, const struct cenalloc_text *name)
{
	trace_call__cenalloc_create(id, len, align, name);
}

void cenalloc_trace_attach(u64 id, const struct cenalloc_text *device,
			   const struct cenalloc_constraints *needs, bool declared)
{
	trace_call__cenalloc_attach(id, device, needs, declared);
}

void cenalloc_trace_declare(u64 id, const struct cenalloc_text *device,
			    const struct cenalloc_constraints *needs)
{
	trace_call__cenalloc_declare(id, device, needs, true);
}

void cenalloc_trace_detach(u64 id, const struct cenalloc_text *device)
{
	trace_call__cenalloc_detach(id, device);
}

void cenalloc_trace_refuse(const struct cenalloc_refusal *refusal)
{
	trace_call__cenalloc_refuse(refusal);
}

void cenalloc_trace_early(u64 id, const struct cenalloc_text *device, u32 kept_out)
{
	trace_call__cenalloc_early(id, device, kept_out);
}

void cenalloc_trace_allocate(u64 id, const struct cenalloc_text *allocator, u64 len,
			     size_t runs, int error)
{
	trace_call__cenalloc_allocate(id, allocator, len, runs, error);
}

void cenalloc_trace_relocate(u64 id, const struct cenalloc_text *from,
			     const struct cenalloc_text *to, u64 len)
{
	trace_call__cenalloc_relocate(id, from, to, len);
}

void cenalloc_trace_map(u64 id, const struct cenalloc_text *device,
			enum dma_data_direction direction, u32 segments, int error)
{
	trace_call__cenalloc_map(id, device, direction, segments, error);
}

void cenalloc_trace_unmap(u64 id, const struct cenalloc_text *device)
{
	trace_call__cenalloc_unmap(id, device);
}

void cenalloc_trace_release(u64 id, u64 len)
{
	trace_call__cenalloc_release(id, len);
}
