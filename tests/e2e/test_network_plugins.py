# SPDX-License-Identifier: Apache-2.0
"""Network drivers and IPAM drivers that are plugins (tests/harness/plugin.py), proven on Debian's dockerd first: what they are
told, packets, their faults, kills."""
import contextlib
import json
import os
import time
from pathlib import Path

import pytest

from conftest import engines
from harness import packets
from harness.client import Client
from harness.engine import Peer, Stack, ask, left_after, until
from harness.places import IMAGE
from harness.plugin import TLS_PORT, NetworkPlugin
from harness.registry import make_authority, make_client_certificate
from test_networks import entries

NAME = f'gt-plugin-{os.getpid()}'


@pytest.fixture(scope='module', params=engines())
def client(request, home):
    engine = Stack(number=14) if request.param == 'gantry' else Peer(number=14)
    try:
        engine.start()
        engine.load_image()
        yield Client('gantry' if engine.kind == 's' else 'docker', engine, home)
    finally:
        left = engine.destroy()
    assert [str(t) for t in left] == []


@pytest.fixture
def plugin(client, tmp_path):
    """At the end nothing is left at it, and nothing of it on the host."""
    made = NetworkPlugin(client.engine, f'{NAME}-{client.engine.kind}', tmp_path / 'plugin').start()
    try:
        yield made
        made.fault()
        if made.process.poll() is not None:
            made.stop()
            made.start()
        for name in client.ok('ps', '-aq').split():
            client('rm', '-f', name)
        for name in client.ok('network', 'ls', '-q', '--filter', 'type=custom').split():
            client('network', 'rm', name)
        assert made.known('networks') == {} and made.known('addresses') == {}
        assert left_after(made.links, 30) == []
    finally:
        made.stop()


@pytest.fixture
def gantry(client):
    if client.engine.kind != 's':
        pytest.skip('of gantry alone')
    return client


def space(client, name):
    return f"/proc/{client.inspect(name, '{{.State.Pid}}')}/ns/net"


def run(client, name, *options):
    client.ok('run', '-d', '--name', name, *options, IMAGE, 'sleep', '100000')
    return name


def created(client, plugin, name, *options, driver=None):
    return client.ok('network', 'create', '-d', driver or plugin.name, *options, name)


