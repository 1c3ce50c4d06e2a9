# SPDX-License-Identifier: Apache-2.0
"""gantry-runtime driven by Debian's containerd (with its own shim), dockerd, podman with conmon, and buildah: run,
exec, signals, limits, terminals, pause and removal. Each test is proven with runc first."""
import json
import os
import pty
import re
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from harness import places
from harness.engine import Peer, until

GANTRY = str(places.BIN / 'gantry-runtime')
RUNTIMES = ['runc', 'gantry']
MEGABYTE = 1024 * 1024
# Waits for TERM and says so with its exit code; `sleep` is a child, so that the trap runs at once.
TRAP = 'trap "exit 41" TERM; echo up; sleep 100 & wait $!'
LIMITS = 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us'
pytestmark = pytest.mark.skipif(Path('/sys/fs/cgroup/cgroup.controllers').exists(), reason='the limits are read as cgroup v1 has them')


def binary(runtime):
    return GANTRY if runtime == 'gantry' else shutil.which('runc')


def call(*command, timeout=60):
    return subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)


def on_terminal(command, typed, seconds=30):
    """Runs a program on a terminal of ours, types, and returns what it wrote and its exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(command[0], [str(word) for word in command])
    os.write(terminal, typed.encode())
    written, deadline = b'', time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            got = os.read(terminal, 4096)
        except OSError:
            break
        if not got:
            break
        written += got
    else:
        os.kill(pid, 9)
    status = os.waitpid(pid, 0)[1]
    os.close(terminal)
    return written.decode(errors='replace'), os.waitstatus_to_exitcode(status)


def cgroups_of(word):
    return [str(p) for p in Path('/sys/fs/cgroup').rglob(f'*{word}*')]


@pytest.fixture(scope='module')
def engine():
    """Debian's dockerd with its own containerd, which knows our runtime."""
    engine = Peer(number=13, arguments=['--add-runtime', f'gantry={GANTRY}'])
    try:
        engine.start()
        engine.load_image()
        yield engine
    finally:
        engine.destroy()


class Ctr:
    """One container of ctr's, through io.containerd.runc.v2."""

    def __init__(self, engine, runtime):
        self.base = ['ctr', '-a', engine.containerd_socket, '-n', 'peers']
        self.options = ['--runtime', 'io.containerd.runc.v2', '--runc-binary', binary(runtime)]
        if not self.ok('images', 'ls', '-q'):
            self.ok('images', 'import', places.IMAGE_TAR)
        self.image = self.ok('images', 'ls', '-q').splitlines()[0]
        self.name = f'peer{os.getpid()}{runtime}'

    def __call__(self, *words):
        return call(*self.base, *words)

    def ok(self, *words):
        done = self(*words)
        assert done.returncode == 0, f'ctr {words}: {done.stderr}'
        return done.stdout.strip()

    def start(self, *command, options=()):
        self.ok('run', '-d', *self.options, *options, self.image, self.name, *command)

    def status(self):
        rows = [line.split() for line in self.ok('task', 'ls').splitlines()]
        return next((row[2] for row in rows if row[0] == self.name), None)

    def remove(self):
        self('task', 'kill', '-s', '9', self.name)
        self('task', 'rm', '-f', self.name)
        self('containers', 'rm', self.name)


@pytest.fixture(params=RUNTIMES)
def ctr(engine, request):
    ctr = Ctr(engine, request.param)
    yield ctr
    ctr.remove()


def test_ctr_run_and_exec(ctr):
    done = ctr('run', '--rm', *ctr.options, ctr.image, ctr.name, 'sh', '-c', 'echo out; echo err >&2; exit 7')
    assert (done.returncode, done.stdout) == (7, 'out\n') and 'err' in done.stderr, done.stderr
    ctr.start('sleep', '100')
    assert ctr.ok('task', 'exec', '--exec-id', 'e1', ctr.name, 'echo', 'inside') == 'inside'
    assert ctr('task', 'exec', '--exec-id', 'e2', ctr.name, 'sh', '-c', 'exit 5').returncode == 5
    missing = ctr('task', 'exec', '--exec-id', 'e3', ctr.name, '/no/such')
    assert missing.returncode != 0 and 'no such file or directory' in missing.stderr


def test_ctr_missing_program(ctr):
    done = ctr('run', '--rm', *ctr.options, ctr.image, ctr.name, '/no/such')
    assert done.returncode != 0 and 'no such file or directory' in done.stderr
    assert ctr.status() is None and cgroups_of(ctr.name) == []


