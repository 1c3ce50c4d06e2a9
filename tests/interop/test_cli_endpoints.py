# SPDX-License-Identifier: Apache-2.0
"""Ways to an engine: TLS with and without verification, ssh, a login at a registry. docker's CLI goes each of them
first, to the same daemon."""
import json
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from harness import places
from harness.client import Client, programs
from harness.engine import Peer, until
from harness.registry import Registry, free_port, make_authority, openssl

IMAGE = places.IMAGE
NAMES = [name for name in ('docker-new', 'gantry') if name in programs()]


@pytest.fixture(scope='module')
def authority():
    folder = Path(tempfile.mkdtemp(prefix='gt-tls-'))
    make_authority(folder)
    openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=client', '-keyout', folder / 'key.pem', '-out', folder / 'client.csr')
    (folder / 'client.ext').write_text('extendedKeyUsage=clientAuth\n')
    openssl('x509', '-req', '-in', folder / 'client.csr', '-CA', folder / 'ca.pem', '-CAkey', folder / 'ca.key', '-CAcreateserial', '-days', '2',
            '-extfile', folder / 'client.ext', '-out', folder / 'cert.pem')
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope='module')
def tls_peer(authority):
    engine = Peer(3, ['-H', 'tcp://127.0.0.1:2376', '--tlsverify', '--tlscacert', str(authority / 'ca.pem'), '--tlscert',
                      str(authority / 'tls.pem'), '--tlskey', str(authority / 'tls.key')])
    try:
        engine.start()
        engine.load_image()
        yield engine
    finally:
        engine.destroy()


def run(engine, name, *words, stdin=None, **environment):
    """In the engine's network namespace, where its tcp ports are."""
    with tempfile.TemporaryDirectory(prefix='gt-home-') as home:
        done = subprocess.run(['nsenter', f'--net={engine.names.netns}', programs()[name], *map(str, words)], input=stdin or b'',
                              capture_output=True, timeout=60, env={'PATH': os.environ['PATH'], 'HOME': home, **environment})
    return done


@pytest.mark.parametrize('name', NAMES)
def test_tls(tls_peer, authority, name):
    flags = ['-H', 'tcp://127.0.0.1:2376', '--tlsverify', '--tlscacert', authority / 'ca.pem', '--tlscert', authority / 'cert.pem',
             '--tlskey', authority / 'key.pem']
    assert run(tls_peer, name, *flags, 'version', '--format', '{{.Server.Version}}').returncode == 0
    # A hijacked stream, megabytes both ways, and its half-close.
    data = bytes(range(256)) * 8192
    done = run(tls_peer, name, *flags, 'run', '--rm', '-i', IMAGE, 'cat', stdin=data)
    assert (done.returncode, done.stdout == data) == (0, True), done.stderr
    assert run(tls_peer, name, *flags, 'run', '--rm', IMAGE, 'sh', '-c', 'exit 7').returncode == 7


@pytest.mark.parametrize('name', NAMES)
def test_tls_by_the_environment(tls_peer, authority, name):
    environment = {'DOCKER_HOST': 'tcp://127.0.0.1:2376', 'DOCKER_TLS_VERIFY': '1', 'DOCKER_CERT_PATH': str(authority)}
    assert run(tls_peer, name, 'ps', **environment).returncode == 0
    del environment['DOCKER_TLS_VERIFY']
    assert run(tls_peer, name, '--tls', 'ps', **environment).returncode == 0


