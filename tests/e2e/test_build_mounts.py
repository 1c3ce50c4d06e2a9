# SPDX-License-Identifier: Apache-2.0
"""RUN --mount, --network and --security, over POST /build and over BuildKit's API. Debian's dockerd has no BuildKit that this
client could be proven on: what is expected is from the reference of the Dockerfile and from BuildKit's messages."""
import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path

import grpc
import pytest

from harness.buildkit import BuildKit, Session
from harness.client import Client
from harness.engine import Stack, until
from harness.places import IMAGE, IMAGE_TAR


@pytest.fixture(scope='module')
def client(stack, home):
    return Client('gantry', stack, home)


@pytest.fixture
def context(tmp_path):
    folder = tmp_path / 'context'
    (folder / 'sub').mkdir(parents=True)
    (folder / 'a.txt').write_text('text\n')
    (folder / 'sub/b.txt').write_text('below\n')
    (folder / 'up').symlink_to('../../../../../../etc')
    (folder / 'inner').symlink_to('/sub')
    return folder


def clean(stack, client):
    """Nothing is left of steps but what the cache holds."""
    until(lambda: client.ok('ps', '-aq') == '' and list(Path(stack.names.root, 'engine/builds').glob('*')) == [])
    assert list(Path(stack.names.state, 'mounts').glob('*')) == []


@pytest.fixture
def build(stack, client, builder, context):
    """Builds a Dockerfile's text (BuildKit.commands); at the end nothing is left of its steps."""
    def run(text, *arguments, **options):
        return builder.commands(context, text.replace('@', IMAGE), *arguments, **options)
    yield run
    clean(stack, client)


def refused(run, *arguments, **options):
    with pytest.raises(grpc.RpcError) as caught:
        run(*arguments, **options)
    return caught.value.details()


def test_bind(stack, client, build):
    said = build('FROM @ AS one\nRUN mkdir -p /d/e && echo made >/d/e/f\n'
                 'FROM @\nWORKDIR /w\n'
                 'RUN --mount=target=/ctx cat /ctx/a.txt; touch /ctx/x 2>&1 || :\n'
                 'RUN --mount=type=bind,source=sub/b.txt,target=file cat /w/file\n'
                 'RUN --mount=type=bind,from=one,source=/d,target=/one cat /one/e/f; touch /one/x 2>&1 || :\n'
                 'RUN --mount=type=bind,from=@,target=/img test -x /img/bin/busybox && echo image\n'
                 'RUN --mount=type=bind,rw,target=/ctx echo changed >/ctx/a.txt && cat /ctx/a.txt\n'
                 'RUN --mount=type=bind,from=one,rw,target=/one echo changed >/one/d/e/f && cat /one/d/e/f\n'
                 'RUN --mount=target=/ctx --mount=from=one,target=/one cat /ctx/a.txt /one/d/e/f\n'
                 'RUN --mount=target=/ctx,source=inner cat /ctx/b.txt\n', 'own/bind')
    read_only = "touch: {}: Read-only file system\n"
    assert said == ('text\n' + read_only.format('/ctx/x') + 'below\n' + 'made\n' + read_only.format('/one/x') + 'image\n'
                    + 'changed\n' + 'changed\n' + 'text\nmade\n' + 'below\n')
    # No target stays, and what was above it has its old time.
    assert client.ok('run', '--rm', 'own/bind', 'sh', '-c', 'ls -A / /w | grep -E "ctx|one|img|file"; stat -c %Y /').strip() \
        == client.ok('run', '--rm', IMAGE, 'stat', '-c', '%Y', '/')
    client.ok('rmi', 'own/bind')
    clean(stack, client)


