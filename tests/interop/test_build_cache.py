# SPDX-License-Identifier: Apache-2.0
"""Caches of builds that are carried to other machines: inline, in a registry, in a store of the client's, in the form that BuildKit
writes (media type application/vnd.buildkit.cacheconfig.v0: layers and records). Debian's dockerd has no BuildKit: the form is from
BuildKit's types, and what is hostile is made here."""
import copy
import gzip
import hashlib
import io
import json
import tarfile
import uuid
from pathlib import Path

import grpc
import pytest

from harness.buildkit import BuildKit, Session
from harness.client import Client
from harness.engine import Stack, until
from harness.llb import Definition
from harness.places import IMAGE, IMAGE_TAR
from harness.registry import Registry

TEXT = f'''FROM {IMAGE} AS tools
RUN echo tool > /tool
FROM {IMAGE}
LABEL a=b
RUN date +%N > /made
COPY --from=tools /tool /
COPY file /file
WORKDIR /w
ENV C=d
'''
STEPS = 5


@pytest.fixture(scope='module')
def client(stack, home):
    return Client('gantry', stack, home)


@pytest.fixture(scope='module')
def elsewhere(home):
    """Another machine, which has the base image and nothing else."""
    engine = Stack(number=19)
    try:
        engine.start()
        Client('gantry', engine, home).ok('load', '-i', IMAGE_TAR)
        yield engine
    finally:
        engine.destroy()


@pytest.fixture
def context(tmp_path):
    (tmp_path / 'Dockerfile').write_text(TEXT)
    (tmp_path / 'file').write_text('file\n')
    return tmp_path


def build(engine, context, exports=(), imports=(), name=None, stores=None):
    """The image's id, what Solve tells, and the names of steps that ran and that were cached."""
    builder, session = BuildKit(engine.socket), Session(engine.socket, {'context': context, 'dockerfile': context}, stores=stores)
    try:
        entries = {'Exports': [{'Type': kind, 'Attrs': attributes} for kind, attributes in exports],
                   'Imports': [{'Type': kind, 'Attrs': attributes} for kind, attributes in imports]}
        solve, updates = builder.build(session, names=[name or 'own/cached'], caches=entries)
        told = dict(solve.result().ExporterResponse)
        last = {v.digest: v for u in updates for v in u.vertexes}.values()
        steps = [v for v in last if any(word in v.name for word in ('] RUN', '] COPY', '] WORKDIR'))]
        return told['containerimage.config.digest'], told, [v.name for v in steps if not v.cached], [v.name for v in steps if v.cached]
    finally:
        session.close()
        builder.close()


def forget(client):
    client('rmi', '-f', 'own/cached')
    client.ok('builder', 'prune', '-af')


def test_a_store_of_the_client(stack, client, elsewhere, home, context):
    """mode=max has the other stages' steps, too; on another machine everything is a hit."""
    store = {}
    forget(client)
    image, told, ran, _ = build(stack, context, [('local', {'dest': '/s', 'mode': 'max'})], stores={'local:/s': store})
    assert len(ran) == STEPS
    manifest = json.loads(told['cache.manifest'])
    assert json.loads(store[manifest['digest']])['config']['mediaType'] == 'application/vnd.buildkit.cacheconfig.v0'
    config = json.loads(store[json.loads(store[manifest['digest']])['config']['digest']])
    assert {layer['blob'] for layer in config['layers']} <= set(store) and config['layers'][0]['parent'] == -1
    made = [r for r in config['records'] if r.get('layers')]
    assert len(made) == STEPS and all(config['layers'][r['layers'][0]['layer']]['parent'] >= 0 for r in made)
    found, _, ran, cached = build(elsewhere, context, imports=[('local', {'src': '/s', 'digest': manifest['digest']})], stores={'local:/s': store})
    assert found == image and ran == [] and len(cached) == STEPS
    there = Client('gantry', elsewhere, home)
    assert there.ok('run', '--rm', 'own/cached', 'cat', '/tool', '/file') == 'tool\nfile'
    assert there.ok('run', '--rm', 'own/cached', 'cat', '/made') == client.ok('run', '--rm', 'own/cached', 'cat', '/made')
    # It is the machine's own cache from now on.
    assert build(elsewhere, context)[2] == []
    # A changed byte is not in it.
    (context / 'file').write_text('other\n')
    ran = build(elsewhere, context, imports=[('local', {'src': '/s', 'digest': manifest['digest']})], stores={'local:/s': store})[2]
    assert len(ran) == 2 and 'COPY file' in ran[0]


