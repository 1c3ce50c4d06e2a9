# SPDX-License-Identifier: Apache-2.0
"""Images of several platforms: inspect, history, save, load, push and rmi of one of them, by API version. Debian's dockerd knows
none of it; the rules are those of docker 28 with the containerd store."""
import io
import json
import tarfile
import urllib.parse

import pytest

from harness.places import IMAGE
from harness.registry import Layout, layer_tar

pytestmark = pytest.mark.only('gantry')
AMD, ARM = {'os': 'linux', 'architecture': 'amd64'}, {'os': 'linux', 'architecture': 'arm64'}
S390 = {'os': 'linux', 'architecture': 's390x'}
NAME = 'platforms/both:1'


def query(**values):
    return urllib.parse.urlencode({k: json.dumps(v) if isinstance(v, dict) else v for k, v in values.items()})


def message(answer):
    return answer[0], json.loads(answer[1])['message']


def archive(tmp_path, architectures, more=''):
    layout = Layout(tmp_path / '-'.join(architectures))
    layout.index(NAME, {a: [layer_tar([('which', (a + more).encode(), 0o644, 0)])] for a in architectures})
    index = json.loads((layout.folder / 'index.json').read_text())
    index['manifests'][0]['annotations'] = {'io.containerd.image.name': f'docker.io/{NAME}', 'org.opencontainers.image.ref.name': '1'}
    (layout.folder / 'index.json').write_text(json.dumps(index))
    out = tmp_path / ('-'.join(architectures) + '.tar')
    with tarfile.open(out, 'w') as tar:
        for path in sorted(layout.folder.rglob('*')):
            tar.add(path, path.relative_to(layout.folder), recursive=False)
    return out


@pytest.fixture
def both(client, tmp_path):
    client.ok('load', '-i', archive(tmp_path, ['amd64', 'arm64']))
    yield client.engine
    client('rmi', '-f', NAME)


def get(engine, path, status=200):
    answer = engine.api('GET', path)
    assert answer[0] == status, answer
    return json.loads(answer[1])


@pytest.mark.engine_alone
def test_inspect_and_history(both):
    path = f'/images/{NAME}/json'
    plain = get(both, f'/v1.49{path}')
    assert plain['Architecture'] == 'amd64' and plain['Descriptor']['mediaType'].endswith('index.v1+json') and 'Manifests' not in plain
    arm = get(both, f'/v1.49{path}?{query(platform=ARM)}')
    assert arm['Architecture'] == 'arm64' and arm['RepoTags'] == [NAME] and arm['RootFS'] != plain['RootFS']
    assert arm['Descriptor']['mediaType'].endswith('manifest.v1+json')
    assert get(both, f'/v1.48{path}?{query(platform=ARM)}')['Architecture'] == 'amd64', 'not yet in 1.48'
    manifests = get(both, f'/v1.48{path}?manifests=1')['Manifests']
    assert [m['ImageData']['Platform'] for m in manifests] == [AMD, ARM] and all(m['Available'] for m in manifests)
    assert [m['ImageData']['Size']['Unpacked'] > 0 for m in manifests] == [True, False]
    assert manifests[1]['ID'] == arm['Descriptor']['digest']
    assert 'Manifests' not in get(both, f'/v1.47{path}?manifests=1')
    wanting = f'image with reference {NAME} was found but does not provide the specified platform (linux/s390x)'
    assert message(both.api('GET', f'/v1.49{path}?{query(platform=S390)}')) == (404, wanting)
    assert message(both.api('GET', f'/v1.48/images/{NAME}/history?{query(platform=S390)}')) == (404, wanting)
    assert both.api('GET', f'/v1.47/images/{NAME}/history?{query(platform=S390)}')[0] == 200
    assert get(both, f'/v1.48/images/{NAME}/history?{query(platform=ARM)}')[0]['Tags'] == [NAME]
    for bad, words in (({'os': 'linux'}, 'both OS and Architecture must be provided'), ('x', 'failed to parse platform'),
                       ({'variant': 'v7'}, 'optional platform fields provided, but OS and Architecture are missing')):
        status, text = message(both.api('GET', f'/v1.49{path}?{query(platform=bad)}'))
        assert status == 400 and words in text
    assert message(both.api('GET', f'/v1.49{path}?{query(platform=ARM)}&manifests=1')) == (
        400, 'conflicting options: manifests and platform options cannot both be set')


def saved(answer):
    assert answer[0] == 200, answer
    with tarfile.open(fileobj=io.BytesIO(answer[1])) as tar:
        docker = json.loads(tar.extractfile('manifest.json').read())
        config = json.loads(tar.extractfile(docker[0]['Config']).read())
        kind = json.loads(tar.extractfile('index.json').read())['manifests'][0]['mediaType'].split('.')[-2]
        return docker[0]['RepoTags'], config['architecture'], kind, len([n for n in tar.getnames() if n.count('/') == 2])


