#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# Puts what the series makes into a kernel tree: all of it, or, where anything
# stands against it, nothing. Runs inside the private root; called by scripts/in-tree.
#
# usage: place.py TREE

import os
import re
import shutil
import sys
import tempfile

from series import Failure, Series, VERSION, read, run

# What tells a kernel tree from others.
LANDMARKS = ('Kbuild', 'Kconfig', 'MAINTAINERS', 'Makefile', 'drivers/dma-buf/dma-buf.c')
# What is there only after we were.
TRACES = ('drivers/dma-buf/dma_buf_constraints', 'drivers/dma-buf/cenalloc')


def check_kernel(tree):
    """It is a tree of the version that the series is for, without it."""
    for name in LANDMARKS:
        if not os.path.isfile(f'{tree}/{name}'):
            raise Failure(f'{tree} is no kernel tree: it has no file {name}')
    version = dict(re.findall(r'^(\w+) = (.*)$', read(f'{tree}/Makefile')[:500], re.M))
    found = version.get('VERSION', ''), version.get('PATCHLEVEL', '')
    if found != VERSION:
        raise Failure(f'{tree} is Linux {".".join(found)}; this is for {".".join(VERSION)}')
    for name in TRACES:
        if os.path.lexists(f'{tree}/{name}'):
            raise Failure(f'{tree} has cenalloc already: there is {name}')


def check_clean(tree, paths):
    """Nothing that would be touched has changes that git does not have yet."""
    if not os.path.exists(f'{tree}/.git'):
        return
    said = run('git', '-c', 'safe.directory=*', 'status', '--porcelain', '--', *paths, cwd=tree)
    if said:
        raise Failure(f'{tree} has changes of its own where cenalloc goes:\n{said.rstrip()}')


def check_free(tree, paths):
    """Nothing stands where files are added."""
    found = [path for path in paths if os.path.lexists(f'{tree}/{path}')]
    if found:
        raise Failure(f'{tree} has files where cenalloc puts its own:\n' + '\n'.join(found))


class Exchange:
    """Files put in the place of others, or of none; all of them, or none."""

    def __init__(self, tree):
        self.tree = tree
        # Beside its destination, so that a file is put there by renaming it.
        self.stage = tempfile.mkdtemp(prefix='.in-tree-', dir=tree)
        self.new, self.done, self.made = [], [], []

    def prepare(self, source, path):
        copy = f'{self.stage}/{len(self.new)}'
        shutil.copy(source, copy)
        self.new.append((copy, path))

    def commit(self):
        for copy, path in self.new:
            self.directories(os.path.dirname(path))
            old = f'{copy}.old'
            there = os.path.exists(f'{self.tree}/{path}')
            if there:
                os.link(f'{self.tree}/{path}', old)
            self.done.append((path, old if there else None))
            os.replace(copy, f'{self.tree}/{path}')

    def directories(self, path):
        if not os.path.isdir(f'{self.tree}/{path}'):
            self.directories(os.path.dirname(path))
            os.mkdir(f'{self.tree}/{path}')
            self.made.append(path)

    def undo(self):
        for path, old in reversed(self.done):
            if old:
                os.replace(old, f'{self.tree}/{path}')
            elif os.path.exists(f'{self.tree}/{path}'):
                os.unlink(f'{self.tree}/{path}')
        for path in reversed(self.made):
            os.rmdir(f'{self.tree}/{path}')

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.undo()
        shutil.rmtree(self.stage)


def place(tree):
    """Returns how many files were added and changed."""
    check_kernel(tree)
    with tempfile.TemporaryDirectory() as scratch:
        series = Series(scratch, tree, 'in-tree', 'in-tree')
        added, changed = series.added(), series.changed()
        check_clean(tree, added + changed)
        check_free(tree, added)
        series.build()
        with Exchange(tree) as exchange:
            for path in changed + added:
                exchange.prepare(f'{scratch}/{path}', path)
            exchange.commit()
    return len(added), len(changed)


def main():
    tree = sys.argv[1]
    try:
        added, changed = place(tree)
    except (Failure, OSError) as failure:
        sys.exit(f'in-tree: {failure}\nin-tree: nothing was changed')
    print(f'{tree}: {added} files added, {changed} changed')


if __name__ == '__main__':
    main()
