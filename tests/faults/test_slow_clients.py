# SPDX-License-Identifier: Apache-2.0
"""Clients that do not read, that vanish in the middle, that send half of a body, endless heads, or nothing at all: none of
them keeps the others waiting, and what they make the daemon hold has a bound (docs/connections.md)."""
import contextlib
import json
import os
import resource
import socket
import struct
import time

import pytest

from harness import places
from harness.client import own_stack
from harness.crowd import note
from harness.engine import until
from harness.places import IMAGE

# More than the 512 workers; in a soak more than the 2,048 that may wait beside them.
STREAMS = 2600 if places.SOAK else 600
IDLE = 10000 if places.SOAK else 2000
HEAD_BYTES = (1 << 30) if places.SOAK else (32 << 20)
MEGA = 1 << 20


@pytest.fixture(scope='module')
def own(tmp_path_factory):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with own_stack(16, tmp_path_factory.mktemp('home')) as client:
        client.ok('run', '-d', '--name', 'talker', IMAGE, 'sh', '-c', 'seq 1 300000; exec sleep 1000000')
        until(lambda: client.ok('logs', '--tail', '1', 'talker') == '300000')
        yield client
        client.ok('rm', '-f', 'talker')
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def held(engine):
    """(open descriptors, resident bytes, threads) of gantryd."""
    pid = engine.pid('gantryd')
    pages = int(open(f'/proc/{pid}/statm').read().split()[1])
    return len(os.listdir(f'/proc/{pid}/fd')), pages * os.sysconf('SC_PAGE_SIZE'), len(os.listdir(f'/proc/{pid}/task'))


def open_connection(engine, data=b''):
    connection = socket.socket(socket.AF_UNIX)
    # A small buffer: a client that does not read is felt at once.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(60)
    connection.connect(engine.socket)
    if data:
        connection.sendall(data)
    return connection


def asked(method, path, headers=''):
    return f'{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n'.encode()


@contextlib.contextmanager
def crowd_of(engine, count, data):
    with contextlib.ExitStack() as all_of_them:
        yield [all_of_them.enter_context(open_connection(engine, data)) for _ in range(count)]


def slowest(engine, requests=50):
    """Seconds that the slowest of some plain requests takes."""
    worst = 0
    for _ in range(requests):
        begin = time.monotonic()
        assert engine.api('GET', '/containers/json', timeout=30)[0] == 200
        worst = max(worst, time.monotonic() - begin)
    return worst


def goes_on(client, what, before, megabytes):
    """Others are served, a container can be run, memory is within the bound; then it says how it was."""
    worst = slowest(client.engine)
    assert client.ok('run', '--rm', IMAGE, 'echo', 'on', timeout=30) == 'on'
    descriptors, resident, threads = held(client.engine)
    grown = (resident - before[1]) / MEGA
    note(f'{what}: slowest of 50 other requests {worst * 1000:.0f} ms, gantryd {grown:+.1f} MB, {threads} threads, {descriptors} descriptors')
    assert worst < 5 and grown < megabytes, (worst, grown)


def gone_again(engine, before):
    until(lambda: held(engine)[0] <= before[0] + 10, 60, f'descriptors: {before[0]}, then {held(engine)[0]}')


@pytest.mark.parametrize('path', ['/containers/talker/stats', '/events?since=1', '/containers/talker/logs?stdout=1&follow=1',
                                  '/containers/talker/stats?stream=0'])
def test_streams_that_nobody_reads(own, path):
    before = held(own.engine)
    with crowd_of(own.engine, STREAMS, asked('GET', path)):
        time.sleep(2.5)
        # What each is worth until its socket is full is work, not waiting.
        until(lambda: slowest(own.engine, 3) < 1, 60)
        goes_on(own, f'{STREAMS} of {path} not read', before, 40 + STREAMS * 0.2)
    gone_again(own.engine, before)


def test_attaches_that_nobody_reads(own):
    own.ok('run', '-d', '--name', 'loud', IMAGE, 'sh', '-c', 'while :; do echo 0123456789012345678901234567890123456789; done')
    before = held(own.engine)
    request = asked('POST', '/containers/loud/attach?stream=1&stdout=1', 'Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n')
    with crowd_of(own.engine, 100, request):
        time.sleep(1)
        goes_on(own, '100 attaches to a loud program not read', before, 40)
    own.ok('rm', '-f', 'loud')
    gone_again(own.engine, before)


def test_answers_that_nobody_reads(own):
    """An answer of 2 MB to each: those are written by threads, which must not be all of them."""
    before = held(own.engine)
    with crowd_of(own.engine, STREAMS, asked('GET', '/containers/talker/logs?stdout=1')):
        # Each is worth some work until its socket is full.
        until(lambda: slowest(own.engine, 3) < 1, 60)
        goes_on(own, f'{STREAMS} whole logs not read', before, 40 + STREAMS * 0.2)
    gone_again(own.engine, before)