def test_ctr_signals_pause_and_removal(ctr):
    ctr.start('sh', '-c', TRAP)
    ctr.ok('task', 'pause', ctr.name)
    assert ctr.status() == 'PAUSED'
    ctr.ok('task', 'resume', ctr.name)
    assert ctr.status() == 'RUNNING'
    # The trap is set when the shell has forked.
    until(lambda: len(ctr.ok('task', 'ps', ctr.name).splitlines()) == 3)
    ctr.ok('task', 'kill', '-s', 'SIGTERM', ctr.name)
    until(lambda: ctr.status() == 'STOPPED')
    assert 'non-zero exit code 41' in ctr('task', 'rm', ctr.name).stderr
    ctr.ok('containers', 'rm', ctr.name)
    assert cgroups_of(ctr.name) == [] and not list(Path('/run/containerd/runc').glob(f'*/{ctr.name}'))


def test_ctr_limits(ctr):
    ctr.start('sleep', '100', options=['--memory-limit', 64 * MEGABYTE, '--cpu-quota', 50000, '--cpu-period', 100000])
    pid = next(line.split()[1] for line in ctr.ok('task', 'ls').splitlines() if line.startswith(ctr.name))
    own = dict(line.split(':')[1:] for line in Path(f'/proc/{pid}/cgroup').read_text().splitlines())
    cpu = next(path for names, path in own.items() if 'cpu' in names.split(','))
    assert Path(f'/sys/fs/cgroup/memory{own["memory"]}/memory.limit_in_bytes').read_text().strip() == str(64 * MEGABYTE)
    assert Path(f'/sys/fs/cgroup/cpu{cpu}/cpu.cfs_quota_us').read_text().strip() == '50000'


def test_ctr_terminal(ctr):
    written, code = on_terminal([*ctr.base, 'run', '--rm', '-t', *ctr.options, ctr.image, ctr.name, 'sh', '-c', 'tty; read x; echo "got-$x"; exit 9'], 'word\n')
    assert '/dev/pts/0' in written and 'got-word' in written and code == 9, written


class Docker:
    def __init__(self, engine, runtime):
        self.base, self.runtime = ['docker', '-H', engine.host], runtime
        self.name = f'peer{os.getpid()}{runtime}'

    def __call__(self, *words):
        return call(*self.base, *words)

    def ok(self, *words):
        done = self(*words)
        assert done.returncode == 0, f'docker {words}: {done.stderr}'
        return done.stdout.strip()

    def run(self, *words):
        return self('run', '--runtime', self.runtime, '--network', 'none', '--name', self.name, *words)


@pytest.fixture(params=RUNTIMES)
def docker(engine, request):
    docker = Docker(engine, request.param)
    yield docker
    docker('rm', '-f', docker.name)


def test_docker_run_and_exec(docker):
    done = docker.run('--rm', places.IMAGE, 'sh', '-c', 'echo out; exit 7')
    assert (done.returncode, done.stdout) == (7, 'out\n'), done.stderr
    docker.run('-d', '--user', '1:2', '--cap-add', 'NET_ADMIN', places.IMAGE, 'sleep', '100')
    assert docker.ok('exec', docker.name, 'id', '-u') == '1'
    assert docker.ok('exec', '-u', '0', '-w', '/tmp', '-e', 'A=b', docker.name, 'sh', '-c', 'id -u; pwd; echo $A').split() == ['0', '/tmp', 'b']
    assert docker('exec', docker.name, 'sh', '-c', 'exit 5').returncode == 5
    assert docker('exec', docker.name, '/no/such').returncode in (126, 127)
    assert docker.run('--rm', places.IMAGE).returncode == 125  # the name is taken


def test_docker_missing_program(docker):
    done = docker.run(places.IMAGE, '/no/such')
    assert done.returncode == 127 and 'no such file or directory' in done.stderr, done.stderr


def test_docker_signals_pause_and_removal(docker):
    docker.run('-d', places.IMAGE, 'sh', '-c', TRAP)
    identity = docker.ok('inspect', '-f', '{{.Id}}', docker.name)
    docker.ok('pause', docker.name)
    assert docker.ok('inspect', '-f', '{{.State.Status}}', docker.name) == 'paused'
    docker.ok('unpause', docker.name)
    until(lambda: 'up' in docker.ok('logs', docker.name))
    until(lambda: len(docker.ok('top', docker.name).splitlines()) == 3)
    docker.ok('kill', '-s', 'TERM', docker.name)
    assert docker.ok('wait', docker.name) == '41'
    docker.ok('start', docker.name)
    docker.ok('rm', '-f', docker.name)
    assert cgroups_of(identity) == []


