#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# Runs every check of the tree, prints a line for each and, at the end,
# "N passed, N failed, N skipped". Each step counts as one, and so does each test
# that a step runs: the innermost results of the kselftests, the tests of cargo.
# Runs inside the private root; called by scripts/check. With --all also what takes
# long runs, on all machines. With further arguments only the named steps run.

import hashlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import threading
import time

import eager

REPO = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
BUILD = f'{REPO}/build'
LOGS = f'{BUILD}/logs'
# Guests boot the stock kernel, or one of scripts/kernels that KERNEL names.
KERNEL = os.environ['KERNEL']
# Or all kernels there are.
ALL = sys.argv[1:2] == ['--all']
TERMINAL = sys.stdout.isatty()
KSELFTESTS = f'{REPO}/tools/testing/selftests/cenalloc'

# Files that cannot hold a licence line, as messages, or that a tool writes.
NO_SPDX = re.compile(r'(^|/)(COPYING|LICENSE[^/]*|Cargo\.lock)$|^LICENSES/|\.(png|jpg|patch)$|'
                     r'proptest-regressions|^scripts/series/(parts/|cover-letter$)')

# Cargo's packages, whose tests hold lines of output; rustfmt alone has a say in them.
CARGO = re.compile('dma_buf_constraints/host/|tools/cenalloc/')

# The package around README's program in Rust.
README_CARGO = '''[package]
name = "readme"
edition = "2021"

[dependencies]
cenalloc = { path = "../../tools/cenalloc/lib" }

[workspace]
'''


class Failure(Exception):
    """A step's failure; its text is shown."""


