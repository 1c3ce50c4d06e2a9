# SPDX-License-Identifier: Apache-2.0
"""Options of bridges and endpoints, sets of settings, links for `ip netns`."""
import json
import os
import subprocess

import pytest

from harness.client import Client
from harness.engine import Stack, until
from harness.places import IMAGE, IMAGE_TAR
from test_networks import api, entries, links, message, nets, sleeper, subnet  # noqa: F401
from test_networks6 import addresses6, subnet6

OURS = pytest.mark.only('gantry')
BRIDGE = 'com.docker.network.bridge'


def bridge_of(client, net):
    return 'br-' + api(client, 'GET', f'/networks/{net}')[1]['Id'][:12]


def test_prefix_of_interfaces(client, nets):
    net = nets(Options={'com.docker.network.container_iface_prefix': 'lan'})
    a = sleeper(client, f'{net}-a', '--network', net)
    assert '169.254' not in client.ok('exec', a, 'ip', 'addr', 'show', 'lan0')


def test_unknown_options_are_kept(client, nets):
    options = {'com.example.something': 'x', f'{BRIDGE}.nosuch': '1'}
    net = nets(Options=options)
    assert api(client, 'GET', f'/networks/{net}')[1]['Options'] == options


def test_another_gateway(client, nets):
    pool = subnet()
    gateway = pool.replace('.0/24', '.200')
    net = nets(IPAM={'Config': [{'Subnet': pool, 'AuxiliaryAddresses': {'DefaultGatewayIPv4': gateway}}]})
    a = sleeper(client, f'{net}-a', '--network', net)
    assert f'default via {gateway}' in client.ok('exec', a, 'ip', 'route')
    assert entries(client, a)[net]['Gateway'] == gateway


REFUSED = [
    ({f'{BRIDGE}.gateway_mode_ipv4': 'bridged'}, 400, f'failed to parse {BRIDGE}.gateway_mode_ipv4 value: bridged (unknown gateway mode bridged)'),
    ({f'{BRIDGE}.gateway_mode_ipv6': ''}, 400, f'failed to parse {BRIDGE}.gateway_mode_ipv6 value:  (unknown gateway mode )'),
    ({f'{BRIDGE}.gateway_mode_ipv4': 'isolated'}, 500, "gateway mode 'isolated' can only be used for an internal network"),
    ({'com.docker.network.advertise_addr_nmsgs': '4'}, 400, 'com.docker.network.advertise_addr_nmsgs must be in the range 0 to 3'),
    ({'com.docker.network.advertise_addr_nmsgs': 'x'}, 400, 'value for option com.docker.network.advertise_addr_nmsgs "x" must be an integer'),
    ({'com.docker.network.advertise_addr_ms': '99'}, 400, 'com.docker.network.advertise_addr_ms must be in the range 100 to 2000'),
    ({'com.docker.network.advertise_addr_ms': 'x'}, 400,
     'value for option com.docker.network.advertise_addr_ms "x" must be integer milliseconds'),
    ({f'{BRIDGE}.inhibit_ipv4': 'x'}, 400, f'failed to parse {BRIDGE}.inhibit_ipv4 value: x (strconv.ParseBool: parsing "x": invalid syntax)'),
    ({'com.docker.network.host_ipv4': 'x'}, 400, 'failed to parse com.docker.network.host_ipv4 value: x (nil ip)'),
    ({'com.docker.network.host_ipv6': '10.0.0.1'}, 400, 'failed to parse com.docker.network.host_ipv6 value: 10.0.0.1 (nil ip)'),
    ({'com.docker.network.enable_ipv4': 'x'}, 400, 'driver-opt "com.docker.network.enable_ipv4" is not a valid bool'),
    ({f'{BRIDGE}.default_bridge': 'true', f'{BRIDGE}.name': 'nosuch9'}, 403, 'bridge device with non default name nosuch9 must be created manually'),
]


@OURS
@pytest.mark.engine_alone
@pytest.mark.parametrize('options,status,words', REFUSED, ids=lambda x: json.dumps(x)[:60] if isinstance(x, dict) else None)
def test_refused_options(client, options, status, words):
    before = {n['Id'] for n in api(client, 'GET', '/networks')[1]}
    assert message(client, 'POST', '/networks/create', {'Name': 'refused', 'Options': options, 'IPAM': {'Config': [{'Subnet': '10.98.9.0/24'}]}}) == \
        (status, words)
    assert {n['Id'] for n in api(client, 'GET', '/networks')[1]} == before and 'nosuch9' not in links(client)


