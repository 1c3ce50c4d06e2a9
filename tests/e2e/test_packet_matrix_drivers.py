# SPDX-License-Identifier: Apache-2.0
"""Who may reach whom on networks that are no bridges, by packets, in the notation of test_packet_matrix.py: one host with all drivers side by
side, another host at cables of its own for each parent, and a third that shares an overlay. What Debian's dockerd can do is proven on it
(GANTRY_E2E=docker:peer); what a host lacks is left out there and proven where it has it (tests/lab/run)."""
import contextlib
import json
import os
import signal

import pytest

from conftest import engines
from harness import packets
from harness.client import Client
from harness.cluster import cluster_of
from harness.engine import Peer, until
from harness.places import IMAGE, IMAGE_TAR
from harness.plugin import NetworkPlugin
from test_macvlan import kernel_makes
from test_packet_matrix import World

PUBLISHED = 8080  # of each network's first container, and its number
TCP, UDP = (80, 81), (53,)

# Name → (number, driver, options). Those with a parent have the cable cNUMBER: 10.85.NUMBER.1 is the host's end, .2 the other's.
NETWORKS = {
    'red': (0, 'bridge', []),
    'lan': (1, 'macvlan', []),
    'private': (2, 'macvlan', ['-o', 'macvlan_mode=private']),
    'vepa': (3, 'macvlan', ['-o', 'macvlan_mode=vepa']),
    'pass': (4, 'macvlan', ['-o', 'macvlan_mode=passthru']),
    'closed': (5, 'macvlan', ['--internal']),
    'tagged': (6, 'macvlan', []),
    'l2': (7, 'ipvlan', []),
    'l2private': (8, 'ipvlan', ['-o', 'ipvlan_flag=private']),
    'l2vepa': (9, 'ipvlan', ['-o', 'ipvlan_flag=vepa']),
    'l3': (10, 'ipvlan', ['-o', 'ipvlan_mode=l3']),
    'l3s': (11, 'ipvlan', ['-o', 'ipvlan_mode=l3s']),
    'cni': (12, 'cni', []),
    'plug': (13, 'plugin', ['-o', 'gateway=1']),
    'over': (14, 'overlay', ['--attachable']),
    'inside': (15, 'overlay', ['--attachable', '--internal']),
}
NOT_OF_DOCKERD = {'closed', 'l2private', 'l2vepa', 'l3s', 'cni', 'plug', 'over', 'inside'}


def of_a_link(name, neighbours, takes_all=False):
    """A container there is a machine of its own on the cable: to all but the host it stands on. `takes_all`: what comes in is the
    container's alone, and the host has lost the cable."""
    one, two = f'{name}1', f'{name}2'
    met = {'tcp': f'{two} {one}', 'udp': f'{two} {one}', 'icmp': 'yes'} if neighbours else dict.fromkeys(('tcp', 'udp', 'icmp'), 'no')
    return [
        (one, 'tcp', f'{two}:81', met['tcp']),
        (one, 'udp', f'{two}:53', met['udp']),
        (two, 'icmp', one, met['icmp']),
        ('other', 'tcp', f'{one}:80', f'{one} other.{name}'),
        ('other', 'tcp', f'{two}:81', f'{two} other.{name}'),
        ('other', 'udp', f'{one}:53', f'{one} other.{name}'),
        ('other', 'icmp', two, 'yes'),
        (one, 'tcp', f'other.{name}:80', f'other {one}'),
        (two, 'udp', f'other.{name}:53', f'other {two}'),
        (one, 'icmp', f'other.{name}', 'yes'),
        ('host', 'tcp', f'{one}:80', 'no'),
        ('host', 'icmp', one, 'no'),
        (one, 'tcp', f'host.{name}:7000', 'no'),
        (one, 'icmp', f'host.{name}', 'no'),
        # Nothing of it is published, and bridges of the host are as far as any other host.
        ('other', 'tcp', f'host.{name}:{PUBLISHED + NETWORKS[name][0]}', 'no' if takes_all else 'refused'),
        ('red1', 'tcp', f'{one}:80', 'no'),
        ('red1', 'icmp', one, 'no'),
        (one, 'tcp', 'red1:80', 'no'),
        # What others publish is at the host's addresses for the other host, and not for who stands on its own parent.
        ('other', 'tcp', f'host.{name}:{PUBLISHED}', 'no' if takes_all else f'red1 other.{name}'),
        (one, 'tcp', f'host.{name}:{PUBLISHED}', 'no'),
    ]


