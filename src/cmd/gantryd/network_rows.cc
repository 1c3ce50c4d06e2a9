// SPDX-License-Identifier: Apache-2.0
//
// The rows of networks: docker's "bridge" network, where subnets come from, and whether there are
// rules.
#include <functional>

#include "base/text.h"
#include "cmd/gantryd/option_table.h"
#include "cmd/gantryd/option_values.h"

namespace gantry::gantryd {
namespace {

using formats::Json;

// RFC 791's, and what a veth or bridge can have (ETH_MAX_MTU).
constexpr int64_t kLeastMtu = 68;
constexpr int64_t kMostMtu = 65535;

networks::DefaultNetworkOptions& DefaultOf(Options* o) { return o->networks.default_network; }

// Puts a switch's value where `where` says.
template <typename Where>
std::function<Result<>(Options*, const std::string&)> SwitchAt(Where where) {
  return [where](Options* o, const std::string& value) -> Result<> {
    where(o) = TRY(ParseSwitch(value));
    return {};
  };
}

Result<> TakeNetnsLinks(Options* o, const std::string& value) {
  o->networks.netns_links = TRY(ParseAbsolutePath(value));
  return {};
}

// The bridge's own address; of a subnet's own name ("10.0.0.0/24") the first one.
Result<> TakeBridgeIp(Options* o, const std::string& value) {
  auto parsed = ParseSubnet(value);
  if (!parsed.ok()) return InvalidArgument("invalid CIDR address: {}", value);
  formats::Ipv4Prefix subnet = *parsed;
  auto address = TRY(formats::Ipv4Address::Parse(value.substr(0, value.find('/'))));
  DefaultOf(o).subnet = subnet;
  DefaultOf(o).gateway = address == subnet.network ? subnet.network.Plus(1) : address;
  return {};
}

Result<> TakeBridgeIpv6(Options* o, const std::string& value) {
  formats::Ipv6Address address;
  auto subnet = formats::Ipv6Prefix::ParseLoosely(value, &address);
  if (!subnet.ok()) return InvalidArgument("invalid CIDR address: {}", value);
  DefaultOf(o).subnet6 = *subnet;
  DefaultOf(o).gateway6 = address;
  return {};
}

Result<> TakeFixedIp(Options* o, const std::string& value) {
  auto range = ParseSubnet(value);
  if (!range.ok()) return InvalidArgument("invalid CIDR address: {}", value);
  DefaultOf(o).ip_range = *range;
  return {};
}

Result<> TakeFixedIpv6(Options* o, const std::string& value) {
  auto range = formats::Ipv6Prefix::ParseLoosely(value);
  if (!range.ok()) return InvalidArgument("invalid CIDR address: {}", value);
  DefaultOf(o).ip_range6 = *range;
  return {};
}

template <typename Address>
Result<Address> ParseGateway(const std::string& value) {
  auto address = Address::Parse(TRY(ParseAddress(value)));
  if (!address.ok()) return InvalidArgument("{} is an address of the other family", value);
  return address;
}

Result<> TakeGateway(Options* o, const std::string& value) {
  DefaultOf(o).told_gateway = TRY(ParseGateway<formats::Ipv4Address>(value));
  return {};
}

Result<> TakeGatewayIpv6(Options* o, const std::string& value) {
  DefaultOf(o).told_gateway6 = TRY(ParseGateway<formats::Ipv6Address>(value));
  return {};
}

Result<> TakeBinding(Options* o, const std::string& value) {
  DefaultOf(o).host_binding = TRY(ParseAddress(value));
  return {};
}

Result<> TakeMtu(Options* o, const std::string& value) {
  int64_t mtu = TRY(ParseNumber(value));
  if (mtu < kLeastMtu || mtu > kMostMtu) return InvalidArgument("invalid default MTU: {}", value);
  DefaultOf(o).mtu = static_cast<uint32_t>(mtu);
  return {};
}

Result<> TakeFirewall(Options* o, const std::string& value) {
  o->networks.firewall.backend = TRY(networks::ParseFirewallBackend(value));
  return {};
}

Result<> TakePublishPolicy(Options* o, const std::string& value) {
  if (value != "engine" && value != "host") {
    return InvalidArgument("invalid publish-policy \"{}\": engine or host", value);
  }
  o->networks.firewall.host_decides = value == "host";
  return {};
}

Result<> TakeMark(Options* o, const std::string& value) {
  o->networks.firewall.accepted_mark.reset();
  if (!value.empty()) o->networks.firewall.accepted_mark = TRY(networks::ParsePacketMark(value));
  return {};
}

Result<> TakeHostGateway(Options* o, const std::string& value) {
  std::string address = TRY(ParseAddress(value));
  bool ipv6 = address.find(':') != std::string::npos;
  std::vector<std::string>& all = o->settings.host_gateways;
  for (const std::string& other : all) {
    if ((other.find(':') != std::string::npos) != ipv6) continue;
    return InvalidArgument("only one {} host gateway IP address can be specified",
                           ipv6 ? "IPv6" : "IPv4");
  }
  all.push_back(std::move(address));
  return {};
}

Result<> TakeForward(Options* o, const std::string& value) {
  o->ip_forward = TRY(ParseSwitch(value));
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

// "bridge=com.docker.network.driver.mtu=1400"
Result<> TakeNetworkOption(Options* o, const std::string& value) {
  size_t first = value.find('=');
  size_t second = first == std::string::npos ? first : value.find('=', first + 1);
  if (second == std::string::npos) {
    return InvalidArgument("invalid value \"{}\" for map option, should be root-key=key=value",
                           value);
  }
  auto& options = o->settings.default_network_options[value.substr(0, first)];
  options[value.substr(first + 1, second - first - 1)] = value.substr(second + 1);
  return {};
}

// {"bridge": {"com.docker.network.driver.mtu": "1400"}}
Result<> TakeNetworkOptions(Options* o, const Json& json) {
  for (const auto& [driver, options] : json.members()) {
    formats::JsonReader reader(json, "default-network-opts");
    std::map<std::string, std::string> read;
    reader.Field(driver, &read);
    TRY(reader.Finish());
    for (auto& [key, value] : read) o->settings.default_network_options[driver][key] = value;
  }
  return {};
}

Result<> TakeClusterOption(Options* o, const std::string& value) {
  auto [name, text] = TRY(ParsePair(value));
  o->cluster.store_options[name] = text;
  return {};
}

Result<> TakeClusterStore(Options* o, const std::string& value) {
  o->cluster.store = value;
  return {};
}

Result<> TakeClusterAdvertise(Options* o, const std::string& value) {
  o->cluster.advertise = value;
  return {};
}

}  // namespace

std::vector<OptionRow> NetworkRows() {
  return {
      {"bip", 0, "bip", Kind::kText, "ADDRESS/LEN",
       "the default bridge's address and subnet (the first of docker's pools that is free)",
       TakeBridgeIp, nullptr},
      {"fixed-cidr", 0, "fixed-cidr", Kind::kText, "SUBNET",
       "the part of it to take addresses from, or without --bip the subnet", TakeFixedIp, nullptr},
      {"default-gateway", 0, "default-gateway", Kind::kText, "ADDRESS",
       "what its containers are told, in place of the bridge", TakeGateway, nullptr},
      {"ipv6", 0, "ipv6", Kind::kSwitch, "", "the default network has IPv6",
       SwitchAt([](Options* o) -> bool& { return DefaultOf(o).ipv6; }), nullptr},
      {"bip6", 0, "bip6", Kind::kText, "ADDRESS/LEN", "its IPv6 subnet, and the bridge's address",
       TakeBridgeIpv6, nullptr},
      {"fixed-cidr-v6", 0, "fixed-cidr-v6", Kind::kText, "SUBNET",
       "its IPv6 subnet, or with --bip6 the part to take addresses from", TakeFixedIpv6, nullptr},
      {"default-gateway-v6", 0, "default-gateway-v6", Kind::kText, "ADDRESS",
       "what its containers are told, in place of the bridge", TakeGatewayIpv6, nullptr},
      {"ip", 0, "ip", Kind::kText, "ADDRESS",
       "where the default network's ports are published that say no address (0.0.0.0)", TakeBinding,
       nullptr},
      {"mtu", 0, "mtu", Kind::kNumber, "N", "of the default network (1500)", TakeMtu, nullptr},
      {"host-gateway-ip", 0, "host-gateway-ips", Kind::kList, "ADDRESS",
       "what \"host-gateway\" is in --add-host, one of a family (the default network's gateways)",
       TakeHostGateway, nullptr},
      // As the key was called before docker 28.
      {"", 0, "host-gateway-ip", Kind::kText, "", "", TakeHostGateway, nullptr},
      {"icc", 0, "icc", Kind::kSwitch, "", "its containers reach each other (true)",
       SwitchAt([](Options* o) -> bool& { return DefaultOf(o).icc; }), nullptr},
      {"ip-masq", 0, "ip-masq", Kind::kSwitch, "",
       "its packets leave with the host's address (true)",
       SwitchAt([](Options* o) -> bool& { return DefaultOf(o).masquerade; }), nullptr},
      {"ip-forward", 0, "ip-forward", Kind::kSwitch, "", "turn on forwarding (true)", TakeForward,
       nullptr},
      {"firewall-backend", 0, "firewall-backend", Kind::kText, "NAME",
       "nftables, iptables, or none: no rules, gantry-proxy alone (nftables)", TakeFirewall,
       nullptr},
      {"allow-direct-routing", 0, "allow-direct-routing", Kind::kSwitch, "",
       "published ports are reached at containers' own addresses, too",
       SwitchAt([](Options* o) -> bool& { return o->networks.firewall.direct_routing; }), nullptr},
      {"bridge-accept-fwmark", 0, "bridge-accept-fwmark", Kind::kText, "MARK[/MASK]",
       "let packets that are marked so into networks", TakeMark, nullptr},
      {"publish-policy", 0, "publish-policy", Kind::kText, "WHOSE",
       "who decides that published ports are let in: engine, or host for its own rules (engine)",
       TakePublishPolicy, nullptr},
      {"iptables", 0, "iptables", Kind::kSwitch, "",
       "make firewall rules of IPv4, with either backend (true)",
       SwitchAt([](Options* o) -> bool& { return o->networks.firewall.families.ipv4; }), nullptr},
      {"ip6tables", 0, "ip6tables", Kind::kSwitch, "", "and of IPv6 (true)",
       SwitchAt([](Options* o) -> bool& { return o->networks.firewall.families.ipv6; }), nullptr},
      {"default-network-opt", 0, "default-network-opts", Kind::kMap, "DRIVER=NAME=VALUE",
       "option of new networks that don't have it", TakeNetworkOption, TakeNetworkOptions},
      {"netns-links", 0, "netns-links", Kind::kText, "DIR",
       "link containers' namespaces there by id; /run/netns for `ip netns`", TakeNetnsLinks,
       nullptr},
      {"default-address-pool", 0, "default-address-pools", Kind::kList, "base=SUBNET,size=N",
       "where networks without a subnet get theirs (docker's)", TakePoolFlag, TakePools},
      {"cluster-store", 0, "cluster-store", Kind::kText, "etcd://HOST:PORT,…",
       "what hosts share networks by (driver overlay)", TakeClusterStore, nullptr},
      {"cluster-advertise", 0, "cluster-advertise", Kind::kText, "ADDRESS|INTERFACE",
       "where other hosts reach this one", TakeClusterAdvertise, nullptr},
      {"cluster-store-opt", 0, "cluster-store-opts", Kind::kMap, "NAME=VALUE",
       "kv.cacertfile, kv.certfile, kv.keyfile, kv.user, kv.password, kv.path, discovery.ttl, "
       "encryption.rotation",
       TakeClusterOption, nullptr},
  };
}

}  // namespace gantry::gantryd
