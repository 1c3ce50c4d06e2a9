# SPDX-License-Identifier: Apache-2.0
"""Users' networks: made, joined, left and removed, in docker's words; several networks a container."""
import json
import os
import time
from urllib.parse import quote

import pytest

from harness.engine import ask, until
from harness.places import IMAGE

SUBNETS = iter(range(1, 250))


def subnet():
    return f'10.99.{next(SUBNETS)}.0/24'


@pytest.fixture
def nets(client, request):
    """Names for networks that are removed after the test, with the containers on them."""
    given = []

    def name(hint='n'):
        given.append(f'n{os.getpid()}-{hint}{len(given)}')
        return given[-1]

    def make(hint='n', **fields):
        fields = {'Name': name(hint), 'CheckDuplicate': True, 'IPAM': {'Config': [{'Subnet': subnet()}]}, **fields}
        status, body = api(client, 'POST', '/networks/create', fields)
        assert status == 201, body
        return fields['Name']
    make.name = name
    yield make
    for net in given:
        status, body = api(client, 'GET', f'/networks/{net}')
        if status == 200:
            for container in body['Containers']:
                api(client, 'DELETE', f'/containers/{container}?force=1')
            assert api(client, 'DELETE', f'/networks/{net}')[0] == 204


def api(client, method, path, body=None, version='v1.41'):
    status, text, _ = client.engine.api(method, f'/{version}{path}', json.dumps(body) if body is not None else None)
    return status, json.loads(text) if text.strip() else None


def message(client, method, path, body=None):
    status, answer = api(client, method, path, body)
    assert status >= 400, answer
    return status, answer['message']


def entries(client, container):
    return api(client, 'GET', f'/containers/{container}/json')[1]['NetworkSettings']['Networks']


def address(client, container, net):
    return entries(client, container)[net]['IPAddress']


def links(client):
    return [line.split(': ')[1].split('@')[0] for line in client.engine.inside('ip', '-o', 'link').stdout.splitlines()]


def sleeper(client, name, *options):
    client.ok('run', '-d', '--name', name, *options, IMAGE, 'sleep', '1000')
    return name


def reaches(client, container, where):
    return client('exec', container, 'ping', '-c', '1', '-W', '2', where).code == 0


# ---- making and removing

