# SPDX-License-Identifier: Apache-2.0
"""The proof that nothing leaks must itself see each kind of leak: each is made here on purpose."""
import os
import subprocess
from pathlib import Path

import pytest

from harness.engine import Stack, until
from harness.places import IMAGE


@pytest.fixture
def quiet():
    """A stack's places without its daemons."""
    engine = Stack(number=7)
    engine.make_places()
    try:
        yield engine
    finally:
        engine.destroy()


def kinds(engine):
    return {t.kind for t in engine.leaks()}


def test_nothing_is_seen_where_nothing_is(quiet):
    assert [str(t) for t in quiet.leaks()] == []


def test_a_process(quiet):
    process = subprocess.Popen(['tail', '-f', f'{quiet.names.state}/x', '/dev/null'], stderr=subprocess.DEVNULL)
    until(lambda: 'tail' in open(f'/proc/{process.pid}/cmdline').read())
    assert kinds(quiet) == {'process'}
    assert [str(t) for t in quiet.destroy()] == []
    assert process.wait(5) == -9


def test_a_process_that_is_told_by_its_cgroup_only(quiet):
    for group in cgroup_tops():
        (group / quiet.names.cgroup_parent[1:] / 'x').mkdir(parents=True)
    process = subprocess.Popen(['sleep', '100'])
    (cgroup_tops()[0] / quiet.names.cgroup_parent[1:] / 'x' / 'cgroup.procs').write_text(str(process.pid))
    assert kinds(quiet) == {'process', 'cgroup'}
    quiet.destroy()
    assert process.wait(5) == -9 and kinds(quiet) == set()


def test_a_process_that_is_told_by_its_root_only(quiet):
    top = Path(quiet.names.root)
    for folder in ('lower', 'upper', 'work', 'merged'):
        (top / folder).mkdir()
    script = (f'mount -t overlay o -o lowerdir=/usr,upperdir={top}/upper,workdir={top}/work {top}/merged && cd {top}/merged && '
              'mkdir -p old && pivot_root . old && exec /bin/busybox sleep 100' if os.path.exists('/usr/bin/busybox') else
              f'mkdir -p {top}/lower/bin && cp /bin/busybox {top}/lower/bin && mount -t overlay o -o '
              f'lowerdir={top}/lower,upperdir={top}/upper,workdir={top}/work {top}/merged && cd {top}/merged && mkdir old && '
              'pivot_root . old && exec /bin/busybox sh -c "/bin/busybox umount -l /old; exec /bin/busybox sleep 100"')
    process = subprocess.Popen(['unshare', '-m', 'sh', '-c', script])
    until(lambda: b'sleep' in open(f'/proc/{process.pid}/cmdline', 'rb').read().split(b'\0'))
    assert 'process' in kinds(quiet) and 'mount' in kinds(quiet)
    quiet.destroy()
    assert process.wait(5) == -9 and kinds(quiet) == set()


def test_a_mount(quiet):
    where = Path(quiet.names.state) / 'm'
    where.mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', 'none', where], check=True)
    assert kinds(quiet) == {'mount'}
    quiet.destroy()
    assert kinds(quiet) == set()


def test_a_mount_in_another_namespace(quiet):
    where = Path(quiet.names.root) / 'm'
    where.mkdir()
    process = subprocess.Popen(['unshare', '-m', 'sh', '-c', f'mount -t tmpfs none {where}; exec sleep 100'])
    try:
        until(lambda: b'sleep' == open(f'/proc/{process.pid}/cmdline', 'rb').read().split(b'\0')[0])
        assert kinds(quiet) == {'mount'}
    finally:
        process.kill()
        process.wait()


def cgroup_tops():
    top = Path('/sys/fs/cgroup')
    return [top] if (top / 'cgroup.controllers').exists() else [p for p in (top / 'memory', top / 'pids', top / 'systemd') if p.is_dir()]


def test_a_cgroup(quiet):
    for group in cgroup_tops():
        (group / quiet.names.cgroup_parent[1:] / ('a' * 64)).mkdir(parents=True)
    assert kinds(quiet) == {'cgroup'} and len(quiet.leaks()) == len(cgroup_tops())
    quiet.destroy()
    assert kinds(quiet) == set()


def test_a_network_namespace(quiet):
    entry = Path(quiet.names.state) / 'netns'
    entry.mkdir()
    (entry / 'x').touch()
    subprocess.run(['unshare', '--net', 'mount', '--bind', '/proc/self/ns/net', entry / 'x'], check=True)
    assert kinds(quiet) == {'netns', 'file'} or kinds(quiet) == {'netns', 'mount', 'file'}
    quiet.destroy()
    assert kinds(quiet) == set()


def test_an_interface(quiet):
    quiet.inside('ip', 'link', 'add', 'lost0', 'type', 'veth', 'peer', 'name', 'lost1')
    assert [t.what for t in quiet.leaks()] == ['lost0', 'lost1'] or {t.what for t in quiet.leaks()} == {'lost0', 'lost1'}


def test_an_nft_table(quiet):
    quiet.inside('nft', 'add', 'table', 'inet', 'lost')
    assert {str(t) for t in quiet.traces.find()} == {'nft inet lost'}


def test_an_iptables_rule(quiet):
    quiet.inside('iptables-legacy', '-A', 'FORWARD', '-j', 'ACCEPT')
    assert kinds(quiet) == {'iptables'}


@pytest.mark.parametrize('path', ['containers/x', 'engine/trash/x', 'containerd/trash/x'])
def test_a_file(quiet, path):
    file = Path(quiet.names.root) / path
    file.parent.mkdir(parents=True)
    file.touch()
    assert [str(t) for t in quiet.leaks()] == [f'file {file}']


def test_a_blob_and_a_snapshot_that_no_image_owns(quiet):
    root = Path(quiet.names.root)
    for path in ('containerd/content/blobs/sha256/ab', 'containerd/snapshots/overlayfs/5'):
        (root / path).mkdir(parents=True)
    assert quiet.leaks() == [] and len(quiet.leaks(removed_all=True)) == 2


@pytest.mark.only('gantry')
def test_a_running_container_is_no_clean_stack(client, names):
    name = names()
    client.ok('run', '-d', '--name', name, IMAGE, 'sleep', '100')
    assert {'process', 'cgroup', 'interface', 'file'} <= kinds(client.engine)
    client.ok('rm', '-f', name)
    assert [str(t) for t in client.engine.settled()] == []
