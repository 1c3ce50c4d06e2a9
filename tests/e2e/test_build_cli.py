# SPDX-License-Identifier: Apache-2.0
"""`gantry build` over BuildKit's API: what it serves in its session, its flags, and how it shows progress. The forms of the progress
are those that docker buildx writes (facts of BuildKit's progressui)."""
import base64
import ctypes
import json
import os
import pty
import re
import signal
import socket
import stat
import subprocess
import tarfile
import threading
import time
from pathlib import Path

import pytest

from harness.client import Client
from harness.engine import until
from harness.places import IMAGE


@pytest.fixture(scope='module')
def client(stack, home):
    return Client('gantry', stack, home)


@pytest.fixture
def folder(tmp_path):
    """Writes a context: folder({'Dockerfile': …, 'd/f': …}) gives its path."""
    def write(files):
        for name, text in files.items():
            path = tmp_path / 'context' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace('@', IMAGE))
        return tmp_path / 'context'
    return write


@pytest.fixture
def build(client, stack):
    """At the end no step's container is left."""
    def run(*arguments, environment=None, **options):
        return client('build', *arguments, environment={'BUILDKIT_PROGRESS': 'plain', **(environment or {})}, **options)
    yield run
    until(lambda: client.ok('ps', '-aq') == '')
    assert list(Path(stack.names.root, 'engine/builds').glob('*')) == []


@pytest.fixture
def good(build):
    def run(*arguments, **options):
        done = build(*arguments, **options)
        assert done.code == 0, done.err
        return done
    return run


def steps_of(text):
    """The blocks of plain progress by the names of their steps, without the number."""
    steps, names = {}, {}
    for line in text.splitlines():
        number, _, rest = line.partition(' ')
        if re.fullmatch(r'#\d+', number):
            names.setdefault(number, rest)
            steps.setdefault(names[number], []).append(rest)
    return {name: lines[1:] for name, lines in steps.items()}


def sent(good, path, *flags):
    """What the session has sent, from the progress."""
    lines = steps_of(good(*flags, path).err)['[internal] load build context']
    return next(line for line in lines if line.startswith('transferring context'))


def test_plain_progress(good, folder, client):
    path = folder({'Dockerfile': 'FROM @\nCOPY f /f\nRUN cat /f; echo two; printf rest\n', 'f': 'one\n'})
    done = good('-t', 'own/cli', '--no-cache', path)
    assert done.out == ''
    steps = steps_of(done.err)
    assert list(steps) == ['[internal] load build definition from Dockerfile', '[internal] load .dockerignore',
                           '[internal] load build context', f'[1/3] FROM {IMAGE}', '[2/3] COPY f /f',
                           '[3/3] RUN cat /f; echo two; printf rest', 'exporting to image'], done.err
    run = steps['[3/3] RUN cat /f; echo two; printf rest']
    assert sorted(re.sub(r'^\d+\.\d{3} ', 'T ', line) for line in run[:-1]) == ['T one', 'T rest', 'T two']
    assert re.fullmatch(r'DONE \d+\.\ds', run[-1])
    assert re.search(r'^#1 transferring dockerfile: \d+B( [\d.]+s)? done$', done.err, re.M), done.err
    assert done.err.startswith('#1 [internal] load build definition from Dockerfile\n') and '\n\n#2 [internal]' in done.err
    again = steps_of(good('-t', 'own/cli', path).err)
    assert again['[2/3] COPY f /f'] == ['CACHED']
    assert client.run('own/cli', 'cat', '/f').out == 'one\n'


def test_failure(build, folder):
    path = folder({'Dockerfile': 'FROM @\nRUN echo before; exit 7\nRUN echo never\n'})
    done = build('--no-cache', path)
    assert done.code == 1 and '[3/3]' not in done.err
    assert re.search(r'^------\n > \[2/3\] RUN echo before; exit 7:\n\d\.\d{3} before\n------\n'
                     r'Dockerfile:2\n-+\n   1 \|     FROM .*\n   2 \| >>> RUN echo before; exit 7\n   3 \|     RUN echo never\n   4 \|     \n-+\n'
                     r'ERROR: failed to build: failed to solve: process "/bin/sh -c echo before; exit 7" did not complete '
                     r'successfully: exit code: 7\n\Z', done.err, re.M), done.err
    assert '#5 ERROR: process "/bin/sh' in done.err or re.search(r'^#\d ERROR: process', done.err, re.M)


