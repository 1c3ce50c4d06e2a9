# SPDX-License-Identifier: Apache-2.0
"""config.json, contexts and credentials: docker's CLI and ours do the same to directories of their own, and read
each other's. No engine is needed but for login, TLS and ssh."""
import base64
import io
import json
import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import tarfile
import threading

import pytest

from harness.client import programs

NAMES = ('docker-new', 'gantry')


class Side:
    """One command line with a home of its own."""

    def __init__(self, name, home):
        self.name, self.home = name, home
        self.config = home / 'config'
        (home / 'work').mkdir(parents=True)
        self.environment = {'PATH': os.environ['PATH'], 'HOME': str(home), 'DOCKER_CONFIG': str(self.config)}

    def __call__(self, line, stdin='', **environment):
        words = shlex.split(line) if isinstance(line, str) else line
        done = subprocess.run([programs()[self.name], *words], input=stdin, capture_output=True, text=True, timeout=30,
                              cwd=self.home / 'work', env={**self.environment, **environment})
        return done.returncode, self.plain(done.stdout), self.plain(done.stderr)

    def plain(self, text):
        for theirs, ours in ((str(self.home), 'HOME'), ('unix:///run/gantry/gantry.sock', 'unix:///var/run/docker.sock'),
                             ('GANTRY_', 'DOCKER_'), ('\\u003c', '<'), ('\\u003e', '>'),
                             ('SRun', 'Run')):  # a slip of docker 28
            text = text.replace(theirs, ours)
        lines = text.split('\n')
        if len(lines) > 2 and lines[0].startswith('NAME ') and 'ENDPOINT' in lines[0]:
            return '\n'.join(' '.join(line.split()) for line in lines)  # the socket's name has another length
        return text.replace('docker', 'gantry')

    def file(self):
        path = self.config / 'config.json'
        return json.loads(path.read_text()) if path.exists() else {}

    def tree(self):
        found = {}
        for folder, _, files in os.walk(self.config / 'contexts'):
            for name in files:
                path = os.path.join(folder, name)
                text = open(path).read()
                found[os.path.relpath(path, self.config)] = (stat.S_IMODE(os.stat(path).st_mode),
                                                            json.loads(text) if name == 'meta.json' else text)
        return found


@pytest.fixture
def sides(tmp_path):
    if 'docker-new' not in programs():
        pytest.skip('docker 28, whose wording ours follows, is not on this machine')
    return [Side(name, tmp_path / name) for name in NAMES]


CONTEXTS = """
context ls
context ls --format json
context show
context inspect
context inspect nosuch
context inspect default nosuch
context use nosuch
context use default
context create
context create a
context create 'b?'
context create default
context create aa --docker host=tcp://1.2.3.4:5 --description dd
context create aa
context create bb --docker host=foo
context create cc --docker foo=bar
context create dd --from aa --description 'D D'
context create ee --from nosuch
context create ff --from aa --docker host=tcp://9
context create gg --docker host=tcp://x:1,ca=/nosuch
context create gg --docker host=tcp://x:1,ca=/etc/passwd
context create gg --docker host=tcp://x:1,ca=CA,skip-tls-verify=true
context create hh --docker from=aa
context inspect gg
context ls -q
context ls
context ls --format '{{.Name}}|{{.Description}}|{{.DockerEndpoint}}|{{.Current}}|{{.Error}}'
context use aa
context show
context inspect
context inspect -f '{{.Name}} {{.Endpoints.docker.Host}}' aa dd
context rm aa
context rm nosuch
context rm -f nosuch
context rm default
context update nosuch
context update aa
context update aa --description x --docker host=tcp://5.5.5.5:1
context inspect aa
context export dd
context export dd
context export gg gg.tar
context export nosuch
context import ii dd.dockercontext
context import ii dd.dockercontext
context import jj gg.tar
context import kk nosuch
context import default gg.tar
context inspect ii jj
context rm -f aa
context show
context rm dd ii nosuch
context ls -q
-c nosuch ps
-c jj -H tcp://x ps
-H a://x ps
-H tcp://a -H tcp://b ps
-l foo ps
"""


