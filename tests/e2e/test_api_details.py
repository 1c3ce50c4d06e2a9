# SPDX-License-Identifier: Apache-2.0
"""Details of the API that docker's own integration tests and SDKs ask for.

GANTRY_E2E=any:peer asks the same of Debian's dockerd."""
import bz2
import io
import json
import lzma
import os
import struct
import sys
import tarfile
import urllib.parse
from urllib.parse import quote

import pytest

from harness.engine import ask, until
from harness.places import IMAGE

pytestmark = pytest.mark.usefixtures('no_other_images')


def filtered(**filters):
    return urllib.parse.quote(json.dumps(filters))


@pytest.fixture
def newer(engine):
    if engine.kind != 's':
        pytest.skip('came after dockerd 20.10')
    return engine


@pytest.fixture
def made(engine):
    """Makes containers that are removed after the test; `start`: runs them."""
    given = []

    def make(command, start=True, name='', version='', status=201, **body):
        query = f'?name={name}' if name else ''
        wanted = {'Image': IMAGE, 'Cmd': command, 'HostConfig': {'NetworkMode': 'none'}, **body}
        answer = ask(engine, 'POST', f'{version}/containers/create{query}', wanted, status=status)
        if status == 201:
            given.append(answer['Id'])
            if start:
                ask(engine, 'POST', f"/containers/{answer['Id']}/start", status=204)
            return answer['Id']
        return answer['message']
    yield make
    for container in given:
        engine.api('DELETE', f'/containers/{container}?force=1&v=1')


@pytest.fixture
def tags(engine):
    given = []
    yield given
    for tag in given:
        engine.api('DELETE', f'/images/{tag}?force=1')


def read_all(stream, text):
    with stream:
        while True:
            piece = stream.recv(65536)
            if not piece:
                return text
            text += piece


@pytest.mark.parametrize('made_with', [True, False])
@pytest.mark.parametrize('started_with', [True, False])
def test_the_start_of_an_exec_says_the_form_of_its_stream(engine, made, made_with, started_with):
    container = made(['sleep', '60'])
    body = {'Cmd': ['echo', 'hello'], 'AttachStdout': True, 'AttachStderr': True, 'Tty': made_with}
    ident = ask(engine, 'POST', f'/containers/{container}/exec', body, status=201)['Id']
    stream, head, rest = engine.hijack(f'/exec/{ident}/start', {'Tty': started_with})
    text = read_all(stream, rest)
    line = b'hello\r\n' if made_with else b'hello\n'
    assert text == (line if started_with else struct.pack('>BxxxL', 1, len(line)) + line), (head, text)


def test_a_new_terminal_has_its_size(newer, made):
    container = made(['sleep', '60'])
    body = {'Cmd': ['stty', 'size'], 'AttachStdout': True, 'Tty': True, 'ConsoleSize': [57, 123]}
    for start, size in ({'Tty': True}, b'57 123'), ({'Tty': True, 'ConsoleSize': [20, 30]}, b'20 30'):
        ident = ask(newer, 'POST', f'/containers/{container}/exec', body, status=201)['Id']
        stream, _, rest = newer.hijack(f'/exec/{ident}/start', start)
        assert read_all(stream, rest) == size + b'\r\n'


def test_sizes_and_prune(engine, made):
    container = made(['sh', '-c', 'head -c 300000 /dev/zero >/grown'])
    ask(engine, 'POST', f'/containers/{container}/wait')
    seen = ask(engine, 'GET', f'/containers/{container}/json?size=1')
    assert 300000 <= seen['SizeRw'] < 500000 and seen['SizeRootFs'] >= seen['SizeRw'] + 500000, (seen['SizeRw'], seen['SizeRootFs'])
    listed, = ask(engine, 'GET', f'/containers/json?all=1&size=1&filters={filtered(id=[container])}')
    assert (listed['SizeRw'], listed['SizeRootFs']) == (seen['SizeRw'], seen['SizeRootFs'])
    pruned = ask(engine, 'POST', f"/containers/prune?filters={filtered(until=['1h'])}")
    assert container not in (pruned['ContainersDeleted'] or []) and pruned['SpaceReclaimed'] == 0
    pruned = ask(engine, 'POST', '/containers/prune')
    assert container in pruned['ContainersDeleted'] and pruned['SpaceReclaimed'] >= 300000


