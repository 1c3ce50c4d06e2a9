# SPDX-License-Identifier: Apache-2.0
"""What a shim owes any containerd, asked of Debian's containerd-shim-runc-v2 first, then of ours with
runc, crun and our own runtime: groups, stdio, order of events, OOM, statistics, the forms of `start`."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from harness import places
from harness.containerd import busybox_root
from harness.engine import until
from harness.shim import Shim, ShimError, Ttrpc, field, fields

OURS, DEBIANS = places.BIN / 'containerd-shim-gantry-v1', Path('/usr/bin/containerd-shim-runc-v2')
CGROUPS = Path('/sys/fs/cgroup')
# crun wants every v1 hierarchy that it knows; one is missing on some hosts.
CRUN = shutil.which('crun') if (CGROUPS / 'cgroup.controllers').exists() or os.path.ismount(CGROUPS / 'hugetlb') else None
KINDS = [(name, shim, runtime) for name, shim, runtime in (('debian', DEBIANS, ''), ('runc', OURS, shutil.which('runc')), ('crun', OURS, CRUN), ('gantry', OURS, ''))
         if shim.exists() and runtime is not None]
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not OURS.exists(), reason='needs root and the shim')


@pytest.fixture(scope='module')
def rootfs(tmp_path_factory):
    yield busybox_root(tmp_path_factory.mktemp('root'))
    for parent in [CGROUPS, *CGROUPS.iterdir()]:
        if (parent / 'gantry-shim-test').is_dir():
            (parent / 'gantry-shim-test').rmdir()


@pytest.fixture(params=KINDS, ids=lambda k: k[0])
def make(request, rootfs):
    made = []
    top = Path(tempfile.mkdtemp(prefix='gsp-', dir='/tmp'))

    def factory(*args, **more):
        more = {'name': f'c{len(made)}', **more}
        made.append(Shim(request.param[1], top / more['name'], rootfs, args, runtime=request.param[2], **more))
        return made[-1]

    factory.kind, factory.top, factory.ours = request.param[0], top, request.param[1] == OURS
    yield factory
    for shim in made:
        shim.close()
    sockets = {shim.path for shim in made}
    until(lambda: not any(answers(path) for path in sockets), 10, 'a shim lives')
    assert not [path for path in sockets if os.path.exists(path)]
    shutil.rmtree(top)


def answers(path):
    try:
        Ttrpc(path)
        return True
    except OSError:
        return False


def sh(text):
    return 'sh', '-c', text


def told(shim, topic=None):
    """(topic, id or exec id) of this container's events."""
    found = []
    for name, event in list(shim.sink.events):
        if event[1].decode() == shim.id:
            found.append((name, event.get(2, b'') if isinstance(event.get(2, b''), bytes) else b''))
    return [one for one in found if topic in (None, one[0])]


def test_a_group_has_one_shim(make):
    group = {'io.containerd.runc.v2.group': 'g1'}
    first = make('sleep', '1000', annotations=group)
    second = make('sleep', '1000', annotations=group, beside=first)
    other = make('true', beside=first)
    assert second.path == first.path != other.path
    assert second.pid == first.pid != other.pid
    pids = [first.create(''), second.create('')]
    assert len(set(pids)) == 2
    for shim in (first, second):
        shim.call('Start')
    assert [shim.rpc.call('Connect', field(1, shim.id))[2] for shim in (first, second)] == pids
    with pytest.raises(ShimError, match='already exists|container'):
        second.create('')
    first.call('Kill', field(3, 9))
    assert first.wait() == 137
    assert second.call('State')[4] == 2
    assert first.call('Delete').get(2) == 137
    first.call('Shutdown')
    assert second.call('State')[4] == 2, 'Shutdown ends a shim that has a container'
    with pytest.raises(ShimError):
        first.call('State')
    # The place is free again: a container that restarts in its group.
    third = make(*sh('exit 4'), annotations=group, beside=first)
    assert third.path == first.path
    third.create('')
    third.call('Start')
    assert third.wait() == 4
    third.call('Delete')
    second.call('Kill', field(3, 9))
    assert second.wait() == 137
    assert second.call('Delete').get(2) == 137
    assert [t for t, _ in told(third)] == ['/tasks/create', '/tasks/start', '/tasks/exit', '/tasks/delete']