def test_rawjson(good, folder):
    path = folder({'Dockerfile': 'FROM @\nRUN echo said\n'})
    updates = [json.loads(line) for line in good('--progress', 'rawjson', '--no-cache', path).err.splitlines()]
    assert all(set(one) <= {'vertexes', 'statuses', 'logs', 'warnings'} for one in updates)
    vertexes = [v for one in updates for v in one.get('vertexes', [])]
    run = [v for v in vertexes if v['name'] == '[2/2] RUN echo said']
    assert run[0]['digest'].startswith('sha256:') and 'started' in run[0] and 'completed' not in run[0]
    assert 'completed' in run[-1] and re.fullmatch(r'\d{4}-\d\d-\d\dT[\d:.]+Z', run[-1]['completed'])
    logs = [log for one in updates for log in one.get('logs', [])]
    assert [(log['vertex'], log['stream'], base64.b64decode(log['data'])) for log in logs] == [(run[0]['digest'], 1, b'said\n')]
    status = next(s for one in updates for s in one.get('statuses', []))
    assert {'id', 'vertex', 'name', 'current', 'timestamp', 'started', 'completed'} <= set(status)


def in_terminal(client, arguments, environment):
    """What the program writes to a terminal of 80 columns that is its standard error."""
    ours, theirs = pty.openpty()
    import fcntl
    import struct
    import termios
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
    process = subprocess.Popen([*client.command, 'build', *map(str, arguments)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=theirs, env={**client.environment, **environment})
    os.close(theirs)
    text = b''
    try:
        while piece := os.read(ours, 65536):
            text += piece
    except OSError:
        pass
    os.close(ours)
    assert process.wait(60) == 0, text
    return text.decode()


def test_table_in_a_terminal(client, folder, build):
    path = folder({'Dockerfile': 'FROM @\nRUN echo said; sleep 0.5\n'})
    text = in_terminal(client, ['--no-cache', path], {})
    last = text.split('\x1b[J')[-1]
    assert re.search(r'\[\+\] Building \d+\.\ds \(\d+/\d+\) FINISHED', last), last
    assert re.search(r'\x1b\[34m => \[2/2\] RUN echo said; sleep 0.5 +\d+\.\ds\x1b\[0m', last), last
    assert '=> => # 0.' in text and 'said' in text  # while it ran
    assert max(len(re.sub('\x1b\\[[0-9;?]*[a-zA-Z]', '', line).rstrip('\r')) for line in last.split('\n')) <= 80
    plain = in_terminal(client, ['--no-cache', path], {'NO_COLOR': '1'})
    assert '\x1b[34m' not in plain and '=> [2/2] RUN' in plain
    lines = in_terminal(client, [path], {'BUILDKIT_PROGRESS': 'plain'})
    assert '\x1b' not in lines and re.search(r'^#\d CACHED', lines, re.M)


def test_quiet_iidfile_and_metadata(good, build, folder, client, tmp_path):
    path = folder({'Dockerfile': 'FROM @\nLABEL a=b\n'})
    done = good('-q', '-t', 'own/q', '--iidfile', tmp_path / 'iid', '--metadata-file', tmp_path / 'meta', path)
    assert done.err == '' and done.text == client.inspect('own/q', '{{.Id}}') == (tmp_path / 'iid').read_text()
    meta = json.loads((tmp_path / 'meta').read_text())
    assert meta['containerimage.config.digest'] == done.text and meta['image.name'] == 'docker.io/own/q:latest'
    assert re.fullmatch(r'\w+', meta['buildx.build.ref'])
    path = folder({'Dockerfile': 'FROM @\nRUN echo why; false\n'})
    failed = build('-q', path)
    assert failed.code == 1 and failed.out == '' and 'why' in failed.err and failed.err.count('ERROR') == 1


def test_results_to_what_is_no_plain_file(good, folder, client, tmp_path):
    """Such as /dev/null, which must not become one; a result that fails leaves what was there, and nothing beside it."""
    path, null, pipe = folder({'Dockerfile': 'FROM @\n'}), tmp_path / 'null', tmp_path / 'pipe'
    os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mkfifo(pipe)
    good('-q', '--iidfile', null, '--metadata-file', null, '-o', f'type=oci,dest={null}', path)
    client.ok('save', '-o', null, IMAGE)
    assert stat.S_ISCHR(null.stat().st_mode)
    reader = subprocess.Popen(['tar', 'tf', pipe], stdout=subprocess.PIPE, text=True)
    good('-q', '-o', f'type=tar,dest={pipe}', path)
    assert 'bin/sh' in reader.communicate(timeout=60)[0].split() and stat.S_ISFIFO(pipe.stat().st_mode)
    (tmp_path / 'kept').write_text('before')
    assert client('save', '-o', tmp_path / 'kept', 'own/nosuch').code == 1
    assert (tmp_path / 'kept').read_text() == 'before' and sorted(os.listdir(tmp_path)) == ['context', 'kept', 'null', 'pipe']


def test_only_what_changed_is_sent_again(good, folder, client):
    files = {f'd{i % 7}/f{i}': 'x' * 1000 for i in range(300)}
    path = folder({'Dockerfile': 'FROM @\nCOPY . /c\n', '.dockerignore': 'left\n', 'left': 'y' * 10**6, **files})
    assert sent(good, path, '-t', 'own/sync').startswith('transferring context: 300.')
    assert sent(good, path, '-t', 'own/sync') == 'transferring context: done'
    # One file, one that is new, one that has gone, a mode, a directory that becomes a file, a file that becomes a link.
    (path / 'd1/f1').write_text('changed')
    (path / 'd2/new').write_text('n' * 50)
    (path / 'd3/f3').unlink()
    (path / 'd4/f4').chmod(0o700)
    for file in list((path / 'd5').iterdir()):
        file.unlink()
    (path / 'd5').rmdir()
    (path / 'd5').write_text('file')
    (path / 'd6/f6').unlink()
    (path / 'd6/f6').symlink_to('f13')
    told = sent(good, path, '-t', 'own/sync')
    assert re.match(r'transferring context: (61B|1\.06kB)', told), told
    told = client.run('own/sync', 'sh', '-c', 'cd /c; cat d1/f1 d5; ls d3 | wc -l; stat -c %a d4/f4; readlink d6/f6; ls; wc -c <d2/new')
    assert told.out == 'changedfile42\n700\nf13\nDockerfile\nd0\nd1\nd2\nd3\nd4\nd5\nd6\n50\n', told.out
    # What .dockerignore leaves out now goes from what the engine has, too.
    (path / '.dockerignore').write_text('left\nd1\n')
    good('-t', 'own/sync', path)
    assert 'd1' not in client.run('own/sync', 'ls', '/c').out.split()


def test_a_context_that_changes_while_it_is_sent(good, build, folder, client, tmp_path):
    """Files grow, shrink, go and come, and are exchanged with links to a file outside: a build succeeds or says one thing, what is outside
    is never in an image, and the next quiet build has what is there."""
    canary = tmp_path / 'outside'
    canary.write_text('canary' * 1000)
    path = folder({'Dockerfile': 'FROM @\nCOPY . /c\n', **{f'd/f{i}': 'x' * 200_000 for i in range(40)}, 'd/e/g': 'g'})
    (path / 'link').symlink_to(canary)
    (path / 'far').symlink_to(tmp_path)
    libc, stop, rounds = ctypes.CDLL(None, use_errno=True), threading.Event(), [0]

    def race():
        while not stop.is_set():
            rounds[0] += 1
            for i in range(0, 40, 4):
                libc.renameat2(-100, bytes(path / f'd/f{i}'), -100, bytes(path / 'link'), 2)
                (path / f'd/f{i + 1}').write_text('y' * (rounds[0] % 7) * 50_000)
                (path / f'd/f{i + 2}').unlink(missing_ok=True)
                (path / f'd/f{i + 2}').write_text('new')
            libc.renameat2(-100, bytes(path / 'd/e'), -100, bytes(path / 'far'), 2)
    thread = threading.Thread(target=race)
    thread.start()
    try:
        ended = [build('-t', 'own/race', path) for _ in range(15)]
    finally:
        stop.set()
        thread.join()
    assert rounds[0] > 15
    for done in ended:
        assert done.code == 0 or (done.code == 1 and done.err.count('ERROR: failed to build') == 1), done.err
    if any(done.code == 0 for done in ended):
        assert 'canary' not in client.run('own/race', 'sh', '-c', 'find /c -type f | xargs cat').out
    for name in ('link', 'far', 'd/e'):
        if (path / name).is_symlink():
            (path / name).unlink()
    good('-t', 'own/race', path)
    sums = 'find . -type f | sort | xargs sha256sum | sha256sum'
    assert client.run('own/race', 'sh', '-c', f'cd /c && {sums}').out == subprocess.run(['sh', '-c', sums], cwd=path, stdout=subprocess.PIPE, text=True).stdout


def test_two_builds_of_one_context_at_once(good, folder, client):
    path = folder({'Dockerfile': 'FROM @\nARG N\nRUN sleep 1; echo $N >/n\nCOPY f /f\n', 'f': 'same'})
    threads = [threading.Thread(target=lambda n=n: good('-t', f'own/at{n}', '--build-arg', f'N={n}', path)) for n in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [client.run(f'own/at{n}', 'cat', '/n', '/f').out for n in (1, 2, 3)] == ['1\nsame', '2\nsame', '3\nsame']


def test_contexts_of_all_kinds(good, build, folder, client, tmp_path):
    path = folder({'sub/Dockerfile.x': 'FROM @\nCOPY f /f\n', 'f': 'here', 'sub/Dockerfile.x.dockerignore': 'g\n', 'g': ''})
    good('-t', 'own/k', '-f', path / 'sub/Dockerfile.x', path)
    assert client.run('own/k', 'cat', '/f').out == 'here'
    outside = tmp_path / 'elsewhere'
    outside.write_text(f'FROM {IMAGE}\nCOPY . /c\n')
    (tmp_path / 'elsewhere.dockerignore').write_text('sub\n')
    good('-t', 'own/k', '-f', outside, path)
    assert client.run('own/k', 'ls', '/c').out.split() == ['f', 'g']
    good('-t', 'own/k', '-f', '-', path, stdin=f'FROM {IMAGE}\nCOPY f /stdin\n')
    assert client.run('own/k', 'cat', '/stdin').out == 'here'
    good('-t', 'own/k', '-', stdin=f'FROM {IMAGE}\nRUN echo alone >/alone\n')
    assert client.run('own/k', 'cat', '/alone').out == 'alone\n'
    missing = build('-f', path / 'nope', path)
    assert missing.code == 1 and 'no such file or directory' in missing.err and missing.out == ''
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other/o').write_text('other')
    good('-t', 'own/k', '--build-context', f'o={tmp_path / "other"}', '--build-context', f'base=docker-image://{IMAGE}',
         '-f', '-', path, stdin='FROM base\nCOPY --from=o o /o\n')
    assert client.run('own/k', 'cat', '/o').out == 'other'
    bad = build('--build-context', 'o=/nope/x', '-f', outside, path)
    assert bad.code == 1 and 'failed to find build context /nope/x' in bad.err


def test_secrets_and_agent(good, build, folder, client, tmp_path):
    (tmp_path / 's').write_text('from a file')
    path = folder({'Dockerfile': 'FROM @\nRUN --mount=type=secret,id=a cat /run/secrets/a\n'
                                 'RUN --mount=type=secret,id=b,env=B echo "$B"\n'})
    done = good('--no-cache', '--secret', f'id=a,src={tmp_path / "s"}', '--secret', 'id=b,env=OURS', path,
                environment={'OURS': 'from the environment'})
    assert 'from a file' in done.err and 'from the environment' in done.err
    for flag, why in (('src=x', 'secret missing ID'), (f'id=a,src={tmp_path}/nope', 'no such file'), ('id=a,env=NOPE', 'no variable NOPE'),
                      ('id=a,type=x', 'unsupported secret type'), ('id=a,what=x', "unexpected key 'what'")):
        bad = build('--secret', flag, path)
        assert bad.code == 1 and why in bad.err, (flag, bad.err)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / 'agent'))
        listener.listen()

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b'agent heard ' + connection.recv(100))
        threading.Thread(target=serve, daemon=True).start()
        path = folder({'Dockerfile': 'FROM @\nRUN --mount=type=ssh echo begun; while [ ! -e /tmp/go ]; do sleep 0.1; done\n'})
        process = client.start('build', '--no-cache', '--ssh', f'default={tmp_path / "agent"}', path)
        until(lambda: client.ok('ps', '-q') != '')
        container = client.ok('ps', '-q')
        pid = client.ok('inspect', '-f', '{{.State.Pid}}', container)
        with socket.socket(socket.AF_UNIX) as talk:
            talk.connect(f'/proc/{pid}/root/run/buildkit/ssh_agent.0')
            talk.sendall(b'hello')
            assert talk.recv(100) == b'agent heard hello'
        Path(f'/proc/{pid}/root/tmp/go').touch()
        assert process.wait(30) == 0, process.communicate()
    bad = build('--ssh', 'default', path, environment={'SSH_AUTH_SOCK': ''})
    assert bad.code == 1 and 'make sure SSH_AUTH_SOCK is set' in bad.err


