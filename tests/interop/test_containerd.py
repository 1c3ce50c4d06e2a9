# SPDX-License-Identifier: Apache-2.0
"""Our parts among the ecosystem's: ctr on gantry-containerd, our shim and runtime under Debian's
containerd, podman with our runtime. Each command line is proven with the peer's own parts first."""
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from harness import places
from harness.engine import until

SNAPSHOTTER = 'overlayfs'


class Ctr:
    def __init__(self, engine, namespace):
        self.command = ['ctr', '-a', engine.containerd_socket, '-n', namespace]

    def __call__(self, *arguments, stdin=subprocess.DEVNULL, timeout=60):
        return subprocess.run([*self.command, *map(str, arguments)], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)

    def ok(self, *arguments, **options):
        done = self(*arguments, **options)
        assert done.returncode == 0, f'ctr {arguments}: {done.stderr}'
        return done.stdout.strip()


@pytest.fixture(scope='module', params=['gantry', 'peer'])
def ctr(request):
    engine = request.getfixturevalue({'gantry': 'stack', 'peer': 'peer'}[request.param])
    ctr = Ctr(engine, 'interop')
    ctr.kind = request.param
    ctr.ok('images', 'import', places.IMAGE_TAR)
    ctr.image = ctr.ok('images', 'ls', '-q').splitlines()[0]
    yield ctr
    ctr('images', 'rm', '--sync', ctr.image)


RUNTIMES = [None, 'io.containerd.runc.v2', str(places.BIN / 'containerd-shim-gantry-v1')]


def run(ctr, name, *command, options=()):
    try:
        return ctr('run', '--rm', *options, ctr.image, name, *command)
    finally:
        ctr('task', 'kill', '-s', '9', name)
        ctr('task', 'rm', '-f', name)
        ctr('containers', 'rm', name)


@pytest.mark.parametrize('runtime', RUNTIMES, ids=['default', 'runc.v2', 'our shim'])
def test_run(ctr, runtime):
    options = ['--runtime', runtime] if runtime else []
    done = run(ctr, 'i1', 'sh', '-c', 'echo out; echo err >&2; exit 7', options=options)
    assert (done.returncode, done.stdout) == (7, 'out\n') and 'err' in done.stderr, done.stderr


def test_lifecycle(ctr):
    ctr.ok('run', '-d', ctr.image, 'i2', 'sleep', '300')
    try:
        assert 'i2' in ctr.ok('containers', 'ls', '-q').split()
        row = [l.split() for l in ctr.ok('task', 'ls').splitlines() if l.startswith('i2')][0]
        assert row[2] == 'RUNNING'
        assert ctr.ok('task', 'exec', '--exec-id', 'e1', 'i2', 'echo', 'inside') == 'inside'
        assert ctr('task', 'exec', '--exec-id', 'e2', 'i2', 'sh', '-c', 'exit 5').returncode == 5
        ctr.ok('task', 'pause', 'i2')
        assert 'PAUSED' in ctr.ok('task', 'ls')
        ctr.ok('task', 'resume', 'i2')
        assert row[1] in ctr.ok('task', 'ps', 'i2')
        if ctr.kind == 'gantry':
            parent = int(open(f'/proc/{row[1]}/stat').read().rsplit(')', 1)[1].split()[1])
            assert os.path.basename(os.readlink(f'/proc/{parent}/exe')) == 'containerd-shim-gantry-v1'
        ctr.ok('task', 'kill', '-s', 'SIGKILL', 'i2')
        until(lambda: 'STOPPED' in ctr.ok('task', 'ls'), 10)
        assert ctr('task', 'rm', 'i2').returncode in (0, 137)
    finally:
        ctr('task', 'rm', '-f', 'i2')
        ctr('containers', 'rm', 'i2')
    assert 'i2' not in ctr.ok('containers', 'ls', '-q').split()


def test_a_group_has_one_shim(ctr):
    """Containers of one group share a shim; it goes on until the last is deleted, and their places are free at once."""
    def run(name, group='io.containerd.runc.v2.group=g'):
        ctr.ok('run', '-d', '--annotation', group, ctr.image, name, 'sleep', '300')
        pid = next(l.split()[1] for l in ctr.ok('task', 'ls').splitlines() if l.startswith(name))
        return open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()[1]

    def remove(name):
        ctr.ok('task', 'kill', '-s', 'SIGKILL', name)
        until(lambda: any(l.split()[::2] == [name, 'STOPPED'] for l in ctr.ok('task', 'ls').splitlines()), 10)
        ctr('task', 'rm', name)
        ctr.ok('containers', 'rm', name)
    names = ['g1', 'g2', 'g3']
    try:
        shim = run('g1')
        assert run('g2') == shim != run('g3', 'io.containerd.runc.v2.group=h')
        for _ in range(3):
            remove('g1')
            begin = time.monotonic()
            assert run('g1') == shim
            assert time.monotonic() - begin < 5
        for name in names:
            remove(name)
        until(lambda: not os.path.exists(f'/proc/{shim}') or 'State:\tZ' in open(f'/proc/{shim}/status').read(), 10)
    finally:
        for name in names:
            ctr('task', 'rm', '-f', name)
            ctr('containers', 'rm', name)


