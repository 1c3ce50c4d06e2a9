# SPDX-License-Identifier: Apache-2.0
"""Container daemons without an engine: gantry-containerd and Debian's containerd, each with its own
directories and network namespace, and `ctr` on either."""
import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from . import places
from .engine import Engine, left_after, until
from traces import StackTraces, end, remove_traces

CGROUPS = Path('/sys/fs/cgroup')


class ContainerDaemon(Engine):
    """What both have: `socket`, `root` and `state` of the daemon, in a private network namespace. `spaces` are the containerd
    namespaces that a test uses: ctr makes cgroup parents of these names. `cgroup` is a parent for those who choose theirs,
    `environment` the daemon's beside the usual."""

    def __init__(self, number=0, spaces=()):
        super().__init__(number)
        self.socket = self.containerd_socket = f'{self.names.state}/c.sock'
        self.root, self.state = f'{self.names.root}/containerd', f'{self.names.state}/containerd'
        self.cgroup, self.environment = self.names.cgroup_parent, {}
        self.process, self.spaces = None, list(spaces)

    def command(self):
        raise NotImplementedError

    def start(self, *arguments, **environment):
        self.make_places()
        self.process = self.spawn([*self.command(), *arguments], **{**self.environment, **environment})

        def ready():
            if self.process.poll() is not None:
                raise RuntimeError(f'{self.kind} ended with {self.process.returncode}: {self.log_end()}')
            return self.ctr('version').returncode == 0
        until(ready, 30, self.log_end())
        return self

    def ctr(self, *arguments, space='default', timeout=60, **options):
        options = {'stdin': subprocess.DEVNULL, 'text': True, **options}
        return subprocess.run(self.line(*arguments, space=space), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, **options)

    def line(self, *arguments, space='default'):
        return ['nsenter', f'--net={self.names.netns}', 'ctr', '-a', self.containerd_socket, '-n', space, *map(str, arguments)]

    def ok(self, *arguments, **options):
        done = self.ctr(*arguments, **options)
        assert done.returncode == 0, f'ctr {arguments}: {done.stderr} {self.log_end()}'
        return done.stdout.strip()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self, number=signal.SIGTERM):
        """Ends the daemon alone; shims live on. Returns its exit code."""
        if self.process.poll() is None:
            end(self.process.pid, number, 20)
        return self.process.wait(20)

    def shims(self):
        """Pids of the living shims of this daemon."""
        found = []
        for pid in filter(str.isdigit, os.listdir('/proc')):
            with contextlib.suppress(OSError):
                line = Path(f'/proc/{pid}/cmdline').read_bytes().split(b'\0')
                if b'-address' in line and self.containerd_socket.encode() in line and b'containerd-shim' in line[0]:
                    found.append(int(pid))
        return found

    def traces(self):
        return StackTraces(state=self.names.state, root=self.names.root, bridge='none', cgroup_parent=self.names.cgroup_parent,
                           netns=self.names.netns)

    def bundles(self):
        return sorted(str(p) for p in Path(self.names.state).glob('containerd/io.containerd.runtime.v2.task/*/*'))

    def cgroups(self):
        return sorted(str(p) for space in self.spaces for p in CGROUPS.glob(f'*/{space}/*') if p.is_dir())

    def left(self):
        """What there is of tasks once none should be left."""
        return ([f'shim {p}' for p in self.shims()] + self.bundles() + self.cgroups() +
                [str(t) for t in self.traces().mounts()])

    def settled(self, seconds=15):
        return left_after(self.left, seconds)

    def destroy(self):
        """Ends everything; returns what was left of tasks."""
        left = self.settled(5)
        if self.process:
            self.stop()
        remove_traces(self.traces())
        # A container whose root is outside of the daemon's places is known by its cgroup alone.
        for pid in {p for space in self.spaces for f in CGROUPS.glob(f'*/{space}/**/cgroup.procs') for p in f.read_text().split()}:
            end(int(pid), signal.SIGKILL, 5)
        for space in self.spaces:
            for group in CGROUPS.glob(f'*/{space}'):
                # A shim may be taking its own away meanwhile.
                for part, _, _ in os.walk(group, topdown=False):
                    with contextlib.suppress(FileNotFoundError):
                        os.rmdir(part)
        subprocess.run(['ip', 'netns', 'del', self.names.netns_name], stderr=subprocess.DEVNULL)
        subprocess.run(['rm', '-rf', self.names.state, self.names.root], check=True)
        with contextlib.suppress(OSError):
            self.log.unlink()
        return left