def test_docker_limits(docker):
    docker.run('-d', '-m', '64m', '--pids-limit', '50', '--cpus', '0.5', places.IMAGE, 'sleep', '100')
    assert docker.ok('exec', docker.name, *LIMITS.split()).split() == [str(64 * MEGABYTE), '50', '50000']
    docker.ok('update', '-m', '32m', '--memory-swap', '64m', docker.name)
    assert docker.ok('exec', docker.name, *LIMITS.split()).split()[0] == str(32 * MEGABYTE)
    oom = docker('exec', docker.name, 'sh', '-c', 'tail /dev/zero')
    assert oom.returncode == 137


def test_docker_terminal(docker):
    written, code = on_terminal([*docker.base, 'run', '--rm', '-it', '--runtime', docker.runtime, '--network', 'none', places.IMAGE,
                                 'sh', '-c', 'tty; stty size; read x; echo "got-$x"; exit 9'], 'word\n')
    assert '/dev/pts/0' in written and 'got-word' in written and code == 9, written


class Podman:
    def __init__(self, place, rootfs, runtime):
        self.base = ['podman', '--root', place / 'root', '--runroot', place / 'run', '--tmpdir', place / 'tmp', '--runtime', binary(runtime),
                     '--cgroup-manager', 'cgroupfs', '--events-backend', 'file']
        self.rootfs, self.name = rootfs, f'peer{os.getpid()}{runtime}'

    def __call__(self, *words):
        return call(*self.base, *words)

    def ok(self, *words):
        done = self(*words)
        assert done.returncode == 0, f'podman {words}: {done.stderr}'
        return done.stdout.strip()

    def words(self, options, command):
        return ['run', '--name', self.name, '--network', 'none', '--ulimit', 'nofile=1000:1000', '--ulimit', 'nproc=1000:1000', *options,
                '--rootfs', self.rootfs, *command]

    def run(self, options, *command):
        return self(*self.words(options, command))


def remove_folder(place):
    """podman's clean-up, which conmon starts, may write there for a moment longer; and when two podmans end at once, the
    mount that they share may stay (`place`/root/overlay)."""
    def gone():
        for mount in Path('/proc/self/mounts').read_text().splitlines():
            if mount.split()[1].startswith(f'{place}/'):
                call('umount', mount.split()[1])
        shutil.rmtree(place, ignore_errors=True)
        return not place.exists()
    until(gone)


@pytest.fixture(params=RUNTIMES)
def podman(request):
    # podman wants a short path for its run root.
    place = Path(tempfile.mkdtemp(prefix='gtp-', dir='/tmp'))
    rootfs = place / 'rootfs'
    (rootfs / 'bin').mkdir(parents=True)
    shutil.copy('/bin/busybox', rootfs / 'bin/busybox')
    for applet in ('sh', 'cat', 'echo', 'id', 'pwd', 'sleep', 'true', 'tty'):
        (rootfs / 'bin' / applet).symlink_to('busybox')
    for name in ('proc', 'sys', 'dev', 'tmp', 'etc', 'run'):
        (rootfs / name).mkdir()
    podman = Podman(place, rootfs, request.param)
    yield podman
    podman('rm', '-f', '-t', '0', podman.name)
    remove_folder(place)


def test_podman_run_and_exec(podman):
    done = podman.run(['--rm'], 'sh', '-c', 'echo out; exit 7')
    assert (done.returncode, done.stdout) == (7, 'out\n'), done.stderr
    podman.run(['-d'], 'sleep', '100')
    assert podman.ok('exec', podman.name, 'echo', 'inside') == 'inside'
    assert podman.ok('exec', '-u', '5', '-w', '/tmp', '-e', 'A=b', podman.name, 'sh', '-c', 'id -u; pwd; echo $A').split() == ['5', '/tmp', 'b']
    assert podman('exec', podman.name, 'sh', '-c', 'exit 5').returncode == 5
    assert podman('exec', podman.name, '/no/such').returncode == 127


def test_podman_missing_program(podman):
    done = podman.run(['--rm'], '/no/such')
    assert done.returncode == 127 and 'no such file or directory' in done.stderr.lower(), done.stderr


