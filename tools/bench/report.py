#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# usage: report.py SAMPLES.tsv MEDIANS.tsv CHART.svg

"""Makes tables and a chart of what the benchmark measured; fails where a sample is missing."""

import collections
import statistics
import sys

import chart

OURS, PEER = 'cenalloc', 'system heap'

# Sums of steps: name, test, steps, and whether memory is zeroed in them.
LIFE_WITH_DEVICE = ('create, attach, map, unmap, detach, close', 'device',
                    ('create', 'attach', 'map', 'unmap', 'detach', 'close'), True)
LIFE_WITH_CPU = ('create, mmap, touch each page, munmap, close', 'cpu',
                 ('create', 'mmap', 'touch', 'munmap', 'close'), True)
BACKED = (('attach', 'join', ('attach',), False),
          ('detach', 'join', ('detach',), False),
          ('both', 'join', ('attach', 'detach'), False))
# The same for a buffer that has no memory yet, where an exporter knows such a thing.
EMPTY = (('attach', 'join', ('first attach',), False),
         ('detach', 'join', ('first detach',), False),
         ('both', 'join', ('first attach', 'first detach'), False))
MAP_AGAIN = ('map, unmap', 'join', ('map again', 'unmap again'), False)
TOUCH = ('mmap, touch each page', 'join', ('mmap', 'touch'), False)


def text_of(size):
    """A number of bytes in words."""
    return f'{size >> 20} MiB' if size >= 1 << 20 else f'{size >> 10} KiB'


class Samples:
    """What was measured: instructions, with the cost of reading the clock taken off."""

    def __init__(self, path):
        self.values = collections.defaultdict(list)
        self.absent = []
        with open(path, encoding='utf-8') as f:
            for line in f:
                if line.startswith('# absent: '):
                    self.absent.append(line.removeprefix('# absent: ').strip())
                elif not line.startswith('test\t'):
                    test, exporter, size, step, _, value = line.rstrip('\n').split('\t')
                    self.values[test, exporter, int(size), step].append(int(value))
        self.reading = statistics.median(self.get('clock', '-', 0, 'read'))
        self.sizes = self.sizes_of('zeroing')
        self.exporters = self.names('device')
        if self.exporters[:1] != [OURS] or PEER not in self.exporters:
            sys.exit(f'report: no samples of {OURS} or of the {PEER}')

    def get(self, test, exporter, size, step):
        """All samples of a step, by round."""
        values = self.values.get((test, exporter, size, step))
        if not values:
            sys.exit(f'report: no samples of {test}, {exporter}, {size}, {step}')
        return values

    def names(self, test):
        """Exporters in a test, ours first."""
        found = {key[1] for key in self.values if key[0] == test}
        return sorted(found, key=lambda name: (name != OURS, name != PEER, name))

    def sizes_of(self, test):
        """Sizes in a test."""
        return sorted({key[2] for key in self.values if key[0] == test})

    def median(self, test, exporter, size, *steps):
        """The median of the sums of some steps of a round."""
        rounds = zip(*(self.get(test, exporter, size, step) for step in steps), strict=True)
        return round(statistics.median(sum(values) - self.reading * len(steps)
                                       for values in rounds))

    def figure(self, what, exporter, size, zeroing=True):
        """A sum of steps, with or without the zeroing in it."""
        _, test, steps, zeroes = what
        value = self.median(test, exporter, size, *steps)
        if zeroes and not zeroing:
            value -= self.median('zeroing', '-', size, 'zero')
        return value


def row(*cells, width=13):
    """A line of a table: two cells of words, the others of figures."""
    print(f'{cells[0]:>6}  {cells[1]:<14}' + ''.join(f'{cell:>{width}}' for cell in cells[2:]))


def ratios(figures):
    """Ours to the best of the others, and to the peer."""
    best = min(value for name, value in figures.items() if name != OURS)
    return f'{figures[OURS] / best:.2f}', f'{figures[OURS] / figures[PEER]:.2f}'


def heading(title, *columns):
    """The title of a table and the names of its columns."""
    print(f'\n{title}')
    row('', '', *columns)


def compare(samples, title, what):
    """A table that compares exporters, with one or two lines for each size."""
    heading(title, *samples.exporters, '/ best rival', '/ system')
    for size in samples.sizes:
        for zeroing in (True, False) if what[3] else (True,):
            figures = {name: samples.figure(what, name, size, zeroing)
                       for name in samples.exporters}
            row(text_of(size) if zeroing else '', '' if zeroing else 'minus zeroing',
                *(f'{value:,}' for value in figures.values()), *ratios(figures))


