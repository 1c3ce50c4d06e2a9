# SPDX-License-Identifier: Apache-2.0
"""The shim alone, driven as containerd drives it, with Debian's runc and with our own runtime."""
import json
import os
import shutil
import signal
import socket
import struct
import tempfile
import threading
import time
from pathlib import Path

import pytest
from harness import places
from harness.engine import until
from harness.shim import Attachment, Shim, ShimError, Ttrpc, field, fields, remove_cgroup_parent

BINARY = Path(os.environ.get('GANTRY_BIN', places.BIN)) / 'containerd-shim-gantry-v1'
RUNTIMES = [r for r in ('', shutil.which('runc') or '/usr/sbin/runc') if not r or os.path.exists(r)]
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not BINARY.exists(),
                                reason='needs root and the shim')


@pytest.fixture(scope='module')
def rootfs(tmp_path_factory):
    root = tmp_path_factory.mktemp('root')
    for name in ('bin', 'proc', 'dev', 'sys', 'tmp'):
        (root / name).mkdir()
    busybox = shutil.which('busybox') or '/bin/busybox'
    shutil.copy(busybox, root / 'bin/busybox')
    for name in ('sh', 'cat', 'echo', 'sleep', 'seq', 'stty', 'dd', 'head', 'true', 'ls', 'kill'):
        (root / 'bin' / name).symlink_to('busybox')
    yield root
    remove_cgroup_parent()


@pytest.fixture(params=RUNTIMES, ids=lambda r: os.path.basename(r) or 'gantry-runtime')
def make(request, rootfs):
    if not request.param and not (BINARY.parent / 'gantry-runtime').exists():
        pytest.skip('gantry-runtime is not built')
    made, directories = [], []

    def factory(*args, **more):
        directory = tempfile.mkdtemp(prefix='gantry-shim-', dir='/tmp')
        directories.append(directory)
        made.append(Shim(BINARY, directory, rootfs, args, runtime=request.param, **more))
        return made[-1]

    yield factory
    for shim in made:
        shim.close()
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


def sh(text):
    return 'sh', '-c', text


def test_output_reaches_log_and_client_and_the_order_of_events_holds(make):
    shim = make(*sh('echo out; echo err >&2; exit 7'))
    shim.create()
    client = Attachment(str(shim.socket_uri))
    shim.call('Start')
    assert client.read_all() == (b'out\n', b'err\n')
    assert shim.wait() == 7
    assert shim.log_text('stdout') == 'out\n'
    assert shim.log_text('stderr') == 'err\n'
    assert shim.call('Delete').get(2) == 7
    shim.sink.wait_for('/tasks/delete')
    assert shim.sink.topics() == ['/tasks/create', '/tasks/start', '/tasks/exit', '/tasks/delete']
    assert not shim.socket_uri.exists()


def test_a_process_that_ends_at_once_is_told_after_its_start(make):
    for _ in range(5):
        shim = make('true')
        shim.create()
        shim.call('Start')
        assert shim.wait() == 0
        shim.sink.wait_for('/tasks/exit')
        assert shim.sink.topics()[:3] == ['/tasks/create', '/tasks/start', '/tasks/exit']


def test_stdin_once_ends_with_its_client(make):
    shim = make('cat')
    shim.create(shim.uri(stdin='once'))
    client = Attachment(str(shim.socket_uri))
    shim.call('Start')
    client.send(b'a' * 200000)
    client.send(b'last\n')
    client.end_stdin()
    out, _ = client.read_all()
    assert out == b'a' * 200000 + b'last\n'
    assert shim.wait() == 0


def test_stdin_open_outlives_its_clients_until_close_io(make):
    shim = make('cat')
    shim.create(shim.uri(stdin='open'))
    shim.call('Start')
    for text in (b'one\n', b'two\n'):
        client = Attachment(str(shim.socket_uri), offset=Attachment.FROM_NOW)
        client.send(text)
        assert client.frame() == (1, text)
        client.socket.close()
    shim.call('CloseIO', field(3, 1))
    assert shim.wait() == 0
    assert shim.log_text() == 'one\ntwo\n'