def test_a_registry(stack, client, context):
    registry = stack.within(lambda: Registry(auth='basic'))
    builder = None
    try:
        for number, attributes in enumerate(({'mode': 'max'}, {'mode': 'max', 'image-manifest': 'false'}, {})):
            ref = f'{registry.name}/caches/one:{number}'
            forget(client)
            session = Session(stack.socket, {'context': context, 'dockerfile': context}, logins={registry.name: ('user', 'pass word')})
            builder = BuildKit(stack.socket)
            solve, _ = builder.build(session, names=['own/cached'], caches={'Exports': [{'Type': 'registry', 'Attrs': {'ref': ref, **attributes}}]})
            image = solve.result().ExporterResponse['containerimage.config.digest']
            forget(client)
            solve, updates = builder.build(session, names=['own/cached'], caches={'Imports': [{'Type': 'registry', 'Attrs': {'ref': ref}}]})
            told = solve.result().ExporterResponse['containerimage.config.digest']
            session.close()
            builder.close()
            last = {v.digest: v for u in updates for v in u.vertexes}.values()
            assert f'importing cache manifest from {ref}' in [v.name for v in last]
            ran = [v.name for v in last if '] RUN' in v.name and not v.cached]
            # The least of all has the result's own steps: what other stages made is made again, and is the same.
            assert (attributes, told, len(ran)) == (attributes, image, 0 if attributes else 1), ran
        # One that is not there yet is told, no more; so is one whose registry does not answer.
        for ref in (f'{registry.name}/caches/never:1', '127.0.0.1:9/caches/one:1'):
            assert build(stack, context, imports=[('registry', {'ref': ref})])[0] == image
    finally:
        registry.destroy()


def test_a_definition(stack, client, context):
    """LLB has its caches elsewhere, too: what was made once is not made again."""
    llb, store = Definition(), {}
    first = llb.run(llb.image(IMAGE), 'sh', '-c', 'head -c 9 /dev/urandom | base64 > /made')
    last = llb.run(first, 'sh', '-c', 'mkdir /m/d; cp /made /m/d/again', mounts=[{'dest': '/m', 'output': 1}])
    result = last[0], 1

    def make(**caches):
        session, builder = Session(stack.socket, {}, stores={'local:/s': store}), BuildKit(stack.socket)
        ref = uuid.uuid4().hex
        try:
            call = builder.control('Solve', Ref=ref, Session=session.id, Definition=llb.done(result), Exporters=[{'Type': 'tar'}], Cache=caches)
            updates = list(builder.control('Status', streams=True, Ref=ref))
            told = dict(call.result().ExporterResponse)
        finally:
            session.close()
            builder.close()
        with tarfile.open(fileobj=io.BytesIO(session.files[0][0])) as tar:
            made = tar.extractfile('d/again').read()
        return made, told, {v.digest for u in updates for v in u.vertexes if v.cached}
    forget(client)
    for mode in ('max', 'min'):
        forget(client)
        made, told, cached = make(Exports=[{'Type': 'local', 'Attrs': {'dest': '/s', 'mode': mode}}])
        assert not cached & {first[0], last[0]}
        digest = json.loads(told['cache.manifest'])['digest']
        forget(client)
        again, _, cached = make(Imports=[{'Type': 'local', 'Attrs': {'src': '/s', 'digest': digest}}])
        # The least of all is what the result is made on: here nothing, while its command reads what is random.
        assert (again == made and cached >= {first[0], last[0]}) == (mode == 'max')
    forget(client)
    assert make()[0] != made


def test_inline(stack, client, elsewhere, home, context, tmp_path):
    forget(client)
    image, _, ran, _ = build(stack, context, [('inline', {})], name='own/inline')
    assert len(ran) == STEPS
    client.ok('save', '-o', tmp_path / 'image.tar', 'own/inline')
    there = Client('gantry', elsewhere, home)
    there('rmi', '-f', 'own/cached')
    there.ok('builder', 'prune', '-af')
    there.ok('load', '-i', tmp_path / 'image.tar')
    _, _, ran, cached = build(elsewhere, context, imports=[('registry', {'ref': 'own/inline'})], name='own/again')
    # The other stage is no part of the image.
    assert [name for name in ran if '[tools' not in name] == [] and len(cached) == STEPS - 1
    # An image on top of it has not its cache.
    (context / 'Dockerfile').write_text('FROM own/inline\nENV E=f\n')
    build(elsewhere, context, name='own/on-top')
    there.ok('save', '-o', tmp_path / 'top.tar', 'own/on-top')
    with tarfile.open(tmp_path / 'top.tar') as tar:
        config = tar.extractfile(json.load(tar.extractfile('manifest.json'))[0]['Config']).read()
    assert b'moby.buildkit.cache.v0' not in config
    there.ok('rmi', 'own/inline', 'own/again', 'own/on-top')
    client.ok('rmi', 'own/inline')


