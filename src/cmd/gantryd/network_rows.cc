// SPDX-License-Identifier: Apache-2.0
//
// The rows of what networks get that nobody gives addresses: pools, and the default bridge's IPv6.
#include <charconv>

#include "base/text.h"
#include "cmd/gantryd/option_table.h"
#include "cmd/gantryd/option_values.h"

namespace gantry::gantryd {
namespace {

using formats::Json;

Result<> TakeIpv6(Options* o, const std::string& value) {
  o->networks.ipv6 = TRY(ParseSwitch(value));
  return {};
}

Result<> TakeNetnsLinks(Options* o, const std::string& value) {
  o->networks.netns_links = TRY(ParseAbsolutePath(value));
  return {};
}

// The bridge's own address.
Result<> TakeBridgeIpv6(Options* o, const std::string& value) {
  formats::Ipv6Address address;
  auto subnet = formats::Ipv6Prefix::ParseLoosely(value, &address);
  if (!subnet.ok()) return InvalidArgument("invalid CIDR address: {}", value);
  o->networks.subnet6 = *subnet;
  o->networks.gateway6 = address;
  return {};
}

Result<> TakeFixedIpv6(Options* o, const std::string& value) {
  auto range = formats::Ipv6Prefix::ParseLoosely(value);
  if (!range.ok()) return InvalidArgument("invalid fixed-cidr-v6: invalid CIDR address: {}", value);
  o->networks.ip_range6 = *range;
  return {};
}

template <typename Prefix>
Result<> AddPool(const Prefix& base, int64_t size,
                 std::vector<networks::BasicSubnetPool<Prefix>>* pools) {
  constexpr int64_t kBits = sizeof(base.network) * 8;
  if (size < base.length || size > kBits) {
    return InvalidArgument("invalid pool size {} of default-address-pools: the base is {}", size,
                           base.ToString());
  }
  pools->push_back({base, static_cast<uint8_t>(size)});
  return {};
}

// The first one takes the place of docker's.
Result<> TakePool(Options* o, const std::string& base, int64_t size) {
  if (!std::exchange(o->pools_given, true)) o->networks.pools.clear();
  if (base.find(':') != std::string::npos) {
    return AddPool(TRY(formats::Ipv6Prefix::ParseLoosely(base)), size, &o->networks.pools6);
  }
  return AddPool(TRY(ParseSubnet(base)), size, &o->networks.pools);
}

// "base=172.30.0.0/16,size=24"
Result<> TakePoolFlag(Options* o, const std::string& value) {
  std::string base;
  int64_t size = -1;
  for (const std::string& part : Split(value, ',')) {
    auto [name, text] = TRY(ParsePair(part));
    if (name == "base") {
      base = text;
    } else if (name == "size") {
      size = TRY(ParseNumber(text));
    } else {
      return InvalidArgument("unexpected key '{}' in '{}'", name, part);
    }
  }
  return TakePool(o, base, size);
}

// [{"base": "172.30.0.0/16", "size": 24}]
Result<> TakePools(Options* o, const Json& json) {
  for (const Json& item : json.items()) {
    formats::JsonReader reader(item, "default-address-pools");
    std::string base;
    int64_t size = -1;
    reader.Field("base", &base);
    reader.Field("size", &size);
    TRY(reader.Finish());
    TRY(TakePool(o, base, size));
  }
  return {};
}

}  // namespace

std::vector<OptionRow> NetworkRows() {
  return {
      {"ipv6", 0, "ipv6", Kind::kSwitch, "", "the default network has IPv6", TakeIpv6, nullptr},
      {"bip6", 0, "bip6", Kind::kText, "ADDRESS/LEN", "its IPv6 subnet, and the bridge's address",
       TakeBridgeIpv6, nullptr},
      {"fixed-cidr-v6", 0, "fixed-cidr-v6", Kind::kText, "SUBNET",
       "its IPv6 subnet, or with --bip6 the part to take addresses from", TakeFixedIpv6, nullptr},
      {"netns-links", 0, "netns-links", Kind::kText, "DIR",
       "link containers' namespaces there by id; /run/netns for `ip netns`", TakeNetnsLinks,
       nullptr},
      {"default-address-pool", 0, "default-address-pools", Kind::kList, "base=SUBNET,size=N",
       "where networks without a subnet get theirs (docker's)", TakePoolFlag, TakePools},
  };
}

}  // namespace gantry::gantryd
