# SPDX-License-Identifier: Apache-2.0
"""Networks of the driver macvlan, by packets: a host with its containers, another host on the same cable.

What Debian's dockerd can do is proven on it (GANTRY_E2E=docker:peer); a kernel may lack dummies and VLANs."""
import contextlib
import os

import pytest

from conftest import engines
from harness import packets
from harness.client import Client
from harness.engine import Peer, Stack, until
from harness.places import IMAGE, IMAGE_TAR
from test_networks import api, entries, links, message

FAR = '198.51.100.1'  # behind the other host, who is the gateway


class World:
    """Two cables to one other host: `cable` for most networks, `wire` for what wants a parent for itself."""

    def __init__(self, client, over, driver='macvlan'):
        self.client, self.host, self.driver = client, client.engine.names.netns, driver
        self.servers = packets.Servers()
        over.callback(self.servers.close)
        self.other = over.enter_context(packets.other_host(self.host, f'{client.engine.names.netns_name}-o'))
        packets.run('ip', 'link', 'add', 'wire', 'type', 'veth', 'peer', 'name', 'wire', 'netns', f'{client.engine.names.netns_name}-o', space=self.host)
        for space, address in ((self.host, '192.0.3.1/24'), (self.other, '192.0.3.2/24')):
            packets.run('ip', 'addr', 'add', address, 'dev', 'wire', space=space)
            packets.run('ip', 'link', 'set', 'wire', 'up', space=space)
        packets.run('ip', 'addr', 'add', f'{FAR}/32', 'dev', 'lo', space=self.other)
        packets.run('ip', 'addr', 'add', 'fd5e:192::2/64', 'dev', 'cable', 'nodad', space=self.other)
        self.servers.listen(self.other, 'other', (80,))
        self.servers.listen(self.host, 'host', (80,))

    def network(self, name, *options, parent='cable', subnet='192.0.2.0/24', gateway='192.0.2.2'):
        given = ['--subnet', subnet, '--aux-address', f"host={subnet.partition('/')[0].removesuffix('0')}1"] + (['--gateway', gateway] if gateway else []) + (['-o', f'parent={parent}'] if parent else [])
        self.client.ok('network', 'create', '-d', self.driver, *given, *options, name)
        return name

    def container(self, name, network, *options):
        self.client.ok('run', '-d', '--name', name, '--network', network, *options, IMAGE, 'sleep', '100000')
        self.serve(name)
        return name

    def space(self, name):
        return f"/proc/{self.client.inspect(name, '{{.State.Pid}}')}/ns/net"

    def serve(self, name):
        self.servers.listen(self.space(name), name, (80,))

    def address(self, name):
        return next(e['IPAddress'] for e in entries(self.client, name).values() if e['IPAddress'])

    def asks(self, source, address):
        """Silence is asked again: a packet may be late on a busy machine."""
        space = {'host': self.host, 'other': self.other}.get(source) or self.space(source)
        return next((said for said in (packets.ask(space, 'tcp', address, 80, 2) for _ in range(3)) if said != 'no'), 'no')

    def silent(self, source, address):
        space = {'host': self.host, 'other': self.other}.get(source) or self.space(source)
        return packets.ask(space, 'tcp', address, 80) == 'no' and packets.ping(space, address) == 'no'

    def remove(self, *names):
        for name in names:
            (self.client.ok('network', 'rm', name) if name.startswith('n-') else self.client.ok('rm', '-f', name))


@contextlib.contextmanager
def world_of(kind, home, driver):
    engine = (Stack if kind == 'gantry' else Peer)(number=24)
    try:
        engine.start()
        client = Client('gantry' if kind == 'gantry' else 'docker', engine, home)
        client.ok('load', '-i', IMAGE_TAR)
        with contextlib.ExitStack() as over:
            yield World(client, over, driver)
    finally:
        left = engine.destroy()
    assert [str(t) for t in left] == []


@pytest.fixture(scope='module', params=engines())
def world(request, home):
    with world_of(request.param, home, 'macvlan') as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_stays(world):
    """One that failed does not make the others fail."""
    yield
    for name in world.client.ok('ps', '-aq').split():
        world.client('rm', '-f', name)
    for name in world.client.ok('network', 'ls', '-q', '--filter', 'type=custom').split():
        world.client('network', 'rm', name)


