# SPDX-License-Identifier: Apache-2.0
"""Routes that clients try on any engine: swarm, plugins, registries, disk usage, prunes, old and new versions.

GANTRY_E2E=any:peer asks the same of Debian's dockerd."""
import base64
import http.server
import io
import json
import os
import re
import sys
import tarfile
import threading
import urllib.parse

import pytest

from harness.engine import ask
from harness.places import IMAGE, TREE
from harness.registry import Registry

sys.path.insert(0, str(TREE / 'tools'))
import openapi  # noqa: E402

NOT_MANAGER = 'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.'

pytestmark = pytest.mark.usefixtures('no_other_images')


def filtered(**filters):
    return urllib.parse.quote(json.dumps(filters))


@pytest.mark.parametrize('method, path, body, status, message', [
    ('GET', '/swarm', None, 503, NOT_MANAGER),
    ('POST', '/swarm/leave', None, 503, 'This node is not part of a swarm'),
    ('POST', '/swarm/update?version=1', None, 400, 'got EOF while reading request body'),
    ('GET', '/swarm/unlockkey', None, 503, NOT_MANAGER),
    ('GET', '/nodes', None, 503, NOT_MANAGER),
    ('DELETE', '/nodes/x', None, 503, NOT_MANAGER),
    ('GET', '/services', None, 503, NOT_MANAGER),
    ('POST', '/services/create', None, 400, 'got EOF while reading request body'),
    ('GET', '/tasks/x', None, 503, NOT_MANAGER),
    ('GET', '/secrets', None, 503, NOT_MANAGER),
    ('DELETE', '/secrets/x', None, 503, NOT_MANAGER),
    ('GET', '/configs', None, 503, NOT_MANAGER),
    ('GET', '/plugins/x/json', None, 404, 'plugin "x" not found'),
    ('POST', '/plugins/x/disable', None, 404, 'plugin "x" not found'),
    ('DELETE', '/plugins/x', None, 404, 'plugin "x" not found'),
    ('POST', '/session', None, 400, 'no upgrade proto in request'),
    ('PUT', '/_ping', None, 404, 'page not found'),
    ('GET', '/v1.41', None, 404, 'page not found'),
    ('GET', '/images/search?term=x&limit=1000', None, 400, 'Limit 1000 is outside the range of [1, 100]'),
    ('GET', '/images/json?filters=' + filtered(dangling=['x']), None, 400, "Invalid filter 'dangling=[x]'"),
    ('POST', '/images/prune?filters=' + filtered(dangling=['x']), None, 400, "Invalid filter 'dangling=[x]'"),
])
def test_refusals(engine, method, path, body, status, message):
    assert ask(engine, method, path, body, status=status)['message'] == message


def test_plugins_builder_and_options(engine):
    assert ask(engine, 'GET', '/plugins') == []
    ask(engine, 'POST', '/build/prune')
    assert ask(engine, 'POST', '/build/prune') == {'CachesDeleted': None, 'SpaceReclaimed': 0}
    assert engine.api('OPTIONS', '/version')[:2] == (200, b'') and engine.api('OPTIONS', '/nosuch')[:2] == (200, b'')


def test_ping(engine):
    for method in ('GET', 'HEAD'):
        status, body, headers = engine.api(method, '/_ping')
        assert (status, body) == (200, b'OK' if method == 'GET' else b'')
        assert headers['Ostype'] == 'linux' and headers['Docker-Experimental'] == 'false' and headers['Api-Version'].startswith('1.')
        assert headers['Cache-Control'] == 'no-cache, no-store, must-revalidate' and headers['Pragma'] == 'no-cache'
        assert headers['Content-Type'].startswith('text/plain') and headers['Content-Length'] == ('2' if method == 'GET' else '0')


def test_versions(stack):
    new = ask(stack, 'GET', '/version')
    assert new['ApiVersion'] == '1.55' and new['MinAPIVersion'] == '1.24'
    assert ask(stack, 'GET', '/v1.10/version', status=400)['message'] == (
        'client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version')
    assert ask(stack, 'GET', '/v1.99/version', status=400)['message'] == (
        'client version 1.99 is too new. Maximum supported API version is 1.55')


def test_info(engine):
    info = ask(engine, 'GET', '/v1.41/info')
    assert info['Swarm']['LocalNodeState'] == 'inactive' and info['OSType'] == 'linux' and info['NCPU'] == os.cpu_count()
    assert info['MemoryLimit'] and info['PidsLimit'] and info['RegistryConfig']['IndexConfigs']['docker.io']['Official']
    assert 'Containerd' not in info and 'Expected' in info['RuncCommit']
    old = ask(engine, 'GET', '/v1.24/info')
    assert old['ExecutionDriver'] == '<not supported>' and 'seccomp' in old['SecurityOptions']


