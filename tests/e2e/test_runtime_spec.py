# SPDX-License-Identifier: Apache-2.0
"""Fields of the runtime specification, each seen from inside the container. GANTRY_TEST_RUNTIME=runc|crun proves them on
Debian's runc 1.1.5 and crun 1.8.1; `newer` marks what these are too old for."""
import ctypes
import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from harness import cgroups
from harness.bundle import PEER, Bundle
from harness.engine import until

MAPS = [{'containerID': 0, 'hostID': 100000, 'size': 65536}]


def newer(*peers):
    return pytest.mark.skipif(PEER in peers, reason=f"Debian's {PEER} is older than this")


@pytest.fixture
def bundle():
    made = Bundle()
    yield made
    made.destroy()


@pytest.fixture
def holder():
    """Processes that hold namespaces, ended afterwards."""
    processes = []

    def hold(*flags):
        process = subprocess.Popen(['unshare', *flags, 'sh', '-c', 'echo up; exec sleep 100'], stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout.readline() == b'up\n'
        return process.pid
    yield hold
    for process in processes:
        process.kill()
        process.wait()


def mount(destination, kind, source, *options, **more):
    return {'destination': destination, 'type': kind, 'source': str(source), 'options': list(options), **more}


# --- namespaces -------------------------------------------------------------------------------------------------

def userns(bundle):
    bundle.namespace('user')
    bundle.linux.update(uidMappings=MAPS, gidMappings=MAPS)
    bundle.config['mounts'] = [m for m in bundle.config['mounts'] if m['type'] != 'cgroup']
    subprocess.run(['chown', '-R', '100000:100000', str(bundle.root)], check=True)


@pytest.mark.parametrize('kind, flag', [('network', 'n'), ('ipc', 'i'), ('uts', 'u'), ('cgroup', 'C')])
def test_namespace_by_path(bundle, holder, kind, flag):
    pid = holder('-' + flag)
    file = {'network': 'net'}.get(kind, kind)
    bundle.namespace(kind, f'/proc/{pid}/ns/{file}')
    assert bundle.out('readlink', f'/proc/self/ns/{file}').strip() == os.readlink(f'/proc/{pid}/ns/{file}')


def test_pid_namespace_by_path(bundle):
    pid = bundle.state(bundle.start())['pid']
    bundle.namespace('pid', f'/proc/{pid}/ns/pid')
    out = bundle.out('sh', '-c', 'readlink /proc/self/ns/pid; ps')
    assert out.splitlines()[0] == os.readlink(f'/proc/{pid}/ns/pid') and 'sleep 100' in out


@newer('crun')
def test_mount_namespace_by_path(bundle, holder):
    """What is mounted there can be the bundle's root and the source of a bind."""
    pid = holder('-m')
    enter = ['nsenter', '-m', '-t', str(pid), 'sh', '-c']
    (bundle.folder / 'data').mkdir()
    subprocess.run([*enter, f'mount -t tmpfs none {bundle.folder}/data && echo inside >{bundle.folder}/data/file'], check=True)
    bundle.config['mounts'].append(mount('/data', 'bind', 'data', 'rbind'))
    bundle.namespace('mount', f'/proc/{pid}/ns/mnt')
    out = bundle.out('sh', '-c', 'readlink /proc/self/ns/mnt; cat /data/file')
    assert out.split() == [os.readlink(f'/proc/{pid}/ns/mnt'), 'inside']
    assert os.listdir(bundle.folder / 'data') == []


def test_user_namespace_by_path(bundle):
    """All others are new and belong to it: sysfs, mqueue and a host name need that."""
    userns(bundle)
    first = bundle.start()
    pid = bundle.state(first)['pid']
    bundle.namespace('user', f'/proc/{pid}/ns/user')
    if not PEER:
        bundle.linux.update(uidMappings=[], gidMappings=[])
    out = bundle.out('sh', '-c', 'readlink /proc/self/ns/user; id -u; stat -c %u /bin; hostname').split()
    assert out == [os.readlink(f'/proc/{pid}/ns/user'), '0', '0', 'gantry']
    assert bundle.state(first)['status'] == 'running'


def test_user_and_other_namespaces_by_path(bundle):
    """As in a pod: the sandbox has them, and the second container joins."""
    userns(bundle)
    pid = bundle.state(bundle.start())['pid']
    for kind, file in (('user', 'user'), ('network', 'net'), ('ipc', 'ipc'), ('uts', 'uts')):
        bundle.namespace(kind, f'/proc/{pid}/ns/{file}')
    if not PEER:
        bundle.linux.update(uidMappings=[], gidMappings=[])
    bundle.config['hostname'] = ''
    name = bundle.start()
    other = bundle.state(name)['pid']
    for file in ('user', 'net', 'ipc', 'uts'):
        assert os.readlink(f'/proc/{other}/ns/{file}') == os.readlink(f'/proc/{pid}/ns/{file}')
    assert os.readlink(f'/proc/{other}/ns/mnt') != os.readlink(f'/proc/{pid}/ns/mnt')
    done = bundle.call('exec', name, 'id', '-u')
    assert done.stdout == '0\n', done.stderr
    # Nobody of the namespace may look into a process that was the runtime (its descriptors are the host's).
    assert bundle.call('kill', name, 'KILL').returncode == 0


def test_new_user_namespace_with_a_network_of_the_host(bundle, holder):
    """Podman makes the network namespace first; only the host's root may join it."""
    pid = holder('-n')
    userns(bundle)
    bundle.namespace('network', f'/proc/{pid}/ns/net')
    bundle.config['mounts'] = [m for m in bundle.config['mounts'] if m['type'] != 'sysfs']
    out = bundle.out('sh', '-c', 'readlink /proc/self/ns/net; cat /proc/self/uid_map').split()
    assert out[0] == os.readlink(f'/proc/{pid}/ns/net') and out[1:] == ['0', '100000', '65536']


@newer('runc', 'crun')
def test_time_namespace(bundle):
    bundle.namespace('time')
    bundle.linux['timeOffsets'] = {'boottime': {'secs': 1000000, 'nanosecs': 5}, 'monotonic': {'secs': 2000000}}
    name = bundle.start()
    uptime = bundle.call('exec', name, 'cut', '-d.', '-f1', '/proc/uptime')
    assert int(uptime.stdout) > 1000000, uptime.stderr
    assert int(bundle.out('cut', '-d.', '-f1', '/proc/uptime')) > 1000000
    bundle.linux['timeOffsets'] = {'boottime': {'secs': -10**12}}
    assert 'timeOffsets' in bundle.run('true').stderr


# --- mounts -----------------------------------------------------------------------------------------------------

def owner(bundle, *options, **more):
    source = bundle.folder / 'data'
    source.mkdir(exist_ok=True)
    (source / 'file').write_text('x')
    (source / 'below').mkdir(exist_ok=True)
    bundle.config['mounts'].append(mount('/data', 'bind', source, 'rbind', *options, **more))
    bundle.config['process']['args'] = ['stat', '-c', '%u:%g', '/data/file', '/data/below']


@newer('runc')
@pytest.mark.parametrize('option', ['idmap', 'ridmap', ''])
def test_idmapped_mount_by_its_own_mappings(bundle, option):
    if PEER == 'crun' and option != 'idmap':
        pytest.skip('crun 1.8.1 knows "idmap" alone')
    maps = [{'containerID': 0, 'hostID': 1000, 'size': 10}]
    owner(bundle, *([option] if option else []), uidMappings=maps, gidMappings=maps)
    assert bundle.call('run', bundle.name()).stdout.split() == ['1000:1000'] * 2


@newer('runc')
def test_idmapped_mount_by_the_container_s_mappings(bundle):
    """What root owns on disk is the container's root's inside, without a chown."""
    userns(bundle)
    owner(bundle, 'idmap')
    done = bundle.call('run', bundle.name())
    assert done.stdout.split() == ['0:0'] * 2, done.stderr


@newer('runc', 'crun')
def test_idmapped_mount_needs_mappings(bundle):
    owner(bundle, 'idmap')
    done = bundle.call('run', bundle.name())
    assert done.returncode == 1 and 'idmap' in done.stderr, done.stderr


idmapped_tmpfs = pytest.mark.skipif(tuple(int(n) for n in os.uname().release.split('.')[:2]) < (6, 3), reason='tmpfs takes mappings since 6.3')


@idmapped_tmpfs
@newer('runc', 'crun')
@pytest.mark.parametrize('option, below', [('idmap', '0:0'), ('ridmap', '1000:1000')])
def test_recursively_idmapped_mount(bundle, option, below):
    maps = [{'containerID': 0, 'hostID': 1000, 'size': 10}]
    owner(bundle, option, uidMappings=maps, gidMappings=maps)
    bundle.write()
    script = 'mount -t tmpfs none data/below && exec "$@"'
    done = bundle.call('run', bundle.name(), wrap=['unshare', '-m', 'sh', '-c', script, 'sh'])
    assert done.stdout.split() == ['1000:1000', below], done.stderr


@idmapped_tmpfs
@newer('runc', 'crun')
def test_idmapped_tmpfs(bundle):
    maps = [{'containerID': 0, 'hostID': 1000, 'size': 10}]
    bundle.config['mounts'].append(mount('/tmp', 'tmpfs', 'tmpfs', 'idmap', uidMappings=maps, gidMappings=maps))
    assert bundle.out('stat', '-c', '%u', '/tmp') == '1000\n'


RECURSIVE = [('rro', 'ro'), ('rnosuid', 'nosuid'), ('rnodev', 'nodev'), ('rnoexec', 'noexec'), ('rnoatime', 'noatime'),
             ('rnodiratime', 'nodiratime'), ('rnosymfollow', 'nosymfollow')]


@newer('runc')
@pytest.mark.parametrize('option, flag', RECURSIVE)
@pytest.mark.parametrize('kind', ['set', 'clear'])
def test_recursive_attributes(bundle, option, flag, kind):
    """Also on the mounts below; and their opposites take them away again."""
    opposite = {'rro': 'rrw', 'rnoatime': 'ratime'}.get(option, 'r' + option[3:])
    options = [option] if kind == 'set' else [option, opposite]
    if PEER == 'crun' and (kind == 'clear' or option in ('rnosymfollow', 'rnoatime', 'rnodiratime')):
        pytest.skip('crun 1.8.1 does not manage these')
    (bundle.folder / 'data/below').mkdir(parents=True)
    bundle.config['mounts'].append(mount('/data', 'bind', bundle.folder / 'data', 'rbind', *options))
    bundle.config['process']['args'] = ['grep', ' /data', '/proc/self/mounts']
    wrap = ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs none data/below && exec "$@"', 'sh']
    done = bundle.call('run', bundle.name(), wrap=wrap)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[1] for line in lines] == ['/data', '/data/below'], done.stderr
    assert all((flag in line[3].split(',')) == (kind == 'set') for line in lines), lines


