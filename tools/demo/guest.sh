#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
#
# The demo, in the guest. /share is build/demo on the host.

# vivid with two cameras: the first one's queue wants contiguous memory (videobuf2's
# dma-contig), the second one's takes any. Only modules that are silent are loaded.
modprobe vgem &&
modprobe vivid n_devs=2 node_types=0x1,0x1 num_inputs=1,1 input_types=0,0 allocators=1,0 &&
exec ./demo "$@" /share
