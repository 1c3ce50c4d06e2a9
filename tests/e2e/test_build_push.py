# SPDX-License-Identifier: Apache-2.0
"""gantry build with a registry: --push, and caches that it holds, with the login of the client's configuration; --platform. Debian's
dockerd has none of it in its classic builder: forms are from BuildKit's documentation."""
import base64
import hashlib
import json
import re
import uuid

import pytest

from harness.client import Client
from harness.places import IMAGE
from harness.registry import Registry


@pytest.fixture(scope='module', params=['token', 'basic'])
def registry(request, stack):
    made = stack.within(lambda: Registry(auth=request.param))
    yield made
    made.destroy()


@pytest.fixture
def user(stack, tmp_path, registry):
    """Whose configuration has the registry's login, in the form that `docker login` writes."""
    home = tmp_path / 'home'
    home.mkdir()
    login = base64.b64encode(b'user:pass word').decode()
    (home / 'config.json').write_text(json.dumps({'auths': {registry.name: {'auth': login}}}))
    return Client('gantry', stack, home)


@pytest.fixture
def stranger(stack, tmp_path):
    (tmp_path / 'nobody').mkdir()
    return Client('gantry', stack, tmp_path / 'nobody')


@pytest.fixture
def context(tmp_path):
    folder = tmp_path / 'context'
    folder.mkdir()
    (folder / 'f').write_text(uuid.uuid4().hex)
    (folder / 'Dockerfile').write_text(f'FROM {IMAGE} AS tool\nRUN cat /proc/sys/kernel/random/uuid >/tool\n'
                                       f'FROM {IMAGE}\nCOPY f /f\nRUN cat /proc/sys/kernel/random/uuid >/made\nCOPY --from=tool /tool /\n')
    return folder


def build(client, *flags):
    return client('build', *flags, environment={'BUILDKIT_PROGRESS': 'plain'}, timeout=120)


def steps(text):
    """Which of the steps ran, and which were cached."""
    names = dict(re.findall(r'^#(\d+) (\[(?:tool|stage-1) [234]/\d\] (?:RUN|COPY).*)$', text, re.M))
    cached = {names[n] for n in re.findall(r'^#(\d+) CACHED$', text, re.M) if n in names}
    return sorted(set(names.values()) - cached), sorted(cached)


def forget(client, *names):
    client('rmi', '-f', *names)
    client.ok('builder', 'prune', '-af')


def test_push(user, stranger, registry, context, tmp_path):
    name = f'{registry.name}/own/pushed:{uuid.uuid4().hex[:8]}'
    done = build(user, '--push', '-t', name, '--metadata-file', tmp_path / 'meta', context)
    assert done.code == 0 and f'pushing {name}' in done.err, done.err
    meta = json.loads((tmp_path / 'meta').read_text())
    assert meta['containerimage.config.digest'] == user.inspect(name, '{{.Id}}')
    text = user.run(name, 'cat', '/f', '/made').out
    user.ok('rmi', name)
    # What is there is whole, and is what was built.
    user.ok('pull', '-q', name)
    assert user.inspect(name, '{{.Id}}') == meta['containerimage.config.digest'] and user.run(name, 'cat', '/f', '/made').out == text
    user.ok('rmi', name)
    # By an output, without --push; and with nobody's login.
    done = build(user, '-o', f'type=registry,name={name}-2', context)
    assert done.code == 0, done.err
    assert f'{name}-2' in user.ok('pull', '-q', f'{name}-2')
    user.ok('rmi', f'{name}-2')
    for flags in (['--push', '-t', name], ['-o', f'type=image,name={name},push=true']):
        bad = build(stranger, *flags, context)
        assert bad.code == 1 and bad.err.count('ERROR: failed to build') == 1 and re.search(r'ERROR: failed.*(401|unauthorized|authentication)', bad.err), bad.err
    user('rmi', '-f', name)


def test_a_base_that_wants_a_login(user, stranger, registry, context, tmp_path):
    """The engine asks for it over the session."""
    name = f'{registry.name}/own/base:{uuid.uuid4().hex[:8]}'
    assert build(user, '--push', '-t', name, context).code == 0
    user.ok('rmi', name)
    (context / 'Dockerfile').write_text(f'FROM {name}\nRUN cmp /f /f && echo got it\n')
    bad = build(stranger, '--no-cache', context)
    assert bad.code == 1 and not re.search(r'^#\d+ \S+ got it$', bad.err, re.M)
    done = build(user, '--no-cache', context)
    assert done.code == 0 and re.search(r'^#\d+ \S+ got it$', done.err, re.M), done.err
    user.ok('rmi', '-f', name)


@pytest.mark.parametrize('mode', ['min', 'max'])
def test_caches(user, stranger, registry, context, mode):
    ref, name = f'{registry.name}/own/cache:{mode}-{uuid.uuid4().hex[:8]}', 'own/from-cache'
    cache = f'type=registry,ref={ref},mode={mode}'
    assert build(user, '-t', name, '--cache-to', cache, context).code == 0
    made = user.run(name, 'cat', '/made', '/tool').out
    forget(user, name)
    done = build(user, '-t', name, '--cache-from', f'type=registry,ref={ref}', context)
    assert done.code == 0, done.err
    ran, cached = steps(done.err)
    found = user.run(name, 'cat', '/made', '/tool').out
    if mode == 'max':
        assert ran == [] and len(cached) == 4 and found == made, done.err
    else:
        # The other stage is made again, and what is copied from it is another file.
        assert '[stage-1 3/4] RUN cat /proc/sys/kernel/random/uuid >/made' in cached and any('[tool' in one for one in ran), done.err
        assert found.splitlines()[0] == made.splitlines()[0]
    # A cache that one may not read is told of and left out; one that one may not write is an error.
    forget(user, name)
    done = build(stranger, '-t', name, '--cache-from', ref, context)
    assert done.code == 0 and steps(done.err)[1] == [], done.err
    bad = build(stranger, '--cache-to', cache, context)
    assert bad.code == 1 and bad.err.count('ERROR: failed to build') == 1, bad.err
    user('rmi', '-f', name)