class Tally:
    """What has been counted so far, and the output."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.shown = time.monotonic()
        self.lock = threading.Lock()

    def report(self, verdict, name, seconds, detail='', tests=(0, 0, 0)):
        with self.lock:
            self.clear()
            self.passed += (verdict == 'ok') + tests[0]
            self.failed += (verdict == 'FAIL') + tests[1]
            self.skipped += (verdict == 'skip') + tests[2]
            note = f' {sum(tests)} tests' if any(tests) else ''
            print(f'{verdict:4}  {name}{note} ({seconds:.1f} s)', flush=True)
            if detail:
                print('\n'.join('      ' + line for line in detail.rstrip().split('\n')), flush=True)


    def clear(self):
        """Removes the line of watch() from a terminal."""
        self.shown = time.monotonic()
        if TERMINAL:
            print('\r\033[K', end='')

    def watch(self, steps):
        """Shows which steps run and how far they are: each second in one line of a
        terminal, in a log where nothing was said for a minute."""
        while True:
            time.sleep(1)
            with self.lock:
                if not TERMINAL and time.monotonic() < self.shown + 60:
                    continue
                now = [f'{step.title} {time.monotonic() - step.started:.0f} s {step.note}'.strip()
                       for step in steps if step.started and not step.ended]
                line = f'{sum(step.ended for step in steps)} of {len(steps)} done; ' + '; '.join(now)
                self.clear()
                if TERMINAL:
                    print(line[:shutil.get_terminal_size().columns - 1], end='', flush=True)
                else:
                    print(f'      {line}', flush=True)


class Slots:
    """Who may run. Of those that wait, the one with the lowest rank comes first."""

    def __init__(self, free):
        self.free = free
        self.waiting = []
        self.changed = threading.Condition()

    def take(self, rank):
        with self.changed:
            self.waiting.append(rank)
            self.changed.wait_for(lambda: self.free and rank == min(self.waiting))
            self.waiting.remove(rank)
            self.free -= 1
            self.changed.notify_all()

    def give(self):
        with self.changed:
            self.free += 1
            self.changed.notify_all()


# So many things at a time, whatever the machine: the heavy ones use more than one
# processor by themselves, guests wait now and then.
SLOTS = Slots(2 if ALL else 3)


class Step(threading.Thread):
    """One check, run when those that it waits for have succeeded. What takes long is
    to have a low rank: nothing else is left to do beside what begins last."""

    def __init__(self, tally, rank, name, action, after=()):
        super().__init__(daemon=True)
        self.tally, self.title, self.action, self.after = tally, name, action, after
        self.rank = rank
        self.good = self.ended = False
        self.started = 0
        # The last line of the command that it runs.
        self.note = ''

    def run(self):
        for step in self.after:
            step.join()
        if not all(step.good for step in self.after):
            blocked = ', '.join(s.title for s in self.after if not s.good)
            self.ended = True
            self.tally.report('FAIL', self.title, 0, f'not run: {blocked} failed')
            return
        SLOTS.take(self.rank)
        self.started = time.monotonic()
        tests = (0, 0, 0)
        try:
            tests, detail = self.action() or (tests, '')
            verdict = 'ok'
        except Failure as failure:
            verdict, detail = 'FAIL', failure.args[0]
            tests = failure.args[1] if len(failure.args) > 1 else tests
        except Exception as error:  # pylint: disable=broad-except
            verdict, detail = 'FAIL', f'{type(error).__name__}: {error}'
        SLOTS.give()
        self.good = verdict == 'ok'
        self.ended = True
        self.tally.report(verdict, self.title, time.monotonic() - self.started, detail, tests)


def follow(command, stderr=subprocess.STDOUT, **options):
    """Runs a command, whose last line is the note of the step; its status and its output."""
    output = []
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=stderr, text=True, errors='replace', **options) as process:
        for line in process.stdout:
            output.append(line)
            threading.current_thread().note = f'({line.strip(" #")[:60].strip()})'
    threading.current_thread().note = ''
    return process.returncode, ''.join(output)


def run(command, **options):
    """Runs a command; its output as one text is the result, or the failure."""
    status, output = follow(command, **options)
    if status:
        raise Failure(output or f'{command[0]} ended with {status}')
    return output


def files():
    """Every file of the tree that git would know; what links lead to, once."""
    out = subprocess.run(['git', '-c', 'safe.directory=*', 'ls-files', '-z', '--cached',
                          '--others', '--exclude-standard'], cwd=REPO, check=True,
                         capture_output=True, text=True).stdout
    return sorted(f for f in set(out.split('\0')) if f and
                  os.path.isfile(f'{REPO}/{f}') and not os.path.islink(f'{REPO}/{f}'))


# --- Steps on the sources ----------------------------------------------------

def checkpatch(sources, *options):
    """What checkpatch has to say of some files; not of those that it found clean as they are."""
    script = f'{os.environ["KDIR"]}/scripts/checkpatch.pl'
    clean = f'{BUILD}/checkpatch'
    os.makedirs(clean, exist_ok=True)
    marks = {}
    for name in sources:
        with open(f'{REPO}/{name}', 'rb') as f:
            key = hashlib.sha256(f'{script} {options} {name}\0'.encode() + f.read()).hexdigest()
        if not os.path.exists(f'{clean}/{key}'):
            marks[name] = f'{clean}/{key}'
    if not marks:
        return ''
    out = subprocess.run(
        ['perl', script, '--strict', '--no-tree', '--terse', '--show-types', '--no-summary',
         '--quiet', *options, '-f', *marks],
        cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if not out.returncode:
        for mark in marks.values():
            open(mark, 'w', encoding='utf-8').close()
    return out.stdout or ('checkpatch failed\n' if out.returncode else '')


def check_checkpatch():
    # The form of TRACE_EVENT(), which checkpatch takes for a call of a function.
    tracing, others = [], []
    for name in files():
        if name.endswith(('.c', '.h', '.rs')) and not CARGO.match(name):
            with open(f'{REPO}/{name}', encoding='utf-8') as f:
                is_tracing = '#include <trace/define_trace.h>' in f.read()
            (tracing if is_tracing else others).append(name)
    said = (checkpatch(others) +
            checkpatch(tracing, '--ignore', 'OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT'))
    if said:
        raise Failure(said)


def check_spdx():
    bare = []
    for name in files():
        if NO_SPDX.search(name):
            continue
        with open(f'{REPO}/{name}', encoding='utf-8', errors='replace') as f:
            if 'SPDX-License-Identifier:' not in ''.join(f.readline() for _ in range(5)):
                bare.append(f'{name}: no SPDX-License-Identifier line at its top')
    if bare:
        raise Failure('\n'.join(bare))


def check_known():
    run([sys.executable, f'{REPO}/scripts/known.py', os.environ['KDIR'], '--check',
         f'{REPO}/dma_buf_constraints/known_modules.h'])


def check_shell():
    scripts = []
    for name in files():
        with open(f'{REPO}/{name}', 'rb') as f:
            first = f.readline()
        if name.endswith('.sh') or re.match(rb'#!.*\b(ba)?sh\b', first):
            scripts.append(name)
    run(['shellcheck', '-x'] + scripts, cwd=REPO)


def check_eager():
    """The modules, samples and tests of the kernel's build no guard too early."""
    said = eager.check([name for name in files() if name.endswith('.rs') and not
                        name.startswith(('tools/cenalloc/', 'dma_buf_constraints/host/'))], REPO)
    if said:
        raise Failure('\n'.join(said))