def test_a_network(client, plugin):
    identity = created(client, plugin, 'taste', '--subnet', '10.87.0.0/24', '--gateway', '10.87.0.1', '-o', 'gateway=1', '-o', 'k=v')
    (_, told), = plugin.requests('NetworkDriver.CreateNetwork')
    assert told['NetworkID'] == identity and told['Options']['com.docker.network.generic'] == {'gateway': '1', 'k': 'v'}
    (data,) = told['IPv4Data']
    assert (data['Pool'], data['Gateway'], told['IPv6Data']) == ('10.87.0.0/24', '10.87.0.1/24', [])
    shown = ask(client.engine, 'GET', '/networks/taste')
    assert (shown['Driver'], shown['Scope'], shown['Options']) == (plugin.name, 'local', {'gateway': '1', 'k': 'v'})
    run(client, 'first', '--network', 'taste', '--ip', '10.87.0.9', '-p', '18380:80')
    run(client, 'second', '--network', 'taste', '--mac-address', '02:aa:00:00:00:41')
    endpoint = entries(client, 'first')['taste']['EndpointID']
    first, second = (body for _, body in plugin.requests('NetworkDriver.CreateEndpoint'))
    assert (first['NetworkID'], first['EndpointID']) == (identity, endpoint)
    assert first['Interface'] == {'Address': '10.87.0.9/24', 'AddressIPv6': '', 'MacAddress': ''} and second['Interface']['MacAddress'] == '02:aa:00:00:00:41'
    (_, joined), _ = plugin.requests('NetworkDriver.Join')
    assert joined['SandboxKey'] == client.inspect('first', '{{.NetworkSettings.SandboxKey}}').replace('/var/run', '/run')
    for body in (first, joined):
        assert body['Options']['com.docker.network.endpoint.exposedports'] == [{'Proto': 6, 'Port': 80}]
        (published,) = body['Options']['com.docker.network.portmap']
        assert (published['Proto'], published['Port'], published['HostPort']) == (6, 80, 18380)
    # Its interface, with its addresses and routes.
    inside = client.ok('exec', 'first', 'ip', 'addr', 'show', 'tp0')
    assert 'inet 10.87.0.9/24' in inside and f"link/ether 02:5e:{':'.join(endpoint[i:i + 2] for i in (0, 2, 4, 6))}" in inside and ',UP' in inside
    assert 'link/ether 02:aa:00:00:00:41' in client.ok('exec', 'second', 'ip', 'link', 'show', 'tp0')
    routes = client.ok('exec', 'first', 'ip', 'route')
    assert 'default via 10.87.0.1 dev tp0' in routes and '198.51.100.0/24 via 10.87.0.1 dev tp0' in routes
    entry = entries(client, 'first')['taste']
    assert (entry['IPAddress'], entry['IPPrefixLen'], entry['Gateway']) == ('10.87.0.9', 24, '10.87.0.1')
    # Packets, and names. dockerd's policy of FORWARD, with br_netfilter, cuts bridges that are not its own.
    assert packets.ping(space(client, 'second'), '10.87.0.1', 5) == 'yes'
    assert client.engine.kind == 'p' or packets.ping(space(client, 'second'), '10.87.0.9', 5) == 'yes'
    assert '10.87.0.9' in client.ok('exec', 'second', 'nslookup', 'first')
    assert len(plugin.requests('NetworkDriver.ProgramExternalConnectivity')) == 2
    assert client('network', 'rm', 'taste').code == 1
    client.ok('rm', '-f', 'first')
    ended = [(m.split('.')[1], b['EndpointID'] == endpoint) for m, b in plugin.requests() if m.split('.')[1] in ('RevokeExternalConnectivity', 'Leave', 'DeleteEndpoint')]
    assert ended == [('RevokeExternalConnectivity', True), ('Leave', True), ('DeleteEndpoint', True)]
    client.ok('rm', '-f', 'second')
    client.ok('network', 'rm', 'taste')
    assert plugin.requests()[-1] == ('NetworkDriver.DeleteNetwork', {'NetworkID': identity})
    assert [m for m, _ in plugin.requests()[:2]] == ['Plugin.Activate', 'NetworkDriver.GetCapabilities']


def test_live_and_beside_a_bridge(client, plugin):
    created(client, plugin, 'taste', '--subnet', '10.87.0.0/24', '-o', 'gateway=1')
    client.ok('network', 'create', '--subnet', '10.86.0.0/24', 'abridge')
    run(client, 'both', '--network', 'abridge')
    client.ok('network', 'connect', 'taste', 'both')
    assert 'inet 10.87.0.2/24' in client.ok('exec', 'both', 'ip', 'addr', 'show', 'tp0')
    assert [r for r in client.ok('exec', 'both', 'ip', 'route').splitlines() if r.startswith('default')][0].startswith('default via 10.86.0.1 dev eth0')
    client.ok('network', 'disconnect', 'abridge', 'both')
    assert 'default via 10.87.0.1 dev tp0' in client.ok('exec', 'both', 'ip', 'route')
    client.ok('network', 'disconnect', 'taste', 'both')
    assert 'tp0' not in client.ok('exec', 'both', 'ip', 'link')
    until(lambda: not [link for link in plugin.links() if link.startswith(('tph', 'tpc'))], 30, "its interfaces go")
    client.ok('network', 'connect', 'taste', 'both')
    client.ok('restart', '-t', '0', 'both')
    assert packets.ping(space(client, 'both'), '10.87.0.1', 5) == 'yes'
    client.ok('kill', 'both')
    until(lambda: not [link for link in plugin.links() if link.startswith(('tph', 'tpc'))], 30, "its interfaces go")


