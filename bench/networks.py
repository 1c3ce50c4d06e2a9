# SPDX-License-Identifier: Apache-2.0
"""Rows about networks, for bench/run.py: what a bridge and published ports cost at a start, and what comes through
them: by the proxy (loopback), by NAT (another address of the host) and directly (the container's own address); what
published ports hold; how fast names are found."""
import json
import selectors
import socket
import statistics
import sys
import threading
import time

from harness import packets
from harness.crowd import in_threads
from harness.places import IMAGE
from processes import daemons, pss_kb

BYTES = 1 << 30
TRIPS = 5000
CONNECTIONS = 1500
ASKERS = 200
ASK_S = 8
FIRST = 21000
KINDS = [('no network', 0, 'none'), ('a bridge', 0, 'bridge'), ('a network of its own', 0, 'own'), ('1 port', 1, 'bridge'), ('100 ports', 100, 'bridge'), ('1000 ports', 1000, 'bridge')]


def created(client, ports, network):
    bindings = {f'{3000 + i}/tcp': [{'HostPort': str(FIRST + i)}] for i in range(ports)}
    body = {'Image': IMAGE, 'Cmd': ['sleep', '1000'], 'ExposedPorts': {key: {} for key in bindings},
            'HostConfig': {'NetworkMode': network, 'PortBindings': bindings}}
    status, text, _ = client.engine.api('POST', '/containers/create', json.dumps(body))
    assert status == 201, text
    return json.loads(text)['Id']


def started(client, ports, network):
    """Milliseconds of POST start, of a container that was created before."""
    name = created(client, ports, network)
    begin = time.perf_counter()
    status, text, _ = client.engine.api('POST', f'/containers/{name}/start', timeout=300)
    taken = (time.perf_counter() - begin) * 1000
    assert status == 204, text
    status, text, _ = client.engine.api('DELETE', f'/containers/{name}?force=1', timeout=300)
    assert status == 204, text
    return taken


def starts(results, clients, rounds):
    for client in clients.values():
        client.ok('network', 'create', 'own')
    for label, ports, network in KINDS:
        # dockerd starts two processes for each port: 4 s for a hundred, minutes for a thousand.
        measured = {name: client for name, client in clients.items() if ports < 1000 or name == 'gantry'}
        times = {name: [] for name in measured}
        for turn in range(rounds if ports < 100 else 3 if ports == 100 else 5):
            for name, client in measured.items():
                times[name].append(started(client, ports, network))
        results.add(f'start with {label}', 'ms', **{name: statistics.median(found) for name, found in times.items()})


def held(results, clients):
    """What the engine's processes hold for ports that are published and not used."""
    for ports in (100, 1000):
        found = {}
        for name, client in clients.items():
            if ports == 1000 and name != 'gantry':  # as above
                continue
            container = created(client, ports, 'bridge')
            before = sum(map(pss_kb, daemons(client.engine)))
            status, text, _ = client.engine.api('POST', f'/containers/{container}/start', timeout=300)
            assert status == 204, text
            found[name] = sum(map(pss_kb, daemons(client.engine))) - before
            client.ok('rm', '-f', container)
        results.add(f'daemons, PSS more with {ports} ports', 'kB', **found)


def question(name, number):
    labels = b''.join(bytes([len(part)]) + part.encode() for part in name.split('.'))
    return number.to_bytes(2, 'big') + b'\x01\x00' + b'\x00\x01' + b'\x00' * 6 + labels + b'\x00' + b'\x00\x01\x00\x01'


def ask(sockets, name, wanted, seconds):
    """Each socket asks the next question once its last is answered: the milliseconds of all answers."""
    took, sent, number = [], {}, 0
    with selectors.DefaultSelector() as selector:
        def send(sock):
            nonlocal number
            number = (number + 1) % 65536
            sent[sock] = (number, time.perf_counter())
            sock.send(question(name, number))
        for sock in sockets:
            selector.register(sock, selectors.EVENT_READ)
            send(sock)
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            ready = selector.select(5)
            if not ready:
                sys.exit('a question was never answered')
            for key, _ in ready:
                answer = key.fileobj.recv(1500)
                asked, begin = sent[key.fileobj]
                if answer[:2] != asked.to_bytes(2, 'big') or not answer.endswith(wanted):
                    sys.exit(f'a wrong answer: {answer!r}')
                took.append((time.perf_counter() - begin) * 1000)
                send(key.fileobj)
    for sock in sockets:
        sock.recv(1500)
    return sorted(took)


