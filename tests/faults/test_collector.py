# SPDX-License-Identifier: Apache-2.0
"""Garbage collection: what each label keeps, what the policy removes, and a race of pulls, pushes, imports, leases and
removals in two namespaces, after which nothing that is referred to is lost and nothing else is kept."""
import hashlib
import json
import random
import subprocess
import threading
import time

import grpc
import pytest

from harness import places
from harness.transfers import Client, Containerd
from harness.engine import until
from harness.registry import Layout, Registry, layer_tar

ROUNDS = 1500 if places.SOAK else 160
WORKERS = 4


@pytest.fixture
def daemon(request):
    daemon = Containerd(arguments=getattr(request, 'param', ())).start()
    yield daemon
    daemon.destroy()


def ingest(daemon, text, **labels):
    """A blob with labels, written in one step, so that no collection comes between."""
    digest = 'sha256:' + hashlib.sha256(text.encode()).hexdigest()
    commit = 2
    daemon.client('Content/Write', [{'action': commit, 'ref': f'test-{text}', 'total': len(text), 'expected': digest, 'data': text.encode(),
                                     'labels': {k.replace('__', '/'): v for k, v in labels.items()}}])
    return digest


def collect(daemon):
    """A collection now: the deletion of a lease, synchronously."""
    daemon.ctr('leases', 'create', '--id', 'collect')
    daemon.ctr('leases', 'delete', '--sync', 'collect')


def kept(daemon):
    return {r[0] for r in daemon.rows('SELECT digest FROM content')}


def gc(label):
    return f'containerd.io__gc.{label}'


def test_labels_of_content(daemon):
    root = ingest(daemon, 'root', **{gc('root'): 'now'})
    named = ingest(daemon, 'named')
    chain = ingest(daemon, 'chain', **{gc('ref.content.0'): named})
    ingest(daemon, 'pointer', **{gc('root'): 'x', gc('ref.content.a'): chain})
    pointer = 'sha256:' + hashlib.sha256(b'pointer').hexdigest()
    back = ingest(daemon, 'signature', **{gc('bref.content.sig'): root})
    back_of_back = ingest(daemon, 'signature of it', **{gc('bref.content'): back})
    lost = [ingest(daemon, 'lost'), ingest(daemon, 'back of nothing', **{gc('bref.content'): 'sha256:' + '0' * 64}),
            ingest(daemon, 'back of an image', **{gc('bref.image'): 'no:1'})]
    collect(daemon)
    assert kept(daemon) == {root, named, chain, pointer, back, back_of_back} and not kept(daemon) & set(lost)
    # What it was kept with goes, and it goes as well.
    daemon.ctr('content', 'label', root, 'containerd.io/gc.root=')
    collect(daemon)
    assert kept(daemon) == {pointer, chain, named}
    daemon.ctr('content', 'label', pointer, 'containerd.io/gc.root=')
    collect(daemon)
    assert daemon.settled() == []


def test_images_and_containers_keep_back_references(daemon):
    daemon.ctr('images', 'import', places.IMAGE_TAR)
    image = daemon.ctr('images', 'ls', '-q').stdout.split()[0]
    daemon.ctr('containers', 'create', image, 'c1')  # first: a collection may come at any time
    of_image = ingest(daemon, 'sbom', **{gc('bref.image.sbom'): image})
    of_container = ingest(daemon, 'logs', **{gc('bref.container'): 'c1'})
    of_other = ingest(daemon, 'others', **{gc('bref.container'): 'c2'})
    collect(daemon)
    assert {of_image, of_container} <= kept(daemon) and of_other not in kept(daemon)
    daemon.ctr('containers', 'delete', 'c1')
    collect(daemon)
    assert of_container not in kept(daemon) and of_image in kept(daemon)
    # An image that expires is no root any more.
    daemon.ctr('images', 'label', image, 'containerd.io/gc.expire=2001-01-01T00:00:00Z')
    collect(daemon)
    assert daemon.settled() == []


def test_leases(daemon):
    inner = ingest(daemon, 'inner')
    outer = ingest(daemon, 'outer', **{gc('ref.content'): inner})

    def lease(name, **labels):
        daemon.client('Leases/Create', id=name, labels={k.replace('__', '/'): v for k, v in labels.items()})
        daemon.client('Leases/AddResource', id=name, resource={'id': outer, 'type': 'content'})
    lease('whole')
    lease('flat', **{gc('flat'): 'now'})
    lease('old', **{gc('expire'): '2001-01-01T00:00:00Z'})
    collect(daemon)
    assert kept(daemon) == {outer, inner} and {r[0] for r in daemon.rows('SELECT id FROM leases')} == {'whole', 'flat'}
    daemon.ctr('leases', 'delete', '--sync', 'whole')
    assert kept(daemon) == {outer}, 'a flat lease keeps its own resources only'
    daemon.ctr('leases', 'delete', '--sync', 'flat')
    assert daemon.settled() == []


@pytest.fixture(scope='module')
def registry(tmp_path_factory):
    """Images a0…a5 that share their first layer, each with one of its own of about 1 MB."""
    registry, layout = Registry(), Layout(tmp_path_factory.mktemp('gc') / 'layout')
    noise = random.Random(3)
    shared = layer_tar([('shared', noise.randbytes(200_000), 0o644, 0)])
    for i in range(6):
        layout.image(f'a{i}', [shared, layer_tar([(f'own{i}', noise.randbytes(1_000_000), 0o644, 0)])])
        registry.put(f'oci:{layout.folder}:a{i}', f'a{i}:1')
    yield registry
    registry.destroy()


