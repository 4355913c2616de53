#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The demo, back on the host: makes a PNG of the captured frame, in the
# directory that is the argument.

set -euo pipefail
python3 "$(dirname "$0")/png.py" "$1/frame.ppm" "$1/frame.png"
rm "$1/frame.ppm"