def test_a_client_goes_on_where_it_was_and_is_told_when_that_is_gone(make):
    shim = make(*sh('echo 0123456789; sleep 0.3; seq 1 30000; sleep 30'))
    shim.create()
    shim.call('Start')
    client = Attachment(str(shim.socket_uri))
    assert client.frame() == (1, b'0123456789\n')
    again = Attachment(str(shim.socket_uri), offset=4)
    assert again.frame() == (1, b'456789\n')
    again.socket.close()
    client.socket.close()
    deadline = time.time() + 5
    while '30000\n' not in shim.log_text():
        assert time.time() < deadline
        time.sleep(0.02)
    assert Attachment(str(shim.socket_uri), offset=4).error == 34  # ERANGE


def test_a_client_that_does_not_read_holds_the_container_back_and_nobody_else(make):
    shim = make(*sh('seq 1 300000; echo end'))
    shim.create()
    lazy = Attachment(str(shim.socket_uri))
    shim.call('Start')
    time.sleep(0.5)
    assert not shim.log_text().endswith('end\n')
    assert shim.call('State')[4] == 2  # the service answers: running
    out, _ = lazy.read_all()
    assert out == b''.join(b'%d\n' % i for i in range(1, 300001)) + b'end\n'
    assert shim.wait() == 0
    assert shim.log_text() == out.decode()


def test_a_client_that_goes_away_lets_the_container_go_on(make):
    shim = make(*sh('seq 1 300000; echo end'))
    shim.create()
    lazy = Attachment(str(shim.socket_uri))
    shim.call('Start')
    time.sleep(0.2)
    lazy.socket.close()
    assert shim.wait() == 0
    assert shim.log_text().endswith('300000\nend\n')


def test_the_log_rotates_by_size(make):
    shim = make(*sh('seq 1 2000'))
    shim.create(shim.uri(max_size=20000, max_file=3))
    shim.call('Start')
    assert shim.wait() == 0
    files = sorted(shim.directory.glob('out-json.log*'))
    assert [f.name for f in files] == ['out-json.log', 'out-json.log.1', 'out-json.log.2']
    assert all(f.stat().st_size <= 20000 for f in files)
    assert shim.log_text().endswith('2000\n')


def test_exec_has_its_own_streams_events_and_code(make):
    shim = make('sleep', '1000')
    shim.create()
    shim.call('Start')
    io = str(shim.directory / 'io2')
    shim.exec('e1', sh('echo from exec; exit 3'), shim.uri(io, log=False))
    client = Attachment(io)
    shim.call('Start', field(2, 'e1'))
    assert client.read_all() == (b'from exec\n', b'')
    assert shim.wait('e1') == 3
    shim.sink.wait_for('/tasks/exit')
    assert shim.call('Delete', field(2, 'e1')).get(2) == 3
    assert shim.sink.topics() == ['/tasks/create', '/tasks/start', '/tasks/exec-added',
                                  '/tasks/exec-started', '/tasks/exit']
    assert shim.call('State')[4] == 2
    with pytest.raises(ShimError, match='does not exist'):
        shim.call('State', field(2, 'e1'))


def test_the_inits_exit_is_told_after_those_of_its_execs(make):
    shim = make('sleep', '1000')
    shim.create()
    shim.call('Start')
    shim.exec('e1', ('sleep', '1000'), '')
    shim.call('Start', field(2, 'e1'))
    shim.call('Kill', field(3, 9))
    assert shim.wait() == 137
    exits = [event[2].decode() for topic, event in shim.sink.events if topic == '/tasks/exit']
    deadline = time.time() + 5
    while len(exits) < 2 and time.time() < deadline:
        time.sleep(0.01)
        exits = [e[2].decode() for t, e in shim.sink.events if t == '/tasks/exit']
    assert exits == ['e1', 'c1']


def test_a_terminal_has_a_size_and_gives_one_stream(make):
    shim = make(*sh('read x; stty size; echo got $x'), terminal=True)
    shim.create(shim.uri(stdin='open'))
    client = Attachment(str(shim.socket_uri))
    shim.call('ResizePty', field(3, 91) + field(4, 37))
    shim.call('Start')
    client.send(b'word\n')
    out, err = client.read_all()
    assert err == b''
    assert b'37 91\r\n' in out and b'got word\r\n' in out


