# SPDX-License-Identifier: Apache-2.0
"""Results that are more than one image: several platforms in one build, and what is attested of an image. Debian's dockerd has neither: the
forms are from the image specification ("Image Index"), BuildKit's storage of attestations, SLSA's provenance (1 and 0.2) and purl."""
import base64
import functools
import hashlib
import http.server
import io
import json
import subprocess
import tarfile
import threading
import types
import uuid

import grpc
import pytest

from harness.buildkit import Session
from harness.client import Client
from harness.places import IMAGE
from harness.registry import Registry

INDEX = 'application/vnd.oci.image.index.v1+json'
TWO = 'linux/amd64,linux/arm64'
TEXT = 'FROM scratch\nARG TARGETARCH\nARG SECRET\nLABEL arch=$TARGETARCH\nCOPY $TARGETARCH /file\n'


@pytest.fixture(scope='module')
def client(stack, home):
    return Client('gantry', stack, home)


@pytest.fixture
def build(stack, builder, tmp_path):
    """What came of it, what Solve tells, and the blobs of an archive."""
    def run(*exporters, text=TEXT, options=None, attributes=None, trees=None, logins=None):
        for name in ('amd64', 'arm64'):
            (tmp_path / name).write_text(name)
        (tmp_path / 'Dockerfile').write_text(text)
        session = Session(stack.socket, {'context': tmp_path, 'dockerfile': tmp_path}, trees=trees, logins=logins)
        try:
            solve, _ = builder.build(session, options, exporters=[{'Type': kind, 'Attrs': more} for kind, more in exporters], attributes=attributes)
            told = dict(solve.result().ExporterResponse)
        finally:
            session.close()
        blobs = {}
        if session.files:
            with tarfile.open(fileobj=io.BytesIO(session.files[0][0])) as tar:
                blobs = {m.name.replace('blobs/sha256/', 'sha256:'): tar.extractfile(m).read() for m in tar if m.isfile()}
        return types.SimpleNamespace(told=told, blobs=blobs, read=lambda digest: json.loads(blobs[digest]))
    return run


def files_of(made, manifest):
    out = {}
    for layer in manifest['layers']:
        with tarfile.open(fileobj=io.BytesIO(made.blobs[layer['digest']])) as tar:
            out |= {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}
    return out


def test_an_archive_of_two_platforms(build):
    made = build(('oci', {'name': 'own/two:1', 'annotation-index.who': 'me', 'annotation[linux/arm64].what': 'arm'}), options={'platform': TWO})
    top = json.loads(made.blobs['index.json'])['manifests']
    assert [(m['mediaType'], m['digest']) for m in top] == [(INDEX, made.told['containerimage.digest'])]
    assert json.loads(base64.b64decode(made.told['containerimage.descriptor']))['mediaType'] == INDEX
    index = made.read(top[0]['digest'])
    assert index['annotations'] == {'who': 'me'}
    assert [m['platform'] for m in index['manifests']] == [{'architecture': 'amd64', 'os': 'linux'}, {'architecture': 'arm64', 'os': 'linux'}]
    for entry in index['manifests']:
        manifest, arch = made.read(entry['digest']), entry['platform']['architecture']
        config = made.read(manifest['config']['digest'])
        assert (config['architecture'], config['config']['Labels']) == (arch, {'arch': arch})
        assert files_of(made, manifest) == {'file': arch.encode()}
        assert manifest.get('annotations', {}) == ({'what': 'arm'} if arch == 'arm64' else {})


def test_files_of_two_platforms(build, tmp_path):
    folder = tmp_path / 'out'
    folder.mkdir()
    build(('local', {}), options={'platform': TWO}, trees={0: folder})
    assert {str(p.relative_to(folder)): p.read_text() for p in folder.rglob('file')} == {'linux_amd64/file': 'amd64', 'linux_arm64/file': 'arm64'}
    for exporter, said in ((('tar', {}), 'files of several platforms need directories of their own'),
                           (('docker', {}), "docker's archives hold no image for several platforms")):
        with pytest.raises(grpc.RpcError) as caught:
            build(exporter, options={'platform': TWO})
        assert said in caught.value.details()


def test_two_platforms_in_the_store(stack, client, build):
    registry = stack.within(Registry)
    try:
        name = f'{registry.name}/own/two:1'
        made = build(('image', {'name': name, 'push': 'true'}), options={'platform': TWO})
        here = json.loads(client.ok('image', 'inspect', name))[0]
        assert (here['Architecture'], here['Config']['Labels']) == ('amd64', {'arch': 'amd64'})
        there = stack.within(lambda: registry.skopeo('inspect', '--raw', '--tls-verify=false', f'docker://{name}'))
        assert [m['platform']['architecture'] for m in json.loads(there)['manifests']] == ['amd64', 'arm64']
        assert stack.within(lambda: registry.digest('own/two:1')) == made.told['containerimage.digest']
        client.ok('rmi', name)
    finally:
        registry.destroy()


