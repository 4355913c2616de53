#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# Called by scripts/editor, which has built all that is read here.
#
# usage: editor.py KERNEL-PROJECT WORKSPACE.metadata...

"""Makes rust-project.json and compile_commands.json of this tree. Every path in them is one
of the host: what is in the private root is named by where that is."""

import glob
import json
import os
import re
import shlex
import sys

REPO = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
ROOT, KDIR, MODULES = os.environ['ROOT'], os.environ['KDIR'], os.environ['MODULES']
CACHE = os.environ['CENALLOC_CACHE']


def on_host(path):
    """Where the host has a path of the private root."""
    shared = (f'{REPO}/', f'{CACHE}/')
    return path if path.startswith(shared) or not path.startswith('/') else ROOT + path


def commands():
    """The commands that made the objects of the modules: words, and the name of the source."""
    # The directory "source" there is this tree; os.walk() does not follow it.
    for name in sorted(f'{where}/{name}' for where, _, names in os.walk(MODULES)
                       for name in names if re.fullmatch(r'\..*\.o\.cmd', name)):
        with open(name, encoding='utf-8') as f:
            match = re.match(r'savedcmd_\S+ := (.*?)(?: ;.*)?$', f.readline().rstrip())
        words = shlex.split(match[1]) if match else []
        source = next((w for w in reversed(words) if w.endswith(('.rs', '.c'))), '')
        if source.startswith(f'{REPO}/') and not source.startswith(f'{MODULES}/'):
            yield words, source


class Project:
    """rust-project.json."""

    def __init__(self, kernel):
        with open(kernel, encoding='utf-8') as f:
            self.crates = json.load(f)['crates']
        for crate in self.crates:
            crate['root_module'] = on_host(crate['root_module'])
        self.index = {crate['display_name']: n for n, crate in enumerate(self.crates)}
        self.kernel_cfg = self.crates[self.index['kernel']]['cfg']

    def dependencies(self, names):
        return [{'crate': self.index[name], 'name': name} for name in names]

    def add(self, name, root, deps, **more):
        # All of the directory, and what the build generates.
        self.crates.append({'display_name': name, 'root_module': root, 'deps': deps,
                            'edition': '2021', 'cfg': [], **more})
        return len(self.crates) - 1

    def modules(self):
        """Our crates of the kernel, those first that others use."""
        found = []
        for words, source in commands():
            if source.endswith('.rs'):
                externs = [words[n + 1] for n, w in enumerate(words) if w == '--extern']
                found.append((externs, words, source))
        found.sort(key=lambda crate: 'dma_buf_constraints' in crate[0])
        found.sort(key=lambda crate: 'cenalloc' in crate[0])
        for externs, words, source in found:
            name = os.path.basename(source)[:-3]
            env = dict(w.split('=', 1) for w in words if re.match(r'(OBJTREE|RUST_MODFILE)=', w))
            env.update(words[n + 1].split('=', 1) for n, w in enumerate(words)
                       if w == '--env-set')
            env.update(w.removeprefix('--env-set=').split('=', 1) for w in words
                       if w.startswith('--env-set='))
            here = os.path.dirname(source)
            generated = here.replace(REPO, MODULES, 1)
            self.index[name] = self.add(
                name, source, self.dependencies(['core', *externs]), env=env,
                cfg=self.kernel_cfg + [words[n + 1] for n, w in enumerate(words) if w == '--cfg'],
                source={'include_dirs': [here, generated], 'exclude_dirs': []})

    def workspace(self, path):
        """The crates of a workspace of cargo, and what they use."""
        with open(path, encoding='utf-8') as f:
            metadata = json.load(f)
        with open(path.replace('.metadata', '.messages'), encoding='utf-8') as f:
            messages = [json.loads(line) for line in f if line.startswith('{')]
        built = {m['package_id']: m for m in messages if m['reason'] == 'build-script-executed'}
        dylibs = {m['package_id']: m['filenames'][0] for m in messages
                  if m['reason'] == 'compiler-artifact' and 'proc-macro' in m['target']['kind']}
        packages = {package['id']: package for package in metadata['packages']}
        nodes = {node['id']: node for node in metadata['resolve']['nodes']}
        standard = self.dependencies(['core', 'alloc', 'std', 'proc_macro'])
        libraries = {}

        def uses(package, kinds):
            return standard + [
                {'crate': library(dep['pkg']), 'name': dep['name']} for dep in nodes[package]['deps']
                if any(kind['kind'] in kinds for kind in dep['dep_kinds'])]

        def crate(package, target, deps):
            about = packages[package]
            script = built.get(package, {})
            env = {'CARGO_MANIFEST_DIR': os.path.dirname(about['manifest_path']),
                   'CARGO_PKG_NAME': about['name'], 'CARGO_PKG_VERSION': about['version'],
                   **dict(script.get('env', []))}
            roots = [env['CARGO_MANIFEST_DIR']]
            if script:
                env['OUT_DIR'] = script['out_dir']
                roots.append(script['out_dir'])
            ours = package in metadata['workspace_members']
            macro = {'is_proc_macro': True, 'proc_macro_dylib_path': dylibs.get(package)}
            return self.add(
                target['name'].replace('-', '_'), target['src_path'], deps, env=env,
                edition=target['edition'], is_workspace_member=ours,
                cfg=[f'feature="{name}"' for name in nodes[package]['features']] +
                script.get('cfgs', []) + (['test'] if ours else []) + ['unix'] +
                ['target_os="linux"', 'target_arch="x86_64"', 'target_pointer_width="64"'],
                source={'include_dirs': roots, 'exclude_dirs': []},
                **(macro if package in dylibs else {}))

        def library(package):
            if package not in libraries:
                target = next(t for t in packages[package]['targets']
                              if {'lib', 'rlib', 'proc-macro'} & set(t['kind']))
                libraries[package] = None
                libraries[package] = crate(package, target, uses(package, [None]))
            return libraries[package]

        for package in metadata['workspace_members']:
            own = []
            if any('lib' in t['kind'] for t in packages[package]['targets']):
                number = library(package)
                own = [{'crate': number, 'name': self.crates[number]['display_name']}]
                # Its tests use more.
                have = {dep['name'] for dep in self.crates[number]['deps']}
                self.crates[number]['deps'] += [dep for dep in uses(package, ['dev'])
                                                if dep['name'] not in have]
            for target in packages[package]['targets']:
                if not {'lib', 'custom-build'} & set(target['kind']):
                    crate(package, target, own + uses(package, [None, 'dev']))