@pytest.mark.parametrize('form', [base64.urlsafe_b64encode, base64.b64encode])
def test_push_and_distribution(engine, form):
    """To Debian's registry, with a password in either alphabet of base64."""
    # Its process is born in the engine's network namespace.
    registry = in_namespace_of(engine, lambda: Registry(auth='basic'))
    try:
        name = f'{registry.name}/pushed/image'
        login = {'username': 'user', 'password': 'pass word', 'serveraddress': registry.name}
        header = {'X-Registry-Auth': form(json.dumps(login).encode()).decode()}
        assert ask(engine, 'POST', f'/images/{IMAGE}/tag?repo={name}&tag=one', status=201) is None
        _, text, _ = engine.api('POST', f'/images/{name}/push?tag=one', None, header, timeout=60)
        lines = [json.loads(line) for line in text.splitlines()]
        assert lines[0]['status'] == f'The push refers to repository [{name}]'
        assert any(line.get('status') == 'Pushed' for line in lines)
        aux = lines[-1]['aux']
        assert aux['Tag'] == 'one' and aux['Digest'].startswith('sha256:') and aux['Size'] > 0
        assert f'one: digest: {aux["Digest"]} size: {aux["Size"]}' in [line.get('status') for line in lines]
        answer = ask(engine, 'GET', f'/distribution/{name}:one/json', headers=header)
        assert answer['Descriptor']['digest'] == aux['Digest'] and answer['Platforms'][0]['os'] == 'linux'
        assert ask(engine, 'POST', '/auth', json.dumps(login))['Status'] == 'Login Succeeded'
        wrong = {**login, 'password': 'wrong'}
        # 20.10 says 500, later ones 401.
        status, text, _ = engine.api('POST', '/auth', json.dumps(wrong))
        assert status == (500 if engine.kind == 'p' else 401) and 'unauthorized' in json.loads(text)['message'].lower()
        assert 'error' in json.loads(engine.api('POST', f'/images/{name}/push?tag=two', None, header)[1].splitlines()[-1])
        # The base of a build, which the logins of all its registries go with.
        ask(engine, 'DELETE', f'/images/{name}:one')
        for logins, fine in (({}, False), ({registry.name: login}, True)):
            header = {'X-Registry-Config': base64.urlsafe_b64encode(json.dumps(logins).encode()).decode(), 'Content-Type': 'application/x-tar'}
            assert (b'Successfully built' in engine.api('POST', '/build', context(f'FROM {name}:one\n'), header, timeout=60)[1]) == fine
    finally:
        ask(engine, 'DELETE', f'/images/{registry.name}/pushed/image:one')
        registry.destroy()


def context(dockerfile):
    body, item = io.BytesIO(), tarfile.TarInfo('Dockerfile')
    item.size = len(dockerfile)
    with tarfile.open(fileobj=body, mode='w') as tar:
        tar.addfile(item, io.BytesIO(dockerfile.encode()))
    return body.getvalue()


def test_disk_usage(engine):
    usage = ask(engine, 'GET', '/v1.41/system/df')
    image = next(i for i in usage['Images'] if IMAGE in i['RepoTags'])
    assert image['Containers'] == 0 and image['SharedSize'] == 0 and usage['LayersSize'] > 0
    assert usage['Volumes'] is not None and 'BuilderSize' in usage and 'ImageUsage' not in usage
    made = ask(engine, 'POST', '/containers/create', json.dumps({'Image': IMAGE, 'Cmd': ['true']}), status=201)['Id']
    try:
        usage = ask(engine, 'GET', '/v1.41/system/df')
        assert [c['Id'] for c in usage['Containers']] == [made] and usage['Containers'][0]['SizeRootFs'] > 0
        assert next(i for i in usage['Images'] if IMAGE in i['RepoTags'])['Containers'] == 1
    finally:
        engine.api('DELETE', f'/containers/{made}')


def test_disk_usage_of_newer_versions(stack):
    assert set(ask(stack, 'GET', '/v1.43/system/df?type=image')) == {'LayersSize', 'Images'}
    both = ask(stack, 'GET', '/v1.52/system/df')
    assert both['ImageUsage']['TotalCount'] == len(both['Images']) and 'Items' not in both['ImageUsage']
    new = ask(stack, 'GET', '/v1.53/system/df?verbose=1')
    assert set(new) == {'ImageUsage', 'ContainerUsage', 'VolumeUsage', 'BuildCacheUsage'} and new['ImageUsage']['Items']
    assert engine_refuses(stack, '/v1.43/system/df?type=x')


