# SPDX-License-Identifier: Apache-2.0
"""Rows about many containers and many clients, for bench/run.py."""
import hashlib
import io
import json
import statistics
import tarfile
import tempfile
import time

from harness.crowd import Crowd, in_threads, runs_at_once
from harness.engine import until
from harness.places import IMAGE

CONTAINERS = 500
RUNS = 100
IMAGES = 5000
CLIENTS = 64
CROWD_S = 120


def life_of_many(results, clients, latencies):
    """500 containers by four clients of the API: milliseconds a container; the list with all of them running; the
    daemon's restart under them, which gantry alone survives by default."""
    crowds = {name: Crowd(client.engine, CONTAINERS) for name, client in clients.items()}

    def step(verb):
        results.add(f'{CONTAINERS} containers, {verb}', 'ms each', **{name: getattr(crowd, verb)() for name, crowd in crowds.items()})
    step('create')
    step('start')
    latencies(results, clients, '/containers/json', f'containers/json with {CONTAINERS}')
    step('inspect')
    restarts(results, clients['gantry'].engine)
    step('stop')
    step('remove')


def restarts(results, stack):
    for how in ('stop', 'kill'):
        times = []
        for _ in range(5):
            stack.stop() if how == 'stop' else stack.kill('gantryd')
            begin = time.perf_counter()
            stack.start()
            running = len(json.loads(stack.api('GET', '/containers/json')[1]))
            times.append(time.perf_counter() - begin)
            assert running == CONTAINERS, running
        results.add(f'ready after {how} with {CONTAINERS} running', 's', gantry=statistics.median(times))


def hundred_runs(results, clients):
    """100 × run -d, and rm -f of them by one command."""
    removed, settled = {}, {}
    for at_once, label in ((1, 'one after the other'), (4, '4 at once')):
        taken = {}
        for name, client in clients.items():
            names = [f'hundred{at_once}-{number}' for number in range(RUNS)]
            taken[name], wrong = in_threads(RUNS, at_once, lambda n: client.ok('run', '-d', '--name', names[n], IMAGE, 'sleep', '1000000'))
            assert wrong == [], wrong
            begin = time.perf_counter()
            client.ok('rm', '-f', *names, timeout=300)
            removed[name] = time.perf_counter() - begin
            if name == 'gantry':
                until(lambda: not client.engine.leaks(), 120)
                settled[name] = time.perf_counter() - begin
        results.add(f'{RUNS} × run -d, {label}', 's', **taken)
    results.add(f'rm -f of {RUNS}', 's', **removed)
    results.add(f'rm -f of {RUNS}, until nothing is left of them', 's', **settled)


def many_clients(results, clients):
    found = {}
    for name, client in clients.items():
        found[name], wrong = runs_at_once(client, CLIENTS, CROWD_S)
        assert wrong == [], wrong[:3]
    results.add(f'run --rm by {CLIENTS} clients', '1/s', less_is_better=False, **found)


def many_images(results, clients, latencies):
    """5,000 images with a layer each, in one archive: its load, the list of them, the daemon's start."""
    with tempfile.NamedTemporaryFile(suffix='.tar') as archive:
        write_images(archive.name, IMAGES)
        taken = {}
        for name, client in clients.items():
            begin = time.perf_counter()
            client.ok('load', '-q', '-i', archive.name, timeout=3600)
            taken[name] = (time.perf_counter() - begin) / IMAGES * 1000
    results.add(f'load of {IMAGES} images', 'ms each', **taken)
    latencies(results, clients, '/images/json', f'images/json with {IMAGES}')
    stack, times = clients['gantry'].engine, []
    for _ in range(5):
        stack.stop()
        begin = time.perf_counter()
        stack.start()
        listed = len(json.loads(stack.api('GET', '/images/json')[1]))
        times.append(time.perf_counter() - begin)
        assert listed >= IMAGES, listed
    results.add(f'ready after stop with {IMAGES} images', 's', gantry=statistics.median(times))


def write_images(path, count):
    """An archive as `docker save` writes it."""
    with tarfile.open(path, 'w') as archive:
        def add(name, data):
            item = tarfile.TarInfo(name)
            item.size = len(data)
            archive.addfile(item, io.BytesIO(data))
        listed = []
        for number in range(count):
            layer = io.BytesIO()
            with tarfile.open(fileobj=layer, mode='w') as tar:
                item = tarfile.TarInfo(f'file-{number}')
                item.size = 100
                tar.addfile(item, io.BytesIO(f'{number:0100}'.encode()))
            data = layer.getvalue()
            config = json.dumps({'architecture': 'amd64', 'os': 'linux', 'config': {'Cmd': ['x']}, 'created': '2026-01-01T00:00:00Z',
                                 'rootfs': {'type': 'layers', 'diff_ids': ['sha256:' + hashlib.sha256(data).hexdigest()]}}).encode()
            name = hashlib.sha256(config).hexdigest() + '.json'
            add(f'{number}/layer.tar', data)
            add(name, config)
            listed.append({'Config': name, 'RepoTags': [f'many/image{number}:latest'], 'Layers': [f'{number}/layer.tar']})
        add('manifest.json', json.dumps(listed).encode())
