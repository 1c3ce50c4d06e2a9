# SPDX-License-Identifier: Apache-2.0
"""IPv6 on users' networks and on the default one: addresses, routes, names and packets."""
import errno
import ipaddress
import json
import os

import pytest

from harness.client import Client
from harness.engine import Peer, Stack
from harness.places import IMAGE, IMAGE_TAR
from test_networks import api, entries, links, message, nets, sleeper, subnet  # noqa: F401

NUMBERS = iter(range(1, 250))


def subnet6():
    return f'fd5a:{os.getpid() & 0xffff:x}:{next(NUMBERS):x}::/64'


@pytest.fixture
def dual(nets):
    """A network of both families; its IPv6 prefix without the end, and its name."""
    def make(**fields):
        v6 = subnet6()
        name = nets(EnableIPv6=True, IPAM={'Config': [{'Subnet': subnet()}, {'Subnet': v6}]}, **fields)
        return name, v6.removesuffix('/64')
    return make


def routes6(client, container):
    return [line for line in client.ok('exec', container, 'ip', '-6', 'route').splitlines() if line.startswith('default')]


def pings(client, container, address):
    return client('exec', container, 'ping', '-6', '-c', '1', '-W', '3', address).code == 0


def host_reaches(client, address):
    """A port where nobody listens is refused by who has the address; else there is no answer."""
    ask = f'import socket; s = socket.socket(socket.AF_INET6); s.settimeout(3); print(s.connect_ex(("{address}", 9)))'
    return client.engine.inside('/usr/bin/python3', '-c', ask).stdout.strip() == str(errno.ECONNREFUSED)


def addresses6(client, container, interface='eth0'):
    lines = client.ok('exec', container, 'ip', '-6', 'addr', 'show', interface).splitlines()
    return [line.split()[1] for line in lines if 'inet6' in line and 'scope global' in line]


def answers(client, container, kind, name):
    """What the embedded resolver says, whether or not the type is known to it."""
    return client('exec', container, 'nslookup', f'-type={kind}', name, '127.0.0.11').out


def test_two_families(client, dual):
    net, prefix = dual()
    a, b = sleeper(client, f'{net}-a', '--network', net), sleeper(client, f'{net}-b', '--network', net, '--ip6', f'{prefix}99')
    one, other = entries(client, a)[net], entries(client, b)[net]
    assert (one['GlobalIPv6Address'], one['GlobalIPv6PrefixLen'], one['IPv6Gateway']) == (f'{prefix}2', 64, f'{prefix}1')
    assert other['GlobalIPv6Address'] == f'{prefix}99' and other['IPAMConfig']['IPv6Address'] == f'{prefix}99'
    assert other['IPAddress'] and other['Gateway']
    shown = api(client, 'GET', f'/networks/{net}')[1]
    assert shown['EnableIPv6'] is True
    assert sorted(c['IPv6Address'] for c in shown['Containers'].values()) == sorted([f'{prefix}2/64', f'{prefix}99/64'])
    assert addresses6(client, a) == [f'{prefix}2/64'] and addresses6(client, b) == [f'{prefix}99/64']
    assert 'tentative' not in client.ok('exec', a, 'ip', '-6', 'addr', 'show', 'eth0').split('scope global')[1].split('inet6')[0]
    assert [line.split()[2] for line in routes6(client, a)] == [f'{prefix}1']
    assert pings(client, a, f'{prefix}99') and pings(client, b, f'{prefix}2') and pings(client, a, f'{prefix}1')
    assert host_reaches(client, f'{prefix}99')
    hosts = client.ok('exec', a, 'cat', '/etc/hosts')
    assert f'{prefix}2\t' in hosts and f"{one['IPAddress']}\t" in hosts
    assert f'{prefix}99' in answers(client, a, 'aaaa', b) and other['IPAddress'] in answers(client, a, 'a', b)
    pointer = ipaddress.ip_address(f'{prefix}99').reverse_pointer
    assert f'{b}.{net}' in answers(client, a, 'ptr', pointer)


def test_families_are_shown_in_one_order(client, nets):
    """IPv4 first, however they were asked for and whichever the engine has chosen."""
    name = nets.name('order')
    client.ok('network', 'create', '--ipv6', '--subnet', 'fd5e:77::/64', '--subnet', '10.98.77.0/24', name)
    assert [c['Subnet'] for c in api(client, 'GET', f'/networks/{name}')[1]['IPAM']['Config']] == ['10.98.77.0/24', 'fd5e:77::/64']


