#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
#
# The demo, in the guest. /share is build/demo on the host.

# vivid with one camera, whose queue wants memory in one piece (videobuf2's
# dma-contig); modules that are silent do not disturb the story.
modprobe vgem &&
modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0 allocators=1 &&
exec ./demo "$@" /share/frame.ppm
