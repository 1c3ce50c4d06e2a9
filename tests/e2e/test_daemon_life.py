# SPDX-License-Identifier: Apache-2.0
"""What signals do to a daemon, who may connect to it, and what it tells Prometheus: asked of both daemons.

Two things differ on purpose (docs/daemon-config.md): gantryd never ends containers when it is stopped, so its
shutdown-timeout is for requests; and a socket that a reload can't change is named in the log."""
import contextlib
import grp
import http.client
import json
import os
import re
import shutil
import signal
import socket
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
from traces import end


def kinds():
    return ['gantry', 'peer'] if places.SOAK or 'peer' in os.environ.get('GANTRY_E2E', '') else ['gantry']


class Engines:
    """Engines of one kind, each with its arguments and the test's image, that are gone at the end."""
    def __init__(self, kind, home, folder):
        self.kind, self.home, self.folder = kind, home, folder
        self.made = []

    def make(self, *arguments, activated=None):
        base = {'gantry': Stack, 'peer': Peer}[self.kind]
        engine = (base if activated is None else type('Activated', (Activated, base), {}))(13 + len(self.made), arguments)
        engine.listeners = activated
        self.made.append(engine)
        return engine

    def run(self, *arguments, image=True, **options):
        engine = self.make(*arguments, **options)
        engine.start()
        if image:
            engine.load_image()
        return engine, Client('docker', engine, self.home)

    def refused(self, *arguments):
        """What a daemon says that does not start."""
        engine = self.make(*arguments)
        with pytest.raises(RuntimeError, match='ended with 1'):
            engine.start()
        return engine.log.read_text()


@pytest.fixture(params=kinds())
def engines(request, home):
    folder = Path(tempfile.mkdtemp(prefix='gt-d-'))
    made = Engines(request.param, home, folder)
    yield made
    left = [trace for engine in made.made for trace in engine.destroy()]
    shutil.rmtree(folder)
    assert [str(trace) for trace in left] == []


def sigterm(engine, seconds=30):
    """Stops the daemon; returns how long it took and its exit code."""
    began = time.monotonic()
    pid = engine.process.pid
    end(pid, signal.SIGTERM, seconds)
    code = engine.process.wait(10)
    return time.monotonic() - began, code


def state(client, name):
    return json.loads(client.ok('inspect', '-f', '{{json .State}}', name))


def test_containers_outlive_the_daemon(engines):
    """gantryd as it is; dockerd with live-restore."""
    engine, client = engines.run(*(['--live-restore'] if engines.kind == 'peer' else []))
    client.ok('run', '-d', '--name', 'box', IMAGE, 'sleep', '1000')
    before = state(client, 'box')
    assert sigterm(engine)[1] == 0
    os.kill(before['Pid'], 0)
    engine.start()
    after = state(client, 'box')
    assert (after['Pid'], after['StartedAt'], after['Status']) == (before['Pid'], before['StartedAt'], 'running')
    client.ok('rm', '-f', 'box')


def test_the_engines_id(engines):
    """dockerd's from 23.0 on: any text in that file, which moves with the data; without it another one is made."""
    if engines.kind == 'peer':
        pytest.skip('20.10 keeps its id in a key of its own')
    engine, client = engines.run(image=False)
    file = Path(engine.names.root, 'engine-id')
    made = client.ok('info', '--format', '{{.ID}}')
    assert file.read_text() == made and file.stat().st_mode & 0o777 == 0o600
    for text in ('of-the-administrator', ''):
        sigterm(engine)
        file.write_text(text)
        engine.start()
        found = client.ok('info', '--format', '{{.ID}}')
        assert found == file.read_text() and (found == text or not text)
    assert found not in ('', made)
    sigterm(engine)
    file.unlink()
    file.mkdir()
    with pytest.raises(RuntimeError, match='ended with 1'):
        engine.start()
    assert 'engine-id' in engine.log_end()
    file.rmdir()


