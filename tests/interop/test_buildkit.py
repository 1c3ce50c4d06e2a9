# SPDX-License-Identifier: Apache-2.0
"""BuildKit's API: the project's own client (harness/buildkit.py), and buildx where GANTRY_BUILDX names its folder."""
import base64
import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
import time
import uuid
from pathlib import Path

import grpc
import pytest

from harness.buildkit import DATA, FIN, GO_DIRECTORY, GO_SYMLINK, REQ, STAT, Session, entry, packet
from harness.client import Client
from harness.engine import until
from harness.grpc_api import message_class
from harness.places import IMAGE

BUILDX = os.environ.get('GANTRY_BUILDX')


@pytest.fixture(scope='module')
def client(stack, home):
    return Client('gantry', stack, home)


@pytest.fixture
def context(tmp_path):
    folder = tmp_path / 'context'
    (folder / 'sub/deep').mkdir(parents=True)
    (folder / 'a.txt').write_text('text\n')
    (folder / 'sub/program').write_text('#!/bin/sh\necho ran\n')
    (folder / 'sub/program').chmod(0o755)
    (folder / 'sub/big').write_bytes(bytes(range(256)) * 2000)
    (folder / 'sub/deep/empty').touch()
    (folder / 'sub/link').symlink_to('../a.txt')
    (folder / 'left-out').write_text('x')
    (folder / '.dockerignore').write_text('# comment\n/left-out\n')
    (folder / 'Dockerfile').write_text(f'FROM {IMAGE} AS first\nARG WHO=nobody\nRUN echo "$WHO" > /who; echo to-out; echo to-err >&2\n'
                                       'FROM first\nCOPY . /data/\nENV A=b\nWORKDIR /w\n')
    return folder


@pytest.fixture
def session(stack, context):
    made = Session(stack.socket, {'context': context, 'dockerfile': context})
    yield made
    made.close()


def image_of(client, name):
    return json.loads(client.ok('image', 'inspect', name))[0]


def vertices(updates):
    """By name, the last state of each."""
    return {v.digest: v for u in updates for v in u.vertexes}.values()


def ended_with(call):
    with pytest.raises(grpc.RpcError) as caught:
        call.result()
    return caught.value.details()


def places_of(call):
    """Where an error says that it comes from: (file, its text, lines)."""
    with pytest.raises(grpc.RpcError) as caught:
        call.result()
    details = dict(caught.value.trailing_metadata()).get('grpc-status-details-bin', b'')
    places = []
    for detail in message_class('google.rpc.Status').FromString(details).details:
        assert detail.type_url == 'github.com/moby/buildkit/errdefs.Source+json'
        place = json.loads(detail.value)
        assert place['info']['language'] == 'Dockerfile' and place['info']['definition']['def']
        places.append((place['info']['filename'], base64.b64decode(place['info']['data']).decode(), [r['start']['line'] for r in place['ranges']]))
    return places


def test_a_build(stack, client, builder, session):
    ref = f'own/{uuid.uuid4().hex[:8]}'
    solve, updates = builder.build(session, {'build-arg:WHO': 'me', 'label:l': 'v'}, [f'{ref}:1', ref])
    told = solve.result().ExporterResponse
    image = image_of(client, ref)
    assert told['containerimage.config.digest'] == image['Id'] == image_of(client, f'{ref}:1')['Id']
    assert told['image.name'] == f'docker.io/{ref}:1,docker.io/{ref}:latest'
    assert image['Config']['Labels'] == {'l': 'v'} and 'A=b' in image['Config']['Env'] and image['Config']['WorkingDir'] == '/w'
    names = [v.name for v in vertices(updates)]
    assert names == ['[internal] load build definition from Dockerfile', '[internal] load .dockerignore', '[internal] load build context',
                     f'[first 1/2] FROM {IMAGE} AS first', '[first 2/2] RUN echo "$WHO" > /who; echo to-out; echo to-err >&2',
                     '[stage-1 1/2] COPY . /data/', '[stage-1 2/2] WORKDIR /w', 'exporting to image']
    assert all(v.HasField('started') and v.HasField('completed') and v.error == '' and not v.cached for v in vertices(updates))
    logs = {(log.stream, log.msg) for u in updates for log in u.logs}
    assert logs == {(1, b'to-out\n'), (2, b'to-err\n')}
    assert session.asked[2]['exclude-patterns'] == ['left-out']
    show = 'cat /who; cd /data; find . | sort; stat -c "%a %u" sub/program a.txt; readlink sub/link; sha256sum < sub/big; sub/program'
    assert client.ok('run', '--rm', ref, 'sh', '-c', show).split('\n') == [
        'me', '.', './.dockerignore', './Dockerfile', './a.txt', './sub', './sub/big', './sub/deep', './sub/deep/empty', './sub/link', './sub/program',
        '755 0', '644 0', '../a.txt', subprocess.run(['sha256sum'], input=bytes(range(256)) * 2000, stdout=subprocess.PIPE).stdout.decode().strip(), 'ran']
    # Once more: nothing runs, the image is the same.
    again, updates = builder.build(session, {'build-arg:WHO': 'me', 'label:l': 'v'}, [ref])
    assert again.result().ExporterResponse['containerimage.config.digest'] == image['Id']
    assert {v.name for v in vertices(updates) if v.cached} == {names[4], names[5], names[6]}
    client.ok('rmi', ref, f'{ref}:1')


