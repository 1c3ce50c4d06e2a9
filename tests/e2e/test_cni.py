# SPDX-License-Identifier: Apache-2.0
"""CNI configurations as networks, with Debian's plugins and one of the test's: packets, ports, records, crashes."""
import contextlib
import json
import os
import re
import time

import pytest

from harness import packets, places
from harness.client import Client
from harness.engine import Stack, ask, until
from harness.places import IMAGE, IMAGE_TAR
from test_networks import entries

# A plugin of version 1.1.0 that writes down what it is told, and joins the namespace to nothing.
PLUGIN = r'''#!/usr/bin/python3
import json, os, subprocess, sys
told = json.load(sys.stdin)
here = os.path.dirname(os.path.abspath(__file__))
command = os.environ['CNI_COMMAND']
with open(f'{here}/log', 'a') as log:
    log.write(json.dumps({'command': command, 'id': os.environ.get('CNI_CONTAINERID'), 'interface': os.environ.get('CNI_IFNAME'),
                          'netns': os.environ.get('CNI_NETNS'), 'args': os.environ.get('CNI_ARGS'), 'told': told}) + '\n')
def inside(*words):
    subprocess.run(['nsenter', '--net=' + os.environ['CNI_NETNS'], 'ip', *words], check=True)
if command == told.get('fail'):
    print(json.dumps({'cniVersion': told['cniVersion'], 'code': 100, 'msg': 'it is told to fail', 'details': command.lower()}))
    sys.exit(1)
if command == told.get('hang'):
    # Whoever it has started is to end with it.
    subprocess.run(['sleep', told['seconds']])
name = os.environ.get('CNI_IFNAME')
if command == 'ADD':
    inside('link', 'add', name, 'type', 'veth', 'peer', 'name', name + '-p')
    inside('addr', 'add', '10.98.0.7/24', 'dev', name)
    inside('link', 'set', name, 'up')
    print(json.dumps({'cniVersion': told['cniVersion'], 'interfaces': [{'name': name, 'sandbox': os.environ['CNI_NETNS']}],
                      'ips': [{'address': '10.98.0.7/24', 'interface': 0}]}))
if command == 'DEL' and os.environ['CNI_NETNS']:
    subprocess.run(['nsenter', '--net=' + os.environ['CNI_NETNS'], 'ip', 'link', 'del', name])
'''


class World:
    def __init__(self, client, folder):
        self.client, self.folder = client, folder
        self.host = client.engine.names.netns
        (folder / 'ipam').mkdir()
        (folder / 'bin').mkdir()
        (folder / 'net.d').mkdir()
        plugin = folder / 'bin' / 'told'
        plugin.write_text(PLUGIN)
        plugin.chmod(0o755)

    def write(self, name, *plugins, version='1.0.0', file=None):
        path = self.folder / 'net.d' / (file or f'10-{name}.conflist')
        path.write_text(json.dumps({'cniVersion': version, 'name': name, 'plugins': plugins}))
        return path

    def bridge(self, name, number, **more):
        return {'type': 'bridge', 'bridge': f'cni-{number}', 'isGateway': True, 'isDefaultGateway': True, 'ipMasq': False, 'capabilities': {'mac': True},
                'ipam': {'type': 'host-local', 'dataDir': str(self.folder / 'ipam'), 'ranges': [[{'subnet': f'10.9{number}.0.0/24'}]]}, **more}

    def network(self, name, *options, code=0):
        done = self.client('network', 'create', '-d', 'cni', '-o', f'cni.dir={self.folder}/net.d', '-o', f'cni.path={self.folder}/bin:/usr/lib/cni', *options, name)
        assert (done.code == 0) == (code == 0), done
        return done.err

    def container(self, name, *options):
        self.client.ok('run', '-d', '--name', name, *options, IMAGE, 'sleep', '100000')
        return name

    def space(self, name):
        return f"/proc/{self.client.inspect(name, '{{.State.Pid}}')}/ns/net"

    def leases(self, name):
        with contextlib.suppress(FileNotFoundError):
            return sorted(x for x in os.listdir(self.folder / 'ipam' / name) if x[0].isdigit())
        return []

    def ports(self, bridge):
        """Interfaces of that bridge."""
        return re.findall(r'^\d+: (\S+?)@', packets.run('ip', '-o', 'link', 'show', 'master', bridge, space=self.host, check=False), re.M)

    def told(self):
        with contextlib.suppress(FileNotFoundError):
            return [json.loads(line) for line in (self.folder / 'bin' / 'log').read_text().splitlines()]
        return []