def test_bind_follows_no_link_out(stack, client, build):
    """Links of a hostile context or image are followed below its own root."""
    secret = Path('/tmp', f'gt-{uuid.uuid4().hex}')
    secret.mkdir()
    (secret / 'x').write_text('host')
    try:
        said = refused(build, f'FROM @\nRUN --mount=target=/ctx,source=up{secret}/x cat /ctx\n')
        assert 'RUN --mount failed' in said and 'not found' in said, said
        said = refused(build, f'FROM @ AS evil\nRUN ln -s {secret} /out && ln -s ../../../../..{secret} /far\n'
                              'FROM @\nRUN --mount=from=evil,source=/out,target=/x ls /x\n')
        assert 'not found' in said, said
        said = refused(build, f'FROM @ AS evil\nRUN ln -s ../../../../..{secret} /far\n'
                              'FROM @\nRUN --mount=type=cache,from=evil,source=/far,target=/x ls /x\n')
        assert 'not found' in said, said
        # A target that the image makes a link is one below the image's root.
        said = build(f'FROM @\nRUN ln -s {secret} /link\nRUN --mount=target=/link/ctx ls /link/ctx/a.txt\n', 'own/link')
        assert said == '/link/ctx/a.txt\n'
        assert sorted(os.listdir(secret)) == ['x']
        assert client.run('own/link', 'ls', f'{secret}').code != 0, 'the target is no part of the image'
        client.ok('rmi', 'own/link')
    finally:
        (secret / 'x').unlink()
        secret.rmdir()
    clean(stack, client)


def test_bind_is_part_of_the_cache(build, context):
    text = 'FROM @\nRUN --mount=target=/ctx,source=sub cat /ctx/b.txt\n'
    assert build(text) == 'below\n'
    (context / 'a.txt').write_text('not in it')
    os.utime(context / 'sub/b.txt', (1, 1))
    assert build(text) == ''
    (context / 'sub/b.txt').write_text('other\n')
    assert build(text) == 'other\n'


@pytest.mark.parametrize('text, said', [
    ('RUN --mount=type=bind true', 'target is required for type=bind'),
    ('RUN --mount=type=odd,target=/x true', 'unsupported mount type "odd"'),
    ('RUN --mount=target=/x,from=later true\nFROM @ AS later\nCOPY --from=0 /bin/busybox /b', 'cannot copy from stage "later", it needs to be defined before current stage'),
    ('RUN --mount=target=/x,from=1 true\nFROM @\nCOPY --from=0 /bin/busybox /b', 'refers to current build stage or a later one'),
    ('RUN --mount=target=/x,source=missing true', 'RUN --mount failed: "/missing": not found'),
    ('RUN --mount=target=/ true', "mount path must be absolute and not '/'"),
    ('RUN --mount=type=secret,id=s,required true', 'secret s: not found'),
    ('RUN --mount=type=ssh,required true', 'no SSH key "default" forwarded from the client'),
    ('RUN --network=odd true', 'unsupported network mode "odd"'),
    ('RUN --network=host true', 'network.host is not allowed'),
    ('RUN --security=insecure true', 'security.insecure is not allowed'),
    ('RUN --security=odd true', 'unsupported security mode "odd"'),
], ids=lambda value: value if value.startswith('RUN') else '')
def test_errors(stack, client, build, text, said):
    assert said in refused(build, f'FROM @\n{text}\n')
    clean(stack, client)


def test_tmpfs(build):
    said = build('FROM @\nRUN mkdir /t && echo below >/t/f\n'
                 'RUN --mount=type=tmpfs,target=/t,size=1m ls -A /t; echo x >/t/g; grep " /t " /proc/mounts; '
                 'dd if=/dev/zero of=/t/big bs=64k count=32 2>/dev/null || echo full\nRUN ls -A /t\n')
    assert 'size=1024k' in said and 'nosuid' in said and said.splitlines()[-2:] == ['full', 'f'], said


def caches(stack):
    listed = json.loads(stack.api('GET', '/v1.43/system/df')[1])['BuildCache']
    return {entry['Description']: entry for entry in listed if entry['Type'] == 'exec.cachemount'}


