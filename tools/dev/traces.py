# SPDX-License-Identifier: Apache-2.0
"""What a stack leaves on a machine, and how to take it away.

A stack is told by its state and data directories, its bridge, its containers' cgroups, and, for the
private stacks of the tests, by the network namespace that it runs in. Nothing is ever told by a
program's name alone, so stacks live side by side and other people's processes are never touched."""
import contextlib
import dataclasses
import fcntl
import json
import os
import re
import select
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

CGROUPS = Path('/sys/fs/cgroup')
DAEMONS = ('gantryd', 'gantry-docker-socket', 'gantry-containerd', 'gantry-proxy')
OURS = re.compile(r'^(gantry|containerd-shim-gantry|/?memfd:)')


@dataclasses.dataclass(frozen=True)
class Trace:
    kind: str  # process mount cgroup netns interface nft iptables file
    what: str
    pid: int = 0

    def __str__(self):
        return f'{self.kind} {self.what}'


def read(path):
    try:
        return Path(path).read_bytes().decode(errors='replace')
    except OSError:
        return ''


def link(path):
    try:
        return os.readlink(path)
    except OSError:
        return ''


def pids():
    return [int(name) for name in os.listdir('/proc') if name.isdigit()]


def own_line():
    """This process and its ancestors: they may name the paths in their arguments."""
    line, pid = set(), os.getpid()
    while pid > 1:
        line.add(pid)
        match = re.search(r'^PPid:\s*(\d+)', read(f'/proc/{pid}/status'), re.M)
        pid = int(match.group(1)) if match else 0
    return line


def unescape(field):
    return re.sub(r'\\([0-7]{3})', lambda m: chr(int(m.group(1), 8)), field)


