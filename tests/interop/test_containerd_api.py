# SPDX-License-Identifier: Apache-2.0
"""Each RPC of containerd's API once with good input, with bad input and for an object that is not there: first on
Debian's containerd, then on gantry-containerd, which must answer with the same codes. The RPCs are counted from protos/
and by the daemon's reflection: one that is not called here fails the run."""
import hashlib
import json
import re
import threading
import time

import grpc
import pytest

from harness.bare import CONFIG
from harness.containerd import DebianContainerd, GantryContainerd, busybox_root
from harness.engine import UnixConnection, until
from harness.grpc_api import Api, any_of, as_dict, message, rpcs, services

# Debian's containerd 1.6 has no such service or method.
NOT_IN_PEER = {'Introspection/PluginInfo', 'Streaming/Stream', 'Transfer/Transfer',
               *(f'Mounts/{m}' for m in ('Activate', 'Deactivate', 'Info', 'Update', 'List')),
               *(f'Store/{m}' for m in ('Create', 'Update', 'Delete', 'List', 'Get')),
               *(f'Controller/{m}' for m in ('Create', 'Start', 'Platform', 'Stop', 'Wait', 'Status', 'Shutdown', 'Metrics', 'Update'))}
# Where containerd 1.6 has no code but "unknown", gantry has one: gantry's, the peer's (docs/containerd-differences.md).
DIFFERENT = {'Snapshots/List': ('INVALID_ARGUMENT', 'UNKNOWN'), 'Events/Subscribe': ('INVALID_ARGUMENT', 'UNKNOWN'),
             'Tasks/Metrics': ('INVALID_ARGUMENT', 'UNKNOWN'), 'Diff/Diff': ('NOT_FOUND', 'UNKNOWN'), 'Tasks/Delete': ('FAILED_PRECONDITION', 'UNKNOWN')}
ROOT = 'containerd.io/gc.root'
SPEC = 'types.containerd.io/opencontainers/runtime-spec/1/Spec'
PROCESS = 'types.containerd.io/opencontainers/runtime-spec/1/Process'
RESOURCES = 'types.containerd.io/opencontainers/runtime-spec/1/LinuxResources'
ABSENT = 'sha256:' + '0' * 64
LAYER = 'application/vnd.oci.image.layer.v1.tar'


class World:
    """One daemon with its client, and what was seen of each RPC: kind of case → code."""

    def __init__(self, daemon, folder):
        self.daemon, self.peer, self.folder = daemon, isinstance(daemon, DebianContainerd), folder
        self.api = Api(daemon.socket)
        self.root = busybox_root(folder / 'rootfs')
        self.seen = {}

    def note(self, rpc, kind, code):
        self.seen.setdefault(rpc, {})[kind] = code

    def good(self, rpc, request=None, **options):
        if self.peer and rpc in NOT_IN_PEER:
            self.refuses(rpc)
            return None
        answer = self.api(rpc, request, **options)
        self.note(rpc, 'good', 'OK')
        return answer

    def fails(self, kind, rpc, code, request=None, **options):
        if self.peer and rpc in NOT_IN_PEER:
            return
        with pytest.raises(grpc.RpcError) as raised:
            self.api(rpc, request, **options)
        assert raised.value.code().name == code, f'{rpc} {kind}: {raised.value.code().name} {raised.value.details()}'
        assert raised.value.details(), f'{rpc}: an error without words'
        self.note(rpc, kind, code)

    def bad(self, rpc, code, request=None, **options):
        self.fails('bad', rpc, code, request, **options)

    def missing(self, rpc, code, request=None, **options):
        self.fails('missing', rpc, code, request, **options)

    def homeless(self, rpc, request=None, **options):
        """Bad input of a call whose every request is good: no namespace."""
        self.fails('bad', rpc, 'FAILED_PRECONDITION', request, space='', **options)

    def refuses(self, rpc):
        with pytest.raises(grpc.RpcError) as raised:
            self.api(rpc, [] if rpc == 'Streaming/Stream' else None)
        assert raised.value.code().name == 'UNIMPLEMENTED', rpc
        self.note(rpc, 'good', 'UNIMPLEMENTED')

    def blob(self, data, labels=None, rpc='Content/Write'):
        """Labelled as a root: what nothing refers to may be collected at any moment."""
        digest = 'sha256:' + hashlib.sha256(data).hexdigest()
        # WRITE is 1, COMMIT 2.
        self.good(rpc, [{'action': 1, 'ref': digest, 'total': len(data), 'expected': digest, 'data': data},
                        {'action': 2, 'offset': len(data), 'total': len(data), 'expected': digest, 'labels': {ROOT: 'x', **(labels or {})}}])
        return digest

    def spec(self, *command, **process):
        config = json.loads(json.dumps(CONFIG))
        config['process'].update(args=list(command), **process)
        config['root'] = {'path': 'rootfs'}
        config['linux']['cgroupsPath'] = f'{self.daemon.cgroup}/api'
        return any_of(SPEC, json.dumps(config).encode())

    def container(self, name, *command, **process):
        return self.good('Containers/Create', container={
            'id': name, 'image': 'none', 'runtime': {'name': 'io.containerd.runc.v2', 'options': self.options()}, 'spec': self.spec(*command, **process)})

    def options(self):
        """runc's state among the test's own files."""
        return any_of('containerd.runc.v1.Options', message('containerd.runc.v1.Options', root=f'{self.daemon.names.state}/runc'))

    def mounts(self):
        return [{'type': 'bind', 'source': str(self.root), 'options': ['rbind', 'rw']}]


@pytest.fixture(scope='module', params=['peer', 'gantry'])
def world(request, tmp_path_factory):
    daemon = {'peer': DebianContainerd, 'gantry': GantryContainerd}[request.param]()
    try:
        daemon.start(*(['--debug-address', f'{daemon.names.state}/debug.sock'] if request.param == 'gantry' else []))
        world = World(daemon, tmp_path_factory.mktemp('world'))
        yield world
        world.api.close()
    finally:
        left = daemon.destroy()
    assert left == []


# These take nothing that could be wrong.
WITHOUT_BAD = {'Version/Version', 'Introspection/Server', 'Namespaces/List', 'Health/Watch', 'Introspection/PluginInfo'}
# These name no object, or one that comes into being by it.
WITHOUT_OBJECT = {
    'Version/Version', 'Health/Watch', 'Introspection/Server', 'Introspection/Plugins', 'Namespaces/List', 'Namespaces/Create', 'Namespaces/Get',
    'Namespaces/Update', 'Containers/List', 'Containers/ListStream', 'Containers/Create', 'Content/List', 'Content/ListStatuses', 'Events/Publish',
    'Events/Forward', 'Events/Subscribe', 'Images/List', 'Images/Create', 'Leases/Create', 'Leases/List', 'Mounts/Activate', 'Mounts/List', 'Store/Create',
    'Store/List', 'Snapshots/List', 'Snapshots/Cleanup', 'Streaming/Stream', 'Tasks/List', 'Tasks/Metrics', 'Controller/Stop', 'Controller/Status'}