def names(results, clients):
    """Names of one network, asked at 127.0.0.11 in one container, then in 200 at once, each with one question under way."""
    found = {}
    for name, client in clients.items():
        client.ok('network', 'create', 'asked')
        wrong = in_threads(ASKERS, 4, lambda n: client.ok('run', '-d', '--name', f'asker-{n}', '--network', 'asked', IMAGE, 'sleep', '1000'))[1]
        assert wrong == [], wrong
        states = [json.loads(client.engine.api('GET', f'/containers/asker-{n}/json')[1]) for n in range(ASKERS)]
        wanted = socket.inet_aton(states[0]['NetworkSettings']['Networks']['asked']['IPAddress'])
        sockets = []
        for state in states:
            sock = packets.socket_in(f'/proc/{state["State"]["Pid"]}/ns/net', socket.AF_INET, socket.SOCK_DGRAM)
            sock.connect(('127.0.0.11', 53))
            sockets.append(sock)
        for label, askers in (('1 container', sockets[1:2]), (f'{ASKERS} containers', sockets)):
            took = ask(askers, 'asker-0', wanted, ASK_S)
            found.setdefault((f'names asked by {label}', '1/s', False), {})[name] = len(took) / ASK_S
            found.setdefault((f'names asked by {label}, p50', 'ms', True), {})[name] = took[len(took) // 2]
            found.setdefault((f'names asked by {label}, p99', 'ms', True), {})[name] = took[len(took) * 99 // 100]
        for sock in sockets:
            sock.close()
        client.ok('rm', '-f', *(f'asker-{n}' for n in range(ASKERS)), timeout=300)
    for (label, unit, less), values in found.items():
        results.add(label, unit, less_is_better=less, **values)


def serve(listener):
    """The first byte says what the client wants: 'b' bytes, 'e' an echo of each byte, 'c' the end."""
    chunk = b'x' * (1 << 20)

    def talk(connection):
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            want = connection.recv(1)
            if want == b'b':
                for _ in range(BYTES // len(chunk)):
                    connection.sendall(chunk)
            while want == b'e' and (data := connection.recv(64)):
                connection.sendall(data)
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=talk, args=(connection,), daemon=True).start()


def connected(space, where):
    sock = packets.socket_in(space, socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(60)
    sock.connect(where)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def stream(space, where):
    buffer, got = bytearray(1 << 20), 0
    with connected(space, where) as sock:
        sock.send(b'b')
        begin = time.perf_counter()
        while size := sock.recv_into(buffer):
            got += size
    assert got == BYTES, got
    return BYTES / 1e6 / (time.perf_counter() - begin)


def trips(space, where):
    with connected(space, where) as sock:
        sock.send(b'e')
        begin = time.perf_counter()
        for _ in range(TRIPS):
            sock.send(b'?')
            if sock.recv(1) != b'?':
                sys.exit('an echo is wrong')
        return TRIPS / (time.perf_counter() - begin)


def connections(space, where):
    begin = time.perf_counter()
    for _ in range(CONNECTIONS):
        with connected(space, where) as sock:
            sock.send(b'c')
            if sock.recv(1) != b'':
                sys.exit('an end is no end')
    return CONNECTIONS / (time.perf_counter() - begin)


def ways(results, clients):
    found = {}
    for name, client in clients.items():
        client.ok('run', '-d', '--name', 'server', '-p', f'{FIRST}:80', IMAGE, 'sleep', '1000')
        address, gateway, pid = client.inspect('server', '{{.NetworkSettings.IPAddress}} {{.NetworkSettings.Gateway}} {{.State.Pid}}').split()
        listener = packets.socket_in(f'/proc/{pid}/ns/net', socket.AF_INET, socket.SOCK_STREAM)
        listener.bind(('0.0.0.0', 80))
        listener.listen(512)
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        space = client.engine.names.netns
        for label, where in (('the proxy', ('127.0.0.1', FIRST)), ('NAT', (gateway, FIRST)), ('the bridge', (address, 80))):
            for what, unit, measure in (('bytes', 'MB/s', stream), ('round trips', '1/s', trips), ('connections', '1/s', connections)):
                values = [measure(space, where) for _ in range(3)]
                found.setdefault((f'{what} through {label}', unit), {})[name] = statistics.median(values)
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        client.ok('rm', '-f', 'server')
    for (label, unit), values in found.items():
        results.add(label, unit, less_is_better=False, **values)


def measure(results, clients, rounds):
    starts(results, clients, rounds)
    held(results, clients)
    ways(results, clients)