@pytest.fixture(scope='module')
def gantry(home):
    engine = Stack(number=15)
    try:
        engine.start()
        client = Client('gantry', engine, home)
        client.ok('load', '-i', IMAGE_TAR)
        yield client
    finally:
        left = engine.destroy()
    assert [str(t) for t in left] == []


@pytest.fixture
def world(gantry, tmp_path):
    yield World(gantry, tmp_path)
    for name in gantry.ok('ps', '-aq').split():
        gantry('rm', '-f', name)
    for name in gantry.ok('network', 'ls', '-q', '--filter', 'type=custom').split():
        gantry('network', 'rm', name)


def test_bridge_and_portmap(world):
    client = world.client
    world.write('n-lan', world.bridge('n-lan', 1), {'type': 'portmap', 'capabilities': {'portMappings': True}})
    world.network('n-lan')
    shown = ask(client.engine, 'GET', '/networks/n-lan')
    assert (shown['Driver'], shown['IPAM']['Config']) == ('cni', [])
    a = world.container('ca', '--network', 'n-lan', '-p', '18280:80', '--mac-address', '02:aa:00:00:00:31')
    b = world.container('cb', '--network', 'n-lan', '--ip', '10.91.0.77')
    entry = entries(client, a)['n-lan']
    assert (entry['IPPrefixLen'], entry['Gateway'], entry['MacAddress']) == (24, '10.91.0.1', '02:aa:00:00:00:31')
    assert entries(client, b)['n-lan']['IPAddress'] == '10.91.0.77' and world.leases('n-lan') == sorted([entry['IPAddress'], '10.91.0.77'])
    assert '10.91.0.77/24' in client.ok('exec', b, 'ip', 'addr', 'show', 'eth0') and 'default via 10.91.0.1' in client.ok('exec', b, 'ip', 'route')
    with contextlib.ExitStack() as over:
        servers = packets.Servers()
        over.callback(servers.close)
        other = over.enter_context(packets.other_host(world.host, f'{client.engine.names.netns_name}-o'))
        servers.listen(world.space(a), 'ca', (80,))
        # A neighbour, by name; another host, by the plugin's port.
        assert packets.ask(world.space(b), 'tcp', entry['IPAddress'], 80, 5) == 'ca 10.91.0.77'
        assert entry['IPAddress'] in client.ok('exec', b, 'nslookup', 'ca')
        until(lambda: packets.ask(other, 'tcp', '192.0.2.1', 18280, 5) == 'ca 192.0.2.2', 30, 'the published port')
        ports = ask(client.engine, 'GET', f'/containers/{a}/json')['NetworkSettings']['Ports']
        assert ports == {'80/tcp': [{'HostIp': '0.0.0.0', 'HostPort': '18280'}]} and '18280->80/tcp' in client.ok('ps', '--filter', f'name={a}')
        # The same over a restart of the daemon, and a kill.
        client.engine.restart()
        client.engine.kill('gantryd')
        client.engine.start()
        assert entries(client, a)['n-lan']['IPAddress'] == entry['IPAddress'] and packets.ask(other, 'tcp', '192.0.2.1', 18280, 5) == 'ca 192.0.2.2'
    client.ok('rm', '-f', a, b)
    assert world.leases('n-lan') == [] and '18280' not in packets.run('iptables', '-t', 'nat', '-S', space=world.host)
    until(lambda: world.ports('cni-1') == [], 30, 'interfaces go')


def test_a_second_interface(world):
    """As users of multus have it: one network leads out, the other is there beside it."""
    client = world.client
    world.write('n-side', world.bridge('n-side', 2))
    world.network('n-side', '-o', 'cni.conf=10-n-side.conflist')
    client.ok('network', 'create', 'n-a')
    name = world.container('two', '--network', 'n-a', '--network', 'n-side')
    routes = [line for line in client.ok('exec', name, 'ip', 'route').splitlines() if line.startswith('default')]
    assert len(routes) == 1 and 'eth0' in routes[0]
    assert entries(client, name)['n-side']['IPAddress'] in client.ok('exec', name, 'ip', 'addr', 'show', 'eth1')
    gateway = packets.ping(world.space(name), '10.92.0.1', 5)
    assert gateway == 'yes'
    client.ok('network', 'disconnect', 'n-a', name)
    assert 'default via 10.92.0.1' in client.ok('exec', name, 'ip', 'route')
    client.ok('network', 'disconnect', 'n-side', name)
    assert world.leases('n-side') == [] and 'eth1' not in client.ok('exec', name, 'ip', 'link')
    client.ok('network', 'connect', 'n-side', name)
    assert len(world.leases('n-side')) == 1
    client.ok('kill', name)
    until(lambda: world.leases('n-side') == [], 30, 'the address is given back')