def test_version_health_introspection(world):
    assert world.good('Version/Version').version
    assert world.good('Health/Check').status == 1
    world.bad('Health/Check', 'NOT_FOUND', service='nosuch')
    world.note('Health/Check', 'missing', 'NOT_FOUND')
    stream = world.api.open('Health/Watch')
    assert next(stream).status == 1
    world.note('Health/Watch', 'good', 'OK')
    stream.cancel()
    assert len(world.good('Introspection/Server').uuid) == 36
    plugins = world.good('Introspection/Plugins').plugins
    assert {'io.containerd.snapshotter.v1', 'io.containerd.content.v1', 'io.containerd.grpc.v1'} <= {p.type for p in plugins}
    few = world.api('Introspection/Plugins', filters=['type==io.containerd.snapshotter.v1,id~=^over']).plugins
    assert [p.id for p in few] == ['overlayfs']
    few = world.api('Introspection/Plugins', filters=['type==io.containerd.snapshotter.v1, id == overlayfs']).plugins
    assert [p.id for p in few] == ['overlayfs']
    world.bad('Introspection/Plugins', 'INVALID_ARGUMENT', filters=['type=='])
    world.good('Introspection/PluginInfo', type='io.containerd.snapshotter.v1', id='overlayfs')
    world.missing('Introspection/PluginInfo', 'NOT_FOUND', type='io.containerd.snapshotter.v1', id='nosuch')
    if world.peer:
        return
    request = message('containerd.types.RuntimeRequest', runtime_path='io.containerd.runc.v2')
    about = {'type': 'io.containerd.runtime.v2', 'id': 'task', 'options': any_of('containerd.types.RuntimeRequest', request)}
    extra = world.good('Introspection/PluginInfo', **about).extra
    info = message('containerd.types.RuntimeInfo')
    assert extra.type_url == 'containerd.types.RuntimeInfo'
    info.ParseFromString(extra.value)
    assert info.name and '"rro"' in info.features.value.decode()
    world.bad('Introspection/PluginInfo', 'UNIMPLEMENTED', **{**about, 'type': 'io.containerd.snapshotter.v1', 'id': 'overlayfs'})


def test_the_first_namespace_counts(world):
    """A context that was made from another one sends its own namespace before the other's."""
    world.api('Namespaces/Create', namespace={'name': 'first'})
    world.api('Leases/Create', id='l1', space='first', metadata=[('containerd-namespace', 'second')])
    assert [lease.id for lease in world.api('Leases/List', space='first').leases] == ['l1']
    world.api('Leases/Delete', id='l1', space='first')
    world.api('Namespaces/Delete', name='first')


def test_a_blob_that_is_taken_over_stays(world):
    """A namespace that writes what another one has needs not send it, and has it though the other deletes it meanwhile."""
    digest = world.blob(b'shared by two')
    deleted = threading.Event()

    def takes_over():
        kind = 'containerd.services.content.v1.WriteContentRequest'
        yield message(kind, action=0, ref='over', total=13, expected=digest)
        assert deleted.wait(20)
        yield message(kind, action=2, ref='over', offset=13, total=13, expected=digest, labels={ROOT: 'x'})
    world.api('Namespaces/Create', namespace={'name': 'heir'})
    stream = world.api.open('Content/Write', takes_over(), space='heir')
    assert next(stream).offset == 13
    world.api('Content/Delete', digest=digest)
    deleted.set()
    assert next(stream).digest == digest
    assert b''.join(m.data for m in world.api('Content/Read', digest=digest, space='heir')) == b'shared by two'
    world.api('Content/Delete', digest=digest, space='heir')
    world.api('Namespaces/Delete', name='heir')


def test_namespaces(world):
    created = world.good('Namespaces/Create', namespace={'name': 'n1', 'labels': {'a': 'b'}})
    assert created.namespace.labels['a'] == 'b'
    world.bad('Namespaces/Create', 'INVALID_ARGUMENT', namespace={'name': 'with blank'})
    assert world.api.code('Namespaces/Create', namespace={'name': 'n1'}) == 'ALREADY_EXISTS'
    assert world.good('Namespaces/Get', name='n1').namespace.labels['a'] == 'b'
    world.note('Namespaces/Get', 'bad', world.api.code('Namespaces/Get', name='nosuch'))
    assert 'n1' in {n.name for n in world.good('Namespaces/List').namespaces}
    updated = world.good('Namespaces/Update', namespace={'name': 'n1', 'labels': {'c': 'd'}}, update_mask={'paths': ['labels.c']})
    assert updated.namespace.name in ('n1', '') and dict(world.api('Namespaces/Get', name='n1').namespace.labels) == {'a': 'b', 'c': 'd'}
    world.bad('Namespaces/Update', 'INVALID_ARGUMENT', namespace={'name': 'n1'}, update_mask={'paths': ['name']})
    world.missing('Namespaces/Delete', 'NOT_FOUND', name='nosuch')
    world.api('Leases/Create', space='n1', id='l')
    world.api('Containers/Create', space='n1', container={'id': 'c', 'runtime': {'name': 'x'}, 'spec': world.spec('true')})
    world.bad('Namespaces/Delete', 'FAILED_PRECONDITION', name='n1')
    world.api('Containers/Delete', space='n1', id='c')
    world.api('Leases/Delete', space='n1', id='l')
    world.good('Namespaces/Delete', name='n1')


def test_containers(world):
    made = world.container('c1', 'true').container
    assert made.id == 'c1' and made.created_at.seconds > 0
    world.container('c2', 'true')
    assert world.api.code('Containers/Create', container={'id': 'c1', 'runtime': {'name': 'x'}, 'spec': world.spec('true')}) == 'ALREADY_EXISTS'
    world.bad('Containers/Create', 'INVALID_ARGUMENT', container={'id': 'a b', 'runtime': {'name': 'x'}, 'spec': world.spec('true')})
    for lacking in ({'runtime': {'name': 'x'}}, {'spec': world.spec('true')}):
        assert world.api.code('Containers/Create', container={'id': 'c3', **lacking}) == 'INVALID_ARGUMENT'
    assert world.good('Containers/Get', id='c1').container.image == 'none'
    world.missing('Containers/Get', 'NOT_FOUND', id='nosuch')
    world.homeless('Containers/Get', id='c1')
    for rpc in ('Containers/List', 'Containers/ListStream'):
        def ids(*filters, rpc=rpc):
            found = world.good(rpc, filters=filters)
            return [c.id for c in found.containers] if rpc.endswith('List') else [m.container.id for m in found]
        assert ids() == ['c1', 'c2'] and ids('id==c2') == ['c2'] and ids('id==c2', 'id==c1') == ['c1', 'c2']
        assert ids('id~=^c[2-9]$,image==none') == ['c2'] and ids('labels.x') == [] and ids('runtime.name!=io.containerd.runc.v2') == []
        world.bad(rpc, 'INVALID_ARGUMENT', filters=['id=='])
    updated = world.good('Containers/Update', container={'id': 'c1', 'labels': {'x.y': 'z'}, 'image': 'ignored'}, update_mask={'paths': ['labels.x.y']})
    assert dict(updated.container.labels) == {'x.y': 'z'} and updated.container.image == 'none'
    assert [c.id for c in world.api('Containers/List', filters=['labels."x.y"==z']).containers] == ['c1']
    world.bad('Containers/Update', 'INVALID_ARGUMENT', container={'id': 'c1'}, update_mask={'paths': ['created_at']})
    world.missing('Containers/Update', 'NOT_FOUND', container={'id': 'nosuch'}, update_mask={'paths': ['labels.x']})
    assert world.api.code('Containers/Update', container={'id': 'c1', 'labels': {'k': 'v' * 4096}}, update_mask={'paths': ['labels.k']}) == 'INVALID_ARGUMENT'
    world.homeless('Containers/Delete', id='c1')
    world.missing('Containers/Delete', 'NOT_FOUND', id='nosuch')
    for name in ('c1', 'c2'):
        world.good('Containers/Delete', id=name)


