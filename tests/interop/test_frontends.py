# SPDX-License-Identifier: Apache-2.0
"""Front ends that are images, and containers of the gateway, by the project's own client and front end (harness/frontends.py). What is
expected is from BuildKit's protocol and sources. Where GANTRY_FRONTEND names the folder that has BuildKit's own Dockerfile front end
(`dockerfile-frontend`, linked statically), it builds, too, by gantry's client and by buildx and buildctl where they are named."""
import io
import json
import os
import pty
import shutil
import subprocess
import tarfile
import threading
import time
import uuid
from pathlib import Path

import grpc
import pytest

from build_corpus import CORPUS, context_of, files_of
from harness.buildkit import BuildKit, Session
from harness.client import Client
from harness.engine import Stack, until
from harness.frontends import LABEL, Remote
from harness.grpc_api import message, message_class
from harness.llb import Definition
from harness.places import IMAGE, IMAGE_TAR
from harness.registry import Registry

FRONTEND, BUILDX, BUILDCTL = (os.environ.get(f'GANTRY_{name}') for name in ('FRONTEND', 'BUILDX', 'BUILDCTL'))


@pytest.fixture(scope='module')
def client(stack, home):
    return Client('gantry', stack, home)


@pytest.fixture(scope='module')
def remote(stack, client):
    made = Remote(stack, client)
    yield made
    made.close()


def make_image(client, folder, script, label=LABEL, more=''):
    name = f'own/fe-{uuid.uuid4().hex[:8]}'
    folder.mkdir(exist_ok=True)
    (folder / 'Dockerfile').write_text(f'FROM {IMAGE}\nLABEL {label}\n{more}\nENTRYPOINT {json.dumps(["sh", "-c", script])}\nCMD ["never"]\n')
    client.ok('build', '-q', '-t', name, folder, environment={'DOCKER_BUILDKIT': '0'})
    return name


@pytest.fixture
def image(client, tmp_path):
    names = []

    def make(script, **options):
        names.append(make_image(client, tmp_path / 'image', script, **options))
        return names[-1]
    yield make
    for name in names:
        client.ok('rmi', '-f', name)


@pytest.fixture
def session(stack, tmp_path):
    context = tmp_path / 'context'
    context.mkdir(exist_ok=True)
    (context / 'Dockerfile').write_text('the front end reads it\n')
    made = Session(stack.socket, {'context': context, 'dockerfile': context}, secrets={'s': b'secret'})
    yield made
    made.close()


def begin(builder, session, image, options=None, inputs=None, frontend='gateway.v0', **fields):
    attributes = dict(options or {}, **({'source': image} if image else {}))
    return builder.control('Solve', Ref=uuid.uuid4().hex, Session=session.id, Frontend=frontend, FrontendAttrs=attributes,
                           FrontendInputs={name: message('pb.Definition', **one) for name, one in (inputs or {}).items()}, **fields)


def refused(call):
    with pytest.raises(grpc.RpcError) as caught:
        call.result()
    return caught.value.details()


def nothing_left(stack, client):
    until(lambda: client.ok('ps', '-aq') == '' and list(Path(stack.names.root, 'engine/builds').glob('*')) == [])


def test_a_front_end(stack, client, builder, session, remote, image):
    """What it is given, what it may call, what becomes of its result."""
    name, tag = image(f'echo to-err >&2; {remote.script()}', more='ENV OWN=value\nUSER 7\nWORKDIR /w'), f'own/{uuid.uuid4().hex[:8]}'
    llb = Definition()
    given = llb.done(llb.files(None, ('mkfile', {'path': '/i', 'mode': 0o644, 'data': b'input'})))
    call = begin(builder, session, name, {'build-arg:A': 'b=c', 'filename': 'Dockerfile'}, {'in': given}, Exporters=[{'Type': 'image', 'Attrs': {'name': tag}}])
    front = remote.accept(call).open()
    try:
        seen = front.environment
        assert front.options == {'source': name, 'build-arg:A': 'b=c', 'filename': 'Dockerfile'}
        assert (seen['OWN'], seen['PWD'], seen['BUILDKIT_SESSION_ID']) == ('value', '/w', session.id) and seen['BUILDKIT_EXPORTEDPRODUCT']
        worker, = json.loads(seen['BUILDKIT_WORKERS'])
        assert worker['platforms'][0]['os'] == 'linux' and worker['id']
        assert {c.ID for c in front.call('Ping', 'PongResponse').result().FrontendAPICaps} >= {'solve.base', 'return', 'gateway.exec', 'frontend.inputs'}
        # Its container is one like every other, but no user's.
        inspected = json.loads(client.ok('inspect', client.ok('ps', '-q')))[0]
        assert inspected['Config']['User'] == '' and 'BUILDKIT' not in json.dumps(inspected)
        inputs = front.call('Inputs').result().Definitions
        assert list(inputs) == ['in'] and getattr(inputs['in'], 'def') == given['def']
        read = front.call('Solve', Definition=inputs['in'], allowResultReturn=True).result().result.ref.id
        assert front.call('ReadFile', Ref=read, FilePath='/i').result().Data == b'input'
        llb = Definition()
        source = front.solve(llb, llb.source('local://dockerfile'))
        assert front.call('ReadFile', Ref=source, FilePath='Dockerfile').result().Data == b'the front end reads it\n'
        assert [e.path for e in front.call('ReadDir', Ref=source, DirPath='/').result().entries] == ['Dockerfile']
        assert front.call('StatFile', Ref=source, Path='Dockerfile').result().stat.size == 23
        config = json.loads(front.call('ResolveImageConfig', Ref=f'docker.io/{IMAGE}').result().Config)
        assert config['os'] == 'linux'
        llb = Definition()
        made = front.solve(llb, llb.run(llb.image(IMAGE), 'sh', '-c', 'echo ran > /f'))
        front.call('Evaluate', Ref=made).result()
        front.call('Warn', digest='sha256:' + '0' * 64, level=1, short=b'mind this', detail=[b'more'], url='u').result()
        front.give(made, containerimage__config=json.dumps({'os': 'linux', 'architecture': config['architecture'], 'config': {'Cmd': ['cat', '/f']}}).encode(),
                   frontend__own=b'told', other=b'not told')
        assert not call.done()  # it may do more until it ends
    finally:
        front.close()
    told = dict(call.result().ExporterResponse)
    assert told['image.name'] == f'docker.io/{tag}:latest' and told['frontend.own'] == 'told' and 'other' not in told
    assert client.ok('run', '--rm', tag) == 'ran'
    client.ok('rmi', tag)
    nothing_left(stack, client)


