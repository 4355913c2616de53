# SPDX-License-Identifier: GPL-2.0

"""Draws groups of bars as SVG."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 84, 56
COLOURS = ('#30507a', '#5b8cc4', '#c8762b', '#e6b566')


def write(path, title, x_title, y_title, groups, series):
    """Writes a chart of SERIES, pairs of a name and a value for each of GROUPS."""
    most = max(max(values) for _, values in series)
    step = next(s for s in (0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 20, 50, math.inf) if most / s <= 9)
    top = math.ceil(max(most, 1) / step) * step
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def y(value):
        return TOP + high * (1 - value / top)

    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<!-- SPDX-License-Identifier: GPL-2.0 -->',
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<title>{escape(title)}</title>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]

    def text(x, at, words, anchor='middle', more=''):
        parts.append(f'<text x="{x:.1f}" y="{at:.1f}" text-anchor="{anchor}" {more}>'
                     f'{escape(words)}</text>')

    text(WIDTH / 2, 22, title, more='font-size="16"')
    text(LEFT + wide / 2, HEIGHT - 12, x_title)
    text(0, 0, y_title, more=f'transform="translate(18 {TOP + high / 2}) rotate(-90)"')
    for number, (name, _) in enumerate(series):
        x, at = LEFT + number % 2 * wide / 2, 38 + number // 2 * 20
        parts.append(f'<rect x="{x}" y="{at}" width="12" height="12" '
                     f'fill="{COLOURS[number]}"/>')
        text(x + 18, at + 10, name, 'start')
    for tick in range(round(top / step) + 1):
        at = y(tick * step)
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + wide}" y1="{at:.1f}" y2="{at:.1f}" '
                     'stroke="#ddd"/>')
        text(LEFT - 8, at + 4, f'{tick * step:g}', 'end')
    slot = wide / len(groups)
    bar = slot * 0.86 / len(series)
    for place, group in enumerate(groups):
        text(LEFT + slot * (place + 0.5), TOP + high + 18, group)
        for number, (_, values) in enumerate(series):
            x = LEFT + slot * (place + 0.07) + bar * number
            at = y(values[place])
            parts.append(f'<rect x="{x:.1f}" y="{at:.1f}" width="{bar - 2:.1f}" '
                         f'height="{TOP + high - at:.1f}" fill="{COLOURS[number]}"/>')
            text(x + bar / 2 - 1, at - 4, f'{values[place]:.2f}', more='font-size="10"')
    parts.append(f'<line x1="{LEFT}" x2="{LEFT + wide}" y1="{y(1):.1f}" y2="{y(1):.1f}" '
                 'stroke="black" stroke-dasharray="4 3"/>')
    parts.append('</svg>')
    with open(path, 'w', encoding='utf-8') as f:
        f.write('\n'.join(parts) + '\n')
