// SPDX-License-Identifier: Apache-2.0
//
// Who the user is at a registry. Where that is kept: at a helper program for this registry
// (credHelpers), at one for all (credsStore), else in config.json (auths). One thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "cmd/gantry/config_file.h"
#include "formats/json.h"

namespace gantry::cli {

// What credentials are filed under: Docker Hub's under the address of its first API, others under
// host[:port].
inline constexpr std::string_view kHubKey = "https://index.docker.io/v1/";
std::string RegistryKey(std::string_view domain);

struct Credential {
  std::string server;
  std::string user;
  std::string password;
  std::string identity_token;  // stands for a password
  std::string registry_token;  // is sent to the registry as it is

  bool empty() const { return user.empty() && identity_token.empty() && registry_token.empty(); }
  // The Engine API's AuthConfig.
  formats::Json ToAuthConfig() const;
};

class Credentials {
 public:
  explicit Credentials(ConfigFile* config) : config_(config) {}

  // An empty one when nothing is known.
  Result<Credential> Get(const std::string& key) const;
  Result<> Store(const Credential& credential);
  // Nothing to erase is no error.
  Result<> Erase(const std::string& key);
  // The helper for the registry, such as "pass"; "" when config.json keeps it.
  std::string HelperFor(const std::string& key) const;

 private:
  ConfigFile* config_;
};

}  // namespace gantry::cli
