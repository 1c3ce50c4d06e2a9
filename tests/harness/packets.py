# SPDX-License-Identifier: Apache-2.0
"""Real packets between network namespaces, from the test's own process: a socket belongs to the
namespace that its thread was in when it was made, wherever it is used afterwards."""
import concurrent.futures
import contextlib
import ctypes
import os
import selectors
import socket
import struct
import subprocess
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
SECONDS = 0.4  # for an answer; a cable of the test takes microseconds


def run(*command, space=None, check=True):
    """A program inside a namespace given by its path."""
    inside = ['nsenter', f'--net={space}'] if space else []
    return subprocess.run([*inside, *command], check=check, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60).stdout


def socket_in(space, *arguments):
    """socket.socket(...) of the namespace at that path."""
    def make():
        with open(space) as entry:
            if LIBC.setns(entry.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f'setns {space}')
        made.append(socket.socket(*arguments))
    made = []
    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


def family(address):
    return socket.AF_INET6 if ':' in address else socket.AF_INET


class Servers:
    """Answers everything that comes in at the sockets it was given with: who it is, whom it sees."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.wake, self.waker = socket.socketpair()
        self.selector.register(self.wake, selectors.EVENT_READ, None)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.over = False
        self.thread.start()

    def listen(self, space, name, tcp=(), udp=(), host='0.0.0.0'):
        for kind, ports in ((socket.SOCK_STREAM, tcp), (socket.SOCK_DGRAM, udp)):
            for port in ports:
                sock = socket_in(space, family(host), kind)
                if ':' in host:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((host, port))
                if kind == socket.SOCK_STREAM:
                    sock.listen(64)
                self.selector.register(sock, selectors.EVENT_READ, name)
        self.waker.send(b'.')

    def serve(self):
        while not self.over:
            for key, _ in self.selector.select():
                sock = key.fileobj
                if key.data is None:
                    sock.recv(100)
                elif sock.type == socket.SOCK_DGRAM:
                    _, peer = sock.recvfrom(1000)
                    with contextlib.suppress(OSError):
                        sock.sendto(f'{key.data} {peer[0]}'.encode(), peer)
                else:
                    connection, peer = sock.accept()
                    with contextlib.suppress(OSError):
                        connection.sendall(f'{key.data} {peer[0]}'.encode())
                    connection.close()

    def close(self):
        self.over = True
        self.waker.send(b'.')
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()


def ask(space, protocol, address, port, seconds=SECONDS):
    """'NAME ADDRESS' (who answered, whom it saw), 'refused', or 'no'."""
    with contextlib.closing(socket_in(space, family(address), socket.SOCK_STREAM if protocol == 'tcp' else socket.SOCK_DGRAM)) as sock:
        sock.settimeout(seconds)
        try:
            sock.connect((address, port))
            if protocol == 'udp':
                sock.send(b'ask')
            return sock.recv(1000).decode() or 'cut'
        except ConnectionError:
            return 'refused'
        except OSError:
            return 'no'


def checksum(data):
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff


def ping(space, address, seconds=SECONDS):
    """'yes' or 'no'."""
    v6 = ':' in address
    protocol = socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP
    mark = os.urandom(16)
    ask_type, answer_type = (128, 129) if v6 else (8, 0)
    message = struct.pack('!BBHHH', ask_type, 0, 0, 1, 1) + mark
    if not v6:
        message = struct.pack('!BBHHH', ask_type, 0, checksum(message), 1, 1) + mark
    with contextlib.closing(socket_in(space, family(address), socket.SOCK_RAW, protocol)) as sock:
        sock.settimeout(seconds)
        try:
            sock.sendto(message, (address, 0))
            while True:
                data = sock.recv(2000)
                data = data if v6 else data[(data[0] & 15) * 4:]
                if data[0] == answer_type and data[8:] == mark:
                    return 'yes'
        except OSError:
            return 'no'


SCTP = 132
SCTP_INIT, SCTP_INIT_ACK = 1, 2


def crc32c(data):
    """RFC 9260, appendix A."""
    value = 0xffffffff
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
    return value ^ 0xffffffff


def sctp_packet(source, destination, tag, kind):
    """An INIT or an INIT ACK (RFC 9260, section 3.3): ten streams each way, initiate tag 7; the ACK with a cookie."""
    cookie = struct.pack('!HH4s', 7, 8, b'tast') if kind == SCTP_INIT_ACK else b''
    chunk = struct.pack('!BBHIIHHI', kind, 0, 20 + len(cookie), 7, 65536, 10, 10, 1) + cookie
    head = struct.pack('!HHI', source, destination, tag)
    return head + struct.pack('<I', crc32c(head + bytes(4) + chunk)) + chunk


class SctpPeer:
    """An end that answers INIT by INIT ACK, in raw packets: for kernels that have no sctp sockets. It writes down
    (whom it saw, the port that was asked, whether the checksum was right)."""

    def __init__(self, space, address='0.0.0.0'):
        self.sock = socket_in(space, family(address), socket.SOCK_RAW, SCTP)
        self.v6 = ':' in address
        self.sock.settimeout(0.1)
        self.seen, self.over = [], False
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while not self.over:
            with contextlib.suppress(TimeoutError):
                data, peer = self.sock.recvfrom(2000)
                data = data if self.v6 else data[(data[0] & 15) * 4:]
                source, destination, tag = struct.unpack('!HHI', data[:8])
                if data[12] != SCTP_INIT:
                    continue
                right = data[8:12] == struct.pack('<I', crc32c(data[:8] + bytes(4) + data[12:])) and tag == 0
                self.seen.append((peer[0], destination, right))
                with contextlib.suppress(OSError):
                    self.sock.sendto(sctp_packet(destination, source, 7, SCTP_INIT_ACK), (peer[0], 0))

    def close(self):
        self.over = True
        self.thread.join()
        self.sock.close()


def ask_sctp(space, address, port, seconds=SECONDS):
    """'yes' when an INIT to that place is answered from there, 'no' when nothing comes."""
    own = struct.unpack('!H', os.urandom(2))[0] | 0x8000
    with contextlib.closing(socket_in(space, family(address), socket.SOCK_RAW, SCTP)) as sock:
        deadline = time.monotonic() + seconds
        try:
            sock.sendto(sctp_packet(own, port, 0, SCTP_INIT), (address, 0))
            while True:
                sock.settimeout(max(deadline - time.monotonic(), 0.001))
                data, peer = sock.recvfrom(2000)
                data = data if ':' in address else data[(data[0] & 15) * 4:]
                if peer[0] == address and data[:4] == struct.pack('!HH', port, own) and data[12] == SCTP_INIT_ACK:
                    return 'yes'
        except OSError:
            return 'no'


def together(calls):
    """The results of these calls, made side by side: most of them wait for packets that never come."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=64) as pool:
        return list(pool.map(lambda call: call(), calls))


@contextlib.contextmanager
def other_host(space, name, network='192.0.2', link='cable'):
    """A second host, joined to `space` by a cable: NETWORK.1 here, NETWORK.2 there. Its path."""
    run('ip', 'netns', 'add', name)
    path = f'/run/netns/{name}'
    try:
        run('ip', 'link', 'add', link, 'type', 'veth', 'peer', 'name', link, 'netns', name, space=space)
        for end, address in ((space, f'{network}.1/24'), (path, f'{network}.2/24')):
            run('ip', 'addr', 'add', address, 'dev', link, space=end)
            run('ip', 'link', 'set', link, 'up', space=end)
        run('ip', 'link', 'set', 'lo', 'up', space=path)
        yield path
    finally:
        run('ip', 'link', 'del', link, space=space, check=False)
        run('ip', 'netns', 'del', name)