def test_contexts_are_dockers(sides, tmp_path):
    for side in sides:
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=x', '-keyout', '/dev/null', '-out',
                        side.home / 'ca.pem'], check=True, capture_output=True)
    shutil.copy(sides[0].home / 'ca.pem', sides[1].home / 'ca.pem')
    for line in CONTEXTS.strip().split('\n'):
        theirs, ours = (side(line.replace('CA', str(side.home / 'ca.pem'))) for side in sides)
        assert ours == theirs, line
        assert sides[1].tree() == sides[0].tree(), line
        assert sides[1].file().get('currentContext') == sides[0].file().get('currentContext'), line


def test_each_uses_the_others_contexts(sides):
    for maker, user in (sides, sides[::-1]):
        assert maker(f'context create from-{maker.name} --docker host=tcp://127.0.0.1:9 --description {maker.name}')[0] == 0
        assert maker(f'context use from-{maker.name}')[0] == 0
        theirs = user('context ls', DOCKER_CONFIG=str(maker.config))
        assert f'from-{maker.name} * {maker.name} tcp://127.0.0.1:9' in theirs[1].replace('gantry', maker.name) or \
            f'from-{maker.name} * {maker.name}' in theirs[1]
        assert 'tcp://127.0.0.1:9' in user('ps', DOCKER_CONFIG=str(maker.config))[2]


def test_other_endpoints_of_a_context_are_kept(sides, tmp_path):
    """Files of an endpoint that neither uses, as docker's own archives of older days have them."""
    archive = tmp_path / 'old.tar'
    with tarfile.open(archive, 'w') as tar:
        for name, text in (('meta.json', json.dumps({'Name': 'old', 'Metadata': {}, 'Endpoints': {'docker': {'Host': 'tcp://h:1', 'SkipTLSVerify': False}}})),
                           ('tls/docker/ca.pem', 'CA'), ('tls/kubernetes/ca.pem', 'KUBE CA'), ('tls/kubernetes/key.pem', 'KUBE KEY')):
            item = tarfile.TarInfo(name)
            item.size, item.mode = len(text), 0o600
            tar.addfile(item, io.BytesIO(text.encode()))
    for line in (f'context import old {archive}', 'context export old back.tar', 'context import again back.tar', 'context rm old', 'context inspect again'):
        theirs, ours = (side(line) for side in sides)
        assert ours == theirs, line
        assert sides[1].tree() == sides[0].tree(), line
    assert any('kubernetes/key.pem' in path for path in sides[1].tree())


def test_the_environment_overrides_a_context(sides):
    for side in sides:
        side('context create aa --docker host=tcp://127.0.0.1:9')
    seen = [[side('context use aa', DOCKER_HOST='tcp://127.0.0.1:7'), side('context show', DOCKER_HOST='tcp://127.0.0.1:7'),
             side('context ls', DOCKER_HOST='tcp://127.0.0.1:7'), side('context show', DOCKER_CONTEXT='other'),
             side('context ls', DOCKER_CONTEXT='aa')[1], side('ps', DOCKER_CONTEXT='other')] for side in sides]
    assert seen[1] == seen[0]


HELPER = """#!/usr/bin/env python3
import json, os, sys
path = os.environ['HOME'] + '/secrets.json'
known = json.load(open(path)) if os.path.exists(path) else {}
said = sys.stdin.read()
open(os.environ['HOME'] + '/calls', 'a').write(sys.argv[1] + ' ' + said + '\\n')
if sys.argv[1] == 'store':
    item = json.loads(said)
    known[item['ServerURL']] = item
elif sys.argv[1] == 'erase':
    known.pop(said.strip(), None)
elif said.strip() not in known:
    print('credentials not found in native keychain')
    sys.exit(1)
else:
    print(json.dumps(known[said.strip()]))
json.dump(known, open(path, 'w'))
"""