def test_delete_of_one_of_a_group_leaves_the_others(make):
    """What a daemon runs for a task whose Create failed."""
    group = {'io.kubernetes.cri.sandbox-id': 'pod'}
    first = make('sleep', '1000', annotations=group)
    first.create('')
    first.call('Start')
    second = make('sleep', '1000', annotations=group, beside=first)
    try:
        second.run_action('delete')
    except subprocess.CalledProcessError:
        assert not make.ours  # Debian's fails for a task without a Create, and changes nothing
    assert first.call('State')[4] == 2
    assert os.path.exists(first.path) and answers(first.path)


def test_file_output(make):
    shim = make(*sh('echo out; echo err >&2'))
    log = shim.directory / 'all.log'
    log.write_text('before\n')
    shim.create(f'file://{log}', stderr=f'file://{log}')
    shim.call('Start')
    assert shim.wait() == 0
    until(lambda: sorted(log.read_text().splitlines()) == ['before', 'err', 'out'], 10)


@pytest.mark.parametrize('how', ['create', 'exec'])
def test_binary_output(make, how):
    shim = make(*sh('echo err >&2; echo to the program; sleep 1000' if how == 'create' else 'sleep 1000'))
    log = shim.directory / 'seen'
    program = shim.directory / 'logger'
    program.write_text(f'#!/bin/sh\ntrap "" TERM\nexec 5>&-\n(echo "$@ $CONTAINER_ID $CONTAINER_NAMESPACE"; cat <&3; cat <&4) > {log}.new\nmv {log}.new {log}\n')
    program.chmod(0o755)
    uri = f'binary://{program}?key=value'
    shim.create(uri if how == 'create' else '', stderr=uri if how == 'create' else '')
    shim.call('Start')
    if how == 'exec':
        shim.exec('e1', sh('echo to the program; echo err >&2'), uri)
        shim.call('Start', field(2, 'e1'))
        assert shim.wait('e1') == 0
        shim.call('Delete', field(2, 'e1'))
    else:
        until(lambda: 'program' in Path(f'{log}.new').read_text(), 10)
    shim.call('Kill', field(3, 9))
    assert shim.wait() == 137
    shim.call('Delete')
    until(log.exists, 10)
    assert log.read_text() == f'key value {shim.id if how == "create" else "e1"} test\nto the program\nerr\n'


def test_binary_that_is_not_there(make):
    shim = make('true')
    with pytest.raises(ShimError, match='/nosuch'):
        shim.create('binary:///nosuch/logger')


def test_terminal_by_fifos(make):
    shim = make(*sh('read x; stty size; echo got $x; tty'), terminal=True)
    ends = [shim.directory / name for name in ('in', 'out')]
    for fifo in ends:
        os.mkfifo(fifo)
    reader = os.open(ends[1], os.O_RDWR | os.O_NONBLOCK)
    writer = os.open(ends[0], os.O_RDWR | os.O_NONBLOCK)
    shim.create(str(ends[1]), stdin=str(ends[0]))
    shim.call('Start')
    shim.call('ResizePty', field(3, 91) + field(4, 37))
    os.write(writer, b'word\n')
    assert shim.wait() == 0
    shim.call('Delete')
    text = os.read(reader, 4096)
    assert b'37 91\r\n' in text and b'got word\r\n' in text and b'/dev/pts/0\r\n' in text
    os.close(reader)
    os.close(writer)


def test_stdin_by_fifo_ends_with_close_io(make):
    shim = make('cat')
    ends = {name: shim.directory / name for name in ('in', 'out', 'err')}
    for fifo in ends.values():
        os.mkfifo(fifo)
    reader, errors = [os.open(ends[name], os.O_RDWR | os.O_NONBLOCK) for name in ('out', 'err')]
    keeper = os.open(ends['in'], os.O_RDWR | os.O_NONBLOCK)
    shim.create(str(ends['out']), stdin=str(ends['in']), stderr=str(ends['err']))
    shim.call('Start')
    writer = os.open(ends['in'], os.O_WRONLY)
    os.close(keeper)
    os.write(writer, b'first\n')
    os.close(writer)
    writer = os.open(ends['in'], os.O_WRONLY)
    os.write(writer, b'second\n')
    os.close(writer)
    shim.call('CloseIO', field(3, 1))
    assert shim.wait() == 0
    shim.call('Delete')
    assert os.read(reader, 100) == b'first\nsecond\n'
    os.close(reader)
    os.close(errors)


