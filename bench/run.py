#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures gantry beside its peers in the same run, with the order rotated: JSON and a table.

    bench/run.py [FIGURE…] [--json=FILE] [--markdown=FILE] [--rounds=N]

Figures: start run exec runtime memory api many images hundred crowd throughput networks names overlay containerd pull build. Both engines are private (tests/harness), so what
runs on the machine is left alone. Each run proves by its output that it ran."""
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TREE / 'tests'), str(TREE / 'bench')]
import builds  # noqa: E402
import container_daemons  # noqa: E402
import many  # noqa: E402
import networks  # noqa: E402
import overlays  # noqa: E402
import pulls  # noqa: E402
import runtimes  # noqa: E402
from harness import places  # noqa: E402
from harness.client import Client, programs  # noqa: E402
from harness.engine import Peer, Stack, UnixConnection, until  # noqa: E402
from processes import children, daemons, peak_kb, pss_kb  # noqa: E402

IMAGE = places.IMAGE
WARM_UP = 2
REQUESTS = 2000
FIGURES = ['start', 'run', 'exec', 'runtime', 'memory', 'api', 'many', 'images', 'hundred', 'crowd', 'throughput', 'networks', 'names', 'overlay', 'containerd', 'pull', 'build']


class Results:
    """Rows of (figure, unit, gantry, peer values), and whether less is better."""

    def __init__(self):
        self.rows = []

    def add(self, figure, unit, less_is_better=True, **values):
        ours, others = values.pop('gantry'), values
        row = {'figure': figure, 'unit': unit, 'gantry': ours, **others}
        for name, value in others.items():
            if ours and value:
                row[f'times {name}'] = value / ours if less_is_better else ours / value
        self.rows.append(row)
        print(self.line(row), flush=True)

    @staticmethod
    def line(row):
        shown = [f"{name} {row[name]:.2f}" for name in row if name not in ('figure', 'unit') and isinstance(row[name], (int, float))]
        return f"{row['figure']} ({row['unit']}): " + ', '.join(shown)

    def markdown(self):
        lines = ['| figure | unit | gantry | peer | times |', '|---|---|--:|--:|--:|']
        for row in self.rows:
            peers = [k for k in row if k not in ('figure', 'unit', 'gantry') and not k.startswith('times ')]
            lines.append('| {} | {} | {:.4g} | {} | {} |'.format(
                row['figure'], row['unit'], row['gantry'], ', '.join(f'{p} {row[p]:.4g}' for p in peers) or '–',
                ', '.join(f"{row[f'times {p}']:.1f}" for p in peers if f'times {p}' in row) or '–'))
        return '\n'.join(lines)


def milliseconds(client, arguments, word):
    begin = time.perf_counter()
    done = client(*arguments)
    taken = (time.perf_counter() - begin) * 1000
    if done.code or done.text != word:
        sys.exit(f'{client.name} {arguments}: {done.code} {done.text!r} {done.err.strip()}')
    return taken


def rotated(clients, rounds, one):
    """Medians by name; the order of the contestants turns with each round."""
    values = {name: [] for name in clients}
    names = list(clients)
    for turn in range(rounds + WARM_UP):
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            taken = one(clients[name], turn)
            if turn >= WARM_UP:
                values[name].append(taken)
    return {name: statistics.median(v) for name, v in values.items()}


def start_time(command, environment):
    """Milliseconds from before a program's start to its end, nothing read of what it prints."""
    with open(os.devnull, 'w') as nowhere:
        actions = [(os.POSIX_SPAWN_DUP2, nowhere.fileno(), 1)]
        begin = time.perf_counter()
        pid = os.posix_spawn(command[0], command, environment, file_actions=actions)
        status = os.waitpid(pid, 0)[1]
        taken = (time.perf_counter() - begin) * 1000
    if status:
        sys.exit(f'{command}: {status}')
    return taken


def bench_start(results, clients, rounds):
    """The programs alone, and `ps` of an engine without containers; "static" does nothing at all, without a C library to load."""
    nothing = [str(places.TREE / 'build/release/bench/nothing')]
    for label, words in (('client, --version', ['--version']), ('client, ps', ['ps'])):
        found = rotated({**clients, 'static': None}, max(rounds, 200),
                        lambda c, i: start_time([*c.command, *words] if c else nothing, c.environment if c else {}))
        results.add(label, 'ms', **found)


def bench_run(results, clients, rounds):
    for network in ('bridge', 'host', 'none'):
        found = rotated(clients, rounds, lambda c, i: milliseconds(c, ['run', '--rm', '--network', network, IMAGE, 'echo', f'w{i}'], f'w{i}'))
        results.add(f'run --rm, {network}', 'ms', **found)


