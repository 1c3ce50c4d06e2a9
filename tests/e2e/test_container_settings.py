# SPDX-License-Identifier: Apache-2.0
"""What HostConfig and Config do: looked at from inside the container and in its cgroup."""
import json
import os
import pathlib
import re
import signal

import pytest
from conftest import pairs

from harness.created import create, running, shell
from harness.engine import ask, until
from harness.traps import until_takes

V2 = os.path.exists('/sys/fs/cgroup/cgroup.controllers')
MIB = 1 << 20


@pytest.fixture(scope='module', params=sorted({pair.split(':')[1] for pair in pairs()}))
def engine(request):
    return request.getfixturevalue({'gantry': 'stack', 'peer': 'peer'}[request.param])


def is_peer(engine):
    return engine.kind == 'p'


def cgroup(container, controller, file):
    """A file of the container's cgroup, v1; None on v2."""
    for line in open(f"/proc/{container.inspect()['State']['Pid']}/cgroup"):
        _, controllers, path = line.strip().split(':', 2)
        if controller in controllers.split(','):
            return pathlib.Path(f'/sys/fs/cgroup/{controller}{path}/{file}').read_text().strip()
    raise AssertionError(f'no {controller}')


v1_only = pytest.mark.skipif(V2, reason='files of cgroup v1')


@v1_only
def test_limits_are_in_the_cgroup(engine):
    host = {'Memory': 64 * MIB, 'MemorySwap': 96 * MIB, 'MemoryReservation': 32 * MIB, 'MemorySwappiness': 33, 'CpuShares': 300, 'CpuPeriod': 50000, 'CpuQuota': 20000,
            'CpusetCpus': '0', 'CpusetMems': '0', 'PidsLimit': 33, 'BlkioDeviceReadBps': [{'Path': '/dev/loop0', 'Rate': 1048576}], 'OomKillDisable': True,
            'BlkioDeviceWriteBps': [{'Path': '/dev/loop0', 'Rate': 2097152}], 'BlkioDeviceReadIOps': [{'Path': '/dev/loop0', 'Rate': 11}],
            'BlkioDeviceWriteIOps': [{'Path': '/dev/loop0', 'Rate': 12}]}
    with running(engine, host) as container:
        for controller, file, value in (
                ('memory', 'memory.limit_in_bytes', str(64 * MIB)), ('memory', 'memory.memsw.limit_in_bytes', str(96 * MIB)),
                ('memory', 'memory.soft_limit_in_bytes', str(32 * MIB)), ('memory', 'memory.swappiness', '33'), ('cpu', 'cpu.shares', '300'),
                ('cpu', 'cpu.cfs_period_us', '50000'), ('cpu', 'cpu.cfs_quota_us', '20000'), ('cpuset', 'cpuset.cpus', '0'), ('cpuset', 'cpuset.mems', '0'),
                ('pids', 'pids.max', '33'), ('blkio', 'blkio.throttle.read_bps_device', '7:0 1048576'), ('blkio', 'blkio.throttle.write_bps_device', '7:0 2097152'),
                ('blkio', 'blkio.throttle.read_iops_device', '7:0 11'), ('blkio', 'blkio.throttle.write_iops_device', '7:0 12')):
            assert cgroup(container, controller, file) == value, file
        assert 'oom_kill_disable 1' in cgroup(container, 'memory', 'memory.oom_control')


@v1_only
@pytest.mark.parametrize('host, file, value', [
    ({'Memory': 32 * MIB}, 'memory.memsw.limit_in_bytes', str(64 * MIB)), ({'Memory': 32 * MIB, 'MemorySwap': 32 * MIB}, 'memory.memsw.limit_in_bytes', str(32 * MIB)),
    ({'Memory': 32 * MIB, 'MemorySwap': -1}, 'memory.memsw.limit_in_bytes', '9223372036854771712')])
def test_swap(engine, host, file, value):
    with running(engine, host) as container:
        assert cgroup(container, 'memory', file) == value