def check_charged():
    """What the modules allocate is charged to whoever asks for it."""
    said = []
    for name in files():
        if re.match(r'(cenalloc|dma_buf_constraints)/(?!host/|(.*/)?tests?[/.]).*\.rs$', name):
            with open(f'{REPO}/{name}', encoding='utf-8') as f:
                said += [f'{name}:{number}: GFP_KERNEL charges nobody: GFP_KERNEL_ACCOUNT'
                         for number, line in enumerate(f, 1) if re.search(r'\bGFP_KERNEL\b', line)]
    if said:
        raise Failure('\n'.join(said))


def check_examples():
    """The programs in the papers compile as they stand there."""
    for name in ('cenalloc-example', 'cenalloc-record'):
        run(['x86_64-linux-gnu-gcc-14', '-Wall', '-Wextra', '-Werror', f'-I{REPO}/include/uapi',
             '-o', f'{BUILD}/{name}', f'{REPO}/Documentation/userspace-api/{name}.c'])


def check_drivers():
    """The drivers in the papers compile out of tree, by the makefile that the papers have."""
    where = f'{BUILD}/out-of-tree'
    api, made = f'{REPO}/Documentation/driver-api', f'{BUILD}/modules' + (KERNEL and f'-{KERNEL}')
    os.makedirs(where, exist_ok=True)
    for source, name in ((f'{api}/dma-buf-constraints-example.c', 'scanout_c.c'),
                         (f'{api}/dma-buf-constraints-example.rs', 'scanout.rs'),
                         (f'{api}/cenalloc-example.rs', 'frame.rs'),
                         (f'{REPO}/Documentation/dev-tools/out-of-tree.mk', 'Makefile')):
        shutil.copy(source, f'{where}/{name}')
    run(['make', '-s', '-C', os.environ['KDIR'], f'M={where}', 'CC=x86_64-linux-gnu-gcc-14',
         f'CENALLOC={REPO}', f'MODULES={made}', 'CLIPPY=1', 'KCFLAGS=-Werror',
         'KRUSTFLAGS=-Dwarnings', 'modules'])


# --- Cargo -------------------------------------------------------------------

def cargo_packages():
    """Directories of packages that stand for themselves: none below another one, as are
    members of its workspace, and fuzz targets, which scripts/fuzz builds."""
    found = []
    for manifest in (f for f in files() if os.path.basename(f) == 'Cargo.toml'):
        where = os.path.dirname(manifest)
        if not any(where.startswith(f'{other}/') for other in found):
            found.append(where)
    return found


def cargo_fetch(cwd):
    """The network is needed only if the lock file names something new."""
    try:
        run(['cargo', 'fetch', '--locked', '--offline'], cwd=cwd)
    except Failure:
        run(['cargo', 'fetch', '--locked'], cwd=cwd)


