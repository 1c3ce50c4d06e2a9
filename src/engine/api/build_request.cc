// SPDX-License-Identifier: Apache-2.0
#include "engine/api/build_request.h"

#include <utility>

#include "base/text.h"
#include "engine/api/registry_auth.h"
#include "formats/base64.h"
#include "formats/reference.h"
#include "oci/platform.h"

namespace gantry::engine::api {
namespace {

using formats::Json;
using formats::JsonReader;

// A JSON object or array as a parameter; null when it is missing.
Result<Json> JsonParameter(const Call& call, std::string_view name, std::string_view what) {
  std::string_view text = call.query().Get(name);
  if (text.empty()) return Json();
  Result<Json> json = Json::Parse(text);
  if (json.ok()) return json;
  return InvalidArgument("error reading {}: {}", what, json.error().message());
}

Result<> ReadNames(const Call& call, build::BuildRequest* request) {
  for (const std::string& text : call.query().GetAll("t")) {
    if (text.empty()) continue;
    formats::Reference name = TRY_WITH(formats::ParseReference(text), "invalid reference format");
    if (!name.digest.empty()) {
      return InvalidArgument("build tag cannot contain a digest");
    }
    std::string stored = formats::WithDefaultTag(name).ToString();
    bool known = false;
    for (const std::string& other : request->names) known = known || other == stored;
    if (!known) request->names.push_back(stored);
  }
  return {};
}

Result<> ReadArguments(const Call& call, build::BuildRequest* request) {
  Json arguments = TRY(JsonParameter(call, "buildargs", "build args"));
  for (const auto& [name, value] : arguments.members()) {
    if (!value.is_null() && !value.is_string()) {
      return InvalidArgument("error reading build args: '{}' is no string", name);
    }
    request->arguments[name] =
        value.is_null() ? std::nullopt : std::optional<std::string>(value.AsString());
  }
  Json labels = TRY(JsonParameter(call, "labels", "labels"));
  for (const auto& [name, value] : labels.members()) {
    if (!value.is_string()) return InvalidArgument("error reading labels: '{}' is no string", name);
    request->labels[name] = value.AsString();
  }
  Json sources = TRY(JsonParameter(call, "cachefrom", "cache-from"));
  for (const Json& image : sources.items()) {
    if (!image.is_string()) return InvalidArgument("error reading cache-from: no list of images");
    request->cache_from.push_back(image.AsString());
  }
  return {};
}

Result<> ReadLimits(const Call& call, HostConfig* host) {
  host->shm_size = TRY(IntParameter(call, "shmsize", 0));
  host->memory = TRY(IntParameter(call, "memory", 0));
  host->memory_swap = TRY(IntParameter(call, "memswap", 0));
  host->cpu_shares = TRY(IntParameter(call, "cpushares", 0));
  host->cpu_period = TRY(IntParameter(call, "cpuperiod", 0));
  host->cpu_quota = TRY(IntParameter(call, "cpuquota", 0));
  host->cpuset_cpus = call.query().Get("cpusetcpus");
  host->cpuset_mems = call.query().Get("cpusetmems");
  host->cgroup_parent = call.query().Get("cgroupparent");
  // What a client means that says nothing, and one that says so: the same for the cache.
  std::string_view network = call.query().Get("networkmode");
  if (network != "default") host->network_mode = network;
  host->isolation = call.query().Get("isolation");
  for (const std::string& option : call.query().GetAll("securityopt")) {
    Json list = TRY_WITH(Json::Parse(option), "error reading security options");
    for (const Json& item : list.items()) host->security_opt.push_back(item.AsString());
  }
  for (const std::string& hosts : call.query().GetAll("extrahosts")) {
    for (const std::string& one : SplitWords(hosts, ",")) host->extra_hosts.push_back(one);
  }
  Json limits = TRY(JsonParameter(call, "ulimits", "ulimits"));
  for (const Json& limit : limits.items()) {
    JsonReader reader(limit, "ulimits", JsonReader::Keys::kAnyCase);
    Ulimit& one = host->ulimits.emplace_back();
    reader.Field("Name", &one.name);
    reader.Field("Soft", &one.soft);
    reader.Field("Hard", &one.hard);
    TRY(reader.Finish());
  }
  return {};
}

// X-Registry-Config: a login for each registry. What can't be read is ignored, as docker does.
void ReadLogins(const Call& call, build::BuildRequest* request) {
  std::string_view text = call.exchange.request().headers.Get("X-Registry-Config");
  if (text.empty()) return;
  Result<std::string> decoded = formats::DecodeBase64(text);
  if (!decoded.ok()) return;
  Result<Json> json = Json::Parse(*decoded);
  if (!json.ok()) return;
  for (const auto& [key, value] : json->members()) {
    RegistryLogin login = ReadLogin(value);
    if (login.username.empty() && login.identity_token.empty()) continue;
    // Keys are "host:port", or the address of Docker Hub's first API.
    std::string host = key;
    for (std::string_view scheme : {"https://", "http://"}) {
      if (host.starts_with(scheme)) host.erase(0, scheme.size());
    }
    host = host.substr(0, host.find('/'));
    if (host == "index.docker.io" || host == "registry-1.docker.io") host = "docker.io";
    request->credentials[host] = {login.username, login.password, login.identity_token};
  }
}

}  // namespace

Result<build::BuildRequest> ReadBuildRequest(Call& call) {
  const wire::Query& query = call.query();
  std::string_view version = query.Get("version");
  if (!version.empty() && version != "1" && version != "2") {
    return InvalidArgument("invalid version \"{}\"", version);
  }
  if (query.GetBool("squash") && !call.engine().settings()->experimental) {
    return InvalidArgument("squash is only supported with experimental mode");
  }
  std::string_view outputs = query.Get("outputs");
  if (version != "2" && !outputs.empty() && outputs != "[]" && outputs != "null") {
    return Unimplemented("outputs are BuildKit's: they need version=2");
  }
  build::BuildRequest request;
  TRY(ReadNames(call, &request));
  TRY(ReadArguments(call, &request));
  TRY(ReadLimits(call, &request.host));
  if (!query.Get("dockerfile").empty()) request.dockerfile = query.Get("dockerfile");
  request.remote = query.Get("remote");
  request.target = query.Get("target");
  request.no_cache = query.GetBool("nocache");
  request.pull = query.GetBool("pull");
  request.squash = query.GetBool("squash");
  request.keeps_failed = !query.GetBool("forcerm");
  request.keeps_containers =
      request.keeps_failed && !query.Get("rm").empty() && !query.GetBool("rm");
  request.platform = query.Get("platform");
  if (!request.platform.empty()) TRY(oci::ParsePlatform(request.platform));
  ReadLogins(call, &request);
  return request;
}

bool IsBuildKit(const Call& call) { return call.query().Get("version") == "2"; }

Result<buildkit::HttpBuild> ReadHttpBuild(Call& call) {
  constexpr std::string_view kOfSession = "client-session";
  constexpr std::string_view kUploaded = "upload-request";
  const wire::Query& query = call.query();
  buildkit::HttpBuild out;
  out.ref = query.Get("buildid");
  out.request = TRY(ReadBuildRequest(call));
  // They are hints to BuildKit, whose cache knows more than images.
  out.request.cache_from.clear();
  out.request.keeps_failed = out.request.keeps_containers = false;
  out.session = query.Get("session");
  if (out.request.remote == kOfSession) {
    out.request.remote.clear();
    if (out.session.empty()) return InvalidArgument("remote={} needs a session", kOfSession);
  } else if (out.request.remote == kUploaded) {
    out.request.remote.clear();
    if (out.ref.empty()) return InvalidArgument("remote={} needs a buildid", kUploaded);
    out.uploaded = true;
  } else if (out.request.remote.empty()) {
    out.body = &call.exchange.body();
  }
  if (out.request.host.network_mode == "host") out.entitlements.insert("network.host");
  Json outputs = TRY(JsonParameter(call, "outputs", "outputs"));
  if (outputs.size() > 1) return InvalidArgument("multiple outputs not supported");
  for (const Json& output : outputs.items()) {
    JsonReader reader(output, "outputs", JsonReader::Keys::kAnyCase);
    buildkit::HttpBuild::Output& one = out.outputs.emplace_back();
    reader.Field("Type", &one.type);
    reader.Field("Attrs", &one.attributes);
    TRY(reader.Finish());
  }
  return out;
}

}  // namespace gantry::engine::api
