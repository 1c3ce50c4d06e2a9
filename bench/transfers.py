# SPDX-License-Identifier: Apache-2.0
"""Pull, load, save and push of one image, 250 MB gzip (683 MB in 6 layers), by the command lines of the engines: gantry and
Debian's dockerd, podman and skopeo (which only copies: nothing is unpacked), and bench/pipeline, which does a pull's work
alone. Wall seconds from before the client's start to its end. Every round of everybody has fresh directories, and all are
removed at the end: ext4 looks for a while at each inode that was just deleted before it makes a new one."""
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import pulls
from harness import places
from harness.client import Client
from harness.engine import Peer, Stack, until
from harness.registry import Registry

NAME = 'big:1'
LAYERS_AT_ONCE = (2, 3, 6)  # of the pipeline, of which the best counts


def timed(command, **options):
    begin = time.perf_counter()
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    taken = time.perf_counter() - begin
    assert done.returncode == 0, (command, done.stderr.decode()[-500:])
    return taken, done.stdout.decode()


class Sample:
    """The image in a registry and as docker's archive, and an empty registry for each push."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix='gt-bench-', dir='/var/lib'))
        self.source = Registry()
        self.packed = pulls.image(self.source, self.folder / 'made')
        self.reference = f'{self.source.name}/{NAME}'
        self.archive = self.folder / 'image.tar'
        self.source.skopeo('copy', '-q', '--src-tls-verify=false', f'docker://{self.reference}', f'docker-archive:{self.archive}:{self.reference}')
        manifest = json.loads(self.source.skopeo('inspect', '--raw', '--tls-verify=false', f'docker://{self.reference}'))
        layers = sorted(manifest['layers'], key=lambda layer: -layer['size'])
        self.paths = [f"/v2/big/blobs/{layer['digest']}" for layer in layers]
        self.targets = 0

    def serve(self, spawn, folder):
        """docker-registry by `spawn`, in whose network it is, over `folder`; its port is that of the sample's registry."""
        config = {'version': '0.1', 'storage': {'filesystem': {'rootdirectory': str(folder)}}, 'log': {'level': 'error', 'accesslog': {'disabled': True}}}
        self.targets += 1
        path = self.folder / f'registry-{self.targets}.json'
        config['http'] = {'addr': self.source.name if folder == self.source.folder / 'data' else f'127.0.0.1:{self.source.port + 1}'}
        path.write_text(json.dumps(config))
        return spawn(['docker-registry', 'serve', str(path)], OTEL_TRACES_EXPORTER='none'), config['http']['addr']

    def destroy(self):
        self.source.destroy()
        shutil.rmtree(self.folder)


class EngineSide:
    """An engine with its client; registries are in its network namespace."""

    def __init__(self, name, engine, sample, home):
        self.engine, self.sample = engine, sample
        self.client = Client(name, engine.start(), home)
        self.processes = [sample.serve(engine.spawn, sample.source.folder / 'data')[0]]
        self.push_folder = Path(tempfile.mkdtemp(prefix='push', dir=sample.folder))
        process, self.target = sample.serve(engine.spawn, self.push_folder)
        self.processes.append(process)
        for address in (sample.source.name, self.target):
            until(lambda: engine.inside('curl', '-s', f'http://{address}/v2/', check=False).returncode == 0)

    def pull(self):
        return timed([*self.client.command, 'pull', '-q', self.sample.reference], env=self.client.environment)[0]

    def load(self):
        return timed([*self.client.command, 'load', '-q', '-i', self.sample.archive], env=self.client.environment)[0]

    def save(self):
        return timed([*self.client.command, 'save', '-o', self.push_folder / 'saved.tar', self.sample.reference], env=self.client.environment)[0]

    def push(self):
        name = f'{self.target}/pushed:1'
        self.client.ok('tag', self.sample.reference, name)
        return timed([*self.client.command, 'push', '-q', name], env=self.client.environment)[0]

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait(10)
        shutil.rmtree(self.push_folder)

    def destroy(self):
        self.engine.destroy()


class HostSide:
    """A program without a daemon, on the host's loopback."""

    def __init__(self, sample):
        self.sample = sample
        self.folder = Path(tempfile.mkdtemp(prefix='side', dir=sample.folder))
        self.target = Registry()

    def stop(self):
        self.target.destroy()

    def destroy(self):
        pass


class Podman(HostSide):
    def command(self, *words):
        return ['podman', '--root', self.folder / 'root', '--runroot', self.folder / 'run', '--storage-driver', 'overlay', *words]

    def pull(self):
        return timed(self.command('pull', '-q', '--tls-verify=false', self.sample.reference))[0]

    def load(self):
        return timed(self.command('load', '-q', '-i', self.sample.archive))[0]

    def save(self):
        return timed(self.command('save', '-q', '-o', self.folder / 'saved.tar', self.sample.reference))[0]

    def push(self):
        return timed(self.command('push', '-q', '--tls-verify=false', self.sample.reference, f'{self.target.name}/pushed:1'))[0]


class Skopeo(HostSide):
    def copy(self, source, target):
        return timed(['skopeo', 'copy', '-q', '--src-tls-verify=false', '--dest-tls-verify=false', source, target])[0]

    def pull(self):
        return self.copy(f'docker://{self.sample.reference}', f'oci:{self.folder}/layout:1')

    def load(self):
        return self.copy(f'docker-archive:{self.sample.archive}', f'oci:{self.folder}/loaded:1')

    def save(self):
        return self.copy(f'oci:{self.folder}/layout:1', f'oci-archive:{self.folder}/saved.tar')

    def push(self):
        return self.copy(f'oci:{self.folder}/layout:1', f'docker://{self.target.name}/pushed:1')


class Pipeline(HostSide):
    def pull(self):
        best = []
        for count in LAYERS_AT_ONCE:
            folder = self.folder / str(count)
            folder.mkdir()
            taken, out = timed([places.TREE / 'build/release/bench/pipeline', self.sample.source.port, folder, count, *self.sample.paths])
            digests = [line.split()[0] for line in out.splitlines()]
            assert [path.rsplit(':', 1)[1] for path in self.sample.paths] == digests, out
            best.append(taken)
        return min(best)


def times(rounds, only=()):
    """{figure: {name: seconds}} medians, and the compressed megabytes. A load is of docker's archive, whose layers are not
    compressed, into an empty store; save and push are of what was pulled."""
    numbers = iter(range(10, 26))
    found = {figure: {} for figure in ('pull', 'load', 'save', 'push')}
    sample = Sample()
    with contextlib.ExitStack() as undo:
        undo.callback(sample.destroy)
        home = undo.enter_context(tempfile.TemporaryDirectory())
        makers = {
            'gantry': lambda: EngineSide('gantry', Stack(number), sample, home),
            'docker': lambda: EngineSide('docker', Peer(number), sample, home),
            'podman': lambda: Podman(sample),
            'skopeo': lambda: Skopeo(sample),
            'pipeline': lambda: Pipeline(sample),
        }
        chosen = [name for name in makers if not only or name in only]
        for turn in range(rounds):
            for figures in (('pull', 'save', 'push'), ('load',)):
                number = next(numbers)
                for name in chosen[::1 if turn % 2 else -1]:
                    side = makers[name]()
                    undo.callback(side.destroy)
                    try:
                        for figure in figures:
                            if hasattr(side, figure):
                                os.sync()
                                found[figure].setdefault(name, []).append(getattr(side, figure)())
                    finally:
                        side.stop()
        return {figure: {n: statistics.median(v) for n, v in values.items()} for figure, values in found.items()}, sample.packed / 1e6
