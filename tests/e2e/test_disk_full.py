# SPDX-License-Identifier: Apache-2.0
"""A full disk during load, pull-sized writes and logging: an error, and nothing that was there is lost."""
import os
import shutil
import subprocess

import pytest

from harness.client import Client
from harness.engine import Stack, until
from harness.places import IMAGE, IMAGE_TAR
from test_bad_input import image_archive

@pytest.fixture(scope='module')
def small(home, tmp_path_factory):
    """A stack whose data root is an ext4 image of 48 MiB."""
    engine = Stack(number=3)
    disk = tmp_path_factory.mktemp('disk') / 'disk.img'
    engine.make_places()
    subprocess.run(['truncate', '-s', '48M', disk], check=True)
    subprocess.run(['mkfs.ext4', '-q', '-F', disk], check=True)
    subprocess.run(['mount', '-o', 'loop', disk, engine.names.root], check=True)
    try:
        engine.start()
        client = Client('gantry', engine, home)
        client.ok('load', '-i', IMAGE_TAR)
        yield client
    finally:
        engine.destroy()
        subprocess.run(['umount', '-l', engine.names.root], stderr=subprocess.DEVNULL)
        shutil.rmtree(engine.names.root, ignore_errors=True)


def free(client):
    found = os.statvfs(client.engine.names.root)
    return found.f_bavail * found.f_frsize


def big_image(size):
    import io
    import tarfile
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w') as tar:
        item = tarfile.TarInfo('big')
        item.size = size
        tar.addfile(item, io.BytesIO(os.urandom(size)))
    return image_archive(data.getvalue())


def test_load(small):
    before = small.ok('images', '-q')
    done = small('load', stdin=big_image(60 << 20), timeout=120)
    assert done.code == 1 and 'no space left on device' in done.err.lower(), done.err
    assert small.ok('images', '-q') == before and small.run(IMAGE, 'echo', 'x').text == 'x'
    until(lambda: free(small) > 20 << 20, 20, 'the space of the failed load is not given back')


def test_log(small):
    small.ok('run', '-d', '--name', 'logger', IMAGE, 'sh', '-c', 'seq 1 3000; echo filled; head -c 80000000 /dev/zero | tr "\\0" "z" | fold -w 1000; echo after; exec sleep 100')
    try:
        # The container must not be held up by its log: it comes to its end although the disk is full.
        until(lambda: small('exec', 'logger', 'cat', '/proc/1/cmdline').out.startswith('sleep'), 120)
        shown = small('logs', '--tail', '2000000', 'logger', timeout=120).out
        assert shown.startswith(''.join(f'{n}\n' for n in range(1, 3001)))
        assert small('kill', 'logger').code == 0
    finally:
        small('rm', '-f', 'logger')
    until(lambda: free(small) > 20 << 20, 20, 'the space of the log is not given back')
    assert small.run(IMAGE, 'echo', 'x').text == 'x'


def test_container_fills_it(small):
    done = small('run', '--name', 'filler', IMAGE, 'sh', '-c', 'dd if=/dev/zero of=/big bs=1M count=100')
    assert done.code == 1 and 'No space left on device' in done.err
    other = small('run', '--name', 'other', IMAGE, 'true')
    assert other.code in (0, 125)
    assert small.ok('ps', '-aq', '--filter', 'name=filler') != ''
    small('rm', '-f', 'filler')
    small('rm', '-f', 'other')
    until(lambda: free(small) > 20 << 20, 20)
    assert small.run(IMAGE, 'echo', 'x').text == 'x'
