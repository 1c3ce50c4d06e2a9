# SPDX-License-Identifier: Apache-2.0
"""Each field of a create request by itself: a value that is not the default is shown by inspect and acts, a bad one is one
clear error, and then there is no container. What acts is looked for in the container's config.json, which dockerd's
containerd and ours both have, in what its first process sees, or in what the engine does.

`DOCUMENTED` has every field that version 1.55 of the API describes: one that is missing in the table fails the last test."""
import contextlib
import json
import os
import signal
import stat
from glob import glob
from pathlib import Path

import pytest
from conftest import pairs

from harness.created import create
from harness.engine import ask, until
from harness.places import IMAGE
from harness.traps import until_takes

V2 = os.path.exists('/sys/fs/cgroup/cgroup.controllers')
MIB = 1 << 20
NEWEST_OF_PEER = 41


@pytest.fixture(scope='module', params=sorted({pair.split(':')[1] for pair in pairs()}))
def engine(request):
    return request.getfixturevalue({'gantry': 'stack', 'peer': 'peer'}[request.param])


@pytest.fixture(scope='module')
def places(engine):
    """A network, a container with a volume, and an image of a directory, that fields can name."""
    made = ask(engine, 'POST', '/networks/create', {'Name': 'fields', 'EnableIPv6': True, 'IPAM': {'Config': [
        {'Subnet': '10.219.0.0/24'}, {'Subnet': 'fd00:219::/64'}]}}, status=201)
    ask(engine, 'POST', '/volumes/create', {'Name': 'fields'}, status=201)
    with create(engine, {'Binds': ['fields:/given']}, query='?name=donor', Cmd=['sh', '-c', 'mkdir /given/sub; echo here >/given/sub/file; sleep 1000']) as donor:
        assert donor.status == 201, donor.message
        donor.start()
        until(lambda: Path(f"/proc/{donor.inspect()['State']['Pid']}/root/given/sub/file").exists())
        yield
    engine.api('DELETE', f"/networks/{made['Id']}")
    engine.api('DELETE', '/volumes/fields')
    # A parent that users name is theirs: no engine takes it away.
    for path in [*glob('/sys/fs/cgroup/*/gt-fields'), *glob('/sys/fs/cgroup/gt-fields')]:
        until(lambda: gone(path))


def gone(path):
    """Removes an empty cgroup; one whose containers are not taken apart yet is busy."""
    with contextlib.suppress(OSError):
        os.rmdir(path)
    return not os.path.exists(path)


class Box:
    """A container that runs, and what it was made of."""
    def __init__(self, engine, container):
        self.engine, self.container = engine, container

    @property
    def found(self):
        return self.container.inspect()

    @property
    def spec(self):
        tops = (f'{self.engine.names.state}/containerd/io.containerd.runtime.v2.task', f'{self.engine.names.state}/exec/containerd/daemon/io.containerd.runtime.v2.task')
        return json.loads(Path(next(path for top in tops for path in glob(f'{top}/*/{self.container.id}/config.json'))).read_text())

    @property
    def resources(self):
        return self.spec['linux']['resources']

    def file(self, path):
        return Path(f"/proc/{self.found['State']['Pid']}/root{path}").read_text()

    def path(self, path):
        return Path(f"/proc/{self.found['State']['Pid']}/root{path}")

    def mount(self, target):
        return next(mount for mount in self.spec['mounts'] if mount['destination'] == target)

    def namespaces(self):
        return {space['type'] for space in self.spec['linux']['namespaces']}


class Field:
    """`good` with what it does; `shown`: what inspect says, if not the same; `bad`: a value that is no good, and words of its error.
    `host`, `config`: what else is asked for. `since`: the API's minor version. `late`: the start finds out. `lax`: dockerd 20.10 takes the
    bad value, later ones do not."""
    def __init__(self, good, acts=None, *, shown=..., bad=None, host=None, config=None, since=0, runs=True, late=False, lax=False):
        self.good, self.acts, self.bad, self.host, self.config = good, acts, bad, host or {}, config or {}
        self.shown = good if shown is ... else shown
        self.since, self.runs, self.late, self.lax = since, runs, late, lax