def test_cache(stack, client, build):
    # Contexts that builds of other tests have left.
    client.ok('builder', 'prune', '-af', '--filter', 'type=source.local')
    ident = uuid.uuid4().hex
    mount = f'RUN --mount=type=cache,id={ident},target=/c'
    said = build(f'FROM @\n{mount} ls -A /c; echo 1 >/c/f; stat -c "%a %u %g" /c\n{mount} cat /c/f\n', 'own/cache')
    assert said == '755 0 0\n1\n'
    assert client.ok('run', '--rm', 'own/cache', 'sh', '-c', 'ls -d /c 2>/dev/null; echo') == ''
    client.ok('rmi', 'own/cache')
    # What a cache holds is no part of a step's key, but for what it is filled with.
    text = f'FROM @\n{mount} cat /c/f; echo {ident}\n'
    assert build(text) == f'1\n{ident}\n' and build(f'FROM @\n{mount} echo 2 >/c/f\n') == '' and build(text) == ''
    owned = f'RUN --mount=type=cache,id={ident},target=/c,uid=7,gid=8,mode=0700'
    assert build(f'FROM @\n{owned} stat -c "%a %u %g" /c; ls -A /c\n') == '700 7 8\n'
    filled = f'FROM @ AS one\nRUN mkdir /s && echo seed >/s/f\nFROM @\nRUN --mount=type=cache,id={ident},from=one,source=/s,target=/c'
    assert build(f'{filled} cat /c/f; echo more >>/c/f\n') == 'seed\n'
    assert build(f'{filled} cat /c/f; true\n') == 'seed\nmore\n'
    assert 'Read-only' in build(f'FROM @\nRUN --mount=type=cache,id={ident},target=/c,ro touch /c/x 2>&1 || true\n')
    # Another name space has caches of its own.
    assert build(f'FROM @\n{mount} ls -A /c; :\n', options={'build-arg:BUILDKIT_CACHE_MOUNT_NS': ident}) == ''
    # It is shown, and pruned with its files.
    assert f'cached mount {ident}' in caches(stack) and f'cached mount {ident}/{ident}' in caches(stack)
    folder = Path(stack.names.root, 'engine/build-caches')
    assert len(list(folder.iterdir())) == len([e for e in json.loads(stack.api('GET', '/v1.43/system/df')[1])['BuildCache']
                                               if e['Type'] == 'exec.cachemount'])
    listed = client.ok('builder', 'prune', '-af', '--filter', 'type=exec.cachemount')
    assert 'Total' in listed
    assert caches(stack) == {} and list(folder.iterdir()) == []
    assert build(f'FROM @\n{mount} ls -A /c; true\n') == ''


def beside(*works):
    """Runs them at once; what they return."""
    out = [None] * len(works)

    def run(number):
        out[number] = works[number]()
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return out


@pytest.mark.parametrize('sharing, both', [('shared', True), ('private', False), ('locked', False)])
def test_sharing(stack, builder, tmp_path, sharing, both):
    """Two builds with one cache at once: each waits for the other's file, which only comes when they share."""
    ident = uuid.uuid4().hex

    def one(me, other):
        folder = tmp_path / me
        folder.mkdir()
        (folder / 'Dockerfile').write_text(
            f'FROM {IMAGE}\nRUN --mount=type=cache,id={ident},sharing={sharing},target=/c '
            f'touch /c/{me}; i=0; while [ $i -lt 30 ]; do [ -e /c/{other} ] && echo met && rm /c/{me} && exit; sleep 0.1; i=$((i+1)); done; '
            f'rm /c/{me}; echo alone\n')
        session = Session(stack.socket, {'context': folder, 'dockerfile': folder})
        solve, updates = builder.build(session, exporters=[])
        solve.result()
        session.close()
        return ''.join(log.msg.decode() for u in updates for log in u.logs)
    began = time.monotonic()
    said = beside(lambda: one('a', 'b'), lambda: one('b', 'a'))
    took = time.monotonic() - began
    if both:
        assert 'met\n' in said
    else:
        assert said == ['alone\n', 'alone\n']
        # One after the other, or at once in directories of their own.
        assert took > 6 if sharing == 'locked' else took < 6
    of_it = [e for e in json.loads(stack.api('GET', '/v1.43/system/df')[1])['BuildCache'] if e['Description'].endswith(ident)]
    assert len(of_it) == (2 if sharing == 'private' else 1)


