# SPDX-License-Identifier: Apache-2.0
"""Published sctp ports. Where the kernel has sctp the proxy serves them, too; where it hasn't, the rules lead to containers
with a stack of their own, and raw packets show that."""
import contextlib
import errno
import json
import socket

import pytest

from conftest import engines
from harness import packets
from harness.client import Client
from harness.engine import Peer, Stack, ask, until
from harness.places import IMAGE

HOST, OTHER = '192.0.2.1', '192.0.2.2'
PUBLISHED = ['5000:3868/sctp', f'{HOST}:5001:3869/sctp', '5010-5015:5010-5015/sctp', '5000:80/tcp']


def has_sctp():
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, packets.SCTP).close()
        return True
    except OSError as error:
        assert error.errno == errno.EPROTONOSUPPORT
        return False


KERNEL = has_sctp()


class World:
    def __init__(self, client, over):
        self.client, self.over = client, over
        self.host = client.engine.names.netns
        self.other = over.enter_context(packets.other_host(self.host, f'{client.engine.names.netns_name}-o'))
        packets.run('ip', 'route', 'add', 'default', 'via', HOST, space=self.other)

    def run(self, name, *options):
        """A container whose sctp is raw packets: what it has seen is in the answer's `seen`."""
        self.client.ok('run', '-d', '--name', name, *options, IMAGE, 'sleep', '100000')
        peer = packets.SctpPeer(f"/proc/{self.client.inspect(name, '{{.State.Pid}}')}/ns/net")
        self.over.callback(peer.close)
        return peer

    def reached(self, port, space=None, address=HOST):
        for _ in range(4):  # a packet may be late on a busy machine
            if packets.ask_sctp(space or self.other, address, port) == 'yes':
                return True
        return False


@contextlib.contextmanager
def whole_world(engine, home):
    with contextlib.ExitStack() as over:
        over.callback(engine.destroy)
        engine.start()
        engine.load_image()
        yield World(Client('gantry' if engine.kind == 's' else 'docker', engine, home), over)


def ours():
    return [pytest.param(lambda b=backend: Stack(number=16, arguments=['--firewall-backend', b]), id=backend) for backend in ('nftables', 'iptables')]


def everybody():
    chosen = engines()
    return (ours() if 'gantry' in chosen else []) + ([pytest.param(lambda: Peer(number=16), id='dockerd')] if 'peer' in chosen else [])


@pytest.mark.parametrize('make', everybody())
def test_packets_are_led_to_the_container(make, home):
    with whole_world(make(), home) as world:
        client = world.client
        if client.engine.kind == 'p' and not KERNEL:
            # There it has no proxy, and nobody to hold the port.
            done = client('run', '-d', '-p', '5000:3868/sctp', IMAGE, 'true')
            assert done.code == 125 and 'protocol not supported' in done.err
            return
        a = world.run('one', *(w for p in PUBLISHED for w in ('-p', p)))
        for port, inside in ((5000, 3868), (5001, 3869), (5010, 5010), (5013, 5013), (5015, 5015)):
            a.seen.clear()
            assert world.reached(port), port
            assert set(a.seen) == {(OTHER, inside, True)}
        assert packets.ask_sctp(world.other, HOST, 5016) == packets.ask_sctp(world.other, HOST, 3868) == 'no'
        address = client.inspect('one', '{{.NetworkSettings.IPAddress}}')
        if client.engine.kind == 's':  # dockerd before 28 lets others in there
            assert packets.ask_sctp(world.other, address, 3868) == 'no'
        # A neighbour needs no published port, and is seen as it is.
        world.run('two')
        space = f"/proc/{client.inspect('two', '{{.State.Pid}}')}/ns/net"
        assert world.reached(9999, space, address) and a.seen[-1] == (client.inspect('two', '{{.NetworkSettings.IPAddress}}'), 9999, True)
        assert client.ok('port', 'one', '3868/sctp').split('\n')[0] == '0.0.0.0:5000'
        assert f'{HOST}:5001->3869/sctp' in client.ok('ps', '--filter', 'name=one')
        shown = ask(client.engine, 'GET', '/containers/one/json')
        assert shown['NetworkSettings']['Ports']['3868/sctp'][0] == {'HostIp': '0.0.0.0', 'HostPort': '5000'}
        assert '3868/sctp' in shown['Config']['ExposedPorts'] and shown['HostConfig']['PortBindings']['3869/sctp'] == [{'HostIp': HOST, 'HostPort': '5001'}]
        if client.engine.kind == 's':
            # The same after everything that touches the rules, and nobody gets the port meanwhile.
            client.engine.kill('gantryd', 'gantry-proxy')
            client.engine.start()
            assert world.reached(5000) and world.reached(5014)
            client.engine.restart()
            assert world.reached(5001)
        done = client('run', '-d', '--name', 'three', '-p', '5000:1/sctp', IMAGE, 'sleep', '100')
        assert done.code == 125 and 'Bind for 0.0.0.0:5000 failed: port is already allocated' in done.err
        client.ok('rm', '-f', 'one')
        assert packets.ask_sctp(world.other, HOST, 5000) == 'no'
        client.ok('start', 'three')


@pytest.fixture(scope='module')
def world(home):
    with whole_world(Stack(number=17), home) as made:
        yield made


@pytest.fixture(autouse=True)
def none_left(request):
    yield
    if 'world' in request.fixturenames:
        client = request.getfixturevalue('world').client
        for name in client.ok('ps', '-aq').split():
            client('rm', '-f', name)


