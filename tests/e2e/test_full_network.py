# SPDX-License-Identifier: Apache-2.0
"""A network to its last port: a thousand real containers on one bridge, then the kernel's 1,023rd and what comes after.
Without GANTRY_SOAK a sample of them. The last port by itself: test_live_ports.py."""
import json
import resource
import statistics

import pytest

from harness import places
from harness.client import own_stack
from harness.crowd import SLEEPER, Crowd, answered, note
from harness.places import IMAGE

PORTS = 1023
STEPS = (500, 500) if places.SOAK else (16, 16)
BODY = {**SLEEPER, 'HostConfig': {'NetworkMode': 'full'}}


@pytest.fixture
def usual_limit():
    """As many descriptors as a daemon gets that a shell or systemd starts: what needs more asks for it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def attach_time(engine, count=9):
    """Milliseconds that the engine's own trace gives for the network of a start, one container after the other."""
    times = []
    for number in range(count):
        ident = json.loads(answered(engine, 201, 'POST', f'/containers/create?name=probe-{number}', BODY))['Id']
        answered(engine, 204, 'POST', f'/containers/{ident}/start')
        steps = json.loads(answered(engine, 200, 'GET', f'/containers/{ident}/trace'))
        times += [(s['End'] - s['Begin']) / 1e6 for s in steps['Steps'] if s['Step'] == 'network']
        answered(engine, 204, 'DELETE', f'/containers/{ident}?force=1')
    return statistics.median(times)


def test_a_network_to_its_last_port(home, usual_limit):
    with own_stack(25, home) as client:
        engine = client.engine
        client.ok('network', 'create', '--subnet', '10.95.0.0/16', 'full')
        took, there = {0: attach_time(engine)}, 0
        for step in STEPS:
            crowd = Crowd(engine, step, prefix=f'from{there}')
            crowd.create(BODY)
            crowd.start()
            there += step
            took[there] = attach_time(engine)
        on_it = json.loads(answered(engine, 200, 'GET', '/networks/full'))['Containers']
        assert len({c['IPv4Address'] for c in on_it.values()}) == there
        # They reach each other, and know each other's names.
        assert client('exec', 'from0-0', 'ping', '-c', '1', '-W', '5', f'from{STEPS[0]}-{STEPS[1] - 1}').code == 0
        note('a start\'s network on one bridge, median milliseconds with so many containers on it: ' +
             ', '.join(f'{count}: {ms:.2f}' for count, ms in took.items()))
        if not places.SOAK:
            return
        last = Crowd(engine, PORTS - there, prefix='last')
        last.create(BODY)
        last.start()
        for _ in range(3):
            done = client('run', '--rm', '--network', 'full', IMAGE, 'true')
            assert done.code == 125 and 'a bridge takes at most 1,023 containers' in done.err
        engine.restart()
        assert len(json.loads(answered(engine, 200, 'GET', '/networks/full'))['Containers']) == PORTS
        client.ok('rm', '-f', 'last-0')
        client.ok('run', '--rm', '--network', 'full', IMAGE, 'true')
