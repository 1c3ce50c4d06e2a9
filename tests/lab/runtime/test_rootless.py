# SPDX-License-Identifier: Apache-2.0
"""Containers of an unprivileged user: one id or many, with and without a delegated cgroup."""
import re
import subprocess
from pathlib import Path

import pytest
from conftest import CGROUPS, OURS, USER, also, as_user, has_ended, in_session, ours

MB = 1 << 20


def subordinate(file):
    name, first, count = next(line.split(':') for line in Path(file).read_text().splitlines() if line.startswith(USER + ':'))
    return int(first), int(count)


def rootless(bundle, number, many=False):
    """As `spec --rootless` has it: a user namespace, no network of its own, the host's /sys."""
    config = bundle.config
    config['linux']['namespaces'] = [{'type': t} for t in ('pid', 'ipc', 'uts', 'mount', 'cgroup', 'user')]
    del config['linux']['resources']
    config['mounts'][3] = {'destination': '/sys', 'type': 'none', 'source': '/sys', 'options': ['rbind', 'nosuid', 'noexec', 'nodev', 'ro']}
    for kind in ('uid', 'gid'):
        maps = [{'containerID': 0, 'hostID': number, 'size': 1}]
        if many:
            first, count = subordinate(f'/etc/sub{kind}')
            maps.append({'containerID': 1, 'hostID': first, 'size': count})
        config['linux'][f'{kind}Mappings'] = maps
    return bundle


@pytest.fixture
def single(make, user):
    return rootless(make(prefix=as_user(user), owner=user), user)


def test_one_id(single, user):
    done = single.run('sh', '-c', 'id; cat /proc/self/uid_map; cat /proc/self/setgroups; echo x >/dev/null && ls -l /dev/null')
    assert done.stdout.split('\n')[0].startswith('uid=0') and done.stdout.split('\n')[1].split() == ['0', str(user), '1'], done.stderr
    assert 'deny' in done.stdout and '1,   3' in done.stdout


@ours
def test_state_is_in_the_runtime_directory(single, user):
    single.start()
    place = Path(f'/run/user/{user}/gantry-runtime')
    assert (place / single.name / 'state.json').exists() and place.stat().st_mode & 0o1777 == 0o1700


def test_life_cycle(single):
    pid = single.start()
    assert single.state()['status'] == 'running'
    assert single.exec('sh', '-c', 'id -u; exit 7').returncode == 7
    assert single.exec('id', '-u').stdout == '0\n'
    assert Path(f'/proc/{pid}').stat().st_uid != 0
    single.call('kill', single.name, 'KILL', check=True)
    assert single.delete().returncode == 0 and has_ended(pid)


def test_many_ids(make, user):
    bundle = rootless(make(prefix=as_user(user), owner=user), user, many=True)
    first, count = subordinate('/etc/subuid')
    bundle.config['process']['user'] = {'uid': 5, 'gid': 6, **({'additionalGids': [7]} if OURS else {})}
    pid = bundle.start()
    assert Path(f'/proc/{pid}/uid_map').read_text().split() == ['0', str(user), '1', '1', str(first), str(count)]
    assert f'Uid:\t{first + 4}\t' in Path(f'/proc/{pid}/status').read_text()
    done = bundle.exec('id')
    assert not OURS or (done.stdout.startswith('uid=5') and 'groups=7' in done.stdout), done.stdout + done.stderr


@ours
def test_ids_of_others(single):
    single.linux['uidMappings'].append({'containerID': 1, 'hostID': 5, 'size': 1})
    done = single.run('echo', 'ran')
    assert done.returncode == 1 and 'newuidmap' in done.stderr and not done.stdout


@also('runc')
def test_limits_need_delegation(single):
    single.linux['resources'] = {'memory': {'limit': 64 * MB}}
    done = single.run('echo', 'ran')
    assert done.returncode == 1 and not done.stdout and (not OURS or 'delegated' in done.stderr), done.stderr


@ours
def test_nothing_of_the_caller_s_cgroup_is_writable(single):
    """CVE-2023-25809: neither by the mount, nor by the host's /sys below it."""
    single.mount_cgroups('rw')
    done = single.run('sh', '-c', 'mkdir /sys/fs/cgroup/x; echo end')
    assert done.stdout == 'end\n' and 'Read-only' in done.stderr


@ours
def test_not_rootless(make, user):
    bundle = rootless(make(['--rootless=false'], prefix=as_user(user), owner=user), user)
    assert bundle.run('true').returncode == 1
    assert rootless(make(['--rootless=maybe'], prefix=as_user(user), owner=user), user).run('true').returncode == 1


@also('runc')
def test_delegated_cgroup(make, user):
    bundle = rootless(make(prefix=in_session(user), owner=user), user)
    bundle.linux['resources'] = {'memory': {'limit': 64 * MB}, 'pids': {'limit': 20}}
    done = bundle.run('cat', '/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/pids.max')
    assert done.stdout.split() == [str(64 * MB), '20'], done.stderr


@ours
def test_delegated_service(make, user):
    """Where only the caller's own cgroup is the user's, the container's is below it."""
    prefix = ['systemd-run', '--quiet', '--pipe', '--wait', '--collect', '--same-dir', '-p', f'User={USER}', '-p', 'Delegate=yes', '-E', f'XDG_RUNTIME_DIR=/run/user/{user}', '--']
    bundle = rootless(make(prefix=prefix, owner=user), user)
    bundle.linux['namespaces'] = [n for n in bundle.linux['namespaces'] if n['type'] != 'cgroup']
    done = bundle.run('cat', '/proc/self/cgroup')
    assert re.fullmatch(rf'0::/system\.slice/run-[^/]*\.service/{bundle.name}\n', done.stdout), done.stdout + done.stderr


@pytest.fixture
def scope(make, user):
    bundle = rootless(make(['--systemd-cgroup'], prefix=as_user(user), owner=user), user)
    bundle.unit = f'lt-{bundle.name}.scope'
    bundle.linux['cgroupsPath'] = f'user.slice:lt:{bundle.name}'
    return bundle


def show(user, unit, *names):
    done = subprocess.run([*as_user(user), 'systemctl', '--user', 'show', *[f'-p{n}' for n in names], unit], stdout=subprocess.PIPE, text=True, check=True)
    return dict(line.split('=', 1) for line in done.stdout.splitlines())


@also('runc')
def test_scope_of_the_user_s_systemd(scope, user):
    scope.linux['resources'] = {'memory': {'limit': 64 * MB}, 'pids': {'limit': 20}, 'cpu': {'quota': 50000, 'period': 200000}}
    scope.start()
    assert scope.cgroup() == CGROUPS / f'user.slice/user-{user}.slice/user@{user}.service/user.slice' / scope.unit
    assert [scope.value(f) for f in ('memory.max', 'pids.max', 'cpu.max')] == [str(64 * MB), '20', '50000 200000']
    scope.call('update', '--memory', str(32 * MB), scope.name, check=True)
    assert scope.value('memory.max') == str(32 * MB) and show(user, scope.unit, 'MemoryMax') == {'MemoryMax': str(32 * MB)}
    scope.call('pause', scope.name, check=True)
    scope.call('resume', scope.name, check=True)
    scope.call('delete', '--force', scope.name, check=True)
    assert show(user, scope.unit, 'LoadState') == {'LoadState': 'not-found'}


@also('runc')
def test_exec_from_another_cgroup(scope):
    scope.start()
    assert scope.exec('cat', '/proc/self/cgroup', check=True).stdout.startswith('0::/')
