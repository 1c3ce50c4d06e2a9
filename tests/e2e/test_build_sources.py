# SPDX-License-Identifier: Apache-2.0
"""What COPY and ADD take and where it comes from: --parents, --exclude, --checksum, here-documents that are programs, named
contexts, contexts from the web. Debian's dockerd has none of it but contexts from the web: what is expected is from the reference
of the Dockerfile."""
import base64
import gzip
import hashlib
import http.server
import io
import json
import subprocess
import tarfile
import threading
import types
import uuid
from pathlib import Path

import grpc
import pytest

from harness.buildkit import Session
from harness.client import Client
from harness.engine import until
from harness.places import IMAGE
from traces import end


@pytest.fixture(scope='module')
def client(stack, home):
    return Client('gantry', stack, home)


@pytest.fixture
def context(tmp_path):
    folder = tmp_path / 'context'
    for name in ('x/a.txt', 'x/b.md', 'y/a.txt', 'y/deep/c.txt', 'y/deep/d.md', 'home.txt', 'home.md'):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name + '\n')
    (folder / 'y/deep').chmod(0o750)
    (folder / 'up').symlink_to('../../../../../../etc')
    return folder


@pytest.fixture
def files(builder, context):
    """Builds with these lines; the files that are below /d afterwards."""
    def build(lines, **options):
        said = builder.commands(context, f'FROM {IMAGE}\n{lines}\nRUN cd /d && find . -type f | sort | cut -c3- # {uuid.uuid4().hex}\n', **options)
        return said.split()
    return build


def refused(run, *arguments, **options):
    with pytest.raises(grpc.RpcError) as caught:
        run(*arguments, **options)
    return caught.value.details()


@pytest.mark.parametrize('line, found', [
    ('COPY --parents x/a.txt y/a.txt /d/', ['x/a.txt', 'y/a.txt']),
    ('COPY --parents ./x/a.txt ./y /d/', ['x/a.txt', 'y/a.txt', 'y/deep/c.txt', 'y/deep/d.md']),
    ('COPY --parents y/./deep/c.txt /d/', ['deep/c.txt']),
    ('COPY --parents ./y/./*/*.txt /d/', ['deep/c.txt']),
    ('COPY --parents */a.txt /d', ['x/a.txt', 'y/a.txt']),
    ('COPY --parents y/. /d/', ['y/a.txt', 'y/deep/c.txt', 'y/deep/d.md']),
    ('COPY --parents **/*.txt /d/', ['home.txt', 'x/a.txt', 'y/a.txt', 'y/deep/c.txt']),
    ('COPY --parents ./y/./**/*.txt /d/', ['a.txt', 'deep/c.txt']),
    ('COPY --parents y/**/*.md **/b.md /d/', ['x/b.md', 'y/deep/d.md']),
    ('COPY --parents */./**/*.txt /d/', ['a.txt', 'deep/c.txt']),
    ('COPY --parents --exclude=**/deep **/*.txt /d/', ['home.txt', 'x/a.txt', 'y/a.txt']),
    ('COPY --parents --exclude=y/**/*.txt **/*.txt /d/', ['home.txt', 'x/a.txt']),
    ('COPY --parents=false x/a.txt /d/', ['a.txt']),
    ('COPY --parents --exclude=**/*.md x y /d/', ['x/a.txt', 'y/a.txt', 'y/deep/c.txt']),
    ('COPY --exclude=*.txt --exclude=*.md hom* x /d/\nRUN mkdir -p /d', []),
    ('COPY --exclude=*.md hom* x/ /d/', ['a.txt', 'home.txt']),
    ('COPY --exclude=deep y /d', ['a.txt']),
    ('COPY --exclude=deep/* --exclude=!deep/d.md y /d', ['a.txt', 'deep/d.md']),
    ('ARG E=deep\nCOPY --exclude=$E y /d', ['a.txt']),
    ('ADD --exclude=**/*.md y /d', ['a.txt', 'deep/c.txt']),
])
def test_parents_and_exclude(files, line, found):
    assert files(line) == found


