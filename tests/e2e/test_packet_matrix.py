# SPDX-License-Identifier: Apache-2.0
"""Who may reach whom, by packets: a host with its containers on six bridges, another host beside it.

The table was proven on Debian's dockerd (GANTRY_E2E=docker:peer); where gantry differs on purpose the
row says so. The same must hold before and after everything that touches the firewall."""
import contextlib
import os
import signal

import pytest

from conftest import engines
from harness import packets
from harness.client import Client
from harness.engine import Peer, Stack, until
from harness.places import IMAGE
from traces import end

HOST, OTHER = '192.0.2.1', '192.0.2.2'
NETWORKS = {'red': [], 'blue': [], 'inner': ['--internal'], 'apart': ['-o', 'com.docker.network.bridge.enable_icc=false'],
            'plain': ['-o', 'com.docker.network.bridge.enable_ip_masquerade=false']}
GATEWAYS = {name: f'10.81.{number}.1' for number, name in enumerate(NETWORKS, 1)}
# Name → (network, address, published ports).
CONTAINERS = {
    'r1': ('red', '10.81.1.11', ['8080:80', '8053:53/udp', f'{HOST}:8081:80', '127.0.0.1:8082:80', '8100-8103:100-103', '127.0.0.1:8054:53/udp',
                                 '8200-8207:8200-8207', f'{HOST}:8210-8215:8210-8215']),
    'r2': ('red', '10.81.1.12', []),
    'b1': ('blue', '10.81.2.11', ['8084:80']),
    'i1': ('inner', '10.81.3.11', []),
    'i2': ('inner', '10.81.3.12', []),
    'a1': ('apart', '10.81.4.11', []),
    'a2': ('apart', '10.81.4.12', ['8090:80']),
    'p1': ('plain', '10.81.5.11', []),
}
TCP, UDP = (80, 81, 100, 101, 102, 103, 8200, 8203, 8204, 8207, 8213), (53, 54)