def test_on_both(engine, home, tmp_path):
    """What Debian's dockerd has of it with the BuildKit within, by the same words."""
    client = Client('gantry' if isinstance(engine, Stack) else 'docker', engine, home)
    remote, builder, context = Remote(engine, client), BuildKit(engine.socket), tmp_path / 'context'
    context.mkdir()
    (context / 'Dockerfile').write_text('read\n')
    names = [make_image(client, tmp_path / 'image', script) for script in (remote.script(), 'exit 3', 'true')]
    session = Session(engine.socket, {'dockerfile': context})  # Debian's looks every few seconds whether it is well
    llb = Definition()
    given = llb.done(llb.files(None, ('mkfile', {'path': '/i', 'mode': 0o644})))
    call = begin(builder, session, names[0], {'build-arg:A': 'b=c'}, {'in': given})
    front = remote.accept(call).open()
    assert front.options == {'source': names[0], 'build-arg:A': 'b=c'} and front.environment['BUILDKIT_SESSION_ID'] == session.id
    assert json.loads(front.environment['BUILDKIT_WORKERS'])[0] and front.environment['PWD'] == '/'
    assert getattr(front.call('Inputs').result().Definitions['in'], 'def') == given['def']
    llb = Definition()
    assert front.call('ReadFile', Ref=front.solve(llb, llb.source('local://dockerfile')), FilePath='Dockerfile').result().Data == b'read\n'
    llb = Definition()
    made = front.solve(llb, llb.run(llb.image(IMAGE), 'sh', '-c', 'echo ran > /f'))
    front.call('NewContainer', ContainerID='c', Mounts=[{'dest': '/', 'resultID': made}]).result()
    processes = Processes(front.channel)
    processes.begin('p', 'c', ['sh', '-c', 'cat; cat /f; exit 4'], stdin=True)
    processes.send('p', File={'Fd': 0, 'Data': b'in ', 'EOF': True})
    assert processes.wait('p') == (4, 'exit code: 4') and processes.out['p', 1] == b'in ran\n'
    front.give(made)
    assert refused(front.call('Return', result={}))
    front.close()
    assert dict(call.result().ExporterResponse) == {}
    for name in names[1:]:
        assert refused(begin(builder, session, name))
    for one in (session, builder, remote):
        one.close()
    client.ok('rmi', '-f', *names)


def test_progress(builder, session, remote, image):
    name, ref = image(f'echo to-err >&2; {remote.script()}'), uuid.uuid4().hex
    call = builder.control('Solve', Ref=ref, Session=session.id, Frontend='gateway.v0', FrontendAttrs={'source': name})
    front = remote.accept(call).open()
    front.call('Warn', digest='sha256:' + '0' * 64, level=1, short=b'mind this').result()
    front.give()
    front.close()
    call.result()
    updates = list(builder.control('Status', streams=True, Ref=ref))
    assert [v.name for v in {v.digest: v for u in updates for v in u.vertexes}.values()][-1] == f'front end docker-image://docker.io/{name}:latest'
    assert [(log.stream, log.msg) for u in updates for log in u.logs] == [(2, b'to-err\n')]
    assert [w.summary for u in updates for w in u.warnings] == [b'mind this']


def test_syntax_lines(stack, client, builder, session, remote, image, tmp_path):
    """The line sends a build of dockerfile.v0 to the front end that it names; so does the argument; requests go there, too."""
    name = image(remote.script())
    (tmp_path / 'context/Dockerfile').write_text(f'# syntax = {name} more words\nnot the language of ours\n')
    call = begin(builder, session, None, {'label:l': 'v'}, frontend='dockerfile.v0')
    front = remote.accept(call).open()
    assert front.options == {'source': name, 'cmdline': f'{name} more words', 'label:l': 'v'}
    # It may leave the rest to ours, which does not follow the line again.
    (tmp_path / 'context/Other').write_text(f'# syntax={name}\nFROM {IMAGE}\nRUN echo ours > /f\n')
    solved = front.call('Solve', Frontend='dockerfile.v0', FrontendOpt={'filename': 'Other', 'cmdline': 'x'}, allowResultReturn=True).result().result
    assert front.call('ReadFile', Ref=solved.ref.id, FilePath='/f').result().Data == b'ours\n'
    assert json.loads(solved.metadata['containerimage.config'])['os'] == 'linux'
    front.give(solved.ref.id)
    front.close()
    call.result()
    (tmp_path / 'context/Dockerfile').write_text(f'FROM {IMAGE}\n')
    call = begin(builder, session, None, {'build-arg:BUILDKIT_SYNTAX': name, 'requestid': 'frontend.own'}, frontend='dockerfile.v0')
    front = remote.accept(call).open()
    assert front.options['requestid'] == 'frontend.own' and front.options['cmdline'] == name
    front.give(result__txt=b'answer')
    front.close()
    assert dict(call.result().ExporterResponse) == {'result.txt': 'answer'}
    # gantry's own client.
    (tmp_path / 'context/Dockerfile').write_text(f'# syntax={name}\n')
    process = client.start('build', '-t', 'own/fe-built', tmp_path / 'context', environment={'BUILDKIT_PROGRESS': 'plain'})
    front = remote.accept().open()
    llb = Definition()
    front.give(front.solve(llb, llb.files(None, ('mkfile', {'path': '/made', 'mode': 0o644}))))
    front.close()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and b'front end docker-image://' in err, err
    assert client.ok('image', 'inspect', '-f', '{{len .RootFS.Layers}}', 'own/fe-built') == '1'
    client.ok('rmi', 'own/fe-built')
    # POST /build has the body alone: no front end could ask for its files.
    refusing = client('build', tmp_path / 'context', environment={'DOCKER_BUILDKIT': '0'})
    assert refusing.code != 0


