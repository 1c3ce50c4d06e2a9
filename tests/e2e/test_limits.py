# SPDX-License-Identifier: Apache-2.0
"""Limits, as the container's processes and their cgroups see them (cgroup v1 and v2)."""
import os
import time

import pytest

from harness.places import IMAGE

V2 = os.path.exists('/sys/fs/cgroup/cgroup.controllers')
CONTROLLER_FILES = {'memory': ('memory', 'memory.limit_in_bytes', 'memory.max'), 'pids': ('pids', 'pids.max', 'pids.max'),
                    'shares': ('cpu', 'cpu.shares', 'cpu.weight'), 'quota': ('cpu', 'cpu.cfs_quota_us', 'cpu.max'),
                    'cpus': ('cpuset', 'cpuset.cpus', 'cpuset.cpus')}


def host_cgroup_value(client, name, what):
    """Reads the limit from the host's side, by /proc/PID/cgroup of the container's first process."""
    pid = client.inspect(name, '{{.State.Pid}}')
    controller, file1, file2 = CONTROLLER_FILES[what]
    for line in open(f'/proc/{pid}/cgroup'):
        _, controllers, path = line.strip().split(':', 2)
        if V2 and controllers == '':
            return open(f'/sys/fs/cgroup{path}/{file2}').read().strip()
        if not V2 and controller in controllers.split(','):
            return open(f'/sys/fs/cgroup/{controller}{path}/{file1}').read().strip()
    raise AssertionError('no such cgroup')


@pytest.mark.parametrize('options, what, expect, expect2', [
    (['-m', '32m'], 'memory', '33554432', '33554432'), (['--pids-limit', '17'], 'pids', '17', '17'),
    (['--cpu-shares', '512'], 'shares', '512', '20'), (['--cpus', '0.5'], 'quota', '50000', '50000 100000'),
    (['--cpuset-cpus', '1'], 'cpus', '1', '1'),
])
def test_limit_is_in_the_cgroup(client, names, options, what, expect, expect2):
    name = names()
    client.ok('run', '-d', '--name', name, *options, IMAGE, 'sleep', '100')
    assert host_cgroup_value(client, name, what) == (expect2 if V2 else expect)


def test_out_of_memory(client, names):
    name = names()
    done = client('run', '--name', name, '-m', '16m', IMAGE, 'sh', '-c', 'head -c 100m /dev/zero | tail >/dev/null; exit $?')
    assert done.code in (1, 137)
    assert client.inspect(name, '{{.State.OOMKilled}}') == 'true'


def test_pids_limit_holds(client):
    done = client.run('--pids-limit', '10', IMAGE, 'sh', '-c', 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; wait')
    assert "can't fork" in done.err


@pytest.mark.parametrize('option, flag, expect', [('nofile=100:200', 'Max open files', '100 200'), ('core=0', 'Max core file size', '0 0'), ('nproc=50:60', 'Max processes', '50 60')])
def test_ulimit(client, option, flag, expect):
    lines = client.run('--ulimit', option, IMAGE, 'cat', '/proc/self/limits').out.splitlines()
    assert [' '.join(l[len(flag):].split()[:2]) for l in lines if l.startswith(flag)] == [expect]


def test_shm_size(client):
    assert client.run('--shm-size', '3m', IMAGE, 'sh', '-c', 'df -k /dev/shm | tail -1').text.split()[1] == '3072'
    assert client.run(IMAGE, 'sh', '-c', 'df -k /dev/shm | tail -1').text.split()[1] == '65536'


def test_sysctl(client):
    assert client.run('--sysctl', 'net.ipv4.ip_default_ttl=33', IMAGE, 'cat', '/proc/sys/net/ipv4/ip_default_ttl').text == '33'
    assert client.run('--sysctl', 'kernel.msgmax=9999', IMAGE, 'cat', '/proc/sys/kernel/msgmax').text == '9999'


@pytest.mark.parametrize('options', [['--sysctl', 'kernel.hostname=x'], ['--sysctl', 'vm.swappiness=1'], ['-m', '1m'], ['--cpus', '1000'],
                                     ['--cpuset-cpus', '900'], ['--ulimit', 'nosuch=1']])
def test_bad_limits(client, options):
    done = client.run(*options, IMAGE, 'echo', 'ran')
    assert done.code == 125 and done.out == '' and done.err


def test_cpus_hold(client):
    begin = time.monotonic()
    done = client.run('--cpus', '0.2', IMAGE, 'sh', '-c', 'i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done; cat /proc/self/cgroup >/dev/null; times')
    assert done.code == 0, done.err
    wall = time.monotonic() - begin
    first = done.text.split()[0]
    used = float(first.split('m')[1].rstrip('s'))
    assert wall > 2 * used or used < 0.1, (wall, used)
