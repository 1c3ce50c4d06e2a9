# SPDX-License-Identifier: Apache-2.0
"""What scripts of docker's users lean on without thinking of it: the image that `ps` shows, ancestors, links, hosts files, an exec's
end, content types. Proven on Debian's dockerd 20.10; where a newer docker does otherwise the test says so."""
import json
import subprocess
import time

import pytest

from harness.engine import UnixConnection, until
from harness.places import IMAGE


@pytest.fixture
def engine(client):
    return client.engine


@pytest.fixture(autouse=True)
def nothing_stays(client, names):
    """Images and volumes that a test made go with it: others count them, and names come again."""
    def there():
        images = json.loads(client.engine.api('GET', '/images/json?all=1')[1])
        volumes = json.loads(client.engine.api('GET', '/volumes')[1])['Volumes'] or []
        return {t for i in images for t in i['RepoTags'] or [i['Id']]}, {v['Name'] for v in volumes}
    images, volumes = there()
    yield
    left = client.ok('ps', '-aq').split()
    if left:
        client.ok('rm', '-f', *left)
    new_images, new_volumes = there()
    for verb, made in ((('rmi', '-f'), new_images - images), (('volume', 'rm'), new_volumes - volumes)):
        for one in made:
            client(*verb, one)


def test_the_image_that_the_list_shows(client, names):
    """Its name while that stands for it; then its id, and the name again when that comes back."""
    name, other = names(), names()
    tag = f'{name}:1'
    client.ok('create', '--name', other, IMAGE, 'true')
    client.ok('tag', IMAGE, tag)
    client.ok('create', '--name', name, tag, 'true')

    def shown():
        return client.ok('ps', '-a', '--no-trunc', '--format', '{{.Image}}', '--filter', f'name={name}')
    assert shown() == tag
    client.ok('commit', other, tag)
    assert shown() == client.inspect(name, '{{.Image}}')
    client.ok('tag', IMAGE, tag)
    assert shown() == tag and client.inspect(name, '{{.Config.Image}}') == tag
    client.ok('rmi', tag)
    assert shown() == client.inspect(name, '{{.Image}}')


def test_a_tag_leaves_the_image_that_had_the_name(client, names):
    name = names()
    client.ok('create', '--name', name, IMAGE, 'true')
    image = client.ok('commit', name, f'{name}:1')
    client.ok('tag', IMAGE, f'{name}:1')
    assert image in client.ok('images', '-q', '--no-trunc', '-f', 'dangling=true').split()
    client.ok('rmi', image, f'{name}:1')


def test_images_by_id_of_one_repository(client, names, engine):
    """Several tags of one repository are no conflict, as docker 25 and newer have it; several repositories are."""
    name = names()
    client.ok('create', '--name', name, IMAGE, 'true')
    image = client.ok('commit', name, f'{name}:1')
    client.ok('tag', image, f'{name}x:1')
    assert 'referenced in multiple repositories' in client('rmi', image).err
    client.ok('rmi', f'{name}x:1')
    client.ok('tag', image, f'{name}:2')
    done = client('rmi', image)
    if engine.kind == 'p':
        client.ok('rmi', '-f', image)
    else:
        assert done.code == 0, done.err


def test_ancestors(client, names):
    """An image's containers are also those of what was built from it."""
    base, child, cousin = (f'{names()}:1' for _ in range(3))
    client.ok('build', '-t', base, '-', stdin=f'FROM {IMAGE}\nLABEL a=1\n', environment={'DOCKER_BUILDKIT': '0'})
    client.ok('build', '-t', child, '-', stdin=f'FROM {base}\nRUN echo x > /x\n', environment={'DOCKER_BUILDKIT': '0'})
    client.ok('build', '-t', cousin, '-', stdin=f'FROM {IMAGE}\nLABEL a=2\n', environment={'DOCKER_BUILDKIT': '0'})
    made = {}
    for image in (IMAGE, base, child, cousin):
        made[image] = names()
        client.ok('create', '--name', made[image], image, 'true')

    def found(*ancestors):
        filters = [word for one in ancestors for word in ('--filter', f'ancestor={one}')]
        seen = client.ok('ps', '-a', '--format', '{{.Names}}', *filters).split()
        return {image for image, name in made.items() if name in seen}
    assert found(base) == {base, child} and found(child) == {child}
    assert found(IMAGE) == {IMAGE, base, child, cousin}
    assert found(cousin, child) == {cousin, child} and found('nosuch') == set()
    assert found(client.inspect(base, '{{.Id}}')) == {base, child}
    client.ok('rm', *made.values())
    client.ok('rmi', child, base, cousin)


