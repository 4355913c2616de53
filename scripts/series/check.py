#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# Tests of the series; called by scripts/series-check. Those of scripts/in-tree and
# scripts/patches take copies of the few files of the kernel that the series
# changes. The builds go on in a kernel tree that is built already, with the core
# series, so that each patch costs what it adds.

import contextlib
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from series import REPO, Failure, Series, read, run

WORK = f'{REPO}/build/series'
STOCK = os.environ['STOCK']     # the kernel's source as it is
KERNEL = os.environ['KDIR']     # a kernel that was built from it and the core series
MAKE = ('nice', '-n', '5', 'make', '-s', 'CC=clang', f'-j{os.cpu_count()}')
# Mailing lists take no longer mails.
LONGEST = 100_000
# The form of TRACE_EVENT(), which checkpatch takes for a call of a function.
TRACING = 'OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT'
MODULES = ('dma_buf_constraints', 'cenalloc', 'cenalloc_importer', 'cenalloc_edu',
           'cenalloc_c_exporter', 'cenalloc_c_importer', 'cenalloc_c_allocator',
           'cenalloc_c_driver', 'cenalloc_plain', 'cenalloc_rust_allocator', 'cenalloc_removable',
           'cenalloc_probe')
TEST_MODULES = 'tools/testing/selftests/cenalloc/test_modules'
# Single programs: all of them are for the guests of scripts/check.
TESTS = ('create', 'attach', 'map')


def expect(truth, what):
    if not truth:
        raise Failure(what)


def digest(tree):
    """What a tree holds: every name, mode and byte, but for git's own."""
    total = hashlib.sha256()
    for where, dirs, files in os.walk(tree):
        dirs[:] = sorted(d for d in dirs if d != '.git')
        for name in sorted(dirs + files):
            path = f'{where}/{name}'
            total.update(f'{os.path.relpath(path, tree)} {os.lstat(path).st_mode:o}\n'.encode())
            if os.path.isfile(path):
                with open(path, 'rb') as f:
                    total.update(f.read())
    return total.hexdigest()


def series(where, kernel=STOCK):
    return Series(where, kernel, 'A Tester', 'tester@example.org')


def little_tree(tree):
    """The files of a kernel tree that matter here."""
    with tempfile.TemporaryDirectory() as scratch:
        paths = series(scratch).changed()
    for path in [*paths, 'Kbuild', 'Kconfig', 'Makefile']:
        os.makedirs(os.path.dirname(f'{tree}/{path}'), exist_ok=True)
        shutil.copy(f'{STOCK}/{path}', f'{tree}/{path}')


def git(tree, *command):
    return run('git', '-c', 'safe.directory=*', '-c', 'user.name=A Tester',
               '-c', 'user.email=tester@example.org', *command, cwd=tree)


def commit_all(tree):
    git(tree, 'init', '--quiet')
    git(tree, 'add', '--all', '--force')
    git(tree, 'commit', '--quiet', '--message=A kernel')


def write(path, text, mode='w'):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, mode, encoding='utf-8') as f:
        f.write(text)


def replace(path, old, new):
    text = read(path)
    expect(old in text, f'{path} has no "{old}"')
    write(path, text.replace(old, new, 1))


