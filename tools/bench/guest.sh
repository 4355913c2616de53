#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
#
# The benchmark, in the guest; the arguments are those of the program.

# By default a thread of real-time priority is stopped now and then.
echo -1 >/proc/sys/kernel/sched_rt_runtime_us
exec ./bench "$@"