def attach(samples):
    """Table of attach and detach."""
    heading('(c) attach and detach; the ratios are those of a buffer that has memory',
            f'{OURS}, new', *samples.exporters, '/ best rival', '/ system')
    for size in samples.sizes:
        for new, old in zip(EMPTY, BACKED):
            figures = {name: samples.figure(old, name, size) for name in samples.exporters}
            row(text_of(size) if old is BACKED[0] else '', old[0],
                f'{samples.figure(new, OURS, size):,}',
                *(f'{value:,}' for value in figures.values()), *ratios(figures))


def users(samples):
    """Costs by number of users."""
    for number, name in (('(e) attach', 'attach'), ('    detach', 'detach')):
        heading(f'{number} the last of so many devices', f'{OURS}, new', *samples.exporters)
        for count in samples.sizes_of('users'):
            row(count, '', f'{samples.median("users", OURS, count, f"first {name}"):,}',
                *(f'{samples.median("users", exporter, count, name):,}'
                  for exporter in samples.exporters))


def ask(samples):
    """What asking and telling costs, by number of users."""
    heading('(j) calls on a buffer with so many users', OURS)
    for step, count in (('declare', 1), ('declare, refused', 1), ('query', 2), ('query', 16)):
        row(count, step, f'{samples.median("ask", OURS, count, step):,}')


def live(samples):
    """Costs by number of buffers, and what they take."""
    heading('(f) one more buffer of 4 KiB, beside so many', *samples.exporters)
    for step in ('create', 'first attach', 'first detach', 'close'):
        for count in samples.sizes_of('live'):
            row(f'{count:,}', step.removeprefix('first '),
                *(f'{samples.median("live", exporter, count, step):,}'
                  for exporter in samples.exporters))
    heading('(g) bytes of memory that a buffer of 4 KiB takes beside its page',
            *samples.exporters)
    count, = samples.sizes_of('memory')
    cells = {'new': [], 'used': []}
    for exporter in samples.exporters:
        for state, found in cells.items():
            value = samples.get('memory', exporter, count, state)[0]
            # Only ours has no page at first.
            pages = 0 if (exporter, state) == (OURS, 'new') else count * 4096
            found.append(f'{(value - pages) / count:,.0f}')
    row('', 'created', *cells['new'])
    row('', 'mapped once', *cells['used'])


def contiguous(samples):
    """Buffers in one piece."""
    names = samples.names('contiguous')
    print('\n(h) buffers in one piece, before and after memory was fragmented')
    row('', '', *names, width=16)
    for size in samples.sizes_of('contiguous'):
        for state in ('before', 'after'):
            cells = []
            for name in names:
                tries = samples.get('contiguous', name, size, state)
                longest = samples.values.get(('longest', name, 0, state), [size])[0]
                cells.append(f'{sum(tries)} of {len(tries)}' if size <= longest else 'too long')
            row(text_of(size) if state == 'before' else '', state, *cells, width=16)


def write_medians(samples, path):
    """One line for each step, to be compared with those of another run."""
    with open(path, 'w', encoding='utf-8') as f:
        for (test, exporter, size, step), values in samples.values.items():
            f.write(f'{test}\t{exporter}\t{size}\t{step}\t{statistics.median(values):.0f}\n')


def draw(samples, path):
    """The chart."""
    groups = [text_of(size) for size in samples.sizes]
    series = []
    for name, what in (('(a) life with a device, without zeroing', LIFE_WITH_DEVICE),
                       ('(b) life with the CPU, without zeroing', LIFE_WITH_CPU),
                       ('(c) attach, detach', BACKED[-1]), ('(d) map, unmap', MAP_AGAIN)):
        series.append((name, [samples.figure(what, OURS, size, False) /
                              samples.figure(what, PEER, size, False)
                              for size in samples.sizes]))
    chart.write(path, f'{OURS}: instructions, relative to the {PEER}', 'size of the buffer',
                f'ratio; below 1 is better than the {PEER}', groups, series)


def main(source, medians, picture):
    samples = Samples(source)
    print('Instructions, medians. A reading of the clock, which is taken off, '
          f'costs {samples.reading:.0f}.')
    for name in samples.absent:
        print(f'The kernel has no {name}.')
    compare(samples, f'(a) {LIFE_WITH_DEVICE[0]}', LIFE_WITH_DEVICE)
    compare(samples, f'(b) {LIFE_WITH_CPU[0]}', LIFE_WITH_CPU)
    attach(samples)
    compare(samples, f'(d) {MAP_AGAIN[0]} a buffer that has memory', MAP_AGAIN)
    users(samples)
    live(samples)
    contiguous(samples)
    compare(samples, f'(i) {TOUCH[0]} of a buffer that has memory', TOUCH)
    ask(samples)
    write_medians(samples, medians)
    draw(samples, picture)


main(*sys.argv[1:])