def test_ipv4_alone_has_no_ipv6(client, nets):
    net = nets()
    a = sleeper(client, f'{net}-a', '--network', net)
    assert client.ok('exec', a, 'cat', '/proc/sys/net/ipv6/conf/eth0/disable_ipv6').strip() == '1'
    assert addresses6(client, a) == [] and routes6(client, a) == []
    entry = entries(client, a)[net]
    assert (entry['GlobalIPv6Address'], entry['GlobalIPv6PrefixLen'], entry['IPv6Gateway']) == ('', 0, '')
    assert 'can\'t resolve' not in answers(client, a, 'aaaa', a)


def by_api(client, name, net, sysctls, driver_options):
    body = {'Image': IMAGE, 'Cmd': ['sleep', '1000'], 'HostConfig': {'NetworkMode': net, 'Sysctls': sysctls},
            'NetworkingConfig': {'EndpointsConfig': {net: {'DriverOpts': driver_options}}}}
    assert api(client, 'POST', f'/containers/create?name={name}', body)[0] == 201
    client.ok('start', name)
    return name


@pytest.mark.only('gantry')
@pytest.mark.parametrize('whole', [True, False])
def test_off_inside(client, dual, whole):
    """As in docker 27: who turns IPv6 off, in the container or on the interface alone, has no address that nobody can reach, nor a name for it."""
    net, prefix = dual()
    sysctls = {'net.ipv6.conf.all.disable_ipv6': '1'} if whole else {}
    driver_options = {} if whole else {'com.docker.network.endpoint.sysctls': 'net.ipv6.conf.IFNAME.disable_ipv6=1'}
    a, b = by_api(client, f'{net}-a', net, sysctls, driver_options), sleeper(client, f'{net}-b', '--network', net)
    for again in (False, True):
        if again:
            client.ok('restart', '-t', '0', a)
        entry = entries(client, a)[net]
        assert (entry['GlobalIPv6Address'], entry['GlobalIPv6PrefixLen'], entry['IPv6Gateway']) == ('', 0, '')
        assert addresses6(client, a) == [] and routes6(client, a) == []
        hosts = client.ok('exec', a, 'cat', '/etc/hosts')
        assert ('::1\t' in hosts) == (not whole) and prefix not in hosts and f"{entry['IPAddress']}\t" in hosts
        assert entry['IPAddress'] in answers(client, b, 'a', a) and prefix not in answers(client, b, 'aaaa', a)
    # The other one has what it always has.
    assert addresses6(client, b) == [f'{prefix}2/64']


def test_connected_and_taken_off(client, nets, dual):
    net, prefix = dual()
    plain = nets('plain')
    a = sleeper(client, f'{net}-a', '--network', plain)
    client.ok('network', 'connect', '--ip6', f'{prefix}77', net, a)
    assert addresses6(client, a, 'eth1') == [f'{prefix}77/64']
    assert [line.split()[2] for line in routes6(client, a)] == [f'{prefix}1']
    assert client.ok('exec', a, 'cat', '/proc/sys/net/ipv6/conf/eth0/disable_ipv6').strip() == '1'
    assert f'{prefix}77\t' in client.ok('exec', a, 'cat', '/etc/hosts')
    client.ok('network', 'disconnect', net, a)
    assert routes6(client, a) == [] and f'{prefix}77' not in client.ok('exec', a, 'cat', '/etc/hosts')
    b = sleeper(client, f'{net}-b', '--network', net, '--ip6', f'{prefix}77')
    assert entries(client, b)[net]['GlobalIPv6Address'] == f'{prefix}77'


def test_link_local_addresses(client, dual):
    net, prefix = dual()
    a = sleeper(client, f'{net}-a', '--network', net, '--link-local-ip', '169.254.7.8', '--link-local-ip', 'fe80::7:8')
    shown = client.ok('exec', a, 'ip', 'addr', 'show', 'eth0')
    assert '169.254.7.8/16' in shown and 'fe80::7:8/64' in shown
    assert sorted(entries(client, a)[net]['IPAMConfig']['LinkLocalIPs']) == ['169.254.7.8', 'fe80::7:8']


REFUSED6 = [
    ({'EnableIPv6': True, 'IPAM': {'Config': [{'Subnet': 'fd00::/200'}]}}, 400, 'nvalid'),
    ({'EnableIPv6': True, 'IPAM': {'Config': [{'Subnet': '10.98.1.0/24'}, {'Subnet': 'fd5b::/64', 'Gateway': 'fd5c::1'}]}}, None, 'fd5c::1'),
    ({'EnableIPv6': True, 'IPAM': {'Config': [{'Subnet': '10.98.2.0/24'}, {'Subnet': 'fd6b::/64', 'AuxiliaryAddresses': {'x': 'fd5c::1'}}]}},
     403, 'auxiliary address: (x:fd5c::1) must belong to the master pool: fd6b::/64'),
    ({'EnableIPv6': True, 'IPAM': {'Config': [{'Subnet': 'fd5d::/64'}, {'Subnet': 'fd5f::/64'}, {'Subnet': '10.98.3.0/24'}]}},
     403, "bridge driver doesn't support multiple subnets"),
]


