# SPDX-License-Identifier: Apache-2.0
"""The API's streams and waits, without a client program: attach in all forms, WebSocket, wait, resize,
top, stats, rename, checkpoints."""
import contextlib
import json
import socket
import struct
import threading

import pytest

from harness import websocket
from harness.engine import UnixConnection, until
from harness.places import IMAGE
from harness.websocket import WebSocket

pytestmark = pytest.mark.engine_alone
RAW = 'application/vnd.docker.raw-stream'


@pytest.fixture
def engine(client):
    return client.engine


@pytest.fixture
def made(client, names):
    """Makes a container by the API and returns its name."""
    def make(*command, start=True, **config):
        name = names()
        status, body, _ = client.engine.api('POST', f'/containers/create?name={name}',
                                            json.dumps({'Image': IMAGE, 'Cmd': list(command), **config}))
        assert status == 201, body
        if start:
            client.ok('start', name)
        return name
    return make


def message(answer):
    return answer[0], json.loads(answer[1])['message']


def rest_of(stream, text=b''):
    with contextlib.suppress(ConnectionResetError):
        while True:
            piece = stream.recv(65536)
            if not piece:
                break
            text += piece
    stream.close()
    return text


def frames(data):
    out = {1: b'', 2: b''}
    while data:
        kind, size = struct.unpack('>BxxxL', data[:8])
        out[kind] += data[8:8 + size]
        data = data[8 + size:]
    return out


@pytest.mark.parametrize('upgrade', ['tcp', ''])
def test_both_ways_with_half_close(engine, made, upgrade):
    name = made('sh', '-c', 'cat; echo end >&2', start=False, OpenStdin=True, StdinOnce=True)
    stream, head, text = engine.hijack(f'/containers/{name}/attach?stream=1&stdin=1&stdout=1&stderr=1', upgrade=upgrade)
    assert head.startswith('HTTP/1.1 101 UPGRADED' if upgrade else 'HTTP/1.1 200 OK'), head
    assert ('Upgrade: tcp' in head) == bool(upgrade) and 'application/vnd.docker.' in head
    assert engine.api('POST', f'/containers/{name}/start')[0] == 204
    stream.sendall(b'one\n')
    stream.sendall(b'two\n')
    stream.shutdown(socket.SHUT_WR)
    assert frames(rest_of(stream, text)) == {1: b'one\ntwo\n', 2: b'end\n'}
    assert json.loads(engine.api('POST', f'/containers/{name}/wait')[1])['StatusCode'] == 0


@pytest.mark.parametrize('before_start', [True, False])
def test_the_streams_end_is_the_runs_end(engine, made, before_start):
    """Who reads to the end of the stream and inspects then finds the exit code; a program that
    closes its output and goes on keeps the stream open, as docker does."""
    path = '/containers/{}/attach?stream=1&stdout=1&stderr=1'
    for round_ in range(5):
        name = made('sh', '-c', 'sleep 0.3; echo said; exit 3', start=not before_start)
        stream, _, text = engine.hijack(path.format(name))
        if before_start:
            assert engine.api('POST', f'/containers/{name}/start')[0] == 204
        assert frames(rest_of(stream, text))[1] == b'said\n'
        state = json.loads(engine.api('GET', f'/containers/{name}/json')[1])['State']
        assert (state['Status'], state['ExitCode']) == ('exited', 3), round_
    name = made('sh', '-c', 'exec >&- 2>&-; sleep 1; exit 4', start=not before_start)
    stream, _, text = engine.hijack(path.format(name))
    if before_start:
        assert engine.api('POST', f'/containers/{name}/start')[0] == 204
    assert rest_of(stream, text) == b''
    state = json.loads(engine.api('GET', f'/containers/{name}/json')[1])['State']
    assert (state['Status'], state['ExitCode']) == ('exited', 4)


def test_stdin_stays_open_for_the_next(engine, made):
    name = made('sh', '-c', 'while read a; do echo "<$a>"; done', OpenStdin=True)
    for word in (b'a', b'b'):
        stream, _, text = engine.hijack(f'/containers/{name}/attach?stream=1&stdin=1&stdout=1')
        stream.sendall(word + b'\n')
        while b'<' + word + b'>' not in text:
            text += stream.recv(100)
        stream.close()
    assert json.loads(engine.api('GET', f'/containers/{name}/json')[1])['State']['Running']


