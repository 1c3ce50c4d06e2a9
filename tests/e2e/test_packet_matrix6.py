# SPDX-License-Identifier: Apache-2.0
"""Who may reach whom with IPv6 and in the gateway modes, by packets (the rest: test_packet_matrix.py). dockerd 20.10
knows neither the modes nor IPv6 beside userland-proxy as docker 28 does: the rows are what docker's manual says."""
import contextlib

import pytest

from harness import packets
from harness.client import Client
from harness.engine import Stack, until
from harness.places import IMAGE
from test_packet_matrix import TCP, UDP, World

MODE = 'com.docker.network.bridge.gateway_mode_ipv'
# Name → (number, options); the subnets are 10.84.NUMBER.0/24 and fd00:84:NUMBER::/64.
NETWORKS = {
    'six': (1, []),
    'routed': (2, ['-o', f'{MODE}4=routed', '-o', f'{MODE}6=routed']),
    'open': (3, ['-o', f'{MODE}4=nat-unprotected', '-o', f'{MODE}6=nat-unprotected']),
    'trust': (4, ['-o', 'com.docker.network.bridge.trusted_host_interfaces=cable']),
    'alone': (5, ['--internal', '-o', f'{MODE}4=isolated', '-o', f'{MODE}6=isolated']),
    'only': (6, ['--ipv4=false']),
    'source': (7, ['-o', 'com.docker.network.host_ipv4=192.0.2.77', '-o', 'com.docker.network.host_ipv6=2001:db8:99::77']),
}
CONTAINERS = {
    's1': ('six', 11, ['8080:80', '8053:53/udp', '[2001:db8:99::1]:8081:80', '[::1]:8082:80']),
    's2': ('six', 12, []),
    'r1': ('routed', 11, ['8090:80', '8053:53/udp']),
    'r2': ('routed', 12, ['8090:80']),
    'o1': ('open', 11, ['8091:80']),
    't1': ('trust', 11, ['127.0.0.1:8092:80']),
    'x1': ('alone', 11, []),
    'x2': ('alone', 12, []),
    'v1': ('only', 11, ['8093:80']),
    'h1': ('source', 11, []),
}