def throttle(key):
    return Field([{'Path': '/dev/loop0', 'Rate': 1048576}], lambda box: box.resources['blockIO'][key][0]['rate'] == 1048576,
                 bad=([{'Path': '/dev/nosuch', 'Rate': 1}], '/dev/nosuch'), late=True)


def port_of(box, port):
    return box.found['NetworkSettings']['Ports'][port][0]['HostPort']


def ended(box):
    return box.engine.api('GET', f'/containers/{box.container.id}/json')[0] == 404


def kill_and(box, check):
    box.container.post('kill')
    return until(lambda: check(box), 20)


def exit_of(box):
    if box.found['Config'].get('StopSignal'):
        until_takes(box.found['State']['Pid'], signal.SIGHUP)
    box.container.post('stop')
    return box.found['State']['ExitCode']


def restarted_once(box):
    return until(lambda: box.found['RestartCount'] == 1 and box.found['State']['Status'] == 'exited', 20)


ON_SIGNAL = ['sh', '-c', 'trap "exit 7" HUP; while :; do sleep 0.05; done']

HOST = {
    'Annotations': Field({'a': 'b'}, lambda box: box.spec['annotations']['a'] == 'b', bad=({'': 'x'}, 'annotation'), since=43),
    'AutoRemove': Field(True, lambda box: kill_and(box, ended), bad=(True, "can't create 'AutoRemove'"), host={}),
    'Binds': Field(['/tmp:/m:ro'], lambda box: {'ro', 'rro'} & set(box.mount('/m')['options']), bad=(['a:b:c:d'], 'invalid')),
    'BlkioDeviceReadBps': throttle('throttleReadBpsDevice'), 'BlkioDeviceWriteBps': throttle('throttleWriteBpsDevice'),
    'BlkioDeviceReadIOps': throttle('throttleReadIOPSDevice'), 'BlkioDeviceWriteIOps': throttle('throttleWriteIOPSDevice'),
    'BlkioWeight': Field(300, None if V2 else (lambda box: any('weight' in w.lower() for w in box.container.warnings)), shown=... if V2 else 0, bad=(5, 'weight' if V2 else None)),
    'BlkioWeightDevice': Field([{'Path': '/dev/loop0', 'Weight': 300}], None if V2 else (lambda box: any('weight_device' in w.lower() for w in box.container.warnings)),
                               shown=... if V2 else None),
    'CapAdd': Field(['NET_ADMIN'], lambda box: 'CAP_NET_ADMIN' in box.spec['process']['capabilities']['bounding'], shown=None, bad=(['BOGUS'], 'unknown capability')),
    'CapDrop': Field(['CHOWN'], lambda box: 'CAP_CHOWN' not in box.spec['process']['capabilities']['bounding'], shown=None, bad=(['BOGUS'], 'unknown capability')),
    'Cgroup': Field('kept', None),
    'CgroupParent': Field('/gt-fields', lambda box: box.spec['linux']['cgroupsPath'].startswith('/gt-fields/')),
    'CgroupnsMode': Field('host' if V2 else 'private', lambda box: ('cgroup' in box.namespaces()) != V2, bad=('bogus', 'invalid cgroup namespace mode: bogus')),
    'ConsoleSize': Field([33, 77], lambda box: box.spec['process']['consoleSize'] == {'height': 33, 'width': 77}, config={'Tty': True}, since=42),
    'ContainerIDFile': Field('/x', None),
    'CpuCount': Field(0, None), 'CpuPercent': Field(5, lambda box: any('CPU percent' in w for w in box.container.warnings), shown=0),
    'IOMaximumBandwidth': Field(0, None, bad=(1, 'maximum bandwidth')), 'IOMaximumIOps': Field(0, None, bad=(1, 'maximum IOPs')),
    'CpuPeriod': Field(50000, lambda box: box.resources['cpu']['period'] == 50000, bad=(999, 'CPU cfs period can not be less')),
    'CpuQuota': Field(25000, lambda box: box.resources['cpu']['quota'] == 25000, bad=(999, 'CPU cfs quota can not be less')),
    'CpuRealtimePeriod': Field(900000, lambda box: box.resources['cpu']['realtimePeriod'] == 900000),
    # The parent cgroup of the tests has no real-time budget to give.
    'CpuRealtimeRuntime': Field(0, None, host={'CpuRealtimePeriod': 1000}, bad=(1001, 'cpu real-time runtime cannot be higher')),
    'CpuShares': Field(512, lambda box: box.resources['cpu']['shares'] == 512, bad=(-1, 'invalid CPU shares'), lax=True),
    'CpusetCpus': Field('0', lambda box: box.resources['cpu']['cpus'] == '0', bad=('900', 'Requested CPUs are not available')),
    'CpusetMems': Field('0', lambda box: box.resources['cpu']['mems'] == '0', bad=('77', 'Requested memory nodes are not available')),
    'DeviceCgroupRules': Field(['c 42:* rw'], lambda box: any(d.get('major') == 42 and d['allow'] for d in box.resources['devices']), bad=(['bogus'], 'invalid device cgroup rule'), late=True),
    'DeviceRequests': Field([], None, shown=None, bad=([{'Count': -1, 'Capabilities': [['gpu']]}], 'could not select device driver'), late=True),
    'Devices': Field([{'PathOnHost': '/dev/zero', 'PathInContainer': '/dev/z', 'CgroupPermissions': 'r'}], lambda box: stat.S_ISCHR(box.path('/dev/z').stat().st_mode),
                     bad=([{'PathOnHost': '/dev/nosuch', 'PathInContainer': '/dev/x', 'CgroupPermissions': 'r'}], '/dev/nosuch'), late=True),
    'Dns': Field(['192.0.2.1'], lambda box: 'nameserver 192.0.2.1\n' in box.file('/etc/resolv.conf'), bad=(['nosuch'], 'nosuch'), lax=True),
    'DnsOptions': Field(['ndots:3'], lambda box: 'ndots:3' in box.file('/etc/resolv.conf')),
    'DnsSearch': Field(['a.example'], lambda box: 'search a.example\n' in box.file('/etc/resolv.conf')),
    'ExtraHosts': Field(['h:192.0.2.1'], lambda box: '192.0.2.1\th\n' in box.file('/etc/hosts'), bad=(['x'], 'bad format for add-host: "x"')),
    'GroupAdd': Field(['7'], lambda box: 7 in box.spec['process']['user']['additionalGids'], bad=(['nosuch'], 'nosuch'), late=True),
    'Init': Field(True, lambda box: box.spec['process']['args'][0] == '/sbin/docker-init'),
    'IpcMode': Field('host', lambda box: 'ipc' not in box.namespaces(), bad=('bogus', 'IPC mode'), lax=True),
    'Isolation': Field('default', None, shown=None, bad=('hyperv', "only supports 'default'")),
    'Links': Field(['donor:friend'], lambda box: '\tfriend' in box.file('/etc/hosts'), shown=None, bad=(['nosuch:a'], 'nosuch'), late=True),
    'LogConfig': Field({'Type': 'none', 'Config': {}}, lambda box: box.engine.api('GET', f'/containers/{box.container.id}/logs?stdout=1')[0] >= 400, bad=({'Type': 'bogus', 'Config': {}}, 'bogus')),
    'MaskedPaths': Field(['/proc/keys'], lambda box: box.spec['linux']['maskedPaths'] == ['/proc/keys']),
    'Memory': Field(32 * MIB, lambda box: box.resources['memory']['limit'] == 32 * MIB, bad=(1, 'Minimum memory limit')),
    'MemoryReservation': Field(16 * MIB, lambda box: box.resources['memory']['reservation'] == 16 * MIB, bad=(1, 'Minimum memory reservation')),
    'MemorySwap': Field(64 * MIB, lambda box: box.resources['memory']['swap'] == 64 * MIB, host={'Memory': 32 * MIB}, bad=(MIB, 'memoryswap limit')),
    'MemorySwappiness': Field(20, None if V2 else (lambda box: box.resources['memory']['swappiness'] == 20), shown=None if V2 else ..., bad=(101, 'swappiness')),
    'Mounts': Field([{'Type': 'tmpfs', 'Target': '/t'}], lambda box: box.mount('/t')['type'] == 'tmpfs', bad=([{'Type': 'bogus', 'Target': '/t'}], 'bogus')),
    'NanoCpus': Field(500000000, lambda box: (box.resources['cpu']['quota'], box.resources['cpu']['period']) == (50000, 100000), bad=(-1, 'ange of CPUs is from')),
    'NetworkMode': Field('none', lambda box: not box.found['NetworkSettings']['IPAddress'], bad=('container:nosuch', 'nosuch'), late=True),
    'OomKillDisable': Field(True, None if V2 else (lambda box: box.resources['memory']['disableOOMKiller']), shown=None if V2 else ..., host={'Memory': 32 * MIB}),
    'OomScoreAdj': Field(300, lambda box: box.spec['process']['oomScoreAdj'] == 300, bad=(1001, 'oom score adj')),
    'PidMode': Field('host', lambda box: 'pid' not in box.namespaces(), bad=('bogus', 'PID mode'), lax=True),
    'PidsLimit': Field(50, lambda box: box.resources['pids']['limit'] == 50),
    'PortBindings': Field({'80/tcp': [{'HostIp': '127.0.0.1', 'HostPort': '18490'}]}, lambda box: port_of(box, '80/tcp') == '18490', config={'ExposedPorts': {'80/tcp': {}}}, bad=({'80/tcp': [{'HostPort': '99999'}]}, '99999')),
    'Privileged': Field(True, None, runs=False),
    'PublishAllPorts': Field(True, lambda box: int(port_of(box, '81/tcp')) > 1023, config={'ExposedPorts': {'81/tcp': {}}}),
    'ReadonlyPaths': Field(['/proc/sys'], lambda box: box.spec['linux']['readonlyPaths'] == ['/proc/sys']),
    'ReadonlyRootfs': Field(True, lambda box: box.spec['root']['readonly']),
    'RestartPolicy': Field({'Name': 'on-failure', 'MaximumRetryCount': 1}, restarted_once, config={'Cmd': ['false']}, bad=({'Name': 'bogus'}, 'restart policy')),
    'Runtime': Field('runc', None, bad=('bogus', 'bogus')),
    'SecurityOpt': Field(['no-new-privileges'], lambda box: box.spec['process']['noNewPrivileges'], bad=(['bogus'], '--security-opt'), late=True),
    'ShmSize': Field(3 * MIB, lambda box: os.statvfs(box.path('/dev/shm')).f_blocks * os.statvfs(box.path('/dev/shm')).f_frsize == 3 * MIB, bad=(-1, 'SHM size')),
    'StorageOpt': Field({}, None, shown=None, bad=({'size': '10G'}, 'storage-opt'), late=True),
    'Sysctls': Field({'net.ipv4.ip_forward': '0'}, lambda box: box.spec['linux']['sysctl']['net.ipv4.ip_forward'] == '0', bad=({'nosuch.name': '1'}, 'nosuch'), late=True),
    'Tmpfs': Field({'/t': 'size=1m'}, lambda box: 'size=1m' in box.mount('/t')['options'], bad=({'/': ''}, "destination can't be '/'")),
    'UTSMode': Field('host', lambda box: 'uts' not in box.namespaces(), bad=('bogus', 'UTS mode'), lax=True),
    'Ulimits': Field([{'Name': 'core', 'Soft': 5, 'Hard': 10}], lambda box: {'type': 'RLIMIT_CORE', 'soft': 5, 'hard': 10} in box.spec['process']['rlimits'],
                     bad=([{'Name': 'nosuch', 'Soft': 1, 'Hard': 1}], 'nosuch'), late=True),
    'UsernsMode': Field('host', None, bad=('bogus', 'user'), lax=True),
    'VolumeDriver': Field('local', lambda box: box.found['Mounts'][0]['Driver'] == 'local', config={'Volumes': {'/v': {}}}, bad=('nosuch', 'nosuch')),
    'VolumesFrom': Field(['donor'], lambda box: box.path('/given/sub/file').read_text() == 'here\n', bad=(['nosuch'], 'nosuch')),
}