@v1_only
def test_cgroup_parent(engine):
    parent = f'/gt-parent-{os.getpid()}{engine.kind}'
    with running(engine, {'CgroupParent': parent}) as container:
        pid = container.inspect()['State']['Pid']
        assert f'memory:{parent}/{container.id}' in open(f'/proc/{pid}/cgroup').read()
    for controller in os.listdir('/sys/fs/cgroup'):
        path = f'/sys/fs/cgroup/{controller}{parent}'
        if os.path.isdir(path) and not os.path.islink(f'/sys/fs/cgroup/{controller}'):
            # The container's own is tidied up after its removal was answered.
            until(lambda: not any(e.is_dir() for e in os.scandir(path)), 10)
            os.rmdir(path)


def test_bad_block_device(engine):
    with create(engine, {'BlkioDeviceReadBps': [{'Path': '/dev/nosuch', 'Rate': 1}]}) as container:
        assert container.status == 201
        status, answer = container.post('start')
        assert status in (400, 500) and '/dev/nosuch' in answer['message'] and 'no such file' in answer['message']


@pytest.mark.parametrize('user, expect', [
    ('', '0 0 0'), ('nobody', '65534 65534 65534'), ('65534', '65534 65534 65534'), ('12', '12 0 0'), ('12:34', '12 34 34'), ('nobody:0', '65534 0 0'), ('0:nogroup', '0 65534 65534')])
def test_user(engine, user, expect):
    assert shell(engine, 'echo $(id -u) $(id -g) $(id -G)', User=user) == expect


@pytest.mark.parametrize('user', ['nosuch', '0:nosuch', '-1', '4294967296'])
def test_unknown_user(engine, user):
    with create(engine, User=user) as container:
        status, answer = container.post('start')
        assert status in (400, 500) and answer['message']
        assert container.inspect()['State']['Status'] == 'created'


def test_groups(engine):
    assert set(shell(engine, 'id -G', {'GroupAdd': ['7', 'nogroup', '9']}, User='12:34').split()) == {'34', '7', '65534', '9'}
    with create(engine, {'GroupAdd': ['nosuch']}) as container:
        status, answer = container.post('start')
        assert status in (400, 500) and 'nosuch' in answer['message']


@pytest.mark.parametrize('host, expect', [
    ({}, 0xa80425fb), ({'CapDrop': ['ALL']}, 0), ({'CapDrop': ['all'], 'CapAdd': ['chown', 'CAP_KILL']}, 1 | 1 << 5), ({'CapAdd': ['net_admin']}, 0xa80425fb | 1 << 12),
    ({'CapDrop': ['CAP_MKNOD']}, 0xa80425fb & ~(1 << 27))])
def test_capabilities(engine, host, expect):
    assert int(shell(engine, "grep CapEff /proc/self/status", host).split()[1], 16) == expect


def test_all_capabilities_but_one(engine):
    if is_peer(engine):
        pytest.skip('runc grants more than a host without CAP_SYS_RESOURCE has')
    own = int(re.search(r'CapPrm:\s+(\w+)', open('/proc/self/status').read())[1], 16)
    assert int(shell(engine, 'grep CapEff /proc/self/status', {'CapAdd': ['ALL'], 'CapDrop': ['NET_RAW']}).split()[1], 16) == own & ~(1 << 13)


SECCOMP = json.dumps({'defaultAction': 'SCMP_ACT_ALLOW', 'syscalls': [{'names': ['mkdir', 'mkdirat'], 'action': 'SCMP_ACT_ERRNO'}]})


