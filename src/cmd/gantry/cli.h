// SPDX-License-Identifier: Apache-2.0
//
// What every command gets: the user's configuration and the connection to the daemon, both made on
// first use. One thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "cmd/gantry/api.h"

namespace gantry::cli {

class Cli {
 public:
  struct Options {
    std::string host;        // -H; empty: GANTRY_HOST, DOCKER_HOST, the default socket
    std::string config_dir;  // --config; empty: DOCKER_CONFIG, ~/.docker
  };
  static constexpr std::string_view kDefaultHost = "unix:///run/gantry/gantry.sock";

  explicit Cli(Options options) : options_(std::move(options)) {}

  Result<Api*> Connect();
  // config.json, or {} where there is none.
  Result<const Json*> Config();
  // The value of X-Registry-Auth for the registry of `image`: base64url of an AuthConfig.
  Result<std::string> RegistryAuth(std::string_view domain);

 private:
  Options options_;
  std::optional<Json> config_;
  std::optional<Api> api_;
};

// RFC 4648: section 5's alphabet with padding, as Go's URLEncoding.
std::string Base64Url(std::string_view bytes);
// Section 4's alphabet; padding may be missing.
Result<std::string> DecodeBase64(std::string_view text);

}  // namespace gantry::cli