def test_parents_keep_their_modes(client, builder, context):
    said = builder.commands(context, f'FROM {IMAGE}\nCOPY --parents --chown=5:6 y/deep/c.txt /d/\nRUN stat -c "%n %a %u %g" /d/y/deep /d/y/deep/c.txt\n')
    assert said == '/d/y/deep 750 5 6\n/d/y/deep/c.txt 644 5 6\n'


def test_modes_and_links(client, builder, context):
    """--chmod is of all that is copied, directories too; --link makes the same files."""
    said = builder.commands(context, f'FROM {IMAGE}\nARG M=0640\nCOPY --chmod=$M --chown=3:4 y /d/\nADD --chmod=4755 x/a.txt /tool\n'
                            'COPY --link x/a.txt y/a.txt /l/\nCOPY --link=false home.md /m\nCOPY --link --from=scratchy /x/b.md /b\n'
                            'COPY --chmod=600 <<here <<"there" /h/\n$M\nhere\n$M\nthere\n'
                            'RUN stat -c "%n %a %u %g" /d/a.txt /d/deep /d/deep/c.txt /tool /l/a.txt /m /b /h/here; cat /l/a.txt /h/here /h/there\n',
                            options={'context:scratchy': 'local:scratchy'}, directories={'scratchy': context})
    assert said.splitlines() == ['/d/a.txt 640 3 4', '/d/deep 640 3 4', '/d/deep/c.txt 640 3 4', '/tool 4755 0 0', '/l/a.txt 644 0 0', '/m 644 0 0',
                                 '/b 644 0 0', '/h/here 600 0 0', 'y/a.txt', '0640', '$M'], said
    # Changes in letters are those of chmod(1).
    said = builder.commands(context, f'FROM {IMAGE}\nRUN mkdir -p /s/d && touch /s/f /s/x && chmod 750 /s/d /s/x && chmod 666 /s/f\n'
                            f'FROM {IMAGE}\nCOPY --from=0 --chmod=u=rwX,go=rX /s /t\nCOPY --from=0 --chmod=go-w,u+s /s/f /g\n'
                            'RUN cd /t && stat -c "%n %a" d f x /g\n')
    assert said.split('\n')[:4] == ['d 755', 'f 644', 'x 755', '/g 4644']
    assert 'invalid chmod parameter' in refused(builder.commands, context, f'FROM {IMAGE}\nCOPY --chmod=9 x /d/\n')


def test_what_is_excluded_is_no_part_of_the_step(builder, context):
    text = f'FROM {IMAGE}\nCOPY --exclude=*.md x /d/\nRUN cat /d/a.txt; echo {uuid.uuid4().hex}\n'
    assert builder.commands(context, text) != ''
    (context / 'x/b.md').write_text('other')
    assert builder.commands(context, text) == ''
    (context / 'x/a.txt').write_text('other')
    assert builder.commands(context, text) != ''


@pytest.mark.parametrize('line, said', [
    ('COPY --parents missing/a /d/', 'file not found in build context'),
    ('COPY --parents up/passwd /d/', 'file not found in build context'),
    ('COPY --parents up/./passwd /d/', 'file not found in build context'),
    ('COPY --parents ../x /d/', 'forbidden path outside the build context'),
    ('COPY --parents x/./../../y /d/', 'forbidden path outside the build context'),
    ('COPY --exclude=! x /d/', 'illegal exclusion pattern'),
    ('COPY --exclude x /d/', 'missing a value on flag: --exclude'),
    ('COPY --checksum=x a b', 'unknown flag: --checksum'),
    ('ADD --parents a b', 'unknown flag: --parents'),
    ('ADD --checksum=sha256:1 http://127.0.0.1:1/x /x', "invalid checksum 'sha256:1'"),
    (f'ADD --checksum=sha256:{"0" * 64} x /x', 'checksum requires HTTP(S) or Git sources'),
    (f'ADD --checksum=sha256:{"0" * 64} http://127.0.0.1:1/x http://127.0.0.1:1/y /x/', "checksum can't be specified for multiple sources"),
])
def test_errors(files, line, said):
    assert said in refused(files, line)


