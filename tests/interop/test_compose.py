# SPDX-License-Identifier: Apache-2.0
"""docker-compose, Debian's 1.29, with a project of three services: it is its own client, so each engine is tried once."""
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import places
from harness.client import Client
from harness.engine import until

# Each command of docker-compose takes most of a second of processor time.
rare = pytest.mark.skipif(not places.SOAK, reason='in a soak only')
PROJECT = Path(__file__).parent / 'compose'


class Compose:
    def __init__(self, client, folder, project):
        self.client, self.folder, self.project = client, folder, project

    def __call__(self, *arguments, timeout=120):
        environment = {**self.client.environment, 'DOCKER_HOST': self.client.engine.host, 'COMPOSE_PROJECT_NAME': self.project}
        return subprocess.run(['/usr/bin/docker-compose', '--ansi', 'never', *arguments], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)

    def ok(self, *arguments):
        done = self(*arguments)
        assert done.returncode == 0, f'{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}'
        return done.stdout.strip()

    def one(self, service):
        return self.client.inspect(self.ok('ps', '-q', service), '{{.Name}}').lstrip('/')


projects = {}


@pytest.fixture
def compose(pair, request, home, tmp_path_factory):
    """The project of an engine, which lives until the last test takes it down: `client` would have the tests clean up one by
    one, and a fixture that depends on `pair` is made anew for each."""
    program, kind = pair.split(':')
    if program != 'docker':
        pytest.skip('docker-compose is its own client')
    if kind not in projects:
        client = Client(program, request.getfixturevalue({'gantry': 'stack', 'peer': 'peer'}[kind]), home)
        folder = tmp_path_factory.mktemp('project')
        shutil.copytree(PROJECT, folder, dirs_exist_ok=True)
        projects[kind] = Compose(client, folder, f't{os.getpid()}')
        projects[kind].ok('up', '-d')
    return projects[kind]