def test_seccomp(engine):
    assert shell(engine, 'grep Seccomp: /proc/self/status').split()[1] == '2'
    assert shell(engine, 'grep Seccomp: /proc/self/status', {'SecurityOpt': ['seccomp=unconfined']}).split()[1] == '0'
    assert shell(engine, 'mkdir /x 2>/dev/null || echo refused', {'SecurityOpt': [f'seccomp={SECCOMP}']}) == 'refused'
    for bad in ('{', '{"defaultAction": "NOSUCH"}', '/no/such/file'):
        with create(engine, {'SecurityOpt': [f'seccomp={bad}']}) as container:
            status, answer = container.post('start') if container.id else (container.status, container.answer)
            assert status in (400, 500) and answer['message']


def test_no_new_privileges(engine):
    for option in ('no-new-privileges', 'no-new-privileges=true', 'no-new-privileges:true', 'no-new-privileges=1'):
        assert shell(engine, 'grep NoNewPrivs /proc/self/status', {'SecurityOpt': [option]}).split()[1] == '1'
    assert shell(engine, 'grep NoNewPrivs /proc/self/status', {'SecurityOpt': ['no-new-privileges=false']}).split()[1] == '0'


def test_label_and_apparmor_of_a_host_without(engine):
    assert shell(engine, 'echo ok', {'SecurityOpt': ['label=disable', 'label=user:x', 'apparmor=unconfined']}) == 'ok'


def test_masked_and_read_only_paths(engine):
    default = shell(engine, 'grep -o " /proc/[a-z]* " /proc/self/mountinfo; wc -c </proc/keys; (echo 1 >/proc/sys/kernel/shmmax) 2>&1 || true')
    assert {'/proc/sys', '/proc/bus', '/proc/keys', '0'} <= set(default.split()) and 'Read-only file system' in default
    own = shell(engine, 'grep -o " /proc/[a-z]* " /proc/self/mountinfo', {'MaskedPaths': ['/proc/keys'], 'ReadonlyPaths': ['/proc/irq']})
    assert sorted(own.split()) == ['/proc/irq', '/proc/keys']
    assert shell(engine, 'grep -c " /proc/" /proc/self/mountinfo || true', {'MaskedPaths': [], 'ReadonlyPaths': []}) == '0'


def test_writable_cgroups(engine):
    script = '[ -w /sys/fs/cgroup/pids ] && mkdir /sys/fs/cgroup/pids/x 2>/dev/null && rmdir /sys/fs/cgroup/pids/x && echo yes || echo no'
    if V2:
        script = script.replace('/pids', '')
    assert shell(engine, script) == 'no'
    if not is_peer(engine):
        assert shell(engine, script, {'SecurityOpt': ['writable-cgroups']}) == 'yes'
        assert shell(engine, script, {'SecurityOpt': ['writable-cgroups=false'], 'Privileged': True}) == 'no'


def test_privileged(engine):
    if is_peer(engine):
        pytest.skip('runc grants more than a host without CAP_SYS_RESOURCE has')
    out = shell(engine, '[ -e /dev/kmsg ] && [ -e /dev/loop0 ] && mkdir /m && mount -t tmpfs x /m && echo 1 >/proc/sys/vm/drop_caches; grep Seccomp: /proc/self/status',
                {'Privileged': True})
    assert out.split() == ['Seccomp:', '0']


@pytest.mark.parametrize('sysctl, value, file', [('net.ipv4.ip_default_ttl', '33', None), ('kernel.msgmax', '9999', None), ('fs.mqueue.msg_max', '20', None), ('kernel.shm_rmid_forced', '1', None)])
def test_sysctl(engine, sysctl, value, file):
    assert shell(engine, f"cat /proc/sys/{sysctl.replace('.', '/')}", {'Sysctls': {sysctl: value}}) == value


@pytest.mark.parametrize('host', [{'Sysctls': {'vm.swappiness': '1'}}, {'Sysctls': {'kernel.hostname': 'x'}}, {'Sysctls': {'net.ipv4.ip_default_ttl': '33'}, 'NetworkMode': 'host'},
                                  {'Sysctls': {'kernel.msgmax': '9999'}, 'IpcMode': 'host'}, {'Sysctls': {'net.ipv4.nosuch': '1'}}, {'Sysctls': {'net/../../kernel.x': '1'}},
                                  {'Sysctls': {'net.ipv4.ip_default_ttl': 'bogus'}}])
