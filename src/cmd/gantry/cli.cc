// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/cli.h"

#include <cstdlib>

#include "base/io.h"

namespace gantry::cli {
namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

std::string Base64Url(std::string_view bytes) {
  static constexpr char kAlphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j) {
      group = group << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0);
    }
    for (size_t j = 0; j < 4; ++j) {
      out.push_back(j <= count ? kAlphabet[group >> (18 - 6 * j) & 63] : '=');
    }
  }
  return out;
}

Result<std::string> DecodeBase64(std::string_view text) {
  std::string out;
  uint32_t group = 0;
  int bits = 0;
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  for (char c : text) {
    int value = c >= 'A' && c <= 'Z'   ? c - 'A'
                : c >= 'a' && c <= 'z' ? c - 'a' + 26
                : c >= '0' && c <= '9' ? c - '0' + 52
                : c == '+'             ? 62
                : c == '/'             ? 63
                                       : -1;
    if (value < 0) return InvalidArgument("decoding base64: bad character");
    group = group << 6 | static_cast<uint32_t>(value);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out.push_back(static_cast<char>(group >> bits & 255));
    }
  }
  return out;
}

Result<Api*> Cli::Connect() {
  if (api_) return &*api_;
  std::string url = options_.host;
  if (url.empty()) url = Environment("GANTRY_HOST");
  if (url.empty()) url = Environment("DOCKER_HOST");
  if (url.empty()) url = kDefaultHost;
  wire::Endpoint endpoint = TRY(wire::Endpoint::Parse(url));
  std::vector<wire::HttpHeaders::Field> headers;
  const Json* config = TRY(Config());
  for (const auto& [name, value] : (*config)["HttpHeaders"].members()) {
    headers.push_back({name, value.AsString()});
  }
  api_.emplace(std::move(endpoint), std::move(url), Environment("DOCKER_API_VERSION"),
               std::move(headers));
  return &*api_;
}

Result<const Json*> Cli::Config() {
  if (config_) return &*config_;
  std::string directory = options_.config_dir;
  if (directory.empty()) directory = Environment("DOCKER_CONFIG");
  if (directory.empty()) directory = Environment("HOME") + "/.docker";
  std::string path = directory + "/config.json";
  Result<std::string> text = ReadFile(path);
  if (!text.ok()) {
    if (text.error().kind() != ErrorKind::kNotFound) return std::move(text).error();
    config_ = Json::MakeObject();
    return &*config_;
  }
  config_ = TRY_WITH(Json::Parse(*text), "loading config file '{}'", path);
  return &*config_;
}

Result<std::string> Cli::RegistryAuth(std::string_view domain) {
  // Docker Hub's credentials are filed under the address of its first API.
  std::string_view key = domain == "docker.io" ? "https://index.docker.io/v1/" : domain;
  const Json* config = TRY(Config());
  Json auth = Json::MakeObject();
  const Json& entry = (*config)["auths"][key];
  if (entry.is_object()) {
    std::string pair =
        TRY_WITH(DecodeBase64(entry["auth"].AsString()), "config.json: auths '{}'", key);
    size_t colon = pair.find(':');
    if (colon != std::string::npos) {
      auth.Set("username", pair.substr(0, colon));
      auth.Set("password", pair.substr(colon + 1));
    }
    for (const char* name : {"identitytoken", "registrytoken"}) {
      if (const Json* token = entry.Find(name)) auth.Set(name, *token);
    }
    auth.Set("serveraddress", key);
  }
  return Base64Url(auth.Dump());
}

}  // namespace gantry::cli