def test_here_documents_that_are_programs(builder, context):
    said = builder.commands(context, f'FROM {IMAGE}\nENV A=b\nRUN <<EOF\n#!/bin/cat\n$A\nEOF\n'
                            'RUN <<-"X/Y"\n\t#!/bin/sh\n\techo "$0 $A"\nX/Y\nRUN ls /dev/pipes 2>/dev/null || echo none\n')
    assert said == '#!/bin/cat\n$A\n/dev/pipes/X_Y b\nnone\n'
    # Its text is part of the step.
    assert builder.commands(context, f'FROM {IMAGE}\nRUN <<EOF\n#!/bin/sh\necho one\nEOF\n') == 'one\n'
    assert builder.commands(context, f'FROM {IMAGE}\nRUN <<EOF\n#!/bin/sh\necho two\nEOF\n') == 'two\n'


def test_named_directories(client, builder, context, tmp_path):
    other = tmp_path / 'other'
    (other / 'in').mkdir(parents=True)
    (other / 'f').write_text('other\n')
    (other / 'in/g').write_text('inner\n')
    (other / 'not').write_text('x')
    (other / '.dockerignore').write_text('not\n')
    (other / 'up').symlink_to('../../../../../../etc')
    options = {'context:lib': 'local:lib', 'context:stage': 'local:lib'}
    directories = {'lib': other}
    said = builder.commands(context, f'FROM {IMAGE} AS stage\nRUN exit 1\nFROM {IMAGE}\nCOPY --from=lib / /l/\nCOPY --from=stage f /s\n'
                            'RUN --mount=from=lib,target=/m,source=in cat /m/g /l/f /s; ls -A /l\n', options=options, directories=directories)
    assert said.split() == ['inner', 'other', 'other', '.dockerignore', 'f', 'in', 'up']
    # A stage of nothing else.
    builder.commands(context, 'FROM lib\nENV A=b\n', 'own/lib', options=options, directories=directories)
    image = json.loads(client.ok('image', 'inspect', 'own/lib'))[0]
    assert len(image['RootFS']['Layers']) == 1 and 'A=b' in image['Config']['Env']
    assert 'other' in builder.commands(context, f'FROM {IMAGE}\nRUN --mount=from=own/lib,target=/m cat /m/f; echo {uuid.uuid4().hex}\n')
    client.ok('rmi', 'own/lib')
    said = refused(builder.commands, context, f'FROM {IMAGE}\nCOPY --from=lib up/passwd /x\n', options=options, directories=directories)
    assert 'failed to calculate checksum of ref lib: "/up/passwd": not found' in said


def test_named_images(client, builder, context):
    client.ok('tag', IMAGE, 'own/base:1')
    options = {'context:alpine': 'docker-image://own/base:1', 'context:tools': 'docker-image://docker.io/own/base:1',
               'context:alpine::linux/s390x': 'docker-image://own/none'}
    for name in ('alpine', 'alpine:latest', 'docker.io/library/alpine'):
        said = builder.commands(context, f'FROM {name}\nCOPY --from=tools /bin/busybox /b\nRUN ls /b; echo {uuid.uuid4().hex}\n', options=options)
        assert said.startswith('/b\n')
    client.ok('rmi', 'own/base:1')


def digest(data):
    return f'sha256:{hashlib.sha256(data).hexdigest()}'