def test_content(world):
    data = b'content of a blob' * 10
    digest = world.blob(data)
    world.bad('Content/Write', 'INVALID_ARGUMENT', [{'action': 1, 'data': b'x'}])
    world.missing('Content/Write', 'FAILED_PRECONDITION', [{'action': 1, 'ref': 'r1', 'data': b'x'}, {'action': 2, 'offset': 1, 'total': 1, 'expected': ABSENT}])
    assert world.api.code('Content/Write', [{'action': 1, 'ref': 'r2', 'expected': digest}]) == 'ALREADY_EXISTS'
    info = world.good('Content/Info', digest=digest).info
    assert info.size == len(data) and info.labels[ROOT] == 'x'
    world.bad('Content/Info', 'INVALID_ARGUMENT', digest='nodigest')
    world.missing('Content/Info', 'NOT_FOUND', digest=ABSENT)
    updated = world.good('Content/Update', info={'digest': digest, 'labels': {'a': 'b'}}, update_mask={'paths': ['labels.a']}).info
    assert dict(updated.labels) == {'a': 'b', ROOT: 'x'}
    world.bad('Content/Update', 'INVALID_ARGUMENT', info={'digest': digest}, update_mask={'paths': ['size']})
    world.missing('Content/Update', 'NOT_FOUND', info={'digest': ABSENT, 'labels': {'a': 'b'}}, update_mask={'paths': ['labels.a']})
    assert [i.digest for m in world.good('Content/List', filters=['labels.a==b']) for i in m.info] == [digest]
    world.bad('Content/List', 'INVALID_ARGUMENT', filters=['labels.a=='])
    assert b''.join(m.data for m in world.good('Content/Read', digest=digest, offset=3, size=5)) == data[3:8]
    assert b''.join(m.data for m in world.good('Content/Read', digest=digest, offset=3, size=10**6)) == data[3:]
    world.bad('Content/Read', 'OUT_OF_RANGE', digest=digest, offset=len(data) + 1)
    world.missing('Content/Read', 'NOT_FOUND', digest=ABSENT)
    world.api('Content/Write', [{'action': 1, 'ref': 'open', 'data': b'half'}])
    assert world.good('Content/Status', ref='open').status.offset == 4
    world.missing('Content/Status', 'NOT_FOUND', ref='nosuch')
    world.homeless('Content/Status', ref='open')
    assert 'open' in [s.ref for s in world.good('Content/ListStatuses').statuses]
    world.homeless('Content/ListStatuses')
    world.good('Content/Abort', ref='open')
    world.missing('Content/Abort', 'NOT_FOUND', ref='open')
    world.homeless('Content/Abort', ref='open')
    world.bad('Content/Delete', 'INVALID_ARGUMENT', digest='nodigest')
    world.good('Content/Delete', digest=digest)
    world.missing('Content/Delete', 'NOT_FOUND', digest=digest)


def test_messages_of_16_mebibytes(world):
    """The largest message that clients send; a bit more is refused as such."""
    data = b'\0' * ((16 << 20) - 4096)
    world.blob(data)
    assert world.api.code('Content/Write', [{'action': 1, 'ref': 'large', 'data': b'\0' * (16 << 20)}]) == 'RESOURCE_EXHAUSTED'
    world.api('Content/Delete', digest='sha256:' + hashlib.sha256(data).hexdigest())


def test_images(world):
    digest = world.blob(b'{"image": 1}')
    target = {'media_type': 'application/vnd.oci.image.manifest.v1+json', 'digest': digest, 'size': 12}
    assert world.good('Images/Create', image={'name': 'i1', 'target': target, 'labels': {'a': 'b'}}).image.created_at.seconds > 0
    world.bad('Images/Create', 'INVALID_ARGUMENT', image={'name': '', 'target': target})
    assert world.api.code('Images/Create', image={'name': 'i1', 'target': target}) == 'ALREADY_EXISTS'
    assert world.good('Images/Get', name='i1').image.target.digest == digest
    world.missing('Images/Get', 'NOT_FOUND', name='nosuch')
    world.homeless('Images/Get', name='i1')
    for expression in ('name==i1', f'target.digest=={digest}', 'labels.a', 'target.mediatype~=manifest'):
        assert [i.name for i in world.good('Images/List', filters=[expression]).images] == ['i1'], expression
    assert not world.api('Images/List', filters=['name!=i1']).images
    world.bad('Images/List', 'INVALID_ARGUMENT', filters=['name~='])
    updated = world.good('Images/Update', image={'name': 'i1', 'labels': {'c': 'd'}}, update_mask={'paths': ['labels']}).image
    assert dict(updated.labels) == {'c': 'd'} and updated.target.digest == digest
    world.bad('Images/Update', 'INVALID_ARGUMENT', image={'name': 'i1'}, update_mask={'paths': ['name']})
    world.missing('Images/Update', 'NOT_FOUND', image={'name': 'nosuch', 'target': target}, update_mask={'paths': ['labels']})
    world.homeless('Images/Delete', name='i1')
    world.missing('Images/Delete', 'NOT_FOUND', name='nosuch')
    world.api('Content/Update', info={'digest': digest}, update_mask={'paths': [f'labels.{ROOT}']})
    world.good('Images/Delete', name='i1', sync=True)
    assert world.api.code('Content/Info', digest=digest) == 'NOT_FOUND'


def test_leases(world):
    assert world.good('Leases/Create', id='l1', labels={'a': 'b'}).lease.id == 'l1'
    assert world.api.code('Leases/Create', id='l1') == 'ALREADY_EXISTS'
    world.homeless('Leases/Create', id='l2')
    assert [l.id for l in world.good('Leases/List', filters=['labels.a==b']).leases] == ['l1']
    world.bad('Leases/List', 'INVALID_ARGUMENT', filters=['labels.a=='])
    digest = world.blob(b'leased')
    content = {'id': digest, 'type': 'content'}
    world.good('Leases/AddResource', id='l1', resource=content)
    world.missing('Leases/AddResource', 'NOT_FOUND', id='nosuch', resource=content)
    world.bad('Leases/AddResource', 'UNIMPLEMENTED', id='l1', resource={'id': 'x', 'type': 'nosuch'})
    assert [(r.type, r.id) for r in world.good('Leases/ListResources', id='l1').resources] == [('content', digest)]
    world.missing('Leases/ListResources', 'NOT_FOUND', id='nosuch')
    world.homeless('Leases/ListResources', id='l1')
    world.good('Leases/DeleteResource', id='l1', resource=content)
    world.missing('Leases/DeleteResource', 'NOT_FOUND', id='nosuch', resource=content)
    world.bad('Leases/DeleteResource', 'UNIMPLEMENTED', id='l1', resource={'id': 'x', 'type': 'nosuch'})
    world.missing('Leases/Delete', 'NOT_FOUND', id='nosuch')
    world.homeless('Leases/Delete', id='l1')
    world.good('Leases/Delete', id='l1', sync=True)