def test_a_wait_for_a_locked_cache_is_cancelled(stack, client, builder, context):
    ident = uuid.uuid4().hex
    (context / 'Dockerfile').write_text(f'FROM {IMAGE}\nARG WHO\nRUN --mount=type=cache,id={ident},sharing=locked,target=/c '
                                        'echo begun $WHO; sleep 1000\n')
    session = Session(stack.socket, {'context': context, 'dockerfile': context})

    def start(who):
        ref = uuid.uuid4().hex
        solve = builder.control('Solve', Ref=ref, Session=session.id, Frontend='dockerfile.v0', FrontendAttrs={'build-arg:WHO': who})
        return solve, builder.control('Status', streams=True, Ref=ref)
    first, told = start('one')
    for update in told:
        if any(log.msg == b'begun one\n' for log in update.logs):
            break
    second, told = start('two')
    for update in told:
        if any('RUN' in v.name and not v.completed.seconds for v in update.vertexes):
            break
    # It may not be pruned while it is used.
    assert client.ok('builder', 'prune', '-af')
    assert f'cached mount {ident}' in caches(stack)
    second.cancel()
    first.cancel()
    clean(stack, client)
    session.close()
    until(lambda: not caches(stack)[f'cached mount {ident}']['InUse'])


def test_secret(stack, client, build):
    secret = uuid.uuid4().hex
    name = 'own/secret'
    said = build('FROM @\nRUN --mount=type=secret,id=s cat /run/secrets/s; stat -c " %a %u %g" /run/secrets/s; touch /run/secrets/s 2>&1 || true\n'
                 'RUN --mount=type=secret,id=s,target=/root/.s,uid=5,gid=6,mode=0440 stat -c "%a %u %g" /root/.s\n'
                 'RUN --mount=type=secret,id=s,env=S echo "$S"; ls /run/secrets 2>/dev/null || echo none\n'
                 'RUN --mount=type=secret,id=other ls /run/secrets/other 2>/dev/null || echo without\n'
                 'RUN env | grep -c "^S=" || true\n', name, secrets={'s': secret.encode()})
    assert said == (f'{secret} 400 0 0\ntouch: /run/secrets/s: Read-only file system\n440 5 6\n{secret}\nnone\nwithout\n0\n')
    # It is nowhere in the image, nor in what the engine has written down.
    assert client.ok('run', '--rm', name, 'sh', '-c', 'ls -d /run/secrets /root/.s 2>/dev/null; echo') == ''
    assert secret not in client.ok('image', 'inspect', name) + client.ok('history', '--no-trunc', name)
    for path in Path(stack.names.root, 'engine').glob('engine.db*'):
        assert secret.encode() not in path.read_bytes()
    client.ok('rmi', name)
    # Another secret, the same step: the cache does not know secrets.
    text = 'FROM @\nRUN --mount=type=secret,id=s cat /run/secrets/s; echo\n'
    assert build(text, secrets={'s': b'one'}) == 'one\n'
    assert build(text, secrets={'s': b'two'}) == ''
    clean(stack, client)


def agent(answers):
    """An ssh agent: what it says to each message."""
    def serve(requests):
        for request in requests:
            yield answers + request.data
    return serve


def test_ssh(stack, client, build):
    said = build('FROM @\nRUN --mount=type=ssh echo $SSH_AUTH_SOCK; stat -c "%a %u %F" $SSH_AUTH_SOCK\n'
                 'RUN --mount=type=ssh,id=b,target=/a.sock,uid=5,mode=0660 echo $SSH_AUTH_SOCK; stat -c "%a %u %F" /a.sock\n'
                 'RUN --mount=type=ssh,id=none echo "-$SSH_AUTH_SOCK-"\n', 'own/ssh', agents={'default': agent(b''), 'b': agent(b'')})
    assert said == '/run/buildkit/ssh_agent.0\n600 0 socket\n/a.sock\n660 5 socket\n--\n'
    assert client.ok('run', '--rm', 'own/ssh', 'sh', '-c', 'ls -d /run/buildkit /a.sock 2>/dev/null; echo') == ''
    client.ok('rmi', 'own/ssh')
    clean(stack, client)