REFUSED = [
    ({'Name': ''}, 'invalid name: '),
    ({'Name': ' '}, 'invalid name:  '),
    ({'Name': 'bridge'}, 'operation is not permitted on predefined bridge network '),
    ({'Name': 'host'}, 'operation is not permitted on predefined host network '),
    ({'Name': 'none'}, 'operation is not permitted on predefined none network '),
    ({'Name': 'default'}, 'operation is not permitted on predefined default network '),
    ({'Driver': 'host'}, 'only one instance of "host" network is allowed'),
    ({'Driver': 'null'}, 'only one instance of "null" network is allowed'),
    ({'Driver': 'foo'}, 'plugin "foo" not found'),
    ({'IPAM': {'Driver': 'foo'}}, 'plugin "foo" not found'),
    ({'Scope': 'swarm'}, 'cannot create a swarm scoped network when swarm is not active'),
    ({'Ingress': True}, 'Ingress network can only be global scope network'),
    ({'IPAM': {'Config': [{'Subnet': '10.98.1.300/24'}]}}, 'Invalid subnet 10.98.1.300/24 : invalid CIDR address: 10.98.1.300/24'),
    ({'IPAM': {'Config': [{'Subnet': '10.98.1.0'}]}}, 'Invalid subnet 10.98.1.0 : invalid CIDR address: 10.98.1.0'),
    ({'IPAM': {'Config': [{'Gateway': '10.98.1.1'}]}}, 'Invalid subnet  : invalid CIDR address: '),
    ({'IPAM': {'Config': [{'Subnet': '10.98.2.0/24', 'Gateway': '10.98.9.1'}]}},
     'failed to allocate gateway (10.98.9.1): Requested address is out of range'),
    ({'IPAM': {'Config': [{'Subnet': '10.98.3.0/24', 'Gateway': 'foo'}]}}, 'invalid gateway address foo in Ipam configuration'),
    ({'IPAM': {'Config': [{'Subnet': '10.98.4.0/24', 'IPRange': 'foo'}]}}, 'Invalid Address SubPool'),
    ({'IPAM': {'Config': [{'Subnet': '10.98.5.0/24', 'AuxiliaryAddresses': {'a': '10.98.6.1'}}]}},
     'auxiliary address: (a:10.98.6.1) must belong to the master pool: 10.98.5.0/24'),
    ({'Options': {'com.docker.network.bridge.enable_icc': 'foo'}},
     'failed to parse com.docker.network.bridge.enable_icc value: foo (strconv.ParseBool: parsing "foo": invalid syntax)'),
    ({'Options': {'com.docker.network.bridge.enable_ip_masquerade': ''}},
     'failed to parse com.docker.network.bridge.enable_ip_masquerade value:  (strconv.ParseBool: parsing "": invalid syntax)'),
    ({'Options': {'com.docker.network.driver.mtu': 'foo'}},
     'failed to parse com.docker.network.driver.mtu value: foo (strconv.Atoi: parsing "foo": invalid syntax)'),
    ({'Options': {'com.docker.network.driver.mtu': '-1'}}, 'invalid MTU number: -1'),
    ({'Options': {'com.docker.network.bridge.host_binding_ipv4': 'foo'}},
     'failed to parse com.docker.network.bridge.host_binding_ipv4 value: foo (nil ip)'),
    ({'IPAM': {'Driver': 'null'}}, 'ipv4 pool is empty'),
    ({'Driver': 'macvlan', 'IPAM': {'Driver': 'null'}}, 'ipv4 pool is empty'),
    ({'IPAM': {'Driver': 'null', 'Config': [{'Subnet': '10.98.7.0/24'}]}}, 'null ipam driver does not handle specific address pool requests'),
    ({'Options': {'com.docker.network.bridge.name': 'x' * 20}}, ''),
    ({'Options': {'com.docker.network.bridge.name': 'lo'}}, 'no'),
]


@pytest.mark.parametrize('fields,words', REFUSED, ids=lambda x: None if isinstance(x, str) else json.dumps(x)[:60])
def test_refused(client, fields, words):
    before = {n['Id'] for n in api(client, 'GET', '/networks')[1]}
    interfaces = links(client)
    status, text = message(client, 'POST', '/networks/create', {'Name': 'refused', **fields})
    assert words in text
    if client.engine.kind == 's':
        assert status in (400, 403, 404)
    assert {n['Id'] for n in api(client, 'GET', '/networks')[1]} == before
    # Those of containers that were just removed may still go.
    assert set(links(client)) <= set(interfaces)


def test_names_are_taken_once(client, nets):
    name = nets()
    assert message(client, 'POST', '/networks/create', {'Name': name, 'CheckDuplicate': True}) == (409, f'network with name {name} already exists')
    status, text = message(client, 'POST', '/networks/create', {'Name': nets.name(), 'IPAM': {'Config': [
        api(client, 'GET', f'/networks/{name}')[1]['IPAM']['Config'][0]]}})
    assert status == 403 and text.startswith('Pool overlaps with other one on this address space')


def test_unknown_and_predefined(client):
    assert message(client, 'GET', '/networks/nosuch') == (404, 'network nosuch not found')
    assert message(client, 'DELETE', '/networks/nosuch') == (404, 'network nosuch not found')
    for name in ('bridge', 'host', 'none'):
        assert message(client, 'DELETE', f'/networks/{name}') == (403, f'{name} is a pre-defined network and cannot be removed')


