# SPDX-License-Identifier: Apache-2.0
"""gantry-runtime by itself: a bundle, no engine. Life cycle, and the faults it must be immune to."""
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness import places

RUNTIME = str(Path(places.BIN) / 'gantry-runtime')
APPLETS = ('sh', 'cat', 'echo', 'grep', 'id', 'ls', 'readlink', 'sleep', 'touch', 'true')


class Bundle:
    """A bundle with busybox in it, and the runtime with a state directory of its own."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0
        self.root = folder / 'rootfs'
        for name in ('bin', 'proc', 'sys', 'dev', 'etc'):
            (self.root / name).mkdir(parents=True)
        shutil.copy('/bin/busybox', self.root / 'bin/busybox')
        for name in APPLETS:
            (self.root / 'bin' / name).symlink_to('busybox')
        subprocess.run([RUNTIME, 'spec'], cwd=folder, check=True)
        self.config = json.loads((folder / 'config.json').read_text())
        self.config['process'].update(terminal=False, rlimits=[])
        self.config['root']['readonly'] = False

    def call(self, *words, **more):
        (self.folder / 'config.json').write_text(json.dumps(self.config))
        return subprocess.run([RUNTIME, '--root', str(self.folder / 'state'), *words], cwd=self.folder, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=30, **more)

    def run(self, *args, **more):
        self.count += 1
        self.config['process']['args'] = list(args)
        return self.call('run', f'gt-{os.getpid()}-{self.count}', **more)


@pytest.fixture
def bundle():
    folder = Path(tempfile.mkdtemp(prefix='gt-bundle-'))
    yield Bundle(folder)
    shutil.rmtree(folder)


@pytest.fixture
def started(bundle):
    name = f'gt-{os.getpid()}-life'
    bundle.config['process']['args'] = ['sleep', '100']
    devnull = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
    (bundle.folder / 'config.json').write_text(json.dumps(bundle.config))
    subprocess.run([RUNTIME, '--root', str(bundle.folder / 'state'), 'create', name], cwd=bundle.folder,
                   stdin=subprocess.DEVNULL, check=True, timeout=30, **devnull)
    yield name
    bundle.call('delete', '--force', name)


def state(bundle, name):
    return json.loads(bundle.call('state', name).stdout)['status']


def test_life_cycle(bundle, started):
    assert state(bundle, started) == 'created'
    assert 'not running' in bundle.call('exec', started, 'true').stderr
    assert bundle.call('start', started).returncode == 0 and state(bundle, started) == 'running'
    assert bundle.call('exec', started, 'sh', '-c', 'exit 7').returncode == 7
    assert bundle.call('pause', started).returncode == 0 and state(bundle, started) == 'paused'
    assert bundle.call('resume', started).returncode == 0 and state(bundle, started) == 'running'
    assert bundle.call('delete', started).returncode == 1
    assert bundle.call('kill', started, 'KILL').returncode == 0
    assert bundle.call('delete', '--force', started).returncode == 0
    assert 'container does not exist' in bundle.call('state', started).stderr


# What a program inherits beyond the three: each readlink has only what came through the exec.
MOST = 256  # descriptors of the tests' process
DESCRIPTORS = ['sh', '-c', f'for n in {" ".join(map(str, range(3, MOST)))}; do readlink /proc/self/fd/$n; done; echo end']


def test_no_descriptor_of_the_host(bundle, started):
    leak = os.open('/', os.O_RDONLY)
    os.set_inheritable(leak, True)
    assert leak < MOST
    done = bundle.run(*DESCRIPTORS, close_fds=False)
    assert done.stdout == 'end\n', done.stdout + done.stderr
    bundle.call('start', started)
    done = bundle.call('exec', started, *DESCRIPTORS, close_fds=False)
    assert done.stdout == 'end\n', done.stdout + done.stderr
    os.close(leak)


def test_no_directory_of_the_host(bundle, started):
    leak = os.open('/', os.O_RDONLY)
    os.set_inheritable(leak, True)
    for number in range(3, leak + 16):
        bundle.config['process']['cwd'] = f'/proc/self/fd/{number}'
        done = bundle.run('ls', 'home', close_fds=False)
        assert done.returncode == 1 and ('cwd' in done.stderr or 'working directory' in done.stderr), (number, done.stderr)
    bundle.config['process']['cwd'] = '/'
    bundle.call('start', started)
    for number in range(3, leak + 16):
        done = bundle.call('exec', '--cwd', f'/proc/self/fd/{number}', started, 'ls', 'home', close_fds=False)
        assert done.returncode == 255 and 'cwd' in done.stderr, (number, done.stdout)
    os.close(leak)


@pytest.mark.parametrize('name', ['proc', 'sys', 'dev'])
def test_kernel_trees_on_links(bundle, name):
    (bundle.root / name).rmdir()
    (bundle.root / name).symlink_to('/etc')
    done = bundle.run('true')
    assert done.returncode == 1 and 'ordinary directory' in done.stderr


def test_mount_target_stays_inside(bundle):
    outside = bundle.folder / 'outside'
    outside.mkdir()
    (bundle.root / 'link').symlink_to(outside)
    (bundle.root / 'up').symlink_to('../../../../../..' + str(outside))
    for target in ('/link/a', '/up/b', '/../../../' + str(outside) + '/c'):
        bundle.config['mounts'].append({'destination': target, 'type': 'tmpfs', 'source': 'tmpfs'})
    assert bundle.run('true').returncode == 0
    assert list(outside.iterdir()) == []


def test_masked_and_read_only(bundle):
    masked = [p for p in bundle.config['linux']['maskedPaths'] if os.path.isfile(p)]
    done = bundle.run('sh', '-c', f'cat {" ".join(masked)}; ls /sys/firmware; echo x >/proc/sys/kernel/hostname')
    assert done.stdout == '' and 'Read-only' in done.stderr


def test_users(bundle, started):
    bundle.call('start', started)
    assert bundle.call('exec', '-u', '1:2', started, 'id').stdout.startswith('uid=1 gid=2')
    for bad in ('4294967296', '4294967295', '-1', '1x', '', ':'):
        done = bundle.call('exec', '--user=' + bad, started, 'id')
        assert bad == '' or done.returncode != 0, bad
    found = bundle.call('exec', started, 'grep', 'Cap', '/proc/self/status').stdout
    assert 'CapInh:\t0000000000000000' in found and 'CapAmb:\t0000000000000000' in found


def test_own_binary_is_read_only(bundle, started):
    """A runtime that joins a container runs from a read-only mount of itself, so that nobody ever writes to the program
    through /proc/PID/exe, also not after it has ended (CVE-2019-5736)."""
    bundle.call('start', started)
    inside = subprocess.Popen([RUNTIME, '--root', str(bundle.folder / 'state'), 'exec', started, 'sh', '-c', 'echo up; exec sleep 100'],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert inside.stdout.readline() == b'up\n'
    program = os.open(f'/proc/{inside.pid}/exe', os.O_RDONLY)
    assert os.fstatvfs(program).f_flag & os.ST_RDONLY
    with pytest.raises(OSError):
        os.open(f'/proc/{inside.pid}/exe', os.O_WRONLY)
    os.close(program)
    inside.kill()
    inside.wait()


def test_sysctl_of_the_host(bundle):
    bundle.config['linux']['sysctl'] = {'kernel.core_pattern': '|/bin/x'}
    assert 'separate kernel namespace' in bundle.run('true').stderr


def test_failed_create_leaves_nothing(bundle):
    def cgroups():
        return [str(p) for p in Path('/sys/fs/cgroup').rglob(f'gt-{os.getpid()}-*')]
    done = bundle.run('/no/such')
    assert done.returncode == 1 and 'no such file or directory' in done.stderr
    bundle.config['mounts'].append({'destination': '/x', 'type': 'nofs', 'source': 'x'})
    assert bundle.run('true').returncode == 1
    assert list((bundle.folder / 'state').iterdir()) == [] and cgroups() == []


def test_errors_in_the_log(bundle):
    log = bundle.folder / 'log.json'
    bundle.call('--log', str(log), '--log-format', 'json', 'state', 'nothing')
    record = json.loads(log.read_text().splitlines()[-1])
    assert record['level'] == 'error' and record['msg'] == 'container does not exist' and record['time']


def test_exec_fails_with_255(bundle, started):
    """1 could be the program's own code; callers read the text from the log."""
    bundle.call('start', started)
    for words in ([started, 'nosuch'], [started, '/dev'], ['nothing', 'true'], [started]):
        done = bundle.call('exec', *words)
        assert done.returncode == 255 and 'exec failed: ' in done.stderr, done.stderr
    assert 'executable file not found in $PATH' in bundle.call('exec', started, 'nosuch').stderr
    assert 'permission denied' in bundle.call('exec', started, '/dev').stderr


