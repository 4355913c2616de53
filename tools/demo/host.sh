#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The demo, back on the host: makes one PNG of what the display read, in the directory
# that is the argument. KDIR is the kernel tree, which has a font.

set -euo pipefail
python3 "$(dirname "$0")/png.py" "$1/frame.png" "$KDIR/lib/fonts/font_8x16.c" \
	"$1/guessed.ppm" $'Guessed heap: the display reads\na copy from before the frame' \
	"$1/cenalloc.ppm" $'cenalloc: the display reads\nthe frame, where the camera put it'
rm "$1/guessed.ppm" "$1/cenalloc.ppm"