def test_inspect_shows_what_was_asked(client, nets):
    config = {'Subnet': '10.97.0.0/16', 'IPRange': '10.97.5.0/24', 'AuxiliaryAddresses': {'router': '10.97.5.1'}}
    name = nets(Internal=True, Attachable=True, Labels={'a': 'b'}, IPAM={'Config': [config]}, Options={'com.docker.network.driver.mtu': '1400'})
    seen = api(client, 'GET', f'/networks/{name}')[1]
    assert seen['IPAM'] == {'Driver': 'default', 'Options': None, 'Config': [config]}
    assert (seen['Internal'], seen['Attachable'], seen['Labels'], seen['Scope'], seen['Driver']) == (True, True, {'a': 'b'}, 'local', 'bridge')
    assert seen['Options'] == {'com.docker.network.driver.mtu': '1400'} and seen['Containers'] == {}
    assert api(client, 'GET', f"/networks/{seen['Id'][:12]}")[1]['Id'] == seen['Id']
    # The gateway has the first address of the range; the router's is left out.
    container = sleeper(client, f'{name}-c', '--network', name)
    entry = entries(client, container)[name]
    assert (entry['Gateway'], entry['IPAddress'], entry['IPPrefixLen'], entry['NetworkID']) == ('10.97.5.0', '10.97.5.2', 16, seen['Id'])
    assert 'mtu 1400' in client.ok('exec', container, 'ip', 'link', 'show', 'eth0')
    record = api(client, 'GET', f'/containers/{container}/json')[1]
    shown = api(client, 'GET', f'/networks/{name}?verbose=1')[1]['Containers'][record['Id']]
    assert shown == {'Name': container, 'EndpointID': entry['EndpointID'], 'MacAddress': entry['MacAddress'], 'IPv4Address': '10.97.5.2/16', 'IPv6Address': ''}
    status, text = message(client, 'DELETE', f'/networks/{name}')
    assert status == 403 and f"network {name} id {seen['Id']} has active endpoints" in text


def test_bridge_with_a_name_of_its_own(client, nets):
    name = nets(Options={'com.docker.network.bridge.name': f'b{os.getpid()}'})
    assert f'b{os.getpid()}' in links(client)
    client.ok('network', 'rm', name)
    assert f'b{os.getpid()}' not in links(client)


@pytest.mark.parametrize('filters,status', [({'foo': ['x']}, 400), ({'type': ['foo']}, None), ({'dangling': ['foo']}, 400)])
def test_bad_filters(client, filters, status):
    seen = message(client, 'GET', '/networks?filters=' + quote(json.dumps(filters)))
    assert status in (None, seen[0]) and seen[1].lower().startswith('invalid')


def test_filters(client, nets):
    name = nets(Labels={'mark': 'x'})
    names = lambda **f: {n['Name'] for n in api(client, 'GET', '/networks?filters=' + quote(json.dumps(f)))[1]}
    assert name in names(name=[name]) & names(driver=['bridge']) & names(label=['mark=x']) & names(type=['custom']) & names(dangling=['true'])
    assert names(name=[f'^{name}$']) == {name} and names(label=['mark=y']) == set()
    assert {'bridge', 'host', 'none'} <= names(type=['builtin']) and name not in names(type=['builtin'])
    assert names(driver=['null']) == {'none'} and names(driver=['host']) == {'host'} and names(scope=['swarm']) == set()
    sleeper(client, f'{name}-c', '--network', name)
    if client.engine.kind == 's':  # dockerd 20.10 calls every network of a user dangling
        assert name not in names(dangling=['true']) and name in names(dangling=['false'])


def test_prune(client, nets):
    used, unused, kept = nets(Labels={'p': '1'}), nets(Labels={'p': '1'}), nets(Labels={'p': '1', 'keep': ''})
    sleeper(client, f'{used}-c', '--network', used)
    prune = lambda **f: api(client, 'POST', '/networks/prune?filters=' + quote(json.dumps(f)))
    assert prune(**{'label': ['p=1'], 'label!': ['keep']}) == (200, {'NetworksDeleted': [unused]})
    assert prune(label=['p=1'], until=['1h']) == (200, {'NetworksDeleted': None})
    assert prune(foo=['x'])[0] == 400 and prune(until=['bad'])[0] in (400, 500)
    assert api(client, 'GET', f'/networks/{kept}')[0] == 200