def test_networks(builder, session, image, remote):
    """The build's network, or none where the label says so; no port of its own is open there."""
    script = 'ls /sys/class/net | tr "\\n" " " >&2'
    for label, said in ((LABEL, 'eth0'), (f'{LABEL} moby.buildkit.frontend.network.none=true', 'lo ')):
        ref = uuid.uuid4().hex
        call = builder.control('Solve', Ref=ref, Session=session.id, Frontend='gateway.v0', FrontendAttrs={'source': image(script, label=label)})
        assert 'ended without a result' in refused(call)
        assert ''.join(log.msg.decode() for u in builder.control('Status', streams=True, Ref=ref) for log in u.logs).startswith(said)


def test_its_own_error(builder, session, remote, image):
    name = image(f'{remote.script()}; exit 3')
    call = begin(builder, session, name)
    front = remote.accept(call).open()
    front.call('Return', error={'code': 3, 'message': 'nothing to build here'}).result()
    assert 'has returned a result already' in refused(front.call('Return', result={}))
    front.close()
    assert refused(call) == 'nothing to build here'


def test_capabilities(builder, session, image):
    name = image('exit 1', label='moby.buildkit.frontend.caps=moby.buildkit.frontend.contexts+forward')
    said = f'the front end docker.io/{name}:latest does not have the capability moby.buildkit.frontend.'
    llb = Definition()
    given = llb.done(llb.files(None, ('mkfile', {'path': '/i'})))
    for options, inputs, which in (({}, {'in': given}, 'inputs'), ({'frontend.caps': 'moby.buildkit.frontend.subrequests'}, {}, 'subrequests')):
        with pytest.raises(grpc.RpcError) as caught:
            begin(builder, session, name, options, inputs).result()
        assert caught.value.details() == said + which and caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize('script, said', [
    ('exit 3', 'it ended with code 3'),
    ('true', 'ended without a result'),
    ('sh -c "kill -9 \\$\\$"; exit $?', 'it ended with code 137'),
    ('exec cat /dev/urandom', 'this is no HTTP/2'),
    ('exec cat', 'this is no HTTP/2'),
    ('printf "PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n"; exec cat /dev/zero', 'what it writes is no gRPC'),
    ('exec >&-; exec <&-; exit 0', 'ended without a result'),
])
def test_hostile_programs(stack, client, builder, session, image, script, said):
    begun = time.monotonic()
    error = refused(begin(builder, session, image(script)))
    assert error.startswith('front end docker.io/own/') and error.endswith(said) and '\n' not in error, error
    assert time.monotonic() - begun < 30
    nothing_left(stack, client)


def test_no_program(builder, session, image, client, tmp_path):
    for entrypoint, said in (('ENTRYPOINT ["/never"]', '/never'), ('ENTRYPOINT []', '/run')):
        (tmp_path / 'image').mkdir(exist_ok=True)
        (tmp_path / 'image/Dockerfile').write_text(f'FROM {IMAGE}\n{entrypoint}\n')
        client.ok('build', '-q', '-t', 'own/fe-none', tmp_path / 'image')
        error = refused(begin(builder, session, 'own/fe-none'))
        assert error.startswith('front end docker.io/own/fe-none:latest: ') and said in error, error
    client.ok('rmi', 'own/fe-none')
    for name, said in (('', 'needs the name of a front end'), ('own/never', 'own/never'), ('UPPER/case', 'UPPER/case')):
        assert said in refused(builder.control('Solve', Ref=uuid.uuid4().hex, Session=session.id, Frontend='gateway.v0', FrontendAttrs={'source': name}))
    name = image('exit 0')
    for options, said in (({'x': 'a\0b'}, 'has a zero byte'), ({'x': 'y' * (128 << 10)}, 'is too large')):
        assert said in refused(begin(builder, session, name, options))


@pytest.mark.parametrize('apart', [False, True])
def test_directories_that_are_inputs(client, builder, session, apart):
    """The input "context" stands for the client's directory, "dockerfile" for where the Dockerfile is."""
    tag, llb = f'own/{uuid.uuid4().hex[:8]}', Definition()
    text = f'FROM {IMAGE}\nCOPY . /got\n'.encode()
    actions = [('mkdir', {'path': '/sub', 'mode': 0o755}), ('mkfile', {'path': '/sub/f', 'mode': 0o640, 'data': b'of the input', 'owner': {'user': {'byID': 7}, 'group': {'byID': 8}}})]
    inputs = {'context': llb.done(llb.files(None, *actions, *([] if apart else [('mkfile', {'path': '/Dockerfile', 'mode': 0o644, 'data': text})])))}
    if apart:
        other = Definition()
        inputs['dockerfile'] = other.done(other.files(None, ('mkfile', {'path': '/Dockerfile', 'mode': 0o644, 'data': text})))
    options = {'contextsubdir': 'sub'}
    begin(builder, session, None, options, inputs, frontend='dockerfile.v0', Exporters=[{'Type': 'image', 'Attrs': {'name': tag}}]).result()
    try:
        seen = client.run('--network', 'none', tag, 'sh', '-c', 'ls /got; cat /got/f; stat -c " %a" /got/f').out
        assert seen == 'f\nof the input 640\n'
    finally:
        client.ok('rmi', tag)
    assert 'Dockerfile: no such file' in refused(begin(builder, session, None, {}, {'context': inputs['context'], 'dockerfile': inputs['context']} if apart else {'context': llb.done(llb.files(None, actions[0]))}, frontend='dockerfile.v0'))
    assert "directory 'nosuch'" in refused(begin(builder, session, None, {'contextsubdir': 'nosuch'}, inputs, frontend='dockerfile.v0'))