def test_without_a_gateway_there_is_a_way_out(client, plugin):
    created(client, plugin, 'taste', '--subnet', '10.87.0.0/24')
    run(client, 'out', '--network', 'taste', '-p', '18381:80')
    assert 'eth0' in client.ok('exec', 'out', 'ip', 'link') and 'dev eth0' in client.ok('exec', 'out', 'ip', 'route').splitlines()[0]
    with contextlib.closing(packets.Servers()) as servers:
        servers.listen(space(client, 'out'), 'out', (80,))
        assert packets.ask(client.engine.names.netns, 'tcp', '127.0.0.1', 18381, 5).startswith('out')
    client.ok('rm', '-f', 'out')
    created(client, plugin, 'closed', '--subnet', '10.88.0.0/24', '-o', 'closed=1')
    run(client, 'in', '--network', 'closed')
    assert 'default' not in client.ok('exec', 'in', 'ip', 'route') and 'eth0' not in client.ok('exec', 'in', 'ip', 'link')


def test_addresses_of_an_ipam_plugin(client, plugin):
    created(client, plugin, 'taste', '--ipam-driver', plugin.name, '--ipam-opt', 'x=y')
    (_, pool), = plugin.requests('IpamDriver.RequestPool')
    assert pool == {'AddressSpace': 'tp-local', 'Pool': '', 'SubPool': '', 'Options': {'x': 'y'}, 'V6': False}
    assert plugin.requests('IpamDriver.RequestAddress')[0][1]['Options'] == {'RequestAddressType': 'com.docker.network.gateway'}
    (_, told), = plugin.requests('NetworkDriver.CreateNetwork')
    assert (told['IPv4Data'][0]['Pool'], told['IPv4Data'][0]['Gateway']) == ('10.89.0.0/24', '10.89.0.1/24')
    ipam = ask(client.engine, 'GET', '/networks/taste')['IPAM']
    assert (ipam['Driver'], ipam['Options'], ipam['Config']) == (plugin.name, {'x': 'y'}, [{'Subnet': '10.89.0.0/24', 'Gateway': '10.89.0.1'}])
    run(client, 'first', '--network', 'taste')
    assert entries(client, 'first')['taste']['IPAddress'] == '10.89.0.254'
    client.ok('rm', '-f', 'first')
    assert plugin.known('addresses') == {'tp-local/10.89.0.0/24': ['10.89.0.1']}
    # A bridge whose addresses are the plugin's.
    created(client, plugin, 'abridge', '--ipam-driver', plugin.name, '--subnet', '10.88.0.0/24', '--gateway', '10.88.0.5', '--aux-address', 'x=10.88.0.254', driver='bridge')
    run(client, 'second', '--network', 'abridge')
    run(client, 'third', '--network', 'abridge', '--ip', '10.88.0.77')
    assert entries(client, 'second')['abridge']['IPAddress'] == '10.88.0.253' and 'default via 10.88.0.5' in client.ok('exec', 'second', 'ip', 'route')
    assert packets.ping(space(client, 'third'), '10.88.0.253', 5) == 'yes'
    done = client('run', '--rm', '--network', 'abridge', '--ip', '10.88.0.77', IMAGE, 'true')
    assert done.code == 125 and ('address 10.88.0.77 is taken' if client.engine.kind == 's' else 'No address returned') in done.err
    client.ok('stop', '-t', '0', 'second')
    assert sorted(plugin.known('addresses')['tp-local/10.88.0.0/24']) == ['10.88.0.254', '10.88.0.5', '10.88.0.77']


def test_an_ipam_plugin_that_keeps_nothing_is_told_again(client, plugin):
    (plugin.folder / 'forgetful').touch()
    created(client, plugin, 'abridge', '--ipam-driver', plugin.name, '--subnet', '10.88.0.0/24', '--aux-address', 'x=10.88.0.9', driver='bridge')
    first = entries(client, run(client, 'first', '--restart', 'always', '--network', 'abridge'))['abridge']['IPAddress']
    before = plugin.known('addresses')
    if client.engine.kind == 's':
        client.engine.stop()
    else:
        client.engine.process.terminate()
        client.engine.process.wait()
    plugin.stop()
    (plugin.folder / 'addresses').unlink()
    plugin.start()
    client.engine.start()
    second = entries(client, run(client, 'second', '--network', 'abridge'))['abridge']['IPAddress']
    assert (first, second) == ('10.88.0.254', '10.88.0.253')
    after = {pool: sorted(taken) for pool, taken in plugin.known('addresses').items()}
    assert after == {pool: sorted([*taken, second]) for pool, taken in before.items()}