# As in test_packet_matrix.py; NAME.6 is the IPv6 address.
MATRIX = [
    # NAT, in both families.
    ('s2', 'tcp', 's1.6:80', 's1 s2.6'),
    ('s2', 'tcp', 's1.6:81', 's1 s2.6'),
    ('s2', 'udp', 's1.6:54', 's1 s2.6'),
    ('s2', 'icmp', 's1.6', 'yes'),
    ('host', 'tcp', 's1.6:81', 's1 gw6.six'),
    ('host', 'icmp', 's1.6', 'yes'),
    ('other', 'tcp', 'host.6:8080', 's1 other.6'),
    ('other', 'tcp', 'host:8080', 's1 other'),
    ('other', 'udp', 'host.6:8053', 's1 other.6'),
    ('other', 'tcp', 'host.6:8081', 's1 other.6'),
    ('other', 'tcp', 'host:8081', 'refused'),
    ('other', 'tcp', 'host.6:8082', 'refused'),
    ('host', 'tcp', 'host.6:8080', 's1 host.6'),
    ('host', 'tcp', 'loop.6:8080', 's1 gw.six'),
    ('host', 'tcp', 'loop.6:8082', 's1 gw.six'),
    ('s2', 'tcp', 'host.6:8080', 's1 gw.six'),
    ('s1', 'tcp', 'host.6:8080', 's1 gw.six'),
    ('other', 'tcp', 's1.6:80', 'no'),
    ('other', 'tcp', 's1.6:81', 'no'),
    ('other', 'udp', 's1.6:53', 'no'),
    ('other', 'icmp', 's1.6', 'no'),
    ('s1', 'tcp', 'other.6:80', 'other host.6'),
    ('s1', 'udp', 'other.6:53', 'other host.6'),
    ('s1', 'icmp', 'other.6', 'yes'),
    ('s1', 'tcp', 'host.6:7000', 'host s1.6'),
    # Routed: published ports at the container's own address, from anywhere, and icmp; no port of the host.
    ('other', 'tcp', 'r1.6:80', 'r1 other.6'),
    ('other', 'tcp', 'r1:80', 'r1 other'),
    ('other', 'tcp', 'r2:80', 'r2 other'),
    ('other', 'udp', 'r1.6:53', 'r1 other.6'),
    ('other', 'tcp', 'r1.6:81', 'no'),
    ('other', 'tcp', 'r1:81', 'no'),
    ('other', 'udp', 'r2.6:53', 'no'),
    ('other', 'icmp', 'r1.6', 'yes'),
    ('other', 'icmp', 'r1', 'yes'),
    ('other', 'tcp', 'host:8090', 'refused'),
    ('host', 'tcp', 'loop:8090', 'refused'),
    ('host', 'tcp', 'host.6:8090', 'refused'),
    ('s1', 'tcp', 'r1.6:80', 'r1 s1.6'),
    ('s1', 'tcp', 'r1:80', 'r1 s1'),
    ('s1', 'tcp', 'r1.6:81', 'no'),
    ('r1', 'tcp', 'other.6:80', 'other r1.6'),
    ('r1', 'tcp', 'other:80', 'other r1'),
    ('r1', 'tcp', 's1.6:80', 'no'),
    # A network of mode routed that doesn't lead: published ports there, too, whatever leads.
    ('other', 'tcp', 'host:8094', 'm1 other'),
    ('other', 'tcp', 'host.6:8094', 'm1 other.6'),
    ('other', 'tcp', 'm1:80', 'no'),
    ('other', 'tcp', 'm1.routed:80', 'm1 other'),
    ('other', 'tcp', 'm1.routed.6:80', 'm1 other.6'),
    ('other', 'tcp', 'm1.routed:81', 'no'),
    ('s1', 'tcp', 'm1.routed:80', 'm1 s1'),
    # Unprotected: every port at the container's address, from other bridges, too, as in docker 28.
    ('other', 'tcp', 'o1.6:81', 'o1 other.6'),
    ('other', 'tcp', 'o1:81', 'o1 other'),
    ('other', 'icmp', 'o1.6', 'yes'),
    ('other', 'tcp', 'host:8091', 'o1 other'),
    ('s1', 'tcp', 'o1.6:81', 'o1 s1.6'),
    ('s1', 'udp', 'o1:54', 'o1 s1'),
    ('s1', 'icmp', 'o1', 'yes'),
    ('x1', 'tcp', 'o1:81', 'no'),
    ('o1', 'tcp', 'other.6:80', 'other host.6'),
    # From a trusted interface: published ports, wherever they are published.
    ('other', 'tcp', 't1:80', 't1 other'),
    ('other', 'tcp', 't1:81', 'no'),
    ('other', 'icmp', 't1', 'no'),
    ('other', 'tcp', 'host:8092', 'refused'),
    ('s1', 'tcp', 't1:80', 'no'),
    # Isolated: neighbours alone, not even the host.
    ('x1', 'tcp', 'x2.6:80', 'x2 x1.6'),
    ('x1', 'tcp', 'x2:81', 'x2 x1'),
    ('x1', 'tcp', 'host:7000', 'no'),
    ('x1', 'tcp', 'other.6:80', 'no'),
    ('host', 'tcp', 'x1:80', 'no'),
    ('host', 'tcp', 'x1.6:80', 'no'),
    # With an address of the host that was asked for.
    ('h1', 'tcp', 'other:80', 'other source'),
    ('h1', 'tcp', 'other.6:80', 'other source.6'),
    ('h1', 'icmp', 'other.6', 'yes'),
    ('h1', 'tcp', 's1:80', 'no'),
    # A container without IPv4.
    ('other', 'tcp', 'host.6:8093', 'v1 other.6'),
    ('other', 'tcp', 'host:8093', 'v1 gw6.only'),
    ('host', 'tcp', 'loop:8093', 'v1 gw6.only'),
    ('v1', 'tcp', 'other.6:80', 'other host.6'),
    ('v1', 'tcp', 'host.6:8080', 's1 gw.six'),
]


