# SPDX-License-Identifier: Apache-2.0
"""BuildKit's build over POST /build (version=2), as docker's command line before 23 asks for it, which Debian's is: the context,
secrets and what comes out go over its session. GANTRY_E2E=docker:peer proves it on Debian's dockerd."""
import base64
import io
import json
import tarfile
import uuid

import pytest

from harness.places import IMAGE

BUILDKIT = {'DOCKER_BUILDKIT': '1'}


@pytest.fixture
def docker(client):
    if client.name != 'docker':
        pytest.skip('gantry build goes another way')
    return client


@pytest.fixture
def image(client):
    name = f'http-build/{uuid.uuid4().hex[:12]}:x'
    yield name
    client('rmi', '-f', name)


@pytest.fixture
def context(tmp_path):
    folder = tmp_path / 'context'
    folder.mkdir()
    (folder / 'f').write_text('data\n')
    (folder / 'left').write_text('out\n')
    (folder / '.dockerignore').write_text('left\n')

    def write(*lines):
        (folder / 'Dockerfile').write_text('\n'.join([f'FROM {IMAGE}', *lines, '']))
        return folder
    return write


def build(client, *arguments, **options):
    return client('build', *arguments, environment=BUILDKIT, timeout=120, **options)


def test_session(docker, context, image, tmp_path):
    (tmp_path / 'secret').write_text('hidden\n')
    folder = context('ARG V', f'RUN --mount=type=secret,id=s cat /run/secrets/s >/s; echo v=$V {uuid.uuid4().hex}', 'COPY . /c/')
    done = build(docker, '--progress', 'plain', '--secret', f'id=s,src={tmp_path}/secret', '--build-arg', 'V=1', '-t', image, folder)
    assert done.code == 0 and 'v=1' in done.err, done.err
    assert docker.run('--network', 'none', image, 'sh', '-c', 'cat /s; ls /c').out.split() == ['hidden', 'Dockerfile', 'f']
    assert docker.ok('images', '-q', '--no-trunc', image) == docker.inspect(image, '{{.Id}}')


def test_quiet_tells_the_id(docker, context, image):
    folder = context('COPY f /f')
    ident = build(docker, '-q', '-t', image, folder).text
    assert ident == docker.inspect(image, '{{.Id}}') and ident.startswith('sha256:')
    # All cached: the same image.
    assert build(docker, '-q', folder).text == ident


def test_files_as_output(docker, context, tmp_path):
    folder = context('COPY f /f')
    (folder / 'Dockerfile').write_text('FROM scratch\nCOPY f /d/f\n')
    done = build(docker, '-o', str(tmp_path / 'out'), folder)
    assert done.code == 0 and (tmp_path / 'out/d/f').read_text() == 'data\n', done.err


def test_context_of_standard_input(docker, context, image):
    """It comes with a request of its own."""
    folder = context('COPY f /f')
    archive = io.BytesIO()
    # The command line knows an archive by its first entry, which must be no extended header.
    with tarfile.open(fileobj=archive, mode='w', format=tarfile.GNU_FORMAT) as tar:
        tar.add(folder, '.')
    done = build(docker, '-t', image, '-', stdin=archive.getvalue())
    assert done.code == 0 and docker.run('--network', 'none', image, 'cat', '/f').out == 'data\n', done.err


@pytest.mark.parametrize('lines, words', [
    (['RUN echo before; exit 9'], 'exit code: 9'),
    (['COPY nosuch /'], 'nosuch'),
    (['NOSUCH x'], 'NOSUCH'),
])
def test_failures(docker, context, lines, words):
    done = build(docker, context(*lines))
    assert done.code != 0 and words.lower() in done.err.lower(), done.err


def test_secret_that_nobody_has(docker, context):
    done = build(docker, context(f'RUN --mount=type=secret,id=nosuch,required=true true # {uuid.uuid4().hex}'))
    assert done.code != 0 and 'nosuch' in done.err and 'not found' in done.err, done.err


def lines_of(client, query, files):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode='w') as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    status, body, _ = client.engine.api('POST', f'/build?version=2{query}', archive.getvalue(), {'Content-Type': 'application/x-tar'}, timeout=60)
    return status, [json.loads(line) for line in body.splitlines() if line.strip()]


def test_body_without_a_session(docker, image):
    status, lines = lines_of(docker, f'&t={image}', {'Dockerfile': f'FROM {IMAGE}\nCOPY f /f\n', 'f': 'data\n'})
    assert status == 200 and 'error' not in lines[-1], lines
    assert [line['aux']['ID'] for line in lines if line.get('id') == 'moby.image.id'] == [docker.inspect(image, '{{.Id}}')]
    traces = [base64.b64decode(line['aux']) for line in lines if line.get('id') == 'moby.buildkit.trace']
    assert any(b'COPY f /f' in trace for trace in traces)


@pytest.mark.only('gantry')
def test_refusals(docker):
    """The words are ours."""
    for query, words in (('&remote=client-session', 'remote=client-session needs a session'),
                         ('&remote=upload-request', 'remote=upload-request needs a buildid'),
                         ('&outputs=[{"Type":"nosuch"}]', 'exporter "nosuch" is not supported'),
                         ('&outputs=[{"type":"nosuch","attrs":{"a":"b"}}]', 'exporter "nosuch" is not supported'),
                         ('&outputs=[{"Type":"moby"},{"Type":"local"}]', 'multiple outputs not supported')):
        status, lines = lines_of(docker, query.replace('"', '%22'), {'Dockerfile': f'FROM {IMAGE}\n'})
        assert status >= 400 and words in lines[0]['message'], lines
    status, body, _ = docker.engine.api('POST', '/build?version=3', b'')
    assert status == 400 and 'invalid version \\"3\\"' in body.decode()