def check_cargo(where):
    # Lines are what a panic tells; nobody looks at these programs in a debugger.
    env = dict(os.environ, RUSTFLAGS='-Dwarnings', CARGO_PROFILE_DEV_DEBUG='line-tables-only',
               CARGO_TARGET_DIR=f'{BUILD}/cargo/{where.replace("/", "-")}')
    cwd = f'{REPO}/{where}'
    cargo_fetch(cwd)
    # Clippy's driver compiles: one build serves both.
    env['RUSTC_WORKSPACE_WRAPPER'] = 'clippy-driver'
    status, output = follow(['cargo', 'test', '--locked', '--offline', '--workspace'],
                            cwd=cwd, env=env)
    results = re.findall(r'^test .* \.\.\. (ok|FAILED|ignored)', output, re.M)
    tests = tuple(results.count(kind) for kind in ('ok', 'FAILED', 'ignored'))
    if status or not results:
        raise Failure(output + ('' if results else '\nno tests were run'), tests)
    return tests, ''


def check_fuzz():
    """Fuzzes the model; so many inputs for each target, always the same."""
    tests = re.findall(r'^ok ', run([f'{REPO}/scripts/fuzz', '--model', '20000']), re.M)
    if not tests:
        raise Failure('no target was run')
    return (len(tests), 0, 0), ''


def check_mutants():
    """Tests the tests of the model; with some changes, always the same."""
    said = run([f'{REPO}/scripts/mutants', '0/15'])
    caught = re.findall(r'^(?:caught|timeout) ', said, re.M | re.I)
    if not caught:
        raise Failure(f'nothing was changed\n{said}')
    return (len(caught), 0, 0), ''


# --- Guests ------------------------------------------------------------------

class Tap:
    """Counts the innermost results of (K)TAP, nested by indentation or by "# ". Who is
    skipped for another reason than ALLOWED has failed."""

    LINE = re.compile(r'((?:#? +)*)(?:(K?TAP version )|1\.\.(\d+)(.*)|(not )?ok\b(.*)|'
                      r'(Bail out!.*))')

    def __init__(self, allowed=()):
        self.allowed = allowed
        self.passed = self.failed = self.skipped = 0
        self.problems = []
        # Open blocks, outermost first: [indentation, plan, results seen,
        # failures counted before it].
        self.blocks = []

    def fail(self, what, count=1):
        self.failed += count
        self.problems.append(what)

    def skip(self, what):
        if re.split(r'#\s*SKIP\s*', what, maxsplit=1, flags=re.I)[-1] in self.allowed:
            self.skipped += 1
            self.problems.append(what)
        else:
            self.fail(f'{what} (not a reason to skip here)')

    def close(self):
        _, plan, seen, _ = self.blocks.pop()
        if plan is None:
            self.fail('a block of results has no plan')
        elif seen < plan:
            self.fail(f'{plan - seen} of {plan} planned results are missing', plan - seen)
        elif seen > plan:
            self.fail(f'{seen} results where {plan} were planned')

    def block(self, depth):
        """The open block at this indentation, deeper ones being closed, and the
        failures counted before those (None: there were none)."""
        before = None
        while self.blocks and self.blocks[-1][0] > depth:
            before = self.blocks[-1][3]
            self.close()
        if not self.blocks or self.blocks[-1][0] < depth:
            self.blocks.append([depth, None, 0, self.failed])
        return self.blocks[-1], before

    def feed(self, line):
        match = self.LINE.match(line)
        if not match:
            return
        block, before = self.block(len(match[1]))
        if match[2]:
            if block[1] is not None or block[2]:
                # A second block at the same place.
                self.close()
                self.blocks.append([block[0], None, 0, block[3]])
        elif match[3] is not None:
            block[1] = int(match[3])
            if block[1] == 0:
                self.skip(line.strip())
        elif match[7]:
            self.fail(line.strip())
        else:
            block[2] += 1
            self.result(line.strip(), bool(match[5]), match[6], before)

    def result(self, line, bad, rest, before):
        if before is not None:
            # A summary of what was counted already, unless it says more.
            if bad and self.failed == before:
                self.fail(line)
        elif re.search(r'#\s*SKIP\b', rest, re.I):
            self.skip(line)
        elif bad and not re.search(r'#\s*(TODO|XFAIL)\b', rest):
            self.fail(line)
        else:
            self.passed += 1

    def end(self):
        while self.blocks:
            self.close()
        if not self.passed + self.failed + self.skipped:
            self.fail('no results at all')