def test_up_waits_for_health(compose):
    """The service that depends on a healthy one began after the other was ready."""
    began = int(compose.ok('exec', '-T', 'db', 'cat', '/data/began'))
    started = compose.client.inspect(compose.one('api'), '{{.State.StartedAt}}')
    assert compose.client.inspect(compose.one('db'), '{{.State.Health.Status}}') == 'healthy'
    seconds = subprocess.run(['date', '-d', started, '+%s'], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert int(seconds) >= began + 1


def test_a_service_is_built(compose):
    assert compose.ok('exec', '-T', 'api', 'sh', '-c', 'echo $VERSION; cat /www/version').split() == ['7', '7']
    image = compose.client.inspect(compose.one('api'), '{{.Config.Image}}')
    assert image == f'{compose.project}_api' and compose.client.ok('images', '-q', image)
    built = compose.client.ok('images', '-q', image)
    assert 'Using cache' in compose.ok('build', 'api')
    assert compose.client.ok('images', '-q', image) == built


def test_ps(compose):
    rows = compose.ok('ps').splitlines()
    assert len(rows) == 5
    assert re.search(r'_api_1 .* Up +8080/tcp', rows[2]), rows
    assert re.search(r'_db_1 .* Up \(healthy\)', rows[3]), rows
    assert re.search(r'_web_1 .* Up +127\.0\.0\.1:\d+->80/tcp', rows[4]), rows
    assert sorted(compose.ok('ps', '--services').split()) == ['api', 'db', 'web']
    assert compose.ok('ps', '--services', '--filter', 'status=running').split() != []


@rare
def test_up_again_changes_nothing(compose):
    before = compose.ok('ps', '-q')
    assert 'up-to-date' in compose('up', '-d').stderr
    assert compose.ok('ps', '-q') == before


def test_logs(compose):
    until(lambda: 'api of compose is up' in compose.ok('logs', '--no-color', 'api'), 20)
    assert re.search(r'^api_1 +\| api of compose is up$', compose.ok('logs', '--no-color', '--tail=1', 'api'), re.M)


def test_exec_and_names(compose):
    assert compose.ok('exec', '-T', 'web', 'cat', '/etc/site.conf') == 'name=compose'
    assert compose.ok('exec', '-T', 'api', 'sh', '-c', 'echo word | nc storage 5432') == 'word'
    assert compose.ok('exec', '-T', 'web', 'wget', '-qO-', 'http://api:8080/') == compose.ok('exec', '-T', 'api', 'hostname')
    assert compose('exec', '-T', 'web', 'nc', '-w', '1', 'db', '5432').returncode != 0, 'it is on another network'
    assert compose('exec', '-T', 'web', 'sh', '-c', 'exit 7').returncode == 7


def test_port_and_volume(compose):
    compose.ok('exec', '-T', 'web', 'sh', '-c', 'echo page >/site/index.html')
    address = compose.ok('port', 'web', '80')
    assert compose.client.engine.inside('curl', '-s', f'http://{address}/').stdout == 'page\n'
    volume = json.loads(compose.client.ok('volume', 'inspect', f'{compose.project}_site'))[0]
    assert volume['Labels']['kind'] == 'pages' and volume['Labels']['com.docker.compose.project'] == compose.project


def test_run(compose):
    assert compose.ok('run', '--rm', '-T', 'api', 'sh', '-c', 'echo $NAME; echo there | nc db 5432') == 'compose\nthere'
    assert compose('run', '--rm', '-T', '--no-deps', 'api', 'sh', '-c', 'exit 5').returncode == 5
    assert '_run_' not in compose.client.ok('ps', '-a', '--format', '{{.Names}}')


@rare
def test_top_and_images(compose):
    assert 'httpd -f -p 80' in compose.ok('top', 'web')
    assert compose.ok('images').count('gantry/busybox') == 3


def test_scale(compose):
    compose.ok('up', '-d', '--scale', 'api=3')
    assert len(compose.ok('ps', '-q', 'api').split()) == 3
    found = until(lambda: len(names := {compose.ok('exec', '-T', 'web', 'sh', '-c', 'nslookup api 2>/dev/null | grep -c ^Address')}) and names, 20)
    assert int(found.pop()) >= 3
    compose.ok('up', '-d', '--scale', 'api=1')
    assert len(compose.ok('ps', '-q', 'api').split()) == 1


@rare
def test_pause_restart_kill(compose):
    compose.ok('pause', 'api')
    assert compose.client.inspect(compose.one('api'), '{{.State.Status}}') == 'paused'
    compose.ok('unpause', 'api')
    before = compose.client.inspect(compose.one('api'), '{{.State.StartedAt}}')
    compose.ok('restart', '-t', '0', 'api')
    assert compose.client.inspect(compose.one('api'), '{{.State.StartedAt}}') != before
    compose.ok('kill', '-s', 'KILL', 'api')
    until(lambda: compose.client.inspect(f'{compose.project}_api_1', '{{.State.Status}} {{.State.ExitCode}}') == 'exited 137', 20)
    compose.ok('up', '-d')


def test_stop_and_start(compose):
    compose.ok('stop')
    states = compose.client.ok('ps', '-a', '--filter', f'label=com.docker.compose.project={compose.project}', '--format', '{{.State}}')
    assert states.split() == ['exited'] * 3
    compose.ok('start')
    until(lambda: compose.client.inspect(compose.one('db'), '{{.State.Health.Status}}') == 'healthy', 20)
    assert compose.client.engine.inside('curl', '-s', f'http://{compose.ok("port", "web", "80")}/').stdout == 'page\n', 'the volume is kept'


def test_a_changed_service_is_made_anew(compose):
    file = compose.folder / 'docker-compose.yml'
    text = file.read_text()
    before = {s: compose.ok('ps', '-q', s) for s in ('db', 'api', 'web')}
    file.write_text(text.replace('NAME: compose', 'NAME: changed'))
    try:
        compose.ok('up', '-d')
        after = {s: compose.ok('ps', '-q', s) for s in ('db', 'api', 'web')}
        assert after['db'] == before['db'] and after['api'] != before['api']
        assert compose.ok('exec', '-T', 'api', 'sh', '-c', 'echo $NAME') == 'changed'
    finally:
        file.write_text(text)


def test_down_leaves_nothing(compose):
    compose.ok('down', '-v', '-t', '0', '--rmi', 'local')
    assert compose.client.ok('images', '-q', f'{compose.project}_api') == ''
    assert compose.client.ok('ps', '-aq', '--filter', f'label=com.docker.compose.project={compose.project}') == ''
    for kind in (['network', 'ls', '-q'], ['volume', 'ls', '-q']):
        assert compose.client.ok(*kind, '--filter', f'label=com.docker.compose.project={compose.project}') == ''
