#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# Boots a kernel in QEMU, runs one command as root in it, passes the
# command's output and exit status on, and reads the kernel's log for anything
# that a healthy kernel does not say. Runs inside the private root; called by
# scripts/guest (--full) and scripts/testguest (--small).
#
# Exit status: the command's own; 124 if the guest ran out of time; 125 if the
# command succeeded and the kernel log is bad, or the guest ended early.

import argparse
import hashlib
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import typing

from findings import PLANTED, findings

REPO = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
CACHE = os.environ['CENALLOC_CACHE']
# The kernel that is booted: its release, and where it and its modules are.
KREL = os.environ['KREL']
KIMAGE = os.environ['KIMAGE']
# What the places of a kernel that is not the stock one end with.
SUFFIX = f'-{os.environ["KERNEL"]}' if os.environ['KERNEL'] else ''
# What such a kernel is built of, and what it wants on its command line.
CONFIG = f'{REPO}/scripts/kernels/{os.environ["KERNEL"]}.config'
APPEND = f'{REPO}/scripts/kernels/{os.environ["KERNEL"]}.append'


def is_checked():
    """Whether the kernel has the dear checkers."""
    if not SUFFIX:
        return False
    with open(CONFIG, encoding='utf-8') as f:
        return 'CONFIG_KASAN=y\n' in f


# Kernels with checkers take so many times the time of the stock one.
SLOWER = 8 if is_checked() else 1
# Stock modules that tests use.
MODULES = ['vgem', 'vivid', 'bochs', 'vkms']
# Seconds after which a guest counts as hung, on any machine.
TIMEOUT = 1800
# And so many MiB more: KASAN's shadow, the books of lockdep, kmemleak and DMA-API.
MORE = 128 if is_checked() else 0


class Machine(typing.NamedTuple):
    """What QEMU and the guest call things on one architecture."""
    qemu: list
    console: str
    boot_args: str
    busybox: str


MACHINE = {
    'x86': Machine(['qemu-system-x86_64', '-machine', 'q35', '-cpu', 'max'], 'ttyS0',
                   'no_timer_check tsc=reliable', '/bin/busybox'),
    # Newer processors have more that QEMU takes time to emulate.
    'arm64': Machine(['qemu-system-aarch64', '-machine', 'virt,gic-version=3',
                      '-cpu', 'cortex-a57'], 'ttyAMA0', '', '/opt/arm64/usr/bin/busybox'),
}[os.environ['KARCH']]

# The kernel's tests of its own ciphers would take the processor for a second.
BOOT_ARGS = (f'console={MACHINE.console} panic=-1 oops=panic {MACHINE.boot_args} '
             'random.trust_cpu=on audit=0 cryptomgr.notests rdinit=/init')

INIT = '''#!/bin/busybox sh
# The first process of a guest; written by scripts/guest.py.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=linux LC_ALL=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
. /guest/env
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
mkdir -p /dev/shm /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
# Not only the first finding, if the kernel looks for them.
all_errors=/sys/kernel/debug/dma-api/all_errors
[ ! -e $all_errors ] || echo 1 >$all_errors
ip link set lo up 2>/dev/null

share() {
	[ -n "$SHARE" ] || return 0
	modprobe 9pnet_virtio && modprobe 9p &&
		mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288 share "$1"
}

finish() {
	echo "status $1" >/dev/vport0p3
	poweroff -f
}

if [ "$FULL" = 1 ]; then
	modprobe 9pnet_virtio && modprobe 9p && modprobe overlay &&
	mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose,access=any root /lower &&
	mount -t tmpfs -o size=75% tmpfs /upper &&
	mkdir /upper/data /upper/work &&
	mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work root /new ||
		finish 125
	share /new/share || finish 125
	[ ! -e "/new$TOOL" ] || ln -s "$TOOL" /new/usr/bin/
	for dir in proc sys dev; do mount --move /$dir /new/$dir; done
	mount -t tmpfs tmpfs /new/run
	cp -r "/new$MODROOT/updates" "/new$MODROOT"/modules.* "/new/usr/lib/modules/$(uname -r)/"
	mkdir /new/run/guest
	cp /guest/* /new/run/guest/
	exec switch_root /new /run/guest/run
fi
share /share || finish 125
exec /guest/run
'''