def bench_exec(results, clients, rounds):
    for client in clients.values():
        client.ok('run', '-d', '--name', 'execs', IMAGE, 'sleep', '10000')
    results.add('exec', 'ms', **rotated(clients, rounds, lambda c, i: milliseconds(c, ['exec', 'execs', 'echo', f'w{i}'], f'w{i}')))
    for client in clients.values():
        client.ok('rm', '-f', 'execs')


def bench_runtime(results, clients, rounds):
    ours, rounds = places.BIN / 'gantry-runtime', max(rounds, 40)
    for filtered, label in ((False, ''), (True, ', default filter')):
        results.add(f'OCI runtime, run{label}', 'ms', **runtimes.run_times(ours, rounds, filtered, runtimes.REST_S))
        results.add(f'OCI runtime, run{label}, back to back', 'ms', **runtimes.run_times(ours, rounds, filtered, 0))
        for verb, found in runtimes.verb_times(ours, rounds, filtered).items():
            results.add(f'OCI runtime, {verb}{label}', 'ms', **found)
    for verb, found in runtimes.peaks(ours).items():
        results.add(f'OCI runtime, peak memory of {verb}', 'kB', **found)


def shims(engine, ids):
    """The parents of the containers' first processes."""
    found = set()
    for ident in ids:
        pid = json.loads(engine.api('GET', f'/containers/{ident}/json')[1])['State']['Pid']
        found.add(int(open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()[1]))
    return found


def bench_memory(results, clients, rounds):
    idle = {name: sum(map(pss_kb, daemons(c.engine))) for name, c in clients.items()}
    results.add('daemons idle, PSS', 'kB', **idle)
    started = {name: [] for name in clients}
    for count in (1, 20, 100):
        shim = {}
        for name, client in clients.items():
            while len(started[name]) < count:
                started[name].append(client.ok('run', '-d', '--network', 'none', IMAGE, 'sleep', '10000'))
            pids = shims(client.engine, started[name])
            shim[name] = sum(map(pss_kb, pids)) / count
        results.add(f'shim, PSS of each of {count}', 'kB', **shim)
    results.add('daemons, peak resident', 'kB', **{name: sum(map(peak_kb, daemons(c.engine))) for name, c in clients.items()})
    results.add('daemons with 100 containers, PSS', 'kB', **{name: sum(map(pss_kb, daemons(c.engine))) for name, c in clients.items()})
    latencies(results, clients, '/containers/json', 'containers/json with 100')
    for name, client in clients.items():
        client('rm', '-f', *started[name], timeout=600)