CONFIG = {
    'ArgsEscaped': Field(True), 'AttachStdin': Field(True), 'AttachStdout': Field(True), 'AttachStderr': Field(True), 'OnBuild': Field(['RUN x']), 'Shell': Field(['/bin/sh']),
    'Cmd': Field(['sleep', '77'], lambda box: box.spec['process']['args'] == ['sleep', '77']),
    'Domainname': Field('d.test', lambda box: 'd.test' in json.dumps(box.spec) or 'h.d.test' in box.file('/etc/hosts'), config={'Hostname': 'h'}),
    'Entrypoint': Field(['sleep'], lambda box: box.spec['process']['args'] == ['sleep', '88'], config={'Cmd': ['88']}),
    'Env': Field(['A=b'], lambda box: 'A=b' in box.spec['process']['env'], shown=None, bad=([''], 'invalid environment variable')),
    'ExposedPorts': Field({'82/udp': {}}, lambda box: box.found['NetworkSettings']['Ports'] == {'82/udp': None}, bad=({'x/tcp': {}}, ''), late=True, lax=True),
    'Healthcheck': Field({'Test': ['CMD', 'true'], 'Interval': 100000000}, lambda box: until(lambda: box.found['State']['Health']['Status'] == 'healthy', 20),
                         bad=({'Interval': 1}, 'Interval in Healthcheck cannot be less than 1ms')),
    'Hostname': Field('box', lambda box: (box.spec['hostname'], box.file('/etc/hostname')) == ('box', 'box\n')),
    'Image': Field(IMAGE, None, bad=('nosuch/image', 'No such image: nosuch/image')),
    'Labels': Field({'l': 'v'}, lambda box: box.container.id in [c['Id'] for c in ask(box.engine, 'GET', '/containers/json?filters=%7B%22label%22%3A%5B%22l%3Dv%22%5D%7D')], shown=None),
    'NetworkDisabled': Field(True, lambda box: not box.found['NetworkSettings']['IPAddress']),
    'OpenStdin': Field(True, lambda box: kill_and(box, lambda box: box.found['State']['ExitCode'] == 137), config={'Cmd': ['cat']}),
    'StdinOnce': Field(True, None, config={'OpenStdin': True}),
    'StopSignal': Field('SIGHUP', lambda box: exit_of(box) == 7, config={'Cmd': ON_SIGNAL, 'StopTimeout': 20}, bad=('BOGUS', 'BOGUS')),
    'StopTimeout': Field(0, lambda box: exit_of(box) == 137),
    'Tty': Field(True, lambda box: box.spec['process']['terminal']),
    'User': Field('nobody', lambda box: box.spec['process']['user']['uid'] == 65534, bad=('nosuch', 'nosuch'), late=True),
    'Volumes': Field({'/v': {}}, lambda box: box.found['Mounts'][0]['Type'] == 'volume'),
    'WorkingDir': Field('/made', lambda box: box.spec['process']['cwd'] == '/made', bad=('relative', 'it needs to be an absolute path')),
}