@OURS
@pytest.mark.engine_alone
def test_isolated(client, nets):
    v6 = subnet6()
    net = nets(Internal=True, EnableIPv6=True, IPAM={'Config': [{'Subnet': subnet()}, {'Subnet': v6}]},
               Options={f'{BRIDGE}.gateway_mode_ipv4': 'isolated', f'{BRIDGE}.gateway_mode_ipv6': 'isolated'})
    a, b = sleeper(client, f'{net}-a', '--network', net), sleeper(client, f'{net}-b', '--network', net)
    seen = client.engine.inside('ip', 'addr', 'show', bridge_of(client, net)).stdout
    assert 'inet' not in seen
    entry = entries(client, a)[net]
    assert (entry['Gateway'], entry['IPv6Gateway']) == ('', '') and 'default' not in client.ok('exec', a, 'ip', 'route')
    # The first address is no gateway's.
    assert entry['IPAddress'].endswith('.1') and entry['GlobalIPv6Address'] == v6.replace('/64', '1')
    assert client('exec', a, 'ping', '-c', '1', '-W', '3', entries(client, b)[net]['IPAddress']).code == 0
    assert client('exec', a, 'ping', '-6', '-c', '1', '-W', '3', entries(client, b)[net]['GlobalIPv6Address']).code == 0


@OURS
@pytest.mark.engine_alone
def test_bridge_without_an_address(client, nets):
    net = nets(Options={f'{BRIDGE}.inhibit_ipv4': 'true'})
    a = sleeper(client, f'{net}-a', '--network', net)
    assert 'inet ' not in client.engine.inside('ip', 'addr', 'show', bridge_of(client, net)).stdout
    assert f"default via {entries(client, a)[net]['Gateway']}" in client.ok('exec', a, 'ip', 'route')


@OURS
@pytest.mark.engine_alone
def test_options_of_endpoints(client, nets):
    net = nets()
    sysctls = 'net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.ifname.forwarding=0'
    body = {'Image': IMAGE, 'Cmd': ['sleep', '1000'], 'HostConfig': {'NetworkMode': net}, 'NetworkingConfig': {'EndpointsConfig': {net: {
        'DriverOpts': {'com.docker.network.endpoint.sysctls': sysctls, 'com.docker.network.endpoint.ifname': 'uplink'}}}}}
    a = f'{net}-a'
    assert api(client, 'POST', f'/containers/create?name={a}', body)[0] == 201
    client.ok('start', a)
    assert client.ok('exec', a, 'cat', '/proc/sys/net/ipv4/conf/uplink/log_martians').strip() == '1'
    assert client.ok('exec', a, 'cat', '/proc/sys/net/ipv4/conf/uplink/forwarding').strip() == '0'
    for options, words in (({'com.docker.network.endpoint.sysctls': 'net.ipv4.conf.eth0.log_martians=1'}, 'unrecognised network interface sysctl'),
                           ({'com.docker.network.endpoint.sysctls': 'kernel.x.y.IFNAME.z=1'}, 'unrecognised network interface sysctl'),
                           ({'com.docker.network.endpoint.ifname': 'a/b'}, 'invalid interface name')):
        body['NetworkingConfig']['EndpointsConfig'][net]['DriverOpts'] = options
        status, text = message(client, 'POST', f'/containers/create?name={net}-x', body)
        assert status == 400 and words in text


@OURS
@pytest.mark.engine_alone
def test_a_name_that_an_interface_has(client, nets):
    one, two = nets('one'), nets('two')
    a = sleeper(client, f'{one}-a', '--network', one)
    status, text = message(client, 'POST', f'/networks/{two}/connect', {
        'Container': a, 'EndpointConfig': {'DriverOpts': {'com.docker.network.endpoint.ifname': 'eth0'}}})
    assert status == 409 and "the container has an interface 'eth0' already" in text
    assert list(entries(client, a)) == [one] and 'eth1' not in client.ok('exec', a, 'ip', 'link')


