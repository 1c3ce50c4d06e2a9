# SPDX-License-Identifier: Apache-2.0
"""The default bridge, other modes, published ports from loopback and from another host."""
import subprocess
import time

import pytest

from harness.engine import until
from harness.places import IMAGE

ASK = '''
import socket, sys
udp = sys.argv[3] == "udp"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
s.settimeout(2)
try:
    s.connect((sys.argv[1], int(sys.argv[2])))
    s.send(b"ask\\n")
    print(s.recv(1000).decode())
except OSError:
    pass
'''
ANSWER = '''
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 53))
while True:
    s.sendto(b"answer", s.recvfrom(1000)[1])
'''
SERVE = ['sh', '-c', 'while :; do echo "hello from $HOSTNAME" | nc -l -p 80 >/dev/null; done']


def fetch(engine, address, port, udp=False, namespace=None):
    """Asks a server from inside a network namespace; '' when nobody answers."""
    done = subprocess.run(['nsenter', f'--net={namespace or engine.names.netns}', '/usr/bin/python3', '-c', ASK, address, str(port),
                           'udp' if udp else 'tcp'], text=True, stdout=subprocess.PIPE, timeout=20)
    return done.stdout.strip()


@pytest.fixture
def other_host(client):
    """A second host: a namespace joined to the engine's by a cable."""
    engine, name = client.engine, f'{client.engine.names.netns_name}-o'
    run = lambda *a: subprocess.run(a, check=True)
    run('ip', 'netns', 'add', name)
    try:
        run('nsenter', f'--net={engine.names.netns}', 'ip', 'link', 'add', 'cable', 'type', 'veth', 'peer', 'name', 'cable', 'netns', name)
        for space, address in ((engine.names.netns, '192.0.2.1/24'), (f'/run/netns/{name}', '192.0.2.2/24')):
            run('nsenter', f'--net={space}', 'ip', 'addr', 'add', address, 'dev', 'cable')
            run('nsenter', f'--net={space}', 'ip', 'link', 'set', 'cable', 'up')
        yield f'/run/netns/{name}'
    finally:
        subprocess.run(['nsenter', f'--net={engine.names.netns}', 'ip', 'link', 'del', 'cable'])
        run('ip', 'netns', 'del', name)


def test_bridge(client):
    out = client.ok('run', '--rm', IMAGE, 'sh', '-c', 'ip -4 -o addr show eth0; ip route; ip link show lo; cat /etc/hosts')
    address = [w for w in out.split() if w.startswith('10.21')][0]
    assert '/16' in address and 'default via 10.21' in out and 'LOWER_UP' in out and address.split('/')[0] in out.split('link')[-1]


def test_containers_reach_each_other(client, names):
    name = names()
    client.ok('run', '-d', '--name', name, IMAGE, *SERVE)
    address = client.inspect(name, '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}')
    assert client.run(IMAGE, 'sh', '-c', f'sleep 0.3; nc -w 2 {address} 80 </dev/null').text.startswith('hello from')


def test_none(client):
    assert client.run('--network', 'none', IMAGE, 'sh', '-c', 'ls /sys/class/net; ip link show lo | grep -c UP').out.split() == ['lo', '1']


def test_host(client):
    inside = client.run('--network', 'host', IMAGE, 'readlink', '/proc/self/ns/net').text
    assert inside == client.engine.inside('readlink', '/proc/self/ns/net').stdout.strip()


def test_container_mode(client, names):
    name = names()
    client.ok('run', '-d', '--name', name, IMAGE, 'sleep', '100')
    ours = client.ok('exec', name, 'readlink', '/proc/self/ns/net')
    assert client.run('--network', f'container:{name}', IMAGE, 'readlink', '/proc/self/ns/net').text == ours


