# SPDX-License-Identifier: Apache-2.0
"""kill -9 of gantryd at random moments while networks are made, joined, left and removed, and ports
are published and taken back: afterwards
records, containers and kernel agree (harness/fsck.py), and what a client was told is so."""
import json
import os
import random
import threading

import pytest

from harness import fsck, places
from harness.client import own_stack
from harness.places import IMAGE

POINTS = 120 if places.SOAK else 8


@pytest.fixture
def own(home):
    with own_stack(17, home) as client:
        yield client


def ask(client, method, path, body=None):
    """The status, or 0 when the engine was killed meanwhile."""
    try:
        return client.engine.api(method, path, json.dumps(body) if body is not None else None)[0]
    except OSError:
        return 0


class Joiner:
    """A container that joins and leaves networks; keeps what it was told."""

    def __init__(self, client, number, rng):
        self.client, self.rng, self.name = client, rng, f'joiner{number}'
        self.mine, self.told, self.over = f'net{number}', {}, threading.Event()
        self.port, self.published = {'81/tcp': [{'HostPort': str(28200 + number)}]}, ('Remove', 200)
        client.ok('run', '-d', '--name', self.name, '-p', f'{28100 + number}:80', IMAGE, 'sleep', '100000')
        self.thread = threading.Thread(target=self.loop)

    def loop(self):
        subnet = {'IPAM': {'Config': [{'Subnet': f'10.96.{self.name[-1]}.0/24'}]}}
        while not self.over.is_set():
            net = self.rng.choice([self.mine, 'shared', 'bridge'])
            verb = self.rng.choice(['connect', 'disconnect', 'connect', 'create', 'remove', 'restart', 'Add', 'Remove'])
            if verb == 'create':
                ask(self.client, 'POST', '/networks/create', {'Name': self.mine, **subnet})
            elif verb == 'remove':
                ask(self.client, 'DELETE', f'/networks/{self.mine}')
            elif verb == 'restart':
                ask(self.client, 'POST', f'/containers/{self.name}/restart?t=0')
            elif verb in ('Add', 'Remove'):
                before, self.published = self.published, (verb, None)
                status = ask(self.client, 'POST', f'/containers/{self.name}/update', {'GantryPublish': {verb: self.port}})
                # Refused: it is as it was.
                self.published = (verb, status) if status in (0, 200) else before
            else:
                self.told[net] = (verb, None)
                self.told[net] = (verb, ask(self.client, 'POST', f'/networks/{net}/{verb}', {'Container': self.name}))

    def untrue(self):
        found = json.loads(self.client.engine.api('GET', f'/containers/{self.name}/json')[1])
        entries = found['NetworkSettings']['Networks']
        if not found['State']['Running']:  # killed in the middle of a restart
            self.client.ok('start', self.name)
        verb, status = self.published
        bound, shown = found['HostConfig']['PortBindings'], found['NetworkSettings']['Ports']
        if status == 200 and ('81/tcp' in bound) != (verb == 'Add'):
            yield f'{self.name}: was told of {verb} of a port, and has {bound}'
        # Whatever it was told: what is recorded is published.
        if found['State']['Running'] and any(net != 'none' for net in entries) and ('81/tcp' in bound) != bool(shown.get('81/tcp')):
            yield f'{self.name}: has {bound} and publishes {shown}'
        for net, (verb, status) in self.told.items():
            if status == 200 and (net in entries) != (verb == 'connect'):
                yield f'{self.name}: was told of {verb} {net}, and has {list(entries)}'


def test_kills_while_networks_change(own):
    client, engine = own, own.engine
    rng = random.Random(int(os.environ.get('GANTRY_SEED', random.randrange(10**6))))
    client.ok('network', 'create', '--subnet', '10.96.100.0/24', 'shared')
    joiners = [Joiner(client, n, random.Random(rng.random())) for n in (1, 2)]
    for point in range(POINTS):
        victims = ('gantryd', 'gantry-proxy') if point % 3 == 2 else ('gantryd',)
        for joiner in joiners:
            joiner.over.clear()
            joiner.thread = threading.Thread(target=joiner.loop)
            joiner.thread.start()
        threading.Event().wait(0.05 + rng.random() * 0.4)
        engine.kill(*victims)
        for joiner in joiners:
            joiner.over.set()
            joiner.thread.join(60)
            assert not joiner.thread.is_alive()
        engine.start()
        assert fsck.settled_faults(engine) == [], f'point {point}'
        assert [w for j in joiners for w in j.untrue()] == [], f'point {point}'
    for joiner in joiners:
        client.ok('rm', '-f', joiner.name)
    client.ok('network', 'prune', '-f')
    assert fsck.settled_faults(engine) == []