@OURS
@pytest.mark.engine_alone
@pytest.mark.parametrize('options', [{f'{BRIDGE}.inhibit_ipv4': 'true'}, {f'{BRIDGE}.gateway_mode_ipv4': 'isolated'}], ids=lambda o: next(iter(o)))
def test_two_addresses(client, nets, options):
    """RFC 3021: both addresses of a /31 that has no gateway are containers'; RFC 6164 says the same of a /127."""
    four, six = subnet().replace('.0/24', '.6/31'), subnet6().replace('::/64', '::6/127')
    net = nets(Internal=True, EnableIPv6=True, IPAM={'Config': [{'Subnet': four}, {'Subnet': six}]},
               Options={**options, f'{BRIDGE}.gateway_mode_ipv6': 'isolated'})
    names = [sleeper(client, f'{net}-{n}', '--network', net) for n in 'ab']
    found = [entries(client, name)[net] for name in names]
    assert [entry['IPAddress'] for entry in found] == [four.replace('.6/31', last) for last in ('.6', '.7')]
    assert [entry['GlobalIPv6Address'] for entry in found] == [six.replace('::6/127', last) for last in ('::6', '::7')]
    for address in (found[0]['IPAddress'], found[0]['GlobalIPv6Address']):
        assert client('exec', names[1], 'ping', '-c', '1', '-W', '3', address).code == 0
    third = client('run', '-d', '--name', f'{net}-c', '--network', net, IMAGE, 'sleep', '1000')
    assert third.code != 0 and 'no available IPv4 addresses' in third.err
    client.ok('rm', '-f', f'{net}-c')


@OURS
@pytest.mark.engine_alone
def test_two_addresses_with_a_gateway(client, nets):
    four, six = subnet().replace('.0/24', '.6/31'), subnet6().replace('::/64', '::6/127')
    net = nets(EnableIPv6=True, IPAM={'Config': [{'Subnet': four}, {'Subnet': six}]})
    a = sleeper(client, f'{net}-a', '--network', net)
    entry = entries(client, a)[net]
    assert (entry['Gateway'], entry['IPAddress']) == (four.replace('.6/31', '.6'), four.replace('.6/31', '.7'))
    for gateway in (entry['Gateway'], entry['IPv6Gateway']):
        assert client('exec', a, 'ping', '-c', '1', '-W', '3', gateway).code == 0
    status, words = message(client, 'POST', '/networks/create', {'Name': 'one', 'IPAM': {'Config': [{'Subnet': '10.98.9.1/32'}]}})
    assert status == 400 and 'no room' in words


@OURS
@pytest.mark.engine_alone
def test_how_full_subnets_are(client, nets):
    pool, six = subnet(), subnet6()
    of = lambda last: pool.replace('.0/24', f'.{last}')
    net = nets(EnableIPv6=True, IPAM={'Config': [
        {'Subnet': pool, 'IPRange': of('64/31'), 'Gateway': of(1), 'AuxiliaryAddresses': {'x': of(65), 'y': of(128)}},
        {'Subnet': six, 'IPRange': six.replace('/64', '/120')}]})

    def used(version='v1.52'):
        return api(client, 'GET', f'/networks/{net}', version=version)[1].get('Status')
    both = lambda four, six_: {'IPAM': {'Subnets': {pool: {'IPsInUse': four[0], 'DynamicIPsAvailable': four[1]},
                                                    six: {'IPsInUse': six_[0], 'DynamicIPsAvailable': six_[1]}}}}
    # The subnet's own address, gateway, broadcast, two auxiliary ones; of IPv6 the routers' and the gateway.
    assert used() == both((5, 1), (2, 254)) and used('v1.51') is None
    a = sleeper(client, f'{net}-a', '--network', net)
    assert used() == both((6, 0), (3, 253))
    b = sleeper(client, f'{net}-b', '--network', net, '--ip', of(200))
    assert used() == both((7, 0), (4, 252))
    client.ok('rm', '-f', a, b)
    assert used() == both((5, 1), (2, 254))


@OURS
@pytest.mark.engine_alone
def test_subnets_of_a_size(client, nets):
    net = nets(EnableIPv6=True, IPAM={'Config': [{'Subnet': '0.0.0.0/27'}, {'Subnet': '::/120'}]})
    four, six = (config['Subnet'] for config in api(client, 'GET', f'/networks/{net}')[1]['IPAM']['Config'])
    assert four.endswith('/27') and not four.startswith('0.') and six.endswith('/120') and not six.startswith('::')
    a = sleeper(client, f'{net}-a', '--network', net)
    assert entries(client, a)[net]['IPPrefixLen'] == 27
    assert message(client, 'POST', '/networks/create', {'Name': 'two', 'IPAM': {'Config': [{'Subnet': '0.0.0.0/8'}]}}) == \
        (500, 'all predefined address pools have been fully subnetted')


