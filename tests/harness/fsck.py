# SPDX-License-Identifier: Apache-2.0
"""Proves that a stack's databases, directories and kernel objects are one: every byte under its root
and every object of the kernel belongs to a record, and every record has what it names.

`faults(engine)` looks once and says what is wrong, as text; `settled_faults` waits for work that is
still under way. Nothing here asks a daemon: only SQLite, the file system and the kernel are read."""
import contextlib
import ipaddress
import json
import os
import re
import sqlite3
import subprocess
from pathlib import Path

from traces import read
from .engine import left_after

ALIVE = ('running', 'paused')
TASKS = 'containerd/io.containerd.runtime.v2.task/gantry'


def rows(path, query):
    with contextlib.closing(sqlite3.connect(f'file:{path}?mode=ro', uri=True, timeout=10)) as database:
        return database.execute(query).fetchall()


def listed(path):
    try:
        return set(os.listdir(path))
    except FileNotFoundError:
        return set()


def differ(what, found, wanted):
    return ([f'{what}: {x} has no record' for x in sorted(found - wanted, key=str)] +
            [f'{what}: {x} is missing' for x in sorted(wanted - found, key=str)])


class Look:
    def __init__(self, engine):
        self.engine, self.root, self.state = engine, Path(engine.names.root), Path(engine.names.state)
        self.meta = self.root / 'containerd/meta.db'
        records = [json.loads(r[0]) for r in rows(self.root / 'engine/engine.db', 'SELECT record FROM containers')]
        self.records = {r['id']: r for r in records}
        self.alive = {i for i, r in self.records.items() if r['state']['phase'] in ALIVE}
        self.volumes = {v['name']: v for v in (json.loads(r[0]) for r in rows(self.root / 'engine/engine.db', 'SELECT record FROM volumes'))}
        self.endpoints = [json.loads(r[0]) for r in rows(self.root / 'engine/engine.db', 'SELECT record FROM endpoints')]
        self.networks = [json.loads(r[0]) for r in rows(self.root / 'engine/engine.db', 'SELECT record FROM networks')]

    def phases(self):
        for ident, record in self.records.items():
            phase = record['state']['phase']
            if phase not in (*ALIVE, 'created', 'exited', 'restarting'):
                yield f'container {ident}: {phase}'
        names = [r['name'] for r in self.records.values()]
        yield from (f'name {n} twice' for n in set(names) if names.count(n) > 1)

    def processes(self):
        """A container that is said to run has just this process, in its own cgroup."""
        for ident in self.alive:
            pid = self.records[ident]['state']['pid']
            if ident not in read(f'/proc/{pid}/cgroup'):
                yield f'container {ident}: process {pid} is not its own'
        shims = set()
        for pid in filter(str.isdigit, os.listdir('/proc')):
            words = read(f'/proc/{pid}/cmdline').split('\0')
            if 'containerd-shim-gantry-v1' in words[0] and any(str(self.state) in w for w in words) and '-id' in words:
                shims.add(words[words.index('-id') + 1])
        yield from differ('shim', shims, self.alive)

    def containers(self):
        yield from differ('directory', listed(self.root / 'containers'), set(self.records))
        yield from differ('containerd container', {r[0] for r in rows(self.meta, 'SELECT id FROM containers')}, self.alive)
        for where in (self.state, self.root):
            yield from differ(f'bundle in {where}', listed(where / TASKS), self.alive)
        yield from differ('runtime state', listed(self.state / 'runtime/gantry'), self.alive)

    def snapshots(self):
        found = rows(self.meta, 'SELECT key, number, parent FROM snapshots WHERE snapshotter = "overlayfs"')
        yield from differ('snapshot directory', listed(self.root / 'containerd/snapshots/overlayfs'), {str(n) for _, n, _ in found})
        yield from differ('snapshot', {k for k, _, _ in found if re.fullmatch('[0-9a-f]{64}', k)}, set(self.records))
        keys = {k for k, _, _ in found}
        yield from (f'snapshot {k}: its parent {p} is missing' for k, _, p in found if p and p not in keys)

    def content(self):
        blobs = self.root / 'containerd/content/blobs/sha256'
        sizes = {d.removeprefix('sha256:'): s for d, s in rows(self.meta, 'SELECT digest, size FROM content')}
        yield from differ('blob', listed(blobs), set(sizes))
        for digest, size in sizes.items():
            with contextlib.suppress(FileNotFoundError):
                if (blobs / digest).stat().st_size != size:
                    yield f'blob {digest}: not {size} bytes'
        for name in listed(self.root / 'containerd/content/ingest'):
            reference = read(self.root / 'containerd/content/ingest' / name / 'ref')
            if not reference.startswith('layer-'):  # of a pull, which resumes it
                yield f'ingest {name} of {reference!r}'
        built = {json.loads(r[0]).get('lease') for r in rows(self.root / 'engine/engine.db', 'SELECT record FROM build_steps')}
        for lease, labels in rows(self.meta, 'SELECT id, labels FROM leases'):
            if lease not in built:
                yield f'lease {lease} {labels}'
        for trash in ('root/engine/trash', 'root/containerd/trash', 'state/containerd/trash'):
            top, rest = trash.split('/', 1)
            yield from (f'{trash}/{n}' for n in listed(getattr(self, top) / rest))

    def mounts(self):
        numbers = {str(n) for n, in rows(self.meta, 'SELECT number FROM mounts')}
        yield from differ('mounts', listed(self.state / 'containerd/mounts'), numbers)

    def volumes_and_users(self):
        """A volume has a directory; one with mount options is mounted while its containers run."""
        yield from differ('volume', listed(self.root / 'volumes') - {'.new'}, set(self.volumes))
        yield from (f'volumes/.new/{n}' for n in listed(self.root / 'volumes/.new'))
        yield from (f'transient mounts of {n}' for n in listed(self.state / 'mounts'))
        used = {(p['name'], i) for i, r in self.records.items() for p in r.get('mounts', []) if p['type'] == 'volume'}
        yield from (f'volume {v} of container {i} is missing' for v, i in used if v not in self.volumes)
        yield from differ('mounted volume', listed(self.state / 'volumes'), self.mounted_volumes())

    def mounted_volumes(self):
        running = {p['name'] for i in self.alive for p in self.records[i].get('mounts', []) if p['type'] == 'volume'}
        return {n for n in running if self.volumes.get(n, {}).get('options', {}).keys() & {'type', 'device'}}

    def sockets(self):
        # An exec whose gantryd was killed is the shim's until its container ends.
        execs = {n for n in listed(self.state / 'io') if not n.endswith('-init') and n[:16] in {i[:16] for i in self.alive}}
        yield from differ('attach socket', listed(self.state / 'io') - execs, {f'{i[:16]}-init' for i in self.alive})
        shims = listed(self.state / 's')
        if len(shims) != len(self.alive):
            yield f'{len(shims)} shim sockets of {len(self.alive)} shims'

    def network(self):
        wanted = {(i, n) for i in self.alive for n in self.records[i]['endpoints'] if n not in ('host', 'none')}
        yield from differ('endpoint', {(e['container'], e['networkName']) for e in self.endpoints}, wanted)
        yield from differ('namespace entry', listed(self.state / 'netns'), {i for i, _ in wanted})
        bridges = {n['bridge'] for n in self.networks}
        links = {t.what for t in self.engine.traces.interfaces()}
        yield from differ('interface', links, {e['hostLink'] for e in self.endpoints} | bridges)
        yield from self.addresses()
        elements = self.engine.traces.inside('nft', '-j', 'list', 'ruleset')
        addresses = {e['address'] for e in self.endpoints} | {a for n in self.networks for a in self.edges(n)}
        for address in set(re.findall(r'"(10\.\d+\.\d+\.\d+)"', elements)) - addresses:
            yield f'nft element with {address} has no record'
        ports = {(p['protocol'], p['hostPort']) for e in self.endpoints for p in e['ports']}
        yield from differ('published port in the proxy', self.listeners(), ports)
        for protocol, port in ports:
            if not re.search(rf'\b{port}\b', elements):
                yield f'nft knows nothing of {protocol} port {port}'

    @staticmethod
    def edges(network):
        """The subnet and what comes after it, between which its addresses are masqueraded."""
        subnet = ipaddress.ip_network(network['subnet'])
        return {str(subnet.network_address), str(subnet.broadcast_address + 1)}

    def addresses(self):
        """Every bridge has its gateway's address; a container has its addresses, and one way out at most."""
        held = {(i['ifname'], a['local']) for i in json.loads(self.engine.traces.inside('ip', '-j', '-4', 'addr') or '[]') for a in i['addr_info']}
        yield from (f"network {n['name']}: {n['bridge']} has not {n['gateway']}" for n in self.networks if (n['bridge'], n['gateway']) not in held)
        for ident in {e['container'] for e in self.endpoints} & self.alive:
            inside = lambda *c: json.loads(subprocess.run(['nsenter', f'--net={self.state}/netns/{ident}', 'ip', '-j', '-4', *c],
                                                          stdout=subprocess.PIPE, check=False).stdout or '[]')
            found = {(i['ifname'], a['local']) for i in inside('addr') for a in i['addr_info'] if i['ifname'] != 'lo'}
            own = [e for e in self.endpoints if e['container'] == ident]
            yield from differ(f'address of container {ident}', found, {(e['interface'], e['address']) for e in own})
            ways = [e for e in own if not e['internal']]
            leader = min(ways, key=lambda e: (-e['gatewayPriority'], e['networkName']))['gateway'] if ways else None
            routes = [r.get('gateway') for r in inside('route', 'show', 'default')]
            if routes != ([leader] if leader else []):
                yield f'container {ident}: default routes {routes}, not {leader}'

    def listeners(self):
        found = set()
        for protocol, flag in (('tcp', '-ltnH'), ('udp', '-lunH')):
            for line in self.engine.traces.inside('ss', flag).splitlines():
                found.add((protocol, int(re.search(r':(\d+)$', line.split()[3]).group(1))))
        return found

    def kernel(self):
        yield from differ('cgroup', {os.path.basename(g) for g in self.engine.traces.cgroups()
                                     if re.fullmatch('[0-9a-f]{64}', os.path.basename(g))}, self.alive)
        for hierarchy in {g.split('/')[4] for g in self.engine.traces.cgroups()}:
            top = Path('/sys/fs/cgroup') / hierarchy / self.engine.names.cgroup_parent.strip('/')
            if top.is_dir():
                found = {p.name for p in top.iterdir() if p.is_dir()}
                yield from (f'cgroup {top}/{n} has no record' for n in found - self.alive)
        entries = {str(self.state / 'netns' / e['container']) for e in self.endpoints}
        entries |= {str(self.state / 'volumes' / n / '_data') for n in self.mounted_volumes()}
        for line in read('/proc/self/mountinfo').splitlines():
            point = line.split()[4]
            if str(self.state) in line or str(self.root) in line:
                if point not in entries and point != str(self.root):
                    yield f'mount on {point}'

    def all(self):
        for part in (self.phases, self.processes, self.containers, self.snapshots, self.content, self.mounts, self.volumes_and_users, self.sockets, self.network,
                     self.kernel):
            yield from part()


def faults(engine):
    return list(Look(engine).all())


def settled_faults(engine, seconds=20):
    """What is still wrong after background work had its time."""
    return left_after(lambda: faults(engine), seconds)