def test_bad_sysctl(engine, host):
    with create(engine, host) as container:
        status, answer = container.post('start') if container.id else (container.status, container.answer)
        assert status in (400, 500) and answer['message']


def test_oom_score(engine):
    assert shell(engine, 'cat /proc/self/oom_score_adj', {'OomScoreAdj': 345}) == '345'


def test_ulimits(engine):
    host = {'Ulimits': [{'Name': 'nofile', 'Soft': 100, 'Hard': 200}, {'Name': 'core', 'Soft': 0, 'Hard': 0}]}
    limits = shell(engine, 'cat /proc/self/limits', host)
    assert re.search(r'Max open files +100 +200', limits) and re.search(r'Max core file size +0 +0', limits)
    for bad in ({'Name': 'nosuch', 'Soft': 1, 'Hard': 1}, {'Name': 'nofile', 'Soft': 2, 'Hard': 1}):
        with create(engine, {'Ulimits': [bad]}) as container:
            status, answer = container.post('start') if container.id else (container.status, container.answer)
            assert status in (400, 500) and 'limit' in answer['message'].lower()


def test_ulimit_above_the_daemons(engine):
    """Nobody raises a hard limit without CAP_SYS_RESOURCE."""
    own = re.search(r'Max open files +\d+ +(\d+)', open('/proc/self/limits').read())[1]
    capable = int(re.search(r'CapEff:\s+(\w+)', open('/proc/self/status').read())[1], 16) >> 24 & 1
    with create(engine, {'Ulimits': [{'Name': 'nofile', 'Soft': int(own) + 1, 'Hard': int(own) + 1}]}) as container:
        status, answer = container.post('start')
        if capable:
            assert status == 204
        else:
            assert status in (400, 500) and 'rlimit' in answer['message'].lower() and 'operation not permitted' in answer['message'], answer


def test_devices(engine, tmp_path):
    link = tmp_path / 'link'
    link.symlink_to('/dev/zero')
    folder = tmp_path / 'devices'
    (folder / 'below').mkdir(parents=True)
    os.mknod(folder / 'below' / 'full', 0o20666, os.makedev(1, 7))
    devices = [{'PathOnHost': '/dev/null', 'PathInContainer': '/dev/nothing', 'CgroupPermissions': 'rwm'}, {'PathOnHost': str(link), 'PathInContainer': '/dev/z', 'CgroupPermissions': 'r'},
               {'PathOnHost': str(folder), 'PathInContainer': '/dev/many', 'CgroupPermissions': 'rwm'}, {'PathOnHost': '/dev/loop0', 'PathInContainer': '/dev/disk', 'CgroupPermissions': 'r'}]
    out = shell(engine, 'stat -c "%n %t:%T %F" /dev/nothing /dev/z /dev/many/below/full /dev/disk; head -c 1 /dev/disk >/dev/null; echo $?', {'Devices': devices})
    assert out.splitlines() == ['/dev/nothing 1:3 character special file', '/dev/z 1:5 character special file', '/dev/many/below/full 1:7 character special file',
                                '/dev/disk 7:0 block special file', '0']


@v1_only
def test_device_rules(engine):
    with running(engine, {'DeviceCgroupRules': ['c 42:* rmw', 'b 7:3 r'], 'Devices': [{'PathOnHost': '/dev/loop0', 'PathInContainer': '/dev/d', 'CgroupPermissions': 'rw'}]}) as container:
        rules = cgroup(container, 'devices', 'devices.list').splitlines()
        assert 'c 42:* rwm' in rules and 'b 7:3 r' in rules and 'b 7:0 rw' in rules and 'a *:* rwm' not in rules