def host_ports(client, container):
    """Of port 80: address and the host's port, as inspect shows them."""
    shown = api(client, 'GET', f'/containers/{container}/json', version='v1.48')[1]['NetworkSettings']['Ports']['80/tcp'] or []
    return [(port['HostIp'], port['HostPort']) for port in shown]


def answers_at(client, port):
    return client.engine.inside('curl', '-s', '-m', '3', '-o', '/dev/null', '-w', '%{http_code}', f'http://127.0.0.1:{port}/', check=False).stdout == '404'


@OURS
def test_ports_where_the_next_leader_is_of_another_mode(client, nets):
    """As in docker 28: who leads is routed, then not: the port is one of the host's at once, and no longer when that network is left."""
    routed, nat = nets('routed', Options={f'{BRIDGE}.gateway_mode_ipv4': 'routed'}), nets('nat')
    name = f'{routed}-c'
    body = {'Image': IMAGE, 'Cmd': ['httpd', '-f'], 'ExposedPorts': {'80/tcp': {}},
            'HostConfig': {'NetworkMode': routed, 'PortBindings': {'80/tcp': [{'HostIp': '0.0.0.0', 'HostPort': '18473'}]}},
            'NetworkingConfig': {'EndpointsConfig': {routed: {}, nat: {'GwPriority': 1}}}}
    assert api(client, 'POST', f'/containers/create?name={name}', body, version='v1.48')[0] == 201
    client.ok('start', name)
    bound, open_there = [('0.0.0.0', '18473')], [('0.0.0.0', '')]
    assert host_ports(client, name) == bound and answers_at(client, 18473)
    client.ok('network', 'disconnect', nat, name)
    assert host_ports(client, name) == open_there and not answers_at(client, 18473)
    assert api(client, 'POST', f'/networks/{nat}/connect', {'Container': name, 'EndpointConfig': {'GwPriority': 1}}, version='v1.48')[0] == 200
    assert host_ports(client, name) == bound and answers_at(client, 18473)
    client.engine.kill('gantryd')
    client.engine.start()
    assert host_ports(client, name) == bound and answers_at(client, 18473)


@OURS
def test_ports_where_one_family_is_routed(client, nets):
    """The host's come first, as in docker 28, and the daemon's next start leaves them alone."""
    net = nets('mixed', EnableIPv6=True, IPAM={'Config': [{'Subnet': subnet()}, {'Subnet': subnet6()}]}, Options={f'{BRIDGE}.gateway_mode_ipv6': 'routed'})
    name = f'{net}-c'
    body = {'Image': IMAGE, 'Cmd': ['httpd', '-f'], 'ExposedPorts': {'80/tcp': {}},
            'HostConfig': {'NetworkMode': net, 'PortBindings': {'80/tcp': [{'HostPort': '18474'}]}}}
    assert api(client, 'POST', f'/containers/create?name={name}', body)[0] == 201
    client.ok('start', name)
    for _ in range(2):
        assert host_ports(client, name) == [('0.0.0.0', '18474'), ('::', '')]
        until(lambda: answers_at(client, 18474))
        client.engine.kill('gantryd')
        client.engine.start()


@OURS
def test_mac_address_of_the_container_alone(client, nets):
    """The form before 1.44: with NetworkMode as an id, and shown so of an address that was said of the endpoint."""
    net = nets('mac')
    network = api(client, 'GET', f'/networks/{net}')[1]['Id']
    old, new, mac = f'{net}-old', f'{net}-new', '02:42:0a:4d:01:98'
    body = {'Image': IMAGE, 'Cmd': ['sleep', '1000'], 'MacAddress': mac, 'HostConfig': {'NetworkMode': network},
            'NetworkingConfig': {'EndpointsConfig': {net: {'Aliases': ['x']}}}}
    assert api(client, 'POST', f'/containers/create?name={old}', body)[0] == 201
    client.ok('start', old)
    assert entries(client, old)[net]['MacAddress'] == mac
    body = {'Image': IMAGE, 'HostConfig': {'NetworkMode': net}, 'NetworkingConfig': {'EndpointsConfig': {net: {'MacAddress': mac}}}}
    assert api(client, 'POST', f'/containers/create?name={new}', body, version='v1.48')[0] == 201
    assert api(client, 'GET', f'/containers/{new}/json')[1]['Config']['MacAddress'] == mac
    client.ok('rm', new)