def test_without_a_gateway(stack, client, builder, session):
    """buildctl's way: the front end is named in Control.Solve."""
    ref = f'own/{uuid.uuid4().hex[:8]}'
    solve = builder.control('Solve', Ref=uuid.uuid4().hex, Session=session.id, Frontend='dockerfile.v0',
                            FrontendAttrs={'target': 'first'}, Exporters=[{'Type': 'image', 'Attrs': {'name': ref}}])
    assert solve.result().ExporterResponse['image.name'] == f'docker.io/{ref}:latest'
    assert client.ok('run', '--rm', ref, 'cat', '/who') == 'nobody'
    client.ok('rmi', ref)
    # No exporter: nothing is stored.
    before = client.ok('images', '-aq')
    assert dict(builder.control('Solve', Ref=uuid.uuid4().hex, Session=session.id, Frontend='dockerfile.v0').result().ExporterResponse) == {}
    assert client.ok('images', '-aq') == before


def test_a_command_that_fails(client, builder, session, context):
    (context / 'Dockerfile').write_text(f'FROM {IMAGE}\nRUN echo said; exit 3\n')
    solve, updates = builder.build(session)
    said = 'process "/bin/sh -c echo said; exit 3" did not complete successfully: exit code: 3'
    assert ended_with(solve) == said
    assert [v.error for v in vertices(updates) if v.error] == [said]
    assert client.ok('ps', '-aq') == ''


@pytest.mark.parametrize('text, lines', [
    ('FROM {IMAGE}\nENV A=b\nENV\n', [3]),
    ('FROM {IMAGE}\nRUN false\nRUN true\n', [2]),
    ('FROM {IMAGE}\nRUN fal\\\nse\n', [2, 3]),
    ('FROM {IMAGE}\nCOPY nothing /\n', [2]),
    ('FROM {IMAGE} AS a\nRUN false\nFROM {IMAGE}\nCOPY --from=a /x /\n', [2]),
    ('FROM {IMAGE}\nCOPY --bad x y\n', [2]),
    ('FROM {IMAGE}\nENV A=${{B\n', [2]),
])
def test_an_error_names_its_lines(builder, session, context, text, lines):
    text = text.format(IMAGE=IMAGE)
    (context / 'Dockerfile').write_text(text)
    assert places_of(builder.build(session)[0]) == [('Dockerfile', text, lines)]
    # A text that is too long for a header is left out; the error is not.
    (context / 'Dockerfile').write_text(text + '# ' + 60_000 * 'x' + '\n')
    assert places_of(builder.build(session)[0]) == []