@pytest.mark.parametrize('name', NAMES)
def test_tls_by_a_context(tls_peer, authority, name, tmp_path):
    environment = {'DOCKER_CONFIG': str(tmp_path)}
    spec = f'host=tcp://127.0.0.1:2376,ca={authority}/ca.pem,cert={authority}/cert.pem,key={authority}/key.pem'
    assert run(tls_peer, name, 'context', 'create', 'far', '--docker', spec, **environment).returncode == 0
    assert run(tls_peer, name, '-c', 'far', 'ps', **environment).returncode == 0
    # Each reads what the other has made.
    for other in NAMES:
        assert run(tls_peer, other, 'ps', DOCKER_CONTEXT='far', **environment).returncode == 0


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('case, said', [
    ('strangers', b'certificate'),      # a server that our authority has not signed
    ('nobody', b'certificate'),         # we have no certificate
    ('plain', b'HTTPS'),                # no TLS at all
    ('other name', b'certificate'),
])
def test_tls_refused(tls_peer, authority, name, case, said, tmp_path):
    openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=stranger', '-keyout', tmp_path / 'k', '-out', tmp_path / 'ca.pem')
    mine = ['--tlscert', authority / 'cert.pem', '--tlskey', authority / 'key.pem']
    host = '127.0.0.2' if case == 'other name' else '127.0.0.1'
    flags = {'strangers': ['--tlsverify', '--tlscacert', tmp_path / 'ca.pem', *mine], 'nobody': ['--tlsverify', '--tlscacert', authority / 'ca.pem'],
             'plain': [], 'other name': ['--tlsverify', '--tlscacert', authority / 'ca.pem', *mine]}[case]
    if case == 'other name':
        relay = subprocess.Popen(['nsenter', f'--net={tls_peer.names.netns}', 'python3', '-c', RELAY])
    try:
        if case == 'other name':
            until(lambda: run(tls_peer, name, '-H', f'tcp://{host}:2376', 'ps').stderr.find(b'HTTPS') >= 0, 10)
        done = run(tls_peer, name, '-H', f'tcp://{host}:2376', *flags, 'ps')
    finally:
        if case == 'other name':
            relay.kill()
            relay.wait()
    assert done.returncode == 1 and said in done.stderr, done.stderr


RELAY = """
import socket, threading
server = socket.create_server(('127.0.0.2', 2376))
def carry(a, b):
    while data := a.recv(65536):
        b.sendall(data)
    b.shutdown(socket.SHUT_WR)
while True:
    near, _ = server.accept()
    far = socket.create_connection(('127.0.0.1', 2376))
    for pair in ((near, far), (far, near)):
        threading.Thread(target=carry, args=pair, daemon=True).start()
"""


@pytest.fixture(scope='module')
def ssh():
    """A real sshd on loopback; ssh reads our settings instead of the user's."""
    if not shutil.which('sshd', path='/usr/sbin'):
        pytest.skip('sshd is not on this machine')
    folder = Path(tempfile.mkdtemp(prefix='gt-ssh-', dir='/run'))
    port = free_port()
    for key in ('host', 'user'):
        subprocess.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', folder / key], check=True)
    shutil.copy(folder / 'user.pub', folder / 'authorized')
    made = not os.path.isdir('/run/sshd')
    os.makedirs('/run/sshd', exist_ok=True)
    (folder / 'sshd_config').write_text(f'''
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PermitRootLogin yes
StrictModes no
UsePAM no
PidFile none
SetEnv PATH={folder}/bin:/usr/local/bin:/usr/bin:/bin
''')
    (folder / 'ssh_config').write_text(f'''
Host *
  IdentityFile {folder}/user
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known
  StrictHostKeyChecking accept-new
  LogLevel ERROR
''')
    (folder / 'near').mkdir()
    (folder / 'near/ssh').write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {folder}/ssh_config "$@"\n')
    (folder / 'near/ssh').chmod(0o755)
    (folder / 'bin').mkdir()
    daemon = subprocess.Popen(['/usr/sbin/sshd', '-D', '-e', '-f', folder / 'sshd_config'], stderr=open(folder / 'log', 'wb'))
    folder_port = (folder, port)
    try:
        until(lambda: subprocess.run([folder / 'near/ssh', '-p', str(port), '127.0.0.1', 'true'], capture_output=True).returncode == 0, 10,
              (folder / 'log').read_text())
        yield folder_port
    finally:
        daemon.terminate()
        daemon.wait(10)
        shutil.rmtree(folder)
        if made:
            shutil.rmtree('/run/sshd', ignore_errors=True)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('far', ['docker', 'gantry'])