# ---- joining and leaving

def test_connect_and_disconnect_a_running_one(client, nets, names):
    a, b, one, two = nets('a'), nets('b'), names(), names()
    sleeper(client, one, '--network', b)
    sleeper(client, two, '--network', a)
    where = address(client, two, a)
    assert not reaches(client, one, where)
    assert api(client, 'POST', f'/networks/{a}/connect', {'Container': one, 'EndpointConfig': {'Aliases': ['al']}})[0] == 200
    assert reaches(client, one, where)
    entry = entries(client, one)[a]
    assert 'al' in entry['Aliases'] and entry['IPAddress'] and entry['Gateway'].endswith('.1')
    assert client.ok('exec', one, 'sh', '-c', 'ls /sys/class/net | grep -c eth; cat /etc/hosts').split('\n')[0] == '2'
    assert entry['IPAddress'] in client.ok('exec', one, 'ip', '-4', '-o', 'addr', 'show', 'eth1')
    assert message(client, 'POST', f'/networks/{a}/connect', {'Container': one}) == (403, f'endpoint with name {one} already exists in network {a}')
    assert api(client, 'POST', f'/networks/{a}/disconnect', {'Container': one, 'Force': False})[0] == 200
    assert a not in entries(client, one) and not reaches(client, one, where)
    assert message(client, 'POST', f'/networks/{a}/disconnect', {'Container': one})[1].startswith('container ')
    assert client.ok('exec', one, 'ls', '/sys/class/net').split() == ['eth0', 'lo']


def test_connect_a_stopped_one(client, nets, names):
    a, b, name = nets('a'), nets('b'), names()
    client.ok('create', '--name', name, '--network', b, IMAGE, 'sleep', '1000')
    assert api(client, 'POST', f'/networks/{a}/connect', {'Container': name, 'EndpointConfig': {'Aliases': ['sal']}})[0] == 200
    assert set(entries(client, name)) == {a, b} and entries(client, name)[a]['IPAddress'] == ''
    client.ok('start', name)
    assert address(client, name, a) and address(client, name, b) and 'sal' in entries(client, name)[a]['Aliases']
    assert len([w for w in client.ok('exec', name, 'ls', '/sys/class/net').split() if w.startswith('eth')]) == 2
    client.ok('stop', '-t', '0', name)
    for net in (a, b):
        assert api(client, 'POST', f'/networks/{net}/disconnect', {'Container': name})[0] == 200
    assert entries(client, name) == {}
    client.ok('start', name)
    assert client.ok('exec', name, 'ls', '/sys/class/net').split() == ['lo']
    # It had none at its start, and gets one now.
    assert api(client, 'POST', f'/networks/{a}/connect', {'Container': name})[0] == 200
    assert address(client, name, a) in client.ok('exec', name, 'ip', '-4', '-o', 'addr', 'show', 'eth0')


def test_refused_joins(client, nets, names):
    a, name = nets('a'), names()
    sleeper(client, name, '--network', a)
    join = lambda net, container, **config: message(client, 'POST', f'/networks/{net}/connect', {'Container': container, 'EndpointConfig': config})
    assert join(a, 'nosuch') == (404, 'No such container: nosuch')
    assert join('nosuch', name) == (404, 'network nosuch not found')
    assert join('host', name) == (400, 'container cannot be disconnected from host network or connected to host network')
    none = 'container cannot be connected to multiple networks with one of the networks in private (none) mode'
    assert join('none', name) == (400, none)
    assert join('bridge', name, Aliases=['x']) == (400, 'network-scoped alias is supported only for containers in user defined networks')
    assert join('bridge', name, IPAMConfig={'IPv4Address': '10.1.1.1'}) == (400, 'user specified IP address is supported on user defined networks only')
    shares = 'container sharing network namespace with another container or host cannot be connected to any other network'
    for mode, words in (('host', shares), (f'container:{name}', shares), ('none', none)):
        other = sleeper(client, names(), '--network', mode)
        assert join(a, other) == (400, words)
    assert message(client, 'POST', f'/networks/{a}/connect', {})[0] == 400
    assert set(entries(client, name)) == {a}


