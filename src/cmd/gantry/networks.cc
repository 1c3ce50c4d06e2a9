// SPDX-License-Identifier: Apache-2.0
//
// gantry network: ls, create, rm, connect, disconnect, prune.
#include <algorithm>

#include "base/text.h"
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/output.h"
#include "formats/ip_address.h"

namespace gantry::cli {
namespace {

using Strings = std::vector<std::string>;

std::string NetworkPath(std::string_view name, std::string_view suffix = "") {
  return fmt::format("/networks/{}{}", wire::PercentEncode(name), suffix);
}

Json Pairs(const Strings& pairs) {
  Json object = Json::MakeObject();
  for (const std::string& pair : pairs) {
    size_t equals = pair.find('=');
    object.Set(pair.substr(0, equals), equals == std::string::npos ? "" : pair.substr(equals + 1));
  }
  return object;
}

std::string YesNo(const Json& value) { return value.AsBool() ? "true" : "false"; }

std::string JoinLabels(const Json& labels) {
  std::string out;
  for (const auto& [key, value] : labels.members()) {
    out.append(out.empty() ? "" : ",").append(key).append("=").append(value.AsString());
  }
  return out;
}

}  // namespace

Result<int> NetworkListCommand(Cli& cli, Invocation& call) {
  bool no_truncate = false, quiet = false;
  std::string format;
  Strings filters;
  BindFilters(&call.flags, &filters, "Show only what matches, such as driver=bridge");
  call.flags.String("format", 0, &format,
                    "\"table\", \"table TEMPLATE\", \"json\" or a Go template");
  call.flags.Bool("no-trunc", 0, &no_truncate, "Show IDs in full");
  call.flags.Bool("quiet", 'q', &quiet, "Show only IDs");
  if (auto code = call.Parse(ArgCount::None())) return *code;
  if (!quiet) format = TRY(cli.FormatOr(format, "networksFormat"));
  ListingSpec spec;
  spec.default_table = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";
  spec.default_quiet = "{{.ID}}";
  spec.raw = "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n";
  spec.raw_quiet = "network_id: {{.ID}}";
  spec.root_type = "*network.networkContext";
  spec.headers = Json::MakeObject({{"CreatedAt", "CREATED AT"},
                                   {"Driver", "DRIVER"},
                                   {"ID", "NETWORK ID"},
                                   {"IPv4", "IPV4"},
                                   {"IPv6", "IPV6"},
                                   {"Internal", "INTERNAL"},
                                   {"Labels", "LABELS"},
                                   {"Name", "NAME"},
                                   {"Scope", "SCOPE"}});
  RowLabels labels;
  spec.method = LabelMethod(labels, "ID");
  Listing listing = TRY(Listing::Create(std::move(spec), format, quiet));
  wire::Query query;
  if (!filters.empty()) query.Add("filters", FormatFilters(filters));
  Api* api = TRY(cli.Connect());
  Json networks = TRY(api->Get("/networks", query));
  std::sort(
      networks.mutable_items().begin(), networks.mutable_items().end(),
      [](const Json& a, const Json& b) { return a["Name"].AsString() < b["Name"].AsString(); });
  std::vector<Json> rows;
  for (const Json& network : networks.items()) {
    const std::string& id = network["Id"].AsString();
    rows.push_back(Json::MakeObject({{"CreatedAt", network["Created"]},
                                     {"Driver", network["Driver"]},
                                     {"ID", no_truncate ? id : ShortId(id)},
                                     {"IPv4", YesNo(network["EnableIPv4"])},
                                     {"IPv6", YesNo(network["EnableIPv6"])},
                                     {"Internal", YesNo(network["Internal"])},
                                     {"Labels", JoinLabels(network["Labels"])},
                                     {"Name", network["Name"]},
                                     {"Scope", network["Scope"]}}));
    labels[rows.back()["ID"].AsString()] = network["Labels"];
  }
  PrintText(TRY(listing.Format(rows)));
  return 0;
}

// Whether `address` ("10.1.0.1", or a prefix) is of the subnet; of another family it is not.
Result<bool> IsIn(const std::string& subnet, const std::string& address) {
  std::string bare = address.substr(0, address.find('/'));
  if ((subnet.find(':') == std::string::npos) != (bare.find(':') == std::string::npos))
    return false;
  if (bare.find(':') != std::string::npos) {
    auto prefix = formats::Ipv6Prefix::ParseLoosely(subnet);
    if (!prefix.ok()) return InvalidArgument("invalid CIDR address: {}", subnet);
    return prefix->Contains(TRY(formats::Ipv6Address::Parse(bare)));
  }
  size_t slash = std::min(subnet.find('/'), subnet.size());
  auto network = formats::Ipv4Address::Parse(subnet.substr(0, slash));
  auto length = formats::Ipv4Prefix::Parse("0.0.0.0" + subnet.substr(slash));
  if (!network.ok() || !length.ok()) return InvalidArgument("invalid CIDR address: {}", subnet);
  auto prefix = formats::Ipv4Prefix::Of(*network, length->length);
  return prefix.Contains(TRY(formats::Ipv4Address::Parse(bare)));
}

// The entry of the subnet that `address` is of.
Result<Json*> PoolOf(const std::string& address, const char* what, std::vector<Json>* pools) {
  for (Json& pool : *pools) {
    if (TRY(IsIn(pool["Subnet"].AsString(), address))) return &pool;
  }
  return InvalidArgument("no matching subnet for {} {}", what, address);
}

// Ranges, gateways and addresses to leave alone belong to the subnet that they are in.
Result<Json> PoolsOf(const Strings& subnets, const Strings& ranges, const Strings& gateways,
                     const Strings& auxiliary) {
  if (subnets.size() < ranges.size() || subnets.size() < gateways.size()) {
    return InvalidArgument("every ip-range or gateway must have a corresponding subnet");
  }
  std::vector<Json> pools;
  for (const std::string& subnet : subnets) {
    for (const Json& other : pools) {
      std::string known = other["Subnet"].AsString();
      if (TRY(IsIn(known, subnet)) || TRY(IsIn(subnet, known))) {
        return InvalidArgument("multiple overlapping subnet configuration is not supported");
      }
    }
    pools.push_back(Json::MakeObject({{"Subnet", subnet}}));
  }
  for (const std::string& range : ranges) {
    Json* pool = TRY(PoolOf(range, "range", &pools));
    if (!(*pool)["IPRange"].is_null()) {
      return InvalidArgument("cannot configure multiple ranges ({}, {}) on the same subnet ({})",
                             range, (*pool)["IPRange"].AsString(), (*pool)["Subnet"].AsString());
    }
    pool->Set("IPRange", range);
  }
  for (const std::string& gateway : gateways) {
    Json* pool = TRY(PoolOf(gateway, "gateway", &pools));
    if (!(*pool)["Gateway"].is_null()) {
      return InvalidArgument("cannot configure multiple gateways ({}, {}) for the same subnet ({})",
                             gateway, (*pool)["Gateway"].AsString(), (*pool)["Subnet"].AsString());
    }
    pool->Set("Gateway", gateway);
  }
  for (const std::string& pair : auxiliary) {
    size_t equals = pair.find('=');
    std::string address = equals == std::string::npos ? "" : pair.substr(equals + 1);
    Json* pool = TRY(PoolOf(address, "aux-address", &pools));
    Json& addresses = pool->MutableMember("AuxiliaryAddresses");
    if (addresses.is_null()) addresses = Json::MakeObject();
    addresses.Set(pair.substr(0, equals), address);
  }
  Json out = Json::MakeArray();
  for (Json& pool : pools) out.Append(std::move(pool));
  return out;
}

Result<int> NetworkCreateCommand(Cli& cli, Invocation& call) {
  std::string driver = "bridge", ipam_driver = "default";
  Strings subnets, gateways, ranges, auxiliary, options, ipam_options, labels;
  bool internal = false, ipv4 = true, ipv6 = false, attachable = false;
  bool ingress = false, config_only = false;
  std::string scope, config_from;
  call.flags.String("driver", 'd', &driver, "Driver of the network (default \"bridge\")");
  call.flags.String("ipam-driver", 0, &ipam_driver, "Driver of the addresses");
  call.flags.List("subnet", 0, &subnets, "Subnet, such as 10.1.0.0/16");
  call.flags.List("gateway", 0, &gateways, "Gateway of the subnet");
  call.flags.List("ip-range", 0, &ranges, "Part of the subnet to take addresses from");
  call.flags.List("aux-address", 0, &auxiliary, "Address to leave alone, \"name=address\"");
  call.flags.List("opt", 'o', &options, "Options of the driver");
  call.flags.List("ipam-opt", 0, &ipam_options, "Options of the address driver");
  call.flags.List("label", 0, &labels, "Set labels");
  call.flags.Bool("internal", 0, &internal, "No way out of the network");
  call.flags.Bool("ipv4", 0, &ipv4, "Give out IPv4 addresses (default true)");
  call.flags.Bool("ipv6", 0, &ipv6, "Give out IPv6 addresses");
  call.flags.Bool("ingress", 0, &ingress, "The routing mesh of a swarm");
  call.flags.Bool("config-only", 0, &config_only, "A configuration that other networks use");
  call.flags.String("config-from", 0, &config_from, "Network whose configuration is used");
  call.flags.String("scope", 0, &scope, "Scope of the network");
  call.flags.Bool("attachable", 0, &attachable, "Let containers join by hand");
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  Json ipam = Json::MakeObject({{"Driver", ipam_driver}, {"Options", Pairs(ipam_options)}});
  ipam.Set("Config", TRY(PoolsOf(subnets, ranges, gateways, auxiliary)));
  // An older engine would give out IPv4 addresses without a word.
  Api* api = TRY(cli.Connect());
  if (call.flags.Changed("ipv4")) TRY(api->Require("1.48", "ipv4"));
  Json body = Json::MakeObject({{"Name", call.args()[0]},
                                {"CheckDuplicate", true},
                                {"Driver", driver},
                                {"Scope", scope},
                                {"Internal", internal},
                                {"EnableIPv6", ipv6},
                                {"Attachable", attachable},
                                {"Ingress", ingress},
                                {"ConfigOnly", config_only},
                                {"IPAM", std::move(ipam)},
                                {"Options", Pairs(options)},
                                {"Labels", Pairs(labels)}});
  if (call.flags.Changed("ipv4")) body.Set("EnableIPv4", ipv4);
  if (!config_from.empty()) {
    body.Set("ConfigFrom", Json::MakeObject({{"Network", config_from}}));
  }
  Json made = TRY(api->Post("/networks/create", {}, body));
  if (!made["Warning"].AsString().empty()) PrintError("WARNING: {}\n", made["Warning"].AsString());
  Print("{}\n", made["Id"].AsString());
  return 0;
}

Result<int> NetworkRmCommand(Cli& cli, Invocation& call) {
  bool force = false;
  call.flags.Bool("force", 'f', &force, "No error when it does not exist");
  if (auto code = call.Parse(ArgCount::AtLeast(1))) return *code;
  Api* api = TRY(cli.Connect());
  int code = 0;
  for (const std::string& name : call.args()) {
    ApiRequest request;
    request.method = "DELETE";
    request.path = NetworkPath(name);
    Result<ApiAnswer> removed = api->Call(request);
    if (removed.ok()) {
      Print("{}\n", name);
    } else if (!force || removed.error().kind() != ErrorKind::kNotFound) {
      PrintError("{}\n", removed.error().message());
      code = 1;
    }
  }
  // docker says this as well, and scripts may have come to expect it.
  if (code != 0) PrintError("exit status {}\n", code);
  return code;
}

Result<int> NetworkConnectCommand(Cli& cli, Invocation& call) {
  std::string ip, ip6;
  Strings aliases, links, link_local, options;
  int64_t gateway_priority = 0;
  call.flags.Int("gw-priority", 0, &gateway_priority,
                 "The network with the highest is the way out");
  call.flags.String("ip", 0, &ip, "IPv4 address");
  call.flags.String("ip6", 0, &ip6, "IPv6 address");
  call.flags.List("alias", 0, &aliases, "Further name in the network");
  call.flags.List("link", 0, &links, "Link to another container");
  call.flags.List("link-local-ip", 0, &link_local, "Link-local addresses");
  call.flags.List("driver-opt", 0, &options, "Options of the driver");
  if (auto code = call.Parse(ArgCount::Exactly(2))) return *code;
  Json endpoint = Json::MakeObject({{"Aliases", aliases}, {"Links", links}});
  if (!options.empty()) endpoint.Set("DriverOpts", Pairs(options));
  if (gateway_priority != 0) endpoint.Set("GwPriority", gateway_priority);
  endpoint.Set(
      "IPAMConfig",
      Json::MakeObject({{"IPv4Address", ip}, {"IPv6Address", ip6}, {"LinkLocalIPs", link_local}}));
  Api* api = TRY(cli.Connect());
  TRY(api->Post(
      NetworkPath(call.args()[0], "/connect"), {},
      Json::MakeObject({{"Container", call.args()[1]}, {"EndpointConfig", std::move(endpoint)}})));
  return 0;
}

Result<int> NetworkDisconnectCommand(Cli& cli, Invocation& call) {
  bool force = false;
  call.flags.Bool("force", 'f', &force, "Also when the container can't be reached");
  if (auto code = call.Parse(ArgCount::Exactly(2))) return *code;
  Api* api = TRY(cli.Connect());
  TRY(api->Post(NetworkPath(call.args()[0], "/disconnect"), {},
                Json::MakeObject({{"Container", call.args()[1]}, {"Force", force}})));
  return 0;
}

}  // namespace gantry::cli