@pytest.mark.parametrize('member, value', [('netDevices', {'gt-nosuch': {'name': 'eth1'}}), ('intelRdt', {'closID': 'x'}),
                                           ('personality', {'domain': 'BSD'}),
                                           ('memoryPolicy', {'mode': 'MPOL_BIND', 'nodes': '9999'})])
def test_what_cannot_be_given_is_refused(bundle, member, value):
    bundle.config['linux'][member] = value
    done = bundle.run('echo', 'ran')
    assert done.returncode == 1 and done.stdout == '' and f'linux.{member}' in done.stderr, done.stderr


def test_personality_and_memory_policy(bundle):
    bundle.config['linux'].update(personality={'domain': 'LINUX32'}, memoryPolicy={'mode': 'MPOL_BIND', 'nodes': '0'})
    done = bundle.run('sh', '-c', 'cat /proc/self/personality; grep -m 1 -o "bind[^ ]*" /proc/self/numa_maps')
    assert done.stdout.split()[0] == '00000008' and ('bind' in done.stdout or not os.path.exists('/proc/self/numa_maps')), done.stderr


def test_processors_of_exec(bundle, started):
    bundle.call('start', started)
    process = dict(bundle.config['process'], args=['grep', 'Cpus_allowed_list', '/proc/self/status'], execCPUAffinity={'initial': '0', 'final': '0'})
    file = bundle.folder / 'process.json'
    file.write_text(json.dumps(process))
    done = bundle.call('exec', '-p', str(file), started)
    assert done.stdout.split()[-1] == '0', done.stderr
    process['execCPUAffinity'] = {'final': '1-0'}
    file.write_text(json.dumps(process))
    done = bundle.call('exec', '-p', str(file), started)
    assert done.returncode == 255 and 'execCPUAffinity.final' in done.stderr