def test_from_none_to_a_network(client, nets, names):
    a, name = nets('a'), names()
    sleeper(client, name, '--network', 'none')
    assert api(client, 'POST', '/networks/none/disconnect', {'Container': name})[0] == 200
    assert api(client, 'POST', f'/networks/{a}/connect', {'Container': name})[0] == 200
    assert list(entries(client, name)) == [a]
    assert reaches(client, name, entries(client, name)[a]['Gateway'])


def test_host_is_shown(client, names):
    name = names()
    sleeper(client, name, '--network', 'host')
    entry, host = entries(client, name)['host'], api(client, 'GET', '/networks/host')[1]
    ident = client.inspect(name, '{{.Id}}')
    assert entry['NetworkID'] == host['Id'] and entry['EndpointID'] == host['Containers'][ident]['EndpointID'] and entry['IPAddress'] == ''
    assert host['Containers'][ident]['Name'] == name


def test_a_network_that_is_gone(client, nets, names):
    a, name = nets('a'), names()
    client.ok('create', '--name', name, '--network', a, IMAGE, 'sleep', '1000')
    client.ok('network', 'rm', a)
    done = client('start', name)
    assert done.code == 1 and f'network {a} not found' in done.err
    client.ok('network', 'create', a)
    client.ok('start', name)
    client.ok('stop', '-t', '0', name)
    ident = client.ok('network', 'inspect', '-f', '{{.Id}}', a)
    client.ok('network', 'rm', a)
    client.ok('network', 'create', a)
    # It was on the one that is gone, not on any that is called so.
    done = client('start', name)
    assert done.code == 1 and f'network {ident} not found' in done.err
    b = nets('b')
    client.ok('network', 'rm', a)
    done = client('network', 'disconnect', 'nosuch', name)
    assert done.code == 1 and 'is not connected to the network nosuch' in done.err
    client.ok('network', 'disconnect', a, name)
    client.ok('network', 'connect', b, name)
    client.ok('start', name)
    assert list(entries(client, name)) == [b]


def test_named_by_id(client, nets, names):
    a, name = nets('a'), names()
    ident = client.ok('network', 'inspect', '-f', '{{.Id}}', a)
    client.ok('create', '--name', name, '--network', ident[:12], IMAGE, 'sleep', '1000')
    assert list(entries(client, name)) == [a]
    client.ok('start', name)
    assert entries(client, name)[a]['NetworkID'] == ident


# ---- addresses

def test_static_address(client, nets, names):
    a, one, two = nets('a'), names(), names()
    net = api(client, 'GET', f'/networks/{a}')[1]['IPAM']['Config'][0]['Subnet'].rsplit('.', 1)[0]
    sleeper(client, one, '--network', a, '--ip', f'{net}.77')
    assert entries(client, one)[a]['IPAMConfig'] == {'IPv4Address': f'{net}.77'} and address(client, one, a) == f'{net}.77'
    for wanted in ('77', '1', '0', '255'):
        done = client('run', '--rm', '--network', a, '--ip', f'{net}.{wanted}', IMAGE, 'true')
        assert done.code == 125 and 'Address already in use' in done.err
    client.ok('restart', '-t', '0', one)
    assert address(client, one, a) == f'{net}.77'
    # A stopped container's address is free for others, as docker has it.
    client.ok('stop', '-t', '0', one)
    sleeper(client, two, '--network', a, '--ip', f'{net}.77')
    done = client('start', one)
    assert done.code == 1 and 'Address already in use' in done.err
    client.ok('rm', '-f', two)
    client.ok('start', one)
    assert address(client, one, a) == f'{net}.77'


