// SPDX-License-Identifier: GPL-2.0
/* The sample's allocator, to be one that faulty.c makes fail. */

#include "../../../../../../samples/c_allocator/plain.c"