def test_without_live_restore(engines):
    """dockerd stops its containers, each with its own timeout; gantryd says that it never does."""
    if engines.kind == 'gantry':
        engine, client = engines.run('--live-restore=false')
        assert '"live-restore" stays true: containers always outlive the daemon' in engine.log.read_text()
    else:
        engine, client = engines.run()
    client.ok('run', '-d', '--name', 'box', '--stop-timeout', '1', IMAGE, 'sleep', '1000')
    pid = state(client, 'box')['Pid']
    assert sigterm(engine)[1] == 0
    assert os.path.exists(f'/proc/{pid}') == (engines.kind == 'gantry')
    engine.start()
    after = state(client, 'box')
    assert (after['Status'], after['ExitCode']) == (('running', 0) if engines.kind == 'gantry' else ('exited', 137))
    client.ok('rm', '-f', 'box')


def stop_request(engine, seconds):
    """Asks in a thread for a stop that takes so long; returns what becomes of it."""
    answer = []

    def ask():
        try:
            answer.append(engine.api('POST', f'/containers/box/stop?t={seconds}')[0])
        except (OSError, http.client.HTTPException) as error:
            answer.append(error)
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return thread, answer


STUBBORN = 'trap : TERM; while :; do sleep 0.1; done'


def stopped_during_a_request(engines, bound, seconds):
    """SIGTERM to a daemon with that bound, while it stops a stubborn container for so many seconds: the daemon, its client, what the
    request got, how long the daemon took and its exit code."""
    if engines.kind == 'peer':
        pytest.skip('dockerd waits for containers, not for requests')
    engine, client = engines.run('--shutdown-timeout', str(bound))
    client.ok('run', '-d', '--name', 'box', IMAGE, 'sh', '-c', STUBBORN)
    thread, answer = stop_request(engine, seconds)
    until(lambda: client.ok('events', '--since', '1', '--until', '0s', '--filter', 'event=kill', '--format', '{{.Action}}'))
    took, code = sigterm(engine)
    thread.join(10)
    return engine, client, answer, took, code


def test_requests_get_their_time(engines):
    engine, client, answer, took, code = stopped_during_a_request(engines, 20, 2)
    assert answer == [204] and code == 0 and 1 < took < 15, (answer, took)
    engine.start()
    assert state(client, 'box')['ExitCode'] == 137
    client.ok('rm', '-f', 'box')


def test_requests_get_no_more_than_that(engines):
    engine, client, answer, took, code = stopped_during_a_request(engines, 1, 60)
    assert code == 0 and took < 10 and isinstance(answer[0], Exception), (answer, took)
    engine.start()
    assert state(client, 'box')['Status'] == 'running', 'what was not done to the end is not done'
    client.ok('rm', '-f', 'box')


def test_three_signals_end_it_at_once(engines):
    if engines.kind == 'peer':
        pytest.skip("dockerd does so too, and leaves its containerd behind in a way that it can't start on again")
    engine, client = engines.run('--shutdown-timeout', '60')
    client.ok('run', '-d', '--name', 'box', IMAGE, 'sh', '-c', STUBBORN)
    stop_request(engine, 60)
    until(lambda: client.ok('events', '--since', '1', '--until', '0s', '--filter', 'event=kill', '--format', '{{.Action}}'))
    os.kill(engine.process.pid, signal.SIGTERM)
    until(lambda: 'stopping on signal' in engine.log.read_text())
    for _ in range(2):
        assert engine.process.poll() is None
        os.kill(engine.process.pid, signal.SIGTERM)
        # A second one that comes before the first was taken is the same one to the kernel.
        until(lambda: not int(re.search(r'ShdPnd:\s*(\w+)', Path(f'/proc/{engine.process.pid}/status').read_text()).group(1), 16))
    assert engine.process.wait(10) == 128 + signal.SIGTERM
    assert 'stopping at once: 3 signals came' in engine.log.read_text()
    engine.start()
    assert state(client, 'box')['Status'] == 'running'
    client.ok('rm', '-f', 'box')


