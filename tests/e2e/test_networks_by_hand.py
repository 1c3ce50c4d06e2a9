# SPDX-License-Identifier: Apache-2.0
"""Somebody takes things of running networks away by hand: interfaces, bridges, namespaces' entries, rules. A restart of the
daemon makes it whole, what can't be made whole is taken off, and nothing is left of either."""
import subprocess

import pytest

from harness import fsck, packets
from harness.client import own_stack
from harness.engine import until
from harness.places import IMAGE
from test_networks import api, sleeper

NET, BRIDGE = 'hand', 'gthand'


@pytest.fixture(scope='module')
def own(home):
    with own_stack(14, home) as client:
        yield client


@pytest.fixture
def two(own):
    """Two containers on a network: the first publishes a port, at which it says its name."""
    own.ok('network', 'create', '--subnet', '10.94.1.0/24', '-o', f'com.docker.network.bridge.name={BRIDGE}', NET)
    servers = packets.Servers()
    try:
        own.ok('run', '-d', '--name', 'one', '--network', NET, '-p', '18400:80', IMAGE, 'sleep', '100000')
        sleeper(own, 'two', '--network', NET)
        servers.listen(space(own, 'one'), 'one', (80,))
        yield own
    finally:
        servers.close()
        own('rm', '-f', 'one', 'two')
        own('network', 'rm', NET)
    assert fsck.settled_faults(own.engine) == []
    assert BRIDGE not in own.engine.inside('ip', '-o', 'link').stdout


def space(client, name):
    return f"/proc/{client.inspect(name, '{{.State.Pid}}')}/ns/net"


def whole(client):
    """Neighbours reach each other by name, the host the published port, and both are on the network."""
    on_it = api(client, 'GET', f'/networks/{NET}')[1]['Containers']
    return {c['Name'] for c in on_it.values()} == {'one', 'two'} and \
        client('exec', 'two', 'ping', '-c', '1', '-W', '5', 'one').code == 0 and \
        packets.ask(client.engine.names.netns, 'tcp', '127.0.0.1', 18400, 5).startswith('one') and \
        packets.ask(client.engine.names.netns, 'tcp', '10.94.1.1', 18400, 5).startswith('one')


def port_of(client, name):
    """The host's end of the container's interface."""
    number = client.ok('exec', name, 'cat', '/sys/class/net/eth0/iflink')
    for line in client.engine.inside('ip', '-o', 'link').stdout.splitlines():
        if line.startswith(f'{number}: '):
            return line.split()[1].partition('@')[0]
    raise AssertionError(f'no interface {number}')


def remove_port(client):
    client.engine.inside('ip', 'link', 'del', port_of(client, 'one'))


def take_port_off_its_bridge(client):
    client.engine.inside('ip', 'link', 'set', port_of(client, 'one'), 'nomaster')


def remove_bridge(client):
    client.engine.inside('ip', 'link', 'del', BRIDGE)


def remove_rules(client):
    client.engine.inside('nft', 'delete', 'table', 'ip', f'gantry-{client.engine.names.bridge}')


def remove_names(client):
    packets.run('nft', 'delete', 'table', 'ip', 'gantry-dns', space=space(client, 'two'))


@pytest.mark.parametrize('damage', [remove_port, take_port_off_its_bridge, remove_bridge, remove_rules, remove_names],
                         ids=lambda damage: damage.__name__)
def test_a_restart_makes_it_whole(two, damage):
    assert whole(two)
    damage(two)
    two.engine.restart()
    assert until(lambda: whole(two), 60)


@pytest.mark.parametrize('damage', [remove_port, remove_bridge, remove_rules, remove_names], ids=lambda damage: damage.__name__)
def test_what_is_damaged_can_be_removed(two, damage):
    damage(two)
    assert two('rm', '-f', 'one', 'two').code == 0
    assert two('network', 'rm', NET).code == 0


def test_a_namespace_that_others_cleaned_up(two):
    """The entry is gone, the namespace lives with its container, and goes with it."""
    ident = two.inspect('one', '{{.Id}}')
    subprocess.run(['umount', f'{two.engine.names.state}/netns/{ident}'], check=True)
    two.ok('rm', '-f', 'one')
    two.ok('run', '-d', '--name', 'one', '--network', NET, '-p', '18400:80', IMAGE, 'sleep', '100000')
    assert two('exec', 'two', 'ping', '-c', '1', '-W', '5', 'one').code == 0


def test_a_bridge_that_is_gone_is_named(two):
    remove_bridge(two)
    done = two('run', '--rm', '--network', NET, IMAGE, 'true')
    assert done.code == 125 and done.err.count('rror') <= 2 and NET in done.err
    two.engine.restart()
    assert two('run', '--rm', '--network', NET, IMAGE, 'true').code == 0


def test_no_subnet_left(own):
    """Of pools that are all given away; the next one that is free is taken again."""
    engine = own.engine
    engine.stop()
    engine.arguments = ['--default-address-pool', 'base=10.93.0.0/23,size=24']
    engine.start()
    try:
        own.ok('network', 'create', 'p1')
        own.ok('network', 'create', 'p2')
        done = own('network', 'create', 'p3')
        assert done.code == 1 and 'all predefined address pools have been fully subnetted' in done.err
        own.ok('network', 'rm', 'p1')
        own.ok('network', 'create', 'p3')
        assert api(own, 'GET', '/networks/p3')[1]['IPAM']['Config'][0]['Subnet'] == '10.93.0.0/24'
    finally:
        own('network', 'rm', 'p1', 'p2', 'p3')
        engine.stop()
        engine.arguments = []
        engine.start()


def test_no_address_left(own):
    own.ok('network', 'create', '--subnet', '10.94.2.0/29', '--ip-range', '10.94.2.4/31', '--gateway', '10.94.2.1', 'small')
    try:
        for name in ('s1', 's2'):
            sleeper(own, name, '--network', 'small')
        done = own('run', '-d', '--name', 's3', '--network', 'small', IMAGE, 'sleep', '1000')
        assert done.code == 125 and "no available IPv4 addresses on this network's address pools: small (" in done.err
        own.ok('rm', '-f', 's1')
        own.ok('start', 's3')
    finally:
        own('rm', '-f', 's1', 's2', 's3')
        own.ok('network', 'rm', 'small')