def test_maps_are_sorted(engine, made):
    """As Go writes its maps: who compares documents as text sees nothing change."""
    container = made(['sleep', '60'], ExposedPorts={'90/tcp': {}, '80/udp': {}, '8/tcp': {}}, Labels={'z': '1', 'a': '2'}, Volumes={'/z': {}, '/a': {}},
                     HostConfig={'NetworkMode': 'bridge', 'PortBindings': {'90/tcp': [{'HostPort': ''}], '8/tcp': [{'HostPort': ''}]}})
    shown = ask(engine, 'GET', f'/containers/{container}/json')
    for found in (*(shown['Config'][key] for key in ('ExposedPorts', 'Labels', 'Volumes')), shown['HostConfig']['PortBindings'], shown['NetworkSettings']['Ports']):
        assert list(found) == sorted(found) and len(found) > 1, found


def test_links_are_names(engine, made):
    bridge = {'NetworkMode': 'bridge'}
    token = f't{os.getpid()}'
    child = made(['sleep', '60'], name=f'{token}-child', HostConfig=bridge)
    parent = made(['sleep', '60'], name=f'{token}-parent', HostConfig={**bridge, 'Links': [f'{token}-child:alias']})
    link = f'/{token}-parent/alias'
    names = lambda: ask(engine, 'GET', f'/containers/json?filters={filtered(id=[child])}')[0]['Names']
    links = lambda: ask(engine, 'GET', f'/containers/{parent}/json')['HostConfig']['Links']
    assert sorted(names()) == [f'/{token}-child', link]
    assert links() == [f'/{token}-child:{link}']
    ask(engine, 'DELETE', f'/containers{link}?link=1', status=204)
    assert names() == [f'/{token}-child'] and not links()
    assert len(ask(engine, 'GET', f'/containers/json?filters={filtered(id=[child, parent])}')) == 2
    ask(engine, 'DELETE', f'/containers{link}?link=1', status=404)
    for name in ('nosuch', 'nosuch/alias', f'{token}-parent/nosuch'):
        ask(engine, 'DELETE', f'/containers/{name}?link=1', status=404)
    # 500 in 20.10, a conflict later.
    assert engine.api('DELETE', f'/containers/{token}-child?link=1')[0] in (409, 500)


def test_disk_usage_knows_volumes(engine, made):
    container = made(['sh', '-c', 'head -c 100000 /dev/zero >/v/f'], Volumes={'/v': {}})
    ask(engine, 'POST', f'/containers/{container}/wait')
    mount, = ask(engine, 'GET', f'/containers/{container}/json')['Mounts']
    volume, = [v for v in ask(engine, 'GET', '/v1.41/system/df')['Volumes'] if v['Name'] == mount['Name']]
    assert volume['UsageData']['RefCount'] == 1 and volume['UsageData']['Size'] >= 100000


def test_tmpfs_hides_anonymous_volumes(engine, made):
    host = {'NetworkMode': 'none', 'Tmpfs': {'/v': ''}}
    container = made(['sh', '-c', 'grep " /v " /proc/mounts'], Volumes={'/v': {}, '/w': {}}, HostConfig=host)
    assert ask(engine, 'POST', f'/containers/{container}/wait')['StatusCode'] == 0
    assert [m['Destination'] for m in ask(engine, 'GET', f'/containers/{container}/json')['Mounts']] == ['/w']
    for target, words in (('/', "destination can't be '/'"), ('//', "destination can't be '/'"), ('here', 'mount path must be absolute')):
        assert words in made(['true'], status=400, HostConfig={'Tmpfs': {target: ''}})


@pytest.mark.parametrize('limit', [0, -1])
def test_a_limit_of_processes_can_be_taken_away(engine, made, limit):
    container = made(['sleep', '60'], HostConfig={'NetworkMode': 'none', 'PidsLimit': 30})
    ask(engine, 'POST', f'/containers/{container}/update', {'PidsLimit': limit})
    assert ask(engine, 'GET', f'/containers/{container}/json')['HostConfig']['PidsLimit'] in (0, limit)
    body = {'Cmd': ['sh', '-c', 'cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null'], 'AttachStdout': True, 'Tty': True}
    ident = ask(engine, 'POST', f'/containers/{container}/exec', body, status=201)['Id']
    stream, _, rest = engine.hijack(f'/exec/{ident}/start', {'Tty': True})
    assert b'max' in read_all(stream, rest)


