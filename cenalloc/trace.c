// SPDX-License-Identifier: GPL-2.0
/* The tracepoints of cenalloc, for its Rust half. */

#include "helpers.h"

#define CREATE_TRACE_POINTS
#define CREATE_RUST_TRACE_POINTS
#include "trace.h"