def kernel_makes(*link):
    """Whether it has interfaces of that kind."""
    command = f'ip link add v0 type veth peer name v1 && ip link add link v0 name v2 type {" ".join(link)}'
    return packets.run('unshare', '-n', 'sh', '-c', f'({command}) >/dev/null 2>&1 && echo yes', check=False).strip() == 'yes'


def macvlans(world):
    """What is left of them on the host; those of containers are in their namespaces."""
    return [line for line in packets.run('ip', '-d', '-o', 'link', space=world.host).splitlines() if 'macvlan' in line]


def only_gantry(world):
    if world.client.engine.kind == 'p':
        pytest.skip('dockerd 20.10 can not, or this kernel denies it')


def test_bridge_mode(world):
    client = world.client
    world.network('n-lan')
    a = world.container('ma', 'n-lan', '--ip', '192.0.2.11', '--mac-address', '02:aa:00:00:00:11')
    b = world.container('mb', 'n-lan')
    entry = entries(client, a)['n-lan']
    assert (entry['IPAddress'], entry['Gateway'], entry['MacAddress'], entry['IPPrefixLen']) == ('192.0.2.11', '192.0.2.2', '02:aa:00:00:00:11', 24)
    shown = client.ok('exec', a, 'ip', 'addr', 'show', 'eth0')
    assert '192.0.2.11/24' in shown and '02:aa:00:00:00:11' in shown
    assert 'default via 192.0.2.2' in client.ok('exec', a, 'ip', 'route')
    # Members of one link, and of the cable; the container is its own host to the other.
    assert world.asks(b, '192.0.2.11') == f'ma {world.address(b)}'
    assert world.asks('other', '192.0.2.11') == 'ma 192.0.2.2'
    assert world.asks(a, '192.0.2.2') == 'other 192.0.2.11'
    assert world.asks(a, FAR) == 'other 192.0.2.11'
    # The parent's own host is the one machine that they can't reach.
    assert world.silent('host', '192.0.2.11') and world.silent(a, '192.0.2.1')
    # Names are told as on any network of a user.
    assert client('exec', a, 'ping', '-c', '1', '-W', '3', b).code == 0
    listed = api(client, 'GET', '/networks/n-lan')[1]
    assert (listed['Driver'], listed['Scope'], listed['Options']['parent']) == ('macvlan', 'local', 'cable')
    assert {c['Name'] for c in listed['Containers'].values()} == {a, b} and macvlans(world) == []
    # The address and the MAC are free at once.
    world.remove(a)
    again = world.container('ma', 'n-lan', '--ip', '192.0.2.11', '--mac-address', '02:aa:00:00:00:11')
    assert world.asks('other', '192.0.2.11') == 'ma 192.0.2.2'
    world.remove(again, b, 'n-lan')
    assert world.silent('other', '192.0.2.11')


@pytest.mark.parametrize('mode', ['private', 'vepa'])
def test_modes_that_keep_neighbours_apart(world, mode):
    world.network('n-apart', '-o', f'macvlan_mode={mode}')
    a, b = world.container('ma', 'n-apart', '--ip', '192.0.2.21'), world.container('mb', 'n-apart', '--ip', '192.0.2.22')
    assert world.silent(a, '192.0.2.22') and world.silent(b, '192.0.2.21')
    assert world.asks('other', '192.0.2.21') == 'ma 192.0.2.2' and world.asks(b, '192.0.2.2') == 'other 192.0.2.22'
    world.remove(a, b, 'n-apart')


def test_passthru(world):
    client = world.client
    world.network('n-pass', '-o', 'macvlan_mode=passthru', parent='wire', subnet='192.0.3.0/24', gateway='192.0.3.2')
    a = world.container('ma', 'n-pass', '--ip', '192.0.3.11')
    assert world.asks('other', '192.0.3.11') == 'ma 192.0.3.2'
    mac = packets.run('ip', '-o', 'link', 'show', 'wire', space=world.host).split('link/ether ')[1].split()[0]
    assert client.ok('exec', a, 'cat', '/sys/class/net/eth0/address') == mac
    if client.engine.kind == 's':
        assert entries(client, a)['n-pass']['MacAddress'] == mac
    # The parent is this one's alone.
    done = client('run', '-d', '--name', 'mb', '--network', 'n-pass', IMAGE, 'true')
    assert done.code == 125 and 'failed to create the macvlan port' in done.err
    client.ok('rm', '-f', 'mb')
    status, said = message(client, 'POST', '/networks/create', {'Name': 'n-more', 'Driver': 'macvlan', 'Options': {'parent': 'wire'},
                                                                'IPAM': {'Config': [{'Subnet': '192.0.4.0/24'}]}})
    if client.engine.kind == 's':  # dockerd 20.10 has other words
        ident = client.ok('network', 'inspect', '-f', '{{.Id}}', 'n-pass')
        assert (status, said) == (500, f'macvlan network {ident} is already using parent interface wire in mode passthru')
    world.remove(a, 'n-pass')


