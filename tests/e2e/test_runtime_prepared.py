# SPDX-License-Identifier: Apache-2.0
"""ROOT/ID/prepared, the compiled filter that `exec` loads (src/runtime/prepared.h): the same as `create`'s, whatever has become of
the file."""
import json
import os
import stat

import pytest

from harness.bundle import PEER, Bundle

pytestmark = pytest.mark.skipif(bool(PEER), reason='a file of ours')


@pytest.fixture
def bundle():
    made = Bundle()
    made.linux['seccomp'] = {'defaultAction': 'SCMP_ACT_ALLOW',
                             'syscalls': [{'names': ['mkdir', 'mkdirat'], 'action': 'SCMP_ACT_ERRNO', 'errnoRet': 122}]}
    yield made
    made.destroy()


def place(bundle, name):
    return bundle.folder / 'state' / name


def exec_is_filtered(bundle, name):
    """Through the words of the command line and through a process's document."""
    document = dict(bundle.config['process'], args=['mkdir', '/tmp/x'])
    (bundle.folder / 'process.json').write_text(json.dumps(document))
    for words in ([name, 'mkdir', '/tmp/x'], ['--process', str(bundle.folder / 'process.json'), name]):
        done = bundle.call('exec', *words)
        assert done.returncode == 1 and 'Disk quota exceeded' in done.stderr, done.stderr
    ours, first = (bundle.call('exec', name, 'grep', '^Seccomp', f'/proc/{pid}/status').stdout for pid in ('self', 1))
    assert 'Seccomp:\t2' in ours and ours == first, (ours, first)
    assert not (bundle.root / 'tmp/x').exists()


def test_exec_has_the_filter_of_create(bundle):
    assert 'Disk quota exceeded' in bundle.run('mkdir', '/tmp/x').stderr
    name = bundle.start()
    exec_is_filtered(bundle, name)
    info = os.stat(place(bundle, name) / 'prepared')
    assert stat.S_IMODE(info.st_mode) == 0o600 and info.st_uid == 0
    assert stat.S_IMODE(os.stat(place(bundle, name)).st_mode) == 0o700
    bundle.call('delete', '--force', name)
    assert not place(bundle, name).exists()


def test_config_is_not_read_again(bundle):
    name = bundle.start()
    (place(bundle, name) / 'config.json').write_text('nonsense')
    exec_is_filtered(bundle, name)
    (place(bundle, name) / 'prepared').unlink()
    done = bundle.call('exec', name, 'true')
    assert done.returncode == 255 and 'parsing JSON' in done.stderr, done.stderr


def damages(other):
    yield 'missing', None
    for size in (0, 1, 15, 16, 31, 32, 100, -1):
        yield f'cut to {size}', lambda data, size=size: data[:size]
    for at in (0, 20, 24, 28, 40, -3):
        yield f'byte {at}', lambda data, at=at: bytes(b ^ (i == at % len(data)) for i, b in enumerate(data))
    yield 'zeros', lambda data: bytes(len(data))
    yield 'longer', lambda data: data + bytes(8)
    yield "another container's", lambda data: other


def test_damaged(bundle):
    filtered = bundle.linux.pop('seccomp')
    other = (place(bundle, bundle.start()) / 'prepared').read_bytes()
    bundle.linux['seccomp'] = filtered
    name = bundle.start()
    file = place(bundle, name) / 'prepared'
    data = file.read_bytes()
    assert b'gantry prepared' in data and len(data) > len(other)
    for label, damage in damages(other):
        if damage is None:
            file.unlink()
        else:
            assert damage(data) != data
            file.write_bytes(damage(data))
        try:
            exec_is_filtered(bundle, name)
        except AssertionError as error:
            raise AssertionError(label) from error
    bundle.call('delete', '--force', name)
    assert not place(bundle, name).exists()
