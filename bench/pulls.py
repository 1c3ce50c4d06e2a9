# SPDX-License-Identifier: Apache-2.0
"""Pull and unpack of 250 MB gzip (683 MB in 6 layers) from Debian's docker-registry on loopback: gantry-containerd by its
Transfer service beside Debian's containerd by `ctr images pull`. Wall time, and CPU of the daemon with its children and of
the client; the registry's own is left out. Every round has a store of its own, and all are removed at the end: ext4 looks
for a while at each inode that was just deleted before it makes a new one."""
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from harness.transfers import Containerd
from harness.engine import until
from harness.registry import Layout, Registry, layer_tar

MEGABYTES = [300, 150, 100, 80, 40, 13]
FILE = 128 << 10
TICK = os.sysconf('SC_CLK_TCK')


def image(registry, folder):
    """Files of which 18 % don't compress, and the rest are words."""
    noise, layout = random.Random(7), Layout(folder / 'layout')
    words = [noise.randbytes(noise.randrange(3, 9)).hex().encode() for _ in range(200)]
    text = b' '.join(noise.choice(words) for _ in range(400_000))
    layers = []
    for number, size in enumerate(MEGABYTES):
        files = []
        for i in range(size * (1 << 20) // FILE):
            at = noise.randrange(len(text) - FILE)
            files.append((f'layer{number}/d{i // 100}/f{i}', noise.randbytes(FILE * 18 // 100) + text[at:at + FILE * 82 // 100], 0o644, 0))
        layers.append(layer_tar(files))
    source = layout.image('big', layers)
    del layers
    packed = sum(p.stat().st_size for p in (layout.folder / 'blobs/sha256').iterdir())
    registry.put(source, 'big:1')
    shutil.rmtree(folder)
    return packed


def cpu(pid):
    fields = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
    return sum(map(int, fields[11:15])) / TICK


class Peer:
    """Debian's containerd with directories of its own."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix='gt-bench-', dir='/var/lib'))
        self.address = f'{self.folder}/c.sock'
        (self.folder / 'config.toml').write_text(f'version = 2\nroot = "{self.folder}/root"\nstate = "{self.folder}/state"\n'
                                                 f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{self.address}"\n')
        self.process = subprocess.Popen(['containerd', '-l', 'fatal', '-c', str(self.folder / 'config.toml')], stderr=subprocess.DEVNULL)
        until(lambda: subprocess.run(['ctr', '-a', self.address, 'version'], capture_output=True).returncode == 0, 20)

    def pull(self, reference):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(['ctr', '-a', self.address, 'images', 'pull', '--plain-http', reference], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)

    def destroy(self):
        shutil.rmtree(self.folder)


class Ours(Containerd):
    made = 0

    def __init__(self):
        super().__init__(Ours.made)
        Ours.made += 1
        self.start()

    def pull(self, reference):
        self.client.pull(reference)
        assert len(self.snapshots()) == len(MEGABYTES)
        return 0.0


def times(rounds=3):
    """{'wall': {name: seconds}, 'cpu': …}, medians; and the compressed megabytes."""
    registry, daemons = Registry(), []
    try:
        packed = image(registry, Path(tempfile.mkdtemp(prefix='gt-bench-')))
        found = {'gantry': [], 'containerd': []}
        for turn in range(rounds):
            for name in list(found)[::1 if turn % 2 else -1]:
                daemon = {'gantry': Ours, 'containerd': Peer}[name]()
                daemons.append(daemon)
                try:
                    before, begin = cpu(daemon.process.pid), time.perf_counter()
                    client = daemon.pull(f'{registry.name}/big:1')
                    wall = time.perf_counter() - begin
                    found[name].append((wall, cpu(daemon.process.pid) - before + client))
                finally:
                    daemon.end()
        walls, cpus = ({n: statistics.median(v[i] for v in values) for n, values in found.items()} for i in (0, 1))
        return {'wall': walls, 'cpu': cpus}, packed / 1e6
    finally:
        for daemon in daemons:
            daemon.destroy()
        registry.destroy()
