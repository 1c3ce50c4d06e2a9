# SPDX-License-Identifier: Apache-2.0
"""What the front end says of a Dockerfile: warnings of its rules, in a build and as answers to requests; annotations. Debian's dockerd has
none of it: names, lines and forms are from BuildKit's documentation (build checks) and its protocol."""
import base64
import json
import re
import time
import uuid

import grpc
import pytest

from harness.buildkit import Session
from harness.client import Client
from harness.places import IMAGE

TEXT = f'''# one the first of two
from {IMAGE} as one
MAINTAINER me
# NAME whom it greets
ARG NAME=you
RUN --mount=type=secret,id=key,required echo $NAME \\

  there || true
CMD echo $NAME
FROM one as TWO
COPY --chown=$WHO Dockerfile /
'''


@pytest.fixture(scope='module')
def client(stack, home):
    return Client('gantry', stack, home)


@pytest.fixture
def context(tmp_path):
    folder = tmp_path / 'context'
    folder.mkdir()
    (folder / 'Dockerfile').write_text(TEXT)
    return folder


@pytest.fixture
def session(stack, context):
    made = Session(stack.socket, {'context': context, 'dockerfile': context})
    yield made
    made.close()


def asked(builder, session, request, **options):
    """As buildx asks: by the gateway, in a build of its own that has no result."""
    ref = uuid.uuid4().hex
    solve = builder.control('Solve', Ref=ref, Session=session.id, Internal=True)
    try:
        answer = builder.bridge('Solve', ref, Frontend='dockerfile.v0', allowResultReturn=True,
                                FrontendOpt={'requestid': request, 'frontend.caps': 'moby.buildkit.frontend.subrequests+forward', **options})
        result = answer.result().result
        assert result.ref.id == ''
        builder.bridge('Return', ref, result=result).result()
        assert dict(solve.result().ExporterResponse) == {}
        return {key: value.decode() for key, value in result.metadata.items()}
    except grpc.RpcError as error:
        builder.bridge('Return', ref, error={'code': error.code().value[0], 'message': error.details()}).result()
        raise


def found(answer):
    return {(w['ruleName'], w['location']['ranges'][0]['start']['line']) for w in json.loads(answer['result.json'])['warnings']}


EXPECTED = {('StageNameCasing', 10), ('NoEmptyContinuation', 8), ('MaintainerDeprecated', 3), ('JSONArgsRecommended', 9), ('UndefinedVar', 11),
            ('ConsistentInstructionCasing', 2), ('FromAsCasing', 10)}


def test_check(builder, session, context):
    answer = asked(builder, session, 'frontend.lint')
    assert found(answer) == EXPECTED and answer['result.statuscode'] == '1' and answer['version'] == '1.0.0'
    result = json.loads(answer['result.json'])
    assert result['sources'] == [{'filename': 'Dockerfile', 'language': 'Dockerfile', 'data': base64.b64encode(TEXT.encode()).decode()}]
    run = next(w for w in result['warnings'] if w['ruleName'] == 'NoEmptyContinuation')
    assert run['url'] == 'https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/' and run['detail'] and run['description']
    text = answer['result.txt']
    assert text.startswith('\nWARNING: ConsistentInstructionCasing - https://') and f'Dockerfile:3\n{"-" * 20}\n' in text
    assert '   3 | >>> MAINTAINER me\n' in text and f'   2 |     from {IMAGE} as one\n' in text
    # Of one target alone; with nothing to say; with a check that is skipped.
    assert ('UndefinedVar', 11) not in found(asked(builder, session, 'frontend.lint', target='one'))
    (context / 'Dockerfile').write_text(f'FROM {IMAGE}\nCMD ["x"]\n')
    answer = asked(builder, session, 'frontend.lint')
    assert found(answer) == set() and answer['result.statuscode'] == '0' and answer['result.txt'] == ''
    (context / 'Dockerfile').write_text(f'# check=skip=MaintainerDeprecated\nFROM {IMAGE}\nMAINTAINER me\nCOPY f /\n')
    (context / '.dockerignore').write_text('f\n')
    assert found(asked(builder, session, 'frontend.lint')) == {('CopyIgnoredFile', 4)}
    assert found(asked(builder, session, 'frontend.lint', **{'build-arg:BUILDKIT_DOCKERFILE_CHECK': 'skip=CopyIgnoredFile'})) == {('MaintainerDeprecated', 3)}


def test_check_of_a_bad_file(builder, session, context):
    (context / 'Dockerfile').write_text(f'FROM {IMAGE}\nMAINTAINER me\nBAD x\n')
    result = json.loads(asked(builder, session, 'frontend.lint')['result.json'])
    assert [w['ruleName'] for w in result['warnings']] == ['MaintainerDeprecated']
    assert result['buildError'] == {'message': 'dockerfile parse error on line 3: unknown instruction: BAD (did you mean ADD?)',
                                    'location': {'ranges': [{'start': {'line': 3}, 'end': {'line': 3}}]}}
    (context / 'Dockerfile').write_text(f'# check=what\nFROM {IMAGE}\n')
    with pytest.raises(grpc.RpcError) as caught:
        asked(builder, session, 'frontend.lint')
    assert caught.value.details() == 'reading the options of checks: invalid check option "what"'
    with pytest.raises(grpc.RpcError) as caught:
        asked(builder, session, 'frontend.other')
    assert caught.value.details() == 'unsupported request frontend.other'