@pytest.mark.parametrize('host, words', [
    ({'Devices': [{'PathOnHost': '/dev/nosuch', 'PathInContainer': '/dev/x', 'CgroupPermissions': 'rwm'}]}, 'error gathering device information while adding custom device "/dev/nosuch": no such file or directory'),
    ({'Devices': [{'PathOnHost': '/etc/passwd', 'PathInContainer': '/dev/x', 'CgroupPermissions': 'rwm'}]}, 'error gathering device information while adding custom device "/etc/passwd": not a device node'),
    ({'DeviceCgroupRules': ['bogus']}, "invalid device cgroup rule format: 'bogus'"), ({'DeviceCgroupRules': ['c 1:2 rwmx']}, 'invalid device cgroup rule format'),
    ({'DeviceRequests': [{'Driver': 'nosuch', 'Count': 1, 'Capabilities': [['gpu', 'x'], ['y']]}]}, 'could not select device driver "nosuch" with capabilities: [[gpu x] [y]]'),
    ({'DeviceRequests': [{'Count': -1, 'Capabilities': [['gpu']]}]}, 'could not select device driver "" with capabilities: [[gpu]]'),
])
def test_bad_device(engine, host, words):
    with create(engine, host) as container:
        status, answer = container.post('start') if container.id else (container.status, container.answer)
        assert status in (400, 500) and words in answer['message'], answer


def test_shm(engine):
    assert shell(engine, 'df -k /dev/shm | tail -1', {'ShmSize': 3 * MIB}).split()[1] == '3072'
    assert shell(engine, '[ -d /dev/shm ] && grep -c " /dev/shm " /proc/mounts || echo none', {'IpcMode': 'none'}).split()[-1] == 'none'


def test_ipc_modes(engine):
    own = os.readlink('/proc/self/ns/ipc')
    read = 'readlink /proc/self/ns/ipc'
    assert shell(engine, read) != own and shell(engine, read, {'IpcMode': 'host'}) == own
    with running(engine, {'IpcMode': 'shareable', 'ShmSize': 2 * MIB}, Cmd=['sh', '-c', 'echo here >/dev/shm/f; sleep 100']) as donor:
        script = 'readlink /proc/self/ns/ipc; for i in 1 2 3 4 5 6 7 8 9; do [ -e /dev/shm/f ] && break; sleep 0.1; done; cat /dev/shm/f; df -k /dev/shm | tail -1'
        out = shell(engine, script, {'IpcMode': f'container:{donor.id[:12]}'}).splitlines()
        assert out[0] == os.readlink(f"/proc/{donor.inspect()['State']['Pid']}/ns/ipc") and out[1] == 'here' and out[2].split()[1] == '2048'
        with create(engine, {'IpcMode': f'container:{donor.id[:12]}'}) as joined:
            assert joined.inspect()['HostConfig']['IpcMode'] == f'container:{donor.id}'
    with running(engine, {'IpcMode': 'private'}) as private, create(engine, {'IpcMode': f'container:{private.id}'}) as joined:
        status, answer = joined.post('start')
        assert status in (400, 500) and 'non-shareable IPC' in answer['message'], answer


def test_host_ipc_has_the_hosts_shm(engine):
    name = f'gt-shm-{os.getpid()}'
    pathlib.Path(f'/dev/shm/{name}').write_text('x')
    try:
        assert shell(engine, f'ls /dev/shm/{name}', {'IpcMode': 'host'}) == f'/dev/shm/{name}'
    finally:
        os.unlink(f'/dev/shm/{name}')


def test_pid_modes(engine):
    assert shell(engine, 'echo $$') == '1'
    assert shell(engine, 'readlink /proc/self/ns/pid', {'PidMode': 'host'}) == os.readlink('/proc/self/ns/pid')
    with running(engine) as donor:
        assert shell(engine, 'tr "\\0" " " </proc/1/cmdline', {'PidMode': f'container:{donor.id}'}) == 'sleep 100'


