# SPDX-License-Identifier: Apache-2.0
"""cgroup v2 by the file system: every kind of limit, update, delegation."""
import os
import subprocess
from pathlib import Path

import pytest
from conftest import CGROUPS, RUNTIME, also, has_ended, ours, until, with_ids

MB = 1 << 20


def test_limits(bundle):
    bundle.linux['cgroupsPath'] = f'/lab/{bundle.name}'
    bundle.linux['resources'].update(
        memory={'limit': 64 * MB, 'reservation': 32 * MB, 'swap': 96 * MB}, pids={'limit': 20},
        cpu={'shares': 512, 'quota': 50000, 'period': 200000, 'cpus': '0', 'mems': '0'},
        hugepageLimits=[{'pageSize': '2MB', 'limit': 4 * MB}], unified={'memory.high': str(48 * MB)})
    bundle.start()
    assert bundle.cgroup() == CGROUPS / 'lab' / bundle.name
    files = ('memory.max', 'memory.low', 'memory.swap.max', 'memory.high', 'pids.max', 'cpu.max', 'cpu.weight', 'cpuset.cpus', 'cpuset.mems', 'hugetlb.2MB.max')
    assert [bundle.value(f) for f in files] == [str(64 * MB), str(32 * MB), str(32 * MB), str(48 * MB), '20', '50000 200000', '20', '0', '0', str(4 * MB)]


@ours
def test_reserved_huge_pages(bundle):
    bundle.linux['resources']['hugepageLimits'] = [{'pageSize': '2MB', 'limit': 4 * MB}]
    bundle.start()
    assert bundle.value('hugetlb.2MB.rsvd.max') == str(4 * MB)


def test_limits_of_block_devices(bundle):
    number = os.stat('/dev/vda').st_rdev
    device = {'major': os.major(number), 'minor': os.minor(number)}
    bundle.linux['resources']['blockIO'] = {'weight': 500, 'throttleReadBpsDevice': [{**device, 'rate': MB}],
                                            'throttleWriteIOPSDevice': [{**device, 'rate': 100}]}
    bundle.start()
    assert bundle.value('io.max').split()[1:] == [f'rbps={MB}', 'wbps=max', 'riops=max', 'wiops=100']
    bfq = bundle.cgroup() / 'io.bfq.weight'
    assert (bfq if bfq.exists() else bundle.cgroup() / 'io.weight').read_text().split()[1] == ('500' if bfq.exists() else '4950')


@ours
def test_update_keeps_what_it_does_not_name(bundle):
    bundle.linux['resources'].update(memory={'limit': 64 * MB}, cpu={'quota': 50000, 'period': 200000})
    bundle.start()
    bundle.call('update', '--cpu-quota', '20000', bundle.name, check=True)
    assert bundle.value('cpu.max') == '20000 200000'
    bundle.call('update', '--cpu-period', '50000', bundle.name, check=True)
    assert bundle.value('cpu.max') == '20000 50000'
    bundle.call('update', '--memory-swap', str(80 * MB), bundle.name, check=True)
    assert (bundle.value('memory.max'), bundle.value('memory.swap.max')) == (str(64 * MB), str(16 * MB))


def test_update(bundle):
    bundle.start()
    bundle.call('update', '--memory', str(32 * MB), '--memory-swap', str(40 * MB), '--pids-limit', '9', '--cpu-share', '1024', bundle.name, check=True)
    assert [bundle.value(f) for f in ('memory.max', 'memory.swap.max', 'pids.max', 'cpu.weight')] == [str(32 * MB), str(8 * MB), '9', '39']
    bundle.call('update', '--memory', '-1', bundle.name, check=True)
    assert bundle.value('memory.max') == 'max' and (RUNTIME == 'crun' or bundle.value('memory.swap.max') == 'max')


@ours
def test_idle_and_burst(bundle):
    bundle.linux['resources']['cpu'] = {'quota': 50000, 'period': 100000, 'burst': 20000}
    bundle.start()
    assert bundle.value('cpu.max.burst') == '20000'
    bundle.call('update', '--cpu-burst', '60000', '--cpu-quota', '80000', bundle.name, check=True)
    assert (bundle.value('cpu.max'), bundle.value('cpu.max.burst')) == ('80000 100000', '60000')
    bundle.call('update', '--cpu-burst', '10000', '--cpu-quota', '20000', bundle.name, check=True)
    assert (bundle.value('cpu.max'), bundle.value('cpu.max.burst')) == ('20000 100000', '10000')
    bundle.call('update', '--cpu-idle', '1', bundle.name, check=True)
    assert bundle.value('cpu.idle') == '1'


@ours
def test_checked_before_an_update(bundle):
    bundle.linux['resources']['memory'] = {'limit': 64 * MB, 'checkBeforeUpdate': True}
    bundle.start('sh', '-c', 'head -c 20000000 /dev/zero >/tmp/x; sleep 1000')
    bundle.exec('sh', '-c', 'until [ $(cat /sys/fs/cgroup/memory.current) -gt 16000000 ]; do sleep 0.1; done', check=True)
    file = bundle.folder / 'resources.json'
    file.write_text('{"memory": {"limit": 8388608, "checkBeforeUpdate": true}}')
    done = bundle.call('update', '-r', str(file), bundle.name)
    assert done.returncode == 1 and 'below the current usage' in done.stderr and bundle.value('memory.max') == str(64 * MB)