@pytest.mark.parametrize('where', ['127.0.0.1', 'other host'])
def test_published_tcp(client, names, other_host, where):
    name = names()
    client.ok('run', '-d', '--name', name, '-p', '18080:80', IMAGE, *SERVE)
    ask = lambda: fetch(client.engine, '127.0.0.1' if where == '127.0.0.1' else '192.0.2.1', 18080, namespace=None if where == '127.0.0.1' else other_host)
    assert until(ask, 60).startswith('hello from')


@pytest.mark.parametrize('where', ['127.0.0.1', 'other host'])
def test_published_udp(client, names, other_host, where):
    name = names()
    client.ok('run', '-d', '--name', name, '-p', '18081:53/udp', '-v', '/usr:/usr:ro', '-v', '/lib:/lib:ro', '-v', '/lib64:/lib64:ro',
              IMAGE, '/usr/bin/python3', '-c', ANSWER)
    time.sleep(0.3)
    ask = lambda: fetch(client.engine, '127.0.0.1' if where == '127.0.0.1' else '192.0.2.1', 18081, udp=True, namespace=None if where == '127.0.0.1' else other_host)
    assert until(ask, 60) == 'answer'


def test_port_given_by_the_engine(client, names):
    name = names()
    client.ok('run', '-d', '--name', name, '-p', '127.0.0.1::80', IMAGE, *SERVE)
    port = int(client.inspect(name, '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}'))
    assert port > 1023 and client.inspect(name, '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostIp}}') == '127.0.0.1'
    assert until(lambda: fetch(client.engine, '127.0.0.1', port), 60).startswith('hello')
    assert f'127.0.0.1:{port}->80/tcp' in client.ok('ps', '--filter', f'name={name}')


def test_port_taken(client, names):
    a, b = names(), names()
    client.ok('run', '-d', '--name', a, '-p', '18082:80', IMAGE, 'sleep', '100')
    done = client('run', '-d', '--name', b, '-p', '18082:80', IMAGE, 'sleep', '100')
    assert done.code == 125 and 'port is already allocated' in done.err
    if client.engine.kind == 's':
        assert f'(container {client.inspect(a, "{{.Id}}")[:12]} has it)' in done.err
    assert client.inspect(b, '{{.State.Status}}') == 'created'
    client.ok('rm', '-f', a)
    client.ok('start', b)


@pytest.mark.only('gantry')
def test_port_of_another_program(client, names):
    name = names()
    holder = client.engine.spawn(['/usr/bin/python3', '-c', 'import socket, time; s = socket.create_server(("", 18085)); time.sleep(60)'])
    try:
        until(lambda: ':18085' in client.engine.inside('ss', '-ltn').stdout, 60)
        done = client('run', '-d', '--name', name, '-p', '18085:80', IMAGE, 'sleep', '100')
        assert done.code == 125 and f'address already in use (process {holder.pid} (python3) has it)' in done.err
    finally:
        holder.kill()
        holder.wait()


def test_port_is_free_after_rm(client, names):
    for _ in range(3):
        name = names()
        client.ok('run', '-d', '--name', name, '-p', '18083:80', IMAGE, 'sleep', '100')
        client.ok('rm', '-f', name)
    assert fetch(client.engine, '127.0.0.1', 18083) == ''


@pytest.mark.parametrize('option', [['--network', 'nosuch'], ['--network', 'container:nosuch'], ['-p', '99999:80'], ['-p', '80:http'], ['-p', '1.2.3:80:80'], ['-p', '80:80/foo'],
                                    ['--network', 'container:']])
def test_bad_network_options(client, option):
    done = client.run(*option, IMAGE, 'echo', 'ran')
    assert done.code == 125 and done.out == '' and done.err


def test_resolver(client):
    assert client.run('--dns', '192.0.2.53', IMAGE, 'cat', '/etc/resolv.conf').out.count('192.0.2.53') == 1
    assert '192.0.2.9' in client.run('--add-host', 'there:192.0.2.9', IMAGE, 'cat', '/etc/hosts').out
