# SPDX-License-Identifier: Apache-2.0
"""gantry-runtime's cgroups by the file system as this host has them; version 2 and systemd are tests/lab/runtime."""
import json
import os
import subprocess
from pathlib import Path

import pytest

from test_runtime_alone import bundle, started, state  # noqa: F401

CGROUPS = Path('/sys/fs/cgroup')
UNIFIED = (CGROUPS / 'cgroup.controllers').exists()
version_1 = pytest.mark.skipif(UNIFIED, reason='tests/lab/runtime has it for version 2')


def directory(bundle, name, controller):
    pid = json.loads(bundle.call('state', name).stdout)['pid']
    for line in Path(f'/proc/{pid}/cgroup').read_text().splitlines():
        _, controllers, path = line.split(':', 2)
        if controller in controllers.split(','):
            return CGROUPS / controller / path[1:]
    raise AssertionError(controller)


def test_kill_all_of_a_paused_container(bundle, started):
    bundle.call('start', started)
    assert bundle.call('pause', started).returncode == 0 and state(bundle, started) == 'paused'
    assert bundle.call('kill', '--all', started, 'KILL').returncode == 0
    # Whoever polls for the end is not waited for: the kernel ends it in its own time.
    subprocess.run(['sh', '-c', 'for i in $(seq 100); do "$@" | grep -q stopped && exit 0; sleep 0.1; done; exit 1', 'sh', *command(bundle, 'state', started)],
                   check=True, timeout=30)


def command(bundle, *words):
    from test_runtime_alone import RUNTIME
    return [RUNTIME, '--root', str(bundle.folder / 'state'), *words]


@version_1
def test_a_frozen_cgroup_is_refused(bundle):
    path = f'gt-{os.getpid()}-frozen'
    place = CGROUPS / 'freezer' / path
    place.mkdir()
    try:
        (place / 'freezer.state').write_text('FROZEN')
        bundle.config['linux']['cgroupsPath'] = '/' + path
        done = bundle.run('true')
        assert done.returncode == 1 and 'frozen' in done.stderr, done.stderr
    finally:
        if place.exists():
            place.rmdir()


@version_1
def test_a_cpuset_that_another_left_empty_is_filled(bundle):
    """As it is for a moment when two runtimes start under one new parent."""
    path = f'gt-{os.getpid()}-empty'
    parent = CGROUPS / 'cpuset' / path
    parent.mkdir()
    try:
        bundle.config['linux']['cgroupsPath'] = f'/{path}/upper/leaf'
        done = bundle.run('true')
        assert done.returncode == 0, done.stderr
        assert (parent / 'cpuset.cpus').read_text() == (CGROUPS / 'cpuset/cpuset.cpus').read_text()
    finally:
        for controller in CGROUPS.iterdir():
            for place in (controller / path / 'upper', controller / path):
                if place.exists():
                    place.rmdir()


@version_1
def test_burst_follows_its_quota(bundle, started):
    place = directory(bundle, started, 'cpu')
    values = lambda: tuple(int((place / f'cpu.cfs_{n}_us').read_text()) for n in ('quota', 'burst'))  # noqa: E731
    for quota, burst in ((50000, 50000), (80000, 80000), (20000, 20000)):
        done = bundle.call('update', '--cpu-quota', str(quota), '--cpu-burst', str(burst), started)
        assert done.returncode == 0 and values() == (quota, burst), done.stderr


@version_1
def test_huge_pages_are_counted_when_reserved(bundle, started):
    if not (CGROUPS / 'hugetlb/hugetlb.2MB.rsvd.limit_in_bytes').exists():
        pytest.skip('no hugetlb cgroup of version 1 here')
    resources = bundle.folder / 'resources.json'
    resources.write_text(json.dumps({'hugepageLimits': [{'pageSize': '2MB', 'limit': 4 << 20}]}))
    assert bundle.call('update', '-r', str(resources), started).returncode == 0
    place = directory(bundle, started, 'hugetlb')
    for file in ('hugetlb.2MB.limit_in_bytes', 'hugetlb.2MB.rsvd.limit_in_bytes'):
        assert (place / file).read_text().strip() == str(4 << 20)


def test_no_manager(bundle):
    """--cgroup-manager=disabled: the caller's own cgroups, which the container can't write to."""
    for mount in bundle.config['mounts']:
        if mount['destination'] == '/sys/fs/cgroup':
            mount['options'].remove('ro')
    bundle.config['linux']['namespaces'] = [n for n in bundle.config['linux']['namespaces'] if n['type'] != 'cgroup']
    bundle.config['process']['args'] = ['sh', '-c', 'cat /proc/self/cgroup; touch /sys/fs/cgroup/x; for d in /sys/fs/cgroup/*; do echo 0 >$d/cgroup.procs; done']
    done = bundle.call('--cgroup-manager=disabled', 'run', f'gt-{os.getpid()}-none')
    assert done.stdout == Path('/proc/self/cgroup').read_text() and 'Read-only' in done.stderr, done.stderr
    assert bundle.call('--cgroup-manager=nosuch', 'run', f'gt-{os.getpid()}-none').returncode == 1
