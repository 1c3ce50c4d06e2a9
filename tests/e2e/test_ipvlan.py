# SPDX-License-Identifier: Apache-2.0
"""Networks of the driver ipvlan, by packets: a host with its containers, another host on the same cable. A kernel may lack ipvlan;
where it has it (tests/lab/run), what Debian's dockerd can do is proven on it, too (GANTRY_E2E=docker:peer)."""
import pytest

from conftest import engines
from harness import packets
from harness.places import IMAGE
from test_macvlan import FAR, kernel_makes, nothing_stays, only_gantry, world_of
from test_networks import entries, links, message

KERNEL_HAS_IT = kernel_makes('ipvlan', 'mode', 'l2')
needs_ipvlan = pytest.mark.skipif(not KERNEL_HAS_IT, reason='this kernel has no ipvlan')
__all__ = ['nothing_stays']  # of every test here


@pytest.fixture(scope='module', params=engines())
def world(request, home):
    with world_of(request.param, home, 'ipvlan') as made:
        yield made


def hardware(world, space, link):
    return packets.run('ip', '-o', 'link', 'show', link, space=space).split('link/ether ')[1].split()[0]


@needs_ipvlan
def test_layer_2(world):
    client = world.client
    world.network('n-lan')
    a, b = world.container('ma', 'n-lan', '--ip', '192.0.2.11'), world.container('mb', 'n-lan')
    entry = entries(client, a)['n-lan']
    assert (entry['IPAddress'], entry['Gateway'], entry['IPPrefixLen']) == ('192.0.2.11', '192.0.2.2', 24)
    # One MAC address for all, the parent's.
    parent = hardware(world, world.host, 'cable')
    assert parent == hardware(world, world.space(a), 'eth0') == hardware(world, world.space(b), 'eth0')
    assert 'default via 192.0.2.2' in client.ok('exec', a, 'ip', 'route')
    assert world.asks(b, '192.0.2.11') == f'ma {world.address(b)}'
    assert world.asks('other', '192.0.2.11') == 'ma 192.0.2.2' and world.asks(a, '192.0.2.2') == world.asks(a, FAR) == 'other 192.0.2.11'
    # The parent's own host is the one machine that they can't reach.
    assert world.silent('host', '192.0.2.11') and world.silent(a, '192.0.2.1')
    assert client('exec', a, 'ping', '-c', '1', '-W', '3', b).code == 0
    world.remove(a)
    again = world.container('ma', 'n-lan', '--ip', '192.0.2.11')
    assert world.asks('other', '192.0.2.11') == 'ma 192.0.2.2'
    world.remove(again, b, 'n-lan')
    assert world.silent('other', '192.0.2.11')


@needs_ipvlan
@pytest.mark.parametrize('flag', ['private', 'vepa'])
def test_flags_that_keep_neighbours_apart(world, flag):
    only_gantry(world)  # dockerd 20.10 has no flags
    world.network('n-apart', '-o', f'ipvlan_flag={flag}')
    a, b = world.container('ma', 'n-apart', '--ip', '192.0.2.21'), world.container('mb', 'n-apart', '--ip', '192.0.2.22')
    assert world.silent(a, '192.0.2.22') and world.silent(b, '192.0.2.21')
    assert world.asks('other', '192.0.2.21') == 'ma 192.0.2.2' and world.asks(b, '192.0.2.2') == 'other 192.0.2.22'
    world.remove(a, b, 'n-apart')


@needs_ipvlan
@pytest.mark.parametrize('mode', ['l3', 'l3s'])
def test_layer_3(world, mode):
    """The host routes: others need a way to the subnet by it, and a container sends all to its interface."""
    if mode == 'l3s':
        only_gantry(world)  # dockerd 20.10 has no such mode
    client = world.client
    world.network('n-routed', '-o', f'ipvlan_mode={mode}', subnet='192.0.20.0/24', gateway='192.0.20.2')
    packets.run('ip', 'route', 'add', '192.0.20.0/24', 'via', '192.0.2.1', space=world.other)
    packets.run('ip', 'route', 'add', f'{FAR}/32', 'via', '192.0.2.2', space=world.host)
    try:
        a, b = world.container('ma', 'n-routed', '--ip', '192.0.20.11'), world.container('mb', 'n-routed')
        assert client.ok('exec', a, 'ip', 'route').splitlines()[0].split() == ['default', 'dev', 'eth0', 'scope', 'link']
        assert 'via' not in client.ok('exec', a, 'ip', 'route')
        assert world.asks(b, '192.0.20.11') == f'ma {world.address(b)}'
        assert world.asks('other', '192.0.20.11') == 'ma 192.0.2.2'
        assert world.asks(a, '192.0.2.2') == 'other 192.0.20.11' and world.asks(a, FAR) == 'other 192.0.20.11'
        world.remove(a, b, 'n-routed')
    finally:
        packets.run('ip', 'route', 'del', '192.0.20.0/24', space=world.other)
        packets.run('ip', 'route', 'del', f'{FAR}/32', space=world.host)


