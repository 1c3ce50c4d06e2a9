# SPDX-License-Identifier: Apache-2.0
"""The default network as the daemon's options have it, and hosts whose rules and forwarding are not to be touched.

What Debian's dockerd has too is proven on it (GANTRY_E2E=docker:peer)."""
import contextlib
import os
import signal

import pytest

from conftest import engines
from harness import packets
from harness.client import Client
from harness.engine import Peer, Stack, until
from harness.places import IMAGE, IMAGE_TAR
from test_networks import api, reaches, sleeper

BIP, RANGE, GATEWAY = '10.215.0.5/16', '10.215.8.0/24', '10.215.0.9'
OPTIONS = ['--bip', BIP, '--fixed-cidr', RANGE, '--default-gateway', GATEWAY, '--icc=false', '--ip-masq=false', '--ip', '127.0.0.1', '--mtu', '1400',
           '--ipv6', '--fixed-cidr-v6', 'fd5e:2::/64', '--default-gateway-v6', 'fd5e:2::9']


@contextlib.contextmanager
def engine_with(kind, number, arguments, home, prepare=None):
    engine = {'gantry': Stack, 'peer': Peer}[kind](number, arguments)
    try:
        engine.make_places()
        if prepare:
            prepare(engine)
        engine.start()
        client = Client('gantry' if kind == 'gantry' else 'docker', engine, home)
        client.ok('load', '-i', IMAGE_TAR)
        yield client
        for name in client.ok('ps', '-aq').split():
            client('rm', '-f', name)
    finally:
        left = engine.destroy()
    assert [str(t) for t in left] == []


def routes(client, container, *family):
    lines = client.ok('exec', container, 'ip', *family, 'route').splitlines()
    return [line.split()[2] for line in lines if line.startswith('default')]


def space_of(client, container):
    return f"/proc/{client.inspect(container, '{{.State.Pid}}')}/ns/net"


def bridge_addresses(client):
    lines = client.engine.inside('ip', '-o', '-4', 'addr', 'show', client.engine.names.bridge).stdout.splitlines()
    return [line.split()[3] for line in lines]


@pytest.mark.parametrize('kind', engines())
def test_options_of_the_daemon(kind, home):
    with engine_with(kind, 8, OPTIONS, home) as client:
        shown = api(client, 'GET', '/networks/bridge')[1]
        assert shown['IPAM']['Config'][0] == {'Subnet': '10.215.0.0/16', 'IPRange': RANGE, 'Gateway': '10.215.0.5',
                                              'AuxiliaryAddresses': {'DefaultGatewayIPv4': GATEWAY}}
        v6 = shown['IPAM']['Config'][1]
        assert v6['Subnet'] == 'fd5e:2::/64' and v6['AuxiliaryAddresses'] == {'DefaultGatewayIPv6': 'fd5e:2::9'}
        options = {key.removeprefix('com.docker.network.'): value for key, value in shown['Options'].items()}
        assert (options['bridge.enable_icc'], options['bridge.enable_ip_masquerade']) == ('false', 'false')
        assert (options['bridge.host_binding_ipv4'], options['driver.mtu']) == ('127.0.0.1', '1400')
        a, b = sleeper(client, 'one', '-p', '80'), sleeper(client, 'two')
        settings = api(client, 'GET', f'/containers/{a}/json')[1]['NetworkSettings']
        assert settings['IPAddress'].startswith('10.215.8.') and (settings['Gateway'], settings['IPv6Gateway']) == (GATEWAY, 'fd5e:2::9')
        assert routes(client, a) == [GATEWAY] and routes(client, a, '-6') == ['fd5e:2::9']
        assert client.ok('exec', a, 'cat', '/sys/class/net/eth0/mtu') == '1400'
        assert [p['HostIp'] for p in settings['Ports']['80/tcp']] == ['127.0.0.1']
        assert not reaches(client, b, settings['IPAddress']) and reaches(client, b, '10.215.0.5')
        # Networks of users have their own settings.
        client.ok('network', 'create', '--subnet', '10.216.1.0/24', 'own')
        c = sleeper(client, 'three', '--network', 'own', '-p', '81')
        assert client.ok('exec', c, 'cat', '/sys/class/net/eth0/mtu') == '1500'
        assert '0.0.0.0' in [p['HostIp'] for p in api(client, 'GET', f'/containers/{c}/json')[1]['NetworkSettings']['Ports']['81/tcp']]


