# SPDX-License-Identifier: Apache-2.0
"""What the OCI validation suite asks for and the other tests do not: hooks that fail or are told a state, a container
without a mount namespace, deletion, capabilities that cannot be granted. The suite itself: docs/oci-conformance.md."""
import json
import os
import subprocess
from pathlib import Path

import pytest

from harness.bare import Bare


@pytest.fixture
def bare():
    made = Bare(applets=('cat', 'echo', 'id', 'ls', 'readlink', 'sh', 'sleep', 'true'))
    yield made
    made.destroy()


def create(bare, config, *options):
    name = bare.name()
    bare.write(config)
    with open(bare.folder / 'err', 'w+') as error:
        done = bare.call(*options, 'create', name, stdout=subprocess.DEVNULL, stderr=error)
        error.seek(0)
        assert done.returncode == 0, error.read()
    return name


def output(bare, config, *command):
    config['process']['args'] = ['/bin/sh', '-c', ' '.join(command)]
    bare.write(config)
    return bare.call('run', bare.name())


def state(bare, name):
    done = bare.call('state', name)
    return json.loads(done.stdout)['status'] if done.returncode == 0 else None


def test_delete_wants_a_stopped_container(bare):
    """runtime.md, "Delete": an error without effect."""
    config = bare.config()
    config['process']['args'] = ['/bin/sleep', '100']
    name = create(bare, config)
    for status in ('created', 'running'):
        done = bare.call('delete', name)
        assert done.returncode == 1 and status in done.stderr and state(bare, name) == status
        bare.call('start', name)
    bare.call('kill', name, 'KILL')
    bare.reap()
    assert bare.call('delete', name).returncode == 0 and bare.left() == []


def hook(bare, *words):
    return {'path': '/bin/sh', 'args': ['sh', '-c', f'cd {bare.folder}; ' + ' '.join(words)]}


def test_hooks_are_told_the_state(bare):
    config = bare.config()
    config['hooks'] = {name: [hook(bare, f'cat >{name}')] for name in ('prestart', 'createRuntime', 'createContainer', 'poststart', 'poststop')}
    name = create(bare, config)
    bare.call('start', name)
    bare.reap()
    assert bare.call('delete', name).returncode == 0
    told = {name: json.loads((bare.folder / name).read_text()) for name in config['hooks']}
    assert {name: words['status'] for name, words in told.items()} == {
        'prestart': 'created', 'createRuntime': 'creating', 'createContainer': 'creating', 'poststart': 'running', 'poststop': 'stopped'}
    assert all(words['id'] == name and words['bundle'] == str(bare.folder) for words in told.values())


def test_failing_poststop_hook_is_a_warning(bare):
    """runtime.md, lifecycle step 13: the remaining hooks run."""
    config = bare.config()
    config['hooks'] = {'poststop': [{'path': '/bin/false'}, hook(bare, 'touch second')]}
    name = create(bare, config)
    bare.call('start', name)
    bare.reap()
    log = bare.folder / 'log'
    done = bare.call('--log', str(log), '--log-format', 'json', 'delete', name)
    assert done.returncode == 0 and done.stderr == '' and (bare.folder / 'second').exists()
    record = json.loads(log.read_text())
    assert record['level'] == 'warning' and '/bin/false' in record['msg']


def test_failing_poststart_hook_ends_the_container(bare):
    """runtime.md, lifecycle step 9, since 1.3."""
    config = bare.config()
    config['process']['args'] = ['/bin/sleep', '100']
    config['hooks'] = {'poststart': [{'path': '/bin/false'}]}
    name = create(bare, config)
    assert bare.call('start', name).returncode == 1
    bare.reap()
    assert state(bare, name) == 'stopped'


def test_capabilities_that_cannot_be_granted(bare):
    """config.md, "capabilities": a warning, and the process goes without."""
    config = bare.config()
    for names in config['process']['capabilities'].values():
        names += ['CAP_NOSUCH', 'CAP_SYS_RESOURCE']
    done = output(bare, config, 'while read l; do case $l in CapEff*) echo $l; esac; done </proc/self/status')
    own = int(next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith('CapPrm')).split()[1], 16)
    wanted = sum(1 << bit for bit in (0, 5, 6, 7, 10, 24)) & own
    assert done.returncode == 0 and int(done.stdout.split()[1], 16) == wanted
    assert "warning: process.capabilities: 'CAP_NOSUCH'" in done.stderr
    assert ('CAP_SYS_RESOURCE' in done.stderr) == (own >> 24 & 1 == 0)


@pytest.mark.parametrize('no_new_privileges', [True, False])
def test_filter_that_refuses_getcwd(bare, no_new_privileges):
    """The runtime's own check of the working directory comes before the filter."""
    config = bare.config()
    config['process']['noNewPrivileges'] = no_new_privileges
    config['linux']['seccomp'] = {'defaultAction': 'SCMP_ACT_ALLOW', 'syscalls': [{'names': ['getcwd'], 'action': 'SCMP_ACT_ERRNO'}]}
    done = output(bare, config, 'echo ran')
    assert done.stdout == 'ran\n', done.stderr


def test_without_a_mount_namespace(bare):
    """What is mounted in the root is seen in it, also by exec, but not on the host, and needs nobody to unmount it."""
    config = bare.config()
    config['linux']['namespaces'] = [n for n in config['linux']['namespaces'] if n['type'] != 'mount']
    config['process']['args'] = ['/bin/sleep', '100']
    name = create(bare, config)
    pid = json.loads(bare.call('state', name).stdout)['pid']
    assert os.readlink(f'/proc/{pid}/ns/mnt') == os.readlink('/proc/self/ns/mnt')
    assert bare.call('start', name).returncode == 0
    done = bare.call('exec', name, '/bin/sh', '-c', 'ls / /dev/null; readlink /proc/1/exe; cat /proc/kcore; echo x >/proc/sys/kernel/hostname')
    assert done.stdout.split() == ['/dev/null', '/:', 'bin', 'dev', 'etc', 'proc', 'sys', 'tmp', '/bin/busybox'], done.stdout + done.stderr
    assert 'Read-only file system' in done.stderr
    assert bare.mounts() == [] and list((bare.root / 'proc').iterdir()) == []
    assert bare.call('delete', '--force', name).returncode == 0 and bare.left() == []


def test_propagation_needs_a_mount_namespace(bare):
    config = bare.config()
    config['linux']['namespaces'] = [n for n in config['linux']['namespaces'] if n['type'] != 'mount']
    config['linux']['rootfsPropagation'] = 'rslave'
    bare.write(config)
    done = bare.call('run', bare.name())
    assert done.returncode == 1 and 'mount namespace' in done.stderr


def test_mount_label_without_selinux(bare):
    config = bare.config()
    config['linux']['mountLabel'] = 'system_u:object_r:container_file_t:s0'
    if not os.path.exists('/sys/fs/selinux/enforce'):
        done = output(bare, config, 'echo ran')
        assert done.stdout == 'ran\n' and 'warning: linux.mountLabel' in done.stderr