@needs_ipvlan
def test_internal_and_two_families(world):
    client = world.client
    world.network('n-six', '--ipv6', '--subnet', 'fd5e:192::/64', '--gateway', 'fd5e:192::2')
    a = world.container('ma', 'n-six')
    assert 'default via fd5e:192::2' in client.ok('exec', a, 'ip', '-6', 'route')
    assert packets.ping(world.other, entries(client, a)['n-six']['GlobalIPv6Address'], 5) == 'yes'
    world.remove(a, 'n-six')
    world.network('n-inner', '--internal', '-o', 'ipvlan_mode=l3', subnet='192.0.21.0/24', gateway='192.0.21.2')
    a = world.container('ma', 'n-inner')
    assert 'default' not in client.ok('exec', a, 'ip', 'route')
    world.remove(a, 'n-inner')


@needs_ipvlan
def test_without_a_parent_and_beside_a_bridge(world):
    client = world.client
    world.network('n-alone', parent='', subnet='192.0.7.0/24', gateway='192.0.7.2')
    a, b = world.container('ma', 'n-alone'), world.container('mb', 'n-alone')
    assert world.asks(a, world.address(b)) == f'mb {world.address(a)}'
    ident = client.ok('network', 'inspect', '-f', '{{.Id}}', 'n-alone').strip()
    assert f'di-{ident[:12]}' in packets.run('ip', 'link', space=world.host)
    client.ok('network', 'connect', 'bridge', a)
    assert 'default via' in client.ok('exec', a, 'ip', 'route')
    world.remove(a, b, 'n-alone')
    assert f'di-{ident[:12]}' not in packets.run('ip', 'link', space=world.host)


@needs_ipvlan
def test_daemon_killed_and_things_taken_away(world):
    only_gantry(world)
    client, engine = world.client, world.client.engine
    world.network('n-kill')
    a = world.container('ma', 'n-kill', '--ip', '192.0.2.41')
    index = client.ok('exec', a, 'cat', '/sys/class/net/eth0/ifindex')
    engine.kill('gantryd')
    assert world.asks('other', '192.0.2.41') == 'ma 192.0.2.2'
    engine.start()
    assert client.ok('exec', a, 'cat', '/sys/class/net/eth0/ifindex') == index and world.asks('other', '192.0.2.41') == 'ma 192.0.2.2'
    packets.run('ip', 'link', 'del', 'eth0', space=world.space(a))
    engine.restart()
    assert world.asks('other', '192.0.2.41') == 'ma 192.0.2.2'
    world.remove(a, 'n-kill')


REFUSED = [
    ({'parent': 'cable', 'ipvlan_mode': 'l4'}, "requested ipvlan mode 'l4' is not valid, 'l2' mode is the ipvlan driver default"),
    ({'parent': 'cable', 'ipvlan_flag': 'passthru'}, "requested ipvlan flag 'passthru' is not valid, 'bridge' is the ipvlan driver default"),
    ({'parent': 'lo'}, 'loopback interface is not a valid ipvlan parent link'),
    ({'parent': 'nosuch'}, 'invalid subinterface vlan name nosuch, example formatting is eth0.10'),
]


@pytest.mark.parametrize('options,words', REFUSED, ids=[str(o) for o, _ in REFUSED])
def test_refused(world, options, words):
    if 'ipvlan_flag' in options:
        only_gantry(world)
    before = links(world.client)
    wanted = {'Name': 'n-no', 'Driver': 'ipvlan', 'Options': options, 'IPAM': {'Config': [{'Subnet': '192.0.6.0/24'}]}}
    assert message(world.client, 'POST', '/networks/create', wanted) == (500, words)
    assert set(links(world.client)) <= set(before) and 'n-no' not in world.client.ok('network', 'ls')


def test_a_parent_has_one_network_and_no_mac_is_chosen(world):
    client = world.client
    world.network('n-one')
    ident = client.ok('network', 'inspect', '-f', '{{.Id}}', 'n-one').strip()
    status, said = message(client, 'POST', '/networks/create', {'Name': 'n-two', 'Driver': 'ipvlan', 'Options': {'parent': 'cable'},
                                                                'IPAM': {'Config': [{'Subnet': '192.0.6.0/24'}]}})
    assert status == 500 and said == f'network di-{ident[:12]} is already using parent interface cable'
    done = client('run', '--rm', '--network', 'n-one', '--mac-address', '02:aa:00:00:00:11', IMAGE, 'true')
    assert done.code == 125 and 'ipvlan interfaces do not support custom mac address assignment' in done.err
    world.remove('n-one')


@pytest.mark.skipif(KERNEL_HAS_IT, reason='this kernel has ipvlan')
def test_a_kernel_without_it(world):
    only_gantry(world)
    world.network('n-none')
    done = world.client('run', '--rm', '--network', 'n-none', IMAGE, 'true')
    assert done.code == 125 and 'failed to create the ipvlan port' in done.err and 'this kernel has no ipvlan' in done.err
    world.remove('n-none')