def test_refused_addresses(client, nets):
    a, chosen = nets('a'), nets('c', IPAM={})
    for options, words in ((('--network', a, '--ip', '10.250.1.1'), 'subnet'), (('--network', a, '--ip', 'foo'), 'foo'),
                           (('--network', chosen, '--ip', '10.250.1.1'), 'subnet'),
                           (('--network', 'host', '--mac-address', '02:42:0a:4d:01:99'), 'conflicting options: mac-address and the network mode')):
        done = client('run', '--rm', *options, IMAGE, 'true')
        assert done.code in (125, 1) and words in done.err, options


@pytest.mark.only('gantry')
def test_address_of_a_subnet_from_the_pools(client, nets, names):
    """docker before 29.1 refuses every --ip there."""
    a, name = nets('a', IPAM={}, EnableIPv6=True), names()
    first = sleeper(client, f'{a}-first', '--network', a)
    prefix = entries(client, first)[a]['IPAddress'].rsplit('.', 1)[0]
    prefix6 = entries(client, first)[a]['GlobalIPv6Address'].rsplit(':', 1)[0]
    sleeper(client, name, '--network', a, '--ip', f'{prefix}.77', '--ip6', f'{prefix6}:77')
    entry = entries(client, name)[a]
    assert (entry['IPAddress'], entry['GlobalIPv6Address']) == (f'{prefix}.77', f'{prefix6}:77')


@pytest.mark.parametrize('config,words', [
    ({'IPAMConfig': {'IPv4Address': '10.250.1.1'}}, 'user specified IP address is supported on user defined networks only'),
    ({'Aliases': ['x']}, 'network-scoped alias is supported only for containers in user defined networks')])
def test_what_the_default_network_has_not(client, names, config, words):
    name = names()
    body = {'Image': IMAGE, 'Cmd': ['true'], 'NetworkingConfig': {'EndpointsConfig': {'bridge': config}}}
    assert api(client, 'POST', f'/containers/create?name={name}', body)[0] == 201
    status, text = message(client, 'POST', f'/containers/{name}/start')
    assert status == 400 and words in text


def test_mac_address(client, nets, names):
    a, name = nets('a'), names()
    sleeper(client, name, '--network', a, '--mac-address', '02:42:0a:4d:01:99')
    assert entries(client, name)[a]['MacAddress'] == '02:42:0a:4d:01:99'
    assert '02:42:0a:4d:01:99' in client.ok('exec', name, 'ip', 'link', 'show', 'eth0')


# ---- several networks: the way out, published ports

def routes(client, name):
    return [line for line in client.ok('exec', name, 'ip', 'route').split('\n') if line.startswith('default')]


def test_the_first_by_name_is_the_way_out(client, nets, names):
    b, name = nets('b'), names()
    sleeper(client, name, '--network', b, '-p', '28080:80')
    a, inner = nets('b') + 'a', nets('i', Internal=True)
    # Names decide, so the one that comes later is made to come first.
    first = f'0{os.getpid()}'
    client.ok('network', 'create', '--subnet', subnet(), first)
    try:
        gateway = lambda net: entries(client, name)[net]['Gateway']
        assert [gateway(b) in r for r in routes(client, name)] == [True]
        client.ok('network', 'connect', inner, name)
        assert [gateway(b) in r for r in routes(client, name)] == [True]
        client.ok('network', 'connect', first, name)
        assert [gateway(first) in r for r in routes(client, name)] == [True]
        answers = lambda: published(client, name)
        assert answers()
        client.ok('network', 'disconnect', first, name)
        assert [gateway(b) in r for r in routes(client, name)] == [True]
        assert answers()
    finally:
        client('network', 'rm', first)


def published(client, name):
    """Whether port 28080 leads to the container, from loopback and by the host's own address."""
    from test_network import fetch
    client.ok('exec', '-d', name, 'sh', '-c', 'echo hello | nc -l -p 80 >/dev/null')
    return until(lambda: fetch(client.engine, '127.0.0.1', 28080) == 'hello', 60)


# ---- what others hear of it

