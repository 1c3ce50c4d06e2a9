# SPDX-License-Identifier: Apache-2.0
"""Links where icc is off, by packets: who is linked reaches the other's exposed ports, and nobody anything else.

What Debian's dockerd has too is proven on it (GANTRY_E2E=docker:peer)."""
import os
import signal

import pytest

from conftest import engines
from harness import packets
from harness.engine import until
from test_default_network import engine_with, space_of
from test_networks import api, sleeper

TCP, UDP = (80, 81, 82), (53, 54)
SIX = ['--ipv6', '--fixed-cidr-v6', 'fd5e:9::/64']
BACKENDS = {'gantry': [['--firewall-backend', 'nftables', *SIX], ['--firewall-backend', 'iptables', *SIX]], 'peer': [[]]}
CASES = [(kind, backend) for kind in engines() for backend in BACKENDS[kind]]


class Neighbours:
    """Containers of the default network, with servers inside that say who they are."""

    def __init__(self, client):
        self.client, self.servers = client, packets.Servers()
        self.spaces, self.addresses, self.addresses6 = {}, {}, {}

    def learn(self, name):
        network = api(self.client, 'GET', f'/containers/{name}/json')[1]['NetworkSettings']['Networks']['bridge']
        self.spaces[name] = space_of(self.client, name)
        self.addresses[name], self.addresses6[name] = network['IPAddress'], network['GlobalIPv6Address']
        for host in ('0.0.0.0', '::') if self.addresses6[name] else ('0.0.0.0',):
            self.servers.listen(self.spaces[name], name, TCP, UDP, host)
        return name

    def run(self, name, *options):
        return self.learn(sleeper(self.client, name, *options))

    def ask(self, source, protocol, target, port=None):
        """Of all families: 'yes' when the target answers and sees the source itself; what else comes."""
        found = set()
        for addresses in (self.addresses, self.addresses6):
            if not addresses[target]:
                continue
            if protocol == 'icmp':
                found.add(packets.ping(self.spaces[source], addresses[target]))
                continue
            # Silence may be a packet that is late.
            for _ in range(4):
                answer = packets.ask(self.spaces[source], protocol, addresses[target], port)
                if answer != 'no':
                    break
            found.add('yes' if answer == f'{target} {addresses[source]}' else answer)
        return ' '.join(sorted(found))


OPEN = [('web', 'tcp', 'db', 80), ('web', 'tcp', 'db', 81), ('web', 'udp', 'db', 53)]
SHUT = [('web', 'tcp', 'db', 82), ('web', 'udp', 'db', 54), ('web', 'icmp', 'db'), ('db', 'tcp', 'web', 80), ('db', 'icmp', 'web'),
        ('else', 'tcp', 'db', 80), ('else', 'udp', 'db', 53), ('else', 'icmp', 'db'), ('web', 'tcp', 'else', 80)]


def check(neighbours, opened=OPEN, shut=SHUT):
    got = packets.together([lambda row=row: (row, neighbours.ask(*row)) for row in (*opened, *shut)])
    assert [(row, answer) for row, answer in got if answer != ('yes' if row in opened else 'no')] == []


@pytest.mark.parametrize('kind,backend', CASES, ids=lambda value: value if isinstance(value, str) else ' '.join(value[:2]))
def test_who_is_linked(kind, backend, home):
    with engine_with(kind, 14, ['--icc=false', *backend], home) as client:
        engine = client.engine
        near = Neighbours(client)
        near.run('db', '--expose', '80', '--expose', '53/udp', '-p', '8090:81')
        near.run('web', '--link', 'db:store')
        near.run('else')
        check(near)
        if kind == 'gantry':
            # Another address, the same link; dockerd 20.10 leaves it shut until the other one is started again, too.
            client.ok('stop', '-t', '0', 'db')
            near.run('first')
            client.ok('start', 'db')
            near.learn('db')
            check(near)
            for stop in (engine.stop, lambda: engine.kill('gantryd')):
                stop()
                check(near)
                engine.start()
                check(near)
            os.kill(engine.pid('gantryd'), signal.SIGHUP)
            check(near)
            client.ok('update', '--publish-add', '8091:82', 'db')
            check(near, [*OPEN, ('web', 'tcp', 'db', 82)], [row for row in SHUT if row != ('web', 'tcp', 'db', 82)])
            client.ok('update', '--publish-rm', '8091:82', 'db')
        client.ok('rm', '--link', '/web/store')
        check(near, [], OPEN + SHUT)
        assert 'store' not in client.ok('exec', 'web', 'cat', '/etc/hosts')


@pytest.mark.only('gantry')
@pytest.mark.parametrize('backend', BACKENDS['gantry'], ids=' '.join)
def test_a_link_goes_with_its_container(backend, home):
    """Who gets the address of a container that was linked to is not reached by the link."""
    with engine_with('gantry', 14, ['--icc=false', *backend], home) as client:
        engine = client.engine
        near = Neighbours(client)
        near.run('db', '--expose', '80')
        near.run('web', '--link', 'db')
        assert near.ask('web', 'tcp', 'db', 80) == 'yes'
        rules = lambda: packets.run('nft', 'list', 'ruleset', space=engine.names.netns)
        assert near.addresses['db'] + ' . tcp' in rules() or near.addresses['db'] + '/32' in rules() or \
            f"ip daddr {near.addresses['db']}" in rules()
        client.ok('rm', '-f', 'db')
        assert near.addresses['db'] not in rules() and near.addresses6['db'] not in rules()

        def again():
            name = sleeper(client, 'thief')
            if api(client, 'GET', f'/containers/{name}/json')[1]['NetworkSettings']['IPAddress'] == near.addresses['db']:
                return name
            client.ok('rm', '-f', name)
            return None
        near.learn(until(again, 30))
        assert near.ask('web', 'tcp', 'thief', 80) == 'no'
        assert client('create', '--name', 'late', '--link', 'db', 'nosuch').code != 0
