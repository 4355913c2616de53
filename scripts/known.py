#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# usage: known.py KERNEL_SOURCE [--check TABLE]

"""Lists the modules of a kernel whose devices import contiguous memory alone.

A module is listed if all that it imports by are queues of videobuf2-dma-contig, or the DMA helpers
of DRM; not if a queue may take scattered memory, too, or the driver imports by itself. Makefiles
tell which files make up a module. With --check, fails where the table is another.
"""

import collections
import os
import re
import sys

CONTIG = re.compile(r'\bvb2_dma_contig_memops\b')
SCATTERED = re.compile(r'\bvb2_dma_sg_memops\b')
IMPORTS = re.compile(r'\bVB2_DMABUF\b')
GEM_DMA = re.compile(r'\bDRM_GEM_DMA_DRIVER_OPS|\bdrm_gem_dma_prime_import_sg_table(_vmap)?\b')
OWN_IMPORT = re.compile(r'\.gem_prime_import(_sg_table)?\s*=\s*(?!drm_gem_dma_)')
HELPERS = {'videobuf2_dma_contig', 'drm_dma_helper'}

ASSIGNMENT = re.compile(r'^([\w/.-]+?)-(?:y|m|objs|\$\([\w$()-]+\))\s*[:+]?=\s*(.*)$')

HEADER = '''/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Modules whose devices import contiguous memory alone, in the order of strcmp(). Made by
 * scripts/known.py of the kernel's source.
 */
'''


def objects(makefile):
    """Which objects each name of a makefile is made of; those of obj- are modules."""
    with open(makefile, encoding='utf-8') as f:
        text = f.read().replace('\\\n', ' ')
    made_of = collections.defaultdict(list)
    for line in text.split('\n'):
        found = ASSIGNMENT.match(line.split('#')[0].strip())
        if found:
            made_of[found[1]] += [o[:-2] for o in found[2].split() if o.endswith('.o')]
    return made_of


def sources(place, made_of, name, seen):
    """The source files of an object, with those that it is made of."""
    if name in seen:
        return
    seen.add(name)
    path = os.path.join(place, f'{name}.c')
    if os.path.exists(path):
        yield path
    for part in made_of.get(name, ()):
        yield from sources(place, made_of, part, seen)


def is_contiguous(text):
    """Whether a module with such a source imports contiguous memory alone."""
    by_queue = CONTIG.search(text) and IMPORTS.search(text)
    by_drm = GEM_DMA.search(text) and not OWN_IMPORT.search(text)
    return bool(by_queue or by_drm) and not SCATTERED.search(text)


def modules(kernel):
    """The names of the modules."""
    for place, _, files in os.walk(os.path.join(kernel, 'drivers')):
        for makefile in {'Makefile', 'Kbuild'}.intersection(files):
            made_of = objects(os.path.join(place, makefile))
            for module in made_of['obj']:
                text = ''
                for path in sources(place, made_of, module, set()):
                    with open(path, encoding='utf-8', errors='replace') as f:
                        text += f.read()
                name = os.path.basename(module).replace('-', '_')
                if is_contiguous(text) and name not in HELPERS:
                    yield name


def main():
    """Prints or checks the table."""
    names = sorted(set(modules(sys.argv[1])))
    table = HEADER + ''.join(f'"{name}",\n' for name in names)
    if sys.argv[2:3] != ['--check']:
        sys.stdout.write(table)
        return
    with open(sys.argv[3], encoding='utf-8') as f:
        if f.read() != table:
            sys.exit(f'{sys.argv[3]} is not what known.py makes of {sys.argv[1]}')


main()
