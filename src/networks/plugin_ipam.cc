// SPDX-License-Identifier: Apache-2.0
//
// Networks whose addresses a plugin gives out (docker's IPAM protocol). What it gives is recorded
// with the network and its endpoints and given back before they are forgotten. One that keeps
// nothing itself is told of it all again before it is asked anything by another daemon. Between a
// plugin's answer and its record a kill leaves a pool or an address there that nobody has: the
// protocol has no way to ask for those.
#include "base/log.h"
#include "networks/controller.h"
#include "networks/plugin_texts.h"

namespace gantry::networks {

using formats::Json;

namespace {

constexpr const char* kGatewayOption = "com.docker.network.gateway";
constexpr const char* kMacOption = "com.docker.network.endpoint.macaddress";

// One family of a network's request.
template <typename Prefix>
struct WantedPool {
  std::optional<Prefix>* subnet;
  std::optional<Prefix>* range;
  std::optional<decltype(Prefix::network)>* gateway;
  const std::map<std::string, decltype(Prefix::network)>* auxiliary;
  std::string* pool;
  std::function<void(const decltype(Prefix::network)&)> note_gateway;
  std::vector<decltype(Prefix::network)>* taken;
  bool is_v6;
};

// The address of an answer, without its length.
std::string Bare(const std::string& address) { return address.substr(0, address.find('/')); }

// What a plugin does not want to take back it has forgotten already, or never will.
Result<> Forgiving(Result<Json> answer) {
  if (answer.ok()) return {};
  if (IsAbsent(answer.error())) return std::move(answer).error();
  log::Warning("{}", answer.error().message());
  return {};
}

}  // namespace

Result<Json> KernelController::CallPlugin(const std::string& plugin, std::string_view kind,
                                          std::string_view method, const Json& request) const {
  if (options_.plugins == nullptr) return NotFound("plugin \"{}\" not found", plugin);
  return options_.plugins->Call(plugin, kind, method, request);
}

Result<Json> KernelController::CallIpam(const std::string& plugin, std::string_view method,
                                        const Json& request) {
  TRY(ReplayTo(plugin));
  return CallPlugin(plugin, kIpamPlugin, method, request);
}

// With a failure the next call begins with what was not told.
Result<> KernelController::ReplayTo(const std::string& plugin) {
  MutexLock alone(replaying_);
  auto is_due = [&](const Network& network) {
    MutexLock lock(mutex_);
    auto found = networks_.find(network.id);
    return found != networks_.end() && found->second.replay_due;
  };
  for (const Network& network : ListNetworks()) {
    if (network.ipam_driver != plugin || !is_due(network)) continue;
    TRY_WITH(ReplayPools(network), "telling plugin {} again of network {}", plugin, network.name);
    MutexLock lock(mutex_);
    auto found = networks_.find(network.id);
    if (found != networks_.end()) found->second.replay_due = false;
  }
  return {};
}

Result<> KernelController::ReplayPools(const Network& network) const {
  auto ask = [&](std::string_view method, const Json& body) {
    return CallPlugin(network.ipam_driver, kIpamPlugin, method, body);
  };
  Json spaces = TRY(ask("GetDefaultAddressSpaces", Json::MakeObject()));
  auto pool = [&](const std::string& id, const std::string& subnet, const std::string& range,
                  bool is_v6) -> Result<> {
    Json given = TRY(
        ask("RequestPool", Json::MakeObject({{"AddressSpace", spaces["LocalDefaultAddressSpace"]},
                                             {"Pool", subnet},
                                             {"SubPool", range},
                                             {"Options", Json(network.ipam_options)},
                                             {"V6", is_v6}})));
    if (given["PoolID"].AsString() == id) return {};
    return Internal("its pool '{}' is called '{}' now", id, given["PoolID"].AsString());
  };
  auto address = [&](const std::string& id, const std::string& text, Json options) -> Result<> {
    TRY(ask(
        "RequestAddress",
        Json::MakeObject({{"PoolID", id}, {"Address", text}, {"Options", std::move(options)}})));
    return {};
  };
  auto text = [](const auto& value) { return value ? value->ToString() : std::string(); };
  Json gateway = Json::MakeObject({{"RequestAddressType", kGatewayOption}});
  std::vector<Endpoint> endpoints = ListEndpoints(network.id);
  if (!network.pool.empty()) {
    TRY(pool(network.pool, network.subnet.ToString(), text(network.ip_range), false));
    if (!network.gateway.IsUnspecified()) {
      TRY(address(network.pool, network.gateway.ToString(), gateway));
    }
    for (const auto& item : network.auxiliary) {
      TRY(address(network.pool, item.ToString(), Json::MakeObject()));
    }
    for (const Endpoint& endpoint : endpoints) {
      if (!endpoint.has_ipv4()) continue;
      TRY(address(network.pool, endpoint.address.ToString(), Json::MakeObject()));
    }
  }
  if (network.pool6.empty()) return {};
  TRY(pool(network.pool6, text(network.subnet6), text(network.ip_range6), true));
  if (network.gateway6) TRY(address(network.pool6, text(network.gateway6), gateway));
  for (const auto& item : network.auxiliary6) {
    TRY(address(network.pool6, item.ToString(), Json::MakeObject()));
  }
  for (const Endpoint& endpoint : endpoints) {
    if (!endpoint.address6) continue;
    TRY(address(network.pool6, text(endpoint.address6), Json::MakeObject()));
  }
  return {};
}

// Fills in what the plugin gave: subnets and gateways, and in `pools` what is to be given back.
Result<> KernelController::RequestPools(NetworkRequest* request, Network* pools) {
  if (!pools->has_ipam_plugin()) return {};
  if (!request->more.empty() || !request->more6.empty()) {
    return InvalidArgument("network {}: an IPAM plugin is asked for one subnet of a family",
                           request->name);
  }
  const std::string& plugin = pools->ipam_driver;
  auto ask = [&](std::string_view method, const Json& body) {
    return CallIpam(plugin, method, body);
  };
  auto capabilities = ask("GetCapabilities", Json::MakeObject());
  bool old = !capabilities.ok() && capabilities.error().kind() == ErrorKind::kUnimplemented;
  if (!old) {
    Json told = TRY(std::move(capabilities));
    pools->ipam_wants_mac = told["RequiresMACAddress"].AsBool();
    pools->ipam_wants_replay = told["RequiresRequestReplay"].AsBool();
  }
  Json spaces = TRY(ask("GetDefaultAddressSpaces", Json::MakeObject()));
  auto take = [&]<typename Prefix>(const WantedPool<Prefix>& family) -> Result<> {
    using Address = decltype(Prefix::network);
    auto text = [](const auto& value) { return *value ? (*value)->ToString() : std::string(); };
    Json given = TRY(ask(
        "RequestPool", Json::MakeObject({
                           {"AddressSpace", spaces["LocalDefaultAddressSpace"]},
                           {"Pool", text(family.subnet)},
                           {"SubPool", text(family.range)},
                           {"Options", request->ipam_options.empty() ? Json::MakeObject()
                                                                     : Json(request->ipam_options)},
                           {"V6", family.is_v6},
                       })));
    *family.pool = given["PoolID"].AsString();
    *family.subnet = TRY_WITH(Prefix::Parse(given["Pool"].AsString()), "pool of plugin {}", plugin);
    auto address = [&](const std::string& wanted, Json options) -> Result<Address> {
      Json got = TRY(ask("RequestAddress", Json::MakeObject({{"PoolID", *family.pool},
                                                             {"Address", wanted},
                                                             {"Options", std::move(options)}})));
      return Address::Parse(Bare(got["Address"].AsString()));
    };
    const std::string data = given["Data"][kGatewayOption].AsString();
    if (!data.empty() && !*family.gateway) {
      *family.gateway = TRY(Address::Parse(Bare(data)));
    } else {
      *family.gateway = TRY_WITH(
          address(text(family.gateway), Json::MakeObject({{"RequestAddressType", kGatewayOption}})),
          "gateway of network {}", request->name);
    }
    family.note_gateway(**family.gateway);
    for (const auto& [name, wanted] : *family.auxiliary) {
      family.taken->push_back(TRY(address(wanted.ToString(), Json::MakeObject())));
    }
    return {};
  };
  if (request->ipv4) {
    TRY(take(WantedPool<formats::Ipv4Prefix>{
        &request->subnet, &request->ip_range, &request->gateway, &request->auxiliary, &pools->pool,
        [&](const auto& gateway) { pools->gateway = gateway; }, &pools->auxiliary, false}));
  }
  if (!request->ipv6) return {};
  return take(WantedPool<formats::Ipv6Prefix>{
      &request->subnet6, &request->ip_range6, &request->gateway6, &request->auxiliary6,
      &pools->pool6, [&](const auto& gateway) { pools->gateway6 = gateway; }, &pools->auxiliary6,
      true});
}

Result<> KernelController::ReleasePools(const Network& network) {
  auto ask = [&](std::string_view method, Json body) {
    return Forgiving(CallIpam(network.ipam_driver, method, body));
  };
  auto address = [&](const std::string& pool, const std::string& text) {
    return ask("ReleaseAddress", Json::MakeObject({{"PoolID", pool}, {"Address", text}}));
  };
  if (!network.pool.empty()) {
    if (!network.gateway.IsUnspecified()) {
      TRY(address(network.pool, network.gateway.ToString()));
    }
    for (const auto& item : network.auxiliary) TRY(address(network.pool, item.ToString()));
    TRY(ask("ReleasePool", Json::MakeObject({{"PoolID", network.pool}})));
  }
  if (!network.pool6.empty()) {
    if (network.gateway6 && !network.gateway6->IsUnspecified()) {
      TRY(address(network.pool6, network.gateway6->ToString()));
    }
    for (const auto& item : network.auxiliary6) TRY(address(network.pool6, item.ToString()));
    TRY(ask("ReleasePool", Json::MakeObject({{"PoolID", network.pool6}})));
  }
  return {};
}

// Of a network whose addresses a plugin gives out: what the container gets, or the address that it
// wants.
Result<> KernelController::RequestAddresses(const Network& network, AttachRequest* request) {
  if (!network.has_ipam_plugin()) return {};
  Json options = Json::MakeObject();
  if (network.ipam_wants_mac) {
    if (!request->mac) request->mac = TRY(UsualMac(network));
    options.Set(kMacOption, request->mac->ToString());
  }
  auto take = [&]<typename Prefix>(const std::string& pool, const Prefix& subnet,
                                   std::optional<decltype(Prefix::network)>* address) -> Result<> {
    using Address = decltype(Prefix::network);
    Json given = TRY(CallIpam(network.ipam_driver, "RequestAddress",
                              Json::MakeObject({{"PoolID", pool},
                                                {"Address", *address ? (*address)->ToString() : ""},
                                                {"Options", options}})));
    std::string text = given["Address"].AsString();
    auto parsed = Address::Parse(Bare(text));
    if (parsed.ok() && subnet.Contains(*parsed)) {
      *address = *parsed;
      return {};
    }
    TRY(Forgiving(CallIpam(network.ipam_driver, "ReleaseAddress",
                           Json::MakeObject({{"PoolID", pool}, {"Address", Bare(text)}}))));
    return Internal("plugin {} gave the address '{}', which is none of {}", network.ipam_driver,
                    text, subnet.ToString());
  };
  if (network.has_ipv4()) TRY(take(network.pool, network.subnet, &request->address));
  if (!network.subnet6) return {};
  auto taken = take(network.pool6, *network.subnet6, &request->address6);
  if (taken.ok() || !network.has_ipv4()) return taken;
  AttachRequest half;
  half.address = request->address;
  auto released = ReleaseAddresses(AddressesOf(network, half));
  if (!released.ok()) log::Warning("undoing an attach: {}", released.error().message());
  return taken;
}

Result<> KernelController::ReleaseAddresses(const Endpoint& endpoint) {
  auto network = InspectNetwork(endpoint.network_id);
  if (!network.ok() || !network->has_ipam_plugin()) return {};
  auto release = [&](const std::string& pool, const std::string& address) {
    return Forgiving(CallIpam(network->ipam_driver, "ReleaseAddress",
                              Json::MakeObject({{"PoolID", pool}, {"Address", address}})));
  };
  if (endpoint.has_ipv4()) TRY(release(network->pool, endpoint.address.ToString()));
  if (endpoint.address6) TRY(release(network->pool6, endpoint.address6->ToString()));
  return {};
}

}  // namespace gantry::networks
