// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/cli.h"

#include <unistd.h>

#include <cstdlib>

#include "base/io.h"
#include "cmd/gantry/credentials.h"
#include "cmd/gantry/mount_spec.h"
#include "cmd/gantry/program.h"
#include "formats/base64.h"

namespace gantry::cli {
namespace {

// X-Name=value,… of the environment, which replaces what config.json says.
Result<std::vector<wire::HttpHeaders::Field>> ExtraHeaders(const Json& config) {
  std::vector<wire::HttpHeaders::Field> headers;
  std::string text = Setting("CUSTOM_HEADERS");
  if (text.empty()) {
    for (const auto& [name, value] : config["HttpHeaders"].members()) {
      headers.push_back({name, value.AsString()});
    }
    return headers;
  }
  for (const std::string& pair : TRY(SplitCsv(text))) {
    size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) {
      return InvalidArgument(
          "failed to parse custom headers from DOCKER_CUSTOM_HEADERS environment variable: value "
          "must be formatted as comma-separated key=value pairs");
    }
    headers.push_back({pair.substr(0, equals), pair.substr(equals + 1)});
  }
  return headers;
}

}  // namespace

Result<std::string> Cli::CurrentContext() {
  if (!options_.context.empty()) return options_.context;
  if (!options_.hosts.empty() || !Setting("HOST").empty()) return std::string("default");
  std::string name = Setting("CONTEXT");
  if (name.empty()) name = (*TRY(Config()))["currentContext"].AsString();
  return name.empty() ? "default" : name;
}

std::vector<std::string> Cli::ContextNames() const {
  std::vector<std::string> names = {"default"};
  Result<std::vector<Context>> contexts = Contexts().List();
  if (!contexts.ok()) return names;
  for (const Context& context : *contexts) names.push_back(context.name);
  return names;
}

Result<DaemonEndpoint> Cli::Endpoint() {
  if (options_.hosts.size() > 1) {
    return InvalidArgument(
        "Failed to initialize: unable to resolve docker endpoint: Specify only one -H");
  }
  std::string context = TRY(CurrentContext());
  if (context != "default") {
    Result<Context> found = Contexts().Find(context);
    if (!found.ok()) {
      return std::move(found).error().AddContext(
          "Failed to initialize: unable to resolve docker endpoint");
    }
    return ContextEndpoint(*found, Contexts().TlsFiles(context));
  }
  std::string host = options_.hosts.empty() ? Setting("HOST") : options_.hosts[0];
  TlsSettings tls;
  tls.verify =
      options_.tls_verify || (!options_.tls_verify_given && !Setting("TLS_VERIFY").empty());
  tls.enabled = options_.tls || tls.verify || options_.tls_verify_given || !Setting("TLS").empty();
  std::string directory = Setting("CERT_PATH");
  if (directory.empty()) directory = ConfigDirectory();
  // Files that nobody named need not be there, but for the authority's: nobody is trusted for want
  // of it.
  auto file = [&](const std::string& given, const char* name) {
    std::string usual = fmt::format("{}/{}", directory, name);
    return !given.empty() ? given : PathExists(usual) ? usual : "";
  };
  tls.ca = options_.tls_ca.empty() ? directory + "/ca.pem" : options_.tls_ca;
  if (tls.enabled && ::access(tls.ca.c_str(), R_OK) != 0) {
    return ErrnoError("Failed to initialize: unable to resolve docker endpoint: open {}", tls.ca);
  }
  tls.certificate = file(options_.tls_cert, "cert.pem");
  tls.key = file(options_.tls_key, "key.pem");
  Result<DaemonEndpoint> endpoint = ParseEndpoint(host, std::move(tls));
  if (!endpoint.ok()) return std::move(endpoint).error().AddContext("Failed to initialize");
  return endpoint;
}

Result<Api*> Cli::Connect() {
  if (api_) return &*api_;
  DaemonEndpoint endpoint = TRY(Endpoint());
  std::vector<wire::HttpHeaders::Field> headers = TRY(ExtraHeaders(*TRY(Config())));
  api_.emplace(std::move(endpoint), Setting("API_VERSION"), std::move(headers));
  return &*api_;
}

std::string Cli::ConfigDirectory() const {
  if (!options_.config_dir.empty()) return options_.config_dir;
  std::string directory = Setting("CONFIG");
  if (!directory.empty()) return directory;
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr ? home : "") + "/.docker";
}

Result<ConfigFile*> Cli::OpenConfig() {
  if (!config_) config_ = TRY(ConfigFile::Load(ConfigDirectory() + "/config.json"));
  return &*config_;
}

Result<const Json*> Cli::Config() { return &TRY(OpenConfig())->json(); }

Result<std::string> Cli::FormatOr(const std::string& format, std::string_view key) {
  if (!format.empty()) return format;
  return (*TRY(Config()))[key].AsString();
}

std::string Cli::PlatformOr(const std::string& platform) {
  return platform.empty() ? Setting("DEFAULT_PLATFORM") : platform;
}

Result<std::string> Cli::RegistryAuth(std::string_view domain) {
  Credential credential = TRY(Credentials(TRY(OpenConfig())).Get(RegistryKey(domain)));
  std::string text = formats::EncodeBase64(credential.ToAuthConfig().Dump());
  // RFC 4648, section 5: the alphabet for URLs, with padding.
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}

}  // namespace gantry::cli
