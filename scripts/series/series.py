# SPDX-License-Identifier: GPL-2.0
#
# The series of patches that brings this tree into a kernel tree, as commits in a
# small repository that holds nothing of the kernel but the files that they change.
#
# It is made of core/*.patch, then of parts/*, in the order of their names. A part
# is a commit message, a line "---", and what the commit does:
#
#   add PATTERN              adds the files of this tree that match and that no
#                            earlier part has added, where the file layout says
#   into FILE after LINE     changes a file of the kernel: the lines that follow,
#   into FILE before LINE    each behind one tab, go after or before that line
#
# and, unasked, adds to MAINTAINERS what Documentation/MAINTAINERS says of the files
# that are there by then.

import fnmatch
import glob
import os
import re
import shutil
import subprocess

SERIES = os.path.dirname(os.path.realpath(__file__))
REPO = os.path.dirname(os.path.dirname(SERIES))
VERSION = ('7', '3')


class Failure(Exception):
    """Why something cannot be done; its text is shown."""


def run(*command, cwd, **options):
    """Runs a command; its output is the result, or the failure."""
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False, **options)
    if done.returncode:
        raise Failure(f'{" ".join(command)}\n{done.stdout}{done.stderr}'.rstrip())
    return done.stdout


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


# --- This tree ---------------------------------------------------------------

class Layout:
    """Where files go."""

    def __init__(self):
        lines = [line.split() for line in read(f'{SERIES}/layout').split('\n')
                 if line and not line.startswith('#')]
        self.heads = sorted(((here, there) for here, there in lines),
                            key=lambda pair: -len(pair[0]))
        known = run('git', '-c', 'safe.directory=*', 'ls-files', '-z', '--cached', '--others',
                    '--exclude-standard', cwd=REPO).split('\0')
        self.files = [name for name in sorted(set(known))
                      if self.place(name) and os.path.isfile(f'{REPO}/{name}')]
        self.samples = '|'.join(re.escape(name) for name in sorted(os.listdir(f'{REPO}/samples')))

    def place(self, name):
        """The path in a kernel tree of a path or pattern of this one, if it has one."""
        for here, there in self.heads:
            if name.startswith(here):
                return None if there == '-' else there + name.removeprefix(here)
        return None

    def text(self, name):
        """A file's text for a kernel tree: samples are elsewhere, the tool is not there."""
        text = read(f'{REPO}/{name}')
        text = re.sub(rf'(?<![\w-])samples/(?=(?:{self.samples})\b)', 'samples/cenalloc/', text)
        text = re.sub(r'(?<=\.\./)samples$', 'samples/cenalloc', text, flags=re.M)
        return text.replace(':doc:`cenalloc-tool`', 'the command-line tool')


def matches(name, pattern):
    """Whether a path matches a pattern, whose "*" is one component of it; or, where
    it ends with "/", is below it."""
    if pattern.endswith('/'):
        return name.startswith(pattern)
    return name.count('/') == pattern.count('/') and fnmatch.fnmatchcase(name, pattern)


class Insertion:
    """Lines that go into a file of the kernel."""

    def __init__(self, part, words):
        match = re.fullmatch(r'(\S+) (after|before) (.*)', words)
        if not match:
            raise Failure(f'{part}: not "FILE after LINE" or "FILE before LINE": {words}')
        self.path, self.side, self.anchor = match.groups()
        self.lines = []

    def apply(self, tree):
        with open(f'{tree}/{self.path}', encoding='utf-8') as f:
            lines = f.read().split('\n')
        found = [n for n, line in enumerate(lines) if line.strip() == self.anchor.strip()]
        if len(found) != 1:
            raise Failure(f'{self.path} has {len(found)} lines "{self.anchor}", not one')
        at = found[0] + (self.side == 'after')
        lines[at:at] = self.lines
        with open(f'{tree}/{self.path}', 'w', encoding='utf-8') as f:
            f.write('\n'.join(lines))


class Part:
    """One of our patches."""

    def __init__(self, path):
        self.name = os.path.basename(path)
        self.message, _, actions = read(path).partition('\n---\n')
        self.patterns, self.insertions = [], []
        for line in actions.split('\n'):
            word, _, rest = line.partition(' ')
            if word == 'add':
                self.patterns.append(rest)
            elif word == 'into':
                self.insertions.append(Insertion(self.name, rest))
            elif line.startswith('\t') or not line and self.insertions:
                self.insertions[-1].lines.append(line[1:])
            elif line:
                raise Failure(f'{self.name}: {line} is neither "add" nor "into"')
        for insertion in self.insertions:
            while insertion.lines and not insertion.lines[-1]:
                insertion.lines.pop()

    def take(self, files):
        """Removes from a list the files that this part adds, and returns them."""
        for pattern in self.patterns:
            if not any(matches(name, pattern) for name in files):
                raise Failure(f'{self.name}: nothing that is left matches {pattern}')
        taken = [n for n in files if any(matches(n, p) for p in self.patterns)]
        files[:] = [n for n in files if n not in taken]
        return taken


