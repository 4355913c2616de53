#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Runs the tests in a guest, as root: loads the modules, prints the results of
# every program as nested TAP, ends with 1 if any failed, and with 4 where there
# is nothing to test or nobody to test it.
#
# usage: run.sh [calls | races | PROGRAM...]
#
# calls and races are all programs in two halves, so that two guests share them.
#
# SLOWER=8 in the environment gives the programs eight times the time. What else
# fuzz takes from there stands in fuzz.c.

cd "$(dirname "$0")" || exit 1

# What each call does; what many do at a time, and modules that come and go. leak
# looks for what all before it left; vivid_refused leaves a buffer where the kernel's
# videobuf2 does. The kernel's own test of dma-buf heaps takes ours for one of them. vivid is
# late: it leaves few blocks whole above 4 GiB, where others want to have memory.
heaps=../dmabuf-heaps/dmabuf-heap
[ -x $heaps ] || heaps=
calls="create abi allocators attach map move cpu lifetime heap edu vgem capi
	exporters allocate would declare query refusals wait policy second_choice relocate account
	trace kunit.sh $heaps displays queues gem_dma vivid leak"
races="race_all kapi outside outside_memory race_outside rust_api fuzz log race removable
	module probe leak vivid_refused"
# With the command cenalloc alone, which CENALLOC_TOOL in the environment names.
# shellcheck disable=SC2034	# read by the makefile
commands="recipes"
# shellcheck disable=SC2086	# one program a word
case ${1:-all} in
calls) set -- $calls ;;
races) set -- $races ;;
all) set -- ${calls% leak} $races ;;
esac

skip() {
	echo "TAP version 13"
	echo "1..0 # SKIP $*"
	exit 4
}

# load MODULE PARAMETER...
load() {
	modprobe "$@" || skip "there is no module $1"
}

[ "$(id -u)" = 0 ] || skip "it takes root to load modules"

# Those that use symbols of cenalloc keep it loaded, and add an allocator. The
# tests that are about them load them.
for module in cenalloc_c_importer cenalloc_c_allocator cenalloc_rust_allocator cenalloc_bugs \
	cenalloc_c_driver cenalloc_plain cenalloc_removable cenalloc_probe; do
	rmmod "$module" 2>/dev/null
done
for module in dma_buf_constraints cenalloc cenalloc_importer cenalloc_edu cenalloc_c_exporter; do
	load "$module"
done
load vgem
# A camera that takes one run of memory below 4 GiB, and one that takes any.
load vivid n_devs=2 allocators=1,0
[ -d /sys/kernel/debug/cenalloc ] || mount -t debugfs none /sys/kernel/debug
[ -d /sys/kernel/tracing/events ] || mount -t tracefs none /sys/kernel/tracing

echo "TAP version 13"
echo "1..$#"
number=0
failed=0
result=/tmp/cenalloc-selftest.$$
for program; do
	number=$((number + 1))
	echo "# selftests: cenalloc: $program"
	started=$(date +%s)
	# Even on a slow machine, what takes longer hangs.
	{
		timeout $((300 * ${SLOWER:-1} + ${FUZZ_SECONDS:-0})) "./$program" 2>&1
		echo $? >"$result"
	} | sed 's/^/# /'
	echo "# $(($(date +%s) - started)) s"
	status=$(cat "$result")
	case $status in
	0) echo "ok $number selftests: cenalloc: $program" ;;
	4) echo "ok $number selftests: cenalloc: $program # SKIP" ;;
	*)
		echo "not ok $number selftests: cenalloc: $program # exit=$status"
		failed=1
		;;
	esac
done
exit $failed
