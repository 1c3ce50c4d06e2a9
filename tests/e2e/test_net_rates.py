# SPDX-License-Identifier: Apache-2.0
"""How fast containers send and receive: --net-rate and --net-ceil, by packets. What is measured can only be slower on a busy machine, so upper bounds are sharp and lower ones far."""
import os
import re
import socket
import threading
import time

import pytest

from harness import packets
from harness.client import Client
from harness.engine import ask, until
from harness.places import IMAGE

MBIT = 1_000_000
PART = 64 << 10  # what one packet may be over the rate, before the interface cuts it up


@pytest.fixture
def gantry(stack, home):
    gantry = Client('gantry', stack, home)
    yield gantry
    for name in gantry.ok('ps', '-aq', '--filter', 'name=rate-').split():
        gantry('rm', '-f', name)
    for name in gantry.ok('network', 'ls', '-q', '--filter', 'name=rate-').split():
        gantry('network', 'rm', name)


def start(gantry, name, *options):
    gantry.ok('run', '-d', '--name', name, *options, IMAGE, 'sleep', '100000')
    return name


def space(gantry, name):
    return f"/proc/{gantry.inspect(name, '{{.State.Pid}}')}/ns/net"


def gateway(gantry, name):
    """The host's address on the first network, in the host's own namespace."""
    return next(n['Gateway'] for n in ask(gantry.engine, 'GET', f'/containers/{name}/json')['NetworkSettings']['Networks'].values())


def seconds(sender, receiver, address, size):
    """From before the first byte is sent to the last one's arrival."""
    with packets.socket_in(receiver, socket.AF_INET, socket.SOCK_STREAM) as server, packets.socket_in(sender, socket.AF_INET, socket.SOCK_STREAM) as source:
        server.bind((address, 0))
        server.listen()
        for sock in (server, source):
            sock.settimeout(120)
        source.connect(server.getsockname())
        sink, _ = server.accept()
        with sink:
            sink.settimeout(120)
            began = time.monotonic()
            thread = threading.Thread(target=source.sendall, args=(b'x' * size,))
            thread.start()
            left = size
            while left:
                left -= len(sink.recv(1 << 20))
            took = time.monotonic() - began
            thread.join()
    return took


def both_ways(gantry, name, size):
    """Received, then sent, at the same time."""
    inside, host = space(gantry, name), gantry.engine.names.netns
    entry = next(iter(ask(gantry.engine, 'GET', f'/containers/{name}/json')['NetworkSettings']['Networks'].values()))
    return packets.together([lambda: seconds(host, inside, entry['IPAddress'], size), lambda: seconds(inside, host, entry['Gateway'], size)])


def assert_limited(gantry, name, rate, size=400_000):
    for took in both_ways(gantry, name, size):
        assert took > (size - PART) * 8 / rate * 0.9, f'{size} bytes took {took:.3f} s'


def assert_free(gantry, name, rate, size=400_000):
    """Somewhere in a few tries, twice as fast as the limit would be."""
    until(lambda: max(both_ways(gantry, name, size)) < size * 8 / rate / 2, 60, 'no limit')


def classes(gantry, name):
    """What the kernel has at both ends of each interface: (rate, ceil) in tc's words."""
    pid = gantry.inspect(name, '{{.State.Pid}}')
    found = []
    for line in packets.run('ip', '-o', 'link', space=f'/proc/{pid}/ns/net').splitlines():
        if match := re.match(r'\d+: (\S+?)@if(\d+):', line):
            host = next(x for x in packets.run('ip', '-o', 'link', space=gantry.engine.names.netns).splitlines() if x.startswith(f'{match[2]}: ')).split(' ')[1].partition('@')[0]
            for where, device in ((f'/proc/{pid}/ns/net', match[1]), (gantry.engine.names.netns, host)):
                shown = re.search(r'class htb .* rate (\S+) ceil (\S+)', packets.run('tc', 'class', 'show', 'dev', device, space=where))
                found.append(shown.groups() if shown else None)
    return found


def test_both_directions_live_and_over_restarts(gantry):
    name = start(gantry, 'rate-a', '--net-rate', '2mbit')
    assert_limited(gantry, name, 2 * MBIT)
    host = ask(gantry.engine, 'GET', f'/containers/{name}/json')['HostConfig']
    assert host['NetRate'] == 2 * MBIT and 'NetCeil' not in host
    gantry.ok('update', '--net-rate', '0', name)
    assert classes(gantry, name) == [None, None] and 'NetRate' not in ask(gantry.engine, 'GET', f'/containers/{name}/json')['HostConfig']
    assert_free(gantry, name, 2 * MBIT)
    gantry.ok('update', '--net-rate', '1mbit', '--net-ceil', '3mbit', name)
    gantry.ok('update', '--net-rate', '3mbit', name)
    assert classes(gantry, name) == [('3Mbit', '3Mbit')] * 2
    # The daemon comes back; the container; another network.
    gantry.engine.restart()
    assert classes(gantry, name) == [('3Mbit', '3Mbit')] * 2
    gantry.ok('restart', '-t', '0', name)
    assert_limited(gantry, name, 3 * MBIT)
    gantry.ok('network', 'create', 'rate-net')
    gantry.ok('network', 'connect', 'rate-net', name)
    assert classes(gantry, name) == [('3Mbit', '3Mbit')] * 4
    gantry.ok('update', '--net-rate', '1mbit', '--net-ceil', '1mbit', name)
    assert classes(gantry, name) == [('1Mbit', '1Mbit')] * 4
    gantry.ok('network', 'disconnect', 'bridge', name)
    assert_limited(gantry, name, MBIT, 200_000)
    # One that does not run takes it at its start, one that never had any is as it was.
    gantry.ok('stop', '-t', '0', name)
    gantry.ok('update', '--net-rate', '0', '--net-ceil', '0', name)
    gantry.ok('start', name)
    assert classes(gantry, name) == [None, None]


