# SPDX-License-Identifier: Apache-2.0
"""Names on users' networks: the resolver at 127.0.0.11, what it answers and whom it asks; links."""
import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys

import pytest

from harness import packets
from harness.client import own_stack
from harness.engine import until
from harness.places import IMAGE
from test_networks import address, message, nets, sleeper  # noqa: F401

# A name server: A of every name is 192.0.2.53 (TTL 60), "big." a long TXT that is cut over udp,
# "slow." never answers. Prints each question.
SERVER = r'''
import socket, struct, sys, threading
where = sys.argv[1]
def answer(packet, tcp):
    name, at = [], 12
    while packet[at]:
        name.append(packet[at + 1:at + 1 + packet[at]].decode()); at += 1 + packet[at]
    kind = struct.unpack(">H", packet[at + 1:at + 3])[0]
    question, text = packet[12:at + 5], ".".join(name)
    print("tcp" if tcp else "udp", kind, text, flush=True)
    if text == "slow": return None
    head = lambda flags, count: packet[:2] + struct.pack(">HHHHH", flags, 1, count, 0, 0) + question
    if text == "big":
        if not tcp: return head(0x8380, 0)
        return head(0x8180, 4) + (b"\xc0\x0c" + struct.pack(">HHIH", 16, 1, 60, 251) + b"\xfa" + b"x" * 250) * 4
    if kind == 1: return head(0x8180, 1) + b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([192, 0, 2, 53])
    return head(0x8183, 0)
def streams():
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((where, 53)); s.listen(8)
    while True:
        c, _ = s.accept(); p = c.recv(2000); r = answer(p[2:], True) if p else None
        if r: c.sendall(struct.pack(">H", len(r)) + r)
        c.close()
threading.Thread(target=streams, daemon=True).start()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind((where, 53)); print("ready", flush=True)
while True:
    p, peer = u.recvfrom(2000); r = answer(p, False)
    if r: u.sendto(r, peer)
'''

# One question, asked as the container: TYPE NAME [tcp]; prints code, flag of a cut answer, answers.
ASK = r'''
import socket, struct, sys
kind, name, tcp = int(sys.argv[1]), sys.argv[2], len(sys.argv) > 3
packet = struct.pack(">HHHHHH", 4711, 0x100, 1, 0, 0, 0) + b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0" + struct.pack(">HH", kind, 1)
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM); s.settimeout(15); s.connect(("127.0.0.11", 53))
s.send((struct.pack(">H", len(packet)) if tcp else b"") + packet); r = s.recv(65535)
if tcp:
    while len(r) < 2 + struct.unpack(">H", r[:2])[0]: r += s.recv(65535)
    r = r[2:]
ident, flags, _, count = struct.unpack(">HHHH", r[:8]); at, out = len(packet), []
def text(at):
    labels = []
    while r[at]:
        if r[at] >= 192: at = struct.unpack(">H", r[at:at + 2])[0] & 16383; continue
        labels.append(r[at + 1:at + 1 + r[at]].decode()); at += 1 + r[at]
    return ".".join(labels)
for _ in range(count):
    while r[at] and r[at] < 192: at += 1 + r[at]
    at += 2 if r[at] else 1
    t, _, ttl, size = struct.unpack(">HHIH", r[at:at + 10]); at += 10
    out.append(socket.inet_ntoa(r[at:at + 4]) if t == 1 else text(at) if t == 12 else str(size)); at += size
assert ident == 4711
print(flags & 15, flags >> 9 & 1, *out)
'''
A, PTR, TXT, AAAA, SRV = 1, 12, 16, 28, 33