@pytest.mark.engine_alone
def test_save(both):
    path = f'/images/get?names={NAME}'
    assert saved(both.api('GET', f'/v1.48{path}&{query(platform=ARM)}')) == ([NAME], 'arm64', 'manifest', 3)
    assert saved(both.api('GET', f'/v1.48{path}')) == ([NAME], 'amd64', 'manifest', 3)
    assert saved(both.api('GET', f'/v1.47{path}&{query(platform=ARM)}'))[1] == 'amd64'
    two = f'{path}&{query(platform=ARM)}&{query(platform=AMD)}'
    assert saved(both.api('GET', f'/v1.52{two}')) == ([NAME], 'arm64', 'index', 7)
    assert message(both.api('GET', f'/v1.51{two}')) == (
        400, 'multiple platform parameters are not supported in this API version; use API version 1.52 or later')
    assert message(both.api('GET', f'/v1.48{path}&{query(platform=S390)}')) == (
        404, f'no suitable export target found: image with reference {NAME} was found but does not provide the specified platform (linux/s390x)')


@pytest.mark.engine_alone
def test_load_and_create(client, tmp_path, names):
    engine = client.engine
    data = archive(tmp_path, ['arm64']).read_bytes()
    try:
        status, text, _ = engine.api('POST', f'/v1.48/images/load?{query(platform=AMD)}', data)
        assert status == 200 and 'requested platform(s) ([linux/amd64]) not found' in json.loads(text)['errorDetail']['message']
        assert NAME not in client.ok('images', '--format', '{{.Repository}}:{{.Tag}}').split(), 'a load that fails changes nothing'
        status, text, _ = engine.api('POST', '/v1.48/images/load', data)
        assert status == 200 and f'Loaded image: {NAME}' in text.decode()
        assert message(engine.api('POST', '/containers/create?platform=linux/amd64', json.dumps({'Image': NAME, 'Cmd': ['x']}))) == (
            404, f'image with reference {NAME} was found but its platform (linux/arm64) does not match the specified platform (linux/amd64)')
        status, text, _ = engine.api('POST', f'/v1.48/images/load?{query(platform=ARM)}', data)
        assert f'Loaded image: {NAME}' in text.decode() and 'error' not in text.decode()
        # Unpacked too, so a container can be made of it.
        made = json.loads(engine.api('POST', '/containers/create?platform=linux/arm64', json.dumps({'Image': NAME, 'Cmd': ['x']}))[1])
        assert get(engine, f'/containers/{made["Id"]}/json')['Image'] == get(engine, f'/images/{NAME}/json')['Id']
        assert engine.api('DELETE', f'/containers/{made["Id"]}')[0] == 204
    finally:
        client('rmi', '-f', NAME)
    assert NAME not in client.ok('images', '--format', '{{.Repository}}:{{.Tag}}').split()


def here(engine):
    return [m['Available'] for m in get(engine, f'/v1.48/images/{NAME}/json?manifests=1')['Manifests']]


@pytest.mark.engine_alone
def test_load_one_of_two(client, tmp_path):
    """What was asked for is there and unpacked, nothing else; another load brings the other, and takes nothing away."""
    engine, data = client.engine, archive(tmp_path, ['amd64', 'arm64'], str(tmp_path)).read_bytes()
    try:
        for wanted, found in ((ARM, [False, True]), (AMD, [True, True])):
            status, text, _ = engine.api('POST', f'/v1.48/images/load?{query(platform=wanted)}', data)
            assert status == 200 and f'Loaded image: {NAME}' in text.decode() and 'error' not in text.decode()
            assert get(engine, f'/v1.49/images/{NAME}/json?{query(platform=wanted)}')['Architecture'] == wanted['architecture']
            assert here(engine) == found
        two = f'{query(platform=AMD)}&{query(platform=ARM)}'
        assert engine.api('POST', f'/v1.52/images/load?{two}', data)[0] == 200
        assert here(engine) == [True, True]
        assert message(engine.api('POST', f'/v1.51/images/load?{two}', data)) == (
            400, 'multiple platform parameters are not supported in this API version; use API version 1.52 or later')
    finally:
        client('rmi', '-f', NAME)


@pytest.mark.engine_alone
def test_load_of_another_manifest(client, tmp_path):
    """No index says what it is for: docker loads it, and tells that it is not what was asked for."""
    layout, name = Layout(tmp_path / 'one'), 'platforms/one:1'
    layout.image(f'docker.io/{name}', [layer_tar([('x', b'x', 0o644, 0)])], architecture='arm64')
    out = tmp_path / 'one.tar'
    with tarfile.open(out, 'w') as tar:
        tar.add(layout.folder, '.')
    try:
        status, text, _ = client.engine.api('POST', f'/v1.48/images/load?{query(platform=AMD)}', out.read_bytes())
        error = f"image {name} was loaded, but doesn't provide the requested platform (linux/amd64)"
        assert status == 200 and error in json.loads(text)['error']
        assert get(client.engine, f'/images/{name}/json')['Architecture'] == 'arm64'
    finally:
        client('rmi', '-f', name)