def test_volumes_of_the_list(client, names, tmp_path):
    volume, named, nameless, bound = names(), names(), names(), names()
    client.ok('create', '--name', named, '-v', f'{volume}:/data', IMAGE, 'true')
    client.ok('create', '--name', nameless, '-v', '/data', IMAGE, 'true')
    client.ok('create', '--name', bound, '-v', f'{tmp_path}:/data-x', IMAGE, 'true')

    def found(what):
        seen = client.ok('ps', '-a', '--format', '{{.Names}}', '--filter', f'volume={what}').split()
        return [name for name in (named, nameless, bound) if name in seen]
    assert found(volume) == [named] and found('/data') == [named, nameless]
    assert found(tmp_path) == found('/data-x') == [bound] and found('/dat') == found('nosuch') == []
    client.ok('rm', '-v', named, nameless, bound)
    client.ok('volume', 'rm', volume)


def test_who_will_restart_never_looks_ended(client, names):
    name = names()
    client.ok('run', '-d', '--name', name, '--restart', 'on-failure:4', IMAGE, 'false')
    seen = set()

    def look():
        state = json.loads(client.engine.api('GET', f'/containers/{name}/json')[1])
        seen.add((state['RestartCount'], state['State']['Status'], state['State']['Running'], state['State']['Restarting']))
        return (4, 'exited', False, False) in seen
    until(look, 30)
    assert [one for one in seen if not one[2]] == [(4, 'exited', False, False)], seen
    assert {one[1] for one in seen} <= {'running', 'restarting', 'exited'}


def test_execs_end_with_their_run(client, names, engine):
    name = names()
    client.ok('run', '-d', '--name', name, IMAGE, 'sleep', '1000')

    def made(*command):
        body = json.dumps({'Cmd': list(command), 'AttachStdout': True})
        return json.loads(engine.api('POST', f'/containers/{name}/exec', body)[1])['Id']

    def start(exec_id):
        return engine.api('POST', f'/exec/{exec_id}/start', json.dumps({'Detach': True}))[0]
    old = made('true')
    client.ok('restart', '-t', '0', name)
    assert start(old) == 404
    old = made('true')
    client.ok('stop', '-t', '0', name)
    assert start(old) == 404
    client.ok('start', name)
    assert start(made('nosuchprogram')) == 400
    done = made('true')
    assert start(done) == 200
    client.ok('pause', name)
    answer = engine.api('POST', f'/containers/{name}/exec', json.dumps({'Cmd': ['true']}))
    assert answer[0] == 409 and f'Container {name} is paused, unpause the container before exec' in answer[1].decode()
    client.ok('rm', '-f', name)
    assert engine.api('GET', f'/exec/{done}/json')[0] == 404


def test_an_upgrade_needs_no_connection_header(client, names, engine):
    name = names()
    client.ok('run', '-dit', '--name', name, IMAGE, 'cat')
    stream, head, _ = engine.hijack(f'/containers/{name}/attach?stream=1&stdin=1&stdout=1', upgrade='', headers='Upgrade: tcp\r\n')
    assert head.startswith('HTTP/1.1 101')
    stream.close()


@pytest.mark.parametrize('kind, status', [('application/json', 201), ('application/json; charset=utf-8', 201), ('Application/JSON', 201),
                                          ('application/xml', 400), ('text/plain', 400), ('', 400), (None, 400)])
def test_json_says_that_it_is(client, names, engine, kind, status):
    """20.10 takes a body without a type too."""
    connection = UnixConnection(engine.socket, timeout=20)
    headers = {} if kind is None else {'Content-Type': kind}
    connection.request('POST', f'/containers/create?name={names()}', json.dumps({'Image': IMAGE}), headers)
    found = connection.getresponse().status
    assert found == status or (engine.kind == 'p' and not kind and found == 201)


def test_lists_that_are_never_null(client, names, engine):
    name = names()
    client.ok('create', '--name', name, IMAGE, 'true')
    host = json.loads(engine.api('GET', f'/containers/{name}/json')[1])['HostConfig']
    assert host['Dns'] == host['DnsOptions'] == host['DnsSearch'] == []


