# SPDX-License-Identifier: Apache-2.0
"""gantry-containerd as its operators and its event streams' clients meet it: configuration, metrics, debug socket, service
manager, kill -9, several side by side, the durable log of events."""
import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import grpc
import pytest

from harness import places
from harness.bare import CONFIG
from harness.containerd import GantryContainerd, busybox_root
from harness.engine import UnixConnection, until
from harness.grpc_api import Api, any_of, message
from harness.shim import ShimError, Ttrpc

PROGRAM = str(places.BIN / 'gantry-containerd')
CURSOR = 'gantry-events-cursor'
EVENT = 'containerd.events.NamespaceCreate'
SPEC = 'types.containerd.io/opencontainers/runtime-spec/1/Spec'


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20, check=False)


@pytest.fixture
def daemon():
    made = GantryContainerd()
    made.make_places()
    try:
        yield made
    finally:
        left = made.destroy()
    assert left == []


def config(daemon, text, name='config.toml'):
    path = Path(daemon.names.state) / name
    path.write_text(text)
    return str(path)


def http(daemon, path, socket_path):
    connection = UnixConnection(socket_path)
    connection.request('GET', path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


# --- configuration

def test_config_default_and_dump(daemon):
    default = run('config', 'default')
    assert default.returncode == 0 and default.stdout.startswith('version = 4\n')
    written = config(daemon, default.stdout)
    again = run('--config', written, 'config', 'dump')
    assert (again.stdout, again.stderr, again.returncode) == (default.stdout, '', 0)
    changed = run('--config', written, '--address', '/x/y.sock', '-l', 'warn', 'config', 'dump').stdout
    assert 'address = "/x/y.sock"' in changed and 'address = "/x/y.sock.ttrpc"' not in changed and 'level = "warn"' in changed


@pytest.mark.parametrize('version', [2, 3, 4])
def test_config_versions(daemon, version):
    names = {'socket': f'{daemon.names.state}/v.sock'}
    server = '[grpc]\n{}\n[debug]\nlevel = "debug"\n' if version < 4 else "[debug]\nlevel = 'debug'\n[plugins.'io.containerd.server.v1.grpc']\n{}\n"
    text = f'version = {version}\nroot = "/r"\n' + server.format(f'address = "{names["socket"]}"\nmax_recv_message_size = 1048576')
    dumped = run('--config', config(daemon, text), 'config', 'dump')
    assert dumped.returncode == 0 and dumped.stderr == ''
    for line in ('root = "/r"', f'address = "{names["socket"]}"', f'address = "{names["socket"]}.ttrpc"', 'level = "debug"', 'max_recv_message_size = 1048576'):
        assert line in dumped.stdout.splitlines()


def test_config_of_containerd_is_read(daemon):
    """What Debian's containerd writes as its default: much of it is for parts that are not here, and is named."""
    default = subprocess.run(['containerd', 'config', 'default'], stdout=subprocess.PIPE, check=True, text=True).stdout
    done = run('--config', config(daemon, default), 'config', 'dump')
    assert done.returncode == 0 and 'address = "/run/containerd/containerd.sock"' in done.stdout
    assert "'plugins.io.containerd.grpc.v1.cri' is not used by this daemon" in done.stderr
    assert 'is unknown' not in done.stderr


@pytest.mark.parametrize('text, words', [
    ('root = "/r"\n', 'version: it is missing'), ('version = 1\n', 'version: 1 is not 2, 3 or 4'), ('version = 5\n', 'version: 5 is not 2, 3 or 4'),
    ('version = 2\nroot = 7\n', 'root: expected a string'), ('version = 2\nroot = "r"\n', "root: 'r' is no absolute path"),
    ('version = 2\n[grpc]\nuid = "x"\n', 'grpc.uid: expected an integer'), ('version = 2\n[debug]\nlevel = "loud"\n', "debug.level: 'loud' is no level"),
    ('version = 2\nroot = \n', 'line 2, column'), ('version = 2\nrequired_plugins = ["io.containerd.grpc.v1.cri"]\n', 'required plugin'),
    ('version = 2\ndisabled_plugins = ["io.containerd.content.v1.content"]\n', 'cannot be disabled'),
    ('version = 2\nimports = ["nosuch.toml"]\n', 'does not exist'), ('version = 2\noom_score = 5000\n', 'oom_score: 5000 is not between')])
def test_config_refuses(daemon, text, words):
    done = run('--config', config(daemon, text), '--root', daemon.root)
    assert done.returncode != 0 and words in done.stderr and done.stderr.count('\n') == 1
    assert not os.path.exists(daemon.root)


def test_config_unknown_keys_and_imports(daemon):
    main = config(daemon, 'version = 3\nroot = "/a"\nrooot = "/b"\nimports = ["more/*.toml"]\n[grpc]\naddress = "/g"\ncolour = 1\n')
    (Path(daemon.names.state) / 'more').mkdir()
    config(daemon, 'version = 3\nroot = "/imported"\n[plugins."io.containerd.internal.v1.opt"]\npath = "/opt"\n'
           '[plugins."io.containerd.gc.v1.scheduler"]\nschedule_delay = "1s"\n', 'more/1.toml')
    done = run('-c', main, 'config', 'dump')
    assert done.returncode == 0 and 'root = "/imported"' in done.stdout and 'address = "/g"' in done.stdout
    assert "schedule_delay = '1000ms'" in done.stdout
    assert re.findall(r"configuration: '([^']*)' (is unknown|is not used)", done.stderr) == [
        ('rooot', 'is unknown'), ('grpc.colour', 'is not used'), ('plugins.io.containerd.internal.v1.opt', 'is not used')]


# --- running

def test_runs_by_its_file_alone(daemon):
    """Root, state, sockets, JSON logs, disabled plugins, metrics and the debug socket, all from the file."""
    state = daemon.names.state
    written = config(daemon, f'''version = 4
root = "{daemon.root}"
state = "{daemon.state}"
disabled_plugins = ["io.containerd.grpc.v1.leases", "io.containerd.snapshotter.v1.native"]
nonsense = true
[debug]
level = "debug"
format = "json"
[plugins."io.containerd.server.v1.grpc"]
address = "{daemon.socket}"
gid = 12345
max_recv_message_size = 1048576
[plugins."io.containerd.server.v1.ttrpc"]
address = "{state}/own.ttrpc"
[plugins."io.containerd.server.v1.debug"]
address = "{state}/debug.sock"
[plugins."io.containerd.server.v1.metrics"]
address = "127.0.0.1:1338"
[gantry]
pid_file = "{state}/pid"
''')
    daemon.command = lambda: [PROGRAM, '--config', written]
    daemon.start()
    api = Api(daemon.socket)
    assert os.stat(daemon.socket).st_gid == 12345 and os.path.exists(f'{state}/own.ttrpc') and not os.path.exists(daemon.socket + '.ttrpc')
    records = [json.loads(line) for line in daemon.log.read_text().splitlines()]
    assert any("'nonsense' is unknown" in record['msg'] and record['level'] == 'warning' for record in records)
    assert api.code('Leases/List') == 'UNIMPLEMENTED'
    assert [p.id for p in api('Introspection/Plugins', filters=['type==io.containerd.snapshotter.v1']).plugins] == ['overlayfs']
    assert api.code('Content/Write', [{'action': 1, 'ref': 'x', 'data': b'\0' * (1 << 20)}]) == 'RESOURCE_EXHAUSTED'
    assert api.code('Containers/Get', id='nosuch') == 'NOT_FOUND'
    metrics = daemon.inside('curl', '-sf', 'http://127.0.0.1:1338/v1/metrics').stdout
    assert 'grpc_server_handled_total{grpc_code="NotFound",grpc_method="Get",grpc_service="containerd.services.containers.v1.Containers",grpc_type="unary"} 1' in metrics
    assert re.search(r'^process_open_fds [1-9]', metrics, re.M) and 'containerd_build_info_total{' in metrics
    for line in metrics.splitlines():  # the text format, line by line
        assert re.fullmatch(r'# (TYPE|HELP) .*|[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [-+.0-9e]+', line), line
    assert daemon.inside('curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', 'http://127.0.0.1:1338/debug/vars').stdout == '404'
    status, text = http(daemon, '/debug/vars', f'{state}/debug.sock')
    assert status == 200 and json.loads(text)['pid'] == int(Path(f'{state}/pid').read_text())
    names = {thread['name'] for thread in json.loads(http(daemon, '/debug/threads', f'{state}/debug.sock')[1])}
    assert 'gantry-containe' in names
    api.close()


def test_two_side_by_side(daemon):
    """Own root, state and address: neither sees the other; the same root, or the same state, is refused."""
    other = GantryContainerd(1)
    daemon.start()
    try:
        other.start()
        apis = [Api(d.socket) for d in (daemon, other)]
        for number, api in enumerate(apis):
            api('Leases/Create', id=f'l{number}')
        assert [[l.id for l in api('Leases/List').leases] for api in apis] == [['l0'], ['l1']]
        apis[0].close()
        apis[1].close()
        third = run('--root', daemon.root, '--state', f'{other.state}3', '--address', f'{other.socket}3', '--pid-file', f'{other.names.state}/pid3')
        assert third.returncode == 1 and 'lock' in third.stderr
    finally:
        assert other.destroy() == []


def test_tells_the_service_manager(daemon):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(f'{daemon.names.state}/notify')
    listener.settimeout(10)
    daemon.environment['NOTIFY_SOCKET'] = f'{daemon.names.state}/notify'
    daemon.start()
    assert 'READY=1' in listener.recv(4096).decode().splitlines()
    daemon.stop()
    assert listener.recv(4096) == b'STOPPING=1'
    listener.close()


def test_killed_with_a_sandbox_and_a_mount(daemon):
    """Both are there for the next daemon; what a crash left half made is not."""
    daemon.start()
    api = Api(daemon.socket)
    shim = {'sandboxer': 'shim', 'sandbox_id': 'k1'}
    api('Controller/Create', sandbox={'sandbox_id': 'k1', 'runtime': {'name': 'io.containerd.runc.v2'}}, **shim)
    pid = api('Controller/Start', **shim).pid
    place = Path(daemon.names.root) / 'place'
    place.mkdir()
    info = api('Mounts/Activate', name='m', mounts=[{'type': 'bind', 'source': str(place), 'options': ['bind']}], temporary=True).info
    daemon.stop(signal.SIGKILL)
    api.close()
    half = Path(daemon.state) / 'mounts/77'
    (half / '0').mkdir(parents=True)
    subprocess.run(['mount', '--bind', place, half / '0'], check=True)
    daemon.start()
    api = Api(daemon.socket)
    status = api('Controller/Status', **shim)
    assert (status.state, status.pid) == ('SANDBOX_READY', pid)
    assert api('Mounts/Info', name='m').info == info and not half.exists()
    api('Mounts/Deactivate', name='m')
    # A shim that is killed is told of by an event.
    stream = api.open('Events/Subscribe', filters=['topic~=^/sandboxes/'], metadata=[(CURSOR, '')])
    stream.initial_metadata()
    os.kill(pid, signal.SIGKILL)
    assert next(stream).topic == '/sandboxes/exit'
    stream.cancel()
    until(lambda: not list(Path(daemon.state).glob('io.containerd.sandbox.controller.v1.shim/api/*')), 10)
    api.close()


def test_a_task_in_a_sandbox(daemon, tmp_path):
    """A container that names a sandbox gets its task in the sandbox's shim, which goes on after it; with the shim the task ends, too."""
    daemon.spaces.append('api')
    daemon.start()
    api, shim = Api(daemon.socket), {'sandboxer': 'shim', 'sandbox_id': 'pod'}
    sandbox = {'sandbox_id': 'pod', 'runtime': {'name': 'io.containerd.runc.v2'}, 'sandboxer': 'shim'}
    root = busybox_root(tmp_path / 'root')
    config = {**CONFIG, 'root': {'path': str(root)}, 'process': {**CONFIG['process'], 'args': ['sleep', '1000']},
              'linux': {**CONFIG['linux'], 'cgroupsPath': '/api/in-a-sandbox'}}

    def container(name, of):
        api('Containers/Create', container={'id': name, 'runtime': {'name': 'io.containerd.runc.v2'}, 'sandbox': of, 'spec': any_of(SPEC, json.dumps(config).encode())})
    container('t1', 'pod')
    # A sandbox that is in no store is one from before there were sandboxes; one without a shim is an error.
    api('Tasks/Create', container_id='t1')
    assert len(daemon.shims()) == 1
    api('Tasks/Delete', container_id='t1')
    until(lambda: not daemon.shims(), 10)
    api('Store/Create', sandbox=sandbox)
    with pytest.raises(grpc.RpcError, match="can't find shim for sandbox pod"):
        api('Tasks/Create', container_id='t1')
    api('Controller/Create', sandbox=sandbox, **shim)
    pid = api('Controller/Start', **shim).pid
    assert daemon.shims() == [pid]
    for _ in range(2):
        task = api('Tasks/Create', container_id='t1').pid
        assert api('Tasks/Start', container_id='t1').pid == task and daemon.shims() == [pid]
        daemon.stop(signal.SIGKILL)
        api.close()
        daemon.start()
        api = Api(daemon.socket)
        assert api('Tasks/Get', container_id='t1').process.pid == task
        api('Tasks/Kill', container_id='t1', signal=9)
        assert api('Tasks/Wait', container_id='t1').exit_status == 137
        assert api('Tasks/Delete', container_id='t1').exit_status == 137
        assert api('Controller/Status', **shim).state == 'SANDBOX_READY' and daemon.shims() == [pid]
        until(lambda: not daemon.bundles(), 10)
    # What could not be made leaves the sandbox alone.
    config['process']['cwd'] = 'relative'
    container('t2', 'pod')
    with pytest.raises(grpc.RpcError):
        api('Tasks/Create', container_id='t2')
    until(lambda: not daemon.bundles(), 10)
    assert daemon.shims() == [pid]
    api('Tasks/Create', container_id='t1')
    api('Tasks/Start', container_id='t1')
    os.kill(pid, signal.SIGKILL)
    assert api('Tasks/Wait', container_id='t1').exit_status == 137
    until(lambda: not daemon.bundles() and not daemon.shims(), 10)
    api.close()


# --- events

def publish(api, first, last):
    for number in range(first, last):
        api('Events/Publish', topic='/mine/n', event=any_of(EVENT, message(EVENT, name=str(number))))


def number_of(envelope):
    return int(message(EVENT).FromString(envelope.event.value).name)


def subscribe(api, cursor=None, *filters):
    stream = api.open('Events/Subscribe', filters=filters or ['topic=="/mine/n"'], metadata=[(CURSOR, cursor)] if cursor is not None else None, timeout=120)
    stream.initial_metadata()
    return stream


def test_cursor_misses_nothing(daemon):
    """While the client is away, and while the daemon is: kill -9 too."""
    daemon.start()
    api = Api(daemon.socket)
    stream = subscribe(api, '')
    publish(api, 0, 50)
    seen, cursor = [], ''
    for _ in range(30):
        event = next(stream)
        seen.append(number_of(event))
        cursor = event.cursor
    stream.cancel()
    publish(api, 50, 80)
    api.close()
    daemon.stop(signal.SIGKILL)
    daemon.start()
    api = Api(daemon.socket)
    stream = subscribe(api, cursor)
    publish(api, 80, 100)
    seen += [number_of(next(stream)) for _ in range(70)]
    stream.cancel()
    assert seen == list(range(100))
    # Everything that there is, by a filter on the event itself.
    stream = subscribe(api, 'oldest', 'event.name==42')
    assert number_of(next(stream)) == 42
    stream.cancel()
    # Without a cursor it is as with containerd: from now on, and nothing of ours in the envelope.
    stream = subscribe(api)
    publish(api, 100, 101)
    event = next(stream)
    assert (number_of(event), event.cursor) == (100, '')
    stream.cancel()
    for wrong, code in (('garbage', 'INVALID_ARGUMENT'), ('0' * 16 + '-1', 'OUT_OF_RANGE'), (cursor.split('-')[0] + '-99999', 'OUT_OF_RANGE')):
        with pytest.raises(grpc.RpcError) as raised:
            next(subscribe(api, wrong))
        assert raised.value.code().name == code, wrong
    api.close()


def test_torn_log(daemon):
    """A record that was cut off by a crash is gone, all before it are there."""
    daemon.start()
    api = Api(daemon.socket)
    publish(api, 0, 10)
    api.close()
    daemon.stop(signal.SIGKILL)
    segment, = Path(daemon.root).glob('events/*.log')
    os.truncate(segment, segment.stat().st_size - 3)
    daemon.start()
    api = Api(daemon.socket)
    publish(api, 10, 12)
    stream = subscribe(api, 'oldest')
    assert [number_of(next(stream)) for _ in range(11)] == [*range(9), 10, 11]
    stream.cancel()
    api.close()


SUBSCRIBERS, EVENTS = (1000, 40) if places.SOAK else (200, 60)


@pytest.mark.parametrize('cursor', [None, ''], ids=['live', 'cursor'])
def test_many_subscribers(daemon, cursor):
    """Each gets every event, in order; publishers are several at once."""
    daemon.start()
    apis = [Api(daemon.socket) for _ in range(4)]
    streams = [subscribe(apis[i % 4], cursor) for i in range(SUBSCRIBERS)]
    received = [[] for _ in streams]

    def read(index):
        with contextlib.suppress(grpc.RpcError):  # cancelled below, when something is missing
            for _ in range(2 * EVENTS):
                received[index].append(number_of(next(streams[index])))
    readers = [threading.Thread(target=read, args=(i,)) for i in range(SUBSCRIBERS)]
    publishers = [threading.Thread(target=publish, args=(apis[i], i * 1000, i * 1000 + EVENTS)) for i in range(2)]
    for thread in readers + publishers:
        thread.start()
    deadline = time.monotonic() + (100 if places.SOAK else 40)
    for thread in readers + publishers:
        thread.join(max(0, deadline - time.monotonic()))
    short = [len(order) for order in received if len(order) < 2 * EVENTS]
    for stream in streams if short else ():
        stream.cancel()
    assert short == []
    assert all(order == received[0] for order in received)
    for first in (0, 1000):
        assert [n for n in received[0] if first <= n < first + 1000] == list(range(first, first + EVENTS))
    for stream in streams:
        stream.cancel()
    for api in apis:
        api.close()


def test_events_over_ttrpc(daemon):
    """The endpoint of the shims: what it forwards reaches subscribers with the time that the shim gave."""
    daemon.start()
    api = Api(daemon.socket)
    stream = subscribe(api, None, 'topic=="/tasks/exit"')
    service = 'containerd.services.events.ttrpc.v1.Events'
    request = 'containerd.services.events.ttrpc.v1.ForwardRequest'
    ttrpc = Ttrpc(daemon.socket + '.ttrpc')
    envelope = {'timestamp': {'seconds': 77}, 'namespace': 'api', 'topic': '/tasks/exit', 'event': any_of('x', b''), 'cursor': 'forged'}
    ttrpc.call('Forward', message(request, envelope=envelope).SerializeToString(), service)
    got = next(stream)
    assert (got.timestamp.seconds, got.namespace, got.cursor) == (77, 'api', '')
    for wrong, code in ((message(request, envelope={**envelope, 'topic': 'x'}).SerializeToString(), 3), (message(request).SerializeToString(), 3), (b'\xff', 3)):
        with pytest.raises(ShimError) as raised:
            ttrpc.call('Forward', wrong, service)
        assert raised.value.code == code
    for method, named in (('Nosuch', service), ('Forward', 'containerd.nosuch')):
        with pytest.raises(ShimError) as raised:
            ttrpc.call(method, b'', named)
        assert raised.value.code == 12
    stream.cancel()
    api.close()


# --- crashes

KILLS = 100 if places.SOAK else 12


def test_killed_while_mounting(daemon):
    """kill -9 at any moment of Activate and Deactivate: afterwards the mounts of the kernel, the directories and the list
    agree, and every name can be used again."""
    daemon.start()
    place = Path(daemon.names.root) / 'place'
    place.mkdir()
    image = f'{daemon.root}/disk.img'
    disk = [{'type': 'mkfs/loop', 'source': image, 'options': ['X-containerd.mkfs.size=1MiB', 'X-containerd.mkfs.fs=ext2']},
            {'type': 'format/ext2', 'source': '{{ mount 0 }}'}]
    bind = [{'type': 'bind', 'source': str(place), 'options': ['bind']}] * 3
    chance = random.Random(7)
    stop = threading.Event()

    def work(name, mounts):
        api = Api(daemon.socket)
        while not stop.is_set():
            try:
                api('Mounts/Activate', name=name, mounts=mounts, temporary=True)
                api('Mounts/Deactivate', name=name)
            except grpc.RpcError as error:
                if error.code().name not in ('UNAVAILABLE', 'CANCELLED', 'ALREADY_EXISTS'):
                    wrong.append(f'{name}: {error.code().name} {error.details()}')
                    return
                if error.code().name == 'ALREADY_EXISTS':
                    return  # one that was there when the daemon was killed: it is looked at below
        api.close()
    wrong = []
    for _ in range(KILLS):
        stop.clear()
        workers = [threading.Thread(target=work, args=args) for args in (('disk', disk), ('bind', bind), ('more', bind))]
        for worker in workers:
            worker.start()
        time.sleep(chance.uniform(0.02, 0.3))  # when it is killed is what this test is about
        stop.set()
        daemon.stop(signal.SIGKILL)
        for worker in workers:
            worker.join(20)
        daemon.start()
        api = Api(daemon.socket)
        listed = {m.info.name: m.info for m in api('Mounts/List')}
        points = [line.split()[4] for line in Path('/proc/self/mountinfo').read_text().splitlines() if daemon.state in line]
        wanted = [m.mount_point for info in listed.values() for m in info.active if m.mount.type != 'loop']
        assert sorted(points) == sorted(wanted)
        directories = {str(p.parent) for p in Path(daemon.state).glob('mounts/*/*')}
        assert directories == {str(Path(info.active[0].mount_point).parent) for info in listed.values()}
        devices = subprocess.run(['losetup', '-n', '-O', 'NAME', '-j', image], stdout=subprocess.PIPE, check=True, text=True).stdout.split()
        assert len(devices) == ('disk' in listed)
        for name in listed:
            api('Mounts/Deactivate', name=name)
        api.close()
    assert wrong == []