def test_a_snapshot_gets_its_parent_at_its_commit(world):
    """As containerd 2.2 unpacks layers side by side (CommitSnapshotRequest.parent); 1.6 knows no such field."""
    if world.peer:
        pytest.skip('this containerd does not know it')
    s = {'snapshotter': 'overlayfs', 'labels': {ROOT: 'x'}}
    world.api('Snapshots/Prepare', key='kb', **s)
    world.api('Snapshots/Commit', name='below', key='kb', **s)
    world.api('Snapshots/Prepare', key='ka', **s)
    world.missing('Snapshots/Commit', 'NOT_FOUND', name='above', key='ka', parent='nosuch', **s)
    world.bad('Snapshots/Commit', 'INVALID_ARGUMENT', name='above', key='ka', parent='ka', **s)
    world.good('Snapshots/Commit', name='above', key='ka', parent='below', **s)
    mounts = world.api('Snapshots/Prepare', key='kc', parent='above', **s).mounts
    assert [o.count(':') for o in mounts[0].options if o.startswith('lowerdir=')] == [1]
    world.bad('Snapshots/Commit', 'FAILED_PRECONDITION', name='other', key='kc', parent='below', **s)


def test_snapshots_and_diff(world):
    s = {'snapshotter': 'native'}
    labels = {ROOT: 'x'}
    assert world.good('Snapshots/Prepare', key='k1', labels=labels, **s).mounts[0].type == 'bind'
    world.bad('Snapshots/Prepare', 'INVALID_ARGUMENT', key='k9', snapshotter='nosuch')
    world.missing('Snapshots/Prepare', 'NOT_FOUND', key='k9', parent='nosuch', **s)
    mounts = list(world.good('Snapshots/Mounts', key='k1', **s).mounts)
    world.missing('Snapshots/Mounts', 'NOT_FOUND', key='nosuch', **s)
    world.bad('Snapshots/Mounts', 'INVALID_ARGUMENT', key='k1', snapshotter='nosuch')
    import io
    import tarfile
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode='w') as tar:
        entry = tarfile.TarInfo('file')
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b'hello'))
    layer = archive.getvalue()
    digest = world.blob(layer)
    descriptor = {'media_type': LAYER, 'digest': digest, 'size': len(layer)}
    assert world.good('Diff/Apply', diff=descriptor, mounts=mounts).applied.digest == digest
    world.missing('Diff/Apply', 'NOT_FOUND', diff={**descriptor, 'digest': ABSENT}, mounts=mounts)
    world.homeless('Diff/Apply', diff=descriptor, mounts=mounts)
    world.good('Snapshots/Commit', name='s1', key='k1', labels=labels, **s)
    world.missing('Snapshots/Commit', 'NOT_FOUND', name='s2', key='nosuch', **s)
    world.bad('Snapshots/Commit', 'INVALID_ARGUMENT', name='s2', key='k1', snapshotter='nosuch')
    view = list(world.good('Snapshots/View', key='v1', parent='s1', labels=labels, **s).mounts)
    world.missing('Snapshots/View', 'NOT_FOUND', key='v2', parent='nosuch', **s)
    world.bad('Snapshots/View', 'INVALID_ARGUMENT', key='v2', snapshotter='nosuch')
    upper = list(world.api('Snapshots/Prepare', key='k2', parent='s1', labels=labels, **s).mounts)
    made = world.good('Diff/Diff', left=view, right=upper, media_type=LAYER, labels={ROOT: 'x'}).diff
    assert made.media_type == LAYER and made.size > 0
    world.bad('Diff/Diff', 'UNIMPLEMENTED', left=view, right=upper, media_type='text/nosuch')
    world.missing('Diff/Diff', DIFFERENT['Diff/Diff'][world.peer], left=view, media_type=LAYER,
                  right=[{'type': 'bind', 'source': '/nonexistent/place', 'options': ['rbind', 'ro']}])
    info = world.good('Snapshots/Stat', key='s1', **s).info
    assert (info.kind, info.parent) == (3, '')
    world.missing('Snapshots/Stat', 'NOT_FOUND', key='nosuch', **s)
    world.bad('Snapshots/Stat', 'INVALID_ARGUMENT', key='s1', snapshotter='nosuch')
    assert world.good('Snapshots/Update', info={'name': 's1', 'labels': {'a': 'b'}}, update_mask={'paths': ['labels.a']}, **s).info.labels['a'] == 'b'
    world.missing('Snapshots/Update', 'NOT_FOUND', info={'name': 'nosuch'}, update_mask={'paths': ['labels.a']}, **s)
    world.bad('Snapshots/Update', 'INVALID_ARGUMENT', info={'name': 's1'}, update_mask={'paths': ['kind']}, **s)

    def names(*filters):
        return sorted(i.name for m in world.good('Snapshots/List', filters=filters, **s) for i in m.info)
    assert names() == ['k2', 's1', 'v1'] and names('parent==s1') == ['k2', 'v1'] and names('kind==committed,labels.a') == ['s1']
    world.bad('Snapshots/List', DIFFERENT['Snapshots/List'][world.peer], filters=['kind=='], **s)
    assert world.good('Snapshots/Usage', key='s1', **s).size > 0
    world.missing('Snapshots/Usage', 'NOT_FOUND', key='nosuch', **s)
    world.bad('Snapshots/Usage', 'INVALID_ARGUMENT', key='s1', snapshotter='nosuch')
    world.bad('Snapshots/Remove', 'FAILED_PRECONDITION', key='s1', **s)
    world.missing('Snapshots/Remove', 'NOT_FOUND', key='nosuch', **s)
    for key in ('v1', 'k2', 's1'):
        world.good('Snapshots/Remove', key=key, **s)
    if world.peer:  # its snapshotters have no such method yet
        assert world.api.code('Snapshots/Cleanup', snapshotter='overlayfs') == 'UNIMPLEMENTED'
    else:
        world.good('Snapshots/Cleanup', snapshotter='overlayfs')
    world.bad('Snapshots/Cleanup', 'INVALID_ARGUMENT', snapshotter='nosuch')
    for digest in (digest, made.digest):
        world.api('Content/Delete', digest=digest)


def test_events(world):
    event = any_of('containerd.events.NamespaceCreate', message('containerd.events.NamespaceCreate', name='made-up'))
    stream = world.api.open('Events/Subscribe', filters=['topic=="/mine/x",event.name==made-up', 'topic~=|^/mine/z$|'])
    got = []
    reader = threading.Thread(target=lambda: got.extend(item for _, item in zip(range(2), stream)))
    reader.start()
    for _ in range(200):  # until the subscription is there, which only its events show
        world.good('Events/Publish', topic='/mine/x', event=event)
        world.api('Events/Publish', topic='/mine/y', event=event)
        reader.join(0.05)
        if not reader.is_alive():
            break
    stream.cancel()
    assert {e.topic for e in got} == {'/mine/x'} and got[0].namespace == 'api' and got[0].event.type_url == event.type_url
    world.note('Events/Subscribe', 'good', 'OK')
    world.bad('Events/Subscribe', DIFFERENT['Events/Subscribe'][world.peer], filters=['topic=='])
    world.bad('Events/Publish', 'INVALID_ARGUMENT', topic='noslash', event=event)
    now = {'seconds': int(time.time())}
    envelope = {'timestamp': now, 'namespace': 'api', 'topic': '/mine/f', 'event': event}
    world.good('Events/Forward', envelope=envelope)
    world.bad('Events/Forward', 'INVALID_ARGUMENT', envelope={**envelope, 'topic': ''})
    assert world.api.code('Events/Forward', envelope={**envelope, 'namespace': ''}) == 'INVALID_ARGUMENT'