ALONE = ('pass1',)  # on its parent: rows with a second one are not asked
MATRIX = [
    ('red1', 'tcp', 'other:80', 'other host'),
    ('red2', 'tcp', 'red1:81', 'red1 red2'),
    ('host', 'tcp', 'red1:80', 'red1 gw.red'),
    *of_a_link('lan', True),
    *of_a_link('private', False),
    *of_a_link('vepa', False),
    *of_a_link('pass', False, takes_all=True),
    *of_a_link('tagged', True),
    *of_a_link('l2', True),
    *of_a_link('l2private', False),
    *of_a_link('l2vepa', False),
    *of_a_link('l3', True),
    *of_a_link('l3s', True),
    # Behind the other host, who is the gateway; internal networks know none.
    ('lan1', 'tcp', 'behind:80', 'other lan1'),
    ('l21', 'tcp', 'behind:80', 'other l21'),
    ('closed1', 'tcp', 'behind:80', 'no'),
    ('closed1', 'tcp', 'closed2:81', 'closed2 closed1'),
    ('closed1', 'tcp', 'other.closed:80', 'other closed1'),
    ('host', 'tcp', 'closed1:80', 'no'),
    # CNI's bridge plugin as it is configured: routed, nothing masqueraded, and what others may reach is its own matter.
    ('cni1', 'tcp', 'cni2:81', 'cni2 cni1'),
    ('cni1', 'udp', 'cni2:53', 'cni2 cni1'),
    ('cni1', 'icmp', 'cni2', 'yes'),
    ('host', 'tcp', 'cni1:80', 'cni1 gw.cni'),
    ('cni1', 'tcp', 'host:7000', 'host cni1'),
    ('cni1', 'tcp', 'other:80', 'other cni1'),
    ('other', 'tcp', f'host:{PUBLISHED + 12}', 'cni1 other'),
    ('cni1', 'tcp', 'red1:80', 'no'),
    ('cni1', 'tcp', 'lan1:80', 'no'),
    # A plugin's network: its bridge has no rules of ours either.
    ('plug1', 'tcp', 'plug2:81', 'plug2 plug1'),
    ('plug1', 'udp', 'plug2:53', 'plug2 plug1'),
    ('host', 'tcp', 'plug1:80', 'plug1 gw.plug'),
    ('plug1', 'tcp', 'host:7000', 'host plug1'),
    ('plug1', 'tcp', 'other:80', 'other plug1'),
    ('plug1', 'tcp', 'red1:80', 'no'),
    # An overlay: its members wherever they are, the way out and published ports by the gateway bridge, nobody else.
    ('over1', 'tcp', 'over2:81', 'over2 over1'),
    ('over1', 'tcp', 'overfar:81', 'overfar over1'),
    ('overfar', 'udp', 'over1:53', 'over1 overfar'),
    ('overfar', 'icmp', 'over2', 'yes'),
    ('over1', 'tcp', 'other:80', 'other host'),
    ('other', 'tcp', f'host:{PUBLISHED + 14}', 'over1 other'),
    ('far', 'tcp', f'host.hub:{PUBLISHED + 14}', 'over1 far.hub'),
    ('host', 'tcp', 'over1:80', 'no'),
    ('far', 'tcp', 'over1:80', 'no'),
    ('other', 'tcp', 'over1:80', 'no'),
    ('over1', 'tcp', 'red1:80', 'no'),
    ('red1', 'tcp', 'over1:80', 'no'),
    ('over1', 'tcp', 'lan1:80', 'no'),
    ('over1', 'tcp', 'inside1:80', 'no'),
    ('inside1', 'tcp', 'insidefar:81', 'insidefar inside1'),
    ('insidefar', 'icmp', 'inside2', 'yes'),
    ('inside1', 'tcp', 'other:80', 'no'),
    ('inside1', 'tcp', 'over1:80', 'no'),
    ('other', 'tcp', f'host:{PUBLISHED + 15}', 'refused'),
]