@pytest.mark.parametrize('text, options, said', [
    ('FROM {IMAGE}\nBAD x\n', {}, 'dockerfile parse error on line 2: unknown instruction: BAD (did you mean ADD?)'),
    ('', {}, 'the Dockerfile cannot be empty'),
    ('FROM {IMAGE}\n', {'filename': 'other'}, 'failed to read dockerfile: open other: no such file or directory'),
    ('FROM {IMAGE}\nCOPY nothing /\n', {}, 'failed to calculate checksum of ref context: file not found in build context or excluded by .dockerignore: "/nothing": not found'),
    ('FROM {IMAGE}\n', {'target': 'nothing'}, 'target stage "nothing" could not be found'),
    ('FROM {IMAGE}\n', {'context:base': 'ftp://x'}, 'a build context of that kind is not supported: base=ftp://x'),
    ('FROM {IMAGE}\n', {'context': 'ftp://example.com/x'}, 'a context of that kind is not supported: ftp://example.com/x'),
    ('FROM {IMAGE}\n', {'attest:sbom': ''}, None),
    ('FROM {IMAGE}\n', {'attest:sbom': 'generator=x'}, 'attestations of kind sbom are not made'),
])
def test_refused(builder, session, context, text, options, said):
    (context / 'Dockerfile').write_text(text.format(IMAGE=IMAGE))
    solve, updates = builder.build(session, options, exporters=[])
    if said is None:
        solve.result()
    else:
        assert ended_with(solve) == said


def test_syntax_lines_and_other_front_ends(builder, session):
    solve, _ = builder.build(session, {'source': 'docker/dockerfile:1'}, frontend='gateway.v0', exporters=[])
    solve.result()
    solve, _ = builder.build(session, {'source': '127.0.0.1:9/someone/else:1'}, frontend='gateway.v0', exporters=[])
    assert 'failed to connect to 127.0.0.1' in ended_with(solve)
    call = builder.control('Solve', Ref=uuid.uuid4().hex, Session=session.id, Frontend='dockerfile.v0', Exporters=[{'Type': 'other'}])
    assert ended_with(call) == 'exporter "other" is not supported'
    call = builder.control('Solve', Ref='x', Session=session.id, Definition={'def': [b'x']})
    assert ended_with(call) == 'the definition\'s last operation can\'t be read'


def test_worker_and_cache(builder, session):
    worker, = builder.control('ListWorkers').result().record
    assert (worker.platforms[0].OS, worker.platforms[0].Architecture) == ('linux', {'x86_64': 'amd64', 'aarch64': 'arm64'}[os.uname().machine])
    assert builder.control('Info').result().buildkitVersion.version.startswith('v0.')
    list(builder.control('Prune', 'UsageRecord', streams=True))  # what other tests have left
    builder.build(session, exporters=[])[0].result()
    records = {r.ID: r for r in builder.control('DiskUsage').result().record}
    assert any(r.Description.endswith('COPY') or 'COPY' in r.Description for r in records.values()) and all(r.RecordType == 'regular' for r in records.values())
    def listed(*filters):
        return {r.ID for r in builder.control('DiskUsage', filter=list(filters)).result().record}
    copied = {r.ID for r in records.values() if 'COPY' in r.Description}
    assert listed('type==regular') == listed('') == set(records) and listed('inuse') == set() and listed('mutable!=true,immutable') == set(records)
    one, = [i for i in copied if i in listed(f'id=={i}')][:1]
    assert listed(f'id=={one}') == {one} and listed(f'id=={one}', 'type==other') == {one} and listed(f'id=={one},type==other') == set()
    for bad, said in (('size==1', "the cache has no field 'size' to filter by"), ('id~=x', 'a filter by a regular expression is not supported'),
                      ('id=x', "invalid filter 'id=x'")):
        assert ended_with(builder.control('DiskUsage', filter=[bad])) == said
    # Limits of space: all fits, then one alone goes by its filter.
    assert list(builder.control('Prune', 'UsageRecord', streams=True, maxUsedSpace=1 << 40)) == []
    assert [r.ID for r in builder.control('Prune', 'UsageRecord', streams=True, filter=[f'id=={one}'])] == [one]
    records.pop(one)
    pruned = list(builder.control('Prune', 'UsageRecord', streams=True))
    assert {r.ID for r in pruned} == set(records)
    assert list(builder.control('DiskUsage').result().record) == []


def sends(*packets, then=None):
    """A client that sends these, whatever it is asked for, and reads to the end."""
    def directory(requests):
        yield from packets
        yield packet(STAT)
        for request in requests:
            if request.type == REQ:
                yield packet(DATA, ID=request.ID)
            elif then is not None:
                yield from then
            elif request.type == FIN:
                yield packet(FIN)
                return
    return directory


