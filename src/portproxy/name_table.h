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

class NameTable {
 public:
  // In place of what the endpoint was before; without names it goes. kInvalidArgument for an
  // address that is none.
  Result<> Set(const formats::ProxyEndpoint& endpoint);
  std::vector<formats::ProxyEndpoint> List() const;

  // Of everybody who is called so, on the first of the networks where anybody is; "web" and
  // "web.NETWORK". `name` in lower case.
  std::vector<formats::Ipv4Address> AddressesOf(const std::string& name,
                                                const std::vector<std::string>& networks) const;
  // "web.front".
  std::optional<std::string> NameOf(formats::Ipv4Address address,
                                    const std::vector<std::string>& networks) const;

 private:
  struct Network {
    std::string suffix;  // ".front", in lower case
    std::unordered_multimap<std::string, formats::Ipv4Address> by_name;
    std::unordered_map<uint32_t, std::string> by_address;  // the endpoint
  };
  void Erase(const std::string& owner);

  std::map<std::string, formats::ProxyEndpoint> endpoints_;  // by owner
  std::map<std::string, Network> networks_;                  // by id
};

// ASCII alone, as DNS compares.
std::string LowerCase(std::string_view text);

}  // namespace gantry::portproxy
