/* SPDX-License-Identifier: GPL-2.0 */
#include "helpers.h"
#include "trace.h"