# From, protocol, to, who answers and whom it sees: 'no' when nothing comes back. A last field is
# what dockerd 20.10 does instead.
MATRIX = [
    # Neighbours on one bridge see each other as they are, on all ports.
    ('r2', 'tcp', 'r1:80', 'r1 r2'),
    ('r2', 'tcp', 'r1:81', 'r1 r2'),
    ('r2', 'udp', 'r1:54', 'r1 r2'),
    ('r2', 'icmp', 'r1', 'yes'),
    ('i2', 'tcp', 'i1:80', 'i1 i2'),
    ('i2', 'icmp', 'i1', 'yes'),
    # Without icc they don't, but for what is published.
    ('a1', 'tcp', 'a2:80', 'no'),
    ('a1', 'udp', 'a2:53', 'no'),
    ('a1', 'icmp', 'a2', 'no'),
    ('a1', 'tcp', 'gw.apart:8090', 'a2 gw.apart'),
    ('a1', 'tcp', 'host:8090', 'a2 gw.apart'),
    # Bridges don't reach each other, whatever is published.
    ('b1', 'tcp', 'r1:80', 'no'),
    ('b1', 'tcp', 'r1:81', 'no'),
    ('b1', 'udp', 'r1:53', 'no'),
    ('b1', 'icmp', 'r1', 'no'),
    ('r1', 'tcp', 'b1:80', 'no'),
    ('r1', 'tcp', 'i1:80', 'no'),
    ('r1', 'icmp', 'i1', 'no'),
    ('i1', 'tcp', 'r1:80', 'no'),
    ('i1', 'icmp', 'b1', 'no'),
    # Published ports from a container of another bridge.
    ('b1', 'tcp', 'host:8080', 'r1 gw.red'),
    ('b1', 'tcp', 'gw.blue:8080', 'r1 gw.red'),
    # docker-proxy answers udp from another address than it was asked at.
    ('b1', 'udp', 'host:8053', 'r1 gw.red', 'no'),
    ('b1', 'tcp', 'host:8081', 'r1 gw.red'),
    ('b1', 'tcp', 'host:8082', 'refused'),
    ('b1', 'tcp', 'host:8101', 'r1 gw.red'),
    ('b1', 'tcp', 'host:8207', 'r1 gw.red'),
    # From a neighbour, and a container's own (hairpin).
    ('r2', 'tcp', 'host:8080', 'r1 gw.red'),
    ('r2', 'tcp', 'gw.red:8080', 'r1 gw.red'),
    ('r2', 'udp', 'host:8053', 'r1 gw.red', 'no'),
    ('r2', 'tcp', 'host:8102', 'r1 gw.red'),
    ('r1', 'tcp', 'host:8080', 'r1 gw.red'),
    ('r1', 'udp', 'gw.red:8053', 'r1 gw.red'),
    # Out: other hosts see the host.
    ('r1', 'tcp', 'other:80', 'other host'),
    ('r1', 'udp', 'other:53', 'other host'),
    ('r1', 'icmp', 'other', 'yes'),
    ('a1', 'tcp', 'other:80', 'other host'),
    # Without masquerading the container itself.
    ('p1', 'tcp', 'other:80', 'other p1'),
    ('p1', 'udp', 'other:53', 'other p1'),
    ('i1', 'tcp', 'other:80', 'no'),
    ('i1', 'udp', 'other:53', 'no'),
    ('i1', 'icmp', 'other', 'no'),
    # The host's own services: the host sees the container. Its firewall is the host's matter.
    ('r1', 'tcp', 'gw.red:7000', 'host r1'),
    ('r1', 'tcp', 'host:7000', 'host r1'),
    ('i1', 'tcp', 'gw.inner:7000', 'host i1'),
    # dockerd 20.10 gives a default route on internal networks, too.
    ('i1', 'tcp', 'host:7000', 'no', 'host i1'),
    # The host reaches its containers, on all ports.
    ('host', 'tcp', 'r1:80', 'r1 gw.red'),
    ('host', 'tcp', 'r1:81', 'r1 gw.red'),
    ('host', 'udp', 'r1:54', 'r1 gw.red'),
    ('host', 'icmp', 'r1', 'yes'),
    ('host', 'tcp', 'i1:80', 'i1 gw.inner'),
    ('host', 'icmp', 'i1', 'yes'),
    ('host', 'tcp', 'a1:80', 'a1 gw.apart'),
    # And what they publish; to its own address it is itself.
    ('host', 'tcp', 'loop:8080', 'r1 gw.red'),
    ('host', 'udp', 'loop:8053', 'r1 gw.red'),
    ('host', 'tcp', 'loop:8081', 'refused'),
    ('host', 'tcp', 'loop:8082', 'r1 gw.red'),
    ('host', 'udp', 'loop:8054', 'r1 gw.red'),
    ('host', 'tcp', 'loop:8100', 'r1 gw.red'),
    ('host', 'tcp', 'host:8080', 'r1 host'),
    ('host', 'udp', 'host:8053', 'r1 host'),
    ('host', 'tcp', 'host:8081', 'r1 host'),
    ('host', 'tcp', 'host:8082', 'refused'),
    ('host', 'tcp', 'host:8103', 'r1 host'),
    ('host', 'tcp', 'loop:8204', 'r1 gw.red'),
    ('host', 'tcp', 'loop:8213', 'refused'),
    ('host', 'tcp', 'host:8213', 'r1 host'),
    ('host', 'tcp', 'gw.red:8080', 'r1 gw.red'),
    ('host', 'tcp', 'gw.blue:8080', 'r1 gw.blue', 'r1 gw.red'),
    ('host', 'tcp', 'host:8084', 'b1 host'),
    # Another host: published ports, and the container sees who it is.
    ('other', 'tcp', 'host:8080', 'r1 other'),
    ('other', 'udp', 'host:8053', 'r1 other'),
    ('other', 'tcp', 'host:8081', 'r1 other'),
    ('other', 'tcp', 'host:8082', 'refused'),
    ('other', 'udp', 'host:8054', 'refused'),
    ('other', 'tcp', 'host:8100', 'r1 other'),
    ('other', 'tcp', 'host:8103', 'r1 other'),
    ('other', 'tcp', 'host:8104', 'refused'),
    ('other', 'tcp', 'host:8200', 'r1 other'),
    ('other', 'tcp', 'host:8207', 'r1 other'),
    ('other', 'tcp', 'host:8208', 'refused'),
    ('other', 'tcp', 'host:8213', 'r1 other'),
    ('other', 'tcp', 'host:8084', 'b1 other'),
    ('other', 'tcp', 'host:8090', 'a2 other'),
    ('other', 'tcp', 'gw.red:8080', 'r1 other'),
    ('other', 'tcp', 'gw.blue:8080', 'r1 other'),
    # Past the published ports: nothing. dockerd 20.10 lets in to a published port by any way.
    ('other', 'tcp', 'r1:80', 'no', 'r1 other'),
    ('other', 'tcp', 'r1:8203', 'no', 'r1 other'),
    ('other', 'tcp', 'r1:81', 'no'),
    ('other', 'udp', 'r1:53', 'no', 'r1 other'),
    ('other', 'udp', 'r1:54', 'no'),
    ('other', 'icmp', 'r1', 'no'),
    ('other', 'tcp', 'r2:80', 'no'),
    ('other', 'tcp', 'i1:80', 'no'),
    ('other', 'icmp', 'i1', 'no'),
    ('other', 'tcp', 'a1:80', 'no'),
]


