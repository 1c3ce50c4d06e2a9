# SPDX-License-Identifier: Apache-2.0
"""Hosts that share networks: each a network namespace with a gantryd of its own, with cables to a
bridge in a namespace of the test's, where Debian's etcd is too."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile

from . import places
from .client import Client
from .engine import Stack, until

NET = '10.231.0'
STORE = f'{NET}.100'
LEASE = 5  # seconds


class Store:
    """etcd, as long as it is not killed."""

    def __init__(self, space):
        self.space, self.process = space, None
        self.folder = tempfile.mkdtemp(prefix='gt-etcd-')

    def start(self):
        url = f'http://{STORE}:2379'
        self.process = subprocess.Popen(
            ['nsenter', f'--net=/run/netns/{self.space}', 'etcd', '--data-dir', f'{self.folder}/data', '--listen-client-urls', url,
             '--advertise-client-urls', url, '--listen-peer-urls', 'http://127.0.0.1:2380', '--log-level', 'error'],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: self.ask('endpoint', 'health', check=False)[0] == 0)

    def ask(self, *command, check=True, text=None):
        done = subprocess.run(['nsenter', f'--net=/run/netns/{self.space}', 'etcdctl', '--endpoints', f'{STORE}:2379', *command], check=check,
                              input=text, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60, env={**os.environ, 'ETCDCTL_API': '3'})
        return done.returncode, done.stdout

    def keys(self, prefix='/gantry/'):
        return self.ask('get', '--prefix', '--keys-only', prefix)[1].split()

    def endpoints(self, host):
        """The IPv4 addresses that the cluster knows of at that host's."""
        values = [json.loads(line) for line in self.ask('get', '--prefix', '--print-value-only', '/gantry/endpoints/')[1].splitlines() if line]
        return {v['address'] for v in values if v['hostAddress'] == host}

    def end_leases(self):
        """What each host has told ends at once."""
        for line in self.ask('lease', 'list')[1].splitlines()[1:]:
            self.ask('lease', 'revoke', line.strip())

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Host(Stack):
    """One of them; `number` is the last part of its address."""

    def __init__(self, number, extra=()):
        super().__init__(number, ['--cluster-store', f'etcd://{STORE}:2379', '--cluster-advertise', 'eth0', '--cluster-store-opt',
                                  f'discovery.ttl={LEASE}', *extra])
        self.address = f'{NET}.{number}'

    def cable(self, space, mtu=1500):
        """A cable into the test's bridge."""
        self.make_places()
        port = f'p{self.address.rsplit(".", 1)[1]}'
        subprocess.run(['ip', '-n', space, 'link', 'add', port, 'mtu', str(mtu), 'master', 'br0', 'type', 'veth', 'peer', 'name', 'eth0', 'mtu', str(mtu),
                        'netns', self.names.netns_name], check=True)
        subprocess.run(['ip', '-n', space, 'link', 'set', port, 'up'], check=True)
        self.inside('ip', 'addr', 'add', f'{self.address}/24', 'dev', 'eth0')
        self.inside('ip', 'link', 'set', 'eth0', 'up')
        self.inside('ip', 'route', 'add', 'default', 'via', STORE)
        return self

    def tunnels(self):
        return [line.split()[1].rstrip(':') for line in self.inside('ip', '-o', 'link', 'show', 'type', 'vxlan').stdout.splitlines()]

    def forwards(self):
        """The hosts that a tunnel sends to."""
        out = [self.inside('bridge', 'fdb', 'show', 'dev', t).stdout for t in self.tunnels()]
        return {line.split(' dst ')[1].split()[0] for text in out for line in text.splitlines() if ' dst ' in line}


    def neighbours(self):
        """The IPv4 addresses that its tunnels answer for."""
        out = [self.inside('ip', '-4', '-o', 'neigh', 'show', 'nud', 'permanent', 'dev', t).stdout for t in self.tunnels()]
        return {line.split()[0] for text in out for line in text.splitlines()}


class Cluster:
    def __init__(self, home, hosts, extra):
        self.home = home
        self.space = f'gt-hub{os.getpid()}'
        subprocess.run(['ip', 'netns', 'add', self.space], check=True)
        for command in ('link set lo up', 'link add br0 type bridge', 'link set br0 up', f'addr add {STORE}/24 dev br0'):
            subprocess.run(['ip', '-n', self.space, *command.split()], check=True)
        self.store = Store(self.space)
        self.hosts = [Host(number + 1, extra).cable(self.space) for number in range(hosts)]
        self.clients = []

    def start(self):
        self.store.start()
        for host in self.hosts:
            host.start()
            self.clients.append(Client('gantry', host, self.home))
            self.clients[-1].ok('load', '-i', places.IMAGE_TAR)
        return self

    def destroy(self):
        left = []
        for host in self.hosts:
            left += host.destroy()
        if self.store.process:
            self.store.kill()
        subprocess.run(['ip', 'netns', 'del', self.space], check=True)
        shutil.rmtree(self.store.folder)
        return left


@contextlib.contextmanager
def cluster_of(hosts, home, extra=()):
    made = Cluster(home, hosts, extra)
    try:
        yield made.start()
    finally:
        left = made.destroy()
    assert left == []