def mount(**fields):
    return {'Type': 'bind', 'Source': '/tmp', 'Target': '/m', **fields}


def has_option(word, there=True):
    return lambda box: (word in box.mount('/m')['options']) == there


def of_volume(options, acts, bad=None, **more):
    bad = (mount(Type='volume', Source='fields', VolumeOptions=bad[0]), bad[1]) if bad else None
    return Field(mount(Type='volume', Source='fields', VolumeOptions=options), acts, bad=bad, **more)


def of_tmpfs(options, acts, bad=None, **more):
    bad = ({'Type': 'tmpfs', 'Target': '/m', 'TmpfsOptions': bad[0]}, bad[1]) if bad else None
    return Field({'Type': 'tmpfs', 'Target': '/m', 'TmpfsOptions': options}, acts, bad=bad, **more)


def of_bind(bad=None, more=None, **options):
    return mount(BindOptions={**options, **(bad or {})}, **(more or {}))


def labels_of(box):
    name = box.found['Mounts'][0]['Name']
    labels = ask(box.engine, 'GET', f'/volumes/{name}')['Labels']
    return {key: value for key, value in labels.items() if key != 'com.docker.volume.anonymous'}


MOUNT = {
    'Type': Field({'Type': 'tmpfs', 'Target': '/m'}, lambda box: box.mount('/m')['type'] == 'tmpfs', bad=(mount(Type=''), '')),
    'Source': Field(mount(), lambda box: box.found['Mounts'][0]['Source'] == '/tmp', bad=(mount(Source='/nosuch'), 'bind source path does not exist: /nosuch')),
    'Target': Field(mount(Target='/other'), lambda box: box.mount('/other') is not None, bad=(mount(Target='relative'), 'mount path must be absolute')),
    'ReadOnly': Field(mount(ReadOnly=True), lambda box: {'ro', 'rro'} & set(box.mount('/m')['options'])),
    'Consistency': Field(mount(Consistency='cached')),
    'BindOptions.Propagation': Field(of_bind(Propagation='private'), has_option('private'), bad=(of_bind(Propagation='bogus'), 'bogus')),
    'BindOptions.NonRecursive': Field(of_bind(NonRecursive=True), lambda box: 'rbind' not in box.mount('/m')['options'] and 'bind' in box.mount('/m')['options']),
    'BindOptions.CreateMountpoint': Field(of_bind(CreateMountpoint=True, more={'Source': '/tmp/gt-fields-made'}), lambda box: os.rmdir('/tmp/gt-fields-made') is None, since=42),
    'BindOptions.ReadOnlyNonRecursive': Field(of_bind(ReadOnlyNonRecursive=True, more={'ReadOnly': True}), has_option('rro', False), since=44,
                                              bad=(of_bind(ReadOnlyNonRecursive=True), 'ReadOnlyNonRecursive')),
    'BindOptions.ReadOnlyForceRecursive': Field(of_bind(ReadOnlyForceRecursive=True, Propagation='rprivate', more={'ReadOnly': True}), has_option('rro'), since=44,
                                                bad=(of_bind(ReadOnlyForceRecursive=True), 'ReadOnlyForceRecursive')),
    'VolumeOptions.NoCopy': Field({'Type': 'volume', 'Target': '/etc', 'VolumeOptions': {'NoCopy': True}}, lambda box: not box.path('/etc/passwd').exists()),
    'VolumeOptions.Labels': Field({'Type': 'volume', 'Target': '/m', 'VolumeOptions': {'Labels': {'a': 'b'}}}, lambda box: labels_of(box) == {'a': 'b'}),
    'VolumeOptions.DriverConfig': Field({'Type': 'volume', 'Target': '/m', 'VolumeOptions': {'DriverConfig': {'Name': 'local', 'Options': {'type': 'tmpfs', 'device': 'tmpfs'}}}},
                                        lambda box: ask(box.engine, 'GET', f"/volumes/{box.found['Mounts'][0]['Name']}")['Options'] == {'type': 'tmpfs', 'device': 'tmpfs'},
                                        bad=({'Type': 'volume', 'Target': '/m', 'VolumeOptions': {'DriverConfig': {'Name': 'nosuch'}}}, 'nosuch')),
    'VolumeOptions.Subpath': of_volume({'Subpath': 'sub'}, lambda box: box.file('/m/file') == 'here\n', bad=({'Subpath': '../x'}, 'ubpath'), since=45),
    'ImageOptions.Subpath': Field({'Type': 'image', 'Source': IMAGE, 'Target': '/m', 'ImageOptions': {'Subpath': 'etc'}}, lambda box: 'root:' in box.file('/m/passwd'), since=48,
                                  bad=({'Type': 'image', 'Source': IMAGE, 'Target': '/m', 'ImageOptions': {'Subpath': '../x'}}, 'ubpath')),
    'TmpfsOptions.SizeBytes': of_tmpfs({'SizeBytes': MIB}, lambda box: os.statvfs(box.path('/m')).f_blocks * os.statvfs(box.path('/m')).f_frsize == MIB,
                                       bad=({'SizeBytes': -1}, 'size'), lax=True),
    'TmpfsOptions.Mode': of_tmpfs({'Mode': 0o700}, lambda box: box.path('/m').stat().st_mode & 0o7777 == 0o700),
    'TmpfsOptions.Options': of_tmpfs({'Options': [['exec']]}, lambda box: 'noexec' not in box.mount('/m')['options'], bad=({'Options': [['bogus']]}, 'bogus'), since=46),
}


