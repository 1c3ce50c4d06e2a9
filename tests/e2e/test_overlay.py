# SPDX-License-Identifier: Apache-2.0
"""Networks that four hosts share (driver overlay), by real packets. Debian's dockerd has such
networks in swarms alone, so there is no peer to compare with: the words are docker's."""
import contextlib
import http.client
import json
import os
import random
import socket
import threading
import time

import pytest

from harness import packets
from harness.client import Client
from harness.cluster import LEASE, STORE, Host, cluster_of
from harness.engine import until
from harness.places import IMAGE, IMAGE_TAR, SOAK

pytestmark = pytest.mark.only('gantry')


@pytest.fixture(scope='module')
def cluster(home):
    with cluster_of(4, home) as made:
        yield made


@pytest.fixture
def net(cluster):
    """A network of all hosts, and afterwards nothing of it anywhere."""
    cluster.clients[0].ok('network', 'create', '-d', 'overlay', '--attachable', 'net')
    for client in cluster.clients:
        until(lambda: 'net' in client.ok('network', 'ls', '--format', '{{.Name}}').split())
    yield 'net'
    for client in cluster.clients:
        found = client.ok('ps', '-aq').split()
        if found:
            client.ok('rm', '-f', *found)
    until(lambda: cluster.clients[0]('network', 'rm', 'net').code == 0)
    for client in cluster.clients:
        until(lambda: 'net' not in client.ok('network', 'ls', '--format', '{{.Name}}').split())
        assert client.engine.tunnels() == []
        client('network', 'rm', 'docker_gwbridge')
    assert [k for k in cluster.store.keys() if '/networks/' in k or '/endpoints/' in k or '/addresses/' in k] == []


def run(client, name, *flags):
    client.ok('run', '-d', '--name', name, '--network', 'net', *flags, IMAGE, 'sleep', '1000000')
    return client.inspect(name, '{{.NetworkSettings.Networks.net.IPAddress}}')


def ping(client, name, target, count=1):
    return client('exec', name, 'ping', '-c', str(count), '-W', '5', target).code == 0


def test_every_host_reaches_every_other_by_address_and_name(cluster, net):
    addresses = [run(client, f'c{n}') for n, client in enumerate(cluster.clients)]
    assert len(set(addresses)) == 4
    for n, client in enumerate(cluster.clients):
        for m, address in enumerate(addresses):
            until(lambda: ping(client, f'c{n}', f'c{m}'), what=f'c{n} does not reach c{m}')
            assert ping(client, f'c{n}', address)
        # Nothing is sent to all: each neighbour is known.
        others = {h.address for h in cluster.hosts} - {client.engine.address}
        assert client.engine.forwards() == others
    found = json.loads(cluster.clients[1].ok('network', 'inspect', 'net'))[0]
    assert (found['Driver'], found['Scope'], len(found['Containers'])) == ('overlay', 'global', 1)
    # What is restarted is found again, what is renamed by its new name alone.
    cluster.clients[2].ok('rename', 'c2', 'other')
    until(lambda: ping(cluster.clients[0], 'c0', 'other'))
    until(lambda: not ping(cluster.clients[0], 'c0', 'c2'))
    cluster.clients[3].ok('restart', '-t', '0', 'c3')
    until(lambda: ping(cluster.clients[0], 'c0', 'c3'))
    cluster.clients[3].ok('rm', '-f', 'c3')
    until(lambda: cluster.hosts[3].address not in cluster.hosts[0].forwards())
    until(lambda: not ping(cluster.clients[0], 'c0', 'c3'))


def test_no_packet_leaves_for_nobody(cluster, net):
    run(cluster.clients[0], 'one')
    run(cluster.clients[1], 'two')
    until(lambda: ping(cluster.clients[0], 'one', 'two'))
    tunnel, = cluster.hosts[0].tunnels()
    sent = lambda: json.loads(cluster.hosts[0].inside('ip', '-j', '-s', 'link', 'show', tunnel).stdout)[0]['stats64']['tx']['packets']
    before = sent()
    subnet = json.loads(cluster.clients[0].ok('network', 'inspect', 'net'))[0]['IPAM']['Config'][0]['Subnet']
    nobody = subnet.rsplit('.', 1)[0] + '.200'
    assert cluster.clients[0]('exec', 'one', 'ping', '-c', '2', '-W', '1', nobody).code != 0
    assert sent() == before