def daemon_metrics(daemon):
    connection = UnixConnection(f'{daemon.names.state}/debug.sock')
    connection.request('GET', '/v1/metrics')
    return connection.getresponse().read().decode()


def test_tasks(world):
    world.container('t1', 'sleep', '300')
    made = world.good('Tasks/Create', container_id='t1', rootfs=world.mounts())
    assert made.pid > 0
    assert world.api.code('Tasks/Create', container_id='t1', rootfs=world.mounts()) == 'ALREADY_EXISTS'
    world.missing('Tasks/Create', 'NOT_FOUND', container_id='nosuch')
    world.homeless('Tasks/Create', container_id='t1')
    assert world.good('Tasks/Start', container_id='t1').pid == made.pid
    world.missing('Tasks/Start', 'NOT_FOUND', container_id='nosuch')
    world.bad('Tasks/Start', 'NOT_FOUND', container_id='t1', exec_id='nosuch')
    assert world.good('Tasks/Get', container_id='t1').process.status == 2
    world.missing('Tasks/Get', 'NOT_FOUND', container_id='nosuch')
    world.homeless('Tasks/Get', container_id='t1')
    assert [t.id for t in world.good('Tasks/List').tasks] == ['t1']
    world.homeless('Tasks/List')
    process = any_of(PROCESS, json.dumps({**CONFIG['process'], 'args': ['sleep', '300']}).encode())
    world.good('Tasks/Exec', container_id='t1', exec_id='e1', spec=process)
    world.missing('Tasks/Exec', 'NOT_FOUND', container_id='nosuch', exec_id='e1', spec=process)
    world.bad('Tasks/Exec', 'INVALID_ARGUMENT', container_id='t1', exec_id='a b', spec=process)
    world.api('Tasks/Start', container_id='t1', exec_id='e1')
    assert {p.pid for p in world.good('Tasks/ListPids', container_id='t1').processes} >= {made.pid}
    world.missing('Tasks/ListPids', 'NOT_FOUND', container_id='nosuch')
    world.homeless('Tasks/ListPids', container_id='t1')
    world.good('Tasks/ResizePty', container_id='t1', width=80, height=24)
    world.missing('Tasks/ResizePty', 'NOT_FOUND', container_id='nosuch', width=80, height=24)
    world.homeless('Tasks/ResizePty', container_id='t1')
    world.good('Tasks/CloseIO', container_id='t1', stdin=True)
    world.missing('Tasks/CloseIO', 'NOT_FOUND', container_id='nosuch', stdin=True)
    world.homeless('Tasks/CloseIO', container_id='t1')
    world.good('Tasks/Pause', container_id='t1')
    assert world.api('Tasks/Get', container_id='t1').process.status == 4
    world.missing('Tasks/Pause', 'NOT_FOUND', container_id='nosuch')
    world.homeless('Tasks/Pause', container_id='t1')
    world.good('Tasks/Resume', container_id='t1')
    world.missing('Tasks/Resume', 'NOT_FOUND', container_id='nosuch')
    world.homeless('Tasks/Resume', container_id='t1')
    world.good('Tasks/Update', container_id='t1', resources=any_of(RESOURCES, b'{"memory": {"limit": 67108864}}'))
    world.missing('Tasks/Update', 'NOT_FOUND', container_id='nosuch', resources=any_of(RESOURCES, b'{}'))
    world.homeless('Tasks/Update', container_id='t1')
    found = [m.id for m in world.good('Tasks/Metrics', filters=['id==t1']).metrics]
    assert found == ['t1'] or world.peer  # containerd 1.6 leaves out what it can't read of a mixed cgroup hierarchy
    assert not world.api('Tasks/Metrics', filters=['id==other']).metrics
    world.bad('Tasks/Metrics', DIFFERENT['Tasks/Metrics'][world.peer], filters=['id=='])
    if not world.peer:
        metrics = daemon_metrics(world.daemon)
        assert re.search(r'^container_(cpu_total_nanoseconds|cpu_usage_usec_microseconds)\{container_id="t1",namespace="api"\} [1-9]', metrics, re.M)
        assert re.search(r'^container_pids_current\{container_id="t1",namespace="api"\} 2$', metrics, re.M) and 'gantry_tasks 1\n' in metrics
    world.missing('Tasks/Checkpoint', 'NOT_FOUND', container_id='nosuch')
    world.homeless('Tasks/Checkpoint', container_id='t1')
    world.note('Tasks/Checkpoint', 'good', world.api.code('Tasks/Checkpoint', container_id='t1'))
    waiting = world.api.stub('Tasks/Wait')[0].future(message('containerd.services.tasks.v1.WaitRequest', container_id='t1', exec_id='e1'),
                                                     metadata=world.api.metadata(), timeout=30)
    world.good('Tasks/Kill', container_id='t1', exec_id='e1', signal=9)
    assert waiting.result().exit_status == 137
    world.note('Tasks/Wait', 'good', 'OK')
    world.missing('Tasks/Wait', 'NOT_FOUND', container_id='nosuch')
    world.homeless('Tasks/Wait', container_id='t1')
    world.missing('Tasks/Kill', 'NOT_FOUND', container_id='nosuch', signal=9)
    world.homeless('Tasks/Kill', container_id='t1', signal=9)
    assert world.good('Tasks/DeleteProcess', container_id='t1', exec_id='e1').exit_status == 137
    world.missing('Tasks/DeleteProcess', 'NOT_FOUND', container_id='t1', exec_id='e1')
    world.homeless('Tasks/DeleteProcess', container_id='t1', exec_id='e1')
    world.bad('Tasks/Delete', DIFFERENT['Tasks/Delete'][world.peer], container_id='t1')
    world.api('Tasks/Kill', container_id='t1', signal=9)
    until(lambda: world.api('Tasks/Get', container_id='t1').process.status == 3, 10)
    assert world.good('Tasks/Delete', container_id='t1').exit_status == 137
    world.missing('Tasks/Delete', 'NOT_FOUND', container_id='t1')
    world.api('Containers/Delete', id='t1')


