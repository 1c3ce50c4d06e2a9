# SPDX-License-Identifier: Apache-2.0
"""Bad configurations, generated from the schema of the fields (runtime_schema.py): each gives one line of error, exit code
1, and leaves no state, cgroup, mount or process."""
import json

import pytest

import runtime_schema as schema
from harness.bare import Bare

LONG = 'x' * 5000  # longer than a path or a name may be
HUGE = 'y' * (8 << 20)


def at(where, value):
    return lambda base: schema.put(base, schema.split(where), value)


def both(*changes):
    def change(base):
        for one in changes:
            base = one(base)
        return base
    return change


def more(where, *values):
    """Appends to the list that is there."""
    def change(base):
        place = base
        for key in schema.split(where):
            place = place[key]
        return schema.put(base, schema.split(where), [*place, *values])
    return change


def no_namespace(kind):
    return lambda base: schema.put(base, ('linux', 'namespaces'), [n for n in base['linux']['namespaces'] if n['type'] != kind])


BIND = {'destination': '/tmp', 'type': 'bind', 'source': '/no/such', 'options': ['bind']}
RULE = {'names': ['getpid'], 'action': 'SCMP_ACT_ALLOW'}
FILTER = {'defaultAction': 'SCMP_ACT_ALLOW', 'architectures': ['SCMP_ARCH_X86_64'], 'syscalls': [RULE]}


def rule(**members):
    return at('linux/seccomp', {**FILTER, 'syscalls': [{**RULE, **members}]})