@pytest.mark.engine_alone
def test_attestations(client, tmp_path):
    engine, name = client.engine, 'platforms/proven:1'
    layout = Layout(tmp_path / 'proven')
    image = layout.manifest([layer_tar([('x', b'x', 0o644, 0)])])
    types = ('https://slsa.dev/provenance/v1', 'https://spdx.dev/Document')
    layers = [layout.blob(json.dumps({'predicateType': t}).encode(), 'x') | {'mediaType': 'application/vnd.in-toto+json', 'annotations': {'in-toto.io/predicate-type': t}}
              for t in types]
    config = layout.blob(json.dumps({'architecture': 'unknown', 'os': 'unknown', 'rootfs': {'type': 'layers', 'diff_ids': [l['digest'] for l in layers]}}).encode(),
                         'config.v1+json')
    proof = layout.blob(json.dumps({'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.manifest.v1+json', 'config': config, 'layers': layers}).encode(),
                        'manifest.v1+json', platform={'os': 'unknown', 'architecture': 'unknown'},
                        annotations={'vnd.docker.reference.type': 'attestation-manifest', 'vnd.docker.reference.digest': image['digest']})
    index = {'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.index.v1+json', 'manifests': [image, proof]}
    layout.add(f'docker.io/{name}', layout.blob(json.dumps(index).encode(), 'index.v1+json'))
    with tarfile.open(tmp_path / 'proven.tar', 'w') as tar:
        tar.add(layout.folder, '.')
    path = f'/v1.55/images/{name}/attestations'
    try:
        client.ok('load', '-i', tmp_path / 'proven.tar')
        plain = get(engine, path)
        assert [s['PredicateType'] for s in plain] == list(types) and all('Statement' not in s for s in plain)
        assert [s['Descriptor'] for s in plain] == layers
        assert get(engine, f'{path}?statement=1&type={urllib.parse.quote(types[1])}') == [
            {'Descriptor': layers[1], 'PredicateType': types[1], 'Statement': {'predicateType': types[1]}}]
        assert get(engine, f'{path}?type=nosuch') == []
        assert get(engine, f'/v1.55/images/{IMAGE}/attestations') == []
        assert engine.api('GET', f'{path}?{query(platform=S390)}')[0] == 404
        assert message(engine.api('GET', f'{path}?{query(platform=AMD)}&{query(platform=ARM)}')) == (400, 'only one platform value is currently supported')
        assert message(engine.api('GET', path.replace('1.55', '1.54'))) == (404, 'page not found')
        assert engine.api('GET', '/v1.55/images/nosuch/attestations')[0] == 404
    finally:
        client('rmi', '-f', name)


@pytest.mark.engine_alone
def test_remove(both, client):
    path = f'/images/{NAME}'
    assert message(both.api('DELETE', f'/v1.50{path}?{query(platforms=S390)}'))[0] == 404
    made = json.loads(both.api('POST', '/containers/create', json.dumps({'Image': NAME, 'Cmd': ['x']}))[1])['Id']
    status, text = message(both.api('DELETE', f'/v1.50{path}?{query(platforms=AMD)}'))
    assert status == 409 and 'image is being used by stopped container' in text
    both.api('DELETE', f'/containers/{made}')
    arm = get(both, f'/v1.49{path}/json?{query(platform=ARM)}')['Descriptor']['digest']
    assert json.loads(both.api('DELETE', f'/v1.50{path}?{query(platforms=ARM)}')[1]) == [{'Deleted': arm}]
    assert get(both, f'{path}/json')['Architecture'] == 'amd64'
    assert [m['Available'] for m in get(both, f'/v1.48{path}/json?manifests=1')['Manifests']] == [True, False]
    assert both.api('GET', f'/v1.49{path}/json?{query(platform=ARM)}')[0] == 404
    # The last one takes the image along.
    assert {'Untagged': NAME} in json.loads(both.api('DELETE', f'/v1.50{path}?{query(platforms=AMD)}')[1])
    assert both.api('GET', f'{path}/json')[0] == 404


def test_command_line(client, both, tmp_path):
    if '--platform' not in client('image', 'inspect', '--help').out:
        pytest.skip('this client is older than the flag')
    assert client.ok('image', 'inspect', '--platform', 'linux/arm64', '-f', '{{.Architecture}}', NAME) == 'arm64'
    assert client.ok('history', '--platform', 'linux/arm64', '-q', NAME)
    client.ok('save', '--platform', 'linux/arm64', '-o', tmp_path / 'arm.tar', NAME)
    assert saved((200, (tmp_path / 'arm.tar').read_bytes()))[1] == 'arm64'
    done = client('save', '--platform', 'linux/s390x', '-o', tmp_path / 'x.tar', IMAGE)
    assert done.code == 1 and 'does not provide the specified platform (linux/s390x)' in done.err
    assert client('rmi', '--platform', 'linux/arm64', NAME).code == 0
    assert client.ok('image', 'inspect', '-f', '{{.Architecture}}', NAME) == 'amd64'
    client.ok('load', '--platform', 'linux/arm64', '-i', tmp_path / 'arm.tar')
    assert client.ok('image', 'inspect', '-f', '{{.Architecture}}', NAME) == 'arm64'
