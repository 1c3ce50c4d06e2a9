# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the daemons in the middle of what brings and takes images: a load, an import, a commit, a save, a pull, a push. The
image is whole or not there, nothing else is left, and the same works then."""
import os
import random
import time

import pytest

from harness import places
from harness.client import Client
from harness.engine import Stack, left_after, until
from harness.fsck import faults
from harness.places import IMAGE, IMAGE_TAR
from test_storage_races import VICTIMS, debians, images, registry

KILLS = 24 if places.SOAK else 3
WHOLE = ('run', '--rm', 'NAME', 'sha256sum', '-c', '/sum')


class Work:
    """One kind of work on an image of two layers, the second of 24 MB: what is done, and what has to be so before."""

    def __init__(self, own, folder, registry_name):
        self.own, self.folder, self.registry = own, folder, registry_name
        self.pushes = 0
        own.ok('run', '--name', 'source', IMAGE, 'sh', '-c', 'head -c 24000000 /dev/urandom >/big; sha256sum /big >/sum')
        own.ok('commit', 'source', 'big:1', timeout=120)
        own.ok('save', '-o', folder / 'big.tar', 'big:1', timeout=120)
        own.ok('export', '-o', folder / 'root.tar', 'source', timeout=120)
        own.ok('tag', 'big:1', f'{registry_name}/big:1')
        own.ok('push', '-q', f'{registry_name}/big:1', timeout=120)
        own.ok('rmi', f'{registry_name}/big:1')

    def load(self):
        return 'big:1', ['load', '-q', '-i', self.folder / 'big.tar']

    def import_(self):
        return 'imported:1', ['import', self.folder / 'root.tar', 'imported:1']

    def commit(self):
        return 'committed:1', ['commit', 'source', 'committed:1']

    def pull(self):
        return f'{self.registry}/big:1', ['pull', '-q', f'{self.registry}/big:1']

    def save(self):
        return '', ['save', '-o', self.folder / 'saved.tar', 'big:1']

    def push(self):
        self.pushes += 1
        name = f'{self.registry}/pushed{self.pushes}:1'
        self.own.ok('tag', 'big:1', name)
        return name, ['push', '-q', name]


def revive(own):
    if own.engine.process.poll() is not None:
        own.engine.start()
    until(lambda: own('version').code == 0 and own('images').code == 0, 60)


def check(own, name):
    words = [name if word == 'NAME' else word for word in WHOLE]
    assert own.ok(*words, timeout=120) == '/big: OK', name


def wrong(own, registry_name):
    """The registry listens in the engine's network, which is not the engine's doing; what a pull has of a layer stays for the next."""
    return [fault for fault in faults(own.engine) if registry_name.rpartition(':')[2] not in fault and "of 'gantry/layer-sha256:" not in fault]


@pytest.fixture
def own(tmp_path):
    engine = Stack(number=25)
    try:
        client = Client('gantry', engine.start(), tmp_path)
        client.ok('load', '-q', '-i', IMAGE_TAR)
        yield client
    finally:
        engine.destroy()


@pytest.mark.parametrize('what', ['load', 'import_', 'commit', 'pull', 'save', 'push'])
def test_kill_during(own, tmp_path, what):
    rng = random.Random(int(os.environ.get('GANTRY_SEED', 11)))
    with registry(own, tmp_path, *debians(tmp_path)) as name:
        work = Work(own, tmp_path, name)
        if what in ('load', 'pull'):
            own.ok('rmi', 'big:1')
        begin = time.monotonic()
        made, command = getattr(work, what)()
        own.ok(*command, timeout=120)
        seconds = time.monotonic() - begin
        cut = turn = 0
        while turn < KILLS or (not cut and turn < 4 * KILLS):
            if what in ('load', 'import_', 'commit', 'pull'):
                own.ok('rmi', made)
            (tmp_path / 'saved.tar').unlink(missing_ok=True)
            made, command = getattr(work, what)()
            process = own.start(*command)
            time.sleep(rng.uniform(0.05, 0.9) * seconds)
            own.engine.kill(*VICTIMS[turn % len(VICTIMS)])
            process.communicate(timeout=120)
            turn += 1
            if process.returncode != 0:
                cut += 1
            else:
                seconds *= 0.7  # it takes less time than the first one
            revive(own)
            if made in images(own):
                check(own, made)
            if (tmp_path / 'saved.tar').exists():
                assert process.returncode == 0, 'half an archive'
            assert left_after(lambda: wrong(own, name), 60) == []
            own.ok(*command, timeout=120)
            if what == 'push':
                own.ok('rmi', made)
                own.ok('pull', '-q', made, timeout=120)
            if made:
                check(own, made)
        assert cut, 'no kill came before the end'
        own.ok('rm', 'source')
        own.ok('rmi', '-f', *set(own.ok('images', '-q').split()))
        assert [str(t) for t in own.engine.settled(removed_all=True, seconds=60)] == []
