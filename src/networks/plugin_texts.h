// SPDX-License-Identifier: Apache-2.0
//
// What plugins are told and answer, as data: plugin_driver.cc and plugin_ipam.cc ask with it. Pure;
// any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "formats/ip_address.h"
#include "formats/json.h"
#include "networks/networks.h"
#include "networks/records.h"

namespace gantry::networks {

// Of CreateEndpoint and Join: the user's own, and the ports that it wants published.
formats::Json PluginOptions(const AttachRequest& request);
// Of CreateNetwork.
formats::Json PluginNetwork(const Network& network);
// "10.1.2.3/24", "" without such an address.
std::string Address4Text(const Endpoint& endpoint);
std::string Address6Text(const Endpoint& endpoint);

// CreateEndpoint's answer: what the endpoint had not yet. One that changes what it had is an error.
Result<> ReadPluginInterface(const formats::Json& answer, Endpoint* endpoint);

struct PluginRoute {
  std::string destination;  // with its length
  std::string gateway;      // "": straight over the interface
};
struct PluginJoin {
  std::string link;    // what the interface is called on the host
  std::string prefix;  // what it is called inside, without its number
  std::optional<formats::Ipv4Address> gateway;
  std::optional<formats::Ipv6Address> gateway6;
  std::vector<PluginRoute> routes;
  bool no_way_out = false;  // it does without the engine's own way out, too
};
Result<PluginJoin> ReadPluginJoin(const formats::Json& answer);

// It is not there, or did not answer: whether it did what it was told nobody knows.
bool IsAbsent(const Error& error);

// Has but the request's addresses, to give them back.
Endpoint AddressesOf(const Network& network, const AttachRequest& request);

}  // namespace gantry::networks
