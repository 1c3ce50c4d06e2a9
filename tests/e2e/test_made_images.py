# SPDX-License-Identifier: Apache-2.0
"""commit, export, import, diff: images and archives out of containers, images out of archives."""
import io
import json
import os
import subprocess
import tarfile

import pytest

from harness.engine import until
from harness.places import IMAGE

ALONE = ('--network', 'none')


@pytest.fixture
def image(client):
    given = []

    def name(hint='i'):
        given.append(f't{os.getpid()}/{hint}{len(given)}')
        return given[-1]
    yield name
    for entry in given:
        client('rmi', '-f', entry)


def config_of(client, image):
    return json.loads(client.ok('inspect', '-f', '{{json .Config}}', image))


def test_diff(client, names):
    name = names()
    client.ok('run', '--name', name, *ALONE, IMAGE, 'sh', '-c',
              'mkdir -p /new/deep && echo 1 >/new/deep/f && echo 2 >>/etc/group && rm /etc/passwd && chmod 700 /home && rm -r /tmp && mkdir /tmp && echo 3 >/tmp/x')
    lines = client.ok('diff', name).splitlines()
    for wanted in ('A /new', 'A /new/deep', 'A /new/deep/f', 'C /etc', 'C /etc/group', 'D /etc/passwd', 'C /home', 'A /tmp/x'):
        assert wanted in lines, (wanted, lines)
    assert {'C /tmp'} & set(lines) or {'A /tmp'} & set(lines)
    assert not [line for line in lines if line.split()[1] in ('/etc/hosts', '/etc/hostname', '/etc/resolv.conf', '/dev', '/proc', '/sys')]


def test_diff_of_a_running_one(client, names):
    name = names()
    client.ok('run', '-d', '--name', name, *ALONE, IMAGE, 'sleep', '1000')
    assert client.ok('diff', name) == ''
    client.ok('exec', name, 'touch', '/tmp/f')
    assert client.ok('diff', name).splitlines() == ['C /tmp', 'A /tmp/f']
    assert client('diff', 'nosuch').code == 1


def test_commit(client, names, image):
    name, made = names(), image()
    client.ok('run', '--name', name, *ALONE, '-e', 'OLD=1', '--label', 'l=1', IMAGE, 'sh', '-c', 'echo made >/made; rm /etc/group')
    ident = client.ok('commit', '-a', 'A Tester', '-m', 'for a test', name, made)
    assert ident.startswith('sha256:') and len(ident) == 71
    assert client.run(*ALONE, made, 'sh', '-c', 'cat /made; ls /etc/group 2>&1; echo $OLD').out.startswith('made\n')
    assert 'No such file' in client.run(*ALONE, made, 'sh', '-c', 'ls /etc/group 2>&1').out
    assert client.ok('inspect', '-f', '{{.Author}} {{.Comment}} {{.Id}}', made) == f'A Tester for a test {ident}'
    config = config_of(client, made)
    assert 'OLD=1' in config['Env'] and config['Labels'] == {'l': '1'} and config['Cmd'] == ['sh', '-c', 'echo made >/made; rm /etc/group']
    history = client.ok('history', '--no-trunc', '--format', '{{.Comment}}|{{.CreatedBy}}', made).splitlines()
    assert history[0] == 'for a test|sh -c echo made >/made; rm /etc/group'


def test_commit_of_a_running_one_without_a_name(client, names):
    name = names()
    client.ok('run', '-d', '--name', name, *ALONE, IMAGE, 'sh', '-c', 'echo x >/x; exec sleep 1000')
    until(lambda: client('exec', name, 'cat', '/x').text == 'x', 20)
    ident = client.ok('commit', name)
    try:
        assert client.run(*ALONE, ident, 'cat', '/x').text == 'x'
        assert client.ok('inspect', '-f', '{{.State.Status}}', name) == 'running'
        assert ident.split(':')[1][:12] in client.ok('images', '-q', '-f', 'dangling=true').split()
        assert json.loads(client.ok('inspect', '-f', '{{json .RepoTags}}', ident)) == []
    finally:
        client.ok('rmi', '-f', ident)