def test_what_plugins_are_told(world):
    client = world.client
    world.write('n-told', {'type': 'told', 'capabilities': {'portMappings': True, 'aliases': True}}, version='1.1.0')
    world.network('n-told')
    name = world.container('cold', '--network', 'n-told', '-p', '127.0.0.1:18281:81/udp')
    identity = client.inspect(name, '{{.Id}}')
    client.engine.restart()
    client.ok('rm', '-f', name)
    told = world.told()
    assert [(t['command'], t['id'], t['interface']) for t in told if t['command'] != 'GC'] == [(c, identity, 'eth0') for c in ('ADD', 'CHECK', 'DEL')]
    add, check, delete = (t for t in told if t['command'] != 'GC')
    assert add['told']['runtimeConfig']['portMappings'] == [{'hostPort': 18281, 'containerPort': 81, 'protocol': 'udp', 'hostIP': '127.0.0.1'}] and 'cold' in add['told']['runtimeConfig']['aliases']
    assert 'prevResult' not in add['told'] and check['told']['prevResult'] == delete['told']['prevResult'] and check['told']['prevResult']['ips'][0]['address'] == '10.98.0.7/24'
    assert delete['told']['runtimeConfig'] == add['told']['runtimeConfig'] and add['netns'] == delete['netns'] != ''
    collected = [t['told'] for t in told if t['command'] == 'GC']
    assert [c['cni.dev/valid-attachments'] for c in collected] == [[{'containerID': identity, 'ifname': 'eth0'}]]


def test_an_interface_that_is_gone_is_made_again(world):
    client = world.client
    world.write('n-again', world.bridge('n-again', 3))
    world.network('n-again')
    name = world.container('again', '--network', 'n-again')
    client.engine.kill('gantryd')
    entry, = os.listdir(f'{client.engine.names.state}/netns')
    packets.run('ip', 'link', 'del', 'eth0', space=f'{client.engine.names.state}/netns/{entry}')
    client.engine.start()
    address = entries(client, name)['n-again']['IPAddress']
    assert address in client.ok('exec', name, 'ip', 'addr', 'show', 'eth0') and world.leases('n-again') == [address]


def test_kills_leave_nothing(world):
    client = world.client
    world.write('n-kill', world.bridge('n-kill', 4), {'type': 'portmap', 'capabilities': {'portMappings': True}})
    world.network('n-kill')
    for number, wait in enumerate((0.05, 0.15, 0.25, 0.4)):
        process = client.start('run', '-d', '--name', f'k{number}', '--network', 'n-kill', '-p', '18282:80', IMAGE, 'sleep', '100000')
        time.sleep(wait)
        client.engine.kill('gantryd')
        process.communicate()
        client.engine.start()
        # What runs has its address; what does not has none.
        running = client.ok('ps', '-q', '--no-trunc').split()
        assert [p.read_text().split()[0] for p in (world.folder / 'ipam' / 'n-kill').glob('10.*')] == running
        client('rm', '-f', f'k{number}')
    process = client.start('run', '-d', '--name', 'last', '--network', 'n-kill', '-p', '18282:80', IMAGE, 'sleep', '100000')
    process.communicate()
    process = client.start('rm', '-f', 'last')
    time.sleep(0.1)
    client.engine.kill('gantryd')
    process.communicate()
    client.engine.start()
    client('rm', '-f', 'last')
    assert world.leases('n-kill') == [] and '18282' not in packets.run('iptables', '-t', 'nat', '-S', space=world.host)
    until(lambda: world.ports('cni-4') == [], 30, 'interfaces go')


