#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# usage: png.py OUT.png FONT.c (IN.ppm CAPTION)...
#
# FONT.c is lib/fonts/font_8x16.c of the kernel, which has 16 bytes for each letter.

"""Makes one PNG of PPM pictures (P6, 8 bits a colour), side by side, captions below."""

import re
import struct
import sys
import zlib

GAP = 16
SCALE = 2
PAPER, INK = b'\xff', b'\x20'


def chunk(kind, data):
    """One part of a PNG: length, kind, data, checksum."""
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def picture(path):
    """The rows of a PPM, and its width."""
    with open(path, 'rb') as f:
        magic, size, most, pixels = f.read().split(b'\n', 3)
    width, height = map(int, size.split())
    if magic != b'P6' or most != b'255' or len(pixels) != width * height * 3:
        sys.exit(f'{path}: not a picture that this program knows')
    return [pixels[row:row + width * 3] for row in range(0, len(pixels), width * 3)], width


def text(line, width, font):
    """The rows of a line of text, in the middle of that width."""
    rows = []
    for y in range(16):
        dots = ''.join(f'{font[ord(letter) * 16 + y]:08b}' for letter in line)
        row = b''.join((INK if dot == '1' else PAPER) * 3 * SCALE for dot in dots)
        left = (width - len(row) // 3) // 2
        if left < 0:
            sys.exit(f'too long: {line}')
        row = PAPER * 3 * left + row
        rows += [row + PAPER * (width * 3 - len(row))] * SCALE
    return rows


def main(target, font_file, *pictures):
    with open(font_file, encoding='utf-8') as f:
        font = [int(byte, 16) for byte in re.findall(r'\b0x([0-9a-f]{2}),', f.read())]
    columns = []
    for path, caption in zip(pictures[::2], pictures[1::2]):
        rows, width = picture(path)
        blank = [PAPER * 3 * width] * GAP
        for line in caption.split('\n'):
            rows += blank[:GAP // 2] + text(line, width, font)
        columns.append(blank + rows + blank)
    side = PAPER * 3 * GAP
    rows = [side + side.join(parts) + side for parts in zip(*columns)]
    # Each row as the difference to the row above: test patterns become small.
    packed, above = [], bytes(len(rows[0]))
    for row in rows:
        packed.append(b'\2' + bytes((a - b) & 255 for a, b in zip(row, above)))
        above = row
    with open(target, 'wb') as f:
        f.write(b'\x89PNG\r\n\x1a\n')
        f.write(chunk(b'IHDR', struct.pack('>IIBBBBB', len(rows[0]) // 3, len(rows), 8, 2,
                                           0, 0, 0)))
        f.write(chunk(b'IDAT', zlib.compress(b''.join(packed), 9)))
        f.write(chunk(b'IEND', b''))


main(*sys.argv[1:])
