# SPDX-License-Identifier: Apache-2.0
"""Where the engine listens: TLS with client certificates, socket activation, a docker socket that outlives it, and
clients that send too much or nothing."""
import contextlib
import errno
import json
import os
import select
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from harness import places
from harness.client import Client
from harness.engine import Peer, Stack, until
from harness.places import IMAGE
from harness.registry import make_authority, make_client_certificate

TLS_PORT = 2376


def engines():
    return ['gantry', 'peer'] if places.SOAK or 'peer' in os.environ.get('GANTRY_E2E', '') else ['gantry']


@pytest.fixture
def folder():
    path = Path(tempfile.mkdtemp(prefix='gt-l-'))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def running(engine):
    try:
        yield engine.start()
    finally:
        left = engine.destroy()
    assert [str(t) for t in left] == []


def in_namespace_of(engine, work):
    """What `work` returns, run in a thread that has entered the engine's network namespace."""
    result = []

    def run():
        import ctypes
        with open(engine.names.netns) as space:
            assert ctypes.CDLL(None, use_errno=True).setns(space.fileno(), 0x40000000) == 0
        result.append(work())
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    return result[0]


@pytest.mark.parametrize('kind', engines())
def test_tls(kind, folder, home):
    make_authority(folder)
    make_client_certificate(folder)
    arguments = ['-H', f'tcp://127.0.0.1:{TLS_PORT}', '--tlsverify', f'--tlscacert={folder}/ca.pem', f'--tlscert={folder}/tls.pem',
                 f'--tlskey={folder}/tls.key']
    with running({'gantry': Stack, 'peer': Peer}[kind](8, arguments)) as engine:
        if kind == 'peer':
            engine.load_image()
        else:
            Client('gantry', engine, home).ok('load', '-i', places.IMAGE_TAR)

        def docker(*words, trusted=True, **options):
            certificate = ['--tlscert', f'{folder}/cert.pem', '--tlskey', f'{folder}/key.pem'] if trusted else []
            return engine.inside('/usr/bin/docker', '-H', f'tcp://127.0.0.1:{TLS_PORT}', '--tlsverify', '--tlscacert', f'{folder}/ca.pem',
                                 *certificate, *words, env={'PATH': os.environ['PATH'], 'HOME': str(home)}, check=False, **options)
        done = docker('run', '--rm', '-i', IMAGE, 'cat', input='over TLS\n' * 20000)
        assert done.returncode == 0 and done.stdout == 'over TLS\n' * 20000, done.stderr
        refused = docker('version', trusted=False)
        # Go's server closes at once, which resets a client that is still sending.
        assert refused.returncode == 1 and any(word in refused.stderr for word in ['certificate'] + ['reset'] * (kind == 'peer'))

        def still_sending():
            context = ssl.create_default_context(cafile=folder / 'ca.pem')
            with socket.create_connection(('127.0.0.1', TLS_PORT), 10) as s, context.wrap_socket(s, server_hostname='127.0.0.1') as tls:
                select.select([tls], [], [], 30)  # the alert has come
                try:
                    for _ in range(5):
                        tls.sendall(b'GET /_ping HTTP/1.0\r\n')
                    return tls.recv(100)
                except OSError as e:
                    return str(e)
        if kind == 'gantry':
            assert 'certificate required' in in_namespace_of(engine, still_sending)

        def plain():
            with socket.create_connection(('127.0.0.1', TLS_PORT), 10) as s:
                s.sendall(b'GET /_ping HTTP/1.0\r\n\r\n')
                return s.makefile('rb').read()
        assert b'Client sent an HTTP request to an HTTPS server.' in in_namespace_of(engine, plain)
        # Clients that begin no handshake stop nobody.
        silent = in_namespace_of(engine, lambda: [socket.create_connection(('127.0.0.1', TLS_PORT), 10) for _ in range(100)])
        began = time.monotonic()
        assert docker('version').returncode == 0 and time.monotonic() - began < 5
        for s in silent:
            s.close()


