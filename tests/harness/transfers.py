# SPDX-License-Identifier: Apache-2.0
"""gantry-containerd alone, and what its clients do that pull and push."""
import contextlib
import hashlib
import os
import queue
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import grpc

from . import places
from .engine import left_after, until
from .grpc_api import Api, message, message_class, packed
from .registry import GantryRegistry
from traces import read

NAMESPACE = 'transfer'
TRANSFER = 'containerd.types.transfer.'


class Progress(list):
    """What a transfer reported; `count` by event."""

    def of(self, event):
        return [p for p in self if p.event == event]


class Client(Api):
    """The calls of a client that pulls and pushes."""

    def __init__(self, address, namespace=NAMESPACE):
        super().__init__(address, namespace)

    def stream(self, name, on_message):
        """A stream of the Streaming service. `on_message(any)` may return a message to send back."""
        out = queue.Queue()
        out.put(packed(message('containerd.services.streaming.v1.StreamInit', id=name)))
        answers = self.open('Streaming/Stream', iter(out.get, None), timeout=None)
        next(answers)  # the acknowledgement

        def follow():
            with contextlib.suppress(grpc.RpcError):
                for any_message in answers:
                    reply = on_message(any_message)
                    if reply is not None:
                        out.put(packed(reply))
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
        seen, ends, unique = Progress(), [], f'{os.getpid()}-{time.monotonic_ns()}'
        call, options = None, {'progress_stream': f'progress-{unique}'}

        def progressed(any_message):
            step = message_class(TRANSFER + 'Progress').FromString(any_message.value)
            seen.append(step)
            if on_progress and on_progress(step) == 'cancel':
                call.cancel()

        def asked(any_message):
            self.asked = message_class(TRANSFER + 'AuthRequest').FromString(any_message.value)
            user, secret = credentials
            credentials_type, refresh_type = 1, 2
            return message(TRANSFER + 'AuthResponse', authType=credentials_type if user else refresh_type, username=user, secret=secret)
        try:
            if credentials:
                side = source if source.DESCRIPTOR.name == 'OCIRegistry' else destination
                side.resolver.auth_stream = f'auth-{unique}'
                ends.append(self.stream(side.resolver.auth_stream, asked))
            ends.append(self.stream(options['progress_stream'], progressed))
            stub, found, _ = self.stub('Transfer/Transfer')
            request = message(found.input_type.full_name, source=packed(source), destination=packed(destination), options=options)
            call = stub.future(request, timeout=timeout, metadata=self.metadata())
            call.result()
        finally:
            for end in ends:
                end()
        return seen

    @staticmethod
    def registry(reference, hosts):
        return message(TRANSFER + 'OCIRegistry', reference=reference, resolver={'host_dir': hosts})

    @staticmethod
    def store(name, **fields):
        return message(TRANSFER + 'ImageStore', name=name, **fields)

    def pull(self, reference, hosts='', name='', platform='amd64', unpack='overlayfs', all_platforms=False, **options):
        wanted = {'os': 'linux', 'architecture': platform}
        store = self.store(name, platforms=[] if all_platforms else [wanted],
                           unpacks=[{'snapshotter': unpack, 'platform': wanted}] if unpack else [])
        return self.transfer(self.registry(reference, hosts), store, **options)

    def push(self, name, reference, hosts='', platforms=(), **options):
        store = self.store(name, platforms=[{'os': 'linux', 'architecture': p} for p in platforms])
        return self.transfer(store, self.registry(reference, hosts), **options)

    def tag(self, name, new_name):
        return self.transfer(self.store(name), self.store(new_name))

    def target(self, name):
        return self('Images/Get', name=name).image.target

    def remove(self, name):
        self('Images/Delete', name=name, sync=True, timeout=60)


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
        return left_after(self.left, seconds)


class StoreRegistry(GantryRegistry):
    """The registry over a container daemon's store, which is there for it alone."""
    alive = set()

    def __init__(self, *arguments, **options):
        # Several may live at once, beside daemons that tests start themselves.
        self.number = next(number for number in range(18, 26) if number not in StoreRegistry.alive)
        StoreRegistry.alive.add(self.number)
        self.daemon = Containerd(self.number).start()
        super().__init__(*arguments, **options)

    def places(self):
        return ['--store', '--writable', '--containerd', self.daemon.address, '--namespace', NAMESPACE]

    def destroy(self):
        super().destroy()
        self.daemon.destroy()
        StoreRegistry.alive.remove(self.number)
