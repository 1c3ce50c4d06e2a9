# SPDX-License-Identifier: Apache-2.0
"""Namespaces that the build machine's kernel has not all of: time, and devices of the network that move in."""
import json
import subprocess

import pytest
from conftest import RUNTIME, ours


@ours
def test_time(bundle):
    bundle.linux['namespaces'].append({'type': 'time'})
    bundle.linux['timeOffsets'] = {'boottime': {'secs': 1000000}, 'monotonic': {'secs': 1000000}}
    bundle.start()
    assert float(bundle.exec('cat', '/proc/uptime').stdout.split()[0]) > 1000000


@ours
def test_network_devices(bundle):
    features = json.loads(subprocess.run([RUNTIME, 'features'], stdout=subprocess.PIPE, check=True).stdout)
    if not features['linux']['netDevices']['enabled']:
        pytest.skip('no network devices yet')
    subprocess.run(['ip', 'link', 'add', 'lab0', 'type', 'dummy'], check=True)
    subprocess.run(['ip', 'address', 'add', '192.0.2.7/24', 'dev', 'lab0'], check=True)
    bundle.linux['netDevices'] = {'lab0': {'name': 'eth7'}}
    done = bundle.run('sh', '-c', 'ip address show dev eth7')
    assert '192.0.2.7/24' in done.stdout, done.stderr
