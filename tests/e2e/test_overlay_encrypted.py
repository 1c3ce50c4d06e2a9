# SPDX-License-Identifier: Apache-2.0
"""Overlay networks with the option encrypted, by what is on the wire between hosts. Debian's dockerd has such networks in swarms
alone, so there is no peer to compare with. They need ESP, which the kernel of a host may lack: there they are refused."""
import json
import socket
import struct
import subprocess

import pytest

from harness import packets
from harness.cluster import cluster_of
from harness.engine import until
from harness.places import IMAGE

ROTATION = 5  # seconds
PLAIN_PORT, ENCRYPTED_PORT = 4789, 4793
ETH_P_ALL, ETH_P_IP, UDP, ESP = 3, 0x0800, 17, 50
PATTERN = b'\xa5' * 32

pytestmark = pytest.mark.only('gantry')


def kernel_encrypts():
    command = 'ip xfrm state add src 127.0.0.1 dst 127.0.0.1 proto esp spi 0x1000 mode transport aead "rfc4106(gcm(aes))" 0x{} 128'.format('00' * 36)
    return subprocess.run(['unshare', '-n', 'sh', '-c', command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


ENCRYPTS = kernel_encrypts()
needs_esp = pytest.mark.skipif(not ENCRYPTS, reason='this kernel has no ESP')


@pytest.fixture(scope='module')
def cluster(home):
    with cluster_of(3, home, ['--cluster-store-opt', f'encryption.rotation={ROTATION}']) as made:
        yield made


@pytest.fixture
def nets(cluster):
    """An encrypted network and one that is not; afterwards nothing of them anywhere."""
    first = cluster.clients[0]
    first.ok('network', 'create', '-d', 'overlay', '-o', 'encrypted', 'secret')
    first.ok('network', 'create', '-d', 'overlay', 'plain')
    for client in cluster.clients:
        until(lambda: {'secret', 'plain'} <= set(client.ok('network', 'ls', '--format', '{{.Name}}').split()))
    yield 'secret', 'plain'
    for client in cluster.clients:
        found = client.ok('ps', '-aq').split()
        if found:
            client.ok('rm', '-f', *found)
    for name in ('secret', 'plain'):
        until(lambda: first('network', 'rm', name).code == 0)
    for client in cluster.clients:
        until(lambda: 'secret' not in client.ok('network', 'ls', '--format', '{{.Name}}').split())
        until(lambda: associations(client.engine) == [] and policies(client.engine) == {}, what='the kernel still encrypts')
        client('network', 'rm', 'docker_gwbridge')


def associations(host):
    return [line for line in host.inside('ip', 'xfrm', 'state').stdout.splitlines() if line.startswith('src')]


def policies(host):
    """What is asked for the encrypted port: (direction, receiver) → the association's number."""
    found = {}
    for line in host.inside('ip', 'xfrm', 'policy').stdout.splitlines():
        words = line.split()
        if words[0] == 'src':
            receiver = words[3]
        elif words[0] == 'dir':
            direction = words[1]
            found[direction, receiver] = None
        elif 'spi' in words:
            found[direction, receiver] = words[words.index('spi') + 1]
    return found


def run(client, name, *networks):
    client.ok('run', '-d', '--name', name, '--network', networks[0], IMAGE, 'sleep', '1000000')
    for network in networks[1:]:
        client.ok('network', 'connect', network, name)
    shown = json.loads(client.inspect(name, '{{json .NetworkSettings.Networks}}'))
    return [shown[network] for network in networks]


def ping(client, name, target, *more):
    return client('exec', name, 'ping', '-c', '1', '-W', '5', *more, target).code == 0


class Wire:
    """What passes the cable of a host."""

    def __init__(self, cluster, number):
        self.socket = packets.socket_in(f'/run/netns/{cluster.space}', socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.bind((f'p{number + 1}', ETH_P_ALL))
        self.socket.settimeout(0)
        self.taken()

    def taken(self):
        """The IPv4 packets since the last time."""
        found = []
        while True:
            try:
                frame = self.socket.recv(70000)
            except BlockingIOError:
                return found
            if struct.unpack('!H', frame[12:14])[0] == ETH_P_IP:
                found.append(frame[14:])


def protocol(packet):
    return packet[9]


def udp_port(packet):
    """Where it goes; None of another protocol."""
    head = (packet[0] & 15) * 4
    return struct.unpack('!H', packet[head + 2:head + 4])[0] if protocol(packet) == UDP else None


@pytest.mark.skipif(ENCRYPTS, reason='this kernel has ESP')
def test_a_kernel_without_esp_refuses_such_networks(cluster):
    client = cluster.clients[0]
    before = client.ok('network', 'ls', '-q')
    done = client('network', 'create', '-d', 'overlay', '-o', 'encrypted', 'secret')
    assert done.code == 1 and 'option encrypted needs ESP with AES-GCM in the kernel' in done.err
    assert client.ok('network', 'ls', '-q') == before and policies(client.engine) == {}
    client.ok('network', 'create', '-d', 'overlay', '-o', 'encrypted=false', 'open')
    until(lambda: client('network', 'rm', 'open').code == 0)
    with open(client.engine.log) as log:
        assert 'encrypted networks' not in log.read()


@needs_esp
def test_nothing_is_on_the_wire_but_esp(cluster, nets):
    first, second = cluster.clients[:2]
    run(first, 'one', *nets)
    open_address, = [n['IPAddress'] for n in run(second, 'two', *nets)[1:]]
    secret = second.inspect('two', '{{.NetworkSettings.Networks.secret.IPAddress}}')
    until(lambda: ping(first, 'one', secret) and ping(first, 'one', open_address))
    wire = Wire(cluster, 0)
    assert ping(first, 'one', secret, '-p', 'a5')
    seen = wire.taken()
    assert [p for p in seen if protocol(p) == ESP] and not [p for p in seen if PATTERN in p or udp_port(p) in (PLAIN_PORT, ENCRYPTED_PORT)]
    # It would be seen.
    assert ping(first, 'one', open_address, '-p', 'a5')
    assert [p for p in wire.taken() if udp_port(p) == PLAIN_PORT and PATTERN in p]
    # As many bytes as fit, none of them in fragments.
    first.ok('exec', 'one', 'sh', '-c', 'mkdir /www; dd if=/dev/zero of=/www/big bs=1k count=2000 2>/dev/null; httpd -p 80 -h /www')
    address = first.inspect('one', '{{.NetworkSettings.Networks.secret.IPAddress}}')
    assert second.ok('exec', 'two', 'sh', '-c', f'wget -qO- http://{address}/big | wc -c').strip() == str(2000 * 1024)
    sizes = [struct.unpack('!HHH', p[2:8]) for p in wire.taken() if protocol(p) == ESP]
    assert not [s for s in sizes if s[2] & 0x3fff] and max(s[0] for s in sizes) in range(1480, 1501)


@needs_esp
def test_what_comes_in_plain_is_dropped(cluster, nets):
    first = cluster.clients[0]
    secret, open_one = run(first, 'one', *nets)
    run(cluster.clients[1], 'two', *nets)
    links = json.loads(cluster.hosts[0].inside('ip', '-d', '-j', 'link', 'show', 'type', 'vxlan').stdout)
    numbers = {link['linkinfo']['info_data']['port']: link['linkinfo']['info_data']['id'] for link in links}
    assert set(numbers) == {PLAIN_PORT, ENCRYPTED_PORT}
    sender = packets.socket_in(f'/run/netns/{cluster.space}', socket.AF_INET, socket.SOCK_DGRAM)

    def strays():
        """Datagrams for ports where nobody listens."""
        lines = [line.split() for line in first.ok('exec', 'one', 'cat', '/proc/net/snmp').splitlines() if line.startswith('Udp:')]
        return int(lines[1][lines[0].index('NoPorts')])

    def send(port, network):
        """As if a host had sent a container's datagram."""
        target = socket.inet_aton(network['IPAddress'])
        source = target[:3] + bytes([200])
        inner = struct.pack('!HHHH', 9, 9, 8 + 5, 0) + b'hello'
        head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(inner), 0, 0, 64, UDP, 0, source, target)
        head = head[:10] + struct.pack('!H', packets.checksum(head)) + head[12:]
        frame = bytes.fromhex(network['MacAddress'].replace(':', '')) + b'\x02\0\0\0\0\x01' + struct.pack('!H', ETH_P_IP) + head + inner
        sender.sendto(struct.pack('!II', 0x08000000, numbers[port] << 8) + frame, (cluster.hosts[0].address, port))

    before = strays()
    send(PLAIN_PORT, open_one)
    until(lambda: strays() == before + 1)
    for _ in range(10):
        send(ENCRYPTED_PORT, secret)
    # What was sent after it has come.
    send(PLAIN_PORT, open_one)
    until(lambda: strays() >= before + 2)
    assert strays() == before + 2


@needs_esp
def test_keys_change_under_way_and_no_packet_is_lost(cluster, nets):
    first, second = cluster.clients[:2]
    run(first, 'one', 'secret')
    run(second, 'two', 'secret')
    until(lambda: ping(first, 'one', 'two'))
    key = ('out', f'{cluster.hosts[1].address}/32')
    used = {policies(cluster.hosts[0])[key]}
    talk = first.start('exec', 'one', 'ping', '-c', '200', '-i', '0.1', '-W', '5', 'two')
    while talk.poll() is None:
        used.add(policies(cluster.hosts[0])[key])
    assert b' 0% packet loss' in talk.communicate()[0] and len(used) >= 3
    # Three of each peer and one for it; what is no longer sent with goes.
    until(lambda: len(associations(cluster.hosts[0])) == 8)


@needs_esp
def test_a_daemon_that_is_killed_and_a_kernel_that_forgot(cluster, nets):
    first, second = cluster.clients[:2]
    run(first, 'one', 'secret')
    run(second, 'two', 'secret')
    until(lambda: ping(first, 'one', 'two'))
    address = first.inspect('one', '{{.NetworkSettings.Networks.secret.IPAddress}}')
    first.engine.kill('gantryd')
    assert ping(second, 'two', address)
    first.engine.start()
    # A machine that took longer than a lease for it was forgotten meanwhile.
    until(lambda: ping(first, 'one', 'two') and ping(second, 'two', 'one'))
    # Somebody's `ip xfrm … flush`, with and without a daemon that sees it.
    for what in (['state'], ['policy'], ['state', 'policy']):
        first.engine.kill('gantryd')
        for each in what:
            first.engine.inside('ip', 'xfrm', each, 'flush')
        first.engine.start()
        until(lambda: ping(first, 'one', 'two') and ping(second, 'two', 'one'), 60, what=f'{what} flushed')


@needs_esp
def test_keys_that_somebody_spoils_are_replaced(cluster, nets):
    first, second = cluster.clients[:2]
    run(first, 'one', 'secret')
    run(second, 'two', 'secret')
    until(lambda: ping(first, 'one', 'two'))
    key = f'/gantry/keys/{cluster.hosts[0].address}'
    for spoil in (['put', key, 'nonsense'], ['del', key]):
        cluster.store.ask(*spoil)
        until(lambda: 'secret' in cluster.store.ask('get', '--print-value-only', key)[1])
        until(lambda: ping(first, 'one', 'two') and ping(second, 'two', 'one'))