def test_a_flood(builder, session, image):
    """Of stderr only a part is told."""
    name, ref = image('head -c 50000000 /dev/zero | tr "\\0" x >&2; exit 3'), uuid.uuid4().hex
    call = builder.control('Solve', Ref=ref, Session=session.id, Frontend='gateway.v0', FrontendAttrs={'source': name})
    assert refused(call).endswith('it ended with code 3')
    told = b''.join(log.msg for u in builder.control('Status', streams=True, Ref=ref) for log in u.logs)
    assert b'[output clipped, log limit 200KiB/s reached]' in told and len(told) < 4 << 20


def test_hostile_calls(stack, client, builder, session, remote, image):
    name = image(remote.script())
    call = begin(builder, session, name)
    front = remote.accept(call).open()
    for method, fields in (('ReadFile', {'Ref': 'x', 'FilePath': '/'}), ('ReadDir', {'Ref': 'x', 'DirPath': '/'}), ('StatFile', {'Ref': 'x'}),
                           ('NewContainer', {'ContainerID': 'c', 'Mounts': [{'dest': '/', 'resultID': 'x'}]})):
        assert 'no such result: x' in refused(front.call(method, **fields))
    llb = Definition()
    made = front.solve(llb, llb.files(None, ('mkfile', {'path': '/f'})))
    for path in ('../../etc/passwd', '/never'):
        assert 'no such file' in refused(front.call('ReadFile', Ref=made, FilePath=path)).lower()
    assert 'leads upwards' in refused(front.call('NewContainer', ContainerID='c', Mounts=[{'dest': '/', 'resultID': made}, {'dest': '/a/../../b'}]))
    assert 'has no root' in refused(front.call('NewContainer', ContainerID='c', Mounts=[{'dest': '/x', 'resultID': made}]))
    assert 'network.host is not allowed' in refused(front.call('NewContainer', ContainerID='c', Network=1, Mounts=[{'dest': '/', 'resultID': made}]))
    assert 'there is no container c' in refused(front.call('ReleaseContainer', ContainerID='c'))
    assert 'there is no front end' in refused(front.call('Solve', Frontend='other'))
    # Itself, and so on: there is a bottom.
    fronts, inner = [front], []
    while len(fronts) < 8:
        inner.append(fronts[-1].call('Solve', Frontend='gateway.v0', FrontendOpt={'source': name}, allowResultReturn=True))
        fronts.append(remote.accept().open())
    assert 'more than 8 deep' in refused(fronts[-1].call('Solve', Frontend='gateway.v0', FrontendOpt={'source': name}))
    # What does not exist can't be returned.
    assert 'no such result: nothing' in refused(fronts[-1].call('Return', result={'ref': {'id': 'nothing'}}))
    for one in reversed(fronts):
        one.close()
    assert 'ended without a result' in refused(call)
    nothing_left(stack, client)


def test_a_huge_message(stack, client, builder, session, remote, image):
    """A gigabyte ends the front end before the engine has it."""
    call = begin(builder, session, image(remote.script()))
    front = remote.accept(call).open()
    raw = front.channel.unary_unary('/moby.buildkit.v1.frontend.LLBBridge/ReadFile', request_serializer=lambda data: data)

    def pages():
        return int(Path(f'/proc/{stack.pid("gantryd")}/statm').read_text().split()[1])
    before, most = pages(), []
    sent = raw.future(b'\x12' + b'\x80\x80\x80\x80\x04' + bytes(1 << 30), timeout=120)
    until(lambda: most.append(pages()) or call.done())
    assert refused(call).endswith(f'a message of {(1 << 30) + 6} bytes is too large')
    assert sent.exception() and max(most) - before < (48 << 20) / 4096
    front.close()
    nothing_left(stack, client)


def test_one_that_hangs(stack, client, builder, session, image):
    """A cancelled call ends it."""
    call = begin(builder, session, image('trap "" TERM; sleep 1000'))
    until(lambda: client.ok('ps', '-q') != '')
    call.cancel()
    nothing_left(stack, client)


def test_one_that_stays(stack, client, builder, session, remote, image):
    """With a result it has half a minute to end."""
    call = begin(builder, session, image(f'{remote.script()}; exec sleep 1000'))
    front = remote.accept(call).open()
    front.give()
    front.close()
    assert refused(call).endswith('it has returned its result and does not end')
    nothing_left(stack, client)