def packed(files):
    """A layer: its bytes as they travel, and its digest when unpacked."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w') as tar:
        for name, content in files.items():
            item = tarfile.TarInfo(name)
            item.size = len(content)
            tar.addfile(item, io.BytesIO(content))
    return gzip.compress(data.getvalue()), digest(data.getvalue())


@pytest.fixture
def layout(stack, builder, context):
    """The base image with a layer that the engine has never seen: blobs by digest, and the manifest's digest."""
    (context / 'Dockerfile').write_text(f'FROM {IMAGE}\n')
    session = Session(stack.socket, {'context': context, 'dockerfile': context})
    solve, _ = builder.build(session, exporters=[{'Type': 'oci'}])
    solve.result()
    session.close()
    data, told = session.files[0]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = [tar.extractfile(m).read() for m in tar if m.name.startswith('blobs/') and m.isfile()]
    blobs = {digest(blob): blob for blob in files}
    manifest = json.loads(blobs[told['containerimage.digest']])
    config = json.loads(blobs[manifest['config']['digest']])
    layer, unpacked = packed({'layout': uuid.uuid4().hex.encode(), 'big': b'line\n' * 100000})
    config['rootfs']['diff_ids'].append(unpacked)
    config['config']['Env'].append('L=layout')
    text = json.dumps(config).encode()
    manifest['config'].update(digest=digest(text), size=len(text))
    manifest['layers'].append({'mediaType': 'application/vnd.oci.image.layer.v1.tar+gzip', 'digest': digest(layer), 'size': len(layer)})
    document = json.dumps(manifest).encode()
    blobs.update({digest(blob): blob for blob in (layer, text, document)})
    return blobs, digest(document)


def test_layouts(stack, client, builder, context, layout):
    """As an index too; nothing of it has a name in the store afterwards."""
    blobs, manifest = layout
    before = client.ok('images', '-a', '-q', '--no-trunc')
    platform = json.loads(blobs[json.loads(blobs[manifest])['config']['digest']])
    index = json.dumps({'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.index.v1+json', 'manifests': [
        {'mediaType': 'application/vnd.oci.image.manifest.v1+json', 'digest': f'sha256:{"1" * 64}', 'size': 5,
         'platform': {'os': 'linux', 'architecture': 's390x'}},
        {'mediaType': 'application/vnd.oci.image.manifest.v1+json', 'digest': manifest, 'size': len(blobs[manifest]),
         'platform': {'os': platform['os'], 'architecture': platform['architecture']}}]}).encode()
    stores = {'mine': {**blobs, digest(index): index}}
    for target in (manifest, digest(index)):
        said = builder.commands(context, f'FROM lay\nRUN echo $L; wc -l </big; #{uuid.uuid4().hex}\nFROM {IMAGE}\nCOPY --from=0 /layout /a\n'
                                f'COPY --from=lay /layout /b\nRUN cmp /a /b && echo same #{uuid.uuid4().hex}\n', options={'context:lay': f'oci-layout://mine:tag@{target}'},
                                stores=stores)
        assert said == 'layout\n100000\nsame\n'
        assert client.ok('images', '-a', '-q', '--no-trunc') == before
    # An image of nothing else is the layout's own.
    builder.commands(context, 'FROM lay\n', 'own/lay', options={'context:lay': f'oci-layout://mine@{manifest}'}, stores=stores)
    assert client.ok('run', '--rm', 'own/lay', 'sh', '-c', 'echo $L') == 'layout'
    client.ok('rmi', 'own/lay')


@pytest.mark.parametrize('spoil, said', [
    ('no digest', 'has no digest'), ('no store', 'the client\'s session has no content store'), ('other store', 'not found'), ('manifest', 'has another digest'),
    ('config', 'has another digest'), ('layer', 'oci-layout://mine@'), ('longer', 'is larger than it says'), ('shorter', 'is smaller than it says'),
])
def test_hostile_layouts(stack, client, builder, context, layout, spoil, said):
    blobs, manifest = dict(layout[0]), layout[1]
    document = json.loads(blobs[manifest])
    last = document['layers'][-1]['digest']
    config = document['config']['digest']
    blobs[manifest] += b' ' if spoil == 'manifest' else b''
    blobs[config] += b' ' if spoil == 'config' else b''
    blobs[last] = {'layer': bytes(len(blobs[last])), 'longer': blobs[last] + b'x', 'shorter': blobs[last][:-1]}.get(spoil, blobs[last])
    before = client.ok('images', '-a', '-q', '--no-trunc')
    options = {'context:lay': f'oci-layout://{"other" if spoil == "other store" else "mine"}' + ('' if spoil == 'no digest' else f'@{manifest}')}
    got = refused(builder.commands, context, f'FROM lay\nRUN cat /layout\n', options=options, stores=None if spoil == 'no store' else {'mine': blobs})
    assert said in got, got
    assert client.ok('images', '-a', '-q', '--no-trunc') == before