def test_check_of_a_huge_file(builder, session, context):
    """As large as it may be nearly: it takes about as long as reading it."""
    for text in (''.join(f'FROM x AS s{i}\n' for i in range(100_000)), f'FROM {IMAGE}\n' + ''.join(f'ENV v{i}=$w{i}\n' for i in range(100_000))):
        (context / 'Dockerfile').write_text(text)
        begun = time.monotonic()
        asked(builder, session, 'frontend.lint')
        assert time.monotonic() - begun < 20


def test_outline_and_targets(builder, session):
    outline = json.loads(asked(builder, session, 'frontend.outline', **{'build-arg:NAME': 'me'})['result.json'])
    assert outline['name'] == 'two' and [(a['name'], a['value'], a['description']) for a in outline['args']] == [('NAME', 'me', 'whom it greets')]
    assert [(s['name'], s['required'], s['location']['ranges'][0]['start']['line']) for s in outline['secrets']] == [('key', True, 6)]
    answer = asked(builder, session, 'frontend.targets')
    assert [(t['name'], t.get('default', False), t.get('description', '')) for t in json.loads(answer['result.json'])['targets']] == [
        ('one', False, 'the first of two'), ('two', True, '')]
    assert answer['result.txt'] == 'TARGET        DESCRIPTION\none           the first of two\ntwo (default) \n'
    described = {one['name'] for one in json.loads(asked(builder, session, 'frontend.subrequests.describe')['result.json'])}
    assert described == {'frontend.outline', 'frontend.targets', 'frontend.lint', 'frontend.subrequests.describe'}


def test_warnings_of_a_build(builder, session, context):
    (context / 'Dockerfile').write_text(f'FROM {IMAGE}\nMAINTAINER me\nRUN true\nFROM {IMAGE} AS not\nMAINTAINER other\n')
    solve, updates = builder.build(session, {'target': '0'}, exporters=[])
    solve.result()
    vertices = {v.digest: v.name for u in updates for v in u.vertexes}
    # Rules of how it is written know of no target.
    warnings = [w for u in updates for w in u.warnings]
    assert [(vertices[w.vertex], w.level, w.summary.decode().split(':')[0], [r.start.line for r in w.ranges]) for w in warnings] == [
        ('[internal] load build definition from Dockerfile', 1, 'MaintainerDeprecated', [2]),
        ('[internal] load build definition from Dockerfile', 1, 'MaintainerDeprecated', [5])]
    assert warnings[0].info.filename == 'Dockerfile' and warnings[0].summary.endswith(b'(line 2)') and warnings[0].url.startswith('https://docs.')
    (context / 'Dockerfile').write_text(f'# check=error=true\nFROM {IMAGE}\nMAINTAINER me\nRUN echo never\n')
    solve, updates = builder.build(session, exporters=[])
    with pytest.raises(grpc.RpcError) as caught:
        solve.result()
    assert caught.value.details() == 'lint violation found for rules: MaintainerDeprecated'
    assert not [v.name for u in updates for v in u.vertexes if 'RUN' in v.name]


def test_the_client(client, context):
    def build(*flags, environment=None):
        return client('build', *flags, context, environment={'BUILDKIT_PROGRESS': 'plain', **(environment or {})})
    done = build('--check')
    assert done.code == 1 and done.out.startswith('Check complete, 7 warnings have been found!\n\nWARNING: '), done.out
    assert {tuple(m) for m in re.findall(r'^WARNING: (\w+).*?^Dockerfile:(\d+)$', done.out, re.M | re.S)} == {(n, str(line)) for n, line in EXPECTED}
    assert found({'result.json': build('--call=check,format=json').out}) == EXPECTED
    assert build('--call=check,ignorestatus=true').code == 0
    assert build('--call', 'targets').out == 'TARGET        DESCRIPTION\none           the first of two\ntwo (default) \n'
    outline = build('--call=outline', '--target', 'one').out
    assert outline == ('TARGET:      one\nDESCRIPTION: the first of two\n\nBUILD ARG   VALUE   DESCRIPTION\nNAME        you     whom it greets\n\n'
                       'SECRET   REQUIRED\nkey      true\n\n')
    for flags, why in ((['--call=what'], 'invalid value "what" for --call'), (['--call=check,format=x'], 'invalid option "format=x"'),
                       (['--check', '--call=outline'], 'cannot combine')):
        bad = build(*flags)
        assert bad.code == 1 and why in bad.err, (flags, bad.err)
    (context / 'Dockerfile').write_text(f'FROM {IMAGE}\nCMD x\n')
    done = build()
    assert done.code == 0 and '\n 1 warning found (--check shows the lines):\n - JSONArgsRecommended: ' in done.err and done.err.endswith('(line 2)\n'), done.err
    raw = [json.loads(line) for line in build('--progress', 'rawjson').err.splitlines()]
    warning, = [w for one in raw for w in one.get('warnings', [])]
    assert base64.b64decode(warning['short']).startswith(b'JSONArgsRecommended: ') and warning['range'] == [{'start': {'line': 2}, 'end': {'line': 2}}]
    assert 'warning' not in build('-q').err
    (context / 'Dockerfile').write_text(f'FROM {IMAGE}\nCMD ["x"]\n')
    done = build('--check')
    assert done.code == 0 and done.out == 'Check complete, no warnings found.\n'
    (context / 'Dockerfile').write_text(f'FROM {IMAGE}\nBAD\n')
    done = build('--check')
    assert done.code == 1 and 'dockerfile parse error on line 2: unknown instruction: BAD (did you mean ADD?)' in done.err