def engine_refuses(engine, path):
    return engine.api('GET', path)[0] == 400


def test_image_list_filters(engine):
    def names(**filters):
        return [tag for i in ask(engine, 'GET', '/v1.41/images/json?filters=' + filtered(**filters)) for tag in i['RepoTags']]
    assert IMAGE in names() and IMAGE in names(reference=['gantry/*']) and IMAGE in names(reference=['*/busy*:latest'])
    assert IMAGE not in names(reference=['busy*']) and IMAGE not in names(dangling=['true']) and IMAGE in names(dangling=['false'])
    assert IMAGE not in names(before=[IMAGE]) and IMAGE not in names(since=[IMAGE]) and IMAGE not in names(label=['nosuch'])


def test_image_list_of_newer_versions(stack):
    new = ask(stack, 'GET', '/v1.51/images/json?manifests=1&shared-size=1')[0]
    assert 'VirtualSize' not in new and new['Descriptor']['digest'].startswith('sha256:') and new['SharedSize'] == 0
    assert new['Manifests'][0]['Kind'] == 'image' and new['Manifests'][0]['ImageData']['Platform']['os'] == 'linux'
    assert ask(stack, 'GET', '/v1.43/images/json')[0]['Containers'] == -1 and new['Containers'] == 0
    now = ask(stack, 'GET', '/v1.44/images/json?filters=' + filtered(until=['10000h']))
    assert all(i['Created'] < 1 << 40 for i in now)


def test_image_prune(engine):
    """Only what no container uses, and by default only what has no name."""
    assert ask(engine, 'POST', '/images/prune') == {'ImagesDeleted': None, 'SpaceReclaimed': 0}
    assert ask(engine, 'POST', '/images/prune?filters=' + filtered(dangling=['false'], label=['nosuch']))['ImagesDeleted'] is None
    made = ask(engine, 'POST', '/containers/create', json.dumps({'Image': IMAGE, 'Cmd': ['true']}), status=201)['Id']
    try:
        assert ask(engine, 'POST', '/images/prune?filters=' + filtered(dangling=['false']))['ImagesDeleted'] is None
    finally:
        engine.api('DELETE', f'/containers/{made}')
    assert ask(engine, 'GET', f'/images/{IMAGE}/json')['RepoTags'] == [IMAGE]


class Index(http.server.BaseHTTPRequestHandler):
    """The version 1 search of a registry."""
    def log_message(self, *_):
        pass

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        found = [{'name': 'one', 'description': 'first', 'star_count': 3, 'is_official': True, 'is_automated': False},
                 {'name': 'two', 'description': 'second', 'star_count': 1, 'is_official': False, 'is_automated': False}]
        body = json.dumps({'num_results': 2, 'query': urllib.parse.parse_qs(url.query).get('q', [''])[0], 'results': found}).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('X-Docker-Registry-Standalone', 'true')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_search_without_a_registry(engine):
    status, text, _ = engine.api('GET', '/images/search?term=localhost:1/x')
    assert status == 500 and 'localhost:1' in json.loads(text)['message']


def in_namespace_of(engine, work):
    """Runs in a thread that has entered the engine's network namespace: what it listens on, the engine reaches."""
    done = threading.Event()
    result = []

    def run():
        import ctypes
        with open(engine.names.netns) as space:
            assert ctypes.CDLL(None, use_errno=True).setns(space.fileno(), 0x40000000) == 0
        result.append(work())
        done.set()
    threading.Thread(target=run, daemon=True).start()
    assert done.wait(10)
    return result[0]


def test_search(engine):
    server = in_namespace_of(engine, lambda: http.server.ThreadingHTTPServer(('127.0.0.1', 0), Index))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        term = f'127.0.0.1:{server.server_port}/word'
        found = ask(engine, 'GET', f'/images/search?term={term}')
        assert [r['name'] for r in found] == ['one', 'two'] and found[0]['star_count'] == 3
        only = ask(engine, 'GET', f'/images/search?term={term}&filters=' + filtered(**{'is-official': ['true']}))
        assert [r['name'] for r in only] == ['one']
        assert ask(engine, 'GET', f'/images/search?term={term}&filters=' + filtered(stars=['4'])) == []
    finally:
        server.shutdown()
        server.server_close()


