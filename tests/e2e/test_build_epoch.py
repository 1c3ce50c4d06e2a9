# SPDX-License-Identifier: Apache-2.0
"""SOURCE_DATE_EPOCH: the same image from the same sources, whenever it is built."""
import json
import os
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
