# SPDX-License-Identifier: Apache-2.0
"""What every container has below its own files: the mark /.dockerenv, /etc/mtab, empty targets of mounts; and what sees none of it."""
import io
import os
import tarfile

import pytest

from harness.places import IMAGE

ALONE = ('--network', 'none')


@pytest.fixture
def image(client):
    given = []

    def name():
        given.append(f'init{os.getpid()}/i{len(given)}')
        return given[-1]
    yield name
    for entry in given:
        client('rmi', '-f', entry)


def test_a_container_knows_that_it_is_one(client):
    seen = client.run(*ALONE, IMAGE, 'sh', '-c', 'stat -c "%a %s %u:%g" /.dockerenv; readlink /etc/mtab; stat -c "%F" /etc/hosts; wc -l </etc/mtab').out.split('\n')
    assert seen[:3] == ['755 0 0:0', '/proc/mounts', 'regular file'] and int(seen[3]) > 5


def members(archive):
    with tarfile.open(archive) as tar:
        return {member.name.rstrip('/'): member for member in tar.getmembers()}


def test_before_its_first_start(client, names, tmp_path):
    name = names()
    client.ok('create', '--name', name, *ALONE, IMAGE)
    assert client.ok('diff', name) == ''
    client.ok('export', '-o', tmp_path / 'x.tar', name)
    found = members(tmp_path / 'x.tar')
    for path in '.dockerenv', 'etc/hosts', 'etc/hostname', 'etc/resolv.conf', 'dev/console':
        assert found[path].isfile() and found[path].size == 0 and found[path].mode & 0o7777 == 0o755, path
    for path in 'dev/pts', 'dev/shm', 'proc', 'sys':
        assert found[path].isdir(), path
    assert found['etc/mtab'].linkname == '/proc/mounts'
    client.ok('cp', f'{name}:/etc/resolv.conf', tmp_path / 'resolv.conf')


def test_an_image_made_of_it_has_none(client, names, image, tmp_path):
    name, made = names(), image()
    client.ok('run', '--name', name, *ALONE, IMAGE, 'touch', '/etc/own')
    assert client.ok('diff', name).splitlines() == ['C /etc', 'A /etc/own']
    client.ok('commit', name, made)
    client.ok('save', '-o', tmp_path / 'x.tar', made)
    layers = []
    with tarfile.open(tmp_path / 'x.tar') as tar:
        for member in tar.getmembers():
            blob = tar.extractfile(member).read() if member.isfile() else b''
            try:
                with tarfile.open(fileobj=io.BytesIO(blob)) as layer:
                    layers.append(sorted(layer.getnames()))
            except tarfile.ReadError:
                continue
    assert ['etc', 'etc/own'] in [[n for n in layer if n] for layer in layers], layers
    assert not any('.dockerenv' in layer for layer in layers)


def odd_root(path):
    """A root whose /dev, /etc/hosts and the like are not what they mostly are."""
    with tarfile.open(path, 'w') as tar:
        def put(name, kind, target='', mode=0o755, data=b''):
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode, member.size = kind, target, mode, len(data)
            tar.addfile(member, io.BytesIO(data))
        put('bin', tarfile.DIRTYPE)
        with open('/bin/busybox', 'rb') as busybox:
            put('bin/busybox', tarfile.REGTYPE, data=busybox.read())
        put('bin/sh', tarfile.SYMTYPE, 'busybox')
        put('real', tarfile.DIRTYPE)
        put('real/hosts', tarfile.REGTYPE, data=b'of the image\n')
        put('etc', tarfile.SYMTYPE, 'real')
        put('dev', tarfile.SYMTYPE, '/real/../../../../../..')
        put('proc', tarfile.REGTYPE, data=b'no directory')
        put('.dockerenv', tarfile.SYMTYPE, '/real/hosts')


def test_an_image_with_other_things_in_these_places(client, image, tmp_path):
    made = image()
    odd_root(tmp_path / 'root.tar')
    client.ok('import', tmp_path / 'root.tar', made)
    seen = client.run(*ALONE, made, '/bin/busybox', 'sh', '-c', 'B=/bin/busybox; $B stat -c "%F" /etc /dev /proc /.dockerenv; $B cat /real/hosts; $B wc -c </.dockerenv').out.splitlines()
    assert seen == ['directory', 'directory', 'directory', 'regular empty file', 'of the image', '0']


def test_etc_keeps_its_mode(client, names, image):
    name, made = names(), image()
    client.ok('run', '--name', name, *ALONE, IMAGE, 'sh', '-c', 'chmod 711 /etc; chown 7:8 /etc; echo 1 >/etc/hosts.own')
    client.ok('commit', name, made)
    assert client.run(*ALONE, made, 'sh', '-c', 'stat -c "%a %u:%g" /etc; cat /etc/hosts.own').out.splitlines() == ['711 7:8', '1']


def test_an_image_goes_with_its_init_layer(client, image, tmp_path):
    made = image()
    odd_root(tmp_path / 'root.tar')
    client.ok('import', tmp_path / 'root.tar', made)
    for _ in range(2):
        client.ok('run', '--rm', *ALONE, made, '/bin/busybox', 'true')
        client.ok('rmi', made)
        client.ok('import', tmp_path / 'root.tar', made)