def test_kill_in_the_middle(home, tmp_path):
    """kill -9 of the daemon while a front end and a container of it run: the next one finds and removes them."""
    engine = Stack(6)
    try:
        engine.start()
        client = Client('gantry', engine, home)
        client.ok('load', '-i', IMAGE_TAR)
        remote = Remote(engine, client)
        name = make_image(client, tmp_path / 'image', f'trap "" TERM; {remote.script()}; sleep 1000')
        builder, session = BuildKit(engine.socket), Session(engine.socket, {'context': tmp_path})
        call = begin(builder, session, name)
        front = remote.accept(call).open()
        llb = Definition()
        front.call('NewContainer', ContainerID='c', Mounts=[{'dest': '/', 'resultID': front.solve(llb, llb.image(IMAGE))}]).result()
        processes = Processes(front.channel)
        processes.begin('p', 'c', ['sleep', '1000'])
        until(lambda: len(client.ok('ps', '-q').split()) == 2)
        engine.kill('gantryd')
        assert call.exception()
        for one in (front, session, builder, remote):
            one.close()
        engine.start()
        assert client.ok('ps', '-aq') == ''
        until(lambda: not os.listdir(f'{engine.names.root}/engine/builds'))
        client.ok('rmi', '-f', name, IMAGE)
        client.ok('builder', 'prune', '-af')
        assert [str(t) for t in engine.settled(removed_all=True)] == []
    finally:
        left = engine.destroy()
    assert [str(t) for t in left] == []


class Processes:
    """ExecProcess: messages to send, and what came of each process."""

    def __init__(self, channel, metadata=()):
        self.sent, self.more, self.out, self.codes, self.done, self.started = [], threading.Condition(), {}, {}, set(), set()
        kind = message_class('moby.buildkit.v1.frontend.ExecMessage')
        make = channel.stream_stream('/moby.buildkit.v1.frontend.LLBBridge/ExecProcess', request_serializer=lambda m: m.SerializeToString(),
                                     response_deserializer=kind.FromString)
        self.call = make(self.messages(), metadata=metadata, timeout=120)
        threading.Thread(target=self.read, daemon=True).start()

    def messages(self):
        while True:
            with self.more:
                self.more.wait_for(lambda: self.sent)
                one = self.sent.pop(0)
            if one is None:
                return
            yield one

    def send(self, process, **fields):
        with self.more:
            self.sent.append(message('moby.buildkit.v1.frontend.ExecMessage', ProcessID=process, **fields))
            self.more.notify()

    def end(self):
        with self.more:
            self.sent.append(None)
            self.more.notify()

    def begin(self, process, container, words, stdin=False, **fields):
        meta = {'args': words, **fields.pop('meta', {})}
        self.send(process, Init={'ContainerID': container, 'Meta': meta, 'Fds': ([0] if stdin else []) + [1, 2], **fields})

    def read(self):
        try:
            for one in self.call:
                if one.HasField('Started'):
                    self.started.add(one.ProcessID)
                if one.HasField('File'):
                    self.out.setdefault((one.ProcessID, one.File.Fd), b'')
                    self.out[one.ProcessID, one.File.Fd] += one.File.Data
                if one.HasField('Exit'):
                    self.codes[one.ProcessID] = (one.Exit.Code, one.Exit.Error.message)
                if one.HasField('Done'):
                    self.done.add(one.ProcessID)
        except grpc.RpcError as error:
            self.error = error

    def wait(self, process):
        until(lambda: process in self.done)
        return self.codes[process]


@pytest.fixture
def build(builder, session):
    """A build that a client has begun: its reference, how it makes a container of a definition's result, and how it ends."""
    ref, ended = uuid.uuid4().hex, []
    call = builder.control('Solve', Ref=ref, Session=session.id)

    def container(name, llb, result, mounts=(), **fields):
        made = builder.bridge('Solve', ref, Definition=llb.done(result), allowResultReturn=True).result().result.ref.id
        builder.bridge('NewContainer', ref, ContainerID=name, Mounts=[{'dest': '/', 'resultID': made}, *mounts], **fields).result()
        return made

    def end():
        if not ended:
            ended.append(builder.bridge('Return', ref, result={}).result())
        call.result()
    yield ref, container, end
    end()