class Table:
    """The file of machines and guests."""

    def __init__(self):
        self.machines = {}
        self.guests = []
        # Why tests may be skipped on a machine.
        self.skips = {}
        self.path = f'{KSELFTESTS}/guests'
        with open(self.path, encoding='utf-8') as f:
            for line in f:
                if line.startswith('machine '):
                    self.machine(line.removeprefix('machine '))
                elif line.startswith('skip '):
                    names, reason = self.fields(line.removeprefix('skip '), 2)
                    for name in names.split():
                        self.skips.setdefault(name, []).append(reason)
                elif line.strip() and not line.startswith('#'):
                    self.guest(line)

    def fields(self, line, count):
        found = [field.strip() for field in line.split('|', count - 1)]
        if len(found) != count:
            sys.exit(f'{self.path}: not {count} fields: {line}')
        return found

    def machine(self, line):
        name, kernel, append, qemu = self.fields(line, 4)
        if ALL or kernel == KERNEL and kernel not in (m[0] for m in self.machines.values()):
            self.machines[name] = (kernel, append, qemu)

    def guest(self, line):
        name, machines, *rest = self.fields(line, 6)
        self.guests += [(name, machine, *rest) for machine in machines.split()
                        if machine in self.machines]

    def kernels(self):
        """The kernels in use, each once; the first is the stock one or KERNEL."""
        return list(dict.fromkeys([KERNEL] + [m[0] for m in self.machines.values()]))


def architecture(kernel):
    """For what a kernel is built."""
    if kernel:
        with open(f'{REPO}/scripts/kernels/{kernel}.config', encoding='utf-8') as f:
            if 'CONFIG_ARM64=y\n' in f:
                return 'arm64'
    return 'x86'


def payload(kernel):
    """Where scripts/selftests puts the tests for it."""
    where = architecture(kernel)
    return f'{BUILD}/payload' + (f'-{where}' if where != 'x86' else '')


def settle(machine, guest):
    """The kernel command line of both: what the guest says counts, since a parameter of a
    module in Rust can be set but once."""
    said = {word.split('=')[0] for word in guest.split()}
    return ' '.join([word for word in machine.split() if word.split('=')[0] not in said] + [guest])


def check_guest(machine, skips, name, append, qemu, mem, command, directory=None):
    kernel, *more = machine
    logs = f'{LOGS}/check-{name.replace(" ", "-")}'
    output = f'{logs}.out'
    with open(f'{logs}.err', 'w+', encoding='utf-8', errors='replace') as f:
        status, results = follow(
            [f'{REPO}/scripts/testguest', '--kernel', kernel,
             '--payload', directory or payload(kernel),
             '--log', f'{logs}.log', '--append', settle(more[0], append),
             '--qemu', f'{more[1]} {qemu}', '--mem', mem or '3G', '--',
             f'cd cenalloc && {command}'], stderr=f)
        f.seek(0)
        errors = f.read()
    with open(output, 'w', encoding='utf-8') as f:
        f.write(results + errors)
    tap = Tap(skips)
    for line in results.split('\n'):
        tap.feed(line)
    tap.end()
    tests = (tap.passed, tap.failed, tap.skipped)
    text = '\n'.join(tap.problems)
    if status or tap.failed:
        raise Failure(f'{text}\n{errors}\nstatus {status}; '
                      f'the output is {output}', tests)
    return tests, text


def check_words(skips):
    """The command and the kernel say the same of each refusal, and its recipes work."""
    directory = f'{BUILD}/words'
    run([f'{REPO}/scripts/tool'])
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(payload(KERNEL), directory, copy_function=os.link)
    shutil.copy(f'{BUILD}/tool/cenalloc', f'{directory}/tool')
    return check_guest((KERNEL, '', ''), skips, 'words', 'cma=64M@0-4G', '', '',
                       'CENALLOC_TOOL=../tool ./run.sh refusals recipes', directory)