def test_networks_of_one_parent(world):
    """Each has its own subnet; one that is internal has no way out but its link."""
    only_gantry(world)  # dockerd 20.10 has one network a parent, later ones many
    world.network('n-one')
    world.network('n-two', '--internal', subnet='192.0.5.0/24', gateway='192.0.5.3')
    packets.run('ip', 'addr', 'add', '192.0.5.200/24', 'dev', 'cable', space=world.other)
    a, b, c = world.container('ma', 'n-one'), world.container('mb', 'n-two'), world.container('mc', 'n-two')
    assert 'default' not in world.client.ok('exec', b, 'ip', 'route')
    assert world.asks(b, world.address(c)).startswith('mc ') and world.asks(b, '192.0.5.200').startswith('other ')
    assert packets.ask(world.space(b), 'tcp', FAR, 80) == 'no' and world.asks(a, FAR).startswith('other ')
    # Live: taken off one and put on another.
    world.client.ok('network', 'disconnect', 'n-one', a)
    assert 'eth0' not in world.client.ok('exec', a, 'ip', '-o', 'link')
    world.client.ok('network', 'connect', '--ip', '192.0.5.77', 'n-two', a)
    assert world.asks(c, '192.0.5.77').startswith('ma ')
    packets.run('ip', 'addr', 'del', '192.0.5.200/24', 'dev', 'cable', space=world.other)
    world.remove(a, b, c, 'n-one', 'n-two')


@pytest.mark.skipif(not kernel_makes('vlan', 'id', '10'), reason='this kernel has no VLANs')
def test_a_vlan_is_made_for_its_networks(world):
    """`cable.10` carries frames with that tag, and goes with the network it was made for."""
    packets.run('ip', 'link', 'add', 'link', 'cable', 'name', 'tagged', 'type', 'vlan', 'id', '10', space=world.other)
    packets.run('ip', 'addr', 'add', '192.0.10.2/24', 'dev', 'tagged', space=world.other)
    packets.run('ip', 'link', 'set', 'tagged', 'up', space=world.other)
    world.network('n-tag', parent='cable.10', subnet='192.0.10.0/24', gateway='192.0.10.2')
    assert 'vlan protocol 802.1Q id 10' in packets.run('ip', '-d', 'link', 'show', 'cable.10', space=world.host)
    a, b = world.container('ma', 'n-tag', '--ip', '192.0.10.11'), world.container('mb', 'n-tag')
    assert world.asks('other', '192.0.10.11') == 'ma 192.0.10.2' and world.asks(b, '192.0.10.11') == f'ma {world.address(b)}'
    assert world.asks(a, FAR) == 'other 192.0.10.11'
    # Without the tag nobody is there.
    packets.run('ip', 'link', 'set', 'tagged', 'down', space=world.other)
    packets.run('ip', 'addr', 'add', '192.0.10.3/24', 'dev', 'cable', space=world.other)
    assert world.silent('other', '192.0.10.11')
    packets.run('ip', 'addr', 'del', '192.0.10.3/24', 'dev', 'cable', space=world.other)
    packets.run('ip', 'link', 'del', 'tagged', space=world.other)
    world.remove(a, b, 'n-tag')
    assert 'cable.10' not in packets.run('ip', 'link', space=world.host)