def test_processes(stack, client, builder, build):
    """A client's container: its process with input, output and code, others beside it, signals, files; it ends with its release."""
    ref, container, _ = build
    llb = Definition()
    container('c', llb, llb.image(IMAGE), [{'dest': '/s', 'mountType': 1, 'secretOpt': {'ID': 's'}}, {'dest': '/t', 'mountType': 4}],
              hostname='named', extraHosts=[{'Host': 'other', 'IP': '10.1.2.3'}])
    processes = Processes(builder.channel, [('buildkit-controlapi-buildid', ref)])
    script = 'cat /s; hostname; grep other /etc/hosts; pwd; echo $V $E; echo err >&2; cat > /t/in; cat /t/in; echo changed > /f; trap "exit 9" INT; while :; do sleep 0.1; done'
    processes.begin('p', 'c', ['sh', '-c', script], stdin=True, meta={'env': ['V=value'], 'cwd': '/tmp'}, secretenv=[{'ID': 's', 'name': 'E'}])
    for piece in (b'one\n', b'x' * 300_000, b'\n'):
        processes.send('p', File={'Fd': 0, 'Data': piece})
    processes.send('p', File={'Fd': 0, 'EOF': True})
    until(lambda: processes.out.get(('p', 1), b'').endswith(b'x\n'))
    out = processes.out['p', 1].decode()
    assert out.startswith('secretnamed\n10.1.2.3\tother\n/tmp\nvalue secret\none\nxxx') and len(out) > 300_000 and processes.out['p', 2] == b'err\n'
    # Beside it, with input and code of its own.
    processes.begin('q', 'c', ['sh', '-c', 'cat; cat /f; exit 4'], stdin=True)
    processes.send('q', File={'Fd': 0, 'Data': b'in ', 'EOF': True})
    assert processes.wait('q') == (4, 'exit code: 4') and processes.out['q', 1] == b'in changed\n'
    processes.begin('n', 'c', ['/never'])
    code, said = processes.wait('n')
    assert code == 255 and '/never' in said
    assert builder.bridge('ReadFileContainer', ref, 'ReadFileResponse', kind='ReadFile', Ref='c', FilePath='/f').result().Data == b'changed\n'
    assert [e.path for e in builder.bridge('ReadDirContainer', ref, 'ReadDirResponse', kind='ReadDir', Ref='c', DirPath='/', MountIndex=2).result().entries] == ['in']
    assert builder.bridge('StatFileContainer', ref, 'StatFileResponse', kind='StatFile', Ref='c', Path='/f').result().stat.size == 8
    processes.send('p', Signal={'Name': 'INT'})
    assert processes.wait('p') == (9, 'exit code: 9')
    builder.bridge('ReleaseContainer', ref, ContainerID='c').result()
    until(lambda: client.ok('ps', '-aq') == '')
    # A terminal, whose size changes; what is changed in a read-only mount; the release of one that runs.
    made = container('d', llb, llb.image(IMAGE), [{'dest': '/cache', 'mountType': 3, 'cacheOpt': {'ID': uuid.uuid4().hex}}])
    processes.begin('t', 'd', ['sh', '-c', 'stty size; trap "stty size" WINCH; while :; do sleep 0.1; done'], stdin=True, Tty=True)
    until(lambda: ('t', 1) in processes.out)
    processes.send('t', Resize={'Rows': 33, 'Cols': 77})
    until(lambda: b'33 77' in processes.out['t', 1])
    builder.bridge('ReleaseContainer', ref, ContainerID='d').result()
    assert processes.wait('t')[0] == 137
    builder.bridge('NewContainer', ref, ContainerID='e', Mounts=[{'dest': '/', 'resultID': made, 'readonly': True}, {'dest': '/b', 'resultID': made, 'readonly': True},
                                                                 {'dest': '/w', 'resultID': made}]).result()
    processes.begin('r', 'e', ['sh', '-c', 'touch /x || touch /b/x || touch /w/x && ls /w/x /b/etc/passwd'])
    assert processes.wait('r') == (0, '') and processes.out['r', 1] == b'/b/etc/passwd\n/w/x\n'
    assert 'exists already' in refused(builder.bridge('NewContainer', ref, ContainerID='e', Mounts=[{'dest': '/', 'resultID': made}]))
    processes.end()


def test_processes_that_are_refused(stack, client, builder, build):
    ref, container, end = build
    llb = Definition()
    container('c', llb, llb.image(IMAGE))
    for first, said in (({'Init': {'ContainerID': 'never', 'Meta': {'args': ['true']}}}, 'there is no container never'),
                        ({'File': {'Fd': 1, 'Data': b'x'}}, None), ({'Signal': {'Name': 'NEVER'}}, None)):
        processes = Processes(builder.channel, [('buildkit-controlapi-buildid', ref)])
        processes.send('p', **first)
        processes.end()
        if said is None:
            until(lambda: processes.call.code() is not None)
            assert processes.call.code() == grpc.StatusCode.OK
        else:
            until(lambda: hasattr(processes, 'error'))
            assert processes.error.details() == said
    processes = Processes(builder.channel, [('buildkit-controlapi-buildid', ref)])
    processes.begin('p', 'c', ['true'], Security=1)
    assert processes.wait('p') == (255, 'security.insecure is not allowed')
    # A caller that goes leaves its processes to the container, which ends with the build.
    processes.begin('q', 'c', ['sleep', '1000'])
    until(lambda: 'q' in processes.started)
    processes.call.cancel()
    assert client.ok('ps', '-q') != ''
    end()
    until(lambda: client.ok('ps', '-aq') == '')


@pytest.mark.skipif(not BUILDX, reason='GANTRY_BUILDX names no folder with buildx')
def test_buildx_invokes(stack, client, tmp_path):
    """`buildx debug --invoke`: a shell in a terminal on the files of a result."""
    plugins = tmp_path / '.docker/cli-plugins'
    plugins.mkdir(parents=True)
    (plugins / 'docker-buildx').symlink_to(next(p for p in (Path(BUILDX) / 'buildx', Path(BUILDX) / 'docker-buildx') if p.exists()))
    (tmp_path / 'context').mkdir()
    (tmp_path / 'context/Dockerfile').write_text(f'FROM {IMAGE}\nRUN echo of-the-build > /f\n')
    words = ['docker', 'buildx', 'debug', '--on=always', '--invoke', 'sh', 'build', '--progress=plain', str(tmp_path / 'context')]
    environment = dict(os.environ, HOME=str(tmp_path), DOCKER_HOST=f'unix://{stack.socket}', BUILDX_EXPERIMENTAL='1')
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(words[0], words, environment)
    os.set_blocking(terminal, False)
    said = b''

    def says(text):
        nonlocal said
        try:
            said += os.read(terminal, 1 << 16)
        except OSError:  # nothing yet, or its end
            pass
        return text in said.replace(b'\r', b'')
    try:
        until(lambda: says(b'/ # '), 30)
        # A shell that asks its terminal where the cursor is takes what comes first for the answer.
        until(lambda: os.write(terminal, b'cat /f; tty\n') and time.sleep(1) or says(b'of-the-build\n/dev/pts/'), 30)
        os.write(terminal, b'exit 3\n')
        until(lambda: says(b'exit code: 3'), 30)
        os.write(terminal, b'exit\n')
        until(lambda: says(b'') and os.waitpid(pid, os.WNOHANG)[0] == pid, 30)
    except BaseException:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(terminal)
    until(lambda: client.ok('ps', '-aq') == '')