def check_script(name, *args):
    """A script that prints its results as TAP."""
    status, output = follow([f'{REPO}/scripts/{name}', *args])
    with open(f'{LOGS}/{name}.out', 'w', encoding='utf-8') as f:
        f.write(output)
    tap = Tap()
    for line in output.split('\n'):
        tap.feed(line)
    tap.end()
    tests = (tap.passed, tap.failed, tap.skipped)
    if status or tap.failed:
        raise Failure(f'{output[-4000:]}\nthe output is {LOGS}/{name}.out', tests)
    return tests, ''


def check_readme():
    """The programs in README compile as they stand there, and run in a guest."""
    with open(f'{REPO}/README.md', encoding='utf-8') as f:
        programs = dict(re.findall(r'^```(c|rust)\n(.*?)^```', f.read(), re.M | re.S))
    where, target = f'{BUILD}/readme', 'x86_64-unknown-linux-gnu'
    payload_dir = f'{where}/payload'
    os.makedirs(f'{where}/src', exist_ok=True)
    os.makedirs(payload_dir, exist_ok=True)
    for name, text in (('readme.c', programs['c']), ('src/main.rs', programs['rust']),
                       ('Cargo.toml', README_CARGO)):
        with open(f'{where}/{name}', 'w', encoding='utf-8') as f:
            f.write(text)
    run(['x86_64-linux-gnu-gcc-14', '-Wall', '-Wextra', '-Werror', '-static',
         f'-I{REPO}/include/uapi', '-o', f'{payload_dir}/c', f'{where}/readme.c'])
    shutil.copy(f'{REPO}/tools/cenalloc/Cargo.lock', where)
    cargo_fetch(f'{REPO}/tools/cenalloc')
    run(['cargo', 'build', '--offline', '--target', target], cwd=where,
        env=dict(os.environ, RUSTFLAGS='-Dwarnings -Ctarget-feature=+crt-static',
                 CARGO_TARGET_DIR=f'{BUILD}/cargo/readme'))
    shutil.copy(f'{BUILD}/cargo/readme/{target}/debug/readme', f'{payload_dir}/rust')
    run([f'{REPO}/scripts/testguest', '--kernel', KERNEL, '--payload', payload_dir,
         '--load', 'cenalloc', '--log', f'{LOGS}/readme.log', '--',
         'modprobe vivid && ./c && ./rust'])


def check_links():
    """What the papers at the top name in this tree is there."""
    lost = []
    for name in (f for f in files() if f.endswith('.md')):
        with open(f'{REPO}/{name}', encoding='utf-8') as f:
            lost += [f'{name}: there is no {link}' for link in
                     re.findall(r'\]\((?!https?:)([^)#]+)', f.read())
                     if not os.path.exists(f'{REPO}/{os.path.dirname(name)}/{link}')]
    if lost:
        raise Failure('\n'.join(lost))


def check_version():
    """Modules, tool and change log have the same version."""
    found = {}
    for name, pattern in (('dma_buf_constraints/Makefile', r'^cenalloc-version := (.+)'),
                          ('tools/cenalloc/Cargo.toml', r'^version = "(.+)"'),
                          ('CHANGELOG.md', r'^## (\S+)')):
        with open(f'{REPO}/{name}', encoding='utf-8') as f:
            found[name] = re.search(pattern, f.read(), re.M)[1]
    if len(set(found.values())) != 1:
        raise Failure('\n'.join(f'{name}: version {found[name]}' for name in found))


# --- All of it ---------------------------------------------------------------