@pytest.mark.parametrize('kind, word', [('PidMode', 'PID'), ('IpcMode', 'IPC'), ('NetworkMode', '')])
def test_joining_nobody(engine, kind, word):
    with create(engine, {kind: 'container:nosuch'}) as container:
        status, answer = container.post('start') if container.id else (container.status, container.answer)
        assert status in (400, 404, 409, 500) and 'No such container: nosuch' in answer['message'], answer
    with create(engine) as stopped, create(engine, {kind: f'container:{stopped.id}'}) as container:
        status, answer = container.post('start')
        assert status in (409, 500) and 'not running' in answer['message'] or 'non running' in answer['message'], answer


def test_uts_and_hostname(engine):
    assert shell(engine, 'hostname; cat /etc/hostname', Hostname='box').split() == ['box', 'box']
    assert shell(engine, 'cat /proc/sys/kernel/domainname; cat /proc/sys/kernel/hostname', Hostname='box', Domainname='example.com').split() == ['example.com', 'box']
    assert shell(engine, 'readlink /proc/self/ns/uts; hostname', {'UTSMode': 'host'}).split()[0] == os.readlink('/proc/self/ns/uts')


def test_shared_network_has_the_others_names(engine):
    with running(engine, Hostname='donor') as donor:
        out = shell(engine, 'hostname; cat /etc/hostname; readlink /proc/self/ns/net; grep -c donor /etc/hosts', {'NetworkMode': f'container:{donor.id}'}).split()
        assert out == ['donor', 'donor', os.readlink(f"/proc/{donor.inspect()['State']['Pid']}/ns/net"), '1']


def test_a_network_that_is_shared_by_who_shares_it(engine):
    with running(engine, Hostname='donor') as donor, running(engine, {'NetworkMode': f'container:{donor.id}'}) as between:
        out = shell(engine, 'hostname; cat /etc/hostname; readlink /proc/self/ns/net', {'NetworkMode': f'container:{between.id}'}).split()
        assert out == ['donor', 'donor', os.readlink(f"/proc/{donor.inspect()['State']['Pid']}/ns/net")]


def test_cgroup_namespace(engine):
    own = os.readlink('/proc/self/ns/cgroup')
    assert shell(engine, 'readlink /proc/self/ns/cgroup', {'CgroupnsMode': 'host'}) == own
    assert shell(engine, 'readlink /proc/self/ns/cgroup', {'CgroupnsMode': 'private'}) != own


def test_init(engine):
    out = shell(engine, 'tr "\\0" " " </proc/1/cmdline; echo; cat /proc/1/comm', {'Init': True}).splitlines()
    assert out[0].startswith('/sbin/docker-init -- sh -c') and out[1] == 'docker-init'
    assert shell(engine, 'echo $$', {'Init': False}) == '1'


def test_read_only_root(engine):
    out = shell(engine, '(echo >/x) 2>&1; echo ok >/dev/shm/x; cat /dev/shm/x; echo t >/t/x; cat /t/x; (echo >/etc/hosts) 2>&1 || true', {'ReadonlyRootfs': True, 'Tmpfs': {'/t': ''}})
    assert out.count('Read-only file system') == 2 and {'ok', 't'} <= set(out.split())


def test_resolv_conf(engine):
    out = shell(engine, 'cat /etc/resolv.conf', {'Dns': ['1.2.3.4', '5.6.7.8'], 'DnsOptions': ['ndots:3', 'rotate'], 'DnsSearch': ['a.example', 'b.example']})
    lines = [line for line in out.splitlines() if line and not line.startswith('#')]
    assert sorted(lines) == ['nameserver 1.2.3.4', 'nameserver 5.6.7.8', 'options ndots:3 rotate', 'search a.example b.example']
    assert 'search' not in shell(engine, 'cat /etc/resolv.conf', {'DnsSearch': ['.']})


def test_extra_hosts(engine):
    out = shell(engine, 'cat /etc/hosts', {'ExtraHosts': ['web:1.2.3.4', 'six:2001:db8::1', 'gate:host-gateway']})
    found = {line.split()[1]: line.split()[0] for line in out.splitlines() if line}
    assert found['web'] == '1.2.3.4' and found['six'] == '2001:db8::1'
    assert re.fullmatch(r'10\.21[34]\.0\.1', found['gate'])