def endpoint(box):
    return box.found['NetworkSettings']['Networks']['fields']


ENDPOINT = {
    'Aliases': Field(['a1'], lambda box: 'a1' in endpoint(box)['Aliases'], shown=None),
    'DriverOpts': Field({'a': 'b'}, lambda box: endpoint(box)['DriverOpts'] == {'a': 'b'}),
    'GwPriority': Field(5, since=48),
    'IPAMConfig.IPv4Address': Field({'IPv4Address': '10.219.0.77'}, lambda box: endpoint(box)['IPAddress'] == '10.219.0.77', bad=({'IPv4Address': 'x'}, 'nvalid'), late=True),
    'IPAMConfig.IPv6Address': Field({'IPv6Address': 'fd00:219::77'}, lambda box: endpoint(box)['GlobalIPv6Address'] == 'fd00:219::77', bad=({'IPv6Address': 'x'}, 'nvalid'), late=True),
    'IPAMConfig.LinkLocalIPs': Field({'LinkLocalIPs': ['169.254.7.7']}, lambda box: '169.254.7.7' in addresses(box), bad=({'LinkLocalIPs': ['x']}, 'nvalid'), late=True),
    'Links': Field(['donor:pal']),
    'MacAddress': Field('02:42:0a:db:00:99', lambda box: endpoint(box)['MacAddress'] == '02:42:0a:db:00:99', since=44, bad=('nosuch', 'nosuch')),
}


