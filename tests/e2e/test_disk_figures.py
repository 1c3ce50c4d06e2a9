# SPDX-License-Identifier: Apache-2.0
"""The figures of docs/disk-figures.md beside what du and stat say of the disk."""
import json
import subprocess
from pathlib import Path

import pytest

from harness import places
from harness.client import own_stack
from harness.engine import until
from harness.places import IMAGE

# Blobs count bytes and the disk whole blocks; a directory grows by a block.
BLOCK = 4096


def du(path):
    """Blocks in bytes, each file once."""
    return int(subprocess.run(['du', '-s', '-B1', str(path)], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[0])


@pytest.fixture(scope='module')
def client(tmp_path_factory):
    home = tmp_path_factory.mktemp('home')
    with own_stack(24, home) as client:
        # Two images that share the base and one layer, with one of their own each.
        (home / 'Dockerfile').write_text(f'FROM {IMAGE}\nRUN head -c 3000000 /dev/urandom >/both && ln /both /again\nARG own\nRUN head -c ${{own}}000000 /dev/urandom >/own')
        for name, size in ('one', 1), ('two', 2):
            client.ok('build', '-q', '-t', name, '--build-arg', f'own={size}', home, timeout=120)
        client.ok('builder', 'prune', '-af')
        yield client


def api(client, path):
    return json.loads(client.engine.api('GET', path)[1])


def usage(client):
    return api(client, '/v1.41/system/df')


def store(client):
    return Path(client.engine.names.root) / 'containerd'


def snapshots(client):
    return [path / 'fs' for path in (store(client) / 'snapshots/overlayfs').iterdir() if path.name.isdigit()]


def init_layers(client):
    """One of each image that had a container, which is in no figure."""
    return {path for path in snapshots(client) if (path / '.dockerenv').exists()}


def on_disk(client):
    """What images take: all blobs, all snapshots; there is no container."""
    blobs = list((store(client) / 'content/blobs/sha256').iterdir())
    return sum(path.stat().st_size for path in blobs) + sum(du(path) for path in set(snapshots(client)) - init_layers(client)), len(blobs)


def by_name(client):
    return {image['RepoTags'][0]: image for image in usage(client)['Images']}


def test_all_images_together(client):
    truth, blobs = on_disk(client)
    assert abs(usage(client)['LayersSize'] - truth) <= BLOCK * blobs
    assert usage(client)['LayersSize'] > 2 * (3 + 1 + 2) * 1000000  # as they came, and unpacked
    new = api(client, '/v1.52/system/df')['ImageUsage']
    assert new['TotalSize'] == new['Reclaimable'] == usage(client)['LayersSize']


def test_size_is_shared_and_unique(client):
    images = by_name(client)
    base, one, two = images[IMAGE], images['one:latest'], images['two:latest']
    assert one['SharedSize'] == two['SharedSize'] and one['SharedSize'] - base['SharedSize'] >= 2 * 3000000
    # Twice what is random: it does not pack, and /again is a second name.
    assert 2 * 1000000 <= one['Size'] - one['SharedSize'] < 2 * 1000000 + 20 * BLOCK
    assert 2 * 2000000 <= two['Size'] - two['SharedSize'] < 2 * 2000000 + 20 * BLOCK
    assert base['Size'] - base['SharedSize'] < BLOCK  # its documents
    for image in images.values():
        assert image['VirtualSize'] == image['Size'] == api(client, f'/v1.41/images/{image["Id"]}/json')['Size']
    history = api(client, '/v1.41/images/one:latest/history')
    assert 1000000 <= history[0]['Size'] < 1000000 + 10 * BLOCK
    assert sum(entry['Size'] for entry in history) == client_root(client, 'one')


def client_root(client, image):
    """The virtual size of a fresh container less its own."""
    made = client.ok('create', image)
    try:
        listed, = api(client, '/v1.41/containers/json?all=1&size=1')
        return listed['SizeRootFs'] - listed['SizeRw']
    finally:
        client.ok('rm', made)


def test_an_image_that_goes_frees_its_unique_size(client):
    client.ok('tag', 'two', 'keep:two')
    client.ok('rmi', 'two')
    before, blobs = on_disk(client)
    two = by_name(client)['keep:two']
    client.ok('rmi', 'keep:two')
    after, _ = on_disk(client)
    assert abs(before - after - (two['Size'] - two['SharedSize'])) <= BLOCK * blobs


def test_a_container_takes_what_it_wrote(client):
    known = set(snapshots(client))
    made = client.ok('run', '-d', 'one', 'sh', '-c', 'head -c 5000000 /dev/zero >/new; rm /own; sleep 1000')
    try:
        own, = set(snapshots(client)) - known
        client.ok('exec', made, 'sh', '-c', 'until [ ! -e /own ]; do :; done')
        listed, = api(client, '/v1.41/containers/json?all=1&size=1')
        assert abs(listed['SizeRw'] - du(own)) <= 2 * BLOCK and listed['SizeRw'] >= 5000000
        root = listed['SizeRootFs'] - listed['SizeRw']
        # All layers below, seen from the disk.
        image = by_name(client)['one:latest']
        assert image['Containers'] == 1 and root == sum(du(path) for path in (known & below(client, own)) - init_layers(client))
        new = api(client, '/v1.52/system/df')
        # The base's own documents.
        assert new['ImageUsage']['Reclaimable'] < BLOCK and new['ContainerUsage']['TotalSize'] == listed['SizeRw'] and new['ContainerUsage']['Reclaimable'] == 0
        assert listed['Id'][:12] in client.ok('ps', '-s')
    finally:
        client.ok('rm', '-f', made)


def test_an_init_layer_goes_with_its_image(client):
    client.ok('tag', 'one', 'again')
    client.ok('run', '--rm', 'again', 'true')
    before = init_layers(client)
    client.ok('rmi', 'again')
    assert init_layers(client) == before
    client.ok('commit', '-c', 'ENV A=1', client.ok('create', '--name', 'same', 'one'), 'other')
    client.ok('run', '--rm', 'other', 'true')
    assert init_layers(client) == before  # the same layers have the same one
    client.ok('run', '--name', 'changes', 'one', 'touch', '/x')
    client.ok('commit', 'changes', 'third')
    client.ok('rm', 'same', 'changes')
    client.ok('run', '--rm', 'third', 'true')
    assert len(init_layers(client) - before) == 1
    client.ok('rmi', 'third')
    # The last container's own layer goes after --rm is told.
    until(lambda: init_layers(client) == before, 30)


def below(client, upper):
    """The lower directories of the mount that has this upper one."""
    number = upper.parent.name
    pid = client.inspect(client.ok('ps', '-q'), '{{.State.Pid}}')
    line, = [text for text in Path(f'/proc/{pid}/mountinfo').read_text().splitlines() if text.split()[4] == '/']
    options = [option.partition('=') for option in line.split(' - ')[1].split()[2].split(',')]
    assert any(name == 'upperdir' and f'/{number}/' in value for name, _, value in options)
    lower = [part for name, _, value in options if name in ('lowerdir', 'lowerdir+') for part in value.split(':')]
    return {Path(store(client), 'snapshots/overlayfs', part.rstrip('/').split('/')[-2], 'fs') for part in lower}