@OURS
def test_disconnect_where_the_next_cannot_lead(client, nets):
    """As docker 29 does it: the other network can't have the default route, since its interface is down; this one is left all the same, and can be joined again."""
    a, b = nets('a'), nets('b')
    name = sleeper(client, f'{a}-c', '--cap-add', 'NET_ADMIN', '--network', a)
    client.ok('network', 'connect', b, name)
    client.ok('exec', name, 'ip', 'link', 'set', 'eth1', 'down')
    client.ok('network', 'disconnect', a, name)
    assert set(entries(client, name)) == {b}
    assert 'eth0' not in client.ok('exec', name, 'ip', 'link')
    client.ok('network', 'connect', a, name)
    assert len(client.ok('exec', name, 'ip', 'route').split('default')) == 2
    client.ok('restart', '-t', '0', name)
    assert set(entries(client, name)) == {a, b}


def test_sets_of_settings(client, nets):
    net, config = nets.name(), nets.name('config')  # they are removed in this order
    pool = subnet()
    status, answer = api(client, 'POST', '/networks/create', {'Name': config, 'ConfigOnly': True, 'Labels': {'a': 'b'},
                                                              'IPAM': {'Config': [{'Subnet': pool}]}, 'Options': {'com.docker.network.driver.mtu': '1400'}})
    assert status == 201, answer
    shown = api(client, 'GET', f'/networks/{config}')[1]
    assert (shown['ConfigOnly'], shown['Driver'], shown['Scope'], shown['IPAM']['Config']) == (True, 'null', 'local', [{'Subnet': pool}])
    client.ok('network', 'create', '--config-from', config, net)
    shown = api(client, 'GET', f'/networks/{net}')[1]
    assert (shown['ConfigFrom'], shown['ConfigOnly'], shown['Labels'], shown['Driver']) == ({'Network': config}, False, {'a': 'b'}, 'bridge')
    assert shown['Options'] == {'com.docker.network.driver.mtu': '1400'} and shown['IPAM']['Config'][0]['Subnet'] == pool
    a = sleeper(client, f'{net}-a', '--network', net)
    assert 'mtu 1400' in client.ok('exec', a, 'ip', 'link', 'show', 'eth0')
    assert message(client, 'DELETE', f'/networks/{config}') == \
        (403, f'error while removing network: configuration network "{config}" is in use')
    refused = client('run', '--rm', '--network', config, IMAGE, 'true')
    assert refused.code == 125 and 'cannot create endpoint on configuration-only network' in refused.err
    client('rm', '-f', a)
    assert config not in (api(client, 'POST', '/networks/prune')[1]['NetworksDeleted'] or [])


@pytest.mark.parametrize('fields,status,words', [
    ({'ConfigFrom': {'Network': 'nosuch'}}, 404, 'configuration network "nosuch" does not exist'),
    ({'ConfigOnly': True, 'Internal': True}, 403, 'configuration network can only contain network specific fields'),
    ({'ConfigOnly': True, 'ConfigFrom': {'Network': 'x'}}, 403, 'a configuration network cannot depend on another configuration network'),
    ({'ConfigFrom': {'Network': 'x'}, 'Labels': {'a': 'b'}}, 403, 'specified configurations are not supported'),
    ({'ConfigFrom': {'Network': 'x'}, 'Options': {'a': 'b'}}, 403, 'network driver options are not supported'),
    ({'Ingress': True}, 403, 'Ingress network can only be global scope network'),
    ({'Scope': 'swarm'}, 403, 'cannot create a swarm scoped network when swarm is not active'),
], ids=lambda x: json.dumps(x) if isinstance(x, dict) else None)
def test_refused_sets(client, fields, status, words):
    got, text = message(client, 'POST', '/networks/create', {'Name': 'refused', **fields})
    assert got == status and words in text