def test_events_keep_their_order(make):
    """Processes that end at once: no exit before its start, the init's after those of its execs."""
    shim = make('sleep', '1000')
    shim.create('')
    shim.call('Start')
    for number in range(20):
        shim.exec(f'e{number}', ('true',), '')
        shim.call('Start', field(2, f'e{number}'))
    for number in range(20):
        assert shim.wait(f'e{number}') == 0
    shim.exec('last', ('sleep', '1000'), '')
    shim.call('Start', field(2, 'last'))
    shim.call('Kill', field(3, 9))
    assert shim.wait() == 137
    until(lambda: ('/tasks/exit', shim.id.encode()) in told(shim), 10)
    for name in [*(f'e{n}' for n in range(20)), 'last']:
        assert [t for t, who in told(shim) if who == name.encode()] == ['/tasks/exec-added', '/tasks/exec-started', '/tasks/exit'], name
    assert told(shim, '/tasks/exit')[-1][1] == shim.id.encode()


@pytest.mark.parametrize('round', range(5))
def test_an_init_that_ends_at_once(make, round):
    shim = make('true')
    shim.create('')
    shim.call('Start')
    assert shim.wait() == 0
    shim.call('Delete')
    until(lambda: told(shim, '/tasks/delete'), 10)
    assert [t for t, _ in told(shim)] == ['/tasks/create', '/tasks/start', '/tasks/exit', '/tasks/delete']


def test_out_of_memory_is_told(make):
    if make.kind == 'debian' and not (CGROUPS / 'cgroup.controllers').exists():
        pytest.skip('cgroups of containerd 1.6 are not found where cpu and cpuacct are apart')
    shim = make(*sh('x=$(cat /dev/zero | tr "\\0" a | head -c 200000000); echo ${#x}'), resources={'memory': {'limit': 16 << 20}})
    shim.create('')
    shim.call('Start')
    assert shim.wait() != 0
    until(lambda: told(shim, '/tasks/oom'), 10, 'no /tasks/oom')


def test_statistics(make):
    if make.kind == 'debian' and not (CGROUPS / 'cgroup.controllers').exists():
        pytest.skip('cgroups of containerd 1.6 are not found where cpu and cpuacct are apart')
    shim = make('sleep', '1000', resources={'memory': {'limit': 16 << 20}, 'pids': {'limit': 33}})
    shim.create('')
    shim.call('Start')
    stats = fields(shim.call('Stats')[1])
    unified = (CGROUPS / 'cgroup.controllers').exists()
    assert stats[1].decode().endswith(f'io.containerd.cgroups.v{2 if unified else 1}.Metrics')
    metrics = fields(stats[2])
    pids = fields(metrics[1] if unified else metrics[2])
    assert pids[1] >= 1 and pids[2] == 33
    memory = fields(metrics[4])
    if not unified:
        assert fields(memory[33])[1] == 16 << 20
    assert metrics[2 if unified else 3]  # processor time


def test_checkpoint_without_criu(make):
    if shutil.which('criu'):
        pytest.skip('criu is here')
    shim = make('sleep', '1000')
    shim.create('')
    shim.call('Start')
    with pytest.raises(ShimError, match='(?i)criu|unknown command checkpoint'):
        shim.call('Checkpoint', field(2, str(shim.directory / 'image')))
    assert shim.call('State')[4] == 2


def test_update(make):
    shim = make('sleep', '1000', resources={'memory': {'limit': 16 << 20}})
    pid = shim.create('')
    shim.call('Start')
    resources = field(1, 'types.containerd.io/opencontainers/runtime-spec/1/LinuxResources') + field(2, json.dumps({'memory': {'limit': 32 << 20}}))
    shim.call('Update', field(2, resources))
    path = next(l.split(':')[2] for l in Path(f'/proc/{pid}/cgroup').read_text().splitlines() if ':memory:' in l or l.startswith('0::/gantry'))
    file = next(f for f in (CGROUPS / f'memory{path}/memory.limit_in_bytes', CGROUPS / f'{path[1:]}/memory.max') if f.exists())
    assert int(file.read_text()) == 32 << 20


