/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tracepoints of cenalloc.
 *
 * Names and formats are documented for users: fields may be added, none is
 * renamed. No pointers are recorded. Texts stand in single quotes: the parser
 * of trace-cmd and perf does not accept double ones.
 */

#undef TRACE_SYSTEM
#define TRACE_SYSTEM cenalloc

#if !defined(_CENALLOC_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _CENALLOC_TRACE_H

#include <linux/dma-direction.h>
#include <linux/tracepoint.h>
#include <uapi/linux/cenalloc.h>

#include "helpers.h"

TRACE_DEFINE_ENUM(DMA_BIDIRECTIONAL);
TRACE_DEFINE_ENUM(DMA_TO_DEVICE);
TRACE_DEFINE_ENUM(DMA_FROM_DEVICE);
TRACE_DEFINE_ENUM(DMA_NONE);

#define show_cenalloc_direction(direction)				\
	__print_symbolic(direction,					\
		{ DMA_BIDIRECTIONAL, "BIDIRECTIONAL" },			\
		{ DMA_TO_DEVICE, "TO_DEVICE" },				\
		{ DMA_FROM_DEVICE, "FROM_DEVICE" },			\
		{ DMA_NONE, "NONE" })

#define show_cenalloc_field(field)					\
	__print_symbolic(field,						\
		{ 0, "none" },						\
		{ CENALLOC_FIELD_ACCESS_MASK, "class" },			\
		{ CENALLOC_FIELD_MAX_ADDRESS, "last" },			\
		{ CENALLOC_FIELD_MAX_SEGMENTS, "segments" },		\
		{ CENALLOC_FIELD_MAX_SEGMENT_SIZE, "segsize" },		\
		{ CENALLOC_FIELD_SEGMENT_BOUNDARY, "boundary" },	\
		{ CENALLOC_FIELD_ALIGNMENT, "align" },			\
		{ CENALLOC_FIELD_COHERENT, "coherent" },		\
		{ CENALLOC_FIELD_LENGTH, "len" },			\
		{ CENALLOC_FIELD_CONTIGUOUS, "contiguous" },		\
		{ CENALLOC_FIELD_DEVICE, "device" })

#define show_cenalloc_cause(cause)					\
	__print_symbolic(cause,						\
		{ CENALLOC_CAUSE_USER, "user" },			\
		{ CENALLOC_CAUSE_OTHERS, "others" },			\
		{ CENALLOC_CAUSE_ITSELF, "itself" },			\
		{ CENALLOC_CAUSE_ALLOCATOR, "allocator" },		\
		{ CENALLOC_CAUSE_REMOVED, "removed" },			\
		{ CENALLOC_CAUSE_HELD, "held" },			\
		{ CENALLOC_CAUSE_CHARGE, "charge" },			\
		{ CENALLOC_CAUSE_SHORTAGE, "shortage" },		\
		{ CENALLOC_CAUSE_ADDRESSES, "addresses" },		\
		{ CENALLOC_CAUSE_BOOKKEEPING, "bookkeeping" },		\
		{ CENALLOC_CAUSE_USERS, "users" },			\
		{ CENALLOC_CAUSE_BOUNCED, "bounced" })

/* A buffer was created. */
TRACE_EVENT(cenalloc_create,
	TP_PROTO(u64 id, u64 len, u64 align, const struct cenalloc_text *name),
	TP_ARGS(id, len, align, name),

	TP_STRUCT__entry(
		__field(u64, buffer)
		__field(u64, len)
		__field(u64, align)
		__string_len(name, name->start, name->len)
	),

	TP_fast_assign(
		__entry->buffer = id;
		__entry->len = len;
		__entry->align = align;
		__assign_str(name);
	),

	TP_printk("buffer=%llu len=%llu align=%llu name='%s'",
		  __entry->buffer, __entry->len, __entry->align, __get_str(name))
);

