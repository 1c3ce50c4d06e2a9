# SPDX-License-Identifier: Apache-2.0
"""`gantry explain` against what the kernel says, and the waterfall of `gantry run --trace`."""
import json
import os
import re
import time
import xml.etree.ElementTree as Xml

import pytest

from harness import places
from harness.client import Client
from harness.engine import until

IMAGE = places.IMAGE


@pytest.fixture(scope='module')
def gantry(stack, home):
    return Client('gantry', stack, home)


@pytest.fixture(scope='module')
def box(gantry, tmp_path_factory):
    folder = tmp_path_factory.mktemp('bound')
    gantry.ok('run', '-d', '--name', 'explained', '-m', '64m', '--pids-limit', '40', '-p', '127.0.0.1:18490:80', '-p', '18491:81/udp',
              '-v', f'{folder}:/bound:ro', '--cap-drop', 'all', '--cap-add', 'chown', IMAGE, 'sh', '-c', 'echo out; exec sleep 1000')
    until(lambda: gantry.ok('logs', 'explained') == 'out')
    yield folder
    gantry('rm', '-f', 'explained')


def test_it_says_what_the_kernel_says(gantry, stack, box):
    page = json.loads(gantry.ok('explain', '--json', 'explained'))
    pid = int(gantry.inspect('explained', '{{.State.Pid}}'))
    chain = {link['Role']: link['Pid'] for link in page['Chain']}
    assert list(chain) == ['engine', 'container daemon', 'shim', 'init']
    assert chain['engine'] == stack.pid('gantryd') and chain['container daemon'] == stack.pid('gantry-containerd')
    assert chain['init'] == pid
    status = dict(line.split(':\t', 1) for line in open(f'/proc/{pid}/status').read().splitlines() if ':\t' in line)
    assert chain['shim'] == int(status['PPid'])
    assert os.readlink(f'/proc/{chain["shim"]}/exe').endswith('containerd-shim-gantry-v1')

    [process] = page['Processes']
    assert (process['Pid'], process['PidInside'], process['Command']) == (pid, 1, 'sleep 1000')
    spaces = {s['Type']: s for s in page['Namespaces']}
    for kind, space in spaces.items():
        assert space['Id'] == os.readlink(f'/proc/{pid}/ns/{kind}')
        assert space['SharedWithEngine'] == (space['Id'] == os.readlink(f'/proc/{chain["engine"]}/ns/{kind}'))
    assert not spaces['pid']['SharedWithEngine'] and spaces['user']['SharedWithEngine']

    assert page['Cgroup']['Limits'] == {'Memory': 64 << 20, 'NanoCpus': 0, 'Pids': 40}
    assert 0 < page['Cgroup']['Use']['Memory'] < 64 << 20
    assert page['Cgroup']['Use']['Pids'] == 1
    assert any(path['Path'] in open(f'/proc/{pid}/cgroup').read() for path in page['Cgroup']['Paths'])

    mounts = {m['Destination']: m for m in page['Mounts']}
    assert mounts['/bound']['Source'] == str(box) and mounts['/bound']['Own']
    assert 'ro' in mounts['/bound']['Options'].split(',')
    assert mounts['/proc']['Type'] == 'proc'
    assert page['Security']['Capabilities'] == ['CAP_CHOWN']
    assert page['Security']['Seccomp'] == 'filter'
    assert page['Log']['Size'] == os.stat(page['Log']['Path']).st_size > 0


def test_layers_and_what_is_written(gantry, box):
    before = json.loads(gantry.ok('explain', '--json', 'explained'))
    assert before['Layers'] and all(layer['Size'] > 0 for layer in before['Layers'])
    gantry.ok('exec', 'explained', 'dd', 'if=/dev/zero', 'of=/written', 'bs=1M', 'count=2')
    after = json.loads(gantry.ok('explain', '--json', 'explained'))
    assert after['Writable']['Size'] >= before['Writable']['Size'] + (2 << 20)
    assert os.stat(after['Writable']['Path'] + '/written').st_size == 2 << 20
    assert after['Layers'] == before['Layers']


