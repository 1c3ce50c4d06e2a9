// SPDX-License-Identifier: Apache-2.0
//
// Interfaces that stand on another one (ip-link(8)): macvlan, ipvlan and VLANs, and interfaces for
// them to stand on that lead nowhere. As in rtnetlink.h, each function adds one message to a batch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "kernel/netlink.h"
#include "kernel/rtnetlink.h"

namespace gantry::kernel {

// Born inside a namespace, down.
struct SubLinkSpec {
  // Older kernels (6.1) take no name that an interface of the socket's own namespace has.
  std::string name;
  int parent = 0;  // index, in the socket's own namespace
  BorrowedFd netns;
  std::optional<HardwareAddress> mac;  // unset: random, or the parent's where the kind demands it
};

// linux/if_link.h's numbers.
enum class MacvlanMode : uint32_t { kPrivate = 1, kVepa = 2, kBridge = 4, kPassthru = 8 };
void AppendCreateMacvlan(NetlinkBatch* batch, const SubLinkSpec& spec, MacvlanMode mode);

// Those have their parent's MAC address; the spec's means nothing.
enum class IpvlanMode : uint16_t { kL2 = 0, kL3 = 1, kL3s = 2 };
enum class IpvlanFlag : uint16_t { kBridge = 0, kPrivate = 1, kVepa = 2 };
void AppendCreateIpvlan(NetlinkBatch* batch, const SubLinkSpec& spec, IpvlanMode mode,
                        IpvlanFlag flag);

// Up, in the socket's own namespace.
void AppendCreateVlan(NetlinkBatch* batch, const std::string& name, int parent, uint16_t id);
void AppendCreateDummy(NetlinkBatch* batch, const std::string& name);
// Two that are joined: what a kernel without dummies has.
void AppendCreatePair(NetlinkBatch* batch, const std::string& name, const std::string& peer);

}  // namespace gantry::kernel
