// SPDX-License-Identifier: Apache-2.0
#include "networks/nft_rules.h"

// Before the kernel's headers, which define the same otherwise.
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>

namespace gantry::networks {
namespace {

using kernel::NftConcat;
using kernel::NftFamily;
using kernel::NftRule;
using kernel::NftType;

// include/uapi/linux/netfilter/nf_conntrack_common.h; the state's bits are 1 << (ctinfo + 1).
constexpr uint32_t kEstablishedOrRelated = 2 | 4;
constexpr uint32_t kDestinationNat = 1 << 5;

constexpr int32_t kDnatPriority = -100;
constexpr int32_t kSnatPriority = 100;
constexpr int32_t kFilterPriority = 0;

// Registers: an interface's name and an IPv6 address take four of them.
constexpr int kFirst = 0;
constexpr int kSecondInterface = 4;

bool Is6(NftFamily family) { return family == NftFamily::kIpv6; }
NftType AddressType(NftFamily family) {
  return Is6(family) ? NftType::kIpv6Address : NftType::kIpv4Address;
}
uint32_t AddressSize(NftFamily family) { return Is6(family) ? 16 : 4; }
// The register after an address at kFirst.
int AfterAddress(NftFamily family) { return static_cast<int>(AddressSize(family) / 4); }

// Beyond these only gantry-proxy can lead: packets to and from them never leave the host or its
// link.
void AddUnroutableRules(NftFamily family, std::vector<NftFixedRule>* rules) {
  if (!Is6(family)) {
    rules->push_back({NftRule()
                          .LoadDestination(family, kFirst)
                          .MaskNetwork(kFirst, 0xff000000)
                          .EqualNetwork(kFirst, INADDR_LOOPBACK & 0xff000000)
                          .Return(),
                      "loopback uses the proxy"});
    return;
  }
  for (bool source : {true, false}) {
    NftRule rule;
    source ? rule.LoadSource(family, kFirst) : rule.LoadDestination(family, kFirst);
    rule.MaskNetwork(kFirst, 0xffc00000).EqualNetwork(kFirst, 0xfe800000).Return();
    rules->push_back({rule, source ? "from link-local uses the proxy" : "link-local too"});
  }
  // ::1: three words of zero and a one.
  NftRule loopback;
  loopback.LoadDestination(family, kFirst);
  for (int word = 0; word < 4; ++word) loopback.EqualNetwork(kFirst + word, word == 3 ? 1 : 0);
  rules->push_back({loopback.Return(), "loopback uses the proxy"});
}

void AddPortRules(NftFamily family, std::vector<NftFixedRule>* rules) {
  int after = AfterAddress(family);
  rules->push_back({NftRule().LoadDestinationKind(kFirst).NotEqual(kFirst, RTN_LOCAL).Return(),
                    "only this host's addresses"});
  rules->push_back({NftRule()
                        .LoadDestination(family, kFirst)
                        .LoadProtocol(after)
                        .LoadDestinationPort(after + 1)
                        .LookUp(kFirst, kSetPortsAt, kFirst)
                        .DestinationNat(family, kFirst, after),
                    "published on one address"});
  rules->push_back({NftRule()
                        .LoadProtocol(kFirst)
                        .LoadDestinationPort(kFirst + 1)
                        .LookUp(kFirst, kSetPorts, kFirst)
                        .DestinationNat(family, kFirst, after),
                    "published on all addresses"});
  rules->push_back({NftRule()
                        .LoadDestination(family, kFirst)
                        .LoadProtocol(after)
                        .LoadDestinationPort(after + 1)
                        .LookUp(kFirst, kSetPortRangesAt, kFirst)
                        .DestinationNat(family, kFirst),
                    "ranges on one address"});
  rules->push_back({NftRule()
                        .LoadProtocol(kFirst)
                        .LoadDestinationPort(kFirst + 1)
                        .LookUp(kFirst, kSetPortRanges, kFirst)
                        .DestinationNat(family, kFirst),
                    "ranges on all addresses"});
}

NftRule ToBridges(const char* set) {
  return NftRule().LoadOutputInterface(kFirst).InSet(kFirst, set);
}
NftRule BetweenInterfaces(const char* set) {
  return NftRule()
      .LoadInputInterface(kFirst)
      .LoadOutputInterface(kSecondInterface)
      .InSet(kFirst, set);
}
// Goes on for a port that an endpoint exposes, asked at the container's own address.
NftRule Exposed(NftFamily family, const char* set, NftRule rule) {
  int after = AfterAddress(family);
  return rule.LoadDestination(family, kFirst)
      .LoadProtocol(after)
      .LoadDestinationPort(after + 1)
      .InSet(kFirst, set);
}

// Goes on for a port that a link opens between two containers of a bridge.
NftRule Linked(NftFamily family) {
  int after = AfterAddress(family);
  return BetweenInterfaces(kSetApart)
      .LoadSource(family, kFirst)
      .LoadDestination(family, after)
      .LoadProtocol(2 * after)
      .LoadDestinationPort(2 * after + 1)
      .InSet(kFirst, kSetLinked);
}

std::vector<NftFixedRule> ForwardRules(NftFamily family,
                                       const std::optional<PacketMark>& accepted) {
  NftRule direct = ToBridges(kSetDirect);
  NftRule trusted = BetweenInterfaces(kSetTrusted);
  uint32_t icmp = Is6(family) ? uint32_t{IPPROTO_ICMPV6} : uint32_t{IPPROTO_ICMP};
  std::vector<NftFixedRule> rules = {
      {ToBridges(kSetBridges)
           .LoadConntrackState(kFirst)
           .Mask(kFirst, kEstablishedOrRelated)
           .NotEqual(kFirst, 0)
           .Accept(),
       "answers"},
      {BetweenInterfaces(kSetIcc).Accept(), "neighbours"},
      {Linked(family).Accept(), "linked neighbours"},
      {BetweenInterfaces(kSetApart).Drop(), "and no others"},
      {NftRule().LoadInputInterface(kFirst).InSet(kFirst, kSetInternal).Drop(),
       "internal networks have no way out"},
      {ToBridges(kSetInternal).Drop(), "and none in"},
      {ToBridges(kSetBridges)
           .LoadConntrackStatus(kFirst)
           .Mask(kFirst, kDestinationNat)
           .NotEqual(kFirst, 0)
           .Accept(),
       "published ports"},
      {ToBridges(kSetUnprotected).Accept(), "unprotected networks"},
      {Exposed(family, kSetExposed, direct).Accept(), "published ports at containers' addresses"},
      {Exposed(family, kSetExposedRanges, direct).Accept(), "and ranges there"},
      {ToBridges(kSetRouted).LoadProtocol(kFirst).EqualByte(kFirst, icmp).Accept(),
       "icmp of routed networks"},
      {Exposed(family, kSetExposed, trusted).Accept(), "published ports from trusted interfaces"},
      {Exposed(family, kSetExposedRanges, trusted).Accept(), "and ranges from there"},
  };
  if (accepted) {
    rules.push_back({ToBridges(kSetBridges)
                         .LoadMark(kFirst)
                         .Mask(kFirst, accepted->mask)
                         .Equal(kFirst, accepted->mark)
                         .Accept(),
                     "packets marked " + ToString(*accepted)});
  }
  rules.push_back({ToBridges(kSetBridges).Drop(), "nothing else gets in"});
  return rules;
}

}  // namespace

std::vector<kernel::NftSet> NftSets(NftFamily family) {
  NftType address = AddressType(family);
  uint32_t size = AddressSize(family);
  uint32_t interface = NftConcat({NftType::kInterface});
  uint32_t pair = NftConcat({NftType::kInterface, NftType::kInterface});
  uint32_t place = NftConcat({address, NftType::kInetProto, NftType::kInetService});
  uint32_t target = NftConcat({address, NftType::kInetService});
  return {
      {kSetBridges, interface, 16},
      {kSetInternal, interface, 16},
      {kSetIcc, pair, 32},
      {kSetApart, pair, 32},
      {kSetUnprotected, interface, 16},
      {kSetRouted, interface, 16},
      {kSetDirect, interface, 16},
      {kSetTrusted, pair, 32},
      {kSetMasquerade, NftConcat({address}), size, true},
      {kSetSource, NftConcat({address}), size, true, NftConcat({address}), size},
      {kSetPorts, NftConcat({NftType::kInetProto, NftType::kInetService}), 8, false, target,
       size + 4},
      {kSetPortsAt, place, size + 8, false, target, size + 4},
      {kSetExposed, place, size + 8},
      {kSetLinked, NftConcat({address, address, NftType::kInetProto, NftType::kInetService}),
       2 * size + 8},
      {.name = kSetPortRanges,
       .key_type = NftConcat({NftType::kInetProto, NftType::kInetService}),
       .key_size = 8,
       .data_type = NftConcat({address}),
       .data_size = size,
       .fields = {1, 2}},
      {.name = kSetPortRangesAt,
       .key_type = place,
       .key_size = size + 8,
       .data_type = NftConcat({address}),
       .data_size = size,
       .fields = {size, 1, 2}},
      {.name = kSetExposedRanges, .key_type = place, .key_size = size + 8, .fields = {size, 1, 2}},
  };
}

std::vector<NftFixedChain> NftChains(NftFamily family, const std::optional<PacketMark>& accepted) {
  NftFixedChain prerouting{{"prerouting", "nat", NF_INET_PRE_ROUTING, kDnatPriority}, {}};
  prerouting.rules.push_back(
      {NftRule().LoadInputInterface(kFirst).InSet(kFirst, kSetBridges).Return(),
       "neighbours of a container use the proxy"});
  AddUnroutableRules(family, &prerouting.rules);
  AddPortRules(family, &prerouting.rules);

  NftFixedChain output{{"output", "nat", NF_INET_LOCAL_OUT, kDnatPriority}, {}};
  AddUnroutableRules(family, &output.rules);
  AddPortRules(family, &output.rules);

  NftFixedChain forward{{"forward", "filter", NF_INET_FORWARD, kFilterPriority},
                        ForwardRules(family, accepted)};

  NftFixedChain postrouting{{"postrouting", "nat", NF_INET_POST_ROUTING, kSnatPriority}, {}};
  auto leaving = [&] {
    return NftRule().LoadOutputInterface(kFirst).NotInSet(kFirst, kSetBridges);
  };
  postrouting.rules.push_back({leaving()
                                   .LoadSource(family, kFirst)
                                   .LookUp(kFirst, kSetSource, kFirst)
                                   .SourceNat(family, kFirst),
                               "the world sees an address that was asked for"});
  postrouting.rules.push_back(
      {leaving().LoadSource(family, kFirst).InSet(kFirst, kSetMasquerade).Masquerade(),
       "the world sees the host's address"});
  return {prerouting, output, forward, postrouting};
}

}  // namespace gantry::networks