@ours
def test_what_version_2_has_not(bundle):
    for resources, word in (({'network': {'classID': 5}}, 'network'), ({'cpu': {'realtimeRuntime': 1000}}, 'realtimeRuntime'),
                            ({'unified': {'no.such': '1'}}, 'no.such')):
        bundle.linux['resources'] = resources
        done = bundle.run('echo', 'ran')
        assert done.returncode == 1 and word in done.stderr and not done.stdout, done.stderr


def test_devices(bundle):
    bundle.linux['resources']['devices'].append({'allow': True, 'type': 'b', 'major': 254, 'minor': 0, 'access': 'r'})
    bundle.start()
    look = 'mknod /tmp/{0} b 254 {1} && head -c 1 /tmp/{0} | grep -c "" '
    assert 'not permitted' in bundle.exec('sh', '-c', look.format('other', 16)).stderr
    assert 'not permitted' not in bundle.exec('sh', '-c', look.format('disk', 0)).stderr
    assert bundle.exec('sh', '-c', 'echo x >/dev/null && echo yes').stdout == 'yes\n'


@also('runc')
@pytest.mark.parametrize('options', [pytest.param([], marks=ours), ['--systemd-cgroup']], ids=['cgroupfs', 'systemd'])
def test_delegation(make, options):
    """The container's root makes cgroups below its own, and no limit of its own is its to change."""
    bundle = make(options)
    with_ids(bundle)
    bundle.mount_cgroups('rw')
    bundle.linux['resources']['memory'] = {'limit': 64 * MB}
    bundle.start()
    done = bundle.exec('sh', '-c', 'cd /sys/fs/cgroup && mkdir below && echo $$ >below/cgroup.procs && cat /proc/self/cgroup && echo 1 >memory.max')
    assert '0::/below' in done.stdout and 'ermission denied' in done.stderr, done.stdout + done.stderr
    assert (bundle.cgroup() / 'cgroup.procs').stat().st_uid == 100000 and (bundle.cgroup() / 'memory.max').stat().st_uid == 0
    bundle.mount_cgroups('ro')
    bundle.delete()
    bundle.start()
    assert bundle.cgroup().stat().st_uid == 0


@also('runc')
def test_exec_beside_the_first_process(bundle):
    """A container that hands controllers down has no processes in its own cgroup; exec joins the first one's."""
    bundle.mount_cgroups('rw')
    bundle.start('sh', '-c', 'cd /sys/fs/cgroup && mkdir init && echo $$ >init/cgroup.procs && echo +pids >cgroup.subtree_control && touch /tmp/done; sleep 1000')
    until('controllers handed down', Path(f'/proc/{bundle.pid}/root/tmp/done').exists)
    assert bundle.exec('cat', '/proc/self/cgroup', check=True).stdout == '0::/init\n'


@also('runc')
def test_a_frozen_cgroup_is_refused(bundle):
    bundle.linux['cgroupsPath'] = f'/lab/{bundle.name}'
    place = CGROUPS / 'lab' / bundle.name
    place.mkdir(parents=True)
    (place / 'cgroup.freeze').write_text('1')
    done = bundle.run('true')
    assert done.returncode == 1 and 'frozen' in done.stderr
    if place.exists():
        place.rmdir()


@ours
def test_kill_is_one_write(bundle):
    """cgroup.kill takes all at once, also what forks faster than a list can be read."""
    bundle.start('sh', '-c', 'while :; do sleep 1000 & sleep 0.1; done')
    below = bundle.cgroup() / 'below'
    below.mkdir()
    done = subprocess.run(['strace', '-f', '-e', 'trace=openat,kill', '-o', bundle.folder / 'trace', RUNTIME, 'kill', '--all', bundle.name, 'KILL'], capture_output=True, text=True, timeout=60)
    trace = (bundle.folder / 'trace').read_text()
    assert done.returncode == 0 and 'cgroup.kill' in trace and 'kill(' not in trace, trace
    until('the end of all', lambda: 'populated 0' in (below.parent / 'cgroup.events').read_text())
    below.rmdir()


def test_pause(bundle):
    bundle.start()
    bundle.call('pause', bundle.name, check=True)
    assert bundle.value('cgroup.freeze') == '1' and bundle.state()['status'] == 'paused'
    bundle.call('resume', bundle.name, check=True)
    assert bundle.value('cgroup.freeze') == '0' and bundle.state()['status'] == 'running'
    bundle.call('pause', bundle.name, check=True)
    assert bundle.delete().returncode == 0 and has_ended(bundle.pid)


@ours
def test_no_manager(make):
    """--cgroup-manager=disabled: the caller's own cgroup, which the container can't write to."""
    bundle = make(['--cgroup-manager=disabled'])
    bundle.mount_cgroups('rw')
    bundle.start()
    assert bundle.cgroup() == CGROUPS / Path('/proc/self/cgroup').read_text().strip().split('::/')[1]
    assert bundle.exec('mkdir', '/sys/fs/cgroup/x').returncode == 1
    assert 'no cgroup' in bundle.call('update', '--memory', '1000000', bundle.name).stderr
    bundle.call('kill', '--all', bundle.name, 'KILL', check=True)