def test_sigusr1_is_a_question(engines):
    """dockerd writes the stacks of its goroutines, gantryd what its threads wait for; both name the file in their log."""
    engine, _ = engines.run(image=False)
    os.kill(engine.process.pid, signal.SIGUSR1)
    named = until(lambda: re.search(r"(/\S+/(?:threads|goroutine-stacks)-[^\s'\"]+\.log)", engine.log.read_text()), 10)
    path = Path(named.group(1))
    until(path.exists, 10)
    report = path.read_text()
    assert engine.answers()
    if engines.kind == 'gantry':
        rows = report.splitlines()
        assert rows[0] == 'thread name wchan syscall' and str(engine.process.pid) in [row.split()[0] for row in rows[1:]]
        assert path.stat().st_mode & 0o777 == 0o600
    path.unlink()


@pytest.mark.parametrize('text, flags, said', [
    ('{"nope": 1, "labels": ["zone=b"]}', [], "the following directives don't match any configuration option: nope"),
    ('{"labels": ["zone=b"], "debug": true}', ['-D'], 'the following directives are specified both as a flag and in the configuration file: debug: '
                                                     '(from flag: true, from file: true)'),
    ('{"labels": ["zone=b"]', [], ''),
    ('{"labels": ["zone"]}', [], 'bad attribute format: zone'),
    (None, [], 'no such file or directory'),
], ids=['unknown', 'conflict', 'torn', 'bad-value', 'gone'])
def test_a_bad_reload_changes_nothing(engines, text, flags, said):
    path = engines.folder / 'daemon.json'
    path.write_text('{"labels": ["zone=a"]}')
    engine, client = engines.run('--config-file', str(path), *flags, image=False)
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    before = len(engine.log.read_text())
    os.kill(engine.process.pid, signal.SIGHUP)
    new = until(lambda: [line for line in engine.log.read_text()[before:].splitlines()
                         if 'level=error' in line or ' error ' in line], 10)
    assert said in new[0] and (str(path) in new[0] or engines.kind == "peer"), new
    assert json.loads(engine.api('GET', '/info')[1])['Labels'] == ['zone=a']
    assert client.ok('events', '--since', '1', '--until', '0s', '--filter', 'type=daemon') == ''
    path.write_text('{"labels": ["zone=c"]}')
    os.kill(engine.process.pid, signal.SIGHUP)
    until(lambda: json.loads(engine.api('GET', '/info')[1])['Labels'] == ['zone=c'], 10)


# key: (value, what `info` or the event says then); None: it waits for the next start and is named in the log.
RELOADED = {'labels': (['zone=x'], lambda info, event: info['Labels'] == ['zone=x']),
            'debug': (True, lambda info, event: info['Debug'] and event['debug'] == 'true'),
            'insecure-registries': (['reg.test:5000'], lambda info, event: 'reg.test:5000' in info['RegistryConfig']['IndexConfigs']),
            'registry-mirrors': (['https://mirror.test/'], lambda info, event: info['RegistryConfig']['Mirrors'] == ['https://mirror.test/']),
            'shutdown-timeout': (7, lambda info, event: event['shutdown-timeout'] == '7'),
            'default-shm-size': ('16M', lambda info, event: event['default-shm-size'] == str(16 << 20)),
            'default-runtime': ('other', lambda info, event: info['DefaultRuntime'] == 'other' and event['default-runtime'] == 'other'),
            'max-concurrent-downloads': (1, lambda info, event: event['max-concurrent-downloads'] == '1')}


def test_what_a_reload_changes(engines):
    path = engines.folder / 'daemon.json'
    first = {'runtimes': {'other': {'path': '/usr/bin/crun'}}}
    path.write_text(json.dumps(first))
    engine, client = engines.run('--config-file', str(path), image=False)
    path.write_text(json.dumps({**first, **{key: value for key, (value, _) in RELOADED.items()}}))
    os.kill(engine.process.pid, signal.SIGHUP)
    said = until(lambda: client.ok('events', '--since', '1', '--until', '0s', '--filter', 'event=reload', '--format', '{{json .}}'))
    event = json.loads(said)
    info = json.loads(engine.api('GET', '/info')[1])
    assert event['Actor']['ID'] == info['ID'] and event['Actor']['Attributes']['name'] == info['Name']
    for key, (_, holds) in RELOADED.items():
        assert holds(info, event['Actor']['Attributes']), (key, event['Actor']['Attributes'])
    if engines.kind == 'gantry':
        assert '"max-concurrent-downloads" has changed: it holds from the next start on' in engine.log.read_text()