def test_outputs(good, build, folder, client, tmp_path):
    path = folder({'Dockerfile': 'FROM @ AS made\nRUN mkdir -p /e/d && echo x >/e/d/f && ln -s f /e/d/l && chmod 750 /e/d\n'
                                 'FROM scratch\nCOPY --from=made /e /\n'})
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'stays').write_text('s')
    before = set(client.ok('images', '-q').split())
    good('-o', out, path)
    assert (out / 'd/f').read_text() == 'x\n' and os.readlink(out / 'd/l') == 'f' and (out / 'd').stat().st_mode & 0o777 == 0o750
    assert (out / 'stays').read_text() == 's'
    good('-o', f'type=local,dest={out}', path)
    good('-o', f'type=tar,dest={tmp_path / "t.tar"}', path)
    assert 'd/f' in tarfile.open(tmp_path / 't.tar').getnames()
    good('-o', f'type=oci,dest={tmp_path / "o.tar"}', '-t', 'own/oci', path)
    assert {'oci-layout', 'index.json'} <= set(tarfile.open(tmp_path / 'o.tar').getnames())
    good('-o', f'type=docker,dest={tmp_path / "d.tar"}', '-t', 'own/dock:x', path)
    assert 'manifest.json' in tarfile.open(tmp_path / 'd.tar').getnames()
    assert set(client.ok('images', '-q').split()) == before
    both = good('-o', f'type=tar,dest={tmp_path / "u.tar"}', '--load', '-t', 'own/both', path)
    assert both.code == 0 and (tmp_path / 'u.tar').exists() and client.inspect('own/both', '{{.Id}}')
    for flags, why in ((['-o', 'type=local'], 'dest is required'), (['-o', f'type=tar,dest={tmp_path}'], 'is a directory'),
                       (['-o', 'dest'], None), (['-o', 'type=what'], 'what'), (['--push'], 'tag is needed when pushing'),
                       (['-o', 'a=b,c'], 'expected "key=value"')):
        bad = build(*flags, path, timeout=30)
        if why:
            assert bad.code == 1 and why in bad.err, (flags, bad.err)
    assert [p.name for p in tmp_path.iterdir() if '.tmp-' in p.name] == []
    import shutil
    shutil.rmtree('dest', ignore_errors=True)


