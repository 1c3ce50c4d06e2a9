# SPDX-License-Identifier: Apache-2.0
"""The systemd cgroup manager: a transient scope, whose properties are what the container was given."""
import subprocess

import pytest
from conftest import CGROUPS, OURS, RUNTIME, also, ours, until

MB = 1 << 20
PREFIX = 'lt'


@pytest.fixture
def scope(make):
    bundle = make(['--systemd-cgroup'])
    bundle.unit = f'{PREFIX}-{bundle.name}.scope'
    bundle.linux['cgroupsPath'] = f'lab-a.slice:{PREFIX}:{bundle.name}'
    yield bundle
    bundle.delete()
    assert show(bundle, 'LoadState') == {'LoadState': 'not-found'}


def show(bundle, *names):
    done = subprocess.run(['systemctl', 'show', *[f'-p{n}' for n in names], bundle.unit], stdout=subprocess.PIPE, text=True, check=True)
    return dict(line.split('=', 1) for line in done.stdout.splitlines())


def reload():
    subprocess.run(['systemctl', 'daemon-reload'], check=True)


@also('runc')
def test_scope(scope):
    scope.linux['resources'].update(memory={'limit': 64 * MB, 'reservation': 32 * MB, 'swap': 96 * MB}, pids={'limit': 20},
                                    cpu={'shares': 512, 'quota': 50000, 'period': 200000, 'cpus': '0', 'mems': '0'})
    scope.start()
    assert scope.cgroup() == CGROUPS / 'lab.slice/lab-a.slice' / scope.unit
    assert show(scope, 'Slice', 'Delegate', 'ControlGroup', 'MemoryMax', 'MemoryLow', 'MemorySwapMax', 'TasksMax', 'CPUWeight', 'CPUQuotaPerSecUSec',
                'CPUQuotaPeriodUSec', 'AllowedCPUs', 'AllowedMemoryNodes', 'DefaultDependencies', 'ActiveState') == {
        'Slice': 'lab-a.slice', 'Delegate': 'yes', 'ControlGroup': f'/lab.slice/lab-a.slice/{scope.unit}', 'MemoryMax': str(64 * MB), 'MemoryLow': str(32 * MB),
        'MemorySwapMax': str(32 * MB), 'TasksMax': '20', 'CPUWeight': '20', 'CPUQuotaPerSecUSec': '250ms', 'CPUQuotaPeriodUSec': '200ms', 'AllowedCPUs': '0',
        'AllowedMemoryNodes': '0', 'DefaultDependencies': 'no', 'ActiveState': 'active'}
    files = ('memory.max', 'memory.low', 'memory.swap.max', 'pids.max', 'cpu.max', 'cpu.weight', 'cpuset.cpus')
    assert [scope.value(f) for f in files] == [str(64 * MB), str(32 * MB), str(32 * MB), '20', '50000 200000', '20', '0']
    assert scope.exec('cat', '/proc/self/cgroup', check=True).stdout.startswith('0::/')


@also('runc')
def test_update_outlives_a_reload(scope):
    scope.linux['resources'].update(memory={'limit': 64 * MB}, pids={'limit': 20}, cpu={'quota': 50000, 'period': 200000})
    scope.start()
    scope.call('update', '--memory', str(32 * MB), '--memory-swap', str(40 * MB), '--pids-limit', '9', '--cpu-quota', '20000', '--cpu-period', '100000', '--cpu-share', '1024', scope.name, check=True)
    wanted = [str(32 * MB), str(8 * MB), '9', '20000 100000', '39']
    files = ('memory.max', 'memory.swap.max', 'pids.max', 'cpu.max', 'cpu.weight')
    assert [scope.value(f) for f in files] == wanted
    reload()
    # What systemd writes anew at any change of a unit's limits is what it believes them to be.
    subprocess.run(['systemctl', 'set-property', '--runtime', scope.unit, 'IOWeight=50'], check=True)
    assert [scope.value(f) for f in files] == wanted
    assert show(scope, 'MemoryMax', 'TasksMax', 'CPUQuotaPerSecUSec') == {'MemoryMax': str(32 * MB), 'TasksMax': '9', 'CPUQuotaPerSecUSec': '200ms'}