def test_plain_attributes_leave_what_is_below(bundle):
    (bundle.folder / 'data/below').mkdir(parents=True)
    bundle.config['mounts'].append(mount('/data', 'bind', bundle.folder / 'data', 'rbind', 'ro', 'noexec'))
    bundle.config['process']['args'] = ['grep', ' /data', '/proc/self/mounts']
    wrap = ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs none data/below && exec "$@"', 'sh']
    first, second = bundle.call('run', bundle.name(), wrap=wrap).stdout.splitlines()
    assert 'ro,' in first and 'noexec' in first and 'noexec' not in second and ' rw,' in second


@newer('crun')
def test_tmpfs_has_the_mode_of_what_it_covers(bundle):
    (bundle.root / 'place').mkdir(mode=0o711)
    bundle.config['mounts'] += [mount('/place', 'tmpfs', 'tmpfs', 'ro'), mount('/other', 'tmpfs', 'tmpfs', 'mode=700')]
    assert bundle.out('stat', '-c', '%a', '/place', '/other').split() == ['711', '700']


def test_copy_up(bundle):
    place = bundle.root / 'place'
    (place / 'deep/er').mkdir(parents=True)
    (place / 'file').write_text('words\n')
    (place / 'file').chmod(0o4751)
    (place / 'deep/er/leaf').write_text('leaf\n')
    (place / 'link').symlink_to('/etc/nothing')
    os.chown(place / 'deep', 7, 8)
    bundle.config['mounts'].append(mount('/place', 'tmpfs', 'tmpfs', 'tmpcopyup', 'rw', 'size=1m'))
    script = 'cat /place/file /place/deep/er/leaf; readlink /place/link; stat -c "%a" /place/file; stat -c "%u:%g" /place/deep; echo more >>/place/file'
    expected = ['words', 'leaf', '/etc/nothing', '4751', '7:8']
    out = bundle.out('sh', '-c', script).split()
    assert out == expected if not PEER else set(out) >= {'words', 'leaf', '/etc/nothing', '7:8'}
    assert (place / 'file').read_text() == 'words\n'


