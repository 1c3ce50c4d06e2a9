# SPDX-License-Identifier: Apache-2.0
"""`gantry manifest` beside docker's, on the same registry and the same files; and login where no daemon answers."""
import base64
import gzip
import hashlib
import json
import shutil

import pytest

from harness.client import Client, programs
from harness.registry import GantryRegistry, Registry, ask, put_blob


class Nowhere:
    host = 'unix:///nonexistent.sock'


def put_image(registry, repository, tag, architecture, kinds):
    content = b'\0' * 1024 + repository.encode()
    config = {'architecture': architecture, 'os': 'linux', 'config': {},
              'rootfs': {'type': 'layers', 'diff_ids': ['sha256:' + hashlib.sha256(content).hexdigest()]}}
    if architecture == 'arm64':
        config['variant'] = 'v8'
    manifest = {'schemaVersion': 2, 'mediaType': kinds[0],
                'config': {'mediaType': kinds[1], **put_blob(registry, repository, json.dumps(config).encode())},
                'layers': [{'mediaType': kinds[2], **put_blob(registry, repository, gzip.compress(content, mtime=0))}]}
    ask(registry, 'PUT', f'{repository}/manifests/{tag}', json.dumps(manifest, indent=3).encode(), Content_Type=kinds[0])


def list_at(registry, path):
    return json.load(ask(registry, 'GET', path, Accept=f'{DOCKER_LIST}, {OCI_INDEX}'))


DOCKER = ('application/vnd.docker.distribution.manifest.v2+json', 'application/vnd.docker.container.image.v1+json',
          'application/vnd.docker.image.rootfs.diff.tar.gzip')
OCI = ('application/vnd.oci.image.manifest.v1+json', 'application/vnd.oci.image.config.v1+json', 'application/vnd.oci.image.layer.v1.tar+gzip')
DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json'
OCI_INDEX = 'application/vnd.oci.image.index.v1+json'

SCRIPT = """
manifest inspect --insecure R/one:t
manifest inspect --insecure -v R/one:t
manifest inspect --insecure -v R/one:oci
manifest inspect --insecure R/nosuch:t
manifest create --insecure R/SIDE:1 R/one:t R/two:t
manifest create --insecure R/SIDE:1 R/one:t
manifest create --insecure --amend R/SIDE:1 R/one:t
manifest create --insecure R/SIDE:oci R/one:oci
manifest annotate R/SIDE:1 R/two:t --arch arm --variant v7 --os-features a,b
manifest annotate R/SIDE:1 R/two:t --arch nosuch
manifest annotate R/SIDE:1 R/three:t --arch arm
manifest inspect R/SIDE:1
manifest inspect R/SIDE:1 R/two:t
manifest inspect R/SIDE:1 R/three:t
manifest inspect -v R/SIDE:1
manifest push --insecure R/SIDE:1
manifest push --insecure R/SIDE:oci
manifest inspect --insecure R/SIDE:oci
manifest rm R/SIDE:1 R/nosuch
manifest inspect --insecure R/SIDE:1
manifest inspect --insecure -v R/SIDE:1
manifest push R/nolist:1
manifest push --insecure -p R/SIDE:oci
manifest push R/SIDE:oci
manifest create R/x
manifest create --insecure R/bad:2 R/SIDE:1
manifest create --insecure R/bad:3 R/nosuch:1
manifest create --insecure R/UP:3 R/one:t
manifest rm R/nosuch
"""


@pytest.fixture(scope='module')
def registry():
    registry = Registry()
    put_image(registry, 'one', 't', 'amd64', DOCKER)
    put_image(registry, 'two', 't', 'arm64', DOCKER)
    put_image(registry, 'one', 'oci', 'amd64', OCI)
    yield registry
    registry.destroy()


@pytest.fixture
def sides(tmp_path):
    if 'docker-new' not in programs():
        pytest.skip('docker 28, whose wording ours follows, is not on this machine')
    return [Client(name, Nowhere, tmp_path / name) for name in ('docker-new', 'gantry')]


def files(home):
    return {str(path.relative_to(home)): json.loads(path.read_text()) for path in sorted((home / 'manifests').rglob('*')) if path.is_file()}


def test_same_words_same_files_same_lists(registry, sides, tmp_path):
    theirs, ours = sides
    for line in SCRIPT.strip().split('\n'):
        seen = []
        for client in sides:
            side = 'a' * 8 if client is theirs else 'b' * 8
            done = client(*line.replace('R/', registry.name + '/').replace('SIDE', side).split())
            out, err = (text.replace(side, 'SIDE').replace('docker', 'gantry') for text in (done.out, done.err))
            seen.append((line, done.code, out, err, json.dumps(files(tmp_path / client.name)).replace(side, 'SIDE')))
        assert seen[1] == seen[0]
    for tag in ('1', 'oci'):
        assert list_at(registry, f'{"b" * 8}/manifests/{tag}') == list_at(registry, f'{"a" * 8}/manifests/{tag}')