def addresses(box):
    with open(f"/proc/{box.found['State']['Pid']}/net/fib_trie") as table:
        return table.read()


ALL = [(part, name, field) for part, fields in (('HostConfig', HOST), ('Config', CONFIG), ('Mount', MOUNT), ('Endpoint', ENDPOINT)) for name, field in fields.items()]


def body_of(part, name, field, value):
    host, config = dict(field.host), dict(field.config)
    if part == 'HostConfig':
        host[name] = value
    elif part == 'Config':
        config[name] = value
    elif part == 'Mount':
        host['Mounts'] = [value]
    else:
        host['NetworkMode'] = 'fields'
        config['NetworkingConfig'] = {'EndpointsConfig': {'fields': {name.split('.')[0]: value}}}
    return host, {'Cmd': ['sleep', '1000'], **config}


def shown_by(found, part, name):
    if part == 'Mount':
        return found['HostConfig']['Mounts'][0]
    if part == 'Endpoint':
        return found['NetworkSettings']['Networks']['fields'].get(name.split('.')[0])
    return found[part].get(name)


def version_for(engine, field):
    if engine.kind == 'p':
        if field.since > NEWEST_OF_PEER:
            pytest.skip(f'since 1.{field.since}')
        return f'v1.{NEWEST_OF_PEER}'
    return 'v1.51'