@dataclasses.dataclass
class StackTraces:
    state: str
    root: str
    bridge: str
    cgroup_parent: str = ''  # of private stacks: all below it is theirs
    netns: str = ''          # path of a private namespace: all in it is theirs
    ids: set = dataclasses.field(default_factory=set)  # containers that the stack ever had

    def __post_init__(self):
        self.paths = re.compile('(' + '|'.join(re.escape(p) for p in (self.state, self.root)) + r')(?=$|[/:,?"\s\\])')

    def learn_ids(self):
        for folder in (Path(self.root) / 'containers', *Path(self.state).glob('containerd/io.containerd.runtime.v2.task/*')):
            with contextlib.suppress(OSError):
                self.ids.update(n for n in os.listdir(folder) if len(n) == 64)

    # Each finder yields what is there now.

    def cgroups(self):
        self.learn_ids()
        for hierarchy in [CGROUPS, *(p for p in CGROUPS.iterdir() if p.is_dir() and not p.is_symlink())]:
            if hierarchy == CGROUPS and not (CGROUPS / 'cgroup.controllers').exists():
                continue
            if self.cgroup_parent and (hierarchy / self.cgroup_parent.strip('/')).is_dir():
                yield from (str(p) for p in tree_of(hierarchy / self.cgroup_parent.strip('/')))
            for top in ('gantry', 'system.slice'):
                for path in tree_of(hierarchy / top) if self.ids else ():
                    if any(i in str(path) for i in self.ids):
                        yield str(path)

    def processes(self, every=True):
        """Daemons, shims and runtimes by their arguments, containers by cgroup and root. `every`:
        also foreign programs (clients, tools) that name the stack's paths."""
        line, groups = own_line(), set()
        for group in set(self.cgroups()):
            groups.update(int(p) for p in read(f'{group}/cgroup.procs').split())
        in_namespace = {}
        for pid in pids():
            if pid in line:
                continue
            arguments = read(f'/proc/{pid}/cmdline').replace('\0', ' ').strip()
            program = os.path.basename(link(f'/proc/{pid}/exe')) or arguments
            if pid in groups:
                yield Trace('process', f'{pid} in a cgroup of the stack: {arguments}', pid)
            elif self.paths.search(arguments) and (every or OURS.match(program)):
                yield Trace('process', f'{pid} {arguments}', pid)
            else:
                space = link(f'/proc/{pid}/ns/mnt')
                if space and space not in in_namespace:
                    in_namespace[space] = 'upperdir=' in (info := read(f'/proc/{pid}/mountinfo')) and any(
                        self.paths.search(l) for l in info.splitlines() if ' / / ' in l)
                if in_namespace.get(space):
                    yield Trace('process', f'{pid} has its root in the stack: {arguments}', pid)

    def mounts(self):
        """In every mount namespace; the stack's own network namespace entry isn't below its paths."""
        spaces = {}
        for pid in ['self', *pids()]:
            space = link(f'/proc/{pid}/ns/mnt')
            if space:
                spaces.setdefault(space, pid)
        for space, pid in spaces.items():
            for text in read(f'/proc/{pid}/mountinfo').splitlines():
                if self.paths.search(unescape(text)):
                    fields = text.split()
                    yield Trace('mount', f'{unescape(fields[4])} ({" ".join(fields[fields.index("-") + 1:])[:120]}) in {space}')

    def inside(self, *command):
        enter = ['nsenter', f'--net={self.netns}'] if self.netns else []
        done = subprocess.run([*enter, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return done.stdout if done.returncode == 0 else ''

    def bridges(self):
        """The default one and those of the users' networks that the records name."""
        found, path = {self.bridge}, Path(self.root) / 'engine/engine.db'
        if path.exists():
            with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(f'file:{path}?mode=ro', uri=True)) as database:
                for text, in database.execute('SELECT record FROM networks'):
                    record = json.loads(text)
                    if not record.get('foreignBridge'):
                        found.add(record['bridge'])
        return found

    def interfaces(self):
        bridges = self.bridges()
        for item in json.loads(self.inside('ip', '-j', 'link') or '[]'):
            name = item['ifname']
            if (self.netns and name != 'lo') or name in bridges or item.get('master') in bridges:
                yield Trace('interface', name)

    def nft(self):
        listed = json.loads(self.inside('nft', '-j', 'list', 'ruleset') or '{"nftables":[]}')['nftables']
        for item in listed:
            table = item.get('table')
            if not table:
                continue
            content = json.dumps([i for i in listed if any(isinstance(v, dict) and v.get('table') == table['name'] and
                                                           v.get('family') == table['family'] for v in i.values())])
            if self.netns or f'"{self.bridge}"' in content or self.bridge in table['name']:
                yield Trace('nft', f"{table['family']} {table['name']}")

    def iptables(self):
        for program in ('iptables-legacy-save', 'ip6tables-legacy-save'):
            for text in self.inside(program).splitlines():
                foreign = text.startswith('-A') or (text.startswith(':') and not re.match(r':\S+ ACCEPT', text))
                if foreign and (self.netns or self.bridge in text):
                    yield Trace('iptables', f'{program}: {text}')

    def namespaces(self):
        folder = Path(self.state) / 'netns'
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            yield Trace('netns', str(path))

    def find(self, every=False):
        found = list(self.processes(every))
        found += self.mounts()
        found += (Trace('cgroup', g) for g in sorted(set(self.cgroups())))
        for finder in (self.namespaces, self.interfaces, self.nft, self.iptables):
            found += finder()
        return found


def tree_of(top):
    for folder, _, _ in os.walk(top):
        yield Path(folder)


def owned_pid(pid_file):
    """The pid in a file whose lock is held by the living owner, else 0."""
    try:
        with open(pid_file) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return 0
            except BlockingIOError:
                return int(file.read().strip() or 0)
    except (OSError, ValueError):
        return 0


def end(pid, first_signal, seconds):
    """Signals a process through its pidfd and waits; kills it when it doesn't end."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, handle)
        for number, wait in ((first_signal, seconds), (signal.SIGKILL, 10)):
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(handle, number)
            if select.select([handle], [], [], wait)[0]:
                return


def stop_stack(traces):
    """Ends the daemons by their pid files, then everything else that is the stack's."""
    traces.learn_ids()
    for daemon in DAEMONS:
        pid = owned_pid(Path(traces.state) / f'{daemon}.pid')
        if pid:
            end(pid, signal.SIGTERM, 15)
    remove_traces(traces)


def remove_traces(traces):
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        left = list(traces.processes(every=bool(traces.netns)))
        if not left:
            break
        for trace in left:
            end(trace.pid, signal.SIGKILL, 1)
    own = link('/proc/self/ns/mnt')
    for trace in sorted((m for m in traces.mounts() if m.what.endswith(own)), key=lambda m: -len(m.what)):
        subprocess.run(['umount', '-l', trace.what.split(' (')[0]], stderr=subprocess.DEVNULL)
    for trace in traces.namespaces():
        with contextlib.suppress(OSError):
            os.unlink(trace.what)
    for group in sorted(set(traces.cgroups()), key=len, reverse=True):
        remove_cgroup(group)
    for trace in traces.interfaces():
        traces.inside('ip', 'link', 'del', trace.what)
    for trace in traces.nft():
        traces.inside('nft', 'delete', 'table', *trace.what.split())


def remove_cgroup(group):
    for _ in range(100):
        try:
            os.rmdir(group)
            return
        except FileNotFoundError:
            return
        except OSError:  # its last process is still on its way out
            time.sleep(0.02)