# What version 1.55 of the API describes, without a swarm's and plugins'.
PARAMETERS = {
    'GET /containers/json': 'all filters limit size',
    'POST /containers/create': 'name platform',
    'GET /containers/{}/json': 'size',
    'GET /containers/{}/top': 'ps_args',
    'GET /containers/{}/logs': 'follow since stderr stdout tail timestamps until',
    'GET /containers/{}/stats': 'one-shot stream',
    'POST /containers/{}/resize': 'h w',
    'POST /containers/{}/start': 'detachKeys',
    'POST /containers/{}/stop': 'signal t',
    'POST /containers/{}/restart': 'signal t',
    'POST /containers/{}/kill': 'signal',
    'POST /containers/{}/rename': 'name',
    'POST /containers/{}/attach': 'detachKeys logs stderr stdin stdout stream',
    'GET /containers/{}/attach/ws': 'detachKeys logs stderr stdin stdout stream',
    'POST /containers/{}/wait': 'condition',
    'DELETE /containers/{}': 'force link v',
    'HEAD /containers/{}/archive': 'path',
    'GET /containers/{}/archive': 'path',
    'PUT /containers/{}/archive': 'copyUIDGID noOverwriteDirNonDir path',
    'POST /containers/prune': 'filters',
    'GET /images/json': 'all digests filters identity manifests shared-size',
    'POST /build': 'buildargs cachefrom cpuperiod cpuquota cpusetcpus cpushares dockerfile extrahosts forcerm labels memory memswap networkmode nocache outputs platform pull q remote rm shmsize squash t target version',
    'POST /build/prune': 'all filters max-used-space min-free-space reserved-space',
    'POST /images/create': 'changes fromImage fromSrc message platform repo tag',
    'GET /images/{}/json': 'manifests platform',
    'GET /images/{}/attestations': 'platform statement type',
    'GET /images/{}/history': 'platform',
    'POST /images/{}/push': 'platform tag',
    'POST /images/{}/tag': 'repo tag',
    'DELETE /images/{}': 'force noprune platforms',
    'GET /images/search': 'filters limit term',
    'POST /images/prune': 'filters',
    'POST /commit': 'author changes comment container pause repo tag',
    'GET /events': 'filters since until',
    'GET /system/df': 'type verbose',
    'GET /images/{}/get': 'platform',
    'GET /images/get': 'names platform',
    'POST /images/load': 'platform quiet',
    'POST /exec/{}/resize': 'h w',
    'GET /volumes': 'filters',
    'PUT /volumes/{}': 'version',
    'DELETE /volumes/{}': 'force',
    'POST /volumes/prune': 'filters',
    'GET /networks': 'filters',
    'GET /networks/{}': 'scope verbose',
    'POST /networks/prune': 'filters',
}
# What has nothing to say here.
UNREAD = {
    'POST /containers/{}/start': {'detachKeys'},  # docker does not read it either
    'GET /images/json': {'all', 'digests'},  # steps of builds are no images; digests are always told
    'POST /build/prune': {'all'},  # without it docker leaves what its builder has for itself; there is none
    'DELETE /images/{}': {'noprune'},  # images have no parents: one goes by itself, whatever this says
    'PUT /volumes/{}': {'version'}, 'GET /networks/{}': {'verbose'},  # a swarm's
}


def test_every_documented_parameter_is_read():
    read = {}
    for path, methods in openapi.description()['paths'].items():
        for method, operation in methods.items():
            read[f"{method.upper()} {re.sub(r'{[^}]*}', '{}', path)}"] = {p['name'] for p in operation['parameters'] if p['in'] == 'query'}
    unread = {route: set(names.split()) - read[route] for route, names in PARAMETERS.items()}
    assert {route: names for route, names in unread.items() if names} == UNREAD


@pytest.mark.parametrize('noprune', ['', '?noprune=1', '?noprune=0'])
def test_an_image_goes_without_those_it_was_made_from(stack, noprune):
    """With docker's containerd store, too, only what its classic builder made has parents."""
    made = ask(stack, 'POST', '/containers/create', {'Image': IMAGE, 'Cmd': ['true']}, status=201)['Id']
    try:
        nameless = ask(stack, 'POST', f'/commit?container={made}', status=201)['Id']
        inner = ask(stack, 'POST', '/containers/create', {'Image': nameless, 'Cmd': ['true']}, status=201)['Id']
        child = ask(stack, 'POST', f'/commit?container={inner}&repo=child', status=201)['Id']
        ask(stack, 'DELETE', f'/containers/{inner}', status=204)
        assert ask(stack, 'DELETE', f'/images/child{noprune}') == [{'Untagged': 'child:latest'}, {'Deleted': child}]
        assert ask(stack, 'DELETE', f'/images/{nameless}') == [{'Deleted': nameless}]
    finally:
        ask(stack, 'DELETE', f'/containers/{made}', status=204)