def test_the_way_through_the_network(gantry, stack, box):
    [endpoint] = json.loads(gantry.ok('explain', '--json', 'explained'))['Network']['Endpoints']
    assert endpoint['Bridge'] == stack.names.bridge
    assert endpoint['Address'].split('/')[0] == gantry.inspect('explained', '{{.NetworkSettings.IPAddress}}')
    assert f'master {endpoint["Bridge"]}' in stack.inside('ip', 'link', 'show', endpoint['Veth']).stdout
    ports = {p['HostPort']: p for p in endpoint['Ports'] if p['HostIp'] != '::'}
    assert ports[18490]['ExposedTo'] == 'this host only'
    assert ports[18491]['ExposedTo'].startswith('everybody')
    # The table that it names is there and knows the port.
    table = ports[18491]['Rule'].split(':')[0].removeprefix('nft table ')
    assert '18491' in stack.inside('nft', 'list', 'table', *table.split()).stdout


def test_text_and_picture(gantry, box):
    text = gantry.ok('explain', 'explained')
    for title in ('CHAIN', 'PROCESSES', 'NAMESPACES', 'CGROUP', 'LAYERS', 'MOUNTS', 'NETWORK', 'SECURITY', 'LOG'):
        assert f'\n{title}\n' in text
    assert 'this host only' in text and 'CHOWN' in text and ' of 64MiB' in text
    picture = Xml.fromstring(gantry.ok('explain', '--svg', 'explained'))
    words = ' '.join(''.join(node.itertext()) for node in picture.iter() if node.tag.endswith('text'))
    assert 'container daemon' in words and 'NETWORK' in words and 'sleep 1000' in words


def test_one_that_does_not_run(gantry, stack):
    gantry.ok('create', '--name', 'still', '--label', 'x=<&"', IMAGE)
    page = json.loads(gantry.ok('explain', '--json', 'still'))
    assert page['State'] == 'created' and 'Processes' not in page and page['Layers']
    Xml.fromstring(gantry.ok('explain', '--svg', 'still'))
    gantry.ok('rm', 'still')
    missing = gantry('explain', 'still')
    assert (missing.code, missing.err) == (1, 'Error response from daemon: No such container: still\n')
    assert gantry('explain', '--json', '--svg', 'x').code == 1


ROW = re.compile(r'^(\w+) (\d+) +([\d.]+) +([\d.]+) +(.*?) +█', re.M)


@pytest.mark.parametrize('how', [['--rm'], ['-d', '--name', 'traced']])
def test_waterfall(gantry, stack, how):
    done = gantry('run', '--trace', *how, IMAGE, 'true')
    assert done.code == 0, done.err
    rows = [(m[1], int(m[2]), float(m[3]), float(m[4]), m[5]) for m in ROW.finditer(done.err)]
    assert {row[0] for row in rows} == {'gantry', 'engine', 'containerd', 'shim', 'runtime'}, done.err
    by_step = {(row[0], row[4]): row for row in rows}
    start = by_step['gantry', 'start']
    for step in (('engine', 'Tasks.Create'), ('containerd', "shim's Create"), ('shim', 'runtime create'), ('runtime', 'cgroups'), ('engine', 'Tasks.Start')):
        _, _, at, took, _ = by_step[step]
        # All of it lies within our own call, on one clock.
        assert start[2] <= at + 0.001 and at + took <= start[2] + start[3] + 0.001, (step, done.err)
    create, inner = by_step['engine', 'Tasks.Create'], by_step['runtime', 'mounts, security, in the child']
    assert create[2] <= inner[2] and inner[2] + inner[3] <= create[2] + create[3]
    assert by_step['engine', 'network'][1] == stack.pid('gantryd')
    gantry('rm', '-f', 'traced')


def test_the_last_starts_are_kept(gantry, stack):
    gantry.ok('run', '--name', 'again', IMAGE, 'true')
    first = json.loads(stack.api('GET', '/containers/again/trace')[1])
    gantry.ok('start', '-a', 'again')
    second = json.loads(stack.api('GET', '/containers/again/trace')[1])
    assert min(s['Begin'] for s in second['Steps']) > max(s['End'] for s in first['Steps'])
    assert time.monotonic_ns() > max(s['End'] for s in second['Steps'])
    gantry.ok('rm', 'again')
    assert json.loads(stack.api('GET', f'/containers/{second["Id"]}/trace')[1])['Steps'] == second['Steps']
    assert stack.api('GET', '/containers/nosuch/trace')[0] == 404