def test_syntax_lines(builder, session, context):
    """docker's front end is not fetched: the one that is here answers for it. Another one is (tests/interop/test_frontends.py)."""
    for line in ('docker/dockerfile:1', 'docker.io/docker/dockerfile:1.7-labs', 'mirror.example.com:5000/docker/dockerfile:1', 'docker/dockerfile-upstream:master'):
        (context / 'Dockerfile').write_text(f'# syntax={line}\nFROM {IMAGE}\nRUN true\n')
        builder.build(session, exporters=[])[0].result()
    (context / 'Dockerfile').write_text(f'# syntax=127.0.0.1:9/other/frontend:1 with words\nFROM {IMAGE}\n')
    solve, _ = builder.build(session, exporters=[])
    with pytest.raises(grpc.RpcError) as caught:
        solve.result()
    assert 'failed to connect to 127.0.0.1' in caught.value.details()
    # The argument comes before the line.
    builder.build(session, {'build-arg:BUILDKIT_SYNTAX': 'docker/dockerfile:1'}, exporters=[])[0].result()


def manifest_of(archive):
    files = archive_files(archive)
    index = json.loads(files['index.json'])
    descriptor = index['manifests'][0]
    return json.loads(files['blobs/' + descriptor['digest'].replace(':', '/')]), descriptor


def archive_files(data):
    import io
    import tarfile
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}


def test_annotations(client, builder, session, context, tmp_path):
    (context / 'Dockerfile').write_text(f'FROM {IMAGE}\nENV A=b\n')
    wanted = {'annotation.plain': '1', 'annotation-manifest.m': '2', 'annotation-manifest-descriptor.d': '3', 'annotation-manifest[linux/s390x].no': '4'}
    solve, _ = builder.build(session, exporters=[{'Type': 'oci', 'Attrs': {'name': 'own/annotated:1', **wanted}}])
    told = solve.result().ExporterResponse
    manifest, descriptor = manifest_of(session.files[0][0])
    assert manifest['annotations'] == {'plain': '1', 'm': '2'}
    assert descriptor['annotations']['d'] == '3' and descriptor['annotations']['org.opencontainers.image.ref.name'] == '1'
    assert json.loads(base64.b64decode(told['containerimage.descriptor']))['annotations'] == {'d': '3'}
    for key, why in (('annotation-index.i', 'an image for one platform has no index to annotate'), ('annotation-x.y', 'unknown kind of annotation: x'),
                     ('annotation-manifest', 'invalid annotation key annotation-manifest'), ('annotation[no/such/platform/x].y', None)):
        solve = builder.control('Solve', Ref=uuid.uuid4().hex, Session=session.id, Frontend='dockerfile.v0', Exporters=[{'Type': 'moby', 'Attrs': {key: '1'}}])
        with pytest.raises(grpc.RpcError) as caught:
            solve.result()
        assert why is None or caught.value.details() == why
    # The client's flag; an image of the store keeps them, and one that is nothing but its base gets them.
    (context / 'Dockerfile').write_text(f'FROM {IMAGE}\n')
    done = client('build', '-t', 'own/annotated', '--annotation', 'a=b=c', '--annotation', 'manifest-descriptor,manifest:two=2',
                  '-o', f'type=oci,dest={tmp_path / "a.tar"}', '--load', context)
    assert done.code == 0, done.err
    manifest, descriptor = manifest_of((tmp_path / 'a.tar').read_bytes())
    assert manifest['annotations'] == {'a': 'b=c', 'two': '2'} and descriptor['annotations']['two'] == '2'
    client.ok('save', '-o', tmp_path / 's.tar', 'own/annotated')
    assert manifest_of((tmp_path / 's.tar').read_bytes())[0]['annotations'] == {'a': 'b=c', 'two': '2'}
    client.ok('rmi', 'own/annotated')
    for flag, why in (('x', 'expected "NAME=value"'), ('what:a=b', 'unknown type "what"'), ('=b', 'it has no name')):
        bad = client('build', '--annotation', flag, context)
        assert bad.code == 1 and why in bad.err, bad.err