class World:
    """The engine's host with its containers, and another host beside it. Servers and askers are
    sockets of this process, so they live through whatever happens to the daemons."""

    def __init__(self, client):
        self.client = client
        self.spaces = {'host': client.engine.names.netns}
        self.addresses = {'host': HOST, 'other': OTHER, 'loop': '127.0.0.1', **{f'gw.{n}': a for n, a in GATEWAYS.items()},
                          **{name: address for name, (_, address, _) in CONTAINERS.items()}}
        self.servers = packets.Servers()
        self.over = [self.servers.close]

    def build(self):
        client = self.client
        token = client.engine.names.netns_name
        cable = packets.other_host(self.spaces['host'], f'{token}-o')
        self.spaces['other'] = cable.__enter__()
        self.over.append(lambda: cable.__exit__(None, None, None))
        packets.run('ip', 'route', 'add', '10.81.0.0/16', 'via', HOST, space=self.spaces['other'])
        for name, options in NETWORKS.items():
            gateway = GATEWAYS[name]
            client.ok('network', 'create', '--subnet', f'{gateway}/24'.replace('.1/24', '.0/24'), '--gateway', gateway, *options, name)
        for name, (network, address, ports) in CONTAINERS.items():
            published = [word for port in ports for word in ('-p', port)]
            client.ok('run', '-d', '--name', name, '--network', network, '--ip', address, *published, IMAGE, 'sleep', '100000')
            self.learn(name)
            self.servers.listen(self.spaces[name], name, TCP, UDP)
        self.servers.listen(self.spaces['other'], 'other', (80,), (53,))
        self.servers.listen(self.spaces['host'], 'host', (7000,))

    def learn(self, name):
        self.spaces[name] = f"/proc/{self.client.inspect(name, '{{.State.Pid}}')}/ns/net"

    def close(self):
        for step in reversed(self.over):
            step()

    def address(self, name):
        return self.addresses[name]

    def call(self, source, protocol, target):
        name, _, port = target.partition(':')
        if protocol == 'icmp':
            return packets.ping(self.spaces[source], self.addresses[name])
        return packets.ask(self.spaces[source], protocol, self.addresses[name], int(port))

    def wanted(self, answer):
        words = answer.split()
        return answer if len(words) == 1 else f'{words[0]} {self.addresses[words[1]]}'

    def wrong(self, rows=MATRIX):
        """The rows that are not so. A packet may be late on a busy machine, so silence is asked again; an
        answer that should not be is wrong at once."""
        docker = self.client.engine.kind == 'p'
        left = [(row[:3], self.wanted(row[-1] if docker else row[3])) for row in rows]
        wrong = []
        for attempt in range(4):
            got = packets.together([lambda key=key: self.call(*key) for key, _ in left])
            failed = [(key, want, answer) for (key, want), answer in zip(left, got) if answer != want]
            late = [(key, want) for key, want, answer in failed if answer == 'no' and attempt < 3]
            wrong += [f"{' '.join(key)}: {answer}, not {want}" for key, want, answer in failed if (key, want) not in late]
            left = late
            if not left:
                break
        return wrong