def test_devices(scope):
    scope.linux['resources']['devices'].append({'allow': True, 'type': 'b', 'major': 254, 'minor': 0, 'access': 'r'})
    scope.start()
    assert RUNTIME == 'crun' or show(scope, 'DevicePolicy') == {'DevicePolicy': 'strict'}
    look = 'mknod /tmp/{0} b 254 {1}; head -c 1 /tmp/{0} | grep -c ""'
    for _ in range(2):
        assert 'not permitted' in scope.exec('sh', '-c', look.format('other', 16)).stderr
        assert 'not permitted' not in scope.exec('sh', '-c', look.format('disk', 0)).stderr
        assert scope.exec('sh', '-c', 'echo x >/dev/null && echo yes').stdout == 'yes\n'
        reload()
        subprocess.run(['systemctl', 'set-property', '--runtime', scope.unit, 'IOWeight=50'], check=True)


def test_annotations(scope):
    scope.config['annotations'] = {'org.systemd.property.TimeoutStopUSec': 'uint64 7000000', 'org.systemd.property.CollectMode': "'inactive-or-failed'"}
    scope.start()
    assert show(scope, 'TimeoutStopUSec', 'CollectMode') == {'TimeoutStopUSec': '7s', 'CollectMode': 'inactive-or-failed'}


@ours
@pytest.mark.parametrize('name, value', [('SuccessAction', "'poweroff-force'"), ('Wants', "['poweroff.target']"), ('ExecStop', "'x'"), ('Slice', "'-.slice'"),
                                         ('Description', 'broken')])
def test_annotations_command_nothing(scope, name, value):
    """Class G: systemd is not commanded by an annotation (CVE-2024-3154)."""
    scope.config['annotations'] = {f'org.systemd.property.{name}': value}
    done = scope.run('echo', 'ran')
    assert done.returncode == 1 and f'org.systemd.property.{name}' in done.stderr and not done.stdout, done.stderr


def test_the_end_leaves_no_unit(scope):
    assert scope.run('echo', 'hi').stdout == 'hi\n'
    assert show(scope, 'LoadState') == {'LoadState': 'not-found'}
    assert scope.run('/no/such').returncode != 0
    assert show(scope, 'LoadState') == {'LoadState': 'not-found'}
    if OURS:
        scope.linux['resources']['unified'] = {'no.such': '1'}
        assert 'no.such' in scope.run('true').stderr
        assert show(scope, 'LoadState') == {'LoadState': 'not-found'}
        del scope.linux['resources']['unified']
    # One that was killed for its memory has failed, and stays until it is forgotten.
    scope.linux['resources']['memory'] = {'limit': 16 * MB, 'swap': 16 * MB}
    scope.start('sh', '-c', 'head -c 50000000 /dev/zero >/tmp/x')  # a tmpfs counts as memory
    until('its end', lambda: scope.state()['status'] == 'stopped')
    scope.call('delete', '--force', scope.name, check=True)
    assert show(scope, 'LoadState') == {'LoadState': 'not-found'}


def test_kill_and_delete(scope):
    scope.start('sh', '-c', 'trap "" TERM; while :; do sleep 1; done')
    scope.call('delete', '--force', scope.name, check=True)
    assert show(scope, 'LoadState') == {'LoadState': 'not-found'}


@ours
def test_a_unit_of_that_name_stays(scope, make):
    """Somebody else's scope is neither joined nor stopped."""
    other = subprocess.Popen(['systemd-run', '--scope', '--quiet', f'--unit={scope.unit}', 'sleep', '1000'])
    try:
        until('the other scope', lambda: show(scope, 'ActiveState') == {'ActiveState': 'active'})
        done = scope.run('true')
        assert done.returncode == 1 and scope.unit in done.stderr and other.poll() is None, done.stderr
        assert show(scope, 'ActiveState') == {'ActiveState': 'active'}
    finally:
        other.kill()
        other.wait()
        until('its end', lambda: show(scope, 'ActiveState') != {'ActiveState': 'active'})


def test_paths_of_another_form(scope):
    scope.linux['cgroupsPath'] = '/a/b'
    done = scope.run('true')
    assert done.returncode == 1 and (not OURS or 'slice:prefix:name' in done.stderr)


@ours
def test_default_name(scope):
    del scope.linux['cgroupsPath']
    scope.unit = f'gantry-{scope.name}.scope'
    scope.start()
    assert scope.cgroup() == CGROUPS / 'system.slice' / scope.unit


@ours
def test_manager_by_crun_s_option(make):
    bundle = make(['--cgroup-manager=systemd'])
    bundle.start()
    assert bundle.cgroup().name == f'gantry-{bundle.name}.scope'
    assert make(['--cgroup-manager=nosuch']).run('true').returncode == 1


def test_pause(scope):
    scope.start()
    scope.call('pause', scope.name, check=True)
    assert scope.state()['status'] == 'paused'
    scope.call('resume', scope.name, check=True)
    assert scope.exec('echo', 'up', check=True).stdout == 'up\n'
