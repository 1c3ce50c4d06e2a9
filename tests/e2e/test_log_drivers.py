# SPDX-License-Identifier: Apache-2.0
"""Log drivers, each against a server of the test that is killed and started again meanwhile: every
line arrives, in order; containers never wait; `logs` works whatever the driver."""
import contextlib
import gzip
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import threading
import time
import zlib

import pytest

from harness.client import own_stack
from harness.engine import until
from harness.places import IMAGE

pytestmark = pytest.mark.engine_alone


def create(engine, kind, options, *command):
    body = {'Image': IMAGE, 'Cmd': list(command) or ['true'], 'HostConfig': {'LogConfig': {'Type': kind, 'Config': options}}}
    status, answer, _ = engine.api('POST', '/containers/create', json.dumps(body))
    return status, json.loads(answer)


UDP = 'udp://127.0.0.1:1'


@pytest.mark.parametrize('kind, options, words', [
    ('json-file', {'foo': 'x'}, "unknown log opt 'foo' for json-file log driver"),
    ('json-file', {'mode': 'foo'}, 'logger: logging mode not supported: foo'),
    ('json-file', {'max-buffer-size': '1m', 'mode': 'blocking'}, "max-buffer-size option is only supported with 'mode=non-blocking'"),
    ('local', {'labels': 'a'}, "unknown log opt 'labels' for log driver local"),
    ('nope', {}, 'error looking up logging plugin nope: plugin "nope" not found'),
    ('syslog', {'syslog-address': 'foo://127.0.0.1'}, 'syslog-address should be in form proto://address, got foo://127.0.0.1'),
    ('syslog', {'syslog-facility': 'nope'}, 'invalid syslog facility'), ('syslog', {'syslog-format': 'x'}, 'Invalid syslog format'),
    ('syslog', {'foo': 'x'}, "unknown log opt 'foo' for syslog log driver"),
    ('gelf', {}, 'gelf-address is a required parameter'), ('gelf', {'gelf-address': 'udp://x'}, 'please provide gelf-address as proto://host:port'),
    ('gelf', {'gelf-address': UDP, 'gelf-compression-type': 'foo'}, 'unknown value "foo" for log opt "gelf-compression-type"'),
    ('gelf', {'gelf-address': UDP, 'gelf-tcp-max-reconnect': '3'}, '"gelf-tcp-max-reconnect" is only valid for TCP'),
    ('fluentd', {'foo': 'x'}, "unknown log opt 'foo' for fluentd log driver"),
    ('fluentd', {'fluentd-async': 'x'}, 'strconv.ParseBool: parsing "x": invalid syntax'),
    ('journald', {'foo': 'x'}, "unknown log opt 'foo' for journald log driver")])
def test_bad_options(client, kind, options, words):
    status, answer = create(client.engine, kind, options)
    assert status == 400 and words in answer['message'], answer


@pytest.mark.parametrize('kind, options', [
    ('json-file', {'max-size': '1m', 'max-file': '2', 'labels': 'a', 'env': 'b', 'tag': '{{.Name}}', 'env-regex': '^x'}),
    ('json-file', {'mode': 'non-blocking', 'max-buffer-size': '1m'}), ('json-file', {'max-file': '3'}),
    ('local', {'max-size': '10m', 'max-file': '2', 'compress': 'false'}), ('local', {})])
def test_file_drivers(client, names, kind, options):
    name = names()
    client.ok('run', '--name', name, '--log-driver', kind, *(f'--log-opt={k}={v}' for k, v in options.items()), IMAGE, 'echo', 'hi')
    assert client.ok('logs', name) == 'hi'
    path = client.inspect(name, '{{.LogPath}}')
    assert path.endswith('-json.log') if kind == 'json-file' else path == ''


