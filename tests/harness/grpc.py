# SPDX-License-Identifier: Apache-2.0
"""Unary calls to a container daemon, thousands of them: gRPC by hand over HTTP/2, so that neither our own
client nor a process a call stands between. What the server's headers say is not read: an answer without a
message is a refusal."""
import os
import re
import socket
import struct

from .shim import field, fields

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1


class Refused(Exception):
    """The daemon answered with an error."""


class Lost(Exception):
    """The connection ended: whether the call was done is unknown."""


def header(name, value):
    """HPACK: a literal that nobody remembers."""
    return b'\0' + b''.join(bytes([len(part)]) + part for part in (name.encode(), value.encode()))


class Grpc:
    def __init__(self, path, space, timeout=60):
        self.space, self.stream = space, -1
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(path)
            self.socket.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + self.frame(SETTINGS, 0, 0, b''))
        except OSError as error:
            self.socket.close()
            raise Lost(str(error)) from None

    @staticmethod
    def frame(kind, flags, stream, payload):
        return struct.pack('>I', len(payload))[1:] + bytes([kind, flags]) + struct.pack('>I', stream) + payload

    def call(self, method, request=b''):
        """'containers.v1.Containers/Get' and a message; the answer's fields."""
        try:
            return fields(self.exchange(method, request))
        except OSError as error:
            raise Lost(str(error)) from None

    def exchange(self, method, request):
        self.stream += 2
        block = b''.join(header(*h) for h in ((':method', 'POST'), (':scheme', 'http'), (':path', f'/containerd.services.{method}'), (':authority', 'localhost'),
                                              ('te', 'trailers'), ('content-type', 'application/grpc'), ('containerd-namespace', self.space)))
        body = b'\0' + struct.pack('>I', len(request)) + request
        self.socket.sendall(self.frame(HEADERS, END_HEADERS, self.stream, block) + self.frame(DATA, END_STREAM, self.stream, body))
        message, said = b'', b''
        while True:
            size = self.exactly(9)
            payload = self.exactly(int.from_bytes(size[:3], 'big'))
            kind, flags, stream = size[3], size[4], int.from_bytes(size[5:], 'big') & 0x7fffffff
            if kind in (SETTINGS, PING) and not flags & ACK:
                self.socket.sendall(self.frame(kind, ACK, 0, payload if kind == PING else b''))
            elif kind == GOAWAY:
                raise Lost('the daemon goes away')
            elif kind == DATA and stream == self.stream:
                message += payload
                if payload:
                    self.socket.sendall(self.frame(WINDOW, 0, 0, struct.pack('>I', len(payload))) +
                                        self.frame(WINDOW, 0, stream, struct.pack('>I', len(payload))))
            elif kind in (HEADERS, RESET) and stream == self.stream:
                said += payload
                if kind == RESET or flags & END_STREAM:
                    break
        if not message:
            raise Refused(f'{method}: ' + re.sub(rb'[^ -~]+', b' ', said).decode())
        return message[5:]

    def exactly(self, size):
        data = b''
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise Lost('the connection was closed')
            data += more
        return data

    def close(self):
        self.socket.close()


CREATED, RUNNING, STOPPED = 1, 2, 3


class Tasks:
    """What a client of the daemon does with containers and tasks, through one connection that is made
    again when it was lost."""

    def __init__(self, daemon, space, runtime=''):
        self.daemon, self.space, self.runtime, self.grpc = daemon, space, runtime or 'io.containerd.runc.v2', None

    def call(self, method, request=b''):
        if self.grpc is None:
            self.grpc = Grpc(self.daemon.containerd_socket, self.space)
        try:
            return self.grpc.call(method, request)
        except Lost:
            self.close()
            raise

    def close(self):
        if self.grpc:
            self.grpc.close()
        self.grpc = None

    def make(self, name, spec, options=b''):
        runtime = field(1, self.runtime) + (field(2, options) if options else b'')
        any_spec = field(1, 'types.containerd.io/opencontainers/runtime-spec/1/Spec') + field(2, spec)
        return self.call('containers.v1.Containers/Create', field(1, field(1, name) + field(4, runtime) + field(5, any_spec)))

    def remove(self, name):
        self.call('containers.v1.Containers/Delete', field(1, name))

    def create(self, name):
        return self.call('tasks.v1.Tasks/Create', field(1, name)).get(2)

    def start(self, name, exec_id=''):
        return self.call('tasks.v1.Tasks/Start', field(1, name) + field(2, exec_id)).get(1)

    def wait(self, name, exec_id=''):
        return self.call('tasks.v1.Tasks/Wait', field(1, name) + field(2, exec_id)).get(1, 0)

    def delete(self, name):
        return self.call('tasks.v1.Tasks/Delete', field(1, name)).get(3, 0)

    def kill(self, name, signal):
        self.call('tasks.v1.Tasks/Kill', field(1, name) + field(3, signal))

    def exec(self, name, exec_id, process):
        spec = field(1, 'types.containerd.io/opencontainers/runtime-spec/1/Process') + field(2, process)
        self.call('tasks.v1.Tasks/Exec', field(1, name) + field(6, spec) + field(7, exec_id))

    def delete_exec(self, name, exec_id):
        return self.call('tasks.v1.Tasks/DeleteProcess', field(1, name) + field(2, exec_id)).get(3, 0)

    def state(self, name):
        """(status, exit code, pid)."""
        process = fields(self.call('tasks.v1.Tasks/Get', field(1, name))[1])
        return process.get(4), process.get(9, 0), process.get(3, 0)


def memory(pid):
    """PSS in bytes."""
    with open(f'/proc/{pid}/smaps_rollup') as file:
        return int(re.search(r'^Pss: *(\d+) kB', file.read(), re.M).group(1)) * 1024


def threads(pid):
    return len(os.listdir(f'/proc/{pid}/task'))
