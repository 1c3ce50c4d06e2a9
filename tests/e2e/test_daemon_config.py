# SPDX-License-Identifier: Apache-2.0
"""daemon.json and flags: what dockerd says of bad ones, and what good ones do to containers.

The same words are asked of Debian's dockerd where it has them (`gantryd`, `dockerd` below)."""
import contextlib
import json
import os
import signal
import subprocess

import pytest

from harness import places
from harness.client import Client
from harness.engine import Peer, Stack, until
from harness.places import IMAGE

DAEMONS = {'gantryd': str(places.BIN / 'gantryd'), 'dockerd': '/usr/sbin/dockerd'}


@pytest.fixture(params=sorted(DAEMONS))
def refuse(request, tmp_path):
    """Runs the daemon with a file and flags that it must refuse; returns its one line."""
    def run(text, *flags):
        path = tmp_path / 'daemon.json'
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        places_of_its_own = [f'--data-root={tmp_path}/root', f'--exec-root={tmp_path}/run', f'--pidfile={tmp_path}/pid']
        done = subprocess.run([DAEMONS[request.param], '--config-file', str(path), *places_of_its_own, *flags],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
        assert done.returncode == 1, done.stdout
        assert not (tmp_path / 'root').exists() and not (tmp_path / 'run').exists(), 'something was begun'
        # dockerd wraps errors of flags: "Status: …, Code: 125".
        return done.stdout.splitlines()[0].removeprefix('Status: ').replace(str(path), 'FILE')
    return run


CANNOT = 'unable to configure the Docker daemon with file FILE: '
BOTH = CANNOT + 'the following directives are specified both as a flag and in the configuration file: '


@pytest.mark.parametrize('text, flags, said', [
    ({'nope': 1, 'debug': True}, (), CANNOT + "the following directives don't match any configuration option: nope"),
    ({'debug': True, 'log-level': 'info'}, ('-D', '--log-level=debug'),
     BOTH + 'debug: (from flag: true, from file: true), log-level: (from flag: debug, from file: info)'),
    ({'hosts': ['unix:///b', 'fd://']}, ('-H', 'unix:///a'), BOTH + 'hosts: (from flag: [unix:///a], from file: [unix:///b fd://])'),
    ({'labels': ['a=b']}, ('--label', 'c=d'), BOTH + 'labels: (from flag: [c=d], from file: [a=b])'),
    ({'debug': 'x'}, (), CANNOT + 'json: cannot unmarshal string into Go struct field Config.debug of type bool'),
    ({'labels': 'x'}, (), CANNOT + 'json: cannot unmarshal string into Go struct field Config.labels of type []string'),
    ({}, ('--nonsense',), 'unknown flag: --nonsense'),
    ({}, ('--log-level', 'loud'), 'unable to parse logging level: loud'),
    ({}, ('-H', 'foo://x'), 'invalid argument "foo://x" for "-H, --host" flag: Invalid bind address format: foo://x'),
    ({}, ('--default-ulimit', 'x'), 'invalid argument "x" for "--default-ulimit" flag: invalid ulimit argument: x'),
    ({}, ('--mtu', 'x'), 'invalid argument "x" for "--mtu" flag: strconv.ParseInt: parsing "x": invalid syntax'),
    ({}, ('--dns', 'x'), 'invalid argument "x" for "--dns" flag: x is not an ip address'),
    ({}, ('--default-gateway', 'x'), 'invalid argument "x" for "--default-gateway" flag: x is not an ip address'),
    ({}, ('--default-gateway-v6', 'x'), 'invalid argument "x" for "--default-gateway-v6" flag: x is not an ip address'),
    ({}, ('--icc=x',), 'invalid argument "x" for "--icc" flag: strconv.ParseBool: parsing "x": invalid syntax'),
    ({}, ('--label', 'x'), 'invalid argument "x" for "--label" flag: bad attribute format: x'),
    ({}, ('--pidfile',), 'flag needs an argument: --pidfile'),
])
def test_refusals(refuse, text, flags, said):
    line = refuse(text, *flags)
    # dockerd knows the bad level only once it parses all of it.
    assert line.removeprefix('invalid argument "loud" for "-l, --log-level" flag: ') == said


def test_a_named_file_must_be_there(tmp_path):
    for program in DAEMONS.values():
        done = subprocess.run([program, '--config-file', f'{tmp_path}/none'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=20)
        assert done.returncode == 1
        assert done.stdout.splitlines()[0] == (f'unable to configure the Docker daemon with file {tmp_path}/none: '
                                               f'open {tmp_path}/none: no such file or directory')


def test_validate(tmp_path):
    path = tmp_path / 'daemon.json'
    path.write_text('{"labels": ["a=b"], "raw-logs": true, "default-init": "docker-init"}')
    command = [DAEMONS['gantryd'], '--validate', '--config-file', str(path), '--restart=false', '--feature', 'buildkit', '--feature', 'cdi=true']
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=20)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, 'configuration OK')
    assert 'raw-logs' in done.stderr and '"restart" stays true' in done.stderr, 'what has no effect is named'
    path.write_text('{"selinux-enabled": true}')
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=20)
    assert done.returncode == 1 and '"selinux-enabled" cannot be true here' in done.stderr