def test_details(client, names):
    name, plain = names(), names()
    client.ok('run', '--name', name, '--log-opt', 'labels=a,b', '--log-opt', 'env=E', '--log-opt', 'tag={{.Name}}/x', '--label', 'a=1 2&3,4',
              '--label', 'c=3', '-e', 'E=v=w', IMAGE, 'echo', 'hi')
    client.ok('run', '--name', plain, IMAGE, 'echo', 'hi')
    details = f'E=v%3Dw,a=1+2%263%2C4,tag={name}%2Fx'
    assert client('logs', '--details', name).out == f'{details} hi\n'
    assert re.fullmatch(r'\S+Z ' + re.escape(details) + ' hi\n', client('logs', '-t', '--details', name).out)
    assert client('logs', '--details', plain).out == ' hi\n'


# Servers. Each keeps lines as (container's tag or id, stream or level, text).

class Server:
    """Listens in the network namespace of the engine, in a thread of its own."""

    def __init__(self, engine, kind, where, decode, tls=None):
        self.engine, self.kind, self.where, self.decode, self.tls = engine, kind, where, decode, tls
        self.lines, self.socket, self.connections = [], None, []

    def start(self):
        holder = {}

        def make():
            with open(self.engine.names.netns) as netns:
                setns(netns.fileno())
            family = socket.AF_UNIX if isinstance(self.where, str) else socket.AF_INET
            made = socket.socket(family, socket.SOCK_DGRAM if self.kind == 'datagram' else socket.SOCK_STREAM)
            if family == socket.AF_INET:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            elif os.path.exists(self.where):
                os.unlink(self.where)
            if self.kind == 'datagram':
                made.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
            made.bind(self.where)
            if self.kind == 'stream':
                made.listen(8)
            holder['socket'] = made
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        self.socket = holder['socket']
        threading.Thread(target=self.datagrams if self.kind == 'datagram' else self.accept, args=(self.socket,), daemon=True).start()
        return self

    def stop(self):
        """Nothing that it has been given is lost: a real server writes down what it has read."""
        listener, self.socket = self.socket, None
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.connections = []

    def datagrams(self, listener):
        chunks = {}
        while True:
            try:
                data = listener.recv(65536)
            except OSError:
                return
            if not data:
                return
            self.decode(self, data, chunks)

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
                if self.tls:
                    connection = self.tls.wrap_socket(connection, server_side=True)
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.stream, args=(connection,), daemon=True).start()

    def stream(self, connection):
        rest = b''
        while True:
            try:
                data = connection.recv(65536)
            except OSError:
                data = b''
            if not data:
                return
            rest = self.decode(self, rest + data, connection)


def setns(descriptor):
    import ctypes
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), 'setns')


SYSLOG = re.compile(rb'<(\d+)>(?:\w{3} [ \d]\d \d\d:\d\d:\d\d )(\S+)\[\d+\]: (.*)')
RFC5424 = re.compile(rb'<(\d+)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?(?:Z|[+-]\d\d:\d\d) \S+ (\S+) \d+ \S+ - (.*)')


def take_syslog(server, line):
    match = RFC5424.fullmatch(line) or SYSLOG.fullmatch(line)
    assert match, line
    server.lines.append((match[2].decode(), int(match[1]), match[3].decode()))


def syslog_datagram(server, data, _):
    take_syslog(server, data.rstrip(b'\n'))


def syslog_stream(server, data, _):
    *lines, rest = data.split(b'\n')
    for line in lines:
        take_syslog(server, line)
    return rest


def syslog_counted(server, data, _):
    while b' ' in data:
        size, _, rest = data.partition(b' ')
        if len(rest) < int(size):
            break
        take_syslog(server, rest[:int(size)].rstrip(b'\n'))
        data = rest[int(size):]
    return data


def take_gelf(server, text):
    message = json.loads(text)
    # A whole second is written without a fraction, as Go and docker do.
    assert message['version'] == '1.1' and abs(message['timestamp'] - time.time()) < 300
    server.lines.append((message['_tag'], message['level'], message['short_message']))
    server.last = message