RUN = '''#!/bin/busybox sh
# Runs the command; written by scripts/guest.py.
cd "${0%/*}"
here=$PWD
. ./env
export SLOWER
# A kernel lies at a random address, unless it is told not to: the x86 one has a bit for
# that among what it was booted with, the arm64 one a line in its log.
if busybox grep -q -w nokaslr /proc/cmdline; then
	random=1
elif [ -e /sys/kernel/boot_params/data ]; then
	random=$(busybox dd if=/sys/kernel/boot_params/data bs=1 skip=529 count=1 2>/dev/null |
		busybox od -An -tu1)
	random=$((random & 2))
else
	random=$(dmesg | busybox grep -c 'KASLR enabled')
fi
[ "$random" != 0 ] || echo "KASLR is off" >"$LOG"
for module in $LOAD; do
	modprobe "$module" 2>/dev/vport0p2 || status=125
done
# For policies; the file system comes with our modules.
busybox mount -t configfs configfs /sys/kernel/config 2>/dev/null
cd "$DIRECTORY"
if [ -n "$status" ]; then
	:
elif [ "$INTERACTIVE" = 1 ]; then
	export ROWS COLUMNS SHELL TERM="$HOST_TERM"
	busybox setsid -c busybox sh -c \
		'busybox stty rows "$ROWS" cols "$COLUMNS"; exec "$SHELL" -l' \
		</dev/hvc0 >/dev/hvc0 2>&1
	status=$?
else
	"$SHELL" "$here/command" </dev/null >/dev/vport0p1 2>/dev/vport0p2
	status=$?
fi
# What the checkers of the kernel, if it has some, tell only if asked. Memory counts
# as lost when it is some seconds old and was not found twice. Planted bugs have been
# looked for.
kmemleak=/sys/kernel/debug/kmemleak
if [ -e $kmemleak ] && ! dmesg | busybox grep -q "$PLANTED"; then
	sleep 6
	{ echo scan >$kmemleak && echo scan >$kmemleak && cat $kmemleak; } >"$LOG" 2>&1 ||
		echo "kmemleak: leak detector disabled" >"$LOG"
fi
# What is still mapped, but for an IOMMU's own. When drivers go, DMA-API looks at devices
# of some buses only.
dma_api=/sys/kernel/debug/dma-api
if [ "$(cat $dma_api/disabled 2>/dev/null)" = N ]; then
	busybox sed '/^arm-smmu-v3 /d; s/^/DMA-API: not unmapped: /' $dma_api/dump >"$LOG"
fi
if busybox grep -q 'debug_locks: *0' /proc/lockdep_stats 2>/dev/null; then
	echo "lockdep is off" >"$LOG"
fi
echo "status $status" >/dev/vport0p3
busybox poweroff -f
'''


def die(message):
    sys.exit(f'guest: {message}')


def arguments():
    p = argparse.ArgumentParser(prog='guest', description='Boot a guest and run a command in it.')
    kind = p.add_mutually_exclusive_group(required=True)
    kind.add_argument('--full', action='store_true', help=argparse.SUPPRESS)
    kind.add_argument('--small', action='store_true', help=argparse.SUPPRESS)
    p.add_argument('--payload', metavar='DIR', help='its contents are /payload in a test guest')
    p.add_argument('--share', metavar='DIR', help='seen as /share, writable')
    p.add_argument('--mem', default='3G', help='memory (3G)')
    p.add_argument('--cpus', default='2', help='processors (2)')
    p.add_argument('--icount', action='store_true',
                   help='one processor whose clock counts instructions: a nanosecond is one')
    p.add_argument('--append', default='', metavar='ARGS', help='added to the kernel command line')
    p.add_argument('--qemu', default='', metavar='ARGS', help='added to the command line of QEMU')
    p.add_argument('--modules', metavar='NAMES',
                   help='stock modules that a test guest can modprobe '
                        f'(those there are of {" ".join(MODULES)})')
    p.add_argument('--load', metavar='NAMES',
                   help='which of our modules to load first (all that are built)')
    p.add_argument('--timeout', type=float, metavar='SECONDS',
                   help=f'end the guest after so long ({TIMEOUT}; with a shell: never)')
    p.add_argument('--log', metavar='FILE', help='where the kernel log goes')
    p.add_argument('command', nargs=argparse.REMAINDER, metavar='COMMAND')
    args = p.parse_args()
    if args.full and os.environ['KARCH'] != 'x86':
        die('there is no Debian root for this kernel: use scripts/testguest')
    if args.command[:1] == ['--']:
        del args.command[0]
    # One argument is a shell command line; several are one command's words.
    args.command = (args.command[0] if len(args.command) == 1
                    else shlex.join(args.command))
    if args.timeout is None and args.command:
        args.timeout = TIMEOUT
    if args.icount:
        args.cpus = '1'
    return args