REFUSED = [
    (['--default-gateway', '10.1.0.1'], 'auxiliary address: (DefaultGatewayIPv4:10.1.0.1) must belong to the master pool: 10.215.0.0/16'),
    (['--default-gateway', '10.215.0.5'], 'failed to allocate secondary ip address (DefaultGatewayIPv4:10.215.0.5): Address already in use'),
    (['--host-gateway-ip', '192.0.2.1', '--host-gateway-ip', '192.0.2.2'], 'only one IPv4 host gateway IP address can be specified'),
    (['--bridge-accept-fwmark', '1/x'], 'invalid firewall mask "1/x"'),
    (['--bridge-accept-fwmark', '0x100000000'], 'invalid firewall mark "0x100000000"'),
    (['--iptables=false', '--icc=false'], 'You specified --iptables=false with --icc=false. ICC=false uses iptables to function. '
                                          'Please set --icc or --iptables to true'),
]


@pytest.mark.parametrize('kind', engines())
@pytest.mark.parametrize('arguments,words', REFUSED, ids=lambda x: ' '.join(x) if isinstance(x, list) else None)
def test_options_that_cannot_be(kind, home, arguments, words):
    engine = {'gantry': Stack, 'peer': Peer}[kind](8, ['--bip', BIP, *arguments])
    try:
        with pytest.raises(RuntimeError) as failed:
            engine.start()
        assert words in str(failed.value)
    finally:
        engine.destroy()


@pytest.mark.parametrize('arguments,subnet,given', [
    ([], 'fd5e:3::/60', None), (['--fixed-cidr-v6', 'fd5e:3::/64'], 'fd5e:3::/60', 'fd5e:3::/64'),
    (['--fixed-cidr-v6', 'fd5e:3:0:1::/64'], 'fd5e:3::/60', 'fd5e:3:0:1::/64')], ids=['nothing', 'a part', 'a part without its address'])
def test_addresses_of_a_bridge_that_is_there(home, arguments, subnet, given):
    """An administrator's: its address is the network's gateway, its subnet the network's. dockerd 20.10 does so with IPv4 alone, later ones
    with both (moby's TestDaemonDefaultBridgeIPAM_UserBr)."""
    def prepare(engine):
        bridge = engine.names.bridge
        engine.inside('ip', 'link', 'add', bridge, 'type', 'bridge')
        engine.inside('ip', 'addr', 'add', 'fd5e:3::8888/60', 'dev', bridge, 'nodad')
        engine.inside('ip', 'link', 'set', bridge, 'up')
    with engine_with('gantry', 8, ['--ipv6', *arguments], home, prepare) as client:
        for _ in range(2):
            six = api(client, 'GET', '/networks/bridge')[1]['IPAM']['Config'][1]
            assert (six['Subnet'], six['Gateway'], six.get('IPRange')) == (subnet, 'fd5e:3::8888', given)
            lines = client.engine.inside('ip', '-o', '-6', 'addr', 'show', 'scope', 'global', 'dev', client.engine.names.bridge).stdout.splitlines()
            assert [line.split()[3] for line in lines] == ['fd5e:3::8888/60']
            sleeper(client, 'one')
            assert client.inspect('one', '{{.NetworkSettings.IPv6Gateway}}') == 'fd5e:3::8888'
            address = client.inspect('one', '{{.NetworkSettings.GlobalIPv6Address}}')
            assert address.startswith((given or subnet).split('::')[0] + ':') and reaches(client, 'one', 'fd5e:3::8888')
            client.ok('rm', '-f', 'one')
            client.engine.restart()


USER_BRIDGE = [
    # What the bridge has; the options; what the networks are: (subnet, gateway, range) for each family.
    (['10.215.16.88/20'], ['--fixed-cidr', '10.215.32.0/24'], [('10.215.16.0/20', '10.215.16.88', None)]),
    (['10.215.16.88/24'], ['--fixed-cidr', '10.215.16.0/20'], [('10.215.16.0/24', '10.215.16.88', None)]),
    (['10.215.16.88/20'], ['--fixed-cidr', '10.215.17.0/24'], [('10.215.16.0/20', '10.215.16.88', '10.215.17.0/24')]),
    (['10.215.16.88/20'], ['--ipv6', '--fixed-cidr-v6', 'fe80::/64'], [('10.215.16.0/20', '10.215.16.88', None), ('fe80::/64', 'KERNEL', 'fe80::/64')]),
]
OUTSIDE = [('fd5e:3::8888/64', 'fd5e:3::/60'), ('fd5e:3::8888/60', 'fd5e:3:0:10::/64'), ('fd5e:3:0:10::1/64', 'fd5e:3:0:10::/60')]