def gelf_datagram(server, data, chunks):
    if data[:2] == b'\x1e\x0f':
        parts = chunks.setdefault(data[2:10], {})
        parts[data[10]] = data[12:]
        if len(parts) < data[11]:
            return
        data = b''.join(parts[n] for n in range(data[11]))
        server.chunked = True
    if data[:2] == b'\x1f\x8b':
        data = gzip.decompress(data)
    elif data[:1] == b'\x78':
        data = zlib.decompress(data)
    take_gelf(server, data)


def gelf_stream(server, data, _):
    *messages, rest = data.split(b'\0')
    for message in messages:
        take_gelf(server, message)
    return rest


def unpack(data, at=0):
    """One msgpack value and where it ends; IndexError when it is not whole."""
    kind = data[at]
    at += 1

    def raw(size):
        if at + size > len(data):
            raise IndexError
        return data[at:at + size]

    def items(count, at):
        out = []
        for _ in range(count):
            value, at = unpack(data, at)
            out.append(value)
        return out, at
    if kind >> 4 == 8:
        flat, at = items((kind & 15) * 2, at)
        return dict(zip(flat[::2], flat[1::2])), at
    if kind >> 4 == 9:
        return items(kind & 15, at)
    if kind >> 5 == 5:
        return raw(kind & 31).decode(), at + (kind & 31)
    if kind in (0xd9, 0xda, 0xdb):
        width = {0xd9: 1, 0xda: 2, 0xdb: 4}[kind]
        size = int.from_bytes(raw(width), 'big')
        at += width
        return raw(size).decode(), at + size
    if kind == 0xd3:
        return int.from_bytes(raw(8), 'big'), at + 8
    if kind == 0xd7:
        return struct.unpack('>xLL', raw(9)), at + 9
    raise AssertionError(hex(kind))


def fluentd_stream(server, data, connection):
    while data:
        try:
            (tag, when, record, *option), end = unpack(data)
        except IndexError:
            break
        seconds = when[0] if isinstance(when, tuple) else when
        assert abs(seconds - time.time()) < 300
        server.lines.append((tag, record['source'], record['log']))
        server.last = record
        if option:
            chunk = option[0]['chunk'].encode()
            connection.sendall(b'\x81\xa3ack' + (bytes([0xa0 | len(chunk)]) if len(chunk) < 32 else bytes([0xd9, len(chunk)])) + chunk)
        data = data[end:]
    return data


@pytest.fixture(scope='module')
def own(home):
    with own_stack(16, home) as client:
        yield client


@pytest.fixture(scope='module')
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tls')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', folder / 'key.pem', '-out', folder / 'cert.pem',
                    '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'], check=True, stderr=subprocess.DEVNULL)
    return folder


INET = ('127.0.0.1', 15514)
CASES = {
    'syslog-udp': ('syslog', {'syslog-address': 'udp://127.0.0.1:15514'}, 'datagram', INET, syslog_datagram),
    'syslog-tcp-rfc5424': ('syslog', {'syslog-address': 'tcp://127.0.0.1:15514', 'syslog-format': 'rfc5424micro'}, 'stream', INET, syslog_stream),
    'syslog-unixgram': ('syslog', {'syslog-address': 'unixgram://SOCKET'}, 'datagram', None, syslog_datagram),
    'syslog-tls': ('syslog', {'syslog-address': 'tcp+tls://127.0.0.1:15514', 'syslog-format': 'rfc5424', 'syslog-tls-ca-cert': 'CERT'}, 'stream', INET,
                   syslog_counted),
    'gelf-udp-zlib': ('gelf', {'gelf-address': 'udp://127.0.0.1:15514', 'gelf-compression-type': 'zlib'}, 'datagram', INET, gelf_datagram),
    'gelf-tcp': ('gelf', {'gelf-address': 'tcp://127.0.0.1:15514'}, 'stream', INET, gelf_stream),
    'fluentd': ('fluentd', {'fluentd-address': '127.0.0.1:15514', 'fluentd-async': 'true'}, 'stream', INET, fluentd_stream),
    'fluentd-ack': ('fluentd', {'fluentd-address': 'unix://SOCKET', 'fluentd-request-ack': 'true', 'fluentd-sub-second-precision': 'true'}, 'stream', None,
                    fluentd_stream),
}