def test_content_and_snapshots(ctr):
    rows = ctr.ok('content', 'ls').splitlines()
    assert len(rows) > 3 and all(r.startswith(('DIGEST', 'sha256:')) for r in rows)
    digest = rows[1].split()[0]
    import hashlib
    data = subprocess.run([*ctr.command, 'content', 'get', digest], stdout=subprocess.PIPE, check=True).stdout
    assert 'sha256:' + hashlib.sha256(data).hexdigest() == digest
    assert ctr.ok('snapshots', '--snapshotter', SNAPSHOTTER, 'ls').count('Committed') >= 1


def test_export_and_import(ctr, tmp_path):
    ctr.ok('images', 'export', tmp_path / 'a.tar', ctr.image)
    ctr.ok('images', 'tag', ctr.image, 'example.org/other:x')
    ctr.ok('images', 'rm', '--sync', 'example.org/other:x')
    ctr.ok('images', 'import', tmp_path / 'a.tar')
    assert ctr.image in ctr.ok('images', 'ls', '-q').split()


def test_namespaces_are_apart(ctr):
    other = ['ctr', '-a', ctr.command[2], '-n', 'elsewhere', 'images', 'ls', '-q']
    assert subprocess.run(other, stdout=subprocess.PIPE, check=True).stdout == b''
    assert 'interop' in ctr.ok('namespaces', 'ls', '-q').split()


@pytest.mark.parametrize('arguments, word', [(['containers', 'info', 'nosuch'], 'not found'), (['task', 'kill', 'nosuch'], 'not found'),
                                             (['images', 'rm', 'nosuch'], ''), (['snapshots', '--snapshotter', 'nosuch', 'ls'], ''),
                                             (['content', 'get', 'sha256:' + '0' * 64], 'not found')])
def test_errors(ctr, arguments, word):
    done = ctr(*arguments)
    assert (done.returncode != 0 or arguments[:2] == ['images', 'rm']) and word in done.stderr


RUNTIME_TABLE = ['gantry-runtime', 'crun', 'runc']


@pytest.fixture(scope='module')
def rootfs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('rootfs')
    (folder / 'bin').mkdir()
    shutil.copy('/bin/busybox', folder / 'bin/busybox')
    for applet in ('sh', 'echo', 'sleep', 'true', 'cat'):
        (folder / 'bin' / applet).symlink_to('busybox')
    for name in ('proc', 'sys', 'dev', 'tmp', 'etc', 'run'):
        (folder / name).mkdir()
    return folder


@pytest.fixture
def place():
    """podman wants a short path for its run root."""
    folder = Path(tempfile.mkdtemp(prefix='gtp-', dir='/tmp'))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def podman(place, rootfs, runtime, *arguments, options=()):
    binary = str(places.BIN / runtime) if runtime.startswith('gantry') else shutil.which(runtime)
    return subprocess.run(['podman', '--root', place / 'root', '--runroot', place / 'run', '--tmpdir', place / 'tmp', '--runtime', binary, '--cgroup-manager', 'cgroupfs',
                           '--events-backend', 'file', 'run', '--rm', '--network', 'none', '--ulimit', 'nofile=1000:1000', '--ulimit', 'nproc=1000:1000', *options, '--rootfs', rootfs, *arguments],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)


@pytest.mark.parametrize('runtime', ['runc', 'gantry-runtime'])
def test_podman(place, rootfs, runtime):
    done = podman(place, rootfs, runtime, 'sh', '-c', 'echo podman; exit 6')
    if runtime == 'runc' and 'caps' in done.stderr:
        pytest.skip('runc grants more than this host has')
    assert (done.returncode, done.stdout) == (6, 'podman\n'), done.stderr
    assert podman(place, rootfs, runtime, 'cat', '/proc/self/status', options=['--cap-drop', 'all']).stdout.count('CapEff:\t0000000000000000') == 1


@pytest.mark.parametrize('binary', [None, 'gantry-runtime'], ids=['runc', 'gantry-runtime'])
def test_containerds_own_shim_with_our_runtime(peer, binary):
    ctr = Ctr(peer, 'interop')
    ctr.ok('images', 'import', places.IMAGE_TAR)
    ctr.image = ctr.ok('images', 'ls', '-q').splitlines()[0]
    options = ['--runtime', 'io.containerd.runc.v2', *(['--runc-binary', str(places.BIN / binary)] if binary else [])]
    done = run(ctr, 'i5', 'sh', '-c', 'echo through; exit 3', options=options)
    assert (done.returncode, done.stdout) == (3, 'through\n'), done.stderr