@contextlib.contextmanager
def whole_world(engine, home):
    world = None
    try:
        engine.make_places()
        # dockerd sets the policy of FORWARD to DROP only when it turned forwarding on itself.
        engine.inside('sysctl', '-qw', 'net.ipv4.ip_forward=0')
        engine.start()
        engine.load_image()
        world = World(Client('gantry' if engine.kind == 's' else 'docker', engine, home))
        world.build()
        yield world
    finally:
        if world:
            world.close()
        engine.destroy()


@pytest.fixture(scope='module', params=engines())
def world(request, home):
    with whole_world(Stack(number=18) if request.param == 'gantry' else Peer(number=18), home) as made:
        yield made


FORWARDED = [row for row in MATRIX if row[0] != 'host' and row[3] not in ('no', 'refused') and '7000' not in row[2]]


def chains(space, variant, table='filter'):
    """Without comments, which tell the time, and how many packets passed."""
    saved = packets.run(f'iptables-{variant}-save', '-t', table, space=space).splitlines()
    return '\n'.join(line.split(' [')[0] for line in saved if not line.startswith('#'))


@pytest.mark.parametrize('variant', ['legacy', 'nft'])
def test_a_host_that_drops_what_it_forwards(world, variant):
    """The policy that dockerd and ufw set: what our table accepts passes all the same."""
    if world.client.engine.kind == 'p':
        pytest.skip('dockerd sets it itself')
    engine, host = world.client.engine, world.spaces['host']
    iptables = lambda *words: packets.run(f'iptables-{variant}', *words, space=host)
    assert 'GANTRY' not in chains(host, variant)
    there = lambda: f'-A FORWARD -j GANTRY-{engine.names.bridge}' in chains(host, variant)
    # Of changes of nft the daemon hears by itself.
    tell = lambda: variant == 'nft' or os.kill(engine.pid('gantryd'), signal.SIGHUP)
    engine.stop()
    iptables('-P', 'FORWARD', 'DROP')
    assert len(world.wrong(FORWARDED)) >= 10  # so it is that policy which decides
    engine.start()
    assert '\n'.join(world.wrong()) == ''
    iptables('-P', 'FORWARD', 'ACCEPT')
    tell()
    until(lambda: not there(), 60)
    iptables('-P', 'FORWARD', 'DROP')
    tell()
    until(there, 60)
    assert '\n'.join(world.wrong()) == ''
    before = chains(host, variant)
    engine.restart()
    assert chains(host, variant) == before
    # A network comes and goes, its rules with it.
    world.client.ok('network', 'create', '-o', 'com.docker.network.bridge.name=gtpasses', 'passes')
    assert chains(host, variant).count('gtpasses') == 2
    world.client.ok('network', 'rm', 'passes')
    assert 'gtpasses' not in chains(host, variant)
    # Rules of users come first.
    iptables('-N', 'DOCKER-USER')
    iptables('-A', 'DOCKER-USER', '-s', OTHER, '-j', 'DROP')
    engine.kill('gantryd')
    engine.start()
    assert '\n'.join(world.wrong([('other', 'tcp', 'host:8080', 'no'), ('other', 'udp', 'host:8053', 'no'), ('host', 'tcp', 'host:8080', 'r1 host'),
                                  ('r2', 'tcp', 'r1:80', 'r1 r2'), ('b1', 'tcp', 'host:8080', 'r1 gw.red')])) == ''
    iptables('-F', 'DOCKER-USER')
    assert '\n'.join(world.wrong(FORWARDED)) == ''
    # Nothing of ours stays where it is not needed any more. The daemon would make its jump again at once.
    engine.stop()
    iptables('-D', f'GANTRY-{engine.names.bridge}', '-j', 'DOCKER-USER')
    iptables('-X', 'DOCKER-USER')
    iptables('-P', 'FORWARD', 'ACCEPT')
    engine.start()
    assert 'GANTRY' not in chains(host, variant)
    assert '\n'.join(world.wrong()) == ''


