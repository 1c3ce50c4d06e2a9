# SPDX-License-Identifier: Apache-2.0
"""gantry-containerd alone, and a gRPC client of its API made from protos/ by protoc."""
import contextlib
import hashlib
import importlib
import os
import queue
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import grpc

from . import places
from .engine import until
from traces import read

NAMESPACE = 'transfer'


class Messages:
    """Message classes by their proto's path: messages('types/transfer/registry').OCIRegistry."""
    folder = None

    def __call__(self, name):
        if Messages.folder is None:
            Messages.folder = tempfile.TemporaryDirectory(prefix='gt-protos-')
            protos = places.TREE / 'protos'
            files = [str(p) for p in protos.glob('containerd/**/*.proto')]
            subprocess.run(['protoc', f'-I{protos}', f'--python_out={Messages.folder.name}', *files], check=True,
                           stderr=subprocess.DEVNULL)
            sys.path.insert(0, Messages.folder.name)
        return importlib.import_module(f"containerd.{name.replace('/', '.')}_pb2")


messages = Messages()


def pack(message):
    from google.protobuf.any_pb2 import Any
    return Any(type_url=message.DESCRIPTOR.full_name, value=message.SerializeToString())


class Progress(list):
    """What a transfer reported; `count` by event."""

    def of(self, event):
        return [p for p in self if p.event == event]


class Client:
    def __init__(self, address, namespace=NAMESPACE):
        self.address, self.namespace = address, namespace
        self.channel = grpc.insecure_channel(f'unix:{address}', options=[('grpc.max_receive_message_length', 64 << 20)])

    def close(self):
        self.channel.close()

    def call(self, service, method, request, answer, timeout=60):
        rpc = self.channel.unary_unary(f'/containerd.services.{service}/{method}', request_serializer=lambda m: m.SerializeToString(),
                                       response_deserializer=answer.FromString)
        return rpc(request, timeout=timeout, metadata=[('containerd-namespace', self.namespace)])

    def stream(self, name, on_message):
        """A stream of the Streaming service. `on_message(any)` may return a message to send back."""
        from google.protobuf.any_pb2 import Any
        out = queue.Queue()
        out.put(pack(messages('services/streaming/v1/streaming').StreamInit(id=name)))
        rpc = self.channel.stream_stream('/containerd.services.streaming.v1.Streaming/Stream', request_serializer=lambda m: m.SerializeToString(),
                                         response_deserializer=Any.FromString)
        answers = rpc(iter(out.get, None), metadata=[('containerd-namespace', self.namespace)])
        next(answers)  # the acknowledgement

        def follow():
            with contextlib.suppress(grpc.RpcError):
                for any_message in answers:
                    reply = on_message(any_message)
                    if reply is not None:
                        out.put(pack(reply))
        thread = threading.Thread(target=follow, daemon=True)
        thread.start()

        def end():
            out.put(None)
            thread.join(10)
            answers.cancel()
        return end

    def transfer(self, source, destination, on_progress=None, credentials=None, timeout=120):
        """Runs one transfer; returns its progress. `credentials`: (user, secret), or ('', token) for a refresh token; asked
        for by the daemon. The RpcError of a failure goes up. `on_progress(message)` may cancel by raising."""
        from google.protobuf.empty_pb2 import Empty
        api, registry = messages('services/transfer/v1/transfer'), messages('types/transfer/registry')
        progress_type = messages('types/transfer/progress').Progress
        seen, ends, unique = Progress(), [], f'{os.getpid()}-{time.monotonic_ns()}'
        request = api.TransferRequest()
        rpc = self.channel.unary_unary('/containerd.services.transfer.v1.Transfer/Transfer', request_serializer=lambda m: m.SerializeToString(),
                                       response_deserializer=Empty.FromString)
        call = None

        def progressed(message):
            step = progress_type.FromString(message.value)
            seen.append(step)
            if on_progress and on_progress(step) == 'cancel':
                call.cancel()

        def asked(message):
            self.asked = registry.AuthRequest.FromString(message.value)
            user, secret = credentials
            return registry.AuthResponse(authType=registry.CREDENTIALS if user else registry.REFRESH, username=user, secret=secret)
        try:
            if credentials:
                side = source if isinstance(source, registry.OCIRegistry) else destination
                side.resolver.auth_stream = f'auth-{unique}'
                ends.append(self.stream(side.resolver.auth_stream, asked))
            request.options.progress_stream = f'progress-{unique}'
            ends.append(self.stream(request.options.progress_stream, progressed))
            request.source.CopyFrom(pack(source))
            request.destination.CopyFrom(pack(destination))
            call = rpc.future(request, timeout=timeout, metadata=[('containerd-namespace', self.namespace)])
            call.result()
        finally:
            for end in ends:
                end()
        return seen

    def pull(self, reference, hosts='', name='', platform='amd64', unpack='overlayfs', all_platforms=False, **options):
        registry, store = messages('types/transfer/registry').OCIRegistry(reference=reference), messages('types/transfer/imagestore').ImageStore(name=name)
        registry.resolver.host_dir = hosts
        if not all_platforms:
            store.platforms.add(os='linux', architecture=platform)
        if unpack:
            into = store.unpacks.add(snapshotter=unpack)
            into.platform.os, into.platform.architecture = 'linux', platform
        return self.transfer(registry, store, **options)

    def push(self, name, reference, hosts='', platform='', **options):
        registry, store = messages('types/transfer/registry').OCIRegistry(reference=reference), messages('types/transfer/imagestore').ImageStore(name=name)
        registry.resolver.host_dir = hosts
        if platform:
            store.platforms.add(os='linux', architecture=platform)
        return self.transfer(store, registry, **options)

    def tag(self, name, new_name):
        store = messages('types/transfer/imagestore').ImageStore
        return self.transfer(store(name=name), store(name=new_name))

    def target(self, name):
        images = messages('services/images/v1/images')
        return self.call('images.v1.Images', 'Get', images.GetImageRequest(name=name), images.GetImageResponse).image.target

    def remove(self, name):
        from google.protobuf.empty_pb2 import Empty
        images = messages('services/images/v1/images')
        self.call('images.v1.Images', 'Delete', images.DeleteImageRequest(name=name, sync=True), Empty)


