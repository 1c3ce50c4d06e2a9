# SPDX-License-Identifier: Apache-2.0
"""Dockerfiles over BuildKit's API where its builds differ from the classic builder's, or go further. Debian's dockerd has no BuildKit
of that age: what is expected is what BuildKit's own integration tests expect."""
import http.server
import io
import os
import subprocess
import tarfile
import threading
import uuid

import grpc
import pytest

from harness.buildkit import Session
from harness.client import Client
from harness.places import IMAGE


@pytest.fixture(scope='module')
def client(stack, home):
    return Client('gantry', stack, home)


@pytest.fixture
def context(tmp_path):
    folder = tmp_path / 'context'
    folder.mkdir()
    for name in ('one', 'two'):
        (folder / name).write_text(name)
        with tarfile.open(folder / f'{name}.tar', 'w') as tar:
            item = tar.gettarinfo(folder / name, name)
            item.uid, item.gid = 5, 6
            tar.addfile(item, io.BytesIO(name.encode()))
    return folder


@pytest.fixture
def said(builder, context):
    """What the commands of a Dockerfile write; @ is the image."""
    def run(text, **options):
        return builder.commands(context, text.replace('@', IMAGE) + f'# {uuid.uuid4().hex}\n', **options)
    return run


def refused(run, *arguments, **options):
    with pytest.raises(grpc.RpcError) as caught:
        run(*arguments, **options)
    return caught.value.details()


def test_a_given_argument_needs_no_default(said):
    text = 'ARG BASE=${NOPE:?base}\nFROM $BASE\nARG A=${NOPE:?nothing}\nRUN echo "$A"\n'
    assert 'NOPE: base' in refused(said, text)
    assert 'NOPE: nothing' in refused(said, text, options={'build-arg:BASE': IMAGE})
    assert said(text, options={'build-arg:BASE': IMAGE, 'build-arg:A': 'given'}) == 'given\n'


def test_proxies_have_both_cases(said):
    text = 'FROM @\nRUN echo $HTTP_PROXY $http_proxy $NO_PROXY $no_proxy\n'
    assert said(text, options={'build-arg:http_proxy': 'p', 'build-arg:NO_PROXY': 'n'}) == 'p p n n\n'


@pytest.mark.parametrize('options', [{'hostname': 'foo'}, {'build-arg:BUILDKIT_SANDBOX_HOSTNAME': 'foo'},
                                     {'hostname': 'bar', 'build-arg:BUILDKIT_SANDBOX_HOSTNAME': 'foo'}])
def test_the_name_of_steps(said, options):
    assert said(f'FROM @\nRUN hostname; echo $HOSTNAME; grep -c foo /etc/hosts; : {uuid.uuid4().hex}\n', options=options) == 'foo\nfoo\n1\n'


def test_a_stage_that_a_variable_names(said):
    text = 'ARG WHICH=one\nFROM @ AS stage-one\nRUN echo 1 >/w\nFROM @ AS stage-two\nRUN echo 2 >/w\nFROM stage-$WHICH\nRUN cat /w\n'
    assert said(text) == '1\n' and said(text, options={'build-arg:WHICH': 'two'}) == '2\n'


def test_triggers_of_a_stage_need_others(said):
    assert said('FROM @ AS source\nRUN echo 12 >/file\nFROM @ AS base\nONBUILD COPY --from=source /file /out\n'
                'FROM base AS middle\nRUN cp /out /copy\nFROM @\nCOPY --from=middle /copy /c\nRUN cat /c\n') == '12\n'


def test_triggers_of_an_image_need_stages(client, builder, said):
    """Which nothing in the Dockerfile itself names, one of a chain of them."""
    for trigger in ('COPY --from=source /file /out', 'RUN --mount=from=source,target=/m cp /m/file /out'):
        client.ok('build', '-t', 'own/trigger', '-', stdin=f'FROM {IMAGE}\nONBUILD {trigger}\n'.encode())
        mark = uuid.uuid4().hex
        text = f'FROM @ AS first\nRUN echo {mark} >/f\nFROM first AS source\nRUN cp /f /file\nFROM own/trigger\nRUN cat /out\n'
        assert said(text) == mark + '\n'
        with pytest.raises(grpc.RpcError) as caught:
            said(text.replace('cp /f', 'cp /nothing'))
        assert 'cp /nothing /file' in caught.value.details()
    client.ok('rmi', 'own/trigger')


def test_a_file_in_lower_case(builder, context):
    (context / 'dockerfile').write_text(f'FROM {IMAGE}\n')
    session = Session(builder.socket, {'context': context, 'dockerfile': context})
    try:
        builder.build(session, exporters=[])[0].result()
        with pytest.raises(grpc.RpcError) as caught:
            builder.build(session, {'filename': 'Other'}, exporters=[])[0].result()
    finally:
        session.close()
    assert 'failed to read dockerfile: open Other: no such file or directory' in caught.value.details()


def test_contexts_without_slashes_and_of_nothing(said):
    assert said('FROM base\nRUN echo here\n', options={'context:base': f'docker-image:{IMAGE}'}) == 'here\n'
    assert said('FROM other AS nothing\nCOPY one /one\nFROM @\nCOPY --from=nothing / /n/\nRUN ls /n\n',
                options={'context:other': 'docker-image://scratch'}) == 'one\n'