@newer('runc', 'crun')
def test_copy_up_read_only_and_too_large(bundle):
    place = bundle.root / 'place'
    place.mkdir()
    (place / 'file').write_text('words\n' * 1000)
    bundle.config['mounts'].append(mount('/place', 'tmpfs', 'tmpfs', 'tmpcopyup', 'ro'))
    done = bundle.run('sh', '-c', 'tail -n 1 /place/file; touch /place/x')
    assert done.stdout == 'words\n' and 'Read-only' in done.stderr, done.stderr
    (place / 'file').write_text('words\n' * 100000)
    bundle.config['mounts'][-1]['options'] = ['tmpcopyup', 'size=64k']
    done = bundle.run('true')
    assert done.returncode == 1 and 'tmpcopyup' in done.stderr and 'no space' in done.stderr


@pytest.mark.parametrize('propagation, found', [('shared', 'shared:'), ('slave', 'master:'), ('private', '- '), ('unbindable', 'unbindable')])
def test_root_propagation(bundle, propagation, found):
    bundle.linux['rootfsPropagation'] = propagation
    if (PEER, propagation) in (('runc', 'shared'), ('runc', 'unbindable'), ('crun', 'slave')):
        pytest.skip(f"Debian's {PEER} does not manage this")
    # There is a master to be slave of only where the bundle's mount is shared.
    wrap = ['unshare', '-m', '--propagation', 'shared'] if propagation == 'slave' else []
    bundle.config['process']['args'] = ['sh', '-c', 'grep -m 1 " / " /proc/self/mountinfo']
    line = bundle.call('run', bundle.name(), wrap=wrap).stdout
    assert found in line, line