def names_of_all(cases):
    return [f'{part}.{name}' for part, name, *_ in cases]


@pytest.mark.parametrize('part, name, field', ALL, ids=names_of_all(ALL))
def test_a_value_is_shown_and_acts(engine, places, part, name, field):
    version = version_for(engine, field)
    host, config = body_of(part, name, field, field.good)
    with create(engine, host, version=version, **config) as container:
        assert container.status == 201, container.message
        found = container.inspect()
        if field.shown is not None:
            assert shown_by(found, part, name) == field.shown
        if not field.runs:
            return
        container.start()
        if field.acts:
            assert field.acts(Box(engine, container)), name


BAD = [case for case in ALL if case[2].bad and case[2].bad[1] is not None and case[1] != 'AutoRemove']


@pytest.mark.parametrize('part, name, field', BAD, ids=names_of_all(BAD))
def test_a_bad_value_is_one_error_and_makes_nothing(engine, places, part, name, field):
    version = version_for(engine, field)
    if engine.kind == 'p' and field.lax:
        pytest.skip('20.10 takes it')
    value, words = field.bad
    host, config = body_of(part, name, field, value)
    before = {c['Id'] for c in ask(engine, 'GET', '/containers/json?all=1')}
    volumes = {v['Name'] for v in ask(engine, 'GET', '/volumes')['Volumes']}
    with create(engine, host, version=version, **config) as container:
        status, message = container.status, container.message
        made = {c['Id'] for c in ask(engine, 'GET', '/containers/json?all=1')} - before
        if container.id:
            assert field.late, f'{value} was taken'
            status, answer = container.post('start')
            assert status >= 400, f'{value} was taken'
            message = answer['message']
            made -= {container.id}
        assert 400 <= status < 500 or engine.kind == 'p', (status, message)
        assert words.lower() in message.lower() and '\n' not in message, message
        assert made == set()
        assert container.id or {v['Name'] for v in ask(engine, 'GET', '/volumes')['Volumes']} == volumes