@pytest.mark.parametrize('text, flags', [
    ({'nope': 1}, ()), ({'debug': True}, ('-D',)), ({'hosts': ['fd://']}, ('-H', 'unix:///a')), ({'debug': 'x'}, ()), ('{"debug"', ()), ('[]', ()),
    ({'labels': ['x']}, ()), ({'log-level': 'loud'}, ()), ({'iptables': False, 'icc': False}, ()), ({'default-runtime': 'nosuch'}, ()),
    ({'log-driver': 'nosuch'}, ()), ({'log-opts': {'nosuch': '1'}}, ()), ({'storage-driver': 'zfs'}, ()), ({'storage-opts': ['dm.fs=xfs']}, ()), ({}, ('--nonsense',)), ({}, ('--mtu', 'x')),
    ({}, ('word',)),
])
def test_validate_refuses_what_a_start_refuses(tmp_path, text, flags):
    """dockerd has --validate since 23: the same words as at a start, 1, and nothing is begun."""
    path = tmp_path / 'daemon.json'
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    said = []
    for how in ((), ('--validate',)):
        done = subprocess.run([DAEMONS['gantryd'], *how, '--config-file', str(path), f'--data-root={tmp_path}/root', f'--exec-root={tmp_path}/run', *flags],
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=20)
        assert done.returncode == 1, done.stderr
        said.append(done.stderr)
    assert said[0] == said[1] != ''
    assert sorted(p.name for p in tmp_path.iterdir()) == ['daemon.json']


CONFIG = {'labels': ['zone=a', 'zone2=b'], 'log-opts': {'max-size': '10m', 'max-file': '3'}, 'init': True,
          'default-ulimits': {'nofile': {'Name': 'nofile', 'Hard': 2048, 'Soft': 1024}}, 'default-shm-size': '32M',
          'default-ipc-mode': 'shareable', 'no-new-privileges': True, 'dns': ['192.0.2.53'], 'dns-search': ['gantry.test'],
          'dns-opts': ['ndots:3'], 'mtu': 1400, 'ip': '127.0.0.1', 'debug': True,
          'runtimes': {'other': {'path': '/usr/bin/crun'}}}


@contextlib.contextmanager
def engine_with(kind, config, tmp_path, home):
    path = tmp_path / 'daemon.json'
    path.write_text(json.dumps(config))
    engine = {'gantry': Stack, 'peer': Peer}[kind](7, ['--config-file', str(path)])
    try:
        engine.start()
        client = Client('docker', engine, home)
        if kind == 'peer':
            engine.load_image()
        else:
            client.ok('load', '-i', places.IMAGE_TAR)
        yield engine, client, path
    finally:
        engine.destroy()


def engines():
    return ['gantry', 'peer'] if places.SOAK or os.environ.get('GANTRY_E2E') else ['gantry']