def test_environment_and_command(engine):
    out = shell(engine, 'env; pwd', Env=['A=1', 'B=x=y', 'EMPTY=', 'NOSUCHNAME', 'A=2'], WorkingDir='/made/by/docker/')
    assert {'A=2', 'B=x=y', 'EMPTY=', '/made/by/docker'} <= set(out.splitlines()) and 'NOSUCHNAME' not in out
    with create(engine, Entrypoint=['echo', 'a'], Cmd=['b']) as container:
        assert container.run() == (0, 'a b\n')
    with create(engine, Entrypoint='echo', Cmd=['c']) as container:
        assert container.run() == (0, 'c\n')
    with create(engine, Entrypoint=[], Cmd=['echo', 'd']) as container:
        assert container.run() == (0, 'd\n')
    with create(engine, Entrypoint=['pwd'], Cmd=None) as container:
        assert container.run() == (0, '/\n') and container.inspect()['Config']['Cmd'] is None


def test_environment_of_inspect(engine):
    with create(engine, Env=['A=1']) as container:
        assert container.inspect()['Config']['Env'][0] == 'A=1'


def test_annotations_reach_the_runtime(engine):
    if is_peer(engine):
        pytest.skip('since API 1.43')
    with create(engine, {'Annotations': {'org.example.a': 'b'}}, version='v1.43') as container:
        assert container.inspect()['HostConfig']['Annotations'] == {'org.example.a': 'b'}
    with create(engine, {'Annotations': {'org.example.a': 'b'}}, version='v1.42') as container:
        assert 'Annotations' not in container.inspect()['HostConfig']


def test_older_versions_share_ipc(engine):
    with create(engine, version='v1.39') as container:
        assert container.inspect()['HostConfig']['IpcMode'] == 'shareable'


def test_console_size(engine):
    with create(engine, {'ConsoleSize': [33, 77]}, version='v1.41' if is_peer(engine) else 'v1.42', Tty=True, Cmd=['stty', 'size']) as container:
        code, out = container.run()
        assert code == 0 and (is_peer(engine) or out.split() == ['33', '77'])


def test_network_disabled(engine):
    assert shell(engine, 'ls /sys/class/net', NetworkDisabled=True).split() == ['lo']


def test_mac_address(engine):
    assert shell(engine, 'cat /sys/class/net/eth0/address', MacAddress='02:42:0a:00:00:99') == '02:42:0a:00:00:99'
    with create(engine, MacAddress='bogus') as container:
        status, answer = container.post('start') if container.id else (container.status, container.answer)
        assert status in (400, 500) and 'bogus' in answer['message']


def test_stop_signal(engine):
    script = 'trap "echo got; exit 7" HUP; while :; do sleep 0.05; done'
    with running(engine, Cmd=['sh', '-c', script], StopSignal='HUP', StopTimeout=20) as container:
        until_takes(ask(engine, 'GET', f'/containers/{container.id}/json')['State']['Pid'], signal.SIGHUP)
        assert container.post('stop')[0] == 204
        assert container.wait() == 7


def test_storage_option(engine):
    with create(engine, {'StorageOpt': {'size': '10G'}}) as container:
        assert container.status in (400, 500) and 'size' in container.message.lower() or 'storage-opt' in container.message


@pytest.mark.parametrize('name, fits', [('a', False), ('ab', True), ('a.b-c_d', True), ('-a', False), ('a b', False), ('ä', False), ('/ab', True), ('a/b', False), ('.a', False)])
def test_name(engine, name, fits):
    from harness.created import quote
    with create(engine, query=f'?name={quote(name)}') as container:
        if fits:
            assert container.status == 201
            with create(engine, query=f'?name={quote(name)}') as other:
                assert other.status == 409 and 'is already in use by container' in other.message
        else:
            assert container.status == 400 and 'Invalid container name' in container.message and '[a-zA-Z0-9][a-zA-Z0-9_.-] are allowed' in container.message