# --- The initial ram disk ----------------------------------------------------

class Cpio:
    """A cpio archive in the form that the kernel unpacks."""

    def __init__(self):
        self.parts = []
        self.dirs = set()

    def entry(self, name, mode, data=b''):
        name = name.strip('/')
        parent = os.path.dirname(name)
        if parent and parent not in self.dirs:
            self.directory(parent)
        encoded = name.encode() + b'\0'
        head = '070701' + ''.join(f'{n:08x}' for n in (
            0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0))
        for part in (head.encode() + encoded, data):
            self.parts.append(part + b'\0' * (-len(part) % 4))

    def directory(self, name):
        name = name.strip('/')
        if name not in self.dirs:
            self.dirs.add(name)
            self.entry(name, stat.S_IFDIR | 0o755)

    def file(self, name, data, mode=0o644):
        self.entry(name, stat.S_IFREG | mode, data)

    def link(self, name, target):
        self.entry(name, stat.S_IFLNK | 0o777, target.encode())

    def tree(self, name, path):
        self.directory(name)
        for sub in sorted(os.scandir(path), key=lambda e: e.name):
            inner = f'{name}/{sub.name}'
            if sub.is_dir():
                self.tree(inner, sub.path)
            elif sub.is_file():
                with open(sub.path, 'rb') as f:
                    self.file(inner, f.read(), stat.S_IMODE(sub.stat().st_mode))

    def bytes(self):
        self.entry('TRAILER!!!', 0)
        return b''.join(self.parts)


class Modules:
    """Stock modules and ours, with what they depend on."""

    def __init__(self):
        self.dir = f'{KIMAGE}/usr/lib/modules/{KREL}'
        self.depends = {}   # path below dir -> paths
        with open(f'{self.dir}/modules.dep', encoding='utf-8') as f:
            for line in f:
                path, _, rest = line.partition(':')
                self.depends[path] = rest.split()
        self.paths = {self.name(p): p for p in self.depends}
        # With a library module first, one of ours at a time.
        self.ours = {}
        built = os.environ['MODULES']
        order = f'{built}/modules.order'
        if os.path.exists(order):
            with open(order, encoding='utf-8') as f:
                for line in f:
                    ko = os.path.join(built, line.strip()[:-1] + 'ko')
                    if os.path.exists(ko):
                        self.ours[self.name(ko)] = ko

    @staticmethod
    def name(path):
        return os.path.basename(path).partition('.')[0].replace('-', '_')

    def closure(self, names):
        """Paths of the stock modules NAMES and of all they need."""
        found = []
        for name in names:
            name = name.replace('-', '_')
            if name in self.paths:
                path = self.paths[name]
                found += [path] + self.depends[path]
            elif name not in self.ours and not self.builtin(name):
                die(f'the stock kernel has no module {name}')
        return list(dict.fromkeys(found))

    def builtin(self, name):
        with open(f'{self.dir}/modules.builtin', encoding='utf-8') as f:
            return any(self.name(line) == name for line in f)

    def needs(self, ko):
        """Names of the modules that one of ours needs directly."""
        out = subprocess.run(['modinfo', '-F', 'depends', ko], check=True,
                             capture_output=True, text=True).stdout
        return [self.name(n) for n in out.strip().split(',') if n]


def flat(path):
    """The name under which a stock module stands in the ram disk."""
    return os.path.basename(path).removesuffix('.xz')