# What is wrong, how it is made, and a word of the error.
CONTRADICTIONS = [
    ('ociVersion: unknown', at('ociVersion', '2.0.0'), 'ociVersion'), ('ociVersion: empty', at('ociVersion', ''), 'ociVersion'),
    ('root.path: not there', at('root/path', '/no/such'), '/no/such'), ('root.path: a file', at('root/path', '/etc/passwd'), '/etc/passwd'),
    ('root.path: empty', at('root/path', ''), 'root.path'), ('root.path: long', at('root/path', '/' + LONG), ''),
    ('process.args: empty', at('process/args', []), 'process.args'), ('process.args: not there', at('process/args', ['/no/such']), '/no/such'),
    ('process.args: a directory', at('process/args', ['/bin']), '/bin'), ('process.args: empty program', at('process/args', ['']), ''),
    ('process.args: not executable', at('process/args', ['/etc/plain']), 'permission denied'),
    ('process.args: long', at('process/args', ['/' + LONG]), ''), ('process.cwd: relative', at('process/cwd', 'tmp'), 'process.cwd'),
    ('process.cwd: empty', at('process/cwd', ''), 'process.cwd'), ('process.cwd: a file', at('process/cwd', '/bin/busybox'), '/bin/busybox'),
    ('process.cwd: long', at('process/cwd', '/' + LONG), ''),
    ('process.terminal: without a console', at('process/terminal', True), 'terminal'),
    ('process.user.uid: -1', at('process/user/uid', 2**32 - 1), 'process.user'), ('process.user.gid: -1', at('process/user/gid', 2**32 - 1), 'process.user'),
    ('process.user.umask: too large', at('process/user/umask', 0o1000), 'umask'),
    ('process.rlimits: unknown', at('process/rlimits', [{'type': 'RLIMIT_X', 'hard': 1, 'soft': 1}]), 'RLIMIT_X'),
    ('process.rlimits: twice', at('process/rlimits', [{'type': 'RLIMIT_CORE', 'hard': 1, 'soft': 1}] * 2), 'RLIMIT_CORE'),
    ('process.rlimits: soft above hard', at('process/rlimits', [{'type': 'RLIMIT_CORE', 'hard': 1, 'soft': 2}]), 'RLIMIT_CORE'),
    ('process.oomScoreAdj: too large', at('process/oomScoreAdj', 2000), 'oomScoreAdj'),
    ('process.scheduler: unknown policy', at('process/scheduler', {'policy': 'SCHED_X'}), 'SCHED_X'),
    ('process.scheduler: unknown flag', at('process/scheduler', {'policy': 'SCHED_OTHER', 'flags': ['X']}), 'scheduler.flags'),
    ('process.scheduler: a priority of an ordinary one', at('process/scheduler', {'policy': 'SCHED_OTHER', 'priority': 5}), 'scheduler'),
    ('process.ioPriority: unknown class', at('process/ioPriority', {'class': 'X', 'priority': 1}), 'ioPriority'),
    ('process.ioPriority: no such level', at('process/ioPriority', {'class': 'IOPRIO_CLASS_BE', 'priority': 100}), 'ioPriority'),
    ('process.selinuxLabel: no SELinux', at('process/selinuxLabel', 'system_u:system_r:x_t:s0'), 'selinuxLabel'),
    ('process.apparmorProfile: no such', at('process/apparmorProfile', 'gt-no-such-profile'), 'apparmorProfile'),
    ('hostname: long', at('hostname', LONG), LONG[:10]), ('domainname: long', at('domainname', LONG), LONG[:10]),
    ('hostname: without a namespace', no_namespace('uts'), 'hostname'),
    ('mounts: no type', more('mounts', {'destination': '/tmp', 'source': 'x'}), '/tmp'),
    ('mounts: unknown type', more('mounts', {'destination': '/tmp', 'type': 'nofs', 'source': 'x'}), 'nofs'),
    ('mounts: unknown option', more('mounts', {'destination': '/tmp', 'type': 'tmpfs', 'source': 'x', 'options': ['nosuchoption']}), 'nosuchoption'),
    ('mounts: long option', more('mounts', {'destination': '/tmp', 'type': 'tmpfs', 'source': 'x', 'options': [LONG]}), ''),
    ('mounts: long destination', more('mounts', {'destination': '/' + LONG, 'type': 'tmpfs', 'source': 'x'}), ''),
    ('mounts: empty destination', more('mounts', {'destination': '', 'type': 'tmpfs', 'source': 'x'}), 'destination'),
    ('mounts: destination below a file', more('mounts', {'destination': '/bin/busybox/x', 'type': 'tmpfs', 'source': 'x'}), '/bin/busybox/x'),
    ('mounts: a bind of nothing', more('mounts', BIND), '/no/such'), ('mounts: a bind of an empty path', more('mounts', {**BIND, 'source': ''}), ''),
    ('mounts: a directory on a file', more('mounts', {**BIND, 'source': '/etc', 'destination': '/bin/busybox'}), '/bin/busybox'),
    ('mounts: a file on a directory', more('mounts', {**BIND, 'source': '/etc/passwd'}), '/tmp'),
    ('mounts: mappings of one kind', more('mounts', {**BIND, 'uidMappings': [{'containerID': 0, 'hostID': 0, 'size': 1}]}), 'gidMappings'),
    ('mounts: bad tmpfs size', more('mounts', {'destination': '/tmp', 'type': 'tmpfs', 'source': 'x', 'options': ['size=many']}), 'size'),
    ('hooks: relative path', at('hooks/prestart/0/path', 'true'), 'hooks.prestart[0].path'),
    ('hooks: no path', at('hooks/createRuntime/0', {'args': ['x']}), 'createRuntime'),
    ('hooks: no time', at('hooks/prestart/0', {'path': '/bin/true', 'timeout': 0}), 'timeout'),
    ('hooks: failing prestart', at('hooks/prestart/0/path', '/bin/false'), '/bin/false'),
    ('hooks: missing prestart', at('hooks/prestart/0/path', '/no/such'), '/no/such'),
    ('hooks: failing createRuntime', at('hooks/createRuntime/0/path', '/bin/false'), 'createRuntime'),
    ('hooks: failing createContainer', at('hooks/createContainer/0/path', '/bin/false'), 'createContainer'),
    ('hooks: slow', at('hooks/createRuntime/0', {'path': '/bin/sleep', 'args': ['sleep', '100'], 'timeout': 1}), 'timeout'),
    ('linux.namespaces: twice', more('linux/namespaces', {'type': 'pid'}), 'pid'), ('linux.namespaces: unknown', more('linux/namespaces', {'type': 'x'}), 'namespaces'),
    ('linux.namespaces: relative path', at('linux/namespaces/0/path', 'ns'), 'namespaces'),
    ('linux.namespaces: no such path', at('linux/namespaces/0/path', '/no/such'), '/no/such'),
    ('linux.namespaces: no namespace', at('linux/namespaces/0/path', '/etc/passwd'), '/etc/passwd'),
    ('linux.namespaces: of another kind', at('linux/namespaces/1', {'type': 'network', 'path': '/proc/self/ns/uts'}), '/proc/self/ns/uts'),
    ('linux.namespaces: a user one without mappings', more('linux/namespaces', {'type': 'user'}), 'uidMappings'),
    ('linux.uidMappings: overlapping', both(more('linux/namespaces', {'type': 'user'}), at('linux/uidMappings', [{'containerID': 0, 'hostID': 0, 'size': 10}] * 2),
                                            at('linux/gidMappings', [{'containerID': 0, 'hostID': 0, 'size': 10}])), 'uid_map'),
    ('linux.sysctl: of the host', at('linux/sysctl', {'kernel.core_pattern': '|/bin/x'}), 'kernel.core_pattern'),
    ('linux.sysctl: with a plus', at('linux/sysctl', {'kernel.shm_rmid_forced': '1+kernel.core_pattern=x'}), 'shm_rmid_forced'),
    ('linux.sysctl: up', at('linux/sysctl', {'net/../kernel/core_pattern': 'x'}), 'bad name'), ('linux.sysctl: unknown', at('linux/sysctl', {'net.nosuch': '1'}), 'net.nosuch'),
    ('linux.sysctl: without a namespace', both(no_namespace('network'), at('linux/sysctl', {'net.ipv4.ip_forward': '1'})), 'network'),
    ('linux.cgroupsPath: the root', at('linux/cgroupsPath', '/'), 'cgroupsPath'), ('linux.cgroupsPath: up', at('linux/cgroupsPath', '/../..'), 'cgroupsPath'),
    ('linux.cgroupsPath: long', at('linux/cgroupsPath', '/' + LONG), ''),
    ('linux.resources: swap below memory', at('linux/resources/memory', {'limit': 64 << 20, 'swap': 1 << 20}), 'memory'),
    ('linux.resources: no such processor', at('linux/resources/cpu/cpus', '4096'), 'cpuset.cpus'), ('linux.resources: no processors', at('linux/resources/cpu/cpus', 'x'), 'cpuset.cpus'),
    ('linux.resources: no such node', at('linux/resources/cpu/mems', '900'), 'cpuset.mems'), ('linux.resources: short quota', at('linux/resources/cpu/quota', 1), 'cfs_quota'),
    ('linux.resources: long period', at('linux/resources/cpu/period', 10**12), 'cfs_period'),
    ('linux.resources: device type', at('linux/resources/devices', [{'allow': True, 'type': 'x'}]), 'devices'),
    ('linux.resources: device access', at('linux/resources/devices', [{'allow': True, 'type': 'c', 'access': 'z'}]), 'access'),
    ('linux.resources: page size', at('linux/resources/hugepageLimits', [{'pageSize': '../x', 'limit': 1}]), 'pageSize'),
    ('linux.resources: page size unknown', at('linux/resources/hugepageLimits', [{'pageSize': '3MB', 'limit': 1}]), 'huge'),
    ('linux.resources: rdma', at('linux/resources/rdma', {'x y': {'hcaHandles': 1}}), 'rdma'),
    ('linux.resources: unified', at('linux/resources/unified', {'../x': '1'}), 'unified'), ('linux.resources: throttle', at('linux/resources/blockIO/throttleReadBpsDevice', [{'major': 999, 'minor': 999, 'rate': 1}]), 'throttle'),
    ('linux.resources: interface', at('linux/resources/network/priorities', [{'name': 'nosuch0', 'priority': 1}]), 'net_prio'),
    ('linux.devices: relative', at('linux/devices', [{'path': 'x', 'type': 'c', 'major': 1, 'minor': 3}]), 'devices'),
    ('linux.devices: type', at('linux/devices', [{'path': '/dev/x', 'type': 'x', 'major': 1, 'minor': 3}]), 'devices'),
    ('linux.devices: on a directory', at('linux/devices', [{'path': '/bin', 'type': 'c', 'major': 1, 'minor': 3}]), '/bin'),
    ('linux.devices: no name', at('linux/devices', [{'path': '/dev/..', 'type': 'c', 'major': 1, 'minor': 3}]), '/dev/..'),
    ('linux.rootfsPropagation: unknown', at('linux/rootfsPropagation', 'sharing'), 'rootfsPropagation'),
    ('linux.maskedPaths: relative', at('linux/maskedPaths', ['proc']), 'maskedPaths'), ('linux.readonlyPaths: relative', at('linux/readonlyPaths', ['proc']), 'readonlyPaths'),
    ('linux.maskedPaths: long', at('linux/maskedPaths', ['/' + LONG]), ''), ('linux.readonlyPaths: long', at('linux/readonlyPaths', ['/' + LONG]), ''),
    ('linux.personality: unknown', at('linux/personality', {'domain': 'BSD'}), 'personality'), ('linux.personality: flags', at('linux/personality', {'domain': 'LINUX', 'flags': ['X']}), 'personality'),
    ('linux.memoryPolicy: unknown', at('linux/memoryPolicy', {'mode': 'MPOL_X'}), 'memoryPolicy'), ('linux.memoryPolicy: nodes', at('linux/memoryPolicy', {'mode': 'MPOL_BIND', 'nodes': '9999'}), 'memoryPolicy'),
    ('linux.timeOffsets: clock', at('linux/timeOffsets', {'realtime': {'secs': 1}}), 'timeOffsets'),
    ('linux.seccomp: action', rule(action='SCMP_ACT_X'), 'seccomp'), ('linux.seccomp: no default', at('linux/seccomp', {'syscalls': []}), 'seccomp'),
    ('linux.seccomp: operator', rule(args=[{'index': 0, 'value': 1, 'op': 'X'}]), 'seccomp'), ('linux.seccomp: argument', rule(args=[{'index': 6, 'value': 1, 'op': 'SCMP_CMP_EQ'}]), 'seccomp'),
    ('linux.seccomp: architecture', at('linux/seccomp', {**FILTER, 'architectures': ['X']}), 'seccomp'), ('linux.seccomp: flag', at('linux/seccomp', {**FILTER, 'flags': ['X']}), 'seccomp'),
    ('linux.seccomp: no listener', at('linux/seccomp', {**FILTER, 'listenerPath': '/no/such', 'syscalls': [{**RULE, 'action': 'SCMP_ACT_NOTIFY'}]}), 'listenerPath'),
    ('linux.seccomp: notify without a listener', rule(action='SCMP_ACT_NOTIFY'), 'seccomp'),
    ('huge: a string', at('process/apparmorProfile', HUGE), ''), ('huge: a host name', at('hostname', HUGE), ''),
    ('huge: one argument', at('process/args', ['/bin/true', HUGE]), 'argument list too long'),
    ('huge: arguments', at('process/args', ['/bin/true'] + ['x' * 1000] * 8000), 'argument list too long'),
    ('huge: environment', at('process/env', ['A=' + 'x' * 1000] * 8000), 'argument list too long'),
    ('huge: groups', at('process/user/additionalGids', list(range(70000))), 'groups'),
]
DOCUMENTS = {
    'empty': b'', 'blank': b' \n', 'nothing': b'null', 'a list': b'[]', 'a word': b'"x"', 'a NUL': b'\0', 'not UTF-8': b'{"ociVersion":"1.3.0\xff"}', 'two': b'{}{}',
    'cut': json.dumps({'ociVersion': '1.3.0'}).encode()[:-1], 'deep lists': b'[' * 200000, 'deep objects': b'{"a":' * 200000, 'a comment': b'// x\n{}',
    'a mark': b'\xef\xbb\xbf' + b'{', 'bad escape': b'{"ociVersion":"\\x"}', 'bad number': b'{"a": 01}',
}