def user_bridge(addresses):
    def prepare(engine):
        bridge, engine.subnet = engine.names.bridge, []
        engine.inside('ip', 'link', 'add', bridge, 'type', 'bridge')
        for address in addresses:
            engine.inside('ip', 'addr', 'add', address, 'dev', bridge, *(['nodad'] if ':' in address else []))
        engine.inside('ip', 'link', 'set', bridge, 'up')
        until(lambda: kernels_address(engine))
    return prepare


def kernels_address(engine):
    lines = engine.inside('ip', '-o', '-6', 'addr', 'show', 'scope', 'link', 'dev', engine.names.bridge).stdout.splitlines()
    return lines[0].split()[3].split('/')[0] if lines else ''


@pytest.mark.parametrize('addresses,arguments,expected', USER_BRIDGE, ids=lambda value: ' '.join(map(str, value)))
def test_a_range_that_the_bridge_has_not(home, addresses, arguments, expected):
    """The administrator's bridge stays as it is, at every start (moby's TestDaemonDefaultBridgeIPAM_UserBr)."""
    with engine_with('gantry', 8, arguments, home, user_bridge(addresses)) as client:
        for _ in range(2):
            configs = api(client, 'GET', '/networks/bridge')[1]['IPAM']['Config']
            found = [(c['Subnet'], c['Gateway'], c.get('IPRange')) for c in configs]
            assert found == [tuple(kernels_address(client.engine) if x == 'KERNEL' else x for x in row) for row in expected]
            assert bridge_addresses(client) == addresses
            assert reaches(client, sleeper(client, 'one'), '10.215.16.88')
            client.ok('rm', '-f', 'one')
            client.engine.restart()


@pytest.mark.parametrize('address,wanted', OUTSIDE)
def test_a_range_of_ipv6_that_the_bridge_has_not(address, wanted):
    engine = Stack(8, ['--ipv6', '--fixed-cidr-v6', wanted])
    try:
        engine.make_places()
        user_bridge([address])(engine)
        with pytest.raises(RuntimeError, match='ended with 1'):
            engine.start()
        assert f'fixed-cidr-v6={wanted} is outside any subnet implied by addresses on the user-managed default bridge' in engine.log_end()
    finally:
        engine.destroy()


def test_other_options_at_the_next_start(home):
    """They wait for the last container; then the bridge is what they say, and nothing of before is left on it."""
    with engine_with('gantry', 8, [], home) as client:
        engine = client.engine
        assert bridge_addresses(client) == ['10.213.0.1/16']
        sleeper(client, 'one')
        engine.arguments = ['--bip', '10.217.0.7/24', '--fixed-cidr', '10.217.0.128/25', '--mtu', '1300', '--icc=false']
        engine.restart()
        assert bridge_addresses(client) == ['10.213.0.1/16'] and reaches(client, 'one', '10.213.0.1')
        assert 'keeps its IPv4 settings' in engine.log_end()
        client.ok('rm', '-f', 'one')
        engine.kill('gantryd')
        engine.start()
        assert bridge_addresses(client) == ['10.217.0.7/24']
        assert 'mtu 1300 ' in engine.inside('ip', 'link', 'show', engine.names.bridge).stdout
        a, b = sleeper(client, 'one'), sleeper(client, 'two')
        address = client.inspect(a, '{{.NetworkSettings.IPAddress}}')
        assert address == '10.217.0.128' and reaches(client, a, '10.217.0.7') and not reaches(client, b, address)
        client.ok('rm', '-f', a, b)
        engine.arguments = ['--fixed-cidr', '10.213.4.0/24']
        engine.restart()
        assert bridge_addresses(client) == ['10.213.0.1/16']
        assert client.inspect(sleeper(client, 'one'), '{{.NetworkSettings.IPAddress}}') == '10.213.4.0'


def alone(client, *options):
    return client.ok('run', '--rm', *options, IMAGE, 'ls', '/sys/class/net').split() == ['lo']


def test_no_default_network(home):
    """--bridge none: who asks for it has loopback alone, networks of users are as ever. (dockerd refuses it beside --bip, which the peer's harness gives.)"""
    with engine_with('gantry', 8, ['--bridge', 'none'], home) as client:
        assert 'bridge' not in client.ok('network', 'ls', '--format', '{{.Name}}').split()
        assert alone(client) and alone(client, '--network', 'bridge') and alone(client, '-p', '8080:80')
        client.ok('network', 'create', '--subnet', '10.216.1.0/24', 'own')
        one = sleeper(client, 'one', '--network', 'own')
        assert client.ok('exec', one, 'ip', '-o', '-4', 'addr', 'show', 'eth0').split()[3] == '10.216.1.2/24'
        assert client('run', '--rm', '--network', 'own', IMAGE, 'ping', '-c', '1', '-W', '3', 'one').code == 0