@pytest.mark.parametrize('kind', ['file', 'credsStore', 'credHelpers', 'unknown'])
def test_logout_keeps_what_it_does_not_know(sides, kind):
    states = []
    for side in sides:
        side.config.mkdir()
        (side.home / 'bin').mkdir()
        helper = side.home / 'bin/docker-credential-test'
        helper.write_text(HELPER)
        helper.chmod(0o755)
        environment = {'PATH': f'{side.home}/bin:{os.environ["PATH"]}'}
        config = {'auths': {'r.example': {'auth': base64.b64encode(b'u:p').decode()}, 'other.example': {}}, 'future': {'a': [1]}, 'psFormat': 'x'}
        if kind == 'credsStore':
            config['credsStore'] = 'test'
        if kind == 'credHelpers':
            config['credHelpers'] = {'r.example': 'test'}
        path = side.config / 'config.json'
        path.write_text(json.dumps(config))
        path.chmod(0o600)
        server = 'nobody.example' if kind == 'unknown' else 'r.example'
        done = side(f'logout {server}', **environment)
        calls = set((side.home / 'calls').read_text().split('\n')) if (side.home / 'calls').exists() else set()
        states.append((done, {k: v for k, v in side.file().items() if k != 'future'}, calls))
        if side.name == 'gantry':
            assert side.file()['future'] == {'a': [1]}
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert states[1] == states[0]


@pytest.mark.parametrize('line', ['login', 'login -u a', 'login -u a -p b --password-stdin', 'login --password-stdin', 'login a b', 'logout a b'])
def test_login_refuses_in_the_same_words(sides, line):
    theirs, ours = (side(line) for side in sides)
    assert ours == theirs


def test_a_broken_config_is_told(sides):
    for side in sides:
        side.config.mkdir()
        (side.config / 'config.json').write_text('{')
    code, _, error = sides[1]('context use default')
    assert code == 1 and 'loading config file' in error and 'config.json' in error
    assert (sides[1].config / 'config.json').read_text() == '{'


class Recorder(threading.Thread):
    """An engine that keeps the heads of requests and refuses all but the first question."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.socket, self.heads = socket.socket(socket.AF_UNIX), []
        self.socket.bind(path)
        self.socket.listen()
        self.start()

    def run(self):
        while True:
            connection, _ = self.socket.accept()
            with connection:
                while head := self.head(connection):
                    self.heads.append(head)
                    ping = '/_ping' in head
                    body = 'OK' if ping and head.startswith('GET') else '' if ping else '{"message":"recorded"}'
                    connection.sendall(f'HTTP/1.1 {200 if ping else 400} X\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}'.encode())

    @staticmethod
    def head(connection):
        text = b''
        while b'\r\n\r\n' not in text:
            piece = connection.recv(4096)
            if not piece:
                return ''
            text += piece
        return text.decode()


def sent(recorder, name):
    """What that header said in the last request, all of them."""
    return [line.partition(': ')[2] for line in recorder.heads[-1].split('\r\n') if line.lower().startswith(name.lower() + ':')]


def test_headers_of_the_users_own(sides, tmp_path):
    """config.json's, or those of the environment in their place; and a login of the environment before any other."""
    recorder = Recorder(str(tmp_path / 'engine'))
    logins = json.dumps({'auths': {'r.example': {'auth': base64.b64encode(b'env:secret').decode()}}})
    seen = []
    for side in sides:
        side.config.mkdir()
        (side.config / 'config.json').write_text(json.dumps({'HttpHeaders': {'X-Mine': 'file', 'X-Other': 'file'},
                                                             'auths': {'r.example': {'auth': base64.b64encode(b'file:secret').decode()}}}))
        environment = {'DOCKER_HOST': f'unix://{tmp_path}/engine'}
        found = []
        for custom in ({}, {'DOCKER_CUSTOM_HEADERS': 'X-Mine=env,"X-More=a,b"'}, {'DOCKER_CUSTOM_HEADERS': 'nothing'}):
            done = side('volume ls', **environment, **custom)
            found.append((done, *(sent(recorder, name) for name in ('X-Mine', 'X-Other', 'X-More'))))
        for extra in ({}, {'DOCKER_AUTH_CONFIG': logins}):
            side('push r.example/a:b', **environment, **extra)
            auth = json.loads(base64.urlsafe_b64decode(sent(recorder, 'X-Registry-Auth')[0] + '=='))
            found.append((auth['username'], auth['password'], auth['serveraddress']))
        seen.append(found)
    assert seen[1][0][1:] == (['file'], ['file'], []) and seen[1][1][1:] == (['env'], [], ['a,b'])
    assert seen[1][3] == ('file', 'secret', 'r.example') and seen[1][4] == ('env', 'secret', 'r.example')
    # docker 28.2 dies of custom headers that can't be read, and reads DOCKER_AUTH_CONFIG since 28.3.
    assert (seen[1][0], seen[1][1], seen[1][3]) == (seen[0][0], seen[0][1], seen[0][3])
    assert seen[1][2][0][0] == 1 and 'failed to parse custom headers' in seen[1][2][0][2]


