// SPDX-License-Identifier: Apache-2.0
#include "portproxy/name_table.h"

namespace gantry::portproxy {

using formats::Ipv4Address;

std::string LowerCase(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

Result<> NameTable::Set(const formats::ProxyEndpoint& endpoint) {
  if (endpoint.names.empty()) {
    Erase(endpoint.owner);
    return {};
  }
  Ipv4Address address = TRY(Ipv4Address::Parse(endpoint.address));
  Erase(endpoint.owner);
  Network& network = networks_[endpoint.network];
  network.suffix = "." + LowerCase(endpoint.network_name);
  for (const std::string& name : endpoint.names) network.by_name.emplace(LowerCase(name), address);
  network.by_address[address.value] = endpoint.owner;
  endpoints_[endpoint.owner] = endpoint;
  return {};
}

void NameTable::Erase(const std::string& owner) {
  auto found = endpoints_.find(owner);
  if (found == endpoints_.end()) return;
  const formats::ProxyEndpoint& old = found->second;
  Network& network = networks_[old.network];
  Ipv4Address address = *Ipv4Address::Parse(old.address);
  for (const std::string& name : old.names) {
    auto [begin, end] = network.by_name.equal_range(LowerCase(name));
    for (auto item = begin; item != end; ++item) {
      if (item->second != address) continue;
      network.by_name.erase(item);
      break;
    }
  }
  // An endpoint that came later may have the address already.
  auto owned = network.by_address.find(address.value);
  if (owned != network.by_address.end() && owned->second == owner) network.by_address.erase(owned);
  if (network.by_name.empty()) networks_.erase(old.network);
  endpoints_.erase(found);
}

std::vector<formats::ProxyEndpoint> NameTable::List() const {
  std::vector<formats::ProxyEndpoint> all;
  for (const auto& [owner, endpoint] : endpoints_) all.push_back(endpoint);
  return all;
}

std::vector<Ipv4Address> NameTable::AddressesOf(const std::string& name,
                                                const std::vector<std::string>& networks) const {
  std::vector<Ipv4Address> found;
  for (const std::string& id : networks) {
    auto network = networks_.find(id);
    if (network == networks_.end()) continue;
    const auto& [suffix, by_name, by_address] = network->second;
    auto take = [&](const std::string& wanted) {
      auto [begin, end] = by_name.equal_range(wanted);
      for (auto item = begin; item != end; ++item) found.push_back(item->second);
    };
    take(name);
    if (found.empty() && name.ends_with(suffix)) take(name.substr(0, name.size() - suffix.size()));
    if (!found.empty()) return found;
  }
  return found;
}

std::optional<std::string> NameTable::NameOf(Ipv4Address address,
                                             const std::vector<std::string>& networks) const {
  for (const std::string& id : networks) {
    auto network = networks_.find(id);
    if (network == networks_.end()) continue;
    auto owner = network->second.by_address.find(address.value);
    if (owner == network->second.by_address.end()) continue;
    const formats::ProxyEndpoint& endpoint = endpoints_.at(owner->second);
    return endpoint.names.front() + "." + endpoint.network_name;
  }
  return std::nullopt;
}

}  // namespace gantry::portproxy
