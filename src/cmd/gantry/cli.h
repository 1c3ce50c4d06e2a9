// SPDX-License-Identifier: Apache-2.0
//
// What every command gets: the user's configuration and the connection to the daemon, both made on
// first use. One thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cmd/gantry/api.h"
#include "cmd/gantry/config_file.h"
#include "cmd/gantry/context_store.h"
#include "cmd/gantry/endpoint.h"

namespace gantry::cli {

class Cli {
 public:
  // The options in front of the command.
  struct Options {
    std::vector<std::string> hosts;
    std::string context;
    std::string config_dir;
    std::string log_level = "info";
    bool debug = false;
    bool tls = false;
    bool tls_verify = false;
    bool tls_verify_given = false;
    std::string tls_ca, tls_cert, tls_key;  // empty: of the configuration
    std::string program;                    // argv[0]
    std::vector<std::string> words;         // all behind it, for plugins
  };

  explicit Cli(Options options) : options_(std::move(options)) {}
  const Options& options() const { return options_; }

  Result<Api*> Connect();
  // The endpoint that Connect speaks to.
  Result<DaemonEndpoint> Endpoint();

  // config.json, or {} where there is none.
  Result<const Json*> Config();
  Result<ConfigFile*> OpenConfig();
  // The directory of config.json: --config, GANTRY_CONFIG, DOCKER_CONFIG, ~/.docker.
  std::string ConfigDirectory() const;
  // --format as given, else what config.json says under `key`, such as "psFormat".
  Result<std::string> FormatOr(const std::string& format, std::string_view key);
  // --platform as given, else GANTRY_DEFAULT_PLATFORM, DOCKER_DEFAULT_PLATFORM.
  static std::string PlatformOr(const std::string& platform);

  // The value of X-Registry-Auth for the registry of `image`: base64url of an AuthConfig.
  Result<std::string> RegistryAuth(std::string_view domain);

  ContextStore Contexts() const { return ContextStore(ConfigDirectory() + "/contexts"); }
  // The context in use: of --context, the environment, config.json, else "default".
  Result<std::string> CurrentContext();
  // All there are, "default" too; for completion.
  std::vector<std::string> ContextNames() const;

 private:
  Options options_;
  std::optional<ConfigFile> config_;
  std::optional<Api> api_;
};

}  // namespace gantry::cli