def test_log_and_then_the_stream(engine, made):
    """Nothing is missing and nothing is twice between the log and what comes live."""
    name = made('sh', '-c', 'i=0; while [ $i -lt 4000 ]; do i=$((i+1)); echo $i; done; read a', OpenStdin=True)
    for _ in range(3):
        stream, _, text = engine.hijack(f'/containers/{name}/attach?stream=1&logs=1&stdout=1&stderr=1')
        stream.settimeout(10)
        while frames_so_far(text)[-5:] != b'4000\n':
            text += stream.recv(65536)
        assert frames_so_far(text) == b''.join(b'%d\n' % n for n in range(1, 4001))
        stream.close()
    stream, _, text = engine.hijack(f'/containers/{name}/attach?logs=1&stdout=1')
    assert frames(rest_of(stream, text))[1].endswith(b'3999\n4000\n')


def frames_so_far(data):
    out = b''
    while len(data) >= 8:
        size, = struct.unpack('>xxxxL', data[:8])
        if len(data) < 8 + size:
            break
        out += data[8:8 + size]
        data = data[8 + size:]
    return out


def test_errors_of_attach_are_text(engine, made):
    name = made('sleep', '100')

    def error(container, query='stream=1'):
        status, body, headers = engine.api('POST', f'/containers/{container}/attach?{query}')
        assert headers['Content-Type'] == RAW
        return status, body
    assert error('no-such') == (404, b'No such container: no-such\r\n')
    assert error(name, 'stream=1&detachKeys=ctrl-xx') == (400, b'Invalid detach keys (ctrl-xx) provided\r\n')
    assert engine.api('POST', f'/containers/{name}/pause')[0] == 204
    assert error(name) == (409, f'container {name} is paused, unpause the container before attach\r\n'.encode())


def test_websocket(engine, made):
    name = made('sh', '-c', 'echo ready; while read a; do [ "$a" = end ] && exit 3; echo "<$a>" >&2; done', OpenStdin=True)
    until(lambda: b'ready' in engine.api('GET', f'/containers/{name}/logs?stdout=1')[1])
    query = 'stream=1&stdin=1&stdout=1&stderr=1'
    client = WebSocket(engine.socket, f'/containers/{name}/attach/ws?logs=1&{query}')
    client.read_until(b'ready\n')
    client.send(b'one\n')
    # Never multiplexed: what comes are the bytes.
    assert client.read_until(b'<one>\n') == b'<one>\n'
    client.send(b'tw', final=False)
    client.send(b'o\n', opcode=0)
    assert client.read_until(b'\n') == b'<two>\n'
    client.send(b'hello', opcode=websocket.PING)
    assert client.receive() == (websocket.PONG, b'hello')
    other = WebSocket(engine.socket, f'/containers/{name}/attach/ws?{query}')
    other.send(b'three\n', opcode=websocket.TEXT)
    assert client.read_until(b'\n') == other.read_until(b'\n') == b'<three>\n'
    other.send(b'\x03\xe8bye', opcode=websocket.CLOSE)
    assert other.receive() == (websocket.CLOSE, b'\x03\xe8')
    with pytest.raises(EOFError):
        other.receive()
    client.send(b'end\n')
    assert client.receive() == (websocket.CLOSE, b'\x03\xe8')
    assert json.loads(engine.api('POST', f'/containers/{name}/wait')[1])['StatusCode'] == 3


def test_websocket_carries_much(engine, made):
    name = made('cat', start=False, OpenStdin=True, StdinOnce=True)
    client = WebSocket(engine.socket, f'/containers/{name}/attach/ws?stream=1&stdin=1&stdout=1')
    assert engine.api('POST', f'/containers/{name}/start')[0] == 204
    pieces = [bytes([65 + n % 26]) * 60000 + b'\n' for n in range(40)]
    sender = threading.Thread(target=lambda: [client.send(p) for p in pieces])
    sender.start()
    wanted, got = b''.join(pieces), b''
    while len(got) < len(wanted):
        opcode, payload = client.receive()
        assert opcode == websocket.BINARY
        got += payload
    sender.join()
    client.close()
    assert got == wanted


def test_websocket_errors(engine, made):
    name = made('sleep', '100')
    assert engine.api('GET', f'/containers/{name}/attach/ws')[:2] == (400, b'not websocket protocol')
    assert message(engine.api('GET', '/containers/no-such/attach/ws')) == (404, 'No such container: no-such')


