# SPDX-License-Identifier: Apache-2.0
"""SOURCE_DATE_EPOCH: the same image from the same sources, whenever it is built."""
import http.server
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
import time
import uuid

import grpc
import pytest

from harness.buildkit import Session
from harness.client import Client
from harness.engine import until
from harness.places import IMAGE

EPOCH = 1_000_000_000
STAMP = '2001-09-09T01:46:40Z'


@pytest.fixture(scope='module')
def client(stack, home):
    return Client('gantry', stack, home)


@pytest.fixture
def context(tmp_path):
    """Files of now and of long ago."""
    folder = tmp_path / 'context'
    (folder / 'd').mkdir(parents=True)
    (folder / 'd/new').write_text('new\n')
    (folder / 'd/old').write_text('old\n')
    os.utime(folder / 'd/old', (981173106, 981173106))
    (folder / 'Dockerfile').write_text(f'FROM {IMAGE} AS one\nRUN mkdir -p /r/s && date >/dev/null && echo made >/r/s/f && ln -s f /r/s/l\n'
                                       f'FROM {IMAGE}\nARG SOURCE_DATE_EPOCH\nWORKDIR /w/x\nCOPY d /d/\nCOPY --from=one /r /r/\nADD d/new /n\n'
                                       'RUN echo "-$SOURCE_DATE_EPOCH-"; touch /late; rm /etc/group\nLABEL a=b\n')
    return folder


def built(builder, context, options, name=None):
    """Digests of manifest and configuration, built without any cache."""
    session = Session(builder.socket, {'context': context, 'dockerfile': context})
    exporters = [{'Type': 'oci'}] + ([{'Type': 'moby', 'Attrs': {'name': name}}] if name else [])
    solve, updates = builder.build(session, {'no-cache': '', **options}, exporters=exporters)
    solve.result()
    session.close()
    told = session.files[0][1]
    return told['containerimage.digest'], told['containerimage.config.digest'], b''.join(log.msg for u in updates for log in u.logs)


def wait_for_the_next_second():
    """Times in layers have whole seconds: two builds within one would be the same anyway."""
    now = int(time.time())
    until(lambda: int(time.time()) > now)


def test_the_same_digest_twice(client, builder, context):
    name = f'own/{uuid.uuid4().hex[:8]}'
    options = {'build-arg:SOURCE_DATE_EPOCH': str(EPOCH)}
    first = built(builder, context, options, name)
    assert first[2] == b'-%d-\n' % EPOCH
    image = json.loads(client.ok('image', 'inspect', name))[0]
    assert image['Id'] == first[1] and image['Created'] == STAMP
    stamps = {line.strip() for line in client.ok('history', '--human=false', '--format', '{{.CreatedAt}}', name).splitlines()[:7]}
    assert len(stamps) == 1 and stamps.pop().startswith('2001-09-09 01:46:40')
    # Files of the image here have those times, too.
    show = client.ok('run', '--rm', name, 'stat', '-c', '%n %Y', '/r', '/r/s/f', '/d/new', '/d/old', '/w/x', '/n', '/late')
    assert show.split('\n') == [f'{path} {981173106 if path == "/d/old" else EPOCH}'
                                for path in ('/r', '/r/s/f', '/d/new', '/d/old', '/w/x', '/n', '/late')]
    wait_for_the_next_second()
    (context / 'd/new').touch()
    assert built(builder, context, options)[:2] == first[:2]
    # Without it, or with another one, it is another image.
    assert built(builder, context, {})[0] != first[0]
    assert built(builder, context, {'build-arg:SOURCE_DATE_EPOCH': str(EPOCH + 1)})[0] != first[0]
    client.ok('rmi', name)


def test_the_classic_api(client, context):
    ids = []
    for _ in range(2):
        done = client('build', '-q', '--no-cache', '--build-arg', f'SOURCE_DATE_EPOCH={EPOCH}', str(context))
        assert done.code == 0, done.err
        ids.append(done.text)
        wait_for_the_next_second()
    assert ids[0] == ids[1]
    said = client.ok('build', '--build-arg', f'SOURCE_DATE_EPOCH={EPOCH}', str(context))
    assert 'were not consumed' not in said
    client.ok('rmi', '-f', ids[0])