def test_pause_stats_pids_and_signals(make):
    shim = make('sleep', '1000')
    pid = shim.create()
    shim.call('Start')
    shim.call('Pause')
    assert shim.call('State')[4] == 4
    shim.call('Resume')
    assert fields(shim.call('Pids')[1])[1] == pid
    stats = fields(shim.call('Stats')[1])
    assert stats[1].startswith(b'io.containerd.cgroups.v')
    with pytest.raises(ShimError, match='running'):
        shim.call('Delete')
    shim.call('Kill', field(3, signal.SIGKILL))
    assert shim.wait() == 137
    with pytest.raises(ShimError, match='process already finished'):
        shim.call('Kill', field(3, 9))


def test_a_killed_shim_is_cleaned_up_by_delete(make):
    shim = make('sleep', '1000')
    pid = shim.create()
    shim.call('Start')
    os.kill(shim.pid, signal.SIGKILL)
    response = fields(shim.run_action('delete'))
    assert response[1] == pid and response[2] == 137
    deadline = time.time() + 5
    while os.path.exists(f'/proc/{pid}') and time.time() < deadline:
        time.sleep(0.01)
    assert not os.path.exists(f'/proc/{pid}')
    assert not os.path.exists(shim.path)


def test_delete_knows_an_exit_from_before_the_kill(make):
    shim = make(*sh('exit 9'))
    shim.create()
    shim.call('Start')
    assert shim.wait() == 9
    os.kill(shim.pid, signal.SIGKILL)
    assert fields(shim.run_action('delete'))[2] == 9


def test_a_daemon_that_was_away_gets_the_events(make):
    shim = make(*sh('sleep 0.2'))
    shim.create()
    shim.call('Start')
    shim.sink.wait_for('/tasks/start')
    sink = shim.sink
    sink.stop()
    assert shim.wait() == 0
    time.sleep(0.1)
    sink.__init__(sink.path)
    sink.wait_for('/tasks/exit')


@pytest.mark.parametrize('end, code', [('exit 0', 7), ('exit 1', None)])
def test_what_comes_while_create_goes_on_waits_for_it(make, end, code):
    """A daemon is killed in the middle of Create, and its successor asks at once."""
    shim = make(*sh('exit 7'))
    hold = shim.directory / 'hold'
    config = json.loads((shim.bundle / 'config.json').read_text())
    config['hooks'] = {'createRuntime': [{'path': '/bin/sh', 'args': ['sh', '-c', f'echo > {hold}; while test -e {hold}; do sleep 0.01; done; {end}']}]}
    (shim.bundle / 'config.json').write_text(json.dumps(config))
    first = Ttrpc(shim.path, shim.version)
    first.send('Create', shim.create_request())
    until(hold.exists, 10)
    first.socket.close()
    answers = {}

    def ask(method):
        try:
            answers[method] = Ttrpc(shim.path, shim.version).call(method, field(1, shim.id))
        except ShimError as error:
            answers[method] = error.code
    asking = [threading.Thread(target=ask, args=(method,)) for method in ('State', 'Start')]
    for thread in asking:
        thread.start()
        time.sleep(0.1)
    assert answers == {}
    hold.unlink()
    for thread in asking:
        thread.join()
    if code is None:
        assert answers == {'State': 5, 'Start': 5}  # NOT_FOUND
        return
    assert answers['State'][3] == answers['Start'][1] > 0  # the pid
    assert shim.wait() == code


def test_one_that_was_shut_down_keeps_its_events_for_the_next_daemon(make):
    """The daemon died before it took the events, and its successor comes late."""
    shim = make(*sh('exit 3'))
    sink = shim.sink
    sink.stop()
    shim.create()
    shim.call('Start')
    assert shim.wait() == 3
    shim.call('Delete')
    shutdown = Ttrpc(shim.path, shim.version)
    shutdown.send('Shutdown', field(1, shim.id))
    for one in (shutdown, shim.rpc):
        one.socket.close()
    time.sleep(6)  # more than it gives a daemon that is there and takes nothing
    sink.__init__(sink.path)
    sink.wait_for('/tasks/delete')
    assert sink.topics() == ['/tasks/create', '/tasks/start', '/tasks/exit', '/tasks/delete']
    until(lambda: not os.path.exists(f'/proc/{shim.pid}'), 10)
    assert not os.path.exists(shim.path)