def test_the_way_out_and_published_ports(cluster, net):
    client = cluster.clients[0]
    run(client, 'web', '-p', '8080:80')
    client.ok('exec', '-d', 'web', 'sh', '-c', 'mkdir -p /www; echo here > /www/index.html; httpd -p 80 -h /www')
    assert ping(client, 'web', STORE)
    hub = f'/run/netns/{cluster.space}'
    until(lambda: packets.run('busybox', 'wget', '-qO-', f'http://{cluster.hosts[0].address}:8080', space=hub, check=False).strip() == 'here')
    # Nothing of it is a network that the container's user asked for.
    assert list(json.loads(client.inspect('web', '{{json .NetworkSettings.Networks}}'))) == ['net']
    client.ok('network', 'connect', 'bridge', 'web')
    client.ok('network', 'disconnect', 'net', 'web')
    assert ping(client, 'web', STORE)
    assert json.loads(client.ok('network', 'inspect', 'docker_gwbridge'))[0]['Containers'] == {}
    # An internal one leads nowhere.
    client.ok('network', 'create', '-d', 'overlay', '--internal', 'inner')
    client.ok('run', '-d', '--name', 'inside', '--network', 'inner', IMAGE, 'sleep', '100000')
    assert not ping(client, 'inside', STORE)
    client.ok('rm', '-f', 'inside')
    until(lambda: client('network', 'rm', 'inner').code == 0)


def test_rates_hold_on_the_way_out(cluster, net):
    client, rate, size = cluster.clients[0], 2_000_000, 400_000
    run(client, 'slow', '--net-rate', '2mbit')
    inside, hub = f"/proc/{client.inspect('slow', '{{.State.Pid}}')}/ns/net", f'/run/netns/{cluster.space}'

    def seconds(receives):
        """Of a connection out, whichever end sends."""
        with packets.socket_in(hub, socket.AF_INET, socket.SOCK_STREAM) as server, packets.socket_in(inside, socket.AF_INET, socket.SOCK_STREAM) as own:
            server.bind((STORE, 0))
            server.listen()
            own.settimeout(60)
            own.connect(server.getsockname())
            other, _ = server.accept()
            with other:
                other.settimeout(60)
                sender, receiver = (other, own) if receives else (own, other)
                began, left = time.monotonic(), size
                thread = threading.Thread(target=sender.sendall, args=(b'x' * size,))
                thread.start()
                while left:
                    left -= len(receiver.recv(1 << 20))
                thread.join()
                return time.monotonic() - began
    for receives in (False, True):
        assert seconds(receives) > (size - 65536) * 8 / rate * 0.9
    client.ok('update', '--net-rate', '0', 'slow')
    for receives in (False, True):
        assert seconds(receives) < (size - 65536) * 8 / rate * 0.9