def test_flags(good, build, folder, client):
    path = folder({'Dockerfile': 'FROM @ AS a\nRUN echo a$RANDOM >/a\nFROM @ AS b\nRUN echo b$RANDOM >/b\nCOPY --from=a /a /a\n'
                                 'FROM @ AS c\nARG V\nRUN grep -q 1.2.3.4.other /etc/hosts && echo $V >/v && ulimit -n >/n\n'})
    good('-t', 'own/fl', '--target', 'c', '--build-arg', 'V=value', '--label', 'l=m', '--add-host', 'other:1.2.3.4',
         '--ulimit', 'nofile=77:88', '--shm-size', '8m', path)
    assert client.run('own/fl', 'cat', '/v', '/n').out == 'value\n77\n'
    assert client.inspect('own/fl', '{{.Config.Labels.l}}') == 'm'
    first = good('-q', '--target', 'b', path).text
    assert good('-q', '--target', 'b', path).text == first
    steps = steps_of(good('--target', 'b', '--no-cache-filter', 'b', path).err)
    assert steps['[a 2/2] RUN echo a$RANDOM >/a'] == ['CACHED'] and steps['[b 2/3] RUN echo b$RANDOM >/b'] != ['CACHED']
    refused = build('--no-cache', '--no-cache-filter', 'b', path)
    assert refused.code == 1 and 'cannot combine' in refused.err
    host = folder({'Dockerfile': 'FROM @\nRUN --network=host readlink /proc/self/ns/net\n'})
    assert 'network.host' in build(host).err
    assert os.readlink('/proc/self/ns/net') not in build(host).err
    good('--allow', 'network.host', host)