@pytest.mark.parametrize('fields,wanted,words', REFUSED6, ids=lambda x: None if not isinstance(x, dict) else json.dumps(x)[:70])
def test_refused6(client, fields, wanted, words):
    before = {n['Id'] for n in api(client, 'GET', '/networks')[1]}
    status, text = message(client, 'POST', '/networks/create', {'Name': 'refused6', **fields})
    assert words in text and (wanted is None or status == wanted or client.engine.kind == 'p')
    assert {n['Id'] for n in api(client, 'GET', '/networks')[1]} == before


def test_overlap6(client, dual):
    net, prefix = dual()
    status, text = message(client, 'POST', '/networks/create', {'Name': 'refused6', 'EnableIPv6': True, 'IPAM': {'Config': [
        {'Subnet': subnet()}, {'Subnet': f'{prefix}/64'}]}})
    assert status == 403 and text.startswith('Pool overlaps with other one on this address space')


def test_address_that_is_taken(client, dual):
    net, prefix = dual()
    sleeper(client, f'{net}-a', '--network', net, '--ip6', f'{prefix}5')
    failed = client('run', '-d', '--name', f'{net}-b', '--network', net, '--ip6', f'{prefix}5', IMAGE, 'true')
    assert failed.code == 125 and 'Address already in use' in failed.err
    client.ok('rm', '-f', f'{net}-b')
    # The address of IPv4 was given back: nothing of that container is there.
    assert len(api(client, 'GET', f'/networks/{net}')[1]['Containers']) == 1


def test_no_address_left(client, nets):
    net = nets(EnableIPv6=True, IPAM={'Config': [{'Subnet': subnet()}, {'Subnet': subnet6().replace('/64', '/126')}]})
    for name in 'ab':
        sleeper(client, f'{net}-{name}', '--network', net)
    refused = client('run', '-d', '--name', f'{net}-c', '--network', net, IMAGE, 'true')
    assert refused.code == 125 and f"no available IPv6 addresses on this network's address pools: {net} (" in refused.err
    client.ok('rm', '-f', f'{net}-c')
    assert len(api(client, 'GET', f'/networks/{net}')[1]['Containers']) == 2


@pytest.mark.only('gantry')
@pytest.mark.engine_alone
def test_ipv6_alone(client, nets):
    # An API that knew no such field has IPv4.
    net = nets(EnableIPv4=False, EnableIPv6=True, IPAM={'Config': [{'Subnet': subnet6()}]})
    shown = api(client, 'GET', f'/networks/{net}', version='v1.48')[1]
    assert (shown['EnableIPv4'], shown['EnableIPv6']) == (True, True)
    net = nets.name()
    if client.name == 'gantry':
        client.ok('network', 'create', '--ipv4=false', '--ipv6', '--subnet', subnet6(), net)
    else:  # Debian's docker has no such flag
        body = {'Name': net, 'EnableIPv4': False, 'EnableIPv6': True, 'IPAM': {'Config': [{'Subnet': subnet6()}]}}
        assert api(client, 'POST', '/networks/create', body, version='v1.48')[0] == 201
    shown = api(client, 'GET', f'/networks/{net}', version='v1.48')[1]
    assert (shown['EnableIPv4'], shown['EnableIPv6'], len(shown['IPAM']['Config'])) == (False, True, 1)
    prefix = shown['IPAM']['Config'][0]['Subnet'].removesuffix('/64')
    a, b = sleeper(client, f'{net}-a', '--network', net), sleeper(client, f'{net}-b', '--network', net)
    entry = entries(client, a)[net]
    assert (entry['IPAddress'], entry['IPPrefixLen'], entry['Gateway'], entry['GlobalIPv6Address']) == ('', 0, '', f'{prefix}2')
    assert entry['MacAddress'] != entries(client, b)[net]['MacAddress']
    assert 'inet ' not in client.ok('exec', a, 'ip', 'addr', 'show', 'eth0')
    assert pings(client, a, f'{prefix}3') and pings(client, a, b)
    assert f'{prefix}3' in answers(client, a, 'aaaa', b)
    status, answer = api(client, 'POST', '/networks/create', {'Name': 'refused6', 'EnableIPv4': False}, version='v1.48')
    assert (status, answer['message']) == (400, 'IPv4 or IPv6 must be enabled')


