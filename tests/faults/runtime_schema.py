# SPDX-License-Identifier: Apache-2.0
"""The fields of config.json (runtime-spec 1.3, Linux) as a table, and the bad configurations made from it: each field with
values of each wrong type, each required one absent, each number out of its range, each string with a NUL, and contradictions."""
import copy

# Integers: their lowest and highest value. A list holds the schema of its items, {'*': …} that of any member.
U32, U64, I32, I64 = (0, 2**32 - 1), (0, 2**64 - 1), (-2**31, 2**31 - 1), (-2**63, 2**63 - 1)
MAPPING = {'containerID': U32, 'hostID': U32, 'size': U32}
HOOK = [{'path': str, 'args': [str], 'env': [str], 'timeout': I32}]
THROTTLE = [{'major': I64, 'minor': I64, 'rate': U64}]
PROCESS = {
    'terminal': bool, 'consoleSize': {'height': U32, 'width': U32},
    'user': {'uid': U32, 'gid': U32, 'umask': U32, 'additionalGids': [U32]},
    'args': [str], 'env': [str], 'cwd': str,
    'capabilities': {name: [str] for name in ('bounding', 'effective', 'inheritable', 'permitted', 'ambient')},
    'rlimits': [{'type': str, 'hard': U64, 'soft': U64}],
    'noNewPrivileges': bool, 'apparmorProfile': str, 'oomScoreAdj': I32, 'selinuxLabel': str,
    'scheduler': {'policy': str, 'nice': I32, 'priority': I32, 'flags': [str], 'runtime': U64, 'deadline': U64, 'period': U64},
    'ioPriority': {'class': str, 'priority': I32}, 'execCPUAffinity': {'initial': str, 'final': str},
}
RESOURCES = {
    'devices': [{'allow': bool, 'type': str, 'major': I64, 'minor': I64, 'access': str}],
    'memory': {'limit': I64, 'reservation': I64, 'swap': I64, 'kernel': I64, 'kernelTCP': I64, 'swappiness': U64, 'disableOOMKiller': bool,
               'useHierarchy': bool, 'checkBeforeUpdate': bool},
    'cpu': {'shares': U64, 'quota': I64, 'burst': U64, 'period': U64, 'realtimeRuntime': I64, 'realtimePeriod': U64, 'cpus': str, 'mems': str,
            'idle': I64},
    'pids': {'limit': I64},
    'blockIO': {'weight': U32, 'leafWeight': U32, 'weightDevice': [{'major': I64, 'minor': I64, 'weight': U32, 'leafWeight': U32}],
                'throttleReadBpsDevice': THROTTLE, 'throttleWriteBpsDevice': THROTTLE, 'throttleReadIOPSDevice': THROTTLE,
                'throttleWriteIOPSDevice': THROTTLE},
    'hugepageLimits': [{'pageSize': str, 'limit': U64}],
    'network': {'classID': U32, 'priorities': [{'name': str, 'priority': U32}]},
    'rdma': {'*': {'hcaHandles': U32, 'hcaObjects': U32}}, 'unified': {'*': str},
}
SECCOMP = {
    'defaultAction': str, 'defaultErrnoRet': U32, 'architectures': [str], 'flags': [str], 'listenerPath': str, 'listenerMetadata': str,
    'syscalls': [{'names': [str], 'action': str, 'errnoRet': U32, 'args': [{'index': U32, 'value': U64, 'valueTwo': U64, 'op': str}]}],
}
SCHEMA = {
    'ociVersion': str, 'process': PROCESS, 'root': {'path': str, 'readonly': bool}, 'hostname': str, 'domainname': str,
    'mounts': [{'destination': str, 'type': str, 'source': str, 'options': [str], 'uidMappings': [MAPPING], 'gidMappings': [MAPPING]}],
    'hooks': {name: HOOK for name in ('prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop')},
    'annotations': {'*': str},
    'linux': {
        'uidMappings': [MAPPING], 'gidMappings': [MAPPING], 'sysctl': {'*': str}, 'resources': RESOURCES, 'cgroupsPath': str,
        'namespaces': [{'type': str, 'path': str}],
        'devices': [{'path': str, 'type': str, 'major': I64, 'minor': I64, 'fileMode': U32, 'uid': U32, 'gid': U32}],
        'netDevices': {'*': {'name': str}}, 'seccomp': SECCOMP, 'rootfsPropagation': str, 'maskedPaths': [str], 'readonlyPaths': [str],
        'mountLabel': str,
        'intelRdt': {'closID': str, 'schemata': [str], 'l3CacheSchema': str, 'memBwSchema': str, 'enableMonitoring': bool},
        'memoryPolicy': {'mode': str, 'nodes': str, 'flags': [str]}, 'personality': {'domain': str, 'flags': [str]},
        'timeOffsets': {'*': {'secs': I64, 'nanosecs': U32}},
    },
}
WRONG = {'string': 'word', 'number': 5, 'fraction': 1.5, 'true': True, 'list': ['x'], 'object': {'a': 1}}
# Without them there is no container.
REQUIRED = ['ociVersion', 'root', 'root/path', 'process', 'process/cwd', 'process/args', 'mounts/0/destination', 'linux/namespaces/0/type']
# Members whose strings end up in a system call or a file, where a NUL would cut them.
PATHS = ['process/cwd', 'process/args/0', 'process/env/0', 'root/path', 'hostname', 'domainname', 'mounts/0/destination', 'mounts/0/source',
         'mounts/0/type', 'mounts/0/options/0', 'linux/cgroupsPath', 'linux/maskedPaths/0', 'linux/readonlyPaths/0', 'linux/devices/0/path',
         'linux/namespaces/0/path', 'hooks/prestart/0/path', 'hooks/poststop/0/args/0']