def test_exec_in_a_cgroup_below(bundle, started):
    bundle.call('start', started)
    pid = json.loads(bundle.call('state', started).stdout)['pid']
    own = {line.split(':')[1]: line.split(':')[2] for line in Path(f'/proc/{pid}/cgroup').read_text().splitlines()}
    unified = Path('/sys/fs/cgroup/cgroup.procs').exists()
    below = Path('/sys/fs/cgroup' + own['']) / 'below' if unified else Path('/sys/fs/cgroup/pids' + own['pids']) / 'below'
    below.mkdir()
    try:
        done = bundle.call('exec', '--cgroup', 'below' if unified else 'pids:below', started, 'cat', '/proc/self/cgroup')
        assert '/below' in done.stdout, done.stderr
        for bad in ('nosuch', '../..', 'nocontroller:x'):
            assert bundle.call('exec', '--cgroup', bad, started, 'true').returncode == 255
    finally:
        below.rmdir()


def test_working_directory_stays_inside(bundle):
    """A missing one is made, below the root wherever its links lead (CVE-2026-55686)."""
    outside = bundle.folder / 'outside'
    outside.mkdir()
    (bundle.root / 'link').symlink_to(outside)
    (bundle.root / 'up').symlink_to('../../../../../..' + str(outside))
    for cwd in ('/link/a', '/up/b', f'/../../..{outside}/c'):
        bundle.config['process']['cwd'] = cwd
        bundle.run('true')
    assert list(outside.iterdir()) == []


def test_masks_are_the_null_device(bundle):
    """The host's one; an image whose /dev has something else at its place gets no container (CVE-2025-31133)."""
    masked = [p for p in bundle.config['linux']['maskedPaths'] if os.path.isfile(p)]
    lines = bundle.run('ls', '-lL', *masked).stdout.splitlines()
    assert len(lines) == len(masked) and all(' 1,   3 ' in line for line in lines), lines
    bundle.config['mounts'] = [m for m in bundle.config['mounts'] if not m['destination'].startswith('/dev')]
    (bundle.root / 'dev/null').symlink_to('/proc/sysrq-trigger')
    done = bundle.run('true')
    assert done.returncode == 1 and '/dev/null' in done.stderr, done.stderr


def test_shared_bind_reaches_the_host(bundle):
    """In a mount namespace whose `/` is shared, as under systemd; and the host's mounts outlive it."""
    place = bundle.folder / 'to'
    place.mkdir()
    for names in bundle.config['process']['capabilities'].values():
        names.append('CAP_SYS_ADMIN')
    bundle.config['mounts'].append({'destination': '/to', 'type': 'bind', 'source': str(place), 'options': ['rbind', 'rshared']})
    bundle.config['linux']['rootfsPropagation'] = 'shared'
    bundle.config['process']['args'] = ['busybox', 'sh', '-c', 'mkdir /to/a && busybox mount -t tmpfs none /to/a']
    (bundle.root / 'bin/mkdir').symlink_to('busybox')
    (bundle.folder / 'config.json').write_text(json.dumps(bundle.config))
    script = (f'cd {bundle.folder}; mkdir mine && mount -t tmpfs none mine && {RUNTIME} --root {bundle.folder}/state run gt-{os.getpid()}-shared && '
              f'mountpoint -q to/a && mountpoint -q mine && mountpoint -q /proc && echo both')
    done = subprocess.run(['unshare', '-m', '--propagation', 'shared', 'sh', '-c', script], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert done.stdout == 'both\n', done.stdout + done.stderr