def test_very_many_ports(client, names, engine):
    """A range of all ports is a body of 65,535 members, and costs no more than seconds."""
    begin = time.monotonic()
    name = names()
    client.ok('create', '--name', name, '-p', '1-65535:1-65535', IMAGE, 'true', timeout=100)
    assert len(json.loads(engine.api('GET', f'/containers/{name}/json')[1])['HostConfig']['PortBindings']) == 65535
    assert engine.kind == 'p' or time.monotonic() - begin < 20
    client.ok('rm', name)


@pytest.mark.parametrize('options, words', [
    (['--entrypoint='], 'no command specified'), (['-u', '-1'], 'uids and gids must be in range 0-2147483647'),
    (['-v', '/tmp:/b:nocopy'], 'field VolumeOptions must not be specified'), (['-v', 'foo:/test:shared'], 'field BindOptions must not be specified'),
    (['-v', '/proc//sys'], 'inside /proc'), (['--network', 'container:{name}'], 'cannot join own network')])
def test_what_is_refused(client, names, options, words):
    name = names()
    done = client('run', '--name', name, *(option.format(name=name) for option in options), IMAGE, *([] if 'entrypoint' in options[0] else ['true']))
    assert done.code != 0 and words.lower() in done.err.lower(), done.err


def test_an_image_names_nothing_of_the_host(client, names):
    """VOLUME is a path in the container, whatever it looks like: no bind of the host's, no volume of somebody else's."""
    volume, image = names(), names()
    client.ok('run', '--name', names(), '-v', f'{volume}:/data', IMAGE, 'touch', '/data/secret')
    client.ok('build', '-t', image, '-', stdin=f'FROM {IMAGE}\nVOLUME /etc:/host {volume}:/data\n', environment={'DOCKER_BUILDKIT': '0'})
    name = names()
    client.ok('create', '--name', name, image, 'ls', '/host', '/data/secret')
    mounts = json.loads(client.inspect(name, '{{json .Mounts}}'))
    assert {m['Type'] for m in mounts} == {'volume'} and volume not in {m['Name'] for m in mounts}
    assert not {m['Destination'] for m in mounts} & {'/host', '/data'}
    client.ok('rm', '-v', name)
    client.ok('rmi', image)


def test_files_of_proc_that_may_be_covered(client, tmp_path):
    (tmp_path / 'uptime').write_text('1.0 2.0\n')
    assert client.run('-v', f'{tmp_path}/uptime:/proc/uptime', IMAGE, 'cat', '/proc/uptime').out == '1.0 2.0\n'


def test_an_empty_home(client):
    assert client.run('-e', 'HOME=', IMAGE, 'sh', '-c', 'env | grep -c ^HOME; echo $HOME').out == '1\n/root\n'


def test_the_end_of_a_link_has_a_name(client, names):
    store, web = names(), names()
    made = client.ok('run', '-d', '--name', store, IMAGE, 'sleep', '1000')
    client.ok('run', '-d', '--name', web, '--link', f'{store}:db', IMAGE, 'sleep', '1000')
    for name in (f'{web}/db', f'/{web}/db'):
        assert client.inspect(name, '{{.Id}}') == made
        assert client.ok('exec', name, 'hostname') == made[:12]
    client.ok('kill', f'{web}/db')
    assert client.ok('wait', f'{web}/db') == '137' and client.inspect(web, '{{.State.Running}}') == 'true'
    for nobody in (f'{web}/nosuch', f'{store}/db', f'{web}/db/db'):
        assert client('inspect', '--type', 'container', nobody).code == 1, nobody
    client.ok('rm', '--link', f'{web}/db')
    assert client('inspect', '--type', 'container', f'{web}/db').code == 1
    assert client.inspect(store, '{{.Id}}') == made


def test_a_bind_of_the_engines_own_data(client, names):
    """A slave unless something else is asked for, so that what the engine unmounts is unmounted there too."""
    root = str(client.engine.names.root)
    for flags, expected in ((['-v', '/:/host:ro'], 'rslave'), (['-v', f'{root}:/host'], 'rslave'), (['-v', '/etc:/host'], 'rprivate'),
                            (['--mount', f'type=bind,source={root},target=/host'], 'rslave'), (['-v', '/etc:/host:rprivate'], 'rprivate')):
        name = names()
        client.ok('run', '--name', name, *flags, IMAGE, 'ls', '/host')
        assert client.inspect(name, '{{range .Mounts}}{{.Propagation}}{{end}}') == expected, flags
    done = client('create', '--name', names(), '-v', f'{root}:/host:rprivate', IMAGE, 'true')
    assert done.code == 1 and 'must use either propagation mode "rslave" or "rshared"' in done.err