class World6(World):
    def build(self):
        client, host = self.client, self.spaces['host']
        cable = packets.other_host(host, f'{client.engine.names.netns_name}-o')
        self.spaces['other'] = other = cable.__enter__()
        self.over.append(lambda: cable.__exit__(None, None, None))
        self.addresses.update({'host.6': '2001:db8:99::1', 'other.6': '2001:db8:99::2', 'loop.6': '::1',
                               'source': '192.0.2.77', 'source.6': '2001:db8:99::77'})
        packets.run('ip', 'addr', 'add', '192.0.2.77/24', 'dev', 'cable', space=host)
        # Not what the host itself would choose.
        packets.run('ip', 'addr', 'add', '2001:db8:99::77/64', 'dev', 'cable', 'nodad', 'preferred_lft', '0', space=host)
        for name, space in (('host.6', host), ('other.6', other)):
            packets.run('ip', 'addr', 'add', f'{self.addresses[name]}/64', 'dev', 'cable', 'nodad', space=space)
        packets.run('ip', 'route', 'add', '10.84.0.0/16', 'via', self.addresses['host'], space=other)
        packets.run('ip', 'route', 'add', 'fd00:84::/32', 'via', self.addresses['host.6'], space=other)
        for name, (number, options) in NETWORKS.items():
            subnets = ['--subnet', f'fd00:84:{number}::/64']
            if name != 'only':
                subnets += ['--subnet', f'10.84.{number}.0/24']
            self.addresses[f'gw.{name}'], self.addresses[f'gw6.{name}'] = f'10.84.{number}.1', f'fd00:84:{number}::1'
            client.ok('network', 'create', '--ipv6', *subnets, *options, name)
        for name, (network, last, ports) in CONTAINERS.items():
            number = NETWORKS[network][0]
            self.addresses[name], self.addresses[f'{name}.6'] = f'10.84.{number}.{last}', f'fd00:84:{number}::{last}'
            fixed = ['--ip6', self.addresses[f'{name}.6'], *(['--ip', self.addresses[name]] if network != 'only' else [])]
            published = [word for port in ports for word in ('-p', port)]
            client.ok('run', '-d', '--name', name, '--network', network, *fixed, *published, IMAGE, 'sleep', '100000')
            self.learn(name)
            self.listen(name, name, TCP, UDP)
        self.listen('other', 'other', (80,), (53,))
        self.listen('host', 'host', (7000,))
        self.join_both()

    def join_both(self):
        client = self.client
        self.addresses.update({'m1': '10.84.1.13', 'm1.routed': '10.84.2.13', 'm1.routed.6': 'fd00:84:2::13'})
        client.ok('run', '-d', '--name', 'm1', '--network', f"name=six,ip={self.addresses['m1']},gw-priority=1", '-p', '8094:80', IMAGE, 'sleep', '100000')
        client.ok('network', 'connect', '--ip', self.addresses['m1.routed'], '--ip6', self.addresses['m1.routed.6'], 'routed', 'm1')
        self.learn('m1')
        self.listen('m1', 'm1', TCP, UDP)

    def listen(self, space, name, tcp, udp=()):
        for address in ('0.0.0.0', '::'):
            self.servers.listen(self.spaces[space], name, tcp, udp, host=address)


@contextlib.contextmanager
def world6(home, *arguments):
    engine, world = Stack(number=23, arguments=arguments), None
    try:
        engine.start()
        engine.load_image()
        world = World6(Client('gantry', engine, home))
        world.build()
        yield world
    finally:
        if world:
            world.close()
        engine.destroy()


@pytest.mark.parametrize('backend', ['nftables', 'iptables'])
def test_who_reaches_whom(home, backend):
    with world6(home, '--firewall-backend', backend) as world:
        engine, client, host = world.client.engine, world.client, world.spaces['host']
        assert '\n'.join(world.wrong(MATRIX)) == ''
        # No port of the host is taken, and none is shown.
        assert client.inspect('r1', '{{json (index .NetworkSettings.Ports "80/tcp")}}') == \
            '[{"HostIp":"0.0.0.0","HostPort":""},{"HostIp":"::","HostPort":""}]'
        engine.kill('gantryd')
        engine.start()
        assert '\n'.join(world.wrong(MATRIX)) == ''
        if backend == 'iptables':
            return
        # They follow changes, and who leads.
        routed = ('other', 'tcp', 'm1.routed:80')
        client.ok('update', '--publish-rm', '8094:80', 'm1')
        assert world.wrong([(*routed, 'no')]) == []
        client.ok('update', '--publish-add', '8094:80', 'm1')
        assert world.wrong([(*routed, 'm1 other')]) == []
        client.ok('network', 'disconnect', 'six', 'm1')
        assert world.wrong([(*routed, 'm1 other'), ('other', 'tcp', 'host:8094', 'refused')]) == []
        client.ok('network', 'connect', '--ip', world.addresses['m1'], '--gw-priority', '1', 'six', 'm1')
        assert world.wrong([(*routed, 'm1 other'), ('other', 'tcp', 'host:8094', 'm1 other')]) == []
        # A host that drops what it forwards, in both families, and one whose rules somebody flushed.
        packets.run('nft', 'flush', 'ruleset', space=host)
        for program in ('iptables', 'ip6tables'):
            packets.run(program, '-P', 'FORWARD', 'DROP', space=host)
        jump = f'-A FORWARD -j GANTRY-{engine.names.bridge}'
        until(lambda: all(jump in packets.run(f'{p}-save', '-t', 'filter', space=host) for p in ('iptables', 'ip6tables')), 60)
        assert '\n'.join(world.wrong(MATRIX)) == ''
        # Without networks of IPv6 there is no table of it.
        for name in (*CONTAINERS, 'm1'):
            client.ok('rm', '-f', name)
        for name in NETWORKS:
            client.ok('network', 'rm', name)
        engine.restart()
        assert f'ip6 gantry-{engine.names.bridge}' not in packets.run('nft', 'list', 'tables', space=host)