def test_bodies_that_do_not_come(own):
    before = held(own.engine)
    head = asked('POST', '/containers/create', 'Content-Type: application/json\r\nContent-Length: 100000\r\n')
    with crowd_of(own.engine, STREAMS, head + b'{"Image":'):
        time.sleep(1)
        goes_on(own, f'{STREAMS} half-sent bodies', before, 200)
    gone_again(own.engine, before)
    assert own.ok('ps', '-aq').count('\n') == 0


def test_an_archive_that_does_not_come(own):
    before = held(own.engine)
    head = asked('PUT', '/containers/talker/archive?path=/tmp', 'Content-Type: application/x-tar\r\nContent-Length: 100000000\r\n')
    with crowd_of(own.engine, 50, head + bytes(600)):
        goes_on(own, '50 half-sent archives', before, 40)
    gone_again(own.engine, before)


def test_bodies_have_a_budget_together(own):
    """40 of 15 MiB each, all but a byte: 256 MiB are held, the others are refused."""
    before, size = held(own.engine), 15 * MEGA
    head = asked('POST', '/containers/create', f'Content-Type: application/json\r\nContent-Length: {size}\r\n')
    refused = []
    with crowd_of(own.engine, 40, head) as connections:
        for connection in connections:
            try:
                connection.sendall(b' ' * (size - 1))
            except OSError:
                pass  # it was answered already
            connection.settimeout(0.2)
            with contextlib.suppress(OSError):
                refused += [connection.recv(4096).split(b'\r\n', 1)[0]]
        assert refused and set(refused) <= {b'HTTP/1.1 503 Service Unavailable'}, refused
        goes_on(own, f'40 bodies of 15 MiB without their last byte, of which {len(refused)} were refused', before, 600)
    gone_again(own.engine, before)


@pytest.mark.parametrize('piece', [b'X-Long: ' + b'a' * 60000 + b'\r\n', b'a' * 65536, b'A: b\r\n' * 10000],
                         ids=['many fields', 'one line', 'small fields'])
def test_a_head_without_an_end(own, piece):
    before, sent = held(own.engine), 0
    connection = open_connection(own.engine, b'GET /_ping HTTP/1.1\r\n')
    with connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while sent < HEAD_BYTES:
            sent += connection.send(piece)
    assert sent < 4 * MEGA, 'it reads on though the head is too long'
    goes_on(own, f'a head without an end, cut off after {sent / 1000:.0f} kB', before, 8)


def test_idle_connections(own):
    before = held(own.engine)
    with crowd_of(own.engine, IDLE, b''):
        until(lambda: held(own.engine)[0] >= before[0] + IDLE - 10, 60)
        grown = held(own.engine)[1] - before[1]
        note(f'{IDLE} idle connections: gantryd {grown / MEGA:+.1f} MB')
        assert grown < 40 * MEGA
        if IDLE < 10000:
            assert slowest(own.engine) < 5
        else:
            # It is told before it has asked.
            with open_connection(own.engine) as late:
                assert late.recv(4096).startswith(b'HTTP/1.1 503'), 'one more than there may be'
    gone_again(own.engine, before)
    assert slowest(own.engine) < 5


def test_clients_that_vanish(own):
    """In the middle of each kind of stream, with a reset."""
    before = held(own.engine)
    exec_body = json.dumps({'AttachStdout': True, 'Cmd': ['sh', '-c', 'seq 1 100000; sleep 1']}).encode()
    for turn in range(10 if places.SOAK else 3):
        made = json.loads(own.engine.api('POST', '/containers/talker/exec', exec_body)[1])['Id']
        start = b'{"Detach":false}'
        streams = [asked('GET', '/containers/talker/stats'), asked('GET', '/events?since=1'), asked('GET', '/containers/talker/logs?stdout=1&follow=1'),
                   asked('GET', '/containers/talker/logs?stdout=1'), asked('GET', '/containers/talker/export'), asked('GET', f'/images/{IMAGE}/get'),
                   asked('GET', '/containers/talker/archive?path=/bin'), asked('POST', '/containers/talker/wait'),
                   asked('POST', '/containers/talker/attach?stream=1&stdout=1', 'Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n'),
                   asked('POST', f'/exec/{made}/start', f'Content-Type: application/json\r\nContent-Length: {len(start)}\r\n') + start,
                   asked('POST', '/images/load', 'Content-Type: application/x-tar\r\nContent-Length: 1000000\r\n') + bytes(512),
                   asked('PUT', '/containers/talker/archive?path=/tmp', 'Content-Length: 1000000\r\n') + bytes(512)]
        for stream in streams:
            connection = open_connection(own.engine, stream)
            connection.settimeout(0.3)
            with contextlib.suppress(OSError):
                connection.recv(1 + turn * 1000)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            connection.close()
    gone_again(own.engine, before)
    goes_on(own, 'clients that vanished', before, 40)
    assert own.ok('logs', '--tail', '1', 'talker') == '300000'
