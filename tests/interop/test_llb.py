# SPDX-License-Identifier: Apache-2.0
"""Definitions of LLB over BuildKit's API, by the project's own client. Debian's dockerd has no BuildKit: what is expected is from the
specification of the operations (protos/moby/buildkit/ops.proto) and of image layers. Where GANTRY_BUILDCTL names the folder that has
buildctl, it builds, too."""
import base64
import io
import json
import os
import subprocess
import tarfile
import types
import uuid
from pathlib import Path

import grpc
import pytest

from harness.buildkit import Session
from harness.client import Client
from harness.engine import until
from harness.grpc_api import message, message_class
from harness.llb import CACHE, SECRET, TMPFS, Definition, digest_of
from harness.places import IMAGE

BUILDCTL = os.environ.get('GANTRY_BUILDCTL')


@pytest.fixture(scope='module')
def client(stack, home):
    return Client('gantry', stack, home)


@pytest.fixture
def solve(stack, builder, tmp_path):
    """Solves a definition whose result is an archive: its members, what commands wrote, and which operations were cached."""
    def run(definition, result, entitlements=(), **options):
        session = Session(stack.socket, {'ctx': tmp_path}, **options)
        ref = uuid.uuid4().hex
        try:
            call = builder.control('Solve', Ref=ref, Session=session.id, Definition=definition.done(result), Entitlements=list(entitlements),
                                   Exporters=[{'Type': 'tar'}])
            updates = list(builder.control('Status', streams=True, Ref=ref))
            call.result()
        finally:
            session.close()
        tar = tarfile.open(fileobj=io.BytesIO(session.files[0][0]))
        vertices = {v.digest: v for u in updates for v in u.vertexes}
        return types.SimpleNamespace(
            members={m.name: m for m in tar}, said=''.join(log.msg.decode() for u in updates for log in u.logs), vertices=vertices,
            cached={d for d, v in vertices.items() if v.cached}, asked=session.asked, text=lambda name: tar.extractfile(name).read().decode())
    return run


def refused(call):
    with pytest.raises(grpc.RpcError) as caught:
        call.result()
    return caught.value.details()


def test_files(solve, tmp_path):
    (tmp_path / 'sub').mkdir()
    (tmp_path / 'a').write_text('text\n')
    (tmp_path / 'sub/b').write_text('b\n')
    (tmp_path / 'sub/c.txt').write_text('c\n')
    llb = Definition()
    context = llb.source('local://ctx', local__excludepatterns='["left"]')
    base = llb.files(None, ('mkdir', {'path': '/d/e', 'mode': 0o750, 'makeParents': True, 'owner': {'user': {'byID': 7}}}),
                     ('mkfile', {'path': '/d/f', 'mode': 0o640, 'data': b'data', 'timestamp': 981173106 * 10**9}),
                     ('symlink', {'oldpath': 'f', 'newpath': '/d/l'}),
                     ('mkfile', {'path': '/gone', 'mode': 0o600}), ('rm', {'path': '/gone'}), ('rm', {'path': '/never', 'allowNotFound': True}),
                     ('copy', {'source': context, 'src': '/a', 'dest': '/', 'mode': 0o600}),
                     ('copy', {'source': context, 'src': '/sub', 'dest': '/tree/', 'mode': -1, 'createDestPath': True}),
                     ('copy', {'source': context, 'src': '/sub', 'dest': '/flat', 'mode': -1, 'createDestPath': True, 'dirCopyContents': True,
                               'exclude_patterns': ['b']}),
                     ('copy', {'source': context, 'src': '/sub', 'dest': '/letters', 'modeStr': 'u=rwX,go=', 'createDestPath': True, 'dirCopyContents': True,
                               'timestamp': 981173106 * 10**9, 'required_paths': ['/sub/b']}),
                     ('copy', {'source': context, 'src': '/sub/*.txt', 'dest': '/w/', 'mode': -1, 'createDestPath': True, 'allowWildcard': True}))
    made = solve(llb, base)
    assert sorted(made.members) == ['a', 'd', 'd/e', 'd/f', 'd/l', 'flat', 'flat/c.txt', 'letters', 'letters/b', 'letters/c.txt', 'tree', 'tree/sub', 'tree/sub/b', 'tree/sub/c.txt',
                                    'w', 'w/c.txt']
    e, f = made.members['d/e'], made.members['d/f']
    assert (e.mode, e.uid, e.gid, f.mode, f.mtime) == (0o750, 7, 7, 0o640, 981173106) and made.text('d/f') == 'data'
    assert [(made.members[f'letters/{name}'].mode, made.members[f'letters/{name}'].mtime) for name in ('b', 'c.txt')] == 2 * [(0o600, 981173106)]
    assert made.members['d/l'].linkname == 'f' and made.members['a'].mode == 0o600 and made.text('a') == 'text\n'
    assert made.vertices[context[0]].name == 'local://ctx' and not made.cached & {context[0], base[0]}
    assert made.asked[0]['exclude-patterns'] == ['left']
    # A file that is not sent changes nothing; a byte of one that is copied does.
    (tmp_path / 'left').write_text('x')
    assert {context[0], base[0]} <= solve(llb, base).cached
    (tmp_path / 'a').write_text('other\n')
    again = solve(llb, base)
    assert not again.cached & {context[0], base[0]} and again.text('a') == 'other\n'