class Web:
    """Files by path on loopback of the engine's network namespace, which the stack shares with nobody: a server there."""

    def __init__(self, engine, folder):
        self.name = '127.0.0.1:8099'
        self.process = engine.spawn(['python3', '-m', 'http.server', '-d', str(folder), '-b', '127.0.0.1', '8099'])
        until(lambda: engine.inside('curl', '-sf', f'http://{self.name}/', check=False).returncode == 0, 30)

    def close(self):
        end(self.process.pid, 15, 10)
        self.process.wait(10)


@pytest.fixture
def web(stack, tmp_path):
    folder = tmp_path / 'web'
    folder.mkdir()
    server = Web(stack, folder)
    server.folder = folder
    yield server
    server.close()


def archive(folder):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w:gz') as tar:
        tar.add(folder, arcname='.')
    return data.getvalue()


def test_checksum(files, web):
    (web.folder / 'f').write_text('from the web\n')
    good = hashlib.sha256(b'from the web\n').hexdigest()
    assert files(f'ARG SUM={good}\nADD --checksum=sha256:$SUM http://{web.name}/f /d/') == ['f']
    said = refused(files, f'ADD --checksum=sha256:{"0" * 64} http://{web.name}/f /d/')
    assert f'digest mismatch sha256:{good}: sha256:{"0" * 64}' in said


def test_unpack(files, context, web):
    """Archives from the web are unpacked where that is asked for, others unless it is refused."""
    for folder in (context, web.folder):
        (folder / 'a.tgz').write_bytes(archive(context / 'x'))
    (web.folder / 'plain').write_text('x')
    for line, found in (('ADD a.tgz /d/', ['a.txt', 'b.md']), ('ADD --unpack=false a.tgz /d/', ['a.tgz']), ('ADD --unpack a.tgz /d/', ['a.txt', 'b.md']),
                        (f'ADD http://{web.name}/a.tgz /d/', ['a.tgz']), (f'ADD --unpack=true http://{web.name}/a.tgz /d/', ['a.txt', 'b.md']),
                        (f'ADD --unpack=false http://{web.name}/a.tgz /d/', ['a.tgz']), (f'ADD --unpack http://{web.name}/plain /d/', ['plain'])):
        assert files(line) == found, line
    assert 'unknown flag: --unpack' in refused(files, 'COPY --unpack a.tgz /d/')


def solved(builder, options, names=()):
    solve, _ = builder.build(types.SimpleNamespace(id=options.pop('session')), options, names, exporters=None if names else [])
    return solve.result()