def test_an_inline_cache(user, registry, context):
    name = f'{registry.name}/own/inline:{uuid.uuid4().hex[:8]}'
    assert build(user, '--push', '-t', name, '--cache-to', 'type=inline', context).code == 0
    made = user.run(name, 'cat', '/made').out
    forget(user, name)
    done = build(user, '-t', name, '--cache-from', name, context)
    assert done.code == 0 and '[stage-1 3/4] RUN cat /proc/sys/kernel/random/uuid >/made' in steps(done.err)[1], done.err
    assert user.run(name, 'cat', '/made').out == made
    user('rmi', '-f', name)


def test_a_cache_in_a_directory(user, context, tmp_path):
    """An image layout, as BuildKit's clients have it: blobs by digest, the cache by its name in the index."""
    folder, name = tmp_path / 'caches/one', 'own/from-cache'
    first = build(user, '-t', name, '--cache-from', f'type=local,src={folder}', '--cache-to', f'type=local,dest={folder},mode=max', context)
    assert first.code == 0 and f"WARNING: the cache in '{folder}' is left out: " in first.err, first.err
    made = user.run(name, 'cat', '/made', '/tool').out
    entry, = json.loads((folder / 'index.json').read_text())['manifests']
    assert entry['annotations'] == {'org.opencontainers.image.ref.name': 'latest'} and (folder / 'oci-layout').exists()
    blobs = {p.name for p in (folder / 'blobs/sha256').iterdir()}
    assert entry['digest'].split(':')[1] in blobs
    assert all(hashlib.sha256((folder / 'blobs/sha256' / blob).read_bytes()).hexdigest() == blob for blob in blobs)
    forget(user, name)
    done = build(user, '-t', name, '--cache-from', f'type=local,src={folder}', context)
    assert done.code == 0 and steps(done.err)[0] == [] and len(steps(done.err)[1]) == 4, done.err
    assert user.run(name, 'cat', '/made', '/tool').out == made
    # Another name beside it, over blobs that are there; by its digest, too.
    (context / 'f').write_text('other')
    assert build(user, '-t', name, '--cache-to', f'type=local,dest={folder},tag=two', context).code == 0
    index = json.loads((folder / 'index.json').read_text())['manifests']
    assert [m['annotations']['org.opencontainers.image.ref.name'] for m in index] == ['latest', 'two'] and index[0] == entry
    assert [p.name for p in (folder / 'blobs/sha256').iterdir() if '.tmp-' in p.name] == []
    forget(user, name)
    done = build(user, '-t', name, '--cache-from', f'type=local,src={folder},digest={index[1]["digest"]}', context)
    assert done.code == 0 and '[stage-1 2/4] COPY f /f' in steps(done.err)[1], done.err
    # What is damaged is an error, and nothing of it is used.
    forget(user, name)
    (folder / 'blobs/sha256' / entry['digest'].split(':')[1]).write_text('{}')
    bad = build(user, '-t', name, '--cache-from', f'type=local,src={folder}', context)
    assert bad.code == 1 and 'has another digest' in bad.err and bad.err.count('ERROR: failed to build') == 1, bad.err
    for flags, why in ((['--cache-to', 'type=local'], 'a cache of type local needs dest='), (['--cache-from', 'type=local,src='], 'a cache of type local needs src='),
                       (['--cache-to', f'type=local,dest={context}/f/x'], 'not a directory')):
        bad = build(user, *flags, context)
        assert bad.code == 1 and why in bad.err, bad.err


def test_platform(user, context):
    (context / 'Dockerfile').write_text('FROM scratch\nARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT TARGETSTAGE\n'
                                        'LABEL p=$TARGETPLATFORM o=$TARGETOS a=$TARGETARCH v=$TARGETVARIANT s=$TARGETSTAGE\nCOPY f /\n')
    for platform, wanted in (('linux/arm64', 'linux/arm64 linux arm64  default'), ('linux/arm/v7', 'linux/arm/v7 linux arm v7 default')):
        done = build(user, '-t', 'own/platform', '--platform', platform, context)
        assert done.code == 0, done.err
        labels = json.loads(user.inspect('own/platform', '{{json .Config.Labels}}'))
        assert ' '.join(labels[key] for key in 'poavs') == wanted
        assert user.inspect('own/platform', '{{.Os}}/{{.Architecture}}') == '/'.join(platform.split('/')[:2])
    user.ok('rmi', 'own/platform')
    done = build(user, '-t', 'own/platform', '--platform', 'linux/amd64,linux/arm64', context)
    assert done.code == 0 and '[linux/arm64 1/1] COPY f /' in done.err, done.err
    assert json.loads(user.inspect('own/platform', '{{json .Config.Labels}}'))['a'] == 'amd64'
    user.ok('rmi', 'own/platform')
    bad = build(user, '--platform', 'what/is/this/now', context)
    assert bad.code == 1 and 'what/is/this/now' in bad.err, bad.err