def test_sandbox_store(world):
    runtime = {'name': 'io.containerd.runc.v2'}
    made = world.good('Store/Create', sandbox={'sandbox_id': 's1', 'runtime': runtime, 'labels': {'a': 'b'}, 'sandboxer': 'shim'})
    if world.peer:
        for method in ('Update', 'Delete', 'List', 'Get'):
            world.refuses(f'Store/{method}')
        return
    assert made.sandbox.created_at.seconds > 0
    assert world.api.code('Store/Create', sandbox={'sandbox_id': 's1', 'runtime': runtime}) == 'ALREADY_EXISTS'
    world.bad('Store/Create', 'INVALID_ARGUMENT', sandbox={'sandbox_id': 'a b', 'runtime': runtime})
    assert world.good('Store/Get', sandbox_id='s1').sandbox.sandboxer == 'shim'
    world.missing('Store/Get', 'NOT_FOUND', sandbox_id='nosuch')
    world.homeless('Store/Get', sandbox_id='s1')
    assert [x.sandbox_id for x in world.good('Store/List', filters=['labels.a==b,id==s1']).list] == ['s1']
    assert not world.api('Store/List', filters=['labels.a!=b']).list and not world.api('Store/List', filters=['id==other']).list
    world.bad('Store/List', 'INVALID_ARGUMENT', filters=['id=='])
    updated = world.good('Store/Update', sandbox={'sandbox_id': 's1', 'labels': {'c': 'd'}}, fields=['labels.c']).sandbox
    assert dict(updated.labels) == {'a': 'b', 'c': 'd'}
    world.bad('Store/Update', 'INVALID_ARGUMENT', sandbox={'sandbox_id': 's1'}, fields=['created_at'])
    assert world.api.code('Store/Update', sandbox={'sandbox_id': 's1', 'runtime': {'name': 'other'}}) == 'INVALID_ARGUMENT'
    world.missing('Store/Update', 'NOT_FOUND', sandbox={'sandbox_id': 'nosuch'}, fields=['labels'])
    world.homeless('Store/Delete', sandbox_id='s1')
    world.good('Store/Delete', sandbox_id='s1')
    world.missing('Store/Delete', 'NOT_FOUND', sandbox_id='s1')


def test_sandbox_controller(world):
    shim = {'sandboxer': 'shim', 'sandbox_id': 'x1'}
    nosuch = {'sandboxer': 'shim', 'sandbox_id': 'nosuch'}
    if world.peer:
        for rpc in [r for r in rpcs() if r.startswith('Controller/')]:
            world.refuses(rpc)
        return
    events = world.api.open('Events/Subscribe', filters=['topic~=^/sandboxes/'], metadata=[('gantry-events-cursor', '')])
    events.initial_metadata()
    sandbox = {'sandbox_id': 'x1', 'runtime': {'name': 'io.containerd.runc.v2'}}
    assert world.good('Controller/Create', sandbox=sandbox, netns_path=world.daemon.names.netns, **shim).sandbox_id == 'x1'
    assert world.api.code('Controller/Create', sandbox=sandbox, **shim) == 'ALREADY_EXISTS'
    world.bad('Controller/Create', 'INVALID_ARGUMENT', sandbox=sandbox, sandbox_id='x2')
    world.missing('Controller/Create', 'NOT_FOUND', **nosuch)
    assert world.api.code('Controller/Create', sandbox=sandbox, sandbox_id='x1', sandboxer='nosuch') == 'NOT_FOUND'
    started = world.good('Controller/Start', **shim)
    assert started.pid > 0 and started.address.startswith('unix://')
    assert world.api.code('Controller/Start', **shim) == 'FAILED_PRECONDITION'
    world.note('Controller/Start', 'bad', 'FAILED_PRECONDITION')
    assert world.good('Controller/Platform', **shim).platform.os == 'linux'
    status = world.good('Controller/Status', verbose=True, **shim)
    assert (status.state, status.pid) == ('SANDBOX_READY', started.pid) and status.info['networkNamespace'] == world.daemon.names.netns
    assert world.good('Controller/Metrics', **shim).metrics.data.type_url.startswith('io.containerd.cgroups.')
    world.good('Controller/Update', sandbox=sandbox, **shim)
    waiting = world.api.stub('Controller/Wait')[0].future(message('containerd.services.sandbox.v1.ControllerWaitRequest', **shim),
                                                          metadata=world.api.metadata(), timeout=30)
    world.good('Controller/Stop', timeout_secs=1, **shim)
    assert waiting.result().exited_at.seconds > 0
    world.note('Controller/Wait', 'good', 'OK')
    assert world.api('Controller/Status', **shim).state == 'SANDBOX_NOTREADY'
    for method in ('Start', 'Platform', 'Wait', 'Shutdown', 'Metrics', 'Update'):
        world.missing(f'Controller/{method}', 'NOT_FOUND', **nosuch)
    for method in ('Platform', 'Stop', 'Wait', 'Status', 'Shutdown', 'Metrics', 'Update'):
        world.bad(f'Controller/{method}', 'INVALID_ARGUMENT', sandbox_id='x1')
    assert world.api('Controller/Status', **nosuch).exited_at.seconds > 0 and world.api.code('Controller/Stop', **nosuch) == 'OK'
    world.good('Controller/Shutdown', **shim)
    assert world.api.code('Controller/Shutdown', **shim) == 'NOT_FOUND'
    assert [next(events).topic for _ in range(3)] == ['/sandboxes/create', '/sandboxes/start', '/sandboxes/exit']
    events.cancel()


def test_mounts(world):
    if world.peer:
        for rpc in [r for r in rpcs() if r.startswith('Mounts/')]:
            world.refuses(rpc)
        return
    image = f'{world.daemon.root}/disk.img'
    mounts = [{'type': 'mkfs/loop', 'source': image, 'options': ['X-containerd.mkfs.size=8MiB', 'X-containerd.mkfs.fs=ext2']},
              {'type': 'format/ext2', 'source': '{{ mount 0 }}'},
              {'type': 'format/mkdir/overlay', 'source': 'overlay', 'options': ['X-containerd.mkdir.path={{ mount 1 }}/up', 'X-containerd.mkdir.path={{ mount 1 }}/work',
                                                                              'upperdir={{ mount 1 }}/up', 'workdir={{ mount 1 }}/work', f'lowerdir={world.root}']}]
    info = world.good('Mounts/Activate', name='m1', mounts=mounts, labels={'a': 'b'}).info
    assert [m.mount.type for m in info.active] == ['loop', 'ext2'] and [m.type for m in info.system] == ['overlay']
    assert f'upperdir={info.active[1].mount_point}/up' in list(info.system[0].options)
    table = open('/proc/self/mountinfo').read()
    assert f' {info.active[1].mount_point} ' in table
    assert world.api.code('Mounts/Activate', name='m1', mounts=mounts) == 'ALREADY_EXISTS'
    world.bad('Mounts/Activate', 'INVALID_ARGUMENT', name='m2', mounts=[{'type': 'format/bind', 'source': '{{ mount 7 }}'}], temporary=True)
    assert world.api.code('Mounts/Activate', name='m2', mounts=world.mounts()) == 'UNIMPLEMENTED'
    assert world.api.code('Mounts/Activate', name='m2', mounts=[{'type': 'mkfs/loop', 'source': '/etc/x', 'options': ['X-containerd.mkfs.size=1MiB']}]) == 'UNIMPLEMENTED'
    assert world.good('Mounts/Info', name='m1').info == info
    world.missing('Mounts/Info', 'NOT_FOUND', name='m2')
    world.homeless('Mounts/Info', name='m1')
    assert dict(world.good('Mounts/Update', info={'name': 'm1', 'labels': {'c': 'd'}}, update_mask={'paths': ['labels.c']}).info.labels) == {'a': 'b', 'c': 'd'}
    world.bad('Mounts/Update', 'INVALID_ARGUMENT', info={'name': 'm1'}, update_mask={'paths': ['active']})
    world.missing('Mounts/Update', 'NOT_FOUND', info={'name': 'nosuch'}, update_mask={'paths': ['labels']})
    assert [m.info.name for m in world.good('Mounts/List', filters=['labels.c==d'])] == ['m1']
    world.bad('Mounts/List', 'INVALID_ARGUMENT', filters=['name=='])
    held = open(f'{info.active[1].mount_point}/held', 'w')
    world.bad('Mounts/Deactivate', 'FAILED_PRECONDITION', name='m1')
    held.close()
    world.good('Mounts/Deactivate', name='m1')
    world.missing('Mounts/Deactivate', 'NOT_FOUND', name='m1')
    assert world.daemon.state not in open('/proc/self/mountinfo').read()
    # One that belongs to a lease goes with it.
    world.api('Leases/Create', id='l5')
    bound = world.api('Mounts/Activate', name='m3', mounts=world.mounts(), temporary=True, metadata=[('containerd-lease', 'l5')]).info
    assert bound.system[0].source == bound.active[0].mount_point
    world.api('Leases/Delete', id='l5', sync=True)
    assert world.api.code('Mounts/Info', name='m3') == 'NOT_FOUND' and world.daemon.state not in open('/proc/self/mountinfo').read()