def base_disk(modules, paths):
    """The part that does not change from run to run; cached."""
    applets = subprocess.run(['busybox', '--list'], check=True,
                             capture_output=True, text=True).stdout.split()
    with open(MACHINE.busybox, 'rb') as f:
        busybox = f.read()
    key = hashlib.sha256(busybox)
    key.update('\n'.join(['1', modules.dir] + paths).encode())
    cached = f'{CACHE}/guest/base-{key.hexdigest()[:16]}.cpio'
    if not os.path.exists(cached):
        disk = Cpio()
        for name in ('proc', 'sys', 'dev', 'tmp', 'run', 'root', 'etc', 'share',
                     'lower', 'upper', 'new', 'usr/bin', 'usr/sbin', 'sbin'):
            disk.directory(name)
        disk.file('bin/busybox', busybox, 0o755)
        for applet in applets:
            if applet != 'busybox':
                disk.link(f'bin/{applet}', 'busybox')
        # The kernel asks for modules by this name.
        disk.link('sbin/modprobe', '/bin/busybox')
        disk.file('etc/passwd', b'root:x:0:0:root:/root:/bin/sh\n')
        disk.file('etc/group', b'root:x:0:\nvideo:x:44:\n')
        where = f'lib/modules/{os.path.basename(modules.dir)}'
        for path in paths:
            source = f'{modules.dir}/{path}'
            if path.endswith('.xz'):
                data = subprocess.run(['xz', '-dc', source], check=True,
                                      capture_output=True).stdout
            else:
                with open(source, 'rb') as f:
                    data = f.read()
            disk.file(f'{where}/{flat(path)}', data)
        os.makedirs(os.path.dirname(cached), exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(cached), delete=False) as f:
            f.write(disk.bytes())
        os.rename(f.name, cached)
    with open(cached, 'rb') as f:
        return f.read()


def ram_disk(args, modules, load, modroot):
    if args.full:
        wanted = ['9p', '9pnet_virtio', 'overlay']
    elif args.modules is None:
        wanted = [name for name in MODULES if name in modules.paths]
    else:
        wanted = args.modules.split()
    if args.share and not args.full:
        wanted += ['9p', '9pnet_virtio']
    needs = {name: modules.needs(ko) for name, ko in modules.ours.items()}
    if args.small:
        for names in needs.values():
            wanted += names
    paths = modules.closure(wanted)
    disk = Cpio()
    where = f'lib/modules/{KREL}'
    lines = [f'{flat(p)}: {" ".join(flat(d) for d in modules.depends[p])}' for p in paths]
    if args.small:
        known = {modules.name(p): flat(p) for p in paths}
        known |= {name: f'{name}.ko' for name in modules.ours}

        def all_needs(name):
            direct = needs.get(name) or [modules.name(p) for p in
                                         modules.depends.get(modules.paths.get(name), [])]
            found = []
            for need in direct:
                found += [need] + all_needs(need)
            # The last is loaded first: each stands behind all that need it.
            return list(dict.fromkeys(reversed(found)))[::-1]

        for name, ko in modules.ours.items():
            with open(ko, 'rb') as f:
                disk.file(f'{where}/{name}.ko', f.read())
            deps = [known[n] for n in all_needs(name) if n in known]
            lines.append(f'{name}.ko: {" ".join(deps)}')
    disk.file(f'{where}/modules.dep', ('\n'.join(lines) + '\n').encode())
    if args.payload:
        disk.tree('payload', args.payload)

    try:
        size = os.get_terminal_size(0)
    except OSError:
        size = os.terminal_size((80, 24))
    env = {
        'FULL': '1' if args.full else '0',
        'SHARE': '1' if args.share else '',
        'LOAD': ' '.join(load),
        'MODROOT': modroot or '',
        'SHELL': '/bin/bash' if args.full else '/bin/sh',
        'TOOL': f'{REPO}/build/tool/cenalloc',
        'DIRECTORY': REPO if args.full else '/payload' if args.payload else '/',
        'INTERACTIVE': '0' if args.command else '1',
        'SLOWER': str(SLOWER),
        'LOG': f'/dev/{MACHINE.console}',
        'PLANTED': PLANTED,
        'HOST_TERM': os.environ.get('TERM', 'dumb'),
        'ROWS': str(size.lines or 24), 'COLUMNS': str(size.columns or 80),
    }
    disk.file('guest/env', ''.join(f'{k}={shlex.quote(v)}\n' for k, v in env.items()).encode())
    disk.file('guest/command', (args.command + '\n').encode())
    disk.file('guest/run', RUN.encode(), 0o755)
    disk.file('init', INIT.encode(), 0o755)
    return base_disk(modules, paths) + disk.bytes()


def module_tree(modules):
    """The stock modules with ours among them, as modprobe wants them."""
    top = f'{REPO}/build/modroot{SUFFIX}'
    tree = f'{top}/lib/modules/{KREL}'
    stamp = f'{tree}/stamp'
    mark = modules.dir + ''.join(f' {ko} {os.stat(ko).st_mtime_ns}' for ko in modules.ours.values())
    try:
        with open(stamp, encoding='utf-8') as f:
            if f.read() == mark:
                return tree
    except FileNotFoundError:
        pass
    subprocess.run(['rm', '-rf', top], check=True)
    os.makedirs(f'{tree}/updates')
    os.symlink(f'{modules.dir}/kernel', f'{tree}/kernel')
    for name in ('modules.order', 'modules.builtin', 'modules.builtin.modinfo'):
        subprocess.run(['cp', f'{modules.dir}/{name}', tree], check=True)
    for ko in modules.ours.values():
        subprocess.run(['cp', ko, f'{tree}/updates/'], check=True)
    subprocess.run(['depmod', '-b', top, KREL], check=True)
    with open(stamp, 'w', encoding='utf-8') as f:
        f.write(mark)
    return tree