def test_a_copy_needs_its_paths(solve, tmp_path):
    (tmp_path / 'a').write_text('a')
    llb = Definition()
    copied = llb.files(None, ('copy', {'source': llb.source('local://ctx'), 'src': '/', 'dest': '/', 'mode': -1, 'dirCopyContents': True,
                                       'include_patterns': ['nothing'], 'required_paths': ['/nothing']}))
    with pytest.raises(grpc.RpcError) as caught:
        solve(llb, copied)
    assert '"/nothing": not found' in caught.value.details()


def test_an_error_names_its_sources(builder, stack, tmp_path):
    """Places that the client has told of an operation come back with its error, the last one first."""
    llb = Definition()
    made = llb.files(None, ('mkdir', {'path': '/no/such', 'mode': 0o755}))
    sources = message('pb.Source')
    for index, name in enumerate(('one', 'two')):
        sources.infos.add(filename=name, data=f'text of {name}'.encode(), language='x')
        place = sources.locations[made[0]].locations.add(sourceIndex=index)
        place.ranges.add().start.line = 7 + index
    sources.locations[made[0]].locations.add(sourceIndex=99)
    session = Session(stack.socket, {'ctx': tmp_path})
    try:
        call = builder.control('Solve', Ref=uuid.uuid4().hex, Session=session.id,
                               Definition={**llb.done(made), 'sources': sources.SerializeToString()})
        with pytest.raises(grpc.RpcError) as caught:
            call.result()
    finally:
        session.close()
    details = message_class('google.rpc.Status').FromString(dict(caught.value.trailing_metadata())['grpc-status-details-bin']).details
    places = [json.loads(detail.value) for detail in details]
    assert [(p['info']['filename'], base64.b64decode(p['info']['data']), p['ranges'][0]['start']['line']) for p in places] == \
        [('two', b'text of two', 8), ('one', b'text of one', 7)]


def test_a_copy_goes_by_what_it_copies(solve, tmp_path):
    (tmp_path / 'a').write_text('a')
    (tmp_path / 'b').write_text('b')
    llb = Definition()
    copied = llb.copy(None, llb.source('local://ctx'), '/a', '/a')
    solve(llb, copied)
    (tmp_path / 'b').write_text('other')
    assert copied[0] in solve(llb, copied).cached


