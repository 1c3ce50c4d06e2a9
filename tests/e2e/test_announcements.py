# SPDX-License-Identifier: Apache-2.0
"""A container's neighbours are told whose its addresses are now, by packets. dockerd 20.10 doesn't; what is told, and the
options, are docker 28's."""
import socket
import struct
import time

import pytest

from harness import packets
from test_networks import api, nets, sleeper, subnet  # noqa: F401
from test_networks6 import subnet6

pytestmark = [pytest.mark.only('gantry'), pytest.mark.engine_alone]
OPTION = 'com.docker.network.advertise_addr'
EVERYTHING = 3  # ETH_P_ALL
SO_TIMESTAMPNS = 35  # asm-generic/socket.h
ARP, IPV6 = 0x0806, 0x86dd


def space_of(client, container):
    return f"/proc/{client.inspect(container, '{{.State.Pid}}')}/ns/net"


def announced(frame):
    """(address, MAC address) that the frame is about, or None."""
    kind = struct.unpack('!H', frame[12:14])[0]
    if kind == ARP:
        operation, mac, sender, target = struct.unpack('!6xH6s4s6x4s', frame[14:42])
        return (socket.inet_ntoa(sender), mac.hex(':')) if operation == 1 and sender == target else None
    if kind == IPV6 and frame[20] == socket.IPPROTO_ICMPV6 and frame[54] == 136:
        assert frame[21] == 255 and frame[38:54] == socket.inet_pton(socket.AF_INET6, 'ff02::1') and frame[58] == 0x20
        pseudo = frame[22:54] + struct.pack('!II', len(frame) - 54, socket.IPPROTO_ICMPV6)
        assert packets.checksum(pseudo + frame[54:]) == 0
        return socket.inet_ntop(socket.AF_INET6, frame[62:78]), frame[80:86].hex(':')
    return None


class Listener:
    """All that a container hears of its link."""

    def __init__(self, space):
        self.sock = packets.socket_in(space, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERYTHING))
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def of(self, addresses, seconds):
        """When each of these was told for whom: {address: [(second of its arrival, MAC address)]}."""
        found = {address: [] for address in addresses}
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                frame, ancillary, _, _ = self.sock.recvmsg(2000, 64)
                told = announced(frame)
            except TimeoutError:
                break
            if told and told[0] in found:
                second, nanoseconds = struct.unpack('qq', ancillary[0][2])
                found[told[0]].append((second + nanoseconds / 1e9, told[1]))
        return found


def run_at(client, net, name, addresses, mac):
    sleeper(client, name, '--network', net, '--ip', addresses[0], '--ip6', addresses[1], '--mac-address', mac)
    return name


@pytest.fixture
def made(client, nets):
    """A network with these options, a neighbour on it, and addresses for another container."""
    def make(**options):
        four, six = subnet(), subnet6()
        net = nets(EnableIPv6=True, IPAM={'Config': [{'Subnet': four}, {'Subnet': six}]},
                   Options={f'{OPTION}_{key}': value for key, value in options.items()})
        return net, sleeper(client, f'{net}-near', '--network', net), (four.replace('.0/24', '.77'), six.replace('/64', '77'))
    return make


def test_an_address_that_is_used_again(client, made):
    """By a container of another MAC address, at once: neighbours and the host reach it although they knew the other."""
    net, near, addresses = made()
    old = run_at(client, net, f'{net}-old', addresses, '02:00:00:00:0a:01')
    spaces = [space_of(client, near), client.engine.names.netns]
    assert [packets.ping(space, address) for space in spaces for address in addresses] == ['yes'] * 4
    client.ok('rm', '-f', old)
    run_at(client, net, f'{net}-new', addresses, '02:00:00:00:0a:02')
    assert [packets.ping(space, address, 0.2) for space in spaces for address in addresses] == ['yes'] * 4


def test_who_is_not_told_goes_on_asking_the_wrong_one(client, made):
    """The same without announcements: what the test above shows is theirs."""
    net, near, addresses = made(nmsgs='0')
    old = run_at(client, net, f'{net}-old', addresses, '02:00:00:00:0b:01')
    space = space_of(client, near)
    assert packets.ping(space, addresses[0]) == 'yes'
    client.ok('rm', '-f', old)
    run_at(client, net, f'{net}-new', addresses, '02:00:00:00:0b:02')
    assert packets.ping(space, addresses[0], 0.2) == 'no'


@pytest.mark.parametrize('options,times,pause', [({}, 3, 1.0), ({'nmsgs': '1'}, 1, 0), ({'nmsgs': '2', 'ms': '100'}, 2, 0.1), ({'nmsgs': '0'}, 0, 0)],
                         ids=str)
def test_how_often(client, made, options, times, pause):
    net, near, addresses = made(**options)
    listener = Listener(space_of(client, near))
    mac = '02:00:00:00:0c:01'
    run_at(client, net, f'{net}-new', addresses, mac)
    for told in listener.of(addresses, 3.5).values():
        assert [seen for _, seen in told] == [mac] * times
        assert all(later - earlier >= pause * 0.8 for (earlier, _), (later, _) in zip(told, told[1:]))


def test_nobody_speaks_for_who_has_gone(client, made):
    net, near, addresses = made(ms='2000')
    listener = Listener(space_of(client, near))
    client.ok('rm', '-f', run_at(client, net, f'{net}-new', addresses, '02:00:00:00:0d:01'))
    assert [len(told) for told in listener.of(addresses, 3).values()] == [1, 1]


def test_a_connected_container_is_told_of(client, made):
    net, near, addresses = made(nmsgs='1')
    other = sleeper(client, f'{net}-other')
    listener = Listener(space_of(client, near))
    client.ok('network', 'connect', '--ip', addresses[0], '--ip6', addresses[1], net, other)
    assert [len(told) for told in listener.of(addresses, 1).values()] == [1, 1]