# --- The machine -------------------------------------------------------------

def kvm_works(kernel):
    """Whether KVM really boots a kernel here; asked once per boot of the host."""
    if os.environ['KARCH'] != 'x86' or not os.access('/dev/kvm', os.R_OK | os.W_OK):
        return False
    with open('/proc/sys/kernel/random/boot_id', encoding='utf-8') as f:
        answer = f'{CACHE}/guest/kvm-{f.read().strip()}'
    if not os.path.exists(answer):
        os.makedirs(os.path.dirname(answer), exist_ok=True)
        try:
            # Without a root file system it panics, which ends it at once.
            out = subprocess.run(
                ['qemu-system-x86_64', '-accel', 'kvm', '-cpu', 'max', '-m', '512M', '-smp', '2',
                 '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
                 '-serial', 'stdio', '-kernel', kernel, '-append', 'console=ttyS0 panic=-1'],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                timeout=20, check=False).stdout
        except subprocess.TimeoutExpired:
            out = b''
        with tempfile.NamedTemporaryFile('w', dir=os.path.dirname(answer), delete=False) as f:
            f.write('yes' if b'Unable to mount root fs' in out else 'no')
        os.rename(f.name, answer)
    with open(answer, encoding='utf-8') as f:
        return f.read() == 'yes'


def qemu_command(args, scratch, log, pipes):
    append = BOOT_ARGS.split()
    if os.path.exists(APPEND):
        with open(APPEND, encoding='utf-8') as f:
            append += [word for line in f if line[0] != '#' for word in line.split()]
    append += [args.append] if args.append else []
    kernel = f'{KIMAGE}/usr/lib/modules/{KREL}/vmlinuz'
    if args.icount:
        # Nothing of the host goes into the guest's time: neither its own, nor chance.
        accel = ['tcg,thread=single', '-icount', 'shift=0,sleep=off', '-seed', '1',
                 '-rtc', 'base=2026-01-01,clock=vm']
    else:
        accel = ['kvm' if kvm_works(kernel) else 'tcg,thread=multi']
    command = [
        *MACHINE.qemu, *size(args), '-accel', *accel,
        '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
        '-kernel', kernel, '-initrd', f'{scratch}/initrd',
        '-append', ' '.join(append),
        '-chardev', f'file,id=log,path={log}', '-serial', 'chardev:log',
        '-device', 'virtio-serial-pci', '-device', 'edu',
    ]
    for number, name in enumerate(('out', 'err', 'ctl'), 1):
        command += ['-add-fd', f'fd={pipes[name][1]},set={number}',
                    '-chardev', f'file,id={name},path=/dev/fdset/{number},append=on',
                    '-device', f'virtserialport,chardev={name},nr={number}']
    if not args.command:
        command += ['-chardev', 'stdio,id=shell,signal=off',
                    '-device', 'virtconsole,chardev=shell,nr=4']
    if args.full:
        command += ['-fsdev', 'local,id=root,path=/,security_model=none,readonly=on,multidevs=remap',
                    '-device', 'virtio-9p-pci,fsdev=root,mount_tag=root']
    if args.share:
        command += ['-fsdev', f'local,id=share,path={os.path.realpath(args.share)},security_model=none',
                    '-device', 'virtio-9p-pci,fsdev=share,mount_tag=share']
    return command + with_device_tree(args, scratch)