def test_beside_dockerd(world):
    """Both engines on one host: each reaches what it may, whoever was first."""
    if world.client.engine.kind == 'p':
        pytest.skip('it is dockerd')
    engine, host = world.client.engine, world.spaces['host']
    other = Peer(number=19)
    other.names.netns = host
    docker = None
    try:
        engine.inside('sysctl', '-qw', 'net.ipv4.ip_forward=0')
        other.start()
        other.load_image()
        docker = Client('docker', other, world.client.environment['HOME'])
        docker.ok('network', 'create', '--subnet', '10.82.1.0/24', 'theirs')
        docker.ok('run', '-d', '--name', 'd1', '--network', 'theirs', '--ip', '10.82.1.11', '-p', '9080:80', IMAGE, 'sleep', '100000')
        world.spaces['d1'], world.addresses['d1'] = f"/proc/{docker.inspect('d1', '{{.State.Pid}}')}/ns/net", '10.82.1.11'
        world.addresses['gw.theirs'] = '10.82.1.1'
        world.servers.listen(world.spaces['d1'], 'd1', TCP, UDP)
        assert 'FORWARD DROP' in chains(host, 'nft')
        os.kill(engine.pid('gantryd'), signal.SIGHUP)
        until(lambda: f'-A FORWARD -j GANTRY-{engine.names.bridge}' in chains(host, 'nft'), 60)
        # Each engine's masquerade stands between them.
        between = [
            ('d1', 'tcp', 'other:80', 'other host'),
            ('other', 'tcp', 'host:9080', 'd1 other'),
            ('d1', 'tcp', 'r1:80', 'no'), ('d1', 'tcp', 'r1:81', 'no'), ('d1', 'icmp', 'r1', 'no'),
            ('r1', 'tcp', 'd1:81', 'no'), ('r1', 'icmp', 'd1', 'no'),
            ('d1', 'tcp', 'host:8080', 'r1 gw.red'),
            ('r1', 'tcp', 'host:9080', 'd1 gw.theirs'),
        ]
        assert '\n'.join(world.wrong(MATRIX + between)) == ''
        docker.ok('kill', 'd1')  # or dockerd waits for it
        end(other.process.pid, signal.SIGTERM, 20)
        other.process.wait(10)
        other.start()
        docker.ok('start', 'd1')
        engine.restart()
        assert '\n'.join(world.wrong()) == ''
    finally:
        if docker:
            docker('rm', '-f', 'd1')
        if other.process:
            end(other.process.pid, signal.SIGTERM, 20)
            other.process.wait(10)
            other.names.netns = '/run/netns/none'
            other.destroy()


def test_somebody_flushes_everything(world):
    """`nft flush ruleset`, as a restart of the host's nftables does: the rules come back by themselves."""
    if world.client.engine.kind == 'p':
        pytest.skip('dockerd needs a restart')
    table = f'gantry-{world.client.engine.names.bridge}'
    packets.run('nft', 'flush', 'ruleset', space=world.spaces['host'])
    until(lambda: table in packets.run('nft', 'list', 'tables', space=world.spaces['host']), 60)
    assert '\n'.join(world.wrong()) == ''