def test_archives_of_a_wildcard(said):
    assert said('FROM @\nADD *.tar /dest\nRUN cd /dest; stat -c "%n %u" one two\n') == 'one 5\ntwo 5\n'
    assert said('FROM @\nADD --chown=7:8 one.tar /dest\nRUN stat -c "%u %g" /dest/one\n') == '7 8\n'
    assert 'must be a directory and end with a /' in refused(said, 'FROM @\nCOPY o* t* /dest\n')


def test_missing_directories_get_the_mode(said):
    assert said('FROM @\nCOPY --chmod=770 one /a/b/one\nCOPY one /c/one\nRUN stat -c "%n %a" /a /a/b /c\n') == '/a 770\n/a/b 770\n/c 755\n'


def test_parents_below_wildcards(said):
    made = 'FROM @ AS m\nRUN mkdir -p /t/b/c/e /t/b2/c/e /t/x && touch /t/b/c/e/bay /t/b2/c/e/bar /t/x/no\nFROM @\n'
    assert said(made + 'COPY --from=m --parents /t/b*/./c/*/ba? /out/\nRUN cd /out; find . -type f | sort\n') == './c/e/bar\n./c/e/bay\n'
    assert 'not found' in refused(said, made + 'COPY --from=m --parents /t/b*/./nope /out/\n')


@pytest.mark.parametrize('compressed', [False, True])
def test_a_context_on_standard_input(client, stack, builder, compressed):
    """It comes over the session, from a host that there is not: an archive, or a Dockerfile alone."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode='w:gz' if compressed else 'w') as tar:
        for name, text in (('Dockerfile', f'FROM {IMAGE}\nCOPY one /one\n'), ('one', 'from the archive')):
            item = tarfile.TarInfo(name)
            item.size = len(text)
            tar.addfile(item, io.BytesIO(text.encode()))
    session = Session(stack.socket, {}, uploads={'/a1': archive.getvalue(), '/b2': f'FROM {IMAGE}\nENV A=b\n'.encode()})
    try:
        builder.build(session, {'context': 'http://buildkit-session/a1'}, ['own/stdin'])[0].result()
        assert client.ok('run', '--rm', 'own/stdin', 'cat', '/one') == 'from the archive'
        builder.build(session, {'context': 'http://buildkit-session/b2'}, ['own/stdin'])[0].result()
        assert client.ok('run', '--rm', 'own/stdin', 'sh', '-c', 'echo $A').strip() == 'b'
        with pytest.raises(grpc.RpcError) as caught:
            builder.build(session, {'context': 'http://buildkit-session/a1'}, ['own/stdin'])[0].result()
        assert 'fetching the build context' in caught.value.details() and 'no http response from session' in caught.value.details()
    finally:
        session.close()


def test_git_from_a_server_of_files(stack, said, tmp_path):
    """Servers without git's own program know no shallow copies."""
    work = tmp_path / 'web/r.git'
    work.mkdir(parents=True)
    environment = {**os.environ, 'GIT_CONFIG_GLOBAL': '/dev/null'}
    for words in (['init', '-q', '-b', 'main'], ['add', '-A'], ['-c', 'user.name=n', '-c', 'user.email=e@x', 'commit', '-qm', 'm', '--allow-empty']):
        (work / 'f').write_text('from files')
        subprocess.run(['git', '-C', str(work), *words], check=True, env=environment)
    subprocess.run(['git', '-C', str(work), 'update-server-info'], check=True, env=environment)
    handler = type('Handler', (http.server.SimpleHTTPRequestHandler,), {
        '__init__': lambda self, *a: http.server.SimpleHTTPRequestHandler.__init__(self, *a, directory=str(work / '.git')),
        'translate_path': lambda self, path: http.server.SimpleHTTPRequestHandler.translate_path(self, path.removeprefix('/r.git')),
        'log_message': lambda *_: None})
    server = stack.within(lambda: http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert said(f'FROM @\nADD http://127.0.0.1:{server.server_port}/r.git#main /g\nRUN cat /g/f\n') == 'from files'
    finally:
        server.shutdown()
        server.server_close()


def test_directories_belong_to_the_user_and_volumes_keep(client, builder, context, said):
    """As BuildKit has it; the classic builder gives WORKDIR to root, and drops what is changed in a volume."""
    text = ('FROM @\nRUN echo me:x:12:34::/:/bin/sh >>/etc/passwd; echo me:x:34: >>/etc/group; mkdir /v; echo old >/v/f; chmod 777 /v\n'
            'USER me\nWORKDIR /a/b\nUSER 7:8\nWORKDIR /c\nUSER 0\nVOLUME /v\nRUN echo new >/v/f\nRUN stat -c "%u:%g" /a /a/b /c; cat /v/f\n')
    assert said(text).split() == ['12:34', '12:34', '7:8', 'new']
    (context / 'Dockerfile').write_text(text.replace('@', IMAGE))
    done = client('build', '-t', 'own/classic', context, environment={'DOCKER_BUILDKIT': '0'})
    assert done.code == 0, done.err
    # Both ways have keys of their own.
    assert '\n0:0\n0:0\n0:0\nold\n' in done.text, done.text
    assert said(text + f'RUN cat /v/f # {uuid.uuid4().hex}\n') == 'new\n'
    client.ok('rmi', 'own/classic')