class Wait:
    """A request for wait that is under way; its answer's head has come."""

    def __init__(self, engine, name, condition):
        self.connection = UnixConnection(engine.socket)
        self.connection.request('POST', f'/containers/{name}/wait?condition={condition}')
        self.answer = self.connection.getresponse()

    def code(self):
        value = json.loads(self.answer.read())
        self.connection.close()
        assert not value.get('Error'), value
        return value['StatusCode']

    def answered(self):
        self.connection.sock.settimeout(0.2)
        with contextlib.suppress(TimeoutError, socket.timeout):
            return bool(self.connection.sock.recv(1, socket.MSG_PEEK))
        return False


def test_three_conditions(engine, made):
    name = made('sh', '-c', 'trap "exit 7" TERM; echo up; while :; do sleep 0.05; done', start=False)
    assert Wait(engine, name, 'not-running').code() == 0
    waits = {c: Wait(engine, name, c) for c in ('next-exit', 'removed')}
    assert engine.api('POST', f'/containers/{name}/start')[0] == 204
    waits['not-running'] = Wait(engine, name, 'not-running')
    # The heads have come; the bodies not yet.
    assert [w.answer.status for w in waits.values()] == [200] * 3
    assert not any(w.answered() for w in waits.values())
    until(lambda: b'up' in engine.api('GET', f'/containers/{name}/logs?stdout=1')[1])
    assert engine.api('POST', f'/containers/{name}/stop?t=20')[0] == 204
    assert waits['next-exit'].code() == 7 and waits['not-running'].code() == 7
    assert not waits['removed'].answered()
    late = Wait(engine, name, 'next-exit')
    assert engine.api('DELETE', f'/containers/{name}')[0] == 204
    assert waits['removed'].code() == 7 and late.code() == 7
    assert message(engine.api('POST', '/containers/no-such/wait')) == (404, 'No such container: no-such')


def test_resize(engine, made):
    name = made('sleep', '100', Tty=True)
    ended = made('true', start=False)
    assert engine.api('POST', f'/containers/{name}/resize?h=10&w=20')[:2] == (200, b'')
    assert engine.api('POST', f'/containers/{name}/resize?h=0&w=0')[0] == 200
    for query in ('', '?h=x&w=1', '?h=1', '?h=1.5&w=1'):
        assert engine.api('POST', f'/containers/{name}/resize{query}')[0] == 400, query
    status, text = message(engine.api('POST', f'/containers/{ended}/resize?h=1&w=1'))
    assert status == 409 and text.startswith('Container ') and text.endswith(' is not running')
    assert message(engine.api('POST', '/containers/no-such/resize?h=1&w=1')) == (404, 'No such container: no-such')
    body = json.dumps({'Cmd': ['sleep', '9'], 'Tty': True})
    exec_id = json.loads(engine.api('POST', f'/containers/{name}/exec', body)[1])['Id']
    assert engine.api('POST', f'/exec/{exec_id}/start', json.dumps({'Detach': True, 'Tty': True}))[0] == 200
    assert engine.api('POST', f'/exec/{exec_id}/resize?h=1&w=1')[0] == 200
    assert engine.api('POST', f'/exec/{exec_id}/resize?h=x&w=1')[0] == 400
    assert message(engine.api('POST', '/exec/no-such/resize?h=1&w=1')) == (404, 'No such exec instance: no-such')


def test_top(engine, made):
    name = made('sleep', '100')
    table = json.loads(engine.api('GET', f'/containers/{name}/top')[1])
    assert table['Titles'] == ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'] and table['Processes'][0][7] == 'sleep 100'
    table = json.loads(engine.api('GET', f'/containers/{name}/top?ps_args=aux')[1])
    assert table['Titles'][:2] == ['USER', 'PID'] and table['Processes'][0][-1] == 'sleep 100'
    table = json.loads(engine.api('GET', f'/containers/{name}/top?ps_args=-o%20pid,cmd')[1])
    assert table['Titles'] == ['PID', 'CMD'] and len(table['Processes']) == 1
    status, text = message(engine.api('GET', f'/containers/{name}/top?ps_args=-o%20cmd'))
    assert status in (400, 500) and text == "Couldn't find PID field in ps output"
    assert engine.api('GET', f'/containers/{name}/top?ps_args=--nope')[0] in (400, 500)


def test_rename(engine, made):
    one, two = made('true', start=False), made('true', start=False)

    def renamed(query):
        return message(engine.api('POST', f'/containers/{one}/rename{query}'))
    assert renamed('?name=' + one) == (400, 'Renaming a container with the same name as its current name')
    assert renamed('') == renamed('?name=') == (400, 'Neither old nor new names may be empty')
    status, text = renamed('?name=a/b')
    assert status == 400 and text.startswith('Error when allocating new name: Invalid container name (')
    status, text = renamed('?name=' + two)
    assert status == 409 and text.startswith(f'Error when allocating new name: Conflict. The container name "/{two}" is already in use')
    assert engine.api('POST', f'/containers/{one}/rename?name=/{one}x')[0] == 204
    assert engine.api('POST', f'/containers/{one}x/rename?name={one}')[0] == 204


