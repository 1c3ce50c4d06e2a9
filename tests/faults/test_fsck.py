# SPDX-License-Identifier: Apache-2.0
"""gantry-containerd fsck on a real store: whole after work and kill -9, refused beside a daemon, and
each kind of damage is named, repaired, and after the repair an import brings back what was given up.
Exit codes are fsck(8)'s, but 2 for bad words."""
import subprocess
from pathlib import Path

import pytest

from harness import places
from harness.client import Client
from harness.engine import Stack, until
from harness.places import IMAGE, IMAGE_TAR

WHOLE, REPAIRED, LEFT, TROUBLE = 0, 1, 4, 8
DAEMONS = ('gantryd', 'gantry-containerd')


@pytest.fixture
def own(home):
    engine = Stack(number=12)
    try:
        engine.start()
        client = Client('gantry', engine, home)
        client.ok('load', '-i', IMAGE_TAR)
        yield client
    finally:
        engine.destroy()


def fsck(engine, *flags):
    done = subprocess.run([places.BIN / 'gantry-containerd', 'fsck', '--root', f'{engine.names.root}/containerd', *flags],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_whole_while_containers_run(own):
    own.ok('run', '-d', '--name', 'box', IMAGE, 'sh', '-c', 'echo mine >/file; exec sleep 1000')
    until(lambda: own('exec', 'box', 'cat', '/file').text == 'mine')
    code, text = fsck(own.engine)
    assert code == TROUBLE and 'checking' in text, text  # the daemon has it
    own.engine.kill(*DAEMONS)
    code, text = fsck(own.engine)
    assert code == WHOLE, text
    assert 'blobs' in text and 'snapshots' in text
    assert fsck(own.engine, '--repair')[0] == WHOLE
    own.engine.start()
    assert own.ok('exec', 'box', 'cat', '/file') == 'mine'


def test_damage_is_named_and_repaired(own):
    own.engine.kill(*DAEMONS)
    root = Path(own.engine.names.root, 'containerd')
    blob = max(root.glob('content/blobs/sha256/*'), key=lambda p: p.stat().st_size)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(data)
    layer = next(root.glob('snapshots/overlayfs/*'))
    subprocess.run(['rm', '-rf', layer], check=True)
    (root / 'content/blobs/sha256/stranger').write_text('x')
    code, text = fsck(own.engine)
    assert code == LEFT and f'blob sha256:{blob.name}: its digest is sha256:' in text, text
    assert 'its directory is missing' in text and 'stranger' in text
    code, text = fsck(own.engine, '--repair')
    assert code in (REPAIRED, LEFT), text
    assert fsck(own.engine)[0] == WHOLE, fsck(own.engine)
    own.engine.start()
    own.ok('load', '-i', IMAGE_TAR)
    assert own.ok('run', '--rm', IMAGE, 'echo', 'again') == 'again'


@pytest.mark.parametrize('flags, code, word', [(['--rot'], 2, '--rot'), (['--root'], 2, '--root'), (['--root', '/nonexistent'], TROUBLE, 'no store')])
def test_bad_words(flags, code, word):
    done = subprocess.run([places.BIN / 'gantry-containerd', 'fsck', *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == code and word in done.stderr, done