class GantryContainerd(ContainerDaemon):
    kind = 'c'

    def __init__(self, number=0, spaces=(), binaries=places.BIN, arguments=()):
        super().__init__(number, spaces)
        self.binaries, self.arguments = Path(binaries), list(arguments)

    def command(self):
        names = self.names
        return [str(self.binaries / 'gantry-containerd'), '--root', self.root, '--state', self.state,
                '--address', self.containerd_socket, '--pid-file', f'{names.state}/c.pid', *self.arguments]


class DebianContainerd(ContainerDaemon):
    kind = 'd'

    def command(self):
        names = self.names
        config = Path(names.state) / 'config.toml'
        config.write_text(f'version = 2\nroot = "{self.root}"\nstate = "{self.state}"\n'
                          f'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]\n'
                          f'[grpc]\naddress = "{self.containerd_socket}"\n')
        return ['/usr/bin/containerd', '-c', str(config)]


class NewerContainerd(ContainerDaemon):
    """containerd 1.7 or later from a folder of places.NEWER_CONTAINERDS, with its own ctr and shim; our shim is in its PATH.
    `shim`: a program that takes the place of its own, for clients that want options of runc's."""
    kind = 'n'

    def __init__(self, folder, number=0, spaces=(), shim=None):
        super().__init__(number, spaces)
        self.folder, self.shim = folder, shim
        self.environment = {'PATH': f'{self.names.state}/bin:{folder}:{places.BIN}:{os.environ["PATH"]}'}

    def command(self):
        if self.shim:
            os.makedirs(f'{self.names.state}/bin', exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.symlink(self.shim, f'{self.names.state}/bin/containerd-shim-runc-v2')
        config = Path(self.names.state) / 'config.toml'
        # What would touch the host: networks of the CRI, NRI's socket, /opt/containerd. Version 2 is read by all of them.
        disabled = ['io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images', 'io.containerd.cri.v1.runtime', 'io.containerd.nri.v1.nri',
                    'io.containerd.internal.v1.opt']
        config.write_text(f'version = 2\nroot = "{self.root}"\nstate = "{self.state}"\ndisabled_plugins = {disabled}\n'
                          f'[grpc]\naddress = "{self.containerd_socket}"\n'
                          f'[plugins."io.containerd.shim.v1.manager"]\nsocket_dir = "{self.names.state}/s"\n')
        return [str(self.folder / 'containerd'), '-c', str(config)]

    def line(self, *arguments, space='default'):
        line = super().line(*arguments, space=space)
        line[line.index('ctr')] = str(self.folder / 'ctr')
        return line

    def version(self):
        return subprocess.run([self.folder / 'containerd', '--version'], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[2]


def busybox_root(folder):
    """A root file system with busybox alone."""
    import shutil
    for name in ('bin', 'proc', 'sys', 'dev', 'tmp', 'etc', 'run'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    shutil.copy('/bin/busybox', folder / 'bin/busybox')
    for applet in ('sh', 'echo', 'sleep', 'true', 'false', 'cat', 'seq', 'stty', 'kill', 'id', 'ls', 'touch', 'hostname'):
        with contextlib.suppress(FileExistsError):
            (folder / 'bin' / applet).symlink_to('busybox')
    return folder