def host_lacks():
    """Debian's CNI plugins are not in the lab machine."""
    lacking = set() if os.path.exists('/usr/lib/cni/bridge') else {'cni'}
    if not kernel_makes('vlan', 'id', '10'):
        lacking |= {'tagged'}
    if not kernel_makes('ipvlan', 'mode', 'l2'):
        lacking |= {name for name, (_, driver, _) in NETWORKS.items() if driver == 'ipvlan'}
    return lacking


class Drivers(World):
    """All of them on one host. `far` is the client of the host that shares the overlays."""

    def __init__(self, client, far, folder):
        super().__init__(client)
        self.far, self.folder = far, folder
        self.addresses = {'host': '192.0.2.1', 'other': '192.0.2.2', 'behind': '198.51.100.1'}
        lacking = host_lacks() | (NOT_OF_DOCKERD if client.engine.kind == 'p' else set())
        self.networks = {name: value for name, value in NETWORKS.items() if name not in lacking}

    def build(self):
        host, token = self.spaces['host'], f'{self.client.engine.names.netns_name}-o'
        cable = packets.other_host(host, token)
        self.spaces['other'] = cable.__enter__()
        self.over.append(lambda: cable.__exit__(None, None, None))
        packets.run('ip', 'addr', 'add', '198.51.100.1/32', 'dev', 'lo', space=self.spaces['other'])
        for subnet in ('10.85.12.0/24', '10.85.13.0/24', '10.85.14.0/24'):
            packets.run('ip', 'route', 'add', subnet, 'via', '192.0.2.1', space=self.spaces['other'])
        if self.far:
            self.spaces['far'] = self.far.engine.names.netns
            self.addresses.update({'host.hub': self.client.engine.address, 'far.hub': self.far.engine.address})
        for name, (number, driver, options) in self.networks.items():
            {'macvlan': self.on_a_parent, 'ipvlan': self.on_a_parent, 'cni': self.of_cni, 'plugin': self.of_plugin}.get(driver, self.plain)(name, number, driver, options)
            self.members(name, number)
        self.servers.listen(self.spaces['other'], 'other', (80,), (53,))
        self.servers.listen(host, 'host', (7000,))

    def members(self, name, number):
        for last, client in ((11, self.client), (12, self.client), (13, self.far if 'overlay' in NETWORKS[name] else None)):
            container = f"{name}{'far' if last == 13 else last - 10}"
            if not client or (last == 12 and f'{name}1' in ALONE):
                continue
            subnet = 86 if name in ('l3', 'l3s') else 85
            self.addresses[container] = f'10.{subnet}.{number}.{last}'
            fixed = [] if name == 'cni' else ['--ip', self.addresses[container]]
            client.ok('run', '-d', '--name', container, '--network', name, *fixed, *(['-p', f'{PUBLISHED + number}:80'] if last == 11 else []),
                      IMAGE, 'sleep', '100000')
            self.addresses[container] = client.inspect(container, '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}')
            self.spaces[container] = f"/proc/{client.inspect(container, '{{.State.Pid}}')}/ns/net"
            self.servers.listen(self.spaces[container], container, TCP, UDP)

    def plain(self, name, number, driver, options):
        self.addresses[f'gw.{name}'] = f'10.85.{number}.1'
        self.client.ok('network', 'create', '-d', driver, '--subnet', f'10.85.{number}.0/24', '--gateway', f'10.85.{number}.1', *options, name)
        if driver == 'overlay':
            until(lambda: name in self.far.ok('network', 'ls', '--format', '{{.Name}}').split())

    def on_a_parent(self, name, number, driver, options):
        host, other = self.spaces['host'], self.spaces['other']
        link = parent = f'c{number}'
        packets.run('ip', 'link', 'add', link, 'type', 'veth', 'peer', 'name', link, 'netns', os.path.basename(other), space=host)
        for space in (host, other):
            packets.run('ip', 'link', 'set', link, 'up', space=space)
        if name == 'tagged':  # the host's end is the engine's to make
            packets.run('ip', 'link', 'add', 'link', link, 'name', f'{link}.10', 'type', 'vlan', 'id', '10', space=other)
            packets.run('ip', 'link', 'set', f'{link}.10', 'up', space=other)
            parent = f'{link}.10'
        routed = name in ('l3', 'l3s')
        subnet = f'10.{86 if routed else 85}.{number}'
        gateway = [] if routed else ['--gateway', f'{subnet}.2', '--aux-address', f'host={subnet}.1']
        self.client.ok('network', 'create', '-d', driver, '-o', f'parent={parent}', '--subnet', f'{subnet}.0/24', *gateway, *options, name)
        for end, space, address in (('host', host, f'10.85.{number}.1'), ('other', other, f'10.85.{number}.2')):
            packets.run('ip', 'addr', 'add', f'{address}/24', 'dev', parent, space=space)
            self.addresses[f'{end}.{name}'] = address
        if routed:
            packets.run('ip', 'route', 'add', f'{subnet}.0/24', 'via', f'10.85.{number}.1', space=other)

    def of_cni(self, name, number, driver, options):
        places = self.folder / 'cni'
        places.mkdir()
        plugins = [{'type': 'bridge', 'bridge': 'cni-drv', 'isGateway': True, 'isDefaultGateway': True, 'ipMasq': False,
                    'ipam': {'type': 'host-local', 'dataDir': str(self.folder / 'ipam'), 'ranges': [[{'subnet': f'10.85.{number}.0/24'}]]}},
                   {'type': 'portmap', 'capabilities': {'portMappings': True}}]
        (places / f'10-{name}.conflist').write_text(json.dumps({'cniVersion': '1.0.0', 'name': name, 'plugins': plugins}))
        self.addresses[f'gw.{name}'] = f'10.85.{number}.1'
        self.client.ok('network', 'create', '-d', driver, '-o', f'cni.dir={places}', '-o', 'cni.path=/usr/lib/cni', *options, name)

    def of_plugin(self, name, number, driver, options):
        self.plugin = NetworkPlugin(self.client.engine, f'gt-drivers-{os.getpid()}', self.folder / 'plugin').start()
        self.over.append(self.plugin.stop)
        self.plain(name, number, self.plugin.name, options)

    def rows(self, without=()):
        """Those of the networks that are there."""
        def there(row):
            names = {row[0], row[2].partition(':')[0], *(row[3].split()[:1] if ' ' in row[3] else ())}
            return all(name in self.addresses or name in self.spaces for name in names) and not any(name.startswith(tuple(without)) for name in names if without)
        return [row for row in MATRIX if there(row)]

    def remove(self, name):
        for client in filter(None, (self.far, self.client)):
            for container in client.ok('ps', '-aq', '--filter', f'network={name}').split():
                client.ok('rm', '-f', container)
        until(lambda: self.client('network', 'rm', name).code == 0)


