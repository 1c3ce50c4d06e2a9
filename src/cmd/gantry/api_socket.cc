// SPDX-License-Identifier: Apache-2.0
#include "cmd/gantry/api_socket.h"

#include <unistd.h>

#include "base/io.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/credentials.h"
#include "formats/base64.h"
#include "formats/tar.h"
#include "kernel/memory_file.h"

namespace gantry::cli {
namespace {

constexpr std::string_view kSocket = "/var/run/docker.sock";
constexpr std::string_view kDirectory = "/run/secrets/docker";

// {"auths": {…}} of all registries that the user is logged in to; "" for none.
Result<std::string> AllCredentials(Cli& cli) {
  ConfigFile* config = TRY(cli.OpenConfig());
  Credentials store(config);
  Json auths = Json::MakeObject();
  auto add = [&](const std::string& key) -> Result<> {
    Credential credential = TRY(store.Get(key));
    if (credential.empty()) return {};
    Json entry = Json::MakeObject(
        {{"auth", formats::EncodeBase64(credential.user + ":" + credential.password)}});
    if (!credential.identity_token.empty()) entry.Set("identitytoken", credential.identity_token);
    auths.Set(key, std::move(entry));
    return {};
  };
  for (const auto& [key, entry] : config->json()["auths"].members()) TRY(add(key));
  for (const auto& [key, helper] : config->json()["credHelpers"].members()) TRY(add(key));
  if (auths.size() == 0) return std::string();
  return Json::MakeObject({{"auths", std::move(auths)}}).Dump(4);
}

class TextSink : public ByteSink {
 public:
  Result<> Write(std::string_view data) override {
    text.append(data);
    return {};
  }
  std::string text;
};

}  // namespace

Result<std::string> AddApiSocket(Cli& cli, Json* body) {
  Api* api = TRY(cli.Connect());
  std::string source = api->socket_path();
  if (source.empty()) source = kSocket;
  Json& mounts = body->MutableMember("HostConfig").MutableMember("Mounts");
  if (!mounts.is_array()) mounts = Json::MakeArray();
  mounts.Append(Json::MakeObject({{"Type", "bind"}, {"Source", source}, {"Target", kSocket}}));
  for (const Json& variable : (*body)["Env"].items()) {
    if (variable.AsString().starts_with("DOCKER_CONFIG=")) return std::string();
  }
  std::string config = TRY_WITH(AllCredentials(cli), "resolving credentials failed");
  if (config.empty()) return config;
  Json& variables = body->MutableMember("Env");
  if (!variables.is_array()) variables = Json::MakeArray();
  variables.Append(fmt::format("DOCKER_CONFIG={}", kDirectory));
  return config;
}

Result<> PutCredentials(Api* api, const std::string& id, const std::string& config) {
  TextSink archive;
  formats::TarWriter tar(archive);
  // The way to it, from the container's root on: its image need not have it.
  for (size_t slash = kDirectory.find('/', 1);; slash = kDirectory.find('/', slash + 1)) {
    formats::TarEntry directory;
    directory.type = formats::TarType::kDirectory;
    directory.name = std::string(kDirectory.substr(1, slash - 1)) + "/";
    directory.mode = 0755;
    TRY(tar.WriteHeader(directory));
    if (slash == std::string_view::npos) break;
  }
  formats::TarEntry file;
  file.name = std::string(kDirectory.substr(1)) + "/config.json";
  file.mode = 0600;
  TRY(tar.WriteFile(file, config));
  TRY(tar.Finish());
  UniqueFd content = TRY(kernel::MemoryFile("config.json", archive.text));
  ApiRequest request;
  request.method = "PUT";
  request.path = ContainerPath(id, "/archive");
  request.query.Add("path", "/");
  ApiStream stream = TRY(api->Upload(request, content, "application/x-tar"));
  TRY(stream.connection.ReadWholeBody(1 << 20));
  return {};
}

}  // namespace gantry::cli
