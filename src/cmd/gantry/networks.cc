// SPDX-License-Identifier: Apache-2.0
//
// gantry network: ls, create, rm, connect, disconnect, prune.
#include <algorithm>

#include "cmd/gantry/command_list.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/output.h"

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

// The n-th of a repeated option, or "".
const std::string& At(const Strings& values, size_t n) {
  static const std::string kEmpty;
  return n < values.size() ? values[n] : kEmpty;
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
  }
  PrintText(TRY(listing.Format(rows)));
  return 0;
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
  if (gateways.size() > subnets.size() || ranges.size() > subnets.size()) {
    return InvalidArgument("no matching subnet for {}",
                           gateways.size() > subnets.size() ? gateways.back() : ranges.back());
  }
  Json ipam = Json::MakeObject({{"Driver", ipam_driver}, {"Options", Pairs(ipam_options)}});
  Json& config = ipam.MutableMember("Config");
  config = Json::MakeArray();
  for (size_t i = 0; i < subnets.size(); ++i) {
    Json entry = Json::MakeObject({{"Subnet", subnets[i]}});
    if (!At(gateways, i).empty()) entry.Set("Gateway", gateways[i]);
    if (!At(ranges, i).empty()) entry.Set("IPRange", ranges[i]);
    if (i == 0 && !auxiliary.empty()) entry.Set("AuxiliaryAddresses", Pairs(auxiliary));
    config.Append(std::move(entry));
  }
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
  Api* api = TRY(cli.Connect());
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