class Activated(Stack):
    """Gets its socket as descriptor 3, as a service manager passes it."""
    def __init__(self, number, listener):
        super().__init__(number)
        self.listener = listener

    def spawn(self, command, **environment):
        command = ['fd://' if word == self.host else word for word in command]
        with open(self.log, 'ab') as log:
            def descriptor_three():
                os.dup2(self.listener.fileno(), 3)
                os.set_inheritable(3, True)
            return subprocess.Popen(['nsenter', f'--net={self.names.netns}', 'sh', '-c', 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', 'sh', *command],
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, close_fds=False,
                                    preexec_fn=descriptor_three)


def test_socket_activation(folder):
    """Requests that come while the daemon is away wait for the next one."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f'{folder}/s')
        listener.listen(16)
        engine = Activated(9, listener)
        engine.socket = f'{folder}/s'
        with running(engine):
            assert engine.api('GET', '/_ping')[1] == b'OK'
            engine.stop()
            early = socket.socket(socket.AF_UNIX)
            early.connect(engine.socket)
            early.sendall(b'GET /_ping HTTP/1.0\r\n\r\n')
            engine.start()
            assert early.makefile('rb').read().endswith(b'OK')


def test_docker_socket_outlives_the_daemon(folder, home):
    path = f'{folder}/docker.sock'
    with running(Stack(10, ['--docker-socket', path])) as engine:
        client = Client('gantry', engine, home)
        client.ok('load', '-i', places.IMAGE_TAR)
        other = Client('docker', engine, home)
        other.command = ['/usr/bin/docker', '-H', f'unix://{path}']
        name = other.ok('run', '-d', '-v', f'{path}:/var/run/docker.sock', IMAGE, 'sleep', '300')
        inode = os.stat(path).st_ino
        assert oct(os.stat(path).st_mode & 0o777) == '0o660'
        for stop in (engine.stop, lambda: engine.kill('gantryd')):
            stop()
            early = socket.socket(socket.AF_UNIX)
            early.connect(path)
            early.sendall(b'GET /_ping HTTP/1.0\r\n\r\n')
            engine.start()
            assert early.makefile('rb').read().endswith(b'OK')
            assert os.stat(path).st_ino == inode == int(other.ok('exec', name, 'stat', '-c', '%i', '/var/run/docker.sock'))
        client.ok('rm', '-f', name)


def test_docker_socket_of_a_running_daemon_is_left_alone(folder):
    path = f'{folder}/docker.sock'
    with socket.socket(socket.AF_UNIX) as dockerd:
        dockerd.bind(path)
        dockerd.listen(4)
        inode = os.stat(path).st_ino
        engine = Stack(11, ['--docker-socket', path])
        try:
            with pytest.raises(RuntimeError, match='ended with 1'):
                engine.start()
            assert 'somebody serves' in engine.log.read_text()
            assert os.stat(path).st_ino == inode
        finally:
            engine.destroy()


def test_metrics():
    with running(Stack(12, ['--metrics-addr', '127.0.0.1:9323'])) as engine:
        assert engine.api('POST', '/images/create?fromSrc=-&repo=metrics', bytes(1024))[0] == 200
        made = json.loads(engine.api('POST', '/containers/create', json.dumps({'Image': 'metrics', 'Cmd': ['x']}))[1])['Id']
        assert engine.api('POST', '/containers/create', json.dumps({'Image': 'nosuch'}))[0] == 404
        assert engine.api('DELETE', f'/containers/{made}')[0] == 204
        assert engine.api('POST', '/build', b'no tar')[0] in (200, 400, 500)

        def get(path):
            with socket.create_connection(('127.0.0.1', 9323), 10) as s:
                s.sendall(f'GET {path} HTTP/1.0\r\n\r\n'.encode())
                return s.makefile('rb').read().decode()
        page = in_namespace_of(engine, lambda: get('/metrics'))
        assert 'engine_daemon_container_states_containers{state="running"} 0\n' in page and 'process_resident_memory_bytes ' in page
        assert in_namespace_of(engine, lambda: get('/nosuch')).startswith('HTTP/1.1 404')
        values = dict(line.rsplit(' ', 1) for line in page.splitlines() if line and not line.startswith('#') and ' ' in line)
        seconds = 'engine_daemon_container_actions_seconds'
        assert [values[f'{seconds}_count{{action="{a}"}}'] for a in ('create', 'delete', 'start', 'commit', 'changes')] == list('11000')
        assert values[f'{seconds}_bucket{{action="create",le="+Inf"}}'] == '1' and values[f'{seconds}_bucket{{action="start",le="0.005"}}'] == '0'
        assert 0 < time.time() - float(values['process_start_time_seconds']) < 600
        assert float(values[f'{seconds}_sum{{action="create"}}']) > 0
        failed = 'builder_builds_failed_total{reason="error_processing_commands_error"}'
        assert (values['builder_builds_triggered_total'], values[failed]) == ('1', '1')
        assert values['engine_daemon_health_checks_total'] == values['engine_daemon_health_checks_failed_total'] == '0'


def resident(pid):
    return int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def test_clients_cannot_grow_the_daemon(stack):
    """docs/connections.md states the bounds: endless heads, half-sent bodies, idle connections."""
    pid = stack.pid('gantryd')

    def connect(data=b''):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30)
        while s.connect_ex(stack.socket) == errno.EAGAIN:  # more than the backlog at once
            time.sleep(0.001)
        s.sendall(data)
        return s
    stack.api('GET', '/_ping')
    before = resident(pid)
    # A head of 1 GB is cut off at 64 KiB.
    s = connect(b'GET /_ping HTTP/1.1\r\nHost: x\r\nX: ')
    sent = 0
    with contextlib.suppress(OSError):
        while sent < 1 << 30:
            sent += s.send(b'y' * 65536)
    assert sent < 1 << 25
    s.close()
    half = [connect(b'POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{"Ima')
            for _ in range(50)]
    number = 10000 if places.SOAK else 1500
    idle = [connect() for _ in range(number)]
    assert stack.api('GET', '/_ping')[1] == b'OK'
    grown = resident(pid) - before
    for s in half + idle:
        s.close()
    assert grown < (4 << 20) + 50 * (160 << 10) + number * 2048 * 2, grown
    until(lambda: stack.api('GET', '/_ping')[1] == b'OK')
    assert json.loads(stack.api('GET', '/containers/json?all=1')[1]) == []