def test_commands(solve, tmp_path):
    (tmp_path / 'a').write_text('text\n')
    llb = Definition()
    image, context = llb.image(IMAGE), llb.source('local://ctx')
    mounts = [{'input': context, 'dest': '/in', 'selector': '/a', 'readonly': True}, {'input': None, 'dest': '/t', 'mountType': TMPFS},
              {'input': None, 'dest': '/s', 'mountType': SECRET, 'output': 0, 'secretOpt': {'ID': 'one', 'mode': 0o400}},  # as clients leave it
              {'input': None, 'dest': '/k', 'mountType': CACHE, 'cacheOpt': {'ID': uuid.uuid4().hex}},
              {'input': image, 'dest': '/second', 'output': 1}]
    script = 'cat /in /s; echo $V $E; pwd; id -u; : > /t/x; : > /k/x; echo 2 > /second/two; rm /second/etc/group; echo 1 > /one'
    ran = llb.run(image, 'sh', '-c', script, mounts=mounts, meta={'env': ['V=value'], 'cwd': '/tmp', 'user': '0'},
                  secretenv=[{'ID': 'two', 'name': 'E'}])
    secrets = {'one': b'secret\n', 'two': b'variable'}
    made = solve(llb, ran, secrets=secrets)
    assert made.said == 'text\nsecret\nvalue variable\n/tmp\n0\n' and made.text('one') == '1\n'
    assert not {'in', 's', 't', 'k', 'second'} & set(made.members)
    second = solve(llb, (ran[0], 1), secrets=secrets)
    assert ran[0] in second.cached and second.text('two') == '2\n' and 'etc/group' not in second.members and 'one' not in second.members
    # Neither is a secret's value.
    assert ran[0] in solve(llb, ran, secrets={'one': b'other', 'two': b'other'}).cached
    # A root that is only read, an exit code that is no failure, no network.
    llb = Definition()
    image = llb.image(IMAGE)
    odd = llb.run(image, 'sh', '-c', 'echo x > /f || echo 3 > /o/code; ls /sys/class/net >> /o/code; exit 3', read_only=True, output=-1,
                  mounts=[{'input': None, 'dest': '/o', 'output': 0}], meta={'validExitCodes': [3]}, network=2)
    assert solve(llb, odd).text('code').split() == ['3', 'lo']


def test_merge_and_diff(solve):
    llb = Definition()
    image = llb.image(IMAGE)
    left = llb.run(image, 'sh', '-c', 'echo l > /left; rm /etc/group')
    right = llb.files(None, ('mkfile', {'path': '/right', 'mode': 0o644, 'data': b'r'}))
    only = llb.diff(image, left)
    both = llb.merge(image, only, right)
    made = solve(llb, both)
    assert made.text('left') == 'l\n' and made.text('right') == 'r' and 'etc/group' not in made.members and 'bin/sh' in made.members
    changed = set(solve(llb, only).members)
    assert 'left' in changed and not any(name.startswith('bin') for name in changed)
    # The other way round: what the image has that the other has not.
    back = llb.diff(left, image)
    assert set(solve(llb, back).members) == {'etc', 'etc/group'}
    assert both[0] in solve(llb, both).cached