def test_who_reaches_whom(world):
    """The last with this world: a network of it goes."""
    assert '\n'.join(world.wrong()) == ''
    if world.client.engine.kind == 'p':
        return
    engine, client = world.client.engine, world.client
    # Ports in a row that keep their numbers are one element, and live changes of some leave the others.
    ranges = lambda name: packets.run('nft', 'list', 'map', 'ip', f'gantry-{engine.names.bridge}', name, space=world.spaces['host'])
    assert 'tcp . 8200-8207 : 10.81.1.11' in ranges('port-ranges') and f'{HOST} . tcp . 8210-8215 : 10.81.1.11' in ranges('port-ranges-at')
    client.ok('update', '--publish-rm', '8203:8203', 'r1')
    assert 'tcp . 8204-8207 : 10.81.1.11' in ranges('port-ranges')
    row = lambda port, answer: ('other', 'tcp', f'host:{port}', answer)
    assert world.wrong([row(8200, 'r1 other'), row(8203, 'refused'), row(8204, 'r1 other')]) == []
    client.ok('update', '--publish-add', '8203:8203', 'r1')
    assert 'tcp . 8200-8207 : 10.81.1.11' in ranges('port-ranges') and world.wrong([row(8203, 'r1 other')]) == []
    for value in (0, 1):  # a host without br_netfilter shows its firewall nothing of what a bridge passes on
        engine.inside('sysctl', '-qw', f'net.bridge.bridge-nf-call-iptables={value}')
        assert '\n'.join(world.wrong()) == '', 'without br_netfilter'
    engine.restart()
    assert world.wrong() == [], 'after a restart of the daemon'
    engine.kill('gantryd')
    assert world.wrong() == [], 'without a daemon'
    engine.start()
    assert world.wrong() == [], 'after kill -9'
    os.kill(engine.pid('gantryd'), signal.SIGHUP)
    assert world.wrong() == [], 'while it reloads'
    for name, (network, _, _) in CONTAINERS.items():
        if network == 'apart':
            client.ok('rm', '-f', name)
    client.ok('network', 'rm', 'apart')
    gone = {name for name in (*CONTAINERS, *(f'gw.{n}' for n in NETWORKS)) if 'apart' in (CONTAINERS.get(name, name.split('.')[-1:])[0])}
    rest = [row for row in MATRIX if not {row[0], row[2].split(':')[0]} & gone and row[2] != 'host:8090']
    assert len(rest) > 60 and world.wrong(rest) == [], 'after a network was removed'
    assert world.wrong([('other', 'tcp', 'host:8090', 'refused'), ('b1', 'tcp', 'host:8090', 'refused')]) == []


@pytest.mark.parametrize('variant', ['nft', 'legacy'])
def test_rules_in_iptables(home, monkeypatch, tmp_path, variant):
    """A host whose rules are all in iptables' tables: the same packets pass."""
    if variant == 'legacy':  # what update-alternatives does
        for name in ('iptables-save', 'iptables-restore', 'ip6tables-save', 'ip6tables-restore'):
            (tmp_path / name).symlink_to('/usr/sbin/xtables-legacy-multi')
        monkeypatch.setenv('PATH', f"{tmp_path}:{os.environ['PATH']}")
    iptables, saved = f'iptables-{variant}', f'iptables-{variant}-save'
    engine = Stack(number=21, arguments=['--firewall-backend', 'iptables'])
    with whole_world(engine, home) as world:
        host, bridge = world.spaces['host'], engine.names.bridge
        assert '\n'.join(world.wrong()) == ''
        assert packets.run('nft', 'list', 'tables', space=host).count('gantry') == 0
        before = [chains(host, variant, table) for table in ('filter', 'nat')]
        assert f'GANTRYD-{bridge}' in before[1]
        engine.kill('gantryd')
        engine.start()
        assert [chains(host, variant, table) for table in ('filter', 'nat')] == before
        packets.run(iptables, '-P', 'FORWARD', 'DROP', space=host)
        packets.run(iptables, '-t', 'nat', '-F', f'GANTRYD-{bridge}', space=host)
        packets.run(iptables, '-F', f'GANTRY-{bridge}', space=host)
        os.kill(engine.pid('gantryd'), signal.SIGHUP)
        until(lambda: 'DNAT' in packets.run(saved, '-t', 'nat', space=host), 60)
        assert '\n'.join(world.wrong()) == ''
        # Ports go with their container, also when somebody took a part of the rules.
        packets.run(iptables, '-t', 'nat', '-D', f'GANTRYD-{bridge}', '-p', 'tcp', '-m', 'tcp', '--dport', '8080', '-j', 'DNAT',
                    '--to-destination', '10.81.1.11:80', space=host)
        world.client.ok('rm', '-f', 'r1')
        assert '10.81.1.11' not in packets.run(saved, space=host)
        assert '\n'.join(world.wrong([('other', 'tcp', 'host:8084', 'b1 other'), ('other', 'tcp', 'host:8080', 'refused')])) == ''