def test_hosts_files(client, names):
    """Names behind a dot, --add-host on the host's network, the hostname of a linked container."""
    assert 'foo.example.com foo\n' in client.run('--hostname', 'foo.example.com', IMAGE, 'cat', '/etc/hosts').out
    assert '1.2.3.4\textra\n' in client.run('--network', 'host', '--add-host', 'extra:1.2.3.4', IMAGE, 'cat', '/etc/hosts').out
    name, joined, late = names(), names(), names()
    client.ok('run', '-d', '--name', name, '--hostname', 'fred', IMAGE, 'sleep', '1000')
    assert f'\talias fred {name}\n' in client.run('--link', f'{name}:alias', IMAGE, 'cat', '/etc/hosts').out
    client.ok('run', '-d', '--name', joined, '--network', f'container:{name}', IMAGE, 'sleep', '1000')
    assert f'\tvia fred {name}' in client.run('--link', f'{joined}:via', IMAGE, 'cat', '/etc/hosts').out
    # Among users' networks a link is a name, of somebody who may still come.
    client.ok('network', 'create', late)
    client.ok('run', '-d', '--name', f'{late}-a', '--network', late, '--link', f'{late}-b:b', IMAGE, 'sleep', '1000')
    client.ok('run', '-d', '--name', f'{late}-b', '--network', late, IMAGE, 'sleep', '1000')
    client.ok('exec', f'{late}-a', 'ping', '-c', '1', '-W', '5', 'b')
    client.ok('rm', '-f', f'{late}-a', f'{late}-b', name, joined)
    client.ok('network', 'rm', late)


def test_prune_until_a_part_of_a_second(client, names):
    name, label = names(), names()
    client.ok('create', '--name', name, '--label', label, IMAGE, 'true')
    created = int(float(subprocess.run(['date', '-d', client.inspect(name, '{{.Created}}'), '+%s.%N'],
                                       capture_output=True, text=True, check=True).stdout) * 1e6)

    def prune(microseconds):
        return client.ok('container', 'prune', '-f', '--filter', f'label={label}', '--filter', f'until={microseconds // 10**6}.{microseconds % 10**6:06}')
    assert client.inspect(name, '{{.Id}}') not in prune(created - 10)
    prune(created + 10)
    assert client('inspect', '--type', 'container', name).code != 0


def test_the_working_directory_is_there_at_once(client, names, tmp_path):
    """Before the first start: what is copied into it finds it, and a root that can't be written has it."""
    name = names()
    (tmp_path / 'f').write_text('in\n')
    client.ok('create', '--name', name, '-w', '/new/deep', IMAGE, 'sh', '-c', 'pwd; cat f; stat -c %u:%g:%a .')
    assert client.ok('diff', name).split() == ['A', '/new', 'A', '/new/deep']
    client.ok('cp', tmp_path / 'f', f'{name}:/new/deep/')
    assert client.ok('start', '-a', name).split() == ['/new/deep', 'in', '0:0:755']
    assert client.run('--read-only', '-w', '/new/deep', IMAGE, 'pwd').text == '/new/deep'
    # Links in the image lead within it; what is there stays as it is.
    client.ok('commit', '-c', 'WORKDIR /', name, f'{name}:1')
    client.ok('rm', '-f', name)
    client.ok('create', '--name', name, f'{name}:1', 'sh', '-c', 'ln -s /new/there /link; mkdir -m 700 /mine')
    client.ok('start', '-a', name)
    client.ok('commit', name, f'{name}:2')
    client.ok('rm', name)
    client.ok('create', '--name', name, '-w', '/link/sub', f'{name}:2', 'pwd')
    assert '/new/there/sub' in client.ok('diff', name).split() and client.ok('start', '-a', name) == '/new/there/sub'
    client.ok('rm', name)
    client.ok('create', '--name', name, '-w', '/mine', f'{name}:2', 'stat', '-c', '%a', '.')
    assert client.ok('diff', name) == '' and client.ok('start', '-a', name) == '700'
    client.ok('rm', name)
    done = client('create', '--name', name, '-w', '/etc/passwd', IMAGE, 'true')
    assert done.code == 1 and 'Cannot mkdir: /etc/passwd is not a directory' in done.err, done.err
    assert client('inspect', name).code == 1


