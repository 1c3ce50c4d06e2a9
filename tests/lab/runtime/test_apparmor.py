# SPDX-License-Identifier: Apache-2.0
"""AppArmor profiles of processes: applied, read back, and never in silence not."""
import subprocess
from pathlib import Path

import pytest
from conftest import OURS, ours, with_ids

PROFILE = '''profile lab-deny flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  network,
  mount,
  umount,
  signal,
  ptrace,
  deny /tmp/denied w,
}
profile lab-other flags=(attach_disconnected,mediate_deleted) {
  file,
  signal,
}
'''


@pytest.fixture(scope='module', autouse=True)
def profile():
    assert Path('/sys/module/apparmor/parameters/enabled').read_text().startswith('Y')
    subprocess.run(['apparmor_parser', '-Kr'], input=PROFILE, text=True, check=True)
    yield
    subprocess.run(['apparmor_parser', '-R'], input=PROFILE, text=True, check=True)


def test_profile(bundle):
    bundle.config['process']['apparmorProfile'] = 'lab-deny'
    done = bundle.run('sh', '-c', 'cat /proc/self/attr/current; echo x >/tmp/allowed && echo allowed; echo x >/tmp/denied')
    assert done.stdout == 'lab-deny (enforce)\nallowed\n' and 'ermission denied' in done.stderr, done.stdout + done.stderr


def test_with_no_new_privileges_and_another_user(bundle):
    bundle.config['process'].update(apparmorProfile='lab-deny', noNewPrivileges=True, user={'uid': 5, 'gid': 5})
    done = bundle.run('cat', '/proc/self/attr/current')
    assert done.stdout == 'lab-deny (enforce)\n', done.stderr


def test_exec(bundle):
    bundle.config['process']['apparmorProfile'] = 'lab-deny'
    bundle.start()
    assert bundle.exec('cat', '/proc/self/attr/current').stdout == 'lab-deny (enforce)\n'
    assert bundle.call('exec', '--apparmor', 'lab-other', bundle.name, 'cat', '/proc/self/attr/current').stdout == 'lab-other (enforce)\n'


def test_a_profile_that_is_not_loaded(bundle):
    bundle.config['process']['apparmorProfile'] = 'no-such-profile'
    done = bundle.run('echo', 'ran')
    assert done.returncode == 1 and not done.stdout and (not OURS or 'no-such-profile' in done.stderr), done.stderr


def test_in_a_user_namespace(bundle):
    with_ids(bundle)
    bundle.config['process']['apparmorProfile'] = 'lab-deny'
    assert bundle.run('cat', '/proc/self/attr/current').stdout == 'lab-deny (enforce)\n'


@ours
def test_a_false_proc(bundle):
    """Class C: the container's /proc has no say in it (CVE-2019-16884, CVE-2019-19921)."""
    bundle.config['mounts'][0] = {'destination': '/proc', 'type': 'tmpfs', 'source': 'tmpfs'}
    bundle.config['process']['apparmorProfile'] = 'lab-deny'
    bundle.start()
    assert Path(f'/proc/{bundle.pid}/attr/current').read_text() == 'lab-deny (enforce)\n'


@ours
def test_a_file_over_the_attribute(bundle):
    """Class C: another file of procfs in its place would take the label and say nothing (CVE-2025-52881)."""
    bundle.config['process'].update(apparmorProfile='lab-deny', args=['cat', '/proc/self/attr/current'])
    bundle.write()
    fake = bundle.folder / 'fake'
    (fake / 'self/attr/apparmor').mkdir(parents=True)
    (fake / 'self/attr/apparmor/exec').touch()
    # Not a procfs at all, and a file of procfs over the attribute of the process that the runtime becomes a copy of.
    for mount in (f'mount --bind {fake} /proc', 'mount --bind /proc/self/sched /proc/$$/attr/apparmor/exec', 'mount -t tmpfs none /proc/$$/attr',
                  f'mount --bind {fake}/self/attr /proc/self/attr'):
        script = f'mount --make-rprivate / && {mount}; exec gantry-runtime run {bundle.name}'
        done = subprocess.run(['unshare', '-m', 'sh', '-c', script], cwd=bundle.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            # The mount was over another process; what counts is that the label is there.
            assert done.stdout == 'lab-deny (enforce)\n', (mount, done.stdout)
        else:
            assert not done.stdout and '/proc' in done.stderr, (mount, done.stdout, done.stderr)


def test_which_hooks_are_confined(bundle):
    """The host's programs are not, the image's are."""
    bundle.config['process']['apparmorProfile'] = 'lab-deny'
    for name, place in (('host', bundle.folder), ('image', bundle.root)):
        (place / name).write_text(f'#!/bin/sh\nread label </proc/self/attr/current; echo "$label" >{bundle.folder if name == "host" else ""}/tmp-{name}\n')
        (place / name).chmod(0o755)
    bundle.config['hooks'] = {'createContainer': [{'path': str(bundle.folder / 'host')}], 'startContainer': [{'path': '/image'}]}
    assert bundle.run('cat', '/tmp-image', '/proc/self/attr/current').stdout == 'lab-deny (enforce)\n' * 2
    assert (bundle.folder / 'tmp-host').read_text() == 'unconfined\n'