def test_addresses_of_the_driver(client, plugin):
    """Without IPAM the driver says an endpoint's address."""
    created(client, plugin, 'taste', '--ipam-driver', 'null', '-o', 'closed=1')
    (_, told), = plugin.requests('NetworkDriver.CreateNetwork')
    assert [data['Pool'] for data in told['IPv4Data']] == ['0.0.0.0/0']
    run(client, 'first', '--network', 'taste')
    assert 'inet 10.89.0.77/24' in client.ok('exec', 'first', 'ip', 'addr', 'show', 'tp0')
    assert entries(client, 'first')['taste']['IPAddress'] == '10.89.0.77'


def test_specifications(client, plugin):
    """Where it is, a file says."""
    hidden = plugin.folder / 'elsewhere.sock'
    plugin.socket.rename(hidden)
    folder = '/etc/docker/plugins'
    os.makedirs(folder, exist_ok=True)
    for suffix, text in (('spec', f'unix://{hidden}\n'), ('json', json.dumps({'Name': 'x', 'Addr': f'unix://{hidden}'}))):
        name = f'{plugin.name}-{suffix}'
        path = f'{folder}/{name}.{suffix}'
        try:
            with open(path, 'w') as file:
                file.write(text)
            created(client, plugin, suffix, driver=name)
            client.ok('network', 'rm', suffix)
        finally:
            os.unlink(path)
    hidden.rename(plugin.socket)
    for flags in (['-d', f'{NAME}-none'], ['--ipam-driver', f'{NAME}-none']):
        done = client('network', 'create', *flags, 'nobody')
        assert done.code == 1 and f'plugin "{NAME}-none" not found' in done.err


@contextlib.contextmanager
def specified(plugin, name, **text):
    """A new name each: dockerd keeps what it has read."""
    path = Path(f'/etc/docker/plugins/{plugin.name}-{name}.json')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({'Name': 'x', 'Addr': f'https://127.0.0.1:{TLS_PORT}', **text}))
    try:
        yield path.stem
    finally:
        path.unlink()


def test_over_tls(client, plugin, tmp_path):
    """Both sides prove who they are; without an authority in the file the plugin need not, as docker has it."""
    own, other = plugin.folder / 'tls', tmp_path / 'other'
    plugin.stop()
    for folder in (own, other):
        folder.mkdir()
        make_authority(folder)
        make_client_certificate(folder)
    plugin.start()
    mine = {'CertFile': str(own / 'cert.pem'), 'KeyFile': str(own / 'key.pem')}
    theirs = {'CertFile': str(other / 'cert.pem'), 'KeyFile': str(other / 'key.pem')}
    authority, stranger = {'CAFile': str(own / 'ca.pem')}, {'CAFile': str(other / 'ca.pem')}
    for number, tls in enumerate(({**mine, **authority}, mine, {**mine, **stranger, 'InsecureSkipVerify': True})):
        with specified(plugin, f'secure{number}', TLSConfig=tls) as name:
            created(client, plugin, f'secure{number}', driver=name)
            client.ok('network', 'rm', f'secure{number}')
    asked = len(plugin.requests())
    refused = [({**mine, **stranger}, 'SSL' if client.engine.kind == 's' else 'certificate'), ({**theirs, **authority}, ''), (authority, '')]
    if client.engine.kind == 's':
        refused += [({**authority, 'CertFile': mine['CertFile']}, 'CertFile and KeyFile need each other'), ({**authority, **mine, 'CAFile': '/nosuch'}, '/nosuch')]
    for number, (tls, said) in enumerate(refused):
        with specified(plugin, f'refused{number}', TLSConfig=tls) as name:
            done = client('network', 'create', '-d', name, 'refused')
            assert done.code == 1 and said in done.err and len(done.err.splitlines()) == 1, done.err
    assert len(plugin.requests()) == asked


