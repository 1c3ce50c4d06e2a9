# SPDX-License-Identifier: Apache-2.0
"""Ports of a running container come and go: gantry update --publish-add and --publish-rm."""
import contextlib
import json
import os

import pytest

from harness import packets, places
from harness.client import Client
from harness.engine import ask, until
from harness.places import IMAGE

NAME = f'live{os.getpid()}'


@pytest.fixture
def live(stack, home):
    """A container with servers in it, that publishes 18200."""
    client = Client('gantry', stack, home)
    servers = packets.Servers()
    try:
        client.ok('run', '-d', '--name', NAME, '-p', '18200:80', '-p', '18300-18303:100-103', IMAGE, 'sleep', '1000')
        serve(client, servers)
        yield client, servers
    finally:
        servers.close()
        client('rm', '-f', NAME)


def serve(client, servers):
    servers.listen(f"/proc/{client.inspect(NAME, '{{.State.Pid}}')}/ns/net", 'live', (80, 81, 100, 103), (53,))


def reached(client, port, protocol='tcp'):
    """From loopback (the proxy) and at another address of the host (the firewall)."""
    space = client.engine.names.netns
    answers = {packets.ask(space, protocol, address, port).split(' ')[0] for address in ('127.0.0.1', '10.213.0.1')}
    assert len(answers) == 1, answers
    return answers.pop()


def published(client):
    shown = ask(client.engine, 'GET', f'/containers/{NAME}/json')
    return {(key, binding['HostPort']) for key, bindings in shown['NetworkSettings']['Ports'].items() for binding in bindings or ()}, {
        (key, binding['HostPort']) for key, bindings in shown['HostConfig']['PortBindings'].items() for binding in bindings}


RANGE = {(f'{100 + i}/tcp', str(18300 + i)) for i in range(4)}


def test_ports_come_and_go(live):
    client, servers = live
    with contextlib.closing(packets.socket_in(client.engine.names.netns, packets.family('127.0.0.1'), packets.socket.SOCK_STREAM)) as open_one:
        # A connection of a port that stays is not touched.
        listener = packets.socket_in(f"/proc/{client.inspect(NAME, '{{.State.Pid}}')}/ns/net", packets.socket.AF_INET, packets.socket.SOCK_STREAM)
        listener.bind(('0.0.0.0', 101))
        listener.listen()
        open_one.connect(('127.0.0.1', 18301))
        inside, _ = listener.accept()
        client.ok('update', '--publish-add', '18201:81', '--publish-add', '18253:53/udp', NAME)
        assert (reached(client, 18200), reached(client, 18201), reached(client, 18253, 'udp')) == ('live', 'live', 'live')
        client.ok('update', '--publish-rm', '18200:80', '--publish-rm', '18253:53/udp', NAME)
        assert (reached(client, 18200), reached(client, 18201), reached(client, 18253, 'udp')) == ('refused', 'live', 'refused')
        open_one.sendall(b'still here')
        inside.settimeout(5)
        assert inside.recv(100) == b'still here'
        inside.close()
        listener.close()
    wanted = {('81/tcp', '18201'), *RANGE}
    assert published(client) == (wanted, wanted)
    assert '18201->81/tcp' in client.ok('ps', '--filter', f'name={NAME}') and '18200' not in client.ok('ps', '--filter', f'name={NAME}')
    client.engine.restart()
    assert (reached(client, 18200), reached(client, 18201), reached(client, 18300)) == ('refused', 'live', 'live')
    client.engine.kill('gantryd', 'gantry-proxy')
    client.engine.start()
    assert reached(client, 18201) == 'live' and published(client) == (wanted, wanted)
    # The next start of the container has them, too.
    client.ok('restart', '-t', '0', NAME)
    serve(client, servers)
    assert (reached(client, 18201), reached(client, 18303)) == ('live', 'live') and published(client) == (wanted, wanted)


@pytest.mark.parametrize('flags,words', [
    (['--publish-add', '18401:80', '--publish-add', '18400:81'], 'address already in use (process'),
    (['--publish-rm', '18200:80', '--publish-rm', '18299:80'], 'port 18299:80/tcp is not published'),
    (['--publish-add', '18200:80'], 'port 18200:80/tcp is published already'),
    (['--publish-add', '18402:http'], 'invalid containerPort: http'),
])
def test_what_cannot_be(live, flags, words):
    client, _ = live
    before = published(client)
    holder = packets.socket_in(client.engine.names.netns, packets.socket.AF_INET, packets.socket.SOCK_STREAM)
    with contextlib.closing(holder):
        holder.bind(('0.0.0.0', 18400))
        holder.listen()
        done = client('update', *flags, NAME)
    assert done.code == 1 and words in done.err
    assert published(client) == before and reached(client, 18200) == 'live' and reached(client, 18401) == 'refused'