def test_definitions_of_their_own(builder):
    """Operations that pass inputs through, and that build a definition that is a file."""
    llb, inner = Definition(), Definition()
    one = llb.files(None, ('mkfile', {'path': '/one', 'mode': 0o644, 'data': b'1'}))
    two = llb.files(None, ('mkfile', {'path': '/two', 'mode': 0o644, 'data': b'2'}))
    both = llb.add([one, two], passthrough={'id': 'x', 'outputs': [1, 0]})
    ref = uuid.uuid4().hex
    call = builder.control('Solve', Ref=ref)

    def solve(llb, result):
        return builder.bridge('Solve', ref, Definition=llb.done(result), allowResultReturn=True).result().result.ref.id

    def read(result, path):
        return builder.bridge('ReadFile', ref, Ref=result, FilePath=path).result().Data
    assert read(solve(llb, both), '/two') == b'2' and read(solve(llb, (both[0], 1)), '/one') == b'1'
    data = message('pb.Definition', **inner.done(inner.files(None, ('mkfile', {'path': '/inner', 'mode': 0o644, 'data': b'3'})))).SerializeToString()
    for name, attributes in (('buildkit.llb.definition', {}), ('d/own', {'llbbuild.filename': 'd/own'})):
        llb = Definition()
        file = llb.files(None, ('mkdir', {'path': '/d', 'mode': 0o755}), ('mkfile', {'path': f'/{name}', 'mode': 0o644, 'data': data}))
        built = llb.add([file], build={'builder': -1, 'inputs': {'buildkit.llb.definition': message('pb.BuildInput')}, 'attrs': attributes})
        assert read(solve(llb, built), '/inner') == b'3'
    # Bad ones.
    for text, said in ((b'\xff\xff', 'is no definition'), (b'', 'the definition is empty'), (None, 'no such file')):
        llb = Definition()
        file = llb.files(None, ('mkfile', {'path': '/buildkit.llb.definition' if text is not None else '/x', 'mode': 0o644, 'data': text or b''}))
        built = llb.add([file], build={'builder': -1, 'inputs': {'buildkit.llb.definition': message('pb.BuildInput')}})
        assert said in refused(builder.bridge('Solve', ref, Definition=llb.done(built))).lower()
    llb = Definition()
    file = llb.files(None, ('mkfile', {'path': '/x'}))
    for op, said in (({'passthrough': {'outputs': [1]}}, 'is the input 1 of 1'), ({'passthrough': {'outputs': [-1]}}, 'an output is no input'),
                     ({'build': {'builder': -1}}, 'there is no input with the definition'),
                     ({'build': {'builder': -1, 'inputs': {'buildkit.llb.definition': message('pb.BuildInput', input=7)}}}, 'is the input 7')):
        assert said in refused(builder.bridge('Solve', ref, Definition=llb.done(llb.add([file], **op))))
    builder.bridge('Return', ref, result={}).result()
    call.result()


@pytest.fixture(scope='module')
def dockerfile_frontend(stack, client, tmp_path_factory):
    """BuildKit's own Dockerfile front end, in an image of a registry that does not call it docker's."""
    folder = tmp_path_factory.mktemp('frontend')
    registry = stack.within(lambda: Registry())
    name = f'{registry.name}/frontend:1'
    shutil.copy(Path(FRONTEND) / 'dockerfile-frontend', folder)
    (folder / 'Dockerfile').write_text(
        'FROM scratch\nLABEL moby.buildkit.frontend.network.none="true"\nLABEL moby.buildkit.frontend.caps="moby.buildkit.frontend.inputs,'
        'moby.buildkit.frontend.subrequests,moby.buildkit.frontend.contexts"\nCOPY dockerfile-frontend /bin/\nENTRYPOINT ["/bin/dockerfile-frontend"]\n')
    client.ok('build', '-q', '-t', name, folder)
    client.ok('push', name)
    client.ok('rmi', name)
    yield name
    client('rmi', '-f', name)
    registry.destroy()


DOCKERFILE = f'''# syntax={{name}}
ARG BASE={IMAGE}
FROM $BASE AS made
ARG WHO=nobody
RUN --mount=type=cache,target=/cache echo "$WHO" > /who; echo to-out; echo to-err >&2
RUN --mount=type=secret,id=s cat /run/secrets/s > /secret || true
FROM made
COPY --chown=5:6 --chmod=640 a.txt sub/ /data/
COPY <<EOT /here
line of $WHO
EOT
ADD --link a.txt /added
WORKDIR /w
ENV A=b
CMD ["cat", "/who"]
'''


@pytest.fixture
def project(tmp_path, dockerfile_frontend):
    folder = tmp_path / 'project'
    (folder / 'sub').mkdir(parents=True)
    (folder / 'a.txt').write_text('text\n')
    (folder / 'sub/b').write_text('b\n')
    (folder / '.dockerignore').write_text('left\n')
    (folder / 'left').touch()
    (folder / 'Dockerfile').write_text(DOCKERFILE.format(name=dockerfile_frontend))
    return folder


def check(client, name):
    show = 'cat /who /here /added; stat -c "%n %u %g %a" /data/*; ls -d /data/left || echo gone; pwd; echo $A'
    assert client.ok('run', '--rm', name, 'sh', '-c', show).split('\n') == ['me', 'line of me', 'text', '/data/a.txt 5 6 640', '/data/b 5 6 640', 'gone', '/w', 'b']
    client.ok('rmi', name)