def test_two_families_and_reserved_addresses(world):
    client = world.client
    world.network('n-six', '--ipv6', '--subnet', 'fd5e:192::/64', '--gateway', 'fd5e:192::2', '--aux-address', 'printer=192.0.2.3')
    a, b = world.container('ma', 'n-six'), world.container('mb', 'n-six')
    for name in (a, b):
        entry = entries(client, name)['n-six']
        assert entry['IPAddress'] not in ('192.0.2.2', '192.0.2.3') and entry['IPAddress'].startswith('192.0.2.')
        assert entry['GlobalIPv6Address'].startswith('fd5e:192::') and entry['IPv6Gateway'] == 'fd5e:192::2'
    six = entries(client, a)['n-six']['GlobalIPv6Address']
    assert 'default via fd5e:192::2' in client.ok('exec', a, 'ip', '-6', 'route')
    reached = lambda: packets.ping(world.other, six, 2) == packets.ping(world.space(b), six, 2) == 'yes'
    until(reached)
    world.remove(a, b, 'n-six')


def test_several_subnets(world):
    """Addresses come from the first that has one, by name from any; each has its own gateway."""
    client = world.client
    client.ok('network', 'create', '-d', 'macvlan', '-o', 'parent=cable', '--subnet', '192.0.2.0/29', '--gateway', '192.0.2.2', '--aux-address', 'host=192.0.2.1',
              '--subnet', '192.0.9.0/24', '--gateway', '192.0.9.2', 'n-wide')
    packets.run('ip', 'addr', 'add', '192.0.9.2/24', 'dev', 'cable', space=world.other)
    names = [world.container(f'm{name}', 'n-wide') for name in 'abcdef']
    found = [world.address(name) for name in names]
    assert sorted(a.rpartition('.')[0] for a in found) == ['192.0.2'] * 4 + ['192.0.9'] * 2 and len(set(found)) == 6
    named = world.container('mg', 'n-wide', '--ip', '192.0.9.99')
    assert 'default via 192.0.9.2' in client.ok('exec', named, 'ip', 'route')
    assert world.asks('other', '192.0.9.99') == 'mg 192.0.9.2' and world.asks(named, FAR) == 'other 192.0.9.99'
    packets.run('ip', 'addr', 'del', '192.0.9.2/24', 'dev', 'cable', space=world.other)
    world.remove(*names, named, 'n-wide')


def test_beside_a_bridge(world):
    """Ports are published at the bridge; the way out is that of the higher priority."""
    client = world.client
    world.network('n-side')
    client.ok('network', 'create', '--subnet', '10.94.1.0/24', 'n-bridge')
    client.ok('run', '-d', '--name', 'ma', '--network', 'n-bridge', '-p', '18300:80', IMAGE, 'sleep', '100000')
    client.ok('network', 'connect', '--ip', '192.0.2.31', 'n-side', 'ma')
    world.serve('ma')
    assert world.asks('other', '192.0.2.31') == 'ma 192.0.2.2'
    assert world.asks('host', world.client.inspect('ma', '{{(index .NetworkSettings.Networks "n-bridge").IPAddress}}')).startswith('ma ')
    assert packets.ask(world.host, 'tcp', '127.0.0.1', 18300, 5).startswith('ma ')
    world.remove('ma', 'n-side', 'n-bridge')


def test_published_ports_are_not(world):
    """A container that is a machine of its own publishes nothing."""
    world.network('n-ports')
    a = world.container('ma', 'n-ports', '-p', '18301:80')
    assert world.client('port', a).text == ''
    assert packets.ask(world.host, 'tcp', '127.0.0.1', 18301) == 'refused'
    world.remove(a, 'n-ports')


REFUSED = [
    ({'parent': 'cable', 'macvlan_mode': 'foo'}, "requested macvlan mode 'foo' is not valid, 'bridge' mode is the macvlan driver default"),
    ({'parent': 'lo'}, 'loopback interface is not a valid macvlan parent link'),
    ({'parent': 'nosuch'}, 'invalid subinterface vlan name nosuch, example formatting is eth0.10'),
    ({'parent': 'nosuch.10'}, '-o parent interface was not found on the host: nosuch'),
    ({'parent': 'cable.x'}, 'unable to parse a valid vlan id from: x (ex. eth0.10 for vlan 10)'),
    ({'parent': 'cable.5000'}, 'vlan id must be between 1-4094, received: 5000'),
    ({'parent': 'cable.1.2'}, 'required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received cable.1.2'),
]