class Store:
    """A client's store with a cache that can be spoiled before it is sealed."""

    def __init__(self):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode='w') as tar:
            item = tarfile.TarInfo('from-cache')
            item.size = 4
            tar.addfile(item, io.BytesIO(b'evil'))
        self.blobs = {}
        self.layer, self.diff = self.put(gzip.compress(data.getvalue(), mtime=0)), 'sha256:' + hashlib.sha256(data.getvalue()).hexdigest()
        size = len(self.blobs[self.layer])
        self.config = {'layers': [{'blob': self.layer, 'parent': -1, 'annotations': {
            'mediaType': 'application/vnd.oci.image.layer.v1.tar+gzip', 'diffID': self.diff, 'size': size, 'createdAt': '2020-01-01T00:00:00Z'}}],
            'records': []}
        self.listed = [{'mediaType': 'application/vnd.oci.image.layer.v1.tar+gzip', 'digest': self.layer, 'size': size}]

    def put(self, data):
        digest = 'sha256:' + hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest

    def seal(self):
        text = self.config if isinstance(self.config, bytes) else json.dumps(self.config).encode()
        config = {'mediaType': 'application/vnd.buildkit.cacheconfig.v0', 'digest': self.put(text), 'size': len(text)}
        return self.put(json.dumps({'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.manifest.v1+json', 'config': config,
                                    'layers': self.listed}).encode())


def record(key='ab' * 32, layer=0, link=None, **more):
    return {'digest': f'sha256:{key}', 'layers': [{'layer': layer, 'createdAt': '2020-01-01T00:00:00Z'}],
            **({'inputs': [[{'link': link}]]} if link is not None else {}), 'gantry': {'created': '2020-01-01T00:00:00Z', 'description': 'x'}, **more}


def spoil_digest(store):
    store.config['layers'][0]['blob'] = 'sha256:x'


def spoil_own_loop(store):
    store.config['layers'][0]['parent'] = 0


def spoil_loop(store):
    store.config['layers'] = [{**store.config['layers'][0], 'parent': 1}, {**store.config['layers'][0], 'parent': 0}]


def spoil_records(store):
    store.config['records'] = [record(link=1), record('cd' * 32, link=0)]


def spoil_link(store):
    store.config['records'] = [record(link=7)]


def spoil_far_link(store):
    store.config['records'] = [record(link=1 << 40)]


def spoil_layer(store):
    store.config['records'] = [record(layer=5)]


def spoil_list(store):
    store.listed = []


def spoil_size(store):
    store.listed[0]['size'] += 1


def spoil_count(store):
    store.config['records'] = [record(f'{i:064x}') for i in range(10_001)]


def spoil_time(store):
    store.config['records'] = [record(gantry={'created': 'tomorrow'})]


def spoil_type(store):
    store.config['layers'][0]['annotations']['mediaType'] = 'text/plain'


def spoil_text(store):
    store.config = b'{"layers": ['


def spoil_depth(store):
    store.config = b'[' * 100_000


@pytest.mark.parametrize('spoil, said', [
    (spoil_digest, 'a layer of the cache'), (spoil_own_loop, 'form a loop'), (spoil_loop, 'form a loop'), (spoil_records, 'form a loop'),
    (spoil_link, 'is on top of one that there is not'), (spoil_far_link, 'is on top of one that there is not'),
    (spoil_layer, 'a layer that there is not'), (spoil_list, 'is not in its manifest'), (spoil_size, 'has another size'),
    (spoil_count, 'more than 10000 records'), (spoil_time, 'the time of a record'), (spoil_type, 'is no layer'), (spoil_text, 'reading the cache'),
    (spoil_depth, 'reading the cache')])