def test_ssh(peer, ssh, name, far, tmp_path):
    folder, port = ssh
    for path in (folder / 'bin').iterdir():
        path.unlink()
    if far == 'gantry':
        # The other machine has only gantry, under the name that is asked for.
        (folder / 'bin' / ('docker' if name != 'gantry' else 'gantry')).symlink_to(places.BIN / 'gantry')
    user = pwd.getpwuid(os.getuid()).pw_name
    environment = {'PATH': f'{folder}/near:{os.environ["PATH"]}', 'HOME': str(tmp_path), 'DOCKER_CONFIG': str(tmp_path)}
    def call(*words, stdin=b''):
        return subprocess.run([programs()[name], '-H', f'ssh://{user}@127.0.0.1:{port}{peer.socket}', *words], input=stdin,
                              capture_output=True, timeout=60, env=environment)
    done = call('version', '--format', '{{.Server.Version}}')
    assert done.returncode == 0, done.stderr
    data = bytes(range(256)) * 2048
    done = call('run', '--rm', '-i', IMAGE, 'cat', stdin=data)
    assert (done.returncode, done.stdout == data) == (0, True), done.stderr
    assert call('run', '--rm', IMAGE, 'sh', '-c', 'exit 7').returncode == 7
    away = subprocess.run([programs()[name], '-H', f'ssh://{user}@127.0.0.1:1', 'ps'], capture_output=True, timeout=60, env=environment)
    assert away.returncode == 1 and away.stderr


class InsideRegistry(Registry):
    """Where the engine's 127.0.0.1 is."""

    def __init__(self, engine, auth):
        self.engine = engine
        super().__init__(auth)

    def start(self):
        with open(self.folder / 'log', 'ab') as log:
            self.process = subprocess.Popen(['nsenter', f'--net={self.engine.names.netns}', 'docker-registry', 'serve', str(self.folder / 'config.json')],
                                            stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until(lambda: self.engine.inside('curl', '-s', f'http://{self.name}/v2/', check=False).returncode == 0, 20)


@pytest.fixture(scope='module')
def registry(peer):
    registry = InsideRegistry(peer, 'basic')
    yield registry
    registry.destroy()


HELPER = """#!/usr/bin/env python3
import json, os, sys
path = os.path.dirname(sys.argv[0]) + '/secrets.json'
known = json.load(open(path)) if os.path.exists(path) else {}
said = sys.stdin.read()
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


@pytest.mark.parametrize('store', ['file', 'helper'])
def test_login_push_logout(peer, registry, store, tmp_path):
    seen = []
    for name in NAMES:
        folder = tmp_path / name
        folder.mkdir()
        (folder / 'docker-credential-test').write_text(HELPER)
        (folder / 'docker-credential-test').chmod(0o755)
        if store == 'helper':
            (folder / 'config.json').write_text(json.dumps({'credsStore': 'test'}))
        client = Client(name, peer, folder)
        client.environment['PATH'] += f':{folder}'
        target = f'{registry.name}/{name}:1'
        client.ok('tag', IMAGE, target)
        results = []
        for line, stdin in ((['push', '-q', target], None), (['login', '-u', 'user', '--password-stdin', registry.name], 'wrong'),
                            (['login', '-u', 'user', '--password-stdin', registry.name], 'pass word\n'), (['push', '-q', target], None),
                            (['login', registry.name], None), (['logout', registry.name], None), (['push', '-q', target], None)):
            done = client(*line, stdin=stdin)
            words = done.err.replace(str(folder), 'HOME').replace('docker', 'gantry')
            # The advice behind the warning is docker's own page.
            results.append((line[0], done.code, done.out.replace(name, 'NAME'), [w for w in words.split('\n') if 'stored unencrypted' in w or 'Error' in w or 'Authenticating' in w]))
            config = json.loads((folder / 'config.json').read_text()) if (folder / 'config.json').exists() else {}
            results.append(config)
            if config.get('auths') and store == 'file':
                assert (folder / 'config.json').stat().st_mode & 0o777 == 0o600
        client.ok('rmi', target)
        seen.append(results)
    assert seen[-1] == seen[0]
