# SPDX-License-Identifier: Apache-2.0
"""64 clients that do `run --rm` all at once: no error, nothing left, no daemon that has grown; in a soak for two minutes,
beside Debian's dockerd."""
import json
import os

import pytest

from harness import places
from harness.client import Client, own_stack
from harness.crowd import note, runs_at_once
from harness.engine import until

CLIENTS = 64
SECONDS = 120 if places.SOAK else 4
WARM_UP = 30 if places.SOAK else 2


def held(engine):
    """Descriptors and resident bytes of each daemon."""
    found = {}
    for daemon in ('gantryd', 'gantry-containerd'):
        pid = engine.pid(daemon)
        pages = int(open(f'/proc/{pid}/statm').read().split()[1])
        found[daemon] = (len(os.listdir(f'/proc/{pid}/fd')), pages * os.sysconf('SC_PAGE_SIZE'))
    return found


@pytest.fixture
def own(home):
    with own_stack(15, home) as client:
        yield client


def test_run_rm_by_many_clients(own, home):
    engine = own.engine
    _, wrong = runs_at_once(own, CLIENTS, WARM_UP)
    assert wrong == []
    assert [str(t) for t in engine.settled(60)] == []
    before = held(engine)
    rate, wrong = runs_at_once(own, CLIENTS, SECONDS)
    assert wrong == []
    assert json.loads(engine.api('GET', '/containers/json?all=1')[1]) == []
    assert [str(t) for t in engine.settled(60)] == []
    until(lambda: all(held(engine)[d][0] <= before[d][0] + 10 for d in before), 30, f'descriptors: {before}, then {held(engine)}')
    after = held(engine)
    assert all(after[d][1] < before[d][1] + (16 << 20) for d in before), (before, after)
    note(f'{CLIENTS} clients doing run --rm for {SECONDS} s: {rate:.1f} runs a second, no error, nothing left; resident MB of gantryd '
         f"{before['gantryd'][1] / 1e6:.1f} then {after['gantryd'][1] / 1e6:.1f}, of gantry-containerd "
         f"{before['gantry-containerd'][1] / 1e6:.1f} then {after['gantry-containerd'][1] / 1e6:.1f}")


@pytest.mark.skipif(not places.SOAK, reason='the peer alone takes two minutes')
def test_the_peer_meanwhile(peer, home):
    rate, wrong = runs_at_once(Client('docker', peer, home), CLIENTS, SECONDS)
    note(f"the same by docker's client on Debian's dockerd: {rate:.1f} runs a second, {len(wrong)} errors {wrong[:1]}")
