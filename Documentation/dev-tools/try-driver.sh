#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
set -e
insmod /share/"${MODULE:-scanout.ko}"
cd /sys/bus/platform
echo scanout >devices/pcspkr/driver_override
echo pcspkr >drivers_probe
readlink devices/pcspkr/driver
/share/example pcspkr
