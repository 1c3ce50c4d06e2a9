# SPDX-License-Identifier: Apache-2.0
"""Rows about networks that hosts share, for bench/run.py: what comes through a tunnel of gantry's, beside tunnels made by hand
between the same hosts over the same cables, and what a start costs on a network whose 1,000 endpoints are elsewhere."""
import json
import socket
import statistics
import subprocess
import threading

import networks
from harness import packets
from harness.cluster import cluster_of
from harness.engine import until
from harness.places import IMAGE

ENDPOINTS = 1000
ROUNDS = 7
HAND = '10.232.0'  # the addresses of what is made by hand


def ip(host, *words):
    host.inside('ip', *words)


class ByHand:
    """A VXLAN between two hosts that knows its one neighbour: bare, or as containers have it, with a bridge and a veth."""

    def __init__(self, hosts, vni, bridged):
        self.spaces, self.addresses, self.named = [], [], []
        for number, (host, other) in enumerate(zip(hosts, reversed(hosts), strict=True)):
            tunnel, address = f'hand{vni}', f'{HAND}.{vni % 100 * 10 + number + 1}'
            ip(host, 'link', 'add', tunnel, 'mtu', '1450', 'type', 'vxlan', 'id', str(vni), 'dstport', '4799', 'local', host.address, 'remote', other.address)
            self.named.append((host, tunnel))
            if not bridged:
                ip(host, 'addr', 'add', f'{address}/29', 'dev', tunnel)
                self.spaces.append(host.names.netns)
            else:
                space = f'{host.names.netns_name}-h{vni}'
                subprocess.run(['ip', 'netns', 'add', space], check=True)
                ip(host, 'link', 'add', f'br{vni}', 'type', 'bridge')
                ip(host, 'link', 'set', tunnel, 'master', f'br{vni}')
                ip(host, 'link', 'add', f've{vni}', 'mtu', '1450', 'master', f'br{vni}', 'type', 'veth', 'peer', 'name', 'eth0', 'mtu', '1450', 'netns', space)
                for link in (f'br{vni}', f've{vni}'):
                    ip(host, 'link', 'set', link, 'up')
                for words in (('addr', 'add', f'{address}/29', 'dev', 'eth0'), ('link', 'set', 'eth0', 'up')):
                    subprocess.run(['ip', '-n', space, *words], check=True)
                self.named.append((host, f'br{vni}'))
                self.spaces.append(f'/run/netns/{space}')
            ip(host, 'link', 'set', tunnel, 'up')
            self.addresses.append(address)

    def remove(self):
        for host, link in self.named:
            ip(host, 'link', 'del', link)
        for space in self.spaces:
            if '-h' in space:
                subprocess.run(['ip', 'netns', 'del', space.rpartition('/')[2]], check=True)


def containers(cluster):
    """One on each of two hosts: the paths of their namespaces and their addresses."""
    spaces, addresses = [], []
    for number, client in enumerate(cluster.clients):
        client.ok('run', '-d', '--name', f'end{number}', '--network', 'shared', IMAGE, 'sleep', '100000')
        spaces.append(f"/proc/{client.inspect(f'end{number}', '{{.State.Pid}}')}/ns/net")
        addresses.append(client.inspect(f'end{number}', '{{.NetworkSettings.Networks.shared.IPAddress}}'))
    until(lambda: cluster.clients[0]('exec', 'end0', 'ping', '-c', '1', '-W', '2', addresses[1]).code == 0)
    return spaces, addresses


def through(results, cluster):
    spaces, addresses = containers(cluster)
    bridged, bare = ByHand(cluster.hosts, 701, bridged=True), ByHand(cluster.hosts, 702, bridged=False)
    ways = {'gantry': (spaces, addresses), 'by hand': (bridged.spaces, bridged.addresses), 'bare': (bare.spaces, bare.addresses)}
    listeners = []
    for ends, at in ways.values():
        listener = packets.socket_in(ends[1], socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((at[1], 8080))
        listener.listen(64)
        threading.Thread(target=networks.serve, args=(listener,), daemon=True).start()
        listeners.append(listener)
    for label, unit, measure in (('bytes', 'MB/s', networks.stream), ('round trips', '1/s', networks.trips)):
        found = {name: [] for name in ways}
        for turn in range(ROUNDS):
            for place in range(len(ways)):
                name = list(ways)[(turn + place) % len(ways)]
                ends, at = ways[name]
                found[name].append(measure(ends[0], (at[1], 8080)))
        results.add(f'{label} through a tunnel', unit, less_is_better=False, **{name: statistics.median(values) for name, values in found.items()})
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for made in (bridged, bare):
        made.remove()


def elsewhere(cluster):
    """As another host would tell of its containers."""
    first = cluster.clients[0]
    network = first.ok('network', 'inspect', '-f', '{{.Id}}', 'shared').strip()
    base = first.ok('network', 'inspect', '-f', '{{(index .IPAM.Config 0).Subnet}}', 'shared').strip().rpartition('.')[0].rpartition('.')[0]
    for number in range(ENDPOINTS):
        high, low = divmod(number + 1000, 256)
        address, ident = f'{base}.{high}.{low}', f'{number:064x}'
        told = {'id': ident, 'network': network, 'container': ident, 'host': 'elsewhere', 'hostName': 'elsewhere', 'hostAddress': '10.231.0.50',
                'address': address, 'address6': '', 'mac': '02:42:%02x:%02x:%02x:%02x' % (10, 250, high, low), 'names': [f'far{number}']}
        yield f'/gantry/endpoints/{network}/{ident}', json.dumps(told)
        yield f'/gantry/addresses/{network}/{address}', ident


def joins(results, cluster):
    """Milliseconds of POST start."""
    client = cluster.clients[0]
    for few in (True, False):
        if not few:
            lines = [f'put {key} {json.dumps(value)}' for key, value in elsewhere(cluster)]
            for begin in range(0, len(lines), 100):  # etcd takes 128 in one transaction
                cluster.store.ask('txn', text='\n' + '\n'.join(lines[begin:begin + 100]) + '\n\n\n')
            until(lambda: len(cluster.hosts[0].neighbours()) >= ENDPOINTS)
        times = {name: [] for name in ('shared', 'none')}
        for _ in range(2 * ROUNDS):
            for name, found in times.items():
                found.append(networks.started(client, 0, name))
        told = 'few' if few else f'{ENDPOINTS} endpoints'
        results.add(f'start on an overlay network with {told}', 'ms', gantry=statistics.median(times['shared']), none=statistics.median(times['none']))


def measure(results, home):
    with cluster_of(2, home) as cluster:
        cluster.clients[0].ok('network', 'create', '-d', 'overlay', '--subnet', '10.250.0.0/16', 'shared')
        until(lambda: all('shared' in c.ok('network', 'ls', '--format', '{{.Name}}').split() for c in cluster.clients))
        through(results, cluster)
        joins(results, cluster)