def test_bad_requests_are_refused_and_change_nothing(make):
    shim = make('true')
    for uri, words in ((shim.uri(what=1), 'unknown key'), (shim.uri(max_file=0), 'max-file'),
                       ('gantry://relative', 'absolute'), ('http:///x', 'scheme'),
                       ('/nonexistent/fifo', 'no such file')):
        with pytest.raises(ShimError, match=words):
            shim.create(uri)
    with pytest.raises(ShimError, match='not found'):
        shim.call('State')
    shim.create()
    with pytest.raises(ShimError, match='Nonsense'):
        shim.call('Nonsense')
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(shim.socket_uri))
    client.sendall(b'NOPE' + bytes(12))
    assert struct.unpack('<4sI', client.recv(8)) == (b'GIO1', 22)
    with pytest.raises(ShimError, match='container'):
        shim.create()
    shim.call('Start')
    assert shim.wait() == 0


def test_fifos_keep_what_a_slow_reader_has_not_taken(make):
    shim = make(*sh('echo to fifo; echo err >&2'))
    out, err = shim.directory / 'out', shim.directory / 'err'
    os.mkfifo(out)
    os.mkfifo(err)
    shim.create(str(out), stderr=str(err))
    shim.call('Start')
    assert shim.wait() == 0
    reader = os.open(out, os.O_RDONLY | os.O_NONBLOCK)
    shim.call('Delete')
    assert os.read(reader, 100) == b'to fifo\n'
    assert os.read(reader, 100) == b''


def test_many_waiters_hold_no_thread(make):
    shim = make('sleep', '1000')
    shim.create()
    shim.call('Start')
    codes = []
    threads = [threading.Thread(target=lambda: codes.append(shim.wait())) for _ in range(50)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    assert len(os.listdir(f'/proc/{shim.pid}/task')) == 1
    shim.call('Kill', field(3, 15))
    shim.call('Kill', field(3, 9))
    for thread in threads:
        thread.join()
    assert codes == [codes[0]] * 50


def test_the_root_is_an_overlay_that_the_host_never_sees(make, rootfs):
    shim = make(*sh('echo new > /made; sleep 1000'))
    for options in ((), ('volatile',), ('volatile',)):
        pid = shim.create(mounts=shim.overlay(rootfs, *options))
        shim.call('Start')
        deadline = time.time() + 5
        while not (shim.directory / 'upper/made').exists():
            assert time.time() < deadline
            time.sleep(0.01)
        assert 'overlay' in Path(f'/proc/{pid}/mountinfo').read_text().splitlines()[0]
        assert str(shim.directory) not in Path('/proc/self/mountinfo').read_text()
        shim.call('Kill', field(3, 9))
        assert shim.wait() == 137
        shim.call('Delete')
        (shim.directory / 'upper/made').unlink()
        if shim.runtime:
            return  # one mount namespace a shim: a second Create is our own runtime's


def test_many_execs_cost_no_memory(make):
    """Nothing of a deleted exec stays: neither memory nor descriptors nor files."""
    shim = make('sleep', '100000')
    if shim.runtime and not places.SOAK:
        pytest.skip('the same code with any runtime: in soak')
    shim.create()
    shim.call('Start')

    def used():
        rollup = Path(f'/proc/{shim.pid}/smaps_rollup').read_text()
        # Its own: how many shims share the program's pages changes meanwhile.
        return (int(rollup.split('Pss_Anon:')[1].split()[0]), len(os.listdir(f'/proc/{shim.pid}/fd')), sorted(str(p.relative_to(shim.bundle)) for p in shim.bundle.rglob('*')))

    def execs(count):
        for number in range(count):
            shim.exec(f'e{number % 3}', ('true',), '')
            shim.call('Start', field(2, f'e{number % 3}'))
            assert shim.wait(f'e{number % 3}') == 0
            shim.call('Delete', field(2, f'e{number % 3}'))
    execs(100)  # what is allocated once
    before = used()
    count = 10_000 if places.SOAK else 300
    execs(count)
    after = used()
    assert after[1:] == before[1:]
    # The noise of the page count; one string kept for each exec would be more.
    assert after[0] - before[0] <= 16 + count * 48 // 1024, f'{before[0]} kB before, {after[0]} kB after {count} execs'
    if places.SOAK:
        places.RESULTS.mkdir(parents=True, exist_ok=True)
        (places.RESULTS / f'soak-execs-{os.path.basename(shim.runtime) or "gantry-runtime"}.txt').write_text(
            f'{count} execs in one container ({os.path.basename(shim.runtime) or "gantry-runtime"}): its shim has {before[0]} kB before and {after[0]} kB after (memory of its own).\n')