/* What a user needs; 0 is "don't care". */
DECLARE_EVENT_CLASS(cenalloc_user,
	TP_PROTO(u64 id, const struct cenalloc_text *device,
		 const struct cenalloc_constraints *needs, bool declared),
	TP_ARGS(id, device, needs, declared),

	TP_STRUCT__entry(
		__field(u64, buffer)
		__field(u64, class)
		__field(u64, last)
		__field(u64, align)
		__field(u64, segsize)
		__field(u64, boundary)
		__field(u32, segments)
		__field(bool, declared)
		__string_len(device, device->start, device->len)
	),

	TP_fast_assign(
		__entry->buffer = id;
		__entry->class = needs->access_mask;
		__entry->last = needs->max_address;
		__entry->align = needs->alignment;
		__entry->segsize = needs->max_segment_size;
		__entry->boundary = needs->segment_boundary_mask;
		__entry->segments = needs->max_segments;
		__entry->declared = declared;
		__assign_str(device);
	),

	TP_printk("buffer=%llu device='%s' class=0x%llx last=0x%llx segments=%u align=%llu segsize=%llu boundary=0x%llx declared=%d",
		  __entry->buffer, __get_str(device), __entry->class, __entry->last,
		  __entry->segments, __entry->align, __entry->segsize,
		  __entry->boundary, __entry->declared)
);

/* A device attached; @declared: it had been declared. */
DEFINE_EVENT(cenalloc_user, cenalloc_attach,
	TP_PROTO(u64 id, const struct cenalloc_text *device,
		 const struct cenalloc_constraints *needs, bool declared),
	TP_ARGS(id, device, needs, declared)
);

/* A user was declared. */
DEFINE_EVENT(cenalloc_user, cenalloc_declare,
	TP_PROTO(u64 id, const struct cenalloc_text *device,
		 const struct cenalloc_constraints *needs, bool declared),
	TP_ARGS(id, device, needs, declared)
);

DECLARE_EVENT_CLASS(cenalloc_device,
	TP_PROTO(u64 id, const struct cenalloc_text *device),
	TP_ARGS(id, device),

	TP_STRUCT__entry(
		__field(u64, buffer)
		__string_len(device, device->start, device->len)
	),

	TP_fast_assign(
		__entry->buffer = id;
		__assign_str(device);
	),

	TP_printk("buffer=%llu device='%s'", __entry->buffer, __get_str(device))
);

/* A device detached. */
DEFINE_EVENT(cenalloc_device, cenalloc_detach,
	TP_PROTO(u64 id, const struct cenalloc_text *device),
	TP_ARGS(id, device)
);

/* A device unmapped the buffer. */
DEFINE_EVENT(cenalloc_device, cenalloc_unmap,
	TP_PROTO(u64 id, const struct cenalloc_text *device),
	TP_ARGS(id, device)
);

/* Somebody was refused, or a buffer got no memory: the fields of struct cenalloc_refusal. */
TRACE_EVENT(cenalloc_refuse,
	TP_PROTO(u64 id, const struct cenalloc_refusal *refusal, int error),
	TP_ARGS(id, refusal, error),

	TP_STRUCT__entry(
		__field(u64, buffer)
		__field(u64, wanted)
		__field(u64, found)
		__field(u32, cause)
		__field(u32, field)
		__field(u32, holder)
		__field(u32, holders)
		__field(int, error)
		__string(who, refusal->who)
		__string(other, refusal->other)
	),

	TP_fast_assign(
		__entry->buffer = id;
		__entry->wanted = refusal->wanted;
		__entry->found = refusal->found;
		__entry->cause = refusal->cause;
		__entry->field = refusal->field;
		__entry->holder = refusal->holder;
		__entry->holders = refusal->holders;
		__entry->error = error;
		__assign_str(who);
		__assign_str(other);
	),

	TP_printk("buffer=%llu error=%d cause=%s field=%s wanted=0x%llx found=0x%llx who='%s' other='%s' holder=%u holders=%u",
		  __entry->buffer, __entry->error, show_cenalloc_cause(__entry->cause),
		  show_cenalloc_field(__entry->field), __entry->wanted, __entry->found,
		  __get_str(who), __get_str(other), __entry->holder, __entry->holders)
);

