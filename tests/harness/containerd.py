# SPDX-License-Identifier: Apache-2.0
"""Container daemons alone: our gantry-containerd, and Debian's containerd as the peer, each in a network namespace and
directories of its own. Everything that is left at the end is a leak."""
import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

from harness import places
from harness.engine import Engine, until
from traces import StackTraces, end, remove_traces


class ContainerDaemon(Engine):
    """What both have: `socket`, start, stop, destroy. `cgroup` is the parent for containers."""
    name = ''

    def __init__(self, number=0, **environment):
        super().__init__(number)
        self.socket = f'{self.names.state}/c.sock'
        self.root, self.state = f'{self.names.root}/c', f'{self.names.state}/c'
        self.environment = environment
        self.process = None
        self.cgroup = self.names.cgroup_parent

    def command(self):
        raise NotImplementedError

    def start(self, *arguments):
        self.make_places()
        self.process = self.spawn([*self.command(), *arguments], **self.environment)
        until(lambda: self.answers() or self.process.poll() is not None, 20, 'no answer')
        if self.process.poll() is not None:
            raise RuntimeError(f'{self.name} ended: {self.log.read_text()[-500:]}')
        return self

    def answers(self):
        done = subprocess.run(['ctr', '-a', self.socket, 'version'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        return done.returncode == 0

    def stop(self, number=signal.SIGTERM):
        """Ends the daemon alone; shims live on. Returns its exit code."""
        if self.process.poll() is None:
            end(self.process.pid, number, 20)
        return self.process.wait(20)

    def traces(self):
        names = self.names
        return StackTraces(state=names.state, root=names.root, bridge='', cgroup_parent=names.cgroup_parent, netns=names.netns)

    def destroy(self):
        """Stops the daemon, returns what it left behind, and takes that away."""
        if self.process:
            self.stop()
        left = [str(t) for t in self.traces().find(every=True) if t.kind in ('process', 'mount')]
        remove_traces(self.traces())
        subprocess.run(['ip', 'netns', 'del', self.names.netns_name], stderr=subprocess.DEVNULL, check=False)
        for folder in (self.names.state, self.names.root):
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.log.unlink()
        return left


class GantryContainerd(ContainerDaemon):
    kind, name = 'c', 'gantry-containerd'

    def command(self):
        return [str(places.BIN / 'gantry-containerd'), '--root', self.root, '--state', self.state, '--address', self.socket,
                '--pid-file', f'{self.names.state}/pid']


class PeerContainerd(ContainerDaemon):
    kind, name = 'd', 'containerd'

    def command(self):
        config = Path(self.names.state) / 'config.toml'
        config.write_text(f'version = 2\nroot = "{self.root}"\nstate = "{self.state}"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
                          f'[grpc]\naddress = "{self.socket}"\n')
        return ['/usr/bin/containerd', '--config', str(config)]


def rootfs(folder):
    """A root with busybox."""
    for name in ('bin', 'proc', 'sys', 'dev', 'etc', 'tmp'):
        (folder / name).mkdir(parents=True)
    shutil.copy('/bin/busybox', folder / 'bin/busybox')
    for name in ('true', 'sleep', 'sh', 'cat', 'echo'):
        (folder / 'bin' / name).symlink_to('busybox')
    os.chmod(folder, 0o755)
    return folder