def test_a_ceiling_is_reached_after_a_quiet_moment(gantry):
    """A second's worth of the rate may go at once; in the long run it is the rate."""
    name = start(gantry, 'rate-c', '--net-rate', '4mbit', '--net-ceil', '400mbit')
    second = 4 * MBIT // 8

    def quick():
        # Long enough for the credit to be whole again, whatever was before.
        time.sleep(1.2)
        return max(both_ways(gantry, name, second * 8 // 10)) < 0.5
    until(quick, 60, 'a burst')
    for took in both_ways(gantry, name, second * 4):
        assert took > 2.9 * 0.9, f'{took:.3f} s'


def test_a_crash_leaves_what_inspect_says(gantry):
    name = start(gantry, 'rate-k', '--net-rate', '5mbit')
    for number, wait in enumerate((0.0, 0.004, 0.012, 0.03)):
        rate = (6 + number) * MBIT if number % 2 == 0 else 0
        process = gantry.start('update', '--net-rate', rate, name)
        time.sleep(wait)
        gantry.engine.kill('gantryd')
        process.communicate()
        gantry.engine.start()
        told = ask(gantry.engine, 'GET', f'/containers/{name}/json')['HostConfig'].get('NetRate')
        assert classes(gantry, name) == [(f'{told // MBIT}Mbit',) * 2 if told else None] * 2, f'{wait}: {told}'
    # Somebody took it away meanwhile.
    gantry.ok('update', '--net-rate', '2mbit', name)
    gantry.engine.kill('gantryd')
    packets.run('tc', 'qdisc', 'del', 'dev', 'eth0', 'root', space=space_of_pid(gantry, name))
    gantry.engine.start()
    assert classes(gantry, name) == [('2Mbit', '2Mbit')] * 2


def space_of_pid(gantry, name):
    """The daemon is not there: by the entry of its namespace."""
    entries = os.listdir(f'{gantry.engine.names.state}/netns')
    assert len(entries) == 1, entries
    return f'{gantry.engine.names.state}/netns/{entries[0]}'


@pytest.mark.parametrize('options, said', [
    (('--net-rate', '1kbit'), 'invalid NetRate: 1000 bit/s, the minimum is 16000'),
    (('--net-rate', '2mbit', '--net-ceil', '1mbit'), 'invalid NetCeil: 1000000 bit/s is less than NetRate, which is 2000000'),
    (('--net-rate', '1mbit', '--network', 'host'), 'conflicting options: net rates and the host network mode'),
    (('--net-ceil', '1mbit', '--network', 'none'), 'conflicting options: net rates and the none network mode'),
    (('--net-rate', '1mbit', '--network', 'container:x'), 'conflicting options: net rates and the container type network mode'),
    (('--net-rate', '1mbyte'), "invalid rate '1mbyte'"),
])
def test_what_can_not_be(gantry, options, said):
    done = gantry('create', '--name', 'rate-x', *options, IMAGE, 'true')
    assert done.code != 0 and said in done.err, done
    assert gantry.ok('ps', '-aq', '--filter', 'name=rate-x') == ''


def test_an_update_that_can_not_be_changes_nothing(gantry):
    name = start(gantry, 'rate-u', '--net-rate', '2mbit')
    before = ask(gantry.engine, 'GET', f'/containers/{name}/json')['HostConfig']
    done = gantry('update', '--net-ceil', '1mbit', '--pids-limit', '30', name)
    assert done.code == 1 and 'invalid NetCeil' in done.err
    assert ask(gantry.engine, 'POST', f'/containers/{name}/update', {'NetRate': -1}, status=400)['message'].endswith('invalid NetRate: -1 bit/s, the minimum is 16000')
    assert ask(gantry.engine, 'GET', f'/containers/{name}/json')['HostConfig'] == before and classes(gantry, name) == [('2Mbit', '2Mbit')] * 2
    gantry.ok('run', '-d', '--name', 'rate-h', '--network', 'host', IMAGE, 'sleep', '100000')
    assert 'conflicting options' in gantry('update', '--net-rate', '1mbit', 'rate-h').err