@pytest.mark.parametrize('packets, said', [
    ([entry('../out')], 'the client sent a bad path'),
    ([entry('/etc/out')], 'the client sent a bad path'),
    ([entry('a//b')], 'the client sent a bad path'),
    ([entry('')], 'the client sent a bad path'),
    ([entry('up', GO_SYMLINK | 0o777, linkname='/tmp'), entry('up/out')], 'up/out'),
    ([entry('up', GO_SYMLINK | 0o777, linkname='/tmp'), entry('up/out', GO_DIRECTORY | 0o755)], 'up/out'),
    ([entry('up', GO_SYMLINK | 0o777, linkname='/etc/passwd'), entry('up')], 'up'),
    ([entry('hard', linkname='../../../etc/passwd')], 'the client sent a bad path'),
    ([entry('hard', linkname='missing')], "linking it to 'missing'"),
    ([entry('twice', GO_DIRECTORY | 0o755), entry('twice', GO_DIRECTORY | 0o755)], 'twice'),
    ([entry('node', 1 << 26 | 0o644, devmajor=1, devminor=3)], 'it is a device or a socket'),
    ([packet(DATA, ID=0, data=b'x')], 'bytes that nobody asked for'),
    ([entry('a'), packet(DATA, ID=7, data=b'x')], 'bytes that nobody asked for'),
    ([packet(FIN)], 'ended before it had sent all'),
    ([packet(4, data=b'disk on fire')], 'the client could not send a directory: disk on fire'),
    ([packet(STAT), entry('late')], 'more entries than there may be'),
], ids=lambda value: value if isinstance(value, str) else '')
def test_hostile_senders(stack, builder, context, packets, said):
    session = Session(stack.socket, {'context': sends(*packets), 'dockerfile': context})
    (context / 'Dockerfile.dockerignore').write_text('')
    try:
        solve, _ = builder.build(session, exporters=[])
        assert said in ended_with(solve)
    finally:
        session.close()
    assert not os.path.lexists('/tmp/out')
    until(lambda: list(Path(stack.names.root, 'engine/builds').glob('*')) == [])


def test_a_client_that_goes(stack, client, builder, context):
    """Its session breaks in the middle of a file; its build is cancelled while a command runs."""
    def endless(requests):
        yield entry('big', size=1 << 40)
        yield packet(STAT)
        while True:
            yield packet(DATA, ID=0, data=bytes(1 << 16))
            if time.monotonic() > end:
                session.outer.shutdown(socket.SHUT_RDWR)
                return
    end = time.monotonic() + 0.3
    (context / 'Dockerfile.dockerignore').write_text('')
    session = Session(stack.socket, {'context': endless, 'dockerfile': context})
    solve, _ = builder.build(session, exporters=[])
    assert ended_with(solve)
    session.close()
    (context / 'Dockerfile').write_text(f'FROM {IMAGE}\nRUN echo begun; sleep 1000\n')
    session = Session(stack.socket, {'context': context, 'dockerfile': context})
    ref = uuid.uuid4().hex
    solve = builder.control('Solve', Ref=ref, Session=session.id, Frontend='dockerfile.v0')
    for update in builder.control('Status', streams=True, Ref=ref):
        if any(log.msg == b'begun\n' for log in update.logs):
            solve.cancel()
            break
    until(lambda: client.ok('ps', '-aq') == '' and list(Path(stack.names.root, 'engine/builds').glob('*')) == [])
    session.close()


def test_bad_upgrades(stack):
    for path in ('/grpc', '/session'):
        assert stack.api('POST', path)[0] == 400
        status, text, _ = stack.api('POST', path, headers={'Connection': 'Upgrade', 'Upgrade': 'websocket'})
        assert status == 400 and b'protocol websocket not supported' in text
    status, text, _ = stack.api('POST', '/session', headers={'Connection': 'Upgrade', 'Upgrade': 'h2c'})
    assert status == 400 and b'a session needs an id' in text


