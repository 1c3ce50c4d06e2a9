# SPDX-License-Identifier: Apache-2.0
"""run --use-api-socket: the container gets the engine's socket and the user's credentials, as with docker 28."""
import base64
import json

import pytest

from harness import places
from harness.client import Client

AUTH = base64.b64encode(b'user:secret').decode()


@pytest.fixture
def gantry(stack, tmp_path):
    (tmp_path / 'config.json').write_text(json.dumps({'auths': {'registry.test:5000': {'auth': AUTH}}, 'psFormat': 'x'}))
    return Client('gantry', stack, tmp_path)


def test_socket_and_credentials(gantry):
    said = gantry.ok('run', '--rm', '--use-api-socket', places.IMAGE, 'sh', '-c',
                     'test -S /var/run/docker.sock && echo $DOCKER_CONFIG && stat -c %a $DOCKER_CONFIG/config.json && cat $DOCKER_CONFIG/config.json')
    place, mode, text = said.split('\n', 2)
    assert (place, mode) == ('/run/secrets/docker', '600')
    assert json.loads(text) == {'auths': {'registry.test:5000': {'auth': AUTH}}}


def test_a_config_of_the_users_own_stays(gantry):
    said = gantry.ok('run', '--rm', '--use-api-socket', '-e', 'DOCKER_CONFIG=/own', places.IMAGE, 'sh', '-c',
                     'test -S /var/run/docker.sock; echo $? $DOCKER_CONFIG; ls -d /run/secrets 2>/dev/null || echo none')
    assert said.split('\n') == ['0 /own', 'none']


def test_the_socket_works_inside(gantry, stack):
    """busybox speaks HTTP enough."""
    gantry.ok('create', '--use-api-socket', '--name', 'inside', places.IMAGE)
    [mount] = json.loads(gantry.ok('inspect', '-f', '{{json .Mounts}}', 'inside'))
    assert (mount['Source'], mount['Destination'], mount['Type'], mount['RW']) == (stack.socket, '/var/run/docker.sock', 'bind', True)
    gantry.ok('rm', 'inside')