def test_each_goes_on_where_the_other_stopped(registry, sides, tmp_path):
    theirs, ours = sides
    name = f'{registry.name}/shared:1'
    ours.ok('manifest', 'create', '--insecure', name, f'{registry.name}/one:t')
    shutil.copytree(tmp_path / 'gantry/manifests', tmp_path / 'docker-new/manifests')
    theirs.ok('manifest', 'create', '--insecure', '--amend', name, f'{registry.name}/two:t')
    theirs.ok('manifest', 'annotate', name, f'{registry.name}/two:t', '--variant', 'v9')
    shutil.rmtree(tmp_path / 'gantry/manifests')
    shutil.copytree(tmp_path / 'docker-new/manifests', tmp_path / 'gantry/manifests')
    pushed = ours.ok('manifest', 'push', '--insecure', name).splitlines()[-1]
    assert theirs.ok('manifest', 'push', '--insecure', name).splitlines()[-1] == pushed
    assert [m['platform'] for m in list_at(registry, 'shared/manifests/1')['manifests']][1]['variant'] == 'v9'


@pytest.mark.parametrize('auth', ['basic', 'token'])
def test_login_without_a_daemon(auth, tmp_path, sides):
    registry = Registry(auth)
    try:
        results = []
        for client in sides:
            wrong = client('login', '-u', 'user', '--password-stdin', registry.name, stdin='wrong')
            right = client('login', '-u', 'user', '--password-stdin', registry.name, stdin='pass word\n')
            config = json.loads((tmp_path / client.name / 'config.json').read_text())
            out = client('logout', registry.name)
            gone = json.loads((tmp_path / client.name / 'config.json').read_text())
            results.append((wrong.code, right.code, right.out, config, out.code, out.out, gone))
        assert results[1] == results[0]
        assert base64.b64decode(results[1][3]['auths'][registry.name]['auth']) == b'user:pass word'
        # With what is known from the login, and without.
        ours = sides[1]
        ours.ok('login', '-u', 'user', '--password-stdin', registry.name, stdin='pass word')
        assert 'existing credentials' in ours('login', registry.name).err
        refused = ours('manifest', 'inspect', f'{registry.name}/nosuch:1')
        assert (refused.code, refused.err) == (1, f'no such manifest: {registry.name}/nosuch:1\n')
        ours.ok('logout', registry.name)
        refused = ours('manifest', 'inspect', f'{registry.name}/nosuch:1')
        assert refused.code == 1 and 'no such manifest' not in refused.err
    finally:
        registry.destroy()


def put_artifact(registry, repository, subject, kind):
    """A signature or the like: an empty config, one blob, the subject's descriptor. Its own descriptor."""
    empty = {'mediaType': 'application/vnd.oci.empty.v1+json', **put_blob(registry, repository, b'{}')}
    manifest = json.dumps({'schemaVersion': 2, 'mediaType': OCI[0], 'artifactType': kind, 'config': empty, 'subject': subject,
                           'layers': [{'mediaType': 'text/plain', **put_blob(registry, repository, kind.encode())}],
                           'annotations': {'made.by': 'test'}}).encode()
    digest = 'sha256:' + hashlib.sha256(manifest).hexdigest()
    ask(registry, 'PUT', f'{repository}/manifests/{digest}', manifest, Content_Type=OCI[0])
    return {'mediaType': OCI[0], 'digest': digest, 'size': len(manifest), 'artifactType': kind, 'annotations': {'made.by': 'test'}}


@pytest.mark.parametrize('kind', [GantryRegistry, Registry], ids=['its list', 'the tag instead'])
def test_referrers(kind, tmp_path):
    """The registry's own list, or, of Debian's docker-registry, which has none, the index under the tag that stands in for it."""
    registry = kind()
    try:
        gantry = Client('gantry', Nowhere, tmp_path)
        put_image(registry, 'app', 't', 'amd64', OCI)
        image = ask(registry, 'GET', 'app/manifests/t', Accept=OCI[0]).read()
        digest = 'sha256:' + hashlib.sha256(image).hexdigest()
        name = f'{registry.name}/app:t'
        assert gantry.ok('manifest', 'referrers', '-q', name) == ''
        subject = {'mediaType': OCI[0], 'digest': digest, 'size': len(image)}
        found = [put_artifact(registry, 'app', subject, f'application/vnd.test.{word}') for word in ('sbom', 'signature')]
        if kind is Registry:
            index = json.dumps({'schemaVersion': 2, 'mediaType': OCI_INDEX, 'manifests': found}).encode()
            ask(registry, 'PUT', f"app/manifests/{digest.replace(':', '-')}", index, Content_Type=OCI_INDEX)
        by_kind = {one['artifactType']: one for one in found}
        for asked in (name, f'{registry.name}/app@{digest}'):
            rows = [json.loads(line) for line in gantry.ok('manifest', 'referrers', '--format', 'json', asked).splitlines()]
            assert {row['ArtifactType']: row['Digest'] for row in rows} == {k: one['digest'] for k, one in by_kind.items()}
            assert {(row['Annotations'], row['MediaType']) for row in rows} == {('made.by=test', OCI[0])}
        sbom = 'application/vnd.test.sbom'
        assert gantry.ok('manifest', 'referrers', '-q', '--artifact-type', sbom, name) == by_kind[sbom]['digest']
        assert gantry.ok('manifest', 'referrers', '-q', '--artifact-type', 'application/x', name) == ''
        head, *rows = gantry.ok('manifest', 'referrers', name).splitlines()
        assert head.split() == ['DIGEST', 'ARTIFACT', 'TYPE', 'SIZE'] and len(rows) == 2
        done = gantry('manifest', 'referrers', f'{registry.name}/app:nosuch')
        assert (done.code, done.err.strip()) == (1, f'no such manifest: {registry.name}/app:nosuch')
    finally:
        registry.destroy()