# --- the process ------------------------------------------------------------------------------------------------

def test_umask_groups_and_domain_name(bundle):
    bundle.config['process']['user'].update(umask=0o137, additionalGids=[10, 20])
    bundle.config['domainname'] = 'example.org'
    out = bundle.out('sh', '-c', 'umask; grep Groups /proc/self/status; cat /proc/sys/kernel/domainname').split()
    domain = [] if PEER in ('runc', 'crun') and out[-1] == '(none)' else ['example.org']
    assert out[:1] == ['0137'] and out[2:4] == ['10', '20'] and out[4:] == (domain or ['(none)'])


def test_console_size(bundle):
    path = str(bundle.folder / 'console')
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    bundle.config['process'].update(terminal=True, consoleSize={'height': 33, 'width': 77}, args=['stty', 'size'])
    name = bundle.name()
    assert bundle.call('create', '--console-socket', path, name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    _, fds, _, _ = socket.recv_fds(server.accept()[0], 100, 1)
    assert bundle.call('start', name).returncode == 0
    assert os.read(fds[0], 100).split() == [b'33', b'77']
    os.close(fds[0])


SCHEDULERS = [({'policy': 'SCHED_BATCH', 'nice': 5}, 'policy:3 nice:5'), ({'policy': 'SCHED_IDLE'}, 'policy:5'),
              ({'policy': 'SCHED_OTHER', 'nice': 7, 'flags': ['SCHED_FLAG_RESET_ON_FORK']}, 'nice:7')]


@newer('runc', 'crun')
@pytest.mark.parametrize('scheduler, found', SCHEDULERS)
def test_scheduler(bundle, scheduler, found):
    bundle.config['process']['scheduler'] = scheduler
    pid = bundle.state(bundle.start())['pid']
    assert found.startswith('nice') or os.sched_getscheduler(pid) & 15 == int(found[7])
    if 'nice' in found:
        assert os.getpriority(os.PRIO_PROCESS, pid) == scheduler['nice']


@newer('runc', 'crun')
def test_deadline_scheduler(bundle):
    """A kernel may refuse the bandwidth; the error must say of what."""
    bundle.config['process']['scheduler'] = {'policy': 'SCHED_DEADLINE', 'runtime': 10**7, 'deadline': 3 * 10**7, 'period': 3 * 10**7}
    bundle.config['process']['args'] = ['sleep', '100']
    name = bundle.name()
    with open(bundle.folder / 'stderr', 'w') as errors:
        done = bundle.call('run', '--detach', name, stdout=subprocess.DEVNULL, stderr=errors)
    if done.returncode == 0:
        assert os.sched_getscheduler(bundle.state(name)['pid']) == 6
    else:
        assert 'process.scheduler' in (bundle.folder / 'stderr').read_text()


@newer('runc', 'crun')
def test_io_priority(bundle):
    bundle.config['process']['ioPriority'] = {'class': 'IOPRIO_CLASS_BE', 'priority': 6}
    pid = bundle.state(bundle.start())['pid']
    assert ctypes.CDLL(None).syscall(252, 1, pid) == 2 << 13 | 6
    bundle.config['process']['ioPriority']['class'] = 'IOPRIO_CLASS_NO'
    assert 'ioPriority' in bundle.run('true').stderr


def test_personality(bundle):
    bundle.linux['personality'] = {'domain': 'LINUX32'}
    done = bundle.run('uname', '-m')
    assert done.stdout.strip() in ('i686', 'armv8l') or PEER == 'runc'


# --- resources --------------------------------------------------------------------------------------------------

def hierarchy(bundle, name, controller):
    for line in Path(f'/proc/{bundle.state(name)["pid"]}/cgroup').read_text().splitlines():
        _, controllers, path = line.split(':', 2)
        if controller in controllers.split(','):
            return Path('/sys/fs/cgroup') / controller / path.lstrip('/')
    return None


@pytest.fixture
def huge_pages():
    with cgroups.hierarchy('hugetlb'):
        yield


@cgroups.v1_only
@pytest.mark.usefixtures('huge_pages')
def test_huge_pages(bundle):
    """The pages that are used and (rsvd) those that are set aside."""
    bundle.linux['resources']['hugepageLimits'] = [{'pageSize': '2MB', 'limit': 4 << 20}]
    place = hierarchy(bundle, bundle.start(), 'hugetlb')
    assert (place / 'hugetlb.2MB.limit_in_bytes').read_text() == f'{4 << 20}\n'
    assert (place / 'hugetlb.2MB.rsvd.limit_in_bytes').read_text() == f'{4 << 20}\n' or PEER


@cgroups.v1_only
def test_block_io(bundle):
    device = os.stat('/').st_dev
    number = {'major': os.major(device), 'minor': os.minor(device)}
    files = {'throttleReadBpsDevice': 'read_bps', 'throttleWriteBpsDevice': 'write_bps', 'throttleReadIOPSDevice': 'read_iops',
             'throttleWriteIOPSDevice': 'write_iops'}
    bundle.linux['resources']['blockIO'] = {member: [{**number, 'rate': 1000000 + i}] for i, member in enumerate(files)}
    place = hierarchy(bundle, bundle.start(), 'blkio')
    for i, file in enumerate(files.values()):
        assert (place / f'blkio.throttle.{file}_device').read_text() == f'{number["major"]}:{number["minor"]} {1000000 + i}\n'


@cgroups.v1_only
def test_processor_time(bundle):
    bundle.linux['resources']['cpu'] = {'shares': 300, 'quota': 20000, 'period': 50000, 'burst': 10000, 'cpus': '0', 'mems': '0'}
    name = bundle.start()
    place = hierarchy(bundle, name, 'cpu')
    files = {'cpu.shares': '300', 'cpu.cfs_quota_us': '20000', 'cpu.cfs_period_us': '50000', 'cpu.cfs_burst_us': '10000'}
    if PEER:
        del files['cpu.cfs_burst_us']
    assert {file: (place / file).read_text().strip() for file in files} == files
    assert (hierarchy(bundle, name, 'cpuset') / 'cpuset.cpus').read_text() == '0\n'


@cgroups.v1_only
@pytest.mark.skipif(bool(PEER), reason='runc 1.1.5 and crun 1.8.1 do not know idle on v1')
def test_idle_processor_time(bundle):
    bundle.linux['resources']['cpu'] = {'idle': 1}
    assert (hierarchy(bundle, bundle.start(), 'cpu') / 'cpu.idle').read_text() == '1\n'


@cgroups.v1_only
@newer('crun')
@pytest.mark.parametrize('check', [True, False])
def test_memory_check_before_update(bundle, check):
    """A limit below what is in use is refused when that is asked for."""
    name = bundle.start('sh', '-c', 'x=$(yes | busybox head -c 20000000); sleep 100')
    place = hierarchy(bundle, name, 'memory')
    until(lambda: int((place / 'memory.usage_in_bytes').read_text()) > 15 << 20)
    file = bundle.folder / 'update.json'
    file.write_text(json.dumps({'memory': {'limit': 1 << 20, 'checkBeforeUpdate': True}}))
    done = bundle.call('update', '--resources', str(file), name)
    if PEER:
        return  # 1.1.5 is before it
    assert done.returncode == 1 and 'usage' in done.stderr
    assert bundle.state(name)['status'] == 'running'


@pytest.mark.parametrize('resources, found', [({'network': {'classID': 1}}, 'net_cls'), ({'network': {'priorities': [{'name': 'lo', 'priority': 1}]}}, 'net_prio'),
                                              ({'rdma': {'mlx5_0': {'hcaHandles': 3}}}, 'rdma'), ({'unified': {'memory.high': '1'}}, 'unified')])
@cgroups.v1_only
def test_resources_without_a_controller(bundle, resources, found):
    """Refused rather than forgotten, where the host has not got the hierarchy."""
    if Path('/sys/fs/cgroup', found).exists():
        pytest.skip('the host has it')
    bundle.linux['resources'].update(resources)
    done = bundle.run('echo', 'ran')
    assert (done.returncode == 1 and found in done.stderr) or PEER, done.stderr


# --- hooks ------------------------------------------------------------------------------------------------------

KINDS = ('prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop')


def hook(bundle, kind, script, **more):
    """startContainer's is found inside the container, all others on the host."""
    shell = '/bin/busybox' if kind == 'startContainer' else '/bin/sh'
    args = (['busybox', 'sh'] if kind == 'startContainer' else ['sh']) + ['-c', script]
    bundle.config.setdefault('hooks', {}).setdefault(kind, []).append({'path': shell, 'args': args, **more})


def test_hooks_in_order_with_their_state(bundle):
    (bundle.folder / 'shared').mkdir()
    bundle.config['mounts'].append(mount('/shared', 'bind', bundle.folder / 'shared', 'rbind', 'rw'))
    for kind in KINDS:
        file = '/shared/startContainer' if kind == 'startContainer' else bundle.folder / 'shared' / kind
        note = f'echo {kind} >>{bundle.folder}/order; ' if kind != 'startContainer' else ''
        hook(bundle, kind, f'{note}cat >{file}; echo "$MARK" >>{file}', env=['MARK=' + kind, 'PATH=/bin:/usr/bin'])
    name = bundle.name()
    bundle.config['process']['args'] = ['sleep', '100']
    quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
    assert bundle.call('create', name, **quiet).returncode == 0
    early = ['poststart'] if PEER == 'runc' else []  # 1.1.5 is too early with it
    assert sorted(p.name for p in (bundle.folder / 'shared').iterdir()) == ['createContainer', 'createRuntime', *early, 'prestart']
    pid = bundle.state(name)['pid']
    assert bundle.call('start', name).returncode == 0
    assert bundle.call('delete', '--force', name).returncode == 0
    seen = {}
    for kind in KINDS:
        text = (bundle.folder / 'shared' / kind).read_text().rstrip()
        assert text.endswith(kind)
        seen[kind] = json.loads(text.removesuffix(kind))
    assert early or (bundle.folder / 'order').read_text().split() == [k for k in KINDS if k != 'startContainer']
    statuses = {kind: state['status'] for kind, state in seen.items()}
    assert statuses == dict(zip(KINDS, ['created', 'creating', 'creating', 'created', 'running', 'stopped'])) or PEER, statuses
    for kind, state in seen.items():
        assert state['id'] == name and (state['bundle'] == str(bundle.folder) or PEER == 'crun'), state
        assert kind == 'poststop' or kind == 'startContainer' or state['pid'] == pid or PEER == 'crun', (kind, state)


@pytest.mark.parametrize('kind', ['prestart', 'createRuntime', 'createContainer'])
def test_failing_hook_of_create(bundle, kind):
    """An error, no container, and the poststop hooks are run: it was destroyed (lifecycle steps 3 to 5)."""
    hook(bundle, kind, 'exit 3')
    hook(bundle, kind, f'touch {bundle.folder}/never')
    hook(bundle, 'poststop', f'cat >{bundle.folder}/stopped')
    name = bundle.name()
    done = bundle.call('create', name)
    assert done.returncode != 0 and (kind in done.stderr or PEER), done.stderr
    assert not (bundle.folder / 'never').exists()
    assert bundle.call('state', name).returncode == 1
    assert PEER == 'crun' or json.loads((bundle.folder / 'stopped').read_text())['status'] == 'stopped'


def test_hook_of_start_has_the_rights_of_the_process(bundle):
    """Its program is the image's: no capability, user or system call more than the container's own has. The filter is docker's
    kind, which knows no clone3: the hook is started all the same."""
    (bundle.folder / 'shared').mkdir(mode=0o777)
    (bundle.folder / 'shared').chmod(0o777)
    bundle.config['mounts'].append(mount('/shared', 'bind', bundle.folder / 'shared', 'rbind', 'rw'))
    bundle.linux['seccomp'] = {'defaultAction': 'SCMP_ACT_ALLOW', 'architectures': ['SCMP_ARCH_X86_64'], 'syscalls': [
        {'names': ['clone3'], 'action': 'SCMP_ACT_ERRNO', 'errnoRet': 38}, {'names': ['sethostname'], 'action': 'SCMP_ACT_ERRNO'}]}
    bundle.config['process']['noNewPrivileges'] = True
    bundle.config['process']['user'] = {'uid': 1000, 'gid': 1000}
    hook(bundle, 'startContainer', 'id -u >/shared/hook; grep -E "^(CapEff|CapBnd|Seccomp|NoNewPrivs):" /proc/self/status >>/shared/hook')
    bundle.config['process']['args'] = ['busybox', 'sh', '-c', 'id -u; grep -E "^(CapEff|CapBnd|Seccomp|NoNewPrivs):" /proc/self/status']
    done = bundle.call('run', bundle.name())
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == '1000' and 'Seccomp:\t2' in done.stdout, done.stdout
    assert (bundle.folder / 'shared' / 'hook').read_text() == done.stdout


def test_failing_hook_of_start(bundle):
    hook(bundle, 'startContainer', 'exit 3')
    bundle.config['process']['args'] = ['sleep', '100']
    name = bundle.name()
    assert bundle.call('create', name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    done = bundle.call('start', name)
    assert PEER or (done.returncode == 1 and 'startContainer' in done.stderr), done.stderr
    assert PEER or bundle.state(name)['status'] == 'stopped'


@newer('runc', 'crun')
def test_failing_poststart_hook_ends_the_container(bundle):
    hook(bundle, 'poststart', 'exit 3')
    bundle.config['process']['args'] = ['sleep', '100']
    name = bundle.name()
    bundle.call('create', name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    done = bundle.call('start', name)
    assert done.returncode == 1 and 'poststart' in done.stderr
    assert bundle.state(name)['status'] == 'stopped'


def test_failing_poststop_hook_is_a_warning(bundle):
    hook(bundle, 'poststop', 'exit 3')
    hook(bundle, 'poststop', f'touch {bundle.folder}/second')
    name = bundle.start()
    bundle.call('kill', name, 'KILL')
    done = bundle.call('delete', '--force', name)
    assert done.returncode == 0 and ('hook' in done.stderr or PEER == 'crun'), done.stderr
    assert (bundle.folder / 'second').exists() or PEER == 'runc'


@pytest.mark.parametrize('kind', ['prestart', 'createRuntime', 'createContainer'])
def test_hook_with_a_timeout(bundle, kind):
    hook(bundle, kind, 'exec sleep 50', timeout=1)
    done = bundle.call('create', bundle.name(), timeout=20)
    assert done.returncode != 0 and ('timeout' in done.stderr or PEER), done.stderr


def test_poststart_hook_with_a_timeout_in_run(bundle):
    hook(bundle, 'poststart', 'exec sleep 50', timeout=1)
    bundle.config['process']['args'] = ['sleep', '60']
    done = bundle.call('run', bundle.name(), timeout=20)
    assert done.returncode != 0 and ('poststart' in done.stderr or PEER), done.stderr


# --- network devices, caches, labels ---------------------------------------------------------------------------------

@newer('runc', 'crun')
def test_network_devices(bundle):
    """In a network namespace of the test's own: devices are moved for real. Addresses of any family come along, link-local
    and temporary ones do not; the device is up."""
    bundle.linux['netDevices'] = {'gtv0': {'name': 'eth7'}, 'gtv2': {}, 'gtv4': {'name': 'net%d'}}
    bundle.config['process']['args'] = ['sh', '-c', 'ip -o addr; ip -o link']
    script = ('ip link add gtv0 address 02:00:00:00:00:07 mtu 1300 type veth peer name gtv1 && ip link add gtv2 type veth peer name gtv3 && '
              'ip link add gtv4 type veth peer name gtv5 && ip link set gtv1 up && ip link set gtv3 up && '
              'ip addr add 192.0.2.7/24 dev gtv0 && ip addr add 198.51.100.7/32 dev gtv0 && ip addr add 203.0.113.1/24 dev gtv0 scope link && '
              'ip addr add 192.0.2.9/24 dev gtv0 valid_lft 500 preferred_lft 400 && ip -6 addr add 2001:db8::7/64 dev gtv0 nodad && ip link set gtv0 up && exec "$@"')
    done = bundle.call('run', bundle.name(), wrap=['unshare', '-n', 'sh', '-c', script, 'sh'])
    assert done.returncode == 0, done.stderr
    for found in ('192.0.2.7/24', '198.51.100.7/32', '2001:db8::7/64', '02:00:00:00:00:07', 'mtu 1300', 'net0', 'gtv2'):
        assert found in done.stdout, (found, done.stdout)
    assert '203.0.113.1' not in done.stdout and '192.0.2.9' not in done.stdout
    line = next(line for line in done.stdout.splitlines() if ' eth7' in line and 'mtu' in line)
    assert 'UP' in line.split('<')[1].split('>')[0].split(','), line


@newer('runc', 'crun')
def test_network_devices_that_cannot_be_given(bundle):
    def fails(devices, script='true'):
        bundle.linux['netDevices'] = devices
        bundle.config['process']['args'] = ['true']
        done = bundle.call('run', bundle.name(), wrap=['unshare', '-n', 'sh', '-c', script + ' && exec "$@"; exit 9', 'sh'])
        assert done.returncode == 1 and 'netDevices' in done.stderr, done.stderr
        return done.stderr
    fails({'gtnone': {}})
    veth = 'ip link add gtv0 type veth peer name gtv1'
    # A name that is taken: nothing has moved when it is refused.
    assert 'already' in fails({'gtv0': {'name': 'lo'}}, veth)
    for bad in ('a/b', 'waytoolongforakernel', '..', 'x%s', '%d%d', 'a b', ''):
        if bad:
            fails({'gtv0': {'name': bad}}, veth)
    bundle.linux['namespaces'] = [n for n in bundle.linux['namespaces'] if n['type'] != 'network']
    fails({'gtv0': {}}, veth)


@newer('runc', 'crun')
def test_network_devices_into_a_namespace_by_path(bundle, holder):
    pid = holder('-n')
    bundle.namespace('network', f'/proc/{pid}/ns/net')
    bundle.linux['netDevices'] = {'gtv0': {'name': 'eth0'}}
    bundle.config['process']['args'] = ['ip', '-o', 'link', 'show', 'eth0']
    done = bundle.call('run', bundle.name(), wrap=['unshare', '-n', 'sh', '-c', 'ip link add gtv0 type veth peer name gtv1 && exec "$@"', 'sh'])
    assert 'eth0' in done.stdout, done.stderr


def test_intel_rdt_without_resctrl(bundle):
    if Path('/sys/fs/resctrl/schemata').exists():
        pytest.skip('the host has resctrl')
    bundle.linux['intelRdt'] = {'closID': 'x', 'l3CacheSchema': 'L3:0=f'}
    done = bundle.run('echo', 'ran')
    assert (done.returncode == 1 and 'resctrl' in done.stderr) or PEER, done.stderr