def test_platform(engine):
    with create(engine, query='?platform=linux/amd64') as container:
        assert container.status == 201
    with create(engine, query='?platform=linux/s390x') as container:
        assert container.status == 404 and 'was found but' in container.message
    with create(engine, query='?platform=a/b/c/d') as container:
        assert container.status in (400, 500)


UPDATE = {'Memory': 48 * MIB, 'MemorySwap': 64 * MIB, 'MemoryReservation': 16 * MIB, 'CpuShares': 256, 'CpuPeriod': 40000, 'CpuQuota': 30000, 'CpusetCpus': '0', 'CpusetMems': '0', 'PidsLimit': 77}


@v1_only
def test_update(engine):
    with running(engine, {'Memory': 32 * MIB}) as container:
        status, answer = container.post('update', {**UPDATE, 'RestartPolicy': {'Name': 'on-failure', 'MaximumRetryCount': 4}})
        assert status == 200 and not answer['Warnings'], answer
        host = container.inspect()['HostConfig']
        assert {k: host[k] for k in UPDATE} == UPDATE and host['RestartPolicy'] == {'Name': 'on-failure', 'MaximumRetryCount': 4}
        for controller, file, value in (('memory', 'memory.limit_in_bytes', 48 * MIB), ('memory', 'memory.memsw.limit_in_bytes', 64 * MIB), ('memory', 'memory.soft_limit_in_bytes', 16 * MIB),
                                        ('cpu', 'cpu.shares', 256), ('cpu', 'cpu.cfs_period_us', 40000), ('cpu', 'cpu.cfs_quota_us', 30000), ('cpuset', 'cpuset.cpus', 0), ('pids', 'pids.max', 77)):
            assert cgroup(container, controller, file) == str(value), file
        container.post('update', {'PidsLimit': -1})
        assert cgroup(container, 'pids', 'pids.max') == 'max'


@pytest.mark.parametrize('before, asked, words', [
    ({}, {'Memory': 1}, 'Minimum memory limit allowed is 6MB'), ({'NanoCpus': 10 ** 9}, {'CpuQuota': 20000}, 'CPU Quota cannot be updated as NanoCPUs has already been set'),
    ({'CpuPeriod': 20000}, {'NanoCpus': 10 ** 9}, 'Nano CPUs cannot be updated as CPU Period has already been set'),
    ({'Memory': 16 * MIB}, {'Memory': 64 * MIB}, 'Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time'),
    ({'AutoRemove': True}, {'RestartPolicy': {'Name': 'always'}}, 'Restart policy cannot be updated because AutoRemove is enabled for the container'),
    ({}, {'RestartPolicy': {'Name': 'bogus'}}, 'invalid restart policy'), ({}, {'CpusetCpus': '900'}, 'Requested CPUs are not available'), ({}, {'CpuShares': 'x'}, ''),
])
def test_bad_update(engine, before, asked, words):
    with create(engine, before) as container:
        was = container.inspect()['HostConfig']
        status, answer = container.post('update', asked)
        conflict = 'updated' in words or 'swap' in words
        assert status == (409 if conflict else 400) or is_peer(engine) and status == 500
        assert words in answer['message'], answer
        assert container.inspect()['HostConfig'] == was


def test_an_update_of_real_time_that_cannot_be(engine):
    if is_peer(engine):
        pytest.skip('dockerd leaves it to the kernel')
    with create(engine, {}) as container:
        assert container.post('update', {'CpuRealtimePeriod': 1000, 'CpuRealtimeRuntime': 1001})[0] == 400


def test_update_of_nobody(engine):
    status, text, _ = engine.api('POST', '/v1.41/containers/nosuch/update', body='{}')
    assert status == 404 and b'No such container: nosuch' in text
