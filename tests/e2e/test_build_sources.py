# SPDX-License-Identifier: Apache-2.0
"""What COPY and ADD take and where it comes from: --parents, --exclude, --checksum, here-documents that are programs, named
contexts, contexts from the web. Debian's dockerd has none of it but contexts from the web: what is expected is from the reference
of the Dockerfile."""
import hashlib
import http.server
import io
import json
import tarfile
import threading
import urllib.parse
import uuid

import grpc
import pytest

from harness.buildkit import BuildKit
from harness.client import Client
from harness.places import IMAGE


@pytest.fixture(scope='module')
def client(stack, home):
    return Client('gantry', stack, home)


@pytest.fixture
def builder(stack):
    made = BuildKit(stack.socket)
    yield made
    made.close()


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
    (f'ADD --checksum=sha256:{"0" * 64} x /x', "checksum can't be specified for non-HTTP(S) sources"),
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
    assert 'COPY failed: stat up/passwd: file does not exist' in said


def test_named_images(client, builder, context):
    client.ok('tag', IMAGE, 'own/base:1')
    options = {'context:alpine': 'docker-image://own/base:1', 'context:tools': 'docker-image://docker.io/own/base:1',
               'context:alpine::linux/s390x': 'docker-image://own/none'}
    for name in ('alpine', 'alpine:latest', 'docker.io/library/alpine'):
        said = builder.commands(context, f'FROM {name}\nCOPY --from=tools /bin/busybox /b\nRUN ls /b; echo {uuid.uuid4().hex}\n', options=options)
        assert said.startswith('/b\n')
    said = refused(builder.commands, context, f'FROM {IMAGE}\n', options={'context:x': 'oci-layout://x@sha256:0'})
    assert 'a build context of that kind is not supported: x=oci-layout://' in said
    client.ok('rmi', 'own/base:1')
