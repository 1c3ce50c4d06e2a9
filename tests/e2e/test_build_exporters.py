# SPDX-License-Identifier: Apache-2.0
"""The exporters of BuildKit's API: files, archives and images of a build's result over the client's session. Debian's dockerd has
no BuildKit: what is expected is from the specification of image layouts, and from what skopeo and docker's own `load` read."""
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
import types
import uuid
from pathlib import Path

import grpc
import pytest

from harness.buildkit import FIN, REQ, STAT, Session, packet
from harness.client import Client
from harness.engine import until
from harness.places import IMAGE


@pytest.fixture(scope='module')
def client(stack, home):
    return Client('gantry', stack, home)


TEXT = f'''FROM {IMAGE} AS base
RUN mkdir -p /r/d/e && cd /r && echo one >f && ln f d/hard && ln -s ../f d/soft && mkfifo p && chown 5:6 f d/e && chmod 4750 f \\
 && touch -d '2001-02-03 04:05:06' f && seq 1 200000 >big && : >empty
FROM scratch
COPY --from=base /r /
ENV A=b
'''


@pytest.fixture
def export(stack, builder, tmp_path):
    """Builds with these exporters: the session, whose files and trees have come, and what Solve tells."""
    def run(*exporters, text=TEXT, trees=None, **options):
        (tmp_path / 'Dockerfile').write_text(text)
        session = Session(stack.socket, {'context': tmp_path, 'dockerfile': tmp_path}, trees=trees, **options)
        try:
            solve, updates = builder.build(session, exporters=[{'Type': kind, 'Attrs': attributes} for kind, attributes in exporters])
            told = dict(solve.result().ExporterResponse)
        finally:
            session.close()
        return types.SimpleNamespace(files=session.files, told=told, steps=[v.name for u in updates for v in u.vertexes])
    return run


def refused(run, *arguments, **options):
    with pytest.raises(grpc.RpcError) as caught:
        run(*arguments, **options)
    return caught.value.details()


def test_tar(export):
    made = export(('tar', {}))
    assert 'exporting to client tarball' in made.steps and made.told == {}
    with tarfile.open(fileobj=io.BytesIO(made.files[0][0])) as tar:
        found = {m.name: m for m in tar}
        assert sorted(found) == ['big', 'd', 'd/e', 'd/hard', 'd/soft', 'empty', 'f', 'p']
        file = found['f'] if found['f'].isfile() else found['d/hard']
        assert (file.mode, file.uid, file.gid, file.mtime) == (0o4750, 5, 6, 981173106)
        assert tar.extractfile(file).read() == b'one\n' and tar.extractfile(found['big']).read().count(b'\n') == 200000
        assert found['d/soft'].linkname == '../f' and found['p'].isfifo() and {found['f'].type, found['d/hard'].type} == {tarfile.LNKTYPE, tarfile.REGTYPE}


def test_a_client_that_tells_its_methods_in_small_letters(export):
    made = export(('tar', {}), spell=str.lower)
    assert tarfile.open(fileobj=io.BytesIO(made.files[0][0])).getnames()


def test_local(export, tmp_path):
    folder = tmp_path / 'out'
    folder.mkdir()
    made = export(('local', {}), trees={0: folder})
    assert 'exporting to client directory' in made.steps
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob('*')) == ['big', 'd', 'd/e', 'd/hard', 'd/soft', 'empty', 'f', 'p']
    status = os.stat(folder / 'f')
    assert (status.st_mode & 0o777, status.st_uid, status.st_gid, status.st_mtime, status.st_nlink) == (0o750, 5, 6, 981173106, 2)
    assert (folder / 'd/soft').readlink() == Path('../f') and stat.S_ISFIFO(os.lstat(folder / 'p').st_mode)
    assert (folder / 'big').read_text() == ''.join(f'{i}\n' for i in range(1, 200001)) and (folder / 'empty').read_bytes() == b''


def test_many_files(export, tmp_path):
    """More entries than a stream's window holds while nobody reads."""
    folder = tmp_path / 'out'
    folder.mkdir()
    (tmp_path / 'many').mkdir()
    for number in range(1500):
        (tmp_path / f'many/a-name-that-is-rather-long-{number}').write_text(f'{number}\n')
    export(('local', {}), trees={0: folder}, text='FROM scratch\nCOPY many /\n')
    assert len(list(folder.iterdir())) == 1500 and (folder / 'a-name-that-is-rather-long-1499').read_text() == '1499\n'


def blobs(archive):
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}