def c_files():
    """compile_commands.json: how each file in C is compiled, in words that clang knows."""
    with open(f'{KDIR}/rust/Makefile', encoding='utf-8') as f:
        text = re.search(r'^bindgen_skip_c_flags := ((?:.*\\\n)*.*)', f.read(), re.M)[1]
    skip = re.compile('|'.join(re.escape(flag).replace('%', '.*')
                               for flag in text.replace('\\\n', ' ').split()) + '|-Wp,-MM?D,.*')
    for words, source in commands():
        if source.endswith('.c'):
            yield {'directory': MODULES, 'file': source, 'arguments':
                   ['clang', '--target=x86_64-linux-gnu', '-w'] +
                   [w for w in words[1:-1] if not skip.fullmatch(w)] + [source]}
    selftests = f'{KDIR}/tools/testing/selftests'
    for pattern in ('tools/demo/*.c', 'tools/bench/*.c', 'tools/testing/selftests/cenalloc/*.c',
                    'Documentation/userspace-api/*.c'):
        for source in sorted(glob.glob(f'{REPO}/{pattern}')):
            yield {'directory': os.path.dirname(source), 'file': source, 'arguments':
                   ['clang', f'--sysroot={ROOT}', f'-I{REPO}/include/uapi', f'-I{REPO}/samples',
                    f'-I{REPO}/tools/testing/selftests/cenalloc/test_modules',
                    f'-I{selftests}', '-isystem',
                    f'{KDIR}/usr/include',
                    '-D__printf(f,a)=', '-D__noreturn=', '-D_GNU_SOURCE', source]}


def write(name, what):
    with open(f'{REPO}/{name}.part', 'w', encoding='utf-8') as f:
        json.dump(what, f, indent=1)
    os.rename(f'{REPO}/{name}.part', f'{REPO}/{name}')
    print(f'{name} is written')


def main(kernel, *workspaces):
    project = Project(kernel)
    project.modules()
    for path in workspaces:
        project.workspace(path)
    write('rust-project.json', {'sysroot': f'{ROOT}/usr', 'crates': project.crates})
    write('compile_commands.json', list(c_files()))


main(*sys.argv[1:])
