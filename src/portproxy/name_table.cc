// SPDX-License-Identifier: Apache-2.0
#include "portproxy/name_table.h"

namespace gantry::portproxy {

namespace {

std::vector<std::string> TextsOf(const NamedAddresses& addresses) {
  std::vector<std::string> texts;
  if (addresses.ipv4) texts.push_back(addresses.ipv4->ToString());
  if (addresses.ipv6) texts.push_back(addresses.ipv6->ToString());
  return texts;
}

}  // namespace

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
  Entry entry{endpoint, {}};
  if (!endpoint.address.empty()) {
    entry.addresses.ipv4 = TRY(formats::Ipv4Address::Parse(endpoint.address));
  }
  if (!endpoint.address6.empty()) {
    entry.addresses.ipv6 = TRY(formats::Ipv6Address::Parse(endpoint.address6));
  }
  if (!entry.addresses.ipv4 && !entry.addresses.ipv6) {
    return InvalidArgument("endpoint '{}' has no address", endpoint.owner);
  }
  Erase(endpoint.owner);
  Network& network = networks_[endpoint.network];
  network.suffix = "." + LowerCase(endpoint.network_name);
  for (const std::string& name : endpoint.names) {
    network.by_name.emplace(LowerCase(name), endpoint.owner);
  }
  for (const std::string& address : TextsOf(entry.addresses)) {
    network.by_address[address] = endpoint.owner;
  }
  endpoints_[endpoint.owner] = std::move(entry);
  return {};
}

void NameTable::Erase(const std::string& owner) {
  auto found = endpoints_.find(owner);
  if (found == endpoints_.end()) return;
  const formats::ProxyEndpoint& old = found->second.endpoint;
  Network& network = networks_[old.network];
  for (const std::string& name : old.names) {
    auto [begin, end] = network.by_name.equal_range(LowerCase(name));
    for (auto item = begin; item != end; ++item) {
      if (item->second != owner) continue;
      network.by_name.erase(item);
      break;
    }
  }
  for (const std::string& address : TextsOf(found->second.addresses)) {
    // An endpoint that came later may have the address already.
    auto owned = network.by_address.find(address);
    if (owned == network.by_address.end() || owned->second != owner) continue;
    network.by_address.erase(owned);
  }
  if (network.by_name.empty()) networks_.erase(old.network);
  endpoints_.erase(found);
}

std::vector<formats::ProxyEndpoint> NameTable::List() const {
  std::vector<formats::ProxyEndpoint> all;
  for (const auto& [owner, entry] : endpoints_) all.push_back(entry.endpoint);
  return all;
}

std::vector<NamedAddresses> NameTable::AddressesOf(const std::string& name,
                                                   const std::vector<std::string>& networks) const {
  std::vector<NamedAddresses> found;
  for (const std::string& id : networks) {
    auto network = networks_.find(id);
    if (network == networks_.end()) continue;
    const auto& [suffix, by_name, by_address] = network->second;
    auto take = [&](const std::string& wanted) {
      auto [begin, end] = by_name.equal_range(wanted);
      for (auto item = begin; item != end; ++item) {
        found.push_back(endpoints_.at(item->second).addresses);
      }
    };
    take(name);
    if (found.empty() && name.ends_with(suffix)) take(name.substr(0, name.size() - suffix.size()));
    if (!found.empty()) return found;
  }
  return found;
}

std::optional<std::string> NameTable::NameOf(const std::string& address,
                                             const std::vector<std::string>& networks) const {
  for (const std::string& id : networks) {
    auto network = networks_.find(id);
    if (network == networks_.end()) continue;
    auto owner = network->second.by_address.find(address);
    if (owner == network->second.by_address.end()) continue;
    const formats::ProxyEndpoint& endpoint = endpoints_.at(owner->second).endpoint;
    return endpoint.names.front() + "." + endpoint.network_name;
  }
  return std::nullopt;
}

}  // namespace gantry::portproxy