class Matrix:
    """How many tests of each guest passed on each machine, to be shown as a table."""

    def __init__(self, machines):
        self.machines = list(machines)
        self.rows = {}

    def guest(self, machine, name, action):
        def counted():
            tests = (0, 0, 0)
            try:
                tests, detail = action()
            except Failure as failure:
                tests = failure.args[1] if len(failure.args) > 1 else tests
                raise
            finally:
                self.rows.setdefault(name, {})[machine] = tests
            return tests, detail
        return counted

    @staticmethod
    def cell(tests):
        if tests is None:
            return ''
        passed, failed, skipped = tests
        return (f'{passed}' + (f', {failed} failed' if failed else '') +
                (f', {skipped} skipped' if skipped else ''))

    def show(self, order):
        lines = [['guest'] + self.machines, ['---'] * (len(self.machines) + 1)]
        for name in dict.fromkeys(order):
            if name in self.rows:
                lines.append([name] + [self.cell(self.rows[name].get(m)) for m in self.machines])
        widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
        for line in lines:
            print('| ' + ' | '.join(f.ljust(w) for f, w in zip(line, widths)) + ' |')


def main():
    tally = Tally()
    started = time.monotonic()
    os.makedirs(LOGS, exist_ok=True)
    wanted = sys.argv[1 + ALL:]
    steps = []
    table = Table()
    matrix = Matrix(table.machines)

    ranks = itertools.count()

    def step(name, action, after=()):
        made = Step(tally, next(ranks), name, action, [s for s in after if s in steps])
        if not wanted or any(name == w or name.startswith(w + ' ') for w in wanted):
            steps.append(made)
        return made

    def script(name, *args):
        def action():
            run([f'{REPO}/scripts/{name}', *args])
        return action

    selftests, modules = {}, {}
    for kernel in table.kernels():
        # One after the other: each takes the whole machine.
        built = [step(f'kernel {kernel}', script('kernel', kernel))] if kernel else []
        modules[kernel] = step(f'modules with clippy{" for " if kernel else ""}{kernel}',
                               script('modules', '--kernel', kernel), built)
        if payload(kernel) not in selftests:
            where = '' if architecture(kernel) == 'x86' else f' for {architecture(kernel)}'
            selftests[payload(kernel)] = step(f'kselftests build{where}',
                                              script('selftests', '--kernel', kernel), built)
    if ALL:
        step('series', lambda: check_script('series-check'), [modules['checked']])
        step('kunit', lambda: check_script('kunit', '--raw_output=kunit'))
    for name, machine, *rest in table.guests:
        title = f'guest {name}' if len(table.machines) == 1 else f'guest {name} on {machine}'

        def action(title=title, machine=machine, rest=tuple(rest)):
            return check_guest(table.machines[machine], table.skips.get(machine, ()),
                               title.removeprefix('guest '), *rest)
        step(title, matrix.guest(machine, name, action),
             [selftests[payload(table.machines[machine][0])],
              modules[table.machines[machine][0]]])
    step('demo', script('demo'), [modules[KERNEL]])
    step('bench', script('bench', '--smoke'), [modules[KERNEL]])
    step('examples of the ABI', check_examples)
    if architecture(KERNEL) == 'x86':
        step('examples of drivers', check_drivers, [modules[KERNEL]])
        first = next(iter(table.machines))
        step('words of the command', lambda: check_words(table.skips.get(first, ())),
             [selftests[payload(KERNEL)], modules[KERNEL]])
    step('programs of README', check_readme, [modules[KERNEL]])
    step('rustfmt', script('fmt', '--check'))
    step('checkpatch', check_checkpatch)
    step('SPDX', check_spdx)
    step('known modules', check_known)
    step('version', check_version)
    step('links', check_links)
    step('shellcheck', check_shell)
    step('no eager guards', check_eager)
    step('memory is charged', check_charged)
    for where in cargo_packages():
        step(f'cargo {where}', lambda where=where: check_cargo(where))
    step('fuzz', check_fuzz)
    if ALL:
        step('mutants', check_mutants)
    step('docs', script('docs'))
    if not steps:
        sys.exit(f'check: there is no step {" or ".join(wanted)}')
    for one in steps:
        one.start()
    threading.Thread(target=tally.watch, args=[steps], daemon=True).start()
    for one in steps:
        one.join()
    with tally.lock:
        tally.clear()
    if len(table.machines) > 1:
        matrix.show(guest[0] for guest in table.guests)
    print(f'in {time.monotonic() - started:.0f} s; logs are in {LOGS}')
    print(f'{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped')
    sys.exit(1 if tally.failed else 0)


main()
