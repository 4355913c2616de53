#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# Documents the crates of the modules with rustdoc, with the options that Kbuild
# compiled them with, and puts them beside what cargo has made of the model and of
# the userspace crate. Any warning is an error. Runs inside the private root; called
# by scripts/docs.
#
# usage: rustdoc.py MODULES CARGO_DOC OUT

import os
import re
import shlex
import shutil
import subprocess
import sys

REPO = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
MODULES, CARGO_DOC, OUT = sys.argv[1:]
# Options of rustc that rustdoc does not have, and those of clippy; the first take a word more.
PAIRS = ('--crate-type', '--out-dir')
DROPPED = ('--emit', '-Wclippy::', '-Aclippy::', '-Dclippy::')
# Where rustdoc's page of a crate leads to the module's own parts, it names them without a link.
MORE = ('-Arustdoc::private_intra_doc_links', '-Zunstable-options',
        '--extern-html-root-url', 'kernel=https://rust.docs.kernel.org',
        '--extern-html-root-url', 'core=https://doc.rust-lang.org')
KERNEL_TREE = 'https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/'


def command(crate):
    """The options and the environment of the compiler, as Kbuild has saved them."""
    with open(f'{MODULES}/{crate}/.{crate}.o.cmd', encoding='utf-8') as f:
        words = iter(shlex.split(f.readline().split(':=', 1)[1]))
    env, options = dict(os.environ, RUSTC_BOOTSTRAP='1'), []
    for word in words:
        if '=' not in word:
            break
        name, value = word.split('=', 1)
        env[name] = value
    for word in words:
        if word == '--env-set':
            name, value = next(words).split('=', 1)
            env[name] = value
        elif word in PAIRS:
            next(words)
        elif not word.startswith(DROPPED):
            options.append(word)
    return options, env


def document(crate, out):
    options, env = command(crate)
    done = subprocess.run(['rustdoc', *options, *MORE, '--crate-name', crate, '--output', out],
                          cwd=MODULES, env=env, check=False)
    if done.returncode:
        sys.exit(f'rustdoc: {crate} gave warnings')


def lead_to_headers(out):
    """Links to "srctree/" lead to copies of this tree's headers, or to the kernel's tree."""
    found = set()

    def link(up):
        def target(match):
            path = match[1]
            if not os.path.exists(f'{REPO}/{path}'):
                return f'href="{KERNEL_TREE}{path}"'
            found.add(path)
            return f'href="{up}headers/{path}.txt"'
        return target

    for where, _, names in os.walk(out):
        for name in (n for n in names if n.endswith('.html')):
            with open(f'{where}/{name}', encoding='utf-8') as f:
                text = f.read()
            up = os.path.relpath(out, where) + '/'
            new = re.sub(r'href="srctree/([^"]+)"', link(up), text)
            if new != text:
                with open(f'{where}/{name}', 'w', encoding='utf-8') as f:
                    f.write(new)
    for path in found:
        os.makedirs(os.path.dirname(f'{out}/headers/{path}'), exist_ok=True)
        shutil.copy(f'{REPO}/{path}', f'{out}/headers/{path}.txt')


shutil.rmtree(OUT, ignore_errors=True)
for name in ('dma_buf_constraints', 'cenalloc'):
    document(name, f'{OUT}/kernel')
lead_to_headers(f'{OUT}/kernel')
# Both the module and the userspace crate are called cenalloc.
shutil.copytree(CARGO_DOC, f'{OUT}/userspace', ignore=shutil.ignore_patterns('.lock'))
