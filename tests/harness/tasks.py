# SPDX-License-Identifier: Apache-2.0
"""What a client of a container daemon does with containers and their tasks, thousands of times."""
import os
import re

import grpc

from .grpc_api import Api, message_class

CREATED, RUNNING, STOPPED = 1, 2, 3
SPEC = 'types.containerd.io/opencontainers/runtime-spec/1/'


class Refused(Exception):
    """The daemon answered with an error."""


class Lost(Exception):
    """The connection ended: whether the call was done is unknown."""


class Tasks:
    """One connection, which is made again when it was lost."""

    def __init__(self, daemon, space, runtime=''):
        self.daemon, self.space, self.runtime, self.api = daemon, space, runtime or 'io.containerd.runc.v2', None

    def call(self, rpc, **fields):
        if self.api is None:
            self.api = Api(self.daemon.containerd_socket, self.space)
        try:
            return self.api(rpc, timeout=60, **fields)
        except grpc.RpcError as error:
            raise self.what(error) from None

    def what(self, error):
        """The transport ends streams with these codes; whatever else is an answer of the daemon."""
        if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED) or 'Stream removed' in error.details():
            self.close()
            return Lost(error.details())
        return Refused(f'{error.code().name}: {error.details()}')

    def close(self):
        if self.api:
            self.api.close()
        self.api = None

    def make(self, name, spec, **more):
        container = {'id': name, 'runtime': {'name': self.runtime}, 'spec': {'type_url': SPEC + 'Spec', 'value': spec.encode()}, **more}
        return self.call('Containers/Create', container=container)

    def known(self, name):
        try:
            self.call('Containers/Get', id=name)
            return True
        except Refused:
            return False

    def remove(self, name):
        self.call('Containers/Delete', id=name)

    def create(self, name, rootfs=()):
        return self.call('Tasks/Create', container_id=name, rootfs=rootfs).pid

    def start(self, name, exec_id=''):
        return self.call('Tasks/Start', container_id=name, exec_id=exec_id).pid

    def wait(self, name, exec_id=''):
        return self.call('Tasks/Wait', container_id=name, exec_id=exec_id).exit_status

    def delete(self, name):
        return self.call('Tasks/Delete', container_id=name).exit_status

    def kill(self, name, signal):
        self.call('Tasks/Kill', container_id=name, signal=signal)

    def exec(self, name, exec_id, process):
        self.call('Tasks/Exec', container_id=name, exec_id=exec_id, spec={'type_url': SPEC + 'Process', 'value': process.encode()})

    def delete_exec(self, name, exec_id):
        return self.call('Tasks/DeleteProcess', container_id=name, exec_id=exec_id).exit_status

    def state(self, name):
        """(status, exit code, pid)."""
        process = self.call('Tasks/Get', container_id=name).process
        return process.status, process.exit_status, process.pid

    def status(self, name):
        """None when there is no such task."""
        try:
            return self.state(name)[0]
        except Refused:
            return None

    # Snapshots of the default snapshotter.
    def prepare(self, key, parent):
        return list(self.call('Snapshots/Prepare', snapshotter='overlayfs', key=key, parent=parent,
                              labels={'containerd.io/gc.root': 'kept'}).mounts)

    def mounts(self, key):
        return list(self.call('Snapshots/Mounts', snapshotter='overlayfs', key=key).mounts)

    def remove_snapshot(self, key):
        self.call('Snapshots/Remove', snapshotter='overlayfs', key=key)

    def snapshots(self):
        """Key to parent of those that can be written to."""
        active = 2
        answers = self.call('Snapshots/List', snapshotter='overlayfs')
        return {i.name: i.parent for answer in answers for i in answer.info if i.kind == active}

    def top_snapshot(self):
        """The committed snapshot that no other stands on."""
        committed = 3
        found = [i for answer in self.call('Snapshots/List', snapshotter='overlayfs') for i in answer.info]
        parents = {i.parent for i in found}
        return next(i.name for i in found if i.kind == committed and i.name not in parents)

    def events(self, cursor, *filters):
        """(envelope, event) of a subscription; a cursor of None is containerd's own kind. Ends with Lost or Refused."""
        api = Api(self.daemon.containerd_socket, self.space)
        metadata = [] if cursor is None else [('gantry-events-cursor', cursor)]
        try:
            for envelope in api.open('Events/Subscribe', filters=filters, metadata=metadata, timeout=3600):
                yield envelope, message_class(envelope.event.type_url.split('/')[-1]).FromString(envelope.event.value)
        except grpc.RpcError as error:
            raise self.what(error) from None
        finally:
            api.close()


def memory(pid):
    """PSS in bytes."""
    with open(f'/proc/{pid}/smaps_rollup') as file:
        return int(re.search(r'^Pss: *(\d+) kB', file.read(), re.M).group(1)) * 1024


def threads(pid):
    return len(os.listdir(f'/proc/{pid}/task'))
