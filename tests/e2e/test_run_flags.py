# SPDX-License-Identifier: Apache-2.0
"""The flags of run, create and update: what they put into the container, and docker's words and code for a bad one."""
import json
import os

import pytest

from harness.places import IMAGE


def config(client, names, *options, command=('true',)):
    name = names()
    done = client('create', '--name', name, *options, IMAGE, *command)
    assert done.code == 0, done.err
    found = json.loads(client.ok('inspect', name))[0]
    return {**found['Config'], **found['HostConfig']}


GOOD = [
    (['--cpus', '0.5'], 'NanoCpus', 500000000), (['-c', '300'], 'CpuShares', 300), (['--cpu-period', '50000', '--cpu-quota', '20000'], 'CpuQuota', 20000),
    (['--cpuset-cpus', '0', '--cpuset-mems', '0'], 'CpusetMems', '0'), (['-m', '32m', '--memory-swap', '-1'], 'MemorySwap', -1), (['-m', '32m', '--memory-reservation', '16M'], 'MemoryReservation', 16 << 20),
    (['--memory-swappiness', '0'], 'MemorySwappiness', 0), (['--pids-limit', '20'], 'PidsLimit', 20), (['--shm-size', '2g'], 'ShmSize', 2 << 30), (['--oom-score-adj', '-0'], 'OomScoreAdj', 0),
    (['--ulimit', 'nofile=5:6', '--ulimit', 'core=1', '--ulimit', 'nofile=7'], 'Ulimits', [{'Name': 'core', 'Hard': 1, 'Soft': 1}, {'Name': 'nofile', 'Hard': 7, 'Soft': 7}]),
    (['--device', '/dev/null:/dev/x:r'], 'Devices', [{'PathOnHost': '/dev/null', 'PathInContainer': '/dev/x', 'CgroupPermissions': 'r'}]),
    (['--device', '/dev/./null:m'], 'Devices', [{'PathOnHost': '/dev/null', 'PathInContainer': '/dev/null', 'CgroupPermissions': 'm'}]),
    (['--device-cgroup-rule', 'c 1:* rwm'], 'DeviceCgroupRules', ['c 1:* rwm']), (['--device-read-bps', '/dev/loop0:1mb'], 'BlkioDeviceReadBps', [{'Path': '/dev/loop0', 'Rate': 1 << 20}]),
    (['--device-write-iops', '/dev/loop0:7'], 'BlkioDeviceWriteIOps', [{'Path': '/dev/loop0', 'Rate': 7}]), (['--cap-drop', 'all'], 'CapDrop', (['ALL'], ['all'])),
    (['--gpus', 'all'], 'DeviceRequests', [{'Driver': '', 'Count': -1, 'DeviceIDs': None, 'Capabilities': [['gpu']], 'Options': {}}]),
    (['--gpus', 'count=2,"capabilities=compute,utility"'], 'DeviceRequests', [{'Driver': '', 'Count': 2, 'DeviceIDs': None, 'Capabilities': [['compute', 'utility', 'gpu']], 'Options': {}}]),
    (['--security-opt', 'systempaths=unconfined'], 'MaskedPaths', ([], None)), (['--sysctl', 'net.ipv4.ip_forward=1'], 'Sysctls', {'net.ipv4.ip_forward': '1'}),
    (['--group-add', 'a', '--group-add', '5'], 'GroupAdd', ['a', '5']), (['--pid', 'host'], 'PidMode', 'host'), (['--ipc', 'shareable'], 'IpcMode', 'shareable'), (['--uts', 'host'], 'UTSMode', 'host'),
    (['--userns', 'host'], 'UsernsMode', 'host'), (['--cgroupns', 'host'], 'CgroupnsMode', 'host'), (['--cgroup-parent', '/x'], 'CgroupParent', '/x'), (['--init'], 'Init', True),
    (['--restart', 'on-failure:3'], 'RestartPolicy', {'Name': 'on-failure', 'MaximumRetryCount': 3}), (['--stop-signal', 'HUP', '--stop-timeout', '4'], 'StopTimeout', 4),
    (['--read-only'], 'ReadonlyRootfs', True), (['--tmpfs', '/t:size=1m', '--tmpfs', '/u'], 'Tmpfs', {'/t': 'size=1m', '/u': ''}), (['--add-host', 'a:1.2.3.4', '--add-host', 'b=::1'], 'ExtraHosts', ['a:1.2.3.4', 'b:::1']),
    (['--dns', '1.2.3.4', '--dns-option', 'ndots:2', '--dns-search', 'x.y'], 'DnsSearch', ['x.y']), (['-h', 'box', '--domainname', 'd'], 'Domainname', 'd'), (['--entrypoint', ''], 'Cmd', ['true']),
    (['-l', 'a=b', '--label', 'c'], 'Labels', {'a': 'b', 'c': ''}), (['-w', '/w'], 'WorkingDir', '/w'), (['-u', '5:6'], 'User', '5:6'), (['--privileged'], 'Privileged', True),
    (['--volume-driver', 'local'], 'VolumeDriver', 'local'), (['--isolation', 'default'], 'Isolation', 'default'), (['--log-driver', 'none'], 'LogConfig', {'Type': 'none', 'Config': {}}), (['--rm'], 'AutoRemove', True),
    (['--no-healthcheck'], 'Healthcheck', {'Test': ['NONE']}), (['--health-cmd', 'true', '--health-interval', '2s', '--health-retries', '3'], 'Healthcheck', {'Test': ['CMD-SHELL', 'true'], 'Interval': 2000000000, 'Retries': 3}),
    (['--oom-kill-disable'], 'OomKillDisable', True), (['-e', 'A=1', '--env', 'B=x=y'], 'Env', ['A=1', 'B=x=y']),
]