def in_tree(tree):
    return subprocess.run([f'{REPO}/scripts/in-tree', tree], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


# --- scripts/in-tree refuses -------------------------------------------------

def spoil_kind(tree):
    os.unlink(f'{tree}/drivers/dma-buf/dma-buf.c')


def spoil_version(tree):
    replace(f'{tree}/Makefile', 'PATCHLEVEL = 3\n', 'PATCHLEVEL = 2\n')


def spoil_twice(tree):
    done = in_tree(tree)
    expect(done.returncode == 0, done.stdout)


def spoil_core(tree):
    replace(f'{tree}/drivers/dma-buf/dma-buf.c', 'INIT_LIST_HEAD(&dmabuf->attachments);', '')


def spoil_anchor(tree):
    replace(f'{tree}/drivers/dma-buf/Kconfig', 'source "drivers/dma-buf/heaps/Kconfig"\n', '')


def spoil_free(tree):
    write(f'{tree}/include/linux/cenalloc.h', '')


def spoil_change(tree):
    commit_all(tree)
    write(f'{tree}/MAINTAINERS', '\n', 'a')


def spoil_untracked(tree):
    commit_all(tree)
    write(f'{tree}/samples/cenalloc/Kconfig', '')


def spoil_halfway(tree):
    """Found only when most files are in their places already."""
    write(f'{tree}/tools/testing/selftests/cenalloc', '')


REFUSED = (
    ('no kernel tree', spoil_kind, 'is no kernel tree: it has no file drivers/dma-buf/dma-buf.c'),
    ('another version', spoil_version, 'is Linux 7.2; this is for 7.3'),
    ('a second time', spoil_twice, 'has cenalloc already'),
    ('a changed core', spoil_core, 'patch does not apply'),
    ('a changed Kconfig', spoil_anchor, 'has 0 lines "source "drivers/dma-buf/heaps/Kconfig""'),
    ('a file in the way', spoil_free, 'include/linux/cenalloc.h'),
    ('uncommitted changes', spoil_change, ' M MAINTAINERS'),
    ('untracked files', spoil_untracked, '?? samples/cenalloc/'),
    ('an error halfway', spoil_halfway, 'tools/testing/selftests/cenalloc'),
)


def check_refused(spoil, words):
    with tempfile.TemporaryDirectory() as tree:
        little_tree(tree)
        spoil(tree)
        before = digest(tree)
        done = in_tree(tree)
        expect(done.returncode, f'not refused: {done.stdout}')
        expect(words in done.stdout, f'other words: {done.stdout}')
        expect('nothing was changed' in done.stdout, f'does not say so: {done.stdout}')
        expect(digest(tree) == before, 'the tree has changed')


def check_elsewhere():
    """Changes where the series has nothing to do are nobody's business."""
    with tempfile.TemporaryDirectory() as tree:
        little_tree(tree)
        commit_all(tree)
        write(f'{tree}/Kbuild', '# mine\n', 'a')
        done = in_tree(tree)
        expect(done.returncode == 0, done.stdout)
        expect(read(f'{tree}/Kbuild').endswith('# mine\n'), 'a change elsewhere is lost')


# --- scripts/patches ---------------------------------------------------------

def make_patches():
    out = f'{WORK}/patches'
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    run(f'{REPO}/scripts/series/mail.py', STOCK, out, 'A Tester', 'tester@example.org', cwd=REPO)
    return sorted(glob.glob(f'{out}/*.patch'))


def check_letter(letter):
    text = read(letter)
    expect('***' not in text and 'dma_buf_constraints' in text, f'{letter} is not filled in')


def check_length(patches):
    long = [f'{p}: {os.path.getsize(p)} bytes' for p in patches if os.path.getsize(p) > LONGEST]
    expect(not long, '\n'.join(long))


def check_checkpatch(patches):
    said = ''
    for patch in patches:
        ignored = ['--ignore', TRACING] if '#include <trace/define_trace.h>' in read(patch) else []
        done = subprocess.run(
            ['perl', f'{STOCK}/scripts/checkpatch.pl', '--strict', '--terse', '--show-types',
             '--no-summary', '--quiet', *ignored, patch],
            cwd=STOCK, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        said += done.stdout or (f'checkpatch failed on {patch}\n' if done.returncode else '')
    expect(not said, said)


def check_same(patches):
    with tempfile.TemporaryDirectory() as mailed, tempfile.TemporaryDirectory() as placed:
        little_tree(mailed)
        commit_all(mailed)
        git(mailed, 'am', '--quiet', *patches)
        little_tree(placed)
        done = in_tree(placed)
        expect(done.returncode == 0, done.stdout)
        expect(digest(mailed) == digest(placed),
               run('diff', '-rq', '-x', '.git', mailed, placed, cwd=WORK))


# --- Builds ------------------------------------------------------------------

@contextlib.contextmanager
def copy_of(kernel):
    """A kernel tree to build in, which shares what is not changed. It stands in the
    place of the original, for nobody else to see: some of what was built there knows
    its place."""
    top = f'{WORK}/tree'
    subprocess.run(['rm', '-rf', top], check=True)
    os.makedirs(f'{top}/upper')
    os.makedirs(f'{top}/work')
    mounted = subprocess.run(
        ['busybox', 'mount', '-t', 'overlay', 'overlay', '-o',
         f'lowerdir={kernel},upperdir={top}/upper,workdir={top}/work', kernel],
        stderr=subprocess.DEVNULL, check=False).returncode == 0
    if not mounted:
        # Not every file system can be under another.
        run('cp', '-a', '--reflink=auto', f'{kernel}/.', f'{top}/upper', cwd=WORK)
        run('busybox', 'mount', '--bind', f'{top}/upper', kernel, cwd=WORK)
    try:
        yield kernel
    finally:
        run('busybox', 'umount', kernel, cwd=WORK)
        subprocess.run(['rm', '-rf', top], check=True)


def make(tree, *targets):
    """Builds; what the compilers say is the result. Errors are failures."""
    done = subprocess.run([*MAKE, *targets], cwd=tree, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    expect(done.returncode == 0, f'make {" ".join(targets)}\n{done.stdout}')
    expect('warning:' not in done.stdout, done.stdout)
    return done.stdout


class Walk:
    """A tree that is brought from commit to commit of the series."""

    def __init__(self, scratch, tree):
        self.series = series(scratch)
        self.series.build()
        self.tree = tree
        self.commits = self.series.git('rev-list', '--reverse',
                                       f'{self.series.base}..').split()
        self.core = len(self.series.core)

    def title(self, commit):
        return self.series.git('show', '--no-patch', '--format=%s', commit).strip()

    def go(self, commit):
        """Writes what differs; returns the names of the files of the commit."""
        self.series.git('checkout', '--quiet', commit)
        for path in self.series.git('ls-files').split('\n')[:-1]:
            here, there = f'{self.series.where}/{path}', f'{self.tree}/{path}'
            if not os.path.exists(there) or read(there) != read(here):
                os.makedirs(os.path.dirname(there), exist_ok=True)
                shutil.copyfile(here, there)
                shutil.copymode(here, there)
        return self.series.git('diff', '--name-only', f'{commit}^', commit).split('\n')[:-1]


def configure(tree, *options):
    run('scripts/config', *options, cwd=tree)
    make(tree, 'olddefconfig')


def modules_wanted(tree):
    """All of ours as modules, as far as they are there."""
    configure(tree, '-e', 'SAMPLES', '-m', 'DMA_BUF_CONSTRAINTS', '-m', 'CENALLOC',
              '-m', 'SAMPLE_CENALLOC', '-m', 'CENALLOC_TEST_MODULES')


def check_core(tap):
    """Each patch of the core, without Rust: its bindings take longer than the rest."""
    with copy_of(KERNEL) as tree, tempfile.TemporaryDirectory() as scratch:
        walk = Walk(scratch, tree)
        walk.go(walk.commits[0])
        configure(tree, '-d', 'RUST')
        for commit in walk.commits[:walk.core]:
            def action(commit=commit):
                walk.go(commit)
                make(tree, 'drivers/dma-buf/', 'drivers/base/', 'kernel/dma/')
            tap.test(f'builds: {walk.title(commit)}', action)


def check_parts(tap):
    """Each patch of ours, then all of it, and what it does when it is booted."""
    with copy_of(KERNEL) as tree, tempfile.TemporaryDirectory() as scratch:
        walk = Walk(scratch, tree)
        for commit in walk.commits[walk.core:]:
            def action(commit=commit):
                names = walk.go(commit)
                if any(os.path.basename(name) == 'Kconfig' for name in names):
                    modules_wanted(tree)
                # Files that no makefile names yet build nothing.
                if any(re.match(f'(drivers|samples|{TEST_MODULES})/(.*/)?Makefile$', name)
                       for name in names):
                    make(tree, 'drivers/dma-buf/')
                if any(name.startswith('include/uapi/') for name in names):
                    make(tree, 'headers')
                if 'tools/testing/selftests/Makefile' in names:
                    make(f'{tree}/tools/testing/selftests', 'TARGETS=cenalloc',
                         f'KHDR_INCLUDES=-isystem {tree}/usr/include')
            tap.test(f'builds: {walk.title(commit)}', action)
        tap.test('everything is built as a module', lambda: check_config(tree))
        tap.test('all modules link', lambda: make(tree, 'modules'))
        tap.test('they load in that kernel, and share buffers', lambda: check_boot(tree))
        tap.test('W=1 has nothing to say', lambda: make(tree, 'W=1', 'drivers/dma-buf/'))
        tap.test('make clean leaves nothing', lambda: check_clean(tree, walk))


def check_config(tree):
    config = read(f'{tree}/.config').split('\n')
    for name in ('DMA_BUF_CONSTRAINTS', 'CENALLOC', 'SAMPLE_CENALLOC', 'CENALLOC_TEST_MODULES'):
        expect(f'CONFIG_{name}=m' in config, f'{name} is not a module')


def check_boot(tree):
    """The modules load in the kernel that they were built for, and some tests pass."""
    modules, payload = f'{WORK}/modules', f'{WORK}/payload'
    for path in (modules, payload):
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
    for name in MODULES:
        shutil.copy(f'{tree}/drivers/dma-buf/{name}.ko', modules)
    write(f'{modules}/modules.order', ''.join(f'{name}.o\n' for name in MODULES))
    for name in TESTS:
        shutil.copy(f'{tree}/tools/testing/selftests/cenalloc/{name}', payload)
    done = subprocess.run(
        [f'{REPO}/scripts/guest.py', '--small', '--modules', '', '--payload', payload,
         '--log', f'{WORK}/boot.log', '--',
         # As run.sh does: their allocators are in the way of what has none.
         'rmmod cenalloc_c_importer cenalloc_c_allocator cenalloc_rust_allocator '
         'cenalloc_c_driver cenalloc_plain && ' +
         ' && '.join(f'./{name}' for name in TESTS)],
        env=dict(os.environ, MODULES=modules), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors='replace', check=False)
    expect(done.returncode == 0, done.stdout)


def check_clean(tree, walk):
    make(tree, 'clean')
    known = set(walk.series.git('ls-files').split('\n'))
    left = [os.path.relpath(f'{where}/{name}', tree)
            for top in ('drivers/dma-buf/dma_buf_constraints', 'drivers/dma-buf/cenalloc',
                        'samples/cenalloc', TEST_MODULES)
            for where, _, names in os.walk(f'{tree}/{top}') for name in names]
    left = [name for name in left if name not in known]
    expect(not left, '\n'.join(left))


# --- All of it ---------------------------------------------------------------

class Tap:
    """Prints results."""

    def __init__(self):
        self.count = self.failed = 0
        print('TAP version 13', flush=True)

    def test(self, name, action):
        self.count += 1
        started = time.monotonic()
        try:
            result = action()
            verdict, why = 'ok', ''
        except (Failure, OSError, subprocess.CalledProcessError) as failure:
            result, verdict, why = None, 'not ok', str(failure)
            self.failed += 1
        for line in why.split('\n') if why else []:
            print(f'# {line}')
        print(f'{verdict} {self.count} {name}', flush=True)
        print(f'# {time.monotonic() - started:.1f} s', flush=True)
        return result

    def end(self):
        print(f'1..{self.count}')
        sys.exit(1 if self.failed else 0)


def main():
    os.makedirs(WORK, exist_ok=True)
    tap = Tap()
    for name, spoil, words in REFUSED:
        tap.test(f'refused, nothing changed: {name}',
                 lambda spoil=spoil, words=words: check_refused(spoil, words))
    tap.test('changes elsewhere stay', check_elsewhere)
    made = tap.test('the series is written', make_patches)
    if made:
        letter, *patches = made
        tap.test('the cover letter has its text', lambda: check_letter(letter))
        tap.test('no patch is too long for a mail', lambda: check_length(patches))
        tap.test('checkpatch has nothing to say', lambda: check_checkpatch(patches))
        tap.test('git am makes the same as in-tree', lambda: check_same(patches))
        if '--quick' not in sys.argv:
            check_core(tap)
            check_parts(tap)
    tap.end()


if __name__ == '__main__':
    main()
