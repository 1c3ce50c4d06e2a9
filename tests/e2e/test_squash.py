# SPDX-License-Identifier: Apache-2.0
"""`build --squash`: on Debian's dockerd with --experimental, and on gantryd."""
import json

import pytest

from harness import places
from harness.client import Client
from harness.engine import Peer, Stack
from harness.places import IMAGE

DOCKERFILE = f"""FROM {IMAGE}
RUN echo one >/one && mkdir /d && echo kept >/d/kept
RUN echo big >/gone && chmod 600 /one
RUN rm /gone /bin/ls && echo two >/d/two
ENV A=b
"""


@pytest.fixture(scope='module', params=['peer', 'gantry'])
def client(request, tmp_path_factory):
    engine = Peer(number=9, arguments=['--experimental']) if request.param == 'peer' else Stack(number=9, arguments=['--experimental'])
    try:
        engine.start()
        made = Client('docker' if request.param == 'peer' else 'gantry', engine, tmp_path_factory.mktemp('home'))
        made.ok('load', '-i', places.IMAGE_TAR)
        yield made
    finally:
        engine.destroy()


def build(client, folder, dockerfile, tag, *flags):
    (folder / 'Dockerfile').write_text(dockerfile)
    return client.ok('build', *flags, '-t', tag, folder, timeout=180, environment={'DOCKER_BUILDKIT': '0'})


def image(client, name):
    return json.loads(client.ok('image', 'inspect', name))[0]


def history(client, name):
    return json.loads(client.engine.api('GET', f'/images/{name}/history')[1])


def test_all_of_the_build_is_one_layer(client, tmp_path):
    build(client, tmp_path, DOCKERFILE, 'plain')
    out = build(client, tmp_path, DOCKERFILE, 'squashed', '--squash')
    base, plain, squashed = (image(client, name) for name in (IMAGE, 'plain', 'squashed'))
    layers = squashed['RootFS']['Layers']
    assert layers[:-1] == base['RootFS']['Layers'] and len(plain['RootFS']['Layers']) == len(layers) + 2
    assert f'Successfully built {squashed["Id"][7:19]}' in out and squashed['Id'] != plain['Id']
    assert 'A=b' in squashed['Config']['Env'] and squashed['Config'] == {**plain['Config'], 'Image': squashed['Config'].get('Image')}
    # The same files, whatever way they came.
    listing = 'cd /; for f in one d/kept d/two gone bin/ls bin/cat; do stat -c "%n %a %s" $f; done 2>&1; cat one d/*'
    seen = client.ok('run', '--rm', 'squashed', 'sh', '-c', listing)
    assert seen == client.ok('run', '--rm', 'plain', 'sh', '-c', listing) and 'one 600 4' in seen and "'gone'" in seen and "'bin/ls'" in seen
    entries = history(client, 'squashed')
    assert len(entries) == len(history(client, 'plain')) + 1
    assert entries[0]['Comment'] == f'merge {plain["Id"]} to {base["Id"]}' and entries[0]['CreatedBy'] == ''
    assert [entry['Size'] for entry in entries[1:5]] == [0, 0, 0, 0] and entries[0]['Size'] > 0


def test_from_scratch(client, tmp_path):
    (tmp_path / 'a').write_text('a\n')
    (tmp_path / 'b').write_text('b\n')
    dockerfile = 'FROM scratch\nCOPY a /a\nCOPY b /b\n'
    build(client, tmp_path, dockerfile, 'two')
    build(client, tmp_path, dockerfile, 'one', '--squash')
    assert len(image(client, 'two')['RootFS']['Layers']) == 2 and len(image(client, 'one')['RootFS']['Layers']) == 1
    assert history(client, 'one')[0]['Comment'] == f'create new from {image(client, "two")["Id"]}'


def test_what_it_says_of_itself(client):
    info = json.loads(client.engine.api('GET', '/info')[1])
    version = json.loads(client.engine.api('GET', '/version')[1])
    assert info['ExperimentalBuild'] is True and version['Experimental'] is True
    assert version['Components'][0]['Details']['Experimental'] == 'true'