# With these options of the daemon, beside the matrix; a packet from the other host to port 54 or 81 is marked.
OPENED = [
    ('other', 'tcp', 'r1:80', 'r1 other'),
    ('other', 'tcp', 'r1:8203', 'r1 other'),
    ('other', 'udp', 'r1:53', 'r1 other'),
    ('other', 'tcp', 'a2:80', 'a2 other'),
    ('b1', 'tcp', 'r1:80', 'r1 b1'),
    ('b1', 'udp', 'r1:53', 'r1 b1'),
    ('b1', 'tcp', 'r1:81', 'no'),
    ('other', 'tcp', 'r1:103', 'r1 other'),
    ('other', 'tcp', 'r2:80', 'no'),
    ('other', 'icmp', 'r1', 'no'),
    ('i1', 'tcp', 'r1:80', 'no'),
    ('a1', 'tcp', 'a2:80', 'no'),
    ('other', 'tcp', 'host:8080', 'r1 other'),
    # Marked.
    ('other', 'tcp', 'r1:81', 'r1 other'),
    ('other', 'tcp', 'r2:81', 'r2 other'),
    ('other', 'udp', 'r2:54', 'r2 other'),
    ('other', 'tcp', 'i1:81', 'no'),
]


@pytest.mark.parametrize('backend', ['nftables', 'iptables'])
def test_direct_routing_and_marked_packets(home, backend):
    """`--allow-direct-routing` and `--bridge-accept-fwmark`: published ports at containers' own addresses, and what the host's rules let in."""
    engine = Stack(number=20, arguments=['--firewall-backend', backend, '--allow-direct-routing', '--bridge-accept-fwmark', '0x40/0xf0'])
    with whole_world(engine, home) as world:
        host = world.spaces['host']
        for words in (['table', 'ip', 'marking'], ['chain', 'ip', 'marking', 'early', '{ type filter hook prerouting priority -150 ; }'],
                      *(['rule', 'ip', 'marking', 'early', 'iifname', 'cable', *port, 'meta', 'mark', 'set', '0x143'] for port in
                        (['tcp', 'dport', '81'], ['udp', 'dport', '54']))):
            packets.run('nft', 'add', *words, space=host)
        assert '\n'.join(world.wrong(OPENED)) == ''
        engine.kill('gantryd')
        engine.start()
        assert '\n'.join(world.wrong(OPENED)) == ''
        # Without the options it is as ever.
        engine.stop()
        engine.arguments = ['--firewall-backend', backend]
        engine.start()
        closed = [(*row[:3], 'no') for row in OPENED if row[3] in ('r1 other', 'r2 other', 'a2 other', 'r1 b1') and row[2] != 'host:8080']
        assert '\n'.join(world.wrong(closed + [('other', 'tcp', 'host:8080', 'r1 other')])) == ''