def test_an_image(client, builder):
    """The gateway: a configuration that the front end gives, files that it reads, one result on top of another build's."""
    llb = Definition()
    made = llb.files(llb.image(IMAGE), ('mkfile', {'path': '/d', 'mode': 0o644, 'data': b'0123456789'}))
    name, ref = f'own/{uuid.uuid4().hex[:8]}', uuid.uuid4().hex
    call = builder.control('Solve', Ref=ref, Exporters=[{'Type': 'image', 'Attrs': {'name': name}}])
    caps = builder.bridge('Ping', ref, 'PongResponse').result()
    assert {c.ID for c in caps.LLBCaps} >= {'source.local', 'file.base', 'exec.meta.base', 'mergeop', 'diffop'}
    found = builder.bridge('ResolveImageConfig', ref, Ref=f'docker.io/{IMAGE}').result()
    config = json.loads(found.Config)
    assert config['os'] == 'linux' and found.Digest.startswith('sha256:')
    result = builder.bridge('Solve', ref, Definition=llb.done(made), allowResultReturn=True).result().result
    id_ = result.ref.id
    assert builder.bridge('ReadFile', ref, Ref=id_, FilePath='/d').result().Data == b'0123456789'
    assert builder.bridge('ReadFile', ref, Ref=id_, FilePath='d', Range={'Offset': 2, 'Length': 3}).result().Data == b'234'
    entries = builder.bridge('ReadDir', ref, Ref=id_, DirPath='/etc', IncludePattern='pass*').result().entries
    assert [(e.path, e.mode & 0o777) for e in entries] == [('passwd', 0o644)]
    stat = builder.bridge('StatFile', ref, Ref=id_, Path='/d').result().stat
    assert (stat.path, stat.size, stat.mode) == ('d', 10, 0o644)
    assert 'no such file' in refused(builder.bridge('ReadFile', ref, Ref=id_, FilePath='/never')).lower()
    assert 'no such result' in refused(builder.bridge('ReadFile', ref, Ref='other', FilePath='/d'))
    # What the answer says that it is can be built upon.
    below = list(getattr(getattr(result.ref, 'def'), 'def'))[:-1]
    on_top = message('pb.Op', inputs=[{'digest': digest_of(below[0])}],
                     file={'actions': [{'input': 0, 'secondaryInput': -1, 'output': 0, 'mkfile': {'path': '/e', 'mode': 0o600, 'timestamp': -1}}]}).SerializeToString()
    head = message('pb.Op', inputs=[{'digest': digest_of(on_top)}]).SerializeToString()
    again = builder.bridge('Solve', ref, Definition={'def': [*below, on_top, head]}, allowResultReturn=True).result().result
    assert builder.bridge('StatFile', ref, Ref=again.ref.id, Path='/e').result().stat.path == 'e'
    given = {'architecture': config['architecture'], 'os': 'linux', 'config': {'Cmd': ['cat', '/d'], 'Env': ['PATH=/bin'], 'Labels': {'a': 'b'}}}
    result.metadata['containerimage.config'] = json.dumps(given).encode()
    builder.bridge('Return', ref, result=result).result()
    assert call.result().ExporterResponse['image.name'] == f'docker.io/{name}:latest'
    assert client.ok('run', '--rm', name) == '0123456789'
    image, = json.loads(client.ok('image', 'inspect', name))
    assert image['Config']['Labels'] == {'a': 'b'} and len(image['RootFS']['Layers']) == 2
    client.ok('rmi', name)


def hostile():
    """Names of definitions to their fields and what is said of them."""
    llb = Definition()
    base = llb.files(None, ('mkfile', {'path': '/f', 'mode': 0o600}))
    good = llb.done(base)['def']
    head = good[-1]

    def op(inputs=(), **fields):
        data = message('pb.Op', inputs=[{'digest': d, 'index': i} for d, i in inputs], **fields).SerializeToString()
        return [data, message('pb.Op', inputs=[{'digest': digest_of(data)}]).SerializeToString()]

    def action(number=-1, **fields):
        return op(file={'actions': [{'input': number, 'secondaryInput': -1, 'output': 0, **fields}]})

    def command(*mounts, **fields):
        return op(exec={'meta': {'args': ['true']}, 'mounts': list(mounts), **fields})
    root = {'input': -1, 'dest': '/', 'output': 0}
    chain, inputs = [], []
    for i in range(10_001):
        data = message('pb.Op', inputs=inputs, file={'actions': [{'input': 0 if inputs else -1, 'secondaryInput': -1, 'output': 0,
                                                                   'mkfile': {'path': f'/{i}', 'timestamp': -1}}]}).SerializeToString()
        chain.append(data)
        inputs = [{'digest': digest_of(data)}]
    return {
        'no operation': ([head], 'the definition has no operation'),
        'no bytes': ([b'\xff\xff', message('pb.Op', inputs=[{'digest': digest_of(b'\xff\xff')}]).SerializeToString()], 'can\'t be read'),
        'no head': (good[:-1], 'names no result'),
        'another digest': ([good[0] + b'\x62\x00', head], 'the definition has no operation'),
        'itself': ([message('pb.Op', inputs=[{'digest': digest_of(good[0])}], file={}).SerializeToString(), head], 'the definition has no operation'),
        'an output too far': ([good[0], message('pb.Op', inputs=[{'digest': digest_of(good[0]), 'index': 5}]).SerializeToString()], 'wants the output 5'),
        'an input too far': (action(3, mkfile={'path': '/x'}), 'is the input 3'),
        'a later action': (op(file={'actions': [{'input': 1, 'output': 0, 'mkfile': {'path': '/x'}}]}), 'is the input 1'),
        'upwards': (action(mkfile={'path': '/../../etc/x'}), 'leads upwards'),
        'upwards in a copy': (action(copy={'src': '/../../etc/passwd', 'dest': '/x'}), 'leads upwards'),
        'upwards in a mount': (command(root, {'input': -1, 'dest': '/a/../../b', 'output': -1}), 'leads upwards'),
        'an empty path': (action(rm={'path': '/'}), 'the root itself'),
        'no root': (command({'input': -1, 'dest': '/x', 'output': 0}), 'has 0 roots'),
        'two roots': (command(root, {**root, 'output': 1}), 'has 2 roots'),
        'no words': (op(exec={'mounts': [root]}), 'has no words'),
        'a kind that there is not': (op(build={'builder': 0}), 'is not supported'),
        'nothing': (op(), 'there is no operation of that kind'),
        'a source without a scheme': (op(source={'identifier': 'x'}), 'has no scheme'),
        'a source of another kind': (op(source={'identifier': 'other://x'}), 'a source of that kind is not supported'),
        'somebody\'s result': (op(source={'identifier': 'gantry-result://x-1'}), 'no such result'),
        'insecure': (command(root, security=1), 'security.insecure is not allowed'),
        'the host\'s network': (command(root, network=1), 'network.host is not allowed'),
        'too many': ([*chain, message('pb.Op', inputs=inputs).SerializeToString()], 'there may be 10000'),
    }