def test_events(client, nets, names):
    begin = int(time.time())
    name, container = nets(), names()
    ident = client.ok('network', 'inspect', '-f', '{{.Id}}', name)
    sleeper(client, container, '--network', name)
    whole = client.inspect(container, '{{.Id}}')
    client.ok('rm', '-f', container)
    client.ok('network', 'rm', name)
    client.ok('network', 'prune', '-f', '--filter', 'label=nosuch')
    text = client.engine.api('GET', f'/v1.41/events?since={begin}&until={int(time.time()) + 1}')[1].decode()
    events = [json.loads(line) for line in text.splitlines()]
    mine = [e for e in events if e['Type'] == 'network' and e['Actor']['ID'] == ident]
    assert [e['Action'] for e in mine] == ['create', 'connect', 'disconnect', 'destroy']
    assert all(e['Actor']['Attributes'] == {'name': name, 'type': 'bridge', **({'container': whole} if e['Action'].endswith('connect') else {})} for e in mine)
    order = [(e['Type'], e['Action']) for e in events if whole in (e['Actor']['ID'], e['Actor']['Attributes'].get('container')) and e['Action'] != 'kill']
    assert order == [('container', 'create'), ('network', 'connect'), ('container', 'start'), ('container', 'die'),
                     ('network', 'disconnect'), ('container', 'destroy')]
    assert {'reclaimed': '0'} in [e['Actor']['Attributes'] for e in events if e['Action'] == 'prune']


@pytest.mark.only('gantry')
def test_gateway_priority(client, nets, names):
    """Of docker 28 and later."""
    a, b, name = nets('a'), nets('b'), names()
    sleeper(client, name, '--network', a)
    way = lambda net: [entries(client, name)[net]['Gateway'] in r for r in routes(client, name)]
    assert api(client, 'POST', f'/networks/{b}/connect', {'Container': name, 'EndpointConfig': {'GwPriority': 5}})[0] == 200
    assert ask(client.engine, 'GET', f'/v1.48/containers/{name}/json')['NetworkSettings']['Networks'][b]['GwPriority'] == 5
    assert way(b) == [True]
    client.ok('restart', '-t', '0', name)
    assert way(b) == [True]
    client.ok('network', 'disconnect', b, name)
    assert way(a) == [True]


@pytest.mark.only('gantry')
def test_several_networks_at_create(client, nets, names):
    """Of docker 25 and later."""
    a, b, name = nets('a'), nets('b'), names()
    body = {'Image': IMAGE, 'Cmd': ['sleep', '1000'], 'HostConfig': {'NetworkMode': b}, 'NetworkingConfig': {'EndpointsConfig': {
        a: {'MacAddress': '02:42:0a:4d:01:98'}, b: {'Aliases': ['x']}}}}
    assert api(client, 'POST', f'/containers/create?name={name}', body, 'v1.44')[0] == 201
    client.ok('start', name)
    assert set(entries(client, name)) == {a, b} and entries(client, name)[a]['MacAddress'] == '02:42:0a:4d:01:98'
    # That of NetworkMode comes first.
    assert address(client, name, b) in client.ok('exec', name, 'ip', '-4', '-o', 'addr', 'show', 'eth0')
    for bad in ({'MacAddress': 'foo'}, {'IPAMConfig': {'IPv4Address': 'foo'}}, None):
        body['NetworkingConfig']['EndpointsConfig'][a] = bad
        assert api(client, 'POST', '/containers/create', body, 'v1.44')[0] == 400


@pytest.mark.only('gantry')
def test_networks_survive_a_restart(client, nets, names):
    a, b, name = nets('a'), nets('b'), names()
    sleeper(client, name, '--network', a)
    client.ok('network', 'connect', b, name)
    before = entries(client, name), api(client, 'GET', f'/networks/{a}')[1], api(client, 'GET', f'/networks/{b}')[1]
    client.engine.kill('gantryd')
    client.engine.start()
    assert before == (entries(client, name), api(client, 'GET', f'/networks/{a}')[1], api(client, 'GET', f'/networks/{b}')[1])
    assert reaches(client, name, entries(client, name)[b]['Gateway'])