@pytest.mark.parametrize('backend', ['nftables', 'iptables'])
def test_a_host_whose_policy_counts(home, backend):
    """`--publish-policy host`: from elsewhere nothing comes in but what the host's own rules accept, and of that only what is published."""
    engine = Stack(number=20, arguments=['--firewall-backend', backend, '--publish-policy', 'host', '--allow-direct-routing'])
    with whole_world(engine, home) as world:
        iptables = lambda *words: packets.run('iptables', *words, space=world.spaces['host'])
        iptables('-P', 'FORWARD', 'DROP')
        engine.restart()
        closed = [(*row[:3], 'no') for row in FORWARDED if row[0] == 'other']
        rest = [row for row in FORWARDED if row[0] != 'other']
        assert len(closed) > 10 and len(rest) > 20
        assert '\n'.join(world.wrong(closed + rest)) == ''
        iptables('-A', 'FORWARD', '-p', 'tcp', '-d', '10.81.1.11', '--dport', '80:81', '-j', 'ACCEPT')
        opened = [('other', 'tcp', 'host:8080', 'r1 other'), ('other', 'tcp', 'r1:80', 'r1 other'), ('other', 'tcp', 'r1:81', 'no'),
                  ('other', 'udp', 'host:8053', 'no'), ('other', 'tcp', 'host:8084', 'no')]
        assert '\n'.join(world.wrong(opened + rest)) == ''
        engine.kill('gantryd')
        engine.start()
        assert '\n'.join(world.wrong(opened + rest)) == ''
        # The host lets everything in: what is not published stays out.
        iptables('-P', 'FORWARD', 'ACCEPT')
        os.kill(engine.pid('gantryd'), signal.SIGHUP)
        direct = {'r1:80', 'r1:8203', 'r1:53', 'a1:80', 'b1:80'}
        assert '\n'.join(world.wrong([row for row in MATRIX if row[2] not in direct])) == ''


def test_another_backend(home):
    """A daemon that is told to use another one takes the former's rules away, ports and all."""
    engine = Stack(number=23)
    with whole_world(engine, home) as world:
        host = world.spaces['host']

        def left():
            return {'nftables': 'gantry' in packets.run('nft', 'list', 'tables', space=host),
                    'iptables': 'GANTRY' in packets.run('iptables-save', space=host)}
        for backend in ('nftables', 'iptables', 'none', 'iptables', 'nftables'):
            engine.stop()
            engine.arguments = ['--firewall-backend', backend]
            engine.start()
            assert left() == {name: name == backend for name in ('nftables', 'iptables')}, backend
            if backend != 'none':
                assert '\n'.join(world.wrong()) == ''


# From, protocol, to, answer: without any rule of ours.
WITHOUT_RULES = [
    ('r2', 'tcp', 'r1:80', 'r1 r2'),
    ('host', 'tcp', 'r1:81', 'r1 gw.red'),
    ('host', 'tcp', 'loop:8080', 'r1 gw.red'),
    ('host', 'tcp', 'host:8080', 'r1 gw.red'),
    ('r2', 'tcp', 'host:8080', 'r1 gw.red'),
    ('b1', 'udp', 'host:8053', 'r1 gw.red'),
    ('other', 'tcp', 'host:8080', 'r1 gw.red'),
    ('other', 'udp', 'host:8053', 'r1 gw.red'),
    ('other', 'tcp', 'host:8081', 'r1 gw.red'),
    ('other', 'tcp', 'host:8082', 'refused'),
    ('other', 'tcp', 'host:8103', 'r1 gw.red'),
    ('other', 'tcp', 'r1:80', 'no'),
    ('b1', 'tcp', 'r1:80', 'no'),
    ('r1', 'tcp', 'other:80', 'no'),
]


def test_no_rules_at_all(home):
    engine = Stack(number=22, arguments=['--firewall-backend', 'none'])
    with whole_world(engine, home) as world:
        host = world.spaces['host']
        assert '\n'.join(world.wrong(WITHOUT_RULES)) == ''
        assert packets.run('nft', 'list', 'ruleset', space=host).strip() == ''
        assert packets.run('cat', '/proc/sys/net/ipv4/ip_forward', space=host).strip() == '0'
        engine.kill('gantryd')
        engine.start()
        assert '\n'.join(world.wrong(WITHOUT_RULES)) == ''
