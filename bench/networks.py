# SPDX-License-Identifier: Apache-2.0
"""Rows about networks, for bench/run.py: what a bridge and published ports cost at a start, and what comes through
them: by the proxy (loopback), by NAT (another address of the host) and directly (the container's own address)."""
import json
import socket
import statistics
import sys
import threading
import time

from harness import packets
from harness.places import IMAGE

BYTES = 1 << 30
TRIPS = 5000
CONNECTIONS = 1500
FIRST = 21000
KINDS = [('no network', 0, 'none'), ('a bridge', 0, 'bridge'), ('1 port', 1, 'bridge'), ('100 ports', 100, 'bridge'), ('1000 ports', 1000, 'bridge')]


def started(client, ports, network):
    """Milliseconds of POST start, of a container that was created before."""
    bindings = {f'{3000 + i}/tcp': [{'HostPort': str(FIRST + i)}] for i in range(ports)}
    body = {'Image': IMAGE, 'Cmd': ['sleep', '1000'], 'ExposedPorts': {key: {} for key in bindings},
            'HostConfig': {'NetworkMode': network, 'PortBindings': bindings}}
    status, text, _ = client.engine.api('POST', '/containers/create', json.dumps(body))
    assert status == 201, text
    name = json.loads(text)['Id']
    begin = time.perf_counter()
    status, text, _ = client.engine.api('POST', f'/containers/{name}/start', timeout=300)
    taken = (time.perf_counter() - begin) * 1000
    assert status == 204, text
    status, text, _ = client.engine.api('DELETE', f'/containers/{name}?force=1', timeout=300)
    assert status == 204, text
    return taken


def starts(results, clients, rounds):
    for label, ports, network in KINDS:
        # dockerd starts two processes for each port: 4 s for a hundred, minutes for a thousand.
        measured = {name: client for name, client in clients.items() if ports < 1000 or name == 'gantry'}
        times = {name: [] for name in measured}
        for turn in range(rounds if ports < 100 else 3 if ports == 100 else 5):
            for name, client in measured.items():
                times[name].append(started(client, ports, network))
        results.add(f'start with {label}', 'ms', **{name: statistics.median(found) for name, found in times.items()})


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
    ways(results, clients)
