# SPDX-License-Identifier: Apache-2.0
"""Files that are copied share their blocks where the file system can (btrfs, xfs), each in a file of its own: what the kernel
says of the extents (FIEMAP), and that a change of one copy leaves the other as it was."""
import array
import fcntl
import hashlib
import io
import os
import random
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest

from harness.client import Client
from harness.engine import Stack
from harness.places import IMAGE_TAR

FIEMAP, SYNC, SHARED = 0xc020660b, 1, 0x2000  # linux/fs.h, linux/fiemap.h
DRIVER = {'overlayfs': 'overlay2', 'native': 'vfs'}
BIG = 24 << 20
CONTENT = random.Random(3).randbytes(BIG)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def shared_bytes(path):
    """How many bytes of a file lie in extents that another file has too (ioctl_fiemap(2))."""
    found, start = 0, 0
    with open(path, 'rb') as file:
        while True:
            buffer = array.array('B', struct.pack('QQIIII', start, 2**64 - 1 - start, SYNC, 0, 64, 0) + bytes(64 * 56))
            fcntl.ioctl(file, FIEMAP, buffer)
            count = struct.unpack_from('QQIIII', buffer)[3]
            for i in range(count):
                logical, _, length, _, _, flags = struct.unpack_from('QQQQQI', buffer, 32 + 56 * i)
                found += length if flags & SHARED else 0
                start = logical + length
                if flags & 1:  # the last one
                    return found
            if count == 0:
                return found


@pytest.fixture(scope='module', params=['xfs', 'btrfs'])
def disk(request, tmp_path_factory):
    if not shutil.which(f'mkfs.{request.param}'):
        pytest.skip(f'no mkfs.{request.param}')
    folder = tmp_path_factory.mktemp(request.param)
    image, top = folder / 'disk.img', folder / 'top'
    top.mkdir()
    with open(image, 'wb') as file:
        file.truncate(700 << 20)
    subprocess.run([f'mkfs.{request.param}', '-q', image], check=True, stdout=subprocess.DEVNULL)
    if subprocess.run(['mount', '-o', 'loop', image, top], stderr=subprocess.DEVNULL).returncode:
        pytest.skip(f'the kernel has no {request.param}')
    yield top
    subprocess.run(['umount', '-l', top], check=True)


@pytest.fixture(params=['overlayfs', 'native'])
def own(request, disk, tmp_path):
    """An engine on that file system with the image `big`, whose /data/deep/big doesn't compress."""
    stack = Stack(number=6, arguments=['--storage-driver', DRIVER[request.param]])
    os.makedirs(stack.names.root)
    subprocess.run(['mount', '--bind', disk, stack.names.root], check=True)
    try:
        client = Client('gantry', stack.start(), tmp_path)
        client.ok('load', '-q', '-i', IMAGE_TAR)
        archive = tmp_path / 'root.tar'
        with tarfile.open(archive, 'w') as tar:
            item = tarfile.TarInfo('data/deep/big')
            item.size = BIG
            tar.addfile(item, io.BytesIO(CONTENT))
        (tmp_path / 'Dockerfile').write_text('FROM gantry/busybox\nADD root.tar /\n')
        client.ok('build', '-q', '-t', 'big', tmp_path)
        client.snapshotter = request.param
        yield client
    finally:
        stack.destroy()
        subprocess.run(['umount', '-l', stack.names.root], stderr=subprocess.DEVNULL)
        for path in disk.iterdir():
            shutil.rmtree(path, ignore_errors=True)


def used(own):
    os.sync()
    status = os.statvfs(own.engine.names.root)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def layers(own, name):
    """The copies of a file that the snapshots have."""
    return sorted(Path(own.engine.names.root).glob(f'containerd/snapshots/{own.snapshotter}/*/**/{name}'))


def test_a_volume_that_is_filled_from_an_image(own):
    before = used(own)
    own.ok('create', '--name', 'box', '-v', 'vol:/data', 'big')
    volume = Path(own.engine.names.root) / 'volumes/vol/_data/deep/big'
    assert hashlib.sha256(volume.read_bytes()).hexdigest() == DIGEST
    assert shared_bytes(volume) == BIG
    assert used(own) - before < BIG / 4
    own.ok('run', '--rm', '-v', 'vol:/data', 'big', 'sh', '-c', 'echo mine > /data/deep/big')
    assert volume.read_text() == 'mine\n'
    assert own.ok('run', '--rm', 'big', 'sha256sum', '/data/deep/big').split()[0] == DIGEST


def test_a_containers_layer(own):
    """What a container writes to is copied by the kernel (overlay) or by the snapshotter (native): without new blocks."""
    before = used(own)
    own.ok('run', '--name', 'box', 'big', 'chmod', '600', '/data/deep/big')
    copies = layers(own, 'big')
    assert len(copies) >= 2
    assert [shared_bytes(path) for path in copies] == [BIG] * len(copies)
    assert used(own) - before < BIG / 4
    own.ok('run', '--name', 'other', 'big', 'sh', '-c', 'echo mine > /data/deep/big')
    assert own.ok('run', '--rm', 'big', 'sha256sum', '/data/deep/big').split()[0] == DIGEST