def test_what_waits_for_the_next_start(engines):
    if engines.kind == 'peer':
        pytest.skip('dockerd passes it over without a word')
    path = engines.folder / 'daemon.json'
    path.write_text('{}')
    engine, _ = engines.run('--config-file', str(path), image=False)
    path.write_text(json.dumps({'mtu': 1400, 'group': 'tty', 'metrics-addr': '127.0.0.1:1', 'labels': ['a=b']}))
    os.kill(engine.process.pid, signal.SIGHUP)
    until(lambda: json.loads(engine.api('GET', '/info')[1])['Labels'] == ['a=b'])
    for key in ('mtu', 'group', 'metrics-addr'):
        assert f'"{key}" has changed: it holds from the next start on' in engine.log.read_text(), key


@pytest.mark.parametrize('group', ['tty', '23456', ''])
def test_group_of_the_socket(engines, group):
    """By name or by number; "docker" unless somebody says otherwise, and root's where there is no such group."""
    engine, _ = engines.run(*(['-G', group] if group else []), image=False)
    found = os.stat(engine.socket)
    if group:
        wanted = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    else:
        wanted = next((g.gr_gid for g in grp.getgrall() if g.gr_name == 'docker'), 0)
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, wanted, 0o660)


def test_a_group_that_is_not_there(engines):
    assert 'group nosuch not found' in engines.refused('-G', 'nosuch')
    engine = engines.made[0]
    assert not os.path.exists(engine.socket)
    assert not os.path.exists(f'{engine.names.state}/gantry-containerd.pid'), 'it was known before anything was begun'


class Activated:
    """Gets its sockets as descriptors from 3 on, as a service manager passes them."""
    url = 'fd://'
    pid = '$$'

    def spawn(self, command, **environment):
        command = [self.url if word == self.host else word for word in command]
        # The shell that exports the pid has them above what it uses itself.
        numbers = [fd.fileno() for fd in self.listeners]
        moves = ' '.join(f'{3 + i}<&{number}' for i, number in enumerate(numbers))
        script = f'export LISTEN_PID={self.pid} LISTEN_FDS={len(numbers)}; exec "$@" {moves}'
        with open(self.log, 'ab') as log:
            return subprocess.Popen(['nsenter', f'--net={self.names.netns}', 'bash', '-c', script, 'bash', *command], stdin=subprocess.DEVNULL,
                                    stdout=log, stderr=log, start_new_session=True, pass_fds=numbers)


@contextlib.contextmanager
def listening(folder, count):
    """Unix sockets a, b, …, with descriptors out of the way of 3 and the next."""
    with contextlib.ExitStack() as stack:
        found = []
        for name in 'abcdef'[:count]:
            one = stack.enter_context(socket.socket(socket.AF_UNIX))
            one.bind(f'{folder}/{name}')
            one.listen(16)
            high = socket.socket(fileno=__import__('fcntl').fcntl(one.fileno(), 0, 50))
            found.append(stack.enter_context(high))
        yield found


