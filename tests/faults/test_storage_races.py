# SPDX-License-Identifier: Apache-2.0
"""What stores and takes away images at the same time, and is killed meanwhile: removals for the disk budget under kill -9, pushes
that share a blob, pulls and builds beside every kind of prune. Afterwards all that is said to be there is whole, and the rest is gone."""
import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness import places
from harness.client import Client
from harness.engine import Stack, until
from harness.fsck import settled_faults
from harness.places import IMAGE, IMAGE_TAR
from harness.registry import Layout, free_port, layer_tar
from traces import end

ROUNDS = 40 if places.SOAK else 8
VICTIMS = [('gantryd',), ('gantry-containerd',), ('gantryd', 'gantry-containerd')]


@pytest.fixture
def own(tmp_path):
    """A client of an engine of its own; images that were just used may go."""
    engine = Stack(number=24, arguments=['--disk-budget-keep', '0'])
    try:
        client = Client('gantry', engine.start(), tmp_path)
        client.ok('load', '-q', '-i', IMAGE_TAR)
        yield client
    finally:
        engine.destroy()


@contextlib.contextmanager
def registry(own, folder, *command):
    """One in the engine's network: its name."""
    name = f'127.0.0.1:{free_port()}'
    process = own.engine.spawn([word.replace('NAME', name) for word in command], OTEL_TRACES_EXPORTER='none')
    try:
        until(lambda: own.engine.inside('curl', '-sf', f'http://{name}/v2/', check=False).returncode == 0, 30)
        yield name
    finally:
        end(process.pid, 15, 10)
        process.wait(10)


def ours(folder):
    return [str(places.BIN / 'gantry'), 'registry', 'serve', '--address', 'NAME', str(folder / 'ours')]


def debians(folder):
    (folder / 'config.sh').write_text('#!/bin/sh\nexport REGISTRY_HTTP_ADDR=$1 REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=$2 REGISTRY_LOG_LEVEL=error\n'
                                      f'echo "version: 0.1" > {folder}/registry.yml\necho "storage: {{filesystem: {{rootdirectory: $2}}}}" >> {folder}/registry.yml\n'
                                      f'exec docker-registry serve {folder}/registry.yml\n')
    return ['sh', str(folder / 'config.sh'), 'NAME', str(folder / 'debians')]


def images(own):
    return set(own.ok('images', '--format', '{{.Repository}}:{{.Tag}}').split())


def remove_all(own):
    """For a budget of nothing. What the kill does to the request is not what is asked here."""
    with contextlib.suppress(OSError):
        own.engine.api('POST', '/system/budget?bytes=1', timeout=60)


def test_a_prune_whose_container_daemon_dies(own, tmp_path):
    """It hangs, then it is killed: what the prune could not end then is ended when the next one is there."""
    (tmp_path / 'Dockerfile').write_text(f'FROM {IMAGE}\nRUN echo a >/a\nRUN echo b >/b\n')
    own.ok('build', '-q', tmp_path)
    os.kill(own.engine.pid('gantry-containerd'), signal.SIGSTOP)
    prune = own.start('builder', 'prune', '-af')
    time.sleep(1)
    own.engine.kill('gantry-containerd')
    prune.communicate(timeout=120)
    until(lambda: own('images').code == 0, 30)
    assert settled_faults(own.engine, 60) == []


def test_kill_during_a_removal_for_the_budget(own, tmp_path):
    rng = random.Random(int(os.environ.get('GANTRY_SEED', 7)))
    (tmp_path / 'Dockerfile').write_text(f'FROM {IMAGE}\nARG name\nRUN head -c 500000 /dev/urandom >/$name\nRUN echo $name >/name\n')
    own.ok('build', '-q', '-t', 'kept', '--build-arg', 'name=kept', tmp_path)
    own.ok('run', '--name', 'holder', 'kept', 'cat', '/name')
    halves = 0
    for turn in range(ROUNDS):
        names = {f'image{turn}-{i}:latest' for i in range(4)}
        for name in names:
            own.ok('build', '-q', '-t', name, '--build-arg', f'name=n{turn}', tmp_path, timeout=120)
        removal = threading.Thread(target=remove_all, args=(own,))
        removal.start()
        time.sleep(rng.uniform(0, 0.12))
        own.engine.kill(*VICTIMS[turn % 3])
        removal.join()
        if own.engine.process.poll() is not None:
            own.engine.start()
        until(lambda: own('version').code == 0 and own('images').code == 0, 30)
        left = images(own)
        assert 'kept:latest' in left, 'a container has it'
        halves += 0 < len(left & names) < len(names)
        for name in left - {f'{IMAGE}'}:
            assert own.ok('run', '--rm', name, 'cat', '/name', timeout=60) in ('kept', f'n{turn}'), name
        assert own.ok('start', '-a', 'holder') == 'kept'
        assert settled_faults(own.engine, 180) == []
        remove_all(own)
        assert images(own) == {'kept:latest'} and settled_faults(own.engine, 180) == []
        own.ok('load', '-q', '-i', IMAGE_TAR)
    print(f'{halves} of {ROUNDS} removals were cut in the middle')
    own.ok('rm', 'holder')
    remove_all(own)
    assert images(own) == set()
    until(lambda: own.engine.settled(removed_all=True, seconds=1) == [], 30)


