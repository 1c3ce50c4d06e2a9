# SPDX-License-Identifier: Apache-2.0
"""Drives a shim by its public seams alone: runtime v2's command line, the task service over ttrpc,
and the attach socket of docs/shim-io.md. Protobuf and ttrpc are encoded here by hand, so that a
fault of ours cannot hide on both sides."""
import contextlib
import json
import os
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(int(value)) if value else b''
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value if value else b''


def fields(data):
    out, at = {}, 0

    def read():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = read()
        if tag & 7 == 0:
            out[tag >> 3] = read()
        else:
            size = read()
            out[tag >> 3] = data[at:at + size]
            at += size
    return out


class ShimError(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Ttrpc:
    """One call at a time on one connection; use several for calls that wait."""

    def __init__(self, path, version=2):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        self.stream, self.service = 1, f'containerd.task.v{version}.Task'

    def send(self, method, payload=b'', service=''):
        request = field(1, service or self.service) + field(2, method) + field(3, payload)
        self.socket.sendall(struct.pack('>IIBB', len(request), self.stream, 1, 0) + request)
        self.stream += 2

    def call(self, method, payload=b'', service=''):
        self.send(method, payload, service)
        header = self.exactly(10)
        response = fields(self.exactly(struct.unpack('>I', header[:4])[0]))
        if 1 in response:
            status = fields(response[1])
            raise ShimError(status.get(1, 0), status.get(2, b'').decode())
        return fields(response.get(2, b''))

    def exactly(self, size):
        data = b''
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise EOFError('the connection was closed')
            data += more
        return data


class Attachment:
    FROM_NOW = 2 ** 64 - 1

    def __init__(self, path, streams=7, offset=0):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        self.socket.sendall(b'GIO1' + bytes([streams, 0, 0, 0]) + struct.pack('<Q', offset))
        answer = self.exactly(8)
        assert answer[:4] == b'GIO1', answer
        self.error = struct.unpack('<I', answer[4:])[0]

    def exactly(self, size):
        data = bytearray()
        while len(data) < size:
            more = self.socket.recv(min(size - len(data), 1 << 20))
            if not more:
                raise EOFError
            data += more
        return bytes(data)

    def send(self, data):
        self.socket.sendall(struct.pack('>BxxxI', 0, len(data)) + data)

    def end_stdin(self):
        self.send(b'')

    def frame(self):
        kind, size = struct.unpack('>BxxxI', self.exactly(8))
        return kind, self.exactly(size)

    def read_all(self):
        """stdout and stderr until the shim closes."""
        out = {1: bytearray(), 2: bytearray()}
        try:
            while True:
                kind, data = self.frame()
                out[kind] += data
        except EOFError:
            return bytes(out[1]), bytes(out[2])


class EventSink:
    """Stands for containerd's ttrpc socket: takes Forward and keeps (topic, event fields)."""

    def __init__(self, path):
        self.path, self.events, self.connections = path, [], []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def stop(self):
        """As the death of the daemon."""
        os.unlink(self.path)
        for one in [self.listener, *self.connections]:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def serve(self, connection):
        peer = Ttrpc.__new__(Ttrpc)
        peer.socket = connection
        try:
            while True:
                size, stream = struct.unpack('>IIxx', peer.exactly(10))
                request = fields(peer.exactly(size))
                envelope = fields(fields(request[3])[1])
                self.events.append((envelope[3].decode(), fields(fields(envelope[4])[2])))
                connection.sendall(struct.pack('>IIBB', 0, stream, 2, 0))
        except (EOFError, OSError):
            pass

    def topics(self):
        return [topic for topic, _ in self.events]

    def wait_for(self, topic, seconds=10):
        end = time.time() + seconds
        while topic not in self.topics():
            assert time.time() < end, f'no {topic} in {self.topics()}'
            time.sleep(0.002)


def bootstrap(shim, options=b'', socket_dir=''):
    """BootstrapParams, which containerd 2.3 and later write to `start`; `options`: an Any."""
    return (field(1, shim.id) + field(2, 'test') + field(4, '2.3.4') + field(5, shim.sink.path) + field(6, shim.daemon_socket) +
            (field(8, field(1, options)) if options else b'') + field(9, socket_dir))


# Of this run alone: several may go on at once.
CGROUP_PARENT = f'gantry-shim-test-{os.getpid()}'


def remove_cgroup_parent():
    """Fails when a container has left a cgroup."""
    for top in [Path('/sys/fs/cgroup'), *Path('/sys/fs/cgroup').iterdir()]:
        if (top / CGROUP_PARENT).is_dir():
            (top / CGROUP_PARENT).rmdir()


class Shim:
    """One shim with one container from a root directory, as containerd would have it. `beside`:
    another of the same daemon; `start_input`: what `start` reads, bytes or a function of this object;
    `inside`: that of a sandbox, whose shim gets this container without a `start`."""

    def __init__(self, binary, directory, rootfs, args, runtime='', env=None, terminal=False,
                 namespaces=('pid', 'ipc', 'uts', 'mount'), name='c1', annotations=None, resources=None,
                 beside=None, start_input=b'', inside=None):
        self.binary, self.directory, self.id = str(binary), Path(directory), name
        self.daemon_socket = beside.daemon_socket if beside else str(self.directory / 'd.sock')
        self.bundle = self.directory / 'bundles' / name  # a directory of this name is what Debian's shim looks for
        self.bundle.mkdir(parents=True)
        (self.bundle / 'rootfs').mkdir()
        self.runtime, self.terminal = runtime, terminal
        self.process = {
            'terminal': terminal, 'user': {'uid': 0, 'gid': 0}, 'args': list(args), 'cwd': '/',
            'env': ['PATH=/bin'], 'noNewPrivileges': True}
        config = {
            'ociVersion': '1.0.2', 'process': self.process,
            'root': {'path': str(rootfs)}, 'hostname': 'shim',
            'mounts': [
                {'destination': '/proc', 'type': 'proc', 'source': 'proc'},
                {'destination': '/dev', 'type': 'tmpfs', 'source': 'tmpfs',
                 'options': ['nosuid', 'mode=755']},
                {'destination': '/dev/pts', 'type': 'devpts', 'source': 'devpts',
                 'options': ['newinstance', 'ptmxmode=0666', 'mode=0620']}],
            'linux': {'namespaces': [{'type': kind} for kind in namespaces],
                      'resources': resources or {},
                      'cgroupsPath': f'/{CGROUP_PARENT}/{name}'},
            'annotations': annotations or {}}
        (self.bundle / 'config.json').write_text(json.dumps(config))
        self.sink = beside.sink if beside else EventSink(f'{self.daemon_socket}.ttrpc')
        self.socket_uri = self.directory / 'io'
        self.log = self.directory / 'out-json.log'
        # The daemon holds this end before the shim opens its own.
        os.mkfifo(self.bundle / 'log')
        self.shim_log = os.open(self.bundle / 'log', os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.env = dict(os.environ, TTRPC_ADDRESS=self.sink.path, **(env or {}))
        if inside:
            self.path, self.version, self.pid, self.rpc = inside.path, inside.version, inside.pid, Ttrpc(inside.path, inside.version)
            return
        self.answer = self.run_action('start', input=start_input(self) if callable(start_input) else start_input)
        address, self.version = self.endpoint()
        assert address.startswith('unix://'), self.answer
        self.path = address[7:]
        self.rpc = Ttrpc(self.path, self.version)
        self.pid = self.rpc.call('Connect', field(1, self.id))[1]

    def endpoint(self):
        """Address and version of the task service, from any of the three forms of the answer."""
        if self.answer[:1] == b'{':
            answer = json.loads(self.answer)
            return answer['address'], answer['version']
        if self.answer.startswith(b'unix:'):
            return self.answer.decode(), 2
        answer = fields(self.answer)
        return answer[2].decode(), answer[1]

    def run_action(self, action, input=b''):
        return subprocess.run(
            [self.binary, '-namespace', 'test', '-address', self.daemon_socket,
             '-publish-binary', '/bin/false', '-id', self.id, '-bundle', str(self.bundle), action], cwd=self.bundle,
            env=self.env, input=input, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if action == 'delete' else subprocess.STDOUT, timeout=20, check=True).stdout

    def uri(self, socket_path=None, log=True, **more):
        query = {'version': 1, **{k.replace('_', '-'): v for k, v in more.items()}}
        if log:
            query['log'] = self.log
        return f'gantry://{socket_path or self.socket_uri}?' + '&'.join(
            f'{key}={value}' for key, value in query.items())

    def overlay(self, lower, *options):
        """The root as an overlay over `lower`, as a snapshotter names it; config.json says rootfs."""
        for name in ('upper', 'work'):
            (self.directory / name).mkdir(exist_ok=True)
        config = json.loads((self.bundle / 'config.json').read_text())
        config['root'] = {'path': 'rootfs'}
        (self.bundle / 'config.json').write_text(json.dumps(config))
        options = [f'lowerdir={lower}', f'upperdir={self.directory}/upper',
                   f'workdir={self.directory}/work', *options]
        return field(3, field(1, 'overlay') + field(2, 'overlay') +
                     b''.join(field(4, option) for option in options))

    def options(self):
        options = field(6, self.runtime) + field(7, str(self.directory / 'runtime'))
        return field(1, 'containerd.runc.v1.Options') + field(2, options)

    def create_request(self, stdout=None, stdin='', stderr='', mounts=b''):
        stdout = self.uri() if stdout is None else stdout
        return (field(1, self.id) + field(2, str(self.bundle)) + mounts + field(4, int(self.terminal)) + field(5, stdin) +
                field(6, stdout) + field(7, stderr) + field(10, self.options()))

    def create(self, *arguments, **more):
        return self.rpc.call('Create', self.create_request(*arguments, **more))[1]

    def call(self, method, extra=b''):
        """About this container."""
        return self.rpc.call(method, field(1, self.id) + extra)

    def exec(self, exec_id, args, stdout, terminal=False, stdin='', stderr=''):
        # The request alone decides whether there is a terminal.
        process = dict(self.process, args=list(args), terminal=not terminal)
        spec = field(1, 'types.containerd.io/opencontainers/runtime-spec/1/Process') + \
            field(2, json.dumps(process))
        self.call('Exec', field(2, exec_id) + field(3, int(terminal)) + field(4, stdin) + field(5, stdout) +
                  field(6, stderr) + field(7, spec))

    def wait(self, exec_id='', seconds=20):
        rpc = Ttrpc(self.path, self.version)
        rpc.socket.settimeout(seconds)
        return rpc.call('Wait', field(1, self.id) + field(2, exec_id)).get(1, 0)

    def log_text(self, stream=None):
        # A reader may see a part of what one write(2) adds: the last line counts once it is whole.
        lines = self.log.read_text().splitlines(keepends=True)
        records = [json.loads(line) for line in lines if line.endswith('\n')]
        return ''.join(r['log'] for r in records if stream in (None, r['stream']))

    def close(self):
        for action in (lambda: self.call('Kill', field(3, 9)), self.wait,
                       lambda: self.call('Delete'), lambda: self.call('Shutdown', field(2, 1))):
            try:
                action()
            except (ShimError, EOFError, OSError):
                pass
        self.sink.listener.close()
        with contextlib.suppress(OSError):
            os.close(self.shim_log)