@pytest.mark.skipif(not FRONTEND, reason='GANTRY_FRONTEND names no folder with dockerfile-frontend')
def test_the_real_one(stack, client, project, tmp_path):
    environment = {'BUILDKIT_PROGRESS': 'plain'}
    built = client('build', '-t', 'real:1', '--build-arg', 'WHO=me', project, environment=environment, timeout=120)
    assert built.code == 0 and 'front end docker-image://127.0.0.1' in built.err and 'to-err' in built.err, built.err
    check(client, 'real:1')
    # All cached: the same image.
    first, second = (client.ok('build', '-q', '-t', 'real:1', '--build-arg', 'WHO=me', project) for _ in range(2))
    assert first == second
    # What it says is wrong is said.
    (project / 'Dockerfile').write_text((project / 'Dockerfile').read_text() + 'BAD x\n')
    bad = client('build', project, environment=environment)
    assert bad.code == 1 and 'unknown instruction: BAD' in bad.err, bad.err
    failing = (project / 'Dockerfile').read_text().replace('BAD x', 'RUN exit 3')
    (project / 'Dockerfile').write_text(failing)
    bad = client('build', project, environment=environment)
    assert bad.code == 1 and 'did not complete successfully: exit code: 3' in bad.err, bad.err
    assert client.ok('ps', '-aq') == ''


@pytest.mark.skipif(not (FRONTEND and BUILDX), reason='GANTRY_FRONTEND or GANTRY_BUILDX names no folder')
def test_the_real_one_by_buildx(stack, client, project, tmp_path):
    plugins = tmp_path / '.docker/cli-plugins'
    plugins.mkdir(parents=True)
    (plugins / 'docker-buildx').symlink_to(next(p for p in (Path(BUILDX) / 'buildx', Path(BUILDX) / 'docker-buildx') if p.exists()))

    def buildx(*words):
        return subprocess.run([shutil.which('docker'), 'buildx', *map(str, words)], env=dict(os.environ, HOME=str(tmp_path), DOCKER_HOST=f'unix://{stack.socket}'), cwd=tmp_path,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    built = buildx('build', '--progress=plain', '-t', 'real:2', '--build-arg', 'WHO=me', project)
    assert built.returncode == 0 and 'front end docker-image://127.0.0.1' in built.stdout, built.stdout
    check(client, 'real:2')
    outlined = buildx('build', '--call=outline', project)
    assert outlined.returncode == 0 and 'WHO' in outlined.stdout, outlined.stdout
    checked = buildx('build', '--check', project)
    assert checked.returncode == 0 and 'no warnings found' in checked.stdout, checked.stdout
    (tmp_path / 'bake.json').write_text(json.dumps({'target': {
        'below': {'context': str(project), 'args': {'WHO': 'me'}},
        'above': {'dockerfile-inline': (project / 'Dockerfile').read_text().split('\n')[0] + '\nFROM base\nRUN cat /who > /twice\n',
                  'contexts': {'base': 'target:below'}, 'tags': ['real:3']}}}))
    baked = buildx('bake', '--progress=plain', '-f', tmp_path / 'bake.json', 'above')
    assert baked.returncode == 0, baked.stdout
    assert client.ok('run', '--rm', 'real:3', 'cat', '/twice') == 'me'
    client.ok('rmi', 'real:3')


@pytest.mark.skipif(not (FRONTEND and BUILDCTL), reason='GANTRY_FRONTEND or GANTRY_BUILDCTL names no folder')
def test_the_real_one_by_buildctl(stack, client, project, dockerfile_frontend):
    def buildctl(*words):
        return subprocess.run([Path(BUILDCTL) / 'buildctl', '--addr', stack.host, 'build', '--progress=plain', '--local', f'context={project}',
                               '--local', f'dockerfile={project}', '--opt', 'build-arg:WHO=me', '--output', 'type=image,name=real:4', *map(str, words)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    for words in (['--frontend', 'gateway.v0', '--opt', f'source={dockerfile_frontend}'], ['--frontend', 'dockerfile.v0']):
        built = buildctl(*words)
        assert built.returncode == 0 and 'front end docker-image://127.0.0.1' in built.stdout, built.stdout
        check(client, 'real:4')


# Where ours does as docker's classic builder: a WORKDIR is root's, what is changed in a VOLUME later is lost.
LIKE_THE_CLASSIC = {'volume', 'user-workdir-signal', 'copy-as-user'}


@pytest.mark.skipif(not FRONTEND, reason='GANTRY_FRONTEND names no folder with dockerfile-frontend')
@pytest.mark.parametrize('name', sorted(set(CORPUS) - LIKE_THE_CLASSIC))
def test_the_corpus(stack, client, dockerfile_frontend, tmp_path, name):
    """Each Dockerfile by BuildKit's front end and by ours: the same files, owners, modes and configuration."""
    dockerfile, files, query = CORPUS[name]
    with tarfile.open(fileobj=io.BytesIO(context_of(dockerfile, files))) as tar:
        tar.extractall(tmp_path / 'c', numeric_owner=True)
    flags = [word for kind, values in (('--build-arg', query.get('buildargs', {})), ('--label', query.get('labels', {})))
             for key, value in values.items() for word in (kind, f'{key}={value}')]
    flags += [f'--target={query["target"]}'] if 'target' in query else []
    flags += ['-f', tmp_path / 'c' / query['dockerfile']] if 'dockerfile' in query else []
    found = []
    for more in ([], ['--build-arg', f'BUILDKIT_SYNTAX={dockerfile_frontend}']):
        client.ok('build', '-q', '-t', 'own/corpus', *flags, *more, tmp_path / 'c')
        config = json.loads(stack.api('GET', '/images/own/corpus/json')[1])['Config']
        # Later front ends say these of all images.
        config['ArgsEscaped'], config['WorkingDir'] = None, config.get('WorkingDir') or '/'
        found.append((files_of(stack, 'own/corpus'), {key: value for key, value in config.items() if value}))
        client.ok('rmi', 'own/corpus')
    assert found[0][0] == found[1][0] and found[0][1] == found[1][1]