def test_a_shim_in_a_cgroup_of_its_own(make):
    group = f'gantry-shim-own-{os.getpid()}'
    folder = CGROUPS / group if (CGROUPS / 'cgroup.controllers').exists() else CGROUPS / 'memory' / group
    options = field(1, 'containerd.runc.v1.Options') + field(2, field(3, f'/{group}'))
    folder.mkdir()
    try:
        shim = make('true', start_input=options)
        assert str(shim.pid) in (folder / 'cgroup.procs').read_text().split()
        shim.call('Shutdown', field(2, 1))
        until(lambda: not (folder / 'cgroup.procs').read_text(), 10)
    finally:
        folder.rmdir()


def test_a_killed_shim_is_cleaned_up(make):
    shim = make('sleep', '1000')
    pid = shim.create('')
    shim.call('Start')
    os.kill(shim.pid, signal.SIGKILL)
    until(lambda: not answers(shim.path), 10)
    response = fields(shim.run_action('delete'))
    assert response[2] == 137 and response[3]
    assert response[1] == pid
    until(lambda: not os.path.exists(f'/proc/{pid}') or 'State:\tZ' in Path(f'/proc/{pid}/status').read_text(), 10)
    assert not list(CGROUPS.glob(f'*/gantry-shim-test/{shim.id}-*'))
    if os.path.exists(shim.path):
        os.unlink(shim.path)  # Debian's leaves it to the daemon


def bootstrap(**more):
    """BootstrapParams of containerd 2.3 in bytes."""
    return field(1, 'c0') + field(2, 'test') + field(4, '2.3.4') + more.get('extra', b'')


@pytest.mark.parametrize('form', ['nothing', 'options', 'params', 'socket directory'])
def test_forms_of_start(rootfs, form):
    """Daemons before 2.3 write options or nothing and take a bare address, which means version 2; 2.3 writes
    parameters, and a JSON answer tells it that we speak version 3. Options come as an extension there."""
    top = Path(tempfile.mkdtemp(prefix='gsp-', dir='/tmp'))
    options = field(1, 'containerd.runc.v1.Options') + field(2, field(6, 'runc'))
    given = {'nothing': b'', 'options': options, 'params': bootstrap(extra=field(8, field(1, options))),
             'socket directory': bootstrap(extra=field(9, str(top / 'sockets')))}[form]
    shim = Shim(OURS, top / 'c0', rootfs, ('true',), name='c0', start_input=given)
    try:
        if form in ('nothing', 'options'):
            assert shim.answer == f'unix://{shim.path}'.encode()
        else:
            assert json.loads(shim.answer) == {'version': 3, 'address': f'unix://{shim.path}', 'protocol': 'ttrpc'}
        if form == 'socket directory':
            assert os.path.dirname(shim.path) == str(top / 'sockets')
        shim.create('')
        # Both versions of the service answer, whatever was said.
        for version in (2, 3):
            assert Ttrpc(shim.path).call('State', field(1, 'c0'), service=f'containerd.task.v{version}.Task')[4] == 1
        with pytest.raises(ShimError, match='(?i)service'):
            Ttrpc(shim.path).call('State', field(1, 'c0'), service='containerd.task.v4.Task')
    finally:
        shim.close()
        shutil.rmtree(top)


def test_info_tells_what_the_runtime_can():
    for runtime in filter(None, ['', shutil.which('runc'), CRUN]):
        options = field(1, 'containerd.runc.v1.Options') + field(2, field(6, runtime))
        done = subprocess.run([OURS, '-info'], input=options if runtime else b'', stdout=subprocess.PIPE, check=True)
        info = fields(done.stdout)
        assert info[1] == b'io.containerd.gantry.v1' and fields(info[2])[1]
    done = subprocess.run([OURS, '-info'], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    features = json.loads(fields(fields(done.stdout)[4])[2])
    assert 'ociVersionMax' in features and 'linux' in features


def test_a_missing_shim_cgroup_is_refused(rootfs):
    top = Path(tempfile.mkdtemp(prefix='gsp-', dir='/tmp'))
    options = field(1, 'containerd.runc.v1.Options') + field(2, field(3, '/no/such/group'))
    try:
        with pytest.raises(subprocess.CalledProcessError) as failed:
            Shim(OURS, top / 'c0', rootfs, ('true',), name='c0', start_input=options)
        assert b"joining the shim's cgroup '/no/such/group'" in failed.value.output
        assert not list(top.glob('c0/s/*'))
    finally:
        shutil.rmtree(top)