@pytest.mark.parametrize('name', hostile())
def test_hostile(stack, client, builder, name):
    operations, said = hostile()[name]
    call = builder.control('Solve', Ref=uuid.uuid4().hex, Definition={'def': operations})
    error = refused(call)
    assert said in error and '\n' not in error, error
    assert client.ok('ps', '-aq') == '' and builder.control('ListWorkers').result().record
    until(lambda: list(Path(stack.names.root, 'engine/builds').glob('*')) == [])


def test_a_deep_chain(builder):
    """As deep as it may be: nothing is recursive in the engine."""
    llb, below = Definition(), None
    for i in range(60):
        below = llb.files(below, ('mkdir', {'path': f'/{i}', 'mode': 0o755}))
    builder.control('Solve', Ref=uuid.uuid4().hex, Definition=llb.done(below)).result()


@pytest.mark.skipif(not BUILDCTL, reason='GANTRY_BUILDCTL names no folder with buildctl')
def test_buildctl(stack, client, tmp_path):
    def buildctl(*words, **options):
        return subprocess.run([Path(BUILDCTL) / 'buildctl', '--addr', stack.host, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=120, **options)
    assert b'linux/' in buildctl('debug', 'workers').stdout
    (tmp_path / 'Dockerfile').write_text(f'FROM {IMAGE}\nCOPY Dockerfile /d\nRUN echo ran\n')
    local = ['--local', f'context={tmp_path}', '--local', f'dockerfile={tmp_path}']
    built = buildctl('build', '--progress=plain', '--frontend', 'dockerfile.v0', *local, '--output', 'type=image,name=bc:1')
    assert built.returncode == 0 and b'ran' in built.stdout, built.stdout
    assert client.ok('run', '--rm', 'bc:1', 'cat', '/d').startswith('FROM')
    llb = Definition()
    ran = llb.run(llb.image(IMAGE), 'sh', '-c', 'cat /in/Dockerfile; echo made > /f', mounts=[{'input': llb.source('local://ctx'), 'dest': '/in', 'readonly': True}])
    data = message('pb.Definition', **llb.done(ran)).SerializeToString()
    out = tmp_path / 'out'
    built = buildctl('build', '--progress=plain', '--local', f'ctx={tmp_path}', '--output', f'type=local,dest={out}', input=data)
    assert built.returncode == 0 and f'FROM {IMAGE}'.encode() in built.stdout, built.stdout
    assert (out / 'f').read_text() == 'made\n'
    client.ok('rmi', 'bc:1')
