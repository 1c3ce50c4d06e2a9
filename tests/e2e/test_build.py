# SPDX-License-Identifier: Apache-2.0
"""POST /build, docker's classic builder, by docker's client, by ours and by the bare API."""
import io
import json
import os
import re
import socket
import tarfile
import threading
import time
import urllib.parse

import pytest

from harness.engine import until
from harness.places import IMAGE, SOAK

CLASSIC = {'DOCKER_BUILDKIT': '0'}


@pytest.fixture
def image(client):
    given = []

    def name(hint='b'):
        given.append(f't{os.getpid()}/{hint}{len(given)}:x')
        return given[-1]
    yield name
    for entry in given:
        client('rmi', '-f', entry)


@pytest.fixture
def folder(tmp_path):
    """Writes a context: folder({'Dockerfile': …, 'd/f': …}) gives its path."""
    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return str(tmp_path)
    return write


def build(client, *arguments, **options):
    return client('build', *arguments, environment=CLASSIC, **options)


def good(client, *arguments, **options):
    done = build(client, *arguments, **options)
    assert done.code == 0, (done.code, done.out[-500:], done.err[-500:])
    return done


def shown(client, image, *command):
    done = client.run('--network', 'none', image, *command)
    assert done.code == 0, done.err
    return done.out


def tar_of(files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w') as tar:
        for name, text in files.items():
            item = tarfile.TarInfo(name)
            item.size = len(text)
            tar.addfile(item, io.BytesIO(text.encode()))
    return data.getvalue()


def post(engine, files, **query):
    body = files if isinstance(files, bytes) else tar_of(files)
    return engine.api('POST', '/build?' + urllib.parse.urlencode(query), body=body,
                      headers={'Content-Type': 'application/x-tar'}, timeout=60)


def messages(body):
    return [json.loads(line) for line in body.decode().splitlines() if line]


def test_output(client, folder, image):
    name = image()
    path = folder({'Dockerfile': f'FROM {IMAGE}\nRUN echo out; echo err >&2\nENV A=1\n'})
    done = good(client, '--no-cache', '-t', name, '--build-arg', 'NOPE=1', path)
    assert '\x1b[91merr\n\x1b[0m' in done.out
    text = re.sub(r'\b[0-9a-f]{12}\b', 'ID', re.sub('\x1b\\[[0-9]*m', '', done.out))
    for line in (f'Step 1/3 : FROM {IMAGE}', ' ---> ID', 'Step 2/3 : RUN echo out; echo err >&2', ' ---> Running in ID', 'out',
                 'Removing intermediate container ID', 'Step 3/3 : ENV A=1', '[Warning] One or more build-args [NOPE] were not consumed',
                 'Successfully built ID', f'Successfully tagged {name}'):
        assert line in text.splitlines(), (line, text)
    assert ' ---> Using cache' not in text
    again = good(client, '-t', name, path)
    assert again.out.count(' ---> Using cache') == 2
    built = re.search(r'Successfully built (\w+)', again.out).group(1)
    assert client.inspect(name, '{{.Id}}').startswith('sha256:' + built)


def test_members_of_parameters_in_any_case(engine):
    """As Go's decoder takes them."""
    files = {'Dockerfile': f'FROM {IMAGE}\nRUN echo is $(ulimit -Sn) $(ulimit -Hn)\n'}
    for limit in {'Name': 'nofile', 'Soft': 51, 'Hard': 61}, {'name': 'nofile', 'soft': 52, 'hard': 62}:
        status, body, _ = post(engine, files, ulimits=json.dumps([limit]), nocache=1, q=0)
        text = ''.join(line.get('stream', '') for line in messages(body))
        assert status == 200 and 'is {} {}\n'.format(*list(limit.values())[1:]) in text, text


def test_quiet_gives_the_id(client, folder, image):
    name = image()
    path = folder({'Dockerfile': f'FROM {IMAGE}\nLABEL a=b\n'})
    done = good(client, '-q', '-t', name, path)
    assert done.text == client.inspect(name, '{{.Id}}')
    assert done.text.startswith('sha256:') and len(done.text) == 71


def test_several_names_and_iidfile(client, folder, image, tmp_path):
    one, two = image(), image()
    path = folder({'c/Dockerfile': f'FROM {IMAGE}\nLABEL a=b\n'}) + '/c'
    good(client, '-t', one, '-t', two, '--iidfile', tmp_path / 'iid', path)
    ident = (tmp_path / 'iid').read_text()
    assert ident == client.inspect(one, '{{.Id}}') == client.inspect(two, '{{.Id}}')


def test_only_from_is_the_image_itself(client, folder, image):
    name = image()
    good(client, '-t', name, folder({'Dockerfile': f'FROM {IMAGE}\n'}))
    assert client.inspect(name, '{{.Id}}') == client.inspect(IMAGE, '{{.Id}}')


def test_cache_is_by_content(client, folder, image, tmp_path):
    name = image()
    path = folder({'Dockerfile': f'FROM {IMAGE}\nCOPY f /f\nRUN cat /f >/g\n', 'f': 'one'})
    first = good(client, '-q', '-t', name, path).text
    os.utime(tmp_path / 'f', (1, 1))
    assert good(client, '-q', '-t', name, path).text == first
    (tmp_path / 'f').write_text('two')
    second = good(client, '-q', '-t', name, path).text
    assert second != first and shown(client, name, 'cat', '/g') == 'two'
    (tmp_path / 'f').chmod(0o755)
    assert good(client, '-q', '-t', name, path).text != second
    (tmp_path / 'f').write_text('one')
    (tmp_path / 'f').chmod(0o644)
    assert good(client, '-q', '-t', name, path).text == first
    assert good(client, '-q', '--no-cache', '-t', name, path).text != first


def test_arguments_are_part_of_the_cache(client, folder, image):
    name = image()
    path = folder({'Dockerfile': f'FROM {IMAGE}\nARG V=0\nRUN echo v$V >/v\n'})
    ids = [good(client, '-q', '-t', name, '--build-arg', f'V={v}', path).text for v in (1, 2, 1)]
    assert ids[0] == ids[2] != ids[1]
    assert shown(client, name, 'cat', '/v') == 'v1\n'


def test_failing_command(client, folder):
    path = folder({'Dockerfile': f'FROM {IMAGE}\nRUN echo before; exit 9\nRUN echo never\n'})
    done = build(client, '--force-rm', path)
    assert done.code == 9 and "The command '/bin/sh -c echo before; exit 9' returned a non-zero code: 9" in done.err
    assert 'before' in done.out and 'never' not in done.out
    done = build(client, '-q', '--force-rm', path)
    assert done.code == 9 and 'non-zero code: 9' in done.err


def test_run_of_nothing(client, folder, image):
    """The classic builder runs the image's entry point without its arguments, or its command where it has none."""
    name, other = image(), image()
    path = folder({'Dockerfile': f'FROM {IMAGE}\nCMD ["touch", "/cmd"]\nRUN []\nENTRYPOINT ["touch", "/entry"]\nCMD ["/never"]\nRUN []\n',
                   'None': f'FROM {IMAGE}\nRUN\n'})
    good(client, '-t', name, path)
    assert client.run('--network', 'none', '--entrypoint', 'sh', name, '-c', 'ls -d /cmd /entry /never').out == '/cmd\n/entry\n'
    done = build(client, '--force-rm', '-t', other, '-f', path + '/None', path)
    # dockerd 20.10 finds out when the shell refuses it.
    assert done.code != 0 and ('RUN requires at least one argument' in done.err or client.engine.kind == 'p')


@pytest.mark.parametrize('dockerfile,words', [
    ('FROM @\nCOPY nope /x\n', 'COPY failed: file not found in build context or excluded by .dockerignore: stat nope: file does not exist'),
    ('FROM @\nCOPY *.nope /x/\n', 'COPY failed: no source files were specified'),
    ('FROM @\nCOPY Dockerfile .dockerignore /x\n', 'the destination must be a directory and end with a /'),
    ('FROM @\nNOSUCH x\n', 'unknown instruction: NOSUCH'),
    ('FROM @\nRUN --mount=type=secret,id=x true\n', 'requires BuildKit'),
    ('FROM @\nCOPY --chown=nosuch Dockerfile /x\n', 'nosuch'),
    ('FROM @\nCOPY --from=7 /x /y\n', '7'),
    ('FROM @\nENV A=${B\n', 'failed to process "${B"'),
    ('FROM @\nSTOPSIGNAL NONE\n', 'NONE'),
    ('', 'the Dockerfile (Dockerfile) cannot be empty'),
    ('RUN true\n', 'no build stage in current context'),
])
def test_errors(client, folder, dockerfile, words):
    path = folder({'Dockerfile': dockerfile.replace('@', IMAGE), '.dockerignore': ''})
    done = build(client, '--force-rm', path)
    assert done.code != 0 and words in done.err, done.err


@pytest.mark.only('gantry')
def test_values_that_grow(client, folder):
    """Docker's builder makes them until there is no memory left."""
    path = folder({'Dockerfile': f'FROM {IMAGE}\nENV A=0123456789\n' + 'ENV A=$A$A$A$A$A$A$A$A\n' * 12})
    done = build(client, '--force-rm', path)
    assert done.code != 0 and 'variables add more than 1048576 bytes to a word' in done.err, done.err[-500:]


def test_dockerignore(client, folder, image):
    name = image()
    path = folder({'Dockerfile': f'FROM {IMAGE}\nCOPY . /c/\n', 'a.txt': '', 'a.log': '', 'd/b.log': '', 'd/keep.log': '', 'd/c': '', 'gone/x': '',
                   '.dockerignore': '# comment\n*.log\n**/*.log\n!d/keep.log\ngone\nDockerfile\n.dockerignore\n'})
    good(client, '-t', name, path)
    assert shown(client, name, 'sh', '-c', 'cd /c; find . -type f | sort').split() == ['./a.txt', './d/c', './d/keep.log']


def test_contexts(client, folder, image, tmp_path):
    name = image()
    dockerfile = f'FROM {IMAGE}\nRUN echo in >/x\n'
    good(client, '-t', name, '-', stdin=dockerfile)
    assert shown(client, name, 'cat', '/x') == 'in\n'
    good(client, '-t', name, '-f', 'Other', '-', stdin=tar_of({'Other': f'FROM {IMAGE}\nCOPY f /x\n', 'f': 'tar'}))
    assert shown(client, name, 'cat', '/x') == 'tar'
    path = folder({'c/f': 'beside', 'outside/D': f'FROM {IMAGE}\nCOPY f /x\n'})
    good(client, '-t', name, '-f', path + '/outside/D', path + '/c')
    assert shown(client, name, 'cat', '/x') == 'beside'
    good(client, '-t', name, '-f', '-', path + '/c', stdin=f'FROM {IMAGE}\nCOPY f /y\n')
    assert shown(client, name, 'cat', '/y') == 'beside'
    assert build(client, path + '/nosuch').code != 0
    assert build(client, '-f', path + '/nosuch', path + '/c').code != 0


def test_onbuild(client, folder, image):
    base, name = image(), image()
    path = folder({'Dockerfile': f'FROM {IMAGE}\nONBUILD RUN echo triggered >/t\nONBUILD COPY f /f\n', 'f': 'f',
                   'D2': f'FROM {base}\nRUN cat /t /f >/u\n'})
    good(client, '-t', base, path)
    done = good(client, '-t', name, '-f', path + '/D2', path)
    assert '# Executing 2 build triggers' in done.out
    assert shown(client, name, 'cat', '/u') == 'triggered\nf'
    assert client.inspect(name, '{{len .Config.OnBuild}}') == '0'


def test_every_stage_up_to_the_target(client, folder, image):
    """The classic builder's; over BuildKit's API only what the target needs is made (test_build_cli.py)."""
    name = image()
    path = folder({'Dockerfile': f'ARG WHICH=b\nFROM {IMAGE} AS a\nRUN echo a >/a\nFROM {IMAGE} AS b\nRUN echo b >/b\n'
                                 f'FROM $WHICH AS c\nRUN cp /b /c\nFROM {IMAGE}\nRUN exit 7\n'})
    done = good(client, '-t', name, '--target', 'c', path)
    assert [line for line in done.out.splitlines() if line.startswith('Step ')] == [
        'Step 1/7 : ARG WHICH=b', f'Step 2/7 : FROM {IMAGE} AS a', 'Step 3/7 : RUN echo a >/a', f'Step 4/7 : FROM {IMAGE} AS b',
        'Step 5/7 : RUN echo b >/b', 'Step 6/7 : FROM $WHICH AS c', 'Step 7/7 : RUN cp /b /c']
    assert len(re.findall(r'^ ---> [0-9a-f]{12}$', done.out, re.M)) == 6, 'an id for each step but the global ARG'
    assert shown(client, name, 'cat', '/c') == 'b\n'
    assert build(client, '--force-rm', '-t', name, path).code == 7


def test_an_id_for_each_stage(client):
    status, body, _ = post(client.engine, {'Dockerfile': f'FROM {IMAGE} AS a\nENV A=1\nFROM {IMAGE} AS b\nENV B=1\nFROM a\nENV C=1\n'})
    told = [m['aux']['ID'][7:19] for m in messages(body) if 'aux' in m]
    steps = re.findall(r'^ ---> ([0-9a-f]{12})$', ''.join(m.get('stream', '') for m in messages(body)), re.M)
    assert status == 200 and told == [steps[1], steps[3], steps[5]]


def test_limits_and_network_reach_the_steps(client, folder, image):
    name = image()
    path = folder({'Dockerfile': f'FROM {IMAGE}\nRUN df /dev/shm | tail -1 >/shm; cat /etc/hosts >/h; ls /sys/class/net >/n\n'})
    good(client, '--no-cache', '-t', name, '--shm-size', '2m', '--network', 'none', '--add-host', 'some:1.2.3.4', path)
    assert ' 2048 ' in shown(client, name, 'cat', '/shm')
    assert shown(client, name, 'cat', '/n').split() == ['lo']
    assert '1.2.3.4' in shown(client, name, 'cat', '/h')


def test_history(client, folder, image):
    name = image()
    path = folder({'Dockerfile': f'FROM {IMAGE}\nARG V=1\nRUN echo $V >/v\nENV A=b\nCMD ["x"]\n'})
    good(client, '-t', name, path)
    lines = client.ok('history', '--no-trunc', '--format', '{{.CreatedBy}}', name).splitlines()
    assert [' '.join(line.split()) for line in lines[:4]] == ['/bin/sh -c #(nop) CMD ["x"]', '/bin/sh -c #(nop) ENV A=b',
                                                              '|1 V=1 /bin/sh -c echo $V >/v', '/bin/sh -c #(nop) ARG V=1']


def test_intermediate_containers(client, folder, image, names):
    names()
    name = image()
    path = folder({'Dockerfile': f'FROM {IMAGE}\nRUN echo kept >/k\n'})
    good(client, '--no-cache', '--rm=false', '-t', name, path)
    left = client.ok('ps', '-aq').split()
    assert left, 'rm=0 leaves the containers of the steps'
    client.ok('rm', *left)
    assert shown(client, name, 'cat', '/k') == 'kept\n'


@pytest.mark.engine_alone
def test_api_stream(client, image):
    name = image()
    status, body, headers = post(client.engine, {'Dockerfile': f'FROM {IMAGE}\nRUN echo a >/a\n'}, t=name)
    assert status == 200 and headers['Content-Type'] == 'application/json'
    stream = messages(body)
    ident = [m['aux']['ID'] for m in stream if 'aux' in m]
    assert len(ident) == 1 and {'stream': f'Successfully built {ident[0][7:19]}\n'} in stream
    assert stream[-1] == {'stream': f'Successfully tagged {name}\n'}
    status, body, _ = post(client.engine, {'Dockerfile': f'FROM {IMAGE}\nRUN exit 3\n'}, forcerm=1)
    text = "The command '/bin/sh -c exit 3' returned a non-zero code: 3"
    assert status == 200 and messages(body)[-1] == {'errorDetail': {'code': 3, 'message': text}, 'error': text}
    status, body, _ = post(client.engine, {'Dockerfile': f'FROM {IMAGE}\n'}, q=1)
    assert [set(m) for m in messages(body)] == [{'stream'}] and messages(body)[0]['stream'].startswith('sha256:')


@pytest.mark.engine_alone
@pytest.mark.parametrize('query,files,words', [
    ({'dockerfile': 'no'}, {'Dockerfile': 'FROM x'}, 'Cannot locate specified Dockerfile: no'),
    ({}, {}, 'Cannot locate specified Dockerfile: Dockerfile'),
    ({'t': 'Bad:x:y'}, {'Dockerfile': 'FROM x'}, 'invalid reference format'),
    ({'buildargs': 'zz'}, {'Dockerfile': 'FROM x'}, 'error reading build args'),
    ({'squash': '1'}, {'Dockerfile': 'FROM x'}, 'squash is only supported with experimental mode'),
    ({'version': '3'}, {'Dockerfile': 'FROM x'}, 'invalid version "3"'),
    ({'target': 'nope'}, {'Dockerfile': 'FROM x'}, 'target stage "nope" could not be found'),
    ({'dockerfile': '../x'}, {'Dockerfile': 'FROM x'}, '../x'),
])
def test_api_errors(client, query, files, words):
    status, body, _ = post(client.engine, files, **query)
    assert status >= 400 and words in json.loads(body)['message'], (status, body)


@pytest.mark.engine_alone
@pytest.mark.only('gantry')
def test_hostile_contexts(client, image):
    """Nothing of a context leads out of it: not names, not links, not what is copied through them."""
    def context(*entries):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode='w') as tar:
            for name, kind, value in (('Dockerfile', tarfile.REGTYPE, f'FROM {IMAGE}\nCOPY . /c/\nCOPY lin[k] /d/\n'), *entries):
                item = tarfile.TarInfo(name)
                item.type = kind
                if kind == tarfile.REGTYPE:
                    item.size = len(value)
                    tar.addfile(item, io.BytesIO(value.encode()))
                    continue
                if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
                    item.devmajor, item.devminor = value
                else:
                    item.linkname = value
                tar.addfile(item)
        return data.getvalue()
    before = os.stat('/etc/passwd')
    for entries in ([('../../../../tmp/gt-out', tarfile.REGTYPE, 'x')],
                    [('link', tarfile.SYMTYPE, '/etc'), ('link/gt-out', tarfile.REGTYPE, 'x')],
                    [('link', tarfile.LNKTYPE, '/etc/passwd')],
                    [('link', tarfile.SYMTYPE, '/etc/passwd')],
                    [('link', tarfile.SYMTYPE, '../../../../../../../etc/passwd')],
                    [('link', tarfile.SYMTYPE, 'link')]):
        name = image()
        _, body, _ = post(client.engine, context(*entries), t=name)
        assert not os.path.exists('/tmp/gt-out') and not os.path.exists('/etc/gt-out')
        if b'Successfully built' in body:
            found = shown(client, name, 'sh', '-c', 'cat /c/link /d/link 2>/dev/null; true')
            assert 'root:' not in found or 'nobody' in found  # at most the image's own
    after = os.stat('/etc/passwd')
    assert (before.st_mtime, before.st_nlink) == (after.st_mtime, after.st_nlink)
    # A device is one for the steps and containers of the image as well: none of them may open it.
    for kind, numbers in ((tarfile.CHRTYPE, (1, 1)), (tarfile.BLKTYPE, (7, 0))):
        _, body, _ = post(client.engine, context(('link', kind, numbers)), t=(name := image()), nocache=1)
        if b'Successfully built' in body:
            done = client.run('--network', 'none', name, 'head', '-c', '1', '/c/link')
            assert done.code != 0 and 'Operation not permitted' in done.err, done
    # A file that says it is larger than any disk.
    huge = tarfile.TarInfo('huge')
    huge.size = 1 << 50
    begun = time.monotonic()
    status, body, _ = post(client.engine, tar_of({'Dockerfile': f'FROM {IMAGE}\nCOPY huge /\n'})[:1024] + huge.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    assert status >= 400 and json.loads(body)['message'] and time.monotonic() - begun < 20
    status, body, _ = post(client.engine, b'this is no archive at all')
    assert status >= 400 and json.loads(body)['message']
    assert not os.listdir(f'{client.engine.names.root}/engine/builds')


def running_build(engine, query=''):
    """A build whose step runs until it is ended; the socket."""
    body = tar_of({'Dockerfile': f'FROM {IMAGE}\nRUN echo started; exec sleep 300\n'})
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(30)
    stream.connect(engine.socket)
    stream.sendall(f'POST /build?{query} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: {len(body)}\r\n\r\n'.encode() + body)
    text = b''
    while b'"started\\n' not in text:
        piece = stream.recv(65536)
        assert piece, text
        text += piece
    return stream


def containers(engine):
    return json.loads(engine.api('GET', '/containers/json?all=1')[1])


@pytest.mark.engine_alone
def test_client_that_vanishes(client):
    stream = running_build(client.engine)
    assert len(containers(client.engine)) == 1
    stream.close()
    until(lambda: not containers(client.engine), 20)


@pytest.mark.engine_alone
@pytest.mark.only('gantry')
def test_cancel(client):
    stream = running_build(client.engine, 'buildid=some')
    assert client.engine.api('POST', '/build/cancel?id=some')[0] == 200
    text = b''
    while piece := stream.recv(65536):
        text += piece
        if b'error' in text:
            break
    assert b'cancelled' in text
    until(lambda: not containers(client.engine), 20)
    assert client.engine.api('POST', '/build/cancel')[0] >= 400


@pytest.mark.engine_alone
@pytest.mark.only('gantry')
def test_kill_in_the_middle(client, home):
    """A daemon that is killed leaves nothing of its builds to the next one."""
    from harness.client import Client
    from harness.engine import Stack
    from harness.places import IMAGE_TAR
    engine = Stack(7)
    try:
        engine.start()
        other = Client('gantry', engine, home)
        other.ok('load', '-i', IMAGE_TAR)
        snapshots = set(os.listdir(f'{engine.names.root}/containerd/snapshots/overlayfs')) if os.path.isdir(
            f'{engine.names.root}/containerd/snapshots/overlayfs') else None
        running_build(engine)
        engine.kill('gantryd')
        engine.start()
        assert containers(engine) == []
        until(lambda: not os.listdir(f'{engine.names.root}/engine/builds'), 10)
        for name in set(other.ok('images', '-q').split()):
            other.ok('rmi', '-f', name)
        assert [str(t) for t in engine.settled(removed_all=True)] == []
        assert snapshots is None or snapshots
    finally:
        left = engine.destroy()
    assert [str(t) for t in left] == []


@pytest.mark.engine_alone
@pytest.mark.only('gantry')
def test_prune(client, folder, image):
    name = image()
    path = folder({'Dockerfile': f'FROM {IMAGE}\nRUN dd if=/dev/zero of=/big bs=1M count=2 2>/dev/null\n'})
    first = good(client, '-q', '-t', name, path).text
    usage = json.loads(client.engine.api('GET', '/v1.43/system/df?type=build-cache')[1])
    assert any('of=/big' in step['Description'] and step['Size'] >= 2 << 20 for step in usage['BuildCache'])
    # Nothing has to go while there is room; docker passes over filters that it has for other things.
    for spared in ('max-used-space=1000000000000', 'min-free-space=1', 'reserved-space=1000000000000&max-used-space=1'):
        assert json.loads(client.engine.api('POST', f'/v1.48/build/prune?{spared}')[1])['CachesDeleted'] is None, spared
    status, body, _ = client.engine.api('POST', '/v1.48/build/prune?max-used-space=1&filters={"label":["nosuch"]}')
    pruned = json.loads(body)
    assert status == 200 and pruned['CachesDeleted'] and pruned['SpaceReclaimed'] >= 2 << 20
    # The image has all it needs.
    assert shown(client, name, 'sh', '-c', 'wc -c </big') == f'{2 << 20}\n'
    assert good(client, '-q', '-t', name, path).text != first
    assert json.loads(client.engine.api('POST', '/build/prune')[1])['CachesDeleted']


@pytest.mark.engine_alone
def test_builds_beside_each_other(client, image):
    wanted = 8 if SOAK else 3
    tags = [image() for _ in range(wanted)]
    answers = [None] * wanted

    def one(number):
        answers[number] = post(client.engine, {'Dockerfile': f'FROM {IMAGE}\nRUN echo same >/s\nRUN echo {number} >/n\n'}, t=tags[number])
    threads = [threading.Thread(target=one, args=(n,)) for n in range(wanted)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(wanted):
        assert b'Successfully built' in answers[number][1], answers[number]
        assert shown(client, tags[number], 'cat', '/s', '/n') == f'same\n{number}\n'


def test_cache_from(client, folder, image):
    """Steps come from the named images alone, by their history; who is not there is no source."""
    first, second = image(), image()
    path = folder({'Dockerfile': f'FROM {IMAGE}\nENV A=b\nCOPY f /f\nRUN cat /f >/g\n', 'f': 'one'})
    good(client, '-t', first, path)
    done = good(client, '-t', second, '--cache-from', first, path)
    assert done.out.count('Using cache') == 3
    client('rmi', second)
    done = good(client, '-t', second, '--cache-from', 'nosuch:image', path)
    assert 'Using cache' not in done.out and shown(client, second, 'cat', '/g') == 'one'


@pytest.mark.only('gantry')
def test_cache_from_an_image_that_came(client, folder, image, tmp_path):
    """One that another engine has built, whose steps no cache here knows."""
    name, again = image(), image()
    path = folder({'Dockerfile': f'FROM {IMAGE}\nCOPY f /f\nRUN cat /f >/g\n', 'f': f'{os.getpid()}'})
    good(client, '-t', name, path)
    archive = str(tmp_path.parent / f'{tmp_path.name}.tar')
    assert client('save', '-o', archive, name).code == 0
    client('rmi', name)
    client('builder', 'prune', '-af')
    assert client('load', '-i', archive).code == 0
    os.unlink(archive)
    done = good(client, '-t', again, '--cache-from', name, path)
    assert done.out.count('Using cache') == 2 and shown(client, again, 'cat', '/g') == f'{os.getpid()}'


def test_nothing_in_the_dockerfile(client, folder):
    path = folder({'Dockerfile': '# nothing\n\n'})
    done = build(client, path)
    assert done.code != 0 and 'file with no instructions' in done.err


@pytest.mark.only('gantry')
def test_an_event_tells_of_each_image(client, folder):
    """Tagged or not, since API 1.44."""
    path = folder({'Dockerfile': f'FROM {IMAGE}\nRUN echo {os.getpid()} >/e\n'})
    since = time.time()
    built = good(client, '-q', '--no-cache', path).text
    _, body, _ = client.engine.api('GET', f'/events?since={since:.6f}&until={time.time():.6f}')
    events = [json.loads(line) for line in body.splitlines()]
    assert [e['Actor']['ID'] for e in events if (e['Type'], e['Action']) == ('image', 'create')] == [built]
    client('rmi', built)