def test_ports_given_by_the_engine(world):
    client = world.client
    a = world.run('one', '-p', '3868/sctp', '-p', '5020-5022:3868/sctp')
    b = world.run('two', '-p', '5020-5022:3868/sctp', '--expose', '36412/sctp', '-P')
    ports = lambda name, inside: sorted(int(x['HostPort']) for x in ask(client.engine, 'GET', f'/containers/{name}/json')['NetworkSettings']['Ports'][inside]
                                        if x['HostIp'] == '0.0.0.0')
    first, given = ports('one', '3868/sctp')
    assert (first, ports('two', '3868/sctp')) == (5020, [5021]) and given >= 1024
    for peer, port, inside in ((a, given, 3868), (a, 5020, 3868), (b, 5021, 3868), (b, *ports('two', '36412/sctp'), 36412)):
        peer.seen.clear()
        assert world.reached(port) and set(peer.seen) == {(OTHER, inside, True)}
    image = client.ok('commit', '-c', 'EXPOSE 7/sctp', 'one', 'exposes-sctp') and json.loads(client.ok('image', 'inspect', 'exposes-sctp'))[0]
    assert '7/sctp' in image['Config']['ExposedPorts']
    client.ok('rmi', 'exposes-sctp')


def test_ports_come_and_go(world):
    client = world.client
    a = world.run('one', '-p', '5000:3868/sctp')
    client.ok('update', '--publish-add', '5001:3869/sctp', '--publish-add', '5001:53/udp', 'one')
    assert world.reached(5000) and world.reached(5001) and a.seen[-1] == (OTHER, 3869, True)
    assert 'everybody: 5000/sctp, 5001/sctp, 5001/udp' == client.ok('ps', '--format', '{{.ExposedTo}}')
    client.ok('update', '--publish-rm', '5000:3868/sctp', 'one')
    assert world.reached(5001) and not world.reached(5000)
    client.engine.kill('gantryd')
    client.engine.start()
    assert world.reached(5001) and not world.reached(5000)
    assert client.ok('port', 'one').split('\n')[0] == '53/udp -> 0.0.0.0:5001' and '5000' not in client.ok('port', 'one')


def test_who_goes_on_with_the_same_ports_finds_the_next_container(world):
    """Many sctp programs begin each association at the same port: what the kernel knows of the last one must not lead astray."""
    client = world.client
    sock = packets.socket_in(world.other, socket.AF_INET, socket.SOCK_RAW, packets.SCTP)
    with contextlib.closing(sock):
        for turn in ('first', 'second'):
            peer = world.run(turn, '-p', '5000:3868/sctp')

            def answered():
                sock.sendto(packets.sctp_packet(5000, 5000, 0, packets.SCTP_INIT), (HOST, 0))
                return peer.seen
            assert until(answered, 20)[0] == (OTHER, 3868, True)
            client.ok('rm', '-f', turn)


@pytest.mark.skipif(KERNEL, reason='the kernel has sctp')
def test_what_only_a_proxy_could_serve(world, home):
    client = world.client
    done = client('run', '--name', 'three', '-p', '127.0.0.1:5000:3868/sctp', IMAGE, 'true')
    assert done.code == 125 and 'Error starting userland proxy: listen sctp4 127.0.0.1:5000: ' in done.err and 'this kernel has no sctp' in done.err
    client.ok('run', '-d', '--name', 'four', IMAGE, 'sleep', '100')
    done = client('update', '--publish-add', '127.0.0.1:5000:3868/sctp', 'four')
    assert done.code == 1 and 'this kernel has no sctp' in done.err and client.ok('port', 'four') == ''
    with whole_world(Stack(number=24, arguments=['--firewall-backend', 'none']), home) as without:
        done = without.client('run', '-p', '5000:3868/sctp', IMAGE, 'true')
        assert done.code == 125 and 'listen sctp4 0.0.0.0:5000: ' in done.err and 'this kernel has no sctp' in done.err


@pytest.mark.skipif(not KERNEL, reason='the kernel has no sctp')
@pytest.mark.parametrize('make', everybody())
def test_associations(make, home):
    """Real ones: from loopback and a neighbour by the proxy, from another host by the rules."""
    def served(listener):
        connection, peer = listener.accept()
        with connection:
            connection.settimeout(20)
            connection.sendall(f'{peer[0]} {connection.recv(1000).decode()}'.encode())
    with whole_world(make(), home) as world:
        client = world.client
        client.ok('run', '-d', '--name', 'one', '-p', '5000:3868/sctp', IMAGE, 'sleep', '100000')
        client.ok('run', '-d', '--name', 'two', IMAGE, 'sleep', '100000')
        space = lambda name: f"/proc/{client.inspect(name, '{{.State.Pid}}')}/ns/net"
        listener = packets.socket_in(space('one'), socket.AF_INET, socket.SOCK_STREAM, packets.SCTP)
        gateway = client.inspect('one', '{{.NetworkSettings.Gateway}}')
        with listener:
            listener.bind(('0.0.0.0', 3868))
            listener.listen()
            listener.settimeout(20)
            for source, address, seen in ((world.host, '127.0.0.1', gateway), (space('two'), gateway, gateway), (world.other, HOST, OTHER)):
                with packets.socket_in(source, socket.AF_INET, socket.SOCK_STREAM, packets.SCTP) as sock:
                    sock.settimeout(20)
                    sock.connect((address, 5000))
                    sock.sendall(b'asked')
                    served(listener)
                    assert sock.recv(1000).decode() == f'{seen} asked'
        # Nobody listens any more: refused by both.
        for source, address in ((world.host, '127.0.0.1'), (world.other, HOST)):
            with packets.socket_in(source, socket.AF_INET, socket.SOCK_STREAM, packets.SCTP) as sock, pytest.raises(ConnectionError):
                sock.settimeout(20)
                sock.connect((address, 5000))
                if not sock.recv(100):
                    raise ConnectionResetError