def test_no_default_network_from_the_next_start_on(home):
    """It waits for the last container, and comes back when it is wanted again; of the rules there are always one daemon's."""
    with engine_with('gantry', 8, [], home) as client:
        engine = client.engine
        one = sleeper(client, 'one')
        engine.arguments = ['--bridge', 'none']
        engine.restart()
        assert reaches(client, one, '10.213.0.1') and "network bridge stays: container '" in engine.log_end()
        client.ok('rm', '-f', one)
        engine.restart()
        assert alone(client)
        client.ok('network', 'create', '--subnet', '10.216.1.0/24', 'own')
        assert client.ok('run', '--rm', '--network', 'own', IMAGE, 'ls', '/sys/class/net').split() == ['eth0', 'lo']
        client.ok('network', 'rm', 'own')
        engine.arguments = []
        engine.restart()
        assert client.ok('run', '--rm', IMAGE, 'ls', '/sys/class/net').split() == ['eth0', 'lo']
        assert engine.inside('nft', 'list', 'tables').stdout.split() == ['table', 'ip', f'gantry-{engine.names.bridge}']


def hosts(client, *arguments):
    text = client.ok('run', '--rm', '--add-host', 'up:host-gateway', *arguments, IMAGE, 'cat', '/etc/hosts')
    return [line.split()[0] for line in text.splitlines() if line.split()[1:] == ['up']]


@pytest.mark.parametrize('kind', engines())
def test_host_gateway(kind, home):
    with engine_with(kind, 8, ['--bip', BIP, '--host-gateway-ip', '192.0.2.9'], home) as client:
        assert hosts(client) == hosts(client, '--network', 'none') == ['192.0.2.9']


def test_host_gateways(home, tmp_path):
    """As docker 28 has them: one address of each family, by default the default network's own."""
    both = ['--bip', BIP, '--ipv6', '--fixed-cidr-v6', 'fd5e:2::/64', '--default-gateway', GATEWAY]
    with engine_with('gantry', 8, both, home) as client:
        engine = client.engine
        assert hosts(client) == ['10.215.0.5', 'fd5e:2::1']
        for given in (['--host-gateway-ip', '192.0.2.9', '--host-gateway-ip', 'fd5e:2::77'], ['--host-gateway-ip', 'fd5e:2::77']):
            engine.stop()
            engine.arguments = [*both, *given]
            engine.start()
            assert hosts(client) == given[1::2]
        # The key, by its names of now and of before; a reload is enough.
        file = tmp_path / 'daemon.json'
        file.write_text('{"host-gateway-ip": "192.0.2.8"}')
        engine.stop()
        engine.arguments = [*both, '--config-file', str(file)]
        engine.start()
        assert hosts(client) == ['192.0.2.8']
        file.write_text('{"host-gateway-ips": ["192.0.2.7", "fd5e:2::78"]}')
        os.kill(engine.pid('gantryd'), signal.SIGHUP)
        until(lambda: hosts(client) == ['192.0.2.7', 'fd5e:2::78'], 30)


def test_options_of_new_networks(home):
    mtu = 'com.docker.network.driver.mtu'
    with engine_with('gantry', 8, ['--default-network-opt', f'bridge={mtu}=1234', '--default-network-opt', 'macvlan=parent=nosuch'], home) as client:
        client.ok('network', 'create', '--subnet', '10.216.2.0/24', 'usual')
        client.ok('network', 'create', '--subnet', '10.216.3.0/24', '-o', f'{mtu}=1300', 'own')
        shown = {name: api(client, 'GET', f'/networks/{name}')[1]['Options'].get(mtu) for name in ('usual', 'own', 'bridge')}
        assert shown == {'usual': '1234', 'own': '1300', 'bridge': '1500'}
        assert client.run('--network', 'usual', IMAGE, 'cat', '/sys/class/net/eth0/mtu').text == '1234'
        client.ok('network', 'rm', 'usual', 'own')


def no_forwarding(engine):
    engine.inside('sysctl', '-qw', 'net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0')