def test_an_answer_of_nothing(gantry, plugin):
    """What a driver written in Go says when it has nothing to say."""
    plugin.fault(CreateNetwork='null', DeleteNetwork='null')
    gantry.ok('network', 'create', '-d', plugin.name, 'taste')
    gantry.ok('network', 'rm', 'taste')


@pytest.mark.parametrize('fault', ['error', 'status', 'garbage', 'absent', 'die'])
@pytest.mark.parametrize('method', ['CreateNetwork', 'RequestPool', 'CreateEndpoint', 'Join', 'RequestAddress'])
def test_faults(gantry, plugin, method, fault):
    """One clear error, and nothing is left."""
    client = gantry
    before = client.ok('network', 'ls', '-q')
    of_network = method in ('CreateNetwork', 'RequestPool')
    if of_network:
        plugin.fault(**{method: fault})
        done = client('network', 'create', '-d', plugin.name, '--ipam-driver', plugin.name, 'taste')
        assert done.code == 1
    else:
        created(client, plugin, 'taste', '--ipam-driver', plugin.name)
        known = plugin.known('addresses')
        plugin.fault(**{method: fault})
        done = client('run', '--name', 'first', '--network', 'taste', '-p', '18382:80', IMAGE, 'true')
        assert done.code == 125
    kind = 'IpamDriver' if method.startswith('Request') else 'NetworkDriver'
    words = {'error': f'{kind}.{method} is told to fail', 'status': f'{kind}.{method} is told to fail', 'garbage': 'its answer is no JSON object', 'absent': 'it knows no such method', 'die': ''}[fault]
    assert f'plugin {plugin.name}: {kind}.{method}: {words}' in done.err and len(done.err.strip().splitlines()) <= 3, done.err
    plugin.fault()
    if fault == 'die':
        plugin.process.wait(10)
        plugin.stop()
        plugin.start()
    if of_network:
        assert client.ok('network', 'ls', '-q') == before
        if fault != 'die':  # dead, it could not be told that nobody wants it
            assert plugin.known('networks') == {} and plugin.known('addresses') == {}
    elif fault != 'die':
        assert plugin.known('addresses') == known and [n['endpoints'] for n in plugin.known('networks').values()] == [[]]
        assert [link for link in plugin.links() if not link.startswith('tpb')] == []
    if not of_network:
        client.ok('start', 'first')
        client.ok('rm', '-f', 'first')
    if fault == 'die':
        plugin.stop()
        for link in plugin.links():
            client.engine.inside('ip', 'link', 'del', link, check=False)
        # Who can't be told does not let the network go.
        for name in client.ok('network', 'ls', '-q', '--filter', 'name=taste').split():
            done = client('network', 'rm', name)
            assert done.code == 1 and f'plugin "{plugin.name}" not found' in done.err
        (plugin.folder / 'addresses').write_text('{}')
        (plugin.folder / 'networks').write_text('{}')
        plugin.start()


def test_one_that_hangs(gantry, plugin):
    client = gantry
    created(client, plugin, 'taste', '--subnet', '10.87.0.0/24')
    run(client, 'other')
    plugin.fault(CreateEndpoint='hang')
    process = client.start('run', '--name', 'first', '--network', 'taste', IMAGE, 'true')
    until(lambda: plugin.requests('NetworkDriver.CreateEndpoint'), 20)
    begin = time.monotonic()
    # Others don't wait for it.
    client.ok('run', '--rm', IMAGE, 'true')
    assert time.monotonic() - begin < 10
    _, err = process.communicate(timeout=60)
    assert process.returncode == 125 and f'plugin {plugin.name}: NetworkDriver.CreateEndpoint: no answer within 20 s' in err.decode()
    done = client('start', 'first')
    assert done.code == 1 and 'it did not answer a moment ago' in done.err
    plugin.fault()
    until(lambda: client('start', 'first').code == 0, 30)