def test_changes(client, names, image):
    name, made = names(), image()
    client.ok('create', '--name', name, '-e', 'A=1', IMAGE, 'old')
    lines = ['CMD ["run", "it"]', 'ENTRYPOINT ["/bin/echo"]', 'ENV B=2 C="three words"', 'ENV D four and five', 'EXPOSE 80 53/udp', 'LABEL x=y', 'USER nobody',
             'VOLUME /v1 /v2', 'WORKDIR /w', 'ONBUILD RUN true', 'HEALTHCHECK --interval=5s --retries=2 CMD true || false']
    client.ok('commit', *[w for line in lines for w in ('-c', line)], name, made)
    config = config_of(client, made)
    assert config['Cmd'] == ['run', 'it'] and config['Entrypoint'] == ['/bin/echo'] and config['User'] == 'nobody' and config['WorkingDir'] == '/w'
    assert {'A=1', 'B=2', 'C=three words', 'D=four and five'} <= set(config['Env'])
    assert set(config['ExposedPorts']) == {'80/tcp', '53/udp'} and set(config['Volumes']) == {'/v1', '/v2'} and config['Labels'] == {'x': 'y'}
    assert config['OnBuild'] == ['RUN true']
    assert config['Healthcheck']['Test'] == ['CMD-SHELL', 'true || false'] and config['Healthcheck']['Interval'] == 5 * 10**9
    for bad in ('FROM x', 'NOSUCH x', 'ENV =x', 'HEALTHCHECK FOO', 'ENV B'):
        done = client('commit', '-c', bad, name, f'{made}bad')
        assert done.code == 1 and done.err, bad
    assert f'{made}bad' not in client.ok('images')


def test_bad_commits(client, names):
    name = names()
    client.ok('create', '--name', name, IMAGE)
    for arguments, words in ((('nosuch', 'x'), 'No such container: nosuch'), ((name, 'UPPER'), 'must be lowercase'),
                             ((name, 'a:b!c'), 'invalid')):
        done = client('commit', *arguments)
        assert done.code == 1 and words in done.err, done.err


def exported(client, name):
    done = subprocess.run([*client.command, 'export', name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=client.environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize('state', ['running', 'created'])
def test_export(client, names, tmp_path, state):
    name = names()
    (tmp_path / 'host').write_text('x')
    client.ok('create', '--name', name, *ALONE, '-v', f'{tmp_path}:/home', IMAGE, 'sh', '-c', 'echo f >/f; touch /ready; exec sleep 1000')
    if state == 'running':
        client.ok('start', name)
        while client('exec', name, 'test', '-e', '/ready').code:
            pass
    with tarfile.open(fileobj=io.BytesIO(exported(client, name))) as tar:
        found = tar.getnames()
    assert 'bin/busybox' in found and 'etc/passwd' in found and 'home' in found
    # No volumes, nothing of /proc.
    assert 'home/host' not in found and not [n for n in found if n.startswith('proc/')]
    assert ('f' in found) == (state == 'running')
    client.ok('export', '-o', tmp_path / 'file.tar', name)
    assert tarfile.is_tarfile(tmp_path / 'file.tar')


def test_import(client, names, image, tmp_path):
    name, made = names(), image()
    client.ok('create', '--name', name, *ALONE, IMAGE)
    client.ok('export', '-o', tmp_path / 'root.tar', name)
    ident = client.ok('import', '-c', 'CMD ["cat", "/etc/passwd"]', '-c', 'ENV X=1', '-m', 'brought in', tmp_path / 'root.tar', f'{made}:tag')
    assert ident.splitlines()[-1].startswith('sha256:')
    assert client.run(*ALONE, f'{made}:tag').text.startswith('root:')
    assert client.ok('inspect', '-f', '{{.Comment}} {{len .RootFS.Layers}} {{.Os}}', f'{made}:tag') == 'brought in 1 linux'
    assert config_of(client, f'{made}:tag')['Env'] == ['X=1']
    subprocess.run(['gzip', tmp_path / 'root.tar'], check=True)
    with open(tmp_path / 'root.tar.gz', 'rb') as data:
        client.ok('import', '-', f'{made}:gz', stdin=data.read())
    assert client.run(*ALONE, f'{made}:gz', 'echo', 'runs').text == 'runs'
    client.ok('rmi', f'{made}:tag', f'{made}:gz')


def test_bad_imports(client, tmp_path):
    (tmp_path / 'bad').write_bytes(b'no archive at all' * 100)
    done = client('import', tmp_path / 'bad', 'x/y')
    assert done.code == 1 and done.err
    done = client('import', tmp_path / 'nosuch')
    assert done.code == 1 and 'nosuch: no such file or directory' in done.err
    assert 'x/y' not in client.ok('images')