def test_podman_signals_pause_and_removal(podman):
    podman.run(['-d'], 'sh', '-c', TRAP)
    identity = podman.ok('inspect', '-f', '{{.Id}}', podman.name)
    podman.ok('pause', podman.name)
    assert podman.ok('inspect', '-f', '{{.State.Status}}', podman.name) == 'paused'
    podman.ok('unpause', podman.name)
    until(lambda: 'up' in podman.ok('logs', podman.name))
    until(lambda: len(podman.ok('top', podman.name, 'hpid').splitlines()) == 3)
    podman.ok('kill', '-s', 'TERM', podman.name)
    assert podman.ok('wait', podman.name) == '41'
    podman.ok('start', podman.name)
    podman.ok('rm', '-f', '-t', '0', podman.name)
    assert cgroups_of(identity) == []


def test_podman_limits(podman):
    podman.run(['-d', '-m', '64m', '--pids-limit', '50', '--cpus', '0.5', '--cgroupns', 'private'], 'sleep', '100')
    assert podman.ok('exec', podman.name, *LIMITS.split()).split() == [str(64 * MEGABYTE), '50', '50000']


def test_podman_terminal(podman):
    command = podman.words(['--rm', '-it'], ['sh', '-c', 'tty; read x; echo "got-$x"; exit 9'])
    written, code = on_terminal([*podman.base, *command], 'word\n')
    assert '/dev/pts/0' in written and 'got-word' in written and code == 9, written


@pytest.fixture(params=RUNTIMES)
def buildah(request):
    place = Path(tempfile.mkdtemp(prefix='gtb-', dir='/tmp'))
    base = ['buildah', '--root', place / 'root', '--runroot', place / 'run', '--storage-driver', 'vfs']

    def buildah(*words):
        return call(*base, *words)
    buildah.base = base
    buildah.options = ['--runtime', binary(request.param), '--isolation', 'oci']
    made = buildah('from', '--ulimit', 'nofile=1000:1000', '--ulimit', 'nproc=1000:1000', '--memory', '64m', 'scratch')
    assert made.returncode == 0, made.stderr
    buildah.container = made.stdout.strip()
    copied = buildah('copy', buildah.container, '/bin/busybox', '/bin/sh')
    assert copied.returncode == 0, copied.stderr
    yield buildah
    buildah('rm', buildah.container)
    remove_folder(place)


def test_buildah_run(buildah):
    done = buildah('run', *buildah.options, '--network', 'none', buildah.container, '--', '/bin/sh', '-c', 'echo made >/file; echo out; exit 7')
    assert done.stdout == 'out\n' and '7' in done.stderr, done.stderr
    done = buildah('run', *buildah.options, '--network', 'none', buildah.container, '--', '/bin/sh', '-c', 'while read l; do echo $l; done </file')
    assert (done.returncode, done.stdout) == (0, 'made\n'), done.stderr


def test_buildah_limits(buildah):
    script = 'read l </sys/fs/cgroup/memory/memory.limit_in_bytes; echo $l; ulimit -n'
    done = buildah('run', *buildah.options, '--network', 'none', buildah.container, '--', '/bin/sh', '-c', script)
    assert done.returncode == 0 and done.stdout.split() == [str(64 * MEGABYTE), '1000'], done.stdout + done.stderr


def test_buildah_leaves_nothing(buildah):
    """The runtime that is named is the one that runs, and what it made is gone after it."""
    done = buildah('run', *buildah.options, '--network', 'none', buildah.container, '--', '/bin/sh', '-c', 'while read l; do echo $l; done </proc/self/cgroup')
    paths = {line.split(':')[2] for line in done.stdout.splitlines() if ':memory:' in line}
    assert done.returncode == 0 and len(paths) == 1, done.stderr
    assert not Path('/sys/fs/cgroup/memory' + paths.pop()).exists()
    done = buildah('run', '--runtime', '/bin/false', '--isolation', 'oci', '--network', 'none', buildah.container, '--', '/bin/sh')
    assert done.returncode != 0


def test_buildah_terminal(buildah):
    written, code = on_terminal([*buildah.base, 'run', '-t', *buildah.options, '--network', 'none', buildah.container, '--', '/bin/sh', '-c',
                                 'read x; echo "got-$x"'], 'word\n')
    assert 'got-word' in written and code == 0, written


def test_runtime_is_what_ran(engine):
    """The names above really lead to our program."""
    docker = Docker(engine, 'gantry')
    runtimes = json.loads(docker.ok('info', '-f', '{{json .Runtimes}}'))
    assert runtimes['gantry']['path'] == GANTRY and re.search('gantry-runtime', call(GANTRY, '--version').stdout)