@pytest.fixture(scope='module')
def bare():
    made = Bare()
    (made.root / 'etc/plain').write_text('no program\n')
    yield made
    made.destroy()


def refused(bare, what, config, word, verb='create'):
    """None, or what is not as it should be."""
    name = bare.name()
    bare.write(config)
    # Files, since a container that is made all the same would keep a pipe open.
    with open(bare.folder / 'out', 'w+') as out, open(bare.folder / 'err', 'w+') as err:
        done = bare.call(verb, name, stdout=out, stderr=err)
        out.seek(0)
        err.seek(0)
        output, error = out.read(), err.read()
    if done.returncode == 0:
        bare.call('delete', '--force', name)
        return f'{what}: it was taken'
    if done.returncode != 1 or output != '' or error.count('\n') != 1 or not error.startswith('gantry-runtime: '):
        return f'{what}: exit code {done.returncode}, output {output[:200]!r}, error {error[:300]!r}'
    if word not in error:
        return f'{what}: {word!r} is not in {error[:300]!r}'
    left = bare.left()
    return f'{what}: left {left}' if left else None


def test_the_base_is_good(bare):
    name = bare.name()
    bare.write(bare.config())
    assert bare.call('run', name).returncode == 0 and bare.left() == []


def test_generated(bare, capsys):
    cases = list(schema.generated(bare.config()))
    assert len(cases) > 1000
    wrong = [text for text in (refused(bare, *case) for case in cases) if text]
    with capsys.disabled():
        print(f'\nbad configurations: {len(cases)} generated')
    assert wrong == [], '\n'.join(wrong)


@pytest.mark.parametrize('what, change, word', CONTRADICTIONS, ids=[c[0] for c in CONTRADICTIONS])
def test_contradictions(bare, what, change, word):
    # What only the kernel refuses at the exec is seen by `run`.
    wrong = refused(bare, what, change(bare.config()), word, 'run' if 'too long' in word or word == 'groups' else 'create')
    assert wrong is None, wrong


@pytest.mark.parametrize('what', DOCUMENTS)
def test_documents(bare, what):
    wrong = refused(bare, what, DOCUMENTS[what], 'config.json')
    assert wrong is None, wrong
