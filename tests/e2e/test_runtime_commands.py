# SPDX-License-Identifier: Apache-2.0
"""Commands, flags and the forms of their output, as callers of runc know them. GANTRY_TEST_RUNTIME=runc proves them on
Debian's runc 1.1.5, =crun on crun 1.8.1 as far as that has the command."""
import array
import json
import os
import select
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest

from harness.bundle import OURS, PEER, RUNTIME, Bundle
from harness.engine import until

V1 = not Path('/sys/fs/cgroup/cgroup.controllers').exists()


def newer(*peers):
    return pytest.mark.skipif(PEER in peers, reason=f"Debian's {PEER} has no such")


@pytest.fixture
def bundle():
    made = Bundle()
    yield made
    made.destroy()


def stopped(bundle):
    name = bundle.start()
    pidfd = os.pidfd_open(bundle.state(name)['pid'])
    bundle.call('kill', name, 'KILL')
    assert select.select([pidfd], [], [], 20)[0]
    os.close(pidfd)
    return name


def file_of(bundle, name, controller, file):
    for line in Path(f'/proc/{bundle.state(name)["pid"]}/cgroup').read_text().splitlines():
        _, controllers, path = line.split(':', 2)
        if not V1 or controller in controllers.split(','):
            return (Path('/sys/fs/cgroup') / (controller if V1 else '') / path.lstrip('/') / file).read_text().strip()
    return None


# --- list, state, ps ------------------------------------------------------------------------------------------------