@pytest.mark.parametrize('options, field, value', GOOD, ids=[' '.join(case[0])[:40] for case in GOOD])
def test_flag(client, names, options, field, value):
    if client.name == 'docker' and any(o in options for o in ('b=::1',)):
        pytest.skip('newer than the client')
    if os.path.exists('/sys/fs/cgroup/cgroup.controllers') and field in ('OomKillDisable', 'MemorySwappiness'):
        pytest.skip('cgroup v2 has no such thing')
    found = config(client, names, *options)[field]
    if field == 'Env':
        found = sorted(found[:2])  # docker's client goes through a Go map: their order is any
    if field == 'Ulimits':
        found = sorted(found, key=lambda limit: limit['Name'])
    assert found in value if isinstance(value, tuple) else found == value


def test_files(client, names, tmp_path):
    (tmp_path / 'env').write_text('# comment\nA=1\n\n  B=two words\nPATH_OF_NOBODY\nC="quoted"\n')
    (tmp_path / 'labels').write_text('x=1\ny\n')
    found = config(client, names, '--env-file', str(tmp_path / 'env'), '-e', 'D=4', '--label-file', str(tmp_path / 'labels'), '-l', 'z=2', '--cidfile', str(tmp_path / 'cid'))
    assert found['Env'][:4] == ['A=1', 'B=two words', 'C="quoted"', 'D=4']
    assert found['Labels']['x'] == '1' and found['Labels']['z'] == '2' and found['Labels'].get('y', '') == ''
    assert len((tmp_path / 'cid').read_text()) == 64 and found['ContainerIDFile'] == str(tmp_path / 'cid')
    done = client('create', '--cidfile', str(tmp_path / 'cid'), IMAGE)
    assert done.code == (1 if client.name == 'docker' else done.code) and done.code != 0 and 'container ID file found' in done.err


