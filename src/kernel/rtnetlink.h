// SPDX-License-Identifier: Apache-2.0
//
// rtnetlink: links, addresses and routes (rtnetlink(7)). Append… functions add one message to a
// batch; List… functions dump. Any thread, each with its own socket.
#pragma once

#include <netinet/in.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "kernel/netlink.h"

namespace gantry::kernel {

using HardwareAddress = std::array<uint8_t, 6>;

// A veth pair, our end up, whose other end is born inside a namespace, down. Making it here and
// moving it costs 15–30 ms more: each move waits for a grace period.
struct VethSpec {
  std::string name;  // our end
  int master = 0;    // index of its bridge, 0: none
  std::string peer;  // the name of the end inside
  BorrowedFd peer_netns;
  HardwareAddress peer_mac{};
  uint32_t mtu = 1500;
};
void AppendCreateVeth(NetlinkBatch* batch, const VethSpec& spec);
// Up, with a MAC address of its own: else it would follow its ports' as they come and go.
void AppendCreateBridge(NetlinkBatch* batch, const std::string& name, const HardwareAddress& mac,
                        uint32_t mtu);
void AppendLinkUp(NetlinkBatch* batch, int index);
void AppendSetMtu(NetlinkBatch* batch, int index, uint32_t mtu);
// It is down.
void AppendRenameLink(NetlinkBatch* batch, int index, const std::string& name);
// Makes it a port of that bridge.
void AppendSetMaster(NetlinkBatch* batch, int index, int master);
// A bridge's port, by its name, that reaches the bridge itself and ports that are not isolated.
void AppendIsolatePort(NetlinkBatch* batch, const std::string& name);
void AppendDeleteLink(NetlinkBatch* batch, int index);
void AppendAddAddress(NetlinkBatch* batch, int index, in_addr address, uint8_t prefix_length);
void AppendDeleteAddress(NetlinkBatch* batch, int index, in_addr address, uint8_t prefix_length);
// Used at once, without asking the network whether somebody else has it.
void AppendAddAddress6(NetlinkBatch* batch, int index, const in6_addr& address,
                       uint8_t prefix_length);
void AppendDeleteAddress6(NetlinkBatch* batch, int index, const in6_addr& address,
                          uint8_t prefix_length);
// In place of the default route that is there already.
void AppendDefaultRoute(NetlinkBatch* batch, in_addr gateway);
void AppendDefaultRoute6(NetlinkBatch* batch, int index, const in6_addr& gateway);
// All goes to the interface as it is, without a gateway; `family` is AF_INET or AF_INET6.
void AppendDefaultDevice(NetlinkBatch* batch, int index, uint8_t family);

// Every default route over that interface, of both families.
Result<> DeleteDefaultRoutes(NetlinkSocket* socket, int index);

struct Link {
  int index = 0;
  std::string name;
  std::string kind;  // "veth", "bridge", "" for hardware
  int master = 0;
  bool up = false;
  uint32_t mtu = 0;
  HardwareAddress mac{};
};
Result<std::vector<Link>> ListLinks(NetlinkSocket* socket);
// kNotFound when there is none.
Result<Link> FindLink(NetlinkSocket* socket, const std::string& name);
// The index of an interface in the socket's namespace, without the lock that all changes take.
Result<int> LinkIndex(const NetlinkSocket& socket, const std::string& name);
// One that is not there, or goes by itself in between, is no error.
Result<> DeleteLink(NetlinkSocket* socket, const std::string& name);

struct LinkAddress {
  int index = 0;
  in_addr address{};
  uint8_t prefix_length = 0;
};
Result<std::vector<LinkAddress>> ListAddresses(NetlinkSocket* socket);
struct LinkAddress6 {
  int index = 0;
  in6_addr address{};
  uint8_t prefix_length = 0;
};
Result<std::vector<LinkAddress6>> ListAddresses6(NetlinkSocket* socket);

struct Route {
  in_addr destination{};
  uint8_t prefix_length = 0;
  int interface = 0;
  uint32_t table = 0;
};
// IPv4, all tables.
Result<std::vector<Route>> ListRoutes(NetlinkSocket* socket);
struct Route6 {
  in6_addr destination{};
  uint8_t prefix_length = 0;
  int interface = 0;
  uint32_t table = 0;
  bool advertised = false;  // by a router of the network (RTPROT_RA)
};
Result<std::vector<Route6>> ListRoutes6(NetlinkSocket* socket);

}  // namespace gantry::kernel
