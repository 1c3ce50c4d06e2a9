# SPDX-License-Identifier: Apache-2.0
"""Limits of what a container's layer and a volume take, on file systems with quotas, each in a file of its own: btrfs where the
kernel has it; xfs and ext4 with project quotas where the kernel has those (the lab machine's has). GANTRY_E2E=docker:peer
proves it on docker's engine, which has quotas on overlay over xfs and on btrfs."""
import json
import os
import shutil
import subprocess

import pytest
from harness.engine import Peer, Stack, ask

MAKE = {'xfs': ['mkfs.xfs', '-q'], 'ext4': ['mkfs.ext4', '-q', '-O', 'quota,project', '-E', 'quotatype=prjquota'], 'btrfs': ['mkfs.btrfs', '-q']}
OPTIONS = {'xfs': 'loop,pquota', 'ext4': 'loop,prjquota', 'btrfs': 'loop'}
DRIVER = {'xfs': 'overlay2', 'ext4': 'overlay2', 'btrfs': 'btrfs'}
PEER = os.environ.get('GANTRY_E2E') == 'docker:peer'
WRITE = 'dd if=/dev/zero of={} bs=1M count={} 2>&1; sync'


@pytest.fixture(scope='module', params=['xfs', 'ext4', 'btrfs'])
def disk(request, tmp_path_factory):
    """Mounts a new file system of that kind, says whether it has quotas, and takes it away."""
    kind = request.param
    if not shutil.which(MAKE[kind][0]):
        pytest.skip(f'no {MAKE[kind][0]}')
    folder = tmp_path_factory.mktemp(kind)
    image, top = folder / 'disk.img', folder / 'top'
    top.mkdir()
    with open(image, 'wb') as file:
        file.truncate(600 << 20)
    subprocess.run([*MAKE[kind], image], check=True, stdout=subprocess.DEVNULL)
    done = subprocess.run(['mount', '-o', OPTIONS[kind], image, top], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        pytest.skip(f'the kernel has no quotas for {kind}: {done.stderr.strip()}')
    quotas = kind == 'btrfs' or 'prjquota' in next(line for line in open('/proc/mounts') if str(top) in line)
    try:
        if not quotas:
            pytest.skip(f'the kernel has no quotas for {kind}')
        yield kind, top
    finally:
        subprocess.run(['umount', '-l', top], check=True)


def started(kind, top, *arguments, number=7):
    """An engine whose root is on that file system."""
    engine = (Peer if PEER else Stack)(number=number, arguments=['--storage-driver', DRIVER[kind], *arguments])
    os.makedirs(engine.names.root)
    subprocess.run(['mount', '--bind', top, engine.names.root], check=True)
    try:
        engine.start()
    except BaseException:
        subprocess.run(['umount', '-l', engine.names.root], check=True)
        raise
    return engine


def ended(engine):
    """Leaves nothing; what is left of the file system goes with its image."""
    left = engine.destroy()
    subprocess.run(['umount', '-l', engine.names.root], stderr=subprocess.DEVNULL)
    assert not left


@pytest.fixture(scope='module')
def engine(disk):
    kind, top = disk
    if PEER and kind == 'ext4':
        pytest.skip('docker has quotas on xfs alone')
    engine = started(kind, top)
    engine.load_image()
    yield engine
    for item in ask(engine, 'GET', '/containers/json?all=1'):
        ask(engine, 'DELETE', f"/containers/{item['Id']}?force=1&v=1", status=204)
    ended(engine)


def run(engine, script, **host):
    """What the shell says in a new container, and its exit code."""
    made = ask(engine, 'POST', '/containers/create', {'Image': 'gantry/busybox', 'Cmd': ['sh', '-c', script], 'HostConfig': host}, status=201)
    container = made['Id']
    ask(engine, 'POST', f'/containers/{container}/start', status=204)
    status, body, _ = engine.api('POST', f'/containers/{container}/wait')
    assert status == 200, body
    _, text, _ = engine.api('GET', f'/containers/{container}/logs?stdout=1&stderr=1')
    ask(engine, 'DELETE', f'/containers/{container}?v=1', status=204)
    return json.loads(body)['StatusCode'], text.decode(errors='replace')


def full(text):
    return 'No space left' in text or 'quota' in text.lower()


def test_layer(engine):
    code, text = run(engine, WRITE.format('/small', 8), StorageOpt={'size': '32m'})
    assert not full(text), text
    code, text = run(engine, WRITE.format('/large', 64), StorageOpt={'size': '32m'})
    assert full(text), text
    code, text = run(engine, WRITE.format('/large', 64))
    assert not full(text), text


def test_layer_of_a_container_that_starts_again(engine):
    """The limit is the layer's: it holds over restarts of the container and of the daemon."""
    made = ask(engine, 'POST', '/containers/create', {'Image': 'gantry/busybox', 'Cmd': ['sh', '-c', WRITE.format('/large', 64)],
                                                      'HostConfig': {'StorageOpt': {'size': '32m'}}}, status=201)
    assert ask(engine, 'GET', f"/containers/{made['Id']}/json")['HostConfig']['StorageOpt'] == {'size': '32m'}
    for _ in range(2):
        ask(engine, 'POST', f"/containers/{made['Id']}/start", status=204)
        ask(engine, 'POST', f"/containers/{made['Id']}/wait")
        _, text, _ = engine.api('GET', f"/containers/{made['Id']}/logs?stdout=1&tail=4")
        assert full(text.decode(errors='replace')), text
        if not PEER:
            engine.restart()
    ask(engine, 'DELETE', f"/containers/{made['Id']}", status=204)


def test_what_is_no_size(engine):
    for option, why in (({'size': 'much'}, 'size'), ({'nosuch': '1'}, 'nosuch')):
        status, body, _ = engine.api('POST', '/containers/create', json.dumps({'Image': 'gantry/busybox', 'HostConfig': {'StorageOpt': option}}))
        assert status in (400, 500) and why in json.loads(body)['message'], body
    assert ask(engine, 'GET', '/containers/json?all=1') == []


def test_volume(engine, disk):
    if disk[0] == 'btrfs':
        pytest.skip('volumes have project quotas')
    ask(engine, 'POST', '/volumes/create', {'Name': 'limited', 'DriverOpts': {'size': '16m'}}, status=201)
    assert ask(engine, 'GET', '/volumes/limited')['Options'] == {'size': '16m'}
    code, text = run(engine, WRITE.format('/v/large', 32), Binds=['limited:/v'])
    assert full(text), text
    code, text = run(engine, 'rm /v/large;' + WRITE.format('/v/small', 8), Binds=['limited:/v'])
    assert not full(text), text
    ask(engine, 'DELETE', '/volumes/limited', status=204)
    ask(engine, 'POST', '/volumes/create', {'Name': 'limited'}, status=201)
    code, text = run(engine, WRITE.format('/v/large', 32), Binds=['limited:/v'])
    assert not full(text), text
    ask(engine, 'DELETE', '/volumes/limited', status=204)


@pytest.mark.skipif(PEER, reason='the words are ours')
def test_volume_without_quotas(engine, disk):
    if disk[0] != 'btrfs':
        pytest.skip('there are quotas')
    status, body, _ = engine.api('POST', '/volumes/create', json.dumps({'Name': 'limited', 'DriverOpts': {'size': '16m'}}))
    assert (status, json.loads(body)['message']) == (400, 'create limited: quota size requested but no quota support')


def test_info_names_the_driver(engine, disk):
    driver = ask(engine, 'GET', '/info')['Driver']
    assert driver == (DRIVER[disk[0]] if PEER else DRIVER[disk[0]].replace('overlay2', 'overlayfs'))


@pytest.mark.skipif(PEER, reason='builds, commits and diffs on btrfs are ours to prove')
def test_all_of_an_image(engine):
    """What reads and writes layers does so whatever the driver: build, diff, commit, copy, save."""
    made = ask(engine, 'POST', '/containers/create', {'Image': 'gantry/busybox', 'Cmd': ['sh', '-c', 'echo new >/new; rm /etc/group']}, status=201)
    container = made['Id']
    ask(engine, 'POST', f'/containers/{container}/start', status=204)
    ask(engine, 'POST', f'/containers/{container}/wait')
    changes = {(c['Kind'], c['Path']) for c in ask(engine, 'GET', f'/containers/{container}/changes')}
    assert changes == {(0, '/etc'), (1, '/new'), (2, '/etc/group')}
    ask(engine, 'POST', f'/commit?container={container}&repo=made&tag=one', status=201)
    ask(engine, 'DELETE', f'/containers/{container}', status=204)
    made = ask(engine, 'POST', '/containers/create', {'Image': 'made:one', 'Cmd': ['sh', '-c', 'cat /new; test -e /etc/group || echo gone']}, status=201)
    ask(engine, 'POST', f"/containers/{made['Id']}/start", status=204)
    ask(engine, 'POST', f"/containers/{made['Id']}/wait")
    _, text, _ = engine.api('GET', f"/containers/{made['Id']}/logs?stdout=1")
    assert b'new\n' in text and b'gone\n' in text
    ask(engine, 'DELETE', f"/containers/{made['Id']}", status=204)
    ask(engine, 'DELETE', '/images/made:one')


@pytest.mark.skipif(PEER, reason='docker has it for its own drivers')
def test_default_size(disk):
    kind, top = disk
    (top / 'second').mkdir(exist_ok=True)
    engine = started(kind, top / 'second', '--storage-opt', 'size=32m', number=8)
    try:
        engine.load_image()
        assert full(run(engine, WRITE.format('/large', 64))[1])
        assert not full(run(engine, WRITE.format('/large', 64), StorageOpt={'size': '128m'})[1])
    finally:
        ended(engine)