@newer('crun')
def test_relative_root(bundle, tmp_path):
    """It means the same for each command, from wherever the bundle is."""
    bundle.config['process']['args'] = ['sleep', '100']
    bundle.write()
    name = bundle.name()
    call = [RUNTIME, '--root', 'here']
    try:
        subprocess.run([*call, 'run', '--detach', '--bundle', bundle.folder, name], cwd=tmp_path, check=True, timeout=30, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        done = subprocess.run([*call, 'state', name], cwd=tmp_path, timeout=30, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0 and json.loads(done.stdout)['status'] == 'running', done.stdout
        assert (tmp_path / 'here' / name).is_dir() and not (bundle.folder / 'here').exists()
    finally:
        for folder in (tmp_path, bundle.folder):
            subprocess.run([*call, 'delete', '--force', name], cwd=folder, timeout=30, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@newer('crun')
def test_list(bundle):
    name = bundle.start()
    head, line = bundle.call('list').stdout.splitlines()
    assert head.split() == ['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER']
    state = bundle.state(name)
    assert line.split() == [name, str(state['pid']), 'running', str(bundle.folder), state['created'], 'root']
    for column in ('PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER'):
        assert line[head.index(column) - 1] == ' ' and line[head.index(column)] != ' ', (head, line)
    listed, = json.loads(bundle.call('list', '--format', 'json').stdout)
    assert listed == {**state, 'owner': 'root'}
    assert bundle.call('list', '-q').stdout == name + '\n'
    assert bundle.call('list', '-f', 'xml').returncode == 1


@newer('crun')
def test_list_of_nothing(bundle):
    assert json.loads(bundle.call('list', '-f', 'json').stdout) in ([], None)
    assert bundle.call('list', '-q').stdout == ''


@newer('crun')
def test_state_members(bundle):
    bundle.config['annotations'] = {'org.example': 'x'}
    name = bundle.start()
    state = bundle.state(name)
    assert set(state) == {'ociVersion', 'id', 'pid', 'status', 'bundle', 'rootfs', 'created', 'annotations', 'owner'}
    assert (state['id'], state['status'], state['bundle'], state['rootfs']) == (name, 'running', str(bundle.folder), str(bundle.root))
    assert state['annotations'] == {'org.example': 'x'}


def test_state_of_a_stopped_one(bundle):
    name = stopped(bundle)
    state = bundle.state(name)
    assert (state['status'], state['pid']) == ('stopped', 0)


@newer('crun')
def test_ps(bundle):
    name = bundle.start('sh', '-c', 'sleep 101 & exec sleep 100')
    table = bundle.call('ps', name).stdout.splitlines()
    while 'sh -c' in ''.join(table):  # until both have executed their own
        table = bundle.call('ps', name).stdout.splitlines()
    assert table[0].split()[:2] == ['UID', 'PID'] and sorted(line.split()[-1] for line in table[1:]) == ['100', '101']
    pids = json.loads(bundle.call('ps', '--format', 'json', name).stdout)
    assert len(pids) == 2 and bundle.state(name)['pid'] in pids
    chosen = bundle.call('ps', name, '-e', '-o', 'pid,args').stdout.splitlines()
    assert chosen[0].split() == ['PID', 'COMMAND'] and len(chosen) == 3
    assert bundle.call('ps', '-f', 'xml', name).returncode == 1


# --- texts that callers match ------------------------------------------------------------------------------------------

@newer('crun')
@pytest.mark.parametrize('words', [('state',), ('start',), ('delete',), ('pause',), ('resume',), ('ps',), ('events', '--stats'), ('update', '--pids-limit', '5'),
                                   ('exec',), ('kill',), ('checkpoint',)])
def test_of_none(bundle, words):
    more = {'exec': ['true'], 'kill': ['KILL']}.get(words[0], [])
    done = bundle.call(*words, 'gt-none', *more)
    assert done.returncode == (255 if words[0] == 'exec' else 1) and 'container does not exist' in done.stderr, done.stderr
    assert bundle.call('delete', '--force', 'gt-none').returncode == 0


@newer('crun')
def test_of_a_stopped_one(bundle):
    name = stopped(bundle)
    assert any(text in bundle.call('kill', name, 'KILL').stderr for text in ('container not running', 'os: process already finished'))
    assert 'container not running' in bundle.call('pause', name).stderr
    assert bundle.call('events', '--stats', name).returncode == 1 and 'not running' in bundle.call('events', name).stderr
    done = bundle.call('exec', name, 'true')
    assert done.returncode == 255 and ('container not running' in done.stderr or PEER), done.stderr
    assert bundle.call('kill', '--all', name, 'KILL').returncode == 0
    assert 'not paused' in bundle.call('resume', name).stderr
    assert 'stopped' in bundle.call('start', name).stderr
    assert bundle.call('delete', name).returncode == 0


@newer('crun')
def test_of_a_running_one(bundle):
    name = bundle.start()
    assert 'already running' in bundle.call('start', name).stderr
    assert 'not stopped: running' in bundle.call('delete', name).stderr
    assert 'not paused' in bundle.call('resume', name).stderr
    assert bundle.call('kill', name, 'NOSUCH').returncode == 1 and bundle.call('kill', name, '99').returncode == 1
    done = bundle.call('run', name)
    assert done.returncode == 1 and 'exist' in done.stderr
    assert bundle.call('pause', name).returncode == 0
    done = bundle.call('exec', name, 'true')
    assert done.returncode == 255 and 'cannot exec in a paused container' in done.stderr
    assert bundle.call('resume', name).returncode == 0


@newer('runc', 'crun')
def test_unknown_words(bundle):
    for words in (['nosuch'], ['--nosuch', 'list'], ['list', '--nosuch'], ['state'], ['state', 'a', 'b'], ['--log-format', 'xml', 'list']):
        assert bundle.call(*words).returncode == 1, words


# --- kill ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('word', ['USR1', 'SIGUSR1', '10'])
def test_kill_by_name_and_number(bundle, word):
    script = 'trap "echo got >/tmp/got; exit 0" USR1; touch /tmp/up; while true; do sleep 0.01; done'
    name = bundle.start('sh', '-c', script)
    pidfd = os.pidfd_open(bundle.state(name)['pid'])
    while not (bundle.root / 'tmp/up').exists():
        assert bundle.state(name)['status'] == 'running'
    assert bundle.call('kill', name, word).returncode == 0
    assert select.select([pidfd], [], [], 20)[0]
    assert (bundle.root / 'tmp/got').read_text() == 'got\n'


def test_kill_all(bundle):
    """Without a pid namespace of its own the first process does not take the others with it."""
    bundle.linux['namespaces'] = [n for n in bundle.linux['namespaces'] if n['type'] != 'pid']
    name = bundle.start('sh', '-c', 'sleep 101 & sleep 102 & exec sleep 100')
    def processes():
        return json.loads(bundle.call('ps', '-f', 'json', name).stdout)
    until(lambda: len(processes()) == 3)  # the shell has just begun
    pids = processes()
    fds = [os.pidfd_open(pid) for pid in pids]
    assert bundle.call('kill', '--all', name, 'KILL').returncode == 0
    for fd in fds:
        assert select.select([fd], [], [], 20)[0]
        os.close(fd)


# --- update -------------------------------------------------------------------------------------------------------------

FLAGS = [('--memory', '67108864', 'memory', 'memory.limit_in_bytes', '67108864'), ('--memory-reservation', '33554432', 'memory', 'memory.soft_limit_in_bytes', '33554432'),
         ('--cpu-share', '200', 'cpu', 'cpu.shares', '200'), ('--cpu-quota', '30000', 'cpu', 'cpu.cfs_quota_us', '30000'),
         ('--cpuset-cpus', '0', 'cpuset', 'cpuset.cpus', '0'), ('--cpuset-mems', '0', 'cpuset', 'cpuset.mems', '0'), ('--pids-limit', '17', 'pids', 'pids.max', '17'),
         ('--kernel-memory-tcp', '16777216', 'memory', 'memory.kmem.tcp.limit_in_bytes', '16777216'), ('--cpu-period', '50000', 'cpu', 'cpu.cfs_period_us', '50000'),
         ('--cpu-burst', '10000', 'cpu', 'cpu.cfs_burst_us', '10000'), ('--cpu-idle', '1', 'cpu', 'cpu.idle', '1'), ('--memory', '64m', 'memory', 'memory.limit_in_bytes', '67108864')]


@pytest.mark.skipif(not V1, reason='file names of cgroup v1')
@pytest.mark.parametrize('flag, value, controller, file, found', FLAGS)
def test_update_by_flags(bundle, flag, value, controller, file, found):
    if PEER and flag in ('--cpu-burst', '--cpu-idle', '--kernel-memory-tcp') or PEER == 'crun' and value == '64m':
        pytest.skip(f"Debian's {PEER} has it not")
    name = bundle.start()
    if flag == '--cpu-burst':
        assert bundle.call('update', '--cpu-quota', '30000', name).returncode == 0
    done = bundle.call('update', flag, value, name)
    assert done.returncode == 0, done.stderr
    assert file_of(bundle, name, controller, file) == found


@pytest.mark.skipif(not V1, reason='file names of cgroup v1')
@pytest.mark.parametrize('way', ['file', 'input'])
def test_update_by_resources(bundle, way):
    name = bundle.start()
    text = json.dumps({'memory': {'limit': 50 << 20, 'reservation': 40 << 20}, 'cpu': {'shares': 77}, 'pids': {'limit': 9}})
    (bundle.folder / 'update.json').write_text(text)
    with open(bundle.folder / 'update.json') as file:
        word = '-' if way == 'input' else str(bundle.folder / 'update.json')
        done = bundle.call('update', '--resources', word, name, stdin=file)
    assert done.returncode == 0, done.stderr
    found = [file_of(bundle, name, *where) for where in (('memory', 'memory.limit_in_bytes'), ('memory', 'memory.soft_limit_in_bytes'), ('cpu', 'cpu.shares'), ('pids', 'pids.max'))]
    assert found == [str(50 << 20), str(40 << 20), '77', '9']


@pytest.mark.skipif(not V1, reason='file names of cgroup v1')
def test_update_memory_and_swap_up_and_down(bundle):
    """memory <= memory+swap holds at every moment, so the order of the two writes depends on the old values."""
    name = bundle.start()
    if not (Path('/sys/fs/cgroup/memory') / 'memory.memsw.limit_in_bytes').exists():
        pytest.skip('no accounting of swap')
    for megabytes in (100, 200, 50, 400):
        done = bundle.call('update', '--memory', str(megabytes << 20), '--memory-swap', str(megabytes << 21), name)
        assert done.returncode == 0, done.stderr
        assert file_of(bundle, name, 'memory', 'memory.limit_in_bytes') == str(megabytes << 20)
        assert file_of(bundle, name, 'memory', 'memory.memsw.limit_in_bytes') == str(megabytes << 21)
    assert bundle.call('update', '--memory', '-1', '--memory-swap', '-1', name).returncode == 0
    assert int(file_of(bundle, name, 'memory', 'memory.limit_in_bytes')) > 1 << 60


@newer('runc', 'crun')
def test_update_that_cannot_be(bundle):
    name = bundle.start()
    for words in (['--memory', 'x'], ['--cpu-share', '-1'], ['--pids-limit', 'many'], ['--resources', '/nosuch'], ['--l3-cache-schema', 'L3:0=f'], ['--cpuset-cpus', '999']):
        done = bundle.call('update', *words, name)
        assert done.returncode == 1 and done.stderr, words


# --- events -------------------------------------------------------------------------------------------------------------

@newer('crun')
def test_stats(bundle):
    name = bundle.start()
    record = json.loads(bundle.call('events', '--stats', name).stdout)
    assert (record['type'], record['id']) == ('stats', name)
    data = record['data']
    assert {'cpu', 'memory', 'pids', 'blkio', 'hugetlb'} <= set(data)
    assert data['cpu']['usage']['total'] > 0 and data['memory']['usage']['usage'] > 0 and data['pids']['current'] == 1
    assert {'usage', 'swap', 'kernel', 'raw'} <= set(data['memory']) and 'pgfault' in data['memory']['raw']


@newer('crun')
def test_events_until_the_end(bundle):
    name = bundle.start()
    bundle.write()
    with subprocess.Popen(bundle.command('events', '--interval', '100ms', name), stdout=subprocess.PIPE, text=True) as events:
        records = [json.loads(events.stdout.readline()) for _ in range(3)]
        assert [r['type'] for r in records] == ['stats'] * 3
        bundle.call('kill', name, 'KILL')
        if PEER == 'runc':
            bundle.call('delete', '--force', name)  # 1.1.5 ends with the cgroup, not with the process
        events.communicate(timeout=20)
        assert events.returncode == 0


@newer('crun')
def test_events_of_too_little_memory(bundle):
    bundle.linux['resources']['memory'] = {'limit': 16 << 20, 'swap': 16 << 20}
    name = bundle.start('sh', '-c', 'while [ ! -e /tmp/go ]; do sleep 0.01; done; (x=$(yes | busybox head -c 50000000)); sleep 100')
    with subprocess.Popen(bundle.command('events', '--interval', '200ms', name), stdout=subprocess.PIPE, text=True) as events:
        events.stdout.readline()
        (bundle.root / 'tmp/go').touch()
        for line in events.stdout:
            record = json.loads(line)
            if record['type'] == 'oom':
                break
        assert record == {'type': 'oom', 'id': name}
        events.kill()


@newer('crun')
def test_events_wants_an_interval(bundle):
    name = bundle.start()
    for bad in ('0s', '-1s', 'x'):
        assert bundle.call('events', '--interval', bad, name).returncode == 1


# --- exec ---------------------------------------------------------------------------------------------------------------

@newer('crun')
def test_exec_flags(bundle):
    name = bundle.start()
    done = bundle.call('exec', '--cwd', '/tmp', '--env', 'A=b c', '--env', 'D=e', '--user', '12:34', name, 'sh', '-c', 'pwd; echo "$A$D"; id -u; id -g')
    assert done.stdout.splitlines() == ['/tmp', 'b ce', '12', '34'], done.stderr
    status = bundle.call('exec', '--cap', 'CAP_SYS_PTRACE', '--no-new-privs', name, 'cat', '/proc/self/status').stdout
    assert 'NoNewPrivs:\t1' in status and int(status.split('CapEff:')[1].split()[0], 16) & 1 << 19


@newer('crun')
def test_exec_groups_and_paused(bundle):
    name = bundle.start()
    done = bundle.call('exec', '-g', '70', '-g', '71', name, 'grep', 'Groups', '/proc/self/status')
    assert {'70', '71'} <= set(done.stdout.split()), done.stderr
    bundle.call('pause', name)
    with subprocess.Popen(bundle.command('exec', '--ignore-paused', name, 'echo', 'on'), stdout=subprocess.PIPE, text=True) as inside:
        assert select.select([inside.stdout], [], [], 0.3)[0] == []  # frozen with the others
        bundle.call('resume', name)
        assert inside.communicate(timeout=20)[0] == 'on\n'


def frozen_with(groups, pid):
    mine = Path(f'/proc/{pid}/cgroup').read_text().splitlines()
    line = next((line for line in groups.splitlines() if ':freezer:' in line or line.startswith('0::')), None)
    return line in mine


@newer('runc', 'crun')
def test_exec_is_not_for_the_container_to_look_at(bundle):
    """The process that joins has the host's descriptors, so it is not dumpable before it is in there: with a user namespace
    the container's root could trace it else. Frozen at its first step, as a user whose files in /proc would be its own."""
    name = bundle.start()
    bundle.call('pause', name)
    powers = ['setpriv', '--reuid', '1000', '--clear-groups', '--inh-caps', '+all,-sys_resource', '--ambient-caps', '+all,-sys_resource']
    with subprocess.Popen([*powers, *bundle.command('exec', '--ignore-paused', name, 'cat', '/proc/self/status')], stdout=subprocess.PIPE, text=True) as runtime:
        groups = Path(f'/proc/{bundle.state(name)["pid"]}/cgroup').read_text()
        children = Path(f'/proc/{runtime.pid}/task/{runtime.pid}/children')
        deadline = time.monotonic() + 20
        while (not (pids := children.read_text().split()) or not frozen_with(groups, pids[0])) and time.monotonic() < deadline:
            pass
        owner = os.stat(f'/proc/{pids[0]}/environ').st_uid
        bundle.call('resume', name)
        assert runtime.communicate(timeout=20)[0] != '' and owner == 0


def test_exec_detached_with_a_pid_file(bundle):
    name = bundle.start()
    done = bundle.call('exec', '--detach', '--pid-file', 'pid', name, 'sleep', '99', stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert done.returncode == 0
    pid = (bundle.folder / 'pid').read_text()
    assert Path(f'/proc/{pid}/cmdline').read_text() == 'sleep\x0099\x00'


def test_exec_keeps_descriptors(bundle):
    name = bundle.start()
    read, write = os.pipe()
    command = bundle.command('exec', '--preserve-fds', '1', name, 'sh', '-c', 'echo through >&3')
    done = subprocess.run(['bash', '-c', 'exec 3>&"$0"; exec "$@"', str(write), *command], pass_fds=[write], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert os.read(read, 20) == b'through\n'
    os.close(read)
    os.close(write)


# --- pidfd socket -------------------------------------------------------------------------------------------------------

def receive(server):
    connection, _ = server.accept()
    data, fds, _, _ = socket.recv_fds(connection, 100, 1)
    return data.decode(), fds[0]


@newer('runc', 'crun')
def test_pidfd_socket(bundle):
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(bundle.folder / 'pidfds'))
    server.listen()
    name = bundle.start(flags=('--pidfd-socket', 'pidfds'))
    kind, pidfd = receive(server)
    assert kind == 'standard' and f'Pid:\t{bundle.state(name)["pid"]}\n' in Path(f'/proc/self/fdinfo/{pidfd}').read_text()
    bundle.call('exec', '--detach', '--pidfd-socket', str(bundle.folder / 'pidfds'), name, 'sleep', '99', stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    kind, other = receive(server)
    assert kind == 'setns'
    signal.pidfd_send_signal(other, signal.SIGKILL)
    assert select.select([other], [], [], 20)[0]
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    assert select.select([pidfd], [], [], 20)[0]
    done = bundle.call('create', '--pidfd-socket', '/nosuch', bundle.name())
    assert done.returncode == 1 and 'pidfd socket' in done.stderr


# --- spec, features, checkpoint --------------------------------------------------------------------------------------------

def test_spec(bundle):
    folder = bundle.folder / 'new'
    folder.mkdir()
    (folder / 'rootfs').symlink_to(bundle.root)
    assert bundle.call('spec', '--bundle', str(folder)).returncode == 0
    config = json.loads((folder / 'config.json').read_text())
    assert config['process']['args'] == ['sh'] and config['root']['path'] == 'rootfs'
    assert bundle.call('spec', '--bundle', str(folder)).returncode == 1
    (folder / 'config.json').unlink()
    assert bundle.call('spec', '--rootless', '--bundle', str(folder)).returncode == 0
    config = json.loads((folder / 'config.json').read_text())
    kinds = [n['type'] for n in config['linux']['namespaces']]
    assert 'user' in kinds and ('network' not in kinds or PEER == 'crun')
    assert PEER == 'crun' or config['linux']['uidMappings'][0] == {'containerID': 0, 'hostID': os.geteuid(), 'size': 1}


@newer('runc', 'crun')
def test_a_rootless_spec_runs(bundle):
    """Here as root still: the mappings of one id and the mounts fit together."""
    (bundle.folder / 'config.json').unlink()
    subprocess.run([OURS, 'spec', '--rootless'], cwd=bundle.folder, check=True)
    bundle.config = json.loads((bundle.folder / 'config.json').read_text())
    bundle.config['process'].update(terminal=False, rlimits=[])
    assert bundle.out('cat', '/proc/self/uid_map').split() == ['0', '0', '1']


@newer('runc', 'crun')
def test_features_tell_the_truth(bundle):
    features = json.loads(bundle.call('features').stdout)
    assert features['ociVersionMin'] == '1.0.0' and features['ociVersionMax'] == '1.3.0'
    assert features['hooks'] == ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop']
    platform = features['linux']
    assert platform['namespaces'] == ['cgroup', 'ipc', 'mount', 'network', 'pid', 'time', 'user', 'uts']
    assert platform['mountExtensions'] == {'idmap': {'enabled': True}} and platform['netDevices'] == {'enabled': True}
    assert platform['intelRdt'] == {'enabled': True, 'schemata': True, 'monitoring': True}
    for option in ('rro', 'rrw', 'rnosuid', 'rnodev', 'rnoexec', 'rnoatime', 'rstrictatime', 'idmap', 'ridmap', 'tmpcopyup'):
        assert option in features['mountOptions']
    assert features['annotations']['org.opencontainers.runc.checkpoint.enabled'] == 'false'


@newer('runc', 'crun')
@pytest.mark.parametrize('criu', ['absent', 'broken'])
def test_checkpoint_says_what_is_missing(bundle, criu):
    name = bundle.start()
    programs = bundle.folder / 'bin'
    programs.mkdir()
    if criu == 'broken':
        (programs / 'criu').write_text('#!/bin/sh\necho "Error (criu/vdso.c:256): cannot parse vdso" >&2\nexit 1\n')
        (programs / 'criu').chmod(0o755)
    for words in (['checkpoint', '--image-path', 'x', '--work-path', 'y', '--leave-running', '--tcp-established', '--ext-unix-sk', '--shell-job', '--file-locks',
                   '--pre-dump', '--manage-cgroups-mode', 'soft', '--empty-ns', 'network', '--auto-dedup', '--parent-path', 'p', '--page-server', 'a:1', '--status-fd', '7', name],
                  ['restore', '--image-path', 'x', '--bundle', '.', '--detach', '--pid-file', 'p', '--no-subreaper', '--no-pivot', '--lsm-profile', 'a:b',
                   '--lsm-mount-context', 'c', '--lazy-pages', bundle.name()]):
        done = bundle.call(*words, env={'PATH': str(programs)})
        assert done.returncode == 1, words
        assert ('criu is not installed' if criu == 'absent' else "'criu check' ended with 1: Error (criu/vdso.c:256): cannot parse vdso") in done.stderr
    assert bundle.state(name)['status'] == 'running'


# --- seccomp listener -------------------------------------------------------------------------------------------------------

@newer('crun')
def test_seccomp_listener(bundle):
    """The listener gets the descriptor and the state, answers mkdir for the container, and nobody else is asked."""
    path = str(bundle.folder / 'listener')
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    bundle.config['annotations'] = {'org.example': 'x'}
    bundle.linux['seccomp'] = {'defaultAction': 'SCMP_ACT_ALLOW', 'listenerPath': path, 'listenerMetadata': 'meta',
                               'syscalls': [{'names': ['mkdir', 'mkdirat'], 'action': 'SCMP_ACT_NOTIFY'}]}
    bundle.config['process']['args'] = ['sh', '-c', 'mkdir /tmp/a; echo "code $?"']
    bundle.write()
    name = bundle.name()
    with subprocess.Popen(bundle.command('run', name), cwd=bundle.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as container:
        server.settimeout(20)
        connection, _ = server.accept()
        data, fds, _, _ = socket.recv_fds(connection, 16384, 1)
        told = json.loads(data)
        assert told['fds'] == ['seccompFd'] and told['metadata'] == 'meta' and told['ociVersion'].startswith('1.')
        assert told['state']['id'] == name and told['state']['status'] == 'creating' and told['state']['bundle'] == str(bundle.folder)
        assert told['pid'] == told['state']['pid'] and told['state']['annotations'] == {'org.example': 'x'}
        answer_one(fds[0])
        out, errors = container.communicate(timeout=20)
        assert 'code 1' in out and 'Disk quota' in errors, (out, errors)
    assert not (bundle.root / 'tmp/a').exists()


def answer_one(listener):
    """SECCOMP_IOCTL_NOTIF_RECV, then _SEND with EDQUOT (linux/seccomp.h)."""
    import fcntl
    request = array.array('B', bytes(80))
    assert select.select([listener], [], [], 20)[0]
    fcntl.ioctl(listener, 0xc0502100, request)
    identity = bytes(request)[:8]
    response = array.array('B', identity + bytes(8) + (-122).to_bytes(4, 'little', signed=True) + bytes(4))
    fcntl.ioctl(listener, 0xc0182101, response)
    os.close(listener)


@newer('runc', 'crun')
def test_seccomp_words(bundle):
    """A listener that nothing notifies is not connected to; contradictions are errors."""
    bundle.linux['seccomp'] = {'defaultAction': 'SCMP_ACT_ALLOW', 'listenerPath': '/nosuch', 'flags': ['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV']}
    assert bundle.out('echo', 'ran') == 'ran\n'
    for wrong in ({'listenerMetadata': 'x'}, {'syscalls': [{'names': ['mkdir'], 'action': 'SCMP_ACT_NOTIFY'}]}, {'syscalls': [{'names': ['mkdir'], 'action': 'SCMP_ACT_ALLOW', 'errnoRet': 5}]},
                  {'flags': ['NOSUCH']}):
        bundle.linux['seccomp'] = {'defaultAction': 'SCMP_ACT_ALLOW', **wrong}
        done = bundle.run('true')
        assert done.returncode == 1 and 'linux.seccomp' in done.stderr, (wrong, done.stderr)


# --- the log --------------------------------------------------------------------------------------------------------------

@newer('runc', 'crun')
def test_debug_records(bundle):
    """What was called and how long it took, for who looks for lost time."""
    log = bundle.folder / 'log'
    words = bundle.command('list')
    for more, levels in ([], set()), (['--debug'], {'debug'}), (['--log-level', 'debug'], {'debug'}), (['--log-level', 'error'], set()):
        subprocess.run([words[0], *more, '--log', str(log), '--log-format', 'json', *words[1:]], capture_output=True, check=True)
        records = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        assert {record['level'] for record in records} == levels
        assert not levels or "'list'" in records[0]['msg']
        log.unlink(missing_ok=True)


def test_log_as_json(bundle):
    log = bundle.folder / 'log'
    bundle.write()
    words = bundle.command('state', 'gt-none')
    done = subprocess.run([words[0], '--log', str(log), '--log-format', 'json', *words[1:]], capture_output=True)
    assert done.returncode == 1
    record = json.loads(log.read_text().splitlines()[-1])
    assert set(record) >= {'level', 'msg', 'time'} and record['level'] == 'error'
    assert stat.S_ISREG(log.stat().st_mode)
