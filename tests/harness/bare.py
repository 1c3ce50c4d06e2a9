# SPDX-License-Identifier: Apache-2.0
"""An OCI bundle without any help of the runtime under test, and what such a runtime may leave on the machine. Small and
fast: the campaigns of tests/faults make thousands of containers with it."""
import contextlib
import copy
import ctypes
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from harness import places

RUNTIME = str(places.BIN / 'gantry-runtime')
PR_SET_CHILD_SUBREAPER = 36
libc = ctypes.CDLL(None, use_errno=True)

CAPABILITIES = ['CAP_CHOWN', 'CAP_KILL', 'CAP_SETUID', 'CAP_SETGID', 'CAP_NET_BIND_SERVICE']
CONFIG = {
    'ociVersion': '1.3.0',
    'process': {
        'terminal': False, 'user': {'uid': 0, 'gid': 0}, 'args': ['/bin/true'], 'env': ['PATH=/bin'], 'cwd': '/',
        'capabilities': {name: list(CAPABILITIES) for name in ('bounding', 'effective', 'permitted')}, 'noNewPrivileges': True,
    },
    'root': {'path': 'rootfs', 'readonly': False},
    'hostname': 'bare',
    'mounts': [
        {'destination': '/proc', 'type': 'proc', 'source': 'proc', 'options': ['nosuid', 'noexec', 'nodev']},
        {'destination': '/dev', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['nosuid', 'strictatime', 'mode=755', 'size=65536k']},
        {'destination': '/dev/pts', 'type': 'devpts', 'source': 'devpts', 'options': ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620']},
        {'destination': '/sys', 'type': 'sysfs', 'source': 'sysfs', 'options': ['nosuid', 'noexec', 'nodev', 'ro']},
        {'destination': '/sys/fs/cgroup', 'type': 'cgroup', 'source': 'cgroup', 'options': ['nosuid', 'noexec', 'nodev', 'relatime', 'ro']},
    ],
    'linux': {
        'resources': {'memory': {'limit': 64 << 20}, 'pids': {'limit': 100}, 'devices': [{'allow': False, 'access': 'rwm'}]},
        'namespaces': [{'type': name} for name in ('pid', 'network', 'ipc', 'uts', 'mount')],
        'maskedPaths': ['/proc/kcore', '/proc/keys', '/sys/firmware'],
        'readonlyPaths': ['/proc/bus', '/proc/sys', '/proc/sysrq-trigger'],
    },
}


def children():
    return set(Path(f'/proc/self/task/{os.getpid()}/children').read_text().split())


class Bare:
    """`folder` has the bundle, `state` the runtime's state. Containers are named TOKEN-N and have the cgroup /TOKEN-N, so
    that what is left is found. Orphans of the runtime become children of this process."""

    def __init__(self, applets=('true', 'sleep', 'sh')):
        self.folder = Path(tempfile.mkdtemp(prefix='gt-bare-'))
        self.folder.chmod(0o755)
        self.state, self.root = self.folder / 'state', self.folder / 'rootfs'
        self.token, self.count = f'gtb{os.getpid()}', 0
        for name in ('bin', 'proc', 'sys', 'dev', 'etc', 'tmp'):
            (self.root / name).mkdir(parents=True)
        shutil.copy('/bin/busybox', self.root / 'bin/busybox')
        for name in applets:
            (self.root / 'bin' / name).symlink_to('busybox')
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.others = children()
        self.parents = [p for p in Path('/sys/fs/cgroup').iterdir() if p.is_dir()] + [Path('/sys/fs/cgroup')]

    def config(self):
        return copy.deepcopy(CONFIG)

    def write(self, config):
        if isinstance(config, dict):
            if isinstance(config['linux'], dict):
                config['linux'].setdefault('cgroupsPath', f'/{self.token}-{self.count}')
            config = json.dumps(config)
        (self.folder / 'config.json').write_bytes(config if isinstance(config, bytes) else config.encode(errors='surrogatepass'))

    def name(self):
        self.count += 1
        return f'{self.token}-{self.count}'

    def command(self, *words):
        return [RUNTIME, '--root', str(self.state), *words]

    def call(self, *words, seconds=30, **more):
        more = {'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, **more}
        return subprocess.run(self.command(*words), cwd=self.folder, timeout=seconds, text=True, errors='replace', **more)

    def mounts(self):
        """In our mount namespace, from or on the bundle; others mount on this machine too."""
        return [line for line in Path('/proc/self/mountinfo').read_text().splitlines() if self.folder.name in line or self.token in line]

    def reap(self, seconds=5):
        """Takes in the orphans that have ended; returns those that live on after the bound."""
        deadline = time.monotonic() + seconds
        while True:
            left = children() - self.others
            for pid in left:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(int(pid), os.WNOHANG)
            left = children() - self.others
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.001)

    def left(self):
        """What is there that was not there before the first container."""
        found = [f'process {pid}' for pid in self.reap()]
        found += [f'state {p}' for p in self.state.iterdir()] if self.state.exists() else []
        found += [f'cgroup {p}' for parent in self.parents for p in parent.glob(self.token + '-*')]
        return found + self.mounts()

    def destroy(self):
        for entry in self.state.iterdir() if self.state.exists() else []:
            self.call('delete', '--force', entry.name)
        self.reap()
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        shutil.rmtree(self.folder)
