# SPDX-License-Identifier: Apache-2.0
"""Front ends that are images. What runs in the container is busybox: it hands its environment and its two streams to this process, which
then is the front end: it calls LLBBridge by what its test says."""
import json
import select
import socket
import tempfile
import threading

import grpc

from harness.buildkit import joined
from harness.engine import until
from harness.grpc_api import message, message_class

LABEL = 'moby.buildkit.frontend.caps=moby.buildkit.frontend.inputs,moby.buildkit.frontend.subrequests'


class Calls:
    """One front end that runs: its variables, its `connection`, and LLBBridge over it."""

    def __init__(self, environment, connection):
        self.environment, self.connection, self.channel = environment, connection, None
        self.options = dict(value.split('=', 1) for name, value in environment.items() if name.startswith('BUILDKIT_FRONTEND_OPT_'))

    def open(self):
        """HTTP/2 begins."""
        self.folder = tempfile.TemporaryDirectory(prefix='gt-fe-')
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f'{self.folder.name}/s')
        listener.listen(1)
        threading.Thread(target=lambda: joined(listener.accept()[0], self.connection), daemon=True).start()
        sizes = [('grpc.max_send_message_length', -1), ('grpc.max_receive_message_length', -1)]
        self.channel = grpc.insecure_channel(f'unix:{self.folder.name}/s', options=[('grpc.enable_retries', 0), ('grpc.use_local_subchannel_pool', 1), *sizes])
        return self

    def call(self, method, answer=None, **fields):
        request = message(f'moby.buildkit.v1.frontend.{method}Request', **fields)
        make = self.channel.unary_unary(f'/moby.buildkit.v1.frontend.LLBBridge/{method}', request_serializer=lambda m: m.SerializeToString(),
                                        response_deserializer=message_class(f'moby.buildkit.v1.frontend.{answer or method + "Response"}').FromString)
        return make.future(request, timeout=120)

    def solve(self, llb, result):
        """The name of what a definition makes."""
        return self.call('Solve', Definition=llb.done(result), allowResultReturn=True, allowResultArrayRef=True).result().result.ref.id

    def give(self, ref='', **metadata):
        self.call('Return', result={'ref': {'id': ref}, 'metadata': {name.replace('__', '.'): value for name, value in metadata.items()}}).result()

    def close(self):
        """The program's input ends, and so it does."""
        if self.channel is not None:
            self.channel.close()
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.connection.close()
        if self.channel is not None:
            self.folder.cleanup()


class Remote:
    """Where front ends connect to: an address of the engine's that containers reach."""

    def __init__(self, engine, client):
        address = json.loads(client.ok('network', 'inspect', 'bridge'))[0]['IPAM']['Config'][0]['Gateway']
        self.listeners = engine.within(lambda: [socket.create_server((address, 0)) for _ in range(2)])
        for listener in self.listeners:
            listener.settimeout(60)
        self.words = ' '.join(f'{one.getsockname()[0]} {one.getsockname()[1]}' for one in self.listeners)

    def script(self):
        """For `sh -c`."""
        address, first, _, second = self.words.split()
        return f'env | nc {address} {first}; nc {address} {second}'

    def accept(self, call=None):
        """The next one that comes. `call`: whose build it is; it fails when that does before."""
        if call is not None:
            until(lambda: select.select(self.listeners[:1], [], [], 0.1)[0] or call.done(), 60)
            assert not call.done(), call.exception()
        with self.listeners[0].accept()[0] as first:
            text = b''
            while piece := first.recv(1 << 16):
                text += piece
        return Calls(dict(line.split('=', 1) for line in text.decode().splitlines() if '=' in line), self.listeners[1].accept()[0])

    def close(self):
        for listener in self.listeners:
            listener.close()
