# SPDX-License-Identifier: Apache-2.0
"""A client of WebSockets (RFC 6455) over a unix socket, no more than the tests need."""
import base64
import hashlib
import os
import socket
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class WebSocket:
    def __init__(self, path, target):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(15)
        self.socket.connect(path)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f'GET {target} HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n'
                            f'Origin: http://localhost\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n'.encode())
        self.rest = b''
        while b'\r\n\r\n' not in self.rest:
            self.fill()
        head, _, self.rest = self.rest.partition(b'\r\n\r\n')
        self.head = head.decode()
        wanted = base64.b64encode(hashlib.sha1((key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').encode()).digest()).decode()
        assert self.head.startswith('HTTP/1.1 101 ') and f'Sec-WebSocket-Accept: {wanted}'.lower() in self.head.lower(), self.head

    def fill(self):
        piece = self.socket.recv(65536)
        if not piece:
            raise EOFError
        self.rest += piece

    def take(self, count):
        while len(self.rest) < count:
            self.fill()
        data, self.rest = self.rest[:count], self.rest[count:]
        return data

    def send(self, payload, opcode=BINARY, final=True):
        mask = os.urandom(4)
        size = len(payload)
        head = bytes([(0x80 if final else 0) | opcode])
        if size < 126:
            head += bytes([0x80 | size])
        else:
            head += bytes([0xfe]) + struct.pack('>H', size)
        self.socket.sendall(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def receive(self):
        """(opcode, payload) of the next frame."""
        first, second = self.take(2)
        assert first & 0xf0 == 0x80 and second & 0x80 == 0, (first, second)
        size = second
        if size == 126:
            size, = struct.unpack('>H', self.take(2))
        elif size == 127:
            size, = struct.unpack('>Q', self.take(8))
        return first & 0xf, self.take(size)

    def read_until(self, text):
        seen = b''
        while text not in seen:
            opcode, payload = self.receive()
            assert opcode == BINARY, (opcode, payload, seen)
            seen += payload
        return seen

    def close(self):
        self.socket.close()