@pytest.mark.only('gantry')
def test_subnets_of_its_own(client, nets):
    """Without a subnet: a /64 of unique local addresses that follow from the engine's id, the next one each time."""
    made = []
    for _ in range(2):
        net = nets.name()
        client.ok('network', 'create', '--ipv6', net)
        made += [c['Subnet'] for c in api(client, 'GET', f'/networks/{net}')[1]['IPAM']['Config'] if ':' in c['Subnet']]
    first, second = (ipaddress.ip_network(m) for m in made)
    assert first.prefixlen == second.prefixlen == 64 and first != second
    assert first.supernet(new_prefix=48) == second.supernet(new_prefix=48) and str(first).startswith('fd')


@pytest.mark.only('gantry')
def test_restarts(client, dual):
    net, prefix = dual()
    a, b = sleeper(client, f'{net}-a', '--network', net), sleeper(client, f'{net}-b', '--network', net)
    client.engine.kill('gantryd')
    client.engine.start()
    assert pings(client, a, f'{prefix}3') and f'{prefix}3' in answers(client, a, 'aaaa', b)
    assert entries(client, a)[net]['GlobalIPv6Address'] == f'{prefix}2'
    failed = client('run', '--rm', '--network', net, '--ip6', f'{prefix}3', IMAGE, 'true')
    assert failed.code == 125 and 'Address already in use' in failed.err
    # The bridge's address and a container's interface, taken away behind its back.
    interface = 'br-' + api(client, 'GET', f'/networks/{net}')[1]['Id'][:12]
    client.engine.inside('ip', '-6', 'addr', 'del', f'{prefix}1/64', 'dev', interface)
    ports = [link for link in links(client) if link.startswith('veth')]
    for port in ports:
        client.engine.inside('ip', 'link', 'del', port)
    client.engine.restart()
    assert addresses6(client, a) == [f'{prefix}2/64'] and pings(client, a, f'{prefix}3') and pings(client, a, f'{prefix}1')
    assert [line.split()[2] for line in routes6(client, a)] == [f'{prefix}1']


@pytest.fixture(params=['gantry', 'peer'])
def second(request, home):
    """An engine whose default network has IPv6; the peer's in a soak, as everywhere."""
    given = os.environ.get('GANTRY_E2E', '')
    if request.param == 'peer' and ':peer' not in given and not os.environ.get('GANTRY_SOAK'):
        pytest.skip('the peer is asked in a soak')
    if request.param == 'gantry' and given and ':gantry' not in given:
        pytest.skip('GANTRY_E2E names no gantry')
    engine = (Stack if request.param == 'gantry' else Peer)(number=6, arguments=['--ipv6', '--fixed-cidr-v6', 'fd5e:1::/64'])
    try:
        engine.start()
        client = Client('gantry' if request.param == 'gantry' else 'docker', engine, home)
        client.ok('load', '-i', IMAGE_TAR)
        yield client
        for name in client.ok('ps', '-aq').split():
            client('rm', '-f', name)
    finally:
        left = engine.destroy()
    assert [str(t) for t in left] == []


def test_the_default_network(second):
    a, b = sleeper(second, 'one'), sleeper(second, 'two')
    shown = api(second, 'GET', '/networks/bridge')[1]
    assert shown['EnableIPv6'] is True and 'fd5e:1::/64' in [c['Subnet'] for c in shown['IPAM']['Config']]
    settings = api(second, 'GET', f'/containers/{a}/json')[1]['NetworkSettings']
    address = settings['GlobalIPv6Address']
    assert address.startswith('fd5e:1::') and settings['GlobalIPv6PrefixLen'] == 64 and settings['IPv6Gateway'] == 'fd5e:1::1'
    assert pings(second, b, address)
    assert host_reaches(second, address)
    assert second.engine.inside('cat', '/proc/sys/net/ipv6/conf/all/forwarding').stdout.strip() == '1'
    if second.engine.kind != 's':
        return
    # Without the option, while containers have such addresses, it stays; then it goes, bridge and all.
    second.engine.arguments = []
    second.engine.restart()
    assert pings(second, b, address)
    second.ok('rm', '-f', a, b)
    second.engine.restart()
    assert api(second, 'GET', '/networks/bridge')[1]['EnableIPv6'] is False
    assert 'fd5e' not in second.engine.inside('ip', '-6', 'addr').stdout
    c = sleeper(second, 'three')
    assert addresses6(second, c) == []