BAD = [
    (['--cpus', 'x'], 'invalid argument "x" for "--cpus" flag: failed to parse x as a rational number'), (['--cpus', '0.0000000001'], 'value is too precise'), (['-m', 'x'], 'invalid argument "x" for "-m, --memory" flag'),
    (['--cpu-shares', 'x'], 'invalid argument "x" for "-c, --cpu-shares" flag'), (['--memory-swappiness', '101'], 'invalid value: 101. Valid memory swappiness range is 0-100'),
    (['--ulimit', 'x'], 'invalid argument "x" for "--ulimit" flag: invalid ulimit argument: x'), (['--ulimit', 'nosuch=1'], 'invalid ulimit type: nosuch'), (['--ulimit', 'nofile=2:1'], 'ulimit soft limit must be less than or equal to hard limit: 2 > 1'),
    (['--device', 'relative'], 'relative is not an absolute path'), (['--device', '/a:/b:x'], 'bad mode specified: x'), (['--device', '/a:/b:r:x'], 'bad format for path: /a:/b:r:x'),
    (['--device-cgroup-rule', 'x'], 'invalid argument "x" for "--device-cgroup-rule" flag: invalid device cgroup format \'x\''), (['--device-read-bps', 'x'], 'bad format: x'),
    (['--device-read-bps', 'a:1'], 'bad format for device path: a:1'), (['--device-read-iops', '/dev/a:x'], 'invalid rate for device: /dev/a:x'), (['--blkio-weight-device', '/dev/a:5'], 'invalid weight for device: /dev/a:5'),
    (['--sysctl', 'vm.swappiness=1'], "sysctl 'vm.swappiness=1' is not allowed"), (['--gpus', 'x'], 'invalid count (x): value must be either "all" or an integer'), (['--gpus', 'a=b'], "unexpected key 'a' in 'a=b'"),
    (['-e', '=x'], 'invalid environment variable: =x'), (['--attach', 'x'], 'valid streams are STDIN, STDOUT and STDERR'), (['--add-host', 'x'], 'bad format for add-host: "x"'), (['--dns', 'x'], ''),
    (['--pid', 'x'], '--pid: invalid PID mode'), (['--uts', 'x'], '--uts: invalid UTS mode'), (['--userns', 'x'], '--userns: invalid USER mode'), (['--cgroupns', 'x'], '--cgroupns: invalid CGROUP mode'),
    (['--restart', 'on-failure:x'], 'maximum retry count must be an integer'), (['--rm', '--restart', 'always'], 'cannot specify both --restart and --rm'), (['--security-opt', 'x'], 'invalid --security-opt: "x"'),
    (['--security-opt', 'seccomp=/no/such'], 'opening seccomp profile (/no/such) failed'), (['--storage-opt', 'x'], 'invalid storage option'), (['--log-driver', 'none', '--log-opt', 'a=b'], 'invalid logging opts for driver none'),
    (['--no-healthcheck', '--health-cmd', 'x'], '--no-healthcheck conflicts with --health-* options'), (['--health-interval', '-1s'], '--health-interval cannot be negative'), (['--pull', 'x'], 'invalid pull option'),
    (['--env-file', '/no/such'], 'no such file or directory'), (['--label-file', '/no/such'], 'no such file or directory'), (['--isolation', 'hyperv'], "only supports 'default'"), (['--runtime', 'nosuch'], 'nosuch'),
    (['--name', '-x-'], 'Invalid container name'), (['--platform', 'linux/s390x', '--pull', 'never'], ''), (['--ipc', 'x'], ''), (['--workdir', 'x'], 'it needs to be an absolute path'),
]


@pytest.mark.parametrize('options, words', BAD, ids=[' '.join(case[0])[:40] for case in BAD])
def test_bad_flag(client, options, words):
    if client.name == 'docker' and options[0] in ('--health-interval', '--device', '--pull', '--gpus'):
        pytest.skip('words of a newer client')
    if client.engine.kind == 'p' and options[0] == '--ipc':
        pytest.skip('20.10 finds out at the start')
    done = client('create', *options, IMAGE, 'true') if options[0] == '--platform' else client('run', *options, IMAGE, 'true')
    assert done.code in ((1, 125) if options[0] == '--platform' else (125,)) and done.out == '', done
    if client.name == 'docker':  # 20.10
        words = {'--sysctl': "sysctl 'vm.swappiness=1' is not whitelisted", '--rm': 'Conflicting options: --restart and --rm'}.get(options[0], words)
    assert words.lower() in done.err.lower() and done.err.strip(), done.err


def test_gpus_without_a_driver(client):
    done = client.run('--gpus', 'all', IMAGE, 'true')
    assert done.code == 125 and 'could not select device driver "" with capabilities: [[gpu]]' in done.err


def test_quiet_and_never(client):
    done = client.run('--pull', 'never', 'gantry/nosuch:x', 'true') if client.name == 'gantry' else None
    assert done is None or (done.code == 125 and 'No such image: gantry/nosuch:x' in done.err and 'Unable to find' not in done.err)


def test_update(client, names):
    first, second = names('a'), names('b')
    for name in (first, second):
        client.ok('run', '-d', '--name', name, IMAGE, 'sleep', '100')
    assert client.ok('update', '--pids-limit', '30', '-c', '200', '--restart', 'on-failure:2', first, second).split() == [first, second]
    assert client.inspect(second, '{{.HostConfig.PidsLimit}} {{.HostConfig.CpuShares}} {{.HostConfig.RestartPolicy.Name}}') == '30 200 on-failure'
    done = client('update', '-m', '1m', first)
    assert done.code == 1 and 'Minimum memory limit allowed is 6MB' in done.err
    done = client('update', first)
    assert done.code == 1 and 'you must provide one or more flags when using this command' in done.err
    done = client('update', '-c', '300', first, 'nosuch')
    assert done.code == 1 and done.text == first and 'No such container: nosuch' in done.err


def test_warning_is_shown(client, names):
    name = names()
    if os.path.exists('/sys/fs/cgroup/cgroup.controllers'):
        pytest.skip('of cgroup v1')
    done = client('create', '--name', name, '--oom-kill-disable', IMAGE)
    assert done.code == 0 and 'WARNING: ' in done.err and 'OOM killer' in done.err.replace('Disabling the OOM killer', 'OOM killer')