@pytest.mark.parametrize('kind', ['oci', 'docker'])
def test_archives(client, export, tmp_path, kind):
    name = f'own/{uuid.uuid4().hex[:8]}'
    made = export((kind, {'name': f'{name}:1,{name}:2'}))
    assert client.ok('images', '-q', name) == '', 'the store has nothing of it'
    data, told = made.files[0]
    assert told == made.told and told['image.name'] == f'docker.io/{name}:1,docker.io/{name}:2'
    files = blobs(data)
    for path, content in files.items():
        if path.startswith('blobs/'):
            assert path == f'blobs/sha256/{hashlib.sha256(content).hexdigest()}'
    assert json.loads(files['oci-layout']) == {'imageLayoutVersion': '1.0.0'}
    index = json.loads(files['index.json'])
    assert [m['annotations']['org.opencontainers.image.ref.name'] for m in index['manifests']] == ['1', '2']
    assert {m['digest'] for m in index['manifests']} == {told['containerimage.digest']}
    manifest = json.loads(files['blobs/' + told['containerimage.digest'].replace(':', '/')])
    assert manifest['config']['digest'] == told['containerimage.config.digest']
    config = json.loads(files['blobs/' + manifest['config']['digest'].replace(':', '/')])
    assert 'A=b' in config['config']['Env'] and len(config['rootfs']['diff_ids']) == 1
    assert ('manifest.json' in files) == (kind == 'docker')
    (tmp_path / 'image.tar').write_bytes(data)
    client.ok('load', '-i', tmp_path / 'image.tar')
    assert json.loads(client.ok('image', 'inspect', f'{name}:2'))[0]['Id'] == told['containerimage.config.digest']
    client.ok('rmi', f'{name}:1', f'{name}:2')
    if shutil.which('skopeo'):
        source = f'oci-archive:{tmp_path}/image.tar:1' if kind == 'oci' else f'docker-archive:{tmp_path}/image.tar'
        said = subprocess.run(['skopeo', 'inspect', '--config', source], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert said.returncode == 0, said.stdout
        assert 'A=b' in json.loads(said.stdout)['config']['Env']


def test_the_base_itself(client, export):
    """A build that changes nothing is its base's own manifest."""
    made = export(('oci', {}), text=f'FROM {IMAGE}\n')
    assert made.told['containerimage.config.digest'] == json.loads(client.ok('image', 'inspect', IMAGE))[0]['Id']
    assert json.loads(blobs(made.files[0][0])['index.json'])['manifests'][0]['digest'] == made.told['containerimage.digest']


def test_several(client, export, tmp_path):
    folder = tmp_path / 'out'
    folder.mkdir()
    made = export(('tar', {}), ('local', {}), ('image', {'name': 'own/several'}), ('oci', {}), trees={1: folder})
    assert sorted(made.files) == [0, 3] and (folder / 'f').exists()
    assert json.loads(client.ok('image', 'inspect', 'own/several'))[0]['Id'] == made.told['containerimage.config.digest']
    client.ok('rmi', 'own/several')


def test_refused(builder, export):
    for kind, attributes, said in (('odd', {}, 'exporter "odd" is not supported'), ('oci', {'tar': 'false'}, '(tar=false) is not supported'),
                                   ('oci', {'compression': 'zstd'}, 'layers are compressed with gzip, not zstd')):
        call = builder.control('Solve', Ref=uuid.uuid4().hex, Exporters=[{'Type': kind, 'Attrs': attributes}])
        assert said in refused(call.result)
    assert 'the client takes no files' in refused(export, ('tar', {}), takes_files=False)


@pytest.mark.parametrize('answers, said', [
    ([packet(REQ, ID=99)], 'the client asked for a file that there is not: 99'),
    ([packet(REQ, ID=1)], 'the client asked for a file that there is not: 1'),  # a directory
    ([packet(STAT)], 'the client sent a packet of an unknown type'),
    ([packet(4, data=b'no space')], 'the client could not take a directory: no space'),
    ([], 'session broke'),
    ([packet(FIN)], None),
], ids=lambda value: str(value)[:40] if isinstance(value, str) else '')
def test_hostile_receivers(stack, export, answers, said):
    def receive(requests):
        for request in requests:
            if request.type == STAT and not request.HasField('stat'):
                break
        yield from answers
    if said is None:
        export(('local', {}), trees={0: receive})
    else:
        assert said in refused(export, ('local', {}), trees={0: receive})
    until(lambda: list(Path(stack.names.root, 'engine/builds').glob('*')) == [])


@pytest.mark.parametrize('base', [f'FROM {IMAGE}\n', f'FROM scratch\nCOPY --from={IMAGE} /bin/busybox /busybox\n'])
def test_commands_leave_nothing_of_the_engine(export, base):
    """Files that the engine mounts over those of a container (hosts, hostname, resolv.conf) are no part of a step's layer, nor is the time
    of their directory."""
    def files(text):
        with tarfile.open(fileobj=io.BytesIO(export(('tar', {}), text=text).files[0][0])) as tar:
            return {m.name: (m.mtime, m.mode, m.size) for m in tar if m.name not in ('dev', 'proc', 'sys', 'busybox') and not m.name.startswith('dev/')}
    before = files(base)
    program = '"/busybox", ' if 'scratch' in base else ''
    assert files(f'{base}RUN [{program}"true"]\n') == before
    with_etc = files(f'{base}RUN [{program}"mkdir", "-p", "/etc/new"]\n')
    assert set(with_etc) - set(before) == ({'etc', 'etc/new'} if program else {'etc/new'})