def test_ssh_forwards(stack, client, builder, context):
    """The image has no client of unix sockets: the step's socket is spoken to through its process's root."""
    (context / 'Dockerfile').write_text(f'FROM {IMAGE}\nRUN --mount=type=ssh echo begun; while [ ! -e /tmp/go ]; do sleep 0.1; done\n')
    session = Session(stack.socket, {'context': context, 'dockerfile': context}, agents={'default': agent(b'to you: ')})
    ref = uuid.uuid4().hex
    solve = builder.control('Solve', Ref=ref, Session=session.id, Frontend='dockerfile.v0')
    for update in builder.control('Status', streams=True, Ref=ref):
        if any(log.msg == b'begun\n' for log in update.logs):
            break
    pid = client.ok('inspect', '-f', '{{.State.Pid}}', client.ok('ps', '-q'))
    talks = []
    for _ in range(3):
        talk = socket.socket(socket.AF_UNIX)
        talk.settimeout(20)
        talk.connect(f'/proc/{pid}/root/run/buildkit/ssh_agent.0')
        talks.append(talk)
    for number, talk in enumerate(talks):
        for piece in (b'one', b'two %d' % number):
            talk.sendall(piece)
            assert talk.recv(100) == b'to you: ' + piece
    # One ends by itself, the others with the step.
    talks[0].shutdown(socket.SHUT_WR)
    assert talks[0].recv(10) == b''
    Path(f'/proc/{pid}/root/tmp/go').touch()
    solve.result()
    assert [talk.recv(10) for talk in talks[1:]] == [b'', b'']
    for talk in talks:
        talk.close()
    session.close()
    clean(stack, client)


def test_network(build):
    links = 'ls /sys/class/net | sort | tr "\\n" " "'
    with_net = build(f'FROM @\nRUN {links}\n')
    assert 'eth0' in with_net
    assert 'eth0' not in build(f'FROM @\nRUN --network=none {links}; :\n')
    assert build(f'FROM @\nRUN --network=default {links}; true\n') == with_net
    assert build('FROM @\nRUN --network=host readlink /proc/self/ns/net\n', entitlements=['network.host']).strip() != ''


def test_entitlements(stack, builder, build):
    """What a build may do is granted by its client, and to the client by the daemon's configuration."""
    show = 'grep CapEff /proc/self/status'
    assert build(f'FROM @\nRUN {show}\n') == build(f'FROM @\nRUN --security=sandbox {show}; :\n')
    for name in ('security.insecure', 'device'):
        with pytest.raises(grpc.RpcError, match=f'granting entitlement {name} is not allowed by build daemon configuration'):
            builder.control('Solve', Ref=uuid.uuid4().hex, Entitlements=[name]).result()
    assert 'network.host is not allowed' in refused(build, 'FROM @\nRUN true\n', options={'force-network-mode': 'host'})


def test_entitlements_of_the_configuration(home, tmp_path):
    config = tmp_path / 'daemon.json'
    config.write_text(json.dumps({'builder': {'Entitlements': {'security-insecure': True, 'network-host': False}}}))
    engine = Stack(6, ['--config-file', str(config)])
    try:
        engine.start()
        client = Client('gantry', engine, home)
        client.ok('load', '-i', IMAGE_TAR)
        (tmp_path / 'Dockerfile').write_text(f'FROM {IMAGE}\nRUN --security=insecure grep CapEff /proc/self/status\n')
        builder = BuildKit(engine.socket)
        session = Session(engine.socket, {'context': tmp_path, 'dockerfile': tmp_path})
        solve, updates = builder.build(session, exporters=[], entitlements=['security.insecure'])
        solve.result()
        capabilities = [log.msg for u in updates for log in u.logs][0].split()[1]
        assert int(capabilities, 16) & 1 << 21, 'CAP_SYS_ADMIN'
        solve, _ = builder.build(session, exporters=[])
        with pytest.raises(grpc.RpcError, match='security.insecure is not allowed'):
            solve.result()
        solve = builder.control('Solve', Ref='x', Session=session.id, Entitlements=['network.host'])
        with pytest.raises(grpc.RpcError, match='granting entitlement network.host is not allowed'):
            solve.result()
        session.close()
        builder.close()
        client.ok('rmi', IMAGE)
    finally:
        left = engine.destroy()
    assert [str(t) for t in left] == []


