# SPDX-License-Identifier: Apache-2.0
"""Binds, tmpfs, read-only roots, and what of the host a container's mounts show."""
import os
import subprocess

import pytest

from harness.places import IMAGE


def test_bind(client, tmp_path):
    (tmp_path / 'f').write_text('host')
    assert client.run('-v', f'{tmp_path}:/data', IMAGE, 'sh', '-c', 'cat /data/f; echo new >/data/g').text == 'host'
    assert (tmp_path / 'g').read_text() == 'new\n'


def test_bind_read_only(client, tmp_path):
    (tmp_path / 'f').write_text('host')
    done = client.run('-v', f'{tmp_path}:/data:ro', IMAGE, 'sh', '-c', 'cat /data/f; echo new >/data/f')
    assert done.out == 'host' and 'Read-only file system' in done.err and (tmp_path / 'f').read_text() == 'host'


def test_bind_of_a_file(client, tmp_path):
    (tmp_path / 'f').write_text('host')
    assert client.run('-v', f'{tmp_path}/f:/etc/some/file:ro', IMAGE, 'cat', '/etc/some/file').text == 'host'


def test_bind_makes_the_source(client, tmp_path):
    client.ok('run', '--rm', '-v', f'{tmp_path}/a/b:/data', IMAGE, 'touch', '/data/x')
    assert (tmp_path / 'a/b/x').exists()


def test_bind_through_a_symlink_in_the_image_stays_inside(client, names, tmp_path):
    (tmp_path / 'canary').write_text('safe')
    name = names()
    client.ok('run', '--name', name, '-v', f'{tmp_path}:/var/run/x', IMAGE, 'sh', '-c', 'ls /var/run/x')
    assert client.ok('logs', name) == 'canary'


def test_tmpfs(client):
    out = client.run('--tmpfs', '/run/t:size=1m,mode=1770', IMAGE, 'sh', '-c', 'df -k /run/t | tail -1; stat -c %a /run/t; grep " /run/t " /proc/mounts').out
    assert out.split()[1] == '1024' and '1770' in out and 'nosuid' in out and 'noexec' in out


def test_read_only_root(client):
    done = client.run('--read-only', '--tmpfs', '/tmp', IMAGE, 'sh', '-c', 'touch /tmp/ok && echo tmp; touch /x')
    assert done.out == 'tmp\n' and 'Read-only file system' in done.err


@pytest.mark.parametrize('value', ['relative:/data', '/a:/b:nosuch', '/a:relative', '/a:/'])
def test_bad_volume(client, value):
    done = client.run('-v', value, IMAGE, 'echo', 'ran')
    if value == 'relative:/data':
        pytest.skip('names a volume')
    assert done.code == 125 and done.out == '' and done.err


def test_mounts_of_a_container(client):
    mounts = {line.split()[1]: line.split() for line in client.run(IMAGE, 'cat', '/proc/mounts').out.splitlines()}
    for path, kind in (('/', 'overlay'), ('/proc', 'proc'), ('/dev', 'tmpfs'), ('/dev/pts', 'devpts'), ('/dev/mqueue', 'mqueue'),
                       ('/dev/shm', 'tmpfs'), ('/sys', 'sysfs'), ('/sys/fs/cgroup', None)):
        assert path in mounts and (kind is None or mounts[path][2] == kind), path
    assert 'ro' in mounts['/sys'][3].split(',')
    for path in ('/etc/hostname', '/etc/hosts', '/etc/resolv.conf'):
        assert path in mounts
    for path in ('/proc/bus', '/proc/fs', '/proc/sys'):
        assert path in mounts, path


def test_devices_of_a_container(client):
    out = client.run(IMAGE, 'sh', '-c', 'ls -1 /dev').out.split()
    assert sorted(set(out) - {'core'}) == sorted(['fd', 'full', 'mqueue', 'null', 'ptmx', 'pts', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'tty',
                                  'urandom', 'zero'])


def test_device(client):
    assert client.run('--device', '/dev/fuse:/dev/fuse2:r', IMAGE, 'sh', '-c', '[ -c /dev/fuse2 ] && stat -c %t,%T /dev/fuse2').text == 'a,e5'
    done = client.run('--device', '/dev/nosuch', IMAGE, 'true')
    assert done.code in (125, 127) and '/dev/nosuch' in done.err


def test_device_is_not_open_to_all(client):
    done = client.run(IMAGE, 'sh', '-c', 'mknod /tmp/kmsg c 1 11 && cat /tmp/kmsg')
    assert 'Operation not permitted' in done.err


def test_file_in_the_container_is_not_on_the_host(client):
    client.ok('run', '--rm', IMAGE, 'touch', '/tmp/gantry-was-here')
    assert not os.path.exists('/tmp/gantry-was-here')


@pytest.mark.parametrize('propagation', ['rshared', 'rslave'])
def test_propagation_needs_a_shared_source(client, tmp_path, propagation):
    if client.engine.kind == 'p':
        pytest.skip('the peer says it in its own words')
    kind = subprocess.run(['findmnt', '-no', 'PROPAGATION', '-T', str(tmp_path)], stdout=subprocess.PIPE, text=True, check=True).stdout
    done = client.run('-v', f'{tmp_path}:/x:{propagation}', IMAGE, 'echo', 'ran')
    if kind.strip() == 'private':
        assert done.code == 125 and 'it is not a shared' in done.err and done.out == ''
    else:
        assert done.text == 'ran', done.err