def ping(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(3)
        s.connect(str(path))
        s.sendall(b'GET /_ping HTTP/1.0\r\n\r\n')
        try:
            return s.makefile('rb').read().endswith(b'OK')
        except TimeoutError:
            return None


def test_several_sockets_of_a_service_manager(engines):
    with listening(engines.folder, 3) as sockets:
        engine = engines.make(activated=sockets)
        engine.socket = f'{engines.folder}/b'
        engine.start()
        assert [ping(engines.folder / name) for name in 'abc'] == [True] * 3
        assert sigterm(engine)[1] == 0
        assert all((engines.folder / name).exists() for name in 'abc'), 'they are the service manager\'s'


def test_one_of_the_sockets(engines):
    """fd://N is the descriptor with that number; the others stay silent."""
    with listening(engines.folder, 2) as sockets:
        engine = engines.make(activated=sockets)
        engine.url = 'fd://4'
        engine.socket = f'{engines.folder}/b'
        engine.start()
        assert [ping(engines.folder / name) for name in 'ab'] == [None, True]


@pytest.mark.parametrize('url, pid, said', [('fd://', '1', 'no sockets found via socket activation: make sure the service was started by systemd'),
                                            ('fd://9', '$$', '')])
def test_sockets_that_were_not_passed(engines, url, pid, said):
    with listening(engines.folder, 1) as sockets:
        engine = engines.make(activated=sockets)
        engine.url, engine.pid = url, pid
        engine.socket = f'{engines.folder}/nosuch'
        with pytest.raises(RuntimeError, match='ended with 1'):
            engine.start()
        assert said in engine.log.read_text()


def scrape(engine, port):
    done = engine.inside('curl', '-s', f'http://127.0.0.1:{port}/metrics')
    return done.stdout


def test_metrics(engines):
    """The same families and labels on both, but those of Go, of etcd and of the swarm."""
    engine, client = engines.run('--metrics-addr', '127.0.0.1:9323', *(['--experimental'] if engines.kind == 'peer' else []))
    client.ok('run', '--rm', IMAGE, 'true')
    client.ok('create', '--name', 'box', IMAGE)
    page = scrape(engine, 9323)
    values = dict(line.rsplit(' ', 1) for line in page.splitlines() if line and not line.startswith('#'))
    for state, count in (('stopped', 1), ('running', 0), ('paused', 0)):
        assert values[f'engine_daemon_container_states_containers{{state="{state}"}}'] == str(count)
    actions = {(kind, action): int(values[f'engine_daemon_{kind}_actions_seconds_count{{action="{action}"}}'])
               for kind, names in (('container', ('create', 'start', 'delete', 'commit', 'changes')), ('network', ('allocate', 'connect', 'release')))
               for action in names}
    # dockerd counts each of a container's once before there was any.
    begun = 1 if engines.kind == 'peer' else 0
    assert actions == {('container', 'create'): 2 + begun, ('container', 'start'): 1 + begun, ('container', 'delete'): 1 + begun,
                       ('container', 'commit'): begun, ('container', 'changes'): begun,
                       ('network', 'allocate'): 1, ('network', 'connect'): 1, ('network', 'release'): 1}
    client.ok('info')
    client.ok('version')
    page = scrape(engine, 9323)
    for function in ('system_info', 'system_version'):
        (count,) = [line.split()[1] for line in page.splitlines() if line.startswith(f'engine_daemon_host_info_functions_seconds_count{{function="{function}"}}')]
        assert int(count) > 0, function
    for name in ('engine_daemon_health_checks_total', 'engine_daemon_health_checks_failed_total', 'builder_builds_triggered_total'):
        assert values[name] == '0', name
    families = {line.split()[2] for line in page.splitlines() if line.startswith('# TYPE ')}
    assert {'engine_daemon_engine_info', 'engine_daemon_engine_cpus_cpus', 'engine_daemon_engine_memory_bytes', 'engine_daemon_events_total',
            'engine_daemon_events_subscribers_total', 'builder_builds_failed_total', 'process_open_fds', 'process_max_fds', 'process_cpu_seconds_total',
            'process_resident_memory_bytes', 'process_virtual_memory_bytes', 'process_start_time_seconds', 'process_virtual_memory_max_bytes', 'engine_daemon_host_info_functions_seconds'} - families == set()
    client.ok('rm', 'box')


@pytest.mark.parametrize('address', ['127.0.0.1:port', 'nosuch', '192.0.2.77:9323'])
def test_metrics_that_can_not_be_served(engines, address):
    log = engines.refused('--metrics-addr', address, *(['--experimental'] if engines.kind == 'peer' else []))
    # Of a word for a port dockerd says only that.
    assert ('port' if 'port' in address else address.split(':')[0]) in log