@OURS
@pytest.mark.engine_alone
def test_pools_by_the_command_line(client, nets):
    net, v4, v6 = nets.name(), subnet(), subnet6()
    gateway6 = v6.replace('/64', 'fe')
    client.ok('network', 'create', '--ipv6', '--subnet', v4, '--subnet', v6, '--gateway', gateway6, '--aux-address', f"x={v6.replace('/64', '2')}", net)
    assert [c.get('Gateway') for c in api(client, 'GET', f'/networks/{net}')[1]['IPAM']['Config']] == [None, gateway6]
    a = sleeper(client, f'{net}-a', '--network', net)
    assert addresses6(client, a) == [v6.replace('/64', '1/64')]
    for flags, words in ((['--gateway', 'fd99::1'], 'no matching subnet for gateway fd99::1'), (['--subnet', v4], 'multiple overlapping subnet'),
                         (['--gateway', v4.replace('.0/24', '.7'), '--gateway', gateway6, '--gateway', gateway6], 'every ip-range or gateway')):
        done = client('network', 'create', '--subnet', v4, *flags, 'refused')
        assert done.code == 1 and words in done.err


@pytest.fixture
def linked(home):
    engine = Stack(number=7, arguments=['--netns-links', '/run/netns', '--default-address-pool', 'base=10.97.0.0/16,size=24'])
    try:
        engine.start()
        client = Client('gantry', engine, home)
        client.ok('load', '-i', IMAGE_TAR)
        yield client
        for name in client.ok('ps', '-aq').split():
            client('rm', '-f', name)
    finally:
        left = engine.destroy()
    assert [str(t) for t in left] == []


def test_a_host_that_begins_to_forward_listens_to_its_routers(linked):
    inside = linked.engine.inside
    setting = lambda name: inside('cat', f'/proc/sys/net/ipv6/conf/{name}').stdout.strip()
    inside('ip', 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'up1')
    for name in ('up0', 'up1'):
        inside('ip', 'link', 'set', name, 'up')
    inside('ip', '-6', 'route', 'add', '2001:db8:9::/64', 'dev', 'up0', 'proto', 'ra')
    assert (setting('all/forwarding'), setting('up0/accept_ra'), setting('up1/accept_ra')) == ('0', '1', '1')
    linked.ok('network', 'create', '--ipv6', 'six')
    assert (setting('all/forwarding'), setting('up0/accept_ra'), setting('up1/accept_ra')) == ('1', '2', '1')
    bridge = bridge_of(linked, 'six')
    assert (setting(f'{bridge}/accept_ra'), setting(f'{bridge}/disable_ipv6')) == ('0', '0')
    linked.ok('network', 'rm', 'six')
    inside('ip', 'link', 'del', 'up0')


def test_links_for_ip_netns(linked):
    looks = lambda ident: subprocess.run(['ip', 'netns', 'exec', ident, 'ip', '-o', 'link'], capture_output=True, text=True, timeout=20)
    ids = [linked.ok('run', '-d', *options, IMAGE, 'sleep', '1000').strip() for options in ((), (), ('--network', 'none'))]
    bare = ids[2]
    assert looks(ids[0]).returncode == looks(bare).returncode == 0
    assert 'eth0' in looks(ids[0]).stdout and 'eth0' not in looks(bare).stdout
    # One that left its last network has a namespace still.
    linked.ok('network', 'disconnect', 'bridge', ids[1])
    assert 'eth0' not in looks(ids[1]).stdout and looks(ids[1]).returncode == 0
    linked.ok('network', 'connect', 'bridge', ids[1])
    assert 'eth0' in looks(ids[1]).stdout
    linked.engine.kill('gantryd')
    os.unlink(f'/run/netns/{ids[0]}')
    os.symlink(f'{linked.engine.names.state}/netns/gone', '/run/netns/gone')
    linked.engine.start()
    assert os.path.islink(f'/run/netns/{ids[0]}') and not os.path.lexists('/run/netns/gone')
    assert looks(bare).returncode == 0
    linked.ok('rm', '-f', *ids)
    assert not [i for i in ids if os.path.lexists(f'/run/netns/{i}')]
    # The daemon's own pools.
    linked.ok('network', 'create', 'pooled')
    assert api(linked, 'GET', '/networks/pooled')[1]['IPAM']['Config'][0]['Subnet'].startswith('10.97.')
    linked.ok('network', 'rm', 'pooled')
