# SPDX-License-Identifier: Apache-2.0
"""Rows about many containers and many clients, for bench/run.py."""
import json
import statistics
import time

from harness.crowd import Crowd, in_threads, runs_at_once
from harness.engine import until
from harness.places import IMAGE

CONTAINERS = 500
RUNS = 100
CLIENTS = 64
CROWD_S = 20


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