def test_a_push_by_digest(stack, client, builder, build):
    """No tag is touched: whoever merges the digests of several builds gives it."""
    registry = stack.within(Registry)
    try:
        name = f'{registry.name}/own/apart'
        for text, wish in ((TEXT, None), (TEXT, 'mode=max'), (f'FROM {IMAGE}\n', None)):
            made = build(('image', {'name': name, 'push': 'true', 'push-by-digest': 'true', 'name-canonical': 'true'}), text=text,
                         attributes={'attest:provenance': wish} if wish else None)
            digest = made.told['containerimage.digest']
            there = stack.within(lambda: registry.skopeo('inspect', '--raw', '--tls-verify=false', f'docker://{name}@{digest}'))
            assert 'sha256:' + hashlib.sha256(there.encode()).hexdigest() == digest
            assert ('manifests' in json.loads(there)) == bool(wish)
            client.ok('rmi', f'{name}@{digest}')
        assert 'latest' not in stack.within(lambda: registry.skopeo('list-tags', '--tls-verify=false', f'docker://{name}', check=False))
    finally:
        registry.destroy()
    exporter = {'Type': 'image', 'Attrs': {'name': 'own/apart:1', 'push': 'true', 'push-by-digest': 'true'}}
    with pytest.raises(grpc.RpcError) as caught:
        builder.control('Solve', Ref=uuid.uuid4().hex, Exporters=[exporter]).result()
    assert "can't push tagged ref docker.io/own/apart:1 by digest" in caught.value.details()


def test_canonical_names(client, build):
    made = build(('image', {'name': 'own/canon:1', 'name-canonical': 'true'}))
    digest = made.told['containerimage.digest']
    assert [json.loads(client.ok('image', 'inspect', name))[0]['Id'] for name in ('own/canon:1', f'own/canon@{digest}')] == 2 * [made.told['containerimage.config.digest']]
    client.ok('rmi', 'own/canon:1', f'own/canon@{digest}')


def test_one_platform_as_several(build):
    made = build(('oci', {}), options={'multi-platform': 'true', 'platform': 'linux/amd64'})
    index = made.read(made.told['containerimage.digest'])
    assert [m['platform']['architecture'] for m in index['manifests']] == ['amd64']
    with pytest.raises(grpc.RpcError) as caught:
        build(('oci', {'annotation-index.a': 'b'}))
    assert 'has no index to annotate' in caught.value.details()


def provenance_of(made):
    """Its statement, and the platform's manifest."""
    index = made.read(made.told['containerimage.digest'])
    image, attested = index['manifests']
    assert attested['platform'] == {'architecture': 'unknown', 'os': 'unknown'}
    assert attested['annotations'] == {'vnd.docker.reference.type': 'attestation-manifest', 'vnd.docker.reference.digest': image['digest']}
    layer, = made.read(attested['digest'])['layers']
    statement = made.read(layer['digest'])
    assert layer['mediaType'] == 'application/vnd.in-toto+json'
    assert layer['annotations'] == {'in-toto.io/predicate-type': statement['predicateType']}
    assert [s['digest'] for s in statement['subject']] == [{'sha256': image['digest'][7:]}]
    assert statement['_type'] == 'https://in-toto.io/Statement/v1'
    return statement, image


def test_provenance_of_all(client, build):
    text = TEXT + f'COPY --from={IMAGE} /etc/passwd /\nRUN --mount=type=secret,id=key ["/none"]\nFROM {IMAGE}\nARG SECRET\nRUN --mount=type=secret,id=key,required=false true\n'
    made = build(('oci', {'name': 'own/attested:1'}), text=text, options={'build-arg:SECRET': 'abc', 'filename': 'Dockerfile', 'vcs:revision': 'r1'},
                 attributes={'attest:provenance': 'mode=max,builder-id=https://b'})
    statement, image = provenance_of(made)
    assert statement['predicateType'] == 'https://slsa.dev/provenance/v1'
    assert statement['subject'][0]['name'] == 'pkg:docker/own/attested@1?platform=linux%2Famd64'
    definition, run = statement['predicate']['buildDefinition'], statement['predicate']['runDetails']
    digest = json.loads(client.ok('image', 'inspect', IMAGE))[0]['RepoDigests']
    base, = definition['resolvedDependencies']
    assert base['uri'] == 'pkg:docker/gantry/busybox@latest?platform=linux%2Famd64' and len(base['digest']['sha256']) == 64, digest
    request = definition['externalParameters']['request']
    assert (request['frontend'], request['args']['build-arg:SECRET'], request['secrets']) == ('dockerfile.v0', 'abc', [{'id': 'key'}])
    assert request['locals'] == [{'name': 'context'}, {'name': 'dockerfile'}]
    assert definition['externalParameters']['configSource'] == {'path': 'Dockerfile'}
    assert run['builder'] == {'id': 'https://b'} and run['metadata']['buildkit_metadata']['vcs'] == {'revision': 'r1'}
    info, = run['metadata']['buildkit_metadata']['source']['infos']
    assert base64.b64decode(info['data']).decode() == text
    assert run['metadata']['buildkit_completeness'] == {'request': True, 'resolvedDependencies': False} and 'buildkit_hermetic' not in run['metadata']
    assert run['metadata']['startedOn'] < run['metadata']['finishedOn']