@pytest.fixture(params=engines())
def world(request, home, tmp_path):
    with contextlib.ExitStack() as over:
        if request.param == 'gantry':
            cluster = over.enter_context(cluster_of(2, home))
            client, far = cluster.clients
        else:
            engine, far = Peer(number=18), None
            over.callback(engine.destroy)
            client = Client('docker', engine.start(), home)
            client.ok('load', '-i', IMAGE_TAR)
        made = Drivers(client, far, tmp_path)
        over.callback(made.close)
        made.build()
        yield made
        for name in client.ok('network', 'ls', '--filter', 'type=custom', '--format', '{{.Name}}').split():
            if name in made.networks:
                made.remove(name)


def test_who_reaches_whom(world):
    rows = world.rows()
    assert len(rows) > (60 if world.far is None else 110) and '\n'.join(world.wrong(rows)) == ''
    if world.far is None:
        return
    engine = world.client.engine
    engine.restart()
    assert '\n'.join(world.wrong(rows)) == '', 'after a restart of the daemon'
    engine.kill('gantryd')
    assert '\n'.join(world.wrong(rows)) == '', 'without a daemon'
    engine.start()
    assert '\n'.join(world.wrong(rows)) == '', 'after kill -9'
    os.kill(engine.pid('gantryd'), signal.SIGHUP)
    assert '\n'.join(world.wrong(rows)) == '', 'while it reloads'
    removed = ()
    for gone in filter(world.networks.get, ('lan', 'cni', 'inside')):
        world.remove(gone)
        removed += (gone,)
        rest = world.rows(without=removed)
        assert len(rest) > 60 and '\n'.join(world.wrong(rest)) == '', f'after {gone} was removed'
    address = world.addresses['lan1']
    assert packets.ask(world.spaces['other'], 'tcp', address, 80) == 'no'