def test_which_way(client, build, good, folder):
    path = folder({'Dockerfile': 'FROM @\nRUN echo way\n'})
    assert 'Step 1/2' in good(path, environment={'DOCKER_BUILDKIT': '0'}).out
    assert 'Step 1/2' in good('--memory', '100m', path).out
    assert '#1 [internal]' in good(path, environment={'DOCKER_BUILDKIT': '1'}).err
    assert 'Step 1/2' in good(path, environment={'DOCKER_BUILDKIT': '1', 'GANTRY_BUILDKIT': '0'}).out
    for flags, variable, why in ((['--memory', '100m'], '1', '"--memory" needs the classic builder'),
                                 (['--progress', 'plain'], '0', '"--progress" needs BuildKit, but DOCKER_BUILDKIT=0'),
                                 (['--memory', '1g', '--push'], '', '"--push" needs BuildKit, but "--memory"'),
                                 ([], 'what', 'DOCKER_BUILDKIT environment variable expects boolean value')):
        bad = build(*flags, path, environment={'DOCKER_BUILDKIT': variable})
        assert bad.code == 1 and why in bad.err, (flags, bad.err)
    bad = build('--progress', 'what', path)
    assert bad.code == 1 and 'invalid progress type' in bad.err
    assert 'no terminal' in build('--progress', 'tty', path).err


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_cancel(client, build, folder, stack, number):
    path = folder({'Dockerfile': 'FROM @\nRUN echo begun; sleep 60\n'})
    process = client.start('build', '--no-cache', path, environment={'BUILDKIT_PROGRESS': 'plain'})
    until(lambda: client.ok('ps', '-q') != '')
    begun = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - begun < 8 and process.returncode == 1, err
    assert b'ERROR: failed to build: failed to solve' in err and b'cancel' in err.lower()
    until(lambda: client.ok('ps', '-aq') == '')