def forwarding(client):
    return [packets.run('cat', f'/proc/sys/net/{name}', space=client.engine.names.netns).strip()
            for name in ('ipv4/ip_forward', 'ipv6/conf/all/forwarding')]


def rules(client):
    space = client.engine.names.netns
    return [line for command in ('iptables-save', 'ip6tables-save') for line in packets.run(command, space=space).splitlines()
            if line.startswith('-A')] + [line for line in packets.run('nft', 'list', 'ruleset', space=space).splitlines() if 'gantry' in line]


@pytest.mark.parametrize('kind', engines())
def test_no_rules_of_ours(kind, home):
    """Ports are carried by the proxy, everything else is the host's matter; forwarding is turned on all the same."""
    # Debian's dockerd has no --ip6tables and makes none of these rules.
    arguments = ['--iptables=false'] + (['--ip6tables=false'] if kind == 'gantry' else [])
    with engine_with(kind, 8, arguments, home, no_forwarding) as client, \
            packets.other_host(client.engine.names.netns, f'{client.engine.names.netns_name}-o') as other:
        assert rules(client) == [] and forwarding(client)[0] == '1'
        assert api(client, 'GET', '/networks/bridge')[1]['Options']['com.docker.network.bridge.enable_ip_masquerade'] == 'false'
        sleeper(client, 'one', '-p', '8080:81')
        assert rules(client) == []
        gateway, address = (client.inspect('one', '{{.NetworkSettings.%s}}' % name) for name in ('Gateway', 'IPAddress'))
        server = packets.Servers()
        try:
            server.listen(space_of(client, 'one'), 'one', (81,))
            packets.run('ip', 'route', 'add', f'{address}/32', 'via', '192.0.2.1', space=other)
            assert packets.ask(other, 'tcp', '192.0.2.1', 8080, 5) == f'one {gateway}'
            assert packets.ask(other, 'tcp', address, 81, 5) == 'one 192.0.2.2'
        finally:
            server.close()


def test_rules_of_one_family(home):
    with engine_with('gantry', 8, ['--ipv6', '--ip6tables=false'], home, no_forwarding) as client:
        sleeper(client, 'one', '-p', '8080:80')
        tables = packets.run('nft', 'list', 'tables', space=client.engine.names.netns).split('\n')
        assert [t for t in tables if 'gantry' in t] == [f'table ip gantry-{client.engine.names.bridge}']
        assert forwarding(client) == ['1', '1']
        client.engine.arguments = ['--ipv6', '--iptables=false']
        client.engine.restart()
        tables = packets.run('nft', 'list', 'tables', space=client.engine.names.netns).split('\n')
        assert [t for t in tables if 'gantry' in t] == [f'table ip6 gantry-{client.engine.names.bridge}']


@pytest.mark.parametrize('kind', engines())
def test_no_forwarding_of_ours(kind, home):
    with engine_with(kind, 8, ['--ip-forward=false'], home, no_forwarding) as client:
        sleeper(client, 'one')
        assert forwarding(client) == ['0', '0']


def test_published_for_this_host_alone(home):
    """--publish-default loopback: of every network that says no address itself; packets show it."""
    with engine_with('gantry', 8, ['--publish-default', 'loopback'], home) as client, \
            packets.other_host(client.engine.names.netns, f'{client.engine.names.netns_name}-o') as other:
        client.ok('network', 'create', '--subnet', '10.216.4.0/24', 'own')
        client.ok('network', 'create', '--subnet', '10.216.5.0/24', '-o', 'com.docker.network.bridge.host_binding_ipv4=192.0.2.1', 'bound')
        server, host = packets.Servers(), client.engine.names.netns
        try:
            for name, options in {'one': ('-p', '8080:80', '-p', '192.0.2.1:8083:80'), 'two': ('--network', 'own', '-p', '8081:80'),
                                  'three': ('--network', 'bound', '-p', '8082:80')}.items():
                sleeper(client, name, *options)
                server.listen(space_of(client, name), name, (80,))
            reached = {port: (packets.ask(other, 'tcp', '192.0.2.1', port, 5).split()[0], packets.ask(host, 'tcp', '127.0.0.1', port, 5).split()[0])
                       for port in (8080, 8081, 8082, 8083)}
            assert reached == {8080: ('refused', 'one'), 8081: ('refused', 'two'), 8082: ('three', 'refused'), 8083: ('one', 'refused')}
        finally:
            server.close()
        client.ok('rm', '-f', 'one', 'two', 'three')
        client.ok('network', 'rm', 'own', 'bound')
