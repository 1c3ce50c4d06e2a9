# SPDX-License-Identifier: Apache-2.0
"""Private engines for the tests: gantry's stack, and Debian's dockerd as the peer.

Each runs in a network namespace of its own, with its own directories, sockets and cgroup parent, so
that any number of them live side by side, and everything that is left in that namespace at the end
is a leak."""
import contextlib
import ctypes
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import threading
import time
from pathlib import Path

from . import places
from traces import StackTraces, Trace, end, owned_pid, read, stop_stack


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__('localhost', timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(engine, method, path, body=None, headers=None, status=200):
    """A request whose answer has that status: its JSON, or None."""
    got, text, _ = engine.api(method, path, json.dumps(body) if isinstance(body, dict) else body, headers)
    assert got == status, (method, path, got, text)
    return json.loads(text) if text.strip() else None


def until(condition, seconds=60, what=None):
    """Polls until the condition is true and returns its value; a TimeoutError after the bound."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(what or f'not so within {seconds} s')
        time.sleep(0.01)


def left_after(find, seconds=60):
    """Polls until `find` finds nothing; what it found last, once the bound is over."""
    with contextlib.suppress(TimeoutError):
        until(lambda: not find(), seconds)
        return []
    return find()


class Engine:
    """What both have: an Engine API socket in a private network namespace."""
    kind = ''

    def __init__(self, number=0):
        self.names = places.Names(self.kind, number)
        self.socket = ''
        self.containerd_socket = ''
        self.log = Path(f'/tmp/gt-{self.names.token}.log')

    @property
    def host(self):
        return f'unix://{self.socket}'

    def make_places(self):
        names = self.names
        os.makedirs(names.state, 0o700, exist_ok=True)
        os.makedirs(names.root, 0o700, exist_ok=True)
        if not os.path.exists(names.netns):
            subprocess.run(['ip', 'netns', 'add', names.netns_name], check=True)
            self.inside('ip', 'link', 'set', 'lo', 'up')

    def inside(self, *command, check=True, **options):
        """Runs a command in the engine's network namespace."""
        return subprocess.run(['nsenter', f'--net={self.names.netns}', *command], check=check,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, **options)

    def within(self, work):
        """What `work` returns, run in a thread that has entered the engine's network namespace: what it listens on, the engine reaches."""
        result = []

        def run():
            with open(self.names.netns) as space:
                assert ctypes.CDLL(None, use_errno=True).setns(space.fileno(), 0x40000000) == 0
            result.append(work())
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(30)
        return result[0]

    def spawn(self, command, **environment):
        with open(self.log, 'ab') as log:
            return subprocess.Popen(['nsenter', f'--net={self.names.netns}', *command], stdin=subprocess.DEVNULL,
                                    stdout=log, stderr=log, start_new_session=True, env={**os.environ, **environment})

    def api(self, method, path, body=None, headers=None, timeout=30):
        """One request; returns (status, body as bytes, headers)."""
        connection = UnixConnection(self.socket, timeout)
        with contextlib.closing(connection):
            if body is not None and not headers:
                headers = {'Content-Type': 'application/json'}
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers

    def hijack(self, path, body=None, upgrade='tcp', headers=''):
        """A POST whose connection becomes a stream: (socket, status line and head, first bytes)."""
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(15)
        stream.connect(self.socket)
        data = json.dumps(body).encode() if body is not None else b''
        if upgrade:
            headers += f'Connection: Upgrade\r\nUpgrade: {upgrade}\r\n'
        if data:
            headers += 'Content-Type: application/json\r\n'
        stream.sendall(f'POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(data)}\r\n\r\n'.encode() + data)
        text = b''
        while b'\r\n\r\n' not in text:
            piece = stream.recv(65536)
            if not piece:
                break
            text += piece
        head, _, rest = text.partition(b'\r\n\r\n')
        return stream, head.decode(), rest

    def load_image(self):
        """dockerd 20.10 reads no plain OCI archive, so the same root goes in through import."""
        archive = io.BytesIO()
        applets = subprocess.run(['/bin/busybox', '--list'], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
        with tarfile.open(fileobj=archive, mode='w') as tar:
            for name, mode in (('bin', 0o755), ('etc', 0o755), ('tmp', 0o1777), ('root', 0o700), ('proc', 0o555), ('sys', 0o555),
                               ('dev', 0o755), ('var', 0o755), ('usr', 0o755), ('home', 0o755)):
                item = tarfile.TarInfo(name)
                item.type, item.mode = tarfile.DIRTYPE, mode
                tar.addfile(item)
            tar.add('/bin/busybox', 'bin/busybox')
            for applet in applets:
                if applet != 'busybox':
                    item = tarfile.TarInfo(f'bin/{applet}')
                    item.type, item.linkname = tarfile.SYMTYPE, 'busybox'
                    tar.addfile(item)
            for name, text in (('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n'),
                               ('etc/group', 'root:x:0:\nnogroup:x:65534:\n')):
                item = tarfile.TarInfo(name)
                item.size = len(text)
                tar.addfile(item, io.BytesIO(text.encode()))
        status, body, _ = self.api('POST', '/images/create?fromSrc=-&repo=gantry/busybox&tag=latest&changes=CMD%20%5B%22sh%22%5D',
                                   body=archive.getvalue(), headers={'Content-Type': 'application/x-tar'})
        assert status == 200, body

    def forget_other_images(self):
        """Those that tests before have left, for tests that count images."""
        for image in json.loads(self.api('GET', '/images/json?all=1')[1]):
            if places.IMAGE not in (image['RepoTags'] or []):
                self.api('DELETE', f"/images/{image['Id']}?force=1")

    def answers(self):
        try:
            return self.api('GET', '/_ping', timeout=5)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait_for_answer(self, process, seconds=120):
        def ready():
            if process.poll() is not None and not self.answers():
                raise RuntimeError(f'{process.args[2]} ended with {process.returncode}: {self.log_end()}')
            return self.answers()
        until(ready, seconds, f'{self.kind} does not answer: {self.log_end()}')

    def log_end(self):
        return read(self.log)[-2000:]


class Stack(Engine):
    """gantryd, which starts and supervises gantry-containerd."""
    kind = 's'

    def __init__(self, number=0, arguments=()):
        super().__init__(number)
        self.socket = f'{self.names.state}/gantry.sock'
        self.containerd_socket = f'{self.names.state}/containerd.sock'
        self.arguments = list(arguments)
        self.binaries = places.BIN
        self.subnet = ['--subnet', '10.213.0.0/16']  # of the default bridge
        self.process = None
        names = self.names
        self.traces = StackTraces(state=names.state, root=names.root, bridge=names.bridge,
                                  cgroup_parent=names.cgroup_parent, netns=names.netns)

    def start(self):
        names = self.names
        self.make_places()
        self.process = self.spawn([str(self.binaries / 'gantryd'), '--root', names.root, '--state', names.state,
                                   '-H', self.host, '--bridge', names.bridge, *self.subnet,
                                   '--cgroup-parent', names.cgroup_parent, *self.arguments])
        self.wait_for_answer(self.process)
        return self

    def pid(self, daemon):
        return owned_pid(f'{self.names.state}/{daemon}.pid')

    def kill(self, *daemons):
        """kill -9 by pid file; gantryd's own process is reaped, so that its pid is really free."""
        handles = []
        for daemon in daemons:
            pid = self.pid(daemon)
            if pid:
                with contextlib.suppress(OSError):
                    handle = os.pidfd_open(pid)
                    handles.append(handle)
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
        if 'gantryd' in daemons and self.process:
            self.process.wait(10)
        import select
        for handle in handles:
            select.select([handle], [], [], 10)
            os.close(handle)

    def stop(self):
        """Ends gantryd alone; containers and gantry-containerd live on."""
        pid = self.pid('gantryd')
        if pid:
            end(pid, signal.SIGTERM, 20)
        if self.process:
            self.process.wait(10)

    def restart(self):
        self.stop()
        return self.start()

    def leaks(self, removed_all=False):
        """What is there once all containers are gone but the daemons live: nothing but daemons,
        their bridge and table. `removed_all`: images are gone too, so are their files."""
        daemons = {self.pid(d) for d in ('gantryd', 'gantry-containerd', 'gantry-proxy')}
        found = [t for t in self.traces.find(every=True)
                 if not (t.pid in daemons and t.pid) and t.kind not in ('nft',) and t.what != self.names.bridge
                 and not (t.kind == 'cgroup' and t.what.endswith(self.names.cgroup_parent))]
        return found + list(self.file_leaks(removed_all))

    def file_leaks(self, removed_all):
        state, root = Path(self.names.state), Path(self.names.root)
        patterns = [(state, p) for p in ('netns/*', 'mounts/*', 'volumes/*', 'io/*/*', 's/*', 'runtime/*/*',
                                         'containerd/io.containerd.runtime.v2.task/*/*')]
        patterns += [(root, p) for p in ('containers/*', 'engine/trash/*', 'volumes/.new/*', 'containerd/trash/*',
                                         'containerd/io.containerd.runtime.v2.task/*/*')]
        if removed_all:
            patterns += [(root, p) for p in ('containerd/content/blobs/sha256/*', 'containerd/content/ingest/*',
                                             'containerd/snapshots/*/[0-9]*')]
        for top, pattern in patterns:
            for path in sorted(top.glob(pattern)):
                yield Trace('file', str(path))

    def settled(self, seconds=15, removed_all=False):
        """Waits for background clean-up, bounded; returns what is left then."""
        return left_after(lambda: self.leaks(removed_all), seconds)

    def destroy(self):
        """Stops everything, says what a stack that stopped left behind, and takes that away."""
        stop_stack(self.traces)
        left = [t for t in self.traces.find(every=True) if t.kind in ('process', 'mount', 'cgroup', 'netns')]
        self.remove_places()
        return left

    def remove_places(self):
        subprocess.run(['ip', 'netns', 'del', self.names.netns_name], stderr=subprocess.DEVNULL)
        for folder in (self.names.state, self.names.root):
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.log.unlink()


class Peer(Engine):
    """Debian's dockerd with its containerd. On the host it would set the FORWARD policy to DROP."""
    kind = 'p'

    def __init__(self, number=0, arguments=()):
        super().__init__(number)
        self.socket = f'{self.names.state}/docker.sock'
        self.containerd_socket = f'{self.names.state}/exec/containerd/containerd.sock'
        self.arguments = list(arguments)

    def start(self):
        names = self.names
        self.make_places()
        self.process = self.spawn(['/usr/sbin/dockerd', '-H', self.host, '--data-root', names.root, '--exec-root',
                                   f'{names.state}/exec', '--pidfile', f'{names.state}/docker.pid', '--bip', '10.214.0.1/16',
                                   *self.arguments])
        self.wait_for_answer(self.process, 60)
        return self

    def destroy(self):
        with contextlib.suppress(Exception):
            for item in json.loads(self.api('GET', '/containers/json?all=1')[1]):
                self.api('DELETE', f"/containers/{item['Id']}?force=1")
        end(self.process.pid, signal.SIGTERM, 20)
        self.process.wait(10)
        names = self.names
        traces = StackTraces(state=names.state, root=names.root, bridge='docker0', netns=names.netns)
        from traces import remove_traces
        remove_traces(traces)
        subprocess.run(['ip', 'netns', 'del', names.netns_name], stderr=subprocess.DEVNULL)
        # With remapped ids dockerd adds these to the names of its directories.
        remapped = Path(names.state).parent.glob(f'{Path(names.state).name}.*.*')
        for folder in (names.state, names.root, *remapped):
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.log.unlink()
        return []