# --- MAINTAINERS -------------------------------------------------------------

class Maintainers:
    """Our sections of MAINTAINERS."""

    def __init__(self, layout):
        self.layout = layout
        body = read(f'{REPO}/Documentation/MAINTAINERS').split('\n\n')[1:]
        self.sections = [section.rstrip('\n').split('\n') for section in body]

    def covered(self, pattern, placed, missing, patterns):
        """What says of the files that are there by now what a pattern says of all."""
        where = self.layout.place(pattern)
        if not where or not any(self.under(name, pattern) for name in placed):
            return set()
        if not any(self.under(name, pattern) for name in missing):
            return {where}
        return {self.layout.place(p) for p in patterns if self.under(p, pattern)}

    @staticmethod
    def under(name, pattern):
        return name.startswith(pattern) if pattern.endswith('/') else matches(name, pattern)

    def write(self, path, placed, missing, patterns):
        """Brings our sections to what is there: files placed and missing, and the
        patterns by which they were added."""
        text = read(path)
        for title, *fields in self.sections:
            files = set()
            for field in fields:
                if field.startswith('F:'):
                    files |= self.covered(field[2:].strip(), placed, missing, patterns)
            text = re.sub(rf'^{re.escape(title)}\n(?:.+\n)*\n', '', text, flags=re.M)
            if files:
                section = '\n'.join([title] + [f for f in fields if not f.startswith('F:')] +
                                    [f'F:\t{name}' for name in sorted(files)])
                # The first section that follows it in the order of titles.
                after = next(m for m in re.finditer(r'(?<=\n\n)([A-Z0-9].*)\n[A-Z]:\t', text)
                             if m[1] > title)
                text = f'{text[:after.start()]}{section}\n\n{text[after.start():]}'
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)


# --- The series --------------------------------------------------------------

class Series:
    """The commits, in a new repository in a directory."""

    def __init__(self, where, kernel, name, email):
        self.where = where
        self.env = dict(os.environ, GIT_CONFIG_GLOBAL='/dev/null', GIT_CONFIG_NOSYSTEM='1',
                        GIT_AUTHOR_NAME=name, GIT_AUTHOR_EMAIL=email,
                        GIT_COMMITTER_NAME=name, GIT_COMMITTER_EMAIL=email)
        self.layout = Layout()
        self.core = sorted(glob.glob(f'{SERIES}/core/*.patch'))
        self.parts = [Part(path) for path in sorted(glob.glob(f'{SERIES}/parts/*'))]
        self.git('init', '--quiet', '--initial-branch=series')
        for path in self.changed():
            self.copy(kernel, path)
        self.git('add', '--all', '--force')
        self.git('commit', '--quiet', '--message=The kernel')
        self.base = self.head()

    def git(self, *command):
        return run('git', *command, cwd=self.where, env=self.env)

    def head(self):
        return self.git('rev-parse', 'HEAD').strip()

    def copy(self, kernel, path):
        if not os.path.isfile(f'{kernel}/{path}'):
            raise Failure(f'{kernel} has no file {path}')
        os.makedirs(os.path.dirname(f'{self.where}/{path}'), exist_ok=True)
        shutil.copy(f'{kernel}/{path}', f'{self.where}/{path}')

    def changed(self):
        """The files of the kernel that the series changes."""
        found = {'MAINTAINERS'}
        for patch in self.core:
            found |= set(re.findall(r'^--- a/(.*)', read(patch), re.M))
        for part in self.parts:
            found |= {insertion.path for insertion in part.insertions}
        return sorted(found)

    def added(self):
        """The files that the series adds."""
        return sorted(self.layout.place(name) for name in self.layout.files)

    def commit(self, message):
        self.git('add', '--all', '--force')
        self.git('commit', '--quiet', '--signoff', f'--message={message}')

    def build(self):
        """Makes all commits."""
        for patch in self.core:
            head, _, _ = read(patch).partition('\n---\n')
            subject = re.search(r'^Subject: (?:\[[^]]*\] *)?(.*(?:\n .*)*)\n\n', head, re.M)
            self.git('apply', '--index', patch)
            self.commit(subject[1].replace('\n', '') + '\n\n' + head[subject.end():])
        maintainers = Maintainers(self.layout)
        missing, placed, patterns = list(self.layout.files), [], []
        for part in self.parts:
            taken = part.take(missing)
            for name in taken:
                self.add(name)
            for insertion in part.insertions:
                insertion.apply(self.where)
            placed += taken
            patterns += part.patterns
            maintainers.write(f'{self.where}/MAINTAINERS', placed, missing, patterns)
            self.commit(part.message)
        if missing:
            raise Failure(f'no part of scripts/series/parts adds {" ".join(missing)}')

    def add(self, name):
        path = f'{self.where}/{self.layout.place(name)}'
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(self.layout.text(name))
        shutil.copymode(f'{REPO}/{name}', path)