@pytest.mark.parametrize('options,words', REFUSED, ids=[str(o) for o, _ in REFUSED])
def test_refused(world, options, words):
    before = links(world.client)
    status, said = message(world.client, 'POST', '/networks/create', {'Name': 'n-no', 'Driver': 'macvlan', 'Options': options,
                                                                      'IPAM': {'Config': [{'Subnet': '192.0.6.0/24'}]}})
    # dockerd 20.10 has a word too many.
    assert (status, said.replace('interface does was', 'interface was')) == (500, words)
    # The interfaces of containers before go in the kernel's own time: nothing new is there.
    assert set(links(world.client)) <= set(before) and 'n-no' not in world.client.ok('network', 'ls')


def test_without_a_parent(world):
    only_gantry(world)
    before = links(world.client)
    world.network('n-alone', parent='', subnet='192.0.7.0/24', gateway='192.0.7.3')
    a, b = world.container('ma', 'n-alone'), world.container('mb', 'n-alone')
    assert world.asks(a, world.address(b)).startswith('mb ') and 'default' not in world.client.ok('exec', a, 'ip', 'route')
    world.remove(a, b, 'n-alone')
    assert set(links(world.client)) <= set(before)


def test_daemon_killed_and_things_taken_away(world):
    only_gantry(world)
    client, engine = world.client, world.client.engine
    world.network('n-kill')
    client.ok('network', 'create', '-d', 'macvlan', '--subnet', '192.0.7.0/24', 'n-alone')
    a, b = world.container('ma', 'n-kill', '--ip', '192.0.2.41'), world.container('mb', 'n-alone')
    index = client.ok('exec', a, 'cat', '/sys/class/net/eth0/ifindex')
    engine.kill('gantryd')
    assert world.asks('other', '192.0.2.41') == 'ma 192.0.2.2'
    engine.start()
    assert client.ok('exec', a, 'cat', '/sys/class/net/eth0/ifindex') == index and world.asks('other', '192.0.2.41') == 'ma 192.0.2.2'
    refused = client('run', '--rm', '--network', 'n-kill', '--ip', '192.0.2.41', IMAGE, 'true')
    assert refused.code == 125 and 'Address already in use' in refused.err
    # The interface inside is gone: it is there again after the next start, and works.
    packets.run('ip', 'link', 'del', 'eth0', space=world.space(a))
    engine.restart()
    assert world.asks('other', '192.0.2.41') == 'ma 192.0.2.2'
    # Killed in the middle of a container's life and its end.
    engine.kill('gantryd')
    engine.start()
    world.remove(a, b, 'n-alone')
    # The parent is gone: that is said, and the daemon starts.
    packets.run('ip', 'link', 'del', 'wire', space=world.host)
    client.ok('network', 'rm', 'n-kill')
    packets.run('ip', 'link', 'add', 'wire', 'type', 'veth', 'peer', 'name', 'wire', 'netns', os.path.basename(world.other), space=world.host)
    world.network('n-kill', parent='wire')
    packets.run('ip', 'link', 'del', 'wire', space=world.host)
    engine.restart()
    done = client('run', '--rm', '--network', 'n-kill', IMAGE, 'true')
    assert done.code == 125 and 'the requested parent interface wire was not found on the Docker host' in done.err
    client.ok('network', 'rm', 'n-kill')


def test_no_trace_of_failures(world):
    """A parent that is a bridge's port can't be one: the error is clear, and address and record are free."""
    only_gantry(world)
    client = world.client
    packets.run('ip', 'link', 'add', 'brx', 'type', 'bridge', space=world.host)
    packets.run('ip', 'link', 'add', 'port', 'type', 'veth', 'peer', 'name', 'troop', space=world.host)
    packets.run('ip', 'link', 'set', 'port', 'master', 'brx', space=world.host)
    world.network('n-busy', parent='port', subnet='192.0.8.0/29', gateway='192.0.8.3')
    for _ in range(10):
        done = client('run', '--rm', '--network', 'n-busy', IMAGE, 'true')
        assert done.code == 125 and 'failed to create the macvlan port' in done.err and "'port' belongs to a bridge" in done.err
    assert api(client, 'GET', '/networks/n-busy')[1]['Containers'] == {}
    packets.run('ip', 'link', 'del', 'brx', space=world.host)
    client.ok('run', '--rm', '--network', 'n-busy', IMAGE, 'true')
    packets.run('ip', 'link', 'del', 'port', space=world.host)
    client.ok('network', 'rm', 'n-busy')