@pytest.mark.parametrize('daemon', [['--gc-high-bytes', '9000000', '--gc-low-bytes', '5000000', '--gc-pin', 'pinned:1']], indirect=True)
def test_policy(registry, daemon):
    """An image takes 2 MB, blob and snapshot: the fourth one is over the mark, and the oldest unpinned ones go."""
    names = ['pinned:1', 'labelled:1', 'used:1', 'old:1', 'new:1']
    for i, name in enumerate(names[:4]):
        daemon.client.pull(f'{registry.name}/a{i}:1', name=name)
        if name == 'labelled:1':
            daemon.ctr('images', 'label', name, 'io.cri-containerd.pinned=pinned')
        if name == 'used:1':
            daemon.ctr('containers', 'create', name, 'c')

    def images():
        return {r[0] for r in daemon.rows('SELECT name FROM images')}
    assert images() == set(names[:4]), 'below the mark nothing goes'
    daemon.client.pull(f'{registry.name}/a4:1', name=names[4])
    until(lambda: images() == {'pinned:1', 'labelled:1', 'used:1'}, 10)
    assert daemon.damaged() == []
    daemon.ctr('containers', 'delete', 'c')
    daemon.client.pull(f'{registry.name}/a5:1', name='more:1')
    assert images() == {'pinned:1', 'labelled:1', 'used:1', 'more:1'}, 'below the mark again'
    daemon.client.pull(f'{registry.name}/a3:1', name='most:1')
    until(lambda: images() == {'pinned:1', 'labelled:1'}, 10)


@pytest.mark.parametrize('daemon', [['--gc-high-bytes', '1000000', '--gc-low-bytes', '0', '--gc-keep-for', '3600']], indirect=True)
def test_policy_keeps_what_is_young(registry, daemon):
    daemon.client.pull(f'{registry.name}/a0:1')
    collect(daemon)
    assert len(daemon.rows('SELECT 1 FROM images')) == 1


class Racer(threading.Thread):
    """Works in one namespace under names of its own, on layers that everybody shares; what it has it checks."""

    def __init__(self, number, daemon, registry, rounds, archive):
        super().__init__()
        self.number, self.daemon, self.registry, self.rounds, self.archive = number, daemon, registry, rounds, archive
        self.namespace = f'race{number % 2}'
        self.client, self.random = Client(daemon.address, self.namespace), random.Random(number)
        self.error, self.done = None, 0

    def run(self):
        try:
            while self.done < self.rounds:
                self.one()
                self.done += 1
        except BaseException as error:  # shown by the test
            self.error = error
        finally:
            self.client.close()

    def whole(self, digest, layers=True):
        """Everything from the manifest on is recorded in this namespace, and on disk."""
        recorded = {r[0] for r in self.daemon.rows(f"SELECT digest FROM content WHERE ns = '{self.namespace}'")}
        blobs = self.daemon.root / 'content/blobs/sha256'
        manifest = json.loads((blobs / digest.removeprefix('sha256:')).read_text())
        parts = {digest, manifest['config']['digest'], *(x['digest'] for x in manifest['layers'])}
        assert parts <= recorded, f'{self.namespace}: records of {parts - recorded} are lost'
        assert all((blobs / p.removeprefix('sha256:')).exists() for p in parts)
        if layers:
            keys = {r[0]: r[1] for r in self.daemon.rows(f"SELECT key, number FROM snapshots WHERE ns = '{self.namespace}'")}
            labels = json.loads(self.daemon.rows(f"SELECT labels FROM content WHERE ns = '{self.namespace}' AND digest = '{manifest['config']['digest']}'")[0][0])
            top = labels['containerd.io/gc.ref.snapshot.overlayfs']
            assert top in keys, f'{self.namespace}: snapshot {top} is lost'
            assert any((self.daemon.root / f'snapshots/overlayfs/{keys[top]}/fs').iterdir())

    def one(self):
        image = f'{self.registry.name}/a{self.random.randrange(3)}:1'
        name = f'racer{self.number}:1'
        step = self.random.randrange(4)
        self.client.pull(image, name=name)
        digest = self.client.target(name).digest
        self.whole(digest)
        if step == 0:
            self.client.push(name, f'{self.registry.name}/pushed{self.number}:1')
        elif step == 1:
            lease = f'lease{self.number}'
            self.client('Leases/Create', id=lease)
            self.client('Leases/AddResource', id=lease, resource={'id': digest, 'type': 'content'})
            self.client.remove(name)
            self.whole(digest)
            self.client('Leases/Delete', id=lease, sync=True)
            return
        elif step == 2:
            done = subprocess.run(['ctr', '-a', self.daemon.address, '-n', self.namespace, 'images', 'import', '--base-name', f'imported{self.number}', self.archive],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
        self.client.remove(name)


def test_race(registry, daemon, tmp_path):
    daemon.client.pull(f'{registry.name}/a0:1')
    daemon.ctr('images', 'export', tmp_path / 'a0.tar', f'{registry.name}/a0:1')
    daemon.client.remove(f'{registry.name}/a0:1')
    racers = [Racer(i, daemon, registry, ROUNDS // WORKERS, tmp_path / 'a0.tar') for i in range(WORKERS)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [r.error for r in racers] == [None] * WORKERS and sum(r.done for r in racers) == ROUNDS // WORKERS * WORKERS
    assert daemon.damaged() == []
    for ns, name in daemon.rows('SELECT ns, name FROM images'):
        client = Client(daemon.address, ns)
        client.remove(name)
        client.close()
    assert daemon.settled() == []