@pytest.mark.only('gantry')
@pytest.mark.parametrize('case', CASES)
def test_server_that_comes_and_goes(own, case, certificate):
    """docker refuses to start a container whose server is down, and loses what it can't send."""
    kind, options, sort, where, decode = CASES[case]
    engine = own.engine
    path = f'{engine.names.state}/{case}.sock'
    options = {k: v.replace('SOCKET', path).replace('CERT', str(certificate / 'cert.pem')) for k, v in options.items()}
    options['tag'] = '{{.Name}}'
    tls = None
    if 'tls' in case:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate / 'cert.pem', certificate / 'key.pem')
    server = Server(engine, sort, where or path, decode, tls)
    # UDP tells that nobody listens, but not what a server that died had not read yet.
    over_udp = sort == 'datagram' and where
    if not over_udp:
        server.start()
    try:
        script = 'i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo out$i; [ $((i%100)) = 0 ] && echo err$i >&2; [ $((i%10)) = 0 ] && sleep 0.02; done'
        own.ok('run', '-d', '--name', 'talker', '--log-driver', kind, *(f'--log-opt={k}={v}' for k, v in options.items()), IMAGE, 'sh', '-c', script)
        if not over_udp:
            until(lambda: len(server.lines) > 20)
            server.stop()
        # Nobody waits for the server: the container comes to its end without it.
        assert own.ok('wait', 'talker') == '0'
        assert len(server.lines) < 300
        if case in ('syslog-tcp-rfc5424', 'fluentd-ack', 'gelf-udp-zlib'):
            engine.kill('gantryd')
            engine.start()
        server.start()

        def whole():
            texts = [t for _, _, t in server.lines]
            return {f'out{n}' for n in range(1, 301)} | {'err100', 'err200', 'err300'} <= set(texts)
        until(whole, 20, lambda: server.lines[-3:])
    finally:
        if server.socket:
            server.stop()
        own('rm', '-f', 'talker')
    outs = [int(t[3:]) for _, _, t in server.lines if t.startswith('out')]
    # In order, but for batches that were sent once more.
    assert list(dict.fromkeys(outs)) == list(range(1, 301)) and len(outs) < 900
    assert {tag for tag, _, _ in server.lines} == {'talker'}
    levels = {(t[:3], level) for _, level, t in server.lines}
    expected = {'syslog': {('out', 30), ('err', 27)}, 'gelf': {('out', 6), ('err', 3)}, 'fluentd': {('out', 'stdout'), ('err', 'stderr')}}
    assert levels == expected[kind]


@pytest.mark.only('gantry')
def test_attributes_and_long_lines(own):
    engine = own.engine
    server = Server(engine, 'datagram', INET, gelf_datagram).start()
    try:
        text = os.urandom(7500).hex()
        own.ok('run', '--rm', '--name', 'attributed', '--log-driver', 'gelf', '--log-opt', 'gelf-address=udp://127.0.0.1:15514', '--log-opt', 'labels=a,b',
               '--log-opt', 'env-regex=^MO', '--label', 'a=1', '--label', 'c=2', '-e', 'MODE=x', '-e', 'OTHER=y', IMAGE, 'echo', text)
        until(lambda: server.lines)
    finally:
        server.stop()
    message = server.last
    assert message['short_message'] == text and server.chunked
    assert (message['_a'], message['_MODE'], message['_container_name'], message['_image_name']) == ('1', 'x', 'attributed', IMAGE)
    assert '_c' not in message and '_OTHER' not in message and len(message['_container_id']) == 64


@pytest.mark.only('gantry')
def test_a_dead_server_holds_no_removal(own):
    own.ok('run', '--name', 'mute', '--log-driver', 'fluentd', IMAGE, 'echo', 'kept')
    assert own.ok('logs', 'mute') == 'kept'
    own.ok('rm', 'mute', timeout=30)
    assert [str(t) for t in own.engine.settled()] == []