/* An importer had memory pinned that did not suit a user that came later. */
TRACE_EVENT(cenalloc_late,
	TP_PROTO(u64 id, const struct cenalloc_text *device, u32 kept_out),
	TP_ARGS(id, device, kept_out),

	TP_STRUCT__entry(
		__field(u64, buffer)
		__field(u32, late)
		__string_len(device, device->start, device->len)
	),

	TP_fast_assign(
		__entry->buffer = id;
		__entry->late = kept_out;
		__assign_str(device);
	),

	TP_printk("buffer=%llu device='%s' late=%u",
		  __entry->buffer, __get_str(device), __entry->late)
);

/* A buffer was given memory, or there was none for it. */
TRACE_EVENT(cenalloc_allocate,
	TP_PROTO(u64 id, const struct cenalloc_text *allocator, u64 len, size_t ranges,
		 int error),
	TP_ARGS(id, allocator, len, ranges, error),

	TP_STRUCT__entry(
		__field(u64, buffer)
		__field(u64, len)
		__field(u64, ranges)
		__field(int, error)
		__string_len(allocator, allocator->start, allocator->len)
	),

	TP_fast_assign(
		__entry->buffer = id;
		__entry->len = len;
		__entry->ranges = ranges;
		__entry->error = error;
		__assign_str(allocator);
	),

	TP_printk("buffer=%llu allocator='%s' len=%llu ranges=%llu error=%d",
		  __entry->buffer, __get_str(allocator), __entry->len,
		  __entry->ranges, __entry->error)
);

/* The memory of a buffer was relocated. */
TRACE_EVENT(cenalloc_relocate,
	TP_PROTO(u64 id, const struct cenalloc_text *from, const struct cenalloc_text *to,
		 u64 len),
	TP_ARGS(id, from, to, len),

	TP_STRUCT__entry(
		__field(u64, buffer)
		__field(u64, len)
		__string_len(from, from->start, from->len)
		__string_len(to, to->start, to->len)
	),

	TP_fast_assign(
		__entry->buffer = id;
		__entry->len = len;
		__assign_str(from);
		__assign_str(to);
	),

	TP_printk("buffer=%llu from='%s' to='%s' len=%llu",
		  __entry->buffer, __get_str(from), __get_str(to), __entry->len)
);

/* A device mapped the buffer, or failed to. */
TRACE_EVENT(cenalloc_map,
	TP_PROTO(u64 id, const struct cenalloc_text *device,
		 enum dma_data_direction direction, u32 segments, int error),
	TP_ARGS(id, device, direction, segments, error),

	TP_STRUCT__entry(
		__field(u64, buffer)
		__field(int, direction)
		__field(u32, segments)
		__field(int, error)
		__string_len(device, device->start, device->len)
	),

	TP_fast_assign(
		__entry->buffer = id;
		__entry->direction = direction;
		__entry->segments = segments;
		__entry->error = error;
		__assign_str(device);
	),

	TP_printk("buffer=%llu device='%s' direction=%s segments=%u error=%d",
		  __entry->buffer, __get_str(device),
		  show_cenalloc_direction(__entry->direction), __entry->segments,
		  __entry->error)
);

/* The last reference to a buffer is gone; its memory is being freed. */
TRACE_EVENT(cenalloc_release,
	TP_PROTO(u64 id, u64 len),
	TP_ARGS(id, len),

	TP_STRUCT__entry(
		__field(u64, buffer)
		__field(u64, len)
	),

	TP_fast_assign(
		__entry->buffer = id;
		__entry->len = len;
	),

	TP_printk("buffer=%llu len=%llu", __entry->buffer, __entry->len)
);

#endif /* _CENALLOC_TRACE_H */

/* define_trace.h finds this file through the -I that trace.o is built with. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