def test_kill_in_the_middle(home, tmp_path):
    """kill -9 of the daemon while a step has mounts of all kinds: the next one finds and removes all but the cache."""
    engine = Stack(6)
    try:
        engine.start()
        client = Client('gantry', engine, home)
        client.ok('load', '-i', IMAGE_TAR)
        (tmp_path / 'Dockerfile').write_text(
            f'FROM {IMAGE} AS one\nRUN echo x >/x\nFROM {IMAGE}\nRUN --mount=target=/ctx,rw --mount=from=one,target=/one,rw '
            '--mount=type=cache,target=/cache --mount=type=tmpfs,target=/t --mount=type=secret,id=s --mount=type=ssh '
            'echo kept >/cache/f; echo begun; sleep 1000\n')
        builder = BuildKit(engine.socket)
        session = Session(engine.socket, {'context': tmp_path, 'dockerfile': tmp_path}, secrets={'s': b'x'}, agents={'default': agent(b'')})
        solve = builder.control('Solve', Ref='r', Session=session.id, Frontend='dockerfile.v0')
        for update in builder.control('Status', streams=True, Ref='r'):
            if any(log.msg == b'begun\n' for log in update.logs):
                break
        engine.kill('gantryd')
        assert solve.exception()
        session.close()
        builder.close()
        engine.start()
        assert client.ok('ps', '-aq') == ''
        until(lambda: not os.listdir(f'{engine.names.root}/engine/builds'))
        assert not os.path.exists(f'{engine.names.state}/mounts') or os.listdir(f'{engine.names.state}/mounts') == []
        folder = Path(engine.names.root, 'engine/build-caches')
        assert [p.read_text() for p in folder.glob('*/f')] == ['kept\n']
        # What has no record is no cache.
        (folder / 'lost').mkdir()
        engine.kill('gantryd')
        engine.start()
        assert len(list(folder.iterdir())) == 1
        client.ok('builder', 'prune', '-af')
        assert list(folder.iterdir()) == []
        client.ok('rmi', IMAGE)
        assert [str(t) for t in engine.settled(removed_all=True)] == []
    finally:
        left = engine.destroy()
    assert [str(t) for t in left] == []


def test_the_classic_api(stack, client, context):
    """What needs no client's session works there too; the rest is docker's error."""
    (context / 'Dockerfile').write_text(f'FROM {IMAGE}\nRUN --mount=target=/ctx --mount=type=cache,target=/c --mount=type=tmpfs,target=/t '
                                        'cp /ctx/a.txt /t/ && cp /t/a.txt /c/ && cat /c/a.txt\nRUN --network=none true\n')
    assert 'text\n' in client.ok('build', '--no-cache', str(context), environment={'DOCKER_BUILDKIT': '0'})
    for flag, said in (('--mount=type=secret,id=s', 'the --mount option requires BuildKit. Refer to https://docs.docker.com/go/buildkit/'),
                       ('--mount=type=ssh', 'the --mount option requires BuildKit. Refer to https://docs.docker.com/go/buildkit/'),
                       ('--security=insecure', 'security.insecure is not allowed')):
        (context / 'Dockerfile').write_text(f'FROM {IMAGE}\nRUN {flag} true\n')
        done = client('build', str(context), environment={'DOCKER_BUILDKIT': '0'})
        assert done.code != 0 and said in done.err, done.err
    clean(stack, client)