def test_two_hosts_want_one_address(cluster):
    first, second = cluster.clients[:2]
    first.ok('network', 'create', '-d', 'overlay', '--subnet', '10.77.0.0/24', 'fixed')
    until(lambda: second('network', 'inspect', 'fixed').code == 0)
    codes = {}

    def claim(client, name):
        codes[name] = client('run', '-d', '--name', name, '--network', 'fixed', '--ip', '10.77.0.9', IMAGE, 'sleep', '1000000')
    threads = [threading.Thread(target=claim, args=(c, n)) for c, n in ((first, 'left'), (second, 'right'))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [d for d in codes.values() if d.code != 0]
    assert len(refused) == 1 and 'Address already in use' in refused[0].err, codes
    # In use elsewhere, it is not removed.
    loser = first if codes['left'].code != 0 else second
    winner, name = (second, 'right') if loser is first else (first, 'left')
    assert 'has active endpoints' in loser('network', 'rm', 'fixed').err
    for client, n in ((loser, 'left' if loser is first else 'right'), (winner, name)):
        client.ok('rm', '-f', n)
    until(lambda: loser('network', 'rm', 'fixed').code == 0)


def test_the_store_dies_and_comes_back(cluster, net):
    first, second = cluster.clients[:2]
    run(first, 'aa')
    run(second, 'bb')
    until(lambda: ping(first, 'aa', 'bb'))
    cluster.store.kill()
    try:
        # Longer than a lease.
        assert first('exec', 'aa', 'ping', '-c', str(LEASE + 2), '-W', '5', 'bb', timeout=90).code == 0
        refused = first('run', '--rm', '--network', 'net', IMAGE, 'true')
        assert refused.code == 125 and "the cluster's store can't be reached" in refused.err
        first.ok('run', '--rm', IMAGE, 'true')
        # A daemon that comes meanwhile serves what it has.
        second.engine.kill('gantryd')
        second.engine.start()
        assert ping(first, 'aa', 'bb') and ping(second, 'bb', 'aa')
    finally:
        cluster.store.start()
    until(lambda: first('run', '-d', '--name', 'late', '--network', 'net', IMAGE, 'sleep', '1000000').code == 0 or not first('rm', '-f', 'late'))
    until(lambda: ping(second, 'bb', 'late'))
    assert ping(first, 'aa', 'bb')


def test_a_lease_that_has_ended_is_no_errand_of_the_user(cluster, net):
    """As on a host that was held up for longer than its lease, which nobody has told so yet."""
    first, second = cluster.clients[:2]
    run(first, 'aa')
    run(second, 'bb')
    for turn in range(3):
        cluster.store.end_leases()
        run(first, f'after{turn}')
        until(lambda: ping(second, 'bb', f'after{turn}') and ping(first, f'after{turn}', 'bb'))
    # What it had before is known again, too.
    until(lambda: ping(second, 'bb', 'aa'))
    assert len(cluster.store.endpoints(cluster.hosts[0].address)) == 4


def test_a_daemon_is_killed_while_packets_pass(cluster, net):
    first, second = cluster.clients[:2]
    run(first, 'aa')
    run(second, 'bb')
    until(lambda: ping(first, 'aa', 'bb'))
    talk = first.start('exec', 'aa', 'ping', '-c', '40', '-i', '0.1', '-W', '5', 'bb')
    for _ in range(3):
        second.engine.kill('gantryd')
        second.engine.start()
    out = talk.communicate(timeout=60)[0].decode()
    assert '40 packets received' in out, out[-300:]


def test_a_host_that_dies_is_forgotten(cluster, net):
    first, last = cluster.clients[0], cluster.clients[3]
    run(first, 'aa')
    run(last, 'zz')
    until(lambda: ping(first, 'aa', 'zz'))
    last.engine.kill('gantryd')
    until(lambda: last.engine.address not in first.engine.forwards(), 60)
    assert not [k for k in cluster.store.keys('/gantry/hosts/') if k.endswith(last.engine.address)]
    # It was only away.
    last.engine.start()
    until(lambda: ping(first, 'aa', 'zz'))


def test_a_host_moves_to_another_address(cluster, net):
    first, third = cluster.clients[0], cluster.clients[2]
    engine = third.engine
    run(first, 'aa')
    run(third, 'mover')
    until(lambda: ping(first, 'aa', 'mover'))
    engine.inside('ip', 'addr', 'add', '10.231.0.33/24', 'dev', 'eth0')
    arguments = list(engine.arguments)
    engine.arguments[engine.arguments.index('--cluster-advertise') + 1] = '10.231.0.33'
    engine.restart()
    until(lambda: first.engine.forwards() == {'10.231.0.33'})
    until(lambda: ping(first, 'aa', 'mover') and ping(third, 'mover', 'aa'))
    third.ok('rm', '-f', 'mover')
    engine.arguments[:] = arguments
    engine.restart()


def test_a_daemon_without_the_store_keeps_what_it_has(cluster, net):
    first, third = cluster.clients[0], cluster.clients[2]
    engine = third.engine
    run(first, 'aa')
    run(third, 'kept')
    until(lambda: ping(first, 'aa', 'kept'))
    arguments, engine.arguments = engine.arguments, []
    engine.restart()
    third.ok('rename', 'kept', 'other')
    assert ping(third, 'other', first.inspect('aa', '{{.NetworkSettings.Networks.net.IPAddress}}'))
    third.ok('rm', '-f', 'other')
    engine.arguments = arguments
    engine.restart()


def test_bad_input(cluster):
    client = cluster.clients[0]
    for flags, words in ((['-o', 'com.docker.network.driver.mtu=1500'], 'carries at most 1450'),
                         (['-o', 'com.docker.network.driver.overlay.vxlanid_list=x'], 'invalid vxlan id value "x" passed'),
                         (['-o', 'com.docker.network.driver.overlay.vxlanid_list=0'], 'invalid vxlan id value "0" passed'),
                         (['-o', 'encrypted=perhaps'], 'strconv.ParseBool: parsing "perhaps": invalid syntax')):
        done = client('network', 'create', '-d', 'overlay', *flags, 'bad')
        assert done.code == 1 and words in done.err, (flags, done.err)
    client.ok('network', 'create', '-d', 'overlay', 'twice')
    assert 'already exists' in cluster.clients[1]('network', 'create', '-d', 'overlay', 'twice').err
    client.ok('network', 'rm', 'twice')
    assert [k for k in cluster.store.keys() if '/networks/' in k] == []


def test_both_families(cluster):
    first, second = cluster.clients[:2]
    first.ok('network', 'create', '-d', 'overlay', '--ipv6', 'both')
    until(lambda: second('network', 'inspect', 'both').code == 0)
    for client, name in ((first, 'six-a'), (second, 'six-b')):
        client.ok('run', '-d', '--name', name, '--network', 'both', IMAGE, 'sleep', '1000000')
    address = second.inspect('six-b', '{{.NetworkSettings.Networks.both.GlobalIPv6Address}}')
    until(lambda: ping(first, 'six-a', address), what=address)
    assert ping(first, 'six-a', 'six-b')
    for client, name in ((first, 'six-a'), (second, 'six-b')):
        client.ok('rm', '-f', name)
    until(lambda: first('network', 'rm', 'both').code == 0)


def test_one_address_is_one_host(cluster, home):
    """The second is told so, and serves its own containers."""
    stranger = Host(9, ['--cluster-advertise', cluster.hosts[0].address]).cable(cluster.space)
    try:
        stranger.start()
        client = Client('gantry', stranger, home)
        client.ok('load', '-i', IMAGE_TAR)
        client.ok('run', '--rm', IMAGE, 'true')
        until(lambda: 'belongs to another host of the cluster' in client('network', 'create', '-d', 'overlay', 'mine').err)
        assert f'address {cluster.hosts[0].address} (cluster-advertise) belongs to another host' in stranger.log.read_text()
    finally:
        assert stranger.destroy() == []


def test_kills_while_networks_are_joined(cluster, net):
    """What the cluster knows of a host is what the host has, and what others send there, after a kill at any moment."""
    first, second = cluster.clients[:2]
    rng = random.Random(int(os.environ.get('GANTRY_SEED', random.randrange(10**6))))
    for name in ('k0', 'k1'):
        run(first, name)
    run(second, 'watcher')
    for point in range(40 if SOAK else 6):
        over = threading.Event()

        def change(number, dice):
            name = f'k{number}'
            while not over.is_set():
                verb = dice.choice(['connect', 'disconnect', 'restart'])
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if verb == 'restart':
                        first.engine.api('POST', f'/containers/{name}/restart?t=0')
                    else:
                        first.engine.api('POST', f'/networks/net/{verb}', json.dumps({'Container': name}))
        threads = [threading.Thread(target=change, args=(n, random.Random(rng.random()))) for n in range(2)]
        for thread in threads:
            thread.start()
        threading.Event().wait(0.05 + rng.random() * 0.5)
        first.engine.kill('gantryd')
        over.set()
        for thread in threads:
            thread.join()
        first.engine.start()
        # Killed in the middle of a restart it may not run.
        first.ok('start', 'k0', 'k1')

        def agree():
            found = json.loads(first.ok('network', 'inspect', 'net'))[0]
            mine = {c['IPv4Address'].split('/')[0] for c in found['Containers'].values()}
            return cluster.store.endpoints(first.engine.address) == mine == second.engine.neighbours()
        until(agree, 60, f'point {point}')
    for name in ('k0', 'k1'):
        first('network', 'connect', 'net', name)
        until(lambda: ping(second, 'watcher', name), what=name)