@pytest.mark.parametrize('kind', [ours, debians])
def test_pushes_that_share_a_blob(own, tmp_path, kind):
    """Four at once: two into one repository, two into others, all with one large layer that the registry does not have yet."""
    noise, layout = random.Random(4), Layout(tmp_path / 'layout')
    shared = layer_tar([('shared', noise.randbytes(30 << 20), 0o644, 0)])
    for number in range(4):
        layout.image(f'i{number}', [shared, layer_tar([(f'own{number}', noise.randbytes(50_000), 0o644, 0)])], compression='none')
    with registry(own, tmp_path, *kind(tmp_path)) as name:
        targets = [f'{name}/one:a', f'{name}/one:b', f'{name}/two:c', f'{name}/three:d']
        for number, target in enumerate(targets):
            archive = tmp_path / f'{number}.tar'
            subprocess.run(['skopeo', 'copy', '-q', f'oci:{layout.folder}:i{number}', f'oci-archive:{archive}:{target}'], check=True)
            own.ok('load', '-q', '-i', archive)
        pushes = [own.start('push', target) for target in targets]
        for process in pushes:
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, (out, err)
        first = set()
        for target in targets:
            layers = json.loads(own.engine.inside('skopeo', 'inspect', '--raw', '--tls-verify=false', f'docker://{target}').stdout)['layers']
            first.add(layers[0]['digest'])
            own.engine.inside('skopeo', 'copy', '-q', '--src-tls-verify=false', f'docker://{target}', f'dir:{tmp_path}/{len(first)}-{target[-1]}')  # verifies
        assert len(first) == 1, 'they share their first layer'
        for target in targets:
            own.ok('rmi', target)
            own.ok('pull', '-q', target)


def test_prune_beside_pulls_and_builds(own, tmp_path):
    """A pull ends well whatever is pruned meanwhile; what it brought may be gone again, since nobody has it yet. A build has what
    it needs to its end."""
    noise, layout = random.Random(5), Layout(tmp_path / 'layout')
    base = layer_tar([('base', noise.randbytes(3 << 20), 0o644, 0)])
    for number in range(3):
        layout.image(f'i{number}', [base, layer_tar([(f'own{number}', noise.randbytes(1 << 20), 0o644, 0)])])
    over, wrong, count = threading.Event(), [], {'pull': 0, 'build': 0, 'prune': 0}

    def repeat(what, *words, allowed=(), seconds=120):
        while not over.is_set():
            done = own(*words, timeout=seconds)
            if done.code and not any(text in done.err for text in allowed):
                wrong.append((words, done.out[-200:], done.err[-500:]))
                over.set()
            count[what] += done.code == 0
    with registry(own, tmp_path, *ours(tmp_path)) as name:
        for number in range(3):
            own.engine.inside('skopeo', 'copy', '-q', '--dest-tls-verify=false', f'oci:{layout.folder}:i{number}', f'docker://{name}/i{number}:1')
        own.ok('tag', IMAGE, f'{name}/busybox:1')
        own.ok('push', '-q', f'{name}/busybox:1')
        context = tmp_path / 'context'
        context.mkdir()
        (context / 'Dockerfile').write_text(f'FROM {name}/busybox:1\nRUN date >/when\nCOPY --from={name}/i0:1 /base /base\nRUN cat /when\n')
        workers = [('pull', 'pull', '-q', f'{name}/i{number}:1') for number in range(3)]
        workers += [('build', 'build', '--no-cache', '-q', context)]
        workers += [('prune', 'image', 'prune', '-af'), ('prune', 'system', 'prune', '-af'), ('prune', 'builder', 'prune', '-af'), ('prune', 'container', 'prune', '-f')]
        # As in docker two prunes at once are one too many.
        allowed = {'prune': ['a prune operation is already running'], 'build': ['No such image']}
        threads = [threading.Thread(target=repeat, args=words, kwargs={'allowed': allowed.get(words[0], ())}) for words in workers]
        for thread in threads:
            thread.start()
        with contextlib.suppress(TimeoutError):
            until(lambda: over.is_set() or (count['pull'] >= 3 * ROUNDS and count['build'] >= 3 and count['prune'] >= 3 * ROUNDS), 150)
        over.set()
        for thread in threads:
            thread.join()
        assert wrong == [] and count['pull'] >= 3 * ROUNDS and count['build'] >= 3 and count['prune'] >= 3 * ROUNDS, (wrong, count)
    own.ok('system', 'prune', '-af')
    assert images(own) == set() and settled_faults(own.engine, 180) == []
    until(lambda: own.engine.settled(removed_all=True, seconds=1) == [], 30)


def names(own):
    return {tag for line in json.loads(own.engine.api('GET', '/images/json')[1]) for tag in line['RepoTags']}


@pytest.mark.parametrize('damage', ['none', 'torn', 'other text', 'gone'])
def test_the_list_of_images_over_a_restart(own, damage):
    """It is kept as text over restarts, and is no older than the records: not when they were changed meanwhile, nor when its
    file is damaged."""
    own.ok('tag', IMAGE, 'gone/meanwhile:1')
    own.ok('tag', IMAGE, 'stays:1')
    assert names(own) == {IMAGE, 'gone/meanwhile:1', 'stays:1'}
    kept = Path(own.engine.names.root) / 'engine/image-list'
    until(kept.exists, 10)  # it is written after the answer
    before = own.engine.api('GET', '/images/json')[1]
    own.engine.kill('gantryd')
    if damage == 'torn':
        kept.write_bytes(kept.read_bytes()[:-200])
    elif damage == 'other text':
        kept.write_text('1.55 ' + 'a' * 64 + ' 3\n[]\n\n')
    elif damage == 'gone':
        kept.unlink()
    own.engine.start()
    assert own.engine.api('GET', '/images/json')[1] == before
    own.engine.kill('gantryd')
    ctr = subprocess.run(['ctr', '-a', own.engine.containerd_socket, '-n', 'gantry', 'images', 'rm', 'docker.io/gone/meanwhile:1'], capture_output=True, text=True)
    assert ctr.returncode == 0, ctr.stderr
    own.engine.start()
    assert names(own) == {IMAGE, 'stays:1'}