def test_contexts_from_the_web(stack, client, builder, context, web):
    (context / 'Dockerfile').write_text(f'FROM {IMAGE}\nCOPY x/a.txt /a\nRUN cat /a\n')
    (context / 'Other').write_text(f'FROM {IMAGE}\nCOPY y/a.txt /a\n')
    (web.folder / 'c.tar.gz').write_bytes(archive(context))
    (web.folder / 'only').write_text(f'FROM {IMAGE}\nRUN echo only >/a\n')
    session = Session(stack.socket, {'dockerfile': context})
    for options, found in (({'context': f'http://{web.name}/c.tar.gz'}, 'x/a.txt'),
                           ({'context': f'http://{web.name}/c.tar.gz', 'filename': 'Other'}, 'y/a.txt'),
                           ({'context': f'http://{web.name}/only', 'filename': 'whatever'}, 'only')):
        solved(builder, {'session': session.id, **options}, ['own/web'])
        assert client.ok('run', '--rm', 'own/web', 'cat', '/a') == found
    # A Dockerfile of the client's for files of the web.
    (context / 'Dockerfile').write_text(f'FROM {IMAGE}\nCOPY home.md /a\n')
    solved(builder, {'session': session.id, 'context': f'http://{web.name}/c.tar.gz', 'dockerfilekey': 'dockerfile'}, ['own/web'])
    assert client.ok('run', '--rm', 'own/web', 'cat', '/a') == 'home.md'
    said = refused(solved, builder, {'session': session.id, 'context': f'http://{web.name}/none'})
    assert 'fetching the build context' in said and '404' in said
    session.close()
    # Over POST /build, by ?remote=.
    client.ok('build', '-t', 'own/web', '-f', 'Other', f'http://{web.name}/c.tar.gz')
    assert client.ok('run', '--rm', 'own/web', 'cat', '/a') == 'y/a.txt'
    client.ok('build', '-t', 'own/web', f'http://{web.name}/only')
    assert client.ok('run', '--rm', 'own/web', 'cat', '/a') == 'only'
    client.ok('rmi', 'own/web')