def test_to_whom_ports_are_exposed(live):
    client, _ = live
    client.ok('update', '--publish-rm', '18300:100', '--publish-rm', '18301:101', '--publish-rm', '18302:102', '--publish-rm', '18303:103',
              '--publish-add', '127.0.0.1:18205:81', '--publish-add', '10.213.0.1:18206:53/udp', NAME)
    shown = client.ok('ps', '--filter', f'name={NAME}', '--format', '{{.ExposedTo}}')
    assert shown == '10.213.0.1: 18206/udp; everybody: 18200/tcp; this host: 18205/tcp'
    assert 'EXPOSED TO' in client.ok('ps', '--format', 'table {{.Names}}\t{{.ExposedTo}}')
    assert 'ExposedTo' not in client.ok('ps', '--format', 'json')


def test_without_a_port_of_the_host(live):
    client, _ = live
    client.ok('update', '--publish-add', '81', NAME)
    ports, _ = published(client)
    port = {int(host) for key, host in ports if key == '81/tcp'}.pop()
    assert port > 1023 and reached(client, port) == 'live'
    client.ok('update', '--publish-rm', '81', NAME)
    assert reached(client, port) == 'refused'


def test_of_a_stopped_container_and_of_none(live):
    client, servers = live
    client.ok('stop', '-t', '0', NAME)
    client.ok('update', '--publish-add', '18203:81', NAME)
    client.ok('start', NAME)
    serve(client, servers)
    assert until(lambda: reached(client, 18203) == 'live', 60)
    client.ok('run', '-d', '--name', f'{NAME}h', '--network', 'host', IMAGE, 'sleep', '100')
    try:
        done = client('update', '--publish-add', '18204:80', f'{NAME}h')
        assert done.code == 1 and 'conflicting options' in done.err
        status, body, _ = client.engine.api('POST', f'/containers/{NAME}/update', json.dumps({'GantryPublish': {'Add': {'x/tcp': [{}]}}}))
        assert status == 400, body
    finally:
        client.ok('rm', '-f', f'{NAME}h')


def test_what_went_through_an_interface(live):
    client, _ = live
    read = lambda: json.loads(client.ok('network', 'inspect', '--counters', 'bridge'))[0]['Containers'][client.inspect(NAME, '{{.Id}}')]['GantryCounters']
    before = read()
    address = client.inspect(NAME, '{{.NetworkSettings.IPAddress}}')
    for _ in range(20):
        assert packets.ask(client.engine.names.netns, 'tcp', address, 80).startswith('live')
    after = read()
    # A connection is four packets in (SYN, ACK, FIN, ACK) and at least three out.
    assert after['ReceivedPackets'] - before['ReceivedPackets'] >= 60 and after['SentPackets'] - before['SentPackets'] >= 60
    assert after['SentBytes'] - before['SentBytes'] >= 20 * 60
    assert 'GantryCounters' not in client.ok('network', 'inspect', 'bridge')


@pytest.mark.skipif(not places.SOAK, reason='a thousand interfaces take 15 s to go')
def test_a_bridge_that_is_full(stack, home):
    """The kernel gives a bridge 1,023 ports; all but one are interfaces here whose other ends are elsewhere."""
    client, host, elsewhere = Client('gantry', stack, home), stack.names.netns, f'{stack.names.netns_name}-e'
    client.ok('network', 'create', '-o', 'com.docker.network.bridge.name=gtfull', '--subnet', '10.95.0.0/16', f'{NAME}full')
    packets.run('ip', 'netns', 'add', elsewhere)
    try:
        steps = '\n'.join(f'link add gtport{i} type veth peer name port{i} netns {elsewhere}\nlink set gtport{i} master gtfull' for i in range(1022))
        packets.subprocess.run(['nsenter', f'--net={host}', 'ip', '-batch', '-'], input=steps, text=True, check=True, timeout=60)
        client.ok('run', '-d', '--name', f'{NAME}last', '--network', f'{NAME}full', IMAGE, 'sleep', '100')
        done = client('run', '-d', '--name', f'{NAME}more', '--network', f'{NAME}full', '-p', '18207:80', IMAGE, 'sleep', '100')
        assert done.code == 125 and 'a bridge takes at most 1,023 containers' in done.err
        assert packets.ask(host, 'tcp', '127.0.0.1', 18207) == 'refused'
        client.ok('run', '-d', '--name', f'{NAME}other', IMAGE, 'sleep', '100')
        done = client('network', 'connect', f'{NAME}full', f'{NAME}other')
        assert done.code == 1 and 'a bridge takes at most 1,023 containers' in done.err
        assert 'eth1' not in client.ok('exec', f'{NAME}other', 'ip', 'link')
        client.ok('rm', '-f', f'{NAME}last')
        until(lambda: client('start', f'{NAME}more').code == 0, 60)
    finally:
        client('rm', '-f', f'{NAME}last', f'{NAME}more', f'{NAME}other')
        packets.run('ip', 'netns', 'del', elsewhere)
        until(lambda: 'gtport' not in packets.run('ip', '-o', 'link', space=host), 60)
        client.ok('network', 'rm', f'{NAME}full')