def test_errors_are_shown_and_leave_nothing(world):
    client = world.client
    assert "no CNI configuration of the name n-none" in world.network('n-none', code=1)
    world.write('n-lost', {'type': 'nosuch'})
    assert 'CNI plugin nosuch is not in' in world.network('n-lost', code=1)
    (world.folder / 'net.d' / '20.conf').write_text('{')
    assert 'CNI configuration' in world.network('n-bad', '-o', 'cni.conf=20.conf', code=1)
    assert 'has addresses and families from its configuration' in world.network('n-bad', '--subnet', '10.1.0.0/24', code=1)
    assert "neither a file's name nor an absolute path" in world.network('n-bad', '-o', 'cni.conf=../x/20.conf', code=1)
    small = world.bridge('n-small', 5)
    small['ipam']['ranges'] = [[{'subnet': '10.95.0.0/30'}]]
    world.write('n-small', small, {'type': 'portmap', 'capabilities': {'portMappings': True}})
    world.network('n-small')
    world.container('first', '--network', 'n-small')
    done = client('run', '--name', 'second', '--network', 'n-small', IMAGE, 'true')
    assert done.code == 125 and 'CNI plugin bridge failed (add): ' in done.err and 'no IP addresses available' in done.err
    assert len(world.leases('n-small')) == 1 and client.inspect('second', '{{.State.Status}}') == 'created'
    client.ok('rm', '-f', 'first')
    client.ok('start', '-a', 'second')
    assert 'whose host port is said' in client('run', '--rm', '--network', 'n-small', '-p', '80', IMAGE, 'true').err
    done = client('network', 'rm', 'n-small')
    assert done.code == 0 and world.leases('n-small') == []
    # The chain's later plugin fails: the former one is told.
    world.write('n-half', world.bridge('n-half', 6), {'type': 'told', 'fail': 'ADD'})
    world.network('n-half')
    done = client('run', '--rm', '--network', 'n-half', IMAGE, 'true')
    assert done.code == 125 and 'CNI plugin told failed (add): it is told to fail; add' in done.err
    assert world.leases('n-half') == [] and world.ports('cni-6') == []
    # One that can't take away what it made hinders nobody.
    world.write('n-stuck', {'type': 'told', 'fail': 'DEL'})
    world.network('n-stuck')
    client.ok('run', '--rm', '--network', 'n-stuck', IMAGE, 'true')
    client.ok('network', 'rm', 'n-stuck')


def sleepers(seconds):
    """Whether a plugin of that number still waits: the pids of its child."""
    return packets.run('pgrep', '-fx', f'sleep {seconds}', check=False).split()


def test_a_plugin_that_hangs_ends_with_its_daemon(world):
    client = world.client
    world.write('n-hang', world.bridge('n-hang', 7), {'type': 'told', 'hang': 'ADD', 'seconds': '1107'})
    world.network('n-hang')
    process = client.start('run', '-d', '--name', 'hung', '--network', 'n-hang', IMAGE, 'sleep', '1000')
    until(lambda: sleepers('1107'), 30)
    # Others don't wait for it.
    began = time.monotonic()
    client.ok('run', '--rm', IMAGE, 'true')
    assert time.monotonic() - began < 20
    assert len(world.leases('n-hang')) == 1
    client.engine.kill('gantryd')
    process.communicate()
    until(lambda: [t for t in world.told() if t['command'] == 'ADD'] and not plugins_of(world), 30, 'the plugin ends')
    client.engine.start()
    assert world.leases('n-hang') == [] and client.inspect('hung', '{{.State.Running}}') == 'false'
    for pid in sleepers('1107'):
        os.kill(int(pid), 9)  # its own child, which nobody else knows of
    until(lambda: world.ports('cni-7') == [], 30, 'interfaces go')


def plugins_of(world):
    return packets.run('pgrep', '-f', str(world.folder / 'bin' / 'told'), check=False).split()


@pytest.mark.skipif(not places.SOAK, reason='it takes a minute')
def test_a_plugin_that_hangs(world):
    client = world.client
    world.write('n-long', world.bridge('n-long', 8), {'type': 'told', 'hang': 'ADD', 'seconds': '1108'})
    world.network('n-long')
    done = client('run', '--name', 'hung', '--network', 'n-long', IMAGE, 'true', timeout=100)
    assert done.code == 125 and 'CNI plugin told (ADD): it did not end in 60 s' in done.err
    # With all that it started; the chain's earlier plugin is told.
    assert sleepers('1108') == [] and plugins_of(world) == [] and world.leases('n-long') == [] and world.ports('cni-8') == []