def test_streaming_and_transfer(world):
    if world.peer:
        world.refuses('Streaming/Stream')
        world.refuses('Transfer/Transfer')
        return
    hold = threading.Event()

    def requests():
        yield any_of('containerd.services.streaming.v1.StreamInit', message('containerd.services.streaming.v1.StreamInit', id='st1'))
        hold.wait(10)
    stream = world.api.open('Streaming/Stream', requests())
    assert next(stream).type_url.endswith('google.protobuf.Empty')
    stream.cancel()
    hold.set()
    world.note('Streaming/Stream', 'good', 'OK')
    world.bad('Streaming/Stream', 'INVALID_ARGUMENT', [any_of('x', b'y')])
    digest = world.blob(b'{}')
    world.api('Images/Create', image={'name': 'from', 'target': {'media_type': 'application/vnd.oci.image.manifest.v1+json', 'digest': digest, 'size': 2}})
    store = 'containerd.types.transfer.ImageStore'
    named = {name: any_of(store, message(store, name=name)) for name in ('from', 'to', 'nosuch')}
    world.good('Transfer/Transfer', source=named['from'], destination=named['to'])
    assert world.api('Images/Get', name='to').image.target.digest == digest
    world.missing('Transfer/Transfer', 'NOT_FOUND', source=named['nosuch'], destination=named['to'])
    world.bad('Transfer/Transfer', 'UNIMPLEMENTED', source=any_of('nosuch', b''), destination=named['to'])
    for name in ('from', 'to'):
        world.api('Images/Delete', name=name, sync=True)


def test_every_rpc_is_covered(world, request):
    """Each with a good answer, a bad request, and, where it has an object, without one."""
    own = [item for item in request.session.items if item.module is request.module and f'[{request.node.callspec.id}]' in item.name]
    tests = [name for name in dir(request.module) if name.startswith('test_')]
    if world.peer or len(own) < len(tests):
        pytest.skip('counts only what a whole run on gantry has seen')
    assert len(rpcs()) == 88 + 2  # and two of grpc.health.v1
    lacking = [f'{rpc}: good' for rpc in rpcs() if world.seen.get(rpc, {}).get('good') != GOOD.get(rpc, 'OK')]
    lacking += [f'{rpc}: bad' for rpc in rpcs() if 'bad' not in world.seen.get(rpc, {}) and rpc not in WITHOUT_BAD]
    lacking += [f'{rpc}: missing' for rpc in rpcs() if 'missing' not in world.seen.get(rpc, {}) and rpc not in WITHOUT_OBJECT]
    assert lacking == []
    served = set(world.api.reflected())
    ours = {service.full_name for service in services().values()}
    assert served - ours == {'grpc.reflection.v1alpha.ServerReflection'} and ours <= served


# There is no checkpoint without criu.
GOOD = {'Tasks/Checkpoint': 'UNIMPLEMENTED'}


def test_events_of_the_services(world):
    """The records' services publish the same topics with the same fields, in the same order, as the peer does."""
    got = []
    stream = world.api.open('Events/Subscribe', filters=['namespace==evs'])
    reader = threading.Thread(target=collect, args=(stream, got))
    reader.start()
    for number in range(500):  # until the subscription is there, which only its events show
        world.api('Events/Publish', space='evs', topic='/probe/first', event=any_of('none', b''))
        if got:
            break
        time.sleep(0.01)
    call = lambda rpc, **fields: world.api(rpc, space='evs', **fields)  # noqa: E731
    digest = 'sha256:' + hashlib.sha256(b'event').hexdigest()
    target = {'media_type': 'application/vnd.oci.image.manifest.v1+json', 'digest': digest, 'size': 5}
    call('Namespaces/Create', namespace={'name': 'evs', 'labels': {'a': 'b'}})
    call('Namespaces/Update', namespace={'name': 'evs', 'labels': {'a': 'c'}}, update_mask={'paths': ['labels.a']})
    world.api('Content/Write', [{'action': 1, 'ref': 'e', 'total': 5, 'expected': digest, 'data': b'event'},
                                {'action': 2, 'offset': 5, 'total': 5, 'expected': digest, 'labels': {ROOT: 'x'}}], space='evs')
    call('Images/Create', image={'name': 'i', 'target': target, 'labels': {'k': 'v'}})
    call('Images/Update', image={'name': 'i', 'labels': {'k': 'w'}}, update_mask={'paths': ['labels.k']})
    call('Images/Delete', name='i')
    call('Containers/Create', container={'id': 'c', 'image': 'i', 'runtime': {'name': 'x.v1'}, 'spec': world.spec('true')})
    call('Containers/Update', container={'id': 'c', 'labels': {'k': 'v'}}, update_mask={'paths': ['labels.k']})
    call('Containers/Delete', id='c')
    call('Snapshots/Prepare', snapshotter='native', key='k', labels={ROOT: 'x'})
    call('Snapshots/Commit', snapshotter='native', key='k', name='s', labels={ROOT: 'x'})
    call('Snapshots/Remove', snapshotter='native', key='s')
    call('Content/Delete', digest=digest)
    until(lambda: world.api.code('Namespaces/Delete', name='evs') == 'OK', 10)
    world.api('Events/Publish', space='evs', topic='/probe/last', event=any_of('none', b''))
    reader.join(20)
    assert not reader.is_alive()
    stream.cancel()
    # containerd tells of new content since 2.0.
    created = [] if world.peer else [('/content/create', {'digest': digest, 'size': '5'})]
    assert [(e.topic, described(e)) for e in got if not e.topic.startswith('/probe/')] == [
        ('/namespaces/create', {'name': 'evs', 'labels': {'a': 'b'}}),
        ('/namespaces/update', {'name': 'evs', 'labels': {'a': 'c'}}), *created,
        ('/images/create', {'name': 'i', 'labels': {'k': 'v'}}),
        ('/images/update', {'name': 'i', 'labels': {'k': 'w'}}),
        ('/images/delete', {'name': 'i'}),
        ('/containers/create', {'id': 'c', 'image': 'i', 'runtime': {'name': 'x.v1'}}),
        ('/containers/update', {'id': 'c', 'image': 'i', 'labels': {'k': 'v'}}),
        ('/containers/delete', {'id': 'c'}),
        ('/snapshot/prepare', {'key': 'k'}),
        ('/snapshot/commit', {'key': 'k', 'name': 's'}),
        ('/snapshot/remove', {'key': 's'}),
        ('/content/delete', {'digest': digest}),
        ('/namespaces/delete', {'name': 'evs'})]