def ask(client, container, kind, name, *tcp):
    """Asks from inside the container's network namespace: (code, cut, answers)."""
    pid = client.inspect(container, '{{.State.Pid}}')
    done = subprocess.run(['nsenter', f'--net=/proc/{pid}/ns/net', sys.executable, '-c', ASK, str(kind), name, *tcp], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
    assert done.returncode == 0, done.stderr
    code, cut, *answers = done.stdout.split()
    return int(code), int(cut), answers


@pytest.fixture
def server(client):
    """Name servers in the engine's namespace on an address of its own; gives the address and what was asked."""
    subprocess.run(['nsenter', f'--net={client.engine.names.netns}', 'ip', 'addr', 'add', '198.51.100.53/32', 'dev', 'lo'], check=True)
    process = subprocess.Popen(['nsenter', f'--net={client.engine.names.netns}', sys.executable, '-c', SERVER, '198.51.100.53'],
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'ready\n'
    os.set_blocking(process.stdout.fileno(), False)

    def asked():
        try:
            return os.read(process.stdout.fileno(), 65536).decode().split('\n')[:-1]
        except BlockingIOError:
            return []
    yield '198.51.100.53', asked
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(['nsenter', f'--net={client.engine.names.netns}', 'ip', 'addr', 'del', '198.51.100.53/32', 'dev', 'lo'], check=True)


def test_names_aliases_and_ids(client, nets, names, server):
    a, one, two = nets('a'), names(), names()
    sleeper(client, one, '--network', a, '--network-alias', 'web', '--dns', server[0])
    sleeper(client, two, '--network', a, '--dns', server[0])
    where = address(client, one, a)
    short = client.inspect(one, '{{.Id}}')[:12]
    for name in (one, one.upper(), short, 'web', f'web.{a}', f'{one}.{a}', one + '.'):
        assert ask(client, two, A, name.rstrip('.')) == (0, 0, [where]), name
    assert ask(client, one, A, one) == (0, 0, [where])
    assert ask(client, two, A, one, 'tcp') == (0, 0, [where])
    assert ask(client, two, AAAA, one) == (0, 0, [])
    reverse = '.'.join(reversed(where.split('.'))) + '.in-addr.arpa'
    assert ask(client, two, PTR, reverse) == (0, 0, [f'{one}.{a}'])
    assert server[1]() == []
    assert ask(client, two, SRV, 'nosuch')[0] == 3
    client.ok('rename', one, one + 'r')
    assert ask(client, two, A, one + 'r') == (0, 0, [where])
    client.ok('rename', one + 'r', one)


def test_the_first_of_all_has_a_resolver(home):
    """gantry-proxy is started for it, and is told of it twice."""
    with own_stack(19, home) as client:
        client.ok('network', 'create', 'first')
        sleeper(client, 'one', '--network', 'first')
        assert ask(client, 'one', A, 'one') == (0, 0, [address(client, 'one', 'first')])
        assert ask(client, 'one', A, 'one', 'tcp')[0] == 0


def test_resolv_conf(client, nets, names):
    a, name, plain = nets('a'), names(), names()
    sleeper(client, name, '--network', a, '--dns-search', 'example.org')
    lines = [l for l in client.ok('exec', name, 'cat', '/etc/resolv.conf').split('\n') if l and l[0] != '#']
    assert sorted(l.strip() for l in lines) == ['nameserver 127.0.0.11', 'options ndots:0', 'search example.org']
    sleeper(client, plain)
    assert '127.0.0.11' not in client.ok('exec', plain, 'cat', '/etc/resolv.conf')
    client.ok('network', 'connect', a, plain)
    assert '127.0.0.11' in client.ok('exec', plain, 'cat', '/etc/resolv.conf')
    assert ask(client, plain, A, name) == (0, 0, [address(client, name, a)])


def test_only_of_networks_that_one_is_on(client, nets, names, server):
    a, b, one, two = nets('a'), nets('b'), names(), names()
    sleeper(client, one, '--network', a, '--dns', server[0])
    sleeper(client, two, '--network', b, '--dns', server[0])
    assert ask(client, two, A, one) == (0, 0, ['192.0.2.53'])  # that is what the world outside says
    client.ok('network', 'connect', '--alias', 'joined', b, one)
    assert ask(client, two, A, one) == ask(client, two, A, 'joined') == (0, 0, [address(client, one, b)])
    client.ok('network', 'disconnect', b, one)
    assert ask(client, two, A, one) == (0, 0, ['192.0.2.53'])


def test_shared_alias_goes_round(client, nets, names):
    a, three = nets('a'), [names() for _ in range(3)]
    for name in three:
        sleeper(client, name, '--network', a, '--network-alias', 'many')
    everybody = {address(client, n, a) for n in three}
    seen = [ask(client, three[0], A, 'many')[2] for _ in range(12)]
    assert all(set(s) == everybody and len(s) == 3 for s in seen) and len({s[0] for s in seen}) > 1


def test_outside(client, nets, names, server):
    a, name = nets('a'), names()
    sleeper(client, name, '--network', a, '--dns', server[0])
    assert ask(client, name, A, 'www.example.org') == (0, 0, ['192.0.2.53'])
    assert ask(client, name, A, 'www.example.org', 'tcp') == (0, 0, ['192.0.2.53'])
    assert ask(client, name, TXT, 'www.example.org')[0] == 3
    code, _, answers = ask(client, name, TXT, 'big', 'tcp')
    assert code == 0 and answers == ['251'] * 4
    assert ask(client, name, TXT, 'big')[1] == 1  # too long for udp: the asker is told to use tcp


@pytest.mark.only('gantry')
def test_answers_are_kept_for_their_time(client, nets, names, server):
    a, name = nets('a'), names()
    sleeper(client, name, '--network', a, '--dns', server[0])
    for _ in range(3):
        assert ask(client, name, A, 'kept.example.org') == (0, 0, ['192.0.2.53'])
    assert server[1]().count('udp 1 kept.example.org') == 1


def test_a_server_that_is_silent(client, nets, names, server):
    a, name = nets('a'), names()
    # 198.51.100.54 is nobody's.
    sleeper(client, name, '--network', a, '--dns', '198.51.100.54', '--dns', server[0])
    assert ask(client, name, A, 'www.example.org') == (0, 0, ['192.0.2.53'])


@pytest.mark.only('gantry')
def test_the_resolver_does_not_ask_itself(client, nets, names, server):
    """As docker 28: --dns 127.0.0.11 asks nobody outside, another server beside it is asked."""
    a, alone, beside = nets('a'), names(), names()
    sleeper(client, alone, '--network', a, '--dns', '127.0.0.11')
    sleeper(client, beside, '--network', a, '--dns', '127.0.0.11', '--dns', server[0])
    assert ask(client, alone, A, 'www.example.org')[0] == 2
    assert ask(client, alone, A, beside) == (0, 0, [address(client, beside, a)])
    assert ask(client, beside, A, 'www.example.org') == (0, 0, ['192.0.2.53'])


@pytest.mark.only('gantry')
def test_internal_networks_ask_nobody(client, nets, names, server):
    """dockerd 20.10 let names out of internal networks (CVE-2024-29018)."""
    a, name = nets('a', Internal=True), names()
    sleeper(client, name, '--network', a, '--dns', server[0])
    assert ask(client, name, A, 'www.example.org')[0] == 2
    assert ask(client, name, A, name) == (0, 0, [address(client, name, a)])
    assert server[1]() == []


def test_port_53_is_the_containers_own(client, nets, names):
    a, one, two = nets('a'), names(), names()
    sleeper(client, one, '--network', a)
    client.ok('run', '-d', '--name', two, '--network', a, IMAGE, 'sh', '-c', 'while :; do echo mine | nc -l -p 53; done')
    where = address(client, two, a)
    assert until(lambda: client('exec', one, 'sh', '-c', f'nc -w 2 {where} 53 </dev/null').text, 60) == 'mine'
    assert ask(client, two, A, one) == (0, 0, [address(client, one, a)])


def test_host_network_and_default_bridge_have_none(client, nets, names):
    name = names()
    sleeper(client, name)
    pid = client.inspect(name, '{{.State.Pid}}')
    assert 'gantry-dns' not in subprocess.run(['nsenter', f'--net=/proc/{pid}/ns/net', 'nft', 'list', 'ruleset'], text=True,
                                              stdout=subprocess.PIPE, check=True).stdout


# ---- restarts

@pytest.mark.only('gantry')
@pytest.mark.parametrize('victims', [('gantryd',), ('gantry-proxy',), ('gantryd', 'gantry-proxy')])
def test_answers_across_restarts(client, nets, names, victims):
    engine, a, one, two = client.engine, nets('a'), names(), names()
    sleeper(client, one, '--network', a)
    sleeper(client, two, '--network', a)
    where = address(client, one, a)
    engine.kill(*victims)
    if 'gantryd' in victims:
        engine.start()

    def answers():
        try:
            return ask(client, two, A, one) == (0, 0, [where])
        except AssertionError:  # refused while no proxy is there
            return False
    assert until(answers, 60)
    assert ask(client, two, A, one, 'tcp') == (0, 0, [where])
    client.ok('rm', '-f', one)
    assert ask(client, two, A, one)[2] == []


@pytest.mark.only('gantry')
def test_no_wrong_answers_across_restarts(client, nets, names, server):
    """While a new proxy is told of everything, nobody is told that a name is not there, and nobody outside is asked for one."""
    where, asked = server
    a, many = nets('a'), [names() for _ in range(12)]
    for name in many:
        sleeper(client, name, '--network', a, '--dns', where)
    spaces = [f"/proc/{client.inspect(name, '{{.State.Pid}}')}/ns/net" for name in (many[0], many[-1])]
    wanted = [(name, socket.inet_aton(address(client, name, a))) for name in (many[-1], many[0])]
    asked()

    def seen(space, name, right):
        """'right', 'wrong', or None while nobody answers."""
        question = struct.pack('>HHHHHH', 4711, 0x100, 1, 0, 0, 0) + bytes([len(name)]) + name.encode() + b'\0\0\1\0\1'
        with contextlib.closing(packets.socket_in(space, socket.AF_INET, socket.SOCK_DGRAM)) as sock:
            sock.settimeout(0.02)
            try:
                sock.connect(('127.0.0.11', 53))
                sock.send(question)
                return 'right' if sock.recv(1500).endswith(right) else 'wrong'
            except OSError:
                return None
    for _ in range(5):
        client.engine.kill('gantry-proxy')
        for space, (name, right) in zip(spaces, wanted):
            assert until(lambda: seen(space, name, right), 60) == 'right'
    assert [line for line in asked() if line.split()[2] in many] == []


@pytest.mark.only('gantry')
def test_answers_while_gantryd_is_away(client, nets, names):
    engine, a, one, two = client.engine, nets('a'), names(), names()
    sleeper(client, one, '--network', a)
    sleeper(client, two, '--network', a)
    where, pid = address(client, one, a), client.inspect(two, '{{.State.Pid}}')
    engine.kill('gantryd')
    try:
        done = subprocess.run(['nsenter', f'--net=/proc/{pid}/ns/net', sys.executable, '-c', ASK, str(A), one], text=True,
                              stdout=subprocess.PIPE, timeout=30, check=True)
        assert done.stdout.split() == ['0', '0', where]
    finally:
        engine.start()


# ---- links

def test_link_on_the_default_bridge(client, names):
    db, web = names('db'), names('web')
    client.ok('run', '-d', '--name', db, '-e', 'SECRET=s', '--expose', '5432', IMAGE, 'sleep', '1000')
    client.ok('run', '-d', '--name', web, '--link', f'{db}:the-db', IMAGE, 'sleep', '1000')
    where = client.inspect(db, '{{.NetworkSettings.IPAddress}}')
    short = client.inspect(db, '{{.Id}}')[:12]
    assert f'{where}\tthe-db {short} {db}' in client.ok('exec', web, 'cat', '/etc/hosts')
    environment = client.ok('exec', web, 'env').split('\n')
    for wanted in (f'THE_DB_PORT=tcp://{where}:5432', f'THE_DB_PORT_5432_TCP=tcp://{where}:5432', f'THE_DB_PORT_5432_TCP_ADDR={where}',
                   'THE_DB_PORT_5432_TCP_PORT=5432', 'THE_DB_PORT_5432_TCP_PROTO=tcp', f'THE_DB_NAME=/{web}/the-db', 'THE_DB_ENV_SECRET=s'):
        assert wanted in environment, wanted
    assert not [v for v in environment if v.startswith('THE_DB_ENV_PATH')]
    # It comes back with another address.
    client.ok('stop', '-t', '0', db)
    other = sleeper(client, names('o'))
    client.ok('start', db)
    now = client.inspect(db, '{{.NetworkSettings.IPAddress}}')
    assert f'{now}\tthe-db {short} {db}' in client.ok('exec', web, 'cat', '/etc/hosts') and other
    client.ok('rm', '-f', db)
    client.ok('stop', '-t', '0', web)


def test_bad_links(client, names):
    db, web = names('db'), names('web')
    done = client('create', '--name', web, '--link', 'nosuch:x', IMAGE, 'true')
    assert done.code != 0 and 'could not get container for nosuch' in done.err
    client.ok('create', '--name', db, IMAGE, 'true')
    for mode in ('host', f'container:{db}'):
        body = {'Image': IMAGE, 'Cmd': ['true'], 'HostConfig': {'NetworkMode': mode, 'Links': [f'{db}:x']}}
        assert "can't be used with links" in message(client, 'POST', '/containers/create', body)[1], mode
    client.ok('create', '--name', web, '--link', f'{db}:x', IMAGE, 'true')
    done = client('start', web)
    assert done.code == 1 and f'annot link to a non running container: /{db} AS /{web}/x' in done.err


def test_link_on_a_users_network(client, nets, names, server):
    a, db, web, other = nets('a'), names('db'), names('web'), names('o')
    sleeper(client, db, '--network', a)
    sleeper(client, web, '--network', a, '--link', f'{db}:mine')
    sleeper(client, other, '--network', a, '--dns', server[0])
    where = address(client, db, a)
    assert ask(client, web, A, 'mine') == (0, 0, [where])
    assert where not in ask(client, other, A, 'mine')[2]