def test_what_cannot_be_taken_back(gantry, plugin):
    """A container goes whatever its plugin says; a network waits for one that is away."""
    client = gantry
    created(client, plugin, 'taste', '--subnet', '10.87.0.0/24', '-o', 'gateway=1')
    run(client, 'first', '--network', 'taste')
    plugin.fault(Leave='error', DeleteEndpoint='absent')
    client.ok('network', 'disconnect', 'taste', 'first')
    plugin.fault()
    client.ok('network', 'connect', 'taste', 'first')
    assert client('network', 'rm', 'taste').code == 1
    plugin.stop()
    client.ok('network', 'disconnect', 'taste', 'first')
    assert 'tp0' not in client.ok('exec', 'first', 'ip', 'link')
    client.ok('rm', '-f', 'first')
    done = client('network', 'rm', 'taste')
    assert done.code == 1 and 'error while removing network: plugin' in done.err and client.ok('network', 'ls', '-q', '--filter', 'name=taste') != ''
    plugin.start()
    run(client, 'second', '--network', 'taste')
    client.ok('rm', '-f', 'second')
    # What it was not told of, or did not hear: both ends are on the host again.
    left = [link for link in plugin.links() if not link.startswith('tpb')]
    assert sorted(link[:3] for link in left) == ['tpc', 'tpc', 'tph', 'tph']
    for link in left:
        client.engine.inside('ip', 'link', 'del', link, check=False)


def test_kills(gantry, plugin):
    """Of gantryd, at any moment of what plugins are told: afterwards they know what the records say."""
    client = gantry

    def killed(after, *command):
        count = len(plugin.requests(after))
        process = client.start(*command)
        until(lambda: len(plugin.requests(after)) > count or process.poll() is not None, 20)
        client.engine.kill('gantryd')
        process.communicate()
        plugin.fault()
        # What it did late it did all the same.
        time.sleep(0.5)
        client.engine.start()
    for moment in ('CreateNetwork', 'CreateEndpoint', 'Join', 'Leave', 'DeleteEndpoint', 'DeleteNetwork'):
        if moment != 'CreateNetwork':
            created(client, plugin, 'taste', '--subnet', '10.87.0.0/24')
        if moment in ('Leave', 'DeleteEndpoint'):
            run(client, 'first', '--network', 'taste')
        plugin.fault(**{moment: 'late:0.4'})
        command = {'CreateNetwork': ('network', 'create', '-d', plugin.name, '--subnet', '10.87.0.0/24', 'taste'), 'DeleteNetwork': ('network', 'rm', 'taste')}.get(
            moment, ('rm', '-f', 'first') if moment in ('Leave', 'DeleteEndpoint') else ('run', '-d', '--name', 'first', '--network', 'taste', IMAGE, 'sleep', '1000'))
        killed(f'NetworkDriver.{moment}', *command)
        names = client.ok('network', 'ls', '--filter', 'type=custom', '--format', '{{.Name}}').split()
        # One that was just coming or going is gone.
        assert ('taste' in names) == (moment not in ('CreateNetwork', 'DeleteNetwork')) == bool(plugin.known('networks')), moment
        client('rm', '-f', 'first')
        assert [n['endpoints'] for n in plugin.known('networks').values()] in ([], [[]]), moment
        client('network', 'rm', 'taste')
        until(lambda: plugin.links() == [], 30, moment)
        assert plugin.known('networks') == {}
    # A container that runs keeps its interface over kills and restarts.
    created(client, plugin, 'taste', '--subnet', '10.87.0.0/24', '-o', 'gateway=1')
    run(client, 'first', '--network', 'taste')
    count = len(plugin.requests())
    client.engine.kill('gantryd')
    client.engine.start()
    client.engine.restart()
    assert packets.ping(space(client, 'first'), '10.87.0.1', 5) == 'yes' and len(plugin.requests()) == count
    # One that somebody took away is made again.
    client.engine.stop()
    packets.run('ip', 'link', 'del', 'tp0', space=space_of_entry(client))
    client.engine.start()
    assert packets.ping(space(client, 'first'), '10.87.0.1', 5) == 'yes'


def space_of_entry(client):
    entry, = os.listdir(f'{client.engine.names.state}/netns')
    return f'{client.engine.names.state}/netns/{entry}'
