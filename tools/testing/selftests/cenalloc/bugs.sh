#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Whether the checkers of this kernel see what goes wrong in our modules: commits
# bugs on purpose, and looks for the report of each. A kernel that has none of
# the checkers skips them. What comes after it in the same boot proves nothing.

module=cenalloc_bugs
kmemleak=/sys/kernel/debug/kmemleak

# Memory counts as lost when it is some seconds old, and was not found twice. An
# address that is still on some stack, by chance, is soon written over.
scan() {
	for _ in 1 2 3 4 5 6; do
		sleep 6
		echo scan >$kmemleak
		echo scan >$kmemleak
		! grep . $kmemleak || return
	done
}

number=0
failed=0

# planted NAME PATTERN...: commits the next bug; the kernel log, or kmemleak, then
# has lines that match all the patterns, which it did not have before.
planted() {
	name=$1
	shift
	number=$((number + 1))
	before=$(dmesg | wc -l)
	if ! modprobe $module bug=$number; then
		echo "not ok $number $name"
		failed=1
		return
	fi
	said=$(dmesg | tail -n +$((before + 1)); [ "$name" != leak ] || scan)
	rmmod $module
	verdict=ok
	for pattern; do
		if ! echo "$said" | grep -q "$pattern"; then
			echo "# nothing is said of '$pattern'"
			verdict="not ok"
			failed=1
		fi
	done
	echo "$verdict $number $name"
}

echo "TAP version 13"
if ! modprobe $module 2>/dev/null; then
	echo "1..0 # SKIP the module is for kernels with checkers"
	exit 4
fi
rmmod $module
[ -d /sys/kernel/debug/cenalloc ] || mount -t debugfs none /sys/kernel/debug
echo "1..5"
# First: lockdep is off after the first report of anybody.
planted lock_inversion "possible circular locking dependency" "reservation_ww_class_mutex"
planted use_after_free "KASAN: slab-use-after-free in .*cenalloc_bugs"
planted leak "unreferenced object" "\[dma_buf_constraints\]"
planted sleep_in_atomic "BUG: sleeping function called from invalid context" "\[cenalloc_bugs\]"
# It needs the device that another driver has.
rmmod cenalloc_edu
planted missing_unmap "DMA-API: .* device driver has pending DMA allocations" \
	"\[dma_buf_constraints\]"
exit $failed
