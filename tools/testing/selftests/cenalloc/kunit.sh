#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Reports the KUnit suites of the modules, which ran when those were loaded, each
# case as they reported it.

suites="dma_buf_constraints_attach dma_buf_constraints_lists dma_buf_constraints_model
	dma_buf_constraints_table cenalloc_allocator"

modprobe -a dma_buf_constraints cenalloc
kunit=/sys/kernel/debug/kunit
[ -d $kunit ] || mount -t debugfs none /sys/kernel/debug 2>/dev/null

echo "TAP version 13"
if [ ! -d $kunit ]; then
	echo "1..0 # SKIP the kernel has no KUnit in debugfs"
	exit 4
fi
# shellcheck disable=SC2086	# one suite a word
set -- $suites
echo "1..$#"
number=0
failed=0
for suite; do
	number=$((number + 1))
	results=$kunit/$suite/results
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