def latencies(results, clients, path, label):
    times = {}
    for name, client in clients.items():
        connection = UnixConnection(client.engine.socket)
        values = []
        for _ in range(REQUESTS):
            begin = time.perf_counter()
            connection.request('GET', path)
            answer = connection.getresponse()
            answer.read()
            values.append((time.perf_counter() - begin) * 1e6)
            if answer.status != 200:
                sys.exit(f'{name} {path}: {answer.status}')
        connection.close()
        values.sort()
        times[name] = values
    for percent in (50, 99):
        results.add(f'{label}, p{percent}', 'µs', **{n: v[len(v) * percent // 100] for n, v in times.items()})


def bench_api(results, clients, rounds):
    latencies(results, clients, '/_ping', '_ping')
    latencies(results, clients, '/containers/json', 'containers/json with 0')
    for client in clients.values():
        client.ok('run', '-d', '--name', 'looked-at', IMAGE, 'sleep', '10000')
    latencies(results, clients, '/containers/looked-at/json', 'inspect')
    for client in clients.values():
        client.ok('rm', '-f', 'looked-at')


def bench_many(results, clients, rounds):
    many.life_of_many(results, clients, latencies)


def bench_images(results, clients, rounds):
    many.many_images(results, clients, latencies)


def bench_hundred(results, clients, rounds):
    many.hundred_runs(results, clients)


def bench_crowd(results, clients, rounds):
    many.many_clients(results, clients)


def drained(client, *arguments):
    process = subprocess.Popen([*client.command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=client.environment, bufsize=0)
    size = 0
    while data := process.stdout.read(1 << 20):
        size += len(data)
    if process.wait():
        sys.exit(f'{client.name} {arguments}: {process.returncode}')
    return size


def printed(folder, size):
    """A file of lines and the arguments that have a container print it."""
    data = Path(folder) / f'data{size}'
    data.write_bytes((b'%078d\n' % 7) * (size // 79) + b'x' * (size % 79 - 1) + b'\n')
    return ['--network', 'none', '-v', f'{data}:/data:ro', IMAGE, 'cat', '/data']


def bench_throughput(results, clients, rounds):
    # Without a log a run's own time would count as much as the bytes, so there are more of them.
    for label, size, options in (('output to the client', 100_000_000, []), ('output to the client, no log', 400_000_000, ['--log-driver', 'none'])):
        with tempfile.TemporaryDirectory() as folder:
            print_it = printed(folder, size)

            def output(client, _):
                begin = time.perf_counter()
                got = drained(client, 'run', '--rm', *options, *print_it)
                if got != size:
                    sys.exit(f'{client.name}: {got} bytes of {size}')
                return size / 1e6 / (time.perf_counter() - begin)
            results.add(label, 'MB/s', less_is_better=False, **rotated(clients, 3, output))
    size = 100_000_000
    write, read = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        print_it = printed(folder, size)
        for name, client in clients.items():
            begin = time.perf_counter()
            client.ok('run', '-d', '--name', 'written', *print_it)
            client.ok('wait', 'written', timeout=300)
            write[name] = size / 1e6 / (time.perf_counter() - begin)
            values = []
            for _ in range(3):
                begin = time.perf_counter()
                if drained(client, 'logs', 'written') != size:
                    sys.exit(f'{name}: the log is not whole')
                values.append(size / 1e6 / (time.perf_counter() - begin))
            read[name] = statistics.median(values)
            client.ok('rm', '-f', 'written')
    results.add('log of 100 MB written', 'MB/s', less_is_better=False, **write)
    results.add('log of 100 MB read', 'MB/s', less_is_better=False, **read)


def bench_networks(results, clients, rounds):
    networks.measure(results, clients, rounds)


def bench_names(results, clients, rounds):
    networks.names(results, clients)


def bench_overlay(results, clients, rounds):
    with tempfile.TemporaryDirectory() as home:
        overlays.measure(results, home)


def bench_containerd(results, clients, rounds):
    container_daemons.measure(results, rounds)


def bench_pull(results, clients, rounds):
    found, packed = pulls.times(min(rounds, 3))
    results.add(f'pull and unpack, {packed:.0f} MB gzip in 6 layers', 's', **found['wall'])
    results.add('the same, CPU', 's', **found['cpu'])


def bench_build(results, clients, rounds):
    cold, cached = builds.twelve_steps(clients, min(rounds, 10))
    results.add('build of 12 steps, cold', 'ms', **cold)
    results.add('build of 12 steps, all cached', 'ms', **cached)
    results.add(f'{len(builds.CORPUS)} Dockerfiles, 4 at a time', 's', **builds.corpus({n: c.engine for n, c in clients.items()}))
    labels = ('first build', 'second build, nothing changed', 'third build, 10 files changed')
    for label, (megabytes, seconds) in zip(labels, builds.context(clients['gantry'])):
        results.add(f'context of 20,000 files, 500 MB: {label}: sent', 'MB', gantry=megabytes)
        results.add(f'context of 20,000 files, 500 MB: {label}', 's', gantry=seconds)


def main():
    options = dict(a[2:].split('=', 1) for a in sys.argv[1:] if a.startswith('--'))
    chosen = [a for a in sys.argv[1:] if not a.startswith('--')] or FIGURES
    if set(chosen) - set(FIGURES):
        sys.exit(f'bench: there are {FIGURES}')
    results, rounds = Results(), max(15, int(options.get('rounds', 15)))
    with contextlib.ExitStack() as undo:
        home = undo.enter_context(tempfile.TemporaryDirectory())
        clients = {}
        if not set(chosen) <= {'runtime', 'overlay', 'containerd', 'pull'}:
            peer = Peer(20)
            undo.callback(peer.destroy)
            peer.start()
            peer.load_image()
            peer_program = 'docker-new' if 'docker-new' in programs() else 'docker'
            if not options.get('peer-only'):
                stack = Stack(20)
                undo.callback(stack.destroy)
                stack.start()
                clients['gantry'] = Client('gantry', stack, home)
                clients['gantry'].ok('load', '-i', places.IMAGE_TAR)
            else:
                clients['gantry'] = Client(peer_program, peer, home)
            if not options.get('peer-only'):  # that one is for work on this file
                clients['docker'] = Client(peer_program, peer, home)
            until(lambda: all(c('ps').code == 0 for c in clients.values()))
        for figure in [f for f in FIGURES if f in chosen]:
            globals()[f'bench_{figure}'](results, clients, rounds)
    document = {'rows': results.rows, 'kernel': platform.release(), 'cpus': os.cpu_count(), 'time': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}
    folder = TREE / 'build/results'
    folder.mkdir(parents=True, exist_ok=True)
    Path(options.get('json', folder / 'bench.json')).write_text(json.dumps(document, indent=1))
    Path(options.get('markdown', folder / 'bench.md')).write_text(results.markdown() + '\n')
    print('\n' + results.markdown())


if __name__ == '__main__':
    main()