def test_the_cache_knows_it(builder, context):
    """What was made without an epoch is not taken with one."""
    session = Session(builder.socket, {'context': context, 'dockerfile': context})
    cached = []
    for options in ({}, {}, {'build-arg:SOURCE_DATE_EPOCH': '7'}, {'build-arg:SOURCE_DATE_EPOCH': '7'}):
        solve, updates = builder.build(session, options, exporters=[])
        solve.result()
        cached.append(len({v.digest for u in updates for v in u.vertexes if v.cached}))
    session.close()
    assert cached[1] == cached[3] > 0 == cached[2]


@pytest.mark.parametrize('value', ['now', '-1', '99999999999999999', '1.5'])
def test_refused(builder, context, value):
    session = Session(builder.socket, {'context': context, 'dockerfile': context})
    solve, _ = builder.build(session, {'build-arg:SOURCE_DATE_EPOCH': value}, exporters=[])
    with pytest.raises(grpc.RpcError) as caught:
        solve.result()
    assert caught.value.details() == f'invalid SOURCE_DATE_EPOCH: {value}'
    session.close()


def created(client, builder, context, text, name, options=None, **session_arguments):
    """When the image of that Dockerfile was made, and what its commands wrote."""
    said = builder.commands(context, text, name, options=options, **session_arguments)
    return client.inspect(name, '{{.Created}}'), said


def test_the_dockerfile_says_when(client, builder, context):
    """Before the first FROM; the client's own argument is before it, and an empty one takes it away."""
    line = f'ARG SOURCE_DATE_EPOCH={EPOCH}\nFROM {IMAGE}\nARG SOURCE_DATE_EPOCH\nRUN echo "-$SOURCE_DATE_EPOCH-" # {uuid.uuid4().hex}\n'
    assert created(client, builder, context, line, 'own/says') == (STAMP, f'-{EPOCH}-\n')
    given = {'build-arg:SOURCE_DATE_EPOCH': '1000000001'}
    assert created(client, builder, context, line, 'own/says', given) == ('2001-09-09T01:46:41Z', '-1000000001-\n')
    taken_away = created(client, builder, context, line, 'own/says', {'build-arg:SOURCE_DATE_EPOCH': ''})
    assert taken_away[0] > '2020' and taken_away[1] == '--\n'
    for value in ('not-a-timestamp', '-1', str(1 << 40)):
        with pytest.raises(grpc.RpcError) as caught:
            builder.commands(context, f'ARG SOURCE_DATE_EPOCH={value}\nFROM {IMAGE}\n')
        assert f'invalid SOURCE_DATE_EPOCH: {value}' in caught.value.details()
    # Of a client's own directory nobody says a time.
    line = line.replace(str(EPOCH), 'context')
    local = created(client, builder, context, line, 'own/says')
    assert local[0] > '2020' and local[1] == '--\n'
    client.ok('rmi', 'own/says')