def with_device_tree(args, scratch):
    """What --qemu says, in which "-dtb FILE.dtso" names an overlay's source, from the top of the
    repository: what is added to the device tree of this very machine."""
    options = shlex.split(args.qemu)
    if '-dtb' not in options:
        return options
    at = options.index('-dtb')
    source, options[at:at + 2] = options[at + 1], []
    tree = f'{scratch}/tree'
    for step in (MACHINE.qemu + size(args) + ['-nodefaults', '-display', 'none', *options,
                                              '-machine', f'dumpdtb={tree}.base'],
                 ['dtc', '-q', '-o', f'{tree}.dtbo', f'{REPO}/{source}'],
                 ['fdtoverlay', '-i', f'{tree}.base', '-o', f'{tree}.dtb', f'{tree}.dtbo']):
        done = subprocess.run(step, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            die(f'no device tree of {source}: {done.stdout}')
    return options + ['-dtb', f'{tree}.dtb']


def size(args):
    """What tells QEMU how large the machine is."""
    return ['-m', f'{mebibytes(args.mem) + MORE}M', '-smp', args.cpus]


def mebibytes(text):
    """A size as QEMU takes it, in MiB or with M or G behind it, as a number of MiB."""
    match = re.fullmatch(r'(\d+)([MG]?)', text)
    if not match:
        die(f'--mem {text} is no size: 320M, or 3G')
    return int(match[1]) * (1024 if match[2] == 'G' else 1)


def pump(source, sink):
    while data := os.read(source, 65536):
        sink(data)


def write_to(fd):
    def sink(data):
        while data:
            data = data[os.write(fd, data):]
    return sink


# As a guest does whose kernel dies, among others.
EARLY = 'ended early'


def run_guest(args, scratch, log):
    """Returns the command's status (None if there is none) and why it ended."""
    pipes = {name: os.pipe() for name in ('out', 'err', 'ctl')}
    control = bytearray()
    command = qemu_command(args, scratch, log, pipes)
    qemu = subprocess.Popen(command, pass_fds=[w for _, w in pipes.values()],
                            stdin=None if not args.command else subprocess.DEVNULL)
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda *_: (qemu.kill(), sys.exit(124)))
    threads = []
    for name, sink in (('out', write_to(1)), ('err', write_to(2)), ('ctl', control.extend)):
        os.close(pipes[name][1])
        threads.append(threading.Thread(target=pump, args=(pipes[name][0], sink), daemon=True))
        threads[-1].start()
    try:
        qemu.wait(args.timeout)
        why = EARLY if qemu.returncode == 0 else f'QEMU failed ({qemu.returncode})'
    except subprocess.TimeoutExpired:
        why = f'ran out of time ({args.timeout:g} s)'
    finally:
        qemu.kill()
        qemu.wait()
    for thread in threads:
        thread.join()
    status = re.search(rb'status (\d+)', control)
    return (int(status[1]) if status else None), why


# --- The kernel log ----------------------------------------------------------

# How often a guest is started whose kernel dies before anything of ours is in it: now
# and then an emulated processor runs into code that the other one is patching, as
# kernels do while they boot.
ATTEMPTS = 3


def started(log):
    """Whether the kernel got to the first process."""
    with open(log, encoding='utf-8', errors='replace') as f:
        return any('Run /init as init process' in line for line in f)


def main():
    args = arguments()
    if not args.command and not sys.stdin.isatty():
        die('a command is needed, or a terminal for a shell')
    modules = Modules()
    load = list(modules.ours) if args.load is None else args.load.split()
    modroot = module_tree(modules) if args.full else None

    logs = f'{REPO}/build/logs'
    os.makedirs(logs, exist_ok=True)
    log = args.log or f'{logs}/guest-{time.strftime("%H%M%S")}-{os.getpid()}.log'
    open(log, 'w', encoding='utf-8').close()

    with tempfile.TemporaryDirectory(dir=logs, prefix='guest-') as scratch:
        with open(f'{scratch}/initrd', 'wb') as disk:
            disk.write(ram_disk(args, modules, load, modroot))
        status, why = run_guest(args, scratch, log)
        for attempt in range(1, ATTEMPTS):
            if why != EARLY or status is not None or started(log):
                break
            os.rename(log, f'{log}.{attempt}')
            print('guest: the kernel did not get to its first process; starting it again. '
                  f'Its log is {log}.{attempt}', file=sys.stderr, flush=True)
            status, why = run_guest(args, scratch, log)

    bad = findings(log)
    for part in bad:
        print(f'guest: the kernel log says:\n{part}', file=sys.stderr)
    if status is None:
        print(f'guest: {why} without a result of the command; '
              f'the end of its kernel log, {log}:', file=sys.stderr)
        sys.stderr.flush()
        subprocess.run(['tail', '-n', '20', log], stdout=sys.stderr, check=False)
        sys.exit(124 if why.startswith('ran out') else 125)
    if bad:
        print(f'guest: the whole kernel log is {log}', file=sys.stderr)
    sys.exit(status or (125 if bad else 0))


main()
