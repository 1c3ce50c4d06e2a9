# SPDX-License-Identifier: Apache-2.0
"""gantry-containerd beside Debian's containerd: `ctr run --rm`, calls over gRPC, memory. Both run bare in namespaces of
their own with the same bundle and Debian's ctr."""
import statistics
import time

from harness import places
from harness.containerd import DebianContainerd, GantryContainerd
from harness.grpc_api import Api, message

SPACE = 'bench'
CALLS = 500
SLEEPERS = 100


def pss_kb(pid):
    return next(int(line.split()[1]) for line in open(f'/proc/{pid}/smaps_rollup') if line.startswith('Pss:'))


def percentiles(values):
    values = sorted(values)
    return statistics.median(values), values[len(values) * 99 // 100]


class Contestants:
    """Both daemons with the image loaded; ended at the end."""

    def __enter__(self):
        self.daemons = {'gantry': GantryContainerd(21, [SPACE]), 'containerd': DebianContainerd(21, [SPACE])}
        for daemon in self.daemons.values():
            daemon.start()
            daemon.ok('images', 'import', places.IMAGE_TAR, space=SPACE)
            daemon.image = daemon.ok('images', 'ls', '-q', space=SPACE).splitlines()[0]
        return self

    def __exit__(self, *_):
        for daemon in self.daemons.values():
            for name in daemon.ok('task', 'ls', '-q', space=SPACE).split():
                daemon.ctr('task', 'rm', '-f', name, space=SPACE)
            for name in daemon.ok('containers', 'ls', '-q', space=SPACE).split():
                daemon.ctr('containers', 'rm', name, space=SPACE)
            daemon.destroy()

    def each(self, one):
        return {name: one(daemon) for name, daemon in self.daemons.items()}

    def rotated(self, rounds, one):
        """Lists of what `one(daemon, turn)` gives, the order of the daemons turning, two first rounds left out."""
        values = {name: [] for name in self.daemons}
        names = list(self.daemons)
        for turn in range(rounds + 2):
            for name in names[turn % 2:] + names[:turn % 2]:
                taken = one(self.daemons[name], turn)
                if turn >= 2:
                    values[name].append(taken)
        return values


def run(daemon, turn):
    begin = time.perf_counter()
    text = daemon.ok('run', '--rm', daemon.image, f'b{turn}', 'echo', f'w{turn}', space=SPACE)
    taken = (time.perf_counter() - begin) * 1000
    assert text == f'w{turn}', text
    return taken


def call_times(daemon, call, **fields):
    api = Api(daemon.socket, SPACE)
    stub, found, _ = api.stub(call)
    request, metadata = message(found.input_type.full_name, **fields), api.metadata()
    times = []
    for _ in range(CALLS + 50):
        begin = time.perf_counter()
        stub(request, timeout=20, metadata=metadata)
        times.append((time.perf_counter() - begin) * 1e6)
    api.close()
    return percentiles(times[50:])


def shims_pss(daemon):
    return sum(map(pss_kb, daemon.shims()))


def measure(results, rounds):
    with Contestants() as both:
        results.add('container daemon idle, PSS', 'kB', **both.each(lambda d: pss_kb(d.process.pid)))
        found = both.rotated(rounds, run)
        results.add('ctr run --rm', 'ms', **{n: statistics.median(v) for n, v in found.items()})
        both.each(lambda d: d.ok('run', '-d', d.image, 'task', 'sleep', '10000', space=SPACE))
        for call, fields in (('Version/Version', {}), ('Images/List', {}), ('Containers/Get', {'id': 'task'}),
                             ('Tasks/Get', {'container_id': 'task'})):
            times = both.each(lambda d: call_times(d, call, **fields))
            for i, what in enumerate(('p50', 'p99')):
                results.add(f'{call}, {what}', 'µs', **{n: t[i] for n, t in times.items()})
        both.each(lambda d: [d.ok('run', '-d', d.image, f's{i}', 'sleep', '10000', space=SPACE) for i in range(SLEEPERS - 1)])
        results.add(f'container daemon with {SLEEPERS} containers, PSS', 'kB', **both.each(lambda d: pss_kb(d.process.pid)))
        results.add(f'its shims, PSS of each of {SLEEPERS}', 'kB', **both.each(lambda d: shims_pss(d) / SLEEPERS))
