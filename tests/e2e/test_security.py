# SPDX-License-Identifier: Apache-2.0
"""Capabilities, privileges, seccomp, and no descriptor of the host inside."""
import re

import pytest

from harness.places import IMAGE

DEFAULT = 0xa80425fb
STATUS = ['grep', '-E', '^(Cap|NoNewPrivs|Seccomp:)', '/proc/self/status']


def status(client, *options):
    out = client.ok('run', '--rm', *options, IMAGE, *STATUS)
    return {k: v for k, v in (re.split(r':\s+', line) for line in out.splitlines())}


def test_default(client):
    found = status(client)
    assert int(found['CapEff'], 16) == DEFAULT and int(found['CapBnd'], 16) == DEFAULT and int(found['CapPrm'], 16) == DEFAULT
    assert int(found['CapAmb'], 16) == 0 and found['Seccomp'] == '2' and found['NoNewPrivs'] == '0'
    if client.engine.kind == 's':
        assert int(found['CapInh'], 16) == 0


def test_add_and_drop(client):
    assert int(status(client, '--cap-drop', 'ALL')['CapEff'], 16) == 0
    assert int(status(client, '--cap-drop', 'ALL', '--cap-add', 'NET_ADMIN')['CapEff'], 16) == 1 << 12
    assert int(status(client, '--cap-add', 'SYS_PTRACE', '--cap-drop', 'MKNOD')['CapEff'], 16) == (DEFAULT | 1 << 19) & ~(1 << 27)
    assert int(status(client, '-u', '1000')['CapEff'], 16) == 0


def test_bad_capability(client):
    done = client.run('--cap-add', 'NO_SUCH', IMAGE, 'echo', 'ran')
    assert done.code == 125 and done.out == '' and 'NO_SUCH' in done.err


def test_no_new_privileges(client):
    assert status(client, '--security-opt', 'no-new-privileges')['NoNewPrivs'] == '1'


def test_seccomp_unconfined(client):
    assert status(client, '--security-opt', 'seccomp=unconfined')['Seccomp'] == '0'


def test_bad_security_opt(client):
    done = client.run('--security-opt', 'nosuch=1', IMAGE, 'echo', 'ran')
    assert done.code == 125 and done.out == '' and done.err


@pytest.mark.parametrize('command', ['mount -t tmpfs none /mnt', 'unshare -U true', 'unshare -m true', 'chroot /proc/1/root/.. true; mount -o remount,rw /sys',
                                     'echo 1 >/proc/sys/kernel/panic'])
def test_refused_inside(client, command):
    assert client.run(IMAGE, 'sh', '-c', command).code != 0


def test_privileged(client):
    if client.engine.kind == 'p':
        pytest.skip('runc grants more than a host without CAP_SYS_RESOURCE has')
    found = status(client, '--privileged')
    assert found['Seccomp'] == '0' and int(found['CapEff'], 16) & (1 << 21)
    assert client.run('--privileged', IMAGE, 'sh', '-c', 'mkdir -p /m && mount -t tmpfs none /m && [ -e /dev/kmsg ] && echo yes').text == 'yes'


def test_no_foreign_descriptor(client, names):
    name = names()
    client.ok('run', '-d', '--name', name, IMAGE, 'sleep', '100')
    assert client.ok('exec', name, 'ls', '/proc/1/fd').split() == ['0', '1', '2']
    assert client.ok('exec', name, 'ls', '/proc/self/fd').split() == ['0', '1', '2', '3']  # 3 is ls's own


def test_environment_of_pid_1_has_nothing_of_ours(client):
    out = client.ok('run', '--rm', IMAGE, 'cat', '/proc/1/environ')
    assert {part.split('=')[0] for part in out.split('\0') if part} == {'PATH', 'HOSTNAME', 'HOME'}