def git(folder, *words):
    done = subprocess.run(['git', '-C', str(folder), '-c', 'user.name=n', '-c', 'user.email=e@x', '-c', 'init.defaultBranch=main', *words],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()


@pytest.fixture
def repository(stack, tmp_path):
    """git://127.0.0.1:9418/r.git with two commits of main, a branch, and links that lead out."""
    folder = tmp_path / 'git/r.git'
    (folder / 'sub').mkdir(parents=True)
    git(folder, 'init', '-q')
    (folder / 'Dockerfile').write_text(f'FROM {IMAGE}\nCOPY f /f\nRUN cat /f; ls -A /\n')
    (folder / 'f').write_text('one\n')
    (folder / 'sub/Dockerfile').write_text(f'FROM {IMAGE}\nCOPY g /f\nRUN cat /f\n')
    (folder / 'sub/g').write_text('below\n')
    (folder / 'out').symlink_to('/etc')
    (folder / 'inner').symlink_to('sub')
    for text in ('one', 'two'):
        (folder / 'f').write_text(text + '\n')
        git(folder, 'add', '-A')
        git(folder, 'commit', '-qm', text)
    git(folder, 'checkout', '-qb', 'other')
    (folder / 'f').write_text('branch\n')
    git(folder, 'commit', '-qam', 'three')
    git(folder, 'checkout', '-q', 'main')
    git(folder, 'tag', '-am', 'first', 'v1', 'main~1')
    server = stack.spawn(['git', 'daemon', '--listen=127.0.0.1', '--port=9418', '--export-all', '--reuseaddr', f'--base-path={tmp_path}/git'])
    url = 'git://127.0.0.1/r.git'
    until(lambda: stack.inside('git', 'ls-remote', url, check=False).returncode == 0, 30)
    yield types.SimpleNamespace(folder=folder, url=url)
    end(server.pid, 15, 10)
    server.wait(10)


def test_git_contexts(stack, client, builder, context, repository):
    first = git(repository.folder, 'rev-list', '--max-parents=0', 'main')
    session = Session(stack.socket, {'context': context, 'dockerfile': context})
    for fragment, found in (('', 'two'), ('#other', 'branch'), ('#main:sub', 'below'), ('#:sub', 'below'), (f'#{first}', 'one')):
        solved(builder, {'session': session.id, 'context': repository.url + fragment}, ['own/git'])
        assert client.ok('run', '--rm', 'own/git', 'cat', '/f') == found, fragment
    for fragment, said in (('#main:out', "has no directory 'out'"), ('#main:inner', "has no directory 'inner'"), ('#main:../..', "has no directory"),
                           ('#--upload-pack=x', "invalid git reference: '--upload-pack=x'"), ('#nothing', 'repository does not contain ref nothing')):
        assert said in refused(solved, builder, {'session': session.id, 'context': repository.url + fragment}), fragment
    session.close()
    client.ok('build', '-t', 'own/git', f'{repository.url}#:sub')
    assert client.ok('run', '--rm', 'own/git', 'cat', '/f') == 'below'
    client.ok('rmi', 'own/git')
    until(lambda: list(Path(stack.names.root, 'engine/builds').glob('*')) == [])


def test_git_of_a_plain_web_server(stack, client, repository):
    """One that knows nothing of git serves the files of a repository, without any part of its history cut off."""
    git(repository.folder, 'update-server-info')
    server = stack.spawn(['python3', '-m', 'http.server', '9419', '--bind', '127.0.0.1', '--directory', str(repository.folder.parent)])
    url = 'http://127.0.0.1:9419/r.git/.git'
    until(lambda: stack.inside('git', 'ls-remote', url, check=False).returncode == 0, 30)
    try:
        for fragment, found in (('', 'two'), ('#other', 'branch')):
            client.ok('build', '-t', 'own/git', url + fragment)
            assert client.ok('run', '--rm', 'own/git', 'cat', '/f') == found
        client.ok('rmi', 'own/git')
    finally:
        end(server.pid, 15, 10)
        server.wait(10)


def test_git_queries(stack, client, builder, context, repository):
    """As BuildKit's documentation has them."""
    first, last = git(repository.folder, 'rev-list', 'main').split()[::-1]
    tag = git(repository.folder, 'rev-parse', 'v1')
    session = Session(stack.socket, {})
    for query, found in (('?ref=other', 'branch'), ('?branch=main', 'two'), ('?tag=v1', 'one'), ('?tag=v1#refs/tags/v1', 'one'), ('?subdir=sub', 'below'),
                         (f'?ref={first}', 'one'), (f'?tag=v1&commit={first}', 'one'), (f'?tag=v1&checksum={tag[:7]}', 'one'), (f'?commit={last[:8]}', 'two'),
                         (f'?branch=other&commit={first}&fetch-by-commit=true', 'one'), ('?submodules=false&mtime=commit#other:sub', 'below')):
        solved(builder, {'session': session.id, 'context': repository.url + query}, ['own/git'])
        assert client.ok('run', '--rm', 'own/git', 'cat', '/f') == found, query
    for query, said in ((f'?tag=v1&commit={last}', 'expected checksum to match'), ('?branch=v1', 'repository does not contain ref refs/heads/v1'),
                        (f'?ref={first[:8]}', 'repository does not contain ref'), ('?tag=v1#refs/heads/main', 'ref conflicts'),
                        ('?commit=foobar', 'expected hex commit hash'), ('?what=1', 'unexpected query "what"')):
        assert said in refused(solved, builder, {'session': session.id, 'context': repository.url + query}), query
    session.close()
    client.ok('build', '-t', 'own/git', f'{repository.url}?tag=v1')
    assert client.ok('run', '--rm', 'own/git', 'cat', '/f') == 'one'
    client.ok('rmi', 'own/git')


def test_git_submodules(files, repository):
    """One with a URL that goes on from the repository's own."""
    other = repository.folder.parent / 's.git'
    other.mkdir()
    git(other, 'init', '-q')
    (other / 'inside').write_text('x')
    git(other, 'add', '-A')
    git(other, 'commit', '-qm', 'x')
    (repository.folder / '.gitmodules').write_text('[submodule "m"]\n\tpath = m\n\turl = ../s.git\n')
    git(repository.folder, 'add', '-A')
    git(repository.folder, 'update-index', '--add', '--cacheinfo', '160000,' + git(other, 'rev-parse', 'HEAD') + ',m')
    git(repository.folder, 'commit', '-qm', 'with a submodule')
    assert 'm/inside' in files(f'ADD {repository.url}?submodules /d/')
    assert 'm/inside' not in files(f'ADD {repository.url}?submodules=false /d/')


def test_git_with_a_token(stack, client, builder, context, repository):
    """The client's secrets open a repository; nobody else sees them."""
    git(repository.folder, 'update-server-info')
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(repository.folder.parent))

        def do_GET(self):
            asked.append(self.headers.get('Authorization'))
            if asked[-1] != 'basic ' + base64.b64encode(b'x-access-token:open').decode():
                return self.send_error(401)
            return super().do_GET()

        def log_message(self, *arguments):
            pass
    server = stack.within(lambda: http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f'http://127.0.0.1:{server.server_port}/r.git/.git'
    try:
        line = f'FROM {IMAGE}\nADD {url} /d/\nRUN cat /d/f\n'
        assert builder.commands(context, line, secrets={f'GIT_AUTH_TOKEN.127.0.0.1:{server.server_port}': b'open'}) == 'two\n'
        for secrets in ({}, {'GIT_AUTH_TOKEN': b'shut'}):
            said = refused(builder.commands, context, line.replace('/d/', '/e/'), secrets=secrets)
            assert 'ADD failed: fetching http://127.0.0.1' in said and 'shut' not in said, said
        assert {None, 'basic ' + base64.b64encode(b'x-access-token:shut').decode()} <= set(asked)
    finally:
        server.shutdown()
        server.server_close()


def test_add_of_git(builder, context, files, repository):
    assert files(f'ADD {repository.url}#other:sub /d/') == ['Dockerfile', 'g']
    found = files(f'ADD --keep-git-dir {repository.url} /d/')
    assert '.git/HEAD' in found and 'f' in found
    assert not [name for name in found if name.startswith('.git/hooks')]
    first, last = git(repository.folder, 'rev-list', 'main').split()[::-1]
    assert 'f' in files(f'ADD --checksum={last} {repository.url} /d/')
    assert '.git/HEAD' in files(f'ADD {repository.url}?keep-git-dir=true /d/')
    for line, said in ((f'--checksum={first} {repository.url}', f'expected checksum to match {first}, got {last}'),
                       (f'--checksum=foobar {repository.url}', 'invalid checksum foobar for Git URL, expected hex commit hash'),
                       (f'--checksum={first} {repository.url}?commit={last}', 'checksum mismatch'),
                       (f'--keep-git-dir=true {repository.url}?keep-git-dir=0', 'inconsistent keep-git-dir configuration'),
                       (f'--checksum={first} x', 'checksum requires HTTP(S) or Git sources')):
        assert said in refused(files, f'ADD {line} /d/')
    # What git writes for itself is no part of the key.
    line = f'FROM {IMAGE}\nADD --keep-git-dir {repository.url} /d/\nRUN cat /proc/sys/kernel/random/uuid; cat /d/.git/HEAD\n'
    said = builder.commands(context, line)
    assert said.split()[1] == last
    assert builder.commands(context, line) == ''


def test_named_contexts_from_the_web(builder, context, repository, web):
    (web.folder / 'f').write_text('from the web\n')
    options = {'context:file': f'http://{web.name}/f', 'context:code': f'{repository.url}?ref=other', 'context:stage': f'{repository.url}#main:sub'}
    text = f'FROM {IMAGE}\nCOPY --from=file context /f\nCOPY --from=code f /c\nCOPY --from=stage g /g\nRUN --mount=from=code,target=/m cat /f /c /g /m/sub/g\n'
    assert builder.commands(context, text, options=options).splitlines() == ['from the web', 'branch', 'below', 'below']
    said = refused(builder.commands, context, text, options={**options, 'context:code': f'{repository.url}#nothing'})
    assert 'fetching the context git://127.0.0.1/r.git#nothing' in said and 'repository does not contain ref nothing' in said
