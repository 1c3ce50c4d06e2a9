# SPDX-License-Identifier: Apache-2.0
"""One test for each class of published faults that a runtime can have (docs/security.md has the properties). What each
docstring calls "weakened" was built and seen to fail; more tests of the same classes: test_runtime_alone.py.

The class of archives is not here: the runtime unpacks none."""
import ctypes
import json
import os
import socket
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from harness.bare import Bare

libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def bare():
    made = Bare(applets=('cat', 'chmod', 'echo', 'id', 'ls', 'mkdir', 'readlink', 'sh', 'sleep', 'touch', 'true'))
    yield made
    made.destroy()


def output(bare, config, script, **more):
    config['process']['args'] = ['/bin/sh', '-c', script]
    bare.write(config)
    return bare.call('run', bare.name(), **more)


def sleeper(bare):
    config = bare.config()
    config['process']['args'] = ['/bin/sleep', '100']
    name = bare.name()
    bare.write(config)
    for verb in ('create', 'start'):
        assert bare.call(verb, name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    return name


def test_host_descriptors(bare):
    """A: no descriptor of the host's is inherited and the working directory is no way out (CVE-2024-21626; the program's own
    file, CVE-2019-5736: test_runtime_alone.py). Weakened: no close_range before the exec; no getcwd after the chdir."""
    leak = os.open('/', os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(leak, True)
    try:
        done = output(bare, bare.config(), 'for n in 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do readlink /proc/self/fd/$n; done; echo end', close_fds=False)
        assert done.stdout == 'end\n', done.stdout + done.stderr
        for number in range(3, leak + 12):
            config = bare.config()
            config['process']['cwd'] = f'/proc/self/fd/{number}'
            done = output(bare, config, 'ls', close_fds=False)
            assert done.returncode == 1 and ('cwd' in done.stderr or 'working directory' in done.stderr), done.stdout
        name = sleeper(bare)
        for number in range(3, leak + 12):
            done = bare.call('exec', '--cwd', f'/proc/self/fd/{number}', name, '/bin/ls', close_fds=False)
            assert done.returncode == 255 and 'cwd' in done.stderr, done.stdout
    finally:
        os.close(leak)


def test_paths_of_the_root(bare):
    """B: what the configuration names is made, mounted and masked inside of the root, wherever its links lead, absolute ones
    too (CVE-2021-30465, 2024-45310, 2026-55686). Weakened: mount points are opened with
    openat. The racer: tests/faults."""
    outside = bare.folder / 'outside'
    outside.mkdir()
    (outside / 'file').write_text('kept\n')
    (bare.root / 'link').symlink_to(outside)
    (bare.root / 'up').symlink_to('../../../../../..' + str(outside))
    (bare.root / 'run').symlink_to('/tmp')  # a harmless one has to work
    config = bare.config()
    config['mounts'] += [{'destination': where, 'type': 'tmpfs', 'source': 'x'} for where in ('/link/a', '/up/b', f'/../../..{outside}/c', '/run/d')]
    config['linux']['maskedPaths'] += ['/link/file', '/up/file']
    config['linux']['devices'] = [{'path': '/up/null', 'type': 'c', 'major': 1, 'minor': 3}]
    config['process']['cwd'] = '/link/deep/work'
    done = output(bare, config, 'echo x >/tmp/d/here && echo ran')
    assert done.stdout == 'ran\n', done.stderr
    assert sorted(p.name for p in outside.iterdir()) == ['file'] and (outside / 'file').read_text() == 'kept\n'
    assert bare.mounts() == []


def pretended(bare, kind):
    """A root whose NAME is not what it should be; the configuration without the mount that would cover it."""
    config = bare.config()
    if kind == 'proc on a link':
        (bare.root / 'proc').rmdir()
        (bare.root / 'proc').symlink_to('/etc')
    elif kind == 'dev on a link':
        (bare.root / 'dev').rmdir()
        (bare.root / 'dev').symlink_to('/etc')
        config['mounts'] = [m for m in config['mounts'] if not m['destination'].startswith('/dev')]
    elif kind == 'null is another':
        config['mounts'] = [m for m in config['mounts'] if not m['destination'].startswith('/dev')]
        (bare.root / 'dev/null').symlink_to('/proc/sysrq-trigger')
    elif kind == 'null of another number':
        config['mounts'] = [m for m in config['mounts'] if not m['destination'].startswith('/dev')]
        os.mknod(bare.root / 'dev/null', stat.S_IFCHR | 0o666, os.makedev(1, 5))
    return config


@pytest.mark.parametrize('kind', ['proc on a link', 'dev on a link', 'null is another', 'null of another number'])
def test_kernel_files_are_the_kernels(bare, kind):
    """C: /proc, /sys and /dev are ordinary directories, the null device is the null device (CVE-2019-19921, 2025-31133,
    2026-41579). Weakened: links are followed to them; any node of that name is taken."""
    done = output(bare, pretended(bare, kind), 'echo ran')
    assert done.returncode == 1 and done.stdout == '', done.stdout
    assert list((bare.root / 'etc').iterdir()) == []


def test_console_on_a_false_devpts(bare):
    """C: a terminal comes from a devpts, never from what an image has at its place (CVE-2025-52565). Weakened: no look at
    the file system's type."""
    config = bare.config()
    config['mounts'] = [m for m in config['mounts'] if m['destination'] != '/dev/pts']
    config['mounts'].append({'destination': '/dev/pts', 'type': 'bind', 'source': str(bare.root / 'etc'), 'options': ['bind']})
    os.mknod(bare.root / 'etc/ptmx', stat.S_IFCHR | 0o666, os.makedev(5, 2))
    config['process']['terminal'] = True
    config['process']['args'] = ['/bin/true']
    bare.write(config)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(bare.folder / 'console'))
    listener.listen()
    done = bare.call('create', '--console-socket', str(bare.folder / 'console'), bare.name())
    listener.close()
    assert done.returncode == 1 and 'is not a devpts' in done.stderr, done.stderr


def test_state_is_nobody_elses(bare):
    """E: another user finds nothing of the state and cannot start a container (CVE-2021-41091, 2024-25621), and nothing
    listens on an abstract socket (CVE-2020-15257). Weakened: state directories of mode 0755."""
    config = bare.config()
    config['process']['args'] = ['/bin/sleep', '100']
    name = bare.name()
    bare.write(config)
    before = abstract_sockets()
    assert bare.call('create', name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    try:
        assert abstract_sockets() <= before
        walker = subprocess.run(['find', str(bare.state)], user=12345, group=12345, extra_groups=[], capture_output=True, text=True)
        assert walker.stdout.split() == [str(bare.state)] and 'Permission denied' in walker.stderr
        reader = subprocess.run(['cat', str(bare.state / name / 'state.json')], user=12345, group=12345, extra_groups=[], capture_output=True)
        assert reader.returncode != 0
        other = socket.socket(socket.AF_UNIX)
        assert connect_as(12345, other, bare.state / name / 'gate') == 13
        other.close()
    finally:
        assert bare.call('delete', '--force', name).returncode == 0


def abstract_sockets():
    return {line.split()[-1] for line in Path('/proc/net/unix').read_text().splitlines()[1:] if line.split()[-1].startswith('@')}


def connect_as(uid, connection, path):
    """The errno of a connect by another user, 0 if it went; in a thread of its own, whose user alone changes (setresuid by
    system call is a thread's)."""
    result = []

    def connect():
        libc.syscall(117, -1, uid, -1)
        result.append(connection.connect_ex(str(path)))
        libc.syscall(117, -1, 0, -1)
    thread = threading.Thread(target=connect)
    thread.start()
    thread.join()
    return result[0]


def test_identity(bare):
    """F: no inheritable capability, no group of the caller's, and no number that wraps to root (CVE-2022-29162, 2022-36109,
    2024-40635, 2026-30892). Weakened: groups are not set; numbers are cut to 32 bits."""
    config = bare.config()
    config['process']['user'] = {'uid': 1000, 'gid': 1000}
    done = output(bare, config, 'id -u; id -G; cat /proc/self/status', extra_groups=[4, 27])
    assert done.stdout.split()[:2] == ['1000', '1000'] and 'Groups:\t \n' in done.stdout, done.stdout
    assert 'CapInh:\t0000000000000000' in done.stdout and 'CapAmb:\t0000000000000000' in done.stdout
    name = sleeper(bare)
    for user in ('4294967296', '4294967295', '18446744073709551616', '-1', '0x0', '1x', ' 0', '+0', '1:4294967296', ':0'):
        done = bare.call('exec', '--user', user, name, '/bin/id', '-u')
        assert done.returncode == 255 and done.stdout == '', (user, done.stdout)
    assert bare.call('exec', '--user', '1', name, '/bin/id', '-u').stdout == '1\n'


def test_kernel_settings_of_the_host(bare):
    """G: a sysctl that no namespace holds, one that hides another, a cgroup file with a path, and a cgroup that a container
    could give a release agent (CVE-2022-0811, 2022-0492). Weakened: no list of sysctls; a cgroup mount keeps no `ro`."""
    core = Path('/proc/sys/kernel/core_pattern')
    pattern = core.read_text()
    for sysctl in ({'kernel.core_pattern': '|/x'}, {'kernel/core_pattern': '|/x'}, {'net.ipv4/../../kernel/core_pattern': '|/x'},
                   {'net/ipv4/../../kernel/core_pattern': '|/x'}, {'kernel.shm_rmid_forced': '1+kernel.core_pattern=|/x'}):
        config = bare.config()
        config['linux']['sysctl'] = sysctl
        done = output(bare, config, 'echo ran')
        now = core.read_text()
        core.write_text(pattern)
        assert done.stdout == '' and now == pattern, sysctl
    config = bare.config()
    for names in config['process']['capabilities'].values():
        names.append('CAP_DAC_OVERRIDE')
    done = output(bare, config, 'cd /sys/fs/cgroup; for d in . */; do mkdir $d/made; echo /x >$d/release_agent; echo 1 >$d/notify_on_release; done; ls -d */made')
    assert done.stdout == '' and 'Read-only file system' in done.stderr


# What other runtimes take orders from in annotations, and what ours might.
ANNOTATIONS = ['run.oci.hooks.stdout', 'run.oci.hooks.stderr', 'run.oci.handler', 'run.oci.keep_original_groups', 'run.oci.mount_context_type',
               'run.oci.seccomp.receiver', 'run.oci.seccomp.plugins', 'run.oci.seccomp_fail_unknown_syscall', 'run.oci.seccomp_bpf_data',
               'run.oci.systemd.force_cgroup_v1', 'run.oci.systemd.subgroup', 'run.oci.delegate-cgroup', 'run.oci.pidfd_receiver', 'module.wasm.image/variant',
               'io.kubernetes.cri.container-type', 'org.criu.config', 'org.systemd.property.ExecStart', 'bundle', 'org.gantry.root-fd', 'org.gantry.hooks']


def test_annotations_have_no_effect(bare):
    """H: what an image may have written into the annotations is told again by `state`, and does nothing (CVE-2026-53488's
    kind). Weakened: an annotation clears the masked paths."""
    goal = bare.folder / 'goal'
    config = bare.config()
    config['annotations'] = {name: value for name in ANNOTATIONS for value in [str(goal)]}
    # Only what differs in every container is left out.
    script = 'cat /proc/self/status | while read l; do case $l in Cap*|Seccomp*|Groups*|NoNew*) echo $l; esac; done; cat /proc/mounts; id; cat /proc/keys; true'
    plain = output(bare, bare.config(), script)
    told = output(bare, config, script)
    assert told.returncode == plain.returncode == 0 and told.stdout == plain.stdout and len(plain.stdout) > 500
    assert not goal.exists()
    name = bare.name()
    bare.write(config)
    assert bare.call('create', name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    assert json.loads(bare.call('state', name).stdout)['annotations'] == config['annotations']