def test_privileged_ones_mask_nothing(engine, made):
    host = ask(engine, 'GET', f"/containers/{made(['true'], False, HostConfig={'Privileged': True})}/json")['HostConfig']
    assert host['MaskedPaths'] is None and host['ReadonlyPaths'] is None


def test_bad_detach_keys(engine, made):
    container = made(['sleep', '60'], Tty=True)
    stream, head, rest = engine.hijack(f'/containers/{container}/attach?stream=1&stdout=1&detachKeys=ctrl-A,a')
    with stream:
        while b'provided' not in rest:
            piece = stream.recv(65536)
            assert piece, (head, rest)
            rest += piece
    assert ' 400 ' in head.splitlines()[0] and b'Invalid detach keys (ctrl-A,a) provided' in rest


def archive_of(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w') as tar:
        for name, data in members.items():
            item = tarfile.TarInfo(name)
            item.size = len(data)
            tar.addfile(item, io.BytesIO(data))
    return out.getvalue()


TAR = {'Content-Type': 'application/x-tar'}


@pytest.mark.parametrize('pack', [bz2.compress, lzma.compress], ids=['bzip2', 'xz'])
def test_foreign_compression(engine, made, tags, pack):
    container = made(['true'], start=False)
    ask(engine, 'PUT', f'/containers/{container}/archive?path=/tmp', pack(archive_of({'came': b'by cp'})), TAR)
    status, text, _ = engine.api('GET', f'/containers/{container}/archive?path=/tmp/came')
    assert status == 200 and tarfile.open(fileobj=io.BytesIO(text)).extractfile('came').read() == b'by cp'
    tags.append(f't{os.getpid()}-imported:1')
    status, text, _ = engine.api('POST', f'/images/create?fromSrc=-&repo={tags[0][:-2]}&tag=1', pack(archive_of({'f': b'x'})), TAR)
    assert status == 200 and b'sha256:' in text
    status, saved, _ = engine.api('GET', f'/images/{tags[0]}/get')
    ask(engine, 'DELETE', f'/images/{tags[0]}')
    status, text, _ = engine.api('POST', '/images/load?quiet=1', pack(saved), TAR)
    assert status == 200 and f'Loaded image: {tags[0]}'.encode() in text


@pytest.fixture
def web(engine, tmp_path):
    """A web server with the files of a folder, where the engine reaches it: (address, folder)."""
    address = '127.0.0.1:8099'
    server = engine.spawn([sys.executable, '-m', 'http.server', '8099', '--bind', '127.0.0.1', '--directory', str(tmp_path)])
    try:
        until(lambda: engine.inside('/bin/busybox', 'wget', '-q', '-O', '/dev/null', f'http://{address}/', check=False).returncode == 0)
        yield address, tmp_path
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize('scheme', ['http://', ''])
def test_import_from_the_web(engine, web, tags, scheme):
    address, folder = web
    (folder / 'root.tar').write_bytes(archive_of({'hello': b'from the web'}))
    source = urllib.parse.quote(f'{scheme}{address}/root.tar', safe='')
    tags.append(f't{os.getpid()}-web:1')
    status, text, _ = engine.api('POST', f'/images/create?fromSrc={source}&repo={tags[0][:-2]}&tag=1')
    assert status == 200
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[0]['status'] == f'Downloading from http://{address}/root.tar' and lines[-1]['status'].startswith('sha256:')
    seen = ask(engine, 'GET', f'/images/{tags[0]}/json')
    assert seen['Id'] == lines[-1]['status'] and f'{address}/root.tar' in seen['Comment']


def test_import_of_what_is_not_there(engine, web):
    address, _ = web
    before = ask(engine, 'GET', '/images/json')
    for source in (f'http://{address}/none.tar', f'{address}/none.tar'):
        answer = ask(engine, 'POST', f'/images/create?fromSrc={urllib.parse.quote(source, safe="")}&repo=none', status=404)
        assert f'failed to GET http://{address}/none.tar with status 404' in answer['message']
    assert ask(engine, 'GET', '/images/json') == before


def test_names_that_are_taken_leave_nameless_images(engine, tags):
    name = f't{os.getpid()}-taken:1'
    tags.append(name)
    ids = []
    for text in (b'first', b'second'):
        status, out, _ = engine.api('POST', f'/images/create?fromSrc=-&repo={name[:-2]}&tag=1', archive_of({'f': text}), TAR)
        ids.append(json.loads(out.splitlines()[-1])['status'])
    tags.append(ids[0])
    listed = {i['Id']: i for i in ask(engine, 'GET', '/images/json')}
    assert listed[ids[1]]['RepoTags'] == [name]
    assert listed[ids[0]]['RepoTags'] in ([], ['<none>:<none>']) and listed[ids[0]]['RepoDigests'] in ([], None, ['<none>@<none>'])
    removed = ask(engine, 'DELETE', f'/images/{ids[0]}')
    assert {'Deleted': ids[0]} in removed and not any('dangling' in str(entry) for entry in removed)
    ask(engine, 'GET', f'/images/{ids[0]}/json', status=404)


def test_errors_of_a_load_are_in_its_stream(engine):
    for body in (b'no archive at all', archive_of({'f': b'x'})):
        status, text, _ = engine.api('POST', '/images/load', body, TAR)
        line = json.loads(text.splitlines()[-1])
        assert status == 200 and line['error'] and line['errorDetail']['message'] == line['error'], (status, text)


def test_log_format(newer, made):
    """Under trial in docker: any that is not known is refused, in the versions that have it."""
    container = made(['true'])
    status, text, _ = newer.api('GET', f'/v1.54/containers/{container}/logs?stdout=1&format=nosuch')
    assert (status, json.loads(text)['message']) == (400, 'unsupported log format')
    assert newer.api('GET', f'/v1.53/containers/{container}/logs?stdout=1&format=nosuch')[0] == 200


def test_load_takes_names_and_keeps_the_nameless(engine, tags):
    name = f't{os.getpid()}-loaded:1'
    saved, ids = {}, []
    for text in (b'first', b'second'):
        _, out, _ = engine.api('POST', f'/images/create?fromSrc=-&repo={name[:-2]}&tag=1', archive_of({'f': text}), TAR)
        ids.append(json.loads(out.splitlines()[-1])['status'])
        saved[text] = engine.api('GET', f'/images/{name}/get')[1]
    tags.extend([name, *ids])
    ask(engine, 'DELETE', f'/images/{ids[0]}?force=1')
    assert engine.api('POST', '/images/load', saved[b'first'], TAR)[0] == 200
    assert ask(engine, 'GET', f'/images/{name}/json')['Id'] == ids[0]
    assert not ask(engine, 'GET', f'/images/{ids[1]}/json')['RepoTags']
    nameless = engine.api('GET', f'/images/{ids[1]}/get')[1]
    ask(engine, 'DELETE', f'/images/{ids[1]}')
    status, text, _ = engine.api('POST', '/images/load?quiet=1', nameless, TAR)
    assert status == 200 and f'Loaded image ID: {ids[1]}'.encode() in text, text
    assert not ask(engine, 'GET', f'/images/{ids[1]}/json')['RepoTags']


def test_a_repository_is_all_of_its_tags(engine, tags):
    repository = f't{os.getpid()}-all'
    for tag in ('one', 'two'):
        tags.append(f'{repository}:{tag}')
        ask(engine, 'POST', f'/images/{IMAGE}/tag?repo={repository}&tag={tag}', status=201)
    saved = engine.api('GET', f'/images/get?names={repository}')[1]
    manifest = json.load(tarfile.open(fileobj=io.BytesIO(saved)).extractfile('manifest.json'))
    assert sorted(tag for entry in manifest for tag in entry['RepoTags']) == [f'{repository}:one', f'{repository}:two']


def test_filters_by_reference(engine, tags):
    token = f't{os.getpid()}ref'
    for name in (f'{token}:tag1', f'{token}/docker:tag2', f'{token}:5000/docker:tag3'):
        tags.append(name)
        repository, _, tag = name.rpartition(':')
        ask(engine, 'POST', f"/images/{IMAGE}/tag?repo={urllib.parse.quote(repository, safe='')}&tag={tag}", status=201)
    for pattern, wanted in ((f'{token}*/*', 2), (f'{token}*', 1), (token, 1), (f'{token}:*', 1)):
        found, = ask(engine, 'GET', f'/images/json?filters={filtered(reference=[pattern])}')
        assert len(found['RepoTags']) == wanted, (pattern, found)


def test_names_of_the_whole(newer, tags):
    token = f't{os.getpid()}whole'
    tags.append(f'{token}:1')
    ask(newer, 'POST', f'/images/{IMAGE}/tag?repo={token}&tag=1', status=201)
    for pattern in (f'docker.io/library/{token}', f'docker.io/library/{token}:*'):
        found, = ask(newer, 'GET', f'/images/json?filters={filtered(reference=[pattern])}')
        assert found['RepoTags'] == [f'{token}:1']
    digest, = [d for d in ask(newer, 'GET', f'/images/{token}:1/json')['RepoDigests'] if d.startswith(token)]
    assert ask(newer, 'GET', f'/images/{digest}/json')['Id'] == ask(newer, 'GET', f'/images/{token}:1/json')['Id']
    ask(newer, 'DELETE', f'/images/{digest}')
    ask(newer, 'GET', f'/images/{token}:1/json', status=404)
    ask(newer, 'GET', f'/images/{IMAGE}/json')
    assert 'refusing to create an ambiguous tag' in ask(newer, 'POST', f'/images/{IMAGE}/tag?repo=sha256&tag=x', status=400)['message']


def test_hostnames_on_users_networks(engine, made):
    network = ask(engine, 'POST', '/networks/create', {'Name': f't{os.getpid()}-net'}, status=201)['Id']
    try:
        container = made(['sh', '-c', 'echo 127.0.0.1 localhost >/etc/hosts; ping -c 1 -w 10 somehost'], Hostname='somehost',
                         HostConfig={'NetworkMode': network})
        assert ask(engine, 'POST', f'/containers/{container}/wait')['StatusCode'] == 0
        engine.api('DELETE', f'/containers/{container}?force=1')
    finally:
        ask(engine, 'DELETE', f'/networks/{network}', status=204)


@pytest.mark.parametrize('version, body, words', [
    ('v1.43', {'NetworkingConfig': {'EndpointsConfig': {'a': {}, 'b': {}}}}, 'Container cannot be created with multiple network endpoints: a, b'),
    ('v1.44', {'HostConfig': {'Mounts': [{'Type': 'volume', 'Source': 'v', 'Target': '/v', 'VolumeOptions': {'Subpath': 's'}}]}},
     'VolumeOptions.Subpath needs API v1.45 or newer'),
    ('v1.47', {'HostConfig': {'Mounts': [{'Type': 'image', 'Source': IMAGE, 'Target': '/v'}]}}, 'Mount type "Image" needs API v1.48 or newer'),
    ('v1.43', {'HostConfig': {'Mounts': [{'Type': 'bind', 'Source': '/', 'Target': '/v', 'ReadOnly': True,
                                          'BindOptions': {'ReadOnlyForceRecursive': True}}]}},
     'BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer'),
    ('v1.42', {'HostConfig': {'Mounts': [{'Type': 'tmpfs', 'Target': '/v', 'BindOptions': {}}]}},
     'BindOptions must not be specified on mount type "tmpfs"'),
    ('v1.43', {'MacAddress': '02:42:ac:11:00:09', 'HostConfig': {'NetworkMode': 'none'}}, 'conflicting options: mac-address and the network mode'),
])
def test_what_came_later(newer, made, version, body, words):
    assert words in made(['true'], status=400, version=f'/{version}', **body)


def test_addresses_of_older_versions(newer, made):
    mac = '02:42:ac:11:00:09'
    container = made(['true'], False, version='/v1.43', MacAddress=mac, HostConfig={'NetworkMode': 'bridge'})
    seen = ask(newer, 'GET', f'/v1.43/containers/{container}/json')
    assert seen['Config']['MacAddress'] == mac and 'GraphDriver' in seen and 'Storage' not in seen
    seen = ask(newer, 'GET', f'/containers/{container}/json')
    assert 'MacAddress' not in seen['Config'] and 'GraphDriver' not in seen and seen['Storage']['RootFS']['Snapshot']['Name']
    answer = ask(newer, 'POST', '/v1.44/containers/create', {'Image': IMAGE, 'MacAddress': mac,
                 'NetworkingConfig': {'EndpointsConfig': {'bridge': {'MacAddress': '02:42:ac:11:00:08'}}}}, status=400)
    assert 'must match the endpoint-specific MAC address' in answer['message']


def test_health_and_annotations_in_lists(newer, made):
    container = made(['sleep', '60'], HostConfig={'NetworkMode': 'none', 'Annotations': {'a': 'b'}})
    where = f'containers/json?filters={filtered(id=[container])}'
    listed, = ask(newer, 'GET', f'/v1.52/{where}')
    assert listed['Health'] == {'Status': 'none', 'FailingStreak': 0} and listed['HostConfig']['Annotations'] == {'a': 'b'}
    listed, = ask(newer, 'GET', f'/v1.45/{where}')
    assert 'Health' not in listed and 'Annotations' not in listed['HostConfig']


def test_ports_without_bindings(newer, made):
    body = {'Image': IMAGE, 'HostConfig': {'PortBindings': {'80/tcp': []}}}
    answer = ask(newer, 'POST', '/containers/create', body, status=201)
    assert 'have an empty list of port-bindings: 80/tcp' in answer['Warnings'][0]
    assert ask(newer, 'GET', f"/containers/{answer['Id']}/json")['HostConfig']['PortBindings'] == {'80/tcp': [{'HostIp': '', 'HostPort': ''}]}
    ask(newer, 'DELETE', f"/containers/{answer['Id']}", status=204)


@pytest.mark.parametrize('text, words', [
    ('{invalid', "invalid JSON: invalid character 'i' looking for beginning of object key string"),
    ('{} trailing', 'unexpected content after JSON'), ('{"a":', 'invalid JSON: unexpected EOF'), ('{"a" 1}', "invalid character '1' after object key")])
def test_wrong_json(newer, text, words):
    for path in ('/containers/create', '/networks/create', '/volumes/create', '/commit'):
        assert words in ask(newer, 'POST', path, text, status=400)['message']


@pytest.mark.parametrize('size, why', [('h=&w=1', '"": invalid syntax'), ('w=1', '"": invalid syntax'), ('h=-100&w=1', '"-100": value out of range'),
                                       ('h=x&w=1', '"x": invalid syntax'), ('h=99999999999&w=1', 'value out of range')])
def test_wrong_sizes(newer, made, size, why):
    container = made(['sleep', '60'], Tty=True)
    assert f'invalid resize height {why}' in ask(newer, 'POST', f'/containers/{container}/resize?{size}', status=400)['message'] \
        or why in ask(newer, 'POST', f'/containers/{container}/resize?{size}', status=400)['message']


def test_refusals_of_newer_versions(newer):
    assert 'only valid for cluster volumes' in ask(newer, 'PUT', '/volumes/x?version=1', {}, status=503)['message']
    assert 'identity requires manifests=1' in ask(newer, 'GET', '/images/json?identity=1', status=400)['message']
    answer = ask(newer, 'POST', '/images/create?fromImage=x&platform=foobar', status=400)
    assert 'unknown operating system or architecture' in answer['message']
    assert 'invalid JSON: EOF' in ask(newer, 'POST', '/containers/create', status=400)['message']
    assert ask(newer, 'GET', '/info')['Plugins']['Log'] == ['fluentd', 'gelf', 'journald', 'json-file', 'local', 'syslog']


def test_names_of_members_in_any_case(newer, made):
    """As Go's decoder reads them, in every body."""
    network = ask(newer, 'POST', '/networks/create', {'name': 'anycase', 'ipam': {'config': [{'subnet': '10.99.1.0/24'}]}, 'labels': {'A': 'b'}}, status=201)
    try:
        seen = ask(newer, 'GET', f"/networks/{network['Id']}")
        assert seen['IPAM']['Config'][0]['Subnet'] == '10.99.1.0/24' and seen['Labels'] == {'A': 'b'}
        container = made(['true'], False, HostConfig={'NetworkMode': 'bridge'})
        ask(newer, 'POST', f"/networks/{network['Id']}/connect", {'container': container, 'endpointconfig': {'macaddress': '02:42:ac:11:00:02'}})
        entry = ask(newer, 'GET', f'/containers/{container}/json')['NetworkSettings']['Networks']['anycase']
        # What it asks for, until it has run.
        assert entry['MacAddress'] == '02:42:ac:11:00:02'
        ask(newer, 'POST', f"/networks/{network['Id']}/disconnect", {'container': container, 'force': True})
    finally:
        ask(newer, 'DELETE', f"/networks/{network['Id']}", status=204)
    volume = ask(newer, 'POST', '/volumes/create', {'name': 'anycase', 'labels': {'A': 'b'}}, status=201)
    assert (volume['Name'], volume['Labels']) == ('anycase', {'A': 'b'})
    ask(newer, 'DELETE', '/volumes/anycase', status=204)


def test_user_of_an_exec_is_looked_up_at_once(newer, made):
    container = made(['sleep', '300'])
    for user, why in (('nosuch', 'unable to find user nosuch: no matching entries in passwd file'), ('0:nosuch', 'unable to find group nosuch: no matching entries in group file')):
        answer = ask(newer, 'POST', f'/containers/{container}/exec', {'Cmd': ['id'], 'User': user}, status=400)
        assert answer['message'] == why
    ask(newer, 'POST', f'/containers/{container}/exec', {'Cmd': ['id'], 'User': '1234:5678'}, status=201)


def test_namespaces_of_a_container_that_is_not_there(newer, made):
    """Of another's processes and memory already when it is made; of one that does not run, when it is started."""
    for mode in ('PidMode', 'IpcMode'):
        answer = made(['true'], status=400, HostConfig={mode: 'container:nosuch'})
        assert 'No such container: nosuch' in answer
    stopped = made(['true'], False)
    for mode, kind in (('PidMode', 'PID'), ('IpcMode', 'IPC')):
        container = made(['true'], False, HostConfig={mode: f'container:{stopped}', 'NetworkMode': 'none'})
        answer = ask(newer, 'POST', f'/containers/{container}/start', status=500)
        assert f'failed to join {kind} namespace: container {stopped} is not running' in answer['message']
    container = made(['true'], False, HostConfig={'NetworkMode': f'container:{stopped}'})
    answer = ask(newer, 'POST', f'/containers/{container}/start', status=409)
    assert 'cannot join network namespace of a non running container: container' in answer['message']


def test_image_that_a_mount_needs(newer, made):
    source = made(['true'], False)
    ident = ask(newer, 'POST', f'/commit?container={source}&repo=mounted&tag=one&comment=x', status=201)['Id']
    seen = ask(newer, 'GET', '/images/mounted:one/json?platform=' + quote('{"os":"linux","architecture":"amd64"}'))
    assert seen['Descriptor']['platform'] == {'os': 'linux', 'architecture': 'amd64'}
    container = made(['sleep', '300'], HostConfig={'NetworkMode': 'none', 'Mounts': [{'Type': 'image', 'Source': 'mounted:one', 'Target': '/i'}]})
    answer = ask(newer, 'DELETE', '/images/mounted:one', status=409)
    assert f'container {container[:12]} is using its referenced image {ident[7:19]}' in answer['message']
    assert not ask(newer, 'POST', '/images/prune?filters=' + quote('{"dangling":["false"]}'))['ImagesDeleted']
    ask(newer, 'DELETE', '/images/mounted:one?force=1')


@pytest.mark.parametrize('filters, fits', [
    ({'publish': ['18491']}, True), ({'publish': ['80']}, False), ({'publish': ['18480-18499/tcp']}, True), ({'publish': ['18491/udp']}, False),
    ({'expose': ['80']}, True), ({'expose': ['18491']}, False), ({'expose': ['79-81']}, True), ({'expose': ['81/udp']}, True),
    ({'expose': ['80'], 'publish': ['1']}, True), ({'expose': ['1'], 'publish': ['1']}, False),
])
def test_filters_by_ports(engine, made, filters, fits):
    """Of the host where it is published, of the container where it is exposed; only of one that runs."""
    ports = {'ExposedPorts': {'80/tcp': {}, '81/udp': {}}, 'HostConfig': {'PortBindings': {'80/tcp': [{'HostIp': '127.0.0.1', 'HostPort': '18491'}]}}}
    one = made(['sleep', '100'], **ports)
    made(['sleep', '100'], start=False, **ports)
    found = [c['Id'] for c in ask(engine, 'GET', '/containers/json?all=1&filters=' + filtered(**filters))]
    assert found == ([one] if fits else [])


@pytest.mark.parametrize('filters, words', [({'publish': ['x']}, 'error while looking up for publish x'), ({'expose': ['9-8']}, 'error while looking up for expose 9-8'),
                                            ({'publish': ['1.2.3.4:80']}, "filter for 'publish' should not contain ':': 1.2.3.4:80"),
                                            ({'is-task': ['x']}, 'is-task')])
def test_filters_that_are_none(engine, filters, words):
    status, text, _ = engine.api('GET', '/containers/json?all=1&filters=' + filtered(**filters))
    assert status in ((400, 500) if engine.kind == 'p' else (400,)) and words in json.loads(text)['message'], text


@pytest.mark.parametrize('network', ['none', 'host', 'bridge'])
def test_addresses_are_for_networks_of_users(engine, made, network):
    container = made(['sleep', '100'], start=False, HostConfig={'NetworkMode': network},
                     NetworkingConfig={'EndpointsConfig': {network: {'IPAMConfig': {'IPv4Address': '10.9.8.7'}}}})
    status, text, _ = engine.api('POST', f'/containers/{container}/start')
    assert status in (400, 500) and 'user specified IP address is supported on user defined networks only' in json.loads(text)['message']
    assert ask(engine, 'GET', f'/containers/{container}/json')['State']['Status'] == 'created'


def test_stopping_one_that_does_not_run_asks_no_more(newer, made):
    container = made(['sleep', '100'], start=False)
    assert newer.api('POST', f'/v1.43/containers/{container}/stop?signal=nosuch')[0] == 304
    ask(newer, 'POST', f'/containers/{container}/start', status=204)
    ask(newer, 'POST', f'/v1.43/containers/{container}/stop?signal=nosuch', status=400)
    assert ask(newer, 'GET', f'/containers/{container}/json')['State']['Running']


def test_statuses_of_what_hinders(engine, made):
    """Kinds of errors that docker's SDKs tell apart."""
    sleeper = made(['sleep', '1000'])
    assert 'is not paused' in ask(engine, 'POST', f'/containers/{sleeper}/unpause', status=500)['message']
    network = ask(engine, 'POST', '/networks/create', {'Name': f't{os.getpid()}-taken'}, status=201)['Id']
    try:
        published = {'NetworkMode': network, 'PortBindings': {'80/tcp': [{'HostIp': '127.0.0.1', 'HostPort': '18677'}]}}
        first = made(['sleep', '1000'], ExposedPorts={'80/tcp': {}}, HostConfig=published)
        second = made(['true'], start=False, ExposedPorts={'80/tcp': {}}, HostConfig=published)
        assert 'port is already allocated' in ask(engine, 'POST', f'/containers/{second}/start', status=500)['message']
        for container in first, second:
            ask(engine, 'DELETE', f'/containers/{container}?force=1', status=204)
    finally:
        ask(engine, 'DELETE', f'/networks/{network}', status=204)


def test_sets_are_told_in_order(engine, made):
    container = made(['true'], start=False, Volumes={'/z': {}, '/a': {}}, ExposedPorts={'90/tcp': {}, '10/tcp': {}})
    config = ask(engine, 'GET', f'/containers/{container}/json')['Config']
    assert list(config['Volumes']) == ['/a', '/z'] and list(config['ExposedPorts']) == ['10/tcp', '90/tcp']


def test_parent_of_a_committed_image(engine, made, tags):
    container = made(['true'], start=False)
    tags.append(f'parent{os.getpid()}:one')
    ask(engine, 'POST', f'/commit?container={container}&repo=parent{os.getpid()}&tag=one', {}, status=201)
    parent = ask(engine, 'GET', f'/images/{tags[0]}/json')['Parent']
    assert parent == ask(engine, 'GET', f'/containers/{container}/json')['Image']
    assert ask(engine, 'GET', f'/v1.41/images/{IMAGE}/json')['Parent'] == ''


def test_files_of_one_that_ends_just_now(engine, made):
    for _ in range(20):
        container = made(['sh', '-c', 'touch /made; echo x >/other'])
        while True:
            status, body, _ = engine.api('GET', f'/containers/{container}/archive?path=/made')
            if status == 200:
                break
            assert status == 404 and b'Could not find the file' in body, body


def test_version_names_a_language(engine):
    assert ask(engine, 'GET', '/version')['GoVersion']