def test_dockers_own_buildkit(peer, home, folder, tmp_path):
    """The BuildKit within Debian's dockerd: another server of the protocol, with nothing of ours."""
    client = Client('gantry', peer, home)

    def build(*flags, environment=None):
        return client('build', *flags, environment={'BUILDKIT_PROGRESS': 'plain', **(environment or {})}, timeout=120)
    path = folder({'Dockerfile': 'FROM @\nCOPY . /c\nRUN cat /c/d/f\n', '.dockerignore': 'left\n!left/but\n', 'left/out': '', 'left/but': 'b',
                   'd/f': 'x' * 100_000, 'real/file': 'r'})
    (path / 'link').symlink_to('real')
    done = build('-t', 'own/theirs', '--iidfile', tmp_path / 'iid', path)
    assert done.code == 0 and re.search(r'^#\d+ transferring context: 1\d\d\.\d+kB', done.err, re.M), done.err
    assert client.inspect('own/theirs', '{{.Id}}') == (tmp_path / 'iid').read_text()
    assert client.run('own/theirs', 'sh', '-c', 'ls /c /c/left; readlink /c/link').out.split() == [
        '/c:', 'Dockerfile', 'd', 'left', 'link', 'real', '/c/left:', 'but', 'real']
    (path / 'd/new').write_text('new')
    again = build(path)
    assert again.code == 0 and 'kB' not in ''.join(re.findall(r'transferring context: .*', again.err)), again.err
    path = folder({'Dockerfile': 'FROM @ AS a\nCOPY link/file /f\nRUN --mount=type=secret,id=s cp /run/secrets/s /s\n'
                                 'FROM scratch\nCOPY --from=a /f /s /\n'})
    done = build('--secret', 'id=s,env=S', '-o', tmp_path / 'out', path, environment={'S': 'told'})
    assert done.code == 0 and sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['f', 's'], done.err
    assert (tmp_path / 'out/f').read_text() == 'r' and (tmp_path / 'out/s').read_text() == 'told'
    done = build('--secret', 'id=s,env=S', '-o', f'type=tar,dest={tmp_path / "t.tar"}', path, environment={'S': 'told'})
    assert done.code == 0 and set(tarfile.open(tmp_path / 't.tar').getnames()) >= {'f', 's'}
    failed = build(folder({'Dockerfile': 'FROM @\nRUN echo why; exit 5\n'}))
    assert failed.code == 1 and 'why\n------\nERROR: failed to build: failed to solve: ' in failed.err, failed.err
    assert 'unknown method ListenBuildHistory' in client('builder', 'history', 'ls').err