@pytest.mark.parametrize('line', ['stop', 'start', 'logs', 'wait', 'top', 'pause', 'restart', 'port', 'export', 'attach', 'inspect', 'container inspect', 'image inspect',
                                  'network rm', 'network inspect', 'volume rm', 'volume inspect', 'run', 'create', 'create -v'])
def test_an_empty_name_names_nothing(sides, tmp_path, line):
    """As of a script's variable that is not set: without its name a path asks for the list of all."""
    recorder = Recorder(str(tmp_path / 'engine'))
    words = [*line.split(), ''] + (['alpine'] if line.endswith('-v') else [])
    theirs, ours = (side(words, DOCKER_HOST=f'unix://{tmp_path}/engine') for side in sides)
    assert ours[0] != 0 and ours == theirs
    assert not [head for head in recorder.heads if '/_ping' not in head.split('\r\n')[0]]


def test_what_is_no_image_may_be_another_object(sides, tmp_path):
    class Strict(Recorder):
        def run(self):
            while True:
                connection, _ = self.socket.accept()
                with connection:
                    while head := self.head(connection):
                        status, message = (400, 'invalid reference format') if '/images/' in head else (404, 'no such thing')
                        body = 'OK' if '/_ping' in head else json.dumps({'message': message})
                        connection.sendall(f'HTTP/1.1 {200 if "/_ping" in head else status} X\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n'
                                           f'Content-Length: {len(body)}\r\n\r\n{"" if head.startswith("HEAD") else body}'.encode())
    Strict(str(tmp_path / 'engine'))
    code, out, error = sides[1]('inspect FooBar', DOCKER_HOST=f'unix://{tmp_path}/engine')
    assert (code, out) == (1, '[]\n') and 'No such object: FooBar' in error


@pytest.mark.parametrize('flags', ['--tls', '--tlsverify', '--tlsverify=false'])
def test_tls_wants_an_authority(sides, flags):
    theirs, ours = (side(f'{flags} -H tcp://127.0.0.1:1 ps') for side in sides)
    assert ours == theirs and 'ca.pem: no such file or directory' in ours[2]


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_breaking_off_at_the_question_is_a_no(sides, tmp_path, number):
    Recorder(str(tmp_path / 'engine'))
    seen = []
    for side in sides:
        process = subprocess.Popen([programs()[side.name], 'volume', 'prune'], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   env={**side.environment, 'DOCKER_HOST': f'unix://{tmp_path}/engine'})
        text = b''
        while not text.endswith(b'[y/N] '):
            text += process.stdout.read(1)
        process.send_signal(number)
        seen.append((process.wait(10), process.stdout.read()))
        process.stdin.close()
    assert seen[1] == seen[0] == (0, b'\n')