@pytest.mark.skipif(not BUILDX, reason='GANTRY_BUILDX names no folder with buildx')
def test_buildx(stack, client, context, tmp_path):
    plugins = tmp_path / '.docker/cli-plugins'
    plugins.mkdir(parents=True)
    (plugins / 'docker-buildx').symlink_to(next(p for p in (Path(BUILDX) / 'buildx', Path(BUILDX) / 'docker-buildx') if p.exists()))
    environment = dict(os.environ, HOME=str(tmp_path), DOCKER_HOST=f'unix://{stack.socket}')

    def docker(*words):
        return subprocess.run([shutil.which('docker'), *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    built = docker('buildx', 'build', '--progress=plain', '--iidfile', tmp_path / 'id', '-t', 'bx:1', context)
    assert built.returncode == 0, built.stdout
    assert '[first 2/2] RUN' in built.stdout and 'to-err' in built.stdout and 'naming to docker.io/library/bx:1' in built.stdout
    assert (tmp_path / 'id').read_text() == image_of(client, 'bx:1')['Id']
    assert 'CACHED' in docker('buildx', 'build', '--progress=plain', '-t', 'bx:1', context).stdout
    (context / 'Dockerfile').write_text(f'FROM {IMAGE}\nRUN exit 3\n')
    failed = docker('buildx', 'build', '--progress=plain', context)
    assert failed.returncode == 1 and 'process "/bin/sh -c exit 3" did not complete successfully: exit code: 3' in failed.stdout
    # What is not there is said in one line.
    (context / 'Dockerfile').write_text(f'FROM {IMAGE} AS first\nRUN echo one > /one\nFROM first\nCOPY a.txt /\nRUN echo two > /two\n')
    for words, said in ((['--sbom=true'], 'attestations of kind sbom are not made'), (['--annotation', 'index:a=b', '--output', 'type=image,name=bx:i'], 'an image for one platform has no index to annotate')):
        failed = docker('buildx', 'build', '--progress=plain', *words, context)
        assert failed.returncode == 1 and said in failed.stdout, failed.stdout
    # What the front end says of the file, as buildx shows it.
    told = docker('buildx', 'build', '--progress=quiet', '--check', context)
    assert told.returncode == 0 and told.stdout.endswith('Check complete, no warnings found.\n'), told.stdout
    (context / 'questionable').write_text(f'FROM {IMAGE} AS first\n# A what it is\nARG A=1\nMAINTAINER me\nFROM first\nRUN --mount=type=ssh true\nCMD x\n')
    told = docker('buildx', 'build', '--progress=quiet', '--check', '-f', context / 'questionable', context)
    assert told.returncode == 1 and 'Check complete, 2 warnings have been found!' in told.stdout, told.stdout
    assert 'WARNING: MaintainerDeprecated - https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/' in told.stdout
    assert '   4 | >>> MAINTAINER me' in told.stdout and '   7 | >>> CMD x' in told.stdout
    told = docker('buildx', 'build', '--progress=plain', '-f', context / 'questionable', context)
    assert told.returncode == 0 and '2 warnings found' in told.stdout and ' - JSONArgsRecommended: ' in told.stdout and '(line 7)' in told.stdout, told.stdout
    told = docker('buildx', 'build', '--progress=quiet', '--call=outline', '-f', context / 'questionable', context)
    assert told.returncode == 0 and re.search(r'^A +1 +what it is *$', told.stdout, re.M) and re.search(r'^default *$', told.stdout, re.M), told.stdout
    told = docker('buildx', 'build', '--progress=quiet', '--call=targets', '-f', context / 'questionable', context)
    assert told.returncode == 0 and told.stdout.split('\n')[:3] == ['TARGET    DESCRIPTION', 'first     ', '(default) '], told.stdout
    made = docker('buildx', 'build', '-q', '--annotation', 'a=b', '--annotation', 'manifest-descriptor:c=d', '--output', f'type=oci,dest={tmp_path / "annotated"}', context)
    assert made.returncode == 0, made.stdout
    with tarfile.open(tmp_path / 'annotated') as tar:
        descriptor = json.load(tar.extractfile('index.json'))['manifests'][0]
        manifest = json.load(tar.extractfile('blobs/' + descriptor['digest'].replace(':', '/')))
    assert manifest['annotations'] == {'a': 'b'} and descriptor['annotations']['c'] == 'd'
    # No front end is pulled for a syntax line, and a wish for provenance that buildx has by itself does no harm.
    (context / 'syntax').write_text(f'# syntax=docker/dockerfile:1\nFROM {IMAGE}\nRUN echo by-the-line\n')
    told = docker('buildx', 'build', '--progress=plain', '--no-cache', '--provenance=false', '-f', context / 'syntax', context)
    assert told.returncode == 0 and 'by-the-line' in told.stdout and 'resolve image config' not in told.stdout, told.stdout
    # Every kind of output.
    for kind, name in (('local', 'tree'), ('tar', 'x.tar'), ('oci', 'x.oci'), ('docker', 'x.docker')):
        made = docker('buildx', 'build', '-q', '--output', f'type={kind},dest={tmp_path / name}', context)
        assert made.returncode == 0 and (tmp_path / name).exists(), made.stdout
    assert (tmp_path / 'tree/two').read_text() == 'two\n'
    assert client.ok('load', '-i', tmp_path / 'x.docker').startswith('Loaded image')
    made = docker('buildx', 'build', '--load', '--metadata-file', tmp_path / 'metadata', '-t', 'bx:2', context)
    assert made.returncode == 0 and json.loads((tmp_path / 'metadata').read_text())['image.name'].endswith('bx:2')
    # A cache in a folder, which a build of an engine that has forgotten all finds.
    caches = ['--cache-to', f'type=local,dest={tmp_path / "cache"},mode=max'], ['--cache-from', f'type=local,src={tmp_path / "cache"}']
    for words, cached in zip(caches, (False, True)):
        assert docker('buildx', 'prune', '-af').returncode == 0
        made = docker('buildx', 'build', '--progress=plain', '-t', 'bx:2', *words, context)
        assert made.returncode == 0 and (made.stdout.count('CACHED') == 3) == cached, made.stdout
    # The same folder is one for `gantry build`, and what that writes is one for buildx.
    client.ok('builder', 'prune', '-af')
    made = client('build', '--cache-from', f'type=local,src={tmp_path / "cache"}', '--cache-to', f'type=local,dest={tmp_path / "own"},mode=max', context,
                  environment={'BUILDKIT_PROGRESS': 'plain'})
    assert made.code == 0 and made.err.count('CACHED') == 3, made.err
    client.ok('builder', 'prune', '-af')
    made = docker('buildx', 'build', '--progress=plain', '-t', 'bx:2', '--cache-from', f'type=local,src={tmp_path / "own"}', context)
    assert made.returncode == 0 and made.stdout.count('CACHED') == 3, made.stdout
    # One target of bake on top of another.
    (tmp_path / 'bake.json').write_text(json.dumps({'target': {
        'below': {'context': str(context)},
        'above': {'context': str(context), 'contexts': {'base': 'target:below'}, 'dockerfile-inline': 'FROM base\nRUN cat /two /one > /both\n', 'tags': ['bx:3']}}}))
    made = docker('buildx', 'bake', f'--allow=fs.read={context}', '--progress=plain', '-f', tmp_path / 'bake.json', 'above')
    assert made.returncode == 0 and client.ok('run', '--rm', 'bx:3', 'cat', '/both') == 'two\none', made.stdout
    assert 'regular' in docker('buildx', 'du', '--verbose', '--filter', 'type=regular').stdout
    assert docker('buildx', 'prune', '-f', '--max-used-space', '100gb').stdout.strip().endswith('0B')
    # The history, what the builder is, and images.
    listed = docker('buildx', 'history', 'ls').stdout.splitlines()
    assert len(listed) > 5 and listed[0].split()[:2] == ['BUILD', 'ID'] and any('Error' in line for line in listed) and any('Completed' in line for line in listed)
    ref = listed[1].split()[0]
    told = docker('buildx', 'history', 'inspect', ref)
    assert told.returncode == 0 and 'Build Steps:' in told.stdout, told.stdout
    told = docker('buildx', 'history', 'logs', '--progress=plain', ref)
    assert told.returncode == 0 and '#1 ' in told.stdout, told.stdout
    assert docker('buildx', 'history', 'rm', ref).returncode == 0 and ref not in docker('buildx', 'history', 'ls').stdout
    told = docker('buildx', 'inspect')
    assert told.returncode == 0 and re.search(r'^Driver: +docker$', told.stdout, re.M) and re.search(r'^Status: +running$', told.stdout, re.M), told.stdout
    assert docker('buildx', 'ls').returncode == 0
    assert docker('buildx', 'du').returncode == 0 and docker('buildx', 'prune', '-af').returncode == 0
    client.ok('rmi', 'bx:1', 'bx:2', 'bx:3')


def test_policies_of_sources(builder, session):
    """None is passed over."""
    for more in ({'SourcePolicy': b'\x08\x01'}, {'SourcePolicySession': 'policy'}):
        with pytest.raises(grpc.RpcError) as caught:
            builder.control('Solve', Ref=uuid.uuid4().hex, Session=session.id, Frontend='dockerfile.v0', **more).result()
        assert caught.value.details() == 'policies of sources are not supported'
