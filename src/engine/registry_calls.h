// SPDX-License-Identifier: Apache-2.0
//
// What the engine asks of registries itself, without the container daemon: a login, what a name
// means over there, a search. Pulls and pushes are the container daemon's. Any thread; a call
// blocks for as long as the registry takes. Errors have no status of their own for "the registry
// does not answer": docker's is 500.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "engine/settings.h"
#include "oci/image_spec.h"

namespace gantry::registry {
class Client;
}

namespace gantry::engine {

// docker's AuthConfig (X-Registry-Auth, POST /auth).
struct RegistryLogin {
  std::string username;
  std::string password;
  std::string server_address;  // "https://index.docker.io/v1/", "localhost:5000"; "": docker.io
  std::string identity_token;
  std::string registry_token;
};

// One that goes by the settings, such as insecure registries, and knows that login.
Result<std::unique_ptr<registry::Client>> MakeRegistryClient(const Settings& settings,
                                                             const RegistryLogin& login);

// An identity token when the registry gave one. kUnauthenticated: it knows them not.
Result<std::string> CheckLogin(const Settings& settings, const RegistryLogin& login);

struct DistributionAnswer {
  oci::Descriptor descriptor;
  std::vector<oci::Platform> platforms;
};
// `name`: an image's name, with tag or digest, else latest.
Result<DistributionAnswer> InspectDistribution(const Settings& settings, std::string_view name,
                                               const RegistryLogin& login);

// The tags that the repository of that name has over there. kNotFound.
Result<std::vector<std::string>> ListRemoteTags(const Settings& settings, std::string_view name,
                                                const RegistryLogin& login);

struct SearchResult {
  std::string name;
  std::string description;
  int64_t stars = 0;
  bool official = false;
};
// The version 1 search of the index that the term names ("HOST/word"), else of docker.io.
Result<std::vector<SearchResult>> SearchIndex(const Settings& settings, const std::string& term,
                                              int64_t limit, const RegistryLogin& login);

}  // namespace gantry::engine