def test_provenance_of_the_least(build):
    made = build(('oci', {}), options={'build-arg:SECRET': 'abc'}, attributes={'attest:provenance': 'mode=min,version=v0.2'})
    index = made.read(made.told['containerimage.digest'])
    layer, = made.read(index['manifests'][1]['digest'])['layers']
    statement = made.read(layer['digest'])
    predicate = statement['predicate']
    assert statement['predicateType'] == 'https://slsa.dev/provenance/v0.2' and predicate['buildType'] == 'https://mobyproject.org/buildkit@v1'
    assert 'abc' not in made.blobs[layer['digest']].decode() and predicate['metadata']['completeness']['parameters'] is False
    assert predicate['materials'] == [] and predicate['invocation']['environment'] == {'platform': 'linux/amd64'}


def test_provenance_in_the_store(stack, client, build):
    """What the user asks for is kept and told; what clients ask for by themselves is for images that leave."""
    name = f'own/{uuid.uuid4().hex[:8]}'
    made = build(('image', {'name': name}), attributes={'attest:provenance': 'mode=max'})
    plain = build(('image', {'name': f'{name}:plain'}), attributes={'attest:provenance': 'mode=min,inline-only=true'})
    assert made.told['containerimage.config.digest'] == plain.told['containerimage.config.digest']
    assert made.told['containerimage.digest'] == plain.told['containerimage.digest'] == plain.told['containerimage.config.digest']
    targets = [json.loads(base64.b64decode(one.told['containerimage.descriptor']))['mediaType'] for one in (made, plain)]
    assert targets == [INDEX, 'application/vnd.oci.image.manifest.v1+json']
    status, text, _ = stack.api('GET', f'/images/{name}/attestations')
    assert status == 200 and [a['PredicateType'] for a in json.loads(text)] == ['https://slsa.dev/provenance/v1'], text
    assert json.loads(client.ok('image', 'inspect', name))[0]['Id'] == made.told['containerimage.config.digest']
    client.ok('rmi', name, f'{name}:plain')


@pytest.mark.parametrize('wish, said', [({'attest:sbom': ''}, 'attestations of kind sbom are not made'), ({'attest:provenance': 'mode=some'}, 'invalid mode "some"'),
                                        ({'attest:provenance': 'version=v9'}, 'invalid provenance SLSA version: v9'),
                                        ({'build-arg:BUILDKIT_ATTEST_SBOM': '1'}, 'attestations of kind sbom are not made')])
def test_other_wishes(builder, wish, said):
    with pytest.raises(grpc.RpcError) as caught:
        builder.control('Solve', Ref=uuid.uuid4().hex, FrontendAttrs=wish).result()
    assert said in caught.value.details()


def test_materials(stack, build, tmp_path):
    """Repositories by their commits."""
    run = lambda *words: subprocess.run(['git', '-C', str(tmp_path / 'repo'), *words], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    (tmp_path / 'repo').mkdir()
    run('init', '-q', '-b', 'main')
    (tmp_path / 'repo/file').write_text('f')
    run('add', '.')
    run('-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '-qm', 'one')
    run('update-server-info')
    server = stack.within(lambda: http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        place = f'127.0.0.1:{server.server_port}'
        text = f'FROM scratch\nADD http://user:word@{place}/repo/.git#main /repo\nADD http://{place}/repo/file /file\n'
        made = build(('oci', {'name': 'own/x'}), text=text, attributes={'attest:provenance': 'mode=min'})
    finally:
        server.shutdown()
    found = provenance_of(made)[0]['predicate']['buildDefinition']['resolvedDependencies']
    assert found == [{'uri': f'http://{place}/repo/.git#main', 'digest': {'sha1': run('rev-parse', 'HEAD')}},
                     {'uri': f'http://{place}/repo/file', 'digest': {'sha256': hashlib.sha256(b'f').hexdigest()}}]