@pytest.mark.parametrize('kind', engines())
def test_defaults_reach_containers_and_reload(kind, tmp_path, home):
    with engine_with(kind, CONFIG, tmp_path, home) as (engine, client, path):
        said = client.run(IMAGE, 'sh', '-c', 'ulimit -n; ulimit -Hn; df -k /dev/shm | tail -1; grep NoNewPrivs /proc/self/status; '
                          'cat /etc/resolv.conf; cat /sys/class/net/eth0/mtu; tr "\\0" " " < /proc/1/cmdline').out
        assert said.startswith('1024\n2048\n') and ' 32768 ' in said and 'NoNewPrivs:\t1' in said
        assert 'nameserver 192.0.2.53\n' in said and 'search gantry.test\n' in said and 'options ndots:3\n' in said
        assert '\n1400\n' in said and 'docker-init' in said
        name = client.ok('create', '-p', '80', IMAGE, 'true')
        host = json.loads(client.ok('inspect', '-f', '{{json .HostConfig}}', name))
        assert host['LogConfig'] == {'Type': 'json-file', 'Config': {'max-size': '10m', 'max-file': '3'}}
        assert host['IpcMode'] == 'shareable' and host['ShmSize'] == 32 << 20
        # The container's own word wins.
        own = client.run('--ulimit', 'nofile=99', '--security-opt', 'no-new-privileges=false', '--dns', '192.0.2.1', IMAGE, 'sh', '-c',
                         'ulimit -n; cat /etc/resolv.conf; grep NoNewPrivs /proc/self/status').out
        assert own.startswith('99\n') and 'nameserver 192.0.2.1\n' in own and '192.0.2.53' not in own and 'NoNewPrivs:\t0' in own
        info = json.loads(engine.api('GET', '/info')[1])
        assert sorted(info['Labels']) == ['zone2=b', 'zone=a'] and info['Debug'] and 'other' in info['Runtimes']
        client.ok('start', name)
        client.ok('rm', '-f', name)

        since = json.loads(engine.api('GET', '/info')[1])['SystemTime']
        path.write_text(json.dumps({**CONFIG, 'labels': ['zone=c'], 'debug': False}))
        pid = engine.process.pid
        os.kill(pid, signal.SIGHUP)
        until(lambda: json.loads(engine.api('GET', '/info')[1])['Labels'] == ['zone=c'], 10)
        assert not json.loads(engine.api('GET', '/info')[1])['Debug']

        def reloads():
            now = json.loads(engine.api('GET', '/info')[1])['SystemTime']
            return client.ok('events', '--since', since, '--until', now, '--filter', 'type=daemon', '--format', '{{json .}}').splitlines()
        until(reloads)
        event = json.loads(reloads()[0])
        assert event['Action'] == 'reload' and event['Actor']['Attributes']['debug'] == 'false'
        assert json.loads(event['Actor']['Attributes']['labels']) == ['zone=c']
        # A file that is wrong changes nothing.
        path.write_text('{"labels": 1}')
        os.kill(pid, signal.SIGHUP)
        until(lambda: 'cannot unmarshal number' in engine.log_end(), 10)
        assert json.loads(engine.api('GET', '/info')[1])['Labels'] == ['zone=c']


@pytest.mark.parametrize('kind', engines())
def test_runtimes(kind, tmp_path, home):
    """A runtime of the file is the one that runs; one that nobody knows is refused."""
    script = tmp_path / 'runtime'
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nexec /usr/sbin/runc "$@"\n')
    script.chmod(0o755)
    config = {'runtimes': {'other': {'path': str(script), 'runtimeArgs': ['--debug']}}}
    with engine_with(kind, config, tmp_path, home) as (engine, client, _):
        assert client.run('--runtime', 'other', IMAGE, 'echo', 'hi').text == 'hi'
        calls = (tmp_path / 'calls').read_text()
        assert '--debug' in calls and ' create ' in calls
        done = client.run('--runtime', 'nosuch', IMAGE, 'true')
        assert done.code == 125 and 'nosuch' in done.err