def without_the_end(archive, path):
    """The archive as Go writes it, which ends with its two blocks of zeros; the last byte of them is missing."""
    data = archive.rstrip(b'\0')
    data += bytes(-len(data) % 512 + 1024)
    path.write_bytes(data[:-1])
    return path, data


def test_archives_without_their_last_byte(client, names, tmp_path):
    name = names()
    client.ok('create', '--name', name, IMAGE, 'true')
    client.ok('export', '-o', tmp_path / 'whole.tar', name)
    cut, whole = without_the_end((tmp_path / 'whole.tar').read_bytes(), tmp_path / 'cut.tar')
    images = client.ok('images', '-aq', '--no-trunc')
    done = client('import', '-', f'{name}:1', stdin=cut.read_bytes())
    assert done.code == 1 and 'unexpected' in done.err, done.err
    assert client.ok('images', '-aq', '--no-trunc') == images
    client.ok('import', '-', f'{name}:1', stdin=whole)
    client.ok('rmi', f'{name}:1')
    client.ok('save', '-o', tmp_path / 'saved.tar', IMAGE)
    cut, whole = without_the_end((tmp_path / 'saved.tar').read_bytes(), tmp_path / 'cut.tar')
    done = client('load', '-q', stdin=cut.read_bytes())
    assert done.code == 1 and 'unexpected' in done.err, done.err
    client.ok('load', '-q', stdin=whole)
    archive = client.start('cp', f'{name}:/etc/passwd', '-').communicate()[0]
    cut, whole = without_the_end(archive, tmp_path / 'cut.tar')
    done = client('cp', '-', f'{name}:/tmp', stdin=cut.read_bytes())
    assert done.code == 1 and 'unexpected' in done.err, done.err
    client.ok('cp', '-', f'{name}:/tmp', stdin=whole)


def test_an_image_without_a_config(client, names, tmp_path):
    """As docker 0.x wrote them."""
    import hashlib
    import io
    import tarfile
    name = names()
    layer = io.BytesIO()
    tarfile.open(fileobj=layer, mode='w').close()
    config = json.dumps({'architecture': 'amd64', 'os': 'linux', 'created': '2013-06-13T14:03:50.821769-07:00',
                         'rootfs': {'type': 'layers', 'diff_ids': ['sha256:' + hashlib.sha256(layer.getvalue()).hexdigest()]}}).encode()
    manifest = json.dumps([{'Config': 'c.json', 'RepoTags': [f'{name}:latest'], 'Layers': ['l/layer.tar']}]).encode()
    with tarfile.open(tmp_path / 'image.tar', 'w') as archive:
        for path, data in (('c.json', config), ('l/layer.tar', layer.getvalue()), ('manifest.json', manifest)):
            item = tarfile.TarInfo(path)
            item.size = len(data)
            archive.addfile(item, io.BytesIO(data))
    client.ok('load', '-q', '-i', tmp_path / 'image.tar')
    assert client.inspect(name, '{{.Id}}') == 'sha256:' + hashlib.sha256(config).hexdigest()
    client.ok('rmi', name)


@pytest.mark.parametrize('how', ['run', 'exec'])
def test_a_slow_reader_gets_everything(client, names, how):
    """Also what the program has written last, when the container, or the exec, is long gone."""
    script = 'i=0; while [ $i -lt 40 ]; do head -c 50000 /dev/zero; i=$((i+1)); done; echo end >&2'
    name = names()
    if how == 'run':
        process = client.start('run', '--rm', '--name', name, IMAGE, 'sh', '-c', script)
    else:
        client.ok('run', '-d', '--name', name, IMAGE, 'sleep', '1000')
        process = client.start('exec', name, 'sh', '-c', script)
    taken = 0
    while piece := process.stdout.read1(20000):
        taken += len(piece)
        time.sleep(0.005)
    assert (taken, process.wait(30), process.stderr.read()) == (2_000_000, 0, b'end\n')
