#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# usage: png.py IN.ppm OUT.png

"""Turns a PPM picture (P6, 8 bits a colour) into a PNG."""

import struct
import sys
import zlib


def chunk(kind, data):
    """One piece of a PNG: length, kind, data, checksum."""
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def main(source, target):
    with open(source, 'rb') as f:
        magic, size, most, pixels = f.read().split(b'\n', 3)
    width, height = map(int, size.split())
    if magic != b'P6' or most != b'255' or len(pixels) != width * height * 3:
        sys.exit(f'{source}: not a picture that this program knows')
    # Each row as the difference to the row above: test patterns become small.
    rows, above = [], bytes(width * 3)
    for start in range(0, len(pixels), width * 3):
        row = pixels[start:start + width * 3]
        rows.append(b'\2' + bytes((a - b) & 255 for a, b in zip(row, above)))
        above = row
    with open(target, 'wb') as f:
        f.write(b'\x89PNG\r\n\x1a\n')
        f.write(chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)))
        f.write(chunk(b'IDAT', zlib.compress(b''.join(rows), 9)))
        f.write(chunk(b'IEND', b''))


main(*sys.argv[1:])