class Containerd:
    """The daemon with directories and a socket of its own."""

    def __init__(self, number=0, arguments=()):
        self.names = places.Names('d', number)
        self.root, self.address = Path(self.names.root), f'{self.names.state}/c.sock'
        self.log, self.arguments = Path(f'/tmp/gt-{self.names.token}.log'), list(arguments)
        self.process = self.client = None

    def command(self, *more):
        return [str(places.BIN / 'gantry-containerd'), *more, '--root', self.names.root, '--state', f'{self.names.state}/containerd',
                '--address', self.address, '--pid-file', f'{self.names.state}/pid', *self.arguments]

    def start(self):
        os.makedirs(self.names.state, 0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.address)
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

        def ready():
            assert self.process.poll() is None, read(self.log)[-2000:]
            return os.path.exists(self.address)
        until(ready, 20, f'gantry-containerd does not serve: {read(self.log)[-2000:]}')
        self.client = Client(self.address)
        grpc.channel_ready_future(self.client.channel).result(20)
        return self

    def end(self, how=signal.SIGTERM):
        if self.process is None:
            return
        if self.client:
            self.client.close()
        self.process.send_signal(how)
        self.process.wait(20)
        self.process = self.client = None

    def restart(self, how=signal.SIGKILL):
        self.end(how)
        return self.start()

    def destroy(self):
        self.end()
        for folder in (self.names.state, self.names.root):
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.log.unlink()

    def ctr(self, *arguments, program='ctr', check=True, timeout=120):
        done = subprocess.run([program, '-a', self.address, '-n', NAMESPACE, *map(str, arguments)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)
        assert not check or done.returncode == 0, f'ctr {arguments}: {done.stderr}'
        return done

    # What is on disk, read without asking the daemon.
    def rows(self, query):
        with contextlib.closing(sqlite3.connect(f'file:{self.root}/meta.db?mode=ro', uri=True, timeout=10)) as database:
            return database.execute(query).fetchall()

    def blobs(self):
        return {p.name for p in (self.root / 'content/blobs/sha256').glob('*')}

    def ingests(self):
        return {p.name: read(p / 'ref') for p in (self.root / 'content/ingest').glob('*')}

    def snapshots(self, snapshotter='overlayfs'):
        """Key to directory of its files."""
        rows = self.rows(f"SELECT key, number FROM snapshots WHERE snapshotter = '{snapshotter}'")
        return {key: self.root / f'snapshots/{snapshotter}/{number}/fs' for key, number in rows}

    def damaged(self):
        """Blobs whose name is not their digest. One that is collected meanwhile is none."""
        def digest(name):
            with contextlib.suppress(FileNotFoundError):
                return hashlib.sha256((self.root / 'content/blobs/sha256' / name).read_bytes()).hexdigest()
            return name
        return [n for n in self.blobs() if digest(n) != n]

    def left(self):
        """Everything that a daemon without images and leases still keeps."""
        found = [f'blob {b}' for b in self.blobs()] + [f'ingest {i}' for i in self.ingests().values()]
        found += [f'record of {t}' for t in ('content', 'images', 'snapshots', 'leases') for _ in self.rows(f'SELECT 1 FROM {t}')]
        found += [str(p) for p in (self.root / 'snapshots').glob('*/[0-9]*')] + [str(p) for p in (self.root / 'trash').glob('*')]
        return found

    def settled(self, seconds=15):
        with contextlib.suppress(TimeoutError):
            until(lambda: not self.left(), seconds)
        return self.left()