def test_hostile_documents(stack, client, context, spoil, said):
    store = Store()
    spoil(store)
    digest = store.seal()
    with pytest.raises(grpc.RpcError) as caught:
        build(stack, context, imports=[('local', {'src': '/s', 'digest': digest})], stores={'local:/s': store.blobs})
    text = caught.value.details()
    assert text.startswith('importing the cache /s: ') and said in text and '\n' not in text, text
    until(lambda: list(Path(stack.names.root, 'engine/builds').glob('*')) == [])


@pytest.mark.parametrize('kind', ['bytes', 'more bytes', 'unpacked', 'gone', 'no gzip'])
def test_hostile_layers(stack, client, context, kind):
    """A cache that has the right keys and other layers: nothing of it gets into the store."""
    store = {}
    forget(client)
    _, told, _, _ = build(stack, context, [('local', {'dest': '/s', 'mode': 'max'})], stores={'local:/s': store})
    forget(client)
    manifest = json.loads(store[json.loads(told['cache.manifest'])['digest']])
    config = json.loads(store[manifest['config']['digest']])
    spoiled = Store()
    spoiled.blobs, spoiled.listed, spoiled.config = dict(store), copy.deepcopy(manifest['layers']), config
    for layer in {r['layers'][0]['layer'] for r in config['records'] if r.get('layers')}:
        blob = config['layers'][layer]['blob']
        data = store[blob]
        if kind == 'bytes':
            spoiled.blobs[blob] = data[:-1] + bytes([data[-1] ^ 1])
        elif kind == 'more bytes':
            spoiled.blobs[blob] = data + b'x'
        elif kind == 'gone':
            spoiled.blobs.pop(blob, None)
        elif kind == 'unpacked':
            config['layers'][layer]['annotations']['diffID'] = 'sha256:' + '0' * 64
        else:
            other = spoiled.put(b'\x1f\x8b' + b'no gzip at all')
            size = len(spoiled.blobs[other])
            config['layers'][layer]['blob'] = other
            config['layers'][layer]['annotations']['size'] = size
            spoiled.listed.append({**manifest['layers'][0], 'digest': other, 'size': size})
    before = set(Path(stack.names.root, 'containerd/content/blobs/sha256').glob('*'))
    with pytest.raises(grpc.RpcError) as caught:
        build(stack, context, imports=[('local', {'src': '/s', 'digest': spoiled.seal()})], stores={'local:/s': spoiled.blobs})
    assert 'importing from the cache /s' in caught.value.details()
    client.ok('builder', 'prune', '-af')
    until(lambda: set(Path(stack.names.root, 'containerd/content/blobs/sha256').glob('*')) <= before)
    # Without it all is well.
    assert len(build(stack, context)[2]) == STEPS


@pytest.mark.parametrize('exports, imports, said', [
    ([('gha', {})], [], 'there is no cache of type gha: inline, registry and local are there'),
    ([('registry', {})], [], 'a cache of type registry needs ref=…'), ([('local', {})], [], 'a cache of type local needs dest=…'),
    ([('inline', {'mode': 'most'})], [], "invalid mode of a cache: 'most'"),
    ([('registry', {'ref': 'x', 'compression': 'zstd'})], [], 'layers are compressed with gzip, not zstd'),
    ([('registry', {'ref': 'UPPER:1'})], [], 'the cache\'s reference "UPPER:1"')])
def test_refused(stack, builder, context, exports, imports, said):
    session = Session(stack.socket, {'context': context, 'dockerfile': context})
    entries = {'Exports': [{'Type': kind, 'Attrs': attributes} for kind, attributes in exports],
               'Imports': [{'Type': kind, 'Attrs': attributes} for kind, attributes in imports]}
    with pytest.raises(grpc.RpcError) as caught:
        builder.control('Solve', Ref=uuid.uuid4().hex, Session=session.id, Frontend='dockerfile.v0', Cache=entries).result()
    session.close()
    assert said in caught.value.details()


def test_a_cache_of_another_kind_is_left_out(stack, builder, context):
    """As with BuildKit: it is told, and the build goes on."""
    session, ref = Session(stack.socket, {'context': context, 'dockerfile': context}), uuid.uuid4().hex
    imports = [{'Type': 's3', 'Attrs': {'bucket': 'x'}}, {'Type': 'inline', 'Attrs': {}}]
    solve = builder.control('Solve', Ref=ref, Session=session.id, Frontend='dockerfile.v0', Cache={'Imports': imports})
    told = [v.error for u in builder.control('Status', streams=True, Ref=ref) for v in u.vertexes]
    solve.result()
    session.close()
    for kind in 's3', 'inline':
        assert f'there is no cache of type {kind} to import' in told