def collect(stream, got):
    for event in stream:
        got.append(event)
        if event.topic == '/probe/last':
            return


def described(envelope):
    """Without the snapshotter's name, which 1.6 does not tell yet, and empty Any of a runtime without options."""
    found = as_dict(message(envelope.event.type_url).FromString(envelope.event.value))
    found.pop('snapshotter', None)
    if isinstance(found.get('runtime'), dict):
        found['runtime'] = {'name': found['runtime'].get('name')}
    return found


def test_update_masks(world):
    """What each path of a mask changes, what no mask means, and that nothing changes when one path is wrong."""
    call = world.api

    def refused(rpc, **fields):
        assert call.code(rpc, **fields) == 'INVALID_ARGUMENT', fields
    # Containers: without a mask what may change is replaced, and the rest must be as it was.
    extension = any_of('some.type', b'\x01')
    base = {'id': 'u', 'image': 'i1', 'runtime': {'name': 'r.v1'}, 'spec': world.spec('true'), 'labels': {'a': '1', 'b': '2'}, 'extensions': {'e': extension}}
    call('Containers/Create', container=base)
    changed = {**base, 'image': 'i2', 'labels': {'c': '3'}, 'extensions': {}, 'spec': world.spec('sleep')}
    for path, wanted in (('labels.c', ('i1', {'a': '1', 'b': '2', 'c': '3'}, 1)), ('labels', ('i1', {'c': '3'}, 1)), ('image', ('i2', {'c': '3'}, 1)),
                         ('extensions', ('i2', {'c': '3'}, 0))):
        found = call('Containers/Update', container=changed, update_mask={'paths': [path]}).container
        assert (found.image, dict(found.labels), len(found.extensions)) == wanted, path
    assert found.spec.value == world.spec('true').value
    assert call('Containers/Update', container=changed, update_mask={'paths': ['spec']}).container.spec.value == world.spec('sleep').value
    whole = call('Containers/Update', container={**base, 'labels': {'d': '4'}}).container
    assert (whole.image, dict(whole.labels), len(whole.extensions)) == ('i1', {'d': '4'}, 1)
    refused('Containers/Update', container={**base, 'runtime': {'name': 'other.v1'}})
    refused('Containers/Update', container=changed, update_mask={'paths': ['labels', 'nosuch']})
    assert dict(call('Containers/Get', id='u').container.labels) == {'d': '4'}
    call('Containers/Delete', id='u')
    # Images: without a mask everything is replaced.
    digest = world.blob(b'update')
    target = {'media_type': 'application/vnd.oci.image.manifest.v1+json', 'digest': digest, 'size': 6, 'annotations': {'x': 'y'}}
    call('Images/Create', image={'name': 'u', 'target': target, 'labels': {'a': '1'}})
    found = call('Images/Update', image={'name': 'u', 'target': {**target, 'size': 7, 'annotations': {'z': '1'}}, 'labels': {'b': '2'}}, update_mask={'paths': ['target']}).image
    assert (found.target.size, dict(found.target.annotations), dict(found.labels)) == (7, {'z': '1'}, {'a': '1'})
    found = call('Images/Update', image={'name': 'u', 'target': target, 'labels': {'b': '2'}}).image
    assert (found.target.size, dict(found.target.annotations), dict(found.labels)) == (6, {'x': 'y'}, {'b': '2'})
    refused('Images/Update', image={'name': 'u', 'target': {**target, 'size': 0}})
    refused('Images/Update', image={'name': 'u', 'target': {**target, 'digest': 'nodigest'}}, update_mask={'paths': ['target']})
    assert call('Images/Get', name='u').image.target.size == 6
    call('Images/Delete', name='u')
    # Content and snapshots: labels alone; an empty value removes one.
    for mask, labels, wanted in (({'paths': ['labels.a']}, {'a': '1', 'b': '2'}, {ROOT: 'x', 'a': '1'}), ({'paths': ['labels.a']}, {}, {ROOT: 'x'}),
                                 ({'paths': ['labels']}, {'c': '3', ROOT: 'x'}, {'c': '3', ROOT: 'x'}), ({}, {'d': '4', ROOT: 'x'}, {'d': '4', ROOT: 'x'})):
        assert dict(call('Content/Update', info={'digest': digest, 'labels': labels}, update_mask=mask).info.labels) == wanted, (mask, labels)
    call('Content/Delete', digest=digest)
    call('Snapshots/Prepare', snapshotter='native', key='u', labels={'a': '1', ROOT: 'x'})
    for mask, labels, wanted in (({'paths': ['labels.b']}, {'b': '2'}, {ROOT: 'x', 'a': '1', 'b': '2'}), ({'paths': ['labels']}, {'c': '3', ROOT: 'x'}, {'c': '3', ROOT: 'x'})):
        assert dict(call('Snapshots/Update', snapshotter='native', info={'name': 'u', 'labels': labels}, update_mask=mask).info.labels) == wanted, mask
    call('Snapshots/Remove', snapshotter='native', key='u')
    # Namespaces: without a mask labels are replaced, and all of them are no path.
    call('Namespaces/Create', namespace={'name': 'nu', 'labels': {'a': '1', 'b': '2'}})
    for mask, labels, wanted in (({'paths': ['labels.a', 'labels.c']}, {'b': '9', 'c': '3'}, {'b': '2', 'c': '3'}), ({}, {'d': '4'}, {'d': '4'})):
        call('Namespaces/Update', namespace={'name': 'nu', 'labels': labels}, update_mask=mask)
        assert dict(call('Namespaces/Get', name='nu').namespace.labels) == wanted, mask
    refused('Namespaces/Update', namespace={'name': 'nu', 'labels': {'e': '5'}}, update_mask={'paths': ['labels']})
    call('Namespaces/Delete', name='nu')


def test_one_writer_at_a_time(world):
    """A reference that somebody writes to is locked for others, as clients that pull the same expect it."""
    hold = threading.Event()

    def writes():
        yield message('containerd.services.content.v1.WriteContentRequest', action=1, ref='locked', data=b'x')
        hold.wait(20)
    stream = world.api.open('Content/Write', writes())
    assert next(stream).offset == 1
    with pytest.raises(grpc.RpcError) as raised:
        world.api('Content/Write', [{'action': 1, 'ref': 'locked', 'data': b'y'}])
    assert raised.value.code().name == 'UNAVAILABLE' and 'locked' in raised.value.details()
    assert world.api.code('Content/Write', [{'action': 1, 'ref': 'locked', 'data': b'y'}], space='other') != 'UNAVAILABLE'
    hold.set()
    stream.cancel()
    until(lambda: world.api.code('Content/Abort', ref='locked') == 'OK', 10)
    world.api('Content/Abort', ref='locked', space='other')