def kinds(schema):
    """The kinds of JSON values that are right for it."""
    if schema is str:
        return {'string'}
    if schema is bool:
        return {'true'}
    return {tuple: {'number'}, list: {'list'}, dict: {'object'}}[type(schema)]


def fields(schema, path=()):
    """Every (path, schema) below; items are at index 0, members of a map at 'some'."""
    for key, inner in schema.items() if isinstance(schema, dict) else [(0, schema[0])] if isinstance(schema, list) else []:
        here = (*path, 'some' if key == '*' else key)
        yield here, inner
        yield from fields(inner, here)


def put(config, path, value):
    """A copy with the value there; what is missing on the way is made."""
    config = copy.deepcopy(config)
    place = config
    for key, following in zip(path, path[1:]):
        empty = [] if isinstance(following, int) else {}
        if isinstance(key, int):
            while len(place) <= key:
                place.append(copy.deepcopy(empty))
        elif not isinstance(place.get(key), (dict, list)):
            place[key] = empty
        place = place[key]
    if isinstance(path[-1], int):
        place[path[-1]:path[-1] + 1] = [value]
    else:
        place[path[-1]] = value
    return config


def without(config, path):
    config = copy.deepcopy(config)
    place = config
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return config


def split(words):
    return tuple(int(word) if word.isdigit() else word for word in words.split('/'))


def generated(base):
    """(what it is, the config, what the error has to name)."""
    for path, schema in fields(SCHEMA):
        where = '/'.join(map(str, path))
        named = next(key for key in reversed(path) if isinstance(key, str) and key != 'some')
        for kind, value in WRONG.items():
            if kind not in kinds(schema):
                yield f'{where}: a {kind}', put(base, path, value), named
        if isinstance(schema, tuple):
            for value in (schema[0] - 1, schema[1] + 1, 10**40):
                yield f'{where}: {value}', put(base, path, value), named
    for where in REQUIRED:
        yield f'{where}: absent', without(base, split(where)), split(where)[-1]
    for where in PATHS:
        yield f'{where}: a NUL', put(base, split(where), '/a\0b'), ''
