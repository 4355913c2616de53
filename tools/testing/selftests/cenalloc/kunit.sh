#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Reports the KUnit suites of the modules, which ran when those were loaded, each
# case as they reported it.

modprobe -a dma_buf_constraints cenalloc
kunit=/sys/kernel/debug/kunit
[ -d $kunit ] || mount -t debugfs none /sys/kernel/debug 2>/dev/null

echo "TAP version 13"
if [ ! -d $kunit ]; then
	echo "1..0 # SKIP the kernel has no KUnit in debugfs"
	exit 4
fi
# Where a module has no suite, its pattern stays, and fails.
set -- $kunit/dma_buf_constraints* $kunit/cenalloc*
echo "1..$#"
number=0
failed=0
for directory; do
	number=$((number + 1))
	suite=${directory##*/}
	results=$directory/results
	# The suite's own block, without the one that the file puts around it.
	grep '^ ' "$results"
	if grep -q "^ok 1 $suite\$" "$results"; then
		echo "ok $number $suite"
	else
		echo "not ok $number $suite"
		failed=1
	fi
done
exit $failed