def commit(folder, seconds):
    environment = {**os.environ, 'GIT_CONFIG_GLOBAL': '/dev/null', 'GIT_COMMITTER_DATE': f'{seconds} +0200', 'GIT_AUTHOR_DATE': '981173106 +0000'}
    for words in (['init', '-qb', 'main'], ['add', '-A'], ['-c', 'user.name=n', '-c', 'user.email=e@x', 'commit', '-qm', 'm'], ['update-server-info']):
        subprocess.run(['git', '-C', str(folder), *words], check=True, env=environment)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files whose time is told only of names that end in ".dated"."""

    def send_header(self, key, value):
        if key != 'Last-Modified' or self.path.endswith('.dated'):
            super().send_header(key, value)

    def log_message(self, *arguments):
        pass


def test_what_has_a_time_says_when(stack, client, builder, context, tmp_path):
    """The context, a named one, or a stage of one file: a commit's time, an answer's, or an archive's newest file's."""
    web = tmp_path / 'web'
    (web / 'r').mkdir(parents=True)
    (web / 'r/Dockerfile').write_text(f'FROM {IMAGE}\nARG SOURCE_DATE_EPOCH\nRUN echo "-$SOURCE_DATE_EPOCH-"\nCOPY Dockerfile /f\nRUN stat -c %Y /f\n')
    commit(web / 'r', EPOCH)
    with tarfile.open(web / 'a.tar', 'w') as tar:
        for name, seconds in (('Dockerfile', EPOCH - 5), ('newest', EPOCH), ('directory', EPOCH + 5)):
            item = tarfile.TarInfo(name)
            item.mtime, data = seconds, (web / 'r/Dockerfile').read_bytes()
            item.type, item.size = (tarfile.DIRTYPE, 0) if name == 'directory' else (tarfile.REGTYPE, len(data))
            tar.addfile(item, io.BytesIO(data))
    shutil.copy(web / 'a.tar', web / 'a.dated')
    os.utime(web / 'a.dated', (EPOCH + 1, EPOCH + 1))
    server = stack.within(lambda: http.server.ThreadingHTTPServer(('127.0.0.1', 0), lambda *a: Handler(*a, directory=str(web))))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f'http://127.0.0.1:{server.server_port}'
    later = STAMP.replace('40Z', '41Z')
    session = Session(builder.socket, {'context': context, 'dockerfile': context})
    try:
        for remote, stamp, seconds, of_file in (('/r/.git', STAMP, EPOCH, EPOCH), ('/a.tar', STAMP, EPOCH, EPOCH - 5), ('/a.dated', later, EPOCH + 1, EPOCH - 5)):
            solve, updates = builder.build(session, {'context': url + remote, 'build-arg:SOURCE_DATE_EPOCH': 'context', 'no-cache': ''}, ['own/when'])
            solve.result()
            assert client.inspect('own/when', '{{.Created}}') == stamp, remote
            assert ''.join(log.msg.decode() for u in updates for log in u.logs).split() == [f'-{seconds}-', str(of_file)], remote
    finally:
        session.close()
    try:
        text = f'ARG SOURCE_DATE_EPOCH=dated\nFROM scratch AS dated\nARG URL={url}\nADD $URL/@ /\nFROM {IMAGE}\nENV A=b\n'
        for name, stamp in (('a.tar', STAMP), ('a.dated', later), ('r/.git', STAMP)):
            assert created(client, builder, context, text.replace('@', name), 'own/when')[0] == stamp, name
        named = f'ARG SOURCE_DATE_EPOCH=lib\nFROM {IMAGE}\nCOPY --from=lib @ /f\n'
        for remote, file, stamp in (('/a.dated', 'context', later), ('/a.tar', 'context', STAMP), ('/r/.git', 'Dockerfile', STAMP)):
            options = {'context:lib': url + remote}
            assert created(client, builder, context, named.replace('@', file), 'own/when', options)[0] == stamp, remote
        for stage, said in (('FROM scratch AS dated\nCOPY x /\n', 'does not meet source-only requirements: unsupported COPY instruction'),
                            (f'FROM {IMAGE} AS dated\nADD {url}/a.tar /\n', 'stage must use FROM scratch'),
                            ('FROM scratch AS dated\nADD x /\n', 'must be a single HTTP(S) or Git ADD'),
                            ('FROM scratch AS dated\nARG A\n', 'must contain exactly one remote ADD'),
                            (f'FROM scratch AS dated\nADD --checksum=sha256:{"0" * 64} {url}/a.tar /\n', 'digest mismatch')):
            with pytest.raises(grpc.RpcError) as caught:
                builder.commands(context, f'ARG SOURCE_DATE_EPOCH=dated\n{stage}FROM {IMAGE}\n')
            assert said in caught.value.details()
    finally:
        server.shutdown()
        server.server_close()
    client.ok('rmi', 'own/when')