def of_a_wrong_type(value):
    if isinstance(value, bool) or isinstance(value, int):
        return 'x'
    return 5 if isinstance(value, str) else ({'a': 1} if isinstance(value, list) else ['a'])


TYPED = [case for case in ALL if case[0] in ('HostConfig', 'Config')]


@pytest.mark.parametrize('part, name, field', TYPED, ids=names_of_all(TYPED))
def test_a_value_of_a_wrong_type(engine, places, part, name, field):
    version = version_for(engine, field)
    host, config = body_of(part, name, field, of_a_wrong_type(field.good))
    with create(engine, host, version=version, **config) as container:
        # dockerd says 400 since 23.
        assert container.id == '' and container.status == (500 if engine.kind == 'p' else 400), container.answer
        assert name.lower() in container.message.lower(), container.answer


DOCUMENTED = {
    'Config': {*'''ArgsEscaped AttachStderr AttachStdin AttachStdout Cmd Domainname Entrypoint Env ExposedPorts Healthcheck Hostname Image Labels NetworkDisabled
        OnBuild OpenStdin Shell StdinOnce StopSignal StopTimeout Tty User Volumes WorkingDir'''.split()},
    'HostConfig': {*'''Annotations AutoRemove Binds BlkioDeviceReadBps BlkioDeviceReadIOps BlkioDeviceWriteBps BlkioDeviceWriteIOps BlkioWeight BlkioWeightDevice CapAdd
        CapDrop Cgroup CgroupParent CgroupnsMode ConsoleSize ContainerIDFile CpuCount CpuPercent CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime CpuShares
        CpusetCpus CpusetMems DeviceCgroupRules DeviceRequests Devices Dns DnsOptions DnsSearch ExtraHosts GroupAdd IOMaximumBandwidth IOMaximumIOps Init IpcMode Isolation
        Links LogConfig MaskedPaths Memory MemoryReservation MemorySwap MemorySwappiness Mounts NanoCpus NetworkMode OomKillDisable OomScoreAdj PidMode PidsLimit
        PortBindings Privileged PublishAllPorts ReadonlyPaths ReadonlyRootfs RestartPolicy Runtime SecurityOpt ShmSize StorageOpt Sysctls Tmpfs UTSMode Ulimits UsernsMode
        VolumeDriver VolumesFrom'''.split()},
    'Mount': {*'''Type Source Target ReadOnly Consistency BindOptions.Propagation BindOptions.NonRecursive BindOptions.CreateMountpoint BindOptions.ReadOnlyNonRecursive
        BindOptions.ReadOnlyForceRecursive VolumeOptions.NoCopy VolumeOptions.Labels VolumeOptions.DriverConfig VolumeOptions.Subpath ImageOptions.Subpath
        TmpfsOptions.SizeBytes TmpfsOptions.Mode TmpfsOptions.Options'''.split()},
    'Endpoint': {*'''Aliases DriverOpts GwPriority IPAMConfig.IPv4Address IPAMConfig.IPv6Address IPAMConfig.LinkLocalIPs Links MacAddress'''.split()},
}


@pytest.mark.parametrize('part', sorted(DOCUMENTED))
def test_all_of_them_are_tried(part):
    assert {name for kind, name, _ in ALL if kind == part} == DOCUMENTED[part]
