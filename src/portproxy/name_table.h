// SPDX-License-Identifier: Apache-2.0
//
// Whose name is what: the endpoints of all users' networks, looked up by name and by address within
// the networks that the asking container is on. Names are compared without regard to case. One
// thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "formats/ip_address.h"
#include "formats/proxy_message.h"

namespace gantry::portproxy {

// At least one of them.
struct NamedAddresses {
  std::optional<formats::Ipv4Address> ipv4;
  std::optional<formats::Ipv6Address> ipv6;
};

class NameTable {
 public:
  // In place of what the endpoint was before; without names it goes. kInvalidArgument for an
  // address that is none.
  Result<> Set(const formats::ProxyEndpoint& endpoint);
  std::vector<formats::ProxyEndpoint> List() const;

  // Of everybody who is called so, on the first of the networks where anybody is; "web" and
  // "web.NETWORK". `name` in lower case.
  std::vector<NamedAddresses> AddressesOf(const std::string& name,
                                          const std::vector<std::string>& networks) const;
  // "web.front". `address` in its usual form.
  std::optional<std::string> NameOf(const std::string& address,
                                    const std::vector<std::string>& networks) const;

 private:
  struct Entry {
    formats::ProxyEndpoint endpoint;
    NamedAddresses addresses;
  };
  // Endpoints are told by their owner.
  struct Network {
    std::string suffix;  // ".front", in lower case
    std::unordered_multimap<std::string, std::string> by_name;
    std::unordered_map<std::string, std::string> by_address;
  };
  void Erase(const std::string& owner);

  std::map<std::string, Entry> endpoints_;   // by owner
  std::map<std::string, Network> networks_;  // by id
};

// ASCII alone, as DNS compares.
std::string LowerCase(std::string_view text);

}  // namespace gantry::portproxy