def test_checkpoints_are_experimental(engine, made):
    name = made('sleep', '100')
    text = 'This experimental feature is disabled by default. Start the Docker daemon in experimental mode in order to enable it.'
    assert message(engine.api('GET', f'/containers/{name}/checkpoints')) == (501, text)
    assert message(engine.api('POST', f'/containers/{name}/checkpoints', json.dumps({'CheckpointID': 'c'}))) == (501, text)
    assert message(engine.api('DELETE', f'/containers/{name}/checkpoints/c')) == (501, text)
    assert message(engine.api('POST', f'/containers/{name}/start?checkpoint=c')) == (400, 'checkpoint is only supported in experimental mode')


NO_CPU = {'cpu_usage': {'total_usage': 0, 'usage_in_kernelmode': 0, 'usage_in_usermode': 0},
          'throttling_data': {'periods': 0, 'throttled_periods': 0, 'throttled_time': 0}}


def test_stats_of_one_that_does_not_run(engine, made):
    name = made('true', start=False)
    stats = json.loads(engine.api('GET', f'/v1.41/containers/{name}/stats?stream=0')[1])
    assert stats.pop('name') == '/' + name and len(stats.pop('id')) == 64
    never = '0001-01-01T00:00:00Z'
    lists = ('io_service_bytes_recursive', 'io_serviced_recursive', 'io_queue_recursive', 'io_service_time_recursive',
             'io_wait_time_recursive', 'io_merged_recursive', 'io_time_recursive', 'sectors_recursive')
    assert stats == {'read': never, 'preread': never, 'pids_stats': {}, 'blkio_stats': dict.fromkeys(lists), 'num_procs': 0,
                     'storage_stats': {}, 'cpu_stats': NO_CPU, 'precpu_stats': NO_CPU, 'memory_stats': {}}
    assert message(engine.api('GET', '/containers/no-such/stats')) == (404, 'No such container: no-such')


@pytest.mark.only('gantry')
def test_stats(engine, made):
    """The peer can't read the cgroups of its containers here."""
    name = made('sh', '-c', 'while :; do :; done')
    path = f'/containers/{name}/stats'
    once = json.loads(engine.api('GET', path + '?stream=0&one-shot=1')[1])
    assert once['precpu_stats'] == NO_CPU and once['cpu_stats']['cpu_usage']['total_usage'] > 0
    pair = json.loads(engine.api('GET', path + '?stream=0')[1])
    used = pair['cpu_stats']['cpu_usage']['total_usage'] - pair['precpu_stats']['cpu_usage']['total_usage']
    assert used > 0 and pair['preread'] < pair['read']
    assert pair['cpu_stats']['system_cpu_usage'] > pair['precpu_stats']['system_cpu_usage'] and pair['cpu_stats']['online_cpus'] >= 1
    assert set(pair['networks']['eth0']) == {f'{way}_{what}' for way in ('rx', 'tx') for what in ('bytes', 'packets', 'errors', 'dropped')}
    assert pair['pids_stats']['current'] == 1 and 0 < pair['memory_stats']['usage'] < pair['memory_stats']['limit']
    connection = UnixConnection(engine.socket)
    connection.request('GET', path)
    answer = connection.getresponse()
    first, second = json.loads(answer.readline()), json.loads(answer.readline())
    assert first['precpu_stats'] == NO_CPU and second['precpu_stats'] == first['cpu_stats'] and second['preread'] == first['read']
    # Whoever else listens gets the same samples, in the form of its own version.
    other = UnixConnection(engine.socket)
    other.request('GET', '/v1.51' + path)
    with other.getresponse() as theirs:
        latest = json.loads(theirs.readline())
        assert latest['precpu_stats'] == NO_CPU and 'os_type' not in latest
        same = second
        while same['read'] < latest['read']:
            same = json.loads(answer.readline())
        assert latest['cpu_stats'] == same['cpu_stats'] and latest['read'] == same['read']
        following = json.loads(theirs.readline())
        assert following['preread'] == latest['read'] and following['precpu_stats'] == latest['cpu_stats']
    other.close()
    connection.close()
